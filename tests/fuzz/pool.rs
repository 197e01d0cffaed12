//! Somebody with the key in a settled pool: several messages in a row, to any host, in any name.
//!
//! The simulated world judges: nobody panics or spins, nobody announces what is not on its interface, and no script runs
//! without its address. Here also: nobody grows by more than a multiple of what he was told.

use std::cell::RefCell;
use std::time::Duration;

use arbitrary::Unstructured;
use raisd::node::event::{Arrival, Event, GroupIndex, Heard, Way};
use raisd::types::host::{HostHead, Incarnation};
use raisd::types::message::{HearingRecord, Message, MessageKind, Record, Sender};
use raisd::types::policy::NodePolicy;
use raisd::wire::{Inbound, Outbound};

use crate::machine::Number;
use crate::records::{Draw, Known};
use crate::seal::{GROUP, body, protection, seal};
use crate::setup::{self, TIMEOUT, address, host, ms, policy, secs};
use crate::world::World;

/// A message has four bytes before what it says: who, how, when and how long it is.
const PREFIX: usize = 4;

/// So many in a row.
const MESSAGES_MAX: usize = 12;

/// A node may keep this much for each byte that it was told: a reported hearing of a few bytes becomes a place with maps.
const GROWTH_FACTOR: usize = 64;

/// And this much for who says it: places for hosts, starts and counters.
const GROWTH_FREE: usize = 64 * 1024;

fn policies() -> Vec<NodePolicy> {
    vec![setup::with_scripts(policy(1, &[address(1)])), policy(2, &[address(2)]), policy(3, &[])]
}

/// A host that does not exist.
const STRANGER: Number = 9;

struct Settled {
    world: World,
    known: Known,
    sizes: Vec<usize>,
}

impl Settled {
    fn new() -> Self {
        let mut world = World::new(11, policies());
        world.boot_all();
        world.run_for(secs(12));
        world.assert_served(&[(address(1), 1), (address(2), 2)]);
        let mut known = Known { addresses: (1..=4).map(address).collect(), ..Known::default() };
        known.numbers = vec![1, 40];
        for (number, machine) in &world.machines {
            known.hosts.push(host(*number));
            known.boots.push(machine.places[&GroupIndex(0)].boot);
        }
        // One that nobody knows.
        known.hosts.push(host(STRANGER));
        known.boots.push(raisd::types::host::BootId([9; 16]));
        let sizes = sizes(&world);
        Self { world, known, sizes }
    }

    /// The pool when it has been told this, and some time has passed.
    fn after(&self, bytes: &[u8]) -> World {
        let mut world = self.world.clone();
        let mut rest = bytes;
        let mut inbound: Vec<Inbound> = (0..3).map(|_| Inbound::new(GROUP, &protection()).unwrap()).collect();
        for round in 0..MESSAGES_MAX {
            let Some((prefix, behind)) = rest.split_first_chunk::<PREFIX>() else { break };
            let [who, how, high, low] = *prefix;
            let (says, others) = behind.split_at(behind.len().min(u16::from_be_bytes([high, low]).into()));
            rest = others;
            tell(&mut world, self, &mut inbound, round as u64, who, how, says);
            world.run_for([Duration::ZERO, ms(20), ms(300), TIMEOUT][usize::from(how >> 6)]);
        }
        world.run_for(TIMEOUT * 2);
        world
    }
}

thread_local! {
    static SETTLED: RefCell<Option<Settled>> = const { RefCell::new(None) };
}

fn with_settled<T>(act: impl FnOnce(&Settled) -> T) -> T {
    SETTLED.with(|settled| act(settled.borrow_mut().get_or_insert_with(Settled::new)))
}

fn sizes(world: &World) -> Vec<usize> {
    world.running().map(|(_, machine)| postcard::to_allocvec(machine.node.as_ref().unwrap()).unwrap().len()).collect()
}

/// Messages in a row. Of each the first byte says to whom and in whose name, the second how it is numbered and said, the others
/// how long it is; then what it says.
pub(crate) fn told(bytes: &[u8]) {
    with_settled(|settled| {
        let world = settled.after(bytes);
        if world.machines.values().all(|machine| machine.node.is_some()) {
            for (size, before) in sizes(&world).iter().zip(&settled.sizes) {
                let most = before + GROWTH_FREE + GROWTH_FACTOR * bytes.len();
                assert!(*size <= most, "a node of {before} bytes has grown to {size} by {} bytes", bytes.len());
            }
        }
    });
}

/// How many of the seeds make a host known that does not exist, and how many move an address: what is drawn must get through to
/// what is looked at.
pub(crate) fn seeds_that_act() -> (usize, usize) {
    let all = seeds();
    with_settled(|settled| {
        let (mut strangers, mut moves) = (0, 0);
        for seed in &all {
            let world = settled.after(seed);
            let knows = |number: Number| world.view_of(number).groups[0].hosts.iter().any(|known| known.id == host(STRANGER));
            strangers += usize::from(world.running().any(|(number, _)| knows(number)));
            moves += usize::from(world.reports[settled.world.reports.len()..].iter().any(|(_, _, report)| crate::checks::is_move(report)));
        }
        (strangers, moves)
    })
}

