//! DNS cookies (RFC 7873) in the form that all servers share (RFC 9018): a client that returns one is where it says it is.
//!
//! Owns the secret, drawn at the start: nothing of it is stored or logged, and after a restart clients get another cookie
//! without noticing. Never refuses anybody; what a valid cookie is worth is decided in `answer.rs`. Called by `edns.rs`.

use std::hash::Hasher as _;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use siphasher::sip::SipHasher24;

/// RFC 7873 §4: eight bytes that the client chose.
pub(crate) type ClientCookie = [u8; 8];

/// RFC 9018 §4: version, three reserved bytes, time stamp, hash.
const SERVER_BYTES: usize = 16;

/// Both together: what travels in an answer.
pub(crate) const COOKIE_BYTES: usize = 8 + SERVER_BYTES;

/// RFC 7873 §4.2: a server's cookie has 8 to 32 bytes.
const SERVER_BYTES_ANY: std::ops::RangeInclusive<usize> = 8..=32;

/// RFC 9018 §4.2, and the three reserved bytes of §4.1.
const VERSION: [u8; 4] = [1, 0, 0, 0];

/// RFC 9018 §4.3: older cookies are void.
const AGE_MAX_S: u32 = 3600;

/// RFC 9018 §4.3: clocks of name servers that share a secret differ.
const AHEAD_MAX_S: u32 = 300;

/// What a client says with the option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presented {
    /// Its own part, and none of ours that is valid.
    Client(ClientCookie),
    /// A cookie that this server gave to this address within the hour.
    Valid(ClientCookie),
}

impl Presented {
    pub(crate) fn client(self) -> ClientCookie {
        match self {
            Self::Client(client) | Self::Valid(client) => client,
        }
    }
}

/// The option has a length that no cookie has (RFC 7873 §5.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// Makes cookies and knows them again.
pub(crate) struct Cookies {
    secret: [u8; 16],
}

/// The secret is nobody's business.
impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookies")
    }
}

impl Cookies {
    /// With a secret of random bits.
    pub(crate) fn draw() -> Result<Self, Unspecified> {
        let mut secret = [0; 16];
        SystemRandom::new().fill(&mut secret)?;
        Ok(Self { secret })
    }

    /// What the option of a message from an address says.
    pub(crate) fn read(&self, option: &[u8], from: IpAddr, now_s: u32) -> Result<Presented, Malformed> {
        let (client, server) = option.split_first_chunk::<8>().ok_or(Malformed)?;
        if server.is_empty() {
            return Ok(Presented::Client(*client));
        }
        if !SERVER_BYTES_ANY.contains(&server.len()) {
            return Err(Malformed);
        }
        let is_valid = server.get(4..8).and_then(|stamp| stamp.try_into().ok()).map(u32::from_be_bytes).is_some_and(|stamp| {
            // RFC 9018 §4.3: serial number arithmetic. The hash tells an attacker nothing of use in the time it takes to compare.
            let age = now_s.wrapping_sub(stamp);
            (age <= AGE_MAX_S || age.wrapping_neg() <= AHEAD_MAX_S) && server == self.server_part(*client, from, stamp)
        });
        Ok(if is_valid { Presented::Valid(*client) } else { Presented::Client(*client) })
    }

    /// The cookie of an answer: the client's part and a fresh one of ours.
    pub(crate) fn write(&self, client: ClientCookie, to: IpAddr, now_s: u32) -> [u8; COOKIE_BYTES] {
        let mut cookie = [0; COOKIE_BYTES];
        for (byte, value) in cookie.iter_mut().zip(client.into_iter().chain(self.server_part(client, to, now_s))) {
            *byte = value;
        }
        cookie
    }

