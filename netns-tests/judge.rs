//! The judges: what a person outside of raisd can see. None of them asks raisd anything.
//!
//! Frames and the client are observed by [`raisd::demo`], which holds nothing of the daemon and shares nothing with it.
#![expect(clippy::disallowed_methods, reason = "an observer outside of the protocol measures time")]

use std::thread;
use std::time::{Duration, Instant};

use crate::story::Outcome;

pub(crate) mod calls;
pub(crate) mod control;
pub(crate) mod dig;
pub(crate) mod kernel;
pub(crate) mod mark;
pub(crate) mod neighbour;
pub(crate) mod place;
pub(crate) mod steady;
pub(crate) mod zone;

/// The present.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A point in the future.
pub(crate) fn within(duration: Duration) -> Instant {
    Instant::now() + duration
}

/// Asks every 5 ms until there is an answer; `None` at the deadline. For what has no event: `dig`, a file, `raisctl`.
/// What is observed by a log (addresses, frames, answers) is waited for there.
pub(crate) fn poll_until<R>(deadline: Instant, mut ask: impl FnMut() -> Outcome<Option<R>>) -> Outcome<Option<R>> {
    loop {
        if let Some(answer) = ask()? {
            return Ok(Some(answer));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}
