//! The groups' zones, authoritative, through hickory-server on UDP and TCP.

use std::net::SocketAddr;

use crate::types::policy::ZonePolicy;

/// Where to answer and for what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsSettings {
    /// UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// The zone of each group that has one, with the group's place.
    pub zones: Vec<(crate::node::event::GroupIndex, ZonePolicy)>,
}
