//! The ports against an emulator of AWS, or AWS itself. Not part of `cargo test --workspace`: `make test-aws` starts
//! the emulators and runs it once for each. Every test makes a table, a bucket and queues of its own and removes them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod artifacts;
mod costs;
mod queues;
mod secrets;
mod services;
mod state;
mod world;
