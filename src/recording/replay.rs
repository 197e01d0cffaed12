//! The same core over a recording: every list of actions again, and whether it is the one that was taken.
//!
//! Owns the node that is run. Never believes a recording: what makes the core panic is caught and named. Called by
//! `operator/replay.rs`, `operator/past.rs`, `merge.rs` and tests.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::frame::{Decision, Opening, Origin, Wall};
use super::segment::{Cut, Entries, Entry, Segment};
use crate::node::Node;
use crate::node::action::Action;
use crate::node::event::Answer;
use crate::types::host::HostId;
use crate::types::time::Time;

/// The segments of one host, in the order in which they were written.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Whose.
    pub host: HostId,
    /// What the host calls itself.
    pub name: String,
    segments: Vec<Segment>,
}

impl Recording {
    /// Sorts segments by host and order; one that comes twice is taken once.
    #[must_use]
    pub fn gather(segments: impl IntoIterator<Item = Segment>) -> Vec<Self> {
        let mut hosts: BTreeMap<HostId, Vec<Segment>> = BTreeMap::new();
        for segment in segments {
            hosts.entry(segment.opening.host).or_default().push(segment);
        }
        let recording = |(host, mut segments): (HostId, Vec<Segment>)| {
            let place = |segment: &Segment| (segment.opening.incarnation, segment.opening.boot, segment.opening.entry);
            segments.sort_by_key(place);
            segments.dedup_by_key(|segment| place(segment));
            let name = segments.last().map(|segment| segment.opening.name.clone()).unwrap_or_default();
            Self { host, name, segments }
        };
        hosts.into_iter().map(recording).collect()
    }

    /// Runs it.
    #[must_use]
    pub fn replay(&self) -> Replay {
        Replay { segments: self.segments.clone().into_iter(), run: None, before: None }
    }

    /// From the last segment on that begins at or before this time of the wall clock; from the first one if there is none.
    #[must_use]
    pub fn replay_from(&self, wall: Wall) -> Replay {
        let begun = self.segments.iter().rposition(|segment| segment.opening.wall <= wall).unwrap_or(0);
        let segments: Vec<Segment> = self.segments.iter().skip(begun).cloned().collect();
        Replay { segments: segments.into_iter(), run: None, before: None }
    }

    /// Its segments.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

/// One step of a replay.
#[derive(Clone, Debug)]
pub enum Step {
    /// A segment begins.
    Opened {
        /// With this.
        opening: Arc<Opening>,
        /// What is known of the time between the segment before and this one.
        continuity: Continuity,
    },
    /// The node was called.
    Called(Box<Called>),
    /// A segment ends; why, if it ends early.
    Ended(Option<Cut>),
}

/// How a segment goes on from the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Continuity {
    /// With nothing in between, and the node is what replaying came to.
    Exact,
    /// With nothing in between, but the node is not what replaying came to.
    Differs,
    /// So many calls were not recorded.
    Gap {
        /// How many.
        entries: u64,
    },
    /// Not at all: it is the first one, or of another start of the daemon.
    None,
}

/// One call of the node.
#[derive(Clone, Debug)]
pub struct Called {
    /// As it was recorded.
    pub entry: Entry,
    /// What the core says to it.
    pub actions: Vec<Action>,
    /// Whether that is what was done.
    pub verdict: Verdict,
}

/// Whether the core says what it said.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// Bit for bit.
    Same,
    /// The recording ends before it says what was done.
    Unrecorded,
    /// Something else.
    Differs {
        /// The place of the first action that differs.
        place: usize,
        /// What was done there, if anything.
        taken: Option<Decision>,
    },
    /// The core panics.
    Panicked(String),
    /// The core has panicked before, and there is no other node until the next segment.
    Skipped,
}

impl Verdict {
    /// Whether the core says, or may say, what it said.
    #[must_use]
    pub fn agrees(&self) -> bool {
        match self {
            Self::Same | Self::Unrecorded => true,
            Self::Differs { .. } | Self::Panicked(_) | Self::Skipped => false,
        }
    }
}

#[derive(Debug)]
struct Run {
    opening: Arc<Opening>,
    /// `None`: not begun, or it has panicked.
    node: Option<Node>,
    entries: Entries,
    peeked: Option<Entry>,
    is_begun: bool,
    /// The time of the last call.
    last: Time,
}

/// Replays the segments of one host.
#[derive(Debug)]
pub struct Replay {
    segments: std::vec::IntoIter<Segment>,
    run: Option<Run>,
    /// The segment that has ended.
    before: Option<Run>,
}

