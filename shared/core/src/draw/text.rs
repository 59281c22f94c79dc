//! The drawing for a terminal.

use std::fmt::Write as _;

use super::picture::{Item, Part, Picture, Role, Shape};

/// Items a line names after `←` at most; the rest is counted.
const DEPS_MAX: usize = 4;

pub(super) fn render(picture: &Picture) -> String {
    let mut out = format!("{}\n", picture.title);
    for part in &picture.parts {
        if part.role != Role::Body {
            out.push_str(part.role.label());
            out.push('\n');
        }
        items(&mut out, part, "", true);
    }
    out
}

/// The items of a part below `indent`; `last` if nothing else follows under the same parent.
fn items(out: &mut String, part: &Part, indent: &str, last: bool) {
    for (at, item) in part.items.iter().enumerate() {
        let is_last = last && at + 1 == part.items.len();
        let (branch, deeper) = if is_last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        let waits = if part.shape() == Shape::Graph {
            waits_for(part, at)
        } else {
            String::new()
        };
        line(out, indent, branch, item, &waits);
        parts(out, &item.parts, &format!("{indent}{deeper}"));
    }
}

fn parts(out: &mut String, parts: &[Part], indent: &str) {
    for (at, part) in parts.iter().enumerate() {
        let is_last = at + 1 == parts.len();
        if part.role == Role::Body {
            items(out, part, indent, is_last);
            continue;
        }
        let (branch, deeper) = if is_last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{indent}{branch}[{}]", part.role.label());
        items(out, part, &format!("{indent}{deeper}"), true);
    }
}

fn line(out: &mut String, indent: &str, branch: &str, item: &Item, waits: &str) {
    out.push_str(indent);
    out.push_str(branch);
    out.push_str(&item.id);
    if !item.detail.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(out, "  ({})", item.detail);
    }
    out.push_str(waits);
    out.push('\n');
}

fn waits_for(part: &Part, at: usize) -> String {
    let deps: Vec<&str> = part
        .edges
        .iter()
        .filter(|(_, to)| *to == at)
        .filter_map(|(from, _)| Some(part.items.get(*from)?.id.as_str()))
        .collect();
    if deps.is_empty() {
        return String::new();
    }
    let shown = deps[..deps.len().min(DEPS_MAX)].join(", ");
    match deps.len().saturating_sub(DEPS_MAX) {
        0 => format!("  ← {shown}"),
        more => format!("  ← {shown} and {more} more"),
    }
}
