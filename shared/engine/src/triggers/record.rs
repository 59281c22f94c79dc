//! What is stored of events: one record each, by the hash of its identity.

use std::fmt;

use operon_core::triggers::{TriggerEvent, name};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Triggers;
use crate::ports::{
    ArtifactUri, ExecutionId, Record, RecordKey, RecordKind, RecordOutcome, RecordWrite, StoreError,
};

/// Events are remembered this long: longer than any source delivers again (SQS: 14 days).
pub(super) const EVENT_TTL_MS: u64 = 30 * 86_400_000;
/// Bytes of an event that are kept in its record; a larger one is an artifact.
pub(super) const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Characters of the name of an event: 120 bits.
pub(super) const NAME_CHARS: usize = 24;

/// Names a trigger.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TriggerKey {
    /// Of the flow.
    pub namespace: String,
    /// Of the flow.
    pub flow: String,
    /// Of the trigger.
    pub trigger: String,
}

impl fmt::Display for TriggerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.flow, self.trigger)
    }
}

impl TriggerKey {
    /// The trigger whose records have this partition.
    #[must_use]
    pub fn of_partition(partition: &str) -> Option<Self> {
        let (rest, trigger) = partition.rsplit_once('/')?;
        let (namespace, flow) = rest.rsplit_once('/')?;
        Some(Self {
            namespace: namespace.to_owned(),
            flow: flow.to_owned(),
            trigger: trigger.to_owned(),
        })
    }

    /// The name of an event of this trigger.
    #[must_use]
    pub fn event_name(&self, identity: &str) -> String {
        name(
            &[&self.namespace, &self.flow, &self.trigger, identity],
            NAME_CHARS,
        )
    }

    /// The execution that an event of this trigger starts.
    #[must_use]
    pub fn execution(&self, identity: &str) -> Option<ExecutionId> {
        let parts = [
            "execution",
            &self.namespace,
            &self.flow,
            &self.trigger,
            identity,
        ];
        name(&parts, NAME_CHARS).parse().ok()
    }

    /// Where an event of this trigger is kept.
    #[must_use]
    pub fn event_key(&self, name: &str) -> RecordKey {
        RecordKey::new(RecordKind::Event, self.to_string(), name)
    }

    pub(super) fn batch_key(&self, sort: &str) -> RecordKey {
        RecordKey::new(RecordKind::Batch, self.to_string(), sort)
    }
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EventState {
    /// It waits for others, or for the end of an execution before it.
    Pending,
    /// It started an execution.
    Started,
    /// It is an item of a batch.
    Item,
    /// It started nothing.
    Rejected,
}

/// A place in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectPlace {
    /// The bucket.
    pub bucket: String,
    /// The object's name in it.
    pub key: String,
}

/// What is still to be done with the object of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectAction {
    /// The object.
    pub from: ObjectPlace,
    /// Its content; an object with another one stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Where it goes; it is deleted without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<ObjectPlace>,
    /// How often it was tried in vain.
    #[serde(default)]
    pub tries: u32,
}

/// An event that was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRecord {
    /// Of this document.
    pub format: u32,
    /// Names the event among those of its trigger.
    pub identity: String,
    /// When it was accepted, in milliseconds since the epoch.
    pub at_ms: u64,
    /// What became of it.
    pub state: EventState,
    /// The execution it started or is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionId>,
    /// Its place in `trigger.items`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// Why it was rejected, why its execution failed at once, or why its object is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Value of `groupBy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The event, unless it is not needed any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<TriggerEvent>,
    /// Artifact that holds it when it is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_uri: Option<String>,
    /// What is still to be done with its object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ObjectAction>,
    /// Of its fields, while it waits: what a batch counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Reads the content of a record.
pub(super) fn read<T: DeserializeOwned>(record: &Record) -> Result<T, StoreError> {
    serde_json::from_value(record.value.clone()).map_err(|error| {
        StoreError::Corrupt(format!("a record of kind {}: {error}", record.key.kind))
    })
}

/// The content of a record to be written.
pub(super) fn content<T: Serialize>(value: &T) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(value).map_err(|error| StoreError::Failed(error.to_string()))
}

