//! Whether the group is frozen: the newest word of an operator, and who waits for it to be heard.
//!
//! The word is a register that every host keeps and repeats, so that it outlives the host that was asked and any leader, and
//! reaches whoever joins; the newest wins. It ends by itself. It is not on disk: a pool that has lost power as a whole starts
//! thawed, since frozen it would serve nothing. Called by `operator.rs` only.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::node::event::Token;
use crate::types::host::HostId;
use crate::types::message::Freeze;
use crate::types::time::Time;

/// A freeze that lasts longer than this is a forgotten one.
pub(crate) const FREEZE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long an operator waits until everybody heeds his word: a few heartbeats at most, unless somebody is deaf.
const HEEDED_WITHIN: Duration = Duration::from_secs(3);

/// The newest word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Word {
    number: u64,
    by: HostId,
    /// Thawed from then on.
    until: Time,
}

/// What an operator has asked for here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Wanted {
    Frozen(Duration),
    Thawed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Waiting {
    token: Token,
    wanted: Wanted,
    until: Time,
    /// The word was said anew, above one of which nothing was known here when it was said first.
    again: bool,
}

/// What has changed since it was last told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Frozen {
        by: HostId,
        left: Duration,
    },
    /// `by`: the host that was asked; `None`: its time has ended.
    Thawed {
        by: Option<HostId>,
    },
}

/// Whether the group is frozen, as its hosts say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Heed {
    /// `None`: nobody leads.
    pub(crate) leader: Option<bool>,
    /// All live hosts; `None`: they differ.
    pub(crate) others: Option<bool>,
}

/// The freeze of one group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Freezing {
    word: Option<Word>,
    /// The number of the freeze that was told.
    told: Option<u64>,
    waiting: Vec<Waiting>,
}

impl Freezing {
    /// An operator of this host says so; he is answered when the leader heeds it.
    pub(crate) fn ask(&mut self, now: Time, me: HostId, token: Token, wanted: Wanted) {
        self.say(now, me, wanted);
        self.waiting.push(Waiting { token, wanted, until: now.plus(HEEDED_WITHIN), again: false });
    }

    /// One more word, above all that is known.
    fn say(&mut self, now: Time, me: HostId, wanted: Wanted) {
        let left = match wanted {
            Wanted::Frozen(duration) => duration.min(FREEZE_MAX),
            Wanted::Thawed => Duration::ZERO,
        };
        // At the end of numbers the older word of the same number gives way here, and by host id elsewhere.
        let number = self.word.map_or(0, |word| word.number).saturating_add(1);
        self.word = Some(Word { number, by: me, until: now.plus(left) });
    }

    /// Takes another host's word. Says whether it is newer.
    pub(crate) fn take(&mut self, now: Time, me: HostId, told: Freeze) -> bool {
        let is_newer = self.word.is_none_or(|word| (told.number, told.by) > (word.number, word.by));
        if !is_newer {
            return false;
        }
        self.word = Some(Word { number: told.number, by: told.by, until: now.plus(told.left.min(FREEZE_MAX)) });
        // An operator is still waiting here, so that his word is the newest in truth. Once: two who want opposites must come
        // to an end.
        if let Some(waiting) = self.waiting.last_mut().filter(|waiting| !waiting.again) {
            waiting.again = true;
            let wanted = waiting.wanted;
            self.say(now, me, wanted);
        }
        true
    }

    /// How much longer nothing is moved. `others`: what live hosts say, which counts as long as no word has come here.
    pub(crate) fn left(&self, now: Time, mut others: impl Iterator<Item = Duration>) -> Option<Duration> {
        match self.word {
            Some(word) => Some(word.until.since(now)).filter(|left| !left.is_zero()),
            None => others.next(),
        }
    }

    /// The word as it travels; `lags`: some live host says otherwise.
    pub(crate) fn record(&self, now: Time, lags: bool) -> Option<Freeze> {
        let word = self.word?;
        let left = word.until.since(now);
        (lags || !left.is_zero()).then_some(Freeze { number: word.number, by: word.by, left })
    }

    /// What an operator wants to know, once.
    pub(crate) fn take_change(&mut self, now: Time) -> Option<Change> {
        let word = self.word?;
        let left = word.until.since(now);
        match self.told {
            told if !left.is_zero() && told != Some(word.number) => {
                self.told = Some(word.number);
                Some(Change::Frozen { by: word.by, left })
            }
            Some(told) if left.is_zero() => {
                self.told = None;
                Some(Change::Thawed { by: (told != word.number).then_some(word.by) })
            }
            Some(_) | None => None,
        }
    }

    /// Those whose word every live host heeds, or who have waited long enough: then the leader's heed is what counts.
    pub(crate) fn take_answers(&mut self, now: Time, heed: Heed) -> Vec<(Token, Result<Wanted, Wanted>)> {
        let wants = |waiting: &Waiting| matches!(waiting.wanted, Wanted::Frozen(_));
        let is_heeded = |waiting: &Waiting| heed.leader == Some(wants(waiting));
        let by_all = |waiting: &Waiting| is_heeded(waiting) && heed.others == Some(wants(waiting));
        let (ended, waiting): (Vec<Waiting>, Vec<Waiting>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiting| by_all(waiting) || waiting.until <= now);
        self.waiting = waiting;
        ended.into_iter().map(|ended| (ended.token, if is_heeded(&ended) { Ok(ended.wanted) } else { Err(ended.wanted) })).collect()
    }

