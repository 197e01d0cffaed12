//! The running daemon: the only floor that reads the clock for the protocol.

pub mod daemon;
mod dispatch;
mod groups;
mod journal;
mod recorder;
mod reload;
mod reports;
pub mod state;
mod watchdog;
