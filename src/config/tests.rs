use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use proptest::prelude::*;

use super::ahead::Ahead;
use super::schema::{KEY, Preset, SECTIONS, Scope, Section};
use super::*;
use crate::ports::multicast::{GroupAddress, Talk};
use crate::types::host::HostId;
use crate::types::item::Reason;

const KEY_TEXT: &str = "[[key]]\nid = 17\nuse = \"send\"\nsecret = \"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"\n";

const MINIMAL: &str = "[host]\ncontrol = [\"10.0.0.11\"]\n\n[[group]]\nname = \"www\"\naddress = \"239.255.42.1\"\ninterface = \"eth0\"\nkey_file = \"/etc/raisd/www.key\"\n";

fn facts() -> Facts {
    let file = |content: &str, mode| FileFacts { content: content.as_bytes().to_vec(), mode };
    let mut files = BTreeMap::from([(PathBuf::from("/etc/raisd/www.key"), file(KEY_TEXT, 0o600))]);
    for program in ["acquire", "release", "is-well", "sessions"] {
        files.insert(Path::new("/etc/raisd").join(program), file("#!/bin/sh\n", 0o755));
    }
    let at = |interface: &str, address: &str| (interface.to_owned(), address.parse::<IpAddr>().unwrap());
    files.insert(PathBuf::from("/etc/raisd/ca.pem"), file("-----BEGIN CERTIFICATE-----\n", 0o644));
    let addresses = vec![
        at("eth0", "192.0.2.11"),
        at("eth0", "10.0.0.11"),
        at("eth0", "fe80::1"),
        at("eth0", "2001:db8:1::11"),
        at("eth1", "169.254.0.1"),
    ];
    Facts { hostname: String::from("web1"), addresses, users: [String::from("root")].into(), files }
}

fn loaded(text: &str) -> Result<Config, ConfigErrors> {
    load_text("/etc/raisd/raisd.toml", text, &Environment::Fixed(facts()))
}

fn fine(text: &str) -> Config {
    match loaded(text) {
        Ok(config) => config,
        Err(errors) => panic!("{text}\n{errors}"),
    }
}

/// Every table with the keys that it needs, and `extra` keys in the table of that header.
fn every_table(extra: impl Fn(&Section) -> String) -> String {
    let mut text = String::new();
    for section in SECTIONS {
        text.push_str(&format!("{}\n", section.header));
        for key in section.keys {
            if let Preset::Needed { example } = key.preset {
                text.push_str(&format!("{} = {example}\n", key.name));
            }
        }
        text.push_str(&extra(section));
    }
    text
}

#[test]
fn a_minimal_file_has_the_defaults_of_the_reference() {
    let config = fine(MINIMAL);
    assert_eq!(config.policy.host.id, HostId(IpAddr::from([10, 0, 0, 11])));
    assert_eq!(config.policy.host.name, "web1");
    let address = GroupAddress { tag: crate::wire::group_tag("www"), talk: Talk::Multicast("239.255.42.1:4242".parse().unwrap()) };
    assert_eq!(config.control.groups, [(GroupIndex(0), address)].into());
    let group = config.policy.groups.first().unwrap();
    assert_eq!(group.shared.heartbeat, Duration::from_millis(250));
    assert_eq!(group.shared.timeout, Duration::from_secs(1));
    assert_eq!(group.shared.zone, None);
    assert!(group.preferred.is_empty());
    assert_eq!(config.dns, None);
    assert_eq!(config.warnings, []);
}

#[test]
fn the_defaults_that_are_documented_are_those_that_hold() {
    let without = every_table(|_| String::new());
    let with = every_table(|section| {
        let written = section.keys.iter().filter_map(|key| match key.preset {
            Preset::Ahead(Ahead { off, .. }) if !off.is_empty() => Some(format!("{} = {off}\n", key.name)),
            Preset::Value(value) => Some(format!("{} = {value}\n", key.name)),
            Preset::Ahead(_) | Preset::Needed { .. } | Preset::Table | Preset::Unset { .. } => None,
        });
        written.collect()
    });
    assert_eq!(fine(&without), fine(&with));
}

