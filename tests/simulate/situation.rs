//! The situations in which two hosts may hold an address at the same time, each with its bound.
//!
//! This is the table that `docs/safety.md` quotes: what is not in it may not happen, and what is in it ends in time.

use std::time::Duration;

use raisd::types::time::Time;

use crate::machine::Number;

/// Why two hosts may hold one address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Situation {
    /// Somebody has put it on a machine by hand, or it was found there unmarked at start.
    ByHand,
    /// Two machines use one host id.
    Clone,
    /// A daemon died and left its addresses on its machine; nothing takes them off before its next start.
    DeadDaemon,
    /// A daemon hangs while its kernel goes on answering; there is no fence that closes by itself.
    Hung,
    /// A kernel does not take an address off.
    KernelRefuses,
    /// The networks lose so much, or deliver so late, that hosts are not heard for `timeout`.
    Lossy,
    /// Hosts cannot hear each other, in at least one direction, on any network.
    Partition,
}

impl Situation {
    pub(crate) const ALL: [Self; 7] =
        [Self::ByHand, Self::Clone, Self::DeadDaemon, Self::Hung, Self::KernelRefuses, Self::Lossy, Self::Partition];

    /// For `docs/safety.md`.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::ByHand => "an address put on by hand, or found unmarked at start",
            Self::Clone => "two machines with one host id",
            Self::DeadDaemon => "a daemon that died of SIGKILL or a crash, its addresses left behind",
            Self::Hung => "a daemon that hangs while its kernel answers",
            Self::KernelRefuses => "a kernel that does not take an address off",
            Self::Lossy => "networks that lose or delay so much that a host is not heard for timeout",
            Self::Partition => "hosts that cannot hear each other in at least one direction",
        }
    }

    /// How long after its end two may still hold it, in timeouts and heartbeats; the release script comes on top.
    pub(crate) fn bound(self) -> (u32, u32) {
        match self {
            // The daemon's own hold of it begins or ends with the next word of the kernel.
            Self::ByHand => (1, 4),
            // The later start gives up when it hears the earlier: at most a heartbeat; two at most while both take themselves for it.
            Self::Clone => (2, 4),
            // The start takes leftovers off before anything else.
            Self::DeadDaemon => (0, 1),
            // It reads what the others hold with the next infos, after it has settled again.
            Self::Hung => (2, 4),
            // It is asked again with each heartbeat.
            Self::KernelRefuses => (1, 4),
            // Heard again within a heartbeat; the leader settles it, and repeats itself once.
            Self::Lossy | Self::Partition => (2, 6),
        }
    }
}

/// The table in the form of the documents.
pub(crate) fn table() -> String {
    let mut text = "| two hosts may hold an address during | and at most so long after its end |\n|---|---|\n".to_owned();
    for situation in Situation::ALL {
        let (timeouts, heartbeats) = situation.bound();
        let count = |count: u32, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let bound = [count(timeouts, "timeout"), count(heartbeats, "heartbeat")].join(" + ");
        text.push_str(&format!("| {} | {bound}, and the release script |\n", situation.words()));
    }
    text
}

/// One time that a situation was given.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Period {
    situation: Situation,
    /// The machines that it concerns; `None`: all.
    host: Option<Number>,
    begin: Time,
    end: Option<Time>,
}

/// All of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Situations {
    periods: Vec<Period>,
}

impl Situations {
    /// It is given from now on, unless it was already.
    pub(crate) fn begin(&mut self, now: Time, situation: Situation, host: Option<Number>) {
        if !self.is_given(situation, host) {
            self.periods.push(Period { situation, host, begin: now, end: None });
        }
    }

    pub(crate) fn end(&mut self, now: Time, situation: Situation, host: Option<Number>) {
        for period in &mut self.periods {
            if period.situation == situation && period.host == host && period.end.is_none() {
                period.end = Some(now);
            }
        }
    }

    /// Begins or ends it.
    pub(crate) fn set(&mut self, now: Time, situation: Situation, host: Option<Number>, is_given: bool) {
        if is_given { self.begin(now, situation, host) } else { self.end(now, situation, host) }
    }

    fn is_given(&self, situation: Situation, host: Option<Number>) -> bool {
        self.periods.iter().any(|period| period.situation == situation && period.host == host && period.end.is_none())
    }

    /// The first moment of a time, during which these machines held the same address, that nothing excuses.
    pub(crate) fn unexcused(&self, pace: Pace, holders: &[Number], begin: Time, end: Time) -> Option<Time> {
        let concerns = |period: &&Period| period.host.is_none_or(|host| holders.contains(&host));
        let mut excused: Vec<(Time, Option<Time>)> = self
            .periods
            .iter()
            .filter(concerns)
            .map(|period| (period.begin, period.end.map(|end| end.plus(pace.after(period.situation)))))
            .collect();
        excused.sort_unstable();
        let mut covered = begin;
        for (from, to) in excused {
            if from > covered {
                break;
            }
            match to {
                None => return None,
                Some(to) => covered = covered.max(to),
            }
            if covered >= end {
                return None;
            }
        }
        (covered < end).then_some(covered)
    }
}

/// What bounds are counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pace {
    pub(crate) heartbeat: Duration,
    pub(crate) timeout: Duration,
    pub(crate) script: Duration,
}

impl Pace {
    fn after(self, situation: Situation) -> Duration {
        let (timeouts, heartbeats) = situation.bound();
        self.timeout * timeouts + self.heartbeat * heartbeats + self.script
    }
}
