//! Tests fail, scripts fail or hang, the kernel refuses, addresses come and go by hand.

use raisd::node::action::Report;
use raisd::node::event::{Event, KernelChange, Link, Mark, TestResult};
use raisd::types::item::{Item, Reason};
use raisd::types::policy::AllFailed;

use crate::machine::{KernelMood, ScriptMood};
use crate::setup::{HOME, TIMEOUT, address, ms, policy, pool, secs, with_scripts, with_test};
use crate::world::World;

fn passed() -> Event {
    Event::Tested { test: "web".to_owned(), result: TestResult::Passed }
}

fn failed() -> Event {
    Event::Tested { test: "web".to_owned(), result: TestResult::Failed { why: "connection refused".to_owned() } }
}

/// The usual pool with a test on each host.
fn tested(seed: u64) -> World {
    let policies = [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[address(3)]), policy(4, &[])];
    let mut world = World::new(seed, policies.map(with_test));
    world.boot_all();
    for number in 1..=4 {
        world.tell(number, passed());
    }
    world.run_for(secs(5));
    world.assert_served(&HOME);
    world
}

fn scripted(seed: u64) -> World {
    let policies = [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[address(3)]), policy(4, &[])];
    World::new(seed, policies.map(with_scripts))
}

#[test]
fn a_test_fails_on_one_host_and_it_gets_its_own_back_when_the_test_recovers() {
    for failing in [1, 2] {
        let mut world = tested(60);
        world.forbids_doubles = true;
        let infos = world.machines[&failing].infos_sent;
        world.tell(failing, failed());
        let mut moved = HOME;
        moved[usize::from(failing) - 1].1 = 4;
        world.run_until("the spare has it", ms(50), |world| world.is_served(&moved));
        world.tell(failing, failed());
        world.run_for(secs(10));
        world.assert_served(&moved);
        assert!(world.machines[&failing].infos_sent >= infos + 40, "it goes on sending info");
        let told = world.count_reports(|number, report| number == failing && matches!(report, Report::TestFailed { .. }));
        assert_eq!(told, 1, "once per episode");
        world.assert_rest(20);
        world.tell(failing, passed());
        world.run_until("home", ms(50), |world| world.is_served(&HOME));
        world.run_for(secs(3));
        world.assert_served(&HOME);
        world.assert_rest(20);
    }
}

#[test]
fn every_host_fails_its_tests_and_all_release() {
    let mut world = tested(61);
    for number in 1..=4 {
        world.tell(number, failed());
    }
    world.run_for(ms(100));
    assert!(HOME.iter().all(|(address, _)| world.holders(*address).is_empty()));
    world.run_for(secs(2));
    world.assert_rest(20);
    world.tell(3, passed());
    world.run_for(ms(100));
    assert!(world.is_served(&HOME.map(|(address, _)| (address, 3))));
}

#[test]
fn with_all_failed_keep_a_failing_holder_waits_for_an_eligible_host() {
    let policies = [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[])].map(with_test).map(|mut policy| {
        policy.groups[0].shared.all_failed = AllFailed::Keep;
        policy
    });
    let mut world = World::new(62, policies);
    world.boot_all();
    for number in 1..=3 {
        world.tell(number, passed());
    }
    world.run_for(secs(5));
    world.forbids_doubles = true;
    world.tell(3, failed());
    world.run_for(secs(1));
    world.tell(2, failed());
    world.run_for(secs(1));
    world.tell(1, failed());
    world.run_for(secs(3));
    for address in [address(1), address(2)] {
        assert_eq!(world.holders(address).len(), 1, "{address} is kept");
    }
    world.assert_rest(20);
    world.tell(3, passed());
    world.run_until("the host that recovers gets all", ms(100), |world| world.is_served(&[(address(1), 3), (address(2), 3)]));
}

#[test]
fn an_acquire_script_fails_and_the_address_is_served_elsewhere_without_a_loop() {
    let mut world = scripted(63);
    world.forbids_doubles = true;
    world.machine(2).acquire_script = ScriptMood::Fails;
    world.boot_all();
    let elsewhere = [(address(1), 1), (address(2), 4), (address(3), 3)];
    world.run_until("the spare has it", secs(2), |world| world.is_served(&elsewhere));
    world.run_for(secs(600));
    let failed = world.count_reports(|number, report| number == 2 && matches!(report, Report::AcquireFailed { .. }));
    assert!((5..=9).contains(&failed), "back-off from 5 s to 5 min: {failed} in ten minutes");
    world.machine(2).acquire_script = ScriptMood::Takes(ms(3));
    world.run_for(secs(301));
    world.run_for(secs(3));
    world.assert_served(&HOME);
    world.assert_rest(20);
}

