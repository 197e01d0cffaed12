//! What `status` shows of a group: read from the parts, never stored.

use std::collections::BTreeMap;
use std::time::Duration;

use super::hearing::Reception;
use super::hosts::{Host, Standing};
use super::items::KnownItem;
use super::returns;
use super::{Monitor, differing_keys};
use crate::types::host::{Duty, HostDetail, HostHead, HostId, HostItem, HostKeys, KeyId, Role};
use crate::types::item::{Item, ItemState};
use crate::types::policy::{Failback, Handover};
use crate::types::time::Time;
use crate::types::view::{AddressView, FailedView, GroupView, HostView, NetworkView, PolicyView, ServingView, ZonePolicyView};

impl Monitor {
    /// The group as this host sees it.
    pub(crate) fn view(&self, now: Time) -> GroupView {
        let shared = &self.policy.shared;
        let mut problems: Vec<String> = self.problem().into_iter().collect();
        if self.policy.role == Role::Observer {
            problems.clear();
        }
        problems.extend(self.lost_multicast(now).into_iter().map(|(network, hosts)| {
            let control = self.identity.host.control.get(usize::from(network)).map_or_else(String::new, |control| format!(" ({control})"));
            format!("multicast of {} does not arrive on control network {network}{control}; unicast is used instead", hosts.join(", "))
        }));
        let mut hosts: Vec<HostView> = self.hosts.all().map(|(_, host)| self.host_view(now, host)).collect();
        hosts.push(self.own_view(now));
        hosts.sort_by_key(|host| host.id);
        for host in &mut hosts {
            host.differs = self.differs_from_leader(host.id);
        }
        GroupView {
            name: self.policy.name.clone(),
            placement: "leader".to_owned(),
            leader: self.leader,
            frozen: self.is_frozen(now),
            frozen_remaining_ms: self.frozen(now).map(millis),
            policy: PolicyView {
                assign: shared.assign,
                rebalance: shared.rebalance.map_or_else(|| "never".to_owned(), duration_text),
                failback: match shared.failback {
                    Failback::After(well_for) => duration_text(well_for),
                    Failback::Never => "never".to_owned(),
                },
                heartbeat: duration_text(self.ruling.heartbeat),
                timeout: duration_text(self.ruling.timeout),
                all_failed: self.ruling.all_failed,
                handover: Handover::Break,
                orphan_lifetime_ms: millis(shared.orphan_lifetime),
                zone: shared.zone.as_ref().map(|zone| ZonePolicyView {
                    high_water: zone.high_water,
                    low_water: zone.low_water,
                    min_addresses: zone.min_addresses,
                    when_empty: zone.when_empty,
                }),
            },
            hosts,
            addresses: self.items.living().filter_map(|(item, known)| self.address_view(now, item, known)).collect(),
            zone: self.zone_view(),
            dropped: self.dropped(),
            problems,
        }
    }

    /// What the core itself drops; the layers below count theirs.
    fn dropped(&self) -> BTreeMap<String, u64> {
        (self.unproved > 0).then(|| ("unproved".to_owned(), self.unproved)).into_iter().collect()
    }

    fn host_view(&self, now: Time, host: &Host) -> HostView {
        let items: Vec<HostItem> = host.entry.items().cloned().collect();
        let blank = blank_detail(&host.head);
        let mut view = describe(&host.head, host.entry.detail().unwrap_or(&blank), &items);
        view.name = host.name();
        view.keys = host.entry.detail().map(|detail| detail.keys.clone());
        view.silent = host.standing != Standing::Live;
        view.ok &= !view.silent;
        view.settled &= !view.silent;
        view.complete = host.whole;
        view.age_ms = millis(now.since(host.heard_at));
        view.heard_by = self.heard_by(host.head.id);
        let network = |Reception { network, multicast, unicast, loss }| NetworkView {
            network,
            multicast,
            unicast,
            loss: f64::from(loss) / f64::from(u8::MAX),
        };
        view.networks = host.links.receptions(now, self.windows()).map(network).collect();
        for failed in &mut view.failed {
            failed.back_off_ms = millis(host.back_off(now, &Item::Address(failed.address)));
        }
        view
    }

