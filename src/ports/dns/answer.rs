//! One question, one answer: what every front of the name server shares.
//!
//! Owns the rules of an authoritative server (RFC 1034, 1035, 2308, 6891, 8482, 9619). Never keeps anything of a question.
//! Called by `udp.rs` and `tcp.rs` with the bytes of a message; hickory-server takes them apart and puts the answer together.
//!
//! | question | answer |
//! |---|---|
//! | shorter than a header, or an answer itself | none |
//! | cannot be read, or not exactly one question | FORMERR |
//! | operation other than a query | NOTIMP |
//! | EDNS version above 0 | BADVERS |
//! | class other than IN and ANY; name outside all zones; zone transfer | REFUSED |
//! | zone of which nothing has been published since the start | SERVFAIL: resolvers go on to another name server |
//! | name that does not exist | NXDOMAIN with SOA |
//! | no record of that type | NOERROR with SOA |
//! | ANY | one of the sets, as RFC 8482 allows |

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::slice::from_ref;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Record, RecordType};
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::net::NetError;
use hickory_server::net::runtime::{Time, TokioTime};
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{MessageResponse, MessageResponseBuilder};

use super::zone::{Content, Found, Zone, Zones};

/// The largest datagram that is sent: no path that carries IPv6 has to fragment it. Also what we say that we take.
const UDP_BYTES_MAX: u16 = 1232;

/// RFC 1035 §4.2.1, for those who do not say otherwise.
const UDP_BYTES_PLAIN: u16 = 512;

const HEADER_BYTES: usize = 12;

/// Root name, type, class, time to live and an empty list of options.
const OPT_BYTES: usize = 11;

/// The shortest question: root name, type, class.
const QUESTION_BYTES_MIN: usize = 5;

/// The shortest record: root name, type, class, time to live, length.
const RECORD_BYTES_MIN: usize = 11;

/// Answers questions from the zones.
#[derive(Clone, Debug)]
pub(crate) struct Answering {
    zones: Arc<ArcSwap<Zones>>,
}

impl Answering {
    pub(crate) fn new(zones: Arc<ArcSwap<Zones>>) -> Self {
        Self { zones }
    }

    /// The answer to a message, if it deserves one.
    pub(crate) async fn answer(&self, message: &[u8], from: SocketAddr, protocol: Protocol) -> Option<Vec<u8>> {
        let envelope = Envelope::read(message)?;
        if !envelope.is_plausible(message.len()) {
            return Some(envelope.bare_answer());
        }
        // The decoder reads what strangers send. If it has a flaw, that costs the answer, not the name server.
        let answering = AssertUnwindSafe(async {
            let request = Request::from_bytes(message.to_vec(), from, protocol).ok()?;
            let capture = Capture { limit: limit(&request), bytes: Arc::new(OnceLock::new()) };
            self.handle_request::<_, TokioTime>(&request, capture.clone()).await;
            Arc::into_inner(capture.bytes)?.into_inner()
        });
        let answer = match answering.catch_unwind().await {
            Ok(answer) => answer,
            Err(_panic) => {
                tracing::error!(%from, bytes = ?message, "a DNS message made the decoder panic: report it with these bytes");
                None
            }
        };
        Some(answer.unwrap_or_else(|| envelope.bare_answer()))
    }
}

/// The header of a message, read before anything is allocated for the rest.
#[derive(Clone, Copy, Debug)]
struct Envelope {
    id: [u8; 2],
    flags: u8,
    counts: [u16; 4],
}

impl Envelope {
    /// `None` for what is never answered: pieces, and answers, which could go back and forth for ever.
    fn read(message: &[u8]) -> Option<Self> {
        let [id0, id1, flags, _, q0, q1, a0, a1, n0, n1, x0, x1] = *message.first_chunk::<HEADER_BYTES>()?;
        let counts = [[q0, q1], [a0, a1], [n0, n1], [x0, x1]].map(u16::from_be_bytes);
        (flags & 0x80 == 0).then_some(Self { id: [id0, id1], flags, counts })
    }

