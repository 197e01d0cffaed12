//! One host's entry: its detail and its items, each with the version at which it last changed.
//!
//! The owner keeps an [`OwnEntry`], everybody else a [`HeardEntry`] that is collected from records in any order. A heard
//! entry is whole when its count and digest are those of the head. What is not whole is unknown, never "not serving".
//! Called by `hosts.rs` (heard) and `monitor.rs` (own); decides nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::extent;
use crate::types::host::{EntryVersion, Extent, HostDetail, HostItem};
use crate::types::item::Item;
use crate::types::message::VersionedItem;

/// So many items that left an entry are remembered once it is whole: as many as a pool gives up at once.
const GONE_KEPT: usize = 2048;

/// This host's own entry.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct OwnEntry {
    version: EntryVersion,
    detail: HostDetail,
    detail_version: EntryVersion,
    items: BTreeMap<Item, (EntryVersion, HostItem)>,
    /// What left, kept so that those who still list it learn of it; dropped when every live host has seen it.
    gone: BTreeMap<Item, EntryVersion>,
    digest: u64,
}

impl OwnEntry {
    /// An entry without items.
    pub(crate) fn new(detail: HostDetail) -> Self {
        let digest = extent::detail_digest(&detail);
        Self { version: EntryVersion(1), detail, detail_version: EntryVersion(1), items: BTreeMap::new(), gone: BTreeMap::new(), digest }
    }

    /// Replaces the detail; a detail that says the same leaves the version alone.
    pub(crate) fn set_detail(&mut self, detail: HostDetail) {
        if detail == self.detail {
            return;
        }
        self.version.0 += 1;
        self.detail_version = self.version;
        self.digest ^= extent::detail_digest(&self.detail) ^ extent::detail_digest(&detail);
        self.detail = detail;
    }

    /// Puts the items to what they are now; only differences change the version. Says whether anything changed.
    pub(crate) fn set_items(&mut self, items: BTreeMap<Item, HostItem>) -> bool {
        let before = self.version;
        let left: Vec<Item> = self.items.keys().filter(|item| !items.contains_key(item)).cloned().collect();
        for item in left {
            if let Some((_, old)) = self.items.remove(&item) {
                self.version.0 += 1;
                self.digest ^= extent::item_digest(&old);
                self.gone.insert(item, self.version);
            }
        }
        for (item, present) in items {
            match self.items.get_mut(&item) {
                Some((_, old)) if extent::same(old, &present) => old.failed = present.failed,
                Some((version, old)) => {
                    self.version.0 += 1;
                    self.digest ^= extent::item_digest(old) ^ extent::item_digest(&present);
                    *version = self.version;
                    *old = present;
                }
                None => {
                    self.version.0 += 1;
                    self.digest ^= extent::item_digest(&present);
                    self.gone.remove(&item);
                    self.items.insert(item, (self.version, present));
                }
            }
        }
        self.version != before
    }

    /// Forgets what left at or before `version`: every live host has seen it.
    pub(crate) fn drop_gone(&mut self, version: EntryVersion) {
        self.gone.retain(|_, left| *left > version);
    }

    pub(crate) fn version(&self) -> EntryVersion {
        self.version
    }

    pub(crate) fn extent(&self) -> Extent {
        Extent { count: u32::try_from(self.items.len()).unwrap_or(u32::MAX), digest: self.digest }
    }

    pub(crate) fn detail(&self) -> &HostDetail {
        &self.detail
    }

    /// The detail with its version, if it changed after `version`.
    pub(crate) fn detail_since(&self, version: EntryVersion) -> Option<(EntryVersion, &HostDetail)> {
        (self.detail_version > version).then_some((self.detail_version, &self.detail))
    }

    /// What changed after `version`, oldest change first, so that a receiver who gets a part of it gets the oldest part.
    pub(crate) fn items_since(&self, version: EntryVersion) -> Vec<VersionedItem> {
        let gone = self.gone.iter().map(|(item, version)| VersionedItem::Gone { version: *version, item: item.clone() });
        let present = self.items.values().map(|(version, item)| VersionedItem::Present { version: *version, item: item.clone() });
        changed_since(version, gone.chain(present))
    }
}

/// The changes after `version`, oldest first.
fn changed_since(version: EntryVersion, items: impl Iterator<Item = VersionedItem>) -> Vec<VersionedItem> {
    let mut changed: Vec<VersionedItem> = items.filter(|item| version_of(item) > version).collect();
    changed.sort_by_key(version_of);
    changed
}

fn version_of(item: &VersionedItem) -> EntryVersion {
    match item {
        VersionedItem::Present { version, .. } | VersionedItem::Gone { version, .. } => *version,
    }
}

