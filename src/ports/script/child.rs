//! One run of one program: directly, without a shell, in a process group of its own, with bounded time and output.
//!
//! Owns the process from spawn to reaping. Never decides what a result means: `script.rs` and `probe.rs`, which call it, do.
//!
//! The child gets standard input from `/dev/null`, `/` as working directory, and no variable but those given, `PATH`, and with
//! a user `HOME`, `LOGNAME` and `USER`. The standard library resets its signal mask and SIGPIPE; handlers end with the exec.
//! Spawning happens on a blocking thread, since fork and exec would hold up a single-threaded event loop for a millisecond or,
//! from a dead file server, for ever.
//!
//! A program has ended when its own process has, even if children that it left in the background hold its pipes open: what it
//! had printed by then is read, then the pipes are closed. A background process that wants to live on redirects its output.
//!
//! Cancellation (the future is dropped) kills the whole process group; tokio reaps the process.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use super::output::Lines;
use super::user::{Change, RunAs};
use crate::ports::sys;

/// Where programs are looked for if the daemon itself has no `PATH`: that of a Debian root login.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a process may take to vanish after KILL. One in uninterruptible sleep (a dead file server) never does; nobody waits.
const KILLED_WAIT_MAX: Duration = Duration::from_secs(1);

/// How often to look whether a process group still has members: they are not our children, so nothing tells us.
const GROUP_LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Pause before a spawn is tried again that failed for want of something that others give back (files, processes, memory).
const SPAWN_RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Output beyond this is read at [`READ_BYTES`] per [`READ_PAUSE`], so that an endless printer cannot hold a processor.
const FULL_SPEED_BYTES: usize = 256 * 1024;

/// The most that is read at once: a page, since a thousand scripts may run at once and two of these belong to each.
const READ_BYTES: usize = 4 * 1024;

/// The most that is read from a pipe after the program's end: a pipe's size, unless somebody keeps filling it.
const LAST_BYTES_MAX: usize = 64 * 1024;

/// See [`FULL_SPEED_BYTES`].
const READ_PAUSE: Duration = Duration::from_millis(20);

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The file, or a name to be looked for in `PATH`.
    pub(crate) path: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// Its variables.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Whom to run it as; `None`: as the daemon.
    pub(crate) user: Option<String>,
    /// It is ended after so long.
    pub(crate) limit: Duration,
    /// Between TERM and KILL; zero: KILL at once.
    pub(crate) grace: Duration,
}

/// Where a line came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Channel {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How.
    pub(crate) how: How,
    /// The first line on standard output.
    pub(crate) first_stdout: Option<String>,
    /// The last line on standard error that was not empty.
    pub(crate) last_stderr: Option<String>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum How {
    /// By itself.
    Exited(ExitStatus),
    /// It was killed, with its process group, when its time was up.
    TimedOut,
    /// It was never run; why, with the remedy.
    NotStarted {
        /// Names the path.
        why: String,
    },
}

impl Ended {
    fn not_started(why: String) -> Self {
        Self { how: How::NotStarted { why }, first_stdout: None, last_stderr: None }
    }

    /// ` ("last line of standard error")`, or nothing.
    pub(crate) fn last_words(&self) -> String {
        self.last_stderr.as_ref().map(|line| format!(", saying {line:?}")).unwrap_or_default()
    }
}

/// `exited with status 3` or `was killed by SIGSEGV`.
pub(crate) fn describe(status: ExitStatus) -> String {
    if let Some(code) = status.code() {
        return format!("exited with status {code}");
    }
    let signal = status.signal().unwrap_or_default();
    Signal::try_from(signal).map_or_else(|_| format!("was killed by signal {signal}"), |name| format!("was killed by {name}"))
}

impl Program {
    /// Runs it to its end, which comes at the latest `limit`, `grace` and a second after the call. `line` gets each line it prints.
    pub(crate) async fn run(self, mut line: impl FnMut(Channel, &str)) -> Ended {
        let (limit, grace) = (self.limit, self.grace);
        let path = self.path.clone();
        let mut deadline = pin!(sleep(limit));
        let started = tokio::select! {
            started = self.start() => started,
            () = &mut deadline => {
                return Ended::not_started(format!("{} could not be started within {limit:?}: too many processes or open files, or its \
                    file system does not answer", path.display()));
            }
        };
        let mut running = match started {
            Ok(running) => running,
            Err(why) => return Ended::not_started(why),
        };
        let mut how = None;
        tokio::select! {
            biased;
            waited = running.wait(&mut line) => how = Some(waited),
            () = deadline => {}
        }
        let how = match how {
            Some(Ok(status)) => How::Exited(status),
            Some(Err(error)) => How::NotStarted { why: format!("{} cannot be waited for: {error}", path.display()) },
            None => {
                running.end(grace, &path, &mut line).await;
                How::TimedOut
            }
        };
        running.output.finish(&mut line);
        Ended { how, first_stdout: running.output.first_stdout.take(), last_stderr: running.output.last_stderr.take() }
    }

