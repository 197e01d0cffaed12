//! Where a group talks: its group address, the peers that it starts from, or both.
//!
//! Reads the two keys of `[[group]]` together, because one may take the place of the other and both share a port and a family.

use std::net::{IpAddr, SocketAddr};

use super::fault::{Faults, Problem, Reported};
use super::reader::{Placed, Reader, all};
use super::scalar;
use crate::ports::multicast::{GroupAddress, Talk};
use crate::wire;

const PORT: u16 = 4242;

/// More seeds than anybody needs: one live host is enough. Each of them gets every message.
const PEERS_MAX: usize = 64;

/// Where a group talks, as read.
pub(super) struct Addresses {
    pub(super) talk: Placed<Talk>,
    pub(super) peers: Vec<IpAddr>,
}

impl Addresses {
    pub(super) fn read(group: &Reader<'_>, faults: &mut Faults) -> Result<Self, Reported> {
        let address = group.text("address", faults).and_then(|text| text.map(|text| multicast(text, faults)).transpose());
        let port = address.as_ref().ok().and_then(Option::as_ref).map_or(PORT, |address| address.value.port());
        let peers = peers(group, port, faults);
        let (address, peers) = (address?, peers?);
        let Some(first) = address.or_else(|| peers.first().copied()) else {
            let problem = Problem::at(group.place, "[[group]] has neither address nor peers");
            let help = "without multicast: peers = [\"10.0.0.12\"], control addresses of other hosts";
            return Err(faults.error(problem.expects("a line like address = \"239.255.42.1:4242\"").help(help)));
        };
        for peer in &peers {
            check_alike(first, *peer, faults)?;
        }
        let talk = match address {
            Some(address) => Talk::Multicast(address.value),
            None => Talk::Unicast { is_ipv4: first.value.is_ipv4(), port: first.value.port() },
        };
        let peers = peers.into_iter().map(|peer| peer.value.ip()).collect();
        Ok(Self { talk: Placed { value: talk, place: first.place }, peers })
    }

    /// For the sockets.
    pub(super) fn of_group(&self, name: &str) -> GroupAddress {
        GroupAddress { tag: wire::group_tag(name), talk: self.talk.value }
    }

    /// Whether there is a group address.
    pub(super) fn has_multicast(&self) -> bool {
        match self.talk.value {
            Talk::Multicast(_) => true,
            Talk::Unicast { .. } => false,
        }
    }
}

fn multicast(text: Placed<&str>, faults: &mut Faults) -> Result<Placed<SocketAddr>, Reported> {
    let report = |why: &str, expected: &str, faults: &mut Faults| {
        Err(faults.error(Problem::at(text.place, format!("address {:?} {why}", text.value)).expects(expected)))
    };
    let form = "a multicast address, like \"239.255.42.1:4242\" or \"[ff15::4242]:4242\"";
    let Some(address) = scalar::endpoint(text.value, PORT) else { return report("is no address with a port", form, faults) };
    if !address.ip().is_multicast() {
        return report("is not a multicast address", form, faults);
    }
    if address.port() == 0 {
        return report("has port 0", "a port from 1 to 65535", faults);
    }
    if let SocketAddr::V6(v6) = address {
        // RFC 4291 §2.7: scope 0 is reserved, scope 1 does not leave the host.
        if v6.ip().segments()[0] & 0x000f <= 1 {
            return report("does not leave the host", "a scope from 2 (link) on, like \"[ff12::4242]:4242\"", faults);
        }
        if v6.scope_id() != 0 {
            return report("names an interface", "no % part: host.control says over which interfaces hosts talk", faults);
        }
    }
    Ok(Placed { value: address, place: text.place })
}

fn peers(group: &Reader<'_>, port: u16, faults: &mut Faults) -> Result<Vec<Placed<SocketAddr>>, Reported> {
    let texts = group.texts("peers", faults)?;
    if let Some(beyond) = texts.get(PEERS_MAX) {
        let problem = Problem::at(beyond.place, format!("peers has {} entries", texts.len()));
        let help = "a few are enough: the other hosts are learnt from one that is live";
        return Err(faults.error(problem.expects(format!("at most {PEERS_MAX}")).help(help)));
    }
    let mut seen: Vec<SocketAddr> = Vec::new();
    all(texts
        .into_iter()
        .map(|text| {
            let peer = peer(text, port, faults)?;
            if seen.contains(&peer) {
                return Err(faults.error(Problem::at(text.place, format!("peers has {:?} twice", text.value)).expects("it once")));
            }
            seen.push(peer);
            Ok(Placed { value: peer, place: text.place })
        })
        .collect())
}

fn peer(text: Placed<&str>, port: u16, faults: &mut Faults) -> Result<SocketAddr, Reported> {
    let form = "a control address of a host, like \"10.0.0.12\"";
    let Some(peer) = scalar::endpoint(text.value, port) else {
        return Err(faults.error(Problem::at(text.place, format!("peers: {:?} is no address", text.value)).expects(form)));
    };
    if let Err(why) = scalar::host_address(peer.ip()) {
        return Err(faults.error(Problem::at(text.place, format!("peers: {:?} {why}", text.value)).expects(form)));
    }
    if peer.port() == 0 {
        let problem = Problem::at(text.place, format!("peers: {:?} has port 0", text.value));
        return Err(faults.error(problem.expects("a port from 1 to 65535")));
    }
    Ok(peer)
}

/// All hosts of a group use one port, and one family.
fn check_alike(first: Placed<SocketAddr>, peer: Placed<SocketAddr>, faults: &mut Faults) -> Result<(), Reported> {
    let family = |address: SocketAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let located = faults.locate(first.place);
    if family(first.value) != family(peer.value) {
        let problem = Problem::at(peer.place, format!("peers: {} is {}", peer.value.ip(), family(peer.value)));
        let help = format!("{located} says {}; one group uses one family", family(first.value));
        return Err(faults.error(problem.expects(format!("an {} address", family(first.value))).help(help)));
    }
    if first.value.port() != peer.value.port() {
        let problem = Problem::at(peer.place, format!("peers: {} has port {}", peer.value.ip(), peer.value.port()));
        let help = format!("{located} says {}; all hosts of a group use one port", first.value.port());
        return Err(faults.error(problem.expects(format!("port {}", first.value.port())).help(help)));
    }
    Ok(())
}
