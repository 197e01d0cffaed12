//! What an onlooker sees of a simulated pool: kernels, networks, disks and logs, never the inside of a node.
//!
//! The world writes it down while [`crate::world::World::watched`] is on; checkers read it, in order.

use std::net::IpAddr;

use raisd::node::action::Report;
use raisd::node::event::Mark;
use raisd::types::host::BootId;
use raisd::types::message::MessageKind;

use crate::machine::Number;

/// One thing that was seen, on or from a machine.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Seen {
    pub(crate) host: Number,
    pub(crate) what: What,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum What {
    /// The daemon starts.
    Starts,
    /// The daemon is gone.
    Ends,
    /// An address came onto the service interface.
    On { address: IpAddr, mark: Mark },
    /// An address went off the service interface.
    Off { address: IpAddr },
    /// Neighbours were told that the address is here.
    Announced { address: IpAddr, is_on: bool },
    /// A message went out, in so many datagrams, of which the longest has so many list members.
    Sent { kind: MessageKind, datagrams: usize, members_max: usize },
    /// What went out, as bytes: the longest datagram.
    Packed { bytes_max: usize },
    /// The name server answers from another list.
    Answers { boot: BootId, serial: u32, advertised: Vec<IpAddr> },
    /// The daemon wrote a line.
    Reported(Report),
    /// Something in a datagram that somebody else than its author sent.
    PassedOn(Relayed),
    /// A datagram came by unicast from a host whose multicast does not arrive.
    CameByUnicast,
    /// The head of a host whose datagrams do not arrive.
    HeardOf,
    /// A kernel or a script answered while the daemon did not read, or after it had thought better of it.
    LateAnswer,
    /// So many datagrams that had waited were handled at once.
    CaughtUp { datagrams: usize },
    /// So many of the oldest datagrams were dropped because the queue was full.
    QueueFull { dropped: usize },
}

/// What was passed on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Relayed {
    Command,
    Verdict,
    Wish,
}
