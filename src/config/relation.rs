//! What must hold between groups, and between groups and host.
//!
//! Reads nothing itself: compares what the other files have read, as far as they could.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::environment::Environment;
use super::fault::{Faults, Place, Problem, Reported};
use super::group::GroupRead;
use super::host::{HostRead, interface_address};
use super::reader::Placed;
use super::service::{Claim, Mention};
use crate::ports::multicast::{ControlNetwork, Talk};
use crate::types::host::HostId;

/// Control networks with their addresses, and the host id.
pub(super) struct Networks {
    pub(super) networks: Vec<ControlNetwork>,
    /// In the order of the networks; unspecified where an interface has none yet.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) id: HostId,
}

/// Names and zones are unique; an address is mentioned once.
pub(super) fn check_groups(groups: &[GroupRead], faults: &mut Faults) {
    check_unique(groups.iter().filter_map(|group| group.name.as_ref()), "two groups are named", faults);
    check_unique(groups.iter().filter_map(|group| group.zone.as_ref()), "two groups have the zone", faults);
    let mut seen: BTreeMap<IpAddr, (usize, &Mention)> = BTreeMap::new();
    for (index, group) in groups.iter().enumerate() {
        for mention in &group.mentions {
            match seen.get(&mention.service.address) {
                Some((first_index, first)) => report_twice(first, mention, *first_index == index, faults),
                None => {
                    seen.insert(mention.service.address, (index, mention));
                }
            }
        }
    }
}

fn check_unique<'v>(values: impl Iterator<Item = &'v Placed<String>>, what: &str, faults: &mut Faults) {
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    for value in values {
        match seen.get(value.value.as_str()) {
            Some(first) => {
                let help = format!("the other one is at {}", faults.locate(*first));
                faults.error(Problem::at(value.place, format!("{what} {:?}", value.value)).expects("each its own").help(help));
            }
            None => {
                seen.insert(&value.value, value.place);
            }
        }
    }
}

fn report_twice(first: &Mention, second: &Mention, is_same_group: bool, faults: &mut Faults) {
    let address = second.service.address;
    let message = if !is_same_group {
        format!("{address} is in two groups of this host")
    } else {
        match (&first.claim, &second.claim) {
            (Claim::Floating, Claim::Floating) => format!("{address} is floating twice"),
            (Claim::Floating, Claim::Preferred(_)) | (Claim::Preferred(_), Claim::Floating) => {
                format!("{address} is preferred and floating")
            }
            (Claim::Preferred(Some(a)), Claim::Preferred(Some(b))) if a != b => format!("{address} is preferred by {a} and by {b}"),
            (Claim::Preferred(_), Claim::Preferred(_)) => format!("{address} is preferred twice"),
        }
    };
    let help = format!("it is at {} too", faults.locate(first.place));
    faults.error(Problem::at(second.place, message).expects("each address in one list").help(help));
}

/// Resolves the control networks and checks them against the groups.
pub(super) fn resolve(host: &HostRead, groups: &[GroupRead], environment: &Environment, faults: &mut Faults) -> Result<Networks, Reported> {
    let control = host.control.as_ref().map_err(|reported| *reported)?;
    let families: Vec<&Placed<_>> = groups.iter().filter_map(|group| group.talk.as_ref()).collect();
    let is_service = |address: IpAddr| groups.iter().flat_map(|group| &group.mentions).find(|mention| mention.service.address == address);
    let is_wanted = |address: IpAddr| {
        let fits = families.is_empty() || families.iter().any(|group| group.value.is_ipv4() == address.is_ipv4());
        fits && is_service(address).is_none()
    };
    let mut resolved: Vec<Option<Placed<IpAddr>>> = Vec::new();
    for network in control {
        let address = match &network.value {
            ControlNetwork::Address(address) => Some(*address),
            ControlNetwork::Interface(name) => interface_address(&environment.interface_addresses(name), is_wanted),
        };
        if let Some((address, mention)) = address.and_then(|address| Some((address, is_service(address)?))) {
            let help = format!("it is at {} too; hosts must be able to talk wherever it is served", faults.locate(mention.place));
            let problem = Problem::at(network.place, format!("{address} is a control address and a service address"));
            faults.error(problem.expects("an address that stays with this host").help(help));
        }
        let is_there = |seen: &&Option<Placed<IpAddr>>| seen.is_some_and(|seen| Some(seen.value) == address);
        if let (Some(address), Some(_)) = (address, resolved.iter().find(is_there)) {
            let problem = Problem::at(network.place, format!("{address} is on two control networks"));
            faults.error(problem.expects("each network once"));
        }
        resolved.push(address.map(|value| Placed { value, place: network.place }));
    }
    check_families(control, groups, faults);
    let id = id(host, control, &resolved, faults)?;
    let addresses = resolved.iter().map(|address| address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.value));
    Ok(Networks { networks: control.iter().map(|network| network.value.clone()).collect(), addresses: addresses.collect(), id })
}

fn id(
    host: &HostRead,
    control: &[Placed<ControlNetwork>],
    resolved: &[Option<Placed<IpAddr>>],
    faults: &mut Faults,
) -> Result<HostId, Reported> {
    if let Some(id) = host.id.as_ref().map_err(|reported| *reported)? {
        return Ok(id.value);
    }
    match (control.first(), resolved.first()) {
        (_, Some(Some(address))) => Ok(HostId(address.value)),
        (Some(Placed { value: ControlNetwork::Interface(name), place }), _) => {
            let problem = Problem::at(*place, format!("interface {name} has no address that could be the host id"));
            let help = "set host.id to any address that no other host of the pool has; then the daemon waits for the interface";
            Err(faults.error(problem.expects("an interface with a global address").help(help)))
        }
        (Some(Placed { value: ControlNetwork::Address(address), .. }), _) => Ok(HostId(*address)),
        (None, _) => Err(faults.error(Problem::nowhere("host.control is empty").help("name a control address or host.id"))),
    }
}

/// Every group has a control network of its family, and every address a group. An interface carries both families.
fn check_families(control: &[Placed<ControlNetwork>], groups: &[GroupRead], faults: &mut Faults) {
    let family = |is_ipv4: bool| if is_ipv4 { "IPv4" } else { "IPv6" };
    let carries = |network: &ControlNetwork, is_ipv4: bool| match network {
        ControlNetwork::Address(address) => address.is_ipv4() == is_ipv4,
        ControlNetwork::Interface(_) => true,
    };
    for group in groups.iter().filter_map(|group| group.talk.as_ref()) {
        if !control.iter().any(|network| carries(&network.value, group.value.is_ipv4())) {
            let family = family(group.value.is_ipv4());
            let what = match group.value {
                Talk::Multicast(_) => "the group address is",
                Talk::Unicast { .. } => "the group's peers are",
            };
            let problem = Problem::at(group.place, format!("{what} {family} and no control address is"));
            faults.error(problem.expects("the family of host.control").help(format!("add an {family} address to host.control")));
        }
    }
    let are_known = !groups.is_empty() && groups.iter().all(|group| group.talk.is_some());
    for network in control.iter().filter(|_| are_known) {
        let ControlNetwork::Address(address) = network.value else { continue };
        let is_used = |group: &GroupRead| group.talk.is_some_and(|group| carries(&network.value, group.value.is_ipv4()));
        if !groups.iter().any(is_used) {
            let problem = Problem::at(network.place, format!("control address {address} carries no group"));
            faults.error(problem.expects(format!("the family of a group address; none is {}", family(address.is_ipv4()))));
        }
    }
}
