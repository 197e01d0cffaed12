//! The simulated world: virtual time, the control networks, and machines that do what their nodes ask.
//!
//! Everything is drawn from one seed. After every step the world checks what must hold at any time: only addresses that are
//! on the interface are announced, scripts run where the address is (or, after a forced release, is not), a node that was
//! told that its deadline has come names a later one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use raisd::node::Node;
use raisd::node::action::{Action, Report, ScriptAction, ScriptJob, Unicast};
use raisd::node::event::{Arrival, Event, GroupIndex, GroupPlace, Heard, KernelChange, Mark, OpId, Outcome, Reload, Request, Token, Way};
use raisd::types::host::{BootId, Sequence};
use raisd::types::item::ServiceAddress;
use raisd::types::message::{Message, MessageKind, Record, Sender};
use raisd::types::policy::NodePolicy;
use raisd::types::time::Time;

use crate::datagrams;
use crate::machine::{KernelMood, Machine, Number, ScriptMood};
use crate::transcript::Transcript;

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) sent: Time,
    pub(crate) kind: MessageKind,
    /// By name: hosts number their groups each for itself.
    pub(crate) group: Rc<str>,
    pub(crate) sender: Sender,
    pub(crate) number: u64,
    pub(crate) records: Rc<Vec<Record>>,
}

