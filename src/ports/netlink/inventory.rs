//! What the kernel has, as far as this program has been told: links and addresses of the network namespace, put together from a dump and
//! the notifications after it. It never asks the kernel and never decides.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::MARK;
use crate::node::event::{Link, Mark};
use crate::ports::interfaces::{Choice, Framing, Interface, InterfaceAddress, Interfaces, LinkState};
use crate::types::item::ServiceAddress;

/// Links and addresses.
#[derive(Default, Debug)]
pub(super) struct Inventory {
    links: BTreeMap<u32, LinkRecord>,
    indexes: BTreeMap<String, u32>,
    addresses: BTreeMap<(u32, ServiceAddress), AddressRecord>,
    generation: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct LinkRecord {
    name: String,
    state: LinkState,
    framing: Framing,
    mac: Option<[u8; 6]>,
    generation: u64,
}

/// One address of one link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct AddressRecord {
    /// Whose it is.
    pub(super) mark: Mark,
    /// How far it is meant to be used (IPv4).
    pub(super) scope: AddressScope,
    /// `IFA_F_*`.
    pub(super) flags: AddressFlags,
    /// When it was put there, in hundredths of a second since boot.
    created: u32,
}

/// What a message of the kernel has changed.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Touched {
    /// Nothing that is kept here.
    Nothing,
    /// A link, with all that is on it, under each of these names; one that it has lost comes first.
    Link(Vec<String>),
    /// An address on the interface of this name; `Mark::Ours` only if it was ours before, if at all, and is ours after, if at all.
    Address(String, ServiceAddress, Mark),
}

impl Inventory {
    /// What a dump says, in place of what was known. An interface that was there before keeps its generation.
    pub(super) fn replace(&mut self, links: &[LinkMessage], addresses: &[AddressMessage]) {
        let known = std::mem::take(&mut self.links);
        self.indexes.clear();
        self.addresses.clear();
        for message in links {
            let generation = known.get(&message.header.index).map(|link| link.generation);
            self.put_link(message, generation);
        }
        for message in addresses {
            self.put_address(message);
        }
    }

    /// Takes a notification in.
    pub(super) fn apply(&mut self, message: &RouteNetlinkMessage) -> Touched {
        if let RouteNetlinkMessage::NewLink(link) = message {
            return self.put_link(link, None);
        }
        if let RouteNetlinkMessage::DelLink(link) = message {
            return self.take_link(link);
        }
        if let RouteNetlinkMessage::NewAddress(address) = message {
            return self.put_address(address);
        }
        if let RouteNetlinkMessage::DelAddress(address) = message {
            return self.take_address(address);
        }
        Touched::Nothing
    }

    /// The number of the interface of this name.
    pub(super) fn index(&self, name: &str) -> Option<u32> {
        self.indexes.get(name).copied()
    }

    /// How the interface of this name is.
    pub(super) fn link(&self, name: &str) -> Link {
        let Some(link) = self.index(name).and_then(|index| self.links.get(&index)) else { return Link::Absent };
        match link.state {
            LinkState::Down | LinkState::NoCarrier => Link::Down,
            LinkState::Up => Link::Up { mac: link.mac },
        }
    }

    /// The address as it is on the interface of this name, under exactly this prefix.
    pub(super) fn address(&self, name: &str, address: ServiceAddress) -> Option<AddressRecord> {
        self.addresses.get(&(self.index(name)?, address)).copied()
    }

    /// All addresses of the interface of this name.
    pub(super) fn addresses_of(&self, name: &str) -> impl Iterator<Item = (ServiceAddress, AddressRecord)> {
        self.index(name).into_iter().flat_map(|index| self.addresses_at(index))
    }

    /// This address under each prefix that the interface of this name has it with.
    pub(super) fn prefixes_of(&self, name: &str, address: IpAddr) -> impl Iterator<Item = (ServiceAddress, AddressRecord)> {
        self.between(name, address, address)
    }

