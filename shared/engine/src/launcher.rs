//! The launcher's step: from a message of the launch queue to a task on ECS, and to its end when it is to stop.
//!
//! Invariant: a launch is fenced by its shard (state `LAUNCHING` of the same attempt), named by a token that
//! follows from the attempt, and never older than the token lives: so one attempt is at most one task (E2).
//! Invariant: being throttled, or having no room, is not a failure of the attempt (E9).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use operon_core::agent::CacheEntry;
use operon_core::exec::{LAUNCH_GRACE_MS, PROBE_INTERVAL_MS, Reason, State};
use serde_json::json;
use tracing::{info, warn};

use crate::Ports;
use crate::evaluate::{EvaluateError, Evaluator, Site};
use crate::fargate::{self, Answer, Bucket, Build, Rate, Size};
use crate::launch::{Launch, Prepared};
use crate::planner::{Active, Planner};
use crate::plans::Plans;
use crate::ports::{
    ArtifactUri, AttemptId, AttemptRow, AttemptSpec, Ecs, EcsError, Queue, RecordKey, RecordKind,
    RecordOutcome, RecordWrite, RunTask, SecretError, SecretNames, Secrets, TaskDefinition,
};
use crate::reports;
use crate::rows;
use crate::settle;
use crate::shards::Shards;
use crate::step::{Outbox, StepError};
use crate::wire::{self, EventMessage, LaunchMessage};

/// Milliseconds after which a launch message is left to the reconciler, which asks ECS first: half of the hour for
/// which a token outlives a task (aws.md 6.3).
pub const LAUNCH_AGE_MAX_MS: u64 = 30 * 60 * 1000;
/// Milliseconds after which nobody launches an attempt again, whatever message says so.
const ATTEMPT_AGE_MAX_MS: u64 = 45 * 60 * 1000;
/// Milliseconds after which a registration that was begun and not finished is begun again.
const REGISTER_MS: u64 = 60_000;
/// Seconds before a launch is tried again: being registered, throttled, unknown, no room.
const AGAIN_REGISTER_S: u64 = 2;
const AGAIN_THROTTLED_S: u64 = 4;
const AGAIN_UNKNOWN_S: u64 = 10;
const AGAIN_CAPACITY_S: u64 = 60;
/// Seconds before a stopping task is looked at again; longer, the longer it takes.
const AGAIN_STOP_S: u64 = 10;
/// Milliseconds after which a stop is left to the shard, whose tick asks for it again: so chains of messages do not
/// multiply, however long a task takes.
const STOP_AGE_MAX_MS: u64 = PROBE_INTERVAL_MS;
/// Interruptions by the spot market after which an attempt runs on demand.
const INTERRUPTIONS_MAX: usize = 2;

/// What may be chosen about launches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaunchOptions {
    /// Launches per second; shared among as many processes as the event source allows.
    pub rate: Rate,
    /// Whether idempotent attempts use spare capacity first.
    pub spot: bool,
    /// Milliseconds after which an invocation that read the fence is surely dead: the function's timeout.
    pub invocation_ms: u64,
}

impl Default for LaunchOptions {
    fn default() -> Self {
        Self {
            rate: Rate::default(),
            spot: true,
            invocation_ms: 60_000,
        }
    }
}

/// Gives markers for secrets: the launcher handles names only.
struct Markers;

#[async_trait::async_trait]
impl Secrets for Markers {
    async fn secret(&self, namespace: &str, name: &str) -> Result<String, SecretError> {
        Ok(fargate::marker(namespace, name))
    }
}

/// Launches and stops attempts.
pub struct Launcher {
    planner: Planner,
    queue: Arc<dyn Queue>,
    ecs: Arc<dyn Ecs>,
    names: Arc<dyn SecretNames>,
    site: fargate::Site,
    options: LaunchOptions,
    bucket: Mutex<Bucket>,
    definitions: Mutex<HashMap<String, String>>,
}

/// What came of a request to ECS.
enum Sent {
    Launched,
    Again(u64),
    Failed(Reason, String),
}

impl Launcher {
    /// A launcher over these parts; the secrets of `ports` are not used.
    #[must_use]
    pub fn new(
        ports: Ports,
        queue: Arc<dyn Queue>,
        ecs: Arc<dyn Ecs>,
        names: Arc<dyn SecretNames>,
        site: fargate::Site,
        options: LaunchOptions,
    ) -> Self {
        let now = ports.clock.now_ms();
        let evaluator = Evaluator {
            ports: Ports {
                secrets: Arc::new(Markers),
                ..ports
            },
            shards: Arc::new(Shards::default()),
            items: Arc::default(),
        };
        Self {
            planner: Planner::shared(evaluator, Arc::new(Plans::default())),
            queue,
            ecs,
            names,
            site,
            options,
            bucket: Mutex::new(Bucket::new(options.rate, now)),
            definitions: Mutex::default(),
        }
    }

