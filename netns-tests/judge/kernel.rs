//! Which host's kernel has which address on its service interface: now, and at every moment since the start of the record.
//!
//! Owns a netlink socket in every host's namespace, all read by one thread. What two hosts do is put into the right order by
//! reading in rounds: a round ends when all queues are empty, and all of a round counts as having happened at its start,
//! removals first. So two holders in a record were there; only an overlap shorter than a round (about 0.1 ms) can be missed.
#![expect(clippy::disallowed_methods, reason = "an observer outside of the protocol measures time")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, PipeReader};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use raisd::demo::frames::grow_queue;
use raisd::demo::log::{Background, Log, ObserverError};
use raisd::demo::namespace::{Intent, Namespace, messages};
use raisd::demo::topology::{Network, Topology};

/// Who has an address: hosts by number.
pub(crate) type Holders = BTreeSet<u8>;

/// Who has which address.
pub(crate) type Holdings = BTreeMap<IpAddr, Holders>;

/// One change of one kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) at: Instant,
    pub(crate) host: u8,
    pub(crate) address: IpAddr,
    pub(crate) kind: ChangeKind,
}

/// Removals sort first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum ChangeKind {
    Removed,
    Added,
}

/// A time in which the same hosts had an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) from: Instant,
    pub(crate) until: Instant,
    pub(crate) holders: Holders,
}

impl Span {
    pub(crate) fn duration(&self) -> Duration {
        self.until.saturating_duration_since(self.from)
    }
}

/// The record.
#[derive(Debug)]
pub(crate) struct Kernel {
    log: Arc<Log<Change>>,
    start: Instant,
    _thread: Background,
}

impl Kernel {
    /// Starts to record the hosts that there are.
    pub(crate) fn record(topology: &Topology) -> io::Result<Self> {
        let start = Instant::now();
        let watched = topology.hosts().map(|(number, host)| Watched::open(number, host.namespace()));
        let mut watched = watched.collect::<io::Result<Vec<_>>>()?;
        let log = Arc::new(Log::new("kernel addresses"));
        for host in &mut watched {
            log.extend(host.resynchronize(start)?);
        }
        let thread = Background::start(&log, move |log, stop| watch(&mut watched, log, stop))?;
        Ok(Self { log, start, _thread: thread })
    }

    /// Who has the address, as far as the record goes.
    pub(crate) fn holders(&self, address: IpAddr) -> Result<Holders, ObserverError> {
        self.log.read(|changes| holdings(changes).remove(&address).unwrap_or_default())
    }

    /// Waits until `found` finds something in who has what; looks after every change. `None` at the deadline.
    pub(crate) fn wait<R>(&self, deadline: Instant, mut found: impl FnMut(&Holdings) -> Option<R>) -> Result<Option<R>, ObserverError> {
        let mut state = Holdings::new();
        let mut seen = 0;
        self.log.wait(deadline, |changes| {
            for change in changes.get(seen..).unwrap_or_default() {
                apply(&mut state, change);
            }
            seen = changes.len();
            found(&state)
        })
    }

    /// Waits until exactly these hosts have the address, and returns since when. `None` at the deadline.
    pub(crate) fn wait_holders(&self, address: IpAddr, hosts: &[u8], deadline: Instant) -> Result<Option<Instant>, ObserverError> {
        let wanted: Holders = hosts.iter().copied().collect();
        self.wait(deadline, |state| (state.get(&address).cloned().unwrap_or_default() == wanted).then_some(()))?;
        let spans = self.spans(address)?;
        Ok(spans.last().filter(|span| span.holders == wanted).map(|span| span.from))
    }

    /// All that happened to the address since the start of the record, without gaps.
    pub(crate) fn spans(&self, address: IpAddr) -> Result<Vec<Span>, ObserverError> {
        let now = Instant::now();
        self.log.read(|changes| spans(changes.iter().filter(|change| change.address == address), self.start, now))
    }

    /// All changes, of all addresses.
    pub(crate) fn changes(&self) -> Result<Vec<Change>, ObserverError> {
        self.log.read(<[Change]>::to_vec)
    }
}

/// Who has which address now, asked directly: a second witness beside the record.
pub(crate) fn dump(topology: &Topology) -> io::Result<Holdings> {
    let mut state = Holdings::new();
    for (number, host) in topology.hosts() {
        let interface = host.namespace().link_index(Network::Service.interface())?;
        for address in addresses(host.namespace(), interface)? {
            state.entry(address).or_default().insert(number);
        }
    }
    Ok(state)
}

fn addresses(namespace: &Namespace, interface: u32) -> io::Result<BTreeSet<IpAddr>> {
    let answers = namespace.request(RouteNetlinkMessage::GetAddress(AddressMessage::default()), Intent::Dump)?;
    let of_interface = answers.iter().filter_map(|answer| {
        let RouteNetlinkMessage::NewAddress(message) = answer else { return None };
        address_of(message, interface)
    });
    Ok(of_interface.collect())
}

fn address_of(message: &AddressMessage, interface: u32) -> Option<IpAddr> {
    if message.header.index != interface {
        return None;
    }
    // IPv4 has the address in `Local`, and the other end of a point-to-point link in `Address`.
    let local = |attribute: &AddressAttribute| if let AddressAttribute::Local(address) = attribute { Some(*address) } else { None };
    let other = |attribute: &AddressAttribute| if let AddressAttribute::Address(address) = attribute { Some(*address) } else { None };
    let attributes = || message.attributes.iter();
    attributes().find_map(local).or_else(|| attributes().find_map(other))
}

