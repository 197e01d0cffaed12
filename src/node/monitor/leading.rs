//! What only the leader does: decisions of the control step, and the zone's list.
//!
//! Gathers the tables, has `control` and `zone` decide, and gives out what they say. Called by [`Monitor::settle_turn`] while this host
//! leads.

use std::collections::BTreeMap;

use super::control::{Evening, Tables};
use super::hosts::Host;
use super::items::Claims;
use super::published::News;
use super::{Monitor, control, differing_keys, zone};
use crate::node::action::{Action, Report};
use crate::node::turn::Turn;
use crate::types::host::HostItem;
use crate::types::item::{Item, Reason};
use crate::types::message::CommandKind;
use crate::types::time::Time;

impl Monitor {
    /// The control step.
    pub(super) fn lead(&mut self, turn: &mut Turn<'_>, claims: &BTreeMap<Item, Claims>) {
        let now = turn.now;
        if !self.is_known_settled(now) {
            return;
        }
        self.commands.settle(now, &self.hosts);
        self.items.rule_lifetime(self.policy.shared.orphan_lifetime);
        for (item, why) in self.expired_items(now, claims) {
            self.items.expire(&item);
            turn.report(Report::Expired { item, why });
        }
        let slowest = self.slowest().heartbeat;
        let own = self.own_items(now);
        let mut tables = self.tables(now, &own);
        tables.evening = self.evening(now, &tables);
        let evened = self.take_orders(now, &mut tables);
        let outcome = control::control(&tables);
        self.answer_evened(now, &evened, &outcome);
        self.episodes.control(turn, &outcome);
        for decision in &outcome.decisions {
            turn.report(Report::Decided {
                kind: decision.kind,
                to: decision.to,
                item: decision.item.clone(),
                epoch: decision.epoch,
                reason: decision.reason,
            });
            if (decision.kind, decision.reason) == (CommandKind::Release, Reason::Home) {
                self.items.note_return(now, &decision.item, decision.epoch);
            }
            if decision.to == self.identity.id {
                self.commands.note_given(&decision.item, decision.epoch);
                self.obey_own(turn, decision);
            } else if let Some(host) = self.hosts.get(decision.to) {
                self.commands.issue(now, slowest, decision, host);
            }
        }
        if outcome.decisions.iter().any(|decision| decision.to != self.identity.id) {
            self.send_commands(turn);
        }
        self.decide_zone(turn, &own);
        self.report_differences(turn);
    }

    /// Group-wide keys that differ from the leader's, this host's.
    pub(super) fn report_differences(&mut self, turn: &mut Turn<'_>) {
        let own = self.policy.shared.config_hash();
        let differing = self.hosts.live().filter(|(_, host)| host.head.config_hash != own);
        let keys = |host: &Host| host.entry.detail().map(|detail| differing_keys(detail, self.own.detail()));
        let differing = differing.map(|(id, host)| (id, keys(host))).collect();
        self.episodes.configurations(turn, differing);
    }

    /// Whether floating addresses are evened out: when they have been uneven for so long.
    pub(super) fn evening(&mut self, now: Time, tables: &Tables) -> Evening {
        let Some(after) = self.policy.shared.rebalance else { return Evening::Off };
        if after.is_zero() {
            return Evening::Due;
        }
        self.uneven_since = if control::is_uneven(tables) { self.uneven_since.or(Some(now)) } else { None };
        if self.uneven_since.is_some_and(|since| now.since(since) >= after) { Evening::Due } else { Evening::Off }
    }

    /// The same, as it stands; notes nothing.
    pub(crate) fn present_evening(&self, now: Time, tables: &Tables) -> Evening {
        let Some(after) = self.policy.shared.rebalance else { return Evening::Off };
        let is_due = self.uneven_since.is_some_and(|since| now.since(since) >= after) && control::is_uneven(tables);
        if after.is_zero() || is_due { Evening::Due } else { Evening::Off }
    }

    pub(super) fn decide_zone(&mut self, turn: &mut Turn<'_>, own: &BTreeMap<Item, HostItem>) {
        let Some(policy) = &self.policy.shared.zone else { return };
        let list = zone::list(policy, &self.candidates(own), &self.published.addresses);
        match self.published.decide(list.advertised, list.withheld) {
            News::Nothing => {}
            News::Confirmed => self.publish(turn),
            News::Changed => {
                let advertised = self.published.addresses.iter().copied().collect();
                turn.report(Report::ZoneChanged { serial: self.published.serial, advertised });
                self.transmit.hasten();
                self.publish(turn);
            }
        }
    }

    pub(super) fn publish(&mut self, turn: &mut Turn<'_>) {
        if let Some(zone) = self.zone_view() {
            self.withheld_told = zone.withheld.clone();
            turn.act(Action::PublishZone { group: self.index, zone });
        }
    }

    /// The name server says why addresses are withheld, which changes without the list: at most a heartbeat later it knows.
    pub(super) fn publish_reasons(&mut self, turn: &mut Turn<'_>) {
        let is_listed = |item: &Item| item.address().is_some_and(|address| self.published.addresses.contains(&address));
        // Mostly nothing is withheld, and nothing needs to be worked out.
        let has_nothing_to_say =
            self.withheld_told.is_empty() && self.items.living().all(|(item, known)| known.preferred_host.is_none() || is_listed(item));
        if has_nothing_to_say || !self.published.is_current() {
            return;
        }
        if self.zone_view().is_some_and(|zone| zone.withheld != self.withheld_told) {
            self.publish(turn);
        }
    }
}
