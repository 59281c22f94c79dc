//! The entries of a mapping under their canonical names.

use super::super::catalogue::{PropInfo, Support, find_prop};
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::model::Span;
use super::super::yaml::{Key, Node, Yaml};
use super::Reader;

/// One entry whose key is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'f> {
    pub(super) info: &'static PropInfo,
    pub(super) key: &'f Key,
    pub(super) value: &'f Node,
}

/// The supported entries of a mapping, in the order written.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields<'f> {
    pub(super) all: Vec<Field<'f>>,
}

impl<'f> Fields<'f> {
    /// The entry with this canonical name.
    pub(super) fn get(&self, name: &str) -> Option<Field<'f>> {
        self.all
            .iter()
            .find(|field| field.info.name == name)
            .copied()
    }

    /// The value with this canonical name.
    pub(super) fn value(&self, name: &str) -> Option<&'f Node> {
        self.get(name).map(|field| field.value)
    }
}

impl Reader<'_> {
    /// The entries of `node`, checked against `tables` (the first that knows a key decides): unknown
    /// keys, spellings of the same thing, unsupported and missing properties are reported. `what` names
    /// the mapping in messages, `place` is where something missing is reported.
    pub(super) fn fields<'f>(
        &mut self,
        node: &'f Node,
        tables: &[&'static [PropInfo]],
        what: &str,
        place: &Span,
    ) -> Option<Fields<'f>> {
        let Some(entries) = node.as_map() else {
            self.wrong_type(node, what, "a mapping");
            return None;
        };
        let entries: Vec<_> = entries.iter().map(|(key, value)| (key, value)).collect();
        Some(self.fields_of(&entries, tables, what, place))
    }

    /// As [`Self::fields`], for entries that were put together.
    pub(super) fn fields_of<'f>(
        &mut self,
        entries: &[(&'f Key, &'f Node)],
        tables: &[&'static [PropInfo]],
        what: &str,
        place: &Span,
    ) -> Fields<'f> {
        let mut fields = Fields::default();
        for &(key, value) in entries {
            if key.name.starts_with("x-") {
                continue;
            }
            let Some(info) = tables.iter().find_map(|table| find_prop(table, &key.name)) else {
                self.unknown_key(key, tables, what);
                continue;
            };
            match info.support {
                Support::Rejects(..) if inert(value) => {}
                Support::Supported => self.add(&mut fields, Field { info, key, value }),
                Support::Warns(reason) => self.push(Diagnostic::warning(
                    Rule::NoEffect,
                    key.span.clone(),
                    format!("`{}` has no effect: {reason}", key.name),
                )),
                Support::Rejects(reason, fix) => self.push(
                    Diagnostic::error(
                        Rule::NotSupported,
                        key.span.clone(),
                        format!("`{}` is not supported: {reason}", key.name),
                    )
                    .with_help(fix),
                ),
            }
        }
        self.missing(&fields, tables, what, place);
        fields
    }

    fn missing(
        &mut self,
        fields: &Fields<'_>,
        tables: &[&'static [PropInfo]],
        what: &str,
        place: &Span,
    ) {
        for info in tables
            .iter()
            .copied()
            .flatten()
            .filter(|info| info.required)
        {
            if fields.get(info.name).is_none() {
                let message = format!("{what} has no `{}`", info.name);
                self.push(
                    Diagnostic::error(Rule::MissingProperty, place.clone(), message)
                        .with_help(format!("add `{}: {}`", info.name, info.example_yaml())),
                );
            }
        }
    }

    /// Adds a field; of two spellings of the same property, equal values are one.
    fn add<'f>(&mut self, fields: &mut Fields<'f>, field: Field<'f>) {
        let Some(first) = fields.get(field.info.name) else {
            fields.all.push(field);
            return;
        };
        if first.value.to_json() != field.value.to_json() {
            let message = format!(
                "`{}` and `{}` mean the same and differ",
                first.key.name, field.key.name
            );
            self.push(
                Diagnostic::error(Rule::SameTwice, field.key.span.clone(), message)
                    .with_label(first.key.span.clone(), "the other is here")
                    .with_help(format!("keep one, best `{}`", field.info.name)),
            );
        }
    }

    fn unknown_key(&mut self, key: &Key, tables: &[&'static [PropInfo]], what: &str) {
        let names = tables
            .iter()
            .copied()
            .flatten()
            .filter(|info| info.support == Support::Supported)
            .flat_map(|info| std::iter::once(info.name).chain(info.aliases.iter().copied()));
        let help = nearest(&key.name, names).map_or_else(
            || "remove it, or begin its name with `x-` to keep a note".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        self.push(
            Diagnostic::error(
                Rule::UnknownKey,
                key.span.clone(),
                format!("{what} has no property `{}`", key.name),
            )
            .with_help(help),
        );
    }

    pub(super) fn wrong_type(&mut self, node: &Node, what: &str, expected: &str) {
        self.push(Diagnostic::error(
            Rule::WrongType,
            node.span.clone(),
            format!("{what} is {}, not {expected}", node.kind_name()),
        ));
    }
}

/// A rejected property that asks for nothing, such as `privileged: false`, needs no error.
fn inert(value: &Node) -> bool {
    match &value.value {
        Yaml::Null | Yaml::Bool(false) => true,
        Yaml::Seq(items) => items.is_empty(),
        Yaml::Map(entries) => entries.is_empty(),
        Yaml::Int(_) | Yaml::Float(_) | Yaml::Bool(true) | Yaml::String(_) => false,
    }
}

/// The candidate most like `name`, if one is like enough to be meant.
pub(in super::super) fn nearest<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let lower = name.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let other = candidate.to_ascii_lowercase();
            (strsim::damerau_levenshtein(&lower, &other), candidate)
        })
        .filter(|(distance, candidate)| {
            *distance <= (1 + name.chars().count().max(candidate.chars().count()) / 5).min(3)
                && *distance < name.chars().count()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
