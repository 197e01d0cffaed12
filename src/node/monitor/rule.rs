//! Which rule of the control step applies to an address: what `raisctl explain` names.
//!
//! Owns the closed list and its words. The rules themselves are in `control.rs`, which notes the one it used; nothing here
//! decides. A rule that is added there has to be given its words here, or the compiler objects.

use std::time::Duration;

use super::control::HostRow;
use crate::types::explanation::RuleWord;
use crate::types::host::{Duty, HostId};
use crate::types::item::{ItemState, Reason};

/// The rule that the control step used for one address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    /// Nobody serves it: it is given to a host.
    Assigned { to: HostId, list: List },
    /// Nobody serves it and nobody can take it.
    CannotAssign { why: &'static str },
    /// Several hold it: one keeps it.
    Duplicate { keeps: HostId },
    /// No moves at all in the group.
    Frozen,
    /// Its preferred host is wanted home: the holder gives it up.
    GoesHome { from: HostId, to: HostId },
    /// The holder has to give it up and there is a place to go.
    Leaves { from: HostId, because: Unfit },
    /// The operator wants it elsewhere: the holder gives it up.
    Moves { from: HostId, to: HostId },
    /// The holder should give it up, but nobody else can take it.
    NowhereToGo { at: HostId, because: Unfit },
    /// Floating addresses are evened out: the holder gives it up.
    Rebalances { from: HostId, to: HostId },
    /// Its preferred host serves it.
    StaysAtHome { at: HostId },
    /// Its preferred host does not serve it and is not wanted home.
    StaysAway { at: HostId, home: HostId, because: NotHome },
    /// The operator has moved it here, and no other reason moves it.
    StaysPinned { at: HostId },
    /// No live host prefers it: whoever has it keeps it.
    StaysPut { at: HostId },
    /// Held, but unknown or expired: whoever holds it gives it up.
    Unknown,
    /// Held, but unknown here; not everybody knows the same addresses yet.
    UnknownWaits,
    /// Some holder is acquiring or releasing, or has been told to.
    Waits { on: HostId, state: ItemState },
    /// Nobody serves it, or its holder should give it up, but a live host's entry is not whole: that host may hold it.
    WaitsForEntries,
    /// Nobody serves it, or its holder should give it up, but its preferred host has just started and takes it as soon as it is settled.
    WaitsForHome { home: HostId },
}

/// From which list a host was chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum List {
    /// The preferred host.
    Home,
    /// The operator named it.
    Ordered,
    /// The hosts that are no spares.
    Servers,
    /// The spares.
    Spares,
    /// Where the spread of floating addresses has it.
    Spread,
}

/// Why a preferred host is not wanted home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotHome {
    /// It failed to acquire it a short time ago.
    BackOff,
    /// A live host's entry is not whole.
    EntriesIncomplete,
    /// `failback = "never"`.
    Never,
    /// Its `accept` leaves the address out.
    NotAccepted,
    /// It may not be given anything.
    NotEligible(Obstacle),
    /// It is not live.
    NotLive,
    /// It has not been well for `failback`, doubled so often.
    TooSoon { wait: Duration, left: Duration, doublings: u32 },
}

/// Why what a host holds may not stay there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unfit {
    Draining,
    /// Its `accept` does not hold the address any more.
    NotAccepted,
    /// Its tests or its service interface fail.
    NotOk,
}

/// Why a live host may not be given anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Obstacle {
    Draining,
    /// Its tests or its service interface fail, or it is an observer.
    NotOk,
    /// Its entry is not whole here, or it replaces itself.
    NotReady,
    NotSettled,
    Quiesced,
}

impl HostRow {
    /// What keeps the host from being given anything; nothing exactly if it is eligible.
    pub(crate) fn obstacle(&self) -> Option<Obstacle> {
        match (self.ok, self.duty) {
            (false, _) => Some(Obstacle::NotOk),
            (true, Duty::Quiesced) => Some(Obstacle::Quiesced),
            (true, Duty::Draining) => Some(Obstacle::Draining),
            (true, Duty::Active) if !self.ready => Some(Obstacle::NotReady),
            (true, Duty::Active) if !self.settled => Some(Obstacle::NotSettled),
            (true, Duty::Active) => None,
        }
    }
}

impl Obstacle {
    /// After the name of the host.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Draining => "is being drained",
            Self::NotOk => "is not ok",
            Self::NotReady => "is not known completely here, or replaces itself",
            Self::NotSettled => "has not listened long enough",
            Self::Quiesced => "is quiesced",
        }
    }
}

impl Rule {
    /// Why the one holder is told to give the address up, if it is.
    pub(crate) fn release_reason(&self) -> Option<Reason> {
        match self {
            Self::GoesHome { .. } => Some(Reason::Home),
            Self::Leaves { because: Unfit::Draining, .. } => Some(Reason::Drained),
            Self::Leaves { because: Unfit::NotAccepted, .. } => Some(Reason::NotAccepted),
            Self::Leaves { because: Unfit::NotOk, .. } => Some(Reason::TestFailed),
            Self::Moves { .. } => Some(Reason::Moved),
            Self::Rebalances { .. } => Some(Reason::Rebalanced),
            Self::Assigned { .. }
            | Self::CannotAssign { .. }
            | Self::Duplicate { .. }
            | Self::Frozen
            | Self::NowhereToGo { .. }
            | Self::StaysAtHome { .. }
            | Self::StaysAway { .. }
            | Self::StaysPinned { .. }
            | Self::StaysPut { .. }
            | Self::Unknown
            | Self::UnknownWaits
            | Self::Waits { .. }
            | Self::WaitsForEntries
            | Self::WaitsForHome { .. } => None,
        }
    }

