//! Reload: the files are read again, and what is different is brought to the ports and to the core.
//!
//! Owns the reading and the order. Nothing is touched before everything that can fail has been done, so a configuration that
//! is wrong, or that a running daemon or this machine cannot take, changes nothing. Decides nothing about groups: what a
//! difference means for what is held is the core's affair ([`Event::Reloaded`]).
//!
//! **A thread reads**, since a file system or the user database may keep it waiting. Whoever asks while it reads is answered
//! by a reading that begins afterwards: files that were changed before asking are seen. **Cancellation**: a daemon that
//! stops leaves the thread alone; it only reads.

mod differences;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tokio::sync::oneshot;

use super::daemon::{announces, draw_boot};
use super::dispatch::Ports;
use super::groups::{Group, Standing};
use super::state::{Loaded, StateDir};
use crate::config::{self, Config, ConfigErrors};
use crate::node::action::StoredGroup;
use crate::node::event::{Event, GroupIndex, GroupPlace, Link, Reload};
use crate::ports::announce::{self, AnnounceError};
use crate::ports::api::Reloaded;
use crate::ports::dns::{Dns, DnsSettings};
use crate::ports::interfaces::{Interfaces, LinkState};
use crate::ports::multicast::{ControlNetwork, ControlSettings, GroupAddress};
use crate::ports::probe::Probes;
use crate::types::host::HostId;
use crate::types::policy::GroupPolicy;
use crate::wire;

/// What was read.
pub(super) struct Reading {
    config: Box<Config>,
    /// What the groups kept that were not configured when the reading began.
    stored: BTreeMap<String, Loaded<StoredGroup>>,
    /// Whether the machine lets it announce, if it has to.
    permitted: Result<(), AnnounceError>,
}

/// Who waits for a reload; nobody for one that was asked for by a signal.
type Callers = Vec<oneshot::Sender<Reloaded>>;

/// Reads the files again, one reading at a time.
pub(super) struct Reader {
    path: PathBuf,
    state: StateDir,
    under_way: Option<(oneshot::Receiver<Result<Reading, ConfigErrors>>, Callers)>,
    /// Asked for while a reading was under way.
    next: Option<Callers>,
}

/// Why a reading is not taken up.
enum Failure {
    /// The files are wrong.
    Wrong(ConfigErrors),
    /// The daemon or the machine cannot take it up as it is.
    Refused(String),
}

impl Reader {
    pub(super) fn new(path: PathBuf, state: StateDir) -> Self {
        Self { path, state, under_way: None, next: None }
    }

    /// Has the files read, from now on or after the reading that is under way.
    pub(super) fn ask(&mut self, caller: Option<oneshot::Sender<Reloaded>>, ports: &Ports) {
        if self.under_way.is_some() {
            self.next.get_or_insert_default().extend(caller);
        } else {
            self.begin(caller.into_iter().collect(), ports);
        }
    }

    fn begin(&mut self, callers: Callers, ports: &Ports) {
        let known: BTreeSet<String> =
            ports.groups.iter().filter(|(_, group)| group.standing == Standing::Configured).map(|(_, group)| group.name.clone()).collect();
        let (path, state) = (self.path.clone(), self.state.clone());
        let (told, reading) = oneshot::channel();
        let read = move || {
            let read = config::load(&path).map(|config| {
                let new = config.policy.groups.iter().filter(|group| !known.contains(&group.name));
                let stored = new.map(|group| (group.name.clone(), state.load_group(&group.name))).collect();
                // Closing a packet socket may wait for all processors, which no heartbeat can.
                let permitted = if config.policy.groups.iter().any(announces) { announce::check_permitted() } else { Ok(()) };
                Reading { config: Box::new(config), stored, permitted }
            });
            // A daemon that has ended meanwhile needs no answer.
            drop(told.send(read));
        };
        match std::thread::Builder::new().name("reload".to_owned()).spawn(read) {
            Ok(_thread) => self.under_way = Some((reading, callers)),
            Err(error) => answer(callers, Err(Failure::Refused(format!("cannot start a thread that reads the configuration: {error}")))),
        }
    }

    /// Waits for the end of the reading under way; for ever if there is none. Cancelling loses nothing.
    pub(super) async fn read(&mut self) -> Option<Result<Reading, ConfigErrors>> {
        match &mut self.under_way {
            // A thread that ends without a word has panicked.
            Some((reading, _)) => reading.await.ok(),
            None => std::future::pending().await,
        }
    }

