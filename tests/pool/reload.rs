//! Another configuration while the daemons run: what is different is brought about, what is not is not touched.

use std::time::Duration;

use raisd::node::action::Report;
use raisd::node::event::{Answer, Event, Request, TestResult};
use raisd::types::host::Role;
use raisd::types::item::{Reason, ServiceAddress};
use raisd::types::policy::{AnnounceMethod, GroupPolicy, NodePolicy, TestPolicy};

use crate::checks::is_move;
use crate::machine::ScriptMood;
use crate::setup::{HOME, TIMEOUT, address, ms, policy, pool, secs, with_scripts};
use crate::world::World;

fn settled(seed: u64) -> World {
    let mut world = pool(seed);
    world.boot_all();
    world.run_for(secs(5));
    world.assert_served(&HOME);
    world
}

/// A second group, with an address of its own.
fn mail(preferred: u16) -> GroupPolicy {
    let mut group = policy(1, &[address(preferred)]).groups.remove(0);
    group.name = "mail".to_owned();
    group.shared.zone = None;
    group
}

fn moves(world: &World, since: usize) -> Vec<(u16, Report)> {
    world.reports[since..].iter().filter(|(_, _, report)| is_move(report)).map(|(_, number, report)| (*number, report.clone())).collect()
}

#[test]
fn a_configuration_that_says_the_same_touches_nothing() {
    let mut world = settled(200);
    let before = world.reports.len();
    for number in 1..=4 {
        world.reload(number, |_| {});
    }
    world.run_for(secs(3));
    assert_eq!(world.reports[before..], []);
    world.assert_served(&HOME);
    world.assert_rest(20);
}

#[test]
fn an_address_that_leaves_preferred_expires_and_one_that_comes_is_served_and_the_others_stay() {
    let mut world = settled(201);
    world.reload(2, |policy| policy.groups[0].preferred.push(ServiceAddress::host(address(22))));
    world.run_until("introduced", ms(100), |world| world.holders(address(22)) == [2]);
    world.run_for(secs(1));
    let since = world.reports.len();
    world.reload(2, |policy| policy.groups[0].preferred.retain(|known| known.address != address(2)));
    world.run_until("given up", secs(1), |world| world.holders(address(2)).is_empty());
    world.run_for(secs(3));
    world.assert_served(&[HOME[0], HOME[2], (address(22), 2)]);
    let moved = moves(&world, since);
    assert!(matches!(moved.as_slice(), [(2, Report::Released { reason: Reason::Expired, .. })]), "{moved:?}");
    for (_, machine) in world.running() {
        let view = machine.node.as_ref().expect("runs").view(machine.local(world.now));
        assert!(view.groups[0].addresses.iter().all(|known| known.address != address(2)));
    }
    world.assert_rest(20);
}

#[test]
fn an_address_that_is_handed_from_one_configuration_to_another_is_never_unserved_if_the_heir_comes_first() {
    let mut world = settled(202);
    world.reload(3, |policy| policy.groups[0].preferred.push(ServiceAddress::host(address(2))));
    world.run_for(secs(1));
    assert_eq!(world.holders(address(2)), [2], "a conflict is no reason to move");
    world.reload(2, |policy| policy.groups[0].preferred.clear());
    world.run_until("moved", ms(100), |world| world.holders(address(2)) == [3]);
    world.run_for(secs(2));
    world.assert_served(&[HOME[0], HOME[2], (address(2), 3)]);
}

#[test]
fn another_service_interface_gets_the_addresses_and_the_old_one_loses_them() {
    let mut world = World::new(203, [policy(1, &[address(1)]), policy(2, &[address(2)])].map(with_scripts));
    world.boot_all();
    world.run_for(secs(5));
    world.forbids_doubles = true;
    let since = world.reports.len();
    world.reload(2, |policy| policy.groups[0].interface = "svc1".to_owned());
    world.run_until("on the other interface", ms(300), |world| {
        world.machines[&2].interfaces.get(&address(2)).is_some_and(|interface| interface == "svc1")
    });
    world.run_for(secs(2));
    world.assert_served(&[(address(1), 1), (address(2), 2)]);
    let released =
        moves(&world, since).into_iter().any(|(_, report)| matches!(report, Report::Released { reason: Reason::Reconfigured, .. }));
    assert!(released, "{:?}", moves(&world, since));
}

