//! The events of this start of the daemon, in memory: a ring that the loop writes and callers of the API read.
//!
//! [`ring`] makes both ends. The loop records and never waits for a reader; a reader has a place in the row of numbers and
//! nothing else, so that a caller who does not read costs no memory: whatever the ring has overwritten meanwhile is told as
//! one line of kind *missed* with the count. Reading ends with the writer, after the last event. What has to outlast the
//! process belongs to a recorder on disk, which would be a second reader of this ring.
//!
//! - **Depth**: [`EVENTS_MAX`] events, each with a detail of at most [`DETAIL_BYTES_MAX`]: about ten megabytes at worst.
//! - **Full**: the oldest event goes.
//! - **Cancellation**: a reader that is dropped leaves nothing.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::types::host::HostId;
use crate::types::item::Reason;
use crate::types::recorded::{Kind, RECORDED_VERSION, Recorded};

/// Events that are kept: a pool of a thousand addresses makes about three thousand when its leader takes over from a dead host.
pub const EVENTS_MAX: usize = 8192;

/// The longest detail; a longer one is cut.
pub const DETAIL_BYTES_MAX: usize = 1024;

/// So many events are taken at a time: the lock is held for a moment only.
const BATCH_MAX: usize = 64;

/// One event, for the ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewEvent {
    /// What happened.
    pub kind: Kind,
    /// In which group, if in one.
    pub group: Option<String>,
    /// About which service address.
    pub address: Option<IpAddr>,
    /// About which host.
    pub host: Option<HostId>,
    /// Its name.
    pub name: Option<String>,
    /// Why.
    pub reason: Option<Reason>,
    /// Under which epoch.
    pub epoch: Option<u64>,
    /// For people.
    pub detail: String,
}

/// When something happened, by both clocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// By the monotonic clock.
    pub at: Instant,
    /// By the wall clock, RFC 3339 in UTC.
    pub wall: String,
}

#[derive(Debug)]
struct Kept {
    moment: Moment,
    event: NewEvent,
}

#[derive(Debug)]
struct Ring {
    /// The number of the oldest event that is kept; the first of all is 1.
    first: u64,
    kept: VecDeque<Kept>,
    capacity: usize,
    /// The groups that this start of the daemon has had.
    groups: BTreeSet<String>,
}

impl Ring {
    fn next(&self) -> u64 {
        self.number(self.kept.len())
    }

    /// The number of the event at this place.
    fn number(&self, at: usize) -> u64 {
        self.first.saturating_add(u64::try_from(at).unwrap_or(u64::MAX))
    }

    /// The number of the first event that is not older than `since`. If that is the oldest that is kept, younger ones may have
    /// been overwritten: then it is the first of all.
    fn first_within(&self, now: Instant, since: Duration) -> u64 {
        let is_young = |kept: &Kept| now.saturating_duration_since(kept.moment.at) <= since;
        match self.kept.iter().position(is_young) {
            Some(0) => 1,
            Some(at) => self.number(at),
            None => self.next(),
        }
    }

    /// The number of the first of the last so many events of a group.
    fn first_of_last(&self, count: usize, group: Option<&str>) -> u64 {
        let of_group = self.kept.iter().enumerate().rev().filter(|(_, kept)| is_of(&kept.event, group));
        of_group.take(count).last().map_or(self.next(), |(at, _)| self.number(at))
    }
}

/// Makes the two ends of a ring of `capacity` events, for this start of the daemon. `clock` tells the time by
/// which ages are counted.
#[must_use]
pub fn ring(capacity: usize, boot: String, clock: fn() -> Instant) -> (EventWriter, EventReader) {
    let ring = Arc::new(Mutex::new(Ring { first: 1, kept: VecDeque::new(), capacity: capacity.max(1), groups: BTreeSet::new() }));
    let (told, newest) = watch::channel(());
    (EventWriter { ring: Arc::clone(&ring), told }, EventReader { ring, newest, boot: boot.into(), clock })
}

/// The loop's end. Dropping it ends every reader.
#[derive(Debug)]
pub struct EventWriter {
    ring: Arc<Mutex<Ring>>,
    told: watch::Sender<()>,
}

impl EventWriter {
    /// There is a group of this name: whoever asks for its events is told them.
    pub fn add_group(&self, name: &str) {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).groups.insert(name.to_owned());
    }

    /// Records what happened at one moment.
    pub fn record(&self, moment: &Moment, events: impl IntoIterator<Item = NewEvent>) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        for mut event in events {
            cut(&mut event.detail);
            if ring.kept.len() >= ring.capacity {
                ring.kept.pop_front();
                ring.first = ring.first.saturating_add(1);
            }
            ring.kept.push_back(Kept { moment: moment.clone(), event });
        }
        drop(ring);
        self.told.send_replace(());
    }
}

/// The API's end; one for all callers.
#[derive(Clone, Debug)]
pub struct EventReader {
    ring: Arc<Mutex<Ring>>,
    newest: watch::Receiver<()>,
    boot: Arc<str>,
    clock: fn() -> Instant,
}

