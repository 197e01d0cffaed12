//! Questions and answers in datagrams. Each answer leaves from the address that was asked.
//!
//! Owns one socket. Its own loop, since hickory-server's sends from the host's first address, which on a host full of service
//! addresses is not the one that was asked, and starts a task per datagram without bound.
//!
//! **Queue**: the kernel's receive buffer; when that is full the kernel drops, and resolvers ask again. One datagram is
//! answered before the next is read; an answer that the kernel does not take at once is dropped. **Cancellation** at any
//! point costs at most the answer under way. Called by `dns.rs`.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::time::Duration;

use hickory_server::net::xfer::Protocol;
use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::sleep;

use super::answer::Answering;
use super::edns::UDP_BYTES_MAX;

/// Questions are far smaller; what does not fit into this is no question.
pub(crate) const QUESTION_BYTES_MAX: usize = 4096;

/// Pause after an error of the socket itself, so that a lasting one does not take a processor.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Answers on `socket` until cancelled. It must be set to tell the address asked.
pub(crate) async fn serve(socket: UdpSocket, answering: Answering) {
    let mut buffer = vec![0; QUESTION_BYTES_MAX];
    let mut answer = Vec::with_capacity(UDP_BYTES_MAX.into());
    let mut control = cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo);
    let mut is_failing = false;
    loop {
        let received = socket.async_io(Interest::READABLE, || receive(&socket, &mut buffer, &mut control)).await;
        let datagram = match received {
            Ok(datagram) => datagram,
            Err(error) => {
                if !is_failing {
                    tracing::warn!(%error, address = ?socket.local_addr().ok(), "DNS questions over UDP cannot be received; trying on");
                }
                is_failing = true;
                sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        is_failing = false;
        let Some(Datagram { length, from, asked }) = datagram else { continue };
        let message = buffer.get(..length).unwrap_or_default();
        answering.answer(message, from, Protocol::Udp, &mut answer);
        if answer.is_empty() {
            continue;
        }
        if let Err(error) = send(&socket, &answer, from, asked) {
            // Anybody can cause this with a false sender address: not for the log.
            tracing::debug!(%error, to = %from, from = ?asked, "a DNS answer could not be sent");
        }
    }
}

/// A datagram in the buffer.
struct Datagram {
    length: usize,
    from: SocketAddr,
    asked: Asked,
}

/// The address that a question was sent to.
#[derive(Clone, Copy, Debug)]
struct Asked {
    address: IpAddr,
    /// Where it came in.
    interface: u32,
}

/// `None`: received, but not to be answered.
fn receive(socket: &UdpSocket, buffer: &mut [u8], control: &mut [u8]) -> io::Result<Option<Datagram>> {
    let mut parts = [IoSliceMut::new(buffer)];
    let received = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(control), MsgFlags::empty())?;
    let whole = !received.flags.contains(MsgFlags::MSG_TRUNC);
    let asked = received.cmsgs()?.find_map(asked);
    let from = received.address.as_ref().and_then(socket_address);
    let (true, Some(from), Some(asked)) = (whole, from, asked) else { return Ok(None) };
    Ok(Some(Datagram { length: received.bytes, from, asked }))
}

fn asked(message: ControlMessageOwned) -> Option<Asked> {
    if let ControlMessageOwned::Ipv4PacketInfo(info) = message {
        // The two differ for a broadcast: not answered, as nobody asks a name server that way but to have others flooded.
        if info.ipi_spec_dst.s_addr != info.ipi_addr.s_addr {
            return None;
        }
        let address = IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
        return Some(Asked { address, interface: u32::try_from(info.ipi_ifindex).unwrap_or_default() });
    }
    if let ControlMessageOwned::Ipv6PacketInfo(info) = message {
        let address = IpAddr::from(info.ipi6_addr.s6_addr);
        return (!address.is_multicast()).then_some(Asked { address, interface: info.ipi6_ifindex });
    }
    None
}

fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| SocketAddr::V4(SocketAddrV4::from(*address)));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::V6(SocketAddrV6::from(*address))))
}

fn send(socket: &UdpSocket, answer: &[u8], to: SocketAddr, asked: Asked) -> io::Result<()> {
    let parts = [IoSlice::new(answer)];
    let to = SockaddrStorage::from(to);
    let flags = MsgFlags::MSG_DONTWAIT;
    match asked.address {
        IpAddr::V4(address) => {
            let source = libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
            // Interface 0: the routing table chooses the way, which need not be the one that the question took.
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: libc::in_addr { s_addr: 0 } };
            sendmsg(socket.as_raw_fd(), &parts, &[ControlMessage::Ipv4PacketInfo(&info)], flags, Some(&to))?;
        }
        IpAddr::V6(address) => {
            // A link-local address means something on its own link only.
            let interface = if address.is_unicast_link_local() { asked.interface } else { 0 };
            let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: address.octets() }, ipi6_ifindex: interface };
            sendmsg(socket.as_raw_fd(), &parts, &[ControlMessage::Ipv6PacketInfo(&info)], flags, Some(&to))?;
        }
    }
    Ok(())
}
