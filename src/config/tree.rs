//! TOML as a tree of values that know their places, and the merging of included files.
//!
//! Owns no meaning: which keys there are is `schema`, what they say is read by the files after it.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::fault::{Exposure, Faults, Place, Problem, Reported};

/// More included files than any pool has groups; a pattern that matches more has gone astray.
const INCLUDES_MAX: usize = 256;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) place: Place,
    pub(super) content: Content,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Content {
    Boolean(bool),
    Datetime,
    /// A float, or an integer beyond 64 bits.
    Float,
    Integer(i64),
    List(Vec<Value>),
    Table(Table),
    Text(String),
}

impl Content {
    /// What it is, in a sentence.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "a boolean",
            Self::Datetime => "a date",
            Self::Float => "a floating-point or very large number",
            Self::Integer(_) => "an integer",
            Self::List(_) => "an array",
            Self::Table(_) => "a table",
            Self::Text(_) => "a string",
        }
    }
}

/// A table and where its header stands.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) place: Place,
    /// In the order of the file.
    pub(super) entries: Vec<Entry>,
}

/// A key of a table with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Value,
}

impl Table {
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn take(&mut self, key: &str) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }
}

/// Parses one text. Every syntax error is reported.
pub(super) fn parse(name: String, text: &str, exposure: Exposure, faults: &mut Faults) -> Result<Table, Reported> {
    let source = faults.keep(name, text.to_owned(), exposure);
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reported = None;
    for error in errors {
        let place = Faults::place(source, error.span().unwrap_or_default());
        // The parser says "what, expected this or that".
        let problem = match error.message().split_once(", expected ") {
            Some((message, expected)) if expected != "nothing" => Problem::at(place, message).expects(expected),
            Some((message, _)) => Problem::at(place, message),
            None => Problem::at(place, error.message()),
        };
        reported = Some(faults.error(problem));
    }
    match reported {
        Some(reported) => Err(reported),
        None => Ok(table(source, Faults::place(source, document.span()), document.into_inner())),
    }
}

fn table(source: usize, place: Place, table: DeTable<'_>) -> Table {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, entry)| {
            let value = Value { place: Faults::place(source, entry.span()), content: content(source, entry) };
            Entry { place: Faults::place(source, key.span()), key: key.into_inner().into_owned(), value }
        })
        .collect();
    entries.sort_by_key(|entry| entry.place);
    Table { place, entries }
}

fn content(source: usize, value: toml::Spanned<DeValue<'_>>) -> Content {
    let place = Faults::place(source, value.span());
    match value.into_inner() {
        DeValue::String(text) => Content::Text(text.into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Content::Integer(number),
            Err(_) => Content::Float,
        },
        DeValue::Float(_) => Content::Float,
        DeValue::Boolean(flag) => Content::Boolean(flag),
        DeValue::Datetime(_) => Content::Datetime,
        DeValue::Array(values) => Content::List(
            values.into_iter().map(|value| Value { place: Faults::place(source, value.span()), content: content(source, value) }).collect(),
        ),
        DeValue::Table(entries) => Content::Table(table(source, place, entries)),
    }
}

/// Bytes of a file as text; a byte that is not UTF-8 is reported with its place.
pub(super) fn text_of(name: &str, bytes: Vec<u8>, exposure: Exposure, faults: &mut Faults) -> Result<String, Reported> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let length = error.utf8_error().error_len().unwrap_or(1);
        let readable = String::from_utf8_lossy(error.as_bytes()).into_owned();
        // Up to the fault both texts have the same bytes.
        let source = faults.keep(name.to_owned(), readable, exposure);
        faults.error(Problem::at(Faults::place(source, at..at + length), "the file is not UTF-8").expects("UTF-8 text"))
    })
}

/// Takes `include` out of `root` and merges the files that it names, in the order of their names.
pub(super) fn include(name: &str, root: &mut Table, environment: &Environment, faults: &mut Faults) {
    for (path, place) in included_paths(name, root, environment, faults) {
        if let Ok(table) = included(&path, place, environment, faults) {
            merge(root, table, faults);
        }
    }
}

/// The files that a first file includes, in the order in which they are merged; takes the key out of its table.
pub(super) fn included_paths(name: &str, root: &mut Table, environment: &Environment, faults: &mut Faults) -> Vec<(PathBuf, Place)> {
    let Some(entry) = root.take("include") else { return Vec::new() };
    let Content::List(patterns) = entry.value.content else {
        let message = format!("include is {}", entry.value.content.kind());
        faults.error(Problem::at(entry.value.place, message).expects("an array of file names, like [\"raisd.d/*.toml\"]"));
        return Vec::new();
    };
    let directory = directory_of(name);
    let mut paths: Vec<(PathBuf, Place)> = Vec::new();
    for pattern in patterns {
        let Content::Text(text) = &pattern.content else {
            let message = format!("the entry is {}", pattern.content.kind());
            faults.error(Problem::at(pattern.place, message).expects("a file name in quotes, like \"raisd.d/*.toml\""));
            continue;
        };
        let Ok(matches) = matching(&directory, text, pattern.place, environment, faults) else { continue };
        paths.extend(matches.into_iter().map(|path| (path, pattern.place)));
    }
    paths.sort();
    paths.dedup_by(|a, b| a.0 == b.0);
    if paths.len() > INCLUDES_MAX {
        let message = format!("include matches {} files", paths.len());
        faults.error(Problem::at(entry.value.place, message).expects(format!("at most {INCLUDES_MAX}")));
        return Vec::new();
    }
    paths
}

