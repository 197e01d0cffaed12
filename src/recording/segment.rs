//! One segment: a file of a ring, from its prefix to wherever it ends.
//!
//! Owns the bytes and the reading of them, one entry at a time. A torn or damaged tail, as a killed daemon, a full disk or a
//! loss of power leave behind, ends the segment with a [`Cut`]; what stands before it holds. Called by `replay.rs`,
//! `merge.rs` and whoever loads files.

use std::sync::Arc;

use super::frame::{Decision, FORMAT, FRAME_HEAD, Frame, MAGIC, Opening, Sent, Wall, checksum, decoded};
use super::packing::{Unpacked, unpack};
use crate::node::event::Event;
use crate::types::time::Time;

/// Why a file is no segment that can be read. The file is at fault; nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SegmentError {
    /// Its first bytes are of something else.
    #[error("it is not a recording of raisd: a segment begins with \"raisdrec\"")]
    Foreign,
    /// It ends before its first entry.
    #[error(
        "it ends before its first entry, after {0} bytes: the daemon was killed or the disk was full when it was begun; nothing is lost with it"
    )]
    Empty(usize),
    /// Another version wrote it.
    #[error("raisd {software} wrote it in form {form}; this is raisd {own}, which reads form {FORMAT}: replay it with raisd {software}", own = env!("CARGO_PKG_VERSION"))]
    Version {
        /// The version that wrote it.
        software: String,
        /// Its form.
        form: u16,
    },
    /// Its opening does not say what it should.
    #[error(
        "its opening cannot be read ({why}): it is damaged, or of another build of raisd {software}; replay it with the program that wrote it"
    )]
    Opening {
        /// What is wrong.
        why: String,
        /// The version that wrote it.
        software: String,
    },
}

/// Where and why a segment ends early.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// So many bytes of frames can be read, unpacked.
    pub at: usize,
    /// So many cannot.
    pub left: usize,
    /// Whether that is what a sudden end leaves behind.
    pub kind: CutKind,
    /// Why.
    pub why: String,
}

/// Whether a segment that ends early does so as segments do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CutKind {
    /// The last frame is not whole.
    Torn,
    /// A frame is whole and wrong.
    Damaged,
}

/// One call of the node.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number in this start of the daemon.
    pub number: u64,
    /// The clock of the core.
    pub at: Time,
    /// The clock of people.
    pub wall: Wall,
    /// What the node was told.
    pub events: Vec<Event>,
    /// What it did; `None`: that was not recorded any more.
    pub decisions: Option<Vec<Decision>>,
    /// The datagrams that went out.
    pub sent: Vec<Sent>,
}

/// A segment whose prefix and opening could be read.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The version that wrote it.
    pub software: String,
    /// What it begins with.
    pub opening: Arc<Opening>,
    /// Its frames.
    frames: Arc<[u8]>,
    /// Why there are no more, if not because the file ends.
    fault: Option<Arc<str>>,
    /// Where the frames behind the opening begin.
    frames_at: usize,
}

impl Segment {
    /// Reads prefix and opening of a file.
    ///
    /// # Errors
    /// [`SegmentError`].
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self, SegmentError> {
        let (software, packed) = prefix_of(bytes.as_ref())?;
        Self::of(software, unpack(packed), bytes.as_ref().len())
    }

    /// The same of a prefix with frames behind it that are not packed: for whoever writes or alters single frames.
    ///
    /// # Errors
    /// [`SegmentError`].
    pub fn parse_unpacked(bytes: impl AsRef<[u8]>) -> Result<Self, SegmentError> {
        let (software, frames) = prefix_of(bytes.as_ref())?;
        Self::of(software, Unpacked { frames: frames.to_vec(), fault: None }, bytes.as_ref().len())
    }

    fn of(software: String, unpacked: Unpacked, bytes: usize) -> Result<Self, SegmentError> {
        let Unpacked { frames, fault } = unpacked;
        let mut at = 0;
        let failed = |why: String| SegmentError::Opening { why, software: software.clone() };
        let opening = match next_frame(&frames, &mut at) {
            Ok(Some(Frame::Opening(opening))) => *opening,
            Ok(Some(Frame::Happened { .. } | Frame::Decided { .. } | Frame::Sent { .. })) => {
                return Err(failed("it is missing".to_owned()));
            }
            Ok(None) => return Err(fault.map_or(SegmentError::Empty(bytes), failed)),
            Err(Cut { why, kind, .. }) => match (kind, fault) {
                (CutKind::Torn, None) => return Err(SegmentError::Empty(bytes)),
                (CutKind::Torn | CutKind::Damaged, fault) => return Err(failed(fault.unwrap_or(why))),
            },
        };
        Ok(Self { software, opening: Arc::new(opening), frames: frames.into(), fault: fault.map(Into::into), frames_at: at })
    }

    /// All its frames, unpacked: for whoever looks for something in them.
    #[must_use]
    pub fn frames(&self) -> &[u8] {
        &self.frames
    }

    /// Its entries, in order.
    #[must_use]
    pub fn entries(&self) -> Entries {
        let next = self.opening.entry;
        Entries {
            bytes: Arc::clone(&self.frames),
            fault: self.fault.clone(),
            at: self.frames_at,
            anchor: (self.opening.at, self.opening.wall),
            next,
            begun: None,
            state: State::Reads,
        }
    }
}

#[derive(Clone, Debug)]
enum State {
    Reads,
    Ended(Option<Cut>),
}

