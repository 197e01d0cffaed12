//! What the configuration says, in the form that the core reads: validated, no paths, no sockets.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::host::{HostId, HostKeys, Role};
use super::item::ServiceAddress;

/// All that the core of one host is told by its configuration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodePolicy {
    /// This host.
    pub host: HostPolicy,
    /// Its groups, ordered by name.
    pub groups: Vec<GroupPolicy>,
    /// Its tests, ordered by name.
    pub tests: Vec<TestPolicy>,
}

/// Who this host is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostPolicy {
    /// Its id.
    pub id: HostId,
    /// For people.
    pub name: String,
    /// Its control addresses, in the order of its networks; one that is not there yet is left out only from `info`.
    pub control: Vec<IpAddr>,
    /// Where it stands (swarm).
    pub location: String,
    /// What it can do (swarm).
    pub capabilities: Vec<String>,
}

/// Hysteresis of one test.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TestPolicy {
    /// Its name.
    pub name: String,
    /// So many passes in a row make a failing test pass.
    pub rise: u32,
    /// So many failures in a row make a passing test fail.
    pub fall: u32,
}

/// One group on this host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupPolicy {
    /// Its name.
    pub name: String,
    /// The service interface.
    pub interface: String,
    /// Server or observer.
    pub role: Role,
    /// This host's preferred addresses; none: a hot spare.
    pub preferred: Vec<ServiceAddress>,
    /// Served though nobody prefers them.
    pub floating: Vec<ServiceAddress>,
    /// What this host may be given; empty: anything.
    pub accept: Vec<IpNet>,
    /// Whether it has a group address; else it talks by unicast only.
    pub multicast: bool,
    /// Control addresses of hosts that are sent to by unicast from the start.
    pub peers: Vec<IpAddr>,
    /// Names of its tests.
    pub tests: BTreeSet<String>,
    /// Names of its loads.
    pub loads: BTreeSet<String>,
    /// Whether an acquire script is configured.
    pub has_acquire_script: bool,
    /// Whether a release script is configured.
    pub has_release_script: bool,
    /// The longest that a script may take.
    pub script_timeout: Duration,
    /// Announcements.
    pub announce: AnnouncePolicy,
    /// Which keys of the group this host has.
    pub keys: HostKeys,
    /// Keys that are the same on every host of the group; the leader's rule.
    pub shared: SharedPolicy,
}

/// How a held address is announced.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AnnouncePolicy {
    /// ARP and ND, or left to the scripts.
    pub method: AnnounceMethod,
    /// How often after an acquire, spread over a second.
    pub count: u32,
    /// How often while held.
    pub refresh: Duration,
}

/// Who moves the traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AnnounceMethod {
    /// The daemon: gratuitous ARP and unsolicited neighbour advertisements.
    Link,
    /// The acquire script (a cloud's interface, a routing daemon).
    None,
}

/// The group-wide keys (marked G in the reference), hashed into every `info`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SharedPolicy {
    /// Time between two `info` messages of a host.
    pub heartbeat: Duration,
    /// A host not heard for so long is silent.
    pub timeout: Duration,
    /// An orphaned address expires after so long.
    pub orphan_lifetime: Duration,
    /// How the leader picks among equals.
    pub assign: Assign,
    /// When a preferred host gets its address back.
    pub failback: Failback,
    /// When floating addresses of an uneven pool are evened out; `None`: never.
    pub rebalance: Option<Duration>,
    /// What happens when every host fails its tests.
    pub all_failed: AllFailed,
    /// How a planned move goes.
    pub handover: Handover,
    /// The zone, if the group has one.
    pub zone: Option<ZonePolicy>,
}

/// What of the group-wide keys every host goes by, in one word: the leader's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ruling {
    /// Time between two `info` messages of a host.
    pub heartbeat: Duration,
    /// A host not heard for so long is silent.
    pub timeout: Duration,
    /// What happens when every host fails its tests.
    pub all_failed: AllFailed,
}

