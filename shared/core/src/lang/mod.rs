//! The flow language: Kestra's vocabulary, read from YAML into a typed [`Flow`].
//!
//! The parser fills [`model`]; `crate::plan` compiles it. Nothing here reads a clock or a file.

pub mod model;

pub use model::Flow;
