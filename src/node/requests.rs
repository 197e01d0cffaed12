//! What an operator asks of this host, and when each request is answered.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Node;
use super::action::{Action, Report};
use super::event::{Answer, GroupIndex, Outcome, Request, Token};
use super::monitor::freezing::Wanted;
use super::monitor::operator::Answered;
use super::turn::Waiter;
use crate::types::explanation::{EXPLANATION_VERSION, Explanation, Named};
use crate::types::host::Duty;
use crate::types::item::Item;
use crate::types::message::WishKind;
use crate::types::time::Time;

/// A leader answers a wish that waits for nothing within a few heartbeats, if there is one.
const LEADER_TIME_MAX: Duration = Duration::from_secs(3);

/// A drain that is waited for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Drain {
    token: Token,
    groups: Vec<GroupIndex>,
    reason: String,
    pub(super) until: Time,
}

impl Node {
    /// Answers a request, now or when its effect is there.
    pub(super) fn answer(&mut self, now: Time, token: Token, request: Request, actions: &mut Vec<Action>) {
        let answer = match request {
            Request::Status => Some(Answer::Status(Box::new(self.view(now)))),
            Request::Quiesce { group, reason } => self.set_duty(now, token, group.as_deref(), Duty::Quiesced, &reason, actions),
            Request::Resume { group } => self.resume(now, token, group.as_deref(), actions),
            Request::Drain { group, timeout, reason } => self.drain(now, token, group.as_deref(), timeout, reason, actions),
            Request::Expire { group, item } => self.expire(now, token, group.as_deref(), &item, actions),
            Request::Explain { group, subject } => Some(self.explain(now, group.as_deref(), subject)),
            Request::Forget { group, host } => Some(self.forget(now, group.as_deref(), &host, actions)),
            Request::Freeze { group, duration } => self.freeze(now, token, group.as_deref(), Wanted::Frozen(duration), actions),
            Request::Thaw { group } => self.freeze(now, token, group.as_deref(), Wanted::Thawed, actions),
            Request::Move { group, item, to, timeout } => {
                let order = Order { item, to, timeout };
                self.move_item(now, token, group.as_deref(), order, actions)
            }
            Request::Rebalance { group } => self.rebalance(now, token, group.as_deref(), actions),
        };
        if let Some(answer) = answer {
            actions.push(Action::Reply { token, answer });
        }
    }

    /// The groups that a request means, or why there are none.
    fn groups(&self, name: Option<&str>) -> Result<Vec<GroupIndex>, Answer> {
        let wanted = |monitor: &super::Monitor| !monitor.is_given_up() && name.is_none_or(|name| monitor.policy().name == name);
        let found: Vec<GroupIndex> = self.monitors.iter().filter(|(_, monitor)| wanted(monitor)).map(|(group, _)| *group).collect();
        if found.is_empty() {
            let known: Vec<&str> = self.monitors.values().map(|monitor| monitor.policy().name.as_str()).collect();
            let why = format!("no group {:?} on this host; its groups are: {}", name.unwrap_or_default(), known.join(", "));
            return Err(Answer::Refused { why });
        }
        Ok(found)
    }

    /// Sets the operator's wish; answered when it is on disk, since it has to survive a restart.
    fn set_duty(
        &mut self,
        now: Time,
        token: Token,
        group: Option<&str>,
        duty: Duty,
        reason: &str,
        actions: &mut Vec<Action>,
    ) -> Option<Answer> {
        let groups = match self.groups(group) {
            Ok(groups) => groups,
            Err(refused) => return Some(refused),
        };
        let message = match duty {
            Duty::Active => "resumed: this host acquires what the leader assigns",
            Duty::Quiesced => "quiesced: this host acquires nothing and keeps what it serves; `raisctl resume` ends it",
            Duty::Draining => "draining",
        };
        // Written in this order: when the last is on disk, so are the others.
        let last = groups.last().copied();
        for group in groups {
            let waiter = if Some(group) == last { Waiter::Requests(vec![(token, message.to_owned())]) } else { Waiter::Nobody };
            self.with(now, actions, group, |monitor, turn| {
                monitor.set_duty(turn, duty, reason.to_owned());
                monitor.store(turn, waiter);
            });
        }
        None
    }

