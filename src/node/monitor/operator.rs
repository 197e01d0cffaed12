//! What operators want of the group: wishes for the leader, and freezing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Monitor;
use super::control::{Evening, Outcome, Tables};
use super::freezing::{Change, Heed, Wanted};
use super::orders::{self, Standing};
use super::wishes::{Ended, WishKey};
use crate::node::action::Report;
use crate::node::event::Token;
use crate::node::turn::Turn;
use crate::types::host::HostId;
use crate::types::item::{Item, Reason};
use crate::types::message::{CommandKind, Freeze, Refusal, Verdict, VerdictRecord, Wish, WishKind};
use crate::types::time::Time;

/// A duration as an operator types it.
fn duration_words(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_millis()) {
        (seconds, 0) if seconds > 0 && seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        (seconds, 0) if seconds > 0 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{}ms", duration.as_millis()),
    }
}

/// An answer to a request that waited for the group.
pub(crate) type Answered = (Token, Result<String, String>);

impl Monitor {
    // ---- asked here ----

    /// An operator of this host wishes something of the leader, and waits for so long.
    pub(crate) fn wish(&mut self, turn: &mut Turn<'_>, token: Token, kind: WishKind, patience: Duration) {
        self.wishes.ask(turn.now, token, kind, patience);
        self.transmit.hasten();
        self.settle_turn(turn);
    }

    /// An operator of this host has the group frozen or thawed.
    pub(crate) fn freeze(&mut self, turn: &mut Turn<'_>, token: Token, wanted: Wanted) {
        self.freezing.ask(turn.now, self.identity.id, token, wanted);
        self.transmit.hasten();
        self.settle_turn(turn);
    }

    /// The host with this id or name.
    pub(crate) fn find_host(&self, name: &str) -> Option<HostId> {
        let is_named = |id: HostId, known: &str| id.to_string() == name || known == name;
        if is_named(self.identity.id, &self.identity.host.name) {
            return Some(self.identity.id);
        }
        self.hosts.all().find(|(id, host)| is_named(*id, &host.name())).map(|(id, _)| id)
    }

    /// All hosts that are known, as people call them.
    pub(crate) fn host_names(&self) -> Vec<String> {
        let mut ids: Vec<HostId> = self.hosts.all().map(|(id, _)| id).chain([self.identity.id]).collect();
        ids.sort_unstable();
        ids.into_iter().map(|id| self.called(id)).collect()
    }

    /// A host by name and id.
    fn called(&self, id: HostId) -> String {
        if id == self.identity.id {
            return format!("{} ({id})", self.identity.host.name);
        }
        match self.hosts.get(id).map(super::hosts::Host::name) {
            Some(name) if name != id.to_string() => format!("{name} ({id})"),
            Some(_) | None => id.to_string(),
        }
    }

    /// Answers to requests that waited for the group.
    pub(crate) fn take_answers(&mut self, now: Time) -> Vec<Answered> {
        self.wishes.expire(now);
        let ended = self.wishes.take_ended();
        let wishes: Vec<Answered> = ended.into_iter().map(|ended| (ended.token, self.answer(&ended))).collect();
        let freezes = self.freezing.take_answers(now, self.heed(now));
        let freezes = freezes.into_iter().map(|(token, wanted)| (token, self.answer_freeze(wanted)));
        wishes.into_iter().chain(freezes).collect()
    }

    /// The group is given up on this host: nobody is waited for any more.
    pub(crate) fn abandon(&mut self) -> Vec<Answered> {
        let why = format!("group {} is not configured here any more", self.policy.name);
        let tokens = self.wishes.take_unanswered().into_iter().chain(self.freezing.take_unanswered());
        tokens.map(|token| (token, Err(why.clone()))).collect()
    }

