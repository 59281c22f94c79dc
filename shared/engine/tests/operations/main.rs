//! The registry of flows, the operations on executions and the audit trail, over ports in memory.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod audit;
mod direct;
mod flows;
mod steer;
