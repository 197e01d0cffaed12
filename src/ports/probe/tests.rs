mod dns;
mod files;
mod https;
mod links;
mod plain;
mod systemd;

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::advance;

use super::*;
use crate::ports::script::captured_log::CapturedLog;

/// Far above what any of these tests takes: reached only if something hangs.
const HANGS: Duration = Duration::from_secs(60);

/// For probes that are meant to end by themselves.
const AMPLE: Duration = Duration::from_secs(30);

/// For probes that are meant to time out.
const SHORT: Duration = Duration::from_millis(100);

fn spec(kind: TestKind, timeout: Duration) -> TestSpec {
    TestSpec { name: "web".to_owned(), interval: Duration::from_millis(20), timeout, kind }
}

fn tcp(address: SocketAddr) -> TestKind {
    TestKind::Tcp { address: address.to_string(), source: None }
}

fn http(address: SocketAddr, path: &str) -> TestKind {
    TestKind::Http(http_test(&format!("http://{address}{path}")))
}

fn http_test(url: &str) -> HttpTest {
    HttpTest { url: url.to_owned(), host: None, source: None, status: Vec::new(), body: None, ca_file: None, server_name: None }
}

fn script(path: &Path) -> Vec<String> {
    vec![path.display().to_string()]
}

fn write_script(directory: &TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("probe");
    fs::write(&path, text.replace("DIR", &directory.path().display().to_string())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn next(results: &mut Receiver<Event>) -> Event {
    timeout(HANGS, results.recv()).await.expect("a result").expect("the channel is open")
}

async fn result(results: &mut Receiver<Event>) -> TestResult {
    let event = next(results).await;
    let Event::Tested { test, result } = event else { panic!("not a result: {event:?}") };
    assert_eq!(test, "web");
    result
}

async fn failure(results: &mut Receiver<Event>) -> String {
    match result(results).await {
        TestResult::Failed { why } => why,
        TestResult::Passed => panic!("it should have failed"),
    }
}

/// Results until one passes: what was under way when the world changed may still fail.
async fn passes_again(results: &mut Receiver<Event>) {
    while result(results).await != TestResult::Passed {}
}

/// Results until one fails.
async fn fails_again(results: &mut Receiver<Event>) -> String {
    loop {
        match result(results).await {
            TestResult::Passed => {}
            TestResult::Failed { why } => return why,
        }
    }
}

/// Results until one fails with this in its words; the one under way when the world changed may have others.
async fn fails_text(results: &mut Receiver<Event>, text: &str) -> String {
    loop {
        let why = fails_again(results).await;
        if why.contains(text) {
            return why;
        }
    }
}

async fn sample_of(results: &mut Receiver<Event>) -> Option<LoadSample> {
    let event = next(results).await;
    let Event::Loaded { load, sample } = event else { panic!("not a sample: {event:?}") };
    assert_eq!(load, "cpu");
    sample
}

#[tokio::test]
async fn a_tcp_test_passes_fails_and_recovers_with_the_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_probes, mut results) = Probes::start(vec![spec(tcp(address), AMPLE)], Vec::new());
    assert_eq!(result(&mut results).await, TestResult::Passed);
    drop(listener);
    let why = fails_again(&mut results).await;
    assert!(why.contains(&address.to_string()) && why.contains("refused"), "{why}");
    let _listener = TcpListener::bind(address).await.unwrap();
    passes_again(&mut results).await;
}

#[tokio::test]
async fn a_tcp_test_takes_a_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let kind = TestKind::Tcp { address: format!("localhost:{port}"), source: None };
    let (_probes, mut results) = Probes::start(vec![spec(kind, AMPLE)], Vec::new());
    assert_eq!(result(&mut results).await, TestResult::Passed);
}

