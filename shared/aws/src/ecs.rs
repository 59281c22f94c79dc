//! ECS over the SDK: what the engine asks of a cluster, on Fargate.
//!
//! The engine decides what an answer means; here its code and text are only passed on. Invariant: a launch carries
//! its token through every transmission, so the SDK's own repetitions start one task.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_ecs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::{
    AssignPublicIp, AwsVpcConfiguration, CapacityProviderStrategyItem, Compatibility,
    ContainerDefinition as Container, ContainerDependency, ContainerOverride as Override,
    DesiredStatus, EphemeralStorage, FirelensConfiguration, FirelensConfigurationType,
    KeyValuePair, LinuxParameters, LogConfiguration, LogDriver, MountPoint, NetworkConfiguration,
    NetworkMode, RepositoryCredentials, Secret, Task, TaskOverride, Volume,
};
use operon_engine::ports::{
    ContainerDefinition, ContainerView, Ecs, EcsError, EcsFailure, Output, RunReply, RunTask,
    SecretError, SecretNames, TaskDefinition, TaskView,
};
use serde_json::Value;

use crate::config::Config;
use crate::parameters::Wanted;
use crate::sdk::Sdk;
use crate::secrets::{Kept, ManagedSecrets};

/// Bytes of an error's text at most.
const TEXT_MAX: usize = 600;

/// A cluster, and where its tasks live in the network.
#[derive(Debug, Clone)]
pub struct FargateEcs {
    client: aws_sdk_ecs::Client,
    cluster: String,
    subnets: Vec<String>,
    security_groups: Vec<String>,
    region: String,
}

impl FargateEcs {
    /// The cluster of a deployment.
    #[must_use]
    pub fn new(sdk: &Sdk, config: &Config) -> Self {
        let region = sdk.config().region();
        Self {
            client: sdk.ecs(),
            cluster: config.cluster.clone(),
            subnets: config.subnets.clone(),
            security_groups: config.security_groups.clone(),
            region: region.map_or_else(String::new, ToString::to_string),
        }
    }

    fn network(&self) -> Result<NetworkConfiguration, EcsError> {
        let vpc = AwsVpcConfiguration::builder()
            .set_subnets(Some(self.subnets.clone()))
            .set_security_groups(Some(self.security_groups.clone()))
            // Public subnets and no NAT gateway: nothing costs while nothing runs (aws.md 2.4).
            .assign_public_ip(AssignPublicIp::Enabled)
            .build()
            .map_err(incomplete)?;
        Ok(NetworkConfiguration::builder()
            .awsvpc_configuration(vpc)
            .build())
    }

    fn container(
        &self,
        task: &TaskDefinition,
        container: &ContainerDefinition,
    ) -> Result<Container, EcsError> {
        let depends_on: Result<Vec<ContainerDependency>, _> = container
            .depends_on
            .iter()
            .map(|(name, condition)| {
                ContainerDependency::builder()
                    .container_name(name)
                    .condition(condition.as_str().into())
                    .build()
            })
            .collect();
        let secrets: Result<Vec<Secret>, _> = container
            .secrets
            .iter()
            .map(|(name, arn)| Secret::builder().name(name).value_from(arn).build())
            .collect();
        let logs = match container.output {
            Output::Group | Output::Router => LogConfiguration::builder()
                .log_driver(LogDriver::Awslogs)
                .options("awslogs-group", &task.log_group)
                .options("awslogs-region", &self.region)
                // An account may have it otherwise, and then lines are dropped that nobody misses.
                .options("mode", "blocking")
                .options("awslogs-stream-prefix", "operon"),
            Output::Routed => LogConfiguration::builder().log_driver(LogDriver::Awsfirelens),
        };
        let logs = logs.build().map_err(incomplete)?;
        let router = (container.output == Output::Router).then(|| {
            FirelensConfiguration::builder()
                .r#type(FirelensConfigurationType::Fluentbit)
                .build()
        });
        let router = router.transpose().map_err(incomplete)?;
        let linux = container.init.then(|| {
            LinuxParameters::builder()
                .init_process_enabled(true)
                .build()
        });
        let mount = container.mount.as_ref().map(|path| {
            MountPoint::builder()
                .source_volume(&task.volume)
                .container_path(path)
                .build()
        });
        let seconds = container
            .stop_timeout_s
            .and_then(|seconds| i32::try_from(seconds).ok());
        let login = container.repository_credentials.as_ref().map(|arn| {
            RepositoryCredentials::builder()
                .credentials_parameter(arn)
                .build()
        });
        let login = login.transpose().map_err(incomplete)?;
        Ok(Container::builder()
            .set_repository_credentials(login)
            .name(&container.name)
            .image(&container.image)
            .essential(container.essential)
            .set_entry_point(container.entry_point.clone())
            .set_command(container.command.clone())
            .set_working_directory(container.working_directory.clone())
            .set_user(container.user.clone())
            .set_environment(Some(pairs(&container.environment)))
            .set_secrets(Some(secrets.map_err(incomplete)?))
            .set_depends_on(Some(depends_on.map_err(incomplete)?))
            .set_mount_points(mount.map(|mount| vec![mount]))
            .set_stop_timeout(seconds)
            .log_configuration(logs)
            .set_firelens_configuration(router)
            .set_linux_parameters(linux)
            .build())
    }
}

