//! `raisd`, the daemon's program: arguments, the log, and exit codes. What it does is in the library.
//!
//! Exit codes: 0 as asked, 1 it failed while it ran, 2 usage, configuration or a missing right or port.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use raisd::config::{self, Config};
use raisd::demo::{self, DemoOptions};
use raisd::operator::replay::{self, ReplayError};
use raisd::operator::when::read_time;
use raisd::operator::words::{count, read_duration};
use raisd::process::daemon;
use raisd::recording::Wall;
use raisd::types::policy::GroupPolicy;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Where the log filter stands.
const LOG_VARIABLE: &str = "RAISD_LOG";

/// hickory logs lines for each query, and a warning for each option that a stranger garbles; netlink one for each message it does not know.
const LOG_DEFAULT: &str = "info,hickory_server=warn,hickory_proto=error,netlink_proto=warn,netlink_packet_route=error";

/// Usage, configuration, a missing right or port.
const EXIT_UNUSABLE: u8 = 2;

/// Turns a pool of ordinary servers into one service that does not go down.
#[derive(Parser)]
#[command(name = "raisd", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The daemon, in the foreground
    #[command(after_help = "RAISD_LOG filters the log: RAISD_LOG=debug, RAISD_LOG=info,raisd::node=trace\n\
        SIGTERM hands over what is held and ends with 0.")]
    Run {
        #[command(flatten)]
        file: ConfigFile,
        /// Form of the log on standard error
        #[arg(long, value_enum, default_value_t = LogFormat::Text)]
        log_format: LogFormat,
    },
    /// Reads the configuration as `run` would and names every error
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// Print every key with its default instead, as a configuration file
        #[arg(long, conflicts_with = "config")]
        defaults: bool,
    },
    /// Recorded events through the same core, each decision shown and held against the one that was taken
    ///
    /// Recordings of several hosts become one story in the order of their messages; no clocks are compared.
    #[command(after_help = "Exit codes: 0 every decision is as it was taken, 1 one is not, 2 usage, or nothing that can be read.")]
    Replay {
        /// Files of a recording, or directories with such: a host's state_dir/recorder, or several of them
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Nothing after this, by the clock of each host: 23:50, 2026-11-22 23:50:07, RFC 3339, or 10m ago
        #[arg(long, value_parser = read_time, value_name = "TIME")]
        until: Option<Wall>,
        /// Only calls that did more than send and store
        #[arg(long)]
        deeds: bool,
    },
    /// The main job on this machine alone: a pool of daemons in namespaces, one of which dies
    Demo {
        /// Hosts of the pool
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(3..=16))]
        hosts: u8,
        /// Time between two messages of a host
        #[arg(long, default_value = "100ms", value_parser = read_duration, value_name = "DURATION")]
        heartbeat: Duration,
        /// Kill every host that could take over as well: the demo has to notice and exit with 1
        #[arg(long, hide = true)]
        kill_spare: bool,
    },
}

#[derive(Args)]
struct ConfigFile {
    /// The configuration
    #[arg(long, default_value = "/etc/raisd/raisd.toml", value_name = "FILE")]
    config: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { file, log_format } => run(file.config, log_format),
        Command::Check { defaults: true, file: _ } => print(&config::defaults()),
        Command::Check { defaults: false, file } => check(&file.config),
        Command::Replay { files, until, deeds } => show_replay(&replay::Wanted { paths: files, until, deeds }),
        Command::Demo { hosts, heartbeat, kill_spare } => demo::run(DemoOptions { hosts: usize::from(hosts), heartbeat, kill_spare }),
    }
}

fn run(path: PathBuf, log_format: LogFormat) -> ExitCode {
    if let Err(error) = start_log(log_format) {
        eprintln!("raisd: {error}");
        return ExitCode::from(EXIT_UNUSABLE);
    }
    match load(&path) {
        Ok(config) => daemon::run(&path, config),
        Err(code) => code,
    }
}

fn check(path: &Path) -> ExitCode {
    match load(path) {
        Ok(config) => {
            for warning in &config.warnings {
                eprintln!("{warning}");
            }
            print(&format!("{} is valid: {}\n", path.display(), summary(&config)))
        }
        Err(code) => code,
    }
}

fn load(path: &Path) -> Result<Config, ExitCode> {
    config::load(path).map_err(|errors| {
        // With its places and carets, as it is.
        eprintln!("{}", errors.to_string().trim_end());
        ExitCode::from(EXIT_UNUSABLE)
    })
}

