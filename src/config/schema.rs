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

use std::time::Duration;

use super::ahead::{Ahead, Form};
use Preset::{Needed, Table, Unset, Value};
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
#[derive(Clone, Copy, Debug)]
pub(super) enum Preset {
    /// The key is of the contract, its mechanism is not in this version.
    Ahead(Ahead),
    /// It has to be there.
    Needed { example: &'static str },
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

    /// Whether the table as a whole is ahead of this version.
    pub(super) fn is_ahead(&self) -> bool {
        self.keys.iter().all(|key| matches!(key.preset, Preset::Ahead(_)))
    }
}

const fn ahead(form: Form, off: &'static str, instead: &'static str) -> Preset {
    Preset::Ahead(Ahead { form, off, refused: &[], instead })
}

/// The same, with values that are errors.
const fn refused(form: Form, off: &'static str, refused: &'static [&'static str], instead: &'static str) -> Preset {
    Preset::Ahead(Ahead { form, off, refused, instead })
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
        key("snmp", "table", ahead(Form::Table(&SNMP), "", "nobody is sent a trap: have a program read `raisctl status --json`"), Host,
            "SNMP traps and AgentX."),
        key("web", "table", ahead(Form::Table(&WEB), "", "the same is told on the Unix socket: raisctl status --json"), Host,
            "Status page and metrics."),
        key("recorder", "table", Table, Host,
            "The flight recorder."),
        key("scheduling", "table", ahead(Form::Table(&SCHEDULING), "", "the daemon runs like any other; the unit file can give it CPUSchedulingPolicy="), Host,
            "Real-time scheduling and locked memory."),
        key("directory", "table", ahead(Form::Table(&DIRECTORY), "", "hosts find each other through their groups' messages"), Host,
            "The directory of a swarm."),
        key("latency", "array of tables", ahead(Form::Tables(&LATENCY), "", "only a swarm reads latencies"), Host,
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
        key("placement", "\"leader\" or \"swarm\"", refused(Form::Choice(&["leader", "swarm"]), "\"leader\"", &["\"swarm\""], "a leader places the addresses"), Group,
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
        key("partition", "\"serve\" or \"majority\"", refused(Form::Choice(&["serve", "majority"]), "\"serve\"", &["\"majority\""], "each part of a divided pool serves everything"), Group,
            "What a part of the pool does on its own: serve everything, or only with a majority."),
        key("witness", "array of addresses", ahead(Form::Addresses, "[]", "no witness is asked"), Host,
            "Addresses outside the pool that a well-connected host reaches."),
        key("lease", "duration from 1s, or \"off\"", ahead(Form::Duration(SECOND, "off"), "\"off\"", "the addresses of a daemon that hangs or is killed stay until it runs again"), Host,
            "Kernel lifetime of held addresses."),
        key("fence", "\"auto\", \"require\" or \"off\"", refused(Form::Choice(&["auto", "require", "off"]), "\"off\"", &["\"require\""], "a host that hangs goes on answering for its addresses"), Host,
            "nftables fence that closes when the promise ends."),
        key("conflict", "\"detect\", \"probe\" or \"off\"", refused(Form::Choice(&["detect", "probe", "off"]), "\"off\"", &["\"probe\""], "another user of an address is not looked for"), Host,
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
        key("data_set", "array of tables", ahead(Form::Tables(&DATA_SET), "", "only a swarm has data sets"), Host,
            "Data sets of a swarm."),
        key("fitness", "table", ahead(Form::Table(&FITNESS), "", "only a swarm reads it"), Group,
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
        key("unicast", "array of addresses", ahead(Form::Addresses, "[]", "routers learn from the announcements that everybody gets"), Host,
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
        key("notify", "array", ahead(Form::Endpoints(53), "[]", "nobody is told of changes: secondaries cannot be kept in step"), Host,
            "Who is told of changes (NOTIFY)."),
        key("zone_dir", "path", ahead(Form::Path, "", "no zone file is written"), Host,
            "Where zone files are written."),
        key("zone_command", "path", ahead(Form::Path, "", "no zone file is written"), Host,
            "What runs after a zone file changed."),
        key("update", "array", ahead(Form::Servers, "[]", "no other name server is told"), Host,
            "Servers that zones are pushed to (RFC 2136)."),
        key("rate_limit", "integer, 0 to 1000000", Value("200"), Host,
            "Answers over UDP per second and client network (/24 of IPv4, /56 of IPv6); 0: no limit."),
        key("dnssec", "boolean", refused(Form::Flag, "false", &["true"], "zones are not signed"), Host,
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

const SECOND: Duration = Duration::from_secs(1);

#[rustfmt::skip] // a key in two lines
pub(super) const DATA_SET: Section = Section {
    header: "[[group.data_set]]",
    meaning: "Something other than an address that a swarm manages.",
    keys: &[
        key("name", "word", ahead(Form::Text, "", SWARM), Host,
            "The data set's name."),
        key("location", "word", ahead(Form::Text, "", SWARM), Host,
            "Where it belongs."),
        key("url", "text", ahead(Form::Text, "", SWARM), Host,
            "Where its content is; for the scripts."),
        key("requires", "array of words", ahead(Form::Words, "", SWARM), Host,
            "Capabilities that a holder needs."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(super) const FITNESS: Section = Section {
    header: "[group.fitness]",
    meaning: "Which host of a swarm is the fittest.",
    keys: &[
        key("order", "array of words", ahead(Form::Words, "", SWARM), Group,
            "What counts, after capabilities and before the host id."),
        key("hysteresis", "duration", ahead(Form::Duration(Duration::ZERO, ""), "", SWARM), Group,
            "A difference of latency that is none."),
        key("residence", "duration", ahead(Form::Duration(Duration::ZERO, ""), "", SWARM), Group,
            "Nothing moves twice within it, except by failure."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(super) const SNMP: Section = Section {
    header: "[snmp]",
    meaning: "SNMP traps and AgentX.",
    keys: &[
        key("traps", "array of addresses, port 162 unless given", ahead(Form::Endpoints(162), "", SNMP_ABSENT), Host,
            "Who is sent traps."),
        key("version", "\"2c\" or \"3\"", ahead(Form::Choice(&["2c", "3"]), "", SNMP_ABSENT), Host,
            "Version of SNMP."),
        key("credentials_file", "absolute path", ahead(Form::Path, "", SNMP_ABSENT), Host,
            "User, authentication and privacy keys of version 3."),
        key("agentx", "absolute path", ahead(Form::Path, "", SNMP_ABSENT), Host,
            "Socket of the agent that the tables are registered with."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(super) const WEB: Section = Section {
    header: "[web]",
    meaning: "Status page and metrics.",
    keys: &[
        key("listen", "address, port 4243 unless given", ahead(Form::Endpoint(4243), "", "there is no page"), Host,
            "Where to answer."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(super) const RECORDER: Section = Section {
    header: "[recorder]",
    meaning: "The flight recorder.",
    keys: &[
        key("size", "size", Value("\"64MiB\""), Host,
            "What the recordings may take in `state_dir/recorder`, at least `1MiB`; the oldest are overwritten. `0`: nothing is recorded."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(super) const SCHEDULING: Section = Section {
    header: "[scheduling]",
    meaning: "Real-time scheduling and locked memory.",
    keys: &[
        key("realtime", "boolean", ahead(Form::Flag, "", "ordinary priority"), Host,
            "Whether the daemon runs before all ordinary programs."),
        key("lock_memory", "boolean", ahead(Form::Flag, "", "memory may be swapped out"), Host,
            "Whether its memory stays in memory."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(super) const DIRECTORY: Section = Section {
    header: "[directory]",
    meaning: "Where the hosts of a swarm find each other.",
    keys: &[
        key("kind", "\"messages\" or \"etcd\"", refused(Form::Choice(&["messages", "etcd"]), "", &["\"etcd\""], "hosts find each other through their groups' messages"), Host,
            "The group's own messages, or etcd."),
        key("endpoints", "array of texts", ahead(Form::Words, "", SWARM), Host,
            "Where etcd answers."),
        key("ttl", "duration", ahead(Form::Duration(SECOND, ""), "", SWARM), Host,
            "Lease of a host."),
        key("ca_file", "absolute path", ahead(Form::Path, "", SWARM), Host,
            "Certificates that etcd's are checked against."),
        key("cert_file", "absolute path", ahead(Form::Path, "", SWARM), Host,
            "This host's certificate."),
        key("key_file", "absolute path", ahead(Form::Path, "", SWARM), Host,
            "This host's key."),
        key("user", "text", ahead(Form::Text, "", SWARM), Host,
            "User at etcd."),
    ],
};

#[rustfmt::skip] // a key in two lines
pub(super) const LATENCY: Section = Section {
    header: "[[latency]]",
    meaning: "Latency between two locations of a swarm.",
    keys: &[
        key("between", "array of two words", ahead(Form::Words, "", SWARM), Host,
            "The locations."),
        key("rtt", "duration", ahead(Form::Duration(Duration::ZERO, ""), "", SWARM), Host,
            "Time there and back."),
    ],
};

const SWARM: &str = "there is no swarm";
const SNMP_ABSENT: &str = "there is no SNMP";

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
    &RECORDER,
];
