//! The end of an execution: its outputs.

use operon_core::plan::ShardId;
use serde_json::{Map, Value};

use crate::evaluate::{EvaluateError, Evaluator, Overlay, RenderedValue, Site};
use crate::launch::mask_value;
use crate::planner::Active;
use crate::ports::{ExecutionRow, StoreError, Write};
use crate::templates::Tree;

impl Evaluator {
    /// Renders the flow's outputs and stores them with the execution's row. An output that cannot be
    /// rendered is left out and named in the row's reason when the execution succeeded.
    pub async fn finish(&self, active: &Active) -> Result<ExecutionRow, StoreError> {
        let mut row = active.row();
        let declared = &active.plan.plan.outputs;
        if declared.is_empty() {
            return Ok(row);
        }
        let succeeded = matches!(row.state.as_str(), "SUCCESS" | "WARNING");
        let mut outputs = Map::new();
        for output in declared {
            match self.flow_output(active, &output.value).await {
                Ok(RenderedValue { mut value, secrets }) => {
                    if !secrets.is_empty() {
                        mask_value(&operon_core::expr::Masker::new(&secrets), &mut value);
                    }
                    outputs.insert(output.id.clone(), value);
                }
                Err(EvaluateError::Store(error)) => return Err(error),
                Err(EvaluateError::Expression(error)) => {
                    if succeeded && output.required {
                        row.reason = Some(format!("output `{}` is missing: {error}", output.id));
                    }
                }
            }
        }
        row.outputs = outputs;
        let write = Write {
            executions: vec![row.clone()],
            ..Write::default()
        };
        self.ports.store.write(write).await?;
        Ok(row)
    }

    async fn flow_output(
        &self,
        active: &Active,
        value: &Value,
    ) -> Result<RenderedValue, EvaluateError> {
        let tree = Tree::parse(value)?;
        let site = Site {
            plan: &active.plan,
            meta: &active.meta,
            shard: &ShardId::ROOT,
            slot: 0,
            attempt: 0,
        };
        self.render(site, &tree, &Map::new(), &Overlay::default())
            .await
    }
}
