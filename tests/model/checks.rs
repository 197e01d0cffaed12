//! What must hold in every state, and what must come about from every state once nothing goes wrong any more.
//!
//! Judges by kernels alone. At any time:
//! - an address is announced only where it is on the interface (noted by the pool as it happens);
//! - no two kernels have one address, unless a host that ran was held to be silent or the pool was cut before;
//! - an address is acquired only with an epoch above all before, under the same condition;
//! - no host names a deadline that has come already.
//!
//! And from every leaf, when everything is delivered and nothing goes wrong: within [`Bounds::serve`] heartbeats each address is on
//! exactly one host that runs, at home if its preferred host runs, and stays there for [`STAYS`]; when the hosts that are down have been started again, within
//! [`Bounds::serve`] heartbeats the same. An address that has expired is on none, before and after.

use std::net::IpAddr;
use std::time::Duration;

use crate::pool::{Choice, Place, Pool};
use crate::scenes::HEARTBEAT;

/// An address stays where it is for so many heartbeats before that counts.
const STAYS: u32 = 3;

/// What is to come about.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// Heartbeats until all is served.
    pub(crate) serve: u32,
    /// To be on exactly one host.
    pub(crate) served: Vec<IpAddr>,
    /// Where they belong: there they have to be while that host runs, unless a kernel has refused one.
    pub(crate) home: Vec<(IpAddr, Place)>,
    /// To be on none.
    pub(crate) expired: Vec<IpAddr>,
}

/// What is wrong in this state, if something is.
pub(crate) fn wrong(pool: &Pool) -> Option<String> {
    if let Some(wrong) = &pool.seen.wrong {
        return Some(wrong.clone());
    }
    if pool.seen.parted {
        return None;
    }
    let addresses = pool.hosts.iter().flat_map(|host| host.kernel.iter());
    for address in addresses {
        let holders = holders(pool, *address);
        if holders.len() > 1 {
            return Some(format!("{address} is on {} hosts although nobody was cut off or held to be silent", holders.len()));
        }
    }
    None
}

fn holders(pool: &Pool, address: IpAddr) -> Vec<Place> {
    (0..pool.hosts.len()).filter(|place| pool.hosts[*place].kernel.contains(&address)).collect()
}

fn is_served(pool: &Pool, bounds: &Bounds) -> bool {
    let is_home = |(address, place): &(IpAddr, Place)| !pool.is_running(*place) || holders(pool, *address) == [*place];
    let are_home = pool.spent.refused > 0 || bounds.home.iter().all(is_home);
    are_home
        && bounds.served.iter().all(|address| holders(pool, *address).len() == 1)
        && bounds.expired.iter().all(|address| holders(pool, *address).is_empty())
}

/// Lets everything go as usual until all is served and stays so. How many heartbeats it took until then, or what is wrong.
fn serve(pool: &mut Pool, bounds: &Bounds) -> Result<u32, String> {
    let begin = pool.now;
    let mut since = None;
    loop {
        if let Some(wrong) = wrong(pool) {
            return Err(wrong);
        }
        if is_served(pool, bounds) {
            let since = *since.get_or_insert(pool.now);
            if pool.is_quiet() && pool.now.since(since) >= HEARTBEAT * STAYS {
                return Ok(heartbeats(since.since(begin)));
            }
        } else {
            since = None;
        }
        if heartbeats(pool.now.since(begin)) > bounds.serve + STAYS {
            let places: Vec<String> =
                bounds.served.iter().chain(&bounds.expired).map(|address| format!("{address} on {:?}", holders(pool, *address))).collect();
            return Err(format!("not served as it should be within {} heartbeats: {}", bounds.serve, places.join(", ")));
        }
        pool.take(pool.usual());
    }
}

fn heartbeats(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(HEARTBEAT.as_millis())).unwrap_or(u32::MAX)
}

/// What comes about from a state once nothing goes wrong any more: how many heartbeats it took, or what is wrong.
pub(crate) fn rest(pool: &mut Pool, bounds: &Bounds) -> Result<u32, String> {
    let mut took = 0;
    if (0..pool.hosts.len()).any(|place| pool.is_running(place)) {
        took = serve(pool, bounds)?;
    }
    let down: Vec<Place> = (0..pool.hosts.len()).filter(|place| !pool.is_running(*place) && pool.gone != Some(*place)).collect();
    if down.is_empty() {
        return Ok(took);
    }
    for place in down {
        pool.take(Choice::Restart(place));
    }
    Ok(took.max(serve(pool, bounds)?))
}