    /// Ends the reading under way and begins the one that was asked for meanwhile.
    fn end(&mut self, ports: &Ports) -> Callers {
        let callers = self.under_way.take().map(|(_, callers)| callers).unwrap_or_default();
        if let Some(next) = self.next.take() {
            self.begin(next, ports);
        }
        callers
    }
}

/// Tells callers and the log.
fn answer(callers: Callers, outcome: Result<String, Failure>) {
    let reloaded = match outcome {
        Ok(message) => {
            tracing::info!("{message}");
            Reloaded::Done { message }
        }
        Err(Failure::Refused(why)) => {
            tracing::error!("the configuration is not reloaded, nothing is changed: {why}");
            Reloaded::Refused { why }
        }
        Err(Failure::Wrong(errors)) => {
            let errors = errors.to_string().trim_end().to_owned();
            tracing::error!("the configuration is not reloaded, nothing is changed:\n{errors}");
            Reloaded::Wrong { errors }
        }
    };
    for caller in callers {
        // Who has gone away needs no answer.
        drop(caller.send(reloaded.clone()));
    }
}

/// The configuration that holds, and the ports that are not the dispatcher's.
pub(super) struct Current {
    pub(super) config: Config,
    pub(super) probes: Probes,
}

impl Current {
    /// Takes a reading up, tells who asked for it, and returns what the core is to be told, if anything.
    pub(super) fn take(
        &mut self,
        reader: &mut Reader,
        reading: Option<Result<Reading, ConfigErrors>>,
        ports: &mut Ports,
        interfaces: &Interfaces,
        is_running: bool,
    ) -> Option<Event> {
        let taken = match reading {
            None => Err(Failure::Refused("the thread that reads the configuration has panicked; please report this".to_owned())),
            Some(Err(errors)) => Err(Failure::Wrong(errors)),
            Some(Ok(_)) if !is_running => Err(Failure::Refused("the daemon is stopping".to_owned())),
            Some(Ok(reading)) => self.take_up(reading, ports, interfaces).map_err(Failure::Refused),
        };
        let callers = reader.end(ports);
        let (outcome, event) = match taken {
            Ok((message, event)) => (Ok(message), Some(event)),
            Err(failure) => (Err(failure), None),
        };
        answer(callers, outcome);
        event
    }

    /// Everything that can fail comes first; what comes after it does not fail.
    fn take_up(&mut self, reading: Reading, ports: &mut Ports, interfaces: &Interfaces) -> Result<(String, Event), String> {
        let Reading { mut config, mut stored, permitted } = reading;
        self.keep_addresses(&mut config);
        self.check_fixed(&config)?;
        let Places { all: places, begun } = plan(&config, ports, &mut stored)?;
        permitted.map_err(|error| error.to_string())?;
        let numbers: Vec<GroupIndex> = places.iter().map(GroupPlace::group).collect();
        let dns = config.dns.as_ref().map(|settings| numbered(settings, &numbers));
        match (&mut ports.dns, &dns) {
            (Some(running), Some(settings)) => running.reconfigure(settings).map_err(|error| error.to_string())?,
            (None, Some(settings)) => ports.dns = Some(Dns::start(settings).map_err(|error| error.to_string())?),
            (Some(_), None) => ports.dns = None,
            (None, None) => {}
        }

        for warning in &config.warnings {
            tracing::warn!("{}", warning.line());
        }
        let differences = differences::between(&self.config, &config);
        let changed_tests = differences::changed_tests(&self.config, &config);
        let control_before = control(&self.config, ports);
        for (number, group) in begun {
            ports.groups.insert(number, group);
        }
        let kept: BTreeSet<GroupIndex> = numbers.iter().copied().collect();
        for (_, group) in ports.groups.iter_mut().filter(|(number, _)| !kept.contains(number)) {
            group.standing = Standing::Ending;
        }
        for ((number, protection), scripts) in numbers.iter().zip(&config.protection).zip(&config.scripts) {
            protect(ports, *number, protection);
            ports.scripts.set_group(*number, scripts.clone());
        }
        let control_after = control(&config, ports);
        if control_before != control_after {
            ports.sockets.reconfigure(&control_after, interfaces);
        }
        let watched = config.policy.groups.iter().map(|group| group.interface.clone()).collect();
        if let Err(error) = ports.netlink.watch_interfaces(watched) {
            tracing::error!(%error, "cannot watch other service interfaces");
        }
        self.probes.reconfigure(config.tests.clone(), config.loads.clone());

        let links = config.policy.groups.iter().map(|group| (group.interface.clone(), link(interfaces, group))).collect();
        let event = Event::Reloaded(Box::new(Reload { policy: config.policy.clone(), places, links, changed_tests }));
        self.config = *config;
        Ok((differences::sentence(&differences), event))
    }

