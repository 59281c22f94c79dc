//! Triggers, as far as they decide: what an event is, which dates are due, which facts make a flow trigger fire, what
//! goes into a batch, whether a webhook is signed. The engine's `triggers` does what follows.

pub mod aws;
pub mod batch;
pub mod config;
pub mod event;
pub mod feed;
pub mod parse;
pub mod pattern;
pub mod schedule;
pub mod signature;
pub mod size;
pub mod window;

pub use config::{Batch, Config, ConfigError, Kind};
pub use event::{EventError, Source, TriggerEvent, name};
pub use feed::{Feed, QueueName};
