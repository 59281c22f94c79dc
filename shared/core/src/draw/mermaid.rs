//! The drawing for documents that render Mermaid.

use std::fmt::Write as _;

use super::picture::{Item, Part, Picture, Role};

pub(super) fn render(picture: &Picture) -> String {
    let mut writer = Writer {
        out: "flowchart TB\n".to_owned(),
        next: 0,
    };
    for part in &picture.parts {
        if part.role == Role::Body {
            writer.part(part, 1);
        } else {
            writer.cluster(part.role.label(), 1, |writer| writer.part(part, 2));
        }
    }
    writer.out
}

struct Writer {
    out: String,
    next: usize,
}

impl Writer {
    fn line(&mut self, depth: usize, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "{}{text}", "  ".repeat(depth));
    }

    fn id(&mut self) -> String {
        self.next += 1;
        format!("n{}", self.next)
    }

    fn cluster(&mut self, label: &str, depth: usize, inside: impl FnOnce(&mut Self)) -> String {
        let id = self.id();
        self.line(depth, &format!("subgraph {id}[\"{}\"]", escape(label)));
        inside(self);
        self.line(depth, "end");
        id
    }

    fn part(&mut self, part: &Part, depth: usize) {
        let ids: Vec<String> = part
            .items
            .iter()
            .map(|item| self.item(item, depth))
            .collect();
        for (from, to) in &part.edges {
            if let (Some(from), Some(to)) = (ids.get(*from), ids.get(*to)) {
                self.line(depth, &format!("{from} --> {to}"));
            }
        }
    }

    fn item(&mut self, item: &Item, depth: usize) -> String {
        let label = match item.detail.as_str() {
            "" => item.id.clone(),
            detail => format!("{} ({detail})", item.id),
        };
        if !item.is_cluster {
            let id = self.id();
            self.line(depth, &format!("{id}[\"{}\"]", escape(&label)));
            return id;
        }
        self.cluster(&label, depth, |writer| {
            for part in &item.parts {
                if part.role == Role::Body {
                    writer.part(part, depth + 1);
                } else {
                    writer.cluster(part.role.label(), depth + 1, |w| w.part(part, depth + 2));
                }
            }
        })
    }
}

/// Letters, digits and harmless signs stay; everything else becomes an entity, so that no text can end
/// its label or be read as Markdown or HTML.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() || " .,:;-/()+×·…=?!".contains(c) {
            out.push(c);
        } else {
            let _ = write!(out, "#{};", u32::from(c));
        }
    }
    out
}
