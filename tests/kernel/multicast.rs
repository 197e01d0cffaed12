//! Control sockets on interfaces that come and go.

use std::net::SocketAddr;
use std::time::Duration;

use libtest_mimic::Trial;
use raisd::node::action::Unicast;
use raisd::node::event::{GroupIndex, KernelChange};
use raisd::ports::interfaces::Interfaces;
use raisd::ports::multicast::{ControlNetwork, ControlSettings, ControlSockets, Drops, GroupAddress, Received, Talk};
use tokio::sync::watch;

use super::namespace::{Neighbour, await_up, ip, test, veth, veth_down};
use super::port::Port;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("multicast::each_network_gets_its_own_ipv4_datagrams", || two_networks("239.255.42.1:4242", ["10.0.0.1", "10.1.0.1"])),
        test("multicast::each_network_gets_its_own_ipv6_datagrams", || two_networks("[ff15::42]:4242", ["2001:db8::1", "2001:db8:1::1"])),
        test("multicast::a_link_local_group_works", || two_networks("[ff12::42]:4242", ["2001:db8::1", "2001:db8:1::1"])),
        test("multicast::what_others_have_joined_stays_out", strangers),
        test("multicast::an_interface_that_comes_back_is_joined_again", rejoin),
        test("multicast::an_address_that_appears_is_used", late_address),
        test("multicast::a_network_that_is_down_is_named", down),
        test("multicast::a_leftover_does_not_become_the_control_address", leftover),
    ]
}

pub(crate) const MINUTES: Duration = Duration::from_secs(20);

fn address(text: &str) -> ControlNetwork {
    ControlNetwork::Address(text.parse().unwrap())
}

fn interface(name: &str) -> ControlNetwork {
    ControlNetwork::Interface(name.to_owned())
}

fn open(group: &str, networks: &[ControlNetwork], interfaces: &Interfaces) -> ControlSockets {
    let group: SocketAddr = group.parse().unwrap();
    let groups = [(GroupIndex(0), GroupAddress { tag: [0; 4], talk: Talk::Multicast(group) })].into();
    ControlSockets::open(&ControlSettings { networks: networks.to_vec(), groups }, interfaces)
}

async fn hear(sockets: &mut ControlSockets) -> Received {
    tokio::time::timeout(MINUTES, sockets.recv()).await.expect("a datagram")
}

/// Two cables to a neighbour: `va`-`pa` and `vb`-`pb`.
pub(crate) fn cables() -> Neighbour {
    let neighbour = Neighbour::new();
    for (here, there) in [("va", "pa"), ("vb", "pb")] {
        cable(&neighbour, here, there);
    }
    neighbour
}

fn cable(neighbour: &Neighbour, here: &str, there: &str) {
    veth_down(here, there);
    neighbour.take(there);
    ip(&format!("link set {here} up"));
    neighbour.ip(&format!("link set {there} up"));
    await_up(here);
    let there = there.to_owned();
    neighbour.run(move || await_up(&there));
}

fn prefixed(address: &str) -> String {
    if address.contains(':') { format!("{address}/64") } else { format!("{address}/24") }
}

pub(crate) fn put(address: &str, interface: &str) {
    let nodad = if address.contains(':') { "nodad" } else { "" };
    ip(&format!("address add {} dev {interface} {nodad}", prefixed(address)));
}

/// The neighbour's port and control sockets, driven from its own namespace: sends one datagram on each of its networks.
fn neighbour_sends(neighbour: &Neighbour, group: &str, names: &[&'static str], text: &'static [u8]) {
    let (group, networks) = (group.to_owned(), names.iter().map(|name| interface(name)).collect::<Vec<_>>());
    neighbour.run(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let port = Port::open(&[]).await;
            let interfaces = port.interfaces().borrow().clone();
            let mut sockets = open(&group, &networks, &interfaces);
            sockets.send(GroupIndex(0), &[text.to_vec()], &Unicast::default());
            for change in sockets.take_changes() {
                assert!(matches!(change, KernelChange::Network { fault: None, .. }), "{change:?}");
            }
        });
    });
}

pub(crate) async fn settled(interfaces: &mut watch::Receiver<std::sync::Arc<Interfaces>>, addresses: &[&str]) -> Interfaces {
    let all = |interfaces: &std::sync::Arc<Interfaces>| {
        addresses.iter().all(|address| {
            let up = raisd::ports::interfaces::LinkState::Up;
            interfaces.holding(address.parse().unwrap()).is_some_and(|(_, interface)| interface.state == up)
        })
    };
    let seen = tokio::time::timeout(MINUTES, interfaces.wait_for(all)).await.expect("the addresses").unwrap();
    (**seen).clone()
}

