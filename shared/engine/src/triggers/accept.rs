//! Accepting an event.
//!
//! The order of writes is the order that heals: the execution is created, then started, then the event's record is
//! written. A crash after any of them leaves a state from which the next delivery of the same event goes on.

use operon_core::exec::Event;
use operon_core::plan::content_hash;
use operon_core::triggers::{Config, TriggerEvent};
use serde_json::{Map, Value, json};

use super::record::{EVENT_TTL_MS, INLINE_BYTES_MAX};
use super::render::{seed, trigger_root};
use super::{DeployedFlow, EventRecord, EventState, ObjectAction, TriggerKey, Triggers};
use crate::intake::{IntakeError, Request};
use crate::ports::{ArtifactUri, ExecutionId, ExecutionMeta, ExecutionRow, ShardKey, StoreError};

/// What became of an event that was just delivered.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It started this execution.
    Started(ExecutionId),
    /// It waits for others, or for the end of an execution before it.
    Waits,
    /// It started nothing, for this reason.
    Rejected(String),
    /// It was accepted before; this is what became of it then.
    Known(Box<EventRecord>),
}

impl Outcome {
    /// The execution, as far as there is one.
    #[must_use]
    pub fn execution(&self) -> Option<&ExecutionId> {
        match self {
            Self::Started(id) => Some(id),
            Self::Known(record) => record.execution.as_ref(),
            Self::Waits | Self::Rejected(_) => None,
        }
    }
}

