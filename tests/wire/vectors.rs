//! Datagrams as files: what other programs, and later versions of this one, must be able to read.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use raisd::types::host::{
    BootId, Duty, EntryVersion, Extent, FailedAcquire, Hearing, HostDetail, HostHead, HostId, HostItem, HostKeys, Incarnation,
    NetworkHearing, Role, Sequence,
};
use raisd::types::item::{Epoch, Item, ItemState, Reason};
use raisd::types::message::{
    AddressRecord, Command, CommandItem, CommandKind, DetailRecord, Freeze, HearingRecord, ItemsRecord, Message, MessageKind, Record,
    Refusal, Returned, Verdict, VerdictRecord, VersionedItem, Wish, WishKind, ZoneRecord,
};
use raisd::types::policy::{AllFailed, Ruling};
use raisd::wire::seal::{Key, KeyId, KeyUse, Protection};
use raisd::wire::{Inbound, Outbound};

/// One file.
struct Vector {
    name: &'static str,
    says: &'static str,
    group: &'static str,
    key: Option<Key>,
    host: HostId,
    boot: BootId,
    message: Message,
}

#[test]
fn the_vectors_are_what_this_program_sends() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wire-vectors");
    let mut names = Vec::new();
    for vector in vectors() {
        let path = directory.join(format!("{}.txt", vector.name));
        let text = vector.text();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap();
        assert_eq!(stored, text, "{} differs: hosts of another version would be cut off", path.display());
        names.push(path);
    }
    let mut files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    names.sort();
    assert_eq!(files, names, "every file belongs to a vector");
}

#[test]
fn the_vectors_open_from_their_files_alone() {
    for vector in vectors() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wire-vectors/{}.txt", vector.name));
        let stored = std::fs::read_to_string(&path).unwrap();
        let mut inbound = Inbound::new(vector.group, &vector.protection()).unwrap();
        let mut records = Vec::new();
        for datagram in datagrams(&stored) {
            records.extend(inbound.open(&datagram).unwrap().records);
        }
        assert_eq!(super::flattened(&records), super::flattened(&vector.message.records), "{}", path.display());
    }
}

/// The hexadecimal parts of a file.
pub(super) fn datagrams(text: &str) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    let mut open = false;
    for line in text.lines() {
        open = if line.starts_with("datagram ") {
            datagrams.push(Vec::new());
            true
        } else {
            open && line.starts_with("  ")
        };
        if let (true, Some(bytes), Some(digits)) = (open, datagrams.last_mut(), line.strip_prefix("  ")) {
            bytes.extend((0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()));
        }
    }
    datagrams
}

impl Vector {
    fn protection(&self) -> Protection {
        self.key.clone().map_or(Protection::Insecure, |key| Protection::Keys(vec![key]))
    }

    fn text(&self) -> String {
        let mut out = Outbound::new(self.group, &self.protection(), self.host, self.boot).unwrap();
        let datagrams = out.pack(&self.message).unwrap();
        let mut inbound = Inbound::new(self.group, &self.protection()).unwrap();
        let mut text = format!("{}\n\ngroup   {}\n", self.says, self.group);
        match &self.key {
            Some(key) => writeln!(text, "key     {} {}", key.id.0, hex(&key.secret)).unwrap(),
            None => text.push_str("key     none (insecure)\n"),
        }
        writeln!(text, "host    {}\nboot    {:?}", self.host, self.boot).unwrap();
        for datagram in &datagrams {
            let opened = inbound.open(datagram).unwrap();
            writeln!(text, "\ndatagram {} of {} bytes", opened.number, datagram.len()).unwrap();
            for line in datagram.chunks(32) {
                writeln!(text, "  {}", hex(line)).unwrap();
            }
            writeln!(text, "says\n  {:?} of {:?}", opened.kind, opened.sender).unwrap();
            for line in opened.records.iter().flat_map(said) {
                writeln!(text, "  {line}").unwrap();
            }
        }
        text
    }
}