    fn own_view(&self, now: Time) -> HostView {
        let items: Vec<HostItem> = self.own_items(now).into_values().collect();
        let mut view = describe(&self.head(now, self.transmit.next_sequence()), self.own.detail(), &items);
        view.is_self = true;
        view.heard_by = self.heard_by(self.identity.id);
        view
    }

    /// Which group-wide keys of a host have other values than the leader's.
    fn differs_from_leader(&self, id: HostId) -> Vec<String> {
        let detail = |id: HostId| {
            if id == self.identity.id { Some(self.own.detail()) } else { self.hosts.get(id)?.entry.detail() }
        };
        match self.leader.and_then(detail).zip(detail(id)) {
            Some((leader, host)) => differing_keys(host, leader),
            None => Vec::new(),
        }
    }

    /// The live hosts that report hearing `id`, directly or by relay; this one included.
    pub(super) fn heard_by(&self, id: HostId) -> Vec<HostId> {
        let fresh = self.oldest_fresh();
        let hears = |host: &Host| {
            if id == self.identity.id {
                self.hosts.hears_us(host, fresh)
            } else {
                self.hosts.get(id).is_some_and(|heard| host.reported.hears(id, heard.head.boot.tag()).is_some())
            }
        };
        let others = self.hosts.live().filter(|(by, host)| *by != id && hears(host)).map(|(by, _)| by);
        let me = self.hosts.get(id).filter(|host| host.is_live()).map(|_| self.identity.id);
        let mut heard_by: Vec<HostId> = others.chain(me).collect();
        heard_by.sort_unstable();
        heard_by
    }

    fn address_view(&self, now: Time, item: &Item, known: &KnownItem) -> Option<AddressView> {
        let address = item.address()?;
        let others = self.hosts.live().filter_map(|(id, host)| host.entry.item(item).map(|held| (id, held.state)));
        let mine = self.holdings.get(item).map(|held| (self.identity.id, held.state));
        let mut holders: Vec<(HostId, ItemState)> = others.chain(mine).filter(|(_, state)| state.is_held()).collect();
        holders.sort_unstable();
        let claimed = self.claimed(item);
        let (unserved, double) = self.meters.read(now, item);
        let doublings = known.returns.map_or(0, |returns| returns.doublings(now));
        let failback = known.preferred_host.and_then(|_| returns::wait(self.policy.shared.failback, doublings));
        let waits = known.preferred_host.filter(|home| !holders.is_empty() && self.is_waited_for(now, item, *home, &holders));
        Some(AddressView {
            address,
            prefix: known.prefix,
            preferred_host: known.preferred_host,
            floating: known.floating,
            state: overall(&holders).as_str().to_owned(),
            served_by: holders.iter().map(|(id, _)| *id).collect(),
            kernel: self.kernel_holders(item),
            epoch: known.epoch.0,
            since_ms: millis(self.meters.since(now, item)),
            reason: self.reason(now, item, known, &holders),
            pinned: self.is_pinned(item) && holders.iter().all(|(holder, _)| Some(*holder) != known.preferred_host),
            failback_ms: failback.map(millis),
            failback_doublings: doublings,
            failback_remaining_ms: waits.and_then(|home| Some(millis(failback?.saturating_sub(self.well_for(now, home))))),
            orphan_remaining_ms: (!claimed).then(|| millis(known.remaining(now))),
            advertised: self.policy.shared.zone.is_some() && self.published.addresses.contains(&address),
            unserved_ms_total: millis(unserved),
            double_ms_total: millis(double),
        })
    }

    /// Whether a live host prefers or floats it.
    pub(crate) fn claimed(&self, item: &Item) -> bool {
        let wants = |held: &HostItem| held.preferred || held.floating;
        let mine = self.policy.preferred.iter().chain(&self.policy.floating).any(|address| Item::Address(address.address) == *item);
        mine || self.hosts.live().any(|(_, host)| host.entry.item(item).is_some_and(wants))
    }

