//! Flows and plugins as files: where `Subflow` finds what it calls, and which plugins a flow may use.
//!
//! Invariant: nothing is read that is not below the directory of the flow, or a `plugins` directory between
//! it and the root of the repository; symbolic links to directories are not followed.

mod deployed;
mod plugins;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use operon_core::lang::diagnostic::Severity;
use operon_core::lang::yaml::DOCUMENT_BYTES_MAX;
use operon_core::lang::{self, Flow, Plugins};
use operon_core::plan::{Plan, compile};

use crate::embedded::{FlowError, FlowSource};

pub use deployed::{DeployedFile, DeployedFlows, deploy_directory};
pub use plugins::{PluginFile, PluginFiles};

/// Directories below the flow's that are searched.
const DEPTH_MAX: usize = 8;
/// Files looked at in one search.
const FILES_MAX: usize = 10_000;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system refuses.
    #[error("`{}` cannot be read: {error}", path.display())]
    Io {
        /// Of the file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is too large.
    #[error("`{}` is too large; a document has at most {DOCUMENT_BYTES_MAX} bytes", .0.display())]
    TooLarge(PathBuf),
    /// It is no text.
    #[error("`{}` is not UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// There are too many.
    #[error("below `{}` are more than {FILES_MAX} files; name a smaller directory", .0.display())]
    TooMany(PathBuf),
}

/// The text of a flow or plugin file.
pub fn read_document(path: &Path) -> Result<String, FileError> {
    let failed = |error| FileError::Io {
        path: path.to_owned(),
        error,
    };
    let mut bytes = Vec::new();
    let limit = u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX);
    let file = fs::File::open(path).map_err(failed)?;
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(FileError::TooLarge(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| FileError::NotText(path.to_owned()))
}

/// The YAML files below a directory, ascending. Hidden directories and `plugins` directories are left out.
pub fn flow_files(directory: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut files = Vec::new();
    let mut budget = FILES_MAX;
    collect(directory, directory, DEPTH_MAX, &mut budget, &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(
    top: &Path,
    directory: &Path,
    depth: usize,
    budget: &mut usize,
    files: &mut Vec<PathBuf>,
) -> Result<(), FileError> {
    let failed = |error| FileError::Io {
        path: directory.to_owned(),
        error,
    };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        *budget = budget
            .checked_sub(1)
            .ok_or_else(|| FileError::TooMany(top.to_owned()))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = entry.path();
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            let skipped = name.starts_with('.')
                || matches!(name.as_ref(), "plugins" | "node_modules" | "target");
            if !skipped && depth > 0 {
                collect(top, &path, depth - 1, budget, files)?;
            }
        } else if is_yaml(&path) && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn is_yaml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Whether a document has a line `key: value` at its top level, quoted or not. Cheap, so that only the file
/// that is meant is parsed.
fn mentions(source: &str, key: &str, value: &str) -> bool {
    source.lines().any(|line| {
        line.strip_prefix(key)
            .and_then(|rest| rest.trim_start().strip_prefix(':'))
            .is_some_and(|rest| {
                let rest = rest.split(" #").next().unwrap_or_default().trim();
                rest.trim_matches(['"', '\'']) == value
            })
    })
}

/// Flows in the directory of the flow that calls them, and below it. Nothing is read before it is asked for.
#[derive(Debug, Default)]
pub struct DirectoryFlows;

impl DirectoryFlows {
    fn find(
        directory: &Path,
        namespace: &str,
        flow: &str,
    ) -> Result<Option<(PathBuf, String)>, FileError> {
        for path in flow_files(directory)? {
            let Ok(source) = read_document(&path) else {
                // Another file of the directory that is no flow must not stop this one.
                continue;
            };
            if mentions(&source, "id", flow) && mentions(&source, "namespace", namespace) {
                return Ok(Some((path, source)));
            }
        }
        Ok(None)
    }
}

#[async_trait(?Send)]
impl FlowSource for DirectoryFlows {
    async fn flow(
        &self,
        namespace: &str,
        flow: &str,
        revision: Option<u32>,
        near: Option<&str>,
    ) -> Result<(Plan, Option<String>), FlowError> {
        let invalid = |problem: String| FlowError::Invalid {
            flow: flow.to_owned(),
            problem,
        };
        let missing = |searched: String| FlowError::Missing {
            namespace: namespace.to_owned(),
            flow: flow.to_owned(),
            searched,
        };
        let Some(near) = near.map(Path::new) else {
            return Err(missing(
                "the flow that calls it was not read from a file".to_owned(),
            ));
        };
        let found =
            Self::find(near, namespace, flow).map_err(|error| invalid(error.to_string()))?;
        let (path, source) = found.ok_or_else(|| {
            missing(format!(
                "the YAML files in `{}` and below were searched: put the flow's file there",
                near.display()
            ))
        })?;
        if let Some(revision) = revision {
            return Err(invalid(format!(
                "revision {revision} is asked for, and `{}` is a file: deploy it to a server, or remove `revision`",
                path.display()
            )));
        }
        let directory = path.parent().unwrap_or(near);
        let files = PluginFiles::near(directory).map_err(|error| invalid(error.to_string()))?;
        let read = read_flow(&path, &source, &files.load().0).map_err(invalid)?;
        let plan = compile(&read).map_err(|errors| {
            let first = errors.first().map(ToString::to_string);
            invalid(format!("{}: {}", path.display(), first.unwrap_or_default()))
        })?;
        Ok((plan, Some(directory.display().to_string())))
    }
}

/// Parses a flow, or says what is wrong with it first.
fn read_flow(path: &Path, source: &str, plugins: &Plugins) -> Result<Flow, String> {
    let parsed = lang::parse(source, plugins);
    if let Some(flow) = parsed.flow {
        return Ok(flow);
    }
    let first = parsed
        .diagnostics
        .into_sorted()
        .into_iter()
        .find(|finding| finding.severity == Severity::Error);
    Err(first.map_or_else(
        || format!("{}: it cannot be read", path.display()),
        |finding| {
            let (line, _) = lang::diagnostic::line_col(source, finding.span.start);
            format!("{}:{line}: {}", path.display(), finding.message)
        },
    ))
}
