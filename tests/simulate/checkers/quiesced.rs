//! No address comes to a host that is quiesced and did not have it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use raisd::node::event::Mark;
use raisd::types::host::Duty;
use raisd::types::time::Time;

use super::{Judgement, object};
use crate::machine::Number;
use crate::seen::{Seen, What};
use crate::truth::Truth;

/// What was asked of the kernel before the operator spoke may still be done: longer than a batch takes.
const UNDER_WAY: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(crate) struct Quiesced {
    /// What each host had at any time since it was last free to take: it may put back what others take off.
    had: BTreeSet<(Number, IpAddr)>,
}

impl Quiesced {
    pub(crate) fn see(&mut self, now: Time, seen: &Seen, truth: &Truth) -> Judgement {
        let What::On { address, .. } = &seen.what else { return Ok(()) };
        let Some(host) = truth.hosts.get(&seen.host) else { return Ok(()) };
        let key = (seen.host, *address);
        let is_free = !host.runs || host.duty == Duty::Active || now.since(host.duty_since) <= UNDER_WAY;
        let is_by_hand = truth.on.get(address).and_then(|on| on.get(&seen.host)) == Some(&Mark::Foreign);
        if is_free || is_by_hand {
            self.had.insert(key);
            return Ok(());
        }
        if host.hangs_until.plus(UNDER_WAY) > now || self.had.contains(&key) {
            return Ok(());
        }
        object("quiesced", format!("h{} takes {address} although it is {:?}", seen.host, host.duty))
    }
}
