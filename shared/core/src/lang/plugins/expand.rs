//! One use of a plugin becomes the task it stands for.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another shape is wrong, whichever shape that is"
)]

use std::collections::BTreeMap;

use super::super::catalogue::{TASK, find_prop};
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::model::Span;
use super::super::parse::nearest;
use super::super::yaml::{Key, Node, Yaml};
use super::Plugin;
use super::substitute::Substitution;

impl Plugin {
    /// The task that a use stands for. `entries` are what the use says, `place` is where; `id` is that of
    /// the task, with which the ids of tasks inside a group begin.
    ///
    /// Properties of all tasks (`dependsOn`, `when`, `timeout`, …) that the use gives win over those of
    /// the template.
    pub(in super::super) fn expand(
        &self,
        entries: &[(&Key, &Node)],
        place: &Span,
        id: &str,
    ) -> Result<Node, Vec<Diagnostic>> {
        self.expand_at(entries, Some(place), id)
    }

    /// The same, keeping the places of the template: to check the plugin's own file.
    pub(super) fn expand_in_place(
        &self,
        entries: &[(&Key, &Node)],
        id: &str,
    ) -> Result<Node, Vec<Diagnostic>> {
        self.expand_at(entries, None, id)
    }

    fn expand_at(
        &self,
        entries: &[(&Key, &Node)],
        place: Option<&Span>,
        id: &str,
    ) -> Result<Node, Vec<Diagnostic>> {
        let whole = place.cloned().unwrap_or_else(|| self.template.span.clone());
        let values = self.values(entries, &whole)?;
        let substitution = Substitution::new(&self.template, &values, place, id);
        let expanded = substitution
            .node(&self.template)?
            .unwrap_or_else(|| Node::new(whole.clone(), Yaml::Null));
        let Yaml::Map(mut task) = expanded.value else {
            return Err(vec![Diagnostic::error(
                Rule::PluginFile,
                whole,
                "the plugin's `task` is not a mapping",
            )]);
        };
        task.retain(|(key, _)| key.name != "id");
        for (key, node) in entries {
            if key.name == "type" || find_prop(TASK, &key.name).is_none() {
                continue;
            }
            task.retain(|(other, _)| {
                other.name != key.name && find_prop(TASK, &other.name) != find_prop(TASK, &key.name)
            });
            task.push(((*key).clone(), (*node).clone()));
        }
        if !task.iter().any(|(key, _)| key.name == "id") {
            let key = Key {
                span: whole.clone(),
                name: "id".to_owned(),
            };
            task.insert(
                0,
                (key, Node::new(whole.clone(), Yaml::String(id.to_owned()))),
            );
        }
        Ok(Node::new(whole, Yaml::Map(task)))
    }

    /// The value of every property: given, default, or nothing.
    fn values(
        &self,
        entries: &[(&Key, &Node)],
        place: &Span,
    ) -> Result<BTreeMap<String, Node>, Vec<Diagnostic>> {
        let mut found = Vec::new();
        let mut values = BTreeMap::new();
        for (key, node) in entries {
            if find_prop(TASK, &key.name).is_some() || key.name.starts_with("x-") {
                continue;
            }
            let Some(property) = self.properties.iter().find(|p| p.name == key.name) else {
                found.push(self.unknown(key));
                continue;
            };
            if node.is_null() {
                continue;
            }
            if let Err(reason) = property.check(node) {
                found.push(Diagnostic::error(
                    Rule::PluginProperty,
                    node.span.clone(),
                    format!("`{}` {reason}", key.name),
                ));
            }
            values.insert(key.name.clone(), (*node).clone());
        }
        for property in &self.properties {
            if values.contains_key(&property.name) {
                continue;
            }
            match &property.default {
                Some(default) => {
                    values.insert(property.name.clone(), moved(default, place));
                }
                None if property.required => found.push(
                    Diagnostic::error(
                        Rule::MissingProperty,
                        place.clone(),
                        format!("`{}` needs the property `{}`", self.name, property.name),
                    )
                    .with_help(format!(
                        "add `{}: …`, of type `{}`",
                        property.name,
                        property.ty.name()
                    )),
                ),
                None => {}
            }
        }
        if found.is_empty() {
            Ok(values)
        } else {
            Err(found)
        }
    }

    fn unknown(&self, key: &Key) -> Diagnostic {
        let own = self
            .properties
            .iter()
            .map(|property| property.name.as_str());
        let help = nearest(&key.name, own.chain(TASK.iter().map(|info| info.name))).map_or_else(
            || {
                let names: Vec<_> = self.properties.iter().map(|p| p.name.as_str()).collect();
                if names.is_empty() {
                    "it has none of its own".to_owned()
                } else {
                    format!("it has {}", names.join(", "))
                }
            },
            |near| format!("did you mean `{near}`?"),
        );
        Diagnostic::error(
            Rule::UnknownKey,
            key.span.clone(),
            format!("plugin `{}` has no property `{}`", self.name, key.name),
        )
        .with_help(help)
    }
}

/// A copy whose every place is `place`.
fn moved(node: &Node, place: &Span) -> Node {
    let value = match &node.value {
        Yaml::Seq(items) => Yaml::Seq(items.iter().map(|item| moved(item, place)).collect()),
        Yaml::Map(entries) => Yaml::Map(
            entries
                .iter()
                .map(|(key, value)| {
                    (
                        Key {
                            span: place.clone(),
                            name: key.name.clone(),
                        },
                        moved(value, place),
                    )
                })
                .collect(),
        ),
        scalar => scalar.clone(),
    };
    Node::new(place.clone(), value)
}
