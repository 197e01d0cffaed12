//! What is different between two configurations, by the names of their keys: for the operator who asked for a reload.
//!
//! Only compares. A key that is group-wide is named like any other; whose value rules is not known here.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::node::event::GroupIndex;

/// What is different, most important first; each with its subject: `group www: heartbeat, preferred`.
pub(super) fn between(before: &Config, after: &Config) -> Vec<String> {
    let (old, new) = (groups(before), groups(after));
    let mut all = Vec::new();
    for (name, group) in &new {
        match old.get(name) {
            Some(was) if was.address != group.address => all.push(format!("group {name} goes on under another address")),
            Some(was) => all.extend(listed(&format!("group {name}"), was.changed(group))),
            None => all.push(format!("group {name} begins")),
        }
    }
    all.extend(old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("group {name} is given up")));
    all.extend(host(before, after));
    let specs = |config: &Config| config.tests.iter().map(|test| (test.name.clone(), test.clone())).collect();
    all.extend(entries("test", &specs(before), &specs(after)));
    let specs = |config: &Config| config.loads.iter().map(|load| (load.name.clone(), load.clone())).collect();
    all.extend(entries("load", &specs(before), &specs(after)));
    all.extend(name_server(before, after));
    all.extend(listed("recorder", named(&[("size", before.recorder != after.recorder)])));
    all
}

/// One line for whoever asked.
pub(super) fn sentence(differences: &[String]) -> String {
    if differences.is_empty() { "reloaded: nothing is different".to_owned() } else { format!("reloaded: {}", differences.join("; ")) }
}

/// Tests of both that probe something else, or otherwise.
pub(super) fn changed_tests(before: &Config, after: &Config) -> BTreeSet<String> {
    let changed = after.tests.iter().filter(|test| before.tests.iter().any(|was| was.name == test.name && was != *test));
    changed.map(|test| test.name.clone()).collect()
}

/// All that concerns one group.
struct GroupParts<'c> {
    policy: &'c crate::types::policy::GroupPolicy,
    address: Option<&'c crate::ports::multicast::GroupAddress>,
    protection: &'c crate::wire::seal::Protection,
    scripts: &'c crate::ports::script::GroupScripts,
}

fn groups(config: &Config) -> BTreeMap<&str, GroupParts<'_>> {
    let parts = config.policy.groups.iter().zip(&config.protection).zip(&config.scripts).enumerate();
    let of_group = |(index, ((policy, protection), scripts))| {
        let address = config.control.groups.get(&GroupIndex(index));
        GroupParts { policy, address, protection, scripts }
    };
    parts.map(of_group).map(|parts| (parts.policy.name.as_str(), parts)).collect()
}

impl GroupParts<'_> {
    fn changed(&self, after: &Self) -> Vec<&'static str> {
        let (was, is) = (self.policy, after.policy);
        let (shared_was, shared_is) = (&was.shared, &is.shared);
        let keys = [
            ("peers", was.peers != is.peers),
            ("interface", was.interface != is.interface),
            ("role", was.role != is.role),
            ("preferred", was.preferred != is.preferred),
            ("floating", was.floating != is.floating),
            ("heartbeat", shared_was.heartbeat != shared_is.heartbeat),
            ("timeout", shared_was.timeout != shared_is.timeout),
            ("orphan_lifetime", shared_was.orphan_lifetime != shared_is.orphan_lifetime),
            ("assign", shared_was.assign != shared_is.assign),
            ("failback", shared_was.failback != shared_is.failback),
            ("rebalance", shared_was.rebalance != shared_is.rebalance),
            ("handover", shared_was.handover != shared_is.handover),
            ("all_failed", shared_was.all_failed != shared_is.all_failed),
            ("accept", was.accept != is.accept),
            ("keys", self.protection != after.protection),
            ("tests", was.tests != is.tests),
            ("loads", was.loads != is.loads),
            ("scripts", self.scripts != after.scripts),
            ("announce", was.announce != is.announce),
            ("dns", shared_was.zone != shared_is.zone),
        ];
        named(&keys)
    }
}

fn name_server(before: &Config, after: &Config) -> Option<String> {
    match (&before.dns, &after.dns) {
        (None, None) => None,
        (None, Some(_)) => Some("the name server begins".to_owned()),
        (Some(_), None) => Some("the name server ends".to_owned()),
        (Some(was), Some(is)) => {
            let keys = [
                ("listen", was.listen != is.listen),
                ("allow_transfer", was.allow_transfer != is.allow_transfer),
                ("rate_limit", was.rate_limit != is.rate_limit),
            ];
            listed("dns", named(&keys))
        }
    }
}

