//! This host: events and time in, ordered actions out.

pub mod action;
pub mod event;
