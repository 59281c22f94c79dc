//! What fires triggers on AWS, made and removed with revisions of flows: schedules, and what brings events.

use async_trait::async_trait;
use operon_core::triggers::{Config as Trigger, Feed};
use operon_engine::ports::StoreError;
use operon_engine::triggers::{TriggerKey, Wiring};

use crate::config::Config;
use crate::feeds::Feeds;
use crate::scheduler::EventBridgeScheduler;
use crate::sdk::Sdk;

/// Schedules and feeds of one stage.
#[derive(Debug, Clone)]
pub struct AwsWiring {
    schedules: EventBridgeScheduler,
    feeds: Feeds,
}

impl AwsWiring {
    /// By the permissions of the function.
    #[must_use]
    pub fn new(sdk: &Sdk, config: &Config) -> Self {
        let schedules = EventBridgeScheduler::new(
            sdk,
            &config.schedule_group,
            &config.intake_queue_arn,
            &config.schedule_role_arn,
        );
        let feeds = Feeds::new(sdk, &config.stage, &config.intake_queue_arn);
        Self { schedules, feeds }
    }
}

#[async_trait]
impl Wiring for AwsWiring {
    async fn schedule(&self, key: &TriggerKey, trigger: &Trigger) -> Result<(), StoreError> {
        self.schedules.put(key, trigger).await
    }

    async fn unschedule(&self, key: &TriggerKey) -> Result<(), StoreError> {
        self.schedules.remove(key).await
    }

    async fn feed(&self, key: &TriggerKey, feed: &Feed) -> Result<(), StoreError> {
        self.feeds.put(key, feed).await
    }

    async fn unfeed(&self, key: &TriggerKey, feed: &Feed) -> Result<(), StoreError> {
        self.feeds.remove(key, feed).await
    }
}
