//! The ports of Operon on one machine: state in SQLite, artifacts and logs in directories, secrets from the
//! environment, attempts as processes or containers.

pub mod clock;
pub mod runner;
pub mod store;
