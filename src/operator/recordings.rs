//! Recordings on disk: files and directories of them, read for `raisd replay`, `raisctl explain --at` and tests.
//!
//! Owns nothing; only reads. What cannot be read among others is named and left out. Never trusts a file: its size is bounded
//! before it is read, and its bytes are `recording.rs`'s affair.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::recording::replay::Recording;
use crate::recording::segment::{Segment, SegmentError};

/// A segment is a sixteenth of the ring, whose size is a number of some megabytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// All of them are held in memory.
const ALL_BYTES_MAX: u64 = 4 * FILE_BYTES_MAX;

/// A state directory, or one of several hosts with such, has no more below it.
const DEPTH_MAX: usize = 4;

/// The end of a segment's name.
const SUFFIX: &str = "rec";

/// Why there is nothing to replay. The caller named something else; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or directory cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file that was named is no segment.
    #[error("cannot replay {}: {source}", path.display())]
    Segment {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: SegmentError,
    },
    /// There is more than fits in memory.
    #[error("{} would be more than {} GiB with it: name fewer files", path.display(), ALL_BYTES_MAX >> 30)]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// None of the files is a segment that can be read.
    #[error("there is no recording in {}{}", path.display(), notes.first().map_or_else(|| ": a recording is files NUMBER.rec, as in /var/lib/raisd/recorder".to_owned(), |note| format!(" that can be read: {note}")))]
    Nothing {
        /// What was named.
        path: PathBuf,
        /// What was found there.
        notes: Vec<String>,
    },
}

/// What was read.
#[derive(Debug)]
pub struct Recordings {
    /// By host.
    pub hosts: Vec<Recording>,
    /// Files that were left out, and why, for people.
    pub notes: Vec<String>,
}

/// Reads files, and all segments in and below directories.
///
/// # Errors
/// [`ReadError`]: a file that was named itself has to be a segment, and there has to be one at all.
pub fn read(paths: &[PathBuf]) -> Result<Recordings, ReadError> {
    let (mut segments, mut notes, mut bytes) = (Vec::new(), Vec::new(), 0);
    for path in paths {
        let before = (segments.len(), notes.len());
        let is_directory = fs::metadata(path).map_err(io_error(path))?.is_dir();
        let files = if is_directory { files_below(path, DEPTH_MAX)? } else { vec![path.clone()] };
        for file in files {
            match read_segment(&file, &mut bytes) {
                Ok(segment) => segments.push(segment),
                Err(ReadError::Segment { path, source }) if is_directory => notes.push(format!("{}: {source}", path.display())),
                Err(error) => return Err(error),
            }
        }
        if segments.len() == before.0 {
            return Err(ReadError::Nothing { path: path.clone(), notes: notes.split_off(before.1) });
        }
    }
    Ok(Recordings { hosts: Recording::gather(segments), notes })
}

fn read_segment(path: &Path, all: &mut u64) -> Result<Segment, ReadError> {
    let file = File::open(path).map_err(io_error(path))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io_error(path))?;
    *all += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if bytes.len() as u64 > FILE_BYTES_MAX || *all > ALL_BYTES_MAX {
        return Err(ReadError::TooLarge { path: path.to_owned() });
    }
    Segment::parse(bytes).map_err(|source| ReadError::Segment { path: path.to_owned(), source })
}

/// In the order of their names. Links are not followed out of the directory.
fn files_below(directory: &Path, depth: usize) -> Result<Vec<PathBuf>, ReadError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_error(directory))? {
        let entry = entry.map_err(io_error(directory))?;
        let kind = entry.file_type().map_err(io_error(&entry.path()))?;
        let path = entry.path();
        if kind.is_dir() && depth > 1 {
            paths.extend(files_below(&path, depth - 1)?);
        } else if kind.is_file() && path.extension().is_some_and(|suffix| suffix == SUFFIX) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ReadError + use<> {
    let path = path.to_owned();
    move |source| ReadError::Io { path, source }
}
