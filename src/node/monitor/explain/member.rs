//! How a host is: whether it may be given something, what it holds and lacks, whether it leads, and why.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{in_order, millis};
use crate::node::monitor::Monitor;
use crate::node::monitor::control::{Tables, control_explained};
use crate::node::monitor::leadership::{self, Candidacy};
use crate::node::monitor::rule::{Obstacle, Rule};
use crate::types::explanation::{HeardExplanation, HeldExplanation, LackExplanation, MemberExplanation, Next, NextWord, TestExplanation};
use crate::types::host::{Duty, HostId, HostItem, NetworkHearing, Role};
use crate::types::item::Item;
use crate::types::time::Time;

impl Monitor {
    /// How a host is and why.
    pub(super) fn explain_member(&self, now: Time, id: HostId, tables: &Tables, tests: Vec<TestExplanation>) -> MemberExplanation {
        let is_self = id == self.identity.id;
        let other = self.hosts.get(id).filter(|_| !is_self);
        let items: BTreeMap<Item, HostItem> = match other {
            Some(host) => host.entry.items().map(|item| (item.item.clone(), item.clone())).collect(),
            None if is_self => self.own_items(now),
            None => BTreeMap::new(),
        };
        let row = tables.hosts.get(&id);
        let obstacle = row.map(crate::node::monitor::control::HostRow::obstacle);
        let rules = control_explained(tables).1;
        let duty = row.map_or_else(|| other.map_or(Duty::Active, |host| host.head.duty), |row| row.duty);
        let role = other.map_or(self.policy.role, |host| host.head.role);
        MemberExplanation {
            host: self.named(id),
            is_self,
            live: row.is_some(),
            role,
            spare: row.map_or_else(|| other.is_some_and(|host| host.head.spare), |row| row.spare),
            ok: row.is_some_and(|row| row.ok),
            settled: row.is_some_and(|row| row.settled),
            quiesced: duty != Duty::Active,
            draining: duty == Duty::Draining,
            eligible: obstacle == Some(None),
            given: self.why_given(id, role, obstacle, &items, tables),
            leads: self.leader == Some(id),
            why_leads: self.why_leads(id),
            evidence: vec![self.evidence(now, id, None)],
            tests: if is_self { tests } else { Vec::new() },
            holds: self.held_by(&items, &rules),
            lacks: self.lacked_by(&items, &rules),
            hears: self.heard_from(now, id),
            heard_by: self.heard_by(id).into_iter().map(|by| self.named(by)).collect(),
            next: self.coming(now, id, &items),
            what_if: self.what_if_dies(tables, id, items.values().filter(|item| item.state.is_held()).map(|item| &item.item)),
        }
    }

    /// `obstacle`: none if it is not live, else what keeps it from being given anything, if anything does.
    fn why_given(
        &self,
        id: HostId,
        role: Role,
        obstacle: Option<Option<Obstacle>>,
        items: &BTreeMap<Item, HostItem>,
        tables: &Tables,
    ) -> String {
        let name = self.name_of(id);
        match obstacle {
            None => format!("{name} is not live, so it is given nothing"),
            Some(Some(_)) if role == Role::Observer => format!("{name} is an observer, so it is given nothing"),
            Some(Some(obstacle)) => {
                let remedy = match obstacle {
                    Obstacle::Draining | Obstacle::Quiesced => " (`raisctl resume` there ends it)",
                    Obstacle::NotOk | Obstacle::NotReady | Obstacle::NotSettled => "",
                };
                let detail = if id == self.identity.id { self.own_obstacle() } else { String::new() };
                format!("{name} {}{detail}, so it is given nothing{remedy}", obstacle.words())
            }
            Some(None) => {
                let unserved = tables.addresses.values().filter(|row| row.known && row.holders.is_empty()).count();
                let serves = items.values().filter(|item| item.state.is_held()).count();
                let what = match (serves, unserved) {
                    (0, 0) => "holds nothing, since others serve everything",
                    (_, 0) => "is given no more, since everything is served",
                    (_, _) => "may be given what is unserved",
                };
                format!("{name} may be given addresses; it {what}")
            }
        }
    }

