//! A thousand addresses on one of three hosts: its power fails, it is stopped, or it fails when others know it in part only.
//!
//! All of them are served again, none by two. For the last story a part of the control datagrams to the next leader is lost on the way,
//! and the leader that has just come back with a thousand addresses vanishes as soon as it announces the first: its successor has seen
//! as little of it as of the host that is giving addresses up. Twins: the others accept only half; the host is killed and stays on the
//! network; the successor hears nobody at all.
//!
//! Each story prints how long it took.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use raisd::demo::frames::{Frame, Frames};
use raisd::demo::plan::Plan;

use crate::firewall;
use crate::judge::kernel::{Holdings, Kernel};
use crate::judge::{now, within};
use crate::pool::{HostConfig, Pool, State, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(20);

/// A leader that came back has listened and begun to announce after so long.
const FIRST: Duration = Duration::from_secs(5);

const COUNT: u16 = 1000;

/// Of the control datagrams to the next leader, on each network: one `info` of a thousand addresses has some 25 of them, so that hardly
/// any arrives whole, while a host that is there is not taken for silent.
const LOSS_PERCENT: u32 = 30;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("a_thousand_addresses_outlive_their_host", |stage| vanish(stage, Accept::All)),
        stories.twin("a_thousand_addresses_outlive_their_host", Finding::Unserved, |stage| vanish(stage, Accept::Half)),
        stories.story("a_thousand_addresses_are_handed_over", |stage| stop(stage, End::Terminated)),
        stories.twin("a_thousand_addresses_are_handed_over", Finding::Doubled, |stage| stop(stage, End::Killed)),
        stories.story("a_thousand_addresses_outlive_a_leader_known_in_part", |stage| known_in_part(stage, Loss::Some)),
        stories.twin("a_thousand_addresses_outlive_a_leader_known_in_part", Finding::Doubled, |stage| known_in_part(stage, Loss::All)),
    ]
}

/// Of the control datagrams to the next leader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    All,
    Some,
}

/// What the hosts may be given that take over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accept {
    All,
    Half,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Terminated,
    Killed,
}

fn thousand() -> BTreeSet<IpAddr> {
    let address = |number: u16| {
        let [high, low] = number.to_be_bytes();
        IpAddr::from([198, 18, high, low])
    };
    (0..COUNT).map(address).collect()
}

/// Three hosts, of which `owner` prefers the thousand beside its own. The zone holds all of them.
fn build(stage: &Stage, owner: u8, accept: Accept) -> Outcome<Pool> {
    let mut configs = [1, 2, 3].map(HostConfig::server);
    for config in &mut configs {
        if config.plan.0 == owner {
            config.preferred.extend(thousand().into_iter().map(|address| format!("{address}/32")));
        } else if accept == Accept::Half {
            config.group_keys = "accept = [\"192.0.2.0/24\", \"198.18.0.0/23\"]".to_owned();
        }
    }
    Pool::build(stage, configs)
}

/// Starts all, and waits until `owner` has the thousand.
fn come_up(pool: &mut Pool, kernel: &Kernel, owner: u8) -> Outcome {
    let begin = now();
    pool.start_all()?;
    for host in [1, 2, 3] {
        if kernel.wait_holders(service(host), &[host], within(LONG))?.is_none() {
            return Err(Failure::broken(format!("{} is on {:?}", service(host), kernel.holders(service(host))?)));
        }
    }
    let took = wait_served(kernel, &[owner], begin)?;
    eprintln!("  {COUNT} addresses came up with their host in {} ms", took.as_millis());
    Ok(())
}

/// Waits until each of the thousand is on one of `hosts`, and returns the time since `begin`. What other hosts have does not count:
/// a host without power keeps what it had, and nobody can reach it.
fn wait_served(kernel: &Kernel, hosts: &[u8], begin: Instant) -> Outcome<Duration> {
    let all = thousand();
    let missing = |state: &Holdings| {
        let served = |address: &&IpAddr| state.get(address).is_some_and(|holders| holders.iter().any(|holder| hosts.contains(holder)));
        all.iter().filter(|address| !served(address)).count()
    };
    let mut left = usize::from(COUNT);
    let served = kernel.wait(within(LONG), |state| {
        left = missing(state);
        (left == 0).then(now)
    })?;
    match served {
        Some(at) => Ok(at.saturating_duration_since(begin)),
        None => Err(Verdict::new(Finding::Unserved, format!("{left} of {COUNT} are not on {hosts:?} in {LONG:?}")).into()),
    }
}

