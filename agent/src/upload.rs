//! Storing files: small ones at once, large ones in parts, never whole in memory.
//!
//! Each request carries its SHA-256, which S3 checks; the file's own goes into the manifest.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use crate::store::{Store, StoreError, UploadedPart};

/// Bytes of a part at least; also what is stored at once.
const PART_MIN: u64 = 8 * 1024 * 1024;
/// Parts of an object at most (S3 takes 10,000).
const PARTS_MAX: u64 = 9_000;
/// Parts on their way at once: with the smallest parts, 40 MiB of memory.
const AT_ONCE: usize = 4;

/// Why a file was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("it changed while it was stored")]
    Changed,
    #[error("it cannot be stored: {0}")]
    Store(#[from] StoreError),
    #[error("it cannot be stored: {0}")]
    Lost(#[from] tokio::task::JoinError),
}

/// SHA-256 in base64, as S3 wants it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(bytes))
}

/// Bytes of each part of a file, so that there are not too many.
pub(crate) fn part_bytes(size: u64) -> u64 {
    const MIB: u64 = 1024 * 1024;
    PART_MIN.max(size.div_ceil(PARTS_MAX).div_ceil(MIB) * MIB)
}

/// Stores a file; gives its SHA-256 in hexadecimal.
pub(crate) async fn file(
    store: &Arc<dyn Store>,
    bucket: &str,
    key: &str,
    path: &Path,
    size: u64,
) -> Result<String, UploadError> {
    in_parts(store, bucket, key, path, size, part_bytes(size)).await
}

async fn in_parts(
    store: &Arc<dyn Store>,
    bucket: &str,
    key: &str,
    path: &Path,
    size: u64,
    step: u64,
) -> Result<String, UploadError> {
    let mut reader = Reader {
        file: File::open(path)?,
        left: size,
        hash: Sha256::new(),
    };
    if size <= step {
        let bytes = reader.next(step)?;
        let sum = sha256(&bytes);
        reader.finish()?;
        store.put(bucket, key, bytes, &sum).await?;
        return Ok(hex::encode(reader.hash.finalize()));
    }
    let upload = store.begin(bucket, key).await?;
    let place = Arc::new((bucket.to_owned(), key.to_owned(), upload.clone()));
    match parts(store, &place, &mut reader, step).await {
        Ok(parts) => store.complete((bucket, key, &upload), parts).await?,
        Err(error) => {
            // Its failure leaves parts for the bucket's lifecycle rule; the first error matters.
            let _ = store.abort((bucket, key, &upload)).await;
            return Err(error);
        }
    }
    Ok(hex::encode(reader.hash.finalize()))
}

async fn parts(
    store: &Arc<dyn Store>,
    place: &Arc<(String, String, String)>,
    reader: &mut Reader,
    step: u64,
) -> Result<Vec<UploadedPart>, UploadError> {
    let mut done = Vec::new();
    let mut under_way = JoinSet::new();
    let mut number = 0;
    while reader.left > 0 {
        if under_way.len() >= AT_ONCE
            && let Some(part) = under_way.join_next().await
        {
            done.push(part??);
        }
        number += 1;
        let bytes = reader.next(step)?;
        let (store, place) = (store.clone(), place.clone());
        under_way.spawn(async move {
            let sha256 = sha256(&bytes);
            let (bucket, key, upload) = &*place;
            let place = (bucket.as_str(), key.as_str(), upload.as_str());
            let etag = store.part(place, number, bytes, &sha256).await?;
            Ok::<_, UploadError>(UploadedPart {
                number,
                etag,
                sha256,
            })
        });
    }
    while let Some(part) = under_way.join_next().await {
        done.push(part??);
    }
    reader.finish()?;
    done.sort_by_key(|part| part.number);
    Ok(done)
}

/// Reads a file piece by piece, as long as it was, and hashes it.
struct Reader {
    file: File,
    left: u64,
    hash: Sha256,
}

impl Reader {
    fn next(&mut self, step: u64) -> Result<Bytes, UploadError> {
        let wanted = self.left.min(step);
        let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
        (&mut self.file).take(wanted).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) != wanted {
            return Err(UploadError::Changed);
        }
        self.left -= wanted;
        self.hash.update(&bytes);
        Ok(bytes.into())
    }

    /// Nothing may follow.
    fn finish(&mut self) -> Result<(), UploadError> {
        match self.file.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(UploadError::Changed),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::sync::atomic::Ordering;

    use super::*;
    use crate::store::testing::MemoryStore;

    async fn stored(size: usize, step: u64) -> (Arc<MemoryStore>, Vec<u8>, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let content: Vec<u8> = (0..size)
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect();
        std::fs::write(&path, &content).unwrap();
        let memory = Arc::new(MemoryStore::default());
        let store: Arc<dyn Store> = memory.clone();
        let sum = in_parts(&store, "data", "k", &path, size as u64, step)
            .await
            .unwrap();
        (memory, content, sum)
    }

    #[tokio::test]
    async fn files_arrive_whole_whatever_their_size() {
        for (size, step) in [(0, 10), (9, 10), (10, 10), (11, 10), (100, 10), (101, 10)] {
            let (store, content, sum) = stored(size, step).await;
            assert_eq!(store.get("k").unwrap(), content, "{size}");
            assert_eq!(sum, hex::encode(Sha256::digest(&content)));
            assert_eq!(store.open_uploads(), 0);
        }
    }

    #[tokio::test]
    async fn a_failed_upload_leaves_no_parts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        std::fs::write(&path, [7; 100]).unwrap();
        let memory = Arc::new(MemoryStore::default());
        memory.fails_parts.store(1, Ordering::Relaxed);
        let store: Arc<dyn Store> = memory.clone();
        let error = in_parts(&store, "data", "k", &path, 100, 10)
            .await
            .unwrap_err();
        assert!(matches!(error, UploadError::Store(_)), "{error}");
        assert_eq!((memory.open_uploads(), memory.get("k")), (0, None));
    }

    #[tokio::test]
    async fn a_file_that_changes_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        std::fs::write(&path, [7; 100]).unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        for size in [50, 200] {
            for step in [1_000, 10] {
                let changed = in_parts(&store, "data", "k", &path, size, step).await;
                assert!(
                    matches!(changed, Err(UploadError::Changed)),
                    "{size} {step}"
                );
            }
        }
    }

    #[test]
    fn parts_are_few_and_memory_is_bounded() {
        const GIB: u64 = 1 << 30;
        assert_eq!(part_bytes(0), PART_MIN);
        assert_eq!(part_bytes(5 * GIB), PART_MIN);
        for size in [5 * GIB, 100 * GIB, 200 * GIB] {
            assert!(size.div_ceil(part_bytes(size)) <= PARTS_MAX);
            assert!(part_bytes(size) <= 24 << 20, "{}", part_bytes(size));
        }
    }
}
