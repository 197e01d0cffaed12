//! The service-address database: every address that the group knows, who prefers it, and how long it has been orphaned.
//!
//! Merges what others say and counts down; decides when an address is known no longer. Never decides who serves it. Called
//! by `monitor.rs` only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::extent;
use super::returns::Returns;
use crate::types::host::{Extent, HostId};
use crate::types::item::{Epoch, Item};
use crate::types::message::{AddressRecord, Returned};
use crate::types::time::Time;

/// The most addresses of a group that are remembered, tombstones included.
pub(crate) const ITEMS_MAX: usize = 32_768;

/// A tombstone is kept for at least this long: a host may well be away for a week-end.
const TOMBSTONE_KEPT_MIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// One address of the database.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct KnownItem {
    pub(crate) prefix: u8,
    /// The host that prefers it, or did last.
    pub(crate) preferred_host: Option<HostId>,
    pub(crate) floating: bool,
    /// The last moment in which a live host preferred or floated it.
    pub(crate) claimed_at: Time,
    /// The last moment in which its preferred host served it.
    pub(crate) home_served_at: Option<Time>,
    pub(crate) lifetime: Duration,
    /// The highest epoch known.
    pub(crate) epoch: Epoch,
    pub(crate) tombstone: bool,
    /// Its returns to its preferred host.
    pub(crate) returns: Option<Returns>,
    /// The epoch of the holding that the last return counted here has ended: told twice, it is one return.
    returned_from: Epoch,
}

/// What live hosts say of one address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Claims {
    /// Those who prefer it, ordered by id.
    pub(crate) preferred_by: BTreeSet<HostId>,
    /// Those who float it.
    pub(crate) floated_by: BTreeSet<HostId>,
    /// Whether this host is one of them.
    pub(crate) is_ours: bool,
    /// Whether its preferred host serves it.
    pub(crate) home_served: bool,
    /// Whether its preferred host does not take it because an operator said so.
    pub(crate) home_excused: bool,
    /// The highest epoch in a host's entry.
    pub(crate) epoch: Epoch,
    /// Prefix length, of the lowest host that says.
    pub(crate) prefix: u8,
}

/// The service-address database of one group.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Items {
    known: BTreeMap<Item, KnownItem>,
    digest: u64,
    /// Where the next turn of sending starts.
    turn: Option<Item>,
}

impl Items {
    /// What was stored, with ages as of `now`.
    pub(crate) fn restored(now: Time, records: Vec<AddressRecord>) -> Self {
        let mut items = Self::default();
        for record in records {
            items.merge(now, record);
        }
        items
    }

    /// Takes what another host says. Says whether anything that placement reads has changed; a full database takes nothing new.
    pub(crate) fn merge(&mut self, now: Time, record: AddressRecord) -> bool {
        let told = KnownItem {
            prefix: record.prefix,
            preferred_host: record.preferred_host,
            floating: record.floating,
            claimed_at: now.minus(record.orphaned),
            home_served_at: record.home_served.map(|ago| now.minus(ago)),
            lifetime: record.lifetime,
            epoch: record.epoch,
            tombstone: record.tombstone,
            returns: record.returned.map(|returned| Returns { at: now.minus(returned.ago), quick: returned.quick }),
            returned_from: Epoch(0),
        };
        let merged = match self.known.get(&record.item) {
            None if self.known.len() >= ITEMS_MAX => return false,
            None => told,
            Some(known) => known.merged(told),
        };
        self.put(record.item, merged)
    }

    /// Takes what live hosts say. Says whether anything that placement reads has changed.
    pub(crate) fn take_claims(&mut self, now: Time, claims: &BTreeMap<Item, Claims>, lifetime: Duration) -> bool {
        let mut changed = false;
        for (item, claims) in claims {
            let is_claimed = !claims.preferred_by.is_empty() || !claims.floated_by.is_empty();
            if !self.known.contains_key(item) {
                if !is_claimed || self.known.len() >= ITEMS_MAX {
                    continue;
                }
                self.put(item.clone(), KnownItem::new(now, claims.prefix, lifetime));
                changed = true;
            }
            let Some(known) = self.known.get_mut(item) else { continue };
            let before = known.clone();
            known.take_claims(now, claims, lifetime);
            // Mostly only times have changed, which are in no digest.
            if known.facts() != before.facts() {
                self.digest ^= digest(item, &before) ^ digest(item, known);
                changed = true;
            }
        }
        changed
    }

