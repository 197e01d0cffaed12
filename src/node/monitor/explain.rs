//! Why: what the control step says of an address, on what evidence of what age, what comes next and what would change it.
//!
//! Runs the same step on the same tables as the leader (`control.rs` notes the rule that it used) and asks the parts of the
//! monitor for the facts that the tables were built from; it has no reasoning of its own and changes nothing. Addresses are in
//! `explain/address.rs`, hosts in `explain/member.rs`. Called for `raisctl explain`.

mod address;
mod member;

use std::net::IpAddr;
use std::time::Duration;

use super::Monitor;
use super::control::{Tables, control_explained};
use super::foresight;
use super::hosts::{Host, Standing};
use super::rule::Rule;
use crate::types::explanation::{Evidence, GroupExplanation, Named, Next, NextWord, TestExplanation, WhatIf};
use crate::types::host::{Duty, HostId, HostItem, Role};
use crate::types::item::{Item, ItemState, ServiceAddress};
use crate::types::time::Time;

impl Monitor {
    /// What there is to say of an address or host; `None`: this group knows neither. `tests`: those of this host.
    pub(crate) fn explain(&self, now: Time, subject: &str, tests: Vec<TestExplanation>) -> Option<GroupExplanation> {
        let address = subject.parse::<ServiceAddress>().ok().map(|address| Item::Address(address.address));
        let address = address.filter(|item| self.has_heard_of(item));
        let host = self.find_host(subject);
        if address.is_none() && host.is_none() {
            return None;
        }
        let tables = self.present_tables(now);
        Some(GroupExplanation {
            name: self.policy.name.clone(),
            leader: self.leader.map(|leader| self.named(leader)),
            caveat: self.caveat(now),
            address: address.and_then(|item| self.explain_address(now, &item, &tables)),
            member: host.map(|host| self.explain_member(now, host, &tables, tests)),
        })
    }

    /// The tables of the control step at this moment: the leader's have what operators wish in them as well.
    fn present_tables(&self, now: Time) -> Tables {
        let mut tables = self.tables(now, &self.own_items(now));
        if self.leader == Some(self.identity.id) {
            for (item, to) in self.ordered(&tables) {
                if let Some(row) = tables.addresses.get_mut(&item) {
                    row.ordered = Some(to);
                }
            }
            tables.evening = self.present_evening(now, &tables);
        }
        tables
    }

    fn has_heard_of(&self, item: &Item) -> bool {
        let held = |(_, host): (HostId, &Host)| host.entry.item(item).is_some_and(|item| item.state.is_held());
        self.knows(item) || self.items.get(item).is_some() || self.holdings.get(item).is_some() || self.hosts.live().any(held)
    }

    /// Tables are the same everywhere by gossip; what is not in them is said here.
    fn caveat(&self, now: Time) -> Option<String> {
        match self.leader {
            None => Some(if self.settled {
                "this host follows nobody: no settled host hears it; nothing is decided until one does".to_owned()
            } else {
                "this host has just started to listen and may not know everything yet; ask again, or ask another host".to_owned()
            }),
            Some(leader) if leader == self.identity.id => (!self.is_known_settled(now))
                .then(|| "this host leads, and decides as soon as the others have heard that it is settled".to_owned()),
            Some(leader) => Some(format!(
                "asked at {}, which follows {}: the tables are the same, but commands and wishes under way are known to the leader only",
                self.name_of(self.identity.id),
                self.name_of(leader)
            )),
        }
    }

    /// What people call a host.
    pub(super) fn name_of(&self, id: HostId) -> String {
        if id == self.identity.id {
            return self.identity.host.name.clone();
        }
        self.hosts.get(id).map_or_else(|| id.to_string(), Host::name)
    }

    fn named(&self, id: HostId) -> Named {
        Named { id, name: self.name_of(id) }
    }

