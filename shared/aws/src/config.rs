//! Every environment variable of the functions, in one struct.
//!
//! Invariant: a function that starts has everything its role needs; what is missing or malformed is named all at
//! once, so that a deployment is mended in one go and not variable by variable.

use std::fmt;

/// Bytes of a variable at most: AWS allows 4 KiB for all variables of a function together.
const VALUE_MAX: usize = 4096;

/// Which function, or tool, reads the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Events become executions.
    Intake,
    /// Events of shards become decisions.
    Planner,
    /// Attempts become Fargate tasks.
    Launcher,
    /// Built-in tasks.
    Worker,
    /// Changes of Fargate tasks become events.
    Watcher,
    /// Asks the runtime for the truth.
    Reconciler,
    /// HTTP.
    Api,
    /// The command line: it reads and writes state and sends events.
    Cli,
}

impl Role {
    /// All of them, in the order in which data passes.
    pub const ALL: [Self; 8] = [
        Self::Intake,
        Self::Planner,
        Self::Launcher,
        Self::Worker,
        Self::Watcher,
        Self::Reconciler,
        Self::Api,
        Self::Cli,
    ];

    /// Its name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Planner => "planner",
            Self::Launcher => "launcher",
            Self::Worker => "worker",
            Self::Watcher => "watcher",
            Self::Reconciler => "reconciler",
            Self::Api => "api",
            Self::Cli => "cli",
        }
    }

    /// Whether it cannot do without the variable.
    #[must_use]
    pub const fn needs(self, variable: Variable) -> bool {
        use Variable as V;
        match variable {
            V::Stage | V::StateTable | V::DataBucket | V::PlanQueueUrl => true,
            // Who takes a message may have to put it back for later.
            V::LaunchQueueUrl => {
                matches!(self, Self::Planner | Self::Launcher | Self::Reconciler)
            }
            V::WorkQueueUrl => matches!(self, Self::Planner | Self::Worker | Self::Reconciler),
            V::Cluster => matches!(self, Self::Launcher | Self::Watcher | Self::Reconciler),
            V::Subnets
            | V::SecurityGroups
            | V::TaskRoleArn
            | V::ExecutionRoleArn
            | V::AgentImage => {
                matches!(self, Self::Launcher)
            }
            V::LogGroup => matches!(self, Self::Launcher | Self::Worker | Self::Api),
            V::SecretsPrefix => matches!(
                self,
                Self::Intake | Self::Planner | Self::Launcher | Self::Worker | Self::Api
            ),
            // A deployment need not send e-mail.
            V::MailFrom => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! variables {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// A variable of the environment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Variable {
            $(#[doc = $doc] $variant,)*
        }

        impl Variable {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in the environment.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it holds.
            #[must_use]
            pub const fn holds(self) -> &'static str {
                match self {
                    $(Self::$variant => $doc,)*
                }
            }
        }
    };
}

variables! {
    Stage "OPERON_STAGE" "Name of the deployment, such as `staging`.",
    StateTable "OPERON_STATE_TABLE" "Name of the state table.",
    DataBucket "OPERON_DATA_BUCKET" "Bucket of artifacts, plans and logs.",
    PlanQueueUrl "OPERON_PLAN_QUEUE_URL" "URL of the plan queue.",
    LaunchQueueUrl "OPERON_LAUNCH_QUEUE_URL" "URL of the launch queue.",
    WorkQueueUrl "OPERON_WORK_QUEUE_URL" "URL of the queue of built-in tasks.",
    Cluster "OPERON_CLUSTER" "ECS cluster in which attempts run.",
    Subnets "OPERON_SUBNETS" "Subnets of attempts, separated by commas.",
    SecurityGroups "OPERON_SECURITY_GROUPS" "Security groups of attempts, separated by commas.",
    TaskRoleArn "OPERON_TASK_ROLE_ARN" "Role of the containers of an attempt.",
    ExecutionRoleArn "OPERON_EXECUTION_ROLE_ARN" "Role by which ECS pulls images and writes logs.",
    AgentImage "OPERON_AGENT_IMAGE" "Image of the agent.",
    LogGroup "OPERON_LOG_GROUP" "Log group of attempts.",
    SecretsPrefix "OPERON_SECRETS_PREFIX" "First part of the names of secrets in Secrets Manager.",
    MailFrom "OPERON_MAIL_FROM" "Sender of e-mail, an identity that SES has verified; without it there is none.",
}

