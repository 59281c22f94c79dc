//! The registry of deployed flows, as triggers see it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use operon_core::triggers::Config;

use super::{Deployed, DeployedFlow};
use crate::flows::{FlowError, FlowHead, Flows};
use crate::ports::StoreError;

/// Flows of one page.
const PAGE: u32 = 500;
/// Revisions whose triggers are kept read.
const KEPT_MAX: usize = 1_000;

type Kept = HashMap<(String, String), (u32, Arc<DeployedFlow>)>;

/// Flows of the registry, with the triggers of each revision read once.
pub struct Registry {
    flows: Flows,
    kept: Mutex<Kept>,
}

impl Registry {
    /// Over the registry.
    #[must_use]
    pub fn new(flows: Flows) -> Self {
        Self {
            flows,
            kept: Mutex::default(),
        }
    }

    async fn read(&self, head: &FlowHead) -> Result<Arc<DeployedFlow>, StoreError> {
        let name = (head.namespace.clone(), head.id.clone());
        let known = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.get(&name).cloned()
        };
        if let Some((revision, flow)) = known
            && revision == head.revision
            && flow.disabled == head.disabled
        {
            return Ok(flow);
        }
        let revision = self
            .flows
            .revision(&head.namespace, &head.id, head.revision)
            .await
            .map_err(|error| match error {
                FlowError::Store(error) => error,
                error @ (FlowError::Missing { .. }
                | FlowError::MissingRevision { .. }
                | FlowError::Conflict { .. }
                | FlowError::Invalid(_)
                | FlowError::OtherFlow { .. }
                | FlowError::Disabled { .. }
                | FlowError::Content(_)) => StoreError::Failed(error.to_string()),
            })?;
        let mut triggers = Vec::new();
        for trigger in &revision.triggers {
            match Config::read(trigger) {
                Ok(config) => triggers.push(config),
                // A release that lost a trigger type must not stop the others.
                Err(error) => tracing::warn!(flow = head.id, %error, "a trigger cannot be used"),
            }
        }
        let flow = Arc::new(DeployedFlow {
            plan: revision.plan.clone(),
            revision: head.revision,
            flow_dir: head.place_of_files(&revision.head),
            triggers,
            disabled: head.disabled,
        });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(name, (head.revision, Arc::clone(&flow)));
        Ok(flow)
    }
}

#[async_trait]
impl Deployed for Registry {
    async fn deployed(&self) -> Result<Vec<Arc<DeployedFlow>>, StoreError> {
        let mut all = Vec::new();
        let mut after: Option<(String, String)> = None;
        loop {
            let from = after
                .as_ref()
                .map(|(namespace, id)| (namespace.as_str(), id.as_str()));
            let page = self.flows.flows(None, from, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(all);
            };
            after = Some((last.namespace.clone(), last.id.clone()));
            for head in &page {
                all.push(self.read(head).await?);
            }
        }
    }

    async fn deployed_flow(
        &self,
        namespace: &str,
        flow: &str,
    ) -> Result<Option<Arc<DeployedFlow>>, StoreError> {
        match self.flows.flow(namespace, flow).await? {
            Some(head) => Ok(Some(self.read(&head).await?)),
            None => Ok(None),
        }
    }
}
