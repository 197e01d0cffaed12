//! Random misfortune, then peace: whatever has happened, the pool comes to rest with everything at home.
//!
//! `POOL_SEEDS=from..to` runs other seeds than the usual ones.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use raisd::node::event::{Event, Mark, Request, TestResult};
use raisd::types::item::Item;

use crate::machine::{Disk, KernelMood, ScriptMood};
use crate::setup::{address, ms, policy, secs, with_scripts, with_test};
use crate::world::World;

const HOSTS: u16 = 5;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("POOL_SEEDS") else { return 0..60 };
    let (from, to) = text.split_once("..").expect("from..to");
    from.parse().expect("a number")..to.parse().expect("a number")
}

fn passed() -> Event {
    Event::Tested { test: "web".to_owned(), result: TestResult::Passed }
}

fn failed() -> Event {
    Event::Tested { test: "web".to_owned(), result: TestResult::Failed { why: "refused".to_owned() } }
}

fn boot(world: &mut World, number: u16) {
    if world.machines[&number].node.is_none() {
        // What stands there by hand at start is left alone, and served beside its holder.
        world.machine(number).interface.retain(|_, mark| *mark == Mark::Ours);
        world.boot(number);
        world.tell(number, passed());
    }
}

fn misfortune(world: &mut World) {
    let number = u16::try_from(world.draw() % u64::from(HOSTS)).expect("small") + 1;
    let other = u16::try_from(world.draw() % u64::from(HOSTS)).expect("small") + 1;
    let network = u8::try_from(world.draw() % 2).expect("small");
    match world.draw() % 28 {
        0 | 1 => world.power_off(number),
        2 => world.kill(number),
        3..=6 => boot(world, number),
        7 => {
            world.power_off(number);
            world.machine(number).disk = Disk::default();
        }
        8 => world.tell(number, Event::Stopped),
        9 => {
            world.ask(number, Request::Quiesce { group: None, reason: String::new() });
        }
        10 => {
            world.ask(number, Request::Drain { group: None, timeout: secs(5), reason: String::new() });
        }
        11 => {
            world.ask(number, Request::Resume { group: None });
        }
        12 => world.tell(number, failed()),
        13 => world.tell(number, passed()),
        14 if number != other => world.cut(number, other, network),
        15 => world.isolate(number),
        16 => world.cuts.clear(),
        17 => world.loss = world.draw() % 500,
        18 if world.machines[&number].node.is_some() => world.add_by_hand(number, address(other)),
        19 if world.holders(address(other)).contains(&number) => world.remove_by_hand(number, address(other)),
        20 => {
            let moods = [KernelMood::Works, KernelMood::RefusesToAdd, KernelMood::RefusesToRemove];
            world.machine(number).kernel = moods[usize::from(other) % 3];
        }
        21 => {
            let moods = [ScriptMood::Takes(ms(700)), ScriptMood::Fails, ScriptMood::Hangs, ScriptMood::Takes(ms(3))];
            let mood = moods[usize::from(other) % 4];
            let machine = world.machine(number);
            if network == 0 { machine.acquire_script = mood } else { machine.release_script = mood }
        }
        22 => world.freeze(number, ms(100 * u64::from(other) * u64::from(other))),
        23 => {
            let to = Some(format!("web{}", other % 3 + 1));
            world.ask(number, Request::Move { group: None, item: Item::Address(address(other)), to, timeout: secs(5) });
        }
        24 => {
            world.ask(number, Request::Freeze { group: None, duration: secs(u64::from(other)) });
        }
        25 => {
            world.ask(number, Request::Thaw { group: None });
        }
        26 => {
            world.ask(number, Request::Rebalance { group: None });
        }
        _ => {}
    }
}

fn peace(world: &mut World) {
    world.say("peace");
    world.cuts.clear();
    world.loss = 0;
    for number in 1..=HOSTS {
        let machine = world.machine(number);
        machine.kernel = KernelMood::Works;
        machine.acquire_script = ScriptMood::Takes(ms(3));
        machine.release_script = ScriptMood::Takes(ms(3));
    }
    // The longest that a script started before may still take.
    world.run_for(secs(35));
    for number in 1..=HOSTS {
        boot(world, number);
        world.tell(number, passed());
        world.ask(number, Request::Resume { group: None });
    }
}

/// What was moved stays until it is sent home; a host that has just started, or is in back-off, is refused.
fn send_home(world: &mut World) {
    for number in 1..HOSTS {
        world.ask(number, Request::Move { group: None, item: Item::Address(address(number)), to: None, timeout: secs(5) });
    }
}

#[test]
fn after_random_misfortune_everything_comes_home_and_to_rest() {
    for seed in seeds() {
        let own = |number: u16| if number == HOSTS { vec![] } else { vec![address(number)] };
        let policies = (1..=HOSTS).map(|number| with_test(policy(number, &own(number))));
        let policies = policies.map(|policy| if seed % 2 == 0 { with_scripts(policy) } else { policy });
        let mut world = World::new(seed, policies);
        for number in 1..=HOSTS {
            boot(&mut world, number);
        }
        world.run_for(secs(3));
        for _ in 0..40 {
            misfortune(&mut world);
            let pause = world.draw() % 1500;
            world.run_for(Duration::from_millis(pause));
        }
        peace(&mut world);
        let home: Vec<(IpAddr, u16)> = (1..HOSTS).map(|number| (address(number), number)).collect();
        // An acquire that was not answered keeps the leader from asking that host again for up to five minutes.
        for _ in 0..14 {
            world.run_for(secs(3));
            send_home(&mut world);
            world.run_for(secs(3));
            if world.is_served(&home) {
                break;
            }
            world.run_for(secs(25));
        }
        world.run_until("home", secs(1), |world| world.is_served(&home));
        world.run_for(secs(10));
        world.assert_served(&home);
        world.assert_rest(20);
    }
}
