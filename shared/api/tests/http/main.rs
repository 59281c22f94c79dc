//! The application over ports in memory: who may call what, what is too large, and what routes answer.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod artifacts;
mod audit;
mod authorisation;
mod graph;
mod issuer;
mod limits;
mod local;
mod locks;
mod logs;
mod namespaces;
mod retry;
mod sign_in;
mod stream;
mod wishes;
mod world;
