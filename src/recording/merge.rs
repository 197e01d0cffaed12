//! Recordings of several hosts as one story, ordered by their messages alone: a datagram is sent before it is heard.
//!
//! Owns the order. No two clocks are compared: hosts whose clocks are hours apart, or that have none at all, come out in the
//! same order. What is told next is what comes first in the time of the story: on each host that goes on as its own
//! monotonic clock does, and whoever hears is never before whoever spoke. Called by `operator/replay.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::frame::Opening;
use super::replay::{Recording, Replay, Step};
use super::segment::Entry;
use crate::node::event::{Event, GroupIndex};
use crate::types::host::BootId;
use crate::types::time::Time;

/// A start of a host in a group: its datagrams are numbered from 1.
type Voice = (BootId, String);

/// A goodbye has this number, whatever came before it.
const FAREWELL: u64 = u64::MAX;

/// The datagrams of a voice that are in the recordings.
#[derive(Clone, Copy, Debug)]
struct Range {
    first: u64,
    last: u64,
    farewell: bool,
}

/// One recording on its way.
#[derive(Debug)]
struct Source {
    replay: Replay,
    groups: BTreeMap<GroupIndex, String>,
    /// How far the story has come on this host.
    story: Duration,
    /// The host's own clock there; `None` where a start begins.
    at: Option<Time>,
    boot: Option<BootId>,
    is_over: bool,
}

/// One step of the story.
#[derive(Clone, Debug)]
pub struct Told {
    /// On which host: the place of its recording.
    pub host: usize,
    /// What happened.
    pub step: Step,
    /// It hears what nobody is recorded to have said before it although somebody should be: the recordings do not fit.
    pub unfounded: bool,
}

/// Tells the story.
#[derive(Debug)]
pub struct Merge {
    sources: Vec<Source>,
    /// What the recordings hold.
    held: BTreeMap<Voice, Range>,
    /// When in the story each voice has come to which number.
    said: BTreeMap<Voice, BTreeMap<u64, Duration>>,
}

impl Merge {
    /// Reads every recording once for what its host said.
    #[must_use]
    pub fn new(recordings: &[Recording]) -> Self {
        let mut held: BTreeMap<Voice, Range> = BTreeMap::new();
        for segment in recordings.iter().flat_map(Recording::segments) {
            let mut groups = segment.opening.groups.clone();
            for entry in segment.entries() {
                note_groups(&mut groups, &entry);
                for (voice, first, last) in sent(&entry, &groups) {
                    let range = held.entry(voice).or_insert(Range { first: u64::MAX, last: 0, farewell: false });
                    if first == FAREWELL {
                        range.farewell = true;
                    } else {
                        (range.first, range.last) = (range.first.min(first), range.last.max(last));
                    }
                }
            }
        }
        let source = |recording: &Recording| Source {
            replay: recording.replay(),
            groups: BTreeMap::new(),
            story: Duration::ZERO,
            at: None,
            boot: None,
            is_over: false,
        };
        Self { sources: recordings.iter().map(source).collect(), held, said: BTreeMap::new() }
    }

    /// When in the story something that is heard was said. `None`: it is in a recording and not told yet.
    fn said_at(&self, voice: &Voice, number: u64) -> Option<Duration> {
        let is_held = self.held.get(voice).is_some_and(|range| match number {
            FAREWELL => range.farewell,
            _ => (range.first..=range.last).contains(&number),
        });
        if !is_held {
            return Some(Duration::ZERO);
        }
        let (_, at) = self.said.get(voice)?.range(number..).find(|(last, _)| (**last == FAREWELL) == (number == FAREWELL))?;
        Some(*at)
    }

    /// When in the story a host's next step is; the second: if nothing of what it hears were missing.
    fn next_of(&mut self, host: usize) -> Option<(Option<Duration>, Duration)> {
        let source = self.sources.get_mut(host).filter(|source| !source.is_over)?;
        let (story, at) = (source.story, source.at);
        let Some(entry) = source.replay.peek() else { return Some((Some(story), story)) };
        let own = at.map_or(story, |at| story + entry.at.since(at));
        let heard: Vec<(GroupIndex, BootId, u64)> = entry.events.iter().filter_map(heard).collect();
        let voices: Vec<(Voice, u64)> = heard
            .into_iter()
            .filter_map(|(group, boot, number)| Some(((boot, self.sources.get(host)?.groups.get(&group)?.clone()), number)))
            .collect();
        let mut begin = Some(own);
        let mut least = own;
        for (voice, number) in voices {
            let said = self.said_at(&voice, number);
            least = least.max(said.unwrap_or_default());
            begin = begin.zip(said).map(|(begin, said)| begin.max(said));
        }
        Some((begin, least))
    }
}

impl Iterator for Merge {
    type Item = Told;

    fn next(&mut self) -> Option<Told> {
        let next: Vec<(usize, Option<Duration>, Duration)> =
            (0..self.sources.len()).filter_map(|host| self.next_of(host).map(|(begin, least)| (host, begin, least))).collect();
        let ready = next.iter().filter_map(|(host, begin, _)| Some((begin.as_ref().copied()?, *host))).min();
        let (story, host, unfounded) = match ready {
            Some((story, host)) => (story, host, false),
            None => {
                let (least, host) = next.iter().map(|(host, _, least)| (*least, *host)).min()?;
                (least, host, true)
            }
        };
        let source = self.sources.get_mut(host)?;
        let Some(step) = source.replay.next() else {
            source.is_over = true;
            return self.next();
        };
        match &step {
            Step::Opened { opening, .. } => source.open(opening),
            Step::Called(called) => {
                (source.story, source.at) = (story, Some(called.entry.at));
                note_groups(&mut source.groups, &called.entry);
                for (voice, _, last) in sent(&called.entry, &source.groups) {
                    self.said.entry(voice).or_default().insert(last, story);
                }
            }
            Step::Ended(_) => {}
        }
        Some(Told { host, step, unfounded })
    }
}

impl Source {
    fn open(&mut self, opening: &Opening) {
        self.groups.clone_from(&opening.groups);
        if self.boot.replace(opening.boot) != Some(opening.boot) {
            self.at = None;
        }
    }
}

/// Groups that begin while the daemon runs.
fn note_groups(groups: &mut BTreeMap<GroupIndex, String>, entry: &Entry) {
    for event in &entry.events {
        if let Event::Reloaded(reload) = event {
            let names = reload.policy.groups.iter().map(|group| group.name.clone());
            groups.extend(reload.places.iter().map(crate::node::event::GroupPlace::group).zip(names));
        }
    }
}

fn sent<'a>(entry: &'a Entry, groups: &'a BTreeMap<GroupIndex, String>) -> impl Iterator<Item = (Voice, u64, u64)> + 'a {
    entry.sent.iter().filter_map(|sent| Some(((sent.boot, groups.get(&sent.group)?.clone()), sent.first, sent.last)))
}

fn heard(event: &Event) -> Option<(GroupIndex, BootId, u64)> {
    if let Event::Heard(heard) = event { Some((heard.group, heard.sender.boot, heard.number)) } else { None }
}
