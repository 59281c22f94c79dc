//! What answers look like: JSON in camel case, times in milliseconds since the epoch.

use std::collections::BTreeMap;

use operon_core::lang::diagnostic::{Diagnostic, LineIndex};
use operon_engine::flows::{FlowHead, RevisionHead};
use operon_engine::last_task;
use operon_engine::metrics;
use operon_engine::ports::{AttemptRow, ExecutionRow};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// A page of a list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// Give it as `cursor` to go on; null at the end.
    pub next: Option<String>,
}

/// A finding in a flow's source, or something wrong with an input (then `rule` is its id).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Finding {
    /// `error` or `warning`.
    pub severity: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Where it ends.
    pub end_line: usize,
    /// Where it ends.
    pub end_column: usize,
    /// Stable name of the rule.
    pub rule: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub fix: Option<String>,
}

impl Finding {
    /// Findings with their lines.
    pub(crate) fn all(source: &str, findings: &[Diagnostic]) -> Vec<Self> {
        let index = LineIndex::new(source);
        let of = |finding: &Diagnostic| {
            let (line, column) = index.line_col(finding.span.start);
            let (end_line, end_column) = index.line_col(finding.span.end);
            Self {
                severity: finding.severity.to_string(),
                line,
                column,
                end_line,
                end_column,
                rule: finding.rule.id().to_owned(),
                message: finding.message.clone(),
                fix: finding.help.clone(),
            }
        };
        findings.iter().map(of).collect()
    }
}

/// An execution in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionSummary {
    /// Its id.
    pub id: String,
    /// Of the flow.
    pub namespace: String,
    /// The flow.
    pub flow: String,
    /// The revision it is pinned to.
    pub revision: u32,
    /// `CREATED`, `QUEUED`, `RUNNING`, `PAUSED`, `RETRYING`, `KILLING`, `SUCCESS`, `WARNING`, `FAILED`, `KILLED`,
    /// `CANCELLED`, `RETRIED`.
    pub state: String,
    /// Why, for people.
    pub reason: Option<String>,
    /// Of the flow, the trigger, the caller, and added since.
    pub labels: BTreeMap<String, String>,
    /// Milliseconds since the epoch.
    pub created_ms: u64,
    /// First task launched.
    pub started_ms: Option<u64>,
    /// Final since.
    pub ended_ms: Option<u64>,
    /// What started it; null for a person.
    pub trigger: Option<TriggerCause>,
    /// The execution that waits for it.
    pub parent: Option<String>,
    /// The execution it replays.
    pub replay_of: Option<String>,
    /// Where it has come to; only in lists of executions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_task: Option<LastTask>,
}

/// The task that is at work, else the one that failed, else the last that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastTask {
    /// Of the flow; a loop stands for its items.
    pub task: String,
    /// Of its task run.
    pub state: String,
    /// Its attempts so far; 0 of what has none, such as a loop or a pause.
    pub attempts: u32,
}

/// What started an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TriggerCause {
    /// The trigger's id.
    pub id: Option<String>,
    /// The trigger's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `trigger.*` of expressions.
    pub detail: Value,
}

