//! TOML text to a validated [`Config`], or all errors with their places.
//!
//! [`load`] reads a file as `raisd run` and `raisd check` do, [`load_text`] a text against given facts about a machine.
//! Neither starts, opens or changes anything; a configuration with an error has no effect at all. The core sees only
//! [`NodePolicy`], each port its own part.
//!
//! ```text
//!   tree       TOML and includes to values with places         fault      what is wrong, and how it is shown
//!   schema     every key, its form, default and meaning        reader     takes keys out of a table, finds the unknown ones
//!   host  group  service  zone  name_server  probe  key
//!   recorder   what the keys mean
//!   ahead      keys whose mechanism this version has not
//!   relation   what must hold between groups and host          defaults   `raisd check --defaults`
//! ```

mod address;
mod ahead;
mod defaults;
mod environment;
mod fault;
mod group;
mod host;
mod key;
mod name_server;
mod probe;
mod reader;
mod recorder;
mod relation;
mod scalar;
mod schema;
mod service;
#[cfg(test)]
mod tests;
mod tree;
mod zone;

pub use defaults::defaults;
pub use environment::{Environment, Facts, FileFacts};
pub use fault::{ConfigErrors, Excerpt, Fault, FaultPlace, Severity};
pub use key::{KeyError, append_key, generate_key, key_file_text};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::fault::{Exposure, Faults, Problem, Reported};
use self::group::{Context, GroupParts, GroupRead};
use self::host::HostRead;
use self::name_server::NameServer;
use self::probe::Probes;
use self::reader::Reader;
use self::relation::Networks;
use self::schema::{DNS, GROUP, HOST, RECORDER, ROOT};
use self::tree::{Content, Table};
use crate::node::event::GroupIndex;
use crate::ports::dns::DnsSettings;
use crate::ports::multicast::ControlSettings;
use crate::ports::probe::{LoadSpec, TestSpec};
use crate::ports::script::GroupScripts;
use crate::types::policy::{HostPolicy, NodePolicy};
use crate::wire::seal::Protection;

/// A validated configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// What the core reads. A control interface that has no address yet stands in [`HostPolicy::control`] as the
    /// unspecified address, so that the places keep the numbers of the networks.
    pub policy: NodePolicy,
    /// Where state is kept.
    pub state_dir: PathBuf,
    /// The API's Unix socket.
    pub socket: PathBuf,
    /// Control networks and group addresses. Here and in `dns` a group's number is its place in `policy.groups`.
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
    /// What the flight recorder may take on disk, in bytes; 0: nothing is recorded.
    pub recorder: u64,
    /// What an operator should look at, though the daemon runs with it.
    pub warnings: Vec<Fault>,
}

/// Reads a configuration file, with what it includes and the key files that it names.
///
/// # Errors
/// All that is wrong, with the places.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    load_file(path, &Environment::System)
}

/// The files of a configuration: the first one, and those that it includes as far as it can be read.
#[must_use]
pub fn files(path: &Path) -> Vec<PathBuf> {
    let (name, environment, mut faults) = (path.display().to_string(), Environment::System, Faults::default());
    let mut files = vec![path.to_owned()];
    if let Ok(file) = environment.read(path)
        && let Ok(text) = String::from_utf8(file.content)
        && let Ok(mut root) = tree::parse(name.clone(), &text, Exposure::Secret, &mut faults)
    {
        files.extend(tree::included_paths(&name, &mut root, &environment, &mut faults).into_iter().map(|(path, _)| path));
    }
    files
}

/// Where a daemon with this configuration keeps its state; where it does by default, if the file cannot be read or is wrong.
#[must_use]
pub fn state_dir(path: &Path) -> PathBuf {
    load(path).map_or_else(|_| PathBuf::from(host::STATE_DIR), |config| config.state_dir)
}

fn load_file(path: &Path, environment: &Environment) -> Result<Config, ConfigErrors> {
    let name = path.display().to_string();
    let mut faults = Faults::default();
    let read = match environment.read(path) {
        Ok(file) => tree::text_of(&name, file.content, Exposure::Shown, &mut faults),
        Err(error) => {
            let problem = Problem::nowhere(format!("cannot read {name}: {error}"));
            Err(faults.error(problem.help("--config names another file; `raisd check --defaults` prints one to start from")))
        }
    };
    match read {
        Ok(text) => finish(&name, &text, environment, faults),
        Err(_) => Err(ConfigErrors::of(faults.into_faults())),
    }
}

/// Reads a configuration that is at hand as text. `name` stands in messages and is what relative file names start from;
/// with [`Environment::Fixed`] nothing outside the arguments is touched.
///
/// # Errors
/// All that is wrong, with the places.
pub fn load_text(name: &str, text: &str, environment: &Environment) -> Result<Config, ConfigErrors> {
    finish(name, text, environment, Faults::default())
}

fn finish(name: &str, text: &str, environment: &Environment, mut faults: Faults) -> Result<Config, ConfigErrors> {
    let read = tree::parse(name.to_owned(), text, Exposure::Shown, &mut faults).and_then(|mut root| {
        tree::include(name, &mut root, environment, &mut faults);
        read(&root, environment, &mut faults)
    });
    let has_errors = faults.has_errors();
    let warnings = faults.into_faults();
    match read {
        Ok(config) if !has_errors => Ok(Config { warnings, ..config }),
        Ok(_) | Err(_) => Err(ConfigErrors::of(warnings)),
    }
}

