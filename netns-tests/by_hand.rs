//! What others do to addresses by hand: put one on a second host, put one on that nobody has, take one off, leave one behind.
//!
//! One holder is left, the right one, and it announces itself; what the group does not know is never touched. Twins: the one
//! that stays is silent, the daemon that should act is dead, the group does know the address, what was left has no mark.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use raisd::demo::frames::Frames;
use raisd::demo::plan::{Network, Plan};
use raisd::demo::probes::Client;
use raisd::demo::topology::{add_address, delete_address};

use crate::judge::calls::{Action, Call, Calls};
use crate::judge::kernel::{Change, ChangeKind, Kernel};
use crate::judge::mark::{Mark, mark};
use crate::judge::neighbour::neighbour;
use crate::judge::{now, poll_until, within};
use crate::pool::{HostConfig, Pool, State, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(5);

const HOST: u8 = 2;
const OTHER: u8 = 3;
const SPARE: u8 = 4;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("of_two_holders_the_preferred_host_is_left", |stage| two_holders(stage, HOST, Daemon::Runs)),
        stories.twin("of_two_holders_the_preferred_host_is_left", Finding::Doubled, |stage| two_holders(stage, HOST, Daemon::IsDead)),
        stories.story("of_two_holders_the_spare_is_left", |stage| two_holders(stage, SPARE, Daemon::Runs)),
        stories.twin("of_two_holders_the_spare_is_left", Finding::Unannounced, |stage| two_holders(stage, SPARE, Daemon::IsSilent)),
        stories.story("an_address_that_nobody_has_is_taken_over", |stage| taken_over(stage, Daemon::Runs)),
        stories.twin("an_address_that_nobody_has_is_taken_over", Finding::Mark, |stage| taken_over(stage, Daemon::IsDead)),
        stories.story("an_address_that_the_group_does_not_know_is_not_touched", |stage| untouched(stage, Known::ByNobody)),
        stories.twin("an_address_that_the_group_does_not_know_is_not_touched", Finding::Mark, |stage| untouched(stage, Known::ToTheGroup)),
        stories.story("an_address_removed_by_hand_is_put_back", |stage| put_back(stage, Daemon::Runs)),
        stories.twin("an_address_removed_by_hand_is_put_back", Finding::Unserved, |stage| put_back(stage, Daemon::IsDead)),
        stories.story("an_address_removed_again_and_again_goes_to_another_host", |stage| given_away(stage, 4)),
        stories.twin("an_address_removed_again_and_again_goes_to_another_host", Finding::Unserved, |stage| given_away(stage, 2)),
        stories.story("what_an_earlier_run_has_left_is_taken_off", |stage| leftover(stage, Mark::Raisd)),
        stories.twin("what_an_earlier_run_has_left_is_taken_off", Finding::Doubled, |stage| leftover(stage, Mark::Foreign)),
    ]
}

/// The daemon of the host that matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Daemon {
    Runs,
    /// It announces nothing.
    IsSilent,
    IsDead,
}

fn hosts() -> impl Iterator<Item = HostConfig> {
    [1, HOST, OTHER].map(HostConfig::server).into_iter().chain([HostConfig::spare(SPARE)])
}

/// `ip address add ADDRESS dev svc0`.
fn put(pool: &Pool, host: u8, address: IpAddr) -> Outcome {
    let host = pool.topology().host(host)?;
    Ok(add_address(host.namespace(), host.plan().interface_index(Network::Service), address, prefix(address))?)
}

/// `ip address del ADDRESS dev svc0`.
fn take(pool: &Pool, host: u8, address: IpAddr) -> Outcome {
    let host = pool.topology().host(host)?;
    Ok(delete_address(host.namespace(), host.plan().interface_index(Network::Service), address, prefix(address))?)
}

fn prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn mark_on(pool: &Pool, host: u8, address: IpAddr) -> Outcome<Mark> {
    Ok(mark(pool.topology().host(host)?.namespace(), address)?)
}

fn judge_mark(pool: &Pool, host: u8, address: IpAddr, wanted: Mark) -> Outcome {
    let mut last = Mark::Absent;
    let found = poll_until(within(LONG), || {
        last = mark_on(pool, host, address)?;
        Ok((last == wanted).then_some(()))
    })?;
    found.ok_or_else(|| Verdict::new(Finding::Mark, format!("{address} on host {host} is {last:?} instead of {wanted:?}")).into())
}

