//! `GET /api/v1/explain`: why an address or host is where it is or how it is.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::super::call::{ANSWER_TIME_MAX, PLACES_PATH, TEXT_BYTES_MAX};
use super::{Daemon, Failure, json};
use crate::node::event::{Answer, Request};

const EXPECTED: &str = "?subject=ADDRESS-OR-HOST, and group=NAME if only one group is meant";

/// What may follow the question mark.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    subject: String,
    group: Option<String>,
    at: Option<String>,
}

pub(super) async fn explain(State(daemon): State<Daemon>, question: Result<Query<Question>, QueryRejection>) -> Result<Response, Failure> {
    let Query(question) = question.map_err(|rejection| Failure::Body { wrong: rejection.body_text(), expected: EXPECTED })?;
    if question.subject.is_empty() || question.subject.len() > TEXT_BYTES_MAX {
        let wrong = format!("subject has {} bytes", question.subject.len());
        return Err(Failure::Body { wrong, expected: EXPECTED });
    }
    if question.at.is_some() {
        // Going through a recording takes a second of a processor, which a running daemon has not.
        let why = format!("the daemon explains the present only; `raisctl explain --at` reads its recordings, where {PLACES_PATH} says");
        return Err(Failure::Refused(why));
    }
    match daemon.ask(Request::Explain { group: question.group, subject: question.subject }, ANSWER_TIME_MAX).await? {
        Answer::Explained(explanation) => Ok(json(StatusCode::OK, &explanation)),
        Answer::Refused { why } => Err(Failure::Refused(why)),
        Answer::Status(_) => Err(Failure::Mistaken("a status".to_owned())),
        Answer::Done { message } => Err(Failure::Mistaken(message)),
    }
}
