//! Wire version 1 from outside: what goes in comes out, and nothing else does.
//!
//! `tests/wire-vectors` holds datagrams in hexadecimal with what they say; `UPDATE=1 cargo test --test wire` writes them
//! anew. A difference there breaks hosts of another version: read it before it is committed.

#![expect(clippy::unwrap_used, reason = "functions beside the tests; a failure there is a failed test")]

#[path = "wire/annotated.rs"]
mod annotated;
#[path = "wire/strategies.rs"]
mod strategies;
#[path = "wire/vectors.rs"]
mod vectors;

use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;
use raisd::types::host::{BootId, Duty, EntryVersion, Extent, HostHead, HostId, Incarnation, Role, Sequence};
use raisd::types::message::{Command, HearingRecord, ItemsRecord, Message, MessageKind, Record};
use raisd::types::policy::{AllFailed, Ruling};
use raisd::wire::seal::{Key, KeyId, KeyUse, Protection};
use raisd::wire::{Arrival, DATAGRAM_BYTES_MAX, Dropped, Inbound, Opened, Outbound};

const HOST: HostId = HostId(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 11)));
const BOOT: BootId = BootId([0xb0; 16]);

fn key(id: u32, usage: KeyUse) -> Key {
    Key { id: KeyId(id), usage, secret: [u8::try_from(id).unwrap(); 32] }
}

fn keys<const N: usize>(keys: [Key; N]) -> Protection {
    Protection::Keys(keys.to_vec())
}

fn one_key() -> Protection {
    keys([key(1, KeyUse::Send)])
}

fn outbound(protection: &Protection) -> Outbound {
    Outbound::new("www", protection, HOST, BOOT).unwrap()
}

fn inbound(protection: &Protection) -> Inbound {
    Inbound::new("www", protection).unwrap()
}

fn info(sequence: Sequence) -> Message {
    let head = HostHead {
        id: HOST,
        incarnation: Incarnation(7),
        boot: BOOT,
        sequence,
        age: Duration::ZERO,
        uptime: Duration::from_secs(1),
        version: EntryVersion(1),
        items: Extent::default(),
        ok: true,
        duty: Duty::Active,
        settled: true,
        role: Role::Server,
        spare: true,
        frozen: None,
        restarting: false,
        config_hash: 0,
        ruling: Ruling { heartbeat: Duration::from_millis(250), timeout: Duration::from_secs(1), all_failed: AllFailed::Release },
        load: 0,
        capacity: 0,
        promise: None,
        database: Extent::default(),
        zone_serial: 0,
    };
    Message { kind: MessageKind::Info, incarnation: Incarnation(7), records: vec![Record::Head(Box::new(head))] }
}

/// The only datagram of a message.
fn datagram(out: &mut Outbound, message: &Message) -> Vec<u8> {
    let mut datagrams = out.pack(message).unwrap();
    assert_eq!(datagrams.len(), 1);
    datagrams.remove(0)
}

