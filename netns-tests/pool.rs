//! A pool of real daemons: configurations, starts, stops, and what an operator would type.
//!
//! Owns the networks, one directory a host (private, so that nothing outlives the run) and one log a host
//! (`target/netns/STORY/HOST.log`). A story says what differs from [`HostConfig::server`]; everything else is the same in all.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use nix::sys::signal::Signal;
use raisd::demo::daemon::Daemon;
use raisd::demo::lab;
use raisd::demo::plan::{Network, Plan};
use raisd::demo::probes::Echo;
use raisd::demo::topology::Topology;
use serde_json::Value;

use crate::judge::within;
use crate::story::{Failure, Outcome, Stage};

/// The zone of every pool.
pub(crate) const ZONE: &str = "www.pool.example.";

const RAISD: &str = env!("CARGO_BIN_EXE_raisd");
const RAISCTL: &str = env!("CARGO_BIN_EXE_raisctl");

/// Of which family a pool's control networks and service addresses are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// The service address that a host prefers.
    pub(crate) fn service(self, number: u8) -> IpAddr {
        match self {
            Self::V4 => Plan(number).service().into(),
            Self::V6 => Plan(number).service_v6().into(),
        }
    }

    fn control(self, plan: Plan, network: u8) -> IpAddr {
        match self {
            Self::V4 => plan.control(network).into(),
            Self::V6 => plan.control_v6(network).into(),
        }
    }

    /// Where the first group talks.
    pub(crate) fn group_address(self) -> SocketAddr {
        match self {
            Self::V4 => SocketAddr::from(([239, 255, 42, 1], 4242)),
            Self::V6 => SocketAddr::from((Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0x42, 1), 4242)),
        }
    }
}

/// One host's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HostConfig {
    pub(crate) plan: Plan,
    pub(crate) family: Family,
    /// With prefix; none: a spare.
    pub(crate) preferred: Vec<String>,
    pub(crate) heartbeat: Duration,
    pub(crate) timeout: Duration,
    /// Whether it has a group address.
    pub(crate) multicast: bool,
    /// Hosts whose control addresses are its peers.
    pub(crate) peers: Vec<u8>,
    /// Over which control networks it talks.
    pub(crate) networks: Vec<u8>,
    /// Where the first group's addresses are put.
    pub(crate) interface: Network,
    /// Where its name server listens, if it is one.
    pub(crate) dns_port: u16,
    /// Of the zone.
    pub(crate) ttl: Duration,
    /// Another than the pool's key file.
    pub(crate) key_file: Option<PathBuf>,
    /// Without a key file, whatever the lines of `[[group]]` say instead.
    pub(crate) keyless: bool,
    /// Names of the hosts that are name servers; this host is one if it is among them.
    pub(crate) name_servers: Vec<Plan>,
    /// Lines of `[host]`.
    pub(crate) host_keys: String,
    /// Lines of `[[group]]`.
    pub(crate) group_keys: String,
    /// Lines of `[group.dns]`.
    pub(crate) dns_keys: String,
    /// The whole file, instead of everything else here.
    pub(crate) file: Option<String>,
    /// Where a name server listens; nothing: on its own address.
    pub(crate) listen: Vec<String>,
    /// Further lines of `[dns]`, on a name server.
    pub(crate) server_keys: String,
    /// Tables of the first group (`[group.scripts]`, `[group.announce]`), other groups, and everything else.
    pub(crate) tables: String,
}

impl HostConfig {
    /// A host that prefers its own service address.
    pub(crate) fn server(number: u8) -> Self {
        let plan = Plan(number);
        Self { preferred: vec![format!("{}/32", plan.service())], ..Self::spare(number) }
    }

    /// A host that prefers none.
    pub(crate) fn spare(number: u8) -> Self {
        Self {
            plan: Plan(number),
            family: Family::V4,
            preferred: Vec::new(),
            heartbeat: Duration::from_millis(100),
            timeout: Duration::from_millis(400),
            multicast: true,
            peers: Vec::new(),
            networks: vec![0, 1],
            interface: Network::Service,
            dns_port: 53,
            ttl: Duration::from_secs(5),
            key_file: None,
            keyless: false,
            name_servers: (1..=4).map(Plan).collect(),
            host_keys: String::new(),
            group_keys: String::new(),
            dns_keys: String::new(),
            file: None,
            listen: Vec::new(),
            server_keys: String::new(),
            tables: String::new(),
        }
    }

