//! Intake: from a request to start a flow to an execution that is stored.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use operon_core::lang::inputs::{InputError, resolve_inputs};
use operon_core::lang::model::{CheckBehavior, Input, InputType};
use operon_core::plan::{Plan, content_hash};
use serde_json::{Map, Value, json};

use crate::decide::truthy;
use crate::evaluate::{EvaluateError, Evaluator, Overlay, Site};
use crate::files::Beside;
use crate::plans::LoadedPlan;
use crate::ports::{
    ArtifactError, ArtifactUri, ExecutionId, ExecutionMeta, ExecutionRow, FileSource, StoreError,
    TaskRunKey,
};
use crate::script::text_of;
use crate::templates::Tree;

/// Bytes of all input values together, files not counted.
pub const INPUTS_BYTES_MAX: usize = 1024 * 1024;

/// A wish to start a flow.
#[derive(Debug, Clone)]
pub struct Request {
    /// The id the execution gets: derived from trigger and event where there is one.
    pub id: ExecutionId,
    /// The flow, compiled.
    pub plan: Plan,
    /// Directory of its namespace files.
    pub flow_dir: Option<String>,
    /// Values by input id.
    pub inputs: BTreeMap<String, Value>,
    /// In addition to the flow's.
    pub labels: BTreeMap<String, String>,
    /// `trigger.*`.
    pub trigger: Value,
    /// Task run that waits for it.
    pub parent: Option<(ExecutionId, TaskRunKey, u8)>,
    /// Execution it replays, and the task it replays from.
    pub replay_of: Option<(ExecutionId, String)>,
    /// Larger goes first among queued executions.
    pub priority: i32,
}

/// Where a wish comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The deployed revision that is started; none numbers the plan.
    pub revision: Option<u32>,
    /// Whether FILE inputs may be paths of this machine. From elsewhere they must be artifacts: a path would
    /// let whoever may start a flow read every file of the machine.
    pub local_files: bool,
}

impl Origin {
    /// A person at this machine with a file of a flow.
    pub const LOCAL: Self = Self {
        revision: None,
        local_files: true,
    };
    /// Somebody elsewhere.
    pub const REMOTE: Self = Self {
        revision: None,
        local_files: false,
    };
}

/// An execution ready to be stored and started.
#[derive(Debug, Clone)]
pub struct Created {
    /// Its row.
    pub row: ExecutionRow,
    /// Its plan's canonical bytes.
    pub plan: Vec<u8>,
    /// Guards that do not hold but do not forbid the execution either.
    pub warnings: Vec<String>,
}

