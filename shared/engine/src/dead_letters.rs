//! Dead letters of the queues: messages that were delivered again and again and never handled.
//!
//! Invariant: a dead letter ends where people see it: as a record with its reason, and as a task run or an
//! execution that has failed with the reason `poisoned`, or with the name of the trigger that waits for it; never in
//! silence. A person puts it back with [`redrive`], which does not undo that end: a restart of the execution does.

use std::borrow::Cow;
use std::sync::Arc;

use operon_core::agent::AgentSaid;
use operon_core::exec::{Event, Reason};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tracing::error;

use crate::Ports;
use crate::plans::{PlanError, Plans};
use crate::ports::{
    ArtifactError, ArtifactStore, ArtifactUri, AttemptId, ExecutionId, Outgoing, Queue, QueueName,
    Record, RecordKey, RecordKind, RecordOutcome, RecordQuery, RecordWrite, ShardKey, StoreError,
    Write,
};
use crate::reports;
use crate::step::StepError;
use crate::triggers::TriggerKey;
use crate::watcher::Watcher;
use crate::wire::{self, EventMessage, LaunchMessage, PlanMessage, WorkMessage};

/// The partition of these records.
pub const PARTITION: &str = "queues";
/// Bytes of a message that are kept with its record; a longer one is an artifact.
const BODY_MAX: usize = 64 * 1024;
/// Dead letters are kept this long.
const KEPT_MS: u64 = 90 * 24 * 60 * 60 * 1000;

/// A message that nobody could handle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Of this document.
    pub format: u32,
    /// Names it.
    pub id: String,
    /// The queue it was in: see [`QueueName::name`].
    pub queue: String,
    /// When it was given up, milliseconds since the epoch.
    pub at_ms: u64,
    /// Why.
    pub reason: String,
    /// The execution it is about.
    pub execution: Option<ExecutionId>,
    /// The attempt it is about.
    pub attempt: Option<String>,
    /// The trigger it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerKey>,
    /// The message; its beginning when [`Self::body_uri`] is set.
    pub body: String,
    /// Artifact with the message, when it is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_uri: Option<String>,
    /// When it was last put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven_ms: Option<u64>,
}

/// Whom a message is about.
enum About {
    Attempt(AttemptId),
    Execution(ExecutionId),
    /// Its record says that nobody answered, and the poll is asked for again.
    Trigger(TriggerKey),
    Nobody,
}

fn about(queue: QueueName, body: &str) -> About {
    match queue {
        QueueName::Plan => match PlanMessage::decode(body) {
            Ok(PlanMessage::Agent(message)) => match (&message.said, &message.attempt) {
                (
                    AgentSaid::Started { .. } | AgentSaid::Alive { .. } | AgentSaid::Warned { .. },
                    _,
                ) => About::Nobody,
                (AgentSaid::Done(_), name) => {
                    reports::attempt_of(name).map_or(About::Nobody, About::Attempt)
                }
            },
            Ok(PlanMessage::Event(event)) => of_event(&event),
            Err(_) => About::Nobody,
        },
        QueueName::Launch => match wire::decode(body) {
            Ok(LaunchMessage::Launch { id, .. }) => About::Attempt(id),
            // Asked and told again with the next tick. That something was to be stopped does not prove that it was.
            Ok(LaunchMessage::Probe { .. } | LaunchMessage::Stop { .. }) | Err(_) => About::Nobody,
        },
        QueueName::Work => match wire::decode(body) {
            Ok(WorkMessage::Execute { id, .. }) => About::Attempt(id),
            Ok(WorkMessage::Poll { trigger }) => About::Trigger(trigger),
            // What the execution did is done; that nobody was told is the letter itself.
            Ok(
                WorkMessage::Tell { .. } | WorkMessage::Deliver { .. } | WorkMessage::Stop { .. },
            )
            | Err(_) => About::Nobody,
        },
        QueueName::Intake => About::Nobody,
    }
}

fn of_event(message: &EventMessage) -> About {
    match &message.event {
        Event::Done { slot, attempt, .. } | Event::Stopped { slot, attempt } => {
            About::Attempt(AttemptId {
                execution: message.execution.clone(),
                task_run: crate::ports::TaskRunKey {
                    shard: message.shard.clone(),
                    slot: *slot,
                },
                attempt: *attempt,
            })
        }
        // Said again by a tick, or without consequences.
        Event::Tick | Event::Started { .. } | Event::Probed { .. } | Event::Asked { .. } => {
            About::Nobody
        }
        Event::Start
        | Event::Admitted
        | Event::Refused { .. }
        | Event::Decided { .. }
        | Event::Resume { .. }
        | Event::Notify { .. }
        | Event::Ahead { .. }
        | Event::LoopDone { .. }
        | Event::Kill { .. }
        | Event::Exit { .. }
        | Event::Restart { .. } => About::Execution(message.execution.clone()),
    }
}

