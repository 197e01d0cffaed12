//! Addresses: what goes on, what comes off, and what is left alone.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libtest_mimic::Trial;
use raisd::node::event::{Event, Mark, OpId, Outcome};
use raisd::ports::netlink::{AddressChange, ChangeKind, Limits};
use raisd::types::item::ServiceAddress;

use super::namespace::{Neighbour, addresses, await_up, ip, source_to, test, veth, veth_down};
use super::port::{OURS, Port, Told, absent, drops, present, protocols, told};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("netlink::an_address_goes_on_marked_and_comes_off", on_and_off),
        test("netlink::a_thousand_ipv4_addresses_are_answered_once_each", a_thousand_ipv4),
        test("netlink::two_hundred_ipv6_addresses_are_answered_once_each", two_hundred_ipv6),
        test("netlink::changes_of_one_address_are_done_in_order", in_order),
        test("netlink::what_is_there_or_gone_already_is_done", idempotence),
        test("netlink::an_unmarked_address_is_never_removed", never_removes_foreign),
        test("netlink::an_unmarked_address_is_taken_over_as_it_is", takes_over),
        test("netlink::a_service_address_is_never_a_source", never_a_source),
        test("netlink::a_service_address_serves", serves),
        test("netlink::what_the_kernel_refuses_is_explained", refusals),
        test("netlink::lost_answers_are_made_up_for", lost_answers),
        test("netlink::dropping_the_handle_lets_the_queue_be_done", dropped),
    ]
}

async fn on_and_off() {
    veth("va", "vb");
    let mut port = Port::open(&["va"]).await;
    for (address, shown) in
        [("192.0.2.11", "192.0.2.11/32 host"), ("2001:db8::11", "2001:db8::11/128 global"), ("198.51.100.1/24", "198.51.100.1/24 host")]
    {
        assert_eq!(port.add("va", address).await, [present("va", address, Mark::Ours)]);
        assert_eq!(addresses("va"), [shown]);
        let ip_address = address.parse::<ServiceAddress>().unwrap().address;
        assert_eq!(protocols("va").await[&ip_address], OURS);
        let family = if ip_address.is_ipv4() { "-4" } else { "-6" };
        let routes = ip(&format!("{family} route show dev va"));
        assert!(
            !routes.contains("192.0.2") && !routes.contains("198.51") && !routes.contains("proto kernel metric 256 pref medium\n2001"),
            "{routes}"
        );
        assert_eq!(port.remove("va", address).await, [absent("va", address)]);
        assert_eq!(addresses("va"), Vec::<String>::new());
    }
}

#[expect(clippy::disallowed_methods, reason = "the test measures")]
async fn timed(port: &mut Port, kind: ChangeKind, all: &[ServiceAddress], what: &str) {
    let started = std::time::Instant::now();
    let mut ops = port.ask(kind, "va", all);
    let mut seen = 0;
    while !ops.is_empty() || seen < all.len() {
        match told(port.events.recv().await.unwrap()) {
            Told::Finished(op, outcome) => {
                assert!(ops.remove(&op), "{op:?} answered twice");
                assert_eq!(outcome, Outcome::Done);
            }
            Told::Changed(_) => seen += 1,
        }
    }
    let took = started.elapsed();
    println!("{what}: {} in {:.1} ms", all.len(), took.as_secs_f64() * 1e3);
    assert_eq!(seen, all.len());
    assert_eq!(port.events.try_recv(), None);
}

async fn a_thousand_ipv4() {
    veth("va", "vb");
    let mut port = Port::open(&["va"]).await;
    let all: Vec<_> = (0..1000u32).map(|i| ServiceAddress::host(IpAddr::V4(Ipv4Addr::from(0x0a14_0000 + i)))).collect();
    timed(&mut port, ChangeKind::Add, &all, "IPv4 addresses added, told and answered").await;
    assert_eq!(addresses("va").len(), 1000);
    assert!(protocols("va").await.values().filter(|protocol| **protocol == OURS).count() == 1000);
    timed(&mut port, ChangeKind::Remove, &all, "IPv4 addresses removed, told and answered").await;
    assert_eq!(addresses("va").len(), 0);
}

async fn two_hundred_ipv6() {
    veth("va", "vb");
    let mut port = Port::open(&["va"]).await;
    let all: Vec<_> = (1..=200u16).map(|i| ServiceAddress::host(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, i)))).collect();
    timed(&mut port, ChangeKind::Add, &all, "IPv6 addresses added, told and answered").await;
    assert_eq!(addresses("va").len(), 200);
    timed(&mut port, ChangeKind::Remove, &all, "IPv6 addresses removed, told and answered").await;
    assert_eq!(addresses("va").len(), 0);
}