    fn is_query(self) -> bool {
        self.flags & 0x78 == 0
    }

    /// Whether the message can hold what its header promises: the decoder makes room by the header's word.
    fn is_plausible(self, length: usize) -> bool {
        let [questions, others @ ..] = self.counts.map(usize::from);
        let needed = questions * QUESTION_BYTES_MIN + others.iter().sum::<usize>() * RECORD_BYTES_MIN;
        // RFC 9619: a query has exactly one question.
        needed <= length - HEADER_BYTES && (questions == 1 || !self.is_query())
    }

    /// An answer without question, for what cannot be read: NOTIMP or FORMERR.
    fn bare_answer(self) -> Vec<u8> {
        let code = if self.is_query() { ResponseCode::FormErr } else { ResponseCode::NotImp };
        // The operation and "recursion desired" come back as they were.
        let [id0, id1] = self.id;
        let mut answer = vec![id0, id1, 0x80 | (self.flags & 0x79), code.low()];
        answer.resize(HEADER_BYTES, 0);
        answer
    }
}

/// The most bytes that the answer to a request may have.
fn limit(request: &Request) -> u16 {
    match (request.protocol(), &request.edns) {
        (Protocol::Udp, Some(edns)) => edns.max_payload().clamp(UDP_BYTES_PLAIN, UDP_BYTES_MAX),
        (Protocol::Udp, None) => UDP_BYTES_PLAIN,
        (_, _) => u16::MAX,
    }
}

/// What is sent back, borrowed from the zone.
struct Reply<'a> {
    code: ResponseCode,
    authoritative: bool,
    truncated: bool,
    answers: [&'a [Record]; 2],
    /// Answers of sets that do not rotate.
    fixed: Vec<&'a Record>,
    authority: &'a [Record],
    additional: &'a [Record],
}

impl<'a> Reply<'a> {
    fn refusal(code: ResponseCode) -> Self {
        Self { code, authoritative: false, truncated: false, answers: [&[], &[]], fixed: Vec::new(), authority: &[], additional: &[] }
    }

    /// That there is nothing, with the record that says for how long.
    fn nothing(code: ResponseCode, content: &'a Content) -> Self {
        Self { authoritative: true, authority: from_ref(&content.soa), ..Self::refusal(code) }
    }

    fn new(request: &Request, zone: &'a Zone, content: &'a Content, edns: Option<&Edns>) -> Self {
        let Some(question) = request.queries.queries().first() else { return Self::refusal(ResponseCode::FormErr) };
        let found = Self { authoritative: true, ..Self::refusal(ResponseCode::NoError) };
        match zone.find(content, question.name(), question.query_type()) {
            Found::Addresses(set) => {
                let limit = usize::from(limit(request));
                let taken = HEADER_BYTES + request.queries.as_bytes().len() + edns.map_or(0, |_| OPT_BYTES);
                let turn = zone.take_turn(set, limit.saturating_sub(taken));
                // Over TCP there is no other way to get the rest.
                let truncated = turn.is_cut && request.protocol() == Protocol::Udp;
                Self { answers: [turn.first, turn.second], truncated, ..found }
            }
            Found::NoName => Self::nothing(ResponseCode::NXDomain, content),
            Found::NoRecords => Self::nothing(ResponseCode::NoError, content),
            Found::Records { records, glue } => {
                Self { fixed: records, additional: glue, ..found }.without_glue_that_does_not_fit(request, edns)
            }
        }
    }

    /// RFC 2181 §9: leaving out addresses of name servers is no truncation.
    fn without_glue_that_does_not_fit(mut self, request: &Request, edns: Option<&Edns>) -> Self {
        while let Some((_, fewer)) = self.additional.split_last() {
            let encoded = encode(self.message(request, edns), limit(request));
            if encoded.is_ok_and(|(info, _)| !info.truncation) {
                break;
            }
            self.additional = fewer;
        }
        self
    }

