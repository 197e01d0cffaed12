//! Control networks break, and as long as a way is left nothing moves.
//!
//! One of the two networks is cut, then the other; two hosts hear each other only through others, on no network directly, and
//! the commands of one reach the other. The wire shows that no message went directly.
//! Twins: both networks are cut; nobody hears both; whoever relays goes away.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use raisd::demo::plan::Network;

use crate::judge::control::Datagrams;
use crate::judge::kernel::Kernel;
use crate::judge::place::{LONG, STILL_HEARTBEATS, has_not_moved, never_doubled, stays_still, wait_at, wait_own};
use crate::judge::zone::wait_advertised;
use crate::judge::{now, within};
use crate::pool::{HostConfig, Pool, State, ZONE, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const CONTROL: [Network; 2] = [Network::Control(0), Network::Control(1)];

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("one_control_network_is_cut", |stage| cut(stage, Cut::One)),
        stories.twin("one_control_network_is_cut", Finding::Moved, |stage| cut(stage, Cut::Both)),
        stories.story("a_host_is_heard_only_through_another", |stage| relay(stage, Relay::Works)),
        stories.twin("a_host_is_heard_only_through_another", Finding::Moved, |stage| relay(stage, Relay::IsAway)),
        stories.story("a_leader_commands_a_host_that_it_does_not_hear", |stage| command(stage, Relay::Works)),
        stories.twin("a_leader_commands_a_host_that_it_does_not_hear", Finding::Doubled, |stage| command(stage, Relay::IsAway)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    One,
    Both,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Relay {
    Works,
    /// It hears and is heard by neither.
    IsAway,
}

fn cut(stage: &Stage, which: Cut) -> Outcome {
    const ALL: [u8; 4] = [1, 2, 3, 4];
    let mut pool = Pool::build(stage, [1, 2, 3].map(HostConfig::server).into_iter().chain([HostConfig::spare(4)]))?;
    let kernel = Kernel::record(pool.topology())?;
    let datagrams = Datagrams::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &[1, 2, 3])?;
    let own = [1, 2, 3].map(service).into();
    let serial = wait_advertised(pool.topology().client(), ZONE, &ALL, &own, within(LONG))?;

    for network in CONTROL {
        ALL.into_iter().try_for_each(|host| pool.topology().cut(host, network))?;
        if which == Cut::Both {
            pool.topology().cut(2, Network::Control(1))?;
            // Nothing of it is on any wire.
            stays_still(&kernel, &datagrams, &[1, 3, 4], STILL_HEARTBEATS)?;
        }
        stays_still(&kernel, &datagrams, &ALL, STILL_HEARTBEATS)?;
        ALL.into_iter().try_for_each(|host| pool.topology().mend(host, network))?;
        // With the next network cut, only this one is left.
        stays_still(&kernel, &datagrams, &ALL, STILL_HEARTBEATS)?;
    }
    // For the leader alone, and without a link that says so.
    pool.topology().mute(1, CONTROL[0])?;
    stays_still(&kernel, &datagrams, &ALL, STILL_HEARTBEATS)?;
    let later = wait_advertised(pool.topology().client(), ZONE, &ALL, &own, within(LONG))?;
    if later != serial {
        return Err(Verdict::new(Finding::Zone, format!("its serial went from {serial} to {later}")).into());
    }
    pool.check()
}

/// From now on these hosts hear each other on no network.
fn separate(pool: &Pool, hosts: &[u8]) -> Outcome {
    for host in hosts {
        CONTROL.into_iter().try_for_each(|network| pool.topology().isolate(*host, network))?;
    }
    Ok(())
}

/// No message of one of these hosts was passed on to another since then.
fn check_separate(datagrams: &Datagrams, since: Instant, hosts: [u8; 2]) -> Outcome {
    let [a, c] = hosts;
    let pairs = datagrams.pairs(since)?;
    match pairs.contains(&(a, c)) || pairs.contains(&(c, a)) {
        true => Err(Failure::broken(format!("hosts {hosts:?} heard each other directly"))),
        false => Ok(()),
    }
}

/// Host 1, the leader, hears host 3 only through host 2.
fn relay(stage: &Stage, relay: Relay) -> Outcome {
    const ALL: [u8; 3] = [1, 2, 3];
    let mut pool = Pool::build(stage, ALL.map(HostConfig::server))?;
    let kernel = Kernel::record(pool.topology())?;
    let datagrams = Datagrams::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &ALL)?;
    let own = ALL.map(service).into();
    let serial = wait_advertised(pool.topology().client(), ZONE, &ALL, &own, within(LONG))?;

    separate(&pool, if relay == Relay::Works { &[1, 3] } else { &ALL })?;
    let since = now();
    stays_still(&kernel, &datagrams, &ALL, 2 * STILL_HEARTBEATS)?;
    check_separate(&datagrams, since, [1, 3])?;
    let later = wait_advertised(pool.topology().client(), ZONE, &ALL, &own, within(LONG))?;
    if later != serial {
        return Err(Verdict::new(Finding::Zone, format!("its serial went from {serial} to {later}")).into());
    }
    pool.check()
}

/// Host 1 leads, host 3 is the spare, host 2 hears both; host 4 vanishes, and its address is given to host 3 and taken back.
fn command(stage: &Stage, relay: Relay) -> Outcome {
    const ALL: [u8; 4] = [1, 2, 3, 4];
    let hosts = [HostConfig::server(1), HostConfig::server(2), HostConfig::spare(3), HostConfig::server(4)];
    let mut pool = Pool::build(stage, hosts)?;
    let kernel = Kernel::record(pool.topology())?;
    let datagrams = Datagrams::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &[1, 2, 4])?;
    let own = [1, 2, 4].map(service).into();
    wait_advertised(pool.topology().client(), ZONE, &ALL, &own, within(LONG))?;
    // Host 4 is heard by all as long as it is there.
    separate(&pool, if relay == Relay::Works { &[1, 3] } else { &[1, 2, 3] })?;
    let since = now();
    stays_still(&kernel, &datagrams, &ALL, STILL_HEARTBEATS)?;

    let vanished = now();
    pool.power_off(4)?;
    let taken = kernel.wait(within(Duration::from_secs(3)), |holdings| {
        let holders = holdings.get(&service(4))?;
        holders.iter().any(|host| *host != 4).then_some(())
    })?;
    if taken.is_none() {
        return Err(Verdict::new(Finding::Unserved, format!("nobody has {}", service(4))).into());
    }
    // Whoever acts on his own does so at about the same time.
    let silent = datagrams.wait_heartbeats(&[1, 2, 3], now(), crate::judge::place::HEARTBEAT, STILL_HEARTBEATS, within(LONG))?;
    if !silent.is_empty() {
        return Err(Verdict::new(Finding::Silent, format!("hosts {silent:?}")).into());
    }
    never_doubled(&kernel, ALL.map(service), vanished, &[1, 2, 3])?;
    if !kernel.holders(service(4))?.contains(&3) {
        return Err(Verdict::new(Finding::Unserved, format!("{} is on {:?}", service(4), kernel.holders(service(4))?)).into());
    }
    has_not_moved(&kernel, vanished, |change| change.address != service(4))?;
    check_separate(&datagrams, since, [1, 3])?;

    pool.power_on(4, State::Kept)?;
    // The kernel without power has forgotten its addresses with its return.
    let back = now();
    wait_at(&kernel, service(4), &[4], within(LONG))?;
    never_doubled(&kernel, ALL.map(service), back, &ALL)?;
    has_not_moved(&kernel, back, |change| change.address != service(4))?;
    check_separate(&datagrams, since, [1, 3])?;
    pool.check()
}
