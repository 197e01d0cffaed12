//! Small words: durations as they are, lists, states, and text of others made fit for a terminal.
//!
//! Owns nothing. Called by the other parts of the transcript.

use std::fmt::Display;
use std::time::Duration;

use crate::types::host::{BootId, BootTag, Duty, Extent, Role};
use crate::types::message::CommandKind;
use crate::types::policy::{AllFailed, AnnounceMethod, Assign, Failback, Handover, WhenEmpty};

/// A duration to the nanosecond: `0`, `250ms`, `1.5s`, `2m`, `1h`.
pub(super) fn span(duration: Duration) -> String {
    let whole = duration.subsec_nanos() == 0;
    match duration.as_secs() {
        0 if whole => "0".to_owned(),
        0 => format!("{}ms", decimal(u128::from(duration.subsec_nanos()), 1_000_000, 6)),
        seconds if whole && seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if whole && seconds % 60 == 0 => format!("{}m", seconds / 60),
        _ => format!("{}s", decimal(duration.as_nanos(), 1_000_000_000, 9)),
    }
}

fn decimal(nanos: u128, unit: u128, digits: usize) -> String {
    let text = format!("{}.{:0digits$}", nanos / unit, nanos % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// How much longer, or for ever.
pub(super) fn bound(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "unbounded".to_owned(), span)
}

/// The members with commas, or "nothing".
pub(super) fn list<T: Display>(members: impl IntoIterator<Item = T>) -> String {
    let members: Vec<String> = members.into_iter().map(|member| member.to_string()).collect();
    if members.is_empty() { "nothing".to_owned() } else { members.join(", ") }
}

/// Text of another host or program without what could steer a terminal or pretend to be a line.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Lines that belong to the one before.
pub(super) fn indented(lines: impl IntoIterator<Item = String>) -> impl Iterator<Item = String> {
    lines.into_iter().map(|line| format!("  {line}"))
}

/// Starts of daemons are told apart by so much of their number.
pub(super) fn boot(boot: BootId) -> String {
    tag(boot.tag())
}

pub(super) fn tag(BootTag([a, b, c, d, ..]): BootTag) -> String {
    format!("boot {a:02x}{b:02x}{c:02x}{d:02x}")
}

pub(super) fn extent(extent: Extent) -> String {
    let Extent { count, digest } = extent;
    if count == 0 && digest == 0 { "0".to_owned() } else { format!("{count} (digest {digest:016x})") }
}

pub(super) fn duty(duty: Duty) -> &'static str {
    match duty {
        Duty::Active => "active",
        Duty::Quiesced => "quiesced",
        Duty::Draining => "draining",
    }
}

pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::Server => "server",
        Role::Observer => "observer",
    }
}

pub(super) fn verb(kind: CommandKind) -> &'static str {
    match kind {
        CommandKind::Acquire => "take",
        CommandKind::Release => "give up",
    }
}

pub(super) fn all_failed(all_failed: AllFailed) -> &'static str {
    match all_failed {
        AllFailed::Keep => "keep",
        AllFailed::Release => "release",
    }
}

pub(super) fn assign(assign: Assign) -> &'static str {
    match assign {
        Assign::Random => "random",
        Assign::Fair => "fair",
        Assign::LeastLoaded => "least-loaded",
    }
}

pub(super) fn failback(failback: Failback) -> String {
    match failback {
        Failback::After(wait) => span(wait),
        Failback::Never => "never".to_owned(),
    }
}

pub(super) fn handover(handover: Handover) -> &'static str {
    match handover {
        Handover::Break => "break",
        Handover::Overlap => "overlap",
    }
}

pub(super) fn announce_method(method: AnnounceMethod) -> &'static str {
    match method {
        AnnounceMethod::Link => "link",
        AnnounceMethod::None => "none",
    }
}

pub(super) fn when_empty(when_empty: WhenEmpty) -> &'static str {
    match when_empty {
        WhenEmpty::Nodata => "nodata",
        WhenEmpty::All => "all",
    }
}

/// The word if it is so, else its opposite.
pub(super) fn either(is_so: bool, word: &'static str, opposite: &'static str) -> &'static str {
    if is_so { word } else { opposite }
}

/// `1 item`, `4 items`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}
