//! raisd turns a pool of ordinary servers into one service that does not go down.

pub mod node;
pub mod types;
pub mod wire;

#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod demo;
#[cfg(feature = "daemon")]
pub mod operator;
#[cfg(feature = "daemon")]
pub mod ports;
#[cfg(feature = "daemon")]
pub mod process;
