//! What bounds a flood: answers per second and network, and connections.

use super::*;
use crate::ports::dns::connections::{CONNECTIONS_MAX, NETWORK_CONNECTIONS_MAX};

fn limited(per_second: u32) -> (Dns, Client) {
    let limited = DnsSettings {
        rate_limit: NonZeroU32::new(per_second),
        ..settings(vec!["127.0.0.1:0".parse().unwrap()], vec![(GroupIndex(0), policy())])
    };
    let dns = Dns::start(&limited).unwrap();
    dns.publish(GroupIndex(0), &view(42, &v4(3)));
    let client = Client::of(dns.listening()[0]);
    (dns, client)
}

#[test]
fn a_flood_is_answered_with_no_more_bytes_than_it_has() {
    let (_dns, client) = limited(1);
    let good = question(ZONE, RecordType::A).to_vec().unwrap();
    let mut whole = 0;
    for _ in 0..200 {
        let answer = client.exchange(&good);
        if answer[2] & 2 == 0 {
            whole += 1;
        } else {
            assert!(answer.len() <= good.len(), "{} bytes for {}", answer.len(), good.len());
        }
    }
    // One at the start, and one for each second that this took.
    assert!((1..100).contains(&whole), "{whole} whole answers");
}

#[test]
fn over_the_limit_a_connection_is_answered() {
    let (_dns, client) = limited(1);
    client.ask(ZONE, RecordType::A);
    assert!(client.ask(ZONE, RecordType::A).metadata.truncation);
    let mut stream = client.connect();
    for _ in 0..50 {
        tcp_send(&mut stream, &question(ZONE, RecordType::A).to_vec().unwrap());
        assert_eq!(tcp_receive(&mut stream).answers.len(), 3);
    }
}

#[test]
fn over_the_limit_nonsense_is_not_answered() {
    let (_dns, client) = limited(1);
    client.ask(ZONE, RecordType::A);
    let good = question(ZONE, RecordType::A).to_vec().unwrap();
    let mut update = good.clone();
    update[2] = 0x28;
    for nonsense in [&good[..20], &update] {
        for _ in 0..10 {
            client.socket.send(nonsense).unwrap();
        }
    }
    let mut last = question(ZONE, RecordType::A);
    last.metadata.id = 0x4321;
    // At most one answer of these comes with the second that this may take.
    let mut others = 0;
    client.socket.send(&last.to_vec().unwrap()).unwrap();
    let mut answer = [0; 2048];
    while client.socket.recv(&mut answer).is_ok() && answer[..2] != [0x43, 0x21] {
        others += 1;
    }
    assert!(others <= 10, "{others} answers to nonsense");
}

#[test]
fn a_client_with_too_many_connections_loses_its_oldest() {
    let (_dns, client) = serving(&v4(3));
    let bytes = question(ZONE, RecordType::A).to_vec().unwrap();
    let mut streams: Vec<_> = (0..NETWORK_CONNECTIONS_MAX).map(|_| client.connect()).collect();
    for stream in &mut streams {
        tcp_send(stream, &bytes);
        assert_eq!(tcp_receive(stream).answers.len(), 3);
    }
    let mut newcomer = client.connect();
    tcp_send(&mut newcomer, &bytes);
    assert_eq!(tcp_receive(&mut newcomer).answers.len(), 3);
    assert!(is_closed(&mut streams[0]));
    tcp_send(&mut streams[1], &bytes);
    assert_eq!(tcp_receive(&mut streams[1]).answers.len(), 3);
}

#[test]
fn connections_are_counted_on_all_addresses_together() {
    let loopbacks = ["127.0.0.1:0", "127.0.0.2:0"].map(|text| text.parse().unwrap());
    let dns = Dns::start(&settings(loopbacks.to_vec(), vec![(GroupIndex(0), policy())])).unwrap();
    dns.publish(GroupIndex(0), &view(1, &v4(1)));
    let bytes = question(ZONE, RecordType::A).to_vec().unwrap();
    let mut first = Client::of(dns.listening()[0]).connect();
    tcp_send(&mut first, &bytes);
    tcp_receive(&mut first);
    let other = Client::of(dns.listening()[1]);
    let mut streams = Vec::new();
    for _ in 0..NETWORK_CONNECTIONS_MAX {
        let mut stream = other.connect();
        tcp_send(&mut stream, &bytes);
        tcp_receive(&mut stream);
        streams.push(stream);
    }
    assert!(is_closed(&mut first), "one of {CONNECTIONS_MAX} in all");
}

#[test]
fn a_connection_that_asks_and_does_not_read_is_closed() {
    let (_dns, client) = serving(&v4(60));
    let mut stream = client.connect();
    stream.set_write_timeout(Some(HANGS)).unwrap();
    let mut framed = Vec::new();
    let bytes = question(ZONE, RecordType::A).to_vec().unwrap();
    for _ in 0..1000 {
        framed.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
        framed.extend_from_slice(&bytes);
    }
    // Some megabytes of answers that nobody takes: the server stops to read, and then to wait.
    let error = loop {
        if let Err(error) = stream.write_all(&framed) {
            break error;
        }
    };
    assert!(matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe), "{error}");
}
