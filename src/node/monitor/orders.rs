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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::node::monitor::control::tests::{fit, host};
    use crate::node::monitor::control::{AddressRow, Evening, Holder, HostRow};
    use crate::types::item::{Epoch, ItemState};
    use crate::types::policy::{Assign, Failback};

    fn item() -> Item {
        Item::Address([192, 0, 2, 1].into())
    }

    fn holder(state: ItemState, pinned: bool) -> Holder {
        Holder { state, epoch: Epoch(5), commanded: false, pinned }
    }

    /// Host 1 prefers it and has it; hosts 2 and 3 may take it.
    fn tables() -> Tables {
        let row = AddressRow {
            prefix: 32,
            known: true,
            preferred_by: [host(1)].into(),
            holders: [(host(1), holder(ItemState::Online, false))].into(),
            ..AddressRow::default()
        };
        Tables {
            group: "www".to_owned(),
            assign: Assign::Random,
            failback: Failback::After(Duration::ZERO),
            evening: Evening::Off,
            frozen: false,
            unknown_holdings: false,
            databases_agree: true,
            hosts: [1, 2, 3].map(|number| (host(number), fit())).into(),
            addresses: [(item(), row)].into(),
        }
    }

    fn changed(change: impl FnOnce(&mut Tables, &mut BTreeMap<HostId, Holder>)) -> Tables {
        let mut tables = tables();
        let mut holders = std::mem::take(&mut tables.addresses.get_mut(&item()).unwrap().holders);
        change(&mut tables, &mut holders);
        if let Some(row) = tables.addresses.get_mut(&item()) {
            row.holders = holders;
        }
        tables
    }

    fn on(number: u8, state: ItemState, pinned: bool) -> Tables {
        changed(|_, holders| *holders = [(host(number), holder(state, pinned))].into())
    }

    #[test]
    fn a_wish_is_done_when_its_host_alone_has_the_item_at_rest() {
        let to = |tables: &Tables, begun| judge_move(tables, &item(), Some(host(2)), begun);
        assert_eq!(to(&tables(), Begun::No), Standing::UnderWay(host(2)));
        assert_eq!(to(&on(2, ItemState::Acquiring, false), Begun::Yes), Standing::UnderWay(host(2)));
        assert_eq!(to(&on(2, ItemState::Online, true), Begun::Yes), Standing::Judged(Verdict::Done(host(2))));
        assert_eq!(to(&on(2, ItemState::Online, false), Begun::No), Standing::Judged(Verdict::There(host(2))));
        // The leader before this one has done it.
        assert_eq!(to(&on(2, ItemState::Online, true), Begun::No), Standing::Judged(Verdict::Done(host(2))));
        let nobody = changed(|_, holders| holders.clear());
        assert_eq!(to(&nobody, Begun::Yes), Standing::UnderWay(host(2)));
    }

    #[test]
    fn home_is_the_preferred_host_and_without_one_there_is_none() {
        let home = |tables: &Tables| judge_move(tables, &item(), None, Begun::No);
        assert_eq!(home(&on(2, ItemState::Online, true)), Standing::UnderWay(host(1)));
        assert_eq!(home(&tables()), Standing::Judged(Verdict::There(host(1))));
        let mut orphaned = on(2, ItemState::Online, false);
        orphaned.addresses.get_mut(&item()).unwrap().preferred_by.clear();
        assert_eq!(home(&orphaned), Standing::Judged(Verdict::Refused { why: Refusal::NoHome, host: None }));
    }

    #[test]
    fn each_rule_has_its_refusal() {
        type Change = fn(&mut Tables);
        fn named(tables: &mut Tables) -> &mut HostRow {
            tables.hosts.get_mut(&host(2)).unwrap()
        }
        fn row(tables: &mut Tables) -> &mut AddressRow {
            tables.addresses.get_mut(&item()).unwrap()
        }
        let rows: [(Refusal, Change); 11] = [
            (Refusal::Unknown, |t| row(t).known = false),
            (Refusal::Unknown, |t| t.addresses.clear()),
            (Refusal::Frozen, |t| t.frozen = true),
            (Refusal::HostAway, |t| drop(t.hosts.remove(&host(2)))),
            (Refusal::HostNotOk, |t| named(t).ok = false),
            (Refusal::HostBusy, |t| named(t).ready = false),
            (Refusal::HostNotSettled, |t| named(t).settled = false),
            (Refusal::HostQuiesced, |t| named(t).duty = Duty::Quiesced),
            (Refusal::HostDraining, |t| named(t).duty = Duty::Draining),
            (Refusal::HostNotAccepting, |t| named(t).accept = vec!["203.0.113.0/24".parse().unwrap()]),
            (Refusal::HostInBackOff, |t| row(t).back_off.extend([host(2)])),
        ];
        for (expected, change) in rows {
            let mut tables = tables();
            change(&mut tables);
            let Standing::Judged(Verdict::Refused { why, .. }) = judge_move(&tables, &item(), Some(host(2)), Begun::No) else {
                panic!("{expected:?}: not refused");
            };
            assert_eq!(why, expected);
            assert!(!words(why, "192.0.2.1", "web2").is_empty());
        }
    }
}
