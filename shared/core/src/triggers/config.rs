//! What a trigger of a flow says, with types: read once from the properties that the language has checked.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use regex::Regex;
use serde_json::{Map, Value};

use super::batch::Limits;
use super::schedule::Schedule;
use super::signature::Signature;
use super::size::Wish;
use super::window::{Mode, Window};

mod read;
#[cfg(test)]
mod tests;

/// Why a trigger cannot be used. Flows that parse give none of these, but for a time zone that is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("trigger `{trigger}`: {reason}")]
pub struct ConfigError {
    /// Its id.
    pub trigger: String,
    /// What is wrong.
    pub reason: String,
}

/// How events are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// When a batch is full and when it must go.
    pub limits: Limits,
    /// Template; events with equal values go together.
    pub group_by: Option<String>,
    /// The size is chosen from measurements.
    pub dynamic: Option<Wish>,
    /// Task that is measured; the execution as a whole without it.
    pub task: Option<String>,
}

/// What fires a trigger.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Dates.
    Schedule(Box<Schedule>),
    /// Executions of other flows.
    Flow(Box<FlowTrigger>),
    /// Calls.
    Webhook(Box<Webhook>),
    /// Objects.
    S3(Box<Objects>),
    /// Messages of a queue.
    Sqs {
        /// Its address or ARN.
        queue: String,
        /// Bodies are JSON.
        json: bool,
    },
    /// Messages of a topic.
    Sns {
        /// Its ARN.
        topic: String,
        /// Which messages.
        filter: Map<String, Value>,
    },
    /// Events of a bus.
    EventBridge {
        /// Which events.
        pattern: Map<String, Value>,
        /// Name of the bus.
        bus: String,
    },
    /// An alarm.
    Alarm {
        /// Its name.
        name: String,
        /// States that fire.
        states: Vec<String>,
    },
    /// Rows of a query.
    Postgres(Box<Postgres>),
    /// Answers of an address.
    Http(Box<Http>),
}

/// Executions of other flows.
#[derive(Debug, Clone)]
pub struct FlowTrigger {
    /// What must have ended.
    pub depends_on: Vec<Dependency>,
    /// How many of them.
    pub mode: Mode,
    /// Within which time.
    pub window: Window,
    /// At most once per window.
    pub fire_once: bool,
    /// Labels of the `FAILED` execution when a window passed in vain; none when nothing happens then.
    pub on_miss: Option<BTreeMap<String, String>>,
    /// In which times of day are meant.
    pub zone: TimeZone,
}

/// An execution that must have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The flow; every one of the namespace without it.
    pub flow: Option<String>,
    /// The namespace; the trigger's own without it.
    pub namespace: Option<String>,
    /// States that count.
    pub states: Vec<String>,
    /// Labels the execution must have.
    pub labels: BTreeMap<String, String>,
    /// Condition template.
    pub when: Option<String>,
}

/// Calls of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Template of the secret part of the address.
    pub key: String,
    /// How calls are signed.
    pub signature: Option<Signature>,
    /// Answer when the execution has ended.
    pub wait: bool,
    /// With the flow's outputs.
    pub return_outputs: bool,
    /// Of the answer.
    pub content_type: String,
    /// Of the answer.
    pub status: Option<u16>,
}

/// Objects of a bucket.
#[derive(Debug, Clone)]
pub struct Objects {
    /// The bucket.
    pub bucket: String,
    /// Keys that begin so.
    pub prefix: String,
    /// Keys that end so.
    pub suffix: String,
    /// Keys that match.
    pub regexp: Option<Regex>,
    /// Bytes at least and at most.
    pub size: (u64, u64),
    /// What becomes of an object that is an execution.
    pub action: Action,
}

/// What becomes of an object that is an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It stays.
    Stay,
    /// It is deleted.
    Delete,
    /// It is moved.
    Move {
        /// To this bucket.
        bucket: String,
        /// Template of the directory.
        directory: String,
    },
}

impl Objects {
    /// Whether the trigger is meant by an object.
    #[must_use]
    pub fn matches(&self, bucket: &str, key: &str, size: u64) -> bool {
        self.bucket == bucket
            && key.starts_with(&self.prefix)
            && key.ends_with(&self.suffix)
            && (self.size.0..=self.size.1).contains(&size)
            && self
                .regexp
                .as_ref()
                .is_none_or(|regexp| regexp.is_match(key))
    }
}

