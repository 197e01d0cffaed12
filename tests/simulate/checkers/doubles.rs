//! Two hosts have an address only in the situations of the table, each within its bound.

use std::collections::BTreeMap;
use std::net::IpAddr;

use raisd::types::time::Time;

use super::{Judgement, object};
use crate::machine::Number;
use crate::seen::{Seen, What};
use crate::situation::Pace;
use crate::truth::Truth;

#[derive(Debug, Default)]
pub(crate) struct Doubles {
    /// Since when, and who has had it since.
    open: BTreeMap<IpAddr, (Time, Vec<Number>)>,
}

impl Doubles {
    pub(crate) fn see(&mut self, now: Time, seen: &Seen, truth: &Truth) -> Judgement {
        let address = match &seen.what {
            What::On { address, .. } | What::Off { address } => *address,
            _ => return Ok(()),
        };
        let holders = truth.holders(address);
        if holders.len() > 1 {
            let (_, known) = self.open.entry(address).or_insert((now, Vec::new()));
            known.extend(holders);
            return Ok(());
        }
        match self.open.remove(&address) {
            Some((since, holders)) => judge(address, since, now, &holders, truth),
            None => Ok(()),
        }
    }

    /// Those that are still there at the end.
    pub(crate) fn end(&mut self, now: Time, truth: &Truth) -> Judgement {
        for (address, (since, holders)) in &self.open {
            judge(*address, *since, now, holders, truth)?;
        }
        Ok(())
    }
}

fn judge(address: IpAddr, since: Time, now: Time, holders: &[Number], truth: &Truth) -> Judgement {
    let pace = Pace { heartbeat: truth.heartbeat, timeout: truth.timeout, script: truth.script_timeout };
    let Some(from) = truth.situations.unexcused(pace, holders, since, now) else { return Ok(()) };
    let mut holders = holders.to_vec();
    holders.sort_unstable();
    holders.dedup();
    object("doubles", format!("{holders:?} had {address} at once from {since:?} to {now:?}, and nothing excuses it from {from:?} on"))
}
