//! An address is announced only by a host that has it on its interface.

use std::time::Duration;

use raisd::types::time::Time;

use super::{Judgement, object};
use crate::seen::{Seen, What};
use crate::truth::Truth;

/// All that has waited is read at once.
const WAKING: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(crate) struct Announced;

impl Announced {
    pub(crate) fn see(&mut self, now: Time, seen: &Seen, truth: &Truth) -> Judgement {
        // Who goes on after a hang acts before it has read what others did to its interface meanwhile.
        if truth.hosts.get(&seen.host).is_some_and(|host| host.hangs_until.plus(WAKING) > now) {
            return Ok(());
        }
        match &seen.what {
            What::Announced { address, is_on: false } => {
                object("announced", format!("h{} announces {address}, which it does not have", seen.host))
            }
            _ => Ok(()),
        }
    }
}
