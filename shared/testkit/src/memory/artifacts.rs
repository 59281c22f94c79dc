//! Artifacts in memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use operon_engine::ports::{ArtifactError, ArtifactStore, ArtifactUri};

use crate::cloud::Faults;

/// Artifacts in memory. A local path is a copy in the caller's scratch directory, as with S3.
#[derive(Debug, Default)]
pub struct MemoryArtifacts {
    files: Mutex<BTreeMap<ArtifactUri, Bytes>>,
    /// Objects elsewhere, by the URI under which they are imported.
    pub outside: Mutex<BTreeMap<String, Bytes>>,
    /// Where links for downloading begin; without it there are none.
    pub links: Mutex<Option<String>>,
    faults: Arc<Faults>,
}

impl MemoryArtifacts {
    /// No artifacts; fails when it is told to, and counts what it is asked.
    #[must_use]
    pub fn failing(faults: Arc<Faults>) -> Self {
        Self {
            files: Mutex::default(),
            outside: Mutex::default(),
            links: Mutex::default(),
            faults,
        }
    }

    /// Puts an artifact there from outside the functions: neither counted nor failed.
    pub fn keep(&self, uri: &ArtifactUri, bytes: Bytes) {
        self.with(|files| files.insert(uri.clone(), bytes));
    }

    /// All keys, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.with(|files| files.keys().map(|uri| uri.key().to_owned()).collect())
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<ArtifactUri, Bytes>) -> T) -> T {
        work(&mut self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, uri: &ArtifactUri) -> Result<Bytes, ArtifactError> {
        self.faults
            .read("S3", "get")
            .map_err(ArtifactError::Failed)?;
        self.with(|files| files.get(uri).cloned())
            .ok_or_else(|| ArtifactError::Missing(uri.clone()))
    }
}

fn size_of(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn failed(error: &std::io::Error) -> ArtifactError {
    ArtifactError::Failed(error.to_string())
}

#[async_trait]
impl ArtifactStore for MemoryArtifacts {
    async fn put(&self, uri: &ArtifactUri, bytes: Bytes) -> Result<(), ArtifactError> {
        self.faults
            .write("S3", "put", || self.keep(uri, bytes))
            .map_err(ArtifactError::Failed)
    }

    async fn download_link(&self, uri: &ArtifactUri) -> Result<Option<String>, ArtifactError> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(links.as_ref().map(|base| format!("{base}/{}", uri.key())))
    }

    async fn put_file(&self, uri: &ArtifactUri, file: &Path) -> Result<(), ArtifactError> {
        let bytes = std::fs::read(file).map_err(|error| failed(&error))?;
        self.put(uri, bytes.into()).await
    }

    async fn get(&self, uri: &ArtifactUri, limit: u64) -> Result<Bytes, ArtifactError> {
        let bytes = self.find(uri)?;
        let size = size_of(&bytes);
        if size > limit {
            let uri = uri.clone();
            return Err(ArtifactError::TooLarge { uri, size, limit });
        }
        Ok(bytes)
    }

    async fn get_range(
        &self,
        uri: &ArtifactUri,
        range: Range<u64>,
    ) -> Result<Bytes, ArtifactError> {
        let bytes = self.find(uri)?;
        let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let (begin, end) = (within(range.start), within(range.end));
        Ok(bytes.slice(begin..end.max(begin)))
    }

    async fn size(&self, uri: &ArtifactUri) -> Result<u64, ArtifactError> {
        self.find(uri).map(|bytes| size_of(&bytes))
    }

    async fn local_path(
        &self,
        uri: &ArtifactUri,
        scratch: &Path,
    ) -> Result<PathBuf, ArtifactError> {
        let path = scratch.join(uri.key().replace('/', "_"));
        std::fs::write(&path, self.find(uri)?).map_err(|error| failed(&error))?;
        Ok(path)
    }

    async fn import(
        &self,
        source: &str,
        _version: Option<&str>,
        uri: &ArtifactUri,
    ) -> Result<(), ArtifactError> {
        let outside = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        let found = outside.get(source).cloned();
        let bytes = found.ok_or_else(|| ArtifactError::Refused(format!("no object {source}")))?;
        drop(outside);
        self.faults
            .write("S3", "copy", || self.keep(uri, bytes))
            .map_err(ArtifactError::Failed)
    }

    async fn delete(&self, uri: &ArtifactUri) -> Result<bool, ArtifactError> {
        let remove = || self.with(|files| files.remove(uri)).is_some();
        self.faults
            .write("S3", "delete", remove)
            .map_err(ArtifactError::Failed)
    }
}
