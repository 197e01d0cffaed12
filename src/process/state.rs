//! What survives a restart, on disk: this host's start count and what each group keeps.
//!
//! ```text
//!   STATE_DIR/lock               held (flock) as long as the daemon lives; names its process
//!   STATE_DIR/host.json          {"version": 1, "incarnation": 7}
//!   STATE_DIR/groups/NAME.json   {"version": 1, "group": NAME, "written_at_ms": .., "state": ..}
//! ```
//!
//! Owns the directory. Never decides what is stored, and never fails a start: what cannot be read is set aside and named
//! in a [`Note`]. The daemon loads from it directly and stores through [`StateWriter`], because a
//! disk may take seconds. The wall clock is read here only, to tell how long the pool was down.

mod document;
mod replacement;
mod writer;

pub use writer::{StateWriter, Write};

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use self::document::{GroupDocument, HostDocument};
use self::replacement::Replacement;
use crate::node::action::StoredGroup;
use crate::types::host::Incarnation;

/// A database of 100,000 addresses has some 30 MB; a file beyond this limit is none of ours.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Enough to see what went wrong over a few starts, too few to fill a disk.
const CORRUPT_FILES_MAX: usize = 3;

/// The state directory of one daemon. Clones share the lock, which is held until the last of them is dropped.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Released by the kernel at the latest when the process ends, however it ends.
    _lock: Arc<Flock<File>>,
}

/// Why the daemon cannot use the state directory. The operator is at fault; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory, or a file in it, cannot be made or opened.
    #[error("cannot {operation} {path}: host.state_dir must be a directory that the daemon may write to")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another daemon runs with the same directory.
    #[error("{path} is in use by {holder}: stop that daemon, or give this one another host.state_dir")]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who uses it.
        holder: String,
    },
}

/// Something about the stored state that the operator should read: a warning for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note(String);

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was stored, as of now.
#[derive(Clone, PartialEq, Debug)]
#[must_use = "its notes tell the operator what was lost"]
pub struct Loaded<T> {
    /// The state; the default where there was none or it could not be read.
    pub state: T,
    /// What went wrong.
    pub notes: Vec<Note>,
}

impl<T> Loaded<T> {
    /// The state; the notes go to the log as warnings.
    pub fn log(self) -> T {
        for note in self.notes {
            tracing::warn!("{note}");
        }
        self.state
    }
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it has {0} bytes, more than any state of this daemon")]
    TooLarge(u64),
    #[error("it cannot be read ({0})")]
    Read(io::Error),
    #[error("it is damaged ({0})")]
    Damaged(serde_json::Error),
    #[error("it has version {0}, this daemon reads version {version}", version = document::VERSION)]
    Version(u64),
    #[error("it belongs to group {0:?}")]
    ForeignGroup(String),
}

