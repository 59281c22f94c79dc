//! What the language says to its user: severity, rule, exact place, and the fix.
//!
//! Invariant: spans are byte ranges of the source document that was checked.

use std::fmt;

use super::model::Span;
pub use super::rules::Rule;

/// Diagnostics kept for one document; what follows is counted, not kept.
pub const DIAGNOSTICS_MAX: usize = 100;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The flow cannot be used.
    Error,
    /// The flow can be used but probably does not mean what its author thinks.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Which rule it breaks.
    pub rule: Rule,
    /// Where.
    pub span: Span,
    /// What is wrong, with the names the user wrote.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Other places that matter, such as the first of two duplicates.
    pub labels: Vec<(Span, String)>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(rule: Rule, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            rule,
            span,
            message: message.into(),
            help: None,
            labels: Vec::new(),
        }
    }

    /// A warning at `span`.
    pub fn warning(rule: Rule, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(rule, span, message)
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds another place that matters.
    #[must_use]
    pub fn with_label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push((span, text.into()));
        self
    }
}

/// Collects findings in any order.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
    errors: usize,
    omitted: usize,
}

impl Diagnostics {
    /// Nothing found yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a finding. Beyond [`DIAGNOSTICS_MAX`] an error takes the place of a warning, if there is
    /// one; what finds no place is only counted.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let is_error = diagnostic.severity == Severity::Error;
        self.errors += usize::from(is_error);
        if self.found.len() < DIAGNOSTICS_MAX {
            self.found.push(diagnostic);
            return;
        }
        self.omitted += 1;
        if let Some(slot) = self
            .found
            .iter_mut()
            .rfind(|d| is_error && d.severity == Severity::Warning)
        {
            *slot = diagnostic;
        }
    }

    /// Whether any error was pushed, kept or not.
    #[must_use]
    pub const fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Findings that were pushed but not kept.
    #[must_use]
    pub const fn omitted(&self) -> usize {
        self.omitted
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// What was kept, by position; at the same position errors first, then by rule.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.found
            .sort_by_key(|d| (d.span.start, d.severity, d.rule, d.span.end));
        self.found
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, findings: I) {
        for finding in findings {
            self.push(finding);
        }
    }
}

/// Finds lines and columns of many offsets fast.
#[derive(Debug, Clone)]
pub struct LineIndex<'s> {
    source: &'s str,
    /// Byte offset of the start of each line; the first is 0.
    starts: Vec<usize>,
}

impl<'s> LineIndex<'s> {
    /// Reads the source once.
    #[must_use]
    pub fn new(source: &'s str) -> Self {
        let breaks = source.bytes().enumerate().filter(|(_, b)| *b == b'\n');
        let starts = std::iter::once(0)
            .chain(breaks.map(|(at, _)| at + 1))
            .collect();
        Self { source, starts }
    }

    /// Line and column of a byte offset, both from 1, the column in characters. An offset past the end
    /// means the end; one inside a character means that character.
    #[must_use]
    pub fn line_col(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.source.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let before = self.source.as_bytes().get(start..offset).unwrap_or(&[]);
        let continues = self
            .source
            .as_bytes()
            .get(offset)
            .is_some_and(|b| !is_char_start(*b));
        let characters = before.iter().filter(|b| is_char_start(**b)).count();
        (line, characters + 1 - usize::from(continues))
    }

    /// The text of a line counted from 1, without its line break.
    #[must_use]
    pub fn line(&self, number: usize) -> Option<&'s str> {
        let start = *self.starts.get(number.checked_sub(1)?)?;
        self.source.get(start..)?.lines().next().or(Some(""))
    }
}

const fn is_char_start(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}

/// Line and column of one byte offset; see [`LineIndex::line_col`], which is faster for many.
#[must_use]
pub fn line_col(source: &str, offset: usize) -> (usize, usize) {
    LineIndex::new(source).line_col(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters_from_one() {
        let source = "é: x\n\n  ü: 1\r\nend";
        let index = LineIndex::new(source);
        assert_eq!(index.line_col(0), (1, 1));
        assert_eq!(index.line_col(1), (1, 1), "inside é");
        assert_eq!(index.line_col(2), (1, 2));
        assert_eq!(index.line_col(6), (2, 1));
        let umlaut = source.find('ü').unwrap_or_default();
        assert_eq!(index.line_col(umlaut), (3, 3));
        assert_eq!(index.line_col(umlaut + 2), (3, 4));
        assert_eq!(index.line_col(source.len()), (4, 4));
        assert_eq!(index.line_col(9_999), (4, 4));
        assert_eq!(line_col("", 0), (1, 1));
        assert_eq!(index.line(3), Some("  ü: 1"));
        assert_eq!(index.line(4), Some("end"));
        assert_eq!(index.line(5), None);
    }

    #[test]
    fn the_collector_sorts_caps_and_never_loses_an_error_to_warnings() {
        let mut all = Diagnostics::new();
        for at in 0..DIAGNOSTICS_MAX + 20 {
            all.push(Diagnostic::warning(Rule::YamlBoolean, at..at + 1, "w"));
        }
        assert!(!all.has_errors());
        all.push(Diagnostic::error(Rule::YamlTab, 5..6, "e").with_help("h"));
        assert!(all.has_errors());
        assert_eq!(all.omitted(), 21);
        let kept = all.into_sorted();
        assert_eq!(kept.len(), DIAGNOSTICS_MAX);
        assert!(kept.is_sorted_by_key(|d| d.span.start));
        let at_five: Vec<_> = kept.iter().filter(|d| d.span.start == 5).collect();
        assert_eq!(at_five[0].severity, Severity::Error, "errors first");
        assert_eq!(at_five[1].severity, Severity::Warning);
    }

    #[test]
    fn errors_beyond_the_cap_still_count() {
        let mut all = Diagnostics::new();
        all.extend((0..150).map(|at| Diagnostic::error(Rule::YamlTab, at..at, "e")));
        assert!(all.has_errors());
        assert_eq!(
            (all.omitted(), all.into_sorted().len()),
            (50, DIAGNOSTICS_MAX)
        );
    }
}