    fn resume(&mut self, now: Time, token: Token, group: Option<&str>, actions: &mut Vec<Action>) -> Option<Answer> {
        if let Ok(groups) = self.groups(group) {
            self.give_up_drains(&groups, "the operator has resumed this host meanwhile", actions);
        }
        self.set_duty(now, token, group, Duty::Active, "", actions)
    }

    fn drain(
        &mut self,
        now: Time,
        token: Token,
        group: Option<&str>,
        timeout: Duration,
        reason: String,
        actions: &mut Vec<Action>,
    ) -> Option<Answer> {
        let groups = match self.groups(group) {
            Ok(groups) => groups,
            Err(refused) => return Some(refused),
        };
        for group in &groups {
            self.with(now, actions, *group, |monitor, turn| {
                monitor.set_duty(turn, Duty::Draining, reason.clone());
                monitor.store(turn, Waiter::Nobody);
            });
        }
        self.drains.push(Drain { token, groups, reason, until: now.plus(timeout) });
        None
    }

    /// Ends the drains that are done or out of time; the host stays quiesced either way.
    pub(super) fn end_drains(&mut self, now: Time, actions: &mut Vec<Action>) {
        let (ended, waiting): (Vec<Drain>, Vec<Drain>) =
            std::mem::take(&mut self.drains).into_iter().partition(|drain| drain.until <= now || self.held_by(&drain.groups) == 0);
        self.drains = waiting;
        for drain in ended {
            let held = self.held_by(&drain.groups);
            for group in &drain.groups {
                self.with(now, actions, *group, |monitor, turn| {
                    if monitor.duty() == Duty::Draining {
                        monitor.set_duty(turn, Duty::Quiesced, drain.reason.clone());
                        monitor.store(turn, Waiter::Nobody);
                    }
                });
            }
            let answer = if held == 0 {
                Answer::Done { message: "drained: this host serves nothing and stays quiesced; `raisctl resume` ends it".to_owned() }
            } else {
                let is_frozen = |group: &GroupIndex| self.monitors.get(group).is_some_and(|monitor| monitor.is_frozen(now));
                let cause = if drain.groups.iter().any(is_frozen) {
                    "the group is frozen, and nothing moves until `raisctl thaw`"
                } else {
                    "nobody else can take it, or a release script is still running"
                };
                let addresses = if held == 1 { "1 address is".to_owned() } else { format!("{held} addresses are") };
                let why = format!("{addresses} still here: {cause}; this host stays quiesced (see `raisctl status`)");
                Answer::Refused { why }
            };
            actions.push(Action::Reply { token: drain.token, answer });
        }
    }

    fn give_up_drains(&mut self, groups: &[GroupIndex], why: &str, actions: &mut Vec<Action>) {
        let (ended, waiting): (Vec<Drain>, Vec<Drain>) =
            std::mem::take(&mut self.drains).into_iter().partition(|drain| drain.groups.iter().any(|group| groups.contains(group)));
        self.drains = waiting;
        for drain in ended {
            actions.push(Action::Reply { token: drain.token, answer: Answer::Refused { why: why.to_owned() } });
        }
    }

    fn held_by(&self, groups: &[GroupIndex]) -> usize {
        groups.iter().filter_map(|group| self.monitors.get(group)).map(super::Monitor::held_count).sum()
    }

