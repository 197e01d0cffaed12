//! What hosts tell each other, in words, record by record.
//!
//! Owns nothing. Called by the transcript.

use super::Names;
use super::words::{all_failed, boot, bound, count, duty, either, extent, indented, list, printable, role, span, tag, verb};
use crate::types::host::{FailedAcquire, Hearing, HostDetail, HostHead, HostItem, HostKeys, NetworkHearing, Sequence};
use crate::types::item::Item;
use crate::types::message::{
    AddressRecord, Command, CommandItem, DetailRecord, Freeze, HearingRecord, ItemsRecord, Record, Refusal, Returned, Verdict,
    VerdictRecord, VersionedItem, Wish, WishKind, ZoneRecord,
};
use crate::types::policy::Ruling;

pub(super) fn lines(record: &Record, names: &Names) -> Vec<String> {
    match record {
        Record::Head(head) => self::head(head, names),
        Record::Hearing(report) => hearing(report, names),
        Record::Detail(detail) => self::detail(detail, names),
        Record::Items(items) => self::items(items, names),
        Record::Addresses(addresses) => {
            let mut lines = vec![format!("database, {}", count(addresses.len(), "address", "addresses"))];
            lines.extend(indented(addresses.iter().map(|address| self::address(address, names))));
            lines
        }
        Record::Zone(ZoneRecord { leader, serial, part, parts, addresses }) => {
            let piece = if *parts == 1 { String::new() } else { format!(", part {part} of {parts}") };
            vec![format!("zone list {serial} of leader {}{piece}: {}", names.host(*leader), list(addresses))]
        }
        Record::Command(command) => self::command(command, names),
        Record::Wish(wish) => vec![self::wish(wish, names)],
        Record::Verdict(record) => vec![self::verdict(record, names)],
        Record::Freeze(freeze) => vec![self::freeze(freeze, names)],
    }
}

pub(super) fn sequence(sequence: Sequence) -> String {
    if sequence == Sequence::FAREWELL { "farewell".to_owned() } else { format!("info {}", sequence.0) }
}

fn head(head: &HostHead, names: &Names) -> Vec<String> {
    let HostHead {
        id,
        incarnation,
        boot: start,
        sequence: number,
        age,
        uptime,
        version,
        items,
        ok,
        duty: wish,
        settled,
        role: member,
        spare,
        frozen,
        restarting,
        config_hash,
        ruling: Ruling { heartbeat, timeout, all_failed: failed },
        load,
        capacity,
        promise,
        database,
        zone_serial,
    } = head;
    let frozen = frozen.map_or_else(String::new, |left| format!(", frozen for {}", span(left)));
    let restarting = if *restarting { ", restarting" } else { "" };
    vec![
        format!(
            "{}: {} of start {incarnation}, {}, {} old, up for {}",
            names.host(*id),
            sequence(*number),
            boot(*start),
            span(*age),
            span(*uptime)
        ),
        format!(
            "  {}, {}, {}, {}, {}{frozen}{restarting}",
            either(*ok, "ok", "not ok"),
            duty(*wish),
            either(*settled, "settled", "not settled"),
            role(*member),
            either(*spare, "spare", "with preferred addresses")
        ),
        format!("  entry {} with items {}; database {}; zone serial {zone_serial}", version.0, extent(*items), extent(*database)),
        format!("  load {load} of {capacity}; promise {}; configuration {config_hash:016x}", bound(*promise)),
        format!("  goes by heartbeat {}, timeout {}, all_failed {}", span(*heartbeat), span(*timeout), all_failed(*failed)),
    ]
}

fn hearing(report: &HearingRecord, names: &Names) -> Vec<String> {
    let HearingRecord { by, boot: start, sequence: number, heard } = report;
    let mut lines = vec![format!("{} ({}, {}) hears {}", names.host(*by), sequence(*number), boot(*start), heard_hosts(heard, names))];
    lines.extend(indented(heard.iter().map(|hearing| {
        let Hearing { host, boot, sequence: number, proved, complete, networks } = hearing;
        let networks = if networks.is_empty() { "by relay only".to_owned() } else { list(networks.iter().map(network)) };
        format!(
            "{}: {} of {}, {}, entry {} whole; {networks}",
            names.host(*host),
            sequence(*number),
            tag(*boot),
            either(*proved, "proved", "not proved"),
            complete.0
        )
    })));
    lines
}

