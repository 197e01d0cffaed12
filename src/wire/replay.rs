//! Which datagrams of which boots have come before.
//!
//! Per boot id a sliding window of [`WINDOW`] numbers. Called by `Inbound` only for datagrams whose seal has opened, so
//! nobody without a key can move a window; what somebody with captures can do is bounded by how places are given away:
//! - a host has [`BOOTS_MAX`] places, and the boot with the lowest incarnation leaves. Captures are of ended boots, whose
//!   incarnations are lower than that of the boot that runs: they push out each other;
//! - there are [`HOSTS_MAX`] hosts, and the one that was silent for longest leaves, counted in datagrams, not in time. To
//!   push out a host that runs, captures of as many *hosts* would have to come between two of its heartbeats.
//!
//! A boot that has lost its place starts a window afresh at its next datagram. What is replayed of it then reaches the
//! core, where it has no effect: the core goes by (incarnation, sequence) and by the echo of its own boot id.

use std::collections::BTreeMap;

use super::NUMBER_FAREWELL;
use crate::types::host::{BootId, HostId, Incarnation};
use crate::types::message::Sender;

/// So many numbers behind the highest are told apart. An `info` takes some tens of datagrams in a large group, so a network
/// may lag by dozens of `info` and still counts as heard.
pub(super) const WINDOW: u64 = 2048;

/// Hosts with a place. At most some 1.3 MB with all boots of all of them.
pub(super) const HOSTS_MAX: usize = 1024;

/// Boots of one host with a place: the one that runs, the one before it whose datagrams are still on their way, a second
/// daemon with the same id, and one for everything that is lower.
pub(super) const BOOTS_MAX: usize = 4;

/// What is known of a datagram's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Not seen before.
    First,
    /// Seen before.
    Again,
    /// Before the window, or no number that a sender uses.
    TooOld,
    /// The boot has ended.
    AfterFarewell,
}

/// The windows of a group.
#[derive(Debug, Default)]
pub(super) struct Replay {
    hosts: BTreeMap<HostId, Vec<Window>>,
    /// Counts datagrams that came first.
    advances: u64,
}

impl Replay {
    /// Looks, and changes nothing.
    pub(super) fn judge(&self, sender: &Sender, number: u64) -> Verdict {
        let windows = self.hosts.get(&sender.host).map_or(&[][..], Vec::as_slice);
        match windows.iter().find(|window| window.boot == sender.boot) {
            Some(window) => window.judge(number),
            None if number == 0 => Verdict::TooOld,
            None => Verdict::First,
        }
    }

    /// Counts a datagram as seen.
    pub(super) fn record(&mut self, sender: &Sender, number: u64) {
        if self.judge(sender, number) != Verdict::First {
            return;
        }
        self.advances += 1;
        if self.hosts.len() >= HOSTS_MAX && !self.hosts.contains_key(&sender.host) {
            let quietest = self.hosts.iter().min_by_key(|(_, windows)| windows.iter().map(|window| window.advanced).max());
            if let Some(host) = quietest.map(|(host, _)| *host) {
                self.hosts.remove(&host);
            }
        }
        let windows = self.hosts.entry(sender.host).or_default();
        let place = match windows.iter().position(|window| window.boot == sender.boot) {
            Some(place) => place,
            None => {
                if windows.len() >= BOOTS_MAX {
                    let lowest = windows.iter().enumerate().min_by_key(|(_, window)| (window.incarnation, window.advanced));
                    if let Some(place) = lowest.map(|(place, _)| place) {
                        windows.remove(place);
                    }
                }
                windows.push(Window::new(sender.boot));
                windows.len() - 1
            }
        };
        if let Some(window) = windows.get_mut(place) {
            window.advanced = self.advances;
            window.incarnation = window.incarnation.max(sender.incarnation);
            window.record(number);
        }
    }
}

const WORDS: usize = (WINDOW / u64::BITS as u64) as usize;

/// The numbers of one boot.
#[derive(Debug)]
struct Window {
    boot: BootId,
    /// The highest that it has claimed; it grows within a boot when the host learns of a higher one of its own.
    incarnation: Incarnation,
    /// The count of advances at its last.
    advanced: u64,
    highest: u64,
    /// One bit for each of the last [`WINDOW`] numbers, at the number modulo [`WINDOW`].
    seen: [u64; WORDS],
    ended: bool,
}

