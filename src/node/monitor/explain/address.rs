//! Why an address is where it is.

use std::collections::BTreeSet;

use super::{in_order, millis, span};
use crate::node::monitor::Monitor;
use crate::node::monitor::control::{AddressRow, Tables, control_explained};
use crate::node::monitor::rule::{NotHome, Obstacle, Rule};
use crate::types::explanation::{AddressExplanation, Next, NextWord};
use crate::types::host::HostId;
use crate::types::item::Item;
use crate::types::message::CommandKind;
use crate::types::policy::Failback;
use crate::types::time::Time;

impl Monitor {
    /// Why an address is where it is. `None`: it is no address.
    pub(super) fn explain_address(&self, now: Time, item: &Item, tables: &Tables) -> Option<AddressExplanation> {
        let address = item.address()?;
        let (outcome, mut rules) = control_explained(tables);
        // What has expired and is held by nobody has no row.
        let rule = rules.remove(item).unwrap_or(Rule::Unknown);
        let blank = AddressRow::default();
        let row = tables.addresses.get(item).unwrap_or(&blank);
        let known = self.items.get(item);
        let home = row.preferred_by.first().copied().or(known.and_then(|known| known.preferred_host));
        let mut next: Vec<Next> = Vec::new();
        for decision in outcome.decisions.iter().filter(|decision| decision.item == *item) {
            let (what, verb) = match decision.kind {
                CommandKind::Acquire => (NextWord::Acquire, "take it"),
                CommandKind::Release => (NextWord::Release, "give it up"),
            };
            let text = format!("the leader tells {} to {verb}: {}", self.name_of(decision.to), decision.reason);
            next.push(Next { in_ms: None, what, host: Some(self.named(decision.to)), text });
        }
        next.extend(self.timers(now, item, row, &rule));
        let holders: Vec<HostId> = row.holders.keys().copied().collect();
        Some(AddressExplanation {
            address,
            served_by: holders.iter().map(|holder| self.named(*holder)).collect(),
            preferred_host: home.map(|home| self.named(home)),
            epoch: row.epoch.0.max(known.map_or(0, |known| known.epoch.0)),
            since_ms: millis(self.meters.since(now, item)),
            because: self.because(&rule, home),
            rule: rule.word(),
            evidence: self.witnesses(&holders, home, &rule, tables).into_iter().map(|host| self.evidence(now, host, Some(item))).collect(),
            next: in_order(next),
            what_if: holders.iter().flat_map(|holder| self.what_if_dies(tables, *holder, std::iter::once(item))).collect(),
            changes: self.changes(&rule),
        })
    }

    /// The rule in a sentence, with what has become of a preferred host that is not live.
    pub(super) fn because(&self, rule: &Rule, home: Option<HostId>) -> String {
        let because = rule.because(&|host| self.name_of(host));
        match (rule, home.filter(|home| *home != self.identity.id).and_then(|home| self.hosts.get(home))) {
            (Rule::StaysPut { .. } | Rule::Assigned { .. } | Rule::CannotAssign { .. }, Some(host)) if !host.is_live() => {
                format!("{because}; {}, which prefers it, is away", host.name())
            }
            (_, _) => because,
        }
    }

    /// The hosts whose word the rule rests on: holders, home, and where nobody can take it, everybody.
    fn witnesses(&self, holders: &[HostId], home: Option<HostId>, rule: &Rule, tables: &Tables) -> BTreeSet<HostId> {
        let mut witnesses: BTreeSet<HostId> = holders.iter().copied().chain(home).collect();
        match rule {
            Rule::CannotAssign { .. } | Rule::NowhereToGo { .. } => witnesses.extend(tables.hosts.keys()),
            Rule::Assigned { to, .. } | Rule::GoesHome { to, .. } | Rule::Moves { to, .. } | Rule::Rebalances { to, .. } => {
                witnesses.insert(*to);
            }
            Rule::WaitsForEntries => witnesses.extend(self.hosts.live().filter(|(_, host)| !host.whole).map(|(id, _)| id)),
            Rule::Duplicate { .. }
            | Rule::Frozen
            | Rule::Leaves { .. }
            | Rule::StaysAtHome { .. }
            | Rule::StaysAway { .. }
            | Rule::StaysPinned { .. }
            | Rule::StaysPut { .. }
            | Rule::Unknown
            | Rule::UnknownWaits
            | Rule::Waits { .. }
            | Rule::WaitsForHome { .. } => {}
        }
        witnesses
    }