/// Rows of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Postgres {
    /// Template of the address.
    pub url: String,
    /// Template.
    pub username: Option<String>,
    /// Template.
    pub password: Option<String>,
    /// The query.
    pub sql: String,
    /// Column whose greatest value is remembered.
    pub cursor: Option<String>,
    /// Value before the first row.
    pub initial: Option<String>,
    /// Connections are encrypted.
    pub ssl: bool,
    /// Channel whose notifications make the local server look at once.
    pub listen: Option<String>,
    /// Time between two looks.
    pub interval_ms: u64,
}

/// Answers of an address.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Properties as templates: `uri`, `headers`, `params`, `body`, `contentType`.
    pub request: Map<String, Value>,
    /// HTTP method.
    pub method: String,
    /// Condition over `response.*`.
    pub condition: Option<String>,
    /// Template over `response.*` whose value names the state of what is looked at.
    pub cursor: Option<String>,
    /// Only a change fires.
    pub on_change: bool,
    /// The body is not read.
    pub headers_only: bool,
    /// Time between two looks.
    pub interval_ms: u64,
}

/// A trigger.
#[derive(Debug, Clone)]
pub struct Config {
    /// Unique in the flow.
    pub id: String,
    /// Canonical type.
    pub trigger_type: String,
    /// Never fires.
    pub disabled: bool,
    /// Values for the flow's inputs, as templates.
    pub inputs: Map<String, Value>,
    /// Labels, as templates.
    pub labels: Map<String, Value>,
    /// Condition template.
    pub when: Option<String>,
    /// States that disable the trigger.
    pub stop_after: Vec<String>,
    /// Executions may overlap.
    pub allow_concurrent: bool,
    /// Template of the event's identity.
    pub idempotency_key: Option<String>,
    /// What cannot be rendered makes a `FAILED` execution.
    pub fail_on_error: bool,
    /// Several events make one execution.
    pub batch: Option<Batch>,
    /// What fires it.
    pub kind: Kind,
}

impl Config {
    /// Time between two looks, for triggers that look.
    #[must_use]
    pub fn interval_ms(&self) -> Option<u64> {
        match &self.kind {
            Kind::Postgres(postgres) => Some(postgres.interval_ms),
            Kind::Http(http) => Some(http.interval_ms),
            Kind::Schedule(_)
            | Kind::Flow(_)
            | Kind::Webhook(_)
            | Kind::S3(_)
            | Kind::Sqs { .. }
            | Kind::Sns { .. }
            | Kind::EventBridge { .. }
            | Kind::Alarm { .. } => None,
        }
    }

    /// Whether its events wait before they start something: for others of their batch, or for the execution before.
    #[must_use]
    pub const fn waits(&self) -> bool {
        self.batch.is_some() || !self.allow_concurrent
    }

    /// Whether only AWS delivers what fires it.
    #[must_use]
    pub const fn needs_aws(&self) -> bool {
        match &self.kind {
            Kind::Sqs { .. } | Kind::Sns { .. } | Kind::EventBridge { .. } | Kind::Alarm { .. } => {
                true
            }
            Kind::Schedule(_)
            | Kind::Flow(_)
            | Kind::Webhook(_)
            | Kind::S3(_)
            | Kind::Postgres(_)
            | Kind::Http(_) => false,
        }
    }

    /// Whether it does something with the objects that fired it.
    #[must_use]
    pub fn acts(&self) -> bool {
        matches!(&self.kind, Kind::S3(objects) if objects.action != Action::Stay)
    }

    /// The type as people write it.
    #[must_use]
    pub const fn short_type(&self) -> &'static str {
        match &self.kind {
            Kind::Schedule(_) => "schedule",
            Kind::Flow(_) => "flow",
            Kind::Webhook(_) => "webhook",
            Kind::S3(_) => "s3",
            Kind::Sqs { .. } => "sqs",
            Kind::Sns { .. } => "sns",
            Kind::EventBridge { .. } => "eventbridge",
            Kind::Alarm { .. } => "cloudwatch",
            Kind::Postgres(_) => "postgres",
            Kind::Http(_) => "http",
        }
    }
}
