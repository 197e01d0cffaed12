//! The running daemon: pick what has happened, stamp the time, handle, dispatch, re-arm the deadline.
//!
//! Nothing else reads the clock for the protocol; the node's deadline is the only protocol timer. Called by `bin/raisd.rs`.

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_lc_rs::rand::SecureRandom;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::dispatch::{Dispatched, Dropped, Ports};
use super::groups::{Group, Groups};
use super::journal::Journal;
use super::recorder::Recorder;
use super::reload::{Current, Reader, Reading};
use super::state::{StateDir, StateWriter};
use super::watchdog::Watchdog;
use crate::config::{Config, ConfigErrors};
use crate::node::action::Action;
use crate::node::event::{Arrival, Event, GroupIndex, Heard, Token};
use crate::node::{Node, Start};
use crate::ports::announce::{self, AnnounceChange, Announcer};
use crate::ports::api::call::Places;
use crate::ports::api::{Api, Asked};
use crate::ports::cause::in_one_line;
use crate::ports::dns::Dns;
use crate::ports::interfaces::Interfaces;
use crate::ports::multicast::{ControlSockets, Received};
use crate::ports::netlink::{Netlink, NetlinkEvents, Opened};
use crate::ports::probe::Probes;
use crate::ports::script::Scripts;
use crate::types::host::BootId;
use crate::types::policy::{AnnounceMethod, GroupPolicy};
use crate::types::time::Time;
use crate::wire;

/// The process was told something that it cannot do on this machine.
const EXIT_CONFIGURATION: u8 = 2;

/// The most that is handled in one go: what is due, and the operator, must not wait behind a flood. A thousand addresses are there in
/// some four goes.
const GATHERED_MAX: usize = 256;

/// Runs until SIGTERM or SIGINT, in the foreground.
#[must_use]
pub fn run(config_path: &Path, config: Config) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime");
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    let code = match runtime.block_on(serve(config_path, config)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            tracing::error!("raisd does not start: {}", in_one_line(error.as_ref()));
            ExitCode::from(EXIT_CONFIGURATION)
        }
    };
    // What blocks a thread at a dead file server or resolver, as a probe may, is not waited for: everything else has ended.
    runtime.shutdown_background();
    code
}

/// The time line begins so long before the daemon's start: ages that were stored, of orphans and tombstones, reach back
/// before it and must not be cut off there.
const BEFORE_START: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The clock of the protocol.
struct Clock {
    start: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the place that stamps the time")]
    fn start() -> Self {
        Self { start: Instant::now() }
    }

    fn now(&self) -> Time {
        Time::after_start(BEFORE_START + self.start.elapsed())
    }

    fn instant(&self, time: Time) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + time.since_start().saturating_sub(BEFORE_START))
    }
}

