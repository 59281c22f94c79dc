//! Output files: what an attempt left behind, stored under its own prefix.
//!
//! Everything in `OUTPUT_DIR`, and what the globs of `outputFiles` match in the working directory. A glob
//! with wildcards may match nothing (a warning in the log); a plain name that is missing fails the attempt.
//! `*` does not cross directories, `**` does. Links are followed only to regular files inside the directory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use operon_engine::ports::{ArtifactStore, ArtifactUri};
use serde_json::{Map, Value};

use super::directory::{WorkDir, inside, is_empty};
use super::stage::blocking;

/// Output files of one attempt at most.
pub(crate) const FILES_MAX: usize = 100_000;
/// Entries looked at in one working directory at most.
const ENTRIES_MAX: usize = 1_000_000;
/// The engine's own files in a working directory: scripts. Wildcards do not match them.
const OWN_DIRECTORY: &str = ".operon";
/// Directories within each other at most.
const DEPTH_MAX: usize = 64;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// Relative name to file.
    pub(crate) files: BTreeMap<String, PathBuf>,
    /// Patterns that matched nothing, and names that came twice.
    pub(crate) warnings: Vec<String>,
    /// Why the attempt fails.
    pub(crate) problem: Option<String>,
}

impl Collected {
    fn fail(&mut self, why: String) {
        self.problem.get_or_insert(why);
    }

    fn add(&mut self, name: String, path: PathBuf) {
        if self.files.len() >= FILES_MAX {
            return self.fail(format!(
                "there are more than {FILES_MAX} output files; pack them into an archive"
            ));
        }
        match self.files.entry(name) {
            Entry::Vacant(free) => {
                free.insert(path);
            }
            Entry::Occupied(taken) => self.warnings.push(format!(
                "the output file `{}` is both in OUTPUT_DIR and in the working directory; the former is kept",
                taken.key()
            )),
        }
    }
}

/// Finds the output files. Touches the disk as little as it can: nothing was asked for, nothing is walked.
pub(crate) fn find(dir: &WorkDir, patterns: &[String]) -> io::Result<Collected> {
    let mut found = Collected::default();
    if !is_empty(&dir.output()).unwrap_or(false) {
        walk(dir, &dir.output(), &mut found, &mut |name, path, found| {
            found.add(name, path);
        })?;
    }
    let mut wild = Vec::new();
    for pattern in patterns {
        if pattern.contains(['*', '?', '[', '{', '\\']) {
            wild.push(pattern.trim_start_matches("./"));
        } else {
            plain(dir, pattern, &mut found);
        }
    }
    if !wild.is_empty() {
        match globs(&wild) {
            Ok(set) => wildcards(dir, &wild, &set, &mut found)?,
            Err(why) => found.fail(why),
        }
    }
    Ok(found)
}

fn plain(dir: &WorkDir, name: &str, found: &mut Collected) {
    let parts = match inside(name) {
        Ok(parts) => parts,
        Err(error) => return found.fail(format!("output file: {error}")),
    };
    let name = parts.join("/");
    let path = dir.path.join(&name);
    match regular(dir, &path) {
        Ok(Some(file)) => found.add(name, file),
        Ok(None) => found.fail(format!(
            "the output file `{name}` is not a regular file inside the working directory; for a directory write `{name}/**`"
        )),
        Err(_) => found.fail(format!(
            "the output file `{name}` is missing; the task did not write it"
        )),
    }
}

fn globs(patterns: &[&str]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()
            .map_err(|error| format!("`outputFiles`: {error}"))?;
        set.add(glob);
    }
    set.build()
        .map_err(|error| format!("`outputFiles`: {error}"))
}

fn wildcards(
    dir: &WorkDir,
    patterns: &[&str],
    set: &GlobSet,
    found: &mut Collected,
) -> io::Result<()> {
    let mut matched = vec![false; patterns.len()];
    walk(dir, &dir.path, found, &mut |name, path, found| {
        let hits = set.matches(&name);
        if hits.is_empty() {
            return;
        }
        for hit in hits {
            if let Some(seen) = matched.get_mut(hit) {
                *seen = true;
            }
        }
        if found.files.get(&name) != Some(&path) {
            found.add(name, path);
        }
    })?;
    for (pattern, matched) in patterns.iter().zip(matched) {
        if !matched {
            found
                .warnings
                .push(format!("no file matches `{pattern}` of `outputFiles`"));
        }
    }
    Ok(())
}

