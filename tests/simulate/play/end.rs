//! What ends, or goes on, by itself.

use std::time::Duration;

use raisd::node::event::{Event, LoadSample, Mark};
use raisd::types::item::ServiceAddress;

use super::{PROMPT, Play};
use crate::checkers::Judgement;
use crate::fault::Script;
use crate::machine::{KernelMood, Number};
use crate::network::Weather;
use crate::situation::Situation;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    ByHand {
        host: Number,
        address: std::net::IpAddr,
    },
    Clone {
        number: Number,
        original: Number,
    },
    Cuts(Vec<(Number, Number, u8)>),
    Duplicates,
    /// The network goes down or comes back, so many times more.
    Flap {
        network: u8,
        every: Duration,
        left: u32,
    },
    /// The freeze has had its time.
    Frozen,
    Hang,
    Jitter,
    KernelWorks {
        host: Number,
    },
    Load {
        host: Number,
    },
    /// Nothing ends: it is time to ask again.
    Look,
    Loss,
    Multicast,
    Network {
        network: u8,
    },
    PartsLost,
    ScriptWorks {
        host: Number,
        script: Script,
    },
    TestFlap {
        host: Number,
        every: Duration,
        left: u32,
    },
    TestPasses {
        host: Number,
    },
}

impl Play<'_> {
    pub(super) fn finish(&mut self, end: End) -> Judgement {
        if end == End::Look {
            self.ask_why();
            return self.judge_rest();
        }
        self.judge_rest()?;
        self.world.say(&format!("ends: {end:?}"));
        match end {
            End::Look | End::Frozen | End::Hang => {}
            End::ByHand { host, address } => {
                if self.world.machines[&host].interface.get(&ServiceAddress::host(address)) == Some(&Mark::Foreign) {
                    self.world.remove_by_hand(host, address);
                    self.look()?;
                }
            }
            End::Clone { number, original } => {
                self.world.power_off(number);
                self.look()?;
                self.truth.hosts.remove(&number);
                for host in [number, original] {
                    self.truth.situations.end(self.world.now, Situation::Clone, Some(host));
                }
            }
            End::Cuts(links) => {
                for link in links {
                    self.world.cuts.remove(&link);
                }
            }
            End::Duplicates => self.world.weather.duplicated = 0,
            End::Flap { network, every, left } => self.flap(network, every, left),
            End::Jitter => self.world.weather = Weather { jitter: Duration::ZERO, ..self.world.weather.clone() },
            End::KernelWorks { host } => self.world.machine(host).kernel = KernelMood::Works,
            End::Load { host } => {
                self.loads.remove(&host);
                self.tell(host, Event::Loaded { load: "requests".to_owned(), sample: Some(LoadSample { load: 0, capacity: 100 }) });
            }
            End::Loss => self.world.loss = 0,
            End::Multicast => self.world.multicast_cuts.clear(),
            End::Network { network } => {
                self.world.dead_networks.remove(&network);
            }
            End::PartsLost => self.world.weather.parts_lost = 0,
            End::ScriptWorks { host, script } => {
                let machine = self.world.machine(host);
                match script {
                    Script::Acquire => machine.acquire_script = PROMPT,
                    Script::Release => machine.release_script = PROMPT,
                }
            }
            End::TestFlap { host, every, left } => self.flap_test(host, every, left),
            End::TestPasses { host } => self.tell_test(host, true),
        }
        self.note_change();
        Ok(())
    }
}
