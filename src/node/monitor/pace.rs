//! How old an `info` of this host may be that others answer to, and how often it sends, while the group's `heartbeat` and
//! `timeout` become others.
//!
//! Owns what of the former values still holds: whoever slows down does so when everybody knows, and what counted as fresh or
//! as stale under one timeout does not become the contrary by the other. Decides nothing about hosts. Called by `monitor.rs`
//! only.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::host::Sequence;
use crate::types::time::Time;

/// The passage from one pace to another.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Pace {
    /// What this host has sent within this is fresh.
    window: Duration,
    /// When a window that has become too wide narrows.
    narrows_at: Option<Time>,
    /// What was sent from here on is fresh: never moves back.
    fresh_since: Time,
    /// The first `info` that says a longer heartbeat, and the one that holds until everybody knows.
    faster: Option<(Sequence, Duration)>,
}

impl Pace {
    pub(crate) fn new(now: Time, timeout: Duration) -> Self {
        Self { window: timeout, narrows_at: None, fresh_since: now.minus(timeout), faster: None }
    }

    /// Moves on with time. `timeout`: the longest that any live host goes by.
    ///
    /// A shorter one holds after as long as it says: answers to what is sent from here on have come by then, while those
    /// of the slower pace before are no older than they had to be. A longer one makes nothing fresh that was stale.
    pub(crate) fn note(&mut self, now: Time, timeout: Duration) {
        if timeout >= self.window || now >= *self.narrows_at.get_or_insert(now.plus(timeout)) {
            (self.window, self.narrows_at) = (timeout, None);
        }
        self.fresh_since = self.fresh_since.max(now.minus(self.window));
    }

    /// What this host sent at or after this time is fresh.
    pub(crate) fn fresh_since(&self) -> Time {
        self.fresh_since
    }

    /// How far back the record of what was sent has to reach.
    pub(crate) fn window(&self) -> Duration {
        self.window
    }

    /// From the `info` numbered `sequence` on this host says a longer heartbeat than `former`, which it keeps until
    /// everybody has heard that: whoever has missed the word would take it for silent too soon.
    pub(crate) fn slow_down(&mut self, sequence: Sequence, former: Duration) {
        let former = self.faster.map_or(former, |(_, faster)| faster.min(former));
        self.faster = Some((sequence, former));
    }

    /// The `info` that everybody has to hear before this host slows down.
    pub(crate) fn unheard(&self) -> Option<Sequence> {
        self.faster.map(|(sequence, _)| sequence)
    }

    /// Everybody has heard it.
    pub(crate) fn slowed_down(&mut self) {
        self.faster = None;
    }

    /// How often it sends that goes by `heartbeat`.
    pub(crate) fn heartbeat(&self, heartbeat: Duration) -> Duration {
        self.faster.map_or(heartbeat, |(_, faster)| faster.min(heartbeat))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::after_start(Duration::from_millis(10_000 + ms))
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_shorter_timeout_holds_when_it_has_passed_once() {
        let mut pace = Pace::new(at(0), ms(1000));
        pace.note(at(0), ms(100));
        assert_eq!((pace.fresh_since(), pace.window()), (at(0).minus(ms(1000)), ms(1000)));
        pace.note(at(99), ms(100));
        assert_eq!(pace.window(), ms(1000));
        pace.note(at(100), ms(100));
        assert_eq!(pace.fresh_since(), at(0));
    }

    #[test]
    fn a_longer_timeout_makes_nothing_fresh_that_was_stale() {
        let mut pace = Pace::new(at(0), ms(100));
        pace.note(at(0), ms(600));
        assert_eq!(pace.fresh_since(), at(0).minus(ms(100)));
        pace.note(at(499), ms(600));
        assert_eq!(pace.fresh_since(), at(0).minus(ms(100)));
        pace.note(at(700), ms(600));
        assert_eq!(pace.fresh_since(), at(100));
    }

    #[test]
    fn a_timeout_that_is_short_for_a_moment_only_changes_nothing() {
        let mut pace = Pace::new(at(0), ms(1000));
        pace.note(at(0), ms(100));
        pace.note(at(50), ms(1000));
        pace.note(at(120), ms(100));
        assert_eq!(pace.window(), ms(1000));
    }

    #[test]
    fn of_several_former_heartbeats_the_shortest_holds_until_the_last_word_is_heard() {
        let mut pace = Pace::new(at(0), ms(1000));
        assert_eq!(pace.heartbeat(ms(250)), ms(250));
        pace.slow_down(Sequence(5), ms(50));
        pace.slow_down(Sequence(7), ms(100));
        assert_eq!((pace.unheard(), pace.heartbeat(ms(400))), (Some(Sequence(7)), ms(50)));
        assert_eq!(pace.heartbeat(ms(25)), ms(25));
        pace.slowed_down();
        assert_eq!(pace.heartbeat(ms(400)), ms(400));
    }
}
