//! Control messages: what hosts tell each other.
//!
//! A message is a header and an ordered list of records. Each record stands for itself: it names the host and version it
//! belongs to, so it can travel in any datagram, be lost, come twice or late, and be relayed by others.
//!
//! ```text
//!   info     = Head(self) Hearing.. Detail Items..                     what I am, whom I hear, what I hold
//!              Head(other) Hearing.. Detail Items..                    the same of others, relayed with age
//!              Addresses..                                             the service-address database
//!              Zone..                                                  the leader's list
//!              Command..                                               commands not yet answered
//!              Wish.. Verdict.. Freeze                                 what operators want, the leader's word on it
//!   acquire  = Command     release = Command                           the leader to one host
//! ```
//!
//! An entry (detail and items of one host) has a version, a count and a digest in its head; a receiver that has not
//! collected what they say knows that the entry is incomplete.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::host::{BootId, EntryVersion, Hearing, HostDetail, HostHead, HostId, HostItem, Incarnation, Sequence};
use super::item::{Epoch, Item, Reason};

/// The most addresses of one part of a zone list. The other lists have no such bound: packing cuts them where a datagram
/// is full, so one that arrives has at most 255 members.
pub const RECORD_MEMBERS_MAX: usize = 16;

/// What a message is for; every kind may carry every record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MessageKind {
    /// How a host is.
    Info,
    /// Take an item.
    Acquire,
    /// Give an item up.
    Release,
}

/// One message to a group, before it is packed into datagrams.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// What it is for.
    pub kind: MessageKind,
    /// The sender's incarnation at this moment.
    pub incarnation: Incarnation,
    /// What it says, the most important first.
    pub records: Vec<Record>,
}

/// Who sent a datagram, and which.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sender {
    /// The host.
    pub host: HostId,
    /// Its start count.
    pub incarnation: Incarnation,
    /// Its start.
    pub boot: BootId,
}

/// A piece of a message that stands for itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Record {
    /// The ever-changing part of a host's entry. Boxed: by far the largest.
    Head(Box<HostHead>),
    /// Whom a host hears.
    Hearing(HearingRecord),
    /// The part of an entry that hardly ever changes.
    Detail(Box<DetailRecord>),
    /// Some items of an entry.
    Items(ItemsRecord),
    /// Some addresses of the sender's database.
    Addresses(Vec<AddressRecord>),
    /// A part of the zone list.
    Zone(ZoneRecord),
    /// An acquire or release.
    Command(Command),
    /// What an operator wishes of the leader.
    Wish(Wish),
    /// The leader's word on a wish.
    Verdict(VerdictRecord),
    /// Whether the group is frozen.
    Freeze(Freeze),
}

/// Whom host `by` hears.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HearingRecord {
    /// The host that reports.
    pub by: HostId,
    /// Its start.
    pub boot: BootId,
    /// The `info` of `by` that said so.
    pub sequence: Sequence,
    /// What it hears.
    pub heard: Vec<Hearing>,
}

/// Detail of a host's entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DetailRecord {
    /// Whose.
    pub id: HostId,
    /// Of which start.
    pub boot: BootId,
    /// The version with which it last changed.
    pub version: EntryVersion,
    /// What it says.
    pub detail: HostDetail,
}

/// Some items of a host's entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ItemsRecord {
    /// Whose.
    pub id: HostId,
    /// Of which start.
    pub boot: BootId,
    /// The items.
    pub items: Vec<VersionedItem>,
}

/// An item of an entry with the version at which it last changed. The higher version wins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum VersionedItem {
    /// As the host sees it since `version`.
    Present {
        /// The version with which it last changed.
        version: EntryVersion,
        /// The item.
        item: HostItem,
    },
    /// No part of the entry any more.
    Gone {
        /// The version with which it left.
        version: EntryVersion,
        /// The item.
        item: Item,
    },
}

/// One address of the service-address database.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AddressRecord {
    /// The item.
    pub item: Item,
    /// Prefix length; 0 for a data set.
    pub prefix: u8,
    /// The host that prefers it, or did last.
    pub preferred_host: Option<HostId>,
    /// A live host's configuration floats it, or did last.
    pub floating: bool,
    /// How long no live host has preferred or floated it.
    pub orphaned: Duration,
    /// How long ago its preferred host last served it; `None`: never.
    pub home_served: Option<Duration>,
    /// How long it may be orphaned before it expires.
    pub lifetime: Duration,
    /// The highest epoch known.
    pub epoch: Epoch,
    /// It has expired; outranks every entry of the same or a lower epoch.
    pub tombstone: bool,
    /// Its returns to its preferred host; `None`: it never came back from another.
    #[serde(default)]
    pub returned: Option<Returned>,
}