#[test]
fn every_key_is_read() {
    for section in SECTIONS {
        for key in section.keys.iter().filter(|key| !matches!(key.preset, Preset::Ahead(_))) {
            if section.key("kind").is_some() && key.name == "kind" {
                continue;
            }
            let text =
                every_table(|other| if section.header == other.header { format!("{} = 1979-05-27\n", key.name) } else { String::new() });
            // Where the key is there already, the date takes its place.
            let text: String = match key.preset {
                Preset::Needed { example } => text.replacen(&format!("{} = {example}\n", key.name), "", 1),
                Preset::Ahead(_) | Preset::Table | Preset::Unset { .. } | Preset::Value(_) => text,
            };
            let errors = loaded(&text).expect_err(&text).to_string();
            let table = section.header.trim_matches(['[', ']']);
            assert!(errors.contains(key.name), "{table} {}: {errors}", key.name);
        }
    }
}

#[test]
fn the_file_of_defaults_loads_as_it_is_and_uncommented() {
    let text = defaults();
    let as_it_is = fine(&text);
    assert_eq!(as_it_is.policy.tests, []);
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => format!("{rest}\n"),
            Some(_) | None => format!("{line}\n"),
        })
        .collect();
    let config = fine(&uncommented);
    assert_eq!(config.warnings, []);
    assert_eq!((config.tests.len(), config.loads.len()), (9, 7));
    for section in SECTIONS {
        let start = if section.header.is_empty() { 0 } else { uncommented.find(&format!("\n{}\n", section.header)).unwrap() + 1 };
        let table = uncommented[start..].split("\n[").next().unwrap();
        for key in section.keys {
            let is_shown = table.contains(&format!("\n{} = ", key.name));
            assert_eq!(
                is_shown,
                !matches!(key.preset, Preset::Ahead(Ahead { off: "", .. }) | Preset::Table),
                "{} {}",
                section.header,
                key.name
            );
        }
    }
}

#[test]
fn the_examples_are_one_pool() {
    let examples = [
        include_str!("../../systemd/examples/web1.toml"),
        include_str!("../../systemd/examples/web2.toml"),
        include_str!("../../systemd/examples/spare.toml"),
    ];
    let [web1, web2, spare] = examples.map(fine);
    let group = |config: &Config| config.policy.groups.first().unwrap().clone();
    for config in [&web1, &web2, &spare] {
        assert_eq!(config.warnings, []);
        assert_eq!(group(config).shared.config_hash(), group(&web1).shared.config_hash(), "{}", config.policy.host.name);
        assert_eq!(config.control.groups, web1.control.groups);
    }
    assert_eq!(group(&web1).preferred.len(), 2);
    assert!(group(&web1).preferred.iter().all(|address| !group(&web2).preferred.contains(address)));
    assert!(group(&spare).preferred.is_empty() && spare.dns.is_none());
}

#[test]
fn one_file_serves_all_hosts() {
    let text = format!("{MINIMAL}\n[group.preferred]\nweb1 = [\"192.0.2.11\"]\nweb2 = [\"192.0.2.12\", \"192.0.2.13/24\"]\n");
    let preferred = |hostname: &str| {
        let environment = Environment::Fixed(Facts { hostname: hostname.to_owned(), ..facts() });
        let config = load_text("raisd.toml", &text, &environment).unwrap();
        config.policy.groups.first().unwrap().preferred.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(preferred("web1"), ["192.0.2.11/32"]);
    assert_eq!(preferred("web2"), ["192.0.2.12/32", "192.0.2.13/24"]);
    assert!(preferred("spare").is_empty());
}

#[test]
fn a_control_interface_stands_for_its_first_address_that_is_no_service_address() {
    let text = MINIMAL.replace("[\"10.0.0.11\"]", "[\"eth0\"]");
    assert_eq!(fine(&text).policy.host.control, [IpAddr::from([192, 0, 2, 11])]);
    let text = format!("{text}preferred = [\"192.0.2.11\"]\n");
    let config = fine(&text);
    assert_eq!(config.policy.host.control, [IpAddr::from([10, 0, 0, 11])]);
    assert_eq!(config.control.networks, [crate::ports::multicast::ControlNetwork::Interface("eth0".into())]);
    let text = text.replace("239.255.42.1", "ff15::4242");
    assert_eq!(fine(&text).policy.host.id.to_string(), "2001:db8:1::11");
}

#[test]
fn a_control_interface_without_an_address_keeps_its_number() {
    let text = MINIMAL.replace("[\"10.0.0.11\"]", "[\"eth1\", \"10.0.0.11\"]");
    assert!(loaded(&text).unwrap_err().to_string().contains("host.id"));
    let config = fine(&text.replace("[host]", "[host]\nid = \"10.0.0.11\""));
    assert_eq!(config.policy.host.control, [IpAddr::from([0, 0, 0, 0]), IpAddr::from([10, 0, 0, 11])]);
}

#[test]
fn groups_are_in_the_order_of_their_names_in_every_part() {
    let text = format!(
        "{MINIMAL}\n[group.dns]\nzone = \"www.example.\"\n\n[[group]]\nname = \"mail\"\naddress = \"239.255.42.2:7\"\ninterface = \"eth1\"\ninsecure = true\n\n[dns]\n"
    );
    let config = fine(&text);
    let names: Vec<_> = config.policy.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["mail", "www"]);
    assert_eq!(config.control.groups.first_key_value().map(|(index, group)| (index.0, group.talk.port())), Some((0, 7)));
    assert_eq!(config.protection.first(), Some(&Protection::Insecure));
    assert_eq!(config.scripts.iter().map(|scripts| scripts.group.as_str()).collect::<Vec<_>>(), ["mail", "www"]);
    let dns = config.dns.unwrap();
    assert_eq!(dns.listen, ["10.0.0.11:53".parse().unwrap()]);
    assert_eq!(dns.zones.iter().map(|(index, zone)| (index.0, zone.name.as_str())).collect::<Vec<_>>(), [(1, "www.example.")]);
}