    async fn start(self) -> Result<Running, String> {
        let program = Arc::new(self);
        loop {
            let spawning = Arc::clone(&program);
            let spawned = tokio::task::spawn_blocking(move || spawning.spawn()).await;
            match spawned {
                Ok(Ok(running)) => return Ok(running),
                Ok(Err(SpawnError::Scarce)) => sleep(SPAWN_RETRY_INTERVAL).await,
                Ok(Err(SpawnError::Final { why })) => return Err(why),
                Err(error) => return Err(format!("{} was not started: {error}", program.path.display())),
            }
        }
    }

    fn spawn(&self) -> Result<Running, SpawnError> {
        let path = std::env::var("PATH").unwrap_or_else(|_| PATH_DEFAULT.to_owned());
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env_clear().env("PATH", path).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        if let Some(user) = &self.user {
            let run_as = RunAs::look_up(user)
                .map_err(|error| SpawnError::Final { why: format!("{} was not started: {error}", self.path.display()) })?;
            command.env("HOME", &run_as.home).env("LOGNAME", &run_as.name).env("USER", &run_as.name);
            match run_as.change {
                Change::Nothing => {}
                Change::To { user, group, groups } => sys::run_as(command.as_std_mut(), user, group, groups),
            }
        }
        let mut child = command.spawn().map_err(|error| self.explain(&error))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let output = Output::new(child.stdout.take(), child.stderr.take());
        Ok(Running { child, group, output })
    }

    /// Why a spawn failed and what to do about it. Looks at the file: the error alone says too little.
    fn explain(&self, error: &std::io::Error) -> SpawnError {
        let path = self.path.display();
        let errno = error.raw_os_error().map(Errno::from_raw);
        if matches!(errno, Some(Errno::EAGAIN | Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ETXTBSY)) {
            return SpawnError::Scarce;
        }
        let metadata = std::fs::metadata(&self.path);
        let is_name = self.path.parent() == Some(Path::new(""));
        let why = match (&metadata, error.kind()) {
            (Ok(file), _) if file.is_dir() => format!("{path} is a directory, not a program: correct the path"),
            (Ok(file), _) if file.permissions().mode() & 0o111 == 0 => {
                format!("{path} is not executable (mode {:04o}): chmod +x {path}", file.permissions().mode() & 0o7777)
            }
            (Ok(_), ErrorKind::NotFound) => format!("{path} names an interpreter after #! that is not there: correct its first line"),
            (Ok(_), _) if errno == Some(Errno::ENOEXEC) => {
                format!("{path} is neither a program of this machine nor a script: its first line must be like #!/bin/sh")
            }
            (Err(_), ErrorKind::NotFound) if is_name => format!("{path} is in no directory of PATH: install it or give its full path"),
            (Err(_), ErrorKind::NotFound) => format!("{path} does not exist: install it or correct the path"),
            (Ok(_) | Err(_), _) => {
                let who = self.user.as_ref().map(|user| format!(" as user {user:?}")).unwrap_or_default();
                format!("{path} cannot be run{who}: {error}; check the directories above it and their mount options")
            }
        };
        SpawnError::Final { why }
    }
}

/// Why a spawn failed.
#[derive(Debug)]
enum SpawnError {
    /// For want of something that others give back: worth another try.
    Scarce,
    /// For good.
    Final { why: String },
}

/// A process that has been spawned.
struct Running {
    child: Child,
    /// Its process group, which has its own id.
    group: Option<Pid>,
    output: Output,
}

impl Running {
    /// Waits for the process itself, reading what it prints meanwhile. May be called again.
    async fn wait(&mut self, line: &mut impl FnMut(Channel, &str)) -> std::io::Result<ExitStatus> {
        loop {
            tokio::select! {
                biased;
                status = self.child.wait() => return status,
                () = self.output.read(line) => {}
            }
        }
    }

    /// Ends the whole group: TERM, and KILL after `grace` for what is left of it.
    async fn end(&mut self, grace: Duration, path: &Path, line: &mut impl FnMut(Channel, &str)) {
        if !grace.is_zero() {
            self.signal(Signal::SIGTERM);
            let obeyed = async {
                // A failed wait means that there is nothing left to wait for.
                let _status = self.wait(line).await;
                // While it has members its id is not given to another group, so that KILL below hits nobody else.
                while self.signal(None) == Members::Some {
                    sleep(GROUP_LOOK_INTERVAL).await;
                }
            };
            if timeout(grace, obeyed).await.is_ok() {
                return;
            }
        }
        self.signal(Signal::SIGKILL);
        if timeout(KILLED_WAIT_MAX, self.wait(line)).await.is_err() {
            tracing::error!(
                program = %path.display(),
                process = self.group.map(Pid::as_raw),
                "killed program does not vanish: it hangs in the kernel, as on a dead file server or disk (ps -o pid,stat,wchan)"
            );
        }
    }