/// Reads entries one by one.
#[derive(Clone, Debug)]
pub struct Entries {
    bytes: Arc<[u8]>,
    fault: Option<Arc<str>>,
    at: usize,
    /// A time by both clocks.
    anchor: (Time, Wall),
    /// The number of the next entry.
    next: u64,
    /// The entry whose frames are being read.
    begun: Option<Entry>,
    state: State,
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if let State::Ended(_) = self.state {
                return self.begun.take();
            }
            let before = self.at;
            let taken = match next_frame(&self.bytes, &mut self.at) {
                Ok(Some(frame)) => self.take(frame),
                Ok(None) => {
                    let cut = |why: &Arc<str>| Cut { at: before, left: 0, kind: CutKind::Damaged, why: why.to_string() };
                    self.state = State::Ended(self.fault.as_ref().map(cut));
                    continue;
                }
                Err(mut cut) => {
                    if let Some(fault) = &self.fault {
                        (cut.kind, cut.why) = (CutKind::Damaged, fault.to_string());
                    }
                    self.state = State::Ended(Some(cut));
                    continue;
                }
            };
            match taken {
                Ok(Some(entry)) => return Some(entry),
                Ok(None) => {}
                Err(why) => {
                    let cut = Cut { at: before, left: self.bytes.len() - before, kind: CutKind::Damaged, why };
                    self.state = State::Ended(Some(cut));
                }
            }
        }
    }
}

impl Entries {
    /// Why the segment ends early, if it does; known when the last entry has been read.
    #[must_use]
    pub fn cut(&self) -> Option<&Cut> {
        match &self.state {
            State::Reads => None,
            State::Ended(cut) => cut.as_ref(),
        }
    }

    /// The number that an entry behind the last one would have.
    pub(super) fn next_number(&self) -> u64 {
        self.next
    }

    /// The time by both clocks that was recorded last.
    pub(super) fn wall_at(&self, at: Time) -> Wall {
        let (then, wall) = self.anchor;
        wall.shifted(signed(at) - signed(then))
    }

    /// Takes a frame in; returns the entry that it ends.
    fn take(&mut self, frame: Frame) -> Result<Option<Entry>, String> {
        match frame {
            Frame::Happened { entry, at, wall, events } => {
                if entry != self.next {
                    return Err(format!("entry {entry} stands where {} should be", self.next));
                }
                if at < self.anchor.0 || self.begun.as_ref().is_some_and(|begun| at < begun.at) {
                    return Err(format!("entry {entry} is before the one in front of it"));
                }
                let wall = match wall {
                    Some(wall) => {
                        self.anchor = (at, wall);
                        wall
                    }
                    None => self.wall_at(at),
                };
                self.next = entry.saturating_add(1);
                Ok(self.begun.replace(Entry { number: entry, at, wall, events, decisions: None, sent: Vec::new() }))
            }
            Frame::Decided { entry, decisions } => match &mut self.begun {
                Some(begun) if begun.number == entry && begun.decisions.is_none() => {
                    begun.decisions = Some(decisions);
                    Ok(None)
                }
                Some(_) | None => Err(format!("decisions of entry {entry} stand beside another")),
            },
            Frame::Sent { entry, sent } => match &mut self.begun {
                Some(begun) if begun.number == entry => {
                    begun.sent.extend(sent);
                    Ok(None)
                }
                Some(_) | None => Err(format!("datagrams of entry {entry} stand beside another")),
            },
            Frame::Opening(_) => Err("a second opening stands in it".to_owned()),
        }
    }
}

/// The version that wrote a file, and what stands behind the prefix.
fn prefix_of(bytes: &[u8]) -> Result<(String, &[u8]), SegmentError> {
    let empty = || SegmentError::Empty(bytes.len());
    let (magic, rest) = bytes.split_at_checked(MAGIC.len()).ok_or_else(empty)?;
    if magic != MAGIC {
        return Err(SegmentError::Foreign);
    }
    let ([low, high, length], rest) = rest.split_first_chunk::<3>().ok_or_else(empty)?;
    let (software, behind) = rest.split_at_checked(usize::from(*length)).ok_or_else(empty)?;
    let software = String::from_utf8_lossy(software).into_owned();
    let form = u16::from_le_bytes([*low, *high]);
    if form != FORMAT {
        return Err(SegmentError::Version { software, form });
    }
    Ok((software, behind))
}

fn signed(at: Time) -> i128 {
    i128::try_from(at.since_start().as_nanos()).unwrap_or(i128::MAX)
}

/// The frame at `at`, which moves behind it; `None` at the end.
fn next_frame(bytes: &[u8], at: &mut usize) -> Result<Option<Frame>, Cut> {
    let rest = bytes.get(*at..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(None);
    }
    let cut = |kind, why: &str| Cut { at: *at, left: rest.len(), kind, why: why.to_owned() };
    let torn = || cut(CutKind::Torn, "the last entry is torn: the daemon was killed, the power failed, or the disk was full");
    let (head, behind) = rest.split_at_checked(FRAME_HEAD).ok_or_else(torn)?;
    let (Some(length), Some(sum)) = (head.first_chunk::<4>(), head.last_chunk::<8>()) else { return Err(torn()) };
    // Bounded by what is there: nothing is allocated for a length that a file only claims.
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (body, _) = behind.split_at_checked(length).ok_or_else(torn)?;
    if checksum(body) != u64::from_le_bytes(*sum) {
        return Err(cut(CutKind::Damaged, "its checksum is wrong: the file is damaged here"));
    }
    let frame = decoded(body).map_err(|error| cut(CutKind::Damaged, &format!("an entry cannot be decoded: {error}")))?;
    *at += FRAME_HEAD + length;
    Ok(Some(frame))
}
