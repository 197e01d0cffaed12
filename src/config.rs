//! TOML text to a validated [`Config`], or errors with their places.

use std::path::PathBuf;

use crate::ports::dns::DnsSettings;
use crate::ports::multicast::ControlSettings;
use crate::ports::probe::{LoadSpec, TestSpec};
use crate::ports::script::GroupScripts;
use crate::types::policy::NodePolicy;
use crate::wire::seal::Protection;

/// A validated configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// What the core reads.
    pub policy: NodePolicy,
    /// Where state is kept.
    pub state_dir: PathBuf,
    /// The API's Unix socket.
    pub socket: PathBuf,
    /// Control networks and group addresses.
    pub control: ControlSettings,
    /// How each group's datagrams are protected, in the order of the groups.
    pub protection: Vec<Protection>,
    /// Each group's scripts, in the order of the groups.
    pub scripts: Vec<GroupScripts>,
    /// Tests, ordered by name.
    pub tests: Vec<TestSpec>,
    /// Loads, ordered by name.
    pub loads: Vec<LoadSpec>,
    /// The zones, if the host is a name server.
    pub dns: Option<DnsSettings>,
}