fn included(path: &Path, place: Place, environment: &Environment, faults: &mut Faults) -> Result<Table, Reported> {
    let shown = path.display().to_string();
    let file = environment
        .read(path)
        .map_err(|error| faults.error(Problem::at(place, format!("cannot read {shown}: {error}")).expects("a file that can be read")))?;
    let text = text_of(&shown, file.content, Exposure::Shown, faults)?;
    let mut table = parse(shown, &text, Exposure::Shown, faults)?;
    if let Some(entry) = table.take("include") {
        let problem = Problem::at(entry.place, "an included file includes others").expects("include in the first file only");
        faults.error(problem);
    }
    Ok(table)
}

/// The directory that relative names in a file start from.
pub(super) fn directory_of(name: &str) -> PathBuf {
    Path::new(name).parent().map(Path::to_path_buf).unwrap_or_default()
}

fn matching(
    directory: &Path,
    pattern: &str,
    place: Place,
    environment: &Environment,
    faults: &mut Faults,
) -> Result<Vec<PathBuf>, Reported> {
    let whole = directory.join(pattern);
    let (Some(directory), Some(last)) = (whole.parent(), whole.file_name().and_then(|last| last.to_str())) else {
        return Err(faults.error(Problem::at(place, format!("{pattern:?} names no file")).expects("a file name or a pattern")));
    };
    if directory.to_string_lossy().contains(['*', '?']) {
        let problem = Problem::at(place, format!("{pattern:?} has a wildcard in a directory"));
        return Err(faults.error(problem.expects("* and ? in the last part only")));
    }
    if !last.contains(['*', '?']) {
        return Ok(vec![whole]);
    }
    // An empty path is the working directory, which has to be named to be listed.
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let names = environment.list(listed).map_err(|error| {
        let problem = Problem::at(place, format!("cannot list {}: {error}", listed.display()));
        faults.error(problem.expects("a directory that can be read"))
    })?;
    // Like a shell: a leading dot (an editor's swap file) has to be asked for.
    let visible = |name: &&String| !name.starts_with('.') || last.starts_with('.');
    let fits = names.iter().filter(visible).filter(|name| is_match(last.as_bytes(), name.as_bytes()));
    Ok(fits.map(|name| directory.join(name)).collect())
}

/// Whether `name` fits `pattern`, in which `*` stands for any bytes and `?` for one.
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where to go on if what follows the last `*` does not fit.
    let mut retry: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, read));
                at += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == name.get(read) => {
                at += 1;
                read += 1;
            }
            Some(_) | None => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    at = after;
                    read = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// Adds a file to the first: arrays of tables one after the other, tables key by key; what is set twice is an error.
fn merge(into: &mut Table, from: Table, faults: &mut Faults) {
    for entry in from.entries {
        let Some(present) = into.entries.iter_mut().find(|present| present.key == entry.key) else {
            into.entries.push(entry);
            continue;
        };
        match (&mut present.value.content, entry.value.content) {
            (Content::Table(present), Content::Table(added)) => merge(present, added, faults),
            (Content::List(present), Content::List(added)) if are_tables(present) && are_tables(&added) => present.extend(added),
            (_, _) => {
                let first = faults.locate(present.place);
                let problem = Problem::at(entry.place, format!("{} is set twice", entry.key));
                faults.error(problem.expects("it once").help(format!("it is set at {first} too")));
            }
        }
    }
}

fn are_tables(values: &[Value]) -> bool {
    values.iter().all(|value| matches!(value.content, Content::Table(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_like_a_shell() {
        for (pattern, name, fits) in [
            ("*.toml", "a.toml", true),
            ("*.toml", "a.toml~", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxayyb", true),
            ("*a*b*", "xxbyya", false),
            ("**", "", true),
            ("", "", true),
            ("", "a", false),
            ("*", "anything", true),
        ] {
            assert_eq!(is_match(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn many_wildcards_do_not_take_exponential_time() {
        let pattern = "*a".repeat(30);
        assert!(!is_match(pattern.as_bytes(), "a".repeat(29).as_bytes()));
        assert!(!is_match(format!("{pattern}b").as_bytes(), "a".repeat(4_000).as_bytes()));
    }

    #[test]
    fn the_numbers_of_toml_are_read_in_every_base() {
        let mut faults = Faults::default();
        let table = parse("a".into(), "a = 0x1_0\nb = 1_000\nc = 0b11\nd = 99999999999999999999\n", Exposure::Shown, &mut faults).unwrap();
        let numbers: Vec<_> = table.entries.iter().map(|entry| format!("{:?}", entry.value.content)).collect();
        assert_eq!(numbers, ["Integer(16)", "Integer(1000)", "Integer(3)", "Float"]);
    }
}
