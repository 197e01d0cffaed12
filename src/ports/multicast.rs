//! Control sockets: datagrams to and from the group addresses, one socket per control network and group, and beside them one per
//! control network and port for what comes to and goes from the control address by unicast.
//!
//! Owns the sockets, their memberships, and whether each network works. It opens no seal, tells no duplicates apart, repeats nothing. The
//! loop calls it on its own thread: [`ControlSockets::recv`] in its `select!`, [`ControlSockets::send`] from the dispatcher,
//! [`ControlSockets::refresh`] when the netlink port tells of a change. A socket bound to a group address receives no unicast, and every
//! host listens for it: who has no group address reaches the others so, and everybody does where multicast is lost.
//!
//! **Networks and families**: a group whose address is IPv4 uses the networks that are given by an IPv4 address or by an interface; IPv6
//! likewise. The other networks are not used for that group, and that is no fault.
//!
//! **Queues** are the kernel's: 1 MiB in each socket, about half a second of the largest pool's messages. What comes in while it is full is
//! lost, like any datagram; the protocol says everything again. Nothing is queued for sending: what a socket does not take at once is
//! dropped and counted as a fault of the network until the next datagram goes out. What a single host's address refuses is no fault of the
//! network, unless a group has nothing but unicast and nobody of it is reached.
//!
//! **Own datagrams** come back (several daemons may share a machine); whoever opens them knows them by their boot id.
//!
//! **Cancelling** [`ControlSockets::recv`] loses nothing. **Dropping** [`ControlSockets`] leaves the groups.

mod place;
mod socket;
mod unicast;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use self::place::find;
use self::socket::{ControlSocket, Read};
use self::unicast::{Sent, UnicastPath, source_towards};
use super::interfaces::Interfaces;
use crate::node::action::Unicast;
use crate::node::event::{GroupIndex, KernelChange, Way};
use crate::wire;

/// The longest datagram that is received, in bytes. None of raisd's has more than 1,232; what is longer than this is dropped unread.
pub const DATAGRAM_MAX: usize = 2048;

/// How many datagrams in a row may be dropped before the loop gets to see something else.
const DROPS_IN_A_ROW_MAX: u32 = 64;

/// The most addresses without a way that are remembered, and so told of once only: more than a configuration names.
const UNREACHABLE_MAX: usize = 256;

/// Where control messages go and come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlSettings {
    /// The control networks of this host, in the order of the configuration; the index is the network's number.
    pub networks: Vec<ControlNetwork>,
    /// How each group is reached.
    pub groups: BTreeMap<GroupIndex, GroupAddress>,
}

/// How a group is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupAddress {
    /// The tag of its name ([`wire::group_tag`]), by which groups that share a port are told apart.
    pub tag: [u8; 4],
    /// Where its datagrams go.
    pub talk: Talk,
}

/// Where a group's datagrams go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Talk {
    /// To a group address, and to single hosts at its port.
    Multicast(SocketAddr),
    /// To single hosts only.
    Unicast {
        /// Their addresses are IPv4; else IPv6.
        is_ipv4: bool,
        /// Their port.
        port: u16,
    },
}

/// One control network, as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ControlNetwork {
    /// The interface that has this address.
    Address(IpAddr),
    /// The first global address of this interface.
    Interface(String),
}

/// One datagram that came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// The group to whose address it was sent; of what came by unicast the group that it says it is for, or any of that port.
    pub group: GroupIndex,
    /// The control network it came in on: its index in [`ControlSettings::networks`].
    pub network: u8,
    /// Whether it came to the group address or to this host's own.
    pub way: Way,
    /// Who claims to have sent it.
    pub from: SocketAddr,
    /// At most [`DATAGRAM_MAX`] bytes.
    pub bytes: Vec<u8>,
}

/// Datagrams of a group dropped unread since the sockets were opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drops {
    /// For the group's address, but over the interface of another network.
    pub elsewhere: u64,
    /// Longer than [`DATAGRAM_MAX`].
    pub too_long: u64,
}

/// The control sockets of this host.
#[derive(Debug)]
pub struct ControlSockets {
    groups: BTreeMap<GroupIndex, GroupAddress>,
    paths: Vec<Path>,
    unicast: Vec<UnicastPath>,
    /// Addresses that no control network leads to, and of which that has been told.
    unreachable: BTreeSet<IpAddr>,
    /// For each unicast path, why the last message reached nobody there.
    refused: Vec<Option<String>>,
    /// The path that is asked first, so that none can starve the others.
    turn: usize,
    faults: Vec<NetworkFault>,
    /// The control addresses last told, by network.
    addresses: BTreeMap<u8, IpAddr>,
    changes: VecDeque<KernelChange>,
    drops: BTreeMap<GroupIndex, Drops>,
}