fn key(id: &str) -> RecordKey {
    RecordKey::new(RecordKind::DeadLetter, PARTITION, id)
}

/// Takes a message out of a dead-letter queue: keeps it, and lets what it is about fail visibly.
pub async fn bury(
    ports: &Ports,
    queue: &dyn Queue,
    from: QueueName,
    body: &str,
    reason: &str,
) -> Result<DeadLetter, StepError> {
    let now = ports.clock.now_ms();
    let digest = hex::encode(Sha256::digest(format!(
        "{}/{}",
        from.name(),
        ageless(from, body)
    )));
    let id = format!("q-{}", digest.get(..24).unwrap_or(&digest));
    let about = about(from, body);
    let (execution, attempt, trigger) = match &about {
        About::Attempt(id) => (Some(id.execution.clone()), Some(id.to_string()), None),
        About::Execution(id) => (Some(id.clone()), None, None),
        About::Trigger(key) => (None, None, Some(key.clone())),
        About::Nobody => (None, None, None),
    };
    error!(queue = from.name(), reason, "a message was given up");
    let mut letter = DeadLetter {
        format: 1,
        id: id.clone(),
        queue: from.name().to_owned(),
        at_ms: now,
        reason: reason.chars().take(2000).collect(),
        execution,
        attempt,
        trigger,
        body: body.to_owned(),
        body_uri: None,
        redriven_ms: None,
    };
    if body.len() > BODY_MAX {
        let kept = keep_body(&*ports.artifacts, &format!("{id}.json"), body).await;
        letter.body_uri = Some(kept.map_err(other)?);
        letter.body = body
            .get(..body.floor_char_boundary(1000))
            .unwrap_or("")
            .to_owned();
    }
    keep(ports, &letter).await?;
    poison(ports, queue, about, reason).await?;
    Ok(letter)
}

#[allow(clippy::needless_pass_by_value, reason = "shaped for `map_err`")]
fn other(error: ArtifactError) -> StepError {
    StepError::Other(error.to_string())
}

/// Keeps a message that is too long for its letter as an artifact of that name; where it is.
pub(crate) async fn keep_body(
    artifacts: &dyn ArtifactStore,
    name: &str,
    body: &str,
) -> Result<String, ArtifactError> {
    let uri = ArtifactUri::new(&format!("dead-letters/{name}"))?;
    artifacts.put(&uri, body.as_bytes().to_vec().into()).await?;
    Ok(uri.to_string())
}