#[test]
fn a_zone_is_the_same_however_it_is_written() {
    let zone = |text: &str| fine(&format!("{MINIMAL}\n[group.dns]\n{text}")).policy.groups.first().unwrap().shared.config_hash();
    let one = zone("zone = \"www.example.\"\nnameservers = { \"a.\" = [\"10.0.0.1\"], \"b.\" = [] }\n");
    let other = zone("zone = \"WWW.Example.\"\nttl = \"5s\"\n[group.dns.nameservers]\n\"B.\" = []\n\"A.\" = [\"10.0.0.1\"]\n");
    assert_eq!(one, other);
}

#[test]
fn files_on_disk_are_read_with_what_they_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raisd.toml");
    fs::create_dir(directory.path().join("raisd.d")).unwrap();
    let main =
        MINIMAL.replace("/etc/raisd/www.key", "www.key").replace("[host]", "include = [\"raisd.d/*.toml\"]\n[host]\nname = \"web1\"");
    fs::write(&path, main).unwrap();
    fs::write(directory.path().join("raisd.d/20-load.toml"), "[load.cpu]\nkind = \"cpu\"\n").unwrap();
    fs::write(directory.path().join("raisd.d/10-test.toml"), "[test.web]\nkind = \"tcp\"\naddress = \"www:80\"\n").unwrap();
    fs::write(directory.path().join("raisd.d/.hidden.toml"), "=").unwrap();
    append_key(&directory.path().join("www.key")).unwrap();
    let config = load(&path).unwrap();
    assert_eq!((config.tests.len(), config.loads.len()), (1, 1));
    assert!(matches!(config.protection.as_slice(), [Protection::Keys(keys)] if keys.len() == 1));

    fs::set_permissions(directory.path().join("www.key"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(directory.path().join("raisd.d/20-load.toml"), b"[load.cpu]\nkind = \"\xff\"\n").unwrap();
    let errors = load(&path).unwrap_err().to_string();
    assert!(errors.contains("chmod 600"), "{errors}");
    assert!(errors.contains("20-load.toml:2:9") && errors.contains("UTF-8"), "{errors}");
    assert!(errors.ends_with("2 errors"), "{errors}");
}

#[test]
fn a_file_that_is_not_there_is_named_with_the_remedy() {
    let errors = load(Path::new("/no/such/raisd.toml")).unwrap_err().to_string();
    assert!(errors.contains("/no/such/raisd.toml") && errors.contains("--config") && errors.ends_with("1 error"), "{errors}");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,400}") {
        is_answered(&text);
    }

    #[test]
    fn no_change_of_a_right_text_makes_the_reader_panic(at in 0..2_000_usize, length in 0..40_usize, insert in "[\\[\\]\"{}=.,a-z0-9\n#']{0,12}") {
        let text = every_table(|_| String::new());
        let start = text.floor_char_boundary(at);
        let end = text.floor_char_boundary(at + length).max(start);
        is_answered(&format!("{}{insert}{}", &text[..start], &text[end..]));
    }
}

