//! Files beside a flow: a directory of this machine for the embedded engine, artifacts for a deployment.
//!
//! A deployment has no directories. There the files of a flow are artifacts that are named by their content, and a
//! *listing*, an artifact as well, says which path is which. The place of a flow's files is then the URI of its
//! listing. Invariant: a listing never changes, so an execution sees the files that were deployed when it began.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use operon_core::plan::content_hash;
use serde::{Deserialize, Serialize};

use crate::ports::{ArtifactError, ArtifactStore, ArtifactUri, FileSource};

/// Files beside a flow at most.
pub const FILES_MAX: usize = 10_000;
/// Bytes of one of them at most, where they are published: 64 MiB. Larger data is for FILE inputs.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a listing at most: a path and a hash for each of [`FILES_MAX`].
const LISTING_BYTES_MAX: u64 = 4 << 20;
/// Questions after files at once.
const LOOKS_AT_ONCE: usize = 16;
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

/// A file beside a flow, found in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Where it is.
    pub file: PathBuf,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

/// The files of a directory by path; hidden directories are passed over. The error is a sentence for people.
pub async fn of_directory(root: &Path, bytes_max: u64) -> Result<BTreeMap<String, Local>, String> {
    let mut files = BTreeMap::new();
    for path in walk(root, |_| true)? {
        let file = root.join(&path);
        let sha256 = content_hash(&read_small(&file, bytes_max).await?);
        files.insert(path, Local { file, sha256 });
    }
    Ok(files)
}

/// A file that is small enough to be deployed. The error is a sentence for people.
async fn read_small(file: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", file.display());
    let size = tokio::fs::metadata(file).await.map_err(wrong)?.len();
    if size > bytes_max {
        return Err(format!(
            "{} has {size} bytes; at most {bytes_max} are deployed with a flow: give it as a FILE input",
            file.display()
        ));
    }
    tokio::fs::read(file).await.map_err(wrong)
}

/// Whether a text is a SHA-256 as it is written here.
fn is_hash(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

/// Where a file is kept: named by its content, and as people name it.
fn place_of(path: &str, sha256: &str) -> Result<ArtifactUri, ArtifactError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    ArtifactUri::new(&format!("files/{sha256}/{name}"))
}

/// Stores a file of flows, whose SHA-256 is the answer. Of the path only the file's name counts. What was stored before
/// is stored again.
pub async fn keep(
    artifacts: &dyn ArtifactStore,
    path: &str,
    bytes: Bytes,
) -> Result<String, ArtifactError> {
    let sha256 = content_hash(&bytes);
    artifacts.put(&place_of(path, &sha256)?, bytes).await?;
    Ok(sha256)
}

/// What became of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// It is stored: the place to deploy a flow with.
    At(ArtifactUri),
    /// The files with these paths have to be kept first.
    Missing(Vec<String>),
}

/// Why there is no listing.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Too many files.
    #[error("{0} files; at most {FILES_MAX} are deployed with a flow")]
    TooMany(usize),
    /// A path that leads elsewhere, or none.
    #[error("`{0}` must be the relative path of a file, without `..`")]
    Path(String),
    /// No SHA-256.
    #[error("`{0}` is no SHA-256 in hexadecimal, lower case")]
    Hash(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] ArtifactError),
}

/// Lists files that are kept, by path. Nothing is stored while one of them is missing.
pub async fn list(
    artifacts: &dyn ArtifactStore,
    files: &BTreeMap<String, String>,
) -> Result<Listed, ListError> {
    if files.len() > FILES_MAX {
        return Err(ListError::TooMany(files.len()));
    }
    for (path, sha256) in files {
        let names_a_file = Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !names_a_file {
            return Err(ListError::Path(path.clone()));
        }
        if !is_hash(sha256) {
            return Err(ListError::Hash(sha256.clone()));
        }
    }
    let places = files
        .iter()
        .map(|(path, sha256)| Ok((path.clone(), place_of(path, sha256)?)))
        .collect::<Result<Vec<_>, ArtifactError>>()?;
    let looks = futures_util::stream::iter(places).map(|(path, uri)| async move {
        match artifacts.size(&uri).await {
            Ok(_) => Ok(None),
            Err(ArtifactError::Missing(_)) => Ok(Some(path)),
            Err(error) => Err(error),
        }
    });
    let found: Vec<_> = looks.buffered(LOOKS_AT_ONCE).try_collect().await?;
    let missing: Vec<String> = found.into_iter().flatten().collect();
    if !missing.is_empty() {
        return Ok(Listed::Missing(missing));
    }
    Ok(Listed::At(store_listing(artifacts, files).await?))
}

/// Stores a listing of files that are kept.
async fn store_listing(
    artifacts: &dyn ArtifactStore,
    files: &BTreeMap<String, String>,
) -> Result<ArtifactUri, ArtifactError> {
    let places = files
        .iter()
        .map(|(path, sha256)| Ok((path.clone(), place_of(path, sha256)?.to_string())));
    let listing = Listing {
        format: FORMAT,
        files: places.collect::<Result<_, ArtifactError>>()?,
    };
    let listing =
        serde_json::to_vec(&listing).map_err(|error| ArtifactError::Failed(error.to_string()))?;
    let uri = ArtifactUri::new(&format!("files/{}.json", content_hash(&listing)))?;
    artifacts.put(&uri, listing.into()).await?;
    Ok(uri)
}

/// Whether this is the place of a listing as [`list`] answers it.
#[must_use]
pub fn is_listing(place: &str) -> bool {
    let name = place.strip_prefix("operon:///files/");
    name.and_then(|name| name.strip_suffix(".json"))
        .is_some_and(is_hash)
}

/// Stores the files of a directory as artifacts; the URI of their listing is the place to deploy a flow with. The error
/// is a sentence for people.
pub async fn publish(artifacts: &dyn ArtifactStore, root: &Path) -> Result<ArtifactUri, String> {
    let text = |error: ArtifactError| error.to_string();
    let mut files = BTreeMap::new();
    for path in walk(root, |_| true)? {
        let bytes = read_small(&root.join(&path), FILE_BYTES_MAX).await?;
        let kept = keep(artifacts, &path, bytes.into()).await.map_err(text)?;
        files.insert(path, kept);
    }
    store_listing(artifacts, &files).await.map_err(text)
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
