//! `raisctl zone --delegation`: the lines that the zone above must have, and whether what they lead to answers.
//!
//! Owns the form of the lines: a piece of a zone file that name servers load as it is, with everything else in comments. Asks
//! each listed name server for the zone's SOA record, as a resolver would (`delegation/ask.rs`). Called by `raisctl`.

mod ask;

use std::net::IpAddr;

use serde::Serialize;
use tokio::task::JoinSet;

use super::words::{count, printable};
use crate::ports::api::call::Zones;
use crate::types::view::{NameserverView, ZoneView};

pub use self::ask::AskError;
use self::ask::Soa;

/// Names and addresses of name servers hardly ever change; the zone itself says the same.
const TTL_S: u32 = 3600;

/// Version of the JSON form.
const VERSION: u32 = 1;

/// Why there is nothing to print. The configuration is at fault.
#[derive(Debug, thiserror::Error)]
pub enum DelegationError {
    /// No group has a zone.
    #[error("no group of this host has a zone: nothing to delegate; see [group.dns] in the reference")]
    NoZone,
    /// A zone has no name server.
    #[error(
        "zone {zone} of group {group} lists no name servers, so there is nobody to delegate it to: \
         add nameservers = {{ \"ns1.{zone}\" = [ADDRESS, ...] }} to [group.dns]"
    )]
    NoNameservers {
        /// The group.
        group: String,
        /// Its zone.
        zone: String,
    },
}

/// The delegations of all zones.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Delegations {
    version: u32,
    zones: Vec<Delegation>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Delegation {
    group: String,
    zone: String,
    /// For the zone file of the zone above.
    records: Vec<String>,
    nameservers: Vec<Nameserver>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Nameserver {
    name: String,
    /// Whether the zone above has to have its addresses.
    glue: bool,
    addresses: Vec<Answering>,
    /// Why it has none to ask.
    problem: Option<String>,
}

/// One address of a name server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Answering {
    address: IpAddr,
    authoritative: bool,
    serial: Option<u32>,
    problem: Option<String>,
}

impl Delegations {
    /// Asks all name servers of all zones, at once.
    ///
    /// # Errors
    /// [`DelegationError`]; that a name server does not answer is none.
    pub async fn ask(zones: &Zones) -> Result<Self, DelegationError> {
        let mut delegations = Vec::new();
        for group in &zones.groups {
            let Some(zone) = &group.zone else { continue };
            if zone.nameservers.is_empty() {
                return Err(DelegationError::NoNameservers { group: group.name.clone(), zone: zone.name.clone() });
            }
            delegations.push(Delegation::ask(&group.name, zone).await);
        }
        if delegations.is_empty() { Err(DelegationError::NoZone) } else { Ok(Self { version: VERSION, zones: delegations }) }
    }

    /// As part of a zone file.
    #[must_use]
    pub fn to_zone_file(&self) -> String {
        self.zones.iter().map(Delegation::to_zone_file).collect::<Vec<_>>().join("\n")
    }
}

impl Delegation {
    async fn ask(group: &str, zone: &ZoneView) -> Self {
        let mut asked = JoinSet::new();
        for (place, server) in zone.nameservers.iter().enumerate() {
            let (server, zone) = (server.clone(), zone.name.clone());
            asked.spawn(async move { (place, Nameserver::ask(&server, &zone).await) });
        }
        let mut nameservers = asked.join_all().await;
        nameservers.sort_by_key(|(place, _)| *place);
        let nameservers: Vec<Nameserver> = nameservers.into_iter().map(|(_, server)| server).collect();
        let records = records(&zone.name, &nameservers);
        Self { group: group.to_owned(), zone: zone.name.clone(), records, nameservers }
    }

    fn to_zone_file(&self) -> String {
        let zone = printable(&self.zone);
        let above = self.zone.split_once('.').map_or(".", |(_, above)| if above.is_empty() { "." } else { above });
        let mut text =
            format!("; group {}: {zone} is delegated by these lines in a zone above, as in {}\n", printable(&self.group), printable(above));
        for record in &self.records {
            text.push_str(&format!("{}\n", printable(record)));
        }
        for server in &self.nameservers {
            let name = printable(&server.name);
            for answering in &server.addresses {
                text.push_str(&format!("; {name} at {}: {}\n", answering.address, answering.in_words()));
            }
            if let Some(problem) = &server.problem {
                text.push_str(&format!("; {name}: {}\n", printable(problem)));
            }
        }
        if let Some(warning) = self.warning() {
            text.push_str(&format!("; WARNING: {warning}\n"));
        }
        text
    }

    fn warning(&self) -> Option<String> {
        let all = || self.nameservers.iter().flat_map(|server| &server.addresses);
        let failing =
            all().filter(|one| one.problem.is_some()).count() + self.nameservers.iter().filter(|one| one.problem.is_some()).count();
        if failing > 0 {
            return Some(format!(
                "{} not as it should: resolvers that try it wait",
                count(failing, "name server answers", "name servers answer")
            ));
        }
        let mut serials: Vec<u32> = all().filter_map(|one| one.serial).collect();
        serials.sort_unstable();
        serials.dedup();
        (serials.len() > 1).then(|| "the name servers have different serials: ask again in a second, then see raisctl status".to_owned())
    }
}

