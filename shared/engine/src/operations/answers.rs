//! Answers to pauses: typed values that a person gave, read as `outputs.<pause>.onResume.<input>`.
//!
//! Invariant: the first answer counts. It is stored on condition that there is none before the pause is told,
//! and the planner puts it into the pause's outputs when the pause has ended.

use serde_json::{Map, Value, json};

use super::{OperationError, Operations, PausedTask, Resume, Snapshot};
use crate::Ports;
use crate::evaluate::Evaluator;
use crate::intake::{IntakeError, Origin};
use crate::plans::LoadedPlan;
use crate::ports::{
    ExecutionId, RecordKey, RecordKind, RecordOutcome, RecordWrite, StoreError, TaskRunKey,
};

/// Bytes of the values given to one pause at most: they are outputs that every later task may see.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

fn key(id: &ExecutionId, run: &TaskRunKey, round: u8) -> RecordKey {
    let sort = format!("{}:{}:{round:03}", run.shard, run.slot);
    RecordKey::new(RecordKind::Answer, id.as_str(), sort)
}

/// The outputs of a pause that was answered: what was said, and by whom.
pub async fn answered(
    ports: &Ports,
    id: &ExecutionId,
    run: &TaskRunKey,
    round: u8,
) -> Result<Option<Map<String, Value>>, StoreError> {
    let key = key(id, run, round);
    let record = ports.records.record(&key, ports.clock.now_ms()).await?;
    let outputs = record.and_then(|record| record.value.get("outputs").cloned());
    Ok(match outputs {
        Some(Value::Object(outputs)) => Some(outputs),
        Some(_) | None => None,
    })
}

impl Operations {
    /// Checks what was given for a pause; the record that keeps it.
    pub(super) async fn answer(
        &self,
        snapshot: &Snapshot,
        pause: &PausedTask,
        resume: &Resume,
    ) -> Result<RecordWrite, OperationError> {
        let given = if resume.go_on {
            self.evaluator
                .answer_values(snapshot, pause, resume)
                .await?
        } else {
            Map::new()
        };
        let size = Value::Object(given.clone()).to_string().len();
        if size > ANSWER_BYTES_MAX {
            return Err(OperationError::refused(format!(
                "the values have {size} bytes; at most {ANSWER_BYTES_MAX} are possible"
            )));
        }
        Ok(RecordWrite {
            key: key(&snapshot.row.meta.id, &pause.task_run, pause.round),
            expected: 0,
            value: json!({
                "format": 1,
                "goOn": resume.go_on,
                "by": resume.by,
                "atMs": self.evaluator.ports.clock.now_ms(),
                "outputs": {"onResume": given},
            }),
            due_ms: None,
            expires_ms: None,
        })
    }

    /// Keeps an answer, unless there is one with other words.
    pub(super) async fn keep_answer(&self, write: RecordWrite) -> Result<(), OperationError> {
        let (go_on, outputs) = (
            write.value.get("goOn").cloned(),
            write.value.get("outputs").cloned(),
        );
        match self.evaluator.ports.records.save_record(write).await? {
            RecordOutcome::Saved(_) => Ok(()),
            RecordOutcome::Conflict(there) => {
                let there = there.map(|record| record.value).unwrap_or_default();
                if there.get("goOn") == go_on.as_ref() && there.get("outputs") == outputs.as_ref() {
                    return Ok(());
                }
                let by = there
                    .get("by")
                    .and_then(Value::as_str)
                    .unwrap_or("somebody");
                Err(OperationError::refused(format!(
                    "the pause was answered by {by} already"
                )))
            }
        }
    }
}

impl Evaluator {
    async fn answer_values(
        &self,
        snapshot: &Snapshot,
        pause: &PausedTask,
        resume: &Resume,
    ) -> Result<Map<String, Value>, IntakeError> {
        let meta = &snapshot.row.meta;
        let plan = LoadedPlan::new(snapshot.plan.clone(), meta.plan_hash.clone());
        self.resolve(&plan, meta, &pause.inputs, &resume.inputs, Origin::REMOTE)
            .await
    }
}
