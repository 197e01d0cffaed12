//! `[host]`: who this host is and over which networks it talks.

use std::net::IpAddr;
use std::path::PathBuf;

use super::environment::Environment;
use super::fault::{Faults, Problem, Reported};
use super::reader::{Placed, Reader, accepted, address, all};
use super::scalar;
use crate::ports::multicast::ControlNetwork;
use crate::types::host::{HostId, NETWORKS_MAX};

pub(super) const STATE_DIR: &str = "/var/lib/raisd";
const SOCKET: &str = "/run/raisd/raisd.sock";
/// `sun_path` of unix(7) less the final zero.
const SOCKET_BYTES_MAX: usize = 107;
/// All of them travel in one record.
const CAPABILITIES_MAX: usize = 16;

/// `[host]` as read, before its networks are resolved.
pub(super) struct HostRead {
    pub(super) name: Result<String, Reported>,
    pub(super) control: Result<Vec<Placed<ControlNetwork>>, Reported>,
    pub(super) id: Result<Option<Placed<HostId>>, Reported>,
    pub(super) state_dir: Result<PathBuf, Reported>,
    pub(super) socket: Result<PathBuf, Reported>,
    pub(super) location: Result<String, Reported>,
    pub(super) capabilities: Result<Vec<String>, Reported>,
}

impl HostRead {
    pub(super) fn read(host: &Reader<'_>, environment: &Environment, faults: &mut Faults) -> Self {
        Self {
            name: name(host, environment, faults),
            control: control(host, faults),
            id: id(host, faults),
            state_dir: host.path("state_dir", faults).map(|path| path.map_or_else(|| PathBuf::from(STATE_DIR), |path| path.value)),
            socket: socket(host, faults),
            location: location(host, faults),
            capabilities: capabilities(host, faults),
        }
    }
}

fn name(host: &Reader<'_>, environment: &Environment, faults: &mut Faults) -> Result<String, Reported> {
    if let Some(text) = host.checked_text("name", scalar::name, faults)? {
        return Ok(text.value.to_owned());
    }
    let help = "give the host a name: name = \"web1\"";
    let hostname = environment.hostname().map_err(|why| {
        faults.error(Problem::at(host.place, format!("the hostname cannot be read: {why}")).expects("host.name").help(help))
    })?;
    match scalar::name(&hostname) {
        Ok(()) => Ok(hostname),
        Err(expected) => {
            let problem = Problem::at(host.place, format!("the hostname {hostname:?} cannot be the name of a host"));
            Err(faults.error(problem.expects(expected).help(help)))
        }
    }
}

fn control(host: &Reader<'_>, faults: &mut Faults) -> Result<Vec<Placed<ControlNetwork>>, Reported> {
    let value = host.needed("control", faults)?;
    let texts = host.texts("control", faults)?;
    if texts.is_empty() || texts.len() > NETWORKS_MAX {
        let problem = Problem::at(value.place, format!("control has {} entries", texts.len()));
        return Err(faults.error(problem.expects(format!("1 to {NETWORKS_MAX} addresses or interface names"))));
    }
    let mut seen: Vec<ControlNetwork> = Vec::new();
    all(texts
        .into_iter()
        .map(|text| {
            let network = control_network(text, faults)?;
            if seen.contains(&network) {
                return Err(faults.error(Problem::at(text.place, format!("control has {:?} twice", text.value)).expects("it once")));
            }
            seen.push(network.clone());
            Ok(Placed { value: network, place: text.place })
        })
        .collect())
}

fn control_network(text: Placed<&str>, faults: &mut Faults) -> Result<ControlNetwork, Reported> {
    if let Ok(address) = text.value.parse() {
        return match scalar::host_address(address) {
            Ok(()) => Ok(ControlNetwork::Address(address)),
            Err(why) => {
                Err(faults.error(Problem::at(text.place, format!("control: {address} {why}")).expects("an address that others reach")))
            }
        };
    }
    // With a dot it is more likely a mistyped address than one of the rare interfaces with dots that are all digits.
    let numeric = text.value.chars().all(|character| character.is_ascii_digit() || ".:/".contains(character));
    let form = |text: &str| if numeric { Err(String::from("an address or the name of an interface")) } else { scalar::interface(text) };
    accepted("control", text, form, faults).map(|text| ControlNetwork::Interface(text.value.to_owned()))
}

fn id(host: &Reader<'_>, faults: &mut Faults) -> Result<Option<Placed<HostId>>, Reported> {
    let Some(text) = host.text("id", faults)? else { return Ok(None) };
    let id = address("id", text, faults)?;
    match scalar::host_address(id.value) {
        Ok(()) => Ok(Some(Placed { value: HostId(id.value), place: id.place })),
        Err(why) => {
            let problem = Problem::at(id.place, format!("id: {} {why}", id.value));
            Err(faults.error(problem.expects("an address that no other host of the pool has")))
        }
    }
}

fn socket(host: &Reader<'_>, faults: &mut Faults) -> Result<PathBuf, Reported> {
    let Some(path) = host.path("socket", faults)? else { return Ok(PathBuf::from(SOCKET)) };
    let length = path.value.as_os_str().len();
    if length > SOCKET_BYTES_MAX {
        let problem = Problem::at(path.place, format!("socket has {length} bytes"));
        return Err(faults.error(problem.expects(format!("at most {SOCKET_BYTES_MAX}, the kernel's limit"))));
    }
    Ok(path.value)
}

fn location(host: &Reader<'_>, faults: &mut Faults) -> Result<String, Reported> {
    let empty_or_word = |text: &str| if text.is_empty() { Ok(()) } else { scalar::word(text) };
    Ok(host.checked_text("location", empty_or_word, faults)?.map(|text| text.value.to_owned()).unwrap_or_default())
}

fn capabilities(host: &Reader<'_>, faults: &mut Faults) -> Result<Vec<String>, Reported> {
    let texts = host.texts("capabilities", faults)?;
    if let Some(beyond) = texts.get(CAPABILITIES_MAX) {
        let problem = Problem::at(beyond.place, format!("capabilities has {} entries", texts.len()));
        return Err(faults.error(problem.expects(format!("at most {CAPABILITIES_MAX}"))));
    }
    all(texts.into_iter().map(|text| accepted("a capability", text, scalar::word, faults).map(|text| text.value.to_owned())).collect())
}

/// The first address of an interface that others reach: of a family that a group has, and no service address.
pub(super) fn interface_address(addresses: &[IpAddr], is_wanted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let is_global = |address: IpAddr| match address {
        IpAddr::V4(v4) => scalar::host_address(address).is_ok() && !v4.is_link_local(),
        IpAddr::V6(_) => scalar::host_address(address).is_ok(),
    };
    addresses.iter().copied().find(|address| is_global(*address) && is_wanted(*address))
}
