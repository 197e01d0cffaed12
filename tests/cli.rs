//! `raisd` and `raisctl` as an operator meets them: the real programs, their output in a pipe and their exit codes.
//!
//! `raisctl` talks to a real API whose daemon is a script: a list of what is asked and what is answered.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use std::path::Path;
use std::process::{Command, Output};
use std::thread::JoinHandle;
use std::time::Duration;

use raisd::node::event::{Answer, Request};
use raisd::ports::api::call::Places;
use raisd::ports::api::events::{EventReader, EventWriter, Moment, NewEvent, ring};
use raisd::ports::api::{Api, Asked, Reloaded};
use raisd::types::item::Item;
use raisd::types::view::View;
use tempfile::TempDir;

const SAMPLE: &str = include_str!("samples/status.json");

fn sample() -> View {
    serde_json::from_str(SAMPLE).unwrap()
}

/// A program of this package, in an environment of its own.
fn program(path: &str) -> Command {
    let mut command = Command::new(path);
    for variable in ["RAISD_SOCKET", "RAISD_LOG", "NO_COLOR", "JOURNAL_STREAM"] {
        command.env_remove(variable);
    }
    command
}

fn raisd(arguments: &[&str]) -> Output {
    program(env!("CARGO_BIN_EXE_raisd")).args(arguments).output().unwrap()
}

