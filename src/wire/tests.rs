//! What can only be seen from within: bytes that no sender of version 1 makes, and the bounds of what is kept.

use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;

use super::body::{decode, encode};
use super::pack::{BODY_BYTES_MAX, bodies};
use super::*;
use crate::types::host::{
    EntryVersion, Extent, FailedAcquire, Hearing, HostDetail, HostHead, HostItem, HostKeys, Incarnation, NetworkHearing,
};
use crate::types::item::{Epoch, Item, ItemState, Reason};
use crate::types::message::{
    AddressRecord, Command, CommandItem, CommandKind, DetailRecord, HearingRecord, ItemsRecord, VersionedItem, ZoneRecord,
};
use crate::types::policy::{AllFailed, Ruling};

const BOOT: BootId = BootId([3; 16]);

fn host(last: u8) -> HostId {
    HostId(Ipv4Addr::new(10, 0, 0, last).into())
}

fn item(last: u8) -> Item {
    Item::Address(Ipv4Addr::new(192, 0, 2, last).into())
}

fn head(sequence: Sequence) -> Record {
    Record::Head(Box::new(HostHead {
        id: host(1),
        incarnation: Incarnation(7),
        boot: BOOT,
        sequence,
        age: Duration::ZERO,
        uptime: Duration::from_secs(90),
        version: EntryVersion(4),
        items: Extent { count: 2, digest: 0xfeed },
        ok: true,
        duty: crate::types::host::Duty::Active,
        settled: true,
        role: crate::types::host::Role::Server,
        spare: false,
        frozen: Some(Duration::from_secs(3600)),
        restarting: false,
        config_hash: 0xc0ffee,
        ruling: Ruling { heartbeat: Duration::from_millis(250), timeout: Duration::from_secs(1), all_failed: AllFailed::Keep },
        load: 300,
        capacity: 1000,
        promise: Some(Duration::from_millis(750)),
        database: Extent { count: 3, digest: 0xbeef },
        zone_serial: 42,
    }))
}

fn command(reason: Reason) -> Record {
    Record::Command(Command {
        kind: CommandKind::Acquire,
        leader: host(1),
        leader_boot: BOOT,
        to: host(2),
        to_incarnation: Incarnation(9),
        based_on: Sequence(1234),
        items: vec![CommandItem { item: item(1), prefix: 32, epoch: Epoch(5), reason, overlaps: None }],
    })
}

/// One record of each kind.
fn samples() -> Vec<Record> {
    let present = HostItem {
        item: item(2),
        prefix: 24,
        preferred: true,
        floating: false,
        state: ItemState::Online,
        epoch: Epoch(3),
        kernel: true,
        pinned: false,
        failed: Some(FailedAcquire { count: 2, back_off: Duration::from_secs(10) }),
    };
    vec![
        head(Sequence(1)),
        Record::Hearing(HearingRecord {
            by: host(1),
            boot: BOOT,
            sequence: Sequence(1),
            heard: vec![Hearing {
                host: host(2),
                boot: BOOT.tag(),
                sequence: Sequence(77),
                proved: true,
                complete: EntryVersion(3),
                networks: vec![
                    NetworkHearing { network: 0, loss: 0, multicast: true },
                    NetworkHearing { network: 1, loss: 255, multicast: false },
                ],
            }],
        }),
        Record::Detail(Box::new(DetailRecord { id: host(1), boot: BOOT, version: EntryVersion(4), detail: detail() })),
        Record::Items(ItemsRecord {
            id: host(1),
            boot: BOOT,
            items: vec![
                VersionedItem::Present { version: EntryVersion(4), item: present },
                VersionedItem::Gone { version: EntryVersion(2), item: Item::DataSet("orders".to_owned()) },
            ],
        }),
        Record::Addresses(vec![AddressRecord {
            item: item(2),
            prefix: 32,
            preferred_host: Some(host(2)),
            floating: false,
            orphaned: Duration::from_secs(5),
            home_served: Some(Duration::from_secs(6)),
            lifetime: Duration::from_secs(31_536_000),
            epoch: Epoch(3),
            tombstone: false,
            returned: None,
        }]),
        Record::Zone(ZoneRecord { leader: host(1), serial: 42, part: 0, parts: 1, addresses: vec![Ipv4Addr::new(192, 0, 2, 2).into()] }),
        command(Reason::Assigned),
    ]
}

