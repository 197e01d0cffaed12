//! Three hosts with preferred addresses and a spare come up in any order; a fourth server joins a pool that serves.
//!
//! Each host serves its own address, the zone holds all of them, the spare serves none; nobody else notices who joins.
//! Twins: a host has another key; while one joins, another leaves.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::judge::kernel::{Change, Kernel};
use crate::judge::zone::wait_advertised;
use crate::judge::{now, within};
use crate::pool::{HostConfig, Pool, ZONE, keygen, service};
use crate::story::{Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(10);

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("hosts_come_up_in_order", |stage| come_up(stage, &[1, 2, 3, 4], Key::Same)),
        stories.story("hosts_come_up_in_reverse", |stage| come_up(stage, &[4, 3, 2, 1], Key::Same)),
        stories.story("hosts_come_up_spare_in_the_middle", |stage| come_up(stage, &[2, 4, 1, 3], Key::Same)),
        stories.twin("hosts_come_up_in_order", Finding::Zone, |stage| come_up(stage, &[1, 2, 3, 4], Key::Another)),
        stories.story("a_fourth_server_joins_unnoticed", |stage| join(stage, Others::Stay)),
        stories.twin("a_fourth_server_joins_unnoticed", Finding::Moved, |stage| join(stage, Others::OneLeaves)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Same,
    Another,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    Stay,
    OneLeaves,
}

fn services(hosts: &[u8]) -> BTreeSet<IpAddr> {
    hosts.iter().copied().map(service).collect()
}

/// Each of `hosts` has its own address, alone.
fn wait_own(kernel: &Kernel, hosts: &[u8]) -> Outcome {
    for host in hosts {
        if kernel.wait_holders(service(*host), &[*host], within(LONG))?.is_none() {
            let holders = kernel.holders(service(*host))?;
            return Err(Verdict::new(Finding::Unserved, format!("{} is on {holders:?}", service(*host))).into());
        }
    }
    Ok(())
}

fn come_up(stage: &Stage, order: &[u8], key: Key) -> Outcome {
    let mut pool = Pool::build(stage, [HostConfig::server(1), HostConfig::server(2), HostConfig::server(3), HostConfig::spare(4)])?;
    if key == Key::Another {
        let path = stage.private().join("another.key");
        keygen(&path)?;
        pool.configure(2, |config| config.key_file = Some(path))?;
    }
    let kernel = Kernel::record(pool.topology())?;
    order.iter().try_for_each(|host| pool.start(*host))?;
    wait_own(&kernel, &[1, 2, 3])?;
    wait_advertised(pool.topology().client(), ZONE, &[1, 2, 3, 4], &services(&[1, 2, 3]), within(LONG))?;
    let spare_has = services(&[1, 2, 3]).into_iter().find_map(|address| match kernel.holders(address) {
        Ok(holders) => holders.contains(&4).then_some(Ok(address)),
        Err(error) => Some(Err(error)),
    });
    if let Some(address) = spare_has.transpose()? {
        return Err(Verdict::new(Finding::Moved, format!("the spare has {address}")).into());
    }
    pool.check()
}

/// Host 5 joins hosts 1 to 4. That it comes up is a change of its own address only.
fn join(stage: &Stage, others: Others) -> Outcome {
    let hosts = [1, 2, 3, 5].map(HostConfig::server).into_iter().chain([HostConfig::spare(4)]);
    let mut pool = Pool::build(stage, hosts)?;
    let kernel = Kernel::record(pool.topology())?;
    [1, 2, 3, 4].into_iter().try_for_each(|host| pool.start(host))?;
    wait_own(&kernel, &[1, 2, 3])?;
    wait_advertised(pool.topology().client(), ZONE, &[1, 4], &services(&[1, 2, 3]), within(LONG))?;
    let before = now();
    pool.start(5)?;
    if others == Others::OneLeaves {
        pool.stop(3, LONG)?;
    }
    wait_own(&kernel, &[5])?;
    let elsewhere = |change: &Change| change.at >= before && change.address != service(5);
    match kernel.changes()?.into_iter().find(elsewhere) {
        Some(change) => return Err(Verdict::new(Finding::Moved, format!("{change:?}")).into()),
        None => wait_advertised(pool.topology().client(), ZONE, &[1, 4], &services(&[1, 2, 3, 5]), within(LONG))?,
    };
    pool.check()
}
