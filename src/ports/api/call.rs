//! The bodies of the API: what a caller sends and gets, as JSON. Server and client both use these types.
//!
//! Owns the form and the limits of what is asked; what it means is decided by the core. One more thing that an operator
//! can ask for is one more type with [`Call`] here and one more line in `routes.rs`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::node::event::Request;
use crate::types::item::Item;
use crate::types::view::{View, ZoneView};

/// Where the state is read.
pub const STATUS_PATH: &str = "/api/v1/status";

/// Where the zones are read.
pub const ZONE_PATH: &str = "/api/v1/zone";

/// Where the events are read.
pub const EVENTS_PATH: &str = "/api/v1/events";

/// Where it is said why.
pub const EXPLAIN_PATH: &str = "/api/v1/explain";

/// Where the daemon says where its files are.
pub const PLACES_PATH: &str = "/api/v1/places";

/// Where the configuration is read again; the body is empty.
pub const RELOAD_PATH: &str = "/api/v1/reload";

/// How long reading the configuration may take: it asks the machine's user database, which may wait for a network.
pub const RELOAD_TIME_MAX: Duration = Duration::from_secs(60);

/// How long the loop may take for anything that waits for nothing else. It answers within a millisecond unless it hangs.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// The longest that a drain or a move may be waited for.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest that a group may be frozen.
pub const FREEZE_TIME_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The longest reason or host name, in bytes: reasons are kept on disk and shown in one line.
pub const TEXT_BYTES_MAX: usize = 1024;

/// A request that changes something.
pub trait Call: Serialize + DeserializeOwned {
    /// Where it is sent.
    const PATH: &'static str;
    /// Its word in the log.
    const VERB: &'static str;
    /// The form of its body, for whoever sent another.
    const EXPECTED: &'static str;

    /// What the core is asked.
    ///
    /// # Errors
    ///
    /// What is wrong with a value, for people.
    fn to_request(&self) -> Result<Request, String>;

    /// Why, in the operator's words, for the log; empty: not said.
    fn reason(&self) -> &str {
        ""
    }

    /// How long the daemon may take to answer.
    fn answer_time_max(&self) -> Duration {
        ANSWER_TIME_MAX
    }
}

/// Acquire nothing, keep what is served.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quiesce {
    /// Which group; none: all.
    #[serde(default)]
    pub group: Option<String>,
    /// For people.
    #[serde(default)]
    pub reason: String,
}

/// End of quiesce and drain.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Which group; none: all.
    #[serde(default)]
    pub group: Option<String>,
    /// For people; goes to the log of this host only.
    #[serde(default)]
    pub reason: String,
}

/// Give up what is held; answered when it is gone or `timeout_ms` have ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Which group; none: all.
    #[serde(default)]
    pub group: Option<String>,
    /// For people.
    #[serde(default)]
    pub reason: String,
    /// How long to wait.
    #[serde(default = "drain_timeout_ms")]
    pub timeout_ms: u64,
}

fn drain_timeout_ms() -> u64 {
    60_000
}

/// Expire an orphaned address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expire {
    /// The address.
    pub address: IpAddr,
    /// Which group; none: all that know the address.
    #[serde(default)]
    pub group: Option<String>,
}

/// Forget a host that will not come back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// Its id or name.
    pub host: String,
    /// Which group; none: all that know the host.
    #[serde(default)]
    pub group: Option<String>,
}

/// Put an address on a host; answered when it is there, refused, or `timeout_ms` have ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The address.
    pub address: IpAddr,
    /// Its id or name; none: the preferred host.
    #[serde(default)]
    pub host: Option<String>,
    /// Which group; none: the one that knows the address.
    #[serde(default)]
    pub group: Option<String>,
    /// How long to wait.
    #[serde(default = "move_timeout_ms")]
    pub timeout_ms: u64,
}

fn move_timeout_ms() -> u64 {
    60_000
}