    /// The same host of a pool of another family.
    pub(crate) fn over(self, family: Family) -> Self {
        let prefix = if family == Family::V4 { 32 } else { 128 };
        let preferred = self.preferred.iter().map(|_| format!("{}/{prefix}", family.service(self.plan.0))).collect();
        Self { family, preferred, ..self }
    }

    /// The lines that say where the group talks.
    fn talk(&self) -> String {
        let address = if self.multicast { format!("address = \"{}\"\n", self.family.group_address()) } else { String::new() };
        let peers = self.peers.iter().flat_map(|number| [0, 1].map(|network| self.family.control(Plan(*number), network)));
        let peers: Vec<String> = peers.map(|address| format!("\"{address}\"")).collect();
        address + &format!("peers = [{}]", peers.join(", "))
    }

    fn to_toml(&self, directory: &Path, key: &Path) -> String {
        if let Some(file) = &self.file {
            return file.clone();
        }
        let plan = self.plan;
        let quoted = |texts: &[String]| texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ");
        let servers: Vec<_> = self.name_servers.iter().map(|plan| format!("\"n{}.{ZONE}\" = [\"{}\"]", plan.0, plan.own())).collect();
        let listen = if self.listen.is_empty() { format!("\"{}:{}\"", plan.own(), self.dns_port) } else { quoted(&self.listen) };
        let listen =
            if self.name_servers.contains(&plan) { format!("[dns]\nlisten = [{listen}]\n{}\n", self.server_keys) } else { String::new() };
        let control: Vec<String> = self.networks.iter().map(|network| self.family.control(plan, *network).to_string()).collect();
        let zone = if servers.is_empty() {
            String::new()
        } else {
            let (servers, ttl) = (servers.join(", "), self.ttl.as_secs());
            format!("[group.dns]\nzone = \"{ZONE}\"\nttl = \"{ttl}s\"\nnameservers = {{ {servers} }}\n{}\n", self.dns_keys)
        };
        format!(
            r#"[host]
name = "{name}"
control = [{control}]
state_dir = "{directory}/state"
socket = "{directory}/raisd.sock"
{host_keys}

[[group]]
name = "www"
{talk}
interface = "{interface}"
preferred = [{preferred}]
heartbeat = "{heartbeat}ms"
timeout = "{timeout}ms"
{key}
{group_keys}

{zone}
{tables}
{listen}"#,
            name = plan.name(),
            control = quoted(&control),
            talk = self.talk(),
            directory = directory.display(),
            host_keys = self.host_keys,
            interface = self.interface,
            preferred = quoted(&self.preferred),
            heartbeat = self.heartbeat.as_millis(),
            timeout = self.timeout.as_millis(),
            key = if self.keyless { String::new() } else { format!("key_file = \"{}\"", key.display()) },
            group_keys = self.group_keys,
            tables = self.tables,
        )
    }
}

/// What is left on a host's disk when its daemon starts again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Kept,
    Lost,
}

/// The pool.
#[derive(Debug)]
pub(crate) struct Pool {
    // Daemons end before their networks.
    daemons: BTreeMap<u8, Daemon>,
    services: BTreeMap<u8, Echo>,
    configs: BTreeMap<u8, HostConfig>,
    topology: Topology,
    private: PathBuf,
    logs: PathBuf,
    key: PathBuf,
}