fn pairs(environment: &[(String, String)]) -> Vec<KeyValuePair> {
    environment
        .iter()
        .map(|(name, value)| KeyValuePair::builder().name(name).value(value).build())
        .collect()
}

fn incomplete(error: impl std::fmt::Display) -> EcsError {
    EcsError {
        code: "InvalidParameterException".to_owned(),
        message: error.to_string(),
        resource_ids: Vec::new(),
    }
}

/// ECS's own code and text; `Timeout` when there was no answer.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the SDK's list of errors is open"
)]
fn error<E, R>(error: &SdkError<E, R>) -> EcsError
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let shown = |text: String| -> String { text.chars().take(TEXT_MAX).collect() };
    match error {
        SdkError::ServiceError(service) => EcsError {
            code: service.err().code().unwrap_or("Unknown").to_owned(),
            message: shown(service.err().message().unwrap_or_default().to_owned()),
            resource_ids: Vec::new(),
        },
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            EcsError {
                code: "Timeout".to_owned(),
                message: shown(DisplayErrorContext(error).to_string()),
                resource_ids: Vec::new(),
            }
        }
        // The enum is open; what is left was never sent.
        #[allow(clippy::wildcard_enum_match_arm, reason = "not our enum")]
        _ => EcsError {
            code: "RequestError".to_owned(),
            message: shown(DisplayErrorContext(error).to_string()),
            resource_ids: Vec::new(),
        },
    }
}

fn millis(time: Option<&DateTime>) -> Option<u64> {
    u64::try_from(time?.to_millis().ok()?).ok()
}

fn view(task: &Task) -> TaskView {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    TaskView {
        arn: text(task.task_arn()),
        started_by: text(task.started_by()),
        last_status: text(task.last_status()),
        desired_status: text(task.desired_status()),
        stop_code: task.stop_code().map(|code| code.as_str().to_owned()),
        stopped_reason: task.stopped_reason().map(str::to_owned),
        containers: task
            .containers()
            .iter()
            .map(|container| ContainerView {
                name: text(container.name()),
                exit_code: container.exit_code(),
                reason: container.reason().map(str::to_owned),
            })
            .collect(),
        version: task.version(),
        created_ms: millis(task.created_at()),
        started_ms: millis(task.started_at()),
        stopped_ms: millis(task.stopped_at()),
    }
}

#[async_trait]
impl Ecs for FargateEcs {
    async fn register(&self, definition: &TaskDefinition) -> Result<String, EcsError> {
        let containers: Result<Vec<Container>, EcsError> = definition
            .containers
            .iter()
            .map(|container| self.container(definition, container))
            .collect();
        let answer = self
            .client
            .register_task_definition()
            .family(&definition.family)
            .requires_compatibilities(Compatibility::Fargate)
            .network_mode(NetworkMode::Awsvpc)
            .cpu(definition.cpu_units.to_string())
            .memory(definition.memory_mib.to_string())
            .task_role_arn(&definition.task_role)
            .execution_role_arn(&definition.execution_role)
            .volumes(Volume::builder().name(&definition.volume).build())
            .set_container_definitions(Some(containers?))
            .send()
            .await
            .map_err(|failed| error(&failed))?;
        let arn = answer
            .task_definition()
            .and_then(|definition| definition.task_definition_arn());
        arn.map(str::to_owned).ok_or_else(|| EcsError {
            code: "ServerException".to_owned(),
            message: "the registered task definition has no ARN".to_owned(),
            resource_ids: Vec::new(),
        })
    }

