//! Hosts that talk by unicast: from seeds, from what they have learnt, beside multicast, and where multicast is lost.

use std::net::IpAddr;

use raisd::node::action::Report;
use raisd::node::event::{Event, KernelChange, Request};
use raisd::types::policy::NodePolicy;

use crate::checks::is_move;
use crate::machine::Disk;
use crate::setup::{HEARTBEAT, HOME, TIMEOUT, address, control, host, ms, policy, pool, secs};
use crate::world::World;

/// A host without a group address that knows these hosts, on both networks.
fn unicast(mut policy: NodePolicy, seeds: &[u16]) -> NodePolicy {
    policy.groups[0].multicast = false;
    seeded(policy, seeds)
}

fn seeded(mut policy: NodePolicy, seeds: &[u16]) -> NodePolicy {
    policy.groups[0].peers = seeds.iter().flat_map(|seed| [control(*seed, 0), control(*seed, 1)]).collect();
    policy
}

/// Hosts 1 to 4 of the usual pool.
fn usual(number: u16) -> NodePolicy {
    policy(number, if number == 4 { &[] } else { std::slice::from_ref(&HOME[usize::from(number) - 1].0) })
}

/// The usual pool by unicast only; all know `seeds`.
fn unicast_pool(seed: u64, seeds: &[u16]) -> World {
    World::new(seed, (1..=4).map(|number| unicast(usual(number), seeds)))
}

fn silences(world: &World) -> usize {
    world.count_reports(|_, report| matches!(report, Report::HostSilent { .. }))
}

/// All boot, each serves its own, and a while passes.
fn come_up(world: &mut World) {
    world.boot_all();
    world.run_until("each serves its own", secs(4), |world| world.is_served(&HOME));
    world.run_for(secs(5));
}

#[test]
fn a_pool_comes_up_from_one_seed() {
    for (seed, order) in [(200, [1, 2, 3, 4]), (201, [4, 3, 2, 1]), (202, [3, 1, 4, 2])] {
        let mut world = unicast_pool(seed, &[1]);
        world.forbids_doubles = true;
        for number in order {
            world.boot(number);
            world.run_for(ms(130));
        }
        world.run_until("each serves its own", secs(4), |world| world.is_served(&HOME));
        world.run_for(secs(5));
        world.assert_served(&HOME);
        world.assert_rest(20);
        assert!((1..=4).all(|number| world.view_of(number).groups[0].leader == Some(host(1))));
        // Each pair hears each other directly, on both networks, and by unicast.
        for by in 1..=4 {
            for heard in world.view_of(by).groups[0].hosts.iter().filter(|heard| !heard.is_self) {
                let ways: Vec<_> = heard.networks.iter().map(|heard| (heard.network, heard.multicast, heard.unicast)).collect();
                assert_eq!(ways, [(0, false, true), (1, false, true)], "h{by} hears {}", heard.id);
            }
        }
    }
}

#[test]
fn one_seed_that_lives_is_enough() {
    // Host 9 is nowhere; everybody starts from it and from another.
    let mut world = World::new(203, (1..=4).map(|number| unicast(usual(number), &[9, 3])));
    world.forbids_doubles = true;
    come_up(&mut world);
    world.assert_served(&HOME);
    world.assert_rest(20);
}

#[test]
fn hosts_that_were_learnt_outlive_the_seed() {
    let mut world = unicast_pool(204, &[2]);
    come_up(&mut world);
    world.forbids_doubles = true;
    world.power_off(2);
    let spare = [(address(1), 1), (address(2), 4), (address(3), 3)];
    world.run_until("the spare has it", TIMEOUT + ms(400), |world| world.is_served(&spare));
    world.assert_no_moves(secs(60));
    world.assert_served(&spare);
    world.boot(2);
    world.run_until("home", secs(4), |world| world.is_served(&HOME));
    world.run_for(secs(3));
    world.assert_served(&HOME);
}

