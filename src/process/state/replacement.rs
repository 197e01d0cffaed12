//! Replacing a file so that a crash at any moment leaves either the old content or the whole of the new.
//!
//! Each step is a function of its own: the tests stop after every one of them. One writer per file: the lock on the
//! state directory keeps other daemons out, and all writes of one daemon come from one thread.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Ends the names of files that are not yet whole.
const UNFINISHED: &str = ".unfinished";

/// A file on its way to replace another.
#[derive(Debug)]
pub(super) struct Replacement {
    target: PathBuf,
    unfinished: PathBuf,
    file: File,
}

/// Whether a path is a replacement that a crash has left.
pub(super) fn is_unfinished(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(UNFINISHED.as_bytes())
}

impl Replacement {
    /// All steps. On failure the target is unchanged and nothing is left beside it, if the disk allows.
    pub(super) fn write(target: &Path, content: &[u8]) -> io::Result<()> {
        let mut replacement = Self::create(target)?;
        let written = replacement.fill(content).and_then(|()| replacement.sync()).and_then(|()| replacement.rename());
        if let Err(error) = written {
            // The file stands in nobody's way: the next write truncates it, the next start removes it.
            return match fs::remove_file(&replacement.unfinished) {
                Ok(()) => Err(error),
                Err(left) => {
                    Err(io::Error::new(error.kind(), format!("{error}; {} is left behind: {left}", replacement.unfinished.display())))
                }
            };
        }
        replacement.sync_directory()
    }

    /// Makes the file beside its target: a rename does not cross file systems.
    pub(super) fn create(target: &Path) -> io::Result<Self> {
        let mut unfinished = target.as_os_str().to_owned();
        unfinished.push(UNFINISHED);
        let unfinished = PathBuf::from(unfinished);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
        let file = file.map_err(|error| named("create", &unfinished, &error))?;
        Ok(Self { target: target.to_owned(), unfinished, file })
    }

    /// Puts the content in, perhaps not yet on disk.
    pub(super) fn fill(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content).map_err(|error| named("write", &self.unfinished, &error))
    }

    /// Waits until the content is on disk: a rename may get there before it.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all().map_err(|error| named("sync", &self.unfinished, &error))
    }

    /// From here on the target has the new content.
    pub(super) fn rename(&self) -> io::Result<()> {
        fs::rename(&self.unfinished, &self.target).map_err(|error| named("replace", &self.target, &error))
    }

    /// Waits until the rename is on disk.
    pub(super) fn sync_directory(&self) -> io::Result<()> {
        let directory = self.target.parent().unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| named("sync", directory, &error))
    }
}

fn named(operation: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {operation} {}: {error}", path.display()))
}
