//! The paths of the API: from an HTTP request to one question for the core, and from its answer to JSON.
//!
//! Owns the mapping and nothing else; `api.rs` owns the connections. Every answer is JSON, also every failure.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::LengthLimitError;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::call::{
    ANSWER_TIME_MAX, Call, Done, Drain, EVENTS_PATH, EXPLAIN_PATH, Expire, Failed, Forget, Freeze, Move, PLACES_PATH, Places, Quiesce,
    RELOAD_PATH, RELOAD_TIME_MAX, Rebalance, Resume, STATUS_PATH, Thaw, ZONE_PATH, Zones,
};
use super::events::EventReader;
use super::{Asked, BODY_BYTES_MAX, CONNECTIONS_MAX, Caller, Reloaded, SEND_TIME_MAX};
use crate::node::event::{Answer, Request};
use crate::types::view::View;

mod told;
mod why;

pub(super) use self::told::Endless;

/// Drains and moves that may wait at a time: half of the connections, so that `status` always finds one.
const WAITING_MAX: usize = CONNECTIONS_MAX / 2;

/// All paths.
pub(super) fn router(asked: mpsc::Sender<Asked>, events: EventReader, places: Places) -> Router {
    Router::new()
        .route(STATUS_PATH, get(status))
        .route(ZONE_PATH, get(zone))
        .route(EVENTS_PATH, get(told::events))
        .route(EXPLAIN_PATH, get(why::explain))
        .route(Quiesce::PATH, post(change::<Quiesce>))
        .route(Resume::PATH, post(change::<Resume>))
        .route(Drain::PATH, post(wait::<Drain>))
        .route(Expire::PATH, post(change::<Expire>))
        .route(Forget::PATH, post(change::<Forget>))
        .route(RELOAD_PATH, post(reload))
        .route(PLACES_PATH, get(async move || json(StatusCode::OK, &places)))
        .route(Move::PATH, post(wait::<Move>))
        .route(Freeze::PATH, post(change::<Freeze>))
        .route(Thaw::PATH, post(change::<Thaw>))
        .route(Rebalance::PATH, post(change::<Rebalance>))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path)
        .with_state(Daemon { asked, waiting: Arc::new(Semaphore::new(WAITING_MAX)), told: told::Told::new(events) })
}

/// The way to the loop.
#[derive(Clone)]
struct Daemon {
    asked: mpsc::Sender<Asked>,
    waiting: Arc<Semaphore>,
    told: told::Told,
}

impl Daemon {
    async fn ask(&self, request: Request, answer_time_max: Duration) -> Result<Answer, Failure> {
        self.exchange(answer_time_max, |reply| Asked::Core { request, reply }).await
    }

    async fn exchange<A>(&self, answer_time_max: Duration, asked: impl FnOnce(oneshot::Sender<A>) -> Asked) -> Result<A, Failure> {
        let (reply, answer) = oneshot::channel();
        match self.asked.try_send(asked(reply)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(Failure::Busy),
            Err(TrySendError::Closed(_)) => return Err(Failure::Stopping),
        }
        match tokio::time::timeout(answer_time_max, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Failure::Stopping),
            Err(_) => Err(Failure::Unanswered(answer_time_max)),
        }
    }

    async fn view(&self, group: Option<&str>) -> Result<View, Failure> {
        let mut view = match self.ask(Request::Status, ANSWER_TIME_MAX).await? {
            Answer::Status(view) => *view,
            Answer::Refused { why } => return Err(Failure::Refused(why)),
            Answer::Done { message } => return Err(Failure::Mistaken(message)),
            Answer::Explained(_) => return Err(Failure::Mistaken("an explanation".to_owned())),
        };
        let Some(group) = group else { return Ok(view) };
        if !view.groups.iter().any(|known| known.name == group) {
            let known = view.groups.into_iter().map(|known| known.name).collect();
            return Err(Failure::UnknownGroup { group: group.to_owned(), known });
        }
        view.groups.retain(|known| known.name == group);
        Ok(view)
    }
}

/// What may follow the question mark.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    group: Option<String>,
}

type SelectionResult = Result<Query<Selection>, QueryRejection>;

fn selected(selection: SelectionResult) -> Result<Option<String>, Failure> {
    match selection {
        Ok(Query(selection)) => Ok(selection.group),
        Err(rejection) => Err(Failure::Body { wrong: rejection.body_text(), expected: "?group=NAME or nothing after the path" }),
    }
}

async fn status(State(daemon): State<Daemon>, selection: SelectionResult) -> Result<Response, Failure> {
    let view = daemon.view(selected(selection)?.as_deref()).await?;
    Ok(json(StatusCode::OK, &view))
}

async fn zone(State(daemon): State<Daemon>, selection: SelectionResult) -> Result<Response, Failure> {
    let view = daemon.view(selected(selection)?.as_deref()).await?;
    Ok(json(StatusCode::OK, &Zones::from(view)))
}

async fn change<C: Call>(State(daemon): State<Daemon>, Extension(caller): Extension<Caller>, body: Body) -> Result<Response, Failure> {
    let call: C = read(body).await?;
    let request = call.to_request().map_err(|wrong| Failure::Body { wrong, expected: C::EXPECTED })?;
    log(&call, &request, caller);
    match daemon.ask(request, call.answer_time_max()).await? {
        Answer::Done { message } => Ok(json(StatusCode::OK, &Done { message })),
        Answer::Refused { why } => Err(Failure::Refused(why)),
        Answer::Status(_) => Err(Failure::Mistaken("a status".to_owned())),
        Answer::Explained(_) => Err(Failure::Mistaken("an explanation".to_owned())),
    }
}

