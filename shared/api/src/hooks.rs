//! What other parts of Operon answer for this application: triggers, webhooks, dead letters.

use async_trait::async_trait;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method};
use operon_engine::ports::ExecutionId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::problem::Problem;

/// Bytes of a webhook's body at most: GitHub's largest is 25 MB, most are some KB; what is larger belongs into a file.
pub const WEBHOOK_BYTES_MAX: usize = 5 * 1024 * 1024;

/// A request to a webhook, as it came: signatures are over the bytes.
#[derive(Debug, Clone)]
pub struct WebhookRequest {
    /// Of the flow.
    pub namespace: String,
    /// The flow.
    pub flow: String,
    /// The trigger in it.
    pub trigger: String,
    /// GET, POST or PUT.
    pub method: Method,
    /// As they came.
    pub headers: HeaderMap,
    /// Query parameters, in order.
    pub query: Vec<(String, String)>,
    /// As it came.
    pub body: Bytes,
}

/// What a webhook is answered.
#[derive(Debug, Clone)]
pub struct WebhookAnswer {
    /// HTTP status.
    pub status: u16,
    /// Of the body.
    pub content_type: String,
    /// As it is sent.
    pub body: String,
}

/// Answers webhooks. Stands outside authentication: it checks signatures itself.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Takes a request in.
    async fn receive(&self, request: WebhookRequest) -> Result<WebhookAnswer, Problem>;
}

/// A trigger, as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TriggerSummary {
    /// Of the flow.
    pub namespace: String,
    /// The flow.
    pub flow: String,
    /// Unique in the flow.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// It never fires: by the flow's text, or because somebody disabled it.
    pub disabled: bool,
    /// Fired last, milliseconds since the epoch.
    pub last_ms: Option<u64>,
    /// Fires next, milliseconds since the epoch.
    pub next_ms: Option<u64>,
    /// Should have fired before now and has not.
    pub late: bool,
    /// For people: the schedule, the bucket, …
    pub detail: Option<String>,
    /// Where a webhook is called.
    pub url: Option<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// Dates that fired late, the newest last, 20 at most.
    #[serde(default)]
    pub late_dates: Vec<MissedDate>,
    /// Dates that did not fire, the newest last, 20 at most.
    #[serde(default)]
    pub missed_dates: Vec<MissedDate>,
    /// How many did not, all in all.
    #[serde(default)]
    pub missed_count: u64,
    /// Its backfill, also one that is over.
    #[serde(default)]
    pub backfill: Option<BackfillView>,
}

/// How far a backfill has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackfillView {
    /// First date that may be, milliseconds since the epoch.
    pub from_ms: u64,
    /// Dates before this one.
    pub to_ms: u64,
    /// Dates before this one are dealt with.
    pub next_ms: u64,
    /// Waits for a person.
    pub paused: bool,
    /// Everything was dealt with, or a person ended it.
    pub over: bool,
    /// Executions it started.
    pub started: u64,
    /// Dates that had succeeded before.
    pub skipped: u64,
    /// Executions that have not ended.
    pub active: usize,
}

/// A date of a schedule that fired late, or not at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissedDate {
    /// The date, milliseconds since the epoch.
    pub date_ms: u64,
    /// When it was dealt with, milliseconds since the epoch.
    pub at_ms: u64,
    /// Why it did not fire.
    pub reason: Option<String>,
}

/// What became of one item of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemView {
    /// Its place in `trigger.items`.
    pub item: u32,
    /// The identity of its event.
    pub identity: String,
    /// Of the iteration that had it as its value; the execution's where none had.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
}

/// Slots of a schedule to be made up for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackfillRequest {
    /// First time, milliseconds since the epoch.
    pub from_ms: u64,
    /// Up to here, milliseconds since the epoch.
    pub to_ms: u64,
    /// Values by input id.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub inputs: serde_json::Map<String, Value>,
    /// Labels of the executions.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
    /// Executions at once, 1 to 1000; 4 without it.
    #[serde(default)]
    pub parallel: Option<u32>,
    /// Executions that it starts at most; every date of the range without it.
    #[serde(default)]
    pub max_executions: Option<u64>,
}

/// What a person wants of a backfill that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackfillSteer {
    /// Nothing more is started until it goes on.
    Pause,
    /// It goes on.
    Resume,
    /// Nothing more is started; what it started goes on.
    End,
}

