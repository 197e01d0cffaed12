//! The content of the state files: JSON with a version.
//!
//! Owns the form. Called by `state`; never touches a file.

use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Unusable;
use crate::node::action::StoredGroup;
use crate::types::host::Incarnation;

/// Version of the form. A file of another version is set aside, not guessed at.
pub(super) const VERSION: u64 = 1;

/// Read first, so that a file of a later version is not called damaged.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

/// `host.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HostDocument {
    version: u64,
    pub(super) incarnation: Incarnation,
}

/// `groups/NAME.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GroupDocument {
    version: u64,
    pub(super) group: String,
    /// Wall clock, in milliseconds since 1970.
    written_at_ms: u64,
    state: StoredGroup,
}

/// Reads a document of this version.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unusable> {
    let Versioned { version } = serde_json::from_slice(bytes).map_err(Unusable::Damaged)?;
    if version != VERSION {
        return Err(Unusable::Version(version));
    }
    serde_json::from_slice(bytes).map_err(Unusable::Damaged)
}

impl HostDocument {
    pub(super) fn of(incarnation: Incarnation) -> Self {
        Self { version: VERSION, incarnation }
    }

    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        to_lines(self)
    }
}

impl GroupDocument {
    pub(super) fn of(group: &str, state: StoredGroup, written_at_ms: u64) -> Self {
        Self { version: VERSION, group: group.to_owned(), written_at_ms, state }
    }

    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        to_lines(self)
    }

    /// The state with ages as of `now_ms`. A clock that went back adds nothing.
    pub(super) fn aged(self, now_ms: u64) -> StoredGroup {
        let elapsed = Duration::from_millis(now_ms.saturating_sub(self.written_at_ms));
        let mut state = self.state;
        for address in &mut state.addresses {
            address.orphaned = address.orphaned.saturating_add(elapsed);
            if let Some(returned) = &mut address.returned {
                returned.ago = returned.ago.saturating_add(elapsed);
            }
            address.home_served = address.home_served.map(|since| since.saturating_add(elapsed));
        }
        state
    }
}

fn to_lines<T: Serialize>(document: &T) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(document).map_err(io::Error::from)?;
    bytes.push(b'\n');
    Ok(bytes)
}
