//! What this host holds: each item from not serving over acquiring and online to releasing, every step confirmed.
//!
//! Owns the order of address and script within an acquire or a release, and the failures. Decides nothing about who should
//! hold what. An item has one operation under way at a time, which is its queue; what a newer wish has overtaken is not run.
//! Called by `monitor.rs` only.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::announcements::Announcements;
use super::back_off::BackOffs;
use crate::node::action::{Action, Report, ScriptAction, ScriptJob};
use crate::node::event::{GroupIndex, OpId, Outcome};
use crate::node::turn::Turn;
use crate::types::item::{Epoch, Item, ItemState, Reason, ServiceAddress};
use crate::types::policy::{AnnounceMethod, GroupPolicy};
use crate::types::time::Time;

/// Others may remove an address so often before it is given to another host.
const REMOVALS_MAX: u32 = 3;

/// Removals that are further apart than this have nothing to do with each other.
const REMOVALS_WINDOW: Duration = Duration::from_secs(60);

/// How an item is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Manner {
    /// Script, then address off, whatever the script did.
    Orderly,
    /// Address off first, then the script.
    Forced,
}

/// What this host does with one item. Not in the map: not serving.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Holding {
    address: ServiceAddress,
    /// Where it was put; the group may have another interface meanwhile.
    interface: String,
    epoch: Epoch,
    reason: Reason,
    since: Time,
    /// Put on the interface by an operation that the kernel has confirmed and not lost since.
    kernel: bool,
    stage: Stage,
    /// Removals by others in a row, and the last.
    removals: u32,
    removed_at: Option<Time>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Stage {
    /// Acquiring: the address goes on.
    Adding { op: OpId, then: Option<(Reason, Manner)> },
    /// Acquiring: the script runs.
    Preparing { op: OpId, then: Option<(Reason, Manner)> },
    /// Acquiring has failed or was overtaken: the address goes off again.
    Undoing { op: OpId, cause: Cause },
    /// Acquiring has failed or was overtaken, and the kernel refused to take the address off; tried again at the next heartbeat.
    UndoingStuck,
    /// Held.
    Online,
    /// Held; others removed the address, it goes on again.
    Restoring { op: OpId, then: Option<(Reason, Manner)> },
    /// Releasing: the script runs, before or after the address goes off.
    Closing { op: OpId, manner: Manner, problem: Option<String> },
    /// Releasing: the address goes off.
    Removing { op: OpId, manner: Manner, problem: Option<String> },
    /// Releasing: the kernel refused to take the address off; tried again at the next heartbeat.
    Stuck { manner: Manner, problem: String },
}

/// Why an acquire is undone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Cause {
    Failed {
        why: String,
    },
    Overtaken,
    /// Told already: the kernel refused before.
    Told,
}

/// A row of the holding table, for those who read it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Held {
    pub(crate) state: ItemState,
    pub(crate) prefix: u8,
    pub(crate) epoch: Epoch,
    pub(crate) kernel: bool,
    pub(crate) since: Time,
    pub(crate) reason: Reason,
}

impl Held {
    /// The operator has moved it here: it stays until another reason moves it.
    pub(crate) fn is_pinned(&self) -> bool {
        self.reason == Reason::Moved && self.state != ItemState::Releasing
    }
}

/// The items of one group on this host.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Holdings {
    held: BTreeMap<Item, Holding>,
    failures: BackOffs<Item>,
    announcements: Announcements,
}

impl Holdings {
    /// Takes an item. One that is held already is left alone.
    pub(crate) fn acquire(&mut self, turn: &mut Turn<'_>, policy: &GroupPolicy, item: &Item, prefix: u8, epoch: Epoch, reason: Reason) {
        if self.held.contains_key(item) {
            return;
        }
        // Data sets are placed by the swarm, which gives them no address to put anywhere.
        let Item::Address(address) = item else { return };
        let address = ServiceAddress { address: *address, prefix };
        let op = turn.begin(item);
        turn.act(Action::AddAddress { op, interface: policy.interface.clone(), address });
        self.insert(turn.now, policy, address, epoch, reason, Stage::Adding { op, then: None });
    }

    /// Takes off what an earlier run of the daemon has left on the interface; `epoch` is the one that it was held under, or the
    /// best that is known of it.
    pub(crate) fn take_off_leftover(&mut self, turn: &mut Turn<'_>, policy: &GroupPolicy, address: ServiceAddress, epoch: Epoch) {
        let item = Item::Address(address.address);
        self.insert(turn.now, policy, address, epoch, Reason::Leftover, Stage::Online);
        if let Some(holding) = self.held.get_mut(&item) {
            holding.kernel = true;
        }
        self.release(turn, policy, &item, Reason::Leftover, Manner::Forced);
    }

