use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, NS};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::*;
use crate::types::policy::WhenEmpty;

mod limits;
mod options;
mod reasons;

/// Far above what any answer takes: reached only if there is none.
const HANGS: Duration = Duration::from_secs(30);

const ZONE: &str = "www.pool.example.";

fn policy() -> ZonePolicy {
    ZonePolicy {
        name: ZONE.to_owned(),
        ttl: Duration::from_secs(7),
        high_water: 80,
        low_water: 60,
        min_addresses: 1,
        max_answers: 0,
        when_empty: WhenEmpty::Nodata,
        nameservers: vec![
            ("ns1.www.pool.example.".to_owned(), vec![[10, 0, 0, 11].into(), "2001:db8::53".parse().unwrap()]),
            ("a.deep.www.pool.example.".to_owned(), vec![[10, 0, 0, 12].into()]),
            ("ns.elsewhere.example.".to_owned(), vec![[10, 0, 0, 13].into()]),
        ],
        contact: "host.master@example.com".to_owned(),
    }
}

fn view(serial: u32, advertised: &[IpAddr]) -> ZoneView {
    ZoneView { name: ZONE.to_owned(), serial, advertised: advertised.to_vec(), withheld: Vec::new(), nameservers: Vec::new() }
}

fn v4(count: u8) -> Vec<IpAddr> {
    (1..=count).map(|last| IpAddr::from([192, 0, 2, last])).collect()
}

fn v6(count: u16) -> Vec<IpAddr> {
    (1..=count).map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])).collect()
}

fn settings(listen: Vec<SocketAddr>, zones: Vec<(GroupIndex, ZonePolicy)>) -> DnsSettings {
    DnsSettings { listen, zones, nsid: "web1".to_owned(), allow_transfer: Vec::new(), rate_limit: None }
}

fn start(listen: &str, policy: ZonePolicy) -> Dns {
    Dns::start(&settings(vec![listen.parse().unwrap()], vec![(GroupIndex(0), policy)])).unwrap()
}

/// A server on the loopback with these addresses in its zone, and a client.
fn serving(addresses: &[IpAddr]) -> (Dns, Client) {
    serving_as(addresses, policy())
}

fn serving_as(addresses: &[IpAddr], policy: ZonePolicy) -> (Dns, Client) {
    let dns = start("127.0.0.1:0", policy);
    dns.publish(GroupIndex(0), &view(42, addresses));
    let client = Client::of(dns.listening()[0]);
    (dns, client)
}

struct Client {
    socket: UdpSocket,
    server: SocketAddr,
}

impl Client {
    fn of(server: SocketAddr) -> Self {
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(HANGS)).unwrap();
        Self { socket, server }
    }

    fn exchange(&self, message: &[u8]) -> Vec<u8> {
        self.socket.send(message).unwrap();
        let mut answer = vec![0; 65_535];
        let length = self.socket.recv(&mut answer).expect("an answer");
        answer.truncate(length);
        answer
    }

    fn ask_message(&self, question: &Message) -> Message {
        let answer = Message::from_vec(&self.exchange(&question.to_vec().unwrap())).unwrap();
        assert_eq!(answer.metadata.id, question.metadata.id);
        assert_eq!(answer.metadata.message_type, MessageType::Response);
        assert!(!answer.metadata.recursion_available);
        answer
    }

    fn ask(&self, name: &str, kind: RecordType) -> Message {
        let question = question(name, kind);
        let answer = self.ask_message(&question);
        assert_eq!(answer.queries, question.queries);
        assert_eq!(answer.edns, None, "no EDNS without being asked");
        answer
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server).unwrap();
        stream.set_read_timeout(Some(HANGS)).unwrap();
        stream
    }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.queries.push(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn question_with_edns(name: &str, kind: RecordType, bytes: u16) -> Message {
    let mut message = question(name, kind);
    message.edns.get_or_insert_with(Edns::new).set_max_payload(bytes);
    message
}

fn tcp_send(stream: &mut TcpStream, message: &[u8]) {
    let mut framed = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).unwrap();
}

