//! One other host: its newest head, its entry, where it is heard, and since when it has been well.
//!
//! Notes what is heard of it. Which messages count, and who is silent, is decided in `hosts.rs`, which calls it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ENTRY_ITEMS_MAX;
use crate::node::monitor::entry::HeardEntry;
use crate::node::monitor::hearing::{Links, Reported, Windows};
use crate::types::host::{BootId, HostHead, HostId, Sequence};
use crate::types::item::Item;
use crate::types::message::VersionedItem;
use crate::types::policy::Ruling;
use crate::types::time::Time;

/// What another host may make this one go by: the bounds of the configuration.
const HEARTBEAT_MIN: Duration = Duration::from_millis(5);
const HEARTBEAT_MAX: Duration = Duration::from_secs(60);
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// A report that is so many messages of its host behind counts as its newest: parts of one arrive one after the other.
const REPORTS_BEHIND: u64 = 2;

/// Another host of the group.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Host {
    /// The newest head, as it came; its age is in `heard_at`.
    pub(crate) head: HostHead,
    /// When the newest head left its owner, as far as is known here.
    pub(crate) heard_at: Time,
    /// Since when this start of it is known here.
    pub(crate) known_since: Time,
    /// The number of its first datagram that certainly left it after this start of ours was there: a capture of what it sent
    /// before may come at any time, and what that says of others was true then. `None`: there was none yet.
    pub(super) current_from: Option<u64>,
    /// It was heard directly, and is late on every network.
    pub(super) is_late: bool,
    /// Its detail and items, as far as collected.
    pub(crate) entry: HeardEntry,
    /// Whether the entry is whole at the version of the head.
    pub(crate) whole: bool,
    /// When the entry ceased to be whole.
    pub(super) incomplete_since: Time,
    /// Where it is heard directly.
    pub(crate) links: Links,
    /// What it reports of hearing others.
    pub(crate) reported: Reported,
    /// Whether it counts as live.
    pub(crate) standing: Standing,
    /// Since when it has been fit to serve without a break.
    pub(crate) well_since: Option<Time>,
    /// When the back-off ends that it reported, by item.
    pub(super) back_off_until: BTreeMap<Item, Time>,
    /// When it asked for no moves, until when.
    pub(super) frozen_until: Option<Time>,
    /// Its name, once known: also while its entry is collected anew.
    pub(super) name: Option<String>,
    /// How long it may be unheard before it is silent: the group's `timeout` when it was heard, or its own if it went by a
    /// longer one. A timeout that becomes longer afterwards does not make it live any longer.
    pub(super) patience: Duration,
    /// What its head says that it goes by, within the bounds of any configuration.
    pub(super) ruling: Ruling,
}

/// Whether a host counts as live.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// Heard within the timeout.
    Live,
    /// Not heard for the timeout.
    Silent,
    /// It said goodbye.
    Left,
}

impl Host {
    pub(super) fn new(now: Time, head: HostHead, timeout: Duration) -> Self {
        Self {
            patience: timeout.max(ruling(&head).timeout),
            ruling: ruling(&head),
            heard_at: now.minus(head.age),
            known_since: now,
            current_from: None,
            is_late: false,
            entry: HeardEntry::default(),
            whole: false,
            incomplete_since: now,
            links: Links::default(),
            reported: Reported::default(),
            standing: Standing::Live,
            well_since: None,
            back_off_until: BTreeMap::new(),
            frozen_until: None,
            name: None,
            head,
        }
    }

    /// Whether it counts as live.
    pub(crate) fn is_live(&self) -> bool {
        match self.standing {
            Standing::Live => true,
            Standing::Silent | Standing::Left => false,
        }
    }

    /// Whether a datagram of its own may be from before this start of ours; `opens`: it says what its head says, or more.
    pub(super) fn is_past(&mut self, number: u64, opens: bool) -> bool {
        if opens {
            self.current_from.get_or_insert(number);
        }
        self.current_from.is_none_or(|from| number < from)
    }