#[test]
fn an_acquire_script_hangs_and_the_others_are_undisturbed() {
    let mut world = scripted(64);
    world.forbids_doubles = true;
    world.machine(2).acquire_script = ScriptMood::Hangs;
    world.boot_all();
    world.run_for(secs(3));
    assert!(world.is_served(&[(address(1), 1), (address(3), 3)]));
    world.run_for(secs(31));
    assert!(world.is_served(&[(address(1), 1), (address(2), 4), (address(3), 3)]));
}

#[test]
fn everybodys_acquire_script_fails_and_it_is_tried_again_when_a_back_off_ends() {
    let mut world = scripted(65);
    for number in 1..=4 {
        world.machine(number).acquire_script = ScriptMood::Fails;
    }
    world.boot_all();
    world.run_for(secs(4));
    let told = world.count_reports(|_, report| matches!(report, Report::CannotAssign { .. }));
    assert_eq!(told, 3, "once per address and episode");
    world.machine(4).acquire_script = ScriptMood::Takes(ms(3));
    world.run_until("the spare serves all", secs(6), |world| world.is_served(&HOME.map(|(address, _)| (address, 4))));
}

#[test]
fn a_release_script_fails_or_hangs_and_the_address_goes_off_whatever_it_did() {
    for mood in [ScriptMood::Fails, ScriptMood::Hangs] {
        let mut world = scripted(66);
        world.forbids_doubles = true;
        world.machine(4).release_script = mood;
        world.boot_all();
        world.run_for(secs(5));
        world.power_off(2);
        world.run_for(secs(5));
        assert_eq!(world.holders(address(2)), [4]);
        world.boot(2);
        world.run_until("home", secs(35), |world| world.is_served(&HOME));
        let told = world.count_reports(|number, report| number == 4 && matches!(report, Report::ReleaseFailed { .. }));
        assert_eq!(told, 1);
        world.run_for(secs(3));
        world.assert_served(&HOME);
        world.assert_rest(20);
    }
}

#[test]
fn the_kernel_refuses_an_address_and_it_is_served_elsewhere() {
    let mut world = pool(67);
    world.machine(2).kernel = KernelMood::RefusesToAdd;
    world.boot_all();
    world.run_for(secs(3));
    world.assert_served(&[(address(1), 1), (address(2), 4), (address(3), 3)]);
    world.machine(2).kernel = KernelMood::Works;
    world.run_for(secs(20));
    world.assert_served(&HOME);
}

#[test]
fn the_kernel_refuses_to_let_an_address_go_and_it_is_tried_again_at_each_heartbeat() {
    let mut world = pool(68);
    world.boot_all();
    world.run_for(secs(5));
    world.forbids_doubles = true;
    world.machine(2).kernel = KernelMood::RefusesToRemove;
    world.ask(2, raisd::node::event::Request::Drain { group: None, timeout: secs(60), reason: String::new() });
    world.run_for(secs(10));
    assert_eq!(world.holders(address(2)), [2], "nobody takes what is still there");
    let told = world.count_reports(|_, report| matches!(report, Report::ReleaseFailed { .. }));
    assert_eq!(told, 1, "once");
    world.machine(2).kernel = KernelMood::Works;
    world.run_until("the spare has it", ms(300), |world| world.is_served(&[(address(2), 4)]));
}

#[test]
fn two_holders_are_made_by_hand_and_the_right_one_is_left() {
    for (by_hand, kept) in [(3, 2), (4, 2), (1, 2)] {
        let mut world = pool(69);
        world.boot_all();
        world.run_for(secs(5));
        let announced = world.machines[&kept].announced[&address(2)];
        world.add_by_hand(by_hand, address(2));
        world.run_until("one is left", ms(50), |world| world.is_served(&HOME));
        world.run_for(secs(3));
        world.assert_served(&HOME);
        assert!(world.machines[&kept].announced[&address(2)] >= announced + 4, "it announces itself");
        world.assert_rest(20);
    }
}

