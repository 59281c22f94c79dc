//! The end of an execution: its outputs.

use operon_core::plan::ShardId;
use serde_json::{Map, Value};

use crate::evaluate::{EvaluateError, Evaluator, Overlay, RenderedValue, Site};
use crate::launch::mask_value;
use crate::planner::Active;
use crate::ports::{ExecutionRow, StoreError, Write};
use crate::templates::Tree;

impl Evaluator {
    /// Stores the flow's outputs with the execution's row, unless the turn that ended it has done so.
    pub async fn finish(&self, active: &Active) -> Result<ExecutionRow, StoreError> {
        let mut row = active.row();
        if active.plan.plan.outputs.is_empty() || !row.outputs.is_empty() {
            return Ok(row);
        }
        self.put_outputs(active, &mut row, &Overlay::default())
            .await?;
        let write = Write {
            executions: vec![row.clone()],
            ..Write::default()
        };
        self.ports.store.write(write).await?;
        Ok(row)
    }

    /// Renders the flow's outputs into the row of an execution that has ended. An output that cannot be
    /// rendered is left out and named in the row's reason when the execution succeeded.
    pub(crate) async fn put_outputs(
        &self,
        active: &Active,
        row: &mut ExecutionRow,
        overlay: &Overlay,
    ) -> Result<(), StoreError> {
        let succeeded = matches!(row.state.as_str(), "SUCCESS" | "WARNING");
        let mut outputs = Map::new();
        for output in &active.plan.plan.outputs {
            match self.flow_output(active, &output.value, overlay).await {
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
        Ok(())
    }

    async fn flow_output(
        &self,
        active: &Active,
        value: &Value,
        overlay: &Overlay,
    ) -> Result<RenderedValue, EvaluateError> {
        let tree = Tree::parse(value)?;
        let site = Site {
            plan: &active.plan,
            meta: &active.meta,
            shard: &ShardId::ROOT,
            slot: 0,
            attempt: 0,
        };
        self.render(site, &tree, &Map::new(), overlay).await
    }
}
