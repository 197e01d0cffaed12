//! Sealing with the keys of a group.
//!
//! The seal is AES-256-GCM-SIV (RFC 8452) under a subkey of (key, group, host, boot id), with the datagram's number as
//! nonce and the header as associated data. Two locks on one door:
//! - the subkey: a boot id is drawn afresh at each start and the number only grows within it, so no nonce comes twice
//!   under one subkey, whatever became of the state on disk or of the clock;
//! - the cipher: where a boot is nevertheless doubled (a virtual machine that is cloned or set back while it runs, a
//!   farewell sealed again with other words), a nonce that repeats tells no more than whether two datagrams are equal.
//!   With AES-GCM or ChaCha20-Poly1305 the same mishap gives away both texts' difference and lets others forge.
//!
//! What it costs over those is a second pass over at most 1,168 bytes. Secrets are in no `Debug`.

use std::collections::BTreeSet;
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use serde::{Deserialize, Serialize};

use super::header::{HEADER_BYTES, host_bytes};
pub use crate::types::host::KeyId;
use crate::types::host::{BootId, HostId, HostKeys};
use crate::types::item::NAME_BYTES_MAX;

/// Bytes of the seal behind a body.
pub(super) const TAG_BYTES: usize = 16;

/// Names this use of a group's key, so that the same secret in another protocol yields other subkeys.
const SALT: &[u8] = b"raisd control 1";

/// What the key of an unprotected group is made of, before the group's name.
const INSECURE: &[u8] = b"raisd insecure 1 ";

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyUse {
    /// Seals what is sent, and opens. The first such key of a file seals.
    Send,
    /// Opens only.
    Receive,
}

/// One secret of a group.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// What it is for.
    pub usage: KeyUse,
    /// 256 random bits.
    pub secret: [u8; 32],
}

/// Leaves the secret out.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("usage", &self.usage).finish_non_exhaustive()
    }
}

/// How the datagrams of a group are protected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Protection {
    /// With these keys; at least one is for sending.
    Keys(Vec<Key>),
    /// With these keys, while hosts without them are heard as well: on the way from [`Self::Insecure`] to [`Self::Keys`].
    /// As long as none is for sending, what is sent goes out for hosts without keys too.
    Transition(Vec<Key>),
    /// By the group's name only: protects against accidents, not against people.
    Insecure,
}

impl Protection {
    /// What the other hosts are told of it.
    #[must_use]
    pub fn keys(&self) -> HostKeys {
        let (keys, is_open): (&[Key], bool) = match self {
            Self::Keys(keys) => (keys, false),
            Self::Transition(keys) => (keys, true),
            Self::Insecure => (&[], true),
        };
        let sends = keys.iter().find(|key| key.usage == KeyUse::Send).map_or(KeyId::INSECURE, |key| key.id);
        // A group begins without keys: that one is the oldest.
        let opens = is_open.then_some(KeyId::INSECURE).into_iter().chain(keys.iter().map(|key| key.id));
        HostKeys { sends, opens: opens.collect() }
    }
}

/// Why a group cannot be protected as told. The configuration is at fault.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtectionError {
    /// A datagram would not tell which of two keys seals it.
    #[error("two keys have the id {}: give one another id, on every host", .0.0)]
    DuplicateId(KeyId),
    /// The name does not travel.
    #[error("group name of {0} bytes: it must have 1 to {NAME_BYTES_MAX}")]
    GroupName(usize),
    /// Nothing could be sent.
    #[error("no key is for sending: mark one with use = \"send\"")]
    NoSendKey,
    /// The id is taken by groups without keys.
    #[error("key id 0 is reserved for groups without keys: give the key another id, on every host")]
    ReservedId,
}

/// The first four bytes of the SHA-256 of a group's name.
pub(super) fn tag(group: &str) -> [u8; 4] {
    let name = digest(&SHA256, group.as_bytes());
    let mut tag = [0; 4];
    tag.copy_from_slice(&name.as_ref()[..4]);
    tag
}

/// The keys of one group, ready to derive from.
#[derive(Clone)]
pub(super) struct Ring {
    group: String,
    tag: [u8; 4],
    sealing: RingKey,
    others: Vec<RingKey>,
}

#[derive(Clone)]
struct RingKey {
    id: KeyId,
    prk: Prk,
}

