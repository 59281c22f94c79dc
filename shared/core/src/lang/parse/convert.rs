//! Values of properties: checked against their type and brought to one form.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another shape is wrong, whichever shape that is"
)]

use serde_json::{Map, Value};

use super::super::amount::duration_text;
use super::super::catalogue::{PropInfo, PropType};
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::limits::{ITEMS_MAX, TEXT_BYTES_MAX};
use super::super::model::Dynamic;
use super::super::yaml::{Node, Yaml};
use super::Reader;
use super::fields::Field;
use super::templates::{has_template, is_single_template};

impl Reader<'_> {
    /// The value of a field in its canonical form: durations as ISO-8601, sizes in bytes, names of
    /// enumerations as documented, keys of maps with known keys under their canonical names.
    pub(super) fn field(&mut self, field: Field<'_>) -> Option<Value> {
        let what = format!("`{}`", field.key.name);
        self.convert(field.value, &field.info.ty, field.info.dynamic, &what)
    }

    /// As [`Self::field`], for a value of `ty`. None: what is wrong has been said.
    pub(super) fn convert(
        &mut self,
        node: &Node,
        ty: &PropType,
        dynamic: bool,
        what: &str,
    ) -> Option<Value> {
        match ty {
            PropType::Any => self.any(node, dynamic, what),
            PropType::String => self.text(node, dynamic, what).map(Value::from),
            PropType::Bool => match &node.value {
                Yaml::Bool(value) => Some(Value::Bool(*value)),
                _ => self.template_or_wrong(node, ty, dynamic, what),
            },
            PropType::Int(min, max) => self.int(node, *min, *max, ty, dynamic, what),
            PropType::Float => match &node.value {
                Yaml::Int(_) | Yaml::Float(_) => Some(node.to_json()),
                _ => self.template_or_wrong(node, ty, dynamic, what),
            },
            PropType::Duration => Some(match self.duration(node, dynamic, what)? {
                Dynamic::Constant(ms) => Value::from(duration_text(ms)),
                Dynamic::Template(text) => Value::from(text),
            }),
            PropType::Enum(names) => self.one_of(node, names, what).map(Value::from),
            PropType::Condition => self.condition(node, what).map(Value::from),
            PropType::Size => self.size(node, 1, what).map(Value::from),
            PropType::Cpu => self.cpu(node, what).map(Value::from),
            PropType::List(item) => match &node.value {
                Yaml::Seq(items) => self.list(node, items, item, dynamic, what),
                _ => self.template_or_wrong(node, ty, dynamic, what),
            },
            PropType::OneOrMany(item) => match &node.value {
                Yaml::Seq(items) => self.list(node, items, item, dynamic, what),
                Yaml::String(text) if dynamic && is_single_template(text) => {
                    self.text(node, true, what).map(Value::from)
                }
                _ => Some(Value::from(vec![self.convert(node, item, dynamic, what)?])),
            },
            PropType::Map(item) => match &node.value {
                Yaml::Map(_) => self.map(node, item, dynamic, what),
                _ => self.template_or_wrong(node, ty, dynamic, what),
            },
            PropType::Labels => self.labels(node, dynamic, what).map(|labels| {
                labels
                    .into_iter()
                    .map(|(key, value)| (key, Value::from(value)))
                    .collect()
            }),
            PropType::Files => self.files(node, dynamic, what),
            PropType::Object(table) => match &node.value {
                Yaml::String(text) if dynamic && has_template(text) => {
                    self.text(node, true, what).map(Value::from)
                }
                _ => self.object(node, table, what),
            },
            PropType::OneOf(types) => match types.iter().find(|ty| fits(node, ty)) {
                Some(ty) => self.convert(node, ty, dynamic, what),
                None => self.template_or_wrong(node, ty, dynamic, what),
            },
            PropType::Tasks | PropType::Cases | PropType::Inputs => {
                self.wrong_type(node, what, &ty.describe());
                None
            }
        }
    }

    /// A map with known keys.
    pub(super) fn object(
        &mut self,
        node: &Node,
        table: &'static [PropInfo],
        what: &str,
    ) -> Option<Value> {
        let fields = self.fields(node, &[table], what, &node.span)?;
        let mut object = Map::new();
        for field in fields.all {
            if let Some(value) = self.field(field) {
                object.insert(field.info.name.to_owned(), value);
            }
        }
        Some(Value::Object(object))
    }

    /// A text; numbers and booleans are taken as they are written.
    pub(super) fn text(&mut self, node: &Node, dynamic: bool, what: &str) -> Option<String> {
        let text = match &node.value {
            Yaml::String(text) => text.clone(),
            Yaml::Int(_) | Yaml::Float(_) | Yaml::Bool(_) => scalar_text(node, self.source),
            Yaml::Null => {
                self.push(
                    Diagnostic::error(
                        Rule::WrongType,
                        node.span.clone(),
                        format!("{what} is empty"),
                    )
                    .with_help("write a text, or `\"\"` for none"),
                );
                return None;
            }
            Yaml::Seq(_) | Yaml::Map(_) => {
                self.wrong_type(node, what, "a string");
                return None;
            }
        };
        if text.len() > TEXT_BYTES_MAX {
            self.limit(
                node,
                &format!("{what} has {} bytes", text.len()),
                TEXT_BYTES_MAX,
            );
            return None;
        }
        if has_template(&text) {
            if dynamic {
                self.template(node, &text);
            } else {
                self.push(
                    Diagnostic::error(
                        Rule::NotDynamic,
                        node.span.clone(),
                        format!("{what} is constant and cannot hold an expression"),
                    )
                    .with_help("write the value itself; properties that may hold expressions are marked in the documentation"),
                );
                return None;
            }
        }
        Some(text)
    }

    fn files(&mut self, node: &Node, dynamic: bool, what: &str) -> Option<Value> {
        match &node.value {
            Yaml::Map(_) => self.map(node, &PropType::String, dynamic, what),
            Yaml::Seq(items) => {
                let types: &'static [PropType] =
                    &[PropType::Map(&PropType::String), PropType::String];
                let mut list = Vec::new();
                for item in items {
                    let ty = types
                        .iter()
                        .find(|ty| fits(item, ty))
                        .unwrap_or(&PropType::String);
                    list.push(self.convert(item, ty, dynamic, &format!("an item of {what}"))?);
                }
                Some(Value::Array(list))
            }
            Yaml::Null | Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_) | Yaml::String(_) => {
                self.template_or_wrong(node, &PropType::Files, dynamic, what)
            }
        }
    }

    fn list(
        &mut self,
        node: &Node,
        items: &[Node],
        ty: &PropType,
        dynamic: bool,
        what: &str,
    ) -> Option<Value> {
        if items.len() > ITEMS_MAX {
            self.limit(
                node,
                &format!("{what} has {} items", items.len()),
                ITEMS_MAX,
            );
            return None;
        }
        let what = format!("an item of {what}");
        let converted: Vec<_> = items
            .iter()
            .filter_map(|item| self.convert(item, ty, dynamic, &what))
            .collect();
        Some(Value::Array(converted))
    }

    fn map(&mut self, node: &Node, ty: &PropType, dynamic: bool, what: &str) -> Option<Value> {
        let entries = node.as_map().unwrap_or_default();
        if entries.len() > ITEMS_MAX {
            self.limit(
                node,
                &format!("{what} has {} entries", entries.len()),
                ITEMS_MAX,
            );
            return None;
        }
        let mut map = Map::new();
        for (key, value) in entries {
            let what = format!("`{}` in {what}", short(&key.name));
            if let Some(value) = self.convert(value, ty, dynamic, &what) {
                map.insert(key.name.clone(), value);
            }
        }
        Some(Value::Object(map))
    }

    /// Any value; the texts in it are templates if it may hold expressions.
    fn any(&mut self, node: &Node, dynamic: bool, what: &str) -> Option<Value> {
        match &node.value {
            Yaml::String(text) if dynamic && has_template(text) => {
                self.text(node, true, what).map(Value::from)
            }
            Yaml::Seq(items) => self.list(node, items, &PropType::Any, dynamic, what),
            Yaml::Map(_) => self.map(node, &PropType::Any, dynamic, what),
            Yaml::Null | Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_) | Yaml::String(_) => {
                Some(node.to_json())
            }
        }
    }

    fn int(
        &mut self,
        node: &Node,
        min: i64,
        max: i64,
        ty: &PropType,
        dynamic: bool,
        what: &str,
    ) -> Option<Value> {
        let number = match &node.value {
            Yaml::Int(number) => *number,
            Yaml::String(text) if text.parse::<i64>().is_ok() => text.parse().unwrap_or_default(),
            _ => return self.template_or_wrong(node, ty, dynamic, what),
        };
        if (min..=max).contains(&number) {
            return Some(Value::from(number));
        }
        self.push(
            Diagnostic::error(
                Rule::OutOfRange,
                node.span.clone(),
                format!("{what} is {number}"),
            )
            .with_help(format!("write {}", ty.describe())),
        );
        None
    }

    fn template_or_wrong(
        &mut self,
        node: &Node,
        ty: &PropType,
        dynamic: bool,
        what: &str,
    ) -> Option<Value> {
        if node.as_str().is_some_and(has_template) {
            return self.text(node, dynamic, what).map(Value::from);
        }
        self.wrong_type(node, what, &ty.describe());
        None
    }

    pub(super) fn limit(&mut self, node: &Node, what: &str, max: usize) {
        self.push(
            Diagnostic::error(
                Rule::Limit,
                node.span.clone(),
                format!("{what}; at most {max}"),
            )
            .with_help("split the flow with `subflow`, or move data into files"),
        );
    }
}