#[test]
fn a_host_that_starts_again_finds_the_pool_although_its_seeds_are_dead() {
    let mut world = unicast_pool(205, &[2]);
    come_up(&mut world);
    world.power_off(2);
    world.run_for(secs(5));
    world.forbids_doubles = true;
    for number in [1, 3, 4] {
        world.power_off(number);
        world.run_for(secs(3));
        world.boot(number);
        world.run_for(secs(5));
    }
    world.run_for(secs(5));
    let spare = [(address(1), 1), (address(2), 4), (address(3), 3)];
    assert_eq!(HOME.map(|(address, _)| world.holders(address).len()), [1, 1, 1]);
    assert!(spare.iter().filter(|(address, _)| *address != HOME[1].0).all(|(address, at)| world.holders(*address) == [*at]));
    let live = world.view_of(4).groups[0].hosts.iter().filter(|host| !host.silent).count();
    assert_eq!(live, 3);
}

#[test]
fn a_pool_that_lost_its_power_comes_back_although_its_seed_does_not() {
    let mut world = unicast_pool(206, &[2]);
    come_up(&mut world);
    for number in 1..=4 {
        world.power_off(number);
    }
    world.run_for(secs(1800));
    world.forbids_doubles = true;
    for number in [1, 3, 4] {
        world.boot(number);
    }
    let left = [(address(1), 1), (address(2), 4), (address(3), 3)];
    world.run_until("all is served", secs(5), |world| world.is_served(&left));
    world.run_for(secs(5));
    world.assert_served(&left);
}

#[test]
fn a_host_without_state_and_without_a_living_seed_is_found_by_the_others() {
    let mut world = unicast_pool(207, &[2]);
    come_up(&mut world);
    world.power_off(2);
    world.power_off(3);
    world.run_for(secs(5));
    world.machine(3).disk = Disk::default();
    world.forbids_doubles = true;
    world.boot(3);
    world.run_until("home", secs(4), |world| world.holders(address(3)) == [3]);
    world.run_for(secs(5));
    let live = world.view_of(3).groups[0].hosts.iter().filter(|host| !host.silent).count();
    assert_eq!(live, 3);
}

#[test]
fn a_partition_of_a_unicast_pool_heals() {
    let mut world = unicast_pool(208, &[1]);
    world.boot_all();
    world.run_until("each serves its own", secs(4), |world| world.is_served(&HOME));
    world.run_for(secs(3));
    for one in [1, 2] {
        for other in [3, 4] {
            world.cut(one, other, 0);
            world.cut(one, other, 1);
        }
    }
    world.run_for(secs(300));
    assert!(HOME.iter().all(|(address, _)| world.holders(*address).len() == 2), "each side serves all, by choice");
    world.cuts.clear();
    world.run_until("one holder is left", secs(2), |world| world.is_served(&HOME));
    world.run_for(secs(3));
    world.assert_served(&HOME);
    world.assert_rest(20);
}

#[test]
fn hosts_with_and_without_multicast_form_one_pool() {
    // 1 and 2 have a group address only, 3 has peers as well, 4 has peers only.
    let mut world = World::new(209, [usual(1), usual(2), seeded(usual(3), &[4]), unicast(usual(4), &[2])]);
    world.forbids_doubles = true;
    come_up(&mut world);
    world.assert_served(&HOME);
    world.assert_rest(20);
    let way = |by: u16, of: u16| {
        let view = world.view_of(by);
        let heard = view.groups[0].hosts.iter().find(|heard| heard.id == host(of)).expect("known").networks.clone();
        heard.iter().map(|heard| (heard.multicast, heard.unicast)).collect::<Vec<_>>()
    };
    assert_eq!(way(1, 2), [(true, false); 2]);
    assert_eq!(way(1, 3), [(true, true); 2]);
    assert_eq!(way(1, 4), [(false, true); 2]);
    assert_eq!(way(4, 1), [(false, true); 2]);
    let told = world.count_reports(|_, report| matches!(report, Report::MulticastFails { .. }));
    assert_eq!(told, 0, "who never sends multicast is not missed by it");
    world.power_off(3);
    let spare = [(address(1), 1), (address(2), 2), (address(3), 4)];
    world.run_until("the spare has it", TIMEOUT + ms(400), |world| world.is_served(&spare));
    world.run_for(secs(3));
    world.assert_served(&spare);
}

