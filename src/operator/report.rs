//! `raisctl report`: one archive for a bug report, without secrets.
//!
//! Owns the list of parts and the archive. Changes nothing on the host, and needs no daemon: what cannot be had is named with
//! its reason in `left-out.txt`. Every text goes through [`secrets`]; a recording that holds a key is left out. Called by
//! `bin/raisctl.rs`.

mod archive;
mod command;
mod secrets;

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use self::archive::Archive;
pub use self::archive::ArchiveError;
use self::secrets::{Secrets, struck_out};
use super::client::Client;
use super::events::{self, Form, Wanted};
use super::keys::KeyStatus;
use super::terminal::Terminal;
use super::when::rfc3339;
use super::words::printable;
use super::{explain, status, zone};
use crate::config;
use crate::ports::api::call::Places;
use crate::recording::Wall;
use crate::recording::segment::Segment;
use crate::types::view::View;

/// More of them say the same again.
const EXPLAINED_MAX: usize = 256;

/// Of the recordings the newest so many bytes.
const RECORDED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Lines of the journal.
const LINES: &str = "20000";

/// What a report is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sources {
    /// The configuration of a daemon that cannot be asked.
    pub config: PathBuf,
    /// Where the archive is put; without it, a name with the host and the time, in the working directory.
    pub output: Option<PathBuf>,
    /// The time, for its name and for people.
    pub wall: Wall,
}

/// A report that was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Name and size of each part.
    pub parts: Vec<(String, usize)>,
    /// What is not in it, and why.
    pub left_out: Vec<String>,
}

/// Parts as they come together.
#[derive(Default)]
struct Parts {
    all: Vec<(String, Vec<u8>)>,
    left_out: Vec<String>,
    secrets: Secrets,
}

impl Parts {
    /// A text, or why there is none.
    fn text(&mut self, name: &str, text: Result<String, String>) {
        match text {
            Ok(text) => self.all.push((name.to_owned(), struck_out(&text).into_bytes())),
            Err(why) => self.leave_out(name, &why),
        }
    }

    /// A segment is packed: it is looked through as it is read.
    fn segment(&mut self, name: String, bytes: Vec<u8>) {
        match Segment::parse(&bytes) {
            Ok(segment) => match self.secrets.found_in(segment.frames()) {
                Some(secret) => self.leave_out(&name, &format!("it holds {secret}")),
                None => self.all.push((name, bytes)),
            },
            Err(error) => self.leave_out(&name, &format!("it cannot be looked through for keys: {error}")),
        }
    }

    fn leave_out(&mut self, name: &str, why: &str) {
        self.left_out.push(format!("{name}: {}", struck_out(&printable(why))));
    }
}

/// Collects and writes.
///
/// # Errors
/// The archive cannot be written; nothing of it is left.
pub async fn write(client: &Client, sources: &Sources) -> Result<Report, ArchiveError> {
    let mut parts = Parts::default();
    let places = match client.places().await {
        Ok(places) => Some(places.value),
        Err(error) => {
            parts.leave_out("what the daemon says", &error.to_string());
            None
        }
    };
    let config = places.as_ref().map_or(&sources.config, |places| &places.config).clone();
    add_configuration(&mut parts, &config);
    let recordings = places.map_or_else(|| Places::recordings_in(&config::state_dir(&config)), |places| places.recordings);
    parts.text("machine.txt", Ok(machine(sources.wall)));
    let view = client.status(None).await.ok();
    if let Some(view) = &view {
        parts.text("status.json", Ok(view.text.clone()));
        add_status(&mut parts, client, &view.value).await;
    }
    add_machine(&mut parts).await;
    add_recordings(&mut parts, &recordings);

    let mut left_out = parts.left_out;
    if left_out.is_empty() {
        left_out.push("nothing".to_owned());
    }
    let mut all = parts.all;
    all.push(("left-out.txt".to_owned(), (left_out.join("\n") + "\n").into_bytes()));
    let name = view.map(|view| view.value.host.name).or_else(|| nix::unistd::gethostname().ok()?.into_string().ok());
    let path = sources.output.clone().unwrap_or_else(|| PathBuf::from(file_name(name.as_deref(), sources.wall)));
    let bytes = Archive { path: &path, wall: sources.wall }.write(&all)?;
    Ok(Report { path, bytes, parts: all.into_iter().map(|(name, bytes)| (name, bytes.len())).collect(), left_out })
}

/// `raisd-report-web1-20261122T030507Z.tar.gz`.
fn file_name(host: Option<&str>, wall: Wall) -> String {
    let plain = |text: &str| text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect::<String>();
    let time: String = rfc3339(wall).chars().take(19).filter(char::is_ascii_alphanumeric).collect();
    format!("raisd-report-{}-{time}Z.tar.gz", plain(host.unwrap_or("host")))
}

