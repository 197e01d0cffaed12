//! The client of the API: one connection a request, over the daemon's Unix socket.
//!
//! Owns nothing but the path. Never retries: the operator sees what happened. Every request is bounded in time and size.

pub mod lines;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::ports::api::call::{
    ANSWER_TIME_MAX, Call, Done, EXPLAIN_PATH, Failed, PLACES_PATH, Places, RELOAD_PATH, RELOAD_TIME_MAX, STATUS_PATH, ZONE_PATH, Zones,
};
use crate::types::explanation::Explanation;
use crate::types::view::View;

/// The version of `status --json` that this program reads.
const VIEW_VERSION: u32 = 1;

/// More than a view of 60,000 addresses takes; what is longer is not an answer of raisd.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The daemon has its own limit for each request; this much later the client gives up on the daemon.
const SLACK: Duration = Duration::from_secs(2);

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket, or the caller may not connect. Nothing was changed.
    #[error("no daemon answers on {}: {source}; {}", socket.display(), remedy(source.kind()))]
    NoDaemon {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The daemon is there and says nothing. What was asked may still happen.
    #[error("raisd did not answer on {} within {limit:?}; its log says why (journalctl -u raisd)", socket.display())]
    Silent {
        /// The socket.
        socket: PathBuf,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The connection ended early. What was asked may have happened.
    #[error("the connection to raisd on {} broke off: {source}; did it stop? (journalctl -u raisd)", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What happened.
        source: hyper::Error,
    },
    /// The daemon refused or could not, in its words. Nothing was changed unless they say so.
    #[error("{0}")]
    Refused(String),
    /// The configuration is wrong; the daemon keeps the one that it has. As `raisd check` prints it.
    #[error("{0}")]
    Configuration(String),
    /// What came back is not an answer of this version of raisd.
    #[error("the answer on {} is not one of raisd {}: {why}; do raisctl and raisd have the same version?", socket.display(), env!("CARGO_PKG_VERSION"))]
    Garbled {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl ClientError {
    /// Whether a daemon was reached at all; if not, the exit code of `raisctl` is 3.
    #[must_use]
    pub fn is_unreached(&self) -> bool {
        match self {
            Self::NoDaemon { .. } | Self::Silent { .. } | Self::Broken { .. } => true,
            Self::Refused(_) | Self::Configuration(_) | Self::Garbled { .. } => false,
        }
    }
}

fn remedy(kind: io::ErrorKind) -> &'static str {
    if kind == io::ErrorKind::PermissionDenied {
        "run raisctl as root or as a member of the group that owns the socket"
    } else if kind == io::ErrorKind::WouldBlock {
        "all its connections are taken; try again"
    } else {
        "is raisd running? (systemctl status raisd; another socket: --socket or RAISD_SOCKET)"
    }
}

/// An answer, as it came and as it was understood.
#[derive(Clone, PartialEq, Debug)]
pub struct Read<T> {
    /// The JSON text of the daemon.
    pub text: String,
    /// What it says.
    pub value: T,
}

/// A way to one daemon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the daemon behind this socket; connects with each request.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The state of the daemon's groups, or of one.
    ///
    /// # Errors
    ///
    /// No daemon, no such group, or an answer of another version.
    pub async fn status(&self, group: Option<&str>) -> Result<Read<View>, ClientError> {
        let read: Read<View> = self.get(STATUS_PATH, group).await?;
        self.check_version(read.value.version)?;
        Ok(read)
    }

    /// The zones of the daemon's groups, or of one.
    ///
    /// # Errors
    ///
    /// No daemon, no such group, or an answer of another version.
    pub async fn zones(&self, group: Option<&str>) -> Result<Read<Zones>, ClientError> {
        let read: Read<Zones> = self.get(ZONE_PATH, group).await?;
        self.check_version(read.value.version)?;
        Ok(read)
    }

    /// Why an address or host is where it is or how it is.
    ///
    /// # Errors
    ///
    /// No daemon, it knows neither, no such group, or an answer of another version.
    pub async fn explain(&self, subject: &str, group: Option<&str>) -> Result<Read<Explanation>, ClientError> {
        let mut target = format!("{EXPLAIN_PATH}?subject={}", percent_encoded(subject));
        if let Some(group) = group {
            target.push_str(&format!("&group={}", percent_encoded(group)));
        }
        let read: Read<Explanation> = self.read(&target).await?;
        self.check_version(read.value.version)?;
        Ok(read)
    }

    /// Where the daemon's files are.
    ///
    /// # Errors
    ///
    /// No daemon, or an answer of another version.
    pub async fn places(&self) -> Result<Read<Places>, ClientError> {
        let read: Read<Places> = self.read(PLACES_PATH).await?;
        self.check_version(read.value.version)?;
        Ok(read)
    }

    /// Asks for a change; what happened, for people.
    ///
    /// # Errors
    ///
    /// No daemon, or it refused or could not.
    pub async fn call<C: Call>(&self, call: &C) -> Result<String, ClientError> {
        let body = serde_json::to_vec(call).map_err(|error| self.garbled(&error))?;
        let request = Request::post(C::PATH).header(header::CONTENT_TYPE, "application/json");
        let text = self.exchange(request, body, call.answer_time_max().saturating_add(SLACK)).await?;
        let done: Done = serde_json::from_str(&text).map_err(|error| self.garbled(&error))?;
        Ok(done.message)
    }

    /// Has the daemon read its configuration again; what is different, for people.
    ///
    /// # Errors
    ///
    /// No daemon, a wrong configuration, or one that a running daemon cannot take up.
    pub async fn reload(&self) -> Result<String, ClientError> {
        let text = self.exchange(Request::post(RELOAD_PATH), Vec::new(), RELOAD_TIME_MAX.saturating_add(SLACK)).await?;
        let done: Done = serde_json::from_str(&text).map_err(|error| self.garbled(&error))?;
        Ok(done.message)
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str, group: Option<&str>) -> Result<Read<T>, ClientError> {
        let target = match group {
            Some(group) => format!("{path}?group={}", percent_encoded(group)),
            None => path.to_owned(),
        };
        self.read(&target).await
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, target: &str) -> Result<Read<T>, ClientError> {
        let request = Request::builder().method(Method::GET).uri(target);
        let text = self.exchange(request, Vec::new(), ANSWER_TIME_MAX.saturating_add(SLACK)).await?;
        let value = serde_json::from_str(&text).map_err(|error| self.garbled(&error))?;
        Ok(Read { text, value })
    }

    async fn exchange(&self, request: hyper::http::request::Builder, body: Vec<u8>, limit: Duration) -> Result<String, ClientError> {
        let request = request.header(header::HOST, "raisd").body(Full::new(Bytes::from(body))).map_err(|error| self.garbled(&error))?;
        match tokio::time::timeout(limit, self.exchange_unbounded(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Silent { socket: self.socket.clone(), limit }),
        }
    }

    async fn exchange_unbounded(&self, request: Request<Full<Bytes>>) -> Result<String, ClientError> {
        let broken = |source| ClientError::Broken { socket: self.socket.clone(), source };
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|source| ClientError::NoDaemon { socket: self.socket.clone(), source })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let exchange = async move {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|error| self.garbled(&error))?;
            Ok((status, body.to_bytes()))
        };
        // What goes wrong with the connection is told to the exchange as well.
        let (exchanged, _connection) = tokio::join!(exchange, connection);
        let (status, body) = exchanged?;
        let text = String::from_utf8(body.into()).map_err(|error| self.garbled(&error))?;
        if status == StatusCode::OK {
            return Ok(text);
        }
        match serde_json::from_str::<Failed>(&text) {
            Ok(failed) if status == StatusCode::UNPROCESSABLE_ENTITY => Err(ClientError::Configuration(failed.error)),
            Ok(failed) => Err(ClientError::Refused(failed.error)),
            Err(error) => Err(self.garbled(&format!("HTTP status {status} with a body that is not its: {error}"))),
        }
    }

    fn check_version(&self, version: u32) -> Result<(), ClientError> {
        if version == VIEW_VERSION { Ok(()) } else { Err(self.garbled(&format!("it has version {version}, not {VIEW_VERSION}"))) }
    }

    pub(super) fn garbled(&self, why: &dyn std::fmt::Display) -> ClientError {
        ClientError::Garbled { socket: self.socket.clone(), why: why.to_string() }
    }
}

/// RFC 3986 §2.3: what is not unreserved is written as `%XX`.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_query() {
        assert_eq!(percent_encoded("www-1.a_b~"), "www-1.a_b~");
        assert_eq!(percent_encoded("a b&c=ü"), "a%20b%26c%3D%C3%BC");
    }

    #[tokio::test]
    async fn a_missing_daemon_is_named_with_its_socket_and_a_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("raisd.sock");
        let error = Client::new(socket.clone()).status(None).await.unwrap_err();
        assert!(error.is_unreached());
        let text = error.to_string();
        assert!(text.contains(&socket.display().to_string()) && text.contains("is raisd running?"), "{text}");
    }

    #[tokio::test]
    async fn a_daemon_that_hangs_up_is_not_taken_for_an_answer() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("raisd.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let hang_up = async { drop(listener.accept().await) };
        let client = Client::new(socket);
        let (answer, ()) = tokio::join!(client.status(None), hang_up);
        assert!(matches!(answer, Err(ClientError::Broken { .. })), "{answer:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_says_nothing_is_given_up_in_time() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("raisd.sock");
        let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let error = Client::new(socket).status(None).await.unwrap_err();
        assert!(matches!(error, ClientError::Silent { .. }) && error.is_unreached(), "{error}");
    }
}
