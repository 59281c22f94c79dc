//! Findings in a flow, shown with the lines they are about.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use operon_core::lang::diagnostic::{Diagnostic, LineIndex, Severity};
use operon_core::lang::model::Span;
use serde_json::{Value, json};

use crate::output::Console;

/// A document with what was found in it.
pub(crate) struct Checked {
    /// Its path, as the user wrote it.
    pub(crate) path: String,
    /// Its text.
    pub(crate) source: String,
    /// Findings by position.
    pub(crate) findings: Vec<Diagnostic>,
    /// Findings that were left out because there are too many.
    pub(crate) omitted: usize,
}

impl Checked {
    /// Findings that are errors.
    pub(crate) fn errors(&self) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .count()
    }

    /// Findings that are warnings.
    pub(crate) fn warnings(&self) -> usize {
        self.findings.len() - self.errors()
    }

    /// Shows the findings on standard error.
    pub(crate) fn show(&self, console: &Console) {
        let renderer = if console.err_colour() {
            Renderer::styled().decor_style(DecorStyle::Unicode)
        } else {
            Renderer::plain()
        };
        for finding in &self.findings {
            console.note(&render(&renderer, &self.path, &self.source, finding));
            console.note("");
        }
        if self.omitted > 0 {
            console.note(&format!(
                "… and {} more in {}; put these right first",
                self.omitted, self.path
            ));
        }
    }

    /// The findings as JSON, for `--output json`.
    pub(crate) fn to_json(&self) -> Vec<Value> {
        let index = LineIndex::new(&self.source);
        self.findings
            .iter()
            .map(|finding| {
                let (line, column) = index.line_col(finding.span.start);
                let (end_line, end_column) = index.line_col(finding.span.end);
                json!({
                    "file": self.path,
                    "line": line, "column": column, "endLine": end_line, "endColumn": end_column,
                    "severity": finding.severity.to_string(),
                    "rule": finding.rule.id(), "name": finding.rule.slug(),
                    "message": finding.message, "help": finding.help,
                })
            })
            .collect()
    }
}

fn render(renderer: &Renderer, path: &str, source: &str, finding: &Diagnostic) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level
        .primary_title(finding.message.as_str())
        .id(finding.rule.id());
    let mut group = if source.is_empty() {
        Group::with_title(title)
    } else {
        let mut snippet = Snippet::source(source).path(path).annotation(
            AnnotationKind::Primary
                .span(within(source, &finding.span))
                .label(finding.rule.slug()),
        );
        for (span, text) in &finding.labels {
            let context = AnnotationKind::Context.span(within(source, span));
            snippet = snippet.annotation(context.label(text.as_str()));
        }
        title.element(snippet)
    };
    if let Some(help) = &finding.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// The span as far as one look takes it: its first line, cut at characters.
fn within(source: &str, span: &Span) -> Span {
    let floor = |mut at: usize| {
        at = at.min(source.len());
        while !source.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start);
    let end = floor(span.end.max(start));
    let line = source.get(start..end).and_then(|text| text.find('\n'));
    start..line.map_or(end, |length| start + length)
}
