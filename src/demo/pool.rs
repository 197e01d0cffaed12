//! The demo's pool: a real daemon on every host, servers with an address each and one spare.
//!
//! Owns the networks, the daemons, their files and the echo servers that stand for the service. Never asks a daemon anything.
//! Called by the demo's story.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::daemon::Daemon;
use super::lab::Lab;
use super::plan::{Network, Plan};
use super::probes::Echo;
use super::topology::{Topology, TopologyError};

/// The pool's zone.
pub(super) const ZONE: &str = "www.pool.example.";

/// Why the pool cannot be run. The machine is at fault.
#[derive(Debug, thiserror::Error)]
pub(super) enum PoolError {
    #[error(transparent)]
    Topology(#[from] TopologyError),
    #[error("cannot {step} {host}: {cause}")]
    Host { step: &'static str, host: String, cause: io::Error },
}

fn failed(step: &'static str, plan: Plan) -> impl FnOnce(io::Error) -> PoolError {
    move |cause| PoolError::Host { step, host: plan.name(), cause }
}

/// The pool.
#[derive(Debug)]
pub(super) struct Pool {
    // Daemons end before their networks.
    daemons: BTreeMap<u8, Daemon>,
    services: BTreeMap<u8, Echo>,
    topology: Topology,
    root: PathBuf,
    hosts: u8,
    heartbeat: Duration,
}

impl Pool {
    /// Makes the networks and the files; nothing runs.
    pub(super) fn build(lab: &Lab, hosts: u8, heartbeat: Duration) -> Result<Self, PoolError> {
        let topology = Topology::build(hosts)?;
        let files = |cause| PoolError::Host { step: "write the files of", host: "the pool".to_owned(), cause };
        let root = lab.directory("demo").map_err(files)?;
        write_key(&root.join("www.key")).map_err(files)?;
        Ok(Self { daemons: BTreeMap::new(), services: BTreeMap::new(), topology, root, hosts, heartbeat })
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The hosts that bring an address.
    pub(super) fn servers(&self) -> impl Iterator<Item = Plan> + use<> {
        (1..self.hosts).map(Plan)
    }

    /// The host that does not.
    pub(super) fn spare(&self) -> Plan {
        Plan(self.hosts)
    }

    /// When others give up a host that is not heard.
    pub(super) fn timeout(&self) -> Duration {
        self.heartbeat * 4
    }

    /// Starts a host's service and its daemon.
    pub(super) fn start(&mut self, plan: Plan) -> Result<(), PoolError> {
        let host = self.topology.host(plan.0)?;
        let directory = self.root.join(plan.name());
        let config = directory.join("raisd.toml");
        fs::create_dir_all(&directory)
            .and_then(|()| fs::write(&config, self.configuration(plan, &directory)))
            .map_err(failed("write the files of", plan))?;
        let service = Echo::start(host.namespace(), &plan.name()).map_err(failed("start the service of", plan))?;
        let daemon = Daemon::start(host.namespace(), Path::new("/proc/self/exe"), &config, &self.log(plan))
            .map_err(failed("start raisd on", plan))?;
        self.services.insert(plan.0, service);
        self.daemons.insert(plan.0, daemon);
        Ok(())
    }

    /// Cuts a host's power: cables without a carrier, processes gone without a word.
    pub(super) fn power_off(&mut self, plan: Plan) -> Result<(), PoolError> {
        self.topology.vanish(plan.0)?;
        self.services.remove(&plan.0);
        if let Some(mut daemon) = self.daemons.remove(&plan.0) {
            daemon.kill().map_err(failed("kill raisd on", plan))?;
        }
        Ok(())
    }

    /// Starts a host whose power was cut: as after a boot, its kernel has no service address, its disk has what it had.
    pub(super) fn power_on(&mut self, plan: Plan) -> Result<(), PoolError> {
        self.topology.remove_host(plan.0)?;
        self.topology.add_host(plan.0)?;
        self.start(plan)
    }

    /// The daemons that ended although nobody told them to, with the end of what they said.
    pub(super) fn casualties(&mut self) -> Result<Vec<String>, PoolError> {
        let mut all = Vec::new();
        for (number, daemon) in &mut self.daemons {
            let plan = Plan(*number);
            if let Some(status) = daemon.ended().map_err(failed("look after raisd on", plan))? {
                let log = fs::read_to_string(self.root.join(plan.name()).join("log")).map_err(failed("read the log of", plan))?;
                let lines: Vec<_> = log.lines().rev().take(5).collect();
                let tail: String = lines.into_iter().rev().fold(String::new(), |text, line| text + "\n    " + line);
                all.push(format!("raisd on {} ended with {status}; the end of its log:{tail}", plan.name()));
            }
        }
        Ok(all)
    }

    fn log(&self, plan: Plan) -> PathBuf {
        self.root.join(plan.name()).join("log")
    }

    fn configuration(&self, plan: Plan, directory: &Path) -> String {
        let preferred = if plan == self.spare() { String::new() } else { format!("\"{}/32\"", plan.service()) };
        let servers: Vec<_> =
            (1..=self.hosts).map(Plan).map(|server| format!("\"n{}.{ZONE}\" = [\"{}\"]", server.0, server.own())).collect();
        format!(
            r#"[host]
name = "{name}"
control = ["{control0}", "{control1}"]
state_dir = "{directory}/state"
socket = "{directory}/raisd.sock"

[[group]]
name = "www"
address = "239.255.42.1:4242"
interface = "{interface}"
preferred = [{preferred}]
heartbeat = "{heartbeat}ms"
timeout = "{timeout}ms"
key_file = "{key}"

[group.dns]
zone = "{ZONE}"
ttl = "5s"
nameservers = {{ {servers} }}

[dns]
listen = ["{own}:53"]
# The one resolver here asks hundreds of times a second.
rate_limit = 0
"#,
            name = plan.name(),
            control0 = plan.control(0),
            control1 = plan.control(1),
            directory = directory.display(),
            interface = Network::Service,
            heartbeat = self.heartbeat.as_millis(),
            timeout = self.timeout().as_millis(),
            key = self.root.join("www.key").display(),
            servers = servers.join(", "),
            own = plan.own(),
        )
    }
}

/// A key for this run only, as `raisctl keygen` prints one, in a file that only its owner can read.
fn write_key(path: &Path) -> io::Result<()> {
    let mut secret = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut secret)?;
    let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    write!(file, "[[key]]\nid = 1\nuse = \"send\"\nsecret = \"{secret}\"\n")
}
