//! A pool with its records, and what the stories of placement do with it again and again.

use std::net::IpAddr;
use std::process::Output;

use serde_json::Value;

use crate::judge::control::Datagrams;
use crate::judge::kernel::{Holdings, Kernel};
use crate::judge::place::{LONG, STILL_HEARTBEATS, stays_still};
use crate::judge::{poll_until, within};
use crate::pool::{HostConfig, Pool};
use crate::story::{Failure, Finding, Outcome, Stage, Verdict};

/// The pool, its kernels and its control messages.
pub(crate) struct Scene {
    pub(crate) pool: Pool,
    pub(crate) kernel: Kernel,
    pub(crate) datagrams: Datagrams,
}

impl Scene {
    /// Hosts without daemons.
    pub(crate) fn build(stage: &Stage, hosts: impl IntoIterator<Item = HostConfig>) -> Outcome<Self> {
        let pool = Pool::build(stage, hosts)?;
        let kernel = Kernel::record(pool.topology())?;
        let datagrams = Datagrams::record(pool.topology())?;
        Ok(Self { pool, kernel, datagrams })
    }

    /// `raisctl` on a host, which must be content.
    pub(crate) fn raisctl(&self, host: u8, arguments: &[&str]) -> Outcome<String> {
        let output = self.pool.raisctl(host, arguments)?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(Failure::broken(format!("raisctl {arguments:?} on host {host}: {output:?}"))),
        }
    }

    /// `raisctl` on a host, which must be refused with exit code 1 and these words.
    pub(crate) fn refused(&self, host: u8, arguments: &[&str], words: &str) -> Outcome {
        let output: Output = self.pool.raisctl(host, arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() == Some(1) && said.contains(words) {
            true => Ok(()),
            false => Err(Verdict::new(Finding::Misreported, format!("raisctl {arguments:?} does not say {words:?}: {output:?}")).into()),
        }
    }

    /// All of these hosts have listened long enough, are well, and are known whole to each other: a step, not a judgement.
    pub(crate) fn wait_ready(&self, hosts: &[u8]) -> Outcome {
        for host in hosts {
            let ready = poll_until(within(LONG), || {
                let status = self.pool.raisctl_json(*host, &["status"])?;
                Ok((ready_hosts(&status) == hosts.len()).then_some(()))
            })?;
            if ready.is_none() {
                return Err(Failure::broken(format!("host {host} does not come to know {hosts:?}")));
            }
        }
        Ok(())
    }

    /// No kernel changes while each of `alive` goes on sending for three timeouts.
    pub(crate) fn stays_still(&self, alive: &[u8]) -> Outcome {
        stays_still(&self.kernel, &self.datagrams, alive, STILL_HEARTBEATS)
    }

    /// Waits until one of `alive` has each of these addresses.
    pub(crate) fn wait_served(&self, addresses: &[IpAddr], alive: &[u8]) -> Outcome {
        let has = |state: &Holdings, address| state.get(address).is_some_and(|holders| holders.iter().any(|holder| alive.contains(holder)));
        let found = self.kernel.wait(within(LONG), |state| addresses.iter().all(|address| has(state, address)).then_some(()))?;
        found.ok_or_else(|| Verdict::new(Finding::Unserved, format!("of {addresses:?} not all are on {alive:?}")).into())
    }
}

fn ready_hosts(status: &Value) -> usize {
    let is = |host: &Value, key: &str| host.get(key).and_then(Value::as_bool) == Some(true);
    let hosts = status.pointer("/groups/0/hosts").and_then(Value::as_array);
    hosts.map_or(0, |hosts| hosts.iter().filter(|host| is(host, "settled") && is(host, "ok") && is(host, "complete")).count())
}
