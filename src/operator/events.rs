//! `raisctl events`: what has happened and what happens, a line each, for people or as the daemon's JSON.
//!
//! Owns the line and the way back to a daemon that went away while it was followed. Never decides what is told: that is the
//! daemon's ring.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::client::lines::Lines;
use super::client::{Client, ClientError, percent_encoded};
use super::terminal::{Terminal, Tone};
use super::words::printable;
use crate::ports::api::call::EVENTS_PATH;
use crate::types::host::HostId;
use crate::types::recorded::{Kind, RECORDED_VERSION, Recorded};

/// Between two attempts to find a daemon that went away: a start takes about so long.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// Who follows without saying since when sees so many of those that have happened.
const CONTEXT: usize = 10;

/// What an operator wants to see.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// Of one group, and what concerns the host.
    pub group: Option<String>,
    /// Not older than this.
    pub since: Option<Duration>,
    /// Also what happens from now on, until the caller ends it.
    pub follow: bool,
}

/// How it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// The daemon's lines as they are.
    Json,
    /// A line for people.
    Text(Terminal),
}

/// Why it came to an end before it should.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// No daemon, or it refuses.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The output is gone.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// Shows events on `out` until there are no more, or, followed, until the caller ends it. What becomes of the daemon
/// meanwhile is told to `aside`.
///
/// # Errors
///
/// No daemon answers at first, it refuses, it says what no daemon of this version says, or the output is gone.
pub async fn show(client: &Client, wanted: &Wanted, form: Form, out: &mut impl Write, aside: &mut impl Write) -> Result<(), EventsError> {
    let mut lines = client.lines(&target(wanted, None)).await?;
    if let Form::Text(terminal @ Terminal::Screen { .. }) = form {
        writeln!(out, "{}", terminal.paint(Tone::Quiet, &heading()))?;
    }
    if !wanted.follow {
        // All of it first: the daemon does not wait for somebody who reads a page at a time.
        let mut all = Vec::new();
        while let Some(line) = lines.next().await? {
            all.push(line);
        }
        let mut shown = Shown::default();
        for line in &all {
            shown.learn_name(&read(client, line)?);
        }
        return all.iter().try_for_each(|line| shown.show(client, line, form, out));
    }
    let mut shown = Shown::default();
    loop {
        let why = match pass_on(client, &mut lines, form, out, &mut shown).await? {
            Some(error) => error.to_string(),
            None => "raisd has stopped".to_owned(),
        };
        writeln!(aside, "raisctl: {why}; waiting for a daemon on {} (interrupt to end)", client.socket().display())?;
        lines = reconnect(client, wanted, shown.last.as_ref()).await?;
        writeln!(aside, "raisctl: a daemon answers on {}", client.socket().display())?;
    }
}

/// Shows what comes on one connection. What ended it, if it was not the daemon's last word.
async fn pass_on(
    client: &Client,
    lines: &mut Lines,
    form: Form,
    out: &mut impl Write,
    shown: &mut Shown,
) -> Result<Option<ClientError>, EventsError> {
    loop {
        match lines.next().await {
            Ok(Some(line)) => shown.show(client, &line, form, out)?,
            Ok(None) => return Ok(None),
            Err(error @ ClientError::Broken { .. }) => return Ok(Some(error)),
            Err(error) => return Err(error.into()),
        }
        out.flush()?;
    }
}

/// What has been shown so far.
#[derive(Debug, Default)]
struct Shown {
    /// The place of the last event.
    last: Option<(String, u64)>,
    /// What hosts are called: the first word of a host comes before its name.
    names: BTreeMap<HostId, String>,
}

impl Shown {
    fn learn_name(&mut self, event: &Recorded) {
        if let (Some(host), Some(name)) = (event.host, &event.name) {
            self.names.insert(host, name.clone());
        }
    }

    fn show(&mut self, client: &Client, line: &str, form: Form, out: &mut impl Write) -> Result<(), EventsError> {
        let mut event = read(client, line)?;
        self.learn_name(&event);
        self.last = Some((event.boot.clone(), event.sequence));
        match form {
            Form::Json => writeln!(out, "{line}")?,
            Form::Text(terminal) => {
                event.name = event.name.or_else(|| event.host.and_then(|host| self.names.get(&host)).cloned());
                writeln!(out, "{}", render(&event, terminal, &TimeZone::system()))?;
            }
        }
        Ok(())
    }
}

fn read(client: &Client, line: &str) -> Result<Recorded, ClientError> {
    let event: Recorded = serde_json::from_str(line).map_err(|error| client.garbled(&error))?;
    if event.version == RECORDED_VERSION {
        return Ok(event);
    }
    Err(client.garbled(&format!("it has version {}, not {RECORDED_VERSION}", event.version)))
}

/// Waits for a daemon, however long it takes; what it refuses ends the waiting.
async fn reconnect(client: &Client, wanted: &Wanted, seen: Option<&(String, u64)>) -> Result<Lines, ClientError> {
    let mut attempts = tokio::time::interval(RETRY_INTERVAL);
    attempts.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        attempts.tick().await;
        match client.lines(&target(wanted, Some(seen))).await {
            Err(error) if error.is_unreached() => {}
            answer => return answer,
        }
    }
}

