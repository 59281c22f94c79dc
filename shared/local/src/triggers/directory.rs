//! A directory in the place of an S3 bucket: each file that is written there is an event, once.
//!
//! The directory is looked at every second. A file counts when two looks found the same size and time, so one that is
//! being written does not. Which files were seen is kept in a log beside the store; it is written after the event was
//! accepted, so a crash between the two gives the event again, and giving it again starts nothing: its identity is
//! path, size, time and a hash of the content.
//!
//! As with S3, files that are there when a bucket is watched for the first time are no events.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use operon_core::triggers::{Source, TriggerEvent, name};
use operon_engine::triggers::Triggers;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::warn;

use crate::buckets::etag_of;

/// Files of one bucket that are looked at.
const FILES_MAX: usize = 200_000;
/// Directories inside directories.
const DEPTH_MAX: usize = 32;
/// Bytes of a key at most: S3's limit.
const KEY_BYTES_MAX: usize = 1_024;
/// Files whose events are given at once.
const AT_ONCE: usize = 100;
/// How names end while browsers and copy tools still write.
const UNFINISHED: &[&str] = &[".part", ".partial", ".tmp", ".crdownload", ".filepart"];

/// Which directory is which bucket.
#[derive(Debug, Clone, Default)]
pub struct Buckets {
    /// By name.
    pub named: BTreeMap<String, PathBuf>,
    /// Directory that holds one directory for every other bucket.
    pub root: PathBuf,
}

impl Buckets {
    /// The directory of a bucket.
    #[must_use]
    pub fn path(&self, bucket: &str) -> PathBuf {
        self.named
            .get(bucket)
            .cloned()
            .unwrap_or_else(|| self.root.join(bucket))
    }
}

/// Why a directory is not watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// It cannot be read.
    #[error("`{}`: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is too full.
    #[error("below `{}` are more than {FILES_MAX} files; move away what has been dealt with", .0.display())]
    TooMany(PathBuf),
}

/// What is known of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    #[serde(rename = "s")]
    size: u64,
    /// Nanoseconds since the epoch.
    #[serde(rename = "m")]
    modified: u64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(rename = "k")]
    key: String,
    /// None: the file is gone.
    #[serde(flatten)]
    stamp: Option<Stamp>,
}

/// One watched directory.
pub(super) struct Watch {
    bucket: String,
    directory: PathBuf,
    log: PathBuf,
    /// Files whose events were accepted.
    seen: HashMap<String, Stamp>,
    /// Files as they were at the last look.
    before: HashMap<String, Stamp>,
    ready: bool,
}

/// A file that is an event.
pub(super) struct Found {
    key: String,
    stamp: Stamp,
    pub(super) event: TriggerEvent,
}

impl Watch {
    pub(super) fn new(bucket: &str, directory: PathBuf, seen: &Path) -> Self {
        // Tasks run elsewhere: what they are told must not depend on where the server was started.
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        let file = name(&[bucket, &directory.to_string_lossy()], 24);
        Self {
            bucket: bucket.to_owned(),
            directory,
            log: seen.join(format!("{file}.jsonl")),
            seen: HashMap::new(),
            before: HashMap::new(),
            ready: false,
        }
    }

    /// Looks once and gives what is new and at rest.
    pub(super) fn look(&mut self) -> Result<Vec<Found>, WatchError> {
        if !self.ready {
            self.open()?;
            self.ready = true;
        }
        let now = self.files()?;
        let gone: Vec<String> = self
            .seen
            .keys()
            .filter(|key| !now.contains_key(*key))
            .cloned()
            .collect();
        if !gone.is_empty() {
            let lines = gone.iter().map(|key| Line {
                key: key.clone(),
                stamp: None,
            });
            self.append(lines)?;
            for key in gone {
                self.seen.remove(&key);
            }
        }
        let mut found = Vec::new();
        for (key, stamp) in &now {
            let rests = self.before.get(key) == Some(stamp);
            if rests && self.seen.get(key) != Some(stamp) {
                match self.event(key, *stamp) {
                    Ok(Some(event)) => found.push(Found {
                        key: key.clone(),
                        stamp: *stamp,
                        event,
                    }),
                    // It was changed while it was read: it is looked at again.
                    Ok(None) => {}
                    Err(error) => warn!(bucket = self.bucket, key, %error, "a file cannot be read"),
                }
            }
        }
        self.before = now;
        found.sort_by(|a, b| (a.stamp.modified, &a.key).cmp(&(b.stamp.modified, &b.key)));
        Ok(found)
    }

