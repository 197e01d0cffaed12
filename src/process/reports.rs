//! Reports of the core as lines in the log: what happened, why, and what to do.
//!
//! One exhaustive `match`. Lines that are traps carry `trap` with the trap's name.

use tracing::{debug, error, info, warn};

use crate::node::action::Report;
use crate::types::host::{Duty, HostId};
use crate::types::message::CommandKind;
use crate::types::policy::{AllFailed, Ruling};

/// Writes a report to the log. `group` is empty for what concerns the host.
pub(super) fn log(group: &str, report: &Report) {
    match report {
        Report::Acquired { item, epoch, reason } => {
            info!(group, %item, %epoch, %reason, trap = "acquire", "online with {item}: {reason}");
        }
        Report::AcquireFailed { item, epoch, reason, why, back_off } => {
            warn!(group, %item, %epoch, %reason, trap = "acquire-fail",
                "could not take {item} ({why}); it is off again, this host is not given it for {} s", back_off.as_secs());
        }
        Report::AddressForeign { item, interface } => {
            error!(group, %item, interface,
                "{item} is on {interface} without this program's mark and is left alone, so two hosts may answer for it; remove it from the system's network configuration (`ip address del {item} dev {interface}`)");
        }
        Report::AddressFound { item, interface } => {
            warn!(group, %item, interface, "{item} was put on {interface} by something else; taken over, marked, and now subject to the leader");
        }
        Report::AddressLost { item, interface, times } => {
            warn!(group, %item, interface, times, "something else removed {item} from {interface} (time {times} in a row); putting it back");
        }
        Report::CannotAssign { item, why } => {
            error!(group, %item, trap = "cannot-assign", "nobody serves {item}: {why}; it is tried again as soon as that changes");
        }
        Report::CanServe => info!(group, "this host can serve"),
        Report::CannotServe { why } => warn!(group, "this host cannot serve: {why}"),
        Report::Conflict { item, kept } => {
            error!(group, %item, trap = "conflict", "several live hosts prefer {item}; {kept} counts, take it out of the configuration of the others");
        }
        Report::ConfigurationDiffers { host, keys } => {
            let keys = if keys.is_empty() { "group-wide keys".to_owned() } else { keys.join(", ") };
            warn!(group, %host, keys, "{host} has other values than this leader, whose rule: {keys}; compare the [[group]] sections");
        }
        Report::Decided { kind, to, item, epoch, reason } => {
            let verb = match kind {
                CommandKind::Acquire => "take",
                CommandKind::Release => "give up",
            };
            info!(group, %item, %to, %epoch, %reason, "leader: {to} is to {verb} {item}: {reason}");
        }
        Report::DuplicateId { boot } => {
            error!(
                group,
                boot,
                trap = "duplicate-id",
                "another daemon uses this host's id and started earlier; everything is given up and this daemon stops; give one of the two another host.id"
            );
        }
        Report::DuplicateSettled { item, kept, released } => {
            let released: Vec<String> = released.iter().map(ToString::to_string).collect();
            warn!(group, %item, %kept, "several hosts held {item}; {kept} keeps it, released by {}", released.join(", "));
        }
        Report::DutyChanged { duty, why } => {
            let said = match duty {
                Duty::Active => "resumed: acquires what the leader assigns",
                Duty::Quiesced => "quiesced: acquires nothing, keeps what it serves",
                Duty::Draining => "draining: gives up what it serves",
            };
            info!(group, why, "{said}");
        }
        Report::Expired { item, why } => info!(group, %item, "{item} has expired: {why}"),
        Report::Follows { leader, ruling } => {
            let Ruling { heartbeat, timeout, all_failed } = ruling;
            let kept = match all_failed {
                AllFailed::Keep => "keep",
                AllFailed::Release => "release",
            };
            info!(group, %leader, "goes by the leader's heartbeat {heartbeat:?}, timeout {timeout:?} and all_failed {kept}");
        }
        Report::Frozen { by, left } => {
            warn!(group, %by, "frozen for {} s, asked for on {by}: no address moves, whatever happens; `raisctl thaw` ends it", left.as_secs());
        }
        Report::GroupBegins => info!(group, "group {group} begins: this host listens before it leads or acquires"),
        Report::GroupEnded => info!(group, "group {group} has ended here: everything is given up and the others know"),
        Report::HostHeard { host, name } => info!(group, %host, "host {} is heard", who(*host, name)),
        Report::HostLeft { host, name } => info!(group, %host, "host {} has stopped in order", who(*host, name)),
        Report::HostSilent { host, name, silent_for } => {
            warn!(group, %host, trap = "host-silent", "host {} has not been heard for {} ms; what it held is served elsewhere", who(*host, name), silent_for.as_millis());
        }
        Report::LeaderChanged { leader, was } => {
            let text = |id: &Option<HostId>| id.map_or_else(|| "nobody".to_owned(), |id| id.to_string());
            info!(group, trap = "leader-changed", "leader is {} (was {})", text(leader), text(was));
        }
        Report::LimitReached { what, limit } => {
            error!(
                group,
                limit, "more was heard of ({what}) than is remembered; what does not fit is ignored; look for a host that says too much"
            );
        }
        Report::MulticastFails { network, control, hosts } => {
            let control = control.map_or_else(String::new, |control| format!(" ({control})"));
            warn!(
                group,
                network,
                "multicast of {} does not arrive on control network {network}{control} any more, unicast does and is used instead; look for a switch that snoops IGMP or MLD without a querier, or for a firewall",
                hosts.join(", ")
            );
        }
        Report::MulticastWorks { network } => info!(group, network, "multicast arrives on control network {network} again"),
        Report::NetworkFails { what, why } => warn!(group, "{what} does not work: {why}"),
        Report::NetworkWorks { what } => info!(group, "{what} works again"),
        Report::Released { item, epoch, reason } => {
            info!(group, %item, %epoch, %reason, trap = "release", "gave up {item}: {reason}");
        }
        Report::ReleaseFailed { item, epoch, reason, why } => {
            warn!(group, %item, %epoch, %reason, trap = "release-fail", "while giving up {item}: {why}");
        }
        Report::ScriptEnded { item, action, epoch, reason, problem: None } => {
            debug!(group, %item, %epoch, %reason, "the {} script for {item} has ended as it should", action.as_str());
        }
        Report::ScriptEnded { item, action, epoch, reason, problem: Some(why) } => {
            // What comes of it is told as a move that failed.
            debug!(group, %item, %epoch, %reason, "the {} script for {item} has not done its work: {why}", action.as_str());
        }
        Report::Settled => info!(group, "has listened long enough to lead and to acquire"),
        Report::Stalled { late } => {
            warn!(group, "this daemon did not run for {} ms; it listens anew before it decides anything", late.as_millis());
        }
        Report::StoreFailed { why } => {
            error!(group, "state could not be written, a restart would not know it: {why}");
        }
        Report::Thawed { by } => match by {
            Some(by) => info!(group, %by, "thawed, asked for on {by}: addresses move again"),
            None => info!(group, "the time of the freeze has ended: addresses move again"),
        },
        Report::TestFailed { test, why } => {
            warn!(group, test, trap = "test-failed", "test {test} fails: {why}; this host gives up what it serves");
        }
        Report::TestRecovered { test } => info!(group, test, "test {test} passes again"),
        Report::ZoneChanged { serial, advertised } => {
            let advertised: Vec<String> = advertised.iter().map(ToString::to_string).collect();
            info!(
                group,
                serial,
                "zone serial {serial} advertises {}",
                if advertised.is_empty() { "nothing".to_owned() } else { advertised.join(" ") }
            );
        }
    }
}