    /// Why it is where it is, in words.
    fn reason(&self, now: Time, item: &Item, known: &KnownItem, holders: &[(HostId, ItemState)]) -> String {
        let home = known.preferred_host;
        match (holders, home) {
            ([], _) => self.why_unserved(item),
            ([_, _, ..], _) => "held by several hosts; the leader has all but one release it".to_owned(),
            ([(holder, _)], Some(home)) if *holder == home => "preferred host is well".to_owned(),
            ([_], Some(_)) if self.is_pinned(item) => "moved here by an operator; `raisctl move` without a host sends it home".to_owned(),
            ([_], Some(home)) if self.is_waited_for(now, item, home, holders) => {
                format!("preferred host {home} {}", self.why_waiting(now, known, home))
            }
            ([_], Some(home)) => format!("preferred host {home} {}", self.why_away(now, item, home)),
            ([_], None) if self.is_pinned(item) => "floating: moved here by an operator".to_owned(),
            ([_], None) => "floating: no host prefers it".to_owned(),
        }
    }

    fn why_unserved(&self, item: &Item) -> String {
        if let Some(why) = self.episodes.why_unassigned(item) {
            return why.to_owned();
        }
        match self.leader {
            None => "no leader yet: no settled host hears this one".to_owned(),
            Some(leader) if leader != self.identity.id => format!("waits for the leader {leader}"),
            Some(_) if self.hosts.live().any(|(_, host)| !host.whole) => "waits for the rest of a live host's entry".to_owned(),
            Some(_) => "is being assigned".to_owned(),
        }
    }

    /// Why its preferred host does not serve it.
    fn why_away(&self, now: Time, item: &Item, home: HostId) -> String {
        if home == self.identity.id {
            let in_back_off = self.holdings.failures().is_in_back_off(now, item);
            return why_not(self.is_ok(), self.settled, self.duty, in_back_off);
        }
        match self.hosts.get(home) {
            None => "is not known here".to_owned(),
            Some(host) if host.standing == Standing::Left => "has stopped".to_owned(),
            Some(host) if !host.is_live() => format!("is silent for {} s", now.since(host.heard_at).as_secs()),
            Some(host) => why_not(host.head.ok, host.head.settled, host.head.duty, !host.back_off(now, item).is_zero()),
        }
    }

    /// Whether its preferred host could have it and has not got it back yet.
    fn is_waited_for(&self, now: Time, item: &Item, home: HostId, holders: &[(HostId, ItemState)]) -> bool {
        let is_fit = if home == self.identity.id {
            let in_back_off = self.holdings.failures().is_in_back_off(now, item);
            self.is_ok() && self.settled && self.duty == Duty::Active && !in_back_off
        } else {
            self.hosts.get(home).is_some_and(|host| {
                let head = &host.head;
                host.is_live() && head.ok && head.settled && head.duty == Duty::Active && host.back_off(now, item).is_zero()
            })
        };
        is_fit && !self.is_pinned(item) && holders.iter().all(|(holder, _)| *holder != home)
    }

