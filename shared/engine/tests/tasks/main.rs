//! Built-in tasks as the engine calls them, over ports in memory.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod count;
mod dispatch;
mod execution;
mod http;
mod items;
mod kv;
mod log;
#[path = "../support/postgres.rs"]
mod postgres;
mod server;
mod services;
mod sql;
mod storage;
mod tls;
mod world;