#[tokio::test]
async fn a_tcp_test_times_out_while_nobody_accepts_and_recovers() {
    // A queue of one: a second connection gets no answer to its SYN until the first is accepted.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _first = std::net::TcpStream::connect(address).unwrap();
    let (_probes, mut results) = Probes::start(vec![spec(tcp(address), SHORT)], Vec::new());
    let why = failure(&mut results).await;
    assert_eq!(why, format!("{address} did not accept a connection within 100ms"));
    let accepting = std::thread::spawn(move || {
        while let Ok((stream, _)) = socket.accept() {
            drop(stream);
        }
    });
    passes_again(&mut results).await;
    assert!(!accepting.is_finished());
}

/// Answers each connection with what `answer` holds at that moment; an empty answer is never given.
async fn serve(listener: TcpListener, answer: tokio::sync::watch::Receiver<&'static str>, asked: Sender<String>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|length| length > 0) {}
        let text = *answer.borrow();
        if text.is_empty() {
            // The client gives up first.
            while stream.read_u8().await.is_ok() {}
            continue;
        }
        // A probe that has read enough closes while the rest is still being written.
        let _cut = stream.write_all(text.as_bytes()).await;
        let _cut = stream.shutdown().await;
        // What the client closes with: an end or a reset.
        let end = stream.read_u8().await.map_or_else(|error| format!("{:?}", error.kind()), |byte| byte.to_string());
        let _unread = asked.try_send(format!("{}{end}", String::from_utf8(request).unwrap()));
    }
}

#[tokio::test]
async fn an_http_test_goes_by_the_status() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (answer, answers) = tokio::sync::watch::channel("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let (asked, mut requests) = channel(1000);
    let _server = tokio::spawn(serve(listener, answers, asked));
    let (_probes, mut results) = Probes::start(vec![spec(http(address, "/health?x=1"), Duration::from_secs(1))], Vec::new());
    assert_eq!(result(&mut results).await, TestResult::Passed);
    let request = timeout(HANGS, requests.recv()).await.unwrap().unwrap();
    assert!(request.starts_with("GET /health?x=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {address}\r\n")), "{request}");
    assert!(request.ends_with("UnexpectedEof"), "the connection ends cleanly: {request}");

    answer.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").unwrap();
    let why = fails_again(&mut results).await;
    assert_eq!(why, format!("http://{address}/health?… answered 503 Service Unavailable"));

    answer.send("HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n").unwrap();
    passes_again(&mut results).await;

    answer.send("SSH-2.0-OpenSSH_9.2\r\n").unwrap();
    let why = fails_again(&mut results).await;
    assert!(why.contains("invalid HTTP version"), "{why}");

    answer.send("HTTP/1.0 204 No Content\r\n\r\n").unwrap();
    passes_again(&mut results).await;

    answer.send("").unwrap();
    let why = fails_again(&mut results).await;
    assert_eq!(why, format!("http://{address}/health?… did not answer within 1s"));
}

#[tokio::test]
async fn an_http_test_fails_without_a_server_and_with_a_url_it_cannot_use() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (mut probes, mut results) = Probes::start(vec![spec(http(address, "/"), AMPLE)], Vec::new());
    let why = failure(&mut results).await;
    assert!(why.contains("refused"), "{why}");
    drop(results);
    for url in ["ftp://localhost/", "localhost", "http://user@localhost/", "http:///", "/health"] {
        let test = spec(TestKind::Http(http_test(url)), AMPLE);
        (probes, results) = Probes::start(vec![test], Vec::new());
        let why = failure(&mut results).await;
        assert!(why.contains("is not of the form http://HOST[:PORT]/PATH"), "{url}: {why}");
    }
    drop(probes);
}

#[tokio::test]
async fn an_endless_body_does_not_hold_up_the_next_probe() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _server = tokio::spawn(async move {
        let mut streams = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nand so on").await.unwrap();
            streams.push(stream);
        }
    });
    let (_probes, mut results) = Probes::start(vec![spec(http(address, "/"), AMPLE)], Vec::new());
    for _ in 0..3 {
        assert_eq!(result(&mut results).await, TestResult::Passed);
    }
}