    fn well_for(&self, now: Time, home: HostId) -> Duration {
        let well_since = if home == self.identity.id { self.well_since } else { self.hosts.get(home).and_then(|host| host.well_since) };
        well_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// What a preferred host that is well waits for.
    fn why_waiting(&self, now: Time, known: &KnownItem, home: HostId) -> String {
        if self.is_frozen(now) {
            return "is well, and the group is frozen".to_owned();
        }
        let doublings = known.returns.map_or(0, |returns| returns.doublings(now));
        let Some(wait) = returns::wait(self.policy.shared.failback, doublings) else {
            return "is well, and failback is never; `raisctl move` without a host sends it home".to_owned();
        };
        let left = wait.saturating_sub(self.well_for(now, home));
        match (left.as_millis().div_ceil(1000), doublings) {
            (0, _) => "is wanted home".to_owned(),
            (left, 0) => format!("is well and gets it back in {left} s"),
            (left, doublings) => {
                let times = if doublings == 1 { "once".to_owned() } else { format!("{doublings} times") };
                format!(
                    "is well and gets it back in {left} s: its returns did not last, so failback has doubled {times}, to {} s",
                    wait.as_secs()
                )
            }
        }
    }

    /// Whether the operator has moved it where it is.
    fn is_pinned(&self, item: &Item) -> bool {
        let mine = self.holdings.get(item).is_some_and(|held| held.is_pinned());
        mine || self.hosts.live().any(|(_, host)| host.entry.item(item).is_some_and(|held| held.pinned))
    }
}

/// One word for all holders.
fn overall(holders: &[(HostId, ItemState)]) -> ItemState {
    let states = |wanted: ItemState| holders.iter().any(|(_, state)| *state == wanted);
    [ItemState::Online, ItemState::Acquiring, ItemState::Releasing]
        .into_iter()
        .find(|state| states(*state))
        .unwrap_or(ItemState::NotServing)
}

fn why_not(ok: bool, settled: bool, duty: Duty, in_back_off: bool) -> String {
    let why = match (ok, settled, duty, in_back_off) {
        (false, _, _, _) => "is not ok",
        (true, false, _, _) => "has not listened long enough",
        (true, true, Duty::Quiesced, _) => "is quiesced",
        (true, true, Duty::Draining, _) => "is draining",
        (true, true, Duty::Active, true) => "has failed to acquire it and is in back-off",
        (true, true, Duty::Active, false) => "is wanted home",
    };
    why.to_owned()
}

/// What head, detail and items say of a host.
fn describe(head: &HostHead, detail: &HostDetail, items: &[HostItem]) -> HostView {
    let held = |item: &&HostItem| item.state.is_held();
    HostView {
        id: head.id,
        name: detail.name.clone(),
        ok: head.ok,
        quiesced: head.duty != Duty::Active,
        draining: head.duty == Duty::Draining,
        settled: head.settled,
        silent: false,
        role: head.role,
        spare: head.spare,
        is_self: false,
        age_ms: 0,
        promise_ms: head.promise.map(millis),
        load: head.load,
        capacity: head.capacity,
        utilization: (head.capacity > 0).then(|| f64::from(head.load) / f64::from(head.capacity)),
        version: detail.software.clone(),
        config_hash: format!("{:016x}", head.config_hash),
        differs: Vec::new(),
        keys: Some(detail.keys.clone()),
        heard_by: Vec::new(),
        networks: Vec::new(),
        complete: true,
        preferred: items.iter().filter(|item| item.preferred).filter_map(|item| item.item.address()).collect(),
        accept: detail.accept.iter().copied().map(Into::into).collect(),
        serving: items
            .iter()
            .filter(held)
            .filter_map(|item| item.item.address().map(|address| ServingView { address, state: item.state.as_str().to_owned() }))
            .collect(),
        failed: items.iter().filter_map(failed_view).collect(),
    }
}

fn failed_view(item: &HostItem) -> Option<FailedView> {
    let failed = item.failed?;
    Some(FailedView { address: item.item.address()?, count: failed.count, back_off_ms: millis(failed.back_off) })
}

fn blank_detail(head: &HostHead) -> HostDetail {
    HostDetail {
        name: head.id.to_string(),
        software: String::new(),
        control: Vec::new(),
        multicast: false,
        mac: None,
        accept: Vec::new(),
        location: String::new(),
        capabilities: Vec::new(),
        config: Vec::new(),
        keys: HostKeys { sends: KeyId::INSECURE, opens: Vec::new() },
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A duration as the configuration writes it.
fn duration_text(duration: Duration) -> String {
    if duration.subsec_millis() == 0 { format!("{}s", duration.as_secs()) } else { format!("{}ms", duration.as_millis()) }
}