impl Triggers {
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        key: &RecordKey,
    ) -> Result<Option<(u64, T)>, StoreError> {
        let record = self.evaluator.ports.records.record(key, self.now()).await?;
        record
            .map(|record| Ok((record.version, read(&record)?)))
            .transpose()
    }

    /// Writes on condition of the version; what is there instead when somebody else wrote.
    pub(super) async fn put<T: Serialize>(
        &self,
        key: RecordKey,
        expected: u64,
        value: &T,
        due_ms: Option<u64>,
        expires_ms: Option<u64>,
    ) -> Result<Result<u64, Option<Box<Record>>>, StoreError> {
        let write = RecordWrite {
            key,
            expected,
            value: content(value)?,
            due_ms,
            expires_ms,
        };
        Ok(
            match self.evaluator.ports.records.save_record(write).await? {
                RecordOutcome::Saved(version) => Ok(version),
                RecordOutcome::Conflict(there) => Err(there),
            },
        )
    }

    /// A record of an event that just came, with the event in it or beside it.
    pub(super) async fn new_event(
        &self,
        key: &TriggerKey,
        identity: &str,
        event: TriggerEvent,
        state: EventState,
    ) -> Result<EventRecord, StoreError> {
        let mut record = EventRecord {
            format: 1,
            identity: identity.to_owned(),
            at_ms: self.now(),
            state,
            execution: None,
            item: None,
            reason: None,
            group: None,
            event: None,
            event_uri: None,
            action: None,
            bytes: None,
        };
        let text = content(&event)?.to_string();
        if text.len() <= INLINE_BYTES_MAX {
            record.event = Some(event);
            return Ok(record);
        }
        let failed = |error: crate::ports::ArtifactError| StoreError::Failed(error.to_string());
        let uri = ArtifactUri::new(&format!(
            "triggers/events/{}.json",
            key.event_name(identity)
        ))
        .map_err(failed)?;
        let artifacts = &self.evaluator.ports.artifacts;
        artifacts
            .put(&uri, text.into_bytes().into())
            .await
            .map_err(failed)?;
        record.event_uri = Some(uri.to_string());
        Ok(record)
    }

    /// The event of a record.
    pub(super) async fn event_of(&self, record: &EventRecord) -> Result<TriggerEvent, StoreError> {
        if let Some(event) = &record.event {
            return Ok(event.clone());
        }
        let lost =
            |error: String| StoreError::Failed(format!("event `{}`: {error}", record.identity));
        let uri = record
            .event_uri
            .as_deref()
            .ok_or_else(|| lost("its content is gone".to_owned()))?;
        let uri: ArtifactUri = uri.parse().map_err(|error| lost(format!("{error}")))?;
        let max =
            u64::try_from(4 * operon_core::triggers::event::EVENT_BYTES_MAX).unwrap_or(u64::MAX);
        let bytes = self.evaluator.ports.artifacts.get(&uri, max).await;
        let bytes = bytes.map_err(|error| lost(error.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|error| lost(error.to_string()))
    }

    /// Keeps the outcome of an event. A rejection never takes the place of an execution.
    pub(super) async fn settle(
        &self,
        key: &TriggerKey,
        mut expected: u64,
        record: &EventRecord,
    ) -> Result<EventRecord, StoreError> {
        let at = key.event_key(&key.event_name(&record.identity));
        loop {
            let expires = Some(self.now() + EVENT_TTL_MS);
            let due = record.action.is_some().then(|| self.now());
            let there = match self.put(at.clone(), expected, record, due, expires).await? {
                Ok(_) => return Ok(record.clone()),
                Err(None) => {
                    expected = 0;
                    continue;
                }
                Err(Some(there)) => there,
            };
            let known: EventRecord = read(&there)?;
            match (known.state, record.state) {
                (EventState::Pending, _)
                | (EventState::Rejected, EventState::Started | EventState::Item) => {
                    expected = there.version;
                }
                (EventState::Started | EventState::Item | EventState::Rejected, _) => {
                    return Ok(known);
                }
            }
        }
    }
}