/// `again`: the caller has been there before, and perhaps seen something.
fn target(wanted: &Wanted, again: Option<Option<&(String, u64)>>) -> String {
    let mut words = Vec::new();
    words.extend(wanted.group.as_ref().map(|group| format!("group={}", percent_encoded(group))));
    match again {
        Some(Some((boot, sequence))) => words.push(format!("after={}:{sequence}", percent_encoded(boot))),
        Some(None) => {}
        None => match wanted.since {
            Some(since) => words.push(format!("since_ms={}", since.as_millis())),
            None if wanted.follow => words.push(format!("last={CONTEXT}")),
            None => {}
        },
    }
    words.extend(wanted.follow.then(|| "follow=true".to_owned()));
    if words.is_empty() { EVENTS_PATH.to_owned() } else { format!("{EVENTS_PATH}?{}", words.join("&")) }
}

fn heading() -> String {
    columns(&["TIME", "GROUP", "EVENT", "ADDRESS", "HOST", "REASON", "EPOCH", "DETAIL"])
}

/// One event, with the time of the caller's zone.
#[must_use]
pub fn render(event: &Recorded, terminal: Terminal, zone: &TimeZone) -> String {
    let time = match event.time.parse::<Timestamp>() {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f %:z").to_string(),
        Err(_) => printable(&event.time).into_owned(),
    };
    let dash = || "-".to_owned();
    let host = match (&event.name, &event.host) {
        (Some(name), _) => printable(name).into_owned(),
        (None, Some(host)) => host.to_string(),
        (None, None) => dash(),
    };
    let line = columns(&[
        &time,
        &event.group.as_deref().map_or_else(dash, |group| printable(group).into_owned()),
        event.kind.as_str(),
        &event.address.map_or_else(dash, |address| address.to_string()),
        &host,
        event.reason.map_or("-", |reason| reason.as_str()),
        &event.epoch.map_or_else(dash, |epoch| epoch.to_string()),
        &printable(&event.detail),
    ]);
    terminal.paint(tone(event.kind), &line)
}

/// Wide enough for most; what is wider moves the rest of its line.
fn columns(words: &[&str; 8]) -> String {
    let [time, group, event, address, host, reason, epoch, detail] = words;
    let line = format!("{time:<30}  {group:<6}  {event:<17}  {address:<15}  {host:<9}  {reason:<12}  {epoch:>5}  {detail}");
    line.trim_end().to_owned()
}

fn tone(kind: Kind) -> Tone {
    match kind {
        Kind::AcquireFail
        | Kind::AddressForeign
        | Kind::CannotAssign
        | Kind::Conflict
        | Kind::DuplicateId
        | Kind::LimitReached
        | Kind::ReleaseFail
        | Kind::ScriptFail
        | Kind::StoreFail => Tone::Bad,
        Kind::AddressFound
        | Kind::AddressLost
        | Kind::CannotServe
        | Kind::ConfigurationDiffers
        | Kind::DuplicateSettled
        | Kind::Frozen
        | Kind::HostSilent
        | Kind::Missed
        | Kind::MulticastFails
        | Kind::NetworkFails
        | Kind::Stalled
        | Kind::TestFailed => Tone::Doubtful,
        Kind::Acquire | Kind::Release => Tone::Good,
        Kind::CanServe
        | Kind::DecidedAcquire
        | Kind::DecidedRelease
        | Kind::Draining
        | Kind::Expired
        | Kind::Follows
        | Kind::GroupBegins
        | Kind::GroupEnded
        | Kind::HostHeard
        | Kind::HostLeft
        | Kind::LeaderChanged
        | Kind::MulticastWorks
        | Kind::NetworkWorks
        | Kind::Quiesced
        | Kind::Resumed
        | Kind::ScriptDone
        | Kind::Settled
        | Kind::Started
        | Kind::TestRecovered
        | Kind::Thawed
        | Kind::ZoneChanged => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Recorded {
        serde_json::from_str(include_str!("../../tests/samples/event.json")).unwrap()
    }

    #[test]
    fn a_line_names_host_reason_and_epoch_and_has_the_time_of_the_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let line = render(&event(), Terminal::Pipe, &zone);
        assert_eq!(line, "2026-11-22 12:03:56.123 +02:00  www     acquire            192.0.2.12       web4       assigned          4");
    }

    #[test]
    fn what_a_host_calls_itself_cannot_steer_the_terminal() {
        let event = Recorded { name: Some("web\u{1b}[2J".to_owned()), ..event() };
        assert!(!render(&event, Terminal::Pipe, &TimeZone::UTC).contains('\u{1b}'));
    }

    #[test]
    fn who_comes_back_asks_for_what_he_has_not_seen() {
        let wanted = Wanted { group: Some("w w".to_owned()), since: None, follow: true };
        assert_eq!(target(&wanted, None), "/api/v1/events?group=w%20w&last=10&follow=true");
        let seen = ("ab".to_owned(), 7);
        assert_eq!(target(&wanted, Some(Some(&seen))), "/api/v1/events?group=w%20w&after=ab:7&follow=true");
        let since = Wanted { since: Some(Duration::from_secs(2)), ..Wanted::default() };
        assert_eq!(target(&since, None), "/api/v1/events?since_ms=2000");
        assert_eq!(target(&Wanted::default(), None), "/api/v1/events");
    }
}
