//! Orphans, expiry, floating addresses, configurations that change.

use std::net::IpAddr;

use raisd::node::action::Report;
use raisd::node::event::Request;
use raisd::types::item::{Item, ServiceAddress};
use raisd::types::policy::{Assign, Failback, NodePolicy};

use crate::setup::{HOME, TIMEOUT, address, ms, policy, pool, secs};
use crate::world::World;

fn knows(world: &World, number: u16, address: IpAddr) -> bool {
    world.view_of(number).groups[0].addresses.iter().any(|known| known.address == address)
}

fn with_lifetime(mut policy: NodePolicy, seconds: u64) -> NodePolicy {
    policy.groups[0].shared.orphan_lifetime = secs(seconds);
    policy
}

fn with_floating(mut policy: NodePolicy, floating: &[IpAddr]) -> NodePolicy {
    policy.groups[0].floating = floating.iter().copied().map(ServiceAddress::host).collect();
    policy
}

fn mortal(seed: u64) -> World {
    let policies = [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[address(3)]), policy(4, &[])];
    World::new(seed, policies.map(|policy| with_lifetime(policy, 100)))
}

#[test]
fn an_orphan_lifetime_ends_and_the_address_is_gone_everywhere() {
    let mut world = mortal(80);
    world.boot_all();
    world.run_for(secs(5));
    world.power_off(2);
    world.run_for(secs(98));
    assert_eq!(world.holders(address(2)), [4]);
    world.run_for(secs(4));
    assert!(world.holders(address(2)).is_empty());
    for number in [1, 3, 4] {
        assert!(!knows(&world, number, address(2)));
    }
    let told = world.count_reports(|_, report| matches!(report, Report::Expired { .. }));
    assert_eq!(told, 1);
    world.assert_rest(20);
    world.boot(2);
    world.run_until("it comes back with the host that prefers it", secs(2), |world| world.is_served(&HOME));
    world.run_for(secs(2));
    world.assert_served(&HOME);
    world.assert_rest(20);
}

#[test]
fn a_host_with_an_old_database_does_not_bring_an_expired_address_back() {
    let mut world = mortal(81);
    world.boot_all();
    world.run_for(secs(70));
    world.power_off(4);
    world.power_off(2);
    // Powered off with an entry that is not old at all on its disk, and back when the others have buried it.
    world.run_for(secs(110));
    assert!(!knows(&world, 1, address(2)));
    let (_, stored) = &world.machines[&4].disk.groups["www"];
    assert!(stored.addresses.iter().any(|record| record.item == Item::Address(address(2)) && !record.tombstone));
    world.boot(4);
    world.run_for(secs(5));
    for number in [1, 3, 4] {
        assert!(!knows(&world, number, address(2)), "h{number}");
    }
    assert!(world.holders(address(2)).is_empty());
    world.assert_rest(20);
}

#[test]
fn a_holder_that_was_cut_off_while_its_address_expired_gives_it_up() {
    let mut world = mortal(82);
    world.boot_all();
    world.run_for(secs(5));
    world.power_off(2);
    world.run_for(secs(50));
    assert_eq!(world.holders(address(2)), [4]);
    world.isolate(4);
    world.run_for(secs(60));
    world.cuts.clear();
    world.run_for(secs(5));
    assert!(world.holders(address(2)).is_empty());
    for number in [1, 3, 4] {
        assert!(!knows(&world, number, address(2)), "h{number}");
    }
    world.assert_rest(20);
}

#[test]
fn a_failing_but_live_preferred_host_keeps_its_address_known() {
    let mut world = mortal(83);
    world.boot_all();
    world.run_for(secs(5));
    world.ask(2, raisd::node::event::Request::Drain { group: None, timeout: secs(5), reason: String::new() });
    world.run_for(secs(300));
    world.assert_served(&[(address(1), 1), (address(2), 4), (address(3), 3)]);
}

#[test]
fn a_preferred_address_that_leaves_its_hosts_configuration_is_released_everywhere() {
    let mut world = mortal(84);
    world.boot_all();
    world.run_for(secs(5));
    world.power_off(2);
    world.run_for(secs(5));
    world.machine(2).policy = with_lifetime(policy(2, &[address(20)]), 100);
    world.boot(2);
    world.run_for(secs(5));
    world.assert_served(&[(address(1), 1), (address(20), 2), (address(3), 3)]);
    assert!(world.holders(address(2)).is_empty());
    assert!(!knows(&world, 3, address(2)));
    world.assert_rest(20);
}

