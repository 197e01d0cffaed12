//! Who hears whom: where a host is heard directly, how well and in which way, and what it reports of hearing others.
//!
//! A multicast and a unicast copy of a datagram on one network are one for the loss, and two for the question which of the two ways
//! works there. Called by `hosts.rs`; decides nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hosts::HOSTS_MAX;
use crate::node::event::Way;
use crate::types::host::{BootTag, Hearing, HostId, NETWORKS_MAX, NetworkHearing, Sequence};
use crate::types::message::HearingRecord;
use crate::types::time::Time;

/// How many datagrams the loss is measured over.
const LOSS_WINDOW: u32 = 64;

/// Multicast is missed when so many datagrams in a row have come by unicast only.
const ALONE_MIN: u32 = 4;

/// Where a host is heard directly.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Links([Option<Link>; NETWORKS_MAX]);

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Link {
    /// When it was heard there first.
    since: Time,
    multicast_at: Option<Time>,
    unicast_at: Option<Time>,
    /// How many datagrams came by unicast first since one came by multicast.
    alone: u32,
    /// The highest number heard.
    highest: u64,
    /// One bit for each of the last numbers, the highest in bit 0; one if heard.
    arrived: u64,
    /// How many numbers the window covers so far.
    covered: u32,
}

/// How long after its last datagram a host counts as heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Windows {
    /// On a network: within it the host needs nobody who passes its messages on.
    pub(crate) direct: Duration,
    /// In one way: after it another way is tried. Before the timeout, so that the other way is in time.
    pub(crate) late: Duration,
}

/// How a host is heard on one network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reception {
    pub(crate) network: u8,
    pub(crate) multicast: bool,
    pub(crate) unicast: bool,
    /// In 255ths of what was sent.
    pub(crate) loss: u8,
}

impl Links {
    /// Notes a datagram. Says whether the host was not heard in this way on this network for `timeout`.
    pub(crate) fn heard(&mut self, now: Time, network: u8, way: Way, number: u64, timeout: Duration) -> bool {
        let Some(slot) = self.0.get_mut(usize::from(network)) else { return false };
        let link = slot.get_or_insert(Link {
            since: now,
            multicast_at: None,
            unicast_at: None,
            alone: 0,
            highest: number,
            arrived: 1,
            covered: 1,
        });
        let at = match way {
            Way::Multicast => {
                link.alone = 0;
                &mut link.multicast_at
            }
            Way::Unicast => {
                link.alone = link.alone.saturating_add(u32::from(number > link.highest));
                &mut link.unicast_at
            }
        };
        let is_new = at.replace(now).is_none_or(|before| now.since(before) >= timeout);
        link.count(number);
        is_new
    }

    /// When a datagram of the host came in last, on whatever network.
    pub(crate) fn last_heard(&self) -> Option<Time> {
        self.0.iter().flatten().map(Link::heard_at).max()
    }

    /// Whether its multicast was ever heard.
    pub(crate) fn had_multicast(&self) -> bool {
        self.0.iter().flatten().any(|link| link.multicast_at.is_some())
    }

    /// The networks on which the host is heard, and how.
    pub(crate) fn receptions(&self, now: Time, windows: Windows) -> impl Iterator<Item = Reception> {
        let numbered = (0..=u8::MAX).zip(&self.0);
        numbered.filter_map(move |(network, link)| {
            let link = (*link)?;
            let within = |at: Option<Time>| at.is_some_and(|at| now.since(at) < windows.late);
            (now.since(link.heard_at()) < windows.direct).then(|| Reception {
                network,
                multicast: within(link.multicast_at),
                unicast: within(link.unicast_at),
                loss: link.loss(),
            })
        })
    }

    /// What this host reports of it.
    pub(crate) fn report(&self, now: Time, windows: Windows) -> Vec<NetworkHearing> {
        let hearing = |Reception { network, multicast, loss, .. }| NetworkHearing { network, loss, multicast };
        self.receptions(now, windows).map(hearing).collect()
    }

