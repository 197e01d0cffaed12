//! Addresses: what goes on, what comes off, what is left alone, and what is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use futures_util::TryStreamExt;
use libtest_mimic::Trial;
use netlink_packet_route::address::{AddressAttribute, AddressProtocol};
use raisd::node::event::{Event, KernelChange, Link, Mark, OpId, Outcome};
use raisd::ports::interfaces::Interfaces;
use raisd::ports::netlink::{AddressChange, ChangeKind, Limits, MARK, Netlink, NetlinkEvents, Opened};
use raisd::types::item::ServiceAddress;
use tokio::sync::watch;

use super::namespace::{Neighbour, addresses, ip, ip_batch, program, source_to, test, veth};

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
        test("netlink::changes_by_hand_are_told", by_hand),
        test("netlink::links_are_told_up_down_renamed_and_back", links),
        test("netlink::leftovers_are_known_at_once", leftovers),
        test("netlink::watched_interfaces_may_change", watching),
        test("netlink::a_burst_beyond_the_buffer_is_made_up_for", overrun),
        test("netlink::lost_answers_are_made_up_for", lost_answers),
        test("netlink::dropping_the_handle_lets_the_queue_be_done", dropped),
        test("netlink::the_other_ports_hear_of_what_is_not_ours", snapshots),
    ]
}

/// What the port tells: no other event is its.
enum Told {
    Changed(KernelChange),
    Finished(OpId, Outcome),
}

fn told(event: Event) -> Told {
    if let Event::Finished { op, outcome } = event {
        return Told::Finished(op, outcome);
    }
    let Event::Kernel(change) = event else { panic!("{event:?}") };
    Told::Changed(change)
}

/// The port, with everything it has told.
pub(crate) struct Port {
    pub(crate) netlink: Netlink,
    events: NetlinkEvents,
    initial: Vec<KernelChange>,
    next_op: u64,
}

impl Port {
    pub(crate) async fn open(interfaces: &[&str]) -> Self {
        Self::open_with(interfaces, Limits::default()).await
    }

    async fn open_with(interfaces: &[&str], limits: Limits) -> Self {
        let interfaces = interfaces.iter().map(|name| (*name).to_owned()).collect();
        let Opened { netlink, events, initial } = Netlink::open_with(interfaces, limits).await.unwrap();
        Self { netlink, events, initial, next_op: 0 }
    }

    pub(crate) fn interfaces(&self) -> watch::Receiver<Arc<Interfaces>> {
        self.netlink.interfaces()
    }

    fn ask(&mut self, kind: ChangeKind, interface: &str, addresses: &[ServiceAddress]) -> BTreeSet<OpId> {
        let changes: Vec<_> = addresses
            .iter()
            .map(|address| {
                self.next_op += 1;
                AddressChange { op: OpId(self.next_op), kind, interface: interface.to_owned(), address: *address }
            })
            .collect();
        let ops = changes.iter().map(|change| change.op).collect();
        self.netlink.change(changes).unwrap();
        ops
    }

    /// Asks, and waits for all answers; returns them with everything else that was told until then.
    pub(crate) async fn change(&mut self, kind: ChangeKind, interface: &str, addresses: &[&str]) -> (Vec<Outcome>, Vec<KernelChange>) {
        let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let mut ops = self.ask(kind, interface, &addresses);
        let (mut outcomes, mut changes) = (BTreeMap::new(), Vec::new());
        while !ops.is_empty() {
            match told(self.events.recv().await.unwrap()) {
                Told::Finished(op, outcome) => {
                    assert!(ops.remove(&op), "{op:?} answered twice, or never asked");
                    outcomes.insert(op, outcome);
                }
                Told::Changed(change) => changes.push(change),
            }
        }
        (outcomes.into_values().collect(), changes)
    }

    async fn add(&mut self, interface: &str, address: &str) -> Vec<KernelChange> {
        let (outcomes, changes) = self.change(ChangeKind::Add, interface, &[address]).await;
        assert_eq!(outcomes, [Outcome::Done]);
        changes
    }

    async fn remove(&mut self, interface: &str, address: &str) -> Vec<KernelChange> {
        let (outcomes, changes) = self.change(ChangeKind::Remove, interface, &[address]).await;
        assert_eq!(outcomes, [Outcome::Done]);
        changes
    }

    /// Waits until this has been told; returns what was told before it.
    async fn until(&mut self, expected: KernelChange) -> Vec<KernelChange> {
        let mut before = Vec::new();
        loop {
            match told(self.events.recv().await.unwrap()) {
                Told::Changed(change) if change == expected => return before,
                Told::Changed(change) => before.push(change),
                Told::Finished(op, outcome) => panic!("{op:?}: {outcome:?}"),
            }
        }
    }
}

