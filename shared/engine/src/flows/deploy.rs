//! Deploying: from a source to a revision that counts.

use bytes::Bytes;
use operon_core::lang::Flow;
use operon_core::lang::diagnostic::Diagnostic;
use operon_core::plan::{Plan, content_hash};
use serde_json::json;

use super::{
    CONFLICTS_MAX, CONTENT_MAX, Content, Expected, FORMAT, FlowError, FlowHead, Flows, INLINE_MAX,
    Revision, RevisionHead, check, contended, content_key, expect, head_key, revision_head,
    to_value,
};
use crate::files::is_listing;
use crate::ports::{ArtifactUri, RecordOutcome, RecordWrite, StoreError};

/// A wish to deploy a flow.
#[derive(Debug, Clone)]
pub struct Deploy<'a> {
    /// The YAML document.
    pub source: &'a str,
    /// The flow it must be; none takes what it says.
    pub wanted: Option<(&'a str, &'a str)>,
    /// What was seen of the flow.
    pub expected: Expected,
    /// Where its namespace files are: a directory, or a listing, which is part of the revision. Without one they stay
    /// what they are.
    pub directory: Option<String>,
    /// Who deploys it.
    pub by: &'a str,
    /// What they say about it.
    pub message: Option<String>,
}

/// A flow that was deployed.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// The flow as it is now.
    pub flow: FlowHead,
    /// Whether there was no such revision before.
    pub new: bool,
    /// Whether another revision counted before, or none.
    pub changed: bool,
    /// Warnings about the source.
    pub warnings: Vec<Diagnostic>,
}

impl Flows {
    /// Compiles a source and makes it the revision that counts. A source that was deployed before keeps its
    /// number; deploying twice is deploying once.
    pub async fn deploy(&self, deploy: Deploy<'_>) -> Result<Deployed, FlowError> {
        let mut checked = check(deploy.source, &self.plugins);
        let Some((flow, plan)) = checked.flow.take() else {
            return Err(FlowError::Invalid(Box::new(checked)));
        };
        if let Some((namespace, id)) = deploy.wanted
            && (flow.namespace.as_str(), flow.id.as_str()) != (namespace, id)
        {
            return Err(FlowError::OtherFlow {
                found: format!("{}.{}", flow.namespace, flow.id),
                wanted: format!("{namespace}.{id}"),
            });
        }
        // Before anything is written: what must not be deployed leaves no revision behind.
        let there = self.flow(&flow.namespace, &flow.id).await?;
        expect(there.as_ref(), deploy.expected)?;
        let files = self.files_of(there.as_ref(), &deploy).await?;
        let (revision, new) = self.store_revision(&flow, plan, files, &deploy).await?;
        let (head, changed) = self.point(&flow, revision, &deploy).await?;
        Ok(Deployed {
            flow: head,
            new,
            changed,
            warnings: checked.findings,
        })
    }

    /// The listing that a revision has: the one that is given, or that of the revision that counts.
    async fn files_of(
        &self,
        there: Option<&FlowHead>,
        deploy: &Deploy<'_>,
    ) -> Result<Option<String>, FlowError> {
        match (&deploy.directory, there) {
            (Some(place), _) => Ok(is_listing(place).then(|| place.clone())),
            (None, None) => Ok(None),
            (None, Some(head)) => {
                let (namespace, id, number) = (&head.namespace, &head.id, head.revision);
                Ok(self
                    .revision(namespace, id, number)
                    .await?
                    .head
                    .files
                    .clone())
            }
        }
    }

