//! What the core has been told and what it is still to be told: kernel changes and answers, in order.
//!
//! A change is kept as "look again at this", so a storm of them takes no more room than there are addresses, and what is told is always
//! how things are at the moment of telling. It never asks the kernel.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::inventory::{Inventory, Touched};
use crate::node::event::{Event, KernelChange, Link, Mark, OpId, Outcome};
use crate::types::item::ServiceAddress;

/// What is told of each named interface, and the queue of what is to be told.
#[derive(Default, Debug)]
pub(super) struct Reports {
    watched: BTreeSet<String>,
    links: BTreeMap<String, Link>,
    addresses: BTreeMap<(String, ServiceAddress), Mark>,
    queue: VecDeque<Report>,
    queued: BTreeSet<Place>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    Address(String, ServiceAddress),
    Link(String),
}

#[derive(Debug)]
enum Report {
    Finished(OpId, Outcome),
    Look(Place),
}

impl Reports {
    /// Names the interfaces whose links and foreign addresses are told; addresses with our mark are told wherever they are. What is known
    /// of an interface that is watched from here on follows; one that is not watched any more is forgotten without a word.
    pub(super) fn watch(&mut self, interfaces: Vec<String>, inventory: &Inventory) {
        let watched: BTreeSet<_> = interfaces.into_iter().collect();
        self.links.retain(|name, _| watched.contains(name));
        self.addresses.retain(|(name, _), mark| *mark == Mark::Ours || watched.contains(name));
        let added: Vec<_> = watched.difference(&self.watched).cloned().collect();
        self.watched = watched;
        for name in added {
            self.look_at_interface(name, inventory);
        }
    }

    /// Takes note of what a notification has changed.
    pub(super) fn note(&mut self, touched: &Touched, inventory: &Inventory) {
        match touched {
            Touched::Nothing => {}
            Touched::Link(names) => {
                for name in names {
                    self.look_at_interface(name.clone(), inventory);
                }
            }
            Touched::Address(name, address, _) => self.look(Place::Address(name.clone(), *address)),
        }
    }

    /// Compares everything: after a dump.
    pub(super) fn note_all(&mut self, inventory: &Inventory) {
        let links = self.watched.iter().cloned().map(Place::Link);
        let told = self.addresses.keys().cloned();
        let there = inventory.addresses().map(|(name, address, _)| (name.to_owned(), address));
        let places: Vec<_> = links.chain(told.chain(there).map(|(name, address)| Place::Address(name, address))).collect();
        for place in places {
            self.look(place);
        }
    }

    /// Queues an answer behind what has happened before it.
    pub(super) fn finish(&mut self, op: OpId, outcome: Outcome) {
        self.queue.push_back(Report::Finished(op, outcome));
    }

    /// Whether anything may be left to tell.
    pub(super) fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Takes out the next thing to tell, if there is any.
    pub(super) fn take_next(&mut self, inventory: &Inventory) -> Option<Event> {
        while let Some(report) = self.queue.pop_front() {
            match report {
                Report::Finished(op, outcome) => return Some(Event::Finished { op, outcome }),
                Report::Look(place) => {
                    self.queued.remove(&place);
                    if let Some(change) = self.compare(place, inventory) {
                        return Some(Event::Kernel(change));
                    }
                }
            }
        }
        None
    }

    fn look_at_interface(&mut self, name: String, inventory: &Inventory) {
        let told = self.addresses.keys().filter(|(at, _)| *at == name).map(|(_, address)| *address);
        let there = inventory.addresses_of(&name).map(|(address, _)| address);
        let places: Vec<_> = told.chain(there).map(|address| Place::Address(name.clone(), address)).collect();
        self.look(Place::Link(name));
        for place in places {
            self.look(place);
        }
    }

    fn look(&mut self, place: Place) {
        if self.queued.insert(place.clone()) {
            self.queue.push_back(Report::Look(place));
        }
    }

    fn compare(&mut self, place: Place, inventory: &Inventory) -> Option<KernelChange> {
        match place {
            Place::Link(interface) => {
                if !self.watched.contains(&interface) {
                    return None;
                }
                let link = inventory.link(&interface);
                if self.links.insert(interface.clone(), link) == Some(link) {
                    return None;
                }
                Some(KernelChange::Link { interface, link })
            }
            Place::Address(interface, address) => {
                let there = inventory.address(&interface, address).map(|record| record.mark);
                let there = there.filter(|mark| *mark == Mark::Ours || self.watched.contains(&interface));
                let key = (interface, address);
                if self.addresses.get(&key).copied() == there {
                    return None;
                }
                let Some(mark) = there else {
                    self.addresses.remove(&key);
                    return Some(KernelChange::AddressAbsent { interface: key.0, address });
                };
                self.addresses.insert(key.clone(), mark);
                Some(KernelChange::AddressPresent { interface: key.0, address, mark })
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
}
