//! `[test.X]`, kind by kind.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use hickory_proto::rr::RecordType;

use super::{Kind, command, each_once, numbers, open, times};
use crate::config::environment::Environment;
use crate::config::fault::{Faults, Problem, Reported};
use crate::config::reader::{Placed, Reader, absolute, accepted, address};
use crate::config::scalar;
use crate::config::schema::{
    FLAPPING, TEST_DNS, TEST_FILE, TEST_HTTP, TEST_INTERFACE, TEST_PING, TEST_PROCESS, TEST_SCRIPT, TEST_SYSTEMD, TEST_TCP,
};
use crate::config::tree::Entry;
use crate::ports::probe::{DnsTest, FileWanted, Flapping, HttpTest, InterfaceTest, TestKind, TestSpec};
use crate::types::policy::TestPolicy;

const RISE: u32 = 2;
const FALL: u32 = 3;
const STREAK_MAX: u32 = 1_000;

const BODY_BYTES_MAX: usize = 1_024;
const STATUS_MAX: usize = 64;
const EXPECT_MAX: usize = 16;

/// The longest name of a file.
const NAME_BYTES_MAX: usize = 255;

const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
/// What fits into a socket address (unix(7)).
const SOCKET_BYTES_MAX: usize = 107;

const FLAPPING_CHANGES: u32 = 4;
const FLAPPING_CHANGES_MAX: u32 = 1_000;
const FLAPPING_WITHIN: Duration = Duration::from_secs(60);
const FLAPPING_WITHIN_MIN: Duration = Duration::from_secs(1);
const FLAPPING_WITHIN_MAX: Duration = Duration::from_secs(86_400);

const AGE_MIN: Duration = Duration::from_secs(1);

const KINDS: &[Kind<TestKind>] = &[
    Kind { word: "tcp", section: &TEST_TCP, read: tcp },
    Kind { word: "http", section: &TEST_HTTP, read: http },
    Kind { word: "dns", section: &TEST_DNS, read: dns },
    Kind { word: "script", section: &TEST_SCRIPT, read: script },
    Kind { word: "process", section: &TEST_PROCESS, read: process },
    Kind { word: "systemd", section: &TEST_SYSTEMD, read: systemd },
    Kind { word: "ping", section: &TEST_PING, read: ping },
    Kind { word: "interface", section: &TEST_INTERFACE, read: interface },
    Kind { word: "file", section: &TEST_FILE, read: file },
];

pub(super) fn read(entry: &Entry, environment: &Environment, faults: &mut Faults) -> Result<(TestSpec, TestPolicy), Reported> {
    let (reader, kind) = open("test", entry, KINDS, faults)?;
    let kind = (kind.read)(&reader, environment, faults);
    let times = times(&reader, faults);
    let rise = reader.integer("rise", RISE, 1..=STREAK_MAX, faults);
    let fall = reader.integer("fall", FALL, 1..=STREAK_MAX, faults);
    let (interval, timeout) = times?;
    let name = entry.key.clone();
    Ok((TestSpec { name: name.clone(), interval, timeout, kind: kind? }, TestPolicy { name, rise: rise?, fall: fall? }))
}

fn tcp(reader: &Reader<'_>, _: &Environment, faults: &mut Faults) -> Result<TestKind, Reported> {
    let form = |text: &str| if scalar::host_and_port(text) { Ok(()) } else { Err(String::from("\"HOST:PORT\"")) };
    let address = reader.needed_text("address", faults).and_then(|address| accepted("address", address, form, faults));
    let source = source(reader, None, faults);
    Ok(TestKind::Tcp { address: address?.value.to_owned(), source: source? })
}

fn http(reader: &Reader<'_>, environment: &Environment, faults: &mut Faults) -> Result<TestKind, Reported> {
    let url = reader.needed_text("url", faults).and_then(|url| accepted("url", url, scalar::http_url, faults));
    let host = reader.checked_text("host", scalar::host_header, faults);
    let source = source(reader, None, faults);
    let status = match reader.value("status") {
        Some(value) => numbers("status", value, 100..=599, faults).and_then(|codes| each_once("status", value, codes, STATUS_MAX, faults)),
        None => Ok(Vec::new()),
    };
    let is_short = |text: &str| {
        let fits = (1..=BODY_BYTES_MAX).contains(&text.len());
        if fits { Ok(()) } else { Err(format!("1 to {BODY_BYTES_MAX} bytes of text")) }
    };
    let body = reader.checked_text("body", is_short, faults);
    let ca_file = ca_file(reader, environment, faults);
    let server_name = reader.checked_text("server_name", scalar::server_name, faults);
    let url = url?.value.to_owned();
    if url.starts_with("http://") {
        for key in ["ca_file", "server_name"] {
            if let Some(place) = reader.place_of(key) {
                faults.error(Problem::at(place, format!("{key} has no meaning without TLS")).expects("a url with https://"));
            }
        }
    }
    let owned = |text: Option<Placed<&str>>| text.map(|text| text.value.to_owned());
    Ok(TestKind::Http(HttpTest {
        url,
        host: owned(host?),
        source: source?,
        status: status?,
        body: owned(body?),
        ca_file: ca_file?,
        server_name: owned(server_name?),
    }))
}