impl Window {
    fn new(boot: BootId) -> Self {
        Self { boot, incarnation: Incarnation::default(), advanced: 0, highest: 0, seen: [0; WORDS], ended: false }
    }

    fn judge(&self, number: u64) -> Verdict {
        match (self.ended, number == NUMBER_FAREWELL) {
            (true, true) => return Verdict::Again,
            (true, false) => return Verdict::AfterFarewell,
            (false, true) => return Verdict::First,
            (false, false) => {}
        }
        if number > self.highest {
            return Verdict::First;
        }
        if number == 0 || self.highest - number >= WINDOW {
            return Verdict::TooOld;
        }
        let (word, bit) = place(number);
        if self.seen[word] & bit == 0 { Verdict::First } else { Verdict::Again }
    }

    fn record(&mut self, number: u64) {
        // Kept out of the bitmap: as the highest number it would push out all others.
        if number == NUMBER_FAREWELL {
            self.ended = true;
            return;
        }
        if number > self.highest {
            if number - self.highest >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                for skipped in self.highest + 1..number {
                    let (word, bit) = place(skipped);
                    self.seen[word] &= !bit;
                }
            }
            self.highest = number;
        }
        let (word, bit) = place(number);
        self.seen[word] |= bit;
    }
}

/// Word and bit of a number.
fn place(number: u64) -> (usize, u64) {
    let place = number % WINDOW;
    // Less than WORDS.
    let word = (place / u64::from(u64::BITS)) as usize;
    (word, 1 << (place % u64::from(u64::BITS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(host: u32, incarnation: u64, boot: u8) -> Sender {
        Sender {
            host: HostId(std::net::Ipv4Addr::from(0x0a00_0000 + host).into()),
            incarnation: Incarnation(incarnation),
            boot: BootId([boot; 16]),
        }
    }

    fn hear(replay: &mut Replay, from: &Sender, number: u64) -> Verdict {
        let verdict = replay.judge(from, number);
        replay.record(from, number);
        verdict
    }

    #[test]
    fn a_number_is_first_once_in_any_order() {
        let mut replay = Replay::default();
        let from = sender(1, 1, 1);
        for number in [5, 3, 4, 1, 9, 2, 8] {
            assert_eq!(hear(&mut replay, &from, number), Verdict::First, "{number}");
            assert_eq!(hear(&mut replay, &from, number), Verdict::Again, "{number}");
        }
        assert_eq!(replay.judge(&from, 6), Verdict::First);
        assert_eq!(replay.judge(&from, 0), Verdict::TooOld);
        assert_eq!(replay.judge(&sender(1, 1, 2), 0), Verdict::TooOld);
    }

    #[test]
    fn the_window_ends_where_it_says() {
        let mut replay = Replay::default();
        let from = sender(1, 1, 1);
        let highest = 10 * WINDOW + 17;
        assert_eq!(hear(&mut replay, &from, highest), Verdict::First);
        assert_eq!(hear(&mut replay, &from, highest - WINDOW + 1), Verdict::First);
        assert_eq!(hear(&mut replay, &from, highest - WINDOW + 1), Verdict::Again);
        assert_eq!(hear(&mut replay, &from, highest - WINDOW), Verdict::TooOld);
        assert_eq!(hear(&mut replay, &from, highest + 1), Verdict::First);
        assert_eq!(hear(&mut replay, &from, highest - WINDOW + 1), Verdict::TooOld);
    }

    #[test]
    fn a_jump_forgets_what_it_leaves_behind_and_nothing_else() {
        for jump in [1, 2, 63, 64, 65, WINDOW - 1, WINDOW, WINDOW + 1, 5 * WINDOW] {
            let mut replay = Replay::default();
            let from = sender(1, 1, 1);
            for number in 1..=WINDOW {
                hear(&mut replay, &from, number);
            }
            let highest = WINDOW + jump;
            assert_eq!(hear(&mut replay, &from, highest), Verdict::First);
            for number in 1..=highest {
                let expected = match (number + WINDOW <= highest, number <= WINDOW || number == highest) {
                    (true, _) => Verdict::TooOld,
                    (false, true) => Verdict::Again,
                    (false, false) => Verdict::First,
                };
                assert_eq!(replay.judge(&from, number), expected, "jump {jump}, number {number}");
            }
        }
    }

    #[test]
    fn the_highest_number_before_the_farewell_is_like_any_other() {
        let mut replay = Replay::default();
        let from = sender(1, 1, 1);
        assert_eq!(hear(&mut replay, &from, NUMBER_FAREWELL - 1), Verdict::First);
        assert_eq!(hear(&mut replay, &from, NUMBER_FAREWELL - 2), Verdict::First);
        assert_eq!(hear(&mut replay, &from, NUMBER_FAREWELL), Verdict::First);
    }

    #[test]
    fn after_the_farewell_only_the_farewell_itself_is_known() {
        let mut replay = Replay::default();
        let from = sender(1, 1, 1);
        hear(&mut replay, &from, 4);
        assert_eq!(hear(&mut replay, &from, NUMBER_FAREWELL), Verdict::First);
        assert_eq!(hear(&mut replay, &from, NUMBER_FAREWELL), Verdict::Again);
        for number in [0, 1, 4, 5, NUMBER_FAREWELL - 1] {
            assert_eq!(hear(&mut replay, &from, number), Verdict::AfterFarewell, "{number}");
        }
        assert_eq!(hear(&mut replay, &sender(1, 2, 2), 1), Verdict::First);
    }

    #[test]
    fn a_host_that_runs_keeps_its_place_whatever_its_former_boots_have_not_said_for_long() {
        let mut replay = Replay::default();
        hear(&mut replay, &sender(1, 1, 1), 5);
        for host in 2..=u32::try_from(HOSTS_MAX).unwrap() {
            hear(&mut replay, &sender(host, 1, 1), 5);
        }
        // A later start of the first host: its former one is what was silent for longest.
        hear(&mut replay, &sender(1, 2, 2), 5);
        hear(&mut replay, &sender(5000, 1, 1), 5);
        assert_eq!(replay.judge(&sender(1, 2, 2), 5), Verdict::Again);
        assert_eq!(replay.judge(&sender(2, 1, 1), 5), Verdict::First, "the quietest host has left");
    }

    #[test]
    fn captures_of_ended_boots_do_not_push_out_the_boot_that_runs() {
        let mut replay = Replay::default();
        let running = sender(1, 200, 0);
        hear(&mut replay, &running, 77);
        for boot in 1..=199 {
            hear(&mut replay, &sender(1, boot.into(), boot), 1_000_000);
        }
        assert_eq!(replay.judge(&running, 77), Verdict::Again);
        assert_eq!(replay.hosts.values().map(Vec::len).collect::<Vec<_>>(), [BOOTS_MAX]);
    }

    #[test]
    fn a_host_that_lost_its_state_gets_a_place_and_keeps_it_once_it_counts_above() {
        let mut replay = Replay::default();
        for boot in 1..=9 {
            hear(&mut replay, &sender(1, 50 + u64::from(boot), boot), 1);
        }
        assert_eq!(hear(&mut replay, &sender(1, 1, 10), 1), Verdict::First);
        assert_eq!(hear(&mut replay, &sender(1, 60, 10), 2), Verdict::First);
        for boot in 11..=30 {
            hear(&mut replay, &sender(1, 40, boot), 1);
        }
        assert_eq!(replay.judge(&sender(1, 60, 10), 1), Verdict::Again);
    }

    #[test]
    fn the_host_that_was_silent_for_longest_leaves() {
        let mut replay = Replay::default();
        let host = |host: usize| sender(u32::try_from(host).unwrap(), 1, 1);
        for number in 0..HOSTS_MAX {
            hear(&mut replay, &host(number), 1);
        }
        hear(&mut replay, &host(0), 2);
        hear(&mut replay, &host(HOSTS_MAX), 1);
        assert_eq!(replay.hosts.len(), HOSTS_MAX);
        assert_eq!(replay.judge(&host(0), 2), Verdict::Again);
        assert_eq!(replay.judge(&host(1), 1), Verdict::First);
        assert_eq!(replay.judge(&host(2), 1), Verdict::Again);
        // A copy is no sign of life.
        hear(&mut replay, &host(2), 1);
        hear(&mut replay, &host(HOSTS_MAX + 1), 1);
        assert_eq!(replay.judge(&host(2), 1), Verdict::First);
    }
}
