//! Every state of three hosts and two addresses: the control step against the model of the seed.
//!
//! Seven products, each complete in what it varies, and a sample of everything at once:
//!
//! | product | varies |
//! |---|---|
//! | two addresses | each host ok, not ok, quiesced, draining or unsettled, at home at the first or the second address or a spare; or an observer; or silent; each address held, not held or in between by each; the second address plain, orphaned, floating or expired |
//! | one address | the same with all four states of a holding; also hosts at home elsewhere |
//! | conditions | also just started, replacing itself, its entry in transit, and two conditions at a time |
//! | obstacles | accepted or not, in back-off or not, well for `failback` or not, a command unanswered or not |
//! | orders | where the operator wants an address, and what he has moved |
//! | spread | two floating addresses, held, moved by the operator or on their way, on hosts that accept and name them or not; to be evened out or not |
//! | settings | frozen, databases that differ, `failback = "never"`; each `assign` with utilizations and counts |
//!
//! One symmetry is used, in the product of two addresses: acquiring and releasing stand on one line of the seed, so its one
//! "in between" is acquiring on the first and third host and releasing on the second; the product of one address has both on
//! each. And that product leaves out the states in which both addresses have a holder in between: of such an address nothing
//! is ever said, and each stands there beside every state of the other.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::model::{Claim, EPOCH_KNOWN, Expected, HOSTS, Held, Kind, Layout, Member, ONLINE, Prefers, World, epoch_of, id, item, judge};
use super::*;

mod rest;

const NOT_SERVING: Held = Held { state: ItemState::NotServing, ..ONLINE };
const ACQUIRING: Held = Held { state: ItemState::Acquiring, ..ONLINE };
const RELEASING: Held = Held { state: ItemState::Releasing, ..ONLINE };
const TOLD: Held = Held { told: true, ..ONLINE };
const PINNED: Held = Held { pinned: true, ..ONLINE };

const FREE: Claim = Claim { held: NOT_SERVING, accepts: true, back_off: false };

/// A host to which nothing stands in the way.
const ACTIVE: Member = Member {
    silent: false,
    ok: true,
    quiesced: false,
    draining: false,
    settled: true,
    starting: false,
    whole: true,
    restarting: false,
    observer: false,
    prefers: Prefers::Nothing,
    well: 1,
    utilization: 0,
    claims: [FREE; 2],
};
const NOT_OK: Member = Member { ok: false, ..ACTIVE };
const QUIESCED: Member = Member { quiesced: true, ..ACTIVE };
const DRAINING: Member = Member { draining: true, ..ACTIVE };
const UNSETTLED: Member = Member { settled: false, ..ACTIVE };
const STARTING: Member = Member { starting: true, ..UNSETTLED };
const OBSERVER: Member = Member { observer: true, ..ACTIVE };
const SILENT: Member = Member { silent: true, ..ACTIVE };

const CONDITIONS: [Member; 5] = [ACTIVE, NOT_OK, QUIESCED, DRAINING, UNSETTLED];

const BASE: World = World {
    hosts: [ACTIVE; HOSTS],
    addresses: [Kind::Plain; 2],
    count: 2,
    assign: Assign::Random,
    failback_never: false,
    frozen: false,
    databases_agree: true,
    evening: Evening::Off,
    ordered: [None; 2],
    doublings: [0; 2],
};

const FAILBACK: Duration = Duration::from_secs(20);

// ---- from the model's world to what control reads ----

/// What `tables.rs` builds of such a pool.
fn tables(world: &World) -> Tables {
    let heard = || (0..HOSTS).filter(|number| !world.hosts[*number].silent);
    let whole = heard().all(|number| world.hosts[number].whole);
    Tables {
        group: "www".to_owned(),
        assign: world.assign,
        failback: if world.failback_never { Failback::Never } else { Failback::After(FAILBACK) },
        evening: world.evening,
        frozen: world.frozen,
        unknown_holdings: !whole,
        databases_agree: whole && world.databases_agree,
        hosts: heard().map(|number| (id(number), host_row(&world.hosts[number]))).collect(),
        addresses: (0..world.count).map(|address| (item(address), address_row(world, address))).collect(),
    }
}

