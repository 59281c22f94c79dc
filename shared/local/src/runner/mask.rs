//! Hides secrets in what leaves an attempt (invariant 8).

use operon_core::expr::Masker;
use serde_json::{Map, Value};

/// The secrets of one attempt.
pub(crate) struct Mask {
    masker: Masker,
    longest: usize,
}

impl Mask {
    /// Hides each of `secrets` in all its usual forms.
    pub(crate) fn new(secrets: &[String]) -> Self {
        // Escaped forms are up to six times as long as the secret (`\u0041` for a letter).
        let longest = secrets.iter().map(|secret| 6 * secret.len()).max();
        Self {
            masker: Masker::new(secrets),
            longest: longest.unwrap_or_default().min(64 * 1024),
        }
    }

    /// Bytes of the longest form of a secret that is looked for.
    pub(crate) const fn longest(&self) -> usize {
        self.longest
    }

    /// The text without secrets.
    pub(crate) fn text(&self, text: &str) -> String {
        self.masker.mask(text).into_owned()
    }

    /// The value without secrets.
    fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => {
                Value::Array(items.into_iter().map(|item| self.value(item)).collect())
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
            .map(|(key, value)| (self.text(&key), self.value(value)))
            .collect()
    }
}
