//! What a node is told and what it does, in words: for people who read a story, a recording or a failure.
//!
//! Owns the sentences and nothing else; says every field that decides, names hosts where their names are known, and gives times
//! as they travel: how long ago, how much longer. Never decides. The matches are exhaustive, so that a field or variant
//! that is added has to be said here. Called by tests and by what shows recordings; the log of the daemon has sentences of
//! its own, for whoever runs it.
//!
//! Every text is a list of lines. The first says what it is; what belongs to it follows, two blanks further in.

mod actions;
mod answers;
mod brief;
mod events;
mod policies;
mod records;
mod reports;
mod words;

use std::collections::BTreeMap;

use super::action::Action;
use super::event::{Event, GroupIndex};
use crate::types::host::HostId;
use crate::types::message::Record;
use crate::types::policy::NodePolicy;

/// What hosts and groups are called.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    hosts: BTreeMap<HostId, String>,
    groups: BTreeMap<GroupIndex, String>,
}

impl Names {
    /// The names of a configuration, its groups numbered as at a start.
    #[must_use]
    pub fn of(policy: &NodePolicy) -> Self {
        let mut names = Self::default();
        names.add_host(policy.host.id, &policy.host.name);
        for (index, group) in policy.groups.iter().enumerate() {
            names.add_group(GroupIndex(index), &group.name);
        }
        names
    }

    /// A host has this name.
    pub fn add_host(&mut self, host: HostId, name: &str) {
        if !name.is_empty() {
            self.hosts.insert(host, name.to_owned());
        }
    }

    /// A group has this name.
    pub fn add_group(&mut self, group: GroupIndex, name: &str) {
        self.groups.insert(group, name.to_owned());
    }

    /// The names that an event tells.
    pub fn learn(&mut self, event: &Event) {
        match event {
            Event::Heard(heard) => {
                for record in &heard.records {
                    if let Record::Detail(detail) = record {
                        self.add_host(detail.id, &detail.detail.name);
                    }
                }
            }
            Event::Reloaded(reload) => {
                for (place, group) in reload.places.iter().zip(&reload.policy.groups) {
                    self.add_group(place.group(), &group.name);
                }
            }
            Event::Timeout
            | Event::Finished { .. }
            | Event::Tested { .. }
            | Event::Loaded { .. }
            | Event::Kernel(_)
            | Event::Asked { .. }
            | Event::Stopped => {}
        }
    }

    /// A host by its name, or by its id while its name is not known.
    #[must_use]
    pub fn host(&self, host: HostId) -> String {
        self.hosts.get(&host).map_or_else(|| host.to_string(), |name| words::printable(name))
    }

    fn hosts(&self, hosts: &[HostId]) -> String {
        words::list(hosts.iter().map(|host| self.host(*host)))
    }

    /// Words that say which group, if there are several.
    fn of_group(&self, group: GroupIndex) -> String {
        if self.groups.len() < 2 {
            return String::new();
        }
        let name = self.groups.get(&group).map_or_else(|| format!("number {}", group.0), |name| words::printable(name));
        format!(" of group {name}")
    }
}

/// What a node is told.
#[must_use]
pub fn event(event: &Event, names: &Names) -> Vec<String> {
    events::lines(event, names)
}

/// What a node does.
#[must_use]
pub fn action(action: &Action, names: &Names) -> Vec<String> {
    actions::lines(action, names)
}

/// The same, with messages in short: without what is as usual, and without digests, boots and versions.
#[must_use]
pub fn event_in_short(event: &Event, names: &Names) -> Vec<String> {
    match event {
        Event::Heard(heard) => events::heard_in_short(heard, names),
        Event::Timeout
        | Event::Finished { .. }
        | Event::Tested { .. }
        | Event::Loaded { .. }
        | Event::Kernel(_)
        | Event::Asked { .. }
        | Event::Reloaded(_)
        | Event::Stopped => self::event(event, names),
    }
}

/// The same, with messages in short.
#[must_use]
pub fn action_in_short(action: &Action, names: &Names) -> Vec<String> {
    match action {
        Action::Send { group, message, unicast } => actions::send_in_short(*group, message, unicast, names),
        Action::AddAddress { .. }
        | Action::RemoveAddress { .. }
        | Action::Announce { .. }
        | Action::RunScript { .. }
        | Action::PublishZone { .. }
        | Action::StoreGroup { .. }
        | Action::StoreIncarnation { .. }
        | Action::Report { .. }
        | Action::Reply { .. }
        | Action::EndGroup { .. }
        | Action::Exit { .. } => self::action(action, names),
    }
}

/// What one host tells another.
#[must_use]
pub fn record(record: &Record, names: &Names) -> Vec<String> {
    records::lines(record, names)
}

#[cfg(test)]
mod tests;
