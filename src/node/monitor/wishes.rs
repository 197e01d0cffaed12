//! What operators wish of the leader: asked here, heard of as leader, and passed on for others.
//!
//! The host that was asked repeats a wish in every `info` until it has the leader's word or the operator's patience ends. So
//! the wish survives any leader, and no leader has to remember more than what it has been told last. Called by `operator.rs`;
//! `orders.rs` judges.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::node::event::Token;
use crate::types::host::{BootId, HostId, Sequence};
use crate::types::message::{Record, Verdict, VerdictRecord, Wish, WishKind};
use crate::types::time::Time;

/// The most wishes of others that a leader remembers, and words that are passed on: more operators at once are a script gone
/// wild.
const WISHES_MAX: usize = 64;

/// The longest that an operator waits.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// A verdict is repeated for so long after the wish was heard last, and remembered, so that an echo is no wish of its own.
const VERDICT_KEPT: Duration = Duration::from_secs(60);

/// A word is passed on for so long after it came: the next `info` is at most one away.
const RELAYED_HEARTBEATS: u32 = 2;

/// And remembered for so long: no echo of it is under way any more. Hosts that forgot it as soon as they fell silent on it would
/// take it up from each other for ever.
const RELAYED_KEPT: Duration = Duration::from_secs(60);

/// A wish, whoever repeats it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct WishKey {
    pub(crate) by: HostId,
    pub(crate) boot: BootId,
    pub(crate) number: u64,
}

/// A wish of an operator of this host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Asked {
    token: Token,
    kind: WishKind,
    until: Time,
    begun: Begun,
}

/// A wish that another host repeats to this one, as leader.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Heard {
    kind: WishKind,
    until: Time,
    begun: Begun,
    verdict: Option<Verdict>,
}

/// Whether a leader has set out to do it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Begun {
    No,
    Yes,
}

/// A wish for the leader to judge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pending {
    pub(crate) key: WishKey,
    pub(crate) kind: WishKind,
    pub(crate) begun: Begun,
}

/// What has become of a wish that was asked here; without a verdict, patience has ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) token: Token,
    pub(crate) kind: WishKind,
    pub(crate) verdict: Option<Verdict>,
}

/// A word of another host for a third.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Relayed {
    until: Time,
    forgotten_at: Time,
    sequence: Sequence,
    record: Record,
}

/// Whose word it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
enum Speaker {
    /// Of the host that was asked: for whoever leads.
    Asked,
    /// Of the leader, for the host that was asked.
    Leader(HostId),
}

/// The wishes of one group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Wishes {
    last: u64,
    asked: BTreeMap<u64, Asked>,
    heard: BTreeMap<WishKey, Heard>,
    relayed: BTreeMap<(WishKey, Speaker), Relayed>,
    ended: Vec<Ended>,
}

impl Wishes {
    /// An operator of this host wishes something and waits for so long.
    pub(crate) fn ask(&mut self, now: Time, token: Token, kind: WishKind, patience: Duration) {
        self.last += 1;
        let asked = Asked { token, kind, until: now.plus(patience.min(WAIT_MAX)), begun: Begun::No };
        self.asked.insert(self.last, asked);
    }

    /// Takes a wish that is repeated to this host as leader. Says whether it is news.
    pub(crate) fn hear(&mut self, now: Time, wish: Wish) -> bool {
        let key = WishKey { by: wish.by, boot: wish.boot, number: wish.number };
        if let Some(known) = self.heard.get_mut(&key) {
            if known.verdict.is_some() {
                known.until = now.plus(VERDICT_KEPT);
            }
            return false;
        }
        self.make_room();
        if self.heard.len() >= WISHES_MAX {
            return false;
        }
        let until = now.plus(wish.left.min(WAIT_MAX));
        self.heard.insert(key, Heard { kind: wish.kind, until, begun: Begun::No, verdict: None });
        true
    }

    /// Forgets the oldest verdict for a wish that comes.
    fn make_room(&mut self) {
        if self.heard.len() >= WISHES_MAX {
            let judged = self.heard.iter().filter(|(_, heard)| heard.verdict.is_some()).min_by_key(|(_, heard)| heard.until);
            if let Some(key) = judged.map(|(key, _)| *key) {
                self.heard.remove(&key);
            }
        }
    }

    /// What a leader has to judge: what was asked here, then what was heard, in the order of hosts.
    pub(crate) fn pending(&self, me: HostId, boot: BootId) -> Vec<Pending> {
        let asked = self.asked.iter().map(|(number, asked)| Pending {
            key: WishKey { by: me, boot, number: *number },
            kind: asked.kind.clone(),
            begun: asked.begun,
        });
        let heard = self.heard.iter().filter(|(_, heard)| heard.verdict.is_none());
        let heard = heard.map(|(key, heard)| Pending { key: *key, kind: heard.kind.clone(), begun: heard.begun });
        asked.chain(heard).collect()
    }

