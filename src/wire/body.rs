//! Records as bytes: kind, length, payload, field by field as `docs/protocol.md` lists them.
//!
//! Hand-written, so that the layout is ours and not that of a serializer: it stays when a type's fields are sorted anew,
//! its bounds are checked where they are read, and a record or list member of a later version may carry more at its end.
//! Unknown kinds of record are skipped, unknown bytes at the end of a record or member too; unknown values are not.
//! `pack` cuts what is encoded here into bodies; `Inbound` has them decoded once the seal has opened.

mod host;
mod item;
mod wish;

use std::net::IpAddr;

use super::bytes::{Flaw, Layout, Reader, put_count, put_number, take_count};
use crate::types::host::{BootId, HostHead, HostId, Incarnation, Sequence};
use crate::types::message::{
    Command, CommandKind, DetailRecord, Freeze, HearingRecord, ItemsRecord, Record, VerdictRecord, Wish, ZoneRecord,
};

/// Bytes before the payload of a record: kind and length.
pub(super) const RECORD_HEADER_BYTES: usize = 3;

/// The most members of a list in one record: what its count of one byte holds.
pub(super) const MEMBERS_MAX: usize = u8::MAX as usize;

const HEAD: u8 = 1;
const HEARING: u8 = 2;
const DETAIL: u8 = 3;
const ITEMS: u8 = 4;
const ADDRESSES: u8 = 5;
const ZONE: u8 = 6;
const COMMAND: u8 = 7;
const WISH: u8 = 8;
const VERDICT: u8 = 9;
const FREEZE: u8 = 10;

/// A record's payload.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) kind: u8,
    /// All of a record that has no list; what stands before the list of one that has.
    pub(super) fixed: Vec<u8>,
    pub(super) members: Option<Members>,
}

/// The members of a list, each with its length in front.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) bytes: Vec<u8>,
    /// Where each ends in `bytes`.
    pub(super) ends: Vec<usize>,
}

impl Members {
    fn of<T: Layout>(list: &[T]) -> Result<Self, Flaw> {
        let mut members = Self::default();
        let mut bytes = Vec::new();
        for member in list {
            bytes.clear();
            member.put(&mut bytes)?;
            put_number(&mut members.bytes, bytes.len() as u64);
            members.bytes.extend_from_slice(&bytes);
            members.ends.push(members.bytes.len());
        }
        Ok(members)
    }
}

/// The payload of a record, its list not yet cut.
pub(super) fn encode(record: &Record) -> Result<Encoded, Flaw> {
    let mut fixed = Vec::new();
    let (kind, members) = match record {
        Record::Head(head) => {
            head.put(&mut fixed)?;
            (HEAD, None)
        }
        Record::Hearing(HearingRecord { by, boot, sequence, heard }) => {
            by.put(&mut fixed)?;
            boot.put(&mut fixed)?;
            put_number(&mut fixed, sequence.0);
            (HEARING, Some(Members::of(heard)?))
        }
        Record::Detail(detail) => {
            detail.put(&mut fixed)?;
            (DETAIL, None)
        }
        Record::Items(ItemsRecord { id, boot, items }) => {
            id.put(&mut fixed)?;
            boot.put(&mut fixed)?;
            (ITEMS, Some(Members::of(items)?))
        }
        Record::Addresses(addresses) => (ADDRESSES, Some(Members::of(addresses)?)),
        Record::Zone(zone) => {
            zone.put(&mut fixed)?;
            (ZONE, None)
        }
        Record::Command(Command { kind, leader, leader_boot, to, to_incarnation, based_on, items }) => {
            kind.put(&mut fixed)?;
            leader.put(&mut fixed)?;
            leader_boot.put(&mut fixed)?;
            to.put(&mut fixed)?;
            put_number(&mut fixed, to_incarnation.0);
            put_number(&mut fixed, based_on.0);
            (COMMAND, Some(Members::of(items)?))
        }
        Record::Wish(wish) => {
            wish.put(&mut fixed)?;
            (WISH, None)
        }
        Record::Verdict(verdict) => {
            verdict.put(&mut fixed)?;
            (VERDICT, None)
        }
        Record::Freeze(freeze) => {
            freeze.put(&mut fixed)?;
            (FREEZE, None)
        }
    };
    Ok(Encoded { kind, fixed, members })
}

