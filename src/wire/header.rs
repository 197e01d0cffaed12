//! The 64 bytes before the sealed body: readable to all, protected by the seal.
//!
//! Reading them checks only what is needed to find the key. Everything else is either covered by the seal or checked
//! once the seal has opened, so that a drop says who is at fault.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bytes::{Flaw, Reader};
use super::seal::{KeyId, TAG_BYTES};
use super::{DATAGRAM_BYTES_MAX, Dropped, VERSION};
use crate::types::host::{BootId, HostId, Incarnation};
use crate::types::message::{MessageKind, Sender};

/// Bytes of a header. A multiple of eight with every number at a multiple of its own size, for readers of captures.
pub(super) const HEADER_BYTES: usize = 64;

const MAGIC: [u8; 4] = *b"RAIS";

/// The oldest version whose readers understand what this program writes.
const OLDEST: u8 = 1;

/// What the header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    /// The byte of the message's kind; not yet known to be one.
    pub(super) kind: u8,
    /// The tag of the group's name.
    pub(super) group: [u8; 4],
    pub(super) key: KeyId,
    pub(super) sender: Sender,
    pub(super) number: u64,
}

impl Header {
    /// As it stands before the body.
    pub(super) fn bytes(&self) -> [u8; HEADER_BYTES] {
        let (family, id) = host_bytes(self.sender.host);
        let mut bytes = [0; HEADER_BYTES];
        let mut rest = bytes.as_mut_slice();
        let fields: [&[u8]; 8] = [
            &MAGIC,
            &[VERSION, OLDEST, self.kind, family],
            &self.group,
            &self.key.0.to_be_bytes(),
            &id,
            &self.sender.boot.0,
            &self.sender.incarnation.0.to_be_bytes(),
            &self.number.to_be_bytes(),
        ];
        for field in fields {
            let (place, after) = rest.split_at_mut(field.len());
            place.copy_from_slice(field);
            rest = after;
        }
        bytes
    }

    /// Reads the header of a datagram that may hold anything.
    pub(super) fn read(datagram: &[u8]) -> Result<Self, Dropped> {
        let len = datagram.len();
        let truncated = |_: Flaw| Dropped::Truncated { len };
        let mut reader = Reader::new(datagram);
        // Mark and versions stand at the same place in every version; nothing behind them is believed before they fit.
        if reader.array::<4>("mark").map_err(truncated)? != MAGIC {
            return Err(Dropped::NotOurs);
        }
        let [_version, oldest] = reader.array("version").map_err(truncated)?;
        if oldest > VERSION {
            return Err(Dropped::VersionTooNew { oldest });
        }
        if len < HEADER_BYTES + TAG_BYTES {
            return Err(Dropped::Truncated { len });
        }
        if len > DATAGRAM_BYTES_MAX {
            return Err(Dropped::TooLong { len });
        }
        let [kind, family] = reader.array("kind").map_err(truncated)?;
        let group = reader.array("group").map_err(truncated)?;
        let key = KeyId(u32::from_be_bytes(reader.array("key").map_err(truncated)?));
        let id = reader.array("sender").map_err(truncated)?;
        let boot = BootId(reader.array("boot").map_err(truncated)?);
        let incarnation = Incarnation(u64::from_be_bytes(reader.array("incarnation").map_err(truncated)?));
        let number = u64::from_be_bytes(reader.array("number").map_err(truncated)?);
        // No sender has such a family, so nobody can have sealed it.
        let host = host(family, id).ok_or(Dropped::Forged { key })?;
        Ok(Self { kind, group, key, sender: Sender { host, incarnation, boot }, number })
    }
}

/// Family and address of a host id in a field of fixed length; an IPv4 address fills the first four bytes.
pub(super) fn host_bytes(host: HostId) -> (u8, [u8; 16]) {
    match host.0 {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            (4, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        }
        IpAddr::V6(address) => (6, address.octets()),
    }
}

fn host(family: u8, id: [u8; 16]) -> Option<HostId> {
    let [a, b, c, d, ..] = id;
    match family {
        4 => Some(HostId(Ipv4Addr::new(a, b, c, d).into())),
        6 => Some(HostId(Ipv6Addr::from(id).into())),
        _ => None,
    }
}

pub(super) fn kind_byte(kind: MessageKind) -> u8 {
    match kind {
        MessageKind::Info => 0,
        MessageKind::Acquire => 1,
        MessageKind::Release => 2,
    }
}

/// The kind of an authentic message.
pub(super) fn kind(byte: u8) -> Result<MessageKind, Flaw> {
    match byte {
        0 => Ok(MessageKind::Info),
        1 => Ok(MessageKind::Acquire),
        2 => Ok(MessageKind::Release),
        _ => Err(Flaw::Unknown { field: "message kind", value: byte }),
    }
}
