//! Calls that block a thread, with at most one under way for each probe.
//!
//! A lookup or a file of a dead server blocks far longer than a probe may take. The next probe waits for the same call instead
//! of blocking another thread. Called by the kinds that look up names or read files.
//!
//! **Cancellation** leaves the call to its thread, which nothing can end; its result is that of the next probe.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use tokio::task::{JoinHandle, spawn_blocking};

/// The most that is read of a file of the kernel: `/proc/stat` has a line for each processor and one for all interrupts.
const PROC_BYTES_MAX: u64 = 1024 * 1024;

/// At most one blocking call under way.
#[derive(Debug)]
pub(crate) struct Blocking<T> {
    under_way: Option<JoinHandle<T>>,
}

impl<T> Default for Blocking<T> {
    fn default() -> Self {
        Self { under_way: None }
    }
}

impl<T: Send + 'static> Blocking<T> {
    /// The result of `call`, or of the one that is under way. An error is a call that panicked or was never run.
    pub(crate) async fn run(&mut self, call: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        let ended = self.under_way.get_or_insert_with(|| spawn_blocking(call)).await;
        self.under_way = None;
        ended.map_err(|error| error.to_string())
    }
}

/// A file of the kernel under `/proc`.
#[derive(Debug)]
pub(crate) struct ProcFile {
    path: &'static str,
    reading: Blocking<Result<String, String>>,
}

impl ProcFile {
    pub(crate) fn new(path: &'static str) -> Self {
        Self { path, reading: Blocking::default() }
    }

    pub(crate) fn path(&self) -> &'static str {
        self.path
    }

    /// Its text. On a thread of its own: the kernel writes some of these files while they are read, which takes its time.
    pub(crate) async fn read(&mut self) -> Result<String, String> {
        let path = self.path;
        let read = self.reading.run(move || read_text(Path::new(path), PROC_BYTES_MAX)).await;
        read.and_then(|read| read).map_err(|why| format!("{path} could not be read: {why}"))
    }
}

/// The first `bytes_max` bytes of a file as text.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(bytes_max).read_to_end(&mut bytes));
    read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_call_that_hangs_is_the_one_that_the_next_probe_waits_for() {
        let mut blocking = Blocking::default();
        let (release, released) = channel::<()>();
        let hanging = move || {
            released.recv().unwrap();
            1
        };
        assert_eq!(blocking.run(hanging).now_or_never(), None);
        assert_eq!(blocking.run(|| 2).now_or_never(), None);
        release.send(()).unwrap();
        assert_eq!(blocking.run(|| 3).await, Ok(1));
        assert_eq!(blocking.run(|| 4).await, Ok(4));
    }

    #[tokio::test]
    async fn no_more_is_read_than_asked_for() {
        assert_eq!(read_text(Path::new("/dev/zero"), 3), Ok("\0\0\0".to_owned()));
        assert!(ProcFile::new("/proc/self/comm").read().await.is_ok());
        let why = ProcFile::new("/proc/no-such-file").read().await.unwrap_err();
        assert_eq!(why, "/proc/no-such-file could not be read: No such file or directory (os error 2)");
    }
}
