//! What `raisctl status` shows is so: its words, its JSON and its exit code against the kernels, one state after the other.
//!
//! All is well; a host is quiesced; a test fails; the leader vanishes; nobody is left who may serve.
//! Twin: the daemon that is asked has another key, so that it hears nobody.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;
use serde_json::Value;

use crate::judge::kernel::Kernel;
use crate::judge::place::{LONG, wait_at, wait_own};
use crate::judge::{poll_until, within};
use crate::pool::{HostConfig, Pool, keygen, service};
use crate::status_form::Check;
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

/// Whose daemon is asked.
const ASKED: u8 = 2;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("status_shows_what_is_so", |stage| show(stage, Key::Same)),
        stories.twin("status_shows_what_is_so", Finding::Misreported, |stage| show(stage, Key::Another)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Same,
    Another,
}

/// What status has to show.
struct Expected {
    /// The first line.
    sentence: &'static str,
    /// Words that stand together in one line, with any space between them.
    lines: &'static [&'static str],
    /// The exit code with `--exit-code`.
    code: i32,
    /// Hosts that are live.
    live: &'static [u8],
}

fn show(stage: &Stage, key: Key) -> Outcome {
    let mut pool = Pool::build(stage, [1, 2, 3].map(HostConfig::server).into_iter().chain([HostConfig::spare(4)]))?;
    if key == Key::Another {
        let path = stage.private().join("another.key");
        keygen(&path)?;
        pool.configure(ASKED, |config| config.key_file = Some(path))?;
    }
    let well = pool.directory(3).join("well");
    let script = pool.script(3, "test", &format!("#!/bin/sh\nexec test -e {}\n", well.display()))?;
    fs::write(&well, "")?;
    pool.configure(3, |config| {
        config.group_keys = "tests = [\"web\"]".to_owned();
        let command = format!("kind = \"script\"\ncommand = [\"{}\"]", script.display());
        config.tables = format!("[test.web]\n{command}\ninterval = \"200ms\"\ntimeout = \"200ms\"\nrise = 2\nfall = 2\n");
    })?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &[1, 2, 3])?;
    judge(&pool, &kernel, &WELL)?;

    let output = pool.raisctl(ASKED, &["quiesce", "--reason", "work on the rack"])?;
    if !output.status.success() {
        return Err(Failure::broken(format!("raisctl quiesce: {output:?}")));
    }
    judge(&pool, &kernel, &QUIESCED)?;

    fs::remove_file(&well)?;
    wait_at(&kernel, service(3), &[4], within(LONG))?;
    judge(&pool, &kernel, &TEST_FAILS)?;
    judge_own_words(&pool, 3, "test web fails on this host")?;

    pool.power_off(1)?;
    judge(&pool, &kernel, &LEADER_GONE)?;

    pool.power_off(4)?;
    judge(&pool, &kernel, &NOBODY_LEFT)?;
    pool.check()
}

const WELL: Expected = Expected {
    sentence: "www: 4 of 4 hosts, all served; survives the loss of any one host: yes",
    lines: &[
        "www, led by web1",
        "10.0.0.11 web1 leader, ok 1",
        "10.0.0.12 web2 ok, self 1",
        "10.0.0.14 web4 ok, spare 0",
        "192.0.2.12/32 online web2 web2",
        "preferred host is well",
        "3 addresses advertised, 0 withheld",
    ],
    code: 0,
    live: &[1, 2, 3, 4],
};

const QUIESCED: Expected = Expected {
    sentence: "www: 4 of 4 hosts, all served; survives the loss of any one host: yes",
    lines: &["10.0.0.12 web2 ok, quiesced, self 1", "2 addresses advertised, 1 withheld", "withheld, quiesced: 192.0.2.12"],
    code: 0,
    live: &[1, 2, 3, 4],
};

const TEST_FAILS: Expected = Expected {
    sentence: "www: 3 of 4 hosts, all served; survives the loss of any one host: yes",
    lines: &[
        "10.0.0.13 web3 not ok 0",
        "192.0.2.13/32 online web4 web3",
        "preferred host 10.0.0.13 is not ok",
        "1 address advertised, 2 withheld",
    ],
    code: 0,
    live: &[1, 2, 3, 4],
};

