//! Queues: sending in batches, and taking a batch apart so that one bad message fails alone.
//!
//! Invariant: a message is acknowledged only if its handler said so. Every record of an event is parsed by itself,
//! and the answer names exactly those that failed (`ReportBatchItemFailures`); a queue must be mapped with that
//! response type, else a failed message would be lost.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use futures_util::future::join_all;
use operon_core::agent::for_queue;
use operon_engine::ports::StoreError;
use serde_json::{Map, Value};
use tracing::warn;

use crate::errors::Trouble;
use crate::sdk::Sdk;

/// Messages of one request at most (SQS).
pub const BATCH_MAX: usize = 10;
/// Bytes of a message, and of a batch, at most: 1 MiB (SQS).
pub const BYTES_MAX: usize = 1 << 20;
/// The longest delay of a message (SQS).
pub const DELAY_MAX: Duration = Duration::from_mins(15);
/// How often what SQS refused of a batch is sent again.
const TRIES: u32 = 4;
/// Before the second try; doubles.
const PAUSE: Duration = Duration::from_millis(50);

/// Why messages were not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// No queue takes it.
    #[error(
        "a message has {bytes} bytes; a queue takes at most {BYTES_MAX}, put larger data into a file"
    )]
    TooLarge {
        /// Of the body.
        bytes: usize,
    },
    /// The same request may succeed later. Some of the messages may have been sent.
    #[error("the queue is busy: {0}")]
    Busy(String),
    /// It will not.
    #[error("the queue refused messages: {0}")]
    Refused(String),
}

impl From<QueueError> for StoreError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Busy(text) => Self::Busy(text),
            QueueError::TooLarge { .. } | QueueError::Refused(_) => Self::Failed(error.to_string()),
        }
    }
}

impl From<Trouble> for QueueError {
    fn from(trouble: Trouble) -> Self {
        let text = trouble.text();
        match trouble {
            Trouble::Busy(_) => Self::Busy(text),
            Trouble::Refused { .. } => Self::Refused(text),
        }
    }
}

/// A message to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Its text.
    pub body: String,
    /// Invisible for so long, cut to [`DELAY_MAX`]: whoever needs to wait longer is woken early and waits again.
    pub delay: Duration,
    /// Whose messages share fairly with others (`MessageGroupId` on a standard queue); none costs less.
    pub group: Option<String>,
}

