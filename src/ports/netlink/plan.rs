//! What to ask of the kernel for a change, given what it has: a pure function, and the messages it leads to.
//!
//! A round sends at most one message for each change and looks again afterwards; so a plan needs no second step, and whatever somebody
//! else does in between is met by the next round.

use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo};
use rtnetlink::AddressMessageBuilder;

use super::inventory::Inventory;
use super::{AddressChange, ChangeKind, MARK, NetlinkError};
use crate::node::event::{Link, Mark, Outcome};
use crate::types::item::ServiceAddress;

/// The attribute that carries [`MARK`], from `linux/if_addr.h`.
const IFA_PROTO: u16 = 11;

/// What a change needs next.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Nothing more: this is its answer.
    Answer(Outcome),
    /// One request to the kernel.
    Ask(Request),
}

/// One request to the kernel about an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Request {
    /// The interface's number.
    pub(super) index: u32,
    /// The address as the kernel knows it, or is to know it.
    pub(super) address: ServiceAddress,
    /// What to do with it.
    pub(super) verb: Verb,
}

/// What to do with an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    /// Put it on, marked.
    Add(AddressScope),
    /// Put our mark on what is there, and leave the rest as it is.
    Mark(AddressFlags),
    /// Take it off.
    Remove,
}

/// The next step of a change.
pub(super) fn plan(change: &AddressChange, inventory: &Inventory) -> Step {
    match change.kind {
        ChangeKind::Add => plan_add(change, inventory),
        ChangeKind::Remove => plan_remove(change, inventory),
    }
}

fn plan_add(change: &AddressChange, inventory: &Inventory) -> Step {
    let AddressChange { interface, address, .. } = change;
    let Some(index) = inventory.index(interface) else {
        let why = format!("cannot add {address}: there is no interface {interface}; create it, or correct `interface` in the group");
        return Step::Answer(Outcome::Failed { why });
    };
    let mut foreign = None;
    for (there, record) in inventory.prefixes_of(interface, address.address) {
        match record.mark {
            Mark::Ours => return Step::Answer(Outcome::Done),
            // IPv4 can have the same address under several prefixes: the one that was asked for is taken rather than another.
            Mark::Foreign if there == *address || foreign.is_none() => foreign = Some((there, record.flags)),
            Mark::Foreign => {}
        }
    }
    Step::Ask(match foreign {
        Some((there, flags)) => Request { index, address: there, verb: Verb::Mark(flags) },
        None => Request { index, address: *address, verb: Verb::Add(scope(change, inventory)) },
    })
}

fn plan_remove(change: &AddressChange, inventory: &Inventory) -> Step {
    let AddressChange { interface, address, .. } = change;
    let Some(index) = inventory.index(interface) else { return Step::Answer(Outcome::Done) };
    let mut foreign = None;
    // The core names an item by its address; what was taken over keeps the prefix of whoever put it there.
    for (there, record) in inventory.prefixes_of(interface, address.address) {
        match record.mark {
            Mark::Ours => return Step::Ask(Request { index, address: there, verb: Verb::Remove }),
            Mark::Foreign => foreign = Some(there),
        }
    }
    let Some(there) = foreign else { return Step::Answer(Outcome::Done) };
    let why = format!(
        "did not remove {there} from {interface}: it does not carry protocol {MARK:#x}, so something else put it there; \
         remove it there (ip address del {there} dev {interface}) or take it out of the group"
    );
    Step::Answer(Outcome::Failed { why })
}

/// The scope that keeps the kernel from choosing an IPv4 address as a source.
///
/// Measured on Linux 6.18: a preferred lifetime of zero, which settles it for IPv6, has no effect on IPv4; an address of scope `link` is
/// chosen on directly connected routes; one of scope `host` never is, while local delivery, ARP answers and sockets bound to it work as ever
/// (only `arp_ignore=3` keeps it from being answered). Within a subnet that the interface has an address of already, the kernel refuses any
/// scope but that address's (EINVAL) and makes this one secondary; a secondary address is never chosen either.
fn scope(change: &AddressChange, inventory: &Inventory) -> AddressScope {
    inventory.scope_of_subnet(&change.interface, change.address).unwrap_or(AddressScope::Host)
}

