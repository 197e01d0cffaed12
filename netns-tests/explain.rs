//! What `raisctl explain` foretells is what the kernels then do: who takes an address over, and when one goes home.
//!
//! Twins: the host that was named is quiesced after the question, so that another takes over; the operator ends the back-off.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;
use serde_json::Value;

use crate::judge::calls::Calls;
use crate::judge::kernel::Kernel;
use crate::judge::place::{LONG, wait_at, wait_own};
use crate::judge::{now, poll_until, within};
use crate::pool::{HostConfig, Pool, service};
use crate::status_form::Check;
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const HOST: u8 = 2;

/// The spares, of whom one is drawn.
const SPARES: [u8; 3] = [4, 5, 6];

const SCHEMA: &str = include_str!("../docs/explain.schema.json");

/// The first back-off, and how far from its end an acquire may be that it leads to.
const BACK_OFF: Duration = Duration::from_secs(5);
const APART: Duration = Duration::from_millis(1500);

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("explain_names_who_takes_over", |stage| take_over(stage, Meanwhile::Nothing)),
        stories.twin("explain_names_who_takes_over", Finding::Misreported, |stage| take_over(stage, Meanwhile::Quiesced)),
        stories.story("explain_says_when_a_back_off_ends", |stage| back_off(stage, Meanwhile::Nothing)),
        stories.twin("explain_says_when_a_back_off_ends", Finding::Misreported, |stage| back_off(stage, Meanwhile::Quiesced)),
    ]
}

/// What happens between the question and what it was about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    Quiesced,
}

/// What a host says in one group of an address or host, which must be in the published form.
fn explain(pool: &Pool, asked: u8, subject: &str) -> Outcome<Value> {
    let told = pool.raisctl_json(asked, &["explain", subject])?;
    Check::of(SCHEMA).check(&told).map_err(|error| Verdict::new(Finding::Misreported, format!("{error}: {told:#}")))?;
    told["groups"].get(0).cloned().ok_or_else(|| Failure::broken(format!("no group: {told:#}")))
}

/// The text for people says these words in one line each, with any space between them: at once, or as soon as the host that
/// is asked has heard what the kernels show already.
fn judge_text(pool: &Pool, asked: u8, subject: &str, lines: &[&str]) -> Outcome {
    let mut last = None;
    let all_said = || {
        let output = pool.raisctl(asked, &["explain", subject])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        pool.keep(&format!("explain-{subject}-at-{asked}.txt"), &text)?;
        let said: Vec<String> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let missing = lines.iter().find(|wanted| !said.iter().any(|line| line.contains(*wanted)));
        last = missing.map(|wanted| format!("{wanted:?} is not said:\n{text}"));
        Ok(missing.is_none().then_some(()))
    };
    match poll_until(within(LONG), all_said)? {
        Some(()) => Ok(()),
        None => Err(Verdict::new(Finding::Misreported, last.unwrap_or_default()).into()),
    }
}

fn take_over(stage: &Stage, meanwhile: Meanwhile) -> Outcome {
    let hosts = [1, 2, 3].map(HostConfig::server).into_iter().chain(SPARES.map(HostConfig::spare));
    let mut pool = Pool::build(stage, hosts)?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &[1, 2, 3])?;
    let address = service(HOST);
    // Every host hears all spares before it is asked who takes over.
    let mut told = Vec::new();
    for asked in [1, 3, 5] {
        told.push(wait_for_all(&pool, asked, address)?);
    }
    let named = told.first().and_then(|told| told["what_if"][0]["to"]["name"].as_str()).unwrap_or_default().to_owned();
    let Some(foretold) = SPARES.into_iter().find(|spare| Plan(*spare).name() == named) else {
        return Err(Verdict::new(Finding::Misreported, format!("{told:#?}")).into());
    };
    let holders: Vec<&str> = told.iter().filter_map(|told| told["served_by"][0]["name"].as_str()).collect();
    if told.iter().any(|other| other["what_if"][0]["to"]["name"] != named.as_str()) || holders != ["web2"; 3] {
        return Err(Verdict::new(Finding::Misreported, format!("the hosts do not agree: {told:#?}")).into());
    }
    let foretells = format!("what if if web2 dies, {named} takes it (a spare)");
    judge_text(
        &pool,
        3,
        &address.to_string(),
        &["because its preferred host web2 serves it (stays-at-home)", &foretells, "note asked at web3"],
    )?;
    judge_member(&pool, &kernel)?;

    if meanwhile == Meanwhile::Quiesced {
        pool.raisctl(foretold, &["quiesce"])?;
        let heard = || Ok((explain(&pool, 1, &named)?["member"]["quiesced"] == true).then_some(()));
        poll_until(within(LONG), heard)?.ok_or_else(|| Failure::broken(format!("the leader does not hear that {named} is quiesced")))?;
    }
    pool.power_off(HOST)?;
    // The kernel of a host without power keeps what it had; nobody can reach it.
    let other = |holders: &std::collections::BTreeSet<u8>| holders.iter().copied().find(|holder| *holder != HOST);
    let taken = kernel.wait(within(LONG), |holdings| other(holdings.get(&address)?))?;
    if taken != Some(foretold) {
        return Err(Verdict::new(Finding::Misreported, format!("{named} was to take {address} over, and it is on {taken:?}")).into());
    }
    judge_text(
        &pool,
        1,
        &address.to_string(),
        &["no live host prefers it; web2, which prefers it, is away (stays-put)", "it is forgotten, unless"],
    )?;
    pool.check()
}

