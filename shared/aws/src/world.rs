//! The ports of a function, built once from its environment.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
pub use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use operon_core::exec::Event;
use operon_engine::Ports;
use operon_engine::alerts::{Alerts, Sending};
use operon_engine::evaluate::Evaluator;
use operon_engine::fargate;
use operon_engine::flows::Flows;
use operon_engine::operations::Operations;
use operon_engine::ports::{
    EventSink, LogReader, Outgoing, QueueError, QueueName, ShardKey, StoreError,
};
use operon_engine::step::StepError;
use operon_engine::traces::{self, Exporter};
use operon_engine::triggers::{
    EventDelivery, NoWakeups, NoWiring, QueuedNotices, QueuedPolls, Registry, Triggers, Wakeups,
    Wiring,
};
use operon_engine::wire::{EventMessage, PlanMessage};

use crate::artifacts::S3Artifacts;
use crate::clock::SystemClock;
use crate::config::{Config, ConfigError, Role};
use crate::ecs::FargateEcs;
use crate::emf::EmfLines;
use crate::messages::AwsMessages;
use crate::sdk::Sdk;
use crate::secrets::ManagedSecrets;
use crate::services::AwsServices;
use crate::signed::{Service, ServiceName};
use crate::sqs::{self, Batch};
use crate::store::{BuiltinLogs, DynamoStore};
use crate::task_logs::{CloudWatchStreams, TaskLogs};
use crate::telemetry;
use crate::wakeups::SqsWakeups;
use crate::wiring::AwsWiring;

/// First part of the keys of artifacts in the data bucket.
pub const ARTIFACTS: &str = "artifacts/";

/// A function of somebody else; ours is dead before.
const INVOKE_TIMEOUT: Duration = Duration::from_mins(5);
/// One page of a log.
const LOGS_TIMEOUT: Duration = Duration::from_secs(10);

/// Executions that may be active at once, for choosing the sizes of batches: what Fargate launches in a burst.
const CAPACITY: u32 = 100;

/// Everything a function is wired from.
pub struct World {
    /// Its environment.
    pub config: Config,
    /// Clients.
    pub sdk: Sdk,
    /// The engine's ports.
    pub ports: Ports,
    /// Where messages go.
    pub queues: Arc<Queues>,
    /// Secrets, for whoever needs their names.
    pub secrets: Arc<ManagedSecrets>,
    /// Logs of built-in tasks, to be flushed before a message is acknowledged.
    pub logs: Arc<BuiltinLogs>,
}

impl World {
    /// Reads the environment, begins logging if it is that of a function, and builds every client once.
    pub fn load(role: Role) -> Result<Self, ConfigError> {
        let config = Config::from_env(role);
        if role != Role::Cli {
            let level = config.as_ref().map_or("", |config| &config.log_level);
            telemetry::init(role, level);
        }
        Ok(Self::new(config?, Sdk::of_function()))
    }

    /// The same from an environment that was read elsewhere.
    #[must_use]
    pub fn new(config: Config, sdk: Sdk) -> Self {
        let clock = Arc::new(SystemClock);
        let store = DynamoStore::new(
            &sdk,
            &config.state_table,
            &config.data_bucket,
            Arc::clone(&clock) as Arc<_>,
        );
        let secrets =
            ManagedSecrets::new(&sdk, &config.secrets_prefix, Arc::clone(&clock) as Arc<_>);
        let secrets = Arc::new(secrets);
        let logs = Arc::new(BuiltinLogs::new(store.clone()));
        let lambda = Service::new(&sdk, ServiceName::Lambda, INVOKE_TIMEOUT);
        let ports = Ports {
            store: Arc::new(store.clone()),
            records: Arc::new(store),
            artifacts: Arc::new(S3Artifacts::new(&sdk, &config.data_bucket)),
            secrets: Arc::clone(&secrets) as Arc<_>,
            clock,
            messages: Arc::new(AwsMessages::new(&sdk, &config.mail_from)),
            services: Arc::new(AwsServices::new(sdk.s3(), lambda, &config.data_bucket)),
            logs: Arc::clone(&logs) as Arc<_>,
        };
        let queues = Arc::new(Queues::new(&sdk, &config));
        Self {
            config,
            sdk,
            ports,
            queues,
            secrets,
            logs,
        }
    }

    /// What starts flows by itself.
    #[must_use]
    pub fn triggers(&self) -> Triggers {
        let flows = Flows::new(&self.ports, Arc::default());
        Triggers {
            evaluator: self.evaluator(),
            sink: Arc::clone(&self.queues) as Arc<_>,
            flows: Arc::new(Registry::new(flows)),
            wakeups: self.wakeups(),
            wiring: Arc::new(NoWiring),
            notices: Arc::new(QueuedNotices {
                queue: Arc::clone(&self.queues) as Arc<_>,
                measures: Arc::new(EmfLines {
                    stage: self.config.stage.clone(),
                }),
            }),
            buckets: self.buckets(),
            polls: Some(Arc::new(QueuedPolls(Arc::clone(&self.queues) as Arc<_>))),
            on_aws: true,
            capacity: CAPACITY,
        }
    }

