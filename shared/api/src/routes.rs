//! The routes, with what the `OpenAPI` document says about each.

pub(crate) mod artifacts;
mod bulk;
mod executions;
mod files;
mod flows;
mod graph;
mod logs;
mod namespaces;
mod overview;
mod server;
mod session;
mod start;
mod steer;
mod task_runs;
mod triggers;

pub(crate) use logs::{Attempts, READS_MAX, Wanted, attempts, line_of};
pub(crate) use task_runs::task_run;

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Router, routing};
use tower_http::compression::CompressionLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::Problem;
use crate::state::Api;
use crate::{BODY_BYTES_MAX, auth, console, headers, hooks};

/// The whole application.
pub fn router(api: Api) -> Router {
    let (routes, _) = documented().split_for_parts();
    let webhooks = routing::get(triggers::webhook)
        .post(triggers::webhook)
        .put(triggers::webhook)
        .layer(DefaultBodyLimit::max(hooks::WEBHOOK_BYTES_MAX));
    let uploads =
        routing::post(artifacts::upload).layer(DefaultBodyLimit::max(artifacts::UPLOAD_BYTES_MAX));
    routes
        .route("/api/v1/webhooks/{namespace}/{flow}/{trigger}", webhooks)
        .route("/api/v1/artifacts", uploads)
        // Not for the two above, whose own limits are inside.
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route_layer(from_fn_with_state(api.clone(), auth::guard))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .fallback(console::serve)
        .layer(from_fn(headers::secure))
        .layer(CompressionLayer::new().compress_when(headers::compressed()))
        .with_state(api)
}

/// What the `OpenAPI` document is made of.
pub(crate) fn documented() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(server::health))
        .routes(routes!(server::me))
        .routes(routes!(server::open_session, server::close_session))
        .routes(routes!(server::openapi))
        .routes(routes!(server::flow_schema))
        .routes(routes!(session::begin))
        .routes(routes!(session::callback))
        .routes(routes!(server::audit))
        .routes(routes!(server::locks))
        .routes(routes!(server::metrics))
        .routes(routes!(overview::overview))
        .routes(routes!(executions::list, start::start))
        .routes(routes!(bulk::bulk))
        .routes(routes!(executions::show))
        .routes(routes!(executions::events))
        .routes(routes!(executions::metrics))
        .routes(routes!(executions::evaluate))
        .routes(routes!(task_runs::list))
        .routes(routes!(graph::of_execution))
        .routes(routes!(logs::page))
        .routes(routes!(logs::stream))
        .routes(routes!(logs::download))
        .routes(routes!(artifacts::list))
        .routes(routes!(artifacts::preview))
        .routes(routes!(artifacts::download))
        .routes(routes!(steer::kill))
        .routes(routes!(steer::restart))
        .routes(routes!(steer::replay))
        .routes(routes!(steer::resume))
        .routes(routes!(steer::retry_failed))
        .routes(routes!(steer::labels))
        .routes(routes!(flows::list))
        .routes(routes!(files::keep))
        .routes(routes!(files::list))
        .routes(routes!(flows::validate))
        .routes(routes!(flows::show, flows::deploy))
        .routes(routes!(flows::source))
        .routes(routes!(flows::revisions))
        .routes(routes!(flows::revision))
        .routes(routes!(flows::diff))
        .routes(routes!(flows::inputs))
        .routes(routes!(flows::concurrency))
        .routes(routes!(flows::enable))
        .routes(routes!(flows::disable))
        .routes(routes!(flows::rollback))
        .routes(routes!(graph::of_flow))
        .routes(routes!(triggers::of_flow))
        .routes(routes!(triggers::list))
        .routes(routes!(triggers::enable))
        .routes(routes!(triggers::disable))
        .routes(routes!(triggers::backfill, triggers::backfill_state))
        .routes(routes!(triggers::steer_backfill))
        .routes(routes!(triggers::events))
        .routes(routes!(triggers::deliver))
        .routes(routes!(triggers::items))
        .routes(routes!(
            namespaces::show_notify,
            namespaces::put_notify,
            namespaces::delete_notify
        ))
        .routes(routes!(namespaces::incidents))
        .routes(routes!(namespaces::cost))
        .routes(routes!(triggers::dead_letters))
        .routes(routes!(triggers::redrive))
}
