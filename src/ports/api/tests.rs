use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};

use serde_json::Value;
use tempfile::TempDir;

use super::events::{EventWriter, Moment, NewEvent};
use super::*;
use crate::node::event::Answer;
use crate::types::item::Item;
use crate::types::recorded::{Kind, Recorded};
use crate::types::view::View;

struct Started {
    directory: TempDir,
    api: Api,
    requests: mpsc::Receiver<Asked>,
}

fn start() -> Started {
    start_with(events().1)
}

fn start_with(events: EventReader) -> Started {
    let directory = tempfile::tempdir().unwrap();
    let (api, requests) = Api::start(&directory.path().join("raisd.sock"), events, Places::default()).unwrap();
    Started { directory, api, requests }
}

#[expect(clippy::disallowed_methods, reason = "a clock for ages that no test reads")]
fn events() -> (EventWriter, EventReader) {
    let (writer, reader) = events::ring(8, "0123".to_owned(), std::time::Instant::now);
    writer.add_group("www");
    (writer, reader)
}

#[expect(clippy::disallowed_methods, reason = "a moment for an age that no test reads")]
fn record(writer: &EventWriter, detail: &str) {
    let moment = Moment { at: std::time::Instant::now(), wall: "2026-11-22T10:03:56.123456Z".to_owned() };
    let event = NewEvent {
        kind: Kind::Settled,
        group: Some("www".to_owned()),
        address: None,
        host: None,
        name: None,
        reason: None,
        epoch: None,
        detail: detail.to_owned(),
    };
    writer.record(&moment, [event]);
}