/// The environment of a function. What its role does not need is empty when it is not set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Name of the deployment.
    pub stage: String,
    /// Name of the state table.
    pub state_table: String,
    /// Bucket of artifacts, plans and logs.
    pub data_bucket: String,
    /// URL of the plan queue.
    pub plan_queue_url: String,
    /// URL of the launch queue.
    pub launch_queue_url: String,
    /// URL of the queue of built-in tasks.
    pub work_queue_url: String,
    /// ECS cluster in which attempts run.
    pub cluster: String,
    /// Subnets of attempts.
    pub subnets: Vec<String>,
    /// Security groups of attempts.
    pub security_groups: Vec<String>,
    /// Role of the containers of an attempt.
    pub task_role_arn: String,
    /// Role by which ECS pulls images and writes logs.
    pub execution_role_arn: String,
    /// Image of the agent.
    pub agent_image: String,
    /// Log group of attempts.
    pub log_group: String,
    /// First part of the names of secrets, without a slash at its end.
    pub secrets_prefix: String,
    /// Sender of e-mail, unless a message has one.
    pub mail_from: String,
}

/// What is wrong with the environment; all of it at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {role} function cannot start: {}; set them in the function's environment", .problems.join("; "))]
pub struct ConfigError {
    /// Who reads it.
    pub role: Role,
    /// One sentence per variable.
    pub problems: Vec<String>,
}

impl Config {
    /// Reads the environment of the process.
    pub fn from_env(role: Role) -> Result<Self, ConfigError> {
        Self::read(role, |name| std::env::var(name).ok())
    }

    /// Reads variables from anywhere.
    pub fn read(
        role: Role,
        value_of: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut problems = Vec::new();
        for &variable in Variable::ALL {
            let value = value_of(variable.name()).filter(|value| !value.trim().is_empty());
            match value {
                Some(value) => {
                    if let Err(problem) = config.set(variable, value.trim()) {
                        problems.push(format!("{} {problem}", variable.name()));
                    }
                }
                None if role.needs(variable) => {
                    problems.push(format!("{} is not set", variable.name()));
                }
                None => {}
            }
        }
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { role, problems })
        }
    }

    fn set(&mut self, variable: Variable, value: &str) -> Result<(), String> {
        if value.len() > VALUE_MAX {
            return Err(format!("has more than {VALUE_MAX} bytes"));
        }
        let text = match variable {
            Variable::Subnets => return Self::list(&mut self.subnets, value),
            Variable::SecurityGroups => return Self::list(&mut self.security_groups, value),
            Variable::Stage => &mut self.stage,
            Variable::StateTable => &mut self.state_table,
            Variable::DataBucket => &mut self.data_bucket,
            Variable::PlanQueueUrl => &mut self.plan_queue_url,
            Variable::LaunchQueueUrl => &mut self.launch_queue_url,
            Variable::WorkQueueUrl => &mut self.work_queue_url,
            Variable::Cluster => &mut self.cluster,
            Variable::TaskRoleArn => &mut self.task_role_arn,
            Variable::ExecutionRoleArn => &mut self.execution_role_arn,
            Variable::AgentImage => &mut self.agent_image,
            Variable::LogGroup => &mut self.log_group,
            Variable::SecretsPrefix => &mut self.secrets_prefix,
            Variable::MailFrom => &mut self.mail_from,
        };
        check(variable, value)?;
        value.trim_end_matches('/').clone_into(text);
        Ok(())
    }

    fn list(place: &mut Vec<String>, value: &str) -> Result<(), String> {
        let parts = value.split(',').map(str::trim);
        *place = parts
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        if place.is_empty() {
            return Err("holds no name".to_owned());
        }
        Ok(())
    }
}