    /// The leader says how long the address stays known as an orphan.
    pub(crate) fn follow_lifetime(&mut self, item: &Item, lifetime: Duration) {
        if let Some(known) = self.known.get_mut(item).filter(|known| !known.tombstone) {
            known.lifetime = lifetime;
        }
    }

    /// This host leads: its own value holds, also for those that were orphaned before.
    pub(crate) fn rule_lifetime(&mut self, lifetime: Duration) {
        for known in self.known.values_mut().filter(|known| !known.tombstone) {
            known.lifetime = lifetime;
        }
    }

    /// Counts a return to the preferred host, from the holding with this epoch.
    pub(crate) fn note_return(&mut self, now: Time, item: &Item, from: Epoch) {
        if let Some(known) = self.known.get(item).filter(|known| known.returned_from < from) {
            let returns = Some(Returns::after(now, known.returns));
            let known = KnownItem { returns, returned_from: from, ..known.clone() };
            self.put(item.clone(), known);
        }
    }

    /// A host has stopped in order: its returns have not failed.
    pub(crate) fn end_returns(&mut self, now: Time, home: HostId) {
        for (item, known) in &mut self.known {
            if known.preferred_host == Some(home)
                && let Some(returns) = known.returns
            {
                let before = digest(item, known);
                known.returns = Some(returns.ended(now));
                self.digest ^= before ^ digest(item, known);
            }
        }
    }

    /// Buries an address: it is known no longer, here and, as the tombstone travels, everywhere.
    pub(crate) fn expire(&mut self, item: &Item) {
        if let Some(known) = self.known.get(item) {
            let buried = KnownItem { tombstone: true, ..known.clone() };
            self.put(item.clone(), buried);
        }
    }

    /// Forgets old tombstones: what a database that is still older brings has run out by its own age.
    pub(crate) fn drop_tombstones(&mut self, now: Time) {
        let old = |known: &KnownItem| known.tombstone && now.since(known.claimed_at) > (known.lifetime * 2).max(TOMBSTONE_KEPT_MIN);
        let dropped: Vec<Item> = self.known.iter().filter(|(_, known)| old(known)).map(|(item, _)| item.clone()).collect();
        for item in dropped {
            if let Some(known) = self.known.remove(&item) {
                self.digest ^= digest(&item, &known);
            }
        }
    }

    fn put(&mut self, item: Item, known: KnownItem) -> bool {
        let before = self.known.get(&item).map(|known| digest(&item, known));
        let after = digest(&item, &known);
        self.digest ^= before.unwrap_or(0) ^ after;
        self.known.insert(item, known);
        before != Some(after)
    }

    pub(crate) fn get(&self, item: &Item) -> Option<&KnownItem> {
        self.known.get(item)
    }

    /// The addresses that are known: not expired, in order.
    pub(crate) fn living(&self) -> impl Iterator<Item = (&Item, &KnownItem)> + Clone {
        self.known.iter().filter(|(_, known)| !known.tombstone)
    }

    /// Count and digest of all, tombstones included.
    pub(crate) fn extent(&self) -> Extent {
        Extent { count: u32::try_from(self.known.len()).unwrap_or(u32::MAX), digest: self.digest }
    }

    /// The next `count` addresses in turn, for sending.
    pub(crate) fn take_turn(&mut self, now: Time, count: usize) -> Vec<AddressRecord> {
        let after = self.turn.clone();
        let tail = self.known.iter().filter(|(item, _)| after.as_ref().is_none_or(|after| *item > after));
        let head = self.known.iter().filter(|(item, _)| after.as_ref().is_some_and(|after| *item <= after));
        let records: Vec<AddressRecord> = tail.chain(head).take(count).map(|(item, known)| known.record(now, item)).collect();
        self.turn = records.last().map(|record| record.item.clone());
        records
    }

