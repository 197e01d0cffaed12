//! How long a preferred host waits for its address when its returns do not last: each return within ten minutes of the last
//! doubles `failback`. A host that was stopped in order, quiesced or drained does not keep failing: that ends the row.
//!
//! The count travels with the address database, so that it outlives the leader, and the host that keeps failing, which is
//! often the leader. A pure calculation; called by `items.rs`, `tables.rs`, `control.rs` and `status.rs`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::policy::Failback;
use crate::types::time::Time;

/// A return that lasts longer than this is a good one.
const WINDOW: Duration = Duration::from_secs(600);

/// However often it returned.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// A shorter `failback` counts as this once it is doubled: twice nothing would be nothing. So short that the first few returns
/// under `failback = "0s"`, which means at once, are hardly kept waiting.
const DOUBLED_FROM: Duration = Duration::from_millis(100);

/// The returns of one address to its preferred host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Returns {
    /// The last.
    pub(crate) at: Time,
    /// How many in a row came within the window of the one before.
    pub(crate) quick: u32,
}

impl Returns {
    /// One more, after `before`.
    pub(crate) fn after(now: Time, before: Option<Self>) -> Self {
        let quick = before.filter(|before| before.is_recent(now)).map_or(0, |before| before.quick.saturating_add(1));
        Self { at: now, quick }
    }

    /// The operator has taken the host away: whatever it comes back from, it is no failure. The later word outlives the older
    /// count, here and where both meet.
    pub(crate) fn ended(self, now: Time) -> Self {
        if self.quick == 0 { self } else { Self { at: now, quick: 0 } }
    }

    /// How often `failback` is doubled for the next return.
    pub(crate) fn doublings(self, now: Time) -> u32 {
        if self.is_recent(now) { self.quick } else { 0 }
    }

    fn is_recent(self, now: Time) -> bool {
        now.since(self.at) < WINDOW
    }
}

/// How long a preferred host must have been well; `None`: it does not get the address back.
#[must_use]
pub(crate) fn wait(failback: Failback, doublings: u32) -> Option<Duration> {
    match failback {
        Failback::Never => None,
        Failback::After(failback) if doublings == 0 => Some(failback),
        Failback::After(failback) => {
            let doubled = failback.max(DOUBLED_FROM).saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX));
            Some(doubled.min(failback.max(WAIT_MAX)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::after_start(Duration::from_secs(seconds))
    }

    #[test]
    fn each_quick_return_doubles_up_to_five_minutes() {
        let waits = |failback_ms| -> Vec<u128> {
            (0..13).map(|doublings| wait(Failback::After(Duration::from_millis(failback_ms)), doublings).unwrap().as_millis()).collect()
        };
        assert_eq!(waits(0), [0, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 204_800, 300_000]);
        assert_eq!(waits(60_000)[..5], [60_000, 120_000, 240_000, 300_000, 300_000]);
        assert_eq!(waits(3_600_000), [3_600_000; 13], "what is configured longer stays");
        assert_eq!(wait(Failback::After(Duration::ZERO), u32::MAX), Some(Duration::from_secs(300)));
        assert_eq!(wait(Failback::Never, 0), None);
    }

    #[test]
    fn an_operator_ends_the_row() {
        let first = Returns::after(at(0), None);
        assert_eq!(first.ended(at(5)), first, "there is no row yet");
        let third = Returns::after(at(20), Some(Returns::after(at(10), Some(first))));
        assert_eq!(third.ended(at(30)), Returns { at: at(30), quick: 0 });
        assert_eq!(third.ended(at(30)).doublings(at(31)), 0);
    }

    #[test]
    fn a_return_that_lasts_ends_the_row() {
        let first = Returns::after(at(0), None);
        let second = Returns::after(at(599), Some(first));
        let third = Returns::after(at(700), Some(second));
        assert_eq!([first, second, third].map(|returns| returns.quick), [0, 1, 2]);
        assert_eq!((third.doublings(at(1299)), third.doublings(at(1300))), (2, 0));
        assert_eq!(Returns::after(at(1300), Some(third)).quick, 0);
    }
}
