//! The leader vanishes; the leader and the one after it at once; all but one: the last serves everything.
//!
//! Every address is on a survivor within the timeout and 100 ms, on the spare if there is one left; nothing else moves, nobody
//! has anything twice, and the zone goes on with a greater serial. When they are back, everything goes home.
//! Twins: silence is noticed too late; the survivors are quiesced, or accept nothing but their own.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;
use raisd::demo::probes::ask;

use crate::judge::kernel::Kernel;
use crate::judge::place::{LONG, has_not_moved, never_doubled, wait_own};
use crate::judge::zone::wait_advertised;
use crate::judge::{now, poll_until, within};
use crate::pool::{HostConfig, Pool, State, ZONE, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const SERVERS: [u8; 3] = [1, 2, 3];
const SPARE: u8 = 4;
const ALL: [u8; 4] = [1, 2, 3, SPARE];

/// What the take-over may take beyond the timeout.
const BOUND: Duration = Duration::from_millis(100);

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("the_leader_vanishes", |stage| vanish(stage, &[1], Survivors::Ready)),
        stories.twin("the_leader_vanishes", Finding::Unserved, |stage| vanish(stage, &[1], Survivors::Late)),
        stories.story("the_leader_and_the_next_vanish", |stage| vanish(stage, &[1, 2], Survivors::Ready)),
        stories.twin("the_leader_and_the_next_vanish", Finding::Unserved, |stage| vanish(stage, &[1, 2], Survivors::Quiesced)),
        stories.story("the_last_host_serves_everything", |stage| vanish(stage, &[1, 2, SPARE], Survivors::Ready)),
        stories.twin("the_last_host_serves_everything", Finding::Unserved, |stage| vanish(stage, &[1, 2, SPARE], Survivors::Choosy)),
        stories.story("the_last_host_is_the_spare", |stage| vanish(stage, &SERVERS, Survivors::Ready)),
        stories.twin("the_last_host_is_the_spare", Finding::Unserved, |stage| vanish(stage, &SERVERS, Survivors::Choosy)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Survivors {
    Ready,
    /// Their timeout is three seconds.
    Late,
    /// They are told to acquire nothing.
    Quiesced,
    /// They accept the last server's address only.
    Choosy,
}

fn services(hosts: impl IntoIterator<Item = u8>) -> BTreeSet<IpAddr> {
    hosts.into_iter().map(service).collect()
}

fn vanish(stage: &Stage, gone: &'static [u8], survivors: Survivors) -> Outcome {
    let mut pool = Pool::build(stage, SERVERS.map(HostConfig::server).into_iter().chain([HostConfig::spare(SPARE)]))?;
    for host in ALL {
        pool.configure(host, |config| match survivors {
            Survivors::Late => config.timeout = Duration::from_secs(3),
            Survivors::Choosy if !gone.contains(&host) => config.group_keys = format!("accept = [\"{}/32\"]", service(3)),
            Survivors::Ready | Survivors::Quiesced | Survivors::Choosy => {}
        })?;
    }
    let left: Vec<u8> = ALL.into_iter().filter(|host| !gone.contains(host)).collect();
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &SERVERS)?;
    let serial = wait_advertised(pool.topology().client(), ZONE, &ALL, &services(SERVERS), within(LONG))?;
    if survivors == Survivors::Quiesced {
        for host in &left {
            let output = pool.raisctl(*host, &["quiesce"])?;
            if !output.status.success() {
                return Err(Failure::broken(format!("raisctl quiesce on host {host}: {output:?}")));
            }
        }
    }

    for host in gone {
        pool.topology().vanish(*host)?;
    }
    let vanished = now();
    for host in gone {
        // One that is only cut off would serve everything by itself.
        pool.power_off(*host)?;
    }
    judge_take_over(&kernel, gone, &left, vanished + HostConfig::spare(SPARE).timeout + BOUND)?;
    let own: Vec<u8> = left.iter().copied().filter(|host| *host != SPARE).collect();
    let later = wait_advertised(pool.topology().client(), ZONE, &left, &services(own.iter().copied()), within(LONG))?;
    judge_serial(serial, later)?;
    judge_client(&pool, gone, &left)?;
    never_doubled(&kernel, services(SERVERS), vanished, &left)?;
    has_not_moved(&kernel, vanished, |change| own.iter().any(|host| change.address == service(*host)))?;

    for host in gone {
        pool.power_on(*host, State::Kept)?;
    }
    // A kernel without power has forgotten its addresses with its return.
    let back = now();
    wait_own(&kernel, &SERVERS)?;
    let last = wait_advertised(pool.topology().client(), ZONE, &ALL, &services(SERVERS), within(LONG))?;
    judge_serial(later, last)?;
    never_doubled(&kernel, services(SERVERS), back, &ALL)?;
    has_not_moved(&kernel, back, |change| own.iter().any(|host| change.address == service(*host)))?;
    pool.check()
}

/// Where what the vanished hosts served must be.
fn heir(left: &[u8]) -> Option<u8> {
    left.iter().copied().find(|host| *host == SPARE).or(left.first().copied())
}

fn judge_take_over(kernel: &Kernel, gone: &[u8], left: &[u8], deadline: Instant) -> Outcome {
    let orphans = services(gone.iter().copied().filter(|host| *host != SPARE));
    // The kernel of a host without power keeps what it had; nobody can reach it.
    let served = kernel.wait(deadline, |holdings| {
        let by_heir = |address: &IpAddr| {
            let holders = holdings.get(address)?;
            holders.contains(&heir(left)?).then_some(())
        };
        orphans.iter().all(|address| by_heir(address).is_some()).then_some(())
    })?;
    if served.is_some() {
        return Ok(());
    }
    let at = orphans.iter().map(|address| Ok(format!("{address} on {:?}", kernel.holders(*address)?)));
    let at = at.collect::<Outcome<Vec<_>>>()?;
    Err(Verdict::new(Finding::Unserved, format!("in time: {}", at.join(", "))).into())
}

fn judge_serial(before: u32, after: u32) -> Outcome {
    // RFC 1982: greater, also where the number wraps.
    if (1..1 << 31).contains(&after.wrapping_sub(before)) {
        return Ok(());
    }
    Err(Verdict::new(Finding::Zone, format!("its serial went from {before} to {after}")).into())
}

/// A client that asks at a vanished host's address is answered by the one that has it.
fn judge_client(pool: &Pool, gone: &[u8], left: &[u8]) -> Outcome {
    let Some(heir) = heir(left) else { return Err(Failure::broken("nobody is left")) };
    for address in services(gone.iter().copied().filter(|host| *host != SPARE)) {
        let answered = poll_until(within(LONG), || {
            let by = ask(pool.topology().client(), address, Duration::from_millis(100))?;
            Ok((by == Some(Plan(heir).name())).then_some(()))
        })?;
        if answered.is_none() {
            return Err(Verdict::new(Finding::StaleNeighbour, format!("nobody answers the client at {address}")).into());
        }
    }
    Ok(())
}
