//! What would move where: the control step of the daemon, repeated on tables built from a view until nothing changes.
//!
//! Takes what `status` says, live or from a file, and what is assumed of some hosts; changes nothing anywhere. Time does not
//! pass: it shows where everything ends when `failback` and `rebalance` have had theirs, when what is being acquired or
//! released is done, every acquire has worked, and the entries of all live hosts have arrived. Back-offs last. Called by
//! `raisctl simulate`, and by `raisctl status` for its sentence on the loss of any one host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::monitor::control::{self, AddressRow, Evening, Holder, HostRow, Outcome, Tables};
use super::monitor::zone::{self, Candidate};
use crate::types::host::{Duty, HostId, Role};
use crate::types::item::{Epoch, Item, ItemState, Reason};
use crate::types::message::CommandKind;
use crate::types::policy::{AllFailed, Failback, ZonePolicy};
use crate::types::view::{AddressView, GroupView, HostView, View, WithheldView, ZonePolicyView, ZoneView};

/// The control step comes to rest after a handful of rounds; more than this would be a circle.
const ROUNDS_MAX: usize = 64;

/// What is assumed of some hosts, named by id or name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Assumptions {
    /// They vanish.
    pub fail: Vec<String>,
    /// They acquire nothing and keep what they serve.
    pub quiesce: Vec<String>,
    /// They come, or come back, and are well. An id that no group knows stands for a hot spare.
    pub join: Vec<String>,
}

/// Why nothing can be simulated. Whoever named the host is at fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimulateError {
    /// No group of the view has such a host.
    #[error("no host {host:?} in this state; it knows {}", known.join(", "))]
    UnknownHost {
        /// As it was named.
        host: String,
        /// The names and ids of those that are known.
        known: Vec<String>,
    },
    /// Only a host that is known can be named by name.
    #[error("no host {host:?} in this state: a host that joins and is not known is named by its id, an address; it knows {}", known.join(", "))]
    UnknownJoiner {
        /// As it was named.
        host: String,
        /// The names and ids of those that are known.
        known: Vec<String>,
    },
}

/// What would happen.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Simulation {
    /// Version of this form: 1.
    pub version: u32,
    /// In the order of the view.
    pub groups: Vec<GroupSimulation>,
}

impl Simulation {
    /// Whether every address would end served.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.groups.iter().all(|group| group.unserved.is_empty())
    }
}

/// What would happen in one group.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GroupSimulation {
    /// Its name.
    pub name: String,
    /// Addresses that would end elsewhere than they are.
    pub moves: Vec<Move>,
    /// All addresses after the moves, as in `status`.
    pub addresses: Vec<AddressView>,
    /// Addresses that nobody would serve.
    pub unserved: Vec<IpAddr>,
    /// The zone after the moves, as in `status`.
    pub zone: Option<ZoneView>,
}

/// An address that would end elsewhere than it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Move {
    /// The address.
    pub address: IpAddr,
    /// Who serves it.
    pub from: Vec<HostId>,
    /// Who would.
    pub to: HostId,
    /// Why: a word of the list of reasons.
    pub reason: Reason,
}

/// What would happen in all groups of a view.
///
/// # Errors
/// A host that is named is not known.
pub fn simulate(view: &View, assumptions: &Assumptions) -> Result<Simulation, SimulateError> {
    let hosts = || view.groups.iter().flat_map(|group| &group.hosts);
    let known = || -> Vec<String> {
        let named: BTreeSet<String> = hosts().map(called).collect();
        named.into_iter().collect()
    };
    let find = |name: &String| -> Option<HostId> {
        let is_meant = |host: &&HostView| host.id.to_string() == *name || (host.name == *name && !name.is_empty());
        hosts().find(is_meant).map(|host| host.id)
    };
    let resolve = |names: &[String]| -> Result<BTreeSet<HostId>, SimulateError> {
        let found = |name: &String| find(name).ok_or_else(|| SimulateError::UnknownHost { host: name.clone(), known: known() });
        names.iter().map(found).collect()
    };
    let joiner = |name: &String| -> Result<HostId, SimulateError> {
        let new = || name.parse().map_err(|_| SimulateError::UnknownJoiner { host: name.clone(), known: known() });
        find(name).map_or_else(new, Ok)
    };
    let assumed = Assumed {
        fail: resolve(&assumptions.fail)?,
        quiesce: resolve(&assumptions.quiesce)?,
        join: assumptions.join.iter().map(joiner).collect::<Result<_, _>>()?,
        strangers: assumptions.join.iter().filter(|name| find(name).is_none()).filter_map(|name| name.parse().ok()).collect(),
    };
    Ok(Simulation { version: 1, groups: view.groups.iter().map(|group| simulate_group(group, &assumed)).collect() })
}

