//! The leader's tables and decisions: a pure function from the two databases to acquire and release.
//!
//! The tables are those of the seed (figure 6B): per address its state, its preferred host and who claims to serve it; the
//! list of spares and the list of eligible hosts that are none. Every rule of the control step in `behaviour.md` is one
//! function here. Called by `monitor.rs` with tables built from what the leader knows, and by `simulate.rs` with tables built
//! from a view; owns and remembers nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;

use super::balance::{self, Floating, Place};
use super::extent;
use super::returns;
use super::rule::{List, NotHome, Rule, Unfit};
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
    pub(crate) evening: Evening,
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

impl Tables {
    /// The preferred host.
    pub(crate) fn preferred_host(&self, row: &AddressRow) -> Option<HostId> {
        self.home(row, None)
    }

    /// Of several hosts that prefer an address: the one that holds it, an active one first, else the lowest eligible, else the
    /// lowest. One that is not ok counts only if all are not. `without`: a host that lets go of it.
    fn home(&self, row: &AddressRow, without: Option<HostId>) -> Option<HostId> {
        let rank = |id: &HostId| match self.hosts.get(id) {
            Some(host) if !host.ok => 4,
            Some(host) if row.holders.contains_key(id) => u8::from(host.duty != Duty::Active),
            Some(host) if host.is_eligible() => 2,
            Some(_) => 3,
            None => 5,
        };
        row.preferred_by.iter().copied().filter(|id| Some(*id) != without).min_by_key(|id| (rank(id), *id))
    }
}

/// Whether floating addresses are evened out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Evening {
    /// What is held stays.
    Off,
    /// They have been uneven for `rebalance`.
    Due,
    /// The operator asks for it: pins yield as well.
    Asked,
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

    /// Whether it may be given this item.
    pub(crate) fn accepts(&self, item: &Item) -> bool {
        self.accept.is_empty() || self.names(item)
    }

    /// Whether its `accept` list holds the item.
    fn names(&self, item: &Item) -> bool {
        match item {
            Item::Address(address) => self.accept.iter().any(|network| network.contains(address)),
            // Data sets are placed by the swarm.
            Item::DataSet(_) => false,
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
    /// How often `failback` is doubled for it.
    pub(crate) doublings: u32,
    /// Where the operator wants it.
    pub(crate) ordered: Option<HostId>,
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
    /// The operator has moved it here: it stays until another reason moves it.
    pub(crate) pinned: bool,
}

impl Holder {
    fn is_at_rest(&self) -> bool {
        self.state == ItemState::Online && !self.commanded
    }
}

impl AddressRow {
    /// Served though nobody prefers it.
    pub(crate) fn is_floating(&self) -> bool {
        self.floating && self.preferred_by.is_empty()
    }

    /// Some holder is acquiring or releasing, or has been told to.
    pub(crate) fn is_moving(&self) -> bool {
        self.holders.values().any(|holder| !holder.is_at_rest())
    }
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
    Step::new(tables, None).run().0
}

/// The same step, with the rule that it used for each address.
#[must_use]
pub(crate) fn control_explained(tables: &Tables) -> (Outcome, BTreeMap<Item, Rule>) {
    let (outcome, rules) = Step::new(tables, Some(BTreeMap::new())).run();
    (outcome, rules.unwrap_or_default())
}

/// Whether evening out would move any floating address.
#[must_use]
pub(crate) fn is_uneven(tables: &Tables) -> bool {
    let mut step = Step::new(tables, None);
    step.spread_floating(Evening::Due);
    tables.addresses.iter().any(|(item, row)| {
        let Some((holder, held)) = row.holders.first_key_value().filter(|_| row.holders.len() == 1) else { return false };
        held.is_at_rest() && step.may_keep(*holder, item) && step.targets.get(item).is_some_and(|target| target != holder)
    })
}

struct Step<'a> {
    tables: &'a Tables,
    /// How many addresses a host holds, counted along as the step gives out more.
    given: BTreeMap<HostId, u32>,
    /// Where floating addresses belong.
    targets: BTreeMap<&'a Item, HostId>,
    outcome: Outcome,
    /// The rules used, if somebody wants to know.
    rules: Option<BTreeMap<Item, Rule>>,
}

impl<'a> Step<'a> {
    fn new(tables: &'a Tables, rules: Option<BTreeMap<Item, Rule>>) -> Self {
        Self { tables, given: BTreeMap::new(), targets: BTreeMap::new(), outcome: Outcome::default(), rules }
    }

    fn run(mut self) -> (Outcome, Option<BTreeMap<Item, Rule>>) {
        self.count_holdings();
        self.spread_floating(self.tables.evening);
        for (item, row) in &self.tables.addresses {
            let rule = self.place(item, row);
            if let Some(rules) = &mut self.rules {
                rules.insert(item.clone(), rule);
            }
        }
        (self.outcome, self.rules)
    }

