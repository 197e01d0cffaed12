//! The control networks of the simulated world: what becomes of a message on its way.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use raisd::node::action::Unicast;
use raisd::node::event::{Arrival, Event, GroupIndex, Heard, Way};
use raisd::types::host::{HostId, Sequence};
use raisd::types::message::{Message, MessageKind, Record, Sender};
use raisd::types::time::Time;
use raisd::wire::Outbound;
use raisd::wire::seal::Protection;

use crate::datagrams;
use crate::machine::{Machine, Number};
use crate::seen::{Relayed, What};
use crate::world::{Due, NETWORKS, World};

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) sent: Time,
    pub(crate) kind: MessageKind,
    /// By name: hosts number their groups each for itself.
    pub(crate) group: Rc<str>,
    pub(crate) sender: Sender,
    pub(crate) number: u64,
    pub(crate) records: Rc<Vec<Record>>,
}

/// How the networks treat what travels; besides what they lose of everything and what is cut.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Weather {
    /// The most that a datagram is late. Later ones may overtake it.
    pub(crate) jitter: Duration,
    /// In a thousand come twice.
    pub(crate) duplicated: u64,
    /// In a thousand, of those that are not the first of their message, do not come.
    pub(crate) parts_lost: u64,
    /// A datagram carries about so many list members; 0: as many as fit.
    pub(crate) members_max: usize,
}

/// While somebody watches, one message of so many of a host is made into bytes.
const PACKED_OF: u64 = 64;

const DELAY: Duration = Duration::from_micros(150);

/// One destination of a message: machine, network, way, and how many of its datagrams go there.
type Destination = (Number, u8, Way, usize);

impl World {
    /// A datagram arrives that was captured before, as new as the receiver can tell.
    pub(crate) fn replay(&mut self, to: Number, datagram: Datagram) {
        self.enqueue(Duration::ZERO, Due::Datagram { to, network: 0, way: Way::Multicast, datagram });
    }

    pub(crate) fn heard(&mut self, to: Number, network: u8, way: Way, datagram: &Datagram) -> Option<Event> {
        let machine = self.machine(to);
        machine.node.as_ref()?;
        let group = machine.place_of(&datagram.group)?;
        if machine.places[&group].boot == datagram.sender.boot {
            return None;
        }
        let arrival = machine.take_number(group, datagram.sender.boot, datagram.number);
        let records = match arrival {
            Arrival::First => datagram.records.to_vec(),
            Arrival::Again => Vec::new(),
        };
        if self.watched.is_some() {
            self.look_at(to, network, way, datagram);
        }
        Some(Event::Heard(Heard { group, network, way, sender: datagram.sender, number: datagram.number, arrival, records }))
    }

    /// What of a datagram is news to an onlooker.
    fn look_at(&mut self, to: Number, network: u8, way: Way, datagram: &Datagram) {
        let from = number_of(datagram.sender.host);
        if way == Way::Unicast && self.multicast_cuts.contains(&(from, to, network)) {
            self.note(to, What::CameByUnicast);
        }
        let sender = datagram.sender.host;
        for record in datagram.records.iter() {
            match record {
                Record::Command(command) if command.leader != sender => self.note(to, What::PassedOn(Relayed::Command)),
                Record::Wish(wish) if wish.by != sender => self.note(to, What::PassedOn(Relayed::Wish)),
                Record::Verdict(verdict) if verdict.leader != sender => self.note(to, What::PassedOn(Relayed::Verdict)),
                Record::Head(head) if head.id != sender && !self.cuts.is_empty() && self.is_deaf_to(to, number_of(head.id)) => {
                    self.note(to, What::HeardOf);
                }
                Record::Head(_)
                | Record::Hearing(_)
                | Record::Detail(_)
                | Record::Items(_)
                | Record::Addresses(_)
                | Record::Zone(_)
                | Record::Command(_)
                | Record::Wish(_)
                | Record::Verdict(_)
                | Record::Freeze(_) => {}
            }
        }
    }

    /// Whether nothing that one machine sends reaches another, while both run.
    pub(crate) fn is_deaf_to(&self, to: Number, from: Number) -> bool {
        let runs = |number: &Number| self.machines.get(number).is_some_and(|machine| machine.node.is_some());
        runs(&to) && runs(&from) && (0..NETWORKS).all(|network| self.is_cut(from, to, network))
    }

    /// Whether nothing goes that way.
    pub(crate) fn is_cut(&self, from: Number, to: Number, network: u8) -> bool {
        self.dead_networks.contains(&network) || self.cuts.contains(&(from, to, network))
    }

