//! Control sockets and single hosts: over which network what goes, and for whom what comes.

use std::net::UdpSocket;
use std::time::Duration;

use libtest_mimic::Trial;
use raisd::node::action::Unicast;
use raisd::node::event::{GroupIndex, KernelChange, Way};
use raisd::ports::interfaces::Interfaces;
use raisd::ports::multicast::{ControlNetwork, ControlSettings, ControlSockets, Drops, GroupAddress, Received, Talk};

use super::multicast::{MINUTES, cables, put, settled};
use super::namespace::{Neighbour, ip, test};
use super::port::Port;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("unicast::each_ipv4_address_is_reached_over_its_own_network", || each_network(["10.0.0.1", "10.1.0.1"])),
        test("unicast::each_ipv6_address_is_reached_over_its_own_network", || each_network(["2001:db8::1", "2001:db8:1::1"])),
        test("unicast::an_address_behind_a_router_is_reached_where_the_route_leads", routed),
        test("unicast::groups_that_share_a_port_are_told_apart", shared_port),
        test("unicast::what_comes_in_over_another_interface_stays_out", elsewhere),
        test("unicast::a_group_without_multicast_names_a_network_that_is_down", down),
    ]
}

const TAGS: [[u8; 4]; 2] = [*b"one\0", *b"two\0"];

fn settings(networks: &[&str]) -> ControlSettings {
    let is_ipv4 = !networks[0].contains(':');
    ControlSettings {
        networks: networks.iter().map(|address| ControlNetwork::Address(address.parse().unwrap())).collect(),
        groups: (0..).map(GroupIndex).zip(TAGS.map(|tag| GroupAddress { tag, talk: Talk::Unicast { is_ipv4, port: 4242 } })).collect(),
    }
}

