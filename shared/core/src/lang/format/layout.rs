//! Which column every line of a document should begin in.

use std::ops::Range;

use super::super::yaml::{Node, Style, Yaml, indentation, skip_blank};

/// Spaces per level.
const STEP: usize = 2;

/// What becomes of a line's indentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Indent {
    /// Nothing is known: it stays.
    Keep,
    /// The line begins in this column.
    To(usize),
    /// A line of a block scalar: this many spaces are replaced by that many, and all else is text.
    Block {
        /// Spaces that are indentation.
        old: usize,
        /// Spaces that take their place.
        new: usize,
    },
}

/// One line of the source.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Without the line break.
    pub(super) range: Range<usize>,
    /// What becomes of its indentation.
    pub(super) indent: Indent,
    /// The line break at its end belongs to a scalar, so nothing at the end may go.
    pub(super) open: bool,
    /// A section begins here: one blank line before it.
    pub(super) section: bool,
    /// Blanks after a dash that become one space.
    pub(super) gaps: Vec<Range<usize>>,
}

/// A key or a dash: which column it is in and which it will be in.
struct Mark {
    line: usize,
    old: usize,
    new: usize,
}

struct Planner<'s> {
    source: &'s str,
    lines: Vec<Line>,
    marks: Vec<Mark>,
    /// Something stands before a key or dash that is neither blank nor a dash: `? key`, `&anchor key`.
    odd: bool,
}

/// The lines of `source`, which ends with a line break and was read as `root`; none if it uses YAML in
/// a way that has no standard layout.
pub(super) fn plan(source: &str, root: &Node) -> Option<Vec<Line>> {
    let mut at = 0;
    let lines = source
        .split_inclusive('\n')
        .map(|line| {
            let range = at..at + line.trim_end_matches('\n').len();
            at += line.len();
            Line {
                range,
                indent: Indent::Keep,
                open: false,
                section: false,
                gaps: Vec::new(),
            }
        })
        .collect();
    let mut planner = Planner {
        source,
        lines,
        marks: Vec::new(),
        odd: false,
    };
    if is_block(root) {
        planner.block(root, 0);
    } else {
        planner.keep_open(root);
    }
    planner.comments();
    planner.sections(root);
    (!planner.odd).then_some(planner.lines)
}

/// Whether a node is a list or mapping in block style.
fn is_block(node: &Node) -> bool {
    node.style() == Style::Plain && matches!(node.value, Yaml::Seq(_) | Yaml::Map(_))
}

