//! Tests and loads against what only a namespace of its own can show: hosts that do not answer, links without carrier, a file
//! server that is dead, files of the kernel that say something else.

use std::fs;
use std::io::Write;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libtest_mimic::Trial;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource as Limit, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use raisd::node::event::{Event, LoadSample, TestResult};
use raisd::ports::probe::{
    FileWanted, Flapping, InterfaceTest, LoadAveraged, LoadKind, LoadSpec, PressureAveraged, Probes, Resource, Stalled, TestKind, TestSpec,
};
use tokio::sync::mpsc::Receiver;
use tracing::subscriber::{DefaultGuard, set_default};

use super::namespace::{Neighbour, await_up, ip, test, veth};

/// For probes that are meant to time out.
const SHORT: Duration = Duration::from_millis(200);

/// For probes that are meant to end by themselves.
const AMPLE: Duration = Duration::from_secs(30);

const INTERVAL: Duration = Duration::from_millis(20);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("probes::a_ping_passes_fails_times_out_and_recovers_over_ipv4", || a_ping_passes_fails_times_out_and_recovers("10.9.0.")),
        test("probes::a_ping_passes_fails_times_out_and_recovers_over_ipv6", || a_ping_passes_fails_times_out_and_recovers("fd09::")),
        test("probes::a_ping_uses_a_ping_socket_where_that_is_allowed", a_ping_uses_a_ping_socket_where_that_is_allowed),
        test("probes::an_interface_test_goes_by_carrier_and_existence", an_interface_test_goes_by_carrier_and_existence),
        test("probes::a_flapping_interface_fails_until_it_has_been_steady", a_flapping_interface_fails_until_it_has_been_steady),
        test("probes::both_directions_of_an_interface_are_a_load", both_directions_of_an_interface_are_a_load),
        test("probes::connections_that_cannot_be_counted_are_no_load", connections_that_cannot_be_counted_are_no_load),
        test("probes::a_file_of_a_dead_file_server_times_out_and_recovers", a_file_of_a_dead_file_server_times_out_and_recovers),
        test("probes::a_pid_file_of_a_dead_file_server_times_out_and_recovers", a_pid_file_of_a_dead_file_server_times_out_and_recovers),
        test("probes::the_load_of_the_processors_recovers_from_everything", || kernel_file("/proc/stat", LoadKind::Cpu)),
        test("probes::the_load_average_recovers_from_everything", || {
            kernel_file("/proc/loadavg", LoadKind::LoadAverage { average: LoadAveraged::OneMinute, capacity: None })
        }),
        test("probes::the_load_of_the_memory_recovers_from_everything", || kernel_file("/proc/meminfo", LoadKind::Memory)),
        test("probes::pressure_recovers_from_everything", pressure_recovers_from_everything),
    ]
}

/// One running test.
struct Tested {
    _probes: Probes,
    results: Receiver<Event>,
}

impl Tested {
    fn start(kind: TestKind, timeout: Duration) -> Self {
        let spec = TestSpec { name: "probed".to_owned(), interval: INTERVAL, timeout, kind };
        let (probes, results) = Probes::start(vec![spec], Vec::new());
        Self { _probes: probes, results }
    }

    async fn next(&mut self) -> TestResult {
        let Some(Event::Tested { result, .. }) = self.results.recv().await else { panic!("not a result") };
        result
    }

    async fn passes(&mut self) {
        while self.next().await != TestResult::Passed {}
    }

    /// Waits for a failure with this in its words.
    async fn fails(&mut self, text: &str) {
        loop {
            if let TestResult::Failed { why } = self.next().await
                && why.contains(text)
            {
                return;
            }
        }
    }
}

/// One running load.
struct Loaded {
    _probes: Probes,
    samples: Receiver<Event>,
    log: Log,
    _guard: DefaultGuard,
}

