//! From the events that a head names to their execution.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use operon_core::triggers::{Config, name};
use serde_json::{Map, Value, json};

use super::super::accept::Refusal;
use super::super::record::{EVENT_TTL_MS, INLINE_BYTES_MAX, NAME_CHARS};
use super::super::render::trigger_root;
use super::super::{DeployedFlow, EventRecord, EventState, TriggerKey, Triggers};
use super::{AT_ONCE, Sealing, entry_sort};
use crate::ports::{ArtifactError, ArtifactUri, ExecutionId, StoreError};

impl Triggers {
    /// Makes the batch that the head names: assigns its events, creates its execution, removes its entries.
    pub(super) async fn finish(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        sealing: &Sealing,
    ) -> Result<Option<ExecutionId>, StoreError> {
        let key = flow.key(trigger);
        let identity = sealing.identity();
        let execution = if trigger.batch.is_some() {
            key.execution(&identity)
        } else {
            None
        };
        let names: Vec<String> = sealing.names().map(str::to_owned).collect();
        let (key_of, execution_of) = (&key, &execution);
        let assigned: Vec<Option<EventRecord>> =
            stream::iter(names.clone().into_iter().enumerate())
                .map(|(at, event)| async move {
                    let item = u32::try_from(at).unwrap_or(u32::MAX);
                    self.assign(key_of, &event, execution_of.clone(), item)
                        .await
                })
                .buffered(AT_ONCE)
                .try_collect()
                .await?;
        let events: Vec<EventRecord> = assigned.into_iter().flatten().collect();
        let started = if events.is_empty() {
            None
        } else if trigger.batch.is_some() {
            Some(self.start_batch(flow, trigger, sealing, &events).await?)
        } else {
            self.start_single(flow, trigger, &events).await?
        };
        let sorts = names
            .into_iter()
            .map(|event| entry_sort(&sealing.group, &event));
        let sorts: Vec<String> = sorts.collect();
        stream::iter(sorts)
            .map(|sort| async move {
                let records = &self.evaluator.ports.records;
                records.delete_record(&key_of.batch_key(&sort), 1).await
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(started)
    }

    /// Makes an event an item of the batch with that execution; none when it is not to be had. Events that go one
    /// after the other are not assigned: each makes an execution of its own name.
    async fn assign(
        &self,
        key: &TriggerKey,
        event: &str,
        execution: Option<ExecutionId>,
        item: u32,
    ) -> Result<Option<EventRecord>, StoreError> {
        let at = key.event_key(event);
        loop {
            let Some((version, mut record)) = self.get::<EventRecord>(&at).await? else {
                return Ok(None);
            };
            match record.state {
                EventState::Pending if execution.is_none() => return Ok(Some(record)),
                EventState::Pending => {
                    record.state = EventState::Item;
                    record.execution.clone_from(&execution);
                    record.item = Some(item);
                    let expires = Some(record.at_ms + EVENT_TTL_MS);
                    let due = record.action.is_some().then(|| self.now());
                    if self
                        .put(at.clone(), version, &record, due, expires)
                        .await?
                        .is_ok()
                    {
                        return Ok(Some(record));
                    }
                }
                EventState::Item => {
                    let ours = record.execution == execution;
                    return Ok(ours.then_some(record));
                }
                EventState::Started | EventState::Rejected => return Ok(None),
            }
        }
    }

    /// Starts the execution of a batch.
    async fn start_batch(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        sealing: &Sealing,
        events: &[EventRecord],
    ) -> Result<ExecutionId, StoreError> {
        let identity = sealing.identity();
        let mut items = Vec::with_capacity(events.len());
        for record in events {
            let event = self.event_of(record).await?;
            let mut fields = event.fields;
            fields.insert("event".to_owned(), json!(record.identity));
            items.push(Value::Object(fields));
        }
        let root = self.batch_root(flow, trigger, sealing, items).await?;
        let made = self.create(flow, trigger, &identity, root.clone()).await;
        let row = match made {
            Ok((row, _)) => row,
            Err(Refusal::Store(error)) => return Err(error),
            Err(Refusal::Wanted(reason) | Refusal::Wrong(reason)) => {
                // Its items must not vanish: whatever forbids the execution is told by a failed one.
                self.failed_execution(flow, trigger, &identity, root, &reason)
                    .await?
            }
        };
        self.set_going(&row).await?;
        Ok(row.meta.id)
    }

    /// `trigger` of a batch. Many items are a file of JSON lines, which a loop takes as well as a list.
    async fn batch_root(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        sealing: &Sealing,
        items: Vec<Value>,
    ) -> Result<Map<String, Value>, StoreError> {
        let key = flow.key(trigger);
        let identity = sealing.identity();
        let mut lines = Vec::new();
        for item in &items {
            lines.extend(item.to_string().into_bytes());
            lines.push(b'\n');
        }
        let mut root = trigger_root(trigger, &identity, &Map::new());
        // A circle of flow triggers is found by how deep it is.
        let depth = items.iter().filter_map(|item| item.get("depth")?.as_u64());
        if let Some(depth) = depth.max() {
            root.insert("depth".to_owned(), json!(depth));
        }
        root.insert("count".to_owned(), json!(items.len()));
        root.insert("bytes".to_owned(), json!(lines.len()));
        root.insert("group".to_owned(), json!(sealing.group));
        root.insert(
            "closedAt".to_owned(),
            json!(crate::evaluate::rfc3339(sealing.at_ms)),
        );
        if lines.len() <= INLINE_BYTES_MAX / 2 {
            root.insert("items".to_owned(), Value::Array(items));
            return Ok(root);
        }
        let failed = |error: ArtifactError| StoreError::Failed(error.to_string());
        let file = name(&[&key.to_string(), &identity], NAME_CHARS);
        let uri = ArtifactUri::new(&format!("triggers/batches/{file}.jsonl")).map_err(failed)?;
        self.evaluator
            .ports
            .artifacts
            .put(&uri, lines.into())
            .await
            .map_err(failed)?;
        root.insert("items".to_owned(), json!(uri.to_string()));
        Ok(root)
    }

    /// Starts the execution of an event that waited for the one before it.
    async fn start_single(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        events: &[EventRecord],
    ) -> Result<Option<ExecutionId>, StoreError> {
        let key = flow.key(trigger);
        let Some(record) = events.first() else {
            return Ok(None);
        };
        let event = self.event_of(record).await?;
        let root = trigger_root(trigger, &record.identity, &event.fields);
        let mut settled = record.clone();
        (settled.event, settled.event_uri) = (None, None);
        match self.create(flow, trigger, &record.identity, root).await {
            Ok((row, reason)) => {
                self.set_going(&row).await?;
                settled.state = EventState::Started;
                settled.execution = Some(row.meta.id);
                settled.reason = reason;
            }
            Err(Refusal::Store(error)) => return Err(error),
            Err(Refusal::Wanted(reason) | Refusal::Wrong(reason)) => {
                settled = record.clone();
                settled.state = EventState::Rejected;
                settled.action = None;
                settled.reason = Some(reason);
                self.bury_event(&key, &settled).await?;
            }
        }
        let settled = self.settle(&key, 0, &settled).await?;
        Ok(settled.execution)
    }
}
