//! Scripts: what they are told, and what happens when one fails, hangs, is missing, or is not executable.
//!
//! The address goes off and is served elsewhere, the host that failed backs off, nothing goes to and fro, and nothing else
//! moves. Twins: the environment is taken away, the operator ends the back-off, a script may take for ever, scripts wait for
//! each other.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;
use raisd::demo::probes::Client;

use crate::judge::calls::{Action, Call, Calls};
use crate::judge::kernel::{Change, ChangeKind, Kernel};
use crate::judge::zone::wait_advertised;
use crate::judge::{now, poll_until, within};
use crate::pool::{HostConfig, Pool, State, ZONE, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

/// More than a script that has to be killed takes: its timeout, and two seconds between TERM and KILL.
const LONG: Duration = Duration::from_secs(5);

/// What a script may take.
const TIMEOUT: Duration = Duration::from_millis(300);

/// What a script may take in a twin: longer than any story.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// The first back-off, and for how many heartbeats of it nothing may move: a loop takes two or three for each round.
const BACK_OFF: Duration = Duration::from_secs(5);
const HEARTBEATS: u32 = 12;

const HOST: u8 = 2;
const SPARE: u8 = 4;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    let acquire = |name: &str, fault: Fault| {
        let name = format!("an_acquire_script_{name}_and_the_address_is_served_elsewhere");
        (stories.story(&name, move |stage| acquire_fails(stage, fault, Since::Nothing)), name)
    };
    let release = |name: &str, fault: Fault| {
        let name = format!("a_release_script_{name}_and_the_address_goes_off_all_the_same");
        (stories.story(&name, move |stage| release_fails(stage, fault, TIMEOUT)), name)
    };
    let (acquire_fails_story, acquire_fails_name) = acquire("fails", Fault::Fails);
    let (acquire_hangs_story, acquire_hangs_name) = acquire("hangs", Fault::Hangs);
    let (release_hangs_story, release_hangs_name) = release("hangs", Fault::Hangs);
    vec![
        stories.story("scripts_are_told_what_they_need", |stage| told(stage, Environment::Kept)),
        stories.twin("scripts_are_told_what_they_need", Finding::Script, |stage| told(stage, Environment::Taken)),
        acquire_fails_story,
        stories.twin(&acquire_fails_name, Finding::Moved, |stage| acquire_fails(stage, Fault::Fails, Since::Resumed)),
        acquire_hangs_story,
        stories.twin(&acquire_hangs_name, Finding::Unserved, |stage| acquire_fails(stage, Fault::Hangs, Since::NoTimeout)),
        acquire("ignores_the_end", Fault::IgnoresTerm).0,
        acquire("is_missing", Fault::Missing).0,
        acquire("is_not_executable", Fault::NotExecutable).0,
        stories.story("a_new_leader_knows_who_failed", |stage| acquire_fails(stage, Fault::Fails, Since::LeaderStopped)),
        stories.twin("a_new_leader_knows_who_failed", Finding::Moved, |stage| acquire_fails(stage, Fault::Fails, Since::Forgotten)),
        stories.story("an_acquire_is_tried_again_when_its_back_off_ends", |stage| tried_again(stage, Mended::AtOnce)),
        stories.twin("an_acquire_is_tried_again_when_its_back_off_ends", Finding::Moved, |stage| tried_again(stage, Mended::AndResumed)),
        release("fails", Fault::Fails).0,
        release_hangs_story,
        stories.twin(&release_hangs_name, Finding::Unserved, |stage| release_fails(stage, Fault::Hangs, FOR_EVER)),
        release("ignores_the_end", Fault::IgnoresTerm).0,
        release("is_missing", Fault::Missing).0,
        release("is_not_executable", Fault::NotExecutable).0,
        stories.story("a_daemon_stops_although_its_release_script_hangs", |stage| stops(stage, TIMEOUT)),
        stories.twin("a_daemon_stops_although_its_release_script_hangs", Finding::Unserved, |stage| stops(stage, FOR_EVER)),
        stories.story("scripts_of_different_items_do_not_wait_for_each_other", |stage| side_by_side(stage, Queue::Own)),
        stories
            .twin("scripts_of_different_items_do_not_wait_for_each_other", Finding::Unserved, |stage| side_by_side(stage, Queue::Shared)),
    ]
}

/// What is wrong with a script.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Fails,
    Hangs,
    IgnoresTerm,
    Missing,
    NotExecutable,
}

