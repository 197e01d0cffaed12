//! Tests and loads: probes this host at an interval and reports each result.
//!
//! Owns one task per test and load. Never decides what a result means: `rise`, `fall` and the choice among loads are the
//! core's. Called by `process/daemon.rs` at start and on reload.
//!
//! The first probe starts at once, the next `interval` after the start of the one before; one that takes longer delays the
//! next, so that a test never has two probes at a time. A probe that takes longer than `timeout` has failed, and what it
//! started is gone: connections are closed, programs killed with their process group.
//!
//! **Queue** out: `RESULTS` results. When it is full a probe waits with its result, and so with its next probe: the newest
//! state is worth more than a backlog. **Cancellation**: dropping [`Probes`] ends every probe; nothing is reported afterwards.

mod cpu;
mod http;
mod resolve;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::cpu::CpuTimes;
use self::http::HttpTarget;
use self::resolve::Resolver;
use super::script::child::{Ended, How, Program, describe};
use crate::node::event::{Event, LoadSample, TestResult};

/// Results on their way to the core: a handful for each of some ten probes. The core reads far faster than probes report.
const RESULTS: usize = 64;

/// The shortest interval that is kept: an interval of zero would leave the processor to probes.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// One test of this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestSpec {
    /// Its name.
    pub name: String,
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// A probe that takes longer has failed.
    pub timeout: Duration,
    /// What to probe.
    pub kind: TestKind,
}

/// What a test probes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TestKind {
    /// A connection to `HOST:PORT` is accepted.
    Tcp {
        /// `HOST:PORT` as configured.
        address: String,
    },
    /// A GET answers with a status from 200 to 399.
    Http {
        /// `http://HOST[:PORT]/PATH`.
        url: String,
    },
    /// A program exits with 0.
    Script {
        /// The program and its arguments; run directly, no shell.
        command: Vec<String>,
    },
}

/// One load of this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadSpec {
    /// Its name.
    pub name: String,
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// A probe that takes longer has failed.
    pub timeout: Duration,
    /// What to probe.
    pub kind: LoadKind,
}

/// What a load measures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoadKind {
    /// Processor time not idle since the last probe, of all processors: load and capacity in milliseconds of a second times processors.
    Cpu,
    /// A program that prints `LOAD CAPACITY`.
    Script {
        /// The program and its arguments; run directly, no shell.
        command: Vec<String>,
    },
}

/// The running probes.
#[derive(Debug)]
pub struct Probes {
    results: Sender<Event>,
    tests: BTreeMap<String, (TestSpec, ProbeTask)>,
    loads: BTreeMap<String, (LoadSpec, ProbeTask)>,
}

impl Probes {
    /// Starts all probes. The receiver yields [`Event::Tested`] and [`Event::Loaded`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(tests: Vec<TestSpec>, loads: Vec<LoadSpec>) -> (Self, Receiver<Event>) {
        let (results, receiver) = channel(RESULTS);
        let mut probes = Self { results, tests: BTreeMap::new(), loads: BTreeMap::new() };
        probes.reconfigure(tests, loads);
        (probes, receiver)
    }

    /// Ends the probes that are no longer there, restarts those that have changed, and leaves the others undisturbed. A result
    /// that is already on its way may still come for one that is gone.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn reconfigure(&mut self, tests: Vec<TestSpec>, loads: Vec<LoadSpec>) {
        let results = &self.results;
        self.tests = exchange(&mut self.tests, tests, |spec| spec.name.clone(), |spec| Box::pin(test(spec, results.clone())));
        self.loads = exchange(&mut self.loads, loads, |spec| spec.name.clone(), |spec| Box::pin(load(spec, results.clone())));
    }
}

type Probing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The tasks for `specs`: those of `old` where nothing has changed.
fn exchange<S: Clone + PartialEq>(
    old: &mut BTreeMap<String, (S, ProbeTask)>,
    specs: Vec<S>,
    name: impl Fn(&S) -> String,
    start: impl Fn(S) -> Probing,
) -> BTreeMap<String, (S, ProbeTask)> {
    let take_up = |spec: S| {
        let name = name(&spec);
        let task = match old.remove(&name) {
            Some((same, task)) if same == spec => task,
            Some((_, task)) => ProbeTask::after(Some(task), start(spec.clone())),
            None => ProbeTask::after(None, start(spec.clone())),
        };
        (name, (spec, task))
    };
    specs.into_iter().map(take_up).collect()
}