    fn insert(&mut self, now: Time, policy: &GroupPolicy, address: ServiceAddress, epoch: Epoch, reason: Reason, stage: Stage) {
        let interface = policy.interface.clone();
        let holding = Holding { address, interface, epoch, reason, since: now, kernel: false, stage, removals: 0, removed_at: None };
        self.held.insert(Item::Address(address.address), holding);
    }

    /// Gives an item up. While it is being acquired, it is given up as soon as the step under way has ended.
    pub(crate) fn release(&mut self, turn: &mut Turn<'_>, policy: &GroupPolicy, item: &Item, reason: Reason, manner: Manner) {
        let Some(holding) = self.held.get_mut(item) else { return };
        match &mut holding.stage {
            Stage::Adding { then, .. } | Stage::Preparing { then, .. } | Stage::Restoring { then, .. } => *then = Some((reason, manner)),
            Stage::Undoing { .. } | Stage::UndoingStuck | Stage::Closing { .. } | Stage::Removing { .. } | Stage::Stuck { .. } => {}
            Stage::Online => {
                holding.reason = reason;
                holding.since = turn.now;
                if let Some(address) = item.address() {
                    self.announcements.end(address);
                }
                match manner {
                    Manner::Orderly => holding.close(turn, policy, item, manner, None),
                    Manner::Forced => holding.remove(turn, item, manner, None),
                }
            }
        }
    }

    /// Gives everything up.
    pub(crate) fn release_all(&mut self, turn: &mut Turn<'_>, policy: &GroupPolicy, reason: Reason, manner: Manner) {
        let all: Vec<Item> = self.held.keys().cloned().collect();
        for item in all {
            self.release(turn, policy, &item, reason, manner);
        }
    }

    /// An operation of an item has ended. A late answer changes nothing.
    pub(crate) fn finish(&mut self, turn: &mut Turn<'_>, policy: &GroupPolicy, item: &Item, done: OpId, outcome: Outcome) {
        let Some(holding) = self.held.get_mut(item) else { return };
        match holding.stage.clone() {
            Stage::Adding { op, then } if op == done => self.address_added(turn, policy, item, then, outcome),
            Stage::Preparing { op, then } if op == done => self.prepared(turn, policy, item, then, outcome),
            Stage::Undoing { op, cause } if op == done => self.undone(turn, policy, item, cause, outcome),
            Stage::Restoring { op, then } if op == done => self.restored(turn, policy, item, then, outcome),
            Stage::Closing { op, manner, problem } if op == done => {
                let failed = failure(&outcome, "release script", policy.script_timeout);
                turn.report(holding.script_ended(item, ScriptAction::Release, failed.clone()));
                let problem = problem.or(failed);
                match manner {
                    Manner::Orderly => holding.remove(turn, item, manner, problem),
                    Manner::Forced => self.released(turn, item, problem),
                }
            }
            Stage::Removing { op, manner, problem } if op == done => self.removed(turn, policy, item, manner, problem, outcome),
            Stage::Adding { .. }
            | Stage::Preparing { .. }
            | Stage::Undoing { .. }
            | Stage::UndoingStuck
            | Stage::Online
            | Stage::Restoring { .. }
            | Stage::Closing { .. }
            | Stage::Removing { .. }
            | Stage::Stuck { .. } => {}
        }
    }

    /// The kernel has answered to the address of an acquire.
    fn address_added(&mut self, turn: &mut Turn<'_>, policy: &GroupPolicy, item: &Item, then: Option<(Reason, Manner)>, outcome: Outcome) {
        let Some(holding) = self.held.get_mut(item) else { return };
        if let Some(why) = failure(&outcome, "adding the address", policy.script_timeout) {
            holding.undo(turn, item, Cause::Failed { why });
            return;
        }
        holding.kernel = true;
        if then.is_some() {
            // The acquire script has not run, so there is nothing for a release script to undo.
            holding.undo(turn, item, Cause::Overtaken);
            return;
        }
        if policy.has_acquire_script {
            let op = turn.begin(item);
            turn.act(holding.run_script(turn.group, ScriptAction::Acquire, op, item));
            holding.stage = Stage::Preparing { op, then: None };
        }
        // At once: nobody else can answer for it.
        self.announce(turn.now, policy, item);
        if !policy.has_acquire_script {
            self.acquired(turn, item);
        }
    }

