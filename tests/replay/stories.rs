//! The recordings of several hosts as one story: nothing is heard before it is said, whatever the clocks say.

use std::collections::BTreeSet;

use raisd::node::event::Event;
use raisd::recording::merge::{Merge, Told};
use raisd::recording::replay::{Recording, Step};
use raisd::types::host::BootId;

use crate::setup::{address, host, pool, secs};
use crate::tape::Deck;

/// A pool of which a host dies and comes back, with clocks that are hours apart.
fn story(hours: [(u16, i64); 2]) -> Deck {
    let mut world = pool(7);
    let deck = Deck::record(&mut world, 40);
    for (machine, hours) in hours {
        deck.set_clock(machine, hours);
    }
    world.boot_all();
    world.run_for(secs(8));
    world.power_off(2);
    world.run_until("another host serves", secs(5), |world| !world.holders(address(2)).is_empty());
    world.run_for(secs(1));
    world.boot(2);
    world.run_for(secs(8));
    deck
}

/// Host and number of each call, in the order of the story; panics if something is heard before it is said.
fn order(recordings: &[Recording]) -> Vec<(String, u64)> {
    let mut said: BTreeSet<(BootId, u64)> = BTreeSet::new();
    let (mut heard, mut order) = (0, Vec::new());
    for Told { host, step, unfounded } in Merge::new(recordings) {
        assert!(!unfounded, "{step:?}");
        let Step::Called(called) = step else { continue };
        let name = &recordings[host].name;
        for event in &called.entry.events {
            if let Event::Heard(datagram) = event {
                heard += 1;
                assert!(said.contains(&(datagram.sender.boot, datagram.number)), "{name} hears {datagram:?} before it is said");
            }
        }
        for sent in &called.entry.sent {
            said.extend((sent.first..=sent.last).map(|number| (sent.boot, number)));
        }
        order.push((name.clone(), called.entry.number));
    }
    assert!(heard > 500, "{heard} datagrams are heard");
    order
}

#[test]
fn what_is_heard_was_said_before_though_clocks_are_hours_apart() {
    let alike = order(&story([(1, 0), (3, 0)]).recordings());
    let apart = order(&story([(1, -5), (3, 26)]).recordings());
    assert_eq!(alike, apart, "the order depends on what the clocks say");
}

#[test]
fn each_host_keeps_its_own_order_and_nothing_is_left_out() {
    let recordings = story([(1, 3), (2, -3)]).recordings();
    let told = order(&recordings);
    for recording in &recordings {
        let own: Vec<u64> = recording.segments().iter().flat_map(|segment| segment.entries().map(|entry| entry.number)).collect();
        let in_story: Vec<u64> = told.iter().filter(|(name, _)| *name == recording.name).map(|(_, number)| *number).collect();
        assert_eq!(own, in_story, "{}", recording.name);
    }
}

#[test]
fn hosts_stay_side_by_side_although_none_of_them_hears_another() {
    let mut world = pool(8);
    let deck = Deck::record(&mut world, 0);
    world.boot_all();
    world.run_for(secs(6));
    for machine in 1..=4 {
        world.isolate(machine);
    }
    world.run_for(secs(20));
    let recordings = deck.recordings();
    let told = order(&recordings);
    // Twenty seconds of silence are some eighty beats of each: nobody's are told in one go.
    let mut row = (String::new(), 0);
    for (name, _) in told {
        row = if row.0 == name { (name, row.1 + 1) } else { (name, 1) };
        assert!(row.1 < 40, "{} is told {} calls long", row.0, row.1);
    }
}

#[test]
fn one_host_alone_is_a_story() {
    let recordings: Vec<Recording> =
        story([(1, 0), (2, 0)]).recordings().into_iter().filter(|recording| recording.host == host(1)).collect();
    let calls = Merge::new(&recordings).filter(|told| matches!(told.step, Step::Called(_))).count();
    assert!(calls > 100 && recordings.len() == 1, "{calls}");
}