    /// What is known of a host, and of what it does with an item.
    fn evidence(&self, now: Time, id: HostId, item: Option<&Item>) -> Evidence {
        let host = self.named(id);
        if id == self.identity.id {
            return Evidence { host, age_ms: None, heard_on: Vec::new(), says: self.own_words(now, item) };
        }
        let Some(other) = self.hosts.get(id) else {
            return Evidence { host, age_ms: None, heard_on: Vec::new(), says: "never heard by this host".to_owned() };
        };
        let age = now.since(other.heard_at);
        let says = match other.standing {
            Standing::Live => self.words_of(now, other, item),
            Standing::Silent => "counts as silent".to_owned(),
            Standing::Left => "has said goodbye".to_owned(),
        };
        Evidence { host, age_ms: Some(millis(age)), heard_on: self.heard_on(now, other), says }
    }

    /// Our control addresses over which a host is heard directly.
    fn heard_on(&self, now: Time, host: &Host) -> Vec<IpAddr> {
        let networks = host.links.report(now, self.windows()).into_iter().map(|hearing| usize::from(hearing.network));
        networks.filter_map(|network| self.identity.host.control.get(network)).copied().collect()
    }

    fn own_words(&self, now: Time, item: Option<&Item>) -> String {
        let mut words = vec!["this host".to_owned()];
        match self.problem() {
            _ if self.policy.role == Role::Observer => words.push("an observer".to_owned()),
            None => words.push("ok".to_owned()),
            Some(problem) => words.push(format!("not ok: {problem}")),
        }
        words.extend(duty_words(self.duty));
        if !self.settled {
            words.push("not settled".to_owned());
        }
        if let Some(item) = item {
            let held_for = self.held_for(now, self.identity.id, item);
            words.extend(item_words(self.own_items(now).get(item), held_for, self.own_back_off(now, item)));
        }
        words.join(", ")
    }

    fn words_of(&self, now: Time, host: &Host, item: Option<&Item>) -> String {
        let mut words = vec![match (host.head.role, host.head.ok) {
            (Role::Observer, _) => "an observer".to_owned(),
            (Role::Server, true) => "says ok".to_owned(),
            (Role::Server, false) => "says not ok".to_owned(),
        }];
        words.extend(duty_words(host.head.duty));
        if !host.head.settled {
            words.push("not settled".to_owned());
        }
        if host.head.restarting {
            words.push("replaces itself".to_owned());
        }
        match item {
            Some(_) if !host.whole => words.push("what it holds is not known completely".to_owned()),
            Some(item) => {
                let (id, held) = (host.head.id, host.entry.item(item));
                words.extend(item_words(held, self.held_for(now, id, item), self.back_off_of(now, id, item)));
            }
            None => {}
        }
        words.join(", ")
    }

    /// How long a host has been the only one whose kernel has an item, as seen from here.
    fn held_for(&self, now: Time, id: HostId, item: &Item) -> Option<Duration> {
        (self.kernel_holders(item) == [id]).then(|| self.meters.since(now, item)).filter(|_| self.settled)
    }

    fn own_back_off(&self, now: Time, item: &Item) -> Duration {
        self.holdings.failures().get(item).map_or(Duration::ZERO, |failures| failures.until.since(now))
    }

    /// How much longer a host is not to be given an item: by its own word, or because it did not answer this leader.
    fn back_off_of(&self, now: Time, id: HostId, item: &Item) -> Duration {
        let told = if id == self.identity.id {
            self.own_back_off(now, item)
        } else {
            self.hosts.get(id).map_or(Duration::ZERO, |host| host.back_off(now, item))
        };
        told.max(self.commands.back_off(now, id, item))
    }

    /// When a live host counts as silent unless it is heard; only if its word is older than it should be.
    fn silent_soon(&self, now: Time, id: HostId) -> Option<Next> {
        let host = self.hosts.get(id).filter(|host| host.is_live())?;
        let age = now.since(host.heard_at);
        let left = host.patience().saturating_sub(age);
        (age > host.ruling().heartbeat * 2).then(|| Next {
            in_ms: Some(millis(left)),
            what: NextWord::Silent,
            host: Some(self.named(id)),
            text: format!("{} counts as silent unless it is heard", self.name_of(id)),
        })
    }

