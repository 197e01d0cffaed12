//! A network interface that is there, switched on, connected and steady.
//!
//! Owns when its carrier changed of late, as far as `flapping` looks back. Called by `probe.rs`.

use std::collections::VecDeque;

use async_trait::async_trait;
use tokio::time::Instant;

use super::TestProbe;
use super::link::{LinkFacts, Links};
use super::spec::{Flapping, InterfaceTest};

/// A test that looks at an interface.
pub(crate) struct InterfaceProbe {
    test: InterfaceTest,
    links: Links,
    changes: Option<Changes>,
}

impl InterfaceProbe {
    pub(crate) fn new(test: InterfaceTest) -> Self {
        let changes = test.flapping.map(Changes::new);
        Self { test, links: Links::default(), changes }
    }
}

#[async_trait]
impl TestProbe for InterfaceProbe {
    #[expect(clippy::disallowed_methods, reason = "to look back for so long; the kernel dates no changes")]
    async fn probe(&mut self) -> Result<(), String> {
        let name = &self.test.interface;
        let facts = self.links.read(name).await?;
        let unsteady = self.changes.as_mut().map(|changes| changes.take(&facts, Instant::now())).transpose();
        if self.test.carrier && !facts.is_on {
            return Err(format!("interface {name} is switched off: ip link set {name} up"));
        }
        if self.test.carrier && !facts.has_carrier {
            return Err(format!("interface {name} has no carrier"));
        }
        unsteady.map(drop).map_err(|why| format!("interface {name} is flapping: {why}"))
    }

    fn overdue(&self) -> String {
        format!("interface {} could not be read", self.test.interface)
    }
}

/// Changes of a carrier within a time.
struct Changes {
    limit: Flapping,
    last: Option<LinkFacts>,
    /// When a reading showed how many; together never many more than the limit.
    seen: VecDeque<(Instant, u32)>,
}

impl Changes {
    fn new(limit: Flapping) -> Self {
        Self { limit, last: None, seen: VecDeque::new() }
    }

    /// Takes a reading; an error says that the carrier has changed too often.
    fn take(&mut self, facts: &LinkFacts, now: Instant) -> Result<(), String> {
        let Flapping { changes: most, within } = self.limit;
        let before = self.last.replace(*facts);
        // Another index is another interface, whose counter starts anew.
        let fresh =
            before.filter(|before| before.index == facts.index).map(|before| facts.carrier_changes.wrapping_sub(before.carrier_changes));
        if let Some(fresh) = fresh.filter(|fresh| *fresh > 0) {
            self.seen.push_back((now, fresh));
        }
        while self.seen.front().is_some_and(|(at, _)| now.duration_since(*at) >= within) {
            self.seen.pop_front();
        }
        // What is beyond the limit without its oldest entry does not need it: that one will be the first to go.
        while self.count().saturating_sub(self.seen.front().map_or(0, |(_, oldest)| u64::from(*oldest))) > u64::from(most) {
            self.seen.pop_front();
        }
        if self.count() > u64::from(most) { Err(format!("its carrier changed more than {most} times within {within:?}")) } else { Ok(()) }
    }

    fn count(&self) -> u64 {
        self.seen.iter().map(|(_, changes)| u64::from(*changes)).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ports::probe::TestProber;

    const LIMIT: Flapping = Flapping { changes: 2, within: Duration::from_secs(10) };

    fn facts(index: u32, carrier_changes: u32) -> LinkFacts {
        LinkFacts { index, carrier_changes, ..LinkFacts::default() }
    }

    #[tokio::test]
    async fn a_kernel_that_does_not_answer_is_told_and_asked_again() {
        let test = InterfaceTest { interface: "lo".to_owned(), carrier: true, flapping: None };
        let probe = Box::new(InterfaceProbe { links: Links::stuck(), ..InterfaceProbe::new(test) });
        let mut prober = TestProber::Timed { probe, limit: Duration::from_millis(50) };
        assert_eq!(prober.probe().await, Err("interface lo could not be read within 50ms".to_owned()));
        while prober.probe().await.is_err() {}
    }

    #[tokio::test(start_paused = true)]
    async fn changes_count_until_they_are_old_and_those_before_the_start_do_not() {
        #[expect(clippy::disallowed_methods, reason = "paused")]
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut changes = Changes::new(LIMIT);
        assert_eq!(changes.take(&facts(1, 100), at(0)), Ok(()));
        assert_eq!(changes.take(&facts(1, 102), at(1)), Ok(()));
        let why = changes.take(&facts(1, 103), at(5)).unwrap_err();
        assert_eq!(why, "its carrier changed more than 2 times within 10s");
        assert!(changes.take(&facts(1, 103), at(10)).is_err());
        assert_eq!(changes.take(&facts(1, 103), at(11)), Ok(()));
        assert_eq!(changes.take(&facts(2, 1), at(11)), Ok(()), "another interface");
        assert_eq!(changes.take(&facts(2, 2), at(12)), Ok(()));
        assert!(changes.take(&facts(2, 5), at(12)).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wild_interface_is_remembered_within_bounds() {
        #[expect(clippy::disallowed_methods, reason = "paused")]
        let start = Instant::now();
        let mut changes = Changes::new(LIMIT);
        for step in 0..10_000 {
            let _verdict = changes.take(&facts(1, step), start + Duration::from_millis(u64::from(step)));
            assert!(changes.seen.len() <= 3, "{}", changes.seen.len());
        }
        assert!(changes.take(&facts(1, 9_999), start + Duration::from_secs(19)).is_err());
        assert_eq!(changes.take(&facts(1, 9_999), start + Duration::from_secs(20)), Ok(()));
    }
}
