//! What the parser could not read, in words that help: the usual cause and the fix.

use super::super::diagnostic::{Diagnostic, Rule};
use super::super::model::Span;
use super::advice::{lines_with_offsets, quote};

/// What the parser could not read, with the usual cause.
pub(super) fn scan_error(source: &str, at: usize, info: &str) -> Diagnostic {
    tab(source, at, info)
        .or_else(|| value_with_colon(source, at, info))
        .or_else(|| reserved_character(source, at, info))
        .unwrap_or_else(|| by_message(source, at, info))
}

/// The line around `at`: its start and its text without the line break.
fn line_at(source: &str, at: usize) -> (usize, &str) {
    let at = at.min(source.len());
    let start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = source[start..].lines().next().unwrap_or("");
    (start, line)
}

/// One character at `at`, or nothing at the end.
fn point(source: &str, at: usize) -> Span {
    let length = source
        .get(at..)
        .and_then(|rest| rest.chars().next())
        .filter(|c| !matches!(c, '\n' | '\r'))
        .map_or(0, char::len_utf8);
    at..at + length
}

fn tab(source: &str, at: usize, info: &str) -> Option<Diagnostic> {
    let (start, _) = line_at(source, at);
    // The parser may stop at the end of the line before.
    let tab_at = lines_with_offsets(&source[start..])
        .take(2)
        .find_map(|(offset, line)| {
            let blank = line.len() - line.trim_start_matches([' ', '\t']).len();
            Some(start + offset + line[..blank].find('\t')?)
        })?;
    let certain = info.contains("tab") || info.contains("did not find expected key");
    certain.then(|| {
        Diagnostic::error(
            Rule::YamlTab,
            tab_at..tab_at + 1,
            "a tab is used for indentation",
        )
        .with_help("indent with spaces, two per level")
    })
}

fn value_with_colon(source: &str, at: usize, info: &str) -> Option<Diagnostic> {
    if !info.contains("mapping values are not allowed") {
        return None;
    }
    let (start, line) = line_at(source, at);
    let before = source.get(start..at)?;
    if let Some(colon) = before.find(": ") {
        let value = line[colon + 2..].trim();
        let value_at =
            start + colon + 2 + (line[colon + 2..].len() - line[colon + 2..].trim_start().len());
        let quotes = if value.contains('"') { '\'' } else { '"' };
        let help = format!("quote the value: {quotes}{}{quotes}", quote(value));
        return Some(
            Diagnostic::error(
                Rule::YamlSyntax,
                value_at..value_at + value.len(),
                "a value without quotes cannot contain `: `",
            )
            .with_help(help),
        );
    }
    let indent = line.len() - line.trim_start().len();
    Some(
        Diagnostic::error(
            Rule::YamlIndentation,
            start + indent..at.max(start + indent),
            "this line continues the value of the line above, so it cannot be a key",
        )
        .with_help("keys of one mapping start in the same column; a key that has a value on its line cannot have keys below it"),
    )
}

fn reserved_character(source: &str, at: usize, info: &str) -> Option<Diagnostic> {
    let c = source.get(at..)?.chars().next()?;
    let reserved = info.contains("unexpected character") && matches!(c, '@' | '`' | '%')
        || c == '*' && info.contains("scanning an anchor");
    reserved.then(|| {
        let message = format!("a value without quotes cannot begin with `{c}`");
        Diagnostic::error(Rule::YamlSyntax, at..at + c.len_utf8(), message)
            .with_help("put the value in quotes")
    })
}

