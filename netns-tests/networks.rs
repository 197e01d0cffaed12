//! The networks judged: what is cut is cut for those that it is meant for, and for nobody else.

use std::net::IpAddr;
use std::time::Duration;

use libtest_mimic::Trial;
use raisd::demo::plan::{Network, Plan};
use raisd::demo::probes::{Echo, ask};
use raisd::demo::topology::Topology;

use crate::judge::{poll_until, within};
use crate::story::{Failure, Outcome, Stories};

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![stories.story("networks_are_cut_where_they_are_meant_to", |_| cuts())]
}

/// Pairs of hosts, each way, that hear each other on control network 0.
fn hearing(topology: &Topology) -> Outcome<Vec<(u8, u8)>> {
    let mut pairs = Vec::new();
    for (from, host) in topology.hosts() {
        for (to, _) in topology.hosts().filter(|(to, _)| *to != from) {
            let address = IpAddr::from(Plan(to).control(0));
            if let Some(name) = ask(host.namespace(), address, Duration::from_millis(50))? {
                if name != Plan(to).name() {
                    return Err(Failure::broken(format!("{address} is answered by {name}")));
                }
                pairs.push((from, to));
            }
        }
    }
    Ok(pairs)
}

fn expect(topology: &Topology, what: &str, wanted: &[(u8, u8)]) -> Outcome {
    let mut last = Vec::new();
    let reached = poll_until(within(Duration::from_secs(3)), || {
        last = hearing(topology)?;
        Ok((last == wanted).then_some(()))
    })?;
    reached.ok_or_else(|| Failure::broken(format!("{what}: {last:?} hear each other instead of {wanted:?}")))
}

fn cuts() -> Outcome {
    const ALL: [(u8, u8); 6] = [(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)];
    const WITHOUT_1: [(u8, u8); 2] = [(2, 3), (3, 2)];
    let mut topology = Topology::build(3)?;
    let servers = topology.hosts().map(|(_, host)| Echo::start(host.namespace(), &host.plan().name()));
    let servers = servers.collect::<Result<Vec<_>, _>>()?;
    let network = Network::Control(0);
    expect(&topology, "at first", &ALL)?;
    topology.cut(1, network)?;
    expect(&topology, "cut", &WITHOUT_1)?;
    topology.mend(1, network)?;
    expect(&topology, "mended", &ALL)?;
    topology.mute(1, network)?;
    expect(&topology, "mute", &WITHOUT_1)?;
    topology.join(1, network)?;
    expect(&topology, "no longer mute", &ALL)?;
    topology.isolate(1, network)?;
    topology.isolate(3, network)?;
    expect(&topology, "1 and 3 isolated", &[(1, 2), (2, 1), (2, 3), (3, 2)])?;
    topology.unisolate(1, network)?;
    topology.unisolate(3, network)?;
    topology.part(2, network)?;
    topology.part(3, network)?;
    expect(&topology, "2 and 3 on the far side", &WITHOUT_1)?;
    topology.join(2, network)?;
    topology.join(3, network)?;
    expect(&topology, "joined", &ALL)?;
    topology.vanish(2)?;
    expect(&topology, "2 vanished", &[(1, 3), (3, 1)])?;
    topology.come_back(2)?;
    expect(&topology, "2 is back", &ALL)?;
    for server in &servers {
        server.check()?;
    }
    topology.remove_host(2)?;
    expect(&topology, "2 is gone", &[(1, 3), (3, 1)])?;
    topology.add_host(2)?;
    let again = Echo::start(topology.host(2)?.namespace(), "web2")?;
    expect(&topology, "2 is there again", &ALL)?;
    again.check()?;
    Ok(())
}
