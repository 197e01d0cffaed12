//! One service monitor: a group on this host. The only file that knows the order of the parts.
//!
//! ```text
//!   heard ─> hosts, items, published ─┐
//!   tests, loads, link, operator ─────┼─> leadership ─> control ─> commands ─> obey ─> holding ─> announcements
//!   finished ─> holding ──────────────┘                 zone ─> published                  └─> own entry ─> transmit
//! ```
//!
//! The parts never call each other: each is called here, downwards, with plain values. After whatever happened,
//! [`Monitor::settle_turn`] brings everything to where it belongs, once; while much happens, once for many events.

pub(crate) mod announcements;
pub(crate) mod back_off;
pub(crate) mod balance;
pub(crate) mod commands;
pub(crate) mod control;
pub(crate) mod entry;
mod episodes;
mod explain;
pub(crate) mod extent;
mod foresight;
pub(crate) mod freezing;
pub(crate) mod hearing;
pub(crate) mod holding;
pub(crate) mod hosts;
pub(crate) mod items;
pub(crate) mod leadership;
mod leading;
pub(crate) mod meters;
mod obey;
pub(crate) mod operator;
mod orders;
mod pace;
pub(crate) mod peers;
pub(crate) mod published;
pub(crate) mod returns;
pub(crate) mod rule;
mod ruling;
mod sending;
mod status;
mod stopping;
mod storing;
mod surroundings;
mod tables;
pub(crate) mod transmit;
pub(crate) mod wishes;
pub(crate) mod zone;
mod zone_view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::commands::Commands;
use self::entry::OwnEntry;
use self::episodes::Episodes;
use self::freezing::Freezing;
use self::holding::{Holdings, Manner};
use self::hosts::{Changes, Datagram, Hosts, Notice};
use self::items::{Claims, Items};
use self::meters::Meters;
use self::pace::Pace;
use self::peers::Peers;
use self::published::{News, Published};
use self::transmit::Transmit;
use self::wishes::Wishes;
use super::action::{Report, StoredGroup};
use super::event::{GroupIndex, Heard, Link, LoadSample, OpId, Outcome};
use super::requests::Known;
use super::turn::{Row, Turn};
use crate::types::host::{BootId, Duty, Extent, HostDetail, HostId, Incarnation, Role, Sequence};
use crate::types::item::{Item, ItemState, Reason, ServiceAddress};
use crate::types::message::Record;
use crate::types::policy::{AllFailed, GroupPolicy, HostPolicy, Ruling, SharedPolicy};
use crate::types::time::Time;
use crate::types::view::WithheldView;

/// A leader waits at most so long for everybody to hear that it is settled: as long as a relayed answer takes.
const ACKNOWLEDGED_HEARTBEATS: u32 = 2;

/// Settling a turn looks at every address known. So long for each of them lies between two turns, so that it takes a part of
/// the processor and not all of it.
const SETTLE_GAP: Duration = Duration::from_micros(10);

/// However many addresses are known.
const SETTLE_GAP_MAX: Duration = Duration::from_millis(50);

/// Who this host is, at this start.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) id: HostId,
    pub(crate) boot: BootId,
    pub(crate) incarnation: Incarnation,
    pub(crate) started: Time,
    pub(crate) software: String,
    /// What its configuration says of it.
    pub(crate) host: HostPolicy,
}

/// Why this host cannot serve, if it cannot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Health {
    Passing,
    /// No result yet: at start a host is not ok until its tests have passed.
    Unknown {
        test: String,
    },
    Failing {
        test: String,
        why: String,
    },
}

/// Where a stop stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Stop {
    Running,
    /// Everything is being given up.
    Stopping {
        farewell: Farewell,
    },
    /// Given up and said.
    Stopped,
}

/// Whether a stop ends with a goodbye.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Farewell {
    Said,
    /// Another daemon with our id goes on: a goodbye would be taken for its own.
    Unsaid,
}

