//! Records into bodies, each small enough for one datagram whatever the size of the group.
//!
//! Records keep their order, since the most important stand first; lists are cut where a body is full, so bodies fill up
//! all the same. What cannot be cut opens a body of its own if the one at hand has no room left for it. Each piece of a
//! list repeats what stands before the list, so that it stands for itself. Called by `Outbound`; knows nothing of seals.

use super::DATAGRAM_BYTES_MAX;
use super::body::{self, Encoded, MEMBERS_MAX, Members, RECORD_HEADER_BYTES};
use super::bytes::Flaw;
use super::header::HEADER_BYTES;
use super::seal::TAG_BYTES;
use crate::types::host::{BootId, EntryVersion, HostDetail, HostId};
use crate::types::message::{Command, DetailRecord, HearingRecord, ItemsRecord, Record, VerdictRecord, Wish, ZoneRecord};

/// What header and seal leave of a datagram.
pub(super) const BODY_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - HEADER_BYTES - TAG_BYTES;

/// Why a message has no datagrams. Whoever made the message, or let the configuration through, is at fault; no number is
/// used up, except by `Seal`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PackError {
    /// All numbers of this boot are used up.
    #[error("this boot has sent all datagrams that can be numbered: restart the daemon")]
    Exhausted,
    /// A farewell must be one datagram, since its number is reserved.
    #[error("farewell of {datagrams} datagrams: it must fit one")]
    FarewellTooLong {
        /// How many it takes.
        datagrams: usize,
    },
    /// A record that is not cut, or one member of a list, is longer than a body.
    #[error("{record} takes {len} bytes, a datagram has room for {BODY_BYTES_MAX}")]
    RecordTooLong {
        /// Which record.
        record: String,
        /// Its length in bytes.
        len: usize,
    },
    /// The cipher refused.
    #[error("datagram could not be sealed")]
    Seal,
    /// A record breaks a bound that every receiver checks.
    #[error("{record} cannot travel")]
    Unfit {
        /// Which record.
        record: String,
        /// Why not.
        #[source]
        flaw: Flaw,
    },
}

/// Whether what a host says of itself fits a datagram; to be asked before a configuration is accepted.
///
/// # Errors
/// It never could be sent.
pub fn check_detail(detail: &HostDetail) -> Result<(), PackError> {
    let record = DetailRecord {
        // The longest of each.
        id: HostId(std::net::Ipv6Addr::UNSPECIFIED.into()),
        boot: BootId([0; 16]),
        version: EntryVersion(u64::MAX),
        detail: detail.clone(),
    };
    bodies(&[Record::Detail(Box::new(record))]).map(|_| ())
}

/// The bodies of a message; one that is empty if it has no records.
pub(super) fn bodies(records: &[Record]) -> Result<Vec<Vec<u8>>, PackError> {
    let mut packer = Packer::default();
    for record in records {
        let encoded = body::encode(record).map_err(|flaw| PackError::Unfit { record: name(record), flaw })?;
        packer.add(&encoded).map_err(|len| PackError::RecordTooLong { record: name(record), len })?;
    }
    packer.close();
    Ok(packer.bodies)
}

#[derive(Default)]
struct Packer {
    bodies: Vec<Vec<u8>>,
    /// The body at hand.
    open: Vec<u8>,
}

impl Packer {
    /// The error is the length of what fits no body.
    fn add(&mut self, encoded: &Encoded) -> Result<(), usize> {
        let Encoded { kind, fixed, members } = encoded;
        match members {
            Some(members) => self.add_list(*kind, fixed, members),
            None => {
                self.make_room(fixed.len())?;
                self.put(*kind, &[fixed]);
                Ok(())
            }
        }
    }

    fn add_list(&mut self, kind: u8, fixed: &[u8], members: &Members) -> Result<(), usize> {
        let Members { bytes, ends } = members;
        // With the count of members.
        let fixed_len = fixed.len() + 1;
        let mut start = 0;
        let mut rest = ends.as_slice();
        loop {
            let first_len = rest.first().map_or(0, |end| end - start);
            self.make_room(fixed_len + first_len)?;
            let room = BODY_BYTES_MAX - self.open.len() - RECORD_HEADER_BYTES - fixed_len;
            let fitting = rest.partition_point(|end| end - start <= room).min(MEMBERS_MAX);
            let (taken, left) = rest.split_at(fitting);
            let end = taken.last().copied().unwrap_or(start);
            // At most MEMBERS_MAX, which is the greatest byte.
            let count = fitting as u8;
            self.put(kind, &[fixed, &[count], &bytes[start..end]]);
            if left.is_empty() {
                return Ok(());
            }
            (start, rest) = (end, left);
        }
    }