/// Returns of an address to its preferred host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Returned {
    /// How long ago the last was.
    pub ago: Duration,
    /// How many in a row came within ten minutes of the one before: each doubles `failback`.
    pub quick: u32,
}

/// A part of the leader's list for the zone. At most [`RECORD_MEMBERS_MAX`] addresses; an empty list takes one part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ZoneRecord {
    /// The leader that decided it.
    pub leader: HostId,
    /// Grows with each change.
    pub serial: u32,
    /// This part, from 0.
    pub part: u16,
    /// How many parts there are.
    pub parts: u16,
    /// The addresses to advertise.
    pub addresses: Vec<IpAddr>,
}

/// What a leader tells a host to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum CommandKind {
    /// Take the items.
    Acquire,
    /// Give the items up.
    Release,
}

/// An acquire or release from a leader to one host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Command {
    /// What to do.
    pub kind: CommandKind,
    /// The leader that decided it.
    pub leader: HostId,
    /// Its start.
    pub leader_boot: BootId,
    /// Who is to obey.
    pub to: HostId,
    /// Which of its incarnations.
    pub to_incarnation: Incarnation,
    /// The newest `info` of the destination that the decision rests on.
    pub based_on: Sequence,
    /// What to take or give up.
    pub items: Vec<CommandItem>,
}

/// One item of a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommandItem {
    /// The item.
    pub item: Item,
    /// Prefix length; 0 for a data set.
    pub prefix: u8,
    /// Acquire: the epoch of the new holding. Release: the epoch of the holding to end.
    pub epoch: Epoch,
    /// Why.
    pub reason: Reason,
    /// Acquire: the host that goes on serving the item until the one that is told is online. Only a host with a fence obeys.
    pub overlaps: Option<HostId>,
}

/// What an operator wishes of the leader. The host that he asked repeats it until it has the leader's word, so that a new
/// leader learns of it as well.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wish {
    /// The host that was asked.
    pub by: HostId,
    /// Its start.
    pub boot: BootId,
    /// The `info` of `by` that said so.
    pub sequence: Sequence,
    /// Counted per boot: a wish that is repeated keeps its number.
    pub number: u64,
    /// How much longer the operator waits.
    pub left: Duration,
    /// What he wishes.
    pub kind: WishKind,
}

/// What an operator may wish of the leader.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WishKind {
    /// An item is to be somewhere.
    Move {
        /// The item.
        item: Item,
        /// Where; `None`: at its preferred host.
        to: Option<HostId>,
    },
    /// Floating addresses are to be evened out, once.
    Rebalance,
}

/// The leader's word on a wish, repeated as long as the wish is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VerdictRecord {
    /// The leader.
    pub leader: HostId,
    /// The `info` of the leader that said so.
    pub sequence: Sequence,
    /// The host that was asked.
    pub to: HostId,
    /// Its start.
    pub boot: BootId,
    /// The number of the wish.
    pub number: u64,
    /// What has become of it.
    pub verdict: Verdict,
}

/// What has become of a wish.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Verdict {
    /// The item has come to this host.
    Done(HostId),
    /// The item was at this host already.
    There(HostId),
    /// So many floating addresses have been told to move.
    Evened {
        /// None: they were even.
        moves: u32,
    },
    /// The rules do not allow it.
    Refused {
        /// Why not.
        why: Refusal,
        /// The host that it is about.
        host: Option<HostId>,
    },
}

/// Why a leader refuses a wish.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// Nobody in the group knows the item.
    Unknown,
    /// The group is frozen.
    Frozen,
    /// No live host prefers the item.
    NoHome,
    /// It is on its way to a host that another operator has named.
    OrderedElsewhere,
    /// The host is not live.
    HostAway,
    /// Not all of the host's entry is known, or it replaces its own program.
    HostBusy,
    /// The host's tests fail, or it is an observer.
    HostNotOk,
    /// The host has not listened long enough.
    HostNotSettled,
    /// The host is quiesced.
    HostQuiesced,
    /// The host is draining.
    HostDraining,
    /// The host's `accept` does not hold the item.
    HostNotAccepting,
    /// The host has failed to acquire the item.
    HostInBackOff,
}

/// Whether the group is frozen: the newest word of an operator, which every host repeats. Of two the one with the higher
/// (number, host) is newer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Freeze {
    /// One above the newest that was known where it was said.
    pub number: u64,
    /// The host that was asked.
    pub by: HostId,
    /// How much longer nothing is moved; zero: the group is thawed.
    pub left: Duration,
}