    async fn run_task(&self, run: &RunTask) -> Result<RunReply, EcsError> {
        let containers: Vec<Override> = run
            .containers
            .iter()
            .map(|container| {
                Override::builder()
                    .name(&container.name)
                    .set_command(container.command.clone())
                    .set_environment(Some(pairs(&container.environment)))
                    .set_memory(container.memory_mib.and_then(|mib| i32::try_from(mib).ok()))
                    .build()
            })
            .collect();
        let storage = run.ephemeral_gib.and_then(|gib| {
            let gib = i32::try_from(gib).ok()?;
            Some(EphemeralStorage::builder().size_in_gib(gib).build())
        });
        let overrides = TaskOverride::builder()
            .cpu(run.cpu_units.to_string())
            .memory(run.memory_mib.to_string())
            .set_ephemeral_storage(storage)
            .set_container_overrides(Some(containers))
            .build();
        let provider = if run.spot { "FARGATE_SPOT" } else { "FARGATE" };
        let capacity = CapacityProviderStrategyItem::builder()
            .capacity_provider(provider)
            .weight(1)
            .build()
            .map_err(incomplete)?;
        let answer = self
            .client
            .run_task()
            .cluster(&self.cluster)
            .task_definition(&run.definition)
            .client_token(&run.client_token)
            .started_by(&run.started_by)
            .count(1)
            .capacity_provider_strategy(capacity)
            .network_configuration(self.network()?)
            .overrides(overrides)
            .send()
            .await
            .map_err(|failed| {
                let ids = failed.as_service_error().and_then(|service| {
                    use aws_sdk_ecs::operation::run_task::RunTaskError;
                    if let RunTaskError::ConflictException(conflict) = service {
                        Some(conflict.resource_ids().to_vec())
                    } else {
                        None
                    }
                });
                EcsError {
                    resource_ids: ids.unwrap_or_default(),
                    ..error(&failed)
                }
            })?;
        let tasks = answer.tasks().iter();
        let failures = answer.failures().iter();
        Ok(RunReply {
            tasks: tasks
                .filter_map(|task| task.task_arn().map(str::to_owned))
                .collect(),
            failures: failures
                .map(|failure| EcsFailure {
                    reason: failure.reason().unwrap_or_default().to_owned(),
                    detail: failure.detail().unwrap_or_default().to_owned(),
                })
                .collect(),
        })
    }

    async fn describe(&self, arns: &[String]) -> Result<Vec<TaskView>, EcsError> {
        if arns.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self
            .client
            .describe_tasks()
            .cluster(&self.cluster)
            .set_tasks(Some(arns.to_vec()))
            .send()
            .await
            .map_err(|failed| error(&failed))?;
        Ok(answer.tasks().iter().map(view).collect())
    }

    async fn list(
        &self,
        started_by: Option<&str>,
        stopped: bool,
        next: Option<String>,
    ) -> Result<(Vec<String>, Option<String>), EcsError> {
        let status = if stopped {
            DesiredStatus::Stopped
        } else {
            DesiredStatus::Running
        };
        let answer = self
            .client
            .list_tasks()
            .cluster(&self.cluster)
            .desired_status(status)
            .set_started_by(started_by.map(str::to_owned))
            .set_next_token(next)
            .send()
            .await
            .map_err(|failed| error(&failed))?;
        let more = answer.next_token().map(str::to_owned);
        Ok((answer.task_arns().to_vec(), more))
    }

    async fn stop(&self, arn: &str, reason: &str) -> Result<(), EcsError> {
        let stopped = self
            .client
            .stop_task()
            .cluster(&self.cluster)
            .task(arn)
            .reason(reason)
            .send()
            .await;
        match stopped {
            Ok(_) => Ok(()),
            // It is gone: nothing is left to stop.
            Err(failed)
                if failed
                    .as_service_error()
                    .and_then(ProvideErrorMetadata::message)
                    .is_some_and(|text| text.contains("not found")) =>
            {
                Ok(())
            }
            Err(failed) => Err(error(&failed)),
        }
    }
}

/// ARNs of secrets, looked up by name; values are never read.
pub struct SecretArns {
    secrets: Arc<ManagedSecrets>,
    /// ARNs by full name. A loop of thousands asks for the same ones, and Parameter Store answers 40 times a second.
    kept: Kept,
}

impl std::fmt::Debug for SecretArns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretArns").finish_non_exhaustive()
    }
}

impl SecretArns {
    /// ARNs of the secrets that `secrets` would find.
    #[must_use]
    pub fn new(secrets: Arc<ManagedSecrets>) -> Self {
        Self {
            kept: secrets.nothing_kept(),
            secrets,
        }
    }

    /// The ARN of a secret by its full name, in either store.
    async fn ask(&self, full: &str) -> Result<Option<String>, SecretError> {
        let Some(answer) = self.secrets.manager.ask("DescribeSecret", full).await? else {
            let found = self
                .secrets
                .parameters
                .find(full, Wanted::Encrypted)
                .await?;
            return Ok(found.map(|parameter| parameter.arn));
        };
        let arn = answer.get("ARN").and_then(Value::as_str).map(str::to_owned);
        let missing = || SecretError::Failed(format!("secret `{full}` has no ARN"));
        arn.ok_or_else(missing).map(Some)
    }
}

#[async_trait]
impl SecretNames for SecretArns {
    async fn arn(&self, namespace: &str, name: &str) -> Result<String, SecretError> {
        for full in self.secrets.names(namespace, name) {
            if let Some(arn) = self.kept.get(&full, self.ask(&full)).await? {
                return Ok(arn);
            }
        }
        Err(self.secrets.missing(namespace, name))
    }
}