/// What has become of a change of another host's entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    /// It is older than what is known, or the same.
    Known,
    News,
    /// More is remembered of this host than can be.
    NoRoom,
}

/// Another host's entry, as far as it has been collected.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct HeardEntry {
    detail: Option<(EntryVersion, HostDetail)>,
    items: BTreeMap<Item, (EntryVersion, HostItem)>,
    /// What left: kept for those who learn of this host from us.
    gone: BTreeMap<Item, EntryVersion>,
    digest: u64,
    /// The newest version of which all was here.
    complete: EntryVersion,
}

impl HeardEntry {
    /// Takes a detail; an older one changes nothing.
    pub(crate) fn take_detail(&mut self, version: EntryVersion, detail: HostDetail) {
        if let Some((known, old)) = &self.detail {
            if *known >= version {
                return;
            }
            self.digest ^= extent::detail_digest(old);
        }
        self.digest ^= extent::detail_digest(&detail);
        self.detail = Some((version, detail));
    }

    /// Takes a change of an item; an older one changes nothing. `items_max` bounds what is remembered.
    #[must_use]
    pub(crate) fn take_item(&mut self, change: VersionedItem, items_max: usize) -> Taken {
        match change {
            VersionedItem::Present { version, item } => {
                if !self.is_news(&item.item, version) {
                    return Taken::Known;
                }
                if self.items.len() >= items_max && !self.items.contains_key(&item.item) {
                    return Taken::NoRoom;
                }
                self.gone.remove(&item.item);
                self.digest ^= extent::item_digest(&item);
                if let Some((_, old)) = self.items.insert(item.item.clone(), (version, item)) {
                    self.digest ^= extent::item_digest(&old);
                }
                Taken::News
            }
            VersionedItem::Gone { version, item } => {
                // What came and went between two messages leaves the entry whole, and is news all the same.
                let is_unheard_of = !self.items.contains_key(&item) && !self.gone.contains_key(&item);
                if !is_unheard_of && !self.is_news(&item, version) {
                    return Taken::Known;
                }
                if self.gone.len() >= items_max {
                    return Taken::NoRoom;
                }
                if let Some((_, old)) = self.items.remove(&item) {
                    self.digest ^= extent::item_digest(&old);
                }
                self.gone.insert(item, version);
                Taken::News
            }
        }
    }

    fn is_news(&self, item: &Item, version: EntryVersion) -> bool {
        match (self.items.get(item), self.gone.get(item)) {
            (Some((known, _)), _) => version > *known,
            (None, Some(known)) => version > *known,
            // Whole at `complete` without this item: an older record of it is from before it left.
            (None, None) => version > self.complete,
        }
    }

    /// Compares with a head of the same boot. Says whether the entry is whole at that version.
    pub(crate) fn compare(&mut self, version: EntryVersion, extent: Extent) -> bool {
        let whole = self.detail.is_some() && self.digest == extent.digest && u32::try_from(self.items.len()) == Ok(extent.count);
        if whole {
            self.complete = self.complete.max(version);
            self.drop_gone();
        }
        whole
    }

    /// Forgets the oldest of what left; whoever lags so far behind starts over.
    fn drop_gone(&mut self) {
        if self.gone.len() <= GONE_KEPT {
            return;
        }
        let mut versions: Vec<EntryVersion> = self.gone.values().copied().collect();
        versions.sort_unstable();
        if let Some(oldest) = versions.iter().rev().nth(GONE_KEPT - 1).copied() {
            self.gone.retain(|_, left| *left >= oldest);
        }
    }

