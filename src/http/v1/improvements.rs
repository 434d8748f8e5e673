//! `/api/v1/improvements`

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use axum::Json;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::improvement::{
    Claim, Claimed, Completion, Event, Failure, Filter, Heartbeat, Improvement, NewImprovement, Priority, Progress,
    Status,
};
use crate::domain::page::Page;
use crate::http::access;
use crate::http::extract::{Bearer, Body, Caller, Id, Query, invalid_parameter, parameter};
use crate::http::problem::{Problem, Reads, Writes};
use crate::http::state::State;

/// Time between two lines that keep a quiet stream open; proxies close connections after a minute without any.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Proxies pass a stream on as it comes: nginx buffers responses without the first, others compress or keep them without the second.
const STREAM_HEADERS: [(HeaderName, &str); 2] =
    [(HeaderName::from_static("x-accel-buffering"), "no"), (header::CACHE_CONTROL, "no-store, no-transform")];

/// What was handed out.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ClaimedItems {
    /// The most urgent and oldest first; empty when nothing is queued.
    items: Vec<Claimed>,
}

/// Which improvements; newest first.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ListQuery {
    /// Of this service.
    service: Option<String>,
    /// With this status.
    status: Option<Status>,
    /// With this priority.
    priority: Option<Priority>,
    /// Held (last) by this worker.
    worker: Option<String>,
    /// Only those whose worker fell silent, or only the others.
    stale: Option<bool>,
    /// Queued at this time or later.
    #[serde(default, deserialize_with = "crate::domain::time::optional")]
    created_after: Option<DateTime<Utc>>,
    /// Queued before this time.
    #[serde(default, deserialize_with = "crate::domain::time::optional")]
    created_before: Option<DateTime<Utc>>,
    /// Items of a page: 1 to 1000, 50 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Queue an improvement. Repeating the same request is harmless.
#[utoipa::path(post, path = "/api/v1/improvements", operation_id = "create_improvement", tag = "improvements",
    request_body = NewImprovement,
    responses((status = 201, body = Improvement, description = "Queued"),
              (status = 200, body = Improvement, description = "It was queued by the same request before"), Reads, Writes))]
pub(in crate::http) async fn create(
    Extract(state): Extract<State>,
    Caller(caller): Caller,
    Body(new): Body<NewImprovement>,
) -> Result<(StatusCode, Json<Improvement>), Problem> {
    let (improvement, created) = state.services.improvements.create(new, caller.user_id).await?;
    Ok((if created { StatusCode::CREATED } else { StatusCode::OK }, Json(improvement)))
}

/// One improvement.
#[utoipa::path(get, path = "/api/v1/improvements/{improvement_id}", operation_id = "get_improvement", tag = "improvements",
    params(("improvement_id" = String, Path, min_length = 1, max_length = 255)),
    responses((status = 200, body = Improvement), Reads))]
pub(in crate::http) async fn get(Extract(state): Extract<State>, Id(id): Id) -> Result<Json<Improvement>, Problem> {
    Ok(Json(state.services.improvements.get(&id).await?))
}

/// A page of improvements, newest first.
#[utoipa::path(get, path = "/api/v1/improvements", operation_id = "list_improvements", tag = "improvements",
    params(ListQuery), responses((status = 200, body = Page<Improvement>), Reads))]
pub(in crate::http) async fn list(
    Extract(state): Extract<State>,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let filter = Filter {
        service: query.service,
        status: query.status,
        priority: query.priority,
        worker: query.worker,
        stale: query.stale,
        created_after: query.created_after,
        created_before: query.created_before,
    };
    let page = state.services.improvements.list(&filter, query.cursor.as_deref(), query.limit).await;
    super::page(&page.map_err(parameter)?)
}

/// Take work. No two workers get the same improvement; one that falls silent loses it when its lease ends.
#[utoipa::path(post, path = "/api/v1/improvements:claim", operation_id = "claim_improvements", tag = "improvements",
    request_body = Claim, responses((status = 200, body = ClaimedItems), Reads, Writes))]
pub(in crate::http) async fn claim(
    Extract(state): Extract<State>,
    Body(claim): Body<Claim>,
) -> Result<Json<ClaimedItems>, Problem> {
    Ok(Json(ClaimedItems { items: state.services.improvements.assign(claim).await? }))
}

/// Show life: the lease starts anew, at most up to `max_improvement_time` after the claim.
#[utoipa::path(post, path = "/api/v1/improvements/{improvement_id}/heartbeat", operation_id = "heartbeat",
    tag = "improvements", params(("improvement_id" = String, Path, min_length = 1, max_length = 255)),
    request_body = Heartbeat, responses((status = 200, body = Improvement), Reads, Writes))]
pub(in crate::http) async fn heartbeat(
    Extract(state): Extract<State>,
    Id(id): Id,
    Body(beat): Body<Heartbeat>,
) -> Result<Json<Improvement>, Problem> {
    Ok(Json(state.services.improvements.heartbeat(&id, &beat).await?))
}

/// Tell how far the work is.
#[utoipa::path(post, path = "/api/v1/improvements/{improvement_id}/progress", operation_id = "report_progress",
    tag = "improvements", params(("improvement_id" = String, Path, min_length = 1, max_length = 255)),
    request_body = Progress, responses((status = 200, body = Improvement), Reads, Writes))]
