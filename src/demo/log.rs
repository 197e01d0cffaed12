//! What an observer has seen so far, and how to wait for more.
//!
//! Owns the entries of one observer and the reason why it stopped, if it did: an observer that died must never look like one
//! that saw nothing. [`Background`] is the thread that fills a log. Entries are kept until the log is dropped; observers live
//! for one story. Called by the observers beside it and by the judges of the netns tests.
#![expect(clippy::disallowed_methods, reason = "an observer outside of the protocol measures time")]

use std::io;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;

/// An observer has stopped, and why. What it has not seen says nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the observer of {what} has stopped: {cause}")]
pub struct ObserverError {
    what: &'static str,
    cause: String,
}

/// Entries in the order of their arrival.
#[derive(Debug)]
pub struct Log<T> {
    what: &'static str,
    state: Mutex<State<T>>,
    grown: Condvar,
}

#[derive(Debug)]
struct State<T> {
    entries: Vec<T>,
    stopped: Option<String>,
}

impl<T> Log<T> {
    /// An empty log of `what`.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self { what, state: Mutex::new(State { entries: Vec::new(), stopped: None }), grown: Condvar::new() }
    }

    /// Adds entries; readers see all of them at once.
    pub fn extend(&self, entries: impl IntoIterator<Item = T>) {
        self.lock().entries.extend(entries);
        self.grown.notify_all();
    }

    /// Changes what is there.
    pub fn update<R>(&self, change: impl FnOnce(&mut Vec<T>) -> R) -> R {
        let result = change(&mut self.lock().entries);
        self.grown.notify_all();
        result
    }

    /// Says why no more entries will come.
    pub fn stop(&self, cause: &io::Error) {
        self.lock().stopped = Some(cause.to_string());
        self.grown.notify_all();
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// That the observer has stopped.
    pub fn read<R>(&self, look: impl FnOnce(&[T]) -> R) -> Result<R, ObserverError> {
        let state = self.lock();
        self.check(&state)?;
        Ok(look(&state.entries))
    }

    /// Waits until `find` finds something, looking again whenever the log has grown. `None` at the deadline.
    ///
    /// # Errors
    /// That the observer has stopped.
    pub fn wait<R>(&self, deadline: Instant, mut find: impl FnMut(&[T]) -> Option<R>) -> Result<Option<R>, ObserverError> {
        let mut state = self.lock();
        loop {
            self.check(&state)?;
            if let Some(found) = find(&state.entries) {
                return Ok(Some(found));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            state = self.grown.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn check(&self, state: &State<T>) -> Result<(), ObserverError> {
        match &state.stopped {
            Some(cause) => Err(ObserverError { what: self.what, cause: cause.clone() }),
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Entries are pushed whole; a thread that died while it read has not broken them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that runs until this is dropped.
#[derive(Debug)]
pub struct Background {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts a thread that fills a log. It must end soon after the pipe has hung up, and every error of it stops the log.
    ///
    /// # Errors
    /// That no pipe or thread can be made.
    pub fn start<T, F>(log: &Arc<Log<T>>, task: F) -> io::Result<Self>
    where
        T: Send + 'static,
        F: FnOnce(&Log<T>, &PipeReader) -> io::Result<()> + Send + 'static,
    {
        let (reader, writer) = io::pipe()?;
        let log = Arc::clone(log);
        let thread = thread::Builder::new().name(log.what.to_owned()).spawn(move || {
            if let Err(error) = task(&log, &reader) {
                log.stop(&error);
            }
        })?;
        Ok(Self { stop: Some(writer), thread: Some(thread) })
    }

    /// Ends the thread and waits for it.
    pub fn finish(&mut self) {
        drop(self.stop.take());
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The monotonic point of a kernel timestamp, which is wall-clock time. Never later than the present.
#[must_use]
pub fn instant_of(stamp: TimeSpec) -> Instant {
    let (now, wall) = (Instant::now(), SystemTime::now());
    let age = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().saturating_sub(Duration::from(stamp));
    now.checked_sub(age).unwrap_or(now)
}

/// Waits until there is something to read. `false`: the observer is to stop.
///
/// # Errors
/// What the kernel says.
pub fn wait_readable(source: &impl AsFd, stop: &PipeReader) -> io::Result<bool> {
    let mut fds = [PollFd::new(source.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::empty())];
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let [_, stopped] = fds;
    Ok(!stopped.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_sees_what_comes_later() {
        let log = Arc::new(Log::new("numbers"));
        let _filler = Background::start(&log, |log, _| {
            log.extend([1, 2, 3]);
            Ok(())
        })
        .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        assert_eq!(log.wait(deadline, |all| all.iter().find(|number| **number == 3).copied()).unwrap(), Some(3));
    }

    #[test]
    fn an_observer_that_died_is_no_silence() {
        let log = Arc::new(Log::<u8>::new("numbers"));
        let mut filler = Background::start(&log, |_, _| Err(io::Error::other("unplugged"))).unwrap();
        filler.finish();
        let error = log.wait(Instant::now(), |_| None::<()>).unwrap_err();
        assert_eq!(error.to_string(), "the observer of numbers has stopped: unplugged");
    }

    #[test]
    fn a_deadline_in_the_past_still_looks_once() {
        let log = Log::new("numbers");
        log.extend([7]);
        assert_eq!(log.wait(Instant::now(), |all| all.first().copied()).unwrap(), Some(7));
    }
}
