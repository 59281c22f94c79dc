//! Directories in the place of buckets, for the tasks that ask S3: the same ones that the trigger watches.
//!
//! Invariant: no name leads out of its bucket's directory.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use operon_core::triggers::event;
use operon_engine::ports::{
    Copied, Invoked, NoServices, ObjectInfo, ObjectName, ServiceError, Services,
};
use sha2::{Digest as _, Sha256};

use crate::triggers::Buckets;

/// Files of one bucket that are looked at.
const FILES_MAX: usize = 100_000;

/// Buckets of this machine.
#[derive(Debug, Clone)]
pub struct DirectoryServices(pub Buckets);

fn plain(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(['\\', '\0'])
        && name
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

fn failed(path: &Path, error: &std::io::Error) -> ServiceError {
    let text = format!("{}: {error}", path.display());
    if error.kind() == ErrorKind::NotFound {
        ServiceError::Missing(text)
    } else {
        ServiceError::Failed(text)
    }
}

fn info(key: &str, path: &Path) -> Result<ObjectInfo, ServiceError> {
    let found = fs::metadata(path).map_err(|error| failed(path, &error))?;
    let modified = found.modified().ok();
    let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_ms = modified.and_then(|since| u64::try_from(since.as_millis()).ok());
    Ok(ObjectInfo {
        key: key.to_owned(),
        size: found.len(),
        etag: format!("{:x}-{:x}", modified_ms.unwrap_or_default(), found.len()),
        modified_ms,
    })
}

impl DirectoryServices {
    fn bucket(&self, bucket: &str) -> Result<PathBuf, ServiceError> {
        if !plain(bucket) || bucket.contains('/') || bucket.starts_with('.') {
            return Err(ServiceError::Invalid(format!(
                "`{bucket}` is no name of a bucket"
            )));
        }
        Ok(self.0.path(bucket))
    }

    fn path(&self, object: &ObjectName) -> Result<PathBuf, ServiceError> {
        if !plain(&object.key) {
            return Err(ServiceError::Invalid(format!(
                "`{}` is no name of a file",
                object.key
            )));
        }
        if object.version.is_some() {
            return Err(ServiceError::Invalid(
                "a directory keeps no versions; leave out `versionId`".to_owned(),
            ));
        }
        Ok(self.bucket(&object.bucket)?.join(&object.key))
    }
}

/// Names of files below a directory, with `/` between their parts.
fn collect(top: &Path, at: &Path, names: &mut Vec<String>) -> Result<(), ServiceError> {
    for entry in fs::read_dir(at).map_err(|error| failed(at, &error))? {
        let entry = entry.map_err(|error| failed(at, &error))?;
        let kind = entry.file_type().map_err(|error| failed(at, &error))?;
        let path = entry.path();
        if kind.is_dir() {
            collect(top, &path, names)?;
        } else if kind.is_file()
            && let Some(name) = path.strip_prefix(top).ok().and_then(Path::to_str)
        {
            if names.len() >= FILES_MAX {
                return Err(ServiceError::Invalid(format!(
                    "below `{}` are more than {FILES_MAX} files",
                    top.display()
                )));
            }
            names.push(name.to_owned());
        }
    }
    Ok(())
}

/// The `ETag` of a file in the place of an object: the SHA-256 of its content, in hexadecimal.
pub(crate) fn etag_of(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(buffer.get(..read).unwrap_or_default());
    }
}

/// Where a file waits while its content is looked at: nobody can write it again under its name meanwhile. The name is
/// hidden, so it is no object, and always the same, so that it is found after a crash.
fn aside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_string_lossy();
    Some(path.with_file_name(format!(".operon-{}", event::name(&[&name], 16))))
}

/// Deletes or moves a file with that content. A file with another one stays.
fn remove(path: &Path, etag: Option<&str>, to: Option<&Path>) -> Result<bool, ServiceError> {
    let aside = aside(path)
        .ok_or_else(|| ServiceError::Invalid(format!("`{}` is no file", path.display())))?;
    if !aside.exists() {
        match fs::rename(path, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(path, &error)),
        }
    }
    if let Some(etag) = etag
        && etag_of(&aside).map_err(|error| failed(&aside, &error))? != etag
    {
        // It goes back, unless there is a newer one.
        match fs::hard_link(&aside, path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(path, &error)),
        }
        fs::remove_file(&aside).map_err(|error| failed(&aside, &error))?;
        return Ok(false);
    }
    if let Some(to) = to {
        let above = to.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(above).map_err(|error| failed(above, &error))?;
        match fs::rename(&aside, to) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == ErrorKind::CrossesDevices => copy(&aside, to)?,
            Err(error) => return Err(failed(to, &error)),
        }
    }
    fs::remove_file(&aside).map_err(|error| failed(&aside, &error))?;
    Ok(true)
}

/// Whole or not at all: who watches the bucket must not see half a file.
fn copy(source: &Path, target: &Path) -> Result<(), ServiceError> {
    let above = target.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(above).map_err(|error| failed(above, &error))?;
    let part = tempfile::NamedTempFile::new_in(above);
    let part = part.map_err(|error| failed(above, &error))?;
    fs::copy(source, part.path()).map_err(|error| failed(source, &error))?;
    let kept = part.persist(target);
    kept.map_err(|error| failed(target, &error.error))?;
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
) -> Result<T, ServiceError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(ServiceError::Failed(error.to_string())))
}

