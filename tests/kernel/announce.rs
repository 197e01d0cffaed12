//! Announcements, as the other end of the cable sees them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use libtest_mimic::Trial;
use pnet::datalink::{self, Channel, DataLinkReceiver, NetworkInterface};
use raisd::ports::announce::{AnnounceChange, Announcer};
use raisd::types::item::ServiceAddress;

use super::namespace::{ip, test, veth};
use super::port::Port;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("announce::both_forms_of_arp_and_the_advertisement_arrive", frames),
        test("announce::the_socket_sends_only_and_is_not_promiscuous", transmit_only),
        test("announce::a_thousand_addresses_arrive", a_thousand),
        test("announce::a_changed_mac_and_a_returned_interface_are_followed", followed),
        test("announce::faults_are_told_once_and_so_is_their_end", faults),
    ]
}

/// Listens on an interface.
fn capture(interface: &str) -> Box<dyn DataLinkReceiver> {
    let index = nix::net::if_::if_nametoindex(interface).unwrap();
    let interface = NetworkInterface { name: interface.to_owned(), description: String::new(), index, mac: None, ips: vec![], flags: 0 };
    let config = datalink::Config { promiscuous: false, read_timeout: Some(Duration::from_secs(10)), ..datalink::Config::default() };
    match datalink::channel(&interface, config).unwrap() {
        Channel::Ethernet(_, receiver) => receiver,
        _ => panic!("no Ethernet channel"),
    }
}

/// The next frame with an announcement: a gratuitous ARP, or a neighbour advertisement from a global address.
fn next(receiver: &mut Box<dyn DataLinkReceiver>) -> Vec<u8> {
    loop {
        let frame = receiver.next().expect("an announcement within ten seconds").to_vec();
        let is_arp = frame[12..14] == [0x08, 0x06];
        let is_advertisement = frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && frame[54] == 136 && frame[22] == 0x20;
        if is_arp || is_advertisement {
            return frame;
        }
    }
}

fn mac(interface: &str) -> Vec<u8> {
    let json: serde_json::Value = serde_json::from_str(&ip(&format!("-json link show {interface}"))).unwrap();
    json[0]["address"].as_str().unwrap().split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn parsed(addresses: &[&str]) -> Vec<ServiceAddress> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

async fn frames() {
    veth("va", "vb");
    let port = Port::open(&["va"]).await;
    let (announcer, _changes) = Announcer::open(port.interfaces()).unwrap();
    let mut receiver = capture("vb");
    announcer.announce("va", &parsed(&["192.0.2.11", "2001:db8::11"])).unwrap();
    let mac = mac("va");
    let mut frames = [next(&mut receiver), next(&mut receiver), next(&mut receiver)];
    let target = [vec![0; 6], mac.clone()];
    for (operation, (frame, target)) in frames.iter().zip(&target).enumerate() {
        let operation = u8::try_from(operation + 1).unwrap();
        let arp = [&[0, 1, 8, 0, 6, 4, 0, operation], mac.as_slice(), &[192, 0, 2, 11], target, &[192, 0, 2, 11]].concat();
        assert_eq!(frame[..42], [&[0xff; 6], mac.as_slice(), &[8, 6], &arp].concat());
    }
    let [.., frame] = &mut frames;
    assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(frame[6..12], mac);
    let own = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11];
    // Hop limit, source, override flag alone, target, link-layer address.
    assert_eq!((frame[21], &frame[22..38], &frame[58..62], &frame[62..78]), (255, &own[..], &[0x20, 0, 0, 0][..], &own[..]));
    assert_eq!(frame[78..86], [&[2, 1], mac.as_slice()].concat());
}

async fn transmit_only() {
    veth("va", "vb");
    let port = Port::open(&["va"]).await;
    let (announcer, _changes) = Announcer::open(port.interfaces()).unwrap();
    let mut receiver = capture("vb");
    announcer.announce("va", &parsed(&["192.0.2.11"])).unwrap();
    next(&mut receiver);
    let index = nix::net::if_::if_nametoindex("va").unwrap();
    let table = std::fs::read_to_string("/proc/thread-self/net/packet").unwrap();
    // Columns: sk RefCnt Type Proto Iface R Rmem User Inode
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let ours: Vec<_> = rows.iter().filter(|row| row[4] == index.to_string()).collect();
    let [row] = ours.as_slice() else { panic!("{table}") };
    assert_eq!((row[3], row[5], row[6]), ("0000", "0", "0"), "protocol, running, memory of received frames: {table}");
    let json: serde_json::Value = serde_json::from_str(&ip("-json -details link show va")).unwrap();
    assert_eq!(json[0]["promiscuity"], 0);
}

