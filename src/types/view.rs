//! The immutable snapshot that the API, the page, DNS and the command line read, in the form of `status --json`.
//!
//! It holds all that placement reads, so that `simulate` can start from a saved one. Field names are the contract of
//! `docs/reference.md`; the JSON Schema is `docs/status.schema.json`.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::host::{HostId, HostKeys, Incarnation, Role};
use super::policy::{AllFailed, Assign, Handover, WhenEmpty};

/// What one host knows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct View {
    /// Version of this form: 1.
    pub version: u32,
    /// The host that says so.
    pub host: SelfView,
    /// Its groups.
    pub groups: Vec<GroupView>,
}

/// The host that says so.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SelfView {
    /// Its id.
    pub id: HostId,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Its control addresses.
    #[serde(default)]
    pub control: Vec<IpAddr>,
    /// Its start count.
    #[serde(default)]
    pub incarnation: Incarnation,
    /// Version of its program.
    #[serde(default)]
    pub software: String,
    /// How long its daemon has run.
    #[serde(default)]
    pub uptime_ms: u64,
    /// Its tests.
    #[serde(default)]
    pub tests: Vec<TestView>,
}

/// One test of this host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TestView {
    /// Its name.
    pub name: String,
    /// Whether it counts as passing.
    pub passing: bool,
    /// Results in a row that say the opposite.
    pub streak: u32,
    /// What the last probe said, if it failed.
    pub failure: Option<String>,
}

/// One group.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GroupView {
    /// Its name.
    pub name: String,
    /// `leader` or `swarm`.
    pub placement: String,
    /// Whom this host holds to be leader.
    pub leader: Option<HostId>,
    /// No moves at all.
    #[serde(default)]
    pub frozen: bool,
    /// How much longer; `null`: it is not frozen.
    #[serde(default)]
    pub frozen_remaining_ms: Option<u64>,
    /// What placement reads of the configuration.
    pub policy: PolicyView,
    /// All hosts known, ordered by id.
    pub hosts: Vec<HostView>,
    /// All addresses known, in order.
    pub addresses: Vec<AddressView>,
    /// The zone, if the group has one.
    pub zone: Option<ZoneView>,
    /// Datagrams dropped, by reason.
    #[serde(default)]
    pub dropped: std::collections::BTreeMap<String, u64>,
    /// What stands in the way of this host's service, in words.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// What placement reads of the configuration.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PolicyView {
    /// How the leader picks among equals.
    pub assign: Assign,
    /// `never` or a duration.
    pub rebalance: String,
    /// `never` or a duration.
    pub failback: String,
    /// Time between two `info` messages that this host goes by: the leader's.
    #[serde(default)]
    pub heartbeat: String,
    /// After how long a host is silent that this host goes by: the leader's.
    #[serde(default)]
    pub timeout: String,
    /// What happens when every host fails its tests.
    #[serde(default = "all_failed_default")]
    pub all_failed: AllFailed,
    /// How planned moves go: without a fence always `break`, whatever is configured.
    #[serde(default = "handover_default")]
    pub handover: Handover,
    /// How long an address is known that no live host prefers.
    #[serde(default = "orphan_lifetime_default")]
    pub orphan_lifetime_ms: u64,
    /// What decides who is in the zone; `null`: the group has none.
    #[serde(default)]
    pub zone: Option<ZonePolicyView>,
}

fn handover_default() -> Handover {
    Handover::Break
}

fn all_failed_default() -> AllFailed {
    AllFailed::Release
}

/// A year, as in the configuration.
fn orphan_lifetime_default() -> u64 {
    365 * 24 * 3600 * 1000
}

/// What decides who is in the zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ZonePolicyView {
    /// Percent.
    pub high_water: u32,
    /// Percent.
    pub low_water: u32,
    /// Per family.
    pub min_addresses: u32,
    /// What is answered when nobody is left.
    pub when_empty: WhenEmpty,
}

