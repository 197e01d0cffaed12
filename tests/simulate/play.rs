//! Plays a schedule: does to the simulated world what it says, when it says it, keeps account of what is so, and asks the
//! checkers after every step.

mod end;
mod hosts;
mod networks;
mod operators;

use std::collections::BTreeMap;
use std::time::Duration;

use raisd::node::event::{Answer, Event, Mark, Request};
use raisd::types::explanation::RuleWord;
use raisd::types::time::Time;

use self::end::End;
use crate::checkers::{Checkers, Judgement, bounds};
use crate::fault::Fault;
use crate::machine::{KernelMood, Number, ScriptMood};
use crate::network::Weather;
use crate::schedule::{FRESH, Schedule};
use crate::seen::Seen;
use crate::situation::Situation;
use crate::tally::Tally;
use crate::truth::Truth;
use crate::world::World;

/// A script that does what it should.
const PROMPT: ScriptMood = ScriptMood::Takes(Duration::from_millis(3));

/// What a world does that nobody has ordered.
pub(crate) type Sabotage = fn(&mut World);

pub(crate) struct Play<'a> {
    schedule: &'a Schedule,
    pub(crate) world: World,
    truth: Truth,
    checkers: Checkers,
    pub(crate) tally: Tally,
    /// What ends or goes on by itself.
    ends: BTreeMap<(Time, u64), End>,
    ended: u64,
    /// Hosts that are told to be overloaded, in percent.
    loads: BTreeMap<Number, u32>,
    scratch: Vec<(Time, Seen)>,
    /// What the world does behind everybody's back, to see whether the checkers notice.
    pub(crate) sabotage: Option<(Time, Sabotage)>,
}

impl<'a> Play<'a> {
    pub(crate) fn new(schedule: &'a Schedule) -> Self {
        let setting = &schedule.setting;
        let mut world = World::new(schedule.seed, setting.members.iter().map(|member| setting.policy(member)));
        world.watched = Some(Vec::new());
        world.transcript.keep(false);
        world.weather = Weather { members_max: setting.members_max, ..Weather::default() };
        if schedule.faults.iter().any(|(_, fault)| matches!(fault, Fault::Replays { .. })) {
            world.capture = Some(Vec::new());
        }
        Self {
            schedule,
            world,
            truth: Truth::new(setting),
            checkers: Checkers::default(),
            tally: Tally::default(),
            ends: BTreeMap::new(),
            ended: 0,
            loads: BTreeMap::new(),
            scratch: Vec::new(),
            sabotage: None,
        }
    }

    /// From the start of all hosts to the end of the schedule.
    pub(crate) fn run(&mut self) -> Judgement {
        for number in self.schedule.setting.hosts() {
            self.start(number);
        }
        self.look()?;
        let faults = &self.schedule.faults;
        let mut next = 0;
        loop {
            let fault = faults.get(next).map(|(at, _)| Time::after_start(*at));
            let end = self.ends.first_key_value().map(|((at, _), _)| *at);
            let last = Time::after_start(self.schedule.lasts);
            let until = [fault, end].into_iter().flatten().min().unwrap_or(last).min(last);
            self.run_until(until)?;
            if end == Some(until) && self.world.now < last {
                if let Some((_, end)) = self.ends.pop_first() {
                    self.finish(end)?;
                }
            } else if fault == Some(until) && self.world.now < last {
                self.play(&faults[next].1)?;
                next += 1;
            } else {
                break;
            }
            self.look()?;
        }
        self.judge_rest()?;
        self.judge_memory()?;
        self.checkers.end(self.world.now, &self.truth)
    }

    fn judge_memory(&self) -> Judgement {
        let hosts = self.world.machines.len();
        let addresses = self.schedule.setting.addresses().len() + usize::from(FRESH);
        for (number, machine) in &self.world.machines {
            let Some(node) = &machine.node else { continue };
            for group in &node.view(machine.local(self.world.now)).groups {
                bounds::judge_memory(*number, group, hosts, addresses)?;
            }
        }
        Ok(())
    }

    fn run_until(&mut self, until: Time) -> Judgement {
        while self.world.step(until) {
            self.look()?;
            if let Some((_, act)) = self.sabotage.take_if(|(at, _)| *at <= self.world.now) {
                act(&mut self.world);
            }
        }
        self.world.now = until;
        Ok(())
    }

