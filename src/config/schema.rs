//! Every key there is: its form, default and meaning.
//!
//! Owns the one list that unknown keys are checked against, that `raisd check --defaults` prints and that the tables of
//! `docs/reference.md` are compared with; those of tests and loads are in `schema/probe.rs`. Reads nothing: what a value must be
//! beyond its form is in the files after it.

mod probe;

pub(super) use probe::{
    FLAPPING, LOAD_AVERAGE, LOAD_CONNECTIONS, LOAD_CPU, LOAD_MEMORY, LOAD_NETWORK, LOAD_PRESSURE, LOAD_SCRIPT, TEST_DNS, TEST_FILE,
    TEST_HTTP, TEST_INTERFACE, TEST_PING, TEST_PROCESS, TEST_SCRIPT, TEST_SYSTEMD, TEST_TCP,
};

use Preset::{Absent, Needed, Off, Table, Unset, Value};
use Scope::{Group, Host};

/// A table of the configuration.
#[derive(Debug)]
pub(super) struct Section {
    /// As it is written: `[[group]]`.
    pub(super) header: &'static str,
    /// In one line.
    pub(super) meaning: &'static str,
    pub(super) keys: &'static [Key],
}

/// A key of a table.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What its value looks like, with units and limits.
    pub(super) form: &'static str,
    pub(super) preset: Preset,
    pub(super) scope: Scope,
    /// In one line.
    pub(super) meaning: &'static str,
}

