//! Artifacts in S3, under `artifacts/`.
//!
//! Invariant: what can be read under a key is complete, because S3 shows an object only when all of it is there.
//! Invariant: memory does not grow with a file. Files travel in parts of `PART_MIN` bytes, `PARTS_AT_ONCE` of
//! them at a time, each with a checksum; a part that fails is sent or fetched again by itself.

mod download;
mod upload;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::TaggingDirective;
use bytes::Bytes;
use operon_engine::ports::{ArtifactError, ArtifactStore, ArtifactUri};

use crate::errors::Trouble;
use crate::sdk::Sdk;

/// Where artifacts are in the bucket.
pub const PREFIX: &str = "artifacts/";
/// First part of the keys of what people and instruments put into the data bucket.
pub(crate) const UPLOADS: &str = "uploads/";
/// Bytes of a part of a file at least: 8 MiB. Larger files than 10,000 of these have larger parts.
const PART_MIN: u64 = 8 << 20;
/// Parts in memory at a time.
const PARTS_AT_ONCE: usize = 4;
/// Bytes of one range read at most: 64 MiB. It is held in memory.
const RANGE_MAX: u64 = 64 << 20;
/// Bytes of an object's key at most (S3).
const KEY_MAX: usize = 1024;
/// How long a link for downloading works at most.
pub const LINK_MAX: Duration = Duration::from_hours(1);
/// How long one works that is followed at once.
const LINK: Duration = Duration::from_mins(5);

/// Artifacts in a bucket. Clones are cheap.
#[derive(Clone)]
pub struct S3Artifacts {
    client: aws_sdk_s3::Client,
    bucket: String,
}

impl fmt::Debug for S3Artifacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Artifacts")
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

impl S3Artifacts {
    /// Artifacts of that bucket.
    #[must_use]
    pub fn new(sdk: &Sdk, bucket: &str) -> Self {
        Self {
            client: sdk.s3(),
            bucket: bucket.to_owned(),
        }
    }

    /// The S3 URI of an artifact, for programs that do not know Operon.
    pub fn s3_uri(&self, uri: &ArtifactUri) -> Result<String, ArtifactError> {
        Ok(format!("s3://{}/{}", self.bucket, key(uri)?))
    }

    /// A link by which anybody can download the artifact for a while, at most [`LINK_MAX`]. The browser stores it
    /// under the last part of its key and does not show it, whatever it contains.
    pub async fn link(&self, uri: &ArtifactUri, lives: Duration) -> Result<String, ArtifactError> {
        let refused = |error: &dyn fmt::Display| {
            ArtifactError::Failed(format!("no link to {uri} can be made: {error}"))
        };
        let config = PresigningConfig::expires_in(lives.min(LINK_MAX)).map_err(|e| refused(&e))?;
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key(uri)?)
            .response_content_disposition(disposition(uri))
            .response_content_type("application/octet-stream")
            .presigned(config)
            .await
            .map_err(|error| refused(&Trouble::of("signing", &error).text()))?;
        Ok(request.uri().to_owned())
    }

    /// Size in bytes and the tag that names this content.
    async fn head(&self, uri: &ArtifactUri) -> Result<(u64, Option<String>), ArtifactError> {
        let answer = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(key(uri)?)
            .send()
            .await
            .map_err(|error| explain(uri, Trouble::of("looking at it", &error)))?;
        Ok((unsigned(answer.content_length()), answer.e_tag))
    }

    /// A range of bytes that is not empty, as far as the object goes.
    async fn range(
        &self,
        uri: &ArtifactUri,
        range: Range<u64>,
        tag: Option<&str>,
    ) -> Result<Bytes, ArtifactError> {
        let answer = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key(uri)?)
            .range(format!("bytes={}-{}", range.start, range.end - 1))
            .set_if_match(tag.map(str::to_owned))
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                return match Trouble::of("reading a range", &error) {
                    Trouble::Refused { code, .. } if code == "InvalidRange" => Ok(Bytes::new()),
                    trouble @ (Trouble::Busy(_) | Trouble::Refused { .. }) => {
                        Err(explain(uri, trouble))
                    }
                };
            }
        };
        collect(uri, answer.body, range.end - range.start).await
    }
}

