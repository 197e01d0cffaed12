//! A state of the model: three real nodes, their kernels and disks, the datagrams under way, and what has gone wrong so far.
//!
//! One step is a [`Choice`]. What a choice does is fixed: the same choices from the same beginning give the same state, bit for
//! bit. Owns no rule of the daemon and no judgement; `checks.rs` judges. Hosts are shared between states until they change.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use raisd::node::action::{Action, Report, StoredGroup};
use raisd::node::event::{Arrival, Event, GroupIndex, Heard, KernelChange, Link, OpId, Outcome, Request, Token, Way};
use raisd::node::transcript::{self, Names};
use raisd::node::{Node, Start};
use raisd::types::host::{BootId, Incarnation, Sequence};
use raisd::types::item::{Epoch, Item};
use raisd::types::message::{Record, Sender};
use raisd::types::policy::NodePolicy;
use raisd::types::time::Time;

use crate::broken::Broken;

/// A datagram that is late arrives after so long: another `info` of its sender has overtaken it.
const LATE: Duration = Duration::from_millis(130);

/// What a disk says of the past has room before the beginning.
const BEGINNING: Duration = Duration::from_secs(400 * 24 * 3600);

/// A host by its place: 0 is web1.
pub(crate) type Place = usize;

/// What happens next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Choice {
    /// The oldest datagram that is due arrives.
    Deliver,
    /// Nothing is due: time passes until the next deadline or arrival.
    Wait,
    /// The oldest datagram that is due is lost.
    Lose,
    /// It arrives, and once more later.
    Duplicate,
    /// It is overtaken by everything else that is due.
    Overtaken,
    /// It arrives after a heartbeat.
    Delay,
    /// A host loses power: its addresses are gone, its disk is left.
    Crash(Place),
    /// It starts again.
    Restart(Place),
    /// It starts again with an empty disk.
    RestartWithoutDisk(Place),
    /// Its kernel refuses the next address.
    RefuseAddress(Place),
}

/// How often each thing has gone wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Spent {
    /// Lost or late.
    pub(crate) missing: u8,
    pub(crate) duplicated: u8,
    pub(crate) overtaken: u8,
    pub(crate) crashes: u8,
    pub(crate) restarts: u8,
    pub(crate) refused: u8,
}

impl Spent {
    pub(crate) fn total(self) -> u8 {
        let Self { missing, duplicated, overtaken, crashes, restarts, refused } = self;
        missing + duplicated + overtaken + crashes + restarts + refused
    }
}

/// What one machine is.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) policy: Arc<NodePolicy>,
    pub(crate) node: Option<Node>,
    /// Addresses on the service interface.
    pub(crate) kernel: BTreeSet<IpAddr>,
    incarnation: Incarnation,
    stored: Option<(Time, StoredGroup)>,
    boot: BootId,
    boots: u8,
    number: u64,
    refuses: bool,
    /// Of all this; computed when it is asked for.
    hash: Option<u64>,
}

#[derive(Clone, Debug)]
struct Datagram {
    sender: Sender,
    number: u64,
    records: Vec<Record>,
    hash: OnceLock<u64>,
}

impl Datagram {
    /// Of all that it says, computed when it is asked for.
    fn hash(&self) -> u64 {
        *self.hash.get_or_init(|| hashed(&(self.sender.boot, self.number, &self.records)))
    }
}

#[derive(Clone, Debug)]
struct Flying {
    due: Time,
    to: Place,
    arrival: Arrival,
    datagram: Arc<Datagram>,
}

/// What has been seen from outside that judgement rests on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    /// A host that runs was held to be silent, or the pool was cut: two holders may be.
    pub(crate) parted: bool,
    /// Items that were acquired, with the highest epoch.
    pub(crate) acquired: Vec<(Item, Epoch)>,
    /// What breaks a promise.
    pub(crate) wrong: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) now: Time,
    pub(crate) hosts: Vec<Arc<Host>>,
    flying: Vec<Flying>,
    pub(crate) spent: Spent,
    pub(crate) seen: Seen,
    pub(crate) broken: Broken,
    /// Nothing travels between these two sides.
    pub(crate) cut: Option<Place>,
    /// Hosts that stay away.
    pub(crate) gone: Option<Place>,
    /// Told while it is there.
    pub(crate) trace: Option<Vec<String>>,
}

