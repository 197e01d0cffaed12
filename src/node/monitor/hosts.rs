//! The host information database: who else is in the group, how long ago each was heard, and what it said.
//!
//! Decides which messages count (liveness by echo, ages, incarnations), which host is silent, whom each host hears, and
//! when this host has listened long enough. Never decides who serves what. Called by `monitor.rs` only.

mod host;
mod said;

pub(crate) use host::{Host, Reach, Standing};

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::said::{is_of, own_control, own_head, placement_facts, rivalled};
use super::entry::Taken;
use super::hearing::{Links, Windows};
use crate::node::event::{Arrival, Way};
use crate::types::host::{BootId, EntryVersion, Hearing, HostHead, HostId, Incarnation, Sequence};
use crate::types::item::Item;
use crate::types::message::{HearingRecord, Record, Sender};
use crate::types::time::Time;

/// The most hosts of a group that are remembered, silent ones included. Ten times the largest pool that was tried.
pub(crate) const HOSTS_MAX: usize = 1024;

/// The most items in one host's entry that are remembered.
pub(crate) const ENTRY_ITEMS_MAX: usize = 16_384;

/// The most boots that have not proved that they live now. Whoever replays old captures fills this list and nothing else.
const STRANGERS_MAX: usize = 64;

/// An entry that stays incomplete for so many heartbeats although its host is heard is collected from the start.
const INCOMPLETE_HEARTBEATS: u32 = 8;

/// Somebody that has not proved that it lives now.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Stranger {
    sender: Sender,
    sequence: Sequence,
    heard_at: Time,
    links: Links,
    /// Its control addresses, from within the seal: an answer to them goes to whoever has the key, wherever the datagram came from.
    control: Vec<IpAddr>,
}

/// One copy of a datagram, without what it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Datagram {
    pub(crate) network: u8,
    pub(crate) way: Way,
    pub(crate) sender: Sender,
    pub(crate) number: u64,
    pub(crate) arrival: Arrival,
}

/// What a datagram has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Changes {
    /// Something that placement reads.
    pub(crate) matters: bool,
    /// Somebody was heard who should learn at once that he is.
    pub(crate) answer_at_once: bool,
    /// A limit was reached.
    pub(crate) limit_reached: bool,
    /// It is of a start that has not proved that it lives now, and had no effect.
    pub(crate) unproved: bool,
    /// It may be a capture from before this start of ours: only what its sender said of itself counts.
    pub(crate) past: bool,
}

/// What is noticed about a host and worth a word.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Notice {
    /// Live, for the first time or again.
    Heard(HostId),
    /// It said goodbye.
    Left(HostId),
    /// Not heard for the timeout.
    Silent(HostId, Duration),
    /// Another daemon uses our id.
    Duplicate {
        /// The other's start.
        boot: BootId,
        /// The other's start count.
        incarnation: Incarnation,
        /// How long the other has run.
        uptime: Duration,
    },
    /// Others know a higher incarnation of ours.
    Outdated(Incarnation),
}

/// The host information database of one group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hosts {
    me: HostId,
    boot: BootId,
    timeout: Duration,
    hosts: BTreeMap<HostId, Host>,
    strangers: BTreeMap<(HostId, BootId), Stranger>,
    /// Hosts that came with an incarnation not above the known one, and are told so.
    outdated: BTreeMap<HostId, Time>,
    /// The head of an earlier run of this host, told by others.
    earlier_self: Option<(Incarnation, Time)>,
    notices: Vec<Notice>,
    /// Items that somebody else was heard to hold or to have let go.
    rivalled: BTreeSet<Item>,
}

impl Hosts {
    /// Nobody is known yet; who is not heard for `timeout` is silent.
    pub(crate) fn new(me: HostId, boot: BootId, timeout: Duration) -> Self {
        Self {
            me,
            boot,
            timeout,
            hosts: BTreeMap::new(),
            strangers: BTreeMap::new(),
            outdated: BTreeMap::new(),
            earlier_self: None,
            notices: Vec::new(),
            rivalled: BTreeSet::new(),
        }
    }

    /// Who is not heard for `timeout` is silent.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// The control networks have changed: where who was heard tells nothing about where who is heard.
    pub(crate) fn forget_networks(&mut self) {
        for host in self.hosts.values_mut() {
            host.links = Links::default();
        }
        for stranger in self.strangers.values_mut() {
            stranger.links = Links::default();
        }
    }

