//! Conditions, amounts, names and labels.

use super::super::amount::{AmountError, cpu_milli, duration_ms, size_bytes};
use super::super::catalogue::PropType;
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::limits::{LABEL_BYTES_MAX, LABELS_MAX};
use super::super::model::Dynamic;
use super::super::yaml::{Node, Yaml};
use super::Reader;
use super::convert::{scalar_text, short};
use super::fields::nearest;
use super::templates::has_template;

impl Reader<'_> {
    /// A condition: `{{ … }}`, `true` or `false`.
    pub(super) fn condition(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.value {
            Yaml::Bool(value) => Some(value.to_string()),
            Yaml::String(text) if matches!(text.as_str(), "true" | "false") => Some(text.clone()),
            Yaml::String(text) if has_template(text) => self.text(node, true, what),
            Yaml::String(text) => {
                self.push(
                    Diagnostic::error(
                        Rule::ConstantCondition,
                        node.span.clone(),
                        format!("{what} is the text `{}`, which is always true", short(text)),
                    )
                    .with_help(format!("write `\"{{{{ {} }}}}\"`", short(text))),
                );
                None
            }
            Yaml::Null | Yaml::Int(_) | Yaml::Float(_) | Yaml::Seq(_) | Yaml::Map(_) => {
                self.wrong_type(node, what, &PropType::Condition.describe());
                None
            }
        }
    }

    /// A duration in milliseconds, or a template that gives one.
    pub(super) fn duration(
        &mut self,
        node: &Node,
        dynamic: bool,
        what: &str,
    ) -> Option<Dynamic<u64>> {
        let text = match &node.value {
            Yaml::String(text) if has_template(text) => {
                return self.text(node, dynamic, what).map(Dynamic::Template);
            }
            Yaml::String(text) => text.clone(),
            Yaml::Int(_) | Yaml::Float(_) => scalar_text(node, self.source),
            Yaml::Null | Yaml::Bool(_) | Yaml::Seq(_) | Yaml::Map(_) => {
                self.wrong_type(node, what, &PropType::Duration.describe());
                return None;
            }
        };
        match duration_ms(&text) {
            Ok(ms) => Some(Dynamic::Constant(ms)),
            Err(error) => {
                self.push(Diagnostic::error(
                    Rule::InvalidDuration,
                    node.span.clone(),
                    format!("{what}: {error}"),
                ));
                None
            }
        }
    }

    /// A duration that is known when the flow is compiled.
    pub(super) fn constant_duration(&mut self, node: &Node, what: &str) -> Option<u64> {
        match self.duration(node, false, what)? {
            Dynamic::Constant(ms) => Some(ms),
            Dynamic::Template(_) => None,
        }
    }

    /// Bytes of a size; a plain number counts `unit` bytes.
    pub(super) fn size(&mut self, node: &Node, unit: u64, what: &str) -> Option<u64> {
        self.amount(node, what, PropType::Size, |text| size_bytes(text, unit))
    }

    /// Thousandths of a CPU.
    pub(super) fn cpu(&mut self, node: &Node, what: &str) -> Option<u32> {
        self.amount(node, what, PropType::Cpu, cpu_milli)
    }

    fn amount<T>(
        &mut self,
        node: &Node,
        what: &str,
        ty: PropType,
        read: impl Fn(&str) -> Result<T, AmountError>,
    ) -> Option<T> {
        let text = match &node.value {
            Yaml::String(text) => text.clone(),
            Yaml::Int(_) | Yaml::Float(_) => scalar_text(node, self.source),
            Yaml::Null | Yaml::Bool(_) | Yaml::Seq(_) | Yaml::Map(_) => {
                self.wrong_type(node, what, &ty.describe());
                return None;
            }
        };
        match read(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.push(Diagnostic::error(
                    Rule::InvalidValue,
                    node.span.clone(),
                    format!("{what}: {error}"),
                ));
                None
            }
        }
    }

    /// One of some names, whatever its case.
    pub(super) fn one_of(
        &mut self,
        node: &Node,
        names: &'static [&'static str],
        what: &str,
    ) -> Option<&'static str> {
        let Some(text) = node.as_str() else {
            self.wrong_type(node, what, &PropType::Enum(names).describe());
            return None;
        };
        if let Some(name) = names.iter().find(|name| name.eq_ignore_ascii_case(text)) {
            return Some(name);
        }
        let help = nearest(text, names.iter().copied()).map_or_else(
            || format!("write {}", PropType::Enum(names).describe()),
            |near| format!("did you mean `{near}`?"),
        );
        self.push(
            Diagnostic::error(
                Rule::InvalidValue,
                node.span.clone(),
                format!("{what} cannot be `{}`", short(text)),
            )
            .with_help(help),
        );
        None
    }

    /// A map of labels.
    pub(super) fn labels(
        &mut self,
        node: &Node,
        dynamic: bool,
        what: &str,
    ) -> Option<std::collections::BTreeMap<String, String>> {
        let pairs: Vec<(&str, &Node, &Node)> = match &node.value {
            Yaml::Map(entries) => entries
                .iter()
                .map(|(key, value)| (key.name.as_str(), value, value))
                .collect(),
            Yaml::Seq(items) => {
                let mut pairs = Vec::new();
                for item in items {
                    match (item.get("key").and_then(Node::as_str), item.get("value")) {
                        (Some(key), Some(value)) => pairs.push((key, item, value)),
                        _ => self.wrong_type(
                            item,
                            &format!("an item of {what}"),
                            "`{key: …, value: …}`",
                        ),
                    }
                }
                pairs
            }
            Yaml::Null | Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_) | Yaml::String(_) => {
                self.wrong_type(node, what, &PropType::Labels.describe());
                return None;
            }
        };
        if pairs.len() > LABELS_MAX {
            self.limit(
                node,
                &format!("{what} has {} labels", pairs.len()),
                LABELS_MAX,
            );
        }
        let mut labels = std::collections::BTreeMap::new();
        for (key, place, value) in pairs {
            let Some(text) = self.text(value, dynamic, &format!("label `{}`", short(key))) else {
                continue;
            };
            if key.len() > LABEL_BYTES_MAX || text.len() > LABEL_BYTES_MAX && !has_template(&text) {
                self.limit(
                    place,
                    &format!("label `{}` is long", short(key)),
                    LABEL_BYTES_MAX,
                );
            } else if key.starts_with("system.") {
                self.push(
                    Diagnostic::error(
                        Rule::ReservedName,
                        place.span.clone(),
                        format!("label `{key}` is reserved: the engine sets `system.*`"),
                    )
                    .with_help("choose another name"),
                );
            } else if labels.insert(key.to_owned(), text).is_some() {
                self.push(Diagnostic::error(
                    Rule::DuplicateId,
                    place.span.clone(),
                    format!("label `{key}` is given twice"),
                ));
            }
        }
        Some(labels)
    }
}
