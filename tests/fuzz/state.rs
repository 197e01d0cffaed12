//! What stands in the state directory after a crash, a full disk, or somebody's editor.

use std::fs;
use std::time::Duration;

use raisd::process::state::StateDir;
use raisd::types::host::Incarnation;

use crate::machine::Number;
use crate::setup::{self, TIMEOUT, address, policy, secs};
use crate::world::World;

const ONE: Number = 1;

/// The first byte says which file, the rest is what stands in it: the start count, or what the group keeps. A daemon loads it,
/// starts with it, runs, and stores what it can load again.
pub(crate) fn file(bytes: &[u8]) {
    let Some((which, content)) = bytes.split_first() else { return };
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::open(directory.path()).unwrap();
    let path = if which % 4 == 0 { directory.path().join("host.json") } else { directory.path().join("groups/www.json") };
    fs::write(&path, content).unwrap();

    let incarnation = state.next_incarnation();
    check(&incarnation.notes.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert!(incarnation.state > Incarnation(0));
    let group = state.load_group("www");
    check(&group.notes.iter().map(ToString::to_string).collect::<Vec<_>>());
    state.store_group("www", group.state.clone()).unwrap();
    let again = state.load_group("www");
    assert!(again.notes.is_empty(), "what was stored cannot be loaded: {:?}", again.notes);
    assert_eq!(again.state.addresses.len(), group.state.addresses.len());

    let mut world = World::new(5, [setup::with_scripts(policy(ONE, &[address(1)])), policy(2, &[])]);
    let machine = world.machine(ONE);
    machine.disk.incarnation = Incarnation(incarnation.state.0.saturating_sub(1));
    let now = raisd::types::time::Time::START;
    machine.disk.groups.insert("www".to_owned(), (now, group.state));
    world.boot_all();
    world.run_for(TIMEOUT * 4 + Duration::from_millis(7));
    // Whatever the disk said, what the configuration prefers is served once everybody has listened.
    world.run_for(secs(2));
}

fn check(notes: &[String]) {
    for note in notes {
        assert!(note.len() < 4096 && !note.chars().any(|letter| letter.is_control() && letter != '\n'), "{note:?}");
    }
}

/// A pool's files, as its daemons would write them.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut world = World::new(6, [policy(1, &[address(1)]), policy(2, &[address(2)]), policy(3, &[])]);
    world.boot_all();
    world.run_for(secs(70));
    world.power_off(2);
    world.run_for(secs(70));
    let mut seeds =
        vec![b"\x00{\"version\":1,\"incarnation\":7}\n".to_vec(), b"\x00{\"version\":2,\"later\":true}".to_vec(), b"\x01".to_vec()];
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::open(directory.path()).unwrap();
    for machine in world.machines.values() {
        for (_, stored) in machine.disk.groups.values() {
            state.store_group("www", stored.clone()).unwrap();
            let content = fs::read(directory.path().join("groups/www.json")).unwrap();
            seeds.push([&[1][..], &content[..content.len() / 2]].concat());
            seeds.push([&[1][..], &content].concat());
        }
    }
    seeds
}
