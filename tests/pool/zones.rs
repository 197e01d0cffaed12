//! The zone that every host answers from.

use raisd::node::action::Report;
use raisd::node::event::{Event, LoadSample, Request};
use raisd::types::policy::NodePolicy;

use crate::machine::Disk;
use crate::setup::{HOME, address, ms, policy, secs};
use crate::world::World;

fn loaded(mut policy: NodePolicy) -> NodePolicy {
    policy.groups[0].loads = ["cpu".to_owned()].into();
    policy
}

fn percent(load: u32) -> Event {
    Event::Loaded { load: "cpu".to_owned(), sample: Some(LoadSample { load, capacity: 100 }) }
}

/// Three hosts with an address each and a load.
fn pool(seed: u64) -> World {
    let mut world = World::new(seed, [1, 2, 3].map(|number| loaded(policy(number, &[address(number)]))));
    world.boot_all();
    world.run_for(secs(5));
    world.assert_served(&HOME);
    world.assert_zone(&[address(1), address(2), address(3)]);
    world
}

fn serial(world: &World, number: u16) -> u32 {
    world.machines[&number].zone.as_ref().map_or(0, |zone| zone.serial)
}

#[test]
fn every_name_server_follows_the_leaders_table_of_weights() {
    let mut world = pool(110);
    let all = [1, 2, 3].map(address);
    for (load, expected) in [(70, &all[..]), (81, &all[..2]), (70, &all[..2]), (60, &all[..]), (80, &all[..]), (100, &all[..2])] {
        world.tell(3, percent(load));
        world.run_for(secs(1));
        world.assert_zone(expected);
    }
    world.run_for(secs(2));
    world.assert_rest(20);
}

#[test]
fn a_load_that_changes_all_the_time_changes_neither_serial_nor_chatter() {
    let mut world = pool(111);
    let before = serial(&world, 1);
    let infos = world.machines[&3].infos_sent;
    for round in 0..200 {
        world.tell(3, percent(10 + round % 40));
        world.run_for(ms(50));
    }
    assert_eq!(serial(&world, 1), before);
    let sent = world.machines[&3].infos_sent - infos;
    assert!(sent <= 42, "{sent} infos in 40 heartbeats");
}

#[test]
fn a_leader_that_restarts_keeps_who_is_between_the_marks_on_the_list() {
    for keeps_state in [true, false] {
        let mut world = pool(112);
        world.tell(2, percent(70));
        world.run_for(secs(1));
        world.assert_zone(&[address(1), address(2), address(3)]);
        world.power_off(1);
        if !keeps_state {
            world.machine(1).disk = Disk::default();
        }
        world.run_for(secs(3));
        world.assert_zone(&[address(2), address(3)]);
        let (reports, before) = (world.reports.len(), serial(&world, 2));
        world.boot(1);
        world.run_for(secs(3));
        world.assert_zone(&[address(1), address(2), address(3)]);
        for (_, _, report) in &world.reports[reports..] {
            if let Report::ZoneChanged { advertised, .. } = report {
                assert!(advertised.contains(&address(2)), "dropped without a reason: {report:?}");
            }
        }
        assert_eq!(serial(&world, 2), before + 1, "state kept: {keeps_state}");
    }
}

#[test]
fn serials_grow_over_a_partition_and_all_answer_the_same_after_it() {
    let mut world = pool(113);
    world.isolate(1);
    world.run_for(secs(5));
    world.tell(2, percent(95));
    world.run_for(secs(3));
    let highest = [1, 2, 3].map(|number| serial(&world, number)).into_iter().max().unwrap_or_default();
    world.cuts.clear();
    world.run_for(secs(3));
    let serials = [1, 2, 3].map(|number| serial(&world, number));
    assert!(serials[0] >= highest && serials.iter().all(|serial| *serial == serials[0]), "{serials:?} after {highest}");
    world.assert_zone(&[address(1), address(3)]);
    world.run_for(secs(2));
    world.assert_rest(20);
}

#[test]
fn a_zone_of_hundreds_reaches_everybody_although_a_third_of_all_datagrams_is_lost() {
    let many: Vec<_> = (0..300).map(crate::setup::one_of_many).collect();
    let mut world = World::new(114, [policy(1, &[address(1)]), policy(2, &many), policy(3, &[])]);
    world.loss = 300;
    world.boot_all();
    world.run_for(secs(15));
    world.loss = 0;
    world.run_for(secs(5));
    let mut expected = many.clone();
    expected.push(address(1));
    expected.sort_unstable();
    world.assert_zone(&expected);
    world.assert_rest(20);
}

/// What a host's name server is told of an address that is not on the list.
fn reasons(world: &World, number: u16) -> Vec<(std::net::IpAddr, String)> {
    let zone = world.machines[&number].zone.as_ref();
    zone.map(|zone| zone.withheld.iter().map(|one| (one.address, one.reason.clone())).collect()).unwrap_or_default()
}

#[test]
fn every_name_server_says_why_each_other_address_is_withheld() {
    let mut world = pool(115);
    let serving = |world: &mut World, expected: &[(u16, &str)]| {
        world.run_for(secs(3));
        let expected: Vec<_> = expected.iter().map(|(number, reason)| (address(*number), (*reason).to_owned())).collect();
        for number in world.running().map(|(number, _)| number).collect::<Vec<_>>() {
            assert_eq!(reasons(world, number), expected, "host {number}");
        }
    };
    serving(&mut world, &[]);
    world.tell(2, percent(95));
    serving(&mut world, &[(2, "above high water")]);
    for number in [1, 2, 3] {
        let zone = world.machines[&number].zone.as_ref().unwrap();
        let expected = "web2 uses 95 % of its capacity; it leaves above 80 % and comes back at 60 %";
        assert_eq!(zone.withheld[0].detail, expected, "host {number}");
    }
    // The list stays as it is, the reason does not.
    let before = serial(&world, 1);
    world.ask(2, Request::Quiesce { group: None, reason: String::new() });
    serving(&mut world, &[(2, "quiesced")]);
    assert_eq!(serial(&world, 1), before);
    world.power_off(3);
    serving(&mut world, &[(2, "quiesced"), (3, "silent")]);
    world.ask(2, Request::Resume { group: None });
    world.tell(2, percent(10));
    serving(&mut world, &[(3, "silent")]);
    world.boot(3);
    serving(&mut world, &[]);
}

#[test]
fn a_serial_that_has_stood_for_two_lists_does_not_stay() {
    let mut world = World::new(115, [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[])]);
    world.boot_all();
    world.run_for(secs(3));
    world.assert_zone(&[address(1), address(2)]);
    // Each side decides once; whoever was alone follows the leader before that hears him.
    world.isolate(3);
    world.ask(1, Request::Quiesce { group: None, reason: String::new() });
    world.run_for(secs(3));
    let counted = [1, 3].map(|number| serial(&world, number));
    assert_eq!(counted[0], counted[1], "both counted alike, for {:?} and {:?}", world.machines[&1].zone, world.machines[&3].zone);
    world.cuts.clear();
    world.run_for(secs(3));
    world.assert_zone(&[address(2)]);
    assert!([1, 2, 3].iter().all(|number| serial(&world, *number) > counted[0]), "{}", serial(&world, 3));
    world.assert_rest(20);
}
