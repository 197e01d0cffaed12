//! What is probed: the tests and loads of this host, as configured.
//!
//! Holds values only, already checked by `config`. Read by `probe.rs` and the files of the kinds.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hickory_proto::rr::RecordType;

/// One test of this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestSpec {
    /// Its name.
    pub name: String,
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// A probe that takes longer has failed.
    pub timeout: Duration,
    /// What to probe.
    pub kind: TestKind,
}

/// What a test probes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TestKind {
    /// A name server has records of a name.
    Dns(DnsTest),
    /// A file is there, or is not.
    File {
        /// Its path.
        path: PathBuf,
        /// What passes.
        wanted: FileWanted,
    },
    /// A GET answers as it should.
    Http(HttpTest),
    /// A network interface is there and in order.
    Interface(InterfaceTest),
    /// An echo request is answered.
    Ping {
        /// Whom to ask.
        address: IpAddr,
        /// The address to ask from; `None`: the kernel's choice.
        source: Option<IpAddr>,
    },
    /// A process runs.
    Process {
        /// As `ps -o comm` shows it, or the file name of its first argument.
        name: String,
        /// Only the process whose id stands in this file counts.
        pid_file: Option<PathBuf>,
    },
    /// A program exits with 0.
    Script {
        /// The program and its arguments; run directly, no shell.
        command: Vec<String>,
    },
    /// A unit of systemd is active.
    Systemd {
        /// Its full name, such as `nginx.service`.
        unit: String,
        /// The socket of the system bus.
        bus: PathBuf,
    },
    /// A connection to `HOST:PORT` is accepted.
    Tcp {
        /// `HOST:PORT` as configured.
        address: String,
        /// The address to connect from; `None`: the kernel's choice.
        source: Option<IpAddr>,
    },
}

/// What passes as an answer of a name server: no error, and at least one record of the type, among them all those expected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsTest {
    /// Whom to ask.
    pub server: SocketAddr,
    /// An absolute name.
    pub name: String,
    /// The type to ask for.
    pub record: RecordType,
    /// Records that must be in the answer, as in a zone file without quotes; case does not matter.
    pub expect: Vec<String>,
    /// The address to ask from; `None`: the kernel's choice.
    pub source: Option<IpAddr>,
}

/// Whether a file should be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileWanted {
    /// It should not.
    Absent,
    /// It should.
    Present {
        /// And have been written within so long.
        max_age: Option<Duration>,
    },
}

/// What to ask a web server, and which answer passes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpTest {
    /// `http://HOST[:PORT]/PATH` or `https://HOST[:PORT]/PATH`.
    pub url: String,
    /// The Host header; `None`: host and port of the URL.
    pub host: Option<String>,
    /// The address to connect from; `None`: the kernel's choice.
    pub source: Option<IpAddr>,
    /// Status codes that pass; empty: 200 to 399.
    pub status: Vec<u16>,
    /// Text that the beginning of the body must contain.
    pub body: Option<String>,
    /// With https, whose signature the server's certificate needs: a PEM file; `None`: the certificates of this system.
    pub ca_file: Option<PathBuf>,
    /// With https, the name that the server is asked for (SNI) and that its certificate must be valid for; `None`: the name in
    /// the Host header.
    pub server_name: Option<String>,
}

/// When an interface passes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceTest {
    /// Its name.
    pub interface: String,
    /// Whether its link must be up.
    pub carrier: bool,
    /// When its link is too unsteady; `None`: never.
    pub flapping: Option<Flapping>,
}

/// A link is flapping while it has changed more than `changes` times `within` the last so long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flapping {
    /// Ups and downs that are still borne.
    pub changes: u32,
    /// The time that is looked back.
    pub within: Duration,
}

/// One load of this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadSpec {
    /// Its name.
    pub name: String,
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// A probe that takes longer has failed.
    pub timeout: Duration,
    /// What to probe.
    pub kind: LoadKind,
}

/// What a load measures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoadKind {
    /// Established TCP connections.
    Connections {
        /// To these ports of this host.
        ports: Vec<u16>,
        /// How many are a full load.
        capacity: u32,
    },
    /// Processor time not idle since the last probe, of all processors: load and capacity in milliseconds of a second times processors.
    Cpu,
    /// Processes that run or wait for processor or disk, on average: load and capacity in hundredths.
    LoadAverage {
        /// Over how long.
        average: LoadAveraged,
        /// How many are a full load; `None`: as many as there are processors.
        capacity: Option<u32>,
    },
    /// Memory that could not be given to a program that asked for it, of all: in mebibytes.
    Memory,
    /// What interfaces carried since the last probe, in kilobits per second: the greater direction of the interface with the
    /// greatest utilization.
    Network {
        /// Their names.
        interfaces: Vec<String>,
        /// What each carries in each direction, in kilobits per second; `None`: the speed of its link.
        capacity: Option<u32>,
    },
    /// The share of time in which work stood still for want of a resource: in hundredths of a percent.
    Pressure {
        /// Which.
        resource: Resource,
        /// How much of the work.
        stalled: Stalled,
        /// Over how long.
        average: PressureAveraged,
        /// Percent of the time that are a full load.
        capacity: u32,
    },
    /// A program that prints `LOAD CAPACITY`.
    Script {
        /// The program and its arguments; run directly, no shell.
        command: Vec<String>,
    },
}

/// The averages that the kernel keeps of its load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadAveraged {
    /// One minute.
    OneMinute,
    /// Five minutes.
    FiveMinutes,
    /// A quarter of an hour.
    FifteenMinutes,
}

/// What pressure is measured of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    /// Processors.
    Cpu,
    /// Disks and other devices.
    Io,
    /// Memory.
    Memory,
}

/// How much of the work stands still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stalled {
    /// All of it at once.
    Full,
    /// At least one task.
    Some,
}

/// The averages that the kernel keeps of pressure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PressureAveraged {
    /// Ten seconds.
    TenSeconds,
    /// One minute.
    OneMinute,
    /// Five minutes.
    FiveMinutes,
}
