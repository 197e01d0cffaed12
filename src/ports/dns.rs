//! The groups' zones, authoritative, through hickory-server on UDP and TCP.
//!
//! Owns the listening sockets and a thread with an event loop of its own, so that a flood of questions takes no time from the
//! protocol. Never decides what is advertised: the core does, and `process/dispatch.rs` passes it to [`Dns::publish`].
//!
//! **Queue**: none; what is published is swapped as a whole and is in the next answer. Questions wait in the kernel (see
//! `dns/udp.rs`, `dns/tcp.rs`). **Cancellation**: dropping [`Dns`] closes the sockets and ends the thread; questions under
//! way go unanswered.
//!
//! Until a zone is first published it is answered with SERVFAIL, so that resolvers go to another name server instead of
//! learning that the service has no address. `listen` may name an address that is not there yet. A wildcard address answers
//! for its own family only; answers leave from the address that was asked.
//!
//! hickory logs through `tracing` as `hickory_server` and `hickory_proto`; the daemon's default filter keeps them to what no
//! stranger can cause, and this port logs nothing about a question that can be read.

mod answer;
mod connections;
mod cookie;
mod edns;
mod limit;
mod message;
mod record;
mod socket;
mod tcp;
mod udp;
mod why;
mod zone;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread;

use arc_swap::ArcSwap;
use aws_lc_rs::error::Unspecified;
use ipnet::IpNet;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::answer::{Answering, Served};
use self::connections::Connections;
use self::cookie::Cookies;
use self::limit::RateLimit;
use self::socket::Bound;
pub use self::zone::ZoneError;
use self::zone::Zones;
use crate::node::event::GroupIndex;
use crate::types::policy::ZonePolicy;
use crate::types::view::ZoneView;

/// Where to answer and for what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsSettings {
    /// UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// The zone of each group that has one, with the group's place.
    pub zones: Vec<(GroupIndex, ZonePolicy)>,
    /// How this server calls itself where it is asked (NSID, RFC 5001): the host's name.
    pub nsid: String,
    /// Who may ask at `_why` in a zone why addresses are withheld.
    pub allow_transfer: Vec<IpNet>,
    /// Answers per second over UDP to a client network (/24, /56); `None`: as many as are asked for.
    pub rate_limit: Option<NonZeroU32>,
}

