//! What `explain` says is held against what then happens: to whom an address goes, and when.

use std::net::IpAddr;
use std::time::Duration;

use raisd::node::action::Report;
use raisd::node::event::{Answer, Event, Request, TestResult};
use raisd::types::explanation::{AddressExplanation, GroupExplanation, MemberExplanation, Next, NextWord, RuleWord};
use raisd::types::policy::{Assign, Failback, NodePolicy};

use crate::machine::ScriptMood;
use crate::setup::{HOME, TIMEOUT, address, host, ms, policy, pool, secs, with_scripts, with_test};
use crate::world::World;

fn ask(world: &mut World, number: u16, subject: &str) -> GroupExplanation {
    world.ask(number, Request::Explain { group: None, subject: subject.to_owned() });
    let answer = &world.machines[&number].replies.last().expect("answered").1;
    let Answer::Explained(explanation) = answer else { panic!("{answer:?}") };
    explanation.groups.first().expect("a group").clone()
}

fn of_address(world: &mut World, number: u16, address: IpAddr) -> AddressExplanation {
    ask(world, number, &address.to_string()).address.expect("an address")
}

fn of_host(world: &mut World, number: u16, name: &str) -> MemberExplanation {
    ask(world, number, name).member.expect("a host")
}

fn number_of(host: raisd::types::host::HostId) -> u16 {
    (1..=9).find(|number| crate::setup::host(*number) == host).expect("a simulated host")
}

fn next_of(explanation: &AddressExplanation, what: NextWord) -> &Next {
    explanation.next.iter().find(|next| next.what == what).unwrap_or_else(|| panic!("no {what:?}: {explanation:#?}"))
}

fn left(next: &Next) -> Duration {
    ms(next.in_ms.expect("by the clock"))
}

/// Several addresses to a host, so that the choice is not the only one possible.
fn crowded(seed: u64, assign: Assign) -> World {
    let policies =
        [policy(1, &[address(1), address(11)]), policy(2, &[address(2), address(12), address(22)]), policy(3, &[]), policy(4, &[])];
    World::new(
        seed,
        policies.map(|mut policy| {
            policy.groups[0].shared.assign = assign;
            policy
        }),
    )
}

#[test]
fn where_an_address_goes_when_its_holder_dies_is_foretold_by_every_host() {
    for (seed, assign) in [(500, Assign::Random), (501, Assign::Fair), (502, Assign::LeastLoaded), (503, Assign::Random)] {
        for dead in [1, 2] {
            let mut world = crowded(seed, assign);
            world.boot_all();
            world.run_for(secs(5));
            let held: Vec<IpAddr> =
                [1, 2, 11, 12, 22].map(address).into_iter().filter(|address| world.holders(*address) == [dead]).collect();
            let mut foretold = Vec::new();
            for address in held {
                let told: Vec<_> = (1..=4).map(|by| of_address(&mut world, by, address)).collect();
                for explanation in &told {
                    assert_eq!(explanation.rule, RuleWord::StaysAtHome);
                    assert_eq!(explanation.what_if, told[0].what_if, "all hosts say the same of {address}");
                    assert_eq!(explanation.what_if[0].dies.id, host(dead));
                }
                foretold.push((address, number_of(told[0].what_if[0].to.as_ref().expect("somebody").id)));
            }
            let of_the_dead = of_host(&mut world, 3, &format!("web{dead}"));
            assert_eq!(of_the_dead.what_if.len(), foretold.len());
            world.power_off(dead);
            world.run_until("all is where it was said to go", TIMEOUT + ms(400), |world| world.is_served(&foretold));
        }
    }
}

#[test]
fn a_host_that_does_not_lead_says_so() {
    let mut world = pool(504);
    world.boot_all();
    world.run_for(secs(5));
    assert_eq!(ask(&mut world, 1, "192.0.2.2").caveat, None);
    let told = ask(&mut world, 3, "192.0.2.2");
    assert!(told.caveat.expect("a caveat").contains("asked at web3, which follows web1"));
    assert_eq!(told.leader.expect("a leader").id, host(1));
}

