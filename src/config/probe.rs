//! `[test.X]` and `[load.X]`.
//!
//! Reads what to probe and how often; never probes. Called by `config`.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::environment::{Environment, Program};
use super::fault::{Faults, Problem, Reported};
use super::reader::{Placed, Reader, absolute, accepted, alternatives, entries, not_available, suggest, text, texts};
use super::scalar;
use super::schema::{LOAD_CPU, LOAD_SCRIPT, Section, TEST_HTTP, TEST_SCRIPT, TEST_TCP};
use super::tree::{Content, Entry, Value};
use crate::ports::probe::{LoadKind, LoadSpec, TestKind, TestSpec};
use crate::types::policy::TestPolicy;

const INTERVAL: Duration = Duration::from_secs(1);
/// Shorter probes would load the host more than they tell.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
const INTERVAL_MAX: Duration = Duration::from_secs(3_600);
const TIMEOUT: Duration = Duration::from_millis(500);
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const RISE: u32 = 2;
const FALL: u32 = 3;
const STREAK_MAX: u32 = 1_000;

/// Kinds of the contract whose mechanism is not in this version.
const TEST_KINDS_ABSENT: &[&str] = &["dns", "process", "systemd", "ping", "interface", "file"];
const LOAD_KINDS_ABSENT: &[&str] = &["network", "load-average", "memory", "connections", "pressure"];

/// All tests and loads.
pub(super) struct Probes {
    pub(super) tests: Result<Vec<(TestSpec, TestPolicy)>, Reported>,
    pub(super) loads: Result<Vec<LoadSpec>, Reported>,
    /// Names of all tests, also of faulty ones.
    pub(super) test_names: BTreeSet<String>,
    /// Names of all loads, also of faulty ones.
    pub(super) load_names: BTreeSet<String>,
}

impl Probes {
    pub(super) fn read(root: &Reader<'_>, environment: &Environment, faults: &mut Faults) -> Self {
        let (test_names, tests) = named(root, "test", faults, |entry, faults| test(entry, environment, faults));
        let (load_names, loads) = named(root, "load", faults, |entry, faults| load(entry, environment, faults));
        let tests = tests.map(|mut tests| {
            tests.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
            tests
        });
        let loads = loads.map(|mut loads| {
            loads.sort_by(|a, b| a.name.cmp(&b.name));
            loads
        });
        Self { tests, loads, test_names, load_names }
    }
}

/// Reads the tables `[KEY.NAME]`, each with `read`.
fn named<T>(
    root: &Reader<'_>,
    key: &str,
    faults: &mut Faults,
    mut read: impl FnMut(&Entry, &mut Faults) -> Result<T, Reported>,
) -> (BTreeSet<String>, Result<Vec<T>, Reported>) {
    let Some(value) = root.value(key) else { return (BTreeSet::new(), Ok(Vec::new())) };
    let found = match entries(key, value, &format!("tables with names, like [{key}.web]"), faults) {
        Ok(found) => found,
        Err(reported) => return (BTreeSet::new(), Err(reported)),
    };
    let names = found.iter().map(|entry| entry.key.clone()).collect();
    let read = found
        .iter()
        .map(|entry| {
            let named = accepted(&format!("the name of a {key}"), Placed { value: &entry.key, place: entry.place }, scalar::name, faults);
            let read = read(entry, faults);
            named.and(read)
        })
        .collect::<Vec<_>>();
    (names, read.into_iter().collect())
}

fn test(entry: &Entry, environment: &Environment, faults: &mut Faults) -> Result<(TestSpec, TestPolicy), Reported> {
    let sections = [("tcp", &TEST_TCP), ("http", &TEST_HTTP), ("script", &TEST_SCRIPT)];
    let (reader, word) = open("test", entry, &sections, TEST_KINDS_ABSENT, faults)?;
    let kind = match word {
        "tcp" => tcp(&reader, faults),
        "http" => http(&reader, faults),
        _ => command(&reader, environment, faults).map(|command| TestKind::Script { command }),
    };
    let times = times(&reader, faults);
    let rise = reader.integer("rise", RISE, 1..=STREAK_MAX, faults);
    let fall = reader.integer("fall", FALL, 1..=STREAK_MAX, faults);
    let (interval, timeout) = times?;
    let name = entry.key.clone();
    Ok((TestSpec { name: name.clone(), interval, timeout, kind: kind? }, TestPolicy { name, rise: rise?, fall: fall? }))
}

fn load(entry: &Entry, environment: &Environment, faults: &mut Faults) -> Result<LoadSpec, Reported> {
    let sections = [("cpu", &LOAD_CPU), ("script", &LOAD_SCRIPT)];
    let (reader, word) = open("load", entry, &sections, LOAD_KINDS_ABSENT, faults)?;
    let kind = match word {
        "cpu" => Ok(LoadKind::Cpu),
        _ => command(&reader, environment, faults).map(|command| LoadKind::Script { command }),
    };
    let (interval, timeout) = times(&reader, faults)?;
    Ok(LoadSpec { name: entry.key.clone(), interval, timeout, kind: kind? })
}

