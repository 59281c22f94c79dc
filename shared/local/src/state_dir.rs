//! The state directory: where one local engine keeps everything.
//!
//! ```text
//! state.sqlite   executions, plans, locks (see `store`)
//! artifacts/     files between tasks
//! logs/          one file per attempt that logs
//! work/          working directories of running attempts
//! lock           held by the running engine
//! ```
//!
//! Invariant: at most one engine works on a state directory. Readers (`operon logs`) need no lock.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Bytes read of a lock file, which holds a process id.
const LOCK_BYTES: u64 = 32;

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another engine works on it.
    #[error(
        "{} is in use by another engine{}; stop that one, or choose another state directory",
        path.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Locked {
        /// The state directory.
        path: PathBuf,
        /// The other engine, if it said so.
        pid: Option<u32>,
    },
    /// The file system refuses.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// `create`, `lock`, …
        action: &'static str,
        /// What it was about.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A state directory whose parts exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    root: PathBuf,
}

impl StateDir {
    /// Creates what is missing; new directories can be read by their owner only.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let failed = |path: &Path, error| StateDirError::Io {
            action: "create",
            path: path.to_owned(),
            error,
        };
        create_private(path).map_err(|error| failed(path, error))?;
        // Absolute, so that a change of the working directory does not move it; not through a symbolic link.
        let root = fs::canonicalize(path).map_err(|error| failed(path, error))?;
        let dir = Self { root };
        for part in [dir.artifacts(), dir.logs(), dir.work()] {
            create_private(&part).map_err(|error| failed(&part, error))?;
        }
        Ok(dir)
    }

    /// The directory itself, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The state database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.root.join("state.sqlite")
    }

    /// Files between tasks.
    #[must_use]
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// Logs of attempts.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Working directories of running attempts.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Takes the engine's lock, or says who has it. The kernel gives it back when the process ends, however
    /// it ends.
    pub fn lock(&self) -> Result<StateLock, StateDirError> {
        let path = self.root.join("lock");
        let failed = |error| StateDirError::Io {
            action: "lock",
            path: path.clone(),
            error,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(failed)?;
                file.rewind().map_err(failed)?;
                writeln!(file, "{}", std::process::id()).map_err(failed)?;
                Ok(StateLock { _file: file })
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Without a readable number the message names nobody.
                let _ = file.take(LOCK_BYTES).read_to_string(&mut text);
                Err(StateDirError::Locked {
                    path: self.root.clone(),
                    pid: text.trim().parse().ok(),
                })
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// The engine's lock; given back when dropped.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

fn create_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_parts_are_private_and_absolute() {
        let directory = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&directory.path().join("a/b")).unwrap();
        for part in [
            dir.root().to_owned(),
            dir.artifacts(),
            dir.logs(),
            dir.work(),
        ] {
            let mode = fs::metadata(&part).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", part.display());
            assert!(part.is_absolute());
        }
        assert_eq!(StateDir::open(dir.root()).unwrap(), dir);
    }

    #[test]
    fn the_lock_excludes_others_and_names_its_holder() {
        let directory = tempfile::tempdir().unwrap();
        let dir = StateDir::open(directory.path()).unwrap();
        let lock = dir.lock().unwrap();
        let text = dir.lock().unwrap_err().to_string();
        let pid = std::process::id().to_string();
        assert!(text.contains(&format!("(process {pid})")), "{text}");
        assert!(text.contains("stop that one"), "{text}");
        drop(lock);
        assert!(dir.lock().is_ok());
    }

    #[test]
    fn a_file_in_its_place_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "").unwrap();
        let text = StateDir::open(&path).unwrap_err().to_string();
        assert!(text.contains(&path.display().to_string()), "{text}");
    }
}
