//! Verdicts on who serves what, from the record of all kernels: it is at its place, nothing moves, nobody has it twice.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::control::Datagrams;
use super::kernel::{Change, Kernel};
use super::{now, within};
use crate::pool::service;
use crate::story::{Finding, Outcome, Verdict};

/// What a busy machine may need for anything.
pub(crate) const LONG: Duration = Duration::from_secs(10);

/// For so many heartbeats nothing happens before it counts as nothing: three timeouts.
pub(crate) const STILL_HEARTBEATS: usize = 12;

/// The heartbeat of every pool that does not say another.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(100);

/// The address comes to be on exactly these hosts.
pub(crate) fn wait_at(kernel: &Kernel, address: IpAddr, hosts: &[u8], deadline: Instant) -> Outcome {
    match kernel.wait_holders(address, hosts, deadline)? {
        Some(_) => Ok(()),
        None => {
            let holders = kernel.holders(address)?;
            Err(Verdict::new(Finding::Unserved, format!("{address} is on {holders:?} instead of {hosts:?}")).into())
        }
    }
}

/// Each of these hosts comes to have its own address, alone.
pub(crate) fn wait_own(kernel: &Kernel, hosts: &[u8]) -> Outcome {
    hosts.iter().try_for_each(|host| wait_at(kernel, service(*host), &[*host], within(LONG)))
}

/// No kernel changes while each of `alive` goes on sending for so many heartbeats.
pub(crate) fn stays_still(kernel: &Kernel, datagrams: &Datagrams, alive: &[u8], heartbeats: usize) -> Outcome {
    let since = now();
    let silent = datagrams.wait_heartbeats(alive, since, HEARTBEAT, heartbeats, within(LONG))?;
    if !silent.is_empty() {
        return Err(Verdict::new(Finding::Silent, format!("hosts {silent:?} have not sent {heartbeats} heartbeats")).into());
    }
    has_not_moved(kernel, since, |_| true)
}

/// Nothing has changed since then among the changes that `concerns` accepts.
pub(crate) fn has_not_moved(kernel: &Kernel, since: Instant, concerns: impl Fn(&Change) -> bool) -> Outcome {
    match kernel.changes()?.into_iter().find(|change| change.at >= since && concerns(change)) {
        Some(change) => {
            let Change { host, address, kind, at } = change;
            let after = at.saturating_duration_since(since);
            Err(Verdict::new(Finding::Moved, format!("{address} was {kind:?} on host {host} after {after:?}")).into())
        }
        None => Ok(()),
    }
}

/// No kernel has said a word since then about an address other than the ones that are `meant`, each on its host: not even
/// that one was put there again that was there.
pub(crate) fn is_untouched(kernel: &Kernel, since: Instant, meant: &[(u8, IpAddr)]) -> Outcome {
    let touched: Vec<(u8, IpAddr)> = kernel.touched(since)?.into_iter().filter(|touched| !meant.contains(touched)).collect();
    if touched.is_empty() {
        return Ok(());
    }
    Err(Verdict::new(Finding::Moved, format!("netlink events about {touched:?}, meant were {meant:?}")).into())
}

/// At no time since then did two of these hosts, which hear each other, have one of the addresses.
pub(crate) fn never_doubled(kernel: &Kernel, addresses: impl IntoIterator<Item = IpAddr>, since: Instant, hosts: &[u8]) -> Outcome {
    for address in addresses {
        if let Some(span) = kernel.doubled(address, since, hosts)? {
            let text = format!("{address} on {:?} for {:?}", span.holders, span.duration());
            return Err(Verdict::new(Finding::Doubled, text).into());
        }
    }
    Ok(())
}