fn wait_on(kernel: &Kernel, address: IpAddr, host: u8) -> Outcome<Instant> {
    match kernel.wait_holders(address, &[host], within(LONG))? {
        Some(since) => Ok(since),
        None => {
            let holders = kernel.holders(address)?;
            let finding = if holders.len() > 1 { Finding::Doubled } else { Finding::Unserved };
            Err(Verdict::new(finding, format!("{address} is on {holders:?}, not on {host} alone")).into())
        }
    }
}

fn wait_home(kernel: &Kernel, hosts: &[u8]) -> Outcome {
    hosts.iter().try_for_each(|host| wait_on(kernel, service(*host), *host).map(drop))
}

/// Waits for a change, which must come.
fn wait_change(kernel: &Kernel, what: &str, wanted: impl Fn(&Change) -> bool) -> Outcome<Change> {
    let change = poll_until(within(LONG), || Ok(kernel.changes()?.into_iter().find(|change| wanted(change))))?;
    change.ok_or_else(|| Failure::broken(format!("never seen: {what}")))
}

/// `host` tells after `since` that it has the address, and the client believes it.
fn judge_announced(pool: &Pool, frames: &Frames, address: IpAddr, host: u8, since: Instant) -> Outcome {
    let plan = Plan(host);
    let (name, mac) = (plan.name(), plan.mac(Network::Service));
    let told = frames.wait(within(Duration::from_secs(2)), |frame| {
        frame.at >= since
            && frame.is_announcement()
            && frame.claim.address() == address
            && frame.port == name
            && frame.claim.mac() == Some(mac)
    })?;
    if told.is_none() {
        return Err(Verdict::new(Finding::Unannounced, format!("{address} on {name}")).into());
    }
    let mut cached = None;
    let believed = poll_until(within(LONG), || {
        cached = neighbour(pool.topology().client(), address)?;
        Ok((cached == Some(mac)).then_some(()))
    })?;
    believed.ok_or_else(|| Verdict::new(Finding::StaleNeighbour, format!("{address} is at {cached:?} for the client, not at {mac}")).into())
}

/// No kernel changes until the client is answered by `host` in a probe sent twelve heartbeats after `since`.
fn nothing_moves(kernel: &Kernel, client: &Client, host: u8, since: Instant) -> Outcome {
    let until = since + 12 * HostConfig::spare(SPARE).heartbeat;
    if client.wait_answer(until, until + LONG, |by| by == Plan(host).name())?.is_none() {
        return Err(Verdict::new(Finding::Unserved, format!("{} does not answer", Plan(host).name())).into());
    }
    match kernel.changes()?.into_iter().find(|change| change.at > since) {
        Some(change) => Err(Verdict::new(Finding::Moved, format!("{change:?}")).into()),
        None => Ok(()),
    }
}

fn client(pool: &Pool, address: IpAddr, host: u8) -> Outcome<Client> {
    let client = Client::start(pool.topology().client(), address, Duration::from_millis(10))?;
    match client.wait_answer(now(), within(LONG), |by| by == Plan(host).name())? {
        Some(_) => Ok(client),
        None => Err(Failure::broken(format!("{} does not answer at {address}", Plan(host).name()))),
    }
}

