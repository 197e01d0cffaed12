//! The kernel's addresses and interfaces, through rtnetlink: changes what it is told to, and tells what has changed.
//!
//! Owns the mark on this program's addresses ([`MARK`]), the order of changes, and the picture of links and addresses that the core and the
//! other ports get. Decides nothing: which address is wanted where is the core's affair. Called by `process/dispatch.rs`
//! ([`Netlink::change`]) and by the loop ([`NetlinkEvents::recv`]).
//!
//! **A thread of its own.** The kernel works on a batch inside `sendto`: a batch of IPv6 addresses may keep it busy for 40 ms, and the
//! routing lock, which every container start and driver reset takes too, may keep it waiting for longer. On the loop's thread that would look
//! to the other hosts like a dead daemon.
//!
//! **In**: changes are done in order, at most [`Limits::batch`] at once. The queue has no limit of its own: the core has at most one operation under
//! way for each item, and limits the items. **Out**: 1,024 events; when they are full the port goes on with its work and tells later, each
//! link and address once and as it is by then, so a storm of changes cannot fill the memory. An answer comes after the changes that led to
//! it, and an address that was added is told as present before the answer says so.
//!
//! **Exactly one answer for each operation**, also if the kernel's answers are lost: then the batch's socket is opened anew and a dump shows
//! what became of it. What the kernel refuses because things have changed is planned again from fresh facts, at most
//! six times.
//!
//! **Dropping** [`Netlink`] lets what is queued be done and answered; then [`NetlinkEvents::recv`] says `None`. Dropping [`NetlinkEvents`]
//! stops the thread at its next event. No change is ever left half done; addresses stay as they are.

mod inventory;
mod monitor;
mod plan;
mod reports;
mod requests;
mod task;

use std::sync::Arc;

use futures_util::Stream;
use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::RouteNetlinkMessage;
use tokio::sync::{mpsc, oneshot, watch};

use super::interfaces::Interfaces;
use crate::node::event::{Event, KernelChange, OpId};
use crate::types::item::ServiceAddress;

/// The address protocol number (`IFA_PROTO`, Linux 5.18) by which this program knows its own addresses, also after a crash.
///
/// The kernel uses 1 to 3; the rest is free for user space, and nothing registers it. 0x52 is `R`.
pub const MARK: u8 = 0x52;

/// How often a change is planned before it is given up: what it is planned on may change under it each time.
const ROUNDS_MAX: usize = 6;

/// How many events wait for the loop; see the module's text.
const EVENTS_MAX: usize = 1024;

/// How much the port's sockets hold. The default suits every host; a test of what happens when they overflow wants less.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most requests that the kernel is handed at once. It answers each of them while it reads them, that is, before anything can be
    /// read from the socket: with a receive buffer of 212,992 bytes exactly 256 answers fit, and the next is lost without a trace.
    pub batch: usize,
    /// Receive buffer of each socket, in bytes.
    pub receive_buffer: usize,
}

impl Default for Limits {
    /// Batches of half of what the smallest usual buffer holds answers to, and a buffer for some 10,000 notifications.
    fn default() -> Self {
        Self { batch: 128, receive_buffer: 8 << 20 }
    }
}

/// Where a connection puts what is no answer.
type Messages = std::pin::Pin<Box<dyn Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, netlink_proto::sys::SocketAddr)> + Send>>;

/// One address to be put on an interface or taken off it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressChange {
    /// To be answered.
    pub op: OpId,
    /// Which way.
    pub kind: ChangeKind,
    /// Where.
    pub interface: String,
    /// Which. An item is its address: if that is on the interface under another prefix, it is marked, or removed, as it is.
    pub address: ServiceAddress,
}

/// Which way an address is to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    /// Put it on, marked, never to be chosen as a source address. One that is there without the mark gets it.
    Add,
    /// Take it off if it carries the mark; one that does not is never removed.
    Remove,
}

