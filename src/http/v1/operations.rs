//! `/api/v1/admin/jobs`, `/api/v1/admin/partitions`

use std::time::Duration;

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::job::JobRun;
use crate::domain::page;
use crate::domain::partition::{Partition, horizon};
use crate::http::extract::{Id, Query, parameter};
use crate::http::problem::{Kind, Problem, Reads};
use crate::http::state::State;
use crate::jobs::{self, Job, JobInfo, Outcome};

/// How long the answer to a run waits for its end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Every job.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Jobs {
    /// In the order of the table of jobs.
    items: Vec<JobInfo>,
}

/// The newest runs.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Runs {
    /// Newest first; a week of them is kept, of those that are reported from outside 100 days.
    items: Vec<JobRun>,
}

/// How many runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct RunsQuery {
    /// At most so many; 50 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// What became of a run that was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Ran {
    /// Which job.
    job: &'static str,
    /// How it ended; `running` when it goes on: its runs will tell.
    outcome: RanOutcome,
    /// What it did, or why it failed.
    detail: Option<String>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum RanOutcome {
    /// It did what it should.
    Success,
    /// It did not.
    Failure,
    /// It is at it.
    Running,
}

/// Every partition of the samples.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Partitions {
    /// Oldest first.
    items: Vec<PartitionItem>,
    /// The first day for which there is none yet (UTC).
    horizon: Option<chrono::NaiveDate>,
    /// Months between the oldest and the newest to be made ahead that have none, by their first day.
    missing: Vec<chrono::NaiveDate>,
}

/// A partition.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PartitionItem {
    #[serde(flatten)]
    partition: Partition,
    /// Whether nothing in it is kept any more: retention takes it away.
    expired: bool,
}

fn named(name: &str) -> Result<&'static Job, Problem> {
    Job::named(name).map_err(|known| Problem::new(Kind::NotFound, known))
}

/// The jobs, with their next and their last run.
#[utoipa::path(get, path = "/api/v1/admin/jobs", operation_id = "list_jobs", tag = "admin",
    responses((status = 200, body = Jobs), Reads))]
pub(in crate::http) async fn jobs(Extract(state): Extract<State>) -> Result<Json<Jobs>, Problem> {
    Ok(Json(Jobs { items: state.runner.list().await? }))
}

/// The newest runs of a job. Those that each process makes for itself are not on the record.
#[utoipa::path(get, path = "/api/v1/admin/jobs/{name}/runs", operation_id = "list_job_runs", tag = "admin",
    params(("name" = String, Path, min_length = 1, max_length = 100), RunsQuery),
    responses((status = 200, body = Runs), Reads))]
pub(in crate::http) async fn runs(
    Extract(state): Extract<State>,
    Id(name): Id,
    Query(query): Query<RunsQuery>,
) -> Result<Json<Runs>, Problem> {
    let job = jobs::named(&name).map_err(|known| Problem::new(Kind::NotFound, known))?;
    let limit = page::limit(query.limit).map_err(|invalid| parameter(invalid.into()))?;
    Ok(Json(Runs { items: state.services.jobs.runs(Some(job), i64::from(limit)).await? }))
}

/// Run a job now. What takes longer than 5 s goes on after the answer, 202.
#[utoipa::path(post, path = "/api/v1/admin/jobs/{name}/run", operation_id = "run_job", tag = "admin",
    params(("name" = String, Path, min_length = 1, max_length = 100)),
    responses((status = 200, body = Ran), (status = 202, body = Ran), Reads,
        (status = 409, description = "Another process is at it", body = crate::http::problem::Document,
            content_type = "application/problem+json")))]
pub(in crate::http) async fn run(
    Extract(state): Extract<State>,
    Id(name): Id,
) -> Result<(StatusCode, Json<Ran>), Problem> {
    let job = named(&name)?;
    let answer = |status, outcome, detail| Ok((status, Json(Ran { job: job.name, outcome, detail })));
    match tokio::time::timeout(PATIENCE, state.runner.run_detached(job)).await {
        Err(_) => answer(StatusCode::ACCEPTED, RanOutcome::Running, None),
        Ok(outcome) => match outcome? {
            Outcome::Success(done) => answer(StatusCode::OK, RanOutcome::Success, Some(done)),
            Outcome::Failure(reason) => answer(StatusCode::OK, RanOutcome::Failure, Some(reason)),
            Outcome::Skipped => Err(Problem::new(Kind::IllegalState, "another process is at it")),
        },
    }
}

/// The partitions of the samples.
#[utoipa::path(get, path = "/api/v1/admin/partitions", operation_id = "list_partitions", tag = "admin",
    responses((status = 200, body = Partitions), Reads))]
pub(in crate::http) async fn partitions(Extract(state): Extract<State>) -> Result<Json<Partitions>, Problem> {
    let partitions = state.services.partitions.list().await?;
    let (horizon, missing) = (horizon(&partitions), state.services.partitions.missing_months(&partitions));
    let item = |partition| PartitionItem { expired: state.services.partitions.is_expired(&partition), partition };
    Ok(Json(Partitions { items: partitions.into_iter().map(item).collect(), horizon, missing }))
}
