//! Rules that hold without any model: over what one step says, and over where obeying it leads.

use super::super::model::is_at_rest;
use super::*;

/// So many steps are enough: duplicates go and what is in between ends, an address that must go elsewhere is released, it is
/// acquired there; then there is nothing left to say.
const STEPS_MAX: usize = 4;

/// Whether the host may be given the address at all, in the words of the documentation.
fn may_be_given(world: &World, number: usize, address: usize) -> bool {
    let host = &world.hosts[number];
    let claim = &host.claims[address];
    let is_asked_for = !host.silent && host.ok && !host.observer && !host.quiesced && !host.draining;
    is_asked_for && host.settled && host.whole && !host.restarting && claim.accepts && !claim.back_off
}

/// What may be said in this world, whatever else is right.
fn check_step(world: &World, outcome: &Outcome) {
    for decision in &outcome.decisions {
        let address = (0..world.count).find(|address| item(*address) == decision.item).unwrap();
        let number = (0..HOSTS).find(|number| id(*number) == decision.to).unwrap();
        let held = world.hosts[number].claims[address].held;
        let others: Vec<Held> =
            (0..HOSTS).filter(|host| !world.hosts[*host].silent).map(|host| world.hosts[host].claims[address].held).collect();
        match decision.kind {
            CommandKind::Acquire => {
                assert!(may_be_given(world, number, address), "{decision:?} in\n{world}");
                assert!(others.iter().all(|held| !held.state.is_held()), "somebody holds it: {decision:?} in\n{world}");
                assert_ne!(world.addresses[address], Kind::Expired, "{decision:?} in\n{world}");
            }
            CommandKind::Release => assert!(is_at_rest(held), "{decision:?} in\n{world}"),
        }
    }
}

/// The pool after everybody has done what he was told, and has ended what he was doing.
fn obeyed(world: &World, outcome: &Outcome) -> World {
    let mut after = *world;
    for host in &mut after.hosts {
        for claim in &mut host.claims {
            claim.held = match claim.held.state {
                ItemState::NotServing | ItemState::Releasing => NOT_SERVING,
                ItemState::Acquiring | ItemState::Online => ONLINE,
            };
        }
    }
    for decision in &outcome.decisions {
        let address = (0..world.count).find(|address| item(*address) == decision.item).unwrap();
        let number = (0..HOSTS).find(|number| id(*number) == decision.to).unwrap();
        after.hosts[number].claims[address].held = match decision.kind {
            CommandKind::Acquire => ONLINE,
            CommandKind::Release => NOT_SERVING,
        };
    }
    after
}

fn holders(world: &World, address: usize) -> Vec<usize> {
    (0..HOSTS).filter(|number| !world.hosts[*number].silent && world.hosts[*number].claims[address].held.state.is_held()).collect()
}

/// Follows a pool until nothing is said any more; says how many steps that took.
fn follow(start: &World) -> usize {
    let mut world = *start;
    for step in 0..=STEPS_MAX {
        let outcome = control(&tables(&world));
        check_step(&world, &outcome);
        let after = obeyed(&world, &outcome);
        for address in 0..world.count {
            let is_expired = world.addresses[address] == Kind::Expired;
            let (before, left) = (holders(&world, address), holders(&after, address));
            let was_released = outcome.decisions.iter().any(|d| d.kind == CommandKind::Release && d.item == item(address));
            if was_released && left.is_empty() && !is_expired {
                // Released in order to go somewhere: it does, in the very next step.
                let next = control(&tables(&after));
                let is_taken = next.decisions.iter().any(|d| d.kind == CommandKind::Acquire && d.item == item(address));
                assert!(is_taken, "{} is released, and then nobody gets it: {outcome:?} in\n{world}", item(address));
            }
            if before.len() > 1 && !is_expired {
                assert!(
                    !left.is_empty() || before.iter().any(|n| world.hosts[*n].claims[address].held != ONLINE),
                    "all duplicates go in\n{world}"
                );
            }
        }
        if outcome.decisions.is_empty() && after == world {
            check_rest(&world);
            return step;
        }
        world = after;
    }
    panic!("no rest after {STEPS_MAX} steps from\n{start}");
}

/// What must be true of a pool that has come to rest.
fn check_rest(world: &World) {
    let heard = || (0..HOSTS).filter(|number| !world.hosts[*number].silent);
    let all_known = heard().all(|number| world.hosts[number].whole);
    for address in 0..world.count {
        let held_by = holders(world, address);
        if world.addresses[address] == Kind::Expired {
            assert!(held_by.is_empty() || !all_known, "an expired address is held at rest in\n{world}");
            continue;
        }
        assert!(held_by.len() <= 1, "a duplicate at rest in\n{world}");
        let at_home = |number: &usize| world.hosts[*number].prefers == Prefers::Address(address);
        let comes_home = heard().any(|number| at_home(&number) && world.hosts[number].starting && !world.hosts[number].settled);
        let takers: Vec<usize> = heard().filter(|number| may_be_given(world, *number, address)).collect();
        if takers.is_empty() || !all_known || comes_home {
            continue;
        }
        assert_eq!(held_by.len(), 1, "unserved at rest, though somebody could take it, in\n{world}");
        let holder = held_by[0];
        let keeps = world.hosts[holder].ok && !world.hosts[holder].observer && !world.hosts[holder].draining;
        assert!(keeps, "held at rest by a host that cannot keep it in\n{world}");
        if takers.iter().any(|number| at_home(number) && world.hosts[*number].well > 0) {
            assert!(at_home(&holder), "away from home at rest in\n{world}");
        }
    }
}

#[test]
fn every_pool_comes_to_rest_where_it_should_in_a_few_steps() {
    let in_transit = Member { whole: false, ..ACTIVE };
    let mut hosts = with_roles(&[&CONDITIONS[..], &[STARTING, in_transit]].concat(), &[Prefers::Address(0), Prefers::Nothing]);
    hosts.extend([OBSERVER, SILENT]);
    let (odd, even) = ([NOT_SERVING, ONLINE, ACQUIRING], [NOT_SERVING, ONLINE, RELEASING]);
    let all = all_holdings([&odd, &even, &odd]);
    let longest = AtomicUsize::new(0);
    let count = every_triple(&hosts, |hosts| {
        let mut count = 0;
        for (kind, holdings) in kinds(&hosts, 0).iter().flat_map(|kind| all.iter().map(move |holdings| (kind, holdings))) {
            let mut world = World { hosts, addresses: [*kind, Kind::Plain], count: 1, ..BASE };
            for (host, held) in world.hosts.iter_mut().zip(holdings) {
                host.claims[0].held = *held;
            }
            longest.fetch_max(follow(&world), Ordering::Relaxed);
            count += 1;
        }
        count
    });
    println!("rest: from {count} states, after at most {} steps", longest.into_inner());
    assert!(count > 100_000);
}

#[test]
fn a_sample_of_everything_at_once_keeps_the_rules() {
    let mut dice = Dice(2);
    for _ in 0..SAMPLE / 2 {
        let world = dice.world();
        check_step(&world, &control(&tables(&world)));
    }
}