/// The paths of former settings.
struct Before {
    paths: Vec<Path>,
    unicast: Vec<UnicastPath>,
}

/// One group on one network.
#[derive(Debug)]
struct Path {
    group: GroupIndex,
    address: SocketAddr,
    network: u8,
    configured: ControlNetwork,
    state: PathState,
}

#[derive(Debug)]
enum PathState {
    /// There is no socket, and why.
    Closed { why: String },
    /// There is one.
    Open {
        socket: ControlSocket,
        /// The control address with its interface, for people.
        name: String,
        /// Why nothing comes through all the same.
        link_fault: Option<String>,
        /// Why the last datagram did not go out.
        send_fault: Option<String>,
    },
}

/// What was last told of a network.
#[derive(PartialEq, Eq, Debug)]
enum NetworkFault {
    NotTold,
    Told(Option<String>),
}

impl ControlSockets {
    /// Opens what can be opened. A network whose interface or address is absent has a fault until [`Self::refresh`] finds it.
    ///
    /// Must be called within a tokio runtime, in the network namespace that `interfaces` describes.
    #[must_use]
    pub fn open(settings: &ControlSettings, interfaces: &Interfaces) -> Self {
        let mut sockets = Self {
            groups: BTreeMap::new(),
            paths: Vec::new(),
            unicast: Vec::new(),
            unreachable: BTreeSet::new(),
            refused: Vec::new(),
            turn: 0,
            faults: Vec::new(),
            addresses: BTreeMap::new(),
            changes: VecDeque::new(),
            drops: BTreeMap::new(),
        };
        sockets.reconfigure(settings, interfaces);
        sockets
    }

    /// Takes up other settings. The socket of a group whose address is the same, on a network that is the same, stays open and keeps what
    /// is queued in it, also if the network has another number; the others are opened and closed. The next [`Self::take_changes`] tells
    /// of every network anew.
    ///
    /// Must be called within a tokio runtime, in the network namespace that `interfaces` describes.
    pub fn reconfigure(&mut self, settings: &ControlSettings, interfaces: &Interfaces) {
        let mut before = Before { paths: std::mem::take(&mut self.paths), unicast: std::mem::take(&mut self.unicast) };
        self.groups.clone_from(&settings.groups);
        for (network, configured) in (0..=u8::MAX).zip(&settings.networks) {
            for (group, address) in settings.groups.iter().filter(|(_, address)| configured.serves(**address)) {
                self.add_paths(network, configured, *group, *address, &mut before);
            }
        }
        // Closed before others are opened: one of them may be the same socket under another name of the network.
        drop(before);
        self.refused = vec![None; self.unicast.len()];
        self.addresses.clear();
        self.changes.clear();
        self.faults = settings.networks.iter().map(|_| NetworkFault::NotTold).collect();
        self.refresh(interfaces);
    }

    /// Closes the sockets of a group that has ended.
    pub fn remove_group(&mut self, group: GroupIndex) {
        self.groups.remove(&group);
        self.paths.retain(|path| path.group != group);
        let groups = &self.groups;
        self.unicast.retain(|path| groups.values().any(|group| path.carries(group.talk.is_ipv4(), group.talk.port())));
        self.refused = vec![None; self.unicast.len()];
        self.drops.remove(&group);
        self.compare();
    }

    fn add_paths(&mut self, network: u8, configured: &ControlNetwork, group: GroupIndex, address: GroupAddress, before: &mut Before) {
        if let Talk::Multicast(address) = address.talk {
            let is_same = |path: &Path| path.group == group && path.address == address && path.configured == *configured;
            let state = match before.paths.iter().position(is_same) {
                Some(place) => before.paths.swap_remove(place).state,
                None => PathState::Closed { why: String::new() },
            };
            self.paths.push(Path { group, address, network, configured: configured.clone(), state });
        }
        let (is_ipv4, port) = (address.talk.is_ipv4(), address.talk.port());
        if !self.unicast.iter().any(|path| path.network == network && path.carries(is_ipv4, port)) {
            let is_same = |path: &UnicastPath| path.is_on(configured) && path.carries(is_ipv4, port);
            let path = match before.unicast.iter().position(is_same) {
                Some(place) => before.unicast.swap_remove(place).numbered(network),
                None => UnicastPath::new(network, configured.clone(), is_ipv4, port),
            };
            self.unicast.push(path);
        }
    }