    /// The number of the revision with this source and these files, stored if it is new.
    async fn store_revision(
        &self,
        flow: &Flow,
        plan: Plan,
        files: Option<String>,
        deploy: &Deploy<'_>,
    ) -> Result<(u32, bool), FlowError> {
        let (namespace, id) = (flow.namespace.as_str(), flow.id.as_str());
        let source_hash = content_hash(deploy.source.as_bytes());
        let plan_hash = plan.hash();
        let now = self.clock.now_ms();
        // First the number that executions of the same file without a registry have, then one of its own.
        let whole = match &files {
            None => format!("{plan_hash}:{source_hash}"),
            Some(files) => format!("{plan_hash}:{source_hash}:{files}"),
        };
        let names = [plan_hash.clone(), content_hash(whole.as_bytes())];
        for name in names {
            let number = self.store.revision(namespace, id, &name).await?;
            let key = head_key(namespace, id, number);
            if let Some(there) = self.records.record(&key, now).await? {
                let there = revision_head(there)?;
                if (&there.source_hash, &there.plan_hash, &there.files)
                    == (&source_hash, &plan_hash, &files)
                {
                    return Ok((number, false));
                }
                continue;
            }
            let revision = Revision {
                head: RevisionHead {
                    format: FORMAT,
                    namespace: namespace.to_owned(),
                    id: id.to_owned(),
                    revision: number,
                    source_hash: source_hash.clone(),
                    plan_hash: plan_hash.clone(),
                    created_ms: now,
                    created_by: deploy.by.to_owned(),
                    message: deploy.message.clone(),
                    files: files.clone(),
                },
                source: deploy.source.to_owned(),
                plan: plan.clone(),
                triggers: flow.triggers.clone(),
            };
            if self.write_revision(revision).await? {
                return Ok((number, true));
            }
        }
        Err(contended(namespace, id))
    }

    /// Stores a revision whole; false when another one has its number.
    async fn write_revision(&self, revision: Revision) -> Result<bool, FlowError> {
        let Revision {
            head,
            source,
            plan,
            triggers,
        } = revision;
        let content = to_value(&Content {
            source,
            plan,
            triggers,
        })?;
        let text = content.to_string();
        let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if size > CONTENT_MAX {
            return Err(StoreError::Failed(format!(
                "the compiled flow has {size} bytes; at most {CONTENT_MAX} can be stored: split it into subflows"
            ))
            .into());
        }
        let value = if text.len() > INLINE_MAX {
            // Named by its contents: two that are deployed at once do not meet.
            let hash = content_hash(text.as_bytes());
            let key = format!("flows/{}/{}/{hash}.json", head.namespace, head.id);
            let uri = ArtifactUri::new(&key)?;
            self.artifacts.put(&uri, Bytes::from(text)).await?;
            json!({"artifact": uri.to_string()})
        } else {
            content
        };
        let number = head.revision;
        let writes = [
            (content_key(&head.namespace, &head.id, number), value),
            (
                head_key(&head.namespace, &head.id, number),
                to_value(&head)?,
            ),
        ];
        for (key, value) in writes {
            let write = RecordWrite {
                key,
                expected: 0,
                value: value.clone(),
                due_ms: None,
                expires_ms: None,
            };
            match self.records.save_record(write).await? {
                RecordOutcome::Saved(_) => {}
                // Left by a crash, or written at this moment by who deploys the same.
                RecordOutcome::Conflict(Some(there)) if same(&there.value, &value) => {}
                RecordOutcome::Conflict(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Points the flow at a revision; whether it pointed elsewhere before.
    async fn point(
        &self,
        flow: &Flow,
        revision: u32,
        deploy: &Deploy<'_>,
    ) -> Result<(FlowHead, bool), FlowError> {
        for _ in 0..CONFLICTS_MAX {
            let there = self.flow(&flow.namespace, &flow.id).await?;
            expect(there.as_ref(), deploy.expected)?;
            let changed = there.as_ref().is_none_or(|head| head.revision != revision);
            let head = FlowHead {
                format: FORMAT,
                namespace: flow.namespace.clone(),
                id: flow.id.clone(),
                revision,
                disabled: there.as_ref().is_some_and(|head| head.disabled),
                description: flow.description.clone(),
                labels: flow.labels.clone(),
                directory: deploy
                    .directory
                    .clone()
                    .filter(|place| !is_listing(place))
                    .or_else(|| there.as_ref().and_then(|head| head.directory.clone())),
                updated_ms: self.clock.now_ms(),
                updated_by: deploy.by.to_owned(),
                version: there.as_ref().map_or(0, |head| head.version),
            };
            if let Some(there) = there
                && !changed
                && there.directory == head.directory
            {
                return Ok((there, false));
            }
            if let Some(saved) = self.save(head).await? {
                return Ok((saved, changed));
            }
        }
        Err(contended(&flow.namespace, &flow.id))
    }
}

/// Whether two documents say the same about a revision; who deployed it first, and when, does not matter.
fn same(there: &serde_json::Value, new: &serde_json::Value) -> bool {
    let mut there = there.clone();
    let mut new = new.clone();
    for value in [&mut there, &mut new] {
        if let Some(map) = value.as_object_mut() {
            for key in ["createdMs", "createdBy", "message"] {
                map.remove(key);
            }
        }
    }
    there == new
}
