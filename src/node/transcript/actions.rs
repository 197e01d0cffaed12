//! What a node does, in words.
//!
//! Owns nothing. Called by the transcript.

use super::words::{count, duty, indented, list, printable};
use super::{Names, answers, brief, records, reports};
use crate::node::action::{Action, ScriptJob, StoredGroup, StoredPeer, Unicast};
use crate::node::event::GroupIndex;
use crate::types::message::{Message, MessageKind};
use crate::types::view::{NameserverView, WithheldView, ZoneView};

pub(super) fn lines(action: &Action, names: &Names) -> Vec<String> {
    match action {
        Action::AddAddress { op, interface, address } => vec![format!("operation {}: put {address} on {interface}", op.0)],
        Action::RemoveAddress { op, interface, address } => vec![format!("operation {}: take {address} off {interface}", op.0)],
        Action::Announce { interface, addresses } => vec![format!("announce {} on {interface}", list(addresses))],
        Action::RunScript { op, job } => {
            let ScriptJob { group, action, interface, item, prefix, reason, epoch } = job;
            let item = records::with_prefix(item, *prefix);
            vec![format!(
                "operation {}: run the {} script{} for {item} on {interface}: {reason}, epoch {epoch}",
                op.0,
                action.as_str(),
                names.of_group(*group)
            )]
        }
        Action::Send { group, message, unicast } => {
            let mut lines = vec![format!("send {}{}", kind(message), names.of_group(*group))];
            lines.extend(indented(destinations(unicast)));
            lines.extend(indented(message.records.iter().flat_map(|record| records::lines(record, names))));
            lines
        }
        Action::PublishZone { group, zone } => {
            let mut lines = vec![format!("answer from zone list {}{}", zone.serial, names.of_group(*group))];
            lines.extend(indented(self::zone(zone)));
            lines
        }
        Action::StoreGroup { op, group, state } => {
            let mut lines = vec![format!("operation {}: write to disk{}", op.0, names.of_group(*group))];
            lines.extend(indented(stored(state, names)));
            lines
        }
        Action::StoreIncarnation { op, incarnation } => vec![format!("operation {}: write to disk that this is start {incarnation}", op.0)],
        Action::Report { group, report } => {
            let group = group.map_or_else(String::new, |group| names.of_group(group));
            vec![format!("tell the operator{group}: {}", reports::line(report, names))]
        }
        Action::Reply { token, answer } => answers::lines(*token, answer, names),
        Action::EndGroup { group } => vec![format!("the group has ended{}", names.of_group(*group))],
        Action::Exit { code } => vec![format!("end the process with exit code {code}")],
    }
}

pub(super) fn send_in_short(group: GroupIndex, message: &Message, unicast: &Unicast, names: &Names) -> Vec<String> {
    let mut lines = vec![format!("send {}{}", kind(message), names.of_group(group))];
    lines.extend(indented(destinations(unicast)));
    lines.extend(indented(message.records.iter().map(|record| brief::line(record, names))));
    lines
}

fn destinations(unicast: &Unicast) -> Vec<String> {
    let Unicast { whole, opening } = unicast;
    let mut lines = Vec::new();
    if !whole.is_empty() {
        lines.push(format!("also by unicast to {}", list(whole)));
    }
    if !opening.is_empty() {
        lines.push(format!("its first datagram also by unicast to {}", list(opening)));
    }
    lines
}

fn kind(message: &Message) -> String {
    let Message { kind, incarnation, records: _ } = message;
    let kind = match kind {
        MessageKind::Info => "info",
        MessageKind::Acquire => "acquire",
        MessageKind::Release => "release",
    };
    format!("{kind} as start {incarnation}")
}

pub(super) fn stored(state: &StoredGroup, names: &Names) -> Vec<String> {
    let StoredGroup { duty: wish, duty_reason, zone_serial, zone, addresses, peers } = state;
    let why = if duty_reason.is_empty() { String::new() } else { format!(" ({})", printable(duty_reason)) };
    let mut lines = vec![format!("{}{why}; zone list {zone_serial}: {}", duty(*wish), list(zone))];
    lines.extend(addresses.iter().map(|address| records::address(address, names)));
    lines.extend(peers.iter().map(|StoredPeer { host, control }| format!("host {} at {}", names.host(*host), list(control))));
    lines
}

fn zone(zone: &ZoneView) -> Vec<String> {
    let ZoneView { name, serial: _, advertised, withheld, nameservers } = zone;
    let mut lines = vec![format!("{}: {}", printable(name), list(advertised))];
    lines.extend(withheld.iter().map(|WithheldView { address, reason, detail }| {
        let detail = if detail.is_empty() { String::new() } else { format!(" ({})", printable(detail)) };
        format!("without {address}: {reason}{detail}")
    }));
    if !nameservers.is_empty() {
        let servers = nameservers.iter().map(|NameserverView { name, addresses }| format!("{} at {}", printable(name), list(addresses)));
        lines.push(format!("{}: {}", count(nameservers.len(), "name server", "name servers"), servers.collect::<Vec<_>>().join("; ")));
    }
    lines
}