#[tokio::test]
async fn a_script_test_passes_fails_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let path = write_script(&directory, "#!/bin/sh\n[ -e DIR/bad ] || exit 0\necho 'disk is full' >&2\nexit 2\n");
    let (_probes, mut results) = Probes::start(vec![spec(TestKind::Script { command: script(&path) }, AMPLE)], Vec::new());
    assert_eq!(result(&mut results).await, TestResult::Passed);
    fs::write(directory.path().join("bad"), "").unwrap();
    let why = fails_again(&mut results).await;
    assert_eq!(why, format!("{} exited with status 2, saying \"disk is full\"", path.display()));
    fs::remove_file(directory.path().join("bad")).unwrap();
    passes_again(&mut results).await;
}

#[tokio::test]
async fn a_script_test_takes_arguments_and_looks_in_path() {
    let command = ["sh", "-c", "exit $1", "sh", "0"].map(str::to_owned).to_vec();
    let (_probes, mut results) = Probes::start(vec![spec(TestKind::Script { command }, AMPLE)], Vec::new());
    assert_eq!(result(&mut results).await, TestResult::Passed);
    for (command, expected) in
        [(vec!["raisd-no-such-program".to_owned()], "is in no directory of PATH"), (Vec::new(), "`command` is empty")]
    {
        let (_probes, mut results) = Probes::start(vec![spec(TestKind::Script { command }, AMPLE)], Vec::new());
        let why = failure(&mut results).await;
        assert!(why.contains(expected), "{why}");
    }
}

#[tokio::test]
async fn a_script_test_that_hangs_is_killed_with_its_children_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    // Without the file it hangs, with a child that holds a named pipe open; TERM would not end it.
    let text = "#!/bin/sh\n[ -e DIR/good ] && exit 0\ntrap '' TERM\nexec >DIR/fifo\nsleep 1000 &\nsleep 1000\n";
    let path = write_script(&directory, text);
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let gone = tokio::task::spawn_blocking(move || fs::File::open(fifo).unwrap().read_to_end(&mut Vec::new()).unwrap());
    let test = spec(TestKind::Script { command: script(&path) }, Duration::from_secs(2));
    let (_probes, mut results) = Probes::start(vec![test], Vec::new());
    let why = failure(&mut results).await;
    assert_eq!(why, format!("{} did not end within 2s and was killed", path.display()));
    fs::write(directory.path().join("good"), "").unwrap();
    assert_eq!(timeout(HANGS, gone).await.unwrap().unwrap(), 0);
    passes_again(&mut results).await;
}

#[tokio::test]
async fn a_test_never_has_two_probes_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = write_script(&directory, "#!/bin/sh\nmkdir DIR/lock || exit 1\nsleep 0.1\nrmdir DIR/lock\n");
    let test = spec(TestKind::Script { command: script(&path) }, AMPLE);
    let (_probes, mut results) = Probes::start(vec![test], Vec::new());
    for _ in 0..5 {
        assert_eq!(result(&mut results).await, TestResult::Passed);
    }
}

#[tokio::test(start_paused = true)]
async fn probes_are_timed_from_start_to_start_and_late_ones_are_not_made_up_for() {
    let mut ticks = ticks(Duration::from_millis(100));
    assert!(ticks.tick().now_or_never().is_some(), "the first comes at once");
    advance(Duration::from_millis(99)).await;
    assert!(ticks.tick().now_or_never().is_none());
    advance(Duration::from_millis(1)).await;
    assert!(ticks.tick().now_or_never().is_some());
    advance(Duration::from_millis(350)).await;
    assert!(ticks.tick().now_or_never().is_some(), "a late one comes at once");
    assert!(ticks.tick().now_or_never().is_none(), "and only once");
    advance(Duration::from_millis(100)).await;
    assert!(ticks.tick().now_or_never().is_some());
}

