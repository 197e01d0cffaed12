//! Every reason of the closed list is one that a pool really gives for a move, or belongs to a mechanism that is not built.

use std::collections::BTreeSet;

use raisd::node::action::Report;
use raisd::node::event::{Event, Request, TestResult};
use raisd::types::item::Reason;

use crate::machine::ScriptMood;
use crate::setup::{HOME, address, ms, policy, pool, secs, with_scripts, with_test};
use crate::world::World;

const REFERENCE: &str = include_str!("../../docs/reference.md");

/// Where a reason comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    /// From a mechanism that is not built.
    Later(&'static str),
    /// From a pool below.
    Pool,
    /// From a configuration that changes while its host runs; the pools that reload show it.
    Step,
}

/// A reason that is added has to be given its place here.
fn origin(reason: Reason) -> Origin {
    match reason {
        Reason::Isolated => Origin::Later("isolation"),
        Reason::Late => Origin::Later("late tick with a promise"),
        Reason::LostFence => Origin::Later("fence"),
        Reason::LostMajority => Origin::Later("partition = \"majority\""),
        Reason::NotAccepted | Reason::Reconfigured => Origin::Step,
        Reason::Assigned
        | Reason::Drained
        | Reason::Duplicate
        | Reason::DuplicateId
        | Reason::Expired
        | Reason::Found
        | Reason::Home
        | Reason::Leftover
        | Reason::Moved
        | Reason::Rebalanced
        | Reason::RemovedByOthers
        | Reason::Stopped
        | Reason::TestFailed => Origin::Pool,
    }
}

/// All that there are: of an unknown word serde names them.
fn all() -> BTreeSet<Reason> {
    let error = serde_json::from_str::<Reason>("\"?\"").expect_err("no reason").to_string();
    let words = error.split('`').skip(3).step_by(2);
    let all: BTreeSet<Reason> = words.map(|word| serde_json::from_value(word.into()).expect("a reason")).collect();
    assert!(all.iter().all(|reason| error.contains(reason.as_str())), "{error}");
    all
}

/// Why addresses were taken or given up.
fn given(world: &World) -> BTreeSet<Reason> {
    let reason = |report: &Report| {
        if let Report::Acquired { reason, .. }
        | Report::AcquireFailed { reason, .. }
        | Report::Decided { reason, .. }
        | Report::Released { reason, .. }
        | Report::ReleaseFailed { reason, .. } = report
        {
            Some(*reason)
        } else {
            None
        }
    };
    world.reports.iter().filter_map(|(_, _, report)| reason(report)).collect()
}

fn settled(seed: u64) -> World {
    let mut world = pool(seed);
    world.boot_all();
    world.run_for(secs(5));
    world.assert_served(&HOME);
    world
}

#[test]
fn every_reason_is_given_by_a_pool_or_waits_for_its_mechanism() {
    let mut told = BTreeSet::new();

    // A host dies and its daemon is found with its address when it comes back; it goes home; a host stops in order.
    let mut world = settled(520);
    world.kill(2);
    world.run_for(secs(5));
    world.boot(2);
    world.run_for(secs(5));
    world.tell(3, Event::Stopped);
    world.run_for(secs(2));
    told.extend(given(&world));

    // An operator drains a host, has an orphan forgotten, puts an address on a second host, and takes one away again and again.
    let mut world = settled(521);
    world.ask(2, Request::Drain { group: None, timeout: secs(5), reason: String::new() });
    world.run_for(secs(2));
    world.add_by_hand(4, address(1));
    world.run_for(secs(2));
    world.power_off(3);
    world.run_for(secs(3));
    world.ask(1, Request::Expire { group: None, item: raisd::types::item::Item::Address(address(3)) });
    world.run_for(secs(2));
    for _ in 0..4 {
        world.remove_by_hand(1, address(1));
        world.run_for(secs(1));
    }
    told.extend(given(&world));

    // A test fails.
    let mut world = World::new(522, [policy(1, &[address(1)]), policy(2, &[])].map(with_test));
    world.boot_all();
    for number in [1, 2] {
        world.tell(number, Event::Tested { test: "web".to_owned(), result: TestResult::Passed });
    }
    world.run_for(secs(5));
    world.tell(1, Event::Tested { test: "web".to_owned(), result: TestResult::Failed { why: "refused".to_owned() } });
    world.run_for(secs(2));
    told.extend(given(&world));

    told.extend(given(&twins()));
    told.extend(given(&wishes()));
    for reason in all() {
        let row = REFERENCE.lines().find(|line| line.starts_with(&format!("| `{reason}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/reference.md has no row for {reason}"));
        assert_eq!(row.contains("(*later*)"), matches!(origin(reason), Origin::Later(_)), "{row}");
        match origin(reason) {
            Origin::Pool => assert!(told.contains(&reason), "nothing here leads to {reason}; told: {told:?}"),
            Origin::Later(mechanism) => assert!(!told.contains(&reason), "{reason} is told although it waits for {mechanism}"),
            Origin::Step => {}
        }
    }
}

/// Two daemons with one host id that cannot hear each other, and then do.
fn twins() -> World {
    let mut policies: Vec<_> = [policy(1, &[address(1)]), policy(2, &[address(2)])].map(with_scripts).into();
    let mut world = World::new(523, policies.clone());
    let mut twin = crate::machine::Machine::new(policies.remove(1));
    twin.release_script = ScriptMood::Takes(ms(3));
    world.machines.insert(99, twin);
    world.isolate(99);
    for number in [1, 2, 99] {
        world.boot(number);
        world.run_for(secs(3));
    }
    world.cuts.clear();
    world.run_until("the later start ends", secs(5), |world| world.machines[&99].exit == Some(1));
    world
}

/// An operator moves an address, and has floating ones evened out.
fn wishes() -> World {
    let floating: Vec<_> = (50..54).map(|last| raisd::types::item::ServiceAddress::host(address(last))).collect();
    let policies = [policy(1, &[address(1)]), policy(2, &[]), policy(3, &[])].map(|mut policy| {
        policy.groups[0].floating.clone_from(&floating);
        policy
    });
    let mut world = World::new(524, policies);
    world.boot(1);
    world.boot(2);
    world.run_for(secs(5));
    let item = raisd::types::item::Item::Address(address(1));
    world.ask(1, Request::Move { group: None, item, to: Some("web2".to_owned()), timeout: secs(5) });
    world.run_for(secs(2));
    // A host that joins shuffles nothing by itself.
    world.boot(3);
    world.run_for(secs(3));
    world.ask(1, Request::Rebalance { group: None });
    world.run_for(secs(3));
    world
}
