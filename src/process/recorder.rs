//! The flight recorder: every call of the node, on disk, in a ring of segments of a bounded size.
//!
//! ```text
//!   STATE_DIR/recorder/000000000042.rec     one segment (recording.rs); the greatest number is the youngest
//! ```
//!
//! Owns the directory. Never decides, never waits for the disk and never fails the daemon: what cannot be recorded is missing,
//! and the log says so. The loop calls it around each call of the node, so that what makes the core panic is recorded before
//! it does; [`writer`] writes on a thread of its own.
//!
//! **Queue**: [`QUEUE_FRAMES`] frames and [`QUEUE_BYTES`], a second or more of a flood. **Full**: what does not fit is left out;
//! recording goes on with the next call in a segment of its own that begins with the whole node, so a gap is never silent.
//! **Cancellation**: dropping it writes all that waits. SIGKILL loses what is in the queue, microseconds as a rule, and nothing
//! that was written; a loss of power what the kernel had not written back, half a minute with its usual settings: a
//! heartbeat must not cost an `fsync`. What that leaves behind is read up to where it is torn.
//!
//! **Secrets**: the core knows none, so there are none in it: keys stay in `wire`, scripts, their surroundings and probes in
//! their ports. What a script or a probe says of its failure is recorded, as it is logged.

mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use self::writer::{Order, SEGMENTS, Writer};
use crate::node::action::Action;
use crate::node::event::Event;
use crate::node::{Node, Start};
use crate::ports::api::call::Places;
use crate::recording::pen::Pen;
use crate::recording::{EncodeError, Opening, Sent, Wall};
use crate::types::policy::NodePolicy;
use crate::types::time::Time;

/// Frames that wait for the disk: two or three a call, some hundred calls a second in a busy pool.
const QUEUE_FRAMES: usize = 4096;

/// Bytes that wait for the disk at most, if a segment takes as many. A flood brings some megabytes a second.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// What the loop and the thread tell each other besides the queue.
#[derive(Debug, Default)]
struct Shared {
    /// Bytes in the queue.
    queued: AtomicUsize,
    /// The thread wants an opening: the segment is full, or the disk may take something again.
    wants_opening: AtomicBool,
}

/// How the present entry fares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Present {
    Written,
    Left,
}

/// Records, or does not, if its size is 0 or there is no thread for it.
#[derive(Debug)]
pub(super) struct Recorder {
    pen: Pen,
    present: Present,
    /// The next entry needs an opening, since one before it is missing.
    is_broken: bool,
    size: u64,
    shared: Arc<Shared>,
    thread: Option<(SyncSender<Order>, JoinHandle<()>)>,
    /// Whether it was told that an entry cannot be encoded.
    encode_told: bool,
}

/// For people who read a recording; nothing is ordered by it.
#[expect(clippy::disallowed_methods, reason = "people find a time in a recording by the wall clock; nothing is decided by it")]
fn wall() -> Wall {
    let micros = |duration: std::time::Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    Wall(SystemTime::now().duration_since(UNIX_EPOCH).map_or_else(|before| -micros(before.duration()), micros))
}

impl Recorder {
    /// Records in `state_dir`, at most `size` bytes; nothing if that is 0.
    pub(super) fn start(state_dir: &Path, size: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let (orders, queue) = sync_channel(QUEUE_FRAMES);
        let writer = Writer::new(&Places::recordings_in(state_dir), size, Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("raisd-recorder".to_owned()).spawn(move || writer.run(&queue));
        let thread = match thread {
            Ok(thread) => Some((orders, thread)),
            Err(error) => {
                tracing::error!(%error, "no thread for the flight recorder: nothing is recorded; the service is not affected");
                None
            }
        };
        Self { pen: Pen::default(), present: Present::Left, is_broken: true, size, shared, thread, encode_told: false }
    }

    /// Another size, from here on. Less than there is takes the oldest segments away.
    pub(super) fn set_size(&mut self, size: u64) {
        if self.size == size {
            return;
        }
        // A queue that is full is tried again at the next turn of the loop.
        if self.send(Order::Resize(size), 0) {
            (self.size, self.is_broken) = (size, true);
        }
    }

    /// The daemon starts; `start` is what its core is about to be given.
    pub(super) fn begin(&mut self, now: Time, policy: &NodePolicy, start: &Start) {
        let wall = wall();
        let opening = self.pen.opening_of_start(now, wall, policy, start);
        if self.size > 0 {
            self.is_broken = !self.open(opening);
        }
        self.happen(now, wall, &[]);
    }

    /// The core is about to be told this.
    pub(super) fn happened(&mut self, now: Time, node: &Node, events: &[Event]) {
        let wall = wall();
        if self.size > 0 && self.has_room() && (self.shared.wants_opening.swap(false, Ordering::Relaxed) || self.is_broken) {
            let opening = self.pen.opening(now, wall, node);
            self.is_broken = !self.open(opening);
        }
        self.happen(now, wall, events);
    }

    fn happen(&mut self, now: Time, wall: Wall, events: &[Event]) {
        // The number counts on in any case: a gap is seen by it.
        let frame = self.pen.happened(now, wall, events);
        self.present = Present::Left;
        if self.size > 0 && !self.is_broken {
            self.present = if self.write(frame) { Present::Written } else { Present::Left };
            self.is_broken = self.present == Present::Left;
        }
    }

    /// The core has said this.
    pub(super) fn decided(&mut self, actions: &[Action]) {
        if self.present == Present::Written && !self.write(self.pen.decided(actions)) {
            self.present = Present::Left;
        }
    }

    /// It was done, and these datagrams went out for it.
    pub(super) fn sent(&mut self, sent: &[Sent]) {
        if self.present == Present::Written && !sent.is_empty() {
            // Without it the hosts' stories are put together less well; nothing else is lost.
            self.write(self.pen.sent(sent));
        }
    }

    fn open(&self, opening: Opening) -> bool {
        self.send(Order::Open(Box::new(opening)), 0)
    }

    fn write(&mut self, frame: Result<Vec<u8>, EncodeError>) -> bool {
        match frame {
            Ok(frame) => {
                let length = frame.len();
                self.send(Order::Write(frame), length)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.encode_told, true) {
                    tracing::error!("the flight recorder leaves something out; please report this: {error}");
                }
                false
            }
        }
    }

    fn has_room(&self) -> bool {
        self.shared.queued.load(Ordering::Relaxed) < self.queue_max()
    }

    /// No more than a segment takes: what is in the queue when one is full still goes into it.
    fn queue_max(&self) -> usize {
        usize::try_from(self.size / SEGMENTS).unwrap_or(QUEUE_BYTES).min(QUEUE_BYTES)
    }

    fn send(&self, order: Order, length: usize) -> bool {
        let Some((orders, _)) = &self.thread else { return false };
        if length > 0 && self.shared.queued.fetch_add(length, Ordering::Relaxed) + length > self.queue_max() {
            self.shared.queued.fetch_sub(length, Ordering::Relaxed);
            return false;
        }
        match orders.try_send(order) {
            Ok(()) => true,
            // What was left out is counted where recording goes on; a thread that has ended has said why.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.shared.queued.fetch_sub(length, Ordering::Relaxed);
                false
            }
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some((orders, thread)) = self.thread.take() {
            drop(orders);
            if thread.join().is_err() {
                tracing::error!("the flight recorder's thread has panicked; what it had not written is lost");
            }
        }
    }
}

#[cfg(test)]
mod tests;