/// None of the thousand has been on two of `hosts` since `from`.
fn judge_doubles(kernel: &Kernel, hosts: &[u8], from: Instant) -> Outcome {
    let mut doubled = Vec::new();
    for address in thousand() {
        doubled.extend(kernel.doubled(address, from, hosts)?.map(|span| (address, span)));
    }
    match doubled.first() {
        Some((address, span)) => {
            let (count, holders, duration) = (doubled.len(), &span.holders, span.duration());
            Err(Verdict::new(Finding::Doubled, format!("{count} addresses, first {address} on {holders:?} for {duration:?}")).into())
        }
        None => Ok(()),
    }
}

fn vanish(stage: &Stage, accept: Accept) -> Outcome {
    const OWNER: u8 = 2;
    let mut pool = build(stage, OWNER, accept)?;
    let kernel = Kernel::record(pool.topology())?;
    come_up(&mut pool, &kernel, OWNER)?;
    let vanished = now();
    pool.power_off(OWNER)?;
    let took = wait_served(&kernel, &[1, 3], vanished)?;
    let timeout = HostConfig::server(OWNER).timeout;
    eprintln!(
        "  {COUNT} addresses were served again {} ms after their host vanished (timeout {} ms)",
        took.as_millis(),
        timeout.as_millis()
    );
    judge_doubles(&kernel, &[1, 3], vanished)?;
    pool.check()
}

fn stop(stage: &Stage, end: End) -> Outcome {
    const OWNER: u8 = 2;
    let mut pool = build(stage, OWNER, Accept::All)?;
    let kernel = Kernel::record(pool.topology())?;
    come_up(&mut pool, &kernel, OWNER)?;
    let stopped = now();
    match end {
        End::Terminated => pool.stop(OWNER, LONG)?,
        End::Killed => pool.kill(OWNER)?,
    }
    let ended = now() - stopped;
    let took = wait_served(&kernel, &[1, 3], stopped)?;
    eprintln!("  {COUNT} addresses were handed over in {} ms; their host's daemon ended after {} ms", took.as_millis(), ended.as_millis());
    judge_doubles(&kernel, &[1, 2, 3], stopped)?;
    pool.check()
}

fn known_in_part(stage: &Stage, loss: Loss) -> Outcome {
    const OWNER: u8 = 1;
    const NEXT: u8 = 2;
    let mut pool = build(stage, OWNER, Accept::All)?;
    let kernel = Kernel::record(pool.topology())?;
    let frames = Frames::capture(pool.topology())?;
    come_up(&mut pool, &kernel, OWNER)?;
    let vanished = now();
    pool.power_off(OWNER)?;
    let took = wait_served(&kernel, &[2, 3], vanished)?;
    eprintln!("  {COUNT} addresses were served again {} ms after their leader vanished", took.as_millis());
    judge_doubles(&kernel, &[2, 3], vanished)?;

    let back = now();
    lose(&pool, NEXT, loss)?;
    if loss == Loss::All {
        // Before anybody else gives anything up: what the deaf one takes, when its own timeout has passed, others have.
        wait_served(&kernel, &[NEXT], back)?;
    }
    pool.power_on(OWNER, State::Kept)?;
    let all = thousand();
    let name = Plan(OWNER).name();
    let is_first = |frame: &Frame| frame.at >= back && frame.port == name && all.contains(&frame.claim.address());
    // A successor who hears nobody may keep it from coming to that; what he does himself is judged below.
    if frames.wait(within(FIRST), is_first)?.is_none() && loss == Loss::Some {
        return Err(Verdict::new(Finding::Unannounced, "none of the thousand by the leader that came back").into());
    }
    let vanished = now();
    pool.power_off(OWNER)?;
    let took = wait_served(&kernel, &[2, 3], vanished)?;
    eprintln!("  {COUNT} addresses were served again {} ms after a leader known in part vanished", took.as_millis());
    judge_doubles(&kernel, &[2, 3], back)?;
    pool.check()
}

/// Has a host's kernel lose a part of the control datagrams that reach it.
fn lose(pool: &Pool, host: u8, loss: Loss) -> Outcome {
    let rule = match loss {
        Loss::All => "udp dport 4242 drop".to_owned(),
        Loss::Some => format!("udp dport 4242 numgen random mod 100 < {LOSS_PERCENT} drop"),
    };
    firewall::add(pool.topology().host(host)?.namespace(), "input", &rule)
}