    /// Starts over: what was collected does not add up to what the head says.
    pub(crate) fn start_over(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn complete(&self) -> EntryVersion {
        self.complete
    }

    pub(crate) fn detail(&self) -> Option<&HostDetail> {
        self.detail.as_ref().map(|(_, detail)| detail)
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = &HostItem> {
        self.items.values().map(|(_, item)| item)
    }

    pub(crate) fn item(&self, item: &Item) -> Option<&HostItem> {
        self.items.get(item).map(|(_, item)| item)
    }

    /// For relaying: the detail, if it changed after `version`.
    pub(crate) fn detail_since(&self, version: EntryVersion) -> Option<(EntryVersion, &HostDetail)> {
        self.detail.as_ref().filter(|(changed, _)| *changed > version).map(|(changed, detail)| (*changed, detail))
    }

    /// For relaying: what changed after `version`, oldest first.
    pub(crate) fn items_since(&self, version: EntryVersion) -> Vec<VersionedItem> {
        let gone = self.gone.iter().map(|(item, version)| VersionedItem::Gone { version: *version, item: item.clone() });
        let present = self.items.values().map(|(version, item)| VersionedItem::Present { version: *version, item: item.clone() });
        changed_since(version, gone.chain(present))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::host::HostKeys;
    use crate::types::item::{Epoch, ItemState};

    fn detail() -> HostDetail {
        HostDetail {
            name: "web1".into(),
            software: "0.1.0".into(),
            control: vec![],
            multicast: true,
            mac: None,
            accept: vec![],
            location: String::new(),
            capabilities: vec![],
            config: vec![],
            keys: HostKeys::insecure(),
        }
    }

    fn item(last: u8, state: ItemState) -> HostItem {
        let item = Item::Address([192, 0, 2, last].into());
        HostItem { item, prefix: 32, preferred: false, floating: false, state, epoch: Epoch(1), kernel: false, pinned: false, failed: None }
    }

    fn items(all: &[HostItem]) -> BTreeMap<Item, HostItem> {
        all.iter().map(|item| (item.item.clone(), item.clone())).collect()
    }

    fn copy(own: &OwnEntry, heard: &mut HeardEntry, since: EntryVersion) -> bool {
        if let Some((version, detail)) = own.detail_since(since) {
            heard.take_detail(version, detail.clone());
        }
        for change in own.items_since(since) {
            assert_ne!(heard.take_item(change, 10), Taken::NoRoom);
        }
        heard.compare(own.version(), own.extent())
    }

    #[test]
    fn an_entry_is_whole_only_when_all_its_records_are_here() {
        let mut own = OwnEntry::new(detail());
        assert!(own.set_items(items(&[item(1, ItemState::Online), item(2, ItemState::Online)])));
        let mut heard = HeardEntry::default();
        let changes = own.items_since(EntryVersion(0));
        assert_eq!(heard.take_item(changes[0].clone(), 10), Taken::News);
        assert_eq!(heard.take_item(changes[0].clone(), 10), Taken::Known);
        assert!(!heard.compare(own.version(), own.extent()), "one of two");
        assert_eq!(heard.take_item(changes[1].clone(), 10), Taken::News);
        assert!(!heard.compare(own.version(), own.extent()), "without detail");
        heard.take_detail(EntryVersion(1), detail());
        assert!(heard.compare(own.version(), own.extent()));
        assert_eq!(heard.complete(), own.version());
    }

    #[test]
    fn only_differences_change_the_version() {
        let mut own = OwnEntry::new(detail());
        assert!(own.set_items(items(&[item(1, ItemState::Online)])));
        assert!(!own.set_items(items(&[item(1, ItemState::Online)])));
        assert!(own.set_items(items(&[item(1, ItemState::Releasing)])));
        assert!(own.set_items(items(&[])));
        assert_eq!(own.extent().count, 0);
    }

    #[test]
    fn a_late_record_of_what_has_left_does_not_bring_it_back() {
        let mut own = OwnEntry::new(detail());
        own.set_items(items(&[item(1, ItemState::Online), item(2, ItemState::Online)]));
        let old = own.items_since(EntryVersion(0));
        let mut heard = HeardEntry::default();
        assert!(copy(&own, &mut heard, EntryVersion(0)));
        own.set_items(items(&[item(2, ItemState::Online)]));
        let since = heard.complete();
        assert!(copy(&own, &mut heard, since));
        for change in old {
            assert_eq!(heard.take_item(change, 10), Taken::Known);
        }
        assert!(heard.compare(own.version(), own.extent()));
        assert!(heard.item(&item(1, ItemState::Online).item).is_none());
    }

    #[test]
    fn a_change_that_was_lost_is_found_by_starting_over() {
        let mut own = OwnEntry::new(detail());
        own.set_items(items(&[item(1, ItemState::Online)]));
        let mut heard = HeardEntry::default();
        assert!(copy(&own, &mut heard, EntryVersion(0)));
        own.set_items(items(&[item(2, ItemState::Online)]));
        own.drop_gone(own.version());
        let since = heard.complete();
        assert!(!copy(&own, &mut heard, since), "nobody says that the first has left");
        heard.start_over();
        assert!(copy(&own, &mut heard, EntryVersion(0)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut heard = HeardEntry::default();
        for last in 0..10 {
            let change = VersionedItem::Present { version: EntryVersion(1), item: item(last, ItemState::Online) };
            assert_eq!(heard.take_item(change, 10), Taken::News);
        }
        let more = VersionedItem::Present { version: EntryVersion(1), item: item(11, ItemState::Online) };
        assert_eq!(heard.take_item(more, 10), Taken::NoRoom);
    }
}
