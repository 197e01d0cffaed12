//! ARP and neighbour advertisements on the service network, as a person with a capture would see them.
//!
//! Owns a packet socket in the fabric that sees every frame that a host or the client puts on the wire, with the port it came
//! in by: a frame says who it claims to be, the port says who it is. Never sends. Called by the demo and the netns tests.
#![expect(clippy::disallowed_methods, reason = "an observer outside of the protocol measures time")]

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::io::{IoSliceMut, PipeReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Instant;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::log::{Background, Log, ObserverError, instant_of, wait_readable};
use super::plan::{Mac, Network};
use super::topology::Topology;

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// When the kernel took it in.
    pub at: Instant,
    /// Who sent it, by the port: `web1` or `client`.
    pub port: String,
    /// Its source address.
    pub source: Mac,
    /// Its destination address.
    pub destination: Mac,
    /// What it says.
    pub claim: Claim,
}

/// What a frame says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// `sender` is at `mac`, and asks for `target`.
    ArpRequest {
        /// Hardware address of the sender, as the payload says.
        mac: Mac,
        /// Protocol address of the sender.
        sender: Ipv4Addr,
        /// Whom it asks for; gratuitous: itself.
        target: Ipv4Addr,
    },
    /// `sender` is at `mac`, says it to `target`.
    ArpReply {
        /// Hardware address of the sender, as the payload says.
        mac: Mac,
        /// Protocol address of the sender.
        sender: Ipv4Addr,
        /// Whom it tells; gratuitous: itself.
        target: Ipv4Addr,
    },
    /// `target` is at `mac`.
    Advertisement {
        /// The target link-layer address option.
        mac: Option<Mac>,
        /// The address that is advertised.
        target: Ipv6Addr,
        /// It answers a solicitation.
        solicited: bool,
        /// It replaces what neighbours have cached.
        overrides: bool,
    },
}

impl Claim {
    /// The address whose place the frame tells.
    #[must_use]
    pub fn address(self) -> IpAddr {
        match self {
            Self::ArpRequest { sender, .. } | Self::ArpReply { sender, .. } => sender.into(),
            Self::Advertisement { target, .. } => target.into(),
        }
    }

    /// The place that it tells.
    #[must_use]
    pub fn mac(self) -> Option<Mac> {
        match self {
            Self::ArpRequest { mac, .. } | Self::ArpReply { mac, .. } => Some(mac),
            Self::Advertisement { mac, .. } => mac,
        }
    }
}

/// In the words of `tcpdump`.
impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArpRequest { sender, target, .. } => write!(f, "ARP request, who-has {target} tell {sender}"),
            Self::ArpReply { mac, sender, .. } => write!(f, "ARP reply, {sender} is-at {mac}"),
            Self::Advertisement { mac: Some(mac), target, .. } => write!(f, "neighbor advertisement, {target} is-at {mac}"),
            Self::Advertisement { mac: None, target, .. } => write!(f, "neighbor advertisement of {target}"),
        }
    }
}

impl Frame {
    /// Whether it tells everybody, unasked, where an address is: gratuitous ARP, or an unsolicited advertisement.
    #[must_use]
    pub fn is_announcement(&self) -> bool {
        let to_all = self.destination.0.first().is_some_and(|byte| byte & 1 == 1);
        match self.claim {
            Claim::ArpRequest { sender, target, .. } | Claim::ArpReply { sender, target, .. } => to_all && sender == target,
            Claim::Advertisement { solicited, .. } => to_all && !solicited,
        }
    }
}

/// The capture.
#[derive(Debug)]
pub struct Frames {
    log: Arc<Log<Frame>>,
    _thread: Background,
}

impl Frames {
    /// Starts to capture on the service network. Hosts that are added later are not seen.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn capture(topology: &Topology) -> io::Result<Self> {
        let socket = topology.fabric().run(|| packet_socket(&CLAIMS))??;
        let ports = topology.ports(Network::Service);
        let log = Arc::new(Log::new("frames"));
        let thread = Background::start(&log, move |log, stop| receive(&socket, &ports, log, stop))?;
        Ok(Self { log, _thread: thread })
    }

    /// All frames so far.
    ///
    /// # Errors
    /// That the capture has stopped.
    pub fn all(&self) -> Result<Vec<Frame>, ObserverError> {
        self.log.read(<[Frame]>::to_vec)
    }

    /// Waits for a frame that `wanted` accepts, among those so far and those to come. `None` at the deadline.
    ///
    /// # Errors
    /// That the capture has stopped.
    pub fn wait(&self, deadline: Instant, wanted: impl Fn(&Frame) -> bool) -> Result<Option<Frame>, ObserverError> {
        self.log.wait(deadline, |all| all.iter().find(|frame| wanted(frame)).cloned())
    }
}

