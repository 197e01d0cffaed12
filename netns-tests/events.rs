//! What `raisctl events` tells is what the kernels did: each move at its time, with its reason, while it happens, and when
//! a client was answered; also across a restart of the daemon.
//!
//! Twins: another host's daemon is asked, which did not make the moves; nobody follows, so that the second start is missed.
#![expect(clippy::disallowed_methods, reason = "an observer outside of the protocol compares two clocks")]

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use libtest_mimic::Trial;
use raisd::demo::lab;
use raisd::demo::plan::Plan;
use raisd::demo::probes::Client;
use serde_json::Value;

use crate::judge::kernel::{Change, ChangeKind, Kernel};
use crate::judge::place::{LONG, wait_at, wait_own};
use crate::judge::{now, poll_until, within};
use crate::pool::{HostConfig, Pool, State, service};
use crate::status_form::Check;
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const VICTIM: u8 = 2;
const SPARE: u8 = 4;

/// How far the time of an event may be from that of the kernel's record: a few milliseconds, and what a busy machine makes of
/// them.
const APART: Duration = Duration::from_millis(300);

const SCHEMA: &str = include_str!("../docs/events.schema.json");

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("events_tell_each_move_as_it_happens", |stage| moves(stage, SPARE)),
        stories.twin("events_tell_each_move_as_it_happens", Finding::Misreported, |stage| moves(stage, 3)),
        stories.story("followed_events_go_on_after_a_restart", |stage| restart(stage, End::Stopped, &["--follow"])),
        stories.twin("followed_events_go_on_after_a_restart", Finding::Misreported, |stage| restart(stage, End::Stopped, &[])),
        stories.story("followed_events_go_on_after_a_kill", |stage| restart(stage, End::Killed, &["--follow"])),
        stories.twin("followed_events_go_on_after_a_kill", Finding::Misreported, |stage| restart(stage, End::Killed, &[])),
    ]
}