/// How the leader picks among equals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assign {
    /// Drawn from (group, address, epoch).
    Random,
    /// Fewest addresses, then least utilized, then lowest id.
    Fair,
    /// Least utilized, then fewest addresses, then lowest id.
    LeastLoaded,
}

/// When a preferred host gets its address back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Failback {
    /// Once it has been well for so long.
    After(Duration),
    /// Not before another reason moves the address.
    Never,
}

/// How a planned move goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Handover {
    /// The next holder takes the address when the last one has let go.
    Break,
    /// The next holder is ready before the last one lets go. It needs a fence that keeps the address from being answered
    /// twice; without one it is [`Self::Break`].
    Overlap,
}

/// What happens when every host fails its tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AllFailed {
    /// Every host releases (the seed's choice).
    Release,
    /// A not-ok holder waits until an eligible host is found.
    Keep,
}

/// The group's DNS zone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ZonePolicy {
    /// Absolute name with trailing dot, lower case.
    pub name: String,
    /// Time to live of addresses.
    pub ttl: Duration,
    /// Percent.
    pub high_water: u32,
    /// Percent.
    pub low_water: u32,
    /// Per family.
    pub min_addresses: u32,
    /// 0: as many as fit.
    pub max_answers: u32,
    /// What is answered when nobody is left.
    pub when_empty: WhenEmpty,
    /// Names of the name servers (absolute) with their addresses.
    pub nameservers: Vec<(String, Vec<IpAddr>)>,
    /// Mail address of the contact, as written.
    pub contact: String,
}

/// What the zone answers when nobody is left to advertise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenEmpty {
    /// No data, with a short negative time to live.
    Nodata,
    /// The preferred addresses of all live hosts.
    All,
}

impl SharedPolicy {
    /// What the other hosts go by while this host leads.
    #[must_use]
    pub fn ruling(&self) -> Ruling {
        Ruling { heartbeat: self.heartbeat, timeout: self.timeout, all_failed: self.all_failed }
    }

    /// The group-wide keys, in an order that never changes; what is added goes to the end.
    pub const KEYS: [&str; 9] =
        ["heartbeat", "timeout", "orphan_lifetime", "assign", "failback", "rebalance", "all_failed", "dns", "handover"];

    /// A short hash of the value of each of [`Self::KEYS`]: tells which of them differ between two hosts.
    ///
    /// # Panics
    /// Never: postcard can write every value of this type.
    #[must_use]
    pub fn key_hashes(&self) -> Vec<u16> {
        let Self { heartbeat, timeout, orphan_lifetime, assign, failback, rebalance, all_failed, handover, zone } = self;
        let hashes: [u16; Self::KEYS.len()] = [
            key_hash(heartbeat),
            key_hash(timeout),
            key_hash(orphan_lifetime),
            key_hash(assign),
            key_hash(failback),
            key_hash(rebalance),
            key_hash(all_failed),
            key_hash(zone),
            key_hash(handover),
        ];
        hashes.to_vec()
    }

    /// The hash that travels in `info`: equal configurations have equal hashes on every host and in every build, since it
    /// is taken over the specified bytes of postcard.
    ///
    /// # Panics
    /// Never: postcard can write every value of this type.
    #[must_use]
    #[expect(clippy::expect_used, reason = "numbers, strings and lists in memory cannot fail to be written")]
    pub fn config_hash(&self) -> u64 {
        use std::hash::Hasher;
        let mut hasher = super::fnv::Fnv::default();
        hasher.write(&postcard::to_stdvec(self).expect("a policy is plain data"));
        hasher.finish()
    }
}

/// The low bits of the hash of a value.
#[expect(clippy::expect_used, reason = "numbers, strings and lists in memory cannot fail to be written")]
fn key_hash(value: &impl Serialize) -> u16 {
    use std::hash::Hasher;
    let mut hasher = super::fnv::Fnv::default();
    hasher.write(&postcard::to_stdvec(value).expect("a policy is plain data"));
    let [low, high, ..] = hasher.finish().to_le_bytes();
    u16::from_le_bytes([low, high])
}
