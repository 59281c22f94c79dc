//! Files beside a flow: a directory of this machine for the embedded engine, artifacts for a deployment.
//!
//! A deployment has no directories. There the files of a flow are artifacts that are named by their content, and a
//! *listing*, an artifact as well, says which path is which. The place of a flow's files is then the URI of its
//! listing. Invariant: a listing never changes, so an execution sees the files that were deployed when it began.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ports::{ArtifactError, ArtifactStore, ArtifactUri, FileSource};

/// Files beside a flow at most.
pub const FILES_MAX: usize = 10_000;
/// Bytes of one of them at most, where they are published: 64 MiB. Larger data is for FILE inputs.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a listing at most: a path and a hash for each of [`FILES_MAX`].
const LISTING_BYTES_MAX: u64 = 4 << 20;
/// Of the listing's document.
const FORMAT: u8 = 1;

/// `place` under `root`, if it stays there: relative, without `..`.
#[must_use]
pub fn beneath(root: &Path, place: &str) -> Option<PathBuf> {
    let place = place.strip_prefix("nsfile:///").unwrap_or(place);
    let path = Path::new(place);
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (inside && !place.is_empty()).then(|| root.join(path))
}

/// A listing as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    format: u8,
    files: BTreeMap<String, String>,
}

/// The files beside a flow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Beside {
    /// There are none.
    #[default]
    Nothing,
    /// A directory of this machine.
    Directory(PathBuf),
    /// Artifacts by path.
    Listing(BTreeMap<String, ArtifactUri>),
}

impl Beside {
    /// What is at the place that an execution names. The error is a sentence for people.
    pub async fn load(
        artifacts: &dyn ArtifactStore,
        place: Option<&str>,
    ) -> Result<Self, ArtifactError> {
        let Some(place) = place else {
            return Ok(Self::Nothing);
        };
        if !ArtifactUri::is_uri(place) {
            return Ok(Self::Directory(PathBuf::from(place)));
        }
        let uri: ArtifactUri = place.parse()?;
        let bytes = artifacts.get(&uri, LISTING_BYTES_MAX).await?;
        let damaged = |what: &dyn std::fmt::Display| {
            ArtifactError::Failed(format!("the list of files {uri} cannot be read: {what}"))
        };
        let listing: Listing = serde_json::from_slice(&bytes).map_err(|error| damaged(&error))?;
        if listing.format > FORMAT {
            return Err(damaged(
                &"it is of a later release; finish the upgrade of this deployment",
            ));
        }
        let files = listing.files.into_iter();
        let files: Result<_, ArtifactError> =
            files.map(|(path, uri)| Ok((path, uri.parse()?))).collect();
        Ok(Self::Listing(files?))
    }

    /// One file. The error is a sentence for people.
    pub(crate) fn find(&self, place: &str) -> Result<FileSource, String> {
        let inside = || format!("`{place}` must be relative and stay beside the flow");
        match self {
            Self::Nothing => Err(
                "this execution has no namespace files; give an artifact URI instead".to_owned(),
            ),
            Self::Directory(root) => {
                let path = beneath(root, place).ok_or_else(inside)?;
                Ok(FileSource::Path(path))
            }
            Self::Listing(files) => {
                let path = beneath(Path::new(""), place).ok_or_else(inside)?;
                let path: PathBuf = path
                    .components()
                    .filter(|part| matches!(part, Component::Normal(_)))
                    .collect();
                let found = path.to_str().and_then(|path| files.get(path));
                let found =
                    found.ok_or_else(|| format!("there is no file `{place}` beside the flow"))?;
                Ok(FileSource::Artifact(found.clone()))
            }
        }
    }

    /// Files that are wanted, sorted by path; hidden directories are passed over. The error is a sentence for people.
    pub(crate) fn all(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, FileSource)>, String> {
        match self {
            Self::Nothing => Err("this execution has no namespace files".to_owned()),
            Self::Directory(root) => {
                let found = walk(root, wanted)?.into_iter();
                Ok(found
                    .map(|path| {
                        let source = FileSource::Path(root.join(&path));
                        (path, source)
                    })
                    .collect())
            }
            Self::Listing(files) => Ok(files
                .iter()
                .filter(|(path, _)| wanted(path))
                .map(|(path, uri)| (path.clone(), FileSource::Artifact(uri.clone())))
                .collect()),
        }
    }
}