    /// The acquire script has ended.
    fn prepared(&mut self, turn: &mut Turn<'_>, policy: &GroupPolicy, item: &Item, then: Option<(Reason, Manner)>, outcome: Outcome) {
        let Some(holding) = self.held.get_mut(item) else { return };
        let failed = failure(&outcome, "acquire script", policy.script_timeout);
        turn.report(holding.script_ended(item, ScriptAction::Acquire, failed.clone()));
        if let Some(why) = failed {
            if let Some(address) = item.address() {
                self.announcements.end(address);
            }
            holding.undo(turn, item, Cause::Failed { why });
            return;
        }
        self.acquired(turn, item);
        if let Some((reason, manner)) = then {
            self.release(turn, policy, item, reason, manner);
        } else if let Some(holding) = self.held.get_mut(item).filter(|holding| !holding.kernel) {
            // Others removed it while the script ran.
            holding.restore(turn, item);
        }
    }

    fn announce(&mut self, now: Time, policy: &GroupPolicy, item: &Item) {
        let Some(holding) = self.held.get(item) else { return };
        match policy.announce.method {
            AnnounceMethod::Link => self.announcements.begin(now, holding.address, &policy.announce),
            AnnounceMethod::None => {}
        }
    }

    fn acquired(&mut self, turn: &mut Turn<'_>, item: &Item) {
        let Some(holding) = self.held.get_mut(item) else { return };
        holding.stage = Stage::Online;
        holding.since = turn.now;
        let (epoch, reason) = (holding.epoch, holding.reason);
        self.failures.succeed(item);
        turn.report(Report::Acquired { item: item.clone(), epoch, reason });
    }

    /// The address of a failed or overtaken acquire is off, or not.
    fn undone(&mut self, turn: &mut Turn<'_>, policy: &GroupPolicy, item: &Item, cause: Cause, outcome: Outcome) {
        let Some(holding) = self.held.get_mut(item) else { return };
        let (epoch, reason) = (holding.epoch, holding.reason);
        let stuck = failure(&outcome, "removing the address", policy.script_timeout);
        match &stuck {
            // The item is not free before its address is off.
            Some(_) => holding.stage = Stage::UndoingStuck,
            None => drop(self.held.remove(item)),
        }
        let again = stuck.map(|stuck| format!("{stuck}; trying again"));
        match (cause, again) {
            (Cause::Failed { why }, again) => {
                let why = again.map_or(why.clone(), |again| format!("{why}; {again}"));
                let back_off = self.failures.fail(turn.now, item.clone());
                turn.report(Report::AcquireFailed { item: item.clone(), epoch, reason, why, back_off });
            }
            (Cause::Overtaken, Some(why)) => turn.report(Report::ReleaseFailed { item: item.clone(), epoch, reason, why }),
            (Cause::Overtaken, None) | (Cause::Told, Some(_) | None) => {}
        }
    }

    /// The address that others had removed is back, or not.
    fn restored(&mut self, turn: &mut Turn<'_>, policy: &GroupPolicy, item: &Item, then: Option<(Reason, Manner)>, outcome: Outcome) {
        let Some(holding) = self.held.get_mut(item) else { return };
        holding.stage = Stage::Online;
        holding.kernel = outcome == Outcome::Done;
        if let Some((reason, manner)) = then {
            self.release(turn, policy, item, reason, manner);
        } else if holding.kernel {
            self.announce(turn.now, policy, item);
        } else {
            self.give_to_another(turn, policy, item);
        }
    }

    fn give_to_another(&mut self, turn: &mut Turn<'_>, policy: &GroupPolicy, item: &Item) {
        self.failures.fail(turn.now, item.clone());
        self.release(turn, policy, item, Reason::RemovedByOthers, Manner::Forced);
    }

    /// The address of a release is off.
    fn removed(
        &mut self,
        turn: &mut Turn<'_>,
        policy: &GroupPolicy,
        item: &Item,
        manner: Manner,
        problem: Option<String>,
        outcome: Outcome,
    ) {
        let Some(holding) = self.held.get_mut(item) else { return };
        if let Some(stuck) = failure(&outcome, "removing the address", policy.script_timeout) {
            // Said once per episode; tried again at every heartbeat.
            let known = problem.as_ref().is_some_and(|problem| problem.contains(&stuck));
            if !known {
                let why = format!("{stuck}; trying again");
                turn.report(Report::ReleaseFailed { item: item.clone(), epoch: holding.epoch, reason: holding.reason, why });
            }
            let problem =
                if known { problem.unwrap_or(stuck) } else { problem.map_or_else(|| stuck.clone(), |old| format!("{old}; {stuck}")) };
            holding.stage = Stage::Stuck { manner, problem };
            return;
        }
        holding.kernel = false;
        match manner {
            Manner::Forced if policy.has_release_script => holding.close(turn, policy, item, manner, problem),
            Manner::Forced | Manner::Orderly => self.released(turn, item, problem),
        }
    }

