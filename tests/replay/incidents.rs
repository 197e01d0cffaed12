//! The incidents in `tests/replay/`: each must be decided today as it was when it was recorded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use raisd::recording::merge::Merge;
use raisd::recording::replay::{Continuity, Recording, Step};
use raisd::recording::segment::Segment;

use crate::machine::Number;
use crate::setup::{address, ms, policy, pool, secs, with_scripts};
use crate::tape::{Deck, retold};
use crate::world::World;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay")
}

/// A host dies with its address; its place is taken, and it comes back.
fn failover() -> Deck {
    let mut world = pool(11);
    let deck = Deck::record(&mut world, 0);
    world.boot_all();
    world.run_for(secs(5));
    world.power_off(2);
    world.run_until("another host serves", secs(5), |world| !world.holders(address(2)).is_empty());
    world.run_for(ms(800));
    world.boot(2);
    world.run_until("it is at home", secs(10), |world| world.holders(address(2)) == [2]);
    deck
}

/// Two halves that do not hear each other serve everything twice; together again they settle it.
fn partition() -> Deck {
    let mut world = pool(12);
    let deck = Deck::record(&mut world, 0);
    world.boot_all();
    world.run_for(secs(5));
    for (one, other) in [(1, 3), (1, 4), (2, 3), (2, 4)] {
        for network in 0..2 {
            world.cut(one, other, network);
        }
    }
    world.run_until("both halves serve", secs(6), |world| world.holders(address(1)).len() == 2 && world.holders(address(3)).len() == 2);
    world.cuts.clear();
    world.run_until("it is settled", secs(6), |world| (1..=3).all(|number| world.holders(address(number)).len() == 1));
    deck
}

/// An operator drains a host whose scripts take their time, and resumes it.
fn drain() -> Deck {
    use raisd::node::event::Request;
    let mut world =
        World::new(13, [with_scripts(policy(1, &[address(1)])), with_scripts(policy(2, &[address(2)])), with_scripts(policy(3, &[]))]);
    let deck = Deck::record(&mut world, 0);
    world.boot_all();
    world.run_for(secs(5));
    world.ask(1, Request::Drain { group: None, timeout: secs(5), reason: "new kernel".to_owned() });
    world.run_until("it is drained", secs(6), |world| !world.holders(address(1)).contains(&1) && !world.holders(address(1)).is_empty());
    world.run_for(ms(500));
    world.ask(1, Request::Resume { group: None });
    world.run_until("it is at home", secs(10), |world| world.holders(address(1)) == [1]);
    deck
}

/// A host without power for its whole network: it hears nobody and comes back to what others have taken.
fn isolation_and_restart() -> Deck {
    let mut world = pool(14);
    let deck = Deck::record(&mut world, 0);
    world.boot_all();
    world.run_for(secs(5));
    world.isolate(1);
    world.run_for(secs(2));
    world.kill(1);
    world.cuts.clear();
    world.boot(1);
    world.run_until("it is settled", secs(10), |world| (1..=3).all(|number| world.holders(address(number)).len() == 1));
    deck
}

/// An incident of this file, by its name.
type Made = (&'static str, fn() -> Deck);

fn made() -> [Made; 4] {
    [("failover", failover), ("partition", partition), ("drain", drain), ("isolation_and_restart", isolation_and_restart)]
}

/// What `UPDATE=1` asks for: the incidents above, anew, and today's decisions for what came from the field.
fn rewrite() {
    let made = made();
    for incident in incidents().into_iter().filter(|path| !made.iter().any(|(name, _)| path.ends_with(name))) {
        for file in files_of(&incident) {
            // What begins with a whole node would need today's node as well: it is as it was, or is not to be kept.
            if let Some(bytes) = retold(fs::read(&file).expect("a file"), |_, _, _| {}) {
                fs::write(&file, bytes).expect("a file is written");
            }
        }
    }
    for (name, make) in made {
        let incident = directory().join(name);
        if incident.exists() {
            fs::remove_dir_all(&incident).expect("the old incident is removed");
        }
        let files: BTreeMap<Number, Vec<Vec<u8>>> = make().files();
        for (machine, segments) in files {
            let host = incident.join(format!("web{machine}"));
            fs::create_dir_all(&host).expect("a directory is made");
            for (number, bytes) in segments.into_iter().enumerate() {
                fs::write(host.join(format!("{:012}.rec", number + 1)), bytes).expect("a file is written");
            }
        }
    }
}

/// All of them, in the order of their names.
fn incidents() -> Vec<PathBuf> {
    let entries = fs::read_dir(directory()).expect("tests/replay").map(|entry| entry.expect("an entry").path());
    let mut incidents: Vec<PathBuf> =
        entries.filter(|path| path.is_dir() || path.extension().is_some_and(|suffix| suffix == "rec")).collect();
    incidents.sort();
    incidents
}

fn files_of(incident: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if incident.is_dir() {
        files_below(incident, &mut files);
    } else {
        files.push(incident.to_owned());
    }
    files
}

fn files_below(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|suffix| suffix == "rec") {
            found.push(path);
        }
    }
}

const REMEDY: &str = "If that is meant: `UPDATE=1 cargo test --test replay` records anew what tests/replay/incidents.rs makes; \
    what happened in the field is renewed as CONTRIBUTING.md says. If it is not: this is what the change does to a pool.";

#[test]
fn every_incident_is_decided_as_it_was() {
    if std::env::var_os("UPDATE").is_some() {
        rewrite();
    }
    let incidents = incidents();
    assert!(incidents.len() >= made().len(), "{incidents:?}");
    for incident in incidents {
        let files = files_of(&incident);
        let segment = |file: &PathBuf| {
            Segment::parse(fs::read(file).expect("a file")).unwrap_or_else(|error| panic!("{}: {error}\n{REMEDY}", file.display()))
        };
        let recordings = Recording::gather(files.iter().map(segment));
        let mut calls = 0;
        for told in Merge::new(&recordings) {
            let name = &recordings[told.host].name;
            let place = || format!("{}, {name}", incident.display());
            assert!(!told.unfounded, "{}", place());
            match told.step {
                Step::Called(called) => {
                    let entry = &called.entry;
                    assert!(
                        called.verdict.agrees(),
                        "{}, call {}: {:?}\nis answered with {:#?}\n{:?}\n{REMEDY}",
                        place(),
                        entry.number,
                        entry.events,
                        called.actions,
                        called.verdict
                    );
                    calls += 1;
                }
                Step::Opened { continuity, .. } => assert_ne!(continuity, Continuity::Differs, "{}", place()),
                Step::Ended(_) => {}
            }
        }
        assert!(calls > 0, "{}: nothing is recorded", incident.display());
    }
}