impl Nameserver {
    async fn ask(server: &NameserverView, zone: &str) -> Self {
        let glue = server.name == zone || server.name.ends_with(&format!(".{zone}")) || zone == ".";
        let (addresses, problem) = match server.addresses.as_slice() {
            [] => match ask::resolve(&server.name).await {
                Ok(addresses) => (addresses, None),
                Err(error) => (Vec::new(), Some(error.to_string())),
            },
            addresses => (addresses.to_vec(), None),
        };
        let mut asked = JoinSet::new();
        for (place, address) in addresses.into_iter().enumerate() {
            let zone = zone.to_owned();
            asked.spawn(async move { (place, Answering::new(address, ask::soa(address, &zone).await)) });
        }
        let mut addresses = asked.join_all().await;
        addresses.sort_by_key(|(place, _)| *place);
        Self { name: server.name.clone(), glue, addresses: addresses.into_iter().map(|(_, one)| one).collect(), problem }
    }
}

impl Answering {
    fn new(address: IpAddr, asked: Result<Soa, AskError>) -> Self {
        match asked {
            Ok(Soa { serial, authoritative: true }) => Self { address, authoritative: true, serial: Some(serial), problem: None },
            Ok(Soa { serial, authoritative: false }) => {
                let problem = "answers without authority (no aa): it is a resolver, or does not serve the zone".to_owned();
                Self { address, authoritative: false, serial: Some(serial), problem: Some(problem) }
            }
            Err(error) => Self { address, authoritative: false, serial: None, problem: Some(error.to_string()) },
        }
    }

    fn in_words(&self) -> String {
        match (&self.problem, self.serial) {
            (Some(problem), _) => printable(problem).to_string(),
            (None, Some(serial)) => format!("answers with authority (aa), serial {serial}"),
            (None, None) => "answers".to_owned(),
        }
    }
}

/// NS records, then the addresses that nobody else can tell.
fn records(zone: &str, nameservers: &[Nameserver]) -> Vec<String> {
    let ns = nameservers.iter().map(|server| format!("{zone} {TTL_S} IN NS {}", server.name));
    let glue = nameservers.iter().filter(|server| server.glue).flat_map(|server| {
        server.addresses.iter().map(move |one| {
            let kind = if one.address.is_ipv4() { "A" } else { "AAAA" };
            format!("{} {TTL_S} IN {kind} {}", server.name, one.address)
        })
    });
    ns.chain(glue).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answering(address: &str, asked: Result<Soa, AskError>) -> Answering {
        Answering::new(address.parse().unwrap(), asked)
    }

    fn server(name: &str, glue: bool, addresses: Vec<Answering>) -> Nameserver {
        Nameserver { name: name.to_owned(), glue, addresses, problem: None }
    }

    fn delegation(nameservers: Vec<Nameserver>) -> Delegation {
        let zone = "www.pool.example.".to_owned();
        Delegation { group: "www".to_owned(), records: records(&zone, &nameservers), zone, nameservers }
    }

    #[test]
    fn addresses_are_told_for_those_inside_the_zone_only() {
        let soa = || Ok(Soa { serial: 42, authoritative: true });
        let delegation = delegation(vec![
            server("ns1.www.pool.example.", true, vec![answering("10.0.0.11", soa()), answering("2001:db8::11", soa())]),
            server("ns.other.example.", false, vec![answering("10.0.0.12", soa())]),
        ]);
        let expected = "\
; group www: www.pool.example. is delegated by these lines in a zone above, as in pool.example.
www.pool.example. 3600 IN NS ns1.www.pool.example.
www.pool.example. 3600 IN NS ns.other.example.
ns1.www.pool.example. 3600 IN A 10.0.0.11
ns1.www.pool.example. 3600 IN AAAA 2001:db8::11
; ns1.www.pool.example. at 10.0.0.11: answers with authority (aa), serial 42
; ns1.www.pool.example. at 2001:db8::11: answers with authority (aa), serial 42
; ns.other.example. at 10.0.0.12: answers with authority (aa), serial 42
";
        assert_eq!(delegation.to_zone_file(), expected);
    }

    #[test]
    fn what_does_not_answer_is_a_comment_and_a_warning() {
        let text = delegation(vec![server(
            "ns1.www.pool.example.",
            true,
            vec![answering("10.0.0.11", Err(AskError::Silent)), answering("10.0.0.12", Ok(Soa { serial: 1, authoritative: false }))],
        )])
        .to_zone_file();
        let (comments, records): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with(';'));
        assert_eq!(records.len(), 3, "{text}");
        assert!(comments[1].contains("no answer") && comments[2].contains("without authority"), "{text}");
        assert!(comments[3].starts_with("; WARNING: 2 name servers"), "{text}");
    }

    #[test]
    fn serials_that_differ_are_a_warning() {
        let soa = |serial| Ok(Soa { serial, authoritative: true });
        let of = |second| {
            let addresses = vec![answering("10.0.0.11", soa(1)), answering("10.0.0.12", soa(second))];
            delegation(vec![server("ns1.www.pool.example.", true, addresses)]).warning()
        };
        assert!(of(1).is_none() && of(2).is_some_and(|warning| warning.contains("serials")));
    }

    #[tokio::test]
    async fn without_name_servers_there_is_nothing_to_delegate() {
        let view = ZoneView { name: "a.".to_owned(), serial: 1, advertised: Vec::new(), withheld: Vec::new(), nameservers: Vec::new() };
        let group = |zone| crate::ports::api::call::GroupZone { name: "www".to_owned(), zone };
        let zones = |zone| Zones { version: 1, groups: vec![group(zone)] };
        assert!(matches!(Delegations::ask(&zones(None)).await, Err(DelegationError::NoZone)));
        let error = Delegations::ask(&zones(Some(view))).await.unwrap_err().to_string();
        assert!(error.contains("zone a. of group www") && error.contains("\"ns1.a.\""), "{error}");
    }
}
