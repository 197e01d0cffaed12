//! This host: events and time in, ordered actions out.
//!
//! [`Node::handle`] is the whole of the core's outside: no clock, socket, thread, file or random source is behind it. What
//! concerns all groups at once (incarnation, kernel inventory, operator's requests, late tick, stop) is decided here; what
//! concerns one group is decided by its service monitor in `node/monitor.rs`. Called by `process/daemon.rs` and by tests.

pub mod action;
pub mod event;
mod health;
pub(crate) mod monitor;
mod reload;
mod requests;
pub mod simulate;
pub mod transcript;
pub(crate) mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::action::{Action, Report, StoredGroup};
use self::event::{Event, GroupIndex, KernelChange, Link, Mark, OpId, Outcome, Token};
use self::health::Probed;
use self::monitor::holding::Manner;
use self::monitor::hosts::Notice;
use self::monitor::{Farewell, Identity, Monitor};
use self::reload::Beginning;
use self::requests::{Drain, Gathering};
use self::turn::{Operations, Row, Turn, Waiter};
use crate::types::host::{BootId, HostId, Incarnation};
use crate::types::item::{Item, Reason, ServiceAddress};
use crate::types::policy::{GroupPolicy, NodePolicy};
use crate::types::time::Time;
use crate::types::view::{SelfView, View};

/// The shortest heartbeat of any configuration: whoever was called less than this ago has missed none.
const HEARTBEAT_MIN: Duration = Duration::from_millis(5);

/// What a start of the daemon brings along.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Start {
    /// Drawn for this start.
    pub boot: BootId,
    /// One above what the disk said.
    pub incarnation: Incarnation,
    /// Version of the program.
    pub software: String,
    /// What each group kept on disk, in the order of the groups.
    pub stored: Vec<StoredGroup>,
    /// What is on the service interfaces.
    pub kernel: Vec<KernelChange>,
}

/// A host at one start of its daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartedHost<'a> {
    /// Its id.
    pub host: HostId,
    /// What it calls itself.
    pub name: &'a str,
    /// Drawn for this start.
    pub boot: BootId,
    /// Counts its starts.
    pub incarnation: Incarnation,
}

/// How the process is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Ending {
    Running,
    Stopping { code: u8 },
    Exited,
}

/// Whether this start of the daemon has had a control network yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Reach {
    /// The networks have not all been looked at.
    Unknown,
    /// None of them works so far: nobody could have been heard.
    NoneYet,
    /// One has worked. What fails later is a matter of who is heard.
    Had,
}

/// This host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    identity: Identity,
    monitors: BTreeMap<GroupIndex, Monitor>,
    /// Groups that begin when one of the same name that is being given up has ended.
    awaited: Vec<Beginning>,
    /// Names of the groups that have said goodbye in this life of the daemon.
    left: BTreeSet<String>,
    probed: Probed,
    operations: Operations,
    drains: Vec<Drain>,
    /// Requests that wait for groups.
    gatherings: BTreeMap<Token, Gathering>,
    /// Why a control network does not work.
    faults: BTreeMap<u8, String>,
    reach: Reach,
    /// Another start with this host's id, and when it was first heard.
    twin: Option<(BootId, Time)>,
    ending: Ending,
    row: Row,
    last: Time,
}

impl Node {
    /// A host at its start: what an earlier run has left on its interfaces is taken off before anything else.
    #[must_use]
    pub fn start(now: Time, policy: &NodePolicy, start: Start) -> (Self, Vec<Action>) {
        let identity = Identity {
            id: policy.host.id,
            boot: start.boot,
            incarnation: start.incarnation,
            started: now,
            software: start.software,
            host: policy.host.clone(),
        };
        let mut stored = start.stored.into_iter();
        let monitor = |(index, group): (usize, &GroupPolicy)| {
            let group_index = GroupIndex(index);
            (group_index, Monitor::new(now, group_index, group.clone(), identity.clone(), stored.next().unwrap_or_default()))
        };
        let monitors = policy.groups.iter().enumerate().map(monitor).collect();
        let mut node = Self {
            probed: Probed::new(&policy.tests),
            monitors,
            awaited: Vec::new(),
            left: BTreeSet::new(),
            identity,
            operations: Operations::default(),
            drains: Vec::new(),
            gatherings: BTreeMap::new(),
            faults: BTreeMap::new(),
            reach: Reach::Unknown,
            twin: None,
            ending: Ending::Running,
            row: Row::Ends,
            last: now,
        };
        let mut actions = Vec::new();
        for change in start.kernel {
            node.find_at_start(now, change, &mut actions);
        }
        (node, actions)
    }

