//! Builds what the control step and the zone read from what this host knows.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Monitor;
use super::control::{AddressRow, Evening, Holder, HostRow, Tables};
use super::hosts::Host;
use super::items::Claims;
use super::zone::{self, Candidate};
use crate::types::host::{Duty, HostId, HostItem, Role};
use crate::types::item::{Epoch, Item, ItemState};
use crate::types::time::Time;

impl Monitor {
    /// What the live hosts, this one included, say of each address.
    pub(super) fn claims(&self, own: &BTreeMap<Item, HostItem>) -> BTreeMap<Item, Claims> {
        let mut claims: BTreeMap<Item, Claims> = BTreeMap::new();
        let others = self.hosts.live().flat_map(|(id, host)| host.entry.items().map(move |item| (id, item)));
        for (id, item) in own.values().map(|item| (self.identity.id, item)).chain(others) {
            let claim = claims.entry(item.item.clone()).or_default();
            if item.preferred {
                claim.preferred_by.insert(id);
            }
            if item.floating {
                claim.floated_by.insert(id);
            }
            claim.is_ours |= id == self.identity.id && (item.preferred || item.floating);
            claim.home_served |= item.preferred && item.state == ItemState::Online;
            claim.home_excused |= item.preferred && self.duty_of(id) != Duty::Active;
            claim.epoch = claim.epoch.max(item.epoch);
            // Several prefixes for one address are a conflict of configurations; the longest claims least.
            claim.prefix = claim.prefix.max(item.prefix);
        }
        claims
    }

    fn duty_of(&self, id: HostId) -> Duty {
        if id == self.identity.id { self.duty } else { self.hosts.get(id).map_or(Duty::Active, |host| host.head.duty) }
    }

    /// Addresses that have come to their end, with the reason: only for the leader to decide.
    pub(super) fn expired_items(&self, now: Time, claims: &BTreeMap<Item, Claims>) -> Vec<(Item, String)> {
        let everybody_is_here = self.hosts.all().all(|(_, host)| host.is_live() && host.whole);
        let mut expired = Vec::new();
        for (item, known) in self.items.living() {
            if claims.get(item).is_some_and(|claims| !claims.preferred_by.is_empty() || !claims.floated_by.is_empty()) {
                continue;
            }
            if known.remaining(now).is_zero() {
                expired.push((item.clone(), "orphan lifetime has ended".to_owned()));
            } else if let Some(host) = known.preferred_host {
                if self.is_live_and_whole(host) {
                    expired.push((item.clone(), format!("{host} is live and does not prefer it any more")));
                }
            } else if known.floating && everybody_is_here {
                expired.push((item.clone(), "no host floats it any more".to_owned()));
            }
        }
        expired
    }

    fn is_live_and_whole(&self, id: HostId) -> bool {
        id == self.identity.id || self.hosts.get(id).is_some_and(|host| host.is_live() && host.whole)
    }

    /// The control tables.
    pub(super) fn tables(&self, now: Time, own: &BTreeMap<Item, HostItem>) -> Tables {
        let slowest = self.slowest();
        let settles_within = slowest.timeout + slowest.heartbeat * 2;
        let mut hosts: BTreeMap<HostId, HostRow> = self.hosts.live().map(|(id, host)| (id, host_row(now, host, settles_within))).collect();
        hosts.insert(self.identity.id, self.own_row(now));
        let extent = self.items.extent();
        Tables {
            group: self.policy.name.clone(),
            assign: self.policy.shared.assign,
            failback: self.policy.shared.failback,
            evening: Evening::Off,
            frozen: self.is_frozen(now),
            unknown_holdings: self.hosts.live().any(|(_, host)| !host.whole),
            databases_agree: self.hosts.live().all(|(_, host)| host.whole && host.head.database == extent),
            hosts,
            addresses: self.address_rows(now, own),
        }
    }

    fn own_row(&self, now: Time) -> HostRow {
        HostRow {
            ok: self.is_ok(),
            ready: true,
            settled: self.settled,
            starting: false,
            duty: self.duty,
            spare: self.policy.preferred.is_empty(),
            utilization: zone::utilization(self.load.load, self.load.capacity),
            accept: self.policy.accept.clone(),
            well_for: self.well_since.map_or_else(Default::default, |since| now.since(since)),
        }
    }

