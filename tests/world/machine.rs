//! One machine of the simulated pool: its kernel, scripts and disk, and the node that runs on it.
//!
//! Does what the ports of the daemon promise: every operation is answered exactly once, only marked addresses are removed.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use raisd::node::action::StoredGroup;
use raisd::node::event::{Answer, Arrival, GroupIndex, KernelChange, Link, Mark, OpId, Token};
use raisd::node::{Node, Start};
use raisd::types::host::{BootId, HostId, Incarnation};
use raisd::types::item::ServiceAddress;
use raisd::types::policy::{GroupPolicy, NodePolicy};
use raisd::types::time::Time;
use raisd::types::view::ZoneView;

use crate::world::Due;

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

/// What a daemon does with what has come while it hung.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Waking {
    #[default]
    OneByOne,
    /// All in one go; of more datagrams than `depth` the oldest are lost.
    AtOnce { depth: usize },
}

/// Numbers of datagrams that have come.
#[derive(Clone, Debug, Default)]
struct Numbers {
    low: Vec<u64>,
    farewell: bool,
}

impl Numbers {
    /// Whether it is the first with this number.
    fn insert(&mut self, number: u64) -> bool {
        if number == u64::MAX {
            return !std::mem::replace(&mut self.farewell, true);
        }
        let (word, bit) = (usize::try_from(number / 64).expect("few datagrams"), 1 << (number % 64));
        if self.low.len() <= word {
            self.low.resize(word + 1, 0);
        }
        let is_first = self.low[word] & bit == 0;
        self.low[word] |= bit;
        is_first
    }
}

/// What survives a loss of power.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) incarnation: Incarnation,
    /// By group, with the time of writing that the wall clock said.
    pub(crate) groups: BTreeMap<String, (Time, StoredGroup)>,
}

/// A group of a running node.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: Rc<str>,
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
    /// The disk as it was at the start before the last.
    pub(crate) yesterday: Disk,
    /// The disk as it was at the last start.
    today: Disk,
    /// How far its wall clock is behind.
    pub(crate) behind: Duration,
    /// What waits for a daemon that hangs, if it reads all of it at once.
    pub(crate) waiting: Vec<Due>,
    pub(crate) waking: Waking,
    /// The newest operation on each address that the kernel was asked for.
    pub(crate) asked: HashMap<IpAddr, OpId>,
    pub(crate) kernel: KernelMood,
    pub(crate) acquire_script: ScriptMood,
    pub(crate) release_script: ScriptMood,
    /// Datagrams sent in this boot.
    pub(crate) number: u64,
    /// Datagrams received in this boot.
    numbers: HashMap<(GroupIndex, BootId), Numbers>,
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
            yesterday: Disk::default(),
            today: Disk::default(),
            behind: Duration::ZERO,
            waiting: Vec::new(),
            waking: Waking::OneByOne,
            asked: HashMap::new(),
            kernel: KernelMood::Works,
            acquire_script: ScriptMood::Takes(Duration::from_millis(3)),
            release_script: ScriptMood::Takes(Duration::from_millis(3)),
            number: 0,
            numbers: HashMap::new(),
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
        self.yesterday = std::mem::replace(&mut self.today, self.disk.clone());
        self.boot = boot;
        self.origin = now;
        self.number = 0;
        self.numbers.clear();
        self.asked.clear();
        self.waiting.clear();
        self.waking = Waking::OneByOne;
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

    /// What its wall clock says at the world's `now`.
    pub(crate) fn wall(&self, now: Time) -> Time {
        now.minus(self.behind)
    }

    /// Whether a datagram is new, and that it has come.
    pub(crate) fn take_number(&mut self, group: GroupIndex, boot: BootId, number: u64) -> Arrival {
        if self.numbers.entry((group, boot)).or_default().insert(number) { Arrival::First } else { Arrival::Again }
    }

    /// Ages on disk have gone on while nobody counted, as far as the wall clock tells.
    pub(crate) fn read_group(&self, now: Time, group: &str) -> StoredGroup {
        let Some((written, stored)) = self.disk.groups.get(group) else { return StoredGroup::default() };
        let mut stored = stored.clone();
        let elapsed = self.wall(now).since(*written);
        for address in &mut stored.addresses {
            address.orphaned += elapsed;
            if let Some(returned) = &mut address.returned {
                returned.ago += elapsed;
            }
            address.home_served = address.home_served.map(|ago| ago + elapsed);
        }
        stored
    }

    /// A place for a group that begins.
    pub(crate) fn add_place(&mut self, group: &GroupPolicy, boot: BootId) -> GroupIndex {
        let place = Place { name: group.name.as_str().into(), boot, script_timeout: group.script_timeout, configured: true };
        let number = GroupIndex(self.next_place);
        self.next_place += 1;
        self.places.insert(number, place);
        number
    }

    /// The place of a group that is configured.
    pub(crate) fn place_of(&self, name: &str) -> Option<GroupIndex> {
        self.places.iter().find(|(_, place)| place.configured && *place.name == *name).map(|(number, _)| *number)
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        // With whatever prefix.
        let first = ServiceAddress { address, prefix: 0 };
        self.interface.range(first..).next().is_some_and(|(on, _)| on.address == address)
    }
}