impl Loaded {
    fn start(kind: LoadKind, timeout: Duration) -> Self {
        let log = Log::default();
        let writer = log.clone();
        let guard = set_default(tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish());
        let spec = LoadSpec { name: "probed".to_owned(), interval: INTERVAL, timeout, kind };
        let (probes, samples) = Probes::start(Vec::new(), vec![spec]);
        Self { _probes: probes, samples, log, _guard: guard }
    }

    async fn next(&mut self) -> Option<LoadSample> {
        let Some(Event::Loaded { sample, .. }) = self.samples.recv().await else { panic!("not a sample") };
        sample
    }

    async fn sample_that(&mut self, is_it: impl Fn(LoadSample) -> bool) {
        while !self.next().await.is_some_and(&is_it) {}
    }

    /// Waits until it cannot be read, and the log says so with this in its words.
    async fn fails(&mut self, text: &str) {
        while self.next().await.is_some() {}
        let log = self.log.text();
        assert!(log.contains(text), "{text}: {log}");
    }
}

/// What has been logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A cable to a host with 10.9.0.2 and fd09::2, and 3 that stay; here are 10.9.0.1 and fd09::1.
fn neighbour() -> Neighbour {
    let neighbour = Neighbour::new();
    ip("link add here type veth peer name there");
    neighbour.take("there");
    neighbour.ip("link set there up");
    ip("link set here up");
    ip("address add 10.9.0.1/24 dev here");
    ip("address add fd09::1/64 dev here nodad");
    await_up("here");
    for last in [3, 2] {
        neighbour.ip(&format!("address add 10.9.0.{last}/24 dev there"));
        neighbour.ip(&format!("address add fd09::{last}/64 dev there nodad"));
    }
    neighbour
}

async fn a_ping_passes_fails_times_out_and_recovers(net: &'static str) {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap();
    let range: Vec<u32> = range.split_whitespace().map(|group| group.parse().unwrap()).collect();
    assert!(range[0] > range[1], "no group may have ping sockets in a fresh namespace, only raw ones work: {range:?}");
    let (family, prefix, flags) = if net.contains(':') { ("-6", 64, "nodad") } else { ("-4", 24, "") };
    let target = format!("{net}2");
    let neighbour = neighbour();
    let kind = TestKind::Ping { address: target.parse().unwrap(), source: format!("{net}1").parse().ok() };
    let mut ping = Tested::start(kind, SHORT);
    ping.passes().await;
    // Nobody says a word: the target is looked for in vain.
    let leave = format!("address del {target}/{prefix} dev there");
    let come_back = format!("address add {target}/{prefix} dev there {flags}");
    neighbour.ip(&leave);
    ping.fails(&format!("{target} did not answer an echo request within 200ms")).await;
    neighbour.ip(&come_back);
    ping.passes().await;
    // This host knows that there is no way.
    ip(&format!("{family} route add unreachable {target}"));
    ping.fails(&format!("{target} cannot be reached: No route to host")).await;
    ip(&format!("{family} route del unreachable {target}"));
    ping.passes().await;
    // A router knows.
    for path in ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"] {
        neighbour.run(move || fs::write(path, "1").unwrap());
    }
    neighbour.ip(&leave);
    neighbour.ip(&format!("{family} route add unreachable {target}"));
    ip(&format!("{family} route add {target} via {net}3 dev here"));
    let said = if net.contains(':') { "Network is unreachable" } else { "No route to host" };
    ping.fails(&format!("{target} cannot be reached: {said}")).await;
    neighbour.ip(&format!("{family} route del unreachable {target}"));
    neighbour.ip(&come_back);
    ping.passes().await;
}

async fn a_ping_uses_a_ping_socket_where_that_is_allowed() {
    let _neighbour = neighbour();
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").unwrap();
    for target in ["10.9.0.2", "fd09::2"] {
        let mut ping = Tested::start(TestKind::Ping { address: target.parse().unwrap(), source: None }, AMPLE);
        ping.passes().await;
    }
    ip("route add unreachable 10.9.0.2");
    let mut ping = Tested::start(TestKind::Ping { address: "10.9.0.2".parse().unwrap(), source: None }, AMPLE);
    ping.fails("10.9.0.2 cannot be reached: No route to host").await;
}

