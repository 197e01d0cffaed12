//! `[test.X]` and `[load.X]`.
//!
//! Reads what to probe and how often; never probes. The kinds are in `probe/test.rs` and `probe/load.rs`. Called by `config`.

mod load;
mod test;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::environment::{Environment, Program};
use super::fault::{Faults, Problem, Reported};
use super::reader::{Placed, Reader, absolute, accepted, all, alternatives, entries, suggest, text, texts};
use super::scalar;
use super::schema::Section;
use super::tree::{Content, Entry, Value};
use crate::ports::probe::{LoadSpec, TestSpec};
use crate::types::policy::TestPolicy;

const INTERVAL: Duration = Duration::from_secs(1);
/// Shorter probes would load the host more than they tell.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
const INTERVAL_MAX: Duration = Duration::from_secs(3_600);
const TIMEOUT: Duration = Duration::from_millis(500);
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

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
        let (test_names, tests) = named(root, "test", faults, |entry, faults| test::read(entry, environment, faults));
        let (load_names, loads) = named(root, "load", faults, |entry, faults| load::read(entry, environment, faults));
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

/// A kind with its keys, and what reads them.
struct Kind<T> {
    word: &'static str,
    section: &'static Section,
    read: fn(&Reader<'_>, &Environment, &mut Faults) -> Result<T, Reported>,
}

/// Opens the table of a test or load: its kind says which keys it has.
fn open<'t, 'k, T>(what: &str, entry: &'t Entry, kinds: &'k [Kind<T>], faults: &mut Faults) -> Result<(Reader<'t>, &'k Kind<T>), Reported> {
    let title = format!("[{what}.{}]", entry.key);
    let words: Vec<&str> = kinds.iter().map(|kind| kind.word).collect();
    let Content::Table(table) = &entry.value.content else {
        let problem = Problem::at(entry.value.place, format!("{what}.{} is {}", entry.key, entry.value.content.kind()));
        return Err(faults.error(problem.expects(format!("a table, {title}"))));
    };
    let Some(named) = table.entry("kind") else {
        let problem = Problem::at(entry.value.place, format!("{title} has no kind"));
        return Err(faults.error(problem.expects(format!("kind = {}", alternatives(&words)))));
    };
    let named = text("kind", &named.value, faults)?;
    if let Some(kind) = kinds.iter().find(|kind| kind.word == named.value) {
        return Ok((Reader::open_as(title, kind.section, table, faults), kind));
    }
    let problem = Problem::at(named.place, format!("kind cannot be {:?}", named.value)).expects(alternatives(&words));
    Err(faults.error(suggest(problem, named.value, &words)))
}

fn times(reader: &Reader<'_>, faults: &mut Faults) -> Result<(Duration, Duration), Reported> {
    let interval = reader.duration("interval", INTERVAL, INTERVAL_MIN..=INTERVAL_MAX, faults);
    let longest = interval.unwrap_or(INTERVAL_MAX);
    // A probe that outlives its interval would be overtaken by the next.
    let timeout = reader.duration("timeout", TIMEOUT.min(longest), TIMEOUT_MIN..=longest, faults);
    Ok((interval?, timeout?))
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

/// What a key that names several things has: at least one, each once.
fn each_once<T: Clone + PartialEq + std::fmt::Display>(
    key: &str,
    value: &Value,
    entries: Vec<Placed<T>>,
    most: usize,
    faults: &mut Faults,
) -> Result<Vec<T>, Reported> {
    if entries.is_empty() || entries.len() > most {
        return Err(faults.error(Problem::at(value.place, format!("{key} has {} entries", entries.len())).expects(format!("1 to {most}"))));
    }
    let mut seen: Vec<T> = Vec::new();
    let mut repeated = Ok(());
    for entry in entries {
        if seen.contains(&entry.value) {
            repeated = Err(faults.error(Problem::at(entry.place, format!("{key} has {} twice", entry.value)).expects("it once")));
        }
        seen.push(entry.value);
    }
    repeated.map(|()| seen)
}

/// Whole numbers within limits: an array of them, or one alone.
fn numbers(key: &str, value: &Value, limits: RangeInclusive<u16>, faults: &mut Faults) -> Result<Vec<Placed<u16>>, Reported> {
    let values = match &value.content {
        Content::List(values) => values.as_slice(),
        Content::Boolean(_) | Content::Datetime | Content::Float | Content::Integer(_) | Content::Table(_) | Content::Text(_) => {
            std::slice::from_ref(value)
        }
    };
    let expected = format!("whole numbers from {} to {}", limits.start(), limits.end());
    let mut number = |value: &Value| {
        let Content::Integer(number) = value.content else {
            return Err(faults.error(Problem::at(value.place, format!("{key} is {}", value.content.kind())).expects(expected.clone())));
        };
        match u16::try_from(number) {
            Ok(number) if limits.contains(&number) => Ok(Placed { value: number, place: value.place }),
            Ok(_) | Err(_) => Err(faults.error(Problem::at(value.place, format!("{key} cannot be {number}")).expects(expected.clone()))),
        }
    };
    all(values.iter().map(&mut number).collect())
}