/// The task of one test or load; dropping it ends the task.
#[derive(Debug)]
struct ProbeTask(Option<JoinHandle<()>>);

impl ProbeTask {
    /// Ends `before` and starts `probing` once it has ended.
    fn after(before: Option<Self>, probing: Probing) -> Self {
        let ending = before.and_then(|mut task| task.0.take());
        if let Some(ending) = &ending {
            ending.abort();
        }
        Self(Some(tokio::spawn(async move {
            if let Some(ending) = ending {
                // How it ended does not matter, only that it is gone with all that it had started.
                let _ended = ending.await;
            }
            probing.await;
        })))
    }
}

impl Drop for ProbeTask {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// A clock whose first tick comes at once, and which is set anew by a tick that comes late.
fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every.max(INTERVAL_MIN));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn test(spec: TestSpec, results: Sender<Event>) {
    let mut ticks = ticks(spec.interval);
    let mut prober = TestProber::new(&spec);
    loop {
        ticks.tick().await;
        let result = match prober.probe().await {
            Ok(()) => TestResult::Passed,
            Err(why) => TestResult::Failed { why },
        };
        if results.send(Event::Tested { test: spec.name.clone(), result }).await.is_err() {
            return;
        }
        prober.tidy_up().await;
    }
}

/// What a test needs from one probe to the next.
enum TestProber {
    Tcp {
        resolver: Resolver,
        limit: Duration,
    },
    Http {
        target: HttpTarget,
        limit: Duration,
        leftover: Option<http::Leftover>,
    },
    Script(Program),
    /// The configuration makes no sense; every probe says why.
    Never {
        why: String,
    },
}

impl TestProber {
    fn new(spec: &TestSpec) -> Self {
        let limit = spec.timeout;
        let prober = match &spec.kind {
            TestKind::Tcp { address } => Resolver::new(address).map(|resolver| Self::Tcp { resolver, limit }),
            TestKind::Http { url } => HttpTarget::new(url).map(|target| Self::Http { target, limit, leftover: None }),
            TestKind::Script { command } => program(command, limit).map(Self::Script),
        };
        prober.unwrap_or_else(|why| Self::Never { why })
    }

    async fn probe(&mut self) -> Result<(), String> {
        match self {
            Self::Tcp { resolver, limit } => {
                let outcome = timeout(*limit, connect(resolver)).await;
                outcome.unwrap_or_else(|_| Err(format!("{} did not accept a connection within {limit:?}", resolver.name())))?;
                Ok(())
            }
            Self::Http { target, limit, leftover } => {
                let outcome = timeout(*limit, target.get()).await;
                *leftover = Some(outcome.unwrap_or_else(|_| Err(format!("{} did not answer within {limit:?}", target.url())))?);
                Ok(())
            }
            Self::Script(program) => {
                let limit = program.limit;
                let path = program.path.display().to_string();
                let ended = run(program.clone()).await;
                match &ended.how {
                    How::Exited(status) if status.success() => Ok(()),
                    How::Exited(status) => Err(format!("{path} {}{}", describe(*status), ended.last_words())),
                    How::TimedOut => Err(format!("{path} did not end within {limit:?} and was killed{}", ended.last_words())),
                    How::NotStarted { why } => Err(why.clone()),
                }
            }
            Self::Never { why } => Err(why.clone()),
        }
    }

    /// What can wait until the result has been reported.
    async fn tidy_up(&mut self) {
        match self {
            Self::Http { leftover, .. } => {
                if let Some(leftover) = leftover.take() {
                    leftover.discard().await;
                }
            }
            Self::Tcp { .. } | Self::Script(_) | Self::Never { .. } => {}
        }
    }
}

