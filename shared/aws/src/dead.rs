//! Dead-letter queues, read by the reconciler: each stands beside its queue and is called like it, with `-dlq`.

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use operon_engine::ports::{QueueName, StoreError};

use crate::errors::Trouble;
use crate::sdk::Sdk;
use crate::world::Queues;

/// Messages taken from one queue at once at most (SQS).
const BATCH: i32 = 10;

/// A message that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The queue it was in.
    pub from: QueueName,
    /// What it says.
    pub body: String,
    /// How often it was delivered, its dead-letter queue included.
    pub receives: String,
    url: String,
    receipt: String,
}

/// A dead-letter queue.
#[derive(Debug, Clone)]
pub struct DeadLetterQueue {
    from: QueueName,
    url: String,
}

/// The dead-letter queues of a deployment.
#[derive(Debug, Clone)]
pub struct DeadLetterQueues {
    client: aws_sdk_sqs::Client,
    queues: Vec<DeadLetterQueue>,
}

impl DeadLetterQueues {
    /// Those beside the queues, and the one of events that a function did not take.
    #[must_use]
    pub fn new(sdk: &Sdk, queues: &Queues) -> Self {
        let beside = |from| DeadLetterQueue {
            from,
            url: format!("{}-dlq", queues.of(from).url()),
        };
        let mut all: Vec<_> = QueueName::ALL.into_iter().map(beside).collect();
        let plan = queues.of(QueueName::Plan).url();
        if let Some(start) = plan.strip_suffix("plan") {
            all.push(DeadLetterQueue {
                from: QueueName::Intake,
                url: format!("{start}events-dlq"),
            });
        }
        Self {
            client: sdk.sqs(),
            queues: all,
        }
    }

    /// All of them.
    #[must_use]
    pub fn queues(&self) -> &[DeadLetterQueue] {
        &self.queues
    }

    /// Takes some of what is in one of them; what is taken is out of sight for as long as the queue says.
    pub async fn take(&self, queue: &DeadLetterQueue) -> Result<Vec<Given>, StoreError> {
        let DeadLetterQueue { from, url } = queue;
        let answer = self
            .client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(BATCH)
            .message_system_attribute_names("ApproximateReceiveCount".into())
            .send()
            .await
            .map_err(|error| Trouble::of("reading a dead-letter queue", &error))?;
        let given = |message: &Message| {
            let receives = message
                .attributes()
                .and_then(|all| all.get(&MessageSystemAttributeName::ApproximateReceiveCount));
            Given {
                from: *from,
                body: message.body().unwrap_or_default().to_owned(),
                receives: receives.cloned().unwrap_or_default(),
                url: url.clone(),
                receipt: message.receipt_handle().unwrap_or_default().to_owned(),
            }
        };
        Ok(answer.messages().iter().map(given).collect())
    }

    /// Removes a message that was kept elsewhere.
    pub async fn delete(&self, given: &Given) -> Result<(), StoreError> {
        self.client
            .delete_message()
            .queue_url(&given.url)
            .receipt_handle(&given.receipt)
            .send()
            .await
            .map_err(|error| Trouble::of("removing a dead letter", &error))?;
        Ok(())
    }
}
