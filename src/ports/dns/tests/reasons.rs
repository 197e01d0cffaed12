//! `_why` in a zone.

use hickory_proto::rr::rdata::TXT;

use super::*;
use crate::types::view::WithheldView;

const WHY: &str = "_why.www.pool.example.";

fn allowing(networks: &[&str], withheld: &[(&str, &str)]) -> (Dns, Client) {
    let allow_transfer = networks.iter().map(|network| network.parse().unwrap()).collect();
    let dns =
        Dns::start(&DnsSettings { allow_transfer, ..settings(vec!["127.0.0.1:0".parse().unwrap()], vec![(GroupIndex(0), policy())]) });
    let dns = dns.unwrap();
    let withheld = withheld.iter().map(|(address, detail)| WithheldView {
        address: address.parse().unwrap(),
        reason: "quiesced".to_owned(),
        detail: (*detail).to_owned(),
    });
    dns.publish(GroupIndex(0), &ZoneView { withheld: withheld.collect(), ..view(7, &v4(1)) });
    let client = Client::of(dns.listening()[0]);
    (dns, client)
}

fn texts(answer: &Message) -> Vec<String> {
    let text = |record: &Record| {
        assert_eq!((record.ttl, record.name.to_lowercase().to_ascii().as_str()), (0, WHY));
        let RData::TXT(TXT { txt_data, .. }) = &record.data else { panic!("{record}") };
        assert_eq!(txt_data.len(), 1, "one string each");
        String::from_utf8(txt_data[0].to_vec()).unwrap()
    };
    answer.answers.iter().map(text).collect()
}

#[test]
fn each_address_that_is_withheld_is_explained() {
    let (_dns, client) = allowing(&["127.0.0.0/8"], &[("192.0.2.7", "the operator has quiesced web7"), ("2001:db8::8", "")]);
    let answer = client.ask(WHY, RecordType::TXT);
    let expected =
        ["192.0.2.7 is withheld: quiesced: the operator has quiesced web7", "2001:db8::8 is withheld: quiesced"].map(str::to_owned);
    assert_eq!((texts(&answer), answer.metadata.authoritative), (expected.to_vec(), true));
    assert_eq!(texts(&client.ask("_WHY.www.pool.example.", RecordType::ANY)).len(), 2);
    assert_negative(&client.ask(WHY, RecordType::A), ResponseCode::NoError, 5);
    assert_negative(&client.ask("x._why.www.pool.example.", RecordType::TXT), ResponseCode::NXDomain, 5);
}

#[test]
fn it_is_for_those_only_who_may_pull_the_zone() {
    for networks in [&[][..], &["127.0.0.2/32", "10.0.0.0/8", "::/0"]] {
        let (_dns, client) = allowing(networks, &[("192.0.2.7", "")]);
        for kind in [RecordType::TXT, RecordType::ANY, RecordType::A] {
            let answer = client.ask(WHY, kind);
            assert_eq!(answer.metadata.response_code, ResponseCode::Refused, "{networks:?}");
            assert!(answer.answers.is_empty() && answer.authorities.is_empty());
        }
    }
}

#[test]
fn with_nothing_withheld_there_is_nothing_to_say() {
    let (_dns, client) = allowing(&["127.0.0.1/32"], &[]);
    assert_negative(&client.ask(WHY, RecordType::TXT), ResponseCode::NoError, 5);
}

#[test]
fn what_does_not_fit_comes_over_a_connection() {
    let many: Vec<String> = (1..=200).map(|last| format!("192.0.2.{last}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|address| (address.as_str(), "a host with a long story to tell")).collect();
    let (_dns, client) = allowing(&["127.0.0.1/32"], &many);
    let answer = client.ask(WHY, RecordType::TXT);
    assert!(answer.metadata.truncation && !answer.answers.is_empty());
    let mut stream = client.connect();
    tcp_send(&mut stream, &question(WHY, RecordType::TXT).to_vec().unwrap());
    assert_eq!(texts(&tcp_receive(&mut stream)).len(), 200);
}