/// Tries the addresses of a name in turn, as a client would.
async fn connect(resolver: &mut Resolver) -> Result<TcpStream, String> {
    let addresses = resolver.addresses().await?;
    let mut failures = Vec::new();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failures.push(format!("{address} did not accept a connection: {error}")),
        }
    }
    Err(failures.join("; "))
}

/// A program of a test or load: killed at once at its timeout, since the next probe may be due.
fn program(command: &[String], limit: Duration) -> Result<Program, String> {
    let Some((path, arguments)) = command.split_first() else {
        return Err("`command` is empty: give a program and its arguments".to_owned());
    };
    Ok(Program { path: path.into(), arguments: arguments.to_vec(), environment: Vec::new(), user: None, limit, grace: Duration::ZERO })
}

/// What a probe prints goes to the debug log: with a probe each second, a chatty one would drown the rest.
async fn run(program: Program) -> Ended {
    let path = program.path.clone();
    program.run(|_, line| tracing::debug!(program = %path.display(), "{line}")).await
}

async fn load(spec: LoadSpec, results: Sender<Event>) {
    let mut ticks = ticks(spec.interval);
    let mut prober = LoadProber::new(&spec);
    let mut is_failing = false;
    loop {
        ticks.tick().await;
        let sample = match prober.probe().await {
            Ok(Some(sample)) => {
                if is_failing {
                    tracing::info!(load = spec.name, "the load can be read again");
                }
                is_failing = false;
                Some(sample)
            }
            // Nothing to compare with yet.
            Ok(None) => continue,
            Err(why) => {
                if !is_failing {
                    tracing::warn!(load = spec.name, why, "the load cannot be read: this host counts as overloaded until it can");
                }
                is_failing = true;
                None
            }
        };
        if results.send(Event::Loaded { load: spec.name.clone(), sample }).await.is_err() {
            return;
        }
    }
}

/// What a load needs from one probe to the next.
enum LoadProber {
    Cpu {
        last: Option<CpuTimes>,
        limit: Duration,
    },
    Script(Program),
    /// The configuration makes no sense; every probe says why.
    Never {
        why: String,
    },
}

impl LoadProber {
    fn new(spec: &LoadSpec) -> Self {
        let limit = spec.timeout;
        match &spec.kind {
            LoadKind::Cpu => Self::Cpu { last: None, limit },
            LoadKind::Script { command } => program(command, limit).map_or_else(|why| Self::Never { why }, Self::Script),
        }
    }

    /// `Ok(None)`: there is nothing to report yet.
    async fn probe(&mut self) -> Result<Option<LoadSample>, String> {
        match self {
            Self::Cpu { last, limit } => {
                let read = timeout(*limit, CpuTimes::read()).await;
                let times = read.unwrap_or_else(|_| Err(format!("/proc/stat could not be read within {limit:?}")))?;
                let Some(before) = last else {
                    *last = Some(times);
                    return Ok(None);
                };
                let sample = times.since(before);
                // The kernel counts in hundredths of a second: keep the older reading until it has counted on.
                if sample.is_some() {
                    *last = Some(times);
                }
                Ok(sample)
            }
            Self::Script(program) => {
                let (path, limit) = (program.path.display().to_string(), program.limit);
                let ended = run(program.clone()).await;
                match &ended.how {
                    How::Exited(status) if status.success() => {
                        sample(ended.first_stdout.as_deref().unwrap_or_default()).map(Some).ok_or_else(|| {
                            format!("{path} printed {:?}, not two numbers `LOAD CAPACITY`", ended.first_stdout.unwrap_or_default())
                        })
                    }
                    How::Exited(status) => Err(format!("{path} {}{}", describe(*status), ended.last_words())),
                    How::TimedOut => Err(format!("{path} did not end within {limit:?} and was killed{}", ended.last_words())),
                    How::NotStarted { why } => Err(why.clone()),
                }
            }
            Self::Never { why } => Err(why.clone()),
        }
    }
}

/// `LOAD CAPACITY`: two decimal numbers that fit 32 bits, and nothing else.
fn sample(line: &str) -> Option<LoadSample> {
    let mut words = line.split_ascii_whitespace();
    let (load, capacity) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(LoadSample { load, capacity })
}

#[cfg(test)]
mod tests;