impl BackfillSteer {
    /// As in paths.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        match text {
            "pause" => Some(Self::Pause),
            "resume" => Some(Self::Resume),
            "end" => Some(Self::End),
            _ => None,
        }
    }
}

/// What became of an event that a trigger was given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TriggerEventView {
    /// Tells it from others of its trigger, the same in every delivery.
    pub identity: String,
    /// When it was accepted, milliseconds since the epoch.
    pub at_ms: u64,
    /// `pending`, `started`, `item` (of a batch) or `rejected`.
    pub state: String,
    /// The execution it started or is part of.
    pub execution: Option<String>,
    /// Its place in the batch.
    pub item: Option<u32>,
    /// Why it was rejected.
    pub reason: Option<String>,
}

/// What became of an event that was delivered by hand, for one of the triggers that it was meant for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveredEvent {
    /// Of the flow.
    pub namespace: String,
    /// The flow.
    pub flow: String,
    /// The trigger in it.
    pub trigger: String,
    /// `pending`, `started`, `item` (of a batch) or `rejected`.
    pub state: String,
    /// The execution it started or is part of.
    pub execution: Option<String>,
    /// Why it was rejected.
    pub reason: Option<String>,
}

/// Lists and steers triggers.
#[async_trait]
pub trait TriggerAdmin: Send + Sync {
    /// Takes an event as a service of AWS would deliver it.
    async fn deliver(&self, event: &Value) -> Result<Vec<DeliveredEvent>, Problem>;
    /// Triggers in the order of namespace, flow and id, after the one named; all of one flow, if that is given.
    async fn list(
        &self,
        namespace: Option<&str>,
        flow: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<TriggerSummary>, Option<String>), Problem>;
    /// Lets it fire, or not; how it was before.
    async fn set_disabled(
        &self,
        namespace: &str,
        flow: &str,
        id: &str,
        disabled: bool,
    ) -> Result<TriggerSummary, Problem>;
    /// Makes what its triggers need follow a flow that was deployed, rolled back, switched on or off. May be repeated.
    async fn follow(&self, namespace: &str, flow: &str) -> Result<(), Problem>;
    /// Why triggers of a flow never fire on this server, one sentence each.
    async fn never_fire(&self, namespace: &str, flow: &str) -> Result<Vec<String>, Problem>;
    /// Makes up for slots of a schedule; what is shown of it.
    async fn backfill(
        &self,
        namespace: &str,
        flow: &str,
        id: &str,
        request: BackfillRequest,
    ) -> Result<Value, Problem>;
    /// The backfill of a schedule, also one that is over.
    async fn backfill_state(&self, namespace: &str, flow: &str, id: &str)
    -> Result<Value, Problem>;
    /// Pauses a backfill, lets it go on, or ends it.
    async fn steer_backfill(
        &self,
        namespace: &str,
        flow: &str,
        id: &str,
        steer: BackfillSteer,
    ) -> Result<Value, Problem>;
    /// Events that a trigger was given, after the one named; only those in this state, if it is given.
    async fn events(
        &self,
        namespace: &str,
        flow: &str,
        id: &str,
        state: Option<&str>,
        after: Option<String>,
        limit: u32,
    ) -> Result<(Vec<TriggerEventView>, Option<String>), Problem>;
    /// What became of the items of a batch's execution; none for another one.
    async fn items(&self, execution: &ExecutionId) -> Result<Vec<ItemView>, Problem>;
    /// Schedules that fire next, of all flows or of one namespace.
    async fn next(
        &self,
        namespace: Option<&str>,
        limit: u32,
    ) -> Result<Vec<TriggerSummary>, Problem>;
}

/// A message that nobody could handle.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Names it.
    pub id: String,
    /// The queue it was in.
    pub queue: String,
    /// When it was given up, milliseconds since the epoch.
    pub at_ms: u64,
    /// Why.
    pub reason: String,
    /// Its beginning.
    pub body: String,
    /// The execution it is about.
    pub execution: Option<String>,
    /// When it was put back, milliseconds since the epoch; none when it came again since. Such a letter stays until it
    /// expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put_back_ms: Option<u64>,
}

/// Messages that nobody could handle.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// The newest first, after the one named.
    async fn list(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<DeadLetter>, Option<String>), Problem>;
    /// Puts one back into its queue.
    async fn redrive(&self, id: &str) -> Result<(), Problem>;
}
