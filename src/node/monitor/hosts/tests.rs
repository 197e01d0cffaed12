//! Who counts as live and why: ages, farewells, proof, silence and bounds, one record at a time.

use super::*;
use crate::node::monitor::extent;
use crate::types::host::{Duty, Extent, HostDetail, HostItem, HostKeys, Role};
use crate::types::item::{Epoch, ItemState};
use crate::types::message::{DetailRecord, ItemsRecord, VersionedItem};
use crate::types::policy::{AllFailed, Ruling};

const ME: HostId = HostId(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)));
const BOOT: BootId = BootId([1; 16]);
const HEARTBEAT: Duration = Duration::from_millis(250);
const TIMEOUT: Duration = Duration::from_secs(1);

/// A host by the last byte of its id; it starts with a boot of the same byte.
pub(crate) fn id(last: u8) -> HostId {
    HostId([10, 0, 0, last].into())
}

fn boot(last: u8) -> BootId {
    BootId([last; 16])
}

fn at(ms: u64) -> Time {
    Time::after_start(Duration::from_secs(100) + Duration::from_millis(ms))
}

/// What a host that is well says of itself in its `info` number `sequence`.
pub(crate) fn head(last: u8, sequence: u64) -> HostHead {
    HostHead {
        id: id(last),
        incarnation: Incarnation(1),
        boot: boot(last),
        sequence: Sequence(sequence),
        age: Duration::ZERO,
        uptime: Duration::from_secs(60),
        version: EntryVersion(1),
        items: Extent::default(),
        ok: true,
        duty: Duty::Active,
        settled: true,
        role: Role::Server,
        spare: false,
        frozen: None,
        restarting: false,
        config_hash: 0,
        ruling: Ruling { heartbeat: HEARTBEAT, timeout: TIMEOUT, all_failed: AllFailed::Release },
        load: 0,
        capacity: 1,
        promise: None,
        database: Extent::default(),
        zone_serial: 0,
    }
}

/// It reports hearing this host by its `info` number `sequence`.
fn hears_me(last: u8, said: u64, sequence: u64) -> Record {
    let heard =
        Hearing { host: ME, boot: BOOT.tag(), sequence: Sequence(sequence), proved: true, complete: EntryVersion(0), networks: Vec::new() };
    Record::Hearing(HearingRecord { by: id(last), boot: boot(last), sequence: Sequence(said), heard: vec![heard] })
}

fn datagram(last: u8, number: u64) -> Datagram {
    let sender = Sender { host: id(last), incarnation: Incarnation(1), boot: boot(last) };
    Datagram { network: 0, way: Way::Multicast, sender, number, arrival: Arrival::First }
}

fn records(heads: impl IntoIterator<Item = HostHead>) -> Vec<Record> {
    heads.into_iter().map(|head| Record::Head(Box::new(head))).collect()
}

/// A database in which these hosts have proved that they live, at 0 ms.
pub(crate) fn knowing(hosts: &[u8]) -> Hosts {
    let mut known = Hosts::new(ME, BOOT, TIMEOUT);
    for host in hosts {
        let mut said = records([head(*host, 1)]);
        said.push(hears_me(*host, 1, 1));
        known.hear(at(0), datagram(*host, 1), said);
    }
    assert_eq!(known.live().map(|(id, _)| id).collect::<Vec<_>>(), hosts.iter().map(|host| id(*host)).collect::<Vec<_>>());
    known.take_notices();
    known
}

/// A host that is known says this of itself.
pub(crate) fn hear_head(hosts: &mut Hosts, head: HostHead) {
    let sender = Sender { host: head.id, incarnation: head.incarnation, boot: head.boot };
    hosts.hear(at(0), Datagram { sender, ..datagram(2, head.sequence.0 + 1) }, records([head]));
}

/// A host that is known says that this item is all that it has; its entry is whole.
pub(crate) fn hear_item(hosts: &mut Hosts, last: u8, item: &Item, state: ItemState, epoch: Epoch) {
    let known = hosts.get(id(last)).expect("is known").head.clone();
    let version = EntryVersion(known.version.0 + 1);
    let item = host_item(item, state, epoch);
    let detail = detail(last);
    let items = Extent { count: 1, digest: extent::detail_digest(&detail) ^ extent::item_digest(&item) };
    let about = DetailRecord { id: id(last), boot: boot(last), version: EntryVersion(1), detail };
    let record = ItemsRecord { id: id(last), boot: boot(last), items: vec![VersionedItem::Present { version, item }] };
    let mut said = records([HostHead { version, items, sequence: Sequence(known.sequence.0 + 1), ..known.clone() }]);
    said.extend([Record::Detail(Box::new(about)), Record::Items(record)]);
    hosts.hear(at(0), datagram(last, known.sequence.0 + 2), said);
}

