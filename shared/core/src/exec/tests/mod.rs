//! Stories of executions: events in, commands out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod items;
mod lost;
mod repeated;
mod rounds;
mod scenario;
mod stories;

use scenario::Scenario;
