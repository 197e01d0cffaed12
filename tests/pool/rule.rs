//! Group-wide keys that differ between hosts: the leader's rule, and a pool may be changed host by host.

use std::time::Duration;

use raisd::node::action::Report;
use raisd::node::event::{Event, TestResult};
use raisd::types::policy::{AllFailed, SharedPolicy};

use crate::checks::is_move;
use crate::setup::{HEARTBEAT, HOME, TIMEOUT, address, host, ms, policy, pool, secs, with_test};
use crate::world::World;

/// All orders of four hosts.
fn orders() -> Vec<[u16; 4]> {
    let mut all = Vec::new();
    for number in 0..256u32 {
        let order = [0, 2, 4, 6].map(|bits| (number >> bits & 3) as u16 + 1);
        if (1..=4).all(|host| order.contains(&host)) {
            all.push(order);
        }
    }
    all
}

fn set(world: &mut World, number: u16, change: impl FnOnce(&mut SharedPolicy)) {
    world.reload(number, |policy| change(&mut policy.groups[0].shared));
}

/// What each host goes by, by its own words.
fn goes_by(world: &World, number: u16) -> (String, String) {
    let policy = &world.view_of(number).groups[0].policy;
    (policy.heartbeat.clone(), policy.timeout.clone())
}

#[track_caller]
fn assert_quiet(world: &World, since: usize) {
    let told = |report: &Report| is_move(report) || matches!(report, Report::HostSilent { .. } | Report::LeaderChanged { .. });
    let reports: Vec<_> = world.reports[since..].iter().filter(|(_, _, report)| told(report)).collect();
    assert!(reports.is_empty(), "{reports:?}");
}

#[test]
fn every_host_goes_by_the_leaders_values_and_says_whose_differ() {
    let mut world = World::new(
        220,
        (1..=4).map(|number| {
            let mut policy = policy(number, &[address(number)]);
            policy.groups[0].shared.heartbeat = ms(50 * u64::from(number));
            policy.groups[0].shared.timeout = ms(300 * u64::from(number));
            policy
        }),
    );
    world.boot_all();
    world.run_for(secs(5));
    for number in 1..=4 {
        assert_eq!(goes_by(&world, number), ("50ms".to_owned(), "300ms".to_owned()), "h{number}");
        for known in &world.view_of(number).groups[0].hosts {
            let wanted: &[&str] = if known.id == host(1) { &[] } else { &["heartbeat", "timeout"] };
            assert_eq!(known.differs, wanted, "{} as h{number} sees it", known.id);
        }
    }
    let sent = |world: &World| world.machines[&4].infos_sent;
    let before = sent(&world);
    world.run_for(secs(2));
    assert!((38..=42).contains(&(sent(&world) - before)), "{} infos in 40 heartbeats", sent(&world) - before);

    // Its successor has other values, and is followed.
    world.power_off(1);
    let took = world.run_until("served elsewhere", secs(1), |world| !world.holders(address(1)).is_empty());
    assert!(took < ms(400), "by the timeout of the leader that was: {took:?}");
    world.run_for(secs(3));
    for number in 2..=4 {
        assert_eq!(goes_by(&world, number), ("100ms".to_owned(), "600ms".to_owned()), "h{number}");
    }
}

#[test]
fn heartbeat_and_timeout_are_changed_host_by_host_in_any_order_without_a_move() {
    let orders = orders();
    assert_eq!(orders.len(), 24);
    for (number, order) in orders.into_iter().enumerate() {
        for (heartbeat, timeout) in [(HEARTBEAT * 8, TIMEOUT * 8), (HEARTBEAT / 10, TIMEOUT / 10)] {
            let mut world = pool(221 + number as u64);
            world.boot_all();
            world.run_for(secs(5));
            world.forbids_doubles = true;
            // One in twenty datagrams, also of those that say who goes by what.
            world.loss = if number % 2 == 0 { 0 } else { 50 };
            let since = world.reports.len();
            for host in order {
                set(&mut world, host, |shared| (shared.heartbeat, shared.timeout) = (heartbeat, timeout));
                // Now at once, now long after.
                let pause = ms(world.draw() % 5_000);
                world.run_for(pause);
            }
            world.run_for(timeout * 3);
            assert_quiet(&world, since);
            world.loss = 0;
            let word = |duration: Duration| goes_by_text(duration);
            for host in 1..=4 {
                assert_eq!(goes_by(&world, host), (word(heartbeat), word(timeout)), "h{host}, order {order:?}");
            }
            // The timeout that all have is the one that holds.
            world.power_off(2);
            let took = world.run_until("served elsewhere", timeout * 2, |world| world.holders(address(2)) == [4]);
            assert!(took < timeout + timeout / 4, "{took:?} with a timeout of {timeout:?}");
        }
    }
}

