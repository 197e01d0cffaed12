//! Writes entries: counts them, and says the wall clock where it is not what one expects.
//!
//! Owns the number of the next entry and the time that was written last. Where the bytes go is its caller's affair. Called by
//! `process/recorder.rs` in a daemon, and by the simulated world of the tests.

use super::frame::{EncodeError, Opening, Origin, Sent, Wall, frame_of_decided, frame_of_happened, frame_of_sent};
use crate::node::action::Action;
use crate::node::event::{Event, GroupIndex};
use crate::node::{Node, Start};
use crate::types::policy::NodePolicy;
use crate::types::time::Time;

/// A clock that runs off by less than this within a segment is not worth a word: people read seconds.
const DRIFT_MAX_US: i64 = 100_000;

/// Writes the entries of one start of a daemon.
#[derive(Debug, Default)]
pub struct Pen {
    /// The number of the next entry.
    next: u64,
    /// A time by both clocks, as it was written last.
    anchor: (Time, Wall),
}

impl Pen {
    /// The opening of a start; its first entry has no events, and the actions of [`Node::start`].
    pub fn opening_of_start(&mut self, at: Time, wall: Wall, policy: &NodePolicy, start: &Start) -> Opening {
        (self.next, self.anchor) = (0, (at, wall));
        Opening {
            at,
            wall,
            host: policy.host.id,
            name: policy.host.name.clone(),
            boot: start.boot,
            incarnation: start.incarnation,
            groups: policy.groups.iter().enumerate().map(|(index, group)| (GroupIndex(index), group.name.clone())).collect(),
            entry: 0,
            origin: Origin::Started { policy: Box::new(policy.clone()), start: start.clone() },
        }
    }

    /// An opening with the node as it is, before the next entry.
    pub fn opening(&mut self, at: Time, wall: Wall, node: &Node) -> Opening {
        self.anchor = (at, wall);
        let identity = node.identity();
        Opening {
            at,
            wall,
            host: identity.host,
            name: identity.name.to_owned(),
            boot: identity.boot,
            incarnation: identity.incarnation,
            groups: node.group_names().map(|(group, name)| (group, name.to_owned())).collect(),
            entry: self.next,
            origin: Origin::Running(Box::new(node.clone())),
        }
    }

    /// Begins the next entry, also if its frame gets lost: its number is not given again.
    ///
    /// # Errors
    /// [`EncodeError`].
    pub fn happened(&mut self, at: Time, wall: Wall, events: &[Event]) -> Result<Vec<u8>, EncodeError> {
        let elapsed = i64::try_from(at.since(self.anchor.0).as_micros()).unwrap_or(i64::MAX);
        let drift = wall.0.saturating_sub(self.anchor.1.0).saturating_sub(elapsed);
        let told = (drift.saturating_abs() >= DRIFT_MAX_US).then_some(wall);
        if told.is_some() {
            self.anchor = (at, wall);
        }
        let entry = self.next;
        self.next += 1;
        frame_of_happened(entry, at, told, events)
    }

    /// What the node has said in this entry.
    ///
    /// # Errors
    /// [`EncodeError`].
    pub fn decided(&self, actions: &[Action]) -> Result<Vec<u8>, EncodeError> {
        frame_of_decided(self.next.saturating_sub(1), actions)
    }

    /// The datagrams that went out in this entry.
    ///
    /// # Errors
    /// [`EncodeError`].
    pub fn sent(&self, sent: &[Sent]) -> Result<Vec<u8>, EncodeError> {
        frame_of_sent(self.next.saturating_sub(1), sent)
    }
}
