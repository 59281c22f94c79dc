//! `{{ props.x }}` in a task template: a value where it stands alone, a text inside a text, a literal
//! inside an expression.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another shape is wrong, whichever shape that is"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::super::diagnostic::{Diagnostic, Rule};
use super::super::model::Span;
use super::super::parse::{has_template, nearest};
use super::super::yaml::{Key, Node, Yaml};
use super::Plugin;

/// Properties whose text is code; values may not be put into it.
const CODE: &[&str] = &["script", "commands", "beforeCommands"];

/// One expansion.
pub(super) struct Substitution<'s> {
    values: &'s BTreeMap<String, Node>,
    place: Option<&'s Span>,
    /// Ids of tasks inside the template and what they become.
    ids: BTreeMap<String, String>,
}

impl<'s> Substitution<'s> {
    pub(super) fn new(
        template: &Node,
        values: &'s BTreeMap<String, Node>,
        place: Option<&'s Span>,
        id: &str,
    ) -> Self {
        let mut inner = BTreeSet::new();
        for (key, value) in template.as_map().unwrap_or_default() {
            if key.name != "id" {
                inner_ids(value, &mut inner);
            }
        }
        let ids = inner
            .into_iter()
            .map(|inner| (inner.clone(), format!("{id}-{inner}")))
            .collect();
        Self { values, place, ids }
    }

