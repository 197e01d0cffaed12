//! The thread of the flight recorder: segments on disk, and their bounds.
//!
//! Owns the directory and the open segment. A segment takes a sixteenth of the size, or twice what its opening takes; when the
//! next one begins, the oldest ones make room. Trouble is told once when it begins and once when it ends. Called by
//! `recorder.rs`.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::Shared;
use crate::recording::frame::{frame_of_opening, prefix};
use crate::recording::packing::{PackError, Packer};
use crate::recording::{EncodeError, Opening};

/// Few enough that a directory can be looked through, so many that forgetting one of them forgets little.
pub(super) const SEGMENTS: u64 = 16;

/// A disk that takes nothing is tried again after so long.
const RETRY: Duration = Duration::from_secs(30);

/// So many bytes are written in one go at most, unless one frame is longer.
const WRITE_BYTES: usize = 256 * 1024;

/// The end of a segment's name.
const SUFFIX: &str = ".rec";

/// What the loop has the thread do.
#[derive(Debug)]
pub(super) enum Order {
    /// Begin a segment.
    Open(Box<Opening>),
    Resize(u64),
    /// Add a frame.
    Write(Vec<u8>),
}

/// Why nothing is recorded.
#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error("{operation} {}: {source}; free some space there, or make it writable", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("the whole state of this host takes {opening} bytes, and [recorder] size = {size} bytes has no room for a few of them; give it {} MiB", 8 * opening / (1024 * 1024) + 1)]
    TooSmall { opening: u64, size: u64 },
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Pack(#[from] PackError),
}

/// A segment that is being written.
#[derive(Debug)]
struct Open {
    number: u64,
    path: PathBuf,
    file: File,
    packer: Packer,
    bytes: u64,
    /// With so many it is full.
    full: u64,
    /// The loop has been asked for the next one.
    is_next_wanted: bool,
}

/// What became of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Appended {
    Fits,
    /// They are in, and it is time for the next segment.
    Fills,
    /// They are not in.
    IsTooMuch,
}

impl Open {
    fn append(&mut self, frames: &[u8]) -> Result<Appended, RecordError> {
        let packed = self.packer.pack(frames)?;
        let bytes = self.bytes + length(packed.len());
        if bytes > 2 * self.full {
            return Ok(Appended::IsTooMuch);
        }
        // Some of it may be there, whatever comes of it.
        self.bytes = bytes;
        self.file.write_all(&packed).map_err(io_error("cannot write", &self.path))?;
        let is_told = bytes < self.full || std::mem::replace(&mut self.is_next_wanted, true);
        Ok(if is_told { Appended::Fits } else { Appended::Fills })
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    directory: PathBuf,
    size: u64,
    shared: Arc<Shared>,
    /// Segments that are complete, by number, with their bytes.
    complete: BTreeMap<u64, u64>,
    open: Option<Open>,
    /// Why nothing is recorded has been told.
    is_failing: bool,
    /// Frames that were left out since.
    left_out: u64,
}

impl Writer {
    pub(super) fn new(directory: &Path, size: u64, shared: Arc<Shared>) -> Self {
        Self { directory: directory.to_owned(), size, shared, complete: BTreeMap::new(), open: None, is_failing: false, left_out: 0 }
    }

