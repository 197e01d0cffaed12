//! Failed acquires in a row, and how long they keep a host from being tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::time::Time;

/// After the first failure.
const BACK_OFF_MIN: Duration = Duration::from_secs(5);

/// However often it failed.
const BACK_OFF_MAX: Duration = Duration::from_secs(300);

/// One row of failures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Failures {
    pub(crate) count: u32,
    pub(crate) until: Time,
}

/// Rows of failures by whatever they are counted for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "K: Ord + Deserialize<'de>"))]
pub(crate) struct BackOffs<K>(BTreeMap<K, Failures>);

impl<K> Default for BackOffs<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> BackOffs<K> {
    /// Counts a failure; says how long to back off.
    pub(crate) fn fail(&mut self, now: Time, key: K) -> Duration {
        let count = self.0.get(&key).map_or(0, |failures| failures.count).saturating_add(1);
        let doubled = BACK_OFF_MIN.saturating_mul(1u32.checked_shl(count - 1).unwrap_or(u32::MAX));
        let back_off = doubled.min(BACK_OFF_MAX);
        self.0.insert(key, Failures { count, until: now.plus(back_off) });
        back_off
    }

    /// It worked: the row is ended.
    pub(crate) fn succeed(&mut self, key: &K) {
        self.0.remove(key);
    }

    pub(crate) fn get(&self, key: &K) -> Option<Failures> {
        self.0.get(key).copied()
    }

    pub(crate) fn is_in_back_off(&self, now: Time, key: &K) -> bool {
        self.get(key).is_some_and(|failures| failures.until > now)
    }

    /// When the next back-off ends.
    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        self.0.values().map(|failures| failures.until).filter(|until| *until > now).min()
    }

    /// Forgets rows whose last back-off ended as long ago as the longest takes: the next failure starts a row of its own.
    pub(crate) fn drop_old(&mut self, now: Time) {
        self.0.retain(|_, failures| now.since(failures.until) < BACK_OFF_MAX);
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&K, Failures)> {
        self.0.iter().map(|(key, failures)| (key, *failures))
    }

    /// Ends every back-off: an operator or a new configuration may have mended the cause.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_seconds_double_to_five_minutes() {
        let mut back_offs = BackOffs::default();
        let waits: Vec<u64> = (0..8).map(|_| back_offs.fail(Time::START, 1).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300]);
        for _ in 0..100 {
            back_offs.fail(Time::START, 1);
        }
        back_offs.succeed(&1);
        assert_eq!(back_offs.fail(Time::START, 1).as_secs(), 5);
    }

    #[test]
    fn an_old_row_is_forgotten() {
        let mut back_offs = BackOffs::default();
        back_offs.fail(Time::START, 1);
        let later = Time::after_start(Duration::from_secs(4));
        assert!(back_offs.is_in_back_off(later, &1));
        assert_eq!(back_offs.deadline(later), Some(Time::after_start(Duration::from_secs(5))));
        back_offs.drop_old(Time::after_start(Duration::from_secs(305)));
        assert_eq!(back_offs.get(&1), None);
    }
}
