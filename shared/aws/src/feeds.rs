//! What brings events of services to the intake: rules of `EventBridge`, subscriptions of topics, queues that the
//! intake function reads.
//!
//! Invariant: everything is found by its name or its two ends, so it can be made twice and removed by whoever comes
//! next. Only a subscription stays: taking one away is a right that AWS does not limit to some, and a message that no
//! trigger wants is dropped.

use std::time::Duration;

use operon_core::triggers::{Feed, QueueName, name};
use operon_engine::ports::StoreError;
use operon_engine::triggers::TriggerKey;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::sdk::Sdk;
use crate::signed::{Service, ServiceName, SignedError, form};

/// One request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks whether the former reader of a queue has gone.
const PAUSE: Duration = Duration::from_secs(2);
/// Such looks: it takes some seconds.
const LOOKS_MAX: u32 = 10;
/// The operations of Lambda on what reads a queue.
const MAPPINGS: &str = "/2015-03-31/event-source-mappings/";
/// Refusals that pass, whatever their status.
const PASSING: [&str; 3] = ["Throttl", "ConcurrentModification", "ResourceInUse"];
/// The target of a rule.
const TARGET: &str = "intake";

/// Feeds of one stage.
#[derive(Debug, Clone)]
pub struct Feeds {
    events: Service,
    topics: Service,
    lambda: Service,
    stage: String,
    /// ARN of the intake queue.
    queue_arn: String,
}

impl Feeds {
    /// Of this stage, into this queue.
    #[must_use]
    pub fn new(sdk: &Sdk, stage: &str, queue_arn: &str) -> Self {
        let service = |name| Service::new(sdk, name, TIMEOUT);
        Self {
            events: service(ServiceName::Events),
            topics: service(ServiceName::Topics),
            lambda: service(ServiceName::Lambda),
            stage: stage.to_owned(),
            queue_arn: queue_arn.to_owned(),
        }
    }

    /// Makes it, or makes it as it must be.
    pub async fn put(&self, key: &TriggerKey, feed: &Feed) -> Result<(), StoreError> {
        match feed {
            Feed::Rule { bus, pattern } => self.put_rule(key, bus, pattern).await,
            Feed::Topic { arn } => self.subscribe(arn).await,
            Feed::Queue(queue) => self.read(queue).await,
        }
    }

    /// Removes it. Nothing happens when there is nothing.
    pub async fn remove(&self, key: &TriggerKey, feed: &Feed) -> Result<(), StoreError> {
        match feed {
            Feed::Rule { bus, .. } => self.remove_rule(key, bus).await,
            Feed::Topic { .. } => Ok(()),
            Feed::Queue(queue) => self.leave(queue).await,
        }
    }

    /// At most 64 characters, the same for the same trigger. Permissions name its beginning, up to the point that no name
    /// of a stage has.
    fn rule_name(&self, key: &TriggerKey) -> String {
        let of = name(&[&key.namespace, &key.flow, &key.trigger], 32);
        format!("operon-{}.{of}", self.stage)
    }

    /// The queue of what `EventBridge` could not deliver: it is called as the intake queue is.
    fn dead_letters(&self) -> String {
        let start = self.queue_arn.strip_suffix("intake");
        format!("{}events-dlq", start.unwrap_or_default())
    }

    async fn put_rule(
        &self,
        key: &TriggerKey,
        bus: &str,
        pattern: &Map<String, Value>,
    ) -> Result<(), StoreError> {
        let rule = self.rule_name(key);
        let made = json!({
            "Name": rule, "EventBusName": bus, "Description": format!("trigger {key}"), "State": "ENABLED",
            "EventPattern": Value::Object(pattern.clone()).to_string(),
        });
        let what = "make a rule of EventBridge";
        let asked = self.events.ask("AWSEvents.PutRule", "1.1", &made).await;
        asked.map_err(|error| refused(what, &error))?;
        let target = json!({
            "Rule": rule, "EventBusName": bus,
            "Targets": [{"Id": TARGET, "Arn": self.queue_arn, "DeadLetterConfig": {"Arn": self.dead_letters()}}],
        });
        let asked = self.events.ask("AWSEvents.PutTargets", "1.1", &target);
        let answer = asked.await.map_err(|error| refused(what, &error))?;
        match answer.pointer("/FailedEntries/0/ErrorMessage") {
            None => Ok(()),
            Some(reason) => Err(StoreError::Failed(format!(
                "the rule sends nothing: {reason}"
            ))),
        }
    }

    async fn remove_rule(&self, key: &TriggerKey, bus: &str) -> Result<(), StoreError> {
        let rule = self.rule_name(key);
        for (target, body) in [
            (
                "AWSEvents.RemoveTargets",
                json!({"Rule": rule, "EventBusName": bus, "Ids": [TARGET]}),
            ),
            (
                "AWSEvents.DeleteRule",
                json!({"Name": rule, "EventBusName": bus}),
            ),
        ] {
            match self.events.ask(target, "1.1", &body).await {
                Ok(_) => {}
                Err(error) if error.is("ResourceNotFoundException") => return Ok(()),
                Err(error) => return Err(refused("remove a rule of EventBridge", &error)),
            }
        }
        Ok(())
    }

