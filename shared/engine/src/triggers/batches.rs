//! Events that wait: for others of their batch, or for the end of the execution before them.
//!
//! Each event has its own records, so events that come at once do not fight over one: its event record says whether
//! it still waits, and an entry in the partition of the trigger makes it found. One more record, the *head*, says
//! which batch is being made; writing it is the moment at which events become a batch. Whoever finds a batch half
//! made finishes it, and every action of that can be repeated:
//!
//! 1. the head names the events (conditional on its version);
//! 2. each event's record goes from `pending` to `item` of that batch (conditional); one that is another's item
//!    already is left out, so an event is in one batch;
//! 3. the execution, whose id derives from the names, is created and started;
//! 4. the entries are removed, and the head is free again.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use operon_core::triggers::batch::{Limits, Waiting};
use operon_core::triggers::{Config, TriggerEvent, name};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::accept::{Outcome, Refusal, expiry};
use super::record::{EVENT_TTL_MS, INLINE_BYTES_MAX, NAME_CHARS, content, read};
use super::render::trigger_root;
use super::{DeployedFlow, EventRecord, EventState, TriggerKey, Triggers};
use crate::ports::{
    ArtifactUri, AttemptRow, ExecutionId, RECORD_PAGE_MAX, RecordKind, RecordQuery, StoreError,
};
use crate::script::text_of;

/// Records written at once.
const AT_ONCE: usize = 32;
/// Entries looked at in one go: some large batches.
const LOOKED_AT_MAX: usize = 20_000;
/// A batch is looked at again after this, when nobody did what was to be done.
const GRACE_MS: u64 = 60_000;
/// Bytes of the value of `groupBy`.
const GROUP_BYTES_MAX: usize = 512;
/// A batch whose size is chosen is looked at again after this, when nothing is free.
const FULL_MS: u64 = 10_000;
/// What a waiting trigger is looked at again after, should the end of its execution not be heard of.
const BUSY_MS: u64 = 30_000;

/// The batch that is being made, and when to look again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Head {
    format: u32,
    /// Numbers batches.
    seq: u64,
    /// The batch being made.
    sealing: Option<Sealing>,
    /// The execution that must end before the next one, when they must not overlap.
    active: Option<ExecutionId>,
    /// When somebody must look.
    due_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sealing {
    seq: u64,
    /// Names one after the other, each [`NAME_CHARS`] long.
    names: String,
    group: String,
    at_ms: u64,
}

impl Sealing {
    fn names(&self) -> impl Iterator<Item = &str> {
        (0..self.names.len() / NAME_CHARS)
            .filter_map(|at| self.names.get(at * NAME_CHARS..(at + 1) * NAME_CHARS))
    }

    fn identity(&self) -> String {
        format!("batch:{}:{}", self.seq, name(&[&self.names], NAME_CHARS))
    }
}

/// An event's entry among those that wait.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    at_ms: u64,
    bytes: u64,
    group: String,
}

/// What became of one item of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemOutcome {
    /// Its place in `trigger.items`.
    pub item: u32,
    /// The identity of its event.
    pub identity: String,
    /// State of the task run that worked on it; the execution's where no task run did for it alone.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
}

fn entry_sort(group: &str, event: &str) -> String {
    format!("p/{}/{event}", name(&[group], 8))
}

/// How events of a trigger wait: in batches, or one after the other.
fn limits_of(trigger: &Config) -> Limits {
    trigger.batch.as_ref().map_or(
        Limits {
            items_max: 1,
            bytes_max: None,
            wait_max_ms: 0,
        },
        |batch| batch.limits,
    )
}

