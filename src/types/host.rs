//! Who a host is and what it says of itself: the host information entry.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::item::{Epoch, Item, ItemState};
use super::policy::Ruling;

/// The most control networks that a host may have.
pub const NETWORKS_MAX: usize = 8;

/// A host's id: its first control address unless configured. IPv4 sorts before IPv6, each numerically.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(pub IpAddr);

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for HostId {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// How often a host's daemon has started: on disk, and never lower than what others have heard of this host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// 128 random bits per start of a daemon.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BootId(pub [u8; 16]);

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The number of an `info` within a boot; the first is 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Reserved for the farewell: this incarnation has ended and holds nothing.
    pub const FAREWELL: Self = Self(u64::MAX);
}

/// Grows with each change of a host's detail or items. Zero stands for "nothing known".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryVersion(pub u64);

/// What an operator wants of a host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub enum Duty {
    /// Acquire what the leader assigns.
    #[default]
    Active,
    /// Acquire nothing, keep what is served.
    Quiesced,
    /// Acquire nothing and give up what is served.
    Draining,
}

/// What a member is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Serves addresses.
    #[default]
    Server,
    /// Hears everything, says not-ok, is assigned nothing.
    Observer,
}

/// Count and digest of a set that travels in pieces; a receiver whose own set has both the same has it whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Extent {
    /// How many members the set has.
    pub count: u32,
    /// Exclusive or of the 64-bit FNV-1a hashes of the members, each as `docs/protocol.md` lays it out.
    pub digest: u64,
}

/// The short, ever-changing part of a host information entry: in every `info`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostHead {
    /// Whose entry this is.
    pub id: HostId,
    /// Its start count.
    pub incarnation: Incarnation,
    /// Its start.
    pub boot: BootId,
    /// The newest `info` of it that this head was taken from.
    pub sequence: Sequence,
    /// How long ago that `info` arrived at the first host that heard it directly, relays included; zero from the host itself.
    pub age: Duration,
    /// How long its daemon has run.
    pub uptime: Duration,
    /// Version of detail and items.
    pub version: EntryVersion,
    /// Extent of the items.
    pub items: Extent,
    /// All tests pass.
    pub ok: bool,
    /// What the operator wants of it.
    pub duty: Duty,
    /// Has listened long enough to decide.
    pub settled: bool,
    /// Server or observer.
    pub role: Role,
    /// It brings no preferred address.
    pub spare: bool,
    /// It asks for no moves at all in the group for so long.
    pub frozen: Option<Duration>,
    /// It replaces its own program and says nothing meanwhile.
    pub restarting: bool,
    /// The group-wide keys of its configuration, hashed.
    pub config_hash: u64,
    /// What it goes by: its own values if it leads or knows no leader, else what the leader says here.
    pub ruling: Ruling,
    /// Load, in the unit of `capacity`, of the load object with the greatest utilization.
    pub load: u32,
    /// Capacity; zero counts as overloaded.
    pub capacity: u32,
    /// How long after this `info` was sent it may at most go on serving; `None`: unbounded.
    pub promise: Option<Duration>,
    /// Extent of its service-address database.
    pub database: Extent,
    /// Serial of the zone list that it has whole.
    pub zone_serial: u32,
}

/// The part of a host information entry that hardly ever changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostDetail {
    /// For people.
    pub name: String,
    /// Version of the program.
    pub software: String,
    /// Addresses over which it talks, in the order of its networks; unspecified where a network has none yet.
    pub control: Vec<IpAddr>,
    /// It sends to a group address and listens there; else it talks by unicast only.
    pub multicast: bool,
    /// Hardware address of its service interface.
    pub mac: Option<[u8; 6]>,
    /// What it may be given; empty: anything.
    pub accept: Vec<IpNet>,
    /// Where it stands (swarm).
    pub location: String,
    /// What it can do (swarm).
    pub capabilities: Vec<String>,
    /// Each group-wide key of its configuration, hashed, in the order of [`SharedPolicy::KEYS`].
    ///
    /// [`SharedPolicy::KEYS`]: super::policy::SharedPolicy::KEYS
    pub config: Vec<u16>,
    /// Which keys it has.
    pub keys: HostKeys,
}

/// Names a key of a group; in every datagram. 0 stands for the one that is made of the group's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub u32);

impl KeyId {
    /// The id of the key that is made of the group's name.
    pub const INSECURE: Self = Self(0);
}

/// The keys of one host of a group, by their ids. What they are stays in the key files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostKeys {
    /// The one that seals what it sends.
    pub sends: KeyId,
    /// All that open what it hears, in the order of its key file, which is that of their age.
    pub opens: Vec<KeyId>,
}

impl HostKeys {
    /// Those of a group without keys.
    #[must_use]
    pub fn insecure() -> Self {
        Self { sends: KeyId::INSECURE, opens: vec![KeyId::INSECURE] }
    }
}

/// One item as one host sees it: what it prefers, floats, holds, or failed to acquire.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostItem {
    /// The item.
    pub item: Item,
    /// Prefix length of an address; 0 for a data set.
    pub prefix: u8,
    /// The host prefers it.
    pub preferred: bool,
    /// The host's configuration floats it.
    pub floating: bool,
    /// What the host does with it.
    pub state: ItemState,
    /// Epoch of the holding, or the highest that the host has obeyed for it.
    pub epoch: Epoch,
    /// The host's kernel has it, gate open.
    pub kernel: bool,
    /// The operator has moved it here: it stays until another reason moves it.
    pub pinned: bool,
    /// Failed acquires.
    pub failed: Option<FailedAcquire>,
}

/// Failed acquires of one item on one host, in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FailedAcquire {
    /// How many in a row.
    pub count: u32,
    /// How long the host is still not to be given it.
    pub back_off: Duration,
}

/// What one host reports of hearing another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hearing {
    /// The host that is heard.
    pub host: HostId,
    /// The first eight bytes of the boot id that is heard.
    pub boot: BootTag,
    /// The newest `info` of it that arrived, directly or by relay.
    pub sequence: Sequence,
    /// Whether it has proved that it lives now.
    pub proved: bool,
    /// The newest version of its entry that the reporter has whole.
    pub complete: EntryVersion,
    /// Where it is heard directly; empty: by relay only.
    pub networks: Vec<NetworkHearing>,
}

/// The first eight bytes of a boot id: enough to tell starts apart in a hearing report.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct BootTag(pub [u8; 8]);

impl BootId {
    /// The short form of hearing reports.
    #[must_use]
    pub fn tag(self) -> BootTag {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        BootTag([a, b, c, d, e, f, g, h])
    }
}

/// How well a host is heard on one control network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct NetworkHearing {
    /// The reporter's control network, counted from 0 in the order of its control addresses.
    pub network: u8,
    /// Datagrams lost of the last that were sent, in 255ths.
    pub loss: u8,
    /// Its multicast arrives there; else it is heard by unicast only, or not for a moment.
    pub multicast: bool,
}