/// A group on this host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Monitor {
    index: GroupIndex,
    policy: GroupPolicy,
    identity: Identity,
    hosts: Hosts,
    items: Items,
    holdings: Holdings,
    commands: Commands,
    wishes: Wishes,
    freezing: Freezing,
    published: Published,
    /// What the name server was last told of addresses that are not on the list.
    withheld_told: Vec<WithheldView>,
    meters: Meters,
    own: OwnEntry,
    peers: Peers,
    transmit: Transmit,
    episodes: Episodes,
    health: Health,
    link: Link,
    /// Why no control network has worked since the start.
    unreachable: Option<String>,
    load: LoadSample,
    duty: Duty,
    duty_reason: String,
    stop: Stop,
    /// Since when it has listened without a break.
    listening_since: Time,
    settled: bool,
    /// The first `info` in which this host called itself settled, and when it was sent.
    settled_said: Option<(Sequence, Time)>,
    leader: Option<HostId>,
    /// What this host goes by: the leader's values, or its own while it knows none.
    ruling: Ruling,
    pace: Pace,
    /// Since when this host has been fit to serve without a break.
    well_since: Option<Time>,
    /// Since when this host, as leader, has seen floating addresses uneven.
    uneven_since: Option<Time>,
    /// Items that this host and another hold at the same time.
    rivals: BTreeSet<Item>,
    /// Addresses of the group's interface that carry no mark of ours.
    foreign: BTreeSet<ServiceAddress>,
    /// Datagrams of starts that had not proved that they live.
    unproved: u64,
    stored: (Extent, u32, u64),
    store_at: Time,
    /// The last time that everything due was done.
    ticked_at: Time,
    /// The last time that a turn was settled.
    turn_settled_at: Time,
    /// Something has happened since that placement reads.
    unsettled: bool,
}

impl Monitor {
    pub(crate) fn new(now: Time, index: GroupIndex, policy: GroupPolicy, identity: Identity, stored: StoredGroup) -> Self {
        let items = Items::restored(now, stored.addresses);
        let published = Published::restored(stored.zone_serial, stored.zone);
        let detail = detail(&policy, &identity, Link::Absent);
        Self {
            hosts: Hosts::new(identity.id, identity.boot, policy.shared.timeout),
            stored: (items.extent(), published.serial, 0),
            items,
            published,
            withheld_told: Vec::new(),
            holdings: Holdings::default(),
            commands: Commands::default(),
            wishes: Wishes::default(),
            freezing: Freezing::default(),
            meters: Meters::default(),
            own: OwnEntry::new(detail),
            peers: Peers::restored(now, stored.peers),
            transmit: Transmit::new(now),
            episodes: Episodes::default(),
            health: if policy.tests.is_empty() {
                Health::Passing
            } else {
                Health::Unknown { test: policy.tests.first().cloned().unwrap_or_default() }
            },
            link: Link::Absent,
            unreachable: None,
            load: LoadSample { load: 0, capacity: 1 },
            // A drain that a stop has cut short goes on as quiesced.
            duty: if stored.duty == Duty::Draining { Duty::Quiesced } else { stored.duty },
            duty_reason: stored.duty_reason,
            stop: Stop::Running,
            listening_since: now,
            settled: false,
            settled_said: None,
            leader: None,
            ruling: policy.shared.ruling(),
            pace: Pace::new(now, policy.shared.timeout),
            well_since: None,
            uneven_since: None,
            rivals: BTreeSet::new(),
            foreign: BTreeSet::new(),
            unproved: 0,
            store_at: now.plus(storing::STORE_INTERVAL),
            ticked_at: now,
            turn_settled_at: Time::START,
            unsettled: false,
            index,
            policy,
            identity,
        }
    }

    // ---- what happens ----