#[test]
fn multicast_that_works_needs_no_unicast() {
    let mut world = pool(210);
    world.boot_all();
    world.run_for(secs(5));
    world.assert_served(&HOME);
    let before = world.unicast_sent;
    world.run_for(secs(60));
    assert_eq!(world.unicast_sent, before);
}

#[test]
fn multicast_is_lost_on_all_networks_at_once_and_nothing_moves() {
    // At every place within a heartbeat.
    for part in 0..10 {
        let mut world = pool(220 + u64::from(part));
        world.boot_all();
        world.run_for(secs(5) + HEARTBEAT * part / 10);
        world.lose_multicast(&[0, 1]);
        world.assert_no_moves(secs(30));
        assert_eq!(silences(&world), 0, "nobody counts as silent");
        world.assert_served(&HOME);
        // Each host says it of each network, once.
        let told = world.count_reports(|_, report| matches!(report, Report::MulticastFails { hosts, .. } if hosts.len() == 3));
        assert_eq!(told, 8);
        let told = world.count_reports(|_, report| matches!(report, Report::MulticastFails { .. } | Report::MulticastWorks { .. }));
        assert_eq!(told, 8);
        assert_eq!(world.view_of(1).groups[0].problems.len(), 2);
        world.assert_rest(20);
        world.multicast_cuts.clear();
        world.assert_no_moves(secs(5));
        let told = world.count_reports(|_, report| matches!(report, Report::MulticastWorks { .. }));
        assert_eq!(told, 8);
        assert!(world.view_of(1).groups[0].problems.is_empty());
        let before = world.unicast_sent;
        world.run_for(secs(10));
        assert_eq!(world.unicast_sent, before, "it ends with the need");
    }
}

#[test]
fn multicast_is_lost_on_the_only_network_with_the_shortest_timeout_and_nothing_moves() {
    for part in 0..10 {
        let short = |number| {
            let mut policy = usual(number);
            policy.groups[0].shared.timeout = HEARTBEAT * 2;
            policy.host.control.truncate(1);
            policy
        };
        let mut world = World::new(240 + u64::from(part), (1..=4).map(short));
        for (one, other) in [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)] {
            world.cut(one, other, 1);
        }
        world.boot_all();
        world.run_for(secs(5) + HEARTBEAT * part / 10);
        world.lose_multicast(&[0]);
        world.assert_no_moves(secs(30));
        assert_eq!(silences(&world), 0);
        world.assert_served(&HOME);
        world.assert_rest(20);
    }
}

#[test]
fn multicast_is_lost_on_one_network_and_unicast_takes_its_place_there() {
    let mut world = pool(250);
    world.boot_all();
    world.run_for(secs(5));
    world.lose_multicast(&[1]);
    world.assert_no_moves(secs(10));
    let told = world.count_reports(|_, report| matches!(report, Report::MulticastFails { network: 1, .. }));
    assert_eq!(told, 4);
    // The redundancy is real: the network on which multicast works is cut.
    for one in 1..=4 {
        for other in 1..=4 {
            world.cut(one, other, 0);
        }
    }
    world.assert_no_moves(secs(30));
    assert_eq!(silences(&world), 0);
    world.assert_served(&HOME);
}

#[test]
fn the_multicast_of_one_host_is_lost_in_one_direction_and_nothing_moves() {
    let mut world = pool(251);
    world.boot_all();
    world.run_for(secs(5));
    for to in [1, 3, 4] {
        world.multicast_cuts.extend([(2, to, 0), (2, to, 1)]);
    }
    world.assert_no_moves(secs(30));
    assert_eq!(silences(&world), 0);
    let told = world.count_reports(|_, report| matches!(report, Report::MulticastFails { hosts, .. } if *hosts == ["web2"]));
    assert_eq!(told, 6);
    world.assert_rest(20);
}

