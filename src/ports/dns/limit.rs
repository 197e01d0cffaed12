//! So many answers per second and client network, so that nobody is flooded through this name server with a false address.
//!
//! Owns a table of fixed size. Networks are /24 of IPv4 and /56 of IPv6, what one customer usually has. Never decides what
//! becomes of a question that is over the limit: `answer.rs` does. Called for each datagram, without a lock.
//!
//! Each network has a *theoretical arrival time* (the generic cell rate algorithm, ITU-T I.371 annex A): every answer moves it
//! on by the interval of the rate, and it may be a second ahead of the clock, which is a burst of one second's answers. A network
//! that finds no free place takes that of the least busy of four: it is limited a little late then, and memory stays as it is.

use std::hash::Hasher as _;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use siphasher::sip::SipHasher13;

/// Places, 8 bytes each: more networks than ask a zone within a second, in half a megabyte.
const SETS: usize = 16_384;

/// Places in which a network may be: with one only, two busy networks in sixteen thousand would already meet.
const WAYS: usize = 4;

/// How far ahead of the clock a network may get.
const BURST: Duration = Duration::from_secs(1);

/// A place holds a part of the network's hash above this many bits of microseconds: nine years of them.
const TIME_BITS: u32 = 48;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// What becomes of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Allowance {
    /// It is within the limit, and counted.
    Granted,
    /// It is not.
    Overdrawn,
}

/// The limit of all networks together.
pub(crate) struct RateLimit {
    key: [u8; 16],
    start: Instant,
    /// Microseconds between two answers.
    interval: u64,
    places: Vec<[AtomicU64; WAYS]>,
}

/// A table of thousands tells nobody anything.
impl std::fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimit").field("interval", &self.interval).finish_non_exhaustive()
    }
}

impl RateLimit {
    /// A limit of so many answers per second.
    pub(crate) fn new(per_second: NonZeroU32) -> Result<Self, Unspecified> {
        // With a key that nobody knows nobody can choose networks that meet in one place.
        let mut key = [0; 16];
        SystemRandom::new().fill(&mut key)?;
        let places = std::iter::repeat_with(Default::default).take(SETS).collect();
        Ok(Self { key, start: now(), interval: (1_000_000 / u64::from(per_second.get())).max(1), places })
    }

    /// Counts an answer to an address.
    pub(crate) fn take(&self, to: IpAddr) -> Allowance {
        // A second ahead of the start, so that no network is ever older than the table.
        let now = now().duration_since(self.start) + BURST;
        self.take_at(network(to), u64::try_from(now.as_micros()).unwrap_or(u64::MAX) & TIME_MASK)
    }

    fn take_at(&self, network: u64, now: u64) -> Allowance {
        let mut hash = SipHasher13::new_with_key(&self.key);
        hash.write_u64(network);
        let hash = hash.finish();
        let (tag, set) = (hash & !TIME_MASK, usize::try_from(hash & TIME_MASK).unwrap_or_default() % SETS);
        let Some(set) = self.places.get(set) else { return Allowance::Granted };
        // Two threads that count at the same moment may count one answer only, which is no harm.
        let due = |place: &&AtomicU64| place.load(Ordering::Relaxed) & TIME_MASK;
        let own = set.iter().find(|place| place.load(Ordering::Relaxed) & !TIME_MASK == tag);
        let Some(place) = own.or_else(|| set.iter().min_by_key(due)) else { return Allowance::Granted };
        let due = own.map_or(now, |place| due(&place).max(now));
        let burst = u64::try_from(BURST.as_micros()).unwrap_or_default();
        let next = due + self.interval;
        if next > now + burst.max(self.interval) {
            return Allowance::Overdrawn;
        }
        place.store(tag | (next & TIME_MASK), Ordering::Relaxed);
        Allowance::Granted
    }
}

/// The network of an address, as a number; the families do not meet.
pub(crate) fn network(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => u64::from(u32::from(address) >> 8),
        IpAddr::V6(address) => {
            let [upper @ .., _] = address.octets().first_chunk::<8>().copied().unwrap_or_default();
            upper.into_iter().fold(1, |network, byte| network << 8 | u64::from(byte))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a rate needs a clock; nothing of the protocol depends on it")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(per_second: u32) -> RateLimit {
        RateLimit::new(NonZeroU32::new(per_second).unwrap()).unwrap()
    }

    fn granted(limit: &RateLimit, network: u64, now: u64, asked: u32) -> usize {
        (0..asked).filter(|_| limit.take_at(network, now) == Allowance::Granted).count()
    }

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_burst_of_one_second_and_then_the_rate() {
        let limit = limit(50);
        assert_eq!(granted(&limit, 1, SECOND, 500), 50);
        for tenth in 1..=20 {
            assert_eq!(granted(&limit, 1, SECOND + tenth * SECOND / 10, 500), 5, "after {tenth} tenths of a second");
        }
        assert_eq!(granted(&limit, 1, 60 * SECOND, 500), 50, "rest does not add up");
    }

    #[test]
    fn networks_do_not_take_from_each_other() {
        let limit = limit(50);
        assert_eq!(granted(&limit, 1, SECOND, 500), 50);
        assert_eq!(granted(&limit, 2, SECOND, 500), 50);
    }

    #[test]
    fn the_slowest_rate_still_answers() {
        let limit = limit(1);
        assert_eq!(granted(&limit, 1, SECOND, 9), 1);
        assert_eq!(granted(&limit, 1, 2 * SECOND, 9), 1);
    }

    #[test]
    fn any_number_of_networks_fits() {
        let limit = limit(50);
        for network in 0..300_000 {
            assert_eq!(limit.take_at(network, SECOND), Allowance::Granted);
        }
        assert_eq!(granted(&limit, u64::MAX, SECOND, 500), 50);
    }

    #[test]
    fn a_network_is_what_one_customer_has() {
        let of = |address: &str| network(address.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:0:12::1"), of("2001:db8:0:ff::2"));
        assert_ne!(of("2001:db8:0:12::1"), of("2001:db8:0:112::1"));
        assert_ne!(of("::1"), of("0.0.0.1"));
    }
}
