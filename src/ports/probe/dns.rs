//! A question to a name server, over UDP, and over TCP if the answer does not fit.
//!
//! Owns the socket of one probe. Believes only answers to its question, from the server it asked. Called by `probe.rs`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use async_trait::async_trait;
use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::Name;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::TestProbe;
use super::spec::DnsTest;
use super::tcp::Connector;

/// The largest datagram that is read whole: without EDNS answers have at most 512 bytes, but some servers send more.
const ANSWER_BYTES_MAX: usize = 4096;

/// Names of records that a message about a failure shows.
const SHOWN_MAX: usize = 8;

/// A test that asks a name server.
pub(crate) struct DnsProbe {
    test: DnsTest,
}

impl DnsProbe {
    pub(crate) fn new(test: DnsTest) -> Self {
        Self { test }
    }

    async fn ask(&self) -> Result<Message, String> {
        let name = Name::from_str(&self.test.name).map_err(|error| format!("{:?} is no domain name: {error}", self.test.name))?;
        let mut question = Message::query();
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(name, self.test.record));
        let bytes = question.to_vec().map_err(|error| format!("the question cannot be written: {error}"))?;
        let answer = self.ask_over_udp(&question, &bytes).await?;
        if answer.metadata.truncation { self.ask_over_tcp(&question, &bytes).await } else { Ok(answer) }
    }

    async fn ask_over_udp(&self, question: &Message, bytes: &[u8]) -> Result<Message, String> {
        let server = self.test.server;
        let any = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        let source = self.test.source.unwrap_or(any);
        let bound = UdpSocket::bind(SocketAddr::new(source, 0)).await;
        let socket = bound.map_err(|error| format!("source {source} cannot be used: {error}"))?;
        let failed = |error: std::io::Error| format!("{server} could not be asked over UDP: {error}");
        // The kernel then drops what others send, and tells of ports on which nobody listens.
        socket.connect(server).await.map_err(failed)?;
        socket.send(bytes).await.map_err(failed)?;
        let mut buffer = vec![0; ANSWER_BYTES_MAX];
        loop {
            let length = socket.recv(&mut buffer).await.map_err(failed)?;
            // Anything else may be forged: the true answer may still come.
            if let Some(answer) = answer_to(question, buffer.get(..length).unwrap_or_default()) {
                return Ok(answer);
            }
        }
    }

    async fn ask_over_tcp(&self, question: &Message, bytes: &[u8]) -> Result<Message, String> {
        let server = self.test.server;
        let mut stream = Connector::new(&server.to_string(), self.test.source)?.connect().await?;
        let failed = |error: std::io::Error| format!("{server} could not be asked over TCP: {error}");
        let length = u16::try_from(bytes.len()).map_err(|_| "the question is too long".to_owned())?;
        // RFC 7766 §8: length and message in one segment.
        stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await.map_err(failed)?;
        let mut answer = vec![0; usize::from(stream.read_u16().await.map_err(failed)?)];
        stream.read_exact(&mut answer).await.map_err(failed)?;
        answer_to(question, &answer).ok_or_else(|| format!("{server} did not answer the question over TCP"))
    }

    fn judge(&self, answer: &Message) -> Result<(), String> {
        let DnsTest { server, name, record, expect, .. } = &self.test;
        let code = answer.metadata.response_code;
        if code != ResponseCode::NoError {
            return Err(format!("{server} answered {code} for {name} {record}"));
        }
        let of_type = answer.answers.iter().filter(|found| found.record_type() == *record);
        let found: Vec<String> = of_type.map(|found| found.data.to_string()).collect();
        if found.is_empty() {
            return Err(format!("{server} has no {record} record for {name}"));
        }
        match expect.iter().find(|wanted| !found.iter().any(|found| found.eq_ignore_ascii_case(wanted))) {
            Some(missing) => {
                let shown = found.iter().take(SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
                let more = if found.len() > SHOWN_MAX { format!(" and {} more", found.len() - SHOWN_MAX) } else { String::new() };
                Err(format!("{server} has not {missing} for {name} {record}, but {shown}{more}"))
            }
            None => Ok(()),
        }
    }
}

/// The message, if it answers the question.
fn answer_to(question: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let is_answer = answer.metadata.message_type == MessageType::Response && answer.metadata.id == question.metadata.id;
    // A server that could not even read the question returns none.
    let is_same =
        answer.queries == question.queries || (answer.queries.is_empty() && answer.metadata.response_code != ResponseCode::NoError);
    (is_answer && is_same).then_some(answer)
}

#[async_trait]
impl TestProbe for DnsProbe {
    async fn probe(&mut self) -> Result<(), String> {
        let answer = self.ask().await?;
        self.judge(&answer)
    }

    fn overdue(&self) -> String {
        let DnsTest { server, name, record, .. } = &self.test;
        format!("{server} did not answer for {name} {record}")
    }
}
