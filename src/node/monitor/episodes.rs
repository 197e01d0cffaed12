//! What has been said already: a fault is told when it begins and when it ends, not at every heartbeat.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Health;
use super::control::Outcome;
use super::hearing::Windows;
use super::hosts::{HOSTS_MAX, Hosts, Notice};
use crate::node::action::Report;
use crate::node::turn::Turn;
use crate::types::host::HostId;
use crate::types::item::Item;

/// The episodes of one group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Episodes {
    cannot_assign: BTreeMap<Item, Cow<'static, str>>,
    conflicts: BTreeMap<Item, HostId>,
    duplicates: BTreeSet<Item>,
    differing: BTreeMap<HostId, Vec<String>>,
    problem: Option<String>,
    /// The test whose failure has been told.
    failing: Option<String>,
    limit_told: bool,
    /// Control networks on which multicast does not arrive.
    without_multicast: BTreeSet<u8>,
    for_node: Vec<Notice>,
}

impl Episodes {
    /// Tells what the control step found, once per episode.
    pub(crate) fn control(&mut self, turn: &mut Turn<'_>, outcome: &Outcome) {
        for (item, why) in &outcome.cannot_assign {
            if self.cannot_assign.get(item).map(Cow::as_ref) != Some(*why) {
                turn.report(Report::CannotAssign { item: item.clone(), why: (*why).to_owned() });
            }
        }
        self.cannot_assign = outcome.cannot_assign.iter().map(|(item, why)| (item.clone(), Cow::Borrowed(*why))).collect();
        for (item, kept) in &outcome.conflicts {
            if !self.conflicts.contains_key(item) {
                turn.report(Report::Conflict { item: item.clone(), kept: *kept });
            }
        }
        self.conflicts.clone_from(&outcome.conflicts);
        for (item, kept) in &outcome.duplicates {
            if !self.duplicates.contains(item) {
                let released = outcome.decisions.iter().filter(|decision| decision.item == *item).map(|decision| decision.to).collect();
                turn.report(Report::DuplicateSettled { item: item.clone(), kept: *kept, released });
            }
        }
        self.duplicates = outcome.duplicates.keys().cloned().collect();
    }

    /// Why nobody can take an item, if so.
    pub(crate) fn why_unassigned(&self, item: &Item) -> Option<&str> {
        self.cannot_assign.get(item).map(Cow::as_ref)
    }

    /// Tells which hosts have other group-wide keys than the leader, and which keys; `None`: that host's detail is on its way.
    pub(crate) fn configurations(&mut self, turn: &mut Turn<'_>, differing: BTreeMap<HostId, Option<Vec<String>>>) {
        self.differing.retain(|host, _| differing.contains_key(host));
        for (host, keys) in differing.into_iter().filter_map(|(host, keys)| Some((host, keys?))) {
            if self.differing.get(&host) != Some(&keys) {
                turn.report(Report::ConfigurationDiffers { host, keys: keys.clone() });
                self.differing.insert(host, keys);
            }
        }
    }

    /// Tells that this host cannot serve, or can again. Says whether that has changed.
    pub(crate) fn health(&mut self, turn: &mut Turn<'_>, health: &Health, problem: Option<&str>) -> bool {
        let changed = self.problem.is_some() != problem.is_some();
        match health {
            Health::Failing { .. } | Health::Unknown { .. } => {}
            Health::Passing => {
                if let Some(test) = self.failing.take() {
                    turn.report(Report::TestRecovered { test });
                }
            }
        }
        if self.problem.as_deref() != problem {
            match (health, problem) {
                (Health::Failing { test, why }, Some(_)) if self.failing.is_none() => {
                    turn.report(Report::TestFailed { test: test.clone(), why: why.clone() });
                    self.failing = Some(test.clone());
                }
                (Health::Failing { .. } | Health::Unknown { .. } | Health::Passing, Some(problem)) if changed => {
                    turn.report(Report::CannotServe { why: problem.to_owned() });
                }
                (Health::Failing { .. } | Health::Unknown { .. } | Health::Passing, Some(_)) => {}
                (Health::Failing { .. } | Health::Unknown { .. } | Health::Passing, None) => {
                    turn.report(Report::CanServe);
                }
            }
            self.problem = problem.map(ToOwned::to_owned);
        }
        changed
    }

    /// Tells, once, that more hosts or items were heard of than are remembered.
    pub(crate) fn limit_reached(&mut self, turn: &mut Turn<'_>) {
        if !self.limit_told {
            self.limit_told = true;
            turn.report(Report::LimitReached { what: "hosts of the group, or items of a host".to_owned(), limit: HOSTS_MAX });
        }
    }

    /// Tells on which networks multicast does not arrive, with the names of the hosts whose it is, and where it does again.
    pub(crate) fn multicast(
        &mut self,
        turn: &mut Turn<'_>,
        control: &[IpAddr],
        lost: BTreeMap<u8, Vec<String>>,
        hosts: &Hosts,
        windows: Windows,
    ) {
        let now = turn.now;
        let works = |network: u8| {
            let mut receptions = hosts.live().flat_map(|(_, host)| host.links.receptions(now, windows));
            receptions.any(|reception| reception.network == network && reception.multicast)
        };
        self.without_multicast.retain(|network| {
            // Whoever has fallen silent tells nothing about multicast.
            let goes_on = lost.contains_key(network) || !works(*network);
            if !goes_on {
                turn.report(Report::MulticastWorks { network: *network });
            }
            goes_on
        });
        for (network, hosts) in lost {
            if self.without_multicast.insert(network) {
                let control = control.get(usize::from(network)).copied();
                turn.report(Report::MulticastFails { network, control, hosts });
            }
        }
    }

    pub(crate) fn keep_for_node(&mut self, notice: Notice) {
        if !self.for_node.contains(&notice) {
            self.for_node.push(notice);
        }
    }

    pub(crate) fn take_for_node(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.for_node)
    }
}
