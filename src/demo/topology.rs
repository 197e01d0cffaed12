//! The pool's networks: hosts, each in a network namespace, two control networks, a service network, and a client.
//!
//! ```text
//!   web1            web2            web3            web4          client
//!   ctl0 ctl1 svc0  ctl0 ctl1 svc0  ctl0 ctl1 svc0  …             svc0
//!    |    |    |     |    |    |     |    |    |                   |
//!   =+====|====|=====+====|====|=====+====|====|====  ctl0         |      10.0.0.0/24   fd00:0:0:0::/64
//!   ======+====|==========+====|==========+====|====  ctl1         |      10.1.0.0/24   fd00:0:0:1::/64
//!   ===========+===============+===============+====  svc0  =======+      192.0.2.0/24  2001:db8::/64
//! ```
//!
//! Owns the namespaces and the bridges, which stand in a namespace of their own, the *fabric*; a cable is a veth pair. All that
//! a person can do to a network is done at the fabric, so that a host notices only what a real one would. Never runs a program
//! and never asks raisd anything. Called by the demo and the netns tests, inside a lab ([`super::lab`]).
#![expect(clippy::disallowed_methods, reason = "nobody can be told when the kernel has taken a namespace down: it is asked")]

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use netlink_packet_route::link::{BridgeStpState, InfoData, InfoVeth, LinkAttribute, LinkMessage};
use rtnetlink::{AddressMessageBuilder, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::namespace::{Intent, Namespace};
use super::plan::{HOSTS_MAX, Network, Plan};

/// Why a network could not be made or changed. The machine is at fault (no veth, no bridge), or the caller named no such host.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The kernel refused.
    #[error("cannot {step}: {cause}")]
    Kernel {
        /// What was to be done.
        step: String,
        /// What the kernel said.
        cause: io::Error,
    },
    /// No such host, or one of that number is there already.
    #[error("host {0} is not one that the topology can have here")]
    Host(u8),
}

fn refused(step: impl Into<String>) -> impl FnOnce(io::Error) -> TopologyError {
    move |cause| TopologyError::Kernel { step: step.into(), cause }
}

/// Stands for the client where hosts have their number.
const CLIENT: Plan = Plan(50);

/// One host's networks.
#[derive(Debug)]
pub struct Host {
    plan: Plan,
    namespace: Arc<Namespace>,
    networks: &'static [Network],
}

impl Host {
    /// Its addresses.
    #[must_use]
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }
}

/// The pool's networks. Dropping them waits until the kernel has taken them down.
#[derive(Debug)]
pub struct Topology {
    // In the order in which they are dropped.
    hosts: BTreeMap<u8, Host>,
    client: Host,
    fabric: Namespace,
    _witness: Witness,
}

/// A cable from the namespace of the process to the fabric, which disappears with the fabric.
///
/// The kernel takes down a namespace some time after its last user has gone, and holds meanwhile the lock that every change of
/// an address waits for: for 100 ms and more, which the next topology would measure as an outage.
#[derive(Debug)]
struct Witness {
    outside: Namespace,
    name: String,
}

