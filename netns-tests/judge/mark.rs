//! By whom an address was put on an interface, as the kernel says: the mark that `ip address` shows behind `proto`.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol};
use raisd::demo::namespace::{Intent, Namespace};

/// The mark of raisd's addresses (`proto 0x52`), written down here once more: an operator's own tools rely on it.
const RAISD: u8 = 0x52;

/// Whose an address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mark {
    /// On no interface of the host.
    Absent,
    /// There, with the mark of another program or none.
    Foreign,
    /// There, with raisd's mark.
    Raisd,
}

/// Whose `address` is in the namespace of a host.
pub(crate) fn mark(namespace: &Namespace, address: IpAddr) -> io::Result<Mark> {
    let answers = namespace.request(RouteNetlinkMessage::GetAddress(AddressMessage::default()), Intent::Dump)?;
    let found = answers.iter().find_map(|answer| {
        let RouteNetlinkMessage::NewAddress(message) = answer else { return None };
        message.attributes.contains(&AddressAttribute::Address(address)).then_some(message)
    });
    let is_mark = |attribute: &AddressAttribute| *attribute == AddressAttribute::Protocol(AddressProtocol::Other(RAISD));
    Ok(match found {
        None => Mark::Absent,
        Some(message) if message.attributes.iter().any(is_mark) => Mark::Raisd,
        Some(_) => Mark::Foreign,
    })
}