fn add_configuration(parts: &mut Parts, config: &Path) {
    for (number, file) in config::files(config).into_iter().enumerate() {
        let name = file.file_name().map_or_else(|| number.to_string(), |name| name.to_string_lossy().into_owned());
        let read = fs::read(&file).map_err(|error| format!("cannot read {}: {error}", file.display()));
        let text = read.map(|bytes| format!("# {}\n{}", file.display(), String::from_utf8_lossy(&bytes)));
        parts.text(&format!("config/{number:02}-{name}"), text);
    }
    match config::load(config) {
        Ok(config) => {
            parts.secrets = Secrets::of(&config);
            let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
            parts.text("check.txt", Ok(format!("the configuration is valid\n{}", warnings.concat())));
        }
        Err(errors) => {
            parts.text("check.txt", Ok(errors.to_string()));
            parts.leave_out("a search for the groups' keys in the recordings", "the configuration, which names their files, is not valid");
        }
    }
}

/// All that the daemon says.
async fn add_status(parts: &mut Parts, client: &Client, view: &View) {
    parts.text("status.txt", Ok(status::render(view, Terminal::Pipe, status::Detail::Each)));
    // Ids only; no host tells another more.
    parts.text("keys.txt", Ok(KeyStatus::of(view).render(view, Terminal::Pipe)));
    let zones = client.zones(None).await.map_err(|error| error.to_string());
    parts.text("zone.txt", zones.map(|zones| zone::render(&zones.value, Terminal::Pipe)));
    let (mut told, mut aside) = (Vec::new(), Vec::new());
    let events = events::show(client, &Wanted::default(), Form::Json, &mut told, &mut aside).await;
    parts.text("events.jsonl", events.map(|()| String::from_utf8_lossy(&told).into_owned()).map_err(|error| error.to_string()));

    let addresses: Vec<(&str, IpAddr)> =
        view.groups.iter().flat_map(|group| group.addresses.iter().map(|address| (group.name.as_str(), address.address))).collect();
    let mut text = String::new();
    for (group, address) in addresses.iter().take(EXPLAINED_MAX) {
        match client.explain(&address.to_string(), Some(group)).await {
            Ok(explanation) => text.push_str(&explain::render(&explanation.value, Terminal::Pipe)),
            Err(error) => parts.leave_out(&format!("why {address} of group {group} is where it is"), &error.to_string()),
        }
        text.push('\n');
    }
    parts.text("explain.txt", Ok(text));
    if addresses.len() > EXPLAINED_MAX {
        parts.leave_out("explain.txt", &format!("of {} addresses the first {EXPLAINED_MAX} are explained", addresses.len()));
    }
}

/// What the machine is.
fn machine(wall: Wall) -> String {
    let mut text = format!("raisctl {}\nreport of {}\n", env!("CARGO_PKG_VERSION"), rfc3339(wall));
    for file in ["/proc/version", "/etc/os-release", "/proc/uptime", "/proc/loadavg"] {
        let read = fs::read_to_string(file).unwrap_or_else(|error| format!("cannot be read: {error}\n"));
        // Writing to a text does not fail.
        let _ = write!(text, "\n{file}\n{read}");
    }
    text
}

/// What other programs say of the network, the firewall and the log.
async fn add_machine(parts: &mut Parts) {
    let asked: [(&str, &str, &[&str]); 7] = [
        ("ip-address.json", "ip", &["-j", "address"]),
        ("ip-link.json", "ip", &["-j", "-s", "link"]),
        ("ip-route.json", "ip", &["-j", "route", "show", "table", "all"]),
        ("ip-neighbour.json", "ip", &["-j", "neighbour"]),
        ("sockets.txt", "ss", &["-ulnp"]),
        ("nft.txt", "nft", &["list", "ruleset"]),
        ("journal.txt", "journalctl", &["-u", "raisd", "-n", LINES, "--no-pager", "-o", "short-iso-precise"]),
    ];
    for (name, program, arguments) in asked {
        let output = command::output(program, arguments).await;
        parts.text(name, output.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    }
}

/// The newest recordings.
fn add_recordings(parts: &mut Parts, directory: &Path) {
    let listed =
        fs::read_dir(directory).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>());
    let mut files = match listed {
        Ok(files) => files,
        Err(error) => return parts.leave_out("recordings", &format!("cannot read {}: {error}", directory.display())),
    };
    files.retain(|path| path.extension().is_some_and(|suffix| suffix == "rec"));
    files.sort();
    let mut left = RECORDED_BYTES_MAX;
    for file in files.into_iter().rev() {
        let name = format!("recordings/{}", file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default());
        match fs::metadata(&file).and_then(|metadata| if metadata.len() <= left { fs::read(&file).map(Some) } else { Ok(None) }) {
            Ok(Some(bytes)) => {
                left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                parts.segment(name, bytes);
            }
            Ok(None) => parts.leave_out(&name, &format!("with it the recordings would be more than {} MiB", RECORDED_BYTES_MAX >> 20)),
            Err(error) => parts.leave_out(&name, &error.to_string()),
        }
    }
}

/// What was written, and what was not, for whoever asked.
#[must_use]
pub fn render(report: &Report) -> String {
    let Report { path, bytes, parts, left_out } = report;
    let mut text = format!("{} ({} KiB)\n\nin it:\n", path.display(), bytes.div_ceil(1024));
    for (name, bytes) in parts {
        let _ = writeln!(text, "  {bytes:>10}  {name}");
    }
    text.push_str("\nleft out:\n");
    for line in left_out {
        let _ = writeln!(text, "  {line}");
    }
    text.push_str("\nKeys, passwords in URLs and values named for a secret are struck out; names and addresses are not. Look through it before you send it.\n");
    text
}
