//! Artifacts as files of a directory; the key is the path.
//!
//! Invariant: no key leads out of the directory, not even through symbolic links: every component of a path
//! is opened by itself, beneath the one before, and links are refused. Invariant: a file that can be seen
//! under its key is complete, read-only, and survives loss of power.

mod beneath;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use nix::errno::Errno;
use operon_engine::ports::{ArtifactError, ArtifactStore, ArtifactUri};

use beneath::Directory;

/// First segment of no key: files that are being written.
const INCOMING: &str = ".incoming";
/// Incoming files older than this were left by a crash.
const ABANDONED: Duration = Duration::from_hours(24);
/// Bytes of one range read at most: 64 MiB. It is held in memory.
const RANGE_MAX: u64 = 64 << 20;

/// Artifacts in a directory.
#[derive(Debug, Clone)]
pub struct DirectoryArtifacts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    root: Directory,
    incoming: Directory,
    // Tells the incoming files of this process apart.
    counter: AtomicU64,
}

impl DirectoryArtifacts {
    /// Opens the directory, creating it where there is none, and removes what crashes left half-written.
    pub fn open(path: &Path) -> Result<Self, ArtifactError> {
        let failed = |error: io::Error| {
            ArtifactError::Failed(format!("cannot open {}: {error}", path.display()))
        };
        fs::create_dir_all(path).map_err(failed)?;
        let path = fs::canonicalize(path).map_err(failed)?;
        let root = Directory::open(&path).map_err(failed)?;
        let incoming = root.enter_or_create(INCOMING).map_err(failed)?;
        remove_abandoned(&path.join(INCOMING));
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                root,
                incoming,
                counter: AtomicU64::new(0),
            }),
        })
    }

    /// Runs blocking work on a thread for such.
    async fn blocking<T: Send + 'static>(
        &self,
        uri: &ArtifactUri,
        work: impl FnOnce(&Inner, &ArtifactUri) -> Result<T, ArtifactError> + Send + 'static,
    ) -> Result<T, ArtifactError> {
        let (inner, uri) = (Arc::clone(&self.inner), uri.clone());
        tokio::task::spawn_blocking(move || work(&inner, &uri))
            .await
            .map_err(|error| ArtifactError::Failed(error.to_string()))?
    }
}

#[async_trait]
impl ArtifactStore for DirectoryArtifacts {
    async fn put(&self, uri: &ArtifactUri, bytes: Bytes) -> Result<(), ArtifactError> {
        self.blocking(uri, move |inner, uri| inner.put(uri, &bytes))
            .await
    }

    /// Takes over a finished regular file: it is linked where it can be, and read-only from then on. A file
    /// that could still be changed through another name, or that is not ours, is copied.
    async fn put_file(&self, uri: &ArtifactUri, file: &Path) -> Result<(), ArtifactError> {
        let file = file.to_owned();
        self.blocking(uri, move |inner, uri| inner.put_file(uri, &file))
            .await
    }

    async fn get(&self, uri: &ArtifactUri, limit: u64) -> Result<Bytes, ArtifactError> {
        self.blocking(uri, move |inner, uri| inner.get(uri, limit))
            .await
    }

    async fn get_range(
        &self,
        uri: &ArtifactUri,
        range: Range<u64>,
    ) -> Result<Bytes, ArtifactError> {
        self.blocking(uri, move |inner, uri| inner.get_range(uri, &range))
            .await
    }

    async fn size(&self, uri: &ArtifactUri) -> Result<u64, ArtifactError> {
        self.blocking(uri, |inner, uri| Ok(inner.open(uri)?.1))
            .await
    }

    async fn local_path(
        &self,
        uri: &ArtifactUri,
        _scratch: &Path,
    ) -> Result<PathBuf, ArtifactError> {
        self.blocking(uri, |inner, uri| {
            // Opening it checks that no link is on the way.
            inner.open(uri)?;
            Ok(inner.path.join(uri.key()))
        })
        .await
    }

    /// Copies a file of a directory that stands for a bucket. Only the directory watch gives such names: what people
    /// give is checked by intake.
    async fn import(
        &self,
        source: &str,
        _version: Option<&str>,
        uri: &ArtifactUri,
    ) -> Result<(), ArtifactError> {
        let Some(path) = source.strip_prefix("file://").map(PathBuf::from) else {
            return Err(ArtifactError::Refused(format!(
                "`{}` can be read by a deployment on AWS only; give the path of a file",
                source.chars().take(120).collect::<String>()
            )));
        };
        self.blocking(uri, move |inner, uri| {
            let explain = |error: io::Error| {
                let text = format!("cannot copy {}: {error}", path.display());
                if is_absent(&error) {
                    ArtifactError::Refused(text)
                } else {
                    ArtifactError::Failed(text)
                }
            };
            let source = beneath::open_regular(&path).map_err(explain)?;
            let name = inner.incoming_name();
            let written = inner.copy(&source, &name, 0o444);
            inner.publish(uri, &name, written)
        })
        .await
    }

    async fn delete(&self, uri: &ArtifactUri) -> Result<bool, ArtifactError> {
        self.blocking(uri, |inner, uri| {
            let (directories, name) = split(uri)?;
            let removed =
                (inner.root.walk(&directories)).and_then(|directory| directory.remove(name));
            match removed {
                Ok(()) => Ok(true),
                Err(error) if is_absent(&error) => Ok(false),
                Err(error) => Err(failed("delete", uri, &error)),
            }
        })
        .await
    }
}

