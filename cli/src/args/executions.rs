//! `operon executions`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use operon_engine::ports::ExecutionId;

use super::run::pair;
use super::{EngineArgs, Output, StateArgs, ValidateOutput};

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
    /// Answers a pause: the execution goes on, with the typed values that the pause asks for.
    Resume(ResumeOneArgs),
    /// Continues an execution that is over: what has not succeeded begins again.
    Restart(OneArgs),
    /// Continues an execution that is over and has failed iterations: those that have not succeeded begin again.
    RetryFailed(OneArgs),
    /// Sets or removes labels.
    Labels(super::LabelsArgs),
    /// Runs the flow again with the same inputs, reusing what came before a task.
    Replay(ReplayArgs),
    /// Does one thing to many executions of a server, or says what it would do.
    Bulk(BulkArgs),
    /// Evaluates an expression against an execution of a server, as its tasks would.
    Evaluate(EvaluateArgs),
    /// Shows what the task runs of an execution of a server counted and timed.
    Metrics(ViewArgs),
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
    /// Only lines with this text, whatever the case of its letters.
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// How lines are shown: `json` is one object at the end, `ndjson` one object per line.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct OneArgs {
    /// Of the execution.
    pub(crate) id: ExecutionId,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ResumeOneArgs {
    /// Of the execution.
    pub(crate) id: ExecutionId,
    /// Value that the pause asks for (`onResume`); a list or object is written as JSON.
    #[arg(short, long = "input", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) inputs: Vec<(String, String)>,
    /// Only this pause, as `executions show -o json` of a server names it: `0:3`.
    #[arg(long, value_name = "SHARD:SLOT")]
    pub(crate) task_run: Option<String>,
    /// Ends the pause as failed instead.
    #[arg(long, conflicts_with = "inputs")]
    pub(crate) stop: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// What is done to many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BulkVerb {
    /// Kills them.
    Kill,
    /// Begins again with what has not succeeded.
    Restart,
    /// Begins again with items that have not succeeded.
    RetryFailed,
    /// Lets every pause go on, without values.
    Resume,
    /// Begins new executions at a task.
    Replay,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BulkArgs {
    /// What is done.
    pub(crate) action: BulkVerb,
    /// To these executions; without any, to all that the filters match.
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<ExecutionId>,
    /// Only say what would be done, and which would be skipped.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only executions in one of these states, such as FAILED.
    #[arg(
        long = "state-is",
        value_name = "STATE",
        value_delimiter = ',',
        conflicts_with = "ids"
    )]
    pub(crate) states: Vec<String>,
    /// Only executions of this flow.
    #[arg(long, value_name = "ID", conflicts_with = "ids")]
    pub(crate) flow: Option<String>,
    /// Only executions of this namespace.
    #[arg(long, value_name = "NAME", conflicts_with = "ids")]
    pub(crate) namespace: Option<String>,
    /// Only executions with this label.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair, conflicts_with = "ids")]
    pub(crate) labels: Vec<(String, String)>,
    /// Replay: the first task that is executed again.
    #[arg(long, value_name = "TASK", required_if_eq("action", "replay"))]
    pub(crate) from: Option<String>,
    /// Replay: on this revision instead of that of each execution.
    #[arg(long, value_name = "N")]
    pub(crate) revision: Option<u32>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// How the report is shown.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: ValidateOutput,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct EvaluateArgs {
    /// Of the execution.
    pub(crate) id: ExecutionId,
    /// Such as `{{ outputs.align.uri }}`.
    pub(crate) expression: String,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// How the value is shown.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: ValidateOutput,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ViewArgs {
    /// Of the execution.
    pub(crate) id: ExecutionId,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// How it is shown.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: ValidateOutput,
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
    /// Take this deployed revision of the flow instead of the one that was executed.
    #[arg(long, value_name = "N", conflicts_with = "file")]
    pub(crate) revision: Option<u32>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}
