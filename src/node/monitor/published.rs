//! The list that the zone is answered from: the leader's, with its serial, as it travels.
//!
//! Owns the list and the serial; `zone.rs` decides what is on it. Called by `monitor.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::zone::Withheld;
use crate::types::host::HostId;
use crate::types::message::{RECORD_MEMBERS_MAX, ZoneRecord};

/// The most parts of a list: as many addresses as the database holds.
const PARTS_MAX: u16 = 2048;

/// What a decision or a part of a list means for those who answer from the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum News {
    /// Nothing.
    Nothing,
    /// The list from the disk is the one to answer from.
    Confirmed,
    /// It is another list.
    Changed,
}

/// The list of one group.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Published {
    pub(crate) serial: u32,
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// Why others are not on it: known to the leader.
    pub(crate) withheld: Vec<(IpAddr, Withheld)>,
    /// Whether a list was ever decided or heard, in this run of the daemon or before.
    pub(crate) is_known: bool,
    /// Whether the list was decided or heard since the start. What comes from the disk is not answered from before the leader
    /// says the same.
    is_current: bool,
    /// Parts of a list that is not here whole.
    incoming: Option<Incoming>,
    /// The highest serial that anybody was heard to have.
    heard: u32,
    /// A serial under which this host has answered two lists: a name server that pulls by serial may have missed the second.
    contested: Option<u32>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Incoming {
    leader: HostId,
    serial: u32,
    parts: u16,
    received: BTreeMap<u16, Vec<IpAddr>>,
}

impl Published {
    /// The list that was stored.
    pub(crate) fn restored(serial: u32, addresses: Vec<IpAddr>) -> Self {
        Self { serial, addresses: addresses.into_iter().collect(), is_known: serial > 0, heard: serial, ..Self::default() }
    }

    /// The serial that others are told: one more where ours has stood for two lists, so that the leader goes above it. The leader
    /// need not have heard of the first: whoever led alone follows him as soon as it hears him.
    pub(crate) fn said_serial(&self) -> u32 {
        self.serial.saturating_add(u32::from(self.contested == Some(self.serial)))
    }

    /// Whether the list may be answered from.
    pub(crate) fn is_current(&self) -> bool {
        self.is_current
    }

    /// Notes a serial that somebody has.
    pub(crate) fn hear_serial(&mut self, serial: u32) {
        self.heard = self.heard.max(serial);
    }

    /// The leader's decision. The serial grows only if the list changed, or if somebody has a list of a higher serial.
    pub(crate) fn decide(&mut self, addresses: BTreeSet<IpAddr>, withheld: Vec<(IpAddr, Withheld)>) -> News {
        self.withheld = withheld;
        if self.is_known && self.addresses == addresses && self.heard <= self.serial {
            return self.confirm();
        }
        self.serial = self.serial.max(self.heard).saturating_add(1);
        self.heard = self.serial;
        self.addresses = addresses;
        (self.is_known, self.is_current) = (true, true);
        self.incoming = None;
        News::Changed
    }

    /// The list is the leader's.
    fn confirm(&mut self) -> News {
        if std::mem::replace(&mut self.is_current, true) { News::Nothing } else { News::Confirmed }
    }

    /// Takes a part of a list. `from_leader`: the host that this host follows decided it.
    pub(crate) fn take(&mut self, record: ZoneRecord, from_leader: bool) -> News {
        let is_other_list = record.serial == self.serial && !record.addresses.iter().all(|address| self.addresses.contains(address));
        // A list of our serial that is not ours: after a partition both sides counted on. The leader goes above both.
        self.heard = self.heard.max(if is_other_list { record.serial.saturating_add(1) } else { record.serial });
        let is_news = record.serial > self.serial || !self.is_known || is_other_list;
        if from_leader && !is_news && record.serial == self.serial {
            return self.confirm();
        }
        if !from_leader
            || !is_news
            || record.serial < self.serial
            || record.parts == 0
            || record.parts > PARTS_MAX
            || record.part >= record.parts
        {
            return News::Nothing;
        }
        let matches = self
            .incoming
            .as_ref()
            .is_some_and(|known| (known.leader, known.serial, known.parts) == (record.leader, record.serial, record.parts));
        if !matches {
            self.incoming = Some(Incoming { leader: record.leader, serial: record.serial, parts: record.parts, received: BTreeMap::new() });
        }
        let Some(incoming) = &mut self.incoming else { return News::Nothing };
        incoming.received.insert(record.part, record.addresses);
        if incoming.received.len() < usize::from(incoming.parts) {
            return News::Nothing;
        }
        let addresses = incoming.received.values().flatten().copied().collect();
        if self.is_known && self.serial == incoming.serial && self.addresses != addresses {
            self.contested = Some(self.serial);
        }
        self.addresses = addresses;
        self.serial = incoming.serial;
        (self.is_known, self.is_current) = (true, true);
        self.withheld = Vec::new();
        self.incoming = None;
        News::Changed
    }