impl From<&ExecutionRow> for ExecutionSummary {
    fn from(row: &ExecutionRow) -> Self {
        let meta = &row.meta;
        let mut labels = meta.labels.clone();
        labels.extend(row.labels.clone());
        let text = |key: &str| {
            meta.trigger
                .get(key)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let trigger = (!meta.trigger.is_null()).then(|| TriggerCause {
            id: text("id"),
            kind: text("type").unwrap_or_else(|| {
                let flow = meta.trigger.get("executionId").is_some();
                if flow { "flow" } else { "event" }.to_owned()
            }),
            detail: meta.trigger.clone(),
        });
        Self {
            id: meta.id.to_string(),
            namespace: meta.namespace.clone(),
            flow: meta.flow.clone(),
            revision: meta.revision,
            state: row.state.clone(),
            reason: row.reason.clone(),
            labels,
            created_ms: meta.created_ms,
            started_ms: row.started_ms,
            ended_ms: row.ended_ms,
            trigger,
            parent: meta.parent.as_ref().map(|(id, ..)| id.to_string()),
            replay_of: meta.replay_of.as_ref().map(|(id, _)| id.to_string()),
            last_task: None,
        }
    }
}

impl From<last_task::LastTask> for LastTask {
    fn from(last: last_task::LastTask) -> Self {
        Self {
            task: last.task,
            state: last.state.to_owned(),
            attempts: u32::from(last.attempts),
        }
    }
}

/// One execution with everything about it that has a bounded size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionDetail {
    /// As in lists.
    #[serde(flatten)]
    pub summary: ExecutionSummary,
    /// By input id. Secrets are their names.
    #[schema(value_type = Object)]
    pub inputs: Map<String, Value>,
    /// The flow's outputs, once it ended.
    #[schema(value_type = Object)]
    pub outputs: Map<String, Value>,
    /// States with the time at which each began.
    pub history: Vec<StateAt>,
    /// Task runs by state.
    pub counts: BTreeMap<String, u64>,
    /// Estimate.
    pub cost: Cost,
    /// The task it was replayed from.
    pub replay_from: Option<String>,
    /// Of the execution that everything began with: the first of those that started each other as subflows. Its own id
    /// when nothing waits for it.
    pub correlation_id: String,
    /// The execution of the same flow before it.
    pub previous: Option<String>,
    /// The execution of the same flow after it.
    pub next: Option<String>,
    /// Executions it started as subflows, the newest first; at most 100.
    pub children: Vec<ExecutionSummary>,
    /// Pauses that wait for a person.
    pub pauses: Vec<PauseSummary>,
    /// Failed iterations of loops: what `retry-failed` is about.
    pub failed_items: u64,
    /// Larger goes first among queued executions.
    pub priority: i32,
}

/// A state and when it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateAt {
    /// The state.
    pub state: String,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
}

/// A pause that waits for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseSummary {
    /// `shard:slot`.
    pub task_run: String,
    /// Of the task in the flow.
    pub task: String,
    /// For people: `approve[3]`.
    pub name: String,
    /// Typed values it asks for.
    pub inputs: Vec<Value>,
}

/// A task run with its attempts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskRun {
    /// `shard:slot`.
    pub id: String,
    /// Of the task in the flow.
    pub task: String,
    /// For people: `align[12]`.
    pub name: String,
    /// Value of the innermost loop's iteration.
    pub item: Option<Value>,
    /// Name of the enclosing group, choice or loop.
    pub parent: Option<String>,
    /// `task`, `group`, `choice`, `loop`, `pause` or `sleep`.
    pub kind: String,
    /// The task's type, for tasks.
    pub task_type: Option<String>,
    /// Of the last attempt.
    pub state: String,
    /// Why, in a word.
    pub reason: Option<String>,
    /// Why, in a sentence.
    pub message: Option<String>,
    /// Of the main process.
    pub exit_code: Option<i32>,
    /// Of the first attempt.
    pub created_ms: u64,
    /// Of the first attempt that began.
    pub started_ms: Option<u64>,
    /// Of the last attempt.
    pub ended_ms: Option<u64>,
    /// `outputs.<task>`, when they are small.
    #[schema(value_type = Object)]
    pub outputs: Map<String, Value>,
    /// Artifact with the outputs, when they are large.
    pub outputs_uri: Option<String>,
    /// Counters and timers.
    pub metrics: Vec<Value>,
    /// Of the last attempt.
    pub usage: UsageDto,
    /// Its outputs came from the task cache.
    pub cached: bool,
    /// The execution whose result it is, in a replay.
    pub reused_from: Option<String>,
    /// Numbered from 1; empty for control and for what was skipped.
    pub attempts: Vec<Attempt>,
}

/// What was reserved, and what that costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Virtual CPUs times seconds.
    pub vcpu_seconds: f64,
    /// Gigabytes of memory times seconds.
    pub gb_seconds: f64,
    /// Of CPU time that was really used.
    pub cpu_seconds_used: f64,
    /// Estimate in US dollars.
    pub usd: f64,
    /// False when there were more attempts than are looked at: then it is at least this.
    pub complete: bool,
}

impl Cost {
    pub(crate) const fn of(cost: metrics::Cost, complete: bool) -> Self {
        Self {
            vcpu_seconds: cost.vcpu_seconds,
            gb_seconds: cost.gb_seconds,
            cpu_seconds_used: cost.cpu_seconds_used,
            usd: cost.usd,
            complete,
        }
    }
}