/// `raisctl events --json` of one host, into a file.
struct Told {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Told {
    fn start(stage: &Stage, pool: &Pool, host: u8, more: &[&str]) -> Outcome<Self> {
        let (out, err) = (stage.logs().join(format!("events-{host}.json")), stage.logs().join(format!("events-{host}.err")));
        let mut command = lab::command(env!("CARGO_BIN_EXE_raisctl"));
        command.arg("--socket").arg(pool.directory(host).join("raisd.sock")).args(["events", "--json"]).args(more);
        command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&err)?);
        Ok(Self { child: command.spawn()?, out, err })
    }

    /// What has been told so far; a line that is being written is not one yet.
    fn all(&self) -> Outcome<Vec<Value>> {
        let text = fs::read_to_string(&self.out)?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Waits until an event is told that `wanted` accepts.
    fn wait(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Outcome<Value> {
        match poll_until(within(LONG), || Ok(self.all()?.into_iter().find(|event| wanted(event))))? {
            Some(event) => Ok(event),
            None => {
                let all: Vec<String> = self.all()?.iter().map(ToString::to_string).collect();
                Err(Verdict::new(Finding::Misreported, format!("nothing tells that {what}:\n{}", all.join("\n"))).into())
            }
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The observer's time of an event.
fn instant_of(event: &Value) -> Outcome<Instant> {
    let text = event["time"].as_str().unwrap_or_default();
    let time: Timestamp = text.parse().map_err(|error| Failure::broken(format!("{text:?} is no time: {error}")))?;
    let ago = SystemTime::now().duration_since(SystemTime::from(time)).unwrap_or_default();
    Ok(now() - ago)
}

fn is_move(event: &Value, change: &Change) -> bool {
    let kind = match change.kind {
        ChangeKind::Added => "acquire",
        ChangeKind::Removed => "release",
    };
    event["kind"] == kind
        && event["address"] == change.address.to_string()
        && event["host"] == Plan(change.host).control(0).to_string()
        && event["name"] == Plan(change.host).name()
}

/// The move is told, with this reason, when the kernel says that it was.
fn judge_move(told: &Told, change: &Change, reason: &str) -> Outcome<Value> {
    let what = format!("{} was {:?} on host {}", change.address, change.kind, change.host);
    // Of several the one of this moment.
    let apart = |event: &Value| -> Outcome<Duration> {
        let at = instant_of(event)?;
        Ok(at.saturating_duration_since(change.at).max(change.at.saturating_duration_since(at)))
    };
    let event = told.wait(&what, |event| is_move(event, change) && apart(event).is_ok_and(|apart| apart < APART))?;
    if event["reason"] != reason || event["epoch"].as_u64().is_none_or(|epoch| epoch == 0) {
        return Err(Verdict::new(Finding::Misreported, format!("{what}, reason {reason}: {event}")).into());
    }
    Ok(event)
}

fn last_change(kernel: &Kernel, host: u8, address: IpAddr, kind: ChangeKind) -> Outcome<Change> {
    let of = |change: &Change| (change.host, change.address, change.kind) == (host, address, kind);
    let found = kernel.changes()?.into_iter().rev().find(of);
    found.ok_or_else(|| Failure::broken(format!("{address} was never {kind:?} on host {host}")))
}

/// A host's power fails and comes back. `of`: whose daemon tells what the spare does.
fn moves(stage: &Stage, of: u8) -> Outcome {
    let mut pool = Pool::build(stage, [1, 2, 3].map(HostConfig::server).into_iter().chain([HostConfig::spare(SPARE)]))?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &[1, 2, 3])?;
    let address = service(VICTIM);
    let leader = Told::start(stage, &pool, 1, &["--follow"])?;
    let spare = Told::start(stage, &pool, of, &["--follow", "--since", "1h"])?;
    leader.wait("the leader is followed", |_| true)?;
    spare.wait("the spare is followed", |_| true)?;

    let client = Client::start(pool.topology().client(), address, Duration::from_millis(1))?;
    let off = now();
    pool.power_off(VICTIM)?;
    wait_at(&kernel, address, &[VICTIM, SPARE], within(LONG))?;
    // While it happens: the spare goes on running and is asked nothing more.
    let event = judge_move(&spare, &last_change(&kernel, SPARE, address, ChangeKind::Added)?, "assigned")?;
    let Some(answer) = client.wait_answer(off, within(LONG), |by| by == Plan(SPARE).name())? else {
        return Err(Failure::broken("the spare does not answer the client"));
    };
    let told_at = instant_of(&event)?;
    let apart = answer.at.saturating_duration_since(told_at).max(told_at.saturating_duration_since(answer.at));
    if apart > APART {
        return Err(Verdict::new(Finding::Misreported, format!("the client was answered {apart:?} from {event}")).into());
    }
    let silent = leader.wait("a host fell silent", |event| event["kind"] == "host-silent")?;
    let decided = leader.wait("the leader decided", |event| event["kind"] == "decided-acquire" && event["reason"] == "assigned")?;
    let named = |event: &Value, host: u8| event["name"] == Plan(host).name() && event["host"] == Plan(host).control(0).to_string();
    if !named(&silent, VICTIM) || !named(&decided, SPARE) || decided["epoch"] != event["epoch"] {
        return Err(Verdict::new(Finding::Misreported, format!("{silent}\n{decided}\n{event}")).into());
    }

    pool.power_on(VICTIM, State::Kept)?;
    wait_at(&kernel, address, &[VICTIM], within(LONG))?;
    judge_move(&spare, &last_change(&kernel, SPARE, address, ChangeKind::Removed)?, "home")?;
    let home = Told::start(stage, &pool, VICTIM, &[])?;
    judge_move(&home, &last_change(&kernel, VICTIM, address, ChangeKind::Added)?, "home")?;
    judge_all(&kernel, &spare)?;
    judge_form(&[&leader, &spare, &home])?;
    pool.check()
}

/// What the spare's kernel did is told once each, and nothing else.
fn judge_all(kernel: &Kernel, spare: &Told) -> Outcome {
    let is_served = |change: &Change| change.host == SPARE && [1, 2, 3].map(service).contains(&change.address);
    let changes = kernel.changes()?.into_iter().filter(is_served).count();
    let moves = spare.all()?.iter().filter(|event| event["kind"] == "acquire" || event["kind"] == "release").count();
    if moves == changes { Ok(()) } else { Err(Verdict::new(Finding::Misreported, format!("{moves} moves of {changes}")).into()) }
}

/// Every line is as the published schema says, and numbered without a gap.
fn judge_form(all: &[&Told]) -> Outcome {
    let mut check = Check::of(SCHEMA);
    for told in all {
        let events = told.all()?;
        for event in &events {
            check.check(event).map_err(|error| Verdict::new(Finding::Misreported, format!("{error}: {event}")))?;
        }
        let numbers: Vec<u64> = events.iter().filter_map(|event| event["sequence"].as_u64()).collect();
        if numbers.windows(2).any(|pair| pair[1] != pair[0] + 1) {
            return Err(Verdict::new(Finding::Misreported, format!("the numbers are {numbers:?}")).into());
        }
    }
    Ok(())
}

/// How a daemon ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Killed,
    Stopped,
}

/// The daemon that is followed ends and starts again.
fn restart(stage: &Stage, end: End, more: &[&str]) -> Outcome {
    let mut pool = Pool::build(stage, [1, 2, 3].map(HostConfig::server))?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &[1, 2, 3])?;
    let told = Told::start(stage, &pool, VICTIM, more)?;
    let first = told.wait("it has started", |event| event["kind"] == "started" || event["kind"] == "acquire")?;
    match end {
        End::Killed => pool.kill(VICTIM)?,
        End::Stopped => {
            pool.stop(VICTIM, LONG)?;
            told.wait("the address was given up", |event| event["kind"] == "release" && event["reason"] == "stopped")?;
        }
    }
    // Served elsewhere, so that it has to come home.
    let other = |holders: &std::collections::BTreeSet<u8>| holders.iter().any(|holder| *holder != VICTIM).then_some(());
    if kernel.wait(within(LONG), |holdings| other(holdings.get(&service(VICTIM))?))?.is_none() {
        return Err(Failure::broken("nobody takes the address over"));
    }
    pool.start(VICTIM)?;
    wait_own(&kernel, &[1, 2, 3])?;
    let started = told.wait("it has started again", |event| event["kind"] == "started" && event["boot"] != first["boot"])?;
    judge_move(&told, &last_change(&kernel, VICTIM, service(VICTIM), ChangeKind::Added)?, "home")?;
    let said = fs::read_to_string(&told.err)?;
    if started["sequence"] != 1 || !said.contains("waiting for a daemon on") || !said.contains("a daemon answers on") {
        return Err(Verdict::new(Finding::Misreported, format!("{started}\n{said}")).into());
    }
    pool.check()
}
