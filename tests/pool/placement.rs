//! What operators want of the group (move, freeze, thaw, rebalance), and where addresses go by themselves: `failback` with its
//! doubling, the spread of floating addresses, `accept`, claims that conflict.

use std::net::IpAddr;
use std::time::Duration;

use raisd::node::action::Report;
use raisd::node::event::{Answer, Event, Request, TestResult, Token};
use raisd::types::item::{Item, Reason, ServiceAddress};
use raisd::types::policy::{Assign, Failback, NodePolicy};

use crate::setup::{HEARTBEAT, HOME, TIMEOUT, address, ms, policy, pool, secs, with_test};
use crate::world::World;

fn wish(number: u16, to: Option<&str>) -> Request {
    Request::Move { group: None, item: Item::Address(address(number)), to: to.map(str::to_owned), timeout: secs(30) }
}

fn freeze(duration: Duration) -> Request {
    Request::Freeze { group: None, duration }
}

fn thaw() -> Request {
    Request::Thaw { group: None }
}

fn rebalance() -> Request {
    Request::Rebalance { group: None }
}

fn answer_of(world: &World, number: u16, token: Token) -> Option<&Answer> {
    world.machines[&number].replies.iter().find(|(replied, _)| *replied == token).map(|(_, answer)| answer)
}

