//! The table of weights and what becomes of it, row by row in the words of the seed's DNS thread.

use super::*;
use crate::types::policy::WhenEmpty;

/// High water at 80 %, low water at 60 %: delta is 200 thousandths.
fn policy() -> ZonePolicy {
    ZonePolicy {
        name: "www.pool.example.".to_owned(),
        ttl: std::time::Duration::from_secs(5),
        high_water: 80,
        low_water: 60,
        min_addresses: 0,
        max_answers: 0,
        when_empty: WhenEmpty::Nodata,
        nameservers: Vec::new(),
        contact: String::new(),
    }
}

fn address(number: u8) -> IpAddr {
    [192, 0, 2, number].into()
}

fn address_v6(number: u8) -> IpAddr {
    [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number)].into()
}

/// A host that serves its address, with a load in thousandths.
fn candidate(number: u8, load: u32) -> Candidate {
    let host = HostId([10, 0, 0, number].into());
    Candidate { host, address: address(number), ok: true, duty: Duty::Active, serving: true, load, capacity: 1000 }
}

fn last(numbers: &[u8]) -> BTreeSet<IpAddr> {
    numbers.iter().copied().map(address).collect()
}

fn advertised(policy: &ZonePolicy, candidates: &[Candidate], before: &[u8]) -> Vec<u8> {
    let list = list(policy, candidates, &last(before));
    let all = candidates.len();
    assert_eq!(list.advertised.len() + list.withheld.len(), all, "each is advertised or withheld");
    (1..=u8::MAX).filter(|number| list.advertised.contains(&address(*number))).collect()
}

#[test]
fn the_table_of_weights() {
    for (name, util, before, expected) in [
        ("util > high: util + delta", 801, true, 1001),
        ("util > high, not in M: util + delta", 801, false, 1001),
        ("util = high is not above it; in M: util", 800, true, 800),
        ("util = high, not in M: util + delta", 800, false, 1000),
        ("util > low, in M: util", 700, true, 700),
        ("util > low, not in M: util + delta", 700, false, 900),
        ("util just above low, in M: util", 601, true, 601),
        ("util just above low, not in M: util + delta", 601, false, 801),
        ("util = low is not above it: util", 600, false, 600),
        ("util = low, in M: util", 600, true, 600),
        ("util < low: util", 599, false, 599),
        ("idle: util", 0, false, 0),
    ] {
        let before = last(if before { &[1] } else { &[] });
        assert_eq!(weighted(&policy(), &candidate(1, util), &before), expected, "{name}");
    }
}

#[test]
fn utilization_is_load_times_scaling_factor_by_capacity_in_64_bits() {
    for (load, capacity, expected) in [
        (300, 1000, 300),
        (1, 3, 333),
        (0, 1, 0),
        (u32::MAX, u32::MAX, 1000),
        (u32::MAX, 1, u64::from(u32::MAX) * 1000),
        (2_000_000_000, 4_000_000_000, 500),
        (0, 0, u64::MAX),
        (7, 0, u64::MAX),
    ] {
        assert_eq!(utilization(load, capacity), expected, "{load} by {capacity}");
    }
}

#[test]
fn capacity_zero_is_above_high_and_does_not_overflow() {
    let broken = Candidate { capacity: 0, ..candidate(1, 0) };
    assert_eq!(weighted(&policy(), &broken, &last(&[1])), u64::MAX);
    assert_eq!(advertised(&policy(), &[broken, candidate(2, 100)], &[1, 2]), [2]);
}

#[test]
fn entries_from_min_addresses_on_are_removed_if_weighted_above_high() {
    // In the order of their weights: 3 (500), 1 (900), 4 (950 and above high), 2 (above high).
    let all = [candidate(1, 700), candidate(2, 990), candidate(3, 500), candidate(4, 810)];
    for (min, before, expected) in [
        (0, vec![], vec![3]),
        (1, vec![], vec![3]),
        (2, vec![], vec![1, 3]),
        (3, vec![], vec![1, 3, 4]),
        (4, vec![], vec![1, 2, 3, 4]),
        (u32::MAX, vec![], vec![1, 2, 3, 4]),
        (0, vec![1], vec![1, 3]),
        (0, vec![1, 2, 3, 4], vec![1, 3]),
    ] {
        let policy = ZonePolicy { min_addresses: min, ..policy() };
        assert_eq!(advertised(&policy, &all, &before), expected, "min {min}, last time {before:?}");
    }
}

