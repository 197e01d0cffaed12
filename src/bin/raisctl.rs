//! `raisctl`, the operator's program: arguments and exit codes. What it does is in `raisd::operator`.
//!
//! Exit codes: 0 done, 1 the daemon refused or could not, 2 usage or configuration, 3 no daemon answers.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use raisd::config::{self, KeyError};
use raisd::node::simulate::{Assumptions, SimulateError, simulate};
use raisd::operator::client::{Client, ClientError};
use raisd::operator::delegation::{DelegationError, Delegations};
use raisd::operator::drain::drain;
use raisd::operator::events::{self, EventsError, Form, Wanted};
use raisd::operator::explain;
use raisd::operator::keys::KeyStatus;
use raisd::operator::past::{self, PastError};
use raisd::operator::report::{self, ArchiveError};
use raisd::operator::simulate::{self as simulation, StateFileError};
use raisd::operator::status::{self, Detail};
use raisd::operator::terminal::Terminal;
use raisd::operator::when::{present, read_time};
use raisd::operator::words::{millis, read_duration};
use raisd::operator::zone;
use raisd::ports::api::call::{
    Call, DRAIN_TIME_MAX, Drain, Expire, FREEZE_TIME_MAX, Forget, Freeze, Move, Places, Quiesce, Rebalance, Resume, Thaw,
};
use raisd::recording::Wall;
use raisd::types::item::ServiceAddress;
use raisd::types::view::View;
use raisd::wire::seal::KeyUse;
use serde::Serialize;

/// The configuration of a daemon that cannot be asked.
const CONFIG: &str = "/etc/raisd/raisd.toml";

