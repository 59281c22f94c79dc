//! Deployed flows: which there are, which revision of each counts, and all that a revision is.
//!
//! A revision is immutable: its source, the plan it was compiled to, its triggers. The flow's own record points
//! at one of them, and says whether the flow is disabled. Rolling back moves that pointer; it makes no new
//! revision, because an equal revision under another number would only have to be compared by people
//! (decision 0030). Numbers come from the counter that also numbers plans of flow files, so that a number of
//! a flow means one thing in one store; they may have gaps.
//!
//! Invariant: a flow points only at a revision that is stored whole: its contents are written first, then its
//! head, then the pointer. Invariant: whoever changes a flow says which revision they saw, or does not care.

mod check;
mod deploy;

use std::collections::BTreeMap;
use std::sync::Arc;

use operon_core::lang::Plugins;
use operon_core::lang::model::Trigger;
use operon_core::plan::Plan;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Ports;
use crate::kept::Kept;
use crate::ports::{
    ArtifactError, ArtifactStore, ArtifactUri, Clock, Record, RecordKey, RecordKind, RecordOutcome,
    RecordQuery, RecordWrite, Records, StateStore, StoreError,
};

pub use check::{Checked, check};
pub use deploy::{Deploy, Deployed};

/// Version of the stored documents. A release reads its predecessor's.
const FORMAT: u8 = 1;
/// Partition of all flows' records.
const FLOWS: &str = "flows";
/// Revisions kept in memory by one registry; the least recently added goes first.
const REVISIONS_KEPT: usize = 256;
/// Bytes of a revision's contents that stay in its record; larger ones become an artifact.
const INLINE_MAX: usize = 200 * 1024;
/// Bytes of a revision's contents at most: a source of 1 MiB may compile to many times its size.
const CONTENT_MAX: u64 = 64 * 1024 * 1024;
/// How often a write of a flow's record is repeated when somebody else wrote first.
const CONFLICTS_MAX: usize = 10;

/// A flow: which revision counts, and whether it may be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowHead {
    format: u8,
    /// Dots make a hierarchy.
    pub namespace: String,
    /// Unique in the namespace.
    pub id: String,
    /// The revision that counts.
    pub revision: u32,
    /// Nothing starts it: neither triggers nor people.
    pub disabled: bool,
    /// Of the current revision.
    pub description: Option<String>,
    /// Of the current revision.
    pub labels: BTreeMap<String, String>,
    /// Directory of its namespace files, where there is one; files that were deployed are those of a revision.
    pub directory: Option<String>,
    /// Milliseconds since the epoch.
    pub updated_ms: u64,
    /// Who changed it last.
    pub updated_by: String,
    /// Of the record.
    #[serde(skip)]
    version: u64,
}

/// What is known of a revision without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionHead {
    format: u8,
    /// Of the flow.
    pub namespace: String,
    /// Of the flow.
    pub id: String,
    /// Its number.
    pub revision: u32,
    /// SHA-256 of the source, in hexadecimal.
    pub source_hash: String,
    /// Content hash of the plan.
    pub plan_hash: String,
    /// First deployed, in milliseconds since the epoch.
    pub created_ms: u64,
    /// Who deployed it.
    pub created_by: String,
    /// What they said about it.
    pub message: Option<String>,
    /// URI of the listing of the files beside it, if they were deployed with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
}

/// A revision of a flow. Never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// Names and numbers.
    pub head: RevisionHead,
    /// The YAML document.
    pub source: String,
    /// What it was compiled to, with the plugins of that time.
    pub plan: Plan,
    /// What starts it.
    pub triggers: Vec<Trigger>,
}

/// The contents of a revision as stored.
#[derive(Serialize, Deserialize)]
struct Content {
    source: String,
    plan: Plan,
    triggers: Vec<Trigger>,
}

/// Which revision somebody saw before changing a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever there is.
    Any,
    /// There must be no such flow.
    Absent,
    /// This revision counts.
    Revision(u32),
}