fn detail(last: u8) -> HostDetail {
    HostDetail {
        name: format!("web{last}"),
        software: "0.1.0".to_owned(),
        control: vec![id(last).0],
        multicast: true,
        mac: None,
        accept: vec![],
        location: String::new(),
        capabilities: vec![],
        config: vec![],
        keys: HostKeys::insecure(),
    }
}

fn host_item(item: &Item, state: ItemState, epoch: Epoch) -> HostItem {
    HostItem { item: item.clone(), prefix: 32, preferred: false, floating: false, state, epoch, kernel: true, pinned: false, failed: None }
}

fn is_live(hosts: &Hosts, last: u8) -> bool {
    hosts.get(id(last)).is_some_and(Host::is_live)
}

#[test]
fn a_start_that_does_not_name_this_one_is_no_host() {
    let mut hosts = Hosts::new(ME, BOOT, TIMEOUT);
    for sequence in 1..=20 {
        let changes = hosts.hear(at(sequence), datagram(2, sequence), records([head(2, sequence)]));
        assert!(changes.unproved);
    }
    assert_eq!(hosts.all().count(), 0);
    let mut said = records([head(2, 21)]);
    said.push(hears_me(2, 21, 1));
    assert!(!hosts.hear(at(21), datagram(2, 21), said).unproved);
    assert!(is_live(&hosts, 2));
}

#[test]
fn a_capture_from_before_this_start_tells_nothing_of_others_although_its_sender_runs_on() {
    // Host 2 is known by its own proof, host 4 by what host 2 passes on.
    let mut hosts = Hosts::new(ME, BOOT, TIMEOUT);
    let mut said = records([head(2, 50)]);
    said.push(hears_me(2, 50, 1));
    hosts.hear(at(0), datagram(2, 100), said);
    hosts.hear(at(1), datagram(2, 101), records([head(4, 70)]));
    assert!(is_live(&hosts, 4));
    for (sender, number) in [(2, 99), (4, 60)] {
        let changes = hosts.hear(at(2), datagram(sender, number), records([head(sender, 49), head(3, 9)]));
        assert!(changes.past && hosts.get(id(3)).is_none(), "host {sender} speaks of the dead host 3");
    }
    // What they say from then on counts.
    hosts.hear(at(3), datagram(4, 61), records([head(4, 71), head(3, 9)]));
    assert!(is_live(&hosts, 3));
    assert!(hosts.hear(at(4), datagram(4, 59), records([head(5, 1)])).past && hosts.get(id(5)).is_none());
    assert!(!hosts.hear(at(5), datagram(2, 102), records([head(5, 1)])).past && is_live(&hosts, 5));
}

#[test]
fn an_age_never_grows_younger_by_being_passed_on() {
    let mut hosts = knowing(&[2, 3]);
    // Host 3 vanishes; host 2 passes its last words on for ever, each time with the age that they have.
    for (sequence, ms) in (2..).zip((100..1000).step_by(100)) {
        let dead = HostHead { age: Duration::from_millis(ms), ..head(3, 1) };
        hosts.hear(at(ms), datagram(2, sequence), records([head(2, sequence), dead]));
        hosts.tick(at(ms), HEARTBEAT);
        assert!(is_live(&hosts, 3), "at {ms} ms");
    }
    // One that passes it on with an age of none does not help either: its sequence has not grown.
    hosts.hear(at(950), datagram(2, 50), records([head(2, 50), head(3, 1)]));
    assert!(hosts.tick(at(1000), HEARTBEAT));
    assert!(!is_live(&hosts, 3) && is_live(&hosts, 2));
    assert_eq!(hosts.take_notices(), [Notice::Silent(id(3), TIMEOUT)]);
}

#[test]
fn a_later_info_that_is_passed_on_counts_from_when_it_was_heard_first() {
    let mut hosts = knowing(&[2, 3]);
    let relayed = HostHead { age: Duration::from_millis(300), ..head(3, 2) };
    hosts.hear(at(900), datagram(2, 2), records([head(2, 2), relayed]));
    hosts.tick(at(1599), HEARTBEAT);
    assert!(is_live(&hosts, 3), "heard by host 2 at 600 ms");
    hosts.tick(at(1600), HEARTBEAT);
    assert!(!is_live(&hosts, 3));
}

