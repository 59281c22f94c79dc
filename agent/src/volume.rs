//! The task's volume: made, filled, and read at the end.
//!
//! Invariant: nothing is written or read outside these directories, whatever names and links say.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use operon_core::agent::{StageNote, layout};

/// Mode of directories in which the image writes, whatever user it has.
const OPEN: u32 = 0o777;

/// The volume, seen from where it is mounted.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    root: PathBuf,
}

/// A path that is not inside the working directory, or cannot be made.
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

impl Volume {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Makes the directories and files in which `main` works; it may have any user.
    pub(crate) fn create(&self) -> io::Result<()> {
        for part in [layout::WORK, layout::TEMPORARY, layout::OUTPUT] {
            let path = self.root.join(part);
            DirBuilder::new().recursive(true).create(&path)?;
            let mode = if part == layout::TEMPORARY {
                0o1777
            } else {
                OPEN
            };
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
        }
        for part in [layout::OUTPUTS, layout::METRICS] {
            let path = self.root.join(part);
            write_new(&path, b"", 0o666)?;
        }
        Ok(())
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.root.join(layout::WORK)
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.root.join(layout::OUTPUT)
    }

    pub(crate) fn outputs_file(&self) -> PathBuf {
        self.root.join(layout::OUTPUTS)
    }

    pub(crate) fn metrics_file(&self) -> PathBuf {
        self.root.join(layout::METRICS)
    }

    /// Leaves word why `stage` fails.
    pub(crate) fn leave_note(&self, note: &StageNote) -> io::Result<()> {
        let path = self.root.join(layout::STAGE_NOTE);
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).create(parent)?;
        }
        write_new(&path, &serde_json::to_vec(note)?, 0o600)
    }

    /// Why `stage` failed, if it could say.
    pub(crate) fn note(&self) -> Option<StageNote> {
        let bytes = read_small(&self.root.join(layout::STAGE_NOTE), 64 * 1024);
        serde_json::from_slice(&bytes.ok()??).ok()
    }

    /// Checks `relative`, a file of the working directory, and makes its parents. Links on the way are refused.
    pub(crate) fn place(&self, relative: &str) -> Result<PathBuf, PathError> {
        let parts = inside(relative)?;
        let mut path = self.work();
        let failed = |error| PathError::Io {
            path: relative.to_owned(),
            error,
        };
        for (index, part) in parts.iter().enumerate() {
            path.push(part);
            if index + 1 == parts.len() {
                break;
            }
            match DirBuilder::new().mode(OPEN).create(&path) {
                Ok(()) => {
                    fs::set_permissions(&path, Permissions::from_mode(OPEN)).map_err(failed)?;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                        let parent = parts[..=index].join("/");
                        return Err(PathError::NotADirectory(relative.to_owned(), parent));
                    }
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(path)
    }
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

/// Makes a new file with exactly that mode; what was there is replaced, a link is not followed.
pub(crate) fn create_new(path: &Path, mode: u32) -> io::Result<fs::File> {
    let open = || {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
    };
    let file = match open() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            open()?
        }
        other => other?,
    };
    // The mode of the call is subject to the umask.
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// [`create_new`] with its content.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    create_new(path, mode)?.write_all(bytes)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use operon_core::exec::Reason;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn any_user_can_work_in_it() {
        let root = tempfile::tempdir().unwrap();
        let volume = Volume::new(root.path());
        volume.create().unwrap();
        assert_eq!(mode(&volume.work()), 0o777);
        assert_eq!(mode(&volume.output()), 0o777);
        assert_eq!(mode(&root.path().join(layout::TEMPORARY)), 0o1777);
        assert_eq!(mode(&volume.outputs_file()), 0o666);
        assert_eq!(mode(&volume.metrics_file()), 0o666);
        let placed = volume.place("a/b/file").unwrap();
        assert_eq!(mode(placed.parent().unwrap()), 0o777);
        volume.create().unwrap();
    }

    #[test]
    fn paths_that_leave_the_directory_are_refused() {
        for bad in ["", ".", "..", "/etc/passwd", "a/../../b", "a/..", "x\0y"] {
            assert!(inside(bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(inside("./a/b c.txt").unwrap(), ["a", "b c.txt"]);
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let volume = Volume::new(root.path());
        volume.create().unwrap();
        std::os::unix::fs::symlink(outside.path(), volume.work().join("sub")).unwrap();
        let refused = volume.place("sub/file");
        assert!(matches!(refused, Err(PathError::NotADirectory(..))));
        let link = volume.place("link").unwrap();
        std::os::unix::fs::symlink(outside.path().join("target"), &link).unwrap();
        write_new(&link, b"x", 0o644).unwrap();
        assert!(!outside.path().join("target").exists());
    }

    #[test]
    fn a_note_of_stage_reaches_watch() {
        let root = tempfile::tempdir().unwrap();
        let volume = Volume::new(root.path());
        assert_eq!(volume.note(), None);
        let note = StageNote {
            reason: Reason::InvalidInput,
            message: "no such object".to_owned(),
        };
        volume.leave_note(&note).unwrap();
        assert_eq!(volume.note(), Some(note));
    }

    #[test]
    fn what_is_too_large_or_a_link_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("f");
        assert!(read_small(&file, 3).unwrap().is_none());
        fs::write(&file, "abcd").unwrap();
        assert!(read_small(&file, 3).is_err());
        assert_eq!(read_small(&file, 4).unwrap().unwrap(), b"abcd");
        let link = root.path().join("l");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(read_small(&link, 10).is_err());
    }
}
