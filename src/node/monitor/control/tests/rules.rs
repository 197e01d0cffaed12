//! Which rule the step names for each row of its tables, and that naming it changes nothing.

use std::collections::BTreeSet;

use super::*;
use crate::node::monitor::rule::Obstacle;
use crate::types::explanation::RuleWord;

type Row = (&'static str, fn(Setting) -> Setting, Rule);

fn rules() -> Vec<Row> {
    let away = |because| Rule::StaysAway { at: host(2), home: host(1), because };
    let not_eligible = |obstacle| away(NotHome::NotEligible(obstacle));
    vec![
        ("at home", |s| s.online(1), Rule::StaysAtHome { at: host(1) }),
        ("home is well", |s| s.online(2), Rule::GoesHome { from: host(2), to: host(1) }),
        ("home is not ok", |s| s.online(2).host(1, |h| h.ok = false), not_eligible(Obstacle::NotOk)),
        ("home is quiesced", |s| s.online(2).host(1, |h| h.duty = Duty::Quiesced), not_eligible(Obstacle::Quiesced)),
        ("home is draining", |s| s.online(2).host(1, |h| h.duty = Duty::Draining), not_eligible(Obstacle::Draining)),
        ("home is not settled", |s| s.online(2).host(1, |h| h.settled = false), not_eligible(Obstacle::NotSettled)),
        ("home is not known whole", |s| s.online(2).host(1, |h| h.ready = false), not_eligible(Obstacle::NotReady)),
        (
            "home does not accept it",
            |s| s.online(2).host(1, |h| h.accept = vec!["198.51.100.0/24".parse().unwrap()]),
            away(NotHome::NotAccepted),
        ),
        ("home is in back-off", |s| s.online(2).row(|r| r.back_off = [host(1)].into()), away(NotHome::BackOff)),
        ("somebody is not known whole", |s| s.online(2).tables(|t| t.unknown_holdings = true), away(NotHome::EntriesIncomplete)),
        ("failback is never", |s| s.online(2).tables(|t| t.failback = Failback::Never), away(NotHome::Never)),
        (
            "home has not been well for failback",
            |s| s.online(2).tables(|t| t.failback = Failback::After(Duration::from_secs(4000))),
            away(NotHome::TooSoon { wait: Duration::from_secs(4000), left: Duration::from_secs(400), doublings: 0 }),
        ),
        (
            "the returns of home did not last",
            |s| s.online(2).host(1, |h| h.well_for = Duration::from_millis(300)).row(|r| r.doublings = 2),
            away(NotHome::TooSoon { wait: Duration::from_millis(400), left: Duration::from_millis(100), doublings: 2 }),
        ),
        (
            "moved by an operator",
            |s| s.online(2).row(|r| r.holders.get_mut(&host(2)).unwrap().pinned = true),
            Rule::StaysPinned { at: host(2) },
        ),
        ("being moved by an operator", |s| s.online(1).row(|r| r.ordered = Some(host(2))), Rule::Moves { from: host(1), to: host(2) }),
        (
            "unserved, and an operator wants it there",
            |s| s.row(|r| r.ordered = Some(host(3))),
            Rule::Assigned { to: host(3), list: List::Ordered },
        ),
        (
            "the holder does not accept it any more",
            |s| s.gone(1).online(2).host(2, |h| h.accept = vec!["198.51.100.0/24".parse().unwrap()]),
            Rule::Leaves { from: host(2), because: Unfit::NotAccepted },
        ),
        ("floating and uneven", uneven, Rule::Rebalances { from: host(2), to: host(3) }),
        ("home is not live", |s| s.gone(1).online(2), Rule::StaysPut { at: host(2) }),
        ("floating", |s| s.online(3).row(|r| (r.floating, r.preferred_by) = (true, BTreeSet::new())), Rule::StaysPut { at: host(3) }),
        ("unserved, home is well", |s| s, Rule::Assigned { to: host(1), list: List::Home }),
        ("unserved, a spare", |s| s.gone(1), Rule::Assigned { to: host(2), list: List::Spares }),
        ("unserved, no spare", |s| s.gone(1).host(2, |h| h.ok = false), Rule::Assigned { to: host(3), list: List::Servers }),
        (
            "unserved, floating",
            |s| s.row(|r| (r.floating, r.preferred_by) = (true, BTreeSet::new())).host(1, |h| h.ok = false).host(3, |h| h.ok = false),
            Rule::Assigned { to: host(2), list: List::Spread },
        ),
        (
            "unserved, nobody",
            |s| s.host(1, |h| h.ok = false).host(2, |h| h.ok = false).host(3, |h| h.ok = false),
            Rule::CannotAssign { why: "no host is ok, settled and not quiesced" },
        ),
        ("unserved, somebody is not known whole", |s| s.tables(|t| t.unknown_holdings = true), Rule::WaitsForEntries),
        (
            "unserved, home has just started",
            |s| s.host(1, |h| (h.starting, h.settled) = (true, false)),
            Rule::WaitsForHome { home: host(1) },
        ),
        ("frozen and unserved", |s| s.tables(|t| t.frozen = true), Rule::Frozen),
        ("frozen and away", |s| s.online(2).tables(|t| t.frozen = true), Rule::Frozen),
        ("frozen and unknown", |s| s.online(2).row(|r| r.known = false).tables(|t| t.frozen = true), Rule::Frozen),
        ("being acquired", |s| s.held(2, ItemState::Acquiring), Rule::Waits { on: host(2), state: ItemState::Acquiring }),
        ("being released", |s| s.held(2, ItemState::Releasing), Rule::Waits { on: host(2), state: ItemState::Releasing }),
        (
            "told to be released",
            |s| s.online(2).row(|r| r.holders.get_mut(&host(2)).unwrap().commanded = true),
            Rule::Waits { on: host(2), state: ItemState::Online },
        ),
        ("held twice", |s| s.online(1).online(2), Rule::Duplicate { keeps: host(1) }),
        (
            "the holder is drained",
            |s| s.online(1).host(1, |h| h.duty = Duty::Draining),
            Rule::Leaves { from: host(1), because: Unfit::Draining },
        ),
        ("the holder is not ok", |s| s.online(1).host(1, |h| h.ok = false), Rule::Leaves { from: host(1), because: Unfit::NotOk }),
        (
            "the holder is not ok and nobody else is",
            |s| s.online(1).host(1, |h| h.ok = false).host(2, |h| h.ok = false).host(3, |h| h.ok = false),
            Rule::NowhereToGo { at: host(1), because: Unfit::NotOk },
        ),
        (
            "its holder is drained, but somebody is not known whole",
            |s| s.gone(1).online(3).host(3, |h| h.duty = Duty::Draining).tables(|t| t.unknown_holdings = true),
            Rule::WaitsForEntries,
        ),
        (
            "its holder is drained, but its home has just started",
            |s| s.online(3).host(3, |h| h.duty = Duty::Draining).host(1, |h| (h.starting, h.settled) = (true, false)),
            Rule::WaitsForHome { home: host(1) },
        ),
        ("expired", |s| s.online(3).row(|r| r.known = false), Rule::Unknown),
        (
            "unknown here, and not everybody knows the same",
            |s| s.online(3).row(|r| r.known = false).tables(|t| t.databases_agree = false),
            Rule::UnknownWaits,
        ),
    ]
}

/// Two floating addresses on host 2, and none on host 3; the one that is looked at is the first.
fn uneven(setting: Setting) -> Setting {
    setting.host(1, |h| h.ok = false).online(2).row(|r| (r.floating, r.preferred_by) = (true, BTreeSet::new())).tables(|t| {
        t.evening = Evening::Due;
        let row = t.addresses[&address(1)].clone();
        t.addresses.insert(address(2), row);
    })
}

#[test]
fn each_row_of_the_tables_has_its_rule() {
    for (name, change, expected) in rules() {
        let Setting(tables) = change(Setting(base()));
        let (outcome, rules) = control_explained(&tables);
        assert_eq!(rules.get(&address(1)), Some(&expected), "{name}");
        assert_eq!(outcome, control(&tables), "{name}: to name the rule changes nothing");
    }
}

#[test]
fn every_rule_is_shown_and_has_words_that_name_the_hosts() {
    let shown: BTreeSet<RuleWord> = rules().iter().map(|(_, _, rule)| rule.word()).collect();
    // Of an unknown word serde names all that there are.
    let error = serde_json::from_str::<RuleWord>("\"?\"").unwrap_err().to_string();
    let all: BTreeSet<RuleWord> = error.split('`').skip(3).step_by(2).map(|word| serde_json::from_value(word.into()).unwrap()).collect();
    assert_eq!(shown, all, "{error}");
    for word in all {
        assert_eq!(serde_json::to_value(word).unwrap(), word.as_str());
    }
    for (name, _, rule) in rules() {
        let words = rule.because(&|host| format!("web{}", host.to_string().rsplit('.').next().unwrap_or_default()));
        assert!(!words.contains("10.0.0."), "{name}: {words}");
        if format!("{rule:?}").contains("10.0.0.2") {
            assert!(words.contains("web2"), "{name}: {words}");
        }
    }
}

/// Whatever a host is like, an obstacle is named exactly if it is not eligible.
#[test]
fn an_obstacle_is_named_exactly_if_a_host_is_not_eligible() {
    let flags = [false, true];
    for (ok, ready) in flags.iter().flat_map(|ok| flags.map(|ready| (*ok, ready))) {
        for (settled, duty) in flags.iter().flat_map(|s| [Duty::Active, Duty::Quiesced, Duty::Draining].map(|duty| (*s, duty))) {
            let row = HostRow { ok, ready, settled, duty, ..fit() };
            assert_eq!(row.obstacle().is_none(), row.is_eligible(), "{row:?}");
        }
    }
}
