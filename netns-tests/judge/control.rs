//! Control messages on the wire: who sends them, on which network, and whom the switch passes them on to.
//!
//! Owns a packet socket in the fabric that sees what enters and leaves every port of the control networks. What the messages
//! say is sealed and not looked at. A host that is recorded was alive at that time; a heartbeat is the clock of stories in
//! which nothing happens.
#![expect(clippy::disallowed_methods, reason = "an observer outside of the protocol measures time")]

use std::collections::BTreeSet;
use std::io::{self, IoSliceMut, PipeReader};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg};
use nix::sys::time::TimeSpec;
use raisd::demo::frames::packet_socket;
use raisd::demo::log::{Background, Log, ObserverError, instant_of, wait_readable};
use raisd::demo::plan::{HOSTS_MAX, Mac, Network, Plan};
use raisd::demo::topology::Topology;
use socket2::{SockFilter, Socket};

/// One datagram at one port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Datagram {
    pub(crate) at: Instant,
    /// The host that sent it.
    pub(crate) from: u8,
    pub(crate) network: Network,
    /// The host that the switch passes it on to; `None`: it comes in from its sender.
    pub(crate) to: Option<u8>,
    /// Whether it is for a group, or for one host.
    pub(crate) multicast: bool,
    /// The id of the key that sealed it, which stands in the clear.
    pub(crate) key: u32,
}

/// The record.
#[derive(Debug)]
pub(crate) struct Datagrams {
    log: Arc<Log<Datagram>>,
    _thread: Background,
}

impl Datagrams {
    /// Starts to record.
    pub(crate) fn record(topology: &Topology) -> io::Result<Self> {
        let socket = topology.fabric().run(|| packet_socket(&CONTROL))??;
        let log = Arc::new(Log::new("control messages"));
        let thread = Background::start(&log, move |log, stop| receive(&socket, log, stop))?;
        Ok(Self { log, _thread: thread })
    }

    /// Waits until each of `hosts` has sent in so many different heartbeats after `since`; the hosts that have not at the
    /// deadline.
    pub(crate) fn wait_heartbeats(
        &self,
        hosts: &[u8],
        since: Instant,
        heartbeat: Duration,
        count: usize,
        deadline: Instant,
    ) -> Result<Vec<u8>, ObserverError> {
        let mut beats: BTreeSet<(u8, u128)> = BTreeSet::new();
        let mut seen = 0;
        let silent = |beats: &BTreeSet<(u8, u128)>| -> Vec<u8> {
            let enough = |host: &&u8| beats.range((**host, 0)..=(**host, u128::MAX)).count() >= count;
            hosts.iter().filter(|host| !enough(host)).copied().collect()
        };
        let all = self.log.wait(deadline, |datagrams| {
            for datagram in datagrams.get(seen..).unwrap_or_default() {
                let Some(age) = datagram.at.checked_duration_since(since) else { continue };
                if datagram.to.is_none() {
                    beats.insert((datagram.from, age.as_nanos() / heartbeat.as_nanos().max(1)));
                }
            }
            seen = datagrams.len();
            silent(&beats).is_empty().then_some(())
        })?;
        Ok(if all.is_some() { Vec::new() } else { silent(&beats) })
    }

    /// All that the switches have passed on to hosts since then.
    pub(crate) fn passed_on(&self, since: Instant) -> Result<Vec<Datagram>, ObserverError> {
        self.log.read(|all| all.iter().filter(|datagram| datagram.at >= since && datagram.to.is_some()).copied().collect())
    }

    /// Which keys each host has sealed with since then.
    pub(crate) fn keys(&self, since: Instant) -> Result<BTreeSet<(u8, u32)>, ObserverError> {
        let key = |datagram: &Datagram| (datagram.from, datagram.key);
        self.log.read(|all| all.iter().filter(|datagram| datagram.at >= since).map(key).collect())
    }

