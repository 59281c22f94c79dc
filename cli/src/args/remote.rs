//! Commands that ask a server: `flows`, `context`, and what of `executions` only a server does.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::{StateArgs, ValidateOutput};

/// Which server is asked, and how its answer is shown.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct ServerChoice {
    /// Ask the server of this context; `local` means the one on this machine.
    #[arg(long, value_name = "NAME", env = "OPERON_CONTEXT")]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// How it is shown.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: ValidateOutput,
}

/// A flow of a server: `namespace/id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlowName {
    /// Dots make a hierarchy.
    pub(crate) namespace: String,
    /// Unique in the namespace.
    pub(crate) id: String,
}

pub(super) fn flow_name(text: &str) -> Result<FlowName, String> {
    match text.split_once('/') {
        Some((namespace, id)) if !namespace.is_empty() && !id.is_empty() => Ok(FlowName {
            namespace: namespace.to_owned(),
            id: id.to_owned(),
        }),
        _ => Err("write it as `namespace/id`".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum FlowsCommand {
    /// Lists deployed flows.
    #[command(visible_alias = "ls")]
    List {
        /// Only flows of this namespace.
        #[arg(long, value_name = "NAME")]
        namespace: Option<String>,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Deploys a flow file: it is checked, and becomes the revision that counts.
    Deploy(DeployArgs),
    /// Prints the source of the revision that counts.
    Source {
        /// `namespace/id`
        #[arg(value_parser = flow_name)]
        flow: FlowName,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Lists the revisions of a flow, the newest first.
    Revisions {
        /// `namespace/id`
        #[arg(value_parser = flow_name)]
        flow: FlowName,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Shows how two revisions differ, in their text and in their plans.
    Diff {
        /// `namespace/id`
        #[arg(value_parser = flow_name)]
        flow: FlowName,
        /// The older one; the one before the newer without it.
        #[arg(long, value_name = "N")]
        from: Option<u32>,
        /// The newer one; the one that counts without it.
        #[arg(long, value_name = "N")]
        to: Option<u32>,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Makes an earlier revision count again.
    Rollback {
        /// `namespace/id`
        #[arg(value_parser = flow_name)]
        flow: FlowName,
        /// Its number.
        #[arg(long, value_name = "N")]
        to: u32,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Lets a flow be started again.
    Enable {
        /// `namespace/id`
        #[arg(value_parser = flow_name)]
        flow: FlowName,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Forbids a flow to be started, by triggers and by people.
    Disable {
        /// `namespace/id`
        #[arg(value_parser = flow_name)]
        flow: FlowName,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Starts an execution of a deployed flow.
    Start {
        /// `namespace/id`
        #[arg(value_parser = flow_name)]
        flow: FlowName,
        /// Value of an input; a list or object is written as JSON.
        #[arg(short, long = "input", value_name = "KEY=VALUE", value_parser = super::run::pair)]
        inputs: Vec<(String, String)>,
        /// File for an input of type FILE, which is uploaded: 100 MiB at most, some 4.5 MB to a deployment on AWS. What is larger
        /// is put into a bucket and given as `-i INPUT=s3://…`.
        #[arg(short = 'f', long = "input-file", value_name = "INPUT=PATH", value_parser = super::run::pair)]
        files: Vec<(String, String)>,
        /// Label of the execution.
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = super::run::pair)]
        labels: Vec<(String, String)>,
        /// Names this wish: asking again with the same key gives the same execution.
        #[arg(long, value_name = "TEXT")]
        idempotency_key: Option<String>,
        #[command(flatten)]
        server: ServerChoice,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ArtifactsCommand {
    /// Lists the files that an execution's inputs and outputs name.
    #[command(visible_alias = "ls")]
    List {
        /// Of the execution.
        execution: operon_engine::ports::ExecutionId,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Shows the beginning of a file, if it is text.
    Preview {
        /// `operon:///…`
        uri: String,
        /// How much of it.
        #[arg(long, value_name = "BYTES", default_value_t = 32 * 1024, value_parser = clap::value_parser!(u64).range(1..=256 * 1024))]
        bytes: u64,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Writes a file to this machine.
    Download {
        /// `operon:///…`
        uri: String,
        /// Where to; the name it has without it. A file that is there is not overwritten.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        #[command(flatten)]
        server: ServerChoice,
    },
}

/// Commands that show what a server knows besides executions.
#[derive(Debug, Subcommand)]
pub(crate) enum WatchCommand {
    /// Shows what runs, what failed and what comes next on a server.
    Overview {
        /// Only of this namespace.
        #[arg(long, value_name = "NAME")]
        namespace: Option<String>,
        /// How far back.
        #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=2160))]
        hours: u64,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Shows who changed what on a server, the newest first.
    Audit {
        /// Entries at most.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Shows the locks of a server: who holds their slots, and who waits.
    #[command(visible_alias = "slots")]
    Locks {
        /// Only this one, such as `namespace/flow` or `namespace/flow:key`.
        name: Option<String>,
        #[command(flatten)]
        server: ServerChoice,
    },
}

/// What is deployed, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct DeployArgs {
    /// The flow's YAML file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The revision you have seen; refuses if another one counts.
    #[arg(long, value_name = "N")]
    pub(crate) expect: Option<u32>,
    /// What is said about it.
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// A directory whose files are deployed beside it, for `namespaceFiles`, `nsfile:///` and `read()`; without
    /// this they stay as they were.
    #[arg(long, value_name = "DIR")]
    pub(crate) files: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: ServerChoice,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Adds a server under a name.
    Add {
        /// How you call it.
        name: String,
        /// Its address, `https://…`.
        url: String,
        /// File with the token, readable by you only; without it, the variable `OPERON_TOKEN`.
        #[arg(long, value_name = "FILE", conflicts_with = "iam")]
        token_file: Option<PathBuf>,
        /// Sign requests with your AWS credentials; the address is the output `SignedUrl` of the deployment.
        #[arg(long)]
        iam: bool,
        /// Region of the deployment, for signing; by itself that of the address.
        #[arg(long, value_name = "NAME", requires = "iam")]
        region: Option<String>,
    },
    /// Uses a context in commands without `--context`; `local` means this machine.
    Use {
        /// Of the context.
        name: String,
    },
    /// Lists contexts.
    #[command(visible_alias = "ls")]
    List,
    /// Forgets a context.
    Remove {
        /// Of the context.
        name: String,
    },
}

/// Dead letters.
#[derive(Debug, ClapArgs)]
pub(crate) struct RedriveArgs {
    /// Those that are put back; without one, all are listed.
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Puts all back.
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) server: ServerChoice,
}

/// Labels of an execution.
#[derive(Debug, ClapArgs)]
pub(crate) struct LabelsArgs {
    /// Of the execution.
    pub(crate) id: operon_engine::ports::ExecutionId,
    /// Labels that are set.
    #[arg(value_name = "KEY=VALUE", value_parser = super::run::pair)]
    pub(crate) set: Vec<(String, String)>,
    /// Labels that are removed.
    #[arg(long, value_name = "KEY")]
    pub(crate) remove: Vec<String>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// How it is shown.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: ValidateOutput,
}
