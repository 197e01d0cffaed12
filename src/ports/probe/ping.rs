//! An ICMP echo request that is answered.
//!
//! Owns the socket of one probe: a ping socket where the kernel allows them (`net.ipv4.ping_group_range`), else a raw one, which
//! needs CAP_NET_RAW. Called by `probe.rs`.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::TestProbe;

/// Header of an echo message: type, code, checksum, identifier, sequence number.
const HEADER_BYTES: usize = 8;

/// What tells our echo from all others.
const TOKEN_BYTES: usize = 16;

const MESSAGE_BYTES: usize = HEADER_BYTES + TOKEN_BYTES;

/// Room for our echo behind the longest IPv4 header.
const BUFFER_BYTES: usize = 60 + MESSAGE_BYTES;

/// A test that sends echo requests.
pub(crate) struct PingProbe {
    address: IpAddr,
    source: Option<IpAddr>,
}

impl PingProbe {
    pub(crate) fn new(address: IpAddr, source: Option<IpAddr>) -> Self {
        Self { address, source }
    }

    fn open(&self) -> Result<UdpSocket, String> {
        let (domain, protocol) = match self.address {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let refused = |error: &io::Error| error.kind() == ErrorKind::PermissionDenied;
        let socket = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
            Err(error) if refused(&error) => Socket::new(domain, Type::RAW, Some(protocol)),
            opened => opened,
        };
        let socket = socket.map_err(|error| {
            let help = "give raisd CAP_NET_RAW, or its group a place in net.ipv4.ping_group_range";
            if refused(&error) { format!("echo requests are not allowed: {help}") } else { format!("no socket for echo requests: {error}") }
        })?;
        if let Some(source) = self.source {
            let bound = socket.bind(&SocketAddr::new(source, 0).into());
            bound.map_err(|error| format!("source {source} cannot be used: {error}"))?;
        }
        let ready = move || {
            // Routers and the kernel itself then tell what they know, instead of silence until the timeout.
            match self.address {
                IpAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
                IpAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
            }
            socket.set_nonblocking(true)?;
            // From others the kernel then delivers nothing.
            socket.connect(&SocketAddr::new(self.address, 0).into())?;
            // Of a datagram socket tokio needs no more than this one can do as well.
            UdpSocket::from_std(socket.into())
        };
        ready().map_err(|error: io::Error| format!("{} cannot be reached: {error}", self.address))
    }
}

#[async_trait]
impl TestProbe for PingProbe {
    async fn probe(&mut self) -> Result<(), String> {
        let address = self.address;
        let mut token = [0; TOKEN_BYTES];
        SystemRandom::new().fill(&mut token).map_err(|_| "the operating system gives no random bits".to_owned())?;
        let socket = self.open()?;
        let unreachable = |error: io::Error| format!("{address} cannot be reached: {error}");
        socket.send(&request(address, &token)).await.map_err(unreachable)?;
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            let length = socket.recv(&mut buffer).await.map_err(unreachable)?;
            if is_reply(address, buffer.get(..length).unwrap_or_default(), &token) {
                return Ok(());
            }
        }
    }

    fn overdue(&self) -> String {
        format!("{} did not answer an echo request", self.address)
    }
}

/// RFC 792 and RFC 4443 §4.1. A ping socket puts in an identifier of its own, and for IPv6 the kernel the checksum.
fn request(address: IpAddr, token: &[u8; TOKEN_BYTES]) -> [u8; MESSAGE_BYTES] {
    let mut message = [0; MESSAGE_BYTES];
    let (header, payload) = message.split_at_mut(HEADER_BYTES);
    payload.copy_from_slice(token);
    let [first, second, ..] = *token;
    header.copy_from_slice(&[if address.is_ipv4() { 8 } else { 128 }, 0, 0, 0, first, second, 0, 1]);
    if address.is_ipv4() {
        let checksum = checksum(&message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
    message
}

/// RFC 1071; of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.as_chunks().0.iter().map(|word| u16::from_be_bytes(*word));
    !words.fold(0_u16, |sum, word| {
        let (sum, has_carry) = sum.overflowing_add(word);
        sum + u16::from(has_carry)
    })
}

/// Whether it is the reply to our request; a raw IPv4 socket has the IP header in front.
fn is_reply(address: IpAddr, bytes: &[u8], token: &[u8; TOKEN_BYTES]) -> bool {
    let message = match (address, bytes.first()) {
        (IpAddr::V4(_), Some(first)) if first >> 4 == 4 => bytes.get(usize::from(first & 0xf) * 4..).unwrap_or_default(),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => bytes,
    };
    let reply = if address.is_ipv4() { 0 } else { 129 };
    message.first() == Some(&reply) && message.get(HEADER_BYTES..) == Some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: [u8; TOKEN_BYTES] = *b"0123456789abcdef";

    #[test]
    fn the_checksum_of_a_message_with_its_checksum_is_zero() {
        assert_eq!(checksum(&request("127.0.0.1".parse().unwrap(), &TOKEN)), 0);
        assert_eq!(checksum(&[0xff, 0xff, 0xff, 0xff]), 0);
    }

    #[test]
    fn only_a_reply_with_the_token_is_ours() {
        let address = "127.0.0.1".parse().unwrap();
        let mut message = request(address, &TOKEN);
        assert!(!is_reply(address, &message, &TOKEN), "a request is no reply");
        message[0] = 0;
        assert!(is_reply(address, &message, &TOKEN));
        assert!(!is_reply(address, &message, b"................"));
        assert!(!is_reply(address, &message[..MESSAGE_BYTES - 1], &TOKEN));
        let mut behind_header = vec![0x45; 20];
        behind_header.extend_from_slice(&message);
        assert!(is_reply(address, &behind_header, &TOKEN));
        assert!(!is_reply(address, &[0x4f, 0], &TOKEN));
        assert!(!is_reply("::1".parse().unwrap(), &message, &TOKEN));
        message[0] = 129;
        assert!(is_reply("::1".parse().unwrap(), &message, &TOKEN));
        assert!(!is_reply(address, &[], &TOKEN));
    }
}
