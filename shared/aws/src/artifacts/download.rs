//! Fetching an artifact into a local directory, in ranges.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use operon_engine::ports::{ArtifactError, ArtifactUri};
use sha2::{Digest as _, Sha256};

use super::upload::blocking;
use super::{PART_MIN, PARTS_AT_ONCE, S3Artifacts, length};

/// How often a range is fetched: its request is repeated by the SDK, but not what breaks off while it is read.
const TRIES: u32 = 4;
/// Before the second try; doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// The artifact as a file in `scratch`. A file that is there already is used again: artifacts never change.
pub(super) async fn local_path(
    store: &S3Artifacts,
    uri: &ArtifactUri,
    scratch: &Path,
) -> Result<PathBuf, ArtifactError> {
    let path = scratch.join(file_name(uri));
    let (size, tag) = store.head(uri).await?;
    let present = path.clone();
    let there = blocking(move || std::fs::symlink_metadata(present))
        .await
        .ok();
    if there.is_some_and(|metadata| metadata.is_file() && metadata.len() == size) {
        return Ok(path);
    }
    let failed = |error: &io::Error| {
        ArtifactError::Failed(format!("cannot write {}: {error}", path.display()))
    };
    let mut incoming = path.clone().into_os_string();
    incoming.push(".part");
    let incoming = PathBuf::from(incoming);
    let name = incoming.clone();
    let file = blocking(move || {
        let file = File::create(name)?;
        file.set_len(size)?;
        Ok(Arc::new(file))
    });
    let file = file.await.map_err(|error| failed(&error))?;
    let ranges = (0..size.div_ceil(PART_MIN)).map(|index| {
        let (file, tag) = (Arc::clone(&file), tag.as_deref());
        async move {
            let begin = index * PART_MIN;
            let bytes = range(store, uri, begin, PART_MIN.min(size - begin), tag).await?;
            blocking(move || file.write_all_at(&bytes, begin))
                .await
                .map_err(|error| ArtifactError::Failed(format!("cannot write {uri}: {error}")))
        }
    });
    let fetched: Result<Vec<()>, ArtifactError> = stream::iter(ranges)
        .buffer_unordered(PARTS_AT_ONCE)
        .try_collect()
        .await;
    let (done, from, to) = (fetched.is_ok(), incoming, path.clone());
    let moved = blocking(move || {
        if done {
            std::fs::rename(from, to)
        } else {
            // What is left of it is only in the way.
            std::fs::remove_file(from)
        }
    })
    .await;
    fetched?;
    moved.map_err(|error| failed(&error))?;
    Ok(path)
}

async fn range(
    store: &S3Artifacts,
    uri: &ArtifactUri,
    begin: u64,
    wanted: u64,
    tag: Option<&str>,
) -> Result<Bytes, ArtifactError> {
    let mut pause = PAUSE;
    let mut tried = 1;
    loop {
        let problem = match store.range(uri, begin..begin + wanted, tag).await {
            Ok(bytes) if length(&bytes) == wanted => return Ok(bytes),
            Ok(bytes) => ArtifactError::Failed(format!(
                "{uri}: {} bytes came where {wanted} were asked for",
                bytes.len()
            )),
            Err(error @ ArtifactError::Failed(_)) => error,
            Err(
                error @ (ArtifactError::BadUri(_)
                | ArtifactError::Missing(_)
                | ArtifactError::TooLarge { .. }
                | ArtifactError::Refused(_)),
            ) => return Err(error),
        };
        if tried == TRIES {
            return Err(problem);
        }
        tried += 1;
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

/// A name that is different for every key, whatever the key contains, and ends like it.
fn file_name(uri: &ArtifactUri) -> String {
    let digest = hex::encode(Sha256::digest(uri.key()));
    let last = uri.key().rsplit('/').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let last: String = last
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    let tail = last
        .get(last.len().saturating_sub(80)..)
        .unwrap_or_default();
    format!("{}-{tail}", digest.get(..24).unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_plain_short_and_distinct() {
        let name = |key: &str| file_name(&ArtifactUri::new(key).unwrap());
        assert!(name("a/reads.fasta.gz").ends_with("-reads.fasta.gz"));
        assert_ne!(name("a/x"), name("b/x"));
        assert!(name(&format!("a/{}", "ü".repeat(200))).len() < 120);
        assert!(!name("a/ü /x y").contains(' '));
    }
}
