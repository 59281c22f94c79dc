//! Plugins: task types written in YAML that expand to built-in tasks.
//!
//! A plugin has typed properties and a task template in which `{{ props.x }}` stands for them. They are
//! put in as values, not as text, before ordinary expressions are looked at.
//!
//! Invariant: a plugin that loads expands to a valid task for every use that satisfies its properties.

mod check;
mod expand;
mod substitute;

use std::collections::BTreeMap;

use super::catalogue::{self, PropInfo, PropType};
use super::diagnostic::{Diagnostic, Rule};
use super::limits::PLUGINS_MAX;
use super::parse::nearest;
use super::yaml::{self, Limits, Node, Yaml};

/// All plugins that flows may use.
#[derive(Debug, Clone, Default)]
pub struct Plugins {
    by_name: BTreeMap<String, Plugin>,
}

/// A task type written in YAML.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// What tasks write as `type`, such as `genomics.nextclade`.
    pub name: String,
    /// Markdown.
    pub description: String,
    /// In the order written.
    pub properties: Vec<Property>,
    template: Node,
}

/// A property of a plugin.
#[derive(Debug, Clone)]
pub struct Property {
    /// As tasks write it.
    pub name: String,
    /// What it may hold.
    pub ty: PropertyType,
    /// Whether a task must give it.
    pub required: bool,
    /// Taken when a task does not.
    pub default: Option<Node>,
    /// Markdown.
    pub description: String,
    /// All values it may have; empty means any.
    pub choices: Vec<String>,
    /// Least number, or least length of a text or list.
    pub min: Option<f64>,
    /// Largest number, or greatest length of a text or list.
    pub max: Option<f64>,
    /// Regular expression a text must match as a whole.
    pub pattern: Option<regex::Regex>,
}

/// Type of a plugin's property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropertyType {
    /// A text.
    String,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// `true` or `false`.
    Bool,
    /// Such as `PT15M`.
    Duration,
    /// A list.
    List,
    /// A map.
    Map,
    /// Anything.
    Any,
}

const TYPE_NAMES: &[&str] = &[
    "string", "int", "float", "bool", "duration", "list", "map", "any",
];

impl PropertyType {
    fn named(name: &str) -> Self {
        match name {
            "int" => Self::Int,
            "float" => Self::Float,
            "bool" => Self::Bool,
            "duration" => Self::Duration,
            "list" => Self::List,
            "map" => Self::Map,
            "any" => Self::Any,
            _ => Self::String,
        }
    }

    /// As plugins write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Duration => "duration",
            Self::List => "list",
            Self::Map => "map",
            Self::Any => "any",
        }
    }
}

/// What is wrong with a plugin file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginProblem {
    /// Name of the file, as it was given.
    pub file: String,
    /// What and where.
    pub diagnostic: Diagnostic,
}

/// What a plugin says of a property.
pub(super) const PROPERTY: &[PropInfo] = &[
    catalogue::prop("type", PropType::Enum(TYPE_NAMES), "What it may hold."),
    catalogue::prop("required", PropType::Bool, "Whether a task must give it."),
    catalogue::prop("default", PropType::Any, "Taken when a task does not."),
    catalogue::prop("description", PropType::String, "Markdown."),
    catalogue::prop(
        "enum",
        PropType::List(&PropType::String),
        "All values it may have.",
    ),
    catalogue::prop("min", PropType::Float, "Least number or length."),
    catalogue::prop("max", PropType::Float, "Largest number or length."),
    catalogue::prop(
        "pattern",
        PropType::String,
        "Regular expression for the whole text.",
    ),
];

