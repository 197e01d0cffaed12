//! The ports: one task and one resource each. They never see each other, never decide, and answer every operation once.

pub mod announce;
pub mod api;
pub mod dns;
pub mod interfaces;
pub mod multicast;
pub mod netlink;
pub mod probe;
pub mod script;

pub(crate) mod cause;
mod sys;
