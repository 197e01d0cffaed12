//! What machines of the simulated world do for their nodes: kernel, scripts, disk, announcements.

use std::time::Duration;

use raisd::node::Node;
use raisd::node::action::{Action, ScriptAction, ScriptJob};
use raisd::node::event::{Event, KernelChange, Mark, OpId, Outcome};
use raisd::types::item::ServiceAddress;

use crate::machine::{KernelMood, Number, ScriptMood};
use crate::seen::What;
use crate::world::{Due, World};

/// What a node asks of its kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Add,
    Remove,
}

const KERNEL: Duration = Duration::from_millis(1);
const DISK: Duration = Duration::from_millis(2);

impl World {
    pub(crate) fn handle(&mut self, number: Number, event: Event) {
        self.transcript.event(self.now, number, &event);
        let now = self.now;
        let machine = self.machines.get_mut(&number).expect("such a machine");
        let local = machine.local(now);
        let Some(node) = machine.node.as_mut() else { return };
        if let Some(recorder) = &mut self.recorder.0 {
            recorder.happened(number, local, node, std::slice::from_ref(&event));
        }
        let actions = node.handle(local, event);
        self.perform(number, actions);
    }

    /// Several events at once, as a daemon that has fallen behind reads them.
    pub(crate) fn handle_all(&mut self, number: Number, events: Vec<Event>) {
        for event in &events {
            self.transcript.event(self.now, number, event);
        }
        let now = self.now;
        let machine = self.machines.get_mut(&number).expect("such a machine");
        let local = machine.local(now);
        let Some(node) = machine.node.as_mut() else { return };
        if let Some(recorder) = &mut self.recorder.0 {
            recorder.happened(number, local, node, &events);
        }
        let actions = node.handle_all(local, events);
        self.perform(number, actions);
    }

    pub(crate) fn perform(&mut self, number: Number, actions: Vec<Action>) {
        if let Some(recorder) = &mut self.recorder.0 {
            recorder.decided(number, &actions);
        }
        let machine = self.machine(number);
        let deadline = machine.node.as_ref().and_then(Node::deadline).map(|deadline| machine.global(deadline));
        if machine.deadline != deadline {
            machine.deadline = deadline;
            self.arm(number);
        }
        let mut batch = 0;
        for action in actions {
            self.transcript.action(self.now, number, &action);
            let is_deed = !matches!(action, Action::Send { .. } | Action::StoreGroup { .. });
            self.machine(number).deeds += u64::from(is_deed);
            match action {
                Action::AddAddress { op, interface, address } => self.ask_kernel(number, &mut batch, op, Change::Add, interface, address),
                Action::RemoveAddress { op, interface, address } => {
                    self.ask_kernel(number, &mut batch, op, Change::Remove, interface, address);
                }
                Action::Announce { addresses, .. } => self.announce(number, &addresses),
                Action::RunScript { op, job } => self.run_script(number, op, &job),
                Action::Send { group, message, unicast } => self.send(number, group, message, &unicast),
                Action::PublishZone { group, zone } => {
                    let boot = self.machine(number).places[&group].boot;
                    if self.watched.is_some() {
                        self.note(number, What::Answers { boot, serial: zone.serial, advertised: zone.advertised.clone() });
                    }
                    self.machine(number).zone = Some(zone);
                }
                Action::StoreGroup { op, group, state } => {
                    let now = self.now;
                    let machine = self.machine(number);
                    let name = machine.places[&group].name.to_string();
                    let wall = machine.wall(now);
                    machine.disk.groups.insert(name, (wall, state));
                    machine.stores += 1;
                    self.answer(number, DISK, op, Outcome::Done);
                }
                Action::StoreIncarnation { op, incarnation } => {
                    let machine = self.machine(number);
                    (machine.disk.incarnation, machine.incarnation) = (incarnation, incarnation);
                    self.answer(number, DISK, op, Outcome::Done);
                }
                Action::Report { report, .. } => {
                    if self.watched.is_some() {
                        self.note(number, What::Reported(report));
                    } else {
                        self.reports.push((self.now, number, report));
                    }
                }
                Action::Reply { token, answer } => self.machine(number).replies.push((token, answer)),
                Action::EndGroup { group } => {
                    self.machine(number).places.remove(&group);
                }
                Action::Exit { code } => {
                    self.machine(number).exit = Some(code);
                    self.end(number);
                }
            }
        }
    }

