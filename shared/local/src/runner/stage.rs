//! Input files: written into the working directory before the start.
//!
//! Files from internal storage are read-only there, because an artifact never changes: where the store's
//! file is protected from who works there (a process that is not root, and nobody may write to it), it is linked,
//! otherwise copied. Root of a container writes to files that nobody may write to, so for containers all is copied.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use operon_core::exec::Reason;
use operon_engine::ports::{ArtifactStore, FileSource, InputFile};

use super::directory::{PathError, WorkDir, write_new};

/// Smaller files are copied: that costs no more than a link.
const LINK_MIN: u64 = 64 * 1024;

/// Why an attempt cannot start, in words for people.
#[derive(Debug)]
pub(crate) struct StageError {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl StageError {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::InvalidInput,
            message: message.into(),
        }
    }

    pub(crate) fn launch(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::Launch,
            message: message.into(),
        }
    }
}

impl From<PathError> for StageError {
    fn from(error: PathError) -> Self {
        match error {
            PathError::Outside(_) | PathError::NotADirectory(..) => {
                Self::invalid(format!("input file: {error}"))
            }
            PathError::Io { .. } => Self::launch(format!("input file: {error}")),
        }
    }
}

/// Who works with the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// Processes of this user.
    Process,
    /// A container, whose user may be root.
    Container,
}

impl For {
    /// Whether a file that nobody may write to cannot be written to by them.
    fn may_link(self, root: bool) -> bool {
        match self {
            Self::Process => !root,
            Self::Container => false,
        }
    }
}

/// Writes all input files.
pub(crate) async fn input_files(
    dir: &WorkDir,
    files: &[InputFile],
    artifacts: &dyn ArtifactStore,
    whom: For,
) -> Result<(), StageError> {
    let linked = whom.may_link(rustix::process::geteuid().is_root());
    for file in files {
        let target = dir.place(&file.path)?;
        match &file.source {
            FileSource::Inline(text) => {
                let mode = if file.executable { 0o755 } else { 0o644 };
                write_new(&target, text.as_bytes(), mode).map_err(|error| cannot(file, &error))?;
            }
            FileSource::Artifact(uri) => {
                let source =
                    artifacts
                        .local_path(uri, &dir.temporary())
                        .await
                        .map_err(|error| {
                            StageError::invalid(format!("input file `{}`: {error}", file.path))
                        })?;
                let mode = if file.executable { 0o555 } else { 0o444 };
                let placed = blocking(move || artifact(&source, &target, mode, linked)).await;
                placed.map_err(|error| cannot(file, &error))?;
            }
            FileSource::Path(source) => {
                let mode = if file.executable { 0o755 } else { 0o644 };
                let copied = {
                    let source = source.clone();
                    blocking(move || copy(&source, &target, mode)).await
                };
                copied.map_err(|error| {
                    StageError::invalid(format!(
                        "input file `{}` cannot be copied from {}: {error}",
                        file.path,
                        source.display()
                    ))
                })?;
            }
        }
    }
    Ok(())
}

fn cannot(file: &InputFile, error: &io::Error) -> StageError {
    StageError::launch(format!(
        "input file `{}` cannot be written: {error}",
        file.path
    ))
}

/// Runs something that may take long on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(io::Error::other(error)),
    }
}

fn artifact(source: &Path, target: &Path, mode: u32, may_link: bool) -> io::Result<()> {
    if may_link && link(source, target, mode)? {
        return Ok(());
    }
    copy(source, target, mode)
}

/// Links a file that is large and that nobody may write to; whether it did.
fn link(source: &Path, target: &Path, mode: u32) -> io::Result<bool> {
    let found = fs::metadata(source)?;
    let mode_found = found.permissions().mode();
    if mode_found & 0o222 != 0 || mode_found & 0o777 != mode || found.len() < LINK_MIN {
        return Ok(false);
    }
    let _ = fs::remove_file(target);
    Ok(fs::hard_link(source, target).is_ok())
}

fn copy(source: &Path, target: &Path, mode: u32) -> io::Result<()> {
    if !fs::metadata(source)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    // Made anew, so that a link in its place is not written through.
    write_new(target, b"", 0o600)?;
    fs::copy(source, target)?;
    fs::set_permissions(target, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_container_never_gets_the_file_of_the_store_itself() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("stored");
        fs::write(&source, vec![b'A'; usize::try_from(LINK_MIN).unwrap()]).unwrap();
        fs::set_permissions(&source, fs::Permissions::from_mode(0o444)).unwrap();
        // As a user who is not root, whoever runs the test.
        for (whom, linked) in [(For::Process, true), (For::Container, false)] {
            let target = directory.path().join(format!("{whom:?}"));
            artifact(&source, &target, 0o444, whom.may_link(false)).unwrap();
            let inode = |path: &Path| fs::metadata(path).unwrap().ino();
            assert_eq!(inode(&source) == inode(&target), linked, "{whom:?}");
        }
        assert!(!For::Process.may_link(true));
    }
}
