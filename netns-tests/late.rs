//! A service interface or control addresses that are not there yet when the daemon starts: it runs, says not-ok with the name, takes
//! nothing, and goes on when they appear. Twin: they never do, and the address does not come home.

use std::net::IpAddr;
use std::time::Duration;

use libtest_mimic::Trial;
use raisd::demo::plan::{Network, Plan};
use raisd::demo::probes::Client;
use raisd::demo::topology::{Topology, add_address, delete_address};
use rtnetlink::LinkUnspec;

use crate::judge::kernel::Kernel;
use crate::judge::{now, poll_until, within};
use crate::pool::{HostConfig, Pool, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(10);
const LATE: u8 = 2;
const SPARE: u8 = 4;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("a_service_interface_appears_late", |stage| late(stage, Missing::Interface, Then::Appears)),
        stories.twin("a_service_interface_appears_late", Finding::Unserved, |stage| late(stage, Missing::Interface, Then::StaysAway)),
        stories.story("control_addresses_appear_late", |stage| late(stage, Missing::ControlAddresses, Then::Appears)),
        stories.twin("control_addresses_appear_late", Finding::Unserved, |stage| late(stage, Missing::ControlAddresses, Then::StaysAway)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    ControlAddresses,
    Interface,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Appears,
    StaysAway,
}

fn late(stage: &Stage, missing: Missing, then: Then) -> Outcome {
    let mut pool = Pool::build(stage, [1, 2, 3].map(HostConfig::server).into_iter().chain([HostConfig::spare(SPARE)]))?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    for host in [1, 2, 3] {
        wait_on(&kernel, host, LONG)?;
    }
    pool.stop(LATE, LONG)?;
    let address = service(LATE);
    kernel.wait_holders(address, &[SPARE], within(LONG))?.ok_or_else(|| Failure::broken("the spare has not taken over"))?;
    missing.hide(pool.topology())?;
    let since = now();
    pool.start(LATE)?;
    wait_not_ok(&pool, missing)?;
    let client = Client::start(pool.topology().client(), address, Duration::from_millis(2))?;
    // Longer than it would listen: the timeout and a heartbeat. The client's packets tell the time.
    let later = now() + HostConfig::server(LATE).timeout + 5 * HostConfig::server(LATE).heartbeat;
    let name = Plan(SPARE).name();
    if client.wait_answer(later, within(LONG), |by| by == name)?.is_none() {
        return Err(Verdict::new(Finding::Unserved, format!("{address} by {name}")).into());
    }
    if let Some(change) = kernel.changes()?.into_iter().find(|change| change.at >= since && is_service(change.address)) {
        return Err(Verdict::new(Finding::Moved, format!("{change:?}")).into());
    }
    match then {
        Then::Appears => missing.show(pool.topology())?,
        Then::StaysAway => {}
    }
    wait_on(&kernel, LATE, Duration::from_secs(3))?;
    match kernel.doubled(address, since, &[1, 2, 3, SPARE])? {
        Some(span) => Err(Verdict::new(Finding::Doubled, format!("{span:?}")).into()),
        None => pool.check(),
    }
}

fn is_service(address: IpAddr) -> bool {
    [1, 2, 3].map(service).contains(&address)
}

fn wait_on(kernel: &Kernel, host: u8, limit: Duration) -> Outcome {
    match kernel.wait_holders(service(host), &[host], within(limit))? {
        Some(_) => Ok(()),
        None => Err(Verdict::new(Finding::Unserved, format!("{} is on {:?}", service(host), kernel.holders(service(host))?)).into()),
    }
}

/// The host itself says that it is not ok, and names what is missing.
fn wait_not_ok(pool: &Pool, missing: Missing) -> Outcome {
    let mut last = String::new();
    let said = poll_until(within(LONG), || {
        // The daemon may not answer yet.
        let Ok(status) = pool.raisctl_json(LATE, &["status"]) else { return Ok(None) };
        let group = status.pointer("/groups/0").cloned().unwrap_or_default();
        let hosts = group.get("hosts").and_then(|hosts| hosts.as_array().cloned()).unwrap_or_default();
        let is_not_ok = hosts.iter().any(|host| host["self"] == true && host["ok"] == false);
        last = group.get("problems").map(ToString::to_string).unwrap_or_default();
        Ok((is_not_ok && missing.names().iter().all(|name| last.contains(name))).then_some(()))
    })?;
    said.ok_or_else(|| Failure::broken(format!("it does not say that it misses {:?}: {last}", missing.names())))
}

impl Missing {
    fn names(self) -> Vec<String> {
        match self {
            Self::ControlAddresses => [0, 1].map(|network| Plan(LATE).control(network).to_string()).into(),
            Self::Interface => vec![Network::Service.to_string()],
        }
    }

    fn hide(self, topology: &Topology) -> Outcome {
        match self {
            Self::ControlAddresses => self.each_address(topology, delete_address),
            Self::Interface => rename(topology, "later0"),
        }
    }

    fn show(self, topology: &Topology) -> Outcome {
        match self {
            Self::ControlAddresses => self.each_address(topology, add_address),
            Self::Interface => rename(topology, Network::Service.interface()),
        }
    }

    fn each_address(
        self,
        topology: &Topology,
        change: impl Fn(&raisd::demo::namespace::Namespace, u32, IpAddr, u8) -> std::io::Result<()>,
    ) -> Outcome {
        let plan = Plan(LATE);
        for network in [0, 1] {
            let index = plan.interface_index(Network::Control(network));
            change(topology.host(LATE)?.namespace(), index, plan.control(network).into(), 24)?;
        }
        Ok(())
    }
}

/// The service interface by another name is none to the daemon. An interface that is up cannot be renamed by every kernel.
fn rename(topology: &Topology, name: &str) -> Outcome {
    let namespace = topology.host(LATE)?.namespace();
    let link = || LinkUnspec::new_with_index(Plan(LATE).interface_index(Network::Service));
    namespace.set_link(link().down())?;
    namespace.set_link(link().name(name.to_owned()))?;
    Ok(namespace.set_link(link().up())?)
}
