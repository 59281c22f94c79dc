//! `operon validate`: flows and plugins, everything that is wrong with them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use operon_core::lang::Plugins;
use operon_core::lang::diagnostic::{Diagnostic, Rule};
use operon_local::flows::{FileError, PluginFiles, flow_files, read_document};
use serde_json::json;

use crate::args::{ValidateArgs, ValidateOutput};
use crate::diagnostics::Checked;
use crate::exit::{Exit, Usage};
use crate::load;
use crate::output::Console;

/// What was checked.
#[derive(Default)]
struct Total {
    files: usize,
    errors: usize,
    warnings: usize,
}

pub(crate) fn validate(args: &ValidateArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    let mut plugins = PluginsOf::default();
    let mut total = Total::default();
    let mut findings = Vec::new();
    for path in files(&args.paths)? {
        let checked = check(&path, &mut plugins)?;
        total.files += 1;
        total.errors += checked.errors() + checked.omitted;
        total.warnings += checked.warnings();
        match args.output {
            ValidateOutput::Human => checked.show(console),
            ValidateOutput::Json => findings.extend(checked.to_json()),
        }
    }
    let valid = total.errors == 0 && !(args.strict && total.warnings > 0);
    match args.output {
        ValidateOutput::Human => console.line(&words(&total)),
        ValidateOutput::Json => console.line(
            &json!({
                "valid": valid, "files": total.files, "errors": total.errors,
                "warnings": total.warnings, "findings": findings,
            })
            .to_string(),
        ),
    }
    Ok(if valid { Exit::Success } else { Exit::Usage })
}

/// `3 files: 1 error, 2 warnings`
fn words(total: &Total) -> String {
    let count = |number: usize, word: &str| match number {
        1 => format!("1 {word}"),
        other => format!("{other} {word}s"),
    };
    let found = match (total.errors, total.warnings) {
        (0, 0) => "valid".to_owned(),
        (0, warnings) => format!("valid, {}", count(warnings, "warning")),
        (errors, 0) => count(errors, "error"),
        (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    };
    format!("{}: {found}", count(total.files, "file"))
}

/// The files meant by paths: a directory means all flows and plugins below it.
fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = flow_files(path).map_err(|error| Usage::new(error.to_string()))?;
            if found.is_empty() {
                return Err(
                    Usage::new(format!("there are no YAML files in `{}`", path.display())).into(),
                );
            }
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn check(path: &Path, plugins: &mut PluginsOf) -> anyhow::Result<Checked> {
    let source = match read_document(path) {
        Ok(source) => source,
        // A file among others: they are looked at, too.
        Err(error @ FileError::NotText(_)) => return Ok(unread(path, Rule::YamlSyntax, &error)),
        Err(error @ FileError::TooLarge(_)) => return Ok(unread(path, Rule::YamlSize, &error)),
        Err(error @ (FileError::Io { .. } | FileError::TooMany(_))) => {
            let usage = Usage::new(error.to_string());
            return Err(usage
                .help("give the path of a YAML file, or of a directory")
                .into());
        }
    };
    let directory = load::directory_of(path);
    let (files, known, problems) = plugins.of(&directory)?;
    if directory.file_name().is_some_and(|name| name == "plugins") {
        let full = directory.join(path.file_name().unwrap_or_default());
        let full = full.display().to_string();
        // Plugins of the binary give way to a file with the same type, so the file has been loaded.
        debug_assert!(files.files().iter().any(|file| file.name == full));
        let findings = problems
            .iter()
            .filter(|problem| problem.file == full)
            .map(|problem| problem.diagnostic.clone())
            .collect();
        return Ok(Checked {
            path: path.display().to_string(),
            source,
            findings,
            omitted: 0,
        });
    }
    Ok(load::check(&path.display().to_string(), source, known).0)
}

/// A file whose only finding is that it cannot be taken as a document.
fn unread(path: &Path, rule: Rule, error: &FileError) -> Checked {
    Checked {
        path: path.display().to_string(),
        source: String::new(),
        findings: vec![Diagnostic::error(rule, 0..0, error.to_string())],
        omitted: 0,
    }
}

/// Plugins by directory, loaded once.
#[derive(Default)]
struct PluginsOf(HashMap<PathBuf, Known>);

/// Plugin files, what they define, and what is wrong with them.
type Known = (
    PluginFiles,
    Plugins,
    Vec<operon_core::lang::plugins::PluginProblem>,
);

impl PluginsOf {
    fn of(&mut self, directory: &Path) -> anyhow::Result<&Known> {
        // A plugin file is checked among its neighbours.
        let place = match directory.file_name() {
            Some(name) if name == "plugins" => directory.parent().unwrap_or(directory),
            _ => directory,
        };
        if !self.0.contains_key(place) {
            let files = PluginFiles::near(place).map_err(|error| Usage::new(error.to_string()))?;
            let (plugins, problems) = files.load();
            self.0.insert(place.to_owned(), (files, plugins, problems));
        }
        self.0
            .get(place)
            .ok_or_else(|| anyhow::anyhow!("plugins of `{}` vanished", place.display()))
    }
}