async fn in_order() {
    veth("va", "vb");
    let mut port = Port::open(&["va"]).await;
    let address: ServiceAddress = "192.0.2.11".parse().unwrap();
    let other: ServiceAddress = "192.0.2.12".parse().unwrap();
    let mut changes = Vec::new();
    for op in 0..9 {
        let kind = if op % 2 == 0 { ChangeKind::Add } else { ChangeKind::Remove };
        changes.push(AddressChange { op: OpId(2 * op), kind, interface: "va".to_owned(), address });
        changes.push(AddressChange { op: OpId(2 * op + 1), kind, interface: "va".to_owned(), address: other });
    }
    port.netlink.change(changes).unwrap();
    let mut finished = Vec::new();
    while finished.len() < 18 {
        if let Event::Finished { op, outcome } = port.events.recv().await.unwrap() {
            assert_eq!(outcome, Outcome::Done);
            finished.push(op.0);
        }
    }
    assert_eq!(finished, (0..18).collect::<Vec<_>>());
    assert_eq!(addresses("va"), ["192.0.2.11/32 host", "192.0.2.12/32 host"]);
}

async fn idempotence() {
    veth("va", "vb");
    let mut port = Port::open(&["va"]).await;
    for address in ["192.0.2.11", "2001:db8::11"] {
        port.add("va", address).await;
        assert_eq!(port.add("va", address).await, []);
        port.remove("va", address).await;
        assert_eq!(port.remove("va", address).await, []);
    }
    assert_eq!(port.remove("nowhere", "192.0.2.11").await, []);
}

async fn never_removes_foreign() {
    veth("va", "vb");
    ip("address add 192.0.2.11/32 dev va");
    ip("address add 192.0.2.12/24 dev va");
    ip("address add 2001:db8::11/64 dev va nodad");
    let mut port = Port::open(&["va"]).await;
    let before = addresses("va");
    for address in ["192.0.2.11", "192.0.2.12", "192.0.2.12/24", "2001:db8::11", "2001:db8::11/64"] {
        let (outcomes, _) = port.change(ChangeKind::Remove, "va", &[address]).await;
        let [Outcome::Failed { why }] = outcomes.as_slice() else { panic!("{address}: {outcomes:?}") };
        assert!(why.contains("va") && why.contains("0x52"), "{why}");
    }
    assert_eq!(addresses("va"), before);
    // Also not when the address was ours a moment ago and somebody has put it back without the mark.
    port.add("va", "192.0.2.30").await;
    ip("address del 192.0.2.30/32 dev va");
    ip("address add 192.0.2.30/32 dev va");
    let (outcomes, changes) = port.change(ChangeKind::Remove, "va", &["192.0.2.30"]).await;
    assert!(matches!(outcomes.as_slice(), [Outcome::Failed { .. }]), "{outcomes:?}");
    assert_eq!(changes.last(), Some(&present("va", "192.0.2.30", Mark::Foreign)));
    assert!(addresses("va").contains(&"192.0.2.30/32 global".to_owned()));
}

async fn takes_over() {
    veth("va", "vb");
    ip("address add 192.0.2.11/32 dev va");
    ip("address add 198.51.100.11/24 dev va");
    ip("address add 198.51.100.12/24 dev va");
    ip("address add 2001:db8::11/64 dev va nodad");
    let mut port = Port::open(&["va"]).await;
    let before = addresses("va");
    assert_eq!(port.add("va", "192.0.2.11").await, [present("va", "192.0.2.11", Mark::Ours)]);
    // Under the prefix of its maker: taking a /24 off and putting a /32 on would take its secondary addresses along.
    assert_eq!(port.add("va", "198.51.100.11").await, [present("va", "198.51.100.11/24", Mark::Ours)]);
    assert_eq!(port.add("va", "2001:db8::11").await, [present("va", "2001:db8::11/64", Mark::Ours)]);
    assert_eq!(addresses("va"), before);
    let protocols = protocols("va").await;
    for address in ["192.0.2.11", "198.51.100.11", "2001:db8::11"] {
        assert_eq!(protocols[&address.parse::<IpAddr>().unwrap()], OURS, "{address}");
    }
    assert_ne!(protocols[&"198.51.100.12".parse::<IpAddr>().unwrap()], OURS);
    // The routes of the maker stay: the host keeps the way to its own network.
    assert!(ip("route show dev va").contains("198.51.100.0/24"));
    assert!(ip("-6 route show dev va").contains("2001:db8::/64"));
    assert_eq!(port.remove("va", "2001:db8::11").await, [absent("va", "2001:db8::11/64")]);
    assert_eq!(port.remove("va", "192.0.2.11").await, [absent("va", "192.0.2.11")]);
}

