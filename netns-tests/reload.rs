//! Another configuration while the daemon runs: what is different is taken up, what is not is not touched.
//!
//! Judged by every word that the kernels say about addresses, by a client at 1,000 packets a second, by `dig` and by the
//! control messages on the wire. A file that is wrong, or that the machine cannot take up, changes nothing. Twins: the
//! daemon is restarted instead; nothing is wrong; the test is another one; the power fails; nobody asks for the reload.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::time::Instant;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use raisd::demo::lab;
use raisd::demo::plan::{Network, Plan};

use crate::judge::calls::{Action, Calls};
use crate::judge::control::Datagrams;
use crate::judge::dig::{Answer, dig};
use crate::judge::kernel::Kernel;
use crate::judge::place::{HEARTBEAT, LONG, STILL_HEARTBEATS, is_untouched, stays_still, wait_at, wait_own};
use crate::judge::steady::Steady;
use crate::judge::{now, poll_until, within};
use crate::pool::{HostConfig, Pool, ZONE, keygen, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

/// Whose configuration is another.
const HOST: u8 = 2;
const SPARE: u8 = 4;
const ALL: [u8; 4] = [1, HOST, 3, SPARE];

/// What a host brings beside its own address.
const EXTRA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 22));

const OTHER_PORT: u16 = 5353;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("a_reload_does_not_touch_what_stays", |stage| stay(stage, Way::Reload)),
        stories.twin("a_reload_does_not_touch_what_stays", Finding::Moved, |stage| stay(stage, Way::Restart)),
        stories.story("a_wrong_file_changes_nothing", |stage| wrong(stage, "failback = \"soon\"")),
        stories.twin("a_wrong_file_changes_nothing", Finding::Unrefused, |stage| wrong(stage, "failback = \"1s\"")),
        stories.story("a_reload_that_cannot_be_taken_up_changes_nothing", |stage| refused(stage, Port::Taken)),
        stories.twin("a_reload_that_cannot_be_taken_up_changes_nothing", Finding::Unrefused, |stage| refused(stage, Port::Free)),
        stories.story("a_changed_test_keeps_its_state", |stage| changed_test(stage, "web")),
        stories.twin("a_changed_test_keeps_its_state", Finding::Moved, |stage| changed_test(stage, "other")),
        stories.story("a_group_is_added_taken_out_and_comes_back", |stage| group(stage, Leaves::InOrder)),
        stories.twin("a_group_is_added_taken_out_and_comes_back", Finding::Dark, |stage| group(stage, Leaves::PowerCut)),
        stories.story("another_service_interface_is_taken_up", |stage| interface(stage, Asked::Reload)),
        stories.twin("another_service_interface_is_taken_up", Finding::Unserved, |stage| interface(stage, Asked::Nothing)),
        stories.story("other_control_networks_are_taken_up", |stage| control(stage, Asked::Reload)),
        stories.twin("other_control_networks_are_taken_up", Finding::Kept, |stage| control(stage, Asked::Nothing)),
        stories.story("another_name_server_and_zone_are_taken_up", |stage| names(stage, Asked::Reload)),
        stories.twin("another_name_server_and_zone_are_taken_up", Finding::Zone, |stage| names(stage, Asked::Nothing)),
        stories.story("another_script_is_taken_up", |stage| script(stage, Asked::Reload)),
        stories.twin("another_script_is_taken_up", Finding::Script, |stage| script(stage, Asked::Nothing)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Reload,
    Restart,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Free,
    Taken,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaves {
    InOrder,
    PowerCut,
}

/// Whether anybody tells the daemon that its file is another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Reload,
}

impl Asked {
    fn reconfigure(self, pool: &mut Pool, change: impl FnOnce(&mut HostConfig)) -> Outcome {
        pool.configure(HOST, change)?;
        match self {
            Self::Nothing => Ok(()),
            Self::Reload => pool.reload(HOST).map(drop),
        }
    }
}

/// The pool, at its places.
struct Scene {
    pool: Pool,
    kernel: Kernel,
    datagrams: Datagrams,
}

