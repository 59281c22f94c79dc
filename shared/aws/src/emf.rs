//! Measurements as lines of CloudWatch's embedded metric format on standard output, from which Lambda takes them.
//!
//! Invariant: one line holds one measurement whole, whatever else is written at the same time.

use std::io::Write as _;

use operon_engine::metrics::{Alert, Buried, Measurement, Measures};
use serde_json::Value;

/// Writes a line per measurement of a deployment.
#[derive(Debug, Clone)]
pub struct EmfLines {
    /// Of the deployment.
    pub stage: String,
}

fn write(line: &Value) {
    let line = format!("{line}\n");
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
        tracing::warn!(%error, "a measurement could not be written");
    }
}

impl Measures for EmfLines {
    fn measured(&self, measurement: &Measurement, now_ms: u64) {
        write(&measurement.emf(&self.stage, now_ms));
    }

    fn buried(&self, buried: &Buried, now_ms: u64) {
        write(&buried.emf(&self.stage, now_ms));
    }

    fn alerted(&self, alert: &Alert, now_ms: u64) {
        write(&alert.emf(&self.stage, now_ms));
    }
}
