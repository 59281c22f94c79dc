//! Commands about triggers and namespaces of a server.

use std::path::PathBuf;

use clap::Subcommand;

use super::remote::{FlowName, ServerChoice, flow_name};

#[derive(Debug, Subcommand)]
pub(crate) enum TriggersCommand {
    /// Lists triggers with their last and next times.
    #[command(visible_alias = "ls")]
    List {
        /// Only triggers of this namespace.
        #[arg(long, value_name = "NAME")]
        namespace: Option<String>,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Lets a trigger fire again.
    Enable {
        /// `namespace/flow`
        #[arg(value_parser = flow_name)]
        flow: FlowName,
        /// Of the trigger.
        trigger: String,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Keeps a trigger from firing.
    Disable {
        /// `namespace/flow`
        #[arg(value_parser = flow_name)]
        flow: FlowName,
        /// Of the trigger.
        trigger: String,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Makes up for slots of a schedule.
    Backfill {
        /// `namespace/flow`
        #[arg(value_parser = flow_name)]
        flow: FlowName,
        /// Of the trigger.
        trigger: String,
        /// First time, such as 2026-11-01T00:00:00Z.
        #[arg(long, value_name = "TIME")]
        from: jiff::Timestamp,
        /// Up to here.
        #[arg(long, value_name = "TIME")]
        to: jiff::Timestamp,
        /// Executions at once.
        #[arg(long, value_name = "N")]
        parallel: Option<u32>,
        /// Executions that it starts at most.
        #[arg(long, value_name = "N")]
        max: Option<u64>,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Shows the backfill of a schedule, pauses it, lets it go on, or ends it.
    BackfillStatus {
        /// `namespace/flow`
        #[arg(value_parser = flow_name)]
        flow: FlowName,
        /// Of the trigger.
        trigger: String,
        /// What is to happen; it is only shown without it.
        #[arg(value_parser = ["pause", "resume", "end"])]
        action: Option<String>,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Delivers an event as a service of AWS does, and says what became of it.
    Send {
        /// JSON: a notification of S3, an event of EventBridge, a message of SNS, `Records` of SQS. `-` is standard input.
        file: PathBuf,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Shows what became of each item of a batch.
    Items {
        /// Of the batch.
        execution: operon_engine::ports::ExecutionId,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Shows what became of the events that a trigger was given.
    Events {
        /// `namespace/flow`
        #[arg(value_parser = flow_name)]
        flow: FlowName,
        /// Of the trigger.
        trigger: String,
        /// Only events in this state.
        #[arg(long, value_parser = ["pending", "started", "item", "rejected"])]
        only: Option<String>,
        #[command(flatten)]
        server: ServerChoice,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NamespacesCommand {
    /// Shows who is told about executions of a namespace's flows.
    Notify {
        /// Of the flows, and of those in namespaces below it.
        namespace: String,
        /// Replaces it: a YAML file with `notify` as in a flow.
        #[arg(long, value_name = "FILE", conflicts_with = "remove")]
        set: Option<PathBuf>,
        /// Tells nobody any more, but whom the flows themselves name.
        #[arg(long)]
        remove: bool,
        /// The version you have seen; refuses if another one is there. 0 means none.
        #[arg(long, value_name = "N")]
        expect: Option<u64>,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Shows incidents: what failed, who was told, and messages that nobody took.
    Incidents {
        /// Of the flows.
        namespace: String,
        #[command(flatten)]
        server: ServerChoice,
    },
    /// Shows what executions cost, by flow or by a label.
    Costs {
        /// Of the flows.
        namespace: String,
        /// Adds up by the value of this label.
        #[arg(long, value_name = "KEY")]
        label: Option<String>,
        /// Executions created at or after this time; thirty days ago without it.
        #[arg(long, value_name = "TIME")]
        from: Option<jiff::Timestamp>,
        /// Executions created before this time; now without it.
        #[arg(long, value_name = "TIME")]
        to: Option<jiff::Timestamp>,
        #[command(flatten)]
        server: ServerChoice,
    },
}
