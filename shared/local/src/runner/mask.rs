//! Hides secrets in what leaves an attempt (invariant 8).

use serde_json::{Map, Value};

/// What stands in a secret's place.
const STARS: &str = "******";
/// Shorter lines of a secret of several lines are too common to be hidden one by one.
const LINE_MIN: usize = 8;

/// The secrets of one attempt.
#[derive(Default)]
pub(crate) struct Mask {
    secrets: Vec<String>,
}

impl Mask {
    /// Hides each of `secrets`, and each line of one that has several: logs are made of lines.
    pub(crate) fn new(secrets: &[String]) -> Self {
        let mut all: Vec<String> = secrets
            .iter()
            .flat_map(|secret| {
                let lines = secret.lines().map(str::trim);
                std::iter::once(secret.as_str()).chain(lines.filter(|line| line.len() >= LINE_MIN))
            })
            .filter(|secret| !secret.is_empty())
            .map(str::to_owned)
            .collect();
        // Longest first: a secret may be part of another.
        all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        all.dedup();
        Self { secrets: all }
    }

    /// Bytes of the longest secret.
    pub(crate) fn longest(&self) -> usize {
        self.secrets.first().map_or(0, String::len)
    }

    /// The text without secrets.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for secret in &self.secrets {
            if shown.contains(secret) {
                shown = shown.replace(secret, STARS);
            }
        }
        shown
    }

    /// The value without secrets, in keys too.
    pub(crate) fn value(&self, value: Value) -> Value {
        if self.secrets.is_empty() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => {
                Value::Array(items.into_iter().map(|item| self.value(item)).collect())
            }
            Value::Object(map) => Value::Object(self.map(map)),
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }

    /// See [`Mask::value`].
    pub(crate) fn map(&self, map: Map<String, Value>) -> Map<String, Value> {
        map.into_iter()
            .map(|(key, value)| (self.text(&key), self.value(value)))
            .collect()
    }
}
