//! EDNS(0): what a question says beyond its name, and what an answer says back.
//!
//! Owns the OPT record (RFC 6891), NSID (RFC 5001), the keep-alive of connections (RFC 7828) and the cookie's place in it; what a
//! cookie is stands in `cookie.rs`. Client subnets, padding and everything else is ignored, as RFC 6891 §6.1.2 allows. Called by
//! `answer.rs`.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, RecordType};

use super::cookie::{self, COOKIE_BYTES, Cookies, Malformed, Presented};

/// The largest datagram that is sent: no path that carries IPv6 has to fragment it. Also what we say that we take.
pub(crate) const UDP_BYTES_MAX: u16 = 1232;

/// RFC 1035 §4.2.1, for those who do not say otherwise.
pub(crate) const UDP_BYTES_PLAIN: u16 = 512;

/// Root name, type, class, time to live and the length of the options.
const OPT_BYTES: usize = 11;

/// Code and length of an option.
const OPTION_BYTES: usize = 4;

/// RFC 3225 §3: DO, which comes back as it was.
const DNSSEC_OK: u16 = 0x8000;

/// What the OPT record of a question says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) version: u8,
    pub(crate) cookie: Option<Presented>,
    payload: u16,
    is_dnssec_ok: bool,
    wants_nsid: bool,
    wants_keepalive: bool,
}

impl Asked {
    pub(crate) fn read(edns: &Edns, cookies: &Cookies, from: IpAddr) -> Result<Self, Malformed> {
        let cookie = match edns.option(EdnsCode::Cookie) {
            Some(EdnsOption::Unknown(_, bytes)) => Some(cookies.read(bytes, from, cookie::now_s())?),
            Some(_) | None => None,
        };
        Ok(Self {
            version: edns.version(),
            cookie,
            payload: edns.max_payload(),
            is_dnssec_ok: edns.flags().dnssec_ok,
            wants_nsid: edns.option(EdnsCode::NSID).is_some(),
            wants_keepalive: edns.option(EdnsCode::Keepalive).is_some(),
        })
    }

    /// The most bytes of a datagram in answer.
    pub(crate) fn datagram_bytes_max(&self) -> u16 {
        self.payload.clamp(UDP_BYTES_PLAIN, UDP_BYTES_MAX)
    }

    /// The OPT record of the answer. `nsid`: what a client is told that asks for it.
    pub(crate) fn answer<'a>(&self, nsid: Option<&'a [u8]>, cookies: &Cookies, to: IpAddr, patience: Option<Duration>) -> Opt<'a> {
        if self.version > 0 {
            // RFC 6891 §6.1.3: what the options of another version mean is not known.
            return Opt { is_dnssec_ok: self.is_dnssec_ok, nsid: None, cookie: None, keepalive: None };
        }
        Opt {
            is_dnssec_ok: self.is_dnssec_ok,
            nsid: nsid.filter(|_| self.wants_nsid),
            cookie: self.cookie.map(|presented| cookies.write(presented.client(), to, cookie::now_s())),
            // RFC 7828 §3.2.2: never in a datagram.
            keepalive: patience.filter(|_| self.wants_keepalive),
        }
    }
}

/// The OPT record of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Opt<'a> {
    is_dnssec_ok: bool,
    nsid: Option<&'a [u8]>,
    cookie: Option<[u8; COOKIE_BYTES]>,
    keepalive: Option<Duration>,
}

impl Opt<'_> {
    pub(crate) fn len(&self) -> usize {
        OPT_BYTES + self.options_len()
    }

    fn options_len(&self) -> usize {
        self.nsid.map_or(0, |nsid| OPTION_BYTES + nsid.len())
            + self.cookie.map_or(0, |cookie| OPTION_BYTES + cookie.len())
            + self.keepalive.map_or(0, |_| OPTION_BYTES + 2)
    }

    /// Appends the record, with the upper bits of the answer's code.
    pub(crate) fn write(&self, answer: &mut Vec<u8>, code: ResponseCode) {
        let flags = if self.is_dnssec_ok { DNSSEC_OK } else { 0 };
        answer.push(0);
        answer.extend(u16::from(RecordType::OPT).to_be_bytes());
        answer.extend(u16::from(DNSClass::for_opt(UDP_BYTES_MAX)).to_be_bytes());
        // Ours is version 0.
        answer.extend([code.high(), 0]);
        answer.extend(flags.to_be_bytes());
        answer.extend(u16::try_from(self.options_len()).unwrap_or_default().to_be_bytes());
        if let Some(nsid) = self.nsid {
            write_option(answer, EdnsCode::NSID, nsid);
        }
        if let Some(cookie) = &self.cookie {
            write_option(answer, EdnsCode::Cookie, cookie);
        }
        if let Some(patience) = self.keepalive {
            // RFC 7828 §3.1: in tenths of a second.
            let tenths = u16::try_from(patience.as_millis() / 100).unwrap_or(u16::MAX);
            write_option(answer, EdnsCode::Keepalive, &tenths.to_be_bytes());
        }
    }
}

fn write_option(answer: &mut Vec<u8>, code: EdnsCode, value: &[u8]) {
    answer.extend(u16::from(code).to_be_bytes());
    answer.extend(u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
    answer.extend_from_slice(value);
}
