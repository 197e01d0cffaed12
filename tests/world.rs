//! The simulated world: virtual time, the control networks, and machines that do what their nodes ask. Test programs take what
//! they need of it.

#![allow(dead_code, reason = "each test program uses a part of the world")]

#[path = "world/checks.rs"]
pub(crate) mod checks;
#[path = "world/datagrams.rs"]
pub(crate) mod datagrams;
#[path = "world/deeds.rs"]
pub(crate) mod deeds;
#[path = "world/machine.rs"]
pub(crate) mod machine;
#[path = "world/network.rs"]
pub(crate) mod network;
#[path = "world/seen.rs"]
pub(crate) mod seen;
#[path = "world/setup.rs"]
pub(crate) mod setup;
#[path = "world/transcript.rs"]
pub(crate) mod transcript;
#[path = "world/world.rs"]
pub(crate) mod world;
