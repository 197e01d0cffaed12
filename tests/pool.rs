//! Pools of real nodes in virtual time: what hosts live through, judged from outside the nodes.

#![expect(clippy::expect_used, reason = "a story that cannot go on ends with what it expected")]

#[path = "world.rs"]
mod simulated;

#[allow(unused_imports, reason = "the parts of the world name each other from here")]
use simulated::{checks, datagrams, deeds, machine, network, seen, setup, transcript, world};

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