impl Iterator for Replay {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if let Some(run) = &mut self.run {
            if let Some(entry) = run.next_entry() {
                return Some(Step::Called(Box::new(run.call(entry))));
            }
            let cut = run.entries.cut().cloned();
            self.before = self.run.take();
            return Some(Step::Ended(cut));
        }
        let segment = self.segments.next()?;
        let (run, continuity) = Run::begin(&segment, self.before.take());
        let opening = Arc::clone(&run.opening);
        self.run = Some(run);
        Some(Step::Opened { opening, continuity })
    }
}

impl Replay {
    /// The entry of the next step, if that is one.
    pub fn peek(&mut self) -> Option<&Entry> {
        self.run.as_mut()?.peek()
    }

    /// Why an address or host is where it is or how it is, at this time of the wall clock, by the node as it is; the time of
    /// the last call if that is later. `None`: there is no node.
    #[must_use]
    pub fn explain(&self, wall: Wall, group: Option<&str>, subject: &str) -> Option<Answer> {
        let run = self.run.as_ref().or(self.before.as_ref())?;
        let node = run.node.as_ref()?;
        let ahead = i128::from(wall.0).saturating_sub(i128::from(run.entries.wall_at(run.last).0)).clamp(0, i128::from(u32::MAX));
        let ahead = std::time::Duration::from_micros(u64::try_from(ahead).unwrap_or(0));
        caught(|| node.explain(run.last.plus(ahead), group, subject.to_owned())).ok()
    }
}

impl Run {
    fn begin(segment: &Segment, before: Option<Self>) -> (Self, Continuity) {
        let opening = Arc::clone(&segment.opening);
        let node = match &opening.origin {
            Origin::Started { .. } => None,
            Origin::Running(node) => Some((**node).clone()),
        };
        let continuity = match (before, &node) {
            (Some(before), Some(node)) if before.opening.boot == opening.boot => {
                match opening.entry.checked_sub(before.entries.next_number()) {
                    Some(0) if before.entries.cut().is_none() => match &before.node {
                        Some(came_to) if postcard::to_stdvec(came_to).ok() == postcard::to_stdvec(node).ok() => Continuity::Exact,
                        Some(_) | None => Continuity::Differs,
                    },
                    entries => Continuity::Gap { entries: entries.unwrap_or(0) },
                }
            }
            (Some(_) | None, Some(_) | None) => Continuity::None,
        };
        let last = opening.at;
        (Self { opening, node, entries: segment.entries(), peeked: None, is_begun: false, last }, continuity)
    }

    fn peek(&mut self) -> Option<&Entry> {
        if self.peeked.is_none() {
            self.peeked = self.entries.next();
        }
        self.peeked.as_ref()
    }

    fn next_entry(&mut self) -> Option<Entry> {
        self.peek();
        self.peeked.take()
    }

    fn call(&mut self, entry: Entry) -> Called {
        self.last = entry.at;
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let said = match (&self.opening.origin, self.node.take()) {
            (Origin::Started { policy, start }, None) if is_first => Some(caught(|| Node::start(entry.at, policy, start.clone()))),
            (Origin::Started { .. } | Origin::Running(_), Some(mut node)) => {
                let events = entry.events.clone();
                Some(caught(move || {
                    let actions = node.handle_all(entry.at, events);
                    (node, actions)
                }))
            }
            (Origin::Started { .. } | Origin::Running(_), None) => None,
        };
        let (actions, verdict) = match said {
            Some(Ok((node, actions))) => {
                self.node = Some(node);
                let verdict = verdict(entry.decisions.as_deref(), &actions);
                (actions, verdict)
            }
            Some(Err(panicked)) => (Vec::new(), Verdict::Panicked(panicked)),
            None => (Vec::new(), Verdict::Skipped),
        };
        Called { entry, actions, verdict }
    }
}

fn verdict(taken: Option<&[Decision]>, actions: &[Action]) -> Verdict {
    let Some(taken) = taken else { return Verdict::Unrecorded };
    let is_same = |place: &usize| match (taken.get(*place), actions.get(*place)) {
        (Some(taken), Some(action)) => taken.is_of(action),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    match (0..taken.len().max(actions.len())).find(|place| !is_same(place)) {
        Some(place) => Verdict::Differs { place, taken: taken.get(place).cloned() },
        None => Verdict::Same,
    }
}

/// Runs the core; its panic, if it panics.
fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panicked| words(panicked.as_ref()))
}

fn words(panicked: &(dyn Any + Send)) -> String {
    let text = panicked.downcast_ref::<String>().map(String::as_str).or_else(|| panicked.downcast_ref::<&str>().copied());
    text.unwrap_or("without a word").to_owned()
}
