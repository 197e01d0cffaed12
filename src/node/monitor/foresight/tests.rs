use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::node::monitor::control::tests::{address, fit, host};
use crate::node::monitor::control::{AddressRow, Evening};
use crate::types::item::Epoch;
use crate::types::policy::{Assign, Failback};

fn at_home(number: u8) -> (Item, AddressRow) {
    let online = Holder { state: ItemState::Online, epoch: Epoch(5), commanded: false, pinned: false };
    let row = AddressRow {
        prefix: 32,
        known: true,
        preferred_by: [host(number)].into(),
        holders: [(host(number), online)].into(),
        epoch: Epoch(5),
        ..AddressRow::default()
    };
    (address(number), row)
}

/// Hosts 1 to 3 at home, 4 is a spare.
fn pool() -> Tables {
    Tables {
        group: "www".to_owned(),
        assign: Assign::Fair,
        failback: Failback::After(Duration::ZERO),
        evening: Evening::Off,
        frozen: false,
        unknown_holdings: false,
        databases_agree: true,
        hosts: [(host(1), fit()), (host(2), fit()), (host(3), fit()), (host(4), HostRow { spare: true, ..fit() })].into(),
        addresses: [1, 2, 3].map(at_home).into(),
    }
}

fn places(tables: &Tables) -> BTreeMap<Item, Option<HostId>> {
    tables.addresses.keys().map(|item| (item.clone(), holder_of(tables, item))).collect()
}

#[test]
fn a_pool_at_rest_stays_as_it_is() {
    let tables = pool();
    assert_eq!(places(&at_rest(tables.clone())), places(&tables));
}

#[test]
fn what_a_dead_host_held_is_where_the_step_puts_it() {
    let after = at_rest(without(pool(), host(2)));
    assert_eq!(holder_of(&after, &address(2)), Some(host(4)));
    let after = at_rest(without(after, host(4)));
    assert_eq!(holder_of(&after, &address(2)), Some(host(1)), "fewest addresses, then the lowest id");
}

#[test]
fn what_comes_of_it_is_followed_to_the_end() {
    // Host 1 is back and well, its address still on the spare: it goes home, and only then does the spare die.
    let mut tables = pool();
    let row = tables.addresses.get_mut(&address(1)).unwrap();
    let online = row.holders.remove(&host(1)).unwrap();
    row.holders.insert(host(4), online);
    assert_eq!(holder_of(&at_rest(tables.clone()), &address(1)), Some(host(1)));
    assert_eq!(holder_of(&at_rest(without(tables, host(4))), &address(1)), Some(host(1)));
}

#[test]
fn what_is_under_way_is_taken_as_done() {
    let mut tables = pool();
    tables.unknown_holdings = true;
    let holder = |state, commanded| Holder { state, epoch: Epoch(6), commanded, pinned: false };
    tables.addresses.get_mut(&address(1)).unwrap().holders = [(host(4), holder(ItemState::Acquiring, true))].into();
    tables.addresses.get_mut(&address(2)).unwrap().holders = [(host(2), holder(ItemState::Releasing, false))].into();
    tables.addresses.get_mut(&address(3)).unwrap().holders = [(host(3), holder(ItemState::Online, true))].into();
    for host in tables.hosts.values_mut() {
        host.settled = false;
        host.starting = true;
    }
    let after = without(tables, host(9));
    assert_eq!(holder_of(&after, &address(1)), Some(host(4)));
    assert_eq!(after.addresses[&address(1)].epoch, Epoch(6));
    assert_eq!((holder_of(&after, &address(2)), holder_of(&after, &address(3))), (None, None));
    assert!(after.hosts.values().all(HostRow::is_eligible) && !after.unknown_holdings);
}

#[test]
fn nobody_is_left_and_nobody_has_it() {
    let mut tables = pool();
    tables.hosts.retain(|id, _| *id == host(2));
    assert_eq!(holder_of(&at_rest(without(tables, host(2))), &address(2)), None);
}