fn tell(world: &mut World, settled: &Settled, inbound: &mut [Inbound], round: u64, who: u8, how: u8, says: &[u8]) {
    let to = usize::from(who % 3);
    let known = &settled.known;
    let from = usize::from(who / 3) % known.hosts.len();
    let boot = usize::from(who / 16) % known.boots.len();
    let number = if how & 4 == 0 { 1_000_000 + round } else { u64::from(how) };
    let sender = Sender { host: known.hosts[from], incarnation: Incarnation(1 + u64::from(how & 1)), boot: known.boots[boot] };
    let kind = (how >> 3) % 3;
    let datagrams = if how & 2 == 0 {
        vec![seal(&sender, kind, number, says)]
    } else {
        let mut draw = Draw { from: &mut Unstructured::new(says), known };
        let mut records = Vec::new();
        while !draw.from.is_empty() && records.len() < 16 {
            records.extend(draw.record());
        }
        let kind = [MessageKind::Info, MessageKind::Acquire, MessageKind::Release][usize::from(kind)];
        let mut out = Outbound::new(GROUP, &protection(), sender.host, sender.boot).unwrap();
        out.pack(&Message { kind, incarnation: sender.incarnation, records }).unwrap_or_default()
    };
    let network = (how >> 5) & 1;
    for datagram in datagrams {
        let Ok(opened) = inbound[to].open(&datagram) else { continue };
        let machine = to as Number + 1;
        let is_own = world.machines[&machine].places.values().any(|place| place.boot == opened.sender.boot);
        // Heard back from itself: the daemon drops it.
        if is_own {
            continue;
        }
        let heard = Heard {
            group: GroupIndex(0),
            network,
            way: if how & 8 == 0 { Way::Multicast } else { Way::Unicast },
            sender: opened.sender,
            number: opened.number,
            arrival: match opened.arrival {
                raisd::wire::Arrival::First => Arrival::First,
                raisd::wire::Arrival::Again => Arrival::Again,
            },
            records: opened.records,
        };
        world.tell(machine, Event::Heard(heard));
    }
}

/// What hosts said a moment later, told again and in other names; the same in the name of a host that does not exist; and drawn ones.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = with_settled(|settled| {
        let mut world = settled.world.clone();
        world.capture = Some(Vec::new());
        world.power_off(2);
        world.run_for(secs(3));
        let captured = world.capture.take().unwrap();
        let mut seeds = Vec::new();
        for datagram in captured.iter().step_by(7) {
            let message = Message { kind: datagram.kind, incarnation: datagram.sender.incarnation, records: datagram.records.to_vec() };
            let boots = &settled.known.boots;
            let place = boots.iter().position(|boot| *boot == datagram.sender.boot).unwrap();
            seeds.extend((0..3).flat_map(|to| said(to, place, &datagram.sender, &message)));
            let (stranger, last) = (host(STRANGER), boots.len() - 1);
            let rename = |record: &Record| match record {
                Record::Head(head) if head.id == datagram.sender.host => {
                    Some(Record::Head(Box::new(HostHead { id: stranger, boot: boots[last], ..(**head).clone() })))
                }
                // Whom it hears is what proves that it is there.
                Record::Hearing(hearing) if hearing.by == datagram.sender.host => {
                    Some(Record::Hearing(HearingRecord { by: stranger, boot: boots[last], ..hearing.clone() }))
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
                | Record::Freeze(_) => None,
            };
            let records: Vec<Record> = message.records.iter().filter_map(rename).collect();
            let sender = Sender { host: stranger, boot: boots[last], ..datagram.sender };
            seeds.extend((0..3).flat_map(|to| said(to, last, &sender, &Message { records: records.clone(), ..message.clone() })));
        }
        seeds
    });
    let drawn = (0..24_u32).map(|round| {
        let noise = move |at: u32| (at.wrapping_mul(2_654_435_761).wrapping_add(round.wrapping_mul(40_503)) >> 11).to_le_bytes()[0];
        let part =
            move |part: u32| [noise(part), noise(part + 9) | 2, 0, 120].into_iter().chain((0..120).map(move |at| noise(at + part * 131)));
        (0..6).flat_map(part).collect()
    });
    seeds.extend(drawn);
    seeds
}

/// This message as an input: to this host of three, in the name that is the `place`th known.
fn said(to: u8, place: usize, sender: &Sender, message: &Message) -> Vec<Vec<u8>> {
    let mut out = Outbound::new(GROUP, &protection(), sender.host, sender.boot).unwrap();
    let input = |packed: Vec<u8>| {
        let says = body(&packed);
        // `who` names host and boot by remainders.
        let fits = |who: &u8| who % 3 == to && usize::from(who / 3) % 4 == place && usize::from(who / 16) % 4 == place;
        let who = (0..=u8::MAX).find(fits).expect("each host and boot has a place");
        [&[who, packed[6] << 3][..], &u16::try_from(says.len()).unwrap().to_be_bytes(), &says].concat()
    };
    out.pack(message).unwrap().into_iter().map(input).collect()
}
