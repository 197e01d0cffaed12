//! The datagram that `docs/protocol.md` takes apart: opened and read here by what that page says, with nothing of this program.
//!
//! `UPDATE=1 cargo test --test wire` writes the section anew; else it must be what stands there.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};

use super::vectors;

const BEGIN: &str = "<!-- annotated: written by `UPDATE=1 cargo test --test wire` -->\n";
const END: &str = "<!-- annotated: end -->\n";

#[test]
fn the_datagram_that_the_protocol_page_takes_apart_is_read_by_that_page_alone() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (stored, after) = rest.split_once(END).unwrap();
    let section = section();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{section}{END}{after}")).unwrap();
    } else {
        assert_eq!(stored, section, "UPDATE=1 cargo test --test wire writes docs/protocol.md anew");
    }
}

struct KeyBytes;

impl KeyType for KeyBytes {
    fn len(&self) -> usize {
        32
    }
}

fn section() -> String {
    let vector = include_str!("../wire-vectors/acquire.txt");
    let datagram = vectors::datagrams(vector).remove(0);
    let line = |name: &str| vector.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    let (group, key) = (line("group "), line("key "));
    let secret = bytes_of(key.split_once(' ').unwrap().1);
    let (header, sealed) = datagram.split_at(64);

    // "Seal": the subkey, the nonce, the associated data.
    let info: [&[u8]; 4] = [&header[7..8], &header[16..32], &header[32..48], group.as_bytes()];
    let mut subkey = [0; 32];
    Salt::new(HKDF_SHA256, b"raisd control 1").extract(&secret).expand(&info, KeyBytes).unwrap().fill(&mut subkey).unwrap();
    let nonce: [u8; 12] = [&[0; 4][..], &header[56..64]].concat().try_into().unwrap();
    let opener = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &subkey).unwrap());
    let mut opened = sealed.to_vec();
    let body = opener.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(header), &mut opened).unwrap().to_vec();
    assert_eq!(digest(&SHA256, group.as_bytes()).as_ref()[..4], header[8..12]);

    let mut text =
        format!("The datagram of `tests/wire-vectors/acquire.txt`, {} bytes as they are on the wire:\n\n```text\n", datagram.len());
    for chunk in datagram.chunks(32) {
        writeln!(text, "{}", hex(chunk)).unwrap();
    }
    writeln!(text, "```\n\n| | |\n|---|---|\n| group | `{group}` |\n| secret of key 1 | `{}` |", hex(&secret)).unwrap();
    writeln!(text, "| key of this boot (HKDF) | `{}` |\n| nonce | `{}` |\n", hex(&subkey), hex(&nonce)).unwrap();
    text.push_str("The seal opened, field by field; `at` counts from the first byte of the datagram:\n\n| at | bytes | field | says |\n|---|---|---|---|\n");
    let mut reader = Reader { bytes: &[header, &body].concat(), at: 0, text };
    reader.header();
    while reader.at < 64 + body.len() {
        reader.command();
    }
    let tag = &sealed[body.len()..];
    writeln!(reader.text, "| {} | `{}` | seal | over header and body |", reader.at, hex(tag)).unwrap();
    reader.text
}

/// Reads fields in order and writes a row of each.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    text: String,
}

impl Reader<'_> {
    fn row(&mut self, count: usize, field: &str, says: impl FnOnce(&[u8]) -> String) {
        let bytes = &self.bytes[self.at..self.at + count];
        writeln!(self.text, "| {} | `{}` | {field} | {} |", self.at, hex(bytes), says(bytes)).unwrap();
        self.at += count;
    }

    fn header(&mut self) {
        self.row(4, "mark", |bytes| format!("\"{}\"", str::from_utf8(bytes).unwrap()));
        self.row(1, "version", big_endian);
        self.row(1, "oldest version", big_endian);
        self.row(1, "kind", |bytes| ["`info`", "`acquire`", "`release`"][usize::from(bytes[0])].to_owned());
        self.row(1, "family", |bytes| format!("IPv{}", bytes[0]));
        self.row(4, "group", |_| "first four bytes of the SHA-256 of the group's name".to_owned());
        self.row(4, "key id", big_endian);
        self.row(16, "sender", |bytes| Ipv4Addr::from([bytes[0], bytes[1], bytes[2], bytes[3]]).to_string());
        self.row(16, "boot id", |_| "of the sender".to_owned());
        self.row(8, "incarnation", big_endian);
        self.row(8, "number", big_endian);
    }

    fn command(&mut self) {
        self.row(1, "kind of record", |bytes| {
            assert_eq!(bytes, [7]);
            "7, Command".to_owned()
        });
        self.row(2, "length of the payload", big_endian);
        self.row(1, "command", |bytes| ["", "acquire", "release"][usize::from(bytes[0])].to_owned());
        self.address("leader");
        self.row(16, "leader's boot id", |_| "the leader is the sender, so it is that of the header".to_owned());
        self.address("to");
        self.number("incarnation of the destination");
        self.number("based on: its newest `info`");
        let count = self.bytes[self.at];
        self.row(1, "items: how many", big_endian);
        for item in 1..=count {
            self.number(&format!("item {item}: length of this member"));
            self.address(&format!("item {item}: address"));
            self.row(1, &format!("item {item}: prefix length"), big_endian);
            self.number(&format!("item {item}: epoch"));
            self.row(1, &format!("item {item}: reason"), |bytes| {
                assert_eq!(bytes, [1]);
                "assigned".to_owned()
            });
            let overlaps = self.bytes[self.at] == 1;
            self.row(1, &format!("item {item}: flags"), |bytes| ["none", "overlaps follows"][usize::from(bytes[0])].to_owned());
            if overlaps {
                self.address(&format!("item {item}: overlaps"));
            }
        }
    }

    fn address(&mut self, field: &str) {
        match self.bytes[self.at] {
            4 => self.row(5, field, |bytes| IpAddr::from(<[u8; 4]>::try_from(&bytes[1..]).unwrap()).to_string()),
            6 => self.row(17, field, |bytes| Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[1..]).unwrap()).to_string()),
            family => panic!("no address begins with {family}"),
        }
    }

    fn number(&mut self, field: &str) {
        let count = self.bytes[self.at..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
        self.row(count, field, |bytes| bytes.iter().rev().fold(0, |number: u64, byte| number << 7 | u64::from(byte & 0x7f)).to_string());
    }
}

fn big_endian(bytes: &[u8]) -> String {
    bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte)).to_string()
}

fn hex(bytes: &[u8]) -> String {
    vectors::hex(bytes)
}

fn bytes_of(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
