//! The explicit list of what befalls a pool and when: drawn from the seed, printed, shortened, played.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use crate::dice::Dice;
use crate::fault::{Edit, Fault, Memory, Script, Trouble};
use crate::machine::Number;
use crate::setting::{Setting, Size};
use crate::setup;

/// Addresses that reloads may bring in besides those of the setting.
pub(crate) const FRESH: u16 = 4;

/// A pool and what befalls it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) setting: Setting,
    /// In order of time.
    pub(crate) faults: Vec<(Duration, Fault)>,
    /// Everything that lasts has ended by then.
    pub(crate) peace: Duration,
    pub(crate) lasts: Duration,
}

impl Schedule {
    pub(crate) fn draw(seed: u64, size: Size) -> Self {
        let mut dice = Dice::new(seed);
        let setting = Setting::draw(&mut dice, size);
        // All have started and settled, and the first faults find a pool at rest.
        let begin = (setting.timeout + setting.heartbeat * 4).min(size.lasts / 4);
        let peace = size.lasts - (setting.timeout * 3 + setting.heartbeat * 12 + Duration::from_secs(8)).min(size.lasts / 2);
        let mut drawn = Drawing { dice, setting: &setting, faults: Vec::new(), peace };
        let mut at = begin;
        while at < peace {
            drawn.draw_some(at);
            // Some come in a row, some into the middle of what the last one set off, some into a pool at rest.
            at += match drawn.dice.below(10) {
                0..=2 => drawn.dice.between(Duration::ZERO, Duration::from_millis(20)),
                3..=7 => drawn.dice.between(Duration::ZERO, setting.timeout * 2),
                _ => drawn.dice.between(setting.timeout * 2, setting.timeout * 5),
            };
        }
        drawn.make_peace();
        let mut faults = drawn.faults;
        faults.sort_by_key(|(at, _)| *at);
        Self { seed, setting, faults, peace, lasts: size.lasts }
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        let Setting { heartbeat, timeout, assign, failback, scripts, members, floating, .. } = &self.setting;
        let mut text = format!(
            "seed {}: heartbeat {heartbeat:?}, timeout {timeout:?}, {assign:?}, failback {failback:?}, scripts {scripts}, floating {floating:?}\n",
            self.seed
        );
        for member in members {
            let _ = writeln!(text, "  h{} {:?} prefers {:?}", member.number, member.role, member.preferred);
        }
        for (at, fault) in &self.faults {
            let _ = writeln!(text, "  {:>9.3}s  {fault}", at.as_secs_f64());
        }
        let _ = writeln!(text, "  {:>9.3}s  peace", self.peace.as_secs_f64());
        text
    }
}

struct Drawing<'a> {
    dice: Dice,
    setting: &'a Setting,
    faults: Vec<(Duration, Fault)>,
    peace: Duration,
}

