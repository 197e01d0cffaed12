//! What a story and its twin are, and what a judge may find.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use raisd::demo::lab::Lab;

/// What a judge found wrong. A twin names the one that it expects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Finding {
    /// Strangers can have others flooded with more than they send themselves.
    Amplified,
    /// A client was answered by nobody for longer than it may be.
    Dark,
    /// More than one host had an address.
    Doubled,
    /// A host has what it must have given up.
    Kept,
    /// What the operator is shown is not so, or not said.
    Misreported,
    /// An address that the group must have forgotten is served again.
    Known,
    /// An address carries the daemon's mark and must not, or does not and must.
    Mark,
    /// An address went where nothing called it.
    Moved,
    /// A host sends more or less often than its group goes by.
    Pace,
    /// A script was not called as it must be.
    Script,
    /// The zone does not hold what it must.
    Zone,
    /// A host that must be heard sends nothing.
    Silent,
    /// A client's neighbour table leads to the wrong host.
    StaleNeighbour,
    /// No frame told where an address is.
    Unannounced,
    /// What had to be counted was not.
    Uncounted,
    /// A daemon ran that had to refuse, or did not say why in one line.
    Unrefused,
    /// Some hosts had more of the floating addresses than others by more than one.
    Uneven,
    /// Nobody had an address, or not the host that must have it.
    Unserved,
}

/// What is wrong, and the evidence.
#[derive(Debug)]
pub(crate) struct Verdict {
    finding: Finding,
    evidence: String,
}

impl Verdict {
    pub(crate) fn new(finding: Finding, evidence: impl Into<String>) -> Self {
        Self { finding, evidence: evidence.into() }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.finding, self.evidence)
    }
}

/// Why a story did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A judge reports it.
    Judged(Verdict),
    /// The story could not be told: no twin may end so.
    Broken(Box<dyn Error + Send + Sync>),
}

impl Failure {
    pub(crate) fn broken(text: impl Into<String>) -> Self {
        Self::Broken(text.into().into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Judged(verdict) => verdict.fmt(f),
            Self::Broken(error) => write!(f, "the story could not be told: {error}"),
        }
    }
}

impl From<Verdict> for Failure {
    fn from(verdict: Verdict) -> Self {
        Self::Judged(verdict)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Where one story keeps its files.
#[derive(Debug)]
pub(crate) struct Stage {
    name: String,
    private: PathBuf,
    logs: PathBuf,
}

impl Stage {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A directory that vanishes with the run: state, sockets, configurations.
    pub(crate) fn private(&self) -> &Path {
        &self.private
    }

    /// A directory that stays: `target/netns/STORY`.
    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }
}

/// Makes trials.
#[derive(Clone, Debug)]
pub(crate) struct Stories {
    lab: Arc<PathBuf>,
}

impl Stories {
    /// Stories whose private files are in `lab`.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn new(lab: &Lab) -> io::Result<Self> {
        Ok(Self { lab: Arc::new(lab.directory("netns")?) })
    }

    /// A story that must end well.
    pub(crate) fn story(&self, name: &str, tell: impl Fn(&Stage) -> Outcome + Send + 'static) -> Trial {
        let (stories, title) = (self.clone(), name.to_owned());
        Trial::test(name, move || twice_at_most(&title, || stories.tell(&title, &tell).map_err(|failure| failure.to_string())))
    }

    /// Its twin, with something switched off or broken: the same judge must report `expected`.
    pub(crate) fn twin(&self, name: &str, expected: Finding, tell: impl Fn(&Stage) -> Outcome + Send + 'static) -> Trial {
        let (stories, title) = (self.clone(), format!("{name}_twin"));
        let judged = move |title: &str| match stories.tell(title, &tell) {
            Err(Failure::Judged(verdict)) if verdict.finding == expected => Ok(()),
            Err(failure) => Err(format!("the judge must report {expected:?}, but: {failure}")),
            Ok(()) => Err(format!("the judge must report {expected:?}, but it is content")),
        };
        Trial::test(title.clone(), move || twice_at_most(&title, || judged(&title)))
    }

    fn tell(&self, title: &str, tell: &dyn Fn(&Stage) -> Outcome) -> Outcome {
        let logs = logs_of(title);
        if logs.exists() {
            fs::remove_dir_all(&logs)?;
        }
        fs::create_dir_all(&logs)?;
        let private = self.lab.join(title);
        if private.exists() {
            fs::remove_dir_all(&private)?;
        }
        fs::create_dir_all(&private)?;
        tell(&Stage { name: title.to_owned(), private, logs })
    }
}

/// Where the logs of a story stay. Cargo keeps CARGO_TARGET_TMPDIR in the target directory.
fn logs_of(title: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("netns").join(title)
}

/// Tells a story, and once more if it fails: bounds in milliseconds are judged, and the machine may be busy with something
/// else for as long. One that ends well only then is named on a line of its own, which `scripts/test` counts: it is a fault to be
/// mended, in the daemon or in the story, and its first failure says where.
fn twice_at_most(title: &str, tell: impl Fn() -> Result<(), String>) -> Result<(), Failed> {
    let Err(first) = tell() else { return Ok(()) };
    let kept = logs_of(&format!("{title}.first"));
    if kept.exists() {
        fs::remove_dir_all(&kept)?;
    }
    fs::rename(logs_of(title), &kept)?;
    match tell() {
        Ok(()) => {
            // The harness has begun a line.
            eprintln!("\nunsteady: {title}: failed at first, see {}: {first}", kept.display());
            Ok(())
        }
        Err(second) => Err(Failed::from(format!("{second}\nand the first time: {first}"))),
    }
}
