//! From a task run in `LAUNCHING` to what is executed: properties rendered, files named, secrets known.

use std::time::Duration;

use operon_core::agent::CacheEntry;
use operon_core::exec::Outcome;
use operon_core::expr::Masker;
use operon_core::plan::{Layout, Node, NodeKind, TaskNode};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::decide::duration_ms;
use crate::evaluate::{
    EvaluateError, Evaluator, OUTPUTS_INLINE_MAX, OUTPUTS_MAX, Overlay, RenderedValue, Site,
};
use crate::files::Beside;
use crate::ports::{
    ArtifactError, ArtifactUri, AttemptId, AttemptResult, AttemptRow, AttemptSpec, FileSource,
    StoreError,
};
use crate::registry::RegistryLogin;
use crate::rows;
use crate::script;

/// What an attempt is, ready to be executed.
#[derive(Debug)]
pub enum Prepared {
    /// A built-in task.
    BuiltIn(Call),
    /// A flow of its own.
    Subflow(Call),
    /// A process or container.
    Process(Box<AttemptSpec>),
}

/// A built-in task's call.
#[derive(Debug)]
pub struct Call {
    /// Canonical type.
    pub task_type: String,
    /// Rendered properties.
    pub props: Map<String, Value>,
    /// Values that must not be stored or shown.
    pub secrets: Vec<String>,
    /// For the whole attempt.
    pub timeout: Duration,
}

/// An attempt ready to be executed, with what its result needs.
#[derive(Debug)]
pub struct Launch {
    /// Which attempt.
    pub id: AttemptId,
    /// What to do.
    pub prepared: Prepared,
    /// Its entry of the task cache, if the task uses it.
    pub cache: Option<CacheEntry>,
    /// Names for the row.
    pub row: AttemptRow,
    /// Values that must not be stored or shown.
    pub secrets: Vec<String>,
}

impl Evaluator {
    /// Renders everything an attempt needs.
    pub async fn prepare(&self, site: Site<'_>) -> Result<Launch, EvaluateError> {
        let wrong = || EvaluateError::Expression("the plan has no such task".to_owned());
        let (scope, index, node) = site.node().ok_or_else(wrong)?;
        let NodeKind::Task(task) = &node.kind else {
            return Err(wrong());
        };
        let templates = site.plan.templates(scope, index, node)?;
        let overlay = Overlay::default();
        let RenderedValue { value, mut secrets } = self
            .render(site, &templates.props, &Map::new(), &overlay)
            .await?;
        let Value::Object(mut props) = value else {
            return Err(wrong());
        };
        let timeout = match &templates.timeout {
            None => match task.timeout_ms {
                operon_core::lang::model::Dynamic::Constant(ms) => ms,
                operon_core::lang::model::Dynamic::Template(_) => return Err(wrong()),
            },
            Some(tree) => {
                let rendered = self.render(site, tree, &Map::new(), &overlay).await?;
                duration_ms(&rendered.value).map_err(EvaluateError::Expression)?
            }
        };
        let timeout = Duration::from_millis(timeout);
        let id = AttemptId {
            execution: site.meta.id.clone(),
            task_run: site.task_run(),
            attempt: site.attempt,
        };
        let mut row = rows::blank(site, site.attempt).ok_or_else(wrong)?;
        row.item = self.item(site).await?;
        row.created_ms = self.ports.clock.now_ms();
        let prepared = if script::is_process(&task.task_type) {
            self.environment(site, &mut props, &mut secrets).await?;
            let beside = self.files_beside(site, &props).await?;
            let mut spec = spec_of(site, node, task, (&props, &beside), timeout, &id)?;
            self.join_working_directory(site, &mut spec, &mut secrets)
                .await?;
            if spec.only_files && spec.shared_directory.is_none() {
                return Err(EvaluateError::Expression(
                    "`LocalFiles` has no directory: put it among the `tasks` of a `WorkingDirectory`"
                        .to_owned(),
                ));
            }
            // Also what no expression marked, such as a password that was put together.
            secrets.extend(spec.registry.iter().flat_map(RegistryLogin::secrets));
            spec.secrets = secrets.clone();
            Prepared::Process(Box::new(spec))
        } else {
            let call = Call {
                task_type: task.task_type.clone(),
                props,
                secrets: secrets.clone(),
                timeout,
            };
            if script::is_subflow(&task.task_type) {
                Prepared::Subflow(call)
            } else {
                Prepared::BuiltIn(call)
            }
        };
        let cache = match task.task_cache.as_ref().filter(|cache| cache.enabled) {
            // What came of a secret is written down nowhere.
            Some(cache) if secrets.is_empty() => Some(CacheEntry {
                key: self.fingerprint(site, &prepared).await?,
                ttl_ms: cache.ttl_ms,
            }),
            Some(_) | None => None,
        };
        Ok(Launch {
            id,
            prepared,
            cache,
            row,
            secrets,
        })
    }

