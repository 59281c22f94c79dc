//! Deployed flows of a server on this machine: where `Subflow` finds them, and how a directory is deployed.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use operon_core::plan::{Plan, content_hash};
use operon_engine::flows::{Deploy, Expected, FlowError as DeployError, Flows, check};

use super::{DirectoryFlows, FileError, flow_files, read_document};
use crate::embedded::{FlowError, FlowSource};

/// Revisions looked through for a source that was deployed before.
const REVISIONS_MAX: u32 = 1000;

/// Deployed flows, and beside them the files near the flow that calls.
#[derive(Clone)]
pub struct DeployedFlows(pub Flows);

#[async_trait(?Send)]
impl FlowSource for DeployedFlows {
    async fn flow(
        &self,
        namespace: &str,
        flow: &str,
        revision: Option<u32>,
        near: Option<&str>,
    ) -> Result<(Plan, Option<String>), FlowError> {
        let invalid = |problem: String| FlowError::Invalid {
            flow: flow.to_owned(),
            problem,
        };
        match self.0.asked(namespace, flow, revision).await {
            Ok((head, _)) if head.disabled => Err(invalid("it is disabled".to_owned())),
            Ok((head, revision)) => {
                let place = head.place_of_files(&revision.head);
                Ok((revision.plan.clone(), place))
            }
            Err(DeployError::Missing { .. }) => {
                DirectoryFlows.flow(namespace, flow, revision, near).await
            }
            Err(error) => Err(invalid(error.to_string())),
        }
    }
}

/// What became of a file.
#[derive(Debug)]
pub enum DeployedFile {
    /// A revision of it counts now that did not before.
    Deployed {
        /// `namespace.id`
        flow: String,
        /// Its number.
        revision: u32,
    },
    /// It was deployed before; which revision counts is as people left it.
    Known,
    /// It is not deployed.
    Refused(String),
}

/// Deploys the flow files in a directory and below it. A file whose text was deployed before changes nothing, so
/// that a rollback outlives a restart of the server.
pub async fn deploy_directory(
    flows: &Flows,
    directory: &Path,
    by: &str,
) -> Result<Vec<(PathBuf, DeployedFile)>, FileError> {
    let mut results = Vec::new();
    for path in flow_files(directory)? {
        let result = match deploy(flows, &path, by).await {
            Ok(result) => result,
            Err(reason) => DeployedFile::Refused(reason),
        };
        results.push((path, result));
    }
    Ok(results)
}

async fn deploy(flows: &Flows, path: &Path, by: &str) -> Result<DeployedFile, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let source = read_document(path).map_err(|error| text(&error))?;
    let checked = check(&source, flows.plugins());
    let Some((flow, _)) = &checked.flow else {
        let errors = checked.errors();
        return Err(format!("{errors} errors; `operon validate` shows them"));
    };
    let hash = content_hash(source.as_bytes());
    let known = flows
        .revisions(&flow.namespace, &flow.id, None, REVISIONS_MAX)
        .await
        .map_err(|error| text(&error))?;
    if known.iter().any(|revision| revision.source_hash == hash) {
        return Ok(DeployedFile::Known);
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    let parent = parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
    let deployed = flows
        .deploy(Deploy {
            source: &source,
            wanted: None,
            expected: Expected::Any,
            directory: Some(parent.display().to_string()),
            by,
            message: Some(format!("from {}", path.display())),
        })
        .await
        .map_err(|error| text(&error))?;
    Ok(DeployedFile::Deployed {
        flow: format!("{}.{}", flow.namespace, flow.id),
        revision: deployed.flow.revision,
    })
}