impl Triggers {
    /// The event waits.
    pub(super) async fn wait(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        identity: &str,
        event: TriggerEvent,
    ) -> Result<Outcome, StoreError> {
        let key = flow.key(trigger);
        let root = trigger_root(trigger, identity, &event.fields);
        let mut record = self
            .new_event(&key, identity, event, EventState::Pending)
            .await?;
        if let Some(template) = trigger
            .batch
            .as_ref()
            .and_then(|batch| batch.group_by.as_ref())
        {
            let group = self
                .over_event(flow, &json!(template), &root, identity)
                .await;
            match group {
                Ok(group) => {
                    let text = text_of(&group);
                    let end = text.floor_char_boundary(GROUP_BYTES_MAX);
                    record.group = text.get(..end).map(str::to_owned);
                }
                Err(reason) => {
                    let event = self.event_of(&record).await?;
                    let reason = format!("`groupBy`: {reason}");
                    return self.reject(&key, identity, event, reason, true).await;
                }
            }
        }
        let at = key.event_key(&key.event_name(identity));
        let due = limits_of(trigger).due_ms(record.at_ms) + GRACE_MS;
        match self
            .put(at, 0, &record, Some(due), expiry(record.at_ms))
            .await?
        {
            Ok(_) => {}
            Err(None) => return Err(StoreError::Busy("an event's record expired".to_owned())),
            Err(Some(there)) => {
                // The same event, delivered at the same time.
                record = read(&there)?;
                if record.state != EventState::Pending {
                    return Ok(Outcome::Known(Box::new(record)));
                }
            }
        }
        self.enqueue(flow, trigger, &record).await?;
        Ok(Outcome::Waits)
    }

    /// Makes a waiting event found, and makes that somebody looks in time. May be repeated.
    pub(super) async fn enqueue(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        record: &EventRecord,
    ) -> Result<(), StoreError> {
        let key = flow.key(trigger);
        let group = record.group.clone().unwrap_or_default();
        let bytes = record.event.as_ref().map_or(INLINE_BYTES_MAX, |event| {
            Value::Object(event.fields.clone()).to_string().len()
        });
        let entry = Entry {
            at_ms: record.at_ms,
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            group: group.clone(),
        };
        let sort = entry_sort(&group, &key.event_name(&record.identity));
        // A conflict means that it is there.
        let _ = self
            .put(key.batch_key(&sort), 0, &entry, None, expiry(record.at_ms))
            .await?;
        self.due_by(&key, limits_of(trigger).due_ms(record.at_ms))
            .await
    }

    /// Makes that the head is due no later than `due`. Only the first event of a batch writes it.
    async fn due_by(&self, key: &TriggerKey, due: u64) -> Result<(), StoreError> {
        let at = key.batch_key("h");
        loop {
            let (version, mut head) = self.get::<Head>(&at).await?.unwrap_or_default();
            if head.due_ms.is_some_and(|there| there <= due) {
                return Ok(());
            }
            head.format = 1;
            head.due_ms = Some(due);
            if self
                .put(at.clone(), version, &head, Some(due), None)
                .await?
                .is_ok()
            {
                return self.wakeups.wake(key, due).await;
            }
        }
    }