    /// Receives the next datagram, from each socket in turn. Waits for ever if there is no socket. Cancelling loses nothing.
    pub async fn recv(&mut self) -> Received {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Receives a datagram that is already there.
    pub fn try_recv(&mut self) -> Option<Received> {
        let count = self.count();
        let mut dropped = 0;
        let mut quiet = 0;
        while quiet < count && dropped < DROPS_IN_A_ROW_MAX {
            let turn = self.next_turn();
            match self.read_ready(turn) {
                None => quiet += 1,
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => quiet += 1,
                Some(result) => {
                    if let Some(received) = self.take(turn, result) {
                        return Some(received);
                    }
                    dropped += 1;
                    quiet = 0;
                }
            }
        }
        None
    }

    /// Sends datagrams to a group: to its group address, if it has one, on every network, and to single hosts on the networks that lead to
    /// them. What does not go out at once is dropped; [`Self::take_changes`] says so.
    pub fn send(&mut self, group: GroupIndex, datagrams: &[Vec<u8>], unicast: &Unicast) {
        for path in self.paths.iter_mut().filter(|path| path.group == group) {
            path.send(datagrams);
        }
        if let Some(address) = self.groups.get(&group).copied() {
            self.send_unicast(address, datagrams, unicast);
        }
        self.compare();
    }

    fn send_unicast(&mut self, group: GroupAddress, datagrams: &[Vec<u8>], Unicast { whole, opening }: &Unicast) {
        let first = datagrams.get(..1).unwrap_or_default();
        let all = whole.iter().map(|to| (*to, datagrams)).chain(opening.iter().map(|to| (*to, first)));
        let mut outcomes: Vec<Option<Sent>> = self.unicast.iter().map(|_| None).collect();
        for (to, datagrams) in all {
            let ways = self.ways(group, to);
            self.note_ways(to, &ways);
            for way in ways {
                let (Some(path), Some(outcome)) = (self.unicast.get(way), outcomes.get_mut(way)) else { continue };
                match path.send(to, datagrams) {
                    Sent::Out => *outcome = Some(Sent::Out),
                    Sent::Refused(why) => {
                        outcome.get_or_insert(Sent::Refused(why));
                    }
                }
            }
        }
        for (refused, outcome) in self.refused.iter_mut().zip(outcomes) {
            match outcome {
                Some(Sent::Out) => *refused = None,
                Some(Sent::Refused(why)) => *refused = Some(why),
                None => {}
            }
        }
    }

    /// The unicast paths that lead to an address: those of the networks that it is on, else the one that the kernel's routes take.
    fn ways(&self, group: GroupAddress, to: IpAddr) -> Vec<usize> {
        if to.is_ipv4() != group.talk.is_ipv4() {
            return Vec::new();
        }
        let paths = || self.unicast.iter().enumerate().filter(|(_, path)| path.carries(group.talk.is_ipv4(), group.talk.port()));
        let on_link: Vec<usize> = paths().filter(|(_, path)| path.is_on_link(to)).map(|(index, _)| index).collect();
        if !on_link.is_empty() {
            return on_link;
        }
        let Ok(source) = source_towards(to) else { return Vec::new() };
        paths().find(|(_, path)| path.is_way(source)).map(|(index, _)| index).into_iter().collect()
    }

    /// Tells, once, of an address that cannot be reached.
    fn note_ways(&mut self, to: IpAddr, ways: &[usize]) {
        if !ways.is_empty() {
            self.unreachable.remove(&to);
        } else if self.unreachable.len() < UNREACHABLE_MAX && self.unreachable.insert(to) {
            tracing::warn!(%to, "no control network leads to the peer {to}: give its interface a route (ip route get {to}), or correct `peers`");
        }
    }

    /// Follows a change of interfaces or addresses: opens what has become possible, closes what is gone, and joins again where an interface
    /// has come back. What works is left alone, so calling it once too often does no harm.
    pub fn refresh(&mut self, interfaces: &Interfaces) {
        for path in &mut self.paths {
            path.refresh(interfaces);
        }
        for path in &mut self.unicast {
            path.refresh(interfaces);
        }
        self.compare();
    }

    /// Which networks have begun to work or failed since the last call. The first call after opening tells of every network.
    pub fn take_changes(&mut self) -> Vec<KernelChange> {
        self.changes.drain(..).collect()
    }

    /// The control addresses of networks that are configured by their interface, where they differ from those of the last call.
    pub fn take_addresses(&mut self) -> Vec<KernelChange> {
        let mut changes = Vec::new();
        let mut seen = BTreeSet::new();
        // Of an interface with both families the one that is used first.
        for path in self.unicast.iter().filter(|path| path.is_by_interface()) {
            let (network, Some(address)) = (path.network, path.address()) else { continue };
            if seen.insert(network) && self.addresses.insert(network, address) != Some(address) {
                changes.push(KernelChange::ControlAddress { network, address });
            }
        }
        changes
    }

    /// Datagrams of a group dropped unread.
    #[must_use]
    pub fn drops(&self, group: GroupIndex) -> Drops {
        self.drops.get(&group).copied().unwrap_or_default()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        let count = self.count();
        let mut dropped = 0;
        let mut quiet = 0;
        while quiet < count {
            if dropped == DROPS_IN_A_ROW_MAX {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let turn = self.next_turn();
            match self.poll_read(turn, cx) {
                None | Some(Poll::Pending) => quiet += 1,
                Some(Poll::Ready(result)) => {
                    if let Some(received) = self.take(turn, result) {
                        return Poll::Ready(received);
                    }
                    dropped += 1;
                    quiet = 0;
                }
            }
        }
        Poll::Pending
    }

    /// The sockets are numbered: those for group addresses first.
    fn count(&self) -> usize {
        self.paths.len() + self.unicast.len()
    }

    fn next_turn(&mut self) -> usize {
        self.turn = (self.turn + 1) % self.count();
        self.turn
    }

    /// `None`: it is closed.
    fn read_ready(&mut self, turn: usize) -> Option<io::Result<Read>> {
        match self.paths.get_mut(turn) {
            Some(Path { state: PathState::Open { socket, .. }, .. }) => Some(socket.read_ready()),
            Some(Path { state: PathState::Closed { .. }, .. }) => None,
            None => self.unicast.get_mut(turn - self.paths.len())?.read_ready(),
        }
    }

    /// `None`: it is closed.
    fn poll_read(&mut self, turn: usize, cx: &mut Context<'_>) -> Option<Poll<io::Result<Read>>> {
        match self.paths.get_mut(turn) {
            Some(Path { state: PathState::Open { socket, .. }, .. }) => Some(socket.poll_read(cx)),
            Some(Path { state: PathState::Closed { .. }, .. }) => None,
            None => self.unicast.get_mut(turn - self.paths.len())?.poll_read(cx),
        }
    }

    fn take(&mut self, turn: usize, result: io::Result<Read>) -> Option<Received> {
        let (group, network, way) = match self.paths.get(turn) {
            Some(path) => (path.group, path.network, Way::Multicast),
            None => {
                let path = self.unicast.get(turn - self.paths.len())?;
                (self.addressed(path, &result)?, path.network, Way::Unicast)
            }
        };
        let drops = self.drops.entry(group).or_default();
        match result {
            Ok(Read::Datagram(from, bytes)) => return Some(Received { group, network, way, from, bytes }),
            Ok(Read::Elsewhere) => drops.elsewhere += 1,
            Ok(Read::TooLong) => drops.too_long += 1,
            Err(cause) => {
                // Reading clears what the kernel had to say about the socket; whether it still works is seen at the next datagram.
                if let Some(path) = self.paths.get_mut(turn) {
                    path.note_fault(&cause, "receive");
                }
                self.compare();
            }
        }
        None
    }

    /// The group that something that came by unicast is for; of what says none, any that has the port: it is counted there.
    fn addressed(&self, path: &UnicastPath, result: &io::Result<Read>) -> Option<GroupIndex> {
        let tag = match result {
            Ok(Read::Datagram(_, bytes)) => wire::claimed_tag(bytes),
            Ok(Read::Elsewhere | Read::TooLong) | Err(_) => None,
        };
        let of_port = || self.groups.iter().filter(|(_, group)| path.carries(group.talk.is_ipv4(), group.talk.port()));
        let named = of_port().find(|(_, group)| Some(group.tag) == tag);
        named.or_else(|| of_port().next()).map(|(index, _)| *index)
    }

    /// Why a network does not work.
    fn fault(&self, network: u8) -> Option<&str> {
        let mut of_network = self.paths.iter().filter(|path| path.network == network);
        of_network.find_map(Path::fault).or_else(|| self.unicast_fault(network))
    }

    /// Why a network does not carry what a group that talks by unicast only has to say.
    fn unicast_fault(&self, network: u8) -> Option<&str> {
        let depends = |path: &UnicastPath| self.groups.values().any(|group| group.talks_by_unicast_over(path));
        let paths = self.unicast.iter().zip(&self.refused).filter(|(path, _)| path.network == network && depends(path));
        paths.filter_map(|(path, refused)| path.fault().or(refused.as_deref())).next()
    }

    /// Tells of each network whose fault is another than was told last.
    fn compare(&mut self) {
        let networks = (0..=u8::MAX).zip(&self.faults).map(|(network, _)| network);
        let faults: Vec<Option<String>> = networks.map(|network| self.fault(network).map(ToOwned::to_owned)).collect();
        for ((network, told), fault) in (0..=u8::MAX).zip(&mut self.faults).zip(faults) {
            if *told == NetworkFault::Told(fault.clone()) {
                continue;
            }
            *told = NetworkFault::Told(fault.clone());
            // Only the newest state of a network is of use, and the queue is no longer than there are networks.
            self.changes.retain(|change| !matches!(change, KernelChange::Network { network: other, .. } if *other == network));
            self.changes.push_back(KernelChange::Network { network, fault });
        }
    }
}

impl Talk {
    /// Of which family the addresses are.
    #[must_use]
    pub fn is_ipv4(self) -> bool {
        match self {
            Self::Multicast(address) => address.is_ipv4(),
            Self::Unicast { is_ipv4, .. } => is_ipv4,
        }
    }

    /// The port that all hosts of the group use.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Multicast(address) => address.port(),
            Self::Unicast { port, .. } => port,
        }
    }
}