impl Scene {
    fn build(stage: &Stage, prepare: impl FnOnce(&mut Pool) -> Outcome) -> Outcome<Self> {
        let mut pool = Pool::build(stage, [1, HOST, 3].map(HostConfig::server).into_iter().chain([HostConfig::spare(SPARE)]))?;
        prepare(&mut pool)?;
        let kernel = Kernel::record(pool.topology())?;
        let datagrams = Datagrams::record(pool.topology())?;
        pool.start_all()?;
        wait_own(&kernel, &[1, HOST, 3])?;
        stays_still(&kernel, &datagrams, &ALL, STILL_HEARTBEATS)?;
        Ok(Self { pool, kernel, datagrams })
    }

    fn stays_still(&self) -> Outcome {
        stays_still(&self.kernel, &self.datagrams, &ALL, STILL_HEARTBEATS)
    }
}

fn stay(stage: &Stage, way: Way) -> Outcome {
    let mut scene = Scene::build(stage, |_| Ok(()))?;
    let since = now();
    let steady = Steady::start(&scene.pool, service(HOST), HOST)?;
    for host in ALL {
        scene.pool.reload(host)?;
    }
    scene.stays_still()?;
    is_untouched(&scene.kernel, since, &[])?;

    // By signal, as `systemctl reload` does it.
    scene.pool.configure(HOST, |config| config.preferred.push(format!("{EXTRA}/32")))?;
    match way {
        Way::Reload => scene.pool.signal(HOST, Signal::SIGHUP)?,
        Way::Restart => {
            scene.pool.stop(HOST, LONG)?;
            scene.pool.start(HOST)?;
        }
    }
    wait_at(&scene.kernel, EXTRA, &[HOST], within(LONG))?;
    is_untouched(&scene.kernel, since, &[(HOST, EXTRA)])?;

    scene.pool.reconfigure(HOST, |config| config.preferred.retain(|address| !address.starts_with(&EXTRA.to_string())))?;
    wait_at(&scene.kernel, EXTRA, &[], within(LONG))?;
    scene.stays_still()?;
    is_untouched(&scene.kernel, since, &[(HOST, EXTRA)])?;
    steady.was_answered_by_its_host()?;
    scene.pool.check()
}

/// How often a host's log says this.
fn times_logged(pool: &Pool, text: &str) -> Outcome<usize> {
    Ok(fs::read_to_string(pool.log(HOST))?.matches(text).count())
}

/// `raisctl reload` must end with `code` and say all of `words`.
fn judge_refusal(pool: &Pool, code: i32, words: &[&str]) -> Outcome {
    let output = pool.raisctl(HOST, &["reload"])?;
    let text = String::from_utf8_lossy(&output.stderr);
    let refused = |why: String| Err(Verdict::new(Finding::Unrefused, format!("{why}:\n{text}")).into());
    if output.status.code() != Some(code) {
        return refused(format!("raisctl reload ended with {}", output.status));
    }
    match words.iter().find(|word| !text.contains(**word)) {
        Some(word) => refused(format!("{word} is not named")),
        None => Ok(()),
    }
}

fn wrong(stage: &Stage, line: &str) -> Outcome {
    let mut scene = Scene::build(stage, |_| Ok(()))?;
    let since = now();
    let steady = Steady::start(&scene.pool, service(HOST), HOST)?;
    scene.pool.configure(HOST, |config| {
        config.group_keys = line.to_owned();
        config.preferred = vec![format!("{EXTRA}/32")];
    })?;
    let text = fs::read_to_string(scene.pool.directory(HOST).join("raisd.toml"))?;
    let Some(place) = text.lines().position(|found| found == line) else {
        return Err(Failure::broken(format!("no line {line}")));
    };
    // The value begins behind `failback = `.
    let place = format!("raisd.toml:{}:12", place + 1);
    judge_refusal(&scene.pool, 2, &[&place, "\"soon\"", "^", "nothing is changed"])?;
    scene.pool.signal(HOST, Signal::SIGHUP)?;
    let logged = poll_until(within(LONG), || Ok((times_logged(&scene.pool, &place)? == 2).then_some(())))?;
    if logged.is_none() {
        return Err(Verdict::new(Finding::Unrefused, format!("the log does not name {place} for the signal")).into());
    }
    scene.stays_still()?;
    is_untouched(&scene.kernel, since, &[])?;

    scene.pool.reconfigure(HOST, |config| {
        config.group_keys.clear();
        config.preferred = HostConfig::server(HOST).preferred;
        config.preferred.push(format!("{EXTRA}/32"));
    })?;
    wait_at(&scene.kernel, EXTRA, &[HOST], within(LONG))?;
    is_untouched(&scene.kernel, since, &[(HOST, EXTRA)])?;
    steady.was_answered_by_its_host()?;
    scene.pool.check()
}