    fn signal(&self, signal: impl Into<Option<Signal>>) -> Members {
        match self.group.map(|group| killpg(group, signal.into())) {
            Some(Ok(())) => Members::Some,
            // EPERM: members changed to users that we may not signal. Nothing more can be done with them.
            Some(Err(_)) | None => Members::None,
        }
    }
}

/// Whether a process group has members that can be signalled.
#[derive(PartialEq, Eq)]
enum Members {
    None,
    Some,
}

/// Kills the group if the process has not been waited for: its id cannot belong to anybody else then.
impl Drop for Running {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            self.signal(Signal::SIGKILL);
        }
    }
}

/// Both pipes of a program.
struct Output {
    stdout: Pipe<ChildStdout>,
    stderr: Pipe<ChildStderr>,
    bytes: usize,
    first_stdout: Option<String>,
    last_stderr: Option<String>,
}

impl Output {
    fn new(stdout: Option<ChildStdout>, stderr: Option<ChildStderr>) -> Self {
        Self { stdout: Pipe::new(stdout), stderr: Pipe::new(stderr), bytes: 0, first_stdout: None, last_stderr: None }
    }

    /// Reads once from whichever pipe has something; for ever once both have ended.
    async fn read(&mut self, line: &mut impl FnMut(Channel, &str)) {
        if self.bytes > FULL_SPEED_BYTES {
            sleep(READ_PAUSE).await;
        }
        let (channel, length) = tokio::select! {
            length = self.stdout.read() => (Channel::Stdout, length),
            length = self.stderr.read() => (Channel::Stderr, length),
        };
        self.bytes = self.bytes.saturating_add(length);
        self.take(channel, length, line);
    }

    /// Reads what is still in the pipes without waiting for more, and ends the last lines.
    fn finish(&mut self, line: &mut impl FnMut(Channel, &str)) {
        for _ in 0..LAST_BYTES_MAX / READ_BYTES {
            let length = self.stdout.read_at_once();
            self.take(Channel::Stdout, length, line);
            let length = self.stderr.read_at_once();
            self.take(Channel::Stderr, length, line);
        }
        let Self { stdout, stderr, first_stdout, last_stderr, .. } = self;
        stdout.lines.finish(|text| keep(Channel::Stdout, text, first_stdout, last_stderr, line));
        stderr.lines.finish(|text| keep(Channel::Stderr, text, first_stdout, last_stderr, line));
    }

    fn take(&mut self, channel: Channel, length: usize, line: &mut impl FnMut(Channel, &str)) {
        let Self { stdout, stderr, first_stdout, last_stderr, .. } = self;
        let (lines, buffer) = match channel {
            Channel::Stdout => (&mut stdout.lines, &stdout.buffer),
            Channel::Stderr => (&mut stderr.lines, &stderr.buffer),
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        lines.feed(bytes, |text| keep(channel, text, first_stdout, last_stderr, line));
    }
}

fn keep(channel: Channel, text: &str, first: &mut Option<String>, last: &mut Option<String>, line: &mut impl FnMut(Channel, &str)) {
    match channel {
        Channel::Stdout => {
            first.get_or_insert_with(|| text.to_owned());
        }
        Channel::Stderr if text.trim().is_empty() => {}
        Channel::Stderr => *last = Some(text.to_owned()),
    }
    line(channel, text);
}

/// One pipe, `None` once it has ended.
struct Pipe<P> {
    pipe: Option<P>,
    buffer: Vec<u8>,
    lines: Lines,
}

impl<P: AsyncRead + AsFd + Unpin> Pipe<P> {
    fn new(pipe: Option<P>) -> Self {
        Self { pipe, buffer: Vec::new(), lines: Lines::default() }
    }

    /// Reads into the buffer. Never returns once the pipe has ended. Loses nothing when cancelled.
    async fn read(&mut self) -> usize {
        let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
        // Most programs print nothing: no buffer before there is something to read.
        self.buffer.resize(READ_BYTES, 0);
        // An error on a pipe is its end.
        let length = pipe.read(&mut self.buffer).await.unwrap_or_default();
        if length == 0 {
            self.pipe = None;
        }
        length
    }

    /// Reads what is there, past the event loop: what a process has written before its end may not have been reported yet.
    fn read_at_once(&mut self) -> usize {
        let Some(pipe) = &self.pipe else { return 0 };
        self.buffer.resize(READ_BYTES, 0);
        // The pipe is non-blocking; an error means that there is nothing to read.
        nix::unistd::read(pipe.as_fd(), &mut self.buffer).unwrap_or_default()
    }
}
