//! The HTTP interface of Operon: one application for the console, the command line and webhooks.
//!
//! The same router serves `operon server` on this machine and the `api` function on AWS; what differs is what it
//! is given: ports, who may call ([`auth::Auth`]), and the console's files. Handlers translate: they read ports,
//! ask `operon_engine::operations`, and shape answers. Nothing here decides about executions.
//!
//! Invariant: every route has one entry in [`auth::table`], and who has no entry is refused. Invariant: every
//! change is in the audit trail with who made it. Invariant: everything that comes in has a size limit, and
//! every list that goes out a page.

#![allow(
    unused_qualifications,
    reason = "the macros of utoipa write the names of parameters in full"
)]

pub mod auth;
mod console;
mod cursor;
mod dead_letters;
pub mod dto;
mod extract;
mod headers;
mod history;
pub mod hooks;
mod merged;
mod mutate;
mod openapi;
mod problem;
mod routes;
mod state;
mod stream;
mod triggers;

pub use console::{Asset, Console};
pub use dead_letters::EngineDeadLetters;
pub use openapi::document;
pub use operon_engine::metrics::Prices;
pub use problem::Problem;
pub use routes::router;
pub use state::{Api, Settings};
pub use triggers::EngineTriggers;

/// Serves the application over HTTP until the listener fails.
pub async fn serve(listener: tokio::net::TcpListener, api: Api) -> std::io::Result<()> {
    axum::serve(listener, router(api)).await
}

/// Bytes of a request's body at most, unless a route says otherwise: inputs of an execution are the largest thing
/// that is sent as JSON (1 MiB, `operon_engine::intake`), and JSON may escape.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
