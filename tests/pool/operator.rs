//! Quiesce, drain, resume, expire and forget.

use raisd::node::action::Report;
use raisd::node::event::{Answer, Event, Request};
use raisd::types::item::Item;

use crate::machine::ScriptMood;
use crate::setup::{HOME, TIMEOUT, address, ms, policy, pool, secs, with_scripts};
use crate::world::World;

fn quiesce() -> Request {
    Request::Quiesce { group: None, reason: "work on the rack".to_owned() }
}

fn resume() -> Request {
    Request::Resume { group: None }
}

fn drain(seconds: u64) -> Request {
    Request::Drain { group: None, timeout: secs(seconds), reason: "work on the rack".to_owned() }
}

fn last_answer(world: &World, number: u16) -> &Answer {
    &world.machines[&number].replies.last().expect("answered").1
}

#[test]
fn quiesce_keeps_what_is_held_leaves_the_zone_and_acquires_nothing() {
    let mut world = pool(40);
    world.boot_all();
    world.run_for(secs(5));
    world.ask(4, quiesce());
    world.ask(2, quiesce());
    world.run_for(ms(600));
    assert!(matches!(last_answer(&world, 2), Answer::Done { .. }));
    world.assert_served(&HOME);
    world.assert_zone(&[address(1), address(3)]);
    world.power_off(1);
    world.run_for(TIMEOUT + ms(20));
    assert_eq!(world.holders(address(1)), [3], "neither the quiesced spare nor the quiesced host");
    world.boot(1);
    world.run_for(secs(3));
    world.assert_served(&HOME);
    world.ask(2, resume());
    world.run_for(ms(600));
    world.assert_zone(&[address(1), address(2), address(3)]);
    world.run_for(secs(2));
    world.assert_rest(20);
}

#[test]
fn a_reboot_keeps_quiesced() {
    let mut world = pool(41);
    world.boot_all();
    world.run_for(secs(5));
    world.ask(2, quiesce());
    world.run_for(ms(100));
    world.power_off(2);
    world.run_for(secs(3));
    world.boot(2);
    world.run_for(secs(5));
    world.assert_served(&[(address(1), 1), (address(2), 4), (address(3), 3)]);
    world.ask(2, resume());
    world.run_until("home", ms(100), |world| world.is_served(&HOME));
}

#[test]
fn a_restarted_host_answers_for_the_zone_although_the_list_is_the_one_on_its_disk() {
    let mut world = pool(49);
    world.boot_all();
    world.run_for(secs(5));
    // The restart of a spare changes no list.
    world.tell(4, Event::Stopped);
    world.run_for(secs(2));
    world.boot(4);
    world.run_until("the zone is answered", secs(2), |world| world.machines[&4].zone.is_some());
    world.assert_zone(&[address(1), address(2), address(3)]);
}

#[test]
fn drain_empties_and_is_answered_when_it_has() {
    for drained in [1, 2, 3] {
        let mut world = pool(42);
        world.boot_all();
        world.run_for(secs(5));
        world.forbids_doubles = true;
        world.ask(drained, drain(10));
        let mut moved = HOME;
        moved[usize::from(drained) - 1].1 = 4;
        world.run_until("the spare has it", ms(50), |world| world.is_served(&moved));
        world.run_for(ms(600));
        assert!(matches!(last_answer(&world, drained), Answer::Done { .. }), "{:?}", last_answer(&world, drained));
        world.assert_served(&moved);
        world.run_for(secs(2));
        world.assert_rest(20);
        world.ask(drained, resume());
        world.run_until("home", ms(100), |world| world.is_served(&HOME));
        world.run_for(secs(3));
        world.assert_served(&HOME);
        world.assert_rest(20);
    }
}

#[test]
fn a_drain_without_a_place_to_go_keeps_serving_and_says_so() {
    let mut world = pool(43);
    world.boot(2);
    world.run_for(secs(5));
    world.ask(2, drain(3));
    world.run_for(secs(2));
    assert!(world.machines[&2].replies.is_empty(), "it waits");
    world.run_for(secs(2));
    assert!(matches!(last_answer(&world, 2), Answer::Refused { .. }));
    assert_eq!(world.holders(address(2)), [2]);
    world.run_for(secs(1));
    world.assert_rest(20);
}

