//! The type of a task: built in, a plugin, or not here.

use super::super::catalogue::{self, Shape, elsewhere};
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::limits::PLUGIN_DEPTH_MAX;
use super::super::model::{Span, Task};
use super::super::yaml::{Key, Node};
use super::Reader;
use super::convert::short;
use super::fields::nearest;
use super::tasks::{LAUNCHED_ONLY, Parent, named};

impl Reader<'_> {
    /// Finds the type and reads the rest of the task with it.
    pub(super) fn typed_task(
        &mut self,
        item: &Node,
        entries: Vec<(&Key, &Node)>,
        id: String,
        place: &Span,
        parent: Parent<'_>,
    ) -> Option<Task> {
        let Some((_, type_node)) = entries.iter().find(|(key, _)| key.name == "type").copied()
        else {
            self.push(
                Diagnostic::error(
                    Rule::MissingProperty,
                    place.clone(),
                    format!("{} has no `type`", named(&id)),
                )
                .with_help("add a type, such as `type: shell`"),
            );
            return None;
        };
        let name = self.text(type_node, false, "`type`")?;
        let defaults = std::rc::Rc::clone(&self.defaults);
        let mut entries: Vec<(&Key, &Node)> = entries;
        if let Some(info) = catalogue::task_type(&name) {
            let launched = matches!(info.shape, Shape::BuiltIn | Shape::Script);
            let without: &[&str] = if launched { &[] } else { LAUNCHED_ONLY };
            defaults.merge(&mut entries, &name, info, without);
            return Some(self.known_task(item, &entries, info, id, place, parent));
        }
        if self.plugins.get(&name).is_some() {
            defaults.merge_named(&mut entries, &name);
            return self.plugin_task(&entries, type_node, &name, id, parent);
        }
        self.unknown_type(type_node, &name);
        None
    }

    fn unknown_type(&mut self, node: &Node, name: &str) {
        if catalogue::trigger_type(name).is_some() {
            self.push(
                Diagnostic::error(
                    Rule::UnknownType,
                    node.span.clone(),
                    format!("`{}` is a trigger, not a task", short(name)),
                )
                .with_help("write it under `triggers`"),
            );
            return;
        }
        let names = catalogue::task_types()
            .flat_map(|info| std::iter::once(info.name).chain(info.aliases.iter().copied()))
            .chain(self.plugins.names());
        let near = nearest(name, names);
        let known = elsewhere(name).filter(|known| near.is_none() || !known.prefix.ends_with('.'));
        if let Some(known) = known {
            self.push(
                Diagnostic::error(
                    Rule::NoRunner,
                    node.span.clone(),
                    format!("`{}` is a type of Kestra that cannot run here", short(name)),
                )
                .with_help(known.instead),
            );
            return;
        }
        let help = near.map_or_else(
            || "types are short names such as `shell`, Kestra's class names, or plugins; see `operon schema`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        self.push(
            Diagnostic::error(
                Rule::UnknownType,
                node.span.clone(),
                format!("there is no task type `{}`", short(name)),
            )
            .with_help(help),
        );
    }

    /// Expands a plugin and reads what it became.
    fn plugin_task(
        &mut self,
        entries: &[(&Key, &Node)],
        type_node: &Node,
        name: &str,
        id: String,
        parent: Parent<'_>,
    ) -> Option<Task> {
        if self.expanding.len() >= PLUGIN_DEPTH_MAX {
            self.limit(
                type_node,
                "plugins expand to plugins too deeply",
                PLUGIN_DEPTH_MAX,
            );
            return None;
        }
        let plugins = self.plugins;
        let plugin = plugins.get(name)?;
        let expansion = match plugin.expand(entries, &type_node.span, &id) {
            Ok(node) => node,
            Err(found) => {
                for diagnostic in found {
                    self.push(diagnostic);
                }
                return None;
            }
        };
        self.expanding
            .push((name.to_owned(), type_node.span.clone()));
        let uses = self.uses.len();
        let entries: Vec<(&Key, &Node)> = expansion
            .as_map()
            .unwrap_or_default()
            .iter()
            .map(|(k, v)| (k, v))
            .collect();
        let task = self.typed_task(&expansion, entries, id, &type_node.span, parent);
        debug_assert!(self.uses.len() >= uses, "uses are only added");
        self.expanding.pop();
        task.map(|task| Task {
            plugin: Some(name.to_owned()),
            span: type_node.span.clone(),
            ..task
        })
    }
}