    /// Adds the values of `secrets: {VARIABLE: NAME}` to `env`.
    async fn environment(
        &self,
        site: Site<'_>,
        props: &mut Map<String, Value>,
        secrets: &mut Vec<String>,
    ) -> Result<(), EvaluateError> {
        let Some(Value::Object(named)) = props.remove("secrets") else {
            return Ok(());
        };
        let mut env = props
            .get("env")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        for (variable, name) in named {
            let name = name.as_str().unwrap_or_default();
            let value = self
                .ports
                .secrets
                .secret(&site.meta.namespace, name)
                .await
                .map_err(|error| EvaluateError::Expression(error.to_string()))?;
            secrets.push(value.clone());
            env.insert(variable, Value::String(value));
        }
        props.insert("env".to_owned(), Value::Object(env));
        Ok(())
    }

    /// Children of a `WorkingDirectory` share one directory, with the files it was given.
    async fn join_working_directory(
        &self,
        site: Site<'_>,
        spec: &mut AttemptSpec,
        secrets: &mut Vec<String>,
    ) -> Result<(), EvaluateError> {
        let Some(layout) = site.layout() else {
            return Ok(());
        };
        let Some(slot) = working_directory(&layout, site.slot) else {
            return Ok(());
        };
        let group = Site { slot, ..site };
        let Some((scope, index, node)) = group.node() else {
            return Ok(());
        };
        let templates = site.plan.templates(scope, index, node)?;
        let rendered = self
            .render(group, &templates.props, &Map::new(), &Overlay::default())
            .await?;
        secrets.extend(rendered.secrets);
        if let Value::Object(props) = &rendered.value {
            let beside = self.files_beside(site, props).await?;
            let mut files =
                script::input_files(props, &beside).map_err(EvaluateError::Expression)?;
            files.append(&mut spec.input_files);
            spec.input_files = files;
        }
        let shard = site.shard.to_string().replace('/', "-");
        spec.shared_directory = Some(format!("{}/{shard}-{slot}", site.meta.id));
        Ok(())
    }

    /// The files beside the flow, read only if the properties mention some.
    async fn files_beside(
        &self,
        site: Site<'_>,
        props: &Map<String, Value>,
    ) -> Result<Beside, EvaluateError> {
        if !script::wants_files_beside(props) {
            return Ok(Beside::Nothing);
        }
        let loaded = Beside::load(&*self.ports.artifacts, site.meta.flow_dir.as_deref()).await;
        loaded.map_err(|error| match error {
            // Asked again when the message comes again.
            ArtifactError::Failed(text) => StoreError::Busy(text).into(),
            error @ (ArtifactError::Missing(_)
            | ArtifactError::TooLarge { .. }
            | ArtifactError::BadUri(_)
            | ArtifactError::Refused(_)) => EvaluateError::Expression(error.to_string()),
        })
    }

    /// What makes two attempts do the same: type, properties and the content of the input files.
    async fn fingerprint(
        &self,
        site: Site<'_>,
        prepared: &Prepared,
    ) -> Result<String, EvaluateError> {
        let mut hash = Sha256::new();
        hash.update(site.meta.namespace.as_bytes());
        match prepared {
            Prepared::BuiltIn(call) | Prepared::Subflow(call) => {
                hash.update(call.task_type.as_bytes());
                hash.update(Value::Object(call.props.clone()).to_string());
            }
            Prepared::Process(spec) => {
                let parts = format!(
                    "{:?}|{:?}|{:?}|{:?}|{:?}|{:?}",
                    spec.image,
                    spec.entrypoint,
                    spec.command,
                    spec.env,
                    spec.output_files,
                    spec.runner_options
                );
                hash.update(parts);
                for file in &spec.input_files {
                    hash.update(file.path.as_bytes());
                    hash.update([0]);
                    match &file.source {
                        FileSource::Inline(text) => hash.update(text.as_bytes()),
                        FileSource::Artifact(uri) => self.hash_artifact(&mut hash, uri).await?,
                        FileSource::Path(path) => {
                            let bytes = tokio::fs::read(path).await.map_err(|error| {
                                EvaluateError::Expression(format!("{}: {error}", path.display()))
                            })?;
                            hash.update(bytes);
                        }
                    }
                }
            }
        }
        Ok(hex::encode(hash.finalize()))
    }

    async fn hash_artifact(
        &self,
        hash: &mut Sha256,
        uri: &ArtifactUri,
    ) -> Result<(), EvaluateError> {
        const STEP: u64 = 1024 * 1024;
        let mut at = 0;
        loop {
            let bytes = self
                .ports
                .artifacts
                .get_range(uri, at..at + STEP)
                .await
                .map_err(|error| EvaluateError::Expression(error.to_string()))?;
            if bytes.is_empty() {
                return Ok(());
            }
            hash.update(&bytes);
            at += u64::try_from(bytes.len()).unwrap_or(STEP);
        }
    }

