//! What polls have in common: their turn, their cursor, their trouble.

use operon_core::triggers::Config;
use serde_json::Value;

use super::state::TriggerState;
use super::{DeployedFlow, TriggerKey, Triggers};
use crate::ports::StoreError;

/// Longest pause after failures.
const BACKOFF_MS_MAX: u64 = 30 * 60_000;

impl Triggers {
    /// Takes the turn to look: the next one is written before, so that two who look at once are rare. None: not now.
    /// Whoever was asked says when it is dead at the latest, and looks only if somebody still waits.
    pub(super) async fn turn(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        deadline_ms: Option<u64>,
    ) -> Result<Option<TriggerState>, StoreError> {
        let key = flow.key(trigger);
        if self.switched_off(flow, trigger, &key).await?.is_some() {
            self.change_state(&key, |state| (state.next_ms, state.asked) = (None, None))
                .await?;
            return Ok(None);
        }
        let (now, interval) = (self.now(), trigger.interval_ms().unwrap_or(60_000));
        let mut mine = true;
        let state = self.change_state(&key, |state| {
            if let Some(deadline) = deadline_ms {
                mine = state.asked.is_some();
                if let Some(asked) = &mut state.asked {
                    asked.begun_ms = Some(now);
                    asked.again_ms = asked.again_ms.max(deadline);
                }
            }
            if mine {
                state.looked_ms = Some(now);
                state.next_ms = Some(now + interval);
            }
        });
        let state = state.await?;
        Ok(mine.then_some(state))
    }

    /// The look went well: what it remembers is written, after all its events were accepted.
    pub(super) async fn looked(
        &self,
        key: &TriggerKey,
        poll: Value,
        found: bool,
        sooner_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        let now = self.now();
        self.change_state(key, |state| {
            state.poll.clone_from(&poll);
            (state.trouble, state.asked) = (None, None);
            if found {
                state.last_ms = Some(now);
            }
            if let Some(next) = sooner_ms {
                state.next_ms = Some(next);
            }
        })
        .await?;
        Ok(())
    }

    /// The look failed: that is kept for people, and the next one comes later and later.
    pub(super) async fn failed_look(
        &self,
        key: &TriggerKey,
        interval_ms: u64,
        message: &str,
        not_before: Option<u64>,
    ) -> Result<(), StoreError> {
        let now = self.now();
        tracing::warn!(trigger = %key, message, "a trigger could not look");
        self.change_state(key, |state| {
            state.remember_trouble(now, message);
            let mut times = 1;
            if let Some(trouble) = &mut state.trouble {
                trouble.times += 1;
                times = trouble.times;
            }
            let pause = interval_ms
                .saturating_mul(1 << times.min(10))
                .min(BACKOFF_MS_MAX.max(interval_ms));
            state.next_ms = Some((now + pause).max(not_before.unwrap_or(0)));
            state.asked = None;
        })
        .await?;
        Ok(())
    }
}
