//! From an offset in a string value back to the byte of the source where it is written.

use super::{Node, Style, Yaml};

pub(super) fn in_source(node: &Node, source: &str, offset: usize) -> usize {
    let Yaml::String(text) = &node.value else {
        return node.span.end;
    };
    let end = node.span.end.min(source.len());
    let Some(written) = source.get(node.span.start..end) else {
        return node.span.end;
    };
    let within = match node.style {
        Style::Plain | Style::Flow | Style::SingleQuoted | Style::DoubleQuoted => {
            in_flow_scalar(written, text, node.style, offset)
        }
        Style::Literal => in_literal(written, text, offset),
        Style::Folded => in_folded(written, text, offset),
    };
    // The parser folds some odd documents differently; an offset may then be wrong, but never invalid.
    node.span.start + floor_char(written, within)
}

/// Plain and quoted: line breaks fold, quotes escape.
fn in_flow_scalar(written: &str, text: &str, style: Style, offset: usize) -> usize {
    let quoted = matches!(style, Style::SingleQuoted | Style::DoubleQuoted);
    let mut at = usize::from(quoted);
    let mut done = 0;
    while done < offset.min(text.len()) {
        let rest = &written[at..];
        let value = text[done..].chars().next().map_or(1, char::len_utf8);
        let (taken, made) = match line_breaks(rest) {
            Some((taken, 1)) => (taken, 1),
            Some((taken, breaks)) => (taken, breaks - 1),
            None if style == Style::DoubleQuoted && rest.starts_with('\\') => escape(rest, value),
            None if style == Style::SingleQuoted && rest.starts_with("''") => (2, 1),
            None => (rest.chars().next().map_or(0, char::len_utf8), value),
        };
        if done + made > offset {
            break;
        }
        done += made;
        at = floor_char(written, at + taken);
    }
    // An escaped line break makes nothing: what comes next is after it.
    let rest = &written[at..];
    if style == Style::DoubleQuoted
        && rest.starts_with('\\')
        && let (taken, 0) = escape(rest, 1)
    {
        return (at + taken).min(written.len());
    }
    at
}

fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Blank text with at least one line break at the start of `rest`: its length and its line breaks.
fn line_breaks(rest: &str) -> Option<(usize, usize)> {
    let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    let breaks = rest[..blank].bytes().filter(|b| *b == b'\n').count();
    (breaks > 0).then_some((blank, breaks))
}

/// Length of the escape at the start of `rest`, and how many bytes of the value it makes.
fn escape(rest: &str, value: usize) -> (usize, usize) {
    match rest.as_bytes().get(1) {
        Some(b'x') => (4, value),
        Some(b'u') => (6, value),
        Some(b'U') => (10, value),
        Some(b'\n' | b'\r') => {
            let (blank, breaks) = line_breaks(&rest[1..]).unwrap_or((1, 1));
            (1 + blank, breaks - 1)
        }
        Some(_) => (2, value),
        None => (1, value),
    }
}

/// The lines of a block after its header, with their offsets, without line breaks and indentation.
fn block_lines<'a>(
    written: &'a str,
    text: &str,
) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
    let indent = indentation(written, text);
    let mut at = written
        .find('\n')
        .map_or(written.len(), |newline| newline + 1);
    written[at..].split_inclusive('\n').map(move |line| {
        let start = at;
        at += line.len();
        let line = line.trim_end_matches('\n');
        let line = line.strip_suffix('\r').unwrap_or(line);
        let cut = leading_spaces(line).min(indent);
        (start + cut, &line[cut..])
    })
}

fn leading_spaces(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Spaces that the block's indentation takes from each line: the first line with text shows it.
pub(in crate::lang) fn indentation(written: &str, text: &str) -> usize {
    let first = |lines: &str| {
        lines
            .lines()
            .find(|l| !l.trim().is_empty())
            .map(leading_spaces)
    };
    let body = written.find('\n').map_or("", |newline| &written[newline..]);
    match (first(body), first(text)) {
        (Some(in_source), Some(in_value)) => in_source.saturating_sub(in_value),
        _ => 0,
    }
}

fn in_literal(written: &str, text: &str, offset: usize) -> usize {
    let mut done = 0;
    for (at, line) in block_lines(written, text) {
        if offset <= done + line.len() {
            return at + (offset - done);
        }
        done += line.len() + 1;
    }
    written.len()
}

fn in_folded(written: &str, text: &str, offset: usize) -> usize {
    let (mut done, mut last_end) = (0, None);
    for (at, line) in block_lines(written, text) {
        if line.is_empty() {
            continue;
        }
        // Between two lines of text the value has one space, or line breaks.
        let rest = text.get(done..).unwrap_or("");
        let between = match (last_end, rest.as_bytes().first()) {
            (Some(_), Some(b' ')) => 1,
            _ => rest.len() - rest.trim_start_matches('\n').len(),
        };
        if offset < done + between {
            return last_end.unwrap_or(at);
        }
        done += between;
        if offset <= done + line.len() {
            return at + (offset - done);
        }
        done += line.len();
        last_end = Some(at + line.len());
    }
    written.len()
}
