//! A configuration, in words: what it says of the host, its tests and its groups.
//!
//! Owns nothing. Called by the transcript for a reload.

use super::words::{all_failed, announce_method, assign, either, failback, handover, indented, list, printable, role, span, when_empty};
use crate::types::policy::{AnnouncePolicy, GroupPolicy, HostPolicy, NodePolicy, SharedPolicy, TestPolicy, ZonePolicy};

pub(super) fn node(policy: &NodePolicy) -> Vec<String> {
    let NodePolicy { host, groups, tests } = policy;
    let HostPolicy { id, name, control, location, capabilities } = host;
    let mut lines = vec![format!("host {} with id {id}, control addresses {}", printable(name), list(control))];
    if !location.is_empty() || !capabilities.is_empty() {
        let capabilities = list(capabilities.iter().map(|word| printable(word)));
        lines.push(format!("location {:?}, capabilities {capabilities}", printable(location)));
    }
    lines.extend(tests.iter().map(|TestPolicy { name, rise, fall }| format!("test {}: rise {rise}, fall {fall}", printable(name))));
    for group in groups {
        lines.push(format!("group {}:", printable(&group.name)));
        lines.extend(indented(self::group(group)));
    }
    lines
}

fn group(policy: &GroupPolicy) -> Vec<String> {
    let GroupPolicy {
        name: _,
        interface,
        role: member,
        preferred,
        floating,
        accept,
        multicast,
        peers,
        tests,
        loads,
        has_acquire_script,
        has_release_script,
        script_timeout,
        announce: AnnouncePolicy { method, count, refresh },
        keys,
        shared,
    } = policy;
    let mut lines = vec![format!("{} on {interface}, prefers {}", role(*member), list(preferred))];
    lines.push(format!("floats {}; accepts {}", list(floating), if accept.is_empty() { "anything".to_owned() } else { list(accept) }));
    lines.push(format!("talks by {}; peers {}", either(*multicast, "multicast", "unicast only"), list(peers)));
    lines.push(format!("tests {}; loads {}", list(tests), list(loads)));
    let scripts = match (has_acquire_script, has_release_script) {
        (true, true) => "acquire and release script",
        (true, false) => "acquire script",
        (false, true) => "release script",
        (false, false) => "no script",
    };
    lines.push(format!("{scripts}, script timeout {}", span(*script_timeout)));
    lines.push(format!("announces by {}, {count} times after an acquire, again after {}", announce_method(*method), span(*refresh)));
    lines.push(format!("sends with key {}, opens keys {}", keys.sends.0, list(keys.opens.iter().map(|key| key.0))));
    lines.extend(self::shared(shared));
    lines
}

fn shared(policy: &SharedPolicy) -> Vec<String> {
    let SharedPolicy {
        heartbeat,
        timeout,
        orphan_lifetime,
        assign: picks,
        failback: returns,
        rebalance,
        all_failed: failed,
        handover: moves,
        zone,
    } = policy;
    let rebalance = rebalance.map_or_else(|| "never".to_owned(), span);
    let mut lines = vec![
        format!("heartbeat {}, timeout {}, orphan_lifetime {}", span(*heartbeat), span(*timeout), span(*orphan_lifetime)),
        format!(
            "assign {}, failback {}, rebalance {rebalance}, all_failed {}, handover {}",
            assign(*picks),
            failback(*returns),
            all_failed(*failed),
            handover(*moves)
        ),
    ];
    match zone {
        Some(zone) => lines.extend(self::zone(zone)),
        None => lines.push("no zone".to_owned()),
    }
    lines
}

fn zone(policy: &ZonePolicy) -> Vec<String> {
    let ZonePolicy { name, ttl, high_water, low_water, min_addresses, max_answers, when_empty: empty, nameservers, contact } = policy;
    let mut lines = vec![
        format!("zone {}, ttl {}, contact {}", printable(name), span(*ttl), printable(contact)),
        format!(
            "zone marks {high_water}% and {low_water}%, at least {min_addresses} per family, at most {max_answers} answers, when empty {}",
            when_empty(*empty)
        ),
    ];
    lines.extend(nameservers.iter().map(|(name, addresses)| format!("name server {} at {}", printable(name), list(addresses))));
    lines
}
