//! The functions over queues and ECS, driven until nothing happens any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use operon_core::agent::{AgentResult, MANIFEST};
use operon_core::exec::{Event, Outcome, Reason};
use operon_core::plan::Plan;
use operon_engine::alerts::{Alerts, Sending};
use operon_engine::evaluate::Evaluator;
use operon_engine::fargate;
use operon_engine::intake::Request;
use operon_engine::launch::output_prefix;
use operon_engine::launcher::{LaunchOptions, Launcher};
use operon_engine::plan_queue::PlanQueue;
use operon_engine::ports::{
    ArtifactUri, AttemptId, AttemptRow, Clock as _, ExecutionId, ExecutionRow, Outgoing, QueueName,
    SecretError, SecretNames, ShardKey, StateStore as _,
};
use operon_engine::reconciler::{Reconciler, handle_launches};
use operon_engine::subflow::{FlowMissing, FlowSource};
use operon_engine::traces::Exporter;
use operon_engine::triggers::{
    NoWakeups, NoWiring, QueuedNotices, QueuedPolls, Registry, Triggers,
};
use operon_engine::watcher::Watcher;
use operon_engine::wire::{EventMessage, PlanMessage};
use operon_engine::worker::Worker;
use operon_engine::{dead_letters, reports};
use serde_json::Value;

use super::defences;
use super::said::{event_of, message_of, passes_the_rule, result_of};
use super::{Defences, Faults, MemoryEcs, MemoryQueues};
use crate::memory::{MemoryMeasures, MemoryPorts};

/// Messages handled at most: a world that does not come to rest is a mistake.
const STEPS_MAX: usize = 200_000;
/// Milliseconds between two schedules of the reconciler.
const SCHEDULE_MS: u64 = 60_000;
const QUEUES: [QueueName; 3] = [QueueName::Plan, QueueName::Launch, QueueName::Work];

/// Flows by name, for subflows.
#[derive(Debug, Default)]
struct Flows(Vec<Plan>);

#[async_trait]
impl FlowSource for Flows {
    async fn plan(&self, namespace: &str, flow: &str, _: Option<u32>) -> Result<Plan, FlowMissing> {
        let found = self.0.iter();
        let mut found = found.filter(|plan| plan.namespace == namespace && plan.flow == flow);
        found
            .next()
            .cloned()
            .ok_or_else(|| FlowMissing::No(format!("there is no flow `{flow}`")))
    }
}

struct Arns;

#[async_trait]
impl SecretNames for Arns {
    async fn arn(&self, namespace: &str, name: &str) -> Result<String, SecretError> {
        Ok(format!(
            "arn:aws:secretsmanager:memory:1:secret:{namespace}/{name}"
        ))
    }
}

/// The processes: what a cold start makes anew.
struct Functions {
    planner: PlanQueue,
    launcher: Launcher,
    worker: Worker,
    watcher: Watcher,
    reconciler: Reconciler,
}

/// The cloud in memory.
pub struct CloudWorld {
    /// State, records, files, time.
    pub ports: MemoryPorts,
    /// Queues.
    pub queues: Arc<MemoryQueues>,
    /// ECS.
    pub ecs: Arc<MemoryEcs>,
    /// Failpoints, and what was counted.
    pub faults: Arc<Faults>,
    /// What was measured.
    pub measures: Arc<MemoryMeasures>,
    /// Where traces go, if anywhere.
    traces: Option<Exporter>,
    /// Whether triggers are looked at.
    looks: bool,
    /// What is in place.
    pub defences: Defences,
    /// Messages of one batch at most.
    pub batch: usize,
    flows: Arc<Flows>,
    functions: Functions,
    scheduled_ms: u64,
    fresh: u32,
    /// What was handled before, for a world that knows no repeated messages.
    handled: BTreeSet<(QueueName, String)>,
}

impl Default for CloudWorld {
    fn default() -> Self {
        Self::new(Defences::default(), Vec::new())
    }
}

impl CloudWorld {
    /// A cloud with these defences and flows for subflows.
    #[must_use]
    pub fn new(defences: Defences, flows: Vec<Plan>) -> Self {
        let faults = Arc::<Faults>::default();
        let ports = MemoryPorts::failing(Arc::clone(&faults));
        let mut queues = MemoryQueues::new(Arc::clone(&ports.clock), Arc::clone(&faults));
        queues.fair = defences.fair;
        let mut ecs = MemoryEcs::new(Arc::clone(&ports.clock), Arc::clone(&faults));
        ecs.tokens = defences.tokens;
        ecs.texts = defences.texts;
        let (queues, ecs, flows) = (Arc::new(queues), Arc::new(ecs), Arc::new(Flows(flows)));
        let measures = Arc::<MemoryMeasures>::default();
        let functions = functions(&ports, &queues, &ecs, &flows, &measures, None, false);
        Self {
            scheduled_ms: ports.clock.now_ms(),
            ports,
            queues,
            ecs,
            faults,
            measures,
            traces: None,
            looks: false,
            defences,
            batch: 10,
            flows,
            functions,
            fresh: 0,
            handled: BTreeSet::new(),
        }
    }