/// The address of host 2 is put on host 3 by hand while `right` has it.
fn two_holders(stage: &Stage, right: u8, daemon: Daemon) -> Outcome {
    let mut pool = Pool::build(stage, hosts())?;
    if daemon == Daemon::IsSilent {
        pool.configure(right, |config| config.tables = "[group.announce]\nmethod = \"none\"\n".to_owned())?;
    }
    let address = service(HOST);
    let kernel = Kernel::record(pool.topology())?;
    let frames = Frames::capture(pool.topology())?;
    pool.start_all()?;
    wait_home(&kernel, &[1, HOST, OTHER])?;
    if right == SPARE {
        pool.stop(HOST, LONG)?;
        wait_on(&kernel, address, SPARE)?;
    }
    let client = client(&pool, address, right)?;
    if daemon == Daemon::IsDead {
        pool.kill(OTHER)?;
    }
    let since = now();
    put(&pool, OTHER, address)?;
    wait_change(&kernel, "the address on the second host", |change| {
        change.at >= since && change.address == address && change.host == OTHER
    })?;
    let settled = wait_on(&kernel, address, right)?;
    judge_announced(&pool, &frames, address, right, settled)?;
    if client.wait_answer(settled, within(LONG), |by| by == Plan(right).name())?.is_none() {
        return Err(Verdict::new(Finding::StaleNeighbour, format!("the client does not find {}", Plan(right).name())).into());
    }
    judge_mark(&pool, right, address, Mark::Raisd)?;
    nothing_moves(&kernel, &client, right, settled)?;
    // The right one had it all the time.
    let lost = |change: &Change| change.at >= since && change.address == address && change.host == right;
    if let Some(change) = kernel.changes()?.into_iter().find(lost) {
        return Err(Verdict::new(Finding::Moved, format!("{change:?}")).into());
    }
    pool.check()
}

/// Host 2 is gone and the others may acquire nothing: its address is put on host 3 by hand.
fn taken_over(stage: &Stage, daemon: Daemon) -> Outcome {
    let mut pool = Pool::build(stage, hosts())?;
    let address = service(HOST);
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    wait_home(&kernel, &[1, HOST, OTHER])?;
    judge_mark(&pool, HOST, address, Mark::Raisd)?;
    for host in [1, OTHER, SPARE] {
        pool.raisctl(host, &["quiesce", "--reason", "nobody takes anything"])?;
    }
    pool.stop(HOST, LONG)?;
    if kernel.wait_holders(address, &[], within(LONG))?.is_none() {
        return Err(Failure::broken(format!("{address} is on {:?}", kernel.holders(address)?)));
    }
    if daemon == Daemon::IsDead {
        pool.kill(OTHER)?;
    }
    put(&pool, OTHER, address)?;
    judge_mark(&pool, OTHER, address, Mark::Raisd)?;
    client(&pool, address, OTHER)?;
    // It obeys: it goes home.
    pool.start(HOST)?;
    wait_on(&kernel, address, HOST)?;
    judge_mark(&pool, OTHER, address, Mark::Absent)?;
    judge_mark(&pool, HOST, address, Mark::Raisd)?;
    pool.check()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    ByNobody,
    /// The group serves it.
    ToTheGroup,
}

/// Addresses of others stand on a service interface while hosts come, go, and start again.
fn untouched(stage: &Stage, known: Known) -> Outcome {
    let mut pool = Pool::build(stage, hosts())?;
    let strangers: [IpAddr; 2] = ["192.0.2.77".parse()?, "2001:db8::77".parse()?];
    if known == Known::ToTheGroup {
        pool.configure(1, |config| config.group_keys = "floating = [\"192.0.2.77\"]".to_owned())?;
    }
    let kernel = Kernel::record(pool.topology())?;
    let [first, second] = strangers;
    // One is there before the daemon, the other comes later.
    put(&pool, OTHER, second)?;
    pool.start_all()?;
    wait_home(&kernel, &[1, HOST, OTHER])?;
    put(&pool, OTHER, first)?;
    let client = client(&pool, first, OTHER)?;
    pool.power_off(HOST)?;
    wait_change(&kernel, "the spare takes over", |change| change.address == service(HOST) && change.host == SPARE)?;
    pool.power_on(HOST, State::Kept)?;
    wait_on(&kernel, service(HOST), HOST)?;
    for address in strangers {
        judge_mark(&pool, OTHER, address, Mark::Foreign)?;
    }
    pool.stop(OTHER, LONG)?;
    wait_on(&kernel, service(OTHER), SPARE)?;
    pool.start(OTHER)?;
    wait_on(&kernel, service(OTHER), OTHER)?;
    if client.wait_answer(now(), within(LONG), |by| by == Plan(OTHER).name())?.is_none() {
        return Err(Verdict::new(Finding::Unserved, format!("{first} on {}", Plan(OTHER).name())).into());
    }
    for address in strangers {
        judge_mark(&pool, OTHER, address, Mark::Foreign)?;
        let of_it: Vec<Change> = kernel.changes()?.into_iter().filter(|change| change.address == address).collect();
        if !matches!(of_it.as_slice(), [change] if change.kind == ChangeKind::Added && change.host == OTHER) {
            return Err(Verdict::new(Finding::Moved, format!("{of_it:?}")).into());
        }
    }
    pool.check()
}