/// The records of an opened body.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Record>, Flaw> {
    let mut from = Reader::new(body);
    let mut records = Vec::new();
    while !from.is_empty() {
        let kind = from.byte("record kind")?;
        let len = u16::from_be_bytes(from.array("record length")?);
        let payload = from.part(len.into(), "record")?;
        records.extend(record(kind, payload)?);
    }
    Ok(records)
}

/// `None`: a kind of a later version.
fn record(kind: u8, mut from: Reader<'_>) -> Result<Option<Record>, Flaw> {
    let from = &mut from;
    Ok(Some(match kind {
        HEAD => Record::Head(Box::new(HostHead::take(from)?)),
        HEARING => Record::Hearing(HearingRecord {
            by: HostId::take(from)?,
            boot: BootId::take(from)?,
            sequence: Sequence(from.number("sequence")?),
            heard: members(from)?,
        }),
        DETAIL => Record::Detail(Box::new(DetailRecord::take(from)?)),
        ITEMS => Record::Items(ItemsRecord { id: HostId::take(from)?, boot: BootId::take(from)?, items: members(from)? }),
        ADDRESSES => Record::Addresses(members(from)?),
        ZONE => Record::Zone(ZoneRecord::take(from)?),
        COMMAND => Record::Command(Command {
            kind: CommandKind::take(from)?,
            leader: HostId::take(from)?,
            leader_boot: BootId::take(from)?,
            to: HostId::take(from)?,
            to_incarnation: Incarnation(from.number("incarnation")?),
            based_on: Sequence(from.number("sequence")?),
            items: members(from)?,
        }),
        WISH => Record::Wish(Wish::take(from)?),
        VERDICT => Record::Verdict(VerdictRecord::take(from)?),
        FREEZE => Record::Freeze(Freeze::take(from)?),
        _ => return Ok(None),
    }))
}

fn members<T: Layout>(from: &mut Reader<'_>) -> Result<Vec<T>, Flaw> {
    let count = take_count(from, MEMBERS_MAX, "members")?;
    // Not reserved ahead: a count may promise more than the datagram holds.
    let mut list = Vec::new();
    for _ in 0..count {
        let len = from.narrow("member length")?;
        list.push(T::take(&mut from.part(len, "member")?)?);
    }
    Ok(list)
}

/// Booleans, and whether optional fields follow, in one byte. Bits without a meaning are zero, and ignored when read.
#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    fn of(bits: &[(u8, bool)]) -> Self {
        Self(bits.iter().filter(|(_, set)| *set).fold(0, |flags, (bit, _)| flags | bit))
    }

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    /// Reads what follows if the bit is set.
    fn then<T>(self, bit: u8, take: impl FnOnce() -> Result<T, Flaw>) -> Result<Option<T>, Flaw> {
        self.has(bit).then(take).transpose()
    }
}

/// A closed list, each value a byte of its own.
fn take_value<T>(from: &mut Reader<'_>, field: &'static str, value: impl FnOnce(u8) -> Option<T>) -> Result<T, Flaw> {
    let byte = from.byte(field)?;
    value(byte).ok_or(Flaw::Unknown { field, value: byte })
}

impl Layout for ZoneRecord {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        self.leader.put(out)?;
        put_number(out, self.serial.into());
        put_number(out, self.part.into());
        put_number(out, self.parts.into());
        if self.part >= self.parts {
            return Err(Flaw::Range { field: "zone part" });
        }
        put_count(out, self.addresses.len(), MEMBERS_MAX, "zone addresses")?;
        for address in &self.addresses {
            address.put(out)?;
        }
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        let leader = HostId::take(from)?;
        let serial = from.narrow("zone serial")?;
        let part: u16 = from.narrow("zone part")?;
        let parts = from.narrow("zone parts")?;
        if part >= parts {
            return Err(Flaw::Range { field: "zone part" });
        }
        let count = take_count(from, MEMBERS_MAX, "zone addresses")?;
        let addresses = (0..count).map(|_| IpAddr::take(from)).collect::<Result<_, _>>()?;
        Ok(Self { leader, serial, part, parts, addresses })
    }
}

impl Layout for CommandKind {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        out.push(match self {
            Self::Acquire => 1,
            Self::Release => 2,
        });
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        take_value(from, "command", |value| match value {
            1 => Some(Self::Acquire),
            2 => Some(Self::Release),
            _ => None,
        })
    }
}