impl Fault {
    /// What the script does. The process that it leaves behind if it is not killed is known by the path of `stage`.
    fn body(self, stage: &Stage) -> String {
        let hang = format!("tail -f {}", stage.private().join("nothing").display());
        match self {
            Self::Fails => "echo 'no room' >&2; false".to_owned(),
            Self::Hangs => hang,
            Self::IgnoresTerm => format!("trap '' TERM; {hang}"),
            Self::Missing | Self::NotExecutable => "true".to_owned(),
        }
    }

    fn apply(self, script: &Path, stage: &Stage) -> Outcome {
        match self {
            Self::Hangs | Self::IgnoresTerm => fs::write(stage.private().join("nothing"), "")?,
            Self::Fails => {}
            Self::Missing => fs::remove_file(script)?,
            Self::NotExecutable => fs::set_permissions(script, fs::Permissions::from_mode(0o644))?,
        }
        Ok(())
    }

    /// Whether the script is run at all.
    fn is_run(self) -> bool {
        match self {
            Self::Fails | Self::Hangs | Self::IgnoresTerm => true,
            Self::Missing | Self::NotExecutable => false,
        }
    }
}

fn hosts() -> impl Iterator<Item = HostConfig> {
    [1, 2, 3].map(HostConfig::server).into_iter().chain([HostConfig::spare(SPARE)])
}

fn wait_on(kernel: &Kernel, address: IpAddr, host: u8) -> Outcome<Instant> {
    match kernel.wait_holders(address, &[host], within(LONG))? {
        Some(since) => Ok(since),
        None => Err(Verdict::new(Finding::Unserved, format!("{address} is on {:?}, not on {host}", kernel.holders(address)?)).into()),
    }
}

/// A client is answered at `address` by `host`.
fn served_by(pool: &Pool, address: IpAddr, host: u8) -> Outcome<Client> {
    let client = Client::start(pool.topology().client(), address, Duration::from_millis(10))?;
    match client.wait_answer(now(), within(LONG), |by| by == Plan(host).name())? {
        Some(_) => Ok(client),
        None => Err(Verdict::new(Finding::Unserved, format!("{} does not answer at {address}", Plan(host).name())).into()),
    }
}

/// Nothing moves until the client is answered by `host` in a probe sent [`HEARTBEATS`] after `since`. `may_move`: what is told.
fn stays(kernel: &Kernel, client: &Client, host: u8, since: Instant, may_move: impl Fn(&Change) -> bool) -> Outcome {
    let heartbeat = HostConfig::spare(SPARE).heartbeat;
    let answer = client.wait_answer(since + heartbeat * HEARTBEATS, since + heartbeat * HEARTBEATS + LONG, |by| by == Plan(host).name())?;
    match kernel.changes()?.into_iter().find(|change| change.at > since && !may_move(change)) {
        Some(change) => Err(Verdict::new(Finding::Moved, format!("{change:?}")).into()),
        None if answer.is_none() => Err(Verdict::new(Finding::Unserved, format!("{} answers no longer", Plan(host).name())).into()),
        None => Ok(()),
    }
}

/// Each of the other addresses went home once, and nothing else happened to it.
fn others_undisturbed(kernel: &Kernel, homes: &[u8]) -> Outcome {
    for home in homes {
        let address = service(*home);
        let changes: Vec<Change> = kernel.changes()?.into_iter().filter(|change| change.address == address).collect();
        if !matches!(changes.as_slice(), [change] if change.host == *home && change.kind == ChangeKind::Added) {
            return Err(Verdict::new(Finding::Moved, format!("{address}: {changes:?}")).into());
        }
    }
    Ok(())
}

/// No process of a script that was to be killed is left.
fn nothing_runs_on(stage: &Stage) -> Outcome {
    let mark = stage.private().join("nothing");
    let mark = mark.as_os_str().as_encoded_bytes();
    let is_left = |process: &fs::DirEntry| {
        // A process that ends while it is looked at is not left.
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == mark)
    };
    let gone = poll_until(within(LONG), || {
        let mut left = fs::read_dir("/proc")?.filter_map(Result::ok).filter(is_left);
        Ok(left.next().is_none().then_some(()))
    })?;
    gone.ok_or_else(|| Verdict::new(Finding::Script, "a process of the script runs on after the daemon has killed it").into())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Environment {
    Kept,
    Taken,
}