impl Inner {
    fn put(&self, uri: &ArtifactUri, bytes: &[u8]) -> Result<(), ArtifactError> {
        let name = self.incoming_name();
        let written = self.incoming.create(&name).and_then(|mut file| {
            file.write_all(bytes)?;
            seal(&file, 0o444)
        });
        self.publish(uri, &name, written)
    }

    fn put_file(&self, uri: &ArtifactUri, path: &Path) -> Result<(), ArtifactError> {
        let explain = |error: io::Error| {
            ArtifactError::Failed(format!("cannot store {}: {error}", path.display()))
        };
        let source = beneath::open_regular(path).map_err(explain)?;
        let metadata = source.metadata().map_err(explain)?;
        let mode = metadata.permissions().mode();
        // Another name could be used to make it writable again, unless it already went through here.
        let shared = metadata.nlink() > 1 && mode & 0o222 != 0;
        let name = self.incoming_name();
        let read_only = (mode & 0o111) | 0o444;
        let linked = !shared
            && seal(&source, read_only).is_ok()
            && self.incoming.link(path, &name, &metadata).unwrap_or(false);
        let written = if linked {
            Ok(())
        } else {
            self.copy(&source, &name, read_only)
        };
        self.publish(uri, &name, written)
    }

    fn copy(&self, mut source: &File, name: &str, mode: u32) -> io::Result<()> {
        // A failed link may have left something.
        let _ = self.incoming.remove(name);
        let mut file = self.incoming.create(name)?;
        // Shares the blocks where the file system can.
        io::copy(&mut source, &mut file)?;
        seal(&file, mode)
    }

    /// Moves a complete incoming file to its key.
    fn publish(
        &self,
        uri: &ArtifactUri,
        incoming: &str,
        written: io::Result<()>,
    ) -> Result<(), ArtifactError> {
        let (directories, name) = split(uri)?;
        let published = written.and_then(|()| {
            let directory = self.root.walk_or_create(&directories)?;
            self.incoming.rename(incoming, &directory, name)?;
            directory.sync()
        });
        // Still there after a failure, and after renaming a link onto another link to the same file.
        let _ = self.incoming.remove(incoming);
        published.map_err(|error| failed("store", uri, &error))
    }

    fn get(&self, uri: &ArtifactUri, limit: u64) -> Result<Bytes, ArtifactError> {
        let (file, size) = self.open(uri)?;
        within(uri, size, limit)?;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| failed("read", uri, &error))?;
        within(uri, u64::try_from(bytes.len()).unwrap_or(u64::MAX), limit)?;
        Ok(bytes.into())
    }

    fn get_range(&self, uri: &ArtifactUri, range: &Range<u64>) -> Result<Bytes, ArtifactError> {
        let (file, size) = self.open(uri)?;
        let end = range.end.min(size);
        let length = end.saturating_sub(range.start);
        within(uri, length, RANGE_MAX)?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, range.start)
            .map_err(|error| failed("read", uri, &error))?;
        Ok(bytes.into())
    }

    /// The open file and its size in bytes.
    fn open(&self, uri: &ArtifactUri) -> Result<(File, u64), ArtifactError> {
        let (directories, name) = split(uri)?;
        let opened = self
            .root
            .walk(&directories)
            .and_then(|directory| directory.read(name))
            .and_then(|file| {
                let size = file.metadata()?.len();
                Ok((file, size))
            });
        opened.map_err(|error| {
            if is_absent(&error) {
                ArtifactError::Missing(uri.clone())
            } else {
                failed("read", uri, &error)
            }
        })
    }

    fn incoming_name(&self) -> String {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        // The address tells two stores of one process apart.
        format!("{}-{:p}-{number}", std::process::id(), &raw const *self)
    }
}

/// Makes a written file read-only and durable.
fn seal(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

fn within(uri: &ArtifactUri, size: u64, limit: u64) -> Result<(), ArtifactError> {
    if size <= limit {
        Ok(())
    } else {
        Err(ArtifactError::TooLarge {
            uri: uri.clone(),
            size,
            limit,
        })
    }
}

/// Directories and name of a key. The URI guarantees that no segment is empty, `.` or `..`.
fn split(uri: &ArtifactUri) -> Result<(Vec<&str>, &str), ArtifactError> {
    let mut segments: Vec<&str> = uri.key().split('/').collect();
    match segments.pop() {
        Some(name) if uri.key().split('/').next() != Some(INCOMING) => Ok((segments, name)),
        Some(_) | None => Err(ArtifactError::BadUri(uri.to_string())),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::ENOENT | Errno::ENOTDIR)
    )
}

fn failed(action: &str, uri: &ArtifactUri, error: &io::Error) -> ArtifactError {
    let hint = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC | Errno::EDQUOT) => "; make room on the disk of the state directory",
        Some(Errno::EISDIR | Errno::ENOTDIR | Errno::EEXIST) => {
            "; a key cannot be both a file and the beginning of other keys"
        }
        Some(Errno::ELOOP) => "; a symbolic link is in its place",
        Some(_) | None => "",
    };
    ArtifactError::Failed(format!("cannot {action} {uri}: {error}{hint}"))
}

/// Failing to clean up is no reason not to work.
fn remove_abandoned(incoming: &Path) {
    let Ok(entries) = fs::read_dir(incoming) else {
        return;
    };
    for entry in entries.flatten() {
        // The change time: a linked file keeps its old modification time.
        let age = entry.metadata().ok().and_then(|metadata| {
            let changed = u64::try_from(metadata.ctime()).ok()?;
            let changed = std::time::UNIX_EPOCH + Duration::from_secs(changed);
            changed.elapsed().ok()
        });
        if age.is_some_and(|age| age > ABANDONED) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
