//! Acquire and release scripts: run directly, each in a process group of its own, killed at the timeout.

use std::path::PathBuf;
use std::time::Duration;

/// The scripts of one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupScripts {
    /// `RAISD_GROUP`.
    pub group: String,
    /// `RAISD_INTERFACE`.
    pub interface: String,
    /// Run after an address is on.
    pub acquire: Option<PathBuf>,
    /// Run before an address goes off.
    pub release: Option<PathBuf>,
    /// TERM to the process group after so long, KILL soon after.
    pub timeout: Duration,
    /// The user to run them as; `None`: as the daemon.
    pub user: Option<String>,
}
