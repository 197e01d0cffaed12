//! Sealing with the keys of a group.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names a key; in every datagram.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct KeyId(pub u32);

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyUse {
    /// Seals what is sent, and opens. The first such key of a file seals.
    Send,
    /// Opens only.
    Receive,
}

/// One secret of a group.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// What it is for.
    pub usage: KeyUse,
    /// 256 random bits.
    pub secret: [u8; 32],
}

/// Leaves the secret out.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("usage", &self.usage).finish_non_exhaustive()
    }
}

/// How the datagrams of a group are protected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Protection {
    /// With these keys; at least one is for sending.
    Keys(Vec<Key>),
    /// By the group's name only: protects against accidents, not against people.
    Insecure,
}
