//! What is fuzzed: each target takes any bytes and panics where something does not hold.

use crate::{api, config, dns, pool, recording, script, state, wire};

pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&[u8]),
    /// Where to begin, beside `tests/fuzz/corpus`.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// The longest input.
    pub(crate) bytes_max: usize,
    /// Of a hundred parts of the time of all: more for what takes milliseconds each.
    pub(crate) share: u32,
}

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>, bytes_max: usize, share: u32) -> Target {
    Target { name, run, seeds, bytes_max, share }
}

pub(crate) const TARGETS: [Target; 10] = [
    target("api", api::raw, api::seeds, 4096, 8),
    target("config", config::text, config::seeds, 8192, 10),
    target("dns", dns::question, dns::seeds, 2048, 6),
    target("packing", wire::packed, wire::packed_seeds, 8192, 6),
    target("pool", pool::told, pool::seeds, 6144, 26),
    target("recording", recording::segment, recording::seeds, 16_384, 10),
    target("script", script::output, script::seeds, 8192, 10),
    target("seal", wire::sealed, wire::sealed_seeds, 1400, 6),
    target("state", state::file, state::seeds, 8192, 14),
    target("wire", wire::raw, wire::raw_seeds, 1400, 4),
];
