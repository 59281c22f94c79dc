//! Lines of CloudWatch's embedded metric format: printed to a function's log, they become metrics without a request.

use serde_json::{Map, Value, json};

use super::{
    ALERTS, Alert, BURIED, BURIED_OUTCOME, Buried, DIMENSIONS, Measurement, NAMESPACE,
    OF_EXECUTIONS, TASK_PREFIX, Unit, retries_of,
};

/// Labels of an execution in a line.
const LABELS_MAX: usize = 20;

/// A line that is put together.
struct Line {
    fields: Map<String, Value>,
    metrics: Vec<Value>,
}

impl Line {
    fn new(namespace: &str, flow: &str, outcome: &str) -> Self {
        let values = [namespace, flow, outcome];
        let fields = DIMENSIONS.iter().zip(values);
        Self {
            fields: fields
                .map(|(name, value)| ((*name).to_owned(), json!(value)))
                .collect(),
            metrics: Vec::new(),
        }
    }

    fn metric(&mut self, name: &str, unit: Unit, value: f64) {
        self.metrics
            .push(json!({"Name": name, "Unit": unit.name()}));
        self.fields.insert(name.to_owned(), json!(value));
    }

    fn end(mut self, stage: &str, now_ms: u64) -> Value {
        let about = json!({
            "Timestamp": now_ms,
            "CloudWatchMetrics": [{
                "Namespace": format!("{NAMESPACE}/{stage}"),
                "Dimensions": [DIMENSIONS, ["outcome"]],
                "Metrics": self.metrics,
            }],
        });
        self.fields.insert("_aws".to_owned(), about);
        Value::Object(self.fields)
    }
}

impl Measurement {
    /// One line of CloudWatch's embedded metric format, for a deployment's stage.
    #[must_use]
    pub fn emf(&self, stage: &str, now_ms: u64) -> Value {
        let mut line = Line::new(&self.namespace, &self.flow, &self.outcome);
        for (name, unit, _) in OF_EXECUTIONS {
            let value = self.values.get(*name).copied().unwrap_or_default();
            line.metric(name, *unit, value);
        }
        for (name, value) in &self.tasks {
            line.metric(&format!("{TASK_PREFIX}{name}"), Unit::None, *value);
        }
        for (reason, value) in &self.retries {
            line.metric(&retries_of(reason), Unit::Count, *value);
        }
        line.fields
            .insert("execution_id".to_owned(), json!(self.execution));
        let labels: Map<String, Value> = self
            .labels
            .iter()
            .take(LABELS_MAX)
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        line.fields.insert("labels".to_owned(), labels.into());
        line.end(stage, now_ms)
    }
}

impl Alert {
    /// One line of CloudWatch's embedded metric format, for a deployment's stage.
    #[must_use]
    pub fn emf(&self, stage: &str, now_ms: u64) -> Value {
        let mut line = Line::new(&self.namespace, &self.flow, self.outcome());
        let (name, unit, _) = ALERTS;
        line.metric(name, unit, 1.0);
        line.end(stage, now_ms)
    }
}

impl Buried {
    /// One line of CloudWatch's embedded metric format, for a deployment's stage.
    #[must_use]
    pub fn emf(&self, stage: &str, now_ms: u64) -> Value {
        let mut line = Line::new(&self.namespace, &self.flow, BURIED_OUTCOME);
        let (name, unit, _) = BURIED;
        line.metric(name, unit, 1.0);
        line.end(stage, now_ms)
    }
}