    /// Its word in JSON.
    pub(crate) fn word(&self) -> RuleWord {
        match self {
            Self::Assigned { .. } => RuleWord::Assigned,
            Self::CannotAssign { .. } => RuleWord::CannotAssign,
            Self::Duplicate { .. } => RuleWord::Duplicate,
            Self::Frozen => RuleWord::Frozen,
            Self::GoesHome { .. } => RuleWord::GoesHome,
            Self::Leaves { .. } => RuleWord::Leaves,
            Self::Moves { .. } => RuleWord::Moves,
            Self::NowhereToGo { .. } => RuleWord::NowhereToGo,
            Self::Rebalances { .. } => RuleWord::Rebalances,
            Self::StaysAtHome { .. } => RuleWord::StaysAtHome,
            Self::StaysAway { .. } => RuleWord::StaysAway,
            Self::StaysPinned { .. } => RuleWord::StaysPinned,
            Self::StaysPut { .. } => RuleWord::StaysPut,
            Self::Unknown => RuleWord::Unknown,
            Self::UnknownWaits => RuleWord::UnknownWaits,
            Self::Waits { .. } => RuleWord::Waits,
            Self::WaitsForEntries => RuleWord::WaitsForEntries,
            Self::WaitsForHome { .. } => RuleWord::WaitsForHome,
        }
    }

    /// Why the address is where it is, in a sentence; `name`: what people call a host.
    pub(crate) fn because(&self, name: &impl Fn(HostId) -> String) -> String {
        match self {
            Self::Assigned { to, list } => format!("nobody serves it; {} is to take it, {}", name(*to), list.words()),
            Self::CannotAssign { why } => format!("nobody serves it and nobody can: {why}"),
            Self::Duplicate { keeps } => format!("several hosts hold it; {} keeps it, the others give it up", name(*keeps)),
            Self::Frozen => "the group is frozen: nothing moves but what several hosts hold".to_owned(),
            Self::GoesHome { from, to } => format!("its preferred host {} is wanted home, so {} gives it up", name(*to), name(*from)),
            Self::Leaves { from, because } => {
                format!("{} {} and gives it up, since another host can take it", name(*from), because.words())
            }
            Self::Moves { from, to } => format!("an operator wants it on {}, so {} gives it up", name(*to), name(*from)),
            Self::NowhereToGo { at, because } => format!("{} {}, but nobody else can take it", name(*at), because.words()),
            Self::Rebalances { from, to } => {
                format!("floating addresses are evened out: it goes to {}, so {} gives it up", name(*to), name(*from))
            }
            Self::StaysAtHome { at } => format!("its preferred host {} serves it", name(*at)),
            Self::StaysAway { at, home, because } => {
                format!("{} keeps it: its preferred host {} {}", name(*at), name(*home), because.words())
            }
            Self::StaysPinned { at } => format!("{} keeps it: an operator has moved it there", name(*at)),
            Self::StaysPut { at } => format!("{} keeps it: no live host prefers it", name(*at)),
            Self::Unknown => "it has expired, or no host of the group prefers or floats it; whoever holds it gives it up".to_owned(),
            Self::UnknownWaits => "it is not known here, and not all hosts know the same addresses yet".to_owned(),
            Self::Waits { on, state } => match state {
                ItemState::Acquiring => format!("{} is taking it", name(*on)),
                ItemState::Releasing => format!("{} is giving it up", name(*on)),
                ItemState::Online | ItemState::NotServing => format!("{} has been told to give it up", name(*on)),
            },
            Self::WaitsForEntries => "nothing is decided until what every live host holds is known completely".to_owned(),
            Self::WaitsForHome { home } => {
                format!("its preferred host {} has just started and takes it as soon as it is settled", name(*home))
            }
        }
    }
}

impl List {
    /// After the name of the host.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Home => "its preferred host",
            Self::Ordered => "as an operator wants",
            Self::Servers => "since no spare can",
            Self::Spares => "a spare",
            Self::Spread => "where the spread of floating addresses has it",
        }
    }
}

impl NotHome {
    /// After the name of the host.
    pub(crate) fn words(self) -> String {
        let words = match self {
            Self::BackOff => "has failed to take it and is in back-off",
            Self::EntriesIncomplete => "waits until what the live hosts hold is known completely",
            Self::Never => "gets nothing back (failback = \"never\")",
            Self::NotAccepted => "does not accept it",
            Self::NotEligible(obstacle) => obstacle.words(),
            Self::NotLive => "is not heard",
            Self::TooSoon { wait, doublings: 0, .. } => return format!("has not been well for {} yet (failback)", in_seconds(wait)),
            Self::TooSoon { wait, doublings, .. } => {
                let times = if doublings == 1 { "once".to_owned() } else { format!("{doublings} times") };
                return format!(
                    "has not been well for {} yet (failback, doubled {times}, since its returns did not last)",
                    in_seconds(wait)
                );
            }
        };
        words.to_owned()
    }
}

impl Unfit {
    /// After the name of the host.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Draining => "is being drained",
            Self::NotAccepted => "does not accept it any more",
            Self::NotOk => "is not ok",
        }
    }
}

/// As the configuration writes it.
fn in_seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 { format!("{} s", duration.as_secs()) } else { format!("{} ms", duration.as_millis()) }
}
