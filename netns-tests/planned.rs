//! Planned moves with a client at 1,000 packets a second: a drain, and a host that comes back. Nobody waits for a timeout, and at no time
//! do two hosts have the address; nor with `handover = "overlap"` while there is no fence, which the daemon says.
//!
//! Twins: the power of the holder fails instead, before the drain or instead of the way home; the holder's daemon is killed, so that its
//! kernel keeps the address.

use std::fs;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;
use raisd::demo::probes::{Client, PATIENCE, outages};

use crate::judge::kernel::{Holdings, Kernel};
use crate::judge::place::{LONG, STILL_HEARTBEATS, never_doubled, stays_still, wait_at, wait_own};
use crate::judge::{control::Datagrams, now, within};
use crate::pool::{HostConfig, Pool, State, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const HOLDER: u8 = 2;
const SPARE: u8 = 4;
const ALL: [u8; 4] = [1, HOLDER, 3, SPARE];

/// A planned move leaves less of the client's packets unanswered; the timeout is four times as long.
const BOUND: Duration = Duration::from_millis(100);

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("a_drain_is_hardly_noticed", |stage| drain(stage, "break", Leaving::Drained)),
        stories.twin("a_drain_is_hardly_noticed", Finding::Dark, |stage| drain(stage, "break", Leaving::PowerCut)),
        stories.story("a_failback_is_hardly_noticed", |stage| failback(stage, Return::Planned)),
        stories.twin("a_failback_is_hardly_noticed", Finding::Dark, |stage| failback(stage, Return::Forced)),
        stories.story("an_overlap_without_a_fence_is_a_break", |stage| drain(stage, "overlap", Leaving::Drained)),
        stories.twin("an_overlap_without_a_fence_is_a_break", Finding::Doubled, |stage| drain(stage, "overlap", Leaving::Killed)),
    ]
}

/// How the holder lets go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Drained,
    Killed,
    PowerCut,
}

/// How the address comes home.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Return {
    /// The leader moves it.
    Planned,
    /// The leader does not; the power of the other holder fails.
    Forced,
}

struct Scene {
    pool: Pool,
    kernel: Kernel,
    datagrams: Datagrams,
    client: Client,
}

fn set(stage: &Stage, keys: &str) -> Outcome<Scene> {
    let configs = ALL.map(|number| if number == SPARE { HostConfig::spare(number) } else { HostConfig::server(number) });
    let mut pool = Pool::build(stage, configs.map(|config| HostConfig { group_keys: keys.to_owned(), ..config }))?;
    let kernel = Kernel::record(pool.topology())?;
    let datagrams = Datagrams::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &[1, HOLDER, 3])?;
    let client = Client::start(pool.topology().client(), service(HOLDER), Duration::from_millis(1))?;
    let scene = Scene { pool, kernel, datagrams, client };
    scene.wait_answer(now(), HOLDER)?;
    Ok(scene)
}

impl Scene {
    fn wait_answer(&self, since: Instant, number: u8) -> Outcome {
        let name = Plan(number).name();
        match self.client.wait_answer(since, within(LONG), |by| by == name)? {
            Some(_) => Ok(()),
            None => Err(Verdict::new(Finding::Unserved, format!("{name} does not answer at {}", service(HOLDER))).into()),
        }
    }

    /// No outage of the client since then is as long as a timeout, and never did two hosts have the address.
    fn judge(&self, since: Instant, hosts: &[u8]) -> Outcome {
        never_doubled(&self.kernel, [service(HOLDER)], since, hosts)?;
        // Until all that was lost is known to be lost.
        self.client.wait_answer(now() + 2 * PATIENCE, within(LONG), |_| true)?;
        let recent: Vec<_> = self.client.probes()?.into_iter().filter(|probe| probe.sent >= since).collect();
        match outages(&recent, PATIENCE).into_iter().find(|outage| outage.duration() >= BOUND) {
            Some(outage) => {
                let text = format!("{} for {:?}, {} packets lost", service(HOLDER), outage.duration(), outage.lost);
                Err(Verdict::new(Finding::Dark, text).into())
            }
            None => Ok(()),
        }
    }
}

fn drain(stage: &Stage, handover: &str, leaving: Leaving) -> Outcome {
    let mut scene = set(stage, &format!("handover = \"{handover}\""))?;
    let begin = now();
    match leaving {
        Leaving::Drained => {
            let output = scene.pool.raisctl(HOLDER, &["drain"])?;
            if !output.status.success() {
                return Err(Failure::broken(format!("raisctl drain: {output:?}")));
            }
        }
        Leaving::Killed => scene.pool.kill(HOLDER)?,
        Leaving::PowerCut => scene.pool.power_off(HOLDER)?,
    }
    let has = |holders: &Holdings| holders.get(&service(HOLDER))?.contains(&SPARE).then_some(());
    if scene.kernel.wait(within(LONG), has)?.is_none() {
        return Err(Verdict::new(Finding::Unserved, format!("{} is not on the spare", service(HOLDER))).into());
    }
    if leaving != Leaving::Killed {
        scene.wait_answer(begin, SPARE)?;
    }
    // The kernel of a host without power keeps what it had; nobody can reach it.
    scene.judge(begin, if leaving == Leaving::PowerCut { &[1, 3, SPARE] } else { &ALL })?;
    stays_still(&scene.kernel, &scene.datagrams, &ALL, STILL_HEARTBEATS)?;
    judge_words(&scene.pool, handover)?;
    scene.pool.check()
}

fn failback(stage: &Stage, way: Return) -> Outcome {
    let failback = match way {
        Return::Planned => "1s",
        Return::Forced => "never",
    };
    let mut scene = set(stage, &format!("failback = \"{failback}\""))?;
    let address = service(HOLDER);
    let vanished = now();
    scene.pool.power_off(HOLDER)?;
    scene.wait_answer(vanished, SPARE)?;
    scene.pool.power_on(HOLDER, State::Kept)?;
    let back = now();
    if way == Return::Forced {
        stays_still(&scene.kernel, &scene.datagrams, &ALL, 2 * STILL_HEARTBEATS)?;
        scene.pool.power_off(SPARE)?;
        scene.wait_answer(back, HOLDER)?;
        return scene.judge(back, &[1, HOLDER, 3]);
    }
    wait_at(&scene.kernel, address, &[HOLDER], within(LONG))?;
    scene.wait_answer(back, HOLDER)?;
    scene.judge(back, &ALL)?;
    stays_still(&scene.kernel, &scene.datagrams, &ALL, STILL_HEARTBEATS)?;
    scene.pool.check()
}

/// Each daemon says once, at its start, what becomes of an overlap.
fn judge_words(pool: &Pool, handover: &str) -> Outcome {
    let expected = if handover == "overlap" { 1 } else { 0 };
    for host in ALL {
        let count = fs::read_to_string(pool.log(host))?.matches("goes as \"break\": this host has no fence").count();
        if count != expected {
            return Err(Verdict::new(Finding::Misreported, format!("host {host} says {count} times that an overlap is a break")).into());
        }
    }
    Ok(())
}
