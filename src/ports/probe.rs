//! Tests and loads: probes this host at an interval and reports each result.

use std::time::Duration;

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
    /// A connection to `HOST:PORT` is accepted.
    Tcp {
        /// `HOST:PORT` as configured.
        address: String,
    },
    /// A GET answers with a status from 200 to 399.
    Http {
        /// `http://HOST[:PORT]/PATH`.
        url: String,
    },
    /// A program exits with 0.
    Script {
        /// The program and its arguments; run directly, no shell.
        command: Vec<String>,
    },
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
    /// Processor time not idle since the last probe, of all processors: load and capacity in milliseconds of a second times processors.
    Cpu,
    /// A program that prints `LOAD CAPACITY`.
    Script {
        /// The program and its arguments; run directly, no shell.
        command: Vec<String>,
    },
}
