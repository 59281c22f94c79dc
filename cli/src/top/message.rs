//! What reaches the model, and what the model wants done. Plain data: nothing here does I/O.

use operon_api::dto::{
    ExecutionDetail, ExecutionSummary, FlowSummary, LockView, LogLineDto, LogPageDto, Page, TaskRun,
};
use operon_api::hooks::TriggerSummary;
use operon_core::lang::model::Input;
use serde::Deserialize;

use super::actions::Action;

/// Something that happened.
#[derive(Debug, Clone)]
pub(super) enum Message {
    /// A key, by its name: `j`, `Enter`, `Ctrl-c`.
    Key(String),
    /// The time, several times a second: milliseconds since the epoch.
    Time(u64),
    /// What was asked for.
    Answer(Answer),
    /// What was asked for and did not come.
    Trouble(Request, Trouble),
    /// What came of an action.
    Acted(Action, Result<serde_json::Value, Trouble>),
    /// What a stream tells; those of older tickets are late.
    Stream(u64, StreamEvent),
}

/// Why an answer did not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server cannot be reached; asking again may help.
    Lost(String),
    /// The server does not do it.
    Refused(String),
}

/// What is asked of the server.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    /// Who asks.
    Me,
    /// Executions that match, so many.
    Executions(Vec<(&'static str, String)>),
    /// One execution.
    Detail(String),
    /// Its task runs, or those in these states.
    TaskRuns { id: String, states: String },
    /// Flows.
    Flows,
    /// Triggers.
    Triggers,
    /// Locks.
    Slots,
    /// The end of a log, or what is before a line of it.
    Log {
        source: Source,
        before: u64,
        ticket: u64,
    },
    /// The inputs of a flow.
    Inputs { namespace: String, flow: String },
    /// What an action on many would do.
    Preview(Action),
}

/// A log: of one attempt of a task run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// The execution.
    pub(super) execution: String,
    /// `shard:slot`.
    pub(super) run: String,
    /// From 1.
    pub(super) attempt: u8,
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// Who asks.
    Me(Me),
    /// Executions, and the query that they answer.
    Executions(Vec<(&'static str, String)>, Page<ExecutionSummary>),
    /// One execution.
    Detail(Box<ExecutionDetail>),
    /// Task runs; whether there are more.
    TaskRuns {
        id: String,
        states: String,
        runs: Vec<TaskRun>,
        more: bool,
    },
    /// Flows.
    Flows(Page<FlowSummary>),
    /// Triggers.
    Triggers(Page<TriggerSummary>),
    /// Locks.
    Slots(Page<LockView>),
    /// Lines of a log.
    Log {
        ticket: u64,
        before: u64,
        page: LogPageDto,
    },
    /// The inputs of a flow.
    Inputs {
        namespace: String,
        flow: String,
        inputs: Vec<Input>,
    },
    /// What an action on many would do.
    Preview(Action, Preview),
}

/// Who asks.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Me {
    /// A name.
    pub(super) subject: String,
    /// `viewer`, `operator`, `editor` or `admin`.
    pub(super) role: String,
}

/// What an action on many would do, or did.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Preview {
    /// To so many it would be done.
    pub(super) done: usize,
    /// To the others not.
    pub(super) skipped: Vec<Skipped>,
}

/// An execution to which nothing is done.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Skipped {
    /// Its id.
    pub(super) id: String,
    /// Why.
    pub(super) reason: String,
}

/// What a stream tells.
#[derive(Debug, Clone)]
pub(super) enum StreamEvent {
    /// It is connected, for the first time or again.
    Up,
    /// It broke off, and is being connected again.
    Lost(String),
    /// The execution changed.
    Execution(Box<ExecutionSummary>),
    /// A task run changed.
    TaskRun(Box<TaskRun>),
    /// Too much changed to be told.
    Refresh,
    /// A line of a log.
    Line(LogLineDto),
    /// Nothing will follow.
    End,
}

/// Something the model wants done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    /// Ask the server.
    Ask(Request),
    /// Change something.
    Act(Action),
    /// Hear of the changes of an execution under a ticket; none stops it.
    Watch(Option<(u64, String)>),
    /// Follow a log under a ticket after a line; none stops it.
    Follow(Option<(u64, Source, Option<u64>)>),
    /// Draw everything again.
    Redraw,
    /// Give the terminal back to the shell until it continues us.
    Suspend,
    /// Leave.
    Quit,
}
