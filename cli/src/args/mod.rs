//! The grammar of the command line; what commands do is in `commands`.

mod executions;
mod flows;
mod remote;
mod remote_triggers;
mod run;
mod server;
mod top;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::output::ColourChoice;

pub(crate) use executions::{
    BulkArgs, BulkVerb, EvaluateArgs, Executions, ListArgs, LogsArgs, OneArgs, ReplayArgs,
    ResumeOneArgs, ShowArgs, ViewArgs,
};
pub(crate) use flows::{
    ExplainArgs, FmtArgs, GraphArgs, GraphFormat, PlanOutput, PluginsCommand, SpecVersion,
    ValidateArgs, ValidateOutput,
};
pub(crate) use remote::{
    ArtifactsCommand, ContextCommand, DeployArgs, FlowName, FlowsCommand, LabelsArgs, RedriveArgs,
    ServerChoice, WatchCommand,
};
pub(crate) use remote_triggers::{NamespacesCommand, TriggersCommand};
pub(crate) use run::{EngineArgs, ResumeArgs, RunArgs, RunnerName};
pub(crate) use server::ServerArgs;
pub(crate) use top::TopArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0    done; an execution succeeded, with or without warnings
  1    an execution failed or was cancelled, or something else went wrong
  2    an invalid flow, input or command line
  3    an execution was killed
  130  left while an execution was unfinished; `operon resume` takes it up";

/// Runs declarative container workflows, here and on AWS, with the same engine.
#[derive(Debug, Parser)]
#[command(name = "operon", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Args {
    /// When to use colours.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = false
    )]
    pub(crate) color: ColourChoice,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a flow to its end.
    Run(Box<RunArgs>),
    /// Takes up every execution that is not over, and works until all are.
    Resume(ResumeArgs),
    /// Serves the console and the HTTP interface on this machine, and executes what is started there.
    Server(Box<ServerArgs>),
    /// Shows what runs in the terminal, live, and steers it.
    Top(TopArgs),
    /// Lists, shows, follows and steers executions.
    #[command(visible_alias = "exec")]
    Executions {
        /// Ask the server of this context instead of the state directory; `local` means this machine.
        #[arg(long, global = true, value_name = "NAME", env = "OPERON_CONTEXT")]
        context: Option<String>,
        #[command(subcommand)]
        command: Executions,
    },
    /// Lists, deploys, compares and rolls back flows of a server.
    Flows {
        #[command(subcommand)]
        command: FlowsCommand,
    },
    /// Lists and steers triggers of a server.
    Triggers {
        #[command(subcommand)]
        command: TriggersCommand,
    },
    /// Shows and changes what belongs to namespaces of a server: notifications, incidents, costs.
    Namespaces {
        #[command(subcommand)]
        command: NamespacesCommand,
    },
    /// Lists, previews and downloads files of executions of a server.
    Artifacts {
        #[command(subcommand)]
        command: ArtifactsCommand,
    },
    /// Shows what a server has to tell first: what runs, what failed, what comes next, or who changed what.
    #[command(flatten)]
    Watch(WatchCommand),
    /// Lists messages and events that nobody could handle, or puts some back once their cause is mended.
    Redrive(RedriveArgs),
    /// Keeps the servers you work with.
    Context {
        #[command(subcommand)]
        command: ContextCommand,
    },
    /// Checks flows and plugins, and says everything that is wrong.
    Validate(ValidateArgs),
    /// Lays out flow files in the one standard way.
    Fmt(FmtArgs),
    /// Draws a flow.
    Graph(GraphArgs),
    /// Shows what a flow is compiled to: order, shards, what each task waits for.
    ExplainPlan(ExplainArgs),
    /// Prints the JSON Schema of flows, for editors.
    Schema,
    /// Shows the plugins a flow in this directory may use.
    Plugins {
        #[command(subcommand)]
        command: Option<PluginsCommand>,
    },
    /// Prints the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Finds out whether this machine, or a deployment on AWS, has what flows need.
    Doctor(DoctorArgs),
}

/// Where executions are kept.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct StateArgs {
    /// Directory that keeps executions, artifacts and logs.
    #[arg(long = "state", value_name = "DIR", env = "OPERON_STATE", default_value = crate::state::DEFAULT)]
    pub(crate) dir: PathBuf,
}

/// What `doctor` looks at.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// This machine, or a deployment on AWS with the credentials of the environment.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) target: DoctorTarget,
    /// Name of the deployment, with `--target aws`.
    #[arg(
        long,
        value_name = "NAME",
        env = "OPERON_STAGE",
        default_value = "main"
    )]
    pub(crate) stage: String,
    /// Image that must be there to be pulled, with `--target aws`; may be repeated.
    #[arg(long = "image", value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

/// See [`DoctorArgs::target`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DoctorTarget {
    /// This machine.
    #[default]
    Local,
    /// A deployment.
    Aws,
}

/// How executions are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people: a live view on a terminal, a line per change otherwise.
    #[default]
    Human,
    /// One JSON object at the end.
    Json,
    /// One JSON object per change.
    Ndjson,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_grammar_is_consistent() {
        super::Args::command().debug_assert();
    }
}