    /// The node with values put in; none where a property without a value stood alone.
    pub(super) fn node(&self, node: &Node) -> Result<Option<Node>, Vec<Diagnostic>> {
        let value = match &node.value {
            Yaml::String(text) if has_template(text) => {
                if let Some(name) = alone(text) {
                    return Ok(self.values.get(name).cloned());
                }
                Yaml::String(
                    self.text(text)
                        .map_err(|reason| vec![self.error(node, reason)])?,
                )
            }
            Yaml::Seq(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| self.node(item)).collect();
                Yaml::Seq(items?.into_iter().flatten().collect())
            }
            Yaml::Map(entries) => Yaml::Map(self.entries(entries)?),
            scalar => scalar.clone(),
        };
        let mut copy = match self.place {
            Some(place) => Node::new(place.clone(), value),
            None => placed(node, value),
        };
        if let (Some(_), Yaml::Seq(_) | Yaml::Map(_)) = (self.place, &node.value) {
            // The items have their places already.
            copy.span = self.span(node);
        }
        Ok(Some(copy))
    }

    fn entries(&self, entries: &[(Key, Node)]) -> Result<Vec<(Key, Node)>, Vec<Diagnostic>> {
        let mut copied = Vec::new();
        let task = entries.iter().any(|(key, _)| key.name == "type");
        for (key, value) in entries {
            let renamed = match key.name.as_str() {
                "id" if task => value
                    .as_str()
                    .and_then(|id| self.ids.get(id))
                    .map(|id| self.plain(value, id)),
                "dependsOn" => Some(self.renamed_names(value)),
                _ => None,
            };
            let Some(value) = renamed.map_or_else(|| self.node(value), |node| Ok(Some(node)))?
            else {
                continue;
            };
            let span = self.place.cloned().unwrap_or_else(|| key.span.clone());
            copied.push((
                Key {
                    span,
                    name: key.name.clone(),
                },
                value,
            ));
        }
        Ok(copied)
    }

    fn renamed_names(&self, node: &Node) -> Node {
        let rename = |item: &Node| {
            let id = item.as_str().unwrap_or_default();
            self.plain(item, self.ids.get(id).map_or(id, String::as_str))
        };
        match node.as_seq() {
            Some(items) => Node::new(
                self.span(node),
                Yaml::Seq(items.iter().map(rename).collect()),
            ),
            None => rename(node),
        }
    }

    fn plain(&self, node: &Node, text: &str) -> Node {
        Node::new(self.span(node), Yaml::String(text.to_owned()))
    }

    fn span(&self, node: &Node) -> Span {
        self.place.cloned().unwrap_or_else(|| node.span.clone())
    }

    fn error(&self, node: &Node, reason: String) -> Diagnostic {
        Diagnostic::error(Rule::PluginProperty, self.span(node), reason)
    }

    /// A text with values put into it.
    fn text(&self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        for region in regions(text) {
            match region {
                Region::Text(text) => out.push_str(text),
                Region::Code(code) => match alone(code) {
                    Some(name) => {
                        if let Some(node) = self.values.get(name) {
                            out.push_str(&in_text(node));
                        }
                    }
                    None => out.push_str(&self.code(code)?),
                },
            }
        }
        Ok(out)
    }

    /// An expression with literals for properties and new names for tasks.
    fn code(&self, code: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = code;
        while let Some(first) = rest.chars().next() {
            if matches!(first, '\'' | '"') {
                let end = rest[1..].find(first).map_or(rest.len(), |at| at + 2);
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            } else if first.is_ascii_alphabetic() || first == '_' {
                let end = word_end(rest);
                let (word, after) = rest.split_at(end);
                let taken = if out.ends_with('.') {
                    0
                } else {
                    self.path(word, after, &mut out)?
                };
                if taken == 0 {
                    out.push_str(word);
                }
                rest = &after[taken..];
            } else {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        Ok(out)
    }

    /// Writes what `props.x` or `outputs.task` becomes; how much of `after` belongs to it.
    fn path(&self, word: &str, after: &str, out: &mut String) -> Result<usize, String> {
        let dotted = after
            .strip_prefix('.')
            .map(|rest| &rest[..word_end(rest)])
            .unwrap_or_default();
        match word {
            "props" if !dotted.is_empty() => {
                match self.values.get(dotted) {
                    Some(node) => out.push_str(&literal(node, dotted)?),
                    None => out.push_str("null"),
                }
                Ok(dotted.len() + 1)
            }
            "outputs" | "tasks" => {
                let (id, taken) = if dotted.is_empty() {
                    bracketed(after)
                } else {
                    (dotted, dotted.len() + 1)
                };
                match self.ids.get(id) {
                    Some(new) => {
                        // Writing to a string cannot fail.
                        let _ = write!(out, "{word}['{new}']");
                        Ok(taken)
                    }
                    None => Ok(0),
                }
            }
            _ => Ok(0),
        }
    }
}

fn word_end(text: &str) -> usize {
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(text.len())
}

/// `['name']…`: the name and how much text that is.
fn bracketed(text: &str) -> (&str, usize) {
    let Some(inner) = text.strip_prefix('[') else {
        return ("", 0);
    };
    let Some(quote) = inner.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        return ("", 0);
    };
    match inner[1..].split_once(quote) {
        Some((name, rest)) if rest.starts_with(']') => (name, name.len() + 4),
        _ => ("", 0),
    }
}

/// The node with another value, keeping how it is written where the value is the same.
fn placed(node: &Node, value: Yaml) -> Node {
    let mut copy = node.clone();
    copy.value = value;
    copy
}

/// The property, if the text is `{{ props.x }}` and nothing else.
fn alone(text: &str) -> Option<&str> {
    let inner = text
        .trim()
        .strip_prefix("{{")?
        .strip_suffix("}}")?
        .trim()
        .trim_matches('-')
        .trim();
    let name = inner.strip_prefix("props.")?;
    (!name.is_empty() && word_end(name) == name.len()).then_some(name)
}

fn in_text(node: &Node) -> String {
    node.as_str()
        .map_or_else(|| node.to_json().to_string(), str::to_owned)
}

fn literal(node: &Node, name: &str) -> Result<String, String> {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    Ok(match &node.value {
        Yaml::String(text) if !has_template(text) => quoted(text),
        Yaml::String(text) => {
            let inner = text
                .trim()
                .strip_prefix("{{")
                .and_then(|rest| rest.strip_suffix("}}"));
            match inner.filter(|inner| !inner.contains("{{") && !inner.contains("{%")) {
                Some(inner) => format!("({})", inner.trim()),
                None => {
                    return Err(format!(
                        "`{name}` is a text with expressions in it and is used inside an expression; give a single `{{{{ … }}}}`"
                    ));
                }
            }
        }
        Yaml::Null => "null".to_owned(),
        Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_) => node.to_json().to_string(),
        Yaml::Seq(_) | Yaml::Map(_) => format!("fromJson({})", quoted(&node.to_json().to_string())),
    })
}