impl Request {
    /// The message that asks for it.
    pub(super) fn message(self) -> NetlinkMessage<RouteNetlinkMessage> {
        let mut address = match self.address.address {
            IpAddr::V4(v4) => AddressMessageBuilder::<std::net::Ipv4Addr>::new().index(self.index).address(v4, self.address.prefix).build(),
            IpAddr::V6(v6) => AddressMessageBuilder::<std::net::Ipv6Addr>::new().index(self.index).address(v6, self.address.prefix).build(),
        };
        let (payload, flags) = match self.verb {
            Verb::Add(scope) => {
                address.header.scope = scope;
                put_on(&mut address, self.address.address, AddressFlags::Noprefixroute);
                (RouteNetlinkMessage::NewAddress(address), NLM_F_CREATE | NLM_F_EXCL)
            }
            Verb::Mark(flags) => {
                // Without the prefix route of its maker the host might lose the way to its own network.
                put_on(&mut address, self.address.address, flags & AddressFlags::Noprefixroute);
                (RouteNetlinkMessage::NewAddress(address), NLM_F_REPLACE)
            }
            Verb::Remove => (RouteNetlinkMessage::DelAddress(address), 0),
        };
        let mut message = NetlinkMessage::from(payload);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        message
    }

    /// The request in words, for a message that says how it went.
    pub(super) fn words(self) -> &'static str {
        match self.verb {
            Verb::Add(_) => "add",
            Verb::Mark(_) => "take over",
            Verb::Remove => "remove",
        }
    }

    /// Whether the kernel may have more to do when it has already answered: it tells of a new IPv6 address, and makes it reachable, from a
    /// work queue.
    pub(super) fn settles_later(self) -> bool {
        match self.verb {
            Verb::Add(_) | Verb::Mark(_) => self.address.address.is_ipv6(),
            Verb::Remove => false,
        }
    }
}

fn put_on(message: &mut AddressMessage, address: IpAddr, mut flags: AddressFlags) {
    if address.is_ipv6() {
        // Duplicate address detection would keep the address from answering for a second, and would fail while the former holder goes.
        flags |= AddressFlags::Nodad;
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = u32::MAX;
        // Deprecated from the start: RFC 6724 rule 3 keeps it from being chosen as a source.
        lifetime.ifa_preferred = 0;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    message.attributes.push(AddressAttribute::Flags(flags));
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
}

/// A request that changes nothing, and whose refusal says whether the kernel knows [`MARK`]'s attribute: the attribute is too short, and the
/// interface does not exist. A kernel that knows it finds the former first; one that does not ignores it and finds the latter.
pub(super) fn probe() -> NetlinkMessage<RouteNetlinkMessage> {
    let request = Request {
        index: i32::MAX.unsigned_abs(),
        address: ServiceAddress::host(std::net::Ipv4Addr::LOCALHOST.into()),
        verb: Verb::Add(AddressScope::Host),
    };
    let mut message = request.message();
    if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(body)) = &mut message.payload {
        body.attributes.pop();
        body.attributes.push(AddressAttribute::Other(DefaultNla::new(IFA_PROTO, Vec::new())));
    }
    message
}

/// Judges the refusal of [`probe`].
pub(super) fn judge_probe(errno: i32) -> Result<(), NetlinkError> {
    match errno {
        libc::ENODEV => Err(NetlinkError::MarkUnsupported),
        libc::EPERM => Err(NetlinkError::NotPermitted),
        _ => Ok(()),
    }
}

/// What a refused request means for its change.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// What was planned on is not so any more: look again.
    LookAgain,
    /// The change has failed.
    Final(Outcome),
}

/// Judges an error number with which the kernel refused a request.
pub(super) fn judge(change: &AddressChange, request: Request, errno: i32, text: &str, inventory: &Inventory) -> Refusal {
    if [libc::EEXIST, libc::ENOENT, libc::EADDRNOTAVAIL, libc::ENODEV].contains(&errno) {
        return Refusal::LookAgain;
    }
    let AddressChange { interface, address, .. } = change;
    let (verb, cause) = (request.words(), std::io::Error::from_raw_os_error(errno));
    let detail = if text.is_empty() { String::new() } else { format!(" ({text})") };
    let remedy = if errno == libc::EPERM {
        "; give the daemon CAP_NET_ADMIN"
    } else if errno == libc::EACCES && address.address.is_ipv6() {
        "; IPv6 is disabled there (sysctl net.ipv6.conf.<interface>.disable_ipv6)"
    } else if inventory.link(interface) == Link::Down {
        "; the interface is down or without carrier"
    } else {
        ""
    };
    Refusal::Final(Outcome::Failed { why: format!("cannot {verb} {address} on {interface}: {cause}{detail}{remedy}") })
}

#[cfg(test)]
mod tests;
