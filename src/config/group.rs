//! `[[group]]`: one service group on this host.
//!
//! Reads the group by itself; what must hold between groups, and between groups and host, is in `relation`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::address::Addresses;
use super::environment::{Environment, UserLookup};
use super::fault::{Faults, Problem, Reported};
use super::key::{self, Sending};
use super::probe::{Probes, check_program};
use super::reader::{Placed, Reader, all, suggest};
use super::scalar;
use super::schema::{ANNOUNCE, GROUP_DNS, SCRIPTS};
use super::service::{Mention, Services};
use super::zone;
use crate::ports::multicast::{GroupAddress, Talk};
use crate::ports::script::GroupScripts;
use crate::types::host::Role;
use crate::types::policy::{AllFailed, AnnounceMethod, AnnouncePolicy, Assign, Failback, GroupPolicy, Handover, SharedPolicy, ZonePolicy};
use crate::wire::seal::Protection;

const HEARTBEAT: Duration = Duration::from_millis(250);
/// Below it the timers of an ordinary kernel are no longer small beside it.
const HEARTBEAT_MIN: Duration = Duration::from_millis(5);
const HEARTBEAT_MAX: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);
const ORPHAN_LIFETIME: Duration = Duration::from_secs(31_536_000);
const SECOND: Duration = Duration::from_secs(1);
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(30);
const SCRIPT_TIMEOUT_MIN: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3_600);
const ANNOUNCE_COUNT: u32 = 5;
const ANNOUNCE_COUNT_MAX: u32 = 100;
const ANNOUNCE_REFRESH: Duration = Duration::from_secs(30);

/// What a group is read against.
pub(super) struct Context<'c> {
    pub(super) environment: &'c Environment,
    /// This host's name, unless it is faulty.
    pub(super) host_name: Option<&'c str>,
    pub(super) probes: &'c Probes,
}

/// A group as read.
pub(super) struct GroupRead {
    /// What relations between groups need, as far as it could be read.
    pub(super) name: Option<Placed<String>>,
    pub(super) talk: Option<Placed<Talk>>,
    pub(super) mentions: Vec<Mention>,
    pub(super) zone: Option<Placed<String>>,
    /// All of it.
    pub(super) parts: Result<GroupParts, Reported>,
}

/// What a group is told, for each of those that are told.
pub(super) struct GroupParts {
    pub(super) policy: GroupPolicy,
    pub(super) address: GroupAddress,
    pub(super) protection: Protection,
    pub(super) scripts: GroupScripts,
}

impl GroupRead {
    pub(super) fn read(group: &Reader<'_>, context: &Context<'_>, faults: &mut Faults) -> Self {
        let name = group.needed_text("name", faults).and_then(|text| checked(text, "name", scalar::name, faults));
        let addresses = Addresses::read(group, faults);
        let interface = group.needed_text("interface", faults).and_then(|text| checked(text, "interface", scalar::interface, faults));
        let services = Services::read(group, context.host_name, faults);
        let role = role(group, &services, faults);
        let zone = group.table("dns", &GROUP_DNS, faults).and_then(|dns| dns.map(|dns| zone::read(&dns, faults)).transpose());
        let zone_name = zone.as_ref().ok().and_then(Option::as_ref);
        let zone_name = zone_name.map(|zone| Placed { value: zone.value.name.clone(), place: zone.place });
        let shared = shared(group, zone.map(|zone| zone.map(|zone| zone.value)), faults);
        let tests = names(group, "tests", "test", &context.probes.test_names, faults);
        let loads = names(group, "loads", "load", &context.probes.load_names, faults);
        let protection = protection(group, context.environment, faults);
        let keys = protection.as_ref().map(Protection::keys).map_err(|reported| *reported);
        let scripts = scripts(group, context.environment, faults);
        let announce = announce(group, faults);

        let placed_name = name.as_ref().ok().map(|name| Placed { value: name.value.clone(), place: name.place });
        let talk = addresses.as_ref().ok().map(|addresses| addresses.talk);
        let mentions = services.mentions;
        let (preferred, floating, accept) = (services.preferred, services.floating, services.accept);
        let assemble = || {
            let (name, interface, scripts, addresses) = (name?.value, interface?.value, scripts?, addresses?);
            let address = addresses.of_group(&name);
            let policy = GroupPolicy {
                name: name.clone(),
                interface,
                role: role?,
                preferred: preferred?,
                floating: floating?,
                accept: accept?,
                multicast: addresses.has_multicast(),
                peers: addresses.peers,
                tests: tests?,
                loads: loads?,
                has_acquire_script: scripts.acquire.is_some(),
                has_release_script: scripts.release.is_some(),
                script_timeout: scripts.timeout,
                announce: announce?,
                keys: keys?,
                shared: shared?,
            };
            let scripts = GroupScripts { group: name, ..scripts };
            Ok(GroupParts { policy, address, protection: protection?, scripts })
        };
        let parts = assemble();
        Self { name: placed_name, talk, mentions, zone: zone_name, parts }
    }
}

