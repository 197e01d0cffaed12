//! The operator's side: talks to a running daemon and shows people what it says.
//!
//! Owns the client of the API and the words and tables on a terminal. Never decides anything about a group: what is
//! shown is what the daemon said. `bin/raisctl.rs` calls it, and whoever watches daemons from outside.

pub mod client;
pub mod delegation;
pub mod drain;
pub mod events;
pub mod explain;
pub mod keys;
mod names;
pub mod past;
pub mod recordings;
pub mod replay;
pub mod report;
pub mod simulate;
pub mod status;
pub mod terminal;
pub mod when;
pub mod words;
pub mod zone;
