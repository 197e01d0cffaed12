//! Damaged, torn, altered and foreign files: named, never believed, never a panic.

use std::panic::catch_unwind;

use raisd::node::action::{Action, Report};
use raisd::node::event::Event;
use raisd::recording::frame::{FORMAT, prefix};
use raisd::recording::pen::Pen;
use raisd::recording::replay::{Continuity, Recording, Step, Verdict};
use raisd::recording::segment::{CutKind, Segment, SegmentError};
use raisd::recording::{Decision, Origin, Wall};
use raisd::types::time::Time;

use crate::setup::{address, pool, secs};
use crate::tape::{Deck, Tape, retold};

/// A short life of one host, in segments of so many calls.
fn life(calls_max: u64) -> Vec<Vec<u8>> {
    let mut world = pool(3);
    let deck = Deck::record(&mut world, calls_max);
    world.boot_all();
    world.run_for(secs(5));
    assert!(!world.holders(address(1)).is_empty());
    deck.files().remove(&1).expect("host 1 was recorded")
}

fn verdicts(segments: impl IntoIterator<Item = Vec<u8>>) -> Vec<Step> {
    let segments = segments.into_iter().map(|bytes| Segment::parse(bytes).expect("its opening is whole"));
    let recordings = Recording::gather(segments);
    recordings.iter().flat_map(Recording::replay).collect()
}

fn differing(steps: &[Step]) -> Vec<u64> {
    let number = |step: &Step| match step {
        Step::Called(called) if !called.verdict.agrees() => Some(called.entry.number),
        Step::Called(_) | Step::Opened { .. } | Step::Ended(_) => None,
    };
    steps.iter().filter_map(number).collect()
}

#[test]
fn a_file_that_is_torn_anywhere_is_read_up_to_there() {
    let bytes = life(0).remove(0);
    let whole = Segment::parse(bytes.clone()).expect("it is whole");
    let calls = whole.entries().count();
    let mut lengths: Vec<usize> = (0..bytes.len()).step_by(97).collect();
    lengths.extend(bytes.len().saturating_sub(40)..bytes.len());
    for length in lengths {
        match Segment::parse(&bytes[..length]) {
            Err(SegmentError::Empty(_) | SegmentError::Opening { .. }) => {}
            Err(error) => panic!("{length}: {error}"),
            Ok(segment) => {
                let mut entries = segment.entries();
                let read = entries.by_ref().count();
                assert!(read <= calls);
                // Where nothing but the end is missing, nothing else is said.
                assert!(entries.cut().is_none_or(|cut| cut.kind == CutKind::Torn), "{length}: {:?}", entries.cut());
            }
        }
    }
}

#[test]
fn a_byte_that_is_altered_ends_the_segment_there() {
    let bytes = life(0).remove(0);
    let whole = Segment::parse(&bytes).expect("it is whole");
    for place in (0..bytes.len()).step_by(61) {
        let mut altered = bytes.clone();
        altered[place] ^= 0x40;
        let read = catch_unwind(|| {
            let Ok(segment) = Segment::parse(altered) else { return };
            let mut entries = segment.entries();
            entries.by_ref().for_each(drop);
            // In the name of the version nothing is checked, since it is for people, and bits between two writes say nothing.
            let says_the_same = place < 20 || segment.frames() == whole.frames();
            assert!(entries.cut().is_some() || says_the_same, "byte {place}");
        });
        assert!(read.is_ok(), "byte {place}");
    }
}

#[test]
fn arbitrary_bytes_are_no_recording() {
    let mut random = 1_u64;
    for length in 0..400 {
        let mut bytes: Vec<u8> = (0..length)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                random.to_be_bytes()[0]
            })
            .collect();
        assert!(Segment::parse(bytes.clone()).is_err());
        let mut behind = prefix("0.1.0");
        behind.append(&mut bytes);
        assert!(Segment::parse(behind).is_err());
    }
}

#[test]
fn another_form_is_named_with_the_version_that_wrote_it() {
    let mut bytes = prefix("7.3.1");
    bytes[8..10].copy_from_slice(&(FORMAT + 1).to_le_bytes());
    let error = Segment::parse(bytes).expect_err("another form");
    assert!(matches!(&error, SegmentError::Version { software, .. } if software == "7.3.1"));
    assert!(error.to_string().contains("replay it with raisd 7.3.1"), "{error}");
}

/// The same life with something changed in one frame, whose checksum is right.
fn told_otherwise(change: impl Fn(u64, &mut Vec<Event>, &mut Vec<Action>)) -> Vec<u8> {
    retold(life(0).remove(0), change).expect("the life begins with a start")
}

