//! Triggers over ports in memory, with ports that fail on purpose.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod batches;
mod dates;
mod flows;
mod once;
mod polls;
mod postgres;
mod webhooks;
mod world;
