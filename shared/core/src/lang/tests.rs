//! The language as a whole: the flows of this repository, every property, every mistake.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod catalogue;
mod document;
mod examples;
mod flows;
mod guides;
mod kestra;
mod limits;
mod mistakes;
mod read;
mod robust;
mod schema;

use std::path::{Path, PathBuf};

use super::diagnostic::{LineIndex, Severity};
use super::plugins::Plugins;
use super::{Flow, parse};

/// The top directory of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Names and texts of the files below a directory with an extension.
#[expect(clippy::disallowed_methods, reason = "a test reads the repository")]
fn files(below: &str, extension: &str) -> Vec<(String, String)> {
    let mut open = vec![root().join(below)];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == extension) {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((
                path.strip_prefix(root()).unwrap().display().to_string(),
                text,
            ));
        }
    }
    found.sort();
    found
}

/// The plugins of this repository.
fn plugins() -> Plugins {
    let files = files("flows/plugins", "yaml");
    let (plugins, problems) = Plugins::load(
        files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
    );
    assert!(problems.is_empty(), "{problems:#?}");
    plugins
}

/// Findings as `line:column severity rule: message (help)`.
fn findings(source: &str, plugins: &Plugins) -> (Option<Flow>, Vec<String>) {
    let parsed = parse(source, plugins);
    let index = LineIndex::new(source);
    let lines = parsed.diagnostics.into_sorted().into_iter().map(|d| {
        let (line, column) = index.line_col(d.span.start);
        let severity = match d.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let help = d
            .help
            .map(|help| format!("\n      help: {help}"))
            .unwrap_or_default();
        format!(
            "{line}:{column} {severity} {}: {}{help}",
            d.rule.slug(),
            d.message
        )
    });
    (parsed.flow, lines.collect())
}
