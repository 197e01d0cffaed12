//! The kernel's load average, from `/proc/loadavg`.
//!
//! Reads; keeps nothing. Called by `probe.rs`.

use async_trait::async_trait;

use super::LoadProbe;
use super::blocking::ProcFile;
use super::spec::LoadAveraged;
use crate::node::event::LoadSample;

/// A load that reads the load average.
pub(crate) struct LoadAverageLoad {
    file: ProcFile,
    average: LoadAveraged,
    capacity: Option<u32>,
}

impl LoadAverageLoad {
    /// `capacity` in processes; `None`: as many as there are processors.
    pub(crate) fn new(average: LoadAveraged, capacity: Option<u32>) -> Self {
        Self { file: ProcFile::new("/proc/loadavg"), average, capacity }
    }
}

#[async_trait]
impl LoadProbe for LoadAverageLoad {
    async fn probe(&mut self) -> Result<Option<LoadSample>, String> {
        let text = self.file.read().await?;
        let load =
            average(&text, self.average).ok_or_else(|| format!("/proc/loadavg holds {:?}, not what proc(5) says", text.trim_end()))?;
        let capacity = self.capacity.map_or_else(processors, Ok)?;
        Ok(Some(LoadSample { load, capacity: capacity.saturating_mul(100) }))
    }

    fn overdue(&self) -> String {
        format!("{} could not be read", self.file.path())
    }
}

/// Those that this daemon may run on, and so within a container those of the container.
fn processors() -> Result<u32, String> {
    let count = std::thread::available_parallelism().map_err(|error| format!("the processors could not be counted: {error}"))?;
    u32::try_from(count.get()).map_err(|error| format!("{count} processors: {error}"))
}

/// `0.20 0.18 0.12 1/80 11206`: in hundredths.
fn average(text: &str, average: LoadAveraged) -> Option<u32> {
    let column = match average {
        LoadAveraged::OneMinute => 0,
        LoadAveraged::FiveMinutes => 1,
        LoadAveraged::FifteenMinutes => 2,
    };
    hundredths(text.split_ascii_whitespace().nth(column)?)
}

/// A number with two decimals, as the kernel writes it.
pub(super) fn hundredths(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.')?;
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() != 2 {
        return None;
    }
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(decimals.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_averages_are_told_apart() {
        let text = "0.20 10.18 123.02 1/80 11206\n";
        assert_eq!(average(text, LoadAveraged::OneMinute), Some(20));
        assert_eq!(average(text, LoadAveraged::FiveMinutes), Some(1_018));
        assert_eq!(average(text, LoadAveraged::FifteenMinutes), Some(12_302));
        for text in ["", "1", "1.5", "x.20", "-1.00", "1.+5", "99999999.00", "1.000"] {
            assert_eq!(average(text, LoadAveraged::OneMinute), None, "{text}");
        }
    }
}
