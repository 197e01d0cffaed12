//! The keys of tests and loads: a section for each kind.

use super::Preset::{Needed, Table, Unset, Value};
use super::Scope::Host;
use super::{Key, Section, key};

#[rustfmt::skip]
const INTERVAL: Key = key("interval", "duration, 10ms to 1h", Value("\"1s\""), Host,
    "From the start of one probe to the start of the next.");
#[rustfmt::skip]
const TIMEOUT: Key = key("timeout", "duration, 1ms to interval", Value("\"500ms\""), Host,
    "A probe that takes longer has failed; never more than `interval`.");
#[rustfmt::skip]
const RISE: Key = key("rise", "integer, 1 to 1000", Value("2"), Host,
    "So many passes in a row make a failing test pass.");
#[rustfmt::skip]
const FALL: Key = key("fall", "integer, 1 to 1000", Value("3"), Host,
    "So many failures in a row make a passing test fail.");
#[rustfmt::skip]
const SOURCE: Key = key("source", "address of this host", Unset { example: "\"10.0.0.11\"", otherwise: "the kernel's choice" }, Host,
    "Address to ask from (kinds tcp, http, dns and ping); the probe fails while this host does not have it.");

const TEST_KINDS: &str = "\"tcp\", \"http\", \"dns\", \"script\", \"process\", \"systemd\", \"ping\", \"interface\" or \"file\"";
const LOAD_KINDS: &str = "\"cpu\", \"network\", \"load-average\", \"memory\", \"connections\", \"pressure\" or \"script\"";
const COMMAND_FORM: &str = "absolute path, or array of it and its arguments";

