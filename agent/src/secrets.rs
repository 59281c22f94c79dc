//! The values of secrets, and hiding them in whatever leaves the agent (invariant 8).

use std::collections::BTreeMap;

use operon_core::agent::AgentSpec;
use operon_core::expr::Masker;
use serde_json::{Map, Value};

/// The secrets of one attempt.
pub(crate) struct Secrets {
    values: BTreeMap<String, String>,
    masker: Masker,
    longest: usize,
}

/// A variable that the specification names is not there: its value could not be hidden.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the secrets {} are not in the environment of the agent; the task definition must give them to `stage` and `agent` as well",
    .0.join(", ")
)]
pub(crate) struct MissingSecrets(Vec<String>);

impl Secrets {
    pub(crate) fn of(
        spec: &AgentSpec,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, MissingSecrets> {
        let mut values = BTreeMap::new();
        let mut missing = Vec::new();
        for name in &spec.secret_variables {
            match variables.get(name) {
                Some(value) => {
                    values.insert(name.clone(), value.clone());
                }
                None => missing.push(name.clone()),
            }
        }
        if missing.is_empty() {
            // Escaped forms are up to six times as long as the secret (`\u0041` for a letter).
            let longest = values.values().map(|value| 6 * value.len()).max();
            Ok(Self {
                masker: Masker::new(values.values()),
                longest: longest.unwrap_or_default().min(64 * 1024),
                values,
            })
        } else {
            Err(MissingSecrets(missing))
        }
    }

    /// The value of a secret that the specification declares.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Bytes of the longest form that is looked for.
    pub(crate) const fn longest(&self) -> usize {
        self.longest
    }

    pub(crate) fn text(&self, text: &str) -> String {
        self.masker.mask(text).into_owned()
    }

    fn json(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => {
                Value::Array(items.into_iter().map(|item| self.json(item)).collect())
            }
            Value::Object(map) => Value::Object(self.map(map)),
            // A secret may be a number.
            Value::Number(number) => {
                let text = number.to_string();
                let masked = self.text(&text);
                if masked == text {
                    Value::Number(number)
                } else {
                    Value::String(masked)
                }
            }
            Value::Null | Value::Bool(_) => value,
        }
    }

    /// The map without secrets, in keys and values.
    pub(crate) fn map(&self, map: Map<String, Value>) -> Map<String, Value> {
        if self.masker.is_empty() {
            return map;
        }
        map.into_iter()
            .map(|(key, value)| (self.text(&key), self.json(value)))
            .collect()
    }
}