    /// Makes every batch that is full or due. Gives how many executions were started.
    pub async fn close(&self, flow: &DeployedFlow, trigger: &Config) -> Result<u32, StoreError> {
        let key = flow.key(trigger);
        let at = key.batch_key("h");
        let mut made = 0;
        'read: loop {
            let Some((mut version, mut head)) = self.get::<Head>(&at).await? else {
                return Ok(made);
            };
            if let Some(sealing) = head.sealing.clone() {
                head.active = self.finish(flow, trigger, &sealing).await?.or(head.active);
                head.sealing = None;
                // What comes next is not known yet, so somebody must look.
                head.due_ms = Some(self.now());
                let _ = self
                    .put(at.clone(), version, &head, head.due_ms, None)
                    .await?;
                made += 1;
                continue;
            }
            if self.must_wait(trigger, &head).await? {
                let due = self.now() + BUSY_MS;
                head.due_ms = Some(due);
                if self
                    .put(at.clone(), version, &head, Some(due), None)
                    .await?
                    .is_err()
                {
                    continue;
                }
                self.wakeups.wake(&key, due).await?;
                return Ok(made);
            }
            let mut groups = self.waiting(&key).await?;
            let Some(limits) = self.sized(flow, trigger, &groups).await? else {
                // Nothing is free: an execution would only queue, so the batch goes on filling.
                let due = (!groups.is_empty()).then(|| self.now() + FULL_MS);
                head.due_ms = due;
                if self
                    .put(at.clone(), version, &head, due, None)
                    .await?
                    .is_err()
                {
                    continue;
                }
                if let Some(due) = due {
                    self.wakeups.wake(&key, due).await?;
                }
                return Ok(made);
            };
            for (group, waiting) in &mut groups {
                while let Some(cut) = limits.cut(waiting, self.now()) {
                    head.seq += 1;
                    let sealing = Sealing {
                        seq: head.seq,
                        names: cut.names.concat(),
                        group: group.clone(),
                        at_ms: self.now(),
                    };
                    head.sealing = Some(sealing.clone());
                    match self
                        .put(at.clone(), version, &head, Some(self.now()), None)
                        .await?
                    {
                        Ok(now) => version = now,
                        Err(_) => continue 'read,
                    }
                    let started = self.finish(flow, trigger, &sealing).await?;
                    made += u32::from(started.is_some());
                    head.active = started.or(head.active);
                    head.sealing = None;
                    head.due_ms = Some(self.now());
                    match self
                        .put(at.clone(), version, &head, head.due_ms, None)
                        .await?
                    {
                        Ok(now) => version = now,
                        Err(_) => continue 'read,
                    }
                    if !trigger.allow_concurrent {
                        continue 'read;
                    }
                }
            }
            let oldest = groups.values().flatten().map(|event| event.at_ms).min();
            let next = oldest.map(|oldest| limits.due_ms(oldest));
            if head.due_ms == next {
                return Ok(made);
            }
            head.due_ms = next;
            let Ok(_) = self.put(at.clone(), version, &head, next, None).await? else {
                continue;
            };
            if let Some(due) = next {
                self.wakeups.wake(&key, due).await?;
                return Ok(made);
            }
            // An event may have come after the list was read and before the head said that nothing is due.
            if self.waiting(&key).await?.is_empty() {
                return Ok(made);
            }
            self.due_by(&key, self.now()).await?;
        }
    }

    /// Whether an execution of the trigger must end first.
    async fn must_wait(&self, trigger: &Config, head: &Head) -> Result<bool, StoreError> {
        let Some(active) = head.active.as_ref().filter(|_| !trigger.allow_concurrent) else {
            return Ok(false);
        };
        let row = self.evaluator.ports.store.execution(active).await?;
        Ok(row.is_some_and(|row| row.ended_ms.is_none()))
    }

    /// Events that wait, by group.
    async fn waiting(
        &self,
        key: &TriggerKey,
    ) -> Result<BTreeMap<String, Vec<Waiting>>, StoreError> {
        let mut groups: BTreeMap<String, Vec<Waiting>> = BTreeMap::new();
        let mut query = RecordQuery {
            prefix: "p/".to_owned(),
            limit: RECORD_PAGE_MAX,
            ..RecordQuery::default()
        };
        let mut count = 0;
        while count < LOOKED_AT_MAX {
            let records = &self.evaluator.ports.records;
            let page = records
                .records(RecordKind::Batch, &key.to_string(), &query)
                .await?;
            let Some(last) = page.last().map(|record| record.key.sort.clone()) else {
                break;
            };
            count += page.len();
            for record in page {
                let entry: Entry = read(&record)?;
                let Some(event) = record.key.sort.rsplit('/').next() else {
                    continue;
                };
                groups.entry(entry.group).or_default().push(Waiting {
                    name: event.to_owned(),
                    at_ms: entry.at_ms,
                    bytes: entry.bytes,
                });
            }
            query.after = Some(last);
        }
        Ok(groups)
    }

    /// Makes the batch that the head names: assigns its events, creates its execution, removes its entries.
    async fn finish(
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
                    if self
                        .put(at.clone(), version, &record, None, expires)
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
        let failed = |error: crate::ports::ArtifactError| StoreError::Failed(error.to_string());
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
                settled.reason = Some(reason);
                self.bury_event(&key, &settled).await?;
            }
        }
        let settled = self.settle(&key, 0, &settled).await?;
        Ok(settled.execution)
    }

    /// Takes up batches whose time has come, and events that nobody queued.
    pub(super) async fn close_due(&self, limit: u32) -> Result<u32, StoreError> {
        let now = self.now();
        let records = &self.evaluator.ports.records;
        let mut made = 0;
        for record in records.due_records(RecordKind::Event, now, limit).await? {
            let Some((flow, trigger)) = self.of_partition(&record.key.partition).await? else {
                self.unarm(&record).await?;
                continue;
            };
            let Some(trigger) = flow.trigger(&trigger) else {
                self.unarm(&record).await?;
                continue;
            };
            let event: EventRecord = read(&record)?;
            if event.state == EventState::Pending {
                self.enqueue(&flow, trigger, &event).await?;
            }
            // Looked at again later, should it still wait.
            let due = (event.state == EventState::Pending).then_some(now + GRACE_MS);
            let _ = self
                .put(
                    record.key.clone(),
                    record.version,
                    &event,
                    due,
                    record.expires_ms,
                )
                .await?;
        }
        for record in records.due_records(RecordKind::Batch, now, limit).await? {
            let found = self.of_partition(&record.key.partition).await?;
            let trigger = found
                .as_ref()
                .and_then(|(flow, id)| Some((flow, flow.trigger(id)?)));
            let Some((flow, trigger)) = trigger else {
                self.unarm(&record).await?;
                continue;
            };
            if record.key.sort.starts_with("w/") {
                self.window_passed(flow, trigger, &record).await?;
            } else {
                made += self.close(flow, trigger).await?;
            }
        }
        Ok(made)
    }

    async fn of_partition(
        &self,
        partition: &str,
    ) -> Result<Option<(std::sync::Arc<DeployedFlow>, String)>, StoreError> {
        let Some(key) = TriggerKey::of_partition(partition) else {
            return Ok(None);
        };
        let flow = self.flows.deployed_flow(&key.namespace, &key.flow).await?;
        Ok(flow.map(|flow| (flow, key.trigger)))
    }

    /// The trigger is gone: nobody looks any more. The record stays, for people.
    async fn unarm(&self, record: &crate::ports::Record) -> Result<(), StoreError> {
        let _ = self
            .put(
                record.key.clone(),
                record.version,
                &content(&record.value)?,
                None,
                record.expires_ms,
            )
            .await?;
        Ok(())
    }

    /// What became of each item of a batch's execution: the state of the loop iterations that had the item as their
    /// value, or of the execution where there was no such loop.
    pub async fn item_outcomes(&self, id: &ExecutionId) -> Result<Vec<ItemOutcome>, StoreError> {
        let store = &self.evaluator.ports.store;
        let Some(row) = store.execution(id).await? else {
            return Ok(Vec::new());
        };
        let items = self.items_of(&row.meta.trigger).await?;
        let mut latest: BTreeMap<String, AttemptRow> = BTreeMap::new();
        let mut after = None;
        loop {
            let page = store.attempts_page(id, after, RECORD_PAGE_MAX).await?;
            let Some(last) = page.last() else { break };
            after = Some((last.task_run.clone(), last.attempt));
            for attempt in page {
                let event = attempt
                    .item
                    .as_ref()
                    .and_then(|item| item.get("event")?.as_str());
                let Some(event) = event.map(str::to_owned) else {
                    continue;
                };
                // Several tasks may work on one item: the worst tells.
                let worse = latest.get(&event).is_none_or(|known| {
                    known.task_run == attempt.task_run || rank(&attempt.state) >= rank(&known.state)
                });
                if worse {
                    latest.insert(event, attempt);
                }
            }
        }
        let of = |(item, identity): (usize, String)| {
            let attempt = latest.get(&identity);
            ItemOutcome {
                item: u32::try_from(item).unwrap_or(u32::MAX),
                state: attempt.map_or_else(|| row.state.clone(), |attempt| attempt.state.clone()),
                reason: attempt
                    .map_or_else(|| row.reason.clone(), |attempt| attempt.message.clone()),
                identity,
            }
        };
        Ok(items.into_iter().enumerate().map(of).collect())
    }

    /// The identities of a batch's items.
    async fn items_of(&self, trigger: &Value) -> Result<Vec<String>, StoreError> {
        let identity = |item: &Value| {
            item.get("event")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        match trigger.get("items") {
            Some(Value::Array(items)) => Ok(items.iter().map(identity).collect()),
            Some(Value::String(uri)) => {
                let failed = |error: String| StoreError::Failed(error);
                let uri: ArtifactUri = uri.parse().map_err(|error| failed(format!("{error}")))?;
                let artifacts = &self.evaluator.ports.artifacts;
                let max = crate::items::ITEMS_BYTES_MAX;
                let bytes = artifacts
                    .get(&uri, max)
                    .await
                    .map_err(|error| failed(error.to_string()))?;
                let lines = bytes
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty());
                Ok(lines
                    .filter_map(|line| serde_json::from_slice(line).ok())
                    .map(|item: Value| identity(&item))
                    .collect())
            }
            _ => Ok(Vec::new()),
        }
    }
}

/// Worse states are larger.
fn rank(state: &str) -> u8 {
    match state {
        "SUCCESS" | "SKIPPED" => 0,
        "WARNING" => 1,
        "FAILED" => 3,
        _ => 2,
    }
}