/// Hosts whose loss would leave an address without a host, of those that are there.
#[must_use]
pub fn losses_not_survived(group: &GroupView) -> Vec<HostId> {
    let there = group.hosts.iter().filter(|host| !host.silent && host.role == Role::Server);
    let lost = |host: &&HostView| {
        let assumed = Assumed { fail: [host.id].into(), ..Assumed::default() };
        !simulate_group(group, &assumed).unserved.is_empty()
    };
    there.filter(lost).map(|host| host.id).collect()
}

fn called(host: &HostView) -> String {
    if host.name.is_empty() { host.id.to_string() } else { format!("{} ({})", host.name, host.id) }
}

/// The assumptions with the hosts that they mean.
#[derive(Clone, Debug, Default)]
struct Assumed {
    fail: BTreeSet<HostId>,
    quiesce: BTreeSet<HostId>,
    join: BTreeSet<HostId>,
    /// Of those that join, the ones that no group knows.
    strangers: BTreeSet<HostId>,
}

fn simulate_group(group: &GroupView, assumed: &Assumed) -> GroupSimulation {
    let mut pool = Pool::new(group, assumed);
    pool.give_up_what_fails();
    let mut last = Outcome::default();
    for _ in 0..ROUNDS_MAX {
        last = control::control(&pool.tables);
        if last.decisions.is_empty() {
            break;
        }
        pool.obey(&last);
    }
    let zone = pool.zone(group);
    let addresses: Vec<AddressView> = group.addresses.iter().map(|before| pool.address(group, before, zone.as_ref(), &last)).collect();
    let moves = group.addresses.iter().zip(&addresses).filter_map(|(before, after)| pool.moved(before, after)).collect();
    let unserved = addresses.iter().filter(|address| address.served_by.is_empty()).map(|address| address.address).collect();
    GroupSimulation { name: group.name.clone(), moves, addresses, unserved, zone }
}

/// The pool that is played through.
struct Pool {
    tables: Tables,
    all_failed: AllFailed,
    /// Loads of the live hosts, for the zone.
    loads: BTreeMap<HostId, (u32, u32)>,
    /// Why an address left its host, or came to one that did not have it: the first reason for each.
    reasons: BTreeMap<Item, Reason>,
}

impl Pool {
    fn new(group: &GroupView, assumed: &Assumed) -> Self {
        let live: Vec<HostView> = live_hosts(group, assumed);
        let mut addresses: BTreeMap<Item, AddressRow> = BTreeMap::new();
        for known in &group.addresses {
            let floating = known.floating || known.preferred_host.is_none();
            let row = AddressRow { prefix: known.prefix, known: true, floating, epoch: Epoch(known.epoch), ..AddressRow::default() };
            addresses.insert(Item::Address(known.address), row);
        }
        for host in &live {
            for address in &host.preferred {
                if let Some(row) = addresses.get_mut(&Item::Address(*address)) {
                    row.preferred_by.insert(host.id);
                }
            }
            for failed in host.failed.iter().filter(|failed| failed.back_off_ms > 0) {
                if let Some(row) = addresses.get_mut(&Item::Address(failed.address)) {
                    row.back_off.insert(host.id);
                }
            }
            for address in held_by(group, host) {
                let row = addresses.entry(Item::Address(address)).or_default();
                let pinned = group.addresses.iter().any(|known| known.address == address && known.pinned);
                row.holders.insert(host.id, Holder { state: ItemState::Online, epoch: row.epoch, commanded: false, pinned });
            }
        }
        let never = |text: &str| text == "never";
        let tables = Tables {
            group: group.name.clone(),
            assign: group.policy.assign,
            failback: if never(&group.policy.failback) { Failback::Never } else { Failback::After(Duration::ZERO) },
            evening: if never(&group.policy.rebalance) { Evening::Off } else { Evening::Due },
            frozen: group.frozen,
            unknown_holdings: false,
            databases_agree: true,
            hosts: live.iter().map(|host| (host.id, host_row(host))).collect(),
            addresses,
        };
        let loads = live.iter().map(|host| (host.id, (host.load, host.capacity))).collect();
        Self { tables, all_failed: group.policy.all_failed, loads, reasons: BTreeMap::new() }
    }

