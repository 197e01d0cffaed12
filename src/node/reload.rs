//! Another configuration while the daemon runs: which groups go on, begin and are given up.
//!
//! Owns the order: what is given up goes first, what goes on keeps its place and state, what begins waits for a group of
//! the same name that has not ended. What a new configuration means within a group is its monitor's affair.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::action::{Action, Report, StoredGroup};
use super::event::{GroupIndex, GroupPlace, Link, LoadSample, Reload};
use super::monitor::holding::Manner;
use super::monitor::{Farewell, Health, Identity, Monitor};
use super::turn::Waiter;
use super::{Ending, Node};
use crate::types::host::{BootId, Incarnation};
use crate::types::item::{Reason, ServiceAddress};
use crate::types::policy::{GroupPolicy, HostPolicy};
use crate::types::time::Time;

/// What a group is told of the rest of this host when it begins or its configuration changes.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Surroundings {
    pub(crate) host: HostPolicy,
    pub(crate) health: Health,
    pub(crate) load: LoadSample,
    /// Of its interface, if that is another than before.
    pub(crate) interface: Option<Found>,
}

/// What is known of a service interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    pub(crate) link: Link,
    /// Addresses without our mark that were put there while the daemon ran.
    pub(crate) foreign: BTreeSet<ServiceAddress>,
}

/// A group that begins when one of the same name has ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Beginning {
    group: GroupIndex,
    policy: GroupPolicy,
    boot: BootId,
    stored: StoredGroup,
    /// How its interface was when it was configured.
    link: Link,
}

impl Node {
    /// Whether the daemon goes on: one that is being stopped takes no other configuration.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.ending == Ending::Running
    }

    /// Takes up another configuration.
    pub(super) fn reload(&mut self, now: Time, reload: Reload, actions: &mut Vec<Action>) {
        if !self.is_running() {
            return;
        }
        let Reload { policy, places, links, changed_tests } = reload;
        assert_eq!(policy.host.id, self.identity.id, "a host's id is for the life of its daemon");
        let networks = policy.host.control.len();
        self.faults.retain(|network, _| usize::from(*network) < networks);
        self.identity.host = policy.host;
        let loads = policy.groups.iter().flat_map(|group| group.loads.iter().cloned()).collect();
        self.probed.reconfigure(&policy.tests, &changed_tests, &loads);

        let kept: BTreeSet<GroupIndex> = places.iter().map(GroupPlace::group).collect();
        self.give_up_all_but(now, &kept, actions);
        for (policy, place) in policy.groups.into_iter().zip(places) {
            let link = links.get(&policy.interface).copied().unwrap_or(Link::Absent);
            match place {
                GroupPlace::Stays(group) => self.reconfigure_group(now, group, policy, link, actions),
                GroupPlace::Begins { group, boot, stored } => {
                    self.begin_group(now, Beginning { group, policy, boot, stored, link }, actions);
                }
            }
        }
    }

    fn give_up_all_but(&mut self, now: Time, kept: &BTreeSet<GroupIndex>, actions: &mut Vec<Action>) {
        let (awaited, dropped) = std::mem::take(&mut self.awaited).into_iter().partition(|awaited| kept.contains(&awaited.group));
        self.awaited = awaited;
        actions.extend(dropped.into_iter().map(|Beginning { group, .. }| Action::EndGroup { group }));
        self.with_all(now, actions, |monitor, turn| {
            if !kept.contains(&turn.group) {
                monitor.stop(turn, Reason::Reconfigured, Manner::Orderly, Farewell::Said);
            }
        });
    }

    fn reconfigure_group(&mut self, now: Time, group: GroupIndex, policy: GroupPolicy, link: Link, actions: &mut Vec<Action>) {
        if let Some(awaited) = self.awaited.iter_mut().find(|awaited| awaited.group == group) {
            (awaited.policy, awaited.link) = (policy, link);
            return;
        }
        let Some(monitor) = self.monitors.get(&group) else { return };
        let is_elsewhere = monitor.policy().interface != policy.interface;
        let surroundings = self.surroundings(&policy, is_elsewhere.then_some(link));
        self.with(now, actions, group, |monitor, turn| monitor.reconfigure(turn, policy, surroundings));
    }

    fn begin_group(&mut self, now: Time, beginning: Beginning, actions: &mut Vec<Action>) {
        if self.monitors.values().any(|monitor| monitor.policy().name == beginning.policy.name) {
            self.awaited.push(beginning);
            return;
        }
        let Beginning { group, policy, boot, stored, link } = beginning;
        // Others take nothing from an incarnation that has said goodbye to them.
        let incarnation = if self.left.contains(&policy.name) { self.next_incarnation(actions) } else { self.identity.incarnation };
        let surroundings = self.surroundings(&policy, Some(link));
        let unreachable = self.monitors.values().find_map(Monitor::unreachable);
        let identity = Identity { boot, incarnation, ..self.identity.clone() };
        self.monitors.insert(group, Monitor::new(now, group, policy, identity, stored));
        actions.push(Action::Report { group: Some(group), report: Report::GroupBegins });
        self.with(now, actions, group, |monitor, turn| monitor.begin(turn, surroundings, unreachable));
    }

    fn next_incarnation(&mut self, actions: &mut Vec<Action>) -> Incarnation {
        let incarnation = Incarnation(self.identity.incarnation.0.saturating_add(1));
        self.identity.incarnation = incarnation;
        let op = self.operations.begin(Waiter::Nobody);
        actions.push(Action::StoreIncarnation { op, incarnation });
        incarnation
    }

    fn surroundings(&self, policy: &GroupPolicy, link: Option<Link>) -> Surroundings {
        // Another group on the interface knows what was found there; on an interface of nobody the kernel's word is still to come.
        let foreign = || self.monitors.values().find(|monitor| monitor.policy().interface == policy.interface).map(Monitor::foreign);
        Surroundings {
            host: self.identity.host.clone(),
            health: self.probed.health(&policy.tests),
            load: self.probed.load(&policy.loads),
            interface: link.map(|link| Found { link, foreign: foreign().unwrap_or_default() }),
        }
    }

    /// Groups that were taken out of the configuration and have given everything up; one of the same name begins then.
    pub(super) fn end_groups(&mut self, now: Time, actions: &mut Vec<Action>) {
        if !self.is_running() {
            return;
        }
        let ended = |(group, monitor): (&GroupIndex, &Monitor)| monitor.is_stopped().then_some(*group);
        let all: Vec<GroupIndex> = self.monitors.iter().filter_map(ended).collect();
        for group in all {
            let Some(mut monitor) = self.monitors.remove(&group) else { continue };
            self.take_answers(monitor.abandon(), actions);
            let name = monitor.policy().name.clone();
            actions.push(Action::Report { group: Some(group), report: Report::GroupEnded });
            actions.push(Action::EndGroup { group });
            if let Some(place) = self.awaited.iter().position(|awaited| awaited.policy.name == name) {
                let beginning = self.awaited.remove(place);
                self.left.insert(name);
                // Younger than what was read from disk.
                let stored = monitor.kept(now);
                self.begin_group(now, Beginning { stored, ..beginning }, actions);
            } else {
                self.left.insert(name);
            }
        }
    }
}
