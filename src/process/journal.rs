//! From reports of the core to events in memory: what happened, about what and whom, why, and when by both clocks.
//!
//! One exhaustive `match`. Writes the ring that `raisctl events` is answered from; a recorder on disk is to be fed from the
//! same place. Never decides and never waits. Called by the loop before the actions are done, so that what a script or a
//! client notices has been recorded already.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use crate::node::Node;
use crate::node::action::{Action, Report};
use crate::node::event::GroupIndex;
use crate::ports::api::events::{EVENTS_MAX, EventReader, EventWriter, Moment, NewEvent, ring};
use crate::types::host::{BootId, Duty, HostId};
use crate::types::item::{Epoch, Item, Reason};
use crate::types::message::CommandKind;
use crate::types::recorded::Kind;

/// So many addresses or hosts are named in a detail.
const NAMED_MAX: usize = 16;

/// The events of this start.
#[derive(Debug)]
pub(super) struct Journal {
    /// Names, also of groups that end in the turn that tells of it.
    groups: BTreeMap<GroupIndex, String>,
    writer: EventWriter,
}

#[expect(clippy::disallowed_methods, reason = "ages of events are counted by the clock that stamps them")]
fn monotonic() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "people read the time of the wall clock; nothing is decided by it")]
fn present() -> Moment {
    Moment { at: Instant::now(), wall: rfc3339(SystemTime::now()) }
}

impl Journal {
    /// An empty journal, and the end of it that the API reads.
    pub(super) fn start(boot: BootId) -> (Self, EventReader) {
        let (writer, reader) = ring(EVENTS_MAX, format!("{boot:?}"), monotonic);
        (Self { groups: BTreeMap::new(), writer }, reader)
    }

    /// The daemon runs.
    pub(super) fn record_start(&self, host: HostId, name: &str, software: &str, incarnation: u64) {
        let about =
            About { host: Some(host), detail: format!("raisd {software}, start {incarnation} of this host"), ..About::of(Kind::Started) };
        let mut event = about.event(None, |_| None);
        event.name = Some(name.to_owned());
        self.writer.record(&present(), [event]);
    }

    /// What the core reports among these actions.
    pub(super) fn record(&mut self, node: &Node, actions: &[Action]) {
        for (group, name) in node.group_names().filter(|(group, _)| !self.groups.contains_key(group)).collect::<Vec<_>>() {
            self.writer.add_group(name);
            self.groups.insert(group, name.to_owned());
        }
        let mut told = actions
            .iter()
            .filter_map(|action| if let Action::Report { group, report } = action { Some((*group, report)) } else { None })
            .peekable();
        if told.peek().is_none() {
            return;
        }
        let me = node.id();
        let events = told.map(|(group, report)| {
            let name = |host: HostId| node.host_name(group, host);
            let of = group.and_then(|group| self.groups.get(&group)).cloned();
            about(me, report, &name).event(of, name)
        });
        self.writer.record(&present(), events);
        for action in actions {
            if let Action::EndGroup { group } = action {
                self.groups.remove(group);
            }
        }
    }
}

/// RFC 3339 in UTC, with microseconds.
fn rfc3339(time: SystemTime) -> String {
    match jiff::Timestamp::try_from(time) {
        Ok(time) => format!("{time:.6}"),
        // Beyond the year 9999, or before -9999: no clock that people read.
        Err(_) => "unknown".to_owned(),
    }
}

/// What an event is about.
struct About {
    kind: Kind,
    address: Option<IpAddr>,
    host: Option<HostId>,
    reason: Option<Reason>,
    epoch: Option<Epoch>,
    detail: String,
}

impl About {
    fn of(kind: Kind) -> Self {
        Self { kind, address: None, host: None, reason: None, epoch: None, detail: String::new() }
    }

    fn item(mut self, item: &Item) -> Self {
        match item {
            Item::Address(address) => self.address = Some(*address),
            Item::DataSet(name) => self.detail = format!("data set {name}"),
        }
        self
    }

    fn host(self, host: HostId) -> Self {
        Self { host: Some(host), ..self }
    }

    fn why(self, epoch: Epoch, reason: Reason) -> Self {
        Self { epoch: Some(epoch), reason: Some(reason), ..self }
    }

    fn detail(mut self, detail: impl AsRef<str>) -> Self {
        if !self.detail.is_empty() {
            self.detail.push_str(": ");
        }
        self.detail.push_str(detail.as_ref());
        self
    }

    fn event(self, group: Option<String>, name: impl Fn(HostId) -> Option<String>) -> NewEvent {
        let Self { kind, address, host, reason, epoch, detail } = self;
        NewEvent { kind, group, address, host, name: host.and_then(name), reason, epoch: epoch.map(|epoch| epoch.0), detail }
    }
}

