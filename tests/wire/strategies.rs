//! Arbitrary messages within the bounds of wire version 1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use raisd::types::host::{
    BootId, BootTag, Duty, EntryVersion, Extent, FailedAcquire, Hearing, HostDetail, HostHead, HostId, HostItem, HostKeys, Incarnation,
    KeyId, NETWORKS_MAX, NetworkHearing, Role, Sequence,
};
use raisd::types::item::{Epoch, Item, ItemState, Reason};
use raisd::types::message::{
    AddressRecord, Command, CommandItem, CommandKind, DetailRecord, Freeze, HearingRecord, ItemsRecord, Message, MessageKind, Record,
    Refusal, Returned, Verdict, VerdictRecord, VersionedItem, Wish, WishKind, ZoneRecord,
};
use raisd::types::policy::{AllFailed, Ruling};
use raisd::wire::DURATION_MAX;

/// Any message, some of them many datagrams long.
pub(crate) fn message() -> impl Strategy<Value = Message> {
    let kind = select(vec![MessageKind::Info, MessageKind::Acquire, MessageKind::Release]);
    (kind, number(), vec(record(), 0..12)).prop_map(|(kind, incarnation, records)| Message {
        kind,
        incarnation: Incarnation(incarnation),
        records,
    })
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        head().prop_map(|head| Record::Head(Box::new(head))),
        (host(), boot(), sequence(), vec(hearing(), 0..80)).prop_map(|(by, boot, sequence, heard)| Record::Hearing(HearingRecord {
            by,
            boot,
            sequence,
            heard
        })),
        (host(), boot(), version(), detail()).prop_map(|(id, boot, version, detail)| Record::Detail(Box::new(DetailRecord {
            id,
            boot,
            version,
            detail
        }))),
        (host(), boot(), vec(versioned_item(), 0..300)).prop_map(|(id, boot, items)| Record::Items(ItemsRecord { id, boot, items })),
        vec(address_record(), 0..200).prop_map(Record::Addresses),
        zone().prop_map(Record::Zone),
        command().prop_map(Record::Command),
        wish().prop_map(Record::Wish),
        verdict().prop_map(Record::Verdict),
        (number(), host(), duration()).prop_map(|(number, by, left)| Record::Freeze(Freeze { number, by, left })),
    ]
}

fn head() -> impl Strategy<Value = HostHead> {
    let who = (host(), number(), boot(), sequence(), duration(), duration(), version(), extent());
    let state =
        (any::<[bool; 4]>(), select(vec![Duty::Active, Duty::Quiesced, Duty::Draining]), select(vec![Role::Server, Role::Observer]));
    let rest =
        (option::of(duration()), option::of(duration()), number(), any::<[u32; 3]>(), extent(), (duration(), duration(), any::<bool>()));
    (who, state, rest).prop_map(
        |(
            (id, incarnation, boot, sequence, age, uptime, version, items),
            ([ok, settled, spare, restarting], duty, role),
            (frozen, promise, config_hash, [load, capacity, zone_serial], database, (heartbeat, timeout, keeps)),
        )| HostHead {
            id,
            incarnation: Incarnation(incarnation),
            boot,
            sequence,
            age,
            uptime,
            version,
            items,
            ok,
            duty,
            settled,
            role,
            spare,
            frozen,
            restarting,
            config_hash,
            ruling: Ruling { heartbeat, timeout, all_failed: if keeps { AllFailed::Keep } else { AllFailed::Release } },
            load,
            capacity,
            promise,
            database,
            zone_serial,
        },
    )
}

fn hearing() -> impl Strategy<Value = Hearing> {
    let networks = (0..NETWORKS_MAX as u8, any::<u8>(), any::<bool>());
    let networks = vec(networks.prop_map(|(network, loss, multicast)| NetworkHearing { network, loss, multicast }), 0..=NETWORKS_MAX);
    (host(), any::<[u8; 8]>(), sequence(), any::<bool>(), version(), networks).prop_map(
        |(host, boot, sequence, proved, complete, networks)| Hearing { host, boot: BootTag(boot), sequence, proved, complete, networks },
    )
}

fn detail() -> impl Strategy<Value = HostDetail> {
    let texts = (text(), text(), text(), vec("[a-z:0-9]{0,20}", 0..4));
    let networks = (vec(address(), 0..=NETWORKS_MAX), any::<bool>(), option::of(any::<[u8; 6]>()), vec(network(), 0..12));
    let keys = (vec(any::<u16>(), 0..12), any::<u32>().prop_map(KeyId), vec(any::<u32>().prop_map(KeyId), 0..16));
    (texts, networks, keys).prop_map(
        |((name, software, location, capabilities), (control, multicast, mac, accept), (config, sends, opens))| HostDetail {
            name,
            software,
            control,
            multicast,
            mac,
            accept,
            location,
            capabilities,
            config,
            keys: HostKeys { sends, opens },
        },
    )
}