    /// Takes one datagram.
    pub(crate) fn hear(&mut self, now: Time, datagram: Datagram, records: Vec<Record>) -> Changes {
        let Datagram { network, way, sender, number, arrival } = datagram;
        let mut changes = Changes::default();
        if sender.boot == self.boot {
            return changes;
        }
        if sender.host == self.me {
            self.hear_own_id(now, datagram, &records, &mut changes);
            changes.unproved = true;
            return changes;
        }
        if self.is_proved(sender) {
            if let Some(host) = self.hosts.get_mut(&sender.host) {
                changes.answer_at_once |= host.links.heard(now, network, way, number, self.timeout);
                let opens = records.iter().filter_map(|record| own_head(sender, record)).any(|head| head.sequence >= host.head.sequence);
                changes.past = arrival == Arrival::First && host.is_past(number, opens);
            }
        } else if !self.prove(now, datagram, &records, &mut changes) {
            changes.unproved = true;
            return changes;
        }
        if arrival == Arrival::First {
            let is_past = changes.past;
            for record in records.into_iter().filter(|record| !is_past || is_of(sender.host, record)) {
                self.take_record(now, record, &mut changes);
            }
        }
        changes
    }

    /// Whether this start of the host has proved that it lives now.
    fn is_proved(&self, sender: Sender) -> bool {
        self.hosts.get(&sender.host).is_some_and(|host| host.head.boot == sender.boot && host.standing != Standing::Left)
    }

    /// Messages of a boot have no effect until one `info` of it has named our own boot among those that it hears.
    fn prove(&mut self, now: Time, datagram: Datagram, records: &[Record], changes: &mut Changes) -> bool {
        let sender = datagram.sender;
        if self.hosts.get(&sender.host).is_some_and(|known| known.head.boot == sender.boot) {
            // It said goodbye: nothing of that incarnation is accepted afterwards.
            return false;
        }
        let head = records.iter().find_map(|record| own_head(sender, record));
        let is_new = self.note_stranger(now, datagram, head.map(|head| head.sequence), records);
        changes.answer_at_once |= is_new;
        let names_us = records.iter().any(|record| self.names_us(sender.host, sender.boot, record));
        let Some(head) = head.filter(|_| names_us) else { return false };
        self.admit(now, sender, datagram.number, head.clone(), changes)
    }

