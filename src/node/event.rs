//! What happens to this host: everything that the core is told, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::action::StoredGroup;
use crate::types::host::BootId;
use crate::types::item::{Item, ServiceAddress};
use crate::types::message::{Record, Sender};
use crate::types::policy::NodePolicy;

/// Numbers the operations that the core asks for; each is answered exactly once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct OpId(pub u64);

/// Numbers the operator's requests; each is answered exactly once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Token(pub u64);

/// A group's place in this daemon. At start they are numbered in the order of [`NodePolicy::groups`]; a group that begins
/// later gets a number that none had before, so that what is said late of one that has ended reaches nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct GroupIndex(pub usize);

/// One thing that happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The deadline has come.
    Timeout,
    /// A datagram of a group has been opened.
    Heard(Heard),
    /// An operation has ended.
    Finished {
        /// Which.
        op: OpId,
        /// How.
        outcome: Outcome,
    },
    /// A test has been probed.
    Tested {
        /// Its name.
        test: String,
        /// What the probe said.
        result: TestResult,
    },
    /// A load has been probed.
    Loaded {
        /// Its name.
        load: String,
        /// What the probe said; `None`: it could not be read and counts as capacity 0.
        sample: Option<LoadSample>,
    },
    /// The kernel reports a change that this daemon may or may not have made.
    Kernel(KernelChange),
    /// An operator asks.
    Asked {
        /// Which request.
        token: Token,
        /// For what.
        request: Request,
    },
    /// The configuration was read again, is valid, and holds from here on. Boxed: by far the largest.
    Reloaded(Box<Reload>),
    /// The daemon is told to stop.
    Stopped,
}

/// A configuration in place of the one before.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reload {
    /// All of it. The host's id is the same as before.
    pub policy: NodePolicy,
    /// Where each of its groups is, in their order. A group of before that is not among them is given up.
    pub places: Vec<GroupPlace>,
    /// How the interfaces are that it names.
    pub links: BTreeMap<String, Link>,
    /// Tests that probe something else than before, or otherwise: their results in a row start again.
    pub changed_tests: BTreeSet<String>,
}

/// Where a group of a new configuration is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum GroupPlace {
    /// It goes on.
    Stays(GroupIndex),
    /// It begins, at once or when a group of the same name that is being given up has ended.
    Begins {
        /// Its place, which no other group had.
        group: GroupIndex,
        /// Drawn for it: the group's farewell, if it was here before, has ended the boot that it had then.
        boot: BootId,
        /// What it kept on disk.
        stored: StoredGroup,
    },
}

impl GroupPlace {
    /// Its number.
    #[must_use]
    pub fn group(&self) -> GroupIndex {
        match self {
            Self::Stays(group) | Self::Begins { group, .. } => *group,
        }
    }
}

/// One datagram that was opened: authentic, of this group, not too old, perhaps a duplicate.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Heard {
    /// The group.
    pub group: GroupIndex,
    /// The control network it came in on, by index into [`crate::types::policy::HostPolicy::control`].
    pub network: u8,
    /// In which way it came.
    pub way: Way,
    /// Who sent it.
    pub sender: Sender,
    /// The sender's number for this datagram, counted per boot; tells how many were lost on a network.
    pub number: u64,
    /// Whether this datagram is new or has come in before (usually on another network).
    pub arrival: Arrival,
    /// What it says. Empty for a duplicate.
    pub records: Vec<Record>,
}

/// The way of a datagram over a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Way {
    /// To the group address.
    Multicast,
    /// To this host's control address.
    Unicast,
}

/// Whether a datagram is new.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Arrival {
    /// The first copy.
    First,
    /// A further copy.
    Again,
}

/// How an operation ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// As asked. Adding what is there and removing what is not count as done.
    Done,
    /// Not as asked.
    Failed {
        /// Why, for people: names the operation and the values.
        why: String,
    },
    /// A script was killed at its timeout.
    TimedOut,
}

/// What a probe of a test said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TestResult {
    /// It can serve.
    Passed,
    /// It cannot.
    Failed {
        /// Why, for people.
        why: String,
    },
}

/// What a probe of a load said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LoadSample {
    /// In the unit of `capacity`.
    pub load: u32,
    /// Zero counts as overloaded.
    pub capacity: u32,
}

/// What the kernel reports.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum KernelChange {
    /// An address is on an interface.
    AddressPresent {
        /// Where.
        interface: String,
        /// Which.
        address: ServiceAddress,
        /// Whose.
        mark: Mark,
    },
    /// An address is on an interface no longer.
    AddressAbsent {
        /// Where.
        interface: String,
        /// Which.
        address: ServiceAddress,
    },
    /// The state of an interface that the configuration names.
    Link {
        /// Which.
        interface: String,
        /// How it is.
        link: Link,
    },
    /// The control address of a network that is configured by its interface.
    ControlAddress {
        /// The network's index.
        network: u8,
        /// Which.
        address: std::net::IpAddr,
    },
    /// A control network works or not.
    Network {
        /// Its index.
        network: u8,
        /// `None`: it works; else why it does not, with the remedy.
        fault: Option<String>,
    },
}

/// Whether an address carries this program's mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Mark {
    /// Ours (`IFA_PROTO`).
    Ours,
    /// Put there by something else.
    Foreign,
}

/// How an interface is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Link {
    /// There is none of that name.
    Absent,
    /// There, but down or without carrier.
    Down,
    /// Usable.
    Up {
        /// Its hardware address.
        mac: Option<[u8; 6]>,
    },
}

/// What an operator asks of this host. `group: None` stands for all groups.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Give up what is held, acquire nothing; answered when it is gone or `timeout` has ended.
    Drain {
        /// Which group.
        group: Option<String>,
        /// How long to wait.
        timeout: std::time::Duration,
        /// For people.
        reason: String,
    },
    /// Expire an orphaned address now.
    Expire {
        /// Which group.
        group: Option<String>,
        /// The address.
        item: Item,
    },
    /// Why an address or host is where it is or how it is, and what comes next.
    Explain {
        /// Which group.
        group: Option<String>,
        /// An address, or a host by id or name.
        subject: String,
    },
    /// Forget a host that will not come back.
    Forget {
        /// Which group.
        group: Option<String>,
        /// The host, by id or name.
        host: String,
    },
    /// No moves at all in the group; answered when the leader heeds it.
    Freeze {
        /// Which group.
        group: Option<String>,
        /// How long.
        duration: std::time::Duration,
    },
    /// Put an address on a host; answered when it is there, refused, or `timeout` has ended.
    Move {
        /// Which group.
        group: Option<String>,
        /// The address.
        item: Item,
        /// The host, by id or name; `None`: its preferred host.
        to: Option<String>,
        /// How long to wait.
        timeout: std::time::Duration,
    },
    /// Acquire nothing, keep what is served.
    Quiesce {
        /// Which group.
        group: Option<String>,
        /// For people.
        reason: String,
    },
    /// Even out floating addresses, once.
    Rebalance {
        /// Which group.
        group: Option<String>,
    },
    /// End of quiesce and drain.
    Resume {
        /// Which group.
        group: Option<String>,
    },
    /// The state of this host.
    Status,
    /// End of a freeze.
    Thaw {
        /// Which group.
        group: Option<String>,
    },
}

/// How a request ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Done; what happened, for people.
    Done {
        /// One line.
        message: String,
    },
    /// Why.
    Explained(Box<crate::types::explanation::Explanation>),
    /// Refused, or not possible; why and what to do, for people.
    Refused {
        /// One line.
        why: String,
    },
    /// The state.
    Status(Box<crate::types::view::View>),
}
