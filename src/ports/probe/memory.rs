//! Memory in use, from `/proc/meminfo`.
//!
//! Reads; keeps nothing. Called by `probe.rs`.

use async_trait::async_trait;

use super::LoadProbe;
use super::blocking::ProcFile;
use crate::node::event::LoadSample;

/// A load that reads the memory.
pub(crate) struct MemoryLoad {
    file: ProcFile,
}

impl MemoryLoad {
    pub(crate) fn new() -> Self {
        Self { file: ProcFile::new("/proc/meminfo") }
    }
}

#[async_trait]
impl LoadProbe for MemoryLoad {
    async fn probe(&mut self) -> Result<Option<LoadSample>, String> {
        let text = self.file.read().await?;
        let sample = sample(&text).ok_or_else(|| "/proc/meminfo has no MemTotal and MemAvailable as in proc(5)".to_owned())?;
        Ok(Some(sample))
    }

    fn overdue(&self) -> String {
        format!("{} could not be read", self.file.path())
    }
}

/// Mebibytes. What the kernel would give back if it were asked for, such as caches of files, is available.
fn sample(text: &str) -> Option<LoadSample> {
    let kibibytes = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    let (total, available) = (kibibytes("MemTotal:")?, kibibytes("MemAvailable:")?);
    let used = total.saturating_sub(available);
    Some(LoadSample { load: u32::try_from(used / 1024).ok()?, capacity: u32::try_from(total / 1024).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_available_is_the_load() {
        let text = "MemTotal:       16384000 kB\nMemFree:          100000 kB\nMemAvailable:    4096000 kB\nBuffers: 1 kB\n";
        assert_eq!(sample(text), Some(LoadSample { load: 12_000, capacity: 16_000 }));
        for text in ["", "MemTotal: 1024 kB\n", "MemTotal: 1024\nMemAvailable: 0 kB\n", "MemTotal: -1 kB\nMemAvailable: 0 kB\n"] {
            assert_eq!(sample(text), None, "{text}");
        }
    }
}