    /// When a host that has not listened long enough will have.
    fn settles_soon(&self, now: Time, id: HostId) -> Option<Next> {
        let left = if id == self.identity.id {
            (!self.settled).then(|| self.settles_at().since(now))?
        } else {
            let host = self.hosts.get(id).filter(|host| host.is_live() && !host.head.settled)?;
            let listened = host.head.uptime.saturating_add(now.since(host.heard_at));
            let slowest = self.slowest();
            slowest.timeout.saturating_add(slowest.heartbeat).saturating_sub(listened)
        };
        let text = format!("{} has listened long enough, at the latest", self.name_of(id));
        Some(Next { in_ms: Some(millis(left)), what: NextWord::Settles, host: Some(self.named(id)), text })
    }

    /// Where items go if a host dies: the control step on the tables without it.
    fn what_if_dies<'i>(&self, tables: &Tables, dead: HostId, items: impl Iterator<Item = &'i Item>) -> Vec<WhatIf> {
        let mut items = items.peekable();
        if items.peek().is_none() {
            return Vec::new();
        }
        let without = foresight::without(tables.clone(), dead);
        let mut first = control_explained(&without).1;
        let rest = foresight::at_rest(without);
        let what_if = |item: &Item| self.what_if(dead, item, foresight::holder_of(&rest, item), first.remove(item));
        items.filter_map(what_if).collect()
    }

    /// `first`: by which rule the step after the death puts it somewhere, or does not.
    fn what_if(&self, dead: HostId, item: &Item, to: Option<HostId>, first: Option<Rule>) -> Option<WhatIf> {
        let dies = self.name_of(dead);
        let text = match (to, first) {
            (Some(to), Some(Rule::Assigned { to: first, list })) if first == to => {
                format!("if {dies} dies, {} takes it ({})", self.name_of(to), list.words())
            }
            (Some(to), _) => format!("if {dies} dies, {} has it", self.name_of(to)),
            (None, Some(Rule::CannotAssign { why })) => format!("if {dies} dies, nobody serves it: {why}"),
            (None, Some(rule)) => format!("if {dies} dies, nobody serves it: {}", rule.because(&|id| self.name_of(id))),
            (None, None) => format!("if {dies} dies, nobody serves it"),
        };
        Some(WhatIf { dies: self.named(dead), address: item.address()?, to: to.map(|to| self.named(to)), text })
    }
}

fn duty_words(duty: Duty) -> Option<String> {
    match duty {
        Duty::Active => None,
        Duty::Quiesced => Some("quiesced".to_owned()),
        Duty::Draining => Some("draining".to_owned()),
    }
}

/// What a host does with an item.
fn item_words(item: Option<&HostItem>, held_for: Option<Duration>, back_off: Duration) -> Vec<String> {
    let mut words = Vec::new();
    match item {
        Some(item) if item.state.is_held() => {
            let doing = match item.state {
                ItemState::Acquiring => "is taking it",
                ItemState::Online => "holds it online",
                ItemState::Releasing => "is giving it up",
                ItemState::NotServing => "does not hold it",
            };
            let kernel = if item.kernel { "its kernel has it" } else { "its kernel has it not" };
            let held_for = held_for.filter(|_| item.state == ItemState::Online).map(|held_for| format!(" for {}", span(held_for)));
            words.extend([format!("{doing}{}", held_for.unwrap_or_default()), format!("epoch {}", item.epoch), kernel.to_owned()]);
        }
        Some(_) | None => words.push("does not hold it".to_owned()),
    }
    if let Some(failed) = item.and_then(|item| item.failed) {
        words.push(format!("has failed to take it {} in a row", times(failed.count)));
    }
    if !back_off.is_zero() {
        words.push(format!("is not given it for {}", span(back_off)));
    }
    words
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// The soonest first; what waits for something else last.
fn in_order(mut next: Vec<Next>) -> Vec<Next> {
    next.sort_by_key(|next| (next.in_ms.is_none(), next.in_ms));
    next
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A duration in one unit, for a sentence.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..180 => format!("{seconds} s"),
        180..10_800 => format!("{} min", seconds / 60),
        10_800..259_200 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