    fn ask_kernel(&mut self, on: Number, batch: &mut u32, op: OpId, change: Change, interface: String, address: ServiceAddress) {
        let machine = self.machine(on);
        let boot = machine.boot;
        machine.asked.insert(address.address, op);
        // A batch is answered one by one.
        let after = KERNEL + Duration::from_micros(20) * *batch;
        *batch += 1;
        self.enqueue(after, Due::Kernel { on, boot, op, change, interface, address });
    }

    pub(crate) fn change_kernel(&mut self, on: Number, op: OpId, change: Change, interface: String, address: ServiceAddress) {
        let machine = self.machine(on);
        let is_late = machine.asked.get(&address.address).is_some_and(|asked| *asked != op);
        let works = match (change, machine.kernel) {
            (Change::Add, KernelMood::RefusesToAdd) | (Change::Remove, KernelMood::RefusesToRemove) => false,
            (Change::Add, KernelMood::RefusesToRemove | KernelMood::Works) => {
                let before = machine.interface.insert(address, Mark::Ours);
                machine.interfaces.insert(address.address, interface.clone());
                if before != Some(Mark::Ours) {
                    self.note(on, What::On { address: address.address, mark: Mark::Ours });
                }
                true
            }
            (Change::Remove, KernelMood::RefusesToAdd | KernelMood::Works) => {
                let put = machine.interfaces.get(&address.address).unwrap_or(&interface);
                assert_eq!(*put, interface, "h{on} looks for {address} on the wrong interface");
                if machine.interface.get(&address) == Some(&Mark::Ours) {
                    machine.interface.remove(&address);
                    self.note(on, What::Off { address: address.address });
                }
                true
            }
        };
        if is_late {
            self.note(on, What::LateAnswer);
        }
        self.count_doubles(address.address);
        if !works {
            self.reach(on, Event::Finished { op, outcome: Outcome::Failed { why: format!("{address}: no buffer space") } });
            return;
        }
        let change = match change {
            Change::Add => KernelChange::AddressPresent { interface, address, mark: Mark::Ours },
            Change::Remove if self.machine(on).interface.contains_key(&address) => {
                // Not ours, so it was left alone.
                self.reach(on, Event::Finished { op, outcome: Outcome::Done });
                return;
            }
            Change::Remove => KernelChange::AddressAbsent { interface, address },
        };
        // The kernel's word to everybody comes before or after its answer.
        if self.draw().is_multiple_of(2) {
            self.reach(on, Event::Kernel(change));
            self.reach(on, Event::Finished { op, outcome: Outcome::Done });
        } else {
            self.reach(on, Event::Finished { op, outcome: Outcome::Done });
            self.reach(on, Event::Kernel(change));
        }
    }

    /// Tells a node, once it reads again if it hangs.
    fn reach(&mut self, to: Number, event: Event) {
        let boot = self.machine(to).boot;
        self.arrive_at(to, Due::Event { to, boot, event });
    }

    fn answer(&mut self, to: Number, after: Duration, op: OpId, outcome: Outcome) {
        let boot = self.machine(to).boot;
        self.enqueue(after, Due::Event { to, boot, event: Event::Finished { op, outcome } });
    }

    fn announce(&mut self, number: Number, addresses: &[ServiceAddress]) {
        let is_watched = self.watched.is_some();
        for address in addresses {
            let machine = self.machine(number);
            let is_on = machine.interface.contains_key(address);
            assert!(is_on || is_watched, "h{number} announces {address}, which is not on its interface");
            *machine.announced.entry(address.address).or_default() += 1;
            self.note(number, What::Announced { address: address.address, is_on });
        }
    }

    fn run_script(&mut self, number: Number, op: OpId, job: &ScriptJob) {
        let is_watched = self.watched.is_some();
        let machine = self.machine(number);
        let mood = match job.action {
            ScriptAction::Acquire => {
                let is_on = job.item.address().is_some_and(|address| machine.has(address));
                // A daemon that hung may not have read that others removed it.
                assert!(is_on || is_watched, "h{number} runs the acquire script of {} before the address is on", job.item);
                machine.acquire_script
            }
            ScriptAction::Release => machine.release_script,
        };
        let timeout = machine.places[&job.group].script_timeout;
        match mood {
            ScriptMood::Fails => self.answer(number, Duration::from_millis(3), op, Outcome::Failed { why: "exit status 1".to_owned() }),
            ScriptMood::Hangs => self.answer(number, timeout, op, Outcome::TimedOut),
            ScriptMood::Takes(duration) => self.answer(number, duration, op, Outcome::Done),
        }
    }
}