/// No moves at all, for so long.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Which group; none: all.
    #[serde(default)]
    pub group: Option<String>,
    /// How long.
    #[serde(default = "freeze_for_ms")]
    pub for_ms: u64,
    /// For people; goes to the log of this host only.
    #[serde(default)]
    pub reason: String,
}

fn freeze_for_ms() -> u64 {
    3_600_000
}

/// End of a freeze.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thaw {
    /// Which group; none: all.
    #[serde(default)]
    pub group: Option<String>,
}

/// Even out floating addresses, once.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rebalance {
    /// Which group; none: all.
    #[serde(default)]
    pub group: Option<String>,
}

impl Call for Quiesce {
    const PATH: &'static str = "/api/v1/quiesce";
    const VERB: &'static str = "quiesce";
    const EXPECTED: &'static str = r#"{"group": NAME, "reason": TEXT}, both optional"#;

    fn to_request(&self) -> Result<Request, String> {
        Ok(Request::Quiesce { group: group(self.group.as_deref())?, reason: text("reason", &self.reason)? })
    }

    fn reason(&self) -> &str {
        &self.reason
    }
}

impl Call for Resume {
    const PATH: &'static str = "/api/v1/resume";
    const VERB: &'static str = "resume";
    const EXPECTED: &'static str = r#"{"group": NAME, "reason": TEXT}, both optional"#;

    fn to_request(&self) -> Result<Request, String> {
        text("reason", &self.reason)?;
        Ok(Request::Resume { group: group(self.group.as_deref())? })
    }

    fn reason(&self) -> &str {
        &self.reason
    }
}

impl Call for Drain {
    const PATH: &'static str = "/api/v1/drain";
    const VERB: &'static str = "drain";
    const EXPECTED: &'static str = r#"{"group": NAME, "reason": TEXT, "timeout_ms": 60000}, all optional"#;

    fn to_request(&self) -> Result<Request, String> {
        let timeout = Duration::from_millis(self.timeout_ms);
        if timeout > DRAIN_TIME_MAX {
            return Err(format!("timeout_ms is {}, more than a day ({})", self.timeout_ms, DRAIN_TIME_MAX.as_millis()));
        }
        Ok(Request::Drain { group: group(self.group.as_deref())?, timeout, reason: text("reason", &self.reason)? })
    }

    fn reason(&self) -> &str {
        &self.reason
    }

    fn answer_time_max(&self) -> Duration {
        Duration::from_millis(self.timeout_ms).saturating_add(ANSWER_TIME_MAX)
    }
}

impl Call for Expire {
    const PATH: &'static str = "/api/v1/expire";
    const VERB: &'static str = "expire";
    const EXPECTED: &'static str = r#"{"address": ADDRESS, "group": NAME}, the group optional"#;

    fn to_request(&self) -> Result<Request, String> {
        Ok(Request::Expire { group: group(self.group.as_deref())?, item: Item::Address(self.address) })
    }
}

impl Call for Forget {
    const PATH: &'static str = "/api/v1/forget";
    const VERB: &'static str = "forget";
    const EXPECTED: &'static str = r#"{"host": ID-OR-NAME, "group": NAME}, the group optional"#;

    fn to_request(&self) -> Result<Request, String> {
        if self.host.is_empty() {
            return Err("host is empty".to_owned());
        }
        Ok(Request::Forget { group: group(self.group.as_deref())?, host: text("host", &self.host)? })
    }
}

impl Call for Move {
    const PATH: &'static str = "/api/v1/move";
    const VERB: &'static str = "move";
    const EXPECTED: &'static str =
        r#"{"address": ADDRESS, "host": ID-OR-NAME, "group": NAME, "timeout_ms": 60000}, all but the address optional"#;

    fn to_request(&self) -> Result<Request, String> {
        let timeout = Duration::from_millis(self.timeout_ms);
        if timeout > DRAIN_TIME_MAX {
            return Err(format!("timeout_ms is {}, more than a day ({})", self.timeout_ms, DRAIN_TIME_MAX.as_millis()));
        }
        let to = self.host.as_deref().map(|host| text("host", host)).transpose()?;
        Ok(Request::Move { group: group(self.group.as_deref())?, item: Item::Address(self.address), to, timeout })
    }

