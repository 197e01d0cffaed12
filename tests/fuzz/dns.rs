//! Questions to the name server as they come over UDP and TCP, through its real sockets.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use raisd::node::event::GroupIndex;
use raisd::ports::dns::{Dns, DnsSettings};
use raisd::types::view::{WithheldView, ZoneView};

use crate::setup::shared;

/// Far above what any answer takes: reached only if there is none.
const HANGS: Duration = Duration::from_secs(20);

/// What a datagram may have at most; what was asked for may be less.
const UDP_BYTES_MAX: usize = 1232;

const PLAIN_BYTES_MAX: usize = 512;

/// Asked after each question, to see that everything before it has been dealt with.
const MARK: u16 = 0xfeed;

struct Serving {
    _dns: Dns,
    server: SocketAddr,
    socket: UdpSocket,
}

thread_local! {
    static SERVING: Serving = serve();
}

fn serve() -> Serving {
    let policy = shared().zone.unwrap();
    let zone = policy.name.clone();
    let settings = DnsSettings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        zones: vec![(GroupIndex(0), policy)],
        nsid: "web1".to_owned(),
        allow_transfer: vec!["127.0.0.0/8".parse().unwrap()],
        rate_limit: None,
    };
    let dns = Dns::start(&settings).unwrap();
    let advertised =
        (1..=60).map(|last| IpAddr::from([192, 0, 2, last])).chain((1..=9).map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])));
    let withheld = vec![WithheldView { address: [192, 0, 2, 77].into(), reason: "load".to_owned(), detail: "high".to_owned() }];
    dns.publish(GroupIndex(0), &ZoneView { name: zone, serial: 42, advertised: advertised.collect(), withheld, nameservers: Vec::new() });
    let server = dns.listening()[0];
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(HANGS)).unwrap();
    Serving { _dns: dns, server, socket }
}

/// The first byte says how: an even one over UDP, an odd one over TCP with its length in front, some of those with a wrong one.
pub(crate) fn question(bytes: &[u8]) {
    let Some((how, message)) = bytes.split_first() else { return };
    SERVING.with(|serving| if how % 2 == 0 { over_udp(serving, message) } else { over_tcp(serving, *how, message) });
}

fn over_udp(serving: &Serving, message: &[u8]) {
    // More than a datagram holds cannot be sent.
    let Some(message) = message.get(..message.len().min(60_000)) else { return };
    serving.socket.send(message).unwrap();
    let mark = ask(MARK, "www.pool.example.", RecordType::SOA, None);
    // A question with the number of the mark is answered like it: two come then.
    serving.socket.send(&mark).unwrap();
    let is_like_mark = message.starts_with(&MARK.to_be_bytes());
    let mut answers = 0;
    loop {
        let mut buffer = [0; 65_535];
        let length = serving.socket.recv(&mut buffer).expect("the name server answers what comes next");
        let answer = &buffer[..length];
        if answer.starts_with(&MARK.to_be_bytes()) && (!is_like_mark || answers > 0 || is_soa(answer)) {
            break;
        }
        answers += 1;
        assert_eq!(answers, 1, "more than one answer to a question");
        check(message, answer);
        assert!(length <= if has_edns(message) { UDP_BYTES_MAX } else { PLAIN_BYTES_MAX }, "an answer of {length} bytes over UDP");
    }
    if is_like_mark {
        // Whatever is left of the two must not be taken for answers to the next question.
        serving.socket.set_nonblocking(true).unwrap();
        while serving.socket.recv(&mut [0; 65_535]).is_ok() {}
        serving.socket.set_nonblocking(false).unwrap();
    }
}

fn is_soa(answer: &[u8]) -> bool {
    Message::from_vec(answer).is_ok_and(|answer| answer.queries.first().is_some_and(|query| query.query_type() == RecordType::SOA))
}

fn has_edns(message: &[u8]) -> bool {
    // What cannot be read to its end may have one.
    Message::from_vec(message).map_or(true, |message| message.edns.is_some())
}

fn over_tcp(serving: &Serving, how: u8, message: &[u8]) {
    let mut stream = TcpStream::connect(serving.server).unwrap();
    stream.set_read_timeout(Some(HANGS)).unwrap();
    let message = &message[..message.len().min(65_535)];
    let claimed = match how % 8 {
        7 => message.len() + usize::from(how),
        5 => message.len() / 2,
        _ => message.len(),
    };
    let length = u16::try_from(claimed).unwrap_or(u16::MAX).to_be_bytes();
    // It may close before all is written.
    if stream.write_all(&[&length[..], message].concat()).is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answers = Vec::new();
    match stream.read_to_end(&mut answers) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
    let mut rest = answers.as_slice();
    let mut is_first = true;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        // Cut off where the connection was.
        let Some((answer, others)) = behind.split_at_checked(u16::from_be_bytes(*length).into()) else { break };
        if is_first {
            check(message, answer);
        } else {
            assert!(Message::from_vec(answer).is_ok());
        }
        is_first = false;
        rest = others;
    }
}

/// It can be read, answers what was asked, and is an answer.
fn check(message: &[u8], answer: &[u8]) {
    let read = Message::from_vec(answer).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    assert_eq!(answer[..2], message[..2], "the number of the question");
    assert_eq!(read.metadata.message_type, MessageType::Response);
    assert!(!read.metadata.recursion_available);
    if let Some(query) = read.queries.first()
        && let Ok(asked) = Message::from_vec(message)
    {
        assert_eq!(asked.queries.first(), Some(query));
    }
}

fn ask(id: u16, name: &str, kind: RecordType, edns: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.queries.push(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.edns = edns.map(|payload| {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        edns
    });
    message.to_vec().unwrap()
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let kinds = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::SOA,
        RecordType::NS,
        RecordType::TXT,
        RecordType::ANY,
        RecordType::AXFR,
        RecordType::IXFR,
        RecordType::OPT,
    ];
    let names = ["www.pool.example.", "_why.www.pool.example.", "WwW.pOOl.example.", "x.www.pool.example.", "pool.example.", "."];
    let mut seeds = Vec::new();
    for (place, name) in names.iter().enumerate() {
        for (index, kind) in kinds.iter().enumerate() {
            let edns = [None, Some(512), Some(1232), Some(65_535)][(index + place) % 4];
            let how = [0, 1, 5, 7][(index * 3 + place) % 4];
            seeds.push([&[how][..], &ask(0x1234, name, *kind, edns)].concat());
        }
    }
    seeds
}
