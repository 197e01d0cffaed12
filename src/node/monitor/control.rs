//! The leader's tables and decisions: a pure function from the two databases to acquire and release.
//!
//! The tables are those of the seed (figure 6B): per address its state, its preferred host and who claims to serve it; the
//! list of spares and the list of eligible hosts that are none. Every rule of the control step in `behaviour.md` is one
//! function here. Called by `monitor.rs` with tables built from what the leader knows; owns and remembers nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;

use super::extent;
use crate::types::host::{Duty, HostId};
use crate::types::item::{Epoch, Item, ItemState, Reason};
use crate::types::message::CommandKind;
use crate::types::policy::{Assign, Failback};

/// What the control step reads.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    /// The group's name: part of every draw.
    pub(crate) group: String,
    pub(crate) assign: Assign,
    pub(crate) failback: Failback,
    /// No moves: only duplicates are settled.
    pub(crate) frozen: bool,
    /// Some live host's entry is not whole, so it may hold what nobody else holds.
    pub(crate) unknown_holdings: bool,
    /// Every live host knows the same addresses, so what is unknown here is unknown everywhere.
    pub(crate) databases_agree: bool,
    /// The live hosts.
    pub(crate) hosts: BTreeMap<HostId, HostRow>,
    /// Every address that is known or held.
    pub(crate) addresses: BTreeMap<Item, AddressRow>,
}

/// One live host.
#[derive(Clone, Debug)]
pub(crate) struct HostRow {
    /// Its tests pass and it is a server.
    pub(crate) ok: bool,
    /// Its entry is whole and it is not replacing itself: it can be told something.
    pub(crate) ready: bool,
    pub(crate) settled: bool,
    /// It started so short a time ago that it cannot be settled yet.
    pub(crate) starting: bool,
    pub(crate) duty: Duty,
    pub(crate) spare: bool,
    /// Thousandths; capacity 0 is the greatest.
    pub(crate) utilization: u64,
    /// Empty: anything.
    pub(crate) accept: Vec<IpNet>,
    /// How long it has been well.
    pub(crate) well_for: Duration,
}

impl HostRow {
    /// Whether it may be given addresses at all.
    pub(crate) fn is_eligible(&self) -> bool {
        self.settled && self.is_fit_to_serve()
    }

    fn is_fit_to_serve(&self) -> bool {
        self.ok && self.ready && self.duty == Duty::Active
    }

    /// Whether what it holds may stay with it.
    fn is_fit_to_keep(&self) -> bool {
        self.ok && self.duty != Duty::Draining
    }

    fn accepts(&self, item: &Item) -> bool {
        match item {
            Item::Address(address) => self.accept.is_empty() || self.accept.iter().any(|network| network.contains(address)),
            Item::DataSet(_) => true,
        }
    }
}

/// One address of the control table.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddressRow {
    pub(crate) prefix: u8,
    /// In the database, and not expired.
    pub(crate) known: bool,
    pub(crate) floating: bool,
    /// Live hosts that prefer it.
    pub(crate) preferred_by: BTreeSet<HostId>,
    /// Live hosts that claim to serve it: acquiring, online or releasing.
    pub(crate) holders: BTreeMap<HostId, Holder>,
    /// Hosts not to be given it.
    pub(crate) back_off: BTreeSet<HostId>,
    /// The highest epoch known or given out.
    pub(crate) epoch: Epoch,
}

/// One claim to serve an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Holder {
    pub(crate) state: ItemState,
    pub(crate) epoch: Epoch,
    /// A command to it has not been answered.
    pub(crate) commanded: bool,
}

/// What the leader tells a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Decision {
    pub(crate) kind: CommandKind,
    pub(crate) to: HostId,
    pub(crate) item: Item,
    pub(crate) prefix: u8,
    pub(crate) epoch: Epoch,
    pub(crate) reason: Reason,
}

/// All that one control step says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) decisions: Vec<Decision>,
    /// Addresses that nobody can take, with the reason.
    pub(crate) cannot_assign: BTreeMap<Item, &'static str>,
    /// Addresses that several live hosts prefer: who counts.
    pub(crate) conflicts: BTreeMap<Item, HostId>,
    /// Duplicates that are settled: who keeps the address.
    pub(crate) duplicates: BTreeMap<Item, HostId>,
}

/// One control step.
#[must_use]
pub(crate) fn control(tables: &Tables) -> Outcome {
    let mut step = Step { tables, given: BTreeMap::new(), outcome: Outcome::default() };
    step.count_holdings();
    for (item, row) in &tables.addresses {
        step.place(item, row);
    }
    step.outcome
}

/// How much a host holds, counted along as the step gives out more.
#[derive(Clone, Copy, Default)]
struct Given {
    addresses: u32,
    floating: u32,
}

struct Step<'a> {
    tables: &'a Tables,
    given: BTreeMap<HostId, Given>,
    outcome: Outcome,
}