    /// Whether the group is frozen, as its hosts say.
    fn heed(&self, now: Time) -> Heed {
        let leader = match self.leader {
            Some(leader) if leader == self.identity.id => Some(self.is_frozen(now)),
            Some(leader) => self.hosts.get(leader).map(|host| host.frozen(now).is_some()),
            None => None,
        };
        let mine = self.is_frozen(now);
        let agree = self.hosts.live().all(|(_, host)| host.frozen(now).is_some() == mine);
        Heed { leader, others: agree.then_some(mine) }
    }

    fn answer(&self, ended: &Ended) -> Result<String, String> {
        let item = match &ended.kind {
            WishKind::Move { item, .. } => item.to_string(),
            WishKind::Rebalance => String::new(),
        };
        match ended.verdict {
            Some(Verdict::Done(host)) => Ok(format!("{item} is on {}", self.called(host))),
            Some(Verdict::There(host)) => Ok(format!("{item} was on {} already", self.called(host))),
            Some(Verdict::Evened { moves: 0 }) => Ok(format!("{}: the floating addresses are even; nothing moves", self.policy.name)),
            Some(Verdict::Evened { moves }) => Ok(format!("{}: floating addresses are evened out; {moves} move", self.policy.name)),
            Some(Verdict::Refused { why, host }) => {
                let host = host.map_or_else(|| "the host".to_owned(), |host| self.called(host));
                Err(orders::words(why, &item, &host))
            }
            None => match self.leader {
                Some(leader) => {
                    Err(format!("not done in time; the leader {} may still be at it, see `raisctl status`", self.called(leader)))
                }
                None => Err("nobody leads the group, so nothing was moved; see `raisctl status`".to_owned()),
            },
        }
    }

    fn answer_freeze(&self, wanted: Result<Wanted, Wanted>) -> Result<String, String> {
        let group = &self.policy.name;
        match wanted {
            Ok(Wanted::Frozen(duration)) => {
                let duration = duration_words(duration);
                Ok(format!("{group} is frozen for {duration}: no address moves, whatever happens; `raisctl thaw` ends it"))
            }
            Ok(Wanted::Thawed) => Ok(format!("{group} is thawed")),
            Err(wanted) => {
                let done = match wanted {
                    Wanted::Frozen(_) => "frozen",
                    Wanted::Thawed => "thawed",
                };
                let who = match self.leader {
                    Some(leader) => format!("the leader {} has not said that it knows", self.called(leader)),
                    None => "nobody leads the group yet".to_owned(),
                };
                Err(format!("{group} is {done} as far as this host can tell others, but {who}; see `raisctl status`"))
            }
        }
    }

    // ---- heard ----

    pub(super) fn take_wish(&mut self, turn: &mut Turn<'_>, wish: Wish) -> bool {
        if wish.by == self.identity.id {
            return false;
        }
        if self.leader == Some(self.identity.id) {
            return self.wishes.hear(turn.now, wish);
        }
        let by = wish.by;
        let is_news = self.wishes.relay_wish(turn.now, self.slowest().heartbeat, wish);
        if is_news && self.leader.is_some_and(|leader| self.hosts.hears_only_by_relay(leader, by)) {
            self.transmit.hasten();
        }
        false
    }

    pub(super) fn take_verdict(&mut self, turn: &mut Turn<'_>, record: VerdictRecord) -> bool {
        if record.to != self.identity.id {
            let (to, leader) = (record.to, record.leader);
            let is_news = self.wishes.relay_verdict(turn.now, self.slowest().heartbeat, record);
            if is_news && self.hosts.hears_only_by_relay(to, leader) {
                self.transmit.hasten();
            }
            return false;
        }
        let is_mine = record.boot == self.identity.boot && self.leader == Some(record.leader);
        if is_mine {
            self.wishes.take_verdict(&record);
        }
        is_mine
    }

    pub(super) fn take_freeze(&mut self, turn: &mut Turn<'_>, freeze: Freeze) -> bool {
        let is_newer = self.freezing.take(turn.now, self.identity.id, freeze);
        if is_newer {
            self.transmit.hasten();
        }
        is_newer
    }

