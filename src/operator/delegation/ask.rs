//! One question to one name server, as a resolver asks it: without recursion, over UDP.
//!
//! Owns a socket for as long as the question is out. Called by `delegation.rs`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::ProtoError;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

/// Where resolvers ask; a delegation cannot name another port.
const PORT: u16 = 53;

/// A resolver gives up about then, too.
const PATIENCE: Duration = Duration::from_secs(1);

/// A datagram may be lost.
const TRIES: u32 = 2;

/// What a name server says of a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Soa {
    pub(super) serial: u32,
    pub(super) authoritative: bool,
}

/// Why a name server did not say it. The server or the way to it is at fault.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It answered with an error.
    #[error("answers {0} instead of the zone's SOA record: its raisd has no such zone, or has not heard of a leader yet")]
    Code(ResponseCode),
    /// The answer has no SOA record.
    #[error("answers without the zone's SOA record: another server has this address")]
    Empty,
    /// The name or the question makes no sense.
    #[error("cannot be asked: {0}")]
    Question(#[from] ProtoError),
    /// Its name is not found.
    #[error("not asked, its name does not resolve here: {0}")]
    Resolve(io::Error),
    /// No answer.
    #[error("no answer in {TRIES} tries of {PATIENCE:?}: does raisd run there, with [dns], and may UDP and TCP port {PORT} be reached?")]
    Silent,
    /// The kernel does not send, or the host says that nobody listens.
    #[error("cannot be reached: {0}; does raisd run there, with [dns] listening on this address?")]
    Unreachable(#[from] io::Error),
}

/// Asks for the zone's SOA record.
pub(super) async fn soa(server: IpAddr, zone: &str) -> Result<Soa, AskError> {
    let own: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(own, 0)).await?;
    socket.connect(SocketAddr::new(server, PORT)).await?;
    let mut question = Message::new(Message::query().metadata.id, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(Name::from_ascii(zone)?, RecordType::SOA));
    let bytes = question.to_vec()?;
    for _ in 0..TRIES {
        socket.send(&bytes).await?;
        if let Ok(answer) = timeout(PATIENCE, receive(&socket, &question)).await {
            return read(&answer?);
        }
    }
    Err(AskError::Silent)
}

/// The answer to the question; anything else that comes is not for us.
async fn receive(socket: &UdpSocket, question: &Message) -> io::Result<Message> {
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let answer = Message::from_vec(buffer.get(..length).unwrap_or_default()).ok();
        let is_ours = |answer: &Message| answer.metadata.id == question.metadata.id && answer.queries == question.queries;
        if let Some(answer) = answer.filter(is_ours) {
            return Ok(answer);
        }
    }
}

fn read(answer: &Message) -> Result<Soa, AskError> {
    if answer.metadata.response_code != ResponseCode::NoError {
        return Err(AskError::Code(answer.metadata.response_code));
    }
    let serial = answer.answers.iter().find_map(|record| if let RData::SOA(soa) = &record.data { Some(soa.serial) } else { None });
    let serial = serial.ok_or(AskError::Empty)?;
    Ok(Soa { serial, authoritative: answer.metadata.authoritative })
}

/// The addresses of a name server outside the zone, as this host's resolver knows them.
pub(super) async fn resolve(name: &str) -> Result<Vec<IpAddr>, AskError> {
    let found = lookup_host((name, PORT)).await.map_err(AskError::Resolve)?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::SOA;

    use super::*;

    fn answer(code: ResponseCode, authoritative: bool, with_soa: bool) -> Message {
        let mut answer = Message::new(1, MessageType::Response, OpCode::Query);
        answer.metadata.response_code = code;
        answer.metadata.authoritative = authoritative;
        if with_soa {
            let soa = SOA::new(Name::root(), Name::root(), 42, 1, 1, 1, 1);
            answer.answers.push(Record::from_rdata(Name::root(), 1, RData::SOA(soa)));
        }
        answer
    }

    #[test]
    fn an_answer_is_what_it_says() {
        for authoritative in [true, false] {
            assert_eq!(read(&answer(ResponseCode::NoError, authoritative, true)).unwrap(), Soa { serial: 42, authoritative });
        }
        assert!(matches!(read(&answer(ResponseCode::Refused, false, false)), Err(AskError::Code(ResponseCode::Refused))));
        assert!(matches!(read(&answer(ResponseCode::NoError, true, false)), Err(AskError::Empty)));
    }
}