    /// Whether the interface of this name has an address of the same subnet, and with which scope.
    pub(super) fn scope_of_subnet(&self, name: &str, address: ServiceAddress) -> Option<AddressScope> {
        let subnet = IpNet::new(address.address, address.prefix).ok()?;
        let mut within = self.between(name, subnet.network(), subnet.broadcast());
        within.find(|(there, _)| there.prefix == address.prefix).map(|(_, record)| record.scope)
    }

    /// All addresses with the names of their interfaces.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (&str, ServiceAddress, AddressRecord)> {
        self.addresses.iter().filter_map(|((index, address), record)| {
            let link = self.links.get(index)?;
            Some((link.name.as_str(), *address, *record))
        })
    }

    /// What the other ports are told.
    pub(super) fn snapshot(&self) -> Interfaces {
        self.links.iter().map(|(index, link)| (link.name.clone(), self.interface(*index, link))).collect()
    }

    fn interface(&self, index: u32, link: &LinkRecord) -> Interface {
        let mut addresses: Vec<_> = self.addresses_at(index).filter(|(_, record)| record.mark == Mark::Foreign).collect();
        // The kernel lists the youngest IPv6 address first: age, not place in the list, keeps "the first" from moving when one is added.
        addresses.sort_by_key(|(address, record)| (address.address.is_ipv6(), record.created, *address));
        let addresses = addresses
            .into_iter()
            .map(|(address, record)| InterfaceAddress {
                address: address.address,
                prefix: address.prefix,
                choice: record.choice(address.address),
            })
            .collect();
        Interface { index, generation: link.generation, state: link.state, framing: link.framing, mac: link.mac, addresses }
    }

    fn between(&self, name: &str, first: IpAddr, last: IpAddr) -> impl Iterator<Item = (ServiceAddress, AddressRecord)> {
        let index = self.index(name).into_iter();
        let lowest = ServiceAddress { address: first, prefix: u8::MIN };
        let highest = ServiceAddress { address: last, prefix: u8::MAX };
        index
            .flat_map(move |index| self.addresses.range((index, lowest)..=(index, highest)))
            .map(|((_, address), record)| (*address, *record))
    }

    fn addresses_at(&self, index: u32) -> impl Iterator<Item = (ServiceAddress, AddressRecord)> {
        self.addresses
            .range((index, LOWEST)..)
            .take_while(move |((at, _), _)| *at == index)
            .map(|((_, address), record)| (*address, *record))
    }

    fn put_link(&mut self, message: &LinkMessage, generation: Option<u64>) -> Touched {
        let Some(name) = concerned_name(message) else { return Touched::Nothing };
        let index = message.header.index;
        let former = self.links.get(&index);
        let generation = generation.or(former.map(|link| link.generation)).unwrap_or_else(|| {
            self.generation += 1;
            self.generation
        });
        let link = LinkRecord { name: name.clone(), state: state(message), framing: framing(message), mac: mac(message), generation };
        if former == Some(&link) {
            return Touched::Nothing;
        }
        let mut names = Vec::new();
        if let Some(former) = self.links.insert(index, link)
            && former.name != name
        {
            self.forget_name(&former.name, index);
            names.push(former.name);
        }
        self.indexes.insert(name.clone(), index);
        names.push(name);
        Touched::Link(names)
    }

    fn take_link(&mut self, message: &LinkMessage) -> Touched {
        if concerned_name(message).is_none() {
            return Touched::Nothing;
        }
        let index = message.header.index;
        let Some(link) = self.links.remove(&index) else { return Touched::Nothing };
        self.forget_name(&link.name, index);
        self.addresses.retain(|(at, _), _| *at != index);
        Touched::Link(vec![link.name])
    }

    /// Two interfaces that swap names are seen one after the other: a name is forgotten only if it still stands for this interface.
    fn forget_name(&mut self, name: &str, index: u32) {
        if self.index(name) == Some(index) {
            self.indexes.remove(name);
        }
    }

    fn put_address(&mut self, message: &AddressMessage) -> Touched {
        let Some(address) = service_address(message) else { return Touched::Nothing };
        let index = message.header.index;
        let record = record(message);
        let former = self.addresses.insert((index, address), record);
        if former == Some(record) {
            return Touched::Nothing;
        }
        let ours = record.mark == Mark::Ours && former.is_none_or(|former| former.mark == Mark::Ours);
        self.touched(index, address, ours)
    }

    fn take_address(&mut self, message: &AddressMessage) -> Touched {
        let Some(address) = service_address(message) else { return Touched::Nothing };
        let index = message.header.index;
        let Some(former) = self.addresses.remove(&(index, address)) else { return Touched::Nothing };
        self.touched(index, address, former.mark == Mark::Ours)
    }

    fn touched(&self, index: u32, address: ServiceAddress, ours: bool) -> Touched {
        let Some(link) = self.links.get(&index) else { return Touched::Nothing };
        Touched::Address(link.name.clone(), address, if ours { Mark::Ours } else { Mark::Foreign })
    }
}

