//! What somebody must look at follows the revision that counts: after a flow was deployed, rolled back, switched on or
//! off, and after one of its triggers was.
//!
//! Invariant: it is derived from what is stored, so it may be asked at any time and as often as one likes, and what a
//! crash left out the next time makes good. A trigger that a former revision had is known by its state record.

use std::collections::BTreeSet;

use async_trait::async_trait;
use operon_core::triggers::{Config, Feed};

use super::state::schedule_of;
use super::{Fed, TriggerKey, Triggers, Wiring};
use crate::ports::{RECORD_PAGE_MAX, RecordKind, RecordQuery, StoreError};

/// Nothing is made: where [`Triggers::look_at_due`] is called every second.
#[derive(Debug, Default)]
pub struct NoWiring;

#[async_trait]
impl Wiring for NoWiring {
    async fn schedule(&self, _: &TriggerKey, _: &Config) -> Result<(), StoreError> {
        Ok(())
    }

    async fn unschedule(&self, _: &TriggerKey) -> Result<(), StoreError> {
        Ok(())
    }

    async fn feed(&self, _: &TriggerKey, _: &Feed) -> Result<(), StoreError> {
        Ok(())
    }

    async fn unfeed(&self, _: &TriggerKey, _: &Feed) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Triggers {
    /// Makes that exactly those triggers of a flow are looked at, at their times, and given their events, that its
    /// current revision has and that are switched on.
    pub async fn follow(&self, namespace: &str, flow: &str) -> Result<(), StoreError> {
        let (mut scheduled, mut fed) = (BTreeSet::new(), BTreeSet::new());
        if let Some(deployed) = self.flows.deployed_flow(namespace, flow).await? {
            for trigger in &deployed.triggers {
                self.arm(&deployed, trigger).await?;
                let key = deployed.key(trigger);
                if self.switched_off(&deployed, trigger, &key).await?.is_some() {
                    continue;
                }
                self.open_windows(&deployed, trigger).await?;
                if schedule_of(trigger).is_some() || trigger.interval_ms().is_some() {
                    self.wiring.schedule(&key, trigger).await?;
                    scheduled.insert(trigger.id.clone());
                }
                if let Some(feed) = Feed::of(trigger).filter(|_| self.on_aws) {
                    self.feed(&key, &feed).await?;
                    fed.insert(trigger.id.clone());
                }
            }
        }
        for trigger in self.remembered(namespace, flow).await? {
            let (is_scheduled, is_fed) = (scheduled.contains(&trigger), fed.contains(&trigger));
            let key = TriggerKey {
                namespace: namespace.to_owned(),
                flow: flow.to_owned(),
                trigger,
            };
            if !is_scheduled {
                self.wiring.unschedule(&key).await?;
            }
            if !is_fed {
                self.unfeed(&key, None).await?;
            }
        }
        Ok(())
    }

    /// Makes what brings a trigger its events. What AWS refuses is kept for people to see: the flow is deployed all the
    /// same, and whoever reads of it deploys it once more.
    async fn feed(&self, key: &TriggerKey, wanted: &Feed) -> Result<(), StoreError> {
        self.unfeed(key, Some(wanted)).await?;
        // Remembered before it is made, so that it is found again whatever happens in between.
        self.change_state(key, |state| {
            if state.feed.as_ref().is_none_or(|fed| fed.feed != *wanted) {
                state.feed = Some(Fed {
                    feed: wanted.clone(),
                    trouble: None,
                });
            }
        })
        .await?;
        let trouble = match self.wiring.feed(key, wanted).await {
            Ok(()) => None,
            Err(error @ StoreError::Busy(_)) => return Err(error),
            Err(error) => Some(error.to_string()),
        };
        self.change_state(key, |state| {
            if let Some(fed) = &mut state.feed {
                fed.trouble.clone_from(&trouble);
            }
        })
        .await?;
        Ok(())
    }

    /// Removes what brought a trigger its events, unless it is at the place of what is wanted now, or another trigger
    /// lives by it.
    async fn unfeed(&self, key: &TriggerKey, wanted: Option<&Feed>) -> Result<(), StoreError> {
        let Some(fed) = self.state(key).await?.feed else {
            return Ok(());
        };
        if wanted.is_some_and(|wanted| wanted.same_place(&fed.feed)) {
            return Ok(());
        }
        if !(fed.feed.is_shared() && self.feeds_another(key, &fed.feed).await?) {
            match self.wiring.unfeed(key, &fed.feed).await {
                Ok(()) => {}
                Err(error @ StoreError::Busy(_)) => return Err(error),
                // What was never made, or is another's now: it must not keep the flow from being changed.
                Err(error) => {
                    tracing::warn!(trigger = %key, %error, "what brought a trigger its events may be left");
                }
            }
        }
        self.change_state(key, |state| state.feed = None).await?;
        Ok(())
    }

    /// Whether another trigger that is switched on, of any flow, gets its events the same way.
    async fn feeds_another(&self, key: &TriggerKey, feed: &Feed) -> Result<bool, StoreError> {
        for flow in self.flows.deployed().await? {
            for trigger in &flow.triggers {
                let other = flow.key(trigger);
                let same = Feed::of(trigger).is_some_and(|of| of.same_place(feed));
                if other != *key
                    && same
                    && self.switched_off(&flow, trigger, &other).await?.is_none()
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Ids of all triggers that any revision of a flow had and that remember something.
    async fn remembered(&self, namespace: &str, flow: &str) -> Result<Vec<String>, StoreError> {
        let partition = format!("{namespace}/{flow}");
        let mut found: Vec<String> = Vec::new();
        loop {
            let query = RecordQuery {
                after: found.last().cloned(),
                limit: RECORD_PAGE_MAX,
                ..RecordQuery::default()
            };
            let records = &self.evaluator.ports.records;
            let page = records
                .records(RecordKind::Trigger, &partition, &query)
                .await?;
            if page.is_empty() {
                return Ok(found);
            }
            found.extend(page.into_iter().map(|record| record.key.sort));
        }
    }
}