    /// The deadline has come.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        let is_all = self.turn_deadline(turn.now) <= turn.now;
        self.ticked_at = turn.now;
        if is_all {
            self.hosts.tick(turn.now, self.ruling.heartbeat);
            self.settle_turn(turn);
        } else {
            self.holdings.announce_due(turn, &self.policy);
        }
    }

    /// A datagram of the group.
    pub(crate) fn hear(&mut self, turn: &mut Turn<'_>, heard: Heard) {
        let Heard { network, way, sender, number, arrival, records, .. } = heard;
        let (about_group, about_hosts): (Vec<Record>, Vec<Record>) = records.into_iter().partition(is_about_group);
        let waits = self.leader == Some(self.identity.id) && !self.is_known_settled(turn.now);
        let mut changes = self.hosts.hear(turn.now, Datagram { network, way, sender, number, arrival }, about_hosts);
        self.note_pace(turn.now);
        if changes.matters {
            // Before his commands are looked at, whoever leads by now is to be known.
            self.follow_leader(turn);
        }
        // What somebody says who has not proved that he lives has no effect, nor has what may be older than this start.
        let is_proved = self.hosts.get(sender.host).is_some_and(|host| host.is_live() && host.head.boot == sender.boot);
        if is_proved && !changes.past {
            for record in about_group {
                self.take_group_record(turn, sender.host, record, &mut changes);
            }
        }
        self.unproved += u64::from(changes.unproved || changes.past);
        if changes.limit_reached {
            self.episodes.limit_reached(turn);
        }
        if changes.answer_at_once {
            self.transmit.hasten();
        }
        if changes.matters || waits || self.transmit.is_due(turn.now, self.haste_gap()) {
            self.settle_soon(turn);
        }
    }

    fn take_group_record(&mut self, turn: &mut Turn<'_>, from: HostId, record: Record, changes: &mut Changes) {
        match record {
            Record::Addresses(addresses) => {
                let by_leader = self.leader == Some(from);
                for address in addresses {
                    if by_leader {
                        self.items.follow_lifetime(&address.item, address.lifetime);
                    }
                    changes.matters |= self.items.merge(turn.now, address);
                }
            }
            Record::Zone(zone) => {
                let from_leader = self.leader == Some(zone.leader) && zone.leader != self.identity.id;
                match self.published.take(zone, from_leader) {
                    News::Nothing => {}
                    News::Confirmed => self.publish(turn),
                    News::Changed => {
                        changes.matters = true;
                        self.publish(turn);
                    }
                }
            }
            Record::Command(command) => changes.matters |= self.take_command(turn, command),
            Record::Wish(wish) => changes.matters |= self.take_wish(turn, wish),
            Record::Verdict(record) => changes.matters |= self.take_verdict(turn, record),
            Record::Freeze(freeze) => changes.matters |= self.take_freeze(turn, freeze),
            Record::Head(_) | Record::Hearing(_) | Record::Detail(_) | Record::Items(_) => {}
        }
    }

    /// An operation of an item has ended.
    pub(crate) fn finish(&mut self, turn: &mut Turn<'_>, item: &Item, op: OpId, outcome: Outcome) {
        self.holdings.finish(turn, &self.policy, item, op, outcome);
        self.settle_soon(turn);
    }

    /// The operator's wish. What is on disk is said by `StoreGroup`, which the caller emits.
    pub(crate) fn set_duty(&mut self, turn: &mut Turn<'_>, duty: Duty, why: String) {
        if self.duty == duty && self.duty_reason == why {
            return;
        }
        self.duty = duty;
        self.duty_reason = why.clone();
        if duty == Duty::Active {
            self.holdings.forget_failures();
        }
        turn.report(Report::DutyChanged { duty, why });
        self.transmit.hasten();
        self.settle_turn(turn);
    }

    /// Another daemon continues this host's row of incarnations.
    pub(crate) fn set_incarnation(&mut self, incarnation: Incarnation) {
        self.identity.incarnation = incarnation;
        self.transmit.hasten();
    }

    /// The operator has an orphaned address forgotten.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>, item: &Item) -> Known {
        if !self.knows(item) {
            return Known::No;
        }
        if self.claimed(item) {
            let group = &self.policy.name;
            return Known::Refused(format!(
                "a live host of group {group} prefers or floats {item}; take it out of that host's configuration instead"
            ));
        }
        self.items.expire(item);
        turn.report(Report::Expired { item: item.clone(), why: "the operator asked for it".to_owned() });
        self.transmit.hasten();
        self.settle_turn(turn);
        Known::Done(format!("{item} is forgotten; whoever holds it gives it up"))
    }

    /// The operator has a host forgotten that will not come back.
    pub(super) fn forget(&mut self, host: &str) -> Known {
        let named = |(id, known): &(HostId, &hosts::Host)| id.to_string() == host || known.name() == host;
        let Some((id, known)) = self.hosts.all().find(named) else { return Known::No };
        if known.is_live() {
            return Known::Refused(format!("host {id} is live; stop its daemon first"));
        }
        self.hosts.forget(id);
        self.peers.forget(id);
        Known::Done(format!("host {id} is forgotten here"))
    }

    // ---- the order of a turn ----

    /// Settles the turn at once, or, while events of a thousand addresses come in a row, once for many of them. What the
    /// kernel has confirmed is announced without waiting.
    fn settle_soon(&mut self, turn: &mut Turn<'_>) {
        if turn.row == Row::Ends && turn.now >= self.settles_turn_at() {
            self.settle_turn(turn);
        } else {
            self.unsettled = true;
            self.holdings.announce_due(turn, &self.policy);
        }
    }

    /// The last of several events was not about this group, or not about placement.
    pub(crate) fn settle_rest(&mut self, turn: &mut Turn<'_>) {
        if self.unsettled && turn.now >= self.settles_turn_at() {
            self.settle_turn(turn);
        }
    }

    fn settles_turn_at(&self) -> Time {
        self.turn_settled_at.plus(self.settle_gap())
    }

    fn settle_gap(&self) -> Duration {
        SETTLE_GAP.saturating_mul(self.items.extent().count).min(SETTLE_GAP_MAX)
    }

    /// Brings everything to where it belongs after whatever happened.
    fn settle_turn(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        (self.turn_settled_at, self.unsettled) = (now, false);
        if self.transmit.is_beat_due(now) {
            self.beat(turn);
        }
        self.note_pace(now);
        self.report_notices(turn);
        self.follow_ways(turn);
        self.heed_health(turn);
        let claims = self.claims(&self.own_items(now));
        self.take_claims(now, &claims);
        self.note_settled(turn);
        self.follow_leader(turn);
        self.go_by_ruling(turn);
        self.note_frozen(turn);
        if self.leader == Some(self.identity.id) {
            self.lead(turn, &claims);
        } else {
            self.commands.drop_pending();
            self.wishes.follow();
            self.uneven_since = None;
        }
        self.take_over_found(turn);
        self.note_rivals(now);
        self.measure(now);
        self.holdings.announce_due(turn, &self.policy);
        if self.own.set_items(self.own_items(now)) {
            self.transmit.hasten();
        }
        self.own.drop_gone(self.hosts.covered());
        self.store_if_due(turn);
        if !self.is_mute() && self.transmit.is_due(now, self.haste_gap()) {
            self.send_info(turn);
        }
        self.end_stop(turn);
    }

    /// The heartbeat: with whatever event it comes, be it always another than the deadline.
    fn beat(&mut self, turn: &mut Turn<'_>) {
        self.hosts.tick(turn.now, self.ruling.heartbeat);
        self.holdings.beat(turn);
        self.items.drop_tombstones(turn.now);
        self.publish_reasons(turn);
        self.transmit.hasten();
        self.transmit.move_beat(turn.now, self.beat_length());
    }

    /// A failed test schedules the orderly release of all that is held; said once per episode.
    fn heed_health(&mut self, turn: &mut Turn<'_>) {
        let problem = self.problem();
        if self.episodes.health(turn, &self.health, problem.as_deref()) {
            self.transmit.hasten();
        }
        let is_well = self.is_ok();
        self.well_since = if is_well { self.well_since.or(Some(turn.now)) } else { None };
        let gives_up = match self.ruling.all_failed {
            AllFailed::Release => true,
            AllFailed::Keep => false,
        };
        // Nothing is moved in a frozen group, and what is given up would be moved or lost.
        if !is_well && gives_up && !self.is_frozen(turn.now) && self.stop == Stop::Running {
            self.holdings.release_all(turn, &self.policy, Reason::TestFailed, Manner::Orderly);
        }
    }

    /// What stands in the way of serving, in words.
    fn problem(&self) -> Option<String> {
        if let Some(why) = &self.unreachable {
            return Some(format!("no control network works yet, so nobody can be heard: {why}"));
        }
        match (&self.health, self.link) {
            (_, Link::Absent) => {
                Some(format!("service interface {} does not exist; serving starts when it appears", self.policy.interface))
            }
            (_, Link::Down) => Some(format!("service interface {} is down or has no carrier", self.policy.interface)),
            (Health::Passing, Link::Up { .. }) => None,
            (Health::Unknown { test }, Link::Up { .. }) => Some(format!("test {test} has not passed yet")),
            (Health::Failing { test, why }, Link::Up { .. }) => Some(format!("test {test} fails: {why}")),
        }
    }

    fn is_ok(&self) -> bool {
        self.policy.role == Role::Server && self.problem().is_none() && self.stop == Stop::Running
    }

    fn take_claims(&mut self, now: Time, claims: &BTreeMap<Item, Claims>) {
        self.items.take_claims(now, claims, self.policy.shared.orphan_lifetime);
        for (_, host) in self.hosts.live() {
            self.published.hear_serial(host.head.zone_serial);
        }
    }

    fn note_settled(&mut self, turn: &mut Turn<'_>) {
        if self.settled || self.unreachable.is_some() || self.stop != Stop::Running {
            return;
        }
        let since = self.transmit.oldest_since(self.listening_since);
        if turn.now >= self.settles_at() || self.hosts.company_is_complete(since) {
            self.settled = true;
            self.transmit.hasten();
            turn.report(Report::Settled);
        }
    }

    fn settles_at(&self) -> Time {
        let slowest = self.slowest();
        self.listening_since.plus(slowest.timeout).plus(slowest.heartbeat)
    }

    fn follow_leader(&mut self, turn: &mut Turn<'_>) {
        let leader = leadership::leader(self.identity.id, self.settled, &self.hosts, self.oldest_fresh());
        if leader != self.leader {
            turn.report(Report::LeaderChanged { leader, was: self.leader });
            self.leader = leader;
            self.transmit.hasten();
        }
    }

    /// Whether everybody who hears this host has heard that it is settled. Hosts that started together settle together: each
    /// leads until it hears of a lower one, and what two leaders give out is held twice. Whoever has acknowledged follows the
    /// lowest, and whatever another leader has told him before is in the `info` that acknowledges. Who does not hear this host
    /// counts like the others: he may take it for the start before, and hear it the moment that one falls silent.
    fn is_known_settled(&self, now: Time) -> bool {
        let Some((said, at)) = self.settled_said else { return self.hosts.live().next().is_none() };
        now >= at.plus(self.slowest().heartbeat * ACKNOWLEDGED_HEARTBEATS)
            || self.hosts.live().all(|(_, host)| self.hosts.hears_us(host, said))
    }

    /// Routers must not keep the loser: whoever stays announces himself when a rival is seen, and when it has gone.
    fn note_rivals(&mut self, now: Time) {
        let held_elsewhere =
            |item: &&Item| self.hosts.live().any(|(_, host)| host.entry.item(item).is_some_and(|item| item.state.is_held()));
        let mine = self.holdings.all().filter(|(_, held)| held.state == ItemState::Online).map(|(item, _)| item);
        let rivals: BTreeSet<Item> = mine.filter(held_elsewhere).cloned().collect();
        // A rival may have come and gone between two messages: then only what he says of having let go tells of him.
        let mut passed = self.hosts.take_rivalled();
        passed.retain(|item| self.holdings.get(item).is_some_and(|held| held.state == ItemState::Online));
        let changed: Vec<Item> = rivals.symmetric_difference(&self.rivals).chain(&passed).cloned().collect();
        for item in changed {
            self.holdings.announce_again(now, &self.policy, &item);
        }
        self.rivals = rivals;
    }

    fn measure(&mut self, now: Time) {
        if !self.settled {
            return;
        }
        let mut meters = std::mem::take(&mut self.meters);
        meters.measure(now, self.items.living().map(|(item, _)| item), |item| self.kernel_holders(item));
        self.meters = meters;
    }

    /// Hosts whose kernel has the item.
    fn kernel_holders(&self, item: &Item) -> Vec<HostId> {
        let others = self.hosts.live().filter(|(_, host)| host.entry.item(item).is_some_and(|item| item.kernel)).map(|(id, _)| id);
        let mine = self.holdings.get(item).filter(|held| held.kernel).map(|_| self.identity.id);
        let mut holders: Vec<HostId> = others.chain(mine).collect();
        holders.sort_unstable();
        holders
    }

    fn report_notices(&mut self, turn: &mut Turn<'_>) {
        for notice in self.hosts.take_notices() {
            let name = |id: &HostId| self.hosts.get(*id).map_or_else(|| id.to_string(), hosts::Host::name);
            match notice {
                Notice::Heard(host) => turn.report(Report::HostHeard { host, name: name(&host) }),
                Notice::Left(host) => {
                    turn.report(Report::HostLeft { host, name: name(&host) });
                    self.items.end_returns(turn.now, host);
                }
                Notice::Silent(host, silent_for) => turn.report(Report::HostSilent { host, name: name(&host), silent_for }),
                // The node settles these for all groups at once.
                Notice::Duplicate { .. } | Notice::Outdated(_) => self.episodes.keep_for_node(notice),
            }
            self.transmit.hasten();
        }
    }

    /// Where hosts are, and in which way they are heard. Whoever is late is tried by unicast before it counts as silent.
    fn follow_ways(&mut self, turn: &mut Turn<'_>) {
        let located = self.hosts.live().filter_map(|(id, host)| Some((id, host.entry.detail()?.control.as_slice())));
        self.peers.learn(turn.now, located);
        if self.hosts.note_late(turn.now, self.windows()) {
            self.transmit.hasten();
        }
        let lost = self.lost_multicast(turn.now);
        self.episodes.multicast(turn, &self.identity.host.control, lost, &self.hosts, self.windows());
    }

    /// The control networks on which hosts are heard, though not by the multicast that they send: the names of these hosts.
    pub(super) fn lost_multicast(&self, now: Time) -> BTreeMap<u8, Vec<String>> {
        let mut lost: BTreeMap<u8, Vec<String>> = BTreeMap::new();
        if !self.policy.multicast {
            return lost;
        }
        let (slowest, windows) = (self.slowest(), self.windows());
        let timeout = slowest.timeout;
        // All that are lost by the same cause are told together, though some are missed a heartbeat before others.
        let sure = timeout + slowest.heartbeat;
        let mut is_sure = BTreeSet::new();
        let sends_it = |host: &&hosts::Host| host.entry.detail().is_some_and(|detail| detail.multicast);
        for host in self.hosts.live().map(|(_, host)| host).filter(sends_it) {
            is_sure.extend(host.links.without_multicast(now, windows, sure));
            for network in host.links.without_multicast(now, windows, timeout) {
                lost.entry(network).or_default().push(host.name());
            }
        }
        lost.retain(|network, _| is_sure.contains(network));
        lost
    }

    /// What the node has to settle for all groups at once.
    pub(crate) fn take_node_notices(&mut self) -> Vec<Notice> {
        self.episodes.take_for_node()
    }

    // ---- for the node ----

    /// When to tick if nothing else happens first; `None` after a stop.
    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        if self.stop == Stop::Stopped {
            return None;
        }
        let turn = self.turn_deadline(now);
        let announces = self.holdings.announce_deadline().filter(|time| *time > self.ticked_at);
        Some(announces.map_or(turn, |announces| announces.min(turn)))
    }

    /// When the next turn is to be settled.
    fn turn_deadline(&self, now: Time) -> Time {
        let running = self.stop == Stop::Running;
        let settles = (!self.settled && self.unreachable.is_none() && running).then(|| self.settles_at());
        let stores = running.then_some(self.store_at);
        let turn = self.unsettled.then(|| self.settles_turn_at());
        let back_offs = [self.commands.deadline(now), self.holdings.failures().deadline(now)];
        let all = [self.hosts.deadline(), self.hosts.late_deadline(self.windows()), settles, stores, turn];
        let operators = [self.wishes.deadline(), self.freezing.deadline(now)];
        // What a tick has left undone is looked at again at the next heartbeat, not in a spin.
        let soonest = all.into_iter().chain(back_offs).chain(operators).flatten().filter(|time| *time > self.ticked_at).min();
        let sends = if self.is_mute() { self.transmit.next_beat() } else { self.transmit.deadline(self.haste_gap()) };
        soonest.map_or(sends, |soonest| soonest.min(sends))
    }

    pub(crate) fn policy(&self) -> &GroupPolicy {
        &self.policy
    }

    /// Its boot and incarnation, which may be another than those of other groups of this host.
    pub(super) fn start(&self) -> (BootId, Incarnation) {
        (self.identity.boot, self.identity.incarnation)
    }

    pub(super) fn unreachable(&self) -> Option<String> {
        self.unreachable.clone()
    }

    pub(super) fn foreign(&self) -> BTreeSet<ServiceAddress> {
        self.foreign.clone()
    }

    pub(crate) fn duty(&self) -> Duty {
        self.duty
    }

    /// What another host calls itself, once known.
    pub(crate) fn host_name(&self, host: HostId) -> Option<String> {
        self.hosts.get(host).and_then(hosts::Host::known_name)
    }

    pub(crate) fn held_count(&self) -> usize {
        self.holdings.all().count()
    }

    /// Whether the group has ever heard of an item that has not expired.
    pub(crate) fn knows(&self, item: &Item) -> bool {
        let configured = self.policy.preferred.iter().chain(&self.policy.floating).any(|address| Item::Address(address.address) == *item);
        configured || self.items.get(item).is_some_and(|known| !known.tombstone)
    }
}

