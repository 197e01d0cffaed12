//! What a daemon must refuse to start with: one clear line that names it and the remedy, and exit code 2.
//!
//! A wrong configuration (that one with its place in the file), a state directory in use, a taken DNS port, a missing capability. A daemon
//! that runs already is not disturbed. Twin: nothing is wrong, and the same judge must say that the daemon ran.

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use raisd::demo::lab;
use raisd::demo::plan::Plan;

use crate::judge::kernel::Kernel;
use crate::judge::{now, poll_until, within};
use crate::pool::{HostConfig, Pool, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(10);
const HOST: u8 = 1;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("a_start_with_an_unknown_key_is_refused", |stage| wrong_configuration(stage, "color = \"red\"", "color")),
        stories.story("a_start_with_a_wrong_value_is_refused", |stage| wrong_configuration(stage, "lease = \"sometimes\"", "sometimes")),
        stories.story("a_start_on_a_state_directory_in_use_is_refused", state_directory_in_use),
        stories.story("a_start_on_a_taken_dns_port_is_refused", |stage| taken_port(stage, Transport::Udp)),
        stories.story("a_start_on_a_taken_dns_port_of_tcp_is_refused", |stage| taken_port(stage, Transport::Tcp)),
        stories.story("a_start_without_net_admin_is_refused", |stage| without(stage, "-net_admin", &["CAP_NET_ADMIN"])),
        stories.story("a_start_without_net_raw_is_refused", |stage| without(stage, "-net_raw", &["CAP_NET_RAW"])),
        stories.story("a_start_without_net_bind_service_is_refused", |stage| {
            without(stage, "-net_bind_service", &["CAP_NET_BIND_SERVICE", ":53"])
        }),
        stories.story("a_start_without_any_capability_is_refused", |stage| without(stage, "-all", &["CAP_NET_ADMIN"])),
        stories.twin("a_start_with_nothing_wrong_is_refused", Finding::Unrefused, |stage| without(stage, "+all", &[])),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
}

/// What a refused start may print.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One line.
    Line,
    /// A line, and below it the place in the file.
    Place,
}

/// A daemon that is not expected to live.
pub(crate) struct Attempt {
    child: Child,
    log: std::path::PathBuf,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // One that has ended is not killed again, and one that cannot be killed has ended.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Attempt {
    /// Starts `raisd run` in a host's namespace, under `wrapper` if there is one.
    pub(crate) fn start(pool: &Pool, number: u8, wrapper: &[&str]) -> Outcome<Self> {
        let log = pool.log(number).with_extension("refused.log");
        let file = File::create(&log)?;
        let config = pool.directory(number).join("raisd.toml");
        let words: Vec<&str> = wrapper.iter().copied().chain([env!("CARGO_BIN_EXE_raisd"), "run", "--config"]).collect();
        let (program, arguments) = words.split_first().ok_or_else(|| Failure::broken("no program"))?;
        let mut command = lab::command(program);
        command.args(arguments).arg(config).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = pool.topology().host(number)?.namespace().spawn(&mut command)?;
        Ok(Self { child, log })
    }

    /// What it has printed when it ends, which it must.
    pub(crate) fn end(mut self, limit: Duration) -> Outcome<String> {
        match poll_until(within(limit), || Ok(self.child.try_wait()?))? {
            Some(_) => Ok(fs::read_to_string(&self.log)?),
            None => Err(Verdict::new(Finding::Unrefused, format!("it runs:\n{}", fs::read_to_string(&self.log)?)).into()),
        }
    }

    /// It ends with 2 and says why: `words` are in what it prints.
    fn judge(&mut self, form: Form, words: &[&str]) -> Outcome {
        let ended = poll_until(within(Duration::from_secs(3)), || Ok(self.child.try_wait()?))?;
        let text = fs::read_to_string(&self.log)?;
        let refused = |why: &str| Err(Verdict::new(Finding::Unrefused, format!("{why}:\n{text}")).into());
        match ended.and_then(|status| status.code()) {
            Some(2) => {}
            Some(code) => return refused(&format!("it ended with {code}")),
            None => return refused("it runs, or was killed"),
        }
        if let Some(word) = words.iter().find(|word| !text.contains(**word)) {
            return refused(&format!("{word} is not named"));
        }
        match form {
            Form::Line if text.lines().count() != 1 => refused("not one line"),
            Form::Line | Form::Place => Ok(()),
        }
    }
}

/// One host, with its configuration written.
fn one_host(stage: &Stage, change: impl FnOnce(&mut HostConfig)) -> Outcome<Pool> {
    let mut pool = Pool::build(stage, [HostConfig { name_servers: vec![Plan(HOST)], ..HostConfig::server(HOST) }])?;
    pool.configure(HOST, change)?;
    Ok(pool)
}

fn wrong_configuration(stage: &Stage, line: &str, word: &str) -> Outcome {
    let pool = one_host(stage, |config| config.group_keys = line.to_owned())?;
    Attempt::start(&pool, HOST, &[])?.judge(Form::Place, &["raisd.toml:", word, "^"])
}

fn state_directory_in_use(stage: &Stage) -> Outcome {
    let mut pool = one_host(stage, |_| {})?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start(HOST)?;
    if kernel.wait_holders(service(HOST), &[HOST], within(LONG))?.is_none() {
        return Err(Failure::broken("the first daemon does not serve"));
    }
    let since = now();
    let directory = pool.directory(HOST).join("state").display().to_string();
    Attempt::start(&pool, HOST, &[])?.judge(Form::Line, &[&directory, "in use", "host.state_dir"])?;
    if let Some(change) = kernel.changes()?.into_iter().find(|change| change.at >= since) {
        return Err(Verdict::new(Finding::Moved, format!("{change:?}")).into());
    }
    pool.check()
}

fn taken_port(stage: &Stage, transport: Transport) -> Outcome {
    let pool = one_host(stage, |_| {})?;
    let address = format!("{}:53", Plan(HOST).own());
    let namespace = pool.topology().host(HOST)?.namespace();
    let (_udp, _tcp) = match transport {
        Transport::Udp => (Some(namespace.run(|| UdpSocket::bind(&address))??), None),
        Transport::Tcp => (None, Some(namespace.run(|| TcpListener::bind(&address))??)),
    };
    Attempt::start(&pool, HOST, &[])?.judge(Form::Line, &[&address, "another name server"])
}

/// Under util-linux's `setpriv`, which also takes the capabilities from root.
fn without(stage: &Stage, capabilities: &str, words: &[&str]) -> Outcome {
    let pool = one_host(stage, |_| {})?;
    let bounding = format!("--bounding-set={capabilities}");
    Attempt::start(&pool, HOST, &["setpriv", "--inh-caps=-all", &bounding])?.judge(Form::Line, words)
}
