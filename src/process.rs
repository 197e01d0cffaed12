//! The running daemon: the only floor that reads the clock for the protocol.

pub mod daemon;
pub mod state;
