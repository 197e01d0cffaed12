//! The targets of `tests/fuzz`, guided by coverage. `scripts/fuzz` builds and runs it.
//!
//! | variable | |
//! |---|---|
//! | `FUZZ_TARGET` | which one |
//! | `FUZZ_SEEDS` | an empty directory: its seeds are written there, and nothing is run |

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/world.rs"]
mod simulated;

#[allow(unused_imports, reason = "the parts of the world name each other from here")]
use simulated::{checks, datagrams, deeds, machine, network, seen, setup, transcript, world};

#[path = "../../tests/fuzz/api.rs"]
mod api;
#[path = "../../tests/fuzz/config.rs"]
mod config;
#[path = "../../tests/fuzz/dns.rs"]
mod dns;
#[allow(dead_code, reason = "that seeds have an effect is for the gate to see")]
#[path = "../../tests/fuzz/pool.rs"]
mod pool;
#[path = "../../tests/fuzz/recording.rs"]
mod recording;
#[path = "../../tests/fuzz/records.rs"]
mod records;
#[path = "../../tests/fuzz/script.rs"]
mod script;
#[path = "../../tests/fuzz/seal.rs"]
mod seal;
#[path = "../../tests/fuzz/state.rs"]
mod state;
#[allow(dead_code, reason = "shares of time are for the gate")]
#[path = "../../tests/fuzz/targets.rs"]
mod targets;
#[path = "../../tests/fuzz/wire.rs"]
mod wire;

use self::targets::{TARGETS, Target};

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    TARGETS.iter().find(|target| target.name == wanted).unwrap_or_else(|| panic!("FUZZ_TARGET is one of {}", names.join(" ")))
});

fuzz_target!(
    init: {
        let target = *TARGET;
        if target.name == "recording" {
            // The replay catches what makes the core panic, and says so. libFuzzer's own hook would end everything before that.
            drop(std::panic::take_hook());
        }
        if let Some(directory) = std::env::var_os("FUZZ_SEEDS") {
            for (number, seed) in (target.seeds)().iter().enumerate() {
                std::fs::write(Path::new(&directory).join(format!("seed-{number:03}")), seed).unwrap();
            }
            std::process::exit(0);
        }
    },
    |bytes: &[u8]| {
        if bytes.len() <= TARGET.bytes_max {
            (TARGET.run)(bytes);
        }
    }
);