impl Host {
    fn identity(host: &mut Arc<Self>) -> u64 {
        if let Some(hash) = host.hash {
            return hash;
        }
        let hash = hashed(&(&host.node, &host.kernel, host.incarnation, &host.stored, host.boot, host.number, host.refuses));
        Arc::make_mut(host).hash = Some(hash);
        hash
    }
}

impl Pool {
    pub(crate) fn new(policies: impl IntoIterator<Item = NodePolicy>, broken: Broken) -> Self {
        let host = |policy: NodePolicy| {
            Arc::new(Host {
                policy: Arc::new(policy),
                node: None,
                kernel: BTreeSet::new(),
                incarnation: Incarnation(0),
                stored: None,
                boot: BootId([0; 16]),
                boots: 0,
                number: 0,
                refuses: false,
                hash: None,
            })
        };
        Self {
            now: Time::after_start(BEGINNING),
            hosts: policies.into_iter().map(host).collect(),
            flying: Vec::new(),
            spent: Spent::default(),
            seen: Seen::default(),
            broken,
            cut: None,
            gone: None,
            trace: None,
        }
    }

    /// What would happen if nothing went wrong.
    pub(crate) fn usual(&self) -> Choice {
        if self.flying.iter().any(|flying| flying.due <= self.now) { Choice::Deliver } else { Choice::Wait }
    }

