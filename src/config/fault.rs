//! Faults of a configuration: collected with their places, shown like a compiler shows them.
//!
//! Owns the texts that were read and all that is wrong with them. Never stops at the first fault: a reader that cannot
//! go on with a value gets a [`Reported`] and the caller reads the next one. Called by every other file of `config`.

use std::fmt;
use std::ops::Range;

/// The widest line that is shown whole; of a longer one the part around the fault.
const EXCERPT_CHARS_MAX: usize = 160;

/// Characters shown before the fault where a long line is cut.
const EXCERPT_LEAD_CHARS: usize = 60;

/// The longest word of a message about a key file ("hexadecimal") is shorter; a piece of a secret this long is 64 bits.
const SECRET_CHARS_MIN: usize = 16;

/// A stretch of one of the texts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    source: usize,
    start: usize,
    end: usize,
}

/// Whether a text may be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exposure {
    /// Lines are quoted.
    Shown,
    /// It holds secrets: only line and column are named.
    Secret,
}

/// One text that was read.
#[derive(Debug)]
struct Source {
    name: String,
    text: String,
    exposure: Exposure,
}

/// Proof that a fault was reported: only [`Faults::error`] makes one, so no value gets lost without a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reported(());

/// What is wrong, before it is shown.
#[derive(Debug)]
pub(super) struct Problem {
    place: Option<Place>,
    message: String,
    expected: Option<String>,
    help: Option<String>,
}

impl Problem {
    /// Something wrong at a place.
    pub(super) fn at(place: Place, message: impl Into<String>) -> Self {
        Self { place: Some(place), message: message.into(), expected: None, help: None }
    }

    /// Something wrong that has no place in a text, such as a file that cannot be read.
    pub(super) fn nowhere(message: impl Into<String>) -> Self {
        Self { place: None, message: message.into(), expected: None, help: None }
    }

