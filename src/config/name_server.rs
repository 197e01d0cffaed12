//! `[dns]`: this host as a name server, but for the zones, which belong to the groups.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use ipnet::IpNet;

use super::fault::{Faults, Problem, Reported};
use super::reader::{Reader, all, not_available, text};
use super::scalar;
use super::tree::Content;
use super::zone;

/// A resolver asks for two types each time to live; this is a hundred of them behind one network at the default of 5 s, with room.
const RATE_LIMIT: u32 = 200;
/// More than any host answers.
const RATE_LIMIT_MAX: u32 = 1_000_000;
/// Each question for `_why` looks through all of them.
const ALLOW_TRANSFER_MAX: usize = 32;

/// A name server.
pub(super) struct NameServer {
    pub(super) listen: Vec<SocketAddr>,
    pub(super) allow_transfer: Vec<IpNet>,
    pub(super) rate_limit: Option<NonZeroU32>,
}

impl NameServer {
    /// Reads it; `control`: the addresses to answer on without `listen`.
    pub(super) fn read(dns: &Reader<'_>, control: &[IpAddr], faults: &mut Faults) -> Result<Self, Reported> {
        let listen = zone::listen(dns, control, faults);
        let allow_transfer = allow_transfer(dns, faults);
        let rate_limit = dns.integer("rate_limit", RATE_LIMIT, 0..=RATE_LIMIT_MAX, faults);
        Ok(Self { listen: listen?, allow_transfer: allow_transfer?, rate_limit: NonZeroU32::new(rate_limit?) })
    }
}

fn allow_transfer(dns: &Reader<'_>, faults: &mut Faults) -> Result<Vec<IpNet>, Reported> {
    let Some(value) = dns.value("allow_transfer") else { return Ok(Vec::new()) };
    let Content::List(values) = &value.content else {
        let problem = Problem::at(value.place, format!("allow_transfer is {}", value.content.kind()));
        return Err(faults.error(problem.expects("an array of addresses and networks, like [\"10.0.0.53\", \"10.1.0.0/24\"]")));
    };
    if let Some(beyond) = values.get(ALLOW_TRANSFER_MAX) {
        let problem = Problem::at(beyond.place, format!("allow_transfer has {} entries", values.len()));
        return Err(faults.error(problem.expects(format!("at most {ALLOW_TRANSFER_MAX}"))));
    }
    all(values
        .iter()
        .map(|value| {
            if let Content::Table(_) = &value.content {
                let what = not_available("allow_transfer = [{ address = ..., key_file = ... }]");
                return Err(faults.error(Problem::at(value.place, what).expects("an address or a network, like \"10.0.0.53\"")));
            }
            let text = text("an entry of allow_transfer", value, faults)?;
            scalar::network(text.value).map_err(|expected| {
                faults.error(Problem::at(text.place, format!("allow_transfer: {:?} is not a network", text.value)).expects(expected))
            })
        })
        .collect())
}
