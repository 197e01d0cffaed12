//! `GET /api/v1/events`: the events as lines of JSON, those that have happened, and those that happen as they do.
//!
//! Owns the form of the question and the lines; the events are in the ring of `events.rs`. Never asks the loop, so that a
//! loop that hangs can be looked into.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::FOLLOWERS_MAX;
use super::super::events::{Cursor, EventReader, Wanted};
use super::{Daemon, Failure};
use crate::types::recorded::Recorded;

const EXPECTED: &str =
    "any of ?group=NAME, since_ms=NUMBER, last=NUMBER, follow=true, after=BOOT:SEQUENCE (of the last event that was read), or nothing";

/// Marks an answer that ends when the caller or the daemon does.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Endless;

/// The way to the events.
#[derive(Clone)]
pub(super) struct Told {
    events: EventReader,
    followers: Arc<Semaphore>,
}

impl Told {
    pub(super) fn new(events: EventReader) -> Self {
        Self { events, followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)) }
    }
}

/// What may follow the question mark.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    group: Option<String>,
    since_ms: Option<u64>,
    last: Option<usize>,
    #[serde(default)]
    follow: bool,
    after: Option<String>,
}

impl Question {
    fn wanted(self) -> Result<Wanted, Failure> {
        let after = self.after.map(|after| read_after(&after)).transpose()?;
        Ok(Wanted { group: self.group, since: self.since_ms.map(Duration::from_millis), last: self.last, after })
    }
}

fn read_after(text: &str) -> Result<(String, u64), Failure> {
    let wrong = || Failure::Body { wrong: format!("after is {text:?}"), expected: EXPECTED };
    let (boot, sequence) = text.split_once(':').ok_or_else(wrong)?;
    Ok((boot.to_owned(), sequence.parse().map_err(|_| wrong())?))
}

pub(super) async fn events(State(daemon): State<Daemon>, question: Result<Query<Question>, QueryRejection>) -> Result<Response, Failure> {
    let Query(question) = question.map_err(|rejection| Failure::Body { wrong: rejection.body_text(), expected: EXPECTED })?;
    let Told { events, followers } = daemon.told;
    let known = events.groups();
    if let Some(group) = question.group.as_ref().filter(|group| !known.contains(group)) {
        return Err(Failure::UnknownGroup { group: group.clone(), known });
    }
    let follows = question.follow;
    let cursor = events.begin(question.wanted()?);
    if !follows {
        let lines =
            stream::unfold(cursor, |mut cursor| async move { cursor.read().map(|batch| (Ok::<_, Infallible>(lines(&batch)), cursor)) });
        return Ok(answer(Body::from_stream(lines)));
    }
    let Ok(place) = followers.try_acquire_owned() else { return Err(Failure::ManyFollowers) };
    let mut response = answer(Body::from_stream(stream::unfold((cursor, place), follow)));
    response.extensions_mut().insert(Endless);
    Ok(response)
}

/// The next lines; made when there is room for them at the caller's end, and not before.
async fn follow(
    (mut cursor, place): (Cursor, OwnedSemaphorePermit),
) -> Option<(Result<Vec<u8>, Infallible>, (Cursor, OwnedSemaphorePermit))> {
    let batch = cursor.follow().await?;
    Some((Ok(lines(&batch)), (cursor, place)))
}

fn answer(body: Body) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn lines(events: &[Recorded]) -> Vec<u8> {
    let mut text = Vec::new();
    for event in events {
        match serde_json::to_writer(&mut text, event) {
            Ok(()) => text.push(b'\n'),
            Err(error) => tracing::error!("an event has no JSON form: {error}; please report this"),
        }
    }
    text
}