/// A message that [`keep_body`] kept.
pub(crate) async fn kept_body(
    artifacts: &dyn ArtifactStore,
    uri: &str,
    bytes_max: u64,
) -> Result<String, ArtifactError> {
    let bytes = artifacts.get(&uri.parse()?, bytes_max).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Saves a letter that was taken out of its queue, in the place of one of the same message that came before.
async fn keep(ports: &Ports, letter: &DeadLetter) -> Result<(), StoreError> {
    let now = ports.clock.now_ms();
    let there = ports.records.record(&key(&letter.id), now).await?;
    let expected = there.map_or(0, |record| record.version);
    // A conflict means that somebody else has just saved it.
    save(ports, expected, letter).await.map(drop)
}

async fn save(
    ports: &Ports,
    expected: u64,
    letter: &DeadLetter,
) -> Result<RecordOutcome, StoreError> {
    let now = ports.clock.now_ms();
    let write = RecordWrite {
        key: key(&letter.id),
        expected,
        value: json!(letter),
        due_ms: None,
        expires_ms: Some(now.saturating_add(KEPT_MS)),
    };
    ports.records.save_record(write).await
}

/// Lets a task run or an execution fail, with the reason `poisoned`.
async fn poison(
    ports: &Ports,
    queue: &dyn Queue,
    about: About,
    reason: &str,
) -> Result<(), StepError> {
    let now = ports.clock.now_ms();
    let (execution, message) = match about {
        About::Trigger(_) | About::Nobody => return Ok(()),
        About::Attempt(id) => {
            let text = format!("a message about it was given up: {reason}");
            let outcome = reports::failed(now, now, Reason::Poisoned, text);
            (id.execution.clone(), reports::seen(&id, &outcome, None))
        }
        About::Execution(id) => {
            let event = Event::Kill {
                reason: Reason::Poisoned,
                round: None,
            };
            let message = EventMessage::new(ShardKey::root(&id), event);
            (id, message.into())
        }
    };
    // Without its plan no planner can say anything about it: the row at least says why.
    if let Some(mut row) = ports.store.execution(&execution).await?
        && row.ended_ms.is_none()
        && let Some(why) = unreadable(ports, &row.meta.plan_hash).await?
    {
        "FAILED".clone_into(&mut row.state);
        row.reason = Some(format!("poisoned: plan {} {why}", row.meta.plan_hash));
        row.ended_ms = Some(now);
        let write = Write {
            executions: vec![row],
            ..Write::default()
        };
        ports.store.write(write).await?;
        return Ok(());
    }
    let out = Outgoing::now(message.encode()?);
    queue.send(QueueName::Plan, vec![out]).await?;
    Ok(())
}

/// Why there is no plan that this release can use; none when there is one.
async fn unreadable(ports: &Ports, plan_hash: &str) -> Result<Option<String>, StoreError> {
    match Plans::default().get(&*ports.store, plan_hash).await {
        Ok(_) => Ok(None),
        Err(PlanError::Missing(_)) => Ok(Some("is missing".to_owned())),
        Err(PlanError::Damaged { what, .. } | PlanError::Store(StoreError::Corrupt(what))) => {
            Ok(Some(format!("cannot be read: {what}")))
        }
        Err(PlanError::Store(error @ (StoreError::Busy(_) | StoreError::Failed(_)))) => Err(error),
    }
}

fn read(record: &Record) -> Result<DeadLetter, StoreError> {
    serde_json::from_value(record.value.clone())
        .map_err(|error| StoreError::Corrupt(format!("dead letter `{}`: {error}", record.key.sort)))
}

/// Dead letters by id, after `after`.
pub async fn list(
    ports: &Ports,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    let query = RecordQuery {
        after,
        limit,
        ..RecordQuery::default()
    };
    let page = ports
        .records
        .records(RecordKind::DeadLetter, PARTITION, &query)
        .await?;
    page.iter().map(read).collect()
}

/// Puts a dead letter back into its queue, or does what an event about a task of ECS calls for: no queue is before the
/// watcher. The letter stays, with the time, until it expires: should it fail again, that is the same letter, without the
/// time. False when there is none with that id.
pub async fn redrive(ports: &Ports, queue: &Arc<dyn Queue>, id: &str) -> Result<bool, StepError> {
    let now = ports.clock.now_ms();
    let Some(record) = ports.records.record(&key(id), now).await? else {
        return Ok(false);
    };
    let mut letter = read(&record)?;
    let name = QueueName::ALL
        .into_iter()
        .find(|name| name.name() == letter.queue);
    let Some(name) = name else {
        return Err(StepError::Other(format!(
            "dead letter `{id}` names the queue `{}`, which this release does not have",
            letter.queue
        )));
    };
    let body = match &letter.body_uri {
        None => letter.body.clone(),
        Some(uri) => {
            let limit = u64::try_from(wire::MESSAGE_BYTES_MAX * 4).unwrap_or(u64::MAX);
            let kept = kept_body(&*ports.artifacts, uri, limit).await;
            kept.map_err(other)?
        }
    };
    if let Some(event) = of_ecs(&body).filter(|_| name == QueueName::Intake) {
        let watcher = Watcher::new(ports.clone(), Arc::clone(queue));
        for outcome in watcher.handle(&[event.as_str()]).await {
            outcome?;
        }
    } else {
        queue
            .send(name, vec![Outgoing::now(freshened(name, body, now))])
            .await?;
    }
    letter.redriven_ms = Some(now);
    save(ports, record.version, &letter).await?;
    Ok(true)
}

/// The event about a task of ECS in a letter: as `EventBridge` could not hand it on, or within what Lambda says of a
/// function that failed.
fn of_ecs(body: &str) -> Option<String> {
    let mut value: Value = serde_json::from_str(body).ok()?;
    if let Some(event) = value.get_mut("requestPayload") {
        value = event.take();
    }
    (value.get("source").and_then(Value::as_str) == Some("aws.ecs")).then(|| value.to_string())
}

/// A message without the age that [`freshened`] changes: what fails again is the same letter.
fn ageless(queue: QueueName, body: &str) -> Cow<'_, str> {
    let parsed: Option<Value> = (queue == QueueName::Launch)
        .then(|| serde_json::from_str(body).ok())
        .flatten();
    match parsed {
        Some(Value::Object(mut fields)) => {
            fields.remove("sinceMs");
            Cow::Owned(Value::Object(fields).to_string())
        }
        Some(_) | None => Cow::Borrowed(body),
    }
}

/// A launch that is put back is a new wish: its age begins now. The fence still decides.
fn freshened(queue: QueueName, body: String, now_ms: u64) -> String {
    if queue != QueueName::Launch {
        return body;
    }
    let mut value: Value = match serde_json::from_str(&body) {
        Ok(value) => value,
        Err(_) => return body,
    };
    match value.get_mut("sinceMs") {
        Some(since) => {
            *since = json!(now_ms);
            value.to_string()
        }
        None => body,
    }
}
