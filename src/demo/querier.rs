//! Switches that know who listens for multicast: they pass a group's datagrams on only where a host has said lately that it wants
//! them, and hosts say so when a querier asks.
//!
//! Without their querier such switches forget the listeners and multicast dies, while unicast goes on. Times are a second where a real
//! switch takes minutes. Called by the netns tests.

use std::io;
use std::time::Duration;

use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{LinkBridge, LinkMessageBuilder};

use super::namespace::Intent;
use super::plan::Network;
use super::topology::{Topology, TopologyError};

/// How often a querier asks: the least that the kernel does.
const QUERY: Duration = Duration::from_secs(1);

/// Within which hosts answer.
const ANSWER: Duration = Duration::from_millis(200);

/// A listener that has not said for so long that it wants a group is forgotten.
const MEMBERSHIP: Duration = Duration::from_millis(2500);

/// A querier that is lost asks no more: once in a day.
const NEVER: Duration = Duration::from_secs(86_400);

/// After so long no switch whose querier is lost knows a listener any more: the last question, the answers, what they are worth, and as
/// much as the kernel's timers may be late and hosts may say once more, unasked, what they want.
pub const FORGOTTEN: Duration = Duration::from_millis(1000 + 200 + 2500 + 1500);

impl Topology {
    /// The switch of a network snoops, and is its own querier.
    ///
    /// # Errors
    /// [`TopologyError`].
    pub fn snoop(&self, network: Network) -> Result<(), TopologyError> {
        self.change_bridge(network, "make snoop", |bridge| {
            let bridge = bridge.mcast_query_interval(centis(QUERY)).mcast_startup_query_interval(centis(QUERY));
            let bridge = bridge.mcast_query_response_interval(centis(ANSWER)).mcast_membership_interval(centis(MEMBERSHIP));
            bridge.mcast_querier(true).mcast_snooping(true)
        })
    }

    /// Its querier falls silent, and the switch goes on to believe that there is one.
    ///
    /// # Errors
    /// [`TopologyError`].
    pub fn lose_querier(&self, network: Network) -> Result<(), TopologyError> {
        self.change_bridge(network, "silence the querier of", |bridge| {
            bridge.mcast_query_interval(centis(NEVER)).mcast_startup_query_interval(centis(NEVER))
        })
    }

    /// The switch snoops no more: multicast goes everywhere.
    ///
    /// # Errors
    /// [`TopologyError`].
    pub fn flood(&self, network: Network) -> Result<(), TopologyError> {
        self.change_bridge(network, "let flood", |bridge| bridge.mcast_snooping(false))
    }

    fn change_bridge(
        &self,
        network: Network,
        verb: &str,
        change: impl FnOnce(LinkMessageBuilder<LinkBridge>) -> LinkMessageBuilder<LinkBridge>,
    ) -> Result<(), TopologyError> {
        let bridge = change(LinkMessageBuilder::<LinkBridge>::new(network.interface())).build();
        let refused = |cause: io::Error| TopologyError::Kernel { step: format!("{verb} {network}"), cause };
        self.fabric().request(RouteNetlinkMessage::NewLink(bridge), Intent::Change).map(drop).map_err(refused)
    }
}

/// As the kernel wants it: hundredths of a second.
fn centis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis() / 10).unwrap_or(u64::MAX)
}