/// A host by name and id; by its id alone while its name is not known.
fn who(host: HostId, name: &str) -> String {
    if name.is_empty() || name == host.to_string() { host.to_string() } else { format!("{name} ({host})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::item::{Epoch, Item, Reason};

    /// What is written of a report. The level is that of `RAISD_LOG=info`.
    fn line(report: &Report) -> String {
        let (captured, guard) = crate::ports::script::captured_log::CapturedLog::start();
        log("www", report);
        drop(guard);
        captured.text()
    }

    #[test]
    fn every_line_of_a_move_carries_the_reason_and_the_epoch() {
        let item = || Item::Address([192, 0, 2, 12].into());
        let to = HostId([10, 0, 0, 12].into());
        let (epoch, reason) = (Epoch(3), Reason::RemovedByOthers);
        let (why, back_off) = ("no room".to_owned(), std::time::Duration::from_secs(5));
        for report in [
            Report::Acquired { item: item(), epoch, reason },
            Report::AcquireFailed { item: item(), epoch, reason, why: why.clone(), back_off },
            Report::Decided { kind: CommandKind::Acquire, to, item: item(), epoch, reason },
            Report::Decided { kind: CommandKind::Release, to, item: item(), epoch, reason },
            Report::Released { item: item(), epoch, reason },
            Report::ReleaseFailed { item: item(), epoch, reason, why },
        ] {
            let line = line(&report);
            assert_eq!(line.lines().count(), 1, "{line}");
            for word in ["reason=removed-by-others", "epoch=3", "192.0.2.12", "group=\"www\""] {
                assert!(line.contains(word), "{word} is not in {line}");
            }
        }
    }
}