/// Shows and steers the raisd of this host.
#[derive(Parser)]
#[command(name = "raisctl", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 the daemon refused or could not, 2 usage or configuration, 3 no daemon answers.")]
struct Arguments {
    /// The daemon's socket
    #[arg(long, global = true, env = "RAISD_SOCKET", default_value = "/run/raisd/raisd.sock", value_name = "PATH")]
    socket: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Who serves what, who leads, what is advertised
    Status {
        #[command(flatten)]
        groups: Groups,
        /// The daemon's JSON as it is (docs/status.schema.json)
        #[arg(long)]
        json: bool,
        /// Exit with 1 if any address is unserved or held twice
        #[arg(long)]
        exit_code: bool,
        /// A line for each address, however many there are; always so in a pipe
        #[arg(long, conflicts_with = "json")]
        all: bool,
    },
    /// What the zones advertise, what they withhold and why
    Zone {
        #[command(flatten)]
        groups: Groups,
        /// The lines that the zone above needs, each listed name server asked; BIND loads them as they are
        #[arg(long)]
        delegation: bool,
        /// The daemon's JSON as it is; of a delegation what is printed
        #[arg(long)]
        json: bool,
    },
    /// What has happened: decisions, moves, scripts, hosts that come and go, tests, the zone
    Events {
        #[command(flatten)]
        groups: Groups,
        /// Go on with what happens, until interrupted; outlasts a restart of the daemon
        #[arg(long)]
        follow: bool,
        /// Only what is not older than this: a whole number and ms, s, m, h or d
        #[arg(long, value_parser = read_duration, value_name = "DURATION")]
        since: Option<Duration>,
        /// The daemon's JSON as it is, one object a line (docs/events.schema.json)
        #[arg(long)]
        json: bool,
    },
    /// Why an address or host is where it is or how it is, what comes next, and what would change it
    Explain {
        /// A service address, or a host by id or name
        #[arg(value_name = "ADDRESS or HOST")]
        subject: String,
        #[command(flatten)]
        groups: Groups,
        /// Another time than now, from the flight recorder: 23:50, 2026-11-22 23:50:07, RFC 3339, or 10m ago
        #[arg(long, value_parser = read_time, value_name = "TIME")]
        at: Option<Wall>,
        /// Where that is recorded; without it the daemon's own recordings, also if it is dead
        #[arg(long, requires = "at", value_name = "PATH")]
        recording: Option<PathBuf>,
        /// The daemon's JSON as it is (docs/explain.schema.json)
        #[arg(long)]
        json: bool,
    },
    /// What would move where if hosts failed, were quiesced or joined; changes nothing
    ///
    /// The state is the daemon's own, or a file, and then no daemon is needed. Time does not pass: what is shown is where
    /// everything ends. The exit code is 1 if an address would end unserved.
    Simulate {
        #[command(flatten)]
        groups: Groups,
        /// Hosts that vanish, by id or name
        #[arg(long, num_args = 1.., value_name = "HOST")]
        fail: Vec<String>,
        /// Hosts that acquire nothing and keep what they serve
        #[arg(long, num_args = 1.., value_name = "HOST")]
        quiesce: Vec<String>,
        /// Hosts that come, or come back, and are well; an id that is not known stands for a hot spare
        #[arg(long, num_args = 1.., value_name = "HOST")]
        join: Vec<String>,
        /// A state as `raisctl status --json` prints it; - is the standard input
        #[arg(long, value_name = "FILE")]
        state: Option<PathBuf>,
        /// The answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Let this host acquire nothing; it keeps what it serves. Survives a restart
    Quiesce {
        #[command(flatten)]
        groups: Groups,
        #[command(flatten)]
        reason: Reason,
    },
    /// End quiesce and drain
    Resume {
        #[command(flatten)]
        groups: Groups,
        #[command(flatten)]
        reason: Reason,
    },
    /// Quiesce this host, move away all that it holds, and return when it is gone
    ///
    /// If it is not gone in time, the exit code is 1 and the host stays quiesced.
    Drain {
        #[command(flatten)]
        groups: Groups,
        #[command(flatten)]
        reason: Reason,
        /// How long to wait: a whole number and ms, s, m or h
        #[arg(long, default_value = "60s", value_parser = drain_timeout, value_name = "DURATION")]
        timeout: Duration,
    },
    /// Put an address on a host; without a host: home
    ///
    /// May be typed on any host of the group. Waits until it is there. It stays there until another reason moves it, although
    /// its preferred host is well. The leader refuses what its rules do not allow, and says why.
    Move {
        /// The address; a prefix length is accepted and has no meaning
        #[arg(value_parser = service_address)]
        address: IpAddr,
        /// The host's id or name; none: its preferred host
        host: Option<String>,
        #[command(flatten)]
        groups: Groups,
        /// How long to wait: a whole number and ms, s, m or h
        #[arg(long, default_value = "60s", value_parser = drain_timeout, value_name = "DURATION")]
        timeout: Duration,
    },
    /// No moves at all in the group, whatever happens; ends by itself
    ///
    /// What fails is not taken over, and what comes back gets nothing; only an address that several hosts hold is settled. May
    /// be typed on any host of the group, and outlives it. Returns when all hosts that are live know it.
    Freeze {
        #[command(flatten)]
        groups: Groups,
        #[command(flatten)]
        reason: Reason,
        /// How long: a whole number and ms, s, m, h or d, at most a week
        #[arg(long = "for", default_value = "1h", value_parser = freeze_duration, value_name = "DURATION")]
        duration: Duration,
    },
    /// End a freeze, wherever it was asked for
    Thaw {
        #[command(flatten)]
        groups: Groups,
    },
    /// Even out floating addresses once, with the fewest moves
    ///
    /// What an operator has moved is evened out with the rest. For doing so by itself see `rebalance` in the configuration.
    Rebalance {
        #[command(flatten)]
        groups: Groups,
    },
    /// Forget an address that its preferred host no longer brings
    Expire {
        /// The address; a prefix length is accepted and has no meaning
        #[arg(value_parser = service_address)]
        address: IpAddr,
        #[command(flatten)]
        groups: Groups,
    },
    /// Forget a host that will not come back
    Forget {
        /// Its id or name
        host: String,
        #[command(flatten)]
        groups: Groups,
    },
    /// Have the daemon read its configuration again; a wrong one changes nothing and is exit code 2
    Reload,
    /// One archive for a bug report, without secrets; needs no daemon, and says what could not be had
    Report {
        /// Where to put it; without this raisd-report-HOST-TIME.tar.gz in the working directory
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// The configuration, if no daemon answers that could say which it is
        #[arg(long, default_value = CONFIG, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print a key file for a group, or add a key to one; needs no daemon
    Keygen {
        /// Add a key that only receives to this file; a file that is not there is made, with mode 600
        #[arg(long, value_name = "FILE")]
        append: Option<PathBuf>,
        /// Print a key that only receives: the first one of a group that had none
        #[arg(long, conflicts_with = "append")]
        receive: bool,
    },
    /// Which host has which keys
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Who can read what with which key; exit code 1 while some host could not read the newest
    Status {
        #[command(flatten)]
        groups: Groups,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct Groups {
    /// Only this service group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

#[derive(Args)]
struct Reason {
    /// Why, for the log and for whoever looks next
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
}

fn drain_timeout(text: &str) -> Result<Duration, String> {
    let timeout = read_duration(text)?;
    if timeout > DRAIN_TIME_MAX {
        return Err(format!("{text} is longer than anything is waited for, {}", millis(24 * 60 * 60 * 1000)));
    }
    Ok(timeout)
}

fn freeze_duration(text: &str) -> Result<Duration, String> {
    let duration = read_duration(text)?;
    if duration.is_zero() || duration > FREEZE_TIME_MAX {
        return Err(format!("{text} is not longer than nothing and at most {}", millis(whole_millis(FREEZE_TIME_MAX))));
    }
    Ok(duration)
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn service_address(text: &str) -> Result<IpAddr, String> {
    text.parse::<ServiceAddress>().map(|address| address.address).map_err(|error| error.to_string())
}

/// Why the exit code is not 0.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Delegation(#[from] DelegationError),
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The text has said so already.
    #[error("some host cannot read the newest key")]
    KeyNotEverywhere,
    /// The text has said so already.
    #[error("an address is unserved or held twice")]
    NotWhole,
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Past(#[from] PastError),
    #[error(transparent)]
    Simulate(#[from] SimulateError),
    #[error(transparent)]
    StateFile(#[from] StateFileError),
    #[error("no group {group:?} in this state; it has: {}", known.join(", "))]
    UnknownGroup { group: String, known: Vec<String> },
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    #[error("cannot prepare to talk to the daemon: {0}")]
    Runtime(io::Error),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Client(error) if error.is_unreached() => 3,
            Self::Client(ClientError::Configuration(_))
            | Self::Key(_)
            | Self::Simulate(_)
            | Self::StateFile(_)
            | Self::UnknownGroup { .. } => 2,
            Self::Past(error) if error.is_usage() => 2,
            Self::Archive(_)
            | Self::Client(_)
            | Self::Delegation(_)
            | Self::KeyNotEverywhere
            | Self::NotWhole
            | Self::Output(_)
            | Self::Past(_)
            | Self::Runtime(_) => 1,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => Err(Failure::Runtime(error)),
    };
    let Err(failure) = done else { return ExitCode::SUCCESS };
    match &failure {
        Failure::KeyNotEverywhere | Failure::NotWhole => {}
        // With its places and carets, as it is.
        Failure::Client(error @ ClientError::Configuration(_)) => eprintln!("{error}\n\nnothing is changed: the daemon goes on as before"),
        Failure::Archive(_)
        | Failure::Client(_)
        | Failure::Delegation(_)
        | Failure::Key(_)
        | Failure::Output(_)
        | Failure::Past(_)
        | Failure::Runtime(_)
        | Failure::Simulate(_)
        | Failure::StateFile(_)
        | Failure::UnknownGroup { .. } => eprintln!("raisctl: {failure}"),
    }
    ExitCode::from(failure.exit_code())
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = Client::new(arguments.socket);
    match arguments.command {
        Command::Status { groups, json, exit_code, all } => {
            let status = client.status(groups.group.as_deref()).await?;
            let terminal = Terminal::of_stdout();
            let text = if json { status.text } else { status::render(&status.value, terminal, detail(terminal, all)) };
            print(&text)?;
            if exit_code && !status::is_whole(&status.value) { Err(Failure::NotWhole) } else { Ok(()) }
        }
        Command::Zone { groups, delegation: true, json } => {
            let zones = client.zones(groups.group.as_deref()).await?;
            let delegations = Delegations::ask(&zones.value).await?;
            print(&if json { to_json(&delegations)? } else { delegations.to_zone_file() })
        }
        Command::Zone { groups, delegation: false, json } => {
            let zones = client.zones(groups.group.as_deref()).await?;
            print(&if json { zones.text } else { zone::render(&zones.value, Terminal::of_stdout()) })
        }
        Command::Events { groups, follow, since, json } => {
            let form = if json { Form::Json } else { Form::Text(Terminal::of_stdout()) };
            let wanted = Wanted { group: groups.group, since, follow };
            match events::show(&client, &wanted, form, &mut io::stdout().lock(), &mut io::stderr()).await {
                Ok(()) => Ok(()),
                Err(EventsError::Client(error)) => Err(error.into()),
                // `raisctl events | head` has seen enough.
                Err(EventsError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                Err(EventsError::Output(error)) => Err(Failure::Output(error)),
            }
        }
        Command::Explain { subject, groups, at: Some(at), recording, json } => {
            let place = place_of_recordings(&client, recording).await?;
            let past = past::explain(place, at, groups.group.as_deref(), &subject)?;
            for note in &past.notes {
                eprintln!("raisctl: {note}");
            }
            if json {
                eprintln!("{}", past.heading);
                return print(&pretty(&past.explanation)?);
            }
            print(&format!("{}\n\n{}", past.heading, explain::render(&past.explanation, Terminal::of_stdout())))
        }
        Command::Explain { subject, groups, at: None, recording: _, json } => {
            let explanation = client.explain(&subject, groups.group.as_deref()).await?;
            print(&if json { explanation.text } else { explain::render(&explanation.value, Terminal::of_stdout()) })
        }
        Command::Simulate { groups, fail, quiesce, join, state, json } => {
            let view = state_of(&client, state.as_deref(), groups.group.as_deref()).await?;
            let simulated = simulate(&view, &Assumptions { fail, quiesce, join })?;
            let text = if json { pretty(&simulated)? } else { simulation::render(&view, &simulated, Terminal::of_stdout()) };
            print(&text)?;
            if simulated.is_served() { Ok(()) } else { Err(Failure::NotWhole) }
        }
        Command::Quiesce { groups, reason } => call(&client, &Quiesce { group: groups.group, reason: reason.reason }).await,
        Command::Resume { groups, reason } => call(&client, &Resume { group: groups.group, reason: reason.reason }).await,
        Command::Drain { groups, reason, timeout } => {
            let call = Drain { group: groups.group, reason: reason.reason, timeout_ms: whole_millis(timeout) };
            let message = drain(&client, &call).await?;
            print(&format!("{message}\n"))
        }
        Command::Move { address, host, groups, timeout } => {
            call(&client, &Move { address, host, group: groups.group, timeout_ms: whole_millis(timeout) }).await
        }
        Command::Freeze { groups, reason, duration } => {
            call(&client, &Freeze { group: groups.group, for_ms: whole_millis(duration), reason: reason.reason }).await
        }
        Command::Thaw { groups } => call(&client, &Thaw { group: groups.group }).await,
        Command::Rebalance { groups } => call(&client, &Rebalance { group: groups.group }).await,
        Command::Expire { address, groups } => call(&client, &Expire { address, group: groups.group }).await,
        Command::Forget { host, groups } => call(&client, &Forget { host, group: groups.group }).await,
        Command::Reload => print(&format!("{}\n", client.reload().await?)),
        Command::Report { output, config } => {
            let written = report::write(&client, &report::Sources { config, output, wall: present() }).await?;
            print(&report::render(&written))
        }
        Command::Keygen { append: None, receive } => {
            let usage = if receive { KeyUse::Receive } else { KeyUse::Send };
            print(&config::key_file_text(usage)?)
        }
        Command::Keygen { append: Some(path), receive: _ } => {
            let id = config::append_key(&path)?;
            print(&format!("key {} is in {}\n", id.0, path.display()))
        }
        Command::Key { command: KeyCommand::Status { groups, json } } => {
            let view = client.status(groups.group.as_deref()).await?.value;
            let status = KeyStatus::of(&view);
            print(&if json {
                status.json().map_err(|error| Failure::Output(error.into()))?
            } else {
                status.render(&view, Terminal::of_stdout())
            })?;
            if status.is_read_by_all() { Ok(()) } else { Err(Failure::KeyNotEverywhere) }
        }
    }
}

/// Where the recordings of this host are: where it is said, where the daemon says, or, if none answers, where its
/// configuration says.
async fn place_of_recordings(client: &Client, named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        return Ok(named);
    }
    match client.places().await {
        Ok(places) => Ok(places.value.recordings),
        Err(error) if error.is_unreached() => {
            let place = Places::recordings_in(&config::state_dir(Path::new(CONFIG)));
            eprintln!("raisctl: no daemon answers on {}; reading {}", client.socket().display(), place.display());
            Ok(place)
        }
        Err(error) => Err(error.into()),
    }
}

/// The state of the daemon, or of a file.
async fn state_of(client: &Client, file: Option<&Path>, group: Option<&str>) -> Result<View, Failure> {
    let Some(file) = file else { return Ok(client.status(group).await?.value) };
    let mut view = simulation::read_state(file)?;
    if let Some(group) = group {
        let known: Vec<String> = view.groups.iter().map(|known| known.name.clone()).collect();
        view.groups.retain(|known| known.name == group);
        if view.groups.is_empty() {
            return Err(Failure::UnknownGroup { group: group.to_owned(), known });
        }
    }
    Ok(view)
}

/// As the daemon writes JSON.
fn pretty<T: Serialize>(value: &T) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.into()))?;
    Ok(text + "\n")
}

/// Who reads a pipe searches it; who reads a screen wants to see all at once.
fn detail(terminal: Terminal, all: bool) -> Detail {
    match terminal {
        Terminal::Pipe => Detail::Each,
        Terminal::Screen { .. } if all => Detail::Each,
        Terminal::Screen { .. } => Detail::Grouped,
    }
}

async fn call<C: Call>(client: &Client, call: &C) -> Result<(), Failure> {
    let message = client.call(call).await?;
    print(&format!("{message}\n"))
}

fn to_json(delegations: &Delegations) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(delegations).map_err(|error| Failure::Output(error.into()))?;
    Ok(format!("{text}\n"))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // `raisctl status | head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Failure::Output),
    }
}
