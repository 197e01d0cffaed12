//! Recordings: incidents that are replayed at every run of the gate, and what holds for recordings at all.
//!
//! Every directory in `tests/replay/` is an incident: the recordings of its hosts, as `raisd` writes them. Whatever is put there
//! is a test: the core must say what it said, bit for bit. `UPDATE=1 cargo test --test replay` writes the incidents of
//! [`incidents`] anew, with today's core.

#![expect(clippy::expect_used, reason = "a story that cannot go on ends with what it expected")]

#[path = "world.rs"]
mod simulated;

#[allow(unused_imports, reason = "the parts of the world name each other from here")]
use simulated::{checks, datagrams, deeds, machine, network, seen, setup, transcript, world};

#[path = "replay/damage.rs"]
mod damage;
#[path = "replay/incidents.rs"]
mod incidents;
#[path = "replay/snapshots.rs"]
mod snapshots;
#[path = "replay/stories.rs"]
mod stories;
#[path = "replay/tape.rs"]
mod tape;
