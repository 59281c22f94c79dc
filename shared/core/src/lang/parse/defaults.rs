//! `pluginDefaults`: values for tasks and triggers by type.

use std::rc::Rc;

use super::super::catalogue::{self, FLOW, PropType, TASK, TypeInfo, find_prop};
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::limits::PLUGIN_DEFAULTS_MAX;
use super::super::yaml::{Key, Node, Yaml};
use super::Reader;
use super::fields::Fields;

/// The defaults of a flow, in the order written.
#[derive(Debug, Clone, Default)]
pub(super) struct Defaults {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    prefix: String,
    forced: bool,
    values: Vec<(Key, Node)>,
}

impl Defaults {
    /// Adds the defaults of a type to the entries of a task or trigger: the longest matching type wins,
    /// and what the task says wins over all but those that are forced. Spellings of one property count as
    /// one. What a type that is only matched by a prefix does not have is left out, and `without` too.
    pub(super) fn merge<'n>(
        &'n self,
        entries: &mut Vec<(&'n Key, &'n Node)>,
        written: &str,
        info: &TypeInfo,
        without: &[&str],
    ) {
        let canonical = |key: &str| {
            find_prop(info.props, key)
                .or_else(|| find_prop(TASK, key))
                .map(|info| info.name)
        };
        for entry in self.matching(|prefix| {
            prefix == written || is_prefix(prefix, info.name) || info.aliases.contains(&prefix)
        }) {
            let exact = entry.prefix == written || entry.prefix == info.name;
            for (key, value) in &entry.values {
                let name = canonical(&key.name);
                if exact || name.is_some_and(|name| !without.contains(&name)) {
                    let same = |other: &str| {
                        other == key.name || name.is_some() && canonical(other) == name
                    };
                    add(entries, entry.forced, (key, value), same);
                }
            }
        }
    }

    /// The same for a plugin.
    pub(super) fn merge_named<'n>(&'n self, entries: &mut Vec<(&'n Key, &'n Node)>, name: &str) {
        for entry in self.matching(|prefix| is_prefix(prefix, name)) {
            for (key, value) in &entry.values {
                add(entries, entry.forced, (key, value), |other| {
                    other == key.name
                });
            }
        }
    }

    /// The entries for a type, the most specific first.
    fn matching(&self, fits: impl Fn(&str) -> bool) -> Vec<&Entry> {
        let mut matching: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|entry| fits(&entry.prefix))
            .collect();
        matching.sort_by_key(|entry| std::cmp::Reverse(entry.prefix.len()));
        matching
    }
}

fn add<'n>(
    entries: &mut Vec<(&'n Key, &'n Node)>,
    forced: bool,
    default: (&'n Key, &'n Node),
    same: impl Fn(&str) -> bool,
) {
    match entries.iter_mut().find(|(key, _)| same(&key.name)) {
        None => entries.push(default),
        Some(entry) if forced => *entry = default,
        Some(_) => {}
    }
}

fn is_prefix(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || prefix.ends_with('.'))
}

impl Reader<'_> {
    /// Reads `pluginDefaults`. The values are checked where they are used.
    pub(super) fn defaults(&mut self, fields: &Fields<'_>) {
        let Some(node) = fields.value("pluginDefaults") else {
            return;
        };
        let Some(items) = node.as_seq() else {
            self.wrong_type(node, "`pluginDefaults`", "a list");
            return;
        };
        if items.len() > PLUGIN_DEFAULTS_MAX {
            self.limit(
                node,
                &format!("`pluginDefaults` has {} items", items.len()),
                PLUGIN_DEFAULTS_MAX,
            );
            return;
        }
        for item in items {
            self.default_entry(item);
        }
    }

    fn default_entry(&mut self, item: &Node) {
        let table = find_prop(FLOW, "pluginDefaults").map(|info| info.ty);
        let Some(PropType::List(PropType::Object(table))) = table else {
            return;
        };
        let Some(fields) = self.fields(item, &[*table], "a default", &item.span) else {
            return;
        };
        let (Some(type_node), Some(values)) = (fields.value("type"), fields.value("values")) else {
            return;
        };
        let Some(prefix) = self.text(type_node, false, "`type`") else {
            return;
        };
        let Yaml::Map(values) = &values.value else {
            self.wrong_type(values, "`values`", "a mapping");
            return;
        };
        let known = catalogue::task_types()
            .chain(catalogue::trigger_types())
            .any(|info| {
                is_prefix(&prefix, info.name)
                    || info.aliases.iter().any(|alias| is_prefix(&prefix, alias))
            })
            || self.plugins.names().any(|name| is_prefix(&prefix, name));
        if !known {
            self.push(
                Diagnostic::warning(
                    Rule::NoEffect,
                    type_node.span.clone(),
                    format!("no type begins with `{prefix}`, so these defaults have no effect"),
                )
                .with_help("write a type as in a task, or the beginning of a class name"),
            );
        }
        let forced = self.flag(&fields, "forced", false);
        Rc::make_mut(&mut self.defaults).entries.push(Entry {
            prefix,
            forced,
            values: values.clone(),
        });
    }
}
