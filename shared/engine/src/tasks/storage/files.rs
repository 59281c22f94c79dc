//! Artifacts as local files, and work on them outside the asynchronous threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ports::{ArtifactError, ArtifactUri};
use crate::tasks::{TaskCall, TaskError};

/// A directory that vanishes with what is in it.
pub(in crate::tasks) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(in crate::tasks) fn new() -> Result<Self, TaskError> {
        tempfile::tempdir().map(Self).map_err(|error| {
            TaskError::failed(format!(
                "cannot make a directory for temporary files: {error}"
            ))
        })
    }

    pub(in crate::tasks) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The artifact with that URI as a local file, valid while this directory is there.
    pub(in crate::tasks) async fn local(
        &self,
        call: &TaskCall<'_>,
        uri: &str,
    ) -> Result<PathBuf, TaskError> {
        let uri: ArtifactUri = uri.trim().parse()?;
        Ok(call.ports.artifacts.local_path(&uri, self.path()).await?)
    }
}

/// Stores a local file as the artifact `name` of this attempt, and gives its URI.
pub(in crate::tasks) async fn keep(
    call: &TaskCall<'_>,
    file: &Path,
    name: &str,
) -> Result<String, TaskError> {
    let uri = artifact(call, name)?;
    call.ports.artifacts.put_file(&uri, file).await?;
    Ok(uri.to_string())
}

/// The URI of the artifact `name` of this attempt.
pub(in crate::tasks) fn artifact(
    call: &TaskCall<'_>,
    name: &str,
) -> Result<ArtifactUri, ArtifactError> {
    ArtifactUri::new(&format!("{}{name}", call.artifact_prefix))
}

/// Says when nobody waits for the work any more.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Fails once the task was stopped; asked for every record.
    pub(super) fn check(&self) -> Result<(), TaskError> {
        if self.0.load(Ordering::Relaxed) {
            return Err(TaskError::failed("the task was stopped"));
        }
        Ok(())
    }
}

/// Stops the work when the future that waits for it is dropped, as at a timeout.
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Does blocking work in a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(Stop) -> Result<T, TaskError> + Send + 'static,
) -> Result<T, TaskError> {
    let guard = StopOnDrop(Stop::default());
    let stop = guard.0.clone();
    match tokio::task::spawn_blocking(move || work(stop)).await {
        Ok(result) => result,
        Err(error) => Err(TaskError::failed(format!("the task broke off: {error}"))),
    }
}

/// An error of the file system, for people.
pub(super) fn io(what: &str) -> impl Fn(std::io::Error) -> TaskError {
    move |error| TaskError::failed(format!("{what} failed: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn work_ends_when_nobody_waits() {
        let (ended, wait) = std::sync::mpsc::channel();
        let work = blocking(move |stop| {
            while stop.check().is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            ended.send(()).ok();
            Ok(())
        });
        tokio::time::timeout(Duration::from_millis(20), work)
            .await
            .unwrap_err();
        tokio::task::spawn_blocking(move || wait.recv_timeout(Duration::from_secs(10)))
            .await
            .unwrap()
            .unwrap();
    }
}