/// Everything is read before anything is given up, so that all errors are seen at once.
fn read(root: &Table, environment: &Environment, faults: &mut Faults) -> Result<Config, Reported> {
    let root = Reader::open(&ROOT, root, faults);
    let host = read_host(&root, environment, faults);
    let probes = Probes::read(&root, environment, faults);
    let host_name = host.as_ref().ok().and_then(|host| host.name.as_deref().ok());
    let groups = read_groups(&root, &Context { environment, host_name, probes: &probes }, faults);
    let (mut groups, are_all_tables) = groups;
    relation::check_groups(&groups, faults);
    let networks = host.as_ref().map_err(|reported| *reported).and_then(|host| relation::resolve(host, &groups, environment, faults));
    let recorder = root.table("recorder", &RECORDER, faults).and_then(|recorder| recorder::read(recorder, faults));
    let name_server = root.table("dns", &DNS, faults).and_then(|dns| {
        let Some(dns) = dns else { return Ok(None) };
        let known = networks.as_ref().map(|networks| networks.addresses.as_slice()).unwrap_or_default();
        let known: Vec<_> = known.iter().copied().filter(|address| !address.is_unspecified()).collect();
        // Without networks there is an error already, and no default to speak of.
        if networks.is_err() && dns.value("listen").is_none() {
            return networks.as_ref().map(|_| None).map_err(|reported| *reported);
        }
        NameServer::read(&dns, &known, faults).map(Some)
    });
    are_all_tables?;
    groups.sort_by(|a, b| a.name.as_ref().map(|name| &name.value).cmp(&b.name.as_ref().map(|name| &name.value)));
    let parts: Vec<GroupParts> = groups.into_iter().map(|group| group.parts).collect::<Result<_, _>>()?;
    assemble(host?, networks?, probes, parts, name_server?, recorder?)
}

fn read_host(root: &Reader<'_>, environment: &Environment, faults: &mut Faults) -> Result<HostRead, Reported> {
    match root.table("host", &HOST, faults)? {
        Some(host) => Ok(HostRead::read(&host, environment, faults)),
        None => {
            let problem = Problem::at(root.place, "there is no table [host]").expects("[host] with control = [\"10.0.0.11\"]");
            Err(faults.error(problem))
        }
    }
}

fn read_groups(root: &Reader<'_>, context: &Context<'_>, faults: &mut Faults) -> (Vec<GroupRead>, Result<(), Reported>) {
    let Some(value) = root.value("group") else {
        let problem = Problem::at(root.place, "there is no group").expects("at least one [[group]]");
        return (Vec::new(), Err(faults.error(problem)));
    };
    let values = if let Content::List(values) = &value.content { values.as_slice() } else { &[] };
    if values.is_empty() {
        let problem = Problem::at(value.place, format!("group is {}", value.content.kind()));
        return (Vec::new(), Err(faults.error(problem.expects("[[group]] in double brackets, one for each group"))));
    }
    let mut groups = Vec::new();
    let mut are_all_tables = Ok(());
    for value in values {
        let Content::Table(table) = &value.content else {
            let problem = Problem::at(value.place, format!("an entry of group is {}", value.content.kind()));
            are_all_tables = Err(faults.error(problem.expects("a table [[group]]")));
            continue;
        };
        let mut reader = Reader::open(&GROUP, table, faults);
        reader.place = value.place;
        groups.push(GroupRead::read(&reader, context, faults));
    }
    (groups, are_all_tables)
}

fn assemble(
    host: HostRead,
    networks: Networks,
    probes: Probes,
    groups: Vec<GroupParts>,
    name_server: Option<NameServer>,
    recorder: u64,
) -> Result<Config, Reported> {
    let zone = |(index, group): (usize, &GroupParts)| Some((GroupIndex(index), group.policy.shared.zone.clone()?));
    let (tests, test_policies) = probes.tests?.into_iter().unzip();
    let host_policy = HostPolicy {
        id: networks.id,
        name: host.name?,
        control: networks.addresses,
        location: host.location?,
        capabilities: host.capabilities?,
    };
    let dns = name_server.map(|server| DnsSettings {
        listen: server.listen,
        zones: groups.iter().enumerate().filter_map(zone).collect(),
        nsid: host_policy.name.clone(),
        allow_transfer: server.allow_transfer,
        rate_limit: server.rate_limit,
    });
    let mut config = Config {
        policy: NodePolicy { host: host_policy, groups: Vec::new(), tests: test_policies },
        state_dir: host.state_dir?,
        socket: host.socket?,
        control: ControlSettings { networks: networks.networks, groups: BTreeMap::new() },
        protection: Vec::new(),
        scripts: Vec::new(),
        tests,
        loads: probes.loads?,
        dns,
        recorder,
        warnings: Vec::new(),
    };
    for (index, group) in groups.into_iter().enumerate() {
        config.policy.groups.push(group.policy);
        config.control.groups.insert(GroupIndex(index), group.address);
        config.protection.push(group.protection);
        config.scripts.push(group.scripts);
    }
    Ok(config)
}