    /// Its name, or its id while the name is not known.
    pub(crate) fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.head.id.to_string())
    }

    /// Its name, once known.
    pub(crate) fn known_name(&self) -> Option<String> {
        self.name.clone()
    }

    /// How long it may be unheard before it is silent.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// In which way this start of ours reaches it on its network `network`, as far as it has said lately. Until it had the time to say
    /// so, it is enough that its own multicast reaches us.
    pub(crate) fn reach(&self, now: Time, windows: Windows, (me, boot): (HostId, BootId), network: u8) -> Reach {
        if now.since(self.known_since) < windows.late && self.links.had_multicast() {
            return Reach::Multicast;
        }
        let newest = Sequence(self.head.sequence.0.saturating_sub(REPORTS_BEHIND));
        let report = self.reported.hears_since(me, boot.tag(), newest).filter(|_| now.since(self.heard_at) < windows.late);
        if report.is_some_and(|hearing| hearing.networks.iter().any(|heard| heard.network == network && heard.multicast)) {
            return Reach::Multicast;
        }
        // Whoever is heard by unicast only has found that multicast is lost, or has none.
        let mut ways = self.links.receptions(now, windows).peekable();
        let is_unicast = ways.peek().is_some() && ways.all(|reception| reception.unicast && !reception.multicast);
        if report.is_some() || is_unicast { Reach::Unicast } else { Reach::Unsure }
    }

    /// What it says that it goes by, within the bounds of any configuration.
    pub(crate) fn ruling(&self) -> Ruling {
        self.ruling
    }

    /// How much longer it is not to be given `item`.
    pub(crate) fn back_off(&self, now: Time, item: &Item) -> Duration {
        self.back_off_until.get(item).map_or(Duration::ZERO, |until| until.since(now))
    }

    /// How much longer it asks for no moves.
    pub(crate) fn frozen(&self, now: Time) -> Option<Duration> {
        self.frozen_until.map(|until| until.since(now)).filter(|left| !left.is_zero())
    }

    /// Takes a head of the same boot that is not older than the known one.
    pub(super) fn take_head(&mut self, now: Time, head: HostHead, timeout: Duration) {
        self.ruling = ruling(&head);
        if head.sequence != self.head.sequence {
            self.patience = timeout.max(self.ruling.timeout);
        }
        let left_owner = now.minus(head.age);
        // Only a greater sequence makes an entry younger; at equal sequence the older age wins.
        self.heard_at = if head.sequence == self.head.sequence { self.heard_at.min(left_owner) } else { self.heard_at.max(left_owner) };
        if head.sequence == Sequence::FAREWELL {
            self.standing = Standing::Left;
        }
        self.frozen_until = head.frozen.map(|left| left_owner.plus(left));
        self.head = head;
        // Here, and not only with the heartbeat: it may be fit again before that.
        if !self.is_fit() {
            self.well_since = None;
        }
        self.compare(now);
    }

    /// Whether it says that it can serve.
    pub(super) fn is_fit(&self) -> bool {
        self.head.ok && self.head.settled
    }

    pub(super) fn compare(&mut self, now: Time) {
        let was_whole = self.whole;
        self.whole = self.entry.compare(self.head.version, self.head.items);
        if was_whole && !self.whole {
            self.incomplete_since = now;
        }
    }

    pub(super) fn note_back_off(&mut self, now: Time, change: &VersionedItem) {
        match change {
            VersionedItem::Present { item, .. } => match item.failed {
                Some(failed) => {
                    self.back_off_until.insert(item.item.clone(), now.plus(failed.back_off));
                }
                None => {
                    self.back_off_until.remove(&item.item);
                }
            },
            VersionedItem::Gone { item, .. } => {
                self.back_off_until.remove(item);
            }
        }
        // Bounded like the entry: an item that does not fit there is not remembered here either.
        while self.back_off_until.len() > ENTRY_ITEMS_MAX {
            self.back_off_until.pop_first();
        }
    }
}

/// In which way a host is reached on one of its networks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// It hears our multicast.
    Multicast,
    /// It does not.
    Unicast,
    /// It has said nothing lately.
    Unsure,
}

/// What a host says that it goes by, within the bounds of any configuration.
fn ruling(head: &HostHead) -> Ruling {
    let Ruling { heartbeat, timeout, all_failed } = head.ruling;
    let heartbeat = heartbeat.clamp(HEARTBEAT_MIN, HEARTBEAT_MAX);
    Ruling { heartbeat, timeout: timeout.clamp(heartbeat * 2, TIMEOUT_MAX.max(heartbeat * 2)), all_failed }
}
