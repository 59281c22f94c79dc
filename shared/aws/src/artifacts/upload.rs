//! Sending a local file, in parts where it is large.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use operon_engine::ports::{ArtifactError, ArtifactStore as _, ArtifactUri};
use tracing::warn;

use super::{PART_MIN, PARTS_AT_ONCE, S3Artifacts, explain, key};
use crate::errors::Trouble;

/// Parts of one object at most (S3).
const PARTS_MAX: u64 = 10_000;
/// Bytes of an object at most: 5 TiB (S3).
const SIZE_MAX: u64 = 5 << 40;

/// Stores a finished regular file.
pub(super) async fn put_file(
    store: &S3Artifacts,
    uri: &ArtifactUri,
    path: &Path,
) -> Result<(), ArtifactError> {
    let shown = path.display().to_string();
    let failed =
        move |error: &io::Error| ArtifactError::Failed(format!("cannot store {shown}: {error}"));
    let (path, explain_io) = (path.to_owned(), failed.clone());
    let (file, size) = blocking(move || open(&path))
        .await
        .map_err(|error| explain_io(&error))?;
    if size > SIZE_MAX {
        let uri = uri.clone();
        return Err(ArtifactError::TooLarge {
            uri,
            size,
            limit: SIZE_MAX,
        });
    }
    if size <= PART_MIN {
        let bytes = read(file, 0, size).await.map_err(|error| failed(&error))?;
        return store.put(uri, bytes).await;
    }
    let upload = Upload::begin(store, uri).await?;
    match upload.parts(file, size, &failed).await {
        Ok(parts) => upload.complete(parts).await,
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

/// Opens a regular file, without following a link in its last place.
fn open(path: &Path) -> io::Result<(Arc<File>, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("only regular files can be stored"));
    }
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    Ok((Arc::new(file), size))
}

async fn read(file: Arc<File>, begin: u64, length: u64) -> io::Result<Bytes> {
    blocking(move || {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, begin)?;
        Ok(bytes.into())
    })
    .await
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

/// Bytes of each part of a file of that size.
fn part_size(size: u64) -> u64 {
    size.div_ceil(PARTS_MAX).max(PART_MIN)
}

struct Upload<'a> {
    store: &'a S3Artifacts,
    uri: &'a ArtifactUri,
    key: String,
    id: String,
}

impl<'a> Upload<'a> {
    async fn begin(store: &'a S3Artifacts, uri: &'a ArtifactUri) -> Result<Self, ArtifactError> {
        let key = key(uri)?;
        let answer = store
            .client
            .create_multipart_upload()
            .bucket(&store.bucket)
            .key(&key)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .send()
            .await
            .map_err(|error| explain(uri, Trouble::of("beginning an upload", &error)))?;
        let id = answer.upload_id.ok_or_else(|| {
            ArtifactError::Failed(format!("{uri}: S3 began an upload without a name"))
        })?;
        Ok(Self {
            store,
            uri,
            key,
            id,
        })
    }

    async fn parts(
        &self,
        file: Arc<File>,
        size: u64,
        failed: &(dyn Fn(&io::Error) -> ArtifactError + Sync),
    ) -> Result<Vec<CompletedPart>, ArtifactError> {
        let length = part_size(size);
        let parts = (0..size.div_ceil(length)).map(|index| {
            let file = Arc::clone(&file);
            async move {
                let begin = index * length;
                let bytes = read(file, begin, length.min(size - begin))
                    .await
                    .map_err(|error| failed(&error))?;
                // Parts count from 1 to 10,000.
                self.part(i32::try_from(index + 1).unwrap_or(i32::MAX), bytes)
                    .await
            }
        });
        stream::iter(parts)
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn part(&self, number: i32, bytes: Bytes) -> Result<CompletedPart, ArtifactError> {
        let answer = self
            .store
            .client
            .upload_part()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(bytes))
            .send()
            .await
            .map_err(|error| explain(self.uri, Trouble::of("sending a part", &error)))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .build())
    }

    async fn complete(&self, parts: Vec<CompletedPart>) -> Result<(), ArtifactError> {
        self.store
            .client
            .complete_multipart_upload()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(parts))
                    .build(),
            )
            .send()
            .await
            .map(drop)
            .map_err(|error| explain(self.uri, Trouble::of("completing an upload", &error)))
    }

    /// Frees what was sent. Where that fails, the bucket's lifecycle rule for incomplete uploads does it.
    async fn abort(&self) {
        let aborted = self
            .store
            .client
            .abort_multipart_upload()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .send()
            .await;
        if let Err(error) = aborted {
            let error = Trouble::of("ending an upload", &error).text();
            warn!(uri = %self.uri, error, "an incomplete upload stays for the lifecycle rule");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_are_enough_for_every_file() {
        assert_eq!(part_size(PART_MIN + 1), PART_MIN);
        assert_eq!(part_size(5 << 30), PART_MIN);
        for size in [PART_MIN * PARTS_MAX, PART_MIN * PARTS_MAX + 1, SIZE_MAX] {
            assert!(size.div_ceil(part_size(size)) <= PARTS_MAX, "{size}");
        }
    }
}
