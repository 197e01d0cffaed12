//! Control networks are cut, lose datagrams, heal; old captures come again.

use raisd::node::action::Report;

use crate::checks::is_move;
use crate::machine::Disk;
use crate::setup::{HOME, TIMEOUT, address, host, ms, policy, pool, secs};
use crate::world::World;

#[test]
fn one_control_network_is_cut_and_nothing_moves() {
    for network in [0, 1] {
        let mut world = pool(20);
        world.boot_all();
        world.run_for(secs(5));
        for one in 1..=4 {
            for other in 1..=4 {
                world.cut(one, other, network);
            }
        }
        world.assert_no_moves(secs(20));
        world.assert_rest(20);
        world.cuts.clear();
        world.assert_no_moves(secs(5));
        world.assert_served(&HOME);
    }
}

#[test]
fn two_hosts_hear_each_other_only_through_others_and_nothing_moves() {
    for (one, other) in [(1, 2), (1, 4), (2, 3)] {
        let mut world = pool(21);
        world.boot_all();
        world.run_for(secs(5));
        for network in [0, 1] {
            world.cut(one, other, network);
        }
        world.assert_no_moves(secs(60));
        world.assert_served(&HOME);
        world.assert_rest(20);
        let silent =
            world.count_reports(|_, report| matches!(report, Report::HostSilent { .. } | Report::LeaderChanged { leader: None, .. }));
        assert_eq!(silent, 0);
        assert!((1..=4).all(|number| world.view_of(number).groups[0].leader == Some(host(1))));
    }
}

#[test]
fn a_link_that_fails_one_way_silences_nobody() {
    let mut world = pool(22);
    world.boot_all();
    world.run_for(secs(5));
    world.cuts.extend([(1, 2, 0), (1, 2, 1)]);
    world.assert_no_moves(secs(60));
    world.assert_served(&HOME);
    world.assert_rest(20);
}

#[test]
fn a_leader_commands_a_host_that_it_hears_only_through_another() {
    // The leader must have the spare acquire, and hears it through host 2 only.
    let mut world = pool(23);
    world.boot_all();
    world.run_for(secs(5));
    for network in [0, 1] {
        world.cut(1, 4, network);
    }
    world.run_for(secs(5));
    world.forbids_doubles = true;
    world.power_off(3);
    let spare = [(address(1), 1), (address(2), 2), (address(3), 4)];
    world.run_until("the command reaches the spare", TIMEOUT + ms(400), |world| world.is_served(&spare));
    world.run_for(secs(3));
    world.assert_served(&spare);
    world.boot(3);
    world.run_until("home again", ms(700), |world| world.is_served(&HOME));
    world.run_for(secs(3));
    world.assert_served(&HOME);
    world.assert_rest(20);
    let failed = world.count_reports(|_, report| matches!(report, Report::AcquireFailed { .. } | Report::DuplicateSettled { .. }));
    assert_eq!(failed, 0);
}

#[test]
fn a_pool_comes_up_although_two_hosts_hear_each_other_only_through_others() {
    let mut world = pool(24);
    for network in [0, 1] {
        world.cut(1, 4, network);
        world.cut(2, 3, network);
    }
    world.forbids_doubles = true;
    world.boot_all();
    world.run_until("each serves its own", secs(3), |world| world.is_served(&HOME));
    world.run_for(secs(3));
    world.assert_served(&HOME);
    world.assert_rest(20);
}

#[test]
fn hosts_in_a_row_hear_each_other_through_several_others() {
    // 1 - 2 - 3 - 4: nobody else hears anybody.
    let mut world = pool(25);
    for (one, other) in [(1, 3), (1, 4), (2, 4)] {
        for network in [0, 1] {
            world.cut(one, other, network);
        }
    }
    world.boot_all();
    world.run_for(secs(10));
    world.assert_served(&HOME);
    world.assert_no_moves(secs(60));
    world.assert_rest(20);
}

#[test]
fn a_third_of_all_datagrams_is_lost_and_nothing_moves_in_ten_minutes() {
    let mut world = World::new(26, [1, 2, 3].map(|number| policy(number, &[address(number)])).into_iter().chain([policy(4, &[])]));
    world.boot_all();
    world.run_for(secs(5));
    world.loss = 300;
    world.assert_no_moves(secs(600));
    world.loss = 0;
    world.run_for(secs(5));
    world.assert_served(&HOME);
    world.assert_rest(20);
}