#[test]
fn resume_ends_a_drain_that_is_waited_for() {
    let mut world = pool(44);
    world.boot(2);
    world.run_for(secs(5));
    world.ask(2, drain(60));
    world.run_for(secs(1));
    world.ask(2, resume());
    world.run_for(ms(10));
    let replies = &world.machines[&2].replies;
    assert!(matches!(replies[0].1, Answer::Refused { .. }) && matches!(replies[1].1, Answer::Done { .. }), "{replies:?}");
    world.run_for(secs(2));
    assert_eq!(world.holders(address(2)), [2]);
    world.assert_rest(20);
}

#[test]
fn a_drain_waits_for_the_release_script() {
    let mut world = World::new(45, [with_scripts(policy(1, &[address(1)])), policy(2, &[])]);
    world.machine(1).release_script = ScriptMood::Takes(secs(2));
    world.boot_all();
    world.run_for(secs(5));
    world.forbids_doubles = true;
    world.ask(1, drain(10));
    world.run_for(secs(1));
    assert!(world.machines[&1].replies.is_empty());
    world.run_until("moved", secs(2), |world| world.is_served(&[(address(1), 2)]));
    world.run_for(ms(10));
    assert!(matches!(last_answer(&world, 1), Answer::Done { .. }));
}

#[test]
fn everybody_is_drained_one_after_the_other_and_the_last_keeps_what_has_no_place_to_go() {
    let mut world = pool(46);
    world.boot_all();
    world.run_for(secs(5));
    world.forbids_doubles = true;
    for number in 1..=4 {
        world.ask(number, drain(3));
        world.run_for(ms(100));
    }
    world.run_for(secs(6));
    for (address, _) in HOME {
        assert_eq!(world.holders(address).len(), 1, "{address} is still served");
    }
    world.assert_rest(20);
    for number in 1..=4 {
        world.ask(number, resume());
    }
    world.run_for(secs(3));
    world.assert_served(&HOME);
}

#[test]
fn an_orphan_that_the_operator_expires_is_gone_everywhere() {
    let mut world = pool(47);
    world.boot_all();
    world.run_for(secs(5));
    let item = Item::Address(address(2));
    world.ask(3, Request::Expire { group: None, item: item.clone() });
    assert!(matches!(last_answer(&world, 3), Answer::Refused { .. }), "a live host prefers it");
    world.power_off(2);
    world.run_for(secs(3));
    world.ask(3, Request::Expire { group: None, item });
    let answered = |world: &World| matches!(last_answer(world, 3), Answer::Done { .. });
    assert!(!answered(&world), "not before it is on disk");
    world.run_until("answered", ms(5), answered);
    world.run_until("released", secs(1), |world| world.holders(address(2)).is_empty());
    world.run_for(secs(2));
    for (_, machine) in world.running() {
        let view = machine.node.as_ref().expect("runs").view(machine.local(world.now));
        assert!(view.groups[0].addresses.iter().all(|known| known.address != address(2)));
    }
    world.assert_rest(20);
    world.boot(2);
    world.run_until("it comes back with its host", secs(2), |world| world.is_served(&HOME));
}

#[test]
fn a_host_that_is_forgotten_is_gone_here_and_a_live_one_is_not_forgotten() {
    let mut world = pool(48);
    world.boot_all();
    world.run_for(secs(5));
    world.ask(1, Request::Forget { group: None, host: "web2".to_owned() });
    assert!(matches!(last_answer(&world, 1), Answer::Refused { .. }));
    world.power_off(2);
    world.run_for(secs(3));
    world.ask(1, Request::Forget { group: None, host: "10.0.0.2".to_owned() });
    assert!(matches!(last_answer(&world, 1), Answer::Done { .. }));
    world.run_for(secs(3));
    assert!(world.view_of(1).groups[0].hosts.iter().all(|known| known.name != "web2"));
    let heard = world.count_reports(|number, report| number == 1 && matches!(report, Report::HostHeard { .. }));
    assert_eq!(heard, 3);
    world.assert_rest(20);
}
