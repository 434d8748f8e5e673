//! `/api/v1/archive`

use axum::Json;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Known, respond};
use crate::domain::archive::{
    CreatedEntry, Entry, EntryPatch, Filter, NewEntries, NewEntry, Relative, Revision, Sort, Stats, Status, Summary,
};
use crate::domain::json;
use crate::domain::page::{Page, Rows};
use crate::domain::parents::{Parents, SelectParents};
use crate::http::extract::{Body, Caller, Id, Query, invalid_parameter, parameter};
use crate::http::problem::{Kind, Problem, Reads, Writes};
use crate::http::state::State;

/// Results of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct CreatedBatch {
    /// In the order of the request.
    items: Vec<CreatedEntry>,
}

/// An entry with its ancestors or descendants.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Relatives {
    /// The entry itself (depth 0), then the others, nearest first.
    items: Vec<Relative>,
    /// Whether there are more: of a lineage, than `max_depth`; of descendants, than `limit`; of both, than 8 MiB. The lineage of the
    /// parent of the oldest one goes on there.
    truncated: bool,
}

/// Which entries, in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ListQuery {
    /// Of this service.
    service: Option<String>,
    /// With this status.
    status: Option<Status>,
    /// Of this generation.
    generation: Option<i32>,
    /// With at least this accuracy.
    min_accuracy: Option<f64>,
    /// With at most this accuracy.
    max_accuracy: Option<f64>,
    /// With at least this compliance.
    min_compliance: Option<f64>,
    /// A JSON object that `performance_metrics` must contain, as in `{"language":"rust"}`.
    contains: Option<String>,
    /// Made at this time or later.
    #[serde(default, deserialize_with = "crate::domain::time::optional")]
    created_after: Option<DateTime<Utc>>,
    /// Made before this time.
    #[serde(default, deserialize_with = "crate::domain::time::optional")]
    created_before: Option<DateTime<Utc>>,
    /// The order; greatest first. By a score, only active entries are listed unless `status` asks for others.
    #[serde(default)]
    #[param(inline, required = false)]
    sort: Sort,
    /// Items of a page: 1 to 1000, 50 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Pages of children.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct PageQuery {
    /// Items of a page: 1 to 1000, 50 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// How far up.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct LineageQuery {
    /// Steps at most: 0 to 100000.
    #[param(minimum = 0, maximum = 100_000)]
    max_depth: Option<u32>,
}

/// How far down, and how many.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct DescendantsQuery {
    /// Steps at most: 0 to 100000.
    #[param(minimum = 0, maximum = 100_000)]
    max_depth: Option<u32>,
    /// Descendants at most: 1 to 10000, 1000 when absent.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<u32>,
}

/// Which part of the archive.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct StatsQuery {
    /// Of this service; of all when absent.
    #[param(min_length = 1, max_length = 100)]
    service: Option<String>,
}

fn status(created: bool) -> StatusCode {
    if created { StatusCode::CREATED } else { StatusCode::OK }
}

/// Create an entry. Repeating the same request is harmless; another body under the same id is a conflict.
#[utoipa::path(post, path = "/api/v1/archive", operation_id = "create_entry", tag = "archive", request_body = NewEntry,
    responses((status = 201, body = CreatedEntry, description = "Created"),
              (status = 200, body = CreatedEntry, description = "It was created by the same request before"), Reads, Writes))]
pub(in crate::http) async fn create(
    Extract(state): Extract<State>,
    Caller(caller): Caller,
    Body(entry): Body<NewEntry>,
) -> Result<(StatusCode, Json<CreatedEntry>), Problem> {
    let created = state.services.archive.create(entry, caller.user_id).await?;
    Ok((status(created.created), Json(created)))
}

/// Create up to 1000 entries, all or none.
#[utoipa::path(post, path = "/api/v1/archive:batch", operation_id = "create_entries", tag = "archive", request_body = NewEntries,
    responses((status = 201, body = CreatedBatch, description = "At least one is new"),
              (status = 200, body = CreatedBatch, description = "All were created before"), Reads, Writes))]
