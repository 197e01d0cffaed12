//! Model checking: every run of three real nodes with two addresses in which at most so many things go wrong within so many steps.
//!
//! The state is the nodes themselves, as they ship, with their kernels, disks and the datagrams under way; a step delivers the
//! oldest datagram or lets time pass to the next deadline, or something goes wrong: a datagram is lost, comes twice, is
//! overtaken or comes a heartbeat late, a host loses power, comes back with or without its disk, a kernel refuses an address.
//! From each of seven beginnings (`model/scenes.rs`) all choices are tried; `model/checks.rs` says what must hold in every state, and
//! what must come about from every leaf. Each line printed: depth, faults, states, leaves, the longest way to rest, seconds.
//! For each of the twins (`model/broken.rs`) something has to be found.
//!
//! `MODEL_DEPTH`, `MODEL_FAULTS` and `MODEL_CRASHES` go further than the gate does: `MODEL_DEPTH=40 MODEL_FAULTS=3 cargo test --test model -- Settled`.
//! What the model leaves out stands in `docs/architecture.md`, "Model checking".

#![expect(clippy::expect_used, reason = "a search that cannot go on ends with what it expected")]
#![expect(clippy::wildcard_enum_match_arm, reason = "the twins and the judge look at a few of the words only")]

#[path = "model/broken.rs"]
mod broken;
#[path = "model/checks.rs"]
mod checks;
#[path = "model/explore.rs"]
mod explore;
#[path = "model/pool.rs"]
mod pool;
#[path = "model/scenes.rs"]
mod scenes;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::broken::Broken;
use crate::explore::{Explored, Limits, explore, retell};
use crate::scenes::Scene;

/// From every leaf all is served within so many heartbeats.
const SERVE_HEARTBEATS: u32 = 20;

/// Each twin with the scene in which it has to be found.
const TWINS: [(Broken, Scene); 9] = [
    (Broken::AnnouncesTooEarly, Scene::HolderLost),
    (Broken::CommandsUnsaid, Scene::Returns),
    (Broken::ReleasesUndone, Scene::Returns),
    (Broken::ReleasesUnsaid, Scene::Healed),
    (Broken::EpochsSpent, Scene::Returns),
    (Broken::RelayedYounger, Scene::HolderLost),
    (Broken::RefusalsUnnoticed, Scene::HolderLost),
    (Broken::LeftoversStay, Scene::Settled),
    (Broken::TombstonesUnsaid, Scene::Expired),
];

fn number<N: std::str::FromStr>(variable: &str, usual: N) -> N {
    let Some(text) = std::env::var_os(variable) else { return usual };
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.unwrap_or_else(|| panic!("{variable} is {}, which is no number that fits", text.display()))
}

fn main() {
    let limits = Limits { depth: number("MODEL_DEPTH", 12), faults: number("MODEL_FAULTS", 2), crashes: number("MODEL_CRASHES", 2) };
    let scenes = Scene::ALL.map(|scene| Trial::test(format!("{scene:?}"), move || check(scene, limits)));
    let twins = TWINS.map(|(broken, scene)| Trial::test(format!("twin {broken:?}"), move || find(broken, scene)));
    let mut arguments = Arguments::from_args();
    // The search itself uses all processors.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, scenes.into_iter().chain(twins).collect()).exit();
}

fn tell(what: &str, limits: Limits, explored: Explored) {
    let Explored { states, leaves, depth, heartbeats, took } = explored;
    println!(
        "    {what}: depth {depth}, {} faults, {states} states, {leaves} leaves, at rest within {heartbeats} heartbeats, {:.1} s",
        limits.faults,
        took.as_secs_f64()
    );
}

/// Nothing is wrong in any state.
fn check(scene: Scene, limits: Limits) -> Result<(), Failed> {
    let bounds = scene.bounds();
    match explore(scene.begin(Broken::Nothing), limits, &bounds) {
        Ok(explored) => {
            tell(&format!("{scene:?}"), limits, explored);
            Ok(())
        }
        Err((explored, counterexample)) => {
            tell(&format!("{scene:?}"), limits, explored);
            Err(retell(scene.begin(Broken::Nothing), &counterexample, &bounds).into())
        }
    }
}

/// Something is wrong with the twin.
fn find(broken: Broken, scene: Scene) -> Result<(), Failed> {
    let limits = Limits { depth: 12, faults: 1, crashes: 1 };
    match explore(scene.begin(broken), limits, &scene.bounds()) {
        Ok(explored) => Err(format!("nothing was found in {} states", explored.states).into()),
        Err((explored, counterexample)) => {
            tell(&format!("{broken:?} is found ({})", counterexample.wrong), limits, explored);
            Ok(())
        }
    }
}
