//! From what the intake receives to the triggers that it is meant for.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use operon_core::triggers::parse::{Delivery, Own, Parsed, document, message};
use operon_core::triggers::{Config, EventError, Kind, QueueName, Source, TriggerEvent, pattern};
use serde_json::Value;

use super::{DeployedFlow, Outcome, TriggerKey, Triggers};
use crate::ports::StoreError;

/// Events accepted at once.
const AT_ONCE: usize = 32;

/// Why an event that a person delivered was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// It is not one, or too large.
    #[error("not an event of S3, EventBridge, SNS, SQS or an alarm: {0}")]
    Unreadable(#[from] EventError),
    /// The store did not answer: deliver it again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether an event is what a trigger waits for.
#[must_use]
pub fn wants(trigger: &Config, event: &TriggerEvent) -> bool {
    match (&trigger.kind, &event.source) {
        (Kind::S3(objects), Source::Object { bucket, key, size }) => {
            objects.matches(bucket, key, *size)
        }
        (Kind::Sqs { queue, .. }, Source::Queue { arn }) => {
            let both = QueueName::read(queue).zip(QueueName::read(arn));
            both.is_some_and(|(wanted, there)| wanted.same(&there))
        }
        (Kind::Sns { topic, filter }, Source::Topic { arn, attributes }) => {
            topic == arn && pattern::matches(filter, &Value::Object(attributes.clone()))
        }
        (
            Kind::EventBridge {
                pattern: wanted, ..
            },
            Source::Bus { event },
        ) => !event.is_null() && pattern::matches(wanted, event),
        (Kind::Alarm { name, states }, Source::Alarm { name: alarm, state }) => {
            name == alarm && states.contains(state)
        }
        _ => false,
    }
}

impl Triggers {
    /// Takes a message of a queue. `Ok` means that it may be deleted. What nobody can read becomes a dead letter. A
    /// message of somebody's queue that no trigger wants, or only such that are switched off, stays there.
    pub async fn message(
        &self,
        delivery: &Delivery,
    ) -> Result<Vec<(TriggerKey, Outcome)>, StoreError> {
        match message(delivery) {
            Ok(parsed) => {
                if let (Some(arn), Parsed::Events(events)) = (&delivery.queue_arn, &parsed)
                    && !self.is_wanted(events).await?
                {
                    return Err(StoreError::Busy(format!("no trigger reads {arn} now")));
                }
                self.parsed(parsed).await
            }
            Err(error) => {
                self.bury_message(delivery, &error).await?;
                Ok(Vec::new())
            }
        }
    }

    /// Whether a trigger that is switched on wants one of these events.
    async fn is_wanted(&self, events: &[TriggerEvent]) -> Result<bool, StoreError> {
        for flow in self.flows.deployed().await? {
            for trigger in &flow.triggers {
                let wanted = events.iter().any(|event| wants(trigger, event));
                let key = flow.key(trigger);
                if wanted && self.switched_off(&flow, trigger, &key).await?.is_none() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Takes a document that a service gave to the function itself.
    pub async fn document(&self, value: &Value) -> Result<Vec<(TriggerKey, Outcome)>, StoreError> {
        match document(value) {
            Ok(parsed) => self.parsed(parsed).await,
            Err(error) => {
                let delivery = Delivery {
                    body: value.to_string(),
                    ..Delivery::default()
                };
                self.bury_message(&delivery, &error).await?;
                Ok(Vec::new())
            }
        }
    }

    /// Takes an event that a person delivers, as a service would. What became of it, for each trigger that it is meant
    /// for. What nobody can read is refused and kept nowhere.
    pub async fn deliver(&self, value: &Value) -> Result<Vec<(TriggerKey, Outcome)>, DeliverError> {
        match document(value)? {
            Parsed::Events(events) => Ok(self.events(events).await?),
            Parsed::Own(_) => Err(EventError::Unknown.into()),
        }
    }

    pub(super) async fn parsed(
        &self,
        parsed: Parsed,
    ) -> Result<Vec<(TriggerKey, Outcome)>, StoreError> {
        match parsed {
            Parsed::Events(events) => self.events(events).await,
            Parsed::Own(Own::Look {
                namespace,
                flow,
                trigger,
            }) => {
                let key = TriggerKey {
                    namespace,
                    flow,
                    trigger,
                };
                self.look(&key).await?;
                Ok(Vec::new())
            }
        }
    }

    /// Gives events to the triggers that want them, then makes the batches that are full. An event that nobody wants
    /// is nobody's.
    pub async fn events(
        &self,
        events: Vec<TriggerEvent>,
    ) -> Result<Vec<(TriggerKey, Outcome)>, StoreError> {
        let flows = self.flows.deployed().await?;
        let mut meant: Vec<(Arc<DeployedFlow>, usize, TriggerEvent)> = Vec::new();
        for event in events {
            for flow in &flows {
                for (index, trigger) in flow.triggers.iter().enumerate() {
                    if wants(trigger, &event) {
                        meant.push((Arc::clone(flow), index, event.clone()));
                    }
                }
            }
        }
        let mut touched: Vec<(Arc<DeployedFlow>, usize)> = Vec::new();
        for (flow, index, _) in &meant {
            let known = touched
                .iter()
                .any(|(known, at)| at == index && Arc::ptr_eq(known, flow));
            if !known {
                touched.push((Arc::clone(flow), *index));
            }
        }
        let outcomes = stream::iter(meant)
            .map(|(flow, index, event)| async move {
                let Some(trigger) = flow.triggers.get(index) else {
                    return Ok(None);
                };
                let event = readable(trigger, event);
                let outcome = self.accept(&flow, trigger, event).await?;
                Ok::<_, StoreError>(Some((flow.key(trigger), outcome)))
            })
            .buffered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        let mut acts = false;
        for (flow, index) in touched {
            let Some(trigger) = flow.triggers.get(index) else {
                continue;
            };
            acts |= trigger.acts();
            if trigger.waits() {
                self.close(&flow, trigger).await?;
            }
        }
        if acts && let Err(error) = self.events_due().await {
            // The events have their outcomes; the rest is due.
            tracing::warn!(%error, "objects could not be moved or deleted");
        }
        Ok(outcomes.into_iter().flatten().collect())
    }
}

/// A queue's message as its trigger reads it: text stays text unless it is said to be JSON.
fn readable(trigger: &Config, mut event: TriggerEvent) -> TriggerEvent {
    if let (Kind::Sqs { json: false, .. }, Some(body)) =
        (&trigger.kind, event.fields.get_mut("body"))
        && !body.is_string()
    {
        *body = Value::from(body.to_string());
    }
    event
}