impl FlowHead {
    /// Where the files beside a revision are.
    #[must_use]
    pub fn place_of_files(&self, revision: &RevisionHead) -> Option<String> {
        revision.files.clone().or_else(|| self.directory.clone())
    }
}

/// Why a flow is not there or not changed.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// No such flow.
    #[error("there is no flow `{flow}` in namespace `{namespace}`; deploy it first")]
    Missing {
        /// Asked for.
        namespace: String,
        /// Asked for.
        flow: String,
    },
    /// No such revision.
    #[error("flow `{namespace}.{flow}` has no revision {revision}")]
    MissingRevision {
        /// Of the flow.
        namespace: String,
        /// The flow.
        flow: String,
        /// Asked for.
        revision: u32,
    },
    /// Somebody else changed it.
    #[error("{}", conflict(.current.as_ref()))]
    Conflict {
        /// The revision that counts; none when there is no flow.
        current: Option<u32>,
    },
    /// The source has errors.
    #[error("the flow is not valid: {} findings", .0.findings.len())]
    Invalid(Box<Checked>),
    /// The source is another flow.
    #[error(
        "the source is flow `{found}`, not `{wanted}`; deploy it under its own name, or change `id` and `namespace`"
    )]
    OtherFlow {
        /// In the source.
        found: String,
        /// Asked for.
        wanted: String,
    },
    /// Nothing may start it.
    #[error("flow `{namespace}.{flow}` is disabled; enable it to start it")]
    Disabled {
        /// Of the flow.
        namespace: String,
        /// The flow.
        flow: String,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The contents of a large revision could not be written or read.
    #[error("the contents of a revision: {0}")]
    Content(#[from] ArtifactError),
}

fn conflict(current: Option<&u32>) -> String {
    match current {
        Some(revision) => format!(
            "somebody else changed the flow: revision {revision} counts now; look at it, and try again"
        ),
        None => "there is no such flow any more, or not yet; look again".to_owned(),
    }
}

/// The registry of flows. Cheap to clone.
#[derive(Clone)]
pub struct Flows {
    records: Arc<dyn Records>,
    store: Arc<dyn StateStore>,
    artifacts: Arc<dyn ArtifactStore>,
    clock: Arc<dyn Clock>,
    plugins: Arc<Plugins>,
    kept: Arc<Kept<(String, String, u32), Revision>>,
}

impl Flows {
    /// The registry over these ports. What is deployed may use these plugins.
    #[must_use]
    pub fn new(ports: &Ports, plugins: Arc<Plugins>) -> Self {
        Self {
            records: Arc::clone(&ports.records),
            store: Arc::clone(&ports.store),
            artifacts: Arc::clone(&ports.artifacts),
            clock: Arc::clone(&ports.clock),
            plugins,
            kept: Arc::new(Kept::new(REVISIONS_KEPT)),
        }
    }

    /// The plugins that flows may use.
    #[must_use]
    pub fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// A flow, if there is one.
    pub async fn flow(&self, namespace: &str, id: &str) -> Result<Option<FlowHead>, StoreError> {
        let key = flow_key(namespace, id);
        let record = self.records.record(&key, self.clock.now_ms()).await?;
        record.map(head).transpose()
    }

    /// A flow that must be there.
    pub async fn existing(&self, namespace: &str, id: &str) -> Result<FlowHead, FlowError> {
        let found = self.flow(namespace, id).await?;
        found.ok_or_else(|| FlowError::Missing {
            namespace: namespace.to_owned(),
            flow: id.to_owned(),
        })
    }

    /// Flows in the order of namespace and id, after the one named; of one namespace, if that is given.
    pub async fn flows(
        &self,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
        limit: u32,
    ) -> Result<Vec<FlowHead>, StoreError> {
        let query = RecordQuery {
            prefix: namespace.map(|name| format!("{name}/")).unwrap_or_default(),
            after: after.map(|(namespace, id)| format!("{namespace}/{id}")),
            descending: false,
            limit,
        };
        let found = self
            .records
            .records(RecordKind::Flow, FLOWS, &query)
            .await?;
        found.into_iter().map(head).collect()
    }

    /// Revisions of a flow, the newest first, before the one with that number.
    pub async fn revisions(
        &self,
        namespace: &str,
        id: &str,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<RevisionHead>, StoreError> {
        let query = RecordQuery {
            after: before.map(number),
            descending: true,
            limit,
            ..RecordQuery::default()
        };
        let partition = format!("{namespace}/{id}");
        let found = self
            .records
            .records(RecordKind::Revision, &partition, &query)
            .await?;
        found.into_iter().map(revision_head).collect()
    }

    /// One revision with everything in it.
    pub async fn revision(
        &self,
        namespace: &str,
        id: &str,
        revision: u32,
    ) -> Result<Arc<Revision>, FlowError> {
        let key = (namespace.to_owned(), id.to_owned(), revision);
        if let Some(kept) = self.kept.get(&key) {
            return Ok(kept);
        }
        let missing = || FlowError::MissingRevision {
            namespace: namespace.to_owned(),
            flow: id.to_owned(),
            revision,
        };
        let now = self.clock.now_ms();
        let place = head_key(namespace, id, revision);
        let record = self.records.record(&place, now).await?;
        let head = revision_head(record.ok_or_else(missing)?)?;
        let place = content_key(namespace, id, revision);
        let record = self.records.record(&place, now).await?;
        let content = self.content(record.ok_or_else(missing)?).await?;
        let found = Arc::new(Revision {
            head,
            source: content.source,
            plan: content.plan,
            triggers: content.triggers,
        });
        self.kept.put(key, Arc::clone(&found));
        Ok(found)
    }

    /// The flow with the revision that counts.
    pub async fn current(
        &self,
        namespace: &str,
        id: &str,
    ) -> Result<(FlowHead, Arc<Revision>), FlowError> {
        self.asked(namespace, id, None).await
    }

    /// The flow with the revision that is asked for, the one that counts if none is.
    pub async fn asked(
        &self,
        namespace: &str,
        id: &str,
        revision: Option<u32>,
    ) -> Result<(FlowHead, Arc<Revision>), FlowError> {
        let head = self.existing(namespace, id).await?;
        let number = revision.unwrap_or(head.revision);
        let revision = self.revision(namespace, id, number).await?;
        Ok((head, revision))
    }

    /// Lets a flow be started, or forbids it; the flow as it is then.
    pub async fn set_disabled(
        &self,
        namespace: &str,
        id: &str,
        disabled: bool,
        by: &str,
    ) -> Result<FlowHead, FlowError> {
        self.change(namespace, id, Expected::Any, by, |head| {
            head.disabled = disabled;
        })
        .await
    }

    /// Makes an earlier revision count again; the flow as it is then.
    pub async fn rollback(
        &self,
        namespace: &str,
        id: &str,
        to: u32,
        expected: Expected,
        by: &str,
    ) -> Result<FlowHead, FlowError> {
        self.existing(namespace, id).await?;
        let revision = self.revision(namespace, id, to).await?;
        let checked = check(&revision.source, &self.plugins);
        self.change(namespace, id, expected, by, |head| {
            head.revision = to;
            if let Some((flow, _)) = &checked.flow {
                head.description.clone_from(&flow.description);
            }
            head.labels.clone_from(&revision.plan.labels);
        })
        .await
    }

    /// Changes a flow's record on condition of what was seen of it.
    async fn change(
        &self,
        namespace: &str,
        id: &str,
        expected: Expected,
        by: &str,
        change: impl Fn(&mut FlowHead) + Send + Sync,
    ) -> Result<FlowHead, FlowError> {
        for _ in 0..CONFLICTS_MAX {
            let before = self.existing(namespace, id).await?;
            expect(Some(&before), expected)?;
            let mut head = before.clone();
            change(&mut head);
            if head == before {
                return Ok(head);
            }
            by.clone_into(&mut head.updated_by);
            head.updated_ms = self.clock.now_ms();
            if let Some(saved) = self.save(head).await? {
                return Ok(saved);
            }
        }
        Err(contended(namespace, id))
    }

    /// Writes a flow's record on condition of its version; none when somebody else wrote first.
    async fn save(&self, mut head: FlowHead) -> Result<Option<FlowHead>, FlowError> {
        let write = RecordWrite {
            key: flow_key(&head.namespace, &head.id),
            expected: head.version,
            value: to_value(&head)?,
            due_ms: None,
            expires_ms: None,
        };
        match self.records.save_record(write).await? {
            RecordOutcome::Saved(version) => {
                head.version = version;
                Ok(Some(head))
            }
            RecordOutcome::Conflict(_) => Ok(None),
        }
    }

    async fn content(&self, record: Record) -> Result<Content, FlowError> {
        let value = match record.value.get("artifact").and_then(Value::as_str) {
            Some(uri) => {
                let uri: ArtifactUri = uri.parse()?;
                let bytes = self.artifacts.get(&uri, CONTENT_MAX).await?;
                serde_json::from_slice(&bytes)
            }
            None => serde_json::from_value(record.value),
        };
        value.map_err(|error| corrupt(&record.key, &error).into())
    }
}

/// Whether a flow is as somebody saw it.
fn expect(head: Option<&FlowHead>, expected: Expected) -> Result<(), FlowError> {
    let current = head.map(|head| head.revision);
    let holds = match expected {
        Expected::Any => true,
        Expected::Absent => current.is_none(),
        Expected::Revision(revision) => current == Some(revision),
    };
    if holds {
        Ok(())
    } else {
        Err(FlowError::Conflict { current })
    }
}

fn contended(namespace: &str, id: &str) -> FlowError {
    StoreError::Busy(format!(
        "flow `{namespace}.{id}` is written by others all the time"
    ))
    .into()
}

fn flow_key(namespace: &str, id: &str) -> RecordKey {
    RecordKey::new(RecordKind::Flow, FLOWS, format!("{namespace}/{id}"))
}

fn head_key(namespace: &str, id: &str, revision: u32) -> RecordKey {
    let partition = format!("{namespace}/{id}");
    RecordKey::new(RecordKind::Revision, partition, number(revision))
}

/// Contents have a partition of their own, so that listing revisions does not read them.
fn content_key(namespace: &str, id: &str, revision: u32) -> RecordKey {
    let partition = format!("{namespace}/{id}/content");
    RecordKey::new(RecordKind::Revision, partition, number(revision))
}

/// Numbers in the order of bytes.
fn number(revision: u32) -> String {
    format!("{revision:010}")
}

fn head(record: Record) -> Result<FlowHead, StoreError> {
    let mut head: FlowHead = from_record(record.value, &record.key)?;
    head.version = record.version;
    Ok(head)
}

fn revision_head(record: Record) -> Result<RevisionHead, StoreError> {
    from_record(record.value, &record.key)
}

fn from_record<T: serde::de::DeserializeOwned>(
    value: Value,
    key: &RecordKey,
) -> Result<T, StoreError> {
    let format = value.get("format").and_then(Value::as_u64);
    if format != Some(u64::from(FORMAT)) {
        let found = format.map_or_else(|| "none".to_owned(), |format| format.to_string());
        return Err(StoreError::Corrupt(format!(
            "{} record `{}` has format {found}; this release reads format {FORMAT}",
            key.kind, key.sort
        )));
    }
    serde_json::from_value(value).map_err(|error| corrupt(key, &error))
}

fn to_value<T: Serialize>(document: &T) -> Result<Value, StoreError> {
    serde_json::to_value(document)
        .map_err(|error| StoreError::Failed(format!("a record cannot be written: {error}")))
}

fn corrupt(key: &RecordKey, error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt(format!("{} record `{}`: {error}", key.kind, key.sort))
}