    /// The leader has set out to do it.
    pub(crate) fn begin(&mut self, me: HostId, key: WishKey) {
        if key.by == me {
            if let Some(asked) = self.asked.get_mut(&key.number) {
                asked.begun = Begun::Yes;
            }
        } else if let Some(heard) = self.heard.get_mut(&key) {
            heard.begun = Begun::Yes;
        }
    }

    /// The leader's word on a wish.
    pub(crate) fn judge(&mut self, now: Time, me: HostId, key: WishKey, verdict: Verdict) {
        if key.by == me {
            self.end(key.number, Some(verdict));
        } else if let Some(heard) = self.heard.get_mut(&key) {
            heard.verdict = Some(verdict);
            heard.until = now.plus(VERDICT_KEPT);
        }
    }

    fn end(&mut self, number: u64, verdict: Option<Verdict>) {
        if let Some(asked) = self.asked.remove(&number) {
            self.ended.push(Ended { token: asked.token, kind: asked.kind, verdict });
        }
    }

    /// Takes the leader's word on a wish of this host.
    pub(crate) fn take_verdict(&mut self, record: &VerdictRecord) {
        self.end(record.number, Some(record.verdict));
    }

    /// Another leads: what was heard as leader is repeated to him.
    pub(crate) fn follow(&mut self) {
        self.heard.clear();
        self.asked.values_mut().for_each(|asked| asked.begun = Begun::No);
    }

    /// Drops what has come to its end.
    pub(crate) fn expire(&mut self, now: Time) {
        self.heard.retain(|_, heard| heard.until > now);
        self.relayed.retain(|_, relayed| relayed.forgotten_at > now);
        let ended: Vec<u64> = self.asked.iter().filter(|(_, asked)| asked.until <= now).map(|(number, _)| *number).collect();
        for number in ended {
            self.end(number, None);
        }
    }

    /// What has become of wishes that were asked here, since the last call.
    pub(crate) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// Gives up what was asked here.
    pub(crate) fn take_unanswered(&mut self) -> Vec<Token> {
        let asked = std::mem::take(&mut self.asked).into_values().map(|asked| asked.token);
        let ended = std::mem::take(&mut self.ended).into_iter().map(|ended| ended.token);
        asked.chain(ended).collect()
    }

    /// Keeps a wish of another host for a leader who does not hear it. Says whether it is news.
    pub(crate) fn relay_wish(&mut self, now: Time, heartbeat: Duration, wish: Wish) -> bool {
        let key = WishKey { by: wish.by, boot: wish.boot, number: wish.number };
        self.relay(now, heartbeat, (key, Speaker::Asked), wish.sequence, Record::Wish(wish))
    }

    /// Keeps a leader's word for a host that does not hear him. Says whether it is news.
    pub(crate) fn relay_verdict(&mut self, now: Time, heartbeat: Duration, word: VerdictRecord) -> bool {
        let key = WishKey { by: word.to, boot: word.boot, number: word.number };
        self.relay(now, heartbeat, (key, Speaker::Leader(word.leader)), word.sequence, Record::Verdict(word))
    }

    fn relay(&mut self, now: Time, heartbeat: Duration, key: (WishKey, Speaker), sequence: Sequence, record: Record) -> bool {
        let known = self.relayed.get(&key);
        let is_news = known.is_none();
        if known.is_some_and(|known| known.sequence >= sequence) || (is_news && !self.has_room_to_relay(now)) {
            return false;
        }
        let (until, forgotten_at) = (now.plus(heartbeat * RELAYED_HEARTBEATS), now.plus(RELAYED_KEPT));
        self.relayed.insert(key, Relayed { until, forgotten_at, sequence, record });
        is_news
    }

    /// Makes it by forgetting the oldest word that is not passed on any more.
    fn has_room_to_relay(&mut self, now: Time) -> bool {
        if self.relayed.len() >= WISHES_MAX {
            let over = self.relayed.iter().filter(|(_, relayed)| relayed.until <= now).min_by_key(|(_, relayed)| relayed.until);
            if let Some(key) = over.map(|(key, _)| *key) {
                self.relayed.remove(&key);
            }
        }
        self.relayed.len() < WISHES_MAX
    }

    /// Words of others that are still to be passed on, with the host that is to hear each and the one that said it.
    pub(crate) fn relayed(&self, now: Time, leader: Option<HostId>) -> impl Iterator<Item = (HostId, HostId, &Record)> {
        let ends = move |(key, speaker): &(WishKey, Speaker)| match speaker {
            // The leader's own need no relay.
            Speaker::Asked => leader.filter(|leader| *leader != key.by).map(|leader| (leader, key.by)),
            Speaker::Leader(leader) => Some((key.by, *leader)),
        };
        let current = self.relayed.iter().filter(move |(_, relayed)| relayed.until > now);
        current.filter_map(move |(key, relayed)| ends(key).map(|(to, from)| (to, from, &relayed.record)))
    }

