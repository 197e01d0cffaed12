//! The primitive fields of wire version 1: how one is written stands beside how it is read.
//!
//! Writing refuses what reading would refuse, so a sender learns of a value out of bounds instead of being dropped by
//! every receiver. Nothing here knows of records; `body` does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

use crate::types::item::NAME_BYTES_MAX;

/// The longest duration that travels: what eight bytes of a variable-length number hold, some 2,283 years. A longer one
/// is cut to it.
pub const DURATION_MAX: Duration = Duration::from_micros(DURATION_MAX_US);

const DURATION_MAX_US: u64 = (1 << 56) - 1;

/// Why something is no record of version 1: the writer of the record is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Flaw {
    /// The bytes end within a field.
    #[error("{field} is cut off")]
    Cut {
        /// Which field.
        field: &'static str,
    },
    /// A number is greater than its field holds.
    #[error("{field} is out of range")]
    Range {
        /// Which field.
        field: &'static str,
    },
    /// A prefix length is none of the address's family.
    #[error("prefix length {prefix} of {field} does not fit its family")]
    Prefix {
        /// Which field.
        field: &'static str,
        /// The length in bits.
        prefix: u8,
    },
    /// A text is longer than a name may be.
    #[error("{field} of {len} bytes is longer than {NAME_BYTES_MAX}")]
    TextTooLong {
        /// Which field.
        field: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// A text is not UTF-8, or holds characters that would act on the reader's terminal, or is empty where it names.
    #[error("{field} is no plain text")]
    Text {
        /// Which field.
        field: &'static str,
    },
    /// A list has more members than it may.
    #[error("{count} of {field} are more than {max}")]
    TooMany {
        /// Which field.
        field: &'static str,
        /// How many.
        count: usize,
        /// The most that there may be.
        max: usize,
    },
    /// A value of a closed list is none of version 1.
    #[error("{field} has no value {value}")]
    Unknown {
        /// Which field.
        field: &'static str,
        /// The value.
        value: u8,
    },
}

/// What has a place in a record.
pub(super) trait Layout: Sized {
    /// Appends it.
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw>;

    /// Takes it from the front.
    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw>;
}

/// Bytes not yet read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// A part of its own, of `len` bytes.
    pub(super) fn part(&mut self, len: usize, field: &'static str) -> Result<Self, Flaw> {
        let (part, rest) = self.rest.split_at_checked(len).ok_or(Flaw::Cut { field })?;
        self.rest = rest;
        Ok(Self { rest: part })
    }

    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Flaw> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Flaw::Cut { field })?;
        self.rest = rest;
        Ok(*array)
    }

    pub(super) fn byte(&mut self, field: &'static str) -> Result<u8, Flaw> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// A number of variable length: seven bits a byte, the lowest first, the top bit set in all but the last.
    pub(super) fn number(&mut self, field: &'static str) -> Result<u64, Flaw> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte(field)?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Flaw::Range { field });
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Flaw::Range { field })
    }

    /// A number of variable length that fits `T`.
    pub(super) fn narrow<T: TryFrom<u64>>(&mut self, field: &'static str) -> Result<T, Flaw> {
        T::try_from(self.number(field)?).map_err(|_| Flaw::Range { field })
    }

    /// A text that may be empty.
    pub(super) fn text(&mut self, field: &'static str) -> Result<String, Flaw> {
        let len = usize::from(self.byte(field)?);
        let bytes = self.part(len, field)?.rest;
        let text = std::str::from_utf8(bytes).map_err(|_| Flaw::Text { field })?;
        check_text(text, field)?;
        Ok(text.to_owned())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str, field: &'static str) -> Result<(), Flaw> {
    check_text(text, field)?;
    put_count(out, text.len(), u8::MAX.into(), field)?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// A count in one byte, at most `max`.
pub(super) fn put_count(out: &mut Vec<u8>, count: usize, max: usize, field: &'static str) -> Result<(), Flaw> {
    let too_many = Flaw::TooMany { field, count, max };
    if count > max {
        return Err(too_many);
    }
    out.push(u8::try_from(count).map_err(|_| too_many)?);
    Ok(())
}

/// Reads a count that [`put_count`] has written.
pub(super) fn take_count(from: &mut Reader<'_>, max: usize, field: &'static str) -> Result<usize, Flaw> {
    let count = usize::from(from.byte(field)?);
    if count > max { Err(Flaw::TooMany { field, count, max }) } else { Ok(count) }
}

fn check_text(text: &str, field: &'static str) -> Result<(), Flaw> {
    if text.len() > NAME_BYTES_MAX {
        return Err(Flaw::TextTooLong { field, len: text.len() });
    }
    if text.chars().any(char::is_control) { Err(Flaw::Text { field }) } else { Ok(()) }
}

/// Family (4 or 6), then the address.
impl Layout for IpAddr {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        match self {
            Self::V4(address) => {
                out.push(4);
                out.extend_from_slice(&address.octets());
            }
            Self::V6(address) => {
                out.push(6);
                out.extend_from_slice(&address.octets());
            }
        }
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        let field = "address";
        match from.byte(field)? {
            4 => Ok(Ipv4Addr::from(from.array::<4>(field)?).into()),
            6 => Ok(Ipv6Addr::from(from.array::<16>(field)?).into()),
            value => Err(Flaw::Unknown { field: "address family", value }),
        }
    }
}

