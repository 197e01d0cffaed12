//! What a name server answers, as Debian's `dig` (bind9-dnsutils) reports it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;

use raisd::demo::lab;
use raisd::demo::namespace::Namespace;

use crate::story::{Failure, Outcome};

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Answer {
    /// `NOERROR`, `NXDOMAIN`, ...
    pub(crate) status: String,
    /// `qr`, `aa`, ...
    pub(crate) flags: BTreeSet<String>,
    /// The records of the answer section, in their order.
    pub(crate) records: Vec<Record>,
    /// Those of the authority section.
    pub(crate) authority: Vec<Record>,
    /// The largest datagram that the server says it takes, if it says anything in EDNS.
    pub(crate) udp: Option<u16>,
    /// Whether a cookie came with it that belongs to the question.
    pub(crate) has_cookie: bool,
    /// How the server calls itself.
    pub(crate) nsid: Option<String>,
    /// Whether it came over a connection.
    pub(crate) by_tcp: bool,
    /// Its length.
    pub(crate) bytes: usize,
}

/// A resource record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) owner: String,
    pub(crate) ttl: u32,
    pub(crate) kind: String,
    pub(crate) data: String,
}

impl Answer {
    /// The addresses of the answer, as a set: their order rotates.
    pub(crate) fn addresses(&self) -> BTreeSet<IpAddr> {
        self.records.iter().filter_map(|record| record.data.parse().ok()).collect()
    }

    /// The serial of the SOA record in the answer.
    pub(crate) fn serial(&self) -> Option<u32> {
        let soa = self.records.iter().find(|record| record.kind == "SOA")?;
        // Primary, contact, serial, refresh, retry, expire, minimum.
        soa.data.split_whitespace().nth(2)?.parse().ok()
    }
}

/// Asks `server` (port 53) from inside `namespace`. `None`: no answer within a second.
pub(crate) fn dig(namespace: &Namespace, server: IpAddr, name: &str, kind: &str, options: &[&str]) -> Outcome<Option<Answer>> {
    let mut command = lab::command("dig");
    command.args([&format!("@{server}"), name, kind, "+norecurse", "+tries=1", "+time=1"]).args(options);
    let output = run(namespace, &mut command)?;
    let text = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => parse(&text).map(Some).ok_or_else(|| Failure::broken(format!("dig printed what is no answer:\n{text}"))),
        // "No reply from server."
        Some(9) => Ok(None),
        code => Err(Failure::broken(format!("dig ended with {code:?}:\n{text}{}", String::from_utf8_lossy(&output.stderr)))),
    }
}

fn run(namespace: &Namespace, command: &mut Command) -> Outcome<std::process::Output> {
    namespace
        .output(command)
        .map_err(|error| Failure::broken(format!("cannot run dig ({error}); install it with: apt-get install bind9-dnsutils")))
}

fn parse(text: &str) -> Option<Answer> {
    let mut answer = Answer::default();
    let mut section = None;
    let mut has_header = false;
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("->>HEADER<<-") {
            answer.status = field(rest, "status: ", ',')?.to_owned();
            has_header = true;
        } else if let Some(rest) = line.strip_prefix(";; flags: ") {
            let (flags, _) = rest.split_once(';')?;
            answer.flags = flags.split_whitespace().map(str::to_owned).collect();
        } else if let Some(edns) = line.strip_prefix("; EDNS: ") {
            answer.udp = edns.split_once("udp: ").and_then(|(_, size)| size.parse().ok());
        } else if let Some(cookie) = line.strip_prefix("; COOKIE: ") {
            answer.has_cookie = cookie.ends_with("(good)");
        } else if let Some(nsid) = line.strip_prefix("; NSID: ") {
            // In hexadecimal digits, then as text.
            answer.nsid = nsid.split_once("(\"").and_then(|(_, text)| text.strip_suffix("\")")).map(str::to_owned);
        } else if let Some(server) = line.strip_prefix(";; SERVER: ") {
            answer.by_tcp = server.ends_with("(TCP)");
        } else if let Some((_, bytes)) = line.split_once("MSG SIZE  rcvd: ") {
            answer.bytes = bytes.parse().ok()?;
        } else if line.starts_with(";; ") {
            section = [";; ANSWER SECTION", ";; AUTHORITY SECTION"].into_iter().position(|start| line.starts_with(start));
        } else if !line.is_empty() && !line.starts_with(';') {
            match section {
                Some(0) => answer.records.push(record(line)?),
                Some(1) => answer.authority.push(record(line)?),
                Some(_) | None => {}
            }
        }
    }
    has_header.then_some(answer)
}

fn field<'a>(line: &'a str, name: &str, end: char) -> Option<&'a str> {
    let (_, rest) = line.split_once(name)?;
    rest.split(end).next()
}

fn record(line: &str) -> Option<Record> {
    let mut words = line.split_whitespace();
    let (owner, ttl, _class, kind) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let data = words.collect::<Vec<_>>().join(" ");
    Some(Record { owner: owner.to_owned(), ttl: ttl.parse().ok()?, kind: kind.to_owned(), data })
}
