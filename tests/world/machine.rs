//! One machine of the simulated pool: its kernel, scripts and disk, and the node that runs on it.
//!
//! Does what the ports of the daemon promise: every operation is answered exactly once, only marked addresses are removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use raisd::node::action::StoredGroup;
use raisd::node::event::{Answer, GroupIndex, KernelChange, Link, Mark, Token};
use raisd::node::{Node, Start};
use raisd::types::host::{BootId, HostId, Incarnation};
use raisd::types::item::ServiceAddress;
use raisd::types::policy::{GroupPolicy, NodePolicy};
use raisd::types::time::Time;
use raisd::types::view::ZoneView;

/// Numbers a machine. Its host id is `10.0.0.0` plus this, unless it is a clone.
pub(crate) type Number = u16;

/// What a script does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ScriptMood {
    Fails,
    /// Killed at the group's timeout.
    Hangs,
    Takes(Duration),
}

/// What the kernel does with changes of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KernelMood {
    RefusesToAdd,
    RefusesToRemove,
    Works,
}

/// What survives a loss of power.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) incarnation: Incarnation,
    /// By group, with the world's time of writing.
    pub(crate) groups: BTreeMap<String, (Time, StoredGroup)>,
}

/// A group of a running node.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) boot: BootId,
    pub(crate) script_timeout: Duration,
    /// Whether the configuration still has it.
    pub(crate) configured: bool,
}

/// A machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) policy: NodePolicy,
    /// The groups of the node, by number.
    pub(crate) places: BTreeMap<GroupIndex, Place>,
    pub(crate) next_place: usize,
    /// The daemon's core, while it runs.
    pub(crate) node: Option<Node>,
    /// When the node wants to be called, in the world's time.
    pub(crate) deadline: Option<Time>,
    pub(crate) boot: BootId,
    pub(crate) incarnation: Incarnation,
    /// The world's time of the node's `Time::START`, moved back so far that ages fit before it.
    pub(crate) origin: Time,
    /// On the service interface.
    pub(crate) interface: BTreeMap<ServiceAddress, Mark>,
    /// On which interface the node put what it put.
    pub(crate) interfaces: BTreeMap<IpAddr, String>,
    pub(crate) link: Link,
    pub(crate) disk: Disk,
    pub(crate) kernel: KernelMood,
    pub(crate) acquire_script: ScriptMood,
    pub(crate) release_script: ScriptMood,
    /// Datagrams sent in this boot.
    pub(crate) number: u64,
    /// Datagrams received in this boot.
    pub(crate) seen: BTreeSet<(GroupIndex, BootId, u64)>,
    pub(crate) zone: Option<ZoneView>,
    pub(crate) replies: Vec<(Token, Answer)>,
    pub(crate) exit: Option<u8>,
    /// Messages of kind `info` sent since the machine was made.
    pub(crate) infos_sent: u64,
    /// States of groups written since the machine was made.
    pub(crate) stores: u64,
    /// Other actions than these two since the machine was made.
    pub(crate) deeds: u64,
    pub(crate) announced: BTreeMap<IpAddr, u64>,
}

/// A node's clock starts this long after its time line: what a disk says of the past has room before it.
const PAST: Duration = Duration::from_secs(400 * 24 * 3600);

impl Machine {
    pub(crate) fn new(policy: NodePolicy) -> Self {
        Self {
            policy,
            places: BTreeMap::new(),
            next_place: 0,
            node: None,
            deadline: None,
            boot: BootId([0; 16]),
            incarnation: Incarnation(0),
            origin: Time::START,
            interface: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            link: Link::Up { mac: Some([2, 0, 0, 0, 0, 1]) },
            disk: Disk::default(),
            kernel: KernelMood::Works,
            acquire_script: ScriptMood::Takes(Duration::from_millis(3)),
            release_script: ScriptMood::Takes(Duration::from_millis(3)),
            number: 0,
            seen: BTreeSet::new(),
            zone: None,
            replies: Vec::new(),
            exit: None,
            infos_sent: 0,
            stores: 0,
            deeds: 0,
            announced: BTreeMap::new(),
        }
    }

    /// The node is gone.
    pub(crate) fn end(&mut self) {
        self.node = None;
        self.deadline = None;
    }

    pub(crate) fn id(&self) -> HostId {
        self.policy.host.id
    }

    /// The node's time at the world's `now`.
    pub(crate) fn local(&self, now: Time) -> Time {
        Time::after_start(PAST + now.since(self.origin))
    }

    /// The world's time at the node's `local`.
    pub(crate) fn global(&self, local: Time) -> Time {
        self.origin.plus(local.since(Time::after_start(PAST)))
    }

    /// What the disk and the kernel tell a node that starts.
    pub(crate) fn prepare_start(&mut self, now: Time, boot: BootId) -> Start {
        self.boot = boot;
        self.origin = now;
        self.number = 0;
        self.seen.clear();
        self.exit = None;
        self.incarnation = Incarnation(self.disk.incarnation.0 + 1);
        self.disk.incarnation = self.incarnation;
        self.places.clear();
        self.next_place = 0;
        let groups = self.policy.groups.clone();
        for group in &groups {
            self.add_place(group, boot);
        }
        let stored = groups.iter().map(|group| self.read_group(now, &group.name)).collect();
        let present = |(address, mark): (&ServiceAddress, &Mark)| KernelChange::AddressPresent {
            interface: "svc0".to_owned(),
            address: *address,
            mark: *mark,
        };
        let mut kernel: Vec<KernelChange> = self.interface.iter().map(present).collect();
        kernel.push(KernelChange::Link { interface: "svc0".to_owned(), link: self.link });
        Start { boot, incarnation: self.incarnation, software: "0.1.0".to_owned(), stored, kernel }
    }

    /// Ages on disk have gone on while nobody counted.
    pub(crate) fn read_group(&self, now: Time, group: &str) -> StoredGroup {
        let Some((written, stored)) = self.disk.groups.get(group) else { return StoredGroup::default() };
        let mut stored = stored.clone();
        for address in &mut stored.addresses {
            address.orphaned += now.since(*written);
            if let Some(returned) = &mut address.returned {
                returned.ago += now.since(*written);
            }
            address.home_served = address.home_served.map(|ago| ago + now.since(*written));
        }
        stored
    }

    /// A place for a group that begins.
    pub(crate) fn add_place(&mut self, group: &GroupPolicy, boot: BootId) -> GroupIndex {
        let place = Place { name: group.name.clone(), boot, script_timeout: group.script_timeout, configured: true };
        let number = GroupIndex(self.next_place);
        self.next_place += 1;
        self.places.insert(number, place);
        number
    }

    /// The place of a group that is configured.
    pub(crate) fn place_of(&self, name: &str) -> Option<GroupIndex> {
        self.places.iter().find(|(_, place)| place.configured && place.name == name).map(|(number, _)| *number)
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        // With whatever prefix.
        let first = ServiceAddress { address, prefix: 0 };
        self.interface.range(first..).next().is_some_and(|(on, _)| on.address == address)
    }
}