    fn count_holdings(&mut self) {
        for row in self.tables.addresses.values() {
            for host in row.holders.keys() {
                self.count(*host);
            }
        }
    }

    fn count(&mut self, host: HostId) {
        *self.given.entry(host).or_default() += 1;
    }

    /// Where each floating address belongs: so that the numbers of floating addresses differ by at most one among the hosts
    /// that share them, with the least movement. Only evening out moves what is held.
    fn spread_floating(&mut self, evening: Evening) {
        let floating: Vec<(&Item, &AddressRow)> = self.tables.addresses.iter().filter(|(_, row)| row.known && row.is_floating()).collect();
        // Which of several holders keeps an address is settled first.
        let evening = if floating.iter().any(|(_, row)| row.holders.len() > 1) { Evening::Off } else { evening };
        let stays = |(item, row): &(&Item, &AddressRow)| row.holders.keys().any(|host| self.may_keep(*host, item)) || row.is_moving();
        let nothing_to_do = evening == Evening::Off && floating.iter().all(stays);
        if floating.is_empty() || nothing_to_do || self.tables.unknown_holdings || self.tables.frozen {
            return;
        }
        let hosts: Vec<HostId> = self.tables.hosts.iter().filter(|(_, host)| host.is_eligible()).map(|(id, _)| *id).collect();
        let addresses: Vec<(&Item, &AddressRow, Floating)> = floating
            .into_iter()
            .filter_map(|(item, row)| {
                Some((item, row, Floating { place: self.place_of(item, row, evening, &hosts)?, may: self.may(item, row, &hosts) }))
            })
            .collect();
        let rows: Vec<Floating> = addresses.iter().map(|(_, _, floating)| floating.clone()).collect();
        let spread = balance::spread(hosts.len(), &rows, |index, list| {
            let (item, row, _) = addresses.get(index)?;
            let list: Vec<HostId> = list.iter().filter_map(|host| hosts.get(*host)).copied().collect();
            let picked = self.pick(item, row.epoch.next(), &list)?;
            hosts.iter().position(|host| *host == picked)
        });
        for ((item, row, _), at) in addresses.into_iter().zip(spread) {
            let Some(host) = at.and_then(|at| hosts.get(at)).copied() else { continue };
            self.targets.insert(item, host);
            if row.holders.is_empty() {
                self.count(host);
            }
        }
    }

    /// How an address counts for the spread; `None`: it is with a host that is out of it, and stays there.
    fn place_of(&self, item: &Item, row: &AddressRow, evening: Evening, hosts: &[HostId]) -> Option<Place> {
        let number = |host: HostId| hosts.iter().position(|known| *known == host);
        if let Some(ordered) = self.order(item, row) {
            return number(ordered).map(Place::Fixed);
        }
        let mut places = row.holders.iter().filter(|(_, holder)| match holder.state {
            ItemState::Acquiring | ItemState::Online => true,
            // On its way to another.
            ItemState::NotServing | ItemState::Releasing => false,
        });
        let Some((host, holder)) = places.next() else { return Some(Place::Free) };
        if !self.may_keep(*host, item) {
            return Some(Place::Free);
        }
        let yields = match evening {
            Evening::Off => false,
            Evening::Due => !holder.pinned,
            Evening::Asked => true,
        };
        number(*host).map(|host| if yields && holder.is_at_rest() { Place::Held(host) } else { Place::Fixed(host) })
    }

    /// The hosts that a floating address may come to: those whose `accept` names it, before those that accept anything.
    fn may(&self, item: &Item, row: &AddressRow, hosts: &[HostId]) -> Vec<usize> {
        let fits = |named: bool| -> Vec<usize> {
            let fits = |id: &HostId| {
                let host = self.tables.hosts.get(id);
                host.is_some_and(|host| host.accepts(item) && (!named || host.names(item)) && !row.back_off.contains(id))
            };
            hosts.iter().enumerate().filter(|(_, id)| fits(id)).map(|(number, _)| number).collect()
        };
        let named = fits(true);
        if named.is_empty() { fits(false) } else { named }
    }

    /// Whether what a host holds may stay there.
    fn may_keep(&self, host: HostId, item: &Item) -> bool {
        self.tables.hosts.get(&host).is_some_and(|row| row.is_fit_to_keep() && row.accepts(item))
    }

    /// Where the operator wants it, if that host has it and may keep it, or may take it.
    fn order(&self, item: &Item, row: &AddressRow) -> Option<HostId> {
        let to = row.ordered?;
        let host = self.tables.hosts.get(&to)?;
        let keeps = row.holders.contains_key(&to) && self.may_keep(to, item);
        (keeps || self.may_take(to, host, item, row)).then_some(to)
    }