    fn message<'q>(
        &self,
        request: &'q Request,
        edns: Option<&'q Edns>,
    ) -> MessageResponse<'q, 'a, Records<'a>, Records<'a>, Records<'a>, Records<'a>> {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = self.code;
        metadata.authoritative = self.authoritative;
        metadata.truncation = self.truncated;
        let [first, second] = self.answers;
        let answers: Records<'a> =
            if self.fixed.is_empty() { Box::new(first.iter().chain(second)) } else { Box::new(self.fixed.clone().into_iter()) };
        let (authority, none, additional): (Records<'a>, Records<'a>, Records<'a>) =
            (Box::new(self.authority.iter()), Box::new(std::iter::empty()), Box::new(self.additional.iter()));
        MessageResponseBuilder::new(&request.queries, edns).build(metadata, answers, authority, none, additional)
    }
}

type Records<'a> = Box<dyn Iterator<Item = &'a Record> + Send + 'a>;

/// Ours to a request that has one. RFC 6891 §6.1.1; RFC 3225 §3: DO comes back as it was.
fn own_edns(request: &Request) -> Option<Edns> {
    let theirs = request.edns.as_ref()?;
    let mut ours = Edns::new();
    ours.set_max_payload(UDP_BYTES_MAX).set_version(0).set_dnssec_ok(theirs.flags().dnssec_ok);
    Some(ours)
}

/// What is wrong with a request before its name matters.
fn objection(request: &Request) -> Option<ResponseCode> {
    if request.metadata.op_code != OpCode::Query {
        return Some(ResponseCode::NotImp);
    }
    if request.version() > 0 {
        return Some(ResponseCode::BADVERS);
    }
    let [question] = request.queries.queries() else { return Some(ResponseCode::FormErr) };
    let is_internet = matches!(question.query_class(), DNSClass::IN | DNSClass::ANY);
    let is_transfer = matches!(question.query_type(), RecordType::AXFR | RecordType::IXFR);
    (!is_internet || is_transfer).then_some(ResponseCode::Refused)
}

#[async_trait::async_trait]
impl RequestHandler for Answering {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut to: R) -> ResponseInfo {
        let edns = own_edns(request);
        let edns = edns.as_ref();
        let zones = self.zones.load();
        let zone = request.queries.queries().first().and_then(|question| zones.holding(question.name()));
        let content = zone.map(Zone::content);
        let content = content.as_ref().and_then(|content| content.as_deref());
        let reply = match (objection(request), zone, content) {
            (Some(code), _, _) => Reply::refusal(code),
            (None, None, _) => Reply::refusal(ResponseCode::Refused),
            (None, Some(_), None) => Reply::refusal(ResponseCode::ServFail),
            (None, Some(zone), Some(content)) => Reply::new(request, zone, content, edns),
        };
        match to.send_response(reply.message(request, edns)).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, to = %request.src(), "an answer could not be put together");
                let mut metadata = Metadata::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
                metadata.response_code = ResponseCode::ServFail;
                Header { metadata, counts: HeaderCounts::default() }.into()
            }
        }
    }
}

/// Takes the bytes of an answer, for a front to send.
#[derive(Clone, Debug)]
struct Capture {
    limit: u16,
    bytes: Arc<OnceLock<Vec<u8>>>,
}

#[async_trait::async_trait]
impl ResponseHandler for Capture {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let (info, bytes) = encode(response, self.limit)?;
        // One request is answered once.
        let _first = self.bytes.set(bytes);
        Ok(info)
    }
}

fn encode<'a>(
    response: MessageResponse<
        '_,
        'a,
        impl Iterator<Item = &'a Record> + Send + 'a,
        impl Iterator<Item = &'a Record> + Send + 'a,
        impl Iterator<Item = &'a Record> + Send + 'a,
        impl Iterator<Item = &'a Record> + Send + 'a,
    >,
    limit: u16,
) -> Result<(ResponseInfo, Vec<u8>), ProtoError> {
    let mut bytes = Vec::with_capacity(usize::from(UDP_BYTES_PLAIN));
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(limit);
    let info = response.destructive_emit(&mut encoder)?;
    Ok((info, bytes))
}
