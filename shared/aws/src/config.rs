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
                matches!(
                    self,
                    Self::Planner | Self::Launcher | Self::Reconciler | Self::Api
                )
            }
            V::WorkQueueUrl => matches!(
                self,
                Self::Intake | Self::Planner | Self::Worker | Self::Reconciler | Self::Api
            ),
            // Whoever reads logs asks ECS which task an attempt is.
            V::Cluster => matches!(
                self,
                Self::Launcher | Self::Worker | Self::Watcher | Self::Reconciler | Self::Api
            ),
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
            V::ScheduleGroup | V::ScheduleRoleArn => matches!(self, Self::Api),
            V::IntakeQueueArn => matches!(self, Self::Intake | Self::Api),
            // A deployment need not send e-mail, and there are two ways to know who calls: see `complete`.
            V::MailFrom
            | V::UploadBucket
            | V::ConsoleUrl
            | V::OidcIssuer
            | V::OidcAudience
            | V::OidcKeysUrl
            | V::OidcRoleClaim
            | V::OidcGroups
            | V::IamRoles
            | V::LogLevel
            | V::OtlpEndpoint
            | V::OtlpTracesEndpoint
            | V::OtlpHeaders
            | V::OtlpService => false,
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
    SecretsPrefix "OPERON_SECRETS_PREFIX" "First part of the names of secrets in Secrets Manager, and after a slash in Parameter Store.",
    MailFrom "OPERON_MAIL_FROM" "Sender of e-mail, an identity that SES has verified; without it there is none.",
    ConsoleUrl "OPERON_CONSOLE_URL" "Address of the console, for links in messages.",
    OidcIssuer "OPERON_OIDC_ISSUER" "Issuer whose tokens are believed, exactly as `iss` says it; without it none are.",
    OidcAudience "OPERON_OIDC_AUDIENCE" "The `aud` of its tokens, or `client_id` of access tokens of Cognito; for signing in to the console the client's id.",
    OidcKeysUrl "OPERON_OIDC_KEYS_URL" "Where it publishes its keys; without it `/.well-known/jwks.json` below the issuer.",
    OidcRoleClaim "OPERON_OIDC_ROLE_CLAIM" "The claim with the role or a list of groups; without it `roles`.",
    OidcGroups "OPERON_OIDC_GROUPS" "Groups and their roles, such as `ops=operator,all=viewer`.",
    IamRoles "OPERON_IAM_ROLES" "Patterns of ARNs and their roles, `arn:…/ops/*=operator;…`; without it no signed requests.",
    ScheduleGroup "OPERON_SCHEDULE_GROUP" "Group of EventBridge Scheduler that holds the schedules of triggers.",
    ScheduleRoleArn "OPERON_SCHEDULE_ROLE_ARN" "Role by which these schedules send to the intake queue.",
    IntakeQueueArn "OPERON_INTAKE_QUEUE_ARN" "ARN of the intake queue.",
    UploadBucket "OPERON_UPLOAD_BUCKET" "A further bucket whose uploads come to the intake.",
    LogLevel "AWS_LAMBDA_LOG_LEVEL" "Lambda's own variable: the least important lines that are written, `INFO` at least, which it is without it.",
    OtlpEndpoint "OTEL_EXPORTER_OTLP_ENDPOINT" "OpenTelemetry's own variable: the collector of traces, to which `/v1/traces` is added; without it there are none.",
    OtlpTracesEndpoint "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" "The whole address of the collector for traces.",
    OtlpHeaders "OTEL_EXPORTER_OTLP_HEADERS" "Headers for the collector, `name=value,name=value`.",
    OtlpService "OTEL_SERVICE_NAME" "The service's name in traces; without it `operon`.",
}

/// A value that may hold keys: nothing prints it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Unprinted(pub String);