/// Address, then prefix length; bits behind the prefix travel as they are.
impl Layout for IpNet {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        self.addr().put(out)?;
        out.push(self.prefix_len());
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        let field = "network";
        let address = IpAddr::take(from)?;
        let prefix = from.byte(field)?;
        Self::new(address, prefix).map_err(|_| Flaw::Prefix { field, prefix })
    }
}

/// Microseconds, rounded up: an age that loses a little at each relay would make old news younger, and a promise that
/// loses a little would end before its maker stops.
impl Layout for Duration {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        let micros = self.as_nanos().div_ceil(1000);
        put_number(out, u64::try_from(micros).unwrap_or(u64::MAX).min(DURATION_MAX_US));
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        let field = "duration";
        let micros = from.number(field)?;
        if micros > DURATION_MAX_US { Err(Flaw::Range { field }) } else { Ok(Self::from_micros(micros)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &impl Layout) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.put(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn numbers_take_the_bytes_they_need() {
        for (number, len) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::MAX - 1, 10), (u64::MAX, 10)] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            assert_eq!(bytes.len(), len, "{number}");
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.number("n"), Ok(number));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_number_beyond_64_bits_is_refused() {
        let range = Err(Flaw::Range { field: "n" });
        let mut beyond = [0xff; 10];
        beyond[9] = 2;
        assert_eq!(Reader::new(&beyond).number("n"), range);
        assert_eq!(Reader::new(&[0xff; 11]).number("n"), range);
        assert_eq!(Reader::new(&[0x80]).number("n"), Err(Flaw::Cut { field: "n" }));
        assert_eq!(Reader::new(&[0x80, 0x80, 0x04]).narrow::<u16>("n"), Err(Flaw::Range { field: "n" }));
    }

    #[test]
    fn a_duration_is_rounded_up_to_microseconds_and_cut_at_the_greatest() {
        for (duration, travelled) in [
            (Duration::ZERO, Duration::ZERO),
            (Duration::from_nanos(1), Duration::from_micros(1)),
            (Duration::from_nanos(1000), Duration::from_micros(1)),
            (Duration::from_nanos(1_000_001), Duration::from_micros(1001)),
            (DURATION_MAX, DURATION_MAX),
            (Duration::MAX, DURATION_MAX),
        ] {
            assert_eq!(Duration::take(&mut Reader::new(&written(&duration))), Ok(travelled));
        }
    }

    #[test]
    fn a_duration_beyond_the_greatest_is_refused() {
        let mut bytes = Vec::new();
        put_number(&mut bytes, DURATION_MAX_US + 1);
        assert_eq!(Duration::take(&mut Reader::new(&bytes)), Err(Flaw::Range { field: "duration" }));
    }

    #[test]
    fn a_network_keeps_its_host_bits_and_refuses_a_prefix_beyond_its_family() {
        let network: IpNet = "192.0.2.7/24".parse().unwrap();
        let mut bytes = written(&network);
        assert_eq!(IpNet::take(&mut Reader::new(&bytes)), Ok(network));
        *bytes.last_mut().unwrap() = 33;
        assert_eq!(IpNet::take(&mut Reader::new(&bytes)), Err(Flaw::Prefix { field: "network", prefix: 33 }));
    }

    #[test]
    fn an_address_of_an_unknown_family_is_refused() {
        assert_eq!(IpAddr::take(&mut Reader::new(&[5, 1, 2, 3, 4])), Err(Flaw::Unknown { field: "address family", value: 5 }));
    }

    #[test]
    fn a_text_that_is_too_long_or_acts_on_a_terminal_is_refused_by_both_sides() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let too_long = Flaw::TextTooLong { field: "name", len: NAME_BYTES_MAX + 1 };
        assert_eq!(put_text(&mut Vec::new(), &long, "name"), Err(too_long));
        assert_eq!(put_text(&mut Vec::new(), "a\u{1b}[2J", "name"), Err(Flaw::Text { field: "name" }));

        let mut bytes = vec![65];
        bytes.extend_from_slice(long.as_bytes());
        assert_eq!(Reader::new(&bytes).text("name"), Err(too_long));
        assert_eq!(Reader::new(b"\x03a\x1bb").text("name"), Err(Flaw::Text { field: "name" }));
        assert_eq!(Reader::new(b"\x01\xff").text("name"), Err(Flaw::Text { field: "name" }));
        assert_eq!(Reader::new(b"\x02a").text("name"), Err(Flaw::Cut { field: "name" }));
    }
}