    /// Forgets an orphan; answered when that is on disk, since a pool that loses power as a whole would otherwise know it again.
    fn expire(&mut self, now: Time, token: Token, group: Option<&str>, item: &Item, actions: &mut Vec<Action>) -> Option<Answer> {
        let groups = match self.groups(group) {
            Ok(groups) => groups,
            Err(refused) => return Some(refused),
        };
        let mut results = Vec::new();
        let mut expired = Vec::new();
        for group in groups {
            let Some(known) = self.with(now, actions, group, |monitor, turn| monitor.expire(turn, item)) else { continue };
            if let Known::Done(_) = known {
                expired.push(group);
            }
            results.push(known);
        }
        let (waiter, answer) = match one_of(results, format!("{item} is not known in any of these groups")) {
            Answer::Done { message } => (Waiter::Requests(vec![(token, message)]), None),
            answer @ (Answer::Explained(_) | Answer::Refused { .. } | Answer::Status(_)) => (Waiter::Nobody, Some(answer)),
        };
        // Written in this order: when the last is on disk, so are the others.
        let last = expired.pop();
        for group in expired {
            self.with(now, actions, group, |monitor, turn| monitor.store(turn, Waiter::Nobody));
        }
        if let Some(last) = last {
            self.with(now, actions, last, |monitor, turn| monitor.store(turn, waiter));
        }
        answer
    }

    fn forget(&mut self, now: Time, group: Option<&str>, host: &str, actions: &mut Vec<Action>) -> Answer {
        let groups = match self.groups(group) {
            Ok(groups) => groups,
            Err(refused) => return refused,
        };
        let mut results = Vec::new();
        for group in groups {
            results.extend(self.with(now, actions, group, |monitor, _| monitor.forget(host)));
        }
        one_of(results, format!("no host {host:?} is known in any of these groups"))
    }

    /// Says why, from the tables that decide.
    /// Why an address or host is where it is or how it is: [`Answer::Explained`], or why not. Changes nothing.
    #[must_use]
    pub fn explain(&self, now: Time, group: Option<&str>, subject: String) -> Answer {
        let groups = match self.groups(group) {
            Ok(groups) => groups,
            Err(refused) => return refused,
        };
        let monitors: Vec<&super::Monitor> = groups.iter().filter_map(|group| self.monitors.get(group)).collect();
        let explain = |monitor: &&super::Monitor| {
            let tests = self.probed.explain(now, self.identity.started, &monitor.policy().tests);
            monitor.explain(now, &subject, tests)
        };
        let groups: Vec<_> = monitors.iter().filter_map(explain).collect();
        if groups.is_empty() {
            let known = |monitor: &&super::Monitor| format!("{} in group {}", monitor.host_names().join(", "), monitor.policy().name);
            let known: Vec<String> = monitors.iter().map(known).collect();
            let why =
                format!("no address or host {subject:?} is known here; hosts: {}; `raisctl status` shows the addresses", known.join("; "));
            return Answer::Refused { why };
        }
        let host = Named { id: self.identity.id, name: self.identity.host.name.clone() };
        Answer::Explained(Box::new(Explanation { version: EXPLANATION_VERSION, host, subject, groups }))
    }

    fn freeze(&mut self, now: Time, token: Token, group: Option<&str>, wanted: Wanted, actions: &mut Vec<Action>) -> Option<Answer> {
        let groups = match self.groups(group) {
            Ok(groups) => groups,
            Err(refused) => return Some(refused),
        };
        self.gatherings.insert(token, Gathering::of(groups.len()));
        for group in groups {
            self.with(now, actions, group, |monitor, turn| monitor.freeze(turn, token, wanted));
        }
        None
    }

    /// Passes the wish on to the leader of the group that knows the item.
    fn move_item(&mut self, now: Time, token: Token, group: Option<&str>, order: Order, actions: &mut Vec<Action>) -> Option<Answer> {
        let groups = match self.groups(group) {
            Ok(groups) => groups,
            Err(refused) => return Some(refused),
        };
        let Order { item, to, timeout } = order;
        let knows = |group: &GroupIndex| self.monitors.get(group).is_some_and(|monitor| monitor.knows(&item));
        let Some(group) = groups.into_iter().find(knows) else {
            return Some(Answer::Refused { why: format!("{item} is not known in any of these groups") });
        };
        let monitor = self.monitors.get(&group)?;
        let to = match to {
            None => None,
            Some(name) => match monitor.find_host(&name) {
                Some(host) => Some(host),
                None => {
                    let (group, known) = (&monitor.policy().name, monitor.host_names().join(", "));
                    return Some(Answer::Refused { why: format!("no host {name:?} in group {group}; it knows {known}") });
                }
            },
        };
        self.gatherings.insert(token, Gathering::of(1));
        self.with(now, actions, group, |monitor, turn| monitor.wish(turn, token, WishKind::Move { item, to }, timeout));
        None
    }

