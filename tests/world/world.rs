//! The simulated world: virtual time, machines, and what befalls them.
//!
//! Everything is drawn from one seed. What travels is in `network.rs`, what machines do for their nodes in `deeds.rs`. While
//! nobody watches ([`World::watched`]), the world itself checks after every step what must hold at any time: only addresses
//! that are on the interface are announced, scripts run where the address is, a node that was told that its deadline has come
//! names a later one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::IpAddr;
use std::time::Duration;

use raisd::node::action::{Action, Report};
use raisd::node::event::{Event, GroupIndex, GroupPlace, KernelChange, Mark, OpId, Reload, Request, Token, Way};
use raisd::node::{Node, Start};
use raisd::types::host::BootId;
use raisd::types::item::ServiceAddress;
use raisd::types::policy::NodePolicy;
use raisd::types::time::Time;

use crate::deeds::Change;
use crate::machine::{Machine, Number, Waking};
use crate::network::{Datagram, Weather};
use crate::seen::{Seen, What};
use crate::transcript::Transcript;

/// What is going to happen.
#[derive(Clone, Debug)]
pub(crate) enum Due {
    Datagram {
        to: Number,
        network: u8,
        way: Way,
        datagram: Datagram,
    },
    /// A datagram at several machines at the same moment.
    Datagrams {
        to: Vec<Number>,
        network: u8,
        way: Way,
        datagram: Datagram,
    },
    /// For this boot of the machine's node.
    Event {
        to: Number,
        boot: BootId,
        event: Event,
    },
    Kernel {
        on: Number,
        boot: BootId,
        op: OpId,
        change: Change,
        interface: String,
        address: ServiceAddress,
    },
    /// A machine that hung handles all that has waited for it.
    Wakes {
        on: Number,
    },
}

pub(crate) const NETWORKS: u8 = 2;

/// More events than this at one moment are a spin.
const EVENTS_AT_ONCE_MAX: u32 = 200_000;

/// Keeps what nodes are told and say.
pub(crate) trait Recorder {
    /// A node is about to start.
    fn begin(&mut self, machine: Number, at: Time, policy: &NodePolicy, start: &Start);
    /// A node is about to be told this.
    fn happened(&mut self, machine: Number, at: Time, node: &Node, events: &[Event]);
    /// It has said this.
    fn decided(&mut self, machine: Number, actions: &[Action]);
    /// Datagrams with these numbers went out for it.
    fn sent(&mut self, machine: Number, group: GroupIndex, boot: BootId, numbers: (u64, u64));
}

/// Who keeps it, if anybody. A copy of a world is not recorded.
#[derive(Default)]
pub(crate) struct Recorded(pub(crate) Option<Box<dyn Recorder>>);