impl StateDir {
    /// Opens the directory, making it if needed, and locks it against other daemons.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |operation: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| StateError::Io { operation, path, source }
        };
        let groups = path.join("groups");
        // Group names, addresses and reasons are nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(&groups).map_err(failed("create", &groups))?;
        let lock_path = path.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&lock_path).map_err(failed("open", &lock_path))?;
        let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(file, errno)| {
            if errno == Errno::EWOULDBLOCK {
                StateError::InUse { path: path.to_owned(), holder: holder_of(file) }
            } else {
                failed("lock", &lock_path)(errno.into())
            }
        })?;
        lock.set_len(0).map_err(failed("write", &lock_path))?;
        writeln!(lock, "{}", std::process::id()).map_err(failed("write", &lock_path))?;
        let state = Self { path: path.to_owned(), _lock: Arc::new(lock) };
        state.remove_unfinished().map_err(failed("clean up", path))?;
        Ok(state)
    }

    /// The start count of this start: one more than the last, stored before it is returned.
    ///
    /// If it cannot be stored the daemon runs all the same: the others remember the count and correct it.
    pub fn next_incarnation(&self) -> Loaded<Incarnation> {
        let Loaded { state, mut notes } = self.load_incarnation();
        let next = Incarnation(state.0.saturating_add(1));
        if let Err(error) = self.store_incarnation(next) {
            notes.push(Note(format!("start count {next} is not stored: {error}; until it is, the other hosts must remember it")));
        }
        Loaded { state: next, notes }
    }

    /// The start count last stored; zero where there is none.
    pub fn load_incarnation(&self) -> Loaded<Incarnation> {
        let lost = "the start count is lost; the other hosts of each group know it, and this host goes on above theirs";
        let loaded = self.load(&self.host_file(), lost, document::parse::<HostDocument>);
        Loaded { state: loaded.state.map_or(Incarnation(0), |host| host.incarnation), notes: loaded.notes }
    }

    /// What a group kept, its ages grown by the time since it was written.
    pub fn load_group(&self, name: &str) -> Loaded<StoredGroup> {
        let lost = format!(
            "what this host knew of group {name} is lost: the database is learnt from the other hosts, a quiesced host is active again"
        );
        let loaded = self.load(&self.group_file(name), &lost, |bytes| {
            let group: GroupDocument = document::parse(bytes)?;
            if group.group == name { Ok(group) } else { Err(Unusable::ForeignGroup(group.group)) }
        });
        let now_ms = wall_clock_ms();
        let state = loaded.state.map(|group| group.aged(now_ms)).unwrap_or_default();
        Loaded { state, notes: loaded.notes }
    }

    /// Stores the start count. Returns when it is on disk.
    ///
    /// # Errors
    /// The operation and the file; what was stored before is unchanged.
    pub fn store_incarnation(&self, incarnation: Incarnation) -> io::Result<()> {
        Replacement::write(&self.host_file(), &HostDocument::of(incarnation).to_bytes()?)
    }

    /// Stores what a group keeps. Returns when it is on disk.
    ///
    /// # Errors
    /// The operation and the file; what was stored before is unchanged.
    pub fn store_group(&self, name: &str, state: StoredGroup) -> io::Result<()> {
        self.write_group(&GroupDocument::of(name, state, wall_clock_ms()))
    }

    fn write_group(&self, document: &GroupDocument) -> io::Result<()> {
        Replacement::write(&self.group_file(&document.group), &document.to_bytes()?)
    }

    fn host_file(&self) -> PathBuf {
        self.path.join("host.json")
    }

    fn group_file(&self, name: &str) -> PathBuf {
        self.path.join("groups").join(format!("{}.json", file_safe(name)))
    }

    /// Takes away what a crash in the middle of a write left.
    fn remove_unfinished(&self) -> io::Result<()> {
        for directory in [self.path.clone(), self.path.join("groups")] {
            for entry in fs::read_dir(directory)? {
                let path = entry?.path();
                if replacement::is_unfinished(&path) {
                    fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }

    fn load<T>(&self, path: &Path, lost: &str, parse: impl Fn(&[u8]) -> Result<T, Unusable>) -> Loaded<Option<T>> {
        match read_bounded(path).and_then(|bytes| bytes.map(|bytes| parse(&bytes)).transpose()) {
            Ok(state) => Loaded { state, notes: Vec::new() },
            Err(fault) => {
                let aside = match set_aside(path) {
                    Ok(aside) => format!("set aside as {}", aside.display()),
                    Err(error) => format!("it could not be set aside either ({error})"),
                };
                Loaded { state: None, notes: vec![Note(format!("state file {}: {fault}; {aside}; {lost}", path.display()))] }
            }
        }
    }
}

/// The process in a lock file, as far as it says.
fn holder_of(file: File) -> String {
    let mut text = String::new();
    // Twenty digits are the longest number; the file may be anybody's.
    match file.take(20).read_to_string(&mut text) {
        Ok(_) if text.trim().parse::<u32>().is_ok() => format!("process {}", text.trim()),
        Ok(_) | Err(_) => String::from("another process"),
    }
}

fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>, Unusable> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Unusable::Read(error)),
    };
    let length = file.metadata().map_err(Unusable::Read)?.len();
    if length > FILE_BYTES_MAX {
        return Err(Unusable::TooLarge(length));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(Unusable::Read)?;
    Ok(Some(bytes))
}

/// Renames a file to `NAME.corrupt-1`; older ones move up, the oldest goes.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = |number: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".corrupt-{number}"));
        PathBuf::from(name)
    };
    for number in (1..CORRUPT_FILES_MAX).rev() {
        match fs::rename(aside(number), aside(number + 1)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    fs::rename(path, aside(1))?;
    Ok(aside(1))
}

/// A group's name as a file name: validated names stand for themselves, anything else is written in hexadecimal.
fn file_safe(name: &str) -> String {
    let mut safe = String::new();
    for (index, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || (byte == b'.' && index > 0);
        match char::from(byte) {
            character if plain => safe.push(character),
            _ => safe.push_str(&format!("%{byte:02x}")),
        }
    }
    safe
}

/// Milliseconds since 1970; before it, zero.
fn wall_clock_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the time for which the pool was down is known from nothing else; it never travels")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