fn host_row(host: &Member) -> HostRow {
    let network = |address: usize| IpNet::from(item(address).address().unwrap());
    let accept = if !host.has_list() {
        Vec::new()
    } else {
        let accepted = (0..2).filter(|address| host.claims[*address].accepts).map(network);
        accepted.chain(["203.0.113.0/24".parse().unwrap()]).collect()
    };
    HostRow {
        ok: host.ok && !host.observer,
        ready: host.whole && !host.restarting,
        settled: host.settled,
        starting: host.starting,
        duty: match (host.draining, host.quiesced) {
            (true, true | false) => Duty::Draining,
            (false, true) => Duty::Quiesced,
            (false, false) => Duty::Active,
        },
        spare: host.prefers == Prefers::Nothing,
        utilization: host.utilization,
        accept,
        well_for: if host.well == 0 { FAILBACK - Duration::from_nanos(1) } else { FAILBACK * host.well },
    }
}

fn address_row(world: &World, address: usize) -> AddressRow {
    let heard = || (0..HOSTS).map(|number| (number, &world.hosts[number])).filter(|(_, host)| !host.silent);
    let holders = heard().map(|(number, host)| (number, host.claims[address].held)).filter(|(_, held)| held.state.is_held());
    let holders = holders
        .map(|(number, Held { state, told, pinned })| (id(number), Holder { state, epoch: epoch_of(number), commanded: told, pinned }));
    AddressRow {
        prefix: 32,
        known: world.addresses[address] != Kind::Expired,
        floating: world.addresses[address] == Kind::Floating,
        preferred_by: heard().filter(|(_, host)| host.prefers == Prefers::Address(address)).map(|(number, _)| id(number)).collect(),
        holders: holders.collect(),
        back_off: heard().filter(|(_, host)| host.claims[address].back_off).map(|(number, _)| id(number)).collect(),
        doublings: world.doublings[address],
        ordered: world.ordered[address].map(id),
        epoch: EPOCH_KNOWN,
    }
}

/// Holds one control step against the model, address by address: what it gives out counts for those behind it. Floating
/// addresses are placed together, and before the others.
fn compare(world: &World, outcome: &Outcome) -> Result<(), String> {
    let given = |address: usize| {
        let acquires =
            outcome.decisions.iter().filter(move |decision| decision.item == item(address) && decision.kind == CommandKind::Acquire);
        acquires.map(|decision| (0..HOSTS).find(|number| id(*number) == decision.to).unwrap())
    };
    let mut counts = world.counts();
    for number in (0..world.count).filter(|address| world.is_floating(*address)).flat_map(given) {
        counts[number] += 1;
    }
    let one_layout = |layout: &Layout| {
        let mut counts = counts;
        for address in 0..world.count {
            judge(world, address, &world.expected(address, &counts, &[*layout]), outcome)?;
            for number in given(address).filter(|_| !world.is_floating(address)) {
                counts[number] += 1;
            }
        }
        Ok(())
    };
    let mut difference = Ok(());
    for layout in world.layouts() {
        difference = one_layout(&layout);
        if difference.is_ok() {
            break;
        }
    }
    difference
}

// ---- products ----

/// Hosts in each of these conditions and roles.
fn with_roles(conditions: &[Member], roles: &[Prefers]) -> Vec<Member> {
    conditions.iter().flat_map(|condition| roles.iter().map(|prefers| Member { prefers: *prefers, ..*condition })).collect()
}

/// What an address may be; one that is preferred is neither expired nor, for what is decided, floating.
fn kinds(hosts: &[Member; HOSTS], address: usize) -> &'static [Kind] {
    let is_preferred = hosts.iter().any(|host| !host.silent && host.prefers == Prefers::Address(address));
    if is_preferred { &[Kind::Plain] } else { &[Kind::Plain, Kind::Floating, Kind::Expired] }
}

/// Who holds one address, and how.
type Holdings = [Held; HOSTS];

/// Every way in which three hosts can hold one address, each in one of its states.
fn all_holdings(states: [&[Held]; HOSTS]) -> Vec<Holdings> {
    let mut all = Vec::new();
    for first in states[0] {
        for second in states[1] {
            all.extend(states[2].iter().map(|third| [*first, *second, *third]));
        }
    }
    all
}

