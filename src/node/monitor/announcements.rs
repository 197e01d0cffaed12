//! When which held address is announced: a burst after an acquire, then a slow refresh.
//!
//! Never announces what was not begun, and nothing after it was ended. Called by `monitor.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::item::ServiceAddress;
use crate::types::policy::AnnouncePolicy;
use crate::types::time::Time;

/// The burst is spread over so long: switches and hosts that missed the first frame get the next within it.
const BURST: Duration = Duration::from_secs(1);

/// What is due within so short a time goes out along: a thousand addresses that came one after the other go on in one list.
const ALONG: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Announced {
    address: ServiceAddress,
    next: Time,
    /// How many of the burst are left.
    burst: u32,
}

/// The held addresses of one group that are announced.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Announcements {
    announced: BTreeMap<IpAddr, Announced>,
    due: BTreeSet<(Time, IpAddr)>,
}

impl Announcements {
    /// Starts a burst, at once.
    pub(crate) fn begin(&mut self, now: Time, address: ServiceAddress, policy: &AnnouncePolicy) {
        self.end(address.address);
        self.put(Announced { address, next: now, burst: policy.count.max(1) });
    }

    /// No more announcements of the address.
    pub(crate) fn end(&mut self, address: IpAddr) {
        if let Some(announced) = self.announced.remove(&address) {
            self.due.remove(&(announced.next, address));
        }
    }

    /// A burst for everything that is announced: the link was away, or a rival was there.
    pub(crate) fn begin_all(&mut self, now: Time, policy: &AnnouncePolicy) {
        let all: Vec<ServiceAddress> = self.announced.values().map(|announced| announced.address).collect();
        for address in all {
            self.begin(now, address, policy);
        }
    }

    /// Starts a burst for an address that is announced already.
    pub(crate) fn begin_again(&mut self, now: Time, address: IpAddr, policy: &AnnouncePolicy) {
        if let Some(announced) = self.announced.get(&address).copied() {
            self.begin(now, announced.address, policy);
        }
    }

    fn put(&mut self, announced: Announced) {
        self.due.insert((announced.next, announced.address.address));
        self.announced.insert(announced.address.address, announced);
    }

    /// What is to be announced, moved on to its next time.
    pub(crate) fn take_due(&mut self, now: Time, policy: &AnnouncePolicy) -> Vec<ServiceAddress> {
        let mut taken = Vec::new();
        if self.deadline().is_none_or(|next| next > now) {
            return taken;
        }
        while let Some((next, address)) = self.due.first().copied().filter(|(next, _)| *next <= now.plus(ALONG)) {
            self.due.remove(&(next, address));
            let Some(announced) = self.announced.get(&address).copied() else { continue };
            taken.push(announced.address);
            let burst = announced.burst.saturating_sub(1);
            let wait = if burst > 0 { BURST / policy.count.max(1) } else { policy.refresh.max(BURST) };
            self.put(Announced { next: now.plus(wait), burst, ..announced });
        }
        taken
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(next, _)| *next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::policy::AnnounceMethod;

    fn policy() -> AnnouncePolicy {
        AnnouncePolicy { method: AnnounceMethod::Link, count: 5, refresh: Duration::from_secs(30) }
    }

    fn address() -> ServiceAddress {
        ServiceAddress::host([192, 0, 2, 1].into())
    }

    /// The times in milliseconds at which it is announced until `end_s`.
    fn times(announcements: &mut Announcements, end_s: u64) -> Vec<u128> {
        let mut times = Vec::new();
        while let Some(next) = announcements.deadline().filter(|next| next.since_start().as_secs() < end_s) {
            assert_eq!(announcements.take_due(next, &policy()), [address()]);
            times.push(next.since_start().as_millis());
        }
        times
    }

    #[test]
    fn a_burst_within_a_second_then_the_refresh() {
        let mut announcements = Announcements::default();
        announcements.begin(Time::START, address(), &policy());
        assert_eq!(times(&mut announcements, 60), [0, 200, 400, 600, 800, 30_800]);
    }

    #[test]
    fn what_is_due_at_nearly_the_same_time_goes_out_in_one_list() {
        let mut announcements = Announcements::default();
        let other = ServiceAddress::host([192, 0, 2, 2].into());
        announcements.begin(Time::START, address(), &policy());
        assert_eq!(announcements.take_due(Time::START, &policy()), [address()]);
        let later = Time::after_start(Duration::from_millis(3));
        announcements.begin(later, other, &policy());
        assert_eq!(announcements.take_due(later, &policy()), [other], "the first is due 197 ms later");
        let next = Time::after_start(Duration::from_millis(200));
        assert_eq!(announcements.take_due(next, &policy()), [address(), other]);
        assert_eq!(announcements.deadline(), Some(Time::after_start(Duration::from_millis(400))));
    }

    #[test]
    fn nothing_after_the_end() {
        let mut announcements = Announcements::default();
        announcements.begin(Time::START, address(), &policy());
        announcements.end(address().address);
        announcements.begin_again(Time::START, address().address, &policy());
        assert_eq!(announcements.deadline(), None);
        assert!(announcements.take_due(Time::after_start(Duration::from_secs(99)), &policy()).is_empty());
    }
}
