//! Bytes and messages: layout, sealing, replay window, packing into datagrams.
//!
//! [`Outbound`] turns a message into sealed datagrams of at most [`DATAGRAM_BYTES_MAX`] bytes; [`Inbound`] opens a
//! datagram or says why it dropped it. Both belong to one group and live as long as the daemon's boot id: a reload that
//! changes keys goes through `set_protection`, so that neither the counter nor the replay windows start again.
//! The daemon calls both; wire owns no socket and no clock and never decides what a message means.
//!
//! ```text
//!   message --body--> records --pack--> bodies --header, seal--> datagrams
//!   datagram --header--> key --seal--> body --replay--> First | Again --body--> records
//! ```
//!
//! `docs/protocol.md` holds the layout byte by byte.

mod body;
mod bytes;
mod header;
mod pack;
mod replay;
pub mod seal;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::bytes::{DURATION_MAX, Flaw};
pub use self::pack::{PackError, check_detail};

use self::header::Header;
use self::replay::{Replay, Verdict};
use self::seal::{KeyId, Protection, ProtectionError, Ring, Subkey};
use crate::types::host::{BootId, HostId, Sequence};
use crate::types::message::{Message, MessageKind, Record, Sender};

/// The version that this program writes, and the newest that it reads.
pub const VERSION: u8 = 1;

/// The most bytes of UDP payload: what is left of IPv6's least MTU of 1,280 after its header and UDP's.
pub const DATAGRAM_BYTES_MAX: usize = 1232;

/// The number of every farewell, whose window it ends.
const NUMBER_FAREWELL: u64 = u64::MAX;

/// Subkeys that are kept ready: for twice as many hosts as have a replay window, since each may have two keys for a while.
const SUBKEYS_MAX: usize = 2048;

/// The tag of a group's name, in the header of each of its datagrams.
#[must_use]
pub fn group_tag(name: &str) -> [u8; 4] {
    seal::tag(name)
}

/// The tag that a datagram says, as far as it has one. Nothing proves it before the seal is opened.
#[must_use]
pub fn claimed_tag(datagram: &[u8]) -> Option<[u8; 4]> {
    Header::read(datagram).ok().map(|header| header.group)
}

/// What this host sends to one group. One for the life of a boot id: the counter of a second one would repeat numbers.
#[derive(Debug)]
pub struct Outbound {
    ring: Ring,
    subkey: Subkey,
    host: HostId,
    boot: BootId,
    /// The number of the last datagram.
    last: u64,
}

impl Outbound {
    /// Ready to send as `host` in its start `boot`; the first datagram has the number 1.
    ///
    /// # Errors
    /// The name or the keys of the group are not usable.
    pub fn new(group: &str, protection: &Protection, host: HostId, boot: BootId) -> Result<Self, ProtectionError> {
        let ring = Ring::new(group, protection)?;
        let subkey = ring.sealing(host, boot);
        Ok(Self { ring, subkey, host, boot, last: 0 })
    }

    /// Seals with other keys from here on. The counter goes on.
    ///
    /// # Errors
    /// The keys are not usable; the former ones stay.
    pub fn set_protection(&mut self, protection: &Protection) -> Result<(), ProtectionError> {
        self.ring = self.ring.with(protection)?;
        self.subkey = self.ring.sealing(self.host, self.boot);
        Ok(())
    }

    /// The number of the last datagram that was packed; a farewell's does not count.
    #[must_use]
    pub fn last_number(&self) -> u64 {
        self.last
    }