fn detail() -> HostDetail {
    HostDetail {
        name: "web1".to_owned(),
        software: "0.1.0".to_owned(),
        control: vec![host(1).0],
        multicast: true,
        mac: Some([2, 0, 0, 0, 0, 1]),
        accept: vec!["192.0.2.0/24".parse().unwrap()],
        location: "texas".to_owned(),
        capabilities: vec!["postgres".to_owned()],
        config: vec![1, 2, 3],
        keys: HostKeys { sends: KeyId(17), opens: vec![KeyId(5), KeyId(17)] },
    }
}

fn info(records: Vec<Record>) -> Message {
    Message { kind: MessageKind::Info, incarnation: Incarnation(7), records }
}

fn outbound() -> Outbound {
    Outbound::new("www", &Protection::Insecure, host(1), BOOT).unwrap()
}

fn inbound() -> Inbound {
    Inbound::new("www", &Protection::Insecure).unwrap()
}

/// Seals any body with a given number, as no sender of this program would.
fn sealed(out: &Outbound, kind: u8, number: u64, body: &[u8]) -> Vec<u8> {
    let sender = Sender { host: out.host, incarnation: Incarnation(7), boot: out.boot };
    let header = Header { kind, group: out.ring.tag(), key: out.ring.sealing_id(), sender, number };
    out.subkey.seal(number, &header.bytes(), body).unwrap()
}

/// The only body of some records.
fn body_of(records: &[Record]) -> Vec<u8> {
    let bodies = bodies(records).unwrap();
    assert_eq!(bodies.len(), 1);
    bodies.concat()
}

/// A record with other bytes for its payload.
fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind], &len[..], payload].concat()
}

#[test]
fn a_record_of_an_unknown_kind_is_skipped() {
    let body = [body_of(&[head(Sequence(1))]), framed(200, b"from a later version"), body_of(&[command(Reason::Home)])].concat();
    assert_eq!(decode(&body), Ok(vec![head(Sequence(1)), command(Reason::Home)]));
}

#[test]
fn what_a_later_version_adds_at_the_end_of_a_record_is_ignored() {
    for record in samples() {
        let body = body_of(std::slice::from_ref(&record));
        let (kind, payload) = (body[0], &body[3..]);
        let longer = framed(kind, &[payload, b"more"].concat());
        assert_eq!(decode(&longer), Ok(vec![record]));
    }
}

#[test]
fn what_a_later_version_adds_at_the_end_of_a_member_is_ignored() {
    let record = command(Reason::Home);
    let encoded = encode(&record).unwrap();
    let member = &encoded.members.unwrap().bytes[1..];
    let longer_member = [&[u8::try_from(member.len() + 4).unwrap()], member, b"more"].concat();
    let body = framed(encoded.kind, &[encoded.fixed.as_slice(), &[1], &longer_member].concat());
    assert_eq!(decode(&body), Ok(vec![record]));
}

