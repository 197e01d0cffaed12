//! Recordings that anybody may send to somebody who looks into an incident: their reader, replay and merge.

use raisd::node::Node;
use raisd::node::event::Event;
use raisd::recording::merge::Merge;
use raisd::recording::packing::Packer;
use raisd::recording::pen::Pen;
use raisd::recording::replay::{Recording, Step};
use raisd::recording::segment::Segment;
use raisd::recording::{Wall, frame, frame::prefix};
use raisd::types::host::BootId;
use raisd::types::time::Time;

use crate::setup::{address, policy};
use crate::world::World;

/// The version that the seeds say wrote them.
const SOFTWARE: &str = "0.1.0";

/// Bytes before each frame: its length and its checksum.
const FRAME_HEAD: usize = 4 + 8;

/// Steps of one replay: a segment of a few hundred bytes has no more.
const STEPS_MAX: usize = 10_000;

/// An odd first byte: a file as it is, packed. An even one: frames that are not packed, each with the checksum that its bytes
/// have, else few would be looked into.
pub(crate) fn segment(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let read = if how % 2 == 0 {
        let mut bytes = bytes.to_vec();
        mend(&mut bytes);
        Segment::parse_unpacked(bytes)
    } else {
        Segment::parse(bytes)
    };
    let Ok(segment) = read else { return };
    let mut entries = segment.entries();
    assert!(entries.by_ref().take(STEPS_MAX).count() < STEPS_MAX);
    if let Some(cut) = entries.cut() {
        assert!(!cut.why.is_empty());
    }
    let recordings = Recording::gather([segment.clone(), segment]);
    for recording in &recordings {
        let steps: Vec<Step> = recording.replay().take(STEPS_MAX).collect();
        assert!(steps.len() < STEPS_MAX && matches!(steps.last(), Some(Step::Ended(_))), "a replay that does not end");
        assert_eq!(format!("{steps:?}"), format!("{:?}", recording.replay().collect::<Vec<_>>()), "replayed twice, and different");
    }
    assert!(Merge::new(&recordings).take(STEPS_MAX).count() < STEPS_MAX);
}

fn mend(bytes: &mut [u8]) {
    let Some(software) = bytes.get(10) else { return };
    let mut at = 11 + usize::from(*software);
    while let Some(rest) = bytes.get_mut(at..)
        && let Some((head, behind)) = rest.split_first_chunk_mut::<FRAME_HEAD>()
        && !behind.is_empty()
    {
        let claimed = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let length = claimed.min(behind.len());
        head[..4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        head[4..].copy_from_slice(&frame::checksum(&behind[..length]).to_le_bytes());
        at += FRAME_HEAD + length;
    }
}

/// A host that starts, and one in a pool that hears others.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut world = World::new(7, [policy(1, &[address(1)]), policy(2, &[])]);
    let (now, boot) = (world.now, BootId([3; 16]));
    let machine = world.machine(1);
    let start = machine.prepare_start(now, boot);
    let at = machine.local(now);
    let mut pen = Pen::default();
    let mut recorded = prefix(SOFTWARE);
    recorded.extend(frame::frame_of_opening(&pen.opening_of_start(at, Wall(1_700_000_000_000_000), &machine.policy, &start)).unwrap());
    let (mut node, actions) = Node::start(at, &machine.policy, start);
    recorded.extend(pen.happened(at, Wall(1_700_000_000_000_000), &[]).unwrap());
    recorded.extend(pen.decided(&actions).unwrap());
    let mut seeds = vec![[&[0][..], &recorded].concat()];
    for _ in 0..12 {
        let Some(deadline) = node.deadline() else { break };
        call(&mut node, &mut pen, &mut recorded, deadline);
    }
    seeds.push([&[0][..], &recorded].concat());
    seeds.push([&[0][..], &recorded[..recorded.len() - 5]].concat());
    let file = packed(&recorded);
    seeds.push([&[1][..], &file[..file.len() - 5]].concat());
    seeds.push([&[1][..], &file].concat());
    let mut running = prefix(SOFTWARE);
    let at = node.deadline().unwrap();
    running.extend(frame::frame_of_opening(&pen.opening(at, Wall(1_700_000_100_000_000), &node)).unwrap());
    call(&mut node, &mut pen, &mut running, at);
    seeds.push([&[1][..], &packed(&running)].concat());
    seeds.push([&[0][..], &running].concat());
    seeds
}

/// As a recorder writes it.
fn packed(recorded: &[u8]) -> Vec<u8> {
    let (prefix, frames) = recorded.split_at(prefix(SOFTWARE).len());
    [prefix, &Packer::default().pack(frames).unwrap()].concat()
}

fn call(node: &mut Node, pen: &mut Pen, recorded: &mut Vec<u8>, at: Time) {
    let wall = Wall(1_700_000_000_000_000 + i64::try_from(at.since_start().as_micros()).unwrap());
    recorded.extend(pen.happened(at, wall, &[Event::Timeout]).unwrap());
    let actions = node.handle(at, Event::Timeout);
    recorded.extend(pen.decided(&actions).unwrap());
}
