//! Control sockets: datagrams to and from the group addresses, one socket per control network and group.
//!
//! Owns the sockets, their memberships, and whether each network works. It opens no seal, tells no duplicates apart, repeats nothing. The
//! loop calls it on its own thread: [`ControlSockets::recv`] in its `select!`, [`ControlSockets::send`] from the dispatcher,
//! [`ControlSockets::refresh`] when the netlink port tells of a change. (Unicast peers, when they come, have a socket beside these, bound to
//! the control address: a socket bound to a group address receives no unicast.)
//!
//! **Networks and families**: a group whose address is IPv4 uses the networks that are given by an IPv4 address or by an interface; IPv6
//! likewise. The other networks are not used for that group, and that is no fault.
//!
//! **Queues** are the kernel's: 1 MiB in each socket, about half a second of the largest pool's messages. What comes in while it is full is
//! lost, like any datagram; the protocol says everything again. Nothing is queued for sending: what a socket does not take at once is
//! dropped and counted as a fault of the network until the next datagram goes out.
//!
//! **Own datagrams** come back (several daemons may share a machine); whoever opens them knows them by their boot id.
//!
//! **Cancelling** [`ControlSockets::recv`] loses nothing. **Dropping** [`ControlSockets`] leaves the groups.

mod place;
mod socket;

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use self::place::find;
use self::socket::{ControlSocket, Read};
use super::interfaces::Interfaces;
use crate::node::event::{GroupIndex, KernelChange};

/// The longest datagram that is received, in bytes. None of raisd's has more than 1,232; what is longer than this is dropped unread.
pub const DATAGRAM_MAX: usize = 2048;

/// How many datagrams in a row may be dropped before the loop gets to see something else.
const DROPS_IN_A_ROW_MAX: u32 = 64;

