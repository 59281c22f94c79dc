//! Properties with templates inside, parsed once and rendered for every attempt.

use std::sync::Arc;

use operon_core::expr::{Context, ExprError, Template};
use serde_json::{Map, Value};

/// A JSON value whose strings may be templates.
#[derive(Debug, Clone)]
pub enum Tree {
    /// Holds no template.
    Constant(Value),
    /// One template.
    Template(Arc<Template>),
    /// Items in order.
    List(Vec<Tree>),
    /// Entries in order. Keys are never templates.
    Map(Vec<(String, Tree)>),
}

/// A template that cannot be parsed or rendered, and which property it is.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}{source}", if path.is_empty() { String::new() } else { format!("`{path}`: ") })]
pub struct RenderError {
    /// Such as `env.TOKEN`; empty when there is only one value.
    pub path: String,
    /// What is wrong with it.
    pub source: ExprError,
}

impl Tree {
    /// Parses every string in `value`.
    pub fn parse(value: &Value) -> Result<Self, RenderError> {
        Self::parse_at(value, &mut String::new())
    }

    fn parse_at(value: &Value, path: &mut String) -> Result<Self, RenderError> {
        match value {
            Value::String(text) => {
                let template = Template::parse(text).map_err(|source| RenderError {
                    path: path.clone(),
                    source,
                })?;
                if template.is_literal() {
                    return Ok(Self::Constant(value.clone()));
                }
                Ok(Self::Template(Arc::new(template)))
            }
            Value::Array(items) => {
                let mut trees = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    trees.push(within(path, &format!("[{index}]"), |path| {
                        Self::parse_at(item, path)
                    })?);
                }
                if trees.iter().all(Self::is_constant) {
                    return Ok(Self::Constant(value.clone()));
                }
                Ok(Self::List(trees))
            }
            Value::Object(entries) => {
                let mut trees = Vec::with_capacity(entries.len());
                for (key, entry) in entries {
                    let tree =
                        within(path, &format!(".{key}"), |path| Self::parse_at(entry, path))?;
                    trees.push((key.clone(), tree));
                }
                if trees.iter().all(|(_, tree)| tree.is_constant()) {
                    return Ok(Self::Constant(value.clone()));
                }
                Ok(Self::Map(trees))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(Self::Constant(value.clone())),
        }
    }

    fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }

    /// Renders all templates; secret values that flowed in are added to `secrets`.
    pub fn render(
        &self,
        context: &Context,
        secrets: &mut Vec<String>,
    ) -> Result<Value, RenderError> {
        self.render_at(context, secrets, &mut String::new())
    }

    fn render_at(
        &self,
        context: &Context,
        secrets: &mut Vec<String>,
        path: &mut String,
    ) -> Result<Value, RenderError> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Template(template) => {
                let rendered = template.render(context).map_err(|source| RenderError {
                    path: path.clone(),
                    source,
                })?;
                secrets.extend(rendered.secrets);
                Ok(rendered.value)
            }
            Self::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    values.push(within(path, &format!("[{index}]"), |path| {
                        item.render_at(context, secrets, path)
                    })?);
                }
                Ok(Value::Array(values))
            }
            Self::Map(entries) => {
                let mut values = Map::new();
                for (key, entry) in entries {
                    let value = within(path, &format!(".{key}"), |path| {
                        entry.render_at(context, secrets, path)
                    })?;
                    values.insert(key.clone(), value);
                }
                Ok(Value::Object(values))
            }
        }
    }

    /// Calls `visit` with every template.
    pub fn templates<'t>(&'t self, visit: &mut impl FnMut(&'t Template)) {
        match self {
            Self::Constant(_) => {}
            Self::Template(template) => visit(template),
            Self::List(items) => items.iter().for_each(|item| item.templates(visit)),
            Self::Map(entries) => entries.iter().for_each(|(_, entry)| entry.templates(visit)),
        }
    }
}

/// Runs `work` with `path` one segment longer.
fn within<T>(path: &mut String, segment: &str, work: impl FnOnce(&mut String) -> T) -> T {
    let length = path.len();
    path.push_str(if path.is_empty() {
        segment.trim_start_matches('.')
    } else {
        segment
    });
    let result = work(path);
    path.truncate(length);
    result
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_bad_template_is_named_by_its_property() {
        let error = Tree::parse(&json!({"env": {"A": ["ok", "{{ 1 + }}"]}})).unwrap_err();
        assert_eq!(error.path, "env.A[1]");
    }

    #[test]
    fn a_value_without_templates_stays_as_it_is() {
        let value = json!({"a": [1, null, {"b": "text"}]});
        assert!(Tree::parse(&value).unwrap().is_constant());
    }
}
