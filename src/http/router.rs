//! Every route, once.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use axum::routing::get;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::State;
use super::v1::{admin, archive, artifacts, improvements, metrics, operations, sessions};
use super::{access, observe, openapi, ops, problem, status};
use crate::jobs;
use crate::telemetry::catalogue::http::HTTP_CONNECTIONS;
use crate::telemetry::catalogue::routes;

/// The routes of the API with their documentation.
pub(super) fn documented() -> OpenApiRouter<State> {
    let mut router = OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(ops::health))
        .routes(routes!(ops::ready))
        .routes(routes!(archive::create, archive::list))
        .routes(routes!(archive::create_batch))
        .routes(routes!(archive::select_parents))
        .routes(routes!(archive::stats))
        .routes(routes!(archive::get, archive::patch))
        .routes(routes!(archive::lineage))
        .routes(routes!(archive::descendants))
        .routes(routes!(archive::children))
        .routes(routes!(artifacts::list))
        .routes(routes!(artifacts::put, artifacts::get, artifacts::delete))
        .routes(routes!(improvements::create, improvements::list))
        .routes(routes!(improvements::claim))
        .routes(routes!(improvements::get))
        .routes(routes!(improvements::heartbeat))
        .routes(routes!(improvements::progress))
        .routes(routes!(improvements::complete))
        .routes(routes!(improvements::fail))
        .routes(routes!(improvements::cancel))
        .routes(routes!(improvements::retry))
        .routes(routes!(improvements::events))
        .routes(routes!(metrics::ingest))
        .routes(routes!(metrics::current))
        .routes(routes!(metrics::trend))
        .routes(routes!(metrics::range))
        .routes(routes!(sessions::open))
        .routes(routes!(sessions::current, sessions::close))
        .routes(routes!(admin::tokens, admin::create_token))
        .routes(routes!(admin::revoke_token))
        .routes(routes!(operations::jobs))
        .routes(routes!(operations::runs))
        .routes(routes!(operations::run))
        .routes(routes!(operations::partitions));
    openapi::complete(router.get_openapi_mut());
    router
}

/// Hands the tables of routes and jobs to the catalogue of metrics, whose labels of routes, methods and jobs are made from
/// them.
pub fn define_labels() {
    jobs::define_labels();
    routes::define(access::TABLE.iter().map(|(method, route, _)| (*method, *route)));
}

/// The OpenAPI 3.1 document of the API.
#[must_use]
pub fn document() -> OpenApi {
    documented().into_openapi()
}

/// The API listener.
pub fn api(state: State) -> Router {
    define_labels();
    // That nobody is connected is to be seen before somebody is, and before either listener is served.
    HTTP_CONNECTIONS.add((), 0.0);
    let (routes, document) = documented().split_for_parts();
    let docs = utoipa_swagger_ui::SwaggerUi::new("/docs").url("/api/openapi.json", document);
    let home = Router::new().route("/", get(async || Redirect::temporary("/docs")));
    finish(routes.merge(docs).merge(home), state)
}

/// The operations listener.
pub fn operations(state: State) -> Router {
    let routes = Router::new()
        .route("/", get(status::page))
        .route("/status.json", get(status::document))
        .route("/status/{asset}", get(status::asset))
        .route("/runbooks/{alert}", get(ops::runbook))
        .route("/health", get(ops::health))
        .route("/ready", get(ops::ready))
        .route("/metrics", get(ops::metrics));
    finish(routes, state)
}

fn finish(routes: Router<State>, state: State) -> Router {
    routes
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        // Together, since each layer of its own boxes all that is below it.
        .layer((
            from_fn_with_state(state.clone(), observe::request),
            DefaultBodyLimit::max(state.options.max_body_bytes),
        ))
        .with_state(state)
}
