//! The operator's wishes for one host: quiesce, drain, resume.
//!
//! Quiesced: it keeps what it holds, leaves the zone, acquires nothing, and stays so over a restart. Drained: it is empty when
//! `raisctl drain` returns; if nobody can take what it holds, that says so, and the host stays quiesced. Resume restores.
//! Twins: the wish is not said, said half, taken back, or lost with the disk.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Output;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::judge::control::Datagrams;
use crate::judge::kernel::{Kernel, dump};
use crate::judge::place::{LONG, STILL_HEARTBEATS, stays_still, wait_at, wait_own};
use crate::judge::within;
use crate::judge::zone::wait_advertised;
use crate::pool::{HostConfig, Pool, State, ZONE, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const HOST: u8 = 2;

/// A second address of the host that is drained.
const SECOND: &str = "192.0.2.112";

/// How long a change of the zone may take: a twin in which it never comes ends with it.
const ZONE_CHANGES: Duration = Duration::from_secs(2);

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("a_quiesced_host_keeps_its_address_and_leaves_the_zone", |stage| quiesce(stage, Wish::Said)),
        stories.twin("a_quiesced_host_keeps_its_address_and_leaves_the_zone", Finding::Zone, |stage| quiesce(stage, Wish::Unsaid)),
        stories.story("a_quiesced_host_acquires_nothing", |stage| acquire_nothing(stage, Wish::Said)),
        stories.twin("a_quiesced_host_acquires_nothing", Finding::Moved, |stage| acquire_nothing(stage, Wish::Unsaid)),
        stories.story("a_power_cut_keeps_a_host_quiesced", |stage| reboot(stage, Reboot::PowerCut, State::Kept)),
        stories.twin("a_power_cut_keeps_a_host_quiesced", Finding::Moved, |stage| reboot(stage, Reboot::PowerCut, State::Lost)),
        stories.story("a_restart_keeps_a_host_quiesced", |stage| reboot(stage, Reboot::Orderly, State::Kept)),
        stories.twin("a_restart_keeps_a_host_quiesced", Finding::Moved, |stage| reboot(stage, Reboot::Orderly, State::Lost)),
        stories.story("a_drained_host_is_empty_when_drain_returns", |stage| drain(stage, "drain")),
        stories.twin("a_drained_host_is_empty_when_drain_returns", Finding::Kept, |stage| drain(stage, "quiesce")),
        stories.story("a_drain_without_a_place_to_go_is_refused", |stage| drain_nowhere(stage, Wish::Said)),
        stories.twin("a_drain_without_a_place_to_go_is_refused", Finding::Moved, |stage| drain_nowhere(stage, Wish::Unsaid)),
    ]
}

/// Whether a host is told to be quiesced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Said,
    Unsaid,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reboot {
    PowerCut,
    Orderly,
}

struct Scene {
    pool: Pool,
    kernel: Kernel,
    datagrams: Datagrams,
}

impl Scene {
    /// A pool in which everybody serves his own and the zone says so.
    fn set(stage: &Stage, servers: &[u8], spare: Option<u8>) -> Outcome<Self> {
        let hosts = servers.iter().copied().map(HostConfig::server);
        let mut pool = Pool::build(stage, hosts.chain(spare.map(HostConfig::spare)))?;
        let kernel = Kernel::record(pool.topology())?;
        let datagrams = Datagrams::record(pool.topology())?;
        pool.start_all()?;
        wait_own(&kernel, servers)?;
        let scene = Self { pool, kernel, datagrams };
        let all: Vec<u8> = servers.iter().copied().chain(spare).collect();
        scene.advertises(&all, servers, LONG)?;
        Ok(scene)
    }

    fn advertises(&self, name_servers: &[u8], hosts: &[u8], limit: Duration) -> Outcome {
        let wanted: BTreeSet<IpAddr> = hosts.iter().copied().map(service).collect();
        wait_advertised(self.pool.topology().client(), ZONE, name_servers, &wanted, within(limit)).map(drop)
    }

    fn raisctl(&self, host: u8, arguments: &[&str]) -> Outcome<Output> {
        let output = self.pool.raisctl(host, arguments)?;
        match output.status.success() {
            true => Ok(output),
            false => Err(Failure::broken(format!("raisctl {arguments:?} on host {host}: {output:?}"))),
        }
    }

    fn wish(&self, host: u8, wish: Wish) -> Outcome {
        match wish {
            Wish::Said => self.raisctl(host, &["quiesce", "--reason", "work on the rack"]).map(drop),
            Wish::Unsaid => Ok(()),
        }
    }

    fn stays_still(&self, alive: &[u8]) -> Outcome {
        stays_still(&self.kernel, &self.datagrams, alive, STILL_HEARTBEATS)
    }
}

fn quiesce(stage: &Stage, wish: Wish) -> Outcome {
    const ALL: [u8; 3] = [1, 2, 3];
    let mut scene = Scene::set(stage, &[1, 2], Some(3))?;
    scene.wish(HOST, wish)?;
    scene.advertises(&ALL, &[1], ZONE_CHANGES)?;
    scene.stays_still(&ALL)?;
    wait_own(&scene.kernel, &[HOST])?;
    scene.raisctl(HOST, &["resume"])?;
    scene.advertises(&ALL, &[1, 2], LONG)?;
    scene.stays_still(&ALL)?;
    scene.pool.check()
}

