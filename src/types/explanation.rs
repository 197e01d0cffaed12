//! What `raisctl explain` and `GET /api/v1/explain` say: why something is where it is, on what evidence, and what comes next.
//!
//! Keys and words are a contract (`docs/explain.schema.json`): every key is always there. Times are milliseconds; texts are
//! for people.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::host::{HostId, Role};

/// The version of this form.
pub const EXPLANATION_VERSION: u32 = 1;

/// The answer of one host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// Version of this form: 1.
    pub version: u32,
    /// Who answers.
    pub host: Named,
    /// What was asked about, as it was asked.
    pub subject: String,
    /// The groups that know it.
    pub groups: Vec<GroupExplanation>,
}

/// A host and what people call it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Named {
    /// Its id.
    pub id: HostId,
    /// Its name, or its id while the name is not known.
    pub name: String,
}

/// What one group says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GroupExplanation {
    /// The group.
    pub name: String,
    /// Whom the host that answers follows; `null`: nobody.
    pub leader: Option<Named>,
    /// How much the answer is worth, if not everything: what the host that answers does not know.
    pub caveat: Option<String>,
    /// If it was asked about an address.
    pub address: Option<AddressExplanation>,
    /// If it was asked about a host.
    pub member: Option<MemberExplanation>,
}

/// Which rule of the control step applies to an address: a closed list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleWord {
    /// Nobody serves it: it is given to a host.
    Assigned,
    /// Nobody serves it and nobody can take it.
    CannotAssign,
    /// Several hold it: one keeps it.
    Duplicate,
    /// No moves at all in the group.
    Frozen,
    /// Its preferred host is wanted home.
    GoesHome,
    /// The holder has to give it up and there is a place to go.
    Leaves,
    /// The operator wants it elsewhere.
    Moves,
    /// The holder should give it up, but nobody else can take it.
    NowhereToGo,
    /// Floating addresses are evened out.
    Rebalances,
    /// Its preferred host serves it.
    StaysAtHome,
    /// Its preferred host does not serve it and is not wanted home.
    StaysAway,
    /// The operator has moved it there, and no other reason moves it.
    StaysPinned,
    /// No live host prefers it: whoever has it keeps it.
    StaysPut,
    /// Held, but unknown or expired.
    Unknown,
    /// Held, but unknown here; not everybody knows the same addresses yet.
    UnknownWaits,
    /// A holder is acquiring or releasing, or has been told to.
    Waits,
    /// A live host's entry is not whole.
    WaitsForEntries,
    /// The preferred host has just started.
    WaitsForHome,
}

impl RuleWord {
    /// The word in JSON and on the terminal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::CannotAssign => "cannot-assign",
            Self::Duplicate => "duplicate",
            Self::Frozen => "frozen",
            Self::GoesHome => "goes-home",
            Self::Leaves => "leaves",
            Self::Moves => "moves",
            Self::NowhereToGo => "nowhere-to-go",
            Self::Rebalances => "rebalances",
            Self::StaysAtHome => "stays-at-home",
            Self::StaysAway => "stays-away",
            Self::StaysPinned => "stays-pinned",
            Self::StaysPut => "stays-put",
            Self::Unknown => "unknown",
            Self::UnknownWaits => "unknown-waits",
            Self::Waits => "waits",
            Self::WaitsForEntries => "waits-for-entries",
            Self::WaitsForHome => "waits-for-home",
        }
    }
}

/// Why an address is where it is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AddressExplanation {
    /// The address.
    pub address: IpAddr,
    /// Who holds it, is taking it, or gives it up.
    pub served_by: Vec<Named>,
    /// The host that prefers it, or did last.
    pub preferred_host: Option<Named>,
    /// Its highest epoch.
    pub epoch: u64,
    /// How long exactly these hosts have had it, as seen from here.
    pub since_ms: u64,
    /// The rule of the control step.
    pub rule: RuleWord,
    /// The rule in a sentence.
    pub because: String,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
    /// What comes next, the soonest first.
    pub next: Vec<Next>,
    /// Where it would go.
    pub what_if: Vec<WhatIf>,
    /// What would change it.
    pub changes: Vec<String>,
}

