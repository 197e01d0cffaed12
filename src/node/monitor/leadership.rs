//! Who leads: the lowest id among hosts that are settled, not silent, and report hearing me. Each host computes it for itself.

use super::hosts::Hosts;
use crate::types::host::{HostId, Sequence};

/// The leader as this host sees it; `fresh`: the oldest of our `info` messages that counts.
#[must_use]
pub(crate) fn leader(me: HostId, settled: bool, hosts: &Hosts, fresh: Sequence) -> Option<HostId> {
    let others =
        hosts.live().filter(|(_, host)| host.head.settled && !host.head.restarting && hosts.hears_us(host, fresh)).map(|(id, _)| id);
    others.chain(settled.then_some(me)).min()
}
