//! Twins: the same pool with one thing broken, by what nodes do or say. The model has to find each.
//!
//! Nothing of the core is edited: the fault sits between the node and its machine.

use std::time::Duration;

use raisd::node::action::Action;
use raisd::types::host::Sequence;
use raisd::types::item::Epoch;
use raisd::types::message::{CommandKind, MessageKind, Record};

/// What is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Broken {
    Nothing,
    /// An address is announced as soon as the kernel is asked for it.
    AnnouncesTooEarly,
    /// Commands never leave the leader.
    CommandsUnsaid,
    /// A release is believed to have been done and was not.
    ReleasesUndone,
    /// Releases never leave the leader.
    ReleasesUnsaid,
    /// Acquires carry an epoch that is spent.
    EpochsSpent,
    /// What is relayed of others is made younger than it is.
    RelayedYounger,
    /// A kernel that has refused an address says that it is on.
    RefusalsUnnoticed,
    /// A host that loses power leaves its addresses behind, and does not know of them when it starts.
    LeftoversStay,
    /// A host that has expired an address does not say so.
    TombstonesUnsaid,
}

impl Broken {
    pub(crate) fn actions(self, actions: Vec<Action>) -> Vec<Action> {
        match self {
            Self::AnnouncesTooEarly => {
                let early = |action: Action| match &action {
                    Action::AddAddress { interface, address, .. } => {
                        vec![Action::Announce { interface: interface.clone(), addresses: vec![*address] }, action]
                    }
                    _ => vec![action],
                };
                actions.into_iter().flat_map(early).collect()
            }
            Self::CommandsUnsaid => {
                actions.into_iter().filter(|action| !is_message(action, &[MessageKind::Acquire, MessageKind::Release])).collect()
            }
            Self::ReleasesUnsaid => actions.into_iter().filter(|action| !is_message(action, &[MessageKind::Release])).collect(),
            Self::Nothing
            | Self::ReleasesUndone
            | Self::EpochsSpent
            | Self::RelayedYounger
            | Self::RefusalsUnnoticed
            | Self::LeftoversStay
            | Self::TombstonesUnsaid => actions,
        }
    }

    pub(crate) fn records(self, mut records: Vec<Record>) -> Vec<Record> {
        match self {
            Self::Nothing | Self::AnnouncesTooEarly | Self::ReleasesUndone | Self::RefusalsUnnoticed | Self::LeftoversStay => {}
            Self::CommandsUnsaid => records.retain(|record| !matches!(record, Record::Command(_))),
            Self::ReleasesUnsaid => {
                records.retain(|record| !matches!(record, Record::Command(command) if command.kind == CommandKind::Release));
            }
            Self::EpochsSpent => {
                for record in &mut records {
                    if let Record::Command(command) = record {
                        command.items.iter_mut().for_each(|item| item.epoch = Epoch(0));
                    }
                }
            }
            Self::RelayedYounger => {
                // The first is the sender's own.
                for record in records.iter_mut().skip(1) {
                    if let Record::Head(head) = record {
                        (head.sequence, head.age) = (Sequence(head.sequence.0.saturating_add(1)), Duration::ZERO);
                    }
                }
            }
            Self::TombstonesUnsaid => {
                for record in &mut records {
                    if let Record::Addresses(addresses) = record {
                        addresses.retain(|address| !address.tombstone);
                    }
                }
            }
        }
        records
    }
}

fn is_message(action: &Action, kinds: &[MessageKind]) -> bool {
    matches!(action, Action::Send { message, .. } if kinds.contains(&message.kind))
}