    /// The events of these files were accepted.
    pub(super) fn accepted(&mut self, found: &[Found]) -> Result<(), WatchError> {
        let lines = found.iter().map(|one| Line {
            key: one.key.clone(),
            stamp: Some(one.stamp),
        });
        self.append(lines)?;
        for one in found {
            self.seen.insert(one.key.clone(), one.stamp);
        }
        Ok(())
    }

    /// Reads the log, or begins one with all files there are.
    fn open(&mut self) -> Result<(), WatchError> {
        fs::create_dir_all(&self.directory).map_err(at(&self.directory))?;
        if let Some(parent) = self.log.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        match File::open(&self.log) {
            Ok(file) => {
                let mut lines = 0_usize;
                for line in BufReader::new(file).lines() {
                    // A crash may have torn the last line.
                    let Ok(line) = serde_json::from_str::<Line>(&line.map_err(at(&self.log))?)
                    else {
                        continue;
                    };
                    lines += 1;
                    match line.stamp {
                        Some(stamp) => self.seen.insert(line.key, stamp),
                        None => self.seen.remove(&line.key),
                    };
                }
                if lines > 2 * self.seen.len() + 1_000 {
                    self.rewrite()?;
                } else {
                    // So that what is appended does not go on with a torn line.
                    let mut file = OpenOptions::new()
                        .append(true)
                        .open(&self.log)
                        .map_err(at(&self.log))?;
                    file.write_all(b"\n").map_err(at(&self.log))?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.seen = self.files()?;
                self.rewrite()?;
            }
            Err(error) => return Err(at(&self.log)(error)),
        }
        Ok(())
    }

    fn rewrite(&self) -> Result<(), WatchError> {
        let next = self.log.with_extension("new");
        let mut text = String::new();
        for (key, stamp) in &self.seen {
            push(
                &mut text,
                &Line {
                    key: key.clone(),
                    stamp: Some(*stamp),
                },
            );
        }
        let mut file = File::create(&next).map_err(at(&next))?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(at(&next))?;
        fs::rename(&next, &self.log).map_err(at(&self.log))
    }

    fn append(&self, lines: impl Iterator<Item = Line>) -> Result<(), WatchError> {
        let mut text = String::new();
        for line in lines {
            push(&mut text, &line);
        }
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(at(&self.log))?;
        file.write_all(text.as_bytes()).map_err(at(&self.log))
    }

    /// All files, by key.
    fn files(&self) -> Result<HashMap<String, Stamp>, WatchError> {
        let mut files = HashMap::new();
        self.collect(&self.directory, "", DEPTH_MAX, &mut files)?;
        Ok(files)
    }

    fn collect(
        &self,
        directory: &Path,
        prefix: &str,
        depth: usize,
        files: &mut HashMap<String, Stamp>,
    ) -> Result<(), WatchError> {
        let entries = match fs::read_dir(directory) {
            // Somebody removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !prefix.is_empty() => {
                return Ok(());
            }
            entries => entries.map_err(at(directory))?,
        };
        for entry in entries {
            let entry = entry.map_err(at(directory))?;
            let file_name = entry.file_name();
            // Keys are text.
            let Some(file_name) = file_name.to_str() else {
                continue;
            };
            let key = format!("{prefix}{file_name}");
            if file_name.starts_with('.') || key.len() > KEY_BYTES_MAX {
                continue;
            }
            let Ok(metadata) = fs::symlink_metadata(entry.path()) else {
                continue;
            };
            if metadata.is_dir() && depth > 0 {
                self.collect(&entry.path(), &format!("{key}/"), depth - 1, files)?;
            } else if metadata.is_file() && !UNFINISHED.iter().any(|end| file_name.ends_with(end)) {
                if files.len() >= FILES_MAX {
                    return Err(WatchError::TooMany(self.directory.clone()));
                }
                files.insert(key, stamp(&metadata));
            }
        }
        Ok(())
    }

