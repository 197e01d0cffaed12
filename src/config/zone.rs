//! `[group.dns]`, the group's zone, and `[dns]`, this host as name server.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::fault::{Faults, Problem, Reported};
use super::reader::{Placed, Reader, address, all, entries, texts};
use super::scalar;
use crate::types::policy::{WhenEmpty, ZonePolicy};

const TTL: Duration = Duration::from_secs(5);
/// A zone that follows failures is useless if its answers are kept longer.
const TTL_MAX: Duration = Duration::from_secs(86_400);
const HIGH_WATER: u32 = 80;
const LOW_WATER: u32 = 60;
/// Percent. Above 100 makes sense: a load may exceed the capacity that is declared.
const WATER_MAX: u32 = 1_000;
const MIN_ADDRESSES: u32 = 1;
const MAX_ANSWERS: u32 = 0;
/// More addresses than a DNS message of 65,535 bytes holds.
const ADDRESSES_MAX: u32 = 65_535;
const DNS_PORT: u16 = 53;

/// Reads the zone of a group.
pub(super) fn read(dns: &Reader<'_>, faults: &mut Faults) -> Result<Placed<ZonePolicy>, Reported> {
    let name = dns.needed_text("zone", faults).and_then(|text| domain("zone", text, faults));
    let ttl = dns.duration("ttl", TTL, Duration::ZERO..=TTL_MAX, faults).and_then(|ttl| whole_seconds(dns, ttl, faults));
    let high = dns.integer("high_water", HIGH_WATER, 0..=WATER_MAX, faults);
    let low = dns.integer("low_water", LOW_WATER, 0..=WATER_MAX, faults);
    let marks = check_marks(dns, high, low, faults);
    let min_addresses = dns.integer("min_addresses", MIN_ADDRESSES, 0..=ADDRESSES_MAX, faults);
    let max_answers = dns.integer("max_answers", MAX_ANSWERS, 0..=ADDRESSES_MAX, faults);
    let choices = [("nodata", WhenEmpty::Nodata), ("all", WhenEmpty::All)];
    let when_empty = dns.choice("when_empty", WhenEmpty::Nodata, &choices, faults);
    let nameservers = nameservers(dns, name.as_ref().ok().map(|name| name.value.as_str()), faults);
    let contact = dns.checked_text("contact", scalar::mail, faults);
    let name = name?;
    marks?;
    Ok(Placed {
        place: name.place,
        value: ZonePolicy {
            contact: match contact? {
                Some(contact) => contact.value.to_owned(),
                None => format!("hostmaster@{}", name.value.trim_end_matches('.')),
            },
            name: name.value,
            ttl: ttl?,
            high_water: high?,
            low_water: low?,
            min_addresses: min_addresses?,
            max_answers: max_answers?,
            when_empty: when_empty?,
            nameservers: nameservers?,
        },
    })
}

fn domain(key: &str, text: Placed<&str>, faults: &mut Faults) -> Result<Placed<String>, Reported> {
    match scalar::domain(text.value) {
        Ok(value) => Ok(Placed { value, place: text.place }),
        Err(expected) => Err(faults.error(Problem::at(text.place, format!("{key} cannot be {:?}", text.value)).expects(expected))),
    }
}

/// Times to live travel as whole seconds.
fn whole_seconds(dns: &Reader<'_>, ttl: Duration, faults: &mut Faults) -> Result<Duration, Reported> {
    match dns.value("ttl") {
        Some(value) if ttl.subsec_nanos() != 0 => {
            Err(faults.error(Problem::at(value.place, "ttl is not in whole seconds").expects("a multiple of 1s")))
        }
        Some(_) | None => Ok(ttl),
    }
}

fn check_marks(dns: &Reader<'_>, high: Result<u32, Reported>, low: Result<u32, Reported>, faults: &mut Faults) -> Result<(), Reported> {
    let (high, low) = (high?, low?);
    if low <= high {
        return Ok(());
    }
    let place = dns.value("low_water").or_else(|| dns.value("high_water")).map_or(dns.place, |value| value.place);
    let problem = Problem::at(place, format!("low_water {low} is above high_water {high}"));
    Err(faults.error(problem.expects("low_water not above high_water")))
}