/// What an attempt used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageDto {
    /// Largest resident set, in bytes.
    pub peak_rss_bytes: u64,
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// From having a machine to the start of the program, in seconds.
    #[serde(default)]
    pub provision_seconds: f64,
}

/// One attempt of a task run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// From 1.
    pub attempt: u8,
    /// Its state.
    pub state: String,
    /// Why, in a word.
    pub reason: Option<String>,
    /// Why, in a sentence.
    pub message: Option<String>,
    /// Of the main process.
    pub exit_code: Option<i32>,
    /// Asked for.
    pub created_ms: u64,
    /// Process started.
    pub started_ms: Option<u64>,
    /// Ended.
    pub ended_ms: Option<u64>,
    /// What it used.
    pub usage: UsageDto,
}

impl From<&AttemptRow> for Attempt {
    fn from(row: &AttemptRow) -> Self {
        Self {
            attempt: row.attempt,
            state: row.state.clone(),
            reason: row.reason.clone(),
            message: row.message.clone(),
            exit_code: row.exit_code,
            created_ms: row.created_ms,
            started_ms: row.started_ms,
            ended_ms: row.ended_ms,
            usage: usage(row),
        }
    }
}

fn usage(row: &AttemptRow) -> UsageDto {
    UsageDto {
        peak_rss_bytes: row.usage.peak_rss_bytes,
        cpu_seconds: row.usage.cpu_seconds,
        provision_seconds: row.usage.provision_seconds,
    }
}

impl TaskRun {
    /// A task run from its rows, ascending by attempt.
    pub(crate) fn of(rows: &[AttemptRow], kind: &str, task_type: Option<String>) -> Option<Self> {
        let real: Vec<&AttemptRow> = rows.iter().filter(|row| row.attempt > 0).collect();
        // What belongs to no attempt says how control is; a task's attempts say more.
        let last = real.last().copied().or(rows.last())?;
        let reused = operon_engine::replay::Reuse::of(last);
        Some(Self {
            id: format!("{}:{}", last.task_run.shard, last.task_run.slot),
            task: last.task.clone(),
            name: last.name.clone(),
            item: last.item.clone(),
            parent: last.parent.clone(),
            kind: kind.to_owned(),
            task_type,
            state: last.state.clone(),
            reason: last.reason.clone(),
            message: last.message.clone(),
            exit_code: last.exit_code,
            created_ms: rows
                .iter()
                .map(|row| row.created_ms)
                .min()
                .unwrap_or_default(),
            started_ms: rows.iter().filter_map(|row| row.started_ms).min(),
            ended_ms: last.ended_ms,
            outputs: last.outputs.clone(),
            outputs_uri: last.outputs_uri.clone(),
            metrics: last.metrics.iter().map(|metric| json!(metric)).collect(),
            usage: usage(last),
            cached: last.message.as_deref() == Some(operon_engine::reports::CACHED),
            reused_from: reused.map(|reuse| reuse.execution().to_string()),
            attempts: real.into_iter().map(Attempt::from).collect(),
        })
    }
}

/// A flow in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlowSummary {
    /// Dots make a hierarchy.
    pub namespace: String,
    /// Unique in the namespace.
    pub id: String,
    /// The revision that counts.
    pub revision: u32,
    /// Nothing starts it.
    pub disabled: bool,
    /// Markdown.
    pub description: Option<String>,
    /// Inherited by executions.
    pub labels: BTreeMap<String, String>,
    /// Milliseconds since the epoch.
    pub updated_ms: u64,
    /// Who changed it last.
    pub updated_by: String,
    /// Its latest executions, the newest first; at most 10.
    pub latest: Vec<ExecutionSummary>,
}

impl FlowSummary {
    pub(crate) fn of(head: &FlowHead, latest: &[ExecutionRow]) -> Self {
        Self {
            namespace: head.namespace.clone(),
            id: head.id.clone(),
            revision: head.revision,
            disabled: head.disabled,
            description: head.description.clone(),
            labels: head.labels.clone(),
            updated_ms: head.updated_ms,
            updated_by: head.updated_by.clone(),
            latest: latest.iter().map(ExecutionSummary::from).collect(),
        }
    }
}

