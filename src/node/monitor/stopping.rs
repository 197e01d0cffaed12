//! The end of a monitor: everything is given up, then said, then it is over; and a daemon that did not run for too long.
//!
//! Called by `node.rs`.

use std::time::Duration;

use super::holding::Manner;
use super::{Farewell, Monitor, Stop};
use crate::node::action::{Action, Report};
use crate::node::turn::{Turn, Waiter};
use crate::types::host::Sequence;
use crate::types::item::Reason;
use crate::types::message::{Message, MessageKind, Record};

impl Monitor {
    /// Gives everything up and says goodbye.
    pub(crate) fn stop(&mut self, turn: &mut Turn<'_>, reason: Reason, manner: Manner, farewell: Farewell) {
        if self.stop != Stop::Running {
            return;
        }
        self.stop = Stop::Stopping { farewell };
        self.settled = false;
        self.holdings.release_all(turn, &self.policy, reason, manner);
        self.transmit.hasten();
        self.settle_turn(turn);
    }

    /// The loop did not run for `late`: what was missed must not count as silence, and nothing is decided on what is old.
    pub(crate) fn stall(&mut self, turn: &mut Turn<'_>, late: Duration) {
        self.hosts.excuse(late);
        if late >= self.ruling.timeout {
            self.listening_since = turn.now;
            if self.settled {
                self.settled = false;
                self.settled_said = None;
                turn.report(Report::Stalled { late });
            }
        }
    }

    /// Nothing is held any more: says goodbye, three times for those who miss one.
    pub(super) fn end_stop(&mut self, turn: &mut Turn<'_>) {
        let Stop::Stopping { farewell } = self.stop else { return };
        if !self.holdings.is_empty() {
            return;
        }
        self.stop = Stop::Stopped;
        self.store(turn, Waiter::Nobody);
        if farewell == Farewell::Said {
            let head = self.head(turn.now, Sequence::FAREWELL);
            let message = Message { kind: MessageKind::Info, incarnation: head.incarnation, records: vec![Record::Head(Box::new(head))] };
            let unicast = self.to_listeners(turn.now);
            for _ in 0..3 {
                turn.act(Action::Send { group: self.index, message: message.clone(), unicast: unicast.clone() });
            }
        }
    }

    /// Whether everything is being given up, or has been.
    pub(crate) fn is_given_up(&self) -> bool {
        self.stop != Stop::Running
    }

    /// Whether a stop has come to its end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop == Stop::Stopped
    }
}
