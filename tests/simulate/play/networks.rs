//! Faults of the control networks.

use std::time::Duration;

use super::Play;
use super::end::End;
use crate::fault::Fault;
use crate::machine::Number;
use crate::world::NETWORKS;

impl Play<'_> {
    pub(super) fn act_on_networks(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::Loses { per_thousand, lasts } => {
                self.world.loss = *per_thousand;
                self.later(*lasts, End::Loss);
            }
            Fault::Delays { most, lasts } | Fault::Reorders { most, lasts } => {
                self.world.weather.jitter = *most;
                self.later(*lasts, End::Jitter);
            }
            Fault::Duplicates { per_thousand, lasts } => {
                self.world.weather.duplicated = *per_thousand;
                self.later(*lasts, End::Duplicates);
            }
            Fault::LosesParts { per_thousand, lasts } => {
                self.world.weather.parts_lost = *per_thousand;
                self.later(*lasts, End::PartsLost);
            }
            Fault::Replays { to, datagrams } => return self.replay(*to, *datagrams),
            Fault::CutsOneWay { from, to, lasts } => self.cut(&[(*from, *to)], *lasts),
            Fault::CutsPair { one, other, lasts } => self.cut(&[(*one, *other), (*other, *one)], *lasts),
            Fault::CutsNetwork { network, lasts } => {
                self.world.dead_networks.insert(*network);
                self.later(*lasts, End::Network { network: *network });
            }
            Fault::Flaps { network, every, times } => self.flap(*network, *every, times * 2),
            Fault::Isolates { host, lasts } => self.part(&[*host], *lasts),
            Fault::Partitions { side, lasts } => self.part(side, *lasts),
            Fault::LosesMulticast { lasts } => {
                self.world.lose_multicast(&[0, 1]);
                self.later(*lasts, End::Multicast);
            }
            _ => return false,
        }
        true
    }

    /// What was captured first, once more.
    fn replay(&mut self, to: Number, datagrams: usize) -> bool {
        let captured: Vec<_> = self.world.capture.iter().flatten().take(datagrams).cloned().collect();
        let is_any = !captured.is_empty();
        for datagram in captured {
            self.world.replay(to, datagram);
        }
        is_any
    }

    fn cut(&mut self, pairs: &[(Number, Number)], lasts: Duration) {
        let links: Vec<_> = pairs.iter().flat_map(|(from, to)| (0..NETWORKS).map(|network| (*from, *to, network))).collect();
        self.world.cuts.extend(links.iter().copied());
        self.later(lasts, End::Cuts(links));
    }

    /// These on one side, all others on the other.
    fn part(&mut self, side: &[Number], lasts: Duration) {
        let all: Vec<Number> = self.world.machines.keys().copied().collect();
        let others = all.iter().filter(|number| !side.contains(number));
        let pairs: Vec<_> = others.flat_map(|other| side.iter().flat_map(|one| [(*one, *other), (*other, *one)])).collect();
        self.cut(&pairs, lasts);
    }

    /// Down, if an even number of changes is left, else up.
    pub(super) fn flap(&mut self, network: u8, every: Duration, left: u32) {
        if left.is_multiple_of(2) && left > 0 {
            self.world.dead_networks.insert(network);
        } else {
            self.world.dead_networks.remove(&network);
        }
        if left > 1 {
            self.later(every / 2, End::Flap { network, every, left: left - 1 });
        }
    }
}