    fn address_rows(&self, now: Time, own: &BTreeMap<Item, HostItem>) -> BTreeMap<Item, AddressRow> {
        let mut rows: BTreeMap<Item, AddressRow> = BTreeMap::new();
        for (item, known) in self.items.living() {
            let epoch = known.epoch.max(self.commands.given(item));
            let doublings = known.returns.map_or(0, |returns| returns.doublings(now));
            let (prefix, floating) = (known.prefix, known.floating);
            let row = AddressRow { prefix, known: true, floating, epoch, doublings, ..AddressRow::default() };
            rows.insert(item.clone(), row);
        }
        for (id, host) in self.hosts.live() {
            for held in host.entry.items() {
                let commanded = self.commands.is_pending(id, &held.item);
                add_claim(&mut rows, id, held, commanded, !host.back_off(now, &held.item).is_zero());
            }
        }
        for (item, held) in own {
            let in_back_off = self.holdings.failures().is_in_back_off(now, item);
            add_claim(&mut rows, self.identity.id, held, false, in_back_off);
        }
        for (id, item) in self.commands.in_back_off(now) {
            if let Some(row) = rows.get_mut(item) {
                row.back_off.insert(id);
            }
        }
        for (id, item, epoch) in self.commands.pending_acquires() {
            if let Some(row) = rows.get_mut(item) {
                row.holders.entry(id).or_insert(Holder { state: ItemState::Acquiring, epoch, commanded: true, pinned: false });
            }
        }
        rows
    }

    /// The preferred addresses of live hosts, for the zone.
    pub(super) fn candidates(&self, own: &BTreeMap<Item, HostItem>) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for (item, held) in own {
            if let (Item::Address(address), true) = (item, held.preferred) {
                candidates.push(Candidate {
                    host: self.identity.id,
                    address: *address,
                    ok: self.is_ok(),
                    duty: self.duty,
                    serving: held.state == ItemState::Online,
                    load: self.load.load,
                    capacity: self.load.capacity,
                });
            }
        }
        for (id, host) in self.hosts.live() {
            for held in host.entry.items().filter(|held| held.preferred) {
                if let Some(address) = held.item.address() {
                    candidates.push(Candidate {
                        host: id,
                        address,
                        ok: host.head.ok && host.head.role == Role::Server,
                        duty: host.head.duty,
                        serving: held.state == ItemState::Online,
                        load: host.head.load,
                        capacity: host.head.capacity,
                    });
                }
            }
        }
        candidates
    }
}

fn host_row(now: Time, host: &Host, settles_within: Duration) -> HostRow {
    HostRow {
        ok: host.head.ok && host.head.role == Role::Server,
        ready: host.whole && !host.head.restarting,
        settled: host.head.settled,
        starting: host.head.uptime < settles_within,
        duty: host.head.duty,
        spare: host.head.spare,
        utilization: zone::utilization(host.head.load, host.head.capacity),
        accept: host.entry.detail().map(|detail| detail.accept.clone()).unwrap_or_default(),
        well_for: host.well_since.map_or_else(Default::default, |since| now.since(since)),
    }
}

/// One host's word on one address.
fn add_claim(rows: &mut BTreeMap<Item, AddressRow>, id: HostId, item: &HostItem, commanded: bool, in_back_off: bool) {
    let is_held = item.state.is_held();
    let row = match rows.get_mut(&item.item) {
        Some(row) => row,
        // Held, but unknown or expired.
        None if is_held => rows.entry(item.item.clone()).or_insert_with(|| AddressRow { prefix: item.prefix, ..AddressRow::default() }),
        None => return,
    };
    row.epoch = row.epoch.max(item.epoch).max(Epoch(0));
    if item.preferred {
        row.preferred_by.insert(id);
    }
    if is_held {
        row.holders.insert(id, Holder { state: item.state, epoch: item.epoch, commanded, pinned: item.pinned });
    }
    if in_back_off {
        row.back_off.insert(id);
    }
}
