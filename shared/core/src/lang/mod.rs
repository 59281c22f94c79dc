//! The flow language: Kestra's vocabulary, read from YAML into a typed [`Flow`].
//!
//! The parser fills [`model`]; `crate::plan` compiles it. Nothing here reads a clock or a file.

pub mod amount;
pub mod catalogue;
pub mod cron;
pub mod diagnostic;
pub mod format;
pub mod inputs;
pub mod limits;
pub mod members;
pub mod model;
pub mod parse;
pub mod plugins;
pub mod rules;
pub mod schema;
pub mod yaml;

pub use model::Flow;
pub use parse::{Parsed, parse};
pub use plugins::Plugins;

#[cfg(test)]
mod tests;