    /// An interface may have other addresses than at the start, service addresses among them: the host goes on under those
    /// that it has been using, as long as the networks are configured alike.
    fn keep_addresses(&self, config: &mut Config) {
        if config.control.networks != self.config.control.networks {
            return;
        }
        let (before, host) = (&self.config.policy.host, &mut config.policy.host);
        let follows_interface = match config.control.networks.first() {
            Some(ControlNetwork::Interface(_)) => host.control.first().is_some_and(|address| host.id == HostId(*address)),
            Some(ControlNetwork::Address(_)) | None => false,
        };
        if follows_interface && before.control.first().is_some_and(|address| before.id == HostId(*address)) {
            host.id = before.id;
        }
        host.control.clone_from(&before.control);
    }

    /// What a daemon has for life.
    fn check_fixed(&self, config: &Config) -> Result<(), String> {
        let (before, after) = (&self.config, config);
        let mut changed = Vec::new();
        if before.policy.host.id != after.policy.host.id {
            let (was, is) = (before.policy.host.id, after.policy.host.id);
            changed.push(format!(
                "host.id from {was} to {is} (without host.id it is the first of host.control; host.id = \"{was}\" keeps it)"
            ));
        }
        for (key, was, is) in [("state_dir", &before.state_dir, &after.state_dir), ("socket", &before.socket, &after.socket)] {
            if was != is {
                changed.push(format!("host.{key} from {} to {}", was.display(), is.display()));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        Err(format!(
            "a running daemon cannot change {}; `systemctl restart raisd` hands over and comes back with it",
            changed.join(", nor ")
        ))
    }
}

/// Where the groups of a configuration go.
struct Places {
    all: Vec<GroupPlace>,
    /// Those of them that begin.
    begun: Vec<(GroupIndex, Group)>,
}

/// Where each group of a configuration goes. One whose address is another is another group: it is given up and begins.
fn plan(config: &Config, ports: &Ports, stored: &mut BTreeMap<String, Loaded<StoredGroup>>) -> Result<Places, String> {
    let mut numbers = ports.groups.next_numbers();
    let (mut places, mut begun) = (Vec::new(), Vec::new());
    for (index, (policy, protection)) in config.policy.groups.iter().zip(&config.protection).enumerate() {
        let name = &policy.name;
        let Some(address) = config.control.groups.get(&GroupIndex(index)).copied() else { continue };
        if let Some((number, _)) = ports.groups.configured(name).filter(|(_, group)| group.address == address) {
            wire::check_protection(name, protection).map_err(|error| format!("group {name}: {error}"))?;
            places.push(GroupPlace::Stays(number));
            continue;
        }
        let boot = draw_boot().map_err(|error| error.to_string())?;
        let group =
            Group::begin(name, address, protection, config.policy.host.id, boot).map_err(|error| format!("group {name}: {error}"))?;
        let Some(number) = numbers.next() else { continue };
        begun.push((number, group));
        let stored = stored.remove(name).map(Loaded::log).unwrap_or_default();
        places.push(GroupPlace::Begins { group: number, boot, stored });
    }
    Ok(Places { all: places, begun })
}

/// The keys were checked before.
fn protect(ports: &mut Ports, number: GroupIndex, protection: &wire::seal::Protection) {
    let Some(group) = ports.groups.get_mut(number) else { return };
    let set = group.outbound.set_protection(protection).and_then(|()| group.inbound.set_protection(protection));
    if let Err(error) = set {
        tracing::error!(group = group.name, %error, "the group keeps its former keys");
    }
}

/// The zones under the numbers of their groups.
fn numbered(settings: &DnsSettings, numbers: &[GroupIndex]) -> DnsSettings {
    let zones = settings.zones.iter().filter_map(|(place, zone)| Some((*numbers.get(place.0)?, zone.clone())));
    DnsSettings { zones: zones.collect(), ..settings.clone() }
}

/// Control networks of a configuration, and the addresses of all groups, those that are being given up included.
fn control(config: &Config, ports: &Ports) -> ControlSettings {
    let groups: BTreeMap<GroupIndex, GroupAddress> = ports.groups.iter().map(|(number, group)| (number, group.address)).collect();
    ControlSettings { networks: config.control.networks.clone(), groups }
}

fn link(interfaces: &Interfaces, group: &GroupPolicy) -> Link {
    match interfaces.named(&group.interface) {
        None => Link::Absent,
        Some(interface) => match interface.state {
            LinkState::Down | LinkState::NoCarrier => Link::Down,
            LinkState::Up => Link::Up { mac: interface.mac },
        },
    }
}
