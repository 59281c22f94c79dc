//! YAML 1.2 with the core schema, read into a tree that knows where everything is written.
//!
//! Invariants: spans are byte ranges on character boundaries of the source; no document, however
//! hostile, takes more than the [`Limits`] allow; no key appears twice in a mapping. What is repeated by
//! an alias keeps the span of the anchor, where its text is.

mod advice;
mod build;
mod entries;
mod offset;
mod scalar;
mod scan_error;
mod skip;
mod tag;

pub(super) use offset::indentation;
pub(super) use skip::skip_blank;

use serde_json::Value;

use super::diagnostic::Diagnostic;
use super::model::Span;

/// Bytes of a document at most: 1 MiB.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Levels of lists and mappings at most.
pub const DEPTH_MAX: usize = 64;
/// Values in a document at most, aliases counted as what they repeat.
pub const NODES_MAX: usize = 100_000;
/// Values that aliases add to a document at most.
pub const EXPANSION_MAX: usize = 20_000;

/// What a document may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// See [`DOCUMENT_BYTES_MAX`].
    pub bytes: usize,
    /// See [`DEPTH_MAX`].
    pub depth: usize,
    /// See [`NODES_MAX`].
    pub nodes: usize,
    /// See [`EXPANSION_MAX`].
    pub expansion: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: DOCUMENT_BYTES_MAX,
            depth: DEPTH_MAX,
            nodes: NODES_MAX,
            expansion: EXPANSION_MAX,
        }
    }
}

/// A document that could be read.
#[derive(Debug, Clone)]
pub struct Document<'s> {
    /// What was read.
    pub source: &'s str,
    /// The outermost value.
    pub root: Node,
    /// What could be read but is probably not meant.
    pub warnings: Vec<Diagnostic>,
}

impl<'s> Document<'s> {
    /// Reads a document. On failure everything found, errors and warnings, by position.
    pub fn parse(source: &'s str, limits: &Limits) -> Result<Self, Vec<Diagnostic>> {
        build::document(source, limits, build::Aliases::Expand)
    }
}

/// Reads a document and forgets its warnings; see [`Document::parse`].
pub fn parse(source: &str, limits: &Limits) -> Result<Node, Vec<Diagnostic>> {
    Document::parse(source, limits).map(|document| document.root)
}

/// Reads a document for the sake of its text: aliases are strings such as `*name`, and `<<` is a key.
pub(super) fn parse_unexpanded(source: &str, limits: &Limits) -> Result<Node, Vec<Diagnostic>> {
    build::document(source, limits, build::Aliases::Keep).map(|document| document.root)
}

/// A value and where it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// From the first to the last character of the value, quotes, brackets and the header of a block
    /// (`|`) included, anchor and tag not. Empty for a value that is left out.
    pub span: Span,
    /// What it is.
    pub value: Yaml,
    style: Style,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Yaml {
    /// `null`, `~`, or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Decimal, `0x` or `0o`.
    Int(i64),
    /// With a point or an exponent, `.inf`, `.nan`.
    Float(f64),
    /// Anything else, and whatever is quoted or a block.
    String(String),
    /// A list.
    Seq(Vec<Node>),
    /// A mapping in the order written, merged entries in the place of their `<<`.
    Map(Vec<(Key, Node)>),
}

/// Key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Quotes included.
    pub span: Span,
    /// The text: `8080:` has the name `8080`.
    pub name: String,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes; also every list and mapping in block style, and values left out.
    Plain,
    /// In `'`.
    SingleQuoted,
    /// In `"`.
    DoubleQuoted,
    /// After `|`.
    Literal,
    /// After `>`.
    Folded,
    /// List or mapping in brackets.
    Flow,
}

impl Node {
    /// A node as if written plainly at `span`.
    #[must_use]
    pub const fn new(span: Span, value: Yaml) -> Self {
        Self {
            span,
            value,
            style: Style::Plain,
        }
    }

    /// How it is written.
    #[must_use]
    pub const fn style(&self) -> Style {
        self.style
    }

    /// The value of `key`, if this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|(_, value)| value)
    }

    /// The key and value of `key`, if this is a mapping that has it.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<(&Key, &Self)> {
        let (key, value) = self.as_map()?.iter().find(|(k, _)| k.name == key)?;
        Some((key, value))
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Yaml::String(text) = &self.value {
            Some(text)
        } else {
            None
        }
    }

    /// The items, if this is a list.
    #[must_use]
    pub fn as_seq(&self) -> Option<&[Self]> {
        if let Yaml::Seq(items) = &self.value {
            Some(items)
        } else {
            None
        }
    }

    /// The entries, if this is a mapping.
    #[must_use]
    pub fn as_map(&self) -> Option<&[(Key, Self)]> {
        if let Yaml::Map(entries) = &self.value {
            Some(entries)
        } else {
            None
        }
    }

    /// Whether this is `null` or left out.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self.value, Yaml::Null)
    }

    /// The characters in the source: `1.10` where the value is the number 1.1. Of use where text was
    /// meant. `source` is what the node was read from.
    #[must_use]
    pub fn raw<'s>(&self, source: &'s str) -> &'s str {
        source.get(self.span.clone()).unwrap_or("")
    }

    /// The same value for JSON. Infinity and not-a-number, which JSON lacks, become `".inf"`, `"-.inf"`
    /// and `".nan"`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.value {
            Yaml::Null => Value::Null,
            Yaml::Bool(b) => Value::Bool(*b),
            Yaml::Int(n) => Value::from(*n),
            Yaml::Float(x) => serde_json::Number::from_f64(*x)
                .map_or_else(|| Value::from(scalar::not_finite(*x)), Value::Number),
            Yaml::String(text) => Value::from(text.as_str()),
            Yaml::Seq(items) => items.iter().map(Self::to_json).collect(),
            Yaml::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| (key.name.clone(), value.to_json()))
                    .collect(),
            ),
        }
    }

    /// What to call it in a message, with its article: `a string`.
    #[must_use]
    pub const fn kind_name(&self) -> &'static str {
        match &self.value {
            Yaml::Null => "nothing",
            Yaml::Bool(_) => "a boolean",
            Yaml::Int(_) => "an integer",
            Yaml::Float(_) => "a number",
            Yaml::String(_) => "a string",
            Yaml::Seq(_) => "a list",
            Yaml::Map(_) => "a mapping",
        }
    }

    /// Where in `source` the byte at `offset` of the string value is written, across quotes, escapes,
    /// folded lines and the indentation of blocks. Past the end of the value, and for values that are
    /// not strings, the end of the node. `source` is what the node was read from.
    #[must_use]
    pub fn content_offset(&self, source: &str, offset: usize) -> usize {
        offset::in_source(self, source, offset)
    }

    /// [`Node::content_offset`] of both ends of a range of the string value.
    #[must_use]
    pub fn content_span(&self, source: &str, range: Span) -> Span {
        let start = self.content_offset(source, range.start);
        if range.end <= range.start {
            return start..start;
        }
        // The end is the byte after the last one in the range: a line break and indentation may follow.
        let last = self.content_offset(source, range.end - 1);
        let next = source
            .get(last..)
            .and_then(|rest| rest.chars().next())
            .map_or(last, |c| last + c.len_utf8());
        let end = self.content_offset(source, range.end);
        start..if source.get(last..end).is_some_and(|s| s.contains('\n')) {
            next
        } else {
            end
        }
    }
}

#[cfg(test)]
mod tests;
