//! What a group manages: service addresses and data sets, and the words for their states.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name (host, group, data set, test) that travels, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// What a group manages. Both kinds walk the same states, queue and messages.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Item {
    /// A service address.
    Address(IpAddr),
    /// A data set of a swarm, by name.
    DataSet(String),
}

impl Item {
    /// The service address, if this is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::DataSet(_) => None,
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::DataSet(name) => f.write_str(name),
        }
    }
}

/// A service address with the length of its prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ServiceAddress {
    /// The address.
    pub address: IpAddr,
    /// Length of the prefix in bits: at most 32 for IPv4, 128 for IPv6.
    pub prefix: u8,
}

impl ServiceAddress {
    /// The address alone: `/32` or `/128`.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { address, prefix: prefix_max(address) }
    }
}

fn prefix_max(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Why a text is not a service address. The writer of the text is at fault.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ServiceAddressError {
    /// The part before the slash is no IP address.
    #[error("{0:?} is not an IP address")]
    Address(String),
    /// The part after the slash is no prefix length of the address's family.
    #[error("prefix length {prefix:?} is not a number from 1 to {max}")]
    Prefix {
        /// What stands after the slash.
        prefix: String,
        /// The greatest length of the family.
        max: u8,
    },
}

impl FromStr for ServiceAddress {
    type Err = ServiceAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ServiceAddressError::Address(address.to_owned()))?;
        let max = prefix_max(address);
        let Some(prefix) = prefix else { return Ok(Self::host(address)) };
        match prefix.parse() {
            Ok(length) if (1..=max).contains(&length) => Ok(Self { address, prefix: length }),
            Ok(_) | Err(_) => Err(ServiceAddressError::Prefix { prefix: prefix.to_owned(), max }),
        }
    }
}

/// A number per item that grows with each acquire; scripts get it as a fencing token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of the next acquire.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What one host does with one item.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ItemState {
    /// Knows it (prefers it, floats it, or failed to acquire it), does not hold it.
    NotServing,
    /// Address going on, script running.
    Acquiring,
    /// Held and announced.
    Online,
    /// Script running, address going off.
    Releasing,
}

impl ItemState {
    /// Whether the host holds the item or is about to hold it or has not yet let go.
    #[must_use]
    pub fn is_held(self) -> bool {
        match self {
            Self::NotServing => false,
            Self::Acquiring | Self::Online | Self::Releasing => true,
        }
    }

    /// The word in logs, `status` and scripts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotServing => "unserved",
            Self::Acquiring => "acquiring",
            Self::Online => "online",
            Self::Releasing => "releasing",
        }
    }
}

impl fmt::Display for ItemState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an item moved. A closed list: scripts get the word as `RAISD_REASON`, every log line of a move carries it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nobody served it; this host was chosen.
    Assigned,
    /// The operator drained the host that held it.
    Drained,
    /// More than one host held it; another keeps it.
    Duplicate,
    /// Another daemon uses this host's id and started earlier.
    DuplicateId,
    /// It expired, was taken out of the configuration, or nobody in the group knows it.
    Expired,
    /// Its preferred host is wanted home.
    Home,
    /// Found unmarked on the interface and taken over.
    Found,
    /// This host cannot reach the others or its clients.
    Isolated,
    /// Held by the previous run of the daemon and taken up by this one.
    Leftover,
    /// The fence could not be kept.
    LostFence,
    /// The majority of known hosts was not heard.
    LostMajority,
    /// The daemon woke later than it promised.
    Late,
    /// The operator asked for the move.
    Moved,
    /// The holder's `accept` does not hold it any more.
    NotAccepted,
    /// Evens out floating addresses.
    Rebalanced,
    /// This host's configuration has changed: another interface or role, or the group is taken out.
    Reconfigured,
    /// Others removed the address from the interface again and again.
    RemovedByOthers,
    /// The daemon stops.
    Stopped,
    /// A test of the group failed.
    TestFailed,
}

impl Reason {
    /// The word in logs and in `RAISD_REASON`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::Drained => "drained",
            Self::Duplicate => "duplicate",
            Self::DuplicateId => "duplicate-id",
            Self::Expired => "expired",
            Self::Home => "home",
            Self::Found => "found",
            Self::Isolated => "isolated",
            Self::Leftover => "leftover",
            Self::LostFence => "lost-fence",
            Self::LostMajority => "lost-majority",
            Self::Late => "late",
            Self::Moved => "moved",
            Self::NotAccepted => "not-accepted",
            Self::Rebalanced => "rebalanced",
            Self::Reconfigured => "reconfigured",
            Self::RemovedByOthers => "removed-by-others",
            Self::Stopped => "stopped",
            Self::TestFailed => "test-failed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_prefix_stands_alone() {
        assert_eq!("192.0.2.1".parse(), Ok(ServiceAddress { address: [192, 0, 2, 1].into(), prefix: 32 }));
        assert_eq!("2001:db8::1".parse::<ServiceAddress>().map(|a| a.prefix), Ok(128));
    }

    #[test]
    fn a_prefix_beyond_the_family_is_refused() {
        for text in ["192.0.2.1/33", "192.0.2.1/0", "192.0.2.1/x", "2001:db8::1/129", "192.0.2/24"] {
            assert!(text.parse::<ServiceAddress>().is_err(), "{text}");
        }
    }
}
