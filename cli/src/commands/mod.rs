//! What each command does.

mod beside;
mod doctor;
mod executions;
mod flows;
mod plugins;
mod redrive;
mod remote;
mod remote_executions;
mod remote_logs;
mod remote_triggers;
mod remote_views;
mod resume;
mod run;
mod server;
mod validate;

use std::rc::Rc;

#[cfg(test)]
pub(crate) use remote::up_to;
pub(crate) use server::ADDRESS_FILE;

use clap::CommandFactory as _;

use crate::args::{Args, Command};
use crate::client::Contexts;
use crate::exit::Exit;
use crate::output::Console;

/// Carries out a command.
pub(crate) fn run(command: Command, console: &Rc<Console>) -> anyhow::Result<Exit> {
    match command {
        Command::Run(args) => run::run(&args, console),
        Command::Resume(args) => resume::resume(&args, console),
        Command::Flows { command } => remote::flows(&command, console),
        Command::Triggers { command } => remote_triggers::triggers(&command, console),
        Command::Namespaces { command } => remote_triggers::namespaces(&command, console),
        Command::Artifacts { command } => remote_views::artifacts(&command, console),
        Command::Watch(command) => remote_views::watch(&command, console),
        Command::Redrive(args) => redrive::redrive(&args, console),
        Command::Context { command } => remote::context(&command, console),
        Command::Server(args) => server::server(&args, console),
        Command::Top(args) => crate::top::top(&args, console),
        Command::Executions { context, command } => {
            if Contexts::is_remote(context.as_deref())? {
                remote_executions::executions(context.as_deref(), &command, console)
            } else {
                executions::executions(&command, console)
            }
        }
        Command::Validate(args) => validate::validate(&args, console),
        Command::Fmt(args) => flows::fmt(&args, console),
        Command::Graph(args) => flows::graph(&args, console),
        Command::ExplainPlan(args) => flows::explain(&args, console),
        Command::Schema => plugins::schema(console),
        Command::Plugins { command } => plugins::plugins(command.as_ref(), console),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "operon", &mut script);
            console.out(&String::from_utf8_lossy(&script));
            Ok(Exit::Success)
        }
        Command::Doctor(args) => doctor::doctor(&args, console),
    }
}

/// Where an execution of a list has come to: `align FAILED, 2 attempts`.
fn last_task(task: &str, state: &str, attempts: u64) -> String {
    if attempts > 1 {
        format!("{task} {state}, {attempts} attempts")
    } else {
        format!("{task} {state}")
    }
}