/// A revision in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionSummary {
    /// Its number; numbers may have gaps.
    pub revision: u32,
    /// Whether it counts.
    pub current: bool,
    /// First deployed, milliseconds since the epoch.
    pub created_ms: u64,
    /// Who deployed it.
    pub created_by: String,
    /// What they said about it.
    pub message: Option<String>,
    /// SHA-256 of the source.
    pub source_hash: String,
    /// Content hash of the plan: equal for changes that change nothing.
    pub plan_hash: String,
    /// URI of the listing of the files that were deployed with it.
    pub files: Option<String>,
}

impl RevisionSummary {
    pub(crate) fn of(head: &RevisionHead, current: u32) -> Self {
        Self {
            revision: head.revision,
            current: head.revision == current,
            created_ms: head.created_ms,
            created_by: head.created_by.clone(),
            message: head.message.clone(),
            source_hash: head.source_hash.clone(),
            plan_hash: head.plan_hash.clone(),
            files: head.files.clone(),
        }
    }
}

/// A plan as a graph.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Graph {
    /// Parents before children.
    pub nodes: Vec<GraphNode>,
    /// What begins after what.
    pub edges: Vec<GraphEdge>,
}

/// A node of a graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphNode {
    /// Unique in the graph: the task's id.
    pub id: String,
    /// Of the task in the flow.
    pub task: String,
    /// `task`, `group`, `choice`, `loop`, `pause` or `sleep`.
    pub kind: String,
    /// The task's type, for tasks.
    pub task_type: Option<String>,
    /// The group, choice or loop it is in.
    pub parent: Option<String>,
    /// `body`, `errors`, `finally` or `after`.
    pub phase: String,
    /// In an execution: its state; of what is inside a loop, the worst.
    pub state: Option<String>,
    /// In an execution: `shard:slot` of the task run; none inside loops.
    pub task_run: Option<String>,
    /// Of loops and what is inside them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<GraphCounts>,
}

/// Task runs or iterations by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GraphCounts {
    /// Succeeded, also with warnings, or skipped.
    pub done: u64,
    /// Failed or killed.
    pub failed: u64,
    /// Under way.
    pub running: u64,
    /// All of them.
    pub total: u64,
}

/// Something begins after something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GraphEdge {
    /// First.
    pub from: String,
    /// Then.
    pub to: String,
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLineDto {
    /// From 0 without gaps within the attempt.
    pub seq: u64,
    /// Milliseconds since the epoch.
    pub time_ms: u64,
    /// `TRACE`, `DEBUG`, `INFO`, `WARN` or `ERROR`.
    pub level: String,
    /// Without line end.
    pub text: String,
    /// `shard:slot`.
    pub task_run: String,
    /// From 1.
    pub attempt: u8,
}

/// A page of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogPageDto {
    /// Ascending.
    pub items: Vec<LogLineDto>,
    /// Give it as `after` (or `cursor` without a task run) to go on.
    pub next: Option<String>,
    /// Nothing will follow after these lines.
    pub ended: bool,
    /// There are lines that were not looked at: later ones, or with `before` earlier ones. A search that found nothing
    /// yet goes on there: with `next`, or with `before` set to `searchedUpTo`.
    pub more: bool,
    /// Of one task run, while there are more: the last line that was looked at, with `before` the first one.
    pub searched_up_to: Option<u64>,
    /// What the log of the whole execution lacks, and how to read it.
    pub left_out: Option<String>,
}

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockView {
    /// `namespace/flow`, or with a key after it.
    pub name: String,
    /// What `concurrency.key` gave, when it is one of several locks of a flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Slots of the flow that counts now; null when a lock is asked for by name.
    pub limit: Option<u32>,
    /// Who holds a slot, in the order of taking it.
    pub owners: Vec<OwnerView>,
    /// Who waits, in the order of getting one; at most 100.
    pub queue: Vec<String>,
}

/// A holder of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnerView {
    /// The execution.
    pub execution: String,
    /// The execution is over, and the slot stays taken until then because an outcome in it is unknown.
    pub quarantined_until_ms: Option<u64>,
}
