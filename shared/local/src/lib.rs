//! The ports of Operon on one machine: state in SQLite, artifacts and logs in directories, secrets from the
//! environment.

pub mod clock;
pub mod store;
