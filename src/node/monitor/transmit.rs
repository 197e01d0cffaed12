//! What goes into an `info`, and when: the seed's transmit thread.
//!
//! What changed goes first and is repeated until the hearing reports cover it; the rest takes turns within fixed budgets,
//! so that a message grows with the number of hosts and not with the number of addresses. Called by `monitor.rs` only.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::commands::Commands;
use super::entry::OwnEntry;
use super::hearing::Windows;
use super::hosts::{Host, Hosts, Standing};
use super::items::Items;
use super::published::Published;
use super::wishes::Wishes;
use crate::types::host::{BootId, EntryVersion, Hearing, HostHead, HostId, Sequence};
use crate::types::message::{DetailRecord, Freeze, HearingRecord, ItemsRecord, Message, MessageKind, Record, VersionedItem};
use crate::types::time::Time;

/// The most items of the own entry in one `info`: some 25 datagrams.
const OWN_ITEMS_MAX: usize = 1024;

/// The most items of one relayed entry in one `info`.
const RELAYED_ITEMS_MAX: usize = 256;

/// Heads of others that are relayed in each `info` although nobody is known to need them.
const RELAYED_HEADS: usize = 4;

/// Addresses of the database in one `info` while somebody has another database.
const ADDRESSES_DIFFERENT: usize = 128;

/// Addresses of the database in one `info` while all agree: only their ages can be news.
const ADDRESSES_EQUAL: usize = 4;

/// Parts of the zone list in one `info`.
const ZONE_PARTS: usize = 8;

/// A goodbye is passed on for so long.
const GOODBYE_RELAYED: Duration = Duration::from_secs(10);

/// The sending side of one group.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Transmit {
    sequence: Sequence,
    /// When the recent `info` messages were sent.
    sent: VecDeque<(Sequence, Time)>,
    next_beat: Time,
    /// Something changed that others should know before the next heartbeat.
    hasty: bool,
    heads_turn: Option<HostId>,
    zone_turn: usize,
    items_turn: usize,
    relayed_turn: usize,
}

/// What an `info` is made of.
pub(crate) struct Parts<'a> {
    pub(crate) me: HostId,
    pub(crate) boot: BootId,
    pub(crate) timeout: Duration,
    pub(crate) windows: Windows,
    /// Somebody who does not know this host gets the first datagram: it has to say where this host is.
    pub(crate) introduces: bool,
    pub(crate) hosts: &'a Hosts,
    pub(crate) own: &'a OwnEntry,
    pub(crate) items: &'a mut Items,
    pub(crate) published: &'a Published,
    pub(crate) commands: &'a Commands,
    pub(crate) wishes: &'a Wishes,
    /// The newest word on freezing, if it has to be said.
    pub(crate) freeze: Option<Freeze>,
    pub(crate) leader: Option<HostId>,
}