fn show_replay(wanted: &replay::Wanted) -> ExitCode {
    // A core that panics is named among the differences; where in the code is of interest as well, and nothing is in its way.
    let mut out = io::BufWriter::new(io::stdout().lock());
    let shown = replay::show(wanted, &mut out, &mut io::stderr());
    match shown.and_then(|outcome| out.flush().map(|()| outcome).map_err(ReplayError::from)) {
        Ok(replay::Outcome::Same) => ExitCode::SUCCESS,
        Ok(replay::Outcome::Differs) => ExitCode::FAILURE,
        // `raisd replay FILE | head` has seen enough.
        Err(ReplayError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raisd: {error}");
            ExitCode::from(EXIT_UNUSABLE)
        }
    }
}

/// `host web1 (10.0.0.11), 1 group: www (2 preferred, 1 floating, 1 test)`.
fn summary(config: &Config) -> String {
    let group = |group: &GroupPolicy| {
        let spare = if group.preferred.is_empty() { "spare".to_owned() } else { format!("{} preferred", group.preferred.len()) };
        let tests = count(group.tests.len(), "test", "tests");
        format!("{} ({spare}, {} floating, {tests})", group.name, group.floating.len())
    };
    let host = &config.policy.host;
    let groups: Vec<_> = config.policy.groups.iter().map(group).collect();
    format!("host {} ({}), {}: {}", host.name, host.id, count(groups.len(), "group", "groups"), groups.join(", "))
}

fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // `raisd check --defaults | head` has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("raisd: cannot write the output: {error}");
            ExitCode::FAILURE
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

/// Why the log could not start. The surroundings are at fault.
#[derive(Debug, thiserror::Error)]
enum LogError {
    #[error("{LOG_VARIABLE}={text:?} is not a log filter: {source}; expected levels with commas, as in {LOG_DEFAULT}")]
    Filter { text: String, source: tracing_subscriber::filter::ParseError },
    #[error("{LOG_VARIABLE} is not valid UTF-8")]
    Encoding,
    #[error("cannot start the log: {0}")]
    Start(Box<dyn std::error::Error + Send + Sync>),
}

fn start_log(format: LogFormat) -> Result<(), LogError> {
    let text = match std::env::var(LOG_VARIABLE) {
        Ok(text) if !text.is_empty() => text,
        Ok(_) | Err(std::env::VarError::NotPresent) => LOG_DEFAULT.to_owned(),
        Err(std::env::VarError::NotUnicode(_)) => return Err(LogError::Encoding),
    };
    let filter = EnvFilter::builder().parse(&text).map_err(|source| LogError::Filter { text, source })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let started = match format {
        LogFormat::Json => log.json().try_init(),
        LogFormat::Text if stderr_is_journal() => {
            log.event_format(JournalFormat(Format::default().without_time().with_target(false))).try_init()
        }
        LogFormat::Text => log.with_target(false).try_init(),
    };
    started.map_err(LogError::Start)
}

/// systemd.exec(5): `JOURNAL_STREAM` holds device and inode of the journal's end of standard error. Whoever redirects
/// the output of a unit inherits the variable but not the stream.
fn stderr_is_journal() -> bool {
    let Some((device, inode)) = std::env::var("JOURNAL_STREAM").ok().and_then(|stream| {
        let (device, inode) = stream.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    }) else {
        return false;
    };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|stderr| (stderr.st_dev(), stderr.st_ino()) == (device, inode))
}

/// Lines for the journal: no time, which it stamps itself, and the priority in front, so that `journalctl -p warning`
/// finds what it should (sd-daemon(3)).
struct JournalFormat<T>(Format<Full, T>);

impl<S, N, T> FormatEvent<S, N> for JournalFormat<T>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    T: FormatTime,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        let priority = if level == Level::ERROR {
            3
        } else if level == Level::WARN {
            4
        } else if level == Level::INFO {
            6
        } else {
            7
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn the_journal_gets_priorities_and_no_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_writer(Mutex::new(file.reopen().unwrap()))
            .with_ansi(false)
            .event_format(JournalFormat(Format::default().without_time()))
            .finish();
        tracing::subscriber::with_default(log, || {
            tracing::error!("a");
            tracing::warn!("b");
            tracing::info!(group = "www", "c");
            tracing::debug!("d");
        });
        let text = std::fs::read_to_string(file.path()).unwrap();
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let source = "raisd::tests:";
        let expected = [("<3>ERROR", "a"), ("<4> WARN", "b"), ("<6> INFO", "c group=\"www\""), ("<7>DEBUG", "d")];
        assert_eq!(lines, expected.map(|(level, words)| format!("{level} {source} {words}")));
    }

    #[test]
    fn the_default_filter_is_one() {
        EnvFilter::builder().parse(LOG_DEFAULT).unwrap();
    }
}