#[tokio::test]
async fn a_reload_leaves_alone_what_has_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    // Each start takes one line of a named pipe; none ends.
    let path = write_script(&directory, "#!/bin/sh\necho \"start $1\" >DIR/fifo\nexec sleep 1000\n");
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let fifo = fs::OpenOptions::new().read(true).write(true).open(fifo).unwrap();
    let mut starts = tokio::net::unix::pipe::Receiver::from_file_unchecked(fifo).unwrap();
    let named = |name: &str, word: &str| TestSpec {
        name: name.to_owned(),
        interval: SHORT,
        timeout: HANGS,
        kind: TestKind::Script { command: vec![path.display().to_string(), word.to_owned()] },
    };
    let mut seen = String::new();
    let (mut probes, mut results) =
        Probes::start(vec![named("kept", "kept"), named("changed", "before"), named("gone", "gone")], Vec::new());
    read_lines(&mut starts, &mut seen, 3).await;
    assert_eq!(sorted(&seen), ["start before", "start gone", "start kept"]);
    seen.clear();
    probes.reconfigure(vec![named("kept", "kept"), named("changed", "after"), named("added", "added")], Vec::new());
    read_lines(&mut starts, &mut seen, 2).await;
    assert_eq!(sorted(&seen), ["start added", "start after"]);
    drop(probes);
    assert_eq!(timeout(HANGS, results.recv()).await.unwrap(), None, "nothing is reported after the end");
}

async fn read_lines(from: &mut tokio::net::unix::pipe::Receiver, into: &mut String, count: usize) {
    while into.lines().count() < count || !into.ends_with('\n') {
        let mut bytes = [0; 256];
        let length = timeout(HANGS, from.read(&mut bytes)).await.expect("all have started").unwrap();
        into.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
    }
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn a_full_queue_holds_up_the_probes_instead_of_growing() {
    let directory = tempfile::tempdir().unwrap();
    let path = write_script(&directory, "#!/bin/sh\necho 1 1\n");
    let loads = vec![load_spec(LoadKind::Script { command: script(&path) })];
    let (probes, mut results) = Probes::start(Vec::new(), loads);
    let full = async {
        while results.len() < RESULTS {
            tokio::task::yield_now().await;
        }
    };
    timeout(HANGS, full).await.unwrap();
    assert_eq!(results.max_capacity(), RESULTS);
    assert_eq!(sample_of(&mut results).await, Some(LoadSample { load: 1, capacity: 1 }));
    drop(probes);
}

fn load_spec(kind: LoadKind) -> LoadSpec {
    LoadSpec { name: "cpu".to_owned(), interval: Duration::from_millis(20), timeout: AMPLE, kind }
}

#[tokio::test]
async fn the_processor_load_comes_after_the_first_interval() {
    let (_probes, mut results) = Probes::start(Vec::new(), vec![load_spec(LoadKind::Cpu)]);
    let sample = sample_of(&mut results).await.expect("this machine has counters");
    assert!(sample.capacity >= 1000 && sample.capacity % 1000 == 0 && sample.load <= sample.capacity, "{sample:?}");
}

#[tokio::test]
async fn a_load_script_prints_load_and_capacity() {
    let directory = tempfile::tempdir().unwrap();
    let path = write_script(&directory, "#!/bin/sh\ncat DIR/out\n[ ! -e DIR/bad ]\n");
    let out = directory.path().join("out");
    fs::write(&out, "300 1000\nsecond line\n").unwrap();
    let (_probes, mut results) = Probes::start(Vec::new(), vec![load_spec(LoadKind::Script { command: script(&path) })]);
    let (log, guard) = CapturedLog::start();
    let good = Some(LoadSample { load: 300, capacity: 1000 });
    assert_eq!(sample_of(&mut results).await, good);
    fs::write(directory.path().join("bad"), "").unwrap();
    while sample_of(&mut results).await.is_some() {}
    for _ in 0..3 {
        assert_eq!(sample_of(&mut results).await, None);
    }
    fs::remove_file(directory.path().join("bad")).unwrap();
    while sample_of(&mut results).await != good {}
    drop(guard);
    let text = log.text();
    assert_eq!(text.matches("the load cannot be read").count(), 1, "once per episode: {text}");
    assert!(text.contains("exited with status 1") && text.contains("the load can be read again"), "{text}");
}