impl Transmit {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            sequence: Sequence(0),
            sent: VecDeque::new(),
            next_beat: now,
            hasty: false,
            heads_turn: None,
            zone_turn: 0,
            items_turn: 0,
            relayed_turn: 0,
        }
    }

    /// Others should hear of a change before the next heartbeat.
    pub(crate) fn hasten(&mut self) {
        self.hasty = true;
    }

    /// When the next heartbeat is due.
    pub(crate) fn next_beat(&self) -> Time {
        self.next_beat
    }

    pub(crate) fn is_beat_due(&self, now: Time) -> bool {
        now >= self.next_beat
    }

    /// Whether an `info` is to be sent now. Two hasty ones are at least `gap` apart.
    pub(crate) fn is_due(&self, now: Time, gap: Duration) -> bool {
        now >= self.deadline(gap)
    }

    /// When the next `info` is to be sent.
    pub(crate) fn deadline(&self, gap: Duration) -> Time {
        if !self.hasty {
            return self.next_beat;
        }
        let last = self.sent.back().map_or(Time::START, |(_, at)| *at);
        self.next_beat.min(last.plus(gap))
    }

    /// The row of heartbeats goes on; beats that were missed are not caught up.
    pub(crate) fn move_beat(&mut self, now: Time, heartbeat: Duration) {
        let next = self.next_beat.plus(heartbeat);
        self.next_beat = if next > now { next } else { now.plus(heartbeat) };
    }

    /// The heartbeat has become another: a shorter one holds at once.
    pub(crate) fn change_heartbeat(&mut self, now: Time, heartbeat: Duration) {
        self.next_beat = self.next_beat.min(now.plus(heartbeat));
    }

    /// The sequence of the next `info`.
    pub(crate) fn next_sequence(&self) -> Sequence {
        Sequence(self.sequence.0 + 1)
    }

    /// The oldest `info` of ours that was sent at or after `start`.
    pub(crate) fn oldest_since(&self, start: Time) -> Sequence {
        self.sent.iter().find(|(_, at)| *at >= start).map_or(self.next_sequence(), |(sequence, _)| *sequence)
    }

    /// One `info`: `head` is this host's own, with [`Self::next_sequence`].
    pub(crate) fn info(&mut self, now: Time, head: HostHead, mut parts: Parts<'_>) -> Message {
        self.sequence = head.sequence;
        self.hasty = false;
        self.sent.push_back((head.sequence, now));
        while self.sent.front().is_some_and(|(_, at)| now.since(*at) > parts.timeout * 4) {
            self.sent.pop_front();
        }
        let incarnation = head.incarnation;
        let mut records = vec![Record::Head(Box::new(head))];
        // A stranger proves by the first datagram that the sender lives now, so what he looks for stands there.
        let strangers = parts.hosts.hearing_of_strangers(now, parts.windows);
        if !strangers.is_empty() {
            records.push(self.hearing(&parts, strangers));
        }
        if parts.introduces {
            push_own_detail(&parts, EntryVersion(0), &mut records);
        }
        records.push(self.hearing(&parts, parts.hosts.hearing(now, parts.windows)));
        records.extend(parts.commands.own(parts.me, parts.boot).into_iter().map(Record::Command));
        records.extend(parts.freeze.map(Record::Freeze));
        records.extend(parts.wishes.own(now, parts.me, parts.boot, self.sequence, parts.leader));
        self.push_own_entry(&parts, &mut records);
        self.push_relayed(now, &parts, &mut records);
        self.push_database(now, &mut parts, &mut records);
        self.push_zone(&parts, &mut records);
        Message { kind: MessageKind::Info, incarnation, records }
    }

    fn hearing(&self, parts: &Parts<'_>, heard: Vec<Hearing>) -> Record {
        Record::Hearing(HearingRecord { by: parts.me, boot: parts.boot, sequence: self.sequence, heard })
    }

    /// What changed since the version that every live host has whole.
    fn push_own_entry(&mut self, parts: &Parts<'_>, records: &mut Vec<Record>) {
        let covered = parts.hosts.covered();
        if covered >= parts.own.version() {
            return;
        }
        if !parts.introduces {
            push_own_detail(parts, covered, records);
        }
        let changes = parts.own.items_since(covered);
        push_items(parts.me, parts.boot, in_turn(&changes, self.items_turn, OWN_ITEMS_MAX), records);
        self.items_turn = self.items_turn.wrapping_add(OWN_ITEMS_MAX);
    }

    fn push_relayed(&mut self, now: Time, parts: &Parts<'_>, records: &mut Vec<Record>) {
        for host in parts.hosts.outdated() {
            records.push(relayed_head(now, host));
        }
        let mut relayed: Vec<HostId> = Vec::new();
        for (id, host) in parts.hosts.live() {
            let needy: Vec<(HostId, &Host)> =
                parts.hosts.live().filter(|(listener, _)| *listener != id && parts.hosts.hears_only_by_relay(*listener, id)).collect();
            if needy.is_empty() {
                continue;
            }
            relayed.push(id);
            records.push(relayed_head(now, host));
            for (listener, known) in &needy {
                push_word_on(*listener, known, host, records);
            }
            let tag = host.head.boot.tag();
            let complete = needy.iter().filter_map(|(_, listener)| listener.reported.hears(id, tag)).map(|hearing| hearing.complete).min();
            if let Some(complete) = complete {
                self.push_relayed_entry(host, complete, records);
            }
        }
        self.relayed_turn = self.relayed_turn.wrapping_add(RELAYED_ITEMS_MAX);
        let commands = parts.commands.relayed(now).into_iter();
        let commands = commands.filter(|command| parts.hosts.hears_only_by_relay(command.to, command.leader));
        records.extend(commands.map(Record::Command));
        let words = parts.wishes.relayed(now, parts.leader).filter(|(to, from, _)| parts.hosts.hears_only_by_relay(*to, *from));
        records.extend(words.map(|(_, _, record)| record.clone()));
        self.push_heads_in_turn(now, parts, &relayed, records);
    }

    fn push_relayed_entry(&self, host: &Host, since: EntryVersion, records: &mut Vec<Record>) {
        if since >= host.entry.complete() {
            return;
        }
        let (id, boot) = (host.head.id, host.head.boot);
        if let Some((version, detail)) = host.entry.detail_since(since) {
            records.push(Record::Detail(Box::new(DetailRecord { id, boot, version, detail: detail.clone() })));
        }
        let changes = host.entry.items_since(since);
        push_items(id, boot, in_turn(&changes, self.relayed_turn, RELAYED_ITEMS_MAX), records);
    }

    /// Heads of others in turn, goodbyes included: who hears us and not them learns their age from us.
    fn push_heads_in_turn(&mut self, now: Time, parts: &Parts<'_>, already: &[HostId], records: &mut Vec<Record>) {
        let worth_it = |host: &Host| match host.standing {
            Standing::Live => true,
            Standing::Left => now.since(host.heard_at) < GOODBYE_RELAYED,
            Standing::Silent => false,
        };
        let all: Vec<(HostId, &Host)> = parts.hosts.all().filter(|(id, host)| worth_it(host) && !already.contains(id)).collect();
        let start = self.heads_turn.and_then(|after| all.iter().position(|(id, _)| *id > after)).unwrap_or(0);
        for (id, host) in all.iter().cycle().skip(start).take(RELAYED_HEADS.min(all.len())) {
            records.push(relayed_head(now, host));
            self.heads_turn = Some(*id);
        }
    }

    fn push_database(&mut self, now: Time, parts: &mut Parts<'_>, records: &mut Vec<Record>) {
        let extent = parts.items.extent();
        let differ = parts.hosts.live().any(|(_, host)| host.head.database != extent);
        let addresses = parts.items.take_turn(now, if differ { ADDRESSES_DIFFERENT } else { ADDRESSES_EQUAL });
        if !addresses.is_empty() {
            records.push(Record::Addresses(addresses));
        }
    }

    /// The leader says the list in every `info`; others pass it on to those who lag.
    fn push_zone(&mut self, parts: &Parts<'_>, records: &mut Vec<Record>) {
        let Some(leader) = parts.leader.filter(|_| parts.published.is_known) else { return };
        let lagging = parts.hosts.live().any(|(_, host)| host.head.zone_serial < parts.published.serial);
        if leader != parts.me && !lagging {
            return;
        }
        let zone = parts.published.records(leader);
        let (start, count) = (self.zone_turn % zone.len(), zone.len());
        self.zone_turn = start + ZONE_PARTS;
        records.extend(zone.into_iter().cycle().skip(start).take(ZONE_PARTS.min(count)).map(Record::Zone));
    }
}

