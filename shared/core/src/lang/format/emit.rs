//! From planned lines to text.

use super::layout::{Indent, Line};

pub(super) fn emit(source: &str, lines: &[Line]) -> String {
    let mut out = String::with_capacity(source.len() + source.len() / 8);
    // Blank lines are held back until something follows them.
    let mut blank = false;
    for line in lines {
        let text = relaid(source, line);
        if text.is_empty() && !line.open {
            blank = true;
            continue;
        }
        if (blank || line.section) && !out.is_empty() {
            out.push('\n');
        }
        blank = false;
        out.push_str(&text);
        out.push('\n');
    }
    out
}

/// The line with its new indentation.
fn relaid(source: &str, line: &Line) -> String {
    let text = source.get(line.range.clone()).unwrap_or("");
    let spaces = text.len() - text.trim_start_matches(' ').len();
    let (cut, indent) = match line.indent {
        Indent::Keep => (spaces, spaces),
        Indent::To(column) => (spaces, column),
        Indent::Block { old, new } if spaces.min(old) < text.len() => (spaces.min(old), new),
        // A blank line has no indentation.
        Indent::Block { .. } => return String::new(),
    };
    let mut relaid = " ".repeat(indent);
    let mut at = line.range.start + cut;
    for gap in &line.gaps {
        relaid.push_str(source.get(at..gap.start).unwrap_or(""));
        relaid.push(' ');
        at = gap.end;
    }
    relaid.push_str(source.get(at..line.range.end).unwrap_or(""));
    let is_block = matches!(line.indent, Indent::Block { .. });
    if !line.open || (!is_block && relaid.trim_matches(' ').is_empty()) {
        relaid.truncate(relaid.trim_end_matches([' ', '\t']).len());
    }
    relaid
}