fn checked(
    text: Placed<&str>,
    key: &str,
    check: impl Fn(&str) -> Result<(), String>,
    faults: &mut Faults,
) -> Result<Placed<String>, Reported> {
    let text = super::reader::accepted(key, text, check, faults)?;
    Ok(Placed { value: text.value.to_owned(), place: text.place })
}

fn role(group: &Reader<'_>, services: &Services, faults: &mut Faults) -> Result<Role, Reported> {
    let role = group.choice("role", Role::Server, &[("server", Role::Server), ("observer", Role::Observer)], faults)?;
    match (role, &services.preferred, group.value("role")) {
        (Role::Observer, Ok(preferred), Some(value)) if !preferred.is_empty() => {
            let problem = Problem::at(value.place, "an observer is assigned nothing, and this one prefers addresses");
            Err(faults.error(problem.expects("role = \"server\", or no preferred addresses")))
        }
        (Role::Server | Role::Observer, Ok(_) | Err(_), Some(_) | None) => Ok(role),
    }
}

fn shared(group: &Reader<'_>, zone: Result<Option<ZonePolicy>, Reported>, faults: &mut Faults) -> Result<SharedPolicy, Reported> {
    let heartbeat = group.duration("heartbeat", HEARTBEAT, HEARTBEAT_MIN..=HEARTBEAT_MAX, faults);
    let timeout = group.duration("timeout", TIMEOUT, HEARTBEAT_MIN..=TIMEOUT_MAX, faults);
    let pace = check_pace(group, heartbeat, timeout, faults);
    let forever = scalar::DURATION_MAX;
    let orphan_lifetime = group.duration("orphan_lifetime", ORPHAN_LIFETIME, SECOND..=forever, faults);
    let assigns = [("random", Assign::Random), ("fair", Assign::Fair), ("least-loaded", Assign::LeastLoaded)];
    let assign = group.choice("assign", Assign::Random, &assigns, faults);
    let handover = handover(group, faults);
    let failback = group.duration_or_never("failback", Some(Duration::ZERO), Duration::ZERO..=forever, faults);
    let rebalance = group.duration_or_never("rebalance", None, Duration::ZERO..=forever, faults);
    let all_failed = [("release", AllFailed::Release), ("keep", AllFailed::Keep)];
    let all_failed = group.choice("all_failed", AllFailed::Release, &all_failed, faults);
    pace?;
    Ok(SharedPolicy {
        heartbeat: heartbeat?,
        timeout: timeout?,
        orphan_lifetime: orphan_lifetime?,
        assign: assign?,
        handover: handover?,
        failback: failback?.map_or(Failback::Never, Failback::After),
        rebalance: rebalance?,
        all_failed: all_failed?,
        zone: zone?,
    })
}

/// An overlap is taken as it is meant, and done as far as it can be.
fn handover(group: &Reader<'_>, faults: &mut Faults) -> Result<Handover, Reported> {
    let handover = group.choice("handover", Handover::Break, &[("break", Handover::Break), ("overlap", Handover::Overlap)], faults)?;
    if let (Handover::Overlap, Some(value)) = (handover, group.value("handover")) {
        let problem = Problem::at(value.place, "handover = \"overlap\" goes as \"break\": this host has no fence");
        let version = env!("CARGO_PKG_VERSION");
        faults.warning(problem.help(format!(
            "without a fence two hosts would answer for an address while it moves, so the last holder lets go first; raisd {version} has none"
        )));
    }
    Ok(handover)
}

/// One lost datagram must not make a host silent.
fn check_pace(
    group: &Reader<'_>,
    heartbeat: Result<Duration, Reported>,
    timeout: Result<Duration, Reported>,
    faults: &mut Faults,
) -> Result<(), Reported> {
    let (heartbeat, timeout) = (heartbeat?, timeout?);
    let least = heartbeat.saturating_mul(2);
    if timeout >= least {
        return Ok(());
    }
    let [least, heartbeat, timeout] = [least, heartbeat, timeout].map(scalar::duration_text);
    let problem = match (group.value("timeout"), group.value("heartbeat")) {
        (None, Some(value)) => {
            let problem = Problem::at(value.place, format!("heartbeat {heartbeat} is more than half of the timeout, {timeout} by default"));
            problem.expects(format!("a timeout of at least {least} beside it"))
        }
        (Some(value), Some(_) | None) => {
            let problem = Problem::at(value.place, format!("timeout {timeout} is less than two heartbeats of {heartbeat}"));
            problem.expects(format!("at least {least}"))
        }
        (None, None) => Problem::at(group.place, "the default timeout is less than two default heartbeats"),
    };
    Err(faults.error(problem.help("a host that loses one datagram must not count as silent")))
}

