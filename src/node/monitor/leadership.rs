//! Who leads: the lowest id among hosts that are settled, not silent, and report hearing me. Each host computes it for itself.

use super::hosts::{Host, Hosts};
use crate::types::host::{HostId, Sequence};

/// Whether another host may lead, as this host sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Candidacy {
    /// It does not report hearing this host.
    DoesNotHearUs,
    /// The lowest of these leads.
    MayLead,
    /// It has not listened long enough.
    NotSettled,
    /// It replaces its own program and says nothing meanwhile.
    Restarting,
}

/// Whether a live host may lead; `fresh`: the oldest of our `info` messages that counts.
pub(crate) fn candidacy(host: &Host, hosts: &Hosts, fresh: Sequence) -> Candidacy {
    match (host.head.settled, host.head.restarting) {
        (false, _) => Candidacy::NotSettled,
        (true, true) => Candidacy::Restarting,
        (true, false) if hosts.hears_us(host, fresh) => Candidacy::MayLead,
        (true, false) => Candidacy::DoesNotHearUs,
    }
}

/// The leader as this host sees it; `fresh`: the oldest of our `info` messages that counts.
#[must_use]
pub(crate) fn leader(me: HostId, settled: bool, hosts: &Hosts, fresh: Sequence) -> Option<HostId> {
    let others = hosts.live().filter(|(_, host)| candidacy(host, hosts, fresh) == Candidacy::MayLead).map(|(id, _)| id);
    others.chain(settled.then_some(me)).min()
}
