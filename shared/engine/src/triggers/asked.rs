//! Polls that somebody else does: whoever learns that one is due asks, and the worker looks.
//!
//! Invariant: a poll that was asked for is done, or asked for again. That it was asked for is written before the message
//! is sent; until there is an answer, nobody asks again before the message may count as lost, or before whoever began
//! with it must have ended. So a message that is lost costs time, one that comes twice a look, and neither an event:
//! all looks for one question make the same event.

use std::sync::Arc;

use async_trait::async_trait;
use operon_core::triggers::{Config, Kind};

use super::state::Asked;
use super::{DeployedFlow, TriggerKey, Triggers};
use crate::ports::{Outgoing, Queue, QueueName, StoreError};
use crate::wire::{self, WorkMessage};

/// Time after which a message that nobody began with counts as lost. Whoever begins with it makes this later, until its
/// own deadline.
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
            // The schedule counts from its own beginning, not from the last look, so half an interval too early is on
            // time. What is further away waits for its time: when a batch only must go.
            let slack_ms = trigger.interval_ms().unwrap_or_default() / 2;
            self.ask_for_poll(flow, trigger, slack_ms).await
        } else {
            self.poll_now(flow, trigger, None).await
        }
    }

    /// Looks. With a deadline, only if somebody waits for it.
    async fn poll_now(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        deadline_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        match &trigger.kind {
            Kind::Postgres(postgres) => self.poll_rows(flow, trigger, postgres, deadline_ms).await,
            Kind::Http(http) => self.poll_address(flow, trigger, http, deadline_ms).await,
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

    /// Asks for a look when it is time, or will be after the slack, and nobody was asked before.
    async fn ask_for_poll(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        slack_ms: u64,
    ) -> Result<(), StoreError> {
        let Some(polls) = &self.polls else {
            return Ok(());
        };
        let key = flow.key(trigger);
        if self.switched_off(flow, trigger, &key).await?.is_some() {
            self.change_state(&key, |state| (state.next_ms, state.asked) = (None, None))
                .await?;
            return Ok(());
        }
        let now = self.now();
        let (mut asks, mut before) = (false, None);
        let written = self.change_state(&key, |state| {
            // A pause after a failure, which a server may have asked for, is waited out.
            let slack = if state.trouble.is_some() { 0 } else { slack_ms };
            let early = state.next_ms.is_some_and(|next| next > now + slack);
            let waits = state
                .asked
                .as_ref()
                .is_some_and(|asked| now < asked.again_ms);
            asks = !early && !waits;
            if asks {
                before.clone_from(&state.asked);
                ask(state, now);
            }
        });
        let written = written.await?;
        if !asks {
            return Ok(());
        }
        if let Err(error) = polls.ask(&key).await {
            let message = format!("the worker cannot be asked to look: {error}");
            // Whoever is told again asks again.
            let taken_back = self.change_state(&key, |state| {
                if state.asked == written.asked {
                    state.asked.clone_from(&before);
                }
                state.remember_trouble(now, &message);
            });
            if let Err(error) = taken_back.await {
                tracing::warn!(trigger = %key, %error, "a poll is asked for late");
            }
            return Err(error);
        }
        Ok(())
    }

    /// Looks, if somebody waits for it: what comes twice finds that nobody does any more. Whoever calls it is dead
    /// after the deadline, and until then nobody else is asked.
    pub async fn poll(&self, key: &TriggerKey, deadline_ms: u64) -> Result<(), StoreError> {
        let Some(flow) = self.flows.deployed_flow(&key.namespace, &key.flow).await? else {
            return Ok(());
        };
        let Some(trigger) = flow.trigger(&key.trigger) else {
            return Ok(());
        };
        if self.state(key).await?.asked.is_none() {
            return Ok(());
        }
        self.poll_now(&flow, trigger, Some(deadline_ms)).await?;
        if trigger.waits() {
            self.close(&flow, trigger).await?;
        }
        // There may be more than one look takes: then it is time already.
        self.ask_for_poll(&flow, trigger, 0).await
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

/// Remembers that somebody was asked, and for people that there was no answer before.
fn ask(state: &mut super::TriggerState, now: u64) {
    let known = state.asked.take();
    if let Some(before) = &known {
        let minutes = |since: u64| now.saturating_sub(since) / 60_000;
        let message = match before.begun_ms {
            None => format!(
                "the worker was asked to look {} minutes ago and has not begun: its queue is long, or it does not run",
                minutes(before.at_ms),
            ),
            Some(begun) => format!(
                "the worker began to look {} minutes ago and gave no answer; its log and the dead letters say why",
                minutes(begun),
            ),
        };
        state.remember_trouble(now, &message);
    }
    let mut asked = known.unwrap_or(Asked {
        at_ms: now,
        again_ms: now,
        times: 0,
        begun_ms: None,
    });
    let lost = (LOST_MS << asked.times.min(8)).min(LOST_MS_MAX);
    (asked.again_ms, asked.times) = (now + lost, asked.times + 1);
    state.asked = Some(asked);
}
