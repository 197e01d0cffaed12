//! The pool that a schedule is played on: hosts, their addresses, and the rule that they go by.

use std::net::IpAddr;
use std::time::Duration;

use raisd::types::host::Role;
use raisd::types::item::ServiceAddress;
use raisd::types::policy::{Assign, Failback, NodePolicy, TestPolicy, WhenEmpty};

use crate::dice::Dice;
use crate::machine::Number;
use crate::setup;

/// What a host is in the pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    pub(crate) number: Number,
    pub(crate) role: Role,
    pub(crate) preferred: Vec<IpAddr>,
}

/// A pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Setting {
    pub(crate) heartbeat: Duration,
    pub(crate) timeout: Duration,
    pub(crate) script_timeout: Duration,
    pub(crate) assign: Assign,
    pub(crate) failback: Failback,
    pub(crate) scripts: bool,
    pub(crate) when_empty: WhenEmpty,
    /// A datagram carries about so many list members; 0: as many as fit.
    pub(crate) members_max: usize,
    pub(crate) members: Vec<Member>,
    pub(crate) floating: Vec<IpAddr>,
}

/// How large the pools are that a run plays on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size {
    pub(crate) hosts: u16,
    /// 0: about two for each host.
    pub(crate) addresses: u16,
    /// Simulated time of a schedule.
    pub(crate) lasts: Duration,
}

impl Setting {
    pub(crate) fn draw(dice: &mut Dice, size: Size) -> Self {
        let is_large = size.hosts > 16;
        let heartbeat = Duration::from_millis(match dice.below(20) {
            0 if !is_large => 100,
            1..=6 if !is_large => 250,
            7..=13 if !is_large => 500,
            _ => 1000,
        });
        let failback = dice.pick(&[Failback::After(Duration::ZERO), Failback::After(Duration::from_secs(5)), Failback::Never]);
        let mut setting = Self {
            heartbeat,
            timeout: heartbeat * 4,
            script_timeout: Duration::from_secs(2),
            assign: dice.pick(&[Assign::Random, Assign::Fair, Assign::LeastLoaded]),
            failback,
            scripts: dice.chance(40),
            when_empty: dice.pick(&[WhenEmpty::Nodata, WhenEmpty::All]),
            members_max: dice.pick(&[0, 0, 24]),
            members: Vec::new(),
            floating: Vec::new(),
        };
        setting.draw_members(dice, size);
        setting
    }

    fn draw_members(&mut self, dice: &mut Dice, size: Size) {
        let floating = if size.hosts < 3 || dice.chance(50) { 0 } else { u16::try_from(dice.below(7)).expect("small") };
        let mut addresses = (0..if size.addresses == 0 { size.hosts * 2 } else { size.addresses }).map(setup::one_of_many);
        self.floating = addresses.by_ref().take(usize::from(floating)).collect();
        for number in 1..=size.hosts {
            // The first is always a server, so that there is something to serve.
            let kind = if number == 1 { 9 } else { dice.below(10) };
            let role = if kind == 0 && size.hosts > 2 { Role::Observer } else { Role::Server };
            self.members.push(Member { number, role, preferred: Vec::new() });
            let is_spare = kind <= 2;
            if let (false, Some(member)) = (is_spare, self.members.last_mut()) {
                let fair = usize::from(size.addresses / size.hosts);
                let count = if size.addresses == 0 { usize::try_from(dice.below(3)).expect("small") + 1 } else { fair };
                member.preferred = addresses.by_ref().take(count).collect();
            }
        }
        if size.addresses != 0 {
            let rest: Vec<IpAddr> = addresses.collect();
            self.members[0].preferred.extend(rest);
        }
    }

    /// The configuration of a host.
    pub(crate) fn policy(&self, member: &Member) -> NodePolicy {
        let mut policy = setup::policy(member.number, &member.preferred);
        policy.tests = vec![TestPolicy { name: "web".to_owned(), rise: 1, fall: 1 }];
        let group = &mut policy.groups[0];
        group.role = member.role;
        group.floating = self.floating.iter().copied().map(ServiceAddress::host).collect();
        group.has_acquire_script = self.scripts;
        group.has_release_script = self.scripts;
        group.script_timeout = self.script_timeout;
        group.tests = ["web".to_owned()].into();
        group.loads = ["requests".to_owned()].into();
        let shared = &mut group.shared;
        (shared.heartbeat, shared.timeout) = (self.heartbeat, self.timeout);
        (shared.assign, shared.failback) = (self.assign, self.failback);
        if let Some(zone) = &mut shared.zone {
            zone.when_empty = self.when_empty;
        }
        policy
    }

    pub(crate) fn hosts(&self) -> Vec<Number> {
        self.members.iter().map(|member| member.number).collect()
    }

    /// Every address that the pool begins with.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.members.iter().flat_map(|member| member.preferred.iter().copied()).chain(self.floating.iter().copied()).collect()
    }
}
