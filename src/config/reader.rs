//! A table that is being read: known keys are taken with their form checked, the others reported.
//!
//! Each reading either gives a value or a [`Reported`]; none stops the others. Called by the files that know what the
//! keys mean; the keys themselves are in `schema`.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::fault::{Faults, Place, Problem, Reported};
use super::scalar;
use super::schema::{Key, Preset, SECTIONS, Section};
use super::tree::{Content, Entry, Table, Value};

/// A value with the place it came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// The words for what this version has not.
pub(super) fn not_available(what: &str) -> String {
    format!("{what} is not available in raisd {}", env!("CARGO_PKG_VERSION"))
}

/// A table with the list of its keys.
pub(super) struct Reader<'t> {
    section: &'static Section,
    /// The table as messages name it.
    title: String,
    table: &'t Table,
    /// Where the table is named: its header, or the key in front of it.
    pub(super) place: Place,
}

impl<'t> Reader<'t> {
    /// Reports all keys that are unknown or whose mechanism is absent.
    pub(super) fn open(section: &'static Section, table: &'t Table, faults: &mut Faults) -> Self {
        Self::open_as(section.header.to_owned(), section, table, faults)
    }

    /// The same with a name of its own, such as that of a test.
    pub(super) fn open_as(title: String, section: &'static Section, table: &'t Table, faults: &mut Faults) -> Self {
        for entry in &table.entries {
            match section.key(&entry.key) {
                Some(key) => check_available(key, entry, faults),
                None => report_unknown(&title, section, entry, faults),
            }
        }
        Self { section, title, table, place: table.place }
    }