/// Whether a record is about the group as a whole, and not about one host.
fn is_about_group(record: &Record) -> bool {
    match record {
        Record::Addresses(_) | Record::Zone(_) | Record::Command(_) | Record::Wish(_) | Record::Verdict(_) | Record::Freeze(_) => true,
        Record::Head(_) | Record::Hearing(_) | Record::Detail(_) | Record::Items(_) => false,
    }
}

/// What hardly ever changes of what this host says of itself.
fn detail(policy: &GroupPolicy, identity: &Identity, link: Link) -> HostDetail {
    let mac = match link {
        Link::Up { mac } => mac,
        Link::Absent | Link::Down => None,
    };
    HostDetail {
        name: identity.host.name.clone(),
        software: identity.software.clone(),
        control: identity.host.control.clone(),
        multicast: policy.multicast,
        mac,
        accept: policy.accept.clone(),
        location: identity.host.location.clone(),
        capabilities: identity.host.capabilities.clone(),
        config: policy.shared.key_hashes(),
        keys: policy.keys.clone(),
    }
}

/// The names of the group-wide keys that two hosts have different values of, as far as both say. Nothing if they differ in
/// a key that this version does not know.
fn differing_keys(one: &HostDetail, other: &HostDetail) -> Vec<String> {
    let pairs = one.config.iter().zip(&other.config).zip(SharedPolicy::KEYS);
    pairs.filter(|((one, other), _)| one != other).map(|(_, name)| name.to_owned()).collect()
}