    /// Remembers somebody that has not proved that it lives. Says whether it was unknown.
    fn note_stranger(&mut self, now: Time, datagram: Datagram, sequence: Option<Sequence>, records: &[Record]) -> bool {
        let Datagram { network, way, sender, number, .. } = datagram;
        let key = (sender.host, sender.boot);
        let is_new = !self.strangers.contains_key(&key);
        if is_new && self.strangers.len() >= STRANGERS_MAX {
            let oldest = self.strangers.iter().min_by_key(|(_, stranger)| stranger.heard_at).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                self.strangers.remove(&oldest);
            }
        }
        let stranger = self.strangers.entry(key).or_insert_with(|| Stranger {
            sender,
            sequence: Sequence(0),
            heard_at: now,
            links: Links::default(),
            control: Vec::new(),
        });
        stranger.heard_at = now;
        stranger.links.heard(now, network, way, number, self.timeout);
        stranger.sequence = sequence.unwrap_or_default().max(stranger.sequence);
        if let Some(control) = records.iter().find_map(|record| own_control(sender, record)) {
            stranger.control = control.to_vec();
        }
        is_new
    }

    /// Whether the record says that `by` hears this start of ours.
    fn names_us(&self, by: HostId, boot: BootId, record: &Record) -> bool {
        match record {
            Record::Hearing(report) => {
                report.by == by
                    && report.boot == boot
                    && report.heard.iter().any(|heard| heard.host == self.me && heard.boot == self.boot.tag())
            }
            Record::Head(_)
            | Record::Detail(_)
            | Record::Items(_)
            | Record::Addresses(_)
            | Record::Zone(_)
            | Record::Command(_)
            | Record::Wish(_)
            | Record::Verdict(_)
            | Record::Freeze(_) => false,
        }
    }

    /// Takes a proved boot into the database, unless a higher incarnation is known.
    fn admit(&mut self, now: Time, sender: Sender, number: u64, head: HostHead, changes: &mut Changes) -> bool {
        if self.hosts.get(&sender.host).is_some_and(|known| head.incarnation <= known.head.incarnation) {
            changes.answer_at_once |= self.outdated.insert(sender.host, now).is_none();
            return false;
        }
        if !self.make_room(sender.host) {
            changes.limit_reached = true;
            return false;
        }
        self.outdated.remove(&sender.host);
        let mut host = Host::new(now, head, self.timeout);
        host.current_from = Some(number);
        host.name = self.hosts.get(&sender.host).and_then(|known| known.name.clone());
        if let Some(stranger) = self.strangers.remove(&(sender.host, sender.boot)) {
            host.links = stranger.links;
        }
        self.strangers.retain(|(id, _), _| *id != sender.host);
        self.hosts.insert(sender.host, host);
        self.notices.push(Notice::Heard(sender.host));
        changes.matters = true;
        changes.answer_at_once = true;
        true
    }

    /// Makes room for one more host by forgetting the one that has been away longest. Live hosts are never forgotten.
    fn make_room(&mut self, id: HostId) -> bool {
        if self.hosts.len() < HOSTS_MAX || self.hosts.contains_key(&id) {
            return true;
        }
        let away = self.hosts.iter().filter(|(_, host)| !host.is_live()).min_by_key(|(_, host)| host.heard_at).map(|(id, _)| *id);
        away.is_some_and(|away| self.hosts.remove(&away).is_some())
    }

    /// A datagram that says it is from this host, but of another start.
    fn hear_own_id(&mut self, now: Time, datagram: Datagram, records: &[Record], changes: &mut Changes) {
        // Our own report names it, at once, so that it can tell us from a capture too.
        changes.answer_at_once |= self.note_stranger(now, datagram, None, records);
        for record in records {
            match record {
                Record::Head(head) if head.id == self.me && head.boot != self.boot => {
                    // Only one that names our start lives now; a capture of our own earlier run cannot.
                    if head.sequence != Sequence::FAREWELL && records.iter().any(|record| self.names_us(self.me, head.boot, record)) {
                        let (boot, incarnation, uptime) = (head.boot, head.incarnation, head.uptime);
                        self.notices.push(Notice::Duplicate { boot, incarnation, uptime });
                        changes.matters = true;
                    }
                }
                Record::Head(_)
                | Record::Hearing(_)
                | Record::Detail(_)
                | Record::Items(_)
                | Record::Addresses(_)
                | Record::Zone(_)
                | Record::Command(_)
                | Record::Wish(_)
                | Record::Verdict(_)
                | Record::Freeze(_) => {}
            }
        }
    }

    fn take_record(&mut self, now: Time, record: Record, changes: &mut Changes) {
        match record {
            Record::Head(head) => self.take_head(now, *head, changes),
            Record::Hearing(report) => self.take_hearing(now, &report, changes),
            Record::Detail(record) => {
                if let Some(host) = self.of_boot(record.id, record.boot) {
                    host.entry.take_detail(record.version, record.detail);
                    host.name = host.entry.detail().map(|detail| detail.name.clone());
                    let was_whole = host.whole;
                    host.compare(now);
                    changes.matters |= host.whole != was_whole;
                }
            }
            Record::Items(record) => {
                if let Some(host) = self.hosts.get_mut(&record.id).filter(|host| host.head.boot == record.boot) {
                    let was_whole = host.whole;
                    for change in record.items {
                        host.note_back_off(now, &change);
                        let rivalled = rivalled(&change);
                        match host.entry.take_item(change, ENTRY_ITEMS_MAX) {
                            Taken::Known => {}
                            Taken::News => {
                                changes.matters = true;
                                self.rivalled.extend(rivalled);
                            }
                            Taken::NoRoom => changes.limit_reached = true,
                        }
                    }
                    host.compare(now);
                    // What is only repeated changes nothing.
                    changes.matters |= host.whole != was_whole;
                }
            }
            // The other records are not about hosts.
            Record::Addresses(_) | Record::Zone(_) | Record::Command(_) | Record::Wish(_) | Record::Verdict(_) | Record::Freeze(_) => {}
        }
    }

    fn of_boot(&mut self, id: HostId, boot: BootId) -> Option<&mut Host> {
        self.hosts.get_mut(&id).filter(|host| host.head.boot == boot)
    }

    /// Takes a head, direct or relayed.
    fn take_head(&mut self, now: Time, head: HostHead, changes: &mut Changes) {
        if head.id == self.me {
            if head.boot != self.boot {
                self.earlier_self = Some(match self.earlier_self {
                    Some((known, at)) if known >= head.incarnation => (known, at),
                    Some(_) | None => (head.incarnation, now.minus(head.age)),
                });
            }
            return;
        }
        match self.hosts.get_mut(&head.id) {
            Some(host) if host.head.boot == head.boot => {
                if host.standing == Standing::Left || head.incarnation < host.head.incarnation {
                    return;
                }
                if (head.incarnation, head.sequence) < (host.head.incarnation, host.head.sequence) {
                    return;
                }
                let before = placement_facts(&host.head);
                let was = (host.standing, host.whole);
                host.take_head(now, head, self.timeout);
                if host.standing == Standing::Silent && now.since(host.heard_at) < host.patience {
                    host.standing = Standing::Live;
                    self.notices.push(Notice::Heard(host.head.id));
                }
                if host.standing == Standing::Left {
                    host.entry.start_over();
                    host.whole = false;
                    self.notices.push(Notice::Left(host.head.id));
                }
                changes.matters |= before != placement_facts(&host.head) || was != (host.standing, host.whole);
            }
            // A relayed head of a start that is not known here: entries count if the relayer is proved.
            Some(host) if head.incarnation > host.head.incarnation && head.sequence != Sequence::FAREWELL => {
                *host = Host { name: host.name.take(), ..Host::new(now, head, self.timeout) };
                self.notices.push(Notice::Heard(host.head.id));
                changes.matters = true;
            }
            Some(_) => {}
            None => {
                if head.sequence == Sequence::FAREWELL {
                    return;
                }
                let id = head.id;
                if self.make_room(id) {
                    self.hosts.insert(id, Host::new(now, head, self.timeout));
                    self.notices.push(Notice::Heard(id));
                    changes.matters = true;
                } else {
                    changes.limit_reached = true;
                }
            }
        }
    }

    fn take_hearing(&mut self, now: Time, report: &HearingRecord, changes: &mut Changes) {
        let (me, tag) = (self.me, self.boot.tag());
        if let Some(host) = self.of_boot(report.by, report.boot) {
            let heard_us = host.reported.hears(me, tag).is_some();
            host.reported.take(now, report);
            changes.matters |= heard_us != host.reported.hears(me, tag).is_some();
        }
    }

    /// Drops out whoever was not heard for `timeout`, and moves on what hangs on time.
    pub(crate) fn tick(&mut self, now: Time, heartbeat: Duration) -> bool {
        let timeout = self.timeout;
        let mut matters = false;
        for (id, host) in &mut self.hosts {
            let age = now.since(host.heard_at);
            match host.standing {
                Standing::Live if age >= host.patience => {
                    host.standing = Standing::Silent;
                    host.entry.start_over();
                    host.whole = false;
                    host.well_since = None;
                    self.notices.push(Notice::Silent(*id, age));
                    matters = true;
                }
                Standing::Live | Standing::Silent | Standing::Left => {}
            }
            if host.is_live() {
                host.well_since = if host.is_fit() { host.well_since.or(Some(now)) } else { None };
                if !host.whole && now.since(host.incomplete_since) > heartbeat * INCOMPLETE_HEARTBEATS {
                    host.entry.start_over();
                    host.incomplete_since = now;
                }
            }
        }
        self.strangers.retain(|_, stranger| now.since(stranger.heard_at) < timeout);
        self.outdated.retain(|_, at| now.since(*at) < timeout);
        if let Some((incarnation, at)) = self.earlier_self {
            // Not while a host with our id may live: that would be a duplicate, and is told apart by its own messages.
            if now.since(at) >= timeout {
                self.notices.push(Notice::Outdated(incarnation));
                self.earlier_self = None;
            }
        }
        matters
    }

    /// The loop did not run for `late`: nobody is silent for what was not listened to.
    pub(crate) fn excuse(&mut self, late: Duration) {
        for host in self.hosts.values_mut() {
            if host.standing == Standing::Live {
                host.heard_at = host.heard_at.plus(late);
            }
        }
    }

    /// When the next host becomes silent if nothing is heard.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.hosts.values().filter(|host| host.is_live()).map(|host| host.heard_at.plus(host.patience)).min()
    }

    /// Forgets a host that is not live.
    pub(crate) fn forget(&mut self, id: HostId) {
        self.hosts.remove(&id);
    }

    /// What was noticed since the last call.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Items that somebody else was heard, since the last call, to hold or to have let go.
    pub(crate) fn take_rivalled(&mut self) -> BTreeSet<Item> {
        std::mem::take(&mut self.rivalled)
    }

    /// All hosts known, ordered by id.
    pub(crate) fn all(&self) -> impl Iterator<Item = (HostId, &Host)> {
        self.hosts.iter().map(|(id, host)| (*id, host))
    }

    /// The live hosts, ordered by id.
    pub(crate) fn live(&self) -> impl Iterator<Item = (HostId, &Host)> {
        self.all().filter(|(_, host)| host.is_live())
    }

    pub(crate) fn get(&self, id: HostId) -> Option<&Host> {
        self.hosts.get(&id)
    }

    /// Hosts whose known head must be told to their successors: they continue above its incarnation.
    pub(crate) fn outdated(&self) -> impl Iterator<Item = &Host> {
        self.outdated.keys().filter_map(|id| self.hosts.get(id))
    }

    /// What this host reports of hearing those who have yet to prove that they live.
    pub(crate) fn hearing_of_strangers(&self, now: Time, windows: Windows) -> Vec<Hearing> {
        let hearing = |stranger: &Stranger| Hearing {
            host: stranger.sender.host,
            boot: stranger.sender.boot.tag(),
            sequence: stranger.sequence,
            proved: false,
            complete: EntryVersion(0),
            networks: stranger.links.report(now, windows),
        };
        self.strangers.values().map(hearing).collect()
    }

    /// What this host reports of hearing live hosts.
    pub(crate) fn hearing(&self, now: Time, windows: Windows) -> Vec<Hearing> {
        let hearing = |(id, host): (HostId, &Host)| Hearing {
            host: id,
            boot: host.head.boot.tag(),
            sequence: host.head.sequence,
            proved: true,
            complete: host.entry.complete(),
            networks: host.links.report(now, windows),
        };
        self.live().map(hearing).collect()
    }

    /// The control addresses of those who have yet to prove that they live and do not come by multicast: they hear an answer by
    /// unicast only.
    pub(crate) fn strangers_by_unicast(&self, now: Time, windows: Windows) -> impl Iterator<Item = IpAddr> {
        let only_unicast = move |stranger: &&Stranger| stranger.links.receptions(now, windows).all(|reception| !reception.multicast);
        self.strangers.values().filter(only_unicast).flat_map(|stranger| stranger.control.iter().copied())
    }

    /// Finds the hosts that were heard directly and are late on every network. Says whether one has become so: another way to it
    /// is to be tried before it counts as silent.
    pub(crate) fn note_late(&mut self, now: Time, windows: Windows) -> bool {
        let mut has_become_late = false;
        for host in self.hosts.values_mut().filter(|host| host.is_live()) {
            let is_late = host.links.last_heard().is_some_and(|at| now.since(at) >= windows.late);
            has_become_late |= is_late && !host.is_late;
            host.is_late = is_late;
        }
        has_become_late
    }

    /// When the next host becomes late if nothing is heard.
    pub(crate) fn late_deadline(&self, windows: Windows) -> Option<Time> {
        let heard = self.hosts.values().filter(|host| host.is_live() && !host.is_late).filter_map(|host| host.links.last_heard());
        heard.map(|at| at.plus(windows.late)).min()
    }

    /// The live hosts that report hearing this start of ours by an `info` numbered `since` or later.
    pub(crate) fn hears_us(&self, host: &Host, since: Sequence) -> bool {
        host.reported.hears(self.me, self.boot.tag()).is_some_and(|hearing| hearing.proved && hearing.sequence >= since)
    }

    /// Whether `to` does not hear `from` directly, so that what `from` says has to be passed on.
    pub(crate) fn hears_only_by_relay(&self, to: HostId, from: HostId) -> bool {
        let (Some(listener), Some(speaker)) = (self.get(to), self.get(from)) else { return false };
        listener.reported.hears(from, speaker.head.boot.tag()).is_none_or(|hearing| hearing.networks.is_empty())
    }

    /// The newest version of our entry that every live host has whole.
    pub(crate) fn covered(&self) -> EntryVersion {
        let tag = self.boot.tag();
        self.live()
            .map(|(_, host)| host.reported.hears(self.me, tag).map_or(EntryVersion(0), |hearing| hearing.complete))
            .min()
            .unwrap_or(EntryVersion(0))
    }

    /// Whether a settled host is heard whose whole company is complete here: then listening longer would add nothing. What it
    /// says must be an answer to our `info` numbered `since` or a later one: older words may have waited in a queue.
    pub(crate) fn company_is_complete(&self, since: Sequence) -> bool {
        self.live().any(|(_, host)| {
            host.head.settled
                && host.whole
                && host.reported.all().filter(|hearing| hearing.proved && hearing.host != self.me).all(|hearing| self.is_complete(hearing))
                && host.reported.hears(self.me, self.boot.tag()).is_some_and(|hearing| hearing.sequence >= since)
        })
    }

    fn is_complete(&self, hearing: &Hearing) -> bool {
        self.hosts.get(&hearing.host).is_some_and(|host| host.whole && host.is_live() && host.head.boot.tag() == hearing.boot)
    }
}

#[cfg(test)]
pub(crate) mod tests;