    /// Shows everybody what has been seen since the last time.
    fn look(&mut self) -> Judgement {
        let Some(watched) = self.world.watched.as_mut().filter(|watched| !watched.is_empty()) else { return Ok(()) };
        let mut scratch = std::mem::replace(watched, std::mem::take(&mut self.scratch));
        for (at, seen) in &scratch {
            self.truth.see(*at, seen);
            self.tally.see(seen);
            self.checkers.see(*at, seen, &self.truth)?;
        }
        scratch.clear();
        self.scratch = scratch;
        Ok(())
    }

    fn judge_rest(&mut self) -> Judgement {
        let now = self.world.now;
        self.truth.settle_told(now);
        if !self.truth.is_at_rest(now) {
            return Ok(());
        }
        self.tally.rests += 1;
        self.checkers.zone.loaded = self.loads.keys().copied().collect();
        self.checkers.judge_rest(now, &self.truth)
    }

    // ---- what faults have in common ----

    fn play(&mut self, fault: &Fault) -> Judgement {
        self.judge_rest()?;
        self.world.say(&fault.to_string());
        if self.act(fault) {
            self.tally.count_fault(fault.kind());
        }
        self.note_change();
        self.ask_why();
        let later = self.truth.timeout + self.truth.heartbeat;
        self.later(later, End::Look);
        Ok(())
    }