/// In the order of their names, so that the configuration hash does not depend on the order of the file.
fn nameservers(dns: &Reader<'_>, zone: Option<&str>, faults: &mut Faults) -> Result<Vec<(String, Vec<IpAddr>)>, Reported> {
    let Some(value) = dns.value("nameservers") else { return Ok(Vec::new()) };
    let form = "a table, like { \"ns1.www.pool.example.\" = [\"10.0.0.11\"] }";
    let found = entries("nameservers", value, form, faults)?;
    let mut servers = all(found
        .iter()
        .map(|entry| {
            let name = domain("the name of a name server", Placed { value: &entry.key, place: entry.place }, faults);
            let addresses = texts(&format!("nameservers.{:?}", entry.key), &entry.value, faults)
                .and_then(|texts| all(texts.into_iter().map(|text| server_address(text, faults)).collect()));
            let (name, addresses) = (name?, addresses?);
            let in_zone = zone.is_some_and(|zone| name.value == zone || name.value.ends_with(&format!(".{zone}")));
            if in_zone && addresses.is_empty() {
                let problem = Problem::at(entry.value.place, format!("{} is in the zone and has no address", name.value));
                return Err(faults.error(problem.expects("its addresses: nobody else can tell them")));
            }
            Ok((name, addresses))
        })
        .collect())?;
    servers.sort_by(|(a, _), (b, _)| a.value.cmp(&b.value));
    if let Some([_, (second, _)]) = servers.windows(2).find(|pair| matches!(pair, [(a, _), (b, _)] if a.value == b.value)) {
        return Err(faults.error(Problem::at(second.place, format!("{} is listed twice", second.value)).expects("it once")));
    }
    Ok(servers.into_iter().map(|(name, addresses)| (name.value, addresses)).collect())
}

fn server_address(text: Placed<&str>, faults: &mut Faults) -> Result<IpAddr, Reported> {
    let address = address("the address of a name server", text, faults)?;
    match scalar::host_address(address.value) {
        Ok(()) => Ok(address.value),
        Err(why) => Err(faults.error(Problem::at(text.place, format!("{} {why}", address.value)).expects("an address that others reach"))),
    }
}

/// Where this host answers; `control`: its control addresses, the default.
pub(super) fn listen(dns: &Reader<'_>, control: &[IpAddr], faults: &mut Faults) -> Result<Vec<SocketAddr>, Reported> {
    let Some(value) = dns.value("listen") else {
        if control.is_empty() {
            let problem = Problem::at(dns.place, "no control address is there yet to answer on");
            return Err(faults.error(problem.expects("a line like listen = [\"10.0.0.11:53\"]")));
        }
        return Ok(control.iter().map(|address| SocketAddr::new(*address, DNS_PORT)).collect());
    };
    let texts = texts("listen", value, faults)?;
    if texts.is_empty() {
        let problem = Problem::at(value.place, "listen is empty").expects("at least one address");
        return Err(faults.error(problem.help("without [dns] this host is no name server")));
    }
    let mut seen: Vec<SocketAddr> = Vec::new();
    all(texts
        .into_iter()
        .map(|text| {
            let address = endpoint(text, faults)?;
            if seen.contains(&address) {
                return Err(faults.error(Problem::at(text.place, format!("{address} is listed twice")).expects("it once")));
            }
            seen.push(address);
            Ok(address)
        })
        .collect())
}

fn endpoint(text: Placed<&str>, faults: &mut Faults) -> Result<SocketAddr, Reported> {
    match scalar::endpoint(text.value, DNS_PORT) {
        Some(address) if address.port() != 0 && !address.ip().is_multicast() => Ok(address),
        Some(_) | None => {
            let problem = Problem::at(text.place, format!("listen cannot be {:?}", text.value));
            Err(faults.error(problem.expects("\"ADDRESS:PORT\", like \"10.0.0.11:53\" or \"[2001:db8::1]:53\"")))
        }
    }
}
