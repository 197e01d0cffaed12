//! Where addresses go: floating addresses evenly and with the fewest moves, `assign`, `accept`, claims that conflict.
//!
//! Twins: nobody evens out; `rebalance` is not configured; the loads are the other way round; the spare holds nothing yet; hosts
//! that claim one address do not hear each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;

use crate::judge::kernel::{ChangeKind, Holdings, dump};
use crate::judge::place::{LONG, has_not_moved, never_doubled, wait_at, wait_own};
use crate::judge::{now, within};
use crate::pool::{HostConfig, State, keygen, service};
use crate::scene::Scene;
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("floating_addresses_are_spread_and_a_joining_host_shuffles_nothing", |stage| float(stage, Evening::Asked)),
        stories.twin("floating_addresses_are_spread_and_a_joining_host_shuffles_nothing", Finding::Uneven, |stage| {
            float(stage, Evening::Unasked)
        }),
        stories.story("an_uneven_pool_is_evened_out_after_rebalance", |stage| rebalance(stage, "rebalance = \"2s\"\n")),
        stories.twin("an_uneven_pool_is_evened_out_after_rebalance", Finding::Uneven, |stage| rebalance(stage, "")),
        stories.story("the_least_loaded_spare_gets_the_address", |stage| least_loaded(stage, [(3, 90), (4, 10)])),
        stories.twin("the_least_loaded_spare_gets_the_address", Finding::Unserved, |stage| least_loaded(stage, [(3, 10), (4, 90)])),
        stories.story("the_spare_with_the_fewest_addresses_gets_the_next", |stage| fair(stage, Before::Holds)),
        stories.twin("the_spare_with_the_fewest_addresses_gets_the_next", Finding::Unserved, |stage| fair(stage, Before::HoldsNothing)),
        stories.story("of_two_that_claim_one_address_one_serves_it", |stage| conflict(stage, Hear::EachOther)),
        stories.twin("of_two_that_claim_one_address_one_serves_it", Finding::Doubled, |stage| conflict(stage, Hear::Nobody)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Evening {
    Asked,
    Unasked,
}

/// Whether the lower spare holds an address already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Holds,
    HoldsNothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hear {
    EachOther,
    Nobody,
}

const FLOATING: u8 = 8;

fn floating() -> Vec<IpAddr> {
    (0..FLOATING).map(|number| IpAddr::from([192, 0, 2, 100 + number])).collect()
}

/// Spares with floating addresses.
fn spares(stage: &Stage, hosts: &[u8], keys: &str) -> Outcome<Scene> {
    let list: Vec<String> = floating().iter().map(|address| format!("\"{address}/32\"")).collect();
    let keys = format!("floating = [{}]\n{keys}", list.join(", "));
    Scene::build(stage, hosts.iter().map(|host| HostConfig { group_keys: keys.clone(), ..HostConfig::spare(*host) }))
}

/// How many floating addresses each of `hosts` has; none while some address is not on exactly one of them.
fn counts(state: &Holdings, hosts: &[u8]) -> Option<BTreeMap<u8, usize>> {
    let mut counts: BTreeMap<u8, usize> = hosts.iter().map(|host| (*host, 0)).collect();
    for address in floating() {
        let holders: Vec<u8> = state.get(&address)?.iter().copied().filter(|holder| hosts.contains(holder)).collect();
        let [holder] = holders.as_slice() else { return None };
        *counts.get_mut(holder)? += 1;
    }
    Some(counts)
}

fn is_even(counts: &BTreeMap<u8, usize>) -> bool {
    counts.values().max().unwrap_or(&0) - counts.values().min().unwrap_or(&0) <= 1
}

/// The numbers of floating addresses come to differ by at most one.
fn wait_even(scene: &Scene, hosts: &[u8], deadline: Instant) -> Outcome {
    let even = scene.kernel.wait(deadline, |state| counts(state, hosts).filter(is_even))?;
    if even.is_some() {
        return Ok(());
    }
    Err(Verdict::new(Finding::Uneven, format!("{:?}", counts(&dump(scene.pool.topology())?, hosts))).into())
}

/// How often a floating address has come to a host since then.
fn arrivals(scene: &Scene, since: Instant) -> Outcome<usize> {
    let changes = scene.kernel.changes()?;
    Ok(changes
        .iter()
        .filter(|change| change.at >= since && change.kind == ChangeKind::Added && floating().contains(&change.address))
        .count())
}

fn float(stage: &Stage, evening: Evening) -> Outcome {
    const ALL: [u8; 4] = [1, 2, 3, 4];
    let mut scene = spares(stage, &ALL, "")?;
    for host in [1, 2, 3] {
        scene.pool.start(host)?;
    }
    wait_even(&scene, &[1, 2, 3], within(LONG))?;
    scene.wait_ready(&[1, 2, 3])?;
    let joined = now();
    scene.pool.start(4)?;
    scene.wait_ready(&ALL)?;
    scene.stays_still(&ALL)?;
    has_not_moved(&scene.kernel, joined, |_| true)?;
    // What one host leaves moves, nothing else does, and it goes where the fewest are.
    let (gone, left) = (now(), [1, 3, 4]);
    let orphaned = counts(&dump(scene.pool.topology())?, &ALL).and_then(|counts| counts.get(&2).copied()).unwrap_or_default();
    scene.pool.power_off(2)?;
    wait_even(&scene, &left, within(LONG))?;
    let moved = arrivals(&scene, gone)?;
    if moved != orphaned {
        return Err(Verdict::new(Finding::Moved, format!("{moved} addresses came to hosts where {orphaned} were left")).into());
    }
    scene.pool.power_on(2, State::Kept)?;
    scene.wait_ready(&ALL)?;
    scene.stays_still(&ALL)?;
    let asked = now();
    if evening == Evening::Asked {
        scene.raisctl(3, &["rebalance"])?;
    }
    wait_even(&scene, &ALL, within(LONG / 4))?;
    scene.stays_still(&ALL)?;
    // Eight on three hosts are 3, 3 and 2: two of them move so that all four have two.
    let moved = arrivals(&scene, asked)?;
    if moved != 2 {
        return Err(Verdict::new(Finding::Moved, format!("{moved} moves where 2 suffice")).into());
    }
    never_doubled(&scene.kernel, floating(), asked, &ALL)?;
    scene.pool.check()
}

fn rebalance(stage: &Stage, keys: &str) -> Outcome {
    const ALL: [u8; 2] = [1, 2];
    let mut scene = spares(stage, &ALL, keys)?;
    scene.pool.start(2)?;
    scene.wait_served(&floating(), &[2])?;
    let joined = now();
    scene.pool.start(1)?;
    wait_even(&scene, &ALL, within(LONG / 2))?;
    let moved = arrivals(&scene, joined)?;
    if moved != usize::from(FLOATING) / 2 {
        return Err(Verdict::new(Finding::Moved, format!("{moved} moves where {} suffice", FLOATING / 2)).into());
    }
    let early = |change: &crate::judge::kernel::Change| change.at < joined + std::time::Duration::from_secs(2);
    has_not_moved(&scene.kernel, joined, early)?;
    never_doubled(&scene.kernel, floating(), joined, &ALL)?;
    scene.stays_still(&ALL)?;
    scene.pool.check()
}

/// Two servers and two spares.
fn two_spares() -> [HostConfig; 4] {
    [HostConfig::server(1), HostConfig::server(2), HostConfig::spare(3), HostConfig::spare(4)]
}

fn least_loaded(stage: &Stage, loads: [(u8, u32); 2]) -> Outcome {
    let mut scene = Scene::build(stage, two_spares())?;
    for host in [1, 2, 3, 4] {
        let load = loads.iter().find(|(spare, _)| *spare == host).map_or(50, |(_, load)| *load);
        let program = scene.pool.script(host, "sessions", &format!("#!/bin/sh\necho {load} 100\n"))?;
        scene.pool.configure(host, |config| {
            config.group_keys = "assign = \"least-loaded\"\nloads = [\"sessions\"]\n".to_owned();
            config.tables = format!("[load.sessions]\nkind = \"script\"\ncommand = \"{}\"\ninterval = \"300ms\"\n", program.display());
        })?;
    }
    scene.pool.start_all()?;
    wait_own(&scene.kernel, &[1, 2])?;
    scene.wait_ready(&[1, 2, 3, 4])?;
    for (host, load) in loads {
        wait_load(&scene, host, load)?;
    }
    goes_to_the_other_spare(scene)
}

/// The leader has heard of the load: a step, not a judgement.
fn wait_load(scene: &Scene, host: u8, load: u32) -> Outcome {
    let heard = crate::judge::poll_until(within(LONG), || {
        let status = scene.pool.raisctl_json(1, &["status"])?;
        let hosts = status.pointer("/groups/0/hosts").and_then(serde_json::Value::as_array);
        let shown =
            hosts.and_then(|hosts| hosts.iter().find(|shown| shown.get("name").and_then(|name| name.as_str()) == Some(&Plan(host).name())));
        Ok((shown.and_then(|shown| shown.get("load")?.as_u64()) == Some(load.into())).then_some(()))
    })?;
    heard.ok_or_else(|| Failure::broken(format!("the leader does not hear of the load of host {host}")))
}

/// Host 2 vanishes, and host 4 has its address.
fn goes_to_the_other_spare(mut scene: Scene) -> Outcome {
    scene.pool.power_off(2)?;
    scene.wait_served(&[service(2)], &[1, 3, 4])?;
    let holders: BTreeSet<u8> = scene.kernel.holders(service(2))?.into_iter().filter(|holder| *holder != 2).collect();
    if holders != [4].into() {
        return Err(Verdict::new(Finding::Unserved, format!("{} is on {holders:?} and not on host 4", service(2))).into());
    }
    scene.pool.check()
}

fn fair(stage: &Stage, before: Before) -> Outcome {
    let hosts = two_spares().map(|host| HostConfig { group_keys: "assign = \"fair\"\n".to_owned(), ..host });
    let mut scene = Scene::build(stage, hosts)?;
    scene.pool.start_all()?;
    wait_own(&scene.kernel, &[1, 2])?;
    scene.wait_ready(&[1, 2, 3, 4])?;
    if before == Before::Holds {
        scene.raisctl(2, &["move", &service(1).to_string(), &Plan(3).name()])?;
        wait_at(&scene.kernel, service(1), &[3], within(LONG))?;
    }
    goes_to_the_other_spare(scene)
}

fn conflict(stage: &Stage, hear: Hear) -> Outcome {
    const ALL: [u8; 3] = [1, 2, 3];
    let claimed = service(2);
    let mut scene = Scene::build(stage, ALL.map(HostConfig::server))?;
    scene.pool.configure(3, |config| config.preferred = vec![format!("{claimed}/32")])?;
    if hear == Hear::Nobody {
        let path = stage.private().join("another.key");
        keygen(&path)?;
        scene.pool.configure(3, |config| config.key_file = Some(path))?;
    }
    let begin = now();
    scene.pool.start_all()?;
    scene.wait_served(&[claimed], &ALL)?;
    // Longer than it takes any host to settle.
    scene.stays_still_or_doubles(claimed, begin, &ALL)?;
    wait_at(&scene.kernel, claimed, &[2], within(LONG))?;
    scene.wait_ready(&ALL)?;
    scene.stays_still(&ALL)?;
    scene.pool.power_off(2)?;
    scene.wait_served(&[claimed], &[3])?;
    // The one that has it keeps it: a claim is no reason to take it away from another claim.
    scene.pool.power_on(2, State::Kept)?;
    scene.wait_ready(&ALL)?;
    scene.stays_still(&ALL)?;
    wait_at(&scene.kernel, claimed, &[3], within(LONG))?;
    never_doubled(&scene.kernel, [claimed], now(), &ALL)?;
    scene.pool.check()
}

impl Scene {
    /// For so many heartbeats of all, nobody has it twice.
    fn stays_still_or_doubles(&self, address: IpAddr, since: Instant, hosts: &[u8]) -> Outcome {
        let deadline = within(LONG);
        let silent = self.datagrams.wait_heartbeats(hosts, now(), crate::judge::place::HEARTBEAT, 12, deadline)?;
        if !silent.is_empty() {
            return Err(Verdict::new(Finding::Silent, format!("hosts {silent:?}")).into());
        }
        never_doubled(&self.kernel, [address], since, hosts)
    }
}
