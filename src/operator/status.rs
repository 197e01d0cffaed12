//! `raisctl status` for people: a sentence for each group, what is wrong, then who serves what.
//!
//! Owns the order and the words. Everything comes from one [`View`]; what the loss of a host would do is simulated on it.

use crate::node::simulate::losses_not_survived;
use crate::types::view::{GroupView, SelfView, View};

use self::served::Served;
use super::names::Names;
use super::terminal::{Terminal, Tone};
use super::words::{count, list, millis, printable};
use super::zone;

mod addresses;
mod hosts;
pub mod served;

/// The most addresses, hosts or failures that a sentence names; more make it unreadable and stand in the tables.
const NAMED_MAX: usize = 8;

/// How much is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Each address has a line of its own.
    Each,
    /// Addresses of which the same is said share a line, once there are many.
    Grouped,
}

/// The whole text.
#[must_use]
pub fn render(view: &View, terminal: Terminal, detail: Detail) -> String {
    let mut text = String::new();
    for group in &view.groups {
        text.push_str(&sentence(group, terminal));
        text.push('\n');
        for (tone, note) in notes(group) {
            text.push_str(&format!("  - {}\n", terminal.paint(tone, &printable(&note))));
        }
    }
    if view.groups.is_empty() {
        text.push_str("this host is in no group\n");
    }
    text.push_str(&format!("\n{}\n", terminal.paint(Tone::Quiet, &source(&view.host))));
    for test in view.host.tests.iter().filter(|test| !test.passing) {
        let why = test.failure.as_deref().unwrap_or("it has not passed often enough");
        let note = format!("test {} fails on this host: {why}", test.name);
        text.push_str(&format!("  - {}\n", terminal.paint(Tone::Bad, &printable(&note))));
    }
    for group in &view.groups {
        text.push_str(&section(group, terminal, detail));
    }
    text
}

/// Whether everything that is shown is held by exactly one host.
#[must_use]
pub fn is_whole(view: &View) -> bool {
    view.groups.iter().all(|group| Served::of(group).is_whole())
}

/// `www: 3 of 4 hosts, all served; survives the loss of any one host: yes`.
fn sentence(group: &GroupView, terminal: Terminal) -> String {
    let served = Served::of(group);
    let names = Names::of(group);
    let mut clauses = vec![hosts::tally(group, terminal)];
    if group.addresses.is_empty() {
        clauses.push(terminal.paint(Tone::Doubtful, "no address known"));
    } else if served.is_whole() {
        clauses.push(terminal.paint(Tone::Good, "all served"));
    }
    if !served.unserved.is_empty() {
        let all = count(group.addresses.len(), "address", "addresses");
        let which = list(&served.unserved, NAMED_MAX);
        clauses.push(terminal.paint(Tone::Bad, &format!("{} of {all} unserved ({which})", served.unserved.len())));
    }
    if !served.doubled.is_empty() {
        let by = |(address, holders): &(_, Vec<_>)| format!("{address} by {}", names.all(holders).join(" and "));
        let which: Vec<String> = served.doubled.iter().map(by).collect();
        clauses.push(terminal.paint(Tone::Bad, &format!("{} held twice ({})", which.len(), list(&which, NAMED_MAX))));
    }
    if served.moving > 0 {
        clauses.push(terminal.paint(Tone::Doubtful, &format!("{} moving", served.moving)));
    }
    if group.leader.is_none() && group.placement == "leader" {
        clauses.push(terminal.paint(Tone::Doubtful, "no leader known"));
    }
    if group.frozen {
        let left = group.frozen_remaining_ms.map_or_else(String::new, |left| format!(" for another {}", millis(left)));
        clauses.push(terminal.paint(Tone::Doubtful, &format!("frozen{left}")));
    }
    if group.hosts.iter().any(|host| host.is_self && !host.settled) {
        clauses.push(terminal.paint(Tone::Doubtful, "this host is still listening"));
    }
    format!("{}: {}{}", printable(&group.name), clauses.join(", "), survival(group, &names, terminal))
}