/// It is read when the test runs, so that a renewed one is taken up; a test whose file is not there yet fails and says so.
fn ca_file(reader: &Reader<'_>, environment: &Environment, faults: &mut Faults) -> Result<Option<PathBuf>, Reported> {
    let Some(path) = reader.path("ca_file", faults)? else { return Ok(None) };
    let shown = path.value.display();
    match environment.read(&path.value) {
        Ok(file) if !String::from_utf8_lossy(&file.content).contains("-----BEGIN CERTIFICATE-----") => {
            let problem = Problem::at(path.place, format!("ca_file {shown} holds no certificate"));
            return Err(faults.error(problem.expects("certificates in PEM, which begin with -----BEGIN CERTIFICATE-----")));
        }
        Ok(_) => {}
        Err(error) => {
            let problem = Problem::at(path.place, format!("ca_file {shown} cannot be read: {error}")).expects("certificates in PEM");
            faults.warning(problem.help("until it can, every probe fails"));
        }
    }
    Ok(Some(path.value))
}

fn dns(reader: &Reader<'_>, _: &Environment, faults: &mut Faults) -> Result<TestKind, Reported> {
    let server = reader.needed_text("server", faults).and_then(|text| {
        let problem = Problem::at(text.place, format!("server cannot be {:?}", text.value));
        let server = scalar::endpoint(text.value, 53).filter(|server| server.port() != 0 && is_one_host(server.ip()));
        server.ok_or_else(|| faults.error(problem.expects("an address, with or without a port, like \"127.0.0.1:53\"")))
    });
    let name = reader.needed_text("name", faults).and_then(|text| {
        scalar::domain(text.value)
            .map_err(|expected| faults.error(Problem::at(text.place, format!("name cannot be {:?}", text.value)).expects(expected)))
    });
    let types = [
        ("A", RecordType::A),
        ("AAAA", RecordType::AAAA),
        ("CNAME", RecordType::CNAME),
        ("MX", RecordType::MX),
        ("NS", RecordType::NS),
        ("PTR", RecordType::PTR),
        ("SOA", RecordType::SOA),
        ("SRV", RecordType::SRV),
        ("TXT", RecordType::TXT),
    ];
    let record = reader.choice("type", RecordType::A, &types, faults);
    let expect = expect(reader, record.as_ref().ok().copied(), faults);
    let source = source(reader, server.as_ref().ok().map(|server| server.ip()), faults);
    Ok(TestKind::Dns(DnsTest { server: server?, name: name?, record: record?, expect: expect?, source: source? }))
}

/// Addresses in the form in which an answer shows them.
fn expect(reader: &Reader<'_>, record: Option<RecordType>, faults: &mut Faults) -> Result<Vec<String>, Reported> {
    let texts = reader.texts("expect", faults)?;
    if let Some(beyond) = texts.get(EXPECT_MAX) {
        let problem = Problem::at(beyond.place, format!("expect has {} entries", texts.len()));
        return Err(faults.error(problem.expects(format!("at most {EXPECT_MAX}"))));
    }
    let mut all = Vec::new();
    let mut faulty = Ok(());
    for text in texts {
        let (is_fit, expected) = match record {
            Some(RecordType::A) => (text.value.parse().is_ok_and(|address: IpAddr| address.is_ipv4()), "an IPv4 address"),
            Some(RecordType::AAAA) => (text.value.parse().is_ok_and(|address: IpAddr| address.is_ipv6()), "an IPv6 address"),
            Some(_) | None => (!text.value.is_empty(), "the record as in a zone file"),
        };
        if !is_fit {
            faulty = Err(faults.error(Problem::at(text.place, format!("expect cannot be {:?}", text.value)).expects(expected)));
        }
        all.push(text.value.parse().map_or_else(|_| text.value.to_owned(), |address: IpAddr| address.to_string()));
    }
    faulty.map(|()| all)
}

fn script(reader: &Reader<'_>, environment: &Environment, faults: &mut Faults) -> Result<TestKind, Reported> {
    command(reader, environment, faults).map(|command| TestKind::Script { command })
}

