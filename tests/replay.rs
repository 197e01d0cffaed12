//! Recordings: incidents that are replayed at every run of the gate, and what holds for recordings at all.
//!
//! Every directory in `tests/replay/` is an incident: the recordings of its hosts, as `raisd` writes them. Whatever is put there
//! is a test: the core must say what it said, bit for bit. `UPDATE=1 cargo test --test replay` writes the incidents of
//! [`incidents`] anew, with today's core.

#![expect(clippy::expect_used, reason = "a story that cannot go on ends with what it expected")]

#[path = "world/checks.rs"]
#[allow(dead_code, reason = "each test program uses a part of the world")]
mod checks;
#[path = "world/datagrams.rs"]
#[allow(dead_code, reason = "each test program uses a part of the world")]
mod datagrams;
#[path = "world/deeds.rs"]
#[allow(dead_code, reason = "each test program uses a part of the world")]
mod deeds;
#[path = "world/machine.rs"]
#[allow(dead_code, reason = "each test program uses a part of the world")]
mod machine;
#[path = "world/network.rs"]
#[allow(dead_code, reason = "each test program uses a part of the world")]
mod network;
#[path = "world/seen.rs"]
#[allow(dead_code, reason = "each test program uses a part of the world")]
mod seen;
#[path = "world/setup.rs"]
#[allow(dead_code, reason = "each test program uses a part of the world")]
mod setup;
#[path = "world/transcript.rs"]
#[allow(dead_code, reason = "each test program uses a part of the world")]
mod transcript;
#[path = "world/world.rs"]
#[allow(dead_code, reason = "each test program uses a part of the world")]
mod world;

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