    /// Says whether anything came of it.
    fn act(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::Loses { .. }
            | Fault::Delays { .. }
            | Fault::Reorders { .. }
            | Fault::Duplicates { .. }
            | Fault::LosesParts { .. }
            | Fault::Replays { .. }
            | Fault::CutsOneWay { .. }
            | Fault::CutsPair { .. }
            | Fault::CutsNetwork { .. }
            | Fault::Flaps { .. }
            | Fault::Isolates { .. }
            | Fault::Partitions { .. }
            | Fault::LosesMulticast { .. } => self.act_on_networks(fault),
            Fault::Crashes { .. }
            | Fault::DaemonDies { .. }
            | Fault::Stops { .. }
            | Fault::Starts { .. }
            | Fault::Hangs { .. }
            | Fault::Stalls { .. }
            | Fault::ReadsFullQueue { .. }
            | Fault::Cloned { .. }
            | Fault::KernelRefusesToAdd { .. }
            | Fault::KernelRefusesToRemove { .. }
            | Fault::AddressVanishes { .. }
            | Fault::AddressByHand { .. }
            | Fault::LeftoverMarked { .. }
            | Fault::LeftoverUnmarked { .. }
            | Fault::ScriptMisbehaves { .. }
            | Fault::TestFails { .. }
            | Fault::TestFlaps { .. }
            | Fault::Overloads { .. } => self.act_on_host(fault),
            Fault::Quiesces { .. }
            | Fault::Drains { .. }
            | Fault::Resumes { .. }
            | Fault::Freezes { .. }
            | Fault::Thaws { .. }
            | Fault::Reloads { .. }
            | Fault::Expires { .. }
            | Fault::Moves { .. }
            | Fault::Rebalances { .. } => self.act_as_operator(fault),
        }
    }

    fn later(&mut self, after: Duration, end: End) {
        self.ended += 1;
        self.ends.insert((self.world.now.plus(after), self.ended), end);
    }

    /// Something has come from outside, or has ended: what follows from that for everybody.
    fn note_change(&mut self) {
        let now = self.world.now;
        self.truth.disturb(now);
        self.note_situations();
        let world = &self.world;
        let is_foreign = |holders: &BTreeMap<Number, Mark>| holders.values().any(|mark| *mark == Mark::Foreign);
        let is_unwell = |machine: &crate::machine::Machine| {
            machine.kernel != KernelMood::Works || machine.acquire_script != PROMPT || machine.release_script != PROMPT
        };
        let weather = Weather { members_max: world.weather.members_max, ..Weather::default() };
        self.truth.is_disturbed = world.loss > 0
            || world.weather != weather
            || !world.cuts.is_empty()
            || !world.multicast_cuts.is_empty()
            || !world.dead_networks.is_empty()
            || world.machines.values().any(is_unwell)
            || self.truth.hosts.values().any(|host| host.hangs_until > now || host.clone_of.is_some())
            || self.truth.on.values().any(is_foreign);
    }

    /// Which of the table's situations are given.
    fn note_situations(&mut self) {
        let now = self.world.now;
        let numbers: Vec<Number> = self.world.machines.keys().copied().collect();
        let world = &self.world;
        let is_parted = !(world.cuts.is_empty() && world.dead_networks.is_empty())
            && numbers.iter().any(|one| numbers.iter().any(|other| one != other && world.is_deaf_to(*one, *other)));
        let is_lossy = world.loss > 0
            || world.weather.parts_lost > 0
            || world.weather.jitter > self.truth.heartbeat / 2
            || !world.multicast_cuts.is_empty();
        self.truth.situations.set(now, Situation::Partition, None, is_parted);
        self.truth.situations.set(now, Situation::Lossy, None, is_lossy);
        for number in numbers {
            let machine = &self.world.machines[&number];
            let has_ours = machine.interface.values().any(|mark| *mark == Mark::Ours);
            let has_foreign = machine.interface.values().any(|mark| *mark == Mark::Foreign);
            let refuses = machine.kernel == KernelMood::RefusesToRemove;
            let is_dead = machine.node.is_none() && has_ours;
            let host = self.truth.hosts.get(&number);
            let hangs = host.is_some_and(|host| host.hangs_until > now);
            let is_clone = host.and_then(|host| host.clone_of);
            let situations = &mut self.truth.situations;
            situations.set(now, Situation::DeadDaemon, Some(number), is_dead);
            situations.set(now, Situation::ByHand, Some(number), has_foreign);
            situations.set(now, Situation::KernelRefuses, Some(number), refuses);
            situations.set(now, Situation::Hung, Some(number), hangs);
            if let Some(original) = is_clone {
                situations.begin(now, Situation::Clone, Some(number));
                situations.begin(now, Situation::Clone, Some(original));
            }
        }
    }

    /// Asks a host why an address is where it is: what it says is counted, and asking must change nothing.
    fn ask_why(&mut self) {
        let now = self.world.now;
        let Some(host) = self.truth.hosts.iter().find(|(_, host)| host.runs && host.hangs_until <= now).map(|(number, _)| *number) else {
            return;
        };
        let addresses = self.schedule.setting.addresses();
        let wanted = addresses.iter().find(|address| self.truth.holders(**address).len() != 1).or_else(|| addresses.first());
        let Some(address) = wanted else { return };
        self.world.machine(host).replies.clear();
        self.world.ask(host, Request::Explain { group: None, subject: address.to_string() });
        for (_, answer) in std::mem::take(&mut self.world.machine(host).replies) {
            if let Answer::Explained(explanation) = answer {
                for address in explanation.groups.iter().filter_map(|group| group.address.as_ref()) {
                    self.tally.count_rule(rule_words(address.rule));
                }
            }
        }
    }

    /// For a daemon; it reads it when it goes on, if it hangs.
    fn tell(&mut self, host: Number, event: Event) {
        self.world.tell(host, event);
    }

    fn runs(&self, host: Number) -> bool {
        self.world.machines.get(&host).is_some_and(|machine| machine.node.is_some())
    }
}

/// As the run's tally names what `explain` says.
fn rule_words(rule: RuleWord) -> &'static str {
    match rule {
        RuleWord::Assigned => "explained: assigned",
        RuleWord::CannotAssign => "explained: cannot be assigned",
        RuleWord::Duplicate => "explained: duplicate",
        RuleWord::Frozen => "explained: held by a freeze",
        RuleWord::GoesHome => "explained: goes home",
        RuleWord::Leaves => "explained: leaves",
        RuleWord::Moves => "explained: is moved",
        RuleWord::NowhereToGo => "explained: nowhere to go",
        RuleWord::Rebalances => "explained: is evened out",
        RuleWord::StaysAtHome => "explained: stays at home",
        RuleWord::StaysAway => "explained: stays away",
        RuleWord::StaysPinned => "explained: stays pinned",
        RuleWord::StaysPut => "explained: stays put",
        RuleWord::Unknown => "explained: unknown",
        RuleWord::UnknownWaits => "explained: unknown, waits",
        RuleWord::Waits => "explained: waits for a holder",
        RuleWord::WaitsForEntries => "incomplete entry waited for",
        RuleWord::WaitsForHome => "explained: waits for its home to settle",
    }
}
