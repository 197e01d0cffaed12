//! One GET over a connection of its own.
//!
//! Owns the connection of one probe. Never follows a redirect and never judges a body: a status from 200 to 399 passes.
//! Called by `probe.rs` only.

use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Fuse;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Connection, handshake};
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::http::uri::Scheme;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connect;
use super::resolve::Resolver;

/// What the other side finds in its log.
const AGENT: &str = concat!("raisd/", env!("CARGO_PKG_VERSION"));

/// Of a body, so much is read before the connection is closed: closing on unread bytes resets it, and servers log that.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// And for no longer than this.
const BODY_WAIT_MAX: Duration = Duration::from_millis(100);

/// What to ask, and where.
#[derive(Debug)]
pub(crate) struct HttpTarget {
    url: String,
    host: HeaderValue,
    path: Uri,
    resolver: Resolver,
}

impl HttpTarget {
    /// Takes `http://HOST[:PORT]/PATH` apart.
    pub(crate) fn new(url: &str) -> Result<Self, String> {
        let malformed = || format!("{url:?} is not of the form http://HOST[:PORT]/PATH");
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        let authority = uri.authority().ok_or_else(malformed)?;
        if uri.scheme() != Some(&Scheme::HTTP) || authority.as_str().contains('@') {
            return Err(malformed());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            url: url.to_owned(),
            host: HeaderValue::from_str(authority.as_str()).map_err(|_| malformed())?,
            path: path.parse().map_err(|_| malformed())?,
            resolver: Resolver::new(&format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)))?,
        })
    }

    /// As configured.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Waits for the head of the answer. Cancelled, it closes the connection.
    pub(crate) async fn get(&mut self) -> Result<Leftover, String> {
        let stream = connect(&mut self.resolver).await.map_err(|why| format!("{}: {why}", self.url))?;
        let failed = |error: &dyn std::error::Error| format!("{}: {}", self.url, chain(error));
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        let mut connection = Box::pin(connection.fuse());
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let mut asking = pin!(sender.send_request(request));
        let answer = tokio::select! {
            biased;
            answer = &mut asking => answer,
            // The connection may end with the answer; asking knows which of the two it was.
            _ = &mut connection => asking.await,
        };
        let answer = answer.map_err(|error| failed(&error))?;
        let status = answer.status();
        if !(200..400).contains(&status.as_u16()) {
            return Err(format!("{} answered {status}", self.url));
        }
        Ok(Leftover { connection, body: answer.into_body() })
    }
}

/// An error with its causes: hyper's own words alone say little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Drives the connection; polled on after its end it stays silent.
type Driver = Fuse<Connection<TokioIo<TcpStream>, Empty<Bytes>>>;

/// A connection whose answer has begun.
pub(crate) struct Leftover {
    connection: Pin<Box<Driver>>,
    body: Incoming,
}

impl Leftover {
    /// Reads the body, within bounds, and closes the connection.
    pub(crate) async fn discard(self) {
        let Self { mut connection, mut body } = self;
        let reading = async {
            let mut bytes = 0;
            while let Some(Ok(frame)) = body.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > BODY_BYTES_MAX {
                    break;
                }
            }
        };
        let both = async {
            let mut reading = pin!(reading);
            tokio::select! {
                () = &mut reading => {}
                // It drives the reading, and may end before all that it has received is read.
                _ = &mut connection => reading.await,
            }
        };
        // The verdict has been given: how the body ends changes nothing.
        let _read = timeout(BODY_WAIT_MAX, both).await;
    }
}