/// Why an event starts nothing.
pub(super) enum Refusal {
    /// As the flow wants it: a condition, a guard, a switch.
    Wanted(String),
    /// Something is wrong with the event or the flow: a dead letter.
    Wrong(String),
    /// The store did not answer; the event is delivered again.
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Triggers {
    /// Accepts an event for a trigger. May be called any number of times, by anybody, at once.
    pub async fn accept(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        event: TriggerEvent,
    ) -> Result<Outcome, StoreError> {
        self.accept_again(flow, trigger, event, None).await
    }

    /// [`Self::accept`] of an event that was rejected: its record of that version does not count, and stays until
    /// another takes its place.
    pub(super) async fn accept_again(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        event: TriggerEvent,
        rejected: Option<u64>,
    ) -> Result<Outcome, StoreError> {
        let key = flow.key(trigger);
        let identity = match self.identity(flow, trigger, &event).await {
            Ok(identity) => identity,
            Err(reason) => {
                let identity = event.identity.clone();
                return self.reject(&key, &identity, event, reason, true).await;
            }
        };
        let at = key.event_key(&key.event_name(&identity));
        let known = self.get::<EventRecord>(&at).await?;
        if let Some((_, known)) = known.filter(|(version, _)| Some(*version) != rejected) {
            if known.state == EventState::Pending {
                // Its place in the queue may have been lost on the way.
                self.enqueue(flow, trigger, &known).await?;
                return Ok(Outcome::Waits);
            }
            return Ok(Outcome::Known(Box::new(known)));
        }
        if let Some(id) = key.execution(&identity)
            && let Some(row) = self.evaluator.ports.store.execution(&id).await?
        {
            // Created by a delivery that went no further, or remembered longer than the event.
            let root = trigger_root(trigger, &identity, &event.fields);
            let action = self.action_of(flow, trigger, &root, &identity).await;
            return self
                .started(&key, &identity, row, None, action.unwrap_or_default())
                .await;
        }
        if let Some(reason) = self.switched_off(flow, trigger, &key).await? {
            return self.reject(&key, &identity, event, reason, false).await;
        }
        let root = trigger_root(trigger, &identity, &event.fields);
        match self
            .holds(flow, trigger, &root, &seed(&key, &identity))
            .await
        {
            Ok(true) => {}
            Ok(false) => {
                let reason = "`when` does not hold".to_owned();
                return self.reject(&key, &identity, event, reason, false).await;
            }
            Err(reason) => {
                return self
                    .unrenderable(flow, trigger, (&key, &identity), event, reason)
                    .await;
            }
        }
        let (event, action) = match self.with_action(flow, trigger, &identity, event).await? {
            Ok(taken) => taken,
            Err((event, reason)) => {
                // A delivery at the same time may have gone further: then the object has gone, too.
                if let Some((_, known)) = self.get::<EventRecord>(&at).await? {
                    return Ok(Outcome::Known(Box::new(known)));
                }
                return self.reject(&key, &identity, event, reason, true).await;
            }
        };
        if trigger.waits() {
            let waiting = (event, action, rejected.unwrap_or_default());
            return self.wait(flow, trigger, &identity, waiting).await;
        }
        let root = trigger_root(trigger, &identity, &event.fields);
        match self.create(flow, trigger, &identity, root).await {
            Ok((row, reason)) => self.started(&key, &identity, row, reason, action).await,
            Err(Refusal::Wanted(reason)) => {
                self.reject(&key, &identity, event, reason, false).await
            }
            Err(Refusal::Wrong(reason)) => self.reject(&key, &identity, event, reason, true).await,
            Err(Refusal::Store(error)) => Err(error),
        }
    }

    /// Why the trigger takes no events now.
    pub(super) async fn switched_off(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        key: &TriggerKey,
    ) -> Result<Option<String>, StoreError> {
        if flow.disabled || flow.plan.disabled {
            return Ok(Some("the flow is disabled".to_owned()));
        }
        if trigger.disabled {
            return Ok(Some("the trigger is disabled in the flow".to_owned()));
        }
        let state = self.state(key).await?;
        Ok(state
            .disabled
            .map(|off| format!("the trigger is disabled: {}", off.reason)))
    }

    /// The execution exists: it is started, and the event's record says so.
    async fn started(
        &self,
        key: &TriggerKey,
        identity: &str,
        row: ExecutionRow,
        reason: Option<String>,
        action: Option<ObjectAction>,
    ) -> Result<Outcome, StoreError> {
        self.set_going(&row).await?;
        let record = EventRecord {
            format: 1,
            identity: identity.to_owned(),
            at_ms: self.now(),
            state: EventState::Started,
            execution: Some(row.meta.id.clone()),
            item: None,
            reason,
            group: None,
            event: None,
            event_uri: None,
            action,
            bytes: None,
        };
        self.settle(key, 0, &record).await?;
        Ok(Outcome::Started(row.meta.id))
    }

    pub(super) async fn set_going(&self, row: &ExecutionRow) -> Result<(), StoreError> {
        if row.ended_ms.is_some() {
            // No planner sees this end.
            self.notices.over(row).await?;
            return self.ended_at_once(row).await;
        }
        self.sink
            .send(&ShardKey::root(&row.meta.id), &Event::Start)
            .await
    }

    /// The event starts nothing. `wrong`: somebody should look at it.
    pub(super) async fn reject(
        &self,
        key: &TriggerKey,
        identity: &str,
        event: TriggerEvent,
        reason: String,
        wrong: bool,
    ) -> Result<Outcome, StoreError> {
        let mut record = self
            .new_event(key, identity, event, EventState::Rejected)
            .await?;
        record.reason = Some(reason.clone());
        if wrong {
            self.bury_event(key, &record).await?;
        }
        let known = self.settle(key, 0, &record).await?;
        if known.state == EventState::Rejected {
            Ok(Outcome::Rejected(reason))
        } else {
            Ok(Outcome::Known(Box::new(known)))
        }
    }

    /// What cannot be rendered makes a failed execution, or is rejected, as the trigger says.
    async fn unrenderable(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        (key, identity): (&TriggerKey, &str),
        event: TriggerEvent,
        reason: String,
    ) -> Result<Outcome, StoreError> {
        if !trigger.fail_on_error {
            return self.reject(key, identity, event, reason, true).await;
        }
        let root = trigger_root(trigger, identity, &event.fields);
        let row = self
            .failed_execution(flow, trigger, identity, root, &reason)
            .await?;
        self.started(key, identity, row, Some(reason), None).await
    }

    /// Creates the execution of an event or batch, unless it exists. The text says why it failed at once.
    pub(super) async fn create(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        identity: &str,
        root: Map<String, Value>,
    ) -> Result<(ExecutionRow, Option<String>), Refusal> {
        let key = flow.key(trigger);
        let (inputs, labels) = match self
            .values(flow, trigger, &root, &seed(&key, identity))
            .await
        {
            Ok(values) => values,
            Err(reason) => return self.failed(flow, trigger, identity, root, reason).await,
        };
        let id = execution_id(&key, identity)?;
        let stored = self.stored_root(&id, root.clone()).await?;
        let request = Request {
            id,
            plan: flow.plan.clone(),
            flow_dir: flow.flow_dir.clone(),
            inputs,
            labels,
            trigger: Value::Object(stored),
            parent: None,
            replay_of: None,
            priority: 0,
        };
        let created = match self.evaluator.intake(request).await {
            Ok(created) => created,
            Err(IntakeError::Store(error)) => return Err(error.into()),
            Err(IntakeError::Disabled(_)) => {
                return Err(Refusal::Wanted("the flow is disabled".to_owned()));
            }
            Err(IntakeError::Blocked(reason)) => {
                return Err(Refusal::Wanted(format!("a check of the flow: {reason}")));
            }
            Err(
                error @ (IntakeError::Inputs(_)
                | IntakeError::TooLarge(_)
                | IntakeError::File { .. }),
            ) => {
                return self
                    .failed(flow, trigger, identity, root, error.to_string())
                    .await;
            }
        };
        self.evaluator
            .ports
            .store
            .create(&created.row, &created.plan)
            .await?;
        Ok((created.row, None))
    }

    async fn failed(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        identity: &str,
        root: Map<String, Value>,
        reason: String,
    ) -> Result<(ExecutionRow, Option<String>), Refusal> {
        if !trigger.fail_on_error {
            return Err(Refusal::Wrong(reason));
        }
        let row = self
            .failed_execution(flow, trigger, identity, root, &reason)
            .await?;
        Ok((row, Some(reason)))
    }

    /// An execution that ended before it began, so that people see what the event met with.
    pub(super) async fn failed_execution(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        identity: &str,
        root: Map<String, Value>,
        reason: &str,
    ) -> Result<ExecutionRow, StoreError> {
        let key = flow.key(trigger);
        let id = execution_id(&key, identity)?;
        let bytes = flow.plan.canonical_json();
        let hash = content_hash(&bytes);
        let store = &self.evaluator.ports.store;
        let revision = store
            .revision(&flow.plan.namespace, &flow.plan.flow, &hash)
            .await?;
        let now = self.now();
        let trigger_value = self.stored_root(&id, root).await?;
        let row = ExecutionRow {
            state: "FAILED".to_owned(),
            reason: Some(format!("trigger `{}`: {reason}", trigger.id)),
            started_ms: None,
            ended_ms: Some(now),
            outputs: Map::new(),
            labels: flow.plan.labels.clone(),
            meta: ExecutionMeta {
                id,
                namespace: flow.plan.namespace.clone(),
                flow: flow.plan.flow.clone(),
                revision,
                plan_hash: hash,
                inputs: Map::new(),
                labels: flow.plan.labels.clone(),
                trigger: Value::Object(trigger_value),
                created_ms: now,
                parent: None,
                replay_of: None,
                flow_dir: flow.flow_dir.clone(),
                priority: 0,
            },
        };
        store.create(&row, &bytes).await?;
        Ok(row)
    }

    /// `trigger` as it is stored with the execution: a large one is an artifact, and its small parts stay.
    async fn stored_root(
        &self,
        id: &ExecutionId,
        mut root: Map<String, Value>,
    ) -> Result<Map<String, Value>, StoreError> {
        let text = Value::Object(root.clone()).to_string();
        if text.len() <= INLINE_BYTES_MAX {
            return Ok(root);
        }
        let failed = |error: crate::ports::ArtifactError| StoreError::Failed(error.to_string());
        let uri = ArtifactUri::new(&format!("executions/{id}/trigger.json")).map_err(failed)?;
        let artifacts = &self.evaluator.ports.artifacts;
        artifacts
            .put(&uri, text.into_bytes().into())
            .await
            .map_err(failed)?;
        root.retain(|_, value| value.to_string().len() <= 1_024);
        root.insert("payloadUri".to_owned(), json!(uri.to_string()));
        Ok(root)
    }
}

fn execution_id(key: &TriggerKey, identity: &str) -> Result<ExecutionId, StoreError> {
    // 24 digits are always an id.
    key.execution(identity)
        .ok_or_else(|| StoreError::Failed("an execution's id could not be derived".to_owned()))
}

/// When a record written now vanishes.
#[allow(clippy::unnecessary_wraps, reason = "has the form of a record")]
pub(super) fn expiry(now: u64) -> Option<u64> {
    Some(now + EVENT_TTL_MS)
}