fn arrival(opened: Result<Opened, Dropped>) -> Result<Arrival, Dropped> {
    opened.map(|opened| opened.arrival)
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

proptest! {
    #[test]
    fn a_message_comes_out_as_it_went_in(message in strategies::message()) {
        let (mut out, mut inbound) = (outbound(&one_key()), inbound(&one_key()));
        let datagrams = out.pack(&message).unwrap();
        let mut records = Vec::new();
        for (index, datagram) in datagrams.iter().enumerate() {
            prop_assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
            let opened = inbound.open(datagram).unwrap();
            prop_assert_eq!(opened.sender.host, HOST);
            prop_assert_eq!(opened.sender.boot, BOOT);
            prop_assert_eq!(opened.sender.incarnation, message.incarnation);
            prop_assert_eq!(opened.number, index as u64 + 1);
            prop_assert_eq!(opened.kind, message.kind);
            prop_assert_eq!(opened.arrival, Arrival::First);
            records.extend(opened.records);
        }
        prop_assert_eq!(flattened(&records), flattened(&message.records));
    }

    #[test]
    fn garbage_is_dropped(garbage in prop::collection::vec(any::<u8>(), 0..1400)) {
        prop_assert!(inbound(&one_key()).open(&garbage).is_err());
    }

    #[test]
    fn garbage_behind_a_genuine_header_is_dropped(garbage in prop::collection::vec(any::<u8>(), 0..1300), kept in 0..=64_usize) {
        let mut forged = datagram(&mut outbound(&one_key()), &info(Sequence(1)));
        forged.truncate(kept);
        forged.extend(garbage);
        prop_assert!(inbound(&one_key()).open(&forged).is_err());
    }
}

#[test]
fn no_datagram_opens_with_a_bit_changed() {
    let genuine = datagram(&mut outbound(&one_key()), &info(Sequence(1)));
    let mut inbound = inbound(&one_key());
    for bit in 0..genuine.len() * 8 {
        let mut changed = genuine.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(inbound.open(&changed).is_err(), "bit {bit}");
    }
    assert_eq!(arrival(inbound.open(&genuine)), Ok(Arrival::First));
}

#[test]
fn no_part_of_a_datagram_opens() {
    let genuine = datagram(&mut outbound(&one_key()), &info(Sequence(1)));
    let mut inbound = inbound(&one_key());
    for len in 0..genuine.len() {
        let reason = inbound.open(&genuine[..len]).unwrap_err();
        let expected = if len < 64 + 16 { Dropped::Truncated { len } } else { Dropped::Forged { key: KeyId(1) } };
        assert_eq!(reason, expected, "{len} bytes");
    }
}

#[test]
fn a_datagram_longer_than_any_sender_makes_is_dropped() {
    let mut long = datagram(&mut outbound(&one_key()), &info(Sequence(1)));
    long.resize(DATAGRAM_BYTES_MAX + 1, 0);
    assert_eq!(inbound(&one_key()).open(&long), Err(Dropped::TooLong { len: DATAGRAM_BYTES_MAX + 1 }));
}

#[test]
fn what_is_not_for_this_group_or_key_is_told_apart() {
    let sealed = datagram(&mut outbound(&one_key()), &info(Sequence(1)));
    let other_secret = keys([Key { secret: [9; 32], ..key(1, KeyUse::Send) }]);
    assert_eq!(inbound(&other_secret).open(&sealed), Err(Dropped::Forged { key: KeyId(1) }));
    assert_eq!(inbound(&keys([key(2, KeyUse::Send)])).open(&sealed), Err(Dropped::UnknownKey { key: KeyId(1) }));
    assert_eq!(inbound(&Protection::Insecure).open(&sealed), Err(Dropped::UnknownKey { key: KeyId(1) }));
    assert_eq!(Inbound::new("ftp", &one_key()).unwrap().open(&sealed), Err(Dropped::ForeignGroup));
    assert_eq!(inbound(&one_key()).open(b"GET / HTTP/1.1\r\n"), Err(Dropped::NotOurs));
    let insecure = datagram(&mut outbound(&Protection::Insecure), &info(Sequence(1)));
    assert_eq!(inbound(&one_key()).open(&insecure), Err(Dropped::UnknownKey { key: KeyId::INSECURE }));
    assert_eq!(arrival(inbound(&Protection::Insecure).open(&insecure)), Ok(Arrival::First));
}

#[test]
fn a_second_copy_is_told_as_such_and_says_nothing() {
    let sealed = datagram(&mut outbound(&one_key()), &info(Sequence(1)));
    let mut inbound = inbound(&one_key());
    let first = inbound.open(&sealed).unwrap();
    let second = inbound.open(&sealed).unwrap();
    assert_eq!((first.arrival, first.records.len()), (Arrival::First, 1));
    assert_eq!(second, Opened { arrival: Arrival::Again, records: Vec::new(), ..first });
}

#[test]
fn a_datagram_from_before_the_window_is_dropped() {
    let (mut out, mut inbound) = (outbound(&one_key()), inbound(&one_key()));
    let datagrams: Vec<_> = (1..=2050).map(|sequence| datagram(&mut out, &info(Sequence(sequence)))).collect();
    assert_eq!(arrival(inbound.open(datagrams.last().unwrap())), Ok(Arrival::First));
    assert_eq!(inbound.open(&datagrams[0]), Err(Dropped::TooOld { number: 1 }));
    assert_eq!(inbound.open(&datagrams[1]), Err(Dropped::TooOld { number: 2 }));
    assert_eq!(arrival(inbound.open(&datagrams[2])), Ok(Arrival::First));
}

#[test]
fn a_farewell_sealed_beforehand_ends_the_boot_when_it_is_sent() {
    let (mut out, mut inbound) = (outbound(&one_key()), inbound(&one_key()));
    let farewell = datagram(&mut out, &info(Sequence::FAREWELL));
    let earlier: Vec<_> = (1..=3).map(|sequence| datagram(&mut out, &info(Sequence(sequence)))).collect();
    assert_eq!(inbound.open(&earlier[0]).map(|opened| opened.number), Ok(1));
    assert_eq!(inbound.open(&earlier[1]).map(|opened| opened.number), Ok(2));

    let opened = inbound.open(&farewell).unwrap();
    assert_eq!((opened.number, opened.arrival), (u64::MAX, Arrival::First));
    assert_eq!(arrival(inbound.open(&farewell)), Ok(Arrival::Again));
    assert_eq!(inbound.open(&earlier[1]), Err(Dropped::AfterFarewell { number: 2 }));
    assert_eq!(inbound.open(&earlier[2]), Err(Dropped::AfterFarewell { number: 3 }));

    let mut next = Outbound::new("www", &one_key(), HOST, BootId([0xb1; 16])).unwrap();
    assert_eq!(arrival(inbound.open(&datagram(&mut next, &info(Sequence(1))))), Ok(Arrival::First));
}

#[test]
fn keys_are_rotated_without_a_gap() {
    let (old, new) = (key(1, KeyUse::Send), key(2, KeyUse::Send));
    let (old_opens, new_opens) = (key(1, KeyUse::Receive), key(2, KeyUse::Receive));
    let steps = [keys([old.clone()]), keys([old, new_opens]), keys([new.clone(), old_opens]), keys([new])];
    let (mut out, mut inbound) = (outbound(&steps[0]), inbound(&steps[0]));
    let mut number = 0;
    let mut send = |out: &mut Outbound, inbound: &mut Inbound, step: usize| {
        number += 1;
        let opened = inbound.open(&datagram(out, &info(Sequence(number)))).unwrap();
        assert_eq!((opened.number, opened.arrival), (number, Arrival::First), "step {step}");
    };
    send(&mut out, &mut inbound, 0);
    // One end is always a step ahead of the other, now this, now that.
    for (step, protection) in steps.iter().enumerate().skip(1) {
        if step % 2 == 0 {
            out.set_protection(protection).unwrap();
            send(&mut out, &mut inbound, step);
            inbound.set_protection(protection).unwrap();
        } else {
            inbound.set_protection(protection).unwrap();
            send(&mut out, &mut inbound, step);
            out.set_protection(protection).unwrap();
        }
        send(&mut out, &mut inbound, step);
    }
}

#[test]
fn a_reload_forgets_no_copy() {
    let (mut out, mut inbound) = (outbound(&one_key()), inbound(&one_key()));
    let sealed = datagram(&mut out, &info(Sequence(1)));
    assert_eq!(arrival(inbound.open(&sealed)), Ok(Arrival::First));
    inbound.set_protection(&keys([key(2, KeyUse::Send), key(1, KeyUse::Receive)])).unwrap();
    assert_eq!(arrival(inbound.open(&sealed)), Ok(Arrival::Again));
}

#[test]
fn unusable_keys_leave_the_former_ones_in_use() {
    let (mut out, mut inbound) = (outbound(&one_key()), inbound(&one_key()));
    let unusable = keys([key(1, KeyUse::Receive)]);
    assert!(out.set_protection(&unusable).is_err());
    assert!(inbound.set_protection(&unusable).is_err());
    assert_eq!(arrival(inbound.open(&datagram(&mut out, &info(Sequence(1))))), Ok(Arrival::First));
}
