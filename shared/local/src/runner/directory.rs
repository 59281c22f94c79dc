//! The working directory of an attempt: made clean, filled, and removed.
//!
//! Layout: `<state>/work/<execution>/<name>-<attempt>-<hash>/` is the control directory. In it are `work/`, the
//! working directory itself, `tmp/`, `output/` and the files a task hands values back in. A shared working
//! directory is made once per execution, beside these, and stays until the execution is over.
//!
//! Directories that an attempt leaves as it found them are spare: the next attempt takes them over by one
//! rename. Making and removing eight inodes per attempt costs more than a short task, above all where the
//! file system keeps away from inodes removed a moment ago, as ext4 does.
//!
//! Invariant: nothing is written or read outside these directories, whatever names and links say.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use operon_engine::ports::{AttemptId, AttemptSpec, ExecutionId};
use sha2::{Digest as _, Sha256};

/// Of an attempt that runs in a clean directory.
#[derive(Debug, Clone)]
pub(crate) struct WorkDir {
    /// `WORKING_DIR`.
    pub(crate) path: PathBuf,
    /// Beside it.
    pub(crate) control: PathBuf,
    shared: bool,
}

/// A path inside a directory that is not one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PathError {
    /// Absolute, with `..`, empty, or with a NUL.
    #[error(
        "the path `{0}` is not inside the working directory; write a relative path without `..`"
    )]
    Outside(String),
    /// A parent is a link or a file.
    #[error("`{0}` cannot be written: `{1}` is not a directory")]
    NotADirectory(String, String),
    /// Anything else.
    #[error("`{path}` cannot be written: {error}")]
    Io {
        /// Inside the working directory.
        path: String,
        /// What the system said.
        error: io::Error,
    },
}

/// The first 12 hexadecimal digits of the hash of `text`.
pub(crate) fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(6).fold(String::new(), |mut hex, byte| {
        use std::fmt::Write as _;
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Letters, digits, `.`, `_` and `-` of a name, at most 60; anything else becomes `_`.
fn plain(name: &str) -> String {
    let plain: String = name
        .chars()
        .take(60)
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => c,
            _ => '_',
        })
        .collect();
    // A name of dots alone is a way out.
    plain.trim_start_matches('.').to_owned()
}

/// Where the directories of an execution are.
pub(crate) fn execution_directory(state: &Path, execution: &ExecutionId) -> PathBuf {
    state.join("work").join(execution.as_str())
}

impl WorkDir {
    /// The directories of an attempt; a pure function of its arguments.
    pub(crate) fn of(state: &Path, id: &AttemptId, name: &str, shared: Option<&str>) -> Self {
        let parent = execution_directory(state, &id.execution);
        let own = format!(
            "{}-{}-{}",
            plain(name),
            id.attempt,
            short_hash(&id.to_string())
        );
        let control = parent.join(&own);
        let path = match shared {
            None => control.join("work"),
            Some(shared) => parent.join(format!("shared-{}-{}", plain(shared), short_hash(shared))),
        };
        Self {
            path,
            control,
            shared: shared.is_some(),
        }
    }

    /// Makes the directories of an attempt; what a crashed engine left there is removed.
    pub(crate) fn create(state: &Path, spec: &AttemptSpec, spares: &Spares) -> io::Result<Self> {
        let shared = spec.shared_directory.as_deref();
        let dir = Self::of(state, &spec.id, &spec.name, shared);
        if dir.shared {
            match make(&dir.path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                done => done?,
            }
        }
        // A spare may have gone with its execution; then another is tried, or new ones are made.
        while let Some(spare) = spares.take() {
            if fs::rename(&spare, &dir.control).is_ok() {
                return Ok(dir);
            }
        }
        clean(&dir.control)?;
        if !dir.shared {
            make(&dir.path)?;
        }
        make(&dir.temporary())?;
        make(&dir.output())?;
        Ok(dir)
    }