/// Another program has the port; the host id is for a daemon's life.
fn refused(stage: &Stage, port: Port) -> Outcome {
    let mut scene = Scene::build(stage, |_| Ok(()))?;
    let since = now();
    let other = format!("{}:{OTHER_PORT}", Plan(HOST).own());
    let taken = match port {
        Port::Free => None,
        Port::Taken => Some(scene.pool.topology().host(HOST)?.namespace().run(|| UdpSocket::bind(&other))??),
    };
    let change = |config: &mut HostConfig| {
        config.dns_port = OTHER_PORT;
        config.preferred.push(format!("{EXTRA}/32"));
    };
    scene.pool.configure(HOST, change)?;
    judge_refusal(&scene.pool, 1, &[&other, "another name server"])?;
    if addresses(&scene.pool, 53)?.is_none() {
        return Err(Verdict::new(Finding::Zone, "the name server that was running answers no more").into());
    }
    drop(taken);
    scene.pool.configure(HOST, |config| {
        *config = HostConfig::server(HOST);
        config.preferred.push(format!("{EXTRA}/32"));
        config.host_keys = "id = \"10.9.9.9\"".to_owned();
    })?;
    judge_refusal(&scene.pool, 1, &["host.id", "10.0.0.12", "10.9.9.9", "systemctl restart raisd"])?;
    scene.stays_still()?;
    is_untouched(&scene.kernel, since, &[])?;
    scene.pool.reconfigure(HOST, |config| {
        *config = HostConfig::server(HOST);
        change(config);
    })?;
    wait_at(&scene.kernel, EXTRA, &[HOST], within(LONG))?;
    wait_port(&scene.pool, OTHER_PORT)?;
    scene.pool.check()
}

/// While it fails, and while it passes. A test of another name is another test, which counts as passing until it has failed.
fn changed_test(stage: &Stage, name: &'static str) -> Outcome {
    let well = stage.private().join("well");
    fs::write(&well, "")?;
    let table = |name: &str, timeout: u32| {
        let well = well.display();
        format!("[test.{name}]\nkind = \"file\"\npath = \"{well}\"\ninterval = \"200ms\"\ntimeout = \"{timeout}ms\"\nrise = 2\nfall = 3\n")
    };
    let set = |config: &mut HostConfig, name: &str, timeout| {
        config.tables = table(name, timeout);
        config.group_keys = format!("tests = [\"{name}\"]");
    };
    let mut scene = Scene::build(stage, |pool| pool.configure(HOST, |config| set(config, "web", 150)))?;
    scene.pool.reconfigure(HOST, |config| set(config, "web", 160))?;
    scene.stays_still()?;

    fs::remove_file(&well)?;
    wait_at(&scene.kernel, service(HOST), &[SPARE], within(LONG))?;
    scene.stays_still()?;
    scene.pool.reconfigure(HOST, |config| set(config, name, 170))?;
    scene.stays_still()?;
    fs::write(&well, "")?;
    wait_own(&scene.kernel, &[1, HOST, 3])?;
    scene.pool.check()
}

/// The service address that a host prefers in the second group.
fn mail(number: u8) -> IpAddr {
    [192, 0, 2, number + 100].into()
}

