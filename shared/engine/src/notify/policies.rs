//! What a namespace says for all its flows: a versioned record with the text as it was written.
//!
//! Invariant: what is stored was valid as the `notify` of a flow of that namespace.

use operon_core::lang::diagnostic::Diagnostic;
use operon_core::lang::model::Notify;
use operon_core::lang::{self, plugins::Plugins};
use serde::{Deserialize, Serialize};

use crate::Ports;
use crate::ports::{RecordKey, RecordKind, RecordOutcome, RecordWrite, StoreError};

/// Bytes of the text at most.
const SOURCE_BYTES_MAX: usize = 64 * 1024;

/// Notifications of a namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policies {
    /// Of this record; 1.
    pub format: u8,
    /// As it was written: YAML with `notify` at its top.
    pub source: String,
    /// What it says.
    pub notify: Vec<Notify>,
    /// Who wrote it.
    pub by: String,
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
    /// Counts writes; what the next one may be conditional on.
    #[serde(skip)]
    pub version: u64,
}

/// Why notifications were not changed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The text has mistakes.
    #[error("the notifications have {} mistakes", .0.len())]
    Invalid(Vec<Diagnostic>),
    /// The text says more than notifications.
    #[error(
        "line {0} is no part of `notify`: write `notify:` and a list below it, and nothing else"
    )]
    Other(usize),
    /// The text is too long.
    #[error("the text has {0} bytes; at most {SOURCE_BYTES_MAX} are possible")]
    TooLarge(usize),
    /// Somebody else wrote meanwhile.
    #[error("version {0} is there now; read it and decide again")]
    Changed(u64),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn key_of(namespace: &str) -> RecordKey {
    RecordKey::new(RecordKind::Policy, namespace, "notify")
}

/// Notifications of exactly this namespace.
pub async fn policies(ports: &Ports, namespace: &str) -> Result<Option<Policies>, StoreError> {
    let now = ports.clock.now_ms();
    let Some(record) = ports.records.record(&key_of(namespace), now).await? else {
        return Ok(None);
    };
    let read = serde_json::from_value::<Policies>(record.value);
    let read = read
        .map_err(|error| StoreError::Corrupt(format!("notifications of {namespace}: {error}")))?;
    Ok(Some(Policies {
        version: record.version,
        ..read
    }))
}

/// What a text says, as a flow of the namespace would be understood.
fn parse(namespace: &str, source: &str) -> Result<Vec<Notify>, PolicyError> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(PolicyError::TooLarge(source.len()));
    }
    let outside = |line: &str| {
        let inside = line.trim().is_empty() || line.starts_with([' ', '#', '-']);
        !inside && !line.starts_with("notify:")
    };
    if let Some(at) = source.lines().position(outside) {
        return Err(PolicyError::Other(at + 1));
    }
    // After the text, so that lines keep their numbers.
    let flow = format!(
        "{source}\nid: namespace\nnamespace: {namespace}\ntasks:\n  - {{id: t, type: log, message: t}}\n"
    );
    let parsed = lang::parse(&flow, &Plugins::default());
    match parsed.flow {
        Some(flow) if !flow.notify.is_empty() => Ok(flow.notify),
        Some(_) => Err(PolicyError::Other(1)),
        None => Err(PolicyError::Invalid(parsed.diagnostics.into_sorted())),
    }
}

/// Replaces the notifications of a namespace; with `expected`, only those of that version (0: none).
pub async fn set_policies(
    ports: &Ports,
    namespace: &str,
    source: &str,
    by: &str,
    expected: Option<u64>,
) -> Result<Policies, PolicyError> {
    let mut policies = Policies {
        format: 1,
        source: source.to_owned(),
        notify: parse(namespace, source)?,
        by: by.to_owned(),
        at_ms: ports.clock.now_ms(),
        version: 0,
    };
    let value = serde_json::to_value(&policies)
        .map_err(|error| StoreError::Failed(format!("notifications cannot be written: {error}")))?;
    let mut version = match expected {
        Some(version) => version,
        None => version_of(ports, namespace).await?,
    };
    loop {
        let write = RecordWrite {
            key: key_of(namespace),
            expected: version,
            value: value.clone(),
            due_ms: None,
            expires_ms: None,
        };
        match ports.records.save_record(write).await? {
            RecordOutcome::Saved(version) => {
                policies.version = version;
                return Ok(policies);
            }
            RecordOutcome::Conflict(there) => {
                let now = there.map_or(0, |record| record.version);
                if expected.is_some() {
                    return Err(PolicyError::Changed(now));
                }
                version = now;
            }
        }
    }
}

/// Removes the notifications of a namespace; with `expected`, only those of that version. What was there.
pub async fn remove_policies(
    ports: &Ports,
    namespace: &str,
    expected: Option<u64>,
) -> Result<Option<Policies>, PolicyError> {
    loop {
        let Some(there) = policies(ports, namespace).await? else {
            return Ok(None);
        };
        let version = expected.unwrap_or(there.version);
        let key = key_of(namespace);
        match ports.records.delete_record(&key, version).await? {
            RecordOutcome::Saved(_) => return Ok(Some(there)),
            RecordOutcome::Conflict(_) if expected.is_some() => {
                return Err(PolicyError::Changed(there.version));
            }
            RecordOutcome::Conflict(_) => {}
        }
    }
}

async fn version_of(ports: &Ports, namespace: &str) -> Result<u64, StoreError> {
    let now = ports.clock.now_ms();
    let there = ports.records.record(&key_of(namespace), now).await?;
    Ok(there.map_or(0, |record| record.version))
}