#[async_trait]
impl Services for DirectoryServices {
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ObjectInfo>, ServiceError> {
        let top = self.bucket(bucket)?;
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        blocking(move || {
            let mut names = Vec::new();
            collect(&top, &top, &mut names)?;
            names.retain(|name| {
                name.starts_with(&prefix) && after.as_ref().is_none_or(|after| name > after)
            });
            names.sort_unstable();
            names.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            names
                .iter()
                .map(|name| info(name, &top.join(name)))
                .collect()
        })
        .await
    }

    async fn copy(&self, from: &ObjectName, to: &ObjectName) -> Result<Copied, ServiceError> {
        let (source, target, key) = (self.path(from)?, self.path(to)?, to.key.clone());
        blocking(move || {
            copy(&source, &target)?;
            let made = info(&key, &target)?;
            let source_etag = made.etag.clone();
            Ok(Copied { made, source_etag })
        })
        .await
    }

    async fn delete(&self, object: &ObjectName) -> Result<(), ServiceError> {
        let path = self.path(object)?;
        blocking(move || match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(&path, &error)),
        })
        .await
    }

    async fn remove(
        &self,
        object: &ObjectName,
        etag: Option<&str>,
        to: Option<&ObjectName>,
    ) -> Result<bool, ServiceError> {
        let path = self.path(object)?;
        let to = to.map(|to| self.path(to)).transpose()?;
        let etag = etag.map(str::to_owned);
        blocking(move || remove(&path, etag.as_deref(), to.as_deref())).await
    }

    async fn invoke(&self, _: &str, _: Vec<u8>) -> Result<Invoked, ServiceError> {
        Err(NoServices::error())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn object(bucket: &str, key: &str) -> ObjectName {
        ObjectName {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version: None,
        }
    }

    #[tokio::test]
    async fn directories_are_listed_copied_and_cleaned_like_buckets() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/in")).unwrap();
        for name in ["in/2", "in/1", "other"] {
            fs::write(root.path().join("a").join(name), name).unwrap();
        }
        let services = DirectoryServices(Buckets {
            root: root.path().to_owned(),
            ..Buckets::default()
        });
        let keys = async |after: Option<&str>, limit: u32| {
            let found = services.list("a", "in/", after, limit).await.unwrap();
            found
                .into_iter()
                .map(|object| object.key)
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(None, 10).await, ["in/1", "in/2"]);
        assert_eq!(keys(None, 1).await, ["in/1"]);
        assert_eq!(keys(Some("in/1"), 10).await, ["in/2"]);
        let made = services
            .copy(&object("a", "in/1"), &object("b", "deep/1"))
            .await;
        assert_eq!(made.unwrap().made.size, 4);
        assert_eq!(fs::read(root.path().join("b/deep/1")).unwrap(), b"in/1");
        services.delete(&object("a", "in/1")).await.unwrap();
        services.delete(&object("a", "in/1")).await.unwrap();
        assert_eq!(keys(None, 10).await, ["in/2"]);
        let missing = services.copy(&object("a", "in/1"), &object("b", "x")).await;
        assert!(matches!(missing, Err(ServiceError::Missing(_))));
        for key in ["../x", "a/../../x", "/etc/passwd", "", "a//b"] {
            let refused = services.delete(&object("a", key)).await;
            assert!(matches!(refused, Err(ServiceError::Invalid(_))), "{key}");
        }
        for bucket in ["..", "a/b", ".hidden", ""] {
            let refused = services.list(bucket, "", None, 1).await;
            assert!(matches!(refused, Err(ServiceError::Invalid(_))), "{bucket}");
        }
    }

    #[tokio::test]
    async fn a_file_is_removed_or_moved_while_it_has_that_content() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("a/in");
        fs::create_dir_all(&place).unwrap();
        let services = DirectoryServices(Buckets {
            root: root.path().to_owned(),
            ..Buckets::default()
        });
        let names = || {
            let entries = fs::read_dir(&place).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let etag = hex::encode(Sha256::digest(b"one"));
        fs::write(place.join("x"), "two").unwrap();
        let (from, to) = (object("a", "in/x"), object("b", "done/x"));
        // Another content: it stays as it is.
        assert_eq!(services.remove(&from, Some(&etag), None).await, Ok(false));
        assert_eq!(fs::read(place.join("x")).unwrap(), b"two");
        assert_eq!(names(), ["x"]);
        fs::write(place.join("x"), "one").unwrap();
        assert_eq!(
            services.remove(&from, Some(&etag), Some(&to)).await,
            Ok(true)
        );
        assert_eq!(fs::read(root.path().join("b/done/x")).unwrap(), b"one");
        assert!(names().is_empty());
        assert_eq!(
            services.remove(&from, Some(&etag), Some(&to)).await,
            Ok(false)
        );
        // A crash left it aside, and a newer one was written.
        fs::write(place.join("x"), "one").unwrap();
        fs::rename(place.join("x"), aside(&place.join("x")).unwrap()).unwrap();
        fs::write(place.join("x"), "three").unwrap();
        assert_eq!(services.remove(&from, Some(&etag), None).await, Ok(true));
        assert_eq!(fs::read(place.join("x")).unwrap(), b"three");
        assert_eq!(names(), ["x"]);
    }
}