/// Two networks with a neighbour, whose last digit is 2 where ours is 1.
async fn pair(own: [&'static str; 2]) -> (Neighbour, Port, Interfaces) {
    let neighbour = cables();
    for (address, (here, there)) in own.into_iter().zip([("va", "pa"), ("vb", "pb")]) {
        put(address, here);
        let (their, nodad) = (theirs(address), if address.contains(':') { "nodad" } else { "" });
        let prefix = if address.contains(':') { 64 } else { 24 };
        neighbour.ip(&format!("address add {their}/{prefix} dev {there} {nodad}"));
    }
    let port = Port::open(&[]).await;
    let interfaces = settled(&mut port.interfaces(), &own).await;
    (neighbour, port, interfaces)
}

fn theirs(own: &str) -> String {
    format!("{}2", &own[..own.len() - 1])
}

/// A socket of the neighbour.
fn listen(neighbour: &Neighbour, address: &str) -> UdpSocket {
    let address: std::net::IpAddr = address.parse().unwrap();
    neighbour.run(move || {
        let socket = UdpSocket::bind((address, 4242)).unwrap();
        socket.set_read_timeout(Some(MINUTES)).unwrap();
        socket
    })
}

/// What the neighbour gets next, and from where.
fn next(socket: &UdpSocket) -> (Vec<u8>, String) {
    let mut buffer = [0; 2048];
    let (length, from) = socket.recv_from(&mut buffer).expect("a datagram");
    (buffer[..length].to_vec(), from.ip().to_string())
}

/// Nothing more is there.
fn is_empty(socket: &UdpSocket) -> bool {
    socket.set_nonblocking(true).unwrap();
    let nothing = socket.recv(&mut [0; 2048]).is_err();
    socket.set_nonblocking(false).unwrap();
    nothing
}

/// With a header that says this group.
fn datagram(tag: [u8; 4], text: &[u8]) -> Vec<u8> {
    let mut bytes = [b"RAIS".as_slice(), &[1, 1, 0, 4], &tag].concat();
    bytes.resize(100, 0);
    bytes.extend_from_slice(text);
    bytes
}

async fn hear(sockets: &mut ControlSockets) -> Received {
    tokio::time::timeout(MINUTES, sockets.recv()).await.expect("a datagram")
}

async fn each_network(own: [&'static str; 2]) {
    let (neighbour, _port, interfaces) = pair(own).await;
    let mut sockets = ControlSockets::open(&settings(&own), &interfaces);
    let works = [0, 1].map(|network| KernelChange::Network { network, fault: None });
    assert_eq!(sockets.take_changes(), works);
    let there = own.map(|own| listen(&neighbour, &theirs(own)));
    let addresses = own.map(|own| theirs(own).parse().unwrap());
    let unicast = Unicast { whole: vec![addresses[0]], opening: vec![addresses[1]] };
    sockets.send(GroupIndex(0), &[b"first".to_vec(), b"second".to_vec()], &unicast);
    assert_eq!(next(&there[0]), (b"first".to_vec(), own[0].to_owned()));
    assert_eq!(next(&there[0]), (b"second".to_vec(), own[0].to_owned()));
    assert_eq!(next(&there[1]), (b"first".to_vec(), own[1].to_owned()));
    assert!(is_empty(&there[0]) && is_empty(&there[1]), "the opening is one datagram, and no address gets it over two networks");
    for (network, socket) in (0..).zip(&there) {
        socket.send_to(&datagram(TAGS[0], b"answer"), (own[usize::from(network)], 4242)).unwrap();
        let received = hear(&mut sockets).await;
        assert_eq!((received.network, received.way, received.bytes.ends_with(b"answer")), (network, Way::Unicast, true));
    }
    assert_eq!(sockets.take_changes(), []);
}

async fn routed() {
    let own = ["10.0.0.1", "10.1.0.1"];
    let (neighbour, _port, interfaces) = pair(own).await;
    neighbour.ip("link set lo up");
    neighbour.ip("address add 10.9.0.2/32 dev lo");
    let there = listen(&neighbour, "10.9.0.2");
    let mut sockets = ControlSockets::open(&settings(&own), &interfaces);
    sockets.take_changes();
    let unicast = Unicast { whole: vec!["10.9.0.2".parse().unwrap()], opening: Vec::new() };
    // Nowhere yet.
    sockets.send(GroupIndex(0), &[b"lost".to_vec()], &unicast);
    assert_eq!(sockets.take_changes(), []);
    ip("route add 10.9.0.0/24 via 10.1.0.2");
    sockets.send(GroupIndex(0), &[b"routed".to_vec()], &unicast);
    assert_eq!(next(&there), (b"routed".to_vec(), "10.1.0.1".to_owned()));
    ip("route replace 10.9.0.0/24 via 10.0.0.2");
    sockets.send(GroupIndex(0), &[b"other way".to_vec()], &unicast);
    assert_eq!(next(&there), (b"other way".to_vec(), "10.0.0.1".to_owned()));
    assert!(is_empty(&there));
}

async fn shared_port() {
    let own = ["10.0.0.1", "10.1.0.1"];
    let (neighbour, _port, interfaces) = pair(own).await;
    let mut sockets = ControlSockets::open(&settings(&own), &interfaces);
    let there = listen(&neighbour, "10.0.0.2");
    let unknown = datagram(*b"who?", b"");
    for (bytes, group) in [(datagram(TAGS[1], b""), 1), (datagram(TAGS[0], b""), 0), (unknown, 0), (b"noise".to_vec(), 0)] {
        there.send_to(&bytes, ("10.0.0.1", 4242)).unwrap();
        let received = hear(&mut sockets).await;
        assert_eq!((received.group, received.bytes), (GroupIndex(group), bytes), "what is for nobody is counted by one of them");
    }
}

async fn elsewhere() {
    let own = ["10.0.0.1", "10.1.0.1"];
    let (neighbour, _port, interfaces) = pair(own).await;
    let mut sockets = ControlSockets::open(&settings(&own), &interfaces);
    let there = listen(&neighbour, "10.1.0.2");
    neighbour.ip("route add 10.0.0.1/32 dev pb");
    there.send_to(&datagram(TAGS[0], b"wrong way"), ("10.0.0.1", 4242)).unwrap();
    neighbour.ip("route del 10.0.0.1/32 dev pb");
    there.send_to(&datagram(TAGS[0], b"right way"), ("10.1.0.1", 4242)).unwrap();
    let received = hear(&mut sockets).await;
    assert!((received.network, received.bytes.ends_with(b"right way")) == (1, true), "{received:?}");
    let dropped = async {
        while sockets.drops(GroupIndex(0)) == Drops::default() {
            assert_eq!(sockets.try_recv(), None);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), dropped).await.expect("it is counted");
    assert_eq!(sockets.drops(GroupIndex(0)), Drops { elsewhere: 1, too_long: 0 });
}

async fn down() {
    let own = ["10.0.0.1", "10.1.0.1"];
    let (_neighbour, port, interfaces) = pair(own).await;
    let mut sockets = ControlSockets::open(&settings(&own), &interfaces);
    assert_eq!(sockets.take_changes().len(), 2);
    ip("link set va down");
    let mut changed = port.interfaces();
    let is_down = |interfaces: &std::sync::Arc<Interfaces>| {
        interfaces.named("va").is_some_and(|va| va.state == raisd::ports::interfaces::LinkState::Down)
    };
    let interfaces = tokio::time::timeout(MINUTES, changed.wait_for(is_down)).await.expect("it goes down").unwrap().clone();
    sockets.refresh(&interfaces);
    let changes = sockets.take_changes();
    let [KernelChange::Network { network: 0, fault: Some(why) }] = changes.as_slice() else { panic!("{changes:?}") };
    assert!(why.contains("va") && why.contains("ip link set"), "{why}");
}
