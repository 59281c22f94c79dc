//! Polls that somebody else does: whoever learns that one is due asks, and the worker looks.
//!
//! Invariant: a poll that was asked for is done, or asked for again. That it was asked for is written before the message
//! is sent; until there is an answer, nobody asks again before the message may count as lost. So a message that is lost
//! costs time, one that comes twice a look, and neither an event.

use std::sync::Arc;

use async_trait::async_trait;
use operon_core::triggers::{Config, Kind};

use super::state::{Asked, Trouble};
use super::{DeployedFlow, TriggerKey, Triggers};
use crate::ports::{Outgoing, Queue, QueueName, StoreError};
use crate::wire::{self, WorkMessage};

/// Time after which a message without an answer counts as lost: a worker that began with it is dead by then.
const LOST_MS: u64 = 5 * 60_000;
/// The same when several were lost one after the other.
const LOST_MS_MAX: u64 = 30 * 60_000;

/// Asks that [`Triggers::poll`] is called for a trigger.
#[async_trait]
pub trait Polls: Send + Sync {
    /// Asks for it. The message may come late, twice or not at all.
    async fn ask(&self, key: &TriggerKey) -> Result<(), StoreError>;
}

/// Asks by the work queue.
pub struct QueuedPolls(pub Arc<dyn Queue>);

#[async_trait]
impl Polls for QueuedPolls {
    async fn ask(&self, key: &TriggerKey) -> Result<(), StoreError> {
        let failed = |error: &dyn std::fmt::Display| StoreError::Failed(error.to_string());
        let message = WorkMessage::Poll {
            trigger: key.clone(),
        };
        let text = wire::encode(&message).map_err(|error| failed(&error))?;
        let lane = wire::lane_of(&format!("{}/{}", key.namespace, key.flow));
        let sent = self
            .0
            .send(QueueName::Work, vec![Outgoing::now(text).of(&lane)])
            .await;
        sent.map_err(|error| failed(&error))
    }
}

impl Triggers {
    /// Looks, or asks for it where somebody else looks.
    pub(super) async fn poll_or_ask(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
    ) -> Result<(), StoreError> {
        if self.polls.is_some() {
            self.ask_for_poll(flow, trigger).await
        } else {
            self.poll_now(flow, trigger).await
        }
    }

    async fn poll_now(&self, flow: &DeployedFlow, trigger: &Config) -> Result<(), StoreError> {
        match &trigger.kind {
            Kind::Postgres(postgres) => self.poll_rows(flow, trigger, postgres).await,
            Kind::Http(http) => self.poll_address(flow, trigger, http).await,
            Kind::Schedule(_)
            | Kind::Flow(_)
            | Kind::Webhook(_)
            | Kind::S3(_)
            | Kind::Sqs { .. }
            | Kind::Sns { .. }
            | Kind::EventBridge { .. }
            | Kind::Alarm { .. } => Ok(()),
        }
    }

    /// Asks for a look when it is time and nobody was asked before.
    async fn ask_for_poll(&self, flow: &DeployedFlow, trigger: &Config) -> Result<(), StoreError> {
        let Some(polls) = &self.polls else {
            return Ok(());
        };
        let key = flow.key(trigger);
        if self.switched_off(flow, trigger, &key).await?.is_some() {
            self.change_state(&key, |state| (state.next_ms, state.asked) = (None, None))
                .await?;
            return Ok(());
        }
        let (now, interval) = (self.now(), trigger.interval_ms().unwrap_or_default());
        let mut asks = false;
        self.change_state(&key, |state| {
            // The schedule counts from its own beginning, not from the last look, so half an interval too early is on
            // time. What is further away waits for its time: after failures, or when a batch only must go.
            let early = state.next_ms.is_some_and(|next| next > now + interval / 2);
            let waits = state
                .asked
                .as_ref()
                .is_some_and(|asked| now < asked.again_ms);
            asks = !early && !waits;
            if asks {
                ask(state, now);
            }
        })
        .await?;
        if !asks {
            return Ok(());
        }
        if let Err(error) = polls.ask(&key).await {
            // Whoever is told again asks again.
            let taken_back = self.change_state(&key, |state| state.asked = None).await;
            if let Err(error) = taken_back {
                tracing::warn!(trigger = %key, %error, "a poll is asked for late");
            }
            return Err(error);
        }
        Ok(())
    }

    /// Looks, if somebody waits for it: what comes twice finds that nobody does any more.
    pub async fn poll(&self, key: &TriggerKey) -> Result<(), StoreError> {
        let Some(flow) = self.flows.deployed_flow(&key.namespace, &key.flow).await? else {
            return Ok(());
        };
        let Some(trigger) = flow.trigger(&key.trigger) else {
            return Ok(());
        };
        if self.state(key).await?.asked.is_none() {
            return Ok(());
        }
        self.poll_now(&flow, trigger).await?;
        if trigger.batch.is_some() || !trigger.allow_concurrent {
            self.close(&flow, trigger).await?;
        }
        // There may be more than one look takes.
        self.ask_for_poll(&flow, trigger).await
    }

    /// Ends a look that took too long. What it accepted is kept; the next look reads the rest.
    pub async fn gave_up(&self, key: &TriggerKey, message: &str) -> Result<(), StoreError> {
        let flow = self.flows.deployed_flow(&key.namespace, &key.flow).await?;
        let trigger = flow.as_ref().and_then(|flow| flow.trigger(&key.trigger));
        let Some(interval) = trigger.and_then(Config::interval_ms) else {
            return Ok(());
        };
        self.failed_look(key, interval, message, None).await
    }
}

/// Remembers that somebody was asked, and for people that the one before gave no answer.
fn ask(state: &mut super::TriggerState, now: u64) {
    let times = state.asked.as_ref().map_or(0, |asked| asked.times) + 1;
    if let Some(before) = &state.asked {
        let known = state.trouble.as_ref().map_or(0, |trouble| trouble.times);
        let message = format!(
            "the worker was asked to look and has not answered for {} minutes; its log and the dead letters say why",
            now.saturating_sub(before.at_ms) / 60_000,
        );
        state.trouble = Some(Trouble {
            at_ms: now,
            times: known + 1,
            message,
        });
    }
    let lost = (LOST_MS << (times - 1).min(8)).min(LOST_MS_MAX);
    state.asked = Some(Asked {
        at_ms: now,
        again_ms: now + lost,
        times,
    });
}
