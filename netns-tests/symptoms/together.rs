//! What goes wrong between hosts: keys, ids, settings, claims, and networks that lose what is sent.

use std::fs;

use raisd::demo::plan::{Network, Plan};
use raisd::demo::topology::add_address;

use super::{LONG, Reader, Scene};
use crate::firewall;
use crate::judge::kernel::Kernel;
use crate::judge::place::wait_own;
use crate::judge::{poll_until, within};
use crate::pool::{HostConfig, Pool, keygen, service};
use crate::story::{Failure, Outcome, Stage};

const OTHER_KEY: &str = "The hosts have different keys";
const UNKNOWN_KEY: &str = "A host lacks a key";
const SAME_ID: &str = "Two hosts have the same id";
const DIFFERS: &str = "Group-wide settings differ";
const CONFLICT: &str = "Two hosts prefer the same address";
const TWICE: &str = "An address was held twice";
const SILENT: &str = "A host is not heard any more";
const WITHHELD: &str = "An address is missing in the zone";
const FIREWALL: &str = "A firewall drops control messages";
const CABLE: &str = "One control network has lost its carrier";

pub(super) const SCENES: &[Scene] = &[
    Scene { name: "symptoms_of_different_keys", headings: &[OTHER_KEY, UNKNOWN_KEY], tell: keys },
    Scene { name: "symptoms_of_one_id_twice", headings: &[SAME_ID], tell: same_id },
    Scene { name: "symptoms_of_configurations_that_differ", headings: &[DIFFERS, CONFLICT], tell: configurations },
    Scene { name: "symptoms_between_two_hosts", headings: &[TWICE, WITHHELD, CABLE, SILENT], tell: between },
    Scene { name: "symptoms_of_a_firewall", headings: &[FIREWALL], tell: firewall },
];

fn two() -> [HostConfig; 2] {
    [1, 2].map(HostConfig::server)
}

fn keys(stage: &Stage, reader: &mut Reader) -> Outcome {
    let mut pool = Pool::build(stage, two())?;
    let key = stage.private().join("other.key");
    keygen(&key)?;
    pool.configure(2, |config| config.key_file = Some(key.clone()))?;
    pool.start_all()?;
    reader.expect_raisctl(UNKNOWN_KEY, &pool, 1, &["status"])?;
    pool.stop(2, LONG)?;
    // Another secret under the id of the first.
    let first = fs::read_to_string(stage.private().join("www.key"))?;
    let id = first.lines().find(|line| line.starts_with("id")).ok_or_else(|| Failure::broken("a key without an id"))?;
    let other: Vec<String> =
        fs::read_to_string(&key)?.lines().map(|line| if line.starts_with("id") { id.to_owned() } else { line.to_owned() }).collect();
    fs::write(&key, other.join("\n"))?;
    pool.start(2)?;
    reader.expect_raisctl(OTHER_KEY, &pool, 1, &["status"])
}

fn same_id(stage: &Stage, reader: &mut Reader) -> Outcome {
    let mut pool = Pool::build(stage, two())?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start(1)?;
    wait_own(&kernel, &[1])?;
    pool.configure(2, |config| config.host_keys = format!("id = \"{}\"", Plan(1).control(0)))?;
    pool.start(2)?;
    reader.expect_log(SAME_ID, &pool, 2)
}

fn configurations(stage: &Stage, reader: &mut Reader) -> Outcome {
    let mut pool = Pool::build(stage, two())?;
    pool.configure(2, |config| {
        config.group_keys = "failback = \"30s\"".to_owned();
        config.preferred.push(format!("{}/32", service(1)));
    })?;
    pool.start_all()?;
    reader.expect_log(DIFFERS, &pool, 1)?;
    reader.expect_log(CONFLICT, &pool, 1)
}

fn between(stage: &Stage, reader: &mut Reader) -> Outcome {
    let mut pool = Pool::build(stage, two())?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &[1, 2])?;
    let index = Plan(1).interface_index(Network::Service);
    add_address(pool.topology().host(1)?.namespace(), index, service(2), 32)?;
    reader.expect_log(TWICE, &pool, 1)?;
    wait_own(&kernel, &[2])?;
    pool.raisctl(2, &["quiesce"])?;
    reader.expect_raisctl(WITHHELD, &pool, 1, &["zone"])?;
    pool.topology().cut(1, Network::Control(0))?;
    reader.expect_log(CABLE, &pool, 1)?;
    pool.topology().mend(1, Network::Control(0))?;
    pool.kill(2)?;
    reader.expect_log(SILENT, &pool, 1)
}

/// Host 2 lets in only what its firewall knows.
fn firewall(stage: &Stage, reader: &mut Reader) -> Outcome {
    let mut pool = Pool::build(stage, two())?;
    firewall::add(pool.topology().host(2)?.namespace(), "input", "udp dport 4242 drop")?;
    pool.start_all()?;
    // Both have listened as long as they do, and neither has heard the other in a way that counts.
    let alone = poll_until(within(LONG), || {
        let Ok(status) = pool.raisctl_json(2, &["status"]) else { return Ok(None) };
        Ok((status.pointer("/groups/0/hosts/0/settled") == Some(&true.into())).then_some(()))
    })?;
    alone.ok_or_else(|| Failure::broken("host 2 does not settle"))?;
    reader.expect_raisctl(FIREWALL, &pool, 1, &["status"])
}
