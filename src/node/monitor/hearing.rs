//! Who hears whom: where a host is heard directly and how well, and what it reports of hearing others.

use std::collections::BTreeMap;
use std::time::Duration;

use super::hosts::HOSTS_MAX;
use crate::types::host::{BootTag, Hearing, HostId, NETWORKS_MAX, NetworkHearing, Sequence};
use crate::types::message::HearingRecord;
use crate::types::time::Time;

/// How many datagrams the loss is measured over.
const LOSS_WINDOW: u32 = 64;

/// Where a host is heard directly.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Links([Option<Link>; NETWORKS_MAX]);

#[derive(Clone, Copy, PartialEq, Debug)]
struct Link {
    heard_at: Time,
    /// The highest number heard.
    highest: u64,
    /// One bit for each of the last numbers, the highest in bit 0; one if heard.
    arrived: u64,
    /// How many numbers the window covers so far.
    covered: u32,
}

impl Links {
    /// Notes a datagram. Says whether the host was not heard on this network before.
    pub(crate) fn heard(&mut self, now: Time, network: u8, number: u64) -> bool {
        let Some(slot) = self.0.get_mut(usize::from(network)) else { return false };
        let Some(link) = slot else {
            *slot = Some(Link { heard_at: now, highest: number, arrived: 1, covered: 1 });
            return true;
        };
        link.heard_at = now;
        // The number of the farewell is out of the row.
        if number == u64::MAX {
            return false;
        }
        if let Some(ahead) = number.checked_sub(link.highest).filter(|ahead| *ahead > 0) {
            let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
            link.arrived = link.arrived.checked_shl(shift).unwrap_or(0) | 1;
            link.covered = link.covered.saturating_add(shift).min(LOSS_WINDOW);
            link.highest = number;
        } else if let Some(bit) = u32::try_from(link.highest - number).ok().and_then(|behind| 1u64.checked_shl(behind)) {
            link.arrived |= bit;
        }
        false
    }

    /// The networks on which the host was heard within `window`, with the loss.
    pub(crate) fn report(&self, now: Time, window: Duration) -> Vec<NetworkHearing> {
        let live = |(network, link): (usize, &Option<Link>)| {
            let link = (*link)?;
            (now.since(link.heard_at) < window)
                .then(|| NetworkHearing { network: u8::try_from(network).unwrap_or(u8::MAX), loss: link.loss() })
        };
        self.0.iter().enumerate().filter_map(live).collect()
    }
}

impl Link {
    /// In 255ths of what was sent.
    fn loss(&self) -> u8 {
        let mask = if self.covered >= LOSS_WINDOW { u64::MAX } else { (1u64 << self.covered) - 1 };
        let lost = self.covered - (self.arrived & mask).count_ones().min(self.covered);
        u8::try_from(lost * 255 / self.covered.max(1)).unwrap_or(u8::MAX)
    }
}

/// What a host reports of hearing others.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Reported(BTreeMap<HostId, Report>);

#[derive(Clone, PartialEq, Debug)]
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

    #[test]
    fn loss_is_measured_over_the_last_numbers() {
        let mut links = Links::default();
        assert!(links.heard(Time::START, 1, 1));
        for number in 2..=64 {
            if number % 4 != 0 {
                assert!(!links.heard(Time::START, 1, number));
            }
        }
        links.heard(Time::START, 1, 65);
        let report = links.report(Time::START, Duration::from_secs(1));
        assert_eq!(report.len(), 1);
        assert_eq!((report[0].network, report[0].loss), (1, 63), "16 of the 64 numbers 2 to 65 are missing");
    }

    #[test]
    fn a_late_datagram_fills_its_gap() {
        let mut links = Links::default();
        links.heard(Time::START, 0, 1);
        links.heard(Time::START, 0, 3);
        links.heard(Time::START, 0, 2);
        assert_eq!(links.report(Time::START, Duration::from_secs(1))[0].loss, 0);
    }

    #[test]
    fn a_jump_or_a_farewell_or_a_foreign_network_does_no_harm() {
        let mut links = Links::default();
        links.heard(Time::START, 0, 1);
        links.heard(Time::START, 0, u64::MAX - 1);
        links.heard(Time::START, 0, u64::MAX);
        links.heard(Time::START, 0, 0);
        assert!(!links.heard(Time::START, 200, 1));
        assert_eq!(links.report(Time::START, Duration::from_secs(1)).len(), 1);
    }

    #[test]
    fn a_network_that_went_quiet_is_not_reported() {
        let mut links = Links::default();
        links.heard(Time::START, 0, 1);
        assert!(links.report(Time::START.plus(Duration::from_secs(1)), Duration::from_secs(1)).is_empty());
    }
}
