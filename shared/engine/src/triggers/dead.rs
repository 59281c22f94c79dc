//! Dead letters: messages that nobody could read and events that nobody could use, kept with the reason until a person
//! redrives or forgets them, as long as what events say is kept.

use operon_core::triggers::parse::{Delivery, message};
use operon_core::triggers::{EventError, TriggerEvent, name};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::record::{EVENT_TTL_MS, read};
use super::{EventRecord, EventState, Outcome, TriggerKey, Triggers};
use crate::dead_letters::{keep_body, kept_body};
use crate::metrics::Buried;
use crate::ports::{ArtifactError, ArtifactStore, RecordKey, RecordKind, RecordQuery, StoreError};

/// Bytes of an unreadable message that are kept with its letter; a longer one is an artifact.
const BODY_BYTES_MAX: usize = 200 * 1024;
/// Bytes of a message at most: more than any service delivers (1 MiB in SQS, 6 MB in a call of a function).
const MESSAGE_BYTES_MAX: u64 = 8 << 20;

/// Why a letter cannot be redriven any more.
const FORGOTTEN: &str = "its content has been forgotten";

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Of this document.
    pub format: u32,
    /// Names it.
    pub id: String,
    /// When it was buried, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Why.
    pub reason: String,
    /// The trigger that could not use it; none when nobody could read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerKey>,
    /// The identity of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The message, when nobody could read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Artifact with the message, when it is long: `body` is its beginning then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_uri: Option<String>,
    /// See [`Delivery::message_id`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message_id: String,
    /// See [`Delivery::queue_arn`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_arn: Option<String>,
    /// How often it was redriven in vain.
    #[serde(default)]
    pub redriven: u32,
}

/// Why a dead letter is not redriven.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// There is none with that id.
    #[error("there is no dead letter `{0}`; `GET /api/v1/dead-letters` lists them")]
    Missing(String),
    /// It failed as before.
    #[error("it failed again: {0}")]
    Again(String),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn key_of(id: &str) -> RecordKey {
    RecordKey::new(RecordKind::DeadLetter, "events", id)
}

impl Triggers {
    /// Keeps a message that nobody could read.
    pub(super) async fn bury_message(
        &self,
        delivery: &Delivery,
        error: &EventError,
    ) -> Result<(), StoreError> {
        let end = delivery.body.floor_char_boundary(BODY_BYTES_MAX);
        let id = format!("m-{}", name(&[&delivery.message_id, &delivery.body], 20));
        let body_uri = if end < delivery.body.len() {
            let kept = keep_body(self.artifacts(), &format!("{id}.txt"), &delivery.body).await;
            Some(kept.map_err(|error| StoreError::Failed(error.to_string()))?)
        } else {
            None
        };
        let letter = DeadLetter {
            format: 1,
            id,
            at_ms: self.now(),
            reason: error.to_string(),
            trigger: None,
            identity: None,
            body: delivery.body.get(..end).map(str::to_owned),
            body_uri,
            message_id: delivery.message_id.chars().take(200).collect(),
            queue_arn: delivery.queue_arn.clone(),
            redriven: 0,
        };
        tracing::warn!(
            dead_letter = letter.id,
            reason = letter.reason,
            "a message cannot be read"
        );
        self.bury(letter).await
    }

    /// The whole message of a letter; none when it is kept no longer.
    async fn whole_body(&self, letter: &DeadLetter) -> Result<Option<String>, StoreError> {
        let Some(uri) = &letter.body_uri else {
            return Ok(Some(letter.body.clone().unwrap_or_default()));
        };
        match kept_body(self.artifacts(), uri, MESSAGE_BYTES_MAX).await {
            Ok(body) => Ok(Some(body)),
            Err(ArtifactError::Missing(_)) => Ok(None),
            Err(error) => Err(StoreError::Failed(error.to_string())),
        }
    }

    fn artifacts(&self) -> &dyn ArtifactStore {
        &*self.evaluator.ports.artifacts
    }

    /// Keeps an event that its trigger could not use.
    pub(super) async fn bury_event(
        &self,
        key: &TriggerKey,
        record: &EventRecord,
    ) -> Result<(), StoreError> {
        let reason = record.reason.clone().unwrap_or_default();
        tracing::warn!(trigger = %key, reason, "an event was rejected");
        self.bury(DeadLetter {
            format: 1,
            id: format!("e-{}", key.event_name(&record.identity)),
            at_ms: self.now(),
            reason,
            trigger: Some(key.clone()),
            identity: Some(record.identity.clone()),
            body: None,
            body_uri: None,
            message_id: String::new(),
            queue_arn: None,
            redriven: 0,
        })
        .await
    }

