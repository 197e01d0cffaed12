//! Questions and answers over connections: for answers that do not fit a datagram.
//!
//! Owns one listening socket and its connections. Its own loop, since hickory-server's neither bounds the connections nor
//! pauses when the process has no files left, and those are the daemon's too.
//!
//! **Queue**: what `connections.rs` allows in all and for each client network. Questions of a connection are answered in turn,
//! however many were sent at once. A connection that sends no whole question, or takes no answer, for [`PATIENCE`] is
//! closed. **Cancellation** closes all of them. Called by `dns.rs`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_server::net::xfer::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::answer::Answering;
use super::connections::Connections;
use super::limit::network;
use super::udp::QUESTION_BYTES_MAX;

/// RFC 7766 §6.2.3 recommends seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Pause after an error of the listening socket (no files left), so that a lasting one does not take a processor.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of the length in front of each message (RFC 1035 §4.2.2).
const LENGTH_BYTES: usize = 2;

/// Answers on `listener` until cancelled.
pub(crate) async fn serve(listener: TcpListener, answering: Answering, connections: Arc<Connections>) {
    // Dropped with this future, which closes them.
    let mut tasks = JoinSet::new();
    let mut is_failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                is_failing = false;
                while tasks.try_join_next().is_some() {}
                let task = tasks.spawn(converse(stream, from, answering.clone()));
                connections.admit(network(from.ip()), task);
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

async fn converse(mut stream: TcpStream, from: SocketAddr, answering: Answering) {
    if let Err(error) = talk(&mut stream, from, &answering).await {
        tracing::debug!(%error, %from, "a DNS connection has ended");
    }
}

async fn talk(stream: &mut TcpStream, from: SocketAddr, answering: &Answering) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut message, mut answer, mut framed) = (Vec::new(), Vec::new(), Vec::new());
    while timeout(PATIENCE, read_message(stream, &mut message)).await?? == Told::Message {
        answering.answer(&message, from, Protocol::Tcp, &mut answer);
        if answer.is_empty() {
            // What deserves no answer deserves no connection.
            return Ok(());
        }
        // Put together with a limit of 16 bits.
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        framed.clear();
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(&answer);
        timeout(PATIENCE, stream.write_all(&framed)).await??;
    }
    Ok(())
}

/// What a client does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// It has nothing more to ask.
    End,
    /// It has sent a message.
    Message,
}

/// RFC 1035 §4.2.2: a length of two bytes, then the message.
async fn read_message(stream: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<Told> {
    let mut length = [0; LENGTH_BYTES];
    if stream.read(&mut length[..1]).await? == 0 {
        return Ok(Told::End);
    }
    stream.read_exact(&mut length[1..]).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > QUESTION_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes is no question")));
    }
    message.resize(length, 0);
    stream.read_exact(message).await?;
    Ok(Told::Message)
}
