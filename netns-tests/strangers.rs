//! Who has no key, a capture of an earlier run, and garbage: counted by reason, and without effect.
//!
//! The judge is the kernel of every host: no address goes anywhere. What is counted is read from `raisctl status`, which is what an
//! operator has. Twins: the newcomer has the right key; the host that the capture is of comes back; the host that starts has kept its
//! state, so that it knows what the capture tells.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;
use raisd::demo::probes::Client;

use crate::judge::kernel::Kernel;
use crate::judge::{now, poll_until, within};
use crate::outsider::{Datagram, Outsider};
use crate::pool::{Family, HostConfig, Pool, State, keygen, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(10);

/// Everybody lists it, and only the newcomer would accept it.
const WANTED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

const NEWCOMER: u8 = 4;

/// Whose address the client asks.
const CLIENTS: u8 = 2;

/// Runs no daemon.
const OUTSIDER: u8 = 9;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("a_newcomer_with_another_key", |stage| newcomer(stage, Key::Another)),
        stories.story("a_newcomer_with_another_key_of_the_same_id", |stage| newcomer(stage, Key::SameId)),
        stories.twin("a_newcomer_with_another_key", Finding::Moved, |stage| newcomer(stage, Key::Right)),
        stories.story("garbage_has_no_effect", |stage| garbage(stage, Sender::HasNoKey)),
        stories.twin("garbage_has_no_effect", Finding::Moved, |stage| garbage(stage, Sender::IsOneOfUs)),
        stories.story("a_capture_has_no_effect", |stage| capture(stage, Absentee::IsPlayed)),
        stories.twin("a_capture_has_no_effect", Finding::Moved, |stage| capture(stage, Absentee::ComesBack)),
        stories.story("a_capture_has_no_effect_on_a_host_without_state", |stage| capture_alone(stage, State::Lost)),
        stories.twin("a_capture_has_no_effect_on_a_host_without_state", Finding::Moved, |stage| capture_alone(stage, State::Kept)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Another,
    Right,
    SameId,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    HasNoKey,
    IsOneOfUs,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Absentee {
    ComesBack,
    IsPlayed,
}

/// Three hosts that serve, a newcomer that is not there yet, and the outsider.
fn build(stage: &Stage) -> Outcome<Pool> {
    let member = |host: u8| {
        // Whoever leads takes nothing from others, so that what is decided about it goes over the wire.
        let accept = if host == 1 { format!("{}/32", service(host)) } else { "192.0.2.0/24".to_owned() };
        HostConfig { group_keys: format!("floating = [\"{WANTED}/32\"]\naccept = [\"{accept}\"]"), ..HostConfig::server(host) }
    };
    Pool::build(stage, [1, 2, 3].map(member).into_iter().chain([HostConfig::spare(NEWCOMER), HostConfig::spare(OUTSIDER)]))
}

fn come_up(pool: &mut Pool, kernel: &Kernel, hosts: &[u8]) -> Outcome {
    hosts.iter().try_for_each(|host| pool.start(*host))?;
    hosts.iter().filter(|host| **host != NEWCOMER).try_for_each(|host| wait_on(kernel, service(*host), *host))
}

fn wait_on(kernel: &Kernel, address: IpAddr, host: u8) -> Outcome {
    match kernel.wait_holders(address, &[host], within(LONG))? {
        Some(_) => Ok(()),
        None => Err(Verdict::new(Finding::Unserved, format!("{address} is on {:?}, not on {host}", kernel.holders(address)?)).into()),
    }
}

fn start_client(pool: &Pool) -> Outcome<Client> {
    Ok(Client::start(pool.topology().client(), service(CLIENTS), Duration::from_millis(2))?)
}

/// Waits until the newcomer's address is on one of the others.
fn wait_elsewhere(kernel: &Kernel) -> Outcome {
    let address = service(NEWCOMER);
    let taken = kernel.wait(within(LONG), |state| state.get(&address)?.iter().find(|holder| **holder != NEWCOMER).copied())?;
    taken.map(drop).ok_or_else(|| Verdict::new(Finding::Unserved, format!("{address}, whose host is away")).into())
}

/// Datagrams that a host has dropped, by reason.
fn dropped(pool: &Pool, host: u8) -> Outcome<BTreeMap<String, u64>> {
    let status = pool.raisctl_json(host, &["status"])?;
    let counts = status.pointer("/groups/0/dropped").cloned().ok_or_else(|| Failure::broken("no `dropped` in the status"))?;
    Ok(serde_json::from_value(counts)?)
}

/// Waits until each host of the pool has dropped so many datagrams for each of the reasons, and then for ten heartbeats more, which is
/// longer than a host listens before it takes anything. No address may move meanwhile. The client's packets tell the time.
fn judge(pool: &Pool, kernel: &Kernel, client: &Client, since: Instant, reasons: &[&str], count: u64) -> Outcome {
    let mut last = String::new();
    let counted = poll_until(within(LONG), || {
        judge_rest(kernel, since)?;
        for host in [1, 2, 3] {
            let counts = dropped(pool, host)?;
            last = format!("host {host} has dropped {counts:?}");
            if reasons.iter().any(|reason| counts.get(*reason).is_none_or(|counted| *counted < count)) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    let later = now() + 10 * HostConfig::server(CLIENTS).heartbeat;
    if client.wait_answer(later, within(LONG), |by| by == Plan(CLIENTS).name())?.is_none() {
        return Err(Verdict::new(Finding::Unserved, format!("{} by its host", service(CLIENTS))).into());
    }
    judge_rest(kernel, since)?;
    counted.ok_or_else(|| Verdict::new(Finding::Uncounted, format!("{last}; wanted {count} of each of {reasons:?}")).into())
}

fn judge_rest(kernel: &Kernel, since: Instant) -> Outcome {
    match kernel.changes()?.into_iter().find(|change| change.at >= since) {
        Some(change) => Err(Verdict::new(Finding::Moved, format!("{change:?}")).into()),
        None => Ok(()),
    }
}

fn newcomer(stage: &Stage, key: Key) -> Outcome {
    // More than the newcomer says until it is settled.
    const ENOUGH: u64 = 30;
    let mut pool = build(stage)?;
    let kernel = Kernel::record(pool.topology())?;
    come_up(&mut pool, &kernel, &[1, 2, 3])?;
    let path = stage.private().join("newcomer.key");
    let reason = match key {
        Key::Another => {
            keygen(&path)?;
            "unknown-key"
        }
        Key::Right => "",
        Key::SameId => {
            keygen(&path)?;
            let (ours, other) = (fs::read_to_string(stage.private().join("www.key"))?, fs::read_to_string(&path)?);
            let is_id = |line: &&str| line.starts_with("id = ");
            let (ours, other_id) = (ours.lines().find(is_id).unwrap_or_default(), other.lines().find(is_id).unwrap_or_default());
            fs::write(&path, other.replace(other_id, ours))?;
            "forged"
        }
    };
    if key != Key::Right {
        pool.configure(NEWCOMER, |config| config.key_file = Some(path))?;
    }
    let client = start_client(&pool)?;
    let since = now();
    pool.start(NEWCOMER)?;
    judge(&pool, &kernel, &client, since, &[reason], ENOUGH)?;
    pool.check()
}

/// What has no key comes in every form, in between what the hosts say to each other, and with it a flood.
fn garbage(stage: &Stage, sender: Sender) -> Outcome {
    const FLOOD: u32 = 5000;
    let mut pool = build(stage)?;
    let kernel = Kernel::record(pool.topology())?;
    let outsider = Outsider::join(pool.topology().host(OUTSIDER)?, Family::V4.group_address())?;
    come_up(&mut pool, &kernel, &[1, 2, 3])?;
    let client = start_client(&pool)?;
    let genuine = outsider.heard()?.pop().ok_or_else(|| Failure::broken("nothing was heard"))?;
    let since = now();
    if sender == Sender::IsOneOfUs {
        pool.start(NEWCOMER)?;
    }
    for bytes in forms(&genuine) {
        outsider.say(&bytes)?;
    }
    let mut noise = Noise(1);
    for _ in 0..FLOOD {
        let mut bytes = noise.bytes();
        // Half of them look like one of ours until the seal is tried.
        if bytes.len().is_multiple_of(2) {
            let header = genuine.0.get(..64.min(bytes.len())).unwrap_or_default();
            bytes.splice(..header.len(), header.iter().copied());
        }
        outsider.say(&bytes)?;
    }
    let reasons = ["not-ours", "truncated", "too-long", "version-too-new", "foreign-group", "unknown-key", "forged"];
    judge(&pool, &kernel, &client, since, &reasons, 2)?;
    pool.check()
}

/// Every way in which a datagram can be wrong without a key, made of one that is right.
fn forms(genuine: &Datagram) -> Vec<Vec<u8>> {
    let changed = |at: usize, value: u8| {
        let mut bytes = genuine.0.clone();
        bytes.splice(at..=at, [value]);
        bytes
    };
    let byte = |at: usize| genuine.0.get(at).copied().unwrap_or_default();
    let cut = |length: usize| genuine.0.get(..length.min(genuine.0.len())).unwrap_or_default().to_vec();
    let last = genuine.0.len().saturating_sub(1);
    let mut forms = vec![Vec::new(), b"RAI".to_vec(), cut(5), cut(64), cut(79), cut(last), changed(0, b'X')];
    // Version, oldest version, kind, family, group, key, sender, boot, incarnation, number, body, seal.
    forms.extend([4, 5, 6, 7, 8, 12, 16, 32, 48, 56, 63, 64, last].map(|at| changed(at, byte(at) ^ 0x80)));
    forms.extend([1233, 2048, 2049, 9000].map(|length| {
        let mut long = genuine.0.clone();
        long.resize(length, 0);
        long
    }));
    forms
}

/// Bytes that mean nothing, the same in every run (xorshift, Marsaglia 2003).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Up to 1,232 of them.
    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::try_from(self.next() % 1233).unwrap_or_default();
        std::iter::repeat_with(|| self.next().to_be_bytes()).flatten().take(length).collect()
    }
}

/// Records a run in which the newcomer had an address of its own and others took it over, with goodbyes at the end.
fn record(pool: &mut Pool, kernel: &Kernel) -> Outcome<(Outsider, Vec<Datagram>)> {
    let outsider = Outsider::join(pool.topology().host(OUTSIDER)?, Family::V4.group_address())?;
    pool.configure(NEWCOMER, |config| config.preferred = vec![format!("{}/32", service(NEWCOMER))])?;
    come_up(pool, kernel, &[1, 2, 3, NEWCOMER])?;
    wait_on(kernel, service(NEWCOMER), NEWCOMER)?;
    pool.stop(NEWCOMER, LONG)?;
    wait_elsewhere(kernel)?;
    pool.start(NEWCOMER)?;
    wait_on(kernel, service(NEWCOMER), NEWCOMER)?;
    for host in [NEWCOMER, 3, 2, 1] {
        pool.stop(host, LONG)?;
    }
    let is_wanted = |datagram: &Datagram| datagram.is_farewell();
    outsider.wait(4, within(LONG), is_wanted)?.ok_or_else(|| Failure::broken("not all goodbyes were recorded"))?;
    let heard = outsider.heard()?;
    for kind in [0, 1, 2] {
        if !heard.iter().any(|datagram| datagram.kind() == Some(kind)) {
            return Err(Failure::broken(format!("no message of kind {kind} was recorded")));
        }
    }
    Ok((outsider, heard))
}

fn capture(stage: &Stage, absentee: Absentee) -> Outcome {
    let mut pool = build(stage)?;
    let kernel = Kernel::record(pool.topology())?;
    let (outsider, yesterday) = record(&mut pool, &kernel)?;
    come_up(&mut pool, &kernel, &[1, 2, 3])?;
    wait_elsewhere(&kernel)?;
    let client = start_client(&pool)?;
    let since = now();
    if absentee == Absentee::ComesBack {
        pool.start(NEWCOMER)?;
    }
    // Half of it comes before the goodbyes, half after them.
    let (goodbyes, others): (Vec<&Datagram>, Vec<&Datagram>) = yesterday.iter().partition(|datagram| datagram.is_farewell());
    let (first, second) = others.split_at(others.len() / 2);
    for datagram in [first, &goodbyes, second].into_iter().flatten() {
        outsider.say(&datagram.0)?;
    }
    judge(&pool, &kernel, &client, since, &["unproved", "after-farewell"], 10)?;
    pool.check()
}

/// One host starts alone and hears nothing but the capture.
fn capture_alone(stage: &Stage, state: State) -> Outcome {
    const ALONE: u8 = 2;
    let mut pool = build(stage)?;
    let kernel = Kernel::record(pool.topology())?;
    let (outsider, yesterday) = record(&mut pool, &kernel)?;
    if state == State::Lost {
        pool.lose_state(ALONE)?;
    }
    let since = now();
    pool.start(ALONE)?;
    let mut serving_since = None;
    let done = poll_until(within(LONG), || {
        // Goodbyes would end what is played here; without them it is the pool as it was.
        for datagram in yesterday.iter().filter(|datagram| !datagram.is_farewell()) {
            outsider.say(&datagram.0)?;
        }
        let elsewhere = kernel.changes()?.into_iter().find(|change| change.at >= since && change.address != service(ALONE));
        if let Some(change) = elsewhere {
            return Err(Verdict::new(Finding::Moved, format!("{change:?}")).into());
        }
        if serving_since.is_none() && kernel.holders(service(ALONE))?.contains(&ALONE) {
            serving_since = Some(now());
        }
        // Ten heartbeats more, in which it leads alone.
        Ok(serving_since.filter(|from| now() - *from > 10 * HostConfig::server(ALONE).heartbeat).map(drop))
    })?;
    done.ok_or_else(|| Verdict::new(Finding::Unserved, format!("{} while the capture is played", service(ALONE))))?;
    let counts = dropped(&pool, ALONE)?;
    if counts.get("unproved").is_none_or(|count| *count < 10) {
        return Err(Verdict::new(Finding::Uncounted, format!("{counts:?}")).into());
    }
    pool.check()
}
