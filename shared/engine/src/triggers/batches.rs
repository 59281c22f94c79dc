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

use operon_core::triggers::batch::{Limits, Waiting};
use operon_core::triggers::{Config, TriggerEvent, name};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::accept::{Outcome, expiry};
use super::record::{INLINE_BYTES_MAX, NAME_CHARS, read};
use super::render::trigger_root;
use super::{DeployedFlow, EventRecord, EventState, ObjectAction, TriggerKey, Triggers};
use crate::ports::{ExecutionId, RECORD_PAGE_MAX, RecordKind, RecordQuery, StoreError};
use crate::script::text_of;

mod due;
mod items;
mod make;

pub use items::ItemOutcome;

/// Records written at once.
const AT_ONCE: usize = 32;
/// Entries looked at in one go: some large batches.
const LOOKED_AT_MAX: usize = 20_000;
/// A batch is looked at again after this, when nobody did what was to be done.
pub(super) const GRACE_MS: u64 = 60_000;
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
    /// The event waits, in the place of its record of that version.
    pub(super) async fn wait(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        identity: &str,
        (event, action, expected): (TriggerEvent, Option<ObjectAction>, u64),
    ) -> Result<Outcome, StoreError> {
        let key = flow.key(trigger);
        let root = trigger_root(trigger, identity, &event.fields);
        let bytes = Value::Object(event.fields.clone()).to_string().len();
        let mut record = self
            .new_event(&key, identity, event, EventState::Pending)
            .await?;
        record.action = action;
        record.bytes = u64::try_from(bytes).ok();
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
            .put(at, expected, &record, Some(due), expiry(record.at_ms))
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
        let entry = Entry {
            at_ms: record.at_ms,
            // Records of an earlier release do not say it.
            bytes: record
                .bytes
                .unwrap_or(u64::try_from(INLINE_BYTES_MAX).unwrap_or(u64::MAX)),
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
}
