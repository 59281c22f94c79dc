//! Which files an attempt left behind.
//!
//! Everything in `OUTPUT_DIR`, and what the globs of `outputFiles` match in the working directory. A glob
//! with wildcards may match nothing (a warning in the log); a plain name that is missing fails the attempt. A
//! directory that is named stands for everything in it. `*` does not cross directories, `**` does.
//!
//! Invariant: a link is followed only to a regular file inside the two directories.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use operon_core::agent::AgentLimits;

use crate::volume::{Volume, inside};

/// Entries looked at in one directory tree at most.
const ENTRIES_MAX: usize = 1_000_000;
/// Directories within each other at most.
const DEPTH_MAX: usize = 64;
/// The engine's own files, here and below the prefix of the outputs. Nothing in it is an output file.
const OWN_DIRECTORY: &str = ".operon";

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// Relative name to file and size.
    pub(crate) files: BTreeMap<String, (PathBuf, u64)>,
    /// Patterns that matched nothing, and names that came twice.
    pub(crate) warnings: Vec<String>,
    /// Why the attempt fails.
    pub(crate) problem: Option<String>,
    bytes: u64,
}

/// Where is looked, and for how much.
struct Search<'a> {
    volume: &'a Volume,
    limits: &'a AgentLimits,
    found: Collected,
}

/// Finds the output files.
pub(crate) fn find(
    volume: &Volume,
    patterns: &[String],
    limits: &AgentLimits,
) -> io::Result<Collected> {
    let mut search = Search {
        volume,
        limits,
        found: Collected::default(),
    };
    let all = globs(&["**"]).unwrap_or_default();
    search.tree(&volume.output(), "", &all, &mut [false])?;
    let mut wild = Vec::new();
    for pattern in patterns {
        let pattern = pattern.trim_start_matches("./");
        if pattern.contains(['*', '?', '[', '{', '\\']) {
            wild.push(pattern);
        } else {
            search.plain(pattern)?;
        }
    }
    match globs(&wild) {
        Ok(_) if wild.is_empty() => {}
        Ok(set) => {
            let mut matched = vec![false; wild.len()];
            search.tree(&volume.work(), "", &set, &mut matched)?;
            for (pattern, _) in wild.iter().zip(matched).filter(|(_, matched)| !matched) {
                let warning = format!("no file matches `{pattern}` of `outputFiles`");
                search.found.warnings.push(warning);
            }
        }
        Err(why) => search.fail(why),
    }
    Ok(search.found)
}

fn globs(patterns: &[&str]) -> Result<GlobSet, String> {
    let say = |error: globset::Error| format!("`outputFiles`: {error}");
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        set.add(glob.map_err(say)?);
    }
    set.build().map_err(say)
}

