//! What a host does with a command: the checks of the seed's figures 4B and 4C, and those that `behaviour.md` adds.

use super::Monitor;
use super::control::Decision;
use super::holding::Manner;
use crate::node::turn::Turn;
use crate::types::host::Duty;
use crate::types::item::{Epoch, Item, ItemState, Reason};
use crate::types::message::{Command, CommandItem, CommandKind};

impl Monitor {
    /// Takes a command from the network. Says whether anything has changed here.
    pub(super) fn take_command(&mut self, turn: &mut Turn<'_>, command: Command) -> bool {
        if command.to != self.identity.id {
            if command.leader != self.identity.id {
                let is_news = self.commands.relay(turn.now, self.slowest().heartbeat, &command);
                if is_news && self.hosts.hears_only_by_relay(command.to, command.leader) {
                    self.transmit.hasten();
                }
            }
            return false;
        }
        if !self.is_for_me(&command) {
            return false;
        }
        let mut changed = false;
        for item in &command.items {
            changed |= match command.kind {
                CommandKind::Acquire => self.obey_acquire(turn, item),
                CommandKind::Release => self.obey_release(turn, item),
            };
        }
        changed
    }

    /// From the host that I hold to be leader, to this incarnation of mine, on an `info` of mine that is not too old.
    fn is_for_me(&self, command: &Command) -> bool {
        let is_leader =
            self.leader == Some(command.leader) && self.hosts.get(command.leader).is_some_and(|host| host.head.boot == command.leader_boot);
        is_leader
            && command.to_incarnation == self.identity.incarnation
            && command.based_on >= self.oldest_fresh()
            && command.based_on < self.transmit.next_sequence()
    }

    /// What this host, as leader, has decided for itself.
    pub(super) fn obey_own(&mut self, turn: &mut Turn<'_>, decision: &Decision) {
        let item = CommandItem {
            item: decision.item.clone(),
            prefix: decision.prefix,
            epoch: decision.epoch,
            reason: decision.reason,
            overlaps: None,
        };
        match decision.kind {
            CommandKind::Acquire => self.obey_acquire(turn, &item),
            CommandKind::Release => self.obey_release(turn, &item),
        };
    }

    fn obey_acquire(&mut self, turn: &mut Turn<'_>, command: &CommandItem) -> bool {
        let item = &command.item;
        // Without a fence this host would answer for the address beside the one that goes on serving it.
        if command.overlaps.is_some() {
            return false;
        }
        let may = self.is_ok() && self.settled && self.duty == Duty::Active && self.accepts(item) && self.holdings.get(item).is_none();
        if !may || command.epoch <= self.known_epoch(item) || !self.has_fitting_prefix(command) {
            return false;
        }
        self.holdings.acquire(turn, &self.policy, item, command.prefix, command.epoch, command.reason);
        true
    }

    fn obey_release(&mut self, turn: &mut Turn<'_>, command: &CommandItem) -> bool {
        let held = self.holdings.get(&command.item);
        if !held.is_some_and(|held| held.state == ItemState::Online && held.epoch == command.epoch) {
            return false;
        }
        let manner = manner(command.reason);
        self.holdings.release(turn, &self.policy, &command.item, command.reason, manner);
        true
    }

    fn known_epoch(&self, item: &Item) -> Epoch {
        let known = self.items.get(item).map_or(Epoch(0), |known| known.epoch);
        let held = self.holdings.get(item).map_or(Epoch(0), |held| held.epoch);
        known.max(held)
    }

    fn accepts(&self, item: &Item) -> bool {
        match item {
            Item::Address(address) => self.policy.accept.is_empty() || self.policy.accept.iter().any(|network| network.contains(address)),
            // Data sets are placed by the swarm.
            Item::DataSet(_) => false,
        }
    }

    /// A leader cannot make this host put an address on its interface that no address could be.
    fn has_fitting_prefix(&self, command: &CommandItem) -> bool {
        let Item::Address(address) = command.item else { return false };
        let max = if address.is_ipv4() { 32 } else { 128 };
        (1..=max).contains(&command.prefix) && !address.is_unspecified() && !address.is_multicast() && !address.is_loopback()
    }
}

/// A duplicate is fenced off first; everything else is closed in order.
fn manner(reason: Reason) -> Manner {
    match reason {
        Reason::Duplicate
        | Reason::DuplicateId
        | Reason::Isolated
        | Reason::Late
        | Reason::Leftover
        | Reason::LostFence
        | Reason::LostMajority
        | Reason::RemovedByOthers => Manner::Forced,
        Reason::Assigned
        | Reason::Drained
        | Reason::Expired
        | Reason::Found
        | Reason::Home
        | Reason::Moved
        | Reason::NotAccepted
        | Reason::Rebalanced
        | Reason::Reconfigured
        | Reason::Stopped
        | Reason::TestFailed => Manner::Orderly,
    }
}

#[cfg(test)]
mod tests;
