//! What `raisd check` says about wrong configurations: each `tests/check/NAME.toml` with the exact output `NAME.txt`.
//!
//! `UPDATE=1 cargo test --test check` rewrites the outputs; read the difference before you commit it. A line
//! `#! hostname = NAME` in a case sets the hostname; all other facts about the machine are in [`facts`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use raisd::config::{Environment, Facts, FileFacts, load_text};

const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn main() -> Result<(), Failed> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check");
    let mut trials = Vec::new();
    let mut outputs = BTreeSet::new();
    for entry in std::fs::read_dir(&directory)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let directory = directory.clone();
                trials.push(Trial::test(name, move || run(&path, &directory)));
            }
            Some("txt") => {
                outputs.insert(path);
            }
            Some(_) | None => {}
        }
    }
    trials.push(Trial::test("every_output_has_its_case", move || {
        match outputs.iter().find(|output| !output.with_extension("toml").exists()) {
            Some(orphan) => Err(format!("{} belongs to no case", orphan.display()).into()),
            None => Ok(()),
        }
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}

fn run(case: &Path, directory: &Path) -> Result<(), Failed> {
    let text = std::fs::read_to_string(case)?;
    let hostname = text.lines().find_map(|line| line.strip_prefix("#! hostname = ")).unwrap_or("web1");
    let said = match load_text("raisd.toml", &text, &Environment::Fixed(facts(hostname, directory)?)) {
        Err(errors) => format!("{errors}\n"),
        Ok(config) => {
            let mut said = String::new();
            for warning in &config.warnings {
                writeln!(said, "{warning}")?;
            }
            said + "no errors\n"
        }
    };
    let output = case.with_extension("txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&output, &said)?;
        return Ok(());
    }
    let expected = std::fs::read_to_string(&output).map_err(|error| format!("{}: {error}; UPDATE=1 writes it", output.display()))?;
    if said == expected { Ok(()) } else { Err(format!("expected:\n{expected}\nsaid:\n{said}").into()) }
}

/// The machine that all cases are read on.
fn facts(hostname: &str, directory: &Path) -> Result<Facts, Failed> {
    let key = |id: u32, usage: &str| format!("[[key]]\nid = {id}\nuse = \"{usage}\"\nsecret = \"{SECRET}\"\n");
    let mut files = BTreeMap::new();
    let mut add = |path: &str, content: String, mode: u32| {
        files.insert(PathBuf::from(path), FileFacts { content: content.into_bytes(), mode });
    };
    add("/etc/raisd/www.key", key(1, "send"), 0o600);
    add("/etc/raisd/open.key", key(1, "send"), 0o644);
    add("/etc/raisd/receive.key", key(1, "receive"), 0o600);
    add("/etc/raisd/twice.key", key(1, "send") + &key(1, "receive"), 0o600);
    add("/etc/raisd/empty.key", String::new(), 0o600);
    add("/etc/raisd/syntax.key", format!("[[key]\nsecret = {SECRET}\n"), 0o600);
    add("/etc/raisd/wrong.key", format!("[[key]]\nid = -1\nuse = \"sent\"\nsecret = \"{SECRET}00\"\ncolour = 1\n"), 0o600);
    add("/etc/raisd/zero.key", key(1, "send").replace(SECRET, &"0".repeat(64)), 0o600);
    add("/etc/raisd/acquire", String::from("#!/bin/sh\n"), 0o755);
    add("/etc/raisd/ca.pem", String::from("-----BEGIN CERTIFICATE-----\n"), 0o644);
    add("/etc/raisd/notes", String::from("to do\n"), 0o644);
    for entry in std::fs::read_dir(directory.join("raisd.d"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.insert(PathBuf::from("raisd.d").join(name), FileFacts { content: std::fs::read(&path)?, mode: 0o644 });
    }
    let address = |interface: &str, address: &str| {
        Ok::<_, Failed>((interface.to_owned(), address.parse().map_err(|error| format!("{address}: {error}"))?))
    };
    let addresses = vec![
        address("lo", "127.0.0.1")?,
        address("eth0", "192.0.2.11")?,
        address("eth0", "10.0.0.11")?,
        address("eth1", "10.1.0.11")?,
        address("eth6", "fe80::1")?,
        address("eth6", "2001:db8:6::11")?,
    ];
    Ok(Facts { hostname: hostname.to_owned(), addresses, users: BTreeSet::from([String::from("root")]), files })
}
