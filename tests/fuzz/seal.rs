//! Datagrams that say anything, sealed as `docs/protocol.md` says, with nothing of this program.

use std::net::IpAddr;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use raisd::types::host::HostId;
use raisd::types::message::Sender;
use raisd::wire::seal::{Key, KeyId, KeyUse, Protection};

pub(crate) const GROUP: &str = "www";

const SECRET: [u8; 32] = [7; 32];

struct KeyBytes;

impl KeyType for KeyBytes {
    fn len(&self) -> usize {
        32
    }
}

pub(crate) fn protection() -> Protection {
    Protection::Keys(vec![Key { id: KeyId(1), usage: KeyUse::Send, secret: SECRET }])
}

/// A datagram of the group `www` with this body.
pub(crate) fn seal(sender: &Sender, kind: u8, number: u64, body: &[u8]) -> Vec<u8> {
    let (family, host) = host_bytes(sender.host);
    let mut header = Vec::with_capacity(64);
    header.extend_from_slice(b"RAIS");
    header.extend_from_slice(&[1, 1, kind, family]);
    header.extend_from_slice(&digest(&SHA256, GROUP.as_bytes()).as_ref()[..4]);
    header.extend_from_slice(&1_u32.to_be_bytes());
    header.extend_from_slice(&host);
    header.extend_from_slice(&sender.boot.0);
    header.extend_from_slice(&sender.incarnation.0.to_be_bytes());
    header.extend_from_slice(&number.to_be_bytes());

    let info: [&[u8]; 4] = [&[family], &host, &sender.boot.0, GROUP.as_bytes()];
    let mut subkey = [0; 32];
    let prk = Salt::new(HKDF_SHA256, b"raisd control 1").extract(&SECRET);
    prk.expand(&info, KeyBytes).unwrap().fill(&mut subkey).unwrap();
    let nonce: [u8; 12] = [&[0; 4][..], &number.to_be_bytes()].concat().try_into().unwrap();
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &subkey).unwrap());
    let mut sealed = body.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&header), &mut sealed).unwrap();
    [header, sealed].concat()
}

/// The body of a datagram that [`seal`] or a host of the group has made.
pub(crate) fn body(datagram: &[u8]) -> Vec<u8> {
    let (header, sealed) = datagram.split_at(64);
    let info: [&[u8]; 4] = [&header[7..8], &header[16..32], &header[32..48], GROUP.as_bytes()];
    let mut subkey = [0; 32];
    let prk = Salt::new(HKDF_SHA256, b"raisd control 1").extract(&SECRET);
    prk.expand(&info, KeyBytes).unwrap().fill(&mut subkey).unwrap();
    let nonce: [u8; 12] = [&[0; 4][..], &header[56..64]].concat().try_into().unwrap();
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &subkey).unwrap());
    let mut opened = sealed.to_vec();
    key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(header), &mut opened).unwrap().to_vec()
}

fn host_bytes(host: HostId) -> (u8, [u8; 16]) {
    let mut bytes = [0; 16];
    match host.0 {
        IpAddr::V4(address) => {
            bytes[..4].copy_from_slice(&address.octets());
            (4, bytes)
        }
        IpAddr::V6(address) => (6, address.octets()),
    }
}