/// An address goes home, away and home again, and off: each call is told why, and under which epoch.
fn told(stage: &Stage, environment: Environment) -> Outcome {
    let mut pool = Pool::build(stage, hosts())?;
    let calls = Calls::new(stage.private());
    for host in [1, 2, 3, SPARE] {
        calls.install(&mut pool, host, "true", "true", LONG)?;
        if environment == Environment::Taken {
            // What an administrator would write who does not trust the caller.
            let wrapped = pool.script(host, "wrapped", &calls.script("true"))?;
            pool.script(host, "acquire", &format!("#!/bin/sh\nexec env -i PATH=\"$PATH\" {} \"$@\"\n", wrapped.display()))?;
        }
    }
    let address = service(HOST);
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    for host in [1, HOST, 3] {
        wait_on(&kernel, service(host), host)?;
        calls.wait_call(host, Action::Acquire, service(host), "home", 0)?;
    }
    let first = calls.wait_call(HOST, Action::Acquire, address, "home", 0)?;
    pool.power_off(HOST)?;
    let second = calls.wait_call(SPARE, Action::Acquire, address, "assigned", first)?;
    pool.power_on(HOST, State::Kept)?;
    same_epoch(calls.wait_call(SPARE, Action::Release, address, "home", first)?, second)?;
    let third = calls.wait_call(HOST, Action::Acquire, address, "home", second)?;
    drained(&pool, LONG)?;
    same_epoch(calls.wait_call(HOST, Action::Release, address, "drained", second)?, third)?;
    let fourth = calls.wait_call(SPARE, Action::Acquire, address, "assigned", third)?;
    pool.stop(SPARE, LONG)?;
    same_epoch(calls.wait_call(SPARE, Action::Release, address, "stopped", third)?, fourth)?;
    judge_epochs(&calls.all()?, address)?;
    pool.check()
}

fn same_epoch(release: u64, acquire: u64) -> Outcome {
    if release == acquire {
        return Ok(());
    }
    Err(Verdict::new(Finding::Script, format!("released under epoch {release} what was acquired under {acquire}")).into())
}

/// Over all hosts, each acquire of an address is above the one before.
fn judge_epochs(calls: &[Call], address: IpAddr) -> Outcome {
    let is_acquire = |call: &&Call| [1, 2, 3, SPARE].iter().any(|host| call.is(*host, Action::Acquire, address));
    let epochs = calls.iter().filter(is_acquire).map(Call::epoch).collect::<Outcome<Vec<u64>>>()?;
    if epochs.is_sorted_by(|earlier, later| earlier < later) {
        return Ok(());
    }
    Err(Verdict::new(Finding::Script, format!("the epochs of {address} are {epochs:?}")).into())
}

fn drained(pool: &Pool, limit: Duration) -> Outcome<bool> {
    Ok(pool.raisctl(HOST, &["drain", "--timeout", &format!("{}ms", limit.as_millis())])?.status.success())
}

/// What happens after the address has been served elsewhere.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Since {
    Nothing,
    /// The operator ends the back-off.
    Resumed,
    /// Scripts may take for ever.
    NoTimeout,
    LeaderStopped,
    /// The leader stops, and the failed host starts again: it remembers no failure.
    Forgotten,
}

fn acquire_fails(stage: &Stage, fault: Fault, since: Since) -> Outcome {
    // Not the host that leads after the first, so that its failures are known to the new leader from its entry alone.
    let host = 3;
    let mut pool = Pool::build(stage, hosts())?;
    let calls = Calls::new(stage.private());
    let timeout = if since == Since::NoTimeout { FOR_EVER } else { TIMEOUT };
    for number in [1, 2, 3, SPARE] {
        let acquire = if number == host { fault.body(stage) } else { "true".to_owned() };
        calls.install(&mut pool, number, &acquire, "true", timeout)?;
    }
    fault.apply(&pool.directory(host).join("acquire"), stage)?;
    let address = service(host);
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    // Tried at home, where it fails.
    let tried = kernel.wait(within(LONG), |holdings| holdings.get(&address)?.contains(&host).then_some(()))?;
    if tried.is_none() {
        return Err(Failure::broken(format!("host {host} does not try to acquire {address}")));
    }
    let moved = wait_on(&kernel, address, SPARE)?;
    let client = served_by(&pool, address, SPARE)?;
    let failed = if fault.is_run() { calls.wait_call(host, Action::Acquire, address, "home", 0)? } else { 0 };
    calls.wait_call(SPARE, Action::Acquire, address, "assigned", failed)?;
    nothing_runs_on(stage)?;
    if let Some(call) = calls.all()?.into_iter().find(|call| call.is(host, Action::Release, address)) {
        return Err(Verdict::new(Finding::Script, format!("released what was never acquired: {call:?}")).into());
    }
    if fault == Fault::Fails {
        judge_log(&pool, host, address, "no room")?;
    }
    wait_on(&kernel, service(1), 1)?;
    wait_on(&kernel, service(2), 2)?;
    wait_advertised(pool.topology().client(), ZONE, &[1, 2, 3, SPARE], &[1, 2].map(service).into(), within(LONG))?;
    others_undisturbed(&kernel, &[1, 2])?;
    match since {
        Since::Nothing | Since::NoTimeout => {}
        Since::Resumed => {
            pool.raisctl(host, &["quiesce"])?;
            pool.raisctl(host, &["resume"])?;
        }
        Since::LeaderStopped => pool.stop(1, LONG)?,
        Since::Forgotten => {
            pool.stop(host, LONG)?;
            pool.stop(1, LONG)?;
            pool.start(host)?;
        }
    }
    // What a leader had when it stopped moves, once.
    let is_leaders = |change: &Change| matches!(since, Since::LeaderStopped | Since::Forgotten) && change.address == service(1);
    stays(&kernel, &client, SPARE, moved, is_leaders)?;
    if let Some(span) = kernel.doubled(address, moved, &[1, 2, 3, SPARE])? {
        return Err(Verdict::new(Finding::Doubled, format!("{span:?}")).into());
    }
    pool.check()
}

