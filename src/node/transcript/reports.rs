//! What the operator is told, in words.
//!
//! Owns nothing. Called by the transcript.

use super::Names;
use super::words::{all_failed, duty, list, printable, span, verb};
use crate::node::action::Report;
use crate::types::policy::Ruling;

pub(super) fn line(report: &Report, names: &Names) -> String {
    match report {
        Report::Acquired { item, epoch, reason } => format!("online with {item}, epoch {epoch}: {reason}"),
        Report::AcquireFailed { item, epoch, reason, why, back_off } => {
            format!("could not take {item}, epoch {epoch}, {reason}: {}; not tried again for {}", printable(why), span(*back_off))
        }
        Report::AddressFound { item, interface } => format!("{item} was put on {interface} by others and is taken over"),
        Report::AddressForeign { item, interface } => format!("{item} is on {interface} without this program's mark and is left alone"),
        Report::AddressLost { item, interface, times } => {
            format!("others have taken {item} off {interface}, time {times} in a row; it is put back")
        }
        Report::CannotAssign { item, why } => format!("nobody can take {item}: {}", printable(why)),
        Report::CanServe => "this host can serve".to_owned(),
        Report::CannotServe { why } => format!("this host cannot serve: {}", printable(why)),
        Report::Conflict { item, kept } => format!("several live hosts prefer {item}; {} counts", names.host(*kept)),
        Report::ConfigurationDiffers { host, keys } => {
            let keys = if keys.is_empty() { "group-wide keys".to_owned() } else { list(keys) };
            format!("{} has other values than the leader of {keys}", names.host(*host))
        }
        Report::Decided { kind, to, item, epoch, reason } => {
            format!("decided: {} is to {} {item}, epoch {epoch}: {reason}", names.host(*to), verb(*kind))
        }
        Report::DuplicateId { boot } => format!("another daemon uses this host's id and started earlier ({boot}); this one stops"),
        Report::DuplicateSettled { item, kept, released } => {
            format!("several hosts hold {item}: {} keeps it, {} gives it up", names.host(*kept), names.hosts(released))
        }
        Report::DutyChanged { duty: wish, why } => {
            let why = if why.is_empty() { String::new() } else { format!(" ({})", printable(why)) };
            format!("this host is {}{why}", duty(*wish))
        }
        Report::Expired { item, why } => format!("{item} has expired: {}", printable(why)),
        Report::Follows { leader, ruling: Ruling { heartbeat, timeout, all_failed: failed } } => {
            let (heartbeat, timeout) = (span(*heartbeat), span(*timeout));
            format!("goes by {}'s heartbeat {heartbeat}, timeout {timeout}, all_failed {}", names.host(*leader), all_failed(*failed))
        }
        Report::Frozen { by, left } => format!("the group is frozen for {}, asked for on {}", span(*left), names.host(*by)),
        Report::GroupBegins => "the group begins".to_owned(),
        Report::GroupEnded => "the group has ended here".to_owned(),
        Report::HostHeard { host, name } => format!("{} is heard", who(names.host(*host), name)),
        Report::HostLeft { host, name } => format!("{} has said goodbye", who(names.host(*host), name)),
        Report::HostSilent { host, name, silent_for } => {
            format!("{} is silent, not heard for {}", who(names.host(*host), name), span(*silent_for))
        }
        Report::LeaderChanged { leader, was } => {
            let called = |host: &Option<_>| host.map_or_else(|| "nobody".to_owned(), |host| names.host(host));
            format!("leader is {}, was {}", called(leader), called(was))
        }
        Report::LimitReached { what, limit } => format!("more was heard than is remembered: {what}, at most {limit}"),
        Report::MulticastWorks { network } => format!("multicast arrives on control network {network} again"),
        Report::MulticastFails { network, control, hosts } => {
            let control = control.map_or_else(String::new, |control| format!(" ({control})"));
            let hosts = list(hosts.iter().map(|host| printable(host)));
            format!("multicast of {hosts} does not arrive on control network {network}{control}, unicast does")
        }
        Report::NetworkWorks { what } => format!("{} works again", printable(what)),
        Report::NetworkFails { what, why } => format!("{} does not work: {}", printable(what), printable(why)),
        Report::Released { item, epoch, reason } => format!("has given up {item}, epoch {epoch}: {reason}"),
        Report::ReleaseFailed { item, epoch, reason, why } => {
            format!("something failed while giving up {item}, epoch {epoch}, {reason}: {}", printable(why))
        }
        Report::ScriptEnded { item, action, epoch, reason, problem } => {
            let end = problem.as_ref().map_or_else(|| "is done".to_owned(), |why| format!("has not done its work: {}", printable(why)));
            format!("the {} script for {item}, epoch {epoch}, {reason}, {end}", action.as_str())
        }
        Report::Settled => "has listened long enough to lead and to acquire".to_owned(),
        Report::Stalled { late } => format!("this daemon did not run for {}; it listens anew", span(*late)),
        Report::StoreFailed { why } => format!("state could not be written: {}", printable(why)),
        Report::Thawed { by: Some(by) } => format!("the group is thawed, asked for on {}", names.host(*by)),
        Report::Thawed { by: None } => "the time of the freeze has ended".to_owned(),
        Report::TestFailed { test, why } => format!("test {} fails: {}", printable(test), printable(why)),
        Report::TestRecovered { test } => format!("test {} passes again", printable(test)),
        Report::ZoneChanged { serial, advertised } => format!("zone list {serial} advertises {}", list(advertised)),
    }
}

/// The report may know a name that was not known before.
fn who(known: String, name: &str) -> String {
    if name.is_empty() || name == known { known } else { printable(name) }
}