/// Waits until a host hears everybody whose word the choice needs.
fn wait_for_all(pool: &Pool, asked: u8, address: IpAddr) -> Outcome<Value> {
    let all = || {
        let view = pool.raisctl_json(asked, &["status"])?;
        let settled = |host: &&Value| host["settled"] == true && host["complete"] == true && host["silent"] == false;
        let hosts = view["groups"][0]["hosts"].as_array().map_or(0, |hosts| hosts.iter().filter(settled).count());
        let explained = explain(pool, asked, &address.to_string())?;
        Ok((hosts == 3 + SPARES.len()).then(|| explained["address"].clone()))
    };
    poll_until(within(LONG), all)?.ok_or_else(|| Failure::broken(format!("host {asked} does not hear everybody")))
}

/// What is said of a host is what its kernel has.
fn judge_member(pool: &Pool, kernel: &Kernel) -> Outcome {
    for (asked, of) in [(1, HOST), (HOST, HOST), (3, 1)] {
        let told = explain(pool, asked, &Plan(of).name())?["member"].clone();
        let held: Vec<&str> = told["holds"].as_array().into_iter().flatten().filter_map(|held| held["address"].as_str()).collect();
        let is_held = kernel.holders(service(of))? == [of].into();
        if !is_held || held != [service(of).to_string()] || told["leads"] != (of == 1) || told["eligible"] != true {
            return Err(Verdict::new(Finding::Misreported, format!("{told:#}")).into());
        }
    }
    judge_text(
        pool,
        HOST,
        "web1",
        &["web1 (10.0.0.11) in www: leader, ok", "leads web1 has the lowest id of the settled hosts that hear web2"],
    )
}

/// The acquire script of a host fails, and is mended at once.
fn back_off(stage: &Stage, meanwhile: Meanwhile) -> Outcome {
    const SPARE: u8 = 4;
    let mut pool = Pool::build(stage, [1, 2].map(HostConfig::server).into_iter().chain([HostConfig::spare(SPARE)]))?;
    let calls = Calls::new(stage.private());
    let mended = stage.private().join("mended");
    calls.install(&mut pool, HOST, &format!("[ -e {} ]", mended.display()), "true", LONG)?;
    let address = service(HOST);
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    wait_at(&kernel, address, &[SPARE], within(LONG))?;
    fs::write(&mended, "")?;
    let ends = || {
        let told = explain(&pool, 1, &address.to_string())?["address"].clone();
        let next = told["next"].as_array().into_iter().flatten().find(|next| next["what"] == "back-off-ends");
        Ok(next.and_then(|next| next["in_ms"].as_u64()).map(|left| now() + Duration::from_millis(left)))
    };
    let Some(ends) = poll_until(within(BACK_OFF), ends)? else {
        return Err(Verdict::new(Finding::Misreported, "nothing is said of a back-off").into());
    };
    judge_text(
        &pool,
        1,
        &address.to_string(),
        &["web4 keeps it: its preferred host web2 has failed to take it and is in back-off (stays-away)"],
    )?;
    if meanwhile == Meanwhile::Quiesced {
        pool.raisctl(HOST, &["quiesce"])?;
        pool.raisctl(HOST, &["resume"])?;
    }
    let Some(home) = kernel.wait_holders(address, &[HOST], ends + LONG)? else {
        return Err(Verdict::new(Finding::Unserved, format!("{address} does not go home")).into());
    };
    let apart = home.saturating_duration_since(ends).max(ends.saturating_duration_since(home));
    if apart > APART {
        return Err(Verdict::new(Finding::Misreported, format!("{address} went home {apart:?} from when it was said to")).into());
    }
    pool.check()
}
