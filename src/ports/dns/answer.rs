//! One question, one answer: what every front of the name server shares.
//!
//! Owns the rules of an authoritative server (RFC 1034, 1035, 2308, 6891, 7873, 8482, 9619) and what the settings say about them.
//! Never keeps anything of a question but its network's place in the rate limit. Called by `udp.rs` and `tcp.rs` with the bytes of
//! a message; hickory-server takes them apart, `message.rs` puts the answer together: hickory's own encoder does not compress the
//! name of the first record, nor any after the 120th.
//!
//! | question | answer |
//! |---|---|
//! | shorter than a header, or an answer itself | none |
//! | cannot be read, more than one question, none without a cookie, a cookie of impossible length | FORMERR |
//! | over UDP and over the rate limit of its network, without a valid cookie | BADCOOKIE to who sends one, else truncated; what is no query: none |
//! | operation other than a query | NOTIMP |
//! | EDNS version above 0 | BADVERS |
//! | class other than IN and ANY; name outside all zones; zone transfer; `_why` from elsewhere than `allow_transfer` | REFUSED |
//! | zone of which nothing has been published since the start | SERVFAIL: resolvers go on to another name server |
//! | name that does not exist | NXDOMAIN with SOA |
//! | no record of that type | NOERROR with SOA |
//! | ANY | one of the sets, as RFC 8482 allows |

use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_proto::op::{OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, LowerName, RecordType};
use hickory_server::net::xfer::Protocol;
use hickory_server::server::Request;
use ipnet::IpNet;

use super::cookie::{Cookies, Presented};
use super::edns::{Asked, UDP_BYTES_PLAIN};
use super::limit::{Allowance, RateLimit};
use super::message::{Envelope, Marks, Section, Writer, spelt_name_length};
use super::zone::{Content, Found, Zone, Zones};

/// All that answers are made of; swapped as a whole.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) zones: Zones,
    /// Who is told why addresses are withheld.
    pub(crate) allow_transfer: Vec<IpNet>,
    /// How this server calls itself (RFC 5001).
    pub(crate) nsid: Vec<u8>,
    pub(crate) cookies: Arc<Cookies>,
    /// `None`: no limit.
    pub(crate) limit: Option<Arc<RateLimit>>,
    /// How long a connection may be idle.
    pub(crate) patience: Duration,
}

/// Answers questions from what is served.
#[derive(Clone, Debug)]
pub(crate) struct Answering {
    served: Arc<ArcSwap<Served>>,
}

impl Answering {
    pub(crate) fn new(served: Arc<ArcSwap<Served>>) -> Self {
        Self { served }
    }

    /// Puts the answer to a message into `answer`; nothing, if it deserves none.
    pub(crate) fn answer(&self, message: &[u8], from: SocketAddr, protocol: Protocol, answer: &mut Vec<u8>) {
        answer.clear();
        let Some(envelope) = Envelope::read(message) else { return };
        let served = self.served.load();
        // The decoder reads what strangers send. If it has a flaw, that costs the answer, not the name server.
        let caught = catch_unwind(AssertUnwindSafe(|| served.answer(envelope, message, from, protocol, answer)));
        if caught.is_err() {
            tracing::error!(%from, bytes = ?message, "a DNS message made the decoder panic: report it with these bytes");
            envelope.write_bare(answer);
        }
    }
}

impl Served {
    fn answer(&self, envelope: Envelope, message: &[u8], from: SocketAddr, protocol: Protocol, answer: &mut Vec<u8>) {
        let decoded = envelope.is_plausible(message.len()).then(|| Request::from_bytes(message.to_vec(), from, protocol).ok());
        let Some(request) = decoded.flatten().filter(is_spelt_out) else {
            if self.allowance(None, from.ip(), protocol) == Allowance::Granted {
                envelope.write_bare(answer);
            }
            return;
        };
        let asked = request.edns.as_ref().map(|edns| Asked::read(edns, &self.cookies, from.ip())).transpose();
        let (asked, is_malformed) = match asked {
            Ok(asked) => (asked, false),
            Err(_) => (None, true),
        };
        let presented = asked.as_ref().and_then(|asked| asked.cookie);
        let allowance = self.allowance(presented, from.ip(), protocol);
        if allowance == Allowance::Overdrawn && (is_malformed || !envelope.is_query()) {
            return;
        }
        let patience = (protocol == Protocol::Tcp).then_some(self.patience);
        // What is over the limit gets nothing but what it needs to come back.
        let nsid = (allowance == Allowance::Granted).then_some(self.nsid.as_slice());
        let opt = asked.as_ref().map(|asked| asked.answer(nsid, &self.cookies, from.ip(), patience));
        let limit = match &asked {
            _ if protocol != Protocol::Udp => u16::MAX,
            Some(asked) => asked.datagram_bytes_max(),
            None => UDP_BYTES_PLAIN,
        };
        let mut writer = Writer::start(answer, envelope, request.queries.as_bytes(), limit.into(), opt);
        let (code, marks) = match allowance {
            _ if is_malformed => refusal(ResponseCode::FormErr),
            Allowance::Overdrawn if presented.is_some() => refusal(ResponseCode::BADCOOKIE),
            Allowance::Overdrawn => (ResponseCode::NoError, Marks { truncated: true, ..Marks::default() }),
            Allowance::Granted => self.fill(&request, asked.as_ref(), &mut writer),
        };
        writer.finish(code, marks);
    }

