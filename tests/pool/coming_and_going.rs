//! Hosts come, vanish, return and stop.

use std::time::Duration;

use raisd::node::action::Report;
use raisd::node::event::{Event, KernelChange};
use raisd::types::host::Role;

use crate::machine::Disk;
use crate::setup::{HEARTBEAT, HOME, TIMEOUT, address, ms, policy, pool, secs, with_scripts};
use crate::world::World;

fn all_orders() -> Vec<[u16; 4]> {
    let mut orders = Vec::new();
    for a in 1..=4 {
        for b in 1..=4 {
            for c in 1..=4 {
                if a != b && a != c && b != c {
                    orders.push([a, b, c, 10 - a - b - c]);
                }
            }
        }
    }
    orders
}

#[test]
fn three_hosts_and_a_spare_come_up_in_any_order_and_each_serves_its_own() {
    let orders = all_orders();
    assert_eq!(orders.len(), 24);
    for (seed, order) in (1..).zip(orders) {
        for gap in [0, 7, 130, 600] {
            let mut world = pool(seed);
            for number in order {
                world.boot(number);
                world.run_for(ms(gap));
            }
            world.forbids_doubles = true;
            world.run_until("each serves its own", secs(2), |world| world.is_served(&HOME));
            world.run_for(ms(600));
            world.assert_served(&HOME);
            world.assert_zone(&[address(1), address(2), address(3)]);
            assert!(world.machines[&4].interface.is_empty(), "the spare serves none");
        }
    }
}

#[test]
fn a_host_vanishes_and_returns() {
    let mut world = pool(1);
    world.boot_all();
    world.run_for(Duration::from_secs(5));
    world.assert_served(&HOME);
    world.forbids_doubles = true;
    world.power_off(2);
    let spare = [(address(1), 1), (address(2), 4), (address(3), 3)];
    world.run_until("the spare has it", TIMEOUT + ms(20), |world| world.is_served(&spare));
    world.run_for(ms(100));
    world.assert_served(&spare);
    world.assert_zone(&[address(1), address(3)]);
    world.boot(2);
    world.run_until("home", Duration::from_secs(2), |world| world.is_served(&HOME));
    world.run_for(ms(600));
    world.assert_served(&HOME);
    world.run_for(ms(2000));
    world.assert_rest(40);
}

#[test]
fn the_leader_vanishes_and_the_next_takes_over() {
    let mut world = pool(2);
    world.boot_all();
    world.run_for(secs(5));
    world.forbids_doubles = true;
    world.power_off(1);
    let spare = [(address(1), 4), (address(2), 2), (address(3), 3)];
    world.run_until("the spare has it", TIMEOUT + ms(20), |world| world.is_served(&spare));
    world.run_for(ms(300));
    world.assert_served(&spare);
    world.assert_zone(&[address(2), address(3)]);
    world.boot(1);
    world.run_until("home", secs(2), |world| world.is_served(&HOME));
    world.run_for(secs(3));
    world.assert_served(&HOME);
    world.assert_rest(20);
}

#[test]
fn the_leader_and_another_vanish_together() {
    let mut world = pool(3);
    world.boot_all();
    world.run_for(secs(5));
    world.forbids_doubles = true;
    world.power_off(1);
    world.power_off(2);
    let spare = [(address(1), 4), (address(2), 4), (address(3), 3)];
    world.run_until("the spare has both", TIMEOUT + ms(20), |world| world.is_served(&spare));
    world.run_for(ms(300));
    world.assert_served(&spare);
}

#[test]
fn all_but_one_vanish_and_the_last_serves_everything() {
    for last in 1..=4 {
        let mut world = pool(4);
        world.boot_all();
        world.run_for(secs(5));
        for number in (1..=4).filter(|number| *number != last) {
            world.power_off(number);
        }
        let all = [1, 2, 3].map(|number| (address(number), last));
        world.run_until("the last serves everything", TIMEOUT + ms(20), |world| world.is_served(&all));
        world.run_for(ms(300));
        world.assert_served(&all);
    }
}

#[test]
fn they_vanish_one_after_the_other_and_return_one_after_the_other() {
    let mut world = pool(5);
    world.boot_all();
    world.run_for(secs(5));
    world.forbids_doubles = true;
    for number in [4, 1, 3] {
        world.power_off(number);
        world.run_for(TIMEOUT + ms(20));
        let holders: Vec<_> = HOME.iter().map(|(address, _)| world.holders(*address).len()).collect();
        assert_eq!(holders, [1, 1, 1], "after h{number} has vanished");
    }
    for number in [3, 1, 4] {
        world.boot(number);
        world.run_for(secs(2));
    }
    world.assert_served(&HOME);
}