    /// Until the loop has ended and everything is written.
    pub(super) fn run(mut self, queue: &Receiver<Order>) {
        self.take_stock();
        let mut waiting = Vec::new();
        loop {
            let order = if self.is_failing { queue.recv_timeout(RETRY) } else { queue.recv().map_err(|_| RecvTimeoutError::Disconnected) };
            match order {
                Ok(order) => self.take_all(order, queue, &mut waiting),
                Err(RecvTimeoutError::Timeout) => self.shared.wants_opening.store(true, Ordering::Relaxed),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Takes an order and those that are there already, with as few writes as possible.
    fn take_all(&mut self, first: Order, queue: &Receiver<Order>, waiting: &mut Vec<u8>) {
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Write(frame) => {
                    self.shared.queued.fetch_sub(frame.len(), Ordering::Relaxed);
                    match &self.open {
                        Some(_) => waiting.extend_from_slice(&frame),
                        None => self.left_out += 1,
                    }
                }
                Order::Open(opening) => {
                    self.write(waiting);
                    self.begin(&opening);
                }
                Order::Resize(size) => {
                    self.write(waiting);
                    self.resize(size);
                }
            }
            next = if waiting.len() < WRITE_BYTES { queue.try_recv().ok() } else { None };
        }
        self.write(waiting);
    }

    /// What earlier runs have left is kept as long as there is room.
    fn take_stock(&mut self) {
        if self.size == 0 {
            return;
        }
        match stock(&self.directory) {
            Ok(found) => self.complete = found,
            Err(error) => self.fail(&error),
        }
        if let Err(error) = self.make_room(0) {
            self.fail(&error);
        }
    }

    fn begin(&mut self, opening: &Opening) {
        self.close();
        match self.create(opening) {
            Ok(open) => {
                self.open = Some(open);
                if std::mem::take(&mut self.is_failing) {
                    let left_out = std::mem::take(&mut self.left_out);
                    tracing::info!("the flight recorder records again in {}; {left_out} frames are missing", self.directory.display());
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    fn create(&mut self, opening: &Opening) -> Result<Open, RecordError> {
        let mut head = prefix(env!("CARGO_PKG_VERSION"));
        let mut packer = Packer::default();
        head.extend(packer.pack(&frame_of_opening(opening)?)?);
        let bytes = length(head.len());
        let full = (self.size / SEGMENTS).max(2 * bytes);
        if full > self.size / 4 {
            return Err(RecordError::TooSmall { opening: bytes, size: self.size });
        }
        // A segment goes on past its end until the loop has brought the next opening; no further than this.
        self.make_room(2 * full)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(io_error("cannot create", &self.directory))?;
        let number = self.complete.last_key_value().map_or(1, |(number, _)| number + 1);
        let path = path(&self.directory, number);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(io_error("cannot create", &path))?;
        // From here on it counts, however much of it there will be.
        self.complete.insert(number, bytes);
        file.write_all(&head).map_err(io_error("cannot write", &path))?;
        self.complete.remove(&number);
        Ok(Open { number, path, file, packer, bytes, full, is_next_wanted: false })
    }

    fn write(&mut self, waiting: &mut Vec<u8>) {
        let Some(open) = self.open.as_mut().filter(|_| !waiting.is_empty()) else {
            waiting.clear();
            return;
        };
        let written = open.append(waiting);
        waiting.clear();
        match written {
            Ok(Appended::Fits) => {}
            Ok(Appended::Fills) => self.shared.wants_opening.store(true, Ordering::Relaxed),
            // The loop does not come: what it does next begins with an opening.
            Ok(Appended::IsTooMuch) => self.close(),
            Err(error) => {
                self.close();
                self.fail(&error);
            }
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.complete.insert(open.number, open.bytes);
        }
    }

    fn resize(&mut self, size: u64) {
        self.close();
        self.size = size;
        if size == 0 {
            // What was recorded stays until it is in the way again: switching it off must not destroy what is to be looked at.
            return;
        }
        self.take_stock();
    }

    /// Takes the oldest segments away until so many bytes are free.
    fn make_room(&mut self, wanted: u64) -> Result<(), RecordError> {
        while self.complete.values().sum::<u64>() + wanted > self.size {
            let Some((number, _)) = self.complete.pop_first() else { return Ok(()) };
            let path = path(&self.directory, number);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(RecordError::Io { operation: "cannot remove", path, source });
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn fail(&mut self, error: &RecordError) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(
                "the flight recorder records nothing for the time being, nothing else is affected: {error}; tried again every {RETRY:?}"
            );
        }
    }
}

/// The segments there are, by number, with their bytes.
fn stock(directory: &Path) -> Result<BTreeMap<u64, u64>, RecordError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(io_error("cannot read", directory)(error)),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(io_error("cannot read", directory))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|number| number.parse::<u64>().ok());
        // Other files are none of ours.
        let Some(number) = number.filter(|number| path(directory, *number) == entry.path()) else { continue };
        let bytes = entry.metadata().map_err(io_error("cannot read", &entry.path()))?.len();
        found.insert(number, bytes);
    }
    Ok(found)
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:012}{SUFFIX}"))
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordError + use<> {
    let path = path.to_owned();
    move |source| RecordError::Io { operation, path, source }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
