//! What is answered to what, as `dig` sees it: held against BIND with the same zone, over both transports and both families.
//!
//! Twins: the zone that is asked is not BIND's; a host whose packets leave from its first address, as those of a simple server do; no
//! connections; and the zone's options left as they are by default.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use libtest_mimic::Trial;
use raisd::demo::namespace::Namespace;
use raisd::demo::plan::Plan;

use crate::firewall;
use crate::judge::dig::{Answer, dig};
use crate::judge::zone::wait_advertised;
use crate::judge::{poll_until, within};
use crate::named::Files;
use crate::pool::{HostConfig, Pool, ZONE, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(10);

/// Runs BIND.
const OTHER: u8 = 5;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("questions_get_the_answers_that_bind_gives", |stage| like_bind(stage, Bind::HasTheZone)),
        stories.twin("questions_get_the_answers_that_bind_gives", Finding::Zone, |stage| like_bind(stage, Bind::HasAnother)),
        stories.story("answers_come_from_the_address_that_was_asked", |stage| sources(stage, Sources::AreKept)),
        stories.twin("answers_come_from_the_address_that_was_asked", Finding::Zone, |stage| sources(stage, Sources::AreTheFirst)),
        stories.story("what_does_not_fit_is_had_over_tcp", |stage| truncated(stage, Tcp::Works)),
        stories.twin("what_does_not_fit_is_had_over_tcp", Finding::Zone, |stage| truncated(stage, Tcp::IsFiltered)),
        stories.story("short_answers_name_every_address_in_turn", |stage| turns(stage, "max_answers = 1\n")),
        stories.twin("short_answers_name_every_address_in_turn", Finding::Zone, |stage| turns(stage, "")),
        stories.story("with_nobody_left_the_zone_has_all_if_that_is_wished", |stage| nobody_left(stage, "when_empty = \"all\"\n")),
        stories.twin("with_nobody_left_the_zone_has_all_if_that_is_wished", Finding::Zone, |stage| nobody_left(stage, "")),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bind {
    HasTheZone,
    HasAnother,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sources {
    AreKept,
    AreTheFirst,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tcp {
    Works,
    IsFiltered,
}

/// Asked as it stands here, with the class or other options after the type. The names of the ISC's compliance test and more.
const QUESTIONS: &[(&str, &str, &[&str])] = &[
    (ZONE, "A", &[]),
    (ZONE, "A", &["+tcp"]),
    (ZONE, "A", &["+noedns"]),
    (ZONE, "A", &["+dnssec"]),
    (ZONE, "A", &["+bufsize=512"]),
    (ZONE, "A", &["+bufsize=4096"]),
    (ZONE, "A", &["+ednsopt=100"]),
    (ZONE, "A", &["+ednsopt=100:00"]),
    (ZONE, "A", &["+ednsflags=0x80"]),
    (ZONE, "A", &["+zflag"]),
    (ZONE, "A", &["+cdflag"]),
    (ZONE, "A", &["+recurse"]),
    (ZONE, "A", &["+nsid"]),
    (ZONE, "A", &["+edns=1", "+noednsneg"]),
    (ZONE, "A", &["+edns=1", "+noednsneg", "+ednsopt=100"]),
    (ZONE, "A", &["-c", "CH"]),
    (ZONE, "A", &["-c", "HS"]),
    (ZONE, "A", &["+opcode=15"]),
    (ZONE, "A", &["+opcode=status"]),
    ("wWw.PooL.eXample.", "A", &[]),
    (ZONE, "AAAA", &[]),
    (ZONE, "MX", &[]),
    (ZONE, "TYPE666", &[]),
    (ZONE, "DNSKEY", &["+dnssec"]),
    (ZONE, "SOA", &["+noedns"]),
    (ZONE, "NS", &[]),
    ("n1.www.pool.example.", "A", &[]),
    ("n2.www.pool.example.", "TXT", &[]),
    ("nothing.www.pool.example.", "A", &[]),
    ("nothing.n2.www.pool.example.", "A", &[]),
    ("nothing.www.pool.example.", "A", &["+tcp", "+dnssec"]),
    ("pool.example.", "A", &[]),
    ("www.pool.example.org.", "A", &[]),
    (".", "NS", &[]),
];

fn like_bind(stage: &Stage, bind: Bind) -> Outcome {
    let servers = [1, 2];
    let mut pool = Pool::build(stage, servers.map(HostConfig::server).into_iter().chain([HostConfig::spare(OTHER)]))?;
    for host in servers {
        pool.configure(host, |config| config.name_servers = servers.map(Plan).to_vec())?;
        pool.start(host)?;
    }
    let client = pool.topology().client().clone();
    let serial = wait_advertised(&client, ZONE, &servers, &servers.map(service).into(), within(LONG))?;
    let files = Files::new(stage, "other")?;
    let mut text = format!("@ 5 IN SOA n1.{ZONE} hostmaster.{ZONE} {serial} 60 15 604800 5\n");
    for host in servers {
        text.push_str(&format!("@ 3600 IN NS n{host}.{ZONE}\nn{host} 3600 IN A {}\n@ 5 IN A {}\n", Plan(host).own(), service(host)));
    }
    let name = if bind == Bind::HasTheZone { ZONE } else { "another.example." };
    let (ours, theirs): (IpAddr, IpAddr) = (Plan(1).own().into(), Plan(OTHER).own().into());
    files.write("same.zone", &text)?;
    let zones = format!("zone \"{name}\" {{ type primary; file \"same.zone\"; check-names ignore; }};");
    let options = "recursion no; notify no; minimal-responses yes; check-integrity no; server-id \"web1\"; allow-transfer { none; };";
    let _named = files.start(pool.topology().host(OTHER)?.namespace(), theirs, options, &zones, Some(name))?;
    for (name, kind, options) in QUESTIONS {
        let ask = |server| dig(&client, server, name, kind, &[&["+nocookie"], *options].concat());
        let (ours, theirs) = (ask(ours)?, ask(theirs)?);
        // BIND compresses as well as can be where the case of the question is that of the zone; to refusals it adds and takes away.
        let is_plain = |answer: &&Answer| ["NOERROR", "NXDOMAIN"].contains(&answer.status.as_str());
        let bytes = |answer: &Option<Answer>| answer.as_ref().filter(is_plain).map_or(0, |answer| answer.bytes);
        // With NS records the addresses of name servers come along, which saves resolvers a question.
        let is_longer = *kind != "NS" && bytes(&ours) > bytes(&theirs);
        let (ours, theirs) = (ours.map(essence), theirs.map(essence));
        if ours != theirs || ours.is_none() || is_longer {
            let text = format!("dig {name} {kind} {}\nraisd: {ours:#?}\nBIND: {theirs:#?}", options.join(" "));
            return Err(Verdict::new(Finding::Zone, text).into());
        }
    }
    judge_alone(&client, ours)?;
    pool.check()
}

/// What has to be the same: everything but the length, the order of records, which rotates, and the case of names.
fn essence(mut answer: Answer) -> Answer {
    answer.bytes = 0;
    for records in [&mut answer.records, &mut answer.authority] {
        for record in records.iter_mut() {
            record.owner.make_ascii_lowercase();
        }
        records.sort_by(|a, b| (&a.kind, &a.data).cmp(&(&b.kind, &b.data)));
    }
    answer
}

/// What other servers answer otherwise, or in several ways.
fn judge_alone(client: &Namespace, server: IpAddr) -> Outcome {
    let ask = |kind: &str, options: &[&str]| dig(client, server, ZONE, kind, options);
    let wrong = |what: &str, answer: &Option<Answer>| Failure::from(Verdict::new(Finding::Zone, format!("{what}: {answer:?}")));
    for (kind, options) in [("AXFR", &[][..]), ("AXFR", &["+tcp"]), ("IXFR=1", &[]), ("IXFR=1", &["+tcp"])] {
        // dig's own output of transfers has no header unless it is asked for one.
        let answer = ask(kind, &[options, &["+noall", "+comments"]].concat());
        match answer {
            Ok(Some(answer)) if answer.status == "REFUSED" => {}
            // "; Transfer failed."
            Err(Failure::Broken(error)) if error.to_string().contains("Transfer failed") => {}
            other => return Err(Verdict::new(Finding::Zone, format!("{kind} {options:?}: {other:?}")).into()),
        }
    }
    for (operation, code) in [("notify", "NOTIMP"), ("update", "NOTIMP")] {
        let answer = ask("SOA", &[&format!("+opcode={operation}")])?;
        if answer.as_ref().is_none_or(|answer| answer.status != code) {
            return Err(wrong(operation, &answer));
        }
    }
    let any = ask("ANY", &["+notcp"])?;
    let kinds = |answer: &Answer| answer.records.iter().map(|record| record.kind.clone()).collect::<BTreeSet<_>>();
    if any.as_ref().is_none_or(|answer| kinds(answer).len() != 1) {
        return Err(wrong("RFC 8482", &any));
    }
    let cookie = ask("A", &["+cookie"])?;
    if cookie.as_ref().is_none_or(|answer| !answer.has_cookie) {
        return Err(wrong("RFC 7873", &cookie));
    }
    Ok(())
}

/// A service address in either family, and another name server's address of each.
fn sources(stage: &Stage, sources: Sources) -> Outcome {
    let mut host = HostConfig::server(1);
    host.preferred.push(format!("{}/128", Plan(1).service_v6()));
    host.listen = vec!["0.0.0.0".to_owned(), "::".to_owned()];
    host.name_servers = vec![Plan(1)];
    let mut pool = Pool::build(stage, [host])?;
    pool.start_all()?;
    let client = pool.topology().client().clone();
    wait_advertised(&client, ZONE, &[1], &[service(1)].into(), within(LONG))?;
    let plan = Plan(1);
    if sources == Sources::AreTheFirst {
        let rule = format!("udp sport 53 ip saddr {} ip saddr set {}", plan.service(), plan.own());
        firewall::add(pool.topology().host(1)?.namespace(), "output", &rule)?;
    }
    let asked: [IpAddr; 4] = [plan.own().into(), plan.service().into(), plan.own_v6().into(), plan.service_v6().into()];
    for server in asked {
        for transport in ["+notcp", "+tcp"] {
            // dig ignores what comes from another address.
            let answer = dig(&client, server, ZONE, "AAAA", &[transport])?;
            if answer.as_ref().is_none_or(|answer| answer.addresses() != [plan.service_v6().into()].into()) {
                return Err(Verdict::new(Finding::Zone, format!("asked at {server} ({transport}): {answer:?}")).into());
            }
        }
    }
    pool.check()
}

/// More addresses than a datagram holds.
fn truncated(stage: &Stage, tcp: Tcp) -> Outcome {
    let mut host = HostConfig::server(1);
    let all: BTreeSet<IpAddr> = (1..=100).map(|last| IpAddr::from([198, 51, 100, last])).collect();
    host.preferred = all.iter().map(|address| format!("{address}/32")).collect();
    host.name_servers = vec![Plan(1)];
    let mut pool = Pool::build(stage, [host])?;
    pool.start_all()?;
    let client = pool.topology().client().clone();
    wait_advertised(&client, ZONE, &[1], &all, within(LONG))?;
    if tcp == Tcp::IsFiltered {
        firewall::add(pool.topology().host(1)?.namespace(), "input", "tcp dport 53 drop")?;
    }
    for (options, limit) in [(&["+noedns"][..], 512), (&["+bufsize=512"], 512), (&["+bufsize=900"], 900), (&["+bufsize=4096"], 1232)] {
        let ask = |more: &[&str]| dig(&client, Plan(1).own().into(), ZONE, "A", &[options, more].concat());
        let cut = ask(&["+ignore"])?;
        let is_cut = |answer: &Answer| answer.flags.contains("tc") && answer.bytes <= limit && answer.bytes + 16 > limit;
        if !cut.as_ref().is_some_and(is_cut) {
            return Err(Verdict::new(Finding::Zone, format!("{options:?}: {cut:?}")).into());
        }
        let whole = ask(&[])?;
        if whole.as_ref().is_none_or(|answer| !answer.by_tcp || answer.addresses() != all) {
            return Err(Verdict::new(Finding::Zone, format!("{options:?}, again over TCP: {whole:?}")).into());
        }
    }
    pool.check()
}

fn turns(stage: &Stage, dns_keys: &str) -> Outcome {
    let servers = [1, 2, 3];
    let mut pool = Pool::build(stage, servers.map(HostConfig::server))?;
    for host in servers {
        pool.configure(host, |config| {
            config.name_servers = vec![Plan(1)];
            config.dns_keys = dns_keys.to_owned();
        })?;
    }
    pool.start_all()?;
    let client = pool.topology().client().clone();
    let server = Plan(1).own().into();
    // Each answer has one address: all are in the zone when a round names all of them once.
    let mut last = BTreeMap::new();
    let found = poll_until(within(LONG), || {
        last.clear();
        let mut is_short = true;
        for _ in 0..servers.len() {
            let Some(answer) = dig(&client, server, ZONE, "A", &[])? else { return Ok(None) };
            is_short &= answer.addresses().len() == 1;
            for address in answer.addresses() {
                *last.entry(address).or_insert(0) += 1;
            }
        }
        Ok((is_short && last.len() == servers.len() && last.values().all(|times| *times == 1)).then_some(()))
    })?;
    found.ok_or_else(|| Verdict::new(Finding::Zone, format!("three answers name {last:?}")))?;
    pool.check()
}

fn nobody_left(stage: &Stage, dns_keys: &str) -> Outcome {
    let servers = [1, 2];
    let mut pool = Pool::build(stage, servers.map(HostConfig::server))?;
    for host in servers {
        pool.configure(host, |config| {
            config.name_servers = servers.map(Plan).to_vec();
            config.dns_keys = dns_keys.to_owned();
        })?;
    }
    pool.start_all()?;
    let client = pool.topology().client().clone();
    let both: BTreeSet<IpAddr> = servers.map(service).into();
    wait_advertised(&client, ZONE, &servers, &both, within(LONG))?;
    pool.raisctl(1, &["quiesce"])?;
    wait_advertised(&client, ZONE, &servers, &[service(2)].into(), within(LONG))?;
    pool.raisctl(2, &["quiesce"])?;
    let wanted = wait_advertised(&client, ZONE, &servers, &both, within(Duration::from_secs(3)));
    if dns_keys.is_empty() {
        // Then nobody is in it, and that may be remembered for a moment only.
        let answer = dig(&client, Plan(2).own().into(), ZONE, "A", &[])?;
        let ttl = |answer: &Answer| answer.authority.iter().find(|record| record.kind == "SOA").map(|record| record.ttl);
        if answer.as_ref().is_none_or(|answer| answer.status != "NOERROR" || ttl(answer).is_none_or(|ttl| ttl > 5)) {
            return Err(Failure::broken(format!("no data, but: {answer:?}")));
        }
    }
    wanted?;
    pool.check()
}
