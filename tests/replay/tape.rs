//! Recordings of simulated machines, in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use raisd::node::action::Action;
use raisd::node::event::{Event, GroupIndex};
use raisd::node::{Node, Start};
use raisd::recording::frame::{frame_of_opening, prefix};
use raisd::recording::packing::Packer;
use raisd::recording::pen::Pen;
use raisd::recording::replay::{Recording, Step};
use raisd::recording::segment::Segment;
use raisd::recording::{Opening, Origin, Sent, Wall};
use raisd::types::host::BootId;
use raisd::types::policy::NodePolicy;
use raisd::types::time::Time;

use crate::machine::Number;
use crate::world::{Recorder, World};

/// Some midnight: 2026-11-22 in UTC. The machines' own time lines begin 400 days before their daemons.
const MIDNIGHT_US: i64 = 1_795_305_600_000_000;

/// One machine's tape.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    pen: Pen,
    /// The segments of all its starts; the last one is being written.
    segments: Vec<Vec<u8>>,
    packer: Packer,
    /// Calls in the last segment.
    calls: u64,
}

/// What the tapes of a world have in common.
#[derive(Debug, Default)]
pub(crate) struct Tapes {
    tapes: BTreeMap<Number, Tape>,
    /// A segment has so many calls; 0: as many as there are.
    calls_max: u64,
    /// How far the clock on each machine's wall goes wrong, in hours.
    hours: BTreeMap<Number, i64>,
}

/// The world's end of the tapes, and the test's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deck(Rc<RefCell<Tapes>>);

impl Deck {
    /// Records all machines of a world from here on.
    pub(crate) fn record(world: &mut World, calls_max: u64) -> Self {
        let deck = Self::default();
        deck.0.borrow_mut().calls_max = calls_max;
        world.recorder.0 = Some(Box::new(deck.clone()));
        deck
    }

    /// A machine whose clock is so many hours wrong.
    pub(crate) fn set_clock(&self, machine: Number, hours: i64) {
        self.0.borrow_mut().hours.insert(machine, hours);
    }

    /// The files of each machine.
    pub(crate) fn files(&self) -> BTreeMap<Number, Vec<Vec<u8>>> {
        self.0.borrow().tapes.iter().map(|(machine, tape)| (*machine, tape.segments.clone())).collect()
    }

    /// As they are read.
    pub(crate) fn recordings(&self) -> Vec<Recording> {
        let files = self.files().into_values().flatten();
        Recording::gather(files.map(|bytes| Segment::parse(bytes).expect("a segment that was just written")))
    }
}

impl Tapes {
    fn wall(&self, machine: Number, at: Time) -> Wall {
        let hours = self.hours.get(&machine).copied().unwrap_or(0);
        Wall(MIDNIGHT_US + hours * 3_600_000_000).shifted(i128::try_from(at.since_start().as_nanos()).expect("a few years"))
    }
}

impl Tape {
    pub(crate) fn open(&mut self, opening: &Opening) {
        self.segments.push(prefix("0.1.0"));
        (self.packer, self.calls) = (Packer::default(), 0);
        self.write(&frame_of_opening(opening).expect("an opening can be encoded"));
    }

    pub(crate) fn write(&mut self, frame: &[u8]) {
        let packed = self.packer.pack(frame).expect("a frame can be packed");
        self.segments.last_mut().expect("it has begun").extend(packed);
    }
}

impl Tape {
    /// The last segment.
    pub(crate) fn file(mut self) -> Vec<u8> {
        self.segments.pop().expect("it has begun")
    }
}

impl Recorder for Deck {
    fn begin(&mut self, machine: Number, at: Time, policy: &NodePolicy, start: &Start) {
        let mut tapes = self.0.borrow_mut();
        let wall = tapes.wall(machine, at);
        let tape = tapes.tapes.entry(machine).or_default();
        let opening = tape.pen.opening_of_start(at, wall, policy, start);
        tape.open(&opening);
        let frame = tape.pen.happened(at, wall, &[]).expect("a start can be encoded");
        tape.write(&frame);
    }

    fn happened(&mut self, machine: Number, at: Time, node: &Node, events: &[Event]) {
        let mut tapes = self.0.borrow_mut();
        let (wall, calls_max) = (tapes.wall(machine, at), tapes.calls_max);
        let tape = tapes.tapes.entry(machine).or_default();
        tape.calls += 1;
        if tape.segments.is_empty() || calls_max > 0 && tape.calls > calls_max {
            let opening = tape.pen.opening(at, wall, node);
            tape.open(&opening);
            tape.calls = 1;
        }
        let frame = tape.pen.happened(at, wall, events).expect("events can be encoded");
        tape.write(&frame);
    }

    fn decided(&mut self, machine: Number, actions: &[Action]) {
        let mut tapes = self.0.borrow_mut();
        let tape = tapes.tapes.entry(machine).or_default();
        if !tape.segments.is_empty() {
            let frame = tape.pen.decided(actions).expect("actions can be encoded");
            tape.write(&frame);
        }
    }

    fn sent(&mut self, machine: Number, group: GroupIndex, boot: BootId, (first, last): (u64, u64)) {
        let mut tapes = self.0.borrow_mut();
        let tape = tapes.tapes.entry(machine).or_default();
        if !tape.segments.is_empty() {
            let frame = tape.pen.sent(&[Sent { group, boot, first, last }]).expect("numbers can be encoded");
            tape.write(&frame);
        }
    }
}

/// A recording of a start, decided by today's core and with something changed; `None` if it begins otherwise.
pub(crate) fn retold(bytes: Vec<u8>, change: impl Fn(u64, &mut Vec<Event>, &mut Vec<Action>)) -> Option<Vec<u8>> {
    let segment = Segment::parse(bytes).expect("a segment");
    let Opening { at, wall, .. } = *segment.opening;
    let Origin::Started { policy, start } = &segment.opening.origin else { return None };
    let mut pen = Pen::default();
    let mut tape = Tape::default();
    tape.open(&pen.opening_of_start(at, wall, policy, start));
    for step in Recording::gather([segment]).iter().flat_map(Recording::replay) {
        let Step::Called(called) = step else { continue };
        let (mut events, mut actions) = (called.entry.events, called.actions);
        change(called.entry.number, &mut events, &mut actions);
        tape.write(&pen.happened(called.entry.at, called.entry.wall, &events).expect("as before"));
        tape.write(&pen.decided(&actions).expect("as before"));
        if !called.entry.sent.is_empty() {
            tape.write(&pen.sent(&called.entry.sent).expect("as before"));
        }
    }
    Some(tape.file())
}