/// What is known of one host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// The host.
    pub host: Named,
    /// How old the word is: since its newest info left it; `null`: it is this host, or it is not known.
    pub age_ms: Option<u64>,
    /// The control addresses of the host that answers over which it is heard directly.
    pub heard_on: Vec<IpAddr>,
    /// What it says.
    pub says: String,
}

/// Something that is going to happen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Next {
    /// When; `null`: when something else has happened.
    pub in_ms: Option<u64>,
    /// What: a closed list.
    pub what: NextWord,
    /// The host that it is about.
    pub host: Option<Named>,
    /// For people.
    pub text: String,
}

/// What is going to happen: a closed list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NextWord {
    /// A host may be given the address again.
    BackOffEnds,
    /// The leader tells a host to take the address.
    Acquire,
    /// The preferred host has been well for `failback`.
    FailbackDue,
    /// The freeze ends.
    FreezeEnds,
    /// The orphaned address is forgotten.
    OrphanExpires,
    /// The leader tells a host to give the address up.
    Release,
    /// A host has listened long enough.
    Settles,
    /// A host counts as silent unless it is heard.
    Silent,
}

/// The control step on the same tables with one thing changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WhatIf {
    /// The host that dies.
    pub dies: Named,
    /// The address.
    pub address: IpAddr,
    /// Who serves it then; `null`: nobody.
    pub to: Option<Named>,
    /// For people.
    pub text: String,
}

/// How a host is, and why it is given nothing, if so.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MemberExplanation {
    /// The host.
    pub host: Named,
    /// Whether it is the host that answers.
    #[serde(rename = "self")]
    pub is_self: bool,
    /// Heard within the timeout.
    pub live: bool,
    /// Server or observer.
    pub role: Role,
    /// Brings no preferred address.
    pub spare: bool,
    /// Its tests pass and its service interface works.
    pub ok: bool,
    /// Has listened long enough.
    pub settled: bool,
    /// Acquires nothing.
    pub quiesced: bool,
    /// Gives up what it holds.
    pub draining: bool,
    /// May be given addresses.
    pub eligible: bool,
    /// Why it may be given something, or not.
    pub given: String,
    /// Whether the host that answers follows it.
    pub leads: bool,
    /// Why it leads, or not.
    pub why_leads: String,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
    /// Its tests; only the host itself knows them.
    pub tests: Vec<TestExplanation>,
    /// What it holds.
    pub holds: Vec<HeldExplanation>,
    /// Preferred addresses that it does not hold, and why.
    pub lacks: Vec<LackExplanation>,
    /// Whom it hears.
    pub hears: Vec<HeardExplanation>,
    /// Who hears it.
    pub heard_by: Vec<Named>,
    /// What comes next, the soonest first.
    pub next: Vec<Next>,
    /// Where what it holds would go.
    pub what_if: Vec<WhatIf>,
}

/// One test.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TestExplanation {
    /// Its name.
    pub name: String,
    /// Whether it counts as passing; `null`: it has not passed or failed often enough yet.
    pub passing: Option<bool>,
    /// For how long that has been so.
    pub since_ms: u64,
    /// What the probe said, if it fails.
    pub failure: Option<String>,
}

/// What a host holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeldExplanation {
    /// The address.
    pub address: IpAddr,
    /// `acquiring`, `online` or `releasing`.
    pub state: String,
    /// Epoch of the holding.
    pub epoch: u64,
    /// Why it is there: the rule in a sentence.
    pub because: String,
}

/// What a host prefers and does not hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LackExplanation {
    /// The address.
    pub address: IpAddr,
    /// The rule in a sentence.
    pub because: String,
}

/// A host that is heard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeardExplanation {
    /// The host.
    pub host: Named,
    /// The control networks of the listener on which it is heard directly, from 0; none: by way of others.
    pub networks: Vec<u8>,
    /// The greatest loss on one of them, in percent of the last 64 datagrams.
    pub loss_percent: u8,
}
