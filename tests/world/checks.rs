//! What stories ask of the world: judged by the simulated kernels, networks and disks, not by what nodes say.

use std::net::IpAddr;
use std::time::Duration;

use raisd::node::action::Report;
use raisd::types::view::View;

use crate::machine::{Machine, Number};
use crate::setup::HEARTBEAT;
use crate::world::World;

impl World {
    /// The machines that have an address.
    pub(crate) fn holders(&self, address: IpAddr) -> Vec<Number> {
        self.machines.iter().filter(|(_, machine)| machine.has(address)).map(|(number, _)| *number).collect()
    }

    pub(crate) fn is_served(&self, placement: &[(IpAddr, Number)]) -> bool {
        placement.iter().all(|(address, number)| self.holders(*address) == [*number])
    }

    /// Each address is on exactly this machine, and every node that runs knows so.
    #[track_caller]
    pub(crate) fn assert_served(&self, placement: &[(IpAddr, Number)]) {
        for (address, number) in placement {
            assert_eq!(self.holders(*address), [*number], "holders of {address}");
        }
        for (by, machine) in self.running() {
            let view = view(self, machine);
            let group = &view.groups[0];
            for (address, number) in placement {
                let known = group.addresses.iter().find(|known| known.address == *address);
                let known = known.unwrap_or_else(|| panic!("h{by} does not know {address}"));
                let id = self.machines[number].id();
                assert_eq!((known.state.as_str(), known.served_by.as_slice()), ("online", [id].as_slice()), "{address} as h{by} sees it");
            }
        }
    }

    /// The machines whose node runs.
    pub(crate) fn running(&self) -> impl Iterator<Item = (Number, &Machine)> {
        self.machines.iter().filter(|(_, machine)| machine.node.is_some()).map(|(number, machine)| (*number, machine))
    }

    pub(crate) fn view_of(&self, number: Number) -> View {
        view(self, &self.machines[&number])
    }

    /// What every node that runs answers from.
    #[track_caller]
    pub(crate) fn assert_zone(&self, advertised: &[IpAddr]) {
        for (number, machine) in self.running() {
            let zone = machine.zone.as_ref().unwrap_or_else(|| panic!("h{number} has no zone"));
            assert_eq!(zone.advertised, advertised, "zone of h{number}");
        }
    }

    /// Nothing is asked of kernels, scripts or operators for a while, disks are written once a minute, and every node says one
    /// `info` each heartbeat and group.
    #[track_caller]
    pub(crate) fn assert_rest(&mut self, heartbeats: u32) {
        let counts = |machine: &Machine| [machine.infos_sent, machine.stores, machine.deeds];
        let before: Vec<_> = self.running().map(|(number, machine)| (number, counts(machine))).collect();
        let reports = self.reports.len();
        let window = HEARTBEAT * heartbeats;
        self.run_for(window);
        assert_eq!(self.reports[reports..], [], "reports at rest");
        for (number, before) in before {
            let after = counts(&self.machines[&number]);
            let [sent, stored, done] = [0, 1, 2].map(|index| after[index] - before[index]);
            let groups = self.machines[&number].places.len() as u64;
            assert!(sent <= (u64::from(heartbeats) + 1) * groups, "h{number} chatters: {sent} infos in {heartbeats} heartbeats");
            assert!(stored <= (1 + window.as_secs() / 60) * groups, "h{number} writes its disk {stored} times");
            assert_eq!(done, 0, "h{number} does things at rest");
        }
    }

    /// Nobody takes or gives up anything.
    #[track_caller]
    pub(crate) fn assert_no_moves(&mut self, duration: Duration) {
        let before = self.reports.len();
        self.run_for(duration);
        let moves: Vec<_> = self.reports[before..].iter().filter(|(_, _, report)| is_move(report)).collect();
        assert!(moves.is_empty(), "{moves:?}");
    }

    /// How often something like this was reported since the beginning.
    pub(crate) fn count_reports(&self, wanted: impl Fn(Number, &Report) -> bool) -> usize {
        self.reports.iter().filter(|(_, number, report)| wanted(*number, report)).count()
    }
}

pub(crate) fn is_move(report: &Report) -> bool {
    matches!(report, Report::Acquired { .. } | Report::AcquireFailed { .. } | Report::Released { .. } | Report::ReleaseFailed { .. })
}

fn view(world: &World, machine: &Machine) -> View {
    machine.node.as_ref().expect("runs").view(machine.local(world.now))
}