    /// A message as triggers take it: of the intake's own queue, or of one that a trigger reads.
    #[must_use]
    pub fn event(&self, delivery: sqs::Delivery<String>) -> EventDelivery {
        let own = delivery.queue_arn == self.config.intake_queue_arn;
        EventDelivery {
            body: delivery.message,
            message_id: delivery.id,
            queue_arn: (!own).then_some(delivery.queue_arn),
            attributes: delivery.attributes,
        }
    }

    /// What people ask of executions.
    #[must_use]
    pub fn operations(&self) -> Operations {
        Operations {
            evaluator: self.triggers().evaluator,
            flows: Flows::new(&self.ports, Arc::default()),
            sink: Arc::clone(&self.queues) as Arc<_>,
        }
    }

    /// Wakes a batch when it must go; the reconciler, which looks each minute, would be late.
    fn wakeups(&self) -> Arc<dyn Wakeups> {
        match self.queues.of(QueueName::Intake).url() {
            "" => Arc::new(NoWakeups),
            url => Arc::new(SqsWakeups::new(self.sdk.sqs(), url)),
        }
    }

    /// Buckets whose uploads come to the intake.
    fn buckets(&self) -> Vec<String> {
        let config = &self.config;
        let all = [&config.data_bucket, &config.upload_bucket];
        all.into_iter()
            .filter(|bucket| !bucket.is_empty())
            .cloned()
            .collect()
    }

    /// Makes what fires triggers: for whoever deploys flows, and has the right.
    #[must_use]
    pub fn wiring(&self) -> Arc<dyn Wiring> {
        Arc::new(AwsWiring::new(&self.sdk, &self.config))
    }

    /// Logs of attempts, wherever they ran.
    #[must_use]
    pub fn task_logs(&self) -> Arc<TaskLogs> {
        let service = Service::new(&self.sdk, ServiceName::Logs, LOGS_TIMEOUT);
        Arc::new(TaskLogs::new(
            Arc::clone(&self.logs) as Arc<_>,
            self.ports.clone(),
            Arc::new(FargateEcs::new(&self.sdk, &self.config)),
            Arc::new(CloudWatchStreams(service)),
            &self.config.log_group,
        ))
    }

    /// Who tells people of executions and measures them: lines of CloudWatch's embedded metrics on standard output, and
    /// traces where OpenTelemetry's variables name a collector.
    #[must_use]
    pub fn alerts(&self, logs: Arc<dyn LogReader>) -> Alerts {
        let console = &self.config.console_url;
        Alerts::new(
            self.evaluator(),
            logs,
            (!console.is_empty()).then(|| console.clone()),
            Arc::new(EmfLines {
                stage: self.config.stage.clone(),
            }),
        )
        .tracing(
            Exporter::of(|name| self.traces_variable(name)),
            Sending::Waited,
        )
    }

    fn traces_variable(&self, name: &str) -> Option<String> {
        let config = &self.config;
        match name {
            traces::ENDPOINT => Some(config.otlp_endpoint.clone()),
            traces::TRACES_ENDPOINT => Some(config.otlp_traces_endpoint.clone()),
            traces::HEADERS => Some(config.otlp_headers.0.clone()),
            traces::SERVICE => Some(config.otlp_service.clone()),
            _ => None,
        }
    }

    fn evaluator(&self) -> Evaluator {
        Evaluator {
            ports: self.ports.clone(),
            shards: Arc::default(),
            items: Arc::default(),
        }
    }

    /// Where attempts run.
    #[must_use]
    pub fn site(&self) -> fargate::Site {
        let config = &self.config;
        fargate::Site {
            family_prefix: format!("operon-{}-", config.stage),
            agent_image: config.agent_image.clone(),
            task_role: config.task_role_arn.clone(),
            execution_role: config.execution_role_arn.clone(),
            log_group: config.log_group.clone(),
            plan_queue_url: config.plan_queue_url.clone(),
            bucket: config.data_bucket.clone(),
            artifacts: ARTIFACTS.to_owned(),
        }
    }
}

/// The queues between the functions, by name.
#[derive(Debug, Clone)]
pub struct Queues {
    plan: sqs::Queue,
    launch: sqs::Queue,
    work: sqs::Queue,
    intake: sqs::Queue,
}

impl Queues {
    /// The queues of a deployment. They are called alike, so the intake queue, of which no variable speaks, is
    /// beside the plan queue.
    #[must_use]
    pub fn new(sdk: &Sdk, config: &Config) -> Self {
        let beside = |url: &str, name: &str| {
            if url.is_empty() {
                config
                    .plan_queue_url
                    .strip_suffix("plan")
                    .map_or_else(String::new, |start| format!("{start}{name}"))
            } else {
                url.to_owned()
            }
        };
        let queue = |url: &str, name: &str| sqs::Queue::new(sdk, &beside(url, name));
        Self {
            plan: queue(&config.plan_queue_url, "plan"),
            launch: queue(&config.launch_queue_url, "launch"),
            work: queue(&config.work_queue_url, "work"),
            intake: queue("", "intake"),
        }
    }