/// Whether a value looks like what the variable holds; the error continues `NAME …`.
fn check(variable: Variable, value: &str) -> Result<(), String> {
    let begins = |beginnings: &[&str]| {
        if beginnings.iter().any(|start| value.starts_with(start)) {
            Ok(())
        } else {
            Err(format!(
                "is `{}`; expected something that begins with `{}`",
                value.chars().take(80).collect::<String>(),
                beginnings.join("` or `")
            ))
        }
    };
    match variable {
        Variable::PlanQueueUrl | Variable::LaunchQueueUrl | Variable::WorkQueueUrl => {
            begins(&["https://", "http://"])
        }
        Variable::TaskRoleArn | Variable::ExecutionRoleArn => begins(&["arn:"]),
        Variable::Stage
        | Variable::StateTable
        | Variable::DataBucket
        | Variable::Cluster
        | Variable::Subnets
        | Variable::SecurityGroups
        | Variable::AgentImage
        | Variable::LogGroup
        | Variable::SecretsPrefix
        | Variable::MailFrom => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[allow(clippy::unnecessary_wraps, reason = "has the form of an environment")]
    fn full(name: &'static str) -> Option<String> {
        Some(match name {
            "OPERON_PLAN_QUEUE_URL" | "OPERON_LAUNCH_QUEUE_URL" | "OPERON_WORK_QUEUE_URL" => {
                "https://sqs.example/1/q".to_owned()
            }
            "OPERON_TASK_ROLE_ARN" | "OPERON_EXECUTION_ROLE_ARN" => {
                "arn:aws:iam::1:role/r".to_owned()
            }
            "OPERON_SUBNETS" => "subnet-a, subnet-b,".to_owned(),
            "OPERON_SECRETS_PREFIX" => "operon/staging/".to_owned(),
            other => other.to_lowercase(),
        })
    }

    #[test]
    fn a_full_environment_serves_every_role() {
        for role in Role::ALL {
            let config = Config::read(role, full).unwrap();
            assert_eq!(config.subnets, ["subnet-a", "subnet-b"]);
            assert_eq!(config.secrets_prefix, "operon/staging");
            assert_eq!(config.state_table, "operon_state_table");
        }
    }

    #[test]
    fn what_is_missing_or_malformed_is_named_at_once() {
        let some = |name| match name {
            "OPERON_STAGE" | "OPERON_STATE_TABLE" => Some("x".to_owned()),
            "OPERON_PLAN_QUEUE_URL" => Some("plan".to_owned()),
            "OPERON_WORK_QUEUE_URL" => Some("  ".to_owned()),
            _ => None,
        };
        let error = Config::read(Role::Planner, some).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the planner function cannot start: OPERON_DATA_BUCKET is not set; OPERON_PLAN_QUEUE_URL is \
             `plan`; expected something that begins with `https://` or `http://`; OPERON_LAUNCH_QUEUE_URL \
             is not set; OPERON_WORK_QUEUE_URL is not set; OPERON_SECRETS_PREFIX is not set; set them in \
             the function's environment"
        );
    }

    #[test]
    fn a_role_does_without_what_it_does_not_need() {
        for role in Role::ALL {
            let needed = |name| {
                let variable = Variable::ALL.iter().find(|v| v.name() == name).copied();
                full(name).filter(|_| variable.is_some_and(|variable| role.needs(variable)))
            };
            assert!(Config::read(role, needed).is_ok(), "{role}");
        }
    }

    #[test]
    fn a_value_has_a_limit() {
        let long = |name| match name {
            "OPERON_STAGE" => Some("x".repeat(VALUE_MAX + 1)),
            other => full(other),
        };
        let error = Config::read(Role::Cli, long).unwrap_err();
        assert_eq!(error.problems, ["OPERON_STAGE has more than 4096 bytes"]);
    }
}