/// `tcpdump -d 'arp or (ip6 and ip6[6] == 58)'`: neither the client's packets nor control messages fill the queue.
const CLAIMS: [SockFilter; 7] = [
    SockFilter::new(0x28, 0, 0, 12),
    SockFilter::new(0x15, 3, 0, 0x0806),
    SockFilter::new(0x15, 0, 3, 0x86dd),
    SockFilter::new(0x30, 0, 0, 20),
    SockFilter::new(0x15, 0, 1, 58),
    SockFilter::new(0x06, 0, 0, 0x0004_0000),
    SockFilter::new(0x06, 0, 0, 0),
];

/// A socket that takes what a filter passes, with the time of its arrival, of all interfaces of the namespace.
///
/// # Errors
/// What the kernel says.
pub fn packet_socket(filter: &[SockFilter]) -> io::Result<Socket> {
    // All protocols: the bridge takes the frames of its ports before a socket for one protocol would see them.
    let all = libc::c_int::from(u16::try_from(libc::ETH_P_ALL).map_or(0, u16::to_be));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(all)))?;
    socket.attach_filter(filter)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    grow_queue(&socket)?;
    Ok(socket)
}

/// Makes room for bursts: a thousand addresses that are announced five times. Ordinary users get what the system allows.
///
/// # Errors
/// What the kernel says.
pub fn grow_queue(socket: &impl AsFd) -> io::Result<()> {
    const QUEUE_BYTES: usize = 16 << 20;
    match setsockopt(socket, sockopt::RcvBufForce, &QUEUE_BYTES) {
        Err(Errno::EPERM) => Ok(setsockopt(socket, sockopt::RcvBuf, &QUEUE_BYTES)?),
        result => Ok(result?),
    }
}

fn receive(socket: &Socket, ports: &BTreeMap<u32, String>, log: &Log<Frame>, stop: &PipeReader) -> io::Result<()> {
    while wait_readable(socket, stop)? {
        while let Some(frame) = receive_one(socket, ports)? {
            log.extend(frame);
        }
    }
    Ok(())
}

/// The next frame of the queue, if it is one of ours; `None` if the queue is empty.
fn receive_one(socket: &Socket, ports: &BTreeMap<u32, String>) -> io::Result<Option<Option<Frame>>> {
    let mut buffer = [0; 256];
    let mut control = cmsg_space!(TimeSpec);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let received = match recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT) {
        Ok(received) => received,
        Err(Errno::EAGAIN) => return Ok(None),
        // A port went down.
        Err(Errno::ENETDOWN) => return Ok(Some(None)),
        Err(error) => return Err(error.into()),
    };
    let stamp =
        received.cmsgs()?.find_map(|message| if let ControlMessageOwned::ScmTimestampns(stamp) = message { Some(stamp) } else { None });
    let (bytes, from) = (received.bytes, received.address);
    let Some(from) = from else { return Ok(Some(None)) };
    // What the bridge sends out by a port came in by another, where it is seen as well.
    let port = u32::try_from(from.ifindex()).ok().and_then(|index| ports.get(&index));
    let port = port.filter(|_| from.pkttype() != libc::PACKET_OUTGOING);
    let (Some(port), Some(frame)) = (port, buffer.get(..bytes).and_then(decode)) else { return Ok(Some(None)) };
    let (destination, source, claim) = frame;
    let at = stamp.map_or_else(Instant::now, instant_of);
    Ok(Some(Some(Frame { at, port: port.clone(), source, destination, claim })))
}

/// Destination, source and claim of an Ethernet frame with ARP for IPv4 (RFC 826) or a neighbour advertisement (RFC 4861 §4.4).
fn decode(frame: &[u8]) -> Option<(Mac, Mac, Claim)> {
    let (destination, rest) = frame.split_first_chunk()?;
    let (source, rest) = rest.split_first_chunk()?;
    let (kind, body) = rest.split_first_chunk()?;
    let claim = match u16::from_be_bytes(*kind) {
        0x0806 => decode_arp(body)?,
        0x86dd => decode_advertisement(body)?,
        _ => return None,
    };
    Some((Mac(*destination), Mac(*source), claim))
}

