//! A file that is there and fresh, or is not there.
//!
//! Looks at the file's own facts, never at its content. Called by `probe.rs`.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::TestProbe;
use super::blocking::Blocking;
use super::spec::FileWanted;

/// A test that looks at a file.
pub(crate) struct FileProbe {
    path: PathBuf,
    wanted: FileWanted,
    looking: Blocking<Found>,
}

/// What was found in a file's place.
enum Found {
    Absent,
    /// So long after it was written; zero if that lies in the future.
    Present {
        age: Duration,
    },
    Unreadable {
        why: String,
    },
}

impl FileProbe {
    pub(crate) fn new(path: PathBuf, wanted: FileWanted) -> Self {
        Self { path, wanted, looking: Blocking::default() }
    }
}

#[expect(clippy::disallowed_methods, reason = "a file's date is in wall-clock time, and compared here only")]
fn look(path: &PathBuf) -> Found {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    match modified {
        Ok(modified) => Found::Present { age: SystemTime::now().duration_since(modified).unwrap_or_default() },
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Found::Absent,
        Err(error) => Found::Unreadable { why: error.to_string() },
    }
}

#[async_trait]
impl TestProbe for FileProbe {
    async fn probe(&mut self) -> Result<(), String> {
        let path = self.path.clone();
        let shown = self.path.display();
        let found = self.looking.run(move || look(&path)).await.map_err(|why| format!("{shown} could not be looked at: {why}"))?;
        match (self.wanted, found) {
            (FileWanted::Absent, Found::Absent) | (FileWanted::Present { max_age: None }, Found::Present { .. }) => Ok(()),
            (FileWanted::Absent, Found::Present { .. }) => Err(format!("{shown} is there")),
            (FileWanted::Present { .. }, Found::Absent) => Err(format!("{shown} is not there")),
            (FileWanted::Present { max_age: Some(max_age) }, Found::Present { age }) if age <= max_age => Ok(()),
            (FileWanted::Present { max_age: Some(max_age) }, Found::Present { age }) => {
                Err(format!("{shown} was last written {}s ago, more than {max_age:?}", age.as_secs()))
            }
            (FileWanted::Absent | FileWanted::Present { .. }, Found::Unreadable { why }) => {
                Err(format!("{shown} could not be looked at: {why}"))
            }
        }
    }

    fn overdue(&self) -> String {
        format!("{} could not be looked at", self.path.display())
    }
}
