//! `dig TXT _why.ZONE` says of each preferred address that is not in the zone why it is not, on every name server, to those only who
//! may pull the zone.
//!
//! What it says is held against what was done to the hosts. Twin: whoever asks is not on the list.

use std::collections::BTreeSet;
use std::time::Duration;

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;

use crate::judge::dig::{Answer, dig};
use crate::judge::zone::wait_advertised;
use crate::judge::{poll_until, within};
use crate::pool::{HostConfig, Pool, State, ZONE, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(10);

const ALL: [u8; 3] = [1, 2, 3];
const QUIESCED: u8 = 2;
const DEAD: u8 = 3;
/// May ask, or may not; belongs to no pool.
const SECONDARY: u8 = 8;
const STRANGER: u8 = 9;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("why_an_address_is_withheld_can_be_asked_of_the_zone", |stage| why(stage, SECONDARY)),
        stories.twin("why_an_address_is_withheld_can_be_asked_of_the_zone", Finding::Zone, |stage| why(stage, STRANGER)),
    ]
}

fn why(stage: &Stage, allowed: u8) -> Outcome {
    let hosts = ALL.map(HostConfig::server).into_iter().chain([SECONDARY, STRANGER].map(HostConfig::spare));
    let mut pool = Pool::build(stage, hosts)?;
    for host in ALL {
        pool.configure(host, |config| {
            config.name_servers = ALL.map(Plan).to_vec();
            config.server_keys = format!("allow_transfer = [\"{}\", \"203.0.113.0/24\"]", Plan(allowed).own());
        })?;
        pool.start(host)?;
    }
    let client = pool.topology().client().clone();
    wait_advertised(&client, ZONE, &ALL, &ALL.map(service).into(), within(LONG))?;
    judge_why(&pool, &ALL, &[])?;

    pool.raisctl(QUIESCED, &["quiesce", "--reason", "disk"])?;
    judge_why(&pool, &ALL, &[(QUIESCED, "quiesced")])?;
    pool.power_off(DEAD)?;
    judge_why(&pool, &[1, 2], &[(QUIESCED, "quiesced"), (DEAD, "silent")])?;
    for server in [1, 2] {
        let answer = ask(&pool, STRANGER, server)?;
        if answer.as_ref().is_none_or(|answer| answer.status != "REFUSED" || !answer.records.is_empty()) {
            return Err(Verdict::new(Finding::Zone, format!("a stranger is told: {answer:?}")).into());
        }
    }
    pool.raisctl(QUIESCED, &["resume"])?;
    pool.power_on(DEAD, State::Kept)?;
    judge_why(&pool, &ALL, &[])?;
    pool.check()
}

fn ask(pool: &Pool, from: u8, server: u8) -> Outcome<Option<Answer>> {
    dig(pool.topology().host(from)?.namespace(), Plan(server).own().into(), &format!("_why.{ZONE}"), "TXT", &[])
}

/// Every one of `servers` says this of these hosts' addresses, and nothing of any other.
fn judge_why(pool: &Pool, servers: &[u8], wanted: &[(u8, &str)]) -> Outcome {
    let wanted: BTreeSet<String> = wanted.iter().map(|(host, reason)| format!("\"{} is withheld: {reason}: ", service(*host))).collect();
    let mut last = None;
    let found = poll_until(within(LONG), || {
        for server in servers {
            last = ask(pool, SECONDARY, *server)?;
            let Some(answer) = last.as_ref().filter(|answer| answer.status == "NOERROR") else { return Ok(None) };
            let told = |start: &&String| answer.records.iter().any(|record| record.data.starts_with(*start) && record.ttl == 0);
            if answer.records.len() != wanted.len() || !wanted.iter().all(|start| told(&start)) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    found.ok_or_else(|| Failure::from(Verdict::new(Finding::Zone, format!("{last:?} instead of {wanted:?}"))))
}
