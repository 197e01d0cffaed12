//! What becomes of an operator's wish: whether the rules allow it, and whether it is done.
//!
//! Pure functions from the control tables; the control step does the moving, with the order in the row. Called by
//! `operator.rs` on the leader.

use super::control::Tables;
use super::wishes::Begun;
use crate::types::host::{Duty, HostId};
use crate::types::item::Item;
use crate::types::message::{Refusal, Verdict};

/// How a wish stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// To be moved there.
    UnderWay(HostId),
    Judged(Verdict),
}

/// How the wish stands that `item` be at `to`, or at home.
#[must_use]
pub(crate) fn judge_move(tables: &Tables, item: &Item, to: Option<HostId>, begun: Begun) -> Standing {
    let refused = |why, host| Standing::Judged(Verdict::Refused { why, host });
    let Some(row) = tables.addresses.get(item).filter(|row| row.known) else { return refused(Refusal::Unknown, None) };
    let Some(to) = to.or_else(|| tables.preferred_host(row)) else { return refused(Refusal::NoHome, None) };
    if let Some(holder) = row.holders.get(&to).filter(|_| row.holders.len() == 1) {
        // While it comes or goes, what becomes of it is not known.
        return match begun {
            Begun::No | Begun::Yes if row.is_moving() => Standing::UnderWay(to),
            Begun::Yes => Standing::Judged(Verdict::Done(to)),
            Begun::No if holder.pinned => Standing::Judged(Verdict::Done(to)),
            Begun::No => Standing::Judged(Verdict::There(to)),
        };
    }
    if tables.frozen {
        return refused(Refusal::Frozen, None);
    }
    match refusal(tables, item, to) {
        Some(why) => refused(why, Some(to)),
        None => Standing::UnderWay(to),
    }
}

/// Why a host may not take an item, if so.
fn refusal(tables: &Tables, item: &Item, to: HostId) -> Option<Refusal> {
    let Some(host) = tables.hosts.get(&to) else { return Some(Refusal::HostAway) };
    let in_back_off = tables.addresses.get(item).is_some_and(|row| row.back_off.contains(&to));
    let checks = [
        (!host.ok, Refusal::HostNotOk),
        (!host.ready, Refusal::HostBusy),
        (!host.settled, Refusal::HostNotSettled),
        (host.duty == Duty::Quiesced, Refusal::HostQuiesced),
        (host.duty == Duty::Draining, Refusal::HostDraining),
        (!host.accepts(item), Refusal::HostNotAccepting),
        (in_back_off, Refusal::HostInBackOff),
    ];
    checks.into_iter().find(|(applies, _)| *applies).map(|(_, why)| why)
}

/// Why the leader does not do it, in words. `host`: whom it is about, as people call it.
#[must_use]
pub(crate) fn words(why: Refusal, item: &str, host: &str) -> String {
    match why {
        Refusal::Unknown => format!("nobody in the group knows {item}"),
        Refusal::Frozen => "the group is frozen; `raisctl thaw` ends it".to_owned(),
        Refusal::NoHome => format!("no live host prefers {item}; name the host that it is to go to"),
        Refusal::OrderedElsewhere => format!("{item} is on its way to {host}, as another operator wishes; wait for that"),
        Refusal::HostAway => format!("{host} is not heard"),
        Refusal::HostBusy => format!("not all is known of what {host} holds; try again in a moment"),
        Refusal::HostNotOk => format!("{host} is not ok: its tests fail, or it is an observer"),
        Refusal::HostNotSettled => format!("{host} has not listened long enough yet; try again in a moment"),
        Refusal::HostQuiesced => format!("{host} is quiesced; `raisctl resume` there ends it"),
        Refusal::HostDraining => format!("{host} is draining"),
        Refusal::HostNotAccepting => format!("the accept list of {host} does not hold {item}"),
        Refusal::HostInBackOff => format!("{host} has failed to acquire {item} and is not asked again yet; see its log"),
    }
}
