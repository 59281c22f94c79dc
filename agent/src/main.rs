//! The agent beside an unchanged image in a Fargate task.
//!
//! `operon-agent stage` fills the task's volume and ends; the image starts only after it succeeded.
//! `operon-agent watch` runs beside the image, forwards its log without secrets, and when the image has ended
//! stores its output files and reports. See `docs/decisions/0023-agent.md`.
//!
//! Invariant: `Done` is sent only when `main` is over and everything the result names is stored.
//! Invariant: nothing that leaves the agent holds a known secret.

mod aws;
mod collect;
mod config;
mod fluent;
mod http;
mod log;
mod metadata;
mod msgpack;
mod names;
mod queue;
mod result;
mod secrets;
mod spec;
mod stage;
mod store;
mod upload;
mod usage;
mod volume;
mod watch;

use std::process::ExitCode;

use config::{Config, Mode};
use operon_core::agent::{EXIT_CONFIG, LogLevel};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mode = match Mode::of(std::env::args().skip(1)) {
        Ok(mode) => mode,
        Err(why) => return refuse(&why),
    };
    let code = match mode {
        Mode::Lookup(name) => names::show(&name).await,
        Mode::Stage | Mode::Watch => match Config::from_env(&mode) {
            Ok(config) if mode == Mode::Stage => stage::run(config).await,
            Ok(config) => watch::run(config).await,
            Err(why) => return refuse(&why.to_string()),
        },
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

fn refuse(why: &str) -> ExitCode {
    log::Plain::stdout().note(LogLevel::Error, why);
    ExitCode::from(u8::try_from(EXIT_CONFIG).unwrap_or(u8::MAX))
}
