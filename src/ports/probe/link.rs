//! What the kernel says about a network interface: its link and its counters.
//!
//! Owns one netlink socket per probe, opened when it is first needed and again after an error. Reads only. Called by
//! `interface.rs` and `network.rs`.

use std::pin::pin;

use futures_util::TryStreamExt;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use nix::errno::Errno;
use rtnetlink::Handle;
use tokio::task::JoinHandle;

/// Asks for interfaces.
#[derive(Default)]
pub(crate) struct Links {
    socket: Option<Socket>,
}

struct Socket {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// An interface at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct LinkFacts {
    /// It tells a re-created interface from the one before.
    pub(crate) index: u32,
    /// Whether an operator has switched it on.
    pub(crate) is_on: bool,
    /// Whether its cable, or what stands for it, connects.
    pub(crate) has_carrier: bool,
    /// How often the carrier has come or gone since the interface was made.
    pub(crate) carrier_changes: u32,
    /// Bytes since the interface was made.
    pub(crate) received: u64,
    /// Bytes since the interface was made.
    pub(crate) sent: u64,
}

impl Links {
    /// The interface of this name. Cancelled, it closes the socket: one that the kernel does not answer may have lost an answer.
    pub(crate) async fn read(&mut self, name: &str) -> Result<LinkFacts, String> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => Socket::open().map_err(|error| format!("interfaces cannot be asked for: {error}"))?,
        };
        let found = {
            let mut links = pin!(socket.handle.link().get().match_name(name).execute());
            links.try_next().await
        };
        let read = match found {
            Ok(Some(message)) => Ok(facts(&message)),
            Ok(None) => Err(format!("the kernel did not answer for interface {name}")),
            Err(rtnetlink::Error::NetlinkError(error)) if Errno::from_raw(error.raw_code().saturating_neg()) == Errno::ENODEV => {
                Err(format!("there is no interface {name}"))
            }
            Err(error) => return Err(format!("interface {name} cannot be read: {error}")),
        };
        self.socket = Some(socket);
        read
    }

    /// Whose requests nobody passes on to the kernel.
    #[cfg(test)]
    pub(crate) fn stuck() -> Self {
        let (connection, handle, _messages) = rtnetlink::new_connection().unwrap();
        let stuck = async move {
            std::future::pending::<()>().await;
            drop(connection);
        };
        Self { socket: Some(Socket { handle, connection: tokio::spawn(stuck) }) }
    }
}

impl Socket {
    fn open() -> std::io::Result<Self> {
        let (connection, handle, _messages) = rtnetlink::new_connection()?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }
}

fn facts(message: &LinkMessage) -> LinkFacts {
    let header = &message.header;
    let mut facts = LinkFacts { index: header.index, is_on: header.flags.contains(LinkFlags::Up), ..LinkFacts::default() };
    for attribute in &message.attributes {
        if let LinkAttribute::Carrier(carrier) = attribute {
            facts.has_carrier = *carrier != 0;
        } else if let LinkAttribute::CarrierChanges(changes) = attribute {
            facts.carrier_changes = *changes;
        } else if let LinkAttribute::Stats64(counters) = attribute {
            facts.received = counters.rx_bytes;
            facts.sent = counters.tx_bytes;
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn loopback_is_there_and_what_it_sends_it_receives() {
        let facts = Links::default().read("lo").await.unwrap();
        assert_eq!(facts.index, nix::net::if_::if_nametoindex("lo").unwrap());
        assert!(facts.is_on && facts.has_carrier, "{facts:?}");
        assert!(facts.sent > 0 && facts.sent == facts.received, "{facts:?}");
    }

    #[tokio::test]
    async fn an_interface_that_is_not_there_is_named() {
        let mut links = Links::default();
        assert_eq!(links.read("raisd-none").await, Err("there is no interface raisd-none".to_owned()));
        assert!(links.read("lo").await.is_ok());
    }
}
