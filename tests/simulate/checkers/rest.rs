//! A connected group at rest: every address that can be served is on exactly one host, at home where its preferred host is
//! wanted home, nothing that has expired is anywhere, and who has to give everything up has.

use std::net::IpAddr;

use raisd::node::event::Mark;
use raisd::types::host::Duty;
use raisd::types::time::Time;

use super::{Judgement, object};
use crate::machine::Number;
use crate::truth::Truth;

/// The group has been left alone for as long as it may take.
pub(crate) fn judge(now: Time, truth: &Truth) -> Judgement {
    let configured = truth.hosts.values().flat_map(|host| host.preferred.iter().chain(&host.floating).copied());
    let mut addresses: Vec<IpAddr> = configured.chain(truth.on.keys().copied()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    for address in addresses {
        judge_address(now, truth, address)?;
    }
    Ok(())
}

fn judge_address(now: Time, truth: &Truth, address: IpAddr) -> Judgement {
    let holders = truth.holders(address);
    let is_gone = is_expired(truth, address);
    match holders.as_slice() {
        [] if is_gone => Ok(()),
        [] => judge_unserved(now, truth, address),
        [holder] if is_gone => object("rest", format!("{address} has expired, and h{holder} has it")),
        [holder] => judge_holder(now, truth, address, *holder),
        [_, _, ..] => object("rest", format!("{holders:?} all have {address}")),
    }
}

/// Somebody who runs on has declared it expired, and nobody who runs wants it.
fn is_expired(truth: &Truth, address: IpAddr) -> bool {
    let lives_on = |(by, life): &(Number, u32)| truth.hosts.get(by).is_some_and(|host| host.runs && host.life == *life);
    !truth.is_configured(address) && truth.expired.get(&address).is_some_and(|by| by.iter().any(lives_on))
}

fn judge_unserved(now: Time, truth: &Truth, address: IpAddr) -> Judgement {
    // Nobody need remember it who lost his memory, or who was told to forget it.
    let is_known =
        truth.is_configured(address) || !(truth.forgetful || truth.was_expired.contains(&address) || truth.was_taken_out(address));
    let takers = truth.takers(now, address);
    // Who can be told to take it may be in back-off with a leader that nobody sees; then another takes it.
    if is_known && !takers.is_empty() && truth.was_served(address) {
        return object("rest", format!("nobody has {address}, and {takers:?} could take it"));
    }
    Ok(())
}

fn judge_holder(now: Time, truth: &Truth, address: IpAddr, holder: Number) -> Judgement {
    if truth.on[&address].get(&holder) == Some(&Mark::Foreign) {
        return object("rest", format!("h{holder} has {address} unmarked"));
    }
    let Some(host) = truth.hosts.get(&holder) else { return Ok(()) };
    let others = truth.takers(now, address);
    if !host.is_ok() {
        return object("rest", format!("h{holder} has {address} and is not fit to"));
    }
    if host.duty == Duty::Draining && !others.is_empty() {
        return object("rest", format!("h{holder} is draining and has {address}; {others:?} could take it"));
    }
    let homes = truth.homes(address);
    let [home] = homes.as_slice() else { return Ok(()) };
    let Some(wait) = truth.failback_wait(*home, address) else { return Ok(()) };
    let is_due = now >= truth.calm_since.plus(truth.settles_within() + wait);
    if *home != holder && others.contains(home) && is_due && !truth.moved.contains(&address) {
        return object("rest", format!("h{holder} has {address}; its home h{home} is fit and waits for it"));
    }
    Ok(())
}
