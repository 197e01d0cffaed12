//! Messages in short: one line a record, without what tells versions of it apart and without what is as usual.
//!
//! Left out are digests, boots, key ids, uptimes and promises without end, and what a host says when nothing is the matter.
//! Owns nothing. Called by the transcript for stories; recordings have every field.

use super::records::{refusal, sequence, with_prefix};
use super::words::{bound, duty, list, span, verb};
use super::{Names, records};
use crate::types::host::{Duty, Hearing, HostHead, HostItem, Role};
use crate::types::message::{AddressRecord, CommandItem, Record, Verdict, VersionedItem, WishKind};

pub(super) fn line(record: &Record, names: &Names) -> String {
    match record {
        Record::Head(head) => self::head(head, names),
        Record::Hearing(report) => {
            let heard: Vec<String> = report.heard.iter().map(|heard| hearing(heard, names)).collect();
            let heard = if heard.is_empty() { "nobody".to_owned() } else { heard.join(", ") };
            format!("{} hears {heard}", names.host(report.by))
        }
        Record::Detail(record) => format!("detail of {}, entry {}", names.host(record.id), record.version.0),
        Record::Items(record) => format!("{}: {}", names.host(record.id), joined(record.items.iter().map(item))),
        Record::Addresses(addresses) => format!("database: {}", joined(addresses.iter().map(|address| self::address(address, names)))),
        Record::Zone(zone) => format!("zone list {} of {}: {}", zone.serial, names.host(zone.leader), list(&zone.addresses)),
        Record::Command(command) => {
            let item = |CommandItem { item, prefix, epoch, reason, overlaps }: &CommandItem| {
                let overlaps = overlaps.map_or_else(String::new, |host| format!(", before {} lets go", names.host(host)));
                format!("{}, epoch {epoch}, {reason}{overlaps}", with_prefix(item, *prefix))
            };
            format!(
                "leader {} tells {}, start {}, on its {}: {} {}",
                names.host(command.leader),
                names.host(command.to),
                command.to_incarnation,
                sequence(command.based_on),
                verb(command.kind),
                joined(command.items.iter().map(item))
            )
        }
        Record::Wish(wish) => {
            let what = match &wish.kind {
                WishKind::Move { item, to: Some(to) } => format!("{item} to {}", names.host(*to)),
                WishKind::Move { item, to: None } => format!("{item} home"),
                WishKind::Rebalance => "floating addresses evened out".to_owned(),
            };
            format!("wish {} of {}, {} left: {what}", wish.number, names.host(wish.by), span(wish.left))
        }
        Record::Verdict(record) => {
            let verdict = match record.verdict {
                Verdict::Done(host) => format!("has come to {}", names.host(host)),
                Verdict::There(host) => format!("was at {} already", names.host(host)),
                Verdict::Evened { moves } => format!("done with {moves} moves"),
                Verdict::Refused { why, host } => {
                    let host = host.map_or_else(String::new, |host| format!(" ({})", names.host(host)));
                    format!("refused, {}{host}", refusal(why))
                }
            };
            format!("leader {} on wish {} of {}: {verdict}", names.host(record.leader), record.number, names.host(record.to))
        }
        Record::Freeze(freeze) => records::freeze(freeze, names),
    }
}

fn joined(members: impl Iterator<Item = String>) -> String {
    let members: Vec<String> = members.collect();
    if members.is_empty() { "nothing".to_owned() } else { members.join("; ") }
}

fn head(head: &HostHead, names: &Names) -> String {
    let mut text = format!("{}: {}", names.host(head.id), sequence(head.sequence));
    if !head.age.is_zero() {
        text.push_str(&format!(" of {} ago", span(head.age)));
    }
    text.push_str(if head.ok { ", ok" } else { ", not ok" });
    text.push_str(if head.settled { ", settled" } else { ", not settled" });
    if head.duty != Duty::Active {
        text.push_str(&format!(", {}", duty(head.duty)));
    }
    if head.role != Role::Server {
        text.push_str(", observer");
    } else if head.spare {
        text.push_str(", spare");
    }
    if let Some(left) = head.frozen {
        text.push_str(&format!(", frozen for {}", span(left)));
    }
    if head.restarting {
        text.push_str(", restarting");
    }
    if (head.load, head.capacity) != (0, 1) {
        text.push_str(&format!(", load {} of {}", head.load, head.capacity));
    }
    if head.promise.is_some() {
        text.push_str(&format!(", promise {}", bound(head.promise)));
    }
    text.push_str(&format!(", entry {}", head.version.0));
    text
}

fn hearing(hearing: &Hearing, names: &Names) -> String {
    let mut text = format!("{} {}", names.host(hearing.host), sequence(hearing.sequence));
    if !hearing.proved {
        text.push_str(" (not proved)");
    }
    if hearing.networks.is_empty() {
        text.push_str(" (by relay)");
    }
    if hearing.complete.0 == 0 {
        text.push_str(" (entry not whole)");
    }
    text
}

fn item(item: &VersionedItem) -> String {
    match item {
        VersionedItem::Present { version: _, item } => {
            let HostItem { item, prefix: _, preferred, floating, state, epoch, kernel, pinned, failed } = item;
            let mut text = format!("{item} {state}, epoch {epoch}");
            let words = [(*kernel, "in its kernel"), (*preferred, "preferred"), (*floating, "floating"), (*pinned, "pinned")];
            for (_, word) in words.iter().filter(|(is_so, _)| *is_so) {
                text.push_str(&format!(", {word}"));
            }
            if let Some(failed) = failed {
                text.push_str(&format!(", failed {}, back-off {}", failed.count, span(failed.back_off)));
            }
            text
        }
        VersionedItem::Gone { item, .. } => format!("{item} no part of it any more"),
    }
}

fn address(record: &AddressRecord, names: &Names) -> String {
    let mut text = format!("{} epoch {}", record.item, record.epoch);
    if record.tombstone {
        text.push_str(", expired");
    }
    if let Some(host) = record.preferred_host {
        text.push_str(&format!(", preferred by {}", names.host(host)));
    }
    if record.floating {
        text.push_str(", floating");
    }
    if !record.orphaned.is_zero() {
        text.push_str(&format!(", orphaned for {}", span(record.orphaned)));
    }
    if let Some(returned) = record.returned {
        text.push_str(&format!(", came home {} ago, {} quick returns", span(returned.ago), returned.quick));
    }
    text
}
