//! The API: HTTP and JSON on a Unix socket, the one door through which an operator sees and changes anything.
//!
//! Owns the socket file and a thread with a runtime of its own, so that a slow reader never delays the loop. It never
//! decides: each request becomes one [`Asked`], whose answer becomes one HTTP answer. The daemon starts it; `raisctl`
//! and `curl --unix-socket` talk to it. Who may do so is decided by the mode of the socket file.
//!
//! - **Queue**: [`REQUESTS_MAX`] requests wait for the loop. More than that many operators at once are a script gone
//!   wild or a loop that hangs; the next one gets 503 with these words.
//! - **Connections**: [`CONNECTIONS_MAX`] at a time, one request each; further ones wait in the kernel's backlog. Each is
//!   bounded in time while it sends its head, its body and while it reads the answer. [`FOLLOWERS_MAX`] of them may follow
//!   the events; a follower who does not read holds a connection and a place in the ring ([`events`]), no memory.
//! - **Cancellation**: a caller that goes away drops its half of the reply in [`Asked`]; what it asked for is done all the
//!   same. [`Api::stop`] takes no further request, gives the answers under way `STOP_GRACE` to be written, and removes
//!   the socket file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, Request as HttpRequest};
use axum::middleware::{self, Next};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;

use self::call::Places;
use self::events::EventReader;
use self::socket::SocketFile;
use crate::node::event::{Answer, Request};

pub mod call;
pub mod events;
mod routes;
mod socket;

/// Requests that wait for the loop. Fewer than [`CONNECTIONS_MAX`], so that what finds the queue full is still told so.
pub const REQUESTS_MAX: usize = 32;

/// Connections at a time. Each may hold a file descriptor and one request of at most [`BODY_BYTES_MAX`].
pub const CONNECTIONS_MAX: usize = 64;

/// Callers that follow the events at a time: a quarter of the connections, so that `status` finds one although others are
/// taken by drains.
pub const FOLLOWERS_MAX: usize = CONNECTIONS_MAX / 4;

/// The longest body of a request; the longest sensible one has a few hundred bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long a caller may take to send the head of its request, or its body: local programs need microseconds.
const SEND_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a caller may take to read its answer; a pager that stands still keeps a connection no longer.
const READ_TIME_MAX: Duration = Duration::from_secs(10);

/// How long answers under way may take to be written when the daemon stops: it has to stay below what systemd waits for.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Between two attempts to accept after the kernel had no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// One request of an operator, and where its answer goes. Sending one fails if the caller has gone away or its time is up;
/// that needs no action.
#[derive(Debug)]
pub enum Asked {
    /// A question for the core.
    Core {
        /// What is asked.
        request: Request,
        /// Takes the answer.
        reply: oneshot::Sender<Answer>,
    },
    /// Read the configuration again.
    Reload {
        /// Takes the outcome.
        reply: oneshot::Sender<Reloaded>,
    },
}

/// What came of a reload, in words for the operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reloaded {
    /// The configuration holds from here on.
    Done {
        /// What is different, in one line.
        message: String,
    },
    /// It is valid and cannot be taken up by a daemon that runs, or on this machine as it is. Nothing was changed.
    Refused {
        /// Why and what to do.
        why: String,
    },
    /// It is wrong. Nothing was changed.
    Wrong {
        /// Every error with its place, as `raisd check` prints them.
        errors: String,
    },
}

/// Why the API could not start. The surroundings are at fault; nothing was changed but, at most, a stale socket file removed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// A daemon answers on the socket.
    #[error("another raisd answers on {}; stop it first, or give this one a socket of its own (host.socket)", path.display())]
    Living {
        /// The socket.
        path: PathBuf,
    },
    /// What stands there is not a socket, and is left alone.
    #[error("{} exists and is not a socket; remove it, or choose another path (host.socket)", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The file system or the kernel refuses.
    #[error("cannot {operation} {}: {source}; the directory must exist and be writable for raisd (host.socket names it)", path.display())]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// No thread or no runtime.
    #[error("cannot start the thread of the API: {0}")]
    Thread(#[source] io::Error),
}

/// The running API. Dropping it stops it like [`Api::stop`].
#[derive(Debug)]
pub struct Api {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    socket: SocketFile,
}

