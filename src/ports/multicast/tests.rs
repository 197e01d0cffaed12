//! Against the kernel's loopback interface, which needs no privilege; what needs interfaces of its own is in `tests/kernel.rs`.

use std::net::UdpSocket;

use super::*;
use crate::ports::interfaces::{Choice, Framing, Interface, InterfaceAddress, LinkState};

fn loopback(state: LinkState) -> Interfaces {
    let addresses =
        ["127.0.0.1", "::1"].map(|a| InterfaceAddress { address: a.parse().unwrap(), prefix: 8, choice: Choice::Eligible }).to_vec();
    let lo = Interface { index: 1, generation: 1, state, framing: Framing::Other, mac: None, addresses };
    [("lo".to_owned(), lo)].into_iter().collect()
}

async fn hear(sockets: &mut ControlSockets) -> Received {
    tokio::time::timeout(std::time::Duration::from_secs(10), sockets.recv()).await.expect("a datagram within ten seconds")
}

/// Group addresses of this test in this process.
fn groups(test: u8, count: u8) -> Vec<SocketAddr> {
    let [low, high, ..] = std::process::id().to_le_bytes();
    (0..count).map(|group| SocketAddr::from(([239, 192 + test, high, low], 20_000 + u16::from(group)))).collect()
}

fn settings(groups: &[SocketAddr], networks: &[ControlNetwork]) -> ControlSettings {
    let groups = groups
        .iter()
        .copied()
        .enumerate()
        .map(|(index, address)| (GroupIndex(index), GroupAddress { tag: [0; 4], talk: Talk::Multicast(address) }))
        .collect();
    ControlSettings { networks: networks.to_vec(), groups }
}

fn sockets(groups: &[SocketAddr], networks: &[ControlNetwork]) -> ControlSockets {
    ControlSockets::open(&settings(groups, networks), &loopback(LinkState::Up))
}

fn by_name() -> ControlNetwork {
    ControlNetwork::Interface("lo".to_owned())
}

fn by_address(address: &str) -> ControlNetwork {
    ControlNetwork::Address(address.parse().unwrap())
}

fn works(network: u8) -> KernelChange {
    KernelChange::Network { network, fault: None }
}

fn foreign_sender() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&socket).set_multicast_if_v4(&[127, 0, 0, 1].into()).unwrap();
    socket
}

#[tokio::test]
async fn a_datagram_comes_back_once_with_its_group_and_network() {
    let mut sockets = sockets(&groups(0, 2), &[by_address("127.0.0.1")]);
    assert_eq!(sockets.take_changes(), [works(0)]);
    sockets.send(GroupIndex(1), &[b"one".to_vec(), b"two".to_vec()], &Unicast::default());
    for expected in [b"one", b"two"] {
        let received = hear(&mut sockets).await;
        assert_eq!((received.group, received.network, received.bytes.as_slice()), (GroupIndex(1), 0, expected.as_slice()));
        assert_eq!(received.from.ip(), IpAddr::from([127, 0, 0, 1]));
    }
    assert_eq!(sockets.try_recv(), None);
    assert_eq!((sockets.take_changes(), sockets.drops(GroupIndex(0))), (Vec::new(), Drops::default()));
}

#[tokio::test]
async fn ipv6_groups_use_the_networks_that_have_ipv6() {
    let [low, high, ..] = std::process::id().to_le_bytes();
    let group: SocketAddr = format!("[ff15::{high:x}:{low:x}]:20000").parse().unwrap();
    let mut sockets = sockets(&[group], &[by_address("127.0.0.1"), by_name()]);
    assert_eq!(sockets.take_changes(), [works(0), works(1)]);
    // The loopback interface has no route for IPv6 multicast: the network that is used is the one that says so.
    sockets.send(GroupIndex(0), &[b"six".to_vec()], &Unicast::default());
    let changes = sockets.take_changes();
    let [KernelChange::Network { network: 1, fault: Some(why) }] = changes.as_slice() else { panic!("{changes:?}") };
    assert!(why.contains("lo (control address ::1)") && why.contains("unreachable"), "{why}");
}

#[tokio::test]
async fn a_missing_network_is_named_and_the_others_work() {
    let mut sockets = sockets(&groups(1, 1), &[by_address("192.0.2.200"), by_name()]);
    let changes = sockets.take_changes();
    let [KernelChange::Network { network: 0, fault: Some(why) }, second] = changes.as_slice() else { panic!("{changes:?}") };
    assert!(why.contains("192.0.2.200") && why.contains("host.control"), "{why}");
    assert_eq!(*second, works(1));
    sockets.send(GroupIndex(0), &[b"x".to_vec()], &Unicast::default());
    assert_eq!(hear(&mut sockets).await.network, 1);
    assert_eq!(sockets.take_changes(), []);
}