#[test]
fn with_min_zero_everybody_above_high_leaves_nobody() {
    assert_eq!(advertised(&policy(), &[candidate(1, 900), candidate(2, 900)], &[1, 2]), [0; 0]);
}

#[test]
fn ties_go_to_the_lowest_id() {
    let policy = ZonePolicy { min_addresses: 1, ..policy() };
    assert_eq!(advertised(&policy, &[candidate(3, 900), candidate(2, 900), candidate(4, 900)], &[]), [2]);
}

#[test]
fn last_time_keeps_a_host_between_the_marks_until_it_is_above_high() {
    let policy = ZonePolicy { min_addresses: 1, ..policy() };
    let mut before = vec![];
    // One idle host, and one whose load rises and falls.
    for (load, expected) in [
        (500, vec![1, 2]),
        (700, vec![1, 2]),
        (800, vec![1, 2]),
        (801, vec![1]),
        (700, vec![1]),
        (601, vec![1]),
        (600, vec![1, 2]),
        (700, vec![1, 2]),
    ] {
        before = advertised(&policy, &[candidate(1, 0), candidate(2, load)], &before);
        assert_eq!(before, expected, "at {load}");
    }
}

#[test]
fn families_are_counted_apart() {
    let policy = ZonePolicy { min_addresses: 1, ..policy() };
    let v6 = |number, load| Candidate { address: address_v6(number), ..candidate(number, load) };
    let all = [candidate(1, 900), candidate(2, 950), v6(1, 900), v6(2, 950)];
    let list = list(&policy, &all, &BTreeSet::new());
    assert_eq!(list.advertised, [address(1), address_v6(1)].into());
}

#[test]
fn who_is_no_candidate() {
    for (name, change, reason) in [
        ("host quiesced", (|c| c.duty = Duty::Quiesced) as fn(&mut Candidate), Withheld::Quiesced),
        ("departs: host drains", |c| c.duty = Duty::Draining, Withheld::Draining),
        ("departs: host not ok", |c| c.ok = false, Withheld::NotOk),
        ("departs: preferred address not served by it", |c| c.serving = false, Withheld::NotServing),
    ] {
        let mut other = candidate(2, 100);
        change(&mut other);
        // Also with room enough: such a host does not count.
        let policy = ZonePolicy { min_addresses: 2, ..policy() };
        let list = list(&policy, &[candidate(1, 100), other], &last(&[1, 2]));
        assert_eq!((list.advertised, list.withheld), (last(&[1]), vec![(address(2), reason)]), "{name}");
    }
}

#[test]
fn a_host_with_several_preferred_addresses_is_advertised_with_each_that_it_serves() {
    let second = Candidate { address: address(9), ..candidate(1, 100) };
    let third = Candidate { address: address(8), serving: false, ..candidate(1, 100) };
    assert_eq!(advertised(&policy(), &[candidate(1, 100), second, third], &[]), [1, 9]);
}

#[test]
fn when_nobody_is_left_the_zone_is_empty_or_has_all_as_configured() {
    let none = [Candidate { ok: false, ..candidate(1, 0) }, Candidate { duty: Duty::Quiesced, ..candidate(2, 0) }];
    assert_eq!(advertised(&policy(), &none, &[1, 2]), [0; 0]);
    let policy = ZonePolicy { when_empty: WhenEmpty::All, ..policy() };
    assert_eq!(advertised(&policy, &none, &[1, 2]), [1, 2]);
    assert_eq!(advertised(&policy, &[], &[]), [0; 0]);
}
