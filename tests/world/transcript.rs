//! What happened, for people: printed when a test fails.

use std::collections::VecDeque;

use raisd::node::action::Action;
use raisd::node::event::Event;
use raisd::types::message::{Message, MessageKind, Record};
use raisd::types::time::Time;

use crate::machine::Number;

/// The last lines of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript {
    lines: VecDeque<(Time, Number, String)>,
    /// Also every `info` (variable `POOL_INFOS`).
    infos: bool,
    /// Nothing is written otherwise, nor put into words.
    is_kept: bool,
}

const LINES_MAX: usize = 3000;

impl Transcript {
    pub(crate) fn new() -> Self {
        Self { lines: VecDeque::new(), infos: std::env::var_os("POOL_INFOS").is_some(), is_kept: true }
    }

    pub(crate) fn keep(&mut self, is_kept: bool) {
        self.is_kept = is_kept;
    }

    pub(crate) fn say(&mut self, now: Time, host: Number, text: String) {
        if !self.is_kept {
            return;
        }
        if self.lines.len() >= LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back((now, host, text));
    }

    pub(crate) fn event(&mut self, now: Time, host: Number, event: &Event) {
        if !self.is_kept {
            return;
        }
        match event {
            Event::Timeout => {}
            Event::Heard(heard) if self.infos => {
                let text = format!("  heard {} #{} on {}: {}", heard.sender.host, heard.number, heard.network, kinds(&heard.records));
                self.say(now, host, text);
            }
            Event::Heard(_) => {}
            Event::Finished { .. }
            | Event::Tested { .. }
            | Event::Loaded { .. }
            | Event::Kernel(_)
            | Event::Asked { .. }
            | Event::Reloaded(_)
            | Event::Stopped => self.say(now, host, format!("  {event:?}")),
        }
    }

    pub(crate) fn action(&mut self, now: Time, host: Number, action: &Action) {
        if !self.is_kept {
            return;
        }
        let text = match action {
            Action::Send { message, .. } => match message.kind {
                MessageKind::Info if !self.infos => return,
                MessageKind::Info => format!("> info: {}", kinds(&message.records)),
                MessageKind::Acquire | MessageKind::Release => commands(message),
            },
            Action::StoreGroup { op, .. } => format!("> StoreGroup {op:?}"),
            Action::PublishZone { zone, .. } => format!("> PublishZone {} {:?}", zone.serial, zone.advertised),
            Action::AddAddress { .. }
            | Action::RemoveAddress { .. }
            | Action::Announce { .. }
            | Action::RunScript { .. }
            | Action::StoreIncarnation { .. }
            | Action::Report { .. }
            | Action::Reply { .. }
            | Action::EndGroup { .. }
            | Action::Exit { .. } => format!("> {action:?}"),
        };
        self.say(now, host, text);
    }

    pub(crate) fn print(&self) {
        for (at, host, text) in &self.lines {
            let text: String = text.chars().take(400).collect();
            eprintln!("{at:?} h{host} {text}");
        }
    }
}

fn commands(message: &Message) -> String {
    let mut text = format!("> {:?}", message.kind);
    for record in &message.records {
        if let Record::Command(command) = record {
            let items: Vec<String> = command.items.iter().take(8).map(|item| format!("{} e{}", item.item, item.epoch)).collect();
            text.push_str(&format!(" to {} ({} items: {})", command.to, command.items.len(), items.join(", ")));
        }
    }
    text
}

fn kinds(records: &[Record]) -> String {
    let words: Vec<String> = records
        .iter()
        .map(|record| match record {
            Record::Head(head) => format!(
                "head({} s{} v{} ok={} settled={} age={:?})",
                head.id, head.sequence.0, head.version.0, head.ok, head.settled, head.age
            ),
            Record::Hearing(report) => {
                let heard: Vec<String> = report
                    .heard
                    .iter()
                    .map(|heard| format!("{}{}:{}c{}", heard.host, if heard.proved { "" } else { "?" }, heard.sequence.0, heard.complete.0))
                    .collect();
                format!("hearing({}: {})", report.by, heard.join(" "))
            }
            Record::Detail(_) => "detail".to_owned(),
            Record::Items(items) => format!("items({} {})", items.id, items.items.len()),
            Record::Addresses(addresses) => format!("addresses({})", addresses.len()),
            Record::Zone(zone) => format!("zone({} {})", zone.serial, zone.addresses.len()),
            Record::Command(command) => format!("command({:?} to {})", command.kind, command.to),
            Record::Wish(wish) => format!("wish({} of {})", wish.number, wish.by),
            Record::Verdict(verdict) => format!("verdict({} of {})", verdict.number, verdict.to),
            Record::Freeze(freeze) => format!("freeze({} {:?})", freeze.number, freeze.left),
        })
        .collect();
    words.join(" ")
}