fn heard_hosts(heard: &[Hearing], names: &Names) -> String {
    if heard.is_empty() { "nobody".to_owned() } else { names.hosts(&heard.iter().map(|hearing| hearing.host).collect::<Vec<_>>()) }
}

fn network(hearing: &NetworkHearing) -> String {
    let NetworkHearing { network, loss, multicast } = hearing;
    let way = if *multicast { "" } else { " without multicast" };
    let loss = if *loss == 0 { String::new() } else { format!(" with {loss}/255 lost") };
    format!("network {network}{way}{loss}")
}

pub(super) fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn detail(record: &DetailRecord, names: &Names) -> Vec<String> {
    let DetailRecord { id, boot: start, version, detail } = record;
    let HostDetail { name, software, control, multicast, mac: hardware, accept, location, capabilities, config, keys } = detail;
    let HostKeys { sends, opens } = keys;
    let place = if location.is_empty() { String::new() } else { format!(", location {}", printable(location)) };
    let can =
        if capabilities.is_empty() { String::new() } else { format!(", can {}", list(capabilities.iter().map(|word| printable(word)))) };
    let config: Vec<String> = config.iter().map(|hash| format!("{hash:04x}")).collect();
    vec![
        format!(
            "detail of {}, entry {}, {}: name {}, software {}{place}{can}",
            names.host(*id),
            version.0,
            boot(*start),
            printable(name),
            printable(software)
        ),
        format!(
            "  control addresses {}, {}; hardware address {}; accepts {}",
            list(control),
            either(*multicast, "multicast", "unicast only"),
            hardware.map_or_else(|| "none".to_owned(), mac),
            if accept.is_empty() { "anything".to_owned() } else { list(accept) }
        ),
        format!("  keys: sends {}, opens {}; configuration {}", sends.0, list(opens.iter().map(|key| key.0)), config.join(" ")),
    ]
}

fn items(record: &ItemsRecord, names: &Names) -> Vec<String> {
    let ItemsRecord { id, boot: start, items } = record;
    let mut lines = vec![format!("items of {}, {}: {}", names.host(*id), boot(*start), items.len())];
    lines.extend(indented(items.iter().map(|item| match item {
        VersionedItem::Present { version, item } => format!("{}, since entry {}", self::item(item), version.0),
        VersionedItem::Gone { version, item } => format!("{item}: no part of it since entry {}", version.0),
    })));
    lines
}

/// A data set has no prefix.
pub(super) fn with_prefix(item: &Item, prefix: u8) -> String {
    match item {
        Item::Address(address) => format!("{address}/{prefix}"),
        Item::DataSet(name) => format!("data set {}", printable(name)),
    }
}

fn item(item: &HostItem) -> String {
    let HostItem { item, prefix, preferred, floating, state, epoch, kernel, pinned, failed } = item;
    let mut text = format!("{}: {state}, epoch {epoch}", with_prefix(item, *prefix));
    for (is_so, word) in
        [(*kernel, "in the kernel"), (*preferred, "preferred"), (*floating, "floating"), (*pinned, "moved here by the operator")]
    {
        if is_so {
            text.push_str(", ");
            text.push_str(word);
        }
    }
    if let Some(FailedAcquire { count, back_off }) = failed {
        text.push_str(&format!(", failed {count} times, back-off {}", span(*back_off)));
    }
    text
}

