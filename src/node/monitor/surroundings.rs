//! What a monitor is told of this host's surroundings: tests and loads, the service interface, addresses that come and go behind its
//! back, the configuration.
//!
//! Notes what is so, and takes leftovers off; what follows from it is for [`Monitor::settle_turn`]. Called by `node.rs`, for each group.

use std::net::IpAddr;

use super::holding::Manner;
use super::{Health, Monitor, Stop, detail};
use crate::node::action::Report;
use crate::node::event::{Link, LoadSample};
use crate::node::reload::{Found, Surroundings};
use crate::node::turn::Turn;
use crate::types::host::Role;
use crate::types::item::{Epoch, Item, Reason, ServiceAddress};
use crate::types::policy::GroupPolicy;

impl Monitor {
    /// The tests of the group say something else.
    pub(crate) fn set_health(&mut self, turn: &mut Turn<'_>, health: Health) {
        if self.health != health {
            self.health = health;
            self.settle_turn(turn);
        }
    }

    /// The load with the greatest utilization.
    pub(crate) fn set_load(&mut self, turn: &mut Turn<'_>, load: LoadSample) {
        if self.load != load {
            self.load = load;
            self.settle_turn(turn);
        }
    }

    /// The service interface has changed.
    pub(crate) fn set_link(&mut self, turn: &mut Turn<'_>, link: Link) {
        let was_up = matches!(self.link, Link::Up { .. });
        self.link = link;
        self.own.set_detail(detail(&self.policy, &self.identity, link));
        if !was_up && matches!(link, Link::Up { .. }) {
            // Switches and neighbours may have learnt something else meanwhile.
            self.holdings.announce_all(turn.now, &self.policy);
        }
        self.settle_turn(turn);
    }

    /// This host is at other control addresses than it said.
    pub(crate) fn set_control(&mut self, turn: &mut Turn<'_>, control: Vec<IpAddr>) {
        self.identity.host.control = control;
        self.own.set_detail(detail(&self.policy, &self.identity, self.link));
        self.transmit.hasten();
        self.settle_turn(turn);
    }

    /// No control network works since the start, or one does at last. Then this host listens from the beginning.
    pub(crate) fn set_unreachable(&mut self, turn: &mut Turn<'_>, why: Option<String>) {
        if self.unreachable == why {
            return;
        }
        if why.is_none() {
            self.listening_since = turn.now;
        }
        self.unreachable = why;
        self.settle_turn(turn);
    }

    /// An address with our mark that an earlier run has left.
    pub(crate) fn take_off_leftover(&mut self, turn: &mut Turn<'_>, address: ServiceAddress) {
        let epoch = self.items.get(&Item::Address(address.address)).map_or(Epoch(0), |known| known.epoch);
        self.holdings.take_off_leftover(turn, &self.policy, address, epoch);
    }

    /// An address without our mark is on the service interface.
    pub(crate) fn find_address(&mut self, turn: &mut Turn<'_>, address: ServiceAddress) {
        self.foreign.insert(address);
        self.holdings.mark_again(turn, &self.policy, &Item::Address(address.address));
        self.settle_soon(turn);
    }

    /// An address with our mark is on the service interface.
    pub(crate) fn note_marked(&mut self, address: ServiceAddress) {
        self.foreign.remove(&address);
    }

    /// An address is on the service interface no longer.
    pub(crate) fn lose_address(&mut self, turn: &mut Turn<'_>, interface: &str, address: ServiceAddress) {
        if self.policy.interface == interface {
            self.foreign.remove(&address);
        }
        self.holdings.lose_address(turn, &self.policy, interface, &Item::Address(address.address));
        self.settle_soon(turn);
    }

    /// A group that begins while the daemon runs: what others learnt from events before.
    pub(crate) fn begin(&mut self, turn: &mut Turn<'_>, surroundings: Surroundings, unreachable: Option<String>) {
        self.take_surroundings(surroundings);
        self.unreachable = unreachable;
        self.settle_turn(turn);
    }

    /// Goes on with another configuration. What it says of addresses that are held is brought about by this host only where
    /// it concerns this host alone; where they belong is the leader's affair, as ever.
    pub(crate) fn reconfigure(&mut self, turn: &mut Turn<'_>, policy: GroupPolicy, surroundings: Surroundings) {
        let before = std::mem::replace(&mut self.policy, policy);
        let is_moved = before.interface != self.policy.interface;
        self.take_surroundings(surroundings);
        if is_moved || (before.role, self.policy.role) == (Role::Server, Role::Observer) {
            self.holdings.release_all(turn, &self.policy, Reason::Reconfigured, Manner::Orderly);
        }
        if before.announce.method != self.policy.announce.method {
            self.holdings.change_announcing(turn.now, &self.policy);
        }
        if before != self.policy {
            // It may have mended the cause of failed acquires.
            self.holdings.forget_failures();
        }
        self.transmit.hasten();
        self.settle_turn(turn);
        if self.published.is_known {
            // A name server that listens from here on, or another name of the zone, has nothing to answer yet.
            self.publish(turn);
        }
    }

    pub(super) fn take_surroundings(&mut self, surroundings: Surroundings) {
        let Surroundings { host, health, load, interface } = surroundings;
        let before = std::mem::replace(&mut self.identity.host, host);
        if before.control != self.identity.host.control {
            self.hosts.forget_networks();
        }
        (self.health, self.load) = (health, load);
        if let Some(Found { link, foreign }) = interface {
            (self.link, self.foreign) = (link, foreign);
        }
        self.own.set_detail(detail(&self.policy, &self.identity, self.link));
    }

    /// An address of the group that something else has put on the interface obeys from now on.
    pub(super) fn take_over_found(&mut self, turn: &mut Turn<'_>) {
        if self.stop != Stop::Running {
            return;
        }
        // It stays on the list until the kernel says that it is ours or gone: what could not be marked is tried again.
        let known = |address: &&ServiceAddress| {
            let item = Item::Address(address.address);
            self.items.get(&item).is_some_and(|known| !known.tombstone)
                && self.holdings.get(&item).is_none()
                && !self.holdings.failures().is_in_back_off(turn.now, &item)
        };
        let found: Vec<ServiceAddress> = self.foreign.iter().filter(known).copied().collect();
        for address in found {
            let item = Item::Address(address.address);
            let epoch = self.items.get(&item).map_or(Epoch(0), |known| known.epoch).next();
            turn.report(Report::AddressFound { item: item.clone(), interface: self.policy.interface.clone() });
            self.holdings.acquire(turn, &self.policy, &item, address.prefix, epoch, Reason::Found);
        }
    }
}
