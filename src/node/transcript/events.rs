//! What a node is told, in words.
//!
//! Owns nothing. Called by the transcript.

use super::words::{boot, count, indented, list, printable, span};
use super::{Names, brief, policies, records};
use crate::node::event::{
    Arrival, Event, GroupPlace, Heard, KernelChange, Link, LoadSample, Mark, Outcome, Reload, Request, TestResult, Way,
};

pub(super) fn lines(event: &Event, names: &Names) -> Vec<String> {
    match event {
        Event::Timeout => vec!["its deadline has come".to_owned()],
        Event::Heard(heard) => self::heard(heard, names),
        Event::Finished { op, outcome } => vec![match outcome {
            Outcome::Done => format!("operation {} is done", op.0),
            Outcome::Failed { why } => format!("operation {} has failed: {}", op.0, printable(why)),
            Outcome::TimedOut => format!("operation {} was killed at its timeout", op.0),
        }],
        Event::Tested { test, result } => vec![match result {
            TestResult::Passed => format!("the probe of test {} says: passed", printable(test)),
            TestResult::Failed { why } => format!("the probe of test {} says: failed, {}", printable(test), printable(why)),
        }],
        Event::Loaded { load, sample } => vec![match sample {
            Some(LoadSample { load: measured, capacity }) => {
                format!("the probe of load {} says: {measured} of {capacity}", printable(load))
            }
            None => format!("the probe of load {} could not be read", printable(load)),
        }],
        Event::Kernel(change) => vec![kernel(change)],
        Event::Asked { token, request } => vec![format!("request {} of the operator: {}", token.0, self::request(request))],
        Event::Reloaded(reload) => reloaded(reload, names),
        Event::Stopped => vec!["it is told to stop".to_owned()],
    }
}

fn heard(heard: &Heard, names: &Names) -> Vec<String> {
    let Heard { group, network, way, sender, number, arrival, records } = heard;
    let way = match way {
        Way::Multicast => "multicast",
        Way::Unicast => "unicast",
    };
    let again = match arrival {
        Arrival::First => "",
        Arrival::Again => ", which it has heard before",
    };
    let number = if *number == u64::MAX { "the last datagram".to_owned() } else { format!("datagram {number}") };
    let start = format!("start {}, {}", sender.incarnation, boot(sender.boot));
    let head =
        format!("hears {}{}: {number} of {start}, by {way} on network {network}{again}", names.host(sender.host), names.of_group(*group));
    let mut lines = vec![head];
    lines.extend(indented(records.iter().flat_map(|record| records::lines(record, names))));
    lines
}

pub(super) fn heard_in_short(heard: &Heard, names: &Names) -> Vec<String> {
    let Heard { group, network, way, sender, number, arrival, records } = heard;
    let way = match way {
        Way::Multicast => "",
        Way::Unicast => ", by unicast",
    };
    let again = match arrival {
        Arrival::First => "",
        Arrival::Again => ", a second time",
    };
    let number = if *number == u64::MAX { "the last datagram".to_owned() } else { format!("datagram {number}") };
    let head = format!(
        "hears {number} of {}, start {}, on network {network}{}{way}{again}",
        names.host(sender.host),
        sender.incarnation,
        names.of_group(*group)
    );
    let mut lines = vec![head];
    lines.extend(indented(records.iter().map(|record| brief::line(record, names))));
    lines
}

fn kernel(change: &KernelChange) -> String {
    match change {
        KernelChange::AddressPresent { interface, address, mark } => {
            let mark = match mark {
                Mark::Ours => "with this program's mark",
                Mark::Foreign => "without this program's mark",
            };
            format!("kernel: {address} is on {interface}, {mark}")
        }
        KernelChange::AddressAbsent { interface, address } => format!("kernel: {address} is on {interface} no longer"),
        KernelChange::Link { interface, link } => format!("kernel: {interface} {}", self::link(*link)),
        KernelChange::ControlAddress { network, address } => format!("kernel: the control address of network {network} is {address}"),
        KernelChange::Network { network, fault: None } => format!("control network {network} works"),
        KernelChange::Network { network, fault: Some(why) } => format!("control network {network} does not work: {}", printable(why)),
    }
}

fn link(link: Link) -> String {
    match link {
        Link::Absent => "does not exist".to_owned(),
        Link::Down => "is down".to_owned(),
        Link::Up { mac: None } => "is up".to_owned(),
        Link::Up { mac: Some(mac) } => format!("is up with hardware address {}", records::mac(mac)),
    }
}

fn request(request: &Request) -> String {
    let of = |group: &Option<String>| group.as_ref().map_or_else(String::new, |group| format!(", group {}", printable(group)));
    let because = |reason: &str| if reason.is_empty() { String::new() } else { format!(", because: {}", printable(reason)) };
    match request {
        Request::Drain { group, timeout, reason } => format!("drain, wait at most {}{}{}", span(*timeout), of(group), because(reason)),
        Request::Expire { group, item } => format!("expire {item}{}", of(group)),
        Request::Explain { group, subject } => format!("explain {}{}", printable(subject), of(group)),
        Request::Forget { group, host } => format!("forget host {}{}", printable(host), of(group)),
        Request::Freeze { group, duration } => format!("freeze for {}{}", span(*duration), of(group)),
        Request::Move { group, item, to, timeout } => {
            let to = to.as_ref().map_or_else(|| "its preferred host".to_owned(), |to| printable(to));
            format!("move {item} to {to}, wait at most {}{}", span(*timeout), of(group))
        }
        Request::Quiesce { group, reason } => format!("quiesce{}{}", of(group), because(reason)),
        Request::Rebalance { group } => format!("rebalance{}", of(group)),
        Request::Resume { group } => format!("resume{}", of(group)),
        Request::Status => "status".to_owned(),
        Request::Thaw { group } => format!("thaw{}", of(group)),
    }
}

fn reloaded(reload: &Reload, names: &Names) -> Vec<String> {
    let Reload { policy, places, links, changed_tests } = reload;
    let mut lines = vec!["its configuration has been read again".to_owned()];
    let mut more = policies::node(policy);
    for (place, group) in places.iter().zip(&policy.groups) {
        match place {
            GroupPlace::Stays(number) => more.push(format!("group {} goes on as number {}", printable(&group.name), number.0)),
            GroupPlace::Begins { group: number, boot: drawn, stored } => {
                more.push(format!("group {} begins as number {}, {}", printable(&group.name), number.0, boot(*drawn)));
                more.extend(indented(super::actions::stored(stored, names)));
            }
        }
    }
    more.extend(links.iter().map(|(interface, link)| format!("interface {interface} {}", self::link(*link))));
    if !changed_tests.is_empty() {
        let tests = list(changed_tests.iter().map(|test| printable(test)));
        more.push(format!("{} counted anew: {tests}", count(changed_tests.len(), "test is", "tests are")));
    }
    lines.extend(indented(more));
    lines
}