pub(in crate::http) async fn create_batch(
    Extract(state): Extract<State>,
    Caller(caller): Caller,
    Body(batch): Body<NewEntries>,
) -> Result<(StatusCode, Json<CreatedBatch>), Problem> {
    let items = state.services.archive.create_batch(batch, caller.user_id).await?;
    Ok((status(items.iter().any(|item| item.created)), Json(CreatedBatch { items })))
}

/// One entry. With `If-None-Match` the answer is 304 while the entry is unchanged.
#[utoipa::path(get, path = "/api/v1/archive/{archive_entry_id}", operation_id = "get_entry", tag = "archive",
    params(("archive_entry_id" = String, Path, min_length = 1, max_length = 255),
           ("if-none-match" = Option<String>, Header, description = "The ETag that the caller has")),
    responses((status = 200, body = Entry, headers(("etag" = String, description = "The entity tag of this state"))),
              (status = 304, description = "Unchanged"), Reads))]
pub(in crate::http) async fn get(
    Extract(state): Extract<State>,
    Id(id): Id,
    known: Known,
) -> Result<Response, Problem> {
    Ok(respond(state.services.archive.fetch(&id).await?, &known))
}

/// A page of entries, without patches and evaluation results.
#[utoipa::path(get, path = "/api/v1/archive", operation_id = "list_entries", tag = "archive", params(ListQuery),
    responses((status = 200, body = Page<Summary>), Reads))]
pub(in crate::http) async fn list(
    Extract(state): Extract<State>,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let contains = query.contains.as_deref().map(|text| {
        let wrong = |error| format!("must be a JSON object: {}", json::reason(text.as_bytes(), &error));
        serde_json::from_str(text).map_err(|error| invalid_parameter("contains", wrong(error)))
    });
    let contains: Option<serde_json::Map<_, _>> = contains.transpose()?;
    let filter = Filter {
        service: query.service,
        status: query.status,
        generation: query.generation,
        parent: None,
        min_accuracy: query.min_accuracy,
        max_accuracy: query.max_accuracy,
        min_compliance: query.min_compliance,
        contains: contains.map(Into::into),
        created_after: query.created_after,
        created_before: query.created_before,
    };
    let page = state.services.archive.list(&filter, query.sort, query.cursor.as_deref(), query.limit).await;
    super::page(&page.map_err(parameter)?)
}

/// Change status, scores or evaluation results. With `If-Match` only while the entry has one of the versions listed (412 otherwise).
#[utoipa::path(patch, path = "/api/v1/archive/{archive_entry_id}", operation_id = "patch_entry", tag = "archive",
    request_body = EntryPatch,
    params(("archive_entry_id" = String, Path, min_length = 1, max_length = 255),
           ("if-match" = Option<String>, Header, description = "ETags that the change is meant for, separated by commas; W/ before a tag is ignored")),
    responses((status = 200, body = Entry, headers(("etag" = String, description = "The entity tag of the new state"))),
              Reads, Writes))]
pub(in crate::http) async fn patch(
    Extract(state): Extract<State>,
    Id(id): Id,
    headers: HeaderMap,
    Body(patch): Body<EntryPatch>,
) -> Result<Response, Problem> {
    let known = if_match(&headers)?;
    let entry = state.services.archive.patch(&id, known.as_deref(), &patch).await?;
    Ok(respond(entry, &Known::nothing()))
}