impl Step<'_> {
    fn count_holdings(&mut self) {
        for row in self.tables.addresses.values() {
            for host in row.holders.keys() {
                self.count(*host, row);
            }
        }
    }

    fn count(&mut self, host: HostId, row: &AddressRow) {
        let given = self.given.entry(host).or_default();
        given.addresses += 1;
        given.floating += u32::from(row.floating && row.preferred_by.is_empty());
    }

    /// Everything about one address.
    fn place(&mut self, item: &Item, row: &AddressRow) {
        if !row.known {
            if self.tables.databases_agree && !self.tables.frozen {
                self.release(item, row, row.holders.keys().copied().collect(), Reason::Expired);
            }
            return;
        }
        let preferred = self.preferred_host(item, row);
        if row.holders.values().any(|holder| holder.commanded || holder.state != ItemState::Online) {
            // Some holder is acquiring or releasing: wait.
            return;
        }
        match row.holders.len() {
            0 => self.assign(item, row, preferred),
            1 => self.send_home_or_away(item, row, preferred),
            _ => self.settle_duplicate(item, row, preferred),
        }
    }

    /// The preferred host; that several hosts prefer the address is a conflict.
    fn preferred_host(&mut self, item: &Item, row: &AddressRow) -> Option<HostId> {
        let chosen = self.home(row, None);
        if let Some(chosen) = chosen.filter(|_| row.preferred_by.len() > 1) {
            self.outcome.conflicts.insert(item.clone(), chosen);
        }
        chosen
    }

    /// Of several hosts that prefer an address: the one that holds it, an active one first, else the lowest eligible, else the
    /// lowest. One that is not ok counts only if all are not. `without`: a host that lets go of it.
    fn home(&self, row: &AddressRow, without: Option<HostId>) -> Option<HostId> {
        let rank = |id: &HostId| match self.tables.hosts.get(id) {
            Some(host) if !host.ok => 4,
            Some(host) if row.holders.contains_key(id) => u8::from(host.duty != Duty::Active),
            Some(host) if host.is_eligible() => 2,
            Some(_) => 3,
            None => 5,
        };
        row.preferred_by.iter().copied().filter(|id| Some(*id) != without).min_by_key(|id| (rank(id), *id))
    }

    fn may_take(&self, host: HostId, row: &HostRow, item: &Item, address: &AddressRow) -> bool {
        row.is_eligible() && row.accepts(item) && !address.back_off.contains(&host) && !address.holders.contains_key(&host)
    }

    /// Whether the preferred host has just started and will take it as soon as it is settled: given to another for these
    /// moments, the address would move twice, and its scripts would run four times.
    fn is_coming(&self, home: HostId, item: &Item, address: &AddressRow) -> bool {
        let is_coming = |row: &HostRow| row.starting && !row.settled && row.is_fit_to_serve() && row.accepts(item);
        self.tables.hosts.get(&home).is_some_and(is_coming) && !address.back_off.contains(&home)
    }

    /// Nobody serves it.
    fn assign(&mut self, item: &Item, row: &AddressRow, preferred: Option<HostId>) {
        if self.tables.frozen || self.tables.unknown_holdings || preferred.is_some_and(|home| self.is_coming(home, item, row)) {
            return;
        }
        match self.choose(item, row, preferred) {
            Choice::Host(to) => {
                let reason = if Some(to) == preferred { Reason::Home } else { Reason::Assigned };
                self.count(to, row);
                let decision =
                    Decision { kind: CommandKind::Acquire, to, item: item.clone(), prefix: row.prefix, epoch: row.epoch.next(), reason };
                self.outcome.decisions.push(decision);
            }
            Choice::Nobody(why) => {
                self.outcome.cannot_assign.insert(item.clone(), why);
            }
        }
    }

    /// The preferred host if it may take it; else a spare; else a non-spare. For a floating address: anybody.
    fn choose(&self, item: &Item, row: &AddressRow, preferred: Option<HostId>) -> Choice {
        let candidates = |spare: Option<bool>| -> Vec<HostId> {
            let hosts = self.tables.hosts.iter();
            let fits = hosts.filter(|(id, host)| spare.is_none_or(|spare| host.spare == spare) && self.may_take(**id, host, item, row));
            fits.map(|(id, _)| *id).collect()
        };
        let everybody = candidates(None);
        if let Some(home) = preferred.filter(|home| everybody.contains(home)) {
            return Choice::Host(home);
        }
        if everybody.is_empty() {
            return Choice::Nobody(self.why_nobody(item, row));
        }
        let list = if row.floating && row.preferred_by.is_empty() {
            let fewest = everybody.iter().map(|host| self.given_to(*host).floating).min();
            everybody.into_iter().filter(|host| Some(self.given_to(*host).floating) == fewest).collect()
        } else {
            let spares = candidates(Some(true));
            if spares.is_empty() { candidates(Some(false)) } else { spares }
        };
        self.pick(item, row.epoch.next(), &list).map_or(Choice::Nobody("no host is eligible"), Choice::Host)
    }

    fn given_to(&self, host: HostId) -> Given {
        self.given.get(&host).copied().unwrap_or_default()
    }

    fn utilization(&self, host: HostId) -> u64 {
        self.tables.hosts.get(&host).map_or(u64::MAX, |row| row.utilization)
    }

    /// Within a list as `assign` says; ties go to the lowest id.
    fn pick(&self, item: &Item, epoch: Epoch, list: &[HostId]) -> Option<HostId> {
        match self.tables.assign {
            Assign::Random => {
                let count = u64::try_from(list.len()).ok().filter(|count| *count > 0)?;
                let drawn = extent::draw(&self.tables.group, item, epoch.0) % count;
                usize::try_from(drawn).ok().and_then(|drawn| list.get(drawn)).copied()
            }
            Assign::Fair => list.iter().copied().min_by_key(|host| (self.given_to(*host).addresses, self.utilization(*host), *host)),
            Assign::LeastLoaded => list.iter().copied().min_by_key(|host| (self.utilization(*host), self.given_to(*host).addresses, *host)),
        }
    }

    fn why_nobody(&self, item: &Item, row: &AddressRow) -> &'static str {
        let eligible: Vec<(&HostId, &HostRow)> = self.tables.hosts.iter().filter(|(_, host)| host.is_eligible()).collect();
        if eligible.is_empty() {
            "no host is ok, settled and not quiesced"
        } else if !eligible.iter().any(|(_, host)| host.accepts(item)) {
            "no eligible host accepts it"
        } else if eligible.iter().all(|(id, host)| !host.accepts(item) || row.back_off.contains(id)) {
            "every eligible host has failed to acquire it and is in back-off"
        } else {
            "no host is eligible"
        }
    }

    /// One host serves it: it stays, unless its preferred host is wanted home or the holder has to give it up.
    fn send_home_or_away(&mut self, item: &Item, row: &AddressRow, preferred: Option<HostId>) {
        if self.tables.frozen {
            return;
        }
        let Some(holder) = row.holders.keys().next().copied() else { return };
        let others: Vec<HostId> = vec![holder];
        if preferred.is_some_and(|home| home != holder && self.is_wanted_home(home, item, row)) {
            self.release(item, row, others, Reason::Home);
            return;
        }
        let Some(host) = self.tables.hosts.get(&holder) else { return };
        if host.is_fit_to_keep() {
            return;
        }
        // Nothing is released without an eligible place to go, nor before it could be given to it.
        let next = self.home(row, Some(holder));
        if self.tables.unknown_holdings || next.is_some_and(|home| self.is_coming(home, item, row)) {
            return;
        }
        if let Choice::Host(_) = self.choose(item, row, next) {
            let reason = if host.duty == Duty::Draining { Reason::Drained } else { Reason::TestFailed };
            self.release(item, row, others, reason);
        }
    }

    fn is_wanted_home(&self, home: HostId, item: &Item, address: &AddressRow) -> bool {
        let Some(row) = self.tables.hosts.get(&home) else { return false };
        let well = match self.tables.failback {
            Failback::After(well_for) => row.well_for >= well_for,
            Failback::Never => false,
        };
        well && !self.tables.unknown_holdings && self.may_take(home, row, item, address)
    }

    /// Several serve it: the preferred host keeps it, else a spare, else one at random.
    fn settle_duplicate(&mut self, item: &Item, row: &AddressRow, preferred: Option<HostId>) {
        let holders: Vec<HostId> = row.holders.keys().copied().collect();
        let row_of = |host: &HostId| self.tables.hosts.get(host);
        let may_stay: Vec<HostId> = holders.iter().copied().filter(|host| row_of(host).is_some_and(HostRow::is_fit_to_keep)).collect();
        let list = if may_stay.is_empty() { &holders } else { &may_stay };
        let home = preferred.filter(|home| holders.contains(home) && row_of(home).is_some_and(|host| host.ok && host.duty == Duty::Active));
        let spares: Vec<HostId> = list.iter().copied().filter(|host| row_of(host).is_some_and(|host| host.spare)).collect();
        let keeps = home.or_else(|| self.pick_at_random(item, row, &spares)).or_else(|| self.pick_at_random(item, row, list));
        let Some(keeps) = keeps else { return };
        self.outcome.duplicates.insert(item.clone(), keeps);
        let others = holders.into_iter().filter(|host| *host != keeps).collect();
        self.release(item, row, others, Reason::Duplicate);
    }

    fn pick_at_random(&self, item: &Item, row: &AddressRow, list: &[HostId]) -> Option<HostId> {
        let count = u64::try_from(list.len()).ok().filter(|count| *count > 0)?;
        let drawn = extent::draw(&self.tables.group, item, row.epoch.0) % count;
        usize::try_from(drawn).ok().and_then(|drawn| list.get(drawn)).copied()
    }

    fn release(&mut self, item: &Item, row: &AddressRow, from: Vec<HostId>, reason: Reason) {
        for to in from {
            let Some(holder) = row.holders.get(&to).filter(|holder| holder.state == ItemState::Online && !holder.commanded) else {
                continue;
            };
            let decision = Decision { kind: CommandKind::Release, to, item: item.clone(), prefix: row.prefix, epoch: holder.epoch, reason };
            self.outcome.decisions.push(decision);
        }
    }
}

enum Choice {
    Host(HostId),
    Nobody(&'static str),
}

#[cfg(test)]
mod tests;