fn decode_arp(body: &[u8]) -> Option<Claim> {
    // Ethernet, IPv4, and the lengths of their addresses.
    let (operation, rest) = body.strip_prefix(&[0, 1, 8, 0, 6, 4])?.split_first_chunk()?;
    let (mac, rest) = rest.split_first_chunk()?;
    let (sender, rest) = rest.split_first_chunk::<4>()?;
    let (_target_mac, rest) = rest.split_first_chunk::<6>()?;
    let (target, _) = rest.split_first_chunk::<4>()?;
    let (mac, sender, target) = (Mac(*mac), Ipv4Addr::from(*sender), Ipv4Addr::from(*target));
    match u16::from_be_bytes(*operation) {
        1 => Some(Claim::ArpRequest { mac, sender, target }),
        2 => Some(Claim::ArpReply { mac, sender, target }),
        _ => None,
    }
}

fn decode_advertisement(body: &[u8]) -> Option<Claim> {
    // The fixed IPv6 header has 40 bytes, the next header stands in the seventh. 58: ICMPv6, 136: neighbour advertisement.
    let (header, message) = body.split_first_chunk::<40>()?;
    let [136, _code, _, _, flags, _, _, _, rest @ ..] = message else { return None };
    if header.get(6) != Some(&58) {
        return None;
    }
    let (target, options) = rest.split_first_chunk::<16>()?;
    // Type 2, length 1 (in units of eight bytes): target link-layer address. Hosts send no other option before it.
    let mac = options.strip_prefix(&[2, 1]).and_then(<[u8]>::first_chunk).map(|mac| Mac(*mac));
    Some(Claim::Advertisement { mac, target: Ipv6Addr::from(*target), solicited: flags & 0x40 != 0, overrides: flags & 0x20 != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [u8; 6] = [0xff; 6];
    const SENDER: [u8; 6] = [2, 0x52, 0x41, 0, 2, 4];

    fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
        let fixed = [&[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, operation][..], &SENDER, &sender, &ALL, &target].concat();
        [&ALL[..], &SENDER, &fixed].concat()
    }

    fn frame(bytes: &[u8]) -> Option<Frame> {
        let (destination, source, claim) = decode(bytes)?;
        Some(Frame { at: Instant::now(), port: "web4".to_owned(), source, destination, claim })
    }

    #[test]
    fn gratuitous_arp_of_both_forms_is_an_announcement() {
        for operation in [1, 2] {
            let frame = frame(&arp(operation, [192, 0, 2, 11], [192, 0, 2, 11])).unwrap();
            assert!(frame.is_announcement());
            assert_eq!(frame.claim.mac(), Some(Mac(SENDER)));
            assert_eq!(frame.claim.address(), IpAddr::from([192, 0, 2, 11]));
        }
    }

    #[test]
    fn a_question_is_no_announcement() {
        let frame = frame(&arp(1, [192, 0, 2, 250], [192, 0, 2, 11])).unwrap();
        assert!(!frame.is_announcement());
        assert_eq!(frame.claim.to_string(), "ARP request, who-has 192.0.2.11 tell 192.0.2.250");
    }

    #[test]
    fn an_unsolicited_advertisement_is_an_announcement() {
        let target = "2001:db8::11".parse::<Ipv6Addr>().unwrap();
        let header = [&[0x60, 0, 0, 0, 0, 32, 58, 255][..], &[0; 32]].concat();
        let message = [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &target.octets(), &[2, 1], &SENDER].concat();
        let bytes = [&[0x33, 0x33, 0, 0, 0, 1][..], &SENDER, &[0x86, 0xdd], &header, &message].concat();
        let frame = frame(&bytes).unwrap();
        assert!(frame.is_announcement());
        let claim = Claim::Advertisement { mac: Some(Mac(SENDER)), target, solicited: false, overrides: true };
        assert_eq!(frame.claim, claim);
    }

    #[test]
    fn frames_cut_short_anywhere_are_ignored() {
        let whole = arp(2, [192, 0, 2, 11], [192, 0, 2, 11]);
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length]), None, "{length} bytes");
        }
    }
}