/// Calls `look` with every triple of these hosts, on all processors; adds up how many states it has looked at.
fn every_triple(hosts: &[Member], look: impl Fn([Member; HOSTS]) -> usize + Sync) -> usize {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut count = 0;
        while let Some(first) = hosts.get(next.fetch_add(1, Ordering::Relaxed)) {
            for second in hosts {
                count += hosts.iter().map(|third| look([*first, *second, *third])).sum::<usize>();
            }
        }
        count
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    })
}

/// One way to hold one address: what control reads of it, and what the model has to say.
struct Way {
    holdings: Holdings,
    row: AddressRow,
    expected: Expected,
}

fn ways(world: &World, address: usize, all: &[Holdings]) -> Vec<Way> {
    let mut ways = Vec::new();
    for holdings in all {
        if (0..HOSTS).any(|number| world.hosts[number].silent && holdings[number].state.is_held()) {
            // What a silent host holds is read by nobody.
            continue;
        }
        let mut world = *world;
        for (host, held) in world.hosts.iter_mut().zip(holdings) {
            host.claims[address].held = *held;
        }
        // With random picks, and one floating address at most, an address depends on no other.
        let expected = world.expected(address, &[0; HOSTS], &world.layouts());
        ways.push(Way { holdings: *holdings, row: address_row(&world, address), expected });
    }
    ways
}

fn check_world(world: &World) {
    if let Err(difference) = compare(world, &control(&tables(world))) {
        panic!("{difference}");
    }
}

/// Compares one address, held in each of these ways.
fn compare_one(world: &World, all: &[Holdings]) -> usize {
    let mut tables = tables(world);
    let ways = ways(world, 0, all);
    let count = ways.len();
    for way in ways {
        tables.addresses.insert(item(0), way.row);
        if let Err(difference) = judge(world, 0, &way.expected, &control(&tables)) {
            panic!("{difference}\nheld {:?}", way.holdings);
        }
    }
    count
}

/// Compares two addresses, each held in each of these ways, except when both are in between.
fn compare_two(world: &World, all: &[Holdings]) -> usize {
    let is_between = |way: &Way| way.holdings.iter().any(|held| *held != NOT_SERVING && *held != ONLINE);
    let mut count = 0;
    let mut tables = tables(world);
    let mut seconds = ways(world, 1, all);
    for first in ways(world, 0, all) {
        let first_is_between = is_between(&first);
        tables.addresses.insert(item(0), first.row);
        for second in seconds.iter_mut().filter(|second| !(first_is_between && is_between(second))) {
            // Lent, not copied: this is the innermost of millions.
            std::mem::swap(tables.addresses.get_mut(&item(1)).unwrap(), &mut second.row);
            let outcome = control(&tables);
            std::mem::swap(tables.addresses.get_mut(&item(1)).unwrap(), &mut second.row);
            let compared = judge(world, 0, &first.expected, &outcome).and_then(|()| judge(world, 1, &second.expected, &outcome));
            if let Err(difference) = compared {
                panic!("{difference}\nheld {:?} and {:?}", first.holdings, second.holdings);
            }
            count += 1;
        }
    }
    count
}

#[test]
fn every_state_of_three_hosts_and_two_addresses() {
    let mut hosts = with_roles(&CONDITIONS, &[Prefers::Address(0), Prefers::Address(1), Prefers::Nothing]);
    hosts.extend([OBSERVER, SILENT]);
    let (odd, even) = ([NOT_SERVING, ONLINE, ACQUIRING], [NOT_SERVING, ONLINE, RELEASING]);
    let all = all_holdings([&odd, &even, &odd]);
    let count = every_triple(&hosts, |hosts| {
        let worlds = kinds(&hosts, 1).iter().map(|kind| World { hosts, addresses: [Kind::Plain, *kind], ..BASE });
        worlds.map(|world| compare_two(&world, &all)).sum()
    });
    println!("two addresses: {count} states");
    assert!(count > 2_000_000);
}

#[test]
fn every_state_of_three_hosts_and_one_address() {
    let mut hosts = with_roles(&CONDITIONS, &[Prefers::Address(0), Prefers::Another, Prefers::Nothing]);
    hosts.extend([OBSERVER, SILENT]);
    let all = all_holdings([&[NOT_SERVING, ACQUIRING, ONLINE, RELEASING]; HOSTS]);
    let count = every_triple(&hosts, |hosts| {
        let worlds = kinds(&hosts, 0).iter().map(|kind| World { hosts, addresses: [*kind, Kind::Plain], count: 1, ..BASE });
        worlds.map(|world| compare_one(&world, &all)).sum()
    });
    println!("one address: {count} states");
    assert!(count > 400_000);
}

