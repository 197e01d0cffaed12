//! Announcements: gratuitous ARP and unsolicited neighbour advertisements, through pnet.
//!
//! Owns one packet socket for each interface that it has announced on. It sends and nothing else: it never receives, never switches an
//! interface to promiscuous mode, never repeats by itself (how often and when is the core's affair). Called by `process/dispatch.rs`.
//!
//! **A thread of its own.** 1,000 IPv4 addresses are 2,000 frames, two system calls each: some 5 ms, and up to 0.1 s for a frame
//! while a network card takes nothing. The loop cannot wait for that.
//!
//! **Queue**: 4,096 announcements, so that each of a thousand addresses can have its own four times over. When it is full the caller gets
//! [`AnnounceError::Full`] and the announcement is dropped; the core repeats each one several times and then at every refresh.
//! **Frames** wait in the socket's send buffer, left at its default: it holds less than most of the queues behind it, so a burst waits for
//! room here instead of being dropped there. A frame that is dropped there all the same is sent again after a pause, for up to 0.1 s; then
//! the rest of the announcement is given up.
//!
//! **Faults** are told once when an interface begins to fail or fails in another way, and once when it works again.
//! **Dropping** [`Announcer`] lets the thread send what is queued, and end; nobody waits for it.

mod frames;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use pnet::datalink::{self, Channel, ChannelType, DataLinkSender, NetworkInterface};
use pnet::util::MacAddr;
use tokio::sync::{mpsc, watch};

use self::frames::{ArpForm, gratuitous_arp, unsolicited_advertisement};
use super::interfaces::{Framing, Interfaces};
use crate::types::item::ServiceAddress;

/// How many announcements wait; see the module's text.
const QUEUE_MAX: usize = 4096;

/// How many changes wait for whoever logs them. When they are full, a fault is told at the next announcement.
const CHANGES_MAX: usize = 64;

/// How long one frame may wait for the network card.
const WRITE_TIMEOUT: Duration = Duration::from_millis(100);

/// How long to leave a device alone that has dropped a frame because its queue was full, and how often.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSES_MAX: u32 = 100;

/// Why an announcement was not queued.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// The queue is full: an interface takes frames more slowly than they are asked for. This announcement is dropped.
    #[error("{QUEUE_MAX} announcements wait already; the announcement of {addresses} addresses on {interface} is dropped")]
    Full {
        /// Where.
        interface: String,
        /// How many.
        addresses: usize,
    },
    /// Nothing could be announced.
    #[error("announcing addresses is not permitted: give the daemon CAP_NET_RAW (AmbientCapabilities= in the unit)")]
    NotPermitted,
    /// No packet sockets at all; nothing could be announced.
    #[error("cannot open a packet socket: allow AF_PACKET (RestrictAddressFamilies= in the unit)")]
    Open {
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The port's thread has ended, which it does only if it panicked.
    #[error("the announcing thread has ended")]
    Stopped,
    /// No thread; nothing can be announced.
    #[error("cannot start the announcing thread")]
    Thread {
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Announcing on an interface begins to fail, fails in another way, or works again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnounceChange {
    /// Where.
    pub interface: String,
    /// `None`: it works again; else why not, with the remedy.
    pub fault: Option<String>,
}

/// Says at the start whether this process may announce: else it would show only when the first address is taken.
///
/// # Errors
///
/// [`AnnounceError::NotPermitted`], [`AnnounceError::Open`].
pub fn check_permitted() -> Result<(), AnnounceError> {
    match packet_socket() {
        Ok(_opened) => Ok(()),
        Err(Errno::EPERM) => Err(AnnounceError::NotPermitted),
        Err(errno) => Err(AnnounceError::Open { source: errno.into() }),
    }
}

/// One of protocol 0, which receives nothing.
fn packet_socket() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
}

/// The way to the port.
#[derive(Debug)]
pub struct Announcer {
    queue: SyncSender<Announcement>,
}

#[derive(Debug)]
struct Announcement {
    interface: String,
    addresses: Vec<ServiceAddress>,
}

impl Announcer {
    /// Starts the port in the network namespace of the calling thread. Numbers and hardware addresses are read from `interfaces` for each
    /// announcement. The second part tells of faults.
    ///
    /// # Errors
    ///
    /// [`AnnounceError::Thread`].
    pub fn open(interfaces: watch::Receiver<Arc<Interfaces>>) -> Result<(Self, mpsc::Receiver<AnnounceChange>), AnnounceError> {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let (changes_out, changes) = mpsc::channel(CHANGES_MAX);
        let task = AnnounceTask { interfaces, lines: BTreeMap::new(), faults: BTreeMap::new(), changes: changes_out };
        let spawned = std::thread::Builder::new().name("announce".to_owned()).spawn(move || task.run(&jobs));
        drop(spawned.map_err(|source| AnnounceError::Thread { source })?);
        Ok((Self { queue }, changes))
    }

    /// Announces addresses once: gratuitous ARP in request and in reply form, or an unsolicited neighbour advertisement. Returns at once.
    ///
    /// # Errors
    ///
    /// [`AnnounceError::Full`], [`AnnounceError::Stopped`].
    pub fn announce(&self, interface: &str, addresses: &[ServiceAddress]) -> Result<(), AnnounceError> {
        let announcement = Announcement { interface: interface.to_owned(), addresses: addresses.to_vec() };
        self.queue.try_send(announcement).map_err(|error| match error {
            TrySendError::Full(Announcement { interface, addresses }) => AnnounceError::Full { interface, addresses: addresses.len() },
            TrySendError::Disconnected(_) => AnnounceError::Stopped,
        })
    }
}

struct AnnounceTask {
    interfaces: watch::Receiver<Arc<Interfaces>>,
    lines: BTreeMap<String, Line>,
    faults: BTreeMap<String, String>,
    changes: mpsc::Sender<AnnounceChange>,
}

impl AnnounceTask {
    fn run(mut self, jobs: &Receiver<Announcement>) {
        while let Ok(Announcement { interface, addresses }) = jobs.recv() {
            let result = self.announce(&interface, &addresses);
            if result.is_err() {
                self.lines.remove(&interface);
            }
            self.tell(interface, result.err());
        }
    }

    fn announce(&mut self, interface: &str, addresses: &[ServiceAddress]) -> Result<(), String> {
        let end = self.interfaces.borrow().named(interface).map_or(
            Err(format!("there is no interface {interface}; create it, or correct `interface` in the group")),
            |there| match (there.framing, there.mac) {
                (Framing::Ethernet, Some(mac)) => Ok(LineEnd { index: there.index, generation: there.generation, mac }),
                (Framing::Ethernet | Framing::Other, _) => Err(format!(
                    "{interface} is not an Ethernet: set `announce.method = \"none\"` and let the acquire script move the address"
                )),
            },
        )?;
        let failed = |cause: std::io::Error| format!("cannot announce on {interface}: {cause}{}", remedy(&cause));
        let line = match self.lines.entry(interface.to_owned()) {
            Entry::Vacant(entry) => entry.insert(Line::open(interface, end).map_err(failed)?),
            Entry::Occupied(entry) => {
                let line = entry.into_mut();
                if line.end != end {
                    *line = Line::open(interface, end).map_err(failed)?;
                }
                line
            }
        };
        addresses.iter().try_for_each(|address| line.announce(address.address)).map_err(failed)
    }

    fn tell(&mut self, interface: String, fault: Option<String>) {
        if self.faults.get(&interface) == fault.as_ref() {
            return;
        }
        let change = AnnounceChange { interface: interface.clone(), fault: fault.clone() };
        if self.changes.try_send(change).is_err() {
            return;
        }
        match fault {
            Some(fault) => self.faults.insert(interface, fault),
            None => self.faults.remove(&interface),
        };
    }
}

fn remedy(cause: &std::io::Error) -> &'static str {
    match cause.raw_os_error() {
        Some(libc::ENOBUFS) => "; its queue is full and stays so: look at the network card",
        Some(libc::EPERM) => "; give the daemon CAP_NET_RAW",
        Some(libc::ENETDOWN) => "; switch the interface on (ip link set ... up)",
        Some(_) | None => "",
    }
}

