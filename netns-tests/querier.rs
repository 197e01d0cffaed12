//! The switches of the control networks snoop, and lose their querier: multicast dies on all of them at once, unicast works.
//!
//! The hosts have a group address only. With a client at 1,000 packets a second nothing moves and nothing is dark; every host says it
//! once for each network, and its status shows how it hears the others as the wire has it; a host that vanishes meanwhile is replaced in
//! time; when multicast works again, unicast ends. Twin: the hosts' kernels drop what comes to their own addresses.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use raisd::demo::plan::{Network, Plan};
use raisd::demo::probes::{Client, PATIENCE, outages};
use raisd::demo::querier::FORGOTTEN;
use serde_json::Value;

use crate::firewall;
use crate::judge::control::Datagrams;
use crate::judge::kernel::Kernel;
use crate::judge::place::{LONG, STILL_HEARTBEATS, never_doubled, stays_still, wait_own};
use crate::judge::{now, poll_until, within};
use crate::peers::drop_unicast;
use crate::pool::{HostConfig, Pool, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const ALL: [u8; 4] = [1, 2, 3, 4];
const CONTROL: [Network; 2] = [Network::Control(0), Network::Control(1)];

/// Whose address the client asks.
const HOLDER: u8 = 2;

/// More than any take-over of a pool that hears nobody would leave of the client's packets unanswered.
const DARK: Duration = Duration::from_millis(50);

/// What a take-over may take beyond the timeout.
const BOUND: Duration = Duration::from_millis(150);

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("networks_that_lose_their_querier_are_survived", |stage| lose(stage, Unicast::Works)),
        stories.twin("networks_that_lose_their_querier_are_survived", Finding::Moved, |stage| lose(stage, Unicast::IsDropped)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unicast {
    Works,
    IsDropped,
}

fn lose(stage: &Stage, unicast: Unicast) -> Outcome {
    let mut pool = Pool::build(stage, [1, 2, 3].map(HostConfig::server).into_iter().chain([HostConfig::spare(4)]))?;
    CONTROL.into_iter().try_for_each(|network| pool.topology().snoop(network))?;
    let kernel = Kernel::record(pool.topology())?;
    let datagrams = Datagrams::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &[1, 2, 3])?;
    // With its querier the networks carry multicast for longer than any membership lasts.
    let begin = now();
    while now() < begin + FORGOTTEN {
        stays_still(&kernel, &datagrams, &ALL, STILL_HEARTBEATS)?;
    }
    if !multicast_arrives(&datagrams, begin)? {
        return Err(Failure::broken("the switches do not carry multicast"));
    }
    if unicast == Unicast::IsDropped {
        ALL.into_iter().try_for_each(|host| drop_unicast(&pool, host))?;
    }
    let client = Client::start(pool.topology().client(), service(HOLDER), Duration::from_millis(1))?;
    let name = Plan(HOLDER).name();
    if client.wait_answer(now() - LONG, within(LONG), |by| by == name)?.is_none() {
        return Err(Failure::broken(format!("{name} does not answer at {}", service(HOLDER))));
    }

    let lost = now();
    CONTROL.into_iter().try_for_each(|network| pool.topology().lose_querier(network))?;
    while now() < lost + FORGOTTEN {
        stays_still(&kernel, &datagrams, &ALL, STILL_HEARTBEATS)?;
    }
    let dead = now();
    stays_still(&kernel, &datagrams, &ALL, 2 * STILL_HEARTBEATS)?;
    if multicast_arrives(&datagrams, dead)? {
        return Err(Failure::broken("the switches still carry multicast"));
    }
    judge_pairs(&datagrams, dead)?;
    judge_status(&pool, false)?;
    judge_logs(&pool)?;
    judge_client(&client, lost)?;

    let vanished = now();
    // Without a word to the switch, which asks who listens when a link fails.
    firewall::add(pool.topology().host(HOLDER)?.namespace(), "input", "drop")?;
    pool.kill(HOLDER)?;
    let bound = HostConfig::spare(4).timeout + BOUND;
    if client.wait_answer(vanished, vanished + bound + PATIENCE, |by| by == Plan(4).name())?.is_none() {
        return Err(Verdict::new(Finding::Unserved, format!("{} is not answered by the spare within {bound:?}", service(HOLDER))).into());
    }
    never_doubled(&kernel, [service(HOLDER)], vanished, &[1, 3, 4])?;
    if multicast_arrives(&datagrams, dead)? {
        return Err(Failure::broken("the switches carry multicast again"));
    }

    CONTROL.into_iter().try_for_each(|network| pool.topology().flood(network))?;
    judge_status(&pool, true)?;
    pool.check()
}

fn multicast_arrives(datagrams: &Datagrams, since: Instant) -> Outcome<bool> {
    Ok(datagrams.passed_on(since)?.iter().any(|datagram| datagram.multicast))
}

/// On each network the switch passes on what each host says to each other.
fn judge_pairs(datagrams: &Datagrams, since: Instant) -> Outcome {
    let passed = datagrams.passed_on(since)?;
    for network in CONTROL {
        let of_network = passed.iter().filter(|datagram| datagram.network == network);
        let pairs: BTreeSet<(u8, u8)> = of_network.filter_map(|datagram| Some((datagram.from, datagram.to?))).collect();
        let missing = ALL.iter().flat_map(|from| ALL.map(|to| (*from, to))).find(|pair| pair.0 != pair.1 && !pairs.contains(pair));
        if let Some((from, to)) = missing {
            return Err(Verdict::new(Finding::Silent, format!("nothing of host {from} comes to host {to} on {network}")).into());
        }
    }
    Ok(())
}

/// The status of host 1 comes to show in which way the others are heard on each network.
fn judge_status(pool: &Pool, multicast: bool) -> Outcome {
    let mut last = Value::Null;
    let shown = poll_until(within(LONG), || {
        last = pool.raisctl_json(1, &["status"])?.pointer("/groups/0").cloned().unwrap_or_default();
        let hosts = last.get("hosts").and_then(Value::as_array).cloned().unwrap_or_default();
        let live = hosts.iter().filter(|host| host.get("self") == Some(&false.into()) && host.get("silent") == Some(&false.into()));
        let ways: Vec<Value> = live.filter_map(|host| host.get("networks")?.as_array().cloned()).flatten().collect();
        let as_it_is = |way: &Value| way.get("multicast") == Some(&multicast.into()) && way.get("unicast") == Some(&(!multicast).into());
        let problems = last.get("problems").and_then(Value::as_array).map_or(0, Vec::len);
        let all_networks = ways.len() >= 4 && ways.iter().all(as_it_is);
        Ok((all_networks && problems == if multicast { 0 } else { CONTROL.len() }).then_some(()))
    })?;
    shown.ok_or_else(|| Verdict::new(Finding::Misreported, format!("status of host 1, with multicast: {multicast}: {last:#}")).into())
}

/// Every host says it once for each network, with the address that it is about.
fn judge_logs(pool: &Pool) -> Outcome {
    for host in ALL {
        let text = fs::read_to_string(pool.log(host))?;
        for network in [0, 1] {
            let words = format!("does not arrive on control network {network} ({})", Plan(host).control(network));
            let count = text.matches(&words).count();
            if count != 1 {
                return Err(Verdict::new(Finding::Misreported, format!("host {host} says {count} times that multicast {words}")).into());
            }
        }
    }
    Ok(())
}

fn judge_client(client: &Client, since: Instant) -> Outcome {
    let probes = client.probes()?;
    let recent: Vec<_> = probes.into_iter().filter(|probe| probe.sent >= since).collect();
    match outages(&recent, PATIENCE).into_iter().find(|outage| outage.duration() >= DARK) {
        Some(outage) => {
            let text = format!("{} for {:?}, {} packets lost", service(HOLDER), outage.duration(), outage.lost);
            Err(Verdict::new(Finding::Dark, text).into())
        }
        None => wait_at_home(client),
    }
}

/// The same host answers as before.
fn wait_at_home(client: &Client) -> Outcome {
    let name = Plan(HOLDER).name();
    match client.wait_answer(now(), within(LONG), |by| by == name)? {
        Some(_) => Ok(()),
        None => Err(Verdict::new(Finding::Moved, format!("{name} does not answer any more")).into()),
    }
}
