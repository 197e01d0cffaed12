//! From action to port: one exhaustive `match` without a decision.
//!
//! Address changes of one list leave as one batch at its end: no action rests on another of the same list.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::oneshot;

use super::groups::Groups;
use super::reports;
use super::state::{StateWriter, Write};
use crate::node::action::{Action, Unicast};
use crate::node::event::{Answer, GroupIndex, Token};
use crate::ports::announce::Announcer;
use crate::ports::dns::Dns;
use crate::ports::multicast::{ControlSockets, Drops};
use crate::ports::netlink::{AddressChange, ChangeKind, Netlink};
use crate::ports::script::Scripts;
use crate::recording::Sent;
use crate::types::message::Message;

/// Datagrams dropped, by group and reason.
pub(super) type Dropped = BTreeMap<(GroupIndex, &'static str), u64>;

/// The ports of a running daemon.
pub(super) struct Ports {
    pub(super) groups: Groups,
    pub(super) sockets: ControlSockets,
    pub(super) netlink: Netlink,
    pub(super) announcer: Announcer,
    pub(super) scripts: Scripts,
    pub(super) dns: Option<Dns>,
    pub(super) writer: StateWriter,
    pub(super) replies: HashMap<Token, oneshot::Sender<Answer>>,
    pub(super) dropped: Dropped,
    /// The numbers of the datagrams that went out since they were taken.
    pub(super) sent: Vec<Sent>,
}

/// Whether the daemon goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dispatched {
    GoOn,
    /// Everything is done; end the process with this code.
    Exit {
        code: u8,
    },
}

impl Ports {
    /// Does all that the core has said, in order.
    pub(super) fn dispatch(&mut self, actions: Vec<Action>) -> Dispatched {
        let mut changes: Vec<AddressChange> = Vec::new();
        let mut dispatched = Dispatched::GoOn;
        for action in actions {
            match action {
                Action::AddAddress { op, interface, address } => {
                    changes.push(AddressChange { op, kind: ChangeKind::Add, interface, address })
                }
                Action::RemoveAddress { op, interface, address } => {
                    changes.push(AddressChange { op, kind: ChangeKind::Remove, interface, address })
                }
                Action::Announce { interface, addresses } => log_failure("announce", self.announcer.announce(&interface, &addresses)),
                Action::RunScript { op, job } => self.scripts.run(op, job),
                Action::Send { group, message, unicast } => self.send(group, &message, &unicast),
                Action::PublishZone { group, zone } => {
                    if let Some(dns) = &self.dns {
                        dns.publish(group, &zone);
                    }
                }
                Action::StoreGroup { op, group, state } => {
                    let name = self.name(Some(group)).to_owned();
                    self.writer.write(op, Write::Group { name, state });
                }
                Action::StoreIncarnation { op, incarnation } => self.writer.write(op, Write::Incarnation(incarnation)),
                Action::Report { group, report } => reports::log(self.name(group), &report),
                Action::Reply { token, answer } => self.reply(token, answer),
                Action::EndGroup { group } => self.end_group(group),
                Action::Exit { code } => dispatched = Dispatched::Exit { code },
            }
        }
        if !changes.is_empty() {
            log_failure("change addresses", self.netlink.change(changes));
        }
        dispatched
    }

    fn send(&mut self, group: GroupIndex, message: &Message, unicast: &Unicast) {
        let Some(of_group) = self.groups.get_mut(group) else {
            tracing::error!(?group, "a control message for a group that is not configured was not sent");
            return;
        };
        let before = of_group.outbound.last_number();
        match of_group.outbound.pack(message) {
            Ok(datagrams) => {
                let last = of_group.outbound.last_number();
                // Only a farewell leaves the counter alone; its number is the greatest there is.
                let (first, last) = if last == before { (u64::MAX, u64::MAX) } else { (before + 1, last) };
                self.sent.push(Sent { group, boot: of_group.boot, first, last });
                self.sockets.send(group, &datagrams, unicast);
            }
            Err(error) => tracing::error!(group = self.name(Some(group)), %error, "a control message was not sent"),
        }
    }

    fn name(&self, group: Option<GroupIndex>) -> &str {
        group.and_then(|group| self.groups.get(group)).map_or("", |group| &group.name)
    }

    fn end_group(&mut self, group: GroupIndex) {
        self.groups.remove(group);
        self.sockets.remove_group(group);
        self.scripts.remove_group(group);
        self.dropped.retain(|(of, _), _| *of != group);
    }

    fn reply(&mut self, token: Token, mut answer: Answer) {
        if let Answer::Status(view) = &mut answer {
            for group in &mut view.groups {
                for (number, _) in self.groups.iter().filter(|(_, known)| known.name == group.name) {
                    self.add_dropped(number, &mut group.dropped);
                }
            }
        }
        // The caller may have gone away meanwhile, which needs no action.
        if let Some(reply) = self.replies.remove(&token) {
            drop(reply.send(answer));
        }
    }
}

impl Ports {
    fn add_dropped(&self, group: GroupIndex, dropped: &mut BTreeMap<String, u64>) {
        let Drops { elsewhere, too_long } = self.sockets.drops(group);
        let unread = [("elsewhere", elsewhere), ("too-long", too_long)].into_iter().filter(|(_, count)| *count > 0);
        let unopened = self.dropped.iter().filter(|((of, _), _)| *of == group).map(|((_, reason), count)| (*reason, *count));
        for (reason, count) in unread.chain(unopened) {
            *dropped.entry(reason.to_owned()).or_default() += count;
        }
    }
}

fn log_failure<E: std::error::Error>(operation: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::error!(%error, "could not {operation}");
    }
}