#[test]
fn an_address_that_is_put_by_hand_on_a_host_that_cannot_serve_goes_off_again() {
    let mut world = tested(70);
    world.tell(3, failed());
    world.run_for(secs(3));
    world.add_by_hand(3, address(3));
    world.run_for(secs(1));
    world.assert_served(&[(address(1), 1), (address(2), 2), (address(3), 4)]);
}

#[test]
fn an_address_that_is_put_by_hand_on_a_host_that_stops_does_not_keep_it_from_ending() {
    let mut world = scripted(71);
    world.boot_all();
    world.run_for(secs(5));
    world.machine(2).release_script = ScriptMood::Takes(secs(1));
    world.tell(2, Event::Stopped);
    world.run_for(ms(500));
    world.add_by_hand(2, address(3));
    world.run_until("it ends", secs(1), |world| world.machines[&2].exit == Some(0));
}

#[test]
fn an_address_that_loses_its_mark_while_it_is_held_is_marked_again() {
    let mut world = pool(76);
    world.boot_all();
    world.run_for(secs(5));
    world.add_by_hand(2, address(2));
    world.run_for(ms(5));
    let marks: Vec<_> = world.machines[&2].interface.values().collect();
    assert_eq!(marks, [&Mark::Ours]);
    world.power_off(4);
    world.ask(2, raisd::node::event::Request::Drain { group: None, timeout: secs(5), reason: String::new() });
    world.run_for(secs(1));
    assert!(world.machines[&2].interface.is_empty(), "so it goes off when it is given up");
}

#[test]
fn an_address_that_is_removed_by_hand_comes_back() {
    let mut world = pool(72);
    world.boot_all();
    world.run_for(secs(5));
    let announced = world.machines[&2].announced[&address(2)];
    world.remove_by_hand(2, address(2));
    world.run_until("it is back", ms(5), |world| world.is_served(&HOME));
    world.run_for(secs(3));
    world.assert_served(&HOME);
    assert!(world.machines[&2].announced[&address(2)] >= announced + 4, "and is announced");
}

#[test]
fn an_address_that_is_removed_again_and_again_is_given_to_another_host() {
    let mut world = pool(73);
    world.boot_all();
    world.run_for(secs(5));
    for _ in 0..4 {
        assert_eq!(world.holders(address(2)), [2]);
        world.remove_by_hand(2, address(2));
        world.run_for(secs(1));
    }
    world.assert_served(&[(address(1), 1), (address(2), 4), (address(3), 3)]);
    let item = Item::Address(address(2));
    let given_up = Report::Released { item, epoch: raisd::types::item::Epoch(1), reason: Reason::RemovedByOthers };
    assert_eq!(world.count_reports(|number, report| number == 2 && *report == given_up), 1);
}

#[test]
fn the_service_interface_goes_down_and_comes_back() {
    let mut world = pool(74);
    world.boot_all();
    world.run_for(secs(5));
    let interface = "svc0".to_owned();
    world.tell(2, Event::Kernel(KernelChange::Link { interface: interface.clone(), link: Link::Down }));
    world.run_until("the spare has it", ms(50), |world| world.is_served(&[(address(2), 4)]));
    world.tell(2, Event::Kernel(KernelChange::Link { interface, link: Link::Up { mac: None } }));
    world.run_until("home", ms(50), |world| world.is_served(&HOME));
    world.run_for(TIMEOUT * 3);
    world.assert_rest(20);
}

#[test]
fn an_acquire_is_overtaken_by_a_failed_test_while_its_script_runs() {
    let mut world = World::new(75, [policy(1, &[address(1)]), policy(2, &[])].map(with_scripts).map(with_test));
    world.forbids_doubles = true;
    world.machine(1).acquire_script = ScriptMood::Takes(secs(5));
    world.boot_all();
    world.tell(1, passed());
    world.tell(2, passed());
    world.run_for(secs(2));
    assert_eq!(world.holders(address(1)), [1], "acquiring");
    world.tell(1, failed());
    world.run_for(secs(1));
    assert_eq!(world.holders(address(1)), [1], "the script is not disturbed");
    world.run_until("the spare has it", secs(5), |world| world.is_served(&[(address(1), 2)]));
    world.run_for(secs(3));
    world.assert_rest(20);
}
