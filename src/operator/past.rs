//! `raisctl explain --at`: the recording of that time through the core, and then the same question.
//!
//! Owns nothing; reads files and needs no daemon, since at the time when one asks it may be dead. Called by `bin/raisctl.rs`.

use std::path::PathBuf;

use super::recordings::{ReadError, Recordings, read};
use super::when::local;
use super::words::printable;
use crate::node::event::Answer;
use crate::recording::Wall;
use crate::recording::replay::{Recording, Replay, Step};
use crate::types::explanation::Explanation;

/// A host calls its node at every heartbeat; silence for longer means that it was not recorded.
const SILENCE_MAX_US: i64 = 65_000_000;

/// Why the past cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// There is nothing to read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Each host knows its own things.
    #[error("{} holds recordings of several hosts ({}): name the directory of one of them with --recording", path.display(), hosts.join(", "))]
    Several {
        /// What was named.
        path: PathBuf,
        /// Whose recordings are there.
        hosts: Vec<String>,
    },
    /// The ring has forgotten it, or it never knew.
    #[error("{} is before the recordings of {host}, which begin at {}; a greater [recorder] size keeps more", local(*at), local(*begin))]
    Before {
        /// What was asked.
        at: Wall,
        /// What is there.
        begin: Wall,
        /// Whose.
        host: String,
    },
    /// The segment ends before the node has begun, or its core panics.
    #[error("nothing of {host} can be replayed at {}: `raisd replay` on its recording says why", local(*at))]
    Nothing {
        /// What was asked.
        at: Wall,
        /// Whose.
        host: String,
    },
    /// The core's own words.
    #[error("at {}: {why}", local(*at))]
    Refused {
        /// As of then.
        at: Wall,
        /// Why.
        why: String,
    },
}

impl PastError {
    /// Whether what was named cannot be read at all.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Read(_) | Self::Several { .. } => true,
            Self::Before { .. } | Self::Nothing { .. } | Self::Refused { .. } => false,
        }
    }
}

/// What a host would have said.
#[derive(Clone, PartialEq, Debug)]
pub struct Past {
    /// As it says it of the present.
    pub explanation: Explanation,
    /// `as of TIME`, and from where.
    pub heading: String,
    /// What is doubtful about it, for people.
    pub notes: Vec<String>,
}

/// Why an address or host was where it was or how it was, at this time, as the host whose recording `path` is saw it.
///
/// # Errors
/// [`PastError`].
pub fn explain(path: PathBuf, at: Wall, group: Option<&str>, subject: &str) -> Result<Past, PastError> {
    let Recordings { mut hosts, mut notes } = read(std::slice::from_ref(&path))?;
    if hosts.len() > 1 {
        return Err(PastError::Several { path, hosts: hosts.into_iter().map(|recording| recording.name).collect() });
    }
    let Some(recording) = hosts.pop() else { return Err(ReadError::Nothing { path, notes }.into()) };
    let host = printable(&recording.name).into_owned();
    let begin = recording.segments().first().map(|segment| segment.opening.wall);
    if let Some(begin) = begin.filter(|begin| at < *begin) {
        return Err(PastError::Before { at, begin, host });
    }
    let mut replay = recording.replay_from(at);
    let run = run(&mut replay, at);
    let Some(last) = run.last else { return Err(PastError::Nothing { at, host }) };
    let as_of = if run.has_ended && at.0.saturating_sub(last.0) > SILENCE_MAX_US {
        notes.push(format!(
            "nothing is recorded from {} to {}: the daemon of {host} did not run then, or was not recorded",
            local(last),
            next_opening(&recording, at).map_or_else(|| local(at), local)
        ));
        last
    } else {
        at
    };
    if run.differs > 0 {
        let calls = run.differs;
        notes.push(format!("this raisd decides {calls} of the calls before otherwise than it was decided then; `raisd replay` names them"));
    }
    match replay.explain(as_of, group, subject) {
        Some(Answer::Explained(explanation)) => {
            let heading = format!("as of {}, from the recording of {host}", local(as_of));
            Ok(Past { explanation: *explanation, heading, notes })
        }
        Some(Answer::Refused { why } | Answer::Done { message: why }) => Err(PastError::Refused { at: as_of, why }),
        Some(Answer::Status(_)) | None => Err(PastError::Nothing { at, host }),
    }
}

/// How far a replay has come.
struct Run {
    /// The last call.
    last: Option<Wall>,
    differs: u64,
    /// Its segment was at its end.
    has_ended: bool,
}

fn run(replay: &mut Replay, at: Wall) -> Run {
    let mut run = Run { last: None, differs: 0, has_ended: false };
    loop {
        if replay.peek().is_some_and(|entry| entry.wall > at) {
            return run;
        }
        match replay.next() {
            Some(Step::Opened { .. }) => {}
            Some(Step::Called(called)) => {
                run.last = Some(called.entry.wall);
                run.differs += u64::from(!called.verdict.agrees());
            }
            // What begins behind it begins after the time.
            Some(Step::Ended(_)) | None => {
                run.has_ended = true;
                return run;
            }
        }
    }
}

fn next_opening(recording: &Recording, at: Wall) -> Option<Wall> {
    recording.segments().iter().map(|segment| segment.opening.wall).find(|wall| *wall > at)
}
