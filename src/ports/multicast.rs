//! Control sockets: datagrams to and from the group addresses, one socket per control network and group.

use std::net::{IpAddr, SocketAddr};

/// Where control messages go and come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlSettings {
    /// The control networks of this host, in the order of the configuration; the index is the network's number.
    pub networks: Vec<ControlNetwork>,
    /// The group address of each group, in the order of the groups.
    pub groups: Vec<SocketAddr>,
}

/// One control network, as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ControlNetwork {
    /// The interface that has this address.
    Address(IpAddr),
    /// The first global address of this interface.
    Interface(String),
}