/// All others vanish, and a quiesced host takes nothing of them; as soon as it is resumed it takes everything.
fn acquire_nothing(stage: &Stage, wish: Wish) -> Outcome {
    let mut scene = Scene::set(stage, &[1, 2, 3], None)?;
    scene.wish(HOST, wish)?;
    for host in [1, 3] {
        scene.pool.power_off(host)?;
    }
    // Longer than the timeout.
    scene.stays_still(&[HOST])?;
    scene.advertises(&[HOST], &[], ZONE_CHANGES)?;
    scene.raisctl(HOST, &["resume"])?;
    for address in [1, 3].map(service) {
        let has = |holdings: &crate::judge::kernel::Holdings| holdings.get(&address)?.contains(&HOST).then_some(());
        if scene.kernel.wait(within(LONG), has)?.is_none() {
            return Err(Verdict::new(Finding::Unserved, format!("{address} after the host was resumed")).into());
        }
    }
    scene.advertises(&[HOST], &[HOST], LONG)?;
    scene.pool.check()
}

fn reboot(stage: &Stage, reboot: Reboot, state: State) -> Outcome {
    const ALL: [u8; 3] = [1, 2, 3];
    let mut scene = Scene::set(stage, &[1, 2], Some(3))?;
    scene.wish(HOST, Wish::Said)?;
    match reboot {
        Reboot::PowerCut => scene.pool.power_off(HOST)?,
        Reboot::Orderly => scene.pool.stop(HOST, LONG)?,
    }
    let address = service(HOST);
    let has = |holdings: &crate::judge::kernel::Holdings| holdings.get(&address)?.contains(&3).then_some(());
    if scene.kernel.wait(within(LONG), has)?.is_none() {
        return Err(Verdict::new(Finding::Unserved, format!("{address} while its host is away")).into());
    }
    match (reboot, state) {
        (Reboot::PowerCut, state) => scene.pool.power_on(HOST, state)?,
        (Reboot::Orderly, State::Kept) => scene.pool.start(HOST)?,
        (Reboot::Orderly, State::Lost) => {
            scene.pool.lose_state(HOST)?;
            scene.pool.start(HOST)?;
        }
    }
    // The kernel forgets with the power; from then on it stays where it is.
    wait_at(&scene.kernel, address, &[3], within(LONG))?;
    scene.stays_still(&ALL)?;
    scene.stays_still(&ALL)?;
    scene.advertises(&ALL, &[1], ZONE_CHANGES)?;
    scene.raisctl(HOST, &["resume"])?;
    wait_own(&scene.kernel, &[HOST])?;
    scene.advertises(&ALL, &[1, 2], LONG)?;
    scene.pool.check()
}

fn drain(stage: &Stage, verb: &str) -> Outcome {
    const ALL: [u8; 3] = [1, 2, 3];
    let second: IpAddr = SECOND.parse().map_err(|_| Failure::broken(SECOND))?;
    let mut pool = Pool::build(stage, [HostConfig::server(1), HostConfig::server(HOST), HostConfig::spare(3)])?;
    pool.configure(HOST, |config| config.preferred.push(format!("{second}/32")))?;
    let kernel = Kernel::record(pool.topology())?;
    let datagrams = Datagrams::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &[1, HOST])?;
    wait_at(&kernel, second, &[HOST], within(LONG))?;
    let mut scene = Scene { pool, kernel, datagrams };

    scene.raisctl(HOST, &[verb])?;
    // At this moment, and not later.
    let kept = dump(scene.pool.topology())?
        .into_iter()
        .find(|(address, holders)| (*address == service(HOST) || *address == second) && holders.contains(&HOST));
    if let Some((address, _)) = kept {
        return Err(Verdict::new(Finding::Kept, format!("{address} is on the drained host")).into());
    }
    for address in [service(HOST), second] {
        wait_at(&scene.kernel, address, &[3], within(LONG))?;
    }
    scene.advertises(&ALL, &[1], ZONE_CHANGES)?;
    scene.stays_still(&ALL)?;
    scene.raisctl(HOST, &["resume"])?;
    for address in [service(HOST), second] {
        wait_at(&scene.kernel, address, &[HOST], within(LONG))?;
    }
    let wanted = [service(1), service(HOST), second].into();
    wait_advertised(scene.pool.topology().client(), ZONE, &ALL, &wanted, within(LONG))?;
    scene.pool.check()
}

/// The other host is quiesced, so that nobody can take anything.
fn drain_nowhere(stage: &Stage, other: Wish) -> Outcome {
    const ALL: [u8; 2] = [1, 2];
    let mut scene = Scene::set(stage, &ALL, None)?;
    scene.wish(1, other)?;
    if other == Wish::Said {
        scene.advertises(&ALL, &[HOST], ZONE_CHANGES)?;
    }
    let output = scene.pool.raisctl(HOST, &["drain", "--timeout", "700ms"])?;
    let holders = scene.kernel.holders(service(HOST))?;
    if holders != [HOST].into() {
        return Err(Verdict::new(Finding::Moved, format!("{} is on {holders:?}", service(HOST))).into());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(1) || !said.contains("nobody else can take") || !said.contains("stays quiesced") {
        return Err(Verdict::new(Finding::Misreported, format!("raisctl drain: {output:?}")).into());
    }
    scene.advertises(&ALL, &[], ZONE_CHANGES)?;
    scene.raisctl(1, &["resume"])?;
    scene.advertises(&ALL, &[1], ZONE_CHANGES)?;
    // Quiesced and no longer draining: now that there is a place to go, it stays.
    scene.stays_still(&ALL)?;
    scene.raisctl(HOST, &["resume"])?;
    scene.advertises(&ALL, &ALL, LONG)?;
    scene.stays_still(&ALL)?;
    scene.pool.check()
}
