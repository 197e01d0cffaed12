//! The thread that writes state: waiting for a disk must not stop the loop.
//!
//! Queue: one slot per file, because only the newest content of a file matters; a write that overtakes a waiting one
//! takes its slot, and the older operation is answered when the newer content is on disk. At most [`OPERATIONS_MAX`]
//! operations wait for the disk; one more is answered as failed at once, and the content that waits stays. So the
//! channel of answers is bounded too, by what the loop has asked for and not yet been told. Cancellation: dropping the
//! writer writes and answers all that waits, however long the disk takes; a process that is killed meanwhile leaves each
//! file as it was or whole.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::document::GroupDocument;
use super::{StateDir, wall_clock_ms};
use crate::node::action::StoredGroup;
use crate::node::event::{Event, OpId, Outcome};
use crate::types::host::Incarnation;

/// A disk that is hundreds of writes behind does not catch up; the answers say so.
const OPERATIONS_MAX: usize = 256;

/// Writes in the background, in the order of first request, each file's newest content only.
#[derive(Debug)]
pub struct StateWriter {
    shared: Arc<Shared>,
    answers: mpsc::UnboundedSender<Event>,
    thread: Option<JoinHandle<()>>,
}

/// Something to write.
#[derive(Clone, PartialEq, Debug)]
pub enum Write {
    /// What a group keeps. It is dated when it is handed over, where its ages are true.
    Group {
        /// The group.
        name: String,
        /// What it keeps.
        state: StoredGroup,
    },
    /// The start count.
    Incarnation(Incarnation),
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    slots: BTreeMap<Target, Slot>,
    /// Waiting or being written.
    operations: usize,
    is_closed: bool,
}

/// A file. The start count goes first: everything else hangs on it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Target {
    Host,
    Group(String),
}

#[derive(Debug)]
struct Slot {
    content: Content,
    operations: Vec<OpId>,
}

#[derive(Debug)]
enum Content {
    Host(Incarnation),
    Group(Box<GroupDocument>),
}

impl StateWriter {
    /// Starts the thread. Each operation is answered once, on the channel, with an [`Event::Finished`]; the channel ends
    /// when the writer is dropped and everything is answered.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(directory: StateDir) -> io::Result<(Self, mpsc::UnboundedReceiver<Event>)> {
        let shared = Arc::new(Shared::default());
        let (answers, events) = mpsc::unbounded_channel();
        let (of_thread, sender) = (Arc::clone(&shared), answers.clone());
        let thread = std::thread::Builder::new().name(String::from("raisd-state")).spawn(move || {
            while let Some(slot) = of_thread.next() {
                let count = slot.operations.len();
                let outcome = slot.content.write(&directory);
                for op in slot.operations {
                    answer(&sender, op, outcome.clone());
                }
                of_thread.lock().operations -= count;
            }
        })?;
        Ok((Self { shared, answers, thread: Some(thread) }, events))
    }

    /// Has something written; never waits.
    pub fn write(&self, op: OpId, write: Write) {
        let (target, content) = match write {
            Write::Group { name, state } => {
                let document = GroupDocument::of(&name, state, wall_clock_ms());
                (Target::Group(name), Content::Group(Box::new(document)))
            }
            Write::Incarnation(incarnation) => (Target::Host, Content::Host(incarnation)),
        };
        let mut queue = self.shared.lock();
        if queue.operations >= OPERATIONS_MAX {
            let why = format!("{} writes of state wait for the disk already: it is too slow, or hangs", queue.operations);
            drop(queue);
            answer(&self.answers, op, Outcome::Failed { why });
            return;
        }
        queue.operations += 1;
        match queue.slots.get_mut(&target) {
            Some(slot) => {
                slot.content = content;
                slot.operations.push(op);
            }
            None => {
                queue.slots.insert(target, Slot { content, operations: vec![op] });
            }
        }
        drop(queue);
        self.shared.wake.notify_one();
    }
}

fn answer(answers: &mpsc::UnboundedSender<Event>, op: OpId, outcome: Outcome) {
    if answers.send(Event::Finished { op, outcome }).is_err() {
        // The loop has ended: nobody waits for the answer, but what it asked for is still written.
        tracing::debug!(op = op.0, "a write of state has ended after the loop");
    }
}

impl Drop for StateWriter {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes state has panicked; what it had not written is lost");
        }
    }
}

impl Shared {
    /// The lock is never held while anything can panic, so the queue behind a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.wake.notify_one();
    }

    /// Waits for the next slot; `None`: closed and empty.
    fn next(&self) -> Option<Slot> {
        let mut queue = self.lock();
        loop {
            if let Some((_, slot)) = queue.slots.pop_first() {
                return Some(slot);
            }
            if queue.is_closed {
                return None;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Content {
    fn write(&self, directory: &StateDir) -> Outcome {
        let written = match self {
            Self::Host(incarnation) => directory.store_incarnation(*incarnation),
            Self::Group(document) => directory.write_group(document),
        };
        match written {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed { why: error.to_string() },
        }
    }
}