    /// The datagrams of a message, in the order in which they are to be sent.
    ///
    /// A message whose first record is this boot's own head with [`Sequence::FAREWELL`] becomes one datagram with the
    /// reserved number. It leaves the counter alone, so it can be sealed long before it is sent, and as often as needed.
    ///
    /// # Errors
    /// A record does not fit any datagram or breaks a bound of the protocol. Nothing of the message is to be sent.
    pub fn pack(&mut self, message: &Message) -> Result<Vec<Vec<u8>>, PackError> {
        let bodies = pack::bodies(&message.records)?;
        let mut number = if self.is_farewell(message) {
            if bodies.len() > 1 {
                return Err(PackError::FarewellTooLong { datagrams: bodies.len() });
            }
            NUMBER_FAREWELL
        } else {
            let count = bodies.len() as u64;
            let last = self.last.checked_add(count).filter(|last| *last < NUMBER_FAREWELL).ok_or(PackError::Exhausted)?;
            std::mem::replace(&mut self.last, last) + 1
        };
        let mut datagrams = Vec::with_capacity(bodies.len());
        for body in &bodies {
            let sender = Sender { host: self.host, incarnation: message.incarnation, boot: self.boot };
            let header =
                Header { kind: header::kind_byte(message.kind), group: self.ring.tag(), key: self.ring.sealing_id(), sender, number };
            datagrams.push(self.subkey.seal(number, &header.bytes(), body).ok_or(PackError::Seal)?);
            number = number.saturating_add(1);
        }
        Ok(datagrams)
    }

    fn is_farewell(&self, message: &Message) -> bool {
        match message.records.first() {
            Some(Record::Head(head)) => head.sequence == Sequence::FAREWELL && head.id == self.host && head.boot == self.boot,
            Some(
                Record::Hearing(_)
                | Record::Detail(_)
                | Record::Items(_)
                | Record::Addresses(_)
                | Record::Zone(_)
                | Record::Command(_)
                | Record::Wish(_)
                | Record::Verdict(_)
                | Record::Freeze(_),
            )
            | None => false,
        }
    }
}

/// Whether [`Outbound`] and [`Inbound`] would take this.
///
/// # Errors
/// The name or the keys of the group are not usable.
pub fn check_protection(group: &str, protection: &Protection) -> Result<(), ProtectionError> {
    Ring::new(group, protection).map(|_| ())
}

/// What this host hears of one group. One for the life of the daemon: a second one would take copies for news.
#[derive(Debug)]
pub struct Inbound {
    ring: Ring,
    subkeys: Subkeys,
    replay: Replay,
}

impl Inbound {
    /// Ready to open the datagrams of `group`.
    ///
    /// # Errors
    /// The name or the keys of the group are not usable.
    pub fn new(group: &str, protection: &Protection) -> Result<Self, ProtectionError> {
        Ok(Self { ring: Ring::new(group, protection)?, subkeys: Subkeys::default(), replay: Replay::default() })
    }

    /// Opens with other keys from here on. What has been seen stays seen.
    ///
    /// # Errors
    /// The keys are not usable; the former ones stay.
    pub fn set_protection(&mut self, protection: &Protection) -> Result<(), ProtectionError> {
        self.ring = self.ring.with(protection)?;
        self.subkeys = Subkeys::default();
        Ok(())
    }

    /// Opens one datagram. This host's own, heard back, are opened like any other; the caller knows them by their boot id.
    ///
    /// # Errors
    /// It is not to be acted on; what has been seen is unchanged.
    pub fn open(&mut self, datagram: &[u8]) -> Result<Opened, Dropped> {
        let header = Header::read(datagram)?;
        if header.group != self.ring.tag() {
            return Err(Dropped::ForeignGroup);
        }
        // Nothing that does not open comes near the windows: else anybody could move them.
        let body = self.subkeys.open(&self.ring, &header, datagram)?;
        let arrival = match self.replay.judge(&header.sender, header.number) {
            Verdict::First => Arrival::First,
            Verdict::Again => Arrival::Again,
            Verdict::TooOld => return Err(Dropped::TooOld { number: header.number }),
            Verdict::AfterFarewell => return Err(Dropped::AfterFarewell { number: header.number }),
        };
        let kind = header::kind(header.kind)?;
        let records = match arrival {
            Arrival::First => body::decode(&body)?,
            Arrival::Again => Vec::new(),
        };
        self.replay.record(&header.sender, header.number);
        Ok(Opened { sender: header.sender, number: header.number, arrival, kind, records })
    }
}

/// A datagram that was opened: authentic, of this group, not too old.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Who sent it.
    pub sender: Sender,
    /// The sender's number for it, counted per boot and group from 1; `u64::MAX` for a farewell.
    pub number: u64,
    /// Whether it is new.
    pub arrival: Arrival,
    /// What its message is for.
    pub kind: MessageKind,
    /// What it says. Empty for a copy.
    pub records: Vec<Record>,
}