impl Witness {
    fn plug(fabric: &Namespace) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let outside = Namespace::current()?;
        let name = format!("fabric{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let peer = LinkUnspec::new_with_name("outside").append_extra_attribute(LinkAttribute::NetNsFd(fabric.as_raw_fd())).build();
        let cable = LinkVeth::new(&name, "outside").set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).build();
        outside.request(RouteNetlinkMessage::NewLink(cable), Intent::Create)?;
        Ok(Self { outside, name })
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // Ten times what it takes on a busy machine. Whoever still holds the fabric then is not waited for.
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.outside.link_index(&self.name).is_ok() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Topology {
    /// Makes the networks, hosts 1 to `hosts`, and the client. All links are up.
    ///
    /// # Errors
    /// [`TopologyError`].
    pub fn build(hosts: u8) -> Result<Self, TopologyError> {
        let fabric = Namespace::create().map_err(refused("make a network namespace"))?;
        for network in Network::ALL {
            for name in [network.interface().to_owned(), network.far_bridge()] {
                fabric
                    .request(RouteNetlinkMessage::NewLink(bridge(&name)), Intent::Create)
                    .map_err(refused(format!("make bridge {name}")))?;
            }
        }
        let witness = Witness::plug(&fabric).map_err(refused("connect the fabric to the outside"))?;
        let client = plug(&fabric, CLIENT, "client", &[Network::Service])?;
        let mut topology = Self { hosts: BTreeMap::new(), client, fabric, _witness: witness };
        for number in 1..=hosts {
            topology.add_host(number)?;
        }
        Ok(topology)
    }

    /// Adds a host.
    ///
    /// # Errors
    /// [`TopologyError`]; the number may be taken or out of range.
    pub fn add_host(&mut self, number: u8) -> Result<&Host, TopologyError> {
        if number == 0 || number > HOSTS_MAX || self.hosts.contains_key(&number) {
            return Err(TopologyError::Host(number));
        }
        let host = plug(&self.fabric, Plan(number), &Plan(number).name(), &Network::ALL)?;
        Ok(self.hosts.entry(number).or_insert(host))
    }

    /// Removes a host with its interfaces. Its namespace ends with the last process inside.
    ///
    /// # Errors
    /// [`TopologyError`].
    pub fn remove_host(&mut self, number: u8) -> Result<(), TopologyError> {
        let host = self.hosts.remove(&number).ok_or(TopologyError::Host(number))?;
        for network in host.networks {
            let mut link = LinkMessage::default();
            link.header.index = host.plan.interface_index(*network);
            self.fabric
                .request(RouteNetlinkMessage::DelLink(link), Intent::Change)
                .map_err(refused(format!("remove the interfaces of {}", host.plan.name())))?;
        }
        Ok(())
    }

    /// A host.
    ///
    /// # Errors
    /// That there is none of that number.
    pub fn host(&self, number: u8) -> Result<&Host, TopologyError> {
        self.hosts.get(&number).ok_or(TopologyError::Host(number))
    }

    /// All hosts, by number.
    pub fn hosts(&self) -> impl Iterator<Item = (u8, &Host)> {
        self.hosts.iter().map(|(number, host)| (*number, host))
    }

    /// The client's namespace.
    #[must_use]
    pub fn client(&self) -> &Arc<Namespace> {
        &self.client.namespace
    }

    /// The namespace with the bridges.
    #[must_use]
    pub fn fabric(&self) -> &Namespace {
        &self.fabric
    }

    /// The names of the ports of a network, by interface index in the fabric: `web1` for host 1, `client` for the client.
    #[must_use]
    pub fn ports(&self, network: Network) -> BTreeMap<u32, String> {
        let hosts = self.hosts.values().map(|host| (host, host.plan.name()));
        hosts
            .chain([(&self.client, "client".to_owned())])
            .filter(|(host, _)| host.networks.contains(&network))
            .map(|(host, name)| (host.plan.interface_index(network), name))
            .collect()
    }

    /// Pulls a host's cable: both ends lose the carrier.
    ///
    /// # Errors
    /// [`TopologyError`].
    pub fn cut(&self, number: u8, network: Network) -> Result<(), TopologyError> {
        self.set_port(number, network, "cut", LinkMessageBuilder::down)
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// [`TopologyError`].
    pub fn mend(&self, number: u8, network: Network) -> Result<(), TopologyError> {
        self.set_port(number, network, "mend", LinkMessageBuilder::up)
    }

    /// Pulls all cables of a host at once, as when its power fails.
    ///
    /// # Errors
    /// [`TopologyError`].
    pub fn vanish(&self, number: u8) -> Result<(), TopologyError> {
        Network::ALL.into_iter().try_for_each(|network| self.cut(number, network))
    }

    /// Plugs all cables of a host in again.
    ///
    /// # Errors
    /// [`TopologyError`].
    pub fn come_back(&self, number: u8) -> Result<(), TopologyError> {
        Network::ALL.into_iter().try_for_each(|network| self.mend(number, network))
    }

    /// Leads a host's cable nowhere: what it sends is lost. The host sees its link up, nothing tells it.
    ///
    /// # Errors
    /// [`TopologyError`].
    pub fn mute(&self, number: u8, network: Network) -> Result<(), TopologyError> {
        // Not the port's state: the bridge sets that itself, up to a second after a link has changed.
        self.set_port(number, network, "mute", LinkMessageBuilder::nocontroller)
    }

    /// Hosts that are isolated on a network do not hear each other there; those that are not hear all and are heard by all.
    ///
    /// # Errors
    /// [`TopologyError`].
    pub fn isolate(&self, number: u8, network: Network) -> Result<(), TopologyError> {
        self.change_port(number, network, "isolate", |port| port.isolated(true))
    }

    /// Ends it.
    ///
    /// # Errors
    /// [`TopologyError`].
    pub fn unisolate(&self, number: u8, network: Network) -> Result<(), TopologyError> {
        self.change_port(number, network, "no longer isolate", |port| port.isolated(false))
    }

    /// Moves a host to the far side of a network: those there hear each other, and nobody hears the other side. Links stay up.
    ///
    /// # Errors
    /// [`TopologyError`].
    pub fn part(&self, number: u8, network: Network) -> Result<(), TopologyError> {
        self.attach(number, network, &network.far_bridge())
    }

    /// Moves it (back) to the near side, where the client is; also one that is mute.
    ///
    /// # Errors
    /// [`TopologyError`].
    pub fn join(&self, number: u8, network: Network) -> Result<(), TopologyError> {
        self.attach(number, network, network.interface())
    }

    fn attach(&self, number: u8, network: Network, bridge: &str) -> Result<(), TopologyError> {
        let index = self.fabric.link_index(bridge).map_err(refused(format!("find bridge {bridge}")))?;
        self.set_port(number, network, "move to the other side", |port| port.controller(index))
    }

    fn port(&self, number: u8, network: Network) -> Result<u32, TopologyError> {
        Ok(self.host(number)?.plan.interface_index(network))
    }

    fn set_port(
        &self,
        number: u8,
        network: Network,
        verb: &str,
        change: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec>,
    ) -> Result<(), TopologyError> {
        let port = LinkUnspec::new_with_index(self.port(number, network)?);
        self.fabric.set_link(change(port)).map_err(refused(format!("{verb} {network} of host {number}")))
    }

    fn change_port(
        &self,
        number: u8,
        network: Network,
        verb: &str,
        change: impl FnOnce(LinkMessageBuilder<LinkBridgePort>) -> LinkMessageBuilder<LinkBridgePort>,
    ) -> Result<(), TopologyError> {
        let port = change(LinkBridgePort::new(self.port(number, network)?)).build();
        // What belongs to a bridge port is changed by RTM_NEWLINK only; RTM_SETLINK ignores it without a word.
        self.fabric
            .request(RouteNetlinkMessage::NewLink(port), Intent::Change)
            .map(drop)
            .map_err(refused(format!("{verb} {network} of host {number}")))
    }
}

/// A switch that forwards at once: no spanning tree, no delay, and no snooping, which needs a querier to forward multicast.
fn bridge(name: &str) -> LinkMessage {
    LinkBridge::new(name).stp_state(BridgeStpState::Disabled).forward_delay(0).mcast_snooping(false).build()
}

/// Makes a namespace and connects it to the networks.
fn plug(fabric: &Namespace, plan: Plan, name: &str, networks: &'static [Network]) -> Result<Host, TopologyError> {
    let namespace = Namespace::create().map_err(refused(format!("make a network namespace for {name}")))?;
    for network in networks {
        let port = format!("{name}-{network}");
        cable(fabric, &port, &namespace, plan, *network).map_err(refused(format!("connect {name} to {network}")))?;
        for (address, prefix) in plan.addresses(*network) {
            add_address(&namespace, plan.interface_index(*network), address, prefix)
                .map_err(refused(format!("give {name} {address}/{prefix}")))?;
        }
    }
    Ok(Host { plan, namespace: Arc::new(namespace), networks })
}

/// A veth pair: one end is a port of the bridge, the other the host's interface. Both are up.
fn cable(fabric: &Namespace, port: &str, namespace: &Namespace, plan: Plan, network: Network) -> io::Result<()> {
    let bridge = fabric.link_index(network.interface())?;
    let index = plan.interface_index(network);
    let peer = LinkUnspec::new_with_name(network.interface())
        .index(index)
        .address(plan.mac(network).0.to_vec())
        .append_extra_attribute(LinkAttribute::NetNsFd(namespace.as_raw_fd()))
        .build();
    let cable = LinkVeth::new(port, network.interface())
        .index(index)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .controller(bridge)
        .up()
        .build();
    fabric.request(RouteNetlinkMessage::NewLink(cable), Intent::Create)?;
    // Not at once: a veth does not go up before it has its other end.
    namespace.set_link(LinkUnspec::new_with_index(index).up())
}

/// Puts an address on an interface, at once usable: duplicate address detection would take a second.
///
/// # Errors
/// What the kernel says; the same address with the same prefix is no error.
pub fn add_address(namespace: &Namespace, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
    let mut message = address_message(index, address, prefix);
    if address.is_ipv6() {
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    namespace.request(RouteNetlinkMessage::NewAddress(message), Intent::Replace).map(drop)
}

/// Takes an address off an interface.
///
/// # Errors
/// What the kernel says, `EADDRNOTAVAIL` if it is not there.
pub fn delete_address(namespace: &Namespace, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
    let message = address_message(index, address, prefix);
    namespace.request(RouteNetlinkMessage::DelAddress(message), Intent::Change).map(drop)
}

fn address_message(index: u32, address: IpAddr, prefix: u8) -> netlink_packet_route::address::AddressMessage {
    match address {
        IpAddr::V4(address) => AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, prefix).build(),
        IpAddr::V6(address) => AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(address, prefix).build(),
    }
}