async fn two_networks(group: &'static str, own: [&'static str; 2]) {
    let neighbour = cables();
    let [first, second] = own;
    put(first, "va");
    put(second, "vb");
    for (their, own) in [("pa", first), ("pb", second)] {
        let nodad = if own.contains(':') { "nodad" } else { "" };
        neighbour.ip(&format!("address add {} dev {their} {nodad}", prefixed(&format!("{}2", &own[..own.len() - 1]))));
    }
    let port = Port::open(&[]).await;
    let interfaces = settled(&mut port.interfaces(), &own).await;
    let mut sockets = open(group, &[address(first), address(second)], &interfaces);
    assert!(sockets.take_changes().iter().all(|change| matches!(change, KernelChange::Network { fault: None, .. })));

    neighbour_sends(&neighbour, group, &["pa", "pb"], b"theirs");
    let mut heard = [hear(&mut sockets).await, hear(&mut sockets).await];
    heard.sort_by_key(|received| received.network);
    for (received, own) in heard.iter().zip(own) {
        assert_eq!(received.bytes, b"theirs");
        assert_eq!(received.from.ip().to_string(), format!("{}2", &own[..own.len() - 1]), "{received:?}");
    }
    assert_eq!(heard.map(|received| received.network), [0, 1]);
    assert_eq!(sockets.try_recv(), None);

    // Own datagrams come back, each from its own network's address.
    sockets.send(GroupIndex(0), &[b"mine".to_vec()], &Unicast::default());
    let mut heard = [hear(&mut sockets).await, hear(&mut sockets).await];
    heard.sort_by_key(|received| received.network);
    assert_eq!(heard.map(|received| (received.network, received.from.ip().to_string())), [(0, first.to_owned()), (1, second.to_owned())]);
    assert_eq!(sockets.try_recv(), None);
    assert_eq!(sockets.take_changes(), []);
}

async fn strangers() {
    let neighbour = cables();
    for (own, here, their, there) in [("2001:db8::1", "va", "2001:db8::2", "pa"), ("2001:db8:1::1", "vb", "2001:db8:1::2", "pb")] {
        put(own, here);
        neighbour.ip(&format!("address add {their}/64 dev {there} nodad"));
    }
    let group = "[ff15::42]:4242";
    let port = Port::open(&[]).await;
    let interfaces = settled(&mut port.interfaces(), &["2001:db8::1", "2001:db8:1::1"]).await;
    let mut sockets = open(group, &[address("2001:db8::1")], &interfaces);
    // Another program has joined the group on the interface that is no control network: the kernel does not tell IPv6 memberships apart.
    let mut stranger = open(group, &[address("2001:db8:1::1")], &interfaces);
    neighbour_sends(&neighbour, group, &["pb"], b"stray");
    assert_eq!(hear(&mut stranger).await.bytes, b"stray");
    neighbour_sends(&neighbour, group, &["pa"], b"wanted");
    assert_eq!(hear(&mut sockets).await.bytes, b"wanted");
    assert_eq!(sockets.drops(GroupIndex(0)), Drops { elsewhere: 1, too_long: 0 });
}

async fn rejoin() {
    let neighbour = cables();
    put("10.0.0.1", "va");
    put("10.1.0.1", "vb");
    neighbour.ip("address add 10.0.0.2/24 dev pa");
    neighbour.ip("address add 10.1.0.2/24 dev pb");
    let group = "239.255.42.1:4242";
    let port = Port::open(&[]).await;
    let mut watching = port.interfaces();
    let interfaces = settled(&mut watching, &["10.0.0.1", "10.1.0.1"]).await;
    let mut sockets = open(group, &[address("10.0.0.1"), interface("vb")], &interfaces);
    assert_eq!(sockets.take_changes().len(), 2);
    let memberships = || ip("-json maddress show dev vb").matches("239.255.42.1").count();
    assert_eq!(memberships(), 1);

    ip("link del vb");
    let gone = watching.wait_for(|interfaces| interfaces.named("vb").is_none()).await.unwrap().clone();
    sockets.refresh(&gone);
    let changes = sockets.take_changes();
    let [KernelChange::Network { network: 1, fault: Some(why) }] = changes.as_slice() else { panic!("{changes:?}") };
    assert!(why.contains("vb"), "{why}");
    sockets.send(GroupIndex(0), &[b"half".to_vec()], &Unicast::default());
    assert_eq!(hear(&mut sockets).await.network, 0);

    cable(&neighbour, "vb", "pb");
    put("10.1.0.1", "vb");
    neighbour.ip("address add 10.1.0.2/24 dev pb");
    let back = settled(&mut watching, &["10.1.0.1"]).await;
    assert_ne!(back.named("vb").unwrap().generation, interfaces.named("vb").unwrap().generation);
    sockets.refresh(&back);
    sockets.refresh(&back);
    assert_eq!(sockets.take_changes(), [KernelChange::Network { network: 1, fault: None }]);
    assert_eq!(memberships(), 1);
    neighbour_sends(&neighbour, group, &["pb"], b"again");
    let received = hear(&mut sockets).await;
    assert_eq!((received.network, received.bytes.as_slice()), (1, b"again".as_slice()));
}