    /// What would be right; stands beside the caret.
    #[must_use]
    pub(super) fn expects(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// What to do about it.
    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Everything read so far and everything wrong with it.
#[derive(Debug, Default)]
pub(super) struct Faults {
    sources: Vec<Source>,
    found: Vec<(Severity, Problem)>,
}

impl Faults {
    /// Keeps a text, so that faults in it can be shown; returns its number for [`Faults::place`].
    pub(super) fn keep(&mut self, name: String, text: String, exposure: Exposure) -> usize {
        self.sources.push(Source { name, text, exposure });
        self.sources.len() - 1
    }

    /// A stretch of a text that was kept.
    pub(super) fn place(source: usize, span: Range<usize>) -> Place {
        Place { source, start: span.start, end: span.end.max(span.start) }
    }

    /// Reports what makes the configuration unusable.
    pub(super) fn error(&mut self, mut problem: Problem) -> Reported {
        let exposure = problem.place.and_then(|place| self.sources.get(place.source)).map(|source| source.exposure);
        if exposure == Some(Exposure::Secret) {
            problem.message = without_secrets(&problem.message);
            problem.expected = problem.expected.as_deref().map(without_secrets);
            problem.help = problem.help.as_deref().map(without_secrets);
        }
        self.found.push((Severity::Error, problem));
        Reported(())
    }

    /// Reports what the operator should look at, though the daemon runs with it.
    pub(super) fn warning(&mut self, problem: Problem) {
        self.found.push((Severity::Warning, problem));
    }

    /// Whether an error was reported.
    pub(super) fn has_errors(&self) -> bool {
        self.found.iter().any(|(severity, _)| *severity == Severity::Error)
    }

    /// `FILE:LINE:COLUMN` of a place, to refer to it from another.
    pub(super) fn locate(&self, place: Place) -> String {
        match self.sources.get(place.source) {
            Some(source) => {
                let shown = source.show(place);
                format!("{}:{}:{}", shown.file, shown.line, shown.column)
            }
            None => String::from("another file"),
        }
    }

    /// The name of the file that a place is in.
    pub(super) fn file(&self, place: Place) -> &str {
        self.sources.get(place.source).map(|source| source.name.as_str()).unwrap_or_default()
    }

    /// All that was found, in the order of the texts.
    pub(super) fn into_faults(self) -> Vec<Fault> {
        let Self { sources, mut found } = self;
        found.sort_by_key(|(_, problem)| problem.place);
        found
            .into_iter()
            .map(|(severity, problem)| Fault {
                severity,
                place: problem.place.and_then(|place| sources.get(place.source).map(|source| source.show(place))),
                message: problem.message,
                expected: problem.expected,
                help: problem.help,
            })
            .collect()
    }
}

impl Source {
    fn show(&self, place: Place) -> FaultPlace {
        let start = floor_char(&self.text, place.start);
        let end = floor_char(&self.text, place.end).max(start);
        let before = self.text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.text.get(start..).and_then(|rest| rest.find('\n')).map_or(self.text.len(), |length| start + length);
        let line = self.text.get(line_start..line_end).unwrap_or_default().trim_end_matches('\r');
        let lead = before.get(line_start..).unwrap_or_default().chars().count();
        let marked = self.text.get(start..end.min(line_end)).unwrap_or_default().trim_end().chars().count();
        FaultPlace {
            file: self.name.clone(),
            line: before.matches('\n').count() + 1,
            column: lead + 1,
            excerpt: match self.exposure {
                Exposure::Shown => Some(Excerpt::cut(line, lead, marked.max(1))),
                Exposure::Secret => None,
            },
        }
    }
}

/// Takes out every word long enough to be a piece of a key: a secret may stand anywhere in a misspelt key file.
fn without_secrets(text: &str) -> String {
    let mut safe = String::new();
    for piece in text.split_inclusive(|character: char| !character.is_ascii_alphanumeric()) {
        let word = piece.trim_end_matches(|character: char| !character.is_ascii_alphanumeric());
        match piece.strip_prefix(word) {
            Some(rest) if word.len() >= SECRET_CHARS_MIN => {
                safe.push_str("...");
                safe.push_str(rest);
            }
            Some(_) | None => safe.push_str(piece),
        }
    }
    safe
}

/// The greatest character boundary that is not after `index`.
fn floor_char(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// How bad a fault is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The configuration is not used.
    Error,
    /// The daemon runs with it; an operator should look at it.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing that is wrong with a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// Where; `None` for a file that could not be read at all.
    pub place: Option<FaultPlace>,
    /// What would be right.
    pub expected: Option<String>,
    /// What to do.
    pub help: Option<String>,
}

/// Where a fault is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FaultPlace {
    /// The file, named as it was reached.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// The line; `None` in a file that holds secrets.
    pub excerpt: Option<Excerpt>,
}

/// A line of a file, fit to print.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Excerpt {
    /// Tabs are four blanks, control characters are replaced, a long line is cut.
    pub text: String,
    /// Characters before the caret.
    pub lead: usize,
    /// Carets.
    pub carets: usize,
}

impl Excerpt {
    fn cut(line: &str, lead: usize, marked: usize) -> Self {
        let skip = if line.chars().count() > EXCERPT_CHARS_MAX { lead.saturating_sub(EXCERPT_LEAD_CHARS) } else { 0 };
        let mut text = String::new();
        let (mut before, mut carets) = (0, 0);
        if skip > 0 {
            text.push_str("...");
            before += 3;
        }
        let mut cut = false;
        for (index, character) in line.chars().enumerate().skip(skip) {
            if index - skip >= EXCERPT_CHARS_MAX {
                cut = true;
                break;
            }
            let width = if character == '\t' { 4 } else { 1 };
            match character {
                '\t' => text.push_str("    "),
                // A terminal would obey them.
                _ if character.is_control() => text.push('\u{fffd}'),
                _ => text.push(character),
            }
            if index < lead {
                before += width;
            } else if index < lead + marked {
                carets += width;
            }
        }
        if cut {
            text.push_str("...");
        }
        Self { text, lead: before, carets: carets.max(1) }
    }
}

