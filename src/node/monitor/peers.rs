//! To whom messages go by unicast: the peers of the configuration, and the control addresses of hosts that were heard.
//!
//! Multicast needs switches that know who listens; where a querier is lost, they forget it, and everybody falls silent to everybody
//! at once. So silence is answered by unicast: whoever does not confirm, and lately, that multicast reaches him on a network is sent to
//! by unicast there. Addresses come only from the sealed entries of hosts that have proved that they live, or from those who pass these
//! on; nobody without the key can add one, and what somebody replays is answered at the addresses within its seal.
//!
//! Owns what is remembered of hosts that are away; never decides who is live. Called by `monitor.rs` only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hearing::Windows;
use super::hosts::{HOSTS_MAX, Host, Hosts, Reach};
use crate::node::action::{StoredPeer, Unicast};
use crate::types::host::{BootId, HostId, NETWORKS_MAX};
use crate::types::policy::GroupPolicy;
use crate::types::time::Time;

/// A host that was not live for so long is not looked for any more: as long as hosts count as known in a partition.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Hosts that are away are knocked at twice in a timeout, within these: a host that starts has to be found before it has listened long
/// enough, and frequent knocks at a dead one fill the send queue while its address is asked for.
const KNOCK_INTERVAL_MIN: Duration = Duration::from_millis(100);
const KNOCK_INTERVAL_MAX: Duration = Duration::from_secs(5);

/// So many hosts that are away are knocked at at a time, in turn.
const KNOCKS_MAX: usize = 64;

/// So many addresses of starts that have not proved that they live are answered at a time: whoever replays captures gets no more out of
/// this host, each answer being one datagram.
const STRANGERS_ANSWERED_MAX: usize = 64;

/// Hosts of one group and where they are.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Peers {
    known: BTreeMap<HostId, Known>,
    /// The last one that was knocked at.
    turn: Option<HostId>,
    knocked_at: Option<Time>,
    /// Grows with each change that is worth writing down.
    version: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Known {
    control: Vec<IpAddr>,
    /// When it was live last.
    seen: Time,
}

/// What decides about a destination, beside what is known of it.
#[derive(Clone, Copy)]
pub(crate) struct Circle<'a> {
    pub(crate) me: HostId,
    pub(crate) boot: BootId,
    /// This host's own control addresses.
    pub(crate) control: &'a [IpAddr],
    pub(crate) policy: &'a GroupPolicy,
    pub(crate) hosts: &'a Hosts,
    pub(crate) windows: Windows,
    pub(crate) timeout: Duration,
    pub(crate) settled: bool,
}

impl Peers {
    /// What an earlier run has stored. Nobody counted the time since; what is still there is found again within [`KEPT`].
    pub(crate) fn restored(now: Time, stored: Vec<StoredPeer>) -> Self {
        let mut peers = Self::default();
        peers.learn(now, stored.iter().map(|peer| (peer.host, peer.control.as_slice())));
        peers.version = 0;
        peers
    }

    /// Notes where live hosts are, and forgets who was away for too long.
    pub(crate) fn learn<'a>(&mut self, now: Time, live: impl Iterator<Item = (HostId, &'a [IpAddr])>) {
        for (id, control) in live {
            match self.known.get_mut(&id) {
                Some(known) => {
                    known.seen = now;
                    if known.control != control {
                        known.control = control.to_vec();
                        self.version += 1;
                    }
                }
                None => {
                    self.make_room();
                    let control = control.iter().copied().take(NETWORKS_MAX).collect();
                    self.known.insert(id, Known { control, seen: now });
                    self.version += 1;
                }
            }
        }
        let before = self.known.len();
        self.known.retain(|_, known| now.since(known.seen) < KEPT);
        self.version += u64::from(self.known.len() != before);
    }

    fn make_room(&mut self) {
        if self.known.len() < HOSTS_MAX {
            return;
        }
        let away = self.known.iter().min_by_key(|(_, known)| known.seen).map(|(id, _)| *id);
        away.and_then(|away| self.known.remove(&away));
    }

    /// The operator says that it will not come back.
    pub(crate) fn forget(&mut self, id: HostId) {
        self.version += u64::from(self.known.remove(&id).is_some());
    }

    /// Changes when there is something to write down.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// What is written down.
    pub(crate) fn records(&self) -> Vec<StoredPeer> {
        self.known.iter().map(|(host, known)| StoredPeer { host: *host, control: known.control.clone() }).collect()
    }

    /// To whom an `info` goes. Whoever is away is knocked at in turn, and all at once while this host does not know yet who is there.
    pub(crate) fn destinations(&mut self, now: Time, circle: &Circle<'_>) -> Unicast {
        let Unicast { whole, opening } = self.listeners(now, circle);
        let mut opening: BTreeSet<IpAddr> = opening.into_iter().collect();
        let usable = |address: &IpAddr| is_usable(*address, circle.control) && !whole.contains(address);
        let strangers = circle.hosts.strangers_by_unicast(now, circle.windows).filter(usable).take(STRANGERS_ANSWERED_MAX);
        opening.extend(strangers);
        let interval = (circle.timeout / 2).clamp(KNOCK_INTERVAL_MIN, KNOCK_INTERVAL_MAX);
        if self.knocked_at.is_none_or(|at| now.since(at) >= interval) {
            self.knocked_at = Some(now);
            let limit = if circle.settled { KNOCKS_MAX } else { HOSTS_MAX };
            let away = self.next_away(circle, limit);
            opening.extend(away.into_iter().flat_map(|known| known.control.iter().copied()).filter(usable));
        }
        Unicast { opening: opening.into_iter().collect(), whole }
    }

    /// Known hosts that are not live, in turn.
    fn next_away(&mut self, circle: &Circle<'_>, limit: usize) -> Vec<&Known> {
        let is_live = |id: &HostId| *id == circle.me || circle.hosts.get(*id).is_some_and(Host::is_live);
        let away: Vec<HostId> = self.known.keys().copied().filter(|id| !is_live(id)).collect();
        let start = self.turn.and_then(|after| away.iter().position(|id| *id > after)).unwrap_or(0);
        let next: Vec<HostId> = away.iter().cycle().skip(start).take(limit.min(away.len())).copied().collect();
        self.turn = next.last().copied();
        next.iter().filter_map(|id| self.known.get(id)).collect()
    }

    /// Who gets messages by unicast although he may hear multicast or nothing: the configured peers, always; of live hosts those addresses
    /// that multicast does not reach, or all of them if this host has peers to talk to. Whoever has said nothing lately gets the first
    /// datagram only: a busy host is late as well, and is not helped by twice as many.
    pub(crate) fn listeners(&self, now: Time, circle: &Circle<'_>) -> Unicast {
        let GroupPolicy { multicast, peers, .. } = circle.policy;
        let always = !multicast || !peers.is_empty();
        let mut whole: BTreeSet<IpAddr> = peers.iter().copied().collect();
        let mut opening = BTreeSet::new();
        for (id, host) in circle.hosts.live() {
            for (network, address) in self.known.get(&id).into_iter().flat_map(|known| (0..=u8::MAX).zip(&known.control)) {
                match host.reach(now, circle.windows, (circle.me, circle.boot), network) {
                    Reach::Multicast | Reach::Unicast | Reach::Unsure if always => whole.insert(*address),
                    Reach::Multicast => false,
                    Reach::Unicast => whole.insert(*address),
                    Reach::Unsure => opening.insert(*address),
                };
            }
        }
        whole.retain(|address| is_usable(*address, circle.control));
        opening.retain(|address| is_usable(*address, circle.control) && !whole.contains(address));
        Unicast { whole: whole.into_iter().collect(), opening: opening.into_iter().collect() }
    }

    /// Whether a configured peer is nobody's that is known to live: it has to be told who knocks.
    pub(crate) fn has_unknown_seed(&self, circle: &Circle<'_>) -> bool {
        let is_live = |id: &HostId| circle.hosts.get(*id).is_some_and(Host::is_live);
        let known: BTreeSet<IpAddr> =
            self.known.iter().filter(|(id, _)| is_live(id)).flat_map(|(_, known)| known.control.iter().copied()).collect();
        circle.policy.peers.iter().any(|seed| is_usable(*seed, circle.control) && !known.contains(seed))
    }
}

