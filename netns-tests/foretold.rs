//! `raisctl simulate` says what then really happens.
//!
//! A pool with preferred and floating addresses, two spares, `accept` lists and an address that an operator has moved: what
//! would move where if a host failed is asked, of the live state and of a saved one, and then its power is cut. The judge is
//! the kernels of the others. That an address would end unserved is said with exit code 1, and is so.
//! Twin: another host's failure is asked about.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;
use serde_json::Value;

use crate::judge::kernel::dump;
use crate::judge::place::{LONG, wait_at, wait_own};
use crate::judge::{poll_until, within};
use crate::pool::{HostConfig, service};
use crate::scene::Scene;
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const ALL: [u8; 5] = [1, 2, 3, 4, 5];

/// Where everything is asked: it does not lead.
const ASKED: u8 = 3;

const VICTIM: u8 = 2;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("simulate_says_what_then_happens", |stage| foretell(stage, VICTIM)),
        stories.twin("simulate_says_what_then_happens", Finding::Misreported, |stage| foretell(stage, 1)),
    ]
}

fn floating() -> Vec<IpAddr> {
    (100..107).map(|number| IpAddr::from([192, 0, 2, number])).collect()
}

fn all_addresses() -> Vec<IpAddr> {
    let mut all = vec![service(1), service(VICTIM), service(ASKED)];
    all.extend(floating());
    all
}

fn foretell(stage: &Stage, asked_about: u8) -> Outcome {
    let list: Vec<String> = floating().iter().map(|address| format!("\"{address}/32\"")).collect();
    let keys = format!("floating = [{}]\n", list.join(", "));
    let servers = [1, VICTIM, ASKED].map(HostConfig::server);
    let spares = [4, 5].map(HostConfig::spare);
    let mut scene = Scene::build(stage, servers.into_iter().chain(spares).map(|host| HostConfig { group_keys: keys.clone(), ..host }))?;
    // What the third server prefers only the victim and one spare may have besides.
    for (host, accept) in
        [(1, "192.0.2.11\", \"192.0.2.100/30"), (5, "192.0.2.12\", \"192.0.2.96/27"), (ASKED, "192.0.2.13\", \"192.0.2.104/29")]
    {
        scene.pool.configure(host, |config| config.group_keys.push_str(&format!("accept = [\"{accept}\"]\n")))?;
    }
    scene.pool.start_all()?;
    wait_own(&scene.kernel, &[1, VICTIM, ASKED])?;
    scene.wait_served(&floating(), &ALL)?;
    scene.wait_ready(&ALL)?;
    scene.raisctl(ASKED, &["move", &service(1).to_string(), &Plan(VICTIM).name()])?;
    wait_at(&scene.kernel, service(1), &[VICTIM], within(LONG))?;
    scene.stays_still(&ALL)?;
    wait_all_online(&scene)?;

    let name = Plan(asked_about).name();
    let live = simulate(&scene, &["--fail", &name], 0)?;
    let saved = stage.logs().join("status.json");
    fs::write(&saved, scene.raisctl(ASKED, &["status", "--json"])?)?;
    let path = saved.display().to_string();
    let from_file = simulate(&scene, &["--fail", &name, "--state", &path], 0)?;
    if placement(&live) != placement(&from_file) {
        return Err(Verdict::new(Finding::Misreported, format!("live {live}\nfrom a file {from_file}")).into());
    }

    scene.pool.power_off(VICTIM)?;
    let left: Vec<u8> = ALL.into_iter().filter(|host| *host != VICTIM).collect();
    scene.wait_served(&all_addresses(), &left)?;
    scene.stays_still(&left)?;
    judge(&scene, &live, &left)?;

    // Without the other spare nobody may have the second server's address, nor the first one's without the first.
    wait_all_online(&scene)?;
    let gone = [1, 4, 5].map(|host| Plan(host).name());
    let arguments: Vec<&str> = std::iter::once("--fail").chain(gone.iter().map(String::as_str)).collect();
    let alone = simulate(&scene, &arguments, 1)?;
    for host in [1, 4, 5] {
        scene.pool.power_off(host)?;
    }
    let served: Vec<IpAddr> =
        placement(&alone).into_iter().filter(|(_, holders)| !holders.is_empty()).map(|(address, _)| address).collect();
    scene.wait_served(&served, &[ASKED])?;
    scene.stays_still(&[ASKED])?;
    judge(&scene, &alone, &[ASKED])?;
    scene.pool.check()
}

/// The answer of `simulate`, which must end with this code.
fn simulate(scene: &Scene, arguments: &[&str], code: i32) -> Outcome<Value> {
    let output = scene.pool.raisctl(ASKED, &[&["simulate", "--json"], arguments].concat())?;
    if output.status.code() != Some(code) {
        return Err(Verdict::new(Finding::Misreported, format!("simulate {arguments:?} does not end with {code}: {output:?}")).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Who would have what, by control address.
fn placement(answer: &Value) -> BTreeMap<IpAddr, BTreeSet<String>> {
    let addresses = answer.pointer("/groups/0/addresses").and_then(Value::as_array).into_iter().flatten();
    let holders = |shown: &Value| -> BTreeSet<String> {
        shown.get("served_by").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    addresses.filter_map(|shown| Some((shown.get("address")?.as_str()?.parse().ok()?, holders(shown)))).collect()
}

/// The kernels of the hosts that are left have what was foretold, and nothing else.
fn judge(scene: &Scene, foretold: &Value, left: &[u8]) -> Outcome {
    let kernels = dump(scene.pool.topology())?;
    let really = all_addresses().into_iter().map(|address| {
        let holders = kernels.get(&address).into_iter().flatten().filter(|host| left.contains(host));
        (address, holders.map(|host| Plan(*host).control(0).to_string()).collect())
    });
    let (really, foretold): (BTreeMap<IpAddr, BTreeSet<String>>, _) = (really.collect(), placement(foretold));
    if really != foretold {
        return Err(Verdict::new(Finding::Misreported, format!("the kernels have {really:?}, and foretold was {foretold:?}")).into());
    }
    Ok(())
}

/// The host that is asked sees everything at rest: a step, so that it is asked about what is.
fn wait_all_online(scene: &Scene) -> Outcome {
    let at_rest = poll_until(within(LONG), || {
        let status = scene.pool.raisctl_json(ASKED, &["status"])?;
        let addresses = status.pointer("/groups/0/addresses").and_then(Value::as_array);
        let online = |shown: &&Value| shown.get("state").and_then(Value::as_str) == Some("online");
        Ok(addresses.filter(|all| all.iter().filter(online).count() == all_addresses().len()).map(|_| ()))
    })?;
    at_rest.ok_or_else(|| Failure::broken("not everything comes to be online"))
}
