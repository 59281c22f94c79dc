//! Rendering what a trigger says over its event: condition, inputs, labels, identity.

use std::collections::BTreeMap;
use std::sync::Arc;

use operon_core::expr::Context;
use operon_core::triggers::{Config, TriggerEvent};
use serde_json::{Map, Value, json};

use super::{DeployedFlow, TriggerKey, Triggers};
use crate::decide::truthy;
use crate::lookups::Lookups;
use crate::script::text_of;
use crate::templates::Tree;

/// What templates of a trigger see as `trigger`.
pub(super) fn trigger_root(
    trigger: &Config,
    identity: &str,
    fields: &Map<String, Value>,
) -> Map<String, Value> {
    let mut root = fields.clone();
    root.insert("id".to_owned(), json!(trigger.id));
    root.insert("type".to_owned(), json!(trigger.short_type()));
    root.insert("event".to_owned(), json!(identity));
    root
}

impl Triggers {
    /// Renders a value over `roots` and the flow's variables. The error is a sentence for people; a secret that
    /// flows in is one, for the result is stored (invariant 8).
    pub(super) async fn rendered(
        &self,
        flow: &DeployedFlow,
        value: &Value,
        roots: Map<String, Value>,
        seed: &str,
    ) -> Result<Value, String> {
        let (value, secrets) = self.rendered_with_secrets(flow, value, roots, seed).await?;
        if !secrets.is_empty() {
            return Err(
                "a secret flows into what is stored; use it in the task that needs it".to_owned(),
            );
        }
        Ok(value)
    }

    /// The same for what is used and not stored.
    pub(super) async fn rendered_with_secrets(
        &self,
        flow: &DeployedFlow,
        value: &Value,
        mut roots: Map<String, Value>,
        seed: &str,
    ) -> Result<(Value, Vec<String>), String> {
        let tree = Tree::parse(value).map_err(|error| error.to_string())?;
        if let Tree::Constant(value) = tree {
            return Ok((value, Vec::new()));
        }
        let plan = &flow.plan;
        roots.insert("vars".to_owned(), Value::Object(plan.variables.clone()));
        roots.insert(
            "flow".to_owned(),
            json!({"id": plan.flow, "namespace": plan.namespace, "revision": flow.revision}),
        );
        roots.insert("labels".to_owned(), json!(plan.labels));
        let seed = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let lookups = Arc::new(Lookups::new(
            &plan.namespace,
            flow.flow_dir.as_deref(),
            self.now(),
            seed,
        ));
        let context = Context::new(roots, lookups.clone());
        lookups
            .resolve(&self.evaluator.ports, || {
                let mut secrets = Vec::new();
                tree.render(&context, &mut secrets)
                    .map(|value| (value, secrets))
            })
            .await
            .map_err(|error| error.to_string())
    }

    pub(super) async fn over_event(
        &self,
        flow: &DeployedFlow,
        value: &Value,
        root: &Map<String, Value>,
        seed: &str,
    ) -> Result<Value, String> {
        let roots = Map::from_iter([("trigger".to_owned(), Value::Object(root.clone()))]);
        self.rendered(flow, value, roots, seed).await
    }

    /// The identity of an event: what `idempotencyKey` gives, or the event's own.
    pub(super) async fn identity(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        event: &TriggerEvent,
    ) -> Result<String, String> {
        let Some(template) = &trigger.idempotency_key else {
            return Ok(event.identity.clone());
        };
        let root = trigger_root(trigger, &event.identity, &event.fields);
        let value = self
            .over_event(flow, &json!(template), &root, &event.identity)
            .await
            .map_err(|error| format!("`idempotencyKey`: {error}"))?;
        let text = text_of(&value);
        let max = operon_core::triggers::event::IDENTITY_BYTES_MAX;
        if text.is_empty() || text.len() > max {
            return Err(format!(
                "`idempotencyKey` has {} bytes; it must have 1 to {max}",
                text.len()
            ));
        }
        Ok(format!("key:{text}"))
    }

    /// Whether the trigger's condition holds.
    pub(super) async fn holds(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        root: &Map<String, Value>,
        seed: &str,
    ) -> Result<bool, String> {
        let Some(when) = &trigger.when else {
            return Ok(true);
        };
        let value = self
            .over_event(flow, &json!(when), root, seed)
            .await
            .map_err(|error| format!("`when`: {error}"))?;
        Ok(truthy(&value))
    }

    /// Inputs and labels of the execution.
    pub(super) async fn values(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        root: &Map<String, Value>,
        seed: &str,
    ) -> Result<(BTreeMap<String, Value>, BTreeMap<String, String>), String> {
        let inputs = self
            .over_event(flow, &Value::Object(trigger.inputs.clone()), root, seed)
            .await
            .map_err(|error| format!("`inputs`: {error}"))?;
        let labels = self
            .over_event(flow, &Value::Object(trigger.labels.clone()), root, seed)
            .await
            .map_err(|error| format!("`labels`: {error}"))?;
        let entries = |value: Value| match value {
            Value::Object(entries) => entries,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Map::new(),
        };
        let label = |value: &Value| {
            let text = text_of(value);
            let end = text.floor_char_boundary(operon_core::lang::limits::LABEL_BYTES_MAX);
            text.get(..end).unwrap_or_default().to_owned()
        };
        Ok((
            entries(inputs).into_iter().collect(),
            entries(labels)
                .iter()
                .map(|(key, value)| (key.clone(), label(value)))
                .collect(),
        ))
    }
}

/// The seed of what is rendered for an event.
pub(super) fn seed(key: &TriggerKey, identity: &str) -> String {
    format!("{key}/{identity}")
}