impl Ring {
    pub(super) fn new(group: &str, protection: &Protection) -> Result<Self, ProtectionError> {
        if group.is_empty() || group.len() > NAME_BYTES_MAX {
            return Err(ProtectionError::GroupName(group.len()));
        }
        let salt = Salt::new(HKDF_SHA256, SALT);
        let insecure = || {
            let secret = digest(&SHA256, &[INSECURE, group.as_bytes()].concat());
            RingKey { id: KeyId::INSECURE, prk: salt.extract(secret.as_ref()) }
        };
        let (keys, open): (&[Key], Option<RingKey>) = match protection {
            Protection::Keys(keys) => (keys, None),
            Protection::Transition(keys) => (keys, Some(insecure())),
            Protection::Insecure => (&[], Some(insecure())),
        };
        check_ids(keys)?;
        let mut all: Vec<RingKey> = keys.iter().map(|key| RingKey { id: key.id, prk: salt.extract(&key.secret) }).collect();
        let (sealing, others) = match (keys.iter().position(|key| key.usage == KeyUse::Send), open) {
            (Some(first), open) => {
                let sealing = all.remove(first);
                all.extend(open);
                (sealing, all)
            }
            (None, Some(open)) => (open, all),
            (None, None) => return Err(ProtectionError::NoSendKey),
        };
        Ok(Self { group: group.to_owned(), tag: tag(group), sealing, others })
    }

    /// The same group with other keys.
    pub(super) fn with(&self, protection: &Protection) -> Result<Self, ProtectionError> {
        Self::new(&self.group, protection)
    }

    /// What stands for the group's name in a header: the first four bytes of its SHA-256.
    pub(super) fn tag(&self) -> [u8; 4] {
        self.tag
    }

    /// The key that seals.
    pub(super) fn sealing_id(&self) -> KeyId {
        self.sealing.id
    }

    /// The subkey that seals for `host` in its start `boot`.
    pub(super) fn sealing(&self, host: HostId, boot: BootId) -> Subkey {
        self.subkey(&self.sealing, host, boot)
    }

    /// The subkey that opens what `host` has sealed with key `id` in its start `boot`.
    pub(super) fn opening(&self, id: KeyId, host: HostId, boot: BootId) -> Option<Subkey> {
        let key = std::iter::once(&self.sealing).chain(&self.others).find(|key| key.id == id)?;
        Some(self.subkey(key, host, boot))
    }

    #[expect(clippy::expect_used, reason = "HKDF-SHA256 fails only past 8,160 bytes of output, and a key has 32")]
    fn subkey(&self, key: &RingKey, host: HostId, boot: BootId) -> Subkey {
        let (family, id) = host_bytes(host);
        // The name goes last, being the only part whose length varies: no two inputs read the same.
        let info: [&[u8]; 4] = [&[family], &id, &boot.0, self.group.as_bytes()];
        let okm = key.prk.expand(&info, &AES_256_GCM_SIV).expect("32 bytes of output");
        Subkey(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

/// A datagram names the key that opens it.
fn check_ids(keys: &[Key]) -> Result<(), ProtectionError> {
    let mut ids = BTreeSet::new();
    if let Some(key) = keys.iter().find(|key| !ids.insert(key.id)) {
        return Err(ProtectionError::DuplicateId(key.id));
    }
    if ids.contains(&KeyId::INSECURE) {
        return Err(ProtectionError::ReservedId);
    }
    Ok(())
}

/// Leaves the keys out.
impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("group", &self.group).field("sealing", &self.sealing.id).finish_non_exhaustive()
    }
}

/// Seals or opens the datagrams of one boot.
pub(super) struct Subkey(LessSafeKey);

impl Subkey {
    /// The whole datagram. `None`: the cipher refused, which no body that fits a datagram makes it do.
    pub(super) fn seal(&self, number: u64, header: &[u8; HEADER_BYTES], body: &[u8]) -> Option<Vec<u8>> {
        let mut datagram = Vec::with_capacity(HEADER_BYTES + body.len() + TAG_BYTES);
        datagram.extend_from_slice(header);
        datagram.extend_from_slice(body);
        let tag = self.0.seal_in_place_separate_tag(nonce(number), Aad::from(header), &mut datagram[HEADER_BYTES..]).ok()?;
        datagram.extend_from_slice(tag.as_ref());
        Some(datagram)
    }

    /// The body of a datagram, if header, body and tag are as they were sealed.
    pub(super) fn open(&self, number: u64, datagram: &[u8]) -> Option<Vec<u8>> {
        let (header, sealed) = datagram.split_at_checked(HEADER_BYTES)?;
        let mut body = sealed.to_vec();
        let len = self.0.open_in_place(nonce(number), Aad::from(header), &mut body).ok()?.len();
        body.truncate(len);
        Some(body)
    }
}

/// Leaves the key out.
impl fmt::Debug for Subkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subkey(..)")
    }
}