/// A host that misses more than two messages of another in a row says that it does not hear it directly, so that others pass
/// on what the other says. That has to be in time: before the timeout, in which it would be taken for silent. To try another way
/// takes half of the time that is left after the first message that is missing.
pub(crate) fn windows(heartbeat: Duration, timeout: Duration) -> Windows {
    let patient = heartbeat * 5 / 2;
    Windows { direct: patient.min(timeout), late: patient.min((timeout + heartbeat) / 2) }
}

/// The detail of this host, if it changed after `since`.
fn push_own_detail(parts: &Parts<'_>, since: EntryVersion, records: &mut Vec<Record>) {
    if let Some((version, detail)) = parts.own.detail_since(since) {
        let detail = DetailRecord { id: parts.me, boot: parts.boot, version, detail: detail.clone() };
        records.push(Record::Detail(Box::new(detail)));
    }
}

/// What does not fit into one `info` as a whole: its parts take turns, so that a lost part comes again.
fn in_turn(changes: &[VersionedItem], turn: usize, count: usize) -> Vec<VersionedItem> {
    let start = if changes.len() > count { turn % changes.len() } else { 0 };
    changes.iter().cycle().skip(start).take(count.min(changes.len())).cloned().collect()
}

fn relayed_head(now: Time, host: &Host) -> Record {
    Record::Head(Box::new(HostHead { age: now.since(host.heard_at), ..host.head.clone() }))
}

/// What `host` reports of hearing `listener`, for the listener, who does not hear it directly.
fn push_word_on(listener: HostId, needy: &Host, host: &Host, records: &mut Vec<Record>) {
    if let Some(hearing) = host.reported.hears(listener, needy.head.boot.tag()) {
        let (by, boot, sequence) = (host.head.id, host.head.boot, host.head.sequence);
        records.push(Record::Hearing(HearingRecord { by, boot, sequence, heard: vec![hearing.clone()] }));
    }
}

fn push_items(id: HostId, boot: BootId, items: Vec<VersionedItem>, records: &mut Vec<Record>) {
    if !items.is_empty() {
        records.push(Record::Items(ItemsRecord { id, boot, items }));
    }
}
