//! The netlink port as the tests use it, and the kernel's own view beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use futures_util::TryStreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressProtocol};
use raisd::node::event::{Event, KernelChange, Link, Mark, OpId, Outcome};
use raisd::ports::interfaces::Interfaces;
use raisd::ports::netlink::{AddressChange, ChangeKind, Limits, MARK, Netlink, NetlinkEvents, Opened};
use raisd::types::item::ServiceAddress;
use tokio::sync::watch;

/// What the port tells: no other event is its.
pub(crate) enum Told {
    Changed(KernelChange),
    Finished(OpId, Outcome),
}

pub(crate) fn told(event: Event) -> Told {
    if let Event::Finished { op, outcome } = event {
        return Told::Finished(op, outcome);
    }
    let Event::Kernel(change) = event else { panic!("{event:?}") };
    Told::Changed(change)
}

/// The port, with everything it has told.
pub(crate) struct Port {
    pub(crate) netlink: Netlink,
    pub(crate) events: NetlinkEvents,
    pub(crate) initial: Vec<KernelChange>,
    next_op: u64,
}

impl Port {
    pub(crate) async fn open(interfaces: &[&str]) -> Self {
        Self::open_with(interfaces, Limits::default()).await
    }

    pub(crate) async fn open_with(interfaces: &[&str], limits: Limits) -> Self {
        let interfaces = interfaces.iter().map(|name| (*name).to_owned()).collect();
        let Opened { netlink, events, initial } = Netlink::open_with(interfaces, limits).await.unwrap();
        Self { netlink, events, initial, next_op: 0 }
    }

    pub(crate) fn interfaces(&self) -> watch::Receiver<Arc<Interfaces>> {
        self.netlink.interfaces()
    }

    pub(crate) fn ask(&mut self, kind: ChangeKind, interface: &str, addresses: &[ServiceAddress]) -> BTreeSet<OpId> {
        let changes: Vec<_> = addresses
            .iter()
            .map(|address| {
                self.next_op += 1;
                AddressChange { op: OpId(self.next_op), kind, interface: interface.to_owned(), address: *address }
            })
            .collect();
        let ops = changes.iter().map(|change| change.op).collect();
        self.netlink.change(changes).unwrap();
        ops
    }

    /// Asks, and waits for all answers; returns them with everything else that was told until then.
    pub(crate) async fn change(&mut self, kind: ChangeKind, interface: &str, addresses: &[&str]) -> (Vec<Outcome>, Vec<KernelChange>) {
        let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let mut ops = self.ask(kind, interface, &addresses);
        let (mut outcomes, mut changes) = (BTreeMap::new(), Vec::new());
        while !ops.is_empty() {
            match told(self.events.recv().await.unwrap()) {
                Told::Finished(op, outcome) => {
                    assert!(ops.remove(&op), "{op:?} answered twice, or never asked");
                    outcomes.insert(op, outcome);
                }
                Told::Changed(change) => changes.push(change),
            }
        }
        (outcomes.into_values().collect(), changes)
    }

    pub(crate) async fn add(&mut self, interface: &str, address: &str) -> Vec<KernelChange> {
        let (outcomes, changes) = self.change(ChangeKind::Add, interface, &[address]).await;
        assert_eq!(outcomes, [Outcome::Done]);
        changes
    }

    pub(crate) async fn remove(&mut self, interface: &str, address: &str) -> Vec<KernelChange> {
        let (outcomes, changes) = self.change(ChangeKind::Remove, interface, &[address]).await;
        assert_eq!(outcomes, [Outcome::Done]);
        changes
    }

    /// Waits until this has been told; returns what was told before it.
    pub(crate) async fn until(&mut self, expected: KernelChange) -> Vec<KernelChange> {
        let mut before = Vec::new();
        loop {
            match told(self.events.recv().await.unwrap()) {
                Told::Changed(change) if change == expected => return before,
                Told::Changed(change) => before.push(change),
                Told::Finished(op, outcome) => panic!("{op:?}: {outcome:?}"),
            }
        }
    }
}

pub(crate) fn present(interface: &str, address: &str, mark: Mark) -> KernelChange {
    KernelChange::AddressPresent { interface: interface.to_owned(), address: address.parse().unwrap(), mark }
}

pub(crate) fn absent(interface: &str, address: &str) -> KernelChange {
    KernelChange::AddressAbsent { interface: interface.to_owned(), address: address.parse().unwrap() }
}

pub(crate) fn link(interface: &str, link: Link) -> KernelChange {
    KernelChange::Link { interface: interface.to_owned(), link }
}

pub(crate) fn is_up(change: &KernelChange, name: &str) -> bool {
    matches!(change, KernelChange::Link { interface, link: Link::Up { mac: Some(_) } } if interface == name)
}

/// The protocol numbers of the addresses of an interface, from a dump of the test's own: `ip` of Debian 12 does not print them.
pub(crate) async fn protocols(interface: &str) -> BTreeMap<IpAddr, Option<AddressProtocol>> {
    let (connection, handle, _messages) = rtnetlink::new_connection().unwrap();
    let connection = tokio::spawn(connection);
    let index = nix::net::if_::if_nametoindex(interface).unwrap();
    let messages: Vec<_> = handle.address().get().set_link_index_filter(index).execute().try_collect().await.unwrap();
    connection.abort();
    let mut protocols = BTreeMap::new();
    for message in messages {
        let (mut address, mut protocol) = (None, None);
        for attribute in message.attributes {
            if let AddressAttribute::Address(value) = attribute {
                address = Some(value);
            } else if let AddressAttribute::Protocol(value) = attribute {
                protocol = Some(value);
            }
        }
        protocols.insert(address.unwrap(), protocol);
    }
    protocols
}

pub(crate) const OURS: Option<AddressProtocol> = Some(AddressProtocol::Other(MARK));

/// How many notifications the kernel could not deliver to this namespace's route sockets.
pub(crate) fn drops() -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    table.lines().skip(1).map(|line| line.split_whitespace().nth(8).unwrap().parse::<u64>().unwrap()).sum()
}