    /// One of them.
    #[must_use]
    pub const fn of(&self, name: QueueName) -> &sqs::Queue {
        match name {
            QueueName::Plan => &self.plan,
            QueueName::Launch => &self.launch,
            QueueName::Work => &self.work,
            QueueName::Intake => &self.intake,
        }
    }
}

#[async_trait]
impl operon_engine::ports::Queue for Queues {
    async fn send(&self, queue: QueueName, messages: Vec<Outgoing>) -> Result<(), QueueError> {
        let messages = messages.into_iter().map(|message| sqs::Outgoing {
            body: message.body,
            delay: Duration::from_secs(u64::from(message.delay_s)),
            group: message.group,
        });
        let sent = self.of(queue).send_all(messages.collect()).await;
        sent.map_err(|error| QueueError {
            queue: queue.name(),
            reason: error.to_string(),
        })
    }
}

#[async_trait]
impl EventSink for Queues {
    async fn send(&self, key: &ShardKey, event: &Event) -> Result<(), StoreError> {
        let message = EventMessage::new(key.clone(), event.clone());
        let text = PlanMessage::from(message)
            .encode()
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        self.plan.send(sqs::Outgoing::now(text)).await?;
        Ok(())
    }
}

/// Handles the records of an event together, as a step does that takes batches; what failed is named in the answer.
pub async fn batch(
    event: SqsEvent,
    handle: impl AsyncFn(&[&str]) -> Vec<Result<(), StepError>>,
) -> SqsBatchResponse {
    batch_delivered(event, async |texts: &[&str], _: &[bool]| {
        handle(texts).await
    })
    .await
}

/// [`batch`] for a step that must know which messages were delivered before (`ApproximateReceiveCount` above 1).
pub async fn batch_delivered(
    event: SqsEvent,
    handle: impl AsyncFn(&[&str], &[bool]) -> Vec<Result<(), StepError>>,
) -> SqsBatchResponse {
    let mut batch = Batch::parse(event, |text| {
        Ok::<_, std::convert::Infallible>(text.to_owned())
    });
    let deliveries = std::mem::take(&mut batch.deliveries);
    let texts: Vec<&str> = deliveries
        .iter()
        .map(|delivery| delivery.message.as_str())
        .collect();
    let again: Vec<bool> = deliveries
        .iter()
        .map(|delivery| delivery.receives > 1)
        .collect();
    let outcomes = handle(&texts, &again).await;
    for (delivery, outcome) in deliveries.iter().zip(&outcomes) {
        if let Err(error) = outcome {
            batch.refuse(&delivery.id, error);
        }
    }
    // A step that says too little has not handled the rest.
    for delivery in deliveries.iter().skip(outcomes.len()) {
        batch.fail(&delivery.id);
    }
    batch.answer()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::testing::{Answer, server};

    /// Without it a backfill starves live work (E13).
    #[tokio::test]
    async fn the_lane_of_a_message_is_its_group() {
        let done = r#"{"Successful":[],"Failed":[]}"#;
        let (sdk, asked) = server(move |_, _| Answer::new(200, done)).await;
        let config = Config {
            plan_queue_url: "http://127.0.0.1/1/plan".to_owned(),
            ..Config::default()
        };
        let queues: &dyn operon_engine::ports::Queue = &Queues::new(&sdk, &config);
        let messages = vec![
            Outgoing::now("one".to_owned()).of("genomics/qc/bulk"),
            Outgoing::now("two".to_owned()),
        ];
        queues.send(QueueName::Launch, messages).await.unwrap();
        let (_, body) = asked.lock().unwrap().remove(0);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["QueueUrl"], "http://127.0.0.1/1/launch");
        let entries = &body["Entries"];
        assert_eq!(entries[0]["MessageGroupId"], "genomics/qc/bulk");
        assert_eq!(entries[1]["MessageGroupId"], serde_json::Value::Null);
    }

    #[tokio::test]
    async fn a_step_learns_what_was_delivered_before_and_fails_message_by_message() {
        let record = |id: &str, body: &str, receives: &str| {
            serde_json::json!({
                "messageId": id, "body": body, "attributes": {"ApproximateReceiveCount": receives},
            })
        };
        let records = [
            record("m0", "a", "1"),
            record("m1", "b", "2"),
            record("m2", "c", "1"),
        ];
        let event = serde_json::from_value(serde_json::json!({ "Records": records })).unwrap();
        let seen = RefCell::new(Vec::new());
        let answer = batch_delivered(event, async |texts: &[&str], again: &[bool]| {
            let both = texts.iter().zip(again);
            seen.borrow_mut()
                .extend(both.map(|(text, again)| ((*text).to_owned(), *again)));
            // It says nothing of the last.
            vec![Ok(()), Err(StepError::Other("no".to_owned()))]
        })
        .await;
        let seen = seen.into_inner();
        let pair = |text: &str, again| (text.to_owned(), again);
        assert_eq!(seen, [pair("a", false), pair("b", true), pair("c", false)]);
        let failed: Vec<String> = answer
            .batch_item_failures
            .into_iter()
            .map(|failure| failure.item_identifier)
            .collect();
        assert_eq!(failed, ["m1", "m2"]);
    }
}