fn interface(name: &str, carrier: bool, flapping: Option<Flapping>) -> TestKind {
    TestKind::Interface(InterfaceTest { interface: name.to_owned(), carrier, flapping })
}

async fn an_interface_test_goes_by_carrier_and_existence() {
    veth("here", "there");
    let mut carrier = Tested::start(interface("here", true, None), AMPLE);
    let mut existence = Tested::start(interface("here", false, None), AMPLE);
    carrier.passes().await;
    existence.passes().await;
    ip("link set there down");
    carrier.fails("interface here has no carrier").await;
    ip("link set there up");
    carrier.passes().await;
    ip("link set here down");
    carrier.fails("interface here is switched off: ip link set here up").await;
    existence.passes().await;
    ip("link del here");
    carrier.fails("there is no interface here").await;
    existence.fails("there is no interface here").await;
    veth("here", "there");
    carrier.passes().await;
    existence.passes().await;
}

async fn a_flapping_interface_fails_until_it_has_been_steady() {
    veth("here", "there");
    let limit = Flapping { changes: 4, within: Duration::from_secs(2) };
    let mut link = Tested::start(interface("here", true, Some(limit)), AMPLE);
    link.passes().await;
    for _ in 0..2 {
        ip("link set there down");
        ip("link set there up");
    }
    // Four changes are borne. What was under way meanwhile may have seen it without carrier.
    link.passes().await;
    ip("link set there down");
    ip("link set there up");
    link.fails("interface here is flapping: its carrier changed more than 4 times within 2s").await;
    link.passes().await;
}

async fn both_directions_of_an_interface_are_a_load() {
    const CAPACITY: u32 = 1_000_000;
    let neighbour = neighbour();
    let kind = LoadKind::Network { interfaces: vec!["lo".to_owned(), "here".to_owned()], capacity: Some(CAPACITY) };
    let mut network = Loaded::start(kind, AMPLE);
    // A tenth of a kilobit is what a host says unasked.
    let is_idle = |sample: LoadSample| sample.load < 100 && sample.capacity == CAPACITY;
    let is_busy = |sample: LoadSample| sample.load > 1_000 && sample.capacity == CAPACITY;
    network.sample_that(is_idle).await;
    let burst = |from: &str, to: &str| {
        let (from, to) = (format!("{from}:0"), format!("{to}:9"));
        move || {
            let socket = UdpSocket::bind(from).unwrap();
            socket.connect(to).unwrap();
            // A refusal that comes back is told by the next one.
            for _ in 0..200 {
                let _refused = socket.send(&[0; 1_400]);
            }
        }
    };
    let send = burst("10.9.0.1", "10.9.0.2");
    send();
    network.sample_that(is_busy).await;
    network.sample_that(is_idle).await;
    neighbour.run(burst("10.9.0.2", "10.9.0.1"));
    network.sample_that(is_busy).await;
    ip("link del here");
    network.fails("there is no interface here").await;
    veth("here", "there");
    network.sample_that(|sample| sample.capacity == CAPACITY).await;
}

async fn connections_that_cannot_be_counted_are_no_load() {
    let mut connections = Loaded::start(LoadKind::Connections { ports: vec![80], capacity: 100 }, AMPLE);
    let none = |sample| sample == LoadSample { load: 0, capacity: 100 };
    connections.sample_that(none).await;
    let (soft, hard) = getrlimit(Limit::RLIMIT_NOFILE).unwrap();
    setrlimit(Limit::RLIMIT_NOFILE, 0, hard).unwrap();
    connections.fails("the connections to port 80 could not be counted: EMFILE").await;
    setrlimit(Limit::RLIMIT_NOFILE, soft, hard).unwrap();
    connections.sample_that(none).await;
}

