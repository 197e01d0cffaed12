//! One daemon of a pool: a real `raisd run` in a host's namespace.
//!
//! Owns the process, and ends it when dropped. Its output goes to a file. Never looks at the output and never asks the daemon
//! anything. Called by the demo and the netns tests.
#![expect(clippy::disallowed_methods, reason = "the end of a child has no event that could be waited for with a deadline")]

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lab;
use super::namespace::Namespace;

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts `program run --config CONFIG`; what it writes is added to the end of `log`.
    ///
    /// # Errors
    /// That the log cannot be opened or the program not be started.
    pub fn start(namespace: &Namespace, program: &Path, config: &Path, log: &Path) -> io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = lab::command(program);
        command.arg("run").arg("--config").arg(config);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self { child: namespace.spawn(&mut command)? })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends it a signal; one that has ended gets none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        // Not waited for yet, so that the number is still its own.
        let pid = i32::try_from(self.child.id()).map_err(io::Error::other)?;
        Ok(kill(Pid::from_raw(pid), signal)?)
    }

    /// Waits for its end, looking every 5 ms. `None` at the deadline.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it with SIGKILL and waits for its end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Whoever wants to know how it ended asks before. A child that cannot be killed has ended.
        let _ended = self.kill();
    }
}
