//! Questions and answers over connections: for answers that do not fit a datagram.
//!
//! Owns one listening socket and its connections. Its own loop, since hickory-server's neither bounds the connections nor
//! pauses when the process has no files left, and those are the daemon's too.
//!
//! **Queue**: at most `CONNECTIONS_MAX` connections; a further one takes the place of the one open longest. Questions of a
//! connection are answered in turn. A connection that sends no whole question, or takes no answer, for `PATIENCE` is
//! closed. **Cancellation** closes all of them. Called by `dns.rs`.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_server::net::xfer::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::answer::Answering;
use super::udp::QUESTION_BYTES_MAX;

/// Resolvers keep a connection for one question or few. Few enough files to leave the daemon its own.
pub(crate) const CONNECTIONS_MAX: usize = 128;

/// RFC 7766 §6.2.3 recommends seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pause after an error of the listening socket (no files left), so that a lasting one does not take a processor.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Answers on `listener` until cancelled.
pub(crate) async fn serve(listener: TcpListener, answering: Answering) {
    let mut connections = Connections::default();
    let mut is_failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                is_failing = false;
                connections.add(converse(stream, from, answering.clone()));
            }
            // The client has gone before we came to it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if !is_failing {
                    tracing::warn!(%error, address = ?listener.local_addr().ok(), "DNS connections cannot be accepted; trying on");
                }
                is_failing = true;
                sleep(ERROR_PAUSE).await;
            }
        }
    }
}

/// The connections of a listener; dropping it closes them.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// The oldest first; some may have ended.
    order: VecDeque<AbortHandle>,
}

impl Connections {
    fn add(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.order.retain(|task| !task.is_finished());
        if self.order.len() >= CONNECTIONS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        self.order.push_back(self.tasks.spawn(connection));
    }
}

async fn converse(mut stream: TcpStream, from: SocketAddr, answering: Answering) {
    if let Err(error) = talk(&mut stream, from, &answering).await {
        tracing::debug!(%error, %from, "a DNS connection has ended");
    }
}

async fn talk(stream: &mut TcpStream, from: SocketAddr, answering: &Answering) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(message) = timeout(PATIENCE, read_message(stream)).await?? {
        // What deserves no answer deserves no connection.
        let Some(answer) = answering.answer(&message, from, Protocol::Tcp).await else { return Ok(()) };
        // Encoded with a limit of 16 bits.
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let mut framed = Vec::with_capacity(2 + answer.len());
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(&answer);
        timeout(PATIENCE, stream.write_all(&framed)).await??;
    }
    Ok(())
}

/// RFC 1035 §4.2.2: a length of two bytes, then the message. `None`: the client has nothing more to ask.
async fn read_message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 2];
    if stream.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[1..]).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > QUESTION_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes is no question")));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}
