//! The asynchronous part of Operon: what the Lambda functions and the embedded engine do around the pure
//! core, over [`ports`].
//!
//! The order of a turn never changes: receive, read, apply, one conditional write, send, acknowledge.

use std::sync::Arc;

pub mod alerts;
pub mod audit;
pub mod claims;
pub mod dead_letters;
pub mod decide;
pub mod evaluate;
pub mod fargate;
pub mod files;
pub mod finish;
pub mod flows;
mod hosts;
pub mod ids;
pub mod intake;
pub mod items;
mod kept;
pub mod last_task;
pub mod launch;
pub mod launcher;
pub mod locks;
pub mod lookups;
pub mod metrics;
pub mod notify;
pub mod operations;
pub mod plan_queue;
pub mod planner;
pub mod plans;
pub mod ports;
mod postgres;
pub mod reconciler;
pub mod registry;
pub mod repeated;
pub mod replay;
pub mod reports;
pub mod rows;
pub mod script;
pub mod settle;
pub mod shards;
pub mod smtp;
pub mod step;
pub mod subflow;
pub mod tasks;
pub mod templates;
pub mod tls;
pub mod traces;
pub mod triggers;
pub mod watcher;
pub mod wire;
pub mod worker;

/// The world, as the engine sees it.
#[derive(Clone)]
pub struct Ports {
    /// Executions, shards, attempts.
    pub store: Arc<dyn ports::StateStore>,
    /// Flows, triggers, incidents and whatever else is kept beside executions.
    pub records: Arc<dyn ports::Records>,
    /// Files.
    pub artifacts: Arc<dyn ports::ArtifactStore>,
    /// Secrets by name.
    pub secrets: Arc<dyn ports::Secrets>,
    /// The time.
    pub clock: Arc<dyn ports::Clock>,
    /// E-mail and topics.
    pub messages: Arc<dyn ports::Messages>,
    /// Buckets and functions outside of Operon.
    pub services: Arc<dyn ports::Services>,
    /// Logs of attempts.
    pub logs: Arc<dyn ports::LogSink>,
}