#[test]
fn the_evidence_has_its_age_and_where_it_was_heard() {
    let mut world = pool(505);
    world.boot_all();
    world.run_for(secs(5));
    let told = of_address(&mut world, 1, address(2));
    let evidence = &told.evidence[0];
    assert_eq!((evidence.host.id, evidence.host.name.as_str()), (host(2), "web2"));
    assert!(evidence.age_ms.expect("an age") <= 250);
    assert_eq!(evidence.heard_on, [IpAddr::from([10, 0, 0, 1]), [10, 1, 0, 1].into()]);
    assert_eq!(evidence.says, "says ok, holds it online for 3 s, epoch 1, its kernel has it");
    world.cut(1, 2, 1);
    world.run_for(secs(2));
    assert_eq!(of_address(&mut world, 1, address(2)).evidence[0].heard_on, [IpAddr::from([10, 0, 0, 1])]);
}

#[test]
fn the_end_of_a_back_off_is_foretold() {
    let policies = [policy(1, &[address(1)]), policy(2, &[address(2)])].map(with_scripts);
    let mut world = World::new(506, policies);
    world.machine(2).acquire_script = ScriptMood::Fails;
    world.boot_all();
    world.run_until("away", secs(3), |world| world.is_served(&[(address(2), 1)]));
    world.run_for(secs(1));
    let told = of_address(&mut world, 1, address(2));
    assert_eq!(
        (told.rule, told.because.as_str()),
        (RuleWord::StaysAway, "web1 keeps it: its preferred host web2 has failed to take it and is in back-off")
    );
    assert_eq!(told.changes[0], "the back-off of web2 ends (mend its acquire script first; its log says what failed): it goes home");
    let ends = left(next_of(&told, NextWord::BackOffEnds));
    assert!(ends > secs(2) && ends < secs(5), "{ends:?}");
    world.machine(2).acquire_script = ScriptMood::Takes(ms(3));
    let took = world.run_until("home", secs(10), |world| world.is_served(&[(address(2), 2)]));
    assert!(took >= ends && took < ends + ms(300), "said {ends:?}, took {took:?}");
}

fn with(policy: NodePolicy, change: impl Fn(&mut raisd::types::policy::SharedPolicy)) -> NodePolicy {
    let mut policy = policy;
    change(&mut policy.groups[0].shared);
    policy
}

#[test]
fn the_time_of_failback_is_foretold() {
    let slow = |policy| with(policy, |shared| shared.failback = Failback::After(secs(20)));
    let mut world = World::new(507, [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[])].map(slow));
    world.boot_all();
    world.run_for(secs(30));
    world.power_off(2);
    world.run_for(secs(3));
    let told = of_address(&mut world, 1, address(2));
    assert_eq!(
        (told.rule, told.because.as_str()),
        (RuleWord::StaysPut, "web3 keeps it: no live host prefers it; web2, which prefers it, is away")
    );
    world.boot(2);
    world.run_for(secs(5));
    let told = of_address(&mut world, 1, address(2));
    assert_eq!(
        (told.rule, told.because.as_str()),
        (RuleWord::StaysAway, "web3 keeps it: its preferred host web2 has not been well for 20 s yet (failback)")
    );
    let due = left(next_of(&told, NextWord::FailbackDue));
    let took = world.run_until("home", secs(30), |world| world.is_served(&HOME[..2]));
    assert!(took + ms(1) >= due && took < due + ms(500), "said {due:?}, took {took:?}");
}

#[test]
fn the_end_of_an_orphan_is_foretold() {
    let mortal = |policy| with(policy, |shared| shared.orphan_lifetime = secs(100));
    let mut world = World::new(508, [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[])].map(mortal));
    world.boot_all();
    world.run_for(secs(5));
    world.power_off(2);
    world.run_for(secs(30));
    let ends = left(next_of(&of_address(&mut world, 3, address(2)), NextWord::OrphanExpires));
    let took = world.run_until("gone", secs(100), |world| world.holders(address(2)).is_empty());
    assert!(took + ms(1) >= ends && took < ends + ms(500), "said {ends:?}, took {took:?}");
    let told = of_address(&mut world, 3, address(2));
    assert_eq!(told.rule, RuleWord::Unknown);
}

