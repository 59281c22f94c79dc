//! What is known of an ended attempt, as the message that tells its shard.

use operon_core::agent::{AgentMessage, AgentResult, AgentSaid, AttemptName, CacheEntry};
use operon_core::exec::{
    Event, LAUNCH_GRACE_MS, Outcome, Reason, Shard, State, TIMEOUT_UNKNOWN_MS, Truth,
};
use operon_core::lang::model::Dynamic;
use operon_core::plan::ShardId;
use serde_json::{Map, Value};
use tracing::warn;

use crate::evaluate::{EvaluateError, Evaluator, Site};
use crate::planner::{Active, Message};
use crate::ports::{
    ArtifactError, ArtifactUri, AttemptId, AttemptResult, AttemptRow, ShardKey, StoreError,
    TaskRunKey, Usage,
};
use crate::rows;
use crate::wire::{EventMessage, PlanMessage};

/// What a task run says whose outputs are those of an identical earlier one.
pub const CACHED: &str = "outputs of an identical earlier task run were reused";
/// Characters of a warning that are kept.
const WARNING_CHARS_MAX: usize = 1000;

/// The attempt that a name names.
#[must_use]
pub fn attempt_of(name: &AttemptName) -> Option<AttemptId> {
    Some(AttemptId {
        execution: name.execution.parse().ok()?,
        task_run: TaskRunKey {
            shard: name.shard.clone(),
            slot: name.slot,
        },
        attempt: name.attempt,
    })
}

/// The name of an attempt, as its agent writes it.
#[must_use]
pub fn name_of(id: &AttemptId) -> AttemptName {
    AttemptName {
        execution: id.execution.to_string(),
        shard: id.task_run.shard.clone(),
        slot: id.task_run.slot,
        attempt: id.attempt,
    }
}

/// A result without anything but its end.
#[must_use]
pub fn ended(started_ms: u64, ended_ms: u64, outcome: Outcome) -> AttemptResult {
    AttemptResult {
        outcome,
        exit_code: None,
        message: None,
        outputs: Map::new(),
        metrics: Vec::new(),
        usage: Usage::default(),
        started_ms,
        ended_ms,
    }
}

/// The end of a task run whose outputs are those of an identical earlier one.
#[must_use]
pub fn cached(now_ms: u64, outputs: Map<String, Value>) -> AttemptResult {
    AttemptResult {
        message: Some(CACHED.to_owned()),
        outputs,
        ..ended(now_ms, now_ms, Outcome::Success)
    }
}

/// A failure that the engine itself found.
#[must_use]
pub fn failed(started_ms: u64, ended_ms: u64, reason: Reason, message: String) -> AttemptResult {
    AttemptResult {
        message: Some(message),
        ..ended(started_ms, ended_ms, Outcome::Failed(reason))
    }
}

/// What somebody other than the agent saw of an attempt's end, in the agent's own format.
#[must_use]
pub fn seen(id: &AttemptId, result: &AttemptResult, task_arn: Option<String>) -> PlanMessage {
    let attempt = name_of(id);
    let result = AgentResult {
        format: operon_core::agent::FORMAT,
        attempt: attempt.clone(),
        outcome: result.outcome,
        exit_code: result.exit_code,
        message: result.message.clone(),
        outputs: result.outputs.clone(),
        outputs_uri: None,
        cache: None,
        output_files: Vec::new(),
        metrics: Vec::new(),
        usage: Usage::default(),
        started_ms: result.started_ms,
        ended_ms: result.ended_ms,
        task_arn,
        log: None,
    };
    PlanMessage::Agent(Box::new(AgentMessage {
        format: operon_core::agent::FORMAT,
        attempt,
        said: AgentSaid::Done(Box::new(result)),
    }))
}

/// What the runtime answered about an attempt.
#[must_use]
pub fn probed(id: &AttemptId, truth: Truth) -> EventMessage {
    EventMessage::new(
        id.shard_key(),
        Event::Probed {
            slot: id.task_run.slot,
            attempt: id.attempt,
            truth,
        },
    )
}

/// That nothing of an attempt is alive.
#[must_use]
pub fn stopped(id: &AttemptId) -> EventMessage {
    EventMessage::new(
        id.shard_key(),
        Event::Stopped {
            slot: id.task_run.slot,
            attempt: id.attempt,
        },
    )
}

/// When the live attempt of a task run was launched: its deadline less what it was given. None for what is not
/// launched, or is being stopped.
#[must_use]
pub fn launched_ms(active: &Active, shard_id: &ShardId, slot: u16, shard: &Shard) -> Option<u64> {
    let task_run = shard.slots.get(usize::from(slot))?;
    if task_run.due == 0 || !task_run.state.is_live() {
        return None;
    }
    let site = Site {
        plan: &active.plan,
        meta: &active.meta,
        shard: shard_id,
        slot,
        attempt: task_run.attempt,
    };
    let timeout = match site.task()?.timeout_ms {
        Dynamic::Constant(ms) => ms,
        Dynamic::Template(_) => TIMEOUT_UNKNOWN_MS,
    };
    let due = shard.time_of(task_run.due).0;
    Some(due.saturating_sub(timeout).saturating_sub(LAUNCH_GRACE_MS))
}