/// Four zero bytes, then the number.
fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostId = HostId(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 11)));
    const BOOT: BootId = BootId([7; 16]);

    fn key(id: u32, usage: KeyUse) -> Key {
        Key { id: KeyId(id), usage, secret: [0xa5; 32] }
    }

    fn ring(group: &str) -> Ring {
        Ring::new(group, &Protection::Keys(vec![key(1, KeyUse::Send)])).unwrap()
    }

    #[test]
    fn unusable_protection_is_refused_with_its_reason() {
        let refused = |keys| Ring::new("www", &Protection::Keys(keys)).err();
        assert_eq!(refused(vec![]), Some(ProtectionError::NoSendKey));
        assert_eq!(refused(vec![key(1, KeyUse::Receive)]), Some(ProtectionError::NoSendKey));
        assert_eq!(refused(vec![key(0, KeyUse::Send)]), Some(ProtectionError::ReservedId));
        assert_eq!(
            refused(vec![key(3, KeyUse::Send), key(4, KeyUse::Receive), key(3, KeyUse::Receive)]),
            Some(ProtectionError::DuplicateId(KeyId(3)))
        );
        assert_eq!(Ring::new("", &Protection::Insecure).err(), Some(ProtectionError::GroupName(0)));
        assert_eq!(Ring::new(&"g".repeat(65), &Protection::Insecure).err(), Some(ProtectionError::GroupName(65)));
        assert!(Ring::new(&"g".repeat(64), &Protection::Insecure).is_ok());
    }

    #[test]
    fn the_first_key_for_sending_seals_and_all_open() {
        let ring = Ring::new("www", &Protection::Keys(vec![key(5, KeyUse::Receive), key(6, KeyUse::Send), key(7, KeyUse::Send)])).unwrap();
        assert_eq!(ring.sealing_id(), KeyId(6));
        for id in [5, 6, 7] {
            assert!(ring.opening(KeyId(id), HOST, BOOT).is_some(), "{id}");
        }
        assert!(ring.opening(KeyId::INSECURE, HOST, BOOT).is_none());
    }

    #[test]
    fn on_the_way_to_keys_both_open_and_the_group_name_seals_until_a_key_is_for_sending() {
        for (usage, seals) in [(KeyUse::Receive, KeyId::INSECURE), (KeyUse::Send, KeyId(5))] {
            let protection = Protection::Transition(vec![key(5, usage)]);
            let ring = Ring::new("www", &protection).unwrap();
            assert_eq!(ring.sealing_id(), seals);
            assert!(ring.opening(KeyId(5), HOST, BOOT).is_some() && ring.opening(KeyId::INSECURE, HOST, BOOT).is_some());
            assert_eq!(protection.keys(), HostKeys { sends: seals, opens: vec![KeyId::INSECURE, KeyId(5)] });
        }
        let sealed = Ring::new("www", &Protection::Insecure).unwrap().sealing(HOST, BOOT).seal(9, &[1; HEADER_BYTES], b"body").unwrap();
        let ring = Ring::new("www", &Protection::Transition(vec![key(5, KeyUse::Receive)])).unwrap();
        assert_eq!(ring.opening(KeyId::INSECURE, HOST, BOOT).unwrap().open(9, &sealed), Some(b"body".to_vec()));
    }

    #[test]
    fn a_subkey_serves_one_group_one_host_and_one_boot() {
        let header = [1; HEADER_BYTES];
        let sealed = ring("www").sealing(HOST, BOOT).seal(9, &header, b"body").unwrap();
        let opens = |ring: &Ring, host, boot, number| ring.opening(KeyId(1), host, boot).unwrap().open(number, &sealed);
        assert_eq!(opens(&ring("www"), HOST, BOOT, 9), Some(b"body".to_vec()));
        assert_eq!(opens(&ring("ftp"), HOST, BOOT, 9), None);
        assert_eq!(opens(&ring("www"), HostId([10, 0, 0, 12].into()), BOOT, 9), None);
        // The same sixteen bytes as an IPv6 address.
        assert_eq!(opens(&ring("www"), HostId("a00:b::".parse().unwrap()), BOOT, 9), None);
        assert_eq!(opens(&ring("www"), HOST, BootId([8; 16]), 9), None);
        assert_eq!(opens(&ring("www"), HOST, BOOT, 10), None);
    }

    #[test]
    fn secrets_are_in_no_debug_output() {
        let key = Key { id: KeyId(1), usage: KeyUse::Send, secret: [222; 32] };
        let ring = Ring::new("www", &Protection::Keys(vec![key.clone()])).unwrap();
        let subkey = ring.sealing(HOST, BOOT);
        for text in [format!("{key:?}"), format!("{ring:?}"), format!("{subkey:?}"), format!("{:?}", Protection::Keys(vec![key]))] {
            assert!(!text.contains("222") && !text.contains("de, de") && !text.contains("dede"), "{text}");
        }
    }
}