/// Which events a caller wants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// Those of one group, and those that concern the host.
    pub group: Option<String>,
    /// Not older than this.
    pub since: Option<Duration>,
    /// At most so many of those that have happened already, the newest.
    pub last: Option<usize>,
    /// Those after this number of that start of the daemon; of another start all.
    pub after: Option<(String, u64)>,
}

impl EventReader {
    /// The groups that this start of the daemon has had: of each there may be events.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).groups.iter().cloned().collect()
    }

    /// A place from which to read.
    #[must_use]
    pub fn begin(&self, wanted: Wanted) -> Cursor {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let next = match &wanted.after {
            Some((boot, sequence)) if **boot == *self.boot => sequence.saturating_add(1),
            Some(_) => 1,
            None => {
                let young = wanted.since.map_or(1, |since| ring.first_within((self.clock)(), since));
                let newest = wanted.last.map_or(1, |last| ring.first_of_last(last, wanted.group.as_deref()));
                young.max(newest)
            }
        };
        let end = ring.next();
        drop(ring);
        Cursor { reader: self.clone(), group: wanted.group, next, end }
    }
}

fn is_of(event: &NewEvent, group: Option<&str>) -> bool {
    match (&event.group, group) {
        (Some(of), Some(wanted)) => of == wanted,
        (Some(_), None) | (None, Some(_) | None) => true,
    }
}

/// A caller's place in the row of events.
#[derive(Debug)]
pub struct Cursor {
    reader: EventReader,
    group: Option<String>,
    next: u64,
    /// The first number that had not been given when the caller began.
    end: u64,
}

impl Cursor {
    /// What there is, at most a batch of it; `None`: all that had happened when the caller began has been read.
    pub fn read(&mut self) -> Option<Vec<Recorded>> {
        if self.next >= self.end {
            return None;
        }
        Some(self.take(self.end))
    }

    /// The same of what happens: waits for it. `None`: the daemon stops.
    pub async fn follow(&mut self) -> Option<Vec<Recorded>> {
        loop {
            // Marked as seen first: what is recorded while the ring is read wakes the next wait.
            let ended = self.reader.newest.has_changed().is_err();
            self.reader.newest.mark_unchanged();
            let batch = self.take(u64::MAX);
            if !batch.is_empty() {
                return Some(batch);
            }
            if ended || self.reader.newest.changed().await.is_err() {
                let rest = self.take(u64::MAX);
                return (!rest.is_empty()).then_some(rest);
            }
        }
    }

    fn take(&mut self, end: u64) -> Vec<Recorded> {
        let now = (self.reader.clock)();
        let ring = self.reader.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Vec::new();
        let missed = ring.first.saturating_sub(self.next);
        if missed > 0 {
            let at = ring.kept.front().map(|kept| &kept.moment);
            batch.extend(at.map(|at| self.reader.missed(now, at, missed, &ring)));
            self.next = ring.first;
        }
        let end = end.min(ring.next());
        let skipped = usize::try_from(self.next.saturating_sub(ring.first)).unwrap_or(usize::MAX);
        for kept in ring.kept.iter().skip(skipped) {
            if self.next >= end || batch.len() >= BATCH_MAX {
                break;
            }
            if is_of(&kept.event, self.group.as_deref()) {
                batch.push(self.reader.recorded(now, self.next, kept));
            }
            self.next = self.next.saturating_add(1);
        }
        batch
    }
}

impl EventReader {
    fn recorded(&self, now: Instant, sequence: u64, kept: &Kept) -> Recorded {
        let NewEvent { kind, group, address, host, name, reason, epoch, detail } = kept.event.clone();
        let (time, age_ms) = (kept.moment.wall.clone(), age_ms(now, kept.moment.at));
        let boot = self.boot.to_string();
        Recorded { version: RECORDED_VERSION, boot, sequence, time, age_ms, kind, group, address, host, name, reason, epoch, detail }
    }

    /// Stands for events that nobody can tell any more; dated by the first that is left.
    fn missed(&self, now: Instant, oldest: &Moment, count: u64, ring: &Ring) -> Recorded {
        let detail = format!("{count} events were overwritten before they could be read; {} are kept", ring.capacity);
        Recorded {
            version: RECORDED_VERSION,
            boot: self.boot.to_string(),
            sequence: ring.first.saturating_sub(1),
            time: oldest.wall.clone(),
            age_ms: age_ms(now, oldest.at),
            kind: Kind::Missed,
            group: None,
            address: None,
            host: None,
            name: None,
            reason: None,
            epoch: None,
            detail,
        }
    }
}

fn age_ms(now: Instant, at: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX)
}

fn cut(text: &mut String) {
    if text.len() > DETAIL_BYTES_MAX {
        let mark = "...";
        let end = (0..=DETAIL_BYTES_MAX - mark.len()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str(mark);
    }
}

#[cfg(test)]
mod tests;
