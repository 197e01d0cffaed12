//! One frame: length, checksum and bytes; what the bytes say.
//!
//! Owns the layout and [`FORMAT`]. Writers encode from references, so that nothing is copied on the way of a running daemon;
//! `Frame` and `FrameRef` are the same bytes. Called by `segment.rs` and by whoever records.

use std::collections::BTreeMap;
use std::hash::Hasher;

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use crate::node::action::Action;
use crate::node::event::{Event, GroupIndex};
use crate::node::{Node, Start};
use crate::types::fnv::Fnv;
use crate::types::host::{BootId, HostId, Incarnation};
use crate::types::policy::NodePolicy;
use crate::types::time::Time;

/// The form of everything behind the prefix. Counts with every change of a type that a recording holds: events, actions,
/// policies, and the node with all that is under it.
pub const FORMAT: u16 = 1;

/// The first bytes of a segment.
pub const MAGIC: [u8; 8] = *b"raisdrec";

/// Length and checksum before the bytes of a frame.
pub(super) const FRAME_HEAD: usize = 4 + 8;

/// A time of the wall clock, in microseconds since 1970. Only for people: nothing is ordered by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Wall(pub i64);

impl Wall {
    /// The time so many nanoseconds later or earlier.
    #[must_use]
    pub fn shifted(self, nanos: i128) -> Self {
        Self(i64::try_from(i128::from(self.0).saturating_add(nanos / 1000)).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
    }
}

/// What a segment begins with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Origin {
    /// The start of the daemon.
    Started {
        /// Its configuration, as far as the core knows it.
        policy: Box<NodePolicy>,
        /// What it found on disk and on its interfaces.
        start: Start,
    },
    /// The whole node before the first entry of the segment.
    Running(Box<Node>),
}

/// Where a segment begins, and who recorded it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Opening {
    /// The clock of the core.
    pub at: Time,
    /// The clock of people at that time.
    pub wall: Wall,
    /// Whose.
    pub host: HostId,
    /// What the host calls itself.
    pub name: String,
    /// Of this start of the daemon.
    pub boot: BootId,
    /// At this start of the daemon.
    pub incarnation: Incarnation,
    /// Names of the groups.
    pub groups: BTreeMap<GroupIndex, String>,
    /// The number of the first entry; counted from 0, the start itself, over the segments of one start.
    pub entry: u64,
    /// What the node was.
    pub origin: Origin,
}

/// Datagrams that went out for one [`Action::Send`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// To which group.
    pub group: GroupIndex,
    /// The boot that the numbers are counted in.
    pub boot: BootId,
    /// The number of the first datagram.
    pub first: u64,
    /// The number of the last one.
    pub last: u64,
}

/// One action that was taken.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Decision {
    /// As it was.
    Whole(Box<Action>),
    /// What is long and can be told from the events: a message, a zone, a state for the disk, an answer.
    Digest(u64),
}

/// What the bytes of a frame say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Frame {
    Opening(Box<Opening>),
    Happened {
        entry: u64,
        at: Time,
        /// If it is not what counting on from the time before makes it.
        wall: Option<Wall>,
        events: Vec<Event>,
    },
    Decided {
        entry: u64,
        decisions: Vec<Decision>,
    },
    Sent {
        entry: u64,
        sent: Vec<Sent>,
    },
}

