//! What can befall a pool: one value for each misfortune and each act of an operator.
//!
//! Faults are drawn before the run and only played in it, so a schedule can be printed, shortened and played again.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::machine::Number;

/// With which disk a host starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Memory {
    Kept,
    Lost,
    /// As it was at the start before the last.
    Yesterdays,
}

/// Which script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Script {
    Acquire,
    Release,
}

/// How a script misbehaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    Fails,
    Hangs,
    IsSlow(Duration),
}

/// What becomes of a configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Edit {
    /// The host prefers one more address, which another may prefer as well.
    Adds(IpAddr),
    TakesOut(IpAddr),
    /// Group-wide keys: orphan lifetime, assign.
    GroupKeys,
}

/// One misfortune or act. What `lasts` ends by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    // ---- networks ----
    Loses {
        per_thousand: u64,
        lasts: Duration,
    },
    Delays {
        most: Duration,
        lasts: Duration,
    },
    Reorders {
        most: Duration,
        lasts: Duration,
    },
    Duplicates {
        per_thousand: u64,
        lasts: Duration,
    },
    LosesParts {
        per_thousand: u64,
        lasts: Duration,
    },
    Replays {
        to: Number,
        datagrams: usize,
    },
    CutsOneWay {
        from: Number,
        to: Number,
        lasts: Duration,
    },
    CutsPair {
        one: Number,
        other: Number,
        lasts: Duration,
    },
    CutsNetwork {
        network: u8,
        lasts: Duration,
    },
    Flaps {
        network: u8,
        every: Duration,
        times: u32,
    },
    Isolates {
        host: Number,
        lasts: Duration,
    },
    Partitions {
        side: Vec<Number>,
        lasts: Duration,
    },
    LosesMulticast {
        lasts: Duration,
    },
    // ---- hosts ----
    Crashes {
        host: Number,
    },
    DaemonDies {
        host: Number,
    },
    Stops {
        host: Number,
    },
    Starts {
        host: Number,
        memory: Memory,
        behind: Duration,
    },
    Hangs {
        host: Number,
        lasts: Duration,
    },
    Stalls {
        host: Number,
        lasts: Duration,
    },
    ReadsFullQueue {
        host: Number,
        lasts: Duration,
        depth: usize,
    },
    Cloned {
        host: Number,
        lasts: Duration,
    },
    // ---- kernels ----
    KernelRefusesToAdd {
        host: Number,
        lasts: Duration,
    },
    KernelRefusesToRemove {
        host: Number,
        lasts: Duration,
    },
    AddressVanishes {
        address: IpAddr,
    },
    AddressByHand {
        host: Number,
        address: IpAddr,
        lasts: Duration,
    },
    /// Found at the next start, with our mark.
    LeftoverMarked {
        host: Number,
        address: IpAddr,
    },
    /// Found at the next start, put there by others, and taken off some time later.
    LeftoverUnmarked {
        host: Number,
        address: IpAddr,
        lasts: Duration,
    },
    // ---- scripts and tests ----
    ScriptMisbehaves {
        host: Number,
        script: Script,
        trouble: Trouble,
        lasts: Duration,
    },
    TestFails {
        host: Number,
        lasts: Duration,
    },
    TestFlaps {
        host: Number,
        every: Duration,
        times: u32,
    },
    Overloads {
        host: Number,
        percent: u32,
        lasts: Duration,
    },
    // ---- operators ----
    Quiesces {
        host: Number,
    },
    Drains {
        host: Number,
    },
    Resumes {
        host: Number,
    },
    Freezes {
        host: Number,
        lasts: Duration,
    },
    Thaws {
        host: Number,
    },
    Reloads {
        host: Number,
        edit: Edit,
    },
    Expires {
        host: Number,
        address: IpAddr,
    },
    Moves {
        host: Number,
        address: IpAddr,
        to: Option<Number>,
    },
    Rebalances {
        host: Number,
    },
}