#[derive(Clone, Debug)]
enum Due {
    Datagram {
        to: Number,
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
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    Add,
    Remove,
}

const NETWORKS: u8 = 2;
const DELAY: Duration = Duration::from_micros(150);
const KERNEL: Duration = Duration::from_millis(1);
const DISK: Duration = Duration::from_millis(2);

/// More events than this at one moment are a spin.
const EVENTS_AT_ONCE_MAX: u32 = 200_000;

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) machines: BTreeMap<Number, Machine>,
    /// `(from, to, network)` that do not work.
    pub(crate) cuts: BTreeSet<(Number, Number, u8)>,
    /// The same for multicast only.
    pub(crate) multicast_cuts: BTreeSet<(Number, Number, u8)>,
    /// Datagrams that were sent to single hosts.
    pub(crate) unicast_sent: u64,
    /// Per thousand.
    pub(crate) loss: u64,
    /// Machines whose loop does not run, until when.
    pub(crate) frozen: BTreeMap<Number, Time>,
    /// Panics as soon as two machines have an address.
    pub(crate) forbids_doubles: bool,
    /// All that was sent, if kept.
    pub(crate) capture: Option<Vec<Datagram>>,
    /// Everything that was reported, with the time and the host.
    pub(crate) reports: Vec<(Time, Number, Report)>,
    /// How long two machines had an address, and how long none had it.
    pub(crate) doubles: BTreeMap<IpAddr, Duration>,
    queue: BTreeMap<(Time, u64), Due>,
    queued: u64,
    random: u64,
    seed: u64,
    at_once: (Time, u32),
    token: u64,
    double_since: BTreeMap<IpAddr, Time>,
    transcript: Transcript,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.transcript.print();
            for (number, machine) in &self.machines {
                let runs = if machine.node.is_some() { "runs" } else { "does not run" };
                eprintln!("h{number} {runs}, its interface: {:?}", machine.interface);
            }
            eprintln!("seed {}, at {:?}", self.seed, self.now);
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
            unicast_sent: 0,
            loss: 0,
            frozen: BTreeMap::new(),
            forbids_doubles: false,
            capture: None,
            reports: Vec::new(),
            doubles: BTreeMap::new(),
            queue: BTreeMap::new(),
            queued: 0,
            random: seed,
            seed,
            at_once: (Time::START, 0),
            token: 0,
            double_since: BTreeMap::new(),
            transcript: Transcript::new(),
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

    /// Puts a remark into the transcript.
    pub(crate) fn say(&mut self, text: &str) {
        self.transcript.say(self.now, 0, format!("=== {text}"));
    }

    // ---- what stories do ----

    /// Starts the daemon of a machine.
    pub(crate) fn boot(&mut self, number: Number) {
        let boot = self.draw_boot();
        let now = self.now;
        let machine = self.machine(number);
        assert!(machine.node.is_none(), "h{number} runs already");
        let start = machine.prepare_start(now, boot);
        let (node, actions) = Node::start(machine.local(now), &machine.policy, start);
        machine.node = Some(node);
        machine.zone = None;
        self.transcript.say(now, number, "=== starts".to_owned());
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
        let machine = self.machine(number);
        machine.end();
        for address in std::mem::take(&mut machine.interface).into_keys() {
            self.count_doubles(address.address);
        }
    }

    /// The daemon is gone, its addresses are left.
    pub(crate) fn kill(&mut self, number: Number) {
        self.transcript.say(self.now, number, "=== daemon killed".to_owned());
        self.machine(number).end();
    }

    /// The machine's daemon hangs: its kernel goes on, and what arrives waits in its queue.
    pub(crate) fn freeze(&mut self, number: Number, duration: Duration) {
        self.transcript.say(self.now, number, format!("=== hangs for {duration:?}"));
        self.frozen.insert(number, self.now.plus(duration));
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

    /// Something happens to a node at once.
    pub(crate) fn tell(&mut self, number: Number, event: Event) {
        self.handle(number, event);
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
        self.count_doubles(address.address);
        self.tell(number, Event::Kernel(KernelChange::AddressPresent { interface: "svc0".to_owned(), address, mark: Mark::Foreign }));
    }

    /// Somebody removes an address of a machine by hand.
    pub(crate) fn remove_by_hand(&mut self, number: Number, address: IpAddr) {
        let address = ServiceAddress::host(address);
        self.machine(number).interface.remove(&address);
        self.count_doubles(address.address);
        self.tell(number, Event::Kernel(KernelChange::AddressAbsent { interface: "svc0".to_owned(), address }));
    }

    /// A datagram arrives that was captured before, as new as the receiver can tell.
    pub(crate) fn replay(&mut self, to: Number, datagram: Datagram) {
        self.enqueue(Duration::ZERO, Due::Datagram { to, network: 0, way: Way::Multicast, datagram });
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
    fn step(&mut self, end: Time) -> bool {
        let deadline = |(number, machine): (&Number, &Machine)| {
            let thaws = self.frozen.get(number).copied().unwrap_or(Time::START);
            Some((machine.deadline?.max(thaws), *number))
        };
        let timer = self.machines.iter().filter_map(deadline).min();
        let arrival = self.queue.first_key_value().map(|((at, _), _)| *at);
        match (timer, arrival) {
            (Some((at, number)), arrival) if arrival.is_none_or(|arrival| at < arrival) && at <= end => {
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
        let to = match &due {
            Due::Datagram { to, .. } | Due::Event { to, .. } => Some(*to),
            Due::Kernel { .. } => None,
        };
        if let Some(thaws) = to.and_then(|to| self.frozen.get(&to).copied()).filter(|thaws| *thaws > self.now) {
            self.enqueue(thaws.since(self.now), due);
            return;
        }
        match due {
            Due::Datagram { to, network, way, datagram } => self.receive(to, network, way, datagram),
            Due::Event { to, boot, event } => {
                if self.machine(to).boot == boot {
                    self.handle(to, event);
                }
            }
            Due::Kernel { on, boot, op, change, interface, address } => {
                if self.machine(on).boot == boot {
                    self.change_kernel(on, op, change, interface, address);
                }
            }
        }
    }

    fn receive(&mut self, to: Number, network: u8, way: Way, datagram: Datagram) {
        let machine = self.machine(to);
        let Some(group) = machine.place_of(&datagram.group).filter(|_| machine.node.is_some()) else { return };
        if machine.places[&group].boot == datagram.sender.boot {
            return;
        }
        let arrival = if machine.seen.insert((group, datagram.sender.boot, datagram.number)) { Arrival::First } else { Arrival::Again };
        let records = match arrival {
            Arrival::First => datagram.records.to_vec(),
            Arrival::Again => Vec::new(),
        };
        let Datagram { sender, number, .. } = datagram;
        self.handle(to, Event::Heard(Heard { group, network, way, sender, number, arrival, records }));
    }

    fn change_kernel(&mut self, on: Number, op: OpId, change: Change, interface: String, address: ServiceAddress) {
        let machine = self.machine(on);
        let works = match (change, machine.kernel) {
            (Change::Add, KernelMood::RefusesToAdd) | (Change::Remove, KernelMood::RefusesToRemove) => false,
            (Change::Add, KernelMood::RefusesToRemove | KernelMood::Works) => {
                machine.interface.insert(address, Mark::Ours);
                machine.interfaces.insert(address.address, interface.clone());
                true
            }
            (Change::Remove, KernelMood::RefusesToAdd | KernelMood::Works) => {
                let put = machine.interfaces.get(&address.address).unwrap_or(&interface);
                assert_eq!(*put, interface, "h{on} looks for {address} on the wrong interface");
                machine.interface.retain(|on, mark| *on != address || *mark == Mark::Foreign);
                true
            }
        };
        self.count_doubles(address.address);
        if !works {
            self.handle(on, Event::Finished { op, outcome: Outcome::Failed { why: format!("{address}: no buffer space") } });
            return;
        }
        let change = match change {
            Change::Add => KernelChange::AddressPresent { interface, address, mark: Mark::Ours },
            Change::Remove if self.machine(on).interface.contains_key(&address) => {
                // Not ours, so it was left alone.
                self.handle(on, Event::Finished { op, outcome: Outcome::Done });
                return;
            }
            Change::Remove => KernelChange::AddressAbsent { interface, address },
        };
        // The kernel's word to everybody comes before or after its answer.
        if self.draw().is_multiple_of(2) {
            self.handle(on, Event::Kernel(change));
            self.handle(on, Event::Finished { op, outcome: Outcome::Done });
        } else {
            self.handle(on, Event::Finished { op, outcome: Outcome::Done });
            self.handle(on, Event::Kernel(change));
        }
    }

    // ---- what nodes do ----

    fn handle(&mut self, number: Number, event: Event) {
        self.transcript.event(self.now, number, &event);
        let now = self.now;
        let machine = self.machine(number);
        let local = machine.local(now);
        let Some(node) = machine.node.as_mut() else { return };
        let actions = node.handle(local, event);
        self.perform(number, actions);
    }

    fn perform(&mut self, number: Number, actions: Vec<Action>) {
        let machine = self.machine(number);
        machine.deadline = machine.node.as_ref().and_then(Node::deadline).map(|deadline| machine.global(deadline));
        let mut batch = 0;
        for action in actions {
            self.transcript.action(self.now, number, &action);
            let is_deed = !matches!(action, Action::Send { .. } | Action::StoreGroup { .. });
            self.machine(number).deeds += u64::from(is_deed);
            match action {
                Action::AddAddress { op, interface, address } => self.ask_kernel(number, &mut batch, op, Change::Add, interface, address),
                Action::RemoveAddress { op, interface, address } => {
                    self.ask_kernel(number, &mut batch, op, Change::Remove, interface, address);
                }
                Action::Announce { addresses, .. } => self.announce(number, &addresses),
                Action::RunScript { op, job } => self.run_script(number, op, &job),
                Action::Send { group, message, unicast } => self.send(number, group, message, &unicast),
                Action::PublishZone { zone, .. } => self.machine(number).zone = Some(zone),
                Action::StoreGroup { op, group, state } => {
                    let now = self.now;
                    let machine = self.machine(number);
                    let name = machine.places[&group].name.clone();
                    machine.disk.groups.insert(name, (now, state));
                    machine.stores += 1;
                    self.answer(number, DISK, op, Outcome::Done);
                }
                Action::StoreIncarnation { op, incarnation } => {
                    let machine = self.machine(number);
                    (machine.disk.incarnation, machine.incarnation) = (incarnation, incarnation);
                    self.answer(number, DISK, op, Outcome::Done);
                }
                Action::Report { report, .. } => self.reports.push((self.now, number, report)),
                Action::Reply { token, answer } => self.machine(number).replies.push((token, answer)),
                Action::EndGroup { group } => {
                    self.machine(number).places.remove(&group);
                }
                Action::Exit { code } => {
                    let machine = self.machine(number);
                    machine.exit = Some(code);
                    machine.end();
                }
            }
        }
    }

    fn ask_kernel(&mut self, on: Number, batch: &mut u32, op: OpId, change: Change, interface: String, address: ServiceAddress) {
        let boot = self.machine(on).boot;
        // A batch is answered one by one.
        let after = KERNEL + Duration::from_micros(20) * *batch;
        *batch += 1;
        self.enqueue(after, Due::Kernel { on, boot, op, change, interface, address });
    }

    fn answer(&mut self, to: Number, after: Duration, op: OpId, outcome: Outcome) {
        let boot = self.machine(to).boot;
        self.enqueue(after, Due::Event { to, boot, event: Event::Finished { op, outcome } });
    }

    fn announce(&mut self, number: Number, addresses: &[ServiceAddress]) {
        let machine = self.machine(number);
        for address in addresses {
            assert!(machine.interface.contains_key(address), "h{number} announces {address}, which is not on its interface");
            *machine.announced.entry(address.address).or_default() += 1;
        }
    }

    fn run_script(&mut self, number: Number, op: OpId, job: &ScriptJob) {
        let machine = self.machine(number);
        let mood = match job.action {
            ScriptAction::Acquire => {
                let is_on = job.item.address().is_some_and(|address| machine.has(address));
                assert!(is_on, "h{number} runs the acquire script of {} before the address is on", job.item);
                machine.acquire_script
            }
            ScriptAction::Release => machine.release_script,
        };
        let timeout = machine.places[&job.group].script_timeout;
        match mood {
            ScriptMood::Fails => self.answer(number, Duration::from_millis(3), op, Outcome::Failed { why: "exit status 1".to_owned() }),
            ScriptMood::Hangs => self.answer(number, timeout, op, Outcome::TimedOut),
            ScriptMood::Takes(duration) => self.answer(number, duration, op, Outcome::Done),
        }
    }

    fn send(&mut self, from: Number, group: GroupIndex, message: Message, unicast: &Unicast) {
        let (sent, kind) = (self.now, message.kind);
        let machine = self.machine(from);
        machine.infos_sent += u64::from(message.kind == MessageKind::Info);
        let place = &machine.places[&group];
        let group: Rc<str> = place.name.as_str().into();
        let sender = Sender { host: machine.id(), incarnation: message.incarnation, boot: place.boot };
        let is_farewell = message
            .records
            .iter()
            .any(|record| matches!(record, Record::Head(head) if head.id == sender.host && head.sequence == Sequence::FAREWELL));
        let mut destinations: Vec<(Number, u8, Way, usize)> = Vec::new();
        // A group that has been taken out of the configuration ends as it was.
        let has_multicast = |machine: &Machine| {
            machine.policy.groups.iter().find(|configured| *configured.name == *group).is_none_or(|configured| configured.multicast)
        };
        if has_multicast(&self.machines[&from]) {
            let listens = |machine: &Machine| has_multicast(machine);
            let others = self.machines.iter().filter(|(to, machine)| **to != from && listens(machine));
            destinations.extend(others.flat_map(|(to, _)| (0..NETWORKS).map(|network| (*to, network, Way::Multicast, usize::MAX))));
        }
        let whole = unicast.whole.iter().map(|address| (*address, usize::MAX));
        for (address, count) in whole.chain(unicast.opening.iter().map(|address| (*address, 1))) {
            destinations.extend(self.at(address).map(|(to, network)| (to, network, Way::Unicast, count)));
        }
        for (index, records) in datagrams::pack(message.records).into_iter().enumerate() {
            let machine = self.machine(from);
            machine.number += 1;
            let number = if is_farewell { u64::MAX } else { machine.number };
            let datagram = Datagram { sent, kind, group: Rc::clone(&group), sender, number, records: Rc::new(records) };
            if let Some(capture) = &mut self.capture {
                capture.push(datagram.clone());
            }
            for (to, network, way, _) in destinations.iter().filter(|(.., count)| index < *count) {
                let (to, network, way) = (*to, *network, *way);
                let link = (from, to, network);
                self.unicast_sent += u64::from(way == Way::Unicast);
                let lost = self.loss > 0 && self.draw() % 1000 < self.loss;
                let is_cut = self.cuts.contains(&link) || way == Way::Multicast && self.multicast_cuts.contains(&link);
                if !lost && !is_cut {
                    let after = DELAY + Duration::from_micros(20) * u32::from(network);
                    self.enqueue(after, Due::Datagram { to, network, way, datagram: datagram.clone() });
                }
            }
        }
    }

    /// The machine that has a control address, and on which network.
    fn at(&self, address: IpAddr) -> Option<(Number, u8)> {
        self.machines.iter().find_map(|(number, machine)| {
            let network = machine.policy.host.control.iter().position(|control| *control == address)?;
            Some((*number, u8::try_from(network).expect("few networks")))
        })
    }

    fn enqueue(&mut self, after: Duration, due: Due) {
        self.queued += 1;
        self.queue.insert((self.now.plus(after), self.queued), due);
    }

    pub(crate) fn machine(&mut self, number: Number) -> &mut Machine {
        self.machines.get_mut(&number).unwrap_or_else(|| panic!("there is no machine {number}"))
    }

    /// Counts for how long more than one machine has an address.
    fn count_doubles(&mut self, address: IpAddr) {
        let count = self.machines.values().filter(|machine| machine.has(address)).count();
        if count > 1 {
            assert!(!self.forbids_doubles, "{count} machines have {address}");
            self.double_since.entry(address).or_insert(self.now);
        } else if let Some(since) = self.double_since.remove(&address) {
            *self.doubles.entry(address).or_default() += self.now.since(since);
        }
    }
}