    /// Whether other attempts work in it too, now or later.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    /// `TMPDIR`.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.control.join("tmp")
    }

    /// `OUTPUT_DIR`: everything in it is an output file.
    pub(crate) fn output(&self) -> PathBuf {
        self.control.join("output")
    }

    /// `OPERON_OUTPUTS`.
    pub(crate) fn outputs_file(&self) -> PathBuf {
        self.control.join("outputs")
    }

    /// `OPERON_METRICS`.
    pub(crate) fn metrics_file(&self) -> PathBuf {
        self.control.join("metrics")
    }

    /// Checks `relative` and makes its parents. Links on the way are refused: another task of a shared
    /// directory may have made them.
    pub(crate) fn place(&self, relative: &str) -> Result<PathBuf, PathError> {
        let parts = inside(relative)?;
        let mut path = self.path.clone();
        for (index, part) in parts.iter().enumerate() {
            path.push(part);
            if index + 1 == parts.len() {
                break;
            }
            match make_one(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                        let parent = parts[..=index].join("/");
                        return Err(PathError::NotADirectory(relative.to_owned(), parent));
                    }
                }
                done => done.map_err(|error| PathError::Io {
                    path: relative.to_owned(),
                    error,
                })?,
            }
        }
        Ok(path)
    }

    /// Leaves the directories to the next attempt if nothing is in them; else removes what belongs to the
    /// attempt alone, on a thread of its own.
    pub(crate) async fn remove_async(&self, spares: &Spares) {
        if !self.shared && self.is_as_made() {
            spares.give(&self.control);
            return;
        }
        let control = self.control.clone();
        if let Err(error) = super::stage::blocking(move || remove(&control)).await {
            tracing::warn!(directory = %self.path.display(), %error, "a working directory is left behind");
        }
    }

    /// Whether the directories are there, empty, with the permissions they were made with.
    fn is_as_made(&self) -> bool {
        let parts = [self.path.clone(), self.temporary(), self.output()];
        parts
            .iter()
            .all(|part| is_empty(part).unwrap_or(false) && is_ours(part))
            && fs::read_dir(&self.control).is_ok_and(|entries| entries.count() == parts.len())
    }
}

/// Directories that wait for the next attempt. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spares(Arc<Mutex<Vec<PathBuf>>>);

impl Spares {
    /// Spares at once; more attempts do not run side by side on most machines.
    const MAX: usize = 64;

    fn take(&self) -> Option<PathBuf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give(&self, control: &Path) {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < Self::MAX {
            spares.push(control.to_owned());
        } else {
            drop(spares);
            // Removed with the execution if not now.
            let _ = fs::remove_dir_all(control);
        }
    }
}

/// Whether a directory has no entries.
pub(crate) fn is_empty(path: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(path)?.next().is_none())
}

/// Whether nobody changed who may do what in a directory.
fn is_ours(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.mode() & 0o7777 == 0o755)
}

/// The parts of a relative path that does not leave its directory.
pub(crate) fn inside(relative: &str) -> Result<Vec<&str>, PathError> {
    let outside = || PathError::Outside(relative.chars().take(200).collect());
    if relative.contains('\0') {
        return Err(outside());
    }
    let mut parts = Vec::new();
    for component in Path::new(relative).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str().ok_or_else(outside)?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(outside());
            }
        }
    }
    if parts.is_empty() {
        return Err(outside());
    }
    Ok(parts)
}

/// Writes a new file; what was there is replaced, a link is not followed.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let open = || {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
    };
    let mut file = match open() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            open()?
        }
        other => other?,
    };
    file.write_all(bytes)
}

/// Reads a regular file of at most `limit` bytes; none when there is none.
pub(crate) fn read_small(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(io::Error::other(format!("it has more than {limit} bytes")));
    }
    Ok(Some(bytes))
}

/// Makes an empty directory in place of whatever is there.
fn clean(path: &Path) -> io::Result<()> {
    match make(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(path)?.is_dir() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
            make(path)
        }
        done => done,
    }
}

/// Makes a directory, and its parents when they are missing: nearly always they are not.
fn make(path: &Path) -> io::Result<()> {
    match make_one(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o755)
                    .create(parent)?;
            }
            make_one(path)
        }
        done => done,
    }
}

fn make_one(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(path)
}

/// Removes a tree; an empty directory costs one call, one that is not there is no error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir(path) {
        Ok(()) => return Ok(()),
        Err(_) => fs::remove_dir_all(path),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A task may have taken its own permissions away.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path);
            fs::remove_dir_all(path)
        }
        done => done,
    }
}

/// Gives the owner access to all directories of a tree.
fn open_up(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(path) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn paths_that_leave_the_directory_are_refused() {
        for bad in ["", ".", "..", "/etc/passwd", "a/../../b", "a/..", "x\0y"] {
            assert!(inside(bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(inside("./a/b c.txt").unwrap(), ["a", "b c.txt"]);
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let state = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let dir = WorkDir {
            path: state.path().to_owned(),
            control: state.path().join("c"),
            shared: true,
        };
        std::os::unix::fs::symlink(outside.path(), state.path().join("sub")).unwrap();
        assert!(matches!(
            dir.place("sub/file"),
            Err(PathError::NotADirectory(..))
        ));
        let link = state.path().join("link");
        std::os::unix::fs::symlink(outside.path().join("target"), &link).unwrap();
        write_new(&link, b"x", 0o644).unwrap();
        assert!(!outside.path().join("target").exists());
        assert_eq!(fs::read(&link).unwrap(), b"x");
    }
}