impl Clone for Recorded {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) machines: BTreeMap<Number, Machine>,
    /// `(from, to, network)` that do not work.
    pub(crate) cuts: BTreeSet<(Number, Number, u8)>,
    /// The same for multicast only.
    pub(crate) multicast_cuts: BTreeSet<(Number, Number, u8)>,
    /// Networks on which nothing travels.
    pub(crate) dead_networks: BTreeSet<u8>,
    /// Datagrams that were sent to single hosts.
    pub(crate) unicast_sent: u64,
    /// Per thousand.
    pub(crate) loss: u64,
    pub(crate) weather: Weather,
    /// Machines whose loop does not run, until when.
    pub(crate) frozen: BTreeMap<Number, Time>,
    /// Panics as soon as two machines have an address.
    pub(crate) forbids_doubles: bool,
    /// All that was sent, if kept.
    pub(crate) capture: Option<Vec<Datagram>>,
    /// What onlookers see, if there are any. They judge, so the world does not.
    pub(crate) watched: Option<Vec<(Time, Seen)>>,
    pub(crate) recorder: Recorded,
    /// Everything that was reported, with the time and the host.
    pub(crate) reports: Vec<(Time, Number, Report)>,
    /// How long two machines had an address, and how long none had it.
    pub(crate) doubles: BTreeMap<IpAddr, Duration>,
    pub(crate) transcript: Transcript,
    /// What is due, in order, by time and number.
    queue: BTreeMap<(Time, u64), Due>,
    /// When machines want to be called: those entries count whose deadline is still the machine's.
    timers: BinaryHeap<Reverse<(Time, Number, Time)>>,
    queued: u64,
    random: u64,
    seed: u64,
    at_once: (Time, u32),
    token: u64,
    double_since: BTreeMap<IpAddr, Time>,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() && self.watched.is_none() {
            self.print();
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64, policies: impl IntoIterator<Item = NodePolicy>) -> Self {
        let number = |policy: &NodePolicy| match policy.host.id.0 {
            IpAddr::V4(id) => u16::from_be_bytes([id.octets()[2], id.octets()[3]]),
            IpAddr::V6(_) => panic!("simulated hosts have IPv4 ids"),
        };
        Self {
            now: Time::START,
            machines: policies.into_iter().map(|policy| (number(&policy), Machine::new(policy))).collect(),
            cuts: BTreeSet::new(),
            multicast_cuts: BTreeSet::new(),
            dead_networks: BTreeSet::new(),
            unicast_sent: 0,
            loss: 0,
            weather: Weather::default(),
            frozen: BTreeMap::new(),
            forbids_doubles: false,
            capture: None,
            watched: None,
            recorder: Recorded::default(),
            reports: Vec::new(),
            doubles: BTreeMap::new(),
            transcript: Transcript::new(),
            queue: BTreeMap::new(),
            timers: BinaryHeap::new(),
            queued: 0,
            random: seed,
            seed,
            at_once: (Time::START, 0),
            token: 0,
            double_since: BTreeMap::new(),
        }
    }

    /// splitmix64.
    pub(crate) fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Whether a chance of so many in a thousand comes up. Draws nothing if it cannot.
    pub(crate) fn chances(&mut self, per_thousand: u64) -> bool {
        per_thousand > 0 && self.draw() % 1000 < per_thousand
    }

    /// Puts a remark into the transcript.
    pub(crate) fn say(&mut self, text: &str) {
        self.transcript.say(self.now, 0, format!("=== {text}"));
    }

    /// The transcript, and how the machines stand.
    pub(crate) fn print(&self) {
        self.transcript.print();
        for (number, machine) in &self.machines {
            let runs = if machine.node.is_some() { "runs" } else { "does not run" };
            eprintln!("h{number} {runs}, its interface: {:?}", machine.interface);
        }
        eprintln!("seed {}, at {:?}", self.seed, self.now);
    }

    pub(crate) fn note(&mut self, host: Number, what: What) {
        if let Some(watched) = &mut self.watched {
            watched.push((self.now, Seen { host, what }));
        }
    }

    // ---- what stories do ----

    /// Starts the daemon of a machine.
    pub(crate) fn boot(&mut self, number: Number) {
        let boot = self.draw_boot();
        let now = self.now;
        self.frozen.remove(&number);
        let machine = self.machines.get_mut(&number).expect("such a machine");
        assert!(machine.node.is_none(), "h{number} runs already");
        let start = machine.prepare_start(now, boot);
        if let Some(recorder) = &mut self.recorder.0 {
            recorder.begin(number, machine.local(now), &machine.policy, &start);
        }
        let (node, actions) = Node::start(machine.local(now), &machine.policy, start);
        machine.node = Some(node);
        machine.zone = None;
        self.transcript.say(now, number, "=== starts".to_owned());
        self.note(number, What::Starts);
        self.perform(number, actions);
    }

    fn draw_boot(&mut self) -> BootId {
        let (high, low) = (self.draw(), self.draw());
        let mut boot = [0; 16];
        boot[..8].copy_from_slice(&high.to_le_bytes());
        boot[8..].copy_from_slice(&low.to_le_bytes());
        BootId(boot)
    }

    /// Another configuration for a machine, taken up by its daemon as it runs.
    pub(crate) fn reload(&mut self, number: Number, change: impl FnOnce(&mut NodePolicy)) {
        let boot = self.draw_boot();
        let now = self.now;
        let machine = self.machine(number);
        change(&mut machine.policy);
        let policy = machine.policy.clone();
        let mut places = Vec::new();
        for group in &policy.groups {
            if let Some(number) = machine.place_of(&group.name) {
                places.push(GroupPlace::Stays(number));
            } else {
                let stored = machine.read_group(now, &group.name);
                places.push(GroupPlace::Begins { group: machine.add_place(group, boot), boot, stored });
            }
        }
        for (number, place) in &mut machine.places {
            place.configured = places.iter().any(|place| place.group() == *number);
        }
        let links = policy.groups.iter().map(|group| (group.interface.clone(), machine.link)).collect();
        self.tell(number, Event::Reloaded(Box::new(Reload { policy, places, links, changed_tests: BTreeSet::new() })));
    }

    pub(crate) fn boot_all(&mut self) {
        let all: Vec<Number> = self.machines.keys().copied().collect();
        for number in all {
            self.boot(number);
        }
    }

    /// The machine loses power: nothing is left but its disk.
    pub(crate) fn power_off(&mut self, number: Number) {
        self.transcript.say(self.now, number, "=== loses power".to_owned());
        self.end(number);
        // Nobody does what was asked of the kernel.
        self.machine(number).boot = BootId([0; 16]);
        for address in std::mem::take(&mut self.machine(number).interface).into_keys() {
            self.note(number, What::Off { address: address.address });
            self.count_doubles(address.address);
        }
    }

    /// The daemon is gone, its addresses are left.
    pub(crate) fn kill(&mut self, number: Number) {
        self.transcript.say(self.now, number, "=== daemon killed".to_owned());
        self.end(number);
    }

    /// The daemon is gone, for whatever cause.
    pub(crate) fn end(&mut self, number: Number) {
        if self.machine(number).node.is_some() {
            self.note(number, What::Ends);
        }
        self.machine(number).end();
    }

    /// The machine's daemon hangs: its kernel goes on, and what arrives waits in its queue.
    pub(crate) fn freeze(&mut self, number: Number, duration: Duration) {
        self.transcript.say(self.now, number, format!("=== hangs for {duration:?}"));
        self.frozen.insert(number, self.now.plus(duration));
        self.arm(number);
    }

    /// The same; when it goes on, it handles all that has waited at once, and what did not fit into the queue is lost.
    pub(crate) fn freeze_with_queue(&mut self, number: Number, duration: Duration, depth: usize) {
        self.freeze(number, duration);
        self.machine(number).waking = Waking::AtOnce { depth };
        self.enqueue(duration, Due::Wakes { on: number });
    }

    pub(crate) fn cut(&mut self, one: Number, other: Number, network: u8) {
        self.cuts.extend([(one, other, network), (other, one, network)]);
    }

    /// Switches forget who listens for multicast on these networks: from then on nobody's arrives.
    pub(crate) fn lose_multicast(&mut self, networks: &[u8]) {
        let all: Vec<Number> = self.machines.keys().copied().collect();
        for from in &all {
            for to in &all {
                self.multicast_cuts.extend(networks.iter().map(|network| (*from, *to, *network)));
            }
        }
    }

    /// Cuts a machine off on all networks.
    pub(crate) fn isolate(&mut self, number: Number) {
        let others: Vec<Number> = self.machines.keys().copied().filter(|other| *other != number).collect();
        for other in others {
            for network in 0..NETWORKS {
                self.cut(number, other, network);
            }
        }
    }

    /// Something happens to a node at once, or, if it hangs, when it goes on.
    pub(crate) fn tell(&mut self, number: Number, event: Event) {
        let boot = self.machine(number).boot;
        self.arrive_at(number, Due::Event { to: number, boot, event });
    }

    pub(crate) fn ask(&mut self, number: Number, request: Request) -> Token {
        self.token += 1;
        let token = Token(self.token);
        self.tell(number, Event::Asked { token, request });
        token
    }

    /// Somebody puts an address on a machine by hand.
    pub(crate) fn add_by_hand(&mut self, number: Number, address: IpAddr) {
        let address = ServiceAddress::host(address);
        self.machine(number).interface.insert(address, Mark::Foreign);
        self.note(number, What::On { address: address.address, mark: Mark::Foreign });
        self.count_doubles(address.address);
        self.tell(number, Event::Kernel(KernelChange::AddressPresent { interface: "svc0".to_owned(), address, mark: Mark::Foreign }));
    }

    /// Somebody removes an address of a machine by hand.
    pub(crate) fn remove_by_hand(&mut self, number: Number, address: IpAddr) {
        let address = ServiceAddress::host(address);
        self.machine(number).interface.remove(&address);
        self.note(number, What::Off { address: address.address });
        self.count_doubles(address.address);
        self.tell(number, Event::Kernel(KernelChange::AddressAbsent { interface: "svc0".to_owned(), address }));
    }

    // ---- time ----

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now.plus(duration);
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until `done`, at most `limit`. Says how long it took.
    pub(crate) fn run_until(&mut self, what: &str, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> Duration {
        let begin = self.now;
        let end = begin.plus(limit);
        while !done(self) {
            assert!(self.step(end), "{what}: not within {limit:?}");
        }
        self.now.since(begin)
    }

    /// The next thing that happens at or before `end`. Says whether there was one.
    pub(crate) fn step(&mut self, end: Time) -> bool {
        let timer = self.next_timer();
        let arrival = self.queue.first_key_value().map(|((at, _), _)| *at);
        match (timer, arrival) {
            (Some((at, number)), arrival) if arrival.is_none_or(|arrival| at < arrival) && at <= end => {
                self.timers.pop();
                self.advance(at);
                self.time_out(number);
                true
            }
            (_, Some(at)) if at <= end => {
                self.advance(at);
                if let Some((_, due)) = self.queue.pop_first() {
                    self.arrive(due);
                }
                true
            }
            (None | Some(_), None | Some(_)) => false,
        }
    }

    /// The first machine that wants to be called. Its entry stays on top.
    fn next_timer(&mut self) -> Option<(Time, Number)> {
        loop {
            let Reverse((at, number, deadline)) = *self.timers.peek()?;
            let is_valid = self.machines.get(&number).is_some_and(|machine| machine.deadline == Some(deadline));
            let wanted = deadline.max(self.thaws(number));
            if is_valid && at == wanted {
                return Some((at, number));
            }
            self.timers.pop();
            if is_valid {
                self.timers.push(Reverse((wanted, number, deadline)));
            }
        }
    }

    /// The machine's deadline is heeded from now on.
    pub(crate) fn arm(&mut self, number: Number) {
        let thaws = self.thaws(number);
        if let Some(deadline) = self.machine(number).deadline {
            self.timers.push(Reverse((deadline.max(thaws), number, deadline)));
        }
    }

    fn thaws(&self, number: Number) -> Time {
        if self.frozen.is_empty() { Time::START } else { self.frozen.get(&number).copied().unwrap_or(Time::START) }
    }

    fn advance(&mut self, at: Time) {
        self.now = self.now.max(at);
        if self.at_once.0 == self.now {
            self.at_once.1 += 1;
            assert!(self.at_once.1 < EVENTS_AT_ONCE_MAX, "the world spins at {:?}", self.now);
        } else {
            self.at_once = (self.now, 0);
        }
    }

    fn time_out(&mut self, number: Number) {
        self.handle(number, Event::Timeout);
        let now = self.now;
        if let Some(deadline) = self.machine(number).deadline {
            assert!(deadline > now, "h{number} spins: deadline {deadline:?} after a timeout at {now:?}");
        }
    }

    fn arrive(&mut self, due: Due) {
        match due {
            Due::Datagrams { to, network, way, datagram } => {
                for to in to {
                    self.arrive_at(to, Due::Datagram { to, network, way, datagram: datagram.clone() });
                }
            }
            Due::Datagram { to, .. } | Due::Event { to, .. } => self.arrive_at(to, due),
            Due::Kernel { on, boot, op, change, interface, address } => {
                if self.machine(on).boot == boot {
                    self.change_kernel(on, op, change, interface, address);
                }
            }
            Due::Wakes { on } => self.wake(on),
        }
    }

    pub(crate) fn arrive_at(&mut self, to: Number, due: Due) {
        let thaws = self.thaws(to);
        if thaws > self.now {
            if matches!(due, Due::Event { event: Event::Finished { .. }, .. }) {
                self.note(to, What::LateAnswer);
            }
            match self.machine(to).waking {
                Waking::OneByOne => self.enqueue(thaws.since(self.now), due),
                Waking::AtOnce { .. } => self.machine(to).waiting.push(due),
            }
            return;
        }
        if let Some(event) = self.event_of(due) {
            self.handle(to, event);
        }
    }

    /// What a thing that arrives is for the node; nothing if the node is not there, or no longer.
    fn event_of(&mut self, due: Due) -> Option<Event> {
        match due {
            Due::Datagram { to, network, way, datagram } => self.heard(to, network, way, &datagram),
            Due::Event { to, boot, event } => (self.machine(to).boot == boot).then_some(event),
            Due::Datagrams { .. } | Due::Kernel { .. } | Due::Wakes { .. } => None,
        }
    }

    /// What waited for a machine that hung, in one go; of the datagrams those that came last.
    fn wake(&mut self, number: Number) {
        if self.thaws(number) > self.now {
            // It hangs again.
            let after = self.thaws(number).since(self.now);
            self.enqueue(after, Due::Wakes { on: number });
            return;
        }
        let machine = self.machine(number);
        let Waking::AtOnce { depth } = std::mem::take(&mut machine.waking) else { return };
        let mut waiting = std::mem::take(&mut machine.waiting);
        let is_datagram = |due: &Due| matches!(due, Due::Datagram { .. });
        let count = waiting.iter().filter(|due| is_datagram(due)).count();
        let mut dropped = count.saturating_sub(depth);
        if dropped > 0 {
            self.note(number, What::QueueFull { dropped });
        }
        waiting.retain(|due| {
            let drops = dropped > 0 && is_datagram(due);
            dropped -= usize::from(drops);
            !drops
        });
        let events: Vec<Event> = waiting.into_iter().filter_map(|due| self.event_of(due)).collect();
        if events.len() > 1 {
            self.note(number, What::CaughtUp { datagrams: count.min(depth) });
        }
        self.handle_all(number, events);
    }

    pub(crate) fn enqueue(&mut self, after: Duration, due: Due) {
        self.queued += 1;
        self.queue.insert((self.now.plus(after), self.queued), due);
    }

    pub(crate) fn machine(&mut self, number: Number) -> &mut Machine {
        self.machines.get_mut(&number).unwrap_or_else(|| panic!("there is no machine {number}"))
    }

    /// Counts for how long more than one machine has an address.
    pub(crate) fn count_doubles(&mut self, address: IpAddr) {
        if self.watched.is_some() {
            return;
        }
        let count = self.machines.values().filter(|machine| machine.has(address)).count();
        if count > 1 {
            assert!(!self.forbids_doubles, "{count} machines have {address}");
            self.double_since.entry(address).or_insert(self.now);
        } else if let Some(since) = self.double_since.remove(&address) {
            *self.doubles.entry(address).or_default() += self.now.since(since);
        }
    }
}
