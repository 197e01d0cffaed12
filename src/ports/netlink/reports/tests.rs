use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use super::*;
use crate::ports::netlink::MARK;

/// Reports on `eth0`, with another interface `eth1` beside it.
struct Scene {
    inventory: Inventory,
    reports: Reports,
}

impl Scene {
    fn new() -> Self {
        let mut scene = Self { inventory: Inventory::default(), reports: Reports::default() };
        for (index, name) in [(2, "eth0"), (3, "eth1")] {
            let mut link = LinkMessage::default();
            link.header.index = index;
            link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
            scene.hear(&RouteNetlinkMessage::NewLink(link));
        }
        scene.reports.watch(vec!["eth0".to_owned()], &scene.inventory);
        assert_eq!(scene.told(), [Event::Kernel(KernelChange::Link { interface: "eth0".to_owned(), link: Link::Down })]);
        scene
    }

    fn hear(&mut self, message: &RouteNetlinkMessage) {
        let touched = self.inventory.apply(message);
        self.reports.note(&touched, &self.inventory);
    }

    fn put(&mut self, index: u32, mark: Mark) {
        self.hear(&RouteNetlinkMessage::NewAddress(address(index, mark)));
    }

    fn take(&mut self, index: u32) {
        self.hear(&RouteNetlinkMessage::DelAddress(address(index, Mark::Foreign)));
    }

    fn told(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.reports.take_next(&self.inventory)).collect()
    }
}

fn address(index: u32, mark: Mark) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = 32;
    message.attributes = vec![AddressAttribute::Address([192, 0, 2, 1].into())];
    if mark == Mark::Ours {
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
    }
    message
}

fn present(interface: &str, mark: Mark) -> Event {
    let address = ServiceAddress::host([192, 0, 2, 1].into());
    Event::Kernel(KernelChange::AddressPresent { interface: interface.to_owned(), address, mark })
}

fn absent(interface: &str) -> Event {
    let address = ServiceAddress::host([192, 0, 2, 1].into());
    Event::Kernel(KernelChange::AddressAbsent { interface: interface.to_owned(), address })
}

#[test]
fn an_address_is_told_when_it_comes_changes_hands_and_goes() {
    let mut scene = Scene::new();
    scene.put(2, Mark::Foreign);
    assert_eq!(scene.told(), [present("eth0", Mark::Foreign)]);
    scene.put(2, Mark::Ours);
    assert_eq!(scene.told(), [present("eth0", Mark::Ours)]);
    scene.take(2);
    assert_eq!(scene.told(), [absent("eth0")]);
}

#[test]
fn what_is_undone_before_it_is_told_is_not_told() {
    let mut scene = Scene::new();
    for _ in 0..1000 {
        scene.put(2, Mark::Foreign);
        scene.take(2);
    }
    assert_eq!(scene.reports.queue.len(), 1);
    assert_eq!(scene.told(), []);
}

#[test]
fn an_answer_comes_after_what_led_to_it() {
    let mut scene = Scene::new();
    scene.put(2, Mark::Ours);
    scene.reports.finish(OpId(1), Outcome::Done);
    assert_eq!(scene.told(), [present("eth0", Mark::Ours), Event::Finished { op: OpId(1), outcome: Outcome::Done }]);
}

#[test]
fn elsewhere_only_what_is_ours_is_told() {
    let mut scene = Scene::new();
    scene.put(3, Mark::Foreign);
    assert_eq!(scene.told(), []);
    scene.put(3, Mark::Ours);
    assert_eq!(scene.told(), [present("eth1", Mark::Ours)]);
    scene.take(3);
    assert_eq!(scene.told(), [absent("eth1")]);
}

#[test]
fn a_dump_tells_only_what_differs() {
    let mut scene = Scene::new();
    scene.put(2, Mark::Foreign);
    scene.told();
    scene.reports.note_all(&scene.inventory);
    assert_eq!(scene.told(), []);
    let mut link = LinkMessage::default();
    link.header.index = 3;
    link.attributes = vec![LinkAttribute::IfName("eth1".to_owned())];
    scene.inventory.replace(&[link], &[address(3, Mark::Ours)]);
    scene.reports.note_all(&scene.inventory);
    let gone = Event::Kernel(KernelChange::Link { interface: "eth0".to_owned(), link: Link::Absent });
    assert_eq!(scene.told(), [gone, absent("eth0"), present("eth1", Mark::Ours)]);
}

#[test]
fn an_interface_that_is_watched_later_is_told_whole_and_one_left_out_no_more() {
    let mut scene = Scene::new();
    scene.put(2, Mark::Foreign);
    scene.put(3, Mark::Foreign);
    scene.told();
    scene.reports.watch(vec!["eth1".to_owned()], &scene.inventory);
    let link = Event::Kernel(KernelChange::Link { interface: "eth1".to_owned(), link: Link::Down });
    assert_eq!(scene.told(), [link, present("eth1", Mark::Foreign)]);
    scene.take(2);
    assert_eq!(scene.told(), []);
}
