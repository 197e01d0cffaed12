//! What the demo prints: one line a thing, when it happened, and what it means.
//!
//! Owns the start of time and the columns. Called by the demo.
#![expect(clippy::disallowed_methods, reason = "an observer outside of the protocol measures time")]

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Instant;

/// The timeline.
#[derive(Debug)]
pub(super) struct Timeline<W> {
    start: Instant,
    pending: Vec<(Instant, Subject, String)>,
    out: W,
}

/// Who or what a line is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Subject {
    Network,
    Pool,
    Client,
    Dns,
    Wire,
    Power,
    Result,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Pool => "pool",
            Self::Client => "client",
            Self::Dns => "dns",
            Self::Wire => "wire",
            Self::Power => "POWER",
            Self::Result => "RESULT",
        }
    }
}

impl<W: Write> Timeline<W> {
    /// A timeline that starts now.
    pub(super) fn start(out: W) -> Self {
        Self { start: Instant::now(), pending: Vec::new(), out }
    }

    /// When it started.
    pub(super) fn started(&self) -> Instant {
        self.start
    }

    /// Prints a line without a time.
    pub(super) fn say(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// Prints what happened just now, after what is kept.
    pub(super) fn now(&mut self, subject: Subject, text: impl Into<String>) -> io::Result<()> {
        self.keep(Instant::now(), subject, text);
        self.print()
    }

    /// Keeps what happened at `at`: observers are asked one after the other, and the last may have seen the first thing.
    pub(super) fn keep(&mut self, at: Instant, subject: Subject, text: impl Into<String>) {
        self.pending.push((at, subject, text.into()));
    }

    /// Prints what is kept, in the order in which it happened.
    pub(super) fn print(&mut self) -> io::Result<()> {
        self.pending.sort_by_key(|(at, _, _)| *at);
        for (at, subject, text) in self.pending.drain(..) {
            let elapsed = at.saturating_duration_since(self.start).as_secs_f64();
            writeln!(self.out, "{elapsed:7.3} s  {:<8} {text}", subject.name())?;
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lines_are_aligned_and_in_the_order_of_time() {
        let mut timeline = Timeline::start(Vec::new());
        let start = timeline.started();
        timeline.keep(start + Duration::from_millis(12_345), Subject::Dns, "answers");
        timeline.keep(start, Subject::Network, "up");
        timeline.print().unwrap();
        let text = String::from_utf8(timeline.out).unwrap();
        assert_eq!(text, "  0.000 s  network  up\n 12.345 s  dns      answers\n");
    }
}