fn put_back(stage: &Stage, daemon: Daemon) -> Outcome {
    let mut pool = Pool::build(stage, hosts())?;
    let address = service(HOST);
    let kernel = Kernel::record(pool.topology())?;
    let frames = Frames::capture(pool.topology())?;
    pool.start_all()?;
    wait_home(&kernel, &[1, HOST, OTHER])?;
    let client = client(&pool, address, HOST)?;
    if daemon == Daemon::IsDead {
        pool.kill(HOST)?;
    }
    let since = now();
    take(&pool, HOST, address)?;
    wait_change(&kernel, "the removal", |change| change.at >= since && change.address == address && change.kind == ChangeKind::Removed)?;
    let back = wait_on(&kernel, address, HOST)?;
    judge_announced(&pool, &frames, address, HOST, back)?;
    judge_mark(&pool, HOST, address, Mark::Raisd)?;
    nothing_moves(&kernel, &client, HOST, back)?;
    pool.check()
}

/// Somebody removes the address so often.
fn given_away(stage: &Stage, times: u32) -> Outcome {
    let mut pool = Pool::build(stage, hosts())?;
    let address = service(HOST);
    let kernel = Kernel::record(pool.topology())?;
    let frames = Frames::capture(pool.topology())?;
    pool.start_all()?;
    wait_home(&kernel, &[1, HOST, OTHER])?;
    let client = client(&pool, address, HOST)?;
    for _ in 1..times {
        let since = now();
        take(&pool, HOST, address)?;
        let is_back = |change: &Change| change.at > since && change.address == address && change.kind == ChangeKind::Added;
        wait_change(&kernel, "the address put back", is_back)?;
    }
    take(&pool, HOST, address)?;
    let given = wait_on(&kernel, address, SPARE)?;
    judge_announced(&pool, &frames, address, SPARE, given)?;
    nothing_moves(&kernel, &client, SPARE, given)?;
    pool.check()
}

/// The spare's daemon dies with host 2's address on the interface; when it starts again, another host serves it.
fn leftover(stage: &Stage, left: Mark) -> Outcome {
    let mut pool = Pool::build(stage, hosts())?;
    let calls = Calls::new(stage.private());
    calls.install(&mut pool, SPARE, "true", "true", LONG)?;
    let address = service(HOST);
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    wait_home(&kernel, &[1, HOST, OTHER])?;
    pool.stop(HOST, LONG)?;
    wait_on(&kernel, address, SPARE)?;
    pool.kill(SPARE)?;
    if left == Mark::Foreign {
        take(&pool, SPARE, address)?;
        put(&pool, SPARE, address)?;
    }
    judge_mark(&pool, SPARE, address, left)?;
    let taken = kernel.wait(within(LONG), |holdings| holdings.get(&address)?.iter().copied().find(|host| *host != SPARE))?;
    let Some(taken) = taken else { return Err(Failure::broken(format!("nobody takes {address} over"))) };
    let since = now();
    pool.start(SPARE)?;
    wait_on(&kernel, address, taken)?;
    let is_release = |call: &Call| call.is(SPARE, Action::Release, address);
    let call = calls.wait(within(LONG), "for what was left", is_release)?;
    // The address goes first, then the script is told.
    if call.reason() != "leftover" || call.had_address {
        return Err(Verdict::new(Finding::Script, format!("{call:?}")).into());
    }
    judge_mark(&pool, taken, address, Mark::Raisd)?;
    nothing_moves_but(&kernel, since, &[(address, SPARE)])?;
    pool.check()
}

/// Since then nothing was changed but these addresses on these hosts.
fn nothing_moves_but(kernel: &Kernel, since: Instant, expected: &[(IpAddr, u8)]) -> Outcome {
    let is_other = |change: &Change| change.at >= since && !expected.contains(&(change.address, change.host));
    match kernel.changes()?.into_iter().find(is_other) {
        Some(change) => Err(Verdict::new(Finding::Moved, format!("{change:?}")).into()),
        None => Ok(()),
    }
}
