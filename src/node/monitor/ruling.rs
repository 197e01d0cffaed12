//! The leader's rule: heartbeat, timeout and the like of this host follow those of the host that it follows, without a gap.
//!
//! What passes from old to new is in `pace`. Called by [`Monitor::settle_turn`].

use std::time::Duration;

use super::Monitor;
use super::hosts::Host;
use crate::node::action::Report;
use crate::node::turn::Turn;
use crate::types::host::Sequence;
use crate::types::policy::Ruling;
use crate::types::time::Time;

impl Monitor {
    /// The leader's values rule. Who follows says so in its own head, for those who do not hear the leader.
    pub(super) fn go_by_ruling(&mut self, turn: &mut Turn<'_>) {
        let own = self.policy.shared.ruling();
        let leader = self.leader.filter(|leader| *leader != self.identity.id).and_then(|leader| self.hosts.get(leader));
        let ruling = leader.map_or(own, Host::ruling);
        if ruling == self.ruling {
            return;
        }
        if let Some(leader) = leader.map(|host| host.head.id) {
            turn.report(Report::Follows { leader, ruling });
        }
        if ruling.heartbeat > self.ruling.heartbeat {
            self.pace.slow_down(self.transmit.next_sequence(), self.ruling.heartbeat);
        }
        self.ruling = ruling;
        self.hosts.set_timeout(ruling.timeout);
        self.transmit.change_heartbeat(turn.now, self.beat_length());
        self.transmit.hasten();
    }

    pub(super) fn note_pace(&mut self, now: Time) {
        self.pace.note(now, self.slowest().timeout);
        if self.pace.unheard().is_some_and(|said| self.hosts.live().all(|(_, host)| self.hosts.hears_us(host, said))) {
            self.pace.slowed_down();
        }
    }

    /// The oldest `info` of ours that counts: what others answer to an older one is stale.
    pub(super) fn oldest_fresh(&self) -> Sequence {
        self.transmit.oldest_since(self.pace.fresh_since())
    }

    /// How often this host sends: as often as any live host counts on. Everybody slows down when everybody is patient.
    pub(crate) fn beat_length(&self) -> Duration {
        let goes_by = self.hosts.live().map(|(_, host)| host.ruling().heartbeat).fold(self.ruling.heartbeat, Duration::min);
        self.pace.heartbeat(goes_by)
    }

    /// The most patient that any live host is: what has to wait for others goes by it.
    pub(crate) fn slowest(&self) -> Ruling {
        let slower = |one: Ruling, other: Ruling| Ruling {
            heartbeat: one.heartbeat.max(other.heartbeat),
            timeout: one.timeout.max(other.timeout),
            all_failed: one.all_failed,
        };
        self.hosts.live().map(|(_, host)| host.ruling()).fold(self.ruling, slower)
    }
}
