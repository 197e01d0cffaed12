//! When an address goes home to a host that is well again.
//!
//! After `failback`, while a client at 1,000 packets a second is answered all the time but for the moment of the change; later
//! and later if its returns do not last; with `failback = "never"` only when an operator sends it home.
//! Twins: `failback` is not configured; the host is not failing but drained, again and again.

use std::fs;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;
use raisd::demo::probes::{self, Client, PATIENCE};
use serde_json::Value;

use crate::judge::kernel::Change;
use crate::judge::place::{LONG, has_not_moved, never_doubled, wait_at, wait_own};
use crate::judge::{now, within};
use crate::pool::{HostConfig, State, service};
use crate::scene::Scene;
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const HOST: u8 = 2;
const SPARE: u8 = 3;
const ALL: [u8; 3] = [1, HOST, SPARE];

/// Less than a take-over without being told would last, many times what a handover takes.
const DARK_MAX: Duration = Duration::from_millis(300);

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("an_address_goes_home_after_failback", |stage| go_home(stage, "failback = \"2s\"\n")),
        stories.twin("an_address_goes_home_after_failback", Finding::Moved, |stage| go_home(stage, "")),
        stories.story("returns_that_do_not_last_come_later_and_later", |stage| flap(stage, Away::TestFails)),
        stories.twin("returns_that_do_not_last_come_later_and_later", Finding::Moved, |stage| flap(stage, Away::Drained)),
        stories.story("with_failback_never_an_address_goes_home_when_it_is_sent", |stage| never(stage, "failback = \"never\"\n")),
        stories.twin("with_failback_never_an_address_goes_home_when_it_is_sent", Finding::Moved, |stage| never(stage, "")),
    ]
}

/// Why a host gives its address up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Away {
    Drained,
    TestFails,
}

/// Two hosts with their addresses and a spare, all with the same lines of `[[group]]`.
fn set(stage: &Stage, keys: &str) -> Outcome<Scene> {
    let hosts = [HostConfig::server(1), HostConfig::server(HOST), HostConfig::spare(SPARE)];
    let mut scene = Scene::build(stage, hosts.map(|host| HostConfig { group_keys: keys.to_owned(), ..host }))?;
    scene.pool.start_all()?;
    wait_own(&scene.kernel, &[1, HOST])?;
    scene.wait_ready(&ALL)?;
    Ok(scene)
}

fn go_home(stage: &Stage, keys: &str) -> Outcome {
    const FAILBACK: Duration = Duration::from_secs(2);
    let mut scene = set(stage, keys)?;
    let address = service(HOST);
    scene.pool.power_off(HOST)?;
    scene.wait_served(&[address], &[SPARE])?;
    let client = Client::start(scene.pool.topology().client(), address, Duration::from_millis(1))?;
    if client.wait_answer(now() - LONG, within(LONG), |by| by == Plan(SPARE).name())?.is_none() {
        return Err(Failure::broken(format!("the spare does not answer at {address}")));
    }
    scene.pool.power_on(HOST, State::Kept)?;
    // The kernel has forgotten with the power.
    let back = now();
    wait_at(&scene.kernel, address, &[HOST], within(LONG))?;
    let is_early = |change: &Change| change.address == address && change.host == SPARE && change.at < back + FAILBACK;
    has_not_moved(&scene.kernel, back, is_early)?;
    never_doubled(&scene.kernel, [address], back, &ALL)?;
    let Some(home) = client.wait_answer(back, within(LONG), |by| by == Plan(HOST).name())? else {
        return Err(Verdict::new(Finding::StaleNeighbour, format!("the client does not follow {address} home")).into());
    };
    client.wait_answer(home.at + 2 * PATIENCE, within(LONG), |_| true)?;
    let dark = probes::outages(&client.finish()?, PATIENCE).into_iter().find(|outage| outage.duration() >= DARK_MAX);
    match dark {
        Some(outage) => Err(Verdict::new(Finding::Dark, format!("{address} for {:?}", outage.duration())).into()),
        None => scene.pool.check(),
    }
}