/// Where control messages go and come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlSettings {
    /// The control networks of this host, in the order of the configuration; the index is the network's number.
    pub networks: Vec<ControlNetwork>,
    /// The group address of each group.
    pub groups: BTreeMap<GroupIndex, SocketAddr>,
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
    /// The group to whose address it was sent.
    pub group: GroupIndex,
    /// The control network it came in on: its index in [`ControlSettings::networks`].
    pub network: u8,
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
    paths: Vec<Path>,
    /// The path that is asked first, so that none can starve the others.
    turn: usize,
    faults: Vec<NetworkFault>,
    changes: VecDeque<KernelChange>,
    drops: BTreeMap<GroupIndex, Drops>,
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
        let mut sockets = Self { paths: Vec::new(), turn: 0, faults: Vec::new(), changes: VecDeque::new(), drops: BTreeMap::new() };
        sockets.reconfigure(settings, interfaces);
        sockets
    }

    /// Takes up other settings. The socket of a group whose address is the same, on a network that is the same, stays open and keeps what
    /// is queued in it, also if the network has another number; the others are opened and closed. The next [`Self::take_changes`] tells
    /// of every network anew.
    ///
    /// Must be called within a tokio runtime, in the network namespace that `interfaces` describes.
    pub fn reconfigure(&mut self, settings: &ControlSettings, interfaces: &Interfaces) {
        let mut before = std::mem::take(&mut self.paths);
        for (network, configured) in (0..=u8::MAX).zip(&settings.networks) {
            for (group, address) in settings.groups.iter().filter(|(_, address)| configured.serves(**address)) {
                let is_same = |path: &Path| path.group == *group && path.address == *address && path.configured == *configured;
                let state = match before.iter().position(is_same) {
                    Some(place) => before.swap_remove(place).state,
                    None => PathState::Closed { why: String::new() },
                };
                self.paths.push(Path { group: *group, address: *address, network, configured: configured.clone(), state });
            }
        }
        // Closed before others are opened: one of them may be the same socket under another name of the network.
        drop(before);
        self.changes.clear();
        self.faults = settings.networks.iter().map(|_| NetworkFault::NotTold).collect();
        self.refresh(interfaces);
    }

    /// Closes the sockets of a group that has ended.
    pub fn remove_group(&mut self, group: GroupIndex) {
        self.paths.retain(|path| path.group != group);
        self.drops.remove(&group);
        self.compare();
    }

    /// Receives the next datagram, from each socket in turn. Waits for ever if there is no socket. Cancelling loses nothing.
    pub async fn recv(&mut self) -> Received {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Receives a datagram that is already there.
    pub fn try_recv(&mut self) -> Option<Received> {
        let count = self.paths.len();
        let mut dropped = 0;
        let mut quiet = 0;
        while quiet < count && dropped < DROPS_IN_A_ROW_MAX {
            let turn = self.next_turn();
            let PathState::Open { socket, .. } = &mut self.paths[turn].state else {
                quiet += 1;
                continue;
            };
            match socket.read_ready() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => quiet += 1,
                result => {
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

    /// Sends datagrams to a group, on every network that it has. What does not go out at once is dropped; [`Self::take_changes`] says so.
    pub fn send(&mut self, group: GroupIndex, datagrams: &[Vec<u8>]) {
        for path in self.paths.iter_mut().filter(|path| path.group == group) {
            path.send(datagrams);
        }
        self.compare();
    }

    /// Follows a change of interfaces or addresses: opens what has become possible, closes what is gone, and joins again where an interface
    /// has come back. What works is left alone, so calling it once too often does no harm.
    pub fn refresh(&mut self, interfaces: &Interfaces) {
        for path in &mut self.paths {
            path.refresh(interfaces);
        }
        self.compare();
    }

    /// Which networks have begun to work or failed since the last call. The first call after opening tells of every network.
    pub fn take_changes(&mut self) -> Vec<KernelChange> {
        self.changes.drain(..).collect()
    }

    /// Datagrams of a group dropped unread.
    #[must_use]
    pub fn drops(&self, group: GroupIndex) -> Drops {
        self.drops.get(&group).copied().unwrap_or_default()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        let count = self.paths.len();
        let mut dropped = 0;
        let mut quiet = 0;
        while quiet < count {
            if dropped == DROPS_IN_A_ROW_MAX {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let turn = self.next_turn();
            let PathState::Open { socket, .. } = &mut self.paths[turn].state else {
                quiet += 1;
                continue;
            };
            match socket.poll_read(cx) {
                Poll::Pending => quiet += 1,
                Poll::Ready(result) => {
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

    /// The path whose turn it is; only called while there are paths.
    fn next_turn(&mut self) -> usize {
        self.turn = (self.turn + 1) % self.paths.len();
        self.turn
    }

    fn take(&mut self, turn: usize, result: io::Result<Read>) -> Option<Received> {
        let Path { group, network, .. } = self.paths[turn];
        let drops = self.drops.entry(group).or_default();
        match result {
            Ok(Read::Datagram(from, bytes)) => return Some(Received { group, network, from, bytes }),
            Ok(Read::Elsewhere) => drops.elsewhere += 1,
            Ok(Read::TooLong) => drops.too_long += 1,
            Err(cause) => {
                // Reading clears what the kernel had to say about the socket; whether it still works is seen at the next datagram.
                self.paths[turn].note_fault(&cause, "receive");
                self.compare();
            }
        }
        None
    }

    /// Tells of each network whose fault is another than was told last.
    fn compare(&mut self) {
        for (network, told) in (0..=u8::MAX).zip(&mut self.faults) {
            let fault = self.paths.iter().filter(|path| path.network == network).find_map(Path::fault);
            let fault = fault.map(ToOwned::to_owned);
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

impl ControlNetwork {
    fn serves(&self, group: SocketAddr) -> bool {
        match self {
            Self::Address(address) => address.is_ipv4() == group.is_ipv4(),
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
            if let Err(cause) = socket.send(datagram) {
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
        Some(libc::EPERM) => "; a firewall rule drops it: allow UDP to the group address",
        Some(_) | None => "",
    }
}

#[cfg(test)]
mod tests;
