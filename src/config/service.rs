//! Service addresses of a group: `preferred`, `floating`, `accept`.
//!
//! Reads the lists; whether the same address stands in two of them is seen in `relation`, over all groups.

use ipnet::IpNet;

use super::fault::{Faults, Place, Problem, Reported};
use super::reader::{Placed, Reader, accepted, entries, texts};
use super::scalar;
use super::tree::{Content, Value};
use crate::types::item::ServiceAddress;

/// All of them travel in one record of a host's entry.
const ACCEPT_MAX: usize = 32;

/// One mention of a service address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mention {
    pub(super) service: ServiceAddress,
    pub(super) place: Place,
    pub(super) claim: Claim,
}

/// Why an address is mentioned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Claim {
    Floating,
    /// Preferred by the host of this name; `None`: by this one, from a plain list.
    Preferred(Option<String>),
}

/// The service addresses of a group.
pub(super) struct Services {
    pub(super) preferred: Result<Vec<ServiceAddress>, Reported>,
    pub(super) floating: Result<Vec<ServiceAddress>, Reported>,
    pub(super) accept: Result<Vec<IpNet>, Reported>,
    /// All that are well written, also those of other hosts.
    pub(super) mentions: Vec<Mention>,
}

impl Services {
    pub(super) fn read(group: &Reader<'_>, host_name: Option<&str>, faults: &mut Faults) -> Self {
        let mut mentions = Vec::new();
        let preferred = preferred(group, host_name, &mut mentions, faults);
        let floating = match group.value("floating") {
            Some(value) => list("floating", value, &Claim::Floating, &mut mentions, faults),
            None => Ok(Vec::new()),
        };
        let accept = accept(group, faults);
        if let (Ok(preferred), Ok(accept)) = (&preferred, &accept) {
            check_accepted(preferred, accept, &mentions, faults);
        }
        Self { preferred, floating, accept, mentions }
    }
}

fn preferred(
    group: &Reader<'_>,
    host_name: Option<&str>,
    mentions: &mut Vec<Mention>,
    faults: &mut Faults,
) -> Result<Vec<ServiceAddress>, Reported> {
    let Some(value) = group.value("preferred") else { return Ok(Vec::new()) };
    if matches!(value.content, Content::List(_)) {
        return list("preferred", value, &Claim::Preferred(None), mentions, faults);
    }
    let mut own = Ok(Vec::new());
    let mut others = Ok(());
    for entry in entries("preferred", value, "an array of addresses, or a table [group.preferred] of such arrays by host name", faults)? {
        let named = accepted("a host name", Placed { value: &entry.key, place: entry.place }, scalar::name, faults);
        let claim = Claim::Preferred(Some(entry.key.clone()));
        let addresses = list(&format!("preferred.{}", entry.key), &entry.value, &claim, mentions, faults);
        others = others.and(named.map(drop)).and(addresses.as_ref().map(drop).map_err(|reported| *reported));
        if host_name == Some(entry.key.as_str()) {
            own = addresses;
        }
    }
    others.and(own)
}

fn list(
    key: &str,
    value: &Value,
    claim: &Claim,
    mentions: &mut Vec<Mention>,
    faults: &mut Faults,
) -> Result<Vec<ServiceAddress>, Reported> {
    let texts = texts(key, value, faults)?;
    let addresses: Vec<Result<ServiceAddress, Reported>> = texts
        .into_iter()
        .map(|text| service(key, text, faults))
        .map(|read| {
            let Placed { value: service, place } = read?;
            mentions.push(Mention { service, place, claim: claim.clone() });
            Ok(service)
        })
        .collect();
    addresses.into_iter().collect()
}

fn service(key: &str, text: Placed<&str>, faults: &mut Faults) -> Result<Placed<ServiceAddress>, Reported> {
    let service: ServiceAddress = text.value.parse().map_err(|error| {
        let problem = Problem::at(text.place, format!("{key}: {error}"));
        faults.error(problem.expects("an address, like \"192.0.2.11/32\" or \"2001:db8::11\""))
    })?;
    scalar::service_address(service).map_err(|why| {
        faults.error(Problem::at(text.place, format!("{key}: {:?} {why}", text.value)).expects("an address that a host can serve"))
    })?;
    Ok(Placed { value: service, place: text.place })
}

fn accept(group: &Reader<'_>, faults: &mut Faults) -> Result<Vec<IpNet>, Reported> {
    let texts = group.texts("accept", faults)?;
    if let Some(beyond) = texts.get(ACCEPT_MAX) {
        let problem = Problem::at(beyond.place, format!("accept has {} networks", texts.len()));
        return Err(faults.error(problem.expects(format!("at most {ACCEPT_MAX}"))));
    }
    let networks: Vec<Result<IpNet, Reported>> = texts
        .into_iter()
        .map(|text| {
            scalar::network(text.value).map_err(|expected| {
                faults.error(Problem::at(text.place, format!("accept: {:?} is not a network", text.value)).expects(expected))
            })
        })
        .collect();
    networks.into_iter().collect()
}

/// A host that does not accept what it prefers never gets it, though it brings it into the group.
fn check_accepted(preferred: &[ServiceAddress], accept: &[IpNet], mentions: &[Mention], faults: &mut Faults) {
    if accept.is_empty() {
        return;
    }
    for service in preferred {
        if accept.iter().any(|network| network.contains(&service.address)) {
            continue;
        }
        let preferred_here = |mention: &&Mention| mention.service == *service && mention.claim != Claim::Floating;
        let Some(mention) = mentions.iter().find(preferred_here) else { continue };
        let problem = Problem::at(mention.place, format!("this host prefers {} and does not accept it", service.address));
        let help = "others serve it and it never comes home: add its network to accept, or leave accept empty";
        faults.warning(problem.expects("an address within accept").help(help));
    }
}