/// Asks, and waits for the answer.
#[track_caller]
fn ask(world: &mut World, number: u16, request: Request) -> Result<String, String> {
    let token = world.ask(number, request);
    world.run_until("answered", secs(35), |world| answer_of(world, number, token).is_some());
    match answer_of(world, number, token) {
        Some(Answer::Done { message }) => Ok(message.clone()),
        Some(Answer::Refused { why }) => Err(why.clone()),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(world: &mut World, number: u16, request: Request, part: &str) {
    let before: Vec<_> = world.machines.iter().map(|(number, machine)| (*number, machine.interface.clone())).collect();
    match ask(world, number, request) {
        Err(why) => assert!(why.contains(part), "{why:?} does not say {part:?}"),
        Ok(message) => panic!("not refused: {message}"),
    }
    let after: Vec<_> = world.machines.iter().map(|(number, machine)| (*number, machine.interface.clone())).collect();
    assert_eq!(before, after, "what is refused moves nothing");
}

fn started(mut world: World) -> World {
    world.boot_all();
    world.run_for(secs(5));
    world.forbids_doubles = true;
    world
}

fn sharing(mut policies: Vec<NodePolicy>, change: impl Fn(&mut NodePolicy)) -> Vec<NodePolicy> {
    policies.iter_mut().for_each(change);
    policies
}

fn four() -> Vec<NodePolicy> {
    vec![policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[address(3)]), policy(4, &[])]
}

fn test_says(world: &mut World, number: u16, passes: bool) {
    let result = if passes { TestResult::Passed } else { TestResult::Failed { why: "refused".to_owned() } };
    world.tell(number, Event::Tested { test: "web".to_owned(), result });
}

// ---- move ----

#[test]
fn a_move_typed_at_any_host_is_done_by_the_leader_stays_and_is_undone_by_a_move_home() {
    // The leader, the host that has it, the one that gets it, and a third.
    for asked in 1..=4 {
        let mut world = started(pool(60));
        let message = ask(&mut world, asked, wish(2, Some("web4"))).expect("allowed");
        assert_eq!(message, "192.0.2.2 is on web4 (10.0.0.4)");
        assert!(world.now.since(raisd::types::time::Time::START) < secs(6), "it takes moments, not heartbeats by the dozen");
        let moved = [(address(1), 1), (address(2), 4), (address(3), 3)];
        world.run_for(secs(1));
        world.assert_served(&moved);
        let moves = world.count_reports(|_, report| matches!(report, Report::Decided { reason: Reason::Moved, .. }));
        assert_eq!(moves, 2, "a release and an acquire");
        world.run_for(secs(20));
        world.assert_served(&moved);
        world.assert_rest(20);
        assert!(world.view_of(3).groups[0].addresses.iter().any(|known| known.address == address(2) && known.pinned));
        let message = ask(&mut world, asked, wish(2, None)).expect("allowed");
        assert_eq!(message, "192.0.2.2 is on web2 (10.0.0.2)");
        world.run_for(secs(1));
        world.assert_served(&HOME);
        world.assert_rest(20);
        assert!(world.view_of(3).groups[0].addresses.iter().all(|known| !known.pinned), "at home nothing is out of the way");
        let message = ask(&mut world, asked, wish(2, None)).expect("nothing to do is no failure");
        assert!(message.contains("on web2 (10.0.0.2)"), "{message}");
    }
}

#[test]
fn what_was_moved_stays_while_its_host_can_serve_it_and_its_own_host_restarts() {
    let mut world = started(pool(61));
    ask(&mut world, 3, wish(2, Some("web3"))).expect("allowed");
    let moved = [(address(1), 1), (address(2), 3), (address(3), 3)];
    world.run_for(secs(1));
    world.power_off(2);
    world.run_for(secs(3));
    world.boot(2);
    world.run_for(secs(4));
    world.assert_served(&moved);
    // The leader too: that an address is to stay is known to its holder.
    world.power_off(1);
    world.run_until("the spare has what the leader had", secs(2), |world| world.holders(address(1)) == [4]);
    world.boot(1);
    world.run_for(secs(4));
    world.assert_served(&moved);
    world.power_off(3);
    world.run_until("another reason moves it", secs(2), |world| world.holders(address(2)) == [2]);
}

#[test]
fn the_leader_refuses_what_its_rules_do_not_allow_and_says_why() {
    let mut policies = four().into_iter().map(with_test).collect::<Vec<_>>();
    policies[3].groups[0].accept = vec!["192.0.2.1/32".parse().expect("a network")];
    let mut world = World::new(62, policies);
    world.boot_all();
    (1..=4).for_each(|number| test_says(&mut world, number, true));
    world.run_for(secs(5));
    world.assert_served(&HOME);
    refused(&mut world, 2, wish(9, Some("web1")), "192.0.2.9 is not known in any of these groups");
    refused(&mut world, 2, wish(1, Some("web9")), "no host \"web9\" in group www; it knows web1 (10.0.0.1), web2");
    refused(&mut world, 2, wish(2, Some("10.0.0.4")), "the accept list of web4 (10.0.0.4) does not hold 192.0.2.2");
    world.ask(3, Request::Quiesce { group: None, reason: String::new() });
    world.run_for(ms(600));
    refused(&mut world, 2, wish(2, Some("web3")), "web3 (10.0.0.3) is quiesced; `raisctl resume` there ends it");
    world.ask(3, Request::Resume { group: None });
    test_says(&mut world, 3, false);
    world.run_for(secs(2));
    refused(&mut world, 2, wish(2, Some("web3")), "web3 (10.0.0.3) is not ok");
    refused(&mut world, 4, wish(3, None), "web3 (10.0.0.3) is not ok");
    world.power_off(3);
    world.run_for(secs(2));
    refused(&mut world, 2, wish(2, Some("web3")), "web3 (10.0.0.3) is not heard");
    refused(&mut world, 4, wish(3, None), "no live host prefers 192.0.2.3; name the host that it is to go to");
    ask(&mut world, 4, freeze(secs(60))).expect("frozen");
    refused(&mut world, 2, wish(2, Some("web1")), "the group is frozen; `raisctl thaw` ends it");
    refused(&mut world, 2, rebalance(), "the group is frozen; `raisctl thaw` ends it");
    world.run_for(secs(2));
    world.assert_rest(20);
}

#[test]
fn of_two_operators_who_want_an_address_in_two_places_one_is_refused() {
    let mut world = started(pool(63));
    world.machine(2).release_script = crate::machine::ScriptMood::Takes(secs(1));
    let (one, other) = (world.ask(3, wish(2, Some("web3"))), world.ask(4, wish(2, Some("web4"))));
    let both = |world: &World| answer_of(world, 3, one).is_some() && answer_of(world, 4, other).is_some();
    world.run_until("both are answered", secs(10), both);
    world.run_for(secs(1));
    let holder = world.holders(address(2));
    let (done, refused) = match holder.as_slice() {
        [3] => (answer_of(&world, 3, one), answer_of(&world, 4, other)),
        [4] => (answer_of(&world, 4, other), answer_of(&world, 3, one)),
        holders => panic!("{holders:?}"),
    };
    assert!(matches!(done, Some(Answer::Done { .. })), "{done:?}");
    assert!(matches!(refused, Some(Answer::Refused { why }) if why.contains("as another operator wishes")), "{refused:?}");
    world.run_for(secs(2));
    world.assert_rest(20);
}

#[test]
fn a_wish_outlives_the_leader_that_heard_it() {
    // The leader dies at various moments after the wish was typed: before it has heard of it, while the address is released,
    // while it is acquired, and afterwards.
    for after in [0, 1, 2, 3, 4, 6, 8, 12, 20, 40] {
        let mut world = started(pool(64));
        world.machine(2).release_script = crate::machine::ScriptMood::Takes(ms(5));
        let token = world.ask(3, wish(2, Some("web3")));
        world.run_for(ms(after));
        world.power_off(1);
        world.run_until("answered", secs(35), |world| answer_of(world, 3, token).is_some());
        let answer = answer_of(&world, 3, token);
        assert!(matches!(answer, Some(Answer::Done { .. })), "after {after} ms: {answer:?}");
        world.run_for(secs(2));
        assert_eq!(world.holders(address(2)), [3], "after {after} ms");
        assert_eq!(world.holders(address(1)), [4], "after {after} ms");
        world.assert_rest(20);
    }
}

#[test]
fn a_wish_reaches_a_leader_that_the_asked_host_hears_only_through_another_and_so_does_the_answer() {
    let mut world = pool(65);
    for network in 0..2 {
        world.cut(1, 3, network);
    }
    let mut world = started(world);
    world.assert_served(&HOME);
    assert_eq!(world.view_of(3).groups[0].leader, Some(crate::setup::host(1)));
    let message = ask(&mut world, 3, wish(2, Some("web3"))).expect("allowed");
    assert_eq!(message, "192.0.2.2 is on web3 (10.0.0.3)");
    refused(&mut world, 3, wish(2, Some("web4x")), "no host");
    ask(&mut world, 3, freeze(secs(5))).expect("frozen");
    refused(&mut world, 3, wish(2, None), "frozen");
}

#[test]
fn a_wish_without_a_leader_ends_when_the_operators_patience_does() {
    let mut world = World::new(66, four());
    world.boot(3);
    // It has not listened long enough to lead.
    let token = world.ask(3, Request::Move { group: None, item: Item::Address(address(3)), to: None, timeout: ms(500) });
    world.run_for(ms(510));
    assert!(matches!(answer_of(&world, 3, token), Some(Answer::Refused { why }) if why.contains("nobody leads the group")));
    world.run_for(secs(3));
    assert_eq!(world.holders(address(3)), [3]);
}

#[test]
fn a_move_works_while_a_third_of_all_datagrams_is_lost() {
    let mut world = started(pool(67));
    world.forbids_doubles = false;
    world.loss = 330;
    for (to, name) in [(4, "web4"), (3, "web3"), (1, "web1")] {
        ask(&mut world, 2, wish(2, Some(name))).expect("allowed");
        world.run_for(secs(1));
        assert_eq!(world.holders(address(2)), [to]);
    }
}

// ---- freeze ----

#[test]
fn in_a_frozen_group_nothing_moves_whatever_happens_and_a_thaw_anywhere_ends_it() {
    let mut world = started(pool(70));
    let message = ask(&mut world, 3, freeze(secs(600))).expect("frozen");
    assert!(message.contains("www is frozen for 10m"), "{message}");
    assert!((1..=4).all(|number| world.view_of(number).groups[0].frozen), "everybody knows");
    world.power_off(2);
    world.run_for(secs(3));
    assert_eq!(world.holders(address(2)), [0_u16; 0], "not taken over");
    // The host that was asked and the leader both die: others have heard it.
    world.power_off(3);
    world.power_off(1);
    world.run_for(secs(5));
    assert_eq!(world.machines[&4].interface.len(), 0, "the spare takes nothing");
    // Who comes back knows nothing of it, and is told.
    for number in 1..=3 {
        world.boot(number);
    }
    world.run_for(secs(5));
    for number in 1..=3 {
        assert_eq!(world.holders(address(number)), [0_u16; 0], "not even its own");
    }
    assert!((1..=4).all(|number| world.view_of(number).groups[0].frozen));
    let message = ask(&mut world, 2, thaw()).expect("thawed");
    assert_eq!(message, "www is thawed");
    world.run_for(secs(1));
    world.assert_served(&HOME);
    assert!((1..=4).all(|number| !world.view_of(number).groups[0].frozen));
    world.run_for(secs(2));
    world.assert_rest(20);
}

#[test]
fn a_drain_that_a_freeze_holds_up_says_so() {
    let mut world = started(pool(73));
    ask(&mut world, 4, freeze(secs(600))).expect("frozen");
    refused(
        &mut world,
        2,
        Request::Drain { group: None, timeout: secs(3), reason: String::new() },
        "1 address is still here: the group is frozen",
    );
    assert_eq!(world.holders(address(2)), [2]);
}

#[test]
fn a_freeze_ends_by_itself() {
    let mut world = started(pool(71));
    ask(&mut world, 4, freeze(secs(10))).expect("frozen");
    world.power_off(2);
    world.run_for(secs(8));
    assert_eq!(world.holders(address(2)), [0_u16; 0]);
    world.run_until("the time has ended", secs(3), |world| world.holders(address(2)) == [4]);
    let thawed = world.count_reports(|_, report| matches!(report, Report::Thawed { by: None }));
    assert_eq!(thawed, 3, "each that runs says so once");
    world.run_for(secs(2));
    world.assert_rest(20);
}

#[test]
fn in_a_frozen_group_a_failing_host_keeps_what_it_serves_and_duplicates_are_settled() {
    let mut world = World::new(72, four().into_iter().map(with_test));
    world.boot_all();
    (1..=4).for_each(|number| test_says(&mut world, number, true));
    world.run_for(secs(5));
    ask(&mut world, 1, freeze(secs(60))).expect("frozen");
    test_says(&mut world, 2, false);
    world.assert_no_moves(secs(5));
    world.add_by_hand(4, address(3));
    world.run_until("settled", secs(2), |world| world.holders(address(3)) == [3]);
    world.run_for(secs(1));
    ask(&mut world, 1, thaw()).expect("thawed");
    world.run_until("what fails moves", secs(2), |world| world.holders(address(2)) == [4]);
}

#[test]
fn a_frozen_side_and_a_thawed_side_agree_when_they_meet() {
    let mut world = started(pool(73));
    world.forbids_doubles = false;
    ask(&mut world, 1, freeze(secs(600))).expect("frozen");
    world.run_for(ms(100));
    for one in [1, 2] {
        for other in [3, 4] {
            (0..2).for_each(|network| world.cut(one, other, network));
        }
    }
    world.run_for(secs(3));
    ask(&mut world, 4, thaw()).expect("thawed on its side");
    world.cuts.clear();
    world.run_for(secs(3));
    assert!((1..=4).all(|number| !world.view_of(number).groups[0].frozen), "the newest word counts");
    world.assert_served(&HOME);
}

#[test]
fn a_freeze_typed_at_a_host_that_has_joined_after_a_thaw_counts() {
    let mut world = pool(74);
    for number in [1, 2, 4] {
        world.boot(number);
    }
    world.run_for(secs(4));
    for _ in 0..3 {
        ask(&mut world, 1, freeze(secs(60))).expect("frozen");
        ask(&mut world, 1, thaw()).expect("thawed");
    }
    world.run_for(secs(2));
    world.boot(3);
    world.run_for(secs(4));
    world.assert_served(&HOME);
    ask(&mut world, 3, freeze(secs(60))).expect("frozen");
    world.power_off(2);
    world.assert_no_moves(secs(3));
}

#[test]
fn two_operators_who_want_opposites_come_to_an_end() {
    let mut world = started(pool(75));
    let (one, other) = (world.ask(2, freeze(secs(60))), world.ask(3, thaw()));
    let both = |world: &World| answer_of(world, 2, one).is_some() && answer_of(world, 3, other).is_some();
    world.run_until("both are answered", secs(10), both);
    world.run_for(secs(1));
    let frozen: Vec<bool> = (1..=4).map(|number| world.view_of(number).groups[0].frozen).collect();
    assert!(frozen.iter().all(|one| *one == frozen[0]), "{frozen:?}");
    world.run_for(secs(2));
    world.assert_rest(20);
}

// ---- failback ----

fn with_failback(failback: Failback) -> Vec<NodePolicy> {
    let policies = four().into_iter().map(with_test).collect();
    sharing(policies, |policy| policy.groups[0].shared.failback = failback)
}

/// Lets the test of host 2 fail and pass; says how long its address then takes home.
fn fail_and_recover(world: &mut World) -> Duration {
    test_says(world, 2, false);
    world.run_until("taken over", secs(3), |world| world.holders(address(2)) == [4]);
    world.run_for(secs(1));
    test_says(world, 2, true);
    world.run_until("home", secs(400), |world| world.holders(address(2)) == [2])
}

#[test]
fn each_quick_return_doubles_the_next_wait_up_to_five_minutes_and_status_says_so() {
    let mut world = World::new(80, with_failback(Failback::After(secs(2))));
    world.boot_all();
    (1..=4).for_each(|number| test_says(&mut world, number, true));
    world.run_for(secs(5));
    world.forbids_doubles = true;
    for (round, expected) in [2, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].into_iter().enumerate() {
        if round == 4 {
            // Another leads from here on, and then the first again: what counts travels.
            world.power_off(1);
            world.run_for(secs(3));
            world.boot(1);
            test_says(&mut world, 1, true);
            world.run_for(secs(5));
        }
        for (_, machine) in world.running() {
            let view = machine.node.as_ref().expect("runs").view(machine.local(world.now));
            let known = view.groups[0].addresses.iter().find(|known| known.address == address(2)).expect("known");
            assert_eq!(known.failback_ms, Some(expected * 1000), "round {round}");
            assert_eq!(known.failback_doublings, u32::try_from(round).expect("small").saturating_sub(1), "round {round}");
        }
        let took = fail_and_recover(&mut world);
        let limits = secs(expected)..secs(expected) + ms(300);
        assert!(limits.contains(&took), "round {round}: {took:?} instead of {expected} s");
        world.run_for(ms(600));
    }
    // It lasts: the next return waits no longer than the first.
    world.run_for(secs(601));
    let took = fail_and_recover(&mut world);
    assert!((secs(2)..secs(2) + ms(300)).contains(&took), "{took:?}");
}

#[test]
fn a_failure_shorter_than_a_heartbeat_is_a_failure() {
    for phase in 0..10 {
        let mut world = World::new(84, with_failback(Failback::After(secs(2))));
        world.boot_all();
        (1..=4).for_each(|number| test_says(&mut world, number, true));
        world.run_for(secs(5) + ms(10) * phase);
        test_says(&mut world, 2, false);
        world.run_until("taken over", ms(60), |world| world.holders(address(2)) == [4]);
        test_says(&mut world, 2, true);
        let took = world.run_until("home", secs(4), |world| world.holders(address(2)) == [2]);
        assert!(took >= secs(2), "phase {phase}: home after {took:?}");
    }
}

#[test]
fn while_a_host_waits_for_its_own_status_says_for_how_long() {
    let mut world = World::new(81, with_failback(Failback::After(secs(20))));
    world.boot_all();
    (1..=4).for_each(|number| test_says(&mut world, number, true));
    world.run_for(secs(30));
    test_says(&mut world, 2, false);
    world.run_for(secs(2));
    test_says(&mut world, 2, true);
    world.run_for(secs(5));
    for number in 1..=4 {
        let view = world.view_of(number);
        let known = view.groups[0].addresses.iter().find(|known| known.address == address(2)).expect("known");
        let left = known.failback_remaining_ms.expect("it waits");
        assert!((14_000..=16_000).contains(&left), "{left}");
        assert!(known.reason.contains("is well and gets it back in 15 s") || known.reason.contains("in 16 s"), "{}", known.reason);
    }
    world.run_until("home", secs(16), |world| world.holders(address(2)) == [2]);
}

#[test]
fn an_operator_who_takes_a_host_away_again_and_again_is_not_punished() {
    let mut world = started(World::new(82, four()));
    for _ in 0..5 {
        world.ask(2, Request::Drain { group: None, timeout: secs(5), reason: String::new() });
        world.run_until("drained", secs(2), |world| world.holders(address(2)) == [4]);
        world.run_for(secs(1));
        world.ask(2, Request::Resume { group: None });
        world.run_until("home at once", ms(300), |world| world.holders(address(2)) == [2]);
        world.run_for(secs(1));
        world.tell(2, Event::Stopped);
        world.run_for(secs(3));
        world.boot(2);
        world.run_until("home once it has listened", TIMEOUT + HEARTBEAT * 3, |world| world.holders(address(2)) == [2]);
        world.run_for(secs(1));
    }
}

#[test]
fn with_failback_never_an_address_stays_away_until_an_operator_sends_it_home() {
    let mut world = World::new(83, with_failback(Failback::Never));
    world.boot_all();
    (1..=4).for_each(|number| test_says(&mut world, number, true));
    world.run_for(secs(5));
    test_says(&mut world, 2, false);
    world.run_for(secs(2));
    test_says(&mut world, 2, true);
    world.run_for(secs(60));
    assert_eq!(world.holders(address(2)), [4]);
    let view = world.view_of(1);
    let known = view.groups[0].addresses.iter().find(|known| known.address == address(2)).expect("known");
    assert_eq!((known.failback_ms, known.failback_remaining_ms), (None, None));
    assert!(known.reason.contains("failback is never"), "{}", known.reason);
    world.assert_rest(20);
    ask(&mut world, 4, wish(2, None)).expect("allowed");
    assert_eq!(world.holders(address(2)), [2]);
}

// ---- floating addresses ----

fn floating(count: u16) -> Vec<ServiceAddress> {
    (100..100 + count).map(|number| ServiceAddress::host(address(number))).collect()
}

fn spares(hosts: u16, floats: u16, change: impl Fn(&mut NodePolicy)) -> Vec<NodePolicy> {
    let policies = (1..=hosts).map(|number| policy(number, &[])).collect();
    sharing(policies, |policy| {
        policy.groups[0].floating = floating(floats);
        change(policy);
    })
}

/// How many floating addresses each machine has.
fn counts(world: &World) -> Vec<usize> {
    world.machines.values().map(|machine| machine.interface.len()).collect()
}

fn placement(world: &World, floats: u16) -> Vec<(IpAddr, Vec<u16>)> {
    floating(floats).into_iter().map(|floating| (floating.address, world.holders(floating.address))).collect()
}

fn is_even(world: &World, floats: u16) -> bool {
    let runs: Vec<usize> = world.running().map(|(_, machine)| machine.interface.len()).collect();
    let (least, most) = (runs.iter().min().copied().unwrap_or(0), runs.iter().max().copied().unwrap_or(0));
    placement(world, floats).iter().all(|(_, holders)| holders.len() == 1) && most - least <= 1
}

#[test]
fn floating_addresses_stay_even_with_least_movement_and_a_joining_host_shuffles_nothing() {
    for assign in [Assign::Random, Assign::Fair, Assign::LeastLoaded] {
        let mut world = World::new(90, spares(4, 10, |policy| policy.groups[0].shared.assign = assign));
        for number in 1..=3 {
            world.boot(number);
        }
        world.run_until("even", secs(5), |world| is_even(world, 10));
        world.run_for(secs(2));
        let before = placement(&world, 10);
        world.boot(4);
        world.assert_no_moves(secs(5));
        assert_eq!(counts(&world)[3], 0, "{assign:?}: a joining host is given nothing that is held");
        // What a host leaves goes where the fewest are, and nothing else moves.
        world.power_off(2);
        world.run_until("served", secs(3), |world| placement(world, 10).iter().all(|(_, holders)| holders.len() == 1));
        let after = placement(&world, 10);
        for ((address, was), (_, is)) in before.iter().zip(&after) {
            assert!(was == is || *was == [2], "{assign:?}: {address} moved without need");
        }
        let mut held = counts(&world);
        held.remove(1);
        let (least, most) = (*held.iter().min().expect("some"), *held.iter().max().expect("some"));
        assert!(most - least <= 1, "{assign:?}: {held:?}");
        world.run_for(secs(2));
        world.assert_rest(20);
    }
}

#[test]
fn rebalance_evens_out_once_with_the_fewest_moves_and_says_how_many() {
    let mut world = World::new(91, spares(4, 8, |_| {}));
    world.boot(1);
    world.run_for(secs(4));
    (2..=4).for_each(|number| world.boot(number));
    world.run_for(secs(5));
    assert_eq!(counts(&world), [8, 0, 0, 0]);
    world.forbids_doubles = true;
    let message = ask(&mut world, 3, rebalance()).expect("done");
    assert_eq!(message, "www: floating addresses are evened out; 6 move");
    world.run_until("even", secs(2), |world| is_even(world, 8));
    world.run_for(secs(2));
    let moved = world.count_reports(|_, report| matches!(report, Report::Released { reason: Reason::Rebalanced, .. }));
    assert_eq!((moved, counts(&world)), (6, vec![2, 2, 2, 2]));
    let message = ask(&mut world, 4, rebalance()).expect("done");
    assert_eq!(message, "www: the floating addresses are even; nothing moves");
    world.run_for(secs(2));
    world.assert_rest(20);
}

#[test]
fn an_uneven_pool_is_evened_out_after_rebalance_has_passed_and_not_before() {
    let mut world = World::new(92, spares(3, 6, |policy| policy.groups[0].shared.rebalance = Some(secs(20))));
    world.boot(2);
    world.run_for(secs(4));
    world.boot(1);
    world.boot(3);
    world.run_for(secs(3));
    assert_eq!(counts(&world), [0, 6, 0]);
    world.forbids_doubles = true;
    world.assert_no_moves(secs(15));
    world.run_until("even", secs(8), |world| is_even(world, 6));
    assert_eq!(counts(&world), [2, 2, 2]);
    world.run_for(secs(2));
    world.assert_no_moves(secs(60));
}

#[test]
fn an_operators_move_of_a_floating_address_is_kept_until_he_evens_out() {
    let mut world = World::new(93, spares(3, 3, |policy| policy.groups[0].shared.rebalance = Some(secs(5))));
    world.boot_all();
    world.run_until("even", secs(5), |world| is_even(world, 3));
    let holder = world.holders(address(100))[0];
    let other = holder % 3 + 1;
    let to = format!("web{other}");
    ask(&mut world, 1, wish(100, Some(&to))).expect("allowed");
    world.run_for(secs(1));
    assert_eq!(world.holders(address(100)), [other]);
    world.run_for(secs(30));
    assert_eq!(world.holders(address(100)), [other], "what was moved on purpose is not moved back by itself");
}

#[test]
fn hosts_are_given_only_what_they_accept() {
    let mut policies = spares(3, 6, |_| {});
    policies[0].groups[0].accept = vec!["192.0.2.100/31".parse().expect("a network")];
    policies[1].groups[0].accept = vec!["192.0.2.100/30".parse().expect("a network")];
    let mut world = World::new(94, policies);
    world.boot_all();
    world.run_until("served", secs(5), |world| placement(world, 6).iter().all(|(_, holders)| holders.len() == 1));
    for (address, holders) in placement(&world, 6) {
        let IpAddr::V4(last) = address else { panic!("{address}") };
        let may: &[u16] = match last.octets()[3] {
            100 | 101 => &[1, 2],
            102 | 103 => &[2],
            _ => &[3],
        };
        assert!(may.contains(&holders[0]), "{address} on {holders:?}");
    }
    world.power_off(3);
    world.run_for(secs(3));
    assert_eq!(world.holders(address(104)), [0_u16; 0], "nobody else accepts it");
    assert_eq!(world.holders(address(105)), [0_u16; 0]);
    world.run_for(secs(2));
    world.assert_rest(20);
}

// ---- claims that conflict ----

#[test]
fn of_two_hosts_that_claim_one_address_the_lower_gets_it_and_the_other_when_that_fails_and_nobody_fights() {
    let mut world = started(World::new(95, [policy(1, &[address(1)]), policy(2, &[address(9)]), policy(3, &[address(9)]), policy(4, &[])]));
    assert_eq!(world.holders(address(9)), [2]);
    let told = world.count_reports(|number, report| number == 1 && matches!(report, Report::Conflict { .. }));
    assert_eq!(told, 1, "told once");
    world.run_for(secs(5));
    world.assert_rest(20);
    world.power_off(2);
    world.run_until("the other claims it", secs(2), |world| world.holders(address(9)) == [3]);
    world.boot(2);
    world.run_for(secs(5));
    assert_eq!(world.holders(address(9)), [3], "of several the one that holds it");
    world.assert_rest(20);
    ask(&mut world, 4, wish(9, Some("web2"))).expect("allowed");
    world.run_for(secs(5));
    assert_eq!(world.holders(address(9)), [2]);
    world.assert_rest(20);
}