impl Pool {
    /// Hosts with their services and no daemons.
    pub(crate) fn build(stage: &Stage, configs: impl IntoIterator<Item = HostConfig>) -> Outcome<Self> {
        let configs: BTreeMap<_, _> = configs.into_iter().map(|config| (config.plan.0, config)).collect();
        let mut topology = Topology::build(0)?;
        let mut services = BTreeMap::new();
        for number in configs.keys() {
            let host = topology.add_host(*number)?;
            services.insert(*number, Echo::start(host.namespace(), &host.plan().name())?);
        }
        let key = stage.private().join("www.key");
        keygen(&key)?;
        let (private, logs) = (stage.private().to_owned(), stage.logs().to_owned());
        Ok(Self { daemons: BTreeMap::new(), services, configs, topology, private, logs, key })
    }

    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Where a host's configuration, socket and state are.
    pub(crate) fn directory(&self, number: u8) -> PathBuf {
        self.private.join(Plan(number).name())
    }

    /// Where a host's daemon writes.
    pub(crate) fn log(&self, number: u8) -> PathBuf {
        self.logs.join(format!("{}.log", Plan(number).name()))
    }

    /// Leaves a text beside the logs.
    pub(crate) fn keep(&self, name: &str, text: &str) -> Outcome {
        Ok(fs::write(self.logs.join(name), text)?)
    }

    /// Changes what a host's daemon reads at its next start or reload.
    pub(crate) fn configure(&mut self, number: u8, change: impl FnOnce(&mut HostConfig)) -> Outcome {
        let config = self.configs.get_mut(&number).ok_or_else(|| Failure::broken(format!("no host {number}")))?;
        change(config);
        self.write_config(number).map(drop)
    }

    fn write_config(&self, number: u8) -> Outcome<PathBuf> {
        let config = self.configs.get(&number).ok_or_else(|| Failure::broken(format!("no host {number}")))?;
        let directory = self.directory(number);
        fs::create_dir_all(&directory)?;
        let path = directory.join("raisd.toml");
        fs::write(&path, config.to_toml(&directory, config.key_file.as_ref().unwrap_or(&self.key)))?;
        Ok(path)
    }

    /// Starts a host's daemon.
    pub(crate) fn start(&mut self, number: u8) -> Outcome {
        let config = self.write_config(number)?;
        let host = self.topology.host(number)?;
        let daemon = Daemon::start(host.namespace(), Path::new(RAISD), &config, &self.log(number))?;
        self.daemons.insert(number, daemon);
        Ok(())
    }

    /// Starts the daemons of all hosts, in the order of their numbers.
    pub(crate) fn start_all(&mut self) -> Outcome {
        let numbers: Vec<_> = self.configs.keys().copied().collect();
        numbers.into_iter().try_for_each(|number| self.start(number))
    }

    /// SIGKILL to a host's daemon; its kernel keeps what it has.
    pub(crate) fn kill(&mut self, number: u8) -> Outcome {
        self.daemon(number)?.kill()?;
        self.daemons.remove(&number);
        Ok(())
    }

    /// SIGTERM to a host's daemon, which must end with 0 within `limit`.
    pub(crate) fn stop(&mut self, number: u8, limit: Duration) -> Outcome {
        let daemon = self.daemon(number)?;
        daemon.signal(Signal::SIGTERM)?;
        match daemon.wait(within(limit))? {
            Some(status) if status.success() => {
                self.daemons.remove(&number);
                Ok(())
            }
            Some(status) => Err(Failure::broken(format!("raisd on host {number} ended with {status}"))),
            None => Err(Failure::broken(format!("raisd on host {number} did not stop within {limit:?}"))),
        }
    }

    /// Any signal: SIGSTOP, SIGCONT, SIGHUP.
    pub(crate) fn signal(&mut self, number: u8, signal: Signal) -> Outcome {
        Ok(self.daemon(number)?.signal(signal)?)
    }

    /// A host's power fails: no link, no process.
    pub(crate) fn power_off(&mut self, number: u8) -> Outcome {
        self.topology.vanish(number)?;
        self.services.remove(&number);
        match self.daemons.remove(&number) {
            Some(mut daemon) => daemon.kill().map(drop).map_err(Failure::from),
            None => Ok(()),
        }
    }

    /// It boots: the kernel has no service address, the disk what it had, or nothing.
    pub(crate) fn power_on(&mut self, number: u8, state: State) -> Outcome {
        self.topology.remove_host(number)?;
        let host = self.topology.add_host(number)?;
        self.services.insert(number, Echo::start(host.namespace(), &host.plan().name())?);
        if state == State::Lost {
            self.lose_state(number)?;
        }
        self.start(number)
    }

