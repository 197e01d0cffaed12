//! One GET over a connection of its own, plain or with TLS.
//!
//! Owns the connection of one probe. Never follows a redirect, and reads no more of a body than [`BODY_BYTES_MAX`]. Called by
//! `probe.rs`.

use std::pin::{Pin, pin};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::Fuse;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http1::{Connection, handshake};
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::http::uri::{Authority, Scheme};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::TestProbe;
use super::spec::HttpTest;
use super::tcp::Connector;
use super::tls::Tls;
use crate::ports::cause::in_one_line;

/// What the other side finds in its log.
const AGENT: &str = concat!("raisd/", env!("CARGO_PKG_VERSION"));

/// Of a body, so much is searched, and read before the connection is closed: closing on unread bytes resets it, and servers
/// log that.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// And a body that nobody searches is read for no longer than this.
const BODY_WAIT_MAX: Duration = Duration::from_millis(100);

/// A test that asks a web server.
pub(crate) struct HttpProbe {
    test: HttpTest,
    host: HeaderValue,
    path: Uri,
    connector: Connector,
    tls: Option<Tls>,
    leftover: Option<Leftover>,
    /// The URL without its query, which may hold a password: what fails is logged, recorded and shown.
    shown: String,
}

impl HttpProbe {
    /// Takes the URL apart.
    pub(crate) fn new(test: HttpTest) -> Result<Self, String> {
        let malformed = || "its url is not of the form http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH, without a user".to_owned();
        let uri: Uri = test.url.parse().map_err(|_| malformed())?;
        let authority = uri.authority().ok_or_else(malformed)?;
        if authority.as_str().contains('@') {
            return Err(malformed());
        }
        let (port, tls) = if uri.scheme() == Some(&Scheme::HTTP) {
            (80, None)
        } else if uri.scheme() == Some(&Scheme::HTTPS) {
            (443, Some(Tls::new(&server_name(&test, authority)?, test.ca_file.clone())?))
        } else {
            return Err(malformed());
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let host = test.host.as_deref().unwrap_or(authority.as_str());
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(port));
        Ok(Self {
            host: HeaderValue::from_str(host).map_err(|_| format!("{host:?} cannot stand in a Host header"))?,
            path: path.parse().map_err(|_| malformed())?,
            connector: Connector::new(&address, test.source)?,
            tls,
            leftover: None,
            shown: test.url.split_once('?').map_or_else(|| test.url.clone(), |(place, _)| format!("{place}?…")),
            test,
        })
    }

    /// Waits for the head of the answer. Cancelled, it closes the connection.
    async fn get(&mut self) -> Result<(StatusCode, Leftover), String> {
        let stream = self.connector.connect().await?;
        let stream: Box<dyn Stream> = match &mut self.tls {
            Some(tls) => Box::new(tls.connect(stream).await?),
            None => Box::new(stream),
        };
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| in_one_line(&error))?;
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
        let answer = answer.map_err(|error| in_one_line(&error))?;
        Ok((answer.status(), Leftover { connection, body: answer.into_body() }))
    }

    async fn judge(&mut self) -> Result<(), String> {
        let got = self.get().await;
        let url = &self.shown;
        let (status, leftover) = got.map_err(|why| format!("{url}: {why}"))?;
        let leftover = self.leftover.insert(leftover);
        let passes =
            if self.test.status.is_empty() { (200..400).contains(&status.as_u16()) } else { self.test.status.contains(&status.as_u16()) };
        if !passes {
            return Err(format!("{url} answered {status}"));
        }
        match &self.test.body {
            Some(text) => leftover.find(text).await.map_err(|why| format!("{url} answered {status}, but {why}")),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl TestProbe for HttpProbe {
    async fn probe(&mut self) -> Result<(), String> {
        self.leftover = None;
        self.judge().await
    }

    fn overdue(&self) -> String {
        format!("{} did not answer", self.shown)
    }

    async fn tidy_up(&mut self) {
        if let Some(leftover) = self.leftover.take() {
            leftover.discard().await;
        }
    }
}

/// Whom the certificate must be valid for.
fn server_name(test: &HttpTest, authority: &Authority) -> Result<String, String> {
    let host = match (&test.server_name, &test.host) {
        (Some(name), _) => name.clone(),
        (None, Some(host)) => {
            let host: Authority = host.parse().map_err(|_| format!("{host:?} cannot stand in a Host header"))?;
            host.host().to_owned()
        }
        (None, None) => authority.host().to_owned(),
    };
    Ok(host.trim_matches(['[', ']']).to_owned())
}

/// Drives the connection; polled on after its end it stays silent.
type Driver = Fuse<Connection<TokioIo<Box<dyn Stream>>, Empty<Bytes>>>;

/// A connection, plain or with TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection whose answer has begun.
struct Leftover {
    connection: Pin<Box<Driver>>,
    body: Incoming,
}

impl Leftover {
    /// The next piece of the body.
    async fn frame(&mut self) -> Option<hyper::Result<Frame<Bytes>>> {
        tokio::select! {
            biased;
            frame = self.body.frame() => frame,
            // It drives the reading, and may end before all that it has received is read.
            _ = &mut self.connection => self.body.frame().await,
        }
    }

    /// Reads the body until it contains `text`. Cancelled, it loses what it has read.
    async fn find(&mut self, text: &str) -> Result<(), String> {
        let mut read = Vec::new();
        while let Some(frame) = self.frame().await {
            let frame = frame.map_err(|error| format!("the body broke off: {}", in_one_line(&error)))?;
            // What was searched before need not be searched again, but for a beginning of the text at its end.
            let from = read.len().saturating_sub(text.len());
            let room = BODY_BYTES_MAX - read.len();
            let piece = frame.data_ref().map(Bytes::as_ref).unwrap_or_default();
            read.extend_from_slice(piece.get(..room).unwrap_or(piece));
            let unsearched = read.get(from..).unwrap_or_default();
            if text.is_empty() || unsearched.windows(text.len()).any(|window| window == text.as_bytes()) {
                return Ok(());
            }
            if read.len() == BODY_BYTES_MAX {
                return Err(format!("the first {BODY_BYTES_MAX} bytes of the body do not contain {text:?}"));
            }
        }
        Err(format!("the body, {} bytes, does not contain {text:?}", read.len()))
    }

    /// Reads the body, within bounds, and closes the connection.
    async fn discard(mut self) {
        let reading = async {
            let mut bytes = 0;
            while let Some(Ok(frame)) = self.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > BODY_BYTES_MAX {
                    break;
                }
            }
        };
        // The verdict has been given: how the body ends changes nothing.
        let _read = timeout(BODY_WAIT_MAX, reading).await;
    }
}
