//! Where the model begins: a pool of three hosts with two addresses, at the moments at which most is decided.
//!
//! web1 and web2 prefer an address each, web3 is a spare.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use raisd::node::event::Request;
use raisd::types::host::{HostId, HostKeys, Role};
use raisd::types::item::{Item, ServiceAddress};
use raisd::types::policy::{
    AllFailed, AnnounceMethod, AnnouncePolicy, Assign, Failback, GroupPolicy, Handover, HostPolicy, NodePolicy, SharedPolicy,
};

use crate::broken::Broken;
use crate::checks::Bounds;
use crate::pool::{Choice, Pool};

pub(crate) const HEARTBEAT: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_millis(250);

/// Hosts that start at once would all decide at once: they start so far apart.
const APART: Duration = Duration::from_millis(31);

/// A beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scene {
    /// Three hosts start one after the other; nobody has heard anybody.
    Cold,
    /// At rest, before a heartbeat.
    Settled,
    /// web2 has lost power and is about to be held silent.
    HolderLost,
    /// web1, which leads and holds, has lost power and is about to be held silent.
    LeaderLost,
    /// web2 comes back; its address is served by the spare.
    Returns,
    /// web1 was cut off from the others; both sides serve everything, and the cut ends.
    Healed,
    /// web2 is gone for good, and the operator has its address expired.
    Expired,
}

impl Scene {
    pub(crate) const ALL: [Self; 7] =
        [Self::Cold, Self::Settled, Self::HolderLost, Self::LeaderLost, Self::Returns, Self::Healed, Self::Expired];

    /// The pool at this moment.
    pub(crate) fn begin(self, broken: Broken) -> Pool {
        let mut pool = Pool::new([configured(1, &[address(1)]), configured(2, &[address(2)]), configured(3, &[])], broken);
        for place in 0..3 {
            pool.start(place);
            if self != Self::Cold || place < 2 {
                run_for(&mut pool, APART);
            }
        }
        match self {
            Self::Cold => {}
            Self::Settled => run_for(&mut pool, Duration::from_secs(1)),
            Self::HolderLost | Self::LeaderLost => {
                run_for(&mut pool, Duration::from_secs(1));
                pool.crash(if self == Self::HolderLost { 1 } else { 0 });
                run_for(&mut pool, Duration::from_millis(190));
            }
            Self::Returns => {
                lose_web2(&mut pool);
                pool.start(1);
            }
            Self::Healed => {
                run_for(&mut pool, Duration::from_secs(1));
                (pool.cut, pool.seen.parted) = (Some(0), true);
                run_for(&mut pool, Duration::from_secs(1));
                pool.cut = None;
            }
            Self::Expired => {
                lose_web2(&mut pool);
                pool.gone = Some(1);
                pool.ask(0, Request::Expire { group: None, item: Item::Address(address(2)) });
                // As long as one host alone knows of it, its death makes it undone.
                run_for(&mut pool, Duration::from_millis(5));
            }
        }
        pool.spent = crate::pool::Spent::default();
        pool
    }

    /// What is to come about from every leaf.
    pub(crate) fn bounds(self) -> Bounds {
        let (served, expired): (Vec<IpAddr>, Vec<IpAddr>) =
            if self == Self::Expired { (vec![address(1)], vec![address(2)]) } else { (vec![address(1), address(2)], Vec::new()) };
        let home = [(address(1), 0), (address(2), 1)].into_iter().filter(|(address, _)| served.contains(address)).collect();
        Bounds { serve: crate::SERVE_HEARTBEATS, served, home, expired }
    }
}

fn lose_web2(pool: &mut Pool) {
    run_for(pool, Duration::from_secs(1));
    pool.crash(1);
    run_for(pool, Duration::from_secs(1));
}

fn configured(number: u8, preferred: &[IpAddr]) -> NodePolicy {
    let group = GroupPolicy {
        name: "www".to_owned(),
        interface: "svc0".to_owned(),
        role: Role::Server,
        preferred: preferred.iter().copied().map(ServiceAddress::host).collect(),
        floating: Vec::new(),
        accept: Vec::new(),
        multicast: true,
        peers: Vec::new(),
        tests: BTreeSet::new(),
        loads: BTreeSet::new(),
        has_acquire_script: false,
        has_release_script: false,
        script_timeout: Duration::from_secs(30),
        announce: AnnouncePolicy { method: AnnounceMethod::Link, count: 1, refresh: Duration::from_secs(3600) },
        keys: HostKeys::insecure(),
        shared: SharedPolicy {
            heartbeat: HEARTBEAT,
            timeout: TIMEOUT,
            orphan_lifetime: Duration::from_secs(3600),
            assign: Assign::Random,
            failback: Failback::After(Duration::ZERO),
            rebalance: None,
            all_failed: AllFailed::Release,
            handover: Handover::Break,
            zone: None,
        },
    };
    let control: IpAddr = [10, 0, 0, number].into();
    let host = HostPolicy {
        id: HostId(control),
        name: format!("web{number}"),
        control: vec![control],
        location: String::new(),
        capabilities: Vec::new(),
    };
    NodePolicy { host, groups: vec![group], tests: Vec::new() }
}

fn address(number: u8) -> IpAddr {
    [192, 0, 2, number].into()
}

/// Lets everything go as usual.
fn run_for(pool: &mut Pool, duration: Duration) {
    let end = pool.now.plus(duration);
    while pool.now < end {
        let before = pool.clone();
        pool.take(pool.usual());
        if pool.now > end && pool.usual() == Choice::Wait {
            // The step went beyond the end: it belongs to what comes after.
            *pool = before;
            pool.now = end;
        }
    }
}