    /// Whoever has shown where he is, by a connection or a cookie, floods nobody but himself.
    fn allowance(&self, presented: Option<Presented>, from: IpAddr, protocol: Protocol) -> Allowance {
        match (&self.limit, protocol, presented) {
            (Some(limit), Protocol::Udp, None | Some(Presented::Client(_))) => limit.take(from),
            (_, _, _) => Allowance::Granted,
        }
    }

    /// Records, code and marks of an answer.
    fn fill(&self, request: &Request, asked: Option<&Asked>, writer: &mut Writer<'_>) -> (ResponseCode, Marks) {
        if request.metadata.op_code != OpCode::Query {
            return refusal(ResponseCode::NotImp);
        }
        if asked.is_some_and(|asked| asked.version > 0) {
            return refusal(ResponseCode::BADVERS);
        }
        let [question] = request.queries.queries() else {
            // RFC 7873 §5.4: who has nothing to ask wants a cookie.
            let wants_cookie = request.queries.is_empty() && asked.is_some_and(|asked| asked.cookie.is_some());
            return refusal(if wants_cookie { ResponseCode::NoError } else { ResponseCode::FormErr });
        };
        let (name, kind) = (question.name(), question.query_type());
        let is_internet = matches!(question.query_class(), DNSClass::IN | DNSClass::ANY);
        let is_transfer = matches!(kind, RecordType::AXFR | RecordType::IXFR);
        let Some(zone) = self.zones.holding(name).filter(|_| is_internet && !is_transfer) else {
            return refusal(ResponseCode::Refused);
        };
        let content = zone.content();
        let Some(content) = content.as_deref() else { return refusal(ResponseCode::ServFail) };
        let name_length = spelt_name_length(request.queries.as_bytes()).unwrap_or_default();
        writer.set_apex(name_length, zone.name_bytes());
        let may_know = || self.allow_transfer.iter().any(|network| network.contains(&request.src().ip()));
        // Over a connection there is no other way to get the rest.
        let marks = Marks { authoritative: true, truncated: false };
        let cut = Marks { truncated: request.protocol() == Protocol::Udp, ..marks };
        match fill_found(zone, content, name, kind, may_know, writer) {
            Filled::Code(code) => (code, marks),
            Filled::Cut => (ResponseCode::NoError, cut),
            Filled::Refused => refusal(ResponseCode::Refused),
        }
    }
}

enum Filled {
    /// All that there is, with this code.
    Code(ResponseCode),
    /// Not everything fits.
    Cut,
    /// It is for others to know.
    Refused,
}

fn fill_found(
    zone: &Zone,
    content: &Content,
    name: &LowerName,
    kind: RecordType,
    may_know: impl FnOnce() -> bool,
    writer: &mut Writer<'_>,
) -> Filled {
    let (records, glue) = match zone.find(content, name, kind) {
        Found::Addresses(set) => {
            let turn = zone.take_turn(set, writer.room());
            writer.push_run(Section::Answer, [turn.first, turn.second], turn.count);
            return if turn.is_cut { Filled::Cut } else { Filled::Code(ResponseCode::NoError) };
        }
        Found::NoName => return fill_nothing(ResponseCode::NXDomain, content, writer),
        Found::NoRecords => return fill_nothing(ResponseCode::NoError, content, writer),
        Found::Records { records, glue } => (records, glue),
        Found::Why(_) if !may_know() => return Filled::Refused,
        Found::Why([]) => return fill_nothing(ResponseCode::NoError, content, writer),
        Found::Why(records) => (records, [].as_slice()),
    };
    for record in records {
        if writer.push(Section::Answer, record).is_err() {
            return Filled::Cut;
        }
    }
    for record in glue {
        // RFC 2181 §9: leaving out addresses of name servers is no truncation.
        if writer.push(Section::Additional, record).is_err() {
            break;
        }
    }
    Filled::Code(ResponseCode::NoError)
}

/// That there is nothing, with the record that says for how long.
fn fill_nothing(code: ResponseCode, content: &Content, writer: &mut Writer<'_>) -> Filled {
    match writer.push(Section::Authority, &content.soa) {
        Ok(()) => Filled::Code(code),
        Err(_) => Filled::Cut,
    }
}

fn refusal(code: ResponseCode) -> (ResponseCode, Marks) {
    (code, Marks::default())
}

/// Whether there is at most one question, so that it fits into any answer, and its name can be pointed at.
fn is_spelt_out(request: &Request) -> bool {
    let queries = &request.queries;
    queries.is_empty() || (queries.len() == 1 && spelt_name_length(queries.as_bytes()).is_some())
}
