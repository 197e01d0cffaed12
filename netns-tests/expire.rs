//! The operator has an address forgotten that nobody brings any more, and a host that will not come back.
//!
//! Refused for what is alive, with a reason. An expired address is gone from every kernel and every status; its host brings it
//! back when it returns after all. Twin: nothing is typed, and the address stays served.

use std::process::Output;
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::judge::control::Datagrams;
use crate::judge::kernel::{Holdings, Kernel};
use crate::judge::place::{LONG, STILL_HEARTBEATS, has_not_moved, stays_still, wait_own};
use crate::judge::{now, poll_until, within};
use crate::pool::{HostConfig, Pool, State, service};
use crate::story::{Finding, Outcome, Stage, Stories, Verdict};

/// The host that is not expected back.
const GONE: u8 = 3;
const SPARE: u8 = 4;
const LEFT: [u8; 3] = [1, 2, SPARE];

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("an_orphaned_address_is_expired_by_hand", |stage| expire(stage, Typed::Yes)),
        stories.twin("an_orphaned_address_is_expired_by_hand", Finding::Kept, |stage| expire(stage, Typed::No)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Typed {
    Yes,
    No,
}

fn expire(stage: &Stage, typed: Typed) -> Outcome {
    let mut pool = Pool::build(stage, [1, 2, GONE].map(HostConfig::server).into_iter().chain([HostConfig::spare(SPARE)]))?;
    let kernel = Kernel::record(pool.topology())?;
    let datagrams = Datagrams::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &[1, 2, GONE])?;
    let started = now();
    let (orphan, unknown) = (service(GONE).to_string(), service(9).to_string());
    refused(&pool.raisctl(2, &["expire", &orphan])?, "a live host of group www prefers or floats 192.0.2.13")?;
    refused(&pool.raisctl(2, &["expire", &unknown])?, "192.0.2.19 is not known")?;
    refused(&pool.raisctl(2, &["forget", "web3"])?, "is live")?;
    refused(&pool.raisctl(2, &["forget", "web9"])?, "no host \"web9\" is known")?;
    stays_still(&kernel, &datagrams, &[1, 2, GONE, SPARE], STILL_HEARTBEATS)?;
    has_not_moved(&kernel, started, |_| true)?;

    pool.power_off(GONE)?;
    let on_spare = |holdings: &Holdings| holdings.get(&service(GONE))?.contains(&SPARE).then_some(());
    if kernel.wait(within(LONG), on_spare)?.is_none() {
        return Err(Verdict::new(Finding::Unserved, format!("{orphan} after its host vanished")).into());
    }
    // On a host that does not lead.
    if typed == Typed::Yes {
        done(&pool.raisctl(2, &["expire", &orphan])?)?;
    }
    let off_spare = |holdings: &Holdings| (!holdings.get(&service(GONE))?.contains(&SPARE)).then_some(());
    if kernel.wait(within(Duration::from_secs(3)), off_spare)?.is_none() {
        return Err(Verdict::new(Finding::Kept, format!("{orphan} is on the spare")).into());
    }
    for host in LEFT {
        forgotten(&pool, host, "/groups/0/addresses", "address", &orphan)?;
    }
    for host in LEFT {
        done(&pool.raisctl(host, &["forget", if host == 1 { "10.0.0.13" } else { "web3" }])?)?;
        forgotten(&pool, host, "/groups/0/hosts", "name", "web3")?;
    }
    stays_still(&kernel, &datagrams, &LEFT, STILL_HEARTBEATS)?;
    for host in LEFT {
        forgotten(&pool, host, "/groups/0/addresses", "address", &orphan)?;
        forgotten(&pool, host, "/groups/0/hosts", "name", "web3")?;
    }

    pool.power_on(GONE, State::Kept)?;
    wait_own(&kernel, &[1, 2, GONE])?;
    stays_still(&kernel, &datagrams, &[1, 2, GONE, SPARE], STILL_HEARTBEATS)?;
    pool.check()
}

fn refused(output: &Output, reason: &str) -> Outcome {
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() == Some(1) && said.contains(reason) {
        true => Ok(()),
        false => Err(Verdict::new(Finding::Misreported, format!("not refused with {reason:?}: {output:?}")).into()),
    }
}

fn done(output: &Output) -> Outcome {
    match output.status.success() {
        true => Ok(()),
        false => Err(Verdict::new(Finding::Misreported, format!("refused: {output:?}")).into()),
    }
}

/// The status of a host comes to show nothing of that name.
fn forgotten(pool: &Pool, host: u8, list: &str, key: &str, name: &str) -> Outcome {
    let gone = poll_until(within(LONG), || {
        let view = pool.raisctl_json(host, &["status"])?;
        let shown = view.pointer(list).and_then(Value::as_array).into_iter().flatten();
        let is_shown = shown.filter_map(|one| one.get(key)).any(|shown| shown.as_str() == Some(name));
        Ok((!is_shown).then_some(()))
    })?;
    gone.ok_or_else(|| Verdict::new(Finding::Misreported, format!("host {host} still shows {name}")).into())
}
