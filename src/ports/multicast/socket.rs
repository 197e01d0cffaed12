//! One control socket: bound to a group address and joined on one interface, or bound to a control address; sending from that control
//! address over that interface.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::task::{Context, Poll, ready};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::DATAGRAM_MAX;
use super::place::Anchor;

/// Room for some 500 of the longest datagrams that raisd sends: what 1,000 hosts say while the loop is busy for half a heartbeat.
const RECEIVE_BUFFER: usize = 1 << 20;

/// What waits for the hardware addresses of hosts that are away must leave room for what goes to the others: three seconds of knocks at
/// 64 hosts, the kernel counting some 2,300 bytes for each.
const SEND_BUFFER: usize = 4 << 20;

/// Hosts may be several networks apart: the usual number.
const HOPS_MAX: u32 = 64;

/// An open control socket.
#[derive(Debug)]
pub(super) struct ControlSocket {
    socket: UdpSocket,
    /// What it is bound to.
    bound: SocketAddr,
    anchor: Anchor,
    buffer: Vec<u8>,
    control: Vec<u8>,
}

/// What was read.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Read {
    /// A datagram of this network.
    Datagram(SocketAddr, Vec<u8>),
    /// A datagram that came in over another interface.
    Elsewhere,
    /// A datagram of more than [`DATAGRAM_MAX`] bytes.
    TooLong,
}