    /// What this host says of its own: wishes to another leader, or verdicts as leader.
    pub(crate) fn own(&self, now: Time, me: HostId, boot: BootId, sequence: Sequence, leader: Option<HostId>) -> Vec<Record> {
        if leader == Some(me) {
            let judged = self.heard.iter().filter_map(|(key, heard)| Some((key, heard.verdict?)));
            let record = |(key, verdict): (&WishKey, Verdict)| {
                let WishKey { by, boot, number } = *key;
                Record::Verdict(VerdictRecord { leader: me, sequence, to: by, boot, number, verdict })
            };
            return judged.map(record).collect();
        }
        let wish = |(number, asked): (&u64, &Asked)| {
            let (number, left, kind) = (*number, asked.until.since(now), asked.kind.clone());
            Record::Wish(Wish { by: me, boot, sequence, number, left, kind })
        };
        self.asked.iter().map(wish).collect()
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.asked.values().map(|asked| asked.until).chain(self.heard.values().map(|heard| heard.until)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: BootId = BootId([7; 16]);

    fn at(seconds: u64) -> Time {
        Time::after_start(Duration::from_secs(seconds))
    }

    fn host(last: u8) -> HostId {
        HostId([10, 0, 0, last].into())
    }

    fn minute() -> Duration {
        Duration::from_secs(60)
    }

    fn wish(number: u64, sequence: u64) -> Wish {
        Wish { by: host(2), boot: BOOT, sequence: Sequence(sequence), number, left: minute(), kind: WishKind::Rebalance }
    }

    #[test]
    fn a_wish_is_repeated_until_the_leaders_word_comes() {
        let (mut asked, mut leader) = (Wishes::default(), Wishes::default());
        asked.ask(at(0), Token(5), WishKind::Rebalance, minute());
        let records = asked.own(at(1), host(2), BOOT, Sequence(9), Some(host(1)));
        let [Record::Wish(told)] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!((told.left.as_secs(), told.sequence), (59, Sequence(9)));
        assert!(leader.hear(at(1), told.clone()) && !leader.hear(at(2), told.clone()));
        let pending = leader.pending(host(1), BootId([1; 16]));
        assert_eq!(pending.len(), 1);
        leader.judge(at(2), host(1), pending[0].key, Verdict::Evened { moves: 2 });
        assert_eq!(leader.pending(host(1), BootId([1; 16])), []);
        assert!(!leader.hear(at(3), told.clone()), "a wish that was judged is not taken up again");
        let records = leader.own(at(3), host(1), BootId([1; 16]), Sequence(4), Some(host(1)));
        let [Record::Verdict(word)] = records.as_slice() else { panic!("{records:?}") };
        asked.take_verdict(word);
        let ended = Ended { token: Token(5), kind: WishKind::Rebalance, verdict: Some(Verdict::Evened { moves: 2 }) };
        assert_eq!(asked.take_ended(), [ended]);
        asked.take_verdict(word);
        assert_eq!(asked.take_ended(), []);
        assert_eq!(asked.own(at(4), host(2), BOOT, Sequence(12), Some(host(1))), []);
    }

    #[test]
    fn patience_ends() {
        let mut wishes = Wishes::default();
        wishes.ask(at(0), Token(1), WishKind::Rebalance, minute());
        assert_eq!(wishes.deadline(), Some(at(60)));
        wishes.expire(at(60));
        assert_eq!(wishes.take_ended(), [Ended { token: Token(1), kind: WishKind::Rebalance, verdict: None }]);
    }

    #[test]
    fn the_echo_of_a_word_is_not_passed_on_again() {
        let mut wishes = Wishes::default();
        let heartbeat = Duration::from_secs(1);
        assert!(wishes.relay_wish(at(0), heartbeat, wish(1, 5)));
        assert!(!wishes.relay_wish(at(1), heartbeat, wish(1, 5)));
        let ends: Vec<_> = wishes.relayed(at(1), Some(host(1))).map(|(to, from, _)| (to, from)).collect();
        assert_eq!(ends, [(host(1), host(2))]);
        assert_eq!(wishes.relayed(at(2), Some(host(1))).count(), 0, "the echo has not kept it alive");
        wishes.expire(at(2));
        assert!(!wishes.relay_wish(at(2), heartbeat, wish(1, 5)), "another has passed it on a little later");
        assert_eq!(wishes.relayed(at(2), Some(host(1))).count(), 0);
        wishes.relay_wish(at(3), heartbeat, wish(1, 6));
        assert_eq!(wishes.relayed(at(3), Some(host(1))).count(), 1, "it is still wished");
        assert_eq!(wishes.relayed(at(3), Some(host(2))).count(), 0, "who leads now knows his own");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut wishes = Wishes::default();
        for number in 0..1000 {
            wishes.hear(at(0), wish(number, 1));
            wishes.relay_wish(at(0), minute(), wish(number, 1));
        }
        assert_eq!((wishes.heard.len(), wishes.relayed.len()), (WISHES_MAX, WISHES_MAX));
        let key = *wishes.heard.keys().next().unwrap();
        wishes.judge(at(0), host(1), key, Verdict::Evened { moves: 0 });
        assert!(wishes.hear(at(1), wish(5000, 1)), "a verdict makes room");
    }
}
