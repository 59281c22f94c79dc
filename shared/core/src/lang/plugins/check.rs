//! Values against a plugin's properties, and a plugin as a whole.

use super::super::amount::duration_ms;
use super::super::diagnostic::{Diagnostic, Severity};
use super::super::parse::{check_task, has_template};
use super::super::yaml::{Key, Node, Yaml};
use super::{Plugin, Plugins, Property, PropertyType};

impl Property {
    /// What is wrong with a value, as the end of a sentence. Templates are typed when they are rendered.
    pub(super) fn check(&self, node: &Node) -> Result<(), String> {
        if node.as_str().is_some_and(has_template) {
            return Ok(());
        }
        let amount = match (self.ty, &node.value) {
            (PropertyType::String, Yaml::String(text)) => Some(length(text.chars().count())),
            (PropertyType::Int | PropertyType::Float, Yaml::Int(number)) => {
                number.to_string().parse().ok()
            }
            (PropertyType::Float, Yaml::Float(number)) => Some(*number),
            (PropertyType::Duration, Yaml::String(text)) => {
                duration_ms(text).map_err(|error| format!("is wrong: {error}"))?;
                None
            }
            (PropertyType::List, Yaml::Seq(items)) => Some(length(items.len())),
            (PropertyType::String, Yaml::Int(_) | Yaml::Float(_))
            | (PropertyType::String | PropertyType::Bool, Yaml::Bool(_))
            | (PropertyType::Map, Yaml::Map(_))
            | (PropertyType::Any, _)
            | (PropertyType::Duration, Yaml::Int(_)) => None,
            _ => {
                return Err(format!(
                    "is {}, not of type `{}`",
                    node.kind_name(),
                    self.ty.name()
                ));
            }
        };
        if let Some(text) = node.as_str() {
            if !self.choices.is_empty() && !self.choices.iter().any(|choice| choice == text) {
                return Err(format!("is not one of {}", self.choices.join(", ")));
            }
            if let Some(pattern) = self
                .pattern
                .as_ref()
                .filter(|pattern| !pattern.is_match(text))
            {
                return Err(format!("does not match `{pattern}`"));
            }
        }
        match (amount, self.min, self.max) {
            (Some(amount), Some(min), _) if amount < min => Err(format!("is below {min}")),
            (Some(amount), _, Some(max)) if amount > max => Err(format!("is above {max}")),
            _ => Ok(()),
        }
    }

    /// A value that satisfies the property, to try the plugin with.
    fn sample(&self) -> Node {
        if let Some(choice) = self.choices.first() {
            return Node::new(0..0, Yaml::String(choice.clone()));
        }
        if let Some(default) = &self.default {
            return default.clone();
        }
        let plain = self
            .pattern
            .as_ref()
            .is_none_or(|pattern| pattern.is_match("sample"))
            && self.min.is_none_or(|min| min <= 6.0)
            && self.max.is_none_or(|max| max >= 6.0);
        let value = match self.ty {
            PropertyType::String if plain => Yaml::String("sample".to_owned()),
            // A template satisfies every pattern and range.
            PropertyType::String | PropertyType::Any => {
                Yaml::String("{{ execution.id }}".to_owned())
            }
            PropertyType::Int => Yaml::Int(
                self.min
                    .map_or(1, |min| format!("{min:.0}").parse().unwrap_or(1)),
            ),
            PropertyType::Float => Yaml::Float(self.min.unwrap_or(1.0)),
            PropertyType::Bool => Yaml::Bool(true),
            PropertyType::Duration => Yaml::String("PT15M".to_owned()),
            PropertyType::List => Yaml::Seq(vec![Node::new(0..0, Yaml::String("item".to_owned()))]),
            PropertyType::Map => Yaml::Map(Vec::new()),
        };
        Node::new(0..0, value)
    }
}

fn length(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// What is wrong with what a plugin expands to: with the defaults alone, and with every property given.
pub(super) fn check(plugin: &Plugin, source: &str, plugins: &Plugins) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    for all in [false, true] {
        let given: Vec<(Key, Node)> = plugin
            .properties
            .iter()
            .filter(|property| property.required || all)
            .map(|property| {
                (
                    Key {
                        span: 0..0,
                        name: property.name.clone(),
                    },
                    property.sample(),
                )
            })
            .collect();
        let entries: Vec<(&Key, &Node)> = given.iter().map(|(key, node)| (key, node)).collect();
        match plugin.expand_in_place(&entries, "sample") {
            Ok(task) => {
                let diagnostics = check_task(source, &task, plugins).into_sorted();
                found.extend(
                    diagnostics
                        .into_iter()
                        .filter(|d| d.severity == Severity::Error),
                );
            }
            Err(errors) => found.extend(errors),
        }
        if !found.is_empty() {
            break;
        }
    }
    found
}