    /// Removes what a stopped daemon has on disk.
    pub(crate) fn lose_state(&self, number: u8) -> Outcome {
        match fs::remove_dir_all(self.directory(number).join("state")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Every daemon that was started and not stopped is running. A story ends with this.
    pub(crate) fn check(&mut self) -> Outcome {
        for (number, daemon) in &mut self.daemons {
            if let Some(status) = daemon.ended()? {
                return Err(Failure::broken(format!("raisd on host {number} ended with {status}")));
            }
        }
        self.services.values().try_for_each(|service| service.check().map_err(Failure::from))
    }

    /// A host's daemon reads its configuration again, as an operator has it do: it must exit with 0. What is different, in its words.
    pub(crate) fn reload(&self, number: u8) -> Outcome<String> {
        let output = self.raisctl(number, &["reload"])?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::broken(format!("raisctl reload on host {number}: {}: {error}", output.status)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Changes a host's configuration while its daemon runs.
    pub(crate) fn reconfigure(&mut self, number: u8, change: impl FnOnce(&mut HostConfig)) -> Outcome<String> {
        self.configure(number, change)?;
        self.reload(number)
    }

    /// `raisctl` on a host, as an operator would type it.
    pub(crate) fn raisctl(&self, number: u8, arguments: &[&str]) -> Outcome<Output> {
        let mut command = lab::command(RAISCTL);
        command.arg("--socket").arg(self.directory(number).join("raisd.sock")).args(arguments);
        Ok(self.topology.host(number)?.namespace().output(&mut command)?)
    }

    /// `raisctl ... --json` on a host; it must exit with 0.
    pub(crate) fn raisctl_json(&self, number: u8, arguments: &[&str]) -> Outcome<Value> {
        let output = self.raisctl(number, &[arguments, &["--json"]].concat())?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::broken(format!("raisctl {arguments:?} on host {number}: {}: {error}", output.status)));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Writes an executable script into a host's directory.
    pub(crate) fn script(&self, number: u8, name: &str, text: &str) -> Outcome<PathBuf> {
        let directory = self.directory(number);
        fs::create_dir_all(&directory)?;
        let path = directory.join(name);
        write_file(&path, 0o755, text.as_bytes())?;
        Ok(path)
    }

    fn daemon(&mut self, number: u8) -> Outcome<&mut Daemon> {
        self.daemons.get_mut(&number).ok_or_else(|| Failure::broken(format!("no daemon runs on host {number}")))
    }
}

/// Makes a key file with `raisctl keygen`.
pub(crate) fn keygen(path: &Path) -> Outcome {
    let output = lab::command(RAISCTL).arg("keygen").output()?;
    if !output.status.success() {
        return Err(Failure::broken(format!("raisctl keygen: {}", String::from_utf8_lossy(&output.stderr))));
    }
    write_file(path, 0o600, &output.stdout)
}

/// Makes a key file with these keys, each with its use, the oldest first.
pub(crate) fn write_keys(path: &Path, keys: &[(&str, &str)]) -> Outcome {
    let keys: String = keys.iter().map(|(key, usage)| format!("[[key]]\nuse = \"{usage}\"\n{key}\n")).collect();
    write_file(path, 0o600, keys.as_bytes())
}

/// Id and secret of a fresh key, as `raisctl keygen` prints them.
pub(crate) fn draw_key() -> Outcome<String> {
    let output = lab::command(RAISCTL).arg("keygen").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("id") || line.starts_with("secret")).collect();
    if lines.len() != 2 {
        return Err(Failure::broken(format!("raisctl keygen: {text}")));
    }
    Ok(lines.join("\n"))
}

fn write_file(path: &Path, mode: u32, content: &[u8]) -> Outcome {
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(path)?;
    Ok(file.write_all(content)?)
}

/// The service address that a host prefers.
pub(crate) fn service(number: u8) -> IpAddr {
    Family::V4.service(number)
}