#[test]
fn a_farewell_is_the_last_word_of_a_start() {
    let mut hosts = knowing(&[2, 3]);
    let farewell = HostHead { sequence: Sequence::FAREWELL, ..head(3, 1) };
    hosts.hear(at(10), datagram(3, u64::MAX), records([farewell]));
    assert_eq!(hosts.take_notices(), [Notice::Left(id(3))]);
    // What is late, from itself or passed on, changes nothing.
    hosts.hear(at(20), datagram(3, 2), records([head(3, 2)]));
    hosts.hear(at(20), datagram(2, 2), records([head(2, 2), head(3, 3)]));
    assert!(!is_live(&hosts, 3));
    assert_eq!(hosts.take_notices(), []);
    // Its next start is another matter.
    let next = HostHead { incarnation: Incarnation(2), boot: BootId([33; 16]), ..head(3, 1) };
    hosts.hear(at(30), datagram(2, 3), records([head(2, 3), next]));
    assert!(is_live(&hosts, 3));
}

#[test]
fn who_was_not_listened_to_is_not_silent() {
    let late = Duration::from_secs(30);
    for excused in [true, false] {
        let mut hosts = knowing(&[2, 3]);
        if excused {
            hosts.excuse(late);
        }
        hosts.tick(at(30_500), HEARTBEAT);
        assert_eq!(is_live(&hosts, 2), excused);
        hosts.tick(at(31_000), HEARTBEAT);
        assert!(!is_live(&hosts, 2), "for what was listened to it counts");
    }
}

#[test]
fn an_older_info_of_the_same_start_changes_nothing() {
    let mut hosts = knowing(&[2]);
    hosts.hear(at(10), datagram(2, 9), records([HostHead { ok: false, ..head(2, 9) }]));
    hosts.hear(at(11), datagram(2, 8), records([head(2, 8)]));
    assert!(hosts.get(id(2)).is_some_and(|host| !host.head.ok && host.head.sequence == Sequence(9)));
}

#[test]
fn a_host_that_has_been_silent_is_unknown_until_its_entry_is_whole_again() {
    let mut hosts = knowing(&[2]);
    let item = host_item(&Item::Address([192, 0, 2, 2].into()), ItemState::Online, Epoch(1));
    let items = ItemsRecord { id: id(2), boot: boot(2), items: vec![VersionedItem::Present { version: EntryVersion(1), item }] };
    hosts.hear(at(10), datagram(2, 2), vec![Record::Items(items)]);
    assert_eq!(hosts.get(id(2)).map(|host| host.entry.items().count()), Some(1));
    hosts.tick(at(2000), HEARTBEAT);
    hosts.hear(at(2001), datagram(2, 3), records([head(2, 3)]));
    assert!(is_live(&hosts, 2));
    assert!(hosts.get(id(2)).is_some_and(|host| !host.whole && host.entry.items().count() == 0));
}

#[test]
fn a_full_database_forgets_who_is_away_and_nobody_who_lives() {
    let mut hosts = Hosts::new(ME, BOOT, TIMEOUT);
    let host = |number: usize, sequence: u64| HostHead {
        id: HostId(std::net::Ipv4Addr::from(0x0a01_0000 + u32::try_from(number).unwrap()).into()),
        ..head(2, sequence)
    };
    let mut said = records([head(2, 1)]);
    said.push(hears_me(2, 1, 1));
    hosts.hear(at(0), datagram(2, 1), said);
    hosts.hear(at(0), datagram(2, 2), records((1..HOSTS_MAX).map(|number| host(number, 1))));
    assert_eq!(hosts.all().count(), HOSTS_MAX);
    let changes = hosts.hear(at(1), datagram(2, 3), records([host(HOSTS_MAX, 1)]));
    assert!(changes.limit_reached && hosts.all().count() == HOSTS_MAX);
    // All but the one that speaks fall silent, one of them later than the others.
    hosts.hear(at(500), datagram(2, 4), records([head(2, 4), host(1, 2)]));
    hosts.tick(at(1499), HEARTBEAT);
    hosts.hear(at(1499), datagram(2, 5), records([head(2, 5), host(HOSTS_MAX, 1)]));
    assert_eq!(hosts.all().count(), HOSTS_MAX);
    assert!(hosts.get(host(HOSTS_MAX, 1).id).is_some() && hosts.get(host(1, 1).id).is_some_and(Host::is_live));
}

#[test]
fn captures_of_many_starts_fill_a_list_of_their_own() {
    let mut hosts = knowing(&[2]);
    for number in 0..200u8 {
        let sender = Sender { host: id(3), incarnation: Incarnation(1), boot: BootId([number; 16]) };
        let replayed = HostHead { boot: sender.boot, ..head(3, 1) };
        hosts.hear(at(u64::from(number)), Datagram { sender, ..datagram(3, 1) }, records([replayed]));
    }
    let windows = Windows { direct: TIMEOUT, late: TIMEOUT };
    assert_eq!(hosts.hearing_of_strangers(at(200), windows).len(), STRANGERS_MAX);
    assert_eq!(hosts.live().count(), 1);
    hosts.tick(at(3000), HEARTBEAT);
    assert_eq!(hosts.hearing_of_strangers(at(3000), windows), []);
}
