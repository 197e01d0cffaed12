//! The judges of a simulated pool. Each keeps its own account from what is seen, and objects.

pub(crate) mod announced;
pub(crate) mod bounds;
pub(crate) mod doubles;
pub(crate) mod moves;
pub(crate) mod quiesced;
pub(crate) mod rest;
pub(crate) mod zone;

use raisd::types::time::Time;

use self::announced::Announced;
use self::bounds::Bounds;
use self::doubles::Doubles;
use self::moves::Moves;
use self::quiesced::Quiesced;
use self::zone::Zone;
use crate::seen::Seen;
use crate::truth::Truth;

/// What is wrong, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Objection {
    /// Which checker.
    pub(crate) by: &'static str,
    pub(crate) why: String,
}

pub(crate) type Judgement = Result<(), Objection>;

pub(crate) fn object(by: &'static str, why: String) -> Judgement {
    Err(Objection { by, why })
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Checkers {
    announced: Announced,
    bounds: Bounds,
    doubles: Doubles,
    moves: Moves,
    quiesced: Quiesced,
    pub(crate) zone: Zone,
}

impl Checkers {
    /// After every step; `truth` knows of it already.
    pub(crate) fn see(&mut self, now: Time, seen: &Seen, truth: &Truth) -> Judgement {
        self.announced.see(now, seen, truth)?;
        self.bounds.see(now, seen, truth)?;
        self.doubles.see(now, seen, truth)?;
        self.moves.see(now, seen, truth)?;
        self.quiesced.see(now, seen, truth)?;
        self.zone.see(seen)
    }

    /// When the group has to be at rest.
    pub(crate) fn judge_rest(&mut self, now: Time, truth: &Truth) -> Judgement {
        rest::judge(now, truth)?;
        self.zone.judge(truth)
    }

    pub(crate) fn end(&mut self, now: Time, truth: &Truth) -> Judgement {
        self.doubles.end(now, truth)
    }
}
