//! Two daemons with one id; incarnations that were lost.

use raisd::node::action::Report;
use raisd::types::host::Incarnation;

use crate::machine::{Disk, Machine, ScriptMood};
use crate::setup::{HOME, address, host, ms, policy, pool, secs, with_scripts};
use crate::world::World;

/// The usual pool, and a machine 99 with the id of host `twin`.
fn with_twin(seed: u64, twin: u16) -> World {
    let mut world = pool(seed);
    let mut policy = policy(twin, &[address(twin)]);
    policy.host.name = "twin".to_owned();
    world.machines.insert(99, Machine::new(policy));
    world
}

#[test]
fn the_later_start_of_two_with_one_id_stops() {
    for twin in [1, 2] {
        let mut world = with_twin(100, twin);
        for number in 1..=4 {
            world.boot(number);
        }
        world.run_for(secs(5));
        world.forbids_doubles = true;
        world.machine(99).disk.incarnation = Incarnation(40);
        world.boot(99);
        world.run_until("the later ends", secs(2), |world| world.machines[&99].exit.is_some());
        assert_eq!(world.machines[&99].exit, Some(1));
        let told = world.count_reports(|number, report| number == 99 && matches!(report, Report::DuplicateId { .. }));
        assert_eq!(told, 1);
        world.run_for(secs(10));
        world.assert_served(&HOME);
        assert!(world.machines[&twin].node.is_some());
        world.assert_rest(20);
    }
}

#[test]
fn of_two_with_one_id_that_start_together_exactly_one_stops() {
    for seed in 0..20 {
        for apart in [ms(0), std::time::Duration::from_micros(70), ms(1), ms(30)] {
            let mut world = with_twin(1010 + seed, 2);
            for number in [1, 2, 3, 4] {
                world.boot(number);
            }
            world.run_for(apart);
            world.boot(99);
            world.run_for(secs(10));
            let exits = [2, 99].map(|number| world.machines[&number].exit);
            assert!(exits == [Some(1), None] || exits == [None, Some(1)], "seed {seed}, apart {apart:?}: {exits:?}");
        }
    }
}

#[test]
fn a_later_start_that_served_on_its_own_gives_everything_up_and_says_nothing_more() {
    let mut world = with_twin(101, 2);
    world.machine(99).policy = with_scripts(world.machines[&99].policy.clone());
    world.machine(99).release_script = ScriptMood::Takes(secs(2));
    world.isolate(99);
    for number in [1, 2, 3, 4, 99] {
        world.boot(number);
        world.run_for(secs(3));
    }
    assert_eq!(world.holders(address(2)), [2, 99]);
    world.cuts.clear();
    world.run_until("one holder is left", ms(300), |world| world.is_served(&HOME));
    let infos = world.machines[&99].infos_sent;
    world.run_until("it ends", secs(3), |world| world.machines[&99].exit == Some(1));
    assert_eq!(world.machines[&99].infos_sent, infos);
    world.run_for(secs(5));
    world.assert_served(&HOME);
    world.assert_rest(20);
}

#[test]
fn a_host_that_lost_its_state_goes_on_above_what_others_know_of_it() {
    let mut world = pool(102);
    world.machine(2).disk.incarnation = Incarnation(7);
    world.boot_all();
    world.run_for(secs(3));
    for _ in 0..3 {
        world.power_off(2);
        world.machine(2).disk = Disk::default();
        world.run_for(ms(20));
        world.boot(2);
        world.run_for(secs(5));
        world.assert_served(&HOME);
    }
    assert_eq!(world.machines[&2].incarnation, Incarnation(11));
    assert_eq!(world.machines[&2].disk.incarnation, Incarnation(11));
    let twice = world.count_reports(|_, report| matches!(report, Report::DuplicateId { .. }));
    assert_eq!(twice, 0);
    world.assert_rest(20);
}

#[test]
fn names_are_remembered_when_a_host_falls_silent() {
    let mut world = pool(103);
    world.boot_all();
    world.run_for(secs(3));
    world.power_off(2);
    world.run_for(secs(3));
    let named = world
        .count_reports(|_, report| matches!(report, Report::HostSilent { name, host, .. } if name == "web2" && *host == self::host(2)));
    assert_eq!(named, 3);
    let view = world.view_of(1);
    let shown = view.groups[0].hosts.iter().find(|shown| shown.id == host(2)).map(|shown| (shown.name.as_str(), shown.silent));
    assert_eq!(shown, Some(("web2", true)));
}

#[test]
fn a_host_that_restarts_without_its_state_takes_nothing_while_it_is_taken_for_the_one_before() {
    // The others believe that the former start lives until it is silent; whoever is given its addresses then must be the only one.
    for delay in 0..48 {
        let mut world = pool(104);
        world.boot_all();
        world.run_for(secs(5));
        world.power_off(2);
        world.run_for(ms(25 * delay));
        world.machine(2).disk = Disk::default();
        world.forbids_doubles = true;
        world.boot(2);
        world.run_for(secs(5));
        world.assert_served(&HOME);
        world.assert_rest(20);
    }
}
