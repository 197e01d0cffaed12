//! Which host's kernel has which address on its service interface: now, and at every moment since the start of the record.
//!
//! Owns one netlink socket that the kernels of all hosts write to, in the order in which things happened: two holders in the
//! record were there, however short, and none that were there are missed. The time of a change is that of its reading.
#![expect(clippy::disallowed_methods, reason = "an observer outside of the protocol measures time")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, PipeReader};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use raisd::demo::frames::grow_queue;
use raisd::demo::log::{Background, Log, ObserverError, wait_readable};
use raisd::demo::namespace::{Intent, Namespace, messages};
use raisd::demo::plan::{Network, Plan};
use raisd::demo::topology::Topology;

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

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ChangeKind {
    Added,
    Removed,
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
    /// Every word about an address, also those that change nothing: with them an address is added that is there.
    words: Arc<Log<(Instant, u8, IpAddr)>>,
    start: Instant,
    _thread: Background,
}

impl Kernel {
    /// Starts to record. A host that is added later is recorded as well.
    pub(crate) fn record(topology: &Topology) -> io::Result<Self> {
        let start = Instant::now();
        let log = Arc::new(Log::new("kernel addresses"));
        let words = Arc::new(Log::new("words about kernel addresses"));
        let mut recorder = Recorder::open(topology, Arc::clone(&words))?;
        log.extend(recorder.resynchronize()?);
        let thread = Background::start(&log, move |log, stop| recorder.run(log, stop))?;
        Ok(Self { log, words, start, _thread: thread })
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

    /// The first time since `from` in which more than one of `hosts` had the address.
    pub(crate) fn doubled(&self, address: IpAddr, from: Instant, hosts: &[u8]) -> Result<Option<Span>, ObserverError> {
        let several = |span: &Span| span.holders.iter().filter(|holder| hosts.contains(holder)).count() > 1;
        Ok(self.spans(address)?.into_iter().find(|span| span.until > from && several(span)))
    }

    /// Which addresses of which hosts the kernels have said anything about since then.
    pub(crate) fn touched(&self, since: Instant) -> Result<BTreeSet<(u8, IpAddr)>, ObserverError> {
        self.words.read(|words| words.iter().filter(|(at, ..)| *at >= since).map(|(_, host, address)| (*host, *address)).collect())
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
        for address in addresses(host.namespace())? {
            state.entry(address).or_default().insert(number);
        }
    }
    Ok(state)
}

fn addresses(namespace: &Namespace) -> io::Result<BTreeSet<IpAddr>> {
    let answers = namespace.request(RouteNetlinkMessage::GetAddress(AddressMessage::default()), Intent::Dump)?;
    let ours = answers.iter().filter_map(|answer| {
        let RouteNetlinkMessage::NewAddress(message) = answer else { return None };
        service_address(message).map(|(_, address)| address)
    });
    Ok(ours.collect())
}

/// The host and the address, if it is one on a service interface. The index of the interface tells the host.
fn service_address(message: &AddressMessage) -> Option<(u8, IpAddr)> {
    let Plan(host) = Plan::of_interface(message.header.index, Network::Service)?;
    // IPv4 has the address in `Local`, and the other end of a point-to-point link in `Address`.
    let local = |attribute: &AddressAttribute| if let AddressAttribute::Local(address) = attribute { Some(*address) } else { None };
    let other = |attribute: &AddressAttribute| if let AddressAttribute::Address(address) = attribute { Some(*address) } else { None };
    let attributes = || message.attributes.iter();
    let address = attributes().find_map(local).or_else(|| attributes().find_map(other))?;
    // Those of the ports, which have the same indices in the fabric.
    let is_link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    (!is_link_local).then_some((host, address))
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
    all
}

/// What reads the socket.
#[derive(Debug)]
struct Recorder {
    socket: Socket,
    namespaces: Vec<(u8, Arc<Namespace>)>,
    words: Arc<Log<(Instant, u8, IpAddr)>>,
    has: BTreeSet<(u8, IpAddr)>,
}

impl Recorder {
    fn open(topology: &Topology, words: Arc<Log<(Instant, u8, IpAddr)>>) -> io::Result<Self> {
        // RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR.
        const GROUPS: u32 = 0x10 | 0x100;
        let socket = topology.fabric().run(|| {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.set_non_blocking(true)?;
            grow_queue(&socket)?;
            // Of all namespaces that the fabric knows by a number: those at the other end of its cables.
            socket.set_listen_all_namespaces(true)?;
            socket.bind(&SocketAddr::new(0, GROUPS))?;
            io::Result::Ok(socket)
        })??;
        let namespaces = topology.hosts().map(|(number, host)| (number, Arc::clone(host.namespace()))).collect();
        Ok(Self { socket, namespaces, words, has: BTreeSet::new() })
    }

    fn run(&mut self, log: &Log<Change>, stop: &PipeReader) -> io::Result<()> {
        while wait_readable(&self.socket, stop)? {
            self.drain(log)?;
        }
        Ok(())
    }

    /// Reads what is queued. What an overrun queue has lost is found by asking every host for its whole table.
    fn drain(&mut self, log: &Log<Change>) -> io::Result<()> {
        loop {
            let datagram = match self.socket.recv_from_full() {
                Ok((datagram, _)) => datagram,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    log.extend(self.resynchronize()?);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for message in messages::<RouteNetlinkMessage>(&datagram)? {
                let NetlinkPayload::InnerMessage(message) = message.payload else { continue };
                log.extend(self.note(&message));
            }
        }
    }

    fn note(&mut self, message: &RouteNetlinkMessage) -> Option<Change> {
        let (message, kind) = if let RouteNetlinkMessage::NewAddress(message) = message {
            (message, ChangeKind::Added)
        } else if let RouteNetlinkMessage::DelAddress(message) = message {
            (message, ChangeKind::Removed)
        } else {
            return None;
        };
        let (host, address) = service_address(message)?;
        self.words.extend([(Instant::now(), host, address)]);
        // A refresh of its lifetime adds an address that is there.
        let differs = match kind {
            ChangeKind::Added => self.has.insert((host, address)),
            ChangeKind::Removed => self.has.remove(&(host, address)),
        };
        differs.then(|| Change { at: Instant::now(), host, address, kind })
    }

    /// Reads all tables and returns what differs from what was known, removals first.
    fn resynchronize(&mut self) -> io::Result<Vec<Change>> {
        let at = Instant::now();
        let mut has = BTreeSet::new();
        for (number, namespace) in &self.namespaces {
            // An error if the host has been removed since: what its successor has is not known here.
            namespace.link_index(Network::Service.interface())?;
            has.extend(addresses(namespace)?.into_iter().map(|address| (*number, address)));
        }
        let change = |kind| move |(host, address): &(u8, IpAddr)| Change { at, host: *host, address: *address, kind };
        let removed = self.has.difference(&has).map(change(ChangeKind::Removed));
        let added = has.difference(&self.has).map(change(ChangeKind::Added));
        let changes = removed.chain(added).collect();
        self.has = has;
        Ok(changes)
    }
}
