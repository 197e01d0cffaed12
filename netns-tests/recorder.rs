//! The flight recorder of real daemons: what it kept is replayed bit for bit, explains the past, and becomes one story.
//!
//! The judges are the exit code of `raisd replay`, the kernels' own record of who had which address, and the numbers that
//! the recordings hold. Twins: an action, an event or a byte is altered; the question is about another time; the hosts are
//! told one after the other.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Instant, SystemTime};

use libtest_mimic::Trial;
use raisd::demo::lab;
use raisd::demo::plan::Plan;
use raisd::node::action::Action;
use raisd::node::event::{Event, Outcome as Ended};
use raisd::recording::Origin;
use raisd::recording::frame::{frame_of_opening, prefix};
use raisd::recording::packing::Packer;
use raisd::recording::pen::Pen;
use raisd::recording::replay::{Recording, Step};
use raisd::recording::segment::Segment;

use crate::judge::kernel::Kernel;
use crate::judge::place::{LONG, wait_at, wait_own};
use crate::judge::{now, poll_until, within};
use crate::pool::{HostConfig, Pool, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const RAISD: &str = env!("CARGO_BIN_EXE_raisd");

/// The host whose power fails, and one whose daemon is killed.
const VICTIM: u8 = 3;
const KILLED: u8 = 2;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("recordings_replay_as_it_was", |stage| replay(stage, Alteration::None)),
        stories.twin("recordings_replay_as_it_was", Finding::Misreported, |stage| replay(stage, Alteration::Action)),
        stories.twin("recordings_replay_as_it_was_event", Finding::Misreported, |stage| replay(stage, Alteration::Event)),
        stories.twin("recordings_replay_as_it_was_byte", Finding::Misreported, |stage| replay(stage, Alteration::Byte)),
        stories.story("explain_at_says_who_served_then", |stage| explain_at(stage, Asked::Then)),
        stories.twin("explain_at_says_who_served_then", Finding::Misreported, |stage| explain_at(stage, Asked::Later)),
        stories.story("recordings_of_a_pool_are_one_story", |stage| merge(stage, Told::Together)),
        stories.twin("recordings_of_a_pool_are_one_story", Finding::Misreported, |stage| merge(stage, Told::OneByOne)),
        stories.story("a_recorder_without_a_disk_disturbs_nobody", without_disk),
    ]
}

/// What is done to a recording before it is replayed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alteration {
    None,
    /// The host that took the address over is said not to have.
    Action,
    /// The kernel is said to have refused it.
    Event,
    /// Sixteen bytes, as a disk loses them.
    Byte,
}

fn recordings(pool: &Pool, host: u8) -> PathBuf {
    pool.directory(host).join("state/recorder")
}

fn raisd_replay(pool: &Pool, arguments: &[&Path]) -> Outcome<(Output, String)> {
    let output = lab::command(RAISD).arg("replay").args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    pool.keep("replay.txt", &text)?;
    Ok((output, text))
}

/// Each host has its address; one host's power fails; another's daemon is killed and comes back.
fn live(pool: &mut Pool, kernel: &Kernel) -> Outcome<u8> {
    pool.start_all()?;
    wait_own(kernel, &[1, 2, 3])?;
    pool.power_off(VICTIM)?;
    let heir = wait_heir(kernel, service(VICTIM), VICTIM)?;
    pool.kill(KILLED)?;
    pool.start(KILLED)?;
    // Its start takes leftovers off, and then it gets its own back.
    wait_at(kernel, service(KILLED), &[KILLED], within(LONG))?;
    Ok(heir)
}

/// Who has an address that another host had.
fn wait_heir(kernel: &Kernel, address: IpAddr, had: u8) -> Outcome<u8> {
    let heir = poll_until(within(LONG), || Ok(kernel.holders(address)?.into_iter().find(|host| *host != had)))?;
    heir.ok_or_else(|| Verdict::new(Finding::Unserved, format!("{address} after its host vanished")).into())
}

fn replay(stage: &Stage, alteration: Alteration) -> Outcome {
    let mut pool = Pool::build(stage, [1, 2, 3].map(HostConfig::server).into_iter().chain([HostConfig::spare(4)]))?;
    let kernel = Kernel::record(pool.topology())?;
    let heir = live(&mut pool, &kernel)?;
    pool.check()?;
    alter(&recordings(&pool, heir), service(VICTIM), alteration)?;
    for host in [1, KILLED, VICTIM, 4] {
        let (output, text) = raisd_replay(&pool, &[&recordings(&pool, host)])?;
        let last = text.lines().last().unwrap_or_default().to_owned();
        if output.status.code() != Some(0) {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.code() == Some(1) && !last.contains("differ, first") {
                return Err(Failure::broken(format!("nothing is named: {last} {error}")));
            }
            return Err(Verdict::new(Finding::Misreported, format!("host {host}: {}: {last} {error}", output.status)).into());
        }
        // The kernel's word against the recording's.
        let wanted = format!("put {}/32 on", service(VICTIM));
        if (host == heir || host == VICTIM) != text.contains(&wanted) {
            return Err(Verdict::new(Finding::Misreported, format!("host {host}, heir {heir}: {wanted:?}")).into());
        }
    }
    pool.check()
}

