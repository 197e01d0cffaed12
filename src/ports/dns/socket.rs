//! Opens the two sockets of a listening address.
//!
//! Owns nothing afterwards. Called by `dns.rs` only.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::DnsError;

/// Connections that wait to be accepted; the kernel's own default limit is higher.
const BACKLOG: i32 = 128;

/// With port 0 the kernel chooses a free port for UDP, which somebody else may have for TCP: then it chooses again.
const PORT_TRIES: u32 = 16;

/// Both sockets of an address, non-blocking.
#[derive(Debug)]
pub(crate) struct Bound {
    /// With the port that it really has.
    pub(crate) address: SocketAddr,
    /// Tells the address asked of each datagram.
    pub(crate) udp: UdpSocket,
    /// Listens.
    pub(crate) tcp: TcpListener,
}

impl Bound {
    /// Opens them. The address need not be there yet: they receive as soon as it is.
    pub(crate) fn open(address: SocketAddr) -> Result<Self, DnsError> {
        let failed = |transport| move |source: io::Error| DnsError::Listen { address, transport, remedy: remedy(&source), source };
        let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            let udp = open_udp(address).map_err(failed("UDP"))?;
            let bound = udp.local_addr().map_err(failed("UDP"))?;
            match open_tcp(bound) {
                Ok(tcp) => return Ok(Self { address: bound, udp, tcp }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
                Err(error) => return Err(failed("TCP")(error)),
            }
        }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "another name server has it (ss -lnp 'sport = :53' shows which): stop that one, or list addresses it does not use"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "ports below 1024 take root or CAP_NET_BIND_SERVICE: grant it, or list another port"
    } else {
        "correct `listen` in [dns]"
    }
}

fn open_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address, Type::DGRAM, Protocol::UDP)?;
    match address {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn open_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address, Type::STREAM, Protocol::TCP)?;
    // Connections of an earlier run in TIME_WAIT must not hold up this one.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), Some(protocol))?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_freebind_v6(true)?;
            // So that 0.0.0.0 and [::] can both be listed.
            socket.set_only_v6(true)?;
        }
    }
    Ok(socket)
}