#[test]
fn nobody_can_take_it_and_each_host_is_shown_with_its_reason() {
    let policies = [policy(1, &[address(1)]), policy(2, &[address(2)])].map(with_test);
    let mut world = World::new(509, policies);
    world.boot_all();
    for number in [1, 2] {
        world.tell(number, Event::Tested { test: "web".to_owned(), result: TestResult::Passed });
    }
    world.run_for(secs(5));
    world.ask(1, Request::Quiesce { group: None, reason: "disk".to_owned() });
    world.tell(2, Event::Tested { test: "web".to_owned(), result: TestResult::Failed { why: "refused".to_owned() } });
    world.run_for(secs(2));
    let told = of_address(&mut world, 1, address(2));
    assert_eq!(told.rule, RuleWord::CannotAssign);
    let says: Vec<&str> = told.evidence.iter().map(|evidence| evidence.says.as_str()).collect();
    assert_eq!(says, ["this host, ok, quiesced, does not hold it", "says not ok, does not hold it"]);

    let told = of_host(&mut world, 2, "web2");
    assert_eq!(told.given, "web2 is not ok (test web fails: refused), so it is given nothing");
    assert_eq!((told.tests[0].passing, told.tests[0].since_ms, told.tests[0].failure.as_deref()), (Some(false), 2000, Some("refused")));
    assert_eq!(told.lacks[0].address, address(2));
    assert!(!told.eligible && !told.leads && told.is_self);
    assert_eq!(told.why_leads, "web1 has a lower id and may lead as well");
    let told = of_host(&mut world, 2, "10.0.0.1");
    assert_eq!(told.given, "web1 is quiesced, so it is given nothing (`raisctl resume` there ends it)");
    assert_eq!(told.why_leads, "web1 has the lowest id of the settled hosts that hear web2");
    assert_eq!(told.holds[0].because, "its preferred host web1 serves it");
}

#[test]
fn what_nobody_knows_is_refused_with_what_is_known() {
    let mut world = pool(510);
    world.boot_all();
    world.run_for(secs(5));
    for subject in ["192.0.2.99", "web9", ""] {
        world.ask(1, Request::Explain { group: None, subject: subject.to_owned() });
        let Answer::Refused { why } = &world.machines[&1].replies.last().expect("answered").1 else { panic!("explained") };
        assert!(why.contains("web1 (10.0.0.1), web2 (10.0.0.2)"), "{why}");
    }
}

#[test]
fn to_ask_changes_nothing() {
    let mut world = pool(511);
    world.boot_all();
    world.run_for(secs(5));
    let before = world.reports.len();
    for number in 1..=4 {
        for subject in ["192.0.2.2", "web2", "web4"] {
            ask(&mut world, number, subject);
        }
    }
    world.run_for(secs(3));
    assert_eq!(world.reports[before..], []);
    world.assert_served(&HOME);
}

#[test]
fn a_test_is_told_to_fail_and_to_recover_once_an_episode() {
    let mut world = World::new(512, [policy(1, &[address(1)]), policy(2, &[])].map(with_test));
    world.boot_all();
    let result = |ok: bool| Event::Tested {
        test: "web".to_owned(),
        result: if ok { TestResult::Passed } else { TestResult::Failed { why: "refused".to_owned() } },
    };
    for number in [1, 2] {
        world.tell(number, result(true));
    }
    world.run_for(secs(5));
    for _ in 0..3 {
        for _ in 0..5 {
            world.tell(1, result(false));
            world.run_for(secs(1));
        }
        for _ in 0..5 {
            world.tell(1, result(true));
            world.run_for(secs(1));
        }
    }
    let told = |wanted: fn(&Report) -> bool| world.count_reports(|number, report| number == 1 && wanted(report));
    assert_eq!(told(|report| matches!(report, Report::TestFailed { .. })), 3);
    assert_eq!(told(|report| matches!(report, Report::TestRecovered { test } if test == "web")), 3);
}