    /// On which networks a host has sent since then.
    pub(crate) fn networks(&self, host: u8, since: Instant) -> Result<BTreeSet<Network>, ObserverError> {
        let sent = |datagram: &&Datagram| datagram.from == host && datagram.to.is_none() && datagram.at >= since;
        self.log.read(|all| all.iter().filter(sent).map(|datagram| datagram.network).collect())
    }

    /// How far apart a host's messages on the first network mostly were since then: their median. `None`: too few to say.
    pub(crate) fn pace(&self, host: u8, since: Instant) -> Result<Option<Duration>, ObserverError> {
        const FEW: usize = 8;
        let sent = |datagram: &&Datagram| {
            datagram.from == host && datagram.to.is_none() && datagram.network == Network::Control(0) && datagram.at >= since
        };
        let times: Vec<Instant> = self.log.read(|all| all.iter().filter(sent).map(|datagram| datagram.at).collect())?;
        let mut gaps: Vec<Duration> = times.windows(2).filter_map(|pair| pair.last()?.checked_duration_since(*pair.first()?)).collect();
        gaps.sort_unstable();
        Ok(gaps.get(gaps.len() / 2).copied().filter(|_| gaps.len() >= FEW))
    }

    /// Who is passed messages of whom since then, on any network: pairs of sender and receiver.
    pub(crate) fn pairs(&self, since: Instant) -> Result<BTreeSet<(u8, u8)>, ObserverError> {
        let pair = |datagram: &Datagram| Some((datagram.from, datagram.to?));
        self.log.read(|all| all.iter().filter(|datagram| datagram.at >= since).filter_map(pair).collect())
    }
}

/// `tcpdump -d 'ip and udp dst port 4242'`, fragments apart: no control message is one.
const CONTROL: [SockFilter; 9] = [
    SockFilter::new(0x28, 0, 0, 12),
    SockFilter::new(0x15, 0, 6, 0x0800),
    SockFilter::new(0x30, 0, 0, 23),
    SockFilter::new(0x15, 0, 4, 17),
    SockFilter::new(0xb1, 0, 0, 14),
    SockFilter::new(0x48, 0, 0, 16),
    SockFilter::new(0x15, 0, 1, 4242),
    SockFilter::new(0x06, 0, 0, 0x0004_0000),
    SockFilter::new(0x06, 0, 0, 0),
];

fn receive(socket: &Socket, log: &Log<Datagram>, stop: &PipeReader) -> io::Result<()> {
    while wait_readable(socket, stop)? {
        while let Some(datagram) = receive_one(socket)? {
            log.extend(datagram);
        }
    }
    Ok(())
}

/// The next frame of the queue, if it is at a port of a control network; `None` if the queue is empty.
fn receive_one(socket: &Socket) -> io::Result<Option<Option<Datagram>>> {
    let mut buffer = [0; 64];
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
    let port = received.address.map(|from| (from.ifindex(), from.pkttype() == libc::PACKET_OUTGOING));
    let at = stamp.map_or_else(Instant::now, instant_of);
    Ok(Some(port.and_then(|(index, goes_out)| datagram(at, index, goes_out, &buffer))))
}

fn datagram(at: Instant, index: usize, goes_out: bool, frame: &[u8]) -> Option<Datagram> {
    let index = u32::try_from(index).ok()?;
    let at_port = |network| Plan::of_interface(index, network).map(|plan| (plan, network));
    let (Plan(port), network) = [Network::Control(0), Network::Control(1)].into_iter().find_map(at_port)?;
    // Destination, then source: the sender is known by its hardware address.
    let source = Mac(*frame.get(6..)?.first_chunk()?);
    let from = (1..=HOSTS_MAX).find(|host| Plan(*host).mac(network) == source)?;
    let to = goes_out.then_some(port);
    // The lowest bit of the first byte of an Ethernet address says that it is a group's.
    let multicast = frame.first()? & 1 == 1;
    // Behind Ethernet (14 bytes), IPv4 without options (20), UDP (8) and the first 12 bytes of the header.
    let key = u32::from_be_bytes(*frame.get(54..)?.first_chunk()?);
    (to.is_some() || port == from).then_some(Datagram { at, from, network, to, multicast, key })
}