    /// The value of a key, if it is there.
    pub(super) fn value(&self, key: &str) -> Option<&'t Value> {
        debug_assert!(self.section.key(key).is_some(), "{key} is not in the list of {}", self.section.header);
        self.table.entry(key).map(|entry| &entry.value)
    }

    /// Whether the key is there, and where.
    pub(super) fn place_of(&self, key: &str) -> Option<Place> {
        self.table.entry(key).map(|entry| entry.place)
    }

    /// The value of a key that has to be there.
    pub(super) fn needed(&self, key: &str, faults: &mut Faults) -> Result<&'t Value, Reported> {
        if let Some(value) = self.value(key) {
            return Ok(value);
        }
        let example = match self.section.key(key).map(|key| key.preset) {
            Some(Preset::Needed { example }) => format!("{key} = {example}"),
            Some(Preset::Absent | Preset::Off { .. } | Preset::Table | Preset::Unset { .. } | Preset::Value(_)) | None => key.to_owned(),
        };
        let problem = Problem::at(self.place, format!("{} has no {key}", self.title));
        Err(faults.error(problem.expects(format!("a line like {example}"))))
    }

    /// A table within this one.
    pub(super) fn table(&self, key: &str, section: &'static Section, faults: &mut Faults) -> Result<Option<Self>, Reported> {
        let Some(entry) = self.table.entry(key) else { return Ok(None) };
        let Content::Table(table) = &entry.value.content else {
            return Err(wrong_kind(key, &entry.value, &format!("a table, {}", section.header), faults));
        };
        // A table of a test has the test's own name in front.
        let (example, own) = (self.section.header.trim_end_matches(']'), self.title.trim_end_matches(']'));
        let title = section.header.strip_prefix(example).map_or_else(|| section.header.to_owned(), |rest| format!("{own}{rest}"));
        let mut reader = Self::open_as(title, section, table, faults);
        reader.place = entry.value.place;
        Ok(Some(reader))
    }

    /// A text.
    pub(super) fn text(&self, key: &str, faults: &mut Faults) -> Result<Option<Placed<&'t str>>, Reported> {
        self.value(key).map(|value| text(key, value, faults)).transpose()
    }

    /// A text that has to be there.
    pub(super) fn needed_text(&self, key: &str, faults: &mut Faults) -> Result<Placed<&'t str>, Reported> {
        text(key, self.needed(key, faults)?, faults)
    }

    /// A text that `check` accepts.
    pub(super) fn checked_text(
        &self,
        key: &str,
        check: impl Fn(&str) -> Result<(), String>,
        faults: &mut Faults,
    ) -> Result<Option<Placed<&'t str>>, Reported> {
        let Some(text) = self.text(key, faults)? else { return Ok(None) };
        accepted(key, text, check, faults).map(Some)
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&self, key: &str, preset: T, choices: &[(&str, T)], faults: &mut Faults) -> Result<T, Reported> {
        let Some(text) = self.text(key, faults)? else { return Ok(preset) };
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text.value) {
            return Ok(*choice);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let problem = Problem::at(text.place, format!("{key} cannot be {:?}", text.value)).expects(alternatives(&words));
        Err(faults.error(suggest(problem, text.value, &words)))
    }

    /// A duration within limits.
    pub(super) fn duration(
        &self,
        key: &str,
        preset: Duration,
        limits: RangeInclusive<Duration>,
        faults: &mut Faults,
    ) -> Result<Duration, Reported> {
        match self.duration_text(key, faults)? {
            Some(text) => duration(key, text, &limits, "", faults),
            None => Ok(preset),
        }
    }

    /// A duration within limits, or `never`.
    pub(super) fn duration_or_never(
        &self,
        key: &str,
        preset: Option<Duration>,
        limits: RangeInclusive<Duration>,
        faults: &mut Faults,
    ) -> Result<Option<Duration>, Reported> {
        match self.duration_text(key, faults)? {
            Some(text) if text.value == "never" => Ok(None),
            Some(text) => duration(key, text, &limits, " or \"never\"", faults).map(Some),
            None => Ok(preset),
        }
    }

    fn duration_text(&self, key: &str, faults: &mut Faults) -> Result<Option<Placed<&'t str>>, Reported> {
        match self.value(key) {
            Some(Value { place, content: Content::Text(text) }) => Ok(Some(Placed { value: text, place: *place })),
            Some(value) => Err(wrong_kind(key, value, "a duration in quotes, like \"250ms\"", faults)),
            None => Ok(None),
        }
    }

    /// A whole number within limits.
    pub(super) fn integer(&self, key: &str, preset: u32, limits: RangeInclusive<u32>, faults: &mut Faults) -> Result<u32, Reported> {
        let Some(value) = self.value(key) else { return Ok(preset) };
        let expected = format!("a whole number from {} to {}", limits.start(), limits.end());
        let Content::Integer(number) = value.content else {
            return Err(wrong_kind(key, value, &expected, faults));
        };
        match u32::try_from(number) {
            Ok(number) if limits.contains(&number) => Ok(number),
            Ok(_) | Err(_) => Err(faults.error(Problem::at(value.place, format!("{key} cannot be {number}")).expects(expected))),
        }
    }

    /// True or false.
    pub(super) fn flag(&self, key: &str, preset: bool, faults: &mut Faults) -> Result<bool, Reported> {
        let Some(value) = self.value(key) else { return Ok(preset) };
        let Content::Boolean(flag) = value.content else { return Err(wrong_kind(key, value, "true or false", faults)) };
        Ok(flag)
    }

    /// An absolute path.
    pub(super) fn path(&self, key: &str, faults: &mut Faults) -> Result<Option<Placed<PathBuf>>, Reported> {
        let Some(text) = self.checked_text(key, absolute, faults)? else { return Ok(None) };
        Ok(Some(Placed { value: PathBuf::from(text.value), place: text.place }))
    }

    /// The texts of an array; absent: none.
    pub(super) fn texts(&self, key: &str, faults: &mut Faults) -> Result<Vec<Placed<&'t str>>, Reported> {
        match self.value(key) {
            Some(value) => texts(key, value, faults),
            None => Ok(Vec::new()),
        }
    }
}

