//! The state directory from the outside: a store and logs, with or without an engine at work.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use operon_engine::ports::{ExecutionId, ExecutionRow, StateStore as _};
use operon_local::logs::LogReader;
use operon_local::state_dir::{StateDir, StateDirError, StateLock};
use operon_local::store::SqliteStore;

use crate::exit::Usage;

/// Executions of a state directory, to be read.
pub(crate) struct State {
    /// The directory.
    pub(crate) dir: StateDir,
    /// As the user may write it in a command.
    pub(crate) path: PathBuf,
    /// What is stored.
    pub(crate) store: SqliteStore,
    /// Logs of attempts.
    pub(crate) logs: LogReader,
}

impl State {
    /// Opens a state directory that exists.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        if !path.join("state.sqlite").is_file() {
            return Err(
                Usage::new(format!("there are no executions in `{}`", path.display()))
                    .help("run a flow first, or choose the state directory with `--state`")
                    .into(),
            );
        }
        let dir = StateDir::open(path)?;
        let store = SqliteStore::open(&dir.database())?;
        let logs = LogReader::new(&dir.logs());
        Ok(Self {
            path: path.to_owned(),
            dir,
            store,
            logs,
        })
    }

    /// An execution that must be there.
    pub(crate) async fn execution(&self, id: &ExecutionId) -> anyhow::Result<ExecutionRow> {
        let row = self.store.execution(id).await?;
        let row = row.ok_or_else(|| {
            Usage::new(format!(
                "there is no execution `{id}` in `{}`",
                self.path.display()
            ))
            .help("`operon executions list` shows those that are there")
        })?;
        Ok(row)
    }

    /// The engine's lock, if no engine works on the directory.
    pub(crate) fn lock(&self) -> anyhow::Result<Option<StateLock>> {
        match self.dir.lock() {
            Ok(lock) => Ok(Some(lock)),
            Err(StateDirError::Locked { .. }) => Ok(None),
            Err(error @ StateDirError::Io { .. }) => Err(error.into()),
        }
    }
}

/// A runtime for commands that only read.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?
        .block_on(future)
}

/// ` --state DIR` for commands that are suggested, unless the user need not write it.
pub(crate) fn state_option(path: &Path) -> String {
    if path == Path::new(DEFAULT) {
        String::new()
    } else {
        format!(" --state {}", path.display())
    }
}

/// The state directory unless another one is chosen.
pub(crate) const DEFAULT: &str = ".operon";
