//! What a flow says about its executions beside their tasks: locks, retries, who is told, service levels, guards,
//! reuse of outputs, sizes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::exec::Reason;
/// A lock that every execution of the flow takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Concurrency {
    /// Executions at once, at least 1.
    pub limit: u32,
    /// What happens to one too many.
    pub behavior: ConcurrencyBehavior,
    /// Template over inputs and labels; its value names the lock. Without it the flow has its own.
    /// A key that begins with `shared:` is shared by every flow of the namespace that uses it.
    pub key: Option<String>,
}

/// What happens to an execution that finds no free slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConcurrencyBehavior {
    /// Waits its turn.
    #[default]
    Queue,
    /// Ends `CANCELLED`.
    Cancel,
    /// Ends `FAILED`.
    Fail,
}

/// When a failed attempt is followed by another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// How long to wait.
    #[serde(flatten)]
    pub interval: RetryInterval,
    /// Attempts in all, the first included.
    pub max_attempts: Option<u8>,
    /// Milliseconds from the first attempt's launch after which no further one starts.
    pub max_duration_ms: Option<u64>,
    /// A task run that needed a retry ends `WARNING`.
    pub warning_on_retry: bool,
    /// Only attempts that failed for one of these are followed by another; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

impl Retry {
    /// Whether an attempt that failed for this reason is followed by another.
    #[must_use]
    pub fn takes(&self, reason: Reason) -> bool {
        self.reasons.is_empty() || self.reasons.contains(&reason)
    }
}

/// Wait between attempts, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
#[allow(missing_docs, reason = "the names are Kestra's and say it all")]
pub enum RetryInterval {
    #[serde(rename_all = "camelCase")]
    Constant { interval_ms: u64 },
    #[serde(rename_all = "camelCase")]
    Exponential {
        interval_ms: u64,
        max_interval_ms: u64,
        delay_factor: f64,
    },
    #[serde(rename_all = "camelCase")]
    Random {
        min_interval_ms: u64,
        max_interval_ms: u64,
    },
}

impl RetryInterval {
    /// Milliseconds to wait after the `tries`-th try, from 1. Equal seeds give equal delays, so two planners agree.
    #[must_use]
    pub fn delay_ms(&self, tries: u8, seed: u64) -> u64 {
        match self {
            Self::Constant { interval_ms } => *interval_ms,
            Self::Exponential {
                interval_ms,
                max_interval_ms,
                delay_factor,
            } => {
                let factor = delay_factor.max(1.0).powi(i32::from(tries.max(1)) - 1);
                // Delays are small against 2^53 ms; the cast saturates beyond.
                #[allow(
                    clippy::cast_precision_loss,
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss
                )]
                let delay = (*interval_ms as f64 * factor) as u64;
                delay.min(*max_interval_ms)
            }
            Self::Random {
                min_interval_ms,
                max_interval_ms,
            } => {
                let span = max_interval_ms
                    .saturating_sub(*min_interval_ms)
                    .saturating_add(1);
                min_interval_ms.saturating_add(mix(seed) % span)
            }
        }
    }
}

/// Spreads a seed over 64 bits (the finaliser of `SplitMix64`, Steele et al. 2014).
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// What happens to a failed execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowRetry {
    /// When and how often.
    #[serde(flatten)]
    pub retry: Retry,
    /// How.
    pub behavior: FlowRetryBehavior,
}

/// How a failed execution is tried again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FlowRetryBehavior {
    /// The same execution goes on with its failed tasks.
    #[default]
    RetryFailedTask,
    /// A new execution with the same inputs; this one ends `RETRIED`.
    CreateNewExecution,
}

/// Who is told about executions that end, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notify {
    /// Unique in the flow.
    pub id: String,
    /// Kestra's names of terminal states, and `SLA`.
    pub states: Vec<String>,
    /// Where to.
    pub channel: Channel,
    /// Milliseconds for which failures after a message wait for each other.
    pub group_wait_ms: u64,
    /// Whether the end of an incident is told.
    pub recovery: bool,
}

/// Where an alert goes. Texts may be templates; those with secrets are rendered only when a message is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Channel {
    /// An incoming webhook of Slack.
    #[serde(rename_all = "camelCase")]
    Slack {
        /// Its address.
        url: String,
    },
    /// E-mail.
    #[serde(rename_all = "camelCase")]
    Email {
        /// Addresses.
        to: Vec<String>,
        /// Sender; none takes that of the installation.
        from: Option<String>,
    },
    /// A topic of Amazon SNS.
    #[serde(rename_all = "camelCase")]
    Sns {
        /// Which.
        topic_arn: String,
    },
    /// Any HTTP service.
    #[serde(rename_all = "camelCase")]
    Webhook {
        /// Its address.
        url: String,
        /// Request headers.
        headers: BTreeMap<String, String>,
    },
    /// `PagerDuty`'s Events API v2.
    #[serde(rename_all = "camelCase")]
    Pagerduty {
        /// Key of the integration.
        routing_key: String,
        /// Address of the service.
        url: String,
    },
}

/// A service level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sla {
    /// Unique in the flow.
    pub id: String,
    /// What is watched.
    pub kind: SlaKind,
    /// What a breach does.
    pub behavior: SlaBehavior,
    /// Added to the execution on a breach.
    pub labels: BTreeMap<String, String>,
}

/// What a service level watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", tag = "type")]
#[allow(missing_docs, reason = "the names are Kestra's and say it all")]
pub enum SlaKind {
    #[serde(rename_all = "camelCase")]
    MaxDuration { duration_ms: u64 },
    #[serde(rename_all = "camelCase")]
    ExecutionAssertion { assert: String },
}

/// What a breach of a service level does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "the names are Kestra's and say it all")]
pub enum SlaBehavior {
    Cancel,
    Fail,
    None,
}

/// A guard evaluated before an execution is created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Condition template; must be true.
    pub when: String,
    /// Shown when it is not. May be a template.
    pub message: String,
    /// What happens when it is not.
    pub behavior: CheckBehavior,
}

/// What a guard that does not hold does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "the names are Kestra's and say it all")]
pub enum CheckBehavior {
    #[default]
    BlockExecution,
    FailExecution,
    CreateExecution,
}

/// Reuse of outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskCache {
    /// Off when false.
    pub enabled: bool,
    /// Milliseconds an entry lives; forever when absent.
    pub ttl_ms: Option<u64>,
}

/// What one attempt may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpu_milli: u32,
    /// Mebibytes.
    pub memory_mib: u32,
    /// Gibibytes of scratch space; 0 means the runner's default.
    pub ephemeral_gib: u32,
}

impl Default for Resources {
    /// A tenth of a CPU and no reservation of memory: shell glue should not wait for a free core.
    fn default() -> Self {
        Self {
            cpu_milli: 100,
            memory_mib: 0,
            ephemeral_gib: 0,
        }
    }
}
