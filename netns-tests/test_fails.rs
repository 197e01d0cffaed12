//! A test fails on one host: it releases by itself and goes on sending; when the test passes again it gets its own back.
//!
//! Told with an http test and with a script test. That it needs nobody's word is shown with nobody there who could take over.
//! Twins: the group does not use the test; the power fails instead; the group is told to keep what nobody else can serve.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libtest_mimic::Trial;
use raisd::demo::log::{Background, Log, wait_readable};
use raisd::demo::namespace::Namespace;

use crate::judge::control::Datagrams;
use crate::judge::kernel::Kernel;
use crate::judge::place::{HEARTBEAT, LONG, STILL_HEARTBEATS, never_doubled, stays_still, wait_own};
use crate::judge::zone::wait_advertised;
use crate::judge::{now, within};
use crate::pool::{HostConfig, Pool, ZONE, service};
use crate::story::{Finding, Outcome, Stage, Stories, Verdict};

const HOST: u8 = 2;
const PORT: u16 = 8080;

/// How long a failed test may take to count, three probes of 200 ms, and what comes of it: a twin in which nothing comes of it
/// ends with it.
const HEEDED: Duration = Duration::from_secs(3);

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("an_http_test_fails_on_one_host", |stage| fail(stage, Kind::Http, Twist::None)),
        stories.twin("an_http_test_fails_on_one_host", Finding::Kept, |stage| fail(stage, Kind::Http, Twist::Unused)),
        stories.story("a_script_test_fails_on_one_host", |stage| fail(stage, Kind::Script, Twist::None)),
        stories.twin("a_script_test_fails_on_one_host", Finding::Silent, |stage| fail(stage, Kind::Script, Twist::PowerCut)),
        stories.story("a_failing_host_releases_though_nobody_can_take_over", |stage| fail_alone(stage, "release")),
        stories.twin("a_failing_host_releases_though_nobody_can_take_over", Finding::Kept, |stage| fail_alone(stage, "keep")),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Script,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Twist {
    None,
    /// The test is there, and the group does not name it.
    Unused,
    /// The host's power fails, and with it what it would go on to send.
    PowerCut,
}

/// What the test of one host looks at, and how it is told to fail.
enum Tested {
    Http(Web),
    /// A file that is there as long as all is well.
    Script(PathBuf),
}

impl Tested {
    fn prepare(pool: &mut Pool, kind: Kind) -> Outcome<Self> {
        match kind {
            Kind::Http => Ok(Self::Http(Web::start(pool.topology().host(HOST)?.namespace())?)),
            Kind::Script => {
                let flag = pool.directory(HOST).join("well");
                pool.script(HOST, "test", &format!("#!/bin/sh\nexec test -e {}\n", flag.display()))?;
                let tested = Self::Script(flag);
                tested.set_well(true)?;
                Ok(tested)
            }
        }
    }

    fn table(&self, pool: &Pool) -> String {
        let what = match self {
            Self::Http(_) => format!("kind = \"http\"\nurl = \"http://127.0.0.1:{PORT}/health\""),
            Self::Script(_) => format!("kind = \"script\"\ncommand = [\"{}\"]", pool.directory(HOST).join("test").display()),
        };
        format!("[test.web]\n{what}\ninterval = \"200ms\"\ntimeout = \"200ms\"\nrise = 2\nfall = 3\n")
    }

    fn set_well(&self, well: bool) -> Outcome {
        match (self, well) {
            (Self::Http(web), well) => web.well.store(well, Ordering::Relaxed),
            (Self::Script(flag), true) => fs::write(flag, "")?,
            (Self::Script(flag), false) => fs::remove_file(flag)?,
        }
        Ok(())
    }
}

fn services(hosts: &[u8]) -> BTreeSet<IpAddr> {
    hosts.iter().copied().map(service).collect()
}