/// Names of tests or loads that are defined.
fn names(group: &Reader<'_>, key: &str, what: &str, known: &BTreeSet<String>, faults: &mut Faults) -> Result<BTreeSet<String>, Reported> {
    let mut seen = BTreeSet::new();
    let texts = group.texts(key, faults)?;
    let checked = all(texts
        .into_iter()
        .map(|text| {
            if !known.contains(text.value) {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let problem = Problem::at(text.place, format!("there is no {what} {:?}", text.value));
                return Err(faults.error(suggest(
                    problem.expects(format!("a {what} with a table [{what}.{}]", text.value)),
                    text.value,
                    &known,
                )));
            }
            if !seen.insert(text.value.to_owned()) {
                return Err(faults.error(Problem::at(text.place, format!("{key} has {:?} twice", text.value)).expects("it once")));
            }
            Ok(())
        })
        .collect());
    checked.map(|_| seen)
}

fn protection(group: &Reader<'_>, environment: &Environment, faults: &mut Faults) -> Result<Protection, Reported> {
    let insecure = group.flag("insecure", false, faults)?;
    match (group.text("key_file", faults)?, insecure) {
        (Some(path), false) => key::read(path, Sending::Needed, environment, faults).map(Protection::Keys),
        (None, true) => Ok(Protection::Insecure),
        (Some(path), true) => {
            let keys = key::read(path, Sending::Optional, environment, faults)?;
            let place = group.place_of("insecure").unwrap_or(group.place);
            let problem = Problem::at(place, "the group still hears hosts without a key, and so whoever pretends to be one");
            faults.warning(problem.help("remove insecure = true when `raisctl key status` says that every host sends with a key"));
            Ok(Protection::Transition(keys))
        }
        (None, false) => {
            let problem = Problem::at(group.place, "the group has neither a key_file nor insecure = true");
            let help = "make a key with: umask 077; raisctl keygen > /etc/raisd/www.key; copy it to every host of the group";
            Err(faults.error(problem.expects("a line like key_file = \"/etc/raisd/www.key\"").help(help)))
        }
    }
}

/// The scripts; the group is filled in by the caller.
fn scripts(group: &Reader<'_>, environment: &Environment, faults: &mut Faults) -> Result<GroupScripts, Reported> {
    let mut scripts = GroupScripts { group: String::new(), acquire: None, release: None, timeout: SCRIPT_TIMEOUT, user: None };
    let Some(table) = group.table("scripts", &SCRIPTS, faults)? else { return Ok(scripts) };
    let script = |key: &str, faults: &mut Faults| {
        let Some(path) = table.path(key, faults)? else { return Ok(None) };
        check_program(key, Placed { value: path.value.as_path(), place: path.place }, environment, faults)?;
        Ok(Some(path.value))
    };
    let acquire = script("acquire", faults);
    let release = script("release", faults);
    let timeout = table.duration("timeout", SCRIPT_TIMEOUT, SCRIPT_TIMEOUT_MIN..=HOUR, faults);
    let user = user(&table, environment, faults);
    scripts.acquire = acquire?;
    scripts.release = release?;
    scripts.timeout = timeout?;
    scripts.user = user?;
    Ok(scripts)
}

fn user(scripts: &Reader<'_>, environment: &Environment, faults: &mut Faults) -> Result<Option<String>, Reported> {
    let Some(user) = scripts.text("user", faults)? else { return Ok(None) };
    match environment.user(user.value) {
        UserLookup::Known => {}
        UserLookup::Unknown => {
            let problem = Problem::at(user.place, format!("there is no user {:?}", user.value));
            return Err(faults.error(problem.expects("a user of this machine")));
        }
        UserLookup::Failed(why) => {
            let problem = Problem::at(user.place, format!("user {:?} cannot be looked up: {why}", user.value));
            faults.warning(problem.expects("a user of this machine").help("until it can, every script fails"));
        }
    }
    Ok(Some(user.value.to_owned()))
}

fn announce(group: &Reader<'_>, faults: &mut Faults) -> Result<AnnouncePolicy, Reported> {
    let preset = AnnouncePolicy { method: AnnounceMethod::Link, count: ANNOUNCE_COUNT, refresh: ANNOUNCE_REFRESH };
    let Some(table) = group.table("announce", &ANNOUNCE, faults)? else { return Ok(preset) };
    let methods = [("l2", AnnounceMethod::Link), ("none", AnnounceMethod::None)];
    let method = table.choice("method", preset.method, &methods, faults);
    let count = table.integer("count", preset.count, 1..=ANNOUNCE_COUNT_MAX, faults);
    let refresh = table.duration("refresh", preset.refresh, SECOND..=HOUR, faults);
    Ok(AnnouncePolicy { method: method?, count: count?, refresh: refresh? })
}
