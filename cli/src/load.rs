//! From a flow file to a plan, with everything that is wrong shown at once.

use std::path::{Path, PathBuf};

use operon_core::lang::{Flow, Plugins};
use operon_core::plan::Plan;
use operon_engine::flows;
use operon_local::flows::{PluginFiles, read_document};

use crate::diagnostics::Checked;
use crate::exit::Usage;
use crate::output::Console;

/// A flow that can be run.
pub(crate) struct Loaded {
    /// Compiled.
    pub(crate) plan: Plan,
    /// Of the flow file, absolute: its namespace files and subflows are there.
    pub(crate) directory: PathBuf,
    /// Warnings.
    pub(crate) checked: Checked,
}

/// Reads and compiles a flow file; shows what is wrong with it.
pub(crate) fn flow(path: &Path, console: &Console) -> anyhow::Result<Loaded> {
    let source = read_document(path).map_err(|error| {
        Usage::new(error.to_string()).help("give the path of a flow's YAML file")
    })?;
    let directory = directory_of(path);
    let plugins = plugins(&directory, console)?;
    let (checked, flow) = check(&path.display().to_string(), source, &plugins);
    let Some((_, plan)) = flow else {
        checked.show(console);
        return Err(invalid(&checked).into());
    };
    Ok(Loaded {
        plan,
        directory,
        checked,
    })
}

/// The plugins for flows in a directory. Those that are wrong are shown and left out.
pub(crate) fn plugins(directory: &Path, console: &Console) -> anyhow::Result<Plugins> {
    let files = PluginFiles::near(directory).map_err(|error| Usage::new(error.to_string()))?;
    let (plugins, problems) = files.load();
    for problem in problems {
        let source = files
            .files()
            .iter()
            .find(|file| file.name == problem.file)
            .map(|file| file.source.to_string())
            .unwrap_or_default();
        let checked = Checked {
            path: problem.file,
            source,
            findings: vec![problem.diagnostic],
            omitted: 0,
        };
        checked.show(console);
    }
    Ok(plugins)
}

/// Parses and compiles a document.
pub(crate) fn check(
    path: &str,
    source: String,
    plugins: &Plugins,
) -> (Checked, Option<(Flow, Plan)>) {
    let checked = flows::check(&source, plugins);
    let shown = Checked {
        path: path.to_owned(),
        source,
        omitted: checked.omitted,
        findings: checked.findings,
    };
    (shown, checked.flow)
}

/// What is said after the findings.
fn invalid(checked: &Checked) -> Usage {
    let errors = checked.errors() + checked.omitted;
    let plural = if errors == 1 { "" } else { "s" };
    Usage::new(format!(
        "`{}` is not a valid flow: {errors} error{plural}",
        checked.path
    ))
}

/// The directory of a file, absolute.
pub(crate) fn directory_of(path: &Path) -> PathBuf {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    parent.canonicalize().unwrap_or_else(|_| parent.to_owned())
}