/// The entries of a table whose keys are names.
pub(super) fn entries<'t>(key: &str, value: &'t Value, form: &str, faults: &mut Faults) -> Result<&'t [Entry], Reported> {
    let Content::Table(table) = &value.content else { return Err(wrong_kind(key, value, form, faults)) };
    Ok(&table.entries)
}

/// Whether a path starts at the root.
pub(super) fn absolute(text: &str) -> Result<(), String> {
    if text.starts_with('/') && !text.contains('\0') { Ok(()) } else { Err(String::from("an absolute path")) }
}

/// The text of a value.
pub(super) fn text<'t>(key: &str, value: &'t Value, faults: &mut Faults) -> Result<Placed<&'t str>, Reported> {
    let Content::Text(text) = &value.content else { return Err(wrong_kind(key, value, "text in quotes", faults)) };
    Ok(Placed { value: text, place: value.place })
}

/// The texts of an array. All entries that are none are reported.
pub(super) fn texts<'t>(key: &str, value: &'t Value, faults: &mut Faults) -> Result<Vec<Placed<&'t str>>, Reported> {
    let Content::List(values) = &value.content else {
        return Err(wrong_kind(key, value, "an array of texts, like [\"...\"]", faults));
    };
    all(values.iter().map(|value| text(&format!("an entry of {key}"), value, faults)).collect())
}

/// All values, or the report of one that is missing.
pub(super) fn all<T>(results: Vec<Result<T, Reported>>) -> Result<Vec<T>, Reported> {
    results.into_iter().collect()
}

/// A text that `check` accepts; it says what it expected otherwise.
pub(super) fn accepted<'t>(
    key: &str,
    text: Placed<&'t str>,
    check: impl Fn(&str) -> Result<(), String>,
    faults: &mut Faults,
) -> Result<Placed<&'t str>, Reported> {
    match check(text.value) {
        Ok(()) => Ok(text),
        Err(expected) => Err(faults.error(Problem::at(text.place, format!("{key} cannot be {:?}", text.value)).expects(expected))),
    }
}

/// An address.
pub(super) fn address(key: &str, text: Placed<&str>, faults: &mut Faults) -> Result<Placed<IpAddr>, Reported> {
    match text.value.parse() {
        Ok(value) => Ok(Placed { value, place: text.place }),
        Err(_) => {
            let problem = Problem::at(text.place, format!("{key} cannot be {:?}", text.value));
            Err(faults.error(problem.expects("an IPv4 or IPv6 address")))
        }
    }
}

fn duration(key: &str, text: Placed<&str>, limits: &RangeInclusive<Duration>, or: &str, faults: &mut Faults) -> Result<Duration, Reported> {
    let problem = Problem::at(text.place, format!("{key} cannot be {:?}", text.value));
    match scalar::duration(text.value) {
        Some(duration) if limits.contains(&duration) => Ok(duration),
        Some(_) => {
            let (least, greatest) = (scalar::duration_text(*limits.start()), scalar::duration_text(*limits.end()));
            Err(faults.error(problem.expects(format!("{least} to {greatest}{or}"))))
        }
        None => Err(faults.error(problem.expects(format!("{}{or}", scalar::DURATION_FORM)))),
    }
}

fn wrong_kind(key: &str, value: &Value, expected: &str, faults: &mut Faults) -> Reported {
    faults.error(Problem::at(value.place, format!("{key} is {}", value.content.kind())).expects(expected))
}

/// The mechanisms that this version has not: the one value that does without is accepted.
fn check_available(key: &'static Key, entry: &Entry, faults: &mut Faults) {
    match key.preset {
        Preset::Absent => {
            let what = match entry.value.content {
                Content::Table(_) => format!("[{}]", key.name),
                Content::List(_) if key.form == "array of tables" => format!("[[{}]]", key.name),
                Content::Boolean(_) | Content::Datetime | Content::Float | Content::Integer(_) | Content::List(_) | Content::Text(_) => {
                    key.name.to_owned()
                }
            };
            faults.error(Problem::at(entry.place, not_available(&what)).expects("nothing; remove it"));
        }
        Preset::Off { only } => {
            let shown = shown(&entry.value.content);
            if shown != only {
                let problem = Problem::at(entry.value.place, not_available(&format!("{} = {shown}", key.name)));
                faults.error(problem.expects(only));
            }
        }
        Preset::Needed { .. } | Preset::Table | Preset::Unset { .. } | Preset::Value(_) => {}
    }
}

