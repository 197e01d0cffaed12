//! Where a control network is: from the configuration and the interfaces to a number and an address, or why there is none. A pure function.

use std::net::IpAddr;

use super::ControlNetwork;
use crate::ports::interfaces::{Interface, Interfaces, LinkState};

/// Where a control network is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// The interface's name.
    pub(super) interface: String,
    /// What a socket is bound to: when any of it changes, the socket is dead.
    pub(super) anchor: Anchor,
    /// Whether the interface carries traffic.
    pub(super) state: LinkState,
}

/// What a socket is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Anchor {
    /// The interface's number.
    pub(super) index: u32,
    /// Tells it from a former interface of that number.
    pub(super) generation: u64,
    /// The control address.
    pub(super) address: IpAddr,
}

/// Finds a network for a group of the family that `like` belongs to. `held` is the address that the network has been using; as long as a
/// named interface has it, another address that appears there changes nothing.
pub(super) fn find(network: &ControlNetwork, like: IpAddr, held: Option<IpAddr>, interfaces: &Interfaces) -> Result<Place, String> {
    match network {
        ControlNetwork::Address(address) => {
            let Some((name, interface)) = interfaces.holding(*address) else {
                return Err(format!("no interface has the control address {address}; add it to its interface, or correct `host.control`"));
            };
            Ok(place(name, interface, *address))
        }
        ControlNetwork::Interface(name) => {
            let Some(interface) = interfaces.named(name) else {
                return Err(format!("there is no interface {name}; create it, or correct `host.control`"));
            };
            let held = held.filter(|address| interface.has(*address));
            let Some(address) = held.or_else(|| interface.first_global(like)) else {
                let family = if like.is_ipv4() { "IPv4" } else { "IPv6" };
                return Err(format!("{name} has no global {family} address; add one, or correct `host.control`"));
            };
            Ok(place(name, interface, address))
        }
    }
}

fn place(name: &str, interface: &Interface, address: IpAddr) -> Place {
    let anchor = Anchor { index: interface.index, generation: interface.generation, address };
    Place { interface: name.to_owned(), anchor, state: interface.state }
}

impl Place {
    /// Why nothing comes through though the socket is open.
    pub(super) fn link_fault(&self) -> Option<String> {
        let Self { interface, anchor: Anchor { address, .. }, .. } = self;
        match self.state {
            LinkState::Down => Some(format!("{interface} (control address {address}) is down; switch it on: ip link set {interface} up")),
            LinkState::NoCarrier => Some(format!("{interface} (control address {address}) has no carrier; look at its cable and switch")),
            LinkState::Up => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::interfaces::{Choice, Framing, InterfaceAddress};

    fn interfaces(addresses: &[(&str, Choice)]) -> Interfaces {
        let addresses =
            addresses.iter().map(|(a, choice)| InterfaceAddress { address: a.parse().unwrap(), prefix: 24, choice: *choice }).collect();
        let eth0 = Interface { index: 2, generation: 7, state: LinkState::Up, framing: Framing::Ethernet, mac: None, addresses };
        [("eth0".to_owned(), eth0)].into_iter().collect()
    }

    fn found(network: &ControlNetwork, like: &str, held: Option<&str>, interfaces: &Interfaces) -> Result<IpAddr, String> {
        find(network, like.parse().unwrap(), held.map(|held| held.parse().unwrap()), interfaces).map(|place| place.anchor.address)
    }

    #[test]
    fn an_interface_stands_for_its_first_global_address_of_the_group_s_family() {
        let interfaces = interfaces(&[
            ("10.0.0.9", Choice::Ineligible),
            ("10.0.0.1", Choice::Eligible),
            ("10.0.0.2", Choice::Eligible),
            ("2001:db8::1", Choice::Eligible),
        ]);
        let network = ControlNetwork::Interface("eth0".to_owned());
        assert_eq!(found(&network, "239.0.0.1", None, &interfaces), Ok("10.0.0.1".parse().unwrap()));
        assert_eq!(found(&network, "ff15::1", None, &interfaces), Ok("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn an_address_in_use_is_kept_while_it_is_there() {
        let network = ControlNetwork::Interface("eth0".to_owned());
        let both = interfaces(&[("10.0.0.1", Choice::Eligible), ("10.0.0.2", Choice::Eligible)]);
        assert_eq!(found(&network, "239.0.0.1", Some("10.0.0.2"), &both), Ok("10.0.0.2".parse().unwrap()));
        assert_eq!(found(&network, "239.0.0.1", Some("10.0.0.3"), &both), Ok("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_missing_is_named_with_the_remedy() {
        let interfaces = interfaces(&[]);
        for (network, words) in [
            (ControlNetwork::Address("10.0.0.1".parse().unwrap()), ["10.0.0.1", "add it"]),
            (ControlNetwork::Interface("eth1".to_owned()), ["eth1", "create it"]),
            (ControlNetwork::Interface("eth0".to_owned()), ["no global IPv4 address", "add one"]),
        ] {
            let why = found(&network, "239.0.0.1", None, &interfaces).unwrap_err();
            assert!(words.iter().all(|word| why.contains(word)), "{why}");
        }
    }
}