/// Paths below a directory that are wanted, sorted. The error is a sentence for people.
fn walk(root: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut pending = vec![String::new()];
    while let Some(directory) = pending.pop() {
        let place = root.join(&directory);
        let entries = std::fs::read_dir(&place).map_err(|e| format!("{}: {e}", place.display()))?;
        for entry in entries {
            let entry = entry.map_err(|error| format!("{}: {error}", place.display()))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = if directory.is_empty() {
                name.clone()
            } else {
                format!("{directory}/{name}")
            };
            let kind = entry
                .file_type()
                .map_err(|error| format!("{path}: {error}"))?;
            if kind.is_dir() && !name.starts_with('.') {
                pending.push(path);
            } else if kind.is_file() && wanted(&path) {
                if out.len() >= FILES_MAX {
                    return Err(format!(
                        "more than {FILES_MAX} namespace files; narrow `namespaceFiles.include`"
                    ));
                }
                out.push(path);
            }
        }
    }
    out.sort();
    Ok(out)
}

/// Stores the files of a directory as artifacts; the URI of their listing is the place to deploy a flow with. What
/// was stored before is stored again under the same name. The error is a sentence for people.
pub async fn publish(artifacts: &dyn ArtifactStore, root: &Path) -> Result<ArtifactUri, String> {
    let text = |error: ArtifactError| error.to_string();
    let mut files = BTreeMap::new();
    for path in walk(root, |_| true)? {
        let full = root.join(&path);
        let wrong = |error: std::io::Error| format!("{}: {error}", full.display());
        let size = tokio::fs::metadata(&full).await.map_err(wrong)?.len();
        if size > FILE_BYTES_MAX {
            return Err(format!(
                "{} has {size} bytes; at most {FILE_BYTES_MAX} are deployed with a flow: give it as a FILE input",
                full.display()
            ));
        }
        let bytes = tokio::fs::read(&full).await.map_err(wrong)?;
        let hash = hex::encode(Sha256::digest(&bytes));
        let name = path.rsplit('/').next().unwrap_or(&path);
        let uri = ArtifactUri::new(&format!("files/{hash}/{name}")).map_err(text)?;
        artifacts
            .put(&uri, Bytes::from(bytes))
            .await
            .map_err(text)?;
        files.insert(path, uri.to_string());
    }
    let format = FORMAT;
    let listing = serde_json::to_vec(&Listing { format, files }).map_err(|e| e.to_string())?;
    let name = hex::encode(Sha256::digest(&listing));
    let uri = ArtifactUri::new(&format!("files/{name}.json")).map_err(text)?;
    artifacts.put(&uri, listing.into()).await.map_err(text)?;
    Ok(uri)
}

/// Reads a file beside the flow, at most `limit` bytes. The error is a sentence for people.
pub(crate) async fn read_beside(
    artifacts: &dyn ArtifactStore,
    flow_dir: Option<&str>,
    place: &str,
    limit: u64,
) -> Result<Bytes, String> {
    let beside = Beside::load(artifacts, flow_dir)
        .await
        .map_err(|error| error.to_string())?;
    let path = match beside.find(place)? {
        FileSource::Path(path) => path,
        FileSource::Artifact(uri) => {
            let read = artifacts.get(&uri, limit).await;
            return read.map_err(|error| error.to_string());
        }
        FileSource::Inline(text) => return Ok(text.into()),
    };
    let size = tokio::fs::metadata(&path)
        .await
        .map_err(|error| error.to_string())?
        .len();
    if size > limit {
        return Err(format!(
            "it has {size} bytes; at most {limit} can be read into an expression"
        ));
    }
    tokio::fs::read(&path)
        .await
        .map(Bytes::from)
        .map_err(|error| error.to_string())
}