fn tcp_receive(stream: &mut TcpStream) -> Message {
    Message::from_vec(&tcp_receive_bytes(stream)).unwrap()
}

fn tcp_receive_bytes(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    answer
}

fn is_closed(stream: &mut TcpStream) -> bool {
    // An end or a reset; anything else would be an answer or the timeout.
    match stream.read(&mut [0]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

fn address(record: &Record) -> IpAddr {
    if let RData::A(A(address)) = &record.data {
        return (*address).into();
    }
    let RData::AAAA(address) = &record.data else { panic!("no address: {record}") };
    address.0.into()
}

fn addresses(answer: &Message) -> Vec<IpAddr> {
    answer.answers.iter().map(address).collect()
}

fn sorted(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_unstable();
    addresses
}

/// That there is nothing, in a way that resolvers remember for a moment only.
fn assert_negative(answer: &Message, code: ResponseCode, ttl: u32) {
    assert_eq!(answer.metadata.response_code, code);
    assert!(answer.metadata.authoritative && answer.answers.is_empty() && answer.additionals.is_empty(), "{answer}");
    let [soa] = answer.authorities.as_slice() else { panic!("one SOA: {answer}") };
    let RData::SOA(data) = &soa.data else { panic!("one SOA: {answer}") };
    assert_eq!((soa.ttl, data.minimum), (ttl, ttl), "RFC 2308");
}

#[test]
fn addresses_of_each_family_are_answered_with_authority() {
    let (_dns, client) = serving(&[v4(2), v6(3)].concat());
    let answer = client.ask(ZONE, RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert!(answer.metadata.authoritative && !answer.metadata.truncation);
    assert_eq!(sorted(addresses(&answer)), v4(2));
    assert!(
        answer
            .answers
            .iter()
            .all(|record| record.ttl == 7 && record.dns_class == DNSClass::IN && record.name == Name::from_ascii(ZONE).unwrap())
    );
    assert_eq!(sorted(addresses(&client.ask(ZONE, RecordType::AAAA))), v6(3));
}

#[test]
fn the_question_comes_back_as_it_was_spelt_and_recursion_desired_too() {
    let (_dns, client) = serving(&v4(1));
    for recursion_desired in [true, false] {
        let mut question = question("wWw.PooL.eXample.", RecordType::A);
        question.metadata.recursion_desired = recursion_desired;
        let answer = client.ask_message(&question);
        assert_eq!(addresses(&answer), v4(1));
        assert!(answer.queries[0].name().eq_case(question.queries[0].name()));
        assert_eq!(answer.metadata.recursion_desired, recursion_desired);
    }
}

#[test]
fn what_is_not_there_is_denied_with_a_short_memory() {
    let (dns, client) = serving(&v4(1));
    // The time to live of addresses is 7 s here; nothing is remembered for more than 5 s.
    assert_negative(&client.ask(ZONE, RecordType::AAAA), ResponseCode::NoError, 5);
    assert_negative(&client.ask(ZONE, RecordType::MX), ResponseCode::NoError, 5);
    assert_negative(&client.ask("nothing.www.pool.example.", RecordType::A), ResponseCode::NXDomain, 5);
    assert_negative(&client.ask("x.ns1.www.pool.example.", RecordType::A), ResponseCode::NXDomain, 5);
    assert_negative(&client.ask("ns1.www.pool.example.", RecordType::MX), ResponseCode::NoError, 5);
    assert_negative(&client.ask("deep.www.pool.example.", RecordType::A), ResponseCode::NoError, 5);
    dns.publish(GroupIndex(0), &view(43, &[]));
    assert_negative(&client.ask(ZONE, RecordType::A), ResponseCode::NoError, 5);
}

#[test]
fn a_shorter_time_to_live_is_also_that_of_denials() {
    let (_dns, client) = serving_as(&v4(1), ZonePolicy { ttl: Duration::from_millis(1500), ..policy() });
    assert_eq!(client.ask(ZONE, RecordType::A).answers[0].ttl, 2, "rounded up");
    assert_negative(&client.ask(ZONE, RecordType::AAAA), ResponseCode::NoError, 2);
}

#[test]
fn the_soa_names_server_contact_and_serial() {
    let (dns, client) = serving(&v4(1));
    let soa = |client: &Client| {
        let answer = client.ask(ZONE, RecordType::SOA);
        let RData::SOA(soa) = answer.answers[0].data.clone() else { panic!("{answer}") };
        soa
    };
    let first = soa(&client);
    assert_eq!(first.mname.to_ascii(), "ns1.www.pool.example.");
    assert_eq!(first.rname.to_ascii(), "host\\.master.example.com.");
    assert_eq!(first.serial, 42);
    dns.publish(GroupIndex(0), &view(43, &v4(1)));
    assert_eq!(soa(&client).serial, 43);
    let bare = ZonePolicy { nameservers: Vec::new(), contact: String::new(), ..policy() };
    let (_dns, client) = serving_as(&v4(1), bare);
    let bare = soa(&client);
    assert_eq!((bare.mname.to_ascii(), bare.rname.to_ascii()), (ZONE.to_owned(), format!("hostmaster.{ZONE}")));
    assert_negative(&client.ask(ZONE, RecordType::NS), ResponseCode::NoError, 5);
}

#[test]
fn name_servers_come_with_their_addresses_inside_the_zone() {
    let (_dns, client) = serving(&v4(1));
    let answer = client.ask(ZONE, RecordType::NS);
    let names: Vec<_> = answer
        .answers
        .iter()
        .map(|record| if let RData::NS(NS(name)) = &record.data { name.to_ascii() } else { panic!("{record}") })
        .collect();
    assert_eq!(names, ["ns1.www.pool.example.", "a.deep.www.pool.example.", "ns.elsewhere.example."]);
    let glue: Vec<_> = answer.additionals.iter().map(|record| (record.name.to_ascii(), address(record).to_string())).collect();
    let expected =
        [("ns1.www.pool.example.", "10.0.0.11"), ("ns1.www.pool.example.", "2001:db8::53"), ("a.deep.www.pool.example.", "10.0.0.12")];
    assert_eq!(glue, expected.map(|(name, address)| (name.to_owned(), address.to_owned())));
    assert_eq!(addresses(&client.ask("NS1.www.pool.example.", RecordType::A)), ["10.0.0.11".parse::<IpAddr>().unwrap()]);
    assert_eq!(addresses(&client.ask("ns1.www.pool.example.", RecordType::AAAA)), ["2001:db8::53".parse::<IpAddr>().unwrap()]);
    assert_eq!(client.ask("ns1.www.pool.example.", RecordType::ANY).answers.len(), 1);
}

#[test]
fn addresses_of_name_servers_that_do_not_fit_are_left_out_without_truncation() {
    let nameservers = (1..=10).map(|number| (format!("ns{number}.www.pool.example."), v6(3))).collect();
    let (_dns, client) = serving_as(&v4(1), ZonePolicy { nameservers, ..policy() });
    let question = question(ZONE, RecordType::NS);
    let bytes = client.exchange(&question.to_vec().unwrap());
    let answer = Message::from_vec(&bytes).unwrap();
    assert!(bytes.len() <= 512 && !answer.metadata.truncation, "{} bytes", bytes.len());
    assert_eq!(answer.answers.len(), 10);
    assert!((1..30).contains(&answer.additionals.len()), "{}", answer.additionals.len());
    let answer = client.ask_message(&question_with_edns(ZONE, RecordType::NS, 1232));
    assert!(answer.edns.is_some() && answer.additionals.len() > 15, "{answer}");
}

#[test]
fn what_is_not_ours_is_refused() {
    let (_dns, client) = serving(&v4(1));
    for name in ["example.", "pool.example.", "www.pool.example.org.", "xwww.pool.example.", "."] {
        let answer = client.ask(name, RecordType::A);
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused, "{name}");
        assert!(!answer.metadata.authoritative && answer.authorities.is_empty(), "{name}");
    }
    for kind in [RecordType::AXFR, RecordType::IXFR] {
        assert_eq!(client.ask(ZONE, kind).metadata.response_code, ResponseCode::Refused);
    }
}

#[test]
fn only_the_internet_class_is_served() {
    let (_dns, client) = serving(&v4(1));
    for (class, code) in [
        (DNSClass::IN, ResponseCode::NoError),
        (DNSClass::ANY, ResponseCode::NoError),
        (DNSClass::CH, ResponseCode::Refused),
        (DNSClass::HS, ResponseCode::Refused),
        (DNSClass::NONE, ResponseCode::Refused),
        (DNSClass::Unknown(4711), ResponseCode::Refused),
    ] {
        let mut question = question(ZONE, RecordType::A);
        question.queries[0].set_query_class(class);
        let answer = client.ask_message(&question);
        assert_eq!(answer.metadata.response_code, code, "{class}");
        assert_eq!(answer.answers.len(), usize::from(code == ResponseCode::NoError), "{class}");
        assert!(answer.answers.iter().all(|record| record.dns_class == DNSClass::IN));
    }
}

#[test]
fn any_gets_one_set() {
    let (dns, client) = serving(&[v4(2), v6(2)].concat());
    let kinds = |answer: &Message| answer.answers.iter().map(Record::record_type).collect::<Vec<_>>();
    assert_eq!(kinds(&client.ask(ZONE, RecordType::ANY)), [RecordType::A, RecordType::A]);
    dns.publish(GroupIndex(0), &view(43, &v6(1)));
    assert_eq!(kinds(&client.ask(ZONE, RecordType::ANY)), [RecordType::AAAA]);
    dns.publish(GroupIndex(0), &view(44, &[]));
    assert_eq!(kinds(&client.ask(ZONE, RecordType::ANY)), [RecordType::SOA]);
}

#[test]
fn operations_other_than_queries_are_not_implemented() {
    let (_dns, client) = serving(&v4(1));
    for operation in [OpCode::Status, OpCode::Notify, OpCode::Update, OpCode::Unknown(15)] {
        let mut message = question(ZONE, RecordType::SOA);
        message.metadata.op_code = operation;
        let answer = client.ask_message(&message);
        assert_eq!(answer.metadata.response_code, ResponseCode::NotImp, "{operation}");
        assert_eq!(answer.metadata.op_code, operation);
    }
    // Operation 15, with nothing but a header.
    let answer = client.exchange(&[9, 9, 0x78, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(answer, [9, 9, 0xf8, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn edns_is_answered_in_kind() {
    let (_dns, client) = serving(&v4(1));
    for dnssec_ok in [true, false] {
        let mut question = question_with_edns(ZONE, RecordType::A, 4096);
        question.edns.get_or_insert_with(Edns::new).set_dnssec_ok(dnssec_ok);
        let answer = client.ask_message(&question);
        let edns = answer.edns.clone().expect("EDNS");
        assert_eq!((edns.max_payload(), edns.version(), edns.flags().dnssec_ok), (1232, 0, dnssec_ok));
        assert_eq!(addresses(&answer), v4(1));
    }
    let mut question = question_with_edns(ZONE, RecordType::A, 1232);
    question.edns.get_or_insert_with(Edns::new).set_version(1);
    let answer = client.ask_message(&question);
    // 16 is BADVERS here and BADSIG in a signature; the decoder does not tell them apart.
    assert_eq!(u16::from(answer.metadata.response_code), 16);
    assert_eq!(answer.edns.map(|edns| edns.version()), Some(0));
    assert!(answer.answers.is_empty());
}

#[test]
fn before_the_first_publication_other_name_servers_are_to_be_asked() {
    let dns = start("127.0.0.1:0", policy());
    let client = Client::of(dns.listening()[0]);
    for (name, kind) in [(ZONE, RecordType::A), (ZONE, RecordType::SOA), ("nothing.www.pool.example.", RecordType::A)] {
        let answer = client.ask(name, kind);
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail, "{name} {kind}");
        assert!(!answer.metadata.authoritative);
    }
    assert_eq!(client.ask("example.", RecordType::A).metadata.response_code, ResponseCode::Refused);
}

#[test]
fn what_is_published_is_in_the_next_answer() {
    let (dns, client) = serving(&[]);
    for round in 1..=200 {
        let one = [IpAddr::from([198, 51, 100, round])];
        dns.publish(GroupIndex(0), &view(u32::from(round), &one));
        assert_eq!(addresses(&client.ask(ZONE, RecordType::A)), one);
    }
    dns.publish(GroupIndex(7), &view(1, &v4(9)));
    assert_eq!(addresses(&client.ask(ZONE, RecordType::A)).len(), 1, "another group's zone");
}

#[test]
fn every_address_takes_its_turn_whatever_else_is_asked() {
    let (_dns, client) = serving(&[v4(4), v6(4)].concat());
    let mut firsts = BTreeMap::new();
    for _ in 0..8 {
        for kind in [RecordType::A, RecordType::AAAA] {
            let answer = addresses(&client.ask(ZONE, kind));
            assert_eq!(answer.len(), 4);
            *firsts.entry(answer[0]).or_insert(0) += 1;
        }
    }
    assert_eq!(firsts.len(), 8);
    assert!(firsts.values().all(|times| *times == 2), "{firsts:?}");
}

#[test]
fn limited_answers_name_every_address_equally_often() {
    let (_dns, client) = serving_as(&v4(5), ZonePolicy { max_answers: 2, ..policy() });
    let mut named = BTreeMap::new();
    for _ in 0..10 {
        let answer = client.ask(ZONE, RecordType::A);
        assert!(answer.answers.len() == 2 && !answer.metadata.truncation);
        for address in addresses(&answer) {
            *named.entry(address).or_insert(0) += 1;
        }
    }
    assert_eq!(named.into_values().collect::<Vec<_>>(), [4; 5]);
}

#[test]
fn answers_that_do_not_fit_are_cut_and_whole_over_tcp() {
    let (_dns, client) = serving(&[v4(60), v6(60)].concat());
    for kind in [RecordType::A, RecordType::AAAA] {
        let mut firsts = BTreeMap::new();
        for _ in 0..60 {
            let answer = client.ask(ZONE, kind);
            assert!(answer.metadata.truncation && answer.answers.len() > 10, "{answer}");
            let mut stream = client.connect();
            tcp_send(&mut stream, &question(ZONE, kind).to_vec().unwrap());
            let answer = tcp_receive(&mut stream);
            assert!(!answer.metadata.truncation && answer.metadata.authoritative);
            assert_eq!(answer.answers.len(), 60);
            *firsts.entry(addresses(&answer)[0]).or_insert(0) += 1;
        }
        assert_eq!(firsts.into_values().collect::<Vec<_>>(), [1; 60], "each comes first once");
    }
}

#[test]
fn a_datagram_is_filled_to_its_limit_and_not_beyond() {
    let (dns, client) = serving(&[]);
    for (kind, record_bytes) in [(RecordType::A, 16), (RecordType::AAAA, 28)] {
        for (edns, limit) in [(None, 512), (Some(100), 512), (Some(512), 512), (Some(800), 800), (Some(4096), 1232), (Some(65535), 1232)] {
            for count in 1..=90 {
                let all = if kind == RecordType::A { v4(count) } else { v6(count.into()) };
                dns.publish(GroupIndex(0), &view(1, &all));
                let question = edns.map_or_else(|| question(ZONE, kind), |bytes| question_with_edns(ZONE, kind, bytes));
                let bytes = client.exchange(&question.to_vec().unwrap());
                let answer = Message::from_vec(&bytes).unwrap();
                assert!(bytes.len() <= limit, "{} of {limit} bytes", bytes.len());
                assert_eq!(answer.edns.is_some(), edns.is_some(), "the OPT record always fits");
                let is_whole = answer.answers.len() == usize::from(count);
                assert_ne!(is_whole, answer.metadata.truncation, "{count} {kind} in {limit}");
                assert!(is_whole || bytes.len() + record_bytes > limit, "{} of {limit} bytes used", bytes.len());
            }
        }
    }
}

#[test]
fn answers_leave_from_the_address_that_was_asked() {
    let dns = start("0.0.0.0:0", policy());
    dns.publish(GroupIndex(0), &view(1, &v4(1)));
    let port = dns.listening()[0].port();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(HANGS)).unwrap();
    for asked in [[127, 0, 0, 7], [127, 0, 0, 1], [127, 1, 2, 3]] {
        let asked = SocketAddr::from((asked, port));
        socket.send_to(&question(ZONE, RecordType::A).to_vec().unwrap(), asked).unwrap();
        let (_, from) = socket.recv_from(&mut [0; 512]).unwrap();
        assert_eq!(from, asked);
    }
}

#[test]
fn both_families_are_served_side_by_side() {
    let zones = vec![(GroupIndex(0), policy())];
    // The port that the kernel chose for one family may be taken in the other.
    let (dns, port) = loop {
        let port = start("0.0.0.0:0", policy()).listening()[0].port();
        let listen = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))];
        match Dns::start(&settings(listen.clone(), zones.clone())) {
            Ok(dns) => {
                assert_eq!(dns.listening(), listen);
                break (dns, port);
            }
            Err(DnsError::Listen { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => panic!("{error}"),
        }
    };
    dns.publish(GroupIndex(0), &view(1, &v4(1)));
    for server in [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))] {
        let client = Client::of(server);
        assert_eq!(addresses(&client.ask(ZONE, RecordType::A)), v4(1));
        let mut stream = client.connect();
        tcp_send(&mut stream, &question(ZONE, RecordType::A).to_vec().unwrap());
        assert_eq!(addresses(&tcp_receive(&mut stream)), v4(1));
    }
}

#[test]
fn an_address_that_is_not_there_yet_is_no_error() {
    for listen in ["192.0.2.77:0", "[2001:db8::77]:0"] {
        let dns = start(listen, policy());
        assert_ne!(dns.listening()[0].port(), 0);
    }
}

#[test]
fn a_taken_port_is_named_with_the_remedy() {
    // An address of its own: no other test's socket can take the port while it is free.
    let other = start("127.0.0.9:0", policy());
    let taken = other.listening()[0];
    let error = Dns::start(&settings(vec![taken], Vec::new())).unwrap_err().to_string();
    assert!(error.starts_with(&format!("DNS cannot listen on {taken} (UDP): ")) && error.contains("another name server has it"), "{error}");
    drop(other);
    let again = Dns::start(&settings(vec![taken], Vec::new()));
    assert!(again.is_ok(), "the ports are free once the server is dropped: {again:?}");
}

#[test]
fn names_that_are_none_are_refused_at_the_start() {
    let long = format!("{}.example.", "x".repeat(64));
    for (policy, expected) in [
        (ZonePolicy { name: long.clone(), ..policy() }, "its name"),
        (ZonePolicy { nameservers: vec![(long.clone(), Vec::new())], ..policy() }, "name server"),
        (ZonePolicy { contact: format!("me@{long}"), ..policy() }, "contact"),
    ] {
        let error = Dns::start(&settings(Vec::new(), vec![(GroupIndex(0), policy)])).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(&long), "{error}");
    }
    let twice = vec![(GroupIndex(0), policy()), (GroupIndex(1), ZonePolicy { name: "WWW.pool.example".to_owned(), ..policy() })];
    let error = Dns::start(&settings(Vec::new(), twice)).unwrap_err();
    assert!(matches!(error, DnsError::Zone(ZoneError::Twice { .. })), "{error}");
}

#[test]
fn a_zone_inside_another_is_found_first() {
    let outer = ZonePolicy { name: "pool.example.".to_owned(), nameservers: Vec::new(), ..policy() };
    let settings = settings(vec!["127.0.0.1:0".parse().unwrap()], vec![(GroupIndex(0), outer), (GroupIndex(1), policy())]);
    let dns = Dns::start(&settings).unwrap();
    dns.publish(GroupIndex(0), &view(1, &v4(1)));
    dns.publish(GroupIndex(1), &view(1, &v4(2)));
    let client = Client::of(dns.listening()[0]);
    assert_eq!(client.ask("pool.example.", RecordType::A).answers.len(), 1);
    assert_eq!(client.ask(ZONE, RecordType::A).answers.len(), 2);
    assert_negative(&client.ask("x.pool.example.", RecordType::A), ResponseCode::NXDomain, 5);
}

#[test]
fn a_reload_keeps_sockets_and_what_is_published() {
    let (mut dns, client) = serving(&v4(2));
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut stream = client.connect();
    let added = ZonePolicy { name: "other.example.".to_owned(), ..policy() };
    let changed = ZonePolicy { ttl: Duration::from_secs(3), max_answers: 1, ..policy() };
    let other = settings(vec![loopback], vec![(GroupIndex(0), added), (GroupIndex(1), changed)]);
    dns.reconfigure(&other).unwrap();
    assert_eq!(dns.listening(), [client.server]);
    let answer = client.ask(ZONE, RecordType::A);
    assert_eq!((answer.answers.len(), answer.answers[0].ttl), (1, 3));
    assert_eq!(client.ask("other.example.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
    tcp_send(&mut stream, &question(ZONE, RecordType::A).to_vec().unwrap());
    assert_eq!(tcp_receive(&mut stream).answers.len(), 1);
    dns.publish(GroupIndex(1), &view(50, &v4(5)));
    assert_eq!(sorted((0..5).flat_map(|_| addresses(&client.ask(ZONE, RecordType::A))).collect()), v4(5));

    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let impossible = settings(vec![loopback, taken.local_addr().unwrap()], Vec::new());
    assert!(dns.reconfigure(&impossible).is_err());
    assert_eq!(client.ask(ZONE, RecordType::A).answers.len(), 1, "everything is as it was");

    let moved = DnsSettings { listen: vec!["127.0.0.2:0".parse().unwrap()], ..other };
    dns.reconfigure(&moved).unwrap();
    assert_eq!(Client::of(dns.listening()[0]).ask(ZONE, RecordType::A).answers.len(), 1);
    assert!(is_closed(&mut stream), "the connections of an address that is gone are closed");
}

#[test]
fn messages_that_cannot_be_read_get_formerr_or_nothing() {
    let (_dns, client) = serving(&v4(1));
    let good = question(ZONE, RecordType::A).to_vec().unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = good.clone();
        change(&mut message);
        message
    };
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    let malformed: Vec<(&str, Vec<u8>)> = vec![
        ("no question", good[..12].iter().enumerate().map(|(at, byte)| if at == 5 { 0 } else { *byte }).collect()),
        (
            "two questions",
            with(&|message| {
                message[5] = 2;
                message.extend_from_within(12..);
            }),
        ),
        ("many questions promised", with(&|message| message[4] = 0xff)),
        ("many records promised", with(&|message| message[6] = 0xff)),
        ("cut in the name", good[..20].to_vec()),
        ("header only", good[..12].to_vec()),
        ("pointer to itself", [&good[..12], &[0xc0, 12, 0, 1, 0, 1]].concat()),
        ("name that points into the header", [&good[..12], b"\x03www\xc0\x04", &[0, 1, 0, 1]].concat()),
        ("label of 64 bytes", [&good[..12], &[0x40], &[b'x'; 64], &[0, 0, 1, 0, 1]].concat()),
        ("two OPT records", [&with(&|message| message[11] = 2)[..], &opt, &opt].concat()),
        ("option longer than its record", [&with(&|message| message[11] = 1)[..], &opt[..9], &[0, 5, 0, 10, 0, 9, 1]].concat()),
    ];
    for (what, message) in malformed {
        let answer = client.exchange(&message);
        assert_eq!(answer[..2], message[..2], "{what}");
        assert_eq!((answer[2] & 0x80, answer[3] & 0xf), (0x80, 1), "{what}: {answer:?}");
    }
    // Pieces and answers get nothing: the answer to the question after them comes first.
    for length in 0..12 {
        client.socket.send(&good[..length]).unwrap();
    }
    client.socket.send(&with(&|message| message[2] |= 0x80)).unwrap();
    client.socket.send(&[0xff; 4096]).unwrap();
    client.socket.send(&vec![0; 20_000]).unwrap();
    let mut last = question(ZONE, RecordType::A);
    last.metadata.id = 0x4321;
    assert_eq!(addresses(&client.ask_message(&last)), v4(1));
}

#[test]
fn garbage_does_no_harm() {
    let (_dns, client) = serving(&v4(3));
    let good = question_with_edns(ZONE, RecordType::A, 1232).to_vec().unwrap();
    // A generator with a fixed seed: what fails once fails always.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    };
    for round in 0..20_000 {
        let mut message = if round % 2 == 0 { good.clone() } else { (0..random() % 200).map(|_| 0).collect() };
        for _ in 0..=random() % 8 {
            let length = message.len().max(1);
            if let Some(byte) = message.get_mut(random() % length) {
                *byte = u8::try_from(random() & 0xff).unwrap();
            }
        }
        message.truncate(random() % 220);
        client.socket.send(&message).unwrap();
        if round % 50 == 0 {
            // Keeps in step with the server, so that nothing is dropped; answers to the garbage come in between.
            let mut known = question(ZONE, RecordType::AAAA);
            known.metadata.id = 0xbeef;
            known.metadata.recursion_desired = round % 100 == 0;
            let known = known.to_vec().unwrap();
            client.socket.send(&known).unwrap();
            let mut answer = [0; 2048];
            loop {
                let length = client.socket.recv(&mut answer).expect("the server lives");
                assert!((12..=1232).contains(&length) && answer[2] & 0x80 != 0, "{:?}", &answer[..length]);
                if answer[..2] == known[..2] && answer[2] & 1 == known[2] & 1 && length > known.len() {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_connection_takes_many_questions() {
    let (_dns, client) = serving(&v4(3));
    let mut stream = client.connect();
    let mut all = Vec::new();
    for id in 0..50 {
        let mut question = question(ZONE, RecordType::A);
        question.metadata.id = id;
        let bytes = question.to_vec().unwrap();
        all.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
        all.extend_from_slice(&bytes);
    }
    stream.write_all(&all).unwrap();
    for id in 0..50 {
        let answer = tcp_receive(&mut stream);
        assert_eq!((answer.metadata.id, answer.answers.len()), (id, 3));
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(is_closed(&mut stream));
}

#[test]
fn a_connection_with_nonsense_is_closed() {
    let (_dns, client) = serving(&v4(3));
    let answer = [0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for nonsense in [&[0, 12][..], &[0, 3, 1, 2, 3], &[0xff, 0xff]] {
        let mut stream = client.connect();
        stream.write_all(nonsense).unwrap();
        if nonsense == [0, 12] {
            stream.write_all(&answer).unwrap();
        }
        assert!(is_closed(&mut stream), "{nonsense:?}");
    }
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let (_dns, client) = serving(&v4(3));
    let mut silent = client.connect();
    let mut halting = client.connect();
    halting.write_all(&[0]).unwrap();
    assert!(is_closed(&mut silent) && is_closed(&mut halting));
}