#[async_trait]
impl ArtifactStore for S3Artifacts {
    async fn put(&self, uri: &ArtifactUri, bytes: Bytes) -> Result<(), ArtifactError> {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key(uri)?)
            .body(ByteStream::from(bytes))
            .send()
            .await
            .map(drop)
            .map_err(|error| explain(uri, Trouble::of("storing it", &error)))
    }

    async fn put_file(&self, uri: &ArtifactUri, file: &Path) -> Result<(), ArtifactError> {
        upload::put_file(self, uri, file).await
    }

    async fn get(&self, uri: &ArtifactUri, limit: u64) -> Result<Bytes, ArtifactError> {
        let answer = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key(uri)?)
            .send()
            .await
            .map_err(|error| explain(uri, Trouble::of("reading it", &error)))?;
        let size = unsigned(answer.content_length());
        if size > limit {
            let uri = uri.clone();
            return Err(ArtifactError::TooLarge { uri, size, limit });
        }
        collect(uri, answer.body, limit).await
    }

    async fn get_range(
        &self,
        uri: &ArtifactUri,
        range: Range<u64>,
    ) -> Result<Bytes, ArtifactError> {
        let length = range.end.saturating_sub(range.start);
        let (size, tag) = if length == 0 || length > RANGE_MAX {
            self.head(uri).await?
        } else {
            (u64::MAX, None)
        };
        let end = range.end.min(size);
        let length = end.saturating_sub(range.start);
        if length > RANGE_MAX {
            return Err(ArtifactError::TooLarge {
                uri: uri.clone(),
                size: length,
                limit: RANGE_MAX,
            });
        }
        if length == 0 {
            return Ok(Bytes::new());
        }
        self.range(uri, range.start..end, tag.as_deref()).await
    }

    async fn download_link(&self, uri: &ArtifactUri) -> Result<Option<String>, ArtifactError> {
        self.link(uri, LINK).await.map(Some)
    }

    async fn size(&self, uri: &ArtifactUri) -> Result<u64, ArtifactError> {
        self.head(uri).await.map(|(size, _)| size)
    }

    async fn local_path(
        &self,
        uri: &ArtifactUri,
        scratch: &Path,
    ) -> Result<PathBuf, ArtifactError> {
        download::local_path(self, uri, scratch).await
    }

    async fn import(
        &self,
        source: &str,
        version: Option<&str>,
        uri: &ArtifactUri,
    ) -> Result<(), ArtifactError> {
        let place = source
            .strip_prefix("s3://")
            .and_then(|rest| rest.split_once('/'));
        let Some((bucket, object)) = place.filter(|(bucket, object)| {
            !bucket.is_empty() && !object.is_empty() && object.len() <= KEY_MAX
        }) else {
            return Err(ArtifactError::Refused(format!(
                "`{}` is not an object of S3; expected `s3://BUCKET/KEY`",
                source.chars().take(120).collect::<String>()
            )));
        };
        // The function may read more of its own bucket than whoever starts a flow.
        if bucket == self.bucket && !object.starts_with(UPLOADS) {
            return Err(ArtifactError::Refused(format!(
                "{source} is in the data bucket and not below `{UPLOADS}`, where inputs are"
            )));
        }
        let version = version.map_or_else(String::new, |id| format!("?versionId={}", encoded(id)));
        let copied = self
            .client
            .copy_object()
            .copy_source(format!("{bucket}/{}{version}", encoded(object)))
            .bucket(&self.bucket)
            .key(key(uri)?)
            // An input needs no tags, and whoever starts executions needs no right to read them.
            .tagging_directive(TaggingDirective::Replace)
            .send()
            .await;
        copied
            .map(drop)
            .map_err(|error| match Trouble::of("copying it", &error) {
                Trouble::Refused { text, .. } => ArtifactError::Refused(format!(
                    "{source} cannot be copied: {text}; it must exist, have 5 GB at most, and be in the data bucket below `uploads/` or in the deployment's upload bucket"
                )),
                trouble @ Trouble::Busy(_) => explain(uri, trouble),
            })
    }

    async fn delete(&self, uri: &ArtifactUri) -> Result<bool, ArtifactError> {
        match self.head(uri).await {
            Ok(_) => {}
            Err(ArtifactError::Missing(_)) => return Ok(false),
            Err(
                error @ (ArtifactError::BadUri(_)
                | ArtifactError::TooLarge { .. }
                | ArtifactError::Refused(_)
                | ArtifactError::Failed(_)),
            ) => return Err(error),
        }
        self.client
            .delete_object()
            .bucket(&self.bucket)
            .key(key(uri)?)
            .send()
            .await
            .map(|_| true)
            .map_err(|error| explain(uri, Trouble::of("removing it", &error)))
    }
}