    /// Hosts that are not ok give everything up by themselves, unless they are told to keep it.
    fn give_up_what_fails(&mut self) {
        match self.all_failed {
            AllFailed::Release if !self.tables.frozen => {}
            AllFailed::Release | AllFailed::Keep => return,
        }
        let hosts = &self.tables.hosts;
        for (item, row) in &mut self.tables.addresses {
            let before = row.holders.len();
            row.holders.retain(|host, _| hosts.get(host).is_some_and(|host| host.ok));
            if row.holders.len() < before {
                self.reasons.insert(item.clone(), Reason::TestFailed);
            }
        }
    }

    /// Everybody does as told, at once.
    fn obey(&mut self, outcome: &Outcome) {
        for decision in &outcome.decisions {
            let Some(row) = self.tables.addresses.get_mut(&decision.item) else { continue };
            self.reasons.entry(decision.item.clone()).or_insert(decision.reason);
            match decision.kind {
                CommandKind::Acquire => {
                    let pinned = decision.reason == Reason::Moved;
                    row.epoch = decision.epoch;
                    row.holders.insert(decision.to, Holder { state: ItemState::Online, epoch: decision.epoch, commanded: false, pinned });
                }
                CommandKind::Release => {
                    row.holders.remove(&decision.to);
                }
            }
        }
    }

    fn moved(&self, before: &AddressView, after: &AddressView) -> Option<Move> {
        let [to] = after.served_by.as_slice() else { return None };
        if before.served_by == after.served_by {
            return None;
        }
        let reason = self.reasons.get(&Item::Address(after.address)).copied().unwrap_or(Reason::Assigned);
        Some(Move { address: after.address, from: before.served_by.clone(), to: *to, reason })
    }

    /// An address as `status` would show it at the end.
    fn address(&self, group: &GroupView, before: &AddressView, zone: Option<&ZoneView>, last: &Outcome) -> AddressView {
        let item = Item::Address(before.address);
        let Some(row) = self.tables.addresses.get(&item) else { return before.clone() };
        let served_by: Vec<HostId> = row.holders.keys().copied().collect();
        let stays = served_by == before.served_by;
        let preferred_host = row.preferred_by.first().copied().or(before.preferred_host);
        let orphan_remaining_ms = match preferred_host {
            Some(_) if !row.preferred_by.is_empty() => None,
            Some(_) => before.orphan_remaining_ms.or(Some(group.policy.orphan_lifetime_ms)),
            None => before.orphan_remaining_ms,
        };
        let state = if served_by.is_empty() { ItemState::NotServing } else { ItemState::Online };
        AddressView {
            preferred_host,
            state: state.as_str().to_owned(),
            kernel: served_by.clone(),
            epoch: row.epoch.0,
            since_ms: if stays { before.since_ms } else { 0 },
            reason: self.reason(&item, row, preferred_host, last),
            pinned: row.holders.values().any(|holder| holder.pinned),
            failback_remaining_ms: None,
            orphan_remaining_ms,
            advertised: zone.is_some_and(|zone| zone.advertised.contains(&before.address)),
            served_by,
            ..before.clone()
        }
    }

    fn reason(&self, item: &Item, row: &AddressRow, home: Option<HostId>, last: &Outcome) -> String {
        let holders: Vec<HostId> = row.holders.keys().copied().collect();
        match (holders.as_slice(), home) {
            ([], _) if self.tables.frozen => "the group is frozen".to_owned(),
            ([], _) => last.cannot_assign.get(item).copied().unwrap_or("no host is eligible").to_owned(),
            ([_, _, ..], _) => "held by several hosts".to_owned(),
            ([holder], Some(home)) if *holder == home => "preferred host is well".to_owned(),
            ([_], _) if row.holders.values().any(|holder| holder.pinned) => "moved here by an operator".to_owned(),
            ([_], Some(home)) => match self.tables.hosts.get(&home) {
                None => format!("preferred host {home} is not there"),
                Some(host) if host.is_eligible() => format!("preferred host {home} does not get it back"),
                Some(_) => format!("preferred host {home} is not eligible"),
            },
            ([_], None) => "floating: no host prefers it".to_owned(),
        }
    }