/// A record for people: its fields, or what stands before its list and then a line for each member.
fn said(record: &Record) -> Vec<String> {
    fn members<T: std::fmt::Debug>(record: &impl std::fmt::Debug, list: &[T]) -> Vec<String> {
        let first = format!("{record:?}");
        std::iter::once(first).chain(list.iter().map(|member| format!("    {member:?}"))).collect()
    }
    match record {
        Record::Head(_) | Record::Detail(_) | Record::Zone(_) | Record::Wish(_) | Record::Verdict(_) | Record::Freeze(_) => {
            format!("{record:#?}").lines().map(str::to_owned).collect()
        }
        Record::Hearing(hearing) => members(&HearingRecord { heard: vec![], ..hearing.clone() }, &hearing.heard),
        Record::Items(list) => members(&ItemsRecord { items: vec![], ..list.clone() }, &list.items),
        Record::Addresses(addresses) => members(&Record::Addresses(vec![]), addresses),
        Record::Command(command) => members(&Command { items: vec![], ..command.clone() }, &command.items),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn id(text: &str) -> HostId {
    text.parse().unwrap()
}

fn boot(seed: u8) -> BootId {
    BootId(std::array::from_fn(|index| seed.wrapping_add(u8::try_from(index).unwrap())))
}

fn key() -> Option<Key> {
    Some(Key { id: KeyId(1), usage: KeyUse::Send, secret: std::array::from_fn(|index| u8::try_from(index).unwrap()) })
}

fn info(records: Vec<Record>) -> Message {
    Message { kind: MessageKind::Info, incarnation: Incarnation(7), records }
}

fn head(id: HostId, boot: BootId) -> HostHead {
    HostHead {
        id,
        incarnation: Incarnation(7),
        boot,
        sequence: Sequence(1000),
        age: Duration::ZERO,
        uptime: Duration::from_secs(3600),
        version: EntryVersion(12),
        items: Extent { count: 2, digest: 0x0123_4567_89ab_cdef },
        ok: true,
        duty: Duty::Active,
        settled: true,
        role: Role::Server,
        spare: false,
        frozen: None,
        restarting: false,
        config_hash: 0xfedc_ba98_7654_3210,
        ruling: Ruling { heartbeat: Duration::from_millis(250), timeout: Duration::from_secs(1), all_failed: AllFailed::Release },
        load: 300,
        capacity: 1000,
        promise: Some(Duration::from_millis(750)),
        database: Extent { count: 2, digest: 0x1122_3344_5566_7788 },
        zone_serial: 42,
    }
}

/// What a host of two networks says of itself, every field set.
fn own_entry(host: HostId, boot_id: BootId) -> Vec<Record> {
    let held = HostItem {
        item: Item::Address(ip("192.0.2.11")),
        prefix: 32,
        preferred: true,
        floating: false,
        state: ItemState::Online,
        epoch: Epoch(3),
        kernel: true,
        pinned: true,
        failed: None,
    };
    let failed = HostItem {
        item: Item::Address(ip("2001:db8::11")),
        prefix: 128,
        preferred: false,
        floating: true,
        state: ItemState::NotServing,
        epoch: Epoch(4),
        kernel: false,
        pinned: false,
        failed: Some(FailedAcquire { count: 2, back_off: Duration::from_secs(10) }),
    };
    vec![
        Record::Head(Box::new(head(host, boot_id))),
        Record::Hearing(HearingRecord {
            by: host,
            boot: boot_id,
            sequence: Sequence(1000),
            heard: vec![
                Hearing {
                    host: id("10.0.0.12"),
                    boot: boot(0x40).tag(),
                    sequence: Sequence(77),
                    proved: true,
                    complete: EntryVersion(5),
                    networks: vec![
                        NetworkHearing { network: 0, loss: 0, multicast: true },
                        NetworkHearing { network: 1, loss: 26, multicast: false },
                    ],
                },
                Hearing {
                    host: id("2001:db8::13"),
                    boot: boot(0x60).tag(),
                    sequence: Sequence(1),
                    proved: false,
                    complete: EntryVersion(0),
                    networks: vec![],
                },
            ],
        }),
        Record::Detail(Box::new(DetailRecord {
            id: host,
            boot: boot_id,
            version: EntryVersion(9),
            detail: HostDetail {
                name: "web1".to_owned(),
                software: "0.1.0".to_owned(),
                control: vec![ip("10.0.0.11"), ip("10.1.0.11")],
                multicast: true,
                mac: Some([0x02, 0, 0, 0, 0, 0x0b]),
                accept: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/64".parse().unwrap()],
                location: "texas".to_owned(),
                capabilities: vec!["postgres".to_owned(), "security:3".to_owned()],
                config: vec![0x0102, 0x0304, 0x0506, 0x0708, 0x090a, 0x0b0c, 0x0d0e, 0x0f10],
                keys: HostKeys { sends: KeyId(17), opens: vec![KeyId(5), KeyId(17)] },
            },
        })),
        Record::Items(ItemsRecord {
            id: host,
            boot: boot_id,
            items: vec![
                VersionedItem::Present { version: EntryVersion(10), item: held },
                VersionedItem::Present { version: EntryVersion(11), item: failed },
                VersionedItem::Gone { version: EntryVersion(12), item: Item::DataSet("orders".to_owned()) },
            ],
        }),
    ]
}

fn command(kind: CommandKind, host: HostId, boot_id: BootId, reason: Reason) -> Record {
    Record::Command(Command {
        kind,
        leader: host,
        leader_boot: boot_id,
        to: id("10.0.0.12"),
        to_incarnation: Incarnation(4),
        based_on: Sequence(77),
        items: vec![
            CommandItem { item: Item::Address(ip("192.0.2.11")), prefix: 32, epoch: Epoch(4), reason, overlaps: None },
            CommandItem { item: Item::Address(ip("2001:db8::11")), prefix: 128, epoch: Epoch(5), reason, overlaps: Some(id("10.0.0.13")) },
        ],
    })
}

/// The rest of an `info` of the leader: another host, the database, the zone, a command not yet answered.
fn shared(host: HostId, boot_id: BootId) -> Vec<Record> {
    let address = AddressRecord {
        item: Item::Address(ip("192.0.2.11")),
        prefix: 32,
        preferred_host: Some(host),
        floating: false,
        orphaned: Duration::ZERO,
        home_served: Some(Duration::ZERO),
        lifetime: Duration::from_secs(31_536_000),
        epoch: Epoch(3),
        tombstone: false,
        returned: Some(Returned { ago: Duration::from_secs(84), quick: 2 }),
    };
    let expired = AddressRecord {
        item: Item::Address(ip("2001:db8::99")),
        prefix: 64,
        preferred_host: None,
        floating: true,
        orphaned: Duration::from_secs(31_536_000),
        home_served: None,
        lifetime: Duration::from_secs(31_536_000),
        epoch: Epoch(300),
        tombstone: true,
        returned: None,
    };
    let relayed = HostHead {
        sequence: Sequence(77),
        age: Duration::from_micros(120_500),
        duty: Duty::Draining,
        role: Role::Observer,
        ok: false,
        settled: false,
        spare: true,
        restarting: true,
        frozen: Some(Duration::from_secs(1800)),
        promise: None,
        ..head(id("10.0.0.12"), boot(0x40))
    };
    vec![
        Record::Head(Box::new(relayed)),
        Record::Addresses(vec![address, expired]),
        Record::Zone(ZoneRecord { leader: host, serial: 42, part: 0, parts: 2, addresses: vec![ip("192.0.2.11"), ip("2001:db8::11")] }),
        Record::Zone(ZoneRecord { leader: host, serial: 42, part: 1, parts: 2, addresses: vec![] }),
        command(CommandKind::Release, host, boot_id, Reason::Home),
    ]
}

/// What operators want: wishes of another host and of this one, the leader's words on them, a freeze and its end.
fn wanted(host: HostId, boot_id: BootId) -> Vec<Record> {
    let item = Item::Address(ip("192.0.2.11"));
    let other = id("10.0.0.12");
    let wish = |number, kind| {
        Record::Wish(Wish { by: other, boot: boot(0x40), sequence: Sequence(77), number, left: Duration::from_secs(59), kind })
    };
    let verdict = |number, verdict| {
        Record::Verdict(VerdictRecord { leader: host, sequence: Sequence(1000), to: other, boot: boot(0x40), number, verdict })
    };
    vec![
        Record::Head(Box::new(head(host, boot_id))),
        wish(1, WishKind::Move { item: item.clone(), to: Some(host) }),
        wish(2, WishKind::Move { item, to: None }),
        wish(3, WishKind::Rebalance),
        verdict(1, Verdict::Done(host)),
        verdict(2, Verdict::There(other)),
        verdict(3, Verdict::Evened { moves: 4 }),
        verdict(4, Verdict::Refused { why: Refusal::HostQuiesced, host: Some(host) }),
        verdict(5, Verdict::Refused { why: Refusal::Frozen, host: None }),
        Record::Freeze(Freeze { number: 7, by: other, left: Duration::from_secs(3600) }),
        Record::Freeze(Freeze { number: 8, by: host, left: Duration::ZERO }),
    ]
}

fn vectors() -> Vec<Vector> {
    let (host, boot_id) = (id("10.0.0.11"), boot(0xb0));
    let host6 = id("2001:db8::11");
    let items = (0..120).map(|index: u32| VersionedItem::Present {
        version: EntryVersion(u64::from(index) * 100),
        item: HostItem {
            item: Item::Address(std::net::Ipv4Addr::from(0xc633_6400 + index).into()),
            prefix: 24,
            preferred: true,
            floating: false,
            state: ItemState::Online,
            epoch: Epoch(1),
            kernel: true,
            pinned: false,
            failed: None,
        },
    });
    let farewell = HostHead { sequence: Sequence::FAREWELL, items: Extent::default(), ..head(host, boot_id) };
    let vector = |name, says, message| Vector { name, says, group: "www", key: key(), host, boot: boot_id, message };
    vec![
        vector("info", "What a host says of itself and whom it hears.", info(own_entry(host, boot_id))),
        vector(
            "info-leader",
            "What the leader says of others: a relayed head, the database with a tombstone, a zone list in two parts, a command.",
            info(shared(host, boot_id)),
        ),
        vector(
            "info-long",
            "An entry of 120 items: the list is cut where the datagram is full.",
            info(vec![
                Record::Head(Box::new(head(host, boot_id))),
                Record::Items(ItemsRecord { id: host, boot: boot_id, items: items.collect() }),
            ]),
        ),
        vector(
            "acquire",
            "The leader has host 10.0.0.12 take two addresses.",
            Message {
                kind: MessageKind::Acquire,
                incarnation: Incarnation(7),
                records: vec![command(CommandKind::Acquire, host, boot_id, Reason::Assigned)],
            },
        ),
        vector(
            "release",
            "The leader has host 10.0.0.12 give two addresses up.",
            Message {
                kind: MessageKind::Release,
                incarnation: Incarnation(7),
                records: vec![command(CommandKind::Release, host, boot_id, Reason::Duplicate)],
            },
        ),
        vector("wishes", "What operators want of the group, and the leader's word on it.", info(wanted(host, boot_id))),
        vector("farewell", "The last of a boot, with the reserved number.", info(vec![Record::Head(Box::new(farewell))])),
        Vector {
            name: "insecure",
            says: "A group without keys, a sender with an IPv6 id.",
            group: "lab",
            key: None,
            host: host6,
            boot: boot_id,
            message: info(own_entry(host6, boot_id)),
        },
    ]
}