fn send(path: &Path, method: &str, target: &str, body: &str) -> StdStream {
    let mut stream = StdStream::connect(path).unwrap();
    let length = body.len();
    write!(stream, "{method} {target} HTTP/1.1\r\nHost: raisd\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    stream
}

fn receive(mut stream: StdStream) -> (u16, Value) {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

/// Sends a request that the API answers without asking the daemon.
fn rejected(started: &mut Started, method: &str, target: &str, body: &str) -> (u16, Value) {
    let answer = receive(send(started.api.path(), method, target, body));
    assert!(started.requests.try_recv().is_err(), "{method} {target} {body} reached the daemon");
    answer
}

fn view() -> View {
    serde_json::from_str(include_str!("../../../tests/samples/status.json")).unwrap()
}

#[test]
fn each_path_asks_the_daemon_its_question_once() {
    let minute = Duration::from_secs(60);
    let www = || Some("www".to_owned());
    let table = [
        ("quiesce", "", Request::Quiesce { group: None, reason: String::new() }),
        ("quiesce", r#"{"group":"www","reason":"new disk"}"#, Request::Quiesce { group: www(), reason: "new disk".to_owned() }),
        ("resume", r#"{"group":"www","reason":"done"}"#, Request::Resume { group: www() }),
        ("drain", "{}", Request::Drain { group: None, timeout: minute, reason: String::new() }),
        ("drain", r#"{"timeout_ms":5}"#, Request::Drain { group: None, timeout: Duration::from_millis(5), reason: String::new() }),
        (
            "expire",
            r#"{"address":"2001:db8::1","group":"www"}"#,
            Request::Expire { group: www(), item: Item::Address("2001:db8::1".parse().unwrap()) },
        ),
        ("forget", r#"{"host":"web4"}"#, Request::Forget { group: None, host: "web4".to_owned() }),
    ];
    let mut started = start();
    for (verb, body, expected) in table {
        let stream = send(started.api.path(), "POST", &format!("/api/v1/{verb}"), body);
        let (request, reply) = core(&mut started);
        assert_eq!(request, expected);
        reply.send(Answer::Done { message: format!("{verb}: done") }).unwrap();
        assert_eq!(receive(stream), (200, serde_json::json!({"message": format!("{verb}: done")})));
    }
    assert!(started.requests.try_recv().is_err());
}

/// The next question for the core, and where its answer goes.
fn core(started: &mut Started) -> (Request, oneshot::Sender<Answer>) {
    match started.requests.blocking_recv().unwrap() {
        Asked::Core { request, reply } => (request, reply),
        Asked::Reload { .. } => panic!("a reload is no question for the core"),
    }
}

#[test]
fn a_reload_is_answered_with_what_came_of_it() {
    let errors = "error: timeuot is no key\n --> raisd.toml:7:1".to_owned();
    let mut started = start();
    for (outcome, expected) in [
        (Reloaded::Done { message: "reloaded".to_owned() }, (200, serde_json::json!({"message": "reloaded"}))),
        (Reloaded::Refused { why: "not host.id".to_owned() }, (409, serde_json::json!({"error": "not host.id"}))),
        (Reloaded::Wrong { errors: errors.clone() }, (422, serde_json::json!({"error": errors}))),
    ] {
        let stream = send(started.api.path(), "POST", "/api/v1/reload", "");
        match started.requests.blocking_recv().unwrap() {
            Asked::Reload { reply } => reply.send(outcome).unwrap(),
            Asked::Core { request, .. } => panic!("{request:?}"),
        }
        assert_eq!(receive(stream), expected);
    }
}

#[test]
fn status_is_the_view_and_zone_is_its_zones() {
    let mut started = start();
    for (target, expected) in [
        ("/api/v1/status", serde_json::to_value(view()).unwrap()),
        ("/api/v1/status?group=www", serde_json::to_value(view()).unwrap()),
        ("/api/v1/zone?group=www", serde_json::to_value(call::Zones::from(view())).unwrap()),
    ] {
        let stream = send(started.api.path(), "GET", target, "");
        let (request, reply) = core(&mut started);
        assert_eq!(request, Request::Status);
        reply.send(Answer::Status(Box::new(view()))).unwrap();
        assert_eq!(receive(stream), (200, expected), "{target}");
    }
}

#[test]
fn an_unknown_group_is_answered_with_the_known_ones() {
    let mut started = start();
    let stream = send(started.api.path(), "GET", "/api/v1/zone?group=w%20w", "");
    core(&mut started).1.send(Answer::Status(Box::new(view()))).unwrap();
    assert_eq!(receive(stream), (404, serde_json::json!({"error": "no group \"w w\"; this host has: www"})));
}

#[test]
fn what_the_daemon_refuses_is_a_conflict_with_its_words() {
    let mut started = start();
    let stream = send(started.api.path(), "POST", "/api/v1/expire", r#"{"address":"192.0.2.1"}"#);
    core(&mut started).1.send(Answer::Refused { why: "web1 prefers 192.0.2.1".to_owned() }).unwrap();
    assert_eq!(receive(stream), (409, serde_json::json!({"error": "web1 prefers 192.0.2.1"})));
}

#[test]
fn a_wrong_body_is_answered_with_what_is_expected() {
    let mut started = start();
    let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(call::TEXT_BYTES_MAX + 1));
    for (verb, body) in [
        ("quiesce", "not json"),
        ("quiesce", r#"{"grup":"www"}"#),
        ("quiesce", r#"{"reason":"\u001b[31m"}"#),
        ("quiesce", long.as_str()),
        ("resume", r#"{"group":7}"#),
        ("drain", r#"{"timeout_ms":-1}"#),
        ("drain", r#"{"timeout_ms":18446744073709551615}"#),
        ("expire", "{}"),
        ("expire", r#"{"address":"192.0.2"}"#),
        ("forget", r#"{"host":""}"#),
    ] {
        let (status, answer) = rejected(&mut started, "POST", &format!("/api/v1/{verb}"), body);
        assert_eq!(status, 400, "{verb} {body}");
        assert!(answer["error"].as_str().unwrap().contains("expected: {"), "{answer}");
        assert!(answer["expected"].is_string(), "{answer}");
    }
}

#[test]
fn unknown_paths_methods_queries_and_long_bodies_are_refused_as_json() {
    let mut started = start();
    let long = " ".repeat(BODY_BYTES_MAX + 1);
    for (method, target, body, expected) in [
        ("GET", "/", "", 404),
        ("POST", "/api/v1/explode", "{}", 404),
        ("POST", "/api/v1/status", "{}", 405),
        ("GET", "/api/v1/drain", "", 405),
        ("GET", "/api/v1/zone?grup=www", "", 400),
        ("POST", "/api/v1/quiesce", long.as_str(), 413),
    ] {
        let (status, answer) = rejected(&mut started, method, target, body);
        assert_eq!(status, expected, "{method} {target}");
        assert!(answer["error"].is_string(), "{answer}");
    }
}

#[test]
fn a_full_queue_is_said_to_be_full() {
    let mut started = start();
    let waiting: Vec<_> = (0..REQUESTS_MAX).map(|_| send(started.api.path(), "GET", "/api/v1/status", "")).collect();
    while started.requests.len() < REQUESTS_MAX {
        std::thread::yield_now();
    }
    let (status, answer) = receive(send(started.api.path(), "GET", "/api/v1/status", ""));
    assert_eq!(status, 503, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("32 requests waiting"), "{answer}");
    for stream in waiting {
        core(&mut started).1.send(Answer::Status(Box::new(view()))).unwrap();
        assert_eq!(receive(stream).0, 200);
    }
}

#[test]
fn waiting_drains_leave_room_for_status() {
    let mut started = start();
    let mut waiting = Vec::new();
    let mut asked = Vec::new();
    for _ in 0..CONNECTIONS_MAX / 2 {
        waiting.push(send(started.api.path(), "POST", "/api/v1/drain", "{}"));
        asked.push(started.requests.blocking_recv().unwrap());
    }
    assert_eq!(rejected(&mut started, "POST", "/api/v1/drain", "{}").0, 503);
    let stream = send(started.api.path(), "GET", "/api/v1/status", "");
    core(&mut started).1.send(Answer::Status(Box::new(view()))).unwrap();
    assert_eq!(receive(stream).0, 200);
}

#[test]
fn connections_that_say_nothing_do_not_stop_the_others() {
    let mut started = start();
    let silent: Vec<_> = (1..CONNECTIONS_MAX).map(|_| StdStream::connect(started.api.path()).unwrap()).collect();
    let stream = send(started.api.path(), "GET", "/api/v1/status", "");
    core(&mut started).1.send(Answer::Status(Box::new(view()))).unwrap();
    assert_eq!(receive(stream).0, 200);
    drop(silent);
}

#[test]
fn a_caller_that_goes_away_harms_nobody() {
    let mut started = start();
    drop(send(started.api.path(), "POST", "/api/v1/quiesce", "{}"));
    let (_, mut reply) = core(&mut started);
    let waiter = tokio::runtime::Builder::new_current_thread().build().unwrap();
    waiter.block_on(reply.closed());
    let stream = send(started.api.path(), "POST", "/api/v1/resume", "{}");
    core(&mut started).1.send(Answer::Done { message: String::new() }).unwrap();
    assert_eq!(receive(stream).0, 200);
}

#[test]
fn stopping_answers_who_waits_and_removes_the_socket() {
    let Started { directory, api, mut requests } = start();
    let path = api.path().to_owned();
    let stream = send(&path, "POST", "/api/v1/drain", "{}");
    drop(requests.blocking_recv().unwrap());
    drop(requests);
    api.stop();
    assert_eq!(receive(stream), (503, serde_json::json!({"error": "the daemon is stopping"})));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn only_owner_and_group_may_connect() {
    let started = start();
    assert_eq!(std::fs::metadata(started.api.path()).unwrap().permissions().mode() & 0o777, 0o660);
}

#[test]
fn the_socket_of_a_living_daemon_is_refused_and_that_of_a_dead_one_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raisd.sock");
    let other = StdListener::bind(&path).unwrap();
    let error = Api::start(&path, events().1, Places::default()).unwrap_err();
    assert!(matches!(error, ApiError::Living { .. }), "{error}");
    assert!(error.to_string().contains("another raisd answers on"), "{error}");
    drop(other);
    let (api, _requests) = Api::start(&path, events().1, Places::default()).unwrap();
    assert!(StdStream::connect(api.path()).is_ok());
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raisd.sock");
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(Api::start(&path, events().1, Places::default()), Err(ApiError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_socket_that_took_the_place_of_ours_is_left_alone() {
    let started = start();
    let path = started.api.path().to_owned();
    std::fs::remove_file(&path).unwrap();
    let _other = StdListener::bind(&path).unwrap();
    started.api.stop();
    assert!(StdStream::connect(&path).is_ok());
}

#[test]
fn the_directory_of_the_socket_is_made_but_not_a_whole_tree() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Api::start(&directory.path().join("raisd/raisd.sock"), events().1, Places::default()).is_ok());
    let error = Api::start(&directory.path().join("no/such/raisd.sock"), events().1, Places::default()).unwrap_err();
    assert!(error.to_string().contains("the directory must exist"), "{error}");
}

#[test]
fn a_path_beyond_the_limit_of_sockets_is_refused_with_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let error = Api::start(&directory.path().join("x".repeat(108)), events().1, Places::default()).unwrap_err();
    assert!(error.to_string().contains("at most 107 bytes"), "{error}");
}

/// The client of `raisctl`, on a runtime that the test drives.
fn client(started: &Started) -> (crate::operator::client::Client, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    (crate::operator::client::Client::new(started.api.path().to_owned()), runtime)
}

#[test]
fn followed_events_come_as_they_happen_and_end_with_the_writer() {
    let (writer, reader) = events();
    record(&writer, "before");
    let started = start_with(reader);
    let (client, runtime) = client(&started);
    runtime.block_on(async {
        let mut lines = client.lines("/api/v1/events?follow=true&group=www").await.unwrap();
        let detail = |line: Option<String>| serde_json::from_str::<Recorded>(&line.unwrap()).unwrap().detail;
        assert_eq!(detail(lines.next().await.unwrap()), "before");
        record(&writer, "live");
        assert_eq!(detail(lines.next().await.unwrap()), "live");
        record(&writer, "last words");
        drop(writer);
        assert_eq!(detail(lines.next().await.unwrap()), "last words");
        assert_eq!(lines.next().await.unwrap(), None);
    });
}

#[test]
fn a_follower_that_stands_still_is_told_how_much_it_missed() {
    let (writer, reader) = events();
    let started = start_with(reader);
    let (client, runtime) = client(&started);
    runtime.block_on(async {
        let mut lines = client.lines("/api/v1/events?follow=true").await.unwrap();
        record(&writer, "first");
        assert!(lines.next().await.unwrap().unwrap().contains("first"));
        // More than the buffers of a socket and of both ends take.
        let long = "x".repeat(events::DETAIL_BYTES_MAX);
        for _ in 0..4000 {
            record(&writer, &long);
        }
        record(&writer, "last");
        let mut missed = 0;
        let mut told = 1;
        loop {
            let event: Recorded = serde_json::from_str(&lines.next().await.unwrap().unwrap()).unwrap();
            if event.kind == Kind::Missed {
                missed += event.detail.split(' ').next().unwrap().parse::<u64>().unwrap();
            } else {
                told += 1;
            }
            if event.detail == "last" {
                break;
            }
        }
        assert!(missed > 0);
        assert_eq!(missed + told, 4002, "nothing is told twice or passed over in silence");
    });
}

#[test]
fn followers_leave_room_for_others_and_one_that_goes_away_for_the_next() {
    let (writer, reader) = events();
    let started = start_with(reader);
    let (client, runtime) = client(&started);
    runtime.block_on(async {
        let mut all = Vec::new();
        for _ in 0..FOLLOWERS_MAX {
            all.push(client.lines("/api/v1/events?follow=true").await.unwrap());
        }
        let refused = client.lines("/api/v1/events?follow=true").await.unwrap_err();
        assert!(refused.to_string().contains("16 callers follow"), "{refused}");
        assert_eq!(client.lines("/api/v1/events").await.unwrap().next().await.unwrap(), None);
        drop(all.pop());
        let room = async {
            while client.lines("/api/v1/events?follow=true").await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), room).await.unwrap();
    });
    drop(writer);
}

#[test]
fn a_wrong_question_about_events_is_answered_with_what_is_expected() {
    let mut started = start();
    for query in ["grup=www", "since_ms=soon", "after=12", "after=ab:x", "follow=perhaps"] {
        let (status, answer) = rejected(&mut started, "GET", &format!("/api/v1/events?{query}"), "");
        assert_eq!(status, 400, "{query}");
        assert!(answer["expected"].as_str().unwrap().contains("since_ms=NUMBER"), "{answer}");
    }
    assert_eq!(rejected(&mut started, "GET", "/api/v1/events?group=nope", "").0, 404);
}
