//! What this host must do now, in order. No action rests on the success of one before it in the same list.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::{Answer, GroupIndex, OpId, Token};
use crate::types::host::{HostId, Incarnation};
use crate::types::item::{Epoch, Item, Reason, ServiceAddress};
use crate::types::message::{AddressRecord, Message};
use crate::types::view::ZoneView;

/// One thing to do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Action {
    /// Put addresses on an interface, marked, without becoming source addresses. Each is answered on its own.
    AddAddress {
        /// To be answered.
        op: OpId,
        /// Where.
        interface: String,
        /// Which.
        address: ServiceAddress,
    },
    /// Take an address off an interface; only if it carries our mark. Each is answered on its own.
    RemoveAddress {
        /// To be answered.
        op: OpId,
        /// Where.
        interface: String,
        /// Which.
        address: ServiceAddress,
    },
    /// Announce addresses once: gratuitous ARP in request and reply form, or an unsolicited neighbour advertisement.
    Announce {
        /// Where.
        interface: String,
        /// Which.
        addresses: Vec<ServiceAddress>,
    },
    /// Run a script of a group for an item.
    RunScript {
        /// To be answered.
        op: OpId,
        /// What to run.
        job: ScriptJob,
    },
    /// Send a message to a group: on every control network to its group address, if it has one, and to single hosts.
    Send {
        /// The group.
        group: GroupIndex,
        /// What.
        message: Message,
        /// To whom by unicast.
        unicast: Unicast,
    },
    /// The zone to answer from, from now on.
    PublishZone {
        /// The group.
        group: GroupIndex,
        /// The zone.
        zone: ZoneView,
    },
    /// Write the group's state to disk, atomically.
    StoreGroup {
        /// To be answered.
        op: OpId,
        /// The group.
        group: GroupIndex,
        /// What.
        state: StoredGroup,
    },
    /// Write this host's start count to disk, atomically.
    StoreIncarnation {
        /// To be answered.
        op: OpId,
        /// The count.
        incarnation: Incarnation,
    },
    /// Tell the operator: a log line, and a trap where traps are sent.
    Report {
        /// The group, if it concerns one.
        group: Option<GroupIndex>,
        /// What.
        report: Report,
    },
    /// Answer a request.
    Reply {
        /// Which.
        token: Token,
        /// How.
        answer: Answer,
    },
    /// A group that is configured no longer has given everything up and said goodbye: nothing more comes of it.
    EndGroup {
        /// The group.
        group: GroupIndex,
    },
    /// Everything has been given up and said: end the process with this exit code.
    Exit {
        /// 0: as asked; 1: another daemon uses this host's id.
        code: u8,
    },
}

/// Control addresses that a message goes to by unicast, each over the control network that it is on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Unicast {
    /// They get all of it.
    pub whole: Vec<IpAddr>,
    /// They get its first datagram only, which says who sends it: nobody is known to be there, or to mean it.
    pub opening: Vec<IpAddr>,
}

/// Where a host was heard before: kept, so that a start finds its group although no peer of the configuration is there.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct StoredPeer {
    /// The host.
    pub host: HostId,
    /// Its control addresses, in the order of its networks.
    pub control: Vec<IpAddr>,
}

/// A script to run for an item.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ScriptJob {
    /// The group.
    pub group: GroupIndex,
    /// Which script.
    pub action: ScriptAction,
    /// Where the address is; a group's interface may have changed since it was put there.
    pub interface: String,
    /// For what.
    pub item: Item,
    /// Prefix length; 0 for a data set.
    pub prefix: u8,
    /// Why.
    pub reason: Reason,
    /// Epoch of the holding.
    pub epoch: Epoch,
}

/// Which script.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ScriptAction {
    /// After the address is on.
    Acquire,
    /// Before the address goes off.
    Release,
}

impl ScriptAction {
    /// The word in `RAISD_ACTION`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::Release => "release",
        }
    }
}

/// What a group keeps across a restart.
#[derive(Clone, PartialEq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct StoredGroup {
    /// The operator's wish.
    pub duty: crate::types::host::Duty,
    /// The operator's words for it.
    pub duty_reason: String,
    /// Serial of the newest zone list known.
    pub zone_serial: u32,
    /// The newest zone list known.
    pub zone: Vec<IpAddr>,
    /// The service-address database; ages as of the moment of writing.
    pub addresses: Vec<AddressRecord>,
    /// Hosts that were heard in the last days.
    #[serde(default)]
    pub peers: Vec<StoredPeer>,
}

