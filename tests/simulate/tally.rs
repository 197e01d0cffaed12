//! How often each rule of the protocol was seen at work, and each fault was played.

use std::collections::BTreeMap;

use raisd::node::action::{Report, ScriptAction};
use raisd::types::item::Reason;

use crate::fault::Fault;
use crate::seen::{Relayed, Seen, What};

#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// How often a group was at rest, and judged.
    pub(crate) rests: u64,
    rules: BTreeMap<&'static str, u64>,
    faults: BTreeMap<&'static str, u64>,
}

/// What the gate's run must have seen.
const RULES: [&str; 42] = [
    "acquire not answered or failed: back-off",
    "address found and taken over",
    "address found unmarked at start",
    "address put back",
    "cannot assign",
    "command relayed",
    "configuration differs",
    "conflict",
    "drained",
    "duplicate id",
    "duplicate settled",
    "expired",
    "explained: cannot be assigned",
    "explained: goes home",
    "explained: held by a freeze",
    "explained: stays at home",
    "explained: stays away",
    "explained: stays pinned",
    "explained: waits for a holder",
    "explained: waits for its home to settle",
    "farewell heard",
    "frozen",
    "goes home",
    "incomplete entry waited for",
    "late answer",
    "listens anew after a stall",
    "many events read at once",
    "moved",
    "multicast missed",
    "queue full",
    "rebalanced",
    "relayed only",
    "released: stopped",
    "released: test failed",
    "released although something failed",
    "script failed or was killed",
    "silent",
    "thawed",
    "unicast instead of multicast",
    "verdict relayed",
    "wish relayed",
    "zone: nobody is left",
];

impl Tally {
    pub(crate) fn see(&mut self, seen: &Seen) {
        match &seen.what {
            What::PassedOn(Relayed::Command) => self.count_rule("command relayed"),
            What::PassedOn(Relayed::Wish) => self.count_rule("wish relayed"),
            What::PassedOn(Relayed::Verdict) => self.count_rule("verdict relayed"),
            What::CameByUnicast => self.count_rule("unicast instead of multicast"),
            What::HeardOf => self.count_rule("relayed only"),
            What::LateAnswer => self.count_rule("late answer"),
            What::CaughtUp { .. } => self.count_rule("many events read at once"),
            What::QueueFull { .. } => self.count_rule("queue full"),
            What::Answers { advertised, serial, .. } if advertised.is_empty() && *serial > 1 => self.count_rule("zone: nobody is left"),
            What::Reported(report) => self.read(report),
            What::Answers { .. }
            | What::Starts
            | What::Ends
            | What::On { .. }
            | What::Off { .. }
            | What::Announced { .. }
            | What::Sent { .. }
            | What::Packed { .. } => {}
        }
    }

    fn read(&mut self, report: &Report) {
        let rule = match report {
            Report::AcquireFailed { .. } => "acquire not answered or failed: back-off",
            Report::AddressFound { .. } => "address found and taken over",
            Report::AddressForeign { .. } => "address found unmarked at start",
            Report::AddressLost { .. } => "address put back",
            Report::Acquired { reason: Reason::Home, .. } => "goes home",
            Report::Acquired { reason: Reason::Moved, .. } => "moved",
            Report::CannotAssign { .. } => "cannot assign",
            Report::Conflict { .. } => "conflict",
            Report::ConfigurationDiffers { .. } => "configuration differs",
            Report::DuplicateId { .. } => "duplicate id",
            Report::DuplicateSettled { .. } => "duplicate settled",
            Report::Expired { .. } => "expired",
            Report::Frozen { .. } => "frozen",
            Report::Thawed { .. } => "thawed",
            Report::HostLeft { .. } => "farewell heard",
            Report::HostSilent { .. } => "silent",
            Report::MulticastFails { .. } => "multicast missed",
            Report::Released { reason: Reason::DuplicateId, .. } => "released: duplicate id",
            Report::Released { reason: Reason::Stopped, .. } => "released: stopped",
            Report::Released { reason: Reason::TestFailed, .. } => "released: test failed",
            Report::Released { reason: Reason::Drained, .. } => "drained",
            Report::Released { reason: Reason::Rebalanced, .. } => "rebalanced",
            Report::ReleaseFailed { .. } => "released although something failed",
            Report::ScriptEnded { problem: Some(_), action: ScriptAction::Acquire | ScriptAction::Release, .. } => {
                "script failed or was killed"
            }
            Report::Stalled { .. } => "listens anew after a stall",
            _ => return,
        };
        self.count_rule(rule);
    }

    pub(crate) fn count_rule(&mut self, rule: &'static str) {
        *self.rules.entry(rule).or_default() += 1;
    }

    pub(crate) fn count_fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.rests += other.rests;
        for (rule, count) in &other.rules {
            *self.rules.entry(rule).or_default() += count;
        }
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }

    /// What never happened.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let rules = RULES.iter().filter(|rule| !self.rules.contains_key(**rule));
        let faults = Fault::KINDS.iter().filter(|kind| !self.faults.contains_key(**kind));
        rules.chain(faults).copied().collect()
    }

    pub(crate) fn print(&self) {
        println!("rules seen at work:");
        for (rule, count) in &self.rules {
            println!("  {count:>9}  {rule}");
        }
        println!("faults played:");
        for (kind, count) in &self.faults {
            println!("  {count:>9}  {kind}");
        }
        println!("groups at rest judged: {}", self.rests);
    }
}
