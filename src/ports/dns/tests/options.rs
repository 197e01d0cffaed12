//! What EDNS adds, and how many bytes an answer takes.

use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

use super::*;

const COOKIE: u16 = 10;
const KEEPALIVE: u16 = 11;
const BADCOOKIE: u16 = 23;

fn with_option(code: u16, value: &[u8]) -> Message {
    let mut message = question_with_edns(ZONE, RecordType::A, 1232);
    message.edns.get_or_insert_with(Edns::new).options_mut().insert(EdnsOption::Unknown(code, value.to_vec()));
    message
}

fn option(answer: &Message, code: u16) -> Option<Vec<u8>> {
    let option = answer.edns.as_ref()?.option(EdnsCode::from(code))?;
    Some(option.try_into().unwrap())
}

#[test]
fn every_owner_name_is_a_pointer() {
    let (dns, client) = serving(&v6(16));
    let bytes = client.exchange(&question(ZONE, RecordType::AAAA).to_vec().unwrap());
    // Header, name, type and class; then owner, type, class, time to live, length and address for each.
    assert_eq!(bytes.len(), 12 + 18 + 4 + 16 * (2 + 10 + 16));
    dns.publish(GroupIndex(0), &view(2, &v6(17)));
    let bytes = client.exchange(&question(ZONE, RecordType::AAAA).to_vec().unwrap());
    assert!(bytes.len() == 510 && bytes[2] & 2 == 0, "17 addresses fit into 512 bytes: {}", bytes.len());
    // What is asked for in mixed case is pointed at all the same, also in a denial.
    let bytes = client.exchange(&question("Nothing.WWW.pool.example.", RecordType::A).to_vec().unwrap());
    assert_eq!(bytes[12 + 26 + 4..][..2], [0xc0, 12 + 8], "the zone's name within the question");
    let answer = Message::from_vec(&bytes).unwrap();
    assert_eq!(answer.authorities[0].name, Name::from_ascii(ZONE).unwrap());
}

#[test]
fn a_thousand_addresses_come_over_a_connection_with_pointers_throughout() {
    let all: Vec<IpAddr> = (0..1000_u16).map(|number| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number])).collect();
    let (_dns, client) = serving(&all);
    let mut stream = client.connect();
    tcp_send(&mut stream, &question(ZONE, RecordType::AAAA).to_vec().unwrap());
    let answer = tcp_receive_bytes(&mut stream);
    // hickory's own encoder spells names out after the 120th.
    assert_eq!(answer.len(), 12 + 18 + 4 + 1000 * (2 + 10 + 16));
    assert_eq!(sorted(addresses(&Message::from_vec(&answer).unwrap())), all);
}

#[test]
fn who_asks_for_the_servers_name_is_told() {
    let (_dns, client) = serving(&v4(1));
    let answer = client.ask_message(&with_option(3, b""));
    assert_eq!(option(&answer, 3).as_deref(), Some(b"web1".as_slice()), "RFC 5001");
    assert_eq!(option(&client.ask_message(&with_option(4711, b"what")), 3), None, "and nobody else");
}

#[test]
fn options_that_mean_nothing_here_are_ignored() {
    let (_dns, client) = serving(&v4(1));
    for code in [4, 9, 12, 13, 14, 65_001] {
        let answer = client.ask_message(&with_option(code, &[0; 7]));
        assert_eq!((addresses(&answer), option(&answer, code)), (v4(1), None), "{code}");
    }
    // Client subnet of 192.0.2.0/24: RFC 7871 §7.2.1, not echoed by who does not support it.
    let answer = client.ask_message(&with_option(8, &[0, 1, 24, 0, 192, 0, 2]));
    assert_eq!((addresses(&answer), option(&answer, 8)), (v4(1), None));
}

