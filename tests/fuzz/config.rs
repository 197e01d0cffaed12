//! A configuration that anybody may have written: TOML text, with files that it includes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use raisd::config::{Environment, Facts, FileFacts, load_text};

/// Stands between the configuration and the files that it may include, `raisd.d/0.toml`, `raisd.d/1.toml` and on.
const BETWEEN: &[u8] = b"\n#--\n";

const INCLUDED_MAX: usize = 4;

/// It becomes a configuration, or errors that can be shown; the second time the same.
pub(crate) fn text(bytes: &[u8]) {
    let mut parts: Vec<&[u8]> = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN).filter(|_| parts.len() < INCLUDED_MAX) {
        parts.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    parts.push(rest);
    let text = String::from_utf8_lossy(parts.remove(0)).into_owned();
    let environment = Environment::Fixed(facts(&parts));
    let load = || load_text("/etc/raisd/raisd.toml", &text, &environment);
    match (load(), load()) {
        (Ok(config), Ok(again)) => {
            assert_eq!(config, again);
            assert!(!config.policy.groups.is_empty() && config.policy.groups.len() == config.protection.len());
            for warning in &config.warnings {
                check_shown(&warning.to_string());
            }
        }
        (Err(errors), Err(again)) => {
            assert_eq!(errors.to_string(), again.to_string());
            assert!(!errors.to_string().is_empty());
            check_shown(&errors.to_string());
        }
        (one, other) => panic!("read twice, and different: {one:?} {other:?}"),
    }
}

/// What people are shown does nothing to their terminal, and shows no key.
fn check_shown(text: &str) {
    assert!(!text.chars().any(|letter| letter.is_control() && letter != '\n' && letter != '\t'), "{text:?}");
    assert!(!text.contains(SECRET), "{text}");
}

const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn facts(included: &[&[u8]]) -> Facts {
    let file = |content: &[u8], mode| FileFacts { content: content.to_vec(), mode };
    let key = format!("[[key]]\nid = 1\nuse = \"send\"\nsecret = \"{SECRET}\"\n");
    let mut files = BTreeMap::from([(PathBuf::from("/etc/raisd/www.key"), file(key.as_bytes(), 0o600))]);
    for program in ["acquire", "release"] {
        files.insert(Path::new("/etc/raisd").join(program), file(b"#!/bin/sh\n", 0o755));
    }
    for (number, content) in included.iter().enumerate() {
        files.insert(Path::new("/etc/raisd/raisd.d").join(format!("{number}.toml")), file(content, 0o644));
        // As a key file it may be anything as well.
        files.insert(Path::new("/etc/raisd").join(format!("{number}.key")), file(content, 0o600));
    }
    let at = |interface: &str, address: &str| (interface.to_owned(), address.parse().unwrap());
    let addresses = vec![at("eth0", "192.0.2.11"), at("eth0", "10.0.0.11"), at("eth0", "2001:db8:1::11")];
    Facts { hostname: "web1".to_owned(), addresses, users: ["root".to_owned()].into(), files }
}

/// The samples of `raisd check`.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check");
    let directory = if directory.is_dir() { directory } else { Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/check") };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let mut seeds: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    seeds.push(
        b"include = [\"raisd.d/*.toml\"]\n[host]\ncontrol = [\"10.0.0.11\"]\n\n#--\n[[group]]\nname = \"www\"\naddress = \"239.255.42.1\"\n\
          interface = \"eth0\"\nkey_file = \"/etc/raisd/www.key\"\n\n#--\n[[key]]\nid = 2\nsecret = \"x\"\n"
            .to_vec(),
    );
    seeds
}