fn holdings(changes: &[Change]) -> Holdings {
    let mut state = Holdings::new();
    for change in changes {
        apply(&mut state, change);
    }
    state
}

fn apply(state: &mut Holdings, change: &Change) {
    let holders = state.entry(change.address).or_default();
    match change.kind {
        ChangeKind::Added => holders.insert(change.host),
        ChangeKind::Removed => holders.remove(&change.host),
    };
}

fn spans<'a>(changes: impl Iterator<Item = &'a Change>, start: Instant, end: Instant) -> Vec<Span> {
    let mut all = vec![Span { from: start, until: end, holders: Holders::new() }];
    for change in changes {
        let Some(current) = all.last_mut() else { break };
        current.until = change.at;
        let mut holders = current.holders.clone();
        match change.kind {
            ChangeKind::Added => holders.insert(change.host),
            ChangeKind::Removed => holders.remove(&change.host),
        };
        all.push(Span { from: change.at, until: end, holders });
    }
    // Changes of one round have one time: what lies between them was never there.
    all.retain(|span| !span.duration().is_zero());
    all
}

/// One host that is recorded.
#[derive(Debug)]
struct Watched {
    number: u8,
    namespace: Arc<Namespace>,
    interface: u32,
    socket: Socket,
    has: BTreeSet<IpAddr>,
}

impl Watched {
    fn open(number: u8, namespace: &Arc<Namespace>) -> io::Result<Self> {
        // RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR.
        const GROUPS: u32 = 0x10 | 0x100;
        let socket = namespace.run(|| {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.set_non_blocking(true)?;
            grow_queue(&socket)?;
            socket.bind(&SocketAddr::new(0, GROUPS))?;
            io::Result::Ok(socket)
        })??;
        let interface = namespace.link_index(Network::Service.interface())?;
        Ok(Self { number, namespace: Arc::clone(namespace), interface, socket, has: BTreeSet::new() })
    }

    /// Reads the whole table and returns what differs from what was known.
    fn resynchronize(&mut self, at: Instant) -> io::Result<Vec<Change>> {
        let has = addresses(&self.namespace, self.interface)?;
        let change = |address: &IpAddr, kind| Change { at, host: self.number, address: *address, kind };
        let removed = self.has.difference(&has).map(|address| change(address, ChangeKind::Removed));
        let added = has.difference(&self.has).map(|address| change(address, ChangeKind::Added));
        let changes = removed.chain(added).collect();
        self.has = has;
        Ok(changes)
    }

    /// Reads what is queued. An overrun queue is replaced by the whole table.
    fn drain(&mut self, at: Instant) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        loop {
            let datagram = match self.socket.recv_from_full() {
                Ok((datagram, _)) => datagram,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(changes),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    changes.extend(self.resynchronize(at)?);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for message in messages::<RouteNetlinkMessage>(&datagram)? {
                let NetlinkPayload::InnerMessage(message) = message.payload else { continue };
                changes.extend(self.note(&message, at));
            }
        }
    }

    fn note(&mut self, message: &RouteNetlinkMessage, at: Instant) -> Option<Change> {
        let (message, kind) = if let RouteNetlinkMessage::NewAddress(message) = message {
            (message, ChangeKind::Added)
        } else if let RouteNetlinkMessage::DelAddress(message) = message {
            (message, ChangeKind::Removed)
        } else {
            return None;
        };
        let address = address_of(message, self.interface)?;
        // A refresh of its lifetime adds an address that is there.
        let differs = match kind {
            ChangeKind::Added => self.has.insert(address),
            ChangeKind::Removed => self.has.remove(&address),
        };
        differs.then_some(Change { at, host: self.number, address, kind })
    }
}

fn watch(hosts: &mut [Watched], log: &Log<Change>, stop: &PipeReader) -> io::Result<()> {
    loop {
        let mut fds: Vec<_> = hosts.iter().map(|host| PollFd::new(host.socket.as_fd(), PollFlags::POLLIN)).collect();
        fds.push(PollFd::new(stop.as_fd(), PollFlags::empty()));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let stopped = fds.last().and_then(PollFd::revents).is_some_and(|events| events.contains(PollFlags::POLLHUP));
        let at = Instant::now();
        let mut round = Vec::new();
        loop {
            let before = round.len();
            for host in hosts.iter_mut() {
                round.extend(host.drain(at)?);
            }
            if round.len() == before {
                break;
            }
        }
        // Stable: what one host did to one address stays in its order, unless it added and removed within the round.
        round.sort_by_key(|change: &Change| change.kind);
        log.extend(settle(round));
        if stopped {
            return Ok(());
        }
    }
}

/// Within a round, what one host added and removed again (or the reverse) is no change.
fn settle(round: Vec<Change>) -> Vec<Change> {
    let mut balance: BTreeMap<(u8, IpAddr), i32> = BTreeMap::new();
    for change in &round {
        *balance.entry((change.host, change.address)).or_default() += match change.kind {
            ChangeKind::Added => 1,
            ChangeKind::Removed => -1,
        };
    }
    let mut kept = Vec::with_capacity(round.len());
    for change in round {
        let left = balance.entry((change.host, change.address)).or_default();
        let wanted = match change.kind {
            ChangeKind::Added => *left > 0,
            ChangeKind::Removed => *left < 0,
        };
        if wanted {
            *left = 0;
            kept.push(change);
        }
    }
    kept
}