#[test]
fn an_action_that_was_not_taken_is_found_and_both_are_named() {
    assert_eq!(differing(&verdicts([told_otherwise(|_, _, _| {})])), Vec::<u64>::new());
    let acquired = |actions: &[Action]| actions.iter().position(|action| matches!(action, Action::AddAddress { .. }));
    let altered = told_otherwise(|_, _, actions| {
        if let Some(place) = acquired(actions) {
            actions[place] = Action::Report { group: None, report: Report::Settled };
        }
    });
    let steps = verdicts([altered]);
    let found = steps.iter().find_map(|step| match step {
        Step::Called(called) => match &called.verdict {
            Verdict::Differs { place, taken: Some(Decision::Whole(taken)) } => Some((called.actions[*place].clone(), taken.clone())),
            Verdict::Same | Verdict::Unrecorded | Verdict::Differs { .. } | Verdict::Panicked(_) | Verdict::Skipped => None,
        },
        Step::Opened { .. } | Step::Ended(_) => None,
    });
    let (here, taken) = found.expect("the altered action is found");
    assert!(matches!(here, Action::AddAddress { .. }));
    assert!(matches!(*taken, Action::Report { report: Report::Settled, .. }));
    assert_eq!(differing(&steps).len(), 1);
}

#[test]
fn an_event_that_did_not_happen_is_found() {
    let altered = told_otherwise(|number, events, _| {
        if number == 30 {
            events.push(Event::Stopped);
        }
    });
    assert_eq!(differing(&verdicts([altered])).first(), Some(&30));
}

#[test]
fn a_segment_that_is_missing_is_a_gap_and_replay_goes_on_behind_it() {
    let mut files = life(20);
    assert!(files.len() > 3, "{}", files.len());
    files.remove(1);
    let steps = verdicts(files);
    assert_eq!(differing(&steps), Vec::<u64>::new());
    let gaps: Vec<u64> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Opened { continuity: Continuity::Gap { entries }, .. } => Some(*entries),
            Step::Opened { .. } | Step::Called(_) | Step::Ended(_) => None,
        })
        .collect();
    assert_eq!(gaps, [20]);
}

#[test]
fn a_call_whose_actions_are_not_recorded_any_more_is_no_difference() {
    let segment = Segment::parse(life(0).remove(0)).expect("it is whole");
    let Origin::Started { policy, start } = &segment.opening.origin else { panic!("it begins with a start") };
    let (mut pen, mut tape) = (Pen::default(), Tape::default());
    tape.open(&pen.opening_of_start(segment.opening.at, segment.opening.wall, policy, start));
    // The daemon is killed between an event and what it does.
    tape.write(&pen.happened(segment.opening.at, segment.opening.wall, &[]).expect("a call"));
    let steps = verdicts([tape.file()]);
    let verdict = steps.iter().find_map(|step| match step {
        Step::Called(called) => Some((called.verdict.clone(), called.actions.len())),
        Step::Opened { .. } | Step::Ended(_) => None,
    });
    let (verdict, actions) = verdict.expect("calls");
    assert_eq!(verdict, Verdict::Unrecorded);
    assert!(actions > 0, "the core says what it does when it starts");
}

#[test]
fn what_makes_the_core_panic_is_named() {
    let altered = told_otherwise(|number, events, _| {
        if number == 25 {
            let mut policy = pool(3).machines[&1].policy.clone();
            policy.host.id = crate::setup::host(9);
            let reload =
                raisd::node::event::Reload { policy, places: Vec::new(), links: Default::default(), changed_tests: Default::default() };
            events.push(Event::Reloaded(Box::new(reload)));
        }
    });
    let steps = verdicts([altered]);
    let panicked = steps.iter().any(|step| match step {
        Step::Called(called) => matches!(&called.verdict, Verdict::Panicked(why) if called.entry.number == 25 && why.contains("host's id")),
        Step::Opened { .. } | Step::Ended(_) => false,
    });
    assert!(panicked);
}

#[test]
fn the_clock_of_people_is_followed_when_it_is_set() {
    let mut pen = Pen::default();
    let world = pool(1);
    let policy = &world.machines[&1].policy;
    let start = raisd::node::Start {
        boot: raisd::types::host::BootId([1; 16]),
        incarnation: raisd::types::host::Incarnation(1),
        software: "0.1.0".to_owned(),
        stored: Vec::new(),
        kernel: Vec::new(),
    };
    let at = |seconds| Time::after_start(secs(seconds));
    let mut tape = Tape::default();
    tape.open(&pen.opening_of_start(at(0), Wall(0), policy, &start));
    // A board without a battery: its clock is set when the network is there.
    let set = 1_795_305_600_000_000;
    for (seconds, wall) in [(0, 0), (1, 1_000_000), (2, 2_000_010), (3, set), (4, set + 1_000_000)] {
        tape.write(&pen.happened(at(seconds), Wall(wall), &[]).expect("a call"));
    }
    let walls: Vec<i64> = Segment::parse(tape.file()).expect("a segment").entries().map(|entry| entry.wall.0).collect();
    assert_eq!(walls, [0, 1_000_000, 2_000_000, set, set + 1_000_000]);
}