#[test]
fn a_fourth_host_joins_and_nothing_else_changes() {
    let mut world = World::new(6, [1, 2, 3, 4].map(|number| policy(number, &[address(number)])));
    for number in [2, 3, 4] {
        world.boot(number);
    }
    world.run_for(secs(5));
    world.forbids_doubles = true;
    world.boot(1);
    world.run_for(secs(5));
    world.assert_served(&[1, 2, 3, 4].map(|number| (address(number), number)));
    let moves = world.count_reports(|_, report| matches!(report, Report::Released { .. }));
    assert_eq!(moves, 0);
}

#[test]
fn the_lowest_id_restarts_a_hundred_times_and_no_address_moves_but_its_own() {
    for keeps_state in [true, false] {
        for gap in [ms(1), ms(300), secs(2)] {
            let mut world = pool(7);
            world.boot_all();
            world.run_for(secs(4));
            for _ in 0..17 {
                world.power_off(1);
                if !keeps_state {
                    world.machine(1).disk = Disk::default();
                }
                world.run_for(gap);
                world.boot(1);
                world.run_for(secs(3));
                world.assert_served(&HOME[1..]);
                // What does not last comes home later and later.
                assert!(matches!(world.holders(address(1)).as_slice(), [1 | 4]), "{:?}", world.holders(address(1)));
            }
            world.run_until("home", secs(305), |world| world.is_served(&HOME));
            let others = |number: u16, report: &Report| {
                number != 1 && number != 4 && matches!(report, Report::Released { .. } | Report::AcquireFailed { .. })
            };
            assert_eq!(world.count_reports(others), 0, "state kept: {keeps_state}, gap {gap:?}");
            assert_eq!(world.doubles.values().max(), None);
        }
    }
}

#[test]
fn the_daemon_of_the_lowest_id_restarts_over_its_own_leftovers() {
    let mut world = pool(8);
    world.boot_all();
    world.run_for(secs(4));
    for _ in 0..10 {
        world.kill(1);
        world.run_for(ms(100));
        world.boot(1);
        world.run_for(secs(3));
        world.assert_served(&HOME);
    }
}

#[test]
fn what_a_killed_daemon_left_goes_off_when_it_starts_again_although_another_serves_it() {
    let mut world = pool(19);
    world.boot_all();
    world.run_for(secs(4));
    world.kill(2);
    world.run_until("the spare has it too", TIMEOUT + ms(20), |world| world.holders(address(2)) == [2, 4]);
    // It may not serve: nothing but its own start takes the leftover off.
    world.machine(2).policy.groups[0].role = Role::Observer;
    world.boot(2);
    world.run_until("it is off before anything is heard", ms(5), |world| world.holders(address(2)) == [4]);
}

#[test]
fn a_holder_is_told_to_stop_and_the_next_is_online_within_50_ms() {
    for stopped in [1, 2, 3] {
        let mut world = pool(9);
        world.boot_all();
        world.run_for(secs(4));
        world.forbids_doubles = true;
        world.tell(stopped, Event::Stopped);
        let mut moved = HOME;
        moved[usize::from(stopped) - 1].1 = 4;
        world.run_until("the spare has it", ms(50), |world| world.is_served(&moved));
        world.run_until("the daemon ends", ms(10), |world| world.machines[&stopped].exit == Some(0));
        world.run_for(ms(300));
        world.assert_served(&moved);
        let silent = world.count_reports(|_, report| matches!(report, Report::HostSilent { .. }));
        assert_eq!(silent, 0, "nobody waits for a timeout");
    }
}

#[test]
fn everybody_is_told_to_stop_at_once_and_everybody_ends() {
    let mut world = pool(10);
    world.boot_all();
    world.run_for(secs(4));
    for number in 1..=4 {
        world.tell(number, Event::Stopped);
    }
    world.run_until("all end", ms(20), |world| world.machines.values().all(|machine| machine.exit == Some(0)));
    assert!(world.machines.values().all(|machine| machine.interface.is_empty()));
}

#[test]
fn a_stop_waits_for_the_release_script_and_others_wait_for_the_stop() {
    let policies = [policy(1, &[address(1)]), with_scripts(policy(2, &[address(2)])), policy(3, &[])];
    let mut world = World::new(11, policies);
    world.machine(2).release_script = crate::machine::ScriptMood::Takes(secs(7));
    world.boot_all();
    world.run_for(secs(4));
    world.forbids_doubles = true;
    world.tell(2, Event::Stopped);
    world.run_for(secs(6));
    assert_eq!(world.holders(address(2)), [2], "still releasing");
    world.run_until("the spare has it", secs(2), |world| world.is_served(&[(address(2), 3)]));
    world.run_for(ms(10));
    assert_eq!(world.machines[&2].exit, Some(0));
}

