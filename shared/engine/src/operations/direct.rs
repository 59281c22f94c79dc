//! A wish that is a document: the command line invokes the intake function with it.
//!
//! `{"operon": "start", "namespace", "flow", "revision"?, "inputs"?, "labels"?, "priority"?, "key"?}` is answered with
//! `{"id", "created", "state", "warnings"}` or `{"error"}`. Invariant: wishes with the same `key` are one execution.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{OperationError, Operations, Start};
use crate::ids;
use crate::intake::IntakeError;
use crate::ports::StoreError;

/// Characters of a key at most; those of the HTTP interface have as many.
const KEY_MAX: usize = 200;

#[derive(Deserialize)]
#[serde(tag = "operon", rename_all = "camelCase", deny_unknown_fields)]
enum Wish {
    #[serde(rename_all = "camelCase")]
    Start {
        namespace: String,
        flow: String,
        revision: Option<u32>,
        #[serde(default)]
        inputs: BTreeMap<String, Value>,
        #[serde(default)]
        labels: BTreeMap<String, String>,
        #[serde(default)]
        priority: i32,
        key: Option<String>,
    },
}

impl Operations {
    /// Carries out a document that is a wish; none when it is none. An error is to be tried again.
    pub async fn direct(&self, document: &Value) -> Option<Result<Value, StoreError>> {
        document.get("operon")?;
        let wish = match serde_json::from_value(document.clone()) {
            Ok(wish) => wish,
            Err(error) => {
                let text = format!("the document is no wish that this release knows: {error}");
                return Some(Ok(json!({ "error": text })));
            }
        };
        Some(match self.carry_out(wish).await {
            Ok(answer) => Ok(answer),
            Err(
                OperationError::Store(error) | OperationError::Intake(IntakeError::Store(error)),
            ) => Err(error),
            Err(error) => Ok(json!({ "error": error.to_string() })),
        })
    }

    async fn carry_out(&self, wish: Wish) -> Result<Value, OperationError> {
        let Wish::Start {
            namespace,
            flow,
            revision,
            inputs,
            labels,
            priority,
            key,
        } = wish;
        let id = match key {
            None => ids::new_execution(self.evaluator.ports.clock.now_ms()),
            Some(key) if key.is_empty() || key.chars().count() > KEY_MAX => {
                let what = format!("`key` has 1 to {KEY_MAX} characters");
                return Err(OperationError::refused(what));
            }
            Some(key) => ids::derived_execution(&["direct", &namespace, &flow, &key]),
        };
        let start = Start {
            id,
            namespace,
            flow,
            revision,
            inputs,
            labels,
            trigger: Value::Null,
            priority,
        };
        let started = self.start(start).await?;
        Ok(json!({
            "id": started.row.meta.id, "created": started.created, "state": started.row.state,
            "warnings": started.warnings,
        }))
    }
}