fn done(world: &mut World, number: u16, request: Request) {
    world.ask(number, request);
    world.run_for(secs(2));
    let answer = &world.machines[&number].replies.last().expect("answered").1;
    assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
}

#[test]
fn what_an_operator_has_moved_is_said_to_be_pinned_and_whose_death_would_move_it() {
    let mut world = pool(513);
    world.boot_all();
    world.run_for(secs(5));
    let item = raisd::types::item::Item::Address(address(2));
    done(&mut world, 3, Request::Move { group: None, item, to: Some("web4".to_owned()), timeout: secs(5) });
    let told = of_address(&mut world, 1, address(2));
    assert_eq!((told.rule, told.because.as_str()), (RuleWord::StaysPinned, "web4 keeps it: an operator has moved it there"));
    assert_eq!(told.changes[0], "`raisctl move` without a host sends it home");
    assert_eq!(told.what_if[0].text, "if web4 dies, web2 takes it (its preferred host)");
    world.power_off(4);
    world.run_until("home", TIMEOUT + ms(300), |world| world.is_served(&HOME));
}

#[test]
fn in_a_frozen_group_the_end_of_the_freeze_is_foretold_and_what_would_happen_until_then() {
    let mut world = pool(514);
    world.boot_all();
    world.run_for(secs(5));
    done(&mut world, 1, Request::Freeze { group: None, duration: secs(60) });
    let told = of_address(&mut world, 3, address(2));
    assert_eq!(told.rule, RuleWord::Frozen);
    assert_eq!(told.what_if[0].to, None, "{told:#?}");
    assert!(told.what_if[0].text.contains("nobody serves it: the group is frozen"), "{}", told.what_if[0].text);
    world.power_off(2);
    world.run_for(secs(5));
    assert_eq!(world.holders(address(2)), [0; 0]);
    let ends = left(next_of(&of_address(&mut world, 3, address(2)), NextWord::FreezeEnds));
    let took = world.run_until("served", secs(60), |world| world.is_served(&[(address(2), 4)]));
    assert!(took + ms(1) >= ends && took < ends + ms(500), "said {ends:?}, took {took:?}");
}

#[test]
fn the_end_of_a_doubled_failback_is_foretold_with_its_cause() {
    let quick = |policy| with(policy, |shared| shared.failback = Failback::After(secs(4)));
    let mut world = World::new(515, [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[])].map(with_test).map(quick));
    world.boot_all();
    let result = |ok: bool| Event::Tested {
        test: "web".to_owned(),
        result: if ok { TestResult::Passed } else { TestResult::Failed { why: "refused".to_owned() } },
    };
    for number in 1..=3 {
        world.tell(number, result(true));
    }
    world.run_for(secs(10));
    for _ in 0..2 {
        world.tell(2, result(false));
        world.run_for(secs(2));
        world.tell(2, result(true));
        world.run_until("home", secs(30), |world| world.is_served(&[(address(2), 2)]));
    }
    world.tell(2, result(false));
    world.run_for(secs(2));
    world.tell(2, result(true));
    world.run_for(secs(1));
    let told = of_address(&mut world, 3, address(2));
    assert_eq!(told.rule, RuleWord::StaysAway);
    assert!(told.because.contains("(failback, doubled once, since its returns did not last)"), "{}", told.because);
    let due = left(next_of(&told, NextWord::FailbackDue));
    assert!(due > secs(4), "{due:?}");
    let took = world.run_until("home", secs(60), |world| world.is_served(&[(address(2), 2)]));
    assert!(took + ms(1) >= due && took < due + ms(500), "said {due:?}, took {took:?}");
}
