//! What Fargate is: its sizes, what its answers mean, how an attempt is called there, and what a task is made of.
//!
//! Everything here is pure; [`crate::launcher`], [`crate::watcher`] and [`crate::reconciler`] do the asking.

mod answers;
mod bucket;
mod identity;
mod size;
mod task;

pub use answers::{Answer, Ended, START_TIMEOUT, answer, ended, placed};
pub use bucket::{Bucket, Rate};
pub use identity::{STARTED_BY_MAX, client_token, identity, parse_identity, short_identity};
pub use size::{MEMORY_MIB_MAX, Size, size_after_out_of_memory, size_for};
pub use task::{Build, OVERRIDES_MAX, SPEC_KEY, SecretRef, Site, build, marker, secrets_of};

use operon_core::agent::{CONTAINER_AGENT, CONTAINER_MAIN, CONTAINER_STAGE};
