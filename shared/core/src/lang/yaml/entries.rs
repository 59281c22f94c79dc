//! Entries of a mapping while it is read: duplicates and merge keys.

use std::collections::HashMap;

use super::super::model::Span;
use super::build::Fatal;
use super::{Key, Node, Yaml, advice};

/// A mapping that is being read.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) list: Vec<Entry>,
    /// Where each key is written first.
    pub(super) first: HashMap<String, Span>,
}

pub(super) enum Entry {
    Own(Key, Node),
    Merged(Vec<(Key, Node)>),
}

impl Entries {
    /// Own entries win over merged ones, earlier merged ones over later ones.
    pub(super) fn resolve(self) -> Vec<(Key, Node)> {
        let Self { list, mut first } = self;
        let mut resolved = Vec::with_capacity(list.len());
        for entry in list {
            match entry {
                Entry::Own(key, value) => resolved.push((key, value)),
                Entry::Merged(entries) => {
                    for (key, value) in entries {
                        if first.insert(key.name.clone(), key.span.clone()).is_none() {
                            resolved.push((key, value));
                        }
                    }
                }
            }
        }
        resolved
    }
}

/// The entries that `<<: value` stands for.
pub(super) fn merged(value: Node) -> Result<Vec<(Key, Node)>, Fatal> {
    let span = value.span.clone();
    match value.value {
        Yaml::Map(entries) => Ok(entries),
        Yaml::Seq(items) => {
            let mut all = Vec::new();
            for item in items {
                match item.value {
                    Yaml::Map(entries) => all.extend(entries),
                    Yaml::Null
                    | Yaml::Bool(_)
                    | Yaml::Int(_)
                    | Yaml::Float(_)
                    | Yaml::String(_)
                    | Yaml::Seq(_) => return Err(advice::not_mergeable(&item).into()),
                }
            }
            Ok(all)
        }
        value @ (Yaml::Null | Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_) | Yaml::String(_)) => {
            Err(advice::not_mergeable(&Node::new(span, value)).into())
        }
    }
}