fn group(stage: &Stage, leaves: Leaves) -> Outcome {
    let mut scene = Scene::build(stage, |_| Ok(()))?;
    let key = stage.private().join("mail.key");
    keygen(&key)?;
    let since = now();
    let www = Steady::start(&scene.pool, service(3), 3)?;
    let table = |host: u8| {
        let preferred = if host == SPARE { String::new() } else { format!("\"{}/32\"", mail(host)) };
        format!(
            "[[group]]\nname = \"mail\"\naddress = \"239.255.42.2:4343\"\ninterface = \"{}\"\npreferred = [{preferred}]\n\
             heartbeat = \"100ms\"\ntimeout = \"400ms\"\nkey_file = \"{}\"\n",
            Network::Service,
            key.display()
        )
    };
    for host in [1, HOST, SPARE] {
        scene.pool.reconfigure(host, |config| config.tables = table(host))?;
    }
    for host in [1, HOST] {
        wait_at(&scene.kernel, mail(host), &[host], within(LONG))?;
    }
    let client = Steady::start(&scene.pool, mail(HOST), HOST)?;
    match leaves {
        Leaves::InOrder => {
            scene.pool.reconfigure(HOST, |config| config.tables.clear())?;
        }
        Leaves::PowerCut => scene.pool.power_off(HOST)?,
    }
    client.wait_host(SPARE)?;
    if leaves == Leaves::InOrder {
        scene.pool.reconfigure(HOST, |config| config.tables = table(HOST))?;
        client.wait_host(HOST)?;
    }
    client.was_answered()?;
    scene.stays_still()?;
    let meant: Vec<(u8, IpAddr)> = ALL.into_iter().flat_map(|host| [1, HOST].map(|of| (host, mail(of)))).collect();
    is_untouched(&scene.kernel, since, &meant)?;
    www.was_answered_by_its_host()?;
    scene.pool.check()
}

/// The record is of the service network; what is on the other interface is asked of the host's kernel.
fn interface(stage: &Stage, asked: Asked) -> Outcome {
    let mut scene = Scene::build(stage, |_| Ok(()))?;
    let since = now();
    let www = Steady::start(&scene.pool, service(3), 3)?;
    let other = Network::Control(0);
    asked.reconfigure(&mut scene.pool, |config| config.interface = other)?;
    let mut last = String::new();
    let there = poll_until(within(LONG), || {
        let mut command = lab::command("ip");
        command.args(["-o", "address", "show", "dev", other.interface()]);
        let output = scene.pool.topology().host(HOST)?.namespace().output(&mut command)?;
        last = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(last.contains(&format!(" {}/32 ", service(HOST))).then_some(()))
    })?;
    if there.is_none() {
        return Err(Verdict::new(Finding::Unserved, format!("{} is not on {other}:\n{last}", service(HOST))).into());
    }
    wait_at(&scene.kernel, service(HOST), &[], within(LONG))?;
    asked.reconfigure(&mut scene.pool, |config| config.interface = Network::Service)?;
    wait_own(&scene.kernel, &[1, HOST, 3])?;
    scene.stays_still()?;
    let meant: Vec<(u8, IpAddr)> = ALL.map(|host| (host, service(HOST))).into();
    is_untouched(&scene.kernel, since, &meant)?;
    www.was_answered_by_its_host()?;
    scene.pool.check()
}

fn control(stage: &Stage, asked: Asked) -> Outcome {
    let keep_id = |config: &mut HostConfig| config.host_keys = format!("id = \"{}\"", Plan(HOST).control(0));
    let mut scene = Scene::build(stage, |pool| pool.configure(HOST, keep_id))?;
    let since = now();
    let steady = Steady::start(&scene.pool, service(HOST), HOST)?;
    for networks in [vec![1], vec![1, 0], vec![0], vec![0, 1]] {
        asked.reconfigure(&mut scene.pool, |config| config.networks.clone_from(&networks))?;
        judge_networks(&scene, &networks)?;
    }
    scene.stays_still()?;
    is_untouched(&scene.kernel, since, &[])?;
    steady.was_answered_by_its_host()?;
    scene.pool.check()
}