impl Outgoing {
    /// A message that is visible at once.
    #[must_use]
    pub fn now(body: impl Into<String>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// A message that is visible after a delay.
    #[must_use]
    pub fn after(body: impl Into<String>, delay: Duration) -> Self {
        Self {
            delay,
            ..Self::now(body)
        }
    }

    /// Whole seconds, rounded up: a timer may be late but not early.
    fn delay_seconds(&self) -> i32 {
        let delay = self.delay.min(DELAY_MAX);
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        i32::try_from(seconds).unwrap_or(0)
    }
}

/// A queue to send to. Clones are cheap.
#[derive(Clone)]
pub struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Queue {
    /// The queue with that URL.
    #[must_use]
    pub fn new(sdk: &Sdk, url: &str) -> Self {
        Self {
            client: sdk.sqs(),
            url: url.to_owned(),
        }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends one message. It is stored when this returns.
    pub async fn send(&self, message: Outgoing) -> Result<(), QueueError> {
        self.send_all(vec![message]).await
    }

    /// Sends messages in as few requests as SQS allows; what it refuses of a batch is sent again a few times.
    /// After an error some may have been sent and some not: the caller sends all of them again.
    pub async fn send_all(&self, messages: Vec<Outgoing>) -> Result<(), QueueError> {
        let sent = join_all(
            batches(messages)?
                .into_iter()
                .map(|batch| self.batch(batch)),
        )
        .await;
        sent.into_iter().collect()
    }

    async fn batch(&self, mut messages: Vec<Outgoing>) -> Result<(), QueueError> {
        let mut pause = PAUSE;
        let mut reason = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            let entries = messages
                .iter()
                .enumerate()
                .map(|(index, message)| entry(index, message))
                .collect::<Result<Vec<_>, _>>()?;
            let answer = self
                .client
                .send_message_batch()
                .queue_url(&self.url)
                .set_entries(Some(entries))
                .send()
                .await
                .map_err(|error| Trouble::of("sending messages", &error))?;
            if let Some(fault) = answer.failed().iter().find(|failed| failed.sender_fault()) {
                let text = fault.message().unwrap_or_default();
                return Err(QueueError::Refused(format!("{}: {text}", fault.code())));
            }
            let again: Vec<usize> = answer
                .failed()
                .iter()
                .filter_map(|failed| failed.id().parse().ok())
                .collect();
            let Some(failed) = answer.failed().first() else {
                return Ok(());
            };
            reason = format!(
                "{} of {} messages: {}",
                again.len(),
                messages.len(),
                failed.code()
            );
            let mut index = 0;
            messages.retain(|_| {
                index += 1;
                again.contains(&(index - 1))
            });
        }
        Err(QueueError::Busy(reason))
    }
}

fn entry(index: usize, message: &Outgoing) -> Result<SendMessageBatchRequestEntry, QueueError> {
    let seconds = message.delay_seconds();
    SendMessageBatchRequestEntry::builder()
        .id(index.to_string())
        .message_body(&message.body)
        .set_delay_seconds((seconds > 0).then_some(seconds))
        .set_message_group_id(message.group.clone())
        .build()
        .map_err(|error| QueueError::Refused(error.to_string()))
}

/// Messages in batches that SQS takes, in their order.
fn batches(messages: Vec<Outgoing>) -> Result<Vec<Vec<Outgoing>>, QueueError> {
    let mut batches: Vec<Vec<Outgoing>> = Vec::new();
    let mut bytes = 0;
    for mut message in messages {
        if let Cow::Owned(body) = for_queue(&message.body) {
            message.body = body;
        }
        let size = message.body.len();
        if size > BYTES_MAX {
            return Err(QueueError::TooLarge { bytes: size });
        }
        bytes += size;
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_MAX && bytes <= BYTES_MAX => batch.push(message),
            Some(_) | None => {
                bytes = size;
                batches.push(vec![message]);
            }
        }
    }
    Ok(batches)
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery<M> {
    /// SQS's id, for the answer.
    pub id: String,
    /// How often it was delivered, this time included.
    pub receives: u32,
    /// When it was first sent, milliseconds since the epoch.
    pub sent_ms: Option<u64>,
    /// ARN of the queue.
    pub queue_arn: String,
    /// What the sender said beside the body, where it is text.
    pub attributes: Map<String, Value>,
    /// What it says.
    pub message: M,
}

/// A batch taken apart: what could be read, and what has failed so far.
#[derive(Debug, Clone)]
pub struct Batch<M> {
    /// What could be read, in the order of the event.
    pub deliveries: Vec<Delivery<M>>,
    failed: Vec<String>,
}

impl<M> Batch<M> {
    /// Parses each record of an event by itself. What cannot be read fails, and so ends in the dead-letter queue.
    pub fn parse<E: fmt::Display>(event: SqsEvent, parse: impl Fn(&str) -> Result<M, E>) -> Self {
        let mut batch = Self {
            deliveries: Vec::with_capacity(event.records.len()),
            failed: Vec::new(),
        };
        for record in event.records {
            let id = record.message_id.clone().unwrap_or_default();
            let read = match record.body.as_deref() {
                None => Err("a message without a body".to_owned()),
                Some(body) if body.len() > BYTES_MAX => Err(format!(
                    "a message of {} bytes; at most {BYTES_MAX} are read",
                    body.len()
                )),
                Some(body) => parse(body).map_err(|error| error.to_string()),
            };
            match read {
                Ok(message) => batch.deliveries.push(Delivery {
                    receives: attribute(&record, "ApproximateReceiveCount").unwrap_or(1),
                    sent_ms: attribute(&record, "SentTimestamp"),
                    attributes: said(&record),
                    queue_arn: record.event_source_arn.unwrap_or_default(),
                    id,
                    message,
                }),
                Err(error) => batch.refuse(&id, &error),
            }
        }
        batch
    }

    /// The message with that id is to be delivered again.
    pub fn fail(&mut self, id: &str) {
        if !self.failed.iter().any(|failed| failed == id) {
            self.failed.push(id.to_owned());
        }
    }

    /// [`Self::fail`], with a line in the log that says why.
    pub fn refuse(&mut self, id: &str, error: &dyn fmt::Display) {
        // Counted by the template, for the alarms of a canary.
        warn!(message_id = id, error = %error, "a message was not handled");
        self.fail(id);
    }

