//! `operon executions`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use operon_engine::ports::ExecutionId;

use super::run::pair;
use super::{EngineArgs, StateArgs, ValidateOutput};

#[derive(Debug, Subcommand)]
pub(crate) enum Executions {
    /// Lists executions, newest first.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Shows an execution with its task runs.
    Show(ShowArgs),
    /// Prints the log of a task run, or of all task runs in the order of time.
    Logs(LogsArgs),
    /// Kills an execution with everything it started, and waits until nothing of it is alive.
    Kill(OneArgs),
    /// Resumes an execution that waits in a pause.
    Resume(OneArgs),
    /// Continues an execution that is over: what has not succeeded begins again.
    Restart(OneArgs),
    /// Continues an execution that is over and has failed iterations: those that have not succeeded begin again.
    RetryFailed(OneArgs),
    /// Sets or removes labels.
    Labels(super::LabelsArgs),
    /// Runs the flow again with the same inputs, reusing what came before a task.
    Replay(ReplayArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Only executions in one of these states, such as FAILED.
    #[arg(long = "state-is", value_name = "STATE", value_delimiter = ',')]
    pub(crate) states: Vec<String>,
    /// Only executions of this flow.
    #[arg(long, value_name = "ID")]
    pub(crate) flow: Option<String>,
    /// Only executions of this namespace.
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// Only executions with this label.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// Executions at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// How they are shown.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: ValidateOutput,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ShowArgs {
    /// Of the execution.
    pub(crate) id: ExecutionId,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// How it is shown.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: ValidateOutput,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LogsArgs {
    /// Of the execution.
    pub(crate) id: ExecutionId,
    /// Only this task (`align`) or task run (`align[12]`).
    pub(crate) task: Option<String>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Go on until the execution is over.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only this attempt; without it, all attempts.
    #[arg(long, value_name = "N")]
    pub(crate) attempt: Option<u8>,
    /// Only the last lines of each attempt.
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<usize>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct OneArgs {
    /// Of the execution.
    pub(crate) id: ExecutionId,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReplayArgs {
    /// Of the execution.
    pub(crate) id: ExecutionId,
    /// The first task that is executed again.
    #[arg(long, value_name = "TASK")]
    pub(crate) from: String,
    /// Take the flow from this file instead of the revision that was executed.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}