impl ControlSocket {
    /// Opens a socket at an address of an interface: for a group address, or for what is sent to that very address.
    pub(super) fn open(address: SocketAddr, anchor: Anchor) -> io::Result<Self> {
        let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        // Several daemons may share a machine; each gets its copy.
        socket.set_reuse_address(true)?;
        raise_receive_buffer(&socket)?;
        let control = if address.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
            cmsg_space!(libc::in_pktinfo)
        } else {
            socket.set_only_v6(true)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            cmsg_space!(libc::in6_pktinfo)
        };
        let bound = if address.ip().is_multicast() {
            join(&socket, address, anchor)?
        } else {
            prepare_unicast(&socket, address)?;
            address
        };
        // Bound to one address and not to any: what comes to the group and what comes to this host is told apart by the socket.
        socket.bind(&bound.into())?;
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, bound, anchor, buffer: vec![0; DATAGRAM_MAX + 1], control })
    }

    /// What the socket is bound to.
    pub(super) fn anchor(&self) -> Anchor {
        self.anchor
    }

    /// Reads one datagram.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        let Self { socket, bound, anchor, buffer, control } = self;
        loop {
            ready!(socket.poll_recv_ready(cx))?;
            match socket.try_io(Interest::READABLE, || read(socket, *bound, anchor.index, buffer, control)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Reads one datagram that is already there.
    pub(super) fn read_ready(&mut self) -> io::Result<Read> {
        read(&self.socket, self.bound, self.anchor.index, &mut self.buffer, &mut self.control)
    }

    /// Sends one datagram to the group that it is bound to.
    pub(super) fn send_to_group(&self, datagram: &[u8]) -> io::Result<()> {
        self.send(datagram, self.bound)
    }

    /// Sends one datagram, out of this network's interface and from its control address.
    pub(super) fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        let (index, address) = (self.anchor.index, self.anchor.address);
        let to = SockaddrStorage::from(to);
        let payload = [IoSlice::new(datagram)];
        // Packet information names interface and source for each datagram: IP_MULTICAST_IF could name no source for IPv6, and would
        // outlive the address.
        match address {
            IpAddr::V4(v4) => {
                let source = libc::in_addr { s_addr: u32::from_ne_bytes(v4.octets()) };
                let ipi_ifindex = libc::c_int::try_from(index).map_err(io::Error::other)?;
                let info = libc::in_pktinfo { ipi_ifindex, ipi_spec_dst: source, ipi_addr: libc::in_addr { s_addr: 0 } };
                self.transmit(&payload, &ControlMessage::Ipv4PacketInfo(&info), &to)
            }
            IpAddr::V6(v6) => {
                let source = libc::in6_addr { s6_addr: v6.octets() };
                let info = libc::in6_pktinfo { ipi6_addr: source, ipi6_ifindex: index };
                self.transmit(&payload, &ControlMessage::Ipv6PacketInfo(&info), &to)
            }
        }
    }

    fn transmit(&self, payload: &[IoSlice<'_>], info: &ControlMessage<'_>, to: &SockaddrStorage) -> io::Result<()> {
        sendmsg(self.socket.as_raw_fd(), payload, std::slice::from_ref(info), MsgFlags::MSG_DONTWAIT, Some(to))?;
        Ok(())
    }
}

/// Joins a group on the interface. Returns what is to be bound.
fn join(socket: &Socket, group: SocketAddr, anchor: Anchor) -> io::Result<SocketAddr> {
    match group {
        SocketAddr::V4(v4) => {
            // Without this the socket gets what any process has joined, on any interface.
            socket.set_multicast_all_v4(false)?;
            socket.set_multicast_loop_v4(true)?;
            socket.set_multicast_ttl_v4(1)?;
            socket.join_multicast_v4_n(v4.ip(), &InterfaceIndexOrAddress::Index(anchor.index))?;
            Ok(group)
        }
        SocketAddr::V6(v6) => {
            socket.set_multicast_all_v6(false)?;
            socket.set_multicast_loop_v6(true)?;
            socket.set_multicast_hops_v6(1)?;
            socket.set_multicast_if_v6(anchor.index)?;
            socket.join_multicast_v6(v6.ip(), anchor.index)?;
            // A link-local group is one per link: its address needs the interface to be complete.
            Ok(SocketAddr::V6(SocketAddrV6::new(*v6.ip(), v6.port(), 0, anchor.index)))
        }
    }
}

fn prepare_unicast(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv4() {
        socket.set_ttl_v4(HOPS_MAX)?
    } else {
        socket.set_unicast_hops_v6(HOPS_MAX)?
    }
    if setsockopt(socket, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
        socket.set_send_buffer_size(SEND_BUFFER)?;
    }
    Ok(())
}

fn raise_receive_buffer(socket: &Socket) -> io::Result<()> {
    // Beyond the system's limit only with CAP_NET_ADMIN in the first user namespace; within it otherwise.
    if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    Ok(())
}

fn read(socket: &UdpSocket, bound: SocketAddr, index: u32, buffer: &mut [u8], control: &mut [u8]) -> io::Result<Read> {
    let mut payload = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut payload, Some(control), MsgFlags::MSG_DONTWAIT)?;
    let (length, from) = (message.bytes, message.address.and_then(socket_address));
    let here = message.cmsgs()?.any(|info| is_here(&info, bound.ip(), index));
    let Some(from) = from.filter(|_| here) else { return Ok(Read::Elsewhere) };
    match buffer.get(..length) {
        Some(bytes) if length <= DATAGRAM_MAX => Ok(Read::Datagram(from, bytes.to_vec())),
        Some(_) | None => Ok(Read::TooLong),
    }
}

/// Whether a datagram came in on the network's interface, for the address that the socket is bound to.
fn is_here(info: &ControlMessageOwned, bound: IpAddr, index: u32) -> bool {
    if let ControlMessageOwned::Ipv4PacketInfo(info) = info {
        let to = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
        return u32::try_from(info.ipi_ifindex) == Ok(index) && IpAddr::V4(to) == bound;
    }
    if let ControlMessageOwned::Ipv6PacketInfo(info) = info {
        let to = Ipv6Addr::from(info.ipi6_addr.s6_addr);
        return info.ipi6_ifindex == index && IpAddr::V6(to) == bound;
    }
    false
}

fn socket_address(address: SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4((*v4).into()));
    }
    address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()))
}
