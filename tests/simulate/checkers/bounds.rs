//! What a host says and remembers stays within its bounds: messages few and small, hosts and addresses those that there are.

use std::collections::BTreeMap;

use raisd::types::message::MessageKind;
use raisd::types::time::Time;
use raisd::types::view::GroupView;
use raisd::wire::DATAGRAM_BYTES_MAX;

use super::{Judgement, object};
use crate::machine::Number;
use crate::seen::{Seen, What};
use crate::truth::Truth;

/// While things happen, a host answers at once, but never more often than this on average over the time until rest: a
/// `haste gap` of 5 ms would allow 200 a second.
const UNREST_PER_HEARTBEAT: u32 = 12;

/// More than a datagram of 1,232 bytes can hold: a list of hosts heard is cut at this many members.
const MEMBERS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Bounds {
    /// The time that is counted, and who has sent how much in it.
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    calm_since: Time,
    since: Time,
    at_rest: bool,
    sent: BTreeMap<Number, u32>,
}

impl Bounds {
    pub(crate) fn see(&mut self, now: Time, seen: &Seen, truth: &Truth) -> Judgement {
        if let What::Packed { bytes_max } = &seen.what
            && *bytes_max > DATAGRAM_BYTES_MAX
        {
            return object("bounds", format!("h{} sends a datagram of {bytes_max} bytes", seen.host));
        }
        let What::Sent { kind, members_max, .. } = &seen.what else { return Ok(()) };
        if *members_max > MEMBERS_MAX {
            return object("bounds", format!("h{} sends a datagram of {members_max} members", seen.host));
        }
        if *kind != MessageKind::Info || truth.is_disturbed {
            return Ok(());
        }
        let at_rest = truth.is_at_rest(now);
        if !self.window.as_ref().is_some_and(|window| window.calm_since == truth.calm_since && window.at_rest == at_rest) {
            self.window = Some(Window { calm_since: truth.calm_since, since: now, at_rest, sent: BTreeMap::new() });
        }
        let Some(window) = &mut self.window else { return Ok(()) };
        let sent = window.sent.entry(seen.host).or_default();
        *sent += 1;
        let heartbeats = u32::try_from(now.since(window.since).as_millis() / truth.heartbeat.as_millis()).unwrap_or(u32::MAX);
        let addresses = u32::try_from(truth.on.len()).unwrap_or(u32::MAX);
        let hosts = u32::try_from(truth.hosts.len()).unwrap_or(u32::MAX);
        let most =
            if at_rest { heartbeats + 2 + addresses * 4 } else { (heartbeats + 4) * UNREST_PER_HEARTBEAT + addresses * 6 + hosts * 4 };
        if *sent > most {
            let (sent, since) = (*sent, window.since);
            return object("bounds", format!("h{} has sent {sent} infos since {since:?}, at most {most} were to be expected", seen.host));
        }
        Ok(())
    }
}

/// What a host remembers: no more hosts and addresses than there have ever been.
pub(crate) fn judge_memory(host: Number, group: &GroupView, hosts: usize, addresses: usize) -> Judgement {
    let (knows_hosts, knows_addresses) = (group.hosts.len(), group.addresses.len());
    if knows_hosts > hosts || knows_addresses > addresses {
        return object("bounds", format!("h{host} knows {knows_hosts} hosts of {hosts} and {knows_addresses} addresses of {addresses}"));
    }
    Ok(())
}
