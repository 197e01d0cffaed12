//! Group-wide keys: the leader's values rule, `status` names whose are others, nobody fights, and a pool that is changed host
//! by host passes through without a gap.
//!
//! Judged by every word of the kernels about addresses, a client at 1,000 packets a second, and the pace of the control
//! messages. Twins: what is changed is not ruled by the leader; the leader keeps its values.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;

use crate::judge::control::Datagrams;
use crate::judge::kernel::Kernel;
use crate::judge::place::{LONG, is_untouched, stays_still, wait_own};
use crate::judge::steady::Steady;
use crate::judge::{now, poll_until, within};
use crate::pool::{HostConfig, Pool};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const LEADER: u8 = 1;
const ALL: [u8; 4] = [LEADER, 2, 3, 4];
/// Of whose address a client asks.
const ASKED: u8 = 2;

/// For so many heartbeats of 100 ms, or of 200 ms, nothing happens after each change: more than twice the timeout.
const STILL: usize = 10;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("a_pool_is_changed_host_by_host", |stage| change_all(stage, Change::GroupWide)),
        stories.twin("a_pool_is_changed_host_by_host", Finding::Moved, |stage| change_all(stage, Change::Address)),
        stories.story("the_leaders_values_rule", |stage| follow(stage, &[2, 3, 4, LEADER])),
        stories.twin("the_leaders_values_rule", Finding::Pace, |stage| follow(stage, &[2, 3, 4])),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    GroupWide,
    /// That of the group: whoever has another is in another group.
    Address,
}

/// The other values, and what `status` calls them.
const OTHER_KEYS: [&str; 7] = ["all_failed", "assign", "dns", "failback", "heartbeat", "orphan_lifetime", "timeout"];

fn set_other(config: &mut HostConfig) {
    config.heartbeat = Duration::from_millis(200);
    config.timeout = Duration::from_millis(800);
    config.ttl = Duration::from_secs(7);
    config.group_keys = "assign = \"fair\"\nfailback = \"2s\"\nall_failed = \"keep\"\norphan_lifetime = \"3d\"\n".to_owned();
}

fn set_first(config: &mut HostConfig) {
    let HostConfig { heartbeat, timeout, ttl, group_keys, .. } = HostConfig::server(config.plan.0);
    (config.heartbeat, config.timeout, config.ttl, config.group_keys) = (heartbeat, timeout, ttl, group_keys);
}

struct Scene {
    pool: Pool,
    kernel: Kernel,
    datagrams: Datagrams,
}

impl Scene {
    fn build(stage: &Stage) -> Outcome<Self> {
        let mut pool = Pool::build(stage, [LEADER, 2, 3].map(HostConfig::server).into_iter().chain([HostConfig::spare(4)]))?;
        let kernel = Kernel::record(pool.topology())?;
        let datagrams = Datagrams::record(pool.topology())?;
        pool.start_all()?;
        wait_own(&kernel, &[LEADER, 2, 3])?;
        let scene = Self { pool, kernel, datagrams };
        scene.stays_still()?;
        Ok(scene)
    }

    fn stays_still(&self) -> Outcome {
        stays_still(&self.kernel, &self.datagrams, &ALL, STILL)
    }
}

/// In which order hosts get which values.
type Round = ([u8; 4], fn(&mut HostConfig));

fn change_all(stage: &Stage, change: Change) -> Outcome {
    let mut scene = Scene::build(stage)?;
    let since = now();
    let steady = Steady::start(&scene.pool, crate::pool::service(ASKED), ASKED)?;
    // There with the leader last, and back with the leader first.
    let rounds: [Round; 2] = [([4, 3, 2, LEADER], set_other), ([LEADER, 2, 3, 4], set_first)];
    for (order, set) in rounds {
        let before: BTreeSet<u8> = ALL.into();
        let mut left = before.clone();
        for host in order {
            match change {
                Change::GroupWide => scene.pool.reconfigure(host, set)?,
                Change::Address => return change_address(&mut scene, host),
            };
            left.remove(&host);
            // Whoever is on the other side than the leader differs from it.
            let differing = if left.contains(&LEADER) { before.difference(&left).copied().collect() } else { left.clone() };
            judge_status(&scene.pool, &differing)?;
            scene.stays_still()?;
            is_untouched(&scene.kernel, since, &[])?;
        }
    }
    steady.was_answered_by_its_host()?;
    scene.pool.check()
}