/// Writes the recording of a host anew with something else in it; only a byte is altered behind the checksum's back.
fn alter(directory: &Path, address: IpAddr, alteration: Alteration) -> Outcome {
    let path = directory.join("000000000001.rec");
    let bytes = fs::read(&path)?;
    let altered = match alteration {
        Alteration::None => return Ok(()),
        Alteration::Byte => {
            let mut altered = bytes;
            let middle = altered.len() / 2;
            altered.iter_mut().skip(middle).take(16).for_each(|byte| *byte ^= 0xff);
            altered
        }
        Alteration::Action | Alteration::Event => retold(&bytes, address, alteration)?,
    };
    Ok(fs::write(&path, altered)?)
}

fn retold(bytes: &[u8], address: IpAddr, alteration: Alteration) -> Outcome<Vec<u8>> {
    let segment = Segment::parse(bytes)?;
    let Origin::Started { policy, start } = &segment.opening.origin else { return Err(Failure::broken("it begins with no start")) };
    let mut pen = Pen::default();
    let opening = pen.opening_of_start(segment.opening.at, segment.opening.wall, policy, start);
    let mut retold = prefix(env!("CARGO_PKG_VERSION"));
    let mut packer = Packer::default();
    retold.extend(packer.pack(&frame_of_opening(&opening)?)?);
    let mut operation = None;
    for step in Recording::gather([segment]).iter().flat_map(Recording::replay) {
        let Step::Called(called) = step else { continue };
        let (mut events, mut actions) = (called.entry.events, called.actions);
        let is_taken = |action: &Action| {
            if let Action::AddAddress { op, address: added, .. } = action { (added.address == address).then_some(*op) } else { None }
        };
        if let Some((place, op)) = actions.iter().enumerate().find_map(|(place, action)| Some((place, is_taken(action)?))) {
            operation = Some(op);
            if alteration == Alteration::Action {
                actions.remove(place);
            }
        }
        for event in &mut events {
            if let Event::Finished { op, outcome } = event
                && alteration == Alteration::Event
                && operation == Some(*op)
            {
                *outcome = Ended::Failed { why: "it was not so".to_owned() };
            }
        }
        let frames = [pen.happened(called.entry.at, called.entry.wall, &events)?, pen.decided(&actions)?, pen.sent(&called.entry.sent)?];
        retold.extend(packer.pack(&frames.concat())?);
    }
    Ok(retold)
}

/// About which time a question is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Then,
    /// As if it had been after the failover.
    Later,
}

#[expect(clippy::disallowed_methods, reason = "an operator reads the time off the wall")]
fn wall() -> String {
    humantime(SystemTime::now())
}

/// RFC 3339, to the millisecond.
fn humantime(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

fn served_by(pool: &Pool, asked: u8, arguments: &[&str]) -> Outcome<Vec<String>> {
    let told = pool.raisctl_json(asked, arguments)?;
    let served = told["groups"][0]["address"]["served_by"].as_array().cloned().unwrap_or_default();
    Ok(served.iter().filter_map(|host| host["name"].as_str().map(ToOwned::to_owned)).collect())
}

/// Waits until a host says that an address is served by this one alone; the times of both clocks then.
fn wait_known(pool: &Pool, asked: u8, address: IpAddr, holder: u8) -> Outcome<(String, Instant)> {
    let subject = address.to_string();
    let known = poll_until(within(LONG), || Ok((served_by(pool, asked, &["explain", &subject])? == [Plan(holder).name()]).then_some(())))?;
    known.ok_or_else(|| Failure::broken(format!("host {asked} does not learn that {address} is on host {holder}")))?;
    Ok((wall(), now()))
}

fn explain_at(stage: &Stage, asked: Asked) -> Outcome {
    const WITNESS: u8 = 1;
    let mut pool = Pool::build(stage, [1, 2, 3].map(HostConfig::server).into_iter().chain([HostConfig::spare(4)]))?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &[1, 2, 3])?;
    let address = service(VICTIM);
    let before = wait_known(&pool, WITNESS, address, VICTIM)?;
    // What its kernel has from here on, nobody reaches.
    let gone = now();
    pool.power_off(VICTIM)?;
    let heir = wait_heir(&kernel, address, VICTIM)?;
    let after = wait_known(&pool, WITNESS, address, heir)?;
    // Nobody needs the daemon for it: at three in the morning it may be dead.
    for is_dead in [false, true] {
        if is_dead {
            pool.kill(WITNESS)?;
        }
        for ((time, instant), wrong) in [(&before, &after.0), (&after, &before.0)] {
            let spans = kernel.spans(address)?;
            let had: BTreeSet<String> = spans
                .iter()
                .filter(|span| span.from <= *instant && span.until > *instant)
                .flat_map(|span| span.holders.iter().filter(|host| **host != VICTIM || *instant < gone).map(|host| Plan(*host).name()))
                .collect();
            let time = if asked == Asked::Then { time } else { wrong };
            let (subject, place) = (address.to_string(), recordings(&pool, WITNESS).display().to_string());
            let mut arguments = vec!["explain", &subject, "--at", time];
            if is_dead {
                arguments.extend(["--recording", &place]);
            }
            let said: BTreeSet<String> = served_by(&pool, WITNESS, &arguments)?.into_iter().collect();
            if said != had {
                let text = format!("{address} at {time}: {said:?} are said to have had it, and {had:?} had it");
                return Err(Verdict::new(Finding::Misreported, text).into());
            }
        }
    }
    let output = pool.raisctl(
        WITNESS,
        &["explain", &address.to_string(), "--at", &before.0, "--recording", &recordings(&pool, WITNESS).display().to_string()],
    )?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !text.starts_with("as of ") || !text.contains(&format!("on {}", Plan(VICTIM).name())) {
        return Err(Verdict::new(Finding::Misreported, text).into());
    }
    pool.check()
}