    /// The event of a file; none when it is not what it was.
    fn event(&self, key: &str, stamp: Stamp) -> io::Result<Option<TriggerEvent>> {
        let path = self.directory.join(key);
        let content = etag_of(&path)?;
        if self::stamp(&fs::symlink_metadata(&path)?) != stamp {
            return Ok(None);
        }
        let fields = json!({
            "uri": format!("file://{}", path.display()), "bucket": self.bucket, "key": key, "size": stamp.size,
            "etag": content,
        });
        Ok(Some(TriggerEvent {
            source: Source::Object {
                bucket: self.bucket.clone(),
                key: key.to_owned(),
                size: stamp.size,
            },
            identity: format!(
                "file:{}@{}-{}-{content}",
                path.display(),
                stamp.size,
                stamp.modified
            ),
            time_ms: Some(stamp.modified / 1_000_000),
            fields: if let Value::Object(fields) = fields {
                fields
            } else {
                serde_json::Map::new()
            },
        }))
    }
}

fn push(text: &mut String, line: &Line) {
    if let Ok(line) = serde_json::to_string(line) {
        text.push_str(&line);
        text.push('\n');
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> WatchError + use<> {
    let path = path.to_owned();
    move |error| WatchError::Io { path, error }
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    let modified = metadata
        .modified()
        .ok()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Stamp {
        size: metadata.len(),
        modified: modified
            .and_then(|at| u64::try_from(at.as_nanos()).ok())
            .unwrap_or(0),
    }
}

/// All watched directories.
pub(super) struct Watches {
    buckets: Buckets,
    seen: PathBuf,
    by_bucket: BTreeMap<String, Watch>,
    /// What was said about a bucket last, so that it is said once.
    said: BTreeMap<String, String>,
}

impl Watches {
    pub(super) fn new(buckets: Buckets, seen: PathBuf) -> Self {
        Self {
            buckets,
            seen,
            by_bucket: BTreeMap::new(),
            said: BTreeMap::new(),
        }
    }

    /// Watches these buckets and no others. Names that are no directory names are left out: they are for the cloud.
    pub(super) fn keep(&mut self, wanted: &[String]) {
        self.by_bucket.retain(|bucket, _| wanted.contains(bucket));
        for bucket in wanted {
            let plain = !bucket.is_empty()
                && !bucket.starts_with('.')
                && !bucket.contains(['/', '\\', '\0']);
            if plain && !self.by_bucket.contains_key(bucket) {
                let watch = Watch::new(bucket, self.buckets.path(bucket), &self.seen);
                self.by_bucket.insert(bucket.clone(), watch);
            }
        }
    }

    /// Looks at all directories and gives what is new to the triggers.
    pub(super) async fn look(&mut self, triggers: &Triggers) {
        for (bucket, mut watch) in std::mem::take(&mut self.by_bucket) {
            let looked = tokio::task::spawn_blocking(move || {
                let found = watch.look();
                (watch, found)
            });
            // A panic in there would lose the watch; it is set up again with the next look at the flows.
            let Ok((mut watch, found)) = looked.await else {
                continue;
            };
            if let Err(problem) = give(&mut watch, triggers, found).await {
                if self.said.insert(bucket.clone(), problem.clone()).as_ref() != Some(&problem) {
                    warn!(bucket, problem, "a directory cannot be watched");
                }
            } else {
                self.said.remove(&bucket);
            }
            self.by_bucket.insert(bucket, watch);
        }
    }
}

async fn give(
    watch: &mut Watch,
    triggers: &Triggers,
    found: Result<Vec<Found>, WatchError>,
) -> Result<(), String> {
    let found = found.map_err(|error| error.to_string())?;
    for some in found.chunks(AT_ONCE) {
        let events = some.iter().map(|one| one.event.clone()).collect();
        triggers
            .events(events)
            .await
            .map_err(|error| error.to_string())?;
        watch.accepted(some).map_err(|error| error.to_string())?;
    }
    Ok(())
}
