//! Namespaces, and the programs that look into them.

use std::future::Future;
use std::process::{Command, Output};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use nix::sched::{CloneFlags, unshare};

/// No step of a test takes longer, or it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes this process root of a user namespace of its own. Must run before there is a second thread.
pub(crate) fn enter_user_namespace() {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER)
        .expect("a user namespace: allow them (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces)");
    std::fs::write("/proc/self/setgroups", "deny").unwrap();
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).unwrap();
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).unwrap();
}

/// A test in a network namespace of its own, on a thread of its own; both are gone when it ends.
pub(crate) fn test<F, T>(name: &'static str, run: F) -> Trial
where
    F: FnOnce() -> T + Send + 'static,
    T: Future<Output = ()>,
{
    Trial::test(name, move || {
        let joined = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            ip("link set lo up");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { tokio::time::timeout(PATIENCE, run()).await }).expect("the test to end within a minute");
        });
        joined.join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Failed::from(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
        })
    })
}

/// Another network namespace, with a thread that sits in it and does what it is told.
pub(crate) struct Neighbour {
    tid: i32,
    jobs: std::sync::mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Neighbour {
    pub(crate) fn new() -> Self {
        let (tid_out, tid) = std::sync::mpsc::channel();
        let (jobs, work) = std::sync::mpsc::channel::<Box<dyn FnOnce() + Send>>();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            ip("link set lo up");
            tid_out.send(nix::unistd::gettid().as_raw()).unwrap();
            for job in work {
                job();
            }
        });
        Self { tid: tid.recv().unwrap(), jobs }
    }

    /// Moves an interface of the calling thread's namespace here.
    pub(crate) fn take(&self, interface: &str) {
        ip(&format!("link set {interface} netns {}", self.tid));
    }

    /// Runs something here and returns what it returns.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = std::sync::mpsc::channel();
        self.jobs.send(Box::new(move || done.send(job()).unwrap())).unwrap();
        result.recv().expect("the neighbour's job not to panic")
    }

    /// Runs `ip` here.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let arguments = arguments.to_owned();
        self.run(move || ip(&arguments))
    }
}

/// Runs `ip`, which must succeed, and returns what it prints.
pub(crate) fn ip(arguments: &str) -> String {
    let output = program("ip", arguments);
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a program, whatever comes of it.
pub(crate) fn program(name: &str, arguments: &str) -> Output {
    Command::new(name).args(arguments.split_whitespace()).output().unwrap_or_else(|error| panic!("{name} (install it): {error}"))
}

/// Runs `ip -batch`.
pub(crate) fn ip_batch(lines: impl IntoIterator<Item = String>) {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
    ip(&format!("-batch {}", file.path().display()));
}

/// Makes a pair of interfaces that are each other's cable, both switched on and in working order.
pub(crate) fn veth(name: &str, peer: &str) {
    veth_down(name, peer);
    for interface in [name, peer] {
        ip(&format!("link set {interface} up"));
    }
    await_up(name);
    await_up(peer);
}

/// Waits until the kernel has noticed the carrier of an interface, which it does from a work queue up to a second late; until then it drops
/// what is sent.
#[expect(clippy::disallowed_methods, reason = "a patience, not a measure")]
pub(crate) fn await_up(interface: &str) {
    let started = std::time::Instant::now();
    while !ip(&format!("link show {interface}")).contains("state UP") {
        assert!(started.elapsed() < PATIENCE, "{interface} does not come up");
    }
}

/// Makes a pair of interfaces that are each other's cable, both switched off.
pub(crate) fn veth_down(name: &str, peer: &str) {
    ip(&format!("link add {name} type veth peer name {peer}"));
    for interface in [name, peer] {
        // Link-local addresses would come and settle at their own time, in the middle of what is compared.
        ip(&format!("link set {interface} addrgenmode none"));
    }
}

/// What `ip` says of the IPv4 or IPv6 addresses of an interface, as `ADDRESS/PREFIX SCOPE`, link-local ones left out.
pub(crate) fn addresses(interface: &str) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_str(&ip(&format!("-json address show dev {interface}"))).unwrap();
    let infos = json[0]["addr_info"].as_array().unwrap().clone();
    infos
        .iter()
        .filter(|info| info["scope"] != "link")
        .map(|info| format!("{}/{} {}", info["local"].as_str().unwrap(), info["prefixlen"], info["scope"].as_str().unwrap()))
        .collect()
}

/// The source that the kernel chooses for a destination.
pub(crate) fn source_to(destination: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(&ip(&format!("-json route get {destination}"))).unwrap();
    json[0]["prefsrc"].as_str().map(ToOwned::to_owned)
}