enum Region<'t> {
    Text(&'t str),
    /// With its braces.
    Code(&'t str),
}

/// A text cut at `{{ … }}` and `{% … %}`.
fn regions(text: &str) -> Vec<Region<'_>> {
    let mut regions = Vec::new();
    let mut rest = text;
    loop {
        let next = [("{{", "}}"), ("{%", "%}")]
            .iter()
            .filter_map(|(open, close)| Some((rest.find(open)?, *close)))
            .min();
        let Some((start, close)) = next else { break };
        let Some(length) = rest[start..].find(close) else {
            break;
        };
        let end = start + length + close.len();
        regions.push(Region::Text(&rest[..start]));
        regions.push(Region::Code(&rest[start..end]));
        rest = &rest[end..];
    }
    regions.push(Region::Text(rest));
    regions
}

/// Ids of the tasks in a value: mappings with `id` and `type`.
fn inner_ids(node: &Node, ids: &mut BTreeSet<String>) {
    for item in node.as_seq().unwrap_or_default() {
        inner_ids(item, ids);
    }
    let entries = node.as_map().unwrap_or_default();
    if let (Some(id), true) = (
        node.get("id").and_then(Node::as_str),
        node.get("type").is_some(),
    ) {
        ids.insert(id.to_owned());
    }
    for (_, value) in entries {
        inner_ids(value, ids);
    }
}

/// What is wrong with how a template uses properties.
pub(super) fn check_template(plugin: &Plugin) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if let Some((key, _)) = plugin.template.entry("id") {
        found.push(
            Diagnostic::error(
                Rule::PluginFile,
                key.span.clone(),
                "the task of a plugin has no `id` of its own",
            )
            .with_help("remove it: every use gives one"),
        );
    }
    check_node(plugin, &plugin.template, false, &mut found);
    found
}

fn check_node(plugin: &Plugin, node: &Node, code: bool, found: &mut Vec<Diagnostic>) {
    match &node.value {
        Yaml::Seq(items) => items
            .iter()
            .for_each(|item| check_node(plugin, item, code, found)),
        Yaml::Map(entries) => {
            for (key, value) in entries {
                check_node(plugin, value, CODE.contains(&key.name.as_str()), found);
            }
        }
        Yaml::String(text) if has_template(text) => check_text(plugin, node, text, code, found),
        _ => {}
    }
}

fn check_text(plugin: &Plugin, node: &Node, text: &str, code: bool, found: &mut Vec<Diagnostic>) {
    for region in regions(text) {
        let Region::Code(region) = region else {
            continue;
        };
        let mut rest = region;
        while let Some(at) = rest.find("props.") {
            let before = rest[..at].chars().next_back();
            rest = &rest[at + "props.".len()..];
            if before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')) {
                continue;
            }
            let name = &rest[..word_end(rest)];
            if code {
                found.push(
                    Diagnostic::error(
                        Rule::PluginScript,
                        node.span.clone(),
                        format!("`props.{name}` is put into the text of a script"),
                    )
                    .with_help("pass it with `env` and read it in the script"),
                );
            } else if !plugin
                .properties
                .iter()
                .any(|property| property.name == name)
            {
                let near = nearest(name, plugin.properties.iter().map(|p| p.name.as_str()));
                let help = near.map_or_else(
                    || "declare it under `properties`".to_owned(),
                    |near| format!("did you mean `props.{near}`?"),
                );
                found.push(
                    Diagnostic::error(
                        Rule::PluginProperty,
                        node.span.clone(),
                        format!("there is no property `{name}`"),
                    )
                    .with_help(help),
                );
            }
        }
    }
}