#[test]
fn every_value_of_a_closed_list_comes_back() {
    use crate::types::host::{Duty, Role};
    let reasons = [
        Reason::Assigned,
        Reason::Drained,
        Reason::Duplicate,
        Reason::DuplicateId,
        Reason::Expired,
        Reason::Home,
        Reason::Found,
        Reason::Isolated,
        Reason::Leftover,
        Reason::LostFence,
        Reason::LostMajority,
        Reason::Late,
        Reason::Moved,
        Reason::Rebalanced,
        Reason::RemovedByOthers,
        Reason::Stopped,
        Reason::TestFailed,
    ];
    for reason in reasons {
        assert_eq!(decode(&body_of(&[command(reason)])), Ok(vec![command(reason)]));
    }
    fn comes_back<T: bytes::Layout + PartialEq + std::fmt::Debug>(values: &[T]) {
        for value in values {
            let mut out = Vec::new();
            value.put(&mut out).unwrap();
            assert_eq!(T::take(&mut bytes::Reader::new(&out)).as_ref(), Ok(value));
        }
        assert!(matches!(T::take(&mut bytes::Reader::new(&[99])), Err(Flaw::Unknown { value: 99, .. })));
    }
    comes_back(&reasons);
    comes_back(&[Duty::Active, Duty::Quiesced, Duty::Draining]);
    comes_back(&[Role::Server, Role::Observer]);
    comes_back(&[ItemState::NotServing, ItemState::Acquiring, ItemState::Online, ItemState::Releasing]);
    comes_back(&[CommandKind::Acquire, CommandKind::Release]);
}

#[test]
fn a_prefix_length_must_fit_the_kind_of_item() {
    let with = |item: Item, prefix| {
        let record = Record::Addresses(vec![AddressRecord {
            item,
            prefix,
            preferred_host: None,
            floating: true,
            orphaned: Duration::ZERO,
            home_served: None,
            lifetime: Duration::ZERO,
            epoch: Epoch(0),
            tombstone: false,
            returned: None,
        }]);
        bodies(&[record]).err()
    };
    let v6 = Item::Address("2001:db8::1".parse().unwrap());
    let refused =
        |prefix| Some(PackError::Unfit { record: "service-address database".to_owned(), flaw: Flaw::Prefix { field: "item", prefix } });
    for (item, prefix, expected) in [
        (item(1), 0, None),
        (item(1), 32, None),
        (item(1), 33, refused(33)),
        (v6.clone(), 128, None),
        (v6, 129, refused(129)),
        (Item::DataSet("orders".to_owned()), 0, None),
        (Item::DataSet("orders".to_owned()), 1, refused(1)),
    ] {
        assert_eq!(with(item.clone(), prefix), expected, "{item}/{prefix}");
    }

    let mut body = body_of(&[command(Reason::Home)]);
    let place = body.windows(5).position(|bytes| bytes == [192, 0, 2, 1, 32]).unwrap() + 4;
    body[place] = 33;
    assert_eq!(decode(&body), Err(Flaw::Prefix { field: "item", prefix: 33 }));
}

#[test]
fn lists_and_parts_out_of_bounds_are_refused() {
    let zone = |part, parts| Record::Zone(ZoneRecord { leader: host(1), serial: 1, part, parts, addresses: vec![] });
    assert!(bodies(&[zone(1, 2)]).is_ok());
    for (part, parts) in [(0, 0), (2, 2), (9, 1)] {
        assert!(bodies(&[zone(part, parts)]).is_err(), "part {part} of {parts}");
    }
    let mut detail = detail();
    detail.control = vec![host(1).0; 9];
    assert!(matches!(check_detail(&detail), Err(PackError::Unfit { flaw: Flaw::TooMany { count: 9, max: 8, .. }, .. })));
}

#[test]
fn a_detail_that_fits_no_datagram_is_named() {
    let mut detail = detail();
    assert_eq!(check_detail(&detail), Ok(()));
    detail.capabilities = vec!["x".repeat(64); 20];
    let refused = check_detail(&detail);
    assert!(matches!(&refused, Err(PackError::RecordTooLong { record, len }) if record == "detail of ::" && *len > BODY_BYTES_MAX));
    detail.capabilities = vec!["x".repeat(65)];
    assert!(matches!(check_detail(&detail), Err(PackError::Unfit { flaw: Flaw::TextTooLong { len: 65, .. }, .. })));
}

