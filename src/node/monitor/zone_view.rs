//! The zone as this host answers it, with why each other preferred address is not in it.
//!
//! Only the list travels; why others are not on it is worked out by every host from the same facts, so that each name server can
//! say it. Read by `status`, by what is published to the name server, never by a decision.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Monitor;
use super::hosts::Standing;
use super::zone::{self, Candidate, Withheld};
use crate::types::host::HostId;
use crate::types::policy::ZonePolicy;
use crate::types::time::Time;
use crate::types::view::{NameserverView, WithheldView, ZoneView};

impl Monitor {
    /// The zone as this host answers it.
    pub(crate) fn zone_view(&self) -> Option<ZoneView> {
        let policy = self.policy.shared.zone.as_ref()?;
        let advertised: Vec<IpAddr> = self.published.addresses.iter().copied().collect();
        let nameservers = policy.nameservers.iter();
        Some(ZoneView {
            name: policy.name.clone(),
            serial: self.published.serial,
            advertised,
            withheld: self.withheld(policy),
            nameservers: nameservers.map(|(name, addresses)| NameserverView { name: name.clone(), addresses: addresses.clone() }).collect(),
        })
    }

    /// The preferred addresses that are not in the zone, in order.
    fn withheld(&self, policy: &ZonePolicy) -> Vec<WithheldView> {
        let candidates = self.candidates(&self.own_items(Time::START));
        let decided = if self.leader == Some(self.identity.id) {
            self.published.withheld.clone()
        } else {
            zone::list(policy, &candidates, &self.published.addresses).withheld
        };
        let by_address: BTreeMap<IpAddr, &Candidate> = candidates.iter().map(|candidate| (candidate.address, candidate)).collect();
        let of_live = decided.into_iter().map(|(address, reason)| {
            let candidate = by_address.get(&address);
            (address, reason, candidate.map(|candidate| self.detail(policy, candidate, reason)).unwrap_or_default())
        });
        let of_gone = self.items.living().filter(|(_, known)| !known.floating).filter_map(|(item, known)| {
            let (address, home) = (item.address()?, known.preferred_host?);
            let (reason, detail) = (!by_address.contains_key(&address)).then(|| self.why_gone(home))?;
            Some((address, reason, detail))
        });
        let mut withheld: BTreeMap<IpAddr, WithheldView> = BTreeMap::new();
        for (address, reason, detail) in of_live.chain(of_gone) {
            if !self.published.addresses.contains(&address) {
                withheld.entry(address).or_insert_with(|| WithheldView { address, reason: reason.as_str().to_owned(), detail });
            }
        }
        withheld.into_values().collect()
    }

    /// Which host it is about, and what it would take, in a sentence without end.
    fn detail(&self, policy: &ZonePolicy, candidate: &Candidate, reason: Withheld) -> String {
        let host = self.host_name(candidate.host);
        match reason {
            Withheld::AboveHighWater => {
                let (high, low) = (policy.high_water, policy.low_water);
                if candidate.capacity == 0 {
                    return format!("{host} says that it has no capacity");
                }
                let percent = zone::utilization(candidate.load, candidate.capacity) / 10;
                format!("{host} uses {percent} % of its capacity; it leaves above {high} % and comes back at {low} %")
            }
            Withheld::Draining => format!("the operator drains {host}; raisctl resume there ends it"),
            Withheld::NotOk => format!("a test of {host} fails, or its interface is down; raisctl status there says more"),
            Withheld::NotServing => format!("{host} prefers it and does not have it online; raisctl status shows who does"),
            Withheld::Quiesced => format!("the operator has quiesced {host}; raisctl resume there ends it"),
            Withheld::Silent | Withheld::Stopped => self.why_gone(candidate.host).1,
        }
    }

    /// Why a host that is not live brings nothing into the zone.
    fn why_gone(&self, id: HostId) -> (Withheld, String) {
        let host = self.host_name(id);
        let standing = self.hosts.get(id).map(|known| known.standing);
        if standing == Some(Standing::Left) {
            return (Withheld::Stopped, format!("raisd on {host} has been stopped"));
        }
        (Withheld::Silent, format!("{host} is not heard: is it up, and are its control networks?"))
    }

    fn host_name(&self, id: HostId) -> String {
        if id == self.identity.id {
            return self.own.detail().name.clone();
        }
        self.hosts.get(id).map_or_else(|| id.to_string(), super::hosts::Host::name)
    }
}