#[test]
fn a_group_that_is_added_begins_and_the_other_does_not_notice() {
    let mut world = settled(204);
    let since = world.reports.len();
    for number in [2, 3] {
        world.reload(number, |policy| policy.groups.insert(0, mail(40 + number)));
    }
    world.run_until("served", TIMEOUT + secs(1), |world| world.is_served(&[(address(42), 2), (address(43), 3)]));
    world.run_for(secs(2));
    assert!(world.is_served(&HOME));
    let moved = moves(&world, since);
    assert_eq!(moved.len(), 2, "{moved:?}");
    world.assert_rest(20);
}

#[test]
fn a_group_that_is_taken_out_hands_over_and_says_goodbye() {
    let mut world = World::new(205, [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[])].map(with_mail));
    world.boot_all();
    world.run_for(secs(5));
    assert!(world.is_served(&[(address(41), 1), (address(42), 2)]));
    world.forbids_doubles = true;
    let since = world.reports.len();
    world.reload(2, |policy| policy.groups.retain(|group| group.name != "mail"));
    let took = world.run_until("handed over", ms(200), |world| world.is_served(&[(address(42), 3)]));
    assert!(took < TIMEOUT / 4, "nobody waits for a timeout: {took:?}");
    world.run_for(secs(3));
    let left = world.reports[since..].iter().filter(|(_, _, report)| matches!(report, Report::HostLeft { .. })).count();
    assert_eq!(left, 2, "hosts 1 and 3 hear the goodbye in one group");
    assert!(world.reports[since..].iter().all(|(_, _, report)| !matches!(report, Report::HostSilent { .. })));
    assert!(world.is_served(&[(address(1), 1), (address(2), 2), (address(41), 1)]));
    assert_eq!(world.view_of(2).groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["www"]);
    assert_eq!(world.machines[&2].places.len(), 1);
    world.assert_rest(20);
}

fn with_mail(mut policy: NodePolicy) -> NodePolicy {
    let number = match policy.host.id.0 {
        std::net::IpAddr::V4(id) => u16::from(id.octets()[3]),
        std::net::IpAddr::V6(_) => unreachable!("simulated hosts have IPv4 ids"),
    };
    let mut group = mail(40 + number);
    if number == 3 {
        group.preferred.clear();
    }
    (group.has_acquire_script, group.has_release_script) = (true, true);
    policy.groups.insert(0, group);
    policy
}

#[test]
fn a_group_that_comes_back_is_heard_again_also_while_it_is_still_being_given_up() {
    for pause in [ms(20), secs(3)] {
        let mut world = World::new(206, [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[])].map(with_mail));
        world.machine(2).release_script = ScriptMood::Takes(ms(300));
        world.boot_all();
        world.run_for(secs(5));
        world.forbids_doubles = true;
        let all = world.machines[&2].policy.groups.clone();
        world.reload(2, |policy| policy.groups.retain(|group| group.name != "mail"));
        world.run_for(pause);
        world.reload(2, |policy| policy.groups = all);
        // A reload in between: the group that waits is configured once more.
        world.reload(2, |_| {});
        world.run_until("home again", secs(4), |world| world.is_served(&[(address(42), 2)]));
        world.run_for(secs(2));
        assert!(world.is_served(&[(address(1), 1), (address(2), 2), (address(41), 1), (address(42), 2)]));
        assert_eq!(world.machines[&2].places.len(), 2);
        world.assert_rest(20);
    }
}

#[test]
fn an_operator_who_waits_for_a_group_that_is_taken_out_is_answered() {
    let mut world = World::new(214, [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[])].map(with_mail));
    world.boot_all();
    world.run_for(secs(5));
    // The leader cannot answer.
    world.isolate(2);
    let token = world.ask(2, Request::Rebalance { group: Some("mail".to_owned()) });
    world.reload(2, |policy| policy.groups.retain(|group| group.name != "mail"));
    world.run_for(ms(100));
    let answers: Vec<_> = world.machines[&2].replies.iter().filter(|(answered, _)| *answered == token).map(|(_, answer)| answer).collect();
    assert!(matches!(answers.as_slice(), [Answer::Refused { why }] if why.contains("mail")), "{answers:?}");
}

#[test]
fn a_group_that_waits_and_is_taken_out_again_never_begins() {
    let mut world = World::new(207, [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[])].map(with_mail));
    world.machine(2).release_script = ScriptMood::Takes(ms(300));
    world.boot_all();
    world.run_for(secs(5));
    let all = world.machines[&2].policy.groups.clone();
    world.reload(2, |policy| policy.groups.retain(|group| group.name != "mail"));
    world.reload(2, |policy| policy.groups = all);
    world.reload(2, |policy| policy.groups.retain(|group| group.name != "mail"));
    world.run_for(secs(5));
    assert!(world.is_served(&[(address(42), 3)]));
    assert_eq!(world.machines[&2].places.len(), 1);
}