#[test]
fn a_pool_comes_up_although_a_third_of_all_datagrams_is_lost() {
    for seed in 0..30 {
        let mut world = pool(2600 + seed);
        world.loss = 300;
        world.boot_all();
        world.run_until("each serves its own", secs(6), |world| world.is_served(&HOME));
        world.run_for(secs(10));
        world.assert_served(&HOME);
        world.power_off(1);
        let spare = [(address(1), 4), (address(2), 2), (address(3), 3)];
        world.run_until("the spare has it", secs(4), |world| world.is_served(&spare));
        world.boot(1);
        world.run_until("home", secs(6), |world| world.is_served(&HOME));
        world.run_for(secs(5));
        world.assert_served(&HOME);
    }
}

#[test]
fn each_side_of_a_partition_serves_everything_and_one_holder_is_left_after_it() {
    let mut world = pool(27);
    world.boot_all();
    world.run_for(secs(5));
    for one in [1, 2] {
        for other in [3, 4] {
            for network in [0, 1] {
                world.cut(one, other, network);
            }
        }
    }
    world.run_for(secs(10));
    let sides = |world: &World| HOME.iter().all(|(address, _)| world.holders(*address).len() == 2);
    assert!(sides(&world), "each side serves all, by choice");
    world.cuts.clear();
    world.run_until("one holder is left", ms(500), |world| HOME.iter().all(|(address, _)| world.holders(*address).len() == 1));
    let announced = world.machines[&1].announced[&address(1)];
    world.run_for(secs(3));
    world.assert_served(&HOME);
    assert!(world.machines[&1].announced[&address(1)] >= announced + 4, "whoever stays announces himself");
    world.assert_rest(20);
}

#[test]
fn a_host_that_nobody_hears_for_a_while_returns_without_moving_others() {
    let mut world = pool(28);
    world.boot_all();
    world.run_for(secs(5));
    for _ in 0..5 {
        world.isolate(2);
        world.run_for(secs(5));
        assert_eq!(world.holders(address(2)), [2, 4]);
        world.cuts.clear();
        world.run_until("one holder is left", ms(500), |world| world.is_served(&HOME));
        world.run_for(secs(5));
        world.assert_served(&HOME);
    }
    let moved = world.count_reports(|number, report| is_move(report) && number == 3);
    assert_eq!(moved, 1, "its own, once");
}

#[test]
fn a_capture_of_an_earlier_run_changes_nothing() {
    let mut world = pool(29);
    world.capture = Some(Vec::new());
    world.boot_all();
    world.run_for(secs(5));
    world.power_off(2);
    world.run_for(secs(5));
    let capture = world.capture.take().expect("kept");
    for number in [1, 3, 4] {
        world.power_off(number);
    }
    // One starts with what it knows, one with an empty disk; what they hear of the past comes again and again.
    world.run_for(secs(60));
    world.machine(3).disk = Disk::default();
    world.boot(1);
    world.boot(3);
    for round in 0..40 {
        for (index, datagram) in capture.iter().enumerate() {
            if index % 40 == round {
                world.replay(1, datagram.clone());
                world.replay(3, datagram.clone());
            }
        }
        world.run_for(ms(100));
    }
    let heard = world.count_reports(|number, report| {
        [1, 3].contains(&number) && matches!(report, Report::HostHeard { host, .. } if *host == self::host(2) || *host == self::host(4))
    });
    let before = 4;
    assert_eq!(heard, before, "the dead are not heard");
    assert_eq!(world.holders(address(1)), [1]);
    assert_eq!(world.holders(address(3)), [3]);
    world.run_for(secs(3));
    world.assert_rest(20);
}

#[test]
fn a_node_alone_with_an_empty_disk_hears_only_a_capture_and_serves_its_own_only() {
    let mut world = pool(30);
    world.capture = Some(Vec::new());
    world.boot_all();
    world.run_for(secs(5));
    let capture = world.capture.take().expect("kept");
    for number in 1..=4 {
        world.power_off(number);
    }
    world.machine(3).disk = Disk::default();
    world.boot(3);
    for datagram in &capture {
        world.replay(3, datagram.clone());
        world.run_for(ms(20));
    }
    world.run_for(secs(5));
    assert_eq!(HOME.map(|(address, _)| world.holders(address)), [vec![], vec![], vec![3]]);
    let view = world.view_of(3);
    assert_eq!(view.groups[0].hosts.len(), 1);
    assert_eq!(view.groups[0].addresses.len(), 1);
    world.assert_rest(20);
}
