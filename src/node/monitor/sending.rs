//! What a monitor sends: `info` each heartbeat and when something has changed, commands, and to whom.
//!
//! Puts together what `transmit` needs of the other parts. Called by [`Monitor::settle_turn`] and, for a farewell, by `stopping`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::hearing::Windows;
use super::peers::Circle;
use super::transmit::Parts;
use super::{Farewell, Monitor, Stop, transmit};
use crate::node::action::{Action, Unicast};
use crate::node::turn::Turn;
use crate::types::host::{FailedAcquire, HostHead, HostItem, Sequence};
use crate::types::item::{Epoch, Item, ItemState};
use crate::types::message::{CommandKind, Message, MessageKind, Record};
use crate::types::time::Time;

/// Two hasty messages of a small group are so far apart: a fiftieth of the heartbeat, within these.
const HASTE_GAP_MIN: Duration = Duration::from_millis(1);
const HASTE_GAP_MAX: Duration = Duration::from_millis(20);

impl Monitor {
    /// Two hasty messages are at least so far apart: each is a turn, and may say something of every address.
    pub(super) fn haste_gap(&self) -> Duration {
        (self.beat_length() / 50).clamp(HASTE_GAP_MIN, HASTE_GAP_MAX).max(self.settle_gap())
    }

    /// Whether nothing is said any more: another daemon goes on with our id, and would be taken at our word.
    pub(super) fn is_mute(&self) -> bool {
        match self.stop {
            Stop::Running | Stop::Stopping { farewell: Farewell::Said } => false,
            Stop::Stopping { farewell: Farewell::Unsaid } | Stop::Stopped => true,
        }
    }

    pub(super) fn head(&self, now: Time, sequence: Sequence) -> HostHead {
        HostHead {
            id: self.identity.id,
            incarnation: self.identity.incarnation,
            boot: self.identity.boot,
            sequence,
            age: Duration::ZERO,
            uptime: now.since(self.identity.started),
            version: self.own.version(),
            items: self.own.extent(),
            ok: self.is_ok(),
            duty: self.duty,
            settled: self.settled,
            role: self.policy.role,
            spare: self.policy.preferred.is_empty(),
            frozen: self.frozen(now),
            restarting: false,
            config_hash: self.policy.shared.config_hash(),
            ruling: self.ruling,
            load: self.load.load,
            capacity: self.load.capacity,
            promise: None,
            database: self.items.extent(),
            zone_serial: self.published.said_serial(),
        }
    }

    pub(super) fn own_items(&self, now: Time) -> BTreeMap<Item, HostItem> {
        let mut items: BTreeMap<Item, HostItem> = BTreeMap::new();
        let blank = |item: &Item, prefix| HostItem {
            item: item.clone(),
            prefix,
            preferred: false,
            floating: false,
            state: ItemState::NotServing,
            epoch: Epoch(0),
            kernel: false,
            pinned: false,
            failed: None,
        };
        for address in &self.policy.preferred {
            let item = Item::Address(address.address);
            items.entry(item.clone()).or_insert_with(|| blank(&item, address.prefix)).preferred = true;
        }
        for address in &self.policy.floating {
            let item = Item::Address(address.address);
            items.entry(item.clone()).or_insert_with(|| blank(&item, address.prefix)).floating = true;
        }
        for (item, held) in self.holdings.all() {
            let own = items.entry(item.clone()).or_insert_with(|| blank(item, held.prefix));
            (own.state, own.epoch, own.kernel) = (held.state, held.epoch, held.kernel);
            own.pinned = held.is_pinned();
        }
        for (item, failures) in self.holdings.failures().all() {
            let prefix = self.items.get(item).map_or(0, |known| known.prefix);
            let own = items.entry(item.clone()).or_insert_with(|| blank(item, prefix));
            own.failed = Some(FailedAcquire { count: failures.count, back_off: failures.until.since(now) });
            // Also what was not obeyed to the end is above what was known before.
            own.epoch = own.epoch.max(self.items.get(item).map_or(Epoch(0), |known| known.epoch));
        }
        items
    }

    pub(super) fn send_info(&mut self, turn: &mut Turn<'_>) {
        let head = self.head(turn.now, self.transmit.next_sequence());
        if head.settled && self.settled_said.is_none() {
            self.settled_said = Some((head.sequence, turn.now));
        }
        let mut peers = std::mem::take(&mut self.peers);
        let circle = self.circle();
        let unicast = peers.destinations(turn.now, &circle);
        let introduces = !unicast.opening.is_empty() || peers.has_unknown_seed(&circle);
        self.peers = peers;
        let windows = self.windows();
        let freeze = self.freeze_record(turn.now);
        let parts = Parts {
            me: self.identity.id,
            boot: self.identity.boot,
            timeout: self.pace.window(),
            windows,
            introduces,
            hosts: &self.hosts,
            own: &self.own,
            items: &mut self.items,
            published: &self.published,
            commands: &self.commands,
            wishes: &self.wishes,
            freeze,
            leader: self.leader,
        };
        let message = self.transmit.info(turn.now, head, parts);
        turn.act(Action::Send { group: self.index, message, unicast });
    }

    /// Commands leave at once, beside their place in every `info`.
    pub(super) fn send_commands(&self, turn: &mut Turn<'_>) {
        let own = self.commands.own(self.identity.id, self.identity.boot);
        let unicast = self.to_listeners(turn.now);
        for (kind, wanted) in [(MessageKind::Release, CommandKind::Release), (MessageKind::Acquire, CommandKind::Acquire)] {
            let records: Vec<Record> = own.iter().filter(|command| command.kind == wanted).cloned().map(Record::Command).collect();
            if !records.is_empty() {
                let message = Message { kind, incarnation: self.identity.incarnation, records };
                turn.act(Action::Send { group: self.index, message, unicast: unicast.clone() });
            }
        }
    }

    /// For what is short and said once: whoever may not hear it otherwise gets all of it.
    pub(super) fn to_listeners(&self, now: Time) -> Unicast {
        let Unicast { mut whole, opening } = self.peers.listeners(now, &self.circle());
        whole.extend(opening);
        Unicast { whole, opening: Vec::new() }
    }

    pub(super) fn circle(&self) -> Circle<'_> {
        Circle {
            me: self.identity.id,
            boot: self.identity.boot,
            control: &self.identity.host.control,
            policy: &self.policy,
            hosts: &self.hosts,
            windows: self.windows(),
            timeout: self.ruling.timeout,
            settled: self.settled,
        }
    }

    pub(crate) fn windows(&self) -> Windows {
        let slowest = self.slowest();
        transmit::windows(slowest.heartbeat, slowest.timeout)
    }
}