/// What a script says stands in the log of its host, with the address, in one line.
fn judge_log(pool: &Pool, host: u8, address: IpAddr, words: &str) -> Outcome {
    let log = fs::read_to_string(pool.log(host))?;
    if log.lines().any(|line| line.contains(words) && line.contains(&address.to_string())) {
        return Ok(());
    }
    Err(Verdict::new(Finding::Script, format!("the log of host {host} does not say {words:?} of {address}")).into())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mended {
    AtOnce,
    /// And the operator says so.
    AndResumed,
}

/// What made the script fail is mended; the address goes home when the back-off has ended, and not before.
fn tried_again(stage: &Stage, mended: Mended) -> Outcome {
    let mut pool = Pool::build(stage, hosts())?;
    let calls = Calls::new(stage.private());
    let fixed = stage.private().join("mended");
    for number in [1, 2, 3, SPARE] {
        let acquire = if number == HOST { format!("[ -e {} ]", fixed.display()) } else { "true".to_owned() };
        calls.install(&mut pool, number, &acquire, "true", TIMEOUT)?;
    }
    let address = service(HOST);
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    let moved = wait_on(&kernel, address, SPARE)?;
    fs::write(&fixed, "")?;
    if mended == Mended::AndResumed {
        pool.raisctl(HOST, &["quiesce"])?;
        pool.raisctl(HOST, &["resume"])?;
    }
    match kernel.wait_holders(address, &[HOST], moved + BACK_OFF + LONG)? {
        // The spare has it a little later than the back-off begins.
        Some(home) if home + Duration::from_secs(1) < moved + BACK_OFF => {
            Err(Verdict::new(Finding::Moved, format!("{address} goes home after {:?}", home - moved)).into())
        }
        Some(_) => {
            calls.wait_call(HOST, Action::Acquire, address, "home", 1)?;
            others_undisturbed(&kernel, &[1, 3])?;
            pool.check()
        }
        None => Err(Verdict::new(Finding::Unserved, format!("{address} does not go home")).into()),
    }
}

/// A host whose release script is at fault is drained.
fn release_fails(stage: &Stage, fault: Fault, timeout: Duration) -> Outcome {
    let mut pool = Pool::build(stage, hosts())?;
    let calls = Calls::new(stage.private());
    for number in [1, 2, 3, SPARE] {
        let release = if number == HOST { fault.body(stage) } else { "true".to_owned() };
        calls.install(&mut pool, number, "true", &release, timeout)?;
    }
    fault.apply(&pool.directory(HOST).join("release"), stage)?;
    let address = service(HOST);
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    for host in [1, HOST, 3] {
        wait_on(&kernel, service(host), host)?;
    }
    let acquired = calls.wait_call(HOST, Action::Acquire, address, "home", 0)?;
    let gone = drained(&pool, Duration::from_secs(4))?;
    let moved = wait_on(&kernel, address, SPARE)?;
    if !gone {
        return Err(Failure::broken("the address is gone, and drain says it is not"));
    }
    if fault.is_run() {
        same_epoch(calls.wait_call(HOST, Action::Release, address, "drained", 0)?, acquired)?;
    }
    calls.wait_call(SPARE, Action::Acquire, address, "assigned", acquired)?;
    nothing_runs_on(stage)?;
    let client = served_by(&pool, address, SPARE)?;
    stays(&kernel, &client, SPARE, moved, |_| false)?;
    // A release that failed is no reason not to come home.
    pool.raisctl(HOST, &["resume"])?;
    wait_on(&kernel, address, HOST)?;
    others_undisturbed(&kernel, &[1, 3])?;
    if let Some(span) = kernel.doubled(address, moved, &[1, 2, 3, SPARE])? {
        return Err(Verdict::new(Finding::Doubled, format!("{span:?}")).into());
    }
    pool.check()
}

fn stops(stage: &Stage, timeout: Duration) -> Outcome {
    let mut pool = Pool::build(stage, hosts())?;
    let calls = Calls::new(stage.private());
    calls.install(&mut pool, HOST, "true", &Fault::Hangs.body(stage), timeout)?;
    Fault::Hangs.apply(&pool.directory(HOST).join("release"), stage)?;
    let address = service(HOST);
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    wait_on(&kernel, address, HOST)?;
    calls.wait_call(HOST, Action::Acquire, address, "home", 0)?;
    pool.signal(HOST, nix::sys::signal::Signal::SIGTERM)?;
    calls.wait_call(HOST, Action::Release, address, "stopped", 0)?;
    wait_on(&kernel, address, SPARE)?;
    // Told a second time, and ended in order.
    pool.stop(HOST, LONG)?;
    nothing_runs_on(stage)?;
    if let Some(span) = kernel.doubled(address, kernel_start(&kernel)?, &[1, 2, 3, SPARE])? {
        return Err(Verdict::new(Finding::Doubled, format!("{span:?}")).into());
    }
    pool.check()
}

fn kernel_start(kernel: &Kernel) -> Outcome<Instant> {
    let first = kernel.changes()?.first().map(|change| change.at);
    first.ok_or_else(|| Failure::broken("the kernels have recorded nothing"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    Own,
    /// The script of the second address waits for what that of the first waits for.
    Shared,
}

/// One host has two addresses; the script of the first waits until the second is served.
fn side_by_side(stage: &Stage, queue: Queue) -> Outcome {
    let mut pool = Pool::build(stage, hosts())?;
    let (first, second) = (service(HOST), IpAddr::from([192, 0, 2, 22]));
    pool.configure(HOST, |config| config.preferred.push(format!("{second}/32")))?;
    let calls = Calls::new(stage.private());
    let go = stage.private().join("go");
    let waits = match queue {
        Queue::Own => format!("[ $RAISD_ADDRESS = {first} ]"),
        Queue::Shared => "true".to_owned(),
    };
    let wait = format!("if {waits}; then until [ -e {} ]; do sleep 0.01; done; fi", go.display());
    calls.install(&mut pool, HOST, &wait, &wait, FOR_EVER)?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    let is_first = |call: &Call| call.is(HOST, Action::Acquire, first);
    calls.wait(within(LONG), "for the first address", is_first)?;
    ended(&calls, Action::Acquire, second)?;
    served_by(&pool, second, HOST)?;
    wait_advertised(pool.topology().client(), ZONE, &[1, 2, 3, SPARE], &[service(1), second, service(3)].into(), within(LONG))?;
    fs::write(&go, "")?;
    ended(&calls, Action::Acquire, first)?;
    wait_advertised(pool.topology().client(), ZONE, &[1, 2, 3, SPARE], &[service(1), first, second, service(3)].into(), within(LONG))?;
    fs::remove_file(&go)?;
    pool.signal(HOST, nix::sys::signal::Signal::SIGTERM)?;
    ended(&calls, Action::Release, second)?;
    wait_on(&kernel, second, SPARE)?;
    wait_on(&kernel, first, HOST)?;
    fs::write(&go, "")?;
    wait_on(&kernel, first, SPARE)?;
    pool.stop(HOST, LONG)?;
    others_undisturbed(&kernel, &[1, 3])?;
    pool.check()
}

/// The script for the address has ended by itself.
fn ended(calls: &Calls, action: Action, address: IpAddr) -> Outcome {
    let has_ended = || Ok(calls.all()?.into_iter().find(|call| call.is(HOST, action, address) && call.ended.is_some()));
    match poll_until(within(LONG), has_ended)? {
        Some(_) => Ok(()),
        None => Err(Verdict::new(Finding::Unserved, format!("the {action:?} script for {address} waits for another")).into()),
    }
}
