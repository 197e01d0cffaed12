//! What a local program may send to the socket of the API: the real router behind the real listener.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use raisd::node::event::{Answer, Request};
use raisd::ports::api::call::Places;
use raisd::ports::api::events::ring;
use raisd::ports::api::{Api, Asked, Reloaded};
use raisd::types::view::View;
use tempfile::TempDir;

/// Far above what any answer takes: reached only if there is none.
const HANGS: Duration = Duration::from_secs(20);

struct Serving {
    _directory: TempDir,
    api: Api,
}

thread_local! {
    static SERVING: Serving = serve();
}

#[expect(clippy::disallowed_methods, reason = "a clock for the ages of events, of which there are none")]
fn serve() -> Serving {
    let directory = tempfile::tempdir().unwrap();
    let (writer, reader) = ring(8, "0123".to_owned(), Instant::now);
    writer.add_group("www");
    let (api, mut requests) = Api::start(&directory.path().join("raisd.sock"), reader, Places::default()).unwrap();
    let view: View = serde_json::from_str(include_str!("../samples/status.json")).unwrap();
    std::thread::spawn(move || {
        // As long as there is an API, there may be events.
        let _writer = writer;
        while let Some(asked) = requests.blocking_recv() {
            // The caller may have gone.
            match asked {
                Asked::Core { request: Request::Status, reply } => drop(reply.send(Answer::Status(Box::new(view.clone())))),
                Asked::Core { request, reply } => drop(reply.send(Answer::Refused { why: format!("{request:?}") })),
                Asked::Reload { reply } => drop(reply.send(Reloaded::Done { message: "done".to_owned() })),
            }
        }
    });
    Serving { _directory: directory, api }
}

/// Whatever comes, the answer is HTTP with a JSON body or there is none, and the next caller is served.
pub(crate) fn raw(bytes: &[u8]) {
    let answer = exchange(bytes);
    if !answer.is_empty() {
        check(&answer);
    }
    let next = exchange(b"GET /api/v1/status HTTP/1.1\r\nHost: raisd\r\n\r\n");
    assert!(next.starts_with(b"HTTP/1.1 200 "), "the next caller gets {:?}", String::from_utf8_lossy(&next));
}

/// What it answers until it closes, at most one answer of events that have no end.
fn exchange(bytes: &[u8]) -> Vec<u8> {
    SERVING.with(|serving| {
        let mut stream = UnixStream::connect(serving.api.path()).unwrap();
        stream.set_read_timeout(Some(HANGS)).unwrap();
        // It may refuse to read on.
        let written = stream.write_all(bytes);
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        // A request that is not whole ends here. One that is is answered before its end is looked for.
        if !is_whole(bytes) {
            let _ = stream.shutdown(Shutdown::Write);
        }
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
                Err(error) => {
                    assert!(
                        error.kind() == std::io::ErrorKind::ConnectionReset,
                        "{error} after {} bytes; written: {written:?}",
                        answer.len()
                    );
                    break;
                }
            }
            if answer.windows(13).any(|window| window == b"x-ndjson\r\ncach") || String::from_utf8_lossy(&answer).contains("chunked") {
                break;
            }
        }
        answer
    })
}

/// Whether a plain request without a body ends here.
fn is_whole(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\r\n\r\n")
        && bytes.windows(4).filter(|window| window == b"\r\n\r\n").count() == 1
        && bytes.starts_with(b"GET /api/v1/status HTTP/1.1\r\n")
}

fn check(answer: &[u8]) {
    let text = String::from_utf8_lossy(answer);
    assert!(text.starts_with("HTTP/1.1 ") || text.starts_with("HTTP/1.0 "), "{text:?}");
    let Some((head, body)) = text.split_once("\r\n\r\n") else { panic!("an answer without an end of its head: {text:?}") };
    let status = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).unwrap();
    assert!(status != 500, "{text:?}");
    let is_json = head.lines().any(|line| line.eq_ignore_ascii_case("content-type: application/json"));
    if is_json && !body.is_empty() {
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{text:?}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: raisd\r\n\r\n").into_bytes();
    let post = |verb: &str, body: &str| {
        format!(
            "POST /api/v1/{verb} HTTP/1.1\r\nHost: raisd\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    vec![
        get("/api/v1/status"),
        get("/api/v1/zone"),
        get("/api/v1/zone?group=www"),
        get("/api/v1/events"),
        get("/api/v1/events?follow=true&group=www"),
        get("/api/v1/events?since=5&until=3"),
        get("/api/v1/explain?address=192.0.2.1"),
        get("/api/v1/explain?subject=web1&group=www"),
        get("/nothing"),
        post("quiesce", "{}"),
        post("quiesce", r#"{"group":"www","reason":"new disk"}"#),
        post("resume", r#"{"group":"www"}"#),
        post("drain", r#"{"timeout_ms":5}"#),
        post("expire", r#"{"address":"2001:db8::1","group":"www"}"#),
        post("forget", r#"{"host":"web4"}"#),
        post("move", r#"{"address":"192.0.2.1","to":"web2","timeout_ms":1}"#),
        post("freeze", r#"{"duration_ms":1000}"#),
        post("thaw", "{}"),
        post("rebalance", "{}"),
        post("reload", ""),
        b"POST /api/v1/drain HTTP/1.1\r\nHost: raisd\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_vec(),
        b"GET /api/v1/status HTTP/1.0\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
    ]
}
