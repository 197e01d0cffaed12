//! `raisctl move`, `freeze` and `thaw`, typed at a host that does not lead.
//!
//! A move: the address is there, a client at 1,000 packets a second follows it, nobody has it twice, it stays there although its
//! own host is well, and `move` without a host sends it home. What the rules do not allow is refused, and nothing moves.
//! A freeze: nothing moves, also when the leader and the host that was asked are gone, until it ends or somebody thaws.
//! Twins: the target does not accept the address; it does; nobody has frozen.

use std::time::Duration;

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;
use raisd::demo::probes::Client;

use crate::judge::place::{LONG, has_not_moved, never_doubled, wait_at, wait_own};
use crate::judge::{now, within};
use crate::pool::{HostConfig, service};
use crate::scene::Scene;
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

/// Where commands are typed: it neither leads, nor has the address, nor gets it.
const ASKED: u8 = 3;

/// Whose address is moved.
const OWNER: u8 = 2;

const SPARE: u8 = 4;

const ALL: [u8; 4] = [1, OWNER, ASKED, SPARE];

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("an_operator_moves_an_address_and_sends_it_home", |stage| move_there(stage, Accepts::Anything)),
        stories.twin("an_operator_moves_an_address_and_sends_it_home", Finding::Unserved, |stage| move_there(stage, Accepts::Another)),
        stories.story("a_move_that_the_rules_do_not_allow_is_refused", |stage| refuse(stage, Accepts::Another)),
        stories.twin("a_move_that_the_rules_do_not_allow_is_refused", Finding::Moved, |stage| refuse(stage, Accepts::Anything)),
        stories.story("in_a_frozen_group_nothing_moves", |stage| freeze(stage, Frozen::Yes)),
        stories.twin("in_a_frozen_group_nothing_moves", Finding::Moved, |stage| freeze(stage, Frozen::No)),
        stories.story("a_freeze_ends_by_itself", |stage| freeze_for(stage, Frozen::Yes)),
        stories.twin("a_freeze_ends_by_itself", Finding::Moved, |stage| freeze_for(stage, Frozen::No)),
    ]
}

/// What the spare may be given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepts {
    Anything,
    Another,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Frozen {
    Yes,
    No,
}

/// Three hosts with their addresses, and a spare.
fn set(stage: &Stage, accepts: Accepts) -> Outcome<Scene> {
    let spare = match accepts {
        Accepts::Anything => HostConfig::spare(SPARE),
        Accepts::Another => HostConfig { group_keys: format!("accept = [\"{}\"]\n", service(1)), ..HostConfig::spare(SPARE) },
    };
    let mut scene = Scene::build(stage, [1, OWNER, ASKED].map(HostConfig::server).into_iter().chain([spare]))?;
    scene.pool.start_all()?;
    wait_own(&scene.kernel, &[1, OWNER, ASKED])?;
    scene.wait_ready(&ALL)?;
    Ok(scene)
}

fn move_there(stage: &Stage, accepts: Accepts) -> Outcome {
    let mut scene = set(stage, accepts)?;
    let (address, text) = (service(OWNER), service(OWNER).to_string());
    let (owner, spare) = (Plan(OWNER).name(), Plan(SPARE).name());
    let client = Client::start(scene.pool.topology().client(), address, Duration::from_millis(1))?;
    if client.wait_answer(now() - LONG, within(LONG), |by| by == owner)?.is_none() {
        return Err(Failure::broken(format!("{owner} does not answer at {address}")));
    }
    let begin = now();
    let output = scene.pool.raisctl(ASKED, &["move", &text, &spare])?;
    // At this moment, and not later: the command waits until it is there.
    let holders = scene.kernel.holders(address)?;
    if holders != [SPARE].into() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Verdict::new(Finding::Unserved, format!("{address} is on {holders:?}; raisctl says {said:?}")).into());
    }
    let follows = |name: &str| match client.wait_answer(now(), within(LONG), |by| by == name)? {
        Some(_) => Ok(()),
        None => Err(Failure::from(Verdict::new(Finding::StaleNeighbour, format!("the client does not follow {address} to {name}")))),
    };
    follows(&spare)?;
    scene.stays_still(&ALL)?;
    scene.raisctl(ASKED, &["move", &text])?;
    wait_at(&scene.kernel, address, &[OWNER], within(LONG))?;
    follows(&owner)?;
    scene.stays_still(&ALL)?;
    never_doubled(&scene.kernel, [address], begin, &ALL)?;
    scene.pool.check()
}

fn refuse(stage: &Stage, accepts: Accepts) -> Outcome {
    let mut scene = set(stage, accepts)?;
    let text = service(OWNER).to_string();
    let since = now();
    let refused = scene.pool.raisctl(ASKED, &["move", &text, &Plan(SPARE).name()])?;
    has_not_moved(&scene.kernel, since, |_| true)?;
    let said = String::from_utf8_lossy(&refused.stderr);
    if refused.status.code() != Some(1) || !said.contains("the accept list of web4 (10.0.0.14) does not hold 192.0.2.12") {
        return Err(Verdict::new(Finding::Misreported, format!("{refused:?}")).into());
    }
    scene.refused(ASKED, &["move", "203.0.113.9"], "203.0.113.9 is not known")?;
    scene.refused(ASKED, &["move", &text, "web9"], "no host \"web9\"")?;
    scene.raisctl(1, &["quiesce"])?;
    scene.refused(ASKED, &["move", &text, "10.0.0.11"], "web1 (10.0.0.11) is quiesced; `raisctl resume` there ends it")?;
    scene.raisctl(OWNER, &["freeze", "--for", "10m"])?;
    scene.refused(ASKED, &["move", &text, &Plan(ASKED).name()], "the group is frozen; `raisctl thaw` ends it")?;
    scene.refused(ASKED, &["rebalance"], "the group is frozen; `raisctl thaw` ends it")?;
    scene.stays_still(&ALL)?;
    has_not_moved(&scene.kernel, since, |_| true)?;
    scene.pool.check()
}

fn freeze(stage: &Stage, frozen: Frozen) -> Outcome {
    let mut scene = set(stage, Accepts::Anything)?;
    if frozen == Frozen::Yes {
        scene.raisctl(ASKED, &["freeze", "--for", "10m", "--reason", "work on the switch"])?;
    }
    let since = now();
    // A host, the leader, and the host that was asked: all that is left has only heard of it.
    for (gone, left) in [(OWNER, [1, ASKED, SPARE].as_slice()), (1, &[ASKED, SPARE]), (ASKED, &[SPARE])] {
        scene.pool.power_off(gone)?;
        scene.stays_still(left)?;
        has_not_moved(&scene.kernel, since, |_| true)?;
    }
    scene.raisctl(SPARE, &["thaw"])?;
    scene.wait_served(&[1, OWNER, ASKED].map(service), &[SPARE])?;
    scene.pool.check()
}

fn freeze_for(stage: &Stage, frozen: Frozen) -> Outcome {
    const LASTS: Duration = Duration::from_secs(3);
    let mut scene = set(stage, Accepts::Anything)?;
    let begin = now();
    if frozen == Frozen::Yes {
        scene.raisctl(ASKED, &["freeze", "--for", "3s"])?;
    }
    scene.pool.power_off(OWNER)?;
    scene.wait_served(&[service(OWNER)], &[SPARE])?;
    let is_early = |change: &crate::judge::kernel::Change| change.host == SPARE && change.at < begin + LASTS;
    has_not_moved(&scene.kernel, begin, is_early)?;
    scene.pool.check()
}