/// What holds without the key. Values are written as in TOML.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Preset {
    /// The key is of the contract, its mechanism is not in this version.
    Absent,
    /// It has to be there.
    Needed { example: &'static str },
    /// The same, but one value says that the mechanism is not wanted and is accepted.
    Off { only: &'static str },
    /// A table of its own.
    Table,
    /// There is no value to write down.
    Unset { example: &'static str, otherwise: &'static str },
    /// This value.
    Value(&'static str),
}

/// Whose the key is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    /// Group-wide (G): the leader's value rules.
    Group,
    /// The host's own.
    Host,
}

impl Section {
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

const fn key(name: &'static str, form: &'static str, preset: Preset, scope: Scope, meaning: &'static str) -> Key {
    Key { name, form, preset, scope, meaning }
}

#[rustfmt::skip] // a key in two lines
pub(super) const ROOT: Section = Section {
    header: "",
    meaning: "The file.",
    keys: &[
        key("include", "array of files, `*` and `?` in the last part", Value("[]"), Host,
            "Further files, relative to this one, merged in the order of their names."),
        key("host", "table", Table, Host,
            "This host."),
        key("group", "array of tables", Table, Host,
            "The service groups of this host."),
        key("test", "tables by name", Table, Host,
            "The tests of this host."),
        key("load", "tables by name", Table, Host,
            "The loads of this host."),
        key("dns", "table", Table, Host,
            "The name server of this host."),
        key("snmp", "table", Absent, Host,
            "SNMP traps and AgentX."),
        key("web", "table", Absent, Host,
            "Status page and metrics."),
        key("recorder", "table", Absent, Host,
            "The flight recorder."),
        key("scheduling", "table", Absent, Host,
            "Real-time scheduling and locked memory."),
        key("directory", "table", Absent, Host,
            "The directory of a swarm."),
        key("latency", "array of tables", Absent, Host,
            "Latencies between locations of a swarm."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(super) const HOST: Section = Section {
    header: "[host]",
    meaning: "This host.",
    keys: &[
        key("control", "array of 1 to 8 addresses or interface names", Needed { example: "[\"10.0.0.11\", \"10.1.0.11\"]" }, Host,
            "Control addresses; of an interface its first global address. The order numbers the control networks."),
        key("id", "address", Unset { example: "\"10.0.0.11\"", otherwise: "the first control address" }, Host,
            "Host id: orders the hosts and names this one; unique in the pool."),
        key("name", "name", Unset { example: "\"web1\"", otherwise: "the hostname" }, Host,
            "For people, and for `[group.preferred]`."),
        key("state_dir", "absolute path", Value("\"/var/lib/raisd\""), Host,
            "What survives a restart; one daemon per directory."),
        key("socket", "absolute path, at most 107 bytes", Value("\"/run/raisd/raisd.sock\""), Host,
            "The API's Unix socket; its mode decides who may command."),
        key("location", "word", Value("\"\""), Host,
            "Where the host stands; travels, is used by the swarm."),
        key("capabilities", "array of at most 16 words", Value("[]"), Host,
            "What the host can do; travels, is used by the swarm."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(super) const GROUP: Section = Section {
    header: "[[group]]",
    meaning: "A service group of this host.",
    keys: &[
        key("name", "name", Needed { example: "\"www\"" }, Host,
            "The group's name, the same on all its hosts."),
        key("address", "multicast address, port 4242 unless given", Needed { example: "\"239.255.42.1:4242\"" }, Host,
            "Group address. Several groups may share one. Needed unless there are `peers`."),
        key("peers", "array of at most 64 addresses, each with or without the group's port", Value("[]"), Host,
            "Control addresses of other hosts, to talk by unicast instead of, or beside, the group address. One that lives is \
             enough: the others are learnt from it. This host's own count for nothing."),
        key("interface", "interface name", Needed { example: "\"eth0\"" }, Host,
            "Service interface: where the service addresses live."),
        key("role", "\"server\" or \"observer\"", Value("\"server\""), Host,
            "An observer hears everything, says not-ok and is assigned nothing."),
        key("placement", "\"leader\"", Off { only: "\"leader\"" }, Group,
            "Who decides: the leader, or each host of a swarm for itself."),
        key("preferred", "array of service addresses, or a table of such arrays by host name", Value("[]"), Host,
            "What this host brings into the group; nothing: a hot spare. Without prefix length /32 or /128, the recommended form."),
        key("floating", "array of service addresses", Value("[]"), Host,
            "Served though nobody prefers them; gone when the last live host that lists one drops it."),
        key("heartbeat", "duration, 5ms to 60s", Value("\"250ms\""), Group,
            "Time between two info messages of a host."),
        key("timeout", "duration, 2 heartbeats to 1h", Value("\"1s\""), Group,
            "A host not heard for so long is silent."),
        key("orphan_lifetime", "duration, 1s to 100y", Value("\"1y\""), Group,
            "An address that no live host prefers expires after so long."),
        key("assign", "\"random\", \"fair\" or \"least-loaded\"", Value("\"random\""), Group,
            "How the leader picks among equals. fair: fewest addresses, then least utilized, then lowest id. \
             least-loaded: least utilized, then fewest addresses, then lowest id."),
        key("handover", "\"break\" or \"overlap\"", Value("\"break\""), Group,
            "Whether the next holder waits until the last one has let go. overlap needs a fence; without one it goes as break, \
             and the daemon says so."),
        key("failback", "duration, 0s to 100y, or \"never\"", Value("\"0s\""), Group,
            "A preferred host gets its address back when it has been well for so long."),
        key("rebalance", "duration, 0s to 100y, or \"never\"", Value("\"never\""), Group,
            "Floating addresses of an uneven pool are evened out after so long."),
        key("partition", "\"serve\"", Off { only: "\"serve\"" }, Group,
            "What a part of the pool does on its own: serve everything, or only with a majority."),
        key("witness", "array of addresses", Off { only: "[]" }, Host,
            "Addresses outside the pool that a well-connected host reaches."),
        key("lease", "\"off\"", Off { only: "\"off\"" }, Host,
            "Kernel lifetime of held addresses."),
        key("fence", "\"off\"", Off { only: "\"off\"" }, Host,
            "nftables fence that closes when the promise ends."),
        key("conflict", "\"off\"", Off { only: "\"off\"" }, Host,
            "Detection of other users of an address by ARP and ND."),
        key("all_failed", "\"release\" or \"keep\"", Value("\"release\""), Group,
            "What holders do when every host fails its tests."),
        key("accept", "array of at most 32 networks", Value("[]"), Host,
            "What this host may be given; empty: anything that the group knows."),
        key("key_file", "path, relative to the configuration file", Needed { example: "\"/etc/raisd/www.key\"" }, Host,
            "The group's keys, from `raisctl keygen`. Needed unless `insecure = true`."),
        key("insecure", "boolean", Value("false"), Host,
            "Without keys: anyone who reaches the control networks can command the group. Beside `key_file`: both are heard, \
             to bring keys into a running group."),
        key("tests", "array of names", Value("[]"), Host,
            "Tests that must pass for this host to be ok."),
        key("loads", "array of names", Value("[]"), Host,
            "Loads whose greatest utilization is sent."),
        key("scripts", "table", Table, Host,
            "Acquire and release scripts."),
        key("announce", "table", Table, Host,
            "Announcements of held addresses."),
        key("dns", "table", Table, Group,
            "The group's zone."),
        key("data_set", "array of tables", Absent, Host,
            "Data sets of a swarm."),
        key("fitness", "table", Absent, Group,
            "Fitness of hosts in a swarm."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(super) const SCRIPTS: Section = Section {
    header: "[group.scripts]",
    meaning: "Run directly, without a shell, as: SCRIPT ADDRESS PREFIX INTERFACE.",
    keys: &[
        key("acquire", "absolute path", Unset { example: "\"/etc/raisd/acquire\"", otherwise: "no script" }, Host,
            "Run after an address is on the interface; not 0: the address goes off again."),
        key("release", "absolute path", Unset { example: "\"/etc/raisd/release\"", otherwise: "no script" }, Host,
            "Run before an address goes off; it goes off whatever the script says."),
        key("timeout", "duration, 100ms to 1h", Value("\"30s\""), Host,
            "The script's process group gets TERM after so long, and KILL soon after."),
        key("user", "user name", Unset { example: "\"root\"", otherwise: "the daemon's user" }, Host,
            "Whom the scripts run as."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(super) const ANNOUNCE: Section = Section {
    header: "[group.announce]",
    meaning: "How neighbours learn where a held address is.",
    keys: &[
        key("method", "\"l2\" or \"none\"", Value("\"l2\""), Host,
            "l2: gratuitous ARP and unsolicited neighbour advertisements. none: the acquire script moves the traffic."),
        key("count", "integer, 1 to 100", Value("5"), Host,
            "Announcements after an acquire, spread over a second."),
        key("refresh", "duration, 1s to 1h", Value("\"30s\""), Host,
            "Time between two announcements of a held address."),
        key("unicast", "array of addresses", Off { only: "[]" }, Host,
            "Routers that are told directly as well."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(super) const GROUP_DNS: Section = Section {
    header: "[group.dns]",
    meaning: "The group's zone: the preferred addresses of the hosts that are ok and serve them.",
    keys: &[
        key("zone", "absolute domain name", Needed { example: "\"www.pool.example.\"" }, Group,
            "The zone's name; each group its own."),
        key("ttl", "duration in whole seconds, 0s to 1d", Value("\"5s\""), Group,
            "Time to live of the addresses."),
        key("high_water", "integer, 0 to 1000 percent", Value("80"), Group,
            "A host above it is the first to leave the zone."),
        key("low_water", "integer, 0 to high_water, percent", Value("60"), Group,
            "A host that left comes back below it."),
        key("min_addresses", "integer, 0 to 65535", Value("1"), Group,
            "So many addresses per family stay, whatever the load."),
        key("max_answers", "integer, 0 to 65535", Value("0"), Group,
            "So many addresses per answer, rotated; 0: as many as fit."),
        key("when_empty", "\"nodata\" or \"all\"", Value("\"nodata\""), Group,
            "With nobody left: no data, or the preferred addresses of all live hosts."),
        key("nameservers", "table of address arrays by absolute domain name", Value("{}"), Group,
            "The zone's name servers, with addresses where the name is in the zone; the first by name is the primary. \
             None: the zone has no NS record and its own name is the primary."),
        key("contact", "mail address", Unset { example: "\"hostmaster@www.pool.example\"", otherwise: "hostmaster@ZONE" }, Group,
            "Who answers for the zone."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(super) const DNS: Section = Section {
    header: "[dns]",
    meaning: "Makes this host a name server of its groups' zones.",
    keys: &[
        key("listen", "array of addresses, port 53 unless given",
            Unset { example: "[\"10.0.0.11:53\"]", otherwise: "port 53 of the control addresses" }, Host,
            "Where to answer, UDP and TCP."),
        key("allow_transfer", "array of at most 32 addresses and networks", Value("[]"), Host,
            "Who is told under `_why` in a zone why addresses are withheld; zone transfers (AXFR) are refused to all."),
        key("notify", "array", Off { only: "[]" }, Host,
            "Who is told of changes (NOTIFY)."),
        key("zone_dir", "path", Absent, Host,
            "Where zone files are written."),
        key("zone_command", "path", Absent, Host,
            "What runs after a zone file changed."),
        key("update", "array", Off { only: "[]" }, Host,
            "Servers that zones are pushed to (RFC 2136)."),
        key("rate_limit", "integer, 0 to 1000000", Value("200"), Host,
            "Answers over UDP per second and client network (/24 of IPv4, /56 of IPv6); 0: no limit."),
        key("dnssec", "boolean", Off { only: "false" }, Host,
            "Signed zones."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(super) const KEY_FILE: Section = Section {
    header: "key file",
    meaning: "What `key_file` names.",
    keys: &[
        key("key", "array of 1 to 16 tables", Needed { example: "[[key]]" }, Host,
            "The keys of the group."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(super) const KEY: Section = Section {
    header: "[[key]]",
    meaning: "One key, in a key file.",
    keys: &[
        key("id", "integer, 0 to 4294967295", Needed { example: "17" }, Host,
            "Names the key; in every datagram."),
        key("use", "\"send\" or \"receive\"", Value("\"send\""), Host,
            "send: seals and opens; the first such key seals. receive: opens only."),
        key("secret", "64 hexadecimal digits", Needed { example: "\"...\"" }, Host,
            "256 random bits."),
    ],
};

/// All tables of the configuration, in the order of the reference.
pub(super) const SECTIONS: &[&Section] = &[
    &ROOT,
    &HOST,
    &GROUP,
    &SCRIPTS,
    &ANNOUNCE,
    &GROUP_DNS,
    &TEST_TCP,
    &TEST_HTTP,
    &TEST_DNS,
    &TEST_SCRIPT,
    &TEST_PROCESS,
    &TEST_SYSTEMD,
    &TEST_PING,
    &TEST_INTERFACE,
    &FLAPPING,
    &TEST_FILE,
    &LOAD_CPU,
    &LOAD_NETWORK,
    &LOAD_AVERAGE,
    &LOAD_MEMORY,
    &LOAD_CONNECTIONS,
    &LOAD_PRESSURE,
    &LOAD_SCRIPT,
    &DNS,
];