/// Whether a datagram is new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// The first copy.
    First,
    /// A further copy, usually from another network.
    Again,
}

/// Why a datagram was dropped. The sender, or whoever plays it, is at fault; what has been seen is unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Dropped {
    /// The farewell of its boot was heard before.
    #[error("datagram {number} comes after the farewell of its boot")]
    AfterFarewell {
        /// Its number.
        number: u64,
    },
    /// Of another group on the same address. To be counted, not logged.
    #[error("datagram belongs to another group")]
    ForeignGroup,
    /// The seal does not open: altered, or sealed by somebody without the key.
    #[error("datagram is not sealed with key {} of this group", key.0)]
    Forged {
        /// The key that it claims.
        key: KeyId,
    },
    /// Authentic, but not laid out as version 1: the sender's program is at fault.
    #[error("datagram is authentic but breaks the layout of version {VERSION}")]
    Malformed(
        /// What is wrong with it.
        #[from]
        Flaw,
    ),
    /// No datagram of this protocol.
    #[error("datagram does not start with the mark of a control message")]
    NotOurs,
    /// Longer than any sender of this protocol makes them.
    #[error("datagram of {len} bytes exceeds {DATAGRAM_BYTES_MAX}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Its number lies before the replay window, which therefore cannot tell a late datagram from a replayed one.
    #[error("datagram {number} is too old to tell whether it has come before")]
    TooOld {
        /// Its number.
        number: u64,
    },
    /// Too short to hold a header and a seal.
    #[error("datagram of {len} bytes is shorter than header and seal")]
    Truncated {
        /// Its length in bytes.
        len: usize,
    },
    /// Sealed with a key that this host does not have.
    #[error("datagram is sealed with key {}, which this host does not have: add it to the key file", key.0)]
    UnknownKey {
        /// The key that it claims.
        key: KeyId,
    },
    /// Only readers of a later version understand it.
    #[error("datagram needs a reader of version {oldest}, this program reads {VERSION}: update it")]
    VersionTooNew {
        /// The oldest version that understands it.
        oldest: u8,
    },
}

impl Dropped {
    /// The word for counters.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::AfterFarewell { .. } => "after-farewell",
            Self::ForeignGroup => "foreign-group",
            Self::Forged { .. } => "forged",
            Self::Malformed(_) => "malformed",
            Self::NotOurs => "not-ours",
            Self::TooLong { .. } => "too-long",
            Self::TooOld { .. } => "too-old",
            Self::Truncated { .. } => "truncated",
            Self::UnknownKey { .. } => "unknown-key",
            Self::VersionTooNew { .. } => "version-too-new",
        }
    }
}

/// The subkeys in use. Only one that has opened a datagram is kept, so forgeries cost time, never a place; captures of
/// old boots push out the least recently used, which is derived again at its next datagram.
#[derive(Debug, Default)]
struct Subkeys {
    kept: BTreeMap<(KeyId, HostId, BootId), Kept>,
    /// Counts uses.
    uses: u64,
}

#[derive(Debug)]
struct Kept {
    subkey: Subkey,
    used: u64,
}

impl Subkeys {
    fn open(&mut self, ring: &Ring, header: &Header, datagram: &[u8]) -> Result<Vec<u8>, Dropped> {
        let forged = Dropped::Forged { key: header.key };
        self.uses += 1;
        let place = (header.key, header.sender.host, header.sender.boot);
        if let Some(kept) = self.kept.get_mut(&place) {
            kept.used = self.uses;
            return kept.subkey.open(header.number, datagram).ok_or(forged);
        }
        let subkey = ring.opening(header.key, header.sender.host, header.sender.boot).ok_or(Dropped::UnknownKey { key: header.key })?;
        let body = subkey.open(header.number, datagram).ok_or(forged)?;
        if self.kept.len() >= SUBKEYS_MAX {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(place, _)| *place);
            oldest.and_then(|place| self.kept.remove(&place));
        }
        self.kept.insert(place, Kept { subkey, used: self.uses });
        Ok(body)
    }
}
