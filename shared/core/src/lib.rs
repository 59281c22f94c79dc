//! Pure core of Operon: the flow language, the compiled plan, and the state of executions.
//!
//! Nothing in this crate is asynchronous, reads a clock or the environment, or does I/O; `clippy.toml`
//! forbids the functions that would. The Lambda functions, the embedded engine, the simulator and the
//! state explorer all decide with this code.

pub mod agent;
pub mod draw;
pub mod exec;
pub mod expr;
pub mod lang;
pub mod plan;
pub mod triggers;