#[test]
fn a_list_fills_the_body_at_hand_before_it_opens_the_next() {
    let items = |count: u16| {
        let items = (0..count).map(|n| VersionedItem::Gone {
            version: EntryVersion(n.into()),
            item: Item::Address(Ipv4Addr::from(0xc000_0200 + u32::from(n)).into()),
        });
        Record::Items(ItemsRecord { id: host(1), boot: BOOT, items: items.collect() })
    };
    let bodies = bodies(&[head(Sequence(1)), items(1000), command(Reason::Home)]).unwrap();
    let last = bodies.len() - 1;
    // Length of a member, then presence, version and address.
    let member_len_max = 1 + 1 + 2 + 5;
    for body in &bodies[..last] {
        assert!(body.len() > BODY_BYTES_MAX - member_len_max && body.len() <= BODY_BYTES_MAX, "{}", body.len());
    }
    assert!(matches!(decode(&bodies[0]).unwrap().as_slice(), [Record::Head(_), Record::Items(_)]));
    assert!(matches!(decode(&bodies[last]).unwrap().as_slice(), [Record::Items(_), Record::Command(_)]));
}

#[test]
fn a_list_without_members_is_a_record_all_the_same() {
    let empty = Record::Items(ItemsRecord { id: host(1), boot: BOOT, items: vec![] });
    assert_eq!(decode(&body_of(&[empty.clone(), Record::Addresses(vec![])])), Ok(vec![empty, Record::Addresses(vec![])]));
}

#[test]
fn a_later_version_is_read_if_it_says_so() {
    let out = outbound();
    let sender = Sender { host: out.host, incarnation: Incarnation(7), boot: out.boot };
    let header = Header { kind: 0, group: out.ring.tag(), key: out.ring.sealing_id(), sender, number: 1 };
    let of = |version, oldest| {
        let mut bytes = header.bytes();
        (bytes[4], bytes[5]) = (version, oldest);
        out.subkey.seal(1, &bytes, &[]).unwrap()
    };
    assert_eq!(inbound().open(&of(2, 1)).map(|opened| opened.number), Ok(1));
    assert_eq!(inbound().open(&of(3, 2)), Err(Dropped::VersionTooNew { oldest: 2 }));
    // The rest of the layout may be another one by then.
    assert_eq!(inbound().open(&of(3, 2)[..6]), Err(Dropped::VersionTooNew { oldest: 2 }));
}

#[test]
fn an_authentic_datagram_that_is_malformed_moves_no_window() {
    let (out, mut inbound) = (outbound(), inbound());
    let cut = Flaw::Cut { field: "record" };
    assert_eq!(inbound.open(&sealed(&out, 0, u64::MAX - 1, &[1, 0, 9])), Err(Dropped::Malformed(cut)));
    let unknown = Flaw::Unknown { field: "message kind", value: 3 };
    assert_eq!(inbound.open(&sealed(&out, 3, u64::MAX - 1, &[])), Err(Dropped::Malformed(unknown)));
    assert_eq!(inbound.open(&sealed(&out, 0, 1, &[])).map(|opened| opened.arrival), Ok(Arrival::First));
}

#[test]
fn a_forgery_takes_no_place_among_the_subkeys() {
    let (mut out, mut inbound) = (outbound(), inbound());
    let genuine = out.pack(&info(samples())).unwrap().remove(0);
    for boot in 0..=255 {
        let mut forged = genuine.clone();
        forged[40] ^= boot;
        forged[70] ^= 1;
        assert_eq!(inbound.open(&forged), Err(Dropped::Forged { key: KeyId::INSECURE }));
    }
    assert_eq!(inbound.subkeys.kept.len(), 0);
    assert!(inbound.open(&genuine).is_ok());
    assert_eq!(inbound.subkeys.kept.len(), 1);
}