impl Planner<'_> {
    fn line_of(&self, offset: usize) -> usize {
        self.lines
            .partition_point(|line| line.range.start <= offset)
            .saturating_sub(1)
    }

    fn text(&self, line: usize) -> &str {
        self.lines
            .get(line)
            .and_then(|line| self.source.get(line.range.clone()))
            .unwrap_or("")
    }

    fn column(&self, offset: usize) -> usize {
        offset - self.lines[self.line_of(offset)].range.start
    }

    /// Whether only blanks stand before `offset` on its line.
    fn is_first(&self, offset: usize) -> bool {
        let start = self.lines[self.line_of(offset)].range.start;
        self.source[start..offset].bytes().all(|b| b == b' ')
    }

    fn mark(&mut self, offset: usize, new: usize) {
        let (line, old) = (self.line_of(offset), self.column(offset));
        if self.is_first(offset) {
            self.lines[line].indent = Indent::To(new);
        } else {
            let before = &self.source[self.lines[line].range.start..offset];
            self.odd |= !before.bytes().all(|b| matches!(b, b' ' | b'-'));
        }
        self.marks.push(Mark { line, old, new });
    }

    /// A list or mapping in block style that goes to column `new`.
    fn block(&mut self, node: &Node, new: usize) {
        match &node.value {
            Yaml::Map(entries) => {
                for (key, value) in entries {
                    let old = self.column(key.span.start);
                    self.mark(key.span.start, new);
                    self.value(value, old, new);
                }
            }
            Yaml::Seq(items) => self.items(node, items, new),
            Yaml::Null | Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_) | Yaml::String(_) => {}
        }
    }

    fn items(&mut self, node: &Node, items: &[Node], new: usize) {
        let mut from = node.span.start;
        for item in items {
            let dash = skip_blank(self.source, from);
            if !self.source[dash..].starts_with('-') {
                self.odd = true;
                return;
            }
            let old = self.column(dash);
            self.mark(dash, new);
            from = (dash + 1).max(item.span.end);
            let rest = &self.source[dash + 1..];
            let gap = rest.len() - rest.trim_start_matches(' ').len();
            let same_line = self.line_of(item.span.start) == self.line_of(dash);
            if !same_line || item.is_null() {
                self.value(item, old, new);
                continue;
            }
            let line = self.line_of(dash);
            self.lines[line].gaps.push(dash + 1..dash + 1 + gap);
            if is_block(item) {
                self.block(item, new + STEP);
            } else if matches!(item.style(), Style::Literal | Style::Folded) {
                self.value(item, old, new);
            } else {
                // What follows on further lines moves with the text after the dash.
                self.value(item, old + 1 + gap, new + STEP);
            }
        }
    }

    /// What stands after a key or dash that goes from column `old` to `new`.
    fn value(&mut self, node: &Node, old: usize, new: usize) {
        if is_block(node) {
            self.block(node, new + STEP);
        } else if matches!(node.style(), Style::Literal | Style::Folded) {
            self.block_scalar(node, old, new);
        } else if !node.span.is_empty() {
            let (mut old, mut new) = (old, new);
            let first = self.line_of(node.span.start);
            if self.is_first(node.span.start) {
                old = self.column(node.span.start);
                new += STEP;
                self.lines[first].indent = Indent::To(new);
            }
            for line in first + 1..=self.line_of(node.span.end - 1) {
                let column = leading_spaces(self.text(line)) + new;
                self.lines[line].indent = Indent::To(column.saturating_sub(old));
            }
            self.keep_open(node);
        }
    }

    /// Keeps line breaks inside scalars as they are, also inside brackets.
    fn keep_open(&mut self, node: &Node) {
        match &node.value {
            Yaml::Map(entries) => entries.iter().for_each(|(_, value)| self.keep_open(value)),
            Yaml::Seq(items) => items.iter().for_each(|item| self.keep_open(item)),
            Yaml::Null | Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_) | Yaml::String(_) => {
                let range = self.line_of(node.span.start)
                    ..self.line_of(node.span.end.max(node.span.start + 1) - 1);
                self.lines[range]
                    .iter_mut()
                    .for_each(|line| line.open = true);
            }
        }
    }

    fn block_scalar(&mut self, node: &Node, parent_old: usize, parent_new: usize) {
        let written = &self.source[node.span.clone()];
        let header = written.lines().next().unwrap_or("");
        let header = header.split('#').next().unwrap_or("");
        let text = node.as_str().unwrap_or("");
        let old = if text.trim().is_empty() {
            // Without text every space is indentation.
            written.len()
        } else {
            indentation(written, text)
        };
        let new = if header.contains(|c: char| c.is_ascii_digit()) {
            (old + parent_new).saturating_sub(parent_old)
        } else {
            parent_new + STEP
        };
        let first = self.line_of(node.span.start) + 1;
        let mut last = self.line_of(node.span.end - 1);
        if !header.contains('+') {
            // Blank lines at the end are not part of the text.
            while last >= first
                && leading_spaces(self.text(last)) == self.text(last).len()
                && self.text(last).len() <= old
            {
                last -= 1;
            }
        }
        for line in first..=last {
            self.lines[line].indent = Indent::Block { old, new };
            self.lines[line].open = true;
        }
    }

    /// A comment goes with the key it was aligned to: that of the next line, or an earlier one.
    fn comments(&mut self) {
        let mut next = 0;
        // The levels that are open, outermost first.
        let mut open: Vec<&Mark> = Vec::new();
        for line in 0..self.lines.len() {
            while let Some(mark) = self.marks.get(next).filter(|mark| mark.line <= line) {
                while open.pop_if(|level| level.old >= mark.old).is_some() {}
                open.push(mark);
                next += 1;
            }
            let text = self.text(line);
            let column = leading_spaces(text);
            let loose = self.lines[line].indent == Indent::Keep;
            if loose && text[column..].starts_with('#') {
                let new = comment_column(&open, self.marks.get(next), column);
                self.lines[line].indent = Indent::To(new);
            }
        }
    }

    /// Marks where sections of the document begin: top-level entries of which one has several lines.
    fn sections(&mut self, root: &Node) {
        let Yaml::Map(entries) = &root.value else {
            return;
        };
        if root.style() == Style::Flow {
            return;
        }
        for pair in entries.windows(2) {
            let [(first, first_value), (second, second_value)] = pair else {
                continue;
            };
            let start = self.line_of(second.span.start);
            let long = |from: usize, value: &Node, planner: &Self| {
                !value.span.is_empty()
                    && planner.line_of(value.span.end - 1) > planner.line_of(from)
            };
            let is_section = long(first.span.start, first_value, self)
                || long(second.span.start, second_value, self);
            let mut top = start;
            while top > 0
                && self.text(top - 1).trim_start().starts_with('#')
                && self.lines[top - 1].indent == Indent::To(0)
            {
                top -= 1;
            }
            // A blank line after a block that keeps its line breaks would become part of its text.
            let keeps = top > 0 && self.lines[top - 1].open;
            self.lines[top].section =
                is_section && !(keeps && self.ends_with_kept_block(first_value));
        }
    }

    fn ends_with_kept_block(&self, node: &Node) -> bool {
        match &node.value {
            Yaml::Map(entries) => entries
                .last()
                .is_some_and(|(_, value)| self.ends_with_kept_block(value)),
            Yaml::Seq(items) => items
                .last()
                .is_some_and(|item| self.ends_with_kept_block(item)),
            Yaml::Null | Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_) | Yaml::String(_) => {
                let header = node.raw(self.source).lines().next().unwrap_or("");
                let header = header.split('#').next().unwrap_or("");
                matches!(node.style(), Style::Literal | Style::Folded) && header.contains('+')
            }
        }
    }
}

/// The new column of a comment in `column`: below the `open` levels and above `after`.
fn comment_column(open: &[&Mark], after: Option<&Mark>, column: usize) -> usize {
    if let Some(next) = after
        && (next.old == column
            || open
                .last()
                .is_none_or(|last| last.old < column.min(next.old)))
    {
        return next.new;
    }
    // The innermost of the levels that are not deeper than the comment.
    match open.iter().rev().find(|mark| mark.old <= column) {
        Some(mark) => {
            // Between two levels it belongs to what follows.
            let between = after.filter(|next| mark.old < column && column < next.old);
            between.map_or(mark.new, |next| next.new)
        }
        None => after.map_or(0, |next| next.new),
    }
}

fn leading_spaces(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}