fn raisctl(socket: &Path, arguments: &[&str]) -> Output {
    program(env!("CARGO_BIN_EXE_raisctl")).arg("--socket").arg(socket).args(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The events of a daemon.
#[expect(clippy::disallowed_methods, reason = "a clock for ages that no test reads")]
fn events() -> (EventWriter, EventReader) {
    let (writer, reader) = ring(8, "0123".to_owned(), std::time::Instant::now);
    writer.add_group("www");
    (writer, reader)
}

/// A daemon that expects these questions in this order.
struct Daemon {
    directory: TempDir,
    script: JoinHandle<()>,
}

impl Daemon {
    fn answering(script: Vec<(Request, Answer)>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (_writer, reader) = events();
        let (api, mut requests) = Api::start(&directory.path().join("raisd.sock"), reader, Places::default()).unwrap();
        let script = std::thread::spawn(move || {
            for (request, answer) in script {
                match requests.blocking_recv().unwrap() {
                    Asked::Core { request: asked, reply } => {
                        assert_eq!(asked, request);
                        reply.send(answer).unwrap();
                    }
                    Asked::Reload { .. } => panic!("a reload instead of {request:?}"),
                }
            }
            drop(requests);
            api.stop();
        });
        Self { directory, script }
    }

    /// A daemon that is told to reload, once.
    fn reloading(outcome: Reloaded) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (_writer, reader) = events();
        let (api, mut requests) = Api::start(&directory.path().join("raisd.sock"), reader, Places::default()).unwrap();
        let script = std::thread::spawn(move || {
            match requests.blocking_recv().unwrap() {
                Asked::Reload { reply } => reply.send(outcome).unwrap(),
                Asked::Core { request, .. } => panic!("{request:?} instead of a reload"),
            }
            drop(requests);
            api.stop();
        });
        Self { directory, script }
    }

    fn showing(view: View) -> Self {
        Self::answering(vec![(Request::Status, Answer::Status(Box::new(view)))])
    }

    /// Runs `raisctl` once; the script must be at its end then.
    fn asked(self, arguments: &[&str]) -> Output {
        let output = raisctl(&self.directory.path().join("raisd.sock"), arguments);
        self.script.join().unwrap();
        output
    }
}

#[test]
fn both_programs_answer_help_and_version() {
    let nowhere = Path::new("/nonexistent/raisd.sock");
    for output in [raisd(&["--version"]), raisctl(nowhere, &["--version"])] {
        assert_eq!(code(&output), 0);
        assert!(out(&output).trim_end().ends_with(env!("CARGO_PKG_VERSION")), "{}", out(&output));
    }
    for (output, words) in [
        (raisd(&["--help"]), ["run", "check", "demo", "--version"].as_slice()),
        (raisd(&["run", "--help"]), &["--config", "--log-format", "/etc/raisd/raisd.toml", "RAISD_LOG"]),
        (raisd(&["check", "--help"]), &["--config", "--defaults"]),
        (raisd(&["demo", "--help"]), &["--hosts", "--heartbeat", "100ms"]),
        (
            raisctl(nowhere, &["--help"]),
            &[
                "status",
                "zone",
                "events",
                "explain",
                "simulate",
                "quiesce",
                "resume",
                "drain",
                "expire",
                "forget",
                "reload",
                "key",
                "RAISD_SOCKET",
                "Exit codes",
            ],
        ),
        (raisctl(nowhere, &["status", "--help"]), &["--group", "--json", "--exit-code"]),
        (raisctl(nowhere, &["drain", "--help"]), &["--group", "--timeout", "60s"]),
    ] {
        assert_eq!(code(&output), 0);
        for word in words {
            assert!(out(&output).contains(word), "{word} in {}", out(&output));
        }
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let nowhere = Path::new("/nonexistent/raisd.sock");
    for arguments in [
        [].as_slice(),
        &["explode"],
        &["status", "--grup", "www"],
        &["expire"],
        &["expire", "192.0.2"],
        &["forget"],
        &["drain", "--timeout", "60"],
        &["drain", "--timeout", "2d"],
        &["move"],
        &["move", "web2"],
        &["move", "192.0.2.13", "web2", "web3"],
        &["move", "192.0.2.13", "--timeout", "25h"],
        &["freeze", "--for", "0s"],
        &["freeze", "--for", "8d"],
        &["freeze", "--for", "soon"],
        &["thaw", "--for", "1h"],
        &["simulate", "--fail"],
    ] {
        let output = raisctl(nowhere, arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", err(&output));
    }
    for arguments in
        [[].as_slice(), &["explode"], &["run", "--log-format", "xml"], &["demo", "--heartbeat", "fast"], &["demo", "--hosts", "0"]]
    {
        let output = raisd(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", err(&output));
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_exit_code_2_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raisd.toml");
    let path = path.to_str().unwrap();
    for command in ["run", "check"] {
        let output = raisd(&[command, "--config", path]);
        assert_eq!(code(&output), 2);
        assert!(err(&output).contains(path), "{}", err(&output));
    }
}

#[test]
fn a_log_filter_that_is_none_is_exit_code_2_with_an_example() {
    let output = program(env!("CARGO_BIN_EXE_raisd")).env("RAISD_LOG", "raisd=loud").arg("run").output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("RAISD_LOG=\"raisd=loud\" is not a log filter"), "{}", err(&output));
}

#[test]
fn the_defaults_are_printed_without_a_file() {
    let output = raisd(&["check", "--defaults"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("[host]"), "{}", out(&output));
}

#[test]
fn no_daemon_is_exit_code_3_with_socket_and_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("absent.sock");
    let dead = directory.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    for socket in [&absent, &dead] {
        for arguments in [["status"].as_slice(), &["zone", "--json"], &["quiesce"], &["drain"], &["expire", "192.0.2.1"]] {
            let output = raisctl(socket, arguments);
            assert_eq!(code(&output), 3, "{}", err(&output));
            let text = err(&output);
            assert!(text.contains(socket.to_str().unwrap()) && text.contains("is raisd running?"), "{text}");
            assert_eq!(out(&output), "");
        }
    }
}

#[test]
fn the_socket_can_come_from_the_environment() {
    let output = program(env!("CARGO_BIN_EXE_raisctl")).env("RAISD_SOCKET", "/nonexistent/other.sock").arg("status").output().unwrap();
    assert_eq!(code(&output), 3);
    assert!(err(&output).contains("/nonexistent/other.sock"), "{}", err(&output));
}

#[test]
fn what_is_done_is_said_and_exit_code_0() {
    let www = || Some("www".to_owned());
    let no_reason = String::new;
    let item = || Item::Address([192, 0, 2, 13].into());
    let table = [
        (["quiesce"].as_slice(), Request::Quiesce { group: None, reason: no_reason() }),
        (&["quiesce", "--group", "www", "--reason", "new disk"], Request::Quiesce { group: www(), reason: "new disk".to_owned() }),
        (&["resume", "--group", "www", "--reason", "disk is in"], Request::Resume { group: www() }),
        (&["drain"], Request::Drain { group: None, timeout: Duration::from_secs(60), reason: no_reason() }),
        (
            &["drain", "--timeout", "1500ms", "--group", "www", "--reason", "x"],
            Request::Drain { group: www(), timeout: Duration::from_millis(1500), reason: "x".to_owned() },
        ),
        (&["expire", "192.0.2.13"], Request::Expire { group: None, item: item() }),
        (&["expire", "192.0.2.13/28", "--group", "www"], Request::Expire { group: www(), item: item() }),
        (&["move", "192.0.2.13"], Request::Move { group: None, item: item(), to: None, timeout: Duration::from_secs(60) }),
        (
            &["move", "192.0.2.13/32", "web2", "--group", "www", "--timeout", "5m"],
            Request::Move { group: www(), item: item(), to: Some("web2".to_owned()), timeout: Duration::from_secs(300) },
        ),
        (&["freeze"], Request::Freeze { group: None, duration: Duration::from_secs(3600) }),
        (
            &["freeze", "--for", "7d", "--group", "www", "--reason", "work on the switch"],
            Request::Freeze { group: www(), duration: Duration::from_secs(7 * 24 * 3600) },
        ),
        (&["thaw", "--group", "www"], Request::Thaw { group: www() }),
        (&["rebalance"], Request::Rebalance { group: None }),
        (&["forget", "web3"], Request::Forget { group: None, host: "web3".to_owned() }),
        (&["forget", "10.0.0.13", "--group", "www"], Request::Forget { group: www(), host: "10.0.0.13".to_owned() }),
    ];
    for (arguments, request) in table {
        let daemon = Daemon::answering(vec![(request, Answer::Done { message: "it is done".to_owned() })]);
        let output = daemon.asked(arguments);
        assert_eq!((code(&output), out(&output), err(&output)), (0, "it is done\n", ""), "{arguments:?}");
    }
}

#[test]
fn what_is_refused_is_exit_code_1_with_the_daemons_words() {
    let expire = Request::Expire { group: None, item: Item::Address([192, 0, 2, 11].into()) };
    let drain = Request::Drain { group: None, timeout: Duration::from_secs(1), reason: String::new() };
    let wish = Request::Move {
        group: None,
        item: Item::Address([192, 0, 2, 11].into()),
        to: Some("web4".to_owned()),
        timeout: Duration::from_secs(60),
    };
    let refused = [
        (["expire", "192.0.2.11"].as_slice(), expire),
        (&["drain", "--timeout", "1s"], drain),
        (&["move", "192.0.2.11", "web4"], wish),
        (&["rebalance", "--group", "www"], Request::Rebalance { group: Some("www".to_owned()) }),
    ];
    for (arguments, request) in refused {
        let output = Daemon::answering(vec![(request, Answer::Refused { why: "web1 prefers it".to_owned() })]).asked(arguments);
        assert_eq!((code(&output), out(&output), err(&output)), (1, "", "raisctl: web1 prefers it\n"));
    }
}

#[test]
fn status_in_a_pipe_is_plain_and_aligned() {
    let output = Daemon::showing(sample()).asked(&["status"]);
    assert_eq!((code(&output), err(&output)), (0, ""));
    assert_eq!(out(&output), include_str!("samples/status.txt"));
}

#[test]
fn zone_in_a_pipe_is_plain_and_aligned() {
    let output = Daemon::showing(sample()).asked(&["zone"]);
    assert_eq!((code(&output), err(&output)), (0, ""));
    assert_eq!(out(&output), include_str!("samples/zone.txt"));
}

#[test]
fn json_is_the_daemons_own() {
    let output = Daemon::showing(sample()).asked(&["status", "--json"]);
    assert_eq!(code(&output), 0);
    assert_eq!(out(&output), format!("{}\n", serde_json::to_string_pretty(&sample()).unwrap()));
    let output = Daemon::showing(sample()).asked(&["zone", "--json"]);
    let zones: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected: serde_json::Value = serde_json::from_str(SAMPLE).unwrap();
    assert_eq!(zones, serde_json::json!({"version": 1, "groups": [{"name": "www", "zone": expected["groups"][0]["zone"]}]}));
}

#[test]
fn a_group_can_be_picked_and_an_unknown_one_is_answered_with_the_known() {
    let mut view = sample();
    let mut db = view.groups[0].clone();
    db.name = "db".to_owned();
    db.zone = None;
    view.groups.push(db);
    let output = Daemon::showing(view.clone()).asked(&["status", "--group", "db"]);
    assert!(out(&output).starts_with("db: 3 of 4 hosts"), "{}", out(&output));
    assert!(!out(&output).contains("www:"), "{}", out(&output));
    let output = Daemon::showing(view.clone()).asked(&["zone", "--group", "db"]);
    assert_eq!((code(&output), out(&output)), (0, "db: no zone is configured ([group.dns])\n"));
    for command in ["status", "zone"] {
        let output = Daemon::showing(view.clone()).asked(&[command, "--group", "mail"]);
        assert_eq!((code(&output), err(&output)), (1, "raisctl: no group \"mail\"; this host has: www, db\n"));
    }
}

#[test]
fn the_exit_code_of_status_tells_whether_all_is_held_once() {
    let held_once = sample();
    let mut unserved = sample();
    unserved.groups[0].addresses[1].state = "unserved".to_owned();
    unserved.groups[0].addresses[1].served_by.clear();
    unserved.groups[0].addresses[1].kernel.clear();
    let mut held_twice = sample();
    held_twice.groups[0].addresses[1].kernel.push("10.0.0.14".parse().unwrap());
    for (view, expected) in [(held_once, 0), (unserved, 1), (held_twice, 1)] {
        for arguments in [["status", "--exit-code"].as_slice(), &["status", "--exit-code", "--json"]] {
            let output = Daemon::showing(view.clone()).asked(arguments);
            assert_eq!((code(&output), err(&output)), (expected, ""), "{}", out(&output));
            assert_ne!(out(&output), "");
        }
        assert_eq!(code(&Daemon::showing(view).asked(&["status"])), 0, "only --exit-code judges");
    }
}

/// Writes the sample where a test can change it.
fn state_file(directory: &TempDir, view: &View) -> String {
    let path = directory.path().join("state.json");
    std::fs::write(&path, serde_json::to_vec(view).unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn simulate_says_the_same_of_the_daemon_and_of_a_file_and_a_file_needs_no_daemon() {
    let arguments = ["simulate", "--fail", "web1", "--json"];
    let live = Daemon::showing(sample()).asked(&arguments);
    let directory = tempfile::tempdir().unwrap();
    let file = state_file(&directory, &sample());
    let nowhere = Path::new("/nonexistent/raisd.sock");
    let saved = raisctl(nowhere, &[arguments.as_slice(), &["--state", &file]].concat());
    assert_eq!((code(&live), err(&live)), (0, ""));
    assert_eq!((code(&saved), out(&saved)), (0, out(&live)));
    let answer: serde_json::Value = serde_json::from_str(out(&live)).unwrap();
    let moves = serde_json::json!([{"address": "192.0.2.11", "from": ["10.0.0.11"], "to": "10.0.0.14", "reason": "assigned"}]);
    assert_eq!((&answer["version"], &answer["groups"][0]["moves"]), (&serde_json::json!(1), &moves));
    assert_eq!(answer["groups"][0]["unserved"], serde_json::json!([]));
}

#[test]
fn simulate_gates_a_maintenance_script() {
    let directory = tempfile::tempdir().unwrap();
    let file = state_file(&directory, &sample());
    let nowhere = Path::new("/nonexistent/raisd.sock");
    let run = |arguments: &[&str]| raisctl(nowhere, &[["simulate", "--state", file.as_str()].as_slice(), arguments].concat());
    for (arguments, expected) in [
        ([].as_slice(), 0),
        (&["--fail", "web4"], 0),
        (&["--fail", "web1", "10.0.0.14"], 1),
        (&["--fail", "web1", "web4", "--join", "web3"], 0),
        (&["--fail", "web4", "--quiesce", "web1"], 1),
        (&["--group", "www"], 0),
        (&["--group", "mail"], 2),
        (&["--fail", "web9"], 2),
        (&["--join", "web9"], 2),
        (&["--fail"], 2),
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), expected, "{arguments:?}: {}{}", out(&output), err(&output));
        assert_eq!(err(&output).is_empty(), expected < 2, "{arguments:?}: {}", err(&output));
    }
    let output = raisctl(nowhere, &["simulate", "--state", "/nonexistent/state.json"]);
    assert!(code(&output) == 2 && err(&output).contains("/nonexistent/state.json"), "{}", err(&output));
    assert_eq!(code(&raisctl(nowhere, &["simulate"])), 3, "without a file it asks the daemon");
}

#[test]
fn a_reload_says_what_is_different_and_a_wrong_file_is_exit_code_2_with_its_place() {
    let done = Reloaded::Done { message: "reloaded: group www: preferred".to_owned() };
    let output = Daemon::reloading(done).asked(&["reload"]);
    assert_eq!((code(&output), out(&output), err(&output)), (0, "reloaded: group www: preferred\n", ""));
    let refused = Reloaded::Refused { why: "a running daemon cannot change host.id".to_owned() };
    let output = Daemon::reloading(refused).asked(&["reload"]);
    assert_eq!((code(&output), out(&output), err(&output)), (1, "", "raisctl: a running daemon cannot change host.id\n"));
    let errors = "error: failback cannot be \"soon\"\n --> /etc/raisd/raisd.toml:9:12".to_owned();
    let output = Daemon::reloading(Reloaded::Wrong { errors: errors.clone() }).asked(&["reload"]);
    assert_eq!((code(&output), out(&output)), (2, ""));
    assert!(err(&output).starts_with(&errors) && err(&output).contains("nothing is changed"), "{}", err(&output));
}

#[test]
fn key_status_is_exit_code_1_while_a_host_could_not_read_the_newest_key() {
    let output = Daemon::showing(sample()).asked(&["key", "status"]);
    assert_eq!(code(&output), 1, "{}", out(&output));
    let mut view = sample();
    let keys = view.groups[0].hosts[0].keys.clone();
    for host in &mut view.groups[0].hosts {
        host.keys.clone_from(&keys);
    }
    let output = Daemon::showing(view).asked(&["key", "status"]);
    assert_eq!((code(&output), err(&output)), (0, ""), "{}", out(&output));
    assert!(out(&output).starts_with("www: every host can read key 17; next: use = \"send\""), "{}", out(&output));
}

#[test]
fn the_first_key_of_a_group_without_keys_only_receives() {
    let nowhere = Path::new("/nonexistent/raisd.sock");
    for (arguments, usage) in [(["keygen"].as_slice(), "use = \"send\"\n"), (&["keygen", "--receive"], "use = \"receive\"\n")] {
        let output = raisctl(nowhere, arguments);
        assert_eq!(code(&output), 0);
        assert!(out(&output).contains(usage), "{}", out(&output));
    }
}

#[test]
fn a_daemon_that_stops_meanwhile_is_not_a_success() {
    let output = Daemon::answering(Vec::new()).asked(&["drain"]);
    assert!([1, 3].contains(&code(&output)), "{}", err(&output));
    assert_ne!(err(&output), "");
}

#[test]
fn explain_shows_what_the_daemon_says_and_refuses_the_past() {
    let explanation: raisd::types::explanation::Explanation = serde_json::from_str(include_str!("samples/explain-address.json")).unwrap();
    let question = || Request::Explain { group: Some("www".to_owned()), subject: "192.0.2.12".to_owned() };
    let daemon = || Daemon::answering(vec![(question(), Answer::Explained(Box::new(explanation.clone())))]);
    let output = daemon().asked(&["explain", "192.0.2.12", "--group", "www"]);
    assert_eq!((code(&output), out(&output)), (0, include_str!("samples/explain-address.txt")));
    let output = daemon().asked(&["explain", "192.0.2.12", "--group", "www", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(out(&output)).unwrap(), serde_json::to_value(&explanation).unwrap());
    let refused = vec![(question(), Answer::Refused { why: "no address or host is known".to_owned() })];
    let output = Daemon::answering(refused).asked(&["explain", "192.0.2.12", "--group", "www"]);
    assert_eq!((code(&output), err(&output)), (1, "raisctl: no address or host is known\n"));

    // The past is not asked of the core: it is read where the daemon says, which says nothing here.
    let directory = tempfile::tempdir().unwrap();
    let (_writer, reader) = events();
    let (api, _requests) = Api::start(&directory.path().join("raisd.sock"), reader, Places::default()).unwrap();
    let output = raisctl(api.path(), &["explain", "web2", "--at", "2026-11-22T03:00:00Z"]);
    assert_eq!(code(&output), 1);
    let output = raisctl(api.path(), &["explain", "web2", "--at", "noon"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("expected a time of day"), "{}", err(&output));
}

#[test]
fn events_are_told_as_lines_and_a_wrong_group_or_duration_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, reader) = events();
    let (api, _requests) = Api::start(&directory.path().join("raisd.sock"), reader, Places::default()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a moment for an age that no test reads")]
    let moment = Moment { at: std::time::Instant::now(), wall: "2026-11-22T10:03:56.123456Z".to_owned() };
    let event = NewEvent {
        kind: raisd::types::recorded::Kind::Release,
        group: Some("www".to_owned()),
        address: Some([192, 0, 2, 12].into()),
        host: Some(raisd::types::host::HostId([10, 0, 0, 12].into())),
        name: Some("web2".to_owned()),
        reason: Some(raisd::types::item::Reason::Drained),
        epoch: Some(3),
        detail: String::new(),
    };
    writer.record(&moment, [event.clone(), event]);
    let output = raisctl(api.path(), &["events", "--since", "10m"]);
    assert_eq!(code(&output), 0);
    let words: Vec<Vec<&str>> = out(&output).lines().map(|line| line.split_whitespace().skip(3).collect()).collect();
    assert_eq!(words, [["www", "release", "192.0.2.12", "web2", "drained", "3"]; 2]);
    let output = raisctl(api.path(), &["events", "--json", "--group", "www"]);
    let events: Vec<raisd::types::recorded::Recorded> = out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2]);
    let output = raisctl(api.path(), &["events", "--group", "nope"]);
    assert_eq!((code(&output), err(&output)), (1, "raisctl: no group \"nope\"; this host has: www\n"));
    assert_eq!(code(&raisctl(api.path(), &["events", "--since", "soon"])), 2);
    assert_eq!(code(&raisctl(Path::new("/nonexistent/raisd.sock"), &["events", "--follow"])), 3);
}