#[test]
fn a_stopped_host_that_starts_again_without_its_state_is_taken_back() {
    for keeps_state in [true, false] {
        let mut world = pool(12);
        world.boot_all();
        world.run_for(secs(4));
        world.tell(2, Event::Stopped);
        world.run_for(ms(200));
        if !keeps_state {
            world.machine(2).disk = Disk::default();
        }
        world.boot(2);
        world.run_until("home", secs(3), |world| world.is_served(&HOME));
        world.run_for(secs(2));
        world.assert_served(&HOME);
        world.assert_rest(20);
    }
}

#[test]
fn the_whole_pool_loses_power_and_orphans_are_still_known() {
    let mut world = pool(13);
    world.boot_all();
    world.run_for(secs(5));
    world.power_off(2);
    world.run_for(secs(70));
    world.assert_served(&[(address(2), 4)]);
    for number in [1, 3, 4] {
        world.power_off(number);
    }
    world.run_for(secs(600));
    for number in [1, 3, 4] {
        world.boot(number);
    }
    world.run_for(secs(3));
    world.assert_served(&[(address(1), 1), (address(2), 4), (address(3), 3)]);
    let view = world.view_of(4);
    let orphan = view.groups[0].addresses.iter().find(|known| known.address == address(2)).and_then(|known| known.orphan_remaining_ms);
    let left = orphan.expect("it is orphaned");
    assert!((2_900_000..2_930_000).contains(&left), "an hour less 672 s, less the timeout: {left} ms");
}

#[test]
fn a_host_alone_settles_and_serves_all_that_its_disk_knows() {
    let mut world = pool(14);
    world.boot_all();
    world.run_for(secs(70));
    for number in 1..=4 {
        world.power_off(number);
    }
    world.boot(3);
    world.run_until("it serves everything", TIMEOUT + HEARTBEAT + ms(20), |world| {
        world.is_served(&[1, 2, 3].map(|number| (address(number), 3)))
    });
}

#[test]
fn a_daemon_hangs_for_less_than_the_timeout_and_nothing_moves() {
    for number in 1..=4 {
        let mut world = pool(15);
        world.boot_all();
        world.run_for(secs(5));
        for _ in 0..10 {
            world.freeze(number, ms(700));
            world.assert_no_moves(secs(2));
        }
        world.assert_served(&HOME);
        world.assert_rest(20);
    }
}

#[test]
fn a_daemon_hangs_for_long_and_does_not_take_the_others_for_silent_when_it_goes_on() {
    for number in 1..=3 {
        let mut world = pool(16);
        world.boot_all();
        world.run_for(secs(5));
        world.freeze(number, secs(5));
        world.run_for(secs(4));
        assert_eq!(world.holders(address(number)), [number, 4]);
        world.run_for(ms(1001));
        let infos = world.machines[&number].infos_sent;
        world.run_for(ms(200));
        let sent = world.machines[&number].infos_sent - infos;
        assert!(sent <= 8, "{sent} infos when it goes on");
        world.run_for(secs(3));
        world.assert_served(&HOME);
        let silent = world.count_reports(|by, report| by == number && matches!(report, Report::HostSilent { .. }));
        assert_eq!(silent, 0);
        // What it missed is excused once, however much was in its queue.
        let other = if number == 3 { 2 } else { 3 };
        world.power_off(other);
        world.run_until("the spare has it", TIMEOUT + ms(20), |world| world.holders(address(other)) == [4]);
        world.run_for(secs(3));
        world.assert_rest(20);
    }
}

#[test]
fn a_host_whose_control_networks_are_not_there_at_its_start_takes_nothing_until_it_has_listened() {
    let fault = |network: u8| Event::Kernel(KernelChange::Network { network, fault: Some(format!("no address on network {network}")) });
    let mut world = pool(17);
    world.boot_all();
    world.run_for(secs(5));
    world.power_off(1);
    world.run_for(secs(3));
    world.isolate(1);
    world.boot(1);
    for network in [0, 1] {
        world.tell(1, fault(network));
    }
    world.run_for(secs(5));
    assert!(world.machines[&1].interface.is_empty(), "its disk knows all addresses, and it hears nobody");
    let view = world.view_of(1);
    let own = view.groups[0].hosts.iter().find(|host| host.is_self).unwrap();
    assert!(!own.ok && !own.settled);
    assert!(view.groups[0].problems.iter().any(|problem| problem.contains("network 1")), "{:?}", view.groups[0].problems);
    world.forbids_doubles = true;
    world.cuts.clear();
    world.tell(1, Event::Kernel(KernelChange::Network { network: 0, fault: None }));
    world.run_until("home", secs(3), |world| world.is_served(&HOME));
    world.run_for(secs(3));
    world.assert_served(&HOME);
    world.assert_rest(20);
    // What fails later is a matter of who is heard.
    for network in [0, 1] {
        world.tell(1, fault(network));
    }
    world.run_for(secs(3));
    world.assert_served(&HOME);
}