fn present(interface: &str, address: &str, mark: Mark) -> KernelChange {
    KernelChange::AddressPresent { interface: interface.to_owned(), address: address.parse().unwrap(), mark }
}

fn absent(interface: &str, address: &str) -> KernelChange {
    KernelChange::AddressAbsent { interface: interface.to_owned(), address: address.parse().unwrap() }
}

fn link(interface: &str, link: Link) -> KernelChange {
    KernelChange::Link { interface: interface.to_owned(), link }
}

fn is_up(change: &KernelChange, name: &str) -> bool {
    matches!(change, KernelChange::Link { interface, link: Link::Up { mac: Some(_) } } if interface == name)
}

/// The protocol numbers of the addresses of an interface, from a dump of the test's own: `ip` of Debian 12 does not print them.
async fn protocols(interface: &str) -> BTreeMap<IpAddr, Option<AddressProtocol>> {
    let (connection, handle, _messages) = rtnetlink::new_connection().unwrap();
    let connection = tokio::spawn(connection);
    let index = nix::net::if_::if_nametoindex(interface).unwrap();
    let messages: Vec<_> = handle.address().get().set_link_index_filter(index).execute().try_collect().await.unwrap();
    connection.abort();
    let mut protocols = BTreeMap::new();
    for message in messages {
        let (mut address, mut protocol) = (None, None);
        for attribute in message.attributes {
            if let AddressAttribute::Address(value) = attribute {
                address = Some(value);
            } else if let AddressAttribute::Protocol(value) = attribute {
                protocol = Some(value);
            }
        }
        protocols.insert(address.unwrap(), protocol);
    }
    protocols
}

const OURS: Option<AddressProtocol> = Some(AddressProtocol::Other(MARK));

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
    veth("va", "vb");
    let client = Neighbour::new();
    client.take("vb");
    client.ip("link set vb up");
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

async fn by_hand() {
    veth("va", "vb");
    let mut port = Port::open(&["va"]).await;
    ip("address add 192.0.2.1/24 dev vb");
    ip("address add 192.0.2.2/24 dev va");
    assert_eq!(port.until(present("va", "192.0.2.2/24", Mark::Foreign)).await, []);
    ip("address del 192.0.2.2/24 dev va");
    assert_eq!(port.until(absent("va", "192.0.2.2/24")).await, []);
    port.add("va", "192.0.2.11").await;
    port.add("va", "2001:db8::11").await;
    ip("address del 192.0.2.11/32 dev va");
    assert_eq!(port.until(absent("va", "192.0.2.11")).await, []);
    // Switching an interface off takes its IPv6 addresses along.
    ip("link set va down");
    let told = port.until(absent("va", "2001:db8::11")).await;
    assert!(told.contains(&link("va", Link::Down)), "{told:?}");
    // An address with the mark is told wherever it is: only this program has put it there.
    assert_eq!(port.add("vb", "192.0.2.12").await.last(), Some(&present("vb", "192.0.2.12", Mark::Ours)));
}

async fn links() {
    veth("va", "vb");
    let mut port = Port::open(&["va", "vz"]).await;
    assert!(port.initial.contains(&link("vz", Link::Absent)), "{:?}", port.initial);
    assert!(port.initial.iter().any(|change| is_up(change, "va")), "{:?}", port.initial);
    port.add("va", "192.0.2.11").await;
    // The other end goes down: this end has lost its carrier.
    ip("link set vb down");
    port.until(link("va", Link::Down)).await;
    ip("link set vb up");
    let mac = |name: &str| {
        let json: serde_json::Value = serde_json::from_str(&ip(&format!("-json link show {name}"))).unwrap();
        let text = json[0]["address"].as_str().unwrap().to_owned();
        let bytes: Vec<_> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        Link::Up { mac: Some(bytes.try_into().unwrap()) }
    };
    port.until(link("va", mac("va"))).await;
    ip("link set va address 02:00:00:00:00:42");
    port.until(link("va", Link::Up { mac: Some([2, 0, 0, 0, 0, 0x42]) })).await;
    // A bridge port that leaves its bridge is not gone.
    ip("link add name br type bridge");
    ip("link set va master br");
    ip("link set va nomaster");
    // Renamed: it is gone under the one name and there under the other, with its address.
    ip("link set va name vz");
    assert_eq!(port.until(link("va", Link::Absent)).await, []);
    let told = port.until(present("vz", "192.0.2.11", Mark::Ours)).await;
    assert_eq!(told, [absent("va", "192.0.2.11"), link("vz", Link::Up { mac: Some([2, 0, 0, 0, 0, 0x42]) })]);
    // Deleted and made again.
    ip("link del vz");
    let told = port.until(link("vz", Link::Absent)).await;
    veth("va", "vb");
    port.until(link("va", mac("va"))).await;
    assert!(told.iter().all(|change| !matches!(change, KernelChange::AddressPresent { .. })), "{told:?}");
    assert_eq!(port.add("va", "192.0.2.11").await.last(), Some(&present("va", "192.0.2.11", Mark::Ours)));
}

