//! Makes a schedule that fails as short as it gets: delta debugging over its faults, bounded in time.

use std::time::{Duration, Instant};

use crate::run::{Failure, play};
use crate::schedule::Schedule;

/// A person waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The shortest schedule found that fails in the same checker, and how it fails.
pub(crate) fn shrink(schedule: &Schedule, failure: &Failure) -> (Schedule, Failure) {
    let deadline = Instant::now() + PATIENCE;
    let mut best = (schedule.clone(), failure.clone());
    // What comes after the failure has no part in it, except that the run has to last so long.
    let mut size = best.0.faults.len().div_ceil(2).max(1);
    while Instant::now() < deadline {
        let mut is_shorter = false;
        let mut from = 0;
        while from < best.0.faults.len() && Instant::now() < deadline {
            let mut candidate = best.0.clone();
            let to = (from + size).min(candidate.faults.len());
            candidate.faults.drain(from..to);
            match play(&candidate).1 {
                Some(found) if found.by == failure.by => {
                    best = (candidate, found);
                    is_shorter = true;
                }
                Some(_) | None => from += size,
            }
        }
        if size == 1 && !is_shorter {
            break;
        }
        if !is_shorter {
            size = size.div_ceil(2);
        }
    }
    best
}
