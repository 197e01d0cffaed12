//! What network interfaces carry, from the kernel's counters.
//!
//! Owns the last reading of each, which the next is compared with. Called by `probe.rs`.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::LoadProbe;
use super::blocking::{Blocking, read_text};
use super::link::{LinkFacts, Links};
use crate::node::event::LoadSample;

/// A number of megabits per second.
const SPEED_BYTES_MAX: u64 = 32;

/// A load that reads interfaces.
pub(crate) struct NetworkLoad {
    interfaces: Vec<Interface>,
    capacity: Option<u32>,
    links: Links,
    speed: Blocking<Result<String, String>>,
}

struct Interface {
    name: String,
    last: Option<(Instant, LinkFacts)>,
}

impl NetworkLoad {
    /// `capacity` in kilobits per second.
    pub(crate) fn new(interfaces: &[String], capacity: Option<u32>) -> Self {
        let interfaces = interfaces.iter().map(|name| Interface { name: name.clone(), last: None }).collect();
        Self { interfaces, capacity, links: Links::default(), speed: Blocking::default() }
    }
}

#[async_trait]
impl LoadProbe for NetworkLoad {
    #[expect(clippy::disallowed_methods, reason = "counters are of no use without the time between two readings")]
    async fn probe(&mut self) -> Result<Option<LoadSample>, String> {
        let mut samples = Vec::new();
        for interface in &mut self.interfaces {
            let facts = self.links.read(&interface.name).await?;
            let capacity = match self.capacity {
                Some(capacity) => capacity,
                None => speed(&mut self.speed, &interface.name).await?,
            };
            let now = Instant::now();
            let last = interface.last.replace((now, facts));
            let Some((at, before)) = last.filter(|(_, before)| before.index == facts.index) else { continue };
            samples.extend(rate(&before, &facts, now.duration_since(at)).map(|load| LoadSample { load, capacity }));
        }
        // One that was just made has no rate; the others alone could hide a full one.
        let is_complete = samples.len() == self.interfaces.len();
        let by_utilization =
            |a: &LoadSample, b: &LoadSample| (u64::from(a.load) * u64::from(b.capacity)).cmp(&(u64::from(b.load) * u64::from(a.capacity)));
        Ok(samples.into_iter().filter(|_| is_complete).max_by(by_utilization))
    }

    fn overdue(&self) -> String {
        let names: Vec<&str> = self.interfaces.iter().map(|interface| interface.name.as_str()).collect();
        format!("the counters of {} could not be read", names.join(", "))
    }
}

/// Kilobits per second in the greater direction; `None` if no time has passed.
fn rate(before: &LinkFacts, after: &LinkFacts, elapsed: Duration) -> Option<u32> {
    // Some drivers count back to zero when they are reset.
    let bytes = after.received.saturating_sub(before.received).max(after.sent.saturating_sub(before.sent));
    // Bits per millisecond are kilobits per second.
    let rate = (u128::from(bytes) * 8 * 1_000).checked_div(elapsed.as_micros())?;
    Some(u32::try_from(rate).unwrap_or(u32::MAX))
}

/// The speed of an interface's link, in kilobits per second. What a link has agreed upon may change at any time.
async fn speed(reading: &mut Blocking<Result<String, String>>, name: &str) -> Result<u32, String> {
    let path = PathBuf::from(format!("/sys/class/net/{name}/speed"));
    let read = reading.run(move || read_text(&path, SPEED_BYTES_MAX)).await.and_then(|read| read);
    // Without a link, and for interfaces that have no speed, drivers give an error, -1 or 0.
    let megabits: Option<u32> = read.ok().and_then(|text| text.trim().parse().ok()).filter(|speed| *speed > 0);
    megabits.map(|speed| speed.saturating_mul(1_000)).ok_or_else(|| format!("interface {name} tells no speed: set capacity"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::probe::LoadProber;

    fn facts(received: u64, sent: u64) -> LinkFacts {
        LinkFacts { received, sent, ..LinkFacts::default() }
    }

    #[test]
    fn the_greater_direction_counts() {
        let second = Duration::from_secs(1);
        assert_eq!(rate(&facts(0, 0), &facts(125_000, 250_000), second), Some(2_000));
        assert_eq!(rate(&facts(1_000, 0), &facts(126_000, 0), second * 2), Some(500));
        assert_eq!(rate(&facts(1_000, 0), &facts(0, 0), second), Some(0), "a counter that went back");
        assert_eq!(rate(&facts(0, 0), &facts(u64::MAX, 0), second), Some(u32::MAX));
        assert_eq!(rate(&facts(0, 0), &facts(1, 0), Duration::ZERO), None);
    }

    #[tokio::test]
    async fn a_kernel_that_does_not_answer_is_told_and_asked_again() {
        let probe = Box::new(NetworkLoad { links: Links::stuck(), ..NetworkLoad::new(&["lo".to_owned()], Some(1)) });
        let mut prober = LoadProber::Timed { probe, limit: Duration::from_millis(50) };
        assert_eq!(prober.probe().await, Err("the counters of lo could not be read within 50ms".to_owned()));
        while !matches!(prober.probe().await, Ok(Some(_))) {}
    }

    #[tokio::test]
    async fn loopback_has_no_speed() {
        let mut load = NetworkLoad::new(&["lo".to_owned()], None);
        assert_eq!(load.probe().await, Err("interface lo tells no speed: set capacity".to_owned()));
    }
}