    /// Starts every function anew, as after a crash.
    pub fn cold_start(&mut self) {
        let (ports, queues, ecs) = (&self.ports, &self.queues, &self.ecs);
        let traces = self.traces.clone();
        let (measures, looks) = (&self.measures, self.looks);
        self.functions = functions(ports, queues, ecs, &self.flows, measures, traces, looks);
    }

    /// Lets the worker send traces.
    pub fn trace_to(&mut self, exporter: Exporter) {
        self.traces = Some(exporter);
        self.cold_start();
    }

    /// Lets the reconciler look at triggers, and the worker at databases and addresses for them.
    pub fn look(&mut self) {
        self.looks = true;
        self.cold_start();
    }

    /// What starts flows by itself, as intake has it.
    #[must_use]
    pub fn triggers(&self) -> Triggers {
        triggers(&self.ports, &self.queues)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.ports.clock.now_ms()
    }

    /// Stores an execution of a plan and tells it to start.
    ///
    /// # Panics
    /// When the plan cannot be started.
    #[allow(clippy::expect_used, reason = "a test")]
    pub async fn start(&mut self, plan: &Plan) -> ExecutionId {
        self.start_with(plan, 0).await
    }

    /// [`Self::start`] with a priority; below 0 it is a backfill's.
    ///
    /// # Panics
    /// When the plan cannot be started.
    #[allow(clippy::expect_used, reason = "a test")]
    pub async fn start_with(&mut self, plan: &Plan, priority: i32) -> ExecutionId {
        self.fresh += 1;
        let id: ExecutionId = format!("e{}", self.fresh).parse().expect("an id");
        let request = Request {
            id: id.clone(),
            plan: plan.clone(),
            flow_dir: None,
            inputs: std::collections::BTreeMap::default(),
            labels: std::collections::BTreeMap::default(),
            trigger: Value::Null,
            parent: None,
            replay_of: None,
            priority,
        };
        let evaluator = &self.functions.planner.planner.evaluator;
        let created = evaluator.intake(request).await.expect("the flow starts");
        let store = &self.ports.store;
        let stored = store.create(&created.row, &created.plan).await;
        stored.expect("the execution is stored");
        self.tell(EventMessage::new(ShardKey::root(&id), Event::Start));
        id
    }

    /// Puts an event into the plan queue.
    ///
    /// # Panics
    /// When it cannot be encoded.
    #[allow(clippy::expect_used, reason = "a test")]
    pub fn tell(&self, message: EventMessage) {
        let text = PlanMessage::from(message).encode().expect("it is small");
        self.queues.put(QueueName::Plan, Outgoing::now(text));
    }

    /// Lets the watcher hear an event of ECS.
    ///
    /// # Panics
    /// When it does not understand it.
    #[allow(clippy::expect_used, reason = "a test")]
    pub async fn hear(&self, event: &str) {
        for outcome in self.functions.watcher.handle(&[event]).await {
            outcome.expect("the watcher understands it");
        }
    }

    /// Kills an execution.
    pub fn kill(&self, id: &ExecutionId) {
        let event = Event::Kill {
            reason: Reason::Kill,
            round: None,
        };
        self.tell(EventMessage::new(ShardKey::root(id), event));
    }