    /// Feeds one event; returns everything that this host must do now, in order.
    ///
    /// # Panics
    /// If `now` is before the time of an earlier call: the caller's clock is not monotonic.
    #[must_use = "a dropped action leaves this host and its peers out of step"]
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        self.handle_all(now, [event])
    }

    /// Feeds events that are there at the same time, in their order, as [`Self::handle`] would one by one. What looks at everything is
    /// done once, after the last: whoever falls behind has more of them at a time, and catches up.
    ///
    /// # Panics
    /// As [`Self::handle`].
    #[must_use = "a dropped action leaves this host and its peers out of step"]
    pub fn handle_all(&mut self, now: Time, events: impl IntoIterator<Item = Event>) -> Vec<Action> {
        assert!(self.last <= now, "time went backwards: {:?} after {:?}", now, self.last);
        let mut actions = Vec::new();
        self.notice_stall(now, &mut actions);
        self.last = now;
        let mut events = events.into_iter().peekable();
        while let Some(event) = events.next() {
            self.row = if events.peek().is_some() { Row::GoesOn } else { Row::Ends };
            self.take(now, event, &mut actions);
        }
        self.with_all(now, &mut actions, Monitor::settle_rest);
        self.settle_notices(now, &mut actions);
        self.end_drains(now, &mut actions);
        self.end_groups(now, &mut actions);
        self.gather_answers(now, &mut actions);
        self.end(&mut actions);
        actions
    }

    fn take(&mut self, now: Time, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Timeout => self.tick(now, actions),
            Event::Heard(heard) => {
                let group = heard.group;
                self.with(now, actions, group, |monitor, turn| monitor.hear(turn, heard));
            }
            Event::Finished { op, outcome } => self.finish(now, op, outcome, actions),
            Event::Tested { test, result } => {
                self.probed.take_result(&test, result);
                self.probed.note_changes(now);
                let probed = self.probed.clone();
                self.with_all(now, actions, |monitor, turn| {
                    let health = probed.health(&monitor.policy().tests);
                    monitor.set_health(turn, health);
                });
            }
            Event::Loaded { load, sample } => {
                self.probed.take_load(load, sample);
                let probed = self.probed.clone();
                self.with_all(now, actions, |monitor, turn| {
                    let load = probed.load(&monitor.policy().loads);
                    monitor.set_load(turn, load);
                });
            }
            Event::Kernel(change) => self.note_kernel(now, change, actions),
            Event::Asked { token, request } => self.answer(now, token, request, actions),
            Event::Reloaded(reload) => self.reload(now, *reload, actions),
            Event::Stopped => self.stop(now, 0, Reason::Stopped, Manner::Orderly, Farewell::Said, actions),
        }
    }

    /// When to call [`Self::handle`] with [`Event::Timeout`] if nothing else happens first.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let monitors = self.monitors.values().filter_map(|monitor| monitor.deadline(self.last));
        monitors.chain(self.drains.iter().map(|drain| drain.until)).min()
    }

    /// What this host knows.
    #[must_use]
    pub fn view(&self, now: Time) -> View {
        let view = |monitor: &Monitor| {
            let mut group = monitor.view(now);
            if self.is_running() && monitor.is_given_up() {
                group.problems.insert(0, "the group is configured here no longer; what it holds is being given up".to_owned());
            }
            group
        };
        let mut groups: Vec<_> = self.monitors.values().map(view).collect();
        // The order of the numbers is that of the names only at start.
        groups.sort_by(|one, other| one.name.cmp(&other.name));
        for group in &mut groups {
            group.problems.extend(self.faults.values().cloned());
        }
        View {
            version: 1,
            host: SelfView {
                id: self.identity.id,
                name: self.identity.host.name.clone(),
                control: self.identity.host.control.clone(),
                incarnation: self.identity.incarnation,
                software: self.identity.software.clone(),
                uptime_ms: u64::try_from(now.since(self.identity.started).as_millis()).unwrap_or(u64::MAX),
                tests: self.probed.view(),
            },
            groups,
        }
    }

    /// This host's id.
    #[must_use]
    pub fn id(&self) -> HostId {
        self.identity.id
    }

    /// Who this host is, at this start.
    #[must_use]
    pub fn identity(&self) -> StartedHost<'_> {
        let Identity { id, boot, incarnation, host, .. } = &self.identity;
        StartedHost { host: *id, name: &host.name, boot: *boot, incarnation: *incarnation }
    }

    /// What a host calls itself, as far as it is known in that group, or in any.
    #[must_use]
    pub fn host_name(&self, group: Option<GroupIndex>, host: HostId) -> Option<String> {
        if host == self.identity.id {
            return Some(self.identity.host.name.clone());
        }
        let of = |(known, _): &(&GroupIndex, &Monitor)| group.is_none_or(|group| group == **known);
        self.monitors.iter().filter(of).find_map(|(_, monitor)| monitor.host_name(host))
    }

    /// The groups there are, with their names.
    pub fn group_names(&self) -> impl Iterator<Item = (GroupIndex, &str)> {
        self.monitors.iter().map(|(group, monitor)| (*group, monitor.policy().name.as_str()))
    }

    fn with<R>(
        &mut self,
        now: Time,
        actions: &mut Vec<Action>,
        group: GroupIndex,
        act: impl FnOnce(&mut Monitor, &mut Turn<'_>) -> R,
    ) -> Option<R> {
        let monitor = self.monitors.get_mut(&group)?;
        let mut turn = Turn { now, group, row: self.row, actions, operations: &mut self.operations };
        Some(act(monitor, &mut turn))
    }

    fn with_all(&mut self, now: Time, actions: &mut Vec<Action>, mut act: impl FnMut(&mut Monitor, &mut Turn<'_>)) {
        let groups: Vec<GroupIndex> = self.monitors.keys().copied().collect();
        for group in groups {
            self.with(now, actions, group, &mut act);
        }
    }

    /// Whoever was not listening must not count what it missed as silence. What was late before the last call is excused.
    fn notice_stall(&mut self, now: Time, actions: &mut Vec<Action>) {
        if now.since(self.last) <= HEARTBEAT_MIN {
            return;
        }
        let Some(deadline) = self.deadline() else { return };
        let late = now.since(deadline.max(self.last));
        let grace = self.monitors.values().map(Monitor::beat_length).min().unwrap_or(Duration::ZERO);
        if late > grace {
            self.with_all(now, actions, |monitor, turn| monitor.stall(turn, late));
        }
    }

    fn tick(&mut self, now: Time, actions: &mut Vec<Action>) {
        let is_due = |monitor: &Monitor| monitor.deadline(now).is_some_and(|deadline| deadline <= now);
        let due: Vec<GroupIndex> = self.monitors.iter().filter(|(_, monitor)| is_due(monitor)).map(|(group, _)| *group).collect();
        for group in due {
            self.with(now, actions, group, Monitor::tick);
        }
    }

    fn finish(&mut self, now: Time, op: OpId, outcome: Outcome, actions: &mut Vec<Action>) {
        match self.operations.end(op) {
            Some(Waiter::Item(group, item)) => {
                self.with(now, actions, group, |monitor, turn| monitor.finish(turn, &item, op, outcome));
            }
            Some(Waiter::Requests(requests)) => Self::reply_stored(requests, &outcome, actions),
            Some(Waiter::Nobody) => {
                if let Outcome::Failed { why } = outcome {
                    actions.push(Action::Report { group: None, report: Report::StoreFailed { why } });
                }
            }
            None => {}
        }
    }

    /// Own state first: marked leftovers go off, an unmarked permanent one is named.
    fn find_at_start(&mut self, now: Time, change: KernelChange, actions: &mut Vec<Action>) {
        match change {
            KernelChange::AddressPresent { interface, address, mark: Mark::Ours } => {
                // An interface may serve several groups: the one that knows the address, else the first.
                let item = Item::Address(address.address);
                let on = || self.monitors.iter().filter(|(_, monitor)| monitor.policy().interface == interface);
                let owner = on().find(|(_, monitor)| monitor.knows(&item)).or_else(|| on().next()).map(|(group, _)| *group);
                if let Some(owner) = owner {
                    self.with(now, actions, owner, |monitor, turn| monitor.take_off_leftover(turn, address));
                }
            }
            KernelChange::AddressPresent { interface, address, mark: Mark::Foreign } => {
                let item = Item::Address(address.address);
                let knows = |monitor: &Monitor| monitor.policy().interface == interface && monitor.knows(&item);
                if let Some((group, _)) = self.monitors.iter().find(|(_, monitor)| knows(monitor)) {
                    let report = Report::AddressForeign { item, interface };
                    actions.push(Action::Report { group: Some(*group), report });
                }
            }
            KernelChange::AddressAbsent { .. }
            | KernelChange::ControlAddress { .. }
            | KernelChange::Link { .. }
            | KernelChange::Network { .. } => self.note_kernel(now, change, actions),
        }
    }

    fn note_kernel(&mut self, now: Time, change: KernelChange, actions: &mut Vec<Action>) {
        match change {
            // Put there by ourselves, and confirmed by the answer to the operation.
            KernelChange::AddressPresent { interface, address, mark: Mark::Ours } => {
                self.on_interface(now, actions, &interface, |monitor, _| monitor.note_marked(address));
            }
            KernelChange::AddressPresent { interface, address, mark: Mark::Foreign } => {
                self.on_interface(now, actions, &interface, |monitor, turn| monitor.find_address(turn, address));
            }
            KernelChange::AddressAbsent { interface, address } => self.lose_address(now, &interface, address, actions),
            KernelChange::Link { interface, link } => {
                self.report_link(now, &interface, link, actions);
            }
            KernelChange::ControlAddress { network, address } => self.set_control(now, network, address, actions),
            KernelChange::Network { network, fault } => self.note_network(now, network, fault, actions),
        }
    }

    /// An interface that was configured without its address has one at last, or another: the others are told where this host is.
    fn set_control(&mut self, now: Time, network: u8, address: IpAddr, actions: &mut Vec<Action>) {
        let Some(known) = self.identity.host.control.get_mut(usize::from(network)).filter(|known| **known != address) else { return };
        *known = address;
        let control = self.identity.host.control.clone();
        self.with_all(now, actions, |monitor, turn| monitor.set_control(turn, control.clone()));
    }

    fn on_interface(&mut self, now: Time, actions: &mut Vec<Action>, interface: &str, mut act: impl FnMut(&mut Monitor, &mut Turn<'_>)) {
        self.with_all(now, actions, |monitor, turn| {
            if monitor.policy().interface == interface {
                act(monitor, turn);
            }
        });
    }

    fn lose_address(&mut self, now: Time, interface: &str, address: ServiceAddress, actions: &mut Vec<Action>) {
        self.with_all(now, actions, |monitor, turn| monitor.lose_address(turn, interface, address));
    }

    fn report_link(&mut self, now: Time, interface: &str, link: Link, actions: &mut Vec<Action>) {
        self.on_interface(now, actions, interface, |monitor, turn| monitor.set_link(turn, link));
    }

    fn note_network(&mut self, now: Time, network: u8, fault: Option<String>, actions: &mut Vec<Action>) {
        self.note_reach(now, network, fault.as_deref(), actions);
        let what = format!("control network {network}");
        let report = match fault {
            Some(why) => {
                if self.faults.insert(network, why.clone()).as_ref() == Some(&why) {
                    return;
                }
                Report::NetworkFails { what, why }
            }
            None => {
                if self.faults.remove(&network).is_none() {
                    return;
                }
                Report::NetworkWorks { what }
            }
        };
        actions.push(Action::Report { group: None, report });
    }

    /// A host that starts before its control networks are there has heard nobody: it must not take that for being alone.
    fn note_reach(&mut self, now: Time, network: u8, fault: Option<&str>, actions: &mut Vec<Action>) {
        let (reach, unreachable) = match (self.reach, fault) {
            (Reach::Had, _) => return,
            (Reach::Unknown | Reach::NoneYet, None) => (Reach::Had, None),
            (Reach::Unknown | Reach::NoneYet, Some(why)) => {
                let mut all: BTreeMap<u8, &str> = self.faults.iter().map(|(network, why)| (*network, why.as_str())).collect();
                all.insert(network, why);
                if all.len() < self.identity.host.control.len() {
                    return;
                }
                let whys: Vec<&str> = all.into_values().collect();
                (Reach::NoneYet, Some(whys.join("; ")))
            }
        };
        self.reach = reach;
        self.with_all(now, actions, |monitor, turn| monitor.set_unreachable(turn, unreachable.clone()));
    }

    /// What the groups noticed about this host's own id.
    fn settle_notices(&mut self, now: Time, actions: &mut Vec<Action>) {
        let noticed = |monitor: &mut Monitor| {
            let own = monitor.start();
            monitor.take_node_notices().into_iter().map(move |notice| (own, notice))
        };
        let notices: Vec<((BootId, Incarnation), Notice)> = self.monitors.values_mut().flat_map(noticed).collect();
        for (own, notice) in notices {
            match notice {
                Notice::Outdated(known) if known >= own.1 => self.continue_above(now, known, actions),
                Notice::Duplicate { boot, incarnation, uptime } => self.settle_duplicate_id(now, own, boot, incarnation, uptime, actions),
                Notice::Outdated(_) | Notice::Heard(_) | Notice::Left(_) | Notice::Silent(..) => {}
            }
        }
    }

    /// Another daemon uses this host's id: the later start gives way.
    fn settle_duplicate_id(
        &mut self,
        now: Time,
        own: (BootId, Incarnation),
        boot: BootId,
        incarnation: Incarnation,
        uptime: Duration,
        actions: &mut Vec<Action>,
    ) {
        if self.ending != Ending::Running {
            return;
        }
        if self.is_later_start(now, own.0, boot, uptime) {
            let report = Report::DuplicateId { boot: format!("{boot:?}") };
            actions.push(Action::Report { group: None, report });
            self.stop(now, 1, Reason::DuplicateId, Manner::Forced, Farewell::Unsaid, actions);
        } else if incarnation >= own.1 {
            // The others have taken the later start for a restart of this host, and take nothing from this one any more.
            self.continue_above(now, incarnation, actions);
        }
    }

    /// Whether this is the later start of two. Each sees the other's uptime as it was a moment ago; of two that started
    /// within such a moment each takes itself for the earlier. The later falls silent at once, so if the other is still
    /// heard after `timeout`, the higher boot id gives way.
    fn is_later_start(&mut self, now: Time, own: BootId, boot: BootId, uptime: Duration) -> bool {
        let patience = self.monitors.values().map(|monitor| monitor.slowest().timeout).max().unwrap_or(Duration::ZERO);
        let since = match self.twin {
            Some((known, since)) if known == boot => since,
            Some(_) | None => now,
        };
        self.twin = Some((boot, since));
        now.since(self.identity.started) < uptime || (now.since(since) >= patience && own > boot)
    }

    /// Others know a higher incarnation of this host: the state on disk was lost, or is an old copy.
    fn continue_above(&mut self, now: Time, known: Incarnation, actions: &mut Vec<Action>) {
        let incarnation = Incarnation(known.max(self.identity.incarnation).0.saturating_add(1));
        self.identity.incarnation = incarnation;
        self.with_all(now, actions, |monitor, _| monitor.set_incarnation(incarnation));
        let op = self.operations.begin(Waiter::Nobody);
        actions.push(Action::StoreIncarnation { op, incarnation });
    }

    fn stop(&mut self, now: Time, code: u8, reason: Reason, manner: Manner, farewell: Farewell, actions: &mut Vec<Action>) {
        if self.ending != Ending::Running {
            return;
        }
        self.ending = Ending::Stopping { code };
        self.awaited.clear();
        self.with_all(now, actions, |monitor, turn| monitor.stop(turn, reason, manner, farewell));
    }

    /// The process ends when everything is given up and every operation is answered.
    fn end(&mut self, actions: &mut Vec<Action>) {
        let Ending::Stopping { code } = self.ending else { return };
        if self.monitors.values().all(Monitor::is_stopped) && self.operations.is_idle() {
            self.ending = Ending::Exited;
            actions.push(Action::Exit { code });
        }
    }
}
