//! What becomes of an object that is an execution: `action` of an S3 trigger.
//!
//! Invariant: an object is moved or deleted only after its event has started an execution or is an item of one, and only
//! while its content is the event's. Before the outcome it is copied into the artifacts, from where the flow reads it.
//! The event's record then says what is to be done and is due until it has been done: a crash before the record leaves
//! the object where it is, and one after it leaves a record that whoever looks finds again. Objects of rejected events,
//! and of executions that failed before they began, stay where they are.

use operon_core::triggers::config::{Action, Objects};
use operon_core::triggers::{Config, Kind, TriggerEvent};
use serde_json::{Map, Value, json};

use super::record::{ObjectAction, ObjectPlace};
use super::render::{seed, trigger_root};
use super::{DeployedFlow, EventRecord, TriggerKey, Triggers};
use crate::ports::{
    ArtifactError, ArtifactUri, COPY_BYTES_MAX, ExecutionRow, ObjectName, Record, StoreError,
};
use crate::script::text_of;

/// How often it is tried: over about eight hours, in which somebody may grant a missing permission.
const TRIES_MAX: u32 = 16;
/// Pause after the first failure; it doubles up to [`PAUSE_MS_MAX`].
const PAUSE_MS: u64 = 5_000;
const PAUSE_MS_MAX: u64 = 3_600_000;
/// An item's execution that is not there yet is looked for again after this.
const GRACE_MS: u64 = 60_000;
/// Bytes of a key at most: S3's own limit.
const KEY_BYTES_MAX: usize = 1_024;

