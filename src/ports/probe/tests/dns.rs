//! Name servers of our own, over UDP and TCP.

use std::str::FromStr;
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{MX, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::*;

/// How a server answers.
#[derive(Clone)]
enum Mood {
    Answers(Vec<RData>),
    /// With another id first, then with another question, then with this.
    AnswersLast(Vec<RData>),
    Refuses(ResponseCode),
    Silent,
    /// Over UDP only that there is more.
    Truncates(Vec<RData>),
}

type Moods = Arc<Mutex<Mood>>;

fn answer(question: &[u8], code: ResponseCode, records: &[RData]) -> Message {
    let question = Message::from_vec(question).unwrap();
    let mut answer = Message::new(question.metadata.id, MessageType::Response, question.metadata.op_code);
    answer.metadata.response_code = code;
    let name = question.queries.first().unwrap().name().clone();
    answer.queries = question.queries;
    answer.answers = records.iter().map(|record| Record::from_rdata(name.clone(), 5, record.clone())).collect();
    answer
}

async fn serve_udp(socket: UdpSocket, mood: Moods) {
    let mut buffer = [0; 512];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let question = &buffer[..length];
        let mood = mood.lock().unwrap().clone();
        let answers = match mood {
            Mood::Answers(records) => vec![answer(question, ResponseCode::NoError, &records)],
            Mood::AnswersLast(records) => {
                let last = answer(question, ResponseCode::NoError, &records);
                let mut other_id = answer(question, ResponseCode::ServFail, &[]);
                other_id.metadata.id = other_id.metadata.id.wrapping_add(1);
                let mut other_name = answer(question, ResponseCode::ServFail, &[]);
                other_name.queries[0].set_name(Name::from_str("other.example.").unwrap());
                vec![other_id, other_name, last]
            }
            Mood::Refuses(code) => vec![answer(question, code, &[])],
            Mood::Silent => Vec::new(),
            Mood::Truncates(_) => {
                let mut cut = answer(question, ResponseCode::NoError, &[]);
                cut.metadata.truncation = true;
                vec![cut]
            }
        };
        for answer in answers {
            // Nobody may be left to read it.
            let _gone = socket.send_to(&answer.to_vec().unwrap(), from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, mood: Moods) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut question).await.unwrap();
        let Mood::Truncates(records) = mood.lock().unwrap().clone() else { continue };
        let bytes = answer(&question, ResponseCode::NoError, &records).to_vec().unwrap();
        stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    }
}

fn a(address: [u8; 4]) -> RData {
    RData::A(std::net::Ipv4Addr::from(address).into())
}

fn dns_test(server: SocketAddr, record: RecordType, expect: &[&str]) -> DnsTest {
    let expect = expect.iter().map(|text| (*text).to_owned()).collect();
    DnsTest { server, name: "www.example.com.".to_owned(), record, expect, source: None }
}

#[tokio::test]
async fn a_dns_test_goes_by_code_and_records() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    let listener = TcpListener::bind(server).await.unwrap();
    let good = || vec![a([192, 0, 2, 1]), a([192, 0, 2, 2])];
    let mood = Moods::new(Mutex::new(Mood::Answers(good())));
    let _udp = tokio::spawn(serve_udp(socket, Arc::clone(&mood)));
    let _tcp = tokio::spawn(serve_tcp(listener, Arc::clone(&mood)));
    let change = |to: Mood| *mood.lock().unwrap() = to;
    let test = spec(TestKind::Dns(dns_test(server, RecordType::A, &["192.0.2.2"])), Duration::from_secs(1));
    let (_probes, mut results) = Probes::start(vec![test], Vec::new());
    assert_eq!(result(&mut results).await, TestResult::Passed);

    change(Mood::Answers(vec![a([192, 0, 2, 1])]));
    let why = fails_again(&mut results).await;
    assert_eq!(why, format!("{server} has not 192.0.2.2 for www.example.com. A, but 192.0.2.1"));
    change(Mood::AnswersLast(good()));
    passes_again(&mut results).await;
    change(Mood::Refuses(ResponseCode::NXDomain));
    let why = fails_again(&mut results).await;
    assert_eq!(why, format!("{server} answered Non-Existent Domain for www.example.com. A"));
    change(Mood::Truncates(good()));
    passes_again(&mut results).await;
    change(Mood::Answers(vec![RData::MX(MX::new(10, Name::from_str("mail.example.com.").unwrap()))]));
    assert_eq!(fails_again(&mut results).await, format!("{server} has no A record for www.example.com."));
    change(Mood::Answers(good()));
    passes_again(&mut results).await;
    change(Mood::Silent);
    assert_eq!(fails_again(&mut results).await, format!("{server} did not answer for www.example.com. A within 1s"));
    change(Mood::Answers(good()));
    passes_again(&mut results).await;
}

#[tokio::test]
async fn records_of_any_type_are_compared_as_in_a_zone_file() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    let mail = RData::MX(MX::new(10, Name::from_str("Mail.example.com.").unwrap()));
    let text = RData::TXT(TXT::new(vec!["v=spf1 -all".to_owned()]));
    let _udp = tokio::spawn(serve_udp(socket, Moods::new(Mutex::new(Mood::Answers(vec![mail, text])))));
    for (record, expect) in [(RecordType::MX, "10 mail.example.com."), (RecordType::TXT, "v=spf1 -all")] {
        let (_probes, mut results) = Probes::start(vec![spec(TestKind::Dns(dns_test(server, record, &[expect])), AMPLE)], Vec::new());
        assert_eq!(result(&mut results).await, TestResult::Passed, "{record}");
    }
}

#[tokio::test]
async fn a_port_without_a_name_server_is_told_at_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    drop(socket);
    let (_probes, mut results) = Probes::start(vec![spec(TestKind::Dns(dns_test(server, RecordType::A, &[])), AMPLE)], Vec::new());
    let why = failure(&mut results).await;
    assert!(why.starts_with(&format!("{server} could not be asked over UDP: Connection refused")), "{why}");
    let test = DnsTest { source: "192.0.2.77".parse().ok(), ..dns_test(server, RecordType::A, &[]) };
    let (_probes, mut results) = Probes::start(vec![spec(TestKind::Dns(test), AMPLE)], Vec::new());
    let why = failure(&mut results).await;
    assert!(why.starts_with("source 192.0.2.77 cannot be used"), "{why}");
}