    /// The networks on which the host is heard by unicast, and its multicast has not been heard for `timeout`.
    pub(crate) fn without_multicast(&self, now: Time, windows: Windows, timeout: Duration) -> impl Iterator<Item = u8> {
        let silent = move |network: u8| {
            let link = self.0.get(usize::from(network)).copied().flatten();
            // A loop that was late may read what came by unicast first.
            link.is_some_and(|link| link.alone >= ALONE_MIN && now.since(link.multicast_at.unwrap_or(link.since)) >= timeout)
        };
        self.receptions(now, windows)
            .filter(|reception| reception.unicast)
            .map(|reception| reception.network)
            .filter(move |network| silent(*network))
    }
}

impl Link {
    fn heard_at(&self) -> Time {
        self.multicast_at.max(self.unicast_at).unwrap_or(self.since)
    }

    /// Takes a number into the row of those that arrived.
    fn count(&mut self, number: u64) {
        // The number of the farewell is out of the row.
        if number == u64::MAX {
            return;
        }
        if let Some(ahead) = number.checked_sub(self.highest).filter(|ahead| *ahead > 0) {
            let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
            self.arrived = self.arrived.checked_shl(shift).unwrap_or(0) | 1;
            self.covered = self.covered.saturating_add(shift).min(LOSS_WINDOW);
            self.highest = number;
        } else if let Some(bit) = u32::try_from(self.highest - number).ok().and_then(|behind| 1u64.checked_shl(behind)) {
            self.arrived |= bit;
        }
    }

    /// In 255ths of what was sent.
    fn loss(&self) -> u8 {
        let mask = if self.covered >= LOSS_WINDOW { u64::MAX } else { (1u64 << self.covered) - 1 };
        let lost = self.covered - (self.arrived & mask).count_ones().min(self.covered);
        u8::try_from(lost * 255 / self.covered.max(1)).unwrap_or(u8::MAX)
    }
}

/// What a host reports of hearing others.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reported(BTreeMap<HostId, Report>);

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Report {
    /// The `info` that said so.
    said: Sequence,
    hearing: Hearing,
}

impl Reported {
    /// Takes a report, or a part of one. What the host has not repeated for some of its own messages is dropped.
    pub(crate) fn take(&mut self, _now: Time, report: &HearingRecord) {
        for hearing in &report.heard {
            let known = self.0.get(&hearing.host).is_some_and(|known| known.said > report.sequence);
            if !known && (self.0.len() < HOSTS_MAX || self.0.contains_key(&hearing.host)) {
                self.0.insert(hearing.host, Report { said: report.sequence, hearing: hearing.clone() });
            }
        }
        // A host reports everybody in each `info`; parts may arrive in any order and some may be lost.
        let oldest = Sequence(report.sequence.0.saturating_sub(REPORT_KEPT));
        self.0.retain(|_, report| report.said >= oldest);
    }

    /// What it reports of hearing that start of a host.
    pub(crate) fn hears(&self, host: HostId, boot: BootTag) -> Option<&Hearing> {
        self.0.get(&host).map(|report| &report.hearing).filter(|hearing| hearing.boot == boot)
    }

    /// The same, if it has said so in its `info` numbered `since` or later.
    pub(crate) fn hears_since(&self, host: HostId, boot: BootTag, since: Sequence) -> Option<&Hearing> {
        self.0.get(&host).filter(|report| report.said >= since && report.hearing.boot == boot).map(|report| &report.hearing)
    }

    /// Everybody it reports hearing.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Hearing> {
        self.0.values().map(|report| &report.hearing)
    }
}