/// What the ports say back.
struct Inputs {
    netlink: NetlinkEvents,
    scripts: mpsc::UnboundedReceiver<Event>,
    probes: mpsc::Receiver<Event>,
    writer: mpsc::UnboundedReceiver<Event>,
    api: mpsc::Receiver<Asked>,
    announce: mpsc::Receiver<AnnounceChange>,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// Tells of changed interfaces.
type Changed = watch::Receiver<Arc<Interfaces>>;

/// What the loop picks.
enum Input {
    Announce(AnnounceChange),
    Asked(Asked),
    Event(Event),
    Hangup,
    Interfaces,
    Read(Option<Result<Reading, ConfigErrors>>),
    Received(Received),
    /// A port's thread has ended, which it does only if it panicked.
    PortEnded(&'static str),
}

async fn serve(config_path: &Path, config: Config) -> anyhow::Result<u8> {
    let clock = Clock::start();
    // From the first moment: a stop that comes early is a stop, not a death.
    let (terminate, interrupt, hangup) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
    for warning in &config.warnings {
        tracing::warn!("{}", warning.line());
    }
    let state = StateDir::open(&config.state_dir)?;
    let interfaces: Vec<String> = config.policy.groups.iter().map(|group| group.interface.clone()).collect();
    let Opened { netlink, events: netlink_events, initial } = Netlink::open(interfaces).await?;
    let mut changed = netlink.interfaces();
    let sockets = ControlSockets::open(&config.control, &changed.borrow_and_update());
    if config.policy.groups.iter().any(announces) {
        announce::check_permitted()?;
    }
    let (announcer, announce) = Announcer::open(netlink.interfaces())?;
    let dns = config.dns.as_ref().map(Dns::start).transpose()?;
    let boot = draw_boot()?;
    let (mut journal, events) = Journal::start(boot);
    let (api, asked) = Api::start(&config.socket, events, Places::of(config_path, &config.state_dir))?;
    let scripts = config.scripts.iter().cloned().enumerate().map(|(index, scripts)| (GroupIndex(index), scripts)).collect();
    let (scripts, script_events) = Scripts::new(config.policy.host.id, scripts);

    let incarnation = state.next_incarnation().log();
    state
        .store_incarnation(incarnation)
        .with_context(|| format!("cannot write {}; make host.state_dir writable", config.state_dir.display()))?;
    let stored = config.policy.groups.iter().map(|group| state.load_group(&group.name).log()).collect();
    let (writer, writer_events) = StateWriter::start(state.clone())?;
    let reader = Reader::new(config_path.to_owned(), state);

    let mut groups = Groups::default();
    for ((number, address), (group, protection)) in config.control.groups.iter().zip(config.policy.groups.iter().zip(&config.protection)) {
        groups.insert(*number, Group::begin(&group.name, *address, protection, config.policy.host.id, boot)?);
    }
    let (probes, probe_events) = Probes::start(config.tests.clone(), config.loads.clone());

    let start = Start { boot, incarnation, software: env!("CARGO_PKG_VERSION").to_owned(), stored, kernel: initial };
    let mut recorder = Recorder::start(&config.state_dir, config.recorder);
    let started = clock.now();
    recorder.begin(started, &config.policy, &start);
    let (node, actions) = Node::start(started, &config.policy, start);
    recorder.decided(&actions);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        incarnation = incarnation.0,
        "raisd runs as host {} ({}) with {}",
        config.policy.host.id,
        config.policy.host.name,
        config_path.display()
    );
    let ports = Ports {
        groups,
        sockets,
        netlink,
        announcer,
        scripts,
        dns,
        writer,
        replies: HashMap::new(),
        dropped: Dropped::new(),
        sent: Vec::new(),
    };
    let inputs = Inputs {
        netlink: netlink_events,
        scripts: script_events,
        probes: probe_events,
        writer: writer_events,
        api: asked,
        announce,
        terminate,
        interrupt,
        hangup,
    };
    journal.record_start(config.policy.host.id, &config.policy.host.name, env!("CARGO_PKG_VERSION"), incarnation.0);
    journal.record(&node, &actions);
    let current = Current { config, probes };
    let mut daemon = Daemon { clock, node, ports, current, reader, tokens: 0, watchdog: Watchdog::start(), journal, recorder };
    if let Dispatched::Exit { code } = daemon.dispatch(actions) {
        return Ok(code);
    }
    let code = daemon.turn_until_exit(inputs, changed).await;
    // What waits is written before the process ends.
    drop(daemon);
    api.stop();
    Ok(code)
}

/// Whether a group needs packet sockets.
pub(super) fn announces(group: &GroupPolicy) -> bool {
    match group.announce.method {
        AnnounceMethod::Link => true,
        AnnounceMethod::None => false,
    }
}

/// 128 random bits, so that no two starts are taken for each other.
pub(super) fn draw_boot() -> anyhow::Result<BootId> {
    let mut bits = [0; 16];
    aws_lc_rs::rand::SystemRandom::new().fill(&mut bits).map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    Ok(BootId(bits))
}

struct Daemon {
    clock: Clock,
    node: Node,
    ports: Ports,
    current: Current,
    reader: Reader,
    tokens: u64,
    watchdog: Watchdog,
    journal: Journal,
    recorder: Recorder,
}

impl Daemon {
    async fn turn_until_exit(&mut self, mut inputs: Inputs, mut changed: Changed) -> u8 {
        loop {
            self.watchdog.feed(self.clock.now());
            let input = self.pick(&mut inputs, &mut changed).await;
            let mut events: Vec<Event> = self.event_of(input, &mut changed).into_iter().collect();
            self.gather(&mut inputs, &mut events);
            let changes = self.ports.sockets.take_addresses().into_iter().chain(self.ports.sockets.take_changes());
            events.extend(changes.map(Event::Kernel));
            let now = self.clock.now();
            self.recorder.set_size(self.current.config.recorder);
            self.recorder.happened(now, &self.node, &events);
            let actions = self.node.handle_all(now, events);
            self.recorder.decided(&actions);
            self.journal.record(&self.node, &actions);
            if let Dispatched::Exit { code } = self.dispatch(actions) {
                return code;
            }
        }
    }

    fn dispatch(&mut self, actions: Vec<Action>) -> Dispatched {
        let dispatched = self.ports.dispatch(actions);
        self.recorder.sent(&std::mem::take(&mut self.ports.sent));
        dispatched
    }

