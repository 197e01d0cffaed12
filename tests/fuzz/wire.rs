//! What comes from the network, as bytes: raw, behind a seal that opens, and packed and reassembled.

use std::net::Ipv4Addr;

use arbitrary::Unstructured;
use raisd::types::host::{BootId, HostId, Incarnation};
use raisd::types::message::{Command, HearingRecord, ItemsRecord, Message, Record, Sender};
use raisd::wire::{Arrival, DATAGRAM_BYTES_MAX, Dropped, Inbound, Outbound, claimed_tag, group_tag};

use crate::records::{Draw, Known};
use crate::seal::{self, GROUP, protection, seal};

const SENDER: Sender =
    Sender { host: HostId(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2))), incarnation: Incarnation(7), boot: BootId([0xb0; 16]) };

fn inbound() -> Inbound {
    Inbound::new(GROUP, &protection()).unwrap()
}

/// Nothing that was not sealed opens, and what is refused has a word for the counters.
pub(crate) fn raw(bytes: &[u8]) {
    let tag = claimed_tag(bytes);
    match inbound().open(bytes) {
        // Somebody has the key: the corpus, from `tests/wire-vectors` sealed anew.
        Ok(opened) => assert!(tag == Some(group_tag(GROUP)) && opened.sender == SENDER, "{opened:?}"),
        Err(dropped) => assert!(!dropped.reason().is_empty() && !dropped.to_string().is_empty()),
    }
}

pub(crate) fn raw_seeds() -> Vec<Vec<u8>> {
    let sealed = sealed_seeds().iter().map(|seed| seal(&SENDER, seed[0] % 5, 1, &seed[1..])).collect::<Vec<_>>();
    let short = sealed.iter().map(|datagram| datagram[..64.min(datagram.len())].to_vec());
    short.chain(sealed.clone()).collect()
}

/// The first byte is the kind of the message, the rest a body. Whatever opens can be said again, and is then the same.
pub(crate) fn sealed(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let datagram = seal(&SENDER, *kind, 1, body);
    match inbound().open(&datagram) {
        Ok(opened) => {
            assert_eq!((opened.sender, opened.number, opened.arrival), (SENDER, 1, Arrival::First));
            let message = Message { kind: opened.kind, incarnation: SENDER.incarnation, records: opened.records };
            assert!(said_again(&message).is_ok(), "what was read cannot be written: {message:?}");
        }
        Err(Dropped::Malformed(_)) => {}
        Err(Dropped::TooLong { len }) => assert!(len > DATAGRAM_BYTES_MAX),
        Err(other) => panic!("sealed as the protocol says, and yet: {other}"),
    }
}

pub(crate) fn sealed_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for round in 0..24_u8 {
        let bytes: Vec<u8> = (0..600_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> (8 + round % 16)).to_le_bytes()[0] ^ round).collect();
        let Ok(message) = (Draw { from: &mut Unstructured::new(&bytes), known: &Known::default() }).message() else { continue };
        let mut out = Outbound::new(GROUP, &protection(), SENDER.host, SENDER.boot).unwrap();
        for datagram in out.pack(&message).unwrap_or_default().into_iter().take(1) {
            seeds.push([&[datagram[6]][..], &seal::body(&datagram)].concat());
        }
    }
    seeds
}

/// The packed and reassembled message equals the message, in whatever order and however often its datagrams come.
pub(crate) fn packed(bytes: &[u8]) {
    let mut from = Unstructured::new(bytes);
    let known = Known::default();
    let Ok(message) = (Draw { from: &mut from, known: &known }).message() else { return };
    if let Err(error) = said_again(&message) {
        panic!("{error}: {message:?}");
    }
}

pub(crate) fn packed_seeds() -> Vec<Vec<u8>> {
    (0..16_u8).map(|round| (0..900_u32).map(|at| (at.wrapping_mul(2_246_822_519) >> (7 + round)).to_le_bytes()[0]).collect()).collect()
}

fn said_again(message: &Message) -> Result<(), raisd::wire::PackError> {
    let mut out = Outbound::new(GROUP, &protection(), SENDER.host, SENDER.boot).unwrap();
    let datagrams = out.pack(message)?;
    let mut inbound = inbound();
    let mut parts: Vec<(usize, Vec<Record>)> = Vec::new();
    // The odd ones first, the others backwards, then all again.
    let count = datagrams.len();
    let order = (0..count).filter(|index| index % 2 == 1).chain((0..count).rev().filter(|index| index % 2 == 0));
    for index in order {
        assert!(datagrams[index].len() <= DATAGRAM_BYTES_MAX);
        let opened = inbound.open(&datagrams[index]).unwrap();
        assert_eq!((opened.kind, opened.arrival, opened.sender.incarnation), (message.kind, Arrival::First, message.incarnation));
        parts.push((index, opened.records));
    }
    for datagram in &datagrams {
        let again = inbound.open(datagram).unwrap();
        assert!(again.arrival == Arrival::Again && again.records.is_empty());
    }
    parts.sort_by_key(|(index, _)| *index);
    let records: Vec<Record> = parts.into_iter().flat_map(|(_, records)| records).collect();
    assert_eq!(flattened(&records), flattened(&message.records));
    Ok(())
}

/// The records with one member each; a list without members stays as it is.
fn flattened(records: &[Record]) -> Vec<Record> {
    fn each<T: Clone>(list: &[T], record: impl Fn(Vec<T>) -> Record) -> Vec<Record> {
        if list.is_empty() { vec![record(Vec::new())] } else { list.iter().map(|member| record(vec![member.clone()])).collect() }
    }
    let flat = |record: &Record| match record {
        Record::Head(_) | Record::Detail(_) | Record::Zone(_) | Record::Wish(_) | Record::Verdict(_) | Record::Freeze(_) => {
            vec![record.clone()]
        }
        Record::Hearing(hearing) => each(&hearing.heard, |heard| Record::Hearing(HearingRecord { heard, ..hearing.clone() })),
        Record::Items(ItemsRecord { id, boot, items }) => each(items, |items| Record::Items(ItemsRecord { id: *id, boot: *boot, items })),
        Record::Addresses(addresses) => each(addresses, Record::Addresses),
        Record::Command(command) => each(&command.items, |items| Record::Command(Command { items, ..command.clone() })),
    };
    records.iter().flat_map(flat).collect()
}
