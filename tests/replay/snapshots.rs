//! A node that was written down and read again answers everything that follows as the one that went on.

use raisd::node::action::Action;
use raisd::node::event::{Event, Request, TestResult};
use raisd::recording::replay::{Continuity, Recording, Step, Verdict};

use crate::machine::{KernelMood, Number, ScriptMood};
use crate::setup::{address, ms, policy, secs, with_scripts, with_test};
use crate::tape::Deck;
use crate::world::World;

const HOSTS: Number = 4;

/// What a replay of all recordings came to.
#[derive(Debug, Default)]
pub(crate) struct Score {
    pub(crate) calls: u64,
    pub(crate) exact: u64,
    pub(crate) acquired: u64,
}

/// Replays, and panics at the first thing that is not as it was.
pub(crate) fn judge(recordings: &[Recording]) -> Score {
    let mut score = Score::default();
    for recording in recordings {
        for step in recording.replay() {
            match step {
                Step::Called(called) => {
                    assert_eq!(
                        called.verdict,
                        Verdict::Same,
                        "{} at call {}: {:?}",
                        recording.name,
                        called.entry.number,
                        called.entry.events
                    );
                    score.calls += 1;
                    score.acquired += u64::from(called.actions.iter().any(|action| matches!(action, Action::AddAddress { .. })));
                }
                Step::Opened { continuity: Continuity::Exact, .. } => score.exact += 1,
                Step::Opened { continuity: Continuity::None, .. } | Step::Ended(None) => {}
                Step::Opened { continuity, .. } => panic!("{}: {continuity:?}", recording.name),
                Step::Ended(Some(cut)) => panic!("{}: {cut:?}", recording.name),
            }
        }
    }
    score
}

fn misfortune(world: &mut World) {
    let number = Number::try_from(world.draw() % u64::from(HOSTS)).expect("small") + 1;
    let other = number % HOSTS + 1;
    let runs = world.machines[&number].node.is_some();
    match world.draw() % 16 {
        0 => world.kill(number),
        1 => world.power_off(number),
        2..=4 if !runs => world.boot(number),
        5 => world.tell(number, Event::Stopped),
        6 => {
            world.ask(number, Request::Drain { group: None, timeout: secs(3), reason: "kernel".to_owned() });
        }
        7 => {
            world.ask(number, Request::Resume { group: None });
        }
        8 => {
            world.ask(number, Request::Status);
            world.ask(number, Request::Explain { group: None, subject: address(1).to_string() });
        }
        9 => world.tell(number, Event::Tested { test: "web".to_owned(), result: TestResult::Failed { why: "refused".to_owned() } }),
        10 => world.tell(number, Event::Tested { test: "web".to_owned(), result: TestResult::Passed }),
        11 => world.isolate(number),
        12 => world.cut(number, other, 0),
        13 => world.cuts.clear(),
        14 => {
            world.ask(number, Request::Freeze { group: None, duration: secs(4) });
        }
        _ => {
            let moods = [ScriptMood::Takes(ms(700)), ScriptMood::Fails, ScriptMood::Hangs, ScriptMood::Takes(ms(3))];
            let drawn = usize::try_from(world.draw() % 4).expect("small");
            let machine = world.machine(number);
            machine.acquire_script = moods[drawn];
            machine.kernel = if drawn == 1 { KernelMood::RefusesToAdd } else { KernelMood::Works };
        }
    }
}

/// Random misfortune, recorded in segments of so many calls.
fn random(seed: u64, calls_max: u64) -> Deck {
    let policies = (1..=HOSTS).map(|number| {
        let preferred: &[_] = if number < HOSTS { &[address(number)] } else { &[] };
        with_test(with_scripts(policy(number, preferred)))
    });
    let mut world = World::new(seed, policies);
    world.loss = 20;
    let deck = Deck::record(&mut world, calls_max);
    world.boot_all();
    for number in 1..=HOSTS {
        world.tell(number, Event::Tested { test: "web".to_owned(), result: TestResult::Passed });
    }
    world.run_for(secs(4));
    for _ in 0..12 {
        misfortune(&mut world);
        let pause = ms(world.draw() % 2500);
        world.run_for(pause);
    }
    deck
}

#[test]
fn a_replay_says_what_was_said_whatever_happened() {
    let mut all = Score::default();
    for seed in 0..4 {
        let score = judge(&random(seed, 0).recordings());
        (all.calls, all.acquired) = (all.calls + score.calls, all.acquired + score.acquired);
    }
    assert!(all.calls > 4_000 && all.acquired > 20, "{all:?}");
}

#[test]
fn a_node_goes_on_from_a_snapshot_as_if_it_had_never_been_one() {
    let mut exact = 0;
    for (seed, calls_max) in [(100, 1), (101, 7), (102, 200)] {
        exact += judge(&random(seed, calls_max).recordings()).exact;
    }
    assert!(exact > 1_000, "{exact} snapshots");
}

#[test]
fn a_recording_that_has_forgotten_its_beginning_is_replayed_from_where_it_is_left() {
    let deck = random(105, 50);
    for (_, files) in deck.files() {
        let kept = files.into_iter().rev().take(3).map(|bytes| raisd::recording::segment::Segment::parse(bytes).expect("a segment"));
        assert!(judge(&Recording::gather(kept)).calls > 50);
    }
}