fn versioned_item() -> impl Strategy<Value = VersionedItem> {
    let states = select(vec![ItemState::NotServing, ItemState::Acquiring, ItemState::Online, ItemState::Releasing]);
    let failed = option::of((any::<u32>(), duration()).prop_map(|(count, back_off)| FailedAcquire { count, back_off }));
    let present = (version(), item(), any::<[bool; 4]>(), states, number(), failed).prop_map(
        |(version, (item, prefix), [preferred, floating, kernel, pinned], state, epoch, failed)| VersionedItem::Present {
            version,
            item: HostItem { item, prefix, preferred, floating, state, epoch: Epoch(epoch), kernel, pinned, failed },
        },
    );
    let gone = (version(), item()).prop_map(|(version, (item, _))| VersionedItem::Gone { version, item });
    prop_oneof![3 => present, 1 => gone]
}

fn address_record() -> impl Strategy<Value = AddressRecord> {
    let returned = option::of((duration(), any::<u32>()).prop_map(|(ago, quick)| Returned { ago, quick }));
    (item(), option::of(host()), any::<[bool; 2]>(), duration(), option::of(duration()), duration(), number(), returned).prop_map(
        |((item, prefix), preferred_host, [floating, tombstone], orphaned, home_served, lifetime, epoch, returned)| AddressRecord {
            item,
            prefix,
            preferred_host,
            floating,
            orphaned,
            home_served,
            lifetime,
            epoch: Epoch(epoch),
            tombstone,
            returned,
        },
    )
}

fn wish() -> impl Strategy<Value = Wish> {
    let kind =
        prop_oneof![(item(), option::of(host())).prop_map(|((item, _), to)| WishKind::Move { item, to }), Just(WishKind::Rebalance),];
    (host(), boot(), sequence(), number(), duration(), kind).prop_map(|(by, boot, sequence, number, left, kind)| Wish {
        by,
        boot,
        sequence,
        number,
        left,
        kind,
    })
}

fn verdict() -> impl Strategy<Value = VerdictRecord> {
    let why = select(vec![Refusal::Unknown, Refusal::Frozen, Refusal::NoHome, Refusal::HostAway, Refusal::HostInBackOff]);
    let verdict = prop_oneof![
        host().prop_map(Verdict::Done),
        host().prop_map(Verdict::There),
        any::<u32>().prop_map(|moves| Verdict::Evened { moves }),
        (why, option::of(host())).prop_map(|(why, host)| Verdict::Refused { why, host }),
    ];
    (host(), sequence(), host(), boot(), number(), verdict).prop_map(|(leader, sequence, to, boot, number, verdict)| VerdictRecord {
        leader,
        sequence,
        to,
        boot,
        number,
        verdict,
    })
}

fn zone() -> impl Strategy<Value = ZoneRecord> {
    (host(), any::<u32>(), any::<u16>(), 1..=u16::MAX, vec(address(), 0..=16))
        .prop_map(|(leader, serial, part, parts, addresses)| ZoneRecord { leader, serial, part: part % parts, parts, addresses })
}

fn command() -> impl Strategy<Value = Command> {
    let reason = select(vec![Reason::Assigned, Reason::Home, Reason::Duplicate, Reason::TestFailed]);
    let item = (item(), number(), reason, option::of(host())).prop_map(|((item, prefix), epoch, reason, overlaps)| CommandItem {
        item,
        prefix,
        epoch: Epoch(epoch),
        reason,
        overlaps,
    });
    let kind = select(vec![CommandKind::Acquire, CommandKind::Release]);
    (kind, host(), boot(), host(), number(), sequence(), vec(item, 0..200)).prop_map(
        |(kind, leader, leader_boot, to, to_incarnation, based_on, items)| Command {
            kind,
            leader,
            leader_boot,
            to,
            to_incarnation: Incarnation(to_incarnation),
            based_on,
            items,
        },
    )
}

/// An item with a prefix length of its family.
fn item() -> impl Strategy<Value = (Item, u8)> {
    prop_oneof![
        3 => (any::<Ipv4Addr>(), 0..=32_u8).prop_map(|(address, prefix)| (Item::Address(address.into()), prefix)),
        3 => (any::<Ipv6Addr>(), 0..=128_u8).prop_map(|(address, prefix)| (Item::Address(address.into()), prefix)),
        1 => "[a-z]{1,64}".prop_map(|name| (Item::DataSet(name), 0)),
    ]
}

fn network() -> impl Strategy<Value = IpNet> {
    (address(), any::<u8>()).prop_map(|(address, prefix)| {
        let max = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, prefix % (max + 1)).unwrap()
    })
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<Ipv4Addr>().prop_map(IpAddr::from), any::<Ipv6Addr>().prop_map(IpAddr::from)]
}

fn host() -> impl Strategy<Value = HostId> {
    address().prop_map(HostId)
}

fn boot() -> impl Strategy<Value = BootId> {
    any::<[u8; 16]>().prop_map(BootId)
}

fn sequence() -> impl Strategy<Value = Sequence> {
    number().prop_map(Sequence)
}

fn version() -> impl Strategy<Value = EntryVersion> {
    number().prop_map(EntryVersion)
}

fn extent() -> impl Strategy<Value = Extent> {
    (any::<u32>(), number()).prop_map(|(count, digest)| Extent { count, digest })
}

fn duration() -> impl Strategy<Value = Duration> {
    (0..=DURATION_MAX.as_micros() as u64, 0..56_u32).prop_map(|(micros, shift)| Duration::from_micros(micros >> shift))
}

/// Small numbers as often as great ones.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
}

/// At most 64 bytes without control characters.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,64}", "[äöü€]{0,21}"]
}
