//! For how long nobody held an address, and for how long more than one host did, as seen from this host.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::host::HostId;
use crate::types::item::Item;
use crate::types::time::Time;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Meter {
    holders: Vec<HostId>,
    /// Up to when the time is counted.
    counted: Time,
    /// Since when exactly these hosts hold it.
    since: Time,
    unserved: Duration,
    double: Duration,
}

/// The meters of one group.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Meters(BTreeMap<Item, Meter>);

impl Meters {
    /// Notes which hosts hold each of these items from now on. What is not among them is not measured any more.
    pub(crate) fn measure<'a>(&mut self, now: Time, items: impl Iterator<Item = &'a Item> + Clone, holders: impl Fn(&Item) -> Vec<HostId>) {
        let mut count = 0;
        for item in items.clone() {
            count += 1;
            match self.0.get_mut(item) {
                Some(meter) => meter.advance(now, holders(item)),
                None => {
                    let meter =
                        Meter { holders: holders(item), counted: now, since: now, unserved: Duration::ZERO, double: Duration::ZERO };
                    self.0.insert(item.clone(), meter);
                }
            }
        }
        if self.0.len() > count {
            let measured: BTreeSet<&Item> = items.collect();
            self.0.retain(|item, _| measured.contains(item));
        }
    }

    /// Time in which nobody held it, and in which more than one host did.
    pub(crate) fn read(&self, now: Time, item: &Item) -> (Duration, Duration) {
        let Some(meter) = self.0.get(item) else { return (Duration::ZERO, Duration::ZERO) };
        let elapsed = now.since(meter.counted);
        match meter.holders.len() {
            0 => (meter.unserved + elapsed, meter.double),
            1 => (meter.unserved, meter.double),
            _ => (meter.unserved, meter.double + elapsed),
        }
    }

    /// How long exactly the same hosts have held it.
    pub(crate) fn since(&self, now: Time, item: &Item) -> Duration {
        self.0.get(item).map_or(Duration::ZERO, |meter| now.since(meter.since))
    }
}

impl Meter {
    fn advance(&mut self, now: Time, holders: Vec<HostId>) {
        let elapsed = now.since(self.counted);
        match self.holders.len() {
            0 => self.unserved += elapsed,
            1 => {}
            _ => self.double += elapsed,
        }
        self.counted = now;
        if self.holders != holders {
            (self.since, self.holders) = (now, holders);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_for_what_was_the_case() {
        let item = Item::Address([192, 0, 2, 1].into());
        let at = |s| Time::after_start(Duration::from_secs(s));
        let mut meters = Meters::default();
        let host = |last| HostId([10, 0, 0, last].into());
        for (second, holders) in [(0, vec![]), (2, vec![host(1)]), (5, vec![host(1), host(2)]), (6, vec![host(2)])] {
            meters.measure(at(second), std::iter::once(&item), |_| holders.clone());
        }
        assert_eq!(meters.read(at(9), &item), (Duration::from_secs(2), Duration::from_secs(1)));
        assert_eq!(meters.since(at(9), &item), Duration::from_secs(3));
    }
}