/// Why the kernel cannot be talked to. The operating system, or what this process may do in it, is at fault.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket has closed; nothing was changed.
    #[error("the netlink connection has closed")]
    Closed,
    /// The kernel refused to list what it has.
    #[error("the kernel did not list its links and addresses")]
    Dump {
        /// Its answer.
        #[source]
        source: rtnetlink::Error,
    },
    /// Addresses could not be told from others' after a crash; nothing was changed.
    #[error("this kernel does not keep address protocol numbers (IFA_PROTO): Linux 5.18 or later is needed")]
    MarkUnsupported,
    /// Addresses could not be changed; nothing was.
    #[error("changing addresses is not permitted: give the daemon CAP_NET_ADMIN (AmbientCapabilities= in the unit)")]
    NotPermitted,
    /// No socket; nothing was changed.
    #[error("cannot open a netlink socket: allow AF_NETLINK (RestrictAddressFamilies= in the unit)")]
    Open {
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The port's thread has ended, which it does only if it panicked.
    #[error("the netlink thread has ended")]
    Stopped,
    /// No thread or no runtime for it; nothing was changed.
    #[error("cannot start the netlink thread")]
    Thread {
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The kernel did not answer.
    #[error("the kernel did not answer {what} in time")]
    TimedOut {
        /// What it was asked.
        what: &'static str,
    },
}

/// What the port is told.
enum Command {
    Change(Vec<AddressChange>),
    Watch(Vec<String>),
}

/// The way to the port.
#[derive(Debug)]
pub struct Netlink {
    commands: mpsc::UnboundedSender<Command>,
    interfaces: watch::Receiver<Arc<Interfaces>>,
}

/// The way back.
#[derive(Debug)]
pub struct NetlinkEvents {
    events: mpsc::Receiver<Event>,
}

/// A port that runs.
#[derive(Debug)]
pub struct Opened {
    /// The way to it.
    pub netlink: Netlink,
    /// The way back.
    pub events: NetlinkEvents,
    /// What was there: the named interfaces with their addresses, and on all interfaces the addresses that carry the mark. The core must
    /// know its leftovers before it says anything to anybody.
    pub initial: Vec<KernelChange>,
}

impl Netlink {
    /// Starts the port in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// Without a socket, a thread, the right to change addresses, a kernel that keeps marks, or an answer to the first dump there is no
    /// port.
    pub async fn open(interfaces: Vec<String>) -> Result<Opened, NetlinkError> {
        Self::open_with(interfaces, Limits::default()).await
    }

    /// Starts the port with other limits.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub async fn open_with(interfaces: Vec<String>, limits: Limits) -> Result<Opened, NetlinkError> {
        let (commands, commands_in) = mpsc::unbounded_channel();
        let (events_out, events) = mpsc::channel(EVENTS_MAX);
        let (snapshot_out, snapshot) = watch::channel(Arc::new(Interfaces::default()));
        let (started, start) = oneshot::channel();
        let channels = task::Channels { commands: commands_in, events: events_out, interfaces: snapshot_out };
        let run = move || task::run(interfaces, limits, channels, started);
        let spawned = std::thread::Builder::new().name("netlink".to_owned()).spawn(run);
        drop(spawned.map_err(|source| NetlinkError::Thread { source })?);
        let initial = start.await.map_err(|_| NetlinkError::Stopped)??;
        Ok(Opened { netlink: Self { commands, interfaces: snapshot }, events: NetlinkEvents { events }, initial })
    }

    /// Changes addresses, in this order and after all that was asked before. Each operation is answered by one [`Event::Finished`].
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Stopped`]: nothing is answered any more.
    pub fn change(&self, changes: Vec<AddressChange>) -> Result<(), NetlinkError> {
        self.commands.send(Command::Change(changes)).map_err(|_| NetlinkError::Stopped)
    }

    /// Names the interfaces that are told of from here on, in place of those named before. What is known of an added one follows as
    /// events; of one that is left out, only addresses with the mark are told any more.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Stopped`]: nothing is told any more.
    pub fn watch_interfaces(&self, interfaces: Vec<String>) -> Result<(), NetlinkError> {
        self.commands.send(Command::Watch(interfaces)).map_err(|_| NetlinkError::Stopped)
    }

    /// All interfaces as they are, and a notice whenever one of them or one of their addresses changes. Addresses with the mark do not
    /// count. The first value is there from the start.
    #[must_use]
    pub fn interfaces(&self) -> watch::Receiver<Arc<Interfaces>> {
        self.interfaces.clone()
    }
}

impl NetlinkEvents {
    /// The next [`Event::Kernel`] or [`Event::Finished`]; `None` when [`Netlink`] has been dropped and all has been told. Cancelling loses
    /// nothing.
    pub async fn recv(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// An event that is already there.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}

/// Gives a socket room for a burst. What the kernel refuses, for want of CAP_NET_ADMIN in the first user namespace, is asked for within its
/// limit; if that is refused too, the default does, with more dumps.
fn set_receive_buffer(socket: &impl std::os::fd::AsFd, size: usize) {
    use nix::sys::socket::{setsockopt, sockopt};
    if setsockopt(socket, sockopt::RcvBufForce, &size).is_err()
        && let Err(cause) = setsockopt(socket, sockopt::RcvBuf, &size)
    {
        tracing::debug!(%cause, "netlink receive buffer stays at its default");
    }
}