/// What a socket is bound to. It is opened anew when any of it changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct LineEnd {
    index: u32,
    generation: u64,
    mac: [u8; 6],
}

/// One interface's socket.
struct Line {
    end: LineEnd,
    sender: Box<dyn DataLinkSender>,
}

impl Line {
    fn open(name: &str, end: LineEnd) -> std::io::Result<Self> {
        // pnet would open a socket of protocol ETH_P_ALL, which gets a copy of every frame of the interface. One of protocol 0 gets none:
        // pnet takes it over, and with "layer 3 of protocol 0" binds it to the interface without changing that.
        let socket = packet_socket()?;
        let config = datalink::Config {
            channel_type: ChannelType::Layer3(0),
            socket_fd: Some(socket.into_raw_fd()),
            // The default is true.
            promiscuous: false,
            write_timeout: Some(WRITE_TIMEOUT),
            // Whole frames are handed over with `send_to`, and nothing is received: neither buffer is used.
            write_buffer_size: 0,
            read_buffer_size: 0,
            ..datalink::Config::default()
        };
        let interface = NetworkInterface {
            name: name.to_owned(),
            description: String::new(),
            index: end.index,
            mac: Some(MacAddr::from(end.mac)),
            ips: Vec::new(),
            flags: 0,
        };
        match datalink::channel(&interface, config)? {
            Channel::Ethernet(sender, _receiver) => Ok(Self { end, sender }),
            _ => Err(std::io::Error::other("pnet opened no Ethernet channel")),
        }
    }

    fn announce(&mut self, address: IpAddr) -> std::io::Result<()> {
        match address {
            IpAddr::V4(v4) => {
                self.send(&gratuitous_arp(ArpForm::Request, v4, self.end.mac))?;
                self.send(&gratuitous_arp(ArpForm::Reply, v4, self.end.mac))
            }
            IpAddr::V6(v6) => self.send(&unsolicited_advertisement(v6, self.end.mac)),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the kernel tells nobody when a device's queue has room again")]
    fn send(&mut self, frame: &[u8]) -> std::io::Result<()> {
        let mut pauses = 0;
        loop {
            let sent = self.sender.send_to(frame, None);
            match sent.unwrap_or_else(|| Err(std::io::Error::other("pnet did not take the frame"))) {
                Err(cause) if cause.raw_os_error() == Some(libc::ENOBUFS) && pauses < PAUSES_MAX => {
                    pauses += 1;
                    std::thread::sleep(PAUSE);
                }
                result => return result,
            }
        }
    }
}