fn process(reader: &Reader<'_>, _: &Environment, faults: &mut Faults) -> Result<TestKind, Reported> {
    let form = |text: &str| {
        let fits = (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.contains(['/', '\0']);
        if fits { Ok(()) } else { Err(String::from("the name of a program, without its path")) }
    };
    let name = reader.needed_text("name", faults).and_then(|name| accepted("name", name, form, faults));
    let pid_file = reader.path("pid_file", faults);
    Ok(TestKind::Process { name: name?.value.to_owned(), pid_file: pid_file?.map(|path| path.value) })
}

fn systemd(reader: &Reader<'_>, _: &Environment, faults: &mut Faults) -> Result<TestKind, Reported> {
    let unit = reader.needed_text("unit", faults).and_then(|unit| accepted("unit", unit, scalar::unit, faults));
    let form = |text: &str| {
        absolute(text)?;
        if text.len() <= SOCKET_BYTES_MAX { Ok(()) } else { Err(format!("a path of at most {SOCKET_BYTES_MAX} bytes")) }
    };
    let bus = reader.checked_text("bus", form, faults);
    Ok(TestKind::Systemd { unit: unit?.value.to_owned(), bus: bus?.map_or(SYSTEM_BUS, |bus| bus.value).into() })
}

fn ping(reader: &Reader<'_>, _: &Environment, faults: &mut Faults) -> Result<TestKind, Reported> {
    let target = reader.needed_text("address", faults).and_then(|text| host_address("address", text, faults));
    let source = source(reader, target.as_ref().ok().copied(), faults);
    Ok(TestKind::Ping { address: target?, source: source? })
}

fn interface(reader: &Reader<'_>, _: &Environment, faults: &mut Faults) -> Result<TestKind, Reported> {
    let name = reader.needed_text("interface", faults).and_then(|name| accepted("interface", name, scalar::interface, faults));
    let carrier = reader.flag("carrier", true, faults);
    let flapping = reader.table("flapping", &FLAPPING, faults).and_then(|table| {
        let Some(table) = table else { return Ok(None) };
        let changes = table.integer("changes", FLAPPING_CHANGES, 1..=FLAPPING_CHANGES_MAX, faults);
        let within = table.duration("within", FLAPPING_WITHIN, FLAPPING_WITHIN_MIN..=FLAPPING_WITHIN_MAX, faults);
        Ok(Some(Flapping { changes: changes?, within: within? }))
    });
    Ok(TestKind::Interface(InterfaceTest { interface: name?.value.to_owned(), carrier: carrier?, flapping: flapping? }))
}

fn file(reader: &Reader<'_>, _: &Environment, faults: &mut Faults) -> Result<TestKind, Reported> {
    let path = reader.needed_text("path", faults).and_then(|path| accepted("path", path, absolute, faults));
    let present = reader.flag("present", true, faults);
    let max_age = match reader.place_of("max_age") {
        Some(_) => reader.duration("max_age", AGE_MIN, AGE_MIN..=scalar::DURATION_MAX, faults).map(Some),
        None => Ok(None),
    };
    let wanted = match (present?, reader.place_of("max_age")) {
        (false, Some(place)) => {
            let problem = Problem::at(place, "max_age has no meaning for a file that must not be there");
            return Err(faults.error(problem.expects("present = true, or no max_age")));
        }
        (false, None) => FileWanted::Absent,
        (true, _) => FileWanted::Present { max_age: max_age? },
    };
    Ok(TestKind::File { path: path?.value.into(), wanted })
}

/// The address to ask from; of the family of `target`, where that is known.
fn source(reader: &Reader<'_>, target: Option<IpAddr>, faults: &mut Faults) -> Result<Option<IpAddr>, Reported> {
    let Some(text) = reader.text("source", faults)? else { return Ok(None) };
    let source = host_address("source", text, faults)?;
    match target {
        Some(target) if target.is_ipv4() != source.is_ipv4() => {
            let family = if target.is_ipv4() { "IPv4" } else { "IPv6" };
            let problem = Problem::at(text.place, format!("source {source} cannot reach {target}"));
            Err(faults.error(problem.expects(format!("an {family} address of this host"))))
        }
        Some(_) | None => Ok(Some(source)),
    }
}

fn host_address(key: &str, text: Placed<&str>, faults: &mut Faults) -> Result<IpAddr, Reported> {
    let address = address(key, text, faults)?.value;
    if is_one_host(address) {
        return Ok(address);
    }
    Err(faults.error(Problem::at(text.place, format!("{key} cannot be {address}")).expects("the address of one host")))
}

fn is_one_host(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !is_broadcast
}
