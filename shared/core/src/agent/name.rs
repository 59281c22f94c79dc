//! The name of an attempt as text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::plan::ShardId;

/// Characters of an execution id at most.
pub const EXECUTION_ID_CHARS_MAX: usize = 64;

/// `execution:shard:slot:attempt`: names one attempt, everywhere and for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttemptName {
    /// Whose: 1 to 64 letters, digits, `-` and `_`.
    pub execution: String,
    /// The shard that decides about it.
    pub shard: ShardId,
    /// Place of the task run there.
    pub slot: u16,
    /// From 1.
    pub attempt: u8,
}

/// Text that names no attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no attempt; expected `execution:shard:slot:attempt` such as `exec-1:0:3:1`")]
pub struct AttemptNameError(String);

impl fmt::Display for AttemptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            execution,
            shard,
            slot,
            attempt,
        } = self;
        write!(f, "{execution}:{shard}:{slot}:{attempt}")
    }
}

impl FromStr for AttemptName {
    type Err = AttemptNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AttemptNameError(text.chars().take(120).collect());
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or_else(error);
        let execution = part()?.to_owned();
        let good = (1..=EXECUTION_ID_CHARS_MAX).contains(&execution.len())
            && execution
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let name = Self {
            execution,
            shard: part()?.parse().map_err(|_| error())?,
            slot: part()?.parse().map_err(|_| error())?,
            attempt: part()?.parse().map_err(|_| error())?,
        };
        if good && name.attempt > 0 && parts.next().is_none() {
            Ok(name)
        } else {
            Err(error())
        }
    }
}

impl TryFrom<String> for AttemptName {
    type Error = AttemptNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<AttemptName> for String {
    fn from(name: AttemptName) -> Self {
        name.to_string()
    }
}