pub(in crate::http) async fn progress(
    Extract(state): Extract<State>,
    Id(id): Id,
    Body(progress): Body<Progress>,
) -> Result<Json<Improvement>, Problem> {
    Ok(Json(state.services.improvements.progress(&id, &progress).await?))
}

/// Complete, and put the result into the archive in the same transaction. Repeating it with the same lease is harmless.
#[utoipa::path(post, path = "/api/v1/improvements/{improvement_id}/complete", operation_id = "complete_improvement",
    tag = "improvements", params(("improvement_id" = String, Path, min_length = 1, max_length = 255)),
    request_body = Completion, responses((status = 200, body = Improvement), Reads, Writes))]
pub(in crate::http) async fn complete(
    Extract(state): Extract<State>,
    Caller(caller): Caller,
    Id(id): Id,
    Body(done): Body<Completion>,
) -> Result<Json<Improvement>, Problem> {
    Ok(Json(state.services.improvements.complete(&id, done, caller.user_id).await?))
}

/// Tell that the attempt failed: it is queued again after a pause while attempts are left, else it has failed.
#[utoipa::path(post, path = "/api/v1/improvements/{improvement_id}/fail", operation_id = "fail_improvement",
    tag = "improvements", params(("improvement_id" = String, Path, min_length = 1, max_length = 255)),
    request_body = Failure, responses((status = 200, body = Improvement), Reads, Writes))]
pub(in crate::http) async fn fail(
    Extract(state): Extract<State>,
    Id(id): Id,
    Body(failure): Body<Failure>,
) -> Result<Json<Improvement>, Problem> {
    Ok(Json(state.services.improvements.fail(&id, &failure).await?))
}

/// Call it off; its worker's lease ends.
#[utoipa::path(post, path = "/api/v1/improvements/{improvement_id}/cancel", operation_id = "cancel_improvement",
    tag = "improvements", params(("improvement_id" = String, Path, min_length = 1, max_length = 255)),
    responses((status = 200, body = Improvement), Reads, Writes))]
pub(in crate::http) async fn cancel(Extract(state): Extract<State>, Id(id): Id) -> Result<Json<Improvement>, Problem> {
    Ok(Json(state.services.improvements.cancel(&id).await?))
}

/// Queue a failed or cancelled one again, with all its attempts.
#[utoipa::path(post, path = "/api/v1/improvements/{improvement_id}/retry", operation_id = "retry_improvement",
    tag = "improvements", params(("improvement_id" = String, Path, min_length = 1, max_length = 255)),
    responses((status = 200, body = Improvement), Reads, Writes))]
pub(in crate::http) async fn retry(Extract(state): Extract<State>, Id(id): Id) -> Result<Json<Improvement>, Problem> {
    Ok(Json(state.services.improvements.retry(&id).await?))
}

/// What happened to it so far and from now on, as server-sent events; the stream ends with the improvement. With
/// `Last-Event-ID` it goes on where a reader was cut off. It ends, too, when the token or session of its reader does.
#[utoipa::path(get, path = "/api/v1/improvements/{improvement_id}/events", operation_id = "improvement_events",
    tag = "improvements",
    params(("improvement_id" = String, Path, min_length = 1, max_length = 255),
           ("last-event-id" = Option<i64>, Header, description = "The id of the last event that was received")),
    responses((status = 200, body = String, content_type = "text/event-stream",
               description = "Server-sent events until the improvement ends. `id` is the `event_id`, `event` the kind of the event, and `data` \
                   an `Event` as JSON. Lines that begin with a colon keep the connection open, one every 15 s"),
              (status = 204, description = "The improvement has ended, and nothing happened after the last event that was received. \
                   An `EventSource` does not connect again"), Reads))]
pub(in crate::http) async fn events(
    Extract(state): Extract<State>,
    Id(id): Id,
    Bearer(secret): Bearer,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = match headers.get("last-event-id").map(|value| value.to_str().ok().and_then(|v| v.parse().ok())) {
        None => 0,
        Some(Some(after)) => after,
        Some(None) => return Err(invalid_parameter("last-event-id", "must be a number")),
    };
    let improvement = state.services.improvements.get(&id).await?;
    let Some(follower) = state.services.hub.follow(improvement, after).await? else {
        return Ok((STREAM_HEADERS, StatusCode::NO_CONTENT).into_response());
    };
    let pages = stream::unfold(follower, async |mut follower| follower.next().await.map(|page| (page, follower)));
    let frames =
        pages.flat_map(|page| stream::iter(0..page.len()).filter_map(move |at| ready(page.get(at).and_then(frame))));
    let stopping = state.stopping.clone().cancelled_owned();
    let frames = frames.take_until(access::ended(state, secret)).take_until(stopping);
    let keep_alive = KeepAlive::new().interval(HEARTBEAT);
    Ok((STREAM_HEADERS, Sse::new(frames.map(Ok::<_, Infallible>)).keep_alive(keep_alive)).into_response())
}

fn frame(event: &Event) -> Option<sse::Event> {
    let frame = sse::Event::default().id(event.event_id.to_string()).event(event.event.as_str()).json_data(event);
    frame.inspect_err(|error| tracing::error!(%error, "an event cannot be serialised as JSON")).ok()
}