#[test]
fn every_condition_of_three_hosts() {
    let restarting = Member { restarting: true, ..ACTIVE };
    let in_transit = Member { whole: false, ..ACTIVE };
    let two_at_a_time = [
        Member { quiesced: true, ..NOT_OK },
        Member { draining: true, ..NOT_OK },
        Member { settled: false, ..NOT_OK },
        Member { settled: false, ..QUIESCED },
        Member { settled: false, ..DRAINING },
        Member { quiesced: true, ..STARTING },
        Member { whole: false, ..STARTING },
        Member { draining: true, ..OBSERVER },
    ];
    let conditions = [&CONDITIONS[..], &[STARTING, restarting, in_transit], &two_at_a_time].concat();
    let mut hosts = with_roles(&conditions, &[Prefers::Address(0), Prefers::Nothing]);
    hosts.extend([OBSERVER, SILENT]);
    let all = all_holdings([&[NOT_SERVING, ONLINE]; HOSTS]);
    let count = every_triple(&hosts, |hosts| {
        let worlds = kinds(&hosts, 0).iter().map(|kind| World { hosts, addresses: [*kind, Kind::Plain], count: 1, ..BASE });
        worlds.map(|world| compare_one(&world, &all)).sum()
    });
    println!("conditions: {count} states");
    assert!(count > 350_000);
}

#[test]
fn every_obstacle_between_three_hosts_and_an_address() {
    let mut hosts = Vec::new();
    for host in with_roles(&[ACTIVE, STARTING, DRAINING], &[Prefers::Address(0), Prefers::Nothing]) {
        let refuses = Claim { accepts: false, ..FREE };
        let backs_off = Claim { back_off: true, ..FREE };
        hosts.extend([FREE, refuses, backs_off].map(|claim| Member { claims: [claim; 2], ..host }));
        hosts.push(Member { well: 0, ..host });
    }
    hosts.push(SILENT);
    let all = all_holdings([&[NOT_SERVING, ONLINE, TOLD]; HOSTS]);
    let count = every_triple(&hosts, |hosts| {
        let worlds = kinds(&hosts, 0).iter().map(|kind| World { hosts, addresses: [*kind, Kind::Plain], count: 1, ..BASE });
        worlds.map(|world| compare_one(&world, &all)).sum()
    });
    println!("obstacles: {count} states");
    assert!(count > 400_000);
}

#[test]
fn every_order_of_the_operator() {
    let mut hosts = with_roles(&[ACTIVE, STARTING, DRAINING, QUIESCED, NOT_OK], &[Prefers::Address(0), Prefers::Nothing]);
    hosts.extend([Member { claims: [Claim { accepts: false, ..FREE }; 2], ..ACTIVE }, SILENT]);
    let all = all_holdings([&[NOT_SERVING, ONLINE, PINNED]; HOSTS]);
    let count = every_triple(&hosts, |hosts| {
        let mut count = 0;
        for (ordered, doublings) in [(None, 1), (Some(0), 0), (Some(1), 0), (Some(2), 0)] {
            for kind in kinds(&hosts, 0) {
                let world =
                    World { hosts, addresses: [*kind, Kind::Plain], count: 1, ordered: [ordered, None], doublings: [doublings, 0], ..BASE };
                count += compare_one(&world, &all);
            }
        }
        count
    });
    println!("orders: {count} states");
    assert!(count > 200_000);
}

