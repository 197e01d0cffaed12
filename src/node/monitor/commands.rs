//! Commands not yet answered: what this host, as leader, has told others, and what it passes on for another leader.
//!
//! A command is repeated in every `info` until the destination's entry reflects it. An acquire that it does not reflect within
//! three heartbeats counts as failed. Called by `monitor.rs`; decides nothing about placement.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::back_off::BackOffs;
use super::control::Decision;
use super::hosts::{Host, Hosts};
use crate::types::host::{BootId, HostId, Incarnation, Sequence};
use crate::types::item::{Epoch, Item, ItemState, Reason};
use crate::types::message::{Command, CommandItem, CommandKind};
use crate::types::time::Time;

/// An acquire that the destination's entry does not reflect within so many heartbeats counts as failed.
const ANSWER_HEARTBEATS: u32 = 3;

/// The most items of another leader's commands that are passed on at a time.
const RELAYED_MAX: usize = 4096;

/// An item of another leader's command is passed on for so long after it came: the next `info` is at most one away.
const RELAYED_HEARTBEATS: u32 = 2;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Pending {
    kind: CommandKind,
    prefix: u8,
    epoch: Epoch,
    reason: Reason,
    incarnation: Incarnation,
    based_on: Sequence,
    until: Time,
}

/// The commands of one group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Commands {
    pending: BTreeMap<(HostId, Item), Pending>,
    /// The highest epoch given out, by item: a repeated acquire is above the one that was lost.
    given: BTreeMap<Item, Epoch>,
    failures: BackOffs<(HostId, Item)>,
    relayed: BTreeMap<(HostId, CommandKind, Item), Relayed>,
}

/// An item of a command of another leader.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Relayed {
    until: Time,
    /// The command, with this item only.
    command: Command,
}

impl Commands {
    /// Tells `to` what was decided; it is answered when its entry shows it.
    pub(crate) fn issue(&mut self, now: Time, heartbeat: Duration, decision: &Decision, to: &Host) {
        let pending = Pending {
            kind: decision.kind,
            prefix: decision.prefix,
            epoch: decision.epoch,
            reason: decision.reason,
            incarnation: to.head.incarnation,
            based_on: to.head.sequence,
            until: now.plus(heartbeat * ANSWER_HEARTBEATS),
        };
        self.note_given(&decision.item, decision.epoch);
        self.pending.insert((decision.to, decision.item.clone()), pending);
    }

    /// Remembers an epoch that was given out.
    pub(crate) fn note_given(&mut self, item: &Item, epoch: Epoch) {
        let given = self.given.entry(item.clone()).or_default();
        *given = (*given).max(epoch);
    }

    /// The highest epoch given out for an item.
    pub(crate) fn given(&self, item: &Item) -> Epoch {
        self.given.get(item).copied().unwrap_or_default()
    }

    /// Drops what was answered, what can no longer be obeyed, and what was not answered in time. Says whether anything changed.
    pub(crate) fn settle(&mut self, now: Time, hosts: &Hosts) -> bool {
        let before = self.pending.len();
        let mut unanswered = Vec::new();
        self.pending.retain(|(to, item), pending| {
            let Some(host) = hosts.get(*to).filter(|host| host.is_live() && host.head.incarnation == pending.incarnation) else {
                return false;
            };
            if is_answered(host, item, pending) {
                return false;
            }
            if now >= pending.until {
                if pending.kind == CommandKind::Acquire {
                    unanswered.push((*to, item.clone()));
                }
                return false;
            }
            // A decision rests on what the host said last; what it has said since leaves the decision standing.
            pending.based_on = host.head.sequence;
            true
        });
        for key in unanswered {
            self.failures.fail(now, key);
        }
        self.failures.drop_old(now);
        self.pending.len() != before
    }

    /// Another leads: what was not answered is his to decide.
    pub(crate) fn drop_pending(&mut self) {
        self.pending.clear();
    }

    pub(crate) fn is_pending(&self, to: HostId, item: &Item) -> bool {
        self.pending.contains_key(&(to, item.clone()))
    }