    /// Why this host may not be given anything, in its own words.
    fn own_obstacle(&self) -> String {
        match (self.problem(), self.duty_reason.as_str()) {
            (Some(problem), _) => format!(" ({problem})"),
            (None, "") => String::new(),
            (None, reason) if self.duty != Duty::Active => format!(" ({reason})"),
            (None, _) => String::new(),
        }
    }

    fn why_leads(&self, id: HostId) -> String {
        let name = self.name_of(id);
        let fresh = self.oldest_fresh();
        let candidacy = match self.hosts.get(id) {
            _ if id == self.identity.id && self.settled => Candidacy::MayLead,
            _ if id == self.identity.id => Candidacy::NotSettled,
            Some(host) if host.is_live() => leadership::candidacy(host, &self.hosts, fresh),
            Some(_) | None => return format!("{name} is not live"),
        };
        let here = self.name_of(self.identity.id);
        match (candidacy, self.leader) {
            (Candidacy::MayLead, Some(leader)) if leader == id => {
                format!("{name} has the lowest id of the settled hosts that hear {here}")
            }
            (Candidacy::MayLead, Some(leader)) => format!("{} has a lower id and may lead as well", self.name_of(leader)),
            (Candidacy::MayLead, None) => format!("{name} may lead from the next turn on"),
            (Candidacy::NotSettled, _) => format!("{name} has not listened long enough"),
            (Candidacy::Restarting, _) => format!("{name} replaces itself and says nothing meanwhile"),
            (Candidacy::DoesNotHearUs, _) => format!("{name} does not report hearing {here}"),
        }
    }

    fn held_by(&self, items: &BTreeMap<Item, HostItem>, rules: &BTreeMap<Item, Rule>) -> Vec<HeldExplanation> {
        let held = items.values().filter(|item| item.state.is_held());
        let explain = |item: &HostItem| {
            let because = rules.get(&item.item).unwrap_or(&Rule::Unknown).because(&|host| self.name_of(host));
            Some(HeldExplanation { address: item.item.address()?, state: item.state.as_str().to_owned(), epoch: item.epoch.0, because })
        };
        held.filter_map(explain).collect()
    }

    fn lacked_by(&self, items: &BTreeMap<Item, HostItem>, rules: &BTreeMap<Item, Rule>) -> Vec<LackExplanation> {
        let lacked = items.values().filter(|item| item.preferred && !item.state.is_held());
        let explain = |item: &HostItem| {
            let because = rules.get(&item.item).unwrap_or(&Rule::Unknown).because(&|host| self.name_of(host));
            Some(LackExplanation { address: item.item.address()?, because })
        };
        lacked.filter_map(explain).collect()
    }

    /// Whom a host hears: of this host what it heard, of another what it reports.
    fn heard_from(&self, now: Time, id: HostId) -> Vec<HeardExplanation> {
        let hearing = if id == self.identity.id {
            self.hosts.hearing(now, self.windows())
        } else {
            self.hosts.get(id).filter(|host| host.is_live()).map(|host| host.reported.all().cloned().collect()).unwrap_or_default()
        };
        let percent = |hearing: &NetworkHearing| u8::try_from(u32::from(hearing.loss) * 100 / 255).unwrap_or(100);
        let heard = hearing.iter().filter(|heard| heard.proved && heard.host != id).map(|heard| HeardExplanation {
            host: self.named(heard.host),
            networks: heard.networks.iter().map(|network| network.network).collect(),
            loss_percent: heard.networks.iter().map(percent).max().unwrap_or(0),
        });
        heard.collect()
    }

    /// What is going to happen to a host by the clock alone.
    fn coming(&self, now: Time, id: HostId, items: &BTreeMap<Item, HostItem>) -> Vec<Next> {
        let mut next: Vec<Next> = self.settles_soon(now, id).into_iter().chain(self.silent_soon(now, id)).collect();
        for item in items.keys() {
            let left = self.back_off_of(now, id, item);
            if left > Duration::ZERO {
                let text = format!("its back-off for {item} ends, and it may be given the address again");
                next.push(Next { in_ms: Some(millis(left)), what: NextWord::BackOffEnds, host: Some(self.named(id)), text });
            }
        }
        in_order(next)
    }
}