/// The last part of a key.
fn last_part(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// An execution that a trigger wrote as failed: nothing has read the object, or will.
fn failed_at_once(row: &ExecutionRow) -> bool {
    row.started_ms.is_none() && row.state == "FAILED" && row.ended_ms == Some(row.meta.created_ms)
}

impl Triggers {
    /// What is to be done with the object of an event once the event is an execution. The error is a sentence.
    pub(super) async fn action_of(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        root: &Map<String, Value>,
        identity: &str,
    ) -> Result<Option<ObjectAction>, String> {
        let Kind::S3(objects) = &trigger.kind else {
            return Ok(None);
        };
        let text = |name: &str| root.get(name).and_then(Value::as_str).map(str::to_owned);
        let place = ObjectPlace {
            bucket: text("bucket").unwrap_or_default(),
            key: text("key").unwrap_or_default(),
        };
        let to = match &objects.action {
            Action::Stay => return Ok(None),
            Action::Delete => None,
            Action::Move { bucket, directory } => {
                let key = flow.key(trigger);
                let directory = self
                    .over_event(flow, &json!(directory), root, &seed(&key, identity))
                    .await
                    .map_err(|error| format!("`moveTo.key`: {error}"))?;
                let size = root.get("size").and_then(Value::as_u64).unwrap_or(0);
                let to = target(objects, bucket, &text_of(&directory), &place.key, size)?;
                Some(to)
            }
        };
        Ok(Some(ObjectAction {
            from: place,
            etag: text("etag"),
            to,
            tries: 0,
        }))
    }

    /// Copies the object of an event into the artifacts, and makes `trigger.uri` that copy. An error is a sentence; with
    /// the event untouched.
    pub(super) async fn taken(
        &self,
        key: &TriggerKey,
        identity: &str,
        event: &TriggerEvent,
    ) -> Result<Result<TriggerEvent, String>, StoreError> {
        let text = |name: &str| event.fields.get(name).and_then(Value::as_str);
        let size = event.fields.get("size").and_then(Value::as_u64);
        if let Some(size) = size.filter(|size| *size > COPY_BYTES_MAX) {
            return Ok(Err(format!(
                "the object has {size} bytes; with `action` at most {COPY_BYTES_MAX} are possible: leave it out"
            )));
        }
        let source = text("uri").unwrap_or_default();
        let directory = format!("triggers/objects/{}", key.event_name(identity));
        let name = last_part(text("key").unwrap_or_default());
        let uri = ArtifactUri::new(&format!("{directory}/{name}"))
            .or_else(|_| ArtifactUri::new(&format!("{directory}/object")))
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        let version = text("versionId").filter(|version| *version != "null");
        let artifacts = &self.evaluator.ports.artifacts;
        match artifacts.import(source, version, &uri).await {
            Ok(()) => {}
            Err(ArtifactError::Failed(reason)) => return Err(StoreError::Busy(reason)),
            Err(
                error @ (ArtifactError::BadUri(_)
                | ArtifactError::Missing(_)
                | ArtifactError::TooLarge { .. }
                | ArtifactError::Refused(_)),
            ) => return Ok(Err(error.to_string())),
        }
        let mut event = event.clone();
        let _ = event
            .fields
            .insert("uri".to_owned(), json!(uri.to_string()));
        Ok(Ok(event))
    }

    /// [`Self::action_of`] and [`Self::taken`] for an event that is accepted now.
    pub(super) async fn with_action(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        identity: &str,
        event: TriggerEvent,
    ) -> Result<Result<(TriggerEvent, Option<ObjectAction>), (TriggerEvent, String)>, StoreError>
    {
        let root = trigger_root(trigger, identity, &event.fields);
        let action = match self.action_of(flow, trigger, &root, identity).await {
            Ok(None) => return Ok(Ok((event, None))),
            Ok(action) => action,
            Err(reason) => return Ok(Err((event, reason))),
        };
        let key = flow.key(trigger);
        Ok(match self.taken(&key, identity, &event).await? {
            Ok(taken) => Ok((taken, action)),
            Err(reason) => Err((event, reason)),
        })
    }

    /// Moves or deletes the object of an event, if its execution is there. False when somebody else was faster.
    pub(super) async fn act(
        &self,
        record: Record,
        mut event: EventRecord,
    ) -> Result<bool, StoreError> {
        let Some(action) = &mut event.action else {
            return Ok(false);
        };
        let execution = match &event.execution {
            Some(id) => self.evaluator.ports.store.execution(id).await?,
            None => None,
        };
        let mut due = None;
        match execution {
            None => due = Some(self.now() + GRACE_MS),
            Some(row) if failed_at_once(&row) => event.action = None,
            Some(_) => {
                let to = action.to.as_ref().map(name_of);
                let etag = action.etag.as_deref();
                let services = &self.evaluator.ports.services;
                match services
                    .remove(&name_of(&action.from), etag, to.as_ref())
                    .await
                {
                    Ok(_) => (event.action, event.reason) = (None, None),
                    Err(error) => {
                        let what = if to.is_some() { "moved" } else { "deleted" };
                        let reason = format!("the object was not {what}: {error}");
                        tracing::warn!(identity = event.identity, reason);
                        action.tries += 1;
                        if action.tries < TRIES_MAX {
                            let pause = PAUSE_MS << (action.tries - 1).min(16);
                            due = Some(self.now() + pause.min(PAUSE_MS_MAX));
                        }
                        event.reason = Some(reason);
                    }
                }
            }
        }
        // Whoever wrote meanwhile has done the same.
        let (key, version) = (record.key, record.version);
        let put = self.put(key, version, &event, due, record.expires_ms);
        Ok(put.await?.is_ok())
    }
}

fn name_of(place: &ObjectPlace) -> ObjectName {
    ObjectName {
        bucket: place.bucket.clone(),
        key: place.key.clone(),
        version: None,
    }
}

/// Where `MOVE` puts an object.
fn target(
    objects: &Objects,
    bucket: &str,
    directory: &str,
    key: &str,
    size: u64,
) -> Result<ObjectPlace, String> {
    let directory = directory.trim_matches('/');
    let name = last_part(key);
    let key = if directory.is_empty() {
        name.to_owned()
    } else {
        format!("{directory}/{name}")
    };
    if key.len() > KEY_BYTES_MAX {
        return Err(format!(
            "`moveTo.key`: the key would have {} bytes; at most {KEY_BYTES_MAX} are possible",
            key.len()
        ));
    }
    if objects.matches(bucket, &key, size) {
        return Err(format!(
            "`moveTo`: `{bucket}/{}` would start the flow again; move it out of what the trigger watches",
            key.chars().take(120).collect::<String>()
        ));
    }
    Ok(ObjectPlace {
        bucket: bucket.to_owned(),
        key,
    })
}
