//! The zones for people: what is advertised, what is withheld and why.

use std::collections::BTreeMap;

use super::status::Detail;
use super::terminal::{Terminal, Tone};
use super::words::{count, list, printable};
use crate::ports::api::call::Zones;
use crate::types::view::{WithheldView, ZoneView};

/// So many addresses stand in one line of the summary.
const NAMED_MAX: usize = 16;

/// `raisctl zone`.
#[must_use]
pub fn render(zones: &Zones, terminal: Terminal) -> String {
    let mut text = String::new();
    for group in &zones.groups {
        if !text.is_empty() {
            text.push('\n');
        }
        let Some(zone) = &group.zone else {
            text.push_str(&format!("{}: no zone is configured ([group.dns])\n", printable(&group.name)));
            continue;
        };
        text.push_str(&format!("{}: {}\n", printable(&group.name), head(zone, terminal)));
        if zone.advertised.is_empty() && zone.withheld.is_empty() {
            continue;
        }
        let mut table = terminal.table_of(&["ADDRESS", "STATE", "REASON"]);
        for address in &zone.advertised {
            table.add_row([
                terminal.cell(Tone::Plain, address.to_string()),
                terminal.cell(Tone::Good, "advertised"),
                terminal.cell(Tone::Plain, ""),
            ]);
        }
        for withheld in &zone.withheld {
            table.add_row([
                terminal.cell(Tone::Plain, withheld.address.to_string()),
                terminal.cell(Tone::Doubtful, "withheld"),
                terminal.cell(Tone::Plain, reason(withheld)),
            ]);
        }
        text.push('\n');
        text.push_str(&terminal.lines(&table));
    }
    text
}

/// A few lines within `raisctl status`.
pub(super) fn summary(zone: &ZoneView, terminal: Terminal, detail: Detail) -> String {
    let max = match detail {
        Detail::Each => usize::MAX,
        Detail::Grouped => NAMED_MAX,
    };
    let mut text = format!("  {}\n", head(zone, terminal));
    if !zone.advertised.is_empty() {
        text.push_str(&format!("    advertised: {}\n", list(&zone.advertised, max)));
    }
    let mut withheld: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for one in &zone.withheld {
        withheld.entry(&one.reason).or_default().push(one.address);
    }
    for (reason, addresses) in withheld {
        text.push_str(&format!("    withheld, {}: {}\n", printable(reason), list(&addresses, max)));
    }
    text
}

fn reason(withheld: &WithheldView) -> String {
    match withheld.detail.as_str() {
        "" => printable(&withheld.reason).to_string(),
        detail => format!("{}: {}", printable(&withheld.reason), printable(detail)),
    }
}

fn head(zone: &ZoneView, terminal: Terminal) -> String {
    let advertised = count(zone.advertised.len(), "address", "addresses");
    let tone = if zone.advertised.is_empty() { Tone::Bad } else { Tone::Good };
    let advertised = terminal.paint(tone, &format!("{advertised} advertised"));
    format!("zone {}, serial {}, {advertised}, {} withheld", printable(&zone.name), zone.serial, zone.withheld.len())
}