#[test]
fn the_subkey_that_was_not_used_for_longest_leaves() {
    let mut inbound = inbound();
    let hear = |inbound: &mut Inbound, boot: usize, number| {
        let boot = BootId((boot as u128).to_be_bytes());
        let out = Outbound::new("www", &Protection::Insecure, host(1), boot).unwrap();
        inbound.open(&sealed(&out, 0, number, &[])).unwrap();
        boot
    };
    let kept = |inbound: &Inbound, boot| inbound.subkeys.kept.contains_key(&(KeyId::INSECURE, host(1), boot));
    let boots: Vec<_> = (0..SUBKEYS_MAX).map(|boot| hear(&mut inbound, boot, 1)).collect();
    hear(&mut inbound, 0, 2);
    hear(&mut inbound, SUBKEYS_MAX, 1);
    assert_eq!(inbound.subkeys.kept.len(), SUBKEYS_MAX);
    assert!(kept(&inbound, boots[0]));
    assert!(!kept(&inbound, boots[1]));
    // It comes back with its next datagram.
    hear(&mut inbound, 1, 2);
    assert!(kept(&inbound, boots[1]));
}

#[test]
fn a_boot_that_has_used_up_its_numbers_sends_no_more_and_still_says_farewell() {
    let mut out = outbound();
    out.last = u64::MAX - 2;
    assert_eq!(out.pack(&info(samples())).map(|datagrams| datagrams.len()), Ok(1));
    assert_eq!(out.pack(&info(samples())), Err(PackError::Exhausted));
    assert_eq!(out.pack(&info(vec![head(Sequence::FAREWELL)])).map(|datagrams| datagrams.len()), Ok(1));
}

#[test]
fn a_farewell_that_does_not_fit_one_datagram_is_refused() {
    let mut records = vec![head(Sequence::FAREWELL)];
    records.extend(std::iter::repeat_n(samples(), 20).flatten());
    assert!(matches!(outbound().pack(&info(records)), Err(PackError::FarewellTooLong { datagrams }) if datagrams > 1));
}

#[test]
fn the_relayed_farewell_of_another_is_numbered_like_any_message() {
    let mut other = outbound();
    other.host = host(9);
    let datagrams = other.pack(&info(vec![head(Sequence::FAREWELL)])).unwrap();
    assert_eq!(inbound_number(&datagrams[0]), 1);
    let mut later = outbound();
    later.boot = BootId([4; 16]);
    assert_eq!(inbound_number(&later.pack(&info(vec![head(Sequence::FAREWELL)])).unwrap()[0]), 1);
}

fn inbound_number(datagram: &[u8]) -> u64 {
    Header::read(datagram).unwrap().number
}

#[test]
fn every_reason_is_a_word_of_its_own() {
    let reasons = [
        Dropped::AfterFarewell { number: 1 },
        Dropped::ForeignGroup,
        Dropped::Forged { key: KeyId(1) },
        Dropped::Malformed(Flaw::Cut { field: "record" }),
        Dropped::NotOurs,
        Dropped::TooLong { len: 1 },
        Dropped::TooOld { number: 1 },
        Dropped::Truncated { len: 1 },
        Dropped::UnknownKey { key: KeyId(1) },
        Dropped::VersionTooNew { oldest: 2 },
    ]
    .map(Dropped::reason);
    let words: std::collections::BTreeSet<_> = reasons.iter().collect();
    assert_eq!(words.len(), reasons.len());
    assert!(reasons.iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-')), "{reasons:?}");
}

proptest! {
    /// What is authentic may still be anything: a peer's program can be wrong.
    #[test]
    fn any_body_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..BODY_BYTES_MAX)) {
        drop(decode(&body));
    }

    #[test]
    fn any_payload_of_a_known_kind_is_read_or_refused(kind in 1..=7_u8, payload in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(decode(&framed(kind, &payload)));
    }

    /// What is read can be sent on: relays must not fail on what they have accepted.
    #[test]
    fn a_damaged_body_is_refused_or_read_as_records_that_travel(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = body_of(&samples());
        for (place, byte) in &damage {
            let place = place.index(body.len());
            body[place] = *byte;
        }
        for body in [&body[..], &body[..cut.index(body.len())]] {
            if let Ok(records) = decode(body) {
                let again = bodies(&records).unwrap();
                prop_assert_eq!(decode(&again.concat()), Ok(records));
            }
        }
    }
}
