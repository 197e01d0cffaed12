//! Whether each address is held by exactly one host, as far as one view says.
//!
//! Held is what clients see: the address is in a host's kernel with its gate open. A host that says *online* counts as a
//! holder as well when there is a question of two: until it has let go it may answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::types::host::HostId;
use crate::types::item::ItemState;
use crate::types::view::{AddressView, GroupView};

/// What is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Served {
    /// In no kernel.
    pub unserved: Vec<IpAddr>,
    /// Held by more than one host, with these.
    pub doubled: Vec<(IpAddr, Vec<HostId>)>,
    /// How many are being acquired or released.
    pub moving: usize,
}

impl Served {
    /// Of all addresses of a group.
    #[must_use]
    pub fn of(group: &GroupView) -> Self {
        let mut holders: BTreeMap<IpAddr, BTreeSet<HostId>> = BTreeMap::new();
        for host in group.hosts.iter().filter(|host| !host.silent) {
            for serving in host.serving.iter().filter(|serving| serving.state == ItemState::Online.as_str()) {
                holders.entry(serving.address).or_default().insert(host.id);
            }
        }
        let mut served = Self { unserved: Vec::new(), doubled: Vec::new(), moving: 0 };
        for address in &group.addresses {
            let mut holders = holders.remove(&address.address).unwrap_or_default();
            holders.extend(&address.kernel);
            if is_unserved(address) {
                served.unserved.push(address.address);
            } else if holders.len() > 1 {
                served.doubled.push((address.address, holders.into_iter().collect()));
            }
            served.moving += usize::from(is_moving(address));
        }
        served
    }

    /// Nothing is unserved or held twice.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.unserved.is_empty() && self.doubled.is_empty()
    }
}

/// No kernel has it, whatever somebody says of it.
pub(super) fn is_unserved(address: &AddressView) -> bool {
    address.kernel.is_empty() || address.state == ItemState::NotServing.as_str()
}

/// It is on its way to a host or off one.
pub(super) fn is_moving(address: &AddressView) -> bool {
    address.state == ItemState::Acquiring.as_str() || address.state == ItemState::Releasing.as_str()
}
