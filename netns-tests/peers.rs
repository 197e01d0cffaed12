//! Hosts that talk by unicast, from seeds: without multicast at all, in one pool with hosts that have only multicast, and after all
//! seeds have died.
//!
//! A host that vanishes is replaced in time and gets its address back, with a client at 1,000 packets a second; a pool that lost its
//! power finds itself again from what is on disk although its only seed stays away.
//! Twins: the seed is nobody; the disk is lost too.

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;
use raisd::demo::probes::{Client, PATIENCE};

use crate::firewall;
use crate::judge::control::Datagrams;
use crate::judge::kernel::{Holdings, Kernel};
use crate::judge::place::{LONG, never_doubled, wait_at};
use crate::judge::{now, poll_until, within};
use crate::pool::{Family, HostConfig, Pool, State};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const ALL: [u8; 4] = [1, 2, 3, 4];
const VICTIM: u8 = 2;
const SPARE: u8 = 4;

/// No host has this number.
const NOBODY: u8 = 9;

/// What a take-over may take beyond the timeout.
const BOUND: Duration = Duration::from_millis(150);

/// A pool that does not know an address never serves it: longer than it takes to settle and to assign.
const NEVER: Duration = Duration::from_secs(3);

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("a_unicast_pool_replaces_a_host", |stage| replace(stage, Talk::Unicast, Family::V4, Seed::Lives)),
        stories
            .twin("a_unicast_pool_replaces_a_host", Finding::Unserved, |stage| replace(stage, Talk::Unicast, Family::V4, Seed::IsNobody)),
        stories.story("an_ipv6_unicast_pool_replaces_a_host", |stage| replace(stage, Talk::Unicast, Family::V6, Seed::Lives)),
        stories.story("hosts_with_and_without_multicast_form_one_pool", |stage| replace(stage, Talk::Mixed, Family::V4, Seed::Lives)),
        stories.twin("hosts_with_and_without_multicast_form_one_pool", Finding::Unserved, |stage| {
            replace(stage, Talk::Mixed, Family::V4, Seed::IsNobody)
        }),
        stories.story("a_unicast_pool_comes_back_without_its_seed", |stage| come_back(stage, State::Kept)),
        stories.twin("a_unicast_pool_comes_back_without_its_seed", Finding::Unserved, |stage| come_back(stage, State::Lost)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Talk {
    /// Every host has peers only.
    Unicast,
    /// Hosts 1 and 2 have a group address only, 3 has peers as well, the spare has peers only.
    Mixed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seed {
    Lives,
    IsNobody,
}

fn host(number: u8) -> HostConfig {
    if number == SPARE { HostConfig::spare(number) } else { HostConfig::server(number) }
}

fn talking(config: HostConfig, talk: Talk, seed: u8) -> HostConfig {
    let (multicast, peers) = match (talk, config.plan.0) {
        (Talk::Unicast, _) | (Talk::Mixed, SPARE) => (false, vec![seed]),
        (Talk::Mixed, 3) => (true, vec![seed]),
        (Talk::Mixed, _) => (true, Vec::new()),
    };
    HostConfig { multicast, peers, ..config }
}

fn replace(stage: &Stage, talk: Talk, family: Family, seed: Seed) -> Outcome {
    let number = if seed == Seed::Lives { 1 } else { NOBODY };
    let configs = ALL.map(|host_number| talking(host(host_number), talk, number).over(family));
    let mut pool = Pool::build(stage, configs)?;
    let address = family.service(VICTIM);
    let kernel = Kernel::record(pool.topology())?;
    let datagrams = Datagrams::record(pool.topology())?;
    let begin = now();
    pool.start_all()?;
    for number in [1, 2, 3] {
        wait_at(&kernel, family.service(number), &[number], within(LONG))?;
    }
    let client = Client::start(pool.topology().client(), address, Duration::from_millis(1))?;
    wait_answer(&client, VICTIM)?;

    let vanished = now();
    pool.power_off(VICTIM)?;
    let bound = HostConfig::spare(SPARE).timeout + BOUND;
    judge_spare(&client, address, vanished, bound)?;
    never_doubled(&kernel, [address], vanished, &[1, 3, SPARE])?;
    pool.power_on(VICTIM, State::Kept)?;
    let back = now();
    wait_at(&kernel, address, &[VICTIM], within(LONG))?;
    wait_answer(&client, VICTIM)?;
    never_doubled(&kernel, [address], back, &ALL)?;
    let has_multicast = datagrams.passed_on(begin)?.iter().any(|datagram| datagram.multicast);
    if has_multicast != (talk == Talk::Mixed) {
        return Err(Failure::broken(format!("multicast is on the wire: {has_multicast}")));
    }
    pool.check()
}

fn wait_answer(client: &Client, number: u8) -> Outcome {
    let name = Plan(number).name();
    match client.wait_answer(now(), within(LONG), |by| by == name)? {
        Some(_) => Ok(()),
        None => Err(Verdict::new(Finding::StaleNeighbour, format!("{name} does not answer the client")).into()),
    }
}

fn judge_spare(client: &Client, address: IpAddr, vanished: Instant, bound: Duration) -> Outcome {
    match client.wait_answer(vanished, vanished + bound + PATIENCE, |by| by == Plan(SPARE).name())? {
        Some(_) => Ok(()),
        None => Err(Verdict::new(Finding::Unserved, format!("{address} is not answered by the spare within {bound:?}")).into()),
    }
}

/// The spare is the only seed and stays away. Nobody else is in anybody's configuration.
fn come_back(stage: &Stage, state: State) -> Outcome {
    let mut pool = Pool::build(stage, ALL.map(|number| talking(host(number), Talk::Unicast, SPARE)))?;
    let family = Family::V4;
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    for number in [1, 2, 3] {
        wait_at(&kernel, family.service(number), &[number], within(LONG))?;
    }
    // What was learnt is on disk soon after.
    for number in ALL {
        let path = pool.directory(number).join("state/groups/www.json");
        let written = poll_until(within(LONG), || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let known = ALL.iter().filter(|other| text.contains(&format!("\"{}\"", Plan(**other).control(1)))).count();
            Ok((known == ALL.len() - 1).then_some(()))
        })?;
        if written.is_none() {
            return Err(Failure::broken(format!("host {number} has not written where the others are")));
        }
    }
    for number in ALL {
        pool.power_off(number)?;
    }
    for number in [1, 2, 3] {
        pool.power_on(number, state)?;
    }
    let back = now();
    // Each serves its own, alone or in a pool.
    for number in [1, 2, 3] {
        let has = |holders: &Holdings| holders.get(&family.service(number))?.contains(&number).then_some(());
        if kernel.wait(within(LONG), has)?.is_none() {
            return Err(Failure::broken(format!("host {number} does not serve its own")));
        }
    }
    never_doubled(&kernel, [1, 2, 3].map(|number| family.service(number)), back, &[1, 2, 3])?;
    let address = family.service(VICTIM);
    let vanished = now();
    pool.power_off(VICTIM)?;
    let has = |holders: &Holdings| {
        let holders = holders.get(&address)?;
        (holders.contains(&1) || holders.contains(&3)).then_some(())
    };
    if kernel.wait(vanished + NEVER, has)?.is_none() {
        return Err(Verdict::new(Finding::Unserved, format!("{address} after its host had vanished")).into());
    }
    pool.check()
}

/// A host's kernel drops control messages to its own addresses; those to the group address pass.
pub(crate) fn drop_unicast(pool: &Pool, number: u8) -> Outcome {
    firewall::add(pool.topology().host(number)?.namespace(), "input", "fib daddr type local udp dport 4242 drop")
}