/// Opens the table of a test or load: its kind says which keys it has.
fn open<'t>(
    what: &str,
    entry: &'t Entry,
    sections: &[(&'static str, &'static Section)],
    absent: &[&str],
    faults: &mut Faults,
) -> Result<(Reader<'t>, &'static str), Reported> {
    let title = format!("[{what}.{}]", entry.key);
    let words: Vec<&str> = sections.iter().map(|(word, _)| *word).collect();
    let Content::Table(table) = &entry.value.content else {
        let problem = Problem::at(entry.value.place, format!("{what}.{} is {}", entry.key, entry.value.content.kind()));
        return Err(faults.error(problem.expects(format!("a table, {title}"))));
    };
    let Some(kind) = table.entry("kind") else {
        let problem = Problem::at(entry.value.place, format!("{title} has no kind"));
        return Err(faults.error(problem.expects(format!("kind = {}", alternatives(&words)))));
    };
    let kind = text("kind", &kind.value, faults)?;
    if let Some((word, section)) = sections.iter().find(|(word, _)| *word == kind.value) {
        return Ok((Reader::open_as(title, section, table, faults), word));
    }
    if absent.contains(&kind.value) {
        let problem = Problem::at(kind.place, not_available(&format!("kind = {:?}", kind.value)));
        return Err(faults.error(problem.expects(alternatives(&words))));
    }
    let problem = Problem::at(kind.place, format!("kind cannot be {:?}", kind.value)).expects(alternatives(&words));
    Err(faults.error(suggest(problem, kind.value, &words)))
}

fn times(reader: &Reader<'_>, faults: &mut Faults) -> Result<(Duration, Duration), Reported> {
    let interval = reader.duration("interval", INTERVAL, INTERVAL_MIN..=INTERVAL_MAX, faults);
    let longest = interval.unwrap_or(INTERVAL_MAX);
    // A probe that outlives its interval would be overtaken by the next.
    let timeout = reader.duration("timeout", TIMEOUT.min(longest), TIMEOUT_MIN..=longest, faults);
    Ok((interval?, timeout?))
}

fn tcp(reader: &Reader<'_>, faults: &mut Faults) -> Result<TestKind, Reported> {
    let address = reader.needed_text("address", faults)?;
    let form = |text: &str| if scalar::host_and_port(text) { Ok(()) } else { Err(String::from("\"HOST:PORT\"")) };
    accepted("address", address, form, faults).map(|address| TestKind::Tcp { address: address.value.to_owned() })
}

fn http(reader: &Reader<'_>, faults: &mut Faults) -> Result<TestKind, Reported> {
    let url = reader.needed_text("url", faults)?;
    if url.value.starts_with("https://") {
        let problem = Problem::at(url.place, not_available("https")).expects("\"http://HOST[:PORT]/PATH\"");
        return Err(faults.error(problem.help("a test with kind = \"script\" can run curl")));
    }
    accepted("url", url, scalar::http_url, faults).map(|url| TestKind::Http { url: url.value.to_owned() })
}

/// A program with its arguments: an array, or a text that is the program alone.
fn command(reader: &Reader<'_>, environment: &Environment, faults: &mut Faults) -> Result<Vec<String>, Reported> {
    let value = reader.needed("command", faults)?;
    let parts = match &value.content {
        Content::Text(text) => vec![Placed { value: text.as_str(), place: value.place }],
        Content::Boolean(_) | Content::Datetime | Content::Float | Content::Integer(_) | Content::List(_) | Content::Table(_) => {
            command_parts(value, faults)?
        }
    };
    let Some(first) = parts.first() else {
        return Err(faults.error(Problem::at(value.place, "command is empty").expects("a program and its arguments")));
    };
    let program = accepted("command", Placed { value: first.value, place: first.place }, absolute, faults)?;
    check_program("command", Placed { value: Path::new(program.value), place: program.place }, environment, faults)?;
    if let Some(bad) = parts.iter().find(|part| part.value.contains('\0')) {
        return Err(faults.error(Problem::at(bad.place, "an argument holds a zero byte").expects("text without it")));
    }
    Ok(parts.into_iter().map(|part| part.value.to_owned()).collect())
}

fn command_parts<'t>(value: &'t Value, faults: &mut Faults) -> Result<Vec<Placed<&'t str>>, Reported> {
    texts("command", value, faults)
}

/// A program that cannot be run is no reason to keep the daemon down: it may be mended without it, and until then the
/// acquire or the probe fails and says so. A directory is a slip of the pen.
pub(super) fn check_program(key: &str, path: Placed<&Path>, environment: &Environment, faults: &mut Faults) -> Result<(), Reported> {
    let shown = path.value.display();
    match environment.program(path.value) {
        Program::Executable => Ok(()),
        Program::NotAFile => Err(faults.error(Problem::at(path.place, format!("{key} {shown} is not a file")).expects("a program"))),
        Program::Absent => {
            let problem = Problem::at(path.place, format!("{key} {shown} does not exist")).expects("a program");
            faults.warning(problem.help("until it does, every run of it fails"));
            Ok(())
        }
        Program::NotExecutable => {
            let problem = Problem::at(path.place, format!("{key} {shown} is not executable")).expects("a program");
            faults.warning(problem.help(format!("chmod 755 {shown}")));
            Ok(())
        }
    }
}
