//! The socket that changes addresses: batches of requests through netlink-proto, each request answered or the whole batch reported lost.
//!
//! It hears no notifications, so nothing but answers can fill its receive buffer.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::Stream;
use netlink_packet_core::{ErrorMessage, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_proto::ConnectionHandle;
use netlink_proto::sys::protocols::NETLINK_ROUTE;
use netlink_proto::sys::{AsyncSocket, SocketAddr};
use tokio::task::JoinHandle;

use super::{Limits, Messages, NetlinkError, set_receive_buffer};

/// The kernel has answered when the batch has been handed over. Whatever is not there by then has been lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// `NLMSGERR_ATTR_MSG`: the kernel's own words about an error.
const ERROR_TEXT: u16 = 1;

/// The open socket.
pub(super) struct Requests {
    handle: ConnectionHandle<RouteNetlinkMessage>,
    unsolicited: Messages,
    connection: JoinHandle<()>,
}

/// The kernel's answer to one request.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// Done.
    Done,
    /// Refused, with the error number and the kernel's words, if it has any.
    Refused { errno: i32, text: String },
}

/// Answers to a batch are missing; what became of its requests is unknown until the kernel is asked. The socket is to be opened anew.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// The connection has ended.
    #[error("the netlink connection has closed")]
    Closed,
    /// The answers are out of order.
    #[error("answer {got} came where answer {expected} was due")]
    Disordered { got: u32, expected: u32 },
    /// The receive buffer was full.
    #[error("the netlink receive buffer was full")]
    Overrun,
    /// Nothing more came.
    #[error("{answered} of {asked} answers came within {} s", ANSWER_TIMEOUT.as_secs())]
    TimedOut { answered: usize, asked: usize },
}

impl Requests {
    /// Opens the socket.
    pub(super) fn open(limits: Limits) -> Result<Self, NetlinkError> {
        let open = |source| NetlinkError::Open { source };
        let (mut connection, handle, unsolicited) = netlink_proto::new_connection(NETLINK_ROUTE).map_err(open)?;
        let socket = connection.socket_mut().socket_mut();
        set_receive_buffer(socket, limits.receive_buffer);
        // Without a copy of the request each answer takes a third of the room.
        socket.set_cap_ack(true).map_err(open)?;
        socket.set_ext_ack(true).map_err(open)?;
        connection.set_forward_ack(true);
        Ok(Self { handle, unsolicited: Box::pin(unsolicited), connection: tokio::spawn(connection) })
    }

    /// Has the kernel do all of these, in order; at most [`Limits::batch`].
    pub(super) async fn batch(&mut self, messages: Vec<NetlinkMessage<RouteNetlinkMessage>>) -> Result<Vec<Reply>, Lost> {
        let asked = messages.len();
        let answers = self.handle.request_batch(messages, SocketAddr::new(0, 0)).map_err(|_| Lost::Closed)?;
        let mut replies = Vec::with_capacity(asked);
        let Self { unsolicited, .. } = self;
        let collected = tokio::time::timeout(ANSWER_TIMEOUT, collect(asked, answers, unsolicited, &mut replies)).await;
        match collected {
            Ok(result) => result.map(|()| replies),
            Err(_elapsed) => Err(Lost::TimedOut { answered: replies.len(), asked }),
        }
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Answers come in the order of the requests, numbered without a gap; what is lost is lost at the end.
async fn collect(
    asked: usize,
    mut answers: impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Unpin,
    unsolicited: &mut Messages,
    replies: &mut Vec<Reply>,
) -> Result<(), Lost> {
    let mut expected = None;
    while replies.len() < asked {
        let answer = tokio::select! {
            answer = answers.next() => answer.ok_or(Lost::Closed)?,
            message = unsolicited.next() => match message {
                Some((message, _)) if matches!(message.payload, NetlinkPayload::Overrun(_)) => return Err(Lost::Overrun),
                Some(_) => continue,
                None => return Err(Lost::Closed),
            },
        };
        let NetlinkPayload::Error(error) = &answer.payload else { continue };
        let got = answer.header.sequence_number;
        let due = expected.unwrap_or(got);
        if got != due {
            return Err(Lost::Disordered { got, expected: due });
        }
        expected = Some(due.wrapping_add(1));
        replies.push(reply(error));
    }
    Ok(())
}

fn reply(error: &ErrorMessage) -> Reply {
    match error.code {
        None => Reply::Done,
        Some(code) => Reply::Refused { errno: code.get().saturating_neg(), text: text(&error.header).unwrap_or_default() },
    }
}

/// The kernel's words behind the 16-byte header of the refused request.
fn text(rest: &[u8]) -> Option<String> {
    let mut rest = rest.get(16..)?;
    while let Some((&[l0, l1, k0, k1], _)) = rest.split_first_chunk::<4>() {
        let (length, kind) = (usize::from(u16::from_ne_bytes([l0, l1])), u16::from_ne_bytes([k0, k1]));
        let value = rest.get(4..length)?;
        if kind == ERROR_TEXT {
            return Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_kernel_are_found_behind_other_attributes() {
        let mut rest = vec![0; 16];
        rest.extend(8u16.to_ne_bytes());
        rest.extend(2u16.to_ne_bytes());
        rest.extend([1, 2, 3, 4]);
        rest.extend(9u16.to_ne_bytes());
        rest.extend(1u16.to_ne_bytes());
        rest.extend(b"oops\0\0\0\0");
        assert_eq!(text(&rest).as_deref(), Some("oops"));
    }

    #[test]
    fn broken_attributes_say_nothing() {
        assert_eq!(text(&[0; 15]), None);
        assert_eq!(text(&[0; 16]), None);
        let mut zero = vec![0; 24];
        assert_eq!(text(&zero), None);
        zero[16] = 200;
        assert_eq!(text(&zero), None);
    }
}
