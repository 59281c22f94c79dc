//! Wake-ups of triggers: a message `look` that the intake queue delivers when a batch must go.

use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use operon_core::triggers::parse::Own;
use operon_engine::ports::StoreError;
use operon_engine::triggers::{TriggerKey, Wakeups};

/// Longest delay of a message; what is due later is found by the reconciler.
const DELAY_S_MAX: u64 = 900;

/// Sends wake-ups to the intake queue.
#[derive(Debug, Clone)]
pub struct SqsWakeups {
    client: Client,
    queue_url: String,
}

impl SqsWakeups {
    /// To that queue.
    #[must_use]
    pub fn new(client: Client, queue_url: &str) -> Self {
        Self {
            client,
            queue_url: queue_url.to_owned(),
        }
    }
}

/// Whole seconds from now, early rather than late: looking too soon only looks again.
fn delay_s(now_ms: u64, at_ms: u64) -> i32 {
    let seconds = at_ms.saturating_sub(now_ms) / 1_000;
    i32::try_from(seconds.min(DELAY_S_MAX)).unwrap_or(0)
}

#[async_trait]
impl Wakeups for SqsWakeups {
    async fn wake(&self, key: &TriggerKey, at_ms: u64) -> Result<(), StoreError> {
        let own = Own::Look {
            namespace: key.namespace.clone(),
            flow: key.flow.clone(),
            trigger: key.trigger.clone(),
        };
        let body =
            serde_json::to_string(&own).map_err(|error| StoreError::Failed(error.to_string()))?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let sent = self
            .client
            .send_message()
            .queue_url(&self.queue_url)
            .message_body(body)
            .delay_seconds(delay_s(now_ms, at_ms))
            .send()
            .await;
        sent.map(drop)
            .map_err(|error| StoreError::Failed(format!("SQS: {}", DisplayErrorContext(&error))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_early_and_bounded() {
        assert_eq!(delay_s(1_000, 30_500), 29);
        assert_eq!(delay_s(30_000, 1_000), 0);
        assert_eq!(delay_s(0, u64::MAX), 900);
    }
}