/// Calls `visit` for each regular file under `root`, in the order of names.
fn walk(
    dir: &WorkDir,
    root: &Path,
    found: &mut Collected,
    visit: &mut dyn FnMut(String, PathBuf, &mut Collected),
) -> io::Result<()> {
    let mut waiting = vec![(root.to_owned(), String::new(), 0)];
    let mut entries_seen = 0;
    while let Some((directory, prefix, depth)) = waiting.pop() {
        let mut entries = match fs::read_dir(&directory) {
            Ok(entries) => entries.collect::<Result<Vec<_>, _>>()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        entries_seen += entries.len();
        if entries_seen > ENTRIES_MAX || depth > DEPTH_MAX {
            found.fail(format!(
                "the working directory has more than {ENTRIES_MAX} entries or {DEPTH_MAX} levels; name output files without wildcards"
            ));
            return Ok(());
        }
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let kind = entry.file_type()?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                found.warnings.push(format!(
                    "the file {} is left out: its name is not valid UTF-8",
                    entry.file_name().display()
                ));
                continue;
            };
            let name = if prefix.is_empty() {
                name
            } else {
                format!("{prefix}/{name}")
            };
            if kind.is_dir() && name == OWN_DIRECTORY {
                continue;
            }
            if kind.is_dir() {
                waiting.push((entry.path(), name, depth + 1));
            } else if let Ok(Some(file)) = regular(dir, &entry.path()) {
                visit(name, file, found);
            }
        }
    }
    Ok(())
}

/// The regular file that `path` is, or that it links to inside the directories of the attempt; none for
/// anything else.
fn regular(dir: &WorkDir, path: &Path) -> io::Result<Option<PathBuf>> {
    let real = path.canonicalize()?;
    let within = |root: &Path| root.canonicalize().is_ok_and(|root| real.starts_with(root));
    Ok(
        ((within(&dir.path) || within(&dir.output())) && fs::metadata(&real)?.is_file())
            .then_some(real),
    )
}

/// Stores the files under `prefix` and gives `outputFiles`. A store may take a file over instead of copying it, so
/// that of a directory which other tasks go on writing to, it is given copies.
pub(crate) async fn store(
    found: &Collected,
    dir: &WorkDir,
    prefix: &str,
    artifacts: &dyn ArtifactStore,
) -> Result<Map<String, Value>, String> {
    let mut uris = Map::new();
    for (number, (name, path)) in found.files.iter().enumerate() {
        let key = format!("{}/{name}", prefix.trim_matches('/'));
        let failed = |error| format!("the output file `{name}` cannot be stored: {error}");
        let uri = ArtifactUri::new(&key).map_err(failed)?;
        if dir.is_shared() {
            let copy = dir.control.join(format!("kept-{number}"));
            let (from, to) = (path.clone(), copy.clone());
            blocking(move || fs::copy(from, to))
                .await
                .map_err(|error| {
                    format!(
                        "the output file `{name}` cannot be copied before it is stored: {error}"
                    )
                })?;
            let stored = artifacts.put_file(&uri, &copy).await;
            // What cannot be removed now goes with the attempt's directories.
            let _ = blocking(move || fs::remove_file(copy)).await;
            stored.map_err(failed)?;
        } else {
            artifacts.put_file(&uri, path).await.map_err(failed)?;
        }
        uris.insert(name.clone(), Value::String(uri.to_string()));
    }
    Ok(uris)
}

/// [`find`], on a thread of its own when there is something to look through.
pub(crate) async fn find_async(dir: &WorkDir, patterns: &[String]) -> io::Result<Collected> {
    if patterns.is_empty() && is_empty(&dir.output()).unwrap_or(false) {
        return Ok(Collected::default());
    }
    let (dir, patterns) = (dir.clone(), patterns.to_vec());
    blocking(move || find(&dir, &patterns)).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::artifacts::DirectoryArtifacts;
    use crate::runner::testing::attempt_id;

    #[tokio::test]
    async fn what_is_kept_of_a_shared_directory_does_not_change_with_it() {
        use std::os::unix::fs::MetadataExt as _;
        let state = tempfile::tempdir().unwrap();
        let artifacts = DirectoryArtifacts::open(&state.path().join("artifacts")).unwrap();
        for (number, shared) in [(1, Some("wdir")), (2, None)] {
            let dir = WorkDir::of(state.path(), &attempt_id(number), "a", shared);
            for path in [dir.path.clone(), dir.output()] {
                fs::create_dir_all(path).unwrap();
            }
            let file = dir.path.join("note");
            fs::write(&file, "before").unwrap();
            let mode = fs::metadata(&file).unwrap().mode();
            let found = find(&dir, &["note".to_owned()]).unwrap();
            let prefix = format!("kept/{number}");
            store(&found, &dir, &prefix, &artifacts).await.unwrap();
            let uri = ArtifactUri::new(&format!("{prefix}/note")).unwrap();
            let kept = artifacts.local_path(&uri, state.path()).await.unwrap();
            let inode = |path: &Path| fs::metadata(path).unwrap().ino();
            let linked = inode(&kept) == inode(&file);
            // The directory of one attempt alone goes with it, so its files are taken over.
            assert_eq!(linked, shared.is_none());
            if shared.is_some() {
                assert_eq!(fs::metadata(&file).unwrap().mode(), mode);
                fs::write(&file, "after").unwrap();
                assert_eq!(artifacts.get(&uri, 99).await.unwrap(), "before");
                assert_eq!(fs::read_dir(&dir.control).unwrap().count(), 1);
            }
        }
    }
}
