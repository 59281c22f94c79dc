//! Sending messages to the plan queue, patiently: a result is worth waiting for.

use std::time::Duration;

use operon_core::agent::{
    AgentMessage, AgentSaid, AttemptName, FORMAT, MESSAGE_BYTES_MAX, for_queue,
};
use tokio::time::{Instant, sleep};

use crate::store::{Queue, StoreError};

/// How long a result is tried to be sent. The task's container costs money meanwhile, and the event of its end
/// tells the same.
pub(crate) const RESULT_MAX: Duration = Duration::from_mins(5);
/// First pause between attempts; doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("the message has {0} bytes, more than {MESSAGE_BYTES_MAX}")]
    TooLarge(usize),
    #[error("the message cannot be written: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("the plan queue did not take it: {0}")]
    Queue(#[from] StoreError),
}

/// Sends what an attempt says; tries again until `patience` is over.
pub(crate) async fn say(
    queue: &dyn Queue,
    attempt: &AttemptName,
    said: AgentSaid,
    patience: Duration,
) -> Result<(), SendError> {
    let message = AgentMessage {
        format: FORMAT,
        attempt: attempt.clone(),
        said,
    };
    let body = serde_json::to_string(&message)?;
    let body = for_queue(&body);
    if body.len() > MESSAGE_BYTES_MAX {
        return Err(SendError::TooLarge(body.len()));
    }
    let started = Instant::now();
    let mut pause = PAUSE;
    loop {
        match queue.send(&body).await {
            Ok(()) => return Ok(()),
            Err(error) if started.elapsed() + pause > patience => return Err(error.into()),
            Err(_) => sleep(pause).await,
        }
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::store::testing::MemoryQueue;

    fn attempt() -> AttemptName {
        "e-1:0:3:1".parse().unwrap()
    }

    #[tokio::test]
    async fn a_queue_gets_what_it_takes() {
        let queue = MemoryQueue::failing(0);
        let message = "ends with \u{ffff}\u{fffe}".to_owned();
        let said = AgentSaid::Warned { at_ms: 1, message };
        say(&queue, &attempt(), said.clone(), Duration::ZERO)
            .await
            .unwrap();
        assert_eq!(queue.messages().remove(0).said, said);
    }

    #[tokio::test]
    async fn a_message_is_tried_again_until_patience_ends() {
        let queue = MemoryQueue::failing(1);
        let said = AgentSaid::Started { started_ms: 1 };
        say(&queue, &attempt(), said.clone(), Duration::from_secs(20))
            .await
            .unwrap();
        assert_eq!((queue.messages().len(), queue.tries()), (1, 2));
        let queue = MemoryQueue::failing(usize::MAX);
        let error = say(&queue, &attempt(), said, Duration::ZERO)
            .await
            .unwrap_err();
        assert!(matches!(error, SendError::Queue(_)), "{error}");
        assert_eq!(queue.tries(), 1);
    }
}