/// Why the name server does not start, or keeps its old settings. Configuration or host are at fault.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// A socket could not be opened.
    #[error("DNS cannot listen on {address} ({transport}): {source}; {remedy}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// `UDP` or `TCP`.
        transport: &'static str,
        /// Why not.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// The thread or its event loop could not be started.
    #[error("the DNS thread cannot be started: {0}; the limits of processes, memory or open files are too low")]
    Start(#[source] io::Error),
    /// The kernel gives no random bits.
    #[error("the DNS server cannot draw its secret: the kernel's random numbers are not available (/dev/urandom, getrandom)")]
    Random,
    /// A zone makes no sense.
    #[error(transparent)]
    Zone(#[from] ZoneError),
}

impl From<Unspecified> for DnsError {
    fn from(_: Unspecified) -> Self {
        Self::Random
    }
}

/// The running name server.
#[derive(Debug)]
pub struct Dns {
    served: Arc<ArcSwap<Served>>,
    rate_limit: Option<NonZeroU32>,
    connections: Arc<Connections>,
    listeners: Vec<Listener>,
    event_loop: Handle,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Dns {
    /// Binds all addresses and starts to answer.
    pub fn start(settings: &DnsSettings) -> Result<Self, DnsError> {
        let served = Served {
            zones: Zones::new(&settings.zones, None)?,
            allow_transfer: settings.allow_transfer.clone(),
            nsid: settings.nsid.clone().into_bytes(),
            cookies: Arc::new(Cookies::draw()?),
            limit: rate_limit(settings.rate_limit)?,
            patience: tcp::PATIENCE,
        };
        let runtime = Builder::new_current_thread().enable_io().enable_time().build().map_err(DnsError::Start)?;
        let event_loop = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            // Ends with an error when the sender is dropped, which is the sign to stop.
            let _stopped = runtime.block_on(stopped);
        };
        let thread = thread::Builder::new().name("raisd-dns".to_owned()).spawn(run).map_err(DnsError::Start)?;
        let mut dns = Self {
            served: Arc::new(ArcSwap::from_pointee(served)),
            rate_limit: settings.rate_limit,
            connections: Arc::default(),
            listeners: Vec::new(),
            event_loop,
            stop: Some(stop),
            thread: Some(thread),
        };
        dns.listen(&settings.listen)?;
        Ok(dns)
    }

    /// Takes up other settings. Sockets that stay configured stay open, what is published of zones that stay stays published.
    /// After an error everything is as it was.
    pub fn reconfigure(&mut self, settings: &DnsSettings) -> Result<(), DnsError> {
        let before = self.served.load();
        let limit = if settings.rate_limit == self.rate_limit { before.limit.clone() } else { rate_limit(settings.rate_limit)? };
        let served = Served {
            zones: Zones::new(&settings.zones, Some(&before.zones))?,
            allow_transfer: settings.allow_transfer.clone(),
            nsid: settings.nsid.clone().into_bytes(),
            cookies: Arc::clone(&before.cookies),
            limit,
            patience: before.patience,
        };
        drop(before);
        self.listen(&settings.listen)?;
        self.served.store(Arc::new(served));
        self.rate_limit = settings.rate_limit;
        Ok(())
    }

    /// From the next answer on, this is a group's zone. Without a zone in the settings nothing is answered for the group.
    pub fn publish(&self, group: GroupIndex, zone: &ZoneView) {
        match self.served.load().zones.of_group(group) {
            Some(served) => {
                if let Err(error) = served.publish(zone) {
                    tracing::error!(zone = zone.name, serial = zone.serial, %error, "a zone cannot be put into records; the last one stays");
                }
            }
            None => tracing::debug!(zone = zone.name, "this host is no name server for the zone; nothing to publish"),
        }
    }

    /// Where it answers, in the order of the settings; a port of 0 is replaced by the one that the kernel chose.
    #[must_use]
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listener| listener.bound).collect()
    }

    /// Listens on exactly these addresses, or on those of before if that fails.
    fn listen(&mut self, addresses: &[SocketAddr]) -> Result<(), DnsError> {
        let mut opened = Vec::new();
        for address in addresses {
            if !self.listeners.iter().any(|listener| listener.configured == *address) {
                opened.push((*address, Bound::open(*address)?));
            }
        }
        let mut listeners = Vec::with_capacity(addresses.len());
        for (configured, bound) in opened {
            listeners.push(self.serve(configured, bound)?);
        }
        let old = std::mem::take(&mut self.listeners);
        listeners.extend(old.into_iter().filter(|listener| addresses.contains(&listener.configured)));
        listeners.sort_by_key(|listener| addresses.iter().position(|address| *address == listener.configured));
        self.listeners = listeners;
        Ok(())
    }

    fn serve(&self, configured: SocketAddr, bound: Bound) -> Result<Listener, DnsError> {
        let Bound { address, udp, tcp } = bound;
        let answering = Answering::new(Arc::clone(&self.served));
        // Sockets belong to the event loop that is entered when they are made.
        let _entered = self.event_loop.enter();
        let udp = tokio::net::UdpSocket::from_std(udp).map_err(DnsError::Start)?;
        let tcp = tokio::net::TcpListener::from_std(tcp).map_err(DnsError::Start)?;
        let connections = Arc::clone(&self.connections);
        let tasks =
            [self.event_loop.spawn(udp::serve(udp, answering.clone())), self.event_loop.spawn(tcp::serve(tcp, answering, connections))];
        Ok(Listener { configured, bound: address, tasks })
    }
}

fn rate_limit(per_second: Option<NonZeroU32>) -> Result<Option<Arc<RateLimit>>, Unspecified> {
    per_second.map(|rate| RateLimit::new(rate).map(Arc::new)).transpose()
}

/// Ends the thread and waits for it: afterwards the ports are free.
impl Drop for Dns {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(Err(_panic)) = self.thread.take().map(thread::JoinHandle::join) {
            tracing::error!("the DNS thread has ended with a panic");
        }
    }
}

/// One address that is answered on; dropping it closes its sockets.
#[derive(Debug)]
struct Listener {
    configured: SocketAddr,
    bound: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Listener {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests;