/// The object's key. S3 allows 1,024 bytes, the prefix included.
fn key(uri: &ArtifactUri) -> Result<String, ArtifactError> {
    let key = format!("{PREFIX}{}", uri.key());
    if key.len() > KEY_MAX {
        return Err(ArtifactError::Failed(format!(
            "the key of {} has more than {} bytes, which is all that S3 allows",
            uri.to_string().chars().take(120).collect::<String>(),
            KEY_MAX - PREFIX.len()
        )));
    }
    Ok(key)
}

/// A part of a header's URL: everything but plain characters and slashes as `%XX`.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// All bytes of an answer, at most `limit`.
async fn collect(
    uri: &ArtifactUri,
    mut body: ByteStream,
    limit: u64,
) -> Result<Bytes, ArtifactError> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece
            .map_err(|error| ArtifactError::Failed(format!("{uri} could not be read: {error}")))?;
        let size = length(&bytes).saturating_add(length(&piece));
        if size > limit {
            let uri = uri.clone();
            return Err(ArtifactError::TooLarge { uri, size, limit });
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn unsigned(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)
}

#[allow(clippy::needless_pass_by_value, reason = "reads well in map_err")]
fn explain(uri: &ArtifactUri, trouble: Trouble) -> ArtifactError {
    match &trouble {
        Trouble::Refused { code, .. } if code == "NoSuchKey" || code == "NotFound" => {
            ArtifactError::Missing(uri.clone())
        }
        Trouble::Busy(_) | Trouble::Refused { .. } => {
            ArtifactError::Failed(format!("{uri}: {}", trouble.text()))
        }
    }
}

/// A header that makes browsers download, with a name of plain characters.
fn disposition(uri: &ArtifactUri) -> String {
    let name = uri.key().rsplit('/').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let name: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .take(150)
        .collect();
    format!("attachment; filename=\"{name}\"")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_below_the_prefix_and_within_the_limit_of_s3() {
        let uri = ArtifactUri::new("ns/flow/a b.txt").unwrap();
        assert_eq!(key(&uri).unwrap(), "artifacts/ns/flow/a b.txt");
        let long = ArtifactUri::new(&"x".repeat(1020)).unwrap();
        assert!(key(&long).unwrap_err().to_string().contains("1014 bytes"));
    }

    #[test]
    fn the_source_of_a_copy_is_encoded() {
        assert_eq!(encoded("in/a b+ü?.json"), "in/a%20b%2B%C3%BC%3F.json");
    }

    #[test]
    fn a_download_has_a_plain_name() {
        let uri = ArtifactUri::new("ns/re\"port ü.html").unwrap();
        assert_eq!(disposition(&uri), "attachment; filename=\"re_port__.html\"");
    }
}