/// Sorts before every address of an interface.
const LOWEST: ServiceAddress = ServiceAddress { address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), prefix: 0 };

impl AddressRecord {
    fn choice(self, address: IpAddr) -> Choice {
        let local = match address {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
        };
        let mut unfit = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
        if address.is_ipv6() {
            // The same bit means "temporary" (RFC 8981) for IPv6 and "not the first of its subnet" for IPv4.
            unfit |= AddressFlags::Secondary;
        }
        if local || self.flags.intersects(unfit) { Choice::Ineligible } else { Choice::Eligible }
    }
}

/// The name in a message about the link itself. Bridges send messages of the same type about their ports, with a family of their own; the
/// one that says a port has left its bridge looks like the end of the interface.
fn concerned_name(message: &LinkMessage) -> Option<String> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    message.attributes.iter().find_map(|attribute| if let LinkAttribute::IfName(name) = attribute { Some(name.clone()) } else { None })
}

/// `IFF_RUNNING` stands for an operational state of up, or unknown where the driver does not tell (RFC 2863, kernel `operstates.rst`).
fn state(message: &LinkMessage) -> LinkState {
    let flags = message.header.flags;
    if !flags.contains(LinkFlags::Up) {
        LinkState::Down
    } else if !flags.contains(LinkFlags::Running) {
        LinkState::NoCarrier
    } else {
        LinkState::Up
    }
}

fn framing(message: &LinkMessage) -> Framing {
    if message.header.link_layer_type == LinkLayerType::Ether { Framing::Ethernet } else { Framing::Other }
}

fn mac(message: &LinkMessage) -> Option<[u8; 6]> {
    message
        .attributes
        .iter()
        .find_map(|attribute| if let LinkAttribute::Address(bytes) = attribute { bytes.as_slice().try_into().ok() } else { None })
}

/// `IFA_LOCAL` is this host's address and `IFA_ADDRESS` the other end's, where the two differ.
fn service_address(message: &AddressMessage) -> Option<ServiceAddress> {
    let mut found = None;
    for attribute in &message.attributes {
        if let AddressAttribute::Local(address) = attribute {
            found = Some(*address);
        } else if let AddressAttribute::Address(address) = attribute {
            found = found.or(Some(*address));
        }
    }
    Some(ServiceAddress { address: found?, prefix: message.header.prefix_len })
}

fn record(message: &AddressMessage) -> AddressRecord {
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    let mut mark = Mark::Foreign;
    let mut created = 0;
    for attribute in &message.attributes {
        if let AddressAttribute::Flags(value) = attribute {
            flags = *value;
        } else if let AddressAttribute::Protocol(AddressProtocol::Other(MARK)) = attribute {
            mark = Mark::Ours;
        } else if let AddressAttribute::CacheInfo(cache) = attribute {
            created = cache.cstamp;
        }
    }
    AddressRecord { mark, scope: message.header.scope, flags, created }
}

#[cfg(test)]
mod tests;
