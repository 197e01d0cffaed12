//! The addresses of a group: a line for each, or for each set of which the same is said.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use comfy_table::{Cell, Table};

use super::Detail;
use super::served::{Served, is_moving, is_unserved};
use crate::operator::names::Names;
use crate::operator::terminal::{Terminal, Tone};
use crate::operator::words::{list, millis};
use crate::types::view::{AddressView, GroupView};

/// More lines than this do not fit on a screen; then addresses share lines.
const LINES_MAX: usize = 40;

/// So many ranges of addresses are named on a shared line.
const RANGES_MAX: usize = 4;

const HEADINGS: [&str; 6] = ["ADDRESS", "STATE", "SERVED BY", "PREFERRED", "SINCE", "REASON"];

pub(super) fn table(group: &GroupView, names: &Names, terminal: Terminal, detail: Detail) -> String {
    let doubled: BTreeSet<IpAddr> = Served::of(group).doubled.into_iter().map(|(address, _)| address).collect();
    let facts = group.addresses.iter().map(|address| (Facts::of(address, doubled.contains(&address.address), names), address));
    let shares = match detail {
        Detail::Each => false,
        Detail::Grouped => group.addresses.len() > LINES_MAX,
    };
    if !shares {
        let mut table = terminal.table_of(&HEADINGS);
        for (facts, address) in facts {
            let which = format!("{}/{}", address.address, address.prefix);
            let reason = match address.orphan_remaining_ms {
                Some(remaining) => format!("{}, expires in {}", facts.reason, millis(remaining)),
                None => facts.reason.clone(),
            };
            facts.add_to(&mut table, terminal, which, millis(address.since_ms), reason);
        }
        return terminal.lines(&table);
    }
    let mut sets: BTreeMap<Facts, Vec<&AddressView>> = BTreeMap::new();
    for (facts, address) in facts {
        sets.entry(facts).or_default().push(address);
    }
    let lines = sets.len();
    let mut table = terminal.table(&HEADINGS);
    for (facts, set) in sets {
        let reason = facts.reason.clone();
        facts.add_to(&mut table, terminal, ranges(&set), since(&set), reason);
    }
    let hint = format!("{} addresses on {lines} lines; --all shows each", group.addresses.len());
    format!("{}  {}\n", terminal.lines(&table), terminal.paint(Tone::Quiet, &hint))
}

/// What is said of an address, what needs attention first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Facts {
    urgency: Urgency,
    state: String,
    served_by: String,
    preferred: String,
    reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Wrong,
    Passing,
    Right,
}

impl Facts {
    fn of(address: &AddressView, is_doubled: bool, names: &Names) -> Self {
        let (urgency, state) = if is_doubled {
            (Urgency::Wrong, format!("{}, held twice", address.state))
        } else if is_unserved(address) && address.state == "online" {
            (Urgency::Wrong, "online, in no kernel".to_owned())
        } else if is_unserved(address) && !is_moving(address) {
            (Urgency::Wrong, address.state.clone())
        } else if is_moving(address) {
            (Urgency::Passing, address.state.clone())
        } else {
            (Urgency::Right, address.state.clone())
        };
        let mut holders = names.all(&address.served_by);
        let unsaid = address.kernel.iter().filter(|host| !address.served_by.contains(host));
        holders.extend(unsaid.map(|host| format!("{} (kernel only)", names.one(*host))));
        let preferred = match (address.preferred_host, address.floating) {
            (Some(host), _) => names.one(host),
            (None, true) => "floating".to_owned(),
            (None, false) => "-".to_owned(),
        };
        let served_by = if holders.is_empty() { "-".to_owned() } else { holders.join(", ") };
        let reason = match address.orphan_remaining_ms {
            Some(_) => format!("{}, orphaned", address.reason),
            None => address.reason.clone(),
        };
        Self { urgency, state, served_by, preferred, reason }
    }

    fn add_to(self, table: &mut Table, terminal: Terminal, which: String, since: String, reason: String) {
        let tone = match self.urgency {
            Urgency::Wrong => Tone::Bad,
            Urgency::Passing => Tone::Doubtful,
            Urgency::Right => Tone::Good,
        };
        let plain = |text: String| -> Cell { terminal.cell(Tone::Plain, text) };
        table.add_row([
            plain(which),
            terminal.cell(tone, self.state),
            plain(self.served_by),
            plain(self.preferred),
            plain(since),
            plain(reason),
        ]);
    }
}

/// `192.0.2.1 - 192.0.2.9 (9)`, `192.0.2.20`. Addresses come in order.
fn ranges(set: &[&AddressView]) -> String {
    let mut ranges: Vec<(IpAddr, IpAddr, usize)> = Vec::new();
    for address in set {
        match ranges.last_mut() {
            Some((_, last, count)) if follows(*last, address.address) => {
                *last = address.address;
                *count += 1;
            }
            Some(_) | None => ranges.push((address.address, address.address, 1)),
        }
    }
    let words: Vec<String> = ranges
        .iter()
        .map(|(first, last, count)| match count {
            1 => first.to_string(),
            2 => format!("{first}, {last}"),
            _ => format!("{first} - {last} ({count})"),
        })
        .collect();
    if words.len() <= RANGES_MAX {
        return words.join(", ");
    }
    let left_out: usize = ranges.iter().skip(RANGES_MAX).map(|(_, _, count)| count).sum();
    format!("{} and {left_out} more", list(&words[..RANGES_MAX], RANGES_MAX))
}

fn follows(before: IpAddr, after: IpAddr) -> bool {
    match (before, after) {
        (IpAddr::V4(before), IpAddr::V4(after)) => before.to_bits().checked_add(1) == Some(after.to_bits()),
        (IpAddr::V6(before), IpAddr::V6(after)) => before.to_bits().checked_add(1) == Some(after.to_bits()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// The shortest and the longest of the set.
fn since(set: &[&AddressView]) -> String {
    let times = || set.iter().map(|address| address.since_ms);
    let (shortest, longest) = (millis(times().min().unwrap_or(0)), millis(times().max().unwrap_or(0)));
    if shortest == longest { shortest } else { format!("{shortest} - {longest}") }
}