/// For how many of its own messages a host's word on another stands without being repeated: a lost datagram or two do not
/// unsay it, and relayed words come less often.
const REPORT_KEPT: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const WINDOWS: Windows = Windows { direct: SECOND, late: SECOND };

    fn hear(links: &mut Links, at: Time, network: u8, number: u64) -> bool {
        links.heard(at, network, Way::Multicast, number, SECOND)
    }

    #[test]
    fn loss_is_measured_over_the_last_numbers() {
        let mut links = Links::default();
        assert!(hear(&mut links, Time::START, 1, 1));
        for number in 2..=64 {
            if number % 4 != 0 {
                assert!(!hear(&mut links, Time::START, 1, number));
            }
        }
        hear(&mut links, Time::START, 1, 65);
        let report = links.report(Time::START, WINDOWS);
        assert_eq!(report.len(), 1);
        assert_eq!((report[0].network, report[0].loss), (1, 63), "16 of the 64 numbers 2 to 65 are missing");
    }

    #[test]
    fn a_late_datagram_fills_its_gap() {
        let mut links = Links::default();
        hear(&mut links, Time::START, 0, 1);
        hear(&mut links, Time::START, 0, 3);
        hear(&mut links, Time::START, 0, 2);
        assert_eq!(links.report(Time::START, WINDOWS)[0].loss, 0);
    }

    #[test]
    fn a_jump_or_a_farewell_or_a_foreign_network_does_no_harm() {
        let mut links = Links::default();
        hear(&mut links, Time::START, 0, 1);
        hear(&mut links, Time::START, 0, u64::MAX - 1);
        hear(&mut links, Time::START, 0, u64::MAX);
        hear(&mut links, Time::START, 0, 0);
        assert!(!hear(&mut links, Time::START, 200, 1));
        assert_eq!(links.report(Time::START, WINDOWS).len(), 1);
    }

    #[test]
    fn a_network_that_went_quiet_is_not_reported() {
        let mut links = Links::default();
        hear(&mut links, Time::START, 0, 1);
        assert!(links.report(Time::START.plus(SECOND), WINDOWS).is_empty());
    }

    #[test]
    fn a_copy_in_the_other_way_is_no_loss_and_tells_that_the_way_works() {
        let mut links = Links::default();
        for number in 1..=10 {
            assert_eq!(hear(&mut links, Time::START, 0, number), number == 1);
            assert_eq!(links.heard(Time::START, 0, Way::Unicast, number, SECOND), number == 1);
        }
        let receptions: Vec<Reception> = links.receptions(Time::START, WINDOWS).collect();
        assert_eq!(receptions, [Reception { network: 0, multicast: true, unicast: true, loss: 0 }]);
    }

    #[test]
    fn multicast_that_ends_while_unicast_goes_on_is_noticed_after_the_timeout() {
        let mut links = Links::default();
        hear(&mut links, Time::START, 0, 1);
        let at = |ms| Time::START.plus(Duration::from_millis(ms));
        let missing = |links: &Links, now| links.without_multicast(now, WINDOWS, SECOND).collect::<Vec<u8>>();
        for number in 2..=5 {
            links.heard(at(900), 0, Way::Unicast, number, SECOND);
            assert_eq!(missing(&links, at(900)), [0; 0], "not for long enough");
        }
        assert_eq!(missing(&links, at(1000)), [0]);
        assert_eq!(links.report(at(1000), WINDOWS), [NetworkHearing { network: 0, loss: 0, multicast: false }]);
        assert!(hear(&mut links, at(1100), 0, 6), "it is back, which the sender should learn");
        assert_eq!(missing(&links, at(1100)), [0; 0]);
        assert_eq!(missing(&links, at(2100)), [0; 0], "nothing is heard there at all");
    }

    #[test]
    fn what_a_late_loop_reads_first_by_unicast_is_not_missed_by_multicast() {
        let mut links = Links::default();
        hear(&mut links, Time::START, 0, 1);
        links.heard(Time::START, 0, Way::Unicast, 1, SECOND);
        let late = Time::START.plus(SECOND * 5);
        links.heard(late, 0, Way::Unicast, 2, SECOND);
        assert_eq!(links.without_multicast(late, WINDOWS, SECOND).count(), 0);
    }
}
