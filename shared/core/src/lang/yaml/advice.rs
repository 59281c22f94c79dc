//! What to tell a person whose YAML cannot be read, or probably means something else.

use saphyr_parser::Tag;

use super::super::diagnostic::{Diagnostic, LineIndex, Rule};
use super::super::model::Span;
use super::{Key, Limits, Node, scalar};

/// Characters of the user's text that a message repeats at most.
const QUOTE_MAX: usize = 60;

fn quote(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTE_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

pub(super) fn too_large(source: &str, limits: &Limits) -> Diagnostic {
    let message = format!(
        "the document has {} bytes, and {} are allowed",
        source.len(),
        limits.bytes
    );
    Diagnostic::error(Rule::YamlSize, 0..0, message)
        .with_help("move long scripts into files, and data into artifacts or the key-value store")
}

/// What must be found before the parser runs: it ends silently at a zero byte, counts a lone carriage
/// return as a line break, and reads any version of YAML as 1.2.
pub(super) fn unreadable(source: &str) -> Option<Diagnostic> {
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    let bytes = source.as_bytes();
    for (at, c) in source.char_indices() {
        let lone_return = c == '\r' && bytes.get(at + 1) != Some(&b'\n');
        if lone_return {
            let message = "a carriage return without a line feed";
            return Some(
                Diagnostic::error(Rule::YamlSyntax, at..at + 1, message)
                    .with_help("save the file with Unix line ends (LF)"),
            );
        }
        if control(c) {
            let message = format!(
                "the control character U+{:04X} is not allowed",
                u32::from(c)
            );
            let span = at..at + c.len_utf8();
            return Some(
                Diagnostic::error(Rule::YamlSyntax, span, message).with_help(
                    "remove it, or write it as an escape such as \"\\x1b\" in double quotes",
                ),
            );
        }
    }
    let (at, line) = lines_with_offsets(source)
        .take_while(|(_, line)| line.starts_with(['#', '%']) || line.trim().is_empty())
        .find(|(_, line)| line.starts_with("%YAML"))?;
    if line.trim_end() == "%YAML 1.2" {
        return None;
    }
    let message = format!(
        "`{}` declares another version of YAML",
        quote(line.trim_end())
    );
    Some(
        Diagnostic::error(Rule::YamlDirective, at..at + line.trim_end().len(), message)
            .with_help("remove the line: flows are YAML 1.2"),
    )
}

fn lines_with_offsets(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    source.split_inclusive('\n').map(move |line| {
        let start = at;
        at += line.len();
        (start, line)
    })
}

pub(super) fn empty(span: Span) -> Diagnostic {
    Diagnostic::error(Rule::YamlEmpty, span, "the document is empty")
        .with_help("a flow has at least `id`, `namespace` and `tasks`")
}

pub(super) fn several_documents(span: Span) -> Diagnostic {
    Diagnostic::error(
        Rule::YamlSeveralDocuments,
        span,
        "a second document begins here",
    )
    .with_help("put it into a file of its own: one file is one flow")
}

pub(super) fn too_many_nodes(span: Span, limits: &Limits) -> Diagnostic {
    let message = format!("the document has more than {} values", limits.nodes);
    Diagnostic::error(Rule::YamlNodes, span, message)
        .with_help("loop over a list with `foreach` instead of writing every task")
}

pub(super) fn too_deep(span: Span, limits: &Limits) -> Diagnostic {
    let message = format!(
        "the document is nested more than {} levels deep",
        limits.depth
    );
    Diagnostic::error(Rule::YamlDepth, span, message).with_help("split the flow with subflows")
}

pub(super) fn too_much_expansion(span: Span, limits: &Limits) -> Diagnostic {
    let message = format!(
        "aliases repeat more than {} values up to here",
        limits.expansion
    );
    Diagnostic::error(Rule::YamlExpansion, span, message)
        .with_help("write a plugin or a `foreach` loop instead of aliases of aliases")
}

pub(super) fn alias_in_itself(source: &str, span: Span) -> Diagnostic {
    let alias = quote(source.get(span.clone()).unwrap_or("*"));
    let message = format!("`{alias}` stands inside the value that it repeats");
    Diagnostic::error(Rule::YamlAnchor, span, message)
        .with_help("an alias can only repeat a value that is complete")
}

pub(super) fn unquoted_template(source: &str, start: usize) -> Diagnostic {
    let line = source[start..].lines().next().unwrap_or("");
    let length = line.rfind("}}").map_or(line.trim_end().len(), |at| at + 2);
    let template = &line[..length];
    let quotes = if template.contains('"') { '\'' } else { '"' };
    Diagnostic::error(
        Rule::YamlUnquotedTemplate,
        start..start + length,
        "a value that begins with `{{` must be quoted",
    )
    .with_help(format!("write {quotes}{}{quotes}", quote(template)))
}

pub(super) fn duplicate_key(lines: &LineIndex<'_>, key: &Key, first: Span) -> Diagnostic {
    let (first_line, _) = lines.line_col(first.start);
    let (second_line, _) = lines.line_col(key.span.start);
    let name = quote(&key.name);
    let message =
        format!("`{name}` is written twice, in line {first_line} and in line {second_line}");
    Diagnostic::error(Rule::YamlDuplicateKey, key.span.clone(), message)
        .with_label(first, format!("`{name}` is written first here"))
        .with_help("remove one of the two, or merge them")
}

pub(super) fn not_a_key(source: &str, span: Span) -> Diagnostic {
    if source[span.start..].starts_with('{') {
        return unquoted_template(source, span.start);
    }
    Diagnostic::error(Rule::YamlKey, span, "a key must be plain text")
        .with_help("quote the key if its text begins with `[`, `{` or `*`")
}

pub(super) fn not_mergeable(node: &Node) -> Diagnostic {
    let message = format!("`<<` merges mappings, and this is {}", node.kind_name());
    Diagnostic::error(Rule::YamlMerge, node.span.clone(), message)
        .with_help("write `<<: *name` or `<<: [*first, *second]` with anchors of mappings")
}

fn tag_text(tag: &Tag) -> String {
    if tag.is_yaml_core_schema() {
        format!("!!{}", quote(&tag.suffix))
    } else {
        format!("{}{}", quote(&tag.handle), quote(&tag.suffix))
    }
}

pub(super) fn unknown_tag(tag: &Tag, span: &Span) -> Diagnostic {
    let message = format!("the tag `{}` means nothing here", tag_text(tag));
    Diagnostic::error(Rule::YamlTag, span.clone(), message)
        .with_help("remove the tag; quote the value if it must stay text")
}

pub(super) fn tag_does_not_fit(tag: &Tag, text: &str, span: &Span) -> Diagnostic {
    let message = format!(
        "`{}` is not what the tag `{}` says",
        quote(text),
        tag_text(tag)
    );
    Diagnostic::error(Rule::YamlTag, span.clone(), message)
        .with_help("remove the tag, or correct the value")
}

/// Plain text that meant something else in YAML 1.1.
pub(super) fn old_habits(text: &str, span: &Span) -> Option<Diagnostic> {
    if let Some(boolean) = scalar::old_boolean(text) {
        let message = format!("`{text}` is text in YAML 1.2, not a boolean");
        let help = format!("write `{boolean}`, or `\"{text}\"` if the text is meant");
        return Some(Diagnostic::warning(Rule::YamlBoolean, span.clone(), message).with_help(help));
    }
    if scalar::has_leading_zero(text) {
        let message = format!(
            "`{}` is read as text because of its leading zero",
            quote(text)
        );
        let help = format!(
            "quote it if the text is meant; write `{}` for the number, or `0o…` for an octal one",
            text.trim_start_matches('0')
                .get(..1)
                .map_or("0", |_| text.trim_start_matches('0'))
        );
        return Some(
            Diagnostic::warning(Rule::YamlLeadingZero, span.clone(), message).with_help(help),
        );
    }
    None
}

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