fn flap(stage: &Stage, away: Away) -> Outcome {
    let mut scene = Scene::build(stage, [HostConfig::server(1), HostConfig::server(HOST), HostConfig::spare(SPARE)])?;
    let well = scene.pool.directory(HOST).join("well");
    let script = scene.pool.script(HOST, "test", &format!("#!/bin/sh\nexec test -e {}\n", well.display()))?;
    fs::write(&well, "")?;
    for host in ALL {
        scene.pool.configure(host, |config| config.group_keys = "failback = \"500ms\"\n".to_owned())?;
    }
    scene.pool.configure(HOST, |config| {
        config.group_keys.push_str("tests = [\"web\"]\n");
        let command = format!("kind = \"script\"\ncommand = [\"{}\"]", script.display());
        config.tables = format!("[test.web]\n{command}\ninterval = \"100ms\"\ntimeout = \"100ms\"\nrise = 1\nfall = 1\n");
    })?;
    scene.pool.start_all()?;
    wait_own(&scene.kernel, &[1, HOST])?;
    scene.wait_ready(&ALL)?;
    let address = service(HOST);
    // The wait for the first two returns is as configured.
    for (round, least) in [500, 500, 1000, 2000].map(Duration::from_millis).into_iter().enumerate() {
        match away {
            Away::TestFails => fs::remove_file(&well)?,
            Away::Drained => scene.raisctl(HOST, &["drain"]).map(drop)?,
        }
        wait_at(&scene.kernel, address, &[SPARE], within(LONG))?;
        scene.wait_known_away(address)?;
        let back = now();
        match away {
            Away::TestFails => fs::write(&well, "")?,
            Away::Drained => scene.raisctl(HOST, &["resume"]).map(drop)?,
        }
        wait_at(&scene.kernel, address, &[HOST], within(LONG))?;
        judge_late(&scene, back, least, round)?;
    }
    judge_status(&scene)?;
    scene.pool.check()
}

impl Scene {
    /// The leader has heard that the address is away and its host unfit: a step, so that the next change is a change to it.
    fn wait_known_away(&self, address: std::net::IpAddr) -> Outcome {
        let known = crate::judge::poll_until(within(LONG), || {
            let status = self.pool.raisctl_json(1, &["status"])?;
            Ok(shown(&status, address).and_then(|shown| shown.get("state")?.as_str().map(str::to_owned)).filter(|state| state == "online"))
        })?;
        known.map(drop).ok_or_else(|| Failure::broken(format!("the leader does not come to see {address} online")))
    }
}

fn judge_late(scene: &Scene, back: Instant, least: Duration, round: usize) -> Outcome {
    let address = service(HOST);
    let is_early = |change: &Change| change.address == address && change.host == HOST && change.at < back + least;
    match has_not_moved(&scene.kernel, back, is_early) {
        Err(Failure::Judged(verdict)) => Err(Failure::from(Verdict::new(Finding::Moved, format!("return {round}: {verdict}")))),
        other => other,
    }
}

fn shown(status: &Value, address: std::net::IpAddr) -> Option<&Value> {
    let addresses = status.pointer("/groups/0/addresses")?.as_array()?;
    addresses.iter().find(|shown| shown.get("address").and_then(Value::as_str) == Some(&address.to_string()))
}

/// Every host says how long the next return will take.
fn judge_status(scene: &Scene) -> Outcome {
    for host in ALL {
        let wait = crate::judge::poll_until(within(LONG), || {
            let status = scene.pool.raisctl_json(host, &["status"])?;
            let number = |key: &str| shown(&status, service(HOST)).and_then(|shown| shown.get(key)?.as_u64());
            Ok(((number("failback_ms"), number("failback_doublings")) == (Some(4000), Some(3))).then_some(()))
        })?;
        if wait.is_none() {
            let text = format!("host {host} does not say that failback has doubled three times, to 4 s");
            return Err(Verdict::new(Finding::Misreported, text).into());
        }
    }
    Ok(())
}

fn never(stage: &Stage, keys: &str) -> Outcome {
    let mut scene = set(stage, keys)?;
    let address = service(HOST);
    scene.pool.power_off(HOST)?;
    scene.wait_served(&[address], &[SPARE])?;
    scene.pool.power_on(HOST, State::Kept)?;
    let back = now();
    scene.wait_ready(&ALL)?;
    // What is wanted home goes home with the first step of the leader after the host has settled.
    scene.stays_still(&ALL)?;
    has_not_moved(&scene.kernel, back, |change| change.address == address && change.host == SPARE)?;
    scene.raisctl(1, &["move", &address.to_string()])?;
    wait_at(&scene.kernel, address, &[HOST], within(LONG))?;
    scene.stays_still(&ALL)?;
    scene.pool.check()
}