fn is_answered(text: &str) {
    if let Err(errors) = loaded(text) {
        assert!(errors.faults().iter().any(|fault| fault.severity == Severity::Error));
        assert!(!errors.to_string().is_empty());
    }
}

/// The tables of `docs/reference.md` are written from the list of keys; `UPDATE=1` writes them anew.
#[test]
fn the_reference_has_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    let reference = fs::read_to_string(&path).unwrap();
    let mut written = reference.clone();
    let mut before: Vec<&Section> = Vec::new();
    for section in SECTIONS.iter().copied().chain([&KEY]) {
        let (start, end) = (format!("<!-- keys of {} -->\n", section.header), "<!-- end -->");
        let at = written.find(&start).unwrap_or_else(|| panic!("docs/reference.md has no line {start}")) + start.len();
        let to = at + written[at..].find(end).unwrap();
        written.replace_range(at..to, &table(section, &before));
        before.push(section);
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, written).unwrap();
    } else {
        assert!(
            written == reference,
            "docs/reference.md differs from the keys: UPDATE=1 cargo test --lib the_reference, then read the difference"
        );
    }
}

/// What a table of an earlier kind of the same sort says is not said again.
fn table(section: &Section, before: &[&Section]) -> String {
    let sort = |section: &Section| section.header.split('.').next().map(str::to_owned);
    let mut text = String::from("| key | value | default | meaning |\n|---|---|---|---|\n");
    for key in section.keys {
        let said = |other: &&Section| sort(other) == sort(section) && other.key(key.name).is_some_and(|other| other.meaning == key.meaning);
        if section.key("kind").is_some() && before.iter().any(said) {
            continue;
        }
        let default = match key.preset {
            Preset::Ahead(Ahead { off, instead, .. }) => {
                if off.is_empty() {
                    format!("without effect: {instead}")
                } else {
                    format!("`{off}`; others without effect: {instead}")
                }
            }
            Preset::Needed { example } => format!("needed; `{example}`"),
            Preset::Table => String::from("none"),
            Preset::Unset { example, otherwise } => format!("{otherwise}; for example `{example}`"),
            Preset::Value(value) => format!("`{value}`"),
        };
        let scope = match key.scope {
            Scope::Group => " **G**",
            Scope::Host => "",
        };
        text.push_str(&format!("| `{}`{scope} | {} | {default} | {} |\n", key.name, key.form, key.meaning));
    }
    text
}

#[test]
fn the_reference_has_every_reason_and_variable() {
    let reference = include_str!("../../docs/reference.md");
    let reasons = [
        Reason::Assigned,
        Reason::Drained,
        Reason::Duplicate,
        Reason::DuplicateId,
        Reason::Expired,
        Reason::Home,
        Reason::Found,
        Reason::Isolated,
        Reason::Leftover,
        Reason::LostFence,
        Reason::LostMajority,
        Reason::Late,
        Reason::Moved,
        Reason::Rebalanced,
        Reason::RemovedByOthers,
        Reason::Stopped,
        Reason::NotAccepted,
        Reason::Reconfigured,
        Reason::TestFailed,
    ];
    for reason in reasons {
        // A variant that is added has to be added above.
        match reason {
            Reason::Assigned
            | Reason::Drained
            | Reason::Duplicate
            | Reason::DuplicateId
            | Reason::Expired
            | Reason::Home
            | Reason::Found
            | Reason::Isolated
            | Reason::Leftover
            | Reason::LostFence
            | Reason::LostMajority
            | Reason::Late
            | Reason::Moved
            | Reason::Rebalanced
            | Reason::RemovedByOthers
            | Reason::Reconfigured
            | Reason::Stopped
            | Reason::NotAccepted
            | Reason::TestFailed => assert!(reference.contains(&format!("\n| `{reason}` |")), "{reason}"),
        }
    }
    for variable in ["GROUP", "HOST", "KIND", "ITEM", "ADDRESS", "PREFIX", "INTERFACE", "ACTION", "REASON", "EPOCH", "SOCKET", "LOG"] {
        assert!(reference.contains(&format!("\n| `RAISD_{variable}` |")), "{variable}");
    }
}