impl Fault {
    /// What it is counted as.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Loses { .. } => "network loses",
            Self::Delays { .. } => "network delays",
            Self::Reorders { .. } => "network reorders",
            Self::Duplicates { .. } => "network duplicates",
            Self::LosesParts { .. } => "network loses parts of messages",
            Self::Replays { .. } => "network replays captures",
            Self::CutsOneWay { .. } => "one way cut",
            Self::CutsPair { .. } => "two hosts cut apart",
            Self::CutsNetwork { .. } => "one network cut",
            Self::Flaps { .. } => "network flaps",
            Self::Isolates { .. } => "host isolated",
            Self::Partitions { .. } => "partition",
            Self::LosesMulticast { .. } => "multicast lost",
            Self::Crashes { .. } => "host crashes",
            Self::DaemonDies { .. } => "daemon dies",
            Self::Stops { .. } => "host stops",
            Self::Starts { behind, .. } if !behind.is_zero() => "host starts, clock went back",
            Self::Starts { memory: Memory::Kept, .. } => "host starts",
            Self::Starts { memory: Memory::Lost, .. } => "host starts without state",
            Self::Starts { memory: Memory::Yesterdays, .. } => "host starts with yesterday's state",
            Self::Hangs { .. } => "host hangs",
            Self::Stalls { .. } => "host stalls",
            Self::ReadsFullQueue { .. } => "host reads a full queue",
            Self::Cloned { .. } => "host is cloned",
            Self::KernelRefusesToAdd { .. } => "kernel refuses to add",
            Self::KernelRefusesToRemove { .. } => "kernel refuses to remove",
            Self::AddressVanishes { .. } => "address vanishes",
            Self::AddressByHand { .. } => "address by hand",
            Self::LeftoverMarked { .. } => "marked leftover",
            Self::LeftoverUnmarked { .. } => "unmarked leftover",
            Self::ScriptMisbehaves { trouble: Trouble::Fails, .. } => "script fails",
            Self::ScriptMisbehaves { trouble: Trouble::Hangs, .. } => "script hangs",
            Self::ScriptMisbehaves { trouble: Trouble::IsSlow(_), .. } => "script is slow",
            Self::TestFails { .. } => "test fails",
            Self::TestFlaps { .. } => "test flaps",
            Self::Overloads { .. } => "host overloaded",
            Self::Quiesces { .. } => "operator quiesces",
            Self::Drains { .. } => "operator drains",
            Self::Resumes { .. } => "operator resumes",
            Self::Freezes { .. } => "operator freezes",
            Self::Thaws { .. } => "operator thaws",
            Self::Reloads { edit: Edit::Adds(_), .. } => "reload adds an address",
            Self::Reloads { edit: Edit::TakesOut(_), .. } => "reload takes an address out",
            Self::Reloads { edit: Edit::GroupKeys, .. } => "reload changes keys",
            Self::Expires { .. } => "operator expires",
            Self::Moves { .. } => "operator moves",
            Self::Rebalances { .. } => "operator rebalances",
        }
    }

    /// All of [`Self::kind`].
    pub(crate) const KINDS: [&'static str; 47] = [
        "network loses",
        "network delays",
        "network reorders",
        "network duplicates",
        "network loses parts of messages",
        "network replays captures",
        "one way cut",
        "two hosts cut apart",
        "one network cut",
        "network flaps",
        "host isolated",
        "partition",
        "multicast lost",
        "host crashes",
        "daemon dies",
        "host stops",
        "host starts, clock went back",
        "host starts",
        "host starts without state",
        "host starts with yesterday's state",
        "host hangs",
        "host stalls",
        "host reads a full queue",
        "host is cloned",
        "kernel refuses to add",
        "kernel refuses to remove",
        "address vanishes",
        "address by hand",
        "marked leftover",
        "unmarked leftover",
        "script fails",
        "script hangs",
        "script is slow",
        "test fails",
        "test flaps",
        "host overloaded",
        "operator quiesces",
        "operator drains",
        "operator resumes",
        "operator freezes",
        "operator thaws",
        "reload adds an address",
        "reload takes an address out",
        "reload changes keys",
        "operator expires",
        "operator moves",
        "operator rebalances",
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
