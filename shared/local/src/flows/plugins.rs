//! Which plugin files a flow may use: those of the binary, and those near the flow, which win.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use operon_core::lang::Plugins;
use operon_core::lang::plugins::PluginProblem;

use super::{FileError, is_yaml, read_document};

/// A plugin file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginFile {
    /// Its path, or its name in the binary.
    pub name: String,
    /// Whether it is part of the binary.
    pub built_in: bool,
    /// What is in it.
    pub source: Cow<'static, str>,
}

/// The plugin files that a flow may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginFiles {
    files: Vec<PluginFile>,
}

macro_rules! built_in {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../../flows/plugins/", $name)))),*]
    };
}

/// The plugins of Operon itself; a test compares the list with the directory.
pub(super) const BUILT_IN: &[(&str, &str)] = built_in![
    "genomics.ena-upload.yaml"
    "genomics.nextclade.yaml"
    "genomics.phylogenetic.yaml"
];

impl PluginFiles {
    /// Those of the binary only.
    #[must_use]
    pub fn built_in() -> Self {
        let mut files = Self::default();
        files.add_built_in(&mut HashSet::new());
        files
    }

    /// Those for flows in `directory`: of `plugins` in it and in the directories above it up to the root of
    /// the repository (a directory with `.git`), and those of the binary. The nearest definition of a task
    /// type counts.
    pub fn near(directory: &Path) -> Result<Self, FileError> {
        let mut files = Self::default();
        let mut taken = HashSet::new();
        for place in places(directory) {
            let mut found = yaml_files(&place)?;
            found.sort();
            let mut here = HashSet::new();
            for path in found {
                let source = read_document(&path)?;
                // Two files of one directory for one type are a mistake, which loading them reports.
                if let Some(name) = task_type(&source) {
                    if taken.contains(name) {
                        continue;
                    }
                    here.insert(name.to_owned());
                }
                files.files.push(PluginFile {
                    name: path.display().to_string(),
                    built_in: false,
                    source: Cow::Owned(source),
                });
            }
            taken.extend(here);
        }
        files.add_built_in(&mut taken);
        Ok(files)
    }

    fn add_built_in(&mut self, taken: &mut HashSet<String>) {
        for (name, source) in BUILT_IN {
            if task_type(source).is_some_and(|name| !taken.contains(name)) {
                self.files.push(PluginFile {
                    name: (*name).to_owned(),
                    built_in: true,
                    source: Cow::Borrowed(source),
                });
            }
        }
    }

    /// Reads them. Those that are wrong are left out and reported.
    #[must_use]
    pub fn load(&self) -> (Plugins, Vec<PluginProblem>) {
        Plugins::load(
            self.files
                .iter()
                .map(|file| (file.name.as_str(), file.source.as_ref())),
        )
    }

    /// The files, the nearest first.
    #[must_use]
    pub fn files(&self) -> &[PluginFile] {
        &self.files
    }

    /// The file that defines a task type.
    #[must_use]
    pub fn file_of(&self, name: &str) -> Option<&PluginFile> {
        self.files
            .iter()
            .find(|file| task_type(&file.source) == Some(name))
    }
}

/// `plugins` directories for flows in `directory`, the nearest first.
fn places(directory: &Path) -> Vec<PathBuf> {
    let root = directory
        .ancestors()
        .find(|ancestor| ancestor.join(".git").exists());
    let mut places = Vec::new();
    for ancestor in directory.ancestors() {
        // Flows and plugins may stand in one directory, as in `flows/plugins`.
        let plugins = ancestor.join("plugins");
        if plugins.is_dir() {
            places.push(plugins);
        }
        if root.is_none_or(|root| root == ancestor) {
            break;
        }
    }
    places
}

fn yaml_files(directory: &Path) -> Result<Vec<PathBuf>, FileError> {
    let failed = |error| FileError::Io {
        path: directory.to_owned(),
        error,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if is_yaml(&path) && path.is_file() {
            found.push(path);
        }
        if found.len() > super::FILES_MAX {
            return Err(FileError::TooMany(directory.to_owned()));
        }
    }
    Ok(found)
}

/// The type a plugin file defines, read without parsing it.
fn task_type(source: &str) -> Option<&str> {
    let rest = source
        .lines()
        .find_map(|line| line.strip_prefix("type:"))?
        .split(" #")
        .next()?;
    Some(rest.trim().trim_matches(['"', '\'']))
}
