//! `[load.X]`, kind by kind.

use super::{Kind, command, each_once, numbers, open, times};
use crate::config::environment::Environment;
use crate::config::fault::{Faults, Problem, Reported};
use crate::config::reader::{Reader, accepted, all, texts};
use crate::config::scalar;
use crate::config::schema::{LOAD_AVERAGE, LOAD_CONNECTIONS, LOAD_CPU, LOAD_MEMORY, LOAD_NETWORK, LOAD_PRESSURE, LOAD_SCRIPT};
use crate::config::tree::Entry;
use crate::ports::probe::{LoadAveraged, LoadKind, LoadSpec, PressureAveraged, Resource, Stalled};

const INTERFACES_MAX: usize = 16;
const PORTS_MAX: usize = 16;

/// Far beyond what a host can run, and small enough for hundredths.
const PROCESSES_MAX: u32 = 1_000_000;

const KINDS: &[Kind<LoadKind>] = &[
    Kind { word: "cpu", section: &LOAD_CPU, read: |_, _, _| Ok(LoadKind::Cpu) },
    Kind { word: "network", section: &LOAD_NETWORK, read: network },
    Kind { word: "load-average", section: &LOAD_AVERAGE, read: load_average },
    Kind { word: "memory", section: &LOAD_MEMORY, read: |_, _, _| Ok(LoadKind::Memory) },
    Kind { word: "connections", section: &LOAD_CONNECTIONS, read: connections },
    Kind { word: "pressure", section: &LOAD_PRESSURE, read: pressure },
    Kind { word: "script", section: &LOAD_SCRIPT, read: script },
];

pub(super) fn read(entry: &Entry, environment: &Environment, faults: &mut Faults) -> Result<LoadSpec, Reported> {
    let (reader, kind) = open("load", entry, KINDS, faults)?;
    let kind = (kind.read)(&reader, environment, faults);
    let (interval, timeout) = times(&reader, faults)?;
    Ok(LoadSpec { name: entry.key.clone(), interval, timeout, kind: kind? })
}

fn network(reader: &Reader<'_>, _: &Environment, faults: &mut Faults) -> Result<LoadKind, Reported> {
    let interfaces = reader.needed("interfaces", faults).and_then(|value| {
        let names = texts("interfaces", value, faults)?;
        let names = names.into_iter().map(|name| accepted("interfaces", name, scalar::interface, faults)).collect();
        each_once("interfaces", value, all(names)?, INTERFACES_MAX, faults)
    });
    let capacity = reader.text("capacity", faults).and_then(|text| {
        let Some(text) = text else { return Ok(None) };
        let expected = "a whole number with kbit, Mbit, Gbit or Tbit, up to \"4Tbit\", like \"1Gbit\"";
        let problem = Problem::at(text.place, format!("capacity cannot be {:?}", text.value));
        scalar::kilobits(text.value).map(Some).ok_or_else(|| faults.error(problem.expects(expected)))
    });
    Ok(LoadKind::Network { interfaces: interfaces?.into_iter().map(str::to_owned).collect(), capacity: capacity? })
}

fn load_average(reader: &Reader<'_>, _: &Environment, faults: &mut Faults) -> Result<LoadKind, Reported> {
    let averages = [("1m", LoadAveraged::OneMinute), ("5m", LoadAveraged::FiveMinutes), ("15m", LoadAveraged::FifteenMinutes)];
    let average = reader.choice("average", LoadAveraged::OneMinute, &averages, faults);
    let capacity = match reader.place_of("capacity") {
        Some(_) => reader.integer("capacity", 1, 1..=PROCESSES_MAX, faults).map(Some),
        None => Ok(None),
    };
    Ok(LoadKind::LoadAverage { average: average?, capacity: capacity? })
}

fn connections(reader: &Reader<'_>, _: &Environment, faults: &mut Faults) -> Result<LoadKind, Reported> {
    let ports = reader.needed("ports", faults).and_then(|value| {
        let ports = numbers("ports", value, 1..=u16::MAX, faults)?;
        each_once("ports", value, ports, PORTS_MAX, faults)
    });
    let capacity = reader.needed("capacity", faults).and_then(|_| reader.integer("capacity", 1, 1..=u32::MAX, faults));
    Ok(LoadKind::Connections { ports: ports?, capacity: capacity? })
}

fn pressure(reader: &Reader<'_>, _: &Environment, faults: &mut Faults) -> Result<LoadKind, Reported> {
    let resources = [("cpu", Resource::Cpu), ("io", Resource::Io), ("memory", Resource::Memory)];
    let resource = reader.needed("resource", faults).and_then(|_| reader.choice("resource", Resource::Cpu, &resources, faults));
    let stalled = reader.choice("stalled", Stalled::Some, &[("some", Stalled::Some), ("full", Stalled::Full)], faults);
    let averages = [("10s", PressureAveraged::TenSeconds), ("1m", PressureAveraged::OneMinute), ("5m", PressureAveraged::FiveMinutes)];
    let average = reader.choice("average", PressureAveraged::TenSeconds, &averages, faults);
    let capacity = reader.integer("capacity", 100, 1..=100, faults);
    Ok(LoadKind::Pressure { resource: resource?, stalled: stalled?, average: average?, capacity: capacity? })
}

fn script(reader: &Reader<'_>, environment: &Environment, faults: &mut Faults) -> Result<LoadKind, Reported> {
    command(reader, environment, faults).map(|command| LoadKind::Script { command })
}
