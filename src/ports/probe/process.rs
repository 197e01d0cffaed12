//! A process that runs, found in `/proc`.
//!
//! Owns the id of the process found last, which is looked at first. A zombie does not run. Called by `probe.rs`.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::TestProbe;
use super::blocking::{Blocking, read_text};

/// A process id has at most ten digits; what is longer is no such file.
const PID_FILE_BYTES_MAX: u64 = 64;

/// The line of a process is far shorter.
const STAT_BYTES_MAX: u64 = 4096;

/// Of its arguments only the first counts, and a path has at most so many bytes.
const ARGUMENT_BYTES_MAX: u64 = 4096;

/// A test that looks for a process.
pub(crate) struct ProcessProbe {
    wanted: Wanted,
    last: Option<u32>,
    looking: Blocking<Result<u32, String>>,
}

#[derive(Clone)]
struct Wanted {
    name: String,
    pid_file: Option<PathBuf>,
}

impl ProcessProbe {
    pub(crate) fn new(name: String, pid_file: Option<PathBuf>) -> Self {
        Self { wanted: Wanted { name, pid_file }, last: None, looking: Blocking::default() }
    }
}

#[async_trait]
impl TestProbe for ProcessProbe {
    async fn probe(&mut self) -> Result<(), String> {
        let (wanted, last) = (self.wanted.clone(), self.last.take());
        self.last = Some(self.looking.run(move || wanted.find(last)).await.and_then(|found| found)?);
        Ok(())
    }

    fn overdue(&self) -> String {
        match &self.wanted.pid_file {
            Some(path) => format!("the process of {} could not be looked up", path.display()),
            None => format!("process {} could not be looked for", self.wanted.name),
        }
    }
}

impl Wanted {
    /// The id of a process that runs and has the name.
    fn find(&self, last: Option<u32>) -> Result<u32, String> {
        if let Some(path) = &self.pid_file {
            return self.find_by_file(path);
        }
        if let Some(last) = last.filter(|last| self.is_named(*last)) {
            return Ok(last);
        }
        let entries = std::fs::read_dir("/proc").map_err(|error| format!("/proc could not be read: {error}"))?;
        let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.into_iter().find(|id| self.is_named(*id)).ok_or_else(|| format!("no process {} runs", self.name))
    }

    fn find_by_file(&self, path: &Path) -> Result<u32, String> {
        let shown = path.display();
        let text = read_text(path, PID_FILE_BYTES_MAX).map_err(|why| format!("{shown} could not be read: {why}"))?;
        let id = text.lines().next().unwrap_or_default().trim();
        let id: u32 = id.parse().map_err(|_| format!("{shown} holds {id:?}, not a process id"))?;
        match running(id) {
            None => Err(format!("process {id} of {shown} does not run")),
            Some(_) if self.is_named(id) => Ok(id),
            Some(comm) => Err(format!("process {id} of {shown} is {comm}, not {}", self.name)),
        }
    }

    fn is_named(&self, id: u32) -> bool {
        let Some(comm) = running(id) else { return false };
        // proc(5): the kernel cuts names after 15 bytes, and some programs rename themselves; what was started still tells.
        comm == self.name || started_as(id).as_ref() == Some(&self.name)
    }
}

/// The name of a process that runs.
fn running(id: u32) -> Option<String> {
    let text = read_text(Path::new(&format!("/proc/{id}/stat")), STAT_BYTES_MAX).ok()?;
    // proc(5): ID (NAME) STATE ...; the name may hold anything.
    let (start, rest) = text.rsplit_once(") ")?;
    let is_over = rest.starts_with(['Z', 'X']);
    let (_, name) = start.split_once('(')?;
    (!is_over).then(|| name.to_owned())
}

/// The file name of its first argument.
fn started_as(id: u32) -> Option<String> {
    let text = read_text(Path::new(&format!("/proc/{id}/cmdline")), ARGUMENT_BYTES_MAX).ok()?;
    let first = text.split('\0').next()?;
    Some(first.rsplit('/').next().unwrap_or(first).to_owned())
}
