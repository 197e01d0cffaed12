//! raisd turns a pool of ordinary servers into one service that does not go down.
//!
//! Every host of a pool runs the daemon. Hosts tell each other how they are over UDP multicast; the live host with the lowest
//! id leads and sees to it that every service address is served by exactly one host. A host that takes an address puts it on
//! its interface, announces it and runs the operator's script.
//!
//! # Floors
//!
//! A file uses its own floor and those below it. Floors are declared here from the ground up:
//!
//! | floor | what it is | what it must not do |
//! |---|---|---|
//! | [`types`] | the vocabulary: hosts, items, messages, policy, time, view | decide |
//! | [`node`] | this host: [`node::Node::handle`] takes an event and the time and returns an ordered list of actions | touch a clock, socket, thread, file or random source; know bytes |
//! | [`recording`] | what happened to a node as bytes, and the same core over it | touch a file; know the messages' bytes |
//! | [`wire`] | bytes and messages: layout, sealing, replay window, packing | know the node |
//! | [`ports`] | one resource each: control sockets, kernel, packet sockets, scripts, probes, DNS, API | see each other; decide |
//! | [`config`], [`operator`] | what people write and read | |
//! | [`process`] | the running daemon: the loop, the dispatch, the disk | decide |
//! | [`demo`] | the main job on one machine, in namespaces of its own | |
//!
//! The compiler proves the lower floors pure: `cargo check --lib --no-default-features` builds [`types`], [`node`] and [`wire`]
//! without a runtime or a socket among their dependencies; `clippy.toml` bans the clocks.
//!
//! # Three rules
//!
//! 1. **Confirmation.** A list of actions never holds two of which the second needs the first to have succeeded; the second
//!    comes with the answer to the first. Every operation is answered exactly once; a late answer changes nothing.
//! 2. **One order, one loop.** Parts of a service monitor never call each other; `node/monitor.rs` calls them with plain
//!    values. There is no lock around protocol state.
//! 3. **Own state first.** What an earlier run has left on an interface is known and being taken off before the first `info`.
//!
//! `docs/architecture.md` has two walks through the code, `docs/protocol.md` the messages byte by byte.

pub mod types;

pub mod node;
pub mod recording;
pub mod wire;

#[cfg(feature = "daemon")]
pub mod ports;

#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod operator;

#[cfg(feature = "daemon")]
pub mod process;

#[cfg(feature = "daemon")]
pub mod demo;
