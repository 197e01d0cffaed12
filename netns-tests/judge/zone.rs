//! What the pool's name servers advertise, as `dig` sees it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use raisd::demo::namespace::Namespace;
use raisd::demo::plan::Plan;

use super::dig::{Answer, dig};
use super::poll_until;
use crate::story::{Finding, Outcome, Verdict};

/// Waits until every one of `servers` advertises exactly `wanted` in the zone, and with one serial, which is returned.
pub(crate) fn wait_advertised(
    client: &Namespace,
    zone: &str,
    servers: &[u8],
    wanted: &BTreeSet<IpAddr>,
    deadline: Instant,
) -> Outcome<u32> {
    let mut last = String::new();
    let kind = if wanted.iter().any(IpAddr::is_ipv6) { "AAAA" } else { "A" };
    let serial = poll_until(deadline, || {
        let mut serials = BTreeSet::new();
        for server in servers {
            let own = Plan(*server).own().into();
            let addresses = dig(client, own, zone, kind, &[])?;
            let soa = dig(client, own, zone, "SOA", &[])?;
            let serial = soa.as_ref().and_then(Answer::serial);
            let advertised = addresses.as_ref().map(Answer::addresses);
            last = format!("web{server} advertises {advertised:?} with serial {serial:?}");
            match serial {
                Some(serial) if advertised.as_ref() == Some(wanted) => serials.insert(serial),
                Some(_) | None => return Ok(None),
            };
        }
        Ok(if serials.len() == 1 { serials.pop_first() } else { None })
    })?;
    serial.ok_or_else(|| Verdict::new(Finding::Zone, format!("{last} instead of {wanted:?}, the same on {servers:?}")).into())
}
