//! Addresses that no live host prefers: orphans come to their end, floating ones are served all the same.
//!
//! What has expired is gone everywhere and stays so, also when a host with an old database returns, until somebody who prefers
//! it is back. Twins: nobody remembers that it has expired, nobody accepts a floating address, somebody still lists it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;
use raisd::demo::probes::Client;

use crate::judge::calls::{Action, Calls};
use crate::judge::kernel::{Change, ChangeKind, Kernel};
use crate::judge::zone::wait_advertised;
use crate::judge::{now, within};
use crate::pool::{HostConfig, Pool, State, ZONE, service};
use crate::story::{Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(5);

const LIFETIME: Duration = Duration::from_secs(2);

/// The host whose address is orphaned, the one with the old database, and the spare.
const HOST: u8 = 2;
const OLD: u8 = 3;
const SPARE: u8 = 4;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("an_orphan_is_forgotten_for_good", |stage| forgotten(stage, End::Lifetime, State::Kept)),
        stories.twin("an_orphan_is_forgotten_for_good", Finding::Known, |stage| forgotten(stage, End::Lifetime, State::Lost)),
        stories.story("an_orphan_is_forgotten_by_the_operator", |stage| forgotten(stage, End::Operator, State::Kept)),
        stories.twin("an_orphan_is_forgotten_by_the_operator", Finding::Known, |stage| forgotten(stage, End::Nobody, State::Kept)),
        stories.story("floating_addresses_are_served_though_nobody_prefers_them", |stage| floating(stage, "")),
        stories.twin("floating_addresses_are_served_though_nobody_prefers_them", Finding::Unserved, |stage| {
            floating(stage, "accept = [\"192.0.2.0/28\"]\n")
        }),
        stories.story("a_floating_address_ends_with_the_last_that_lists_it", |stage| dropped(stage, &[1, HOST])),
        stories.twin("a_floating_address_ends_with_the_last_that_lists_it", Finding::Known, |stage| dropped(stage, &[1])),
    ]
}

/// What ends the orphan.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Lifetime,
    Operator,
    Nobody,
}

fn hosts() -> impl Iterator<Item = HostConfig> {
    [1, HOST, OLD].map(HostConfig::server).into_iter().chain([HostConfig::spare(SPARE)])
}

fn wait_on(kernel: &Kernel, address: IpAddr, host: u8) -> Outcome<Instant> {
    match kernel.wait_holders(address, &[host], within(LONG))? {
        Some(since) => Ok(since),
        None => Err(Verdict::new(Finding::Unserved, format!("{address} is on {:?}, not on {host}", kernel.holders(address)?)).into()),
    }
}

fn wait_gone(kernel: &Kernel, address: IpAddr) -> Outcome<Instant> {
    match kernel.wait_holders(address, &[], within(LONG))? {
        Some(since) => Ok(since),
        None => Err(Verdict::new(Finding::Known, format!("{address} is on {:?}", kernel.holders(address)?)).into()),
    }
}

/// Nobody gets the address until a client is answered elsewhere in a probe sent twelve heartbeats after `since`.
fn stays_gone(pool: &Pool, kernel: &Kernel, address: IpAddr, since: Instant, elsewhere: u8) -> Outcome {
    let until = now() + 12 * HostConfig::spare(SPARE).heartbeat;
    let client = Client::start(pool.topology().client(), service(elsewhere), Duration::from_millis(10))?;
    if client.wait_answer(until, until + LONG, |by| by == Plan(elsewhere).name())?.is_none() {
        return Err(Verdict::new(Finding::Unserved, format!("{} does not answer", Plan(elsewhere).name())).into());
    }
    let again = |change: &Change| change.at > since && change.address == address && change.kind == ChangeKind::Added;
    match kernel.changes()?.into_iter().find(again) {
        Some(change) => Err(Verdict::new(Finding::Known, format!("{change:?}")).into()),
        None => Ok(()),
    }
}