impl Search<'_> {
    fn fail(&mut self, why: String) {
        self.found.problem.get_or_insert(why);
    }

    fn add(&mut self, name: String, path: PathBuf, bytes: u64) {
        let AgentLimits {
            output_files,
            output_bytes,
            ..
        } = *self.limits;
        if self.found.files.len() >= usize::try_from(output_files).unwrap_or(usize::MAX) {
            return self.fail(format!(
                "there are more than {output_files} output files; pack them into an archive"
            ));
        }
        match self.found.files.entry(name) {
            Entry::Vacant(free) => {
                free.insert((path, bytes));
                self.found.bytes = self.found.bytes.saturating_add(bytes);
                if self.found.bytes > output_bytes {
                    self.fail(format!(
                        "the output files have more than {output_bytes} bytes"
                    ));
                }
            }
            Entry::Occupied(taken) if taken.get().0 == path => {}
            Entry::Occupied(taken) => {
                let warning = format!(
                    "the output file `{}` is both in OUTPUT_DIR and in the working directory; the former is kept",
                    taken.key()
                );
                self.found.warnings.push(warning);
            }
        }
    }

    /// A name without wildcards: a file, or a directory with everything in it.
    fn plain(&mut self, name: &str) -> io::Result<()> {
        let parts = match inside(name) {
            Ok(parts) => parts,
            Err(error) => {
                self.fail(format!("output file: {error}"));
                return Ok(());
            }
        };
        if parts.first() == Some(&OWN_DIRECTORY) {
            self.fail(format!(
                "the output file `{name}` is in `{OWN_DIRECTORY}`, which is not yours"
            ));
            return Ok(());
        }
        let name = parts.join("/");
        let path = self.volume.work().join(&name);
        match self.regular(&path) {
            Ok(Some((file, bytes))) => self.add(name, file, bytes),
            Ok(None) if self.is_own_directory(&path) => {
                let all = globs(&["**"]).unwrap_or_default();
                self.tree(&path, &name, &all, &mut [false])?;
            }
            Ok(None) => self.fail(format!(
                "the output file `{name}` is neither a regular file nor a directory inside the working directory"
            )),
            Err(_) => self.fail(format!(
                "the output file `{name}` is missing; the task did not write it"
            )),
        }
        Ok(())
    }

    /// Whether it is a directory that is really where its name says: not behind a link.
    fn is_own_directory(&self, path: &Path) -> bool {
        let real = |path: &Path| path.canonicalize().ok();
        let expected = real(&self.volume.work())
            .and_then(|root| Some(root.join(path.strip_prefix(self.volume.work()).ok()?)));
        path.is_dir() && real(path) == expected
    }

    /// Adds each regular file below `root` that a glob matches, in the order of names.
    fn tree(
        &mut self,
        root: &Path,
        prefix: &str,
        globs: &GlobSet,
        matched: &mut [bool],
    ) -> io::Result<()> {
        let mut waiting = vec![(root.to_owned(), prefix.to_owned(), 0)];
        let mut entries_seen = 0;
        while let Some((directory, prefix, depth)) = waiting.pop() {
            let mut entries = match fs::read_dir(&directory) {
                Ok(entries) => entries.collect::<Result<Vec<_>, _>>()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            entries_seen += entries.len();
            if entries_seen > ENTRIES_MAX || depth > DEPTH_MAX {
                self.fail(format!(
                    "the working directory has more than {ENTRIES_MAX} entries or {DEPTH_MAX} levels; name output files without wildcards"
                ));
                return Ok(());
            }
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                    let warning = format!(
                        "the file {} is left out: its name is not valid UTF-8",
                        entry.file_name().display()
                    );
                    self.found.warnings.push(warning);
                    continue;
                };
                let name = if prefix.is_empty() {
                    name
                } else {
                    format!("{prefix}/{name}")
                };
                if name == OWN_DIRECTORY {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    waiting.push((entry.path(), name, depth + 1));
                    continue;
                }
                let hits = globs.matches(&name);
                if let (false, Ok(Some((file, bytes)))) =
                    (hits.is_empty(), self.regular(&entry.path()))
                {
                    for hit in hits {
                        if let Some(seen) = matched.get_mut(hit) {
                            *seen = true;
                        }
                    }
                    self.add(name, file, bytes);
                }
            }
        }
        Ok(())
    }

    /// The regular file that `path` is, or that it links to inside the directories of the attempt, and its
    /// size; none for anything else.
    fn regular(&self, path: &Path) -> io::Result<Option<(PathBuf, u64)>> {
        let real = path.canonicalize()?;
        let found = fs::metadata(&real)?;
        let within = |root: PathBuf| root.canonicalize().is_ok_and(|root| real.starts_with(root));
        let inside = within(self.volume.work()) || within(self.volume.output());
        Ok((inside && found.is_file()).then_some((real, found.len())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::os::unix::fs::symlink;

    use super::*;

    struct World {
        _root: tempfile::TempDir,
        volume: Volume,
    }

    fn world(files: &[&str]) -> World {
        let root = tempfile::tempdir().unwrap();
        let volume = Volume::new(root.path());
        volume.create().unwrap();
        for file in files {
            let path = volume.place(file).unwrap();
            fs::write(path, file).unwrap();
        }
        World {
            _root: root,
            volume,
        }
    }

    fn found(world: &World, patterns: &[&str]) -> Collected {
        let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        find(&world.volume, &patterns, &AgentLimits::default()).unwrap()
    }

    fn names(collected: &Collected) -> Vec<&str> {
        collected.files.keys().map(String::as_str).collect()
    }

    #[test]
    fn globs_names_and_directories() {
        let world = world(&["a.tsv", "b/c.tsv", "b/d/e.tsv", "f.txt", ".operon/own.sh"]);
        fs::write(world.volume.output().join("given"), "x").unwrap();
        let all = found(&world, &["*.tsv", "b", "nothing*"]);
        assert_eq!(names(&all), ["a.tsv", "b/c.tsv", "b/d/e.tsv", "given"]);
        assert_eq!(all.files["b/c.tsv"].1, 7);
        assert_eq!(
            all.warnings,
            ["no file matches `nothing*` of `outputFiles`"]
        );
        assert_eq!(all.problem, None);
        assert_eq!(
            names(&found(&world, &["**"])),
            ["a.tsv", "b/c.tsv", "b/d/e.tsv", "f.txt", "given"]
        );
    }

    #[test]
    fn what_is_missing_or_outside_fails() {
        let world = world(&["a"]);
        for (pattern, words) in [
            ("gone.txt", "is missing"),
            ("../x", "not inside the working directory"),
            ("/etc/passwd", "not inside the working directory"),
            (".operon/x", "not yours"),
            ("[", "`outputFiles`"),
        ] {
            let problem = found(&world, &[pattern]).problem.unwrap();
            assert!(problem.contains(words), "{pattern}: {problem}");
        }
    }

    #[test]
    fn links_lead_nowhere_outside() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        let world = world(&["real", "sub/deep"]);
        let work = world.volume.work();
        symlink(outside.path().join("secret"), work.join("leak")).unwrap();
        symlink(outside.path(), work.join("dir")).unwrap();
        symlink(work.join("real"), work.join("alias")).unwrap();
        symlink(work.join("sub"), work.join("again")).unwrap();
        assert_eq!(
            names(&found(&world, &["**"])),
            ["alias", "real", "sub/deep"]
        );
        for name in ["leak", "dir", "dir/secret"] {
            let collected = found(&world, &[name]);
            assert!(collected.problem.is_some(), "{name} was taken");
            assert!(collected.files.is_empty());
        }
    }

    #[test]
    fn limits_hold() {
        let world = world(&["a", "bb", "ccc"]);
        let mut limits = AgentLimits {
            output_files: 2,
            ..AgentLimits::default()
        };
        let patterns = ["**".to_owned()];
        let problem = find(&world.volume, &patterns, &limits).unwrap().problem;
        assert!(problem.unwrap().contains("more than 2 output files"));
        limits.output_files = 3;
        limits.output_bytes = 5;
        let problem = find(&world.volume, &patterns, &limits).unwrap().problem;
        assert!(problem.unwrap().contains("more than 5 bytes"));
    }
}
