//! What the engine needs of ECS. `operon-aws` answers with the SDK, tests with a cloud in memory.
//!
//! The port says what ECS said; what that means is decided in [`crate::fargate`], in one place.

use async_trait::async_trait;

/// Task ids that one `DescribeTasks` or one page of `ListTasks` takes at most.
pub const ECS_PAGE_MAX: usize = 100;

/// A container of a task definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerDefinition {
    /// `stage`, `main` or `agent`.
    pub name: String,
    /// Its image.
    pub image: String,
    /// When it ends the task ends.
    pub essential: bool,
    /// ARN of the secret with which ECS pulls the image from a private registry.
    pub repository_credentials: Option<String>,
    /// Replaces the image's; none leaves it as it is (invariant 9).
    pub entry_point: Option<Vec<String>>,
    /// Replaces the image's; a launch may override it.
    pub command: Option<Vec<String>>,
    /// Replaces the image's.
    pub working_directory: Option<String>,
    /// Replaces the image's.
    pub user: Option<String>,
    /// Environment that is the same for every launch.
    pub environment: Vec<(String, String)>,
    /// Environment whose values ECS reads from Secrets Manager or Parameter Store: variable and ARN.
    pub secrets: Vec<(String, String)>,
    /// Containers that must be in a condition (`START`, `COMPLETE`, `SUCCESS`) before it starts.
    pub depends_on: Vec<(String, String)>,
    /// Where the task's volume is mounted.
    pub mount: Option<String>,
    /// Seconds between SIGTERM and SIGKILL.
    pub stop_timeout_s: Option<u32>,
    /// Whether its first process is one that passes signals on and waits for children: many programs ignore SIGTERM
    /// as process 1.
    pub init: bool,
    /// Where its output goes.
    pub output: Output,
}

/// Where the output of a container goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Output {
    /// To the log group, as it is.
    #[default]
    Group,
    /// To the log group; and it takes what the others route.
    Router,
    /// To the router, before anybody else sees it.
    Routed,
}

/// A task definition, registered once for everything that has the same hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskDefinition {
    /// Name; the same for the same content.
    pub family: String,
    /// Containers, all of them on Fargate with a network interface of their own.
    pub containers: Vec<ContainerDefinition>,
    /// Name of the volume the containers share.
    pub volume: String,
    /// What the containers may do.
    pub task_role: String,
    /// What ECS may do for them: pull, log, read secrets.
    pub execution_role: String,
    /// Where their output goes.
    pub log_group: String,
    /// In 1/1024 vCPU; every launch overrides it.
    pub cpu_units: u32,
    /// Every launch overrides it.
    pub memory_mib: u32,
}

/// What differs from launch to launch, for one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerOverride {
    /// Which.
    pub name: String,
    /// Replaces the command.
    pub command: Option<Vec<String>>,
    /// Added to the environment.
    pub environment: Vec<(String, String)>,
    /// The kernel ends it when it uses more; none leaves it the whole task.
    pub memory_mib: Option<u32>,
}

/// One launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunTask {
    /// The same for the same attempt: ECS starts one task for it, whoever asks how often.
    pub client_token: String,
    /// Who it is; comes back in events and descriptions.
    pub started_by: String,
    /// ARN of the task definition.
    pub definition: String,
    /// In 1/1024 vCPU: a size that exists.
    pub cpu_units: u32,
    /// A size that exists.
    pub memory_mib: u32,
    /// Gibibytes of scratch space; none leaves the default.
    pub ephemeral_gib: Option<u32>,
    /// On spare capacity, at a discount, and interrupted when it is needed elsewhere.
    pub spot: bool,
    /// What differs from the definition.
    pub containers: Vec<ContainerOverride>,
}

/// Why ECS placed nothing although it took the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EcsFailure {
    /// Such as `RESOURCE:CPU`, `AGENT`, `MISSING`, `Capacity is unavailable at this time`.
    pub reason: String,
    /// Empty when it says nothing more.
    pub detail: String,
}

/// What ECS answered to a launch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunReply {
    /// ARNs of the tasks.
    pub tasks: Vec<String>,
    /// What was not placed.
    pub failures: Vec<EcsFailure>,
}

/// A container as ECS describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// None while it runs, and when it never ran.
    pub exit_code: Option<i32>,
    /// Such as `OutOfMemoryError: Container killed due to memory usage`.
    pub reason: Option<String>,
}

/// A task as ECS describes it, in an answer or an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskView {
    /// Its ARN.
    pub arn: String,
    /// See [`RunTask::started_by`].
    pub started_by: String,
    /// `PROVISIONING`, …, `RUNNING`, …, `STOPPED`.
    pub last_status: String,
    /// `RUNNING`, or `STOPPED` once it is to stop.
    pub desired_status: String,
    /// Such as `TaskFailedToStart`.
    pub stop_code: Option<String>,
    /// For people; holds what the stop code leaves open.
    pub stopped_reason: Option<String>,
    /// Its containers; may be empty when it never started.
    pub containers: Vec<ContainerView>,
    /// Counts changes; a larger one is newer.
    pub version: i64,
    /// Milliseconds since the epoch.
    pub created_ms: Option<u64>,
    /// Milliseconds since the epoch; none when it never ran.
    pub started_ms: Option<u64>,
    /// Milliseconds since the epoch.
    pub stopped_ms: Option<u64>,
}

impl TaskView {
    /// Whether nothing of it is alive.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.last_status == "STOPPED"
    }
}

/// Why ECS did not answer as asked. Code and message are ECS's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ECS answered {code}: {message}")]
pub struct EcsError {
    /// Such as `ThrottlingException`; `Timeout` when there was no answer.
    pub code: String,
    /// ECS's message.
    pub message: String,
    /// Of a `ConflictException`: the tasks that were started with the same token.
    pub resource_ids: Vec<String>,
}

/// ECS, one cluster of it.
#[async_trait]
pub trait Ecs: Send + Sync {
    /// Registers a task definition; its ARN.
    async fn register(&self, definition: &TaskDefinition) -> Result<String, EcsError>;
    /// Starts one task.
    async fn run_task(&self, run: &RunTask) -> Result<RunReply, EcsError>;
    /// Tasks by ARN, [`ECS_PAGE_MAX`] at most; those that are unknown are missing in the answer.
    async fn describe(&self, arns: &[String]) -> Result<Vec<TaskView>, EcsError>;
    /// ARNs of tasks with this `startedBy` (none: all), whose desired status is `STOPPED` or (`false`) `RUNNING`.
    /// One page, and where the next begins.
    async fn list(
        &self,
        started_by: Option<&str>,
        stopped: bool,
        next: Option<String>,
    ) -> Result<(Vec<String>, Option<String>), EcsError>;
    /// Asks a task to stop. It is stopped only when a description says so.
    async fn stop(&self, arn: &str, reason: &str) -> Result<(), EcsError>;
}

/// Names of secrets, as ECS wants them: what launches a container never sees a value.
#[async_trait]
pub trait SecretNames: Send + Sync {
    /// The ARN of a secret that a flow of `namespace` may use.
    async fn arn(&self, namespace: &str, name: &str) -> Result<String, super::SecretError>;
}