    fn released(&mut self, turn: &mut Turn<'_>, item: &Item, problem: Option<String>) {
        let Some(holding) = self.held.remove(item) else { return };
        if let Some(why) = problem {
            turn.report(Report::ReleaseFailed { item: item.clone(), epoch: holding.epoch, reason: holding.reason, why });
        }
        turn.report(Report::Released { item: item.clone(), epoch: holding.epoch, reason: holding.reason });
    }

    /// An address is on the interface no longer although this daemon did not take it off.
    pub(crate) fn lose_address(&mut self, turn: &mut Turn<'_>, policy: &GroupPolicy, interface: &str, item: &Item) {
        let Some(holding) = self.held.get_mut(item) else { return };
        if !holding.kernel || holding.interface != interface {
            return;
        }
        match holding.stage {
            Stage::Preparing { .. } | Stage::Online => {}
            // About to go off anyway, or being put back.
            Stage::Adding { .. }
            | Stage::Undoing { .. }
            | Stage::UndoingStuck
            | Stage::Restoring { .. }
            | Stage::Closing { .. }
            | Stage::Removing { .. }
            | Stage::Stuck { .. } => return,
        }
        holding.kernel = false;
        self.announcements.end(holding.address.address);
        let is_row = holding.removed_at.is_some_and(|at| turn.now.since(at) < REMOVALS_WINDOW);
        holding.removals = if is_row { holding.removals + 1 } else { 1 };
        holding.removed_at = Some(turn.now);
        let times = holding.removals;
        turn.report(Report::AddressLost { item: item.clone(), interface: holding.interface.clone(), times });
        if times > REMOVALS_MAX {
            self.give_to_another(turn, policy, item);
            return;
        }
        if holding.stage != Stage::Online {
            return;
        }
        holding.restore(turn, item);
    }

    /// Others have replaced an address that this host holds by one without our mark, which nobody would take off again.
    pub(crate) fn mark_again(&mut self, turn: &mut Turn<'_>, policy: &GroupPolicy, item: &Item) {
        let is_there = |holding: &&mut Holding| holding.stage == Stage::Online && holding.interface == policy.interface;
        if let Some(holding) = self.held.get_mut(item).filter(is_there) {
            holding.restore(turn, item);
        }
    }

    /// Tries again what the kernel refused.
    pub(crate) fn beat(&mut self, turn: &mut Turn<'_>) {
        let is_stuck = |holding: &Holding| matches!(holding.stage, Stage::Stuck { .. } | Stage::UndoingStuck);
        let stuck: Vec<Item> = self.held.iter().filter(|(_, holding)| is_stuck(holding)).map(|(item, _)| item.clone()).collect();
        for item in stuck {
            let Some(holding) = self.held.get_mut(&item) else { continue };
            if let Stage::Stuck { manner, problem } = holding.stage.clone() {
                holding.remove(turn, &item, manner, Some(problem));
            } else {
                holding.undo(turn, &item, Cause::Told);
            }
        }
        self.failures.drop_old(turn.now);
    }

    /// Emits what is to be announced.
    pub(crate) fn announce_due(&mut self, turn: &mut Turn<'_>, policy: &GroupPolicy) {
        let mut due: BTreeMap<&str, Vec<ServiceAddress>> = BTreeMap::new();
        for address in self.announcements.take_due(turn.now, &policy.announce) {
            if let Some(holding) = self.held.get(&Item::Address(address.address)) {
                due.entry(&holding.interface).or_default().push(address);
            }
        }
        for (interface, addresses) in due {
            turn.act(Action::Announce { interface: interface.to_owned(), addresses });
        }
    }

    /// A burst for everything: the link was away.
    pub(crate) fn announce_all(&mut self, now: Time, policy: &GroupPolicy) {
        self.announcements.begin_all(now, &policy.announce);
    }

    /// A burst for one item: a rival was seen.
    pub(crate) fn announce_again(&mut self, now: Time, policy: &GroupPolicy, item: &Item) {
        if let Some(address) = item.address() {
            self.announcements.begin_again(now, address, &policy.announce);
        }
    }