impl GroupAddress {
    fn talks_by_unicast_over(&self, path: &UnicastPath) -> bool {
        match self.talk {
            Talk::Multicast(_) => false,
            Talk::Unicast { is_ipv4, port } => path.carries(is_ipv4, port),
        }
    }
}

impl ControlNetwork {
    fn serves(&self, group: GroupAddress) -> bool {
        match self {
            Self::Address(address) => address.is_ipv4() == group.talk.is_ipv4(),
            Self::Interface(_) => true,
        }
    }
}

impl Path {
    fn refresh(&mut self, interfaces: &Interfaces) {
        let anchor = match &self.state {
            PathState::Closed { .. } => None,
            PathState::Open { socket, .. } => Some(socket.anchor()),
        };
        let place = match find(&self.configured, self.address.ip(), anchor.map(|anchor| anchor.address), interfaces) {
            Ok(place) => place,
            Err(why) => return self.state = PathState::Closed { why },
        };
        if let PathState::Open { link_fault, .. } = &mut self.state
            && anchor == Some(place.anchor)
        {
            *link_fault = place.link_fault();
            return;
        }
        let name = format!("{} (control address {})", place.interface, place.anchor.address);
        self.state = match ControlSocket::open(self.address, place.anchor) {
            Ok(socket) => PathState::Open { socket, name, link_fault: place.link_fault(), send_fault: None },
            Err(cause) => PathState::Closed { why: format!("cannot open {} on {name}: {cause}{}", self.address, remedy(&cause)) },
        };
    }

