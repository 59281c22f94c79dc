//! What travels between the functions: versioned JSON, one message per queue message.
//!
//! A message is only a hint, so it carries identities and facts, never a decision; data above its size goes by
//! reference (E12 of aws.md). Each message begins with the number of its format. A release reads its own and
//! its predecessor's; of a newer one it says so and leaves the message for the function that knows it, which
//! is how old and new functions work side by side during a canary.
//!
//! Invariant: what `encode` gives, `decode` reads; both refuse more than [`MESSAGE_BYTES_MAX`].

use operon_core::agent::AgentMessage;
use operon_core::exec::Event;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ports::{AttemptId, AttemptRow, ExecutionId, ExecutionMeta, Outgoing, ShardKey};
use crate::triggers::TriggerKey;

/// The format this release writes.
pub const FORMAT: u16 = 1;

/// Bytes of a message at most: four of the 64 KB that SQS bills as one request, and a quarter of what it
/// takes. The largest part is the outputs of a task run, of which 4 KiB travel.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Characters of the name of a fair lane (SQS's `MessageGroupId`).
const LANE_MAX: usize = 128;

/// On the plan queue.
#[derive(Debug, Clone, PartialEq)]
pub enum PlanMessage {
    /// Something happened to a shard.
    Event(Box<EventMessage>),
    /// What an attempt's agent says. Its format is `operon_core::agent`'s, and begins with `agent`.
    Agent(Box<AgentMessage>),
}

impl PlanMessage {
    /// The text of the message.
    pub fn encode(&self) -> Result<String, WireError> {
        match self {
            Self::Event(message) => encode(message),
            Self::Agent(message) => {
                let text = serde_json::to_string(message)
                    .map_err(|error| WireError::Unreadable(error.to_string()))?;
                checked(text)
            }
        }
    }

    /// Reads a message of a function or of an agent.
    pub fn decode(text: &str) -> Result<Self, WireError> {
        let head = head(text)?;
        match head.agent {
            None => decode(text).map(|message| Self::Event(Box::new(message))),
            Some(format) if format <= operon_core::agent::FORMAT => serde_json::from_str(text)
                .map(|message| Self::Agent(Box::new(message)))
                .map_err(|error| WireError::Unreadable(error.to_string())),
            Some(format) => Err(WireError::OtherRelease(format)),
        }
    }
}

/// An event on its way to a shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventMessage {
    /// Whose.
    pub execution: ExecutionId,
    /// Which shard.
    pub shard: operon_core::plan::ShardId,
    /// What.
    pub event: Event,
    /// The detail item of the attempt it reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<AttemptRow>,
    /// Not before this time, milliseconds since the epoch: queues delay by 15 minutes at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before_ms: Option<u64>,
    /// Of a tick: the due time for which it was sent. It arms the next one only if it is still that one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub armed_ms: Option<u64>,
}

impl EventMessage {
    /// An event without more to it.
    #[must_use]
    pub fn new(key: ShardKey, event: Event) -> Self {
        Self {
            execution: key.execution,
            shard: key.shard,
            event,
            row: None,
            not_before_ms: None,
            armed_ms: None,
        }
    }

    /// Whom it is for.
    #[must_use]
    pub fn key(&self) -> ShardKey {
        ShardKey {
            execution: self.execution.clone(),
            shard: self.shard.clone(),
        }
    }
}

impl From<EventMessage> for PlanMessage {
    fn from(message: EventMessage) -> Self {
        Self::Event(Box::new(message))
    }
}

/// On the launch queue: attempts on ECS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum LaunchMessage {
    /// Launch it, if its shard still says so.
    Launch {
        /// Which attempt.
        id: AttemptId,
        /// When the command was derived, milliseconds since the epoch; old ones are the reconciler's.
        since_ms: u64,
    },
    /// Stop it, and see that it is.
    Stop {
        /// Which attempt.
        id: AttemptId,
        /// When the command was derived.
        since_ms: u64,
        /// How often ECS knew nothing of it.
        #[serde(default)]
        missed: u8,
    },
    /// Ask ECS about it.
    Probe {
        /// Which attempt.
        id: AttemptId,
        /// When it was launched at the earliest.
        launched_ms: u64,
        /// How often ECS knew nothing of it.
        #[serde(default)]
        missed: u8,
    },
}

