//! What to tell a person whose YAML is refused, or probably means something else.

use saphyr_parser::Tag;

use super::super::diagnostic::{Diagnostic, LineIndex, Rule};
use super::super::model::Span;
use super::{Key, Limits, Node, scalar};

/// Characters of the user's text that a message repeats at most.
const QUOTE_MAX: usize = 60;

pub(super) fn quote(text: &str) -> String {
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
        // A byte order mark may only begin the document.
        if control(c) || (c == '\u{feff}' && at > 0) {
            let message = format!(
                "the invisible character U+{:04X} is not allowed",
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

pub(super) fn lines_with_offsets(source: &str) -> impl Iterator<Item = (usize, &str)> {
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