/// A change that may be waited for.
async fn wait<C: Call>(state: State<Daemon>, caller: Extension<Caller>, body: Body) -> Result<Response, Failure> {
    let waiting = Arc::clone(&state.waiting);
    let Ok(_place) = waiting.try_acquire() else { return Err(Failure::ManyWait) };
    change::<C>(state, caller, body).await
}

async fn reload(State(daemon): State<Daemon>, Extension(caller): Extension<Caller>) -> Result<Response, Failure> {
    tracing::info!(uid = caller.uid, pid = caller.pid, "an operator asks: reload");
    match daemon.exchange(RELOAD_TIME_MAX, |reply| Asked::Reload { reply }).await? {
        Reloaded::Done { message } => Ok(json(StatusCode::OK, &Done { message })),
        Reloaded::Refused { why } => Err(Failure::Refused(why)),
        Reloaded::Wrong { errors } => Err(Failure::Configuration(errors)),
    }
}

/// What changes this host is told to whoever reads its log, with who asked for it.
fn log<C: Call>(call: &C, request: &Request, caller: Caller) {
    let group = match request {
        Request::Drain { group, .. }
        | Request::Freeze { group, .. }
        | Request::Move { group, .. }
        | Request::Rebalance { group }
        | Request::Thaw { group }
        | Request::Expire { group, .. }
        | Request::Explain { group, .. }
        | Request::Forget { group, .. }
        | Request::Quiesce { group, .. }
        | Request::Resume { group } => group.as_deref(),
        Request::Status => None,
    };
    let reason = call.reason();
    tracing::info!(uid = caller.uid, pid = caller.pid, group, reason, "an operator asks: {}", C::VERB);
}

/// An empty body counts as `{}`, so that `curl -X POST` alone does the plain thing.
async fn read<C: Call>(body: Body) -> Result<C, Failure> {
    let bytes = match tokio::time::timeout(SEND_TIME_MAX, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) if error.source().is_some_and(<dyn Error>::is::<LengthLimitError>) => return Err(Failure::TooLarge),
        Ok(Err(error)) => return Err(Failure::Body { wrong: format!("the body broke off: {error}"), expected: C::EXPECTED }),
        Err(_) => return Err(Failure::Slow),
    };
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(text).map_err(|error| Failure::Body { wrong: error.to_string(), expected: C::EXPECTED })
}

async fn unknown_path(uri: Uri) -> Failure {
    Failure::UnknownPath(uri.path().to_owned())
}

async fn wrong_method(method: Method, uri: Uri) -> Failure {
    Failure::Method { method, path: uri.path().to_owned() }
}

/// Why a request was not done. Nothing was changed, except by [`Failure::Unanswered`], where nobody knows.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{wrong}; expected: {expected}")]
    Body { wrong: String, expected: &'static str },
    #[error("the daemon has {} requests waiting and takes no more; try again", super::REQUESTS_MAX)]
    Busy,
    #[error("{} callers follow the events already, that is enough; end one of them", super::FOLLOWERS_MAX)]
    ManyFollowers,
    /// As `raisd check` prints it.
    #[error("{0}")]
    Configuration(String),
    #[error("{WAITING_MAX} drains and moves are being waited for, that is enough; see `raisctl status`")]
    ManyWait,
    #[error("{method} is not what {path} is for: GET for status, zone, events and explain, POST for what changes something")]
    Method { method: Method, path: String },
    /// The core answered another kind of question: a programmer is at fault.
    #[error("the daemon answered another question than the one that was asked ({0}); please report this")]
    Mistaken(String),
    #[error("{0}")]
    Refused(String),
    #[error("the body did not come within {SEND_TIME_MAX:?}")]
    Slow,
    #[error("the daemon is stopping")]
    Stopping,
    #[error("the body is longer than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the daemon did not answer within {0:?}: its loop hangs or has very much to do; its log says more (journalctl -u raisd)")]
    Unanswered(Duration),
    #[error("no group {group:?}; this host has: {}", known.join(", "))]
    UnknownGroup { group: String, known: Vec<String> },
    #[error(
        "no {0} here; there are {STATUS_PATH}, {ZONE_PATH}, {EVENTS_PATH}, {EXPLAIN_PATH} and /api/v1/{{quiesce,resume,drain,expire,forget,move,freeze,thaw,rebalance,reload}}"
    )]
    UnknownPath(String),
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::Body { .. } => StatusCode::BAD_REQUEST,
            Self::Busy | Self::ManyFollowers | Self::ManyWait | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Configuration(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Mistaken(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Refused(_) => StatusCode::CONFLICT,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unanswered(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::UnknownGroup { .. } | Self::UnknownPath(_) => StatusCode::NOT_FOUND,
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let expected = if let Self::Body { expected, .. } = &self { Some((*expected).to_owned()) } else { None };
        json(self.status(), &Failed { error: self.to_string(), expected })
    }
}

/// Indented, since `curl` and `raisctl --json` show it as it is.
fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec_pretty(value) {
        Ok(mut body) => {
            body.push(b'\n');
            (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(error) => {
            tracing::error!("an answer of the API has no JSON form: {error}; please report this");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