/// `; survives the loss of any one host: yes`.
fn survival(group: &GroupView, names: &Names, terminal: Terminal) -> String {
    if group.addresses.is_empty() || group.placement != "leader" {
        return String::new();
    }
    let lost = losses_not_survived(group);
    let answer = match lost.as_slice() {
        [] => terminal.paint(Tone::Good, "yes"),
        lost => terminal.paint(Tone::Doubtful, &format!("no ({})", list(&names.all(lost), NAMED_MAX))),
    };
    format!("; survives the loss of any one host: {answer}")
}

/// What an operator has to know beside who serves what.
fn notes(group: &GroupView) -> Vec<(Tone, String)> {
    let names = Names::of(group);
    let mut notes: Vec<_> = group.problems.iter().map(|problem| (Tone::Bad, problem.clone())).collect();
    let ruling = group.hosts.iter().find(|host| Some(host.id) == group.leader);
    if let Some(leader) = ruling {
        let differ = |host: &&crate::types::view::HostView| !host.silent && host.complete && host.config_hash != leader.config_hash;
        let called = |host: &crate::types::view::HostView| {
            let name = names.one(host.id);
            if host.differs.is_empty() { name } else { format!("{name} ({})", host.differs.join(", ")) }
        };
        let others: Vec<_> = group.hosts.iter().filter(differ).map(called).collect();
        if !others.is_empty() {
            let (who, leader) = (list(&others, NAMED_MAX), names.one(leader.id));
            notes.push((
                Tone::Doubtful,
                format!("group-wide settings of {who} differ from those of {leader}, the leader; the leader's count"),
            ));
        }
    }
    let failed: Vec<_> = group.hosts.iter().flat_map(|host| host.failed.iter().map(|failed| (host.id, failed))).collect();
    for (host, failed) in failed.iter().take(NAMED_MAX) {
        let (host, times, wait) = (names.one(*host), count(usize_of(failed.count), "time", "times in a row"), millis(failed.back_off_ms));
        notes.push((Tone::Doubtful, format!("{host} could not acquire {} ({times}); it is not asked again for {wait}", failed.address)));
    }
    if failed.len() > NAMED_MAX {
        notes.push((Tone::Doubtful, format!("{} more failed acquires are in back-off", failed.len() - NAMED_MAX)));
    }
    let dropped: Vec<_> =
        group.dropped.iter().filter(|(_, number)| **number > 0).map(|(reason, number)| format!("{number} {reason}")).collect();
    if !dropped.is_empty() {
        notes.push((Tone::Quiet, format!("datagrams dropped since the start: {}", dropped.join(", "))));
    }
    notes
}

fn usize_of(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Whose knowledge this is.
fn source(host: &SelfView) -> String {
    let mut text = format!("seen by {} ({})", printable(&host.name), host.id);
    if !host.software.is_empty() {
        text.push_str(&format!(", raisd {}", printable(&host.software)));
    }
    text.push_str(&format!(", running for {}", millis(host.uptime_ms)));
    text
}

fn section(group: &GroupView, terminal: Terminal, detail: Detail) -> String {
    let names = Names::of(group);
    let mut text = format!("\n{}", printable(&group.name));
    match group.leader {
        Some(leader) => text.push_str(&format!(", led by {}\n", names.one(leader))),
        None => text.push('\n'),
    }
    text.push('\n');
    text.push_str(&hosts::table(group, terminal));
    if !group.addresses.is_empty() {
        text.push('\n');
        text.push_str(&addresses::table(group, &names, terminal, detail));
    }
    if let Some(zone) = &group.zone {
        text.push('\n');
        text.push_str(&zone::summary(zone, terminal, detail));
    }
    text
}

#[cfg(test)]
mod tests;