    fn server_part(&self, client: ClientCookie, address: IpAddr, stamp: u32) -> [u8; SERVER_BYTES] {
        let mut hash = SipHasher24::new_with_key(&self.secret);
        hash.write(&client);
        hash.write(&VERSION);
        hash.write(&stamp.to_be_bytes());
        match address {
            IpAddr::V4(address) => hash.write(&address.octets()),
            IpAddr::V6(address) => hash.write(&address.octets()),
        }
        let mut part = [0; SERVER_BYTES];
        let values = VERSION.into_iter().chain(stamp.to_be_bytes()).chain(hash.finish().to_le_bytes());
        for (byte, value) in part.iter_mut().zip(values) {
            *byte = value;
        }
        part
    }
}

/// Seconds since 1970, as RFC 9018 §4.3 stamps them.
#[expect(
    clippy::disallowed_methods,
    reason = "the stamp of a cookie is wall-clock time and is read by nobody but the server that wrote it"
)]
pub(crate) fn now_s() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Wraps in 2106, as serial numbers do.
    u32::try_from(since.as_secs() & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let digits: Vec<u8> = hex.bytes().map(|digit| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap()).collect();
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        bytes.try_into().unwrap()
    }

    #[test]
    fn cookies_are_those_of_the_standard() {
        // RFC 9018 appendix A.1, A.2, A.3 and A.4.
        for (secret, client, address, stamp, cookie) in [
            (
                "e5e973e5a6b2a43f48e7dc849e37bfcf",
                "2464c4abcf10c957",
                "198.51.100.100",
                1_559_731_985,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
            ),
            (
                "e5e973e5a6b2a43f48e7dc849e37bfcf",
                "2464c4abcf10c957",
                "198.51.100.100",
                1_559_734_385,
                "2464c4abcf10c957010000005cf7a871d4a564a1442aca77",
            ),
            (
                "e5e973e5a6b2a43f48e7dc849e37bfcf",
                "fc93fc62807ddb86",
                "203.0.113.203",
                1_559_734_700,
                "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e",
            ),
            (
                "445536bcd2513298075a5d379663c962",
                "22681ab97d52c298",
                "2001:db8:220:1:59de:d0f4:8769:82b8",
                1_559_741_961,
                "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
            ),
        ] {
            let cookies = Cookies { secret: bytes(secret) };
            let written = cookies.write(bytes(client), address.parse().unwrap(), stamp);
            assert_eq!(written, bytes::<COOKIE_BYTES>(cookie), "{address}");
            assert_eq!(cookies.read(&written, address.parse().unwrap(), stamp), Ok(Presented::Valid(bytes(client))));
        }
    }

    #[test]
    fn a_cookie_is_good_for_its_client_and_an_hour() {
        let (cookies, client, address) = (Cookies::draw().unwrap(), [7; 8], IpAddr::from([192, 0, 2, 1]));
        let now = 5;
        let cookie = cookies.write(client, address, now);
        let read = |cookie: &[u8], from: IpAddr, now: u32| cookies.read(cookie, from, now).unwrap();
        for (later, valid) in [(0, true), (3600, true), (3601, false), (300_u32.wrapping_neg(), true), (301_u32.wrapping_neg(), false)] {
            let expected = if valid { Presented::Valid(client) } else { Presented::Client(client) };
            assert_eq!(read(&cookie, address, now.wrapping_add(later)), expected, "{later}");
        }
        assert_eq!(read(&cookie, [192, 0, 2, 2].into(), now), Presented::Client(client), "another address");
        for changed in 0..COOKIE_BYTES {
            let mut cookie = cookie;
            cookie[changed] ^= 1;
            assert!(matches!(read(&cookie, address, now), Presented::Client(_)), "byte {changed}");
        }
        assert_eq!(Cookies::draw().unwrap().read(&cookie, address, now), Ok(Presented::Client(client)), "another server");
    }

    #[test]
    fn lengths_that_no_cookie_has_are_malformed() {
        let cookies = Cookies::draw().unwrap();
        for length in 0..=60 {
            let read = cookies.read(&vec![1; length], [192, 0, 2, 1].into(), 0);
            let expected = if length == 8 || (16..=40).contains(&length) { Ok(Presented::Client([1; 8])) } else { Err(Malformed) };
            assert_eq!(read, expected, "{length}");
        }
    }
}