#[test]
fn a_client_that_sends_a_cookie_gets_one_that_is_known_again() {
    let (dns, client) = serving(&v4(1));
    let client_part = [1, 2, 3, 4, 5, 6, 7, 8];
    let cookie = option(&client.ask_message(&with_option(COOKIE, &client_part)), COOKIE).unwrap();
    assert_eq!((cookie.len(), &cookie[..8]), (24, &client_part[..]));
    assert_eq!(cookie[8..12], [1, 0, 0, 0], "RFC 9018: version 1");
    let answer = client.ask_message(&with_option(COOKIE, &cookie));
    assert_eq!((addresses(&answer), answer.metadata.response_code), (v4(1), ResponseCode::NoError));
    // A reload keeps the secret, so that nobody has to begin again.
    let mut dns = dns;
    let limited =
        DnsSettings { rate_limit: NonZeroU32::new(1), ..settings(vec!["127.0.0.1:0".parse().unwrap()], vec![(GroupIndex(0), policy())]) };
    dns.reconfigure(&limited).unwrap();
    for _ in 0..10 {
        assert_eq!(addresses(&client.ask_message(&with_option(COOKIE, &cookie))), v4(1));
    }
}

#[test]
fn a_cookie_can_be_had_without_a_question() {
    let (_dns, client) = serving(&v4(1));
    let mut message = with_option(COOKIE, &[7; 8]);
    message.queries.clear();
    let answer = client.ask_message(&message);
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "RFC 7873 §5.4");
    assert_eq!(option(&answer, COOKIE).map(|cookie| cookie.len()), Some(24));
    let mut without = question_with_edns(ZONE, RecordType::A, 1232);
    without.queries.clear();
    assert_eq!(client.ask_message(&without).metadata.response_code, ResponseCode::FormErr);
}

#[test]
fn a_cookie_of_a_length_that_none_has_is_malformed() {
    let (_dns, client) = serving(&v4(1));
    for length in [0, 1, 7, 9, 15, 41] {
        let answer = client.ask_message(&with_option(COOKIE, &vec![1; length]));
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr, "{length}: RFC 7873 §5.2.2");
    }
}

#[test]
fn a_connection_is_told_how_long_it_may_be_idle() {
    let (_dns, client) = serving(&v4(1));
    let message = with_option(KEEPALIVE, b"");
    let mut stream = client.connect();
    tcp_send(&mut stream, &message.to_vec().unwrap());
    assert_eq!(option(&tcp_receive(&mut stream), KEEPALIVE), Some(vec![0, 50]), "RFC 7828: tenths of a second");
    assert_eq!(option(&client.ask_message(&message), KEEPALIVE), None, "never in a datagram");
}

#[test]
fn another_version_of_edns_is_told_ours_and_nothing_else() {
    let (_dns, client) = serving(&v4(1));
    let mut message = with_option(COOKIE, &[7; 8]);
    message.edns.get_or_insert_with(Edns::new).set_version(1).options_mut().insert(EdnsOption::Unknown(3, Vec::new()));
    let answer = client.ask_message(&message);
    assert_eq!(u16::from(answer.metadata.response_code), 16);
    assert_eq!((option(&answer, 3), option(&answer, COOKIE)), (None, None));
}

#[test]
fn over_the_limit_a_cookie_tells_real_clients_from_others() {
    let (dns, client) = serving(&v4(1));
    let mut dns = dns;
    let loopback = vec!["127.0.0.1:0".parse().unwrap()];
    dns.reconfigure(&DnsSettings { rate_limit: NonZeroU32::new(1), ..settings(loopback, vec![(GroupIndex(0), policy())]) }).unwrap();
    assert_eq!(addresses(&client.ask(ZONE, RecordType::A)), v4(1), "within the limit");
    let bare = client.ask(ZONE, RecordType::A);
    assert!(bare.metadata.truncation && bare.answers.is_empty(), "without a cookie: come by TCP");
    let question = with_option(COOKIE, &[7; 8]);
    let answer = client.ask_message(&question);
    assert_eq!((u16::from(answer.metadata.response_code), answer.answers.len()), (BADCOOKIE, 0), "RFC 7873 §5.2.3");
    let cookie = option(&answer, COOKIE).unwrap();
    for _ in 0..20 {
        assert_eq!(addresses(&client.ask_message(&with_option(COOKIE, &cookie))), v4(1), "and with it as often as they like");
    }
    // Nobody else has a cookie for this address: another server's is no better than none.
    let mut other = cookie;
    other[20] ^= 1;
    assert_eq!(u16::from(client.ask_message(&with_option(COOKIE, &other)).metadata.response_code), BADCOOKIE);
}