fn host(before: &Config, after: &Config) -> Option<String> {
    let (was, is) = (&before.policy.host, &after.policy.host);
    let keys = [
        ("name", was.name != is.name),
        ("control", before.control.networks != after.control.networks),
        ("location", was.location != is.location),
        ("capabilities", was.capabilities != is.capabilities),
    ];
    listed("host", named(&keys))
}

fn named(keys: &[(&'static str, bool)]) -> Vec<&'static str> {
    keys.iter().filter(|(_, is_changed)| *is_changed).map(|(key, _)| *key).collect()
}

fn listed(subject: &str, keys: Vec<&'static str>) -> Option<String> {
    (!keys.is_empty()).then(|| format!("{subject}: {}", keys.join(", ")))
}

/// `test web is changed`.
fn entries<S: PartialEq>(what: &str, before: &BTreeMap<String, S>, after: &BTreeMap<String, S>) -> Vec<String> {
    let added_or_changed = after.iter().filter_map(|(name, spec)| match before.get(name) {
        Some(was) if was == spec => None,
        Some(_) => Some(format!("{what} {name} is changed")),
        None => Some(format!("{what} {name} is added")),
    });
    let removed = before.keys().filter(|name| !after.contains_key(*name)).map(|name| format!("{what} {name} is removed"));
    added_or_changed.chain(removed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Facts, load_text};

    fn config(text: &str) -> Config {
        let facts = Facts { hostname: "web1".into(), addresses: vec![("eth0".into(), [10, 0, 0, 11].into())], ..Facts::default() };
        load_text("raisd.toml", text, &Environment::Fixed(facts)).unwrap_or_else(|errors| panic!("{errors}"))
    }

    const BEFORE: &str = r#"
        [host]
        control = ["10.0.0.11"]
        [[group]]
        name = "www"
        address = "239.255.42.1"
        interface = "eth0"
        insecure = true
        preferred = ["192.0.2.1"]
        tests = ["web"]
        [test.web]
        kind = "tcp"
        address = "127.0.0.1:80"
    "#;

    #[test]
    fn a_configuration_that_says_the_same_has_no_differences() {
        let (before, after) = (config(BEFORE), config(&BEFORE.replace("preferred", "# other words\npreferred")));
        assert_eq!(between(&before, &after), Vec::<String>::new());
        assert_eq!(sentence(&[]), "reloaded: nothing is different");
    }

    #[test]
    fn each_difference_is_named_with_its_subject() {
        let text = BEFORE
            .replace("192.0.2.1\"", "192.0.2.2\"")
            .replace("127.0.0.1:80", "127.0.0.1:81")
            .replace("[[group]]", "name = \"web9\"\n[[group]]\nheartbeat = \"100ms\"");
        let (before, after) = (config(BEFORE), config(&text));
        assert_eq!(sentence(&between(&before, &after)), "reloaded: group www: preferred, heartbeat; host: name; test web is changed");
        assert_eq!(changed_tests(&before, &after), ["web".to_owned()].into());
    }

    #[test]
    fn what_is_different_of_the_name_server_is_named() {
        let with = |dns: &str| config(&format!("{BEFORE}\n[group.dns]\nzone = \"www.example.\"\n{dns}"));
        let before = with("[dns]\nlisten = [\"10.0.0.11:53\"]\n");
        let after = with("[dns]\nlisten = [\"10.0.0.11:5353\"]\nrate_limit = 7\n");
        assert_eq!(between(&before, &after), ["dns: listen, rate_limit"]);
        assert_eq!(between(&before, &with("")), ["the name server ends"]);
        assert_eq!(between(&with(""), &before), ["the name server begins"]);
    }

    #[test]
    fn groups_that_come_go_and_move_are_named() {
        let two = format!("{BEFORE}\n[[group]]\nname = \"mail\"\naddress = \"239.255.42.2\"\ninterface = \"eth0\"\ninsecure = true\n");
        let moved = BEFORE.replace("239.255.42.1", "239.255.42.9");
        assert_eq!(between(&config(BEFORE), &config(&two)), ["group mail begins"]);
        assert_eq!(between(&config(&two), &config(&moved)), ["group www goes on under another address", "group mail is given up"]);
    }
}