fn about(me: HostId, report: &Report, name: &impl Fn(HostId) -> Option<String>) -> About {
    let called = |host: HostId| name(host).unwrap_or_else(|| host.to_string());
    let of = About::of;
    match report {
        Report::Acquired { item, epoch, reason } => of(Kind::Acquire).item(item).host(me).why(*epoch, *reason),
        Report::AcquireFailed { item, epoch, reason, why, back_off } => {
            let detail = format!("{why}; not given to this host for {} s", back_off.as_secs());
            of(Kind::AcquireFail).item(item).host(me).why(*epoch, *reason).detail(detail)
        }
        Report::AddressForeign { item, interface } => {
            of(Kind::AddressForeign).item(item).host(me).detail(format!("on {interface} without this program's mark; left alone"))
        }
        Report::AddressFound { item, interface } => {
            of(Kind::AddressFound).item(item).host(me).detail(format!("put on {interface} by something else; taken over"))
        }
        Report::AddressLost { item, interface, times } => {
            of(Kind::AddressLost).item(item).host(me).detail(format!("removed from {interface} by something else, time {times} in a row"))
        }
        Report::CannotAssign { item, why } => of(Kind::CannotAssign).item(item).detail(why),
        Report::CanServe => of(Kind::CanServe).host(me),
        Report::CannotServe { why } => of(Kind::CannotServe).host(me).detail(why),
        Report::Conflict { item, kept } => {
            of(Kind::Conflict).item(item).host(*kept).detail(format!("several live hosts prefer it; {} counts", called(*kept)))
        }
        Report::ConfigurationDiffers { host, keys } => {
            let keys = if keys.is_empty() { "group-wide keys".to_owned() } else { list(keys) };
            of(Kind::ConfigurationDiffers).host(*host).detail(format!("not the leader's: {keys}"))
        }
        Report::Decided { kind, to, item, epoch, reason } => {
            let kind = match kind {
                CommandKind::Acquire => Kind::DecidedAcquire,
                CommandKind::Release => Kind::DecidedRelease,
            };
            of(kind).item(item).host(*to).why(*epoch, *reason)
        }
        Report::DuplicateId { boot } => {
            of(Kind::DuplicateId).host(me).detail(format!("start {boot} uses this host's id and was first; this daemon stops"))
        }
        Report::DuplicateSettled { item, kept, released } => {
            let released: Vec<String> = released.iter().map(|host| called(*host)).collect();
            of(Kind::DuplicateSettled).item(item).host(*kept).detail(format!("{} keeps it, released by {}", called(*kept), list(&released)))
        }
        Report::DutyChanged { duty, why } => {
            let kind = match duty {
                Duty::Active => Kind::Resumed,
                Duty::Quiesced => Kind::Quiesced,
                Duty::Draining => Kind::Draining,
            };
            of(kind).host(me).detail(why)
        }
        Report::Expired { item, why } => of(Kind::Expired).item(item).detail(why),
        Report::Follows { leader, ruling } => {
            let detail = format!("goes by the leader's heartbeat {:?} and timeout {:?}", ruling.heartbeat, ruling.timeout);
            of(Kind::Follows).host(*leader).detail(detail)
        }
        Report::GroupBegins => of(Kind::GroupBegins).host(me),
        Report::GroupEnded => of(Kind::GroupEnded).host(me),
        Report::Frozen { by, left } => of(Kind::Frozen).host(*by).detail(format!("for {} s, asked for on {}", left.as_secs(), called(*by))),
        Report::HostHeard { host, .. } => of(Kind::HostHeard).host(*host),
        Report::HostLeft { host, .. } => of(Kind::HostLeft).host(*host).detail("said goodbye"),
        Report::HostSilent { host, silent_for, .. } => {
            of(Kind::HostSilent).host(*host).detail(format!("not heard for {} ms", silent_for.as_millis()))
        }
        Report::LeaderChanged { leader, was } => {
            let text = |host: &Option<HostId>| host.map_or_else(|| "nobody".to_owned(), called);
            About { host: *leader, ..of(Kind::LeaderChanged) }.detail(format!("{} (was {})", text(leader), text(was)))
        }
        Report::LimitReached { what, limit } => {
            of(Kind::LimitReached).detail(format!("more was heard of {what} than is remembered ({limit})"))
        }
        Report::MulticastFails { network, control: _, hosts } => {
            of(Kind::MulticastFails).host(me).detail(format!("control network {network}: nothing by multicast of {}", list(hosts)))
        }
        Report::MulticastWorks { network } => of(Kind::MulticastWorks).host(me).detail(format!("control network {network}")),
        Report::NetworkFails { what, why } => of(Kind::NetworkFails).host(me).detail(format!("{what}: {why}")),
        Report::NetworkWorks { what } => of(Kind::NetworkWorks).host(me).detail(what),
        Report::Released { item, epoch, reason } => of(Kind::Release).item(item).host(me).why(*epoch, *reason),
        Report::ReleaseFailed { item, epoch, reason, why } => of(Kind::ReleaseFail).item(item).host(me).why(*epoch, *reason).detail(why),
        Report::ScriptEnded { item, action, epoch, reason, problem } => {
            let kind = if problem.is_some() { Kind::ScriptFail } else { Kind::ScriptDone };
            let detail = problem.clone().unwrap_or_else(|| format!("{} script", action.as_str()));
            of(kind).item(item).host(me).why(*epoch, *reason).detail(detail)
        }
        Report::Settled => of(Kind::Settled).host(me).detail("has listened long enough to lead and to acquire"),
        Report::Stalled { late } => of(Kind::Stalled).host(me).detail(format!("did not run for {} ms; listens anew", late.as_millis())),
        Report::StoreFailed { why } => of(Kind::StoreFail).host(me).detail(why),
        Report::TestFailed { test, why } => of(Kind::TestFailed).host(me).detail(format!("{test}: {why}")),
        Report::TestRecovered { test } => of(Kind::TestRecovered).host(me).detail(test),
        Report::Thawed { by: Some(by) } => of(Kind::Thawed).host(*by).detail(format!("asked for on {}", called(*by))),
        Report::Thawed { by: None } => of(Kind::Thawed).detail("its time has ended"),
        Report::ZoneChanged { serial, advertised } => {
            let advertised: Vec<String> = advertised.iter().map(ToString::to_string).collect();
            let what = if advertised.is_empty() { "nothing".to_owned() } else { list(&advertised) };
            of(Kind::ZoneChanged).detail(format!("serial {serial} advertises {what}"))
        }
    }
}