    /// The way of announcing has changed.
    pub(crate) fn change_announcing(&mut self, now: Time, policy: &GroupPolicy) {
        let announced = |holding: &&Holding| match holding.stage {
            Stage::Preparing { .. } | Stage::Online | Stage::Restoring { .. } => true,
            Stage::Adding { .. }
            | Stage::Undoing { .. }
            | Stage::UndoingStuck
            | Stage::Closing { .. }
            | Stage::Removing { .. }
            | Stage::Stuck { .. } => false,
        };
        for holding in self.held.values().filter(|holding| holding.kernel).filter(announced) {
            match policy.announce.method {
                AnnounceMethod::Link => self.announcements.begin(now, holding.address, &policy.announce),
                AnnounceMethod::None => self.announcements.end(holding.address.address),
            }
        }
    }

    /// When the next announcement is due.
    pub(crate) fn announce_deadline(&self) -> Option<Time> {
        self.announcements.deadline()
    }

    pub(crate) fn get(&self, item: &Item) -> Option<Held> {
        self.held.get(item).map(Holding::row)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&Item, Held)> {
        self.held.iter().map(|(item, holding)| (item, holding.row()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(crate) fn failures(&self) -> &BackOffs<Item> {
        &self.failures
    }

    /// An operator or a new configuration may have mended the cause of failed acquires.
    pub(crate) fn forget_failures(&mut self) {
        self.failures.clear();
    }
}

impl Holding {
    fn row(&self) -> Held {
        Held {
            state: self.state(),
            prefix: self.address.prefix,
            epoch: self.epoch,
            kernel: self.kernel,
            since: self.since,
            reason: self.reason,
        }
    }

    fn state(&self) -> ItemState {
        match self.stage {
            Stage::Adding { .. } | Stage::Preparing { .. } => ItemState::Acquiring,
            Stage::Online | Stage::Restoring { .. } => ItemState::Online,
            Stage::Undoing { .. } | Stage::UndoingStuck | Stage::Closing { .. } | Stage::Removing { .. } | Stage::Stuck { .. } => {
                ItemState::Releasing
            }
        }
    }

    /// Runs the release script, if there is one.
    fn close(&mut self, turn: &mut Turn<'_>, policy: &GroupPolicy, item: &Item, manner: Manner, problem: Option<String>) {
        if !policy.has_release_script {
            self.remove(turn, item, manner, problem);
            return;
        }
        let op = turn.begin(item);
        turn.act(self.run_script(turn.group, ScriptAction::Release, op, item));
        self.stage = Stage::Closing { op, manner, problem };
    }

    /// Puts the address back that others have removed.
    fn restore(&mut self, turn: &mut Turn<'_>, item: &Item) {
        let op = turn.begin(item);
        turn.act(Action::AddAddress { op, interface: self.interface.clone(), address: self.address });
        self.stage = Stage::Restoring { op, then: None };
    }

    /// Takes the address off.
    fn remove(&mut self, turn: &mut Turn<'_>, item: &Item, manner: Manner, problem: Option<String>) {
        let op = turn.begin(item);
        turn.act(self.take_off(op));
        self.stage = Stage::Removing { op, manner, problem };
    }

    /// Takes the address of an acquire off again.
    fn undo(&mut self, turn: &mut Turn<'_>, item: &Item, cause: Cause) {
        let op = turn.begin(item);
        turn.act(self.take_off(op));
        self.since = turn.now;
        self.stage = Stage::Undoing { op, cause };
    }

    fn script_ended(&self, item: &Item, action: ScriptAction, problem: Option<String>) -> Report {
        Report::ScriptEnded { item: item.clone(), action, epoch: self.epoch, reason: self.reason, problem }
    }

    fn take_off(&self, op: OpId) -> Action {
        Action::RemoveAddress { op, interface: self.interface.clone(), address: self.address }
    }

    fn run_script(&self, group: GroupIndex, action: ScriptAction, op: OpId, item: &Item) -> Action {
        let (interface, prefix) = (self.interface.clone(), self.address.prefix);
        let job = ScriptJob { group, action, interface, item: item.clone(), prefix, reason: self.reason, epoch: self.epoch };
        Action::RunScript { op, job }
    }
}

/// What went wrong, if anything.
fn failure(outcome: &Outcome, what: &str, timeout: Duration) -> Option<String> {
    match outcome {
        Outcome::Done => None,
        Outcome::Failed { why } => Some(format!("{what}: {why}")),
        Outcome::TimedOut => Some(format!("{what}: still running after {timeout:?}, killed")),
    }
}

#[cfg(test)]
mod tests;
