//! `raisctl simulate`: a state from the daemon or a file, what would move, and the words for it.
//!
//! Owns the reading of a state file and the table. What would happen is worked out by [`crate::node::simulate`].

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::names::Names;
use super::terminal::{Terminal, Tone};
use super::words::{count, list, printable};
use crate::node::simulate::Simulation;
use crate::types::view::View;

/// The version of a state that this program reads.
const VERSION: u32 = 1;

/// More than the state of 60,000 addresses takes.
const STATE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The most addresses that a sentence names.
const NAMED_MAX: usize = 8;

/// Why a state cannot be read. Whoever named the file is at fault.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// It cannot be read.
    #[error("cannot read the state {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no state.
    #[error("{} is not a state as `raisctl status --json` prints it: {source}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// It is too long.
    #[error("{} is longer than {STATE_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It is of another version.
    #[error("{} has version {version}, this program reads version {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

/// Reads a state in the form of `status --json`; `-` is the standard input.
///
/// # Errors
/// [`StateFileError`].
pub fn read_state(path: &Path) -> Result<View, StateFileError> {
    let failed = |source| StateFileError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let source: Box<dyn Read> = if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(failed)?) };
    source.take(STATE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > STATE_BYTES_MAX) {
        return Err(StateFileError::TooLong { path: path.to_owned() });
    }
    let view: View = serde_json::from_slice(&bytes).map_err(|source| StateFileError::Form { path: path.to_owned(), source })?;
    if view.version != VERSION {
        return Err(StateFileError::Version { path: path.to_owned(), version: view.version });
    }
    Ok(view)
}

/// The text for people. `view` is the state that was simulated on.
#[must_use]
pub fn render(view: &View, simulation: &Simulation, terminal: Terminal) -> String {
    let mut text = String::new();
    for (before, group) in view.groups.iter().zip(&simulation.groups) {
        if !text.is_empty() {
            text.push('\n');
        }
        let names = Names::of(before);
        let moves = match group.moves.len() {
            0 => "nothing would move".to_owned(),
            number => format!("{} would move", count(number, "address", "addresses")),
        };
        let mut clauses = vec![moves];
        if before.frozen {
            clauses.push(terminal.paint(Tone::Doubtful, "the group is frozen"));
        }
        clauses.push(match group.unserved.as_slice() {
            [] => terminal.paint(Tone::Good, "all served"),
            unserved => terminal.paint(Tone::Bad, &unserved_words(group.addresses.len(), unserved)),
        });
        text.push_str(&format!("{}: {}\n", printable(&group.name), clauses.join(", ")));
        let unserved = group.addresses.iter().filter(|address| group.unserved.contains(&address.address));
        for address in unserved.take(NAMED_MAX) {
            text.push_str(&format!("  - {} would be unserved: {}\n", address.address, printable(&address.reason)));
        }
        if group.moves.is_empty() {
            continue;
        }
        let mut table = terminal.table_of(&["ADDRESS", "FROM", "TO", "REASON"]);
        for one in &group.moves {
            let from = if one.from.is_empty() { "-".to_owned() } else { names.all(&one.from).join(", ") };
            let row = [one.address.to_string(), from, names.one(one.to), one.reason.to_string()];
            table.add_row(row.map(|cell| terminal.cell(Tone::Plain, cell)));
        }
        text.push('\n');
        text.push_str(&terminal.lines(&table));
    }
    text
}

fn unserved_words(all: usize, unserved: &[IpAddr]) -> String {
    format!("{} of {} would be unserved ({})", unserved.len(), count(all, "address", "addresses"), list(unserved, NAMED_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::simulate::{Assumptions, simulate};

    fn sample() -> View {
        serde_json::from_str(include_str!("../../tests/samples/status.json")).unwrap()
    }

    #[test]
    fn moves_are_named_with_hosts_and_reasons() {
        let view = sample();
        let assumptions = Assumptions { fail: vec!["web1".to_owned()], ..Assumptions::default() };
        let text = render(&view, &simulate(&view, &assumptions).unwrap(), Terminal::Pipe);
        assert!(text.starts_with("www: 1 address would move, all served\n"), "{text}");
        assert!(text.contains("192.0.2.11  web1  web4  assigned"), "{text}");
    }

    #[test]
    fn what_would_be_unserved_is_named() {
        let view = sample();
        let assumptions = Assumptions { fail: vec!["web1".to_owned(), "10.0.0.14".to_owned()], ..Assumptions::default() };
        let text = render(&view, &simulate(&view, &assumptions).unwrap(), Terminal::Pipe);
        let mut lines = text.lines();
        let first = "www: nothing would move, 3 of 4 addresses would be unserved (192.0.2.11, 192.0.2.13, 192.0.2.100)";
        assert_eq!(lines.next(), Some(first));
        let second = "  - 192.0.2.11 would be unserved: no host is ok, settled and not quiesced";
        assert_eq!((lines.next(), lines.count()), (Some(second), 2));
    }

    #[test]
    fn a_file_that_is_no_state_is_named_with_its_fault() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        for (content, words) in
            [("", "EOF"), ("{}", "missing field"), ("{\"version\": 2, \"host\": {\"id\": \"10.0.0.1\"}, \"groups\": []}", "version 2")]
        {
            std::fs::write(&path, content).unwrap();
            let text = read_state(&path).unwrap_err().to_string();
            assert!(text.contains(words) && text.contains("state.json"), "{text}");
        }
        assert!(matches!(read_state(&directory.path().join("absent")), Err(StateFileError::Read { .. })));
    }
}
