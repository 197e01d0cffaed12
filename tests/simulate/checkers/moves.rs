//! Nothing moves without cause: once a group has been left alone for as long as it may take, an address is taken only if nobody
//! had it, or by its home; and nobody takes the same address twice.

use std::collections::BTreeMap;
use std::net::IpAddr;

use raisd::node::event::Mark;
use raisd::types::time::Time;

use super::{Judgement, object};
use crate::machine::Number;
use crate::seen::{Seen, What};
use crate::truth::Truth;

#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// Since when the group is left alone.
    calm_since: Time,
    /// What was taken in this calm, after all had to be at rest.
    taken: BTreeMap<(Number, IpAddr), Time>,
}

impl Moves {
    pub(crate) fn see(&mut self, now: Time, seen: &Seen, truth: &Truth) -> Judgement {
        if self.calm_since != truth.calm_since {
            self.calm_since = truth.calm_since;
            self.taken.clear();
        }
        if !truth.is_at_rest(now) {
            return Ok(());
        }
        let host = seen.host;
        match &seen.what {
            What::On { address, mark: Mark::Ours } => {
                if let Some(before) = self.taken.insert((host, *address), now) {
                    return object("moves", format!("h{host} takes {address} again, after {before:?}, and nothing has happened"));
                }
                let may =
                    truth.has_failed(*address) || truth.homes(*address).contains(&host) && truth.failback_wait(host, *address).is_some();
                if may {
                    Ok(())
                } else {
                    object("moves", format!("h{host} takes {address} without cause: nothing has happened since {:?}", self.calm_since))
                }
            }
            What::Off { address } => {
                let homes = truth.homes(*address);
                let goes_home = homes.iter().any(|home| *home != host && truth.failback_wait(*home, *address).is_some());
                if goes_home || truth.has_failed(*address) {
                    return Ok(());
                }
                object("moves", format!("h{host} gives {address} up without cause: nothing has happened since {:?}", self.calm_since))
            }
            _ => Ok(()),
        }
    }
}
