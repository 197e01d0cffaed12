//! A host vanishes, and comes back.
//!
//! The spare has its address within the timeout and 100 ms, the client's ARP cache follows at once, the zone drops it; when it
//! is back its address is released and goes home. Among hosts that hear each other there are never two holders.
//! So it is in a pool whose control networks and service addresses are IPv6. Twins: nothing is announced; the spare is not there.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use libtest_mimic::Trial;
use raisd::demo::frames::Frames;
use raisd::demo::plan::{Network, Plan};
use raisd::demo::probes::Client;

use crate::judge::kernel::Kernel;
use crate::judge::neighbour::neighbour;
use crate::judge::zone::wait_advertised;
use crate::judge::{now, within};
use crate::pool::{Family, HostConfig, Pool, State, ZONE};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(10);

/// What the take-over may take beyond the timeout.
const BOUND: Duration = Duration::from_millis(100);

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("a_host_vanishes_and_comes_back", |stage| vanish(stage, Family::V4, Spare::Announces)),
        stories.twin("a_host_vanishes_and_comes_back", Finding::StaleNeighbour, |stage| vanish(stage, Family::V4, Spare::IsSilent)),
        stories.story("a_host_vanishes_for_a_spare", |stage| vanish(stage, Family::V4, Spare::Announces)),
        stories.twin("a_host_vanishes_for_a_spare", Finding::Unserved, |stage| vanish(stage, Family::V4, Spare::IsAway)),
        stories.story("an_ipv6_host_vanishes_and_comes_back", |stage| vanish(stage, Family::V6, Spare::Announces)),
        stories.twin("an_ipv6_host_vanishes_and_comes_back", Finding::StaleNeighbour, |stage| vanish(stage, Family::V6, Spare::IsSilent)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spare {
    Announces,
    IsSilent,
    IsAway,
}

const VICTIM: u8 = 2;
const SPARE: u8 = 4;
const ALL: [u8; 4] = [1, 2, 3, 4];

fn vanish(stage: &Stage, family: Family, spare: Spare) -> Outcome {
    let configs = [1, 2, 3].map(HostConfig::server).into_iter().chain([HostConfig::spare(SPARE)]);
    let mut pool = Pool::build(stage, configs.map(|config| config.over(family)))?;
    if spare == Spare::IsSilent {
        pool.configure(SPARE, |config| config.tables = "[group.announce]\nmethod = \"none\"\n".to_owned())?;
    }
    let (address, own): (IpAddr, BTreeSet<IpAddr>) = (family.service(VICTIM), [1, 2, 3].map(|host| family.service(host)).into());
    let kernel = Kernel::record(pool.topology())?;
    let frames = Frames::capture(pool.topology())?;
    pool.start_all()?;
    wait_home(&kernel, address)?;
    wait_advertised(pool.topology().client(), ZONE, &ALL, &own, within(LONG))?;
    let client = Client::start(pool.topology().client(), address, Duration::from_millis(1))?;
    let name = Plan(VICTIM).name();
    if client.wait_answer(now() - LONG, within(LONG), |by| by == name)?.is_none() {
        return Err(Failure::broken(format!("{name} does not answer at {address}")));
    }
    if spare == Spare::IsAway {
        for host in [1, 3, SPARE] {
            pool.power_off(host)?;
        }
    }

    let vanished = now();
    pool.power_off(VICTIM)?;
    let bound = HostConfig::spare(SPARE).timeout + BOUND;
    judge_take_over(&pool, &kernel, &client, address, vanished + bound)?;
    if frames.wait(now(), |frame| frame.at >= vanished && frame.is_announcement() && frame.claim.address() == address)?.is_none() {
        return Err(Verdict::new(Finding::Unannounced, address.to_string()).into());
    }
    let left = own.iter().copied().filter(|other| *other != address).collect();
    wait_advertised(pool.topology().client(), ZONE, &[1, 3, SPARE], &left, within(LONG))?;
    judge_holders(&kernel, address, vanished, &[1, 3, SPARE])?;

    pool.power_on(VICTIM, State::Kept)?;
    let back = now();
    wait_home(&kernel, address)?;
    if client.wait_answer(back, within(LONG), |by| by == name)?.is_none() {
        return Err(Verdict::new(Finding::StaleNeighbour, format!("the client does not follow {address} home")).into());
    }
    wait_advertised(pool.topology().client(), ZONE, &ALL, &own, within(LONG))?;
    judge_holders(&kernel, address, back, &ALL)?;
    pool.check()
}

fn wait_home(kernel: &Kernel, address: IpAddr) -> Outcome {
    match kernel.wait_holders(address, &[VICTIM], within(LONG))? {
        Some(_) => Ok(()),
        None => Err(Verdict::new(Finding::Unserved, format!("{address} is on {:?}", kernel.holders(address)?)).into()),
    }
}

fn judge_take_over(pool: &Pool, kernel: &Kernel, client: &Client, address: IpAddr, deadline: std::time::Instant) -> Outcome {
    let spare = Plan(SPARE);
    // The kernel of a host without power keeps what it had; nobody can reach it.
    let has = |holders: &crate::judge::kernel::Holdings| holders.get(&address)?.contains(&SPARE).then_some(());
    if kernel.wait(deadline, has)?.is_none() {
        let holders = kernel.holders(address)?;
        return Err(Verdict::new(Finding::Unserved, format!("in time; {address} is on {holders:?}")).into());
    }
    let moved = now();
    // Ten times what an announcement takes; a kernel that is told nothing looks for the address after seconds.
    if client.wait_answer(moved, within(Duration::from_millis(500)), |by| by == spare.name())?.is_none() {
        let cached = neighbour(pool.topology().client(), address)?;
        return Err(Verdict::new(Finding::StaleNeighbour, format!("the client's kernel sends to {cached:?}")).into());
    }
    match neighbour(pool.topology().client(), address)? {
        Some(mac) if mac == spare.mac(Network::Service) => Ok(()),
        cached => Err(Verdict::new(Finding::StaleNeighbour, format!("{cached:?}")).into()),
    }
}

fn judge_holders(kernel: &Kernel, address: IpAddr, since: std::time::Instant, hosts: &[u8]) -> Outcome {
    match kernel.doubled(address, since, hosts)? {
        Some(span) => Err(Verdict::new(Finding::Doubled, format!("{:?} for {:?}", span.holders, span.duration())).into()),
        None => Ok(()),
    }
}