impl Fault {
    /// Everything but the excerpt in one line, for a log.
    #[must_use]
    pub fn line(&self) -> String {
        let place = self.place.as_ref().map(|place| format!("{}:{}:{}: ", place.file, place.line, place.column));
        let expected = self.expected.as_ref().map(|expected| format!("; expected {expected}"));
        let help = self.help.as_ref().map(|help| format!("; {help}"));
        format!("{}{}{}{}", place.unwrap_or_default(), self.message, expected.unwrap_or_default(), help.unwrap_or_default())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.severity, self.message)?;
        let mut gutter = 1;
        let mut expected = self.expected.as_deref();
        if let Some(place) = &self.place {
            gutter = place.line.to_string().len();
            writeln!(f, "{:gutter$}--> {}:{}:{}", "", place.file, place.line, place.column)?;
            if let Some(excerpt) = &place.excerpt {
                writeln!(f, "{:gutter$} |", "")?;
                writeln!(f, "{}", format!("{} | {}", place.line, excerpt.text).trim_end())?;
                write!(f, "{:gutter$} | {:lead$}{}", "", "", "^".repeat(excerpt.carets), lead = excerpt.lead)?;
                match expected.take() {
                    Some(expected) => writeln!(f, " expected {expected}")?,
                    None => writeln!(f)?,
                }
            }
        }
        if let Some(expected) = expected {
            writeln!(f, "{:gutter$} = expected {expected}", "")?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "{:gutter$} = help: {help}", "")?;
        }
        Ok(())
    }
}

/// All that is wrong with a configuration. The operator is at fault; nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors {
    faults: Vec<Fault>,
}

impl ConfigErrors {
    pub(super) fn of(faults: Vec<Fault>) -> Self {
        Self { faults }
    }

    /// Errors and warnings, in the order of the files and their lines. Those without a place come first.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    fn count(&self, severity: Severity) -> usize {
        self.faults.iter().filter(|fault| fault.severity == severity).count()
    }
}

fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            writeln!(f, "{fault}")?;
        }
        f.write_str(&counted(self.count(Severity::Error), "error"))?;
        let warnings = self.count(Severity::Warning);
        if warnings > 0 {
            write!(f, ", {}", counted(warnings, "warning"))?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, span: Range<usize>) -> String {
        let mut faults = Faults::default();
        let source = faults.keep("a.toml".into(), text.into(), Exposure::Shown);
        faults.error(Problem::at(Faults::place(source, span), "wrong").expects("right"));
        ConfigErrors::of(faults.into_faults()).to_string()
    }

    #[test]
    fn the_caret_stands_under_the_text() {
        assert_eq!(
            shown("a = 1\nbb = 22\n", 11..13),
            "error: wrong\n --> a.toml:2:6\n  |\n2 | bb = 22\n  |      ^^ expected right\n\n1 error"
        );
    }

    #[test]
    fn for_a_log_it_is_one_line() {
        let mut faults = Faults::default();
        let source = faults.keep("a.toml".into(), "a = 1\nbb = 22\n".into(), Exposure::Shown);
        faults.warning(Problem::at(Faults::place(source, 11..13), "wrong").expects("right").help("look"));
        assert_eq!(faults.into_faults().first().unwrap().line(), "a.toml:2:6: wrong; expected right; look");
    }

    #[test]
    fn a_tab_is_as_wide_as_it_is_shown() {
        assert_eq!(shown("\ta = 1", 5..6), "error: wrong\n --> a.toml:1:6\n  |\n1 |     a = 1\n  |         ^ expected right\n\n1 error");
    }

    #[test]
    fn an_empty_text_has_a_first_line() {
        assert_eq!(shown("", 0..0), "error: wrong\n --> a.toml:1:1\n  |\n1 |\n  | ^ expected right\n\n1 error");
    }

    #[test]
    fn a_span_of_several_lines_marks_the_first() {
        assert!(shown("a = [\n1]\n", 4..8).contains("1 | a = [\n  |     ^ expected right\n"));
    }

    #[test]
    fn a_span_within_a_character_or_beyond_the_text_is_shown_all_the_same() {
        assert!(shown("ä = 1", 1..2).contains("a.toml:1:1"));
        assert!(shown("a", 7..9).contains("a.toml:1:2"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_fault() {
        let text = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let output = shown(&text, 500..501);
        assert!(output.contains("...aaa") && output.contains("aXb") && output.contains("bbb..."), "{output}");
        assert!(output.lines().all(|line| line.chars().count() < 200), "{output}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert!(!shown("a = \"\u{1b}[31m\"", 0..1).contains('\u{1b}'));
    }

    #[test]
    fn a_secret_line_is_not_shown() {
        let mut faults = Faults::default();
        let source = faults.keep("a.key".into(), "secret = 12".into(), Exposure::Secret);
        faults.error(Problem::at(Faults::place(source, 0..6), "wrong").expects("right"));
        assert_eq!(ConfigErrors::of(faults.into_faults()).to_string(), "error: wrong\n --> a.key:1:1\n  = expected right\n\n1 error");
    }
}