/// `survivors`: what is left on the disks of those who saw it expire when they start again.
fn forgotten(stage: &Stage, end: End, survivors: State) -> Outcome {
    let mut pool = Pool::build(stage, hosts())?;
    let calls = Calls::new(stage.private());
    calls.install(&mut pool, SPARE, "true", "true", LONG)?;
    for host in [1, HOST, OLD, SPARE] {
        // That of the host with the old database is another: what it remembers is not old enough to be forgotten by itself.
        let lifetime = if host == OLD || end != End::Lifetime { Duration::from_secs(3600) } else { LIFETIME };
        pool.configure(host, |config| config.group_keys = format!("orphan_lifetime = \"{}ms\"\n", lifetime.as_millis()))?;
    }
    let (address, client) = (service(HOST), pool.topology().client().clone());
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    for host in [1, HOST, OLD] {
        wait_on(&kernel, service(host), host)?;
    }
    pool.stop(OLD, LONG)?;
    let orphaned = now();
    pool.stop(HOST, LONG)?;
    wait_on(&kernel, address, SPARE)?;
    if end == End::Operator {
        pool.raisctl(1, &["expire", &address.to_string()])?;
    }
    let gone = wait_gone(&kernel, address)?;
    if end == End::Lifetime && gone < orphaned + LIFETIME {
        return Err(Verdict::new(Finding::Unserved, format!("{address} is given up after {:?}", gone - orphaned)).into());
    }
    calls.wait_call(SPARE, Action::Release, address, "expired", 0)?;
    if end == End::Lifetime {
        // That of the other host is another orphan, which comes to its end as well.
        wait_gone(&kernel, service(OLD))?;
    }
    wait_advertised(&client, ZONE, &[1, SPARE], &[service(1)].into(), within(LONG))?;

    for host in [1, SPARE] {
        pool.stop(host, LONG)?;
        // From here on it is not old enough for anybody: whoever knows it and not its end has it served.
        pool.configure(host, |config| config.group_keys = "orphan_lifetime = \"1h\"\n".to_owned())?;
        if survivors == State::Lost {
            pool.lose_state(host)?;
        }
    }
    for host in [1, OLD, SPARE] {
        pool.start(host)?;
    }
    wait_on(&kernel, service(OLD), OLD)?;
    wait_on(&kernel, service(1), 1)?;
    stays_gone(&pool, &kernel, address, gone, OLD)?;
    wait_advertised(&client, ZONE, &[1, OLD, SPARE], &[1, OLD].map(service).into(), within(LONG))?;

    // Whoever prefers it brings it back.
    pool.start(HOST)?;
    wait_on(&kernel, address, HOST)?;
    wait_advertised(&client, ZONE, &[1, HOST, OLD, SPARE], &[1, HOST, OLD].map(service).into(), within(LONG))?;
    pool.check()
}

/// `keys`: further keys of all hosts.
fn floating(stage: &Stage, keys: &str) -> Outcome {
    let mut pool = Pool::build(stage, hosts())?;
    let floating: Vec<IpAddr> = [101, 102, 103, 104].map(|last| IpAddr::from([192, 0, 2, last])).into();
    let list = floating.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ");
    for host in [1, HOST, OLD, SPARE] {
        pool.configure(host, |config| config.group_keys = format!("floating = [{list}]\n{keys}"))?;
    }
    let homes: BTreeSet<IpAddr> = [1, HOST, OLD].map(service).into();
    let client = pool.topology().client().clone();
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    for host in [1, HOST, OLD] {
        wait_on(&kernel, service(host), host)?;
    }
    let holders = wait_each_once(&kernel, &floating, &[1, HOST, OLD, SPARE])?;
    judge_spread(&holders, &[1, HOST, OLD, SPARE])?;
    for (address, host) in floating.iter().zip(&holders) {
        judge_answer(&pool, *address, *host)?;
    }
    wait_advertised(&client, ZONE, &[1, HOST, OLD, SPARE], &homes, within(LONG))?;

    pool.power_off(HOST)?;
    let left = [1, OLD, SPARE];
    let holders = wait_each_once(&kernel, &floating, &left)?;
    judge_spread(&holders, &left)?;
    for (address, host) in floating.iter().zip(&holders) {
        judge_answer(&pool, *address, *host)?;
    }
    wait_on_among(&kernel, service(HOST), &left)?;
    let back = now();
    pool.power_on(HOST, State::Kept)?;
    wait_on(&kernel, service(HOST), HOST)?;
    wait_advertised(&client, ZONE, &[1, HOST, OLD, SPARE], &homes, within(LONG))?;
    // A host that joins shuffles nothing; its own kernel has lost what it had when its power failed.
    let shuffled = |change: &Change| change.at > back && change.host != HOST && floating.contains(&change.address);
    match kernel.changes()?.into_iter().find(shuffled) {
        Some(change) => Err(Verdict::new(Finding::Moved, format!("{change:?}")).into()),
        None => pool.check(),
    }
}

