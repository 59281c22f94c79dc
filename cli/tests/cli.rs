//! The real binary, as people and scripts use it.
//!
//! One test binary: every module is about one group of commands.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod cases {
    mod conformance;
    mod files;
    mod forms;
    mod inbox;
    mod lab;
    mod registry;
    mod remote;
    mod run;
    mod secrets;
    mod steer;
    mod subflows;
}
