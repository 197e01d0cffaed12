//! Pressure stall information, from `/proc/pressure`.
//!
//! Reads; keeps nothing. Called by `probe.rs`.

use async_trait::async_trait;

use super::LoadProbe;
use super::blocking::ProcFile;
use super::load_average::hundredths;
use super::spec::{PressureAveraged, Resource, Stalled};
use crate::node::event::LoadSample;

/// A load that reads the pressure on a resource.
pub(crate) struct PressureLoad {
    file: ProcFile,
    stalled: Stalled,
    average: PressureAveraged,
    capacity: u32,
}

impl PressureLoad {
    /// `capacity` in percent of the time.
    pub(crate) fn new(resource: Resource, stalled: Stalled, average: PressureAveraged, capacity: u32) -> Self {
        let path = match resource {
            Resource::Cpu => "/proc/pressure/cpu",
            Resource::Io => "/proc/pressure/io",
            Resource::Memory => "/proc/pressure/memory",
        };
        Self { file: ProcFile::new(path), stalled, average, capacity }
    }
}

#[async_trait]
impl LoadProbe for PressureLoad {
    async fn probe(&mut self) -> Result<Option<LoadSample>, String> {
        // Without it the file is absent (not compiled in), or cannot be opened or read (switched off).
        let read = self.file.read().await;
        let text = read.map_err(|why| format!("{why}: this kernel keeps no pressure stall information; boot it with psi=1"))?;
        let load = share(&text, self.stalled, self.average)
            .ok_or_else(|| format!("{} does not hold what the kernel's documentation of PSI says", self.file.path()))?;
        Ok(Some(LoadSample { load, capacity: self.capacity.saturating_mul(100) }))
    }

    fn overdue(&self) -> String {
        format!("{} could not be read", self.file.path())
    }
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`: in hundredths of a percent.
fn share(text: &str, stalled: Stalled, average: PressureAveraged) -> Option<u32> {
    let line = match stalled {
        Stalled::Full => "full ",
        Stalled::Some => "some ",
    };
    let field = match average {
        PressureAveraged::TenSeconds => "avg10=",
        PressureAveraged::OneMinute => "avg60=",
        PressureAveraged::FiveMinutes => "avg300=",
    };
    let line = text.lines().find_map(|text| text.strip_prefix(line))?;
    hundredths(line.split_ascii_whitespace().find_map(|word| word.strip_prefix(field))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_averages_are_told_apart() {
        let text = "some avg10=1.50 avg60=20.00 avg300=100.00 total=5\nfull avg10=0.01 avg60=0.02 avg300=0.03 total=1\n";
        assert_eq!(share(text, Stalled::Some, PressureAveraged::TenSeconds), Some(150));
        assert_eq!(share(text, Stalled::Some, PressureAveraged::OneMinute), Some(2_000));
        assert_eq!(share(text, Stalled::Some, PressureAveraged::FiveMinutes), Some(10_000));
        assert_eq!(share(text, Stalled::Full, PressureAveraged::TenSeconds), Some(1));
        for text in ["", "full avg10=0.00\n", "some avg60=0.00\n", "some avg10=x\n"] {
            assert_eq!(share(text, Stalled::Some, PressureAveraged::TenSeconds), None, "{text}");
        }
    }
}