/// Why there is no execution.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The flow must not run.
    #[error("flow `{0}` is disabled; remove `disabled: true` to run it")]
    Disabled(String),
    /// Values are missing or not valid.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Inputs(Vec<InputError>),
    /// Values are too large.
    #[error(
        "the inputs have {0} bytes; at most {INPUTS_BYTES_MAX} are possible: pass large data as a FILE input"
    )]
    TooLarge(usize),
    /// A guard forbids it.
    #[error("{0}")]
    Blocked(String),
    /// A file cannot be stored.
    #[error("input `{id}`: {reason}")]
    File {
        /// Of the input.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What cannot be is wrong with the input; what may succeed later is tried again by whoever asked.
fn unread(id: &str, error: ArtifactError) -> IntakeError {
    match error {
        ArtifactError::Failed(text) => StoreError::Busy(text).into(),
        error @ (ArtifactError::BadUri(_)
        | ArtifactError::Missing(_)
        | ArtifactError::TooLarge { .. }
        | ArtifactError::Refused(_)) => IntakeError::File {
            id: id.to_owned(),
            reason: error.to_string(),
        },
    }
}

impl Evaluator {
    /// Validates a request and makes the execution. Nothing but input files is stored yet.
    pub async fn intake(&self, request: Request) -> Result<Created, IntakeError> {
        self.intake_from(request, Origin::LOCAL).await
    }

    /// [`Self::intake`] for a wish of another origin.
    pub async fn intake_from(
        &self,
        request: Request,
        origin: Origin,
    ) -> Result<Created, IntakeError> {
        let Request {
            id,
            plan,
            flow_dir,
            inputs,
            labels,
            trigger,
            parent,
            replay_of,
            priority,
        } = request;
        if plan.disabled {
            return Err(IntakeError::Disabled(plan.flow));
        }
        let bytes = plan.canonical_json();
        let hash = content_hash(&bytes);
        let now = self.ports.clock.now_ms();
        let revision = if let Some(revision) = origin.revision {
            revision
        } else {
            let store = &self.ports.store;
            store.revision(&plan.namespace, &plan.flow, &hash).await?
        };
        let mut all_labels = plan.labels.clone();
        all_labels.extend(labels);
        let mut meta = ExecutionMeta {
            id,
            namespace: plan.namespace.clone(),
            flow: plan.flow.clone(),
            revision,
            plan_hash: hash.clone(),
            inputs: Map::new(),
            labels: all_labels,
            trigger,
            created_ms: now,
            parent,
            replay_of,
            flow_dir,
            priority,
        };
        let loaded = LoadedPlan::new(plan, hash);
        meta.inputs = self
            .resolve(&loaded, &meta, &loaded.plan.inputs, &inputs, origin)
            .await?;
        let (refused, warnings) = self.checks(&loaded, &meta).await?;
        let ended = refused.is_some().then_some(now);
        let row = ExecutionRow {
            state: if refused.is_some() {
                "FAILED"
            } else {
                "CREATED"
            }
            .to_owned(),
            reason: refused,
            started_ms: None,
            ended_ms: ended,
            outputs: Map::new(),
            labels: meta.labels.clone(),
            meta,
        };
        Ok(Created {
            row,
            plan: bytes,
            warnings,
        })
    }

    /// Checks the values given for declared inputs of a flow or a pause, and stores its files.
    pub(crate) async fn resolve(
        &self,
        plan: &LoadedPlan,
        meta: &ExecutionMeta,
        declared: &[Input],
        given: &BTreeMap<String, Value>,
        origin: Origin,
    ) -> Result<Map<String, Value>, IntakeError> {
        let mut roots = Map::new();
        roots.insert(
            "vars".to_owned(),
            Value::Object(plan.plan.variables.clone()),
        );
        roots.insert("labels".to_owned(), json!(meta.labels));
        roots.insert("trigger".to_owned(), meta.trigger.clone());
        roots.insert(
            "flow".to_owned(),
            json!({"id": meta.flow, "namespace": meta.namespace, "revision": meta.revision}),
        );
        let site = Site::flow(plan, meta);
        let lookups = self.lookups(site);
        let context = operon_core::expr::Context::new(roots, lookups.clone());
        let resolved = lookups
            .resolve(&self.ports, || resolve_inputs(declared, given, &context))
            .await
            .map_err(IntakeError::Inputs)?;
        let mut values = resolved.values;
        self.check_secrets(meta, &resolved.secrets, &values).await?;
        for input in declared
            .iter()
            .filter(|input| input.input_type == InputType::File)
        {
            let pointer = format!("/{}", input.id.replace('.', "/"));
            let mut tree = Value::Object(std::mem::take(&mut values));
            if let Some(value) = tree.pointer_mut(&pointer) {
                let text = text_of(value);
                if !text.is_empty() && !ArtifactUri::is_uri(&text) {
                    let uri = self.file(meta, &input.id, &text, origin).await?;
                    *value = Value::String(uri.to_string());
                }
            }
            if let Value::Object(tree) = tree {
                values = tree;
            }
        }
        let bytes = Value::Object(values.clone()).to_string().len();
        if bytes > INPUTS_BYTES_MAX {
            return Err(IntakeError::TooLarge(bytes));
        }
        Ok(values)
    }

    /// A SECRET input holds the name of a secret. One that does not exist may well be the secret itself: it is
    /// refused before it is stored, and not repeated in the message (invariant 8).
    async fn check_secrets(
        &self,
        meta: &ExecutionMeta,
        ids: &[String],
        values: &Map<String, Value>,
    ) -> Result<(), IntakeError> {
        let tree = Value::Object(values.clone());
        let mut errors = Vec::new();
        for id in ids {
            let Some(Value::String(name)) = tree.pointer(&format!("/{}", id.replace('.', "/")))
            else {
                continue;
            };
            if self
                .ports
                .secrets
                .secret(&meta.namespace, name)
                .await
                .is_err()
            {
                let reason = "its value must be the name of a secret that exists, never the secret \
                              itself; put the secret into the environment or the secrets file and pass \
                              its name";
                errors.push(InputError {
                    id: id.clone(),
                    reason: reason.to_owned(),
                });
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(IntakeError::Inputs(errors))
        }
    }

    /// The artifact for a FILE input that is none yet: an object of S3, or a file beside the flow or of this machine.
    async fn file(
        &self,
        meta: &ExecutionMeta,
        id: &str,
        text: &str,
        origin: Origin,
    ) -> Result<ArtifactUri, IntakeError> {
        let failed = |reason: String| IntakeError::File {
            id: id.to_owned(),
            reason,
        };
        let artifacts = &*self.ports.artifacts;
        if text.starts_with("s3://") {
            let name = text.rsplit('/').next().filter(|name| !name.is_empty());
            let key = format!(
                "executions/{}/inputs/{id}/{}",
                meta.id,
                name.unwrap_or("file")
            );
            let uri = ArtifactUri::new(&key).map_err(|error| failed(error.to_string()))?;
            let of_trigger = meta.trigger.get("uri").and_then(Value::as_str) == Some(text);
            let version = meta.trigger.get("versionId").and_then(Value::as_str);
            let version = version.filter(|version| of_trigger && *version != "null");
            let copied = artifacts.import(text, version, &uri).await;
            copied.map_err(|error| unread(id, error))?;
            return Ok(uri);
        }
        // What is deployed with a flow may be read by whoever starts it; a file of this machine may not.
        if let Some(place) = meta
            .flow_dir
            .as_deref()
            .filter(|place| ArtifactUri::is_uri(place))
        {
            let beside = Beside::load(artifacts, Some(place)).await;
            let beside = beside.map_err(|error| unread(id, error))?;
            if let Ok(FileSource::Artifact(uri)) = beside.find(text) {
                return Ok(uri);
            }
        }
        if !origin.local_files {
            let reason = "its value must be an artifact (`operon:///…`): upload the file first";
            return Err(failed(reason.to_owned()));
        }
        self.store_file(meta, id, text).await
    }

    /// Copies a file of this machine into internal storage: what the flow reads does not change any more.
    async fn store_file(
        &self,
        meta: &ExecutionMeta,
        id: &str,
        path: &str,
    ) -> Result<ArtifactUri, IntakeError> {
        let failed = |reason: String| IntakeError::File {
            id: id.to_owned(),
            reason,
        };
        let place = path
            .strip_prefix("nsfile:///")
            .or(path.strip_prefix("file://"))
            .unwrap_or(path);
        let full: PathBuf = match &meta.flow_dir {
            Some(root) => Path::new(root).join(place),
            None => PathBuf::from(place),
        };
        let name = full
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("file")
            .to_owned();
        let uri = ArtifactUri::new(&format!("executions/{}/inputs/{id}/{name}", meta.id))
            .map_err(|error| failed(error.to_string()))?;
        let missing = |error: std::io::Error| {
            failed(format!(
                "`{}` cannot be read: {error}; give the path of a file",
                full.display()
            ))
        };
        // Storing takes over the file it is given, so it gets a copy.
        let copy = tempfile::NamedTempFile::new()
            .map_err(missing)?
            .into_temp_path();
        tokio::fs::copy(&full, &copy).await.map_err(missing)?;
        let stored = self.ports.artifacts.put_file(&uri, &copy).await;
        stored.map_err(|error: ArtifactError| failed(error.to_string()))?;
        Ok(uri)
    }

    /// Evaluates the guards: what forbids the execution to succeed, and what is only to be said.
    async fn checks(
        &self,
        plan: &LoadedPlan,
        meta: &ExecutionMeta,
    ) -> Result<(Option<String>, Vec<String>), IntakeError> {
        let site = Site::flow(plan, meta);
        let mut failed = None;
        let mut warnings = Vec::new();
        for check in &plan.plan.checks {
            let holds = self
                .text(site, &check.when)
                .await
                .map(|value| truthy(&value));
            let message = match holds {
                Ok(true) => continue,
                Ok(false) => {
                    let message = self.text(site, &check.message).await;
                    message.map_or_else(|_| check.message.clone(), |value| text_of(&value))
                }
                Err(EvaluateError::Store(error)) => return Err(error.into()),
                Err(EvaluateError::Expression(error)) => format!("check `{}`: {error}", check.when),
            };
            match check.behavior {
                CheckBehavior::BlockExecution => return Err(IntakeError::Blocked(message)),
                CheckBehavior::FailExecution => failed = failed.or(Some(message)),
                CheckBehavior::CreateExecution => warnings.push(message),
            }
        }
        Ok((failed, warnings))
    }

    async fn text(&self, site: Site<'_>, text: &str) -> Result<Value, EvaluateError> {
        let tree = Tree::parse(&Value::String(text.to_owned()))?;
        Ok(self
            .render(site, &tree, &Map::new(), &Overlay::default())
            .await?
            .value)
    }
}