fn list(members: &[String]) -> String {
    let shown: Vec<&str> = members.iter().take(NAMED_MAX).map(String::as_str).collect();
    match members.len().checked_sub(NAMED_MAX).filter(|left_out| *left_out > 0) {
        Some(left_out) => format!("{} and {left_out} more", shown.join(" ")),
        None => shown.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u8) -> HostId {
        HostId([10, 0, 0, number].into())
    }

    fn item() -> Item {
        Item::Address([192, 0, 2, 12].into())
    }

    fn told(report: &Report) -> NewEvent {
        let name = |host: HostId| (host == super::tests::host(12)).then(|| "web2".to_owned());
        about(host(12), report, &name).event(Some("www".to_owned()), name)
    }

    #[test]
    fn a_move_and_a_decision_about_one_have_address_host_reason_and_epoch() {
        let (epoch, reason) = (Epoch(3), Reason::Home);
        let why = "no room".to_owned();
        let back_off = std::time::Duration::from_secs(5);
        for report in [
            Report::Acquired { item: item(), epoch, reason },
            Report::AcquireFailed { item: item(), epoch, reason, why: why.clone(), back_off },
            Report::Decided { kind: CommandKind::Acquire, to: host(12), item: item(), epoch, reason },
            Report::Decided { kind: CommandKind::Release, to: host(12), item: item(), epoch, reason },
            Report::Released { item: item(), epoch, reason },
            Report::ReleaseFailed { item: item(), epoch, reason, why: why.clone() },
        ] {
            let event = told(&report);
            assert_eq!(event.address, item().address(), "{report:?}");
            assert_eq!((event.host, event.name.as_deref()), (Some(host(12)), Some("web2")), "{report:?}");
            assert_eq!((event.reason, event.epoch), (Some(reason), Some(3)), "{report:?}");
        }
    }

    #[test]
    fn hosts_have_names_in_details_as_well() {
        let settled = told(&Report::DuplicateSettled { item: item(), kept: host(12), released: vec![host(12), host(9)] });
        assert_eq!(settled.detail, "web2 keeps it, released by web2 10.0.0.9");
        let changed = told(&Report::LeaderChanged { leader: None, was: Some(host(12)) });
        assert_eq!((changed.detail.as_str(), changed.host), ("nobody (was web2)", None));
    }

    #[test]
    fn a_long_list_of_addresses_is_cut() {
        let advertised = (0..=255).map(|last| IpAddr::from([192, 0, 2, last])).collect();
        let detail = told(&Report::ZoneChanged { serial: 7, advertised }).detail;
        assert!(detail.starts_with("serial 7 advertises 192.0.2.0 192.0.2.1") && detail.ends_with("and 240 more"), "{detail}");
    }

    #[test]
    fn times_are_written_in_utc_with_microseconds() {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::new(1_795_341_836, 123_456_789);
        assert_eq!(rfc3339(time), "2026-11-22T10:03:56.123456Z");
    }
}
