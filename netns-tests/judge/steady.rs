//! A client at 1,000 packets a second, all answered by the host that has to: through whatever is done meanwhile.

use std::net::IpAddr;
use std::time::Duration;

use raisd::demo::plan::Plan;
use raisd::demo::probes::{self, Client, PATIENCE};

use super::place::LONG;
use super::{now, within};
use crate::pool::Pool;
use crate::story::{Failure, Finding, Outcome, Verdict};

/// What a client takes for a gap.
const BOUND: Duration = Duration::from_millis(50);

/// The client.
#[derive(Debug)]
pub(crate) struct Steady {
    client: Client,
    address: IpAddr,
    name: String,
}

impl Steady {
    /// Starts to ask `address`, which `host` answers at.
    pub(crate) fn start(pool: &Pool, address: IpAddr, host: u8) -> Outcome<Self> {
        let client = Client::start(pool.topology().client(), address, Duration::from_millis(1))?;
        let name = Plan(host).name();
        if client.wait_answer(now() - LONG, within(LONG), |by| by == name)?.is_none() {
            return Err(Failure::broken(format!("{name} does not answer at {address}")));
        }
        Ok(Self { client, address, name })
    }

    /// Waits until `host` answers what is asked from now on.
    pub(crate) fn wait_host(&self, host: u8) -> Outcome {
        let name = Plan(host).name();
        match self.client.wait_answer(now(), within(LONG), |by| by == name)? {
            Some(_) => Ok(()),
            None => Err(Verdict::new(Finding::Unserved, format!("{} by {name}", self.address)).into()),
        }
    }

    /// It was answered all the time, by whomever.
    pub(crate) fn was_answered(self) -> Outcome {
        self.finish().map(drop)
    }

    /// It was answered all the time, by its host alone.
    pub(crate) fn was_answered_by_its_host(self) -> Outcome {
        let (address, name) = (self.address, self.name.clone());
        let probes = self.finish()?;
        match probes::servers(&probes, PATIENCE).into_iter().find(|answer| answer.by != name) {
            Some(other) => Err(Verdict::new(Finding::Moved, format!("{address} was answered at by {}", other.by)).into()),
            None => Ok(()),
        }
    }

    fn finish(self) -> Outcome<Vec<probes::Probe>> {
        // Until all that was lost is known to be lost.
        self.client.wait_answer(now() + 2 * PATIENCE, within(LONG), |_| true)?;
        let probes = self.client.finish()?;
        match probes::outages(&probes, PATIENCE).into_iter().find(|outage| outage.duration() >= BOUND) {
            Some(outage) => {
                let text = format!("{} for {:?}, {} packets lost", self.address, outage.duration(), outage.lost);
                Err(Verdict::new(Finding::Dark, text).into())
            }
            None => Ok(probes),
        }
    }
}