/// A file system whose server never answers; dropping it is the server's end. Whoever still waits for it keeps it busy.
struct DeadServer {
    connection: Option<fs::File>,
    at: PathBuf,
}

impl DeadServer {
    fn mount(at: &Path) -> Self {
        let connection = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").expect("/dev/fuse: modprobe fuse");
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&connection);
        let options = format!("fd={descriptor},rootmode=40000,user_id=0,group_id=0");
        mount(Some("fuse"), at, Some("fuse"), MsFlags::empty(), Some(options.as_str())).unwrap();
        Self { connection: Some(connection), at: at.to_owned() }
    }

    /// Everybody who waits for it is told that it is gone.
    fn end(&mut self) {
        self.connection = None;
    }
}

impl Drop for DeadServer {
    fn drop(&mut self) {
        self.end();
        umount2(&self.at, MntFlags::MNT_DETACH).unwrap();
    }
}

/// The calling thread's mounts become its own, and those of the threads that it starts.
fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
}

async fn a_file_of_a_dead_file_server_times_out_and_recovers() {
    own_mounts();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flag");
    fs::write(&path, "").unwrap();
    let shown = path.display();
    let mut file = Tested::start(TestKind::File { path: path.clone(), wanted: FileWanted::Present { max_age: None } }, SHORT);
    file.passes().await;
    let mut server = DeadServer::mount(directory.path());
    file.fails(&format!("{shown} could not be looked at within 200ms")).await;
    server.end();
    file.fails(&format!("{shown} could not be looked at: Transport endpoint is not connected")).await;
    drop(server);
    file.passes().await;
}

async fn a_pid_file_of_a_dead_file_server_times_out_and_recovers() {
    own_mounts();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pid");
    fs::write(&path, std::process::id().to_string()).unwrap();
    let name = fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned();
    let mut process = Tested::start(TestKind::Process { name, pid_file: Some(path.clone()) }, SHORT);
    process.passes().await;
    let server = DeadServer::mount(directory.path());
    process.fails(&format!("the process of {} could not be looked up within 200ms", path.display())).await;
    drop(server);
    process.passes().await;
}

/// A file of the kernel that something else lies upon.
struct Covered(&'static str);

impl Covered {
    fn with(path: &'static str, cover: &Path) -> Self {
        mount(Some(cover), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        Self(path)
    }
}

impl Drop for Covered {
    fn drop(&mut self) {
        umount2(self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

async fn kernel_file(path: &'static str, kind: LoadKind) {
    own_mounts();
    let directory = tempfile::tempdir().unwrap();
    let (nonsense, silence) = (directory.path().join("nonsense"), directory.path().join("silence"));
    fs::write(&nonsense, "nonsense\n").unwrap();
    nix::unistd::mkfifo(&silence, Mode::S_IRWXU).unwrap();
    let mut load = Loaded::start(kind, SHORT);
    load.sample_that(|sample| sample.capacity > 0).await;
    let covered = Covered::with(path, &nonsense);
    load.fails(path).await;
    drop(covered);
    load.sample_that(|sample| sample.capacity > 0).await;
    // Opening a named pipe waits until somebody writes.
    let covered = Covered::with(path, &silence);
    load.fails(&format!("{path} could not be read within 200ms")).await;
    drop(covered);
    drop(fs::OpenOptions::new().read(true).write(true).open(&silence).unwrap());
    load.sample_that(|sample| sample.capacity > 0).await;
}

async fn pressure_recovers_from_everything() {
    let path = "/proc/pressure/cpu";
    let kind = LoadKind::Pressure { resource: Resource::Cpu, stalled: Stalled::Some, average: PressureAveraged::TenSeconds, capacity: 100 };
    if fs::read_to_string(path).is_ok() {
        println!("this kernel keeps pressure stall information");
        return kernel_file(path, kind).await;
    }
    println!("this kernel keeps no pressure stall information");
    Loaded::start(kind, AMPLE).fails("this kernel keeps no pressure stall information; boot it with psi=1").await;
}