    /// The row of an execution.
    ///
    /// # Panics
    /// When there is none.
    #[allow(clippy::expect_used, reason = "a test")]
    #[allow(
        clippy::unused_async,
        reason = "as the others that look into the store"
    )]
    pub async fn row(&self, id: &ExecutionId) -> ExecutionRow {
        self.ports.store.peek(id).expect("the execution exists")
    }

    /// Detail items of an execution, in order.
    ///
    /// # Panics
    /// When the store does not answer.
    #[allow(clippy::expect_used, reason = "a test")]
    pub async fn rows(&self, id: &ExecutionId) -> Vec<AttemptRow> {
        let page = self.ports.store.attempts_page(id, None, 10_000).await;
        page.expect("the store answers")
    }

    /// Delivers one batch of one queue; whether there was one. A function that was killed is started anew.
    pub async fn deliver(&mut self, queue: QueueName) -> bool {
        let mut received = self.queues.receive(queue, self.batch);
        if received.is_empty() {
            return false;
        }
        if !self.defences.asks {
            // Questions that nobody asks are gone.
            received.retain(|message| {
                let asks = defences::asks(&message.body);
                if asks {
                    self.queues.delete(queue, message.number);
                }
                !asks
            });
        }
        self.faults.add("Lambda", queue.name());
        self.faults.add("SQS", "receive");
        if !self.defences.acknowledge_last {
            for message in &received {
                self.queues.delete(queue, message.number);
            }
        }
        let bodies: Vec<String> = received
            .iter()
            .map(|one| self.defences.deliver(queue, &one.body))
            .collect();
        let texts: Vec<&str> = bodies.iter().map(String::as_str).collect();
        let mut outcomes: Vec<bool> = match queue {
            QueueName::Plan => {
                let again: Vec<bool> = received.iter().map(|one| one.again).collect();
                let planner = &self.functions.planner;
                let deadline = self.now() + 30_000;
                let handled = planner.handle_delivered(&texts, &again, deadline).await;
                handled.iter().map(Result::is_ok).collect()
            }
            QueueName::Launch => {
                let Functions {
                    launcher,
                    reconciler,
                    ..
                } = &self.functions;
                let deadline = self.now() + 60_000;
                let handled = handle_launches(launcher, reconciler, &texts, deadline).await;
                handled.iter().map(Result::is_ok).collect()
            }
            QueueName::Work => {
                let mut done = Vec::new();
                for text in &texts {
                    let deadline = self.now() + 60_000;
                    done.push(self.functions.worker.handle(text, deadline).await.is_ok());
                }
                done
            }
            QueueName::Intake => Vec::new(),
        };
        if self.faults.revive() {
            self.cold_start();
            return true; // Killed: nothing of the batch was acknowledged.
        }
        if !self.defences.repeats {
            for (message, good) in received.iter().zip(&mut outcomes) {
                *good &= self.handled.insert((queue, message.body.clone()));
            }
        }
        let mut acknowledged = 0;
        for (message, good) in received.iter().zip(outcomes) {
            if good {
                self.queues.delete(queue, message.number);
                acknowledged += 1;
            }
        }
        if acknowledged > 0 {
            self.faults.add("SQS", "delete");
        }
        true
    }

    /// Handles everything that can be handled now.
    ///
    /// # Panics
    /// When there is no end of it.
    pub async fn settle(&mut self) {
        for _ in 0..STEPS_MAX {
            self.tell_ends().await;
            let mut busy = false;
            for queue in QUEUES {
                busy |= self.deliver(queue).await;
            }
            if self.defences.dead_letters {
                busy |= self.bury().await;
            }
            if !busy {
                return;
            }
        }
        panic!("the cloud does not come to rest");
    }

    /// Lets time pass until the execution is over or `ms` have gone by; whether it is over.
    pub async fn run(&mut self, id: &ExecutionId, ms: u64) -> bool {
        let end = self.now() + ms;
        loop {
            self.settle().await;
            if self.row(id).await.ended_ms.is_some() {
                return true;
            }
            if !self.pass(end).await {
                return false;
            }
        }
    }

    /// Lets all of `ms` pass.
    pub async fn wait(&mut self, ms: u64) {
        let end = self.now() + ms;
        loop {
            self.settle().await;
            if !self.pass(end).await {
                return;
            }
        }
    }

    /// Goes on to whatever happens next, but not beyond `end`; false when that is reached.
    pub async fn pass(&mut self, end: u64) -> bool {
        let now = self.now();
        if now >= end {
            return false;
        }
        let schedule = self
            .defences
            .reconciler
            .then_some(self.scheduled_ms + SCHEDULE_MS);
        let times = [
            self.queues.next_visible(&QUEUES),
            self.ecs.next_change(),
            schedule,
        ];
        let next = times.into_iter().flatten().filter(|time| *time > now).min();
        self.ports.clock.set(next.unwrap_or(end).min(end));
        if self.defences.reconciler && self.now() >= self.scheduled_ms + SCHEDULE_MS {
            self.scheduled_ms = self.now();
            let scheduled = self.functions.reconciler.schedule().await;
            let looked = if self.looks {
                let triggers = self.triggers();
                Box::pin(triggers.look_at_due()).await
            } else {
                Ok(())
            };
            if self.faults.revive() {
                self.cold_start();
            } else {
                drop((scheduled, looked));
            }
        }
        true
    }

    /// The agents and ECS tell of what ended.
    ///
    /// # Panics
    /// When a report cannot be encoded.
    #[allow(clippy::expect_used, reason = "a test")]
    pub async fn tell_ends(&mut self) {
        for task in self.ecs.progress() {
            let signals = task.fate.signals;
            if let Some(result) = result_of(&task) {
                let text = message_of(&task.id, &result);
                if signals.manifest {
                    self.faults.add("S3", "put by agent");
                    self.store_manifest(&task.id, &result);
                }
                if signals.agent {
                    self.faults.add("SQS", "send by agent");
                    self.queues.put(QueueName::Plan, Outgoing::now(text));
                }
            }
            if !self.defences.evidence && defences::looks_well(&task.view) {
                let ended = reports::ended(task.begun_ms, self.now(), Outcome::Success);
                let said = reports::seen(&task.id, &ended, None);
                self.queues.put(
                    QueueName::Plan,
                    Outgoing::now(said.encode().expect("small")),
                );
            } else if signals.event && self.defences.watcher && passes_the_rule(&task) {
                let event = event_of(&task);
                let handled = self.functions.watcher.handle(&[event.as_str()]).await;
                if self.faults.revive() {
                    self.cold_start();
                    // EventBridge delivers it again.
                    let again = self.functions.watcher.handle(&[event.as_str()]).await;
                    drop(again);
                } else {
                    drop(handled);
                }
            }
        }
    }

    #[allow(clippy::expect_used, reason = "a test")]
    fn store_manifest(&self, id: &AttemptId, result: &AgentResult) {
        let key = format!("{}{MANIFEST}", output_prefix(id));
        let uri = ArtifactUri::new(&key).expect("a key");
        let bytes = serde_json::to_vec(result).expect("it is JSON");
        self.ports.artifacts.keep(&uri, bytes.into());
    }

    /// Takes dead letters out; whether there were some.
    async fn bury(&mut self) -> bool {
        let dead = self.queues.take_dead();
        for (queue, body) in &dead {
            let ports = self.ports.ports();
            let reason = "delivered too often";
            let buried = dead_letters::bury(&ports, &*self.queues, *queue, body, reason).await;
            if self.faults.revive() || buried.is_err() {
                // Only what is buried leaves its queue.
                self.cold_start();
                self.queues.put_dead(*queue, body.clone());
            }
        }
        !dead.is_empty()
    }
}

