//! What the control step would do next, and after one thing has changed: the step itself, run on tables of the future.
//!
//! Pure, like `control.rs`; owns nothing and decides nothing of its own. Called by `explain.rs`.

use super::control::{Holder, HostRow, Tables, control};
use crate::types::host::HostId;
use crate::types::item::{Item, ItemState, Reason};
use crate::types::message::CommandKind;

/// A pool comes to rest after a few steps: one to release, one to assign, one for what that makes possible. A pool that does
/// not is shown as it is by then.
const STEPS_MAX: usize = 8;

/// The tables when everything under way has ended well and what the control step says has been done.
pub(crate) fn at_rest(mut tables: Tables) -> Tables {
    end_what_is_under_way(&mut tables);
    for _ in 0..STEPS_MAX {
        let decisions = control(&tables).decisions;
        if decisions.is_empty() {
            break;
        }
        for decision in decisions {
            let Some(row) = tables.addresses.get_mut(&decision.item) else { continue };
            match decision.kind {
                CommandKind::Acquire => {
                    row.epoch = row.epoch.max(decision.epoch);
                    let pinned = decision.reason == Reason::Moved;
                    row.holders.insert(decision.to, Holder { state: ItemState::Online, epoch: decision.epoch, commanded: false, pinned });
                }
                CommandKind::Release => drop(row.holders.remove(&decision.to)),
            }
        }
    }
    tables
}

/// The tables when a host has just died: what was under way has ended, and it is not live, holds nothing and prefers nothing.
pub(crate) fn without(mut tables: Tables, dead: HostId) -> Tables {
    end_what_is_under_way(&mut tables);
    tables.hosts.remove(&dead);
    for row in tables.addresses.values_mut() {
        row.holders.remove(&dead);
        row.preferred_by.remove(&dead);
        row.back_off.remove(&dead);
    }
    tables
}

/// Who holds an address in these tables.
pub(crate) fn holder_of(tables: &Tables, item: &Item) -> Option<HostId> {
    tables.addresses.get(item).and_then(|row| row.holders.keys().next().copied())
}

/// Acquires succeed, releases end, what was told is done, entries become whole, and who has just started is settled.
fn end_what_is_under_way(tables: &mut Tables) {
    for row in tables.addresses.values_mut() {
        row.holders.retain(|_, holder| match (holder.state, holder.commanded) {
            (ItemState::Online, false) | (ItemState::Acquiring, _) => true,
            (ItemState::Online, true) | (ItemState::Releasing | ItemState::NotServing, _) => false,
        });
        for holder in row.holders.values_mut() {
            *holder = Holder { state: ItemState::Online, commanded: false, ..*holder };
            row.epoch = row.epoch.max(holder.epoch);
        }
    }
    for host in tables.hosts.values_mut().filter(|host| host.starting) {
        *host = HostRow { starting: false, settled: true, ..host.clone() };
    }
    tables.unknown_holdings = false;
    tables.databases_agree = true;
}

#[cfg(test)]
mod tests;