impl Evaluator {
    /// The message that an attempt ended, with its detail item.
    pub async fn done(
        &self,
        id: &AttemptId,
        row: AttemptRow,
        result: AttemptResult,
        secrets: &[String],
    ) -> Result<Message, StoreError> {
        let created = row.created_ms;
        let age_ms = match id.attempt {
            0 | 1 => result.ended_ms.saturating_sub(created),
            _ => {
                let store = &*self.ports.store;
                let rows = store.attempts(&id.execution, &id.task_run).await?;
                let first = rows.first().map_or(created, |row| row.created_ms);
                result.ended_ms.saturating_sub(first)
            }
        };
        let (row, outcome) = self.report(row, result, secrets).await;
        Ok(message(id, outcome, age_ms, Some(row)))
    }

    /// What an agent says, as a message to its shard. None when it names what does not exist.
    pub async fn said(
        &self,
        active: &Active,
        id: &AttemptId,
        said: AgentSaid,
        launched_ms: Option<u64>,
    ) -> Result<Option<Message>, StoreError> {
        let result = match said {
            AgentSaid::Started { .. } => {
                let event = Event::Started {
                    slot: id.task_run.slot,
                    attempt: id.attempt,
                };
                return Ok(Some(Message::new(id.shard_key(), event)));
            }
            AgentSaid::Alive { .. } => {
                let message = probed(id, Truth::Alive);
                return Ok(Some(Message::new(message.key(), message.event)));
            }
            AgentSaid::Warned { at_ms, message } => {
                return Ok(self.warned(active, id, message, launched_ms, at_ms).await);
            }
            AgentSaid::Done(result) => *result,
        };
        let site = Site::of_attempt(active, id);
        let Some(mut row) = rows::blank(site, id.attempt) else {
            return Ok(None);
        };
        row.item = self.item(site).await.unwrap_or_default();
        row.created_ms = launched_ms.unwrap_or(result.started_ms);
        row.outputs_uri.clone_from(&result.outputs_uri);
        let cache = result.cache;
        let ended = AttemptResult {
            outcome: result.outcome,
            exit_code: result.exit_code,
            message: result.message,
            outputs: result.outputs,
            metrics: result.metrics,
            usage: result.usage,
            started_ms: result.started_ms,
            ended_ms: result.ended_ms,
        };
        let message = self.done(id, row, ended, &[]).await?;
        Ok(Some(Message { cache, ..message }))
    }

    /// Outputs that an identical task run left, unless a file of theirs is gone.
    pub async fn reusable(
        &self,
        cache: &CacheEntry,
        now_ms: u64,
    ) -> Result<Option<Map<String, Value>>, StoreError> {
        let Some(outputs) = self.ports.store.cached(&cache.key, now_ms).await? else {
            return Ok(None);
        };
        let mut open: Vec<&Value> = outputs.values().collect();
        while let Some(value) = open.pop() {
            match value {
                Value::Array(items) => open.extend(items),
                Value::Object(entries) => open.extend(entries.values()),
                Value::String(text) => {
                    let uri = ArtifactUri::is_uri(text).then(|| text.parse::<ArtifactUri>());
                    if let Some(Ok(uri)) = uri
                        && let Err(ArtifactError::Missing(_)) =
                            self.ports.artifacts.size(&uri).await
                    {
                        return Ok(None);
                    }
                }
                Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
        }
        Ok(Some(outputs))
    }

    /// Keeps the outputs of an attempt that succeeded for an identical task run. Whoever finds none executes it, so
    /// nothing is lost where that fails.
    pub async fn keep(&self, row: &AttemptRow, cache: Option<&CacheEntry>) {
        let Some(cache) = cache.filter(|_| matches!(row.state.as_str(), "SUCCESS" | "WARNING"))
        else {
            return;
        };
        let store = &*self.ports.store;
        let ended = row.ended_ms.unwrap_or_else(|| self.ports.clock.now_ms());
        let expires = cache.expires_ms(ended);
        let kept = match self.row_outputs(row).await {
            Ok(outputs) => store
                .put_cached(&cache.key, &outputs, expires)
                .await
                .map_err(EvaluateError::Store),
            Err(error) => Err(error),
        };
        if let Err(reason) = kept {
            warn!(%reason, attempt = %row.id(), "the outputs could not be cached");
        }
    }
}

impl Evaluator {
    /// A warning about a live attempt: it is alive, and its detail item says what is about to happen. The report of its
    /// end replaces that.
    async fn warned(
        &self,
        active: &Active,
        id: &AttemptId,
        text: String,
        launched_ms: Option<u64>,
        at_ms: u64,
    ) -> Option<Message> {
        let site = Site::of_attempt(active, id);
        let mut row = rows::blank(site, id.attempt)?;
        row.item = self.item(site).await.unwrap_or_default();
        rows::state_name(State::Running).clone_into(&mut row.state);
        row.created_ms = launched_ms.unwrap_or(at_ms);
        row.message = Some(text.chars().take(WARNING_CHARS_MAX).collect());
        let alive = probed(id, Truth::Alive);
        Some(Message {
            row: Some(Box::new(row)),
            ..Message::new(alive.key(), alive.event)
        })
    }
}

fn message(id: &AttemptId, outcome: Outcome, age_ms: u64, row: Option<AttemptRow>) -> Message {
    let event = Event::Done {
        slot: id.task_run.slot,
        attempt: id.attempt,
        outcome,
        age_ms,
    };
    Message {
        row: row.map(Box::new),
        ..Message::new(id.shard_key(), event)
    }
}

impl From<Message> for EventMessage {
    fn from(message: Message) -> Self {
        Self {
            row: message.row.map(|row| *row),
            ..Self::new(message.key, message.event)
        }
    }
}

impl From<EventMessage> for Message {
    fn from(message: EventMessage) -> Self {
        let key: ShardKey = message.key();
        Self {
            row: message.row.map(Box::new),
            ..Self::new(key, message.event)
        }
    }
}