    pub(crate) fn send(&mut self, from: Number, group: GroupIndex, message: Message, unicast: &Unicast) {
        let (sent, kind) = (self.now, message.kind);
        let machine = self.machine(from);
        machine.infos_sent += u64::from(message.kind == MessageKind::Info);
        let place = &machine.places[&group];
        let group = Rc::clone(&place.name);
        let sender = Sender { host: machine.id(), incarnation: message.incarnation, boot: place.boot };
        let is_farewell = message
            .records
            .iter()
            .any(|record| matches!(record, Record::Head(head) if head.id == sender.host && head.sequence == Sequence::FAREWELL));
        let listeners = self.listeners(from, &group);
        let destinations = self.unicast_destinations(unicast);
        self.pack_now_and_then(from, &sender, &group, &message);
        let datagrams = datagrams::pack(message.records, self.weather.members_max);
        if self.watched.is_some() {
            let members_max = datagrams.iter().map(|records| datagrams::weigh_all(records)).max().unwrap_or_default();
            self.note(from, What::Sent { kind, datagrams: datagrams.len(), members_max });
        }
        for (index, records) in datagrams.into_iter().enumerate() {
            let machine = self.machine(from);
            machine.number += 1;
            let number = if is_farewell { u64::MAX } else { machine.number };
            let datagram = Datagram { sent, kind, group: Rc::clone(&group), sender, number, records: Rc::new(records) };
            if let Some(capture) = &mut self.capture {
                capture.push(datagram.clone());
            }
            for network in 0..NETWORKS {
                let to = listeners.iter().copied().filter(|to| self.arrives((from, *to, network), Way::Multicast, index)).collect();
                self.deliver(to, network, Way::Multicast, &datagram);
            }
            for (to, network, way, _) in destinations.iter().copied().filter(|(.., count)| index < *count) {
                self.unicast_sent += 1;
                if self.arrives((from, to, network), way, index) {
                    self.deliver(vec![to], network, way, &datagram);
                }
            }
        }
    }

    /// What the wire makes of a message, of one in many: bytes are dear.
    fn pack_now_and_then(&mut self, from: Number, sender: &Sender, group: &str, message: &Message) {
        if self.watched.is_none() || !self.machines[&from].infos_sent.is_multiple_of(PACKED_OF) {
            return;
        }
        let mut outbound = Outbound::new(group, &Protection::Insecure, sender.host, sender.boot).expect("a group name of a few bytes");
        let packed = outbound.pack(message).unwrap_or_else(|fault| panic!("h{from} sends what cannot be packed: {fault}"));
        let bytes_max = packed.iter().map(Vec::len).max().unwrap_or_default();
        self.note(from, What::Packed { bytes_max });
    }

    /// The machines that listen at the group address of a group.
    fn listeners(&self, from: Number, group: &str) -> Vec<Number> {
        // A group that has been taken out of the configuration ends as it was.
        let has_multicast = |machine: &Machine| {
            machine.policy.groups.iter().find(|configured| *configured.name == *group).is_none_or(|configured| configured.multicast)
        };
        if !has_multicast(&self.machines[&from]) {
            return Vec::new();
        }
        let listens = |(to, machine): &(&Number, &Machine)| **to != from && has_multicast(machine);
        self.machines.iter().filter(listens).map(|(to, _)| *to).collect()
    }

    fn unicast_destinations(&self, unicast: &Unicast) -> Vec<Destination> {
        let whole = unicast.whole.iter().map(|address| (*address, usize::MAX));
        let all = whole.chain(unicast.opening.iter().map(|address| (*address, 1)));
        all.filter_map(|(address, count)| self.at(address).map(|(to, network)| (to, network, Way::Unicast, count))).collect()
    }

    /// Whether a datagram, which is the `index`th of its message, comes through.
    fn arrives(&mut self, link: (Number, Number, u8), way: Way, index: usize) -> bool {
        let is_lost = self.chances(self.loss) || index > 0 && self.chances(self.weather.parts_lost);
        let (from, to, network) = link;
        let is_deaf = way == Way::Multicast && self.multicast_cuts.contains(&link);
        !(is_lost || is_deaf || self.is_cut(from, to, network))
    }

    fn deliver(&mut self, to: Vec<Number>, network: u8, way: Way, datagram: &Datagram) {
        let after = DELAY + Duration::from_micros(20) * u32::from(network);
        if self.weather.jitter.is_zero() && self.weather.duplicated == 0 {
            if !to.is_empty() {
                self.enqueue(after, Due::Datagrams { to, network, way, datagram: datagram.clone() });
            }
            return;
        }
        for to in to {
            let copies = 1 + u64::from(self.chances(self.weather.duplicated));
            for _ in 0..copies {
                let jitter = u64::try_from(self.weather.jitter.as_micros()).unwrap_or(u64::MAX).saturating_add(1);
                let late = Duration::from_micros(self.draw() % jitter);
                self.enqueue(after + late, Due::Datagram { to, network, way, datagram: datagram.clone() });
            }
        }
    }

    /// The machine that has a control address, and on which network; of clones the original.
    fn at(&self, address: IpAddr) -> Option<(Number, u8)> {
        let IpAddr::V4(v4) = address else { return None };
        let [_, network, high, low] = v4.octets();
        let likely = u16::from_be_bytes([high, low]);
        if self.machines.get(&likely).is_some_and(|machine| machine.policy.host.control.get(usize::from(network)) == Some(&address)) {
            return Some((likely, network));
        }
        self.machines.iter().find_map(|(number, machine)| {
            let network = machine.policy.host.control.iter().position(|control| *control == address)?;
            Some((*number, u8::try_from(network).expect("few networks")))
        })
    }
}

/// The machine with this id; of clones the original.
pub(crate) fn number_of(host: HostId) -> Number {
    match host.0 {
        IpAddr::V4(id) => u16::from_be_bytes([id.octets()[2], id.octets()[3]]),
        IpAddr::V6(_) => panic!("simulated hosts have IPv4 ids"),
    }
}