    /// The detail item of an ended attempt: secrets masked, large outputs put into an artifact.
    pub async fn report(
        &self,
        mut row: AttemptRow,
        result: AttemptResult,
        secrets: &[String],
    ) -> (AttemptRow, Outcome) {
        let masker = Masker::new(secrets.iter().map(String::as_str));
        let mut outcome = result.outcome;
        row.exit_code = result.exit_code;
        row.message = result
            .message
            .map(|message| masker.mask(&message).into_owned());
        row.started_ms = Some(result.started_ms);
        row.ended_ms = Some(result.ended_ms);
        row.metrics = result.metrics;
        row.usage = result.usage;
        let mut outputs = Value::Object(result.outputs);
        if !secrets.is_empty() {
            mask_value(&masker, &mut outputs);
        }
        if let Value::Object(outputs) = outputs {
            row.outputs = outputs;
        }
        let bytes = serde_json::to_vec(&row.outputs).unwrap_or_default();
        if bytes.len() > OUTPUTS_INLINE_MAX {
            let stored = self.store_outputs(&mut row, bytes).await;
            if let Err(message) = stored {
                row.message = Some(message);
                outcome = Outcome::Failed(operon_core::exec::Reason::Output);
            }
        }
        let (state, reason) = match outcome {
            Outcome::Success => ("SUCCESS", None),
            Outcome::Warning => ("WARNING", None),
            Outcome::Failed(reason) => ("FAILED", rows::reason_words(reason)),
        };
        state.clone_into(&mut row.state);
        row.reason = reason;
        (row, outcome)
    }

    async fn store_outputs(&self, row: &mut AttemptRow, bytes: Vec<u8>) -> Result<(), String> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > OUTPUTS_MAX {
            row.outputs = Map::new();
            return Err(format!(
                "the outputs have {size} bytes; at most {OUTPUTS_MAX} are possible: write a file and name it in \
                 `outputFiles`"
            ));
        }
        let id = row.id();
        let uri = ArtifactUri::new(&format!("{}outputs.json", output_prefix(&id)))
            .map_err(|error| error.to_string())?;
        self.ports
            .artifacts
            .put(&uri, bytes.into())
            .await
            .map_err(|error| error.to_string())?;
        row.outputs = Map::new();
        row.outputs_uri = Some(uri.to_string());
        Ok(())
    }
}

fn spec_of(
    site: Site<'_>,
    node: &Node,
    task: &TaskNode,
    (props, beside): (&Map<String, Value>, &Beside),
    timeout: Duration,
    id: &AttemptId,
) -> Result<AttemptSpec, EvaluateError> {
    let mut spec =
        script::spec(&task.task_type, props, beside).map_err(EvaluateError::Expression)?;
    spec.id = id.clone();
    spec.name = site
        .plan
        .plan
        .task_run_name(site.shard, site.slot)
        .unwrap_or_else(|| node.id.clone());
    spec.output_prefix = output_prefix(id);
    spec.timeout = timeout;
    spec.idempotent = task.idempotent;
    spec.resources = task.resources;
    spec.priority = node.priority;
    spec.rank = node.rank;
    Ok(spec)
}

/// Where an attempt's artifacts are: visible only through the accepted attempt.
#[must_use]
pub fn output_prefix(id: &AttemptId) -> String {
    let shard = id.task_run.shard.to_string().replace('/', "-");
    format!(
        "executions/{}/{shard}-{}/{}/",
        id.execution, id.task_run.slot, id.attempt
    )
}

/// The nearest enclosing group whose children share a directory.
fn working_directory(layout: &Layout<'_>, slot: u16) -> Option<u16> {
    let own = layout.node_of(slot)?;
    let mut node = layout.nodes.get(usize::from(own))?;
    while let Some(parent) = node.parent {
        node = layout.nodes.get(usize::from(parent))?;
        if matches!(
            node.kind,
            NodeKind::Group {
                working_directory: true,
                ..
            }
        ) {
            return match layout.place {
                // The compiler keeps such a group and its children in one shard.
                operon_core::plan::Place::Static(part) => part
                    .slots
                    .binary_search(&parent)
                    .ok()
                    .and_then(|index| u16::try_from(index).ok()),
                operon_core::plan::Place::Chunk { .. } => Some(slot - own + parent),
            };
        }
    }
    None
}

/// Masks every text in a value, keys included.
pub fn mask_value(masker: &Masker, value: &mut Value) {
    match value {
        Value::String(text) => {
            if let std::borrow::Cow::Owned(masked) = masker.mask(text) {
                *text = masked;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask_value(masker, item)),
        Value::Object(entries) => {
            let renamed: Map<String, Value> = std::mem::take(entries)
                .into_iter()
                .map(|(key, mut entry)| {
                    mask_value(masker, &mut entry);
                    (masker.mask(&key).into_owned(), entry)
                })
                .collect();
            *entries = renamed;
        }
        Value::Number(number) => {
            let text = number.to_string();
            if let std::borrow::Cow::Owned(masked) = masker.mask(&text) {
                *value = Value::String(masked);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}
