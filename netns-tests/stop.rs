//! SIGTERM of a holder, with a client at 1,000 packets a second: it hands over, and the client is less than 50 ms in the dark.
//!
//! Twin: its power fails instead, so that nothing is handed over.

use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::stat::Mode;
use raisd::demo::plan::Plan;
use raisd::demo::probes::{self, Client, PATIENCE};

use crate::judge::kernel::Kernel;
use crate::judge::{now, within};
use crate::pool::{HostConfig, Pool, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(10);
const BOUND: Duration = Duration::from_millis(50);
const HOLDER: u8 = 2;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("a_holder_is_stopped", |stage| stop(stage, End::Terminated)),
        stories.twin("a_holder_is_stopped", Finding::Dark, |stage| stop(stage, End::PowerCut)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Terminated,
    PowerCut,
}

fn stop(stage: &Stage, end: End) -> Outcome {
    // One of its probes hangs, as on a dead file server: opening a named pipe waits until somebody writes.
    let directory = tempfile::tempdir()?;
    let pipe = directory.path().join("pid");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU)?;
    let tables = format!("[test.stuck]\nkind = \"process\"\nname = \"nginx\"\npid_file = {pipe:?}\n");
    let holder = HostConfig { tables, ..HostConfig::server(HOLDER) };
    let others = [HostConfig::server(1), HostConfig::server(3), HostConfig::spare(4)];
    let mut pool = Pool::build(stage, others.into_iter().chain([holder]))?;
    let (address, name) = (service(HOLDER), Plan(HOLDER).name());
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    for host in [1, 2, 3] {
        if kernel.wait_holders(service(host), &[host], within(LONG))?.is_none() {
            return Err(Verdict::new(Finding::Unserved, format!("{} at the start", service(host))).into());
        }
    }
    let client = Client::start(pool.topology().client(), address, Duration::from_millis(1))?;
    if client.wait_answer(now() - LONG, within(LONG), |by| by == name)?.is_none() {
        return Err(Failure::broken(format!("{name} does not answer at {address}")));
    }
    let stopped = now();
    match end {
        End::Terminated => pool.stop(HOLDER, LONG)?,
        End::PowerCut => pool.power_off(HOLDER)?,
    }
    let Some(taken) = client.wait_answer(stopped, within(LONG), |by| by != name)? else {
        return Err(Verdict::new(Finding::Unserved, format!("{address} after {name} was stopped")).into());
    };
    // Until all that was lost is known to be lost.
    client.wait_answer(taken.at + 2 * PATIENCE, within(LONG), |_| true)?;
    let outages = probes::outages(&client.finish()?, PATIENCE);
    match outages.into_iter().find(|outage| outage.duration() >= BOUND) {
        Some(outage) => {
            let text = format!("{address} for {:?}, {} packets lost", outage.duration(), outage.lost);
            Err(Verdict::new(Finding::Dark, text).into())
        }
        None => pool.check(),
    }
}