    /// What is going to happen by the clock alone.
    fn timers(&self, now: Time, item: &Item, row: &AddressRow, rule: &Rule) -> Vec<Next> {
        let next = |in_ms, what, host: HostId, text| Next { in_ms: Some(in_ms), what, host: Some(self.named(host)), text };
        let mut timers = Vec::new();
        for host in &row.back_off {
            let left = self.back_off_of(now, *host, item);
            let text = format!("the back-off of {} ends, and it may be given the address again", self.name_of(*host));
            timers.push(next(millis(left), NextWord::BackOffEnds, *host, text));
        }
        match rule {
            Rule::StaysAway { home, because: NotHome::TooSoon { left, .. }, .. } => {
                let text = format!("it goes home to {}, if that stays well", self.name_of(*home));
                timers.push(next(millis(*left), NextWord::FailbackDue, *home, text));
            }
            Rule::StaysAway { home, because: NotHome::NotEligible(Obstacle::NotSettled), .. } | Rule::WaitsForHome { home } => {
                timers.extend(self.settles_soon(now, *home));
            }
            Rule::CannotAssign { .. } | Rule::NowhereToGo { .. } => {
                let all = self.hosts.live().map(|(id, _)| id).chain([self.identity.id]);
                timers.extend(all.filter_map(|host| self.settles_soon(now, host)));
            }
            Rule::Frozen => timers.extend(self.frozen(now).map(|left| Next {
                in_ms: Some(millis(left)),
                what: NextWord::FreezeEnds,
                host: None,
                text: "the freeze ends, and what should have moved meanwhile moves (`raisctl thaw` does it at once)".to_owned(),
            })),
            Rule::Assigned { .. }
            | Rule::Duplicate { .. }
            | Rule::GoesHome { .. }
            | Rule::Leaves { .. }
            | Rule::Moves { .. }
            | Rule::Rebalances { .. }
            | Rule::StaysAtHome { .. }
            | Rule::StaysAway { .. }
            | Rule::StaysPinned { .. }
            | Rule::StaysPut { .. }
            | Rule::Unknown
            | Rule::UnknownWaits
            | Rule::Waits { .. }
            | Rule::WaitsForEntries => {}
        }
        timers.extend(row.holders.keys().filter_map(|holder| self.silent_soon(now, *holder)));
        if let Some(known) = self.items.get(item).filter(|known| !known.tombstone && !self.claimed(item)) {
            let left = known.remaining(now);
            let text =
                format!("it is forgotten, unless a host comes back that prefers or floats it (`raisctl expire {item}` does it at once)");
            timers.push(Next { in_ms: Some(millis(left)), what: NextWord::OrphanExpires, host: None, text });
        }
        timers
    }

    /// What would make it otherwise.
    fn changes(&self, rule: &Rule) -> Vec<String> {
        let name = |host: &HostId| self.name_of(*host);
        let leaves = |host: &HostId| {
            let host = name(host);
            format!("{host} fails its tests, is drained, stops, or is not heard for {}: it goes elsewhere", span(self.ruling.timeout))
        };
        match rule {
            Rule::Assigned { .. }
            | Rule::Duplicate { .. }
            | Rule::GoesHome { .. }
            | Rule::Leaves { .. }
            | Rule::Moves { .. }
            | Rule::Rebalances { .. }
            | Rule::Unknown => Vec::new(),
            Rule::CannotAssign { .. } | Rule::NowhereToGo { .. } => {
                vec!["a host that accepts it becomes eligible: its tests pass, it is resumed (`raisctl resume`), or it starts".to_owned()]
            }
            Rule::Frozen => vec!["the freeze ends, or `raisctl thaw` ends it".to_owned()],
            Rule::StaysAtHome { at } => vec![leaves(at)],
            Rule::StaysAway { at, home, because } => vec![self.way_home(*home, *because), leaves(at)],
            Rule::StaysPinned { at } => vec!["`raisctl move` without a host sends it home".to_owned(), leaves(at)],
            Rule::StaysPut { at } => vec!["a host that prefers it comes (back): it goes home".to_owned(), leaves(at)],
            Rule::UnknownWaits => vec!["the hosts agree on what they know, which takes a few heartbeats".to_owned()],
            Rule::Waits { on, .. } => {
                vec![format!("{} is done, or its script is killed after {}", name(on), span(self.policy.script_timeout))]
            }
            Rule::WaitsForEntries => {
                let unknown = self.hosts.live().filter(|(_, host)| !host.whole).map(|(id, _)| name(&id));
                vec![format!("what these hosts hold becomes known, or they fall silent: {}", unknown.collect::<Vec<_>>().join(", "))]
            }
            Rule::WaitsForHome { home } => vec![format!("{} is settled, or is not within moments: then another takes it", name(home))],
        }
    }

    /// What would make a preferred host wanted home.
    fn way_home(&self, home: HostId, because: NotHome) -> String {
        let name = self.name_of(home);
        let what = match because {
            NotHome::BackOff => format!("the back-off of {name} ends (mend its acquire script first; its log says what failed)"),
            NotHome::EntriesIncomplete => "what the live hosts hold becomes known".to_owned(),
            NotHome::Never => {
                return format!(
                    "nothing but trouble at its holder: failback is \"never\", so {name} gets nothing back by itself (`raisctl move` sends it home)"
                );
            }
            NotHome::NotAccepted => format!("`accept` of {name} takes the address in"),
            NotHome::NotEligible(Obstacle::Draining | Obstacle::Quiesced) => format!("`raisctl resume` on {name}"),
            NotHome::NotEligible(Obstacle::NotOk) => format!("the tests of {name} pass (`raisctl explain {name}` there says which fails)"),
            NotHome::NotEligible(Obstacle::NotReady) => format!("what {name} holds becomes known"),
            NotHome::NotEligible(Obstacle::NotSettled) => format!("{name} has listened long enough"),
            NotHome::NotLive => format!("{name} is heard again"),
            NotHome::TooSoon { left, .. } => return format!("{name} stays well for {} more: it goes home", span(left)),
        };
        let after = match self.policy.shared.failback {
            Failback::After(after) if !after.is_zero() => format!(" once it has been well for {}", span(after)),
            Failback::After(_) | Failback::Never => String::new(),
        };
        format!("{what}: it goes home{after}")
    }
}
