//! What operators want, returns that do not last, and floating addresses that are evened out.

use super::*;

fn pinned(s: Setting, number: u8) -> Setting {
    s.row(|row| {
        row.holders.insert(host(number), Holder { pinned: true, ..holder(ItemState::Online) });
    })
}

#[test]
fn an_order_is_a_release_and_then_an_acquire() {
    check(&[
        ("the holder gives it up", |s| s.online(1).row(|r| r.ordered = Some(host(3))), &["release 1 moved e5"]),
        ("nobody has it: who was named, and not its preferred host", |s| s.row(|r| r.ordered = Some(host(3))), &["acquire 3 moved e6"]),
        ("it is there", |s| s.online(3).row(|r| r.ordered = Some(host(3))), &[]),
        (
            "home, though failback is never",
            |s| s.online(3).row(|r| r.ordered = Some(host(1))).tables(|t| t.failback = Failback::Never),
            &["release 3 moved e5"],
        ),
        ("it is on its way: it is waited for", |s| s.held(3, ItemState::Acquiring).row(|r| r.ordered = Some(host(2))), &[]),
        (
            "several have it: that is settled first",
            |s| s.online(1).online(2).row(|r| r.ordered = Some(host(3))),
            &["release 2 duplicate e5", "duplicate: 1 keeps it"],
        ),
        ("the group is frozen", |s| s.online(1).row(|r| r.ordered = Some(host(3))).tables(|t| t.frozen = true), &[]),
        (
            "somebody's holdings are not known",
            |s| s.online(1).row(|r| r.ordered = Some(host(3))).tables(|t| t.unknown_holdings = true),
            &[],
        ),
        ("who was named may not take it", |s| s.online(1).row(|r| r.ordered = Some(host(3))).host(3, |h| h.duty = Duty::Quiesced), &[]),
        ("... and nobody has it: it goes home", |s| s.row(|r| r.ordered = Some(host(3))).host(3, |h| h.ok = false), &["acquire 1 home e6"]),
    ]);
}

#[test]
fn what_was_moved_stays_until_another_reason_moves_it() {
    check(&[
        ("its preferred host is well", |s| pinned(s, 3), &[]),
        ("its host fails", |s| pinned(s, 3).host(3, |h| h.ok = false), &["release 3 test-failed e5"]),
        ("its host drains", |s| pinned(s, 3).host(3, |h| h.duty = Duty::Draining), &["release 3 drained e5"]),
        (
            "its host does not accept it any more",
            |s| pinned(s, 3).host(3, |h| h.accept = vec!["203.0.113.0/24".parse().unwrap()]),
            &["release 3 not-accepted e5"],
        ),
        ("another order", |s| pinned(s, 3).row(|r| r.ordered = Some(host(2))), &["release 3 moved e5"]),
        ("it expires", |s| pinned(s, 3).row(|r| r.known = false), &["release 3 expired e5"]),
    ]);
}

#[test]
fn a_doubled_failback_is_waited_for() {
    let waits = |s: Setting, well_for: u64| {
        s.online(2)
            .host(1, |h| h.well_for = Duration::from_secs(well_for))
            .row(|r| r.doublings = 3)
            .tables(|t| t.failback = Failback::After(Duration::from_secs(2)))
    };
    let rows: [(&str, u64, &[&str]); 2] = [("2 s doubled three times", 15, &[]), ("and over", 16, &["release 2 home e5"])];
    for (name, well_for, expected) in rows {
        let Setting(tables) = waits(Setting(base()), well_for);
        assert_eq!(words(&control(&tables)), expected, "{name}");
    }
    let Setting(tables) = waits(Setting(base()), 0).gone(2).row(|r| r.holders.clear());
    assert_eq!(words(&control(&tables)), ["acquire 1 home e6"], "what nobody serves waits for nothing");
}

/// Six floating addresses, all on host 1 of three.
fn uneven(evening: Evening) -> Tables {
    let mut tables = unserved(6, true, Assign::Random, (1..=3).map(|number| (host(number), fit())));
    for row in tables.addresses.values_mut() {
        row.holders.insert(host(1), holder(ItemState::Online));
    }
    Tables { evening, ..tables }
}

fn rebalanced(tables: &Tables) -> usize {
    let decisions = control(tables).decisions;
    assert!(decisions.iter().all(|decision| (decision.kind, decision.reason) == (CommandKind::Release, Reason::Rebalanced)));
    decisions.len()
}

#[test]
fn evening_out_moves_the_fewest_and_only_when_it_is_due_or_asked_for() {
    assert_eq!([Evening::Off, Evening::Due, Evening::Asked].map(|evening| rebalanced(&uneven(evening))), [0, 4, 4]);
    assert!(is_uneven(&uneven(Evening::Off)));
    for change in [|t: &mut Tables| t.frozen = true, |t: &mut Tables| t.unknown_holdings = true] {
        let mut tables = uneven(Evening::Asked);
        change(&mut tables);
        assert_eq!(rebalanced(&tables), 0);
    }
}

#[test]
fn evening_out_leaves_what_was_moved_alone_unless_an_operator_asks() {
    let pins = |mut tables: Tables| {
        tables.addresses.values_mut().for_each(|row| row.holders.values_mut().for_each(|holder| holder.pinned = true));
        tables
    };
    assert_eq!([Evening::Due, Evening::Asked].map(|evening| rebalanced(&pins(uneven(evening)))), [0, 4]);
    assert!(!is_uneven(&pins(uneven(Evening::Off))));
}

#[test]
fn accept_bounds_what_evening_out_can_do() {
    let mut tables = uneven(Evening::Due);
    // The first two of the six, one of which is enough for a host that may have no other.
    tables.hosts.insert(host(3), HostRow { accept: vec!["192.0.2.0/31".parse().unwrap()], ..fit() });
    tables.hosts.insert(host(2), HostRow { accept: vec!["203.0.113.0/24".parse().unwrap()], ..fit() });
    let decisions = control(&tables).decisions;
    let moved: BTreeSet<&Item> = decisions.iter().map(|decision| &decision.item).collect();
    assert_eq!(moved, [&address(0), &address(1)].into());
}

#[test]
fn what_its_host_has_to_give_up_is_not_uneven() {
    let mut tables = uneven(Evening::Off);
    tables.hosts.insert(host(1), HostRow { duty: Duty::Draining, ..fit() });
    assert!(!is_uneven(&tables));
}

#[test]
fn what_an_operator_has_sent_to_a_host_counts_there_before_it_has_come() {
    for (ordered, other) in [(1, 2), (2, 1)] {
        let mut tables = unserved(2, true, Assign::Random, (1..=2).map(|number| (host(number), fit())));
        tables.addresses.values_mut().next().unwrap().ordered = Some(host(ordered));
        let given: Vec<HostId> = control(&tables).decisions.iter().map(|decision| decision.to).collect();
        assert_eq!(given, [host(ordered), host(other)]);
    }
}

#[test]
fn of_hosts_that_do_not_accept_an_address_nobody_says_that_they_have_failed() {
    fn elsewhere(row: &mut HostRow) {
        row.accept = vec!["203.0.113.0/24".parse().unwrap()];
    }
    check(&[
        (
            "one does not accept it, the other is in back-off",
            |s| {
                s.gone(1).host(2, elsewhere).row(|r| {
                    r.back_off.insert(host(3));
                })
            },
            &["cannot assign: every eligible host has failed to acquire it and is in back-off"],
        ),
        ("neither accepts it", |s| s.gone(1).host(2, elsewhere).host(3, elsewhere), &["cannot assign: no eligible host accepts it"]),
    ]);
}