#[tokio::test]
async fn what_is_too_long_is_dropped_and_counted() {
    let groups = groups(2, 1);
    let mut sockets = sockets(&groups, &[by_name()]);
    let sender = foreign_sender();
    for length in [DATAGRAM_MAX + 1, DATAGRAM_MAX, 9000, 0] {
        sender.send_to(&vec![7; length], groups[0]).unwrap();
    }
    assert_eq!(hear(&mut sockets).await.bytes.len(), DATAGRAM_MAX);
    assert_eq!(hear(&mut sockets).await.bytes.len(), 0);
    assert_eq!(sockets.drops(GroupIndex(0)), Drops { elsewhere: 0, too_long: 2 });
}

#[tokio::test]
async fn a_flood_of_junk_leaves_the_loop_its_turn() {
    let groups = groups(3, 1);
    let mut sockets = sockets(&groups, &[by_name()]);
    let sender = foreign_sender();
    for _ in 0..DROPS_IN_A_ROW_MAX {
        sender.send_to(&[0; DATAGRAM_MAX + 1], groups[0]).unwrap();
    }
    sender.send_to(b"last", groups[0]).unwrap();
    assert_eq!(sockets.try_recv(), None);
    assert_eq!(hear(&mut sockets).await.bytes, b"last");
}

#[tokio::test]
async fn no_group_starves_another() {
    let groups = groups(4, 2);
    let mut sockets = sockets(&groups, &[by_name()]);
    let many = vec![b"m".to_vec(); 50];
    sockets.send(GroupIndex(0), &many, &Unicast::default());
    sockets.send(GroupIndex(1), &[b"one".to_vec()], &Unicast::default());
    let first: Vec<_> = std::iter::from_fn(|| sockets.try_recv()).take(2).map(|received| received.group).collect();
    assert!(first.contains(&GroupIndex(1)), "{first:?}");
    assert_eq!(std::iter::from_fn(|| sockets.try_recv()).count(), 49);
}

#[tokio::test]
async fn the_address_of_an_interface_is_told_once() {
    let mut sockets = sockets(&groups(9, 1), &[by_name(), by_address("127.0.0.1")]);
    assert_eq!(sockets.take_addresses(), [KernelChange::ControlAddress { network: 0, address: [127, 0, 0, 1].into() }]);
    sockets.refresh(&loopback(LinkState::Down));
    assert_eq!(sockets.take_addresses(), []);
}

#[tokio::test]
async fn refreshing_for_nothing_keeps_what_is_queued() {
    let mut sockets = sockets(&groups(5, 1), &[by_name()]);
    sockets.send(GroupIndex(0), &[b"x".to_vec()], &Unicast::default());
    sockets.refresh(&loopback(LinkState::Up));
    assert_eq!(hear(&mut sockets).await.bytes, b"x");
    assert_eq!(sockets.take_changes(), [works(0)]);
}

#[tokio::test]
async fn a_network_fails_and_works_again_with_its_link() {
    let mut sockets = sockets(&groups(6, 1), &[by_name()]);
    sockets.refresh(&loopback(LinkState::NoCarrier));
    sockets.refresh(&loopback(LinkState::Down));
    let changes = sockets.take_changes();
    let [KernelChange::Network { fault: Some(why), .. }] = changes.as_slice() else { panic!("{changes:?}") };
    assert!(why.contains("lo") && why.contains("ip link set"), "{why}");
    sockets.refresh(&Interfaces::default());
    assert_eq!(sockets.try_recv(), None);
    sockets.send(GroupIndex(0), &[b"unheard".to_vec()], &Unicast::default());
    sockets.refresh(&loopback(LinkState::Up));
    sockets.send(GroupIndex(0), &[b"heard".to_vec()], &Unicast::default());
    assert_eq!(hear(&mut sockets).await.bytes, b"heard");
    assert_eq!(sockets.take_changes(), [works(0)]);
}

#[tokio::test]
async fn two_daemons_on_one_machine_both_hear() {
    let groups = groups(7, 1);
    let (mut first, mut second) = (sockets(&groups, &[by_name()]), sockets(&groups, &[by_name()]));
    first.send(GroupIndex(0), &[b"hello".to_vec()], &Unicast::default());
    assert_eq!((hear(&mut first).await.bytes, hear(&mut second).await.bytes), (b"hello".to_vec(), b"hello".to_vec()));
}

#[tokio::test]
async fn no_network_at_all_waits_for_ever() {
    let mut sockets = sockets(&groups(8, 1), &[]);
    sockets.send(GroupIndex(0), &[b"x".to_vec()], &Unicast::default());
    assert_eq!((sockets.try_recv(), sockets.take_changes()), (None, Vec::new()));
    tokio::select! {
        biased;
        received = sockets.recv() => panic!("{received:?}"),
        () = tokio::task::yield_now() => {}
    }
}
