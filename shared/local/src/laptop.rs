//! Everything put together: an engine over one state directory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use operon_core::exec::Truth;
use operon_engine::Ports;
use operon_engine::ports::{
    ArtifactError, AttemptId, AttemptResult, AttemptSpec, ExecutionId, RunnerError, SecretError,
    StoreError, TaskRunner,
};
use operon_engine::smtp::SmtpMessages;
use operon_engine::tasks::HttpClients;

use crate::artifacts::DirectoryArtifacts;
use crate::buckets::DirectoryServices;
use crate::clock::SystemClock;
use crate::dispatch::{DispatchError, Dispatcher, Limits};
use crate::embedded::{Engine, FlowSource, Observer, Parts};
use crate::logs::LogFiles;
use crate::runner::{DockerRunner, ProcessRunner, RunnerChoice, RunnerConfig, RunnerSet};
use crate::secrets::LocalSecrets;
use crate::state_dir::{StateDir, StateDirError, StateLock};
use crate::store::SqliteStore;
use crate::triggers::{BUCKETS, Buckets};

/// Bytes of log kept of one attempt.
const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What may be chosen about an engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// What attempts may use together.
    pub limits: Limits,
    /// Which runner takes attempts.
    pub runner: RunnerChoice,
    /// A file with secrets; none looks for one in the state directory.
    pub secrets: Option<PathBuf>,
    /// Variables in which secrets are looked for.
    pub variables: Vec<(OsString, OsString)>,
    /// Directories that stand for buckets, beside those of the state directory.
    pub buckets: BTreeMap<String, PathBuf>,
}

/// Why an engine cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state directory.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The database in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The artifacts in it.
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
    /// Secrets.
    #[error(transparent)]
    Secrets(#[from] SecretError),
    /// Attempts of an earlier engine.
    #[error("attempts of an earlier engine could not be ended: {0}")]
    Orphans(#[from] RunnerError),
    /// The mail server.
    #[error("{0}")]
    Messages(String),
    /// The log files.
    #[error("logs cannot be written: {0}")]
    Logs(#[from] std::io::Error),
}

/// An engine with the state directory it alone works on.
pub struct Laptop {
    /// Works.
    pub engine: Engine,
    /// Its state.
    pub store: Arc<SqliteStore>,
    /// Its logs.
    pub logs: Arc<LogFiles>,
    _lock: StateLock,
}

impl Laptop {
    /// Opens a state directory, ends what an earlier engine left running, and takes up its executions once
    /// the engine works.
    pub async fn open(
        path: &Path,
        options: Options,
        flows: Box<dyn FlowSource>,
        observer: Box<dyn Observer>,
    ) -> Result<Self, OpenError> {
        Self::open_with(path, options, |_| flows, observer).await
    }

    /// [`Self::open`] with flows that are found through the engine's ports.
    pub async fn open_with(
        path: &Path,
        options: Options,
        flows: impl FnOnce(&Ports) -> Box<dyn FlowSource>,
        observer: Box<dyn Observer>,
    ) -> Result<Self, OpenError> {
        let state = StateDir::open(path)?;
        let lock = state.lock()?;
        let Inside { ports, store, logs } = inside(
            &state,
            options.variables,
            options.secrets.as_deref(),
            options.buckets,
        )?;
        let config = RunnerConfig {
            log_bytes_max: LOG_BYTES_MAX,
            ..RunnerConfig::new(state.root())
        };
        let (artifacts, claims) = (ports.artifacts.clone(), store.clone());
        let process = ProcessRunner::new(
            config.clone(),
            claims.clone(),
            artifacts.clone(),
            logs.clone(),
        );
        let docker = DockerRunner::new(config, claims, artifacts, logs.clone());
        let runner = RunnerSet::new(options.runner, process, docker);
        runner.recover_orphans().await?;
        let dispatched = Dispatched {
            dispatcher: Dispatcher::new(options.limits),
            runner: Arc::new(runner),
        };
        let flows = flows(&ports);
        let engine = Engine::new(Parts {
            ports,
            store: store.clone(),
            runner: Arc::new(dispatched),
            flows,
            observer,
            http: HttpClients::default(),
        });
        Ok(Self {
            engine,
            store,
            logs,
            _lock: lock,
        })
    }
}

/// A runner that starts attempts only when they fit into the machine.
struct Dispatched {
    dispatcher: Dispatcher,
    runner: Arc<dyn TaskRunner>,
}

#[async_trait]
impl TaskRunner for Dispatched {
    async fn run(&self, spec: AttemptSpec) -> Result<AttemptResult, RunnerError> {
        let permit = self
            .dispatcher
            .admit(&spec)
            .await
            .map_err(|error| match error {
                DispatchError::TooLarge { .. } => RunnerError::Unavailable(error.to_string()),
                DispatchError::Cancelled => RunnerError::Stopped,
                DispatchError::Duplicate => RunnerError::AlreadyLaunched,
            })?;
        let result = self.runner.run(spec).await;
        drop(permit);
        result
    }

    async fn stop(&self, id: &AttemptId) -> Result<(), RunnerError> {
        // Also when it waited: the runner makes sure that it never starts.
        let _ = self.dispatcher.cancel(id);
        self.runner.stop(id).await
    }

    async fn probe(&self, id: &AttemptId) -> Result<Truth, RunnerError> {
        self.runner.probe(id).await
    }

    async fn forget(&self, id: &ExecutionId) {
        self.runner.forget(id).await;
    }
}

/// What an engine works with.
struct Inside {
    ports: Ports,
    store: Arc<SqliteStore>,
    logs: Arc<LogFiles>,
}

/// The ports of a state directory on which an engine works, for whoever answers it from another process.
pub fn ports_beside(path: &Path, options: Options) -> Result<Ports, OpenError> {
    let state = StateDir::open(path)?;
    let secrets = options.secrets.as_deref();
    inside(&state, options.variables, secrets, options.buckets).map(|inside| inside.ports)
}

fn inside(
    state: &StateDir,
    variables: Vec<(OsString, OsString)>,
    secrets: Option<&Path>,
    buckets: BTreeMap<String, PathBuf>,
) -> Result<Inside, OpenError> {
    let store = Arc::new(SqliteStore::open(&state.database())?);
    let logs = Arc::new(LogFiles::start(&state.logs(), LOG_BYTES_MAX)?);
    let variable = |name: &str| {
        let found = variables.iter().find(|(key, _)| key == name);
        found.and_then(|(_, value)| value.to_str())
    };
    let mut messages = SmtpMessages::new(variable("OPERON_SMTP_URL"), variable("OPERON_MAIL_FROM"))
        .map_err(OpenError::Messages)?;
    if let Some(file) = variable("OPERON_SMTP_CA") {
        let wrong = |error: String| OpenError::Messages(format!("OPERON_SMTP_CA, {file}: {error}"));
        let pem = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
        messages = messages.with_authority(&pem).map_err(wrong)?;
    }
    let secrets = LocalSecrets::capture(variables, secrets, state.root())?;
    let ports = Ports {
        store: store.clone(),
        records: store.clone(),
        artifacts: Arc::new(DirectoryArtifacts::open(&state.artifacts())?),
        secrets: Arc::new(secrets),
        clock: Arc::new(SystemClock),
        messages: Arc::new(messages),
        services: Arc::new(DirectoryServices(Buckets {
            root: state.root().join(BUCKETS),
            named: buckets,
        })),
        logs: logs.clone(),
    };
    Ok(Inside { ports, store, logs })
}