impl Drawing<'_> {
    fn host(&mut self) -> Number {
        let hosts = self.setting.hosts();
        self.dice.pick(&hosts)
    }

    fn address(&mut self) -> IpAddr {
        let addresses = self.setting.addresses();
        self.dice.pick(&addresses)
    }

    /// Short against `timeout`, about as long, or much longer.
    fn duration(&mut self, at: Duration) -> Duration {
        let timeout = self.setting.timeout;
        let lasts = match self.dice.below(3) {
            0 => self.dice.between(Duration::from_millis(1), timeout / 2),
            1 => self.dice.between(timeout / 2, timeout * 2),
            _ => self.dice.between(timeout * 2, timeout * 6),
        };
        lasts.min(self.peace - at)
    }

    fn add(&mut self, at: Duration, fault: Fault) {
        self.faults.push((at, fault));
    }

    fn draw_some(&mut self, at: Duration) {
        match self.dice.below(100) {
            0..=21 => self.draw_network(at),
            22..=49 => self.draw_host(at),
            50..=62 => self.draw_kernel(at),
            63..=74 => self.draw_script_or_test(at),
            _ => self.draw_operator(at),
        }
    }

    fn draw_network(&mut self, at: Duration) {
        let (one, other, lasts) = (self.host(), self.host(), self.duration(at));
        let network = u8::try_from(self.dice.below(2)).expect("small");
        let fault = match self.dice.below(14) {
            0 | 1 => Fault::Loses { per_thousand: self.dice.pick(&[20, 50, 100, 300, 600]), lasts },
            2 => Fault::Delays { most: self.dice.between(Duration::from_millis(1), self.setting.heartbeat / 2), lasts },
            3 => Fault::Reorders { most: self.setting.heartbeat * 2, lasts },
            4 => Fault::Duplicates { per_thousand: 500, lasts },
            5 => Fault::LosesParts { per_thousand: self.dice.pick(&[300, 800]), lasts },
            6 => Fault::Replays { to: one, datagrams: usize::try_from(self.dice.below(200)).expect("small") + 1 },
            7 if one != other => Fault::CutsOneWay { from: one, to: other, lasts },
            8 if one != other => Fault::CutsPair { one, other, lasts },
            9 => Fault::CutsNetwork { network, lasts },
            10 => {
                let every = self.dice.between(Duration::from_millis(50), self.setting.timeout);
                let left = (self.peace - at).as_millis() / every.as_millis().max(1);
                Fault::Flaps { network, every, times: u32::try_from(left.min(12)).expect("small") }
            }
            11 => Fault::Isolates { host: one, lasts },
            12 => {
                let hosts = self.setting.hosts();
                let side = hosts.into_iter().filter(|_| self.dice.chance(50)).collect();
                Fault::Partitions { side, lasts }
            }
            _ => Fault::LosesMulticast { lasts },
        };
        self.add(at, fault);
    }

    fn draw_host(&mut self, at: Duration) {
        let (host, lasts) = (self.host(), self.duration(at));
        let back = at + self.duration(at);
        match self.dice.below(14) {
            0..=2 => {
                self.add(at, Fault::Crashes { host });
                self.draw_start(back, host);
            }
            3 => {
                self.add(at, Fault::DaemonDies { host });
                self.draw_start(back, host);
            }
            4 | 5 => {
                self.add(at, Fault::Stops { host });
                self.draw_start(back, host);
            }
            6 => self.draw_start(at, host),
            7 | 8 => self.add(at, Fault::Hangs { host, lasts: lasts.max(self.setting.timeout).min(self.peace - at) }),
            9 => self.add(at, Fault::Stalls { host, lasts: lasts.min(self.setting.timeout / 2) }),
            10 | 11 => {
                let depth = self.dice.pick(&[2, 20, 256]);
                self.add(at, Fault::ReadsFullQueue { host, lasts, depth });
            }
            _ => self.add(at, Fault::Cloned { host, lasts }),
        }
    }

    fn draw_start(&mut self, at: Duration, host: Number) {
        let memory = match self.dice.below(8) {
            0 => Memory::Lost,
            1 => Memory::Yesterdays,
            _ => Memory::Kept,
        };
        let behind = if self.dice.chance(10) { Duration::from_secs(3600) } else { Duration::ZERO };
        self.add(at, Fault::Starts { host, memory, behind });
    }

    fn draw_kernel(&mut self, at: Duration) {
        let (host, address, lasts) = (self.host(), self.address(), self.duration(at));
        let back = at + self.duration(at).min(self.setting.timeout);
        match self.dice.below(7) {
            0 => self.add(at, Fault::KernelRefusesToAdd { host, lasts }),
            1 => self.add(at, Fault::KernelRefusesToRemove { host, lasts }),
            2 | 3 => self.add(at, Fault::AddressVanishes { address }),
            4 => self.add(at, Fault::AddressByHand { host, address, lasts }),
            5 => {
                self.add(at, Fault::Crashes { host });
                self.add(at, Fault::LeftoverMarked { host, address });
                self.draw_start(back, host);
            }
            _ => {
                self.add(at, Fault::Crashes { host });
                self.add(at, Fault::LeftoverUnmarked { host, address, lasts });
                self.draw_start(back, host);
            }
        }
    }

    fn draw_script_or_test(&mut self, at: Duration) {
        let (host, lasts) = (self.host(), self.duration(at));
        let script = self.dice.pick(&[Script::Acquire, Script::Release]);
        let every = self.dice.between(Duration::from_millis(20), self.setting.timeout);
        let fault = match self.dice.below(8) {
            0 if self.setting.scripts => Fault::ScriptMisbehaves { host, script, trouble: Trouble::Fails, lasts },
            1 if self.setting.scripts => Fault::ScriptMisbehaves { host, script, trouble: Trouble::Hangs, lasts },
            2 if self.setting.scripts => {
                let slow = self.dice.between(Duration::from_millis(20), self.setting.script_timeout);
                Fault::ScriptMisbehaves { host, script, trouble: Trouble::IsSlow(slow), lasts }
            }
            3 => {
                let left = (self.peace - at).as_millis() / every.as_millis().max(1) / 2;
                Fault::TestFlaps { host, every, times: u32::try_from(left.min(8)).expect("small") }
            }
            4 => Fault::Overloads { host, percent: self.dice.pick(&[70, 90, 120]), lasts },
            5 => {
                // The whole pool fails: a deploy that broke everything.
                for host in self.setting.hosts() {
                    self.add(at, Fault::TestFails { host, lasts });
                }
                return;
            }
            _ => Fault::TestFails { host, lasts },
        };
        self.add(at, fault);
    }

    fn draw_operator(&mut self, at: Duration) {
        let (host, address, lasts) = (self.host(), self.address(), self.duration(at));
        let later = at + self.duration(at);
        match self.dice.below(16) {
            0 | 1 => self.add(at, Fault::Quiesces { host }),
            2 => self.add(at, Fault::Drains { host }),
            3 | 4 => self.add(at, Fault::Resumes { host }),
            5 | 6 => {
                self.add(at, Fault::Freezes { host, lasts });
                if self.dice.chance(50) {
                    let host = self.host();
                    self.add(later, Fault::Thaws { host });
                }
            }
            7 => self.add(at, Fault::Reloads { host, edit: Edit::TakesOut(address) }),
            8 => {
                let fresh = setup::address(u16::try_from(self.dice.below(u64::from(FRESH))).expect("small") + 1);
                let address = self.dice.pick(&[address, fresh]);
                self.add(at, Fault::Reloads { host, edit: Edit::Adds(address) });
            }
            9 => self.add(at, Fault::Reloads { host, edit: Edit::GroupKeys }),
            10 => {
                // An address is orphaned, and forgotten while its home is away.
                let Some(home) = self.home(address) else { return };
                self.add(at, Fault::Crashes { host: home });
                let when = at + self.setting.timeout + self.setting.heartbeat * 2;
                if when < self.peace && home != host {
                    self.add(when, Fault::Expires { host, address });
                }
            }
            11 => self.add(at, Fault::Expires { host, address }),
            12 => self.add(at, Fault::Rebalances { host }),
            _ => {
                let to = if self.dice.chance(30) { None } else { Some(self.host()) };
                self.add(at, Fault::Moves { host, address, to });
            }
        }
    }

    fn home(&self, address: IpAddr) -> Option<Number> {
        self.setting.members.iter().find(|member| member.preferred.contains(&address)).map(|member| member.number)
    }

    /// Most hosts come back and are well; some stay away, quiesced or failing.
    fn make_peace(&mut self) {
        for host in self.setting.hosts() {
            if self.dice.chance(85) {
                self.add(self.peace, Fault::Starts { host, memory: Memory::Kept, behind: Duration::ZERO });
            }
            if self.dice.chance(80) {
                self.add(self.peace, Fault::Resumes { host });
            }
        }
    }
}