    async fn bury(&self, letter: DeadLetter) -> Result<(), StoreError> {
        let expires = Some(self.now() + EVENT_TTL_MS);
        let put = self.put(key_of(&letter.id), 0, &letter, None, expires);
        // A conflict means that it is there, and was counted.
        if put.await?.is_ok() {
            let unknown = || "unknown".to_owned();
            let of = letter.trigger.as_ref();
            let buried = Buried {
                namespace: of.map_or_else(unknown, |key| key.namespace.clone()),
                flow: of.map_or_else(unknown, |key| key.flow.clone()),
            };
            self.notices.buried(&buried, self.now());
        }
        Ok(())
    }

    /// Dead letters by id, after `after`.
    pub async fn dead_letters(
        &self,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let query = RecordQuery {
            after,
            limit,
            ..RecordQuery::default()
        };
        let records = &self.evaluator.ports.records;
        let page = records
            .records(RecordKind::DeadLetter, "events", &query)
            .await?;
        page.iter().map(read).collect()
    }

    /// Forgets a dead letter; false when there was none.
    pub async fn forget_dead_letter(&self, id: &str) -> Result<bool, StoreError> {
        let Some((version, _)) = self.get::<DeadLetter>(&key_of(id)).await? else {
            return Ok(false);
        };
        self.evaluator
            .ports
            .records
            .delete_record(&key_of(id), version)
            .await?;
        Ok(true)
    }

    /// Tries a dead letter again. When that goes well it is gone; otherwise it stays, with the new reason.
    pub async fn redrive(&self, id: &str) -> Result<Vec<(TriggerKey, Outcome)>, RedriveError> {
        let Some((version, letter)) = self.get::<DeadLetter>(&key_of(id)).await? else {
            return Err(RedriveError::Missing(id.to_owned()));
        };
        let outcomes = match self.again(&letter).await? {
            Ok(outcomes) => outcomes,
            Err(reason) => {
                let next = DeadLetter {
                    reason: reason.clone(),
                    redriven: letter.redriven + 1,
                    ..letter
                };
                let expires = Some(self.now() + EVENT_TTL_MS);
                // Burying it again may have been faster; the count is for people.
                let _ = self.put(key_of(id), version, &next, None, expires).await?;
                return Err(RedriveError::Again(reason));
            }
        };
        self.evaluator
            .ports
            .records
            .delete_record(&key_of(id), version)
            .await?;
        Ok(outcomes)
    }

    async fn again(
        &self,
        letter: &DeadLetter,
    ) -> Result<Result<Vec<(TriggerKey, Outcome)>, String>, StoreError> {
        let (Some(key), Some(identity)) = (&letter.trigger, &letter.identity) else {
            let Some(body) = self.whole_body(letter).await? else {
                return Ok(Err(FORGOTTEN.to_owned()));
            };
            let delivery = Delivery {
                body,
                message_id: letter.message_id.clone(),
                queue_arn: letter.queue_arn.clone(),
                attributes: Map::new(),
            };
            return match message(&delivery) {
                Ok(parsed) => self.parsed(parsed).await.map(Ok),
                Err(error) => Ok(Err(error.to_string())),
            };
        };
        let Some(flow) = self.flows.deployed_flow(&key.namespace, &key.flow).await? else {
            return Ok(Err(format!("flow `{}` is not deployed", key.flow)));
        };
        let Some(trigger) = flow.trigger(&key.trigger) else {
            return Ok(Err(format!(
                "the flow has no trigger `{}` any more",
                key.trigger
            )));
        };
        let at = key.event_key(&key.event_name(identity));
        let Some((version, record)) = self.get::<EventRecord>(&at).await? else {
            return Ok(Err(FORGOTTEN.to_owned()));
        };
        if record.state != EventState::Rejected {
            return Ok(Ok(vec![(key.clone(), Outcome::Known(Box::new(record)))]));
        }
        let event: TriggerEvent = self.event_of(&record).await?;
        // Its record stays until another takes its place: a crash in between loses nothing.
        match self
            .accept_again(&flow, trigger, event, Some(version))
            .await?
        {
            Outcome::Rejected(reason) => Ok(Err(reason)),
            outcome @ (Outcome::Started(_) | Outcome::Waits | Outcome::Known(_)) => {
                if trigger.waits() {
                    self.close(&flow, trigger).await?;
                }
                Ok(Ok(vec![(key.clone(), outcome)]))
            }
        }
    }

    /// Events of a trigger that were rejected or still wait, and what became of others, by name after `after`.
    pub async fn events_of(
        &self,
        key: &TriggerKey,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<EventRecord>, StoreError> {
        let query = RecordQuery {
            after,
            limit,
            ..RecordQuery::default()
        };
        let records = &self.evaluator.ports.records;
        let page = records
            .records(RecordKind::Event, &key.to_string(), &query)
            .await?;
        page.iter().map(read).collect()
    }
}