async fn leftovers() {
    veth("va", "vb");
    let mut first = Port::open(&[]).await;
    for (interface, address) in [("va", "192.0.2.11"), ("vb", "2001:db8::11")] {
        first.add(interface, address).await;
    }
    ip("address add 192.0.2.1/24 dev va");
    ip("address add 192.0.2.2/24 dev vb");
    drop(first);
    let second = Port::open(&["va"]).await;
    for expected in [
        present("va", "192.0.2.11", Mark::Ours),
        present("va", "192.0.2.1/24", Mark::Foreign),
        // Left over on an interface that the configuration does not name any more.
        present("vb", "2001:db8::11", Mark::Ours),
    ] {
        assert!(second.initial.contains(&expected), "{expected:?} in {:?}", second.initial);
    }
    assert!(!second.initial.contains(&present("vb", "192.0.2.2/24", Mark::Foreign)));
}

async fn watching() {
    veth("va", "vb");
    ip("address add 192.0.2.2/24 dev vb");
    let mut port = Port::open(&["va"]).await;
    port.netlink.watch_interfaces(vec!["vb".to_owned(), "vz".to_owned()]).unwrap();
    let mut told = Vec::new();
    while told.len() < 3 || !told.contains(&present("vb", "192.0.2.2/24", Mark::Foreign)) {
        let Event::Kernel(change) = port.events.recv().await.unwrap() else { panic!("an answer to nothing") };
        told.push(change);
    }
    assert!(told.iter().any(|change| is_up(change, "vb")) && told.contains(&link("vz", Link::Absent)), "{told:?}");
    ip("address add 192.0.2.3/24 dev va");
    ip("address add 192.0.2.4/24 dev vb");
    assert!(!port.until(present("vb", "192.0.2.4/24", Mark::Foreign)).await.contains(&present("va", "192.0.2.3/24", Mark::Foreign)));
}

/// How many notifications the kernel could not deliver to this namespace's route sockets.
fn drops() -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    table.lines().skip(1).map(|line| line.split_whitespace().nth(8).unwrap().parse::<u64>().unwrap()).sum()
}

async fn overrun() {
    veth("va", "vb");
    let mut port = Port::open_with(&["va"], Limits { receive_buffer: 1, ..Limits::default() }).await;
    let line = |verb: &str, i: u32| format!("address {verb} {}/32 dev va", Ipv4Addr::from(0x0a14_0000 + i));
    ip_batch((0..2000).map(|i| line("add", i)));
    ip_batch((0..2000).filter(|i| i % 3 == 0).map(|i| line("del", i)));
    assert!(drops() > 0, "nothing was lost, so nothing is shown");
    let expected: BTreeSet<_> =
        (0..2000).filter(|i| i % 3 != 0).map(|i| ServiceAddress::host(IpAddr::V4(Ipv4Addr::from(0x0a14_0000 + i)))).collect();
    let mut seen = BTreeSet::new();
    while seen != expected {
        match told(port.events.recv().await.unwrap()) {
            Told::Changed(KernelChange::AddressPresent { address, .. }) => assert!(seen.insert(address), "{address} told twice"),
            Told::Changed(KernelChange::AddressAbsent { address, .. }) => assert!(seen.remove(&address), "{address} was never told"),
            Told::Changed(_) => {}
            Told::Finished(op, outcome) => panic!("{op:?}: {outcome:?}"),
        }
    }
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

async fn snapshots() {
    veth("va", "vb");
    let mut port = Port::open(&[]).await;
    let mut interfaces = port.interfaces();
    interfaces.mark_unchanged();
    port.add("va", "192.0.2.11").await;
    port.add("va", "2001:db8::11").await;
    ip("address add 10.0.0.1/24 dev va");
    let seen = interfaces.wait_for(|interfaces| interfaces.holding([10, 0, 0, 1].into()).is_some()).await.unwrap().clone();
    let va = seen.named("va").unwrap();
    assert!(!va.has("192.0.2.11".parse().unwrap()) && !va.has("2001:db8::11".parse().unwrap()));
    assert_eq!(va.first_global([0, 0, 0, 0].into()), Some([10, 0, 0, 1].into()));
    assert_eq!(va.index, nix::net::if_::if_nametoindex("va").unwrap());
    assert!(program("ip", "link del va").status.success());
    interfaces.wait_for(|interfaces| interfaces.named("va").is_none()).await.unwrap();
}