/// The host sends on exactly these networks, for as long as nothing happens.
fn judge_networks(scene: &Scene, networks: &[u8]) -> Outcome {
    let wanted = networks.iter().copied().map(Network::Control).collect();
    let since = now();
    scene.stays_still()?;
    let used = scene.datagrams.networks(HOST, since)?;
    if used != wanted {
        let finding = if used.is_superset(&wanted) { Finding::Kept } else { Finding::Silent };
        return Err(Verdict::new(finding, format!("host {HOST} sends on {used:?} instead of {wanted:?}")).into());
    }
    Ok(())
}

fn addresses(pool: &Pool, port: u16) -> Outcome<Option<Answer>> {
    dig(pool.topology().client(), Plan(HOST).own().into(), ZONE, "A", &["-p", &port.to_string()])
}

/// Waits until the host's name server answers at this port and no other.
fn wait_port(pool: &Pool, port: u16) -> Outcome<Answer> {
    let closed = if port == 53 { OTHER_PORT } else { 53 };
    let answer = poll_until(within(LONG), || {
        let answer = addresses(pool, port)?.filter(|answer| !answer.records.is_empty());
        Ok(if addresses(pool, closed)?.is_none() { answer } else { None })
    })?;
    answer.ok_or_else(|| Verdict::new(Finding::Zone, format!("not answered at port {port}, or still at {closed}")).into())
}

fn names(stage: &Stage, asked: Asked) -> Outcome {
    let mut scene = Scene::build(stage, |_| Ok(()))?;
    let since = now();
    wait_port(&scene.pool, 53)?;
    asked.reconfigure(&mut scene.pool, |config| config.dns_port = OTHER_PORT)?;
    wait_port(&scene.pool, OTHER_PORT)?;
    asked.reconfigure(&mut scene.pool, |config| {
        config.dns_port = 53;
        config.ttl = std::time::Duration::from_secs(7);
    })?;
    let answer = wait_port(&scene.pool, 53)?;
    if answer.records.len() != 3 || answer.records.iter().any(|record| record.ttl != 7) {
        return Err(Verdict::new(Finding::Zone, format!("the answer is {answer:?}")).into());
    }
    // As if there had never been one, and back.
    asked.reconfigure(&mut scene.pool, |config| config.name_servers.clear())?;
    let gone = poll_until(within(LONG), || Ok(addresses(&scene.pool, 53)?.is_none().then_some(())))?;
    if gone.is_none() {
        return Err(Verdict::new(Finding::Zone, "a name server that is not configured answers").into());
    }
    asked.reconfigure(&mut scene.pool, |config| config.name_servers = HostConfig::server(HOST).name_servers)?;
    wait_port(&scene.pool, 53)?;
    is_untouched(&scene.kernel, since, &[])?;
    scene.pool.check()
}

fn script(stage: &Stage, asked: Asked) -> Outcome {
    let [first, second] = ["first", "second"].map(|name| {
        let directory = stage.private().join(name);
        fs::create_dir_all(&directory).map(|()| Calls::new(&directory))
    });
    let (first, second) = (first?, second?);
    let mut scene = Scene::build(stage, |pool| first.install(pool, HOST, "true", "true", LONG))?;
    let since: Instant = now();
    asked.reconfigure_scripts(&mut scene.pool, &second)?;
    scene.stays_still()?;
    is_untouched(&scene.kernel, since, &[])?;
    scene.pool.raisctl(HOST, &["drain"])?;
    wait_at(&scene.kernel, service(HOST), &[SPARE], within(LONG))?;
    scene.pool.raisctl(HOST, &["resume"])?;
    wait_at(&scene.kernel, service(HOST), &[HOST], within(LONG))?;
    for action in [Action::Release, Action::Acquire] {
        second.wait(within(30 * HEARTBEAT), "of the later configuration", |call| call.is(HOST, action, service(HOST)))?;
    }
    scene.pool.check()
}

impl Asked {
    fn reconfigure_scripts(self, pool: &mut Pool, calls: &Calls) -> Outcome {
        let scripts = ["acquire", "release"].map(|name| pool.script(HOST, &format!("later-{name}"), &calls.script("true")));
        let [acquire, release] = scripts;
        let (acquire, release) = (acquire?, release?);
        self.reconfigure(pool, |config| {
            config.tables.clear();
            crate::judge::calls::add_scripts(config, &acquire, &release, LONG);
        })
    }
}