#[test]
fn a_host_starts_again_while_multicast_is_lost_and_finds_the_pool() {
    let mut world = pool(252);
    world.boot_all();
    world.run_for(secs(5));
    world.lose_multicast(&[0, 1]);
    world.run_for(secs(5));
    world.forbids_doubles = true;
    world.power_off(2);
    world.run_for(secs(5));
    assert_eq!(world.holders(address(2)), [4]);
    world.boot(2);
    world.run_until("home", secs(4), |world| world.is_served(&HOME));
    world.run_for(secs(3));
    world.assert_served(&HOME);
}

#[test]
fn without_unicast_lost_multicast_is_an_outage() {
    // The same judges as above must see it: unicast is what keeps the pool together.
    let mut world = pool(253);
    world.boot_all();
    world.run_for(secs(5));
    for one in 1..=4 {
        for other in 1..=4 {
            world.cut(one, other, 0);
            world.cut(one, other, 1);
        }
    }
    let before = world.reports.len();
    world.run_for(secs(5));
    assert!(world.reports[before..].iter().any(|(_, _, report)| is_move(report)));
    assert!(silences(&world) > 0);
}

#[test]
fn a_replayed_start_is_answered_at_its_own_address_and_never_becomes_a_peer() {
    let mut world = unicast_pool(254, &[1]);
    world.capture = Some(Vec::new());
    world.boot_all();
    world.run_for(secs(5));
    let capture = world.capture.take().expect("kept");
    for number in 1..=4 {
        world.power_off(number);
    }
    world.machine(1).disk = Disk::default();
    world.boot(1);
    let before = world.unicast_sent;
    for datagram in &capture {
        world.replay(1, datagram.clone());
    }
    world.run_for(secs(10));
    // Three strangers with two addresses each, one datagram each time that this host says something, for as long as they are remembered.
    let answers = world.unicast_sent - before;
    assert!(answers <= 3 * 2 * 12, "{answers} answers to {} datagrams", capture.len());
    world.run_for(secs(100));
    assert_eq!(world.machines[&1].disk.groups["www"].1.peers, []);
    assert_eq!(world.view_of(1).groups[0].hosts.len(), 1);
}

#[test]
fn a_host_that_is_forgotten_is_not_looked_for() {
    let mut world = unicast_pool(255, &[1]);
    world.boot_all();
    world.run_for(secs(5));
    world.power_off(3);
    world.run_for(secs(5));
    let knocks = |world: &mut World| {
        let before = world.unicast_sent;
        world.run_for(secs(10));
        world.unicast_sent - before
    };
    let many = knocks(&mut world);
    for number in [1, 2, 4] {
        world.ask(number, Request::Forget { group: None, host: "web3".to_owned() });
    }
    let few = knocks(&mut world);
    assert!(few < many, "{few} after {many}");
    let peers: Vec<_> = world.machines[&2].disk.groups["www"].1.peers.iter().map(|peer| peer.host).collect();
    assert_eq!(peers, [host(1), host(4)]);
}

#[test]
fn a_host_whose_control_addresses_come_late_tells_them_and_is_found() {
    let mut world = unicast_pool(256, &[1]);
    for number in [1, 2, 3] {
        world.boot(number);
    }
    world.run_until("each serves its own", secs(4), |world| world.is_served(&HOME));
    let nowhere: Vec<IpAddr> = vec![[0, 0, 0, 0].into(); 2];
    let addresses = std::mem::replace(&mut world.machine(4).policy.host.control, nowhere);
    world.boot(4);
    world.run_for(secs(5));
    assert_eq!(world.view_of(1).groups[0].hosts.len(), 3, "it knocks, and nobody knows where to answer");
    world.machine(4).policy.host.control.clone_from(&addresses);
    for (network, address) in (0..).zip(addresses) {
        world.tell(4, Event::Kernel(KernelChange::ControlAddress { network, address }));
    }
    world.run_until("it is found", secs(2), |world| world.view_of(2).groups[0].hosts.len() == 4);
    world.run_for(secs(3));
    world.assert_served(&HOME);
    world.assert_rest(20);
}