    /// All, for the disk.
    pub(crate) fn records(&self, now: Time) -> Vec<AddressRecord> {
        self.known.iter().map(|(item, known)| known.record(now, item)).collect()
    }
}

fn digest(item: &Item, known: &KnownItem) -> u64 {
    extent::address_digest(&known.record(Time::START, item))
}

impl KnownItem {
    /// One that was never heard of before.
    fn new(now: Time, prefix: u8, lifetime: Duration) -> Self {
        Self {
            prefix,
            preferred_host: None,
            floating: false,
            claimed_at: now,
            home_served_at: None,
            lifetime,
            epoch: Epoch(0),
            tombstone: false,
            returns: None,
            returned_from: Epoch(0),
        }
    }

    /// Takes what live hosts say of it.
    fn take_claims(&mut self, now: Time, claims: &Claims, lifetime: Duration) {
        if self.tombstone && claims.is_ours {
            // Only a live host that prefers or floats it brings it back: above the tombstone, and by its own word. Others may
            // believe in a host that has died, as who has just woken up does.
            self.tombstone = false;
            self.epoch = self.epoch.next();
        }
        if !self.tombstone && (!claims.preferred_by.is_empty() || !claims.floated_by.is_empty()) {
            self.claimed_at = now;
            self.lifetime = lifetime;
            self.prefix = claims.prefix;
            self.floating = !claims.floated_by.is_empty();
            // Of several the lowest, so that all databases agree; who of them gets it is for the control step.
            self.preferred_host = claims.preferred_by.first().copied().or(self.preferred_host);
        }
        if claims.home_served {
            self.home_served_at = Some(now);
        }
        if claims.home_excused {
            self.returns = self.returns.map(|returns| returns.ended(now));
        }
        if !self.tombstone || claims.epoch > self.epoch {
            self.epoch = self.epoch.max(claims.epoch);
        }
    }

    /// What is in its digest.
    fn facts(&self) -> impl PartialEq + use<> {
        (self.prefix, self.preferred_host, self.floating, self.epoch, self.tombstone, self.returns.map_or(0, |returns| returns.quick))
    }

    fn record(&self, now: Time, item: &Item) -> AddressRecord {
        AddressRecord {
            item: item.clone(),
            prefix: self.prefix,
            preferred_host: self.preferred_host,
            floating: self.floating,
            orphaned: now.since(self.claimed_at),
            home_served: self.home_served_at.map(|at| now.since(at)),
            lifetime: self.lifetime,
            epoch: self.epoch,
            tombstone: self.tombstone,
            returned: self.returns.map(|returns| Returned { ago: now.since(returns.at), quick: returns.quick }),
        }
    }

    /// A tombstone outranks what is not above its epoch; among equals the younger evidence counts.
    fn merged(&self, told: Self) -> Self {
        if self.tombstone != told.tombstone {
            let (buried, living) = if self.tombstone { (self, &told) } else { (&told, self) };
            return if living.epoch > buried.epoch { living.clone() } else { buried.clone() };
        }
        let younger = match self.claimed_at.cmp(&told.claimed_at) {
            std::cmp::Ordering::Less => &told,
            std::cmp::Ordering::Greater => self,
            // The same moment: both were made from the same words; the greater host id decides alike everywhere.
            std::cmp::Ordering::Equal if told.preferred_host > self.preferred_host => &told,
            std::cmp::Ordering::Equal => self,
        };
        Self {
            epoch: self.epoch.max(told.epoch),
            home_served_at: self.home_served_at.max(told.home_served_at),
            returns: [self.returns, told.returns].into_iter().flatten().max_by_key(|returns| (returns.at, returns.quick)),
            returned_from: self.returned_from.max(told.returned_from),
            // A group-wide key: what others go by is not taken from them, see `rule_lifetime`.
            lifetime: self.lifetime,
            ..younger.clone()
        }
    }