async fn late_address() {
    veth("va", "pa");
    let port = Port::open(&[]).await;
    let mut watching = port.interfaces();
    let mut sockets = open("239.255.42.1:4242", &[address("10.0.0.1"), interface("va")], &Interfaces::clone(&watching.borrow_and_update()));
    let faults = sockets.take_changes();
    assert!(faults.len() == 2 && faults.iter().all(|change| matches!(change, KernelChange::Network { fault: Some(_), .. })), "{faults:?}");
    put("10.0.0.1", "va");
    sockets.refresh(&settled(&mut watching, &["10.0.0.1"]).await);
    assert_eq!(sockets.take_changes(), [0, 1].map(|network| KernelChange::Network { network, fault: None }));
    sockets.send(GroupIndex(0), &[b"x".to_vec()], &Unicast::default());
    // Two networks on one interface: what goes out on either comes in on both.
    for _ in 0..4 {
        hear(&mut sockets).await;
    }
}

async fn down() {
    veth("va", "pa");
    put("10.0.0.1", "va");
    let port = Port::open(&[]).await;
    let mut watching = port.interfaces();
    let mut sockets = open("239.255.42.1:4242", &[address("10.0.0.1")], &settled(&mut watching, &["10.0.0.1"]).await);
    assert_eq!(sockets.take_changes(), [KernelChange::Network { network: 0, fault: None }]);
    // Before the port has told of it, sending finds out.
    ip("link set va down");
    sockets.send(GroupIndex(0), &[b"x".to_vec()], &Unicast::default());
    let changes = sockets.take_changes();
    let [KernelChange::Network { fault: Some(why), .. }] = changes.as_slice() else { panic!("{changes:?}") };
    assert!(why.contains("va (control address 10.0.0.1)"), "{why}");
    let is_down = |interfaces: &std::sync::Arc<Interfaces>| {
        interfaces.named("va").is_some_and(|va| va.state == raisd::ports::interfaces::LinkState::Down)
    };
    let seen = watching.wait_for(is_down).await.unwrap().clone();
    sockets.refresh(&seen);
    let changes = sockets.take_changes();
    let [KernelChange::Network { fault: Some(why), .. }] = changes.as_slice() else { panic!("{changes:?}") };
    assert!(why.contains("ip link set va up"), "{why}");
    ip("link set va up");
    sockets.refresh(&settled(&mut watching, &["10.0.0.1"]).await);
    sockets.send(GroupIndex(0), &[b"y".to_vec()], &Unicast::default());
    assert_eq!(hear(&mut sockets).await.bytes, b"y");
    assert_eq!(sockets.take_changes(), [KernelChange::Network { network: 0, fault: None }]);
}

async fn leftover() {
    veth("va", "pa");
    put("2001:db8::1", "va");
    put("10.0.0.1", "va");
    let mut port = Port::open(&[]).await;
    use raisd::ports::netlink::ChangeKind;
    port.change(ChangeKind::Add, "va", &["2001:db8::99", "10.0.0.99", "192.0.2.1"]).await;
    drop(port);
    let port = Port::open(&[]).await;
    let interfaces = settled(&mut port.interfaces(), &["10.0.0.1", "2001:db8::1"]).await;
    for (group, own) in [("[ff15::42]:4242", "2001:db8::1"), ("239.255.42.1:4242", "10.0.0.1")] {
        let mut sockets = open(group, &[interface("va")], &interfaces);
        sockets.send(GroupIndex(0), &[b"x".to_vec()], &Unicast::default());
        assert_eq!(hear(&mut sockets).await.from.ip().to_string(), own);
    }
}
