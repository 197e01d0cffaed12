//! `raisctl report`: the archive holds what a developer needs and no key, though a script has printed one into the log.
//!
//! The judge unpacks it with `tar` and looks for the key in every byte. Twin: the key file itself is put in.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use raisd::demo::lab;

use crate::judge::kernel::Kernel;
use crate::judge::place::{LONG, wait_at, wait_own};
use crate::judge::{poll_until, within};
use crate::pool::{HostConfig, Pool, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

/// In every report of a host whose daemon answers.
const PARTS: [&str; 12] = [
    "check.txt",
    "config/00-raisd.toml",
    "events.jsonl",
    "explain.txt",
    "ip-address.json",
    "ip-neighbour.json",
    "ip-route.json",
    "keys.txt",
    "left-out.txt",
    "machine.txt",
    "status.json",
    "status.txt",
];

/// The host whose script talks too much, and another.
const TALKER: u8 = 1;
const OTHER: u8 = 2;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("a_report_holds_what_is_needed_and_no_secret", |stage| report(stage, Packed::AsMade)),
        stories.twin("a_report_holds_what_is_needed_and_no_secret", Finding::Misreported, |stage| report(stage, Packed::WithKeyFile)),
    ]
}

/// What the judge gets to see.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packed {
    AsMade,
    WithKeyFile,
}

fn report(stage: &Stage, packed: Packed) -> Outcome {
    let mut pool = Pool::build(stage, [HostConfig::server(TALKER), HostConfig::server(OTHER)])?;
    let key_file = stage.private().join("www.key");
    let key = secret_of(&key_file)?;
    let script = pool.script(TALKER, "acquire", &format!("#!/bin/sh\necho 'my key is {key}' >&2\nexit 1\n"))?;
    let url = "[test.web]\nkind = \"http\"\nurl = \"http://127.0.0.1:1/?token=hunter2\"\n";
    pool.configure(TALKER, |config| config.tables = format!("[group.scripts]\nacquire = {script:?}\n{url}# password = \"hunter3\"\n"))?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &[OTHER])?;
    // Its script fails, and the words of it are recorded; the other takes over.
    wait_at(&kernel, service(TALKER), &[OTHER], within(LONG))?;

    let whole = unpack(&pool, OTHER, "alive")?;
    for part in PARTS {
        if !whole.join(part).exists() {
            return Err(Verdict::new(Finding::Misreported, format!("{part} is missing")).into());
        }
    }
    let records = poll_until(within(LONG), || Ok(fs::read_dir(whole.join("recordings"))?.next().map(drop)))?;
    records.ok_or_else(|| Verdict::new(Finding::Misreported, "there are no recordings in it"))?;
    if packed == Packed::WithKeyFile {
        fs::copy(&key_file, whole.join("www.key"))?;
    }
    judge(&whole, &key)?;

    let talker = unpack(&pool, TALKER, "talker")?;
    judge(&talker, &key)?;
    let left_out = fs::read_to_string(talker.join("left-out.txt"))?;
    if !left_out.lines().any(|line| line.starts_with("recordings/") && line.contains("it holds")) {
        return Err(Verdict::new(Finding::Misreported, format!("a recording with a key in it is not left out: {left_out}")).into());
    }
    let config = fs::read_to_string(talker.join("config/00-raisd.toml"))?;
    if config.contains("hunter") || !config.contains("http://127.0.0.1:1/?***") {
        return Err(Verdict::new(Finding::Misreported, config).into());
    }

    // Whoever needs it most has no daemon.
    pool.kill(OTHER)?;
    let dead = unpack(&pool, OTHER, "dead")?;
    judge(&dead, &key)?;
    let left_out = fs::read_to_string(dead.join("left-out.txt"))?;
    if !left_out.contains("no daemon answers") || !dead.join("ip-address.json").exists() || dead.join("status.json").exists() {
        return Err(Verdict::new(Finding::Misreported, left_out).into());
    }
    pool.check()
}

fn secret_of(key_file: &Path) -> Outcome<String> {
    let text = fs::read_to_string(key_file)?;
    let secret = text.lines().find_map(|line| line.strip_prefix("secret = \"")?.strip_suffix('"').map(ToOwned::to_owned));
    secret.ok_or_else(|| Failure::broken("the key file has no secret"))
}

/// What `raisctl report` on a host leaves, unpacked.
fn unpack(pool: &Pool, host: u8, name: &str) -> Outcome<PathBuf> {
    let (archive, directory) = (pool.directory(host).join(format!("{name}.tar.gz")), pool.directory(host).join(name));
    let path = archive.display().to_string();
    let config = pool.directory(host).join("raisd.toml").display().to_string();
    let output = pool.raisctl(host, &["report", "--output", &path, "--config", &config])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    pool.keep(&format!("report-{name}.txt"), &text)?;
    if !output.status.success() || !text.starts_with(&path) || !text.contains("left out:") {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(Verdict::new(Finding::Misreported, format!("{}: {text} {error}", output.status)).into());
    }
    fs::create_dir_all(&directory)?;
    let unpacked = lab::command("tar").arg("-xzf").arg(&archive).arg("-C").arg(&directory).output()?;
    if !unpacked.status.success() {
        return Err(Failure::broken(format!("tar: {}", String::from_utf8_lossy(&unpacked.stderr))));
    }
    Ok(directory.join("raisd-report"))
}

/// A recording as it was before it was packed: a prefix with a name of so many bytes, then a deflate stream without an end.
fn unpacked(packed: &[u8]) -> Outcome<Vec<u8>> {
    let begin = 11 + packed.get(10).copied().map_or(0, usize::from);
    let mut frames = Vec::with_capacity(64 * 1024 * 1024);
    let mut stream = flate2::Decompress::new(false);
    stream.decompress_vec(packed.get(begin..).unwrap_or_default(), &mut frames, flate2::FlushDecompress::Sync)?;
    if frames.len() <= packed.len() {
        return Err(Failure::broken(format!("{} bytes are unpacked to {}", packed.len(), frames.len())));
    }
    Ok(frames)
}

/// The key is nowhere, neither in digits nor as it is.
fn judge(directory: &Path, key: &str) -> Outcome {
    let digits = key.as_bytes();
    let raw: Vec<u8> = (0..digits.len() / 2).filter_map(|at| u8::from_str_radix(key.get(2 * at..2 * at + 2)?, 16).ok()).collect();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let mut bytes = fs::read(&path)?;
            if path.extension().is_some_and(|suffix| suffix == "rec") {
                bytes = unpacked(&bytes)?;
            }
            let holds = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window.eq_ignore_ascii_case(secret));
            if holds(digits) || bytes.windows(raw.len()).any(|window| window == raw) {
                return Err(Verdict::new(Finding::Misreported, format!("{} holds the key", path.display())).into());
            }
        }
    }
    Ok(())
}