/// Part of a parser message, the rule, what is said instead, and the fix.
const MESSAGES: &[(&str, Rule, &str, &str)] = &[
    (
        "unknown anchor",
        Rule::YamlAnchor,
        "no anchor of this name comes before this alias",
        "mark the value to repeat with `&name` first; quote the text if no alias is meant",
    ),
    (
        "recursion limit",
        Rule::YamlDepth,
        "the document is nested too deeply",
        "split the flow with subflows",
    ),
    (
        "unexpected end of stream",
        Rule::YamlSyntax,
        "this quote is never closed",
        "close it; inside single quotes write `''` for a quote, inside double quotes `\\\"`",
    ),
    (
        "invalid indentation in quoted",
        Rule::YamlSyntax,
        "this quote is not closed before a line that is indented less",
        "close the quote, or use a block (`|`) for text of several lines",
    ),
    (
        "unknown escape",
        Rule::YamlSyntax,
        "double quotes contain an unknown escape",
        "write `\\\\` for a backslash, or use single quotes",
    ),
    (
        "Unicode character escape",
        Rule::YamlSyntax,
        "double quotes contain an escape that is no character",
        "write the character itself, or `\\U` with eight digits",
    ),
    (
        "trailing content",
        Rule::YamlSyntax,
        "text follows a closing quote",
        "put the whole value in quotes, or the rest into a comment",
    ),
    (
        "comment intercepting",
        Rule::YamlSyntax,
        "a comment interrupts a value of several lines",
        "move the comment above the value, or use a block (`>`)",
    ),
    (
        "wrongly indented line in block",
        Rule::YamlIndentation,
        "an empty line at the start of a block has more spaces than its text",
        "remove the spaces of the empty line",
    ),
    (
        "block sequence entries",
        Rule::YamlSyntax,
        "a list item cannot begin here",
        "begin the list in the line below its key, or write `[first, second]`",
    ),
    (
        "simple key expect",
        Rule::YamlSyntax,
        "a key without a colon",
        "write `key: value`; a value of several lines needs quotes or a block (`|`)",
    ),
    (
        "did not find expected key",
        Rule::YamlIndentation,
        "this line does not begin where its neighbours do",
        "keys of one mapping, and items of one list, start in the same column",
    ),
    (
        "did not find expected '-'",
        Rule::YamlIndentation,
        "an item of the list was expected here",
        "items of one list start in the same column with `- `",
    ),
    (
        "expected <document start>",
        Rule::YamlIndentation,
        "this line is indented less than the first one",
        "start all keys of the document in the first column",
    ),
    (
        "flow mapping",
        Rule::YamlSyntax,
        "the mapping in braces is not complete",
        "separate entries with commas and close with `}`; quote text that begins with `{`",
    ),
    (
        "flow sequence",
        Rule::YamlSyntax,
        "the list in brackets is not complete",
        "separate items with commas and close with `]`; quote text that begins with `[`",
    ),
    (
        "placement of ':'",
        Rule::YamlSyntax,
        "a colon where none can be",
        "is a bracket, brace or quote above not closed?",
    ),
    (
        "misplaced bracket",
        Rule::YamlSyntax,
        "a closing bracket without an opening one",
        "remove it, or quote the text",
    ),
    (
        "handle wasn't declared",
        Rule::YamlTag,
        "a tag of unknown origin",
        "quote text that begins with `!`",
    ),
    (
        "block scalar",
        Rule::YamlSyntax,
        "the header of a block is wrong",
        "nothing but `-` or `+` and a comment may follow `|` or `>`; begin the text in the next line",
    ),
];

fn by_message(source: &str, at: usize, info: &str) -> Diagnostic {
    let known = MESSAGES.iter().find(|(part, ..)| info.contains(part));
    let at = before_blank_end(source, at);
    match known {
        Some((_, rule, message, help)) => {
            Diagnostic::error(*rule, point(source, at), *message).with_help(*help)
        }
        None => Diagnostic::error(
            Rule::YamlSyntax,
            point(source, at),
            format!("the document is not well-formed: {info}"),
        )
        .with_help("check the indentation, brackets and quotes here and in the line above"),
    }
}

/// The parser reports what is missing at the end of the document after the last line break, where there
/// is nothing to point at: point at the last text instead.
fn before_blank_end(source: &str, at: usize) -> usize {
    if source.get(at..).is_some_and(|rest| rest.trim().is_empty()) {
        source.trim_end().len()
    } else {
        at
    }
}