#[expect(clippy::disallowed_methods, reason = "the test measures")]
async fn a_thousand() {
    veth("va", "vb");
    let port = Port::open(&["va"]).await;
    let (announcer, _changes) = Announcer::open(port.interfaces()).unwrap();
    let received = || {
        let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let row = table.lines().find(|line| line.trim_start().starts_with("vb:")).unwrap().to_owned();
        row.split_whitespace().nth(2).unwrap().parse::<u64>().unwrap()
    };
    for (family, frames) in [("IPv4", 2000), ("IPv6", 1000)] {
        let addresses: Vec<_> = (0..1000u32)
            .map(|i| {
                let [a, b, c, d] = i.to_be_bytes();
                let v4 = IpAddr::from([10, b, c, d]);
                let v6 = IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]);
                ServiceAddress::host(if family == "IPv4" { v4 } else { v6 })
            })
            .collect();
        let before = received();
        let started = std::time::Instant::now();
        announcer.announce("va", &addresses).unwrap();
        let queued = started.elapsed();
        while received() < before + frames {
            tokio::task::yield_now().await;
        }
        let sent = started.elapsed();
        println!(
            "1000 {family} addresses announced: queued in {:.3} ms, on the cable after {:.1} ms",
            queued.as_secs_f64() * 1e3,
            sent.as_secs_f64() * 1e3
        );
    }
}

async fn followed() {
    veth("va", "vb");
    let port = Port::open(&["va"]).await;
    let mut interfaces = port.interfaces();
    let (announcer, _changes) = Announcer::open(port.interfaces()).unwrap();
    let mut receiver = capture("vb");
    announcer.announce("va", &parsed(&["192.0.2.11"])).unwrap();
    assert_eq!(next(&mut receiver)[6..12], mac("va"));
    next(&mut receiver);
    ip("link set va address 02:00:00:00:00:42");
    interfaces.wait_for(|i| i.named("va").is_some_and(|va| va.mac == Some([2, 0, 0, 0, 0, 0x42]))).await.unwrap();
    announcer.announce("va", &parsed(&["192.0.2.11"])).unwrap();
    assert_eq!(next(&mut receiver)[6..12], [2, 0, 0, 0, 0, 0x42]);
    ip("link del va");
    interfaces.wait_for(|i| i.named("va").is_none()).await.unwrap();
    veth("va", "vb");
    interfaces.wait_for(|i| i.named("va").is_some_and(|va| va.state == raisd::ports::interfaces::LinkState::Up)).await.unwrap();
    let mut receiver = capture("vb");
    announcer.announce("va", &parsed(&["192.0.2.11"])).unwrap();
    assert_eq!(next(&mut receiver)[6..12], mac("va"));
}

async fn faults() {
    veth("va", "vb");
    let port = Port::open(&["va"]).await;
    let (announcer, mut changes) = Announcer::open(port.interfaces()).unwrap();
    ip("link set va down");
    let mut told = BTreeMap::new();
    for interface in ["va", "va", "lo", "nowhere"] {
        announcer.announce(interface, &parsed(&["192.0.2.11"])).unwrap();
    }
    while told.len() < 3 {
        let AnnounceChange { interface, fault } = changes.recv().await.unwrap();
        assert!(told.insert(interface.clone(), fault.unwrap()).is_none(), "{interface} told twice");
    }
    assert!(
        told["va"].contains("ip link set") && told["lo"].contains("not an Ethernet") && told["nowhere"].contains("no interface"),
        "{told:?}"
    );
    ip("link set va up");
    announcer.announce("va", &parsed(&["192.0.2.11"])).unwrap();
    assert_eq!(changes.recv().await, Some(AnnounceChange { interface: "va".to_owned(), fault: None }));
}
