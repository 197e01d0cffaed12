//! What is told: addresses and links that others change, and what is there from the start.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use libtest_mimic::Trial;
use raisd::node::event::{Event, KernelChange, Link, Mark};
use raisd::ports::netlink::Limits;
use raisd::types::item::ServiceAddress;

use super::namespace::{ip, ip_batch, program, test, veth};
use super::port::{Port, Told, absent, drops, is_up, link, present, told};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("events::changes_by_hand_are_told", by_hand),
        test("events::links_are_told_up_down_renamed_and_back", links),
        test("events::leftovers_are_known_at_once", leftovers),
        test("events::watched_interfaces_may_change", watching),
        test("events::a_burst_beyond_the_buffer_is_made_up_for", overrun),
        test("events::the_other_ports_hear_of_what_is_not_ours", snapshots),
    ]
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