pub(super) fn address(record: &AddressRecord, names: &Names) -> String {
    let AddressRecord { item, prefix, preferred_host, floating, orphaned, home_served, lifetime, epoch, tombstone, returned } = record;
    let mut text = format!("{}: epoch {epoch}", with_prefix(item, *prefix));
    if *tombstone {
        text.push_str(", expired");
    }
    if let Some(host) = preferred_host {
        text.push_str(&format!(", preferred by {}", names.host(*host)));
    }
    if *floating {
        text.push_str(", floating");
    }
    if !orphaned.is_zero() {
        text.push_str(&format!(", orphaned for {}", span(*orphaned)));
    }
    text.push_str(&format!(", lifetime {}", span(*lifetime)));
    match home_served {
        Some(ago) => text.push_str(&format!(", served at home {} ago", span(*ago))),
        None => text.push_str(", never served at home"),
    }
    if let Some(Returned { ago, quick }) = returned {
        text.push_str(&format!(", came home {} ago, {quick} quick returns", span(*ago)));
    }
    text
}

fn command(command: &Command, names: &Names) -> Vec<String> {
    let Command { kind, leader, leader_boot, to, to_incarnation, based_on, items } = command;
    let mut lines = vec![format!(
        "leader {} ({}) tells {}, start {to_incarnation}, on its {}: {}",
        names.host(*leader),
        boot(*leader_boot),
        names.host(*to),
        sequence(*based_on),
        verb(*kind)
    )];
    lines.extend(indented(items.iter().map(|item| {
        let CommandItem { item, prefix, epoch, reason, overlaps } = item;
        let overlaps = overlaps.map_or_else(String::new, |host| format!(", before {} lets go", names.host(host)));
        format!("{}: epoch {epoch}, {reason}{overlaps}", with_prefix(item, *prefix))
    })));
    lines
}

fn wish(wish: &Wish, names: &Names) -> String {
    let Wish { by, boot: start, sequence: number, number: wish, left, kind } = wish;
    let kind = match kind {
        WishKind::Move { item, to } => format!("{item} to {}", to.map_or_else(|| "its preferred host".to_owned(), |to| names.host(to))),
        WishKind::Rebalance => "floating addresses evened out".to_owned(),
    };
    let by = names.host(*by);
    format!("wish {wish} of {by} ({}, {}), {} left: {kind}", sequence(*number), boot(*start), span(*left))
}

fn verdict(record: &VerdictRecord, names: &Names) -> String {
    let VerdictRecord { leader, sequence: number, to, boot: start, number: wish, verdict } = record;
    let verdict = match verdict {
        Verdict::Done(host) => format!("done, it has come to {}", names.host(*host)),
        Verdict::There(host) => format!("it was at {} already", names.host(*host)),
        Verdict::Evened { moves } => format!("done with {moves} moves"),
        Verdict::Refused { why, host } => {
            format!("refused, {}{}", refusal(*why), host.map_or_else(String::new, |host| format!(": {}", names.host(host))))
        }
    };
    format!(
        "verdict of leader {} ({}) on wish {wish} of {} ({}): {verdict}",
        names.host(*leader),
        sequence(*number),
        names.host(*to),
        boot(*start)
    )
}

pub(super) fn refusal(why: Refusal) -> &'static str {
    match why {
        Refusal::Unknown => "nobody knows the item",
        Refusal::Frozen => "the group is frozen",
        Refusal::NoHome => "no live host prefers it",
        Refusal::OrderedElsewhere => "another operator has named a host",
        Refusal::HostAway => "the host is not live",
        Refusal::HostBusy => "not all of the host is known",
        Refusal::HostNotOk => "the host is not ok",
        Refusal::HostNotSettled => "the host is not settled",
        Refusal::HostQuiesced => "the host is quiesced",
        Refusal::HostDraining => "the host is draining",
        Refusal::HostNotAccepting => "the host does not accept it",
        Refusal::HostInBackOff => "the host has failed to acquire it",
    }
}

pub(super) fn freeze(freeze: &Freeze, names: &Names) -> String {
    let Freeze { number, by, left } = freeze;
    if left.is_zero() {
        format!("freeze {number} of {}: thawed", names.host(*by))
    } else {
        format!("freeze {number} of {}: {} left", names.host(*by), span(*left))
    }
}