/// A value as in TOML, shortened.
fn shown(content: &Content) -> String {
    match content {
        Content::Boolean(flag) => flag.to_string(),
        Content::Integer(number) => number.to_string(),
        Content::List(values) if values.is_empty() => String::from("[]"),
        Content::List(_) => String::from("[...]"),
        Content::Table(_) => String::from("{...}"),
        Content::Text(text) => format!("{text:?}"),
        Content::Datetime | Content::Float => String::from("..."),
    }
}

fn report_unknown(title: &str, section: &'static Section, entry: &Entry, faults: &mut Faults) {
    let title = if title.is_empty() { "the file" } else { title };
    let names: Vec<&str> = section.keys.iter().filter(|key| key.preset != Preset::Absent).map(|key| key.name).collect();
    let expected = match nearest(&entry.key, &names) {
        Some(name) => name.to_owned(),
        None => home_of(&entry.key, section).unwrap_or_else(|| format!("one of {}", names.join(", "))),
    };
    faults.error(Problem::at(entry.place, format!("{title} has no key {:?}", entry.key)).expects(expected));
}

/// Where a key would be known: rather in a table of the same sort than in another.
fn home_of(key: &str, section: &'static Section) -> Option<String> {
    let sort = |section: &'static Section| section.header.split('.').next();
    let homes = SECTIONS.iter().filter(|other| other.key(key).is_some());
    let home = homes.min_by_key(|other| sort(other) != sort(section))?;
    let kind = match home.key("kind").map(|kind| kind.preset) {
        Some(Preset::Needed { example }) => format!("a {} with kind = {example}", home.header.trim_start_matches('[').get(..4)?),
        Some(Preset::Absent | Preset::Off { .. } | Preset::Table | Preset::Unset { .. } | Preset::Value(_)) | None => {
            if home.header.is_empty() { String::from("the top of the file") } else { home.header.to_owned() }
        }
    };
    Some(format!("it in {kind}"))
}

/// Adds the nearest of the words that are possible.
pub(super) fn suggest(problem: Problem, text: &str, words: &[&str]) -> Problem {
    match nearest(text, words) {
        Some(word) => problem.help(format!("did you mean {word:?}?")),
        None => problem,
    }
}

/// `"a", "b" or "c"`.
pub(super) fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::from("nothing"),
    }
}

/// The word that a typing error is most likely to have come from.
fn nearest<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    // One error in three letters: more is another word.
    let limit = (text.chars().count() / 3).max(1);
    let text = text.replace('-', "_").to_ascii_lowercase();
    words
        .iter()
        .map(|word| (distance(&text, &word.replace('-', "_")), *word))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Levenshtein distance, with two neighbours exchanged counted once.
fn distance(a: &str, b: &str) -> usize {
    // Longer than every key twice over; keeps the table small whatever a file says.
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let swap = i > 0 && j > 0 && a[i - 1] == *to && b[j - 1] == *from;
            let change = rows[i][j] + usize::from(from != to);
            let mut least = change.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if swap {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_suggested() {
        let words = ["heartbeat", "timeout", "tests", "all_failed", "id"];
        for (text, word) in [
            ("hearbeat", Some("heartbeat")),
            ("timeuot", Some("timeout")),
            ("test", Some("tests")),
            ("all-failed", Some("all_failed")),
            ("Timeout", Some("timeout")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, &words), word, "{text}");
        }
    }

    #[test]
    fn exchanged_neighbours_are_one_error() {
        assert_eq!(distance("abcd", "abdc"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
