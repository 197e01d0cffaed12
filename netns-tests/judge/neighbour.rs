//! Where a kernel believes an address to be: its ARP and neighbour tables.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use raisd::demo::namespace::{Intent, Namespace};
use raisd::demo::plan::Mac;

/// The hardware address that the kernel of the namespace sends packets for `address` to, if it has one.
pub(crate) fn neighbour(namespace: &Namespace, address: IpAddr) -> io::Result<Option<Mac>> {
    let mut question = NeighbourMessage::default();
    question.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let answers = namespace.request(RouteNetlinkMessage::GetNeighbour(question), Intent::Dump)?;
    Ok(answers.iter().find_map(|answer| {
        let RouteNetlinkMessage::NewNeighbour(entry) = answer else { return None };
        mac_of(entry, address)
    }))
}

fn mac_of(entry: &NeighbourMessage, address: IpAddr) -> Option<Mac> {
    let destination = match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    if !entry.attributes.contains(&NeighbourAttribute::Destination(destination)) {
        return None;
    }
    entry.attributes.iter().find_map(|attribute| {
        let NeighbourAttribute::LinkLayerAddress(bytes) = attribute else { return None };
        <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac)
    })
}
