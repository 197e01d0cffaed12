//! What the ports know of this host's interfaces: an immutable snapshot of names, numbers, link states and addresses.
//!
//! The netlink port publishes it whenever it changes; the control sockets and the announcer read it. It never asks the kernel itself, and
//! never holds this program's own service addresses: nothing here may be mistaken for a control address.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The interfaces of this host's network namespace, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interfaces(BTreeMap<String, Interface>);

/// One interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// The kernel's number for it.
    pub index: u32,
    /// Differs between an interface and a later one that got the same number: what was bound to the former is dead.
    pub generation: u64,
    /// Whether it carries traffic.
    pub state: LinkState,
    /// Whether its frames are Ethernet's.
    pub framing: Framing,
    /// Its hardware address, if that has six bytes.
    pub mac: Option<[u8; 6]>,
    /// Addresses that do not carry this program's mark: IPv4 first, then as long as they have been there, oldest first.
    pub addresses: Vec<InterfaceAddress>,
}

/// Whether an interface carries traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// Switched off by the administrator.
    Down,
    /// Switched on, but without carrier or not yet operational.
    NoCarrier,
    /// Usable.
    Up,
}

/// What frames on an interface look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// Ethernet: neighbours can be told by ARP and ND.
    Ethernet,
    /// Anything else (loopback, tunnels).
    Other,
}

/// One address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Length of the prefix that it shares with its neighbours.
    pub prefix: u8,
    /// Whether it may be chosen where the configuration names only the interface.
    pub choice: Choice,
}

/// Whether an address may stand for its interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// Global, permanent enough, usable at once.
    Eligible,
    /// Link-local, loopback, deprecated, temporary, or its uniqueness is not yet proved.
    Ineligible,
}

impl Interfaces {
    /// The interface of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Interface> {
        self.0.get(name)
    }

    /// The interface that has this address, with its name; the first by name if several have it.
    #[must_use]
    pub fn holding(&self, address: IpAddr) -> Option<(&str, &Interface)> {
        let (name, interface) = self.0.iter().find(|(_, interface)| interface.has(address))?;
        Some((name, interface))
    }
}

impl FromIterator<(String, Interface)> for Interfaces {
    fn from_iter<I: IntoIterator<Item = (String, Interface)>>(interfaces: I) -> Self {
        Self(interfaces.into_iter().collect())
    }
}

impl Interface {
    /// Whether the address is on this interface.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|a| a.address == address)
    }

    /// The first global address of the family that `like` belongs to.
    #[must_use]
    pub fn first_global(&self, like: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().filter(|a| a.choice == Choice::Eligible && a.address.is_ipv4() == like.is_ipv4()).map(|a| a.address).next()
    }
}
