//! The ports of Operon on AWS: state and records in one `DynamoDB` table, files in S3, messages in SQS, secrets in
//! Secrets Manager and in Parameter Store.
//!
//! The functions are wiring over this crate and `operon-engine`: they read [`Config`] once, build the clients of
//! [`Sdk`] once, and hand the ports to the engine. Invariant: an endpoint is only ever set through the SDK's own
//! variables (`AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`, …), so the same binary runs on AWS and on an emulator.

pub mod artifacts;
pub mod clock;
pub mod config;
pub mod dead;
pub mod ecs;
pub mod emf;
mod errors;
pub mod feeds;
pub mod messages;
pub mod meter;
pub mod parameters;
pub mod scheduler;
pub mod sdk;
pub mod secrets;
pub mod services;
pub mod signed;
pub mod sqs;
pub mod store;
pub mod task_logs;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod wakeups;
pub mod wiring;
pub mod world;

pub use artifacts::S3Artifacts;
pub use clock::SystemClock;
pub use config::{Config, ConfigError, Role};
pub use messages::AwsMessages;
pub use meter::Meter;
pub use sdk::Sdk;
pub use secrets::ManagedSecrets;
pub use sqs::{Batch, Delivery, Outgoing, Queue, QueueError};
pub use store::{BuiltinLogs, DynamoStore};
pub use task_logs::TaskLogs;
pub use world::World;
