//! `operon`: run, inspect and check flows from the command line.
//!
//! `args` is the grammar, `commands` what each command does, `report` how an execution is shown, `output` the
//! only place that writes to the terminal. Invariant: one place maps what happened to an exit code (`exit`).

mod args;
mod client;
mod commands;
mod diagnostics;
mod engine;
mod exit;
mod load;
mod output;
mod report;
mod state;
mod style;
mod top;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => return exit::usage(&error),
    };
    let console = std::rc::Rc::new(output::Console::detect(args.color));
    init_tracing(&console);
    let code = match commands::run(args.command, &console) {
        Ok(exit) => exit.code(),
        Err(error) => exit::failure(&console, &error).code(),
    };
    console.flush();
    code
}

/// Warnings of the engine go to standard error; `OPERON_LOG` chooses others.
fn init_tracing(console: &output::Console) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("OPERON_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(console.err_colour())
        .with_writer(std::io::stderr)
        .init();
}
