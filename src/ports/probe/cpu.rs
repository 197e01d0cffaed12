//! Processor time, from `/proc/stat`.
//!
//! Owns the last reading, which the next is compared with. Called by `probe.rs`.

use async_trait::async_trait;

use super::LoadProbe;
use super::blocking::ProcFile;
use crate::node::event::LoadSample;

/// A load that reads the processors.
pub(crate) struct CpuLoad {
    file: ProcFile,
    last: Option<CpuTimes>,
}

impl CpuLoad {
    pub(crate) fn new() -> Self {
        Self { file: ProcFile::new("/proc/stat"), last: None }
    }
}

#[async_trait]
impl LoadProbe for CpuLoad {
    async fn probe(&mut self) -> Result<Option<LoadSample>, String> {
        let text = self.file.read().await?;
        let times = CpuTimes::parse(&text).ok_or_else(|| "/proc/stat does not begin with the counters of proc(5)".to_owned())?;
        let Some(before) = &self.last else {
            self.last = Some(times);
            return Ok(None);
        };
        let sample = times.since(before);
        // The kernel counts in hundredths of a second: keep the older reading until it has counted on.
        if sample.is_some() {
            self.last = Some(times);
        }
        Ok(sample)
    }

    fn overdue(&self) -> String {
        format!("{} could not be read", self.file.path())
    }
}

/// What all processors together have done since boot, in ticks of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct CpuTimes {
    /// Everything but waiting; time that a hypervisor withheld counts, since it is not there to serve with.
    busy: u64,
    /// Idle, also while a disk works.
    idle: u64,
    processors: u32,
}

impl CpuTimes {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut fields = lines.next()?.strip_prefix("cpu ")?.split_ascii_whitespace().map_while(|field| field.parse::<u64>().ok());
        // proc(5): user nice system idle iowait irq softirq steal; guest times that follow are part of user and nice.
        let (user, nice, system, idle) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (wait, rest) = (fields.next().unwrap_or_default(), fields.take(3).fold(0, u64::saturating_add));
        let processors = lines.take_while(|line| line.starts_with("cpu")).count();
        Some(Self {
            busy: [user, nice, system, rest].into_iter().fold(0, u64::saturating_add),
            idle: idle.saturating_add(wait),
            processors: u32::try_from(processors).ok()?.max(1),
        })
    }

    /// The load since `before`; `None` if the kernel has not counted on since then. The counters of idle time may go back a little.
    fn since(&self, before: &Self) -> Option<LoadSample> {
        let busy = u128::from(self.busy.saturating_sub(before.busy));
        let idle = u128::from(self.idle.saturating_sub(before.idle));
        let capacity = self.processors.saturating_mul(1000);
        let load = (u128::from(capacity) * busy).checked_div(busy + idle)?;
        Some(LoadSample { load: u32::try_from(load).unwrap_or(capacity), capacity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(busy: u64, idle: u64) -> CpuTimes {
        CpuTimes { busy, idle, processors: 2 }
    }

    #[test]
    fn the_counters_are_told_apart() {
        let text = "cpu  1 2 4 100 1000 8 16 32 64 128\ncpu0 1 1 1 1 1\ncpu1 1 1 1 1 1\nintr 5 cpu\n";
        assert_eq!(CpuTimes::parse(text), Some(times(1 + 2 + 4 + 8 + 16 + 32, 1100)));
        for text in ["", "intr 1", "cpu  1 2 3", "cpu  a b c d"] {
            assert_eq!(CpuTimes::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_load_is_the_share_that_was_not_idle() {
        assert_eq!(times(150, 250).since(&times(100, 100)), Some(LoadSample { load: 500, capacity: 2000 }));
        assert_eq!(times(200, 100).since(&times(100, 100)), Some(LoadSample { load: 2000, capacity: 2000 }));
        assert_eq!(times(100, 99).since(&times(100, 100)), None, "idle time that goes back is no load");
        assert_eq!(times(u64::MAX, 0).since(&times(0, 0)), Some(LoadSample { load: 2000, capacity: 2000 }));
    }
}
