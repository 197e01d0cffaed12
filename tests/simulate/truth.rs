//! What is so, as an onlooker knows it who has played every fault himself and watches kernels and logs: never what a node believes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use raisd::node::action::Report;
use raisd::node::event::Mark;
use raisd::types::host::{Duty, Role};
use raisd::types::item::{Epoch, Item};
use raisd::types::message::CommandKind;
use raisd::types::policy::{Failback, WhenEmpty};
use raisd::types::time::Time;

use crate::machine::Number;
use crate::network::number_of;
use crate::seen::{Seen, What};
use crate::setting::{Member, Setting};
use crate::situation::Situations;

/// One machine.
#[derive(Clone, Debug)]
pub(crate) struct HostTruth {
    pub(crate) runs: bool,
    /// How often its daemon has started.
    pub(crate) life: u32,
    pub(crate) role: Role,
    pub(crate) test_passes: bool,
    pub(crate) duty: Duty,
    pub(crate) duty_since: Time,
    pub(crate) preferred: Vec<IpAddr>,
    pub(crate) floating: Vec<IpAddr>,
    /// Its daemon does not read before then.
    pub(crate) hangs_until: Time,
    /// Uses the id of another.
    pub(crate) clone_of: Option<Number>,
}

impl HostTruth {
    /// Whether it may be given addresses.
    pub(crate) fn is_fit(&self) -> bool {
        self.is_ok() && self.duty == Duty::Active
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.runs && self.role == Role::Server && self.test_passes
    }
}

/// A row of failures.
#[derive(Clone, Copy, Debug)]
struct BackOff {
    count: u32,
    until: Time,
}

/// An acquire that a leader has told, and that has not shown yet.
#[derive(Clone, Copy, Debug)]
struct Told {
    to: Number,
    address: IpAddr,
    epoch: Epoch,
    at: Time,
}

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    pub(crate) heartbeat: Duration,
    pub(crate) timeout: Duration,
    /// The longest that scripts of one handover may take; zero without scripts.
    pub(crate) script_timeout: Duration,
    pub(crate) failback: Failback,
    pub(crate) when_empty: WhenEmpty,
    pub(crate) hosts: BTreeMap<Number, HostTruth>,
    /// Who has each address on its interface, and whose it is.
    pub(crate) on: BTreeMap<IpAddr, BTreeMap<Number, Mark>>,
    /// The last time that something came from outside, or ended.
    pub(crate) calm_since: Time,
    /// Something that lasts goes on.
    pub(crate) is_disturbed: bool,
    pub(crate) frozen_until: Time,
    /// Addresses that operators have moved away from home: they stay.
    pub(crate) moved: BTreeSet<IpAddr>,
    /// Addresses that were taken out of a configuration.
    pub(crate) taken_out: BTreeSet<IpAddr>,
    /// A host has started without what it had known.
    pub(crate) forgetful: bool,
    /// Who has declared an address expired, in which life.
    pub(crate) expired: BTreeMap<IpAddr, Vec<(Number, u32)>>,
    /// Addresses that anybody has ever declared expired.
    pub(crate) was_expired: BTreeSet<IpAddr>,
    /// How often each host has taken each address: an upper bound of its returns.
    pub(crate) returns: BTreeMap<(Number, IpAddr), u32>,
    pub(crate) situations: Situations,
    back_offs: BTreeMap<(Number, IpAddr), BackOff>,
    told: Vec<Told>,
}

/// As `docs/reference.md` has it: 5 s, doubled by each failure, up to 5 min.
fn back_off(count: u32) -> Duration {
    Duration::from_secs(5).saturating_mul(1 << (count - 1).min(10)).min(Duration::from_secs(300))
}

