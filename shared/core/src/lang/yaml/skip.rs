//! Finding in the source what the parser's spans do not tell.

use super::super::model::Span;

/// The parser ends a block after the indentation of the line that follows it.
pub(super) fn without_last_indentation(source: &str, span: &Span) -> usize {
    let text = source.get(span.clone()).unwrap_or("");
    let line = text.rfind('\n').map_or(0, |newline| newline + 1);
    if text[line..].trim().is_empty() {
        span.start + line
    } else {
        span.end
    }
}

/// Skips white space, line breaks and comments.
pub(in crate::lang) fn skip_blank(source: &str, mut at: usize) -> usize {
    loop {
        let rest = source.get(at..).unwrap_or("");
        let trimmed = rest.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
        at += rest.len() - trimmed.len();
        if !trimmed.starts_with('#') {
            return at;
        }
        at += trimmed.find('\n').unwrap_or(trimmed.len());
    }
}

/// Skips anchors and tags, and what is blank after them.
pub(super) fn skip_properties(source: &str, mut at: usize) -> usize {
    while let Some(rest) = source.get(at..)
        && rest.starts_with(['&', '!'])
    {
        // In flow style a comma or bracket ends an anchor too.
        let stops = |c: char| c.is_ascii_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}');
        at = skip_blank(source, at + rest.find(stops).unwrap_or(rest.len()));
    }
    at
}