async fn never_a_source() {
    veth("va", "vb");
    let mut port = Port::open(&["va"]).await;
    for address in ["192.0.2.11", "198.51.100.1/24", "2001:db8::11", "2001:db8:1::1/64"] {
        port.add("va", address).await;
    }
    for route in ["192.0.2.0/24 dev va", "10.7.0.0/24 dev va", "10.8.0.0/24 via 192.0.2.1", "198.51.100.0/24 dev va"] {
        ip(&format!("route add {route}"));
    }
    ip("-6 route add 2001:db8::/64 dev va");
    ip("-6 route add default via 2001:db8::1");
    let destinations = ["192.0.2.77", "10.7.0.1", "10.8.0.1", "198.51.100.77", "2001:db8::77", "2001:db8:9::1"];
    // Without any other address, none is chosen for IPv4. For IPv6 the kernel would rather have a deprecated address than none (RFC 6724
    // orders candidates, it excludes none), and there is no way to keep it from that.
    for destination in destinations.iter().filter(|destination| !destination.contains(':')) {
        assert_eq!(source_to(destination), None, "{destination}");
    }
    // The host's own addresses come later, as with DHCP at boot, and are chosen at once.
    ip("address add 10.9.0.5/24 dev va");
    ip("address add 2001:db8:9::5/64 dev va nodad");
    for destination in destinations {
        let expected = if destination.contains(':') { "2001:db8:9::5" } else { "10.9.0.5" };
        assert_eq!(source_to(destination).as_deref(), Some(expected), "{destination}");
    }
    // A service address within the host's own subnet is secondary there.
    port.add("va", "10.9.0.77/24").await;
    assert!(addresses("va").contains(&"10.9.0.77/24 global".to_owned()));
    assert_eq!(source_to("10.9.0.1").as_deref(), Some("10.9.0.5"));
}

async fn serves() {
    veth_down("va", "vb");
    let client = Neighbour::new();
    client.take("vb");
    ip("link set va up");
    client.ip("link set vb up");
    await_up("va");
    client.run(|| await_up("vb"));
    client.ip("address add 192.0.2.100/24 dev vb");
    client.ip("address add 2001:db8::100/64 dev vb nodad");
    let mut port = Port::open(&["va"]).await;
    ip("route add 192.0.2.0/24 dev va");
    ip("-6 route add 2001:db8::/64 dev va");
    for address in ["192.0.2.11", "2001:db8::11"] {
        port.add("va", address).await;
        // The answer comes when the address is reachable, not before: one packet is enough.
        let server = std::net::UdpSocket::bind((address, 7)).unwrap();
        let to = address.to_owned();
        let sent = client.run(move || {
            let any = if to.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
            let socket = std::net::UdpSocket::bind(any).unwrap();
            socket.send_to(b"hello", (to.as_str(), 7)).unwrap();
            socket
        });
        let mut buffer = [0; 16];
        server.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let (_, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(b"world", from).unwrap();
        sent.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let (_, answered) = sent.recv_from(&mut buffer).unwrap();
        assert_eq!(answered.ip(), address.parse::<IpAddr>().unwrap());
    }
}

async fn refusals() {
    veth("va", "vb");
    let mut port = Port::open(&["va"]).await;
    let (outcomes, _) = port.change(ChangeKind::Add, "nowhere", &["192.0.2.11"]).await;
    let [Outcome::Failed { why }] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert!(why.contains("192.0.2.11/32") && why.contains("nowhere"), "{why}");
    ip("link set va down");
    ip("link set va mtu 1000");
    ip("link set va up");
    let (outcomes, _) = port.change(ChangeKind::Add, "va", &["192.0.2.11", "2001:db8::11", "192.0.2.12"]).await;
    let [Outcome::Done, Outcome::Failed { why }, Outcome::Done] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert!(why.contains("2001:db8::11/128") && why.contains("va"), "{why}");
    ip("link del va");
    let (outcomes, _) = port.change(ChangeKind::Remove, "va", &["192.0.2.11"]).await;
    assert_eq!(outcomes, [Outcome::Done]);
}

async fn lost_answers() {
    veth("va", "vb");
    let mut port = Port::open_with(&["va"], Limits { receive_buffer: 1, batch: 400 }).await;
    let all: Vec<_> = (0..400u32).map(|i| ServiceAddress::host(IpAddr::V4(Ipv4Addr::from(0x0a14_0000 + i)))).collect();
    for (kind, left) in [(ChangeKind::Add, 400), (ChangeKind::Remove, 0)] {
        let mut ops = port.ask(kind, "va", &all);
        while !ops.is_empty() {
            if let Event::Finished { op, outcome } = port.events.recv().await.unwrap() {
                assert!(ops.remove(&op), "{op:?} answered twice");
                assert_eq!(outcome, Outcome::Done);
            }
        }
        assert_eq!(addresses("va").len(), left);
    }
    assert!(drops() > 0, "nothing was lost, so nothing is shown");
}

async fn dropped() {
    veth("va", "vb");
    let mut port = Port::open(&["va"]).await;
    let all: Vec<_> = (0..300u32).map(|i| ServiceAddress::host(IpAddr::V4(Ipv4Addr::from(0x0a14_0000 + i)))).collect();
    let mut ops = port.ask(ChangeKind::Add, "va", &all);
    let Port { netlink, mut events, .. } = port;
    drop(netlink);
    while let Some(event) = events.recv().await {
        if let Event::Finished { op, .. } = event {
            assert!(ops.remove(&op));
        }
    }
    assert_eq!(ops, BTreeSet::new());
    assert_eq!(addresses("va").len(), 300);
}