impl Truth {
    pub(crate) fn new(setting: &Setting) -> Self {
        let host = |member: &Member| HostTruth {
            runs: false,
            life: 0,
            role: member.role,
            test_passes: true,
            duty: Duty::Active,
            duty_since: Time::START,
            preferred: member.preferred.clone(),
            floating: setting.floating.clone(),
            hangs_until: Time::START,
            clone_of: None,
        };
        Self {
            heartbeat: setting.heartbeat,
            timeout: setting.timeout,
            script_timeout: if setting.scripts { setting.script_timeout } else { Duration::ZERO },
            failback: setting.failback,
            when_empty: setting.when_empty,
            hosts: setting.members.iter().map(|member| (member.number, host(member))).collect(),
            on: BTreeMap::new(),
            calm_since: Time::START,
            is_disturbed: false,
            frozen_until: Time::START,
            moved: BTreeSet::new(),
            taken_out: BTreeSet::new(),
            forgetful: false,
            expired: BTreeMap::new(),
            was_expired: BTreeSet::new(),
            returns: BTreeMap::new(),
            situations: Situations::default(),
            back_offs: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    pub(crate) fn see(&mut self, now: Time, seen: &Seen) {
        match &seen.what {
            What::Starts => self.note_start(now, seen.host),
            What::Ends => {
                if let Some(host) = self.hosts.get_mut(&seen.host) {
                    host.runs = false;
                }
                self.calm_since = now;
            }
            What::On { address, mark } => {
                self.told.retain(|told| !(told.to == seen.host && told.address == *address));
                let before = self.on.entry(*address).or_default().insert(seen.host, *mark);
                if before.is_none() && *mark == Mark::Ours {
                    *self.returns.entry((seen.host, *address)).or_default() += 1;
                }
            }
            What::Off { address } => {
                if let Some(holders) = self.on.get_mut(address) {
                    holders.remove(&seen.host);
                }
            }
            What::Reported(report) => self.read(now, seen.host, report),
            What::Announced { .. }
            | What::Sent { .. }
            | What::Packed { .. }
            | What::Answers { .. }
            | What::PassedOn(_)
            | What::CameByUnicast
            | What::HeardOf
            | What::LateAnswer
            | What::CaughtUp { .. }
            | What::QueueFull { .. } => {}
        }
    }

    fn note_start(&mut self, now: Time, number: Number) {
        if let Some(host) = self.hosts.get_mut(&number) {
            (host.runs, host.life) = (true, host.life + 1);
            host.hangs_until = Time::START;
            // A live host that prefers it brings it back.
            for address in &host.preferred {
                self.expired.remove(address);
            }
        }
        // What a daemon remembers of failures ends with it.
        self.back_offs.retain(|(host, _), _| *host != number);
        self.calm_since = now;
    }

    /// What logs tell of failures and expiry.
    fn read(&mut self, now: Time, host: Number, report: &Report) {
        match report {
            Report::AcquireFailed { item: Item::Address(address), back_off, .. } => {
                let known = self.back_offs.entry((host, *address)).or_insert(BackOff { count: 0, until: now });
                known.until = known.until.max(now.plus(*back_off));
            }
            Report::Decided { kind: CommandKind::Acquire, to, item: Item::Address(address), epoch, .. } => {
                self.settle_told(now);
                self.told.push(Told { to: number_of(*to), address: *address, epoch: *epoch, at: now });
            }
            Report::Acquired { item: Item::Address(address), epoch, .. } => {
                self.told.retain(|told| !(told.to == host && told.address == *address && told.epoch <= *epoch));
            }
            Report::Expired { item: Item::Address(address), .. } => {
                let life = self.hosts.get(&host).map_or(0, |known| known.life);
                self.was_expired.insert(*address);
                self.expired.entry(*address).or_default().push((host, life));
            }
            _ => {}
        }
    }

    /// Acquires that were not answered keep the leader from asking that host again.
    pub(crate) fn settle_told(&mut self, now: Time) {
        let patience = self.heartbeat * 3;
        let told = std::mem::take(&mut self.told);
        for told in told {
            if now.since(told.at) < patience {
                self.told.push(told);
                continue;
            }
            let until = told.at.plus(patience);
            let known = self.back_offs.entry((told.to, told.address)).or_insert(BackOff { count: 0, until });
            known.count += 1;
            known.until = known.until.max(until.plus(back_off(known.count)));
        }
    }

    /// Whether a host may not be asked to take an address, because it failed to.
    pub(crate) fn is_in_back_off(&self, now: Time, host: Number, address: IpAddr) -> bool {
        let told = self.told.iter().any(|told| told.to == host && told.address == address);
        // The leader hears of the end of it with the next heartbeat, and then acts.
        told || self.back_offs.get(&(host, address)).is_some_and(|back_off| back_off.until.plus(self.settles_within()) > now)
    }

    /// Whether any host was kept from an address by an earlier failure.
    pub(crate) fn has_failed(&self, address: IpAddr) -> bool {
        self.back_offs.keys().any(|(_, failed)| *failed == address)
    }

    /// How long the group may take, from the last fault, until everything is where it belongs: hosts fall silent or settle,
    /// the new leader is acknowledged, commands are repeated once, scripts of a release and of an acquire run, twice, because
    /// what is settled first may be sent home next.
    pub(crate) fn settles_within(&self) -> Duration {
        self.timeout * crate::REST_TIMEOUTS + self.heartbeat * crate::REST_HEARTBEATS + self.script_timeout * crate::REST_SCRIPTS
    }

    /// Whether the group has been left alone for so long that it must be at rest.
    pub(crate) fn is_at_rest(&self, now: Time) -> bool {
        !self.is_disturbed && now >= self.calm_since.plus(self.settles_within()) && now >= self.frozen_until.plus(self.settles_within())
    }

    /// The hosts that prefer an address, and run.
    pub(crate) fn homes(&self, address: IpAddr) -> Vec<Number> {
        self.hosts.iter().filter(|(_, host)| host.runs && host.preferred.contains(&address)).map(|(number, _)| *number).collect()
    }

    /// Whether a host that runs has it in its configuration.
    pub(crate) fn is_configured(&self, address: IpAddr) -> bool {
        self.hosts.values().any(|host| host.runs && (host.preferred.contains(&address) || host.floating.contains(&address)))
    }

    /// Hosts that can take an address now.
    pub(crate) fn takers(&self, now: Time, address: IpAddr) -> Vec<Number> {
        let can = |(number, host): &(&Number, &HostTruth)| host.is_fit() && !self.is_in_back_off(now, **number, address);
        self.hosts.iter().filter(can).map(|(number, _)| *number).collect()
    }

    /// How long its home may wait at most before it takes an address back; `None`: for good.
    pub(crate) fn failback_wait(&self, home: Number, address: IpAddr) -> Option<Duration> {
        match self.failback {
            Failback::Never => None,
            Failback::After(failback) => {
                let returns = self.returns.get(&(home, address)).copied().unwrap_or_default();
                let doubled = failback.max(Duration::from_millis(100)).saturating_mul(1 << returns.min(12));
                Some(doubled.min(Duration::from_secs(300)))
            }
        }
    }

    /// The machines that have an address.
    pub(crate) fn holders(&self, address: IpAddr) -> Vec<Number> {
        self.on.get(&address).map(|holders| holders.keys().copied().collect()).unwrap_or_default()
    }

    pub(crate) fn was_taken_out(&self, address: IpAddr) -> bool {
        self.taken_out.contains(&address)
    }

    /// Whether anybody has ever served it.
    pub(crate) fn was_served(&self, address: IpAddr) -> bool {
        self.returns.keys().any(|(_, served)| *served == address)
    }

    /// Something came from outside.
    pub(crate) fn disturb(&mut self, now: Time) {
        self.calm_since = now;
    }
}