#[test]
fn every_spread_of_two_floating_addresses() {
    let refuses = Claim { accepts: false, ..FREE };
    let backs_off = Claim { back_off: true, ..FREE };
    let with = |claims: [Claim; 2]| Member { claims, ..ACTIVE };
    let hosts = [ACTIVE, with([refuses, FREE]), with([FREE, refuses]), with([backs_off, FREE]), QUIESCED, DRAINING, SILENT];
    // Held by nobody, by one in each way, by two.
    let ways = |first, second, third| [first, second, third];
    let no = NOT_SERVING;
    let all: [Holdings; 8] = [
        ways(no, no, no),
        ways(ONLINE, no, no),
        ways(no, ONLINE, no),
        ways(no, no, ONLINE),
        ways(PINNED, no, no),
        ways(no, RELEASING, no),
        ways(no, no, ACQUIRING),
        ways(ONLINE, ONLINE, no),
    ];
    let count = every_triple(&hosts, |hosts| {
        let mut count = 0;
        for evening in [Evening::Off, Evening::Due, Evening::Asked] {
            for holdings in all.iter().flat_map(|first| all.iter().map(move |second| [*first, *second])) {
                let mut world = World { hosts, addresses: [Kind::Floating; 2], evening, ..BASE };
                for (number, host) in world.hosts.iter_mut().enumerate() {
                    for (address, claim) in host.claims.iter_mut().enumerate() {
                        claim.held = holdings[address][number];
                    }
                }
                count += 1;
                check_world(&world);
            }
        }
        count
    });
    println!("spread: {count} states");
    assert!(count > 50_000);
}

#[test]
fn every_setting() {
    let mut hosts = with_roles(&CONDITIONS, &[Prefers::Address(0), Prefers::Nothing]);
    hosts.extend([OBSERVER, SILENT]);
    let all = all_holdings([&[NOT_SERVING, ONLINE, RELEASING]; HOSTS]);
    let changes: [fn(&mut World); 4] = [
        |world| world.frozen = true,
        |world| world.databases_agree = false,
        |world| world.failback_never = true,
        |world| (world.frozen, world.databases_agree) = (true, false),
    ];
    let count = every_triple(&hosts, |hosts| {
        let mut count = 0;
        for (change, kind) in changes.iter().flat_map(|change| kinds(&hosts, 0).iter().map(move |kind| (change, kind))) {
            let mut world = World { hosts, addresses: [*kind, Kind::Plain], count: 1, ..BASE };
            change(&mut world);
            count += compare_one(&world, &all);
        }
        count
    });
    println!("settings: {count} states");
    assert!(count > 200_000);
}

#[test]
fn every_way_to_pick_one_of_three_hosts_for_two_addresses() {
    let mut hosts: Vec<Member> = Vec::new();
    for host in with_roles(&[ACTIVE], &[Prefers::Another, Prefers::Nothing]) {
        hosts.extend([1, 2].map(|utilization| Member { utilization, ..host }));
    }
    hosts.extend([Member { prefers: Prefers::Address(1), ..ACTIVE }, QUIESCED, SILENT]);
    let all = all_holdings([&[NOT_SERVING, ONLINE]; HOSTS]);
    let count = every_triple(&hosts, |hosts| {
        let mut count = 0;
        for assign in [Assign::Random, Assign::Fair, Assign::LeastLoaded] {
            for addresses in kinds(&hosts, 0).iter().flat_map(|first| kinds(&hosts, 1).iter().map(|second| [*first, *second])) {
                for holdings in all.iter().flat_map(|first| all.iter().map(move |second| [*first, *second])) {
                    // Two that are both held leave nothing to pick.
                    if addresses.contains(&Kind::Expired) || holdings.iter().all(|one| one.contains(&ONLINE)) {
                        continue;
                    }
                    let mut world = World { hosts, addresses, assign, ..BASE };
                    for (number, host) in world.hosts.iter_mut().enumerate() {
                        host.claims = [0, 1].map(|address: usize| Claim { held: holdings[address][number], ..FREE });
                    }
                    count += 1;
                    check_world(&world);
                }
            }
        }
        count
    });
    println!("picks: {count} states");
    assert!(count > 40_000);
}

// ---- everything at once, and that a wrong step is found ----

