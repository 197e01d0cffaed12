//! The groups of a running daemon, each with its name and its two halves of the wire, by number.
//!
//! Owns the numbers: none is given twice, so that what comes late for a group that has ended reaches nobody. Never decides
//! which groups there are. Called by the loop, by `dispatch.rs` and by `reload.rs`.

use std::collections::BTreeMap;

use crate::node::event::GroupIndex;
use crate::ports::multicast::GroupAddress;
use crate::types::host::{BootId, HostId};
use crate::wire::seal::{Protection, ProtectionError};
use crate::wire::{Inbound, Outbound};

/// Whether a group is configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    Configured,
    /// Taken out of the configuration; what it holds is being given up.
    Ending,
}

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    /// How it is reached.
    pub(super) address: GroupAddress,
    pub(super) boot: BootId,
    pub(super) outbound: Outbound,
    pub(super) inbound: Inbound,
    pub(super) standing: Standing,
}

impl Group {
    /// A group that begins with `boot`, which no group of this name had before: the counter of a second half with the same
    /// boot would repeat numbers.
    pub(super) fn begin(
        name: &str,
        address: GroupAddress,
        protection: &Protection,
        host: HostId,
        boot: BootId,
    ) -> Result<Self, ProtectionError> {
        let outbound = Outbound::new(name, protection, host, boot)?;
        let inbound = Inbound::new(name, protection)?;
        Ok(Self { name: name.to_owned(), address, boot, outbound, inbound, standing: Standing::Configured })
    }
}

/// All groups, those that are being given up included.
#[derive(Debug, Default)]
pub(super) struct Groups {
    all: BTreeMap<GroupIndex, Group>,
    next: usize,
}

impl Groups {
    /// The number that the next group gets, and those after it.
    pub(super) fn next_numbers(&self) -> impl Iterator<Item = GroupIndex> + use<> {
        (self.next..).map(GroupIndex)
    }

    /// Adds a group under a number from [`Self::next_numbers`].
    pub(super) fn insert(&mut self, number: GroupIndex, group: Group) {
        self.next = self.next.max(number.0 + 1);
        self.all.insert(number, group);
    }

    pub(super) fn get(&self, number: GroupIndex) -> Option<&Group> {
        self.all.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: GroupIndex) -> Option<&mut Group> {
        self.all.get_mut(&number)
    }

    /// The group of this name that is configured.
    pub(super) fn configured(&self, name: &str) -> Option<(GroupIndex, &Group)> {
        self.iter().find(|(_, group)| group.standing == Standing::Configured && group.name == name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (GroupIndex, &Group)> {
        self.all.iter().map(|(number, group)| (*number, group))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (GroupIndex, &mut Group)> {
        self.all.iter_mut().map(|(number, group)| (*number, group))
    }

    pub(super) fn remove(&mut self, number: GroupIndex) {
        self.all.remove(&number);
    }
}
