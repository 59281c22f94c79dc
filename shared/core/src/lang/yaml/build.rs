//! From parser events to the tree, under the limits.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput, Tag};

use super::super::diagnostic::{Diagnostic, Diagnostics, LineIndex, Rule};
use super::super::model::Span;
use super::entries::{Entries, Entry, merged};
use super::scan_error::scan_error;
use super::skip::{skip_blank, skip_properties, without_last_indentation};
use super::tag::{check_tag, tagged};
use super::{Document, Key, Limits, Node, Style, Yaml, advice, scalar};

/// The first finding after which nothing sensible can be read. Boxed, because it is rare.
pub(super) type Fatal = Box<Diagnostic>;

const MERGE_KEY: &str = "<<";

/// Whether aliases and merge keys stand for what they repeat, or for themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Aliases {
    Expand,
    Keep,
}

pub(super) fn document<'s>(
    source: &'s str,
    limits: &Limits,
    aliases: Aliases,
) -> Result<Document<'s>, Vec<Diagnostic>> {
    if source.len() > limits.bytes {
        return Err(vec![advice::too_large(source, limits)]);
    }
    if let Some(found) = advice::unreadable(source) {
        return Err(vec![found]);
    }
    let mut builder = Builder::new(source, limits, aliases);
    let root = match builder.root() {
        Ok(root) => Some(root),
        Err(fatal) => {
            builder.found.push(*fatal);
            None
        }
    };
    let failed = builder.found.has_errors();
    let found = builder.found.into_sorted();
    match root {
        Some(root) if !failed => Ok(Document {
            source,
            root,
            warnings: found,
        }),
        _ => Err(found),
    }
}

/// What an anchor stands for.
struct Anchor {
    node: Node,
    /// Values in it, itself included.
    nodes: usize,
    /// Levels of lists and mappings in it.
    height: usize,
}

/// A node with what the tree does not keep.
struct Built {
    node: Node,
    /// Where the text of the node ends: that of the alias where the node is an anchor's.
    end: usize,
    height: usize,
}

struct Builder<'s, 'l> {
    source: &'s str,
    limits: &'l Limits,
    aliases: Aliases,
    parser: Parser<'s, StrInput<'s>>,
    /// Byte offset of each character; none when every character is one byte.
    bytes: Option<Vec<usize>>,
    /// Anchors by the parser's number, once their value is complete.
    anchors: HashMap<usize, Anchor>,
    nodes: usize,
    expanded: usize,
    /// Where the event before this one ended.
    previous_end: usize,
    found: Diagnostics,
    lines: LineIndex<'s>,
}

impl<'s, 'l> Builder<'s, 'l> {
    fn new(source: &'s str, limits: &'l Limits, aliases: Aliases) -> Self {
        let bytes = (!source.is_ascii()).then(|| {
            let offsets = source.char_indices().map(|(at, _)| at);
            offsets.chain([source.len()]).collect()
        });
        Self {
            source,
            limits,
            aliases,
            parser: Parser::new_from_str(source),
            bytes,
            anchors: HashMap::new(),
            nodes: 0,
            expanded: 0,
            previous_end: 0,
            found: Diagnostics::new(),
            lines: LineIndex::new(source),
        }
    }

    fn byte(&self, character: usize) -> usize {
        let byte = match &self.bytes {
            Some(bytes) => bytes.get(character).copied(),
            None => Some(character),
        };
        byte.unwrap_or(self.source.len()).min(self.source.len())
    }