fn goes_by_text(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}

#[test]
fn a_host_that_joins_with_other_values_disturbs_nobody() {
    for factor in [40, 1] {
        let mut world = pool(250);
        set_before_start(&mut world, 4, |shared| {
            shared.heartbeat = ms(25 * factor);
            shared.timeout = ms(100 * factor);
        });
        for number in [1, 2, 3] {
            world.boot(number);
        }
        world.run_for(secs(5));
        let since = world.reports.len();
        world.boot(4);
        world.run_for(secs(10));
        assert_quiet_but_for(&world, since, 4);
        assert_eq!(goes_by(&world, 4), ("250ms".to_owned(), "1s".to_owned()));
    }
}

fn set_before_start(world: &mut World, number: u16, change: impl FnOnce(&mut SharedPolicy)) {
    change(&mut world.machine(number).policy.groups[0].shared);
}

/// Nobody but this host, which learns who leads, has anything to tell.
#[track_caller]
fn assert_quiet_but_for(world: &World, since: usize, host: u16) {
    let others: Vec<_> =
        world.reports[since..].iter().filter(|(_, number, report)| is_move(report) || (*number != host && !is_news_of(report))).collect();
    assert!(others.is_empty(), "{others:?}");
}

fn is_news_of(report: &Report) -> bool {
    matches!(report, Report::HostHeard { .. } | Report::ConfigurationDiffers { .. })
}

#[test]
fn the_leader_says_whether_hosts_that_fail_keep_what_they_have() {
    for (leaders, others, is_kept) in [(AllFailed::Keep, AllFailed::Release, true), (AllFailed::Release, AllFailed::Keep, false)] {
        let policies = [policy(1, &[address(1)]), policy(2, &[address(2)])].map(with_test);
        let mut world = World::new(251, policies);
        set_before_start(&mut world, 1, |shared| shared.all_failed = leaders);
        set_before_start(&mut world, 2, |shared| shared.all_failed = others);
        world.boot_all();
        for number in [1, 2] {
            world.tell(number, Event::Tested { test: "web".to_owned(), result: TestResult::Passed });
        }
        world.run_for(secs(5));
        world.assert_served(&HOME[..2]);
        for number in [1, 2] {
            world.tell(number, Event::Tested { test: "web".to_owned(), result: TestResult::Failed { why: "refused".to_owned() } });
        }
        world.run_for(secs(3));
        let holders: &[u16] = if is_kept { &[2] } else { &[] };
        assert_eq!(world.holders(address(2)), holders, "the leader says {leaders:?}");
    }
}

#[test]
fn an_orphan_expires_by_the_leaders_lifetime_also_one_that_was_orphaned_before() {
    let mut world = pool(252);
    world.boot_all();
    world.run_for(secs(5));
    world.power_off(2);
    world.run_for(secs(60));
    // Not by that of a host which does not lead.
    set(&mut world, 3, |shared| shared.orphan_lifetime = secs(90));
    world.run_for(secs(60));
    assert_eq!(world.holders(address(2)), [4]);
    set(&mut world, 1, |shared| shared.orphan_lifetime = secs(180));
    world.run_for(secs(10));
    let remaining = |world: &World, number: u16| {
        let known = world.view_of(number).groups[0].addresses.iter().find(|known| known.address == address(2)).cloned();
        known.and_then(|known| known.orphan_remaining_ms).expect("an orphan")
    };
    for number in [1, 3, 4] {
        assert!((45_000..=55_000).contains(&remaining(&world, number)), "{} on h{number}", remaining(&world, number));
    }
    world.run_for(secs(60));
    assert!(world.holders(address(2)).is_empty());
}