impl LaunchMessage {
    /// Which attempt it is about.
    #[must_use]
    pub const fn id(&self) -> &AttemptId {
        match self {
            Self::Launch { id, .. } | Self::Stop { id, .. } | Self::Probe { id, .. } => id,
        }
    }
}

/// On the work queue: built-in tasks and subflows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum WorkMessage {
    /// Execute it, if its shard still says so.
    Execute {
        /// Which attempt.
        id: AttemptId,
        /// When the command was derived, milliseconds since the epoch.
        since_ms: u64,
    },
    /// Stop it, and see that it is.
    Stop {
        /// Which attempt.
        id: AttemptId,
        /// When the command was derived.
        since_ms: u64,
        /// The execution that a subflow waits for was told; what is left is to see that it ends.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        told: bool,
    },
    /// Note that an execution began or ended: for whoever is told, and for measuring it.
    Tell {
        /// Which.
        execution: ExecutionId,
    },
    /// Send the alerts that are due.
    Deliver {
        /// Not before this time, milliseconds since the epoch: queues delay by 15 minutes at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before_ms: Option<u64>,
    },
    /// Look at a database or an address, if somebody still waits for that.
    Poll {
        /// Whose.
        trigger: TriggerKey,
    },
}

/// Why a message cannot be sent or read. Reading it again gives the same: it ends as a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Larger than [`MESSAGE_BYTES_MAX`].
    #[error(
        "a message has {0} bytes; at most {MESSAGE_BYTES_MAX} travel between the functions: put data into a file"
    )]
    TooLarge(usize),
    /// Not what this release or its predecessor writes.
    #[error("a message cannot be read: {0}")]
    Unreadable(String),
    /// Of a release that is newer, or older than the predecessor.
    #[error(
        "a message has format {0}; this release reads {oldest} to {FORMAT}: finish the deployment, then redrive",
        oldest = oldest()
    )]
    OtherRelease(u16),
}

/// The oldest format that is read.
const fn oldest() -> u16 {
    if FORMAT > 1 { FORMAT - 1 } else { FORMAT }
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    v: u16,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Deserialize)]
struct Head {
    v: Option<u16>,
    agent: Option<u16>,
}

fn head(text: &str) -> Result<Head, WireError> {
    if text.len() > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLarge(text.len()));
    }
    serde_json::from_str(text).map_err(|error| WireError::Unreadable(error.to_string()))
}

fn checked(text: String) -> Result<String, WireError> {
    if text.len() > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLarge(text.len()));
    }
    Ok(text)
}

/// The text of a message.
pub fn encode<T: Serialize>(message: &T) -> Result<String, WireError> {
    let text = serde_json::to_string(&Envelope {
        v: FORMAT,
        body: message,
    })
    .map_err(|error| WireError::Unreadable(error.to_string()))?;
    checked(text)
}

/// The message that has the worker tell people of an execution, and measure it.
pub(crate) fn telling(id: &ExecutionId) -> Result<Outgoing, WireError> {
    let message = WorkMessage::Tell {
        execution: id.clone(),
    };
    encode(&message).map(Outgoing::now)
}

/// Reads a message.
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, WireError> {
    let Some(v) = head(text)?.v else {
        return Err(WireError::Unreadable(
            "it has no format number `v`, so no function of Operon wrote it".to_owned(),
        ));
    };
    if !(oldest()..=FORMAT).contains(&v) {
        return Err(WireError::OtherRelease(v));
    }
    serde_json::from_str(text).map_err(|error| WireError::Unreadable(error.to_string()))
}

/// Who shares a queue fairly: each flow for itself, and its backfills apart from its live work (E13).
#[must_use]
pub fn lane(meta: &ExecutionMeta) -> String {
    let bulk = meta.priority < 0 || meta.labels.contains_key("system.backfill");
    lane_of(&format!(
        "{}/{}{}",
        meta.namespace,
        meta.flow,
        if bulk { "/bulk" } else { "" }
    ))
}

/// The lane of that name, as SQS takes it.
#[must_use]
pub fn lane_of(name: &str) -> String {
    if name.len() <= LANE_MAX && name.is_ascii() {
        name.to_owned()
    } else {
        hex::encode(Sha256::digest(name))
    }
}

#[cfg(test)]
mod tests;