/// Whether a value has the shape of a type; its content is checked later.
fn fits(node: &Node, ty: &PropType) -> bool {
    match ty {
        PropType::List(_) => node.as_seq().is_some(),
        PropType::Map(_) | PropType::Object(_) => node.as_map().is_some(),
        PropType::String => {
            matches!(
                node.value,
                Yaml::String(_) | Yaml::Int(_) | Yaml::Float(_) | Yaml::Bool(_)
            )
        }
        _ => true,
    }
}

/// A number or boolean as it is written: `1.10` stays `1.10`.
pub(super) fn scalar_text(node: &Node, source: &str) -> String {
    let raw = node.raw(source);
    let same = match &node.value {
        Yaml::Int(number) => raw.parse() == Ok(*number),
        Yaml::Float(number) => raw
            .parse::<f64>()
            .is_ok_and(|raw| raw.to_bits() == number.to_bits()),
        Yaml::Null | Yaml::Bool(_) | Yaml::String(_) | Yaml::Seq(_) | Yaml::Map(_) => false,
    };
    if same {
        raw.to_owned()
    } else {
        node.to_json().to_string()
    }
}

/// The first characters of a text, for a message.
pub(super) fn short(text: &str) -> String {
    if text.chars().count() <= 60 {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(57).collect();
    cut.push('…');
    cut
}
