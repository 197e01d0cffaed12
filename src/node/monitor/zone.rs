//! From utilization to the list of addresses that the zone advertises: the seed's DNS thread.
//!
//! A pure function from what the leader knows to a list. Called by `monitor.rs`; the serial is kept there.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::types::host::{Duty, HostId};
use crate::types::policy::{WhenEmpty, ZonePolicy};

/// The seed's scaling factor: utilization in thousandths.
const SCALE: u64 = 1000;

/// One preferred address of a live host.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) host: HostId,
    pub(crate) address: IpAddr,
    pub(crate) ok: bool,
    pub(crate) duty: Duty,
    /// The host is online with this address.
    pub(crate) serving: bool,
    pub(crate) load: u32,
    pub(crate) capacity: u32,
}

/// Why a preferred address is not advertised. A closed list, in the words of `raisctl zone`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Withheld {
    AboveHighWater,
    Draining,
    NotOk,
    NotServing,
    Quiesced,
    /// Its preferred host is not heard.
    Silent,
    /// Its preferred host has said goodbye.
    Stopped,
}

impl Withheld {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AboveHighWater => "above high water",
            Self::Draining => "draining",
            Self::NotOk => "not ok",
            Self::NotServing => "not serving",
            Self::Quiesced => "quiesced",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
        }
    }
}

/// What is advertised and what is not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct List {
    pub(crate) advertised: BTreeSet<IpAddr>,
    pub(crate) withheld: Vec<(IpAddr, Withheld)>,
}

/// The utilization of a host in thousandths; with capacity 0 above every mark.
#[must_use]
pub(crate) fn utilization(load: u32, capacity: u32) -> u64 {
    if capacity == 0 { u64::MAX } else { u64::from(load) * SCALE / u64::from(capacity) }
}

/// The list for `candidates`, given the list before.
#[must_use]
pub(crate) fn list(policy: &ZonePolicy, candidates: &[Candidate], last: &BTreeSet<IpAddr>) -> List {
    let mut list = List::default();
    for is_family in [IpAddr::is_ipv4 as fn(&IpAddr) -> bool, IpAddr::is_ipv6] {
        list_family(policy, candidates.iter().filter(|candidate| is_family(&candidate.address)), last, &mut list);
    }
    if list.advertised.is_empty() && policy.when_empty == WhenEmpty::All {
        list.advertised = candidates.iter().map(|candidate| candidate.address).collect();
        list.withheld.clear();
    }
    list.withheld.sort_by_key(|(address, _)| *address);
    list
}

fn list_family<'a>(policy: &ZonePolicy, candidates: impl Iterator<Item = &'a Candidate>, last: &BTreeSet<IpAddr>, list: &mut List) {
    let mut entries: Vec<(u64, HostId, IpAddr)> = Vec::new();
    for candidate in candidates {
        match refusal(candidate) {
            Some(reason) => list.withheld.push((candidate.address, reason)),
            None => entries.push((weighted(policy, candidate, last), candidate.host, candidate.address)),
        }
    }
    // Ascending by weighted utilization; ties by id.
    entries.sort_unstable();
    let min = usize::try_from(policy.min_addresses).unwrap_or(usize::MAX);
    for (index, (weighted, _, address)) in entries.into_iter().enumerate() {
        if index >= min && weighted > mark(policy.high_water) {
            list.withheld.push((address, Withheld::AboveHighWater));
        } else {
            list.advertised.insert(address);
        }
    }
}

fn refusal(candidate: &Candidate) -> Option<Withheld> {
    if !candidate.ok {
        return Some(Withheld::NotOk);
    }
    match candidate.duty {
        Duty::Quiesced => Some(Withheld::Quiesced),
        Duty::Draining => Some(Withheld::Draining),
        Duty::Active if !candidate.serving => Some(Withheld::NotServing),
        Duty::Active => None,
    }
}

/// The table of `behaviour.md`.
fn weighted(policy: &ZonePolicy, candidate: &Candidate, last: &BTreeSet<IpAddr>) -> u64 {
    let (high, low) = (mark(policy.high_water), mark(policy.low_water));
    let delta = high.saturating_sub(low);
    let util = utilization(candidate.load, candidate.capacity);
    if util > high || (util > low && !last.contains(&candidate.address)) { util.saturating_add(delta) } else { util }
}

/// A mark in percent as utilization.
fn mark(percent: u32) -> u64 {
    u64::from(percent) * SCALE / 100
}

#[cfg(test)]
mod tests;
