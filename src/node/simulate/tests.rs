//! Pools written down, and where everything would end.

use serde_json::{Value, json};

use super::*;

fn address(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn id(last: u8) -> HostId {
    HostId([10, 0, 0, last].into())
}

/// A host as a state file has it at least.
fn host(last: u8, preferred: &[u8], serving: &[u8]) -> Value {
    let online = |last: &u8| json!({"address": address(*last), "state": "online"});
    json!({
        "id": id(last), "name": format!("web{last}"), "ok": true, "spare": preferred.is_empty(), "self": last == 1, "capacity": 1000,
        "preferred": preferred.iter().map(|last| address(*last)).collect::<Vec<_>>(),
        "serving": serving.iter().map(online).collect::<Vec<_>>(),
    })
}

/// An address, its home (0: floating) and its holder (0: none).
fn placed(last: u8, home: u8, holder: u8) -> Value {
    json!({
        "address": address(last), "prefix": 32, "preferred_host": (home > 0).then(|| id(home)), "floating": home == 0,
        "state": if holder > 0 { "online" } else { "unserved" },
        "served_by": if holder > 0 { vec![id(holder)] } else { vec![] }, "orphan_remaining_ms": null, "epoch": 4,
    })
}

fn view(hosts: &[Value], addresses: &[Value]) -> View {
    let value = json!({
        "version": 1, "host": {"id": id(1)},
        "groups": [{
            "name": "www", "placement": "leader", "leader": id(1), "frozen": false,
            "policy": {"assign": "fair", "rebalance": "never", "failback": "0s"},
            "hosts": hosts, "addresses": addresses,
            "zone": {"name": "www.pool.example.", "serial": 7, "advertised": [address(1), address(2)], "withheld": []}
        }]
    });
    serde_json::from_value(value).unwrap()
}

/// Two servers and a spare, all at home.
fn pool() -> View {
    view(&[host(1, &[1], &[1]), host(2, &[2], &[2]), host(3, &[], &[])], &[placed(1, 1, 1), placed(2, 2, 2)])
}

fn assume(fail: &[&str], quiesce: &[&str], join: &[&str]) -> Assumptions {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Assumptions { fail: owned(fail), quiesce: owned(quiesce), join: owned(join) }
}

fn run(view: &View, assumptions: &Assumptions) -> GroupSimulation {
    simulate(view, assumptions).unwrap().groups.remove(0)
}

fn moves(group: &GroupSimulation) -> Vec<(IpAddr, HostId, Reason)> {
    group.moves.iter().map(|one| (one.address, one.to, one.reason)).collect()
}

#[test]
fn a_pool_at_rest_stays_as_it_is() {
    let view = pool();
    let group = run(&view, &Assumptions::default());
    assert_eq!((group.moves.as_slice(), group.unserved.as_slice()), ([].as_slice(), [].as_slice()));
    let zone = group.zone.unwrap();
    assert_eq!((zone.serial, zone.advertised), (7, vec![address(1), address(2)]));
}

#[test]
fn what_a_host_held_that_vanishes_goes_to_the_spare() {
    let group = run(&pool(), &assume(&["web2"], &[], &[]));
    assert_eq!(group.moves, [Move { address: address(2), from: vec![id(2)], to: id(3), reason: Reason::Assigned }]);
    let moved = &group.addresses[1];
    assert_eq!((moved.state.as_str(), &moved.served_by, &moved.kernel, moved.epoch), ("online", &vec![id(3)], &vec![id(3)], 5));
    assert_eq!(moved.orphan_remaining_ms, Some(365 * 24 * 3600 * 1000));
    let zone = group.zone.unwrap();
    assert_eq!((zone.serial, zone.advertised), (8, vec![address(1)]));
}

#[test]
fn a_quiesced_spare_takes_nothing_and_a_quiesced_server_keeps_what_it_has() {
    let group = run(&pool(), &assume(&["10.0.0.2"], &["web3", "web1"], &[]));
    assert_eq!((group.moves.as_slice(), group.unserved.as_slice()), ([].as_slice(), [address(2)].as_slice()));
    assert!(!simulate(&pool(), &assume(&["web2"], &["web3", "web1"], &[])).unwrap().is_served());
    assert_eq!(group.addresses[1].reason, "no host is ok, settled and not quiesced");
}

#[test]
fn who_comes_back_gets_its_own_and_a_stranger_is_a_spare() {
    let mut silent = host(2, &[], &[]);
    silent["silent"] = json!(true);
    silent["ok"] = json!(false);
    let view = view(&[host(1, &[1], &[1, 2]), silent], &[placed(1, 1, 1), placed(2, 2, 1)]);
    let group = run(&view, &assume(&[], &[], &["web2"]));
    assert_eq!(moves(&group), [(address(2), id(2), Reason::Home)]);
    let group = run(&view, &assume(&["web1"], &[], &["10.0.0.9"]));
    assert_eq!(moves(&group), [(address(1), id(9), Reason::Assigned), (address(2), id(9), Reason::Assigned)]);
}

#[test]
fn hosts_that_nobody_knows_are_an_error_that_names_those_that_are_known() {
    let error = simulate(&pool(), &assume(&["web7"], &[], &[])).unwrap_err();
    assert_eq!(error.to_string(), "no host \"web7\" in this state; it knows web1 (10.0.0.1), web2 (10.0.0.2), web3 (10.0.0.3)");
    assert!(matches!(simulate(&pool(), &assume(&[], &[], &["web7"])), Err(SimulateError::UnknownJoiner { .. })));
}

#[test]
fn a_host_that_is_not_ok_gives_up_unless_it_is_to_keep_or_the_group_is_frozen() {
    let mut failing = host(2, &[2], &[2]);
    failing["ok"] = json!(false);
    let mut view = view(&[host(1, &[1], &[1]), failing], &[placed(1, 1, 1), placed(2, 2, 2)]);
    assert_eq!(moves(&run(&view, &Assumptions::default())), [(address(2), id(1), Reason::TestFailed)]);
    let without_one = assume(&["web1"], &[], &[]);
    assert_eq!(run(&view, &without_one).unserved, [address(1), address(2)]);
    view.groups[0].policy.all_failed = AllFailed::Keep;
    assert_eq!(run(&view, &without_one).unserved, [address(1)]);
    view.groups[0].policy.all_failed = AllFailed::Release;
    view.groups[0].frozen = true;
    let group = run(&view, &without_one);
    assert_eq!((group.moves.as_slice(), group.unserved.as_slice()), ([].as_slice(), [address(1)].as_slice()));
}

#[test]
fn floating_addresses_are_evened_out_only_where_the_policy_says_so() {
    let hosts = [host(1, &[], &[11, 12, 13, 14]), host(2, &[], &[])];
    let mut view = view(&hosts, &[placed(11, 0, 1), placed(12, 0, 1), placed(13, 0, 1), placed(14, 0, 1)]);
    assert_eq!(run(&view, &Assumptions::default()).moves, []);
    view.groups[0].policy.rebalance = "10m".to_owned();
    let evened = moves(&run(&view, &Assumptions::default()));
    assert_eq!(evened, [(address(11), id(2), Reason::Rebalanced), (address(12), id(2), Reason::Rebalanced)]);
    // What the operator has moved stays where he put it.
    view.groups[0].addresses[0].pinned = true;
    let evened = moves(&run(&view, &Assumptions::default()));
    assert_eq!(evened, [(address(12), id(2), Reason::Rebalanced), (address(13), id(2), Reason::Rebalanced)]);
}

#[test]
fn hosts_that_name_an_address_come_before_those_that_accept_anything() {
    let naming = |last: u8| {
        let mut host = host(last, &[], &[]);
        host["accept"] = json!([address(11), "192.0.2.12/32"]);
        host
    };
    let view = view(&[naming(1), naming(2), host(3, &[], &[])], &[placed(11, 0, 0), placed(12, 0, 0), placed(13, 0, 0)]);
    let placed: Vec<HostId> = run(&view, &Assumptions::default()).addresses.iter().map(|address| address.served_by[0]).collect();
    assert_eq!(placed, [id(1), id(2), id(3)]);
    let group = run(&view, &assume(&["web1", "web2"], &[], &[]));
    assert!(group.addresses.iter().all(|address| address.served_by == [id(3)]), "who accepts anything stands in");
}

#[test]
fn what_is_on_its_way_counts_as_done() {
    let mut view = view(&[host(1, &[1], &[1]), host(2, &[2], &[2])], &[placed(1, 1, 1), placed(2, 2, 2)]);
    view.groups[0].hosts[0].serving[0].state = "acquiring".to_owned();
    view.groups[0].hosts[1].serving[0].state = "releasing".to_owned();
    let group = run(&view, &Assumptions::default());
    assert_eq!((group.moves.as_slice(), group.unserved.as_slice()), ([].as_slice(), [].as_slice()));
}

#[test]
fn the_loss_of_any_one_host_is_survived_where_another_can_take_over() {
    assert_eq!(losses_not_survived(&pool().groups[0]), []);
    let mut view = pool();
    view.groups[0].hosts[2].quiesced = true;
    assert_eq!(losses_not_survived(&view.groups[0]), [], "the servers take over from each other");
    view.groups[0].hosts[1].quiesced = true;
    assert_eq!(losses_not_survived(&view.groups[0]), [id(1)]);
}