/// The same bytes from references.
#[derive(Serialize)]
enum FrameRef<'a> {
    Opening(&'a Opening),
    Happened { entry: u64, at: Time, wall: Option<Wall>, events: &'a [Event] },
    Decided { entry: u64, decisions: &'a [DecisionRef<'a>] },
    Sent { entry: u64, sent: &'a [Sent] },
}

#[derive(Serialize)]
enum DecisionRef<'a> {
    Whole(&'a Action),
    Digest(u64),
}

/// Why something cannot be recorded. The program is at fault: a type has no length of its own.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode {what} for a recording: {source}")]
pub struct EncodeError {
    what: &'static str,
    source: postcard::Error,
}

/// The first bytes of a segment, which every version can read.
#[must_use]
pub fn prefix(software: &str) -> Vec<u8> {
    let software = software.get(..usize::from(u8::MAX)).unwrap_or(software);
    let length = u8::try_from(software.len()).unwrap_or(0);
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    bytes.push(length);
    bytes.extend(software.as_bytes().iter().take(usize::from(length)));
    bytes
}

/// A frame with an opening.
///
/// # Errors
/// [`EncodeError`].
pub fn frame_of_opening(opening: &Opening) -> Result<Vec<u8>, EncodeError> {
    encoded(&FrameRef::Opening(opening), "an opening")
}

/// A frame with what the node is about to be told. `wall`: if it is not what counting on makes it.
///
/// # Errors
/// [`EncodeError`].
pub(super) fn frame_of_happened(entry: u64, at: Time, wall: Option<Wall>, events: &[Event]) -> Result<Vec<u8>, EncodeError> {
    encoded(&FrameRef::Happened { entry, at, wall, events }, "events")
}

/// A frame with everything that the node has said, in order.
///
/// # Errors
/// [`EncodeError`].
pub(super) fn frame_of_decided(entry: u64, actions: &[Action]) -> Result<Vec<u8>, EncodeError> {
    let decision = |action| Ok(if is_whole(action) { DecisionRef::Whole(action) } else { DecisionRef::Digest(digest(action)?) });
    let decisions = actions.iter().map(decision).collect::<Result<Vec<_>, EncodeError>>()?;
    encoded(&FrameRef::Decided { entry, decisions: &decisions }, "actions")
}

/// A frame with the numbers of the datagrams that went out.
///
/// # Errors
/// [`EncodeError`].
pub(super) fn frame_of_sent(entry: u64, sent: &[Sent]) -> Result<Vec<u8>, EncodeError> {
    encoded(&FrameRef::Sent { entry, sent }, "numbers of datagrams")
}

impl Decision {
    /// Whether this is what was taken, bit for bit.
    pub(super) fn is_of(&self, action: &Action) -> bool {
        match self {
            // By its bytes: what is recorded is all that counts.
            Self::Whole(taken) => postcard::to_stdvec(taken).ok() == postcard::to_stdvec(action).ok(),
            Self::Digest(taken) => digest(action).is_ok_and(|digest| digest == *taken),
        }
    }
}

/// Whether an action is recorded as it is. The others would be most of a recording and say nothing that the events do not.
fn is_whole(action: &Action) -> bool {
    match action {
        Action::AddAddress { .. }
        | Action::RemoveAddress { .. }
        | Action::Announce { .. }
        | Action::RunScript { .. }
        | Action::StoreIncarnation { .. }
        | Action::Report { .. }
        | Action::EndGroup { .. }
        | Action::Exit { .. } => true,
        Action::Send { .. } | Action::PublishZone { .. } | Action::StoreGroup { .. } | Action::Reply { .. } => false,
    }
}

/// Takes bytes into a hash instead of keeping them.
struct Hashing(Fnv);

impl Flavor for Hashing {
    type Output = u64;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.write(&[byte]);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.write(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<u64> {
        Ok(self.0.finish())
    }
}

fn digest(action: &Action) -> Result<u64, EncodeError> {
    let hashed = postcard::serialize_with_flavor(action, Hashing(Fnv::default()));
    hashed.map_err(|source| EncodeError { what: "an action", source })
}

/// What stands before the bytes of a frame: tells what was torn or changed by accident, and no more than that.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    let mut hash = Fnv::default();
    hash.write(bytes);
    hash.finish()
}

fn encoded(frame: &FrameRef<'_>, what: &'static str) -> Result<Vec<u8>, EncodeError> {
    let failed = |source| EncodeError { what, source };
    let mut bytes = postcard::to_extend(frame, vec![0; FRAME_HEAD]).map_err(failed)?;
    let (head, body) = bytes.split_at_mut(FRAME_HEAD);
    let length = u32::try_from(body.len()).map_err(|_| failed(postcard::Error::SerializeBufferFull))?;
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..].copy_from_slice(&checksum(body).to_le_bytes());
    Ok(bytes)
}

pub(super) fn decoded(bytes: &[u8]) -> postcard::Result<Frame> {
    postcard::from_bytes(bytes)
}
