//! The thread that writes state: waiting for a disk must not stop the loop.
//!
//! Queue: one slot per file, because only the newest content of a file matters; a store that overtakes a waiting one
//! takes its slot, and the older operation is answered when the newer content is on disk. At most [`OPERATIONS_MAX`]
//! operations wait for their answers; one more is refused at once and answered as failed, and the content that waits
//! stays. Cancellation: [`StateWriter::stop`] writes and answers all that waits; dropping the writer without it lets the
//! thread finish on its own, and a process that ends in between leaves the files as they were.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::document::GroupDocument;
use super::{StateDir, wall_clock_ms};
use crate::node::action::StoredGroup;
use crate::node::event::{Event, OpId, Outcome};
use crate::types::host::Incarnation;

/// A disk that is hundreds of stores behind does not catch up; the answers say so.
const OPERATIONS_MAX: usize = 256;

/// Writes in the background, in the order of first request, each file's newest content only.
#[derive(Debug)]
pub struct StateWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
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
    /// Starts the thread. `answer` is called on it with an [`Event::Finished`] for each operation, and may wait.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(directory: Arc<StateDir>, mut answer: impl FnMut(Event) + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(String::from("raisd-state")).spawn(move || {
            while let Some(slot) = of_thread.next() {
                let count = slot.operations.len();
                let outcome = slot.content.write(&directory);
                for op in slot.operations {
                    answer(Event::Finished { op, outcome: outcome.clone() });
                }
                of_thread.lock().operations -= count;
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Has a group's state written; it is dated now, where its ages are true. Returns the answer if it is refused.
    #[must_use = "a refused operation is answered by what this returns, and by nothing else"]
    pub fn store_group(&self, op: OpId, name: &str, state: StoredGroup) -> Option<Event> {
        let document = GroupDocument::of(name, state, wall_clock_ms());
        self.store(op, Target::Group(name.to_owned()), Content::Group(Box::new(document)))
    }

    /// Has the start count written. Returns the answer if it is refused.
    #[must_use = "a refused operation is answered by what this returns, and by nothing else"]
    pub fn store_incarnation(&self, op: OpId, incarnation: Incarnation) -> Option<Event> {
        self.store(op, Target::Host, Content::Host(incarnation))
    }

    /// Writes and answers all that waits, then ends the thread. Takes as long as the disk does.
    pub fn stop(mut self) {
        self.shared.close();
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
        {
            // A bug there is a bug here: nothing is answered any more.
            std::panic::resume_unwind(panic);
        }
    }

    fn store(&self, op: OpId, target: Target, content: Content) -> Option<Event> {
        let mut queue = self.shared.lock();
        if queue.operations >= OPERATIONS_MAX {
            let why = format!("{} stores wait for the disk already: it is too slow, or hangs", queue.operations);
            return Some(Event::Finished { op, outcome: Outcome::Failed { why } });
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
        None
    }
}

impl Drop for StateWriter {
    fn drop(&mut self) {
        self.shared.close();
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
