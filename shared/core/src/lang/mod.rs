//! The flow language: Kestra's vocabulary, read from YAML into a typed [`Flow`].
//!
//! The parser fills [`model`]; `crate::plan` compiles it. Nothing here reads a clock or a file.

pub mod diagnostic;
pub mod format;
pub mod model;
pub mod rules;
pub mod yaml;

pub use model::Flow;