    /// How long it is still known if nobody claims it.
    pub(crate) fn remaining(&self, now: Time) -> Duration {
        self.lifetime.saturating_sub(now.since(self.claimed_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Item {
        Item::Address([192, 0, 2, 1].into())
    }

    fn host(last: u8) -> HostId {
        HostId([10, 0, 0, last].into())
    }

    fn record(epoch: u64, orphaned_s: u64, tombstone: bool) -> AddressRecord {
        AddressRecord {
            item: item(),
            prefix: 32,
            preferred_host: Some(host(1)),
            floating: false,
            orphaned: Duration::from_secs(orphaned_s),
            home_served: None,
            lifetime: Duration::from_secs(100),
            epoch: Epoch(epoch),
            tombstone,
            returned: None,
        }
    }

    fn now() -> Time {
        Time::after_start(Duration::from_secs(1000))
    }

    fn claim(by: u8) -> BTreeMap<Item, Claims> {
        let claims = Claims { preferred_by: [host(by)].into(), prefix: 32, is_ours: by == 1, ..Claims::default() };
        [(item(), claims)].into()
    }

    #[test]
    fn a_tombstone_outranks_an_entry_of_the_same_epoch() {
        for first_is_tombstone in [true, false] {
            let mut items = Items::default();
            items.merge(now(), record(5, 10, first_is_tombstone));
            items.merge(now(), record(5, 0, !first_is_tombstone));
            assert!(items.get(&item()).unwrap().tombstone);
        }
    }

    #[test]
    fn an_old_database_does_not_bring_an_expired_address_back() {
        let mut items = Items::default();
        items.merge(now(), record(7, 200, true));
        assert!(!items.merge(now(), record(3, 1, false)));
        assert!(items.living().next().is_none());
    }

    #[test]
    fn a_live_host_that_prefers_it_brings_it_back_above_the_tombstone() {
        let mut items = Items::default();
        items.merge(now(), record(5, 200, true));
        assert!(items.take_claims(now(), &claim(1), Duration::from_secs(100)), "this host");
        let known = items.get(&item()).unwrap();
        assert!(!known.tombstone && known.epoch == Epoch(6));
        assert!(!items.merge(now(), record(5, 0, true)), "the tombstone comes again");
    }

    #[test]
    fn a_host_that_is_believed_to_live_brings_nothing_back() {
        let mut items = Items::default();
        items.merge(now(), record(5, 200, true));
        assert!(!items.take_claims(now(), &claim(2), Duration::from_secs(100)));
        assert!(items.get(&item()).unwrap().tombstone);
        // It lives, and says so itself.
        assert!(items.merge(now(), record(6, 0, false)));
        assert!(!items.get(&item()).unwrap().tombstone);
    }

    #[test]
    fn the_younger_evidence_counts_and_ages_never_grow_younger_by_themselves() {
        let mut items = Items::default();
        items.merge(now(), record(1, 50, false));
        items.merge(now(), record(1, 60, false));
        assert_eq!(items.get(&item()).unwrap().remaining(now()), Duration::from_secs(50));
        items.merge(now(), record(1, 20, false));
        assert_eq!(items.get(&item()).unwrap().remaining(now()), Duration::from_secs(80));
    }

    #[test]
    fn databases_that_say_the_same_have_the_same_extent_whatever_the_order() {
        let mut one = Items::default();
        let mut other = Items::default();
        let mut second = record(9, 0, false);
        second.item = Item::Address([192, 0, 2, 2].into());
        one.merge(now(), record(1, 5, false));
        one.merge(now(), second.clone());
        other.merge(now(), second);
        other.merge(now(), record(1, 7, false));
        assert_eq!(one.extent(), other.extent());
    }

    #[test]
    fn sending_takes_turns() {
        let mut items = Items::default();
        for last in 1..=5 {
            let mut record = record(1, 0, false);
            record.item = Item::Address([192, 0, 2, last].into());
            items.merge(now(), record);
        }
        let seen: Vec<Item> = (0..5).flat_map(|_| items.take_turn(now(), 2)).map(|record| record.item).collect();
        for last in 1..=5 {
            assert_eq!(seen.iter().filter(|item| **item == Item::Address([192, 0, 2, last].into())).count(), 2);
        }
    }
}