#[test]
fn a_daemon_that_is_stopped_while_a_group_ends_ends_as_ever() {
    let mut world = World::new(208, [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[])].map(with_mail));
    world.machine(2).release_script = ScriptMood::Takes(ms(300));
    world.boot_all();
    world.run_for(secs(5));
    let all = world.machines[&2].policy.groups.clone();
    world.reload(2, |policy| policy.groups.retain(|group| group.name != "mail"));
    world.reload(2, |policy| policy.groups = all);
    world.tell(2, Event::Stopped);
    world.reload(2, |_| {});
    world.run_for(secs(2));
    assert_eq!(world.machines[&2].exit, Some(0));
    assert!(world.machines[&2].interface.is_empty());
}

#[test]
fn a_test_that_is_added_passes_until_it_has_failed_often_enough() {
    let mut world = settled(209);
    world.reload(2, |policy| {
        policy.tests = vec![TestPolicy { name: "web".to_owned(), rise: 2, fall: 2 }];
        policy.groups[0].tests = ["web".to_owned()].into();
    });
    world.assert_no_moves(secs(2));
    let failed = || Event::Tested { test: "web".to_owned(), result: TestResult::Failed { why: "connection refused".to_owned() } };
    world.tell(2, failed());
    world.assert_no_moves(secs(1));
    world.tell(2, failed());
    world.run_until("the spare has it", ms(100), |world| world.holders(address(2)) == [4]);
    // Without the test nothing stands in the way.
    world.reload(2, |policy| {
        policy.tests.clear();
        policy.groups[0].tests.clear();
    });
    world.run_until("home", ms(200), |world| world.is_served(&HOME));
}

#[test]
fn a_host_that_becomes_an_observer_hands_over_and_a_server_again_gets_its_own_back() {
    let mut world = settled(210);
    world.forbids_doubles = true;
    world.reload(2, |policy| policy.groups[0].role = Role::Observer);
    world.run_until("handed over", ms(200), |world| world.holders(address(2)) == [4]);
    world.run_for(secs(1));
    world.reload(2, |policy| policy.groups[0].role = Role::Server);
    world.run_until("home", ms(300), |world| world.is_served(&HOME));
}

#[test]
fn another_way_of_announcing_holds_for_what_is_held() {
    let mut world = settled(211);
    world.reload(2, |policy| policy.groups[0].announce.method = AnnounceMethod::None);
    let before = world.machines[&2].announced.clone();
    world.run_for(secs(70));
    assert_eq!(world.machines[&2].announced, before, "neither a burst nor a refresh");
    world.reload(2, |policy| policy.groups[0].announce.method = AnnounceMethod::Link);
    world.run_for(secs(2));
    let announced = |machine: &crate::machine::Machine| machine.announced.get(&address(2)).copied().unwrap_or_default();
    assert_eq!(announced(&world.machines[&2]), before.get(&address(2)).copied().unwrap_or_default() + 5);
}

#[test]
fn what_a_host_says_of_itself_and_its_control_networks_may_change_without_a_move() {
    let mut world = settled(212);
    let since = world.reports.len();
    world.reload(2, |policy| {
        policy.host.name = "bertha".to_owned();
        policy.host.control.reverse();
    });
    world.run_for(secs(3));
    assert!(moves(&world, since).is_empty());
    assert!(world.view_of(1).groups[0].hosts.iter().any(|host| host.name == "bertha"));
    assert!(world.reports[since..].iter().all(|(_, _, report)| !matches!(report, Report::HostSilent { .. })));
    world.assert_rest(20);
}

/// Long enough for whatever would go wrong.
const AFTER: Duration = Duration::from_secs(3);

#[test]
fn the_zone_of_another_name_is_answered_at_once() {
    let mut world = settled(213);
    for number in 1..=4 {
        world.reload(number, |policy| {
            if let Some(zone) = &mut policy.groups[0].shared.zone {
                zone.name = "other.pool.example.".to_owned();
            }
        });
        let zone = world.machines[&number].zone.as_ref().expect("a zone");
        assert_eq!((zone.name.as_str(), zone.advertised.len()), ("other.pool.example.", 3));
    }
    world.assert_no_moves(AFTER);
}
