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

mod blocking;
mod connections;
mod cpu;
mod dns;
mod file;
mod http;
mod interface;
mod link;
mod load_average;
mod memory;
mod network;
mod ping;
mod pressure;
mod process;
mod program;
mod resolve;
mod spec;
mod systemd;
mod tcp;
mod tls;

pub use spec::{
    DnsTest, FileWanted, Flapping, HttpTest, InterfaceTest, LoadAveraged, LoadKind, LoadSpec, PressureAveraged, Resource, Stalled,
    TestKind, TestSpec,
};

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::connections::ConnectionsLoad;
use self::cpu::CpuLoad;
use self::dns::DnsProbe;
use self::file::FileProbe;
use self::http::HttpProbe;
use self::interface::InterfaceProbe;
use self::load_average::LoadAverageLoad;
use self::memory::MemoryLoad;
use self::network::NetworkLoad;
use self::ping::PingProbe;
use self::pressure::PressureLoad;
use self::process::ProcessProbe;
use self::program::ProbeProgram;
use self::systemd::SystemdProbe;
use self::tcp::TcpProbe;
use crate::node::event::{Event, LoadSample, TestResult};

/// Results on their way to the core: a handful for each of some ten probes. The core reads far faster than probes report.
const RESULTS: usize = 64;

/// The shortest interval that is kept: an interval of zero would leave the processor to probes.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

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
    Program(ProbeProgram),
    Timed {
        probe: Box<dyn TestProbe>,
        limit: Duration,
    },
    /// The configuration makes no sense; every probe says why.
    Never {
        why: String,
    },
}

/// A kind of test.
#[async_trait]
trait TestProbe: Send {
    /// One probe, cancelled when its time is up; an error says what is wrong, with the values.
    async fn probe(&mut self) -> Result<(), String>;

    /// What has not happened when its time is up, such as `10.0.0.1:80 did not accept a connection`.
    fn overdue(&self) -> String;

    /// What can wait until the result has been reported.
    async fn tidy_up(&mut self) {}
}

impl TestProber {
    fn new(spec: &TestSpec) -> Self {
        let limit = spec.timeout;
        let prober = match &spec.kind {
            TestKind::Dns(test) => Ok(Self::timed(DnsProbe::new(test.clone()), limit)),
            TestKind::File { path, wanted } => Ok(Self::timed(FileProbe::new(path.clone(), *wanted), limit)),
            TestKind::Http(test) => HttpProbe::new(test.clone()).map(|probe| Self::timed(probe, limit)),
            TestKind::Interface(test) => Ok(Self::timed(InterfaceProbe::new(test.clone()), limit)),
            TestKind::Ping { address, source } => Ok(Self::timed(PingProbe::new(*address, *source), limit)),
            TestKind::Process { name, pid_file } => Ok(Self::timed(ProcessProbe::new(name.clone(), pid_file.clone()), limit)),
            TestKind::Script { command } => ProbeProgram::new(command, limit).map(Self::Program),
            TestKind::Systemd { unit, bus } => Ok(Self::timed(SystemdProbe::new(unit.clone(), bus.clone()), limit)),
            TestKind::Tcp { address, source } => TcpProbe::new(address, *source).map(|probe| Self::timed(probe, limit)),
        };
        prober.unwrap_or_else(|why| Self::Never { why })
    }

    fn timed(probe: impl TestProbe + 'static, limit: Duration) -> Self {
        Self::Timed { probe: Box::new(probe), limit }
    }

    async fn probe(&mut self) -> Result<(), String> {
        match self {
            Self::Program(program) => program.test().await,
            Self::Timed { probe, limit } => {
                let outcome = timeout(*limit, probe.probe()).await;
                outcome.unwrap_or_else(|_| Err(format!("{} within {limit:?}", probe.overdue())))
            }
            Self::Never { why } => Err(why.clone()),
        }
    }

    async fn tidy_up(&mut self) {
        match self {
            Self::Timed { probe, .. } => probe.tidy_up().await,
            Self::Program(_) | Self::Never { .. } => {}
        }
    }
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
    Program(ProbeProgram),
    Timed {
        probe: Box<dyn LoadProbe>,
        limit: Duration,
    },
    /// The configuration makes no sense; every probe says why.
    Never {
        why: String,
    },
}

/// A kind of load.
#[async_trait]
trait LoadProbe: Send {
    /// One probe, cancelled when its time is up; `Ok(None)`: there is nothing to report yet.
    async fn probe(&mut self) -> Result<Option<LoadSample>, String>;

    /// What has not happened when its time is up, such as `/proc/stat could not be read`.
    fn overdue(&self) -> String;
}

impl LoadProber {
    fn new(spec: &LoadSpec) -> Self {
        let limit = spec.timeout;
        match &spec.kind {
            LoadKind::Connections { ports, capacity } => Self::timed(ConnectionsLoad::new(ports.clone(), *capacity), limit),
            LoadKind::Cpu => Self::timed(CpuLoad::new(), limit),
            LoadKind::LoadAverage { average, capacity } => Self::timed(LoadAverageLoad::new(*average, *capacity), limit),
            LoadKind::Memory => Self::timed(MemoryLoad::new(), limit),
            LoadKind::Network { interfaces, capacity } => Self::timed(NetworkLoad::new(interfaces, *capacity), limit),
            LoadKind::Pressure { resource, stalled, average, capacity } => {
                Self::timed(PressureLoad::new(*resource, *stalled, *average, *capacity), limit)
            }
            LoadKind::Script { command } => ProbeProgram::new(command, limit).map_or_else(|why| Self::Never { why }, Self::Program),
        }
    }

    fn timed(probe: impl LoadProbe + 'static, limit: Duration) -> Self {
        Self::Timed { probe: Box::new(probe), limit }
    }

    /// `Ok(None)`: there is nothing to report yet.
    async fn probe(&mut self) -> Result<Option<LoadSample>, String> {
        match self {
            Self::Program(program) => program.load().await.map(Some),
            Self::Timed { probe, limit } => {
                let outcome = timeout(*limit, probe.probe()).await;
                outcome.unwrap_or_else(|_| Err(format!("{} within {limit:?}", probe.overdue())))
            }
            Self::Never { why } => Err(why.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