#[test]
fn floating_addresses_are_served_though_nobody_prefers_them_and_spread() {
    let floating = [50, 51, 52, 53, 54, 55, 56].map(address);
    let policies = [1, 2, 3].map(|number| with_floating(policy(number, &[]), &floating));
    let mut world = World::new(85, policies);
    world.forbids_doubles = true;
    world.boot_all();
    world.run_for(secs(3));
    let mut counts = [1, 2, 3].map(|number| world.machines[&number].interface.len());
    counts.sort_unstable();
    assert_eq!(counts, [2, 2, 3]);
    world.power_off(1);
    world.run_for(secs(2));
    let mut counts = [2, 3].map(|number| world.machines[&number].interface.len());
    counts.sort_unstable();
    assert_eq!(counts, [3, 4]);
    world.boot(1);
    world.run_for(secs(5));
    assert!(world.machines[&1].interface.is_empty(), "a joining host shuffles nothing");
    world.assert_zone(&[]);
    world.assert_rest(20);
}

#[test]
fn preferred_beats_floating() {
    let policies = [with_floating(policy(1, &[]), &[address(2)]), policy(2, &[address(2)])];
    let mut world = World::new(86, policies);
    world.boot_all();
    world.run_for(secs(3));
    world.assert_served(&[(address(2), 2)]);
    world.power_off(2);
    world.run_for(secs(2));
    assert_eq!(world.holders(address(2)), [1]);
    world.boot(2);
    world.run_until("home", secs(2), |world| world.is_served(&[(address(2), 2)]));
}

#[test]
fn two_hosts_that_claim_one_address_are_settled_and_told_of_once() {
    let mut world = World::new(87, [policy(1, &[address(9)]), policy(2, &[address(9)]), policy(3, &[])]);
    world.forbids_doubles = true;
    world.boot_all();
    world.run_for(secs(3));
    world.assert_served(&[(address(9), 1)]);
    let told = world.count_reports(|_, report| matches!(report, Report::Conflict { .. }));
    assert_eq!(told, 1);
    world.assert_rest(20);
    world.power_off(1);
    world.run_for(secs(3));
    world.assert_served(&[(address(9), 2)]);
    world.boot(1);
    world.run_for(secs(5));
    world.assert_served(&[(address(9), 2)]);
    world.assert_rest(20);
}

#[test]
fn failback_waits_until_the_host_has_been_well_for_so_long() {
    let slow = |mut policy: NodePolicy| {
        policy.groups[0].shared.failback = Failback::After(secs(20));
        policy
    };
    let mut world = World::new(88, [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[])].map(slow));
    world.boot_all();
    world.run_for(secs(3));
    world.assert_served(&[(address(1), 1), (address(2), 2)]);
    world.power_off(2);
    world.run_for(secs(2));
    assert_eq!(world.holders(address(2)), [3]);
    world.boot(2);
    world.run_for(secs(19));
    assert_eq!(world.holders(address(2)), [3]);
    world.run_until("home", secs(2), |world| world.is_served(&[(address(2), 2)]));
}

#[test]
fn fair_gives_to_the_one_with_the_fewest() {
    let fair = |mut policy: NodePolicy| {
        policy.groups[0].shared.assign = Assign::Fair;
        policy
    };
    let six = [11, 12, 13, 14, 15, 16].map(address);
    let mut world = World::new(89, [policy(1, &six), policy(2, &[]), policy(3, &[]), policy(4, &[])].map(fair));
    world.boot_all();
    world.run_for(secs(3));
    world.power_off(1);
    world.run_for(ms(1100));
    assert_eq!([2, 3, 4].map(|number| world.machines[&number].interface.len()), [2, 2, 2]);
}

#[test]
fn a_host_that_hung_does_not_bring_back_what_expired_meanwhile() {
    let mut world = pool(150);
    world.boot_all();
    world.run_for(secs(5));
    // It hears last of host 2 that it lives, and next that its address is forgotten.
    world.freeze(4, TIMEOUT * 3);
    world.power_off(2);
    world.run_for(TIMEOUT + ms(600));
    world.ask(3, Request::Expire { group: None, item: Item::Address(address(2)) });
    world.run_for(secs(5));
    assert_eq!(world.holders(address(2)), [0_u16; 0]);
    for number in [1, 3, 4] {
        assert!(!knows(&world, number, address(2)), "h{number} knows it");
    }
    world.assert_rest(20);
}
