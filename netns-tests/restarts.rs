//! The host with the lowest id restarts a hundred times under traffic: no address moves but its own.
//!
//! It ends by SIGTERM and by SIGKILL, with its state kept and lost, after it is home and while it still listens. Whoever has the lowest
//! id leads as soon as he may: a start that decides before it has listened moves what others serve. Twin: it hears nobody when it
//! starts, so that it takes itself for alone.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use raisd::demo::plan::{Network, Plan};
use raisd::demo::probes::{self, Client, PATIENCE};

use crate::judge::kernel::{Change, ChangeKind, Kernel};
use crate::judge::{now, poll_until, within};
use crate::pool::{HostConfig, Pool, State, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(10);
const LOWEST: u8 = 1;
const OTHERS: [u8; 2] = [2, 3];
const SPARE: u8 = 4;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("the_lowest_id_restarts_a_hundred_times", |stage| restarts(stage, 100, Hearing::Works)),
        stories.twin("the_lowest_id_restarts_a_hundred_times", Finding::Moved, |stage| restarts(stage, 2, Hearing::Fails)),
    ]
}

/// Whether what others say reaches the host that starts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hearing {
    Works,
    Fails,
}

fn restarts(stage: &Stage, times: u32, hearing: Hearing) -> Outcome {
    let mut pool = Pool::build(stage, [1, 2, 3].map(HostConfig::server).into_iter().chain([HostConfig::spare(SPARE)]))?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    for host in [LOWEST].into_iter().chain(OTHERS) {
        wait_home(&kernel, host)?;
    }
    let clients = OTHERS.map(|host| start_client(&pool, host));
    let [second, third] = clients;
    let clients = [second?, third?];
    let before = now();
    if hearing == Hearing::Fails {
        for network in [Network::Control(0), Network::Control(1)] {
            pool.topology().mute(LOWEST, network)?;
        }
    }
    for time in 0..times {
        // All four kinds of a restart come in turn.
        let state = if time % 4 < 2 { State::Kept } else { State::Lost };
        if time % 2 == 0 {
            pool.stop(LOWEST, LONG)?;
        } else {
            pool.kill(LOWEST)?;
        }
        if state == State::Lost {
            pool.lose_state(LOWEST)?;
        }
        let started = now();
        pool.start(LOWEST)?;
        if time % 5 == 4 {
            wait_running(&pool)?;
        } else {
            wait_back(&kernel, started).map_err(|failure| Failure::broken(format!("restart {time}, state {state:?}: {failure}")))?;
        }
        judge_rest(&kernel, before, time)?;
    }
    wait_home(&kernel, LOWEST)?;
    judge_rest(&kernel, before, times)?;
    for (client, host) in clients.into_iter().zip(OTHERS) {
        judge_client(client, host)?;
    }
    pool.check()
}

fn start_client(pool: &Pool, host: u8) -> Outcome<Client> {
    let client = Client::start(pool.topology().client(), service(host), Duration::from_millis(2))?;
    let name = Plan(host).name();
    match client.wait_answer(now() - LONG, within(LONG), |by| by == name)? {
        Some(_) => Ok(client),
        None => Err(Failure::broken(format!("{name} does not answer at {}", service(host)))),
    }
}

fn wait_home(kernel: &Kernel, host: u8) -> Outcome {
    match kernel.wait_holders(service(host), &[host], within(LONG))? {
        Some(_) => Ok(()),
        None => Err(Verdict::new(Finding::Unserved, format!("{} is on {:?}", service(host), kernel.holders(service(host))?)).into()),
    }
}

/// It has taken its address since `started`, though perhaps another has it as well. What a killed daemon has left does not count.
fn wait_back(kernel: &Kernel, started: Instant) -> Outcome {
    let is_back = |change: &Change| (change.host, change.address, change.kind) == (LOWEST, service(LOWEST), ChangeKind::Added);
    let back = poll_until(within(LONG), || Ok(kernel.changes()?.into_iter().find(|change| change.at >= started && is_back(change))))?;
    back.map(drop).ok_or_else(|| Verdict::new(Finding::Unserved, format!("{} by its host", service(LOWEST))).into())
}

/// Every fifth time it has hardly begun to listen when it is ended again.
fn wait_running(pool: &Pool) -> Outcome {
    // The daemon may not answer yet.
    let running = poll_until(within(LONG), || Ok(pool.raisctl_json(LOWEST, &["status"]).ok()))?;
    running.map(drop).ok_or_else(|| Failure::broken("it does not answer its operator"))
}

/// No address has moved since `before` but that of the host that restarts.
fn judge_rest(kernel: &Kernel, before: Instant, time: u32) -> Outcome {
    let moved = kernel.changes()?.into_iter().find(|change| change.at >= before && change.address != service(LOWEST));
    match moved {
        Some(change) => Err(Verdict::new(Finding::Moved, format!("in restart {time}: {change:?}")).into()),
        None => Ok(()),
    }
}

/// The client was served by its host alone, and was not left in the dark for as long as a take-over takes.
fn judge_client(client: Client, host: u8) -> Outcome {
    let log = client.finish()?;
    let servers: Vec<String> = probes::servers(&log, PATIENCE).into_iter().map(|answer| answer.by).collect();
    if servers != [Plan(host).name()] {
        return Err(Verdict::new(Finding::Moved, format!("the client of {} was served by {servers:?}", service(host))).into());
    }
    let outages = probes::outages(&log, PATIENCE);
    match outages.into_iter().find(|outage| outage.duration() >= HostConfig::server(host).timeout) {
        Some(outage) => Err(Verdict::new(Finding::Dark, format!("{} for {:?}", service(host), outage.duration())).into()),
        None => Ok(()),
    }
}