/// Numbers that look random and are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True once in so many throws.
    fn once_in(&mut self, throws: u64) -> bool {
        self.next().is_multiple_of(throws)
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.next() % list.len() as u64).unwrap()]
    }

    fn claim(&mut self) -> Claim {
        let held = self.one_of(&[NOT_SERVING, NOT_SERVING, NOT_SERVING, NOT_SERVING, ONLINE, ONLINE, PINNED, ACQUIRING, RELEASING, TOLD]);
        Claim { held, accepts: !self.once_in(6), back_off: self.once_in(6) }
    }

    fn host(&mut self) -> Member {
        let observer = self.once_in(12);
        let (settled, starting) = self.one_of(&[(true, false), (true, false), (true, true), (false, false), (false, true)]);
        Member {
            silent: self.once_in(8),
            ok: !self.once_in(5),
            quiesced: self.once_in(5),
            draining: self.once_in(6),
            settled,
            starting,
            whole: !self.once_in(20),
            restarting: self.once_in(15),
            observer,
            prefers: if observer {
                Prefers::Nothing
            } else {
                self.one_of(&[Prefers::Address(0), Prefers::Address(1), Prefers::Another, Prefers::Nothing])
            },
            well: self.one_of(&[0, 1, 1, 2]),
            utilization: self.next() % 3,
            claims: [self.claim(), self.claim()],
        }
    }

    /// Two floating addresses on hosts that are well: too rare among all worlds for what is only said of them.
    fn floating_world(&mut self) -> World {
        let mut world = World { addresses: [Kind::Floating; 2], evening: self.one_of(&[Evening::Due, Evening::Asked]), ..BASE };
        for host in &mut world.hosts {
            host.claims = [0, 1].map(|_| Claim { held: self.one_of(&[NOT_SERVING, NOT_SERVING, ONLINE, PINNED]), ..FREE });
        }
        world
    }

    fn world(&mut self) -> World {
        if self.once_in(20) {
            return self.floating_world();
        }
        let hosts = [self.host(), self.host(), self.host()];
        World {
            hosts,
            addresses: [self.one_of(kinds(&hosts, 0)), self.one_of(kinds(&hosts, 1))],
            count: 2,
            assign: self.one_of(&[Assign::Random, Assign::Fair, Assign::LeastLoaded]),
            failback_never: self.once_in(8),
            frozen: self.once_in(10),
            databases_agree: !self.once_in(8),
            evening: self.one_of(&[Evening::Off, Evening::Off, Evening::Due, Evening::Asked]),
            ordered: [0, 1].map(|_| self.one_of(&[None, None, None, None, None, Some(0), Some(1), Some(2)])),
            doublings: [0, 1].map(|_| self.one_of(&[0, 0, 1])),
        }
    }
}

/// How many states of everything at once are looked at.
const SAMPLE: usize = 50_000;

#[test]
fn a_sample_of_everything_at_once() {
    let mut dice = Dice(1);
    for _ in 0..SAMPLE {
        check_world(&dice.world());
    }
}

