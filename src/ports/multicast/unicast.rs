//! Unicast beside the group addresses: one socket per control network and port, bound to the network's control address.
//!
//! Several groups may share a port, and a datagram to a host's own address does not say by its destination which group it is for: that
//! is read from its header. Which network leads to an address is told by the prefixes of the control interfaces, so that networks that
//! are redundant stay so; an address on none of them goes where the kernel's routes lead, if that is over a control interface.
//!
//! Owns the sockets; keeps no destinations: each message brings its own. Called by `ControlSockets` only; what is said there of queues
//! and cancelling holds here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::task::{Context, Poll};

use ipnet::IpNet;

use super::place::{Anchor, find};
use super::socket::{ControlSocket, Read};
use super::{ControlNetwork, remedy};
use crate::ports::interfaces::{Interface, Interfaces};

/// One port on one network.
#[derive(Debug)]
pub(super) struct UnicastPath {
    pub(super) network: u8,
    configured: ControlNetwork,
    /// The unspecified address of its family, with the port.
    any: SocketAddr,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed { why: String },
    Open(Box<Open>),
}

#[derive(Debug)]
struct Open {
    socket: ControlSocket,
    anchor: Anchor,
    /// The control address with its interface, for people.
    name: String,
    /// The other addresses of the interface: the kernel may prefer one of them as the source on the same way.
    addresses: Vec<IpAddr>,
    /// The network that the control address is on.
    prefix: Option<IpNet>,
    link_fault: Option<String>,
}

/// What has become of datagrams to one address.
#[derive(Debug)]
pub(super) enum Sent {
    /// All are on their way.
    Out,
    /// The kernel refused at least one.
    Refused(String),
}

impl UnicastPath {
    pub(super) fn new(network: u8, configured: ControlNetwork, is_ipv4: bool, port: u16) -> Self {
        let any: IpAddr = if is_ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        Self { network, configured, any: SocketAddr::new(any, port), state: State::Closed { why: String::new() } }
    }

    /// The same under another number of its network.
    pub(super) fn numbered(self, network: u8) -> Self {
        Self { network, ..self }
    }

    /// Whether it carries groups of this family and port.
    pub(super) fn carries(&self, is_ipv4: bool, port: u16) -> bool {
        self.any.is_ipv4() == is_ipv4 && self.any.port() == port
    }

    /// Whether this is the network that is configured so.
    pub(super) fn is_on(&self, network: &ControlNetwork) -> bool {
        self.configured == *network
    }

    /// Whether the configuration names the interface and not the address.
    pub(super) fn is_by_interface(&self) -> bool {
        match self.configured {
            ControlNetwork::Address(_) => false,
            ControlNetwork::Interface(_) => true,
        }
    }

    /// The control address, where there is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match &self.state {
            State::Closed { .. } => None,
            State::Open(open) => Some(open.anchor.address),
        }
    }

    /// Follows a change of interfaces. An open socket whose address is where it was stays open.
    pub(super) fn refresh(&mut self, interfaces: &Interfaces) {
        let held = match &self.state {
            State::Closed { .. } => None,
            State::Open(open) => Some(open.anchor),
        };
        let place = match find(&self.configured, self.any.ip(), held.map(|anchor| anchor.address), interfaces) {
            Ok(place) => place,
            Err(why) => return self.state = State::Closed { why },
        };
        let (anchor, link_fault) = (place.anchor, place.link_fault());
        let interface = interfaces.named(&place.interface);
        let addresses = interface.map(addresses_of).unwrap_or_default();
        let prefix = interface.and_then(|interface| prefix_of(interface, anchor.address));
        if let State::Open(open) = &mut self.state
            && open.anchor == anchor
        {
            (open.addresses, open.prefix, open.link_fault) = (addresses, prefix, link_fault);
            return;
        }
        // Closed before the address is bound again.
        let before = std::mem::replace(&mut self.state, State::Closed { why: String::new() });
        let told = match before {
            State::Closed { why } => why,
            State::Open(_) => String::new(),
        };
        let name = format!("{} (control address {})", place.interface, anchor.address);
        let address = SocketAddr::new(anchor.address, self.any.port());
        self.state = match ControlSocket::open(address, anchor) {
            Ok(socket) => State::Open(Box::new(Open { socket, anchor, name, addresses, prefix, link_fault })),
            Err(cause) => {
                let why = format!("cannot open {address} on {name}: {cause}{}", remedy(&cause));
                if why != told {
                    tracing::warn!("nothing that is sent to this host by unicast arrives there: {why}");
                }
                State::Closed { why }
            }
        };
    }

    /// Why nothing comes or goes by unicast.
    pub(super) fn fault(&self) -> Option<&str> {
        match &self.state {
            State::Closed { why } => Some(why),
            State::Open(open) => open.link_fault.as_deref(),
        }
    }

    /// Whether the address is on this network.
    pub(super) fn is_on_link(&self, to: IpAddr) -> bool {
        match &self.state {
            State::Closed { .. } => false,
            State::Open(open) => open.prefix.is_some_and(|prefix| prefix.contains(&to)),
        }
    }

    /// Whether the kernel, asked for the way to an address, has named this interface by one of its addresses.
    pub(super) fn is_way(&self, source: IpAddr) -> bool {
        match &self.state {
            State::Closed { .. } => false,
            State::Open(open) => open.addresses.contains(&source),
        }
    }

    /// Sends datagrams to one address. Nothing is sent over a network that is closed, which is said by [`Self::fault`].
    pub(super) fn send(&self, to: IpAddr, datagrams: &[Vec<u8>]) -> Sent {
        let State::Open(open) = &self.state else { return Sent::Out };
        let to = SocketAddr::new(to, self.any.port());
        let mut sent = Sent::Out;
        for datagram in datagrams {
            if let Err(cause) = open.socket.send(datagram, to) {
                sent = Sent::Refused(format!("cannot send to {to} on {}: {cause}{}", open.name, remedy(&cause)));
            }
        }
        sent
    }

    /// Reads one datagram; `None` if there is no socket.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Option<Poll<io::Result<Read>>> {
        match &mut self.state {
            State::Closed { .. } => None,
            State::Open(open) => Some(open.socket.poll_read(cx)),
        }
    }

    /// Reads one datagram that is already there; `None` if there is no socket.
    pub(super) fn read_ready(&mut self) -> Option<io::Result<Read>> {
        match &mut self.state {
            State::Closed { .. } => None,
            State::Open(open) => Some(open.socket.read_ready()),
        }
    }
}

/// The source address that the kernel's routes give to datagrams to this address: it tells the interface that they leave by.
pub(super) fn source_towards(to: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    // The port does not matter: connecting a datagram socket looks the route up and sends nothing.
    socket.connect((to, 9))?;
    Ok(socket.local_addr()?.ip())
}

fn addresses_of(interface: &Interface) -> Vec<IpAddr> {
    interface.addresses.iter().map(|address| address.address).collect()
}

fn prefix_of(interface: &Interface, address: IpAddr) -> Option<IpNet> {
    let found = interface.addresses.iter().find(|known| known.address == address)?;
    IpNet::new(address, found.prefix).ok()
}