    async fn subscribe(&self, topic: &str) -> Result<(), StoreError> {
        let region = topic.split(':').nth(3).unwrap_or_default();
        if region != self.topics.region() {
            return Err(StoreError::Failed(format!(
                "the topic is in the region `{region}`, and only those of {} are subscribed to; have it send to the queue {}",
                self.topics.region(),
                self.queue_arn,
            )));
        }
        let form = form(&[
            ("Action", "Subscribe"),
            ("Version", "2010-03-31"),
            ("TopicArn", topic),
            ("Protocol", "sqs"),
            ("Endpoint", &self.queue_arn),
        ]);
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let sent = self.topics.post("/", &headers, form.into(), true);
        let sent = sent.await.map(drop);
        sent.map_err(|error| {
            remedied(
                refused("subscribe to the topic", &error),
                "does the parameter `SourceTopics` name it?",
            )
        })
    }

    /// The function, at the alias that counts.
    fn intake(&self) -> String {
        format!("operon-{}-intake:live", self.stage)
    }

    fn arn_of(&self, queue: &QueueName) -> String {
        let partition = self.queue_arn.split(':').nth(1).unwrap_or("aws");
        let region = queue.region.as_deref().unwrap_or(self.lambda.region());
        format!(
            "arn:{partition}:sqs:{region}:{}:{}",
            queue.account, queue.name
        )
    }

    fn is_own(&self, queue: &QueueName) -> bool {
        self.arn_of(queue) == self.queue_arn
    }

    async fn read(&self, queue: &QueueName) -> Result<(), StoreError> {
        if self.is_own(queue) {
            return Err(StoreError::Failed(
                "this is the deployment's own intake queue; its messages are events of other triggers".to_owned(),
            ));
        }
        let wanted = json!({
            "EventSourceArn": self.arn_of(queue), "FunctionName": self.intake(), "BatchSize": 10,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"MaximumConcurrency": 10},
        });
        let headers = [("content-type", "application/json")];
        let what = "have the intake read the queue";
        for _ in 0..LOOKS_MAX {
            // One that is going cannot be kept: the new one is made when it has gone.
            let there = self.readers(queue).await?;
            let kept = there.iter().find(|(_, state)| state != "Deleting");
            if let Some((id, state)) = kept {
                if state.starts_with("Disabl") {
                    return Err(StoreError::Failed(format!(
                        "somebody has switched off what reads the queue; switch the event source mapping {id} on"
                    )));
                }
                return Ok(());
            }
            if there.is_empty() {
                let body = wanted.to_string().into_bytes();
                match self.lambda.post(MAPPINGS, &headers, body, false).await {
                    Ok(_) => return Ok(()),
                    Err(error) if error.is("ResourceConflictException") => {}
                    Err(error) => {
                        let remedy = "does the parameter `SourceQueues` name it, and is its visibility timeout 30 seconds at least?";
                        return Err(remedied(refused(what, &error), remedy));
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(StoreError::Busy(format!(
            "the former reader of {} has not gone yet",
            self.arn_of(queue)
        )))
    }

    async fn leave(&self, queue: &QueueName) -> Result<(), StoreError> {
        if self.is_own(queue) {
            return Ok(());
        }
        for (id, state) in self.readers(queue).await? {
            if state == "Deleting" {
                continue;
            }
            let path = format!("{MAPPINGS}{id}");
            let sent = self
                .lambda
                .send((Method::DELETE, &path, &[]), Vec::new(), true);
            match sent.await {
                Ok(_) => {}
                Err(error) if error.is("ResourceNotFoundException") => {}
                Err(error) => return Err(refused("have the intake leave the queue", &error)),
            }
        }
        Ok(())
    }

    /// What reads the queue for the intake: id and state.
    async fn readers(&self, queue: &QueueName) -> Result<Vec<(String, String)>, StoreError> {
        let query = form(&[
            ("EventSourceArn", &self.arn_of(queue)),
            ("FunctionName", &self.intake()),
        ]);
        let path = format!("{MAPPINGS}?{query}");
        let sent = self
            .lambda
            .send((Method::GET, &path, &[]), Vec::new(), true);
        let what = "see what reads the queue";
        let answer = sent.await.map_err(|error| refused(what, &error))?;
        let answer: Value = serde_json::from_slice(&answer.body)
            .map_err(|error| StoreError::Failed(format!("Lambda's answer: {error}")))?;
        let found = answer.get("EventSourceMappings").and_then(Value::as_array);
        let text = |mapping: &Value, name: &str| {
            let value = mapping.get(name).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        Ok(found
            .into_iter()
            .flatten()
            .map(|mapping| (text(mapping, "UUID"), text(mapping, "State")))
            .collect())
    }
}

/// What somebody can do about a refusal.
fn remedied(error: StoreError, remedy: &str) -> StoreError {
    if let StoreError::Failed(text) = error {
        StoreError::Failed(format!("{text}; {remedy}"))
    } else {
        error
    }
}

/// What may go well the next time is busy; anything else somebody has to do something about.
pub(crate) fn refused(what: &str, error: &SignedError) -> StoreError {
    let text = format!("AWS does not {what}: {error}");
    match error {
        SignedError::Silent { .. } => StoreError::Busy(text),
        SignedError::Refused { status, code, .. }
            if *status >= 500 || *status == 429 || PASSING.iter().any(|one| code.contains(one)) =>
        {
            StoreError::Busy(text)
        }
        SignedError::Missing(_) | SignedError::Unsignable(_) | SignedError::Refused { .. } => {
            StoreError::Failed(text)
        }
    }
}
