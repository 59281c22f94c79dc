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
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Bytes read of a lock file, which holds a process id.
const LOCK_BYTES: u64 = 32;
/// How long the lock of an engine that is gone is waited for; see [`StateDir::lock`].
const HANDOVER_MAX: Duration = Duration::from_secs(10);
/// How often it is asked for meanwhile.
const HANDOVER_LOOK: Duration = Duration::from_millis(2);

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
    ///
    /// A program that an engine was starting when it was killed shares the lock until it has replaced the engine's
    /// image: moments, but long enough for a successor that begins at once. So the lock of an engine that is gone is
    /// waited for. One in another PID namespace is not seen: it is waited for too, and not named.
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
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            let holder = holder(&mut file);
            if holder.is_some() || start.elapsed() > HANDOVER_MAX {
                return Err(StateDirError::Locked {
                    path: self.root.clone(),
                    pid: holder,
                });
            }
            std::thread::sleep(HANDOVER_LOOK);
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(StateLock { _file: file })
    }
}

/// The engine that a lock file names, if it is alive. None also when the file names none: who has just taken the lock
/// writes its number a moment later.
fn holder(file: &mut File) -> Option<u32> {
    file.rewind().ok()?;
    let mut text = String::new();
    file.take(LOCK_BYTES).read_to_string(&mut text).ok()?;
    let pid: u32 = text.trim().parse().ok()?;
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    // One that we may not signal is alive too.
    (test_kill_process(process) != Err(Errno::SRCH)).then_some(pid)
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
    use std::process::Command;

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

    /// A child that has the lock's file open is what a program is that a killed engine was just starting.
    #[test]
    fn the_lock_of_an_engine_that_is_gone_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let dir = StateDir::open(directory.path()).unwrap();
        let mut engine = Command::new("true").spawn().unwrap();
        engine.wait().unwrap();
        let StateLock { _file: file } = dir.lock().unwrap();
        fs::write(directory.path().join("lock"), format!("{}\n", engine.id())).unwrap();
        let mut starting = Command::new("sleep")
            .arg("0.3")
            .stdin(file)
            .spawn()
            .unwrap();
        let lock = dir.lock().unwrap();
        assert!(starting.try_wait().unwrap().is_some());
        let text = dir.lock().unwrap_err().to_string();
        assert!(
            text.contains(&format!("(process {})", std::process::id())),
            "{text}"
        );
        drop(lock);
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