fn change_address(scene: &mut Scene, host: u8) -> Outcome {
    // A spare has nothing to lose: host 3 goes first here.
    let host = if host == 4 { 3 } else { host };
    let since = now();
    let path = scene.pool.directory(host).join("raisd.toml");
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, text.replace("239.255.42.1:", "239.255.42.9:"))?;
    scene.pool.reload(host)?;
    scene.stays_still()?;
    is_untouched(&scene.kernel, since, &[])
}

/// Every host's status comes to name exactly these hosts, each with all the keys.
fn judge_status(pool: &Pool, differing: &BTreeSet<u8>) -> Outcome {
    let all: BTreeSet<String> = OTHER_KEYS.map(str::to_owned).into();
    let wanted: BTreeMap<String, BTreeSet<String>> =
        ALL.into_iter().map(|host| (Plan(host).name(), if differing.contains(&host) { all.clone() } else { BTreeSet::new() })).collect();
    for asked in ALL {
        let mut last = BTreeMap::new();
        let said = poll_until(within(LONG), || {
            last = differing_keys(pool, asked)?;
            Ok((last == wanted).then_some(()))
        })?;
        if said.is_none() {
            return Err(Verdict::new(Finding::Misreported, format!("host {asked} says {last:?} instead of {wanted:?}")).into());
        }
        let text = String::from_utf8_lossy(&pool.raisctl(asked, &["status"])?.stdout).into_owned();
        let is_told = text.contains("group-wide settings");
        if is_told == differing.is_empty() {
            return Err(Verdict::new(Finding::Misreported, format!("of {differing:?} host {asked} shows:\n{text}")).into());
        }
    }
    Ok(())
}

fn differing_keys(pool: &Pool, asked: u8) -> Outcome<BTreeMap<String, BTreeSet<String>>> {
    let status = pool.raisctl_json(asked, &["status"])?;
    let hosts =
        status.pointer("/groups/0/hosts").and_then(|hosts| hosts.as_array()).ok_or_else(|| Failure::broken("no hosts in the status"))?;
    let entry = |host: &serde_json::Value| {
        let name = host.get("name")?.as_str()?.to_owned();
        let keys = host.get("differs")?.as_array()?.iter().filter_map(|key| key.as_str().map(str::to_owned)).collect();
        Some((name, keys))
    };
    Ok(hosts.iter().filter_map(entry).collect())
}

/// A heartbeat of 200 ms instead of 100 ms: not before the leader has it.
fn follow(stage: &Stage, order: &[u8]) -> Outcome {
    let mut scene = Scene::build(stage)?;
    for host in order {
        if *host == LEADER {
            judge_pace(&scene, Duration::from_millis(100))?;
        }
        scene.pool.reconfigure(*host, set_other)?;
    }
    judge_pace(&scene, Duration::from_millis(200))?;
    scene.pool.check()
}

fn judge_pace(scene: &Scene, heartbeat: Duration) -> Outcome {
    // What the change itself has to say is said within a timeout.
    scene.stays_still()?;
    let since = now();
    for _ in 0..2 {
        scene.stays_still()?;
    }
    for host in ALL {
        let pace = scene.datagrams.pace(host, since)?;
        if pace.is_none_or(|pace| pace.abs_diff(heartbeat) > heartbeat / 4) {
            return Err(Verdict::new(Finding::Pace, format!("host {host} sends every {pace:?} instead of {heartbeat:?}")).into());
        }
    }
    Ok(())
}