    /// Whether nothing is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.flying.is_empty()
    }

    pub(crate) fn take(&mut self, choice: Choice) {
        if self.trace.is_some() {
            self.tell(format!("{:.6} {choice:?}", self.now.since(Time::after_start(BEGINNING)).as_secs_f64()));
        }
        match choice {
            Choice::Deliver => {
                if let Some(flying) = self.front() {
                    self.arrive(flying);
                }
            }
            Choice::Wait => self.wait(),
            Choice::Lose => {
                self.front();
                self.spent.missing += 1;
            }
            Choice::Duplicate => {
                self.spent.duplicated += 1;
                if let Some(flying) = self.front() {
                    self.flying.push(Flying { due: self.now, arrival: Arrival::Again, ..flying.clone() });
                    self.arrive(flying);
                }
            }
            Choice::Overtaken => {
                self.spent.overtaken += 1;
                let front = self.front();
                self.flying.extend(front);
            }
            Choice::Delay => {
                self.spent.missing += 1;
                if let Some(flying) = self.front() {
                    self.flying.push(Flying { due: self.now.plus(LATE), ..flying });
                }
            }
            Choice::Crash(place) => {
                self.spent.crashes += 1;
                self.crash(place);
            }
            Choice::Restart(place) => {
                self.spent.restarts += 1;
                self.start(place);
            }
            Choice::RestartWithoutDisk(place) => {
                self.spent.restarts += 1;
                let host = self.host(place);
                (host.incarnation, host.stored) = (Incarnation(0), None);
                self.start(place);
            }
            Choice::RefuseAddress(place) => {
                self.spent.refused += 1;
                self.host(place).refuses = true;
            }
        }
    }

    /// Takes out the oldest datagram that is due.
    fn front(&mut self) -> Option<Flying> {
        let index = self.flying.iter().position(|flying| flying.due <= self.now)?;
        Some(self.flying.remove(index))
    }

    /// A host that is about to change.
    fn host(&mut self, place: Place) -> &mut Host {
        let host = Arc::make_mut(&mut self.hosts[place]);
        host.hash = None;
        host
    }

    pub(crate) fn is_running(&self, place: Place) -> bool {
        self.hosts[place].node.is_some()
    }

    pub(crate) fn start(&mut self, place: Place) {
        let now = self.now;
        let host = self.host(place);
        host.incarnation = Incarnation(host.incarnation.0 + 1);
        host.boots += 1;
        host.number = 0;
        let number = u8::try_from(place).unwrap_or(u8::MAX);
        host.boot = BootId([0x10 + number, host.boots, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let start = Start {
            boot: host.boot,
            incarnation: host.incarnation,
            software: "0.1.0".to_owned(),
            stored: vec![host.stored.clone().map_or_else(StoredGroup::default, |(written, stored)| aged(stored, now.since(written)))],
            kernel: vec![KernelChange::Link { interface: "svc0".to_owned(), link: Link::Up { mac: None } }],
        };
        let (node, actions) = Node::start(now, &host.policy, start);
        host.node = Some(node);
        self.perform(place, actions);
    }

    pub(crate) fn crash(&mut self, place: Place) {
        let stays = self.broken == Broken::LeftoversStay;
        let host = self.host(place);
        host.node = None;
        if !stays {
            host.kernel.clear();
        }
        host.refuses = false;
        self.flying.retain(|flying| flying.to != place);
    }

    pub(crate) fn ask(&mut self, place: Place, request: Request) {
        self.handle(place, Event::Asked { token: Token(1), request });
    }

    fn wait(&mut self) {
        let deadline = |(place, host): (Place, &Arc<Host>)| Some((host.node.as_ref()?.deadline()?, place));
        let timer = self.hosts.iter().enumerate().filter_map(deadline).min();
        let arrival = self.flying.iter().map(|flying| flying.due).min();
        match (timer, arrival) {
            (_, Some(due)) if timer.is_none_or(|(at, _)| due <= at) => self.now = due,
            (Some((at, place)), _) => {
                self.now = self.now.max(at);
                self.handle(place, Event::Timeout);
                let next = self.hosts[place].node.as_ref().and_then(Node::deadline);
                if next.is_some_and(|next| next <= self.now) {
                    self.accuse(format!("web{} spins: its next deadline has come already", place + 1));
                }
            }
            (None, _) => {}
        }
    }

    fn arrive(&mut self, flying: Flying) {
        let Flying { to, arrival, datagram, .. } = flying;
        let records = match arrival {
            Arrival::First => datagram.records.clone(),
            Arrival::Again => Vec::new(),
        };
        let (sender, number) = (datagram.sender, datagram.number);
        let heard = Heard { group: GroupIndex(0), network: 0, way: Way::Multicast, sender, number, arrival, records };
        self.handle(to, Event::Heard(heard));
    }

    fn handle(&mut self, place: Place, event: Event) {
        if self.trace.is_some() {
            let lines = transcript::event_in_short(&event, &self.names());
            self.tell_all(place, "", lines);
        }
        let now = self.now;
        let Some(node) = self.host(place).node.as_mut() else { return };
        let actions = node.handle(now, event);
        self.perform(place, actions);
    }

    fn perform(&mut self, place: Place, actions: Vec<Action>) {
        let actions = self.broken.actions(actions);
        // Kernels and disks answer at once, in the order in which they were asked.
        let mut answers: Vec<(OpId, Outcome)> = Vec::new();
        for action in actions {
            if self.trace.is_some() {
                let lines = transcript::action_in_short(&action, &self.names());
                self.tell_all(place, "-> ", lines);
            }
            match action {
                Action::AddAddress { op, address, .. } => {
                    let host = self.host(place);
                    if std::mem::take(&mut host.refuses) {
                        if self.broken == Broken::RefusalsUnnoticed {
                            answers.push((op, Outcome::Done));
                            continue;
                        }
                        answers.push((op, Outcome::Failed { why: "no buffer space".to_owned() }));
                    } else {
                        host.kernel.insert(address.address);
                        answers.push((op, Outcome::Done));
                    }
                }
                Action::RemoveAddress { op, address, .. } => {
                    if self.broken != Broken::ReleasesUndone {
                        self.host(place).kernel.remove(&address.address);
                    }
                    answers.push((op, Outcome::Done));
                }
                Action::Announce { addresses, .. } => {
                    for address in addresses {
                        if !self.hosts[place].kernel.contains(&address.address) {
                            self.accuse(format!("web{} announces {address}, which is not on its interface", place + 1));
                        }
                    }
                }
                Action::Send { message, .. } => self.send(place, message.incarnation, message.records),
                Action::StoreGroup { op, state, .. } => {
                    let now = self.now;
                    self.host(place).stored = Some((now, state));
                    answers.push((op, Outcome::Done));
                }
                Action::StoreIncarnation { op, incarnation } => {
                    self.host(place).incarnation = incarnation;
                    answers.push((op, Outcome::Done));
                }
                Action::Report { report, .. } => self.note(report),
                Action::RunScript { op, .. } => answers.push((op, Outcome::Done)),
                Action::PublishZone { .. } | Action::Reply { .. } | Action::EndGroup { .. } | Action::Exit { .. } => {}
            }
        }
        for (op, outcome) in answers {
            self.handle(place, Event::Finished { op, outcome });
        }
    }

    fn note(&mut self, report: Report) {
        match report {
            Report::HostSilent { host, .. } => {
                let runs = self.hosts.iter().any(|known| known.policy.host.id == host && known.node.is_some());
                self.seen.parted |= runs;
            }
            Report::Acquired { item, epoch, .. } => {
                let before = self.seen.acquired.iter_mut().find(|(known, _)| *known == item);
                let is_spent = before.as_ref().is_some_and(|(_, highest)| *highest >= epoch);
                if is_spent && !self.seen.parted {
                    self.accuse(format!("{item} is acquired with epoch {epoch}, which is not above the one before"));
                }
                match self.seen.acquired.iter_mut().find(|(known, _)| *known == item) {
                    Some((_, highest)) => *highest = epoch.max(*highest),
                    None => self.seen.acquired.push((item, epoch)),
                }
            }
            _ => {}
        }
    }

    fn send(&mut self, from: Place, incarnation: Incarnation, records: Vec<Record>) {
        let host = self.host(from);
        let id = host.policy.host.id;
        let is_farewell = |record: &Record| matches!(record, Record::Head(head) if head.id == id && head.sequence == Sequence::FAREWELL);
        host.number += 1;
        let number = if records.iter().any(is_farewell) { u64::MAX } else { host.number };
        let sender = Sender { host: id, incarnation, boot: host.boot };
        let records = self.broken.records(records);
        let datagram = Arc::new(Datagram { sender, number, records, hash: OnceLock::new() });
        for to in 0..self.hosts.len() {
            let parted = self.cut.is_some_and(|alone| (alone == from) != (alone == to));
            if to != from && self.is_running(to) && !parted {
                self.flying.push(Flying { due: self.now, to, arrival: Arrival::First, datagram: Arc::clone(&datagram) });
            }
        }
    }

    pub(crate) fn accuse(&mut self, wrong: String) {
        self.seen.wrong.get_or_insert(wrong);
    }

    // ---- identity ----

    /// Identity: every byte of the nodes, kernels, disks, datagrams under way, and what judgement rests on. Times stand as they are:
    /// two states at different times differ in their sequences as well, so nothing would be won by counting from the present.
    pub(crate) fn identity(&mut self) -> u64 {
        let flying: Vec<_> =
            self.flying.iter().map(|flying| (flying.due, flying.to, flying.arrival == Arrival::First, flying.datagram.hash())).collect();
        let hosts: Vec<u64> = self.hosts.iter_mut().map(Host::identity).collect();
        let Spent { missing, duplicated, overtaken, crashes, restarts, refused } = self.spent;
        let spent = [missing, duplicated, overtaken, crashes, restarts, refused];
        hashed(&(self.now, hosts, flying, spent, self.seen.parted, &self.seen.acquired, &self.seen.wrong))
    }

    // ---- for people ----

    fn names(&self) -> Names {
        let mut names = Names::default();
        for host in &self.hosts {
            names.add_host(host.policy.host.id, &host.policy.host.name);
        }
        names
    }

    fn tell(&mut self, line: String) {
        self.trace.get_or_insert_default().push(line);
    }

    fn tell_all(&mut self, place: Place, mark: &str, lines: Vec<String>) {
        for (index, line) in lines.into_iter().enumerate() {
            let mark = if index == 0 { mark } else { "   " };
            self.tell(format!("    web{} {mark}{line}", place + 1));
        }
    }
}

/// A disk that was written so long ago.
fn aged(mut stored: StoredGroup, elapsed: Duration) -> StoredGroup {
    for address in &mut stored.addresses {
        address.orphaned += elapsed;
        if let Some(returned) = &mut address.returned {
            returned.ago += elapsed;
        }
        address.home_served = address.home_served.map(|ago| ago + elapsed);
    }
    stored
}

fn hashed(value: &impl serde::Serialize) -> u64 {
    let bytes = postcard::to_stdvec(value).expect("plain data can be written");
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    hasher.finish()
}