fn wait_on_among(kernel: &Kernel, address: IpAddr, hosts: &[u8]) -> Outcome<u8> {
    let only = |holders: &BTreeSet<u8>| {
        let mut among = holders.iter().copied().filter(|host| hosts.contains(host));
        among.next().filter(|_| among.next().is_none())
    };
    match kernel.wait(within(LONG), |holdings| only(holdings.get(&address)?))? {
        Some(host) => Ok(host),
        None => {
            let holders = kernel.holders(address)?;
            Err(Verdict::new(Finding::Unserved, format!("{address} is on {holders:?}, not on one of {hosts:?}")).into())
        }
    }
}

/// Waits until each address is on one of the hosts, and returns on which.
fn wait_each_once(kernel: &Kernel, addresses: &[IpAddr], hosts: &[u8]) -> Outcome<Vec<u8>> {
    addresses.iter().map(|address| wait_on_among(kernel, *address, hosts)).collect()
}

/// Of those served at first the hosts have as many each, more or less one.
fn judge_spread(holders: &[u8], hosts: &[u8]) -> Outcome {
    let counts = hosts.iter().map(|host| holders.iter().filter(|holder| *holder == host).count());
    match (counts.clone().min(), counts.max()) {
        (Some(least), Some(most)) if most - least <= 1 => Ok(()),
        _ => Err(Verdict::new(Finding::Moved, format!("the holders are {holders:?}")).into()),
    }
}

fn judge_answer(pool: &Pool, address: IpAddr, host: u8) -> Outcome {
    let client = Client::start(pool.topology().client(), address, Duration::from_millis(10))?;
    match client.wait_answer(now(), within(LONG), |by| by == Plan(host).name())? {
        Some(_) => Ok(()),
        None => Err(Verdict::new(Finding::Unserved, format!("{} does not answer at {address}", Plan(host).name())).into()),
    }
}

/// Hosts 1 and 2 list a floating address; those of `droppers` start again without it.
fn dropped(stage: &Stage, droppers: &[u8]) -> Outcome {
    let mut pool = Pool::build(stage, hosts())?;
    let address = IpAddr::from([192, 0, 2, 101]);
    for host in [1, HOST] {
        pool.configure(host, |config| config.group_keys = format!("floating = [\"{address}\"]\n"))?;
    }
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    for host in [1, HOST, OLD] {
        wait_on(&kernel, service(host), host)?;
    }
    wait_on_among(&kernel, address, &[1, HOST, OLD, SPARE])?;
    for (dropper, is_last) in droppers.iter().zip([false, true]) {
        pool.stop(*dropper, LONG)?;
        // Whoever listed it is away: it is served on.
        wait_on_among(&kernel, address, &[1, HOST, OLD, SPARE])?;
        pool.configure(*dropper, |config| config.group_keys = String::new())?;
        pool.start(*dropper)?;
        wait_on(&kernel, service(*dropper), *dropper)?;
        if !is_last {
            wait_on_among(&kernel, address, &[1, HOST, OLD, SPARE])?;
        }
    }
    let gone = wait_gone(&kernel, address)?;
    stays_gone(&pool, &kernel, address, gone, 1)?;
    pool.check()
}