const LEADER_GONE: Expected = Expected {
    sentence: "www: 2 of 4 hosts, all served; survives the loss of any one host: no (web4)",
    lines: &[
        "www, led by web2",
        "10.0.0.11 web1 silent",
        "192.0.2.11/32 online web4 web1",
        "preferred host 10.0.0.11 is silent for",
        "orphaned",
    ],
    code: 0,
    live: &[2, 3, 4],
};

const NOBODY_LEFT: Expected = Expected {
    sentence: "www: 1 of 4 hosts, 2 of 3 addresses unserved (192.0.2.11, 192.0.2.13); survives the loss of any one host: no (web2, web3)",
    lines: &["192.0.2.11/32 unserved - web1", "no host is ok, settled and not quiesced", "0 addresses advertised"],
    code: 1,
    live: &[2, 3],
};

/// The daemon comes to show what is expected, and its JSON what the kernels have.
fn judge(pool: &Pool, kernel: &Kernel, expected: &Expected) -> Outcome {
    let mut last = String::new();
    let shown = poll_until(within(LONG / 3), || {
        let output = pool.raisctl(ASKED, &["status", "--exit-code"])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let wrong = wrong_words(&text, expected);
        let wrong = wrong.or_else(|| {
            let code = output.status.code();
            (code != Some(expected.code)).then(|| format!("the exit code is {code:?}"))
        });
        let wrong = match wrong {
            Some(wrong) => Some(wrong),
            None => wrong_holders(&json(pool)?, kernel, expected.live)?,
        };
        last = format!("{}\n{text}", wrong.as_deref().unwrap_or_default());
        Ok(wrong.is_none().then_some(()))
    })?;
    shown.ok_or_else(|| Verdict::new(Finding::Misreported, last).into())
}

fn wrong_words(text: &str, expected: &Expected) -> Option<String> {
    let squeezed: Vec<String> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    if squeezed.first().map(String::as_str) != Some(expected.sentence) {
        return Some(format!("it does not begin with {:?}", expected.sentence));
    }
    if text.contains('\u{1b}') {
        return Some("it is coloured in a pipe".to_owned());
    }
    let missing = expected.lines.iter().find(|words| !squeezed.iter().any(|line| line.contains(*words)));
    missing.map(|words| format!("no line says {words:?}"))
}

/// The JSON, which must be as the schema says.
fn json(pool: &Pool) -> Outcome<Value> {
    let value = pool.raisctl_json(ASKED, &["status"])?;
    match Check::of(include_str!("../docs/status.schema.json")).check(&value) {
        Ok(()) => Ok(value),
        Err(wrong) => Err(Verdict::new(Finding::Misreported, format!("status --json is not as its schema says: {wrong}")).into()),
    }
}

/// Where the JSON and the kernels of the live hosts differ.
fn wrong_holders(view: &Value, kernel: &Kernel, live: &[u8]) -> Outcome<Option<String>> {
    for number in [1, 2, 3] {
        let address = service(number);
        let really = kernel.holders(address)?.into_iter().filter(|host| live.contains(host));
        let really: BTreeSet<String> = really.map(|host| Plan(host).control(0).to_string()).collect();
        let said = said_holders(view, address);
        if said != Some(really.clone()) {
            return Ok(Some(format!("{address} is in the kernels of {really:?}, and {said:?} is said")));
        }
    }
    Ok(None)
}

fn said_holders(view: &Value, address: IpAddr) -> Option<BTreeSet<String>> {
    let addresses = view.pointer("/groups/0/addresses")?.as_array()?;
    let shown = addresses.iter().find(|shown| shown.get("address").and_then(Value::as_str) == Some(&address.to_string()))?;
    let holders = shown.get("kernel")?.as_array()?;
    Some(holders.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// A host says of itself what is wrong with it.
fn judge_own_words(pool: &Pool, host: u8, words: &str) -> Outcome {
    let output = pool.raisctl(host, &["status"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.contains(words) {
        true => Ok(()),
        false => Err(Verdict::new(Finding::Misreported, format!("host {host} does not say {words:?}:\n{text}")).into()),
    }
}