/// Something an operator wants to know at three in the morning.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields carry the words of behaviour.md and are named by them")]
pub enum Report {
    /// Trap: this host has taken an item.
    Acquired { item: Item, epoch: Epoch, reason: Reason },
    /// Trap: this host could not take an item and will not try for `back_off`.
    AcquireFailed { item: Item, epoch: Epoch, reason: Reason, why: String, back_off: Duration },
    /// An address was on the interface although this daemon had not put it there.
    AddressFound { item: Item, interface: String },
    /// At start a group's address is on the interface without our mark: it is left alone, and answered beside its holder.
    AddressForeign { item: Item, interface: String },
    /// An address that this host holds was removed by others and is put back.
    AddressLost { item: Item, interface: String, times: u32 },
    /// Trap: nobody can take an item.
    CannotAssign { item: Item, why: String },
    /// Trap: several live hosts prefer the same address; `kept` counts as its preferred host.
    Conflict { item: Item, kept: HostId },
    /// Group-wide keys differ from the leader's.
    ConfigurationDiffers { host: HostId, keys: Vec<String> },
    /// Trap: another daemon uses this host's id and started earlier; this one gives everything up and stops.
    DuplicateId { boot: String },
    /// An item is held by several hosts; `kept` keeps it.
    DuplicateSettled { item: Item, kept: HostId, released: Vec<HostId> },
    /// The operator's wish for this host has changed.
    DutyChanged { duty: crate::types::host::Duty, why: String },
    /// An address is known no longer.
    Expired { item: Item, why: String },
    /// This host goes by the leader's values of group-wide keys.
    Follows { leader: HostId, ruling: crate::types::policy::Ruling },
    /// The operator of host `by` has the group frozen: no address moves for so long.
    Frozen { by: HostId, left: Duration },
    /// A group that was not configured before begins: this host listens before it leads or acquires.
    GroupBegins,
    /// A group that is configured no longer has given everything up and said goodbye.
    GroupEnded,
    /// A host said goodbye.
    HostLeft { host: HostId, name: String },
    /// A host is heard for the first time, or again.
    HostHeard { host: HostId, name: String },
    /// Trap: a host has not been heard for `timeout`.
    HostSilent { host: HostId, name: String, silent_for: Duration },
    /// Trap: this host follows another leader.
    LeaderChanged { leader: Option<HostId>, was: Option<HostId> },
    /// A limit on what others may make this host remember was reached.
    LimitReached { what: String, limit: usize },
    /// This host tells another to take or give up items.
    Decided { kind: crate::types::message::CommandKind, to: HostId, item: Item, epoch: Epoch, reason: Reason },
    /// Multicast of every host is heard again on a control network.
    MulticastWorks { network: u8 },
    /// Hosts are heard on a control network, but not by multicast.
    MulticastFails { network: u8, control: Option<IpAddr>, hosts: Vec<String> },
    /// A control network or interface works again.
    NetworkWorks { what: String },
    /// A control network or interface does not work.
    NetworkFails { what: String, why: String },
    /// Trap: this host has given an item up.
    Released { item: Item, epoch: Epoch, reason: Reason },
    /// Trap: something failed while this host gave an item up; it is off all the same.
    ReleaseFailed { item: Item, epoch: Epoch, reason: Reason, why: String },
    /// A script of an item has ended; `problem`: it failed, or was killed.
    ScriptEnded { item: Item, action: ScriptAction, epoch: Epoch, reason: Reason, problem: Option<String> },
    /// This host has listened long enough to lead and acquire.
    Settled,
    /// The loop was late; this host listens anew before it decides.
    Stalled { late: Duration },
    /// State could not be written.
    StoreFailed { why: String },
    /// The group is frozen no longer; `by`: where the operator said so, `None`: its time has ended.
    Thawed { by: Option<HostId> },
    /// Trap: a test of the group fails; what is held is given up.
    TestFailed { test: String, why: String },
    /// The test that was told to fail passes again.
    TestRecovered { test: String },
    /// This host can serve: its tests pass and its service interface works.
    CanServe,
    /// This host cannot serve although no test has failed.
    CannotServe { why: String },
    /// The zone list has changed.
    ZoneChanged { serial: u32, advertised: Vec<IpAddr> },
}