    /// The next event and its bytes.
    fn next(&mut self) -> Result<(Event<'s>, Span), Fatal> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let span = self.byte(span.start.index())..self.byte(span.end.index());
                Ok((event, span))
            }
            Some(Err(error)) => {
                let at = self.byte(error.marker().index());
                Err(Box::new(scan_error(self.source, at, error.info())))
            }
            None => Ok((Event::StreamEnd, self.source.len()..self.source.len())),
        }
    }

    fn root(&mut self) -> Result<Node, Fatal> {
        let (mut event, mut span) = self.next()?;
        while matches!(event, Event::StreamStart | Event::DocumentStart(_)) {
            self.previous_end = span.end;
            (event, span) = self.next()?;
        }
        if matches!(event, Event::StreamEnd) {
            return Err(advice::empty(0..0).into());
        }
        let root = self.node(event, span, 0)?.node;
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::DocumentStart(_)) {
                return Err(advice::several_documents(span).into());
            }
            if matches!(event, Event::StreamEnd) {
                break;
            }
        }
        if root.is_null() {
            return Err(advice::empty(root.span).into());
        }
        Ok(root)
    }

    fn node(&mut self, event: Event<'s>, span: Span, depth: usize) -> Result<Built, Fatal> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            return Err(advice::too_many_nodes(span, self.limits).into());
        }
        let nodes_before = self.nodes - 1;
        let (anchor, built) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let (node, end) = self.scalar(&text, style, tag.as_deref(), span)?;
                let height = 0;
                (anchor, Built { node, end, height })
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), "seq", &span)?;
                (anchor, self.sequence(span, depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), "map", &span)?;
                (anchor, self.mapping(span, depth)?)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => {
                let found = "the document ends in the middle of a value";
                return Err(Box::new(Diagnostic::error(Rule::YamlSyntax, span, found)));
            }
        };
        if anchor != 0 {
            let anchor_of = Anchor {
                node: built.node.clone(),
                nodes: self.nodes - nodes_before,
                height: built.height,
            };
            self.anchors.insert(anchor, anchor_of);
        }
        Ok(built)
    }

    fn alias(&mut self, anchor: usize, span: Span, depth: usize) -> Result<Built, Fatal> {
        self.previous_end = span.end;
        if self.aliases == Aliases::Keep {
            let text = self.source.get(span.clone()).unwrap_or("").to_owned();
            return Ok(Built {
                end: span.end,
                node: Node::new(span, Yaml::String(text)),
                height: 0,
            });
        }
        let Some(anchor) = self.anchors.get(&anchor) else {
            return Err(advice::alias_in_itself(self.source, span).into());
        };
        // The alias itself was counted by the caller.
        self.nodes += anchor.nodes - 1;
        self.expanded += anchor.nodes;
        if self.expanded > self.limits.expansion {
            return Err(advice::too_much_expansion(span, self.limits).into());
        }
        if self.nodes > self.limits.nodes {
            return Err(advice::too_many_nodes(span, self.limits).into());
        }
        if depth + anchor.height > self.limits.depth {
            return Err(advice::too_deep(span, self.limits).into());
        }
        Ok(Built {
            node: anchor.node.clone(),
            end: span.end,
            height: anchor.height,
        })
    }

    fn enter(&mut self, start: usize, span: &Span, depth: usize) -> Result<Style, Fatal> {
        if depth >= self.limits.depth {
            return Err(advice::too_deep(span.clone(), self.limits).into());
        }
        let rest = self.source.get(start..).unwrap_or("");
        // Scans for a dash or a header begin before the first item.
        let (style, inside) = if rest.starts_with(['{', '[']) {
            (Style::Flow, start + 1)
        } else {
            (Style::Plain, start)
        };
        self.previous_end = inside;
        Ok(style)
    }

    fn sequence(&mut self, span: Span, depth: usize) -> Result<Built, Fatal> {
        let start = self.first_dash(span.start);
        let style = self.enter(start, &span, depth)?;
        let (mut items, mut end, mut height) = (Vec::new(), start, 0);
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                end = end.max(span.end * usize::from(style == Style::Flow));
                self.previous_end = end;
                break;
            }
            let item = self.node(event, span, depth + 1)?;
            end = end.max(item.end);
            height = height.max(item.height);
            items.push(item.node);
        }
        Ok(Built {
            node: Node {
                span: start..end,
                value: Yaml::Seq(items),
                style,
            },
            end,
            height: height + 1,
        })
    }

    /// Where a list begins. For one that is not indented more than its key the parser begins after the
    /// first dash.
    fn first_dash(&self, start: usize) -> usize {
        let start = skip_properties(self.source, start);
        let value = skip_blank(self.source, self.previous_end);
        if value >= start || !self.source[value..].starts_with(':') {
            return start;
        }
        let dash = skip_properties(self.source, skip_blank(self.source, value + 1));
        if self.source[dash..].starts_with('-') {
            dash.min(start)
        } else {
            start
        }
    }

    fn mapping(&mut self, span: Span, depth: usize) -> Result<Built, Fatal> {
        let start = skip_properties(self.source, span.start);
        let style = self.enter(start, &span, depth)?;
        if style == Style::Flow && self.source[start..].starts_with("{{") {
            return Err(advice::unquoted_template(self.source, start).into());
        }
        let (mut entries, mut end, mut height) = (Entries::default(), start, 0);
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                end = end.max(span.end * usize::from(style == Style::Flow));
                self.previous_end = end;
                break;
            }
            let (key, merges) = self.key(event, span)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            end = end.max(value.end);
            height = height.max(value.height);
            if let Some(first) = entries.first.get(&key.name) {
                let found = advice::duplicate_key(&self.lines, &key, first.clone());
                self.found.push(found);
                continue;
            }
            entries.first.insert(key.name.clone(), key.span.clone());
            let entry = if merges {
                Entry::Merged(merged(value.node)?)
            } else {
                Entry::Own(key, value.node)
            };
            entries.list.push(entry);
        }
        Ok(Built {
            node: Node {
                span: start..end,
                value: Yaml::Map(entries.resolve()),
                style,
            },
            end,
            height: height + 1,
        })
    }

    /// A key, and whether it is the merge key.
    fn key(&mut self, event: Event<'s>, span: Span) -> Result<(Key, bool), Fatal> {
        let Event::Scalar(text, style, _, _) = event else {
            return Err(advice::not_a_key(self.source, span).into());
        };
        let merges =
            self.aliases == Aliases::Expand && style == ScalarStyle::Plain && text == MERGE_KEY;
        let start = skip_properties(self.source, span.start).min(span.end);
        // The parser reports a missing key or value with the span of the token it met instead.
        let end = if text.is_empty() && style == ScalarStyle::Plain {
            start
        } else {
            span.end
        };
        self.previous_end = end;
        let key = Key {
            span: start..end,
            name: text.into_owned(),
        };
        Ok((key, merges))
    }

    /// A scalar and where its text ends.
    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(Node, usize), Fatal> {
        let (start, style) = match style {
            ScalarStyle::Plain => (skip_properties(self.source, span.start), Style::Plain),
            ScalarStyle::SingleQuoted => (
                skip_properties(self.source, span.start),
                Style::SingleQuoted,
            ),
            ScalarStyle::DoubleQuoted => (
                skip_properties(self.source, span.start),
                Style::DoubleQuoted,
            ),
            ScalarStyle::Literal => (self.block_header(&span), Style::Literal),
            ScalarStyle::Folded => (self.block_header(&span), Style::Folded),
        };
        let left_out = style == Style::Plain && text.is_empty();
        let start = if left_out && !self.source[span.start..].starts_with(['&', '!']) {
            self.after_indicator()
        } else {
            start.min(span.end)
        };
        let end = match style {
            Style::Plain if left_out => start,
            Style::Literal | Style::Folded => without_last_indentation(self.source, &span),
            Style::Plain | Style::SingleQuoted | Style::DoubleQuoted | Style::Flow => span.end,
        };
        self.previous_end = end;
        let span = start..end;
        let value = match tag {
            Some(tag) => tagged(text, tag, &span)?,
            None if style == Style::Plain => {
                self.found.extend(advice::old_habits(text, &span));
                scalar::resolve(text)
            }
            None => Yaml::String(text.to_owned()),
        };
        Ok((Node { span, value, style }, end))
    }

    /// Where a value is left out: after its colon or dash. The parser reports the token that follows.
    fn after_indicator(&self) -> usize {
        let at = skip_blank(self.source, self.previous_end);
        if self.source[at..].starts_with([':', '-']) {
            at + 1
        } else {
            self.previous_end
        }
    }

    /// Where the `|` or `>` of a block scalar is; the parser begins after the header.
    fn block_header(&self, span: &Span) -> usize {
        let mut at = self.previous_end.min(span.start);
        loop {
            at = skip_blank(self.source, at);
            let rest = self.source.get(at..).unwrap_or("");
            match rest.as_bytes().first() {
                Some(b'|' | b'>') => return at,
                Some(b'&' | b'!') => at = skip_properties(self.source, at),
                Some(b':' | b'-' | b'?') => at += 1,
                _ => return span.start,
            }
        }
    }
}
