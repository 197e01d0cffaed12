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
    let mut in_answer = false;
    let mut has_header = false;
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("->>HEADER<<-") {
            answer.status = field(rest, "status: ", ',')?.to_owned();
            has_header = true;
        } else if let Some(rest) = line.strip_prefix(";; flags: ") {
            let (flags, _) = rest.split_once(';')?;
            answer.flags = flags.split_whitespace().map(str::to_owned).collect();
        } else if line.starts_with(";; ") {
            in_answer = line.starts_with(";; ANSWER SECTION");
        } else if in_answer && !line.is_empty() && !line.starts_with(';') {
            answer.records.push(record(line)?);
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
