//! What `raisctl events` and `GET /api/v1/events` say of one event: one JSON object a line.
//!
//! Keys and words are a contract (`docs/events.schema.json`): every key is always there. Written by `process/journal.rs`,
//! kept by the ring of `ports/api/events.rs`, read by the operator's side.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::host::HostId;
use super::item::Reason;

/// The version of this form.
pub const RECORDED_VERSION: u32 = 1;

/// One event, as it is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recorded {
    /// Version of this form: 1.
    pub version: u32,
    /// The start of the daemon that recorded it, 32 hexadecimal digits: numbers of two starts have nothing to do with each other.
    pub boot: String,
    /// Counts the events of that start, from 1; of [`Kind::Missed`] the number of the last one that was missed.
    pub sequence: u64,
    /// By the wall clock of the host, RFC 3339, in UTC.
    pub time: String,
    /// How long ago by the monotonic clock, when it was told.
    pub age_ms: u64,
    /// What happened.
    pub kind: Kind,
    /// In which group; `null`: it concerns the host.
    pub group: Option<String>,
    /// The service address, if it is about one.
    pub address: Option<IpAddr>,
    /// The host that it is about, if it is about one.
    pub host: Option<HostId>,
    /// That host's name, if it is known.
    pub name: Option<String>,
    /// Why, of a move or a decision about one.
    pub reason: Option<Reason>,
    /// Epoch of the holding, of a move or a decision about one.
    pub epoch: Option<u64>,
    /// What the other keys do not say, for people; may be empty.
    pub detail: String,
}

/// What happened: a closed list. The words that are traps have the trap's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// This host has taken an address.
    Acquire,
    /// This host could not take an address and is not given it for a while.
    AcquireFail,
    /// At start an unmarked address of the group is on the interface; it is left alone.
    AddressForeign,
    /// An unmarked address of the group came onto the interface; it is taken over.
    AddressFound,
    /// Something else removed an address that this host holds.
    AddressLost,
    /// This host can serve.
    CanServe,
    /// Nobody can take an address.
    CannotAssign,
    /// This host cannot serve although no test has failed.
    CannotServe,
    /// Group-wide keys of a host differ from the leader's.
    ConfigurationDiffers,
    /// Several live hosts prefer the same address.
    Conflict,
    /// This host, as leader, tells a host to take an address.
    DecidedAcquire,
    /// This host, as leader, tells a host to give an address up.
    DecidedRelease,
    /// The operator drains this host.
    Draining,
    /// Another daemon uses this host's id.
    DuplicateId,
    /// Several hosts held an address; one keeps it.
    DuplicateSettled,
    /// An address is known no longer.
    Expired,
    /// This host goes by the leader's values of group-wide keys.
    Follows,
    /// An operator has the group frozen.
    Frozen,
    /// A group that was not configured before begins.
    GroupBegins,
    /// A group that is configured no longer has said goodbye.
    GroupEnded,
    /// A host is heard for the first time, or again.
    HostHeard,
    /// A host said goodbye.
    HostLeft,
    /// A host has not been heard for `timeout`.
    HostSilent,
    /// This host follows another leader.
    LeaderChanged,
    /// More was heard than is remembered.
    LimitReached,
    /// Events that were overwritten before this caller read them.
    Missed,
    /// Multicast of hosts that are heard does not arrive on a control network; unicast is used instead.
    MulticastFails,
    /// It arrives again.
    MulticastWorks,
    /// A control network or interface does not work.
    NetworkFails,
    /// A control network or interface works again.
    NetworkWorks,
    /// The operator quiesced this host, or a drain has ended.
    Quiesced,
    /// This host has given an address up.
    Release,
    /// Something failed while this host gave an address up.
    ReleaseFail,
    /// The operator resumed this host.
    Resumed,
    /// A script has ended as it should.
    ScriptDone,
    /// A script has failed or was killed.
    ScriptFail,
    /// This host has listened long enough to lead and acquire.
    Settled,
    /// The daemon did not run for a while.
    Stalled,
    /// The daemon has started.
    Started,
    /// State could not be written.
    StoreFail,
    /// A test of the group fails; told once per episode.
    TestFailed,
    /// The test that failed passes again.
    TestRecovered,
    /// The group is frozen no longer.
    Thawed,
    /// The zone's list has changed.
    ZoneChanged,
}

impl Kind {
    /// The word in JSON and on the terminal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::AcquireFail => "acquire-fail",
            Self::AddressForeign => "address-foreign",
            Self::AddressFound => "address-found",
            Self::AddressLost => "address-lost",
            Self::CanServe => "can-serve",
            Self::CannotAssign => "cannot-assign",
            Self::CannotServe => "cannot-serve",
            Self::ConfigurationDiffers => "configuration-differs",
            Self::Conflict => "conflict",
            Self::DecidedAcquire => "decided-acquire",
            Self::DecidedRelease => "decided-release",
            Self::Draining => "draining",
            Self::DuplicateId => "duplicate-id",
            Self::DuplicateSettled => "duplicate-settled",
            Self::Expired => "expired",
            Self::Follows => "follows",
            Self::Frozen => "frozen",
            Self::GroupBegins => "group-begins",
            Self::GroupEnded => "group-ended",
            Self::HostHeard => "host-heard",
            Self::HostLeft => "host-left",
            Self::HostSilent => "host-silent",
            Self::LeaderChanged => "leader-changed",
            Self::LimitReached => "limit-reached",
            Self::Missed => "missed",
            Self::MulticastFails => "multicast-fails",
            Self::MulticastWorks => "multicast-works",
            Self::NetworkFails => "network-fails",
            Self::NetworkWorks => "network-works",
            Self::Quiesced => "quiesced",
            Self::Release => "release",
            Self::ReleaseFail => "release-fail",
            Self::Resumed => "resumed",
            Self::ScriptDone => "script-done",
            Self::ScriptFail => "script-fail",
            Self::Settled => "settled",
            Self::Stalled => "stalled",
            Self::Started => "started",
            Self::StoreFail => "store-fail",
            Self::TestFailed => "test-failed",
            Self::TestRecovered => "test-recovered",
            Self::Thawed => "thawed",
            Self::ZoneChanged => "zone-changed",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