    fn answer_time_max(&self) -> Duration {
        Duration::from_millis(self.timeout_ms).saturating_add(ANSWER_TIME_MAX)
    }
}

impl Call for Freeze {
    const PATH: &'static str = "/api/v1/freeze";
    const VERB: &'static str = "freeze";
    const EXPECTED: &'static str = r#"{"group": NAME, "for_ms": 3600000, "reason": TEXT}, all optional"#;

    fn to_request(&self) -> Result<Request, String> {
        let duration = Duration::from_millis(self.for_ms);
        if duration.is_zero() || duration > FREEZE_TIME_MAX {
            return Err(format!("for_ms is {}, not from 1 to a week ({})", self.for_ms, FREEZE_TIME_MAX.as_millis()));
        }
        text("reason", &self.reason)?;
        Ok(Request::Freeze { group: group(self.group.as_deref())?, duration })
    }

    fn reason(&self) -> &str {
        &self.reason
    }
}

impl Call for Thaw {
    const PATH: &'static str = "/api/v1/thaw";
    const VERB: &'static str = "thaw";
    const EXPECTED: &'static str = r#"{"group": NAME}, optional"#;

    fn to_request(&self) -> Result<Request, String> {
        Ok(Request::Thaw { group: group(self.group.as_deref())? })
    }
}

impl Call for Rebalance {
    const PATH: &'static str = "/api/v1/rebalance";
    const VERB: &'static str = "rebalance";
    const EXPECTED: &'static str = r#"{"group": NAME}, optional"#;

    fn to_request(&self) -> Result<Request, String> {
        Ok(Request::Rebalance { group: group(self.group.as_deref())? })
    }
}

fn group(name: Option<&str>) -> Result<Option<String>, String> {
    name.map(|name| text("group", name)).transpose()
}

/// Texts of callers end up in log lines and on terminals: one line, bounded.
fn text(key: &str, value: &str) -> Result<String, String> {
    if value.len() > TEXT_BYTES_MAX {
        return Err(format!("{key} has {} bytes, more than {TEXT_BYTES_MAX}", value.len()));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("{key} contains control characters"));
    }
    Ok(value.to_owned())
}

/// Answer to a call that was done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Done {
    /// What happened, for people.
    pub message: String,
}

/// Answer to what was refused, wrong or impossible.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failed {
    /// Why and what to do, for people.
    pub error: String,
    /// The form of the body that was expected, if that was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// Where the files of a daemon are, which stay there as long as it runs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Places {
    /// Version of this form: 1.
    pub version: u32,
    /// The configuration that it was started with.
    pub config: PathBuf,
    /// Where its state is kept.
    pub state_dir: PathBuf,
    /// Where its flight recorder writes.
    pub recordings: PathBuf,
    /// Its process.
    pub process: u32,
}

impl Places {
    /// The directory of the flight recorder in a state directory.
    #[must_use]
    pub fn recordings_in(state_dir: &Path) -> PathBuf {
        state_dir.join("recorder")
    }

    /// The places of this process.
    #[must_use]
    pub fn of(config: &Path, state_dir: &Path) -> Self {
        Self {
            version: 1,
            config: std::path::absolute(config).unwrap_or_else(|_| config.to_owned()),
            state_dir: state_dir.to_owned(),
            recordings: Self::recordings_in(state_dir),
            process: std::process::id(),
        }
    }
}

/// The zones of this host's groups.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Zones {
    /// Version of this form: 1.
    pub version: u32,
    /// In the order of the configuration.
    pub groups: Vec<GroupZone>,
}

/// The zone of one group.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GroupZone {
    /// The group's name.
    pub name: String,
    /// Its zone, if it has one.
    pub zone: Option<ZoneView>,
}

impl From<View> for Zones {
    fn from(view: View) -> Self {
        let groups = view.groups.into_iter().map(|group| GroupZone { name: group.name, zone: group.zone }).collect();
        Self { version: view.version, groups }
    }
}