    /// Acquires that were told and not answered: the item may be held there.
    pub(crate) fn pending_acquires(&self) -> impl Iterator<Item = (HostId, &Item, Epoch)> {
        let acquires = self.pending.iter().filter(|(_, pending)| pending.kind == CommandKind::Acquire);
        acquires.map(|((to, item), pending)| (*to, item, pending.epoch))
    }

    /// Hosts that did not answer an acquire and are not to be asked again yet.
    pub(crate) fn in_back_off(&self, now: Time) -> impl Iterator<Item = (HostId, &Item)> {
        self.failures.all().filter(move |(_, failures)| failures.until > now).map(|((to, item), _)| (*to, item))
    }

    /// How much longer a host is not to be asked to take an item, because it did not answer.
    pub(crate) fn back_off(&self, now: Time, to: HostId, item: &Item) -> Duration {
        self.failures.get(&(to, item.clone())).map_or(Duration::ZERO, |failures| failures.until.since(now))
    }

    /// The commands of this leader, one for each kind and destination.
    pub(crate) fn own(&self, me: HostId, boot: BootId) -> Vec<Command> {
        let mut commands: BTreeMap<(HostId, CommandKind), Command> = BTreeMap::new();
        for ((to, item), pending) in &self.pending {
            let command = commands.entry((*to, pending.kind)).or_insert_with(|| Command {
                kind: pending.kind,
                leader: me,
                leader_boot: boot,
                to: *to,
                to_incarnation: pending.incarnation,
                based_on: pending.based_on,
                items: Vec::new(),
            });
            command.items.push(CommandItem {
                item: item.clone(),
                prefix: pending.prefix,
                epoch: pending.epoch,
                reason: pending.reason,
                overlaps: None,
            });
        }
        commands.into_values().collect()
    }

    /// Keeps a command of another leader for those who do not hear him. Says whether any of it is news.
    pub(crate) fn relay(&mut self, now: Time, heartbeat: Duration, command: &Command) -> bool {
        self.relayed.retain(|_, relayed| relayed.until > now);
        let mut is_news = false;
        for item in &command.items {
            let key = (command.to, command.kind, item.item.clone());
            // What relayers echo to each other must end, and must not put an older decision in the place of a younger one.
            let is_echo = self.relayed.get(&key).is_some_and(|known| {
                (known.command.leader, known.command.leader_boot) == (command.leader, command.leader_boot)
                    && known.command.based_on >= command.based_on
            });
            if is_echo || (self.relayed.len() >= RELAYED_MAX && !self.relayed.contains_key(&key)) {
                continue;
            }
            let relayed = Relayed {
                until: now.plus(heartbeat * RELAYED_HEARTBEATS),
                command: Command { items: vec![item.clone()], ..command.clone() },
            };
            is_news |= self.relayed.insert(key, relayed).is_none();
        }
        is_news
    }

    /// Commands of other leaders that are still to be passed on, one for each kind and destination and decision.
    pub(crate) fn relayed(&self, now: Time) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        for relayed in self.relayed.values().filter(|relayed| relayed.until > now) {
            let same = |known: &&mut Command| head_of(known) == head_of(&relayed.command);
            match commands.last_mut().filter(same) {
                Some(known) => known.items.extend(relayed.command.items.iter().cloned()),
                None => commands.push(relayed.command.clone()),
            }
        }
        commands
    }

    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        self.pending.values().map(|pending| pending.until).chain(self.failures.deadline(now)).min()
    }
}

/// All of a command but its items.
fn head_of(command: &Command) -> impl PartialEq + use<> {
    (command.kind, command.leader, command.leader_boot, command.to, command.to_incarnation, command.based_on)
}

/// Whether the destination's entry reflects the command.
fn is_answered(host: &Host, item: &Item, pending: &Pending) -> bool {
    let held = host.entry.item(item);
    match pending.kind {
        CommandKind::Acquire => held.is_some_and(|held| held.epoch >= pending.epoch),
        CommandKind::Release => host.whole && !held.is_some_and(|held| held.state == ItemState::Online && held.epoch == pending.epoch),
    }
}

#[cfg(test)]
mod tests;