    fn zone(&self, group: &GroupView) -> Option<ZoneView> {
        let before = group.zone.as_ref()?;
        let policy = zone_policy(before, group.policy.zone);
        let mut candidates = Vec::new();
        for (item, row) in &self.tables.addresses {
            let Item::Address(address) = item else { continue };
            for host in &row.preferred_by {
                let Some(known) = self.tables.hosts.get(host) else { continue };
                let (load, capacity) = self.loads.get(host).copied().unwrap_or_default();
                let serving = row.holders.contains_key(host);
                candidates.push(Candidate { host: *host, address: *address, ok: known.ok, duty: known.duty, serving, load, capacity });
            }
        }
        let last: BTreeSet<IpAddr> = before.advertised.iter().copied().collect();
        let list = zone::list(&policy, &candidates, &last);
        let withheld = list.withheld.iter().filter(|(address, _)| !list.advertised.contains(address));
        let view = |(address, reason): &(IpAddr, zone::Withheld)| WithheldView {
            address: *address,
            reason: reason.as_str().to_owned(),
            detail: String::new(),
        };
        let withheld = withheld.map(view).collect();
        Some(ZoneView {
            name: before.name.clone(),
            serial: if list.advertised == last { before.serial } else { before.serial.saturating_add(1) },
            advertised: list.advertised.into_iter().collect(),
            withheld,
            nameservers: before.nameservers.clone(),
        })
    }
}

/// The hosts that are there, as assumed.
fn live_hosts(group: &GroupView, assumed: &Assumed) -> Vec<HostView> {
    let mut live = Vec::new();
    for known in &group.hosts {
        let joins = assumed.join.contains(&known.id);
        if assumed.fail.contains(&known.id) || (known.silent && !joins) {
            continue;
        }
        let mut host = known.clone();
        if joins {
            if known.silent {
                // It starts afresh; what it brings is known even if its entry is not.
                host.serving.clear();
                host.failed.clear();
                let its_own = group.addresses.iter().filter(|address| address.preferred_host == Some(known.id));
                let missing = its_own.map(|address| address.address).filter(|address| !known.preferred.contains(address));
                host.preferred.extend(missing);
                host.spare &= host.preferred.is_empty();
            }
            (host.silent, host.settled) = (false, true);
            host.ok = host.role == Role::Server;
        }
        host.quiesced |= assumed.quiesce.contains(&host.id);
        live.push(host);
    }
    live.extend(assumed.strangers.iter().filter(|id| !assumed.fail.contains(id)).map(|id| hot_spare(*id)));
    live
}

/// A host of which nothing is known but that it comes.
fn hot_spare(id: HostId) -> HostView {
    HostView {
        id,
        name: id.to_string(),
        ok: true,
        quiesced: false,
        draining: false,
        settled: true,
        silent: false,
        role: Role::Server,
        spare: true,
        is_self: false,
        age_ms: 0,
        promise_ms: None,
        load: 0,
        capacity: 1,
        utilization: Some(0.0),
        version: String::new(),
        config_hash: String::new(),
        differs: Vec::new(),
        keys: None,
        heard_by: Vec::new(),
        networks: Vec::new(),
        complete: true,
        preferred: Vec::new(),
        accept: Vec::new(),
        serving: Vec::new(),
        failed: Vec::new(),
    }
}

/// What a live host holds, or will when it has done what it is doing.
fn held_by(group: &GroupView, host: &HostView) -> BTreeSet<IpAddr> {
    let releasing = ItemState::Releasing.as_str();
    let (let_go, held): (Vec<_>, Vec<_>) = host.serving.iter().partition(|serving| serving.state == releasing);
    let said = group.addresses.iter().filter(|address| address.served_by.contains(&host.id));
    let mut held: BTreeSet<IpAddr> = held.into_iter().map(|serving| serving.address).chain(said.map(|address| address.address)).collect();
    for serving in let_go {
        held.remove(&serving.address);
    }
    held
}

fn host_row(host: &HostView) -> HostRow {
    HostRow {
        ok: host.ok && host.role == Role::Server,
        ready: true,
        settled: host.settled,
        starting: false,
        duty: match (host.draining, host.quiesced) {
            (true, _) => Duty::Draining,
            (false, true) => Duty::Quiesced,
            (false, false) => Duty::Active,
        },
        spare: host.spare,
        utilization: zone::utilization(host.load, host.capacity),
        accept: host.accept.iter().map(|accept| accept.network()).collect(),
        well_for: Duration::MAX,
    }
}

/// The marks of the zone; those of a file that does not say are the defaults of the configuration.
fn zone_policy(zone: &ZoneView, marks: Option<ZonePolicyView>) -> ZonePolicy {
    let default = ZonePolicyView { high_water: 80, low_water: 60, min_addresses: 1, when_empty: crate::types::policy::WhenEmpty::Nodata };
    let ZonePolicyView { high_water, low_water, min_addresses, when_empty } = marks.unwrap_or(default);
    ZonePolicy {
        name: zone.name.clone(),
        ttl: Duration::ZERO,
        high_water,
        low_water,
        min_addresses,
        max_answers: 0,
        when_empty,
        nameservers: Vec::new(),
        contact: String::new(),
    }
}

#[cfg(test)]
mod tests;