impl fmt::Debug for Unprinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "***" })
    }
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
    /// Address of the console, without a slash at its end.
    pub console_url: String,
    /// Issuer whose tokens are believed.
    pub oidc_issuer: String,
    /// For whom its tokens are.
    pub oidc_audience: String,
    /// Where its keys are.
    pub oidc_keys_url: String,
    /// The claim with the role.
    pub oidc_role_claim: String,
    /// Groups and their roles.
    pub oidc_groups: String,
    /// Patterns of ARNs and their roles.
    pub iam_roles: String,
    /// Group of the schedules of triggers.
    pub schedule_group: String,
    /// Role by which schedules send.
    pub schedule_role_arn: String,
    /// ARN of the intake queue.
    pub intake_queue_arn: String,
    /// A further bucket whose uploads come to the intake.
    pub upload_bucket: String,
    /// The least important lines that are written.
    pub log_level: String,
    /// The collector, to which `/v1/traces` is added.
    pub otlp_endpoint: String,
    /// The whole address of the collector for traces.
    pub otlp_traces_endpoint: String,
    /// Headers for the collector.
    pub otlp_headers: Unprinted,
    /// The service's name in traces.
    pub otlp_service: String,
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
        config.complete(role, &mut problems);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { role, problems })
        }
    }

    /// What one variable says about others.
    fn complete(&mut self, role: Role, problems: &mut Vec<String>) {
        if !matches!(role, Role::Api) {
            return;
        }
        if self.oidc_issuer.is_empty() {
            if self.iam_roles.is_empty() {
                let (one, other) = (Variable::OidcIssuer.name(), Variable::IamRoles.name());
                problems.push(format!(
                    "neither {one} nor {other} is set: nobody could call"
                ));
            }
            return;
        }
        if self.oidc_audience.is_empty() {
            let (audience, issuer) = (Variable::OidcAudience.name(), Variable::OidcIssuer.name());
            problems.push(format!("{audience} is not set although {issuer} is"));
        }
        if self.oidc_keys_url.is_empty() {
            let issuer = self.oidc_issuer.trim_end_matches('/');
            self.oidc_keys_url = format!("{issuer}/.well-known/jwks.json");
        }
        if self.oidc_role_claim.is_empty() {
            "roles".clone_into(&mut self.oidc_role_claim);
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
            Variable::ConsoleUrl => &mut self.console_url,
            // With its slash: tokens name it exactly so.
            Variable::OidcIssuer => return whole(variable, value, &mut self.oidc_issuer),
            Variable::OtlpTracesEndpoint => {
                return whole(variable, value, &mut self.otlp_traces_endpoint);
            }
            Variable::OtlpHeaders => return whole(variable, value, &mut self.otlp_headers.0),
            Variable::LogLevel => &mut self.log_level,
            Variable::OtlpEndpoint => &mut self.otlp_endpoint,
            Variable::OtlpService => &mut self.otlp_service,
            Variable::OidcAudience => &mut self.oidc_audience,
            Variable::OidcKeysUrl => &mut self.oidc_keys_url,
            Variable::OidcRoleClaim => &mut self.oidc_role_claim,
            Variable::OidcGroups => &mut self.oidc_groups,
            Variable::IamRoles => &mut self.iam_roles,
            Variable::ScheduleGroup => &mut self.schedule_group,
            Variable::ScheduleRoleArn => &mut self.schedule_role_arn,
            Variable::IntakeQueueArn => &mut self.intake_queue_arn,
            Variable::UploadBucket => &mut self.upload_bucket,
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

/// Keeps a value to its last slash.
fn whole(variable: Variable, value: &str, place: &mut String) -> Result<(), String> {
    check(variable, value)?;
    value.clone_into(place);
    Ok(())
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
        Variable::PlanQueueUrl
        | Variable::LaunchQueueUrl
        | Variable::WorkQueueUrl
        | Variable::ConsoleUrl
        | Variable::OidcIssuer
        | Variable::OidcKeysUrl
        | Variable::OtlpEndpoint
        | Variable::OtlpTracesEndpoint => begins(&["https://", "http://"]),
        Variable::TaskRoleArn
        | Variable::ExecutionRoleArn
        | Variable::ScheduleRoleArn
        | Variable::IntakeQueueArn
        | Variable::IamRoles => begins(&["arn:"]),
        Variable::Stage
        | Variable::StateTable
        | Variable::DataBucket
        | Variable::UploadBucket
        | Variable::Cluster
        | Variable::Subnets
        | Variable::SecurityGroups
        | Variable::AgentImage
        | Variable::LogGroup
        | Variable::SecretsPrefix
        | Variable::MailFrom
        | Variable::OidcAudience
        | Variable::OidcRoleClaim
        | Variable::OidcGroups
        | Variable::ScheduleGroup
        | Variable::LogLevel
        | Variable::OtlpHeaders
        | Variable::OtlpService => Ok(()),
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
            "OPERON_TASK_ROLE_ARN" | "OPERON_EXECUTION_ROLE_ARN" | "OPERON_SCHEDULE_ROLE_ARN" => {
                "arn:aws:iam::1:role/r".to_owned()
            }
            "OPERON_INTAKE_QUEUE_ARN" => "arn:aws:sqs:eu-central-1:1:intake".to_owned(),
            "OPERON_IAM_ROLES" => "arn:aws:*::1:*=admin".to_owned(),
            "OPERON_CONSOLE_URL"
            | "OPERON_OIDC_ISSUER"
            | "OPERON_OIDC_KEYS_URL"
            | "OTEL_EXPORTER_OTLP_ENDPOINT"
            | "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" => "https://id.example/".to_owned(),
            "OTEL_EXPORTER_OTLP_HEADERS" => "x-key=abc/".to_owned(),
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
            assert_eq!(config.otlp_endpoint, "https://id.example");
            // Whole, and printed nowhere.
            assert_eq!(config.otlp_headers.0, "x-key=abc/");
            assert!(!format!("{config:?}").contains("abc"));
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
                let or_signed = name == "OPERON_IAM_ROLES";
                full(name)
                    .filter(|_| or_signed || variable.is_some_and(|variable| role.needs(variable)))
            };
            assert!(Config::read(role, needed).is_ok(), "{role}");
        }
    }

    #[test]
    fn an_api_knows_who_calls() {
        let none = |name: &'static str| {
            full(name).filter(|_| !name.starts_with("OPERON_OIDC") && name != "OPERON_IAM_ROLES")
        };
        let error = Config::read(Role::Api, none).unwrap_err();
        assert_eq!(
            error.problems,
            ["neither OPERON_OIDC_ISSUER nor OPERON_IAM_ROLES is set: nobody could call"]
        );
        let issuer = |name: &'static str| {
            let left_out = ["OPERON_OIDC_KEYS_URL", "OPERON_OIDC_ROLE_CLAIM"];
            full(name).filter(|_| !left_out.contains(&name))
        };
        let config = Config::read(Role::Api, issuer).unwrap();
        assert_eq!(config.oidc_issuer, "https://id.example/");
        assert_eq!(
            config.oidc_keys_url,
            "https://id.example/.well-known/jwks.json"
        );
        assert_eq!(config.oidc_role_claim, "roles");
        let nobody = |name| issuer(name).filter(|_| name != "OPERON_OIDC_AUDIENCE");
        let error = Config::read(Role::Api, nobody).unwrap_err();
        assert_eq!(
            error.problems,
            ["OPERON_OIDC_AUDIENCE is not set although OPERON_OIDC_ISSUER is"]
        );
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