impl Api {
    /// Takes the socket (mode 0660) and answers on a thread of its own. A socket file whose daemon is dead is replaced.
    ///
    /// # Errors
    ///
    /// A daemon answers there, something else stands there, or the kernel refuses.
    pub fn start(path: &Path, events: EventReader, places: Places) -> Result<(Self, mpsc::Receiver<Asked>), ApiError> {
        let (socket, listener) = SocketFile::claim(path)?;
        let (asked, requests) = mpsc::channel(REQUESTS_MAX);
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("api".to_owned())
            .spawn(move || run(listener, routes::router(asked, events, places), stopped, &ready))
            .map_err(ApiError::Thread)?;
        let api = Self { stop: Some(stop), thread: Some(thread), socket };
        match started.recv() {
            Ok(Ok(())) => Ok((api, requests)),
            Ok(Err(error)) => Err(ApiError::Thread(error)),
            Err(_) => Err(ApiError::Thread(io::Error::other("it ended before it was ready"))),
        }
    }

    /// Takes no further request, lets answers under way be written, ends the thread and removes the socket file. Requests
    /// that are still unanswered get 503; drop the receiver first and they need not wait for that.
    pub fn stop(self) {
        drop(self);
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.socket.path()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the API has panicked; raisctl was not answered since");
        }
    }
}

/// The whole life of the thread. `ready` hears once whether the runtime stands.
fn run(
    listener: std::os::unix::net::UnixListener,
    router: Router,
    stopped: oneshot::Receiver<()>,
    ready: &std::sync::mpsc::SyncSender<io::Result<()>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let prepared = runtime.and_then(|runtime| {
        let entered = runtime.enter();
        let listener = UnixListener::from_std(listener)?;
        drop(entered);
        Ok((runtime, listener))
    });
    let (outcome, prepared) = match prepared {
        Ok(prepared) => (Ok(()), Some(prepared)),
        Err(error) => (Err(error), None),
    };
    // Nobody listens for readiness if the starter is gone; then nobody needs the API either.
    if ready.send(outcome).is_ok()
        && let Some((runtime, listener)) = prepared
    {
        runtime.block_on(serve(listener, router, stopped));
    }
}

async fn serve(listener: UnixListener, router: Router, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            Some(ended) = connections.join_next() => report_panic(ended),
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(answer_connection(stream, router.clone()));
                }
                Err(error) => {
                    tracing::warn!("the API cannot accept a connection: {error}; raisctl waits until it can");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // Closed first: who connects from here on is told at once that no daemon answers.
    drop(listener);
    drop(router);
    let finish = async {
        while let Some(ended) = connections.join_next().await {
            report_panic(ended);
        }
    };
    if tokio::time::timeout(STOP_GRACE, finish).await.is_err() {
        tracing::debug!("callers of the API that did not read their answer in time were cut off");
    }
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a request to the API panicked: {error}; please report this");
    }
}

/// Who is at the other end, for the log.
#[derive(Clone, Copy, Debug)]
struct Caller {
    uid: Option<u32>,
    pid: Option<i32>,
}

impl Caller {
    fn of(stream: &UnixStream) -> Self {
        match stream.peer_cred() {
            Ok(credentials) => Self { uid: Some(credentials.uid()), pid: credentials.pid() },
            Err(_) => Self { uid: None, pid: None },
        }
    }
}

async fn answer_connection(stream: UnixStream, router: Router) {
    let answered = Arc::new(Notify::new());
    let caller = Caller::of(&stream);
    let router = {
        let answered = Arc::clone(&answered);
        let tell = move |request: HttpRequest, next: Next| {
            let answered = Arc::clone(&answered);
            async move {
                let response = next.run(request).await;
                // What goes on for as long as the caller likes is bounded by what it may hold, not by time.
                if response.extensions().get::<routes::Endless>().is_none() {
                    answered.notify_one();
                }
                response
            }
        };
        router.layer(Extension(caller)).layer(middleware::from_fn(tell))
    };
    // One request a connection: an idle one would keep a place that others wait for.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SEND_TIME_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let too_slow = async {
        answered.notified().await;
        tokio::time::sleep(READ_TIME_MAX).await;
    };
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            tracing::debug!("a connection to the API ended early: {error}");
        },
        () = too_slow => tracing::debug!("a caller of the API did not read its answer within {READ_TIME_MAX:?} and was cut off"),
    }
}

#[cfg(test)]
mod tests;
