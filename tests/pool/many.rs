//! Many addresses, many hosts.

use std::net::IpAddr;

use raisd::node::action::Report;

use crate::checks::is_move;
use crate::machine::Disk;
use crate::setup::{TIMEOUT, address, ms, one_of_many, policy, secs};
use crate::world::World;

fn thousand() -> Vec<IpAddr> {
    (0..1000).map(one_of_many).collect()
}

/// A thousand addresses on one of three hosts.
fn pool(seed: u64, holder: u16) -> World {
    let preferred = |number| if number == holder { thousand() } else { vec![address(number)] };
    World::new(seed, [1, 2, 3].map(|number| policy(number, &preferred(number))))
}

fn all_served_once(world: &World) -> bool {
    let mut count = 0;
    for machine in world.machines.values() {
        count += machine.interface.len();
    }
    let everywhere = |address: &IpAddr| {
        world.machines.values().any(|machine| machine.interface.contains_key(&raisd::types::item::ServiceAddress::host(*address)))
    };
    count >= 1000 && thousand().iter().all(everywhere)
}

#[test]
fn a_thousand_addresses_come_up_and_the_host_vanishes_and_returns() {
    for holder in [1, 3] {
        let mut world = pool(90, holder);
        world.forbids_doubles = true;
        world.boot_all();
        world.run_until("all served", secs(3), |world| world.machines[&holder].interface.len() == 1000);
        world.run_for(secs(3));
        world.assert_rest(20);
        world.power_off(holder);
        world.run_until("all served elsewhere", TIMEOUT + ms(200), all_served_once);
        world.run_for(secs(3));
        world.assert_rest(20);
        world.boot(holder);
        world.run_until("home", secs(4), |world| world.machines[&holder].interface.len() == 1000);
        world.run_for(secs(3));
        let total: usize = world.machines.values().map(|machine| machine.interface.len()).sum();
        assert_eq!(total, 1002);
        world.assert_rest(20);
    }
}

#[test]
fn the_host_with_a_thousand_vanishes_while_a_third_of_all_datagrams_is_lost() {
    for seed in 0..3 {
        let mut world = pool(9100 + seed, 1);
        world.loss = 300;
        world.boot_all();
        world.run_until("all served", secs(10), |world| world.machines[&1].interface.len() == 1000);
        world.run_for(secs(5));
        let moves = world.count_reports(|number, report| number != 1 && is_move(report));
        assert_eq!(moves, 2, "their own");
        world.power_off(1);
        world.run_until("all served elsewhere", secs(8), all_served_once);
        world.loss = 0;
        world.run_for(secs(5));
        let total: usize = world.machines.values().map(|machine| machine.interface.len()).sum();
        assert_eq!(total, 1002);
    }
}

#[test]
fn the_next_leader_has_seen_only_a_part_when_the_host_with_a_thousand_vanishes() {
    // Host 2 restarts with an empty disk and hears almost nothing of host 3 before that vanishes.
    let mut world = pool(92, 3);
    world.boot_all();
    world.run_for(secs(5));
    world.power_off(1);
    world.power_off(2);
    for number in [1, 2] {
        world.machine(number).disk = Disk::default();
    }
    world.run_for(secs(3));
    world.loss = 600;
    world.boot(1);
    world.boot(2);
    world.run_for(ms(400));
    world.power_off(3);
    world.loss = 0;
    world.run_for(secs(10));
    let total: usize = world.machines.values().map(|machine| machine.interface.len()).sum();
    let views = [1, 2].map(|number| world.view_of(number).groups[0].addresses.len());
    assert_eq!(views[0], views[1], "both know the same");
    assert_eq!(total, views[0], "all that is known is served, none twice");
    world.assert_rest(20);
}

#[test]
fn the_holder_of_a_thousand_that_is_heard_in_parts_keeps_them_all() {
    // A lower id that knows nothing joins while the holder's entry takes many datagrams, a third of which are lost.
    for seed in 0..5 {
        let mut world = pool(9300 + seed, 3);
        world.boot(2);
        world.boot(3);
        world.run_for(secs(5));
        world.loss = 300;
        world.forbids_doubles = true;
        world.boot(1);
        world.run_for(secs(20));
        world.loss = 0;
        world.run_for(secs(8));
        assert_eq!(world.machines[&3].interface.len(), 1000);
        let moves = world.count_reports(|_, report| matches!(report, Report::Released { .. } | Report::AcquireFailed { .. }));
        assert_eq!(moves, 0);
        world.assert_rest(20);
    }
}

#[test]
fn a_host_with_a_thousand_that_is_heard_only_through_another_is_known_whole() {
    let mut world = pool(94, 3);
    for network in [0, 1] {
        world.cut(1, 3, network);
    }
    world.forbids_doubles = true;
    world.boot_all();
    world.run_until("all served", secs(6), |world| world.machines[&3].interface.len() == 1000);
    world.run_for(secs(5));
    assert!(world.view_of(1).groups[0].hosts.iter().all(|known| known.complete));
    world.assert_rest(20);
}

#[test]
fn three_dozen_hosts_come_up_and_the_lowest_restarts_with_an_empty_disk() {
    let mut world = World::new(95, (1..=36).map(|number| policy(number, &[address(number)])));
    world.forbids_doubles = true;
    world.boot_all();
    let home: Vec<(IpAddr, u16)> = (1..=36).map(|number| (address(number), number)).collect();
    world.run_until("each serves its own", secs(3), |world| world.is_served(&home));
    world.run_for(secs(3));
    world.assert_served(&home);
    world.assert_rest(8);
    let before = world.reports.len();
    world.power_off(1);
    world.machine(1).disk = Disk::default();
    world.run_for(ms(50));
    world.boot(1);
    world.run_for(secs(6));
    world.assert_served(&home);
    let moved =
        world.reports[before..].iter().filter(|(_, number, report)| *number != 1 && matches!(report, Report::Released { .. })).count();
    assert!(moved <= 1, "{moved} addresses moved");
    world.assert_rest(8);
}
