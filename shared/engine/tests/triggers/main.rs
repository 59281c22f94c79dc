//! Triggers over ports in memory, with ports that fail on purpose.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod actions;
mod batches;
mod dates;
mod due;
mod flows;
mod follow;
mod once;
mod polls;
mod postgres;
#[path = "../support/postgres.rs"]
mod server;
mod webhooks;
mod world;
