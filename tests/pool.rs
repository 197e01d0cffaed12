//! Pools of real nodes in virtual time: what hosts live through, judged from outside the nodes.

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

#[path = "pool/chance.rs"]
mod chance;
#[path = "pool/coming_and_going.rs"]
mod coming_and_going;
#[path = "pool/exchange.rs"]
mod exchange;
#[path = "pool/explaining.rs"]
mod explaining;
#[path = "pool/failing.rs"]
mod failing;
#[path = "pool/identity.rs"]
mod identity;
#[path = "pool/lifetimes.rs"]
mod lifetimes;
#[path = "pool/many.rs"]
mod many;
#[path = "pool/networks.rs"]
mod networks;
#[path = "pool/operator.rs"]
mod operator;
#[path = "pool/peers.rs"]
mod peers;
#[path = "pool/placement.rs"]
mod placement;
#[path = "pool/reasons.rs"]
mod reasons;
#[path = "pool/reload.rs"]
mod reload;
#[path = "pool/rule.rs"]
mod rule;
#[path = "pool/zones.rs"]
mod zones;