/// One host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HostView {
    /// Its id.
    pub id: HostId,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Its tests pass.
    pub ok: bool,
    /// Acquires nothing.
    #[serde(default)]
    pub quiesced: bool,
    /// Gives up what it holds.
    #[serde(default)]
    pub draining: bool,
    /// Has listened long enough.
    #[serde(default = "yes")]
    pub settled: bool,
    /// Not heard for `timeout`.
    #[serde(default)]
    pub silent: bool,
    /// Server or observer.
    #[serde(default)]
    pub role: Role,
    /// Brings no preferred address.
    pub spare: bool,
    /// This host.
    #[serde(rename = "self", default)]
    pub is_self: bool,
    /// Since its newest `info`.
    #[serde(default)]
    pub age_ms: u64,
    /// How long it may serve after it; `null`: unbounded.
    #[serde(default)]
    pub promise_ms: Option<u64>,
    /// Load.
    #[serde(default)]
    pub load: u32,
    /// Capacity.
    #[serde(default = "one")]
    pub capacity: u32,
    /// Load by capacity; `null` with capacity 0.
    #[serde(default)]
    pub utilization: Option<f64>,
    /// Version of its program.
    #[serde(default)]
    pub version: String,
    /// Group-wide keys, hashed.
    #[serde(default)]
    pub config_hash: String,
    /// Names of the group-wide keys that it has other values of than the leader, as far as is known; the leader's rule.
    #[serde(default)]
    pub differs: Vec<String>,
    /// Which keys of the group it has; `null`: not known.
    #[serde(default)]
    pub keys: Option<HostKeys>,
    /// Hosts that report hearing it.
    #[serde(default)]
    pub heard_by: Vec<HostId>,
    /// The control networks of the host that says so on which it hears this one directly; none for itself.
    #[serde(default)]
    pub networks: Vec<NetworkView>,
    /// Whether this host has its entry whole.
    #[serde(default = "yes")]
    pub complete: bool,
    /// Its preferred addresses.
    #[serde(default)]
    pub preferred: Vec<IpAddr>,
    /// What it may be given; empty: anything.
    #[serde(default)]
    pub accept: Vec<AcceptView>,
    /// What it holds.
    #[serde(default)]
    pub serving: Vec<ServingView>,
    /// Failed acquires in back-off.
    #[serde(default)]
    pub failed: Vec<FailedView>,
}

fn yes() -> bool {
    true
}

/// A host of which no load is known is idle.
fn one() -> u32 {
    1
}

/// How a host is heard on one control network.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NetworkView {
    /// Which: by index into the control addresses of the host that says so.
    pub network: u8,
    /// Its multicast arrives.
    pub multicast: bool,
    /// Its unicast arrives; it is sent only where it is needed or configured.
    pub unicast: bool,
    /// The share of its last datagrams that did not arrive there in either way.
    pub loss: f64,
}

/// An address or a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AcceptView {
    /// One address.
    Address(IpAddr),
    /// A network.
    Network(IpNet),
}

impl AcceptView {
    /// The network; an address is one of its own.
    #[must_use]
    pub fn network(self) -> IpNet {
        match self {
            Self::Address(address) => IpNet::from(address),
            Self::Network(network) => network,
        }
    }
}

impl From<IpNet> for AcceptView {
    fn from(network: IpNet) -> Self {
        if network.prefix_len() == network.max_prefix_len() { Self::Address(network.addr()) } else { Self::Network(network) }
    }
}

/// What a host holds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServingView {
    /// The address.
    pub address: IpAddr,
    /// `acquiring`, `online` or `releasing`.
    pub state: String,
}

/// A failed acquire.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FailedView {
    /// The address.
    pub address: IpAddr,
    /// How many in a row.
    pub count: u32,
    /// How long the host is still not to be given it.
    pub back_off_ms: u64,
}

/// One address.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AddressView {
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// The host that prefers it, or did last.
    pub preferred_host: Option<HostId>,
    /// Served though nobody prefers it.
    #[serde(default)]
    pub floating: bool,
    /// `unserved`, `acquiring`, `online` or `releasing`.
    pub state: String,
    /// Hosts that hold it.
    pub served_by: Vec<HostId>,
    /// Hosts whose kernel has it.
    #[serde(default)]
    pub kernel: Vec<HostId>,
    /// Its highest epoch.
    #[serde(default)]
    pub epoch: u64,
    /// How long it has been in this state at these hosts, as seen from here.
    #[serde(default)]
    pub since_ms: u64,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// The operator has moved it there: it stays until another reason moves it.
    #[serde(default)]
    pub pinned: bool,
    /// How long its preferred host must have been well to get it back; `null`: it never does, or there is none.
    #[serde(default)]
    pub failback_ms: Option<u64>,
    /// How often that has doubled because returns did not last.
    #[serde(default)]
    pub failback_doublings: u32,
    /// Until its preferred host, which is well, gets it back; `null`: that is not being waited for.
    #[serde(default)]
    pub failback_remaining_ms: Option<u64>,
    /// Until it expires; `null`: it is not orphaned.
    pub orphan_remaining_ms: Option<u64>,
    /// In the zone.
    #[serde(default)]
    pub advertised: bool,
    /// Time in which nobody held it, as seen from here.
    #[serde(default)]
    pub unserved_ms_total: u64,
    /// Time in which more than one host held it, as seen from here.
    #[serde(default)]
    pub double_ms_total: u64,
}

/// The zone.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ZoneView {
    /// Its name.
    pub name: String,
    /// Serial of the list.
    pub serial: u32,
    /// What is advertised.
    pub advertised: Vec<IpAddr>,
    /// Preferred addresses of known hosts that are not, and why.
    pub withheld: Vec<WithheldView>,
    /// Its name servers, as configured.
    #[serde(default)]
    pub nameservers: Vec<NameserverView>,
}

/// A name server of a zone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NameserverView {
    /// Its name, absolute.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A preferred address that is not advertised.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WithheldView {
    /// The address.
    pub address: IpAddr,
    /// Why, in words of a closed list.
    pub reason: String,
    /// Which host, and what it would take, for people.
    #[serde(default)]
    pub detail: String,
}
