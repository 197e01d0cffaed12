//! The vocabulary. No logic beyond reading and writing the words; every other floor uses it.

pub mod explanation;
pub mod fnv;
pub mod host;
pub mod item;
pub mod message;
pub mod policy;
pub mod recorded;
pub mod time;
pub mod view;