    /// Gives up those who wait.
    pub(crate) fn take_unanswered(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.waiting).into_iter().map(|waiting| waiting.token).collect()
    }

    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        let ends = self.word.map(|word| word.until).filter(|until| *until > now);
        ends.into_iter().chain(self.waiting.iter().map(|waiting| waiting.until)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::after_start(Duration::from_secs(seconds))
    }

    fn host(last: u8) -> HostId {
        HostId([10, 0, 0, last].into())
    }

    const HOUR: Duration = Duration::from_secs(3600);

    fn none() -> impl Iterator<Item = Duration> {
        std::iter::empty()
    }

    #[test]
    fn the_newest_word_wins_whoever_said_it_and_in_whatever_order_it_comes() {
        let (mut asked, mut other) = (Freezing::default(), Freezing::default());
        asked.ask(at(0), host(2), Token(1), Wanted::Frozen(HOUR));
        let frozen = asked.record(at(0), false).unwrap();
        assert!(other.take(at(1), host(1), frozen));
        assert_eq!(other.left(at(1), none()), Some(HOUR));
        other.ask(at(2), host(1), Token(1), Wanted::Thawed);
        assert_eq!(other.record(at(2), false), None, "thawed, and nobody says otherwise");
        let thawed = other.record(at(2), true).unwrap();
        // Nobody waits for an answer any more.
        let heed = Heed { leader: Some(true), others: Some(true) };
        assert_eq!(asked.take_answers(at(2), heed).len(), 1);
        assert!(asked.take(at(3), host(2), thawed) && !asked.take(at(4), host(2), frozen) && !other.take(at(4), host(1), frozen));
        assert_eq!((asked.left(at(4), none()), other.left(at(4), none())), (None, None));
    }

    #[test]
    fn a_freeze_ends_by_itself_and_is_told_of_twice() {
        let mut freezing = Freezing::default();
        freezing.take(at(10), host(1), Freeze { number: 3, by: host(2), left: HOUR });
        assert_eq!(freezing.take_change(at(10)), Some(Change::Frozen { by: host(2), left: HOUR }));
        assert_eq!(freezing.take_change(at(11)), None);
        assert_eq!(freezing.deadline(at(11)), Some(at(3610)));
        assert_eq!(freezing.left(at(3610), none()), None);
        assert_eq!(freezing.take_change(at(3610)), Some(Change::Thawed { by: None }));
        assert_eq!((freezing.take_change(at(3611)), freezing.deadline(at(3611))), (None, None));
    }

    #[test]
    fn what_others_say_counts_until_a_word_has_come() {
        let mut freezing = Freezing::default();
        assert_eq!(freezing.left(at(0), [HOUR].into_iter()), Some(HOUR));
        freezing.take(at(0), host(2), Freeze { number: 1, by: host(1), left: Duration::ZERO });
        assert_eq!(freezing.left(at(0), [HOUR].into_iter()), None);
    }

    #[test]
    fn an_operator_is_answered_when_everybody_heeds_him_or_the_leader_does_in_time() {
        let heed = |leader, others| Heed { leader, others };
        let mut freezing = Freezing::default();
        freezing.ask(at(0), host(1), Token(1), Wanted::Frozen(HOUR));
        assert_eq!(freezing.take_answers(at(1), heed(Some(false), Some(false))), []);
        assert_eq!(freezing.take_answers(at(1), heed(Some(true), None)), []);
        assert_eq!(freezing.take_answers(at(1), heed(Some(true), Some(true))), [(Token(1), Ok(Wanted::Frozen(HOUR)))]);
        freezing.ask(at(2), host(1), Token(2), Wanted::Thawed);
        assert_eq!(freezing.take_answers(at(4), heed(None, Some(false))), []);
        assert_eq!(freezing.take_answers(at(5), heed(None, Some(false))), [(Token(2), Err(Wanted::Thawed))]);
        freezing.ask(at(5), host(1), Token(3), Wanted::Frozen(HOUR));
        assert_eq!(freezing.take_answers(at(8), heed(Some(true), None)), [(Token(3), Ok(Wanted::Frozen(HOUR)))], "one is deaf");
    }

    #[test]
    fn a_word_said_in_ignorance_of_an_older_one_is_said_anew_above_it_once() {
        let mut joined = Freezing::default();
        joined.ask(at(0), host(1), Token(1), Wanted::Frozen(HOUR));
        assert!(joined.take(at(1), host(1), Freeze { number: 7, by: host(2), left: Duration::ZERO }));
        assert_eq!(joined.record(at(1), false), Some(Freeze { number: 8, by: host(1), left: HOUR }));
        assert!(joined.take(at(2), host(1), Freeze { number: 9, by: host(2), left: Duration::ZERO }));
        assert_eq!(joined.left(at(2), none()), None, "of two who want opposites one has the last word");
    }

    #[test]
    fn no_word_freezes_for_ever() {
        let mut freezing = Freezing::default();
        freezing.take(at(0), host(2), Freeze { number: u64::MAX, by: host(1), left: Duration::MAX });
        assert_eq!(freezing.left(at(0), none()), Some(FREEZE_MAX));
        freezing.ask(at(0), host(2), Token(1), Wanted::Thawed);
        assert_eq!(freezing.left(at(0), none()), None);
    }
}
