//! The list of mutants that no test catches, each with its reason: `tests/mutants/survivors.txt`.
//!
//! ```text
//! = src/node/turn.rs: 12 mutants, 11 caught
//! src/node/turn.rs Turn::next compare 1
//!     a < b  ->  a <= b
//!     equivalent: both sides are never equal
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// What stands where nobody has given a reason yet. It is none.
pub const NO_REASON: &str = "?";

/// The list, as it is on disk.
#[derive(Debug, Default)]
pub struct List {
    path: PathBuf,
    /// What stands before everything else.
    head: Vec<String>,
    /// Per file, how many mutants it had and how many of them were caught when it was last run as a whole.
    pub counts: BTreeMap<String, String>,
    /// By name: what it changes, and why no test catches it.
    pub entries: BTreeMap<String, Entry>,
}

/// One that is known to survive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The change in words.
    pub words: String,
    /// Why no test catches it.
    pub reason: String,
}

impl List {
    /// Reads it. An absent one is empty.
    ///
    /// # Errors
    /// It cannot be read, or is no such list.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            if path.exists() { fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))? } else { String::new() };
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let mut list = Self { path: path.to_owned(), ..Self::default() };
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let place = || format!("{}:{}", path.display(), index + 1);
            if line.starts_with('#') {
                list.head.push(line.to_owned());
            } else if let Some(count) = line.strip_prefix("= ") {
                let (file, count) = count.split_once(": ").with_context(|| format!("{}: FILE: COUNTS expected", place()))?;
                list.counts.insert(file.to_owned(), count.to_owned());
            } else if !line.is_empty() {
                let mut indented = || lines.next().and_then(|(_, line)| line.strip_prefix("    ")).map(str::to_owned);
                let (Some(words), Some(reason)) = (indented(), indented()) else {
                    bail!("{}: after the name of a mutant come two indented lines, its change and its reason", place());
                };
                list.entries.insert(line.to_owned(), Entry { words, reason });
            }
        }
        Ok(list)
    }

    /// Writes it, in the order of names.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self) -> Result<()> {
        fs::write(&self.path, self.text()).with_context(|| format!("writing {}", self.path.display()))
    }

    fn text(&self) -> String {
        let mut text: String = self.head.iter().map(|line| format!("{line}\n")).collect();
        for (file, count) in &self.counts {
            text.push_str(&format!("\n= {file}: {count}\n"));
            let of_file = |name: &str| name.split(' ').next() == Some(file.as_str());
            for (name, entry) in self.entries.iter().filter(|(name, _)| of_file(name)) {
                text.push_str(&format!("{name}\n    {}\n    {}\n", entry.words, entry.reason));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, List};

    #[test]
    fn what_is_written_is_read_again() {
        let text = "# Head.\n\n= a.rs: 2 mutants, 1 caught\na.rs f compare 1\n    a < b  ->  a <= b\n    equivalent: never equal\n";
        let list = List::parse("x".as_ref(), text).unwrap();
        let entry = Entry { words: "a < b  ->  a <= b".to_owned(), reason: "equivalent: never equal".to_owned() };
        assert_eq!(list.entries.get("a.rs f compare 1"), Some(&entry));
        assert_eq!(list.text(), text);
    }

    #[test]
    fn a_mutant_without_a_reason_is_refused() {
        assert!(List::parse("x".as_ref(), "a.rs f compare 1\n    a  ->  b\n").is_err());
    }
}
