//! Faults of hosts, their kernels, scripts and tests.

use std::net::IpAddr;
use std::time::Duration;

use raisd::node::event::{Event, LoadSample, Mark, TestResult};
use raisd::types::host::Duty;
use raisd::types::item::ServiceAddress;

use super::Play;
use super::end::End;
use crate::fault::{Fault, Memory, Script, Trouble};
use crate::machine::{Disk, KernelMood, Machine, Number, ScriptMood};
use crate::seen::What;

/// The number of a clone is its original's plus this.
const CLONE: Number = 20_000;

impl Play<'_> {
    pub(super) fn act_on_host(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::Crashes { host } => {
                let runs = self.runs(*host);
                self.world.power_off(*host);
                return runs;
            }
            Fault::DaemonDies { host } => {
                let runs = self.runs(*host);
                self.world.kill(*host);
                return runs;
            }
            Fault::Stops { host } => {
                let runs = self.runs(*host);
                self.tell(*host, Event::Stopped);
                return runs;
            }
            Fault::Starts { host, memory, behind } => return self.start_with(*host, *memory, *behind),
            Fault::Hangs { host, lasts } | Fault::Stalls { host, lasts } => return self.hang(*host, *lasts, None),
            Fault::ReadsFullQueue { host, lasts, depth } => return self.hang(*host, *lasts, Some(*depth)),
            Fault::Cloned { host, lasts } => return self.clone_host(*host, *lasts),
            Fault::KernelRefusesToAdd { host, lasts } => {
                self.world.machine(*host).kernel = KernelMood::RefusesToAdd;
                self.later(*lasts, End::KernelWorks { host: *host });
            }
            Fault::KernelRefusesToRemove { host, lasts } => {
                self.world.machine(*host).kernel = KernelMood::RefusesToRemove;
                self.later(*lasts, End::KernelWorks { host: *host });
            }
            Fault::AddressVanishes { address } => return self.vanish(*address),
            Fault::AddressByHand { host, address, lasts } => return self.put_by_hand(*host, *address, *lasts),
            Fault::LeftoverMarked { host, address } => return self.leave(*host, *address),
            Fault::LeftoverUnmarked { host, address, lasts } => {
                return !self.runs(*host) && self.put_by_hand(*host, *address, *lasts);
            }
            Fault::ScriptMisbehaves { host, script, trouble, lasts } => self.trouble(*host, *script, *trouble, *lasts),
            Fault::TestFails { host, lasts } => {
                self.tell_test(*host, false);
                self.later(*lasts, End::TestPasses { host: *host });
            }
            Fault::TestFlaps { host, every, times } => self.flap_test(*host, *every, times * 2),
            Fault::Overloads { host, percent, lasts } => {
                self.loads.insert(*host, *percent);
                self.tell_load(*host);
                self.later(*lasts, End::Load { host: *host });
            }
            _ => return false,
        }
        true
    }

    /// Starts the daemon, and its probes.
    pub(super) fn start(&mut self, number: Number) {
        let machine = self.world.machine(number);
        let duty = machine.disk.groups.get("www").map_or(Duty::Active, |(_, stored)| stored.duty);
        let now = self.world.now;
        if let Some(host) = self.truth.hosts.get_mut(&number) {
            // A drain that a stop has cut short goes on as quiesced.
            host.duty = if duty == Duty::Draining { Duty::Quiesced } else { duty };
            host.duty_since = now;
        }
        self.world.boot(number);
        let passes = self.truth.hosts.get(&number).is_none_or(|host| host.test_passes);
        self.tell_test(number, passes);
        self.tell_load(number);
    }

    fn start_with(&mut self, host: Number, memory: Memory, behind: Duration) -> bool {
        if self.runs(host) {
            return false;
        }
        let machine = self.world.machine(host);
        machine.behind = behind;
        match memory {
            Memory::Kept => {}
            Memory::Lost => machine.disk = Disk::default(),
            Memory::Yesterdays => machine.disk = machine.yesterday.clone(),
        }
        self.truth.forgetful |= memory != Memory::Kept;
        self.start(host);
        true
    }

    fn hang(&mut self, host: Number, lasts: Duration, depth: Option<usize>) -> bool {
        let until = self.world.now.plus(lasts);
        let hangs = self.truth.hosts.get(&host).is_none_or(|known| known.hangs_until > self.world.now);
        if hangs || !self.runs(host) {
            return false;
        }
        match depth {
            None => self.world.freeze(host, lasts),
            Some(depth) => self.world.freeze_with_queue(host, lasts, depth),
        }
        if let Some(known) = self.truth.hosts.get_mut(&host) {
            known.hangs_until = until;
        }
        self.later(lasts, End::Hang);
        true
    }

    /// A copy of the machine, with its disk, starts beside it.
    fn clone_host(&mut self, original: Number, lasts: Duration) -> bool {
        let number = original + CLONE;
        if !self.runs(original) || self.world.machines.get(&number).is_some_and(|machine| machine.node.is_some()) {
            return false;
        }
        let template = &self.world.machines[&original];
        let mut clone = Machine::new(template.policy.clone());
        clone.policy.host.name.push_str("-clone");
        clone.disk = template.disk.clone();
        self.world.machines.insert(number, clone);
        if let Some(known) = self.truth.hosts.get(&original).cloned() {
            let known = crate::truth::HostTruth { clone_of: Some(original), runs: false, ..known };
            self.truth.hosts.insert(number, known);
        }
        self.start(number);
        self.later(lasts, End::Clone { number, original });
        true
    }

    /// Somebody takes an address off the machine that serves it.
    fn vanish(&mut self, address: IpAddr) -> bool {
        let holders = self.truth.on.get(&address).and_then(|on| on.iter().find(|(_, mark)| **mark == Mark::Ours));
        let Some(host) = holders.map(|(host, _)| *host) else { return false };
        self.world.remove_by_hand(host, address);
        true
    }

    fn put_by_hand(&mut self, host: Number, address: IpAddr, lasts: Duration) -> bool {
        if self.world.machines[&host].has(address) {
            return false;
        }
        self.world.add_by_hand(host, address);
        self.later(lasts, End::ByHand { host, address });
        true
    }

    /// An earlier daemon has left an address on a machine that does not run one.
    fn leave(&mut self, host: Number, address: IpAddr) -> bool {
        if self.runs(host) || self.world.machines[&host].has(address) {
            return false;
        }
        let machine = self.world.machine(host);
        machine.interface.insert(ServiceAddress::host(address), Mark::Ours);
        machine.interfaces.insert(address, "svc0".to_owned());
        self.world.note(host, What::On { address, mark: Mark::Ours });
        true
    }

    fn trouble(&mut self, host: Number, script: Script, trouble: Trouble, lasts: Duration) {
        let mood = match trouble {
            Trouble::Fails => ScriptMood::Fails,
            Trouble::Hangs => ScriptMood::Hangs,
            Trouble::IsSlow(duration) => ScriptMood::Takes(duration),
        };
        let machine = self.world.machine(host);
        match script {
            Script::Acquire => machine.acquire_script = mood,
            Script::Release => machine.release_script = mood,
        }
        self.later(lasts, End::ScriptWorks { host, script });
    }

    /// The probe says so.
    pub(super) fn tell_test(&mut self, host: Number, passes: bool) {
        if let Some(known) = self.truth.hosts.get_mut(&host) {
            known.test_passes = passes;
        }
        let result = if passes { TestResult::Passed } else { TestResult::Failed { why: "refused".to_owned() } };
        self.tell(host, Event::Tested { test: "web".to_owned(), result });
    }

    /// Failing, if an even number of changes is left, else passing.
    pub(super) fn flap_test(&mut self, host: Number, every: Duration, left: u32) {
        self.tell_test(host, !left.is_multiple_of(2) || left == 0);
        if left > 1 {
            self.later(every / 2, End::TestFlap { host, every, left: left - 1 });
        }
    }

    fn tell_load(&mut self, host: Number) {
        if let Some(percent) = self.loads.get(&host) {
            let sample = LoadSample { load: *percent, capacity: 100 };
            self.tell(host, Event::Loaded { load: "requests".to_owned(), sample: Some(sample) });
        }
    }
}