fn functions(
    ports: &MemoryPorts,
    queues: &Arc<MemoryQueues>,
    ecs: &Arc<MemoryEcs>,
    flows: &Arc<Flows>,
    measures: &Arc<MemoryMeasures>,
    traces: Option<Exporter>,
    looks: bool,
) -> Functions {
    let site = fargate::Site {
        family_prefix: "operon-memory-".to_owned(),
        agent_image: "operon-agent:memory".to_owned(),
        task_role: "role/task".to_owned(),
        execution_role: "role/execution".to_owned(),
        log_group: "/operon/memory".to_owned(),
        plan_queue_url: "memory:plan".to_owned(),
        bucket: "memory".to_owned(),
        artifacts: "artifacts/".to_owned(),
    };
    let evaluator = Evaluator {
        ports: ports.ports(),
        shards: Arc::default(),
        items: Arc::default(),
    };
    let logs = Arc::clone(&ports.logs) as Arc<_>;
    let alerts = Alerts::new(evaluator, logs, None, Arc::clone(measures) as Arc<_>);
    let alerts = alerts.tracing(traces, Sending::Waited);
    let queue = || Arc::clone(queues) as Arc<_>;
    let ecs = || Arc::clone(ecs) as Arc<_>;
    let worker = Worker::new(ports.ports(), queue(), Arc::clone(flows) as Arc<_>).telling(alerts);
    let worker = if looks {
        worker.polling(triggers(ports, queues))
    } else {
        worker
    };
    Functions {
        planner: PlanQueue::new(ports.ports(), queue()),
        launcher: Launcher::new(
            ports.ports(),
            queue(),
            ecs(),
            Arc::new(Arns),
            site,
            LaunchOptions::default(),
        ),
        worker,
        watcher: Watcher::new(ports.ports(), queue()),
        reconciler: Reconciler::new(ports.ports(), queue(), ecs()),
    }
}

/// What starts flows by itself; the worker looks at databases and addresses.
fn triggers(ports: &MemoryPorts, queues: &Arc<MemoryQueues>) -> Triggers {
    let ports = ports.ports();
    let flows = operon_engine::flows::Flows::new(&ports, Arc::default());
    Triggers {
        evaluator: Evaluator {
            ports,
            shards: Arc::default(),
            items: Arc::default(),
        },
        sink: Arc::clone(queues) as Arc<_>,
        flows: Arc::new(Registry::new(flows)),
        wakeups: Arc::new(NoWakeups),
        wiring: Arc::new(NoWiring),
        polls: Some(Arc::new(QueuedPolls(Arc::clone(queues) as Arc<_>))),
        notices: Arc::new(QueuedNotices {
            queue: Arc::clone(queues) as Arc<_>,
            measures: Arc::new(MemoryMeasures::default()),
        }),
        buckets: Vec::new(),
        on_aws: true,
        capacity: 10,
    }
}
