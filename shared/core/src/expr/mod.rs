//! Expressions in flows: `{{ inputs.organism }}`, in Kestra's dialect of Pebble.
//!
//! A [`Template`] is parsed when a flow is compiled and rendered when a task run needs its value. The
//! grammar is Pebble's, rewritten for minijinja, which runs it; what a template may see is its
//! [`Context`], and everything that is not in there is a question to the [`Resolver`].
//!
//! Invariant: rendering does no I/O and reads no clock; with the same context and answers it gives the
//! same value, `uuid()` and `now()` included.
//! Invariant: what is computed from a secret is reported with the value, so that nothing that holds it
//! is stored or logged. Only the choice of a branch by a secret is not tracked.
//! Invariant: no template and no value makes a render panic, or take more than [`limits`] allow.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an expression has twenty forms and a value ten kinds; most matches are about two of them"
)]

mod args;
mod ast;
mod blocks;
pub(crate) mod calendar;
mod catalog;
mod collections;
mod context;
mod date_pattern;
mod date_reader;
mod dates;
mod encode;
mod error;
mod functions;
mod jq;
mod lexer;
pub mod limits;
mod mask;
mod numbers;
mod operators;
mod ops;
mod output;
mod parser;
mod paths;
mod rewrite;
mod runtime;
mod template;
mod text;
mod value;
mod yaml;

#[cfg(test)]
mod tests;

pub use catalog::usages;
pub use context::{Context, Resolver};
pub use error::{ExprError, LookupError};
pub use mask::{MASK, Masker};
pub use template::{FunctionCall, Reference, Rendered, Template};
