//! What is fuzzed: each target takes any bytes and panics where something does not hold.

use crate::{api, config, dns, pool, recording, script, state, wire};

pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&[u8]),
    /// Where to begin, beside `tests/fuzz/corpus`.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// The longest input.
    pub(crate) bytes_max: usize,
}

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>, bytes_max: usize) -> Target {
    Target { name, run, seeds, bytes_max }
}

pub(crate) const TARGETS: [Target; 10] = [
    target("api", api::raw, api::seeds, 4096),
    target("config", config::text, config::seeds, 8192),
    target("dns", dns::question, dns::seeds, 2048),
    target("packing", wire::packed, wire::packed_seeds, 8192),
    target("pool", pool::told, pool::seeds, 6144),
    target("recording", recording::segment, recording::seeds, 16_384),
    target("script", script::output, script::seeds, 8192),
    target("seal", wire::sealed, wire::sealed_seeds, 1400),
    target("state", state::file, state::seeds, 8192),
    target("wire", wire::raw, wire::raw_seeds, 1400),
];