/// How recordings are put together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Together,
    /// Each by itself: what is heard stands before what is said.
    OneByOne,
}

fn merge(stage: &Stage, told: Told) -> Outcome {
    let hosts = [1, 2, 3];
    let mut pool = Pool::build(stage, hosts.map(HostConfig::server))?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &hosts)?;
    pool.stop(2, LONG)?;
    wait_heir(&kernel, service(2), 2)?;
    for host in [1, 3] {
        pool.stop(host, LONG)?;
    }
    let directories = hosts.map(|host| recordings(&pool, host));
    let text = match told {
        Told::Together => {
            let (output, text) = raisd_replay(&pool, &directories.each_ref().map(PathBuf::as_path))?;
            if output.status.code() != Some(0) {
                return Err(Failure::broken(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr))));
            }
            text
        }
        Told::OneByOne => {
            let mut text = String::new();
            for (host, directory) in hosts.into_iter().zip(&directories) {
                let (_, alone) = raisd_replay(&pool, &[directory])?;
                let name = Plan(host).name();
                text.extend(alone.lines().map(|line| format!("{name:<10} {line}\n")));
            }
            text
        }
    };
    judge_order(&text)
}

/// Every datagram that a host hears went out before, by the lines as they stand.
fn judge_order(text: &str) -> Outcome {
    let mut said: BTreeSet<(String, u64)> = BTreeSet::new();
    let mut heard = 0;
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).find_map(|word| word.parse::<u64>().ok());
    for line in text.lines() {
        let Some((host, line)) = line.split_once(' ') else { continue };
        if let Some(numbers) = line.trim_start().strip_prefix("= went out as datagram") {
            let (first, last) = numbers.split_once(" to ").unwrap_or((numbers, numbers));
            let (Some(first), Some(last)) = (number(first), number(last)) else { return Err(Failure::broken(line)) };
            said.extend((first..=last).map(|number| (host.to_owned(), number)));
        } else if let Some(datagram) = line.trim_start().strip_prefix("< hears datagram ") {
            let (Some(number), Some((_, by))) = (number(datagram), datagram.split_once(" of ")) else { continue };
            let by = by.split([',', ' ']).next().unwrap_or_default().to_owned();
            heard += 1;
            if !said.contains(&(by.clone(), number)) {
                let text = format!("{host} hears datagram {number} of {by} before it goes out");
                return Err(Verdict::new(Finding::Misreported, text).into());
            }
        }
    }
    if heard < 50 { Err(Failure::broken(format!("{heard} datagrams are heard"))) } else { Ok(()) }
}

/// Where it should write there is a file: the service is as ever, and the log says once why nothing is recorded.
fn without_disk(stage: &Stage) -> Outcome {
    let mut pool = Pool::build(stage, [1, 2].map(HostConfig::server))?;
    let kernel = Kernel::record(pool.topology())?;
    let state = pool.directory(1).join("state");
    fs::create_dir_all(&state)?;
    fs::write(state.join("recorder"), "in the way")?;
    pool.start_all()?;
    wait_own(&kernel, &[1, 2])?;
    let log = poll_until(within(LONG), || {
        let log = fs::read_to_string(pool.log(1))?;
        Ok(log.contains("the flight recorder records nothing").then_some(log))
    })?;
    match log.map(|log| log.matches("the flight recorder records nothing").count()) {
        Some(1) => pool.check(),
        count => Err(Verdict::new(Finding::Misreported, format!("the log says it {count:?} times")).into()),
    }
}