    /// What the kernel and the networks have for us already, so that a loop that is behind catches up.
    fn gather(&mut self, inputs: &mut Inputs, events: &mut Vec<Event>) {
        for _ in 0..GATHERED_MAX {
            if let Some(event) = inputs.netlink.try_recv() {
                events.push(event);
            } else if let Some(received) = self.ports.sockets.try_recv() {
                events.extend(self.open(&received).map(Event::Heard));
            } else {
                return;
            }
        }
    }

    /// The next thing that happened. What is due comes before what has arrived, so that no flood can delay a heartbeat;
    /// the kernel and the operator come before the network.
    async fn pick(&mut self, inputs: &mut Inputs, changed: &mut Changed) -> Input {
        let deadline = self.node.deadline().map(|deadline| self.clock.instant(deadline));
        let timeout = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = timeout => Input::Event(Event::Timeout),
            _ = inputs.terminate.recv() => Input::Event(Event::Stopped),
            _ = inputs.interrupt.recv() => Input::Event(Event::Stopped),
            event = inputs.netlink.recv() => event.map_or(Input::PortEnded("netlink"), Input::Event),
            Some(event) = inputs.scripts.recv() => Input::Event(event),
            event = inputs.writer.recv() => event.map_or(Input::PortEnded("state"), Input::Event),
            result = changed.changed() => if result.is_ok() { Input::Interfaces } else { Input::PortEnded("netlink") },
            Some(asked) = inputs.api.recv() => Input::Asked(asked),
            Some(event) = inputs.probes.recv() => Input::Event(event),
            Some(change) = inputs.announce.recv() => Input::Announce(change),
            reading = self.reader.read() => Input::Read(reading),
            _ = inputs.hangup.recv() => Input::Hangup,
            received = self.ports.sockets.recv() => Input::Received(received),
        }
    }

    /// What the core is told of it, if anything.
    fn event_of(&mut self, input: Input, changed: &mut Changed) -> Option<Event> {
        match input {
            Input::Event(event) => Some(event),
            Input::Received(received) => self.open(&received).map(Event::Heard),
            Input::Asked(Asked::Core { request, reply }) => {
                self.tokens += 1;
                let token = Token(self.tokens);
                // Whoever has gone away is not waited for.
                self.ports.replies.retain(|_, reply| !reply.is_closed());
                self.ports.replies.insert(token, reply);
                Some(Event::Asked { token, request })
            }
            Input::Asked(Asked::Reload { reply }) => {
                self.reader.ask(Some(reply), &self.ports);
                None
            }
            Input::Read(reading) => {
                let interfaces = changed.borrow().clone();
                self.current.take(&mut self.reader, reading, &mut self.ports, &interfaces, self.node.is_running())
            }
            Input::Interfaces => {
                let interfaces = changed.borrow_and_update().clone();
                self.ports.sockets.refresh(&interfaces);
                None
            }
            Input::Announce(AnnounceChange { interface, fault: Some(fault) }) => {
                tracing::warn!(interface, "announcements on {interface} fail: {fault}");
                None
            }
            Input::Announce(AnnounceChange { interface, fault: None }) => {
                tracing::info!(interface, "announcements on {interface} go out again");
                None
            }
            Input::Hangup => {
                tracing::info!("SIGHUP: the configuration is read again");
                self.reader.ask(None, &self.ports);
                None
            }
            Input::PortEnded(port) => {
                tracing::error!(port, "the {port} thread has ended, so this host can no longer serve; giving everything up");
                Some(Event::Stopped)
            }
        }
    }

    /// Opens a datagram; what does not open is counted by reason and has no effect.
    fn open(&mut self, received: &Received) -> Option<Heard> {
        let group = received.group;
        let of_group = self.ports.groups.get_mut(group)?;
        match of_group.inbound.open(&received.bytes) {
            // Our own, heard back.
            Ok(opened) if opened.sender.boot == of_group.boot => None,
            Ok(opened) => Some(Heard {
                group,
                network: received.network,
                way: received.way,
                sender: opened.sender,
                number: opened.number,
                arrival: match opened.arrival {
                    wire::Arrival::First => Arrival::First,
                    wire::Arrival::Again => Arrival::Again,
                },
                records: opened.records,
            }),
            Err(dropped) => {
                *self.ports.dropped.entry((group, dropped.reason())).or_default() += 1;
                tracing::debug!(from = %received.from, reason = dropped.reason(), "a datagram was dropped: {dropped}");
                None
            }
        }
    }
}