    fn rebalance(&mut self, now: Time, token: Token, group: Option<&str>, actions: &mut Vec<Action>) -> Option<Answer> {
        let groups = match self.groups(group) {
            Ok(groups) => groups,
            Err(refused) => return Some(refused),
        };
        self.gatherings.insert(token, Gathering::of(groups.len()));
        for group in groups {
            self.with(now, actions, group, |monitor, turn| monitor.wish(turn, token, WishKind::Rebalance, LEADER_TIME_MAX));
        }
        None
    }

    /// Answers requests of which every group that they mean has been heard.
    pub(super) fn gather_answers(&mut self, now: Time, actions: &mut Vec<Action>) {
        let answers = self.monitors.values_mut().flat_map(|monitor| monitor.take_answers(now)).collect();
        self.take_answers(answers, actions);
    }

    /// Takes the words of groups on requests that wait for them.
    pub(super) fn take_answers(&mut self, answers: Vec<Answered>, actions: &mut Vec<Action>) {
        for (token, answer) in answers {
            let Some(gathering) = self.gatherings.get_mut(&token) else { continue };
            match answer {
                Ok(message) => gathering.done.push(message),
                Err(why) => gathering.refused.push(why),
            }
            gathering.left = gathering.left.saturating_sub(1);
            if gathering.left == 0
                && let Some(gathering) = self.gatherings.remove(&token)
            {
                actions.push(Action::Reply { token, answer: gathering.answer() });
            }
        }
    }

    /// Answers requests whose effect was to be on disk first.
    pub(super) fn reply_stored(requests: Vec<(Token, String)>, outcome: &Outcome, actions: &mut Vec<Action>) {
        for (token, message) in requests {
            let answer = match outcome {
                Outcome::Done => Answer::Done { message },
                Outcome::Failed { why } => {
                    actions.push(Action::Report { group: None, report: Report::StoreFailed { why: why.clone() } });
                    Answer::Refused { why: format!("in effect, but it will not survive a restart of the daemon: {why}") }
                }
                Outcome::TimedOut => Answer::Refused { why: "in effect, but writing it to disk took too long".to_owned() },
            };
            actions.push(Action::Reply { token, answer });
        }
    }
}

/// Where an address is to be, and how long the operator waits for it.
struct Order {
    item: Item,
    /// By id or name; `None`: home.
    to: Option<String>,
    timeout: Duration,
}

/// A request that waits for one or more groups.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Gathering {
    /// How many groups have not answered yet.
    left: usize,
    done: Vec<String>,
    refused: Vec<String>,
}

impl Gathering {
    fn of(groups: usize) -> Self {
        Self { left: groups, done: Vec::new(), refused: Vec::new() }
    }

    /// Refused if any group refuses; then what others have done is said as well.
    fn answer(mut self) -> Answer {
        if self.refused.is_empty() {
            return Answer::Done { message: self.done.join("; ") };
        }
        self.refused.extend(self.done);
        Answer::Refused { why: self.refused.join("; ") }
    }
}

/// How a request went in the groups that know what it is about.
pub(super) enum Known {
    /// Not known in this group.
    No,
    Done(String),
    Refused(String),
}

/// One answer for all groups: refused if any refuses, done if any did it.
fn one_of(results: Vec<Known>, unknown: String) -> Answer {
    let mut done = None;
    for result in results {
        match result {
            Known::Refused(why) => return Answer::Refused { why },
            Known::Done(message) => done = Some(message),
            Known::No => {}
        }
    }
    done.map_or(Answer::Refused { why: unknown }, |message| Answer::Done { message })
}