    const fn evaluator(&self) -> &Evaluator {
        &self.planner.evaluator
    }

    fn now_ms(&self) -> u64 {
        self.evaluator().ports.clock.now_ms()
    }

    fn bucket(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Launches an attempt if its shard still says so. What is to be said of it goes into the outbox.
    pub async fn launch(
        &self,
        id: &AttemptId,
        since_ms: u64,
        outbox: &mut Outbox,
    ) -> Result<(), StepError> {
        let now = self.now_ms();
        if now.saturating_sub(since_ms) > LAUNCH_AGE_MAX_MS {
            info!(execution_id = %id.execution, "an old launch is left to the reconciler");
            return Ok(());
        }
        let Some(active) = self.planner.active(&id.execution).await? else {
            return Ok(());
        };
        let Some(launched_ms) = self.fence(&active, id).await? else {
            return Ok(());
        };
        if now.saturating_sub(launched_ms) > ATTEMPT_AGE_MAX_MS {
            return Ok(());
        }
        let site = Site::of_attempt(&active, id);
        let launch = match self.evaluator().prepare(site).await {
            Ok(launch) => launch,
            Err(EvaluateError::Store(error)) => return Err(error.into()),
            Err(EvaluateError::Expression(message)) => {
                return self
                    .fail((site, id), Reason::Expression, message, outbox)
                    .await;
            }
        };
        let Launch {
            prepared,
            cache,
            row,
            ..
        } = launch;
        let Prepared::Process(spec) = prepared else {
            warn!(execution_id = %id.execution, "a built-in task on the launch queue");
            return Ok(());
        };
        if let Some(cache) = &cache
            && let Some(outputs) = self.evaluator().reusable(cache, now).await?
        {
            return self.reuse(id, row, outputs, outbox).await;
        }
        let sent = self.start(&active, &spec, cache, launched_ms).await?;
        match sent {
            Sent::Launched => Ok(()),
            Sent::Again(seconds) => {
                let message = LaunchMessage::Launch {
                    id: id.clone(),
                    since_ms,
                };
                let lane = wire::lane(&active.meta);
                Ok(outbox.launch_later(&message, seconds, Some(&lane))?)
            }
            Sent::Failed(reason, message) => self.fail((site, id), reason, message, outbox).await,
        }
    }

    /// A new batch begins: what is remembered of shards may be stale. Within a batch one reading serves all
    /// launches of a shard; a stop that finds nothing waits until this invocation is surely dead.
    pub fn begin(&self) {
        self.evaluator().shards.retain(&[]);
    }

    /// Sends what a batch had to say.
    pub async fn send(&self, outbox: Outbox) -> Result<(), StepError> {
        outbox.send(&*self.queue).await?;
        Ok(())
    }

    /// When the attempt was launched, if its shard still wants it launched.
    async fn fence(&self, active: &Active, id: &AttemptId) -> Result<Option<u64>, StepError> {
        let key = id.shard_key();
        let shards = &self.evaluator().shards;
        let stored = shards.get(&*self.evaluator().ports.store, &key).await?;
        let Some(shard) = stored.shard else {
            return Ok(None);
        };
        let slot = shard.slots.get(usize::from(id.task_run.slot));
        let wanted =
            slot.is_some_and(|slot| slot.state == State::Launching && slot.attempt == id.attempt);
        if !wanted {
            return Ok(None);
        }
        let launched = reports::launched_ms(active, &key.shard, id.task_run.slot, &shard);
        Ok(Some(launched.unwrap_or_else(|| self.now_ms())))
    }

    async fn reuse(
        &self,
        id: &AttemptId,
        row: AttemptRow,
        outputs: serde_json::Map<String, serde_json::Value>,
        outbox: &mut Outbox,
    ) -> Result<(), StepError> {
        let result = reports::cached(self.now_ms(), outputs);
        let message = self.evaluator().done(id, row, result, &[]).await?;
        Ok(outbox.say(&EventMessage::from(message).into())?)
    }

    async fn fail(
        &self,
        (site, id): (Site<'_>, &AttemptId),
        reason: Reason,
        message: String,
        outbox: &mut Outbox,
    ) -> Result<(), StepError> {
        let now = self.now_ms();
        let Some(row) = rows::blank(site, id.attempt) else {
            return Ok(());
        };
        let row = AttemptRow {
            created_ms: now,
            item: self.evaluator().item(site).await.unwrap_or_default(),
            ..row
        };
        let result = reports::failed(now, now, reason, message);
        let message = self.evaluator().done(id, row, result, &[]).await?;
        Ok(outbox.say(&EventMessage::from(message).into())?)
    }

    async fn start(
        &self,
        active: &Active,
        spec: &AttemptSpec,
        cache: Option<CacheEntry>,
        launched_ms: u64,
    ) -> Result<Sent, StepError> {
        let (size, spot) = match self.size(spec).await? {
            Ok(found) => found,
            Err((reason, message)) => return Ok(Sent::Failed(reason, message)),
        };
        let mut arns = BTreeMap::new();
        for secret in fargate::secrets_of(spec) {
            match self.names.arn(&secret.0, &secret.1).await {
                Ok(arn) => {
                    arns.insert(secret, arn);
                }
                Err(error @ SecretError::Missing { .. }) => {
                    return Ok(Sent::Failed(Reason::InvalidInput, error.to_string()));
                }
                Err(error @ SecretError::Failed(_)) => {
                    return Err(StepError::Other(error.to_string()));
                }
            }
        }
        let build = match fargate::build(&self.site, spec, size, &arns, cache) {
            Ok(build) => build,
            Err(message) => return Ok(Sent::Failed(Reason::Launch, message)),
        };
        if let Some(document) = &build.document {
            let key = format!("{}{}", spec.output_prefix, fargate::SPEC_KEY);
            let other = |error: crate::ports::ArtifactError| StepError::Other(error.to_string());
            let uri = ArtifactUri::new(&key).map_err(other)?;
            let artifacts = &self.evaluator().ports.artifacts;
            let stored = artifacts.put(&uri, document.clone().into()).await;
            stored.map_err(other)?;
        }
        let definition = match self.definition(&build.definition).await? {
            Ok(arn) => arn,
            Err(sent) => return Ok(sent),
        };
        self.remember_identity(&spec.id).await?;
        if let Err(wait_ms) = self.bucket().take(self.now_ms()) {
            return Ok(Sent::Again(spread(&spec.id, wait_ms.div_ceil(1000).max(1))));
        }
        let run = run_task(&spec.id, definition, size, spot, build);
        let sent = self.run(&run, &spec.id, launched_ms).await?;
        if matches!(sent, Sent::Launched) {
            info!(
                execution_id = %active.meta.id, task_run = %spec.name, attempt = spec.id.attempt,
                "launched"
            );
        }
        Ok(sent)
    }

    async fn run(
        &self,
        run: &RunTask,
        id: &AttemptId,
        launched_ms: u64,
    ) -> Result<Sent, StepError> {
        let now = self.now_ms();
        let answer = match self.ecs.run_task(run).await {
            Ok(reply) if !reply.tasks.is_empty() => Answer::Launched,
            Ok(reply) => fargate::placed(&reply.failures),
            Err(error) => fargate::answer(&error),
        };
        Ok(match answer {
            Answer::Launched => {
                self.bucket().launched(now);
                Sent::Launched
            }
            Answer::Throttled => {
                self.bucket().throttled(now);
                Sent::Again(spread(id, AGAIN_THROTTLED_S))
            }
            // Another attempt may go on demand; this one's token is bound to its parameters.
            Answer::NoCapacity(text) if run.spot => Sent::Failed(Reason::NoCapacity, text),
            Answer::NoCapacity(text) => {
                if now.saturating_sub(launched_ms) > LAUNCH_GRACE_MS {
                    Sent::Failed(Reason::NoCapacity, text)
                } else {
                    Sent::Again(spread(id, AGAIN_CAPACITY_S))
                }
            }
            Answer::Unknown(text) => {
                warn!(execution_id = %id.execution, reason = %text, "ECS is asked again");
                Sent::Again(spread(id, AGAIN_UNKNOWN_S))
            }
            Answer::DefinitionGone => {
                self.forget_definition(&run.definition).await?;
                Sent::Again(AGAIN_REGISTER_S)
            }
            Answer::Refused(text) => Sent::Failed(Reason::Launch, text),
        })
    }

    /// The size of an attempt and whether it takes spare capacity: by what the task asks for, and by how its
    /// earlier attempts ended.
    async fn size(
        &self,
        spec: &AttemptSpec,
    ) -> Result<Result<(Size, bool), (Reason, String)>, StepError> {
        let resources = spec.resources;
        let Some(mut size) = fargate::size_for(resources.cpu_milli, resources.memory_mib) else {
            let message = format!(
                "Fargate has no task with {} thousandths of a CPU and {} MiB; at most 16 CPUs and {} MiB are \
                 possible",
                resources.cpu_milli,
                resources.memory_mib,
                fargate::MEMORY_MIB_MAX
            );
            return Ok(Err((Reason::Launch, message)));
        };
        let mut spot = self.options.spot && spec.idempotent;
        if spec.id.attempt > 1 {
            let store = &*self.evaluator().ports.store;
            let rows = store
                .attempts(&spec.id.execution, &spec.id.task_run)
                .await?;
            let ended = |reason: Reason| {
                let of = move |row: &&AttemptRow| row.reason.as_deref() == Some(reason.words());
                rows.iter().filter(of)
            };
            for row in ended(Reason::OutOfMemory) {
                let peak = row.usage.peak_rss_bytes;
                if let Some(next) =
                    fargate::size_after_out_of_memory(resources.cpu_milli, size, peak)
                {
                    size = next;
                } else {
                    let message = "the largest task that Fargate has ran out of memory".to_owned();
                    return Ok(Err((Reason::InvalidInput, message)));
                }
            }
            let interrupted = ended(Reason::Interrupted).count();
            spot &= interrupted < INTERRUPTIONS_MAX && ended(Reason::NoCapacity).count() == 0;
        }
        Ok(Ok((size, spot)))
    }

    /// The ARN of a task definition, registered once whoever needs it first: a record says who registers (E10).
    async fn definition(
        &self,
        definition: &TaskDefinition,
    ) -> Result<Result<String, Sent>, StepError> {
        let family = &definition.family;
        if let Some(arn) = self.definitions().get(family) {
            return Ok(Ok(arn.clone()));
        }
        let records = &self.evaluator().ports.records;
        let now = self.now_ms();
        let key = definition_key(family);
        let arn_of = |value: &serde_json::Value| {
            let arn = value.get("arn").and_then(serde_json::Value::as_str);
            arn.map(str::to_owned)
        };
        let mut expected = 0;
        if let Some(there) = records.record(&key, now).await? {
            if let Some(arn) = arn_of(&there.value) {
                self.definitions().insert(family.clone(), arn.clone());
                return Ok(Ok(arn));
            }
            let begun = there
                .value
                .get("begunMs")
                .and_then(serde_json::Value::as_u64);
            if now.saturating_sub(begun.unwrap_or_default()) < REGISTER_MS {
                return Ok(Err(Sent::Again(AGAIN_REGISTER_S)));
            }
            expected = there.version;
        }
        let write = |expected, value| RecordWrite {
            key: key.clone(),
            expected,
            value,
            due_ms: None,
            expires_ms: None,
        };
        let begun = write(expected, json!({"format": 1, "begunMs": now}));
        let RecordOutcome::Saved(version) = records.save_record(begun).await? else {
            return Ok(Err(Sent::Again(AGAIN_REGISTER_S)));
        };
        let arn = match self.ecs.register(definition).await {
            Ok(arn) => arn,
            Err(error) => {
                records.delete_record(&key, version).await?;
                return Ok(Err(self.not_registered(&error)));
            }
        };
        // A conflict is somebody who took the registration for dead: both revisions are the same.
        let done = write(version, json!({"format": 1, "arn": arn}));
        records.save_record(done).await?;
        self.definitions().insert(family.clone(), arn.clone());
        Ok(Ok(arn))
    }

    fn not_registered(&self, error: &EcsError) -> Sent {
        match fargate::answer(error) {
            Answer::Throttled => {
                self.bucket().throttled(self.now_ms());
                Sent::Again(AGAIN_THROTTLED_S)
            }
            Answer::Unknown(_)
            | Answer::NoCapacity(_)
            | Answer::Launched
            | Answer::DefinitionGone => Sent::Again(AGAIN_UNKNOWN_S),
            Answer::Refused(text) => Sent::Failed(Reason::Launch, text),
        }
    }

    fn definitions(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.definitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn forget_definition(&self, arn: &str) -> Result<(), StepError> {
        let family = {
            let mut kept = self.definitions();
            let family = kept.iter().find(|(_, value)| *value == arn);
            let family = family.map(|(family, _)| family.clone());
            if let Some(family) = &family {
                kept.remove(family);
            }
            family
        };
        let Some(family) = family else { return Ok(()) };
        let records = &self.evaluator().ports.records;
        let key = definition_key(&family);
        if let Some(there) = records.record(&key, self.now_ms()).await? {
            records.delete_record(&key, there.version).await?;
        }
        Ok(())
    }

    /// Notes whose a short identity is, before anything can come back under it.
    async fn remember_identity(&self, id: &AttemptId) -> Result<(), StepError> {
        if fargate::identity(id).is_some() {
            return Ok(());
        }
        let write = RecordWrite {
            key: identity_key(&fargate::short_identity(id)),
            expected: 0,
            value: json!(id),
            due_ms: None,
            expires_ms: Some(self.now_ms().saturating_add(30 * 24 * 60 * 60 * 1000)),
        };
        self.evaluator().ports.records.save_record(write).await?;
        Ok(())
    }

    /// Stops everything of an attempt, and tells its shard once ECS says that nothing is left (invariant 7).
    pub async fn stop(
        &self,
        id: &AttemptId,
        since_ms: u64,
        missed: u8,
        outbox: &mut Outbox,
    ) -> Result<(), StepError> {
        let name = settle::started_by(id);
        let tasks = match settle::tasks(&*self.ecs, Some(&name)).await {
            Ok(tasks) => tasks,
            Err(error) if fargate::answer(&error) == Answer::Throttled => {
                return self.stop_again(id, since_ms, missed, "ECS throttles", outbox);
            }
            Err(error) => return Err(error.into()),
        };
        for task in tasks.iter().filter(|task| task.desired_status != "STOPPED") {
            match self.ecs.stop(&task.arn, "stopped by Operon").await {
                Ok(()) => {}
                Err(error) if fargate::answer(&error) == Answer::Throttled => {
                    return self.stop_again(id, since_ms, missed, &task.arn, outbox);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(task) = tasks.iter().find(|task| !task.is_stopped()) {
            return self.stop_again(id, since_ms, missed, &task.arn, outbox);
        }
        if tasks.is_empty() && missed == 0 {
            // An invocation that read the fence before the kill may still launch it. When it is surely dead,
            // nothing of the attempt can start any more.
            let seconds = self.options.invocation_ms.div_ceil(1000) + AGAIN_STOP_S;
            return Ok(outbox.launch_later(&stop_of(id, since_ms, 1), seconds, None)?);
        }
        Ok(outbox.say(&reports::stopped(id).into())?)
    }

    /// Looks at a stopping attempt again: after a while, or, when it has taken too long for one chain of messages, with
    /// the next tick of its shard.
    fn stop_again(
        &self,
        id: &AttemptId,
        since_ms: u64,
        missed: u8,
        waits_for: &str,
        outbox: &mut Outbox,
    ) -> Result<(), StepError> {
        let age_ms = self.now_ms().saturating_sub(since_ms);
        if age_ms >= STOP_AGE_MAX_MS {
            warn!(
                execution_id = %id.execution,
                attempt = %id,
                waits_for,
                "an attempt that was to stop is not stopped yet; its shard asks again"
            );
            return Ok(());
        }
        let seconds = spread(id, AGAIN_STOP_S.max(age_ms / 5000));
        Ok(outbox.launch_later(&stop_of(id, since_ms, missed), seconds, None)?)
    }
}

fn stop_of(id: &AttemptId, since_ms: u64, missed: u8) -> LaunchMessage {
    LaunchMessage::Stop {
        id: id.clone(),
        since_ms,
        missed,
    }
}

fn definition_key(family: &str) -> RecordKey {
    RecordKey::new(RecordKind::Runtime, "task-definitions", family)
}

/// Where it is noted whose a short identity is.
#[must_use]
pub fn identity_key(short: &str) -> RecordKey {
    RecordKey::new(RecordKind::Runtime, "identities", short)
}

fn run_task(id: &AttemptId, definition: String, size: Size, spot: bool, build: Build) -> RunTask {
    RunTask {
        client_token: fargate::client_token(id),
        started_by: settle::started_by(id),
        definition,
        cpu_units: size.cpu_units,
        memory_mib: size.memory_mib,
        ephemeral_gib: build.ephemeral_gib,
        spot,
        containers: build.overrides,
    }
}

/// Seconds between the given number and twice that: launches that were throttled together come back apart.
fn spread(id: &AttemptId, seconds: u64) -> u64 {
    let hash = id
        .to_string()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    seconds + (hash >> 32) % (seconds + 1)
}