    /// The answer for Lambda: everything that did not fail is acknowledged.
    #[must_use]
    pub fn answer(self) -> SqsBatchResponse {
        let mut answer = SqsBatchResponse::default();
        for id in self.failed {
            answer.add_failure(id);
        }
        answer
    }
}

fn said(record: &SqsMessage) -> Map<String, Value> {
    let texts = record.message_attributes.iter();
    texts
        .filter_map(|(name, value)| Some((name.clone(), Value::from(value.string_value.clone()?))))
        .collect()
}

fn attribute<T: std::str::FromStr>(record: &SqsMessage, name: &str) -> Option<T> {
    record.attributes.get(name)?.parse().ok()
}

/// Handles every record of an event by itself, all at the same time.
pub async fn each<M, E, F>(
    event: SqsEvent,
    parse: impl Fn(&str) -> Result<M, E>,
    handle: impl Fn(Delivery<M>) -> F,
) -> SqsBatchResponse
where
    E: fmt::Display,
    F: Future<Output = Result<(), E>>,
{
    let mut batch = Batch::parse(event, parse);
    let deliveries = std::mem::take(&mut batch.deliveries);
    let handled = deliveries.into_iter().map(|delivery| {
        let id = delivery.id.clone();
        let handled = handle(delivery);
        async move { (id, handled.await) }
    });
    for (id, outcome) in join_all(handled).await {
        if let Err(error) = outcome {
            batch.refuse(&id, &error);
        }
    }
    batch.answer()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn event(bodies: &[Option<&str>]) -> SqsEvent {
        let records: Vec<_> = bodies
            .iter()
            .enumerate()
            .map(|(index, body)| {
                serde_json::json!({
                    "messageId": format!("m{index}"),
                    "body": body,
                    "attributes": {"ApproximateReceiveCount": "3", "SentTimestamp": "1700"},
                    "messageAttributes": {"kind": {"stringValue": "release", "dataType": "String"}},
                    "eventSourceARN": "arn:aws:sqs:eu-central-1:1:events",
                })
            })
            .collect();
        serde_json::from_value(serde_json::json!({ "Records": records })).unwrap()
    }

    fn failed(answer: &SqsBatchResponse) -> Vec<&str> {
        let failures = answer.batch_item_failures.iter();
        failures
            .map(|failure| failure.item_identifier.as_str())
            .collect()
    }

    fn number(text: &str) -> Result<u32, String> {
        text.parse().map_err(|error| format!("{text}: {error}"))
    }

    #[tokio::test]
    async fn one_bad_message_fails_alone() {
        let seen = RefCell::new(Vec::new());
        let event = event(&[Some("1"), Some("x"), None, Some("2"), Some("13")]);
        let answer = each(event, number, async |delivery: Delivery<u32>| {
            assert_eq!((delivery.receives, delivery.sent_ms), (3, Some(1700)));
            assert_eq!(delivery.queue_arn, "arn:aws:sqs:eu-central-1:1:events");
            assert_eq!(delivery.attributes["kind"], "release");
            seen.borrow_mut().push(delivery.message);
            if delivery.message == 13 {
                Err("unlucky".to_owned())
            } else {
                Ok(())
            }
        })
        .await;
        assert_eq!(seen.into_inner(), [1, 2, 13]);
        assert_eq!(failed(&answer), ["m1", "m2", "m4"]);
    }

    #[test]
    fn a_message_beyond_the_limit_is_not_parsed() {
        let long = "1".repeat(BYTES_MAX + 1);
        let batch = Batch::parse(event(&[Some(&long), Some("7")]), number);
        assert_eq!(batch.deliveries.len(), 1);
        assert_eq!(failed(&batch.answer()), ["m0"]);
    }

    #[test]
    fn batches_have_ten_messages_and_one_mebibyte_at_most() {
        let small = |n: usize| (0..n).map(|_| Outgoing::now("x")).collect::<Vec<_>>();
        let sizes =
            |messages| -> Vec<usize> { batches(messages).unwrap().iter().map(Vec::len).collect() };
        assert!(sizes(small(0)).is_empty());
        assert_eq!(sizes(small(25)), [10, 10, 5]);
        let large = |bytes: usize| Outgoing::now("x".repeat(bytes));
        assert_eq!(
            sizes(vec![large(600_000), large(600_000), large(1)]),
            [1, 2]
        );
        assert_eq!(sizes(vec![large(BYTES_MAX), large(1)]), [1, 1]);
        assert_eq!(
            batches(vec![large(BYTES_MAX + 1)]),
            Err(QueueError::TooLarge {
                bytes: BYTES_MAX + 1
            })
        );
    }

    #[test]
    fn a_message_has_only_characters_that_sqs_takes() {
        let message = Outgoing::now("{\"a\":\"\u{ffff}\u{fffe}\u{fffd}\"}");
        let batches = batches(vec![message]).unwrap();
        let body = batches[0][0].body.as_str();
        assert_eq!(body, "{\"a\":\"\\uffff\\ufffe\u{fffd}\"}");
    }

    #[test]
    fn delays_are_whole_seconds_and_fifteen_minutes_at_most() {
        let seconds = |ms| Outgoing::after("", Duration::from_millis(ms)).delay_seconds();
        assert_eq!(
            [seconds(0), seconds(1), seconds(1000), seconds(1001)],
            [0, 1, 1, 2]
        );
        assert_eq!(seconds(3_600_000), 900);
    }
}