impl Plugins {
    /// Reads plugin files, given as name and text. Those that are wrong are left out and reported.
    pub fn load<'f>(
        files: impl IntoIterator<Item = (&'f str, &'f str)>,
    ) -> (Self, Vec<PluginProblem>) {
        let mut plugins = Self::default();
        let mut problems = Vec::new();
        let mut sources: BTreeMap<String, (&str, &str)> = BTreeMap::new();
        for (file, source) in files {
            let mut found = Vec::new();
            let plugin = read(source, &mut found);
            if let Some(plugin) = plugin.filter(|_| found.is_empty()) {
                if plugins.by_name.len() >= PLUGINS_MAX {
                    found.push(Diagnostic::error(
                        Rule::Limit,
                        0..0,
                        format!("there are too many plugins; at most {PLUGINS_MAX}"),
                    ));
                } else if let Some((first, _)) = sources.get(&plugin.name) {
                    found.push(
                        Diagnostic::error(
                            Rule::DuplicateId,
                            0..0,
                            format!("the plugin `{}` is defined in `{first}` too", plugin.name),
                        )
                        .with_help("remove one of the two files"),
                    );
                } else {
                    sources.insert(plugin.name.clone(), (file, source));
                    plugins.by_name.insert(plugin.name.clone(), plugin);
                }
            }
            report(&mut problems, file, found);
        }
        // Plugins may use each other, so what they expand to is checked when all are known.
        for (name, (file, source)) in &sources {
            let Some(plugin) = plugins.by_name.get(name) else {
                continue;
            };
            let found = check::check(plugin, source, &plugins);
            if !found.is_empty() {
                report(&mut problems, file, found);
            }
        }
        let wrong: Vec<String> = sources
            .iter()
            .filter(|(_, (file, _))| problems.iter().any(|problem| problem.file == *file))
            .map(|(name, _)| name.clone())
            .collect();
        for name in wrong {
            plugins.by_name.remove(&name);
        }
        (plugins, problems)
    }

    /// The plugin that tasks write as `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Plugin> {
        self.by_name.get(name)
    }

    /// Names of all plugins, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// All plugins, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Plugin> {
        self.by_name.values()
    }
}

fn report(problems: &mut Vec<PluginProblem>, file: &str, found: Vec<Diagnostic>) {
    problems.extend(found.into_iter().map(|diagnostic| PluginProblem {
        file: file.to_owned(),
        diagnostic,
    }));
}

/// Properties of a plugin file.
const KEYS: &[&str] = &["type", "description", "properties", "task"];

