//! `operon fmt`: one way to lay out a flow, comments and scripts untouched.
//!
//! Invariants: the tree is the same before and after (but for the renames of [`FormatOptions::to_v2`]);
//! formatting twice is formatting once. The first is checked on every call: rather than change what a
//! flow means, formatting fails.

mod emit;
mod layout;
mod rename;
mod renew;

use super::diagnostic::{Diagnostic, Rule};
use super::yaml::{self, Limits, Node, Yaml};

/// What to do besides the layout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FormatOptions {
    /// Rewrite spellings of earlier versions: `runIf`, `docker.image`, old class names and the like.
    pub to_v2: bool,
}

/// The document in its standard layout: two spaces per level, lists indented, no trailing spaces, one
/// blank line between sections and never more than one, Unix line ends, one at the end of the file.
/// Keys keep their order; comments and the text of scalars are not touched.
///
/// Fails if the document cannot be read, or (with rule `yaml-format`) if it uses YAML in a way that
/// cannot be laid out without changing what it means.
pub fn format(source: &str, options: &FormatOptions) -> Result<String, Vec<Diagnostic>> {
    let limits = Limits::default();
    let mut text = source.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    // Errors must point into the document as the user has it.
    yaml::parse(source, &limits)?;
    if options.to_v2 {
        let renamed = rename::to_v2(&text)?;
        yaml::parse(&renamed, &limits).map_err(|_| cannot_format("rewrite old spellings of"))?;
        text = renamed;
    }
    let before = yaml::parse_unexpanded(&text, &limits)?;
    if !matches!(before.value, Yaml::Seq(_) | Yaml::Map(_)) {
        return Ok(text);
    }
    let plan = layout::plan(&text, &before).ok_or_else(|| cannot_format("lay out"))?;
    let formatted = emit::emit(&text, &plan);
    match yaml::parse_unexpanded(&formatted, &limits) {
        Ok(after) if same(&before, &after) => Ok(formatted),
        _ => Err(cannot_format("lay out")),
    }
}

/// What [`FormatOptions::to_v2`] leaves in a document although version 2 has no such thing, with what to do.
#[must_use]
pub fn left_over(source: &str) -> Vec<Diagnostic> {
    // What cannot be read is told by whoever formats it.
    rename::left(source).unwrap_or_default()
}

fn cannot_format(what: &str) -> Vec<Diagnostic> {
    let message = format!("cannot {what} this document without changing what it means");
    let help = "keys with `?`, and values on lines that belong to another level, are the usual cause; \
                write them in the common style";
    vec![Diagnostic::error(Rule::YamlFormat, 0..0, message).with_help(help)]
}

/// Whether two trees say the same. Not-a-number equals itself here.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Yaml::Float(x), Yaml::Float(y)) => x.to_bits() == y.to_bits(),
        (Yaml::Seq(x), Yaml::Seq(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y))
        }
        (Yaml::Map(x), Yaml::Map(y)) => {
            let mut pairs = x.iter().zip(y);
            x.len() == y.len() && pairs.all(|((k, x), (l, y))| k.name == l.name && same(x, y))
        }
        (x, y) => x == y,
    }
}

#[cfg(test)]
mod tests;