#[rustfmt::skip] // a key in two lines
pub(in super::super) const TEST_TCP: Section = Section {
    header: "[test.port]",
    meaning: "A test that connects.",
    keys: &[
        key("kind", TEST_KINDS, Needed { example: "\"tcp\"" }, Host,
            "tcp: a connection is accepted."),
        key("address", "\"HOST:PORT\"", Needed { example: "\"127.0.0.1:5432\"" }, Host,
            "Where to connect (kind tcp)."),
        SOURCE,
        INTERVAL,
        TIMEOUT,
        RISE,
        FALL,
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const TEST_HTTP: Section = Section {
    header: "[test.web]",
    meaning: "A test that asks a web server.",
    keys: &[
        key("kind", TEST_KINDS, Needed { example: "\"http\"" }, Host,
            "http: a GET, over TLS if the URL says https, answers with the status and body expected. Redirects are not followed."),
        key("url", "\"http://HOST[:PORT]/PATH\" or \"https://HOST[:PORT]/PATH\"", Needed { example: "\"https://127.0.0.1/health\"" }, Host,
            "What to get (kind http)."),
        key("host", "\"HOST\" or \"HOST:PORT\"", Unset { example: "\"www.example.com\"", otherwise: "host and port of `url`" }, Host,
            "Host header: which of the server's sites is asked for (kind http)."),
        SOURCE,
        key("status", "integer, 100 to 599, or array of at most 64", Unset { example: "[200, 204]", otherwise: "200 to 399" }, Host,
            "Status codes that pass (kind http)."),
        key("body", "text of 1 to 1024 bytes", Unset { example: "\"ready\"", otherwise: "any body" }, Host,
            "Text that the first 64 KiB of the body contain, as it stands, case and all (kind http)."),
        key("ca_file", "absolute path of a PEM file",
            Unset { example: "\"/etc/raisd/ca.pem\"", otherwise: "the certificates that the system trusts" }, Host,
            "CA certificates, one of which has signed the server's (kind http, https only). Read again when it changes."),
        key("server_name", "domain name or address", Unset { example: "\"www.example.com\"", otherwise: "the host in `host`, else in `url`" }, Host,
            "Name that is sent to the server (SNI) and that its certificate must be valid for (kind http, https only)."),
        INTERVAL,
        TIMEOUT,
        RISE,
        FALL,
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const TEST_DNS: Section = Section {
    header: "[test.resolver]",
    meaning: "A test that asks a name server.",
    keys: &[
        key("kind", TEST_KINDS, Needed { example: "\"dns\"" }, Host,
            "dns: a name server answers without error and with at least one record of the type. UDP, and TCP after a truncated answer."),
        key("server", "address, port 53 unless given", Needed { example: "\"127.0.0.1\"" }, Host,
            "Whom to ask (kind dns)."),
        key("name", "absolute domain name", Needed { example: "\"www.example.com.\"" }, Host,
            "What to ask for (kind dns)."),
        key("type", "\"A\", \"AAAA\", \"CNAME\", \"MX\", \"NS\", \"PTR\", \"SOA\", \"SRV\" or \"TXT\"", Value("\"A\""), Host,
            "Type of the records (kind dns)."),
        key("expect", "array of at most 16 texts", Value("[]"), Host,
            "Records that must be among those of the answer, as in a zone file but without quotes (kind dns)."),
        SOURCE,
        INTERVAL,
        TIMEOUT,
        RISE,
        FALL,
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const TEST_SCRIPT: Section = Section {
    header: "[test.program]",
    meaning: "A test that runs a program.",
    keys: &[
        key("kind", TEST_KINDS, Needed { example: "\"script\"" }, Host,
            "script: a program exits with 0."),
        key("command", COMMAND_FORM, Needed { example: "[\"/etc/raisd/is-well\", \"--quick\"]" }, Host,
            "Run directly, without a shell (kind script)."),
        INTERVAL,
        TIMEOUT,
        RISE,
        FALL,
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const TEST_PROCESS: Section = Section {
    header: "[test.daemon]",
    meaning: "A test that looks for a process.",
    keys: &[
        key("kind", TEST_KINDS, Needed { example: "\"process\"" }, Host,
            "process: a process of that name runs; a zombie does not."),
        key("name", "text of 1 to 255 bytes without /", Needed { example: "\"nginx\"" }, Host,
            "As `ps -o comm` shows it, or the file name of its first argument (kind process)."),
        key("pid_file", "absolute path", Unset { example: "\"/run/nginx.pid\"", otherwise: "any process of that name" }, Host,
            "Only the process whose id stands in this file counts (kind process)."),
        INTERVAL,
        TIMEOUT,
        RISE,
        FALL,
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const TEST_SYSTEMD: Section = Section {
    header: "[test.unit]",
    meaning: "A test that asks systemd.",
    keys: &[
        key("kind", TEST_KINDS, Needed { example: "\"systemd\"" }, Host,
            "systemd: a unit is active, or reloading."),
        key("unit", "unit name with its suffix", Needed { example: "\"nginx.service\"" }, Host,
            "The unit (kind systemd)."),
        key("bus", "absolute path, at most 107 bytes", Value("\"/run/dbus/system_bus_socket\""), Host,
            "Socket of the system's D-Bus (kind systemd)."),
        INTERVAL,
        TIMEOUT,
        RISE,
        FALL,
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const TEST_PING: Section = Section {
    header: "[test.router]",
    meaning: "A test that sends an echo request.",
    keys: &[
        key("kind", TEST_KINDS, Needed { example: "\"ping\"" }, Host,
            "ping: one ICMP or ICMPv6 echo request is answered."),
        key("address", "address", Needed { example: "\"10.0.0.1\"" }, Host,
            "Whom to ask (kind ping)."),
        SOURCE,
        INTERVAL,
        TIMEOUT,
        RISE,
        FALL,
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const TEST_INTERFACE: Section = Section {
    header: "[test.link]",
    meaning: "A test that looks at a network interface.",
    keys: &[
        key("kind", TEST_KINDS, Needed { example: "\"interface\"" }, Host,
            "interface: a network interface is there, with carrier, and not flapping."),
        key("interface", "interface name", Needed { example: "\"eth0\"" }, Host,
            "The interface (kind interface)."),
        key("carrier", "boolean", Value("true"), Host,
            "Whether it must be switched on and have carrier (kind interface)."),
        key("flapping", "table", Table, Host,
            "When its carrier comes and goes too often (kind interface). Without the table: never."),
        INTERVAL,
        TIMEOUT,
        RISE,
        FALL,
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const FLAPPING: Section = Section {
    header: "[test.link.flapping]",
    meaning: "When the carrier of an interface comes and goes too often.",
    keys: &[
        key("changes", "integer, 1 to 1000", Value("4"), Host,
            "More changes than this fail the test; a loss and a return are two."),
        key("within", "duration, 1s to 1d", Value("\"1m\""), Host,
            "The time that is looked back, at most to the start of the test."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const TEST_FILE: Section = Section {
    header: "[test.backup]",
    meaning: "A test that looks for a file.",
    keys: &[
        key("kind", TEST_KINDS, Needed { example: "\"file\"" }, Host,
            "file: a file, or whatever else has that path, is there, or is not."),
        key("path", "absolute path", Needed { example: "\"/var/lib/backup/last\"" }, Host,
            "The file (kind file)."),
        key("present", "boolean", Value("true"), Host,
            "Whether it must be there, or must not (kind file)."),
        key("max_age", "duration, 1s to 100y", Unset { example: "\"25h\"", otherwise: "any age" }, Host,
            "It must have been written within so long (kind file)."),
        INTERVAL,
        TIMEOUT,
        RISE,
        FALL,
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const LOAD_CPU: Section = Section {
    header: "[load.cpu]",
    meaning: "A load that reads the processors.",
    keys: &[
        key("kind", LOAD_KINDS, Needed { example: "\"cpu\"" }, Host,
            "cpu: processor time that was not idle since the last probe, of all processors, in thousandths of a processor. \
             Time that a hypervisor withheld counts."),
        INTERVAL,
        TIMEOUT,
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const LOAD_NETWORK: Section = Section {
    header: "[load.network]",
    meaning: "A load that reads network interfaces.",
    keys: &[
        key("kind", LOAD_KINDS, Needed { example: "\"network\"" }, Host,
            "network: what interfaces carried since the last probe, in kilobits per second. Each direction of each interface counts by \
             itself; the greatest utilization is the load."),
        key("interfaces", "array of 1 to 16 interface names", Needed { example: "[\"eth0\"]" }, Host,
            "The interfaces (kind network)."),
        key("capacity", "whole number with kbit, Mbit, Gbit or Tbit", Unset { example: "\"1Gbit\"", otherwise: "the speed of each link" }, Host,
            "What each interface carries in a second, in each direction (kind network)."),
        INTERVAL,
        TIMEOUT,
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const LOAD_AVERAGE: Section = Section {
    header: "[load.average]",
    meaning: "A load that reads the load average.",
    keys: &[
        key("kind", LOAD_KINDS, Needed { example: "\"load-average\"" }, Host,
            "load-average: processes that run or wait for a processor or disk, in hundredths."),
        key("average", "\"1m\", \"5m\" or \"15m\"", Value("\"1m\""), Host,
            "Over how long (kind load-average)."),
        key("capacity", "integer, 1 to 1000000", Unset { example: "8", otherwise: "the number of processors" }, Host,
            "How many processes are a full load (kind load-average)."),
        INTERVAL,
        TIMEOUT,
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const LOAD_MEMORY: Section = Section {
    header: "[load.memory]",
    meaning: "A load that reads the memory.",
    keys: &[
        key("kind", LOAD_KINDS, Needed { example: "\"memory\"" }, Host,
            "memory: memory that is not available to programs, of all, in mebibytes (`MemTotal` less `MemAvailable`)."),
        INTERVAL,
        TIMEOUT,
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const LOAD_CONNECTIONS: Section = Section {
    header: "[load.clients]",
    meaning: "A load that counts connections.",
    keys: &[
        key("kind", LOAD_KINDS, Needed { example: "\"connections\"" }, Host,
            "connections: established TCP connections to ports of this host, IPv4 and IPv6."),
        key("ports", "array of 1 to 16 ports", Needed { example: "[80, 443]" }, Host,
            "The ports (kind connections)."),
        key("capacity", "integer, 1 to 4294967295", Needed { example: "10000" }, Host,
            "How many connections are a full load (kind connections)."),
        INTERVAL,
        TIMEOUT,
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const LOAD_PRESSURE: Section = Section {
    header: "[load.pressure]",
    meaning: "A load that reads the kernel's pressure stall information.",
    keys: &[
        key("kind", LOAD_KINDS, Needed { example: "\"pressure\"" }, Host,
            "pressure: share of the time in which tasks stood still for want of a resource, in hundredths of a percent. \
             Needs a kernel that keeps pressure stall information (`psi=1`)."),
        key("resource", "\"cpu\", \"io\" or \"memory\"", Needed { example: "\"memory\"" }, Host,
            "The resource (kind pressure)."),
        key("stalled", "\"some\" or \"full\"", Value("\"some\""), Host,
            "Time in which at least one task stood still, or all at once (kind pressure)."),
        key("average", "\"10s\", \"1m\" or \"5m\"", Value("\"10s\""), Host,
            "Over how long (kind pressure)."),
        key("capacity", "integer, 1 to 100 percent", Value("100"), Host,
            "The share that is a full load (kind pressure)."),
        INTERVAL,
        TIMEOUT,
    ],
};

#[rustfmt::skip] // a key in two lines
pub(in super::super) const LOAD_SCRIPT: Section = Section {
    header: "[load.sessions]",
    meaning: "A load that runs a program.",
    keys: &[
        key("kind", LOAD_KINDS, Needed { example: "\"script\"" }, Host,
            "script: a program prints LOAD CAPACITY, two whole numbers."),
        key("command", COMMAND_FORM, Needed { example: "\"/etc/raisd/sessions\"" }, Host,
            "Run directly, without a shell (kind script)."),
        INTERVAL,
        TIMEOUT,
    ],
};