    /// Everything about one address. Says which rule applies.
    fn place(&mut self, item: &Item, row: &AddressRow) -> Rule {
        if !row.known {
            if self.tables.databases_agree && !self.tables.frozen {
                self.release(item, row, row.holders.keys().copied().collect(), Reason::Expired);
                return Rule::Unknown;
            }
            return if self.tables.frozen { Rule::Frozen } else { Rule::UnknownWaits };
        }
        let preferred = self.preferred_host(item, row);
        if let Some((on, holder)) = row.holders.iter().find(|(_, holder)| !holder.is_at_rest()) {
            return Rule::Waits { on: *on, state: holder.state };
        }
        let mut holders = row.holders.iter();
        match (holders.next(), holders.next()) {
            (None, _) => self.assign(item, row, preferred),
            (Some((holder, held)), None) => self.send_home_or_away(item, row, preferred, *holder, held.pinned),
            (Some((first, _)), Some(_)) => self.settle_duplicate(item, row, preferred, *first),
        }
    }

    /// The preferred host; that several claim to be it is told.
    fn preferred_host(&mut self, item: &Item, row: &AddressRow) -> Option<HostId> {
        let chosen = self.tables.preferred_host(row);
        if let Some(chosen) = chosen.filter(|_| row.preferred_by.len() > 1) {
            self.outcome.conflicts.insert(item.clone(), chosen);
        }
        chosen
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
    fn assign(&mut self, item: &Item, row: &AddressRow, preferred: Option<HostId>) -> Rule {
        if self.tables.frozen {
            return Rule::Frozen;
        }
        if self.tables.unknown_holdings {
            return Rule::WaitsForEntries;
        }
        // What the operator wants does not wait for the preferred host.
        let unordered = preferred.filter(|_| self.order(item, row).is_none());
        if let Some(home) = unordered.filter(|home| self.is_coming(*home, item, row)) {
            return Rule::WaitsForHome { home };
        }
        match self.choose(item, row, preferred) {
            Choice::Host(to) => {
                let reason = if row.ordered == Some(to) {
                    Reason::Moved
                } else if Some(to) == preferred {
                    Reason::Home
                } else {
                    Reason::Assigned
                };
                if !row.is_floating() {
                    self.count(to);
                }
                let decision =
                    Decision { kind: CommandKind::Acquire, to, item: item.clone(), prefix: row.prefix, epoch: row.epoch.next(), reason };
                self.outcome.decisions.push(decision);
                Rule::Assigned { to, list: self.list_of(to, row, preferred) }
            }
            Choice::Nobody(why) => {
                self.outcome.cannot_assign.insert(item.clone(), why);
                Rule::CannotAssign { why }
            }
        }
    }

    /// From which list the host was chosen.
    fn list_of(&self, to: HostId, row: &AddressRow, preferred: Option<HostId>) -> List {
        if row.ordered == Some(to) {
            List::Ordered
        } else if Some(to) == preferred {
            List::Home
        } else if row.is_floating() {
            List::Spread
        } else if self.tables.hosts.get(&to).is_some_and(|host| host.spare) {
            List::Spares
        } else {
            List::Servers
        }
    }

    /// Where the operator wants it; the preferred host if it may take it; else a spare; else a non-spare. A floating address:
    /// where the spread has it.
    fn choose(&self, item: &Item, row: &AddressRow, preferred: Option<HostId>) -> Choice {
        let candidates = |spare: Option<bool>| -> Vec<HostId> {
            let hosts = self.tables.hosts.iter();
            let fits = hosts.filter(|(id, host)| spare.is_none_or(|spare| host.spare == spare) && self.may_take(**id, host, item, row));
            fits.map(|(id, _)| *id).collect()
        };
        let everybody = candidates(None);
        if let Some(ordered) = row.ordered.filter(|ordered| everybody.contains(ordered)) {
            return Choice::Host(ordered);
        }
        if let Some(home) = preferred.filter(|home| everybody.contains(home)) {
            return Choice::Host(home);
        }
        if everybody.is_empty() {
            return Choice::Nobody(self.why_nobody(item, row));
        }
        let chosen = if row.is_floating() {
            self.targets.get(item).copied()
        } else {
            let spares = candidates(Some(true));
            let list = if spares.is_empty() { candidates(Some(false)) } else { spares };
            self.pick(item, row.epoch.next(), &list)
        };
        chosen.map_or(Choice::Nobody("no host is eligible"), Choice::Host)
    }

    fn given_to(&self, host: HostId) -> u32 {
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
            Assign::Fair => list.iter().copied().min_by_key(|host| (self.given_to(*host), self.utilization(*host), *host)),
            Assign::LeastLoaded => list.iter().copied().min_by_key(|host| (self.utilization(*host), self.given_to(*host), *host)),
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

    /// One host serves it: it stays, unless the operator or its preferred host wants it, the holder has to give it up, or
    /// floating addresses are evened out.
    fn send_home_or_away(&mut self, item: &Item, row: &AddressRow, preferred: Option<HostId>, holder: HostId, pinned: bool) -> Rule {
        if self.tables.frozen {
            return Rule::Frozen;
        }
        let rule = self.stays_or_leaves(item, row, holder, pinned, preferred);
        if let Some(reason) = rule.release_reason() {
            self.release(item, row, vec![holder], reason);
        }
        rule
    }

    /// Why a holder keeps an address, or is to give it up. Nothing is released without an eligible place to go.
    fn stays_or_leaves(&self, item: &Item, row: &AddressRow, at: HostId, pinned: bool, preferred: Option<HostId>) -> Rule {
        let ordered = self.order(item, row);
        if let Some(to) = ordered.filter(|ordered| *ordered != at && !self.tables.unknown_holdings) {
            return Rule::Moves { from: at, to };
        }
        let away = preferred.filter(|home| *home != at).map(|home| (home, self.why_not_home(home, item, row)));
        if let Some((to, None)) = away.filter(|_| !pinned && ordered.is_none()) {
            return Rule::GoesHome { from: at, to };
        }
        let Some(host) = self.tables.hosts.get(&at) else { return Rule::StaysPut { at } };
        if self.may_keep(at, item) {
            let target = self.targets.get(item).copied().filter(|target| *target != at);
            return match (target, away) {
                (Some(to), _) => Rule::Rebalances { from: at, to },
                (None, _) if preferred == Some(at) => Rule::StaysAtHome { at },
                (None, _) if pinned || ordered.is_some() => Rule::StaysPinned { at },
                (None, Some((home, Some(because)))) => Rule::StaysAway { at, home, because },
                (None, Some((_, None)) | None) => Rule::StaysPut { at },
            };
        }
        // Nor is it released before it could be given on.
        if self.tables.unknown_holdings {
            return Rule::WaitsForEntries;
        }
        let next = self.tables.home(row, Some(at));
        if let Some(home) = next.filter(|home| self.is_coming(*home, item, row)) {
            return Rule::WaitsForHome { home };
        }
        let because = if host.duty == Duty::Draining {
            Unfit::Draining
        } else if !host.ok {
            Unfit::NotOk
        } else {
            Unfit::NotAccepted
        };
        match self.choose(item, row, next) {
            Choice::Host(_) => Rule::Leaves { from: at, because },
            Choice::Nobody(_) => Rule::NowhereToGo { at, because },
        }
    }

    /// Why the preferred host is not wanted home, if it is not.
    fn why_not_home(&self, home: HostId, item: &Item, address: &AddressRow) -> Option<NotHome> {
        let Some(row) = self.tables.hosts.get(&home) else { return Some(NotHome::NotLive) };
        if let Some(obstacle) = row.obstacle() {
            return Some(NotHome::NotEligible(obstacle));
        }
        if !row.accepts(item) {
            return Some(NotHome::NotAccepted);
        }
        if address.back_off.contains(&home) {
            return Some(NotHome::BackOff);
        }
        if self.tables.unknown_holdings {
            return Some(NotHome::EntriesIncomplete);
        }
        let Some(wait) = returns::wait(self.tables.failback, address.doublings) else { return Some(NotHome::Never) };
        let left = wait.saturating_sub(row.well_for);
        (!left.is_zero()).then_some(NotHome::TooSoon { wait, left, doublings: address.doublings })
    }

    /// Several serve it: the preferred host keeps it, else a spare, else one at random.
    fn settle_duplicate(&mut self, item: &Item, row: &AddressRow, preferred: Option<HostId>, first: HostId) -> Rule {
        let holders: Vec<HostId> = row.holders.keys().copied().collect();
        let row_of = |host: &HostId| self.tables.hosts.get(host);
        let may_stay: Vec<HostId> = holders.iter().copied().filter(|host| row_of(host).is_some_and(HostRow::is_fit_to_keep)).collect();
        let list = if may_stay.is_empty() { &holders } else { &may_stay };
        let home = preferred.filter(|home| holders.contains(home) && row_of(home).is_some_and(|host| host.ok && host.duty == Duty::Active));
        let spares: Vec<HostId> = list.iter().copied().filter(|host| row_of(host).is_some_and(|host| host.spare)).collect();
        let keeps = home.or_else(|| self.pick_at_random(item, row, &spares)).or_else(|| self.pick_at_random(item, row, list));
        let keeps = keeps.unwrap_or(first);
        self.outcome.duplicates.insert(item.clone(), keeps);
        let others = holders.into_iter().filter(|host| *host != keeps).collect();
        self.release(item, row, others, Reason::Duplicate);
        Rule::Duplicate { keeps }
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
pub(crate) mod tests;