    fn send(&mut self, datagrams: &[Vec<u8>]) {
        let PathState::Open { socket, send_fault, .. } = &mut self.state else { return };
        let mut failure = None;
        for datagram in datagrams {
            if let Err(cause) = socket.send_to_group(datagram) {
                failure = Some(cause);
            }
        }
        match failure {
            Some(cause) => self.note_fault(&cause, "send"),
            None => *send_fault = None,
        }
    }

    fn note_fault(&mut self, cause: &io::Error, verb: &str) {
        let PathState::Open { name, send_fault, .. } = &mut self.state else { return };
        *send_fault = Some(format!("cannot {verb} on {name}: {cause}{}", remedy(cause)));
    }

    fn fault(&self) -> Option<&str> {
        match &self.state {
            PathState::Closed { why } => Some(why),
            PathState::Open { link_fault, send_fault, .. } => link_fault.as_deref().or(send_fault.as_deref()),
        }
    }
}

fn remedy(cause: &io::Error) -> &'static str {
    match cause.raw_os_error() {
        Some(libc::EADDRINUSE) => "; another program has the port for itself (ss -ulpn): stop it, or change the group's port",
        Some(libc::EADDRNOTAVAIL) => "; the address is gone or not yet proved unique (ip address)",
        Some(libc::EAGAIN | libc::ENOBUFS) => "; the interface takes datagrams more slowly than they are sent",
        Some(libc::EMFILE | libc::ENFILE) => "; raise LimitNOFILE= in the unit",
        Some(libc::ENODEV | libc::ENXIO) => "; the interface is gone",
        Some(libc::ENETDOWN | libc::ENETUNREACH) => "; the interface is down or has lost its addresses (ip address)",
        Some(libc::EPERM) => "; a firewall rule drops it: allow UDP to the group address and to the other hosts' control addresses",
        Some(_) | None => "",
    }
}

#[cfg(test)]
mod tests;
