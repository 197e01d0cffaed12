//! What of a group outlives the daemon, and when it is written.
//!
//! Called by [`Monitor::settle_turn`], and by `node.rs` when somebody waits for it.

use std::time::Duration;

use super::{Monitor, Stop};
use crate::node::action::{Action, StoredGroup};
use crate::node::turn::{Turn, Waiter};
use crate::types::time::Time;

/// The state on disk is written at least so often: ages run on.
pub(super) const STORE_INTERVAL: Duration = Duration::from_secs(60);

/// A change waits so long for more of its kind before it is written.
const STORE_DELAY: Duration = Duration::from_millis(500);

impl Monitor {
    pub(super) fn store_if_due(&mut self, turn: &mut Turn<'_>) {
        let current = (self.items.extent(), self.published.serial, self.peers.version());
        if self.stored != current {
            self.stored = current;
            self.store_at = self.store_at.min(turn.now.plus(STORE_DELAY));
        }
        if turn.now >= self.store_at && self.stop == Stop::Running {
            self.store(turn, Waiter::Nobody);
        }
    }

    /// Writes the group's state.
    pub(crate) fn store(&mut self, turn: &mut Turn<'_>, waiter: Waiter) {
        self.store_at = turn.now.plus(STORE_INTERVAL);
        let op = turn.operations.begin(waiter);
        turn.act(Action::StoreGroup { op, group: self.index, state: self.kept(turn.now) });
    }

    /// What the group keeps when the daemon, or the group on this host, ends.
    pub(crate) fn kept(&self, now: Time) -> StoredGroup {
        StoredGroup {
            duty: self.duty,
            duty_reason: self.duty_reason.clone(),
            zone_serial: self.published.serial,
            zone: self.published.addresses.iter().copied().collect(),
            addresses: self.items.records(now),
            peers: self.peers.records(),
        }
    }
}
