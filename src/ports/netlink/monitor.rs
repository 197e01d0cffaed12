//! The socket that listens: notifications of links and addresses, and full dumps, through rtnetlink.
//!
//! Both come over one socket, so they come in the kernel's order: what was notified before a dump ended is read before its end.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_proto::sys::AsyncSocket;
use rtnetlink::{Handle, MulticastGroup};
use tokio::task::JoinHandle;

use super::{Limits, Messages, NetlinkError, set_receive_buffer};

/// A dump that was overtaken by a change is repeated this often before it is taken as it is.
const DUMP_TRIES: usize = 8;

/// A dump of 1,000 addresses takes 2 ms; the kernel may keep it waiting for a driver that resets its device.
const DUMP_TIMEOUT: Duration = Duration::from_secs(5);

/// The open socket.
pub(super) struct Monitor {
    handle: Handle,
    messages: Messages,
    connection: JoinHandle<()>,
}

/// What came in.
#[derive(Debug)]
pub(super) enum Notice {
    /// A notification.
    Message(RouteNetlinkMessage),
    /// Some were lost: only a dump tells what has changed.
    Overrun,
    /// The socket is gone.
    Closed,
}

/// All links and addresses.
pub(super) struct Dump {
    pub(super) links: Vec<LinkMessage>,
    pub(super) addresses: Vec<AddressMessage>,
    /// Whether it shows one moment, after everything that has been read and before everything that will be.
    pub(super) certainty: Certainty,
}

/// Whether a dump can be relied upon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Certainty {
    /// Nothing changed meanwhile.
    Settled,
    /// Things changed during every try; another dump is needed soon.
    Overtaken,
}

impl Monitor {
    /// Opens the socket; notifications are kept from here on.
    pub(super) fn open(limits: Limits) -> Result<Self, NetlinkError> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (mut connection, handle, messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(|source| NetlinkError::Open { source })?;
        set_receive_buffer(connection.socket_mut().socket_mut(), limits.receive_buffer);
        Ok(Self { handle, messages: Box::pin(messages), connection: tokio::spawn(connection) })
    }

    /// The next notification. That the socket has closed is told once. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Notice {
        loop {
            let Some((message, _)) = self.messages.next().await else {
                self.messages = Box::pin(futures_util::stream::pending());
                return Notice::Closed;
            };
            if let Some(notice) = notice(message) {
                return notice;
            }
        }
    }

    /// A notification that is already there.
    pub(super) fn take_ready(&mut self) -> Option<Notice> {
        self.next().now_or_never()
    }

    /// Returns when everything that the kernel had notified before the call is ready to be taken.
    pub(super) async fn catch_up(&mut self) -> Result<(), NetlinkError> {
        // A message of no meaning is answered without any lock, and its answer queues up behind the notifications.
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK;
        let empty = NetlinkMessage::new(header, NetlinkPayload::Noop);
        let mut answers = self.handle.request(empty).map_err(|_| NetlinkError::Closed)?;
        match tokio::time::timeout(DUMP_TIMEOUT, answers.next()).await {
            Ok(_) => Ok(()),
            Err(_elapsed) => Err(NetlinkError::TimedOut { what: "an empty request" }),
        }
    }

    /// Dumps links and addresses. Notifications that have come in until then are dropped: the dump has what they say.
    pub(super) async fn dump(&mut self) -> Result<Dump, NetlinkError> {
        self.catch_up().await?;
        self.drop_ready()?;
        let mut tries = 0;
        loop {
            tries += 1;
            let collected = tokio::time::timeout(DUMP_TIMEOUT, self.collect()).await;
            let (links, addresses) = collected.map_err(|_elapsed| NetlinkError::TimedOut { what: "a dump of links and addresses" })??;
            // A notification that is ready by now is older or younger than what it concerns in the dump: there is no telling which.
            let certainty = self.drop_ready()?;
            if certainty == Certainty::Settled || tries == DUMP_TRIES {
                return Ok(Dump { links, addresses, certainty });
            }
        }
    }

    async fn collect(&self) -> Result<(Vec<LinkMessage>, Vec<AddressMessage>), NetlinkError> {
        let dump = |source| NetlinkError::Dump { source };
        let links = self.handle.link().get().execute().try_collect().await.map_err(dump)?;
        let addresses = self.handle.address().get().execute().try_collect().await.map_err(dump)?;
        Ok((links, addresses))
    }

    fn drop_ready(&mut self) -> Result<Certainty, NetlinkError> {
        let mut certainty = Certainty::Settled;
        while let Some(notice) = self.take_ready() {
            match notice {
                Notice::Closed => return Err(NetlinkError::Closed),
                Notice::Message(_) | Notice::Overrun => certainty = Certainty::Overtaken,
            }
        }
        Ok(certainty)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn notice(message: NetlinkMessage<RouteNetlinkMessage>) -> Option<Notice> {
    if let NetlinkPayload::InnerMessage(message) = message.payload {
        return Some(Notice::Message(message));
    }
    matches!(message.payload, NetlinkPayload::Overrun(_)).then_some(Notice::Overrun)
}
