//! Configurations of simulated pools.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use raisd::types::host::{HostId, HostKeys, Role};
use raisd::types::item::ServiceAddress;
use raisd::types::policy::{
    AllFailed, AnnounceMethod, AnnouncePolicy, Assign, Failback, GroupPolicy, Handover, HostPolicy, NodePolicy, SharedPolicy, TestPolicy,
    WhenEmpty, ZonePolicy,
};

use crate::machine::Number;
use crate::world::World;

pub(crate) const HEARTBEAT: Duration = Duration::from_millis(250);
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

/// Where the addresses of [`pool`] belong.
pub(crate) const HOME: [(IpAddr, Number); 3] = [(address(1), 1), (address(2), 2), (address(3), 3)];

/// Three hosts with an address each and a spare.
pub(crate) fn pool(seed: u64) -> World {
    World::new(seed, [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[address(3)]), policy(4, &[])])
}

pub(crate) fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The host with this last byte.
pub(crate) fn host(number: Number) -> HostId {
    HostId(control(number, 0))
}

/// The host's address on a control network.
pub(crate) fn control(number: Number, network: u8) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    [10, network, high, low].into()
}

/// The service address with this last byte.
pub(crate) const fn address(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    assert!(high == 0, "a last byte");
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, low))
}

/// One of many service addresses.
pub(crate) fn one_of_many(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    [198, 18, high, low].into()
}

pub(crate) fn shared() -> SharedPolicy {
    SharedPolicy {
        heartbeat: HEARTBEAT,
        timeout: TIMEOUT,
        orphan_lifetime: Duration::from_secs(3600),
        assign: Assign::Random,
        failback: Failback::After(Duration::ZERO),
        rebalance: None,
        all_failed: AllFailed::Release,
        handover: Handover::Break,
        zone: Some(ZonePolicy {
            name: "www.pool.example.".to_owned(),
            ttl: Duration::from_secs(5),
            high_water: 80,
            low_water: 60,
            min_addresses: 1,
            max_answers: 0,
            when_empty: WhenEmpty::Nodata,
            nameservers: Vec::new(),
            contact: "hostmaster@example.com".to_owned(),
        }),
    }
}

/// A host that prefers `preferred`; without any a spare.
pub(crate) fn policy(number: Number, preferred: &[IpAddr]) -> NodePolicy {
    NodePolicy {
        host: HostPolicy {
            id: host(number),
            name: format!("web{number}"),
            control: vec![control(number, 0), control(number, 1)],
            location: String::new(),
            capabilities: Vec::new(),
        },
        groups: vec![GroupPolicy {
            name: "www".to_owned(),
            interface: "svc0".to_owned(),
            role: Role::Server,
            preferred: preferred.iter().copied().map(ServiceAddress::host).collect(),
            floating: Vec::new(),
            accept: Vec::new(),
            multicast: true,
            peers: Vec::new(),
            tests: Default::default(),
            loads: Default::default(),
            has_acquire_script: false,
            has_release_script: false,
            script_timeout: Duration::from_secs(30),
            announce: AnnouncePolicy { method: AnnounceMethod::Link, count: 5, refresh: Duration::from_secs(3600) },
            keys: HostKeys::insecure(),
            shared: shared(),
        }],
        tests: Vec::new(),
    }
}

/// With a test named `web`.
pub(crate) fn with_test(mut policy: NodePolicy) -> NodePolicy {
    policy.tests = vec![TestPolicy { name: "web".to_owned(), rise: 1, fall: 1 }];
    policy.groups[0].tests = ["web".to_owned()].into();
    policy
}

/// With both scripts.
pub(crate) fn with_scripts(mut policy: NodePolicy) -> NodePolicy {
    policy.groups[0].has_acquire_script = true;
    policy.groups[0].has_release_script = true;
    policy
}
