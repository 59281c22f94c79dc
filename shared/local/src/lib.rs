//! The ports of Operon on one machine: state in SQLite, artifacts and logs in directories, processes and
//! containers, secrets from the environment.

pub mod alerts;
pub mod artifacts;
pub mod buckets;
pub mod clock;
pub mod dispatch;
pub mod embedded;
pub mod flows;
pub mod laptop;
pub mod logs;
pub mod runner;
pub mod secrets;
pub mod state_dir;
pub mod store;
pub mod triggers;
