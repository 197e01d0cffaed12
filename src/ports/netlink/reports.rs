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
mod tests;