    /// The list in parts, for sending.
    pub(crate) fn records(&self, leader: HostId) -> Vec<ZoneRecord> {
        let all: Vec<IpAddr> = self.addresses.iter().copied().collect();
        let chunks: Vec<Vec<IpAddr>> =
            if all.is_empty() { vec![Vec::new()] } else { all.chunks(RECORD_MEMBERS_MAX).map(<[IpAddr]>::to_vec).collect() };
        let parts = u16::try_from(chunks.len()).unwrap_or(u16::MAX);
        let record =
            |(part, addresses)| ZoneRecord { leader, serial: self.serial, part: u16::try_from(part).unwrap_or(u16::MAX), parts, addresses };
        chunks.into_iter().enumerate().map(record).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(count: u8) -> BTreeSet<IpAddr> {
        (1..=count).map(|last| IpAddr::from([192, 0, 2, last])).collect()
    }

    fn leader() -> HostId {
        HostId([10, 0, 0, 1].into())
    }

    #[test]
    fn the_serial_grows_only_if_the_list_did_change() {
        let mut published = Published::default();
        assert_eq!(published.decide(addresses(3), vec![]), News::Changed);
        assert_eq!(published.decide(addresses(3), vec![]), News::Nothing);
        assert_eq!(published.decide(addresses(2), vec![]), News::Changed);
        assert_eq!(published.serial, 2);
    }

    #[test]
    fn a_new_leader_goes_above_the_highest_serial_heard() {
        let mut published = Published::restored(7, vec![]);
        published.hear_serial(41);
        assert_eq!(published.decide(addresses(1), vec![]), News::Changed);
        assert_eq!(published.serial, 42);
    }

    #[test]
    fn a_list_from_the_disk_is_answered_from_once_the_leader_says_the_same() {
        let mut leads = Published::default();
        leads.decide(addresses(2), vec![]);
        let mut follows = Published::restored(leads.serial, addresses(2).into_iter().collect());
        let records = leads.records(leader());
        assert_eq!(follows.take(records[0].clone(), false), News::Nothing, "not from the leader");
        assert_eq!(follows.take(records[0].clone(), true), News::Confirmed);
        assert_eq!(follows.take(records[0].clone(), true), News::Nothing);
        let mut alone = Published::restored(7, addresses(1).into_iter().collect());
        assert_eq!(alone.decide(addresses(1), vec![]), News::Confirmed);
        assert_eq!(alone.serial, 7);
        assert_eq!(alone.decide(addresses(1), vec![]), News::Nothing);
    }

    #[test]
    fn a_list_in_parts_is_taken_when_the_last_part_is_here() {
        let mut sender = Published::default();
        sender.decide(addresses(40), vec![]);
        let mut records = sender.records(leader());
        assert_eq!(records.len(), 3);
        let mut receiver = Published::default();
        let last = records.remove(1);
        for record in records.into_iter().rev() {
            assert_eq!(receiver.take(record, true), News::Nothing);
        }
        assert_eq!(receiver.take(last.clone(), false), News::Nothing, "not from the leader");
        assert_eq!(receiver.take(last, true), News::Changed);
        assert_eq!(receiver.addresses, addresses(40));
    }

    #[test]
    fn after_a_partition_the_leader_goes_above_an_equal_serial() {
        let mut one = Published::default();
        one.decide(addresses(1), vec![]);
        let mut other = Published::default();
        other.decide(addresses(2), vec![]);
        for record in other.records(leader()) {
            assert_eq!(one.take(record, false), News::Nothing);
        }
        assert_eq!(one.decide(addresses(1), vec![]), News::Changed);
        assert!(one.serial > other.serial);
    }
}
