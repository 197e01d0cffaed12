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

#[cfg(test)]
mod tests {
    use super::super::hosts::tests::{head, hear_head, id, knowing};
    use super::*;
    use crate::types::host::HostHead;

    const FRESH: Sequence = Sequence(1);

    #[test]
    fn the_lowest_of_those_who_may_lead_does() {
        let hosts = knowing(&[2, 3]);
        assert_eq!(leader(id(1), true, &hosts, FRESH), Some(id(1)));
        assert_eq!(leader(id(1), false, &hosts, FRESH), Some(id(2)), "this host has not listened long enough");
        assert_eq!(leader(id(9), true, &hosts, FRESH), Some(id(2)));
        assert_eq!(leader(id(1), false, &knowing(&[]), FRESH), None);
    }

    #[test]
    fn who_is_not_settled_or_replaces_itself_or_does_not_hear_us_does_not_lead() {
        for (said, why) in [
            (HostHead { settled: false, ..head(2, 2) }, Candidacy::NotSettled),
            (HostHead { restarting: true, ..head(2, 2) }, Candidacy::Restarting),
        ] {
            let mut hosts = knowing(&[2, 3]);
            hear_head(&mut hosts, said);
            assert_eq!(hosts.get(id(2)).map(|host| candidacy(host, &hosts, FRESH)), Some(why));
            assert_eq!(leader(id(9), true, &hosts, FRESH), Some(id(3)));
        }
        // It has heard an `info` of ours, but none that counts.
        let hosts = knowing(&[2, 3]);
        assert_eq!(hosts.get(id(2)).map(|host| candidacy(host, &hosts, Sequence(2))), Some(Candidacy::DoesNotHearUs));
        assert_eq!(leader(id(9), true, &hosts, Sequence(2)), Some(id(9)));
    }
}
