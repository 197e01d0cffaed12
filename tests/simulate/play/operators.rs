//! What operators do.

use std::net::IpAddr;
use std::time::Duration;

use raisd::node::event::Request;
use raisd::types::host::{Duty, Role};
use raisd::types::item::{Item, ServiceAddress};
use raisd::types::policy::Assign;

use super::Play;
use super::end::End;
use crate::fault::{Edit, Fault};
use crate::machine::Number;

/// An operator waits so long for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

impl Play<'_> {
    pub(super) fn act_as_operator(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::Quiesces { host } => {
                self.set_duty(*host, Duty::Quiesced, Request::Quiesce { group: None, reason: "kernel update".to_owned() })
            }
            Fault::Drains { host } => {
                let request = Request::Drain { group: None, timeout: PATIENCE, reason: "reboot".to_owned() };
                self.set_duty(*host, Duty::Draining, request)
            }
            Fault::Resumes { host } => self.set_duty(*host, Duty::Active, Request::Resume { group: None }),
            Fault::Freezes { host, lasts } => {
                let is_asked = !lasts.is_zero() && self.ask(*host, Request::Freeze { group: None, duration: *lasts });
                if is_asked {
                    // It counts from when the daemon reads it.
                    let from = self.truth.hosts.get(host).map_or(self.world.now, |known| known.hangs_until.max(self.world.now));
                    let until = from.plus(*lasts);
                    self.truth.frozen_until = self.truth.frozen_until.max(until);
                    self.later(until.since(self.world.now), End::Frozen);
                }
                is_asked
            }
            Fault::Thaws { host } => self.ask(*host, Request::Thaw { group: None }),
            Fault::Reloads { host, edit } => self.reload(*host, *edit),
            Fault::Expires { host, address } => self.ask(*host, Request::Expire { group: None, item: Item::Address(*address) }),
            Fault::Moves { host, address, to } => {
                if to.is_some() {
                    self.truth.moved.insert(*address);
                }
                let to = to.map(|to| format!("web{to}"));
                self.ask(*host, Request::Move { group: None, item: Item::Address(*address), to, timeout: PATIENCE })
            }
            Fault::Rebalances { host } => self.ask(*host, Request::Rebalance { group: None }),
            _ => false,
        }
    }

    fn ask(&mut self, host: Number, request: Request) -> bool {
        let runs = self.runs(host);
        if runs {
            self.world.ask(host, request);
        }
        runs
    }

    fn set_duty(&mut self, host: Number, duty: Duty, request: Request) -> bool {
        let now = self.world.now;
        if !self.ask(host, request) {
            return false;
        }
        if let Some(known) = self.truth.hosts.get_mut(&host).filter(|known| known.duty != duty) {
            // A daemon that hangs reads it when it goes on.
            (known.duty, known.duty_since) = (duty, now.max(known.hangs_until));
        }
        true
    }

    fn reload(&mut self, host: Number, edit: Edit) -> bool {
        let Some(known) = self.truth.hosts.get_mut(&host) else { return false };
        if known.role == Role::Observer {
            return false;
        }
        match edit {
            Edit::Adds(address) if known.preferred.contains(&address) || known.floating.contains(&address) => return false,
            Edit::Adds(address) => {
                known.preferred.push(address);
                self.truth.expired.remove(&address);
            }
            Edit::TakesOut(address) => {
                // Of whoever prefers it.
                let home = self.truth.hosts.iter_mut().find(|(_, known)| known.clone_of.is_none() && known.preferred.contains(&address));
                let Some((home, known)) = home else { return false };
                known.preferred.retain(|preferred| *preferred != address);
                let home = *home;
                self.truth.taken_out.insert(address);
                self.edit(home, edit);
                return true;
            }
            Edit::GroupKeys => {}
        }
        self.edit(host, edit);
        true
    }

    /// Changes the configuration; a daemon that runs takes it up.
    fn edit(&mut self, host: Number, edit: Edit) {
        let change = |policy: &mut raisd::types::policy::NodePolicy| {
            let group = &mut policy.groups[0];
            match edit {
                Edit::Adds(address) => group.preferred.push(service(address)),
                Edit::TakesOut(address) => group.preferred.retain(|preferred| preferred.address != address),
                Edit::GroupKeys => {
                    group.shared.assign = if group.shared.assign == Assign::Fair { Assign::Random } else { Assign::Fair };
                    group.shared.orphan_lifetime += Duration::from_secs(1);
                }
            }
        };
        if self.runs(host) {
            self.world.reload(host, change);
        } else {
            change(&mut self.world.machine(host).policy);
        }
    }
}

fn service(address: IpAddr) -> ServiceAddress {
    ServiceAddress::host(address)
}