    // ---- freezing ----

    /// How much longer nothing is moved in the group.
    pub(super) fn frozen(&self, now: Time) -> Option<Duration> {
        self.freezing.left(now, self.hosts.live().filter_map(|(_, host)| host.frozen(now)))
    }

    pub(crate) fn is_frozen(&self, now: Time) -> bool {
        self.frozen(now).is_some()
    }

    /// The word on freezing, while it has to be said.
    pub(super) fn freeze_record(&self, now: Time) -> Option<Freeze> {
        let frozen = self.is_frozen(now);
        self.freezing.record(now, self.hosts.live().any(|(_, host)| host.frozen(now).is_some() != frozen))
    }

    /// Tells, once, that the group is frozen or thawed.
    pub(super) fn note_frozen(&mut self, turn: &mut Turn<'_>) {
        let Some(change) = self.freezing.take_change(turn.now) else { return };
        turn.report(match change {
            Change::Frozen { by, left } => Report::Frozen { by, left },
            Change::Thawed { by } => Report::Thawed { by },
        });
        self.transmit.hasten();
    }

    // ---- leading ----

    /// Puts what operators wish into the tables. Returns the wishes to even out, which are answered after the step.
    pub(super) fn take_orders(&mut self, now: Time, tables: &mut Tables) -> Vec<WishKey> {
        let me = self.identity.id;
        self.wishes.expire(now);
        let mut ordered: BTreeMap<Item, HostId> = BTreeMap::new();
        let mut evened = Vec::new();
        for pending in self.wishes.pending(me, self.identity.boot) {
            let key = pending.key;
            match pending.kind {
                WishKind::Rebalance if tables.frozen => {
                    self.judge(now, key, Verdict::Refused { why: Refusal::Frozen, host: None });
                }
                WishKind::Rebalance if tables.unknown_holdings => {}
                WishKind::Rebalance => evened.push(key),
                WishKind::Move { item, to } => match orders::judge_move(tables, &item, to, pending.begun) {
                    Standing::Judged(verdict) => self.judge(now, key, verdict),
                    Standing::UnderWay(to) => match ordered.get(&item).copied() {
                        Some(other) if other != to => {
                            self.judge(now, key, Verdict::Refused { why: Refusal::OrderedElsewhere, host: Some(other) });
                        }
                        Some(_) | None => {
                            self.wishes.begin(me, key);
                            ordered.insert(item, to);
                        }
                    },
                },
            }
        }
        if !evened.is_empty() {
            tables.evening = Evening::Asked;
        }
        for (item, to) in ordered {
            if let Some(row) = tables.addresses.get_mut(&item) {
                row.ordered = Some(to);
            }
        }
        evened
    }

    /// Where operators' wishes that are under way want which address; judges none.
    pub(super) fn ordered(&self, tables: &Tables) -> BTreeMap<Item, HostId> {
        let mut ordered = BTreeMap::new();
        for pending in self.wishes.pending(self.identity.id, self.identity.boot) {
            if let WishKind::Move { item, to } = pending.kind
                && let Standing::UnderWay(to) = orders::judge_move(tables, &item, to, pending.begun)
            {
                ordered.entry(item).or_insert(to);
            }
        }
        ordered
    }

    fn judge(&mut self, now: Time, key: WishKey, verdict: Verdict) {
        self.wishes.judge(now, self.identity.id, key, verdict);
        self.transmit.hasten();
    }

    /// Says how many addresses were told to move.
    pub(super) fn answer_evened(&mut self, now: Time, evened: &[WishKey], outcome: &Outcome) {
        let is_evening = |kind, reason| (kind, reason) == (CommandKind::Release, Reason::Rebalanced);
        let moves = outcome.decisions.iter().filter(|decision| is_evening(decision.kind, decision.reason)).count();
        for key in evened {
            self.judge(now, *key, Verdict::Evened { moves: u32::try_from(moves).unwrap_or(u32::MAX) });
        }
    }
}
