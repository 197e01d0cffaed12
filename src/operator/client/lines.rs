//! An answer that comes line by line for as long as the daemon has something to say: the followed events.
//!
//! Owns the connection. Holds one line at a time, of bounded length; who does not ask for the next line reads nothing from
//! the socket, and what the daemon does with that is its business (it tells how much was missed).

use std::path::PathBuf;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::{ANSWER_BYTES_MAX, ANSWER_TIME_MAX, Client, ClientError, SLACK};
use crate::ports::api::call::Failed;

/// The longest line; an event has at most a few kilobytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The lines of one answer.
#[derive(Debug)]
pub struct Lines {
    socket: PathBuf,
    body: Incoming,
    /// What has come and is not a whole line yet.
    rest: Vec<u8>,
    /// How much of it has been looked through for an end of line.
    looked: usize,
    connection: JoinHandle<()>,
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Client {
    /// Asks for what comes line by line.
    ///
    /// # Errors
    ///
    /// No daemon, or it refuses.
    pub async fn lines(&self, target: &str) -> Result<Lines, ClientError> {
        let limit = ANSWER_TIME_MAX.saturating_add(SLACK);
        match tokio::time::timeout(limit, self.open_lines(target)).await {
            Ok(lines) => lines,
            Err(_) => Err(ClientError::Silent { socket: self.socket.clone(), limit }),
        }
    }

    async fn open_lines(&self, target: &str) -> Result<Lines, ClientError> {
        let broken = |source| ClientError::Broken { socket: self.socket.clone(), source };
        let request = Request::builder().method(Method::GET).uri(target).header(header::HOST, "raisd");
        let request = request.body(Full::new(Bytes::new())).map_err(|error| self.garbled(&error))?;
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|source| ClientError::NoDaemon { socket: self.socket.clone(), source })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // What goes wrong with the connection is told to who reads the body as well.
        let connection = tokio::spawn(async move { drop(connection.await) });
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = response.into_body();
        if status == StatusCode::OK {
            return Ok(Lines { socket: self.socket.clone(), body, rest: Vec::new(), looked: 0, connection });
        }
        let body = http_body_util::Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| self.garbled(&error))?;
        match serde_json::from_slice::<Failed>(&body.to_bytes()) {
            Ok(failed) => Err(ClientError::Refused(failed.error)),
            Err(error) => Err(self.garbled(&format!("HTTP status {status} with a body that is not its: {error}"))),
        }
    }
}

impl Lines {
    /// The next line, without its end; `None`: the daemon has said all, or stops.
    ///
    /// # Errors
    ///
    /// The connection breaks off, or what comes is no line of this version of raisd.
    pub async fn next(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            if let Some(end) = self.rest.get(self.looked..).and_then(|unread| unread.iter().position(|byte| *byte == b'\n')) {
                let mut line: Vec<u8> = self.rest.drain(..=self.looked + end).collect();
                line.pop();
                self.looked = 0;
                return String::from_utf8(line).map(Some).map_err(|error| self.garbled(error.to_string()));
            }
            self.looked = self.rest.len();
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(self.garbled(format!("a line has more than {LINE_BYTES_MAX} bytes")));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.rest.extend(frame.into_data().unwrap_or_default()),
                Some(Err(source)) => return Err(ClientError::Broken { socket: self.socket.clone(), source }),
                None if self.rest.is_empty() => return Ok(None),
                None => return Err(self.garbled("the last line has no end".to_owned())),
            }
        }
    }

    fn garbled(&self, why: String) -> ClientError {
        ClientError::Garbled { socket: self.socket.clone(), why }
    }
}