    /// Opens another body if the one at hand has no room for a payload of `len` bytes.
    fn make_room(&mut self, len: usize) -> Result<(), usize> {
        let record_len = RECORD_HEADER_BYTES + len;
        if record_len > BODY_BYTES_MAX {
            return Err(record_len);
        }
        if self.open.len() + record_len > BODY_BYTES_MAX {
            self.close();
        }
        Ok(())
    }

    /// Appends a record for which room was made.
    fn put(&mut self, kind: u8, payload: &[&[u8]]) {
        let len: usize = payload.iter().map(|part| part.len()).sum();
        // Room was made, so it is at most BODY_BYTES_MAX.
        let len = (len as u16).to_be_bytes();
        self.open.push(kind);
        self.open.extend_from_slice(&len);
        for part in payload {
            self.open.extend_from_slice(part);
        }
    }

    fn close(&mut self) {
        self.bodies.push(std::mem::take(&mut self.open));
    }
}

/// How an error calls a record.
fn name(record: &Record) -> String {
    match record {
        Record::Head(head) => format!("head of {}", head.id),
        Record::Hearing(HearingRecord { by, .. }) => format!("hearing report of {by}"),
        Record::Detail(detail) => format!("detail of {}", detail.id),
        Record::Items(ItemsRecord { id, .. }) => format!("items of {id}"),
        Record::Addresses(_) => "service-address database".to_owned(),
        Record::Zone(ZoneRecord { leader, part, .. }) => format!("part {part} of the zone list of {leader}"),
        Record::Command(Command { leader, to, .. }) => format!("command of {leader} to {to}"),
        Record::Wish(Wish { by, number, .. }) => format!("wish {number} of {by}"),
        Record::Verdict(VerdictRecord { leader, to, number, .. }) => format!("verdict of {leader} on wish {number} of {to}"),
        Record::Freeze(_) => "freeze".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(members: usize, member_bytes: usize) -> Encoded {
        let ends = (1..=members).map(|count| count * member_bytes).collect();
        Encoded { kind: 3, fixed: Vec::new(), members: Some(Members { bytes: vec![7; members * member_bytes], ends }) }
    }

    #[test]
    fn a_list_fills_a_body_to_its_last_byte() {
        // What a record's header and the count of members leave.
        let room = BODY_BYTES_MAX - RECORD_HEADER_BYTES - 1;
        let member_bytes = 7;
        assert_eq!(room % member_bytes, 0, "members that fill the room");
        let whole = room / member_bytes;
        for (members, lengths) in [(whole, vec![BODY_BYTES_MAX]), (whole + 1, vec![BODY_BYTES_MAX, RECORD_HEADER_BYTES + 1 + member_bytes])]
        {
            let mut packer = Packer::default();
            packer.add(&list(members, member_bytes)).unwrap();
            packer.close();
            assert_eq!(packer.bodies.iter().map(Vec::len).collect::<Vec<_>>(), lengths, "{members} members");
        }
    }

    #[test]
    fn a_record_that_is_not_cut_may_fill_a_body_alone_or_with_others() {
        let single = |len: usize| Encoded { kind: 1, fixed: vec![7; len], members: None };
        let most = BODY_BYTES_MAX - RECORD_HEADER_BYTES;
        assert_eq!(Packer::default().add(&single(most)), Ok(()));
        assert_eq!(Packer::default().add(&single(most + 1)), Err(BODY_BYTES_MAX + 1));
        for (second, lengths) in [(0, vec![BODY_BYTES_MAX]), (1, vec![100, BODY_BYTES_MAX - 99])] {
            let mut packer = Packer::default();
            packer.add(&single(100 - RECORD_HEADER_BYTES)).unwrap();
            packer.add(&single(BODY_BYTES_MAX - 100 - RECORD_HEADER_BYTES + second)).unwrap();
            packer.close();
            assert_eq!(packer.bodies.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
        }
    }
}