/// Reads one file.
fn read(source: &str, found: &mut Vec<Diagnostic>) -> Option<Plugin> {
    let root = match yaml::parse(source, &Limits::default()) {
        Ok(root) => root,
        Err(errors) => {
            found.extend(errors);
            return None;
        }
    };
    let Some(entries) = root.as_map() else {
        found.push(
            Diagnostic::error(
                Rule::PluginFile,
                root.span.clone(),
                "the file is not a plugin",
            )
            .with_help("write `type`, `description`, `properties` and `task`"),
        );
        return None;
    };
    for (key, _) in entries {
        if !KEYS.contains(&key.name.as_str()) && !key.name.starts_with("x-") {
            let help = nearest(&key.name, KEYS.iter().copied()).map_or_else(
                || format!("a plugin has {}", KEYS.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            found.push(
                Diagnostic::error(
                    Rule::UnknownKey,
                    key.span.clone(),
                    format!("a plugin has no property `{}`", key.name),
                )
                .with_help(help),
            );
        }
    }
    let name = plugin_name(&root, found);
    let properties = properties(&root, found);
    let template = match root.get("task") {
        Some(task) if task.as_map().is_some() => Some(task.clone()),
        other => {
            let span = other.map_or(0..0, |node| node.span.clone());
            found.push(
                Diagnostic::error(
                    Rule::PluginFile,
                    span,
                    "a plugin has a `task`: what it expands to",
                )
                .with_help("add `task:` with the properties of a task, without an `id`"),
            );
            None
        }
    };
    let description = root
        .get("description")
        .and_then(Node::as_str)
        .unwrap_or_default()
        .to_owned();
    let plugin = Plugin {
        name: name?,
        description,
        properties,
        template: template?,
    };
    found.extend(substitute::check_template(&plugin));
    Some(plugin)
}

fn plugin_name(root: &Node, found: &mut Vec<Diagnostic>) -> Option<String> {
    let node = root.get("type");
    let Some(name) = node.and_then(Node::as_str) else {
        found.push(
            Diagnostic::error(
                Rule::PluginFile,
                node.map_or(0..0, |n| n.span.clone()),
                "a plugin has a `type`",
            )
            .with_help("write a name with a dot, such as `genomics.nextclade`"),
        );
        return None;
    };
    let span = node.map_or(0..0, |node| node.span.clone());
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
    };
    if name.split('.').count() < 2 || !name.split('.').all(part) || name.len() > 150 {
        found.push(
            Diagnostic::error(
                Rule::InvalidId,
                span,
                format!("`{name}` is not a name for a plugin"),
            )
            .with_help(
                "use lower-case letters, digits and `-`, with a dot, such as `genomics.nextclade`",
            ),
        );
        return None;
    }
    if name.starts_with("io.kestra.") || catalogue::task_type(name).is_some() {
        found.push(
            Diagnostic::error(
                Rule::ReservedName,
                span,
                format!("`{name}` is the name of a built-in type"),
            )
            .with_help("choose another name"),
        );
        return None;
    }
    Some(name.to_owned())
}

fn properties(root: &Node, found: &mut Vec<Diagnostic>) -> Vec<Property> {
    let Some(node) = root.get("properties").filter(|node| !node.is_null()) else {
        return Vec::new();
    };
    let Some(entries) = node.as_map() else {
        found.push(Diagnostic::error(
            Rule::WrongType,
            node.span.clone(),
            format!("`properties` is {}, not a mapping", node.kind_name()),
        ));
        return Vec::new();
    };
    let mut properties = Vec::new();
    for (key, node) in entries {
        let identifier = key.name.starts_with(|c: char| c.is_ascii_alphabetic())
            && key
                .name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !identifier {
            found.push(
                Diagnostic::error(
                    Rule::InvalidId,
                    key.span.clone(),
                    format!("`{}` is not a name for a property", key.name),
                )
                .with_help("use letters, digits and `_`, so that `props.name` can be written"),
            );
        } else if catalogue::find_prop(catalogue::TASK, &key.name).is_some() {
            found.push(
                Diagnostic::error(
                    Rule::ReservedName,
                    key.span.clone(),
                    format!("every task has a property `{}` already", key.name),
                )
                .with_help("choose another name"),
            );
        } else if let Some(property) = property(&key.name, node, found) {
            properties.push(property);
        }
    }
    properties
}

fn property(name: &str, node: &Node, found: &mut Vec<Diagnostic>) -> Option<Property> {
    let mut wrong = |span: &super::model::Span, message: String| {
        found.push(Diagnostic::error(
            Rule::PluginProperty,
            span.clone(),
            message,
        ));
    };
    let Some(entries) = node.as_map() else {
        wrong(
            &node.span,
            format!("property `{name}` is {}, not a mapping", node.kind_name()),
        );
        return None;
    };
    for (key, _) in entries {
        if catalogue::find_prop(PROPERTY, &key.name).is_none() && !key.name.starts_with("x-") {
            let names: Vec<_> = PROPERTY.iter().map(|info| info.name).collect();
            wrong(
                &key.span,
                format!(
                    "a property has no `{}`; it has {}",
                    key.name,
                    names.join(", ")
                ),
            );
        }
    }
    let ty = match node.get("type") {
        None => PropertyType::String,
        Some(ty) => {
            let Some(name) = ty.as_str().filter(|name| TYPE_NAMES.contains(name)) else {
                let names = TYPE_NAMES.join(", ");
                wrong(
                    &ty.span,
                    format!("the type of `{name}` is not one of {names}"),
                );
                return None;
            };
            PropertyType::named(name)
        }
    };
    let number = |key: &str| match node.get(key).map(|node| &node.value) {
        Some(Yaml::Int(number)) => number.to_string().parse::<f64>().ok(),
        Some(Yaml::Float(number)) => Some(*number),
        _ => None,
    };
    let pattern = match node.get("pattern") {
        None => None,
        Some(text) => {
            let pattern = regex::Regex::new(&format!("^(?:{})$", text.as_str().unwrap_or("(")));
            if pattern.is_err() {
                wrong(
                    &text.span,
                    format!("the pattern of `{name}` is not a regular expression"),
                );
            }
            pattern.ok()
        }
    };
    let choices = node.get("enum").and_then(Node::as_seq).unwrap_or_default();
    let property = Property {
        name: name.to_owned(),
        ty,
        required: node
            .get("required")
            .is_some_and(|node| node.value == Yaml::Bool(true)),
        default: node.get("default").filter(|node| !node.is_null()).cloned(),
        description: node
            .get("description")
            .and_then(Node::as_str)
            .unwrap_or_default()
            .to_owned(),
        choices: choices
            .iter()
            .filter_map(Node::as_str)
            .map(str::to_owned)
            .collect(),
        min: number("min"),
        max: number("max"),
        pattern,
    };
    if let Some(default) = &property.default {
        if property.required {
            wrong(
                &default.span,
                format!("`{name}` is required and has a default: one of the two is too many"),
            );
        } else if let Err(reason) = property.check(default) {
            wrong(&default.span, format!("the default of `{name}` {reason}"));
        }
    }
    Some(property)
}

#[cfg(test)]
mod tests;