/// Whether an address can be one host's, and is not this one's.
fn is_usable(address: IpAddr, own: &[IpAddr]) -> bool {
    let is_one_host = match address {
        IpAddr::V4(v4) => !v4.is_broadcast() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && v6.to_ipv4_mapped().is_none(),
    };
    is_one_host && !address.is_unspecified() && !address.is_loopback() && !address.is_multicast() && !own.contains(&address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(last: u8) -> HostId {
        HostId([10, 0, 0, last].into())
    }

    fn numbered(number: usize) -> HostId {
        let [.., high, low] = number.to_be_bytes();
        HostId([10, 9, high, low].into())
    }

    fn learn(peers: &mut Peers, now: Time, id: HostId) {
        peers.learn(now, [(id, [id.0].as_slice())].into_iter());
    }

    #[test]
    fn a_host_that_is_away_for_a_week_is_forgotten() {
        let mut peers = Peers::default();
        learn(&mut peers, Time::START, host(1));
        let almost = Time::START.plus(KEPT - Duration::from_secs(1));
        learn(&mut peers, almost, host(2));
        let written = peers.version();
        learn(&mut peers, Time::START.plus(KEPT), host(2));
        assert_eq!(peers.records(), [StoredPeer { host: host(2), control: vec![host(2).0] }]);
        assert!(peers.version() > written);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_longest_away_leaves() {
        let mut peers = Peers::default();
        learn(&mut peers, Time::START, host(1));
        for number in 0..HOSTS_MAX {
            learn(&mut peers, Time::START.plus(Duration::from_secs(1)), numbered(number));
        }
        assert_eq!(peers.records().len(), HOSTS_MAX);
        assert!(peers.records().iter().all(|peer| peer.host != host(1)));
    }

    #[test]
    fn only_news_are_worth_writing_down() {
        let mut peers = Peers::restored(Time::START, vec![StoredPeer { host: host(1), control: vec![host(1).0] }]);
        assert_eq!(peers.version(), 0);
        learn(&mut peers, Time::START.plus(Duration::from_secs(1)), host(1));
        assert_eq!(peers.version(), 0);
        let other: IpAddr = [10, 0, 0, 99].into();
        peers.learn(Time::START.plus(Duration::from_secs(2)), [(host(1), [other].as_slice())].into_iter());
        assert_eq!((peers.version(), peers.records()[0].control.as_slice()), (1, [other].as_slice()));
        peers.forget(host(1));
        assert_eq!((peers.version(), peers.records().len()), (2, 0));
    }

    #[test]
    fn an_address_that_is_no_single_host_s_is_never_sent_to() {
        let own = [IpAddr::from([10, 0, 0, 1])];
        for bad in
            ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.1.1", "::", "::1", "ff02::1", "fe80::1", "::ffff:10.0.0.2"]
        {
            assert!(!is_usable(bad.parse().unwrap(), &own), "{bad}");
        }
        assert!(!is_usable(own[0], &own));
        assert!(is_usable([10, 0, 0, 2].into(), &own) && is_usable("2001:db8::1".parse().unwrap(), &own));
    }
}