/// The states that `If-Match` lists; `None` for any. RFC 9110 section 13.1.1 asks for strong comparison, by which a weak tag never
/// matches. A tag of ours names a version of the row, whatever its representation, so that W/ is ignored.
fn if_match(headers: &HeaderMap) -> Result<Option<Vec<Revision>>, Problem> {
    let values = headers.get_all(header::IF_MATCH);
    if !headers.contains_key(header::IF_MATCH) || Known::tags(&values).any(|tag| tag == "*") {
        return Ok(None);
    }
    let known: Vec<Revision> = Known::tags(&values).filter_map(Revision::from_etag).collect();
    if known.is_empty() {
        return Err(Problem::new(
            Kind::VersionDiffers,
            "If-Match lists no entity tag of an entry: send the ETag of a response of GET or PATCH",
        ));
    }
    Ok(Some(known))
}

/// The entry and its ancestors up to the root.
#[utoipa::path(get, path = "/api/v1/archive/{archive_entry_id}/lineage", operation_id = "entry_lineage", tag = "archive",
    params(("archive_entry_id" = String, Path, min_length = 1, max_length = 255), LineageQuery),
    responses((status = 200, body = Relatives), Reads))]
pub(in crate::http) async fn lineage(
    Extract(state): Extract<State>,
    Id(id): Id,
    Query(query): Query<LineageQuery>,
) -> Result<Response, Problem> {
    let Rows { items, bytes, .. } = state.services.archive.lineage(&id, query.max_depth).await.map_err(parameter)?;
    // Cut off by max_depth, by the size, or by a parent that is not there: the oldest one still names a parent.
    let truncated = items.last().is_some_and(|oldest| oldest.entry.parent_entry_id.is_some());
    relatives(&Relatives { items, truncated }, bytes)
}

/// The entry and everything made from it.
#[utoipa::path(get, path = "/api/v1/archive/{archive_entry_id}/descendants", operation_id = "entry_descendants",
    tag = "archive", params(("archive_entry_id" = String, Path, min_length = 1, max_length = 255), DescendantsQuery),
    responses((status = 200, body = Relatives), Reads))]
pub(in crate::http) async fn descendants(
    Extract(state): Extract<State>,
    Id(id): Id,
    Query(query): Query<DescendantsQuery>,
) -> Result<Response, Problem> {
    let found = state.services.archive.descendants(&id, query.max_depth, query.limit).await;
    let Rows { items, bytes, cut: truncated } = found.map_err(parameter)?;
    relatives(&Relatives { items, truncated }, bytes)
}

fn relatives(relatives: &Relatives, bytes: usize) -> Result<Response, Problem> {
    super::list(relatives, bytes, relatives.items.len())
}

/// A page of what was made from the entry directly, newest first.
#[utoipa::path(get, path = "/api/v1/archive/{archive_entry_id}/children", operation_id = "entry_children",
    tag = "archive", params(("archive_entry_id" = String, Path, min_length = 1, max_length = 255), PageQuery),
    responses((status = 200, body = Page<Summary>), Reads))]
pub(in crate::http) async fn children(
    Extract(state): Extract<State>,
    Id(id): Id,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let page = state.services.archive.children(&id, query.cursor.as_deref(), query.limit).await;
    super::page(&page.map_err(parameter)?)
}

/// Draw parents to improve next.
#[utoipa::path(post, path = "/api/v1/archive:select-parents", operation_id = "select_parents", tag = "archive",
    request_body = SelectParents, responses((status = 200, body = Parents), Reads, Writes))]
pub(in crate::http) async fn select_parents(
    Extract(state): Extract<State>,
    Body(wish): Body<SelectParents>,
) -> Result<Json<Parents>, Problem> {
    Ok(Json(state.services.parents.select(&wish).await?))
}

/// The archive in figures, by generation. Up to ten seconds old.
#[utoipa::path(get, path = "/api/v1/archive/stats", operation_id = "archive_stats", tag = "archive", params(StatsQuery),
    responses((status = 200, body = Stats), Reads))]
pub(in crate::http) async fn stats(
    Extract(state): Extract<State>,
    Query(query): Query<StatsQuery>,
) -> Result<Response, Problem> {
    Ok(respond(state.services.archive.stats(query.service.as_deref()).await.map_err(parameter)?, &Known::nothing()))
}
