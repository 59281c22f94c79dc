//! The state of an execution and how it changes.
//!
//! [`apply`] is the whole engine: it takes a shard and events, and gives the next shard and the commands
//! that state calls for. It reads no clock and does no I/O, so the Lambda planner, the embedded engine, the
//! simulator and the state explorer decide identically. [`commands_of`] derives the commands of a shard
//! from its state alone, which is what makes every lost message recoverable.
//!
//! Invariant: a task run has at most one live attempt; reports about any other attempt change nothing.
//! Invariant: applying an event twice gives the same shard as applying it once.
//! Invariant: whatever is not terminal is due at some time ([`Shard::due`]).
//! Invariant: terminal is final, until a person restarts the execution in a new round.

mod apply;
mod chunk;
mod commands;
mod event;
mod lock;
mod round;
mod settle;
mod shard;
mod slot;
#[cfg(test)]
mod tests;
mod view;

pub use apply::{LAUNCH_GRACE_MS, PROBE_INTERVAL_MS, TIMEOUT_UNKNOWN_MS, apply, commands_of};
pub use event::{Command, Counts, Event, Outcome, Truth, Verdict};
pub use lock::{Lock, Owner};
pub use round::failed_items;
pub use shard::{RootPhase, SHARD_FORMAT, Shard, ShardError};
pub use slot::{Reason, Seen, Slot, State, Time};
