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
use axum::handler::Handler;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::MethodRouter;
use axum::{Router, routing};
use tower_http::compression::CompressionLayer;
use utoipa_axum::PathItemExt as _;
use utoipa_axum::router::OpenApiRouter;

use crate::problem::Problem;
use crate::state::Api;
use crate::{BODY_BYTES_MAX, auth, console, headers, hooks};

/// The whole application.
pub fn router(api: Api) -> Router {
    let webhooks = routing::get(triggers::webhook)
        .post(triggers::webhook)
        .put(triggers::webhook)
        .layer(DefaultBodyLimit::max(hooks::WEBHOOK_BYTES_MAX));
    let uploads =
        routing::post(artifacts::upload).layer(DefaultBodyLimit::max(artifacts::UPLOAD_BYTES_MAX));
    handlers()
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

/// The handlers, those of one path in a line: once as routes and once with what the `OpenAPI` document says of them. That is
/// half a megabyte of code, which a function that serves the document as a file does not carry.
macro_rules! table {
    ($($($module:ident::$handler:ident),+;)+) => {
        utoipa_axum::paste! {
            fn handlers() -> Router<Api> {
                Router::new()$($(.route(
                    &<$module::[<__path_ $handler>] as utoipa::Path>::path(),
                    on::<$module::[<__path_ $handler>], _, _>(&$module::$handler),
                ))+)+
            }

            /// What the `OpenAPI` document is made of.
            pub(crate) fn documented() -> OpenApiRouter<Api> {
                OpenApiRouter::new()$(.routes(utoipa_axum::routes!($($module::$handler),+)))+
            }
        }
    };
}

/// A handler at the methods that its description names.
fn on<P: utoipa::Path, H, T>(handler: &H) -> MethodRouter<Api>
where
    H: Handler<T, Api>,
    T: 'static,
{
    let methods = P::methods().into_iter();
    methods.fold(MethodRouter::new(), |router, method| {
        router.on(method.to_method_filter(), handler.clone())
    })
}

table! {
    server::health;
    server::me;
    server::open_session, server::close_session;
    server::openapi;
    server::flow_schema;
    session::begin;
    session::callback;
    server::audit;
    server::locks;
    server::metrics;
    overview::overview;
    executions::list, start::start;
    bulk::bulk;
    executions::show;
    executions::events;
    executions::metrics;
    executions::evaluate;
    task_runs::list;
    graph::of_execution;
    logs::page;
    logs::stream;
    logs::download;
    artifacts::list;
    artifacts::preview;
    artifacts::download;
    steer::kill;
    steer::restart;
    steer::replay;
    steer::resume;
    steer::retry_failed;
    steer::labels;
    flows::list;
    files::keep;
    files::list;
    flows::validate;
    flows::show, flows::deploy;
    flows::source;
    flows::revisions;
    flows::revision;
    flows::diff;
    flows::inputs;
    flows::concurrency;
    flows::enable;
    flows::disable;
    flows::rollback;
    graph::of_flow;
    triggers::of_flow;
    triggers::list;
    triggers::enable;
    triggers::disable;
    triggers::backfill, triggers::backfill_state;
    triggers::steer_backfill;
    triggers::events;
    triggers::deliver;
    triggers::items;
    namespaces::show_notify, namespaces::put_notify, namespaces::delete_notify;
    namespaces::incidents;
    namespaces::cost;
    triggers::dead_letters;
    triggers::redrive;
}