/// A way to be wrong, in words.
type Misread = (&'static str, fn(&mut Tables));
type Misspeak = (&'static str, fn(&mut Outcome));

/// Whether the comparison finds fault with a control step that reads its tables, or says what it decides, wrongly.
fn is_found(misread: fn(&mut Tables), misspeak: fn(&mut Outcome)) -> bool {
    let mut dice = Dice(1);
    (0..SAMPLE).any(|_| {
        let world = dice.world();
        let mut tables = tables(&world);
        misread(&mut tables);
        let mut outcome = control(&tables);
        misspeak(&mut outcome);
        compare(&world, &outcome).is_err()
    })
}

fn every_host(tables: &mut Tables, change: fn(&mut HostRow)) {
    tables.hosts.values_mut().for_each(change);
}

fn every_row(tables: &mut Tables, change: fn(&mut AddressRow)) {
    tables.addresses.values_mut().for_each(change);
}

fn every_holder(tables: &mut Tables, change: fn(&mut Holder)) {
    tables.addresses.values_mut().flat_map(|row| row.holders.values_mut()).for_each(change);
}

#[test]
fn a_control_step_that_overlooks_anything_is_found_out() {
    let overlooks: [Misread; 31] = [
        ("that a host is not ok", |t| every_host(t, |host| host.ok = true)),
        ("that a host is quiesced", |t| {
            every_host(t, |host| host.duty = if host.duty == Duty::Quiesced { Duty::Active } else { host.duty })
        }),
        ("that a host drains", |t| every_host(t, |host| host.duty = if host.duty == Duty::Draining { Duty::Active } else { host.duty })),
        ("what sets draining apart from quiesced", |t| {
            every_host(t, |host| host.duty = if host.duty == Duty::Draining { Duty::Quiesced } else { host.duty });
        }),
        ("that a host is not settled", |t| every_host(t, |host| host.settled = true)),
        ("that a host has just started", |t| every_host(t, |host| host.starting = false)),
        ("that an entry is in transit", |t| t.unknown_holdings = false),
        ("that a host cannot be told anything", |t| every_host(t, |host| host.ready = true)),
        ("which hosts are spares", |t| every_host(t, |host| host.spare = true)),
        ("that there are spares", |t| every_host(t, |host| host.spare = false)),
        ("what a host accepts", |t| every_host(t, |host| host.accept.clear())),
        ("how long a host has been well", |t| every_host(t, |host| host.well_for = FAILBACK)),
        ("that returns have not lasted", |t| every_row(t, |row| row.doublings = 0)),
        ("where the operator wants an address", |t| every_row(t, |row| row.ordered = None)),
        ("that the operator has moved it", |t| every_holder(t, |holder| holder.pinned = false)),
        ("that floating addresses are to be evened out", |t| t.evening = Evening::Off),
        ("that a preferred host is well for long enough", |t| every_host(t, |host| host.well_for = Duration::ZERO)),
        ("the utilization", |t| every_host(t, |host| host.utilization = 0)),
        ("the lowest host", |t| drop(t.hosts.pop_first())),
        ("who prefers an address", |t| every_row(t, |row| row.preferred_by.clear())),
        ("that a second host prefers it", |t| every_row(t, |row| row.preferred_by.retain(|host| *host == id(0)))),
        ("back-off", |t| every_row(t, |row| row.back_off.clear())),
        ("that an address has expired", |t| every_row(t, |row| row.known = true)),
        ("that an address floats", |t| every_row(t, |row| row.floating = false)),
        ("who holds an address", |t| every_row(t, |row| row.holders.clear())),
        ("that a holder is in between", |t| every_holder(t, |holder| holder.state = ItemState::Online)),
        ("that a command is unanswered", |t| every_holder(t, |holder| holder.commanded = false)),
        ("the holder's epoch", |t| every_holder(t, |holder| holder.epoch = EPOCH_KNOWN)),
        ("that the group is frozen", |t| t.frozen = false),
        ("that databases differ", |t| t.databases_agree = true),
        ("how to pick", |t| t.assign = Assign::Random),
    ];
    for (what, misread) in overlooks {
        assert!(is_found(misread, |_| {}), "nobody would notice a control step that overlooks {what}");
    }
    assert!(!is_found(|_| {}, |_| {}), "and only that is found");
}

#[test]
fn a_control_step_that_says_anything_wrong_is_found_out() {
    let misspeaks: [Misspeak; 10] = [
        ("forgets a decision", |o| drop(o.decisions.pop())),
        ("says a decision twice", |o| o.decisions.extend(o.decisions.last().cloned())),
        ("gives an address to another host", |o| {
            o.decisions.iter_mut().for_each(|decision| decision.to = if decision.to == id(0) { id(1) } else { id(0) });
        }),
        ("gives out an epoch twice", |o| {
            let acquires = o.decisions.iter_mut().filter(|decision| decision.kind == CommandKind::Acquire);
            acquires.for_each(|decision| decision.epoch = EPOCH_KNOWN);
        }),
        ("calls every assignment a return", |o| {
            let assigned = o.decisions.iter_mut().filter(|decision| decision.reason == Reason::Assigned);
            assigned.for_each(|decision| decision.reason = Reason::Home);
        }),
        ("calls a failed test a drain", |o| {
            let failed = o.decisions.iter_mut().filter(|decision| decision.reason == Reason::TestFailed);
            failed.for_each(|decision| decision.reason = Reason::Drained);
        }),
        ("releases for expiry what was a duplicate", |o| {
            let duplicate = o.decisions.iter_mut().filter(|decision| decision.reason == Reason::Duplicate);
            duplicate.for_each(|decision| decision.reason = Reason::Expired);
        }),
        ("keeps silent of what it cannot assign", |o| o.cannot_assign.clear()),
        ("keeps silent of a conflict", |o| o.conflicts.clear()),
        ("keeps silent of a duplicate", |o| o.duplicates.clear()),
    ];
    for (what, misspeak) in misspeaks {
        assert!(is_found(|_| {}, misspeak), "nobody would notice a control step that {what}");
    }
}