fn fail(stage: &Stage, kind: Kind, twist: Twist) -> Outcome {
    const ALL: [u8; 4] = [1, 2, 3, 4];
    let mut pool = Pool::build(stage, [1, 2, 3].map(HostConfig::server).into_iter().chain([HostConfig::spare(4)]))?;
    let tested = Tested::prepare(&mut pool, kind)?;
    let table = tested.table(&pool);
    pool.configure(HOST, |config| {
        config.tables = table;
        config.group_keys = if twist == Twist::Unused { String::new() } else { "tests = [\"web\"]".to_owned() };
    })?;
    let kernel = Kernel::record(pool.topology())?;
    let datagrams = Datagrams::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &[1, 2, 3])?;
    wait_advertised(pool.topology().client(), ZONE, &ALL, &services(&[1, 2, 3]), within(LONG))?;

    let failed = now();
    match twist {
        Twist::PowerCut => pool.power_off(HOST)?,
        Twist::None | Twist::Unused => tested.set_well(false)?,
    }
    let address = service(HOST);
    let has = |holdings: &crate::judge::kernel::Holdings| holdings.get(&address)?.contains(&4).then_some(());
    if kernel.wait(within(HEEDED), has)?.is_none() {
        return Err(Verdict::new(Finding::Kept, format!("{address} is on {:?}", kernel.holders(address)?)).into());
    }
    let silent = datagrams.wait_heartbeats(&[HOST], now(), HEARTBEAT, STILL_HEARTBEATS, within(HEEDED))?;
    if !silent.is_empty() {
        return Err(Verdict::new(Finding::Silent, "the host whose test fails").into());
    }
    never_doubled(&kernel, [address], failed, &ALL)?;
    wait_advertised(pool.topology().client(), ZONE, &ALL, &services(&[1, 3]), within(LONG))?;
    stays_still(&kernel, &datagrams, &ALL, STILL_HEARTBEATS)?;

    let well = now();
    tested.set_well(true)?;
    wait_own(&kernel, &[1, 2, 3])?;
    never_doubled(&kernel, [address], well, &ALL)?;
    wait_advertised(pool.topology().client(), ZONE, &ALL, &services(&[1, 2, 3]), within(LONG))?;
    pool.check()
}

/// The only other host is quiesced. The leader would take nothing away that it cannot place elsewhere.
fn fail_alone(stage: &Stage, all_failed: &'static str) -> Outcome {
    const ALL: [u8; 2] = [1, HOST];
    let mut pool = Pool::build(stage, ALL.map(HostConfig::server))?;
    let tested = Tested::prepare(&mut pool, Kind::Http)?;
    let table = tested.table(&pool);
    for host in ALL {
        pool.configure(host, |config| config.group_keys = format!("all_failed = \"{all_failed}\"\n"))?;
    }
    pool.configure(HOST, |config| {
        config.tables = table;
        config.group_keys.push_str("tests = [\"web\"]\n");
    })?;
    let kernel = Kernel::record(pool.topology())?;
    let datagrams = Datagrams::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &ALL)?;
    wait_advertised(pool.topology().client(), ZONE, &ALL, &services(&ALL), within(LONG))?;
    pool.raisctl(1, &["quiesce"])?;
    wait_advertised(pool.topology().client(), ZONE, &ALL, &services(&[HOST]), within(LONG))?;

    tested.set_well(false)?;
    if kernel.wait_holders(service(HOST), &[], within(HEEDED))?.is_none() {
        return Err(Verdict::new(Finding::Kept, format!("{} is on a host whose test fails", service(HOST))).into());
    }
    stays_still(&kernel, &datagrams, &ALL, STILL_HEARTBEATS)?;
    wait_advertised(pool.topology().client(), ZONE, &ALL, &services(&[]), within(LONG))?;
    tested.set_well(true)?;
    wait_own(&kernel, &ALL)?;
    pool.check()
}

/// A web server in a host's namespace that says whether it is well: 200 or 503.
struct Web {
    well: Arc<AtomicBool>,
    _thread: Background,
}

impl Web {
    fn start(namespace: &Namespace) -> io::Result<Self> {
        let listener = namespace.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)))??;
        listener.set_nonblocking(true)?;
        let well = Arc::new(AtomicBool::new(true));
        let answer = Arc::clone(&well);
        // Whether it still answers is what the test is there to find out.
        let log: Arc<Log<()>> = Arc::new(Log::new("web"));
        let thread = Background::start(&log, move |_, stop| serve(&listener, &answer, stop))?;
        Ok(Self { well, _thread: thread })
    }
}

fn serve(listener: &TcpListener, well: &AtomicBool, stop: &PipeReader) -> io::Result<()> {
    while wait_readable(listener, stop)? {
        match listener.accept() {
            // Whoever asks and goes away has no answer.
            Ok((stream, _)) => drop(answer(stream, well.load(Ordering::Relaxed))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn answer(mut stream: TcpStream, well: bool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let (mut request, mut buffer) = (Vec::new(), [0; 512]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => request.extend_from_slice(buffer.get(..length).unwrap_or_default()),
        }
    }
    let status = if well { "200 OK" } else { "503 Service Unavailable" };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}
