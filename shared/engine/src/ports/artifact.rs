//! Files between tasks.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use async_trait::async_trait;
use bytes::Bytes;

/// `operon:///<key>`: a file in internal storage. `kestra:///…` is read as the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactUri(String);

/// Bytes in a key at most (S3's limit).
pub const ARTIFACT_KEY_MAX: usize = 1024;

impl ArtifactUri {
    /// A URI for `key`: relative, without `..`, empty or dot segments.
    pub fn new(key: &str) -> Result<Self, ArtifactError> {
        let good = !key.is_empty()
            && key.len() <= ARTIFACT_KEY_MAX
            && !key.contains(['\\', '\0'])
            && key.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if good {
            Ok(Self(key.to_owned()))
        } else {
            Err(ArtifactError::BadUri(key.chars().take(120).collect()))
        }
    }

    /// The key without scheme.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.0
    }

    /// Whether `text` looks like such a URI.
    #[must_use]
    pub fn is_uri(text: &str) -> bool {
        text.starts_with("operon:///") || text.starts_with("kestra:///")
    }
}

impl fmt::Display for ArtifactUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operon:///{}", self.0)
    }
}

impl FromStr for ArtifactUri {
    type Err = ArtifactError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = text
            .strip_prefix("operon:///")
            .or_else(|| text.strip_prefix("kestra:///"))
            .ok_or_else(|| ArtifactError::BadUri(text.chars().take(120).collect()))?;
        Self::new(key)
    }
}

/// Why an artifact could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// Not a URI of internal storage.
    #[error("`{0}` is not an artifact URI; expected `operon:///<key>`")]
    BadUri(String),
    /// There is no such file.
    #[error(
        "there is no artifact {0}; it may have been deleted or belong to another state directory"
    )]
    Missing(ArtifactUri),
    /// Larger than the caller allows.
    #[error("{uri} has {size} bytes; at most {limit} can be read here")]
    TooLarge {
        /// Which.
        uri: ArtifactUri,
        /// Its size in bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
    /// It is not possible, now or later; a sentence that says why.
    #[error("{0}")]
    Refused(String),
    /// Anything else; the same may succeed later.
    #[error("artifact storage failed: {0}")]
    Failed(String),
}

/// Where artifacts live. An artifact never changes once it is written.
#[async_trait]
pub trait ArtifactStore: Send + Sync {
    /// Stores bytes; atomic: readers see all or nothing.
    async fn put(&self, uri: &ArtifactUri, bytes: Bytes) -> Result<(), ArtifactError>;
    /// Stores a local file, by hard link or copy.
    async fn put_file(&self, uri: &ArtifactUri, file: &Path) -> Result<(), ArtifactError>;
    /// Reads all of it, at most `limit` bytes.
    async fn get(&self, uri: &ArtifactUri, limit: u64) -> Result<Bytes, ArtifactError>;
    /// Reads a range of bytes; shorter at the end.
    async fn get_range(&self, uri: &ArtifactUri, range: Range<u64>)
    -> Result<Bytes, ArtifactError>;
    /// Size in bytes.
    async fn size(&self, uri: &ArtifactUri) -> Result<u64, ArtifactError>;
    /// A link by which whoever has it can download the artifact for a few minutes, past this process; none where files
    /// are only read through it.
    async fn download_link(&self, uri: &ArtifactUri) -> Result<Option<String>, ArtifactError> {
        let _ = uri;
        Ok(None)
    }
    /// A local path with the content, valid while the store lives: the file itself, or a download into `scratch`.
    async fn local_path(&self, uri: &ArtifactUri, scratch: &Path)
    -> Result<PathBuf, ArtifactError>;
    /// Copies an object that was uploaded somewhere else, `s3://BUCKET/KEY`, in the version that is named if there are
    /// versions. The artifact does not change when the object does.
    async fn import(
        &self,
        source: &str,
        version: Option<&str>,
        uri: &ArtifactUri,
    ) -> Result<(), ArtifactError> {
        let _ = (version, uri);
        Err(ArtifactError::Refused(format!(
            "`{source}` can be read by a deployment on AWS only; give the path of a file"
        )))
    }
    /// Removes it; false when there was none.
    async fn delete(&self, uri: &ArtifactUri) -> Result<bool, ArtifactError>;
}
