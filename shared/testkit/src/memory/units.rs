//! What writes cost: `DynamoDB`'s rules, over the items of `docs/decisions/0020-single-table.md`.
//!
//! A write costs a unit for each started KB of the larger of the item before and the item after. A write whose condition
//! does not hold costs those of the item that is there, one at least. An index costs by itself: one unit when an entry
//! comes or goes, two when its key changes (the old one is removed, a new one put), none when nothing of it changes. (aws.md
//! 2.3; `DynamoDB`'s developer guide, "Capacity unit consumption" and "Write throughput considerations for global secondary
//! indexes".)
//!
//! Sizes are those of the items that `shared/aws` writes; its tests hold them to that.

use operon_core::plan::ShardId;
use operon_engine::ports::{AttemptRow, ExecutionRow, Metric, Usage};
use serde::Serialize;
use serde_json::{Map, Value};

/// Steps of the due index in milliseconds, rounded up, as the table has them.
pub const DUE_STEP_MS: u64 = 30_000;
/// Bytes that one write unit pays.
const UNIT_BYTES: usize = 1024;
/// Bytes of an execution's id as it is derived; those of tests are shorter.
const ID_BYTES: usize = 22;
/// Bytes of a time in milliseconds, of one in seconds, and of a version, without their names.
const MS_BYTES: usize = number(13);
const SECONDS_BYTES: usize = number(10);
const VERSION_BYTES: usize = number(4);
/// Attributes of an execution beside its documents: keys, and what it is listed and filtered by.
const EXECUTION_BYTES: usize = 200;

/// Write units so far. Locks, queues, pairs and cached outputs are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteUnits {
    /// Of shards, with their entries in the due index and the writes that lost a race.
    pub sharded: u64,
    /// Of these, those of the due index.
    pub due: u64,
    /// Of these, those of writes that lost a race.
    pub refused: u64,
    /// Of shards, were all of an execution in one item.
    pub in_one_item: u64,
    /// Of detail items.
    pub attempts: u64,
    /// Of executions, with their entries in lists.
    pub executions: u64,
}

impl WriteUnits {
    /// All that is paid.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.sharded + self.attempts + self.executions
    }

    /// A shard was written in place of what was there; each is its size in bytes and its due time in milliseconds.
    pub(super) fn shard(
        &mut self,
        before: Option<(usize, Option<u64>)>,
        after: (usize, Option<u64>),
    ) {
        let old = before.map_or(0, |(bytes, _)| bytes);
        let moved = moves(before.and_then(|(_, due)| due), after.1);
        self.due += moved;
        self.sharded += of_item(old.max(after.0)) + moved;
    }

    /// A shard of so many bytes (0: none) was in the way.
    pub(super) fn refuse(&mut self, there: usize) {
        self.refused += of_item(there);
        self.sharded += of_item(there);
    }

    /// A detail item was put in place of what was there.
    pub(super) fn attempt(&mut self, before: Option<&AttemptRow>, after: &AttemptRow) {
        let old = before.map_or(0, attempt_bytes);
        self.attempts += of_item(old.max(attempt_bytes(after)));
    }

    /// An execution was created: the row, its place in the list, an entry of its flow and one of its parent.
    pub(super) fn create(&mut self, row: &ExecutionRow) {
        self.executions +=
            2 * of_item(execution_bytes(row)) + 1 + u64::from(row.meta.parent.is_some());
    }

    /// An execution was changed. The list holds all of it, and its place there changes with the class of its state.
    pub(super) fn execution(&mut self, before: Option<&ExecutionRow>, after: &ExecutionRow) {
        let new = execution_bytes(after);
        let old = before.map_or(0, execution_bytes);
        let moved = before.is_some_and(|before| class(&before.state) != class(&after.state));
        let listed = if moved {
            of_item(old) + of_item(new)
        } else {
            of_item(old.max(new))
        };
        self.executions += of_item(old.max(new)) + listed;
    }

    /// A write of an execution came too late.
    pub(super) fn refuse_execution(&mut self, there: &ExecutionRow) {
        self.executions += of_item(execution_bytes(there));
    }
}

/// Units of an item of so many bytes.
pub(super) fn of_item(bytes: usize) -> u64 {
    bytes.div_ceil(UNIT_BYTES).max(1) as u64
}

/// Units of the due index when a shard's due time changes.
fn moves(before: Option<u64>, after: Option<u64>) -> u64 {
    let step = |due: u64| due.div_ceil(DUE_STEP_MS);
    match (before.map(step), after.map(step)) {
        (Some(before), Some(after)) if before != after => 2,
        (Some(_), None) | (None, Some(_)) => 1,
        (Some(_), Some(_)) | (None, None) => 0,
    }
}

/// Bytes of a number of so many digits: one for two of them and two more.
const fn number(digits: usize) -> usize {
    digits.div_ceil(2) + 2
}

/// Bytes of the two keys: names, prefix and execution, and the sort key's own.
const fn keys(sort: usize) -> usize {
    "pkS#sk".len() + ID_BYTES + sort
}

fn shard_text(shard: &ShardId) -> usize {
    4 + 12 * shard.path().len()
}

/// Bytes of a shard's item around so many bytes of content.
#[must_use]
pub fn shard_bytes(shard: &ShardId, content: usize, due: bool) -> usize {
    // Its place in the index, or its expiry.
    let last = if due {
        "q0due".len() + MS_BYTES
    } else {
        "ttl".len() + SECONDS_BYTES
    };
    keys(shard_text(shard)) + "v".len() + VERSION_BYTES + "b".len() + content + last
}

/// Bytes of an attempt's item.
#[must_use]
pub fn attempt_bytes(row: &AttemptRow) -> usize {
    let detail = Detail {
        n: &row.name,
        i: row.item.as_ref(),
        p: row.parent.as_deref(),
        s: &row.state,
        r: row.reason.as_deref(),
        m: row.message.as_deref(),
        x: row.exit_code,
        c: row.created_ms,
        b: row.started_ms,
        e: row.ended_ms,
        o: (!row.outputs.is_empty()).then_some(&row.outputs),
        u: row.outputs_uri.as_deref(),
        k: (!row.metrics.is_empty()).then_some(&row.metrics),
        g: (row.usage != Usage::default()).then_some(&row.usage),
    };
    let sort = shard_text(&row.task_run.shard) + ".0000.00".len();
    let attributes = "tj".len() + row.task.len() + json(&detail);
    keys(sort) + attributes + "ttl".len() + SECONDS_BYTES + "sv".len() + VERSION_BYTES
}

/// The document of a detail item: short names, and nothing of what is not there.
#[derive(Serialize)]
struct Detail<'a> {
    n: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    i: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<&'a str>,
    s: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    r: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    m: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<i32>,
    c: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    o: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    u: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<&'a Vec<Metric>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    g: Option<&'a Usage>,
}

/// Bytes of an execution's item, a little more than it has: its documents there have shorter names.
pub(super) fn execution_bytes(row: &ExecutionRow) -> usize {
    EXECUTION_BYTES + json(row)
}

fn json(document: &impl Serialize) -> usize {
    serde_json::to_string(document).map_or(0, |text| text.len())
}

/// Whether it goes on, failed, or is well: what the list is divided by.
fn class(state: &str) -> char {
    match state {
        "SUCCESS" | "WARNING" | "SKIPPED" => 's',
        "FAILED" | "KILLED" | "CANCELLED" | "RETRIED" | "POISONED" => 'f',
        _ => 'a',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_costs_when_its_key_changes() {
        assert_eq!(moves(None, None), 0);
        assert_eq!(moves(None, Some(1)), 1);
        assert_eq!(moves(Some(1), None), 1);
        // Within a step.
        assert_eq!(moves(Some(1), Some(DUE_STEP_MS)), 0);
        assert_eq!(moves(Some(1), Some(DUE_STEP_MS + 1)), 2);
    }

    #[test]
    fn a_write_costs_the_larger_item_and_a_refused_one_what_is_there() {
        let mut units = WriteUnits::default();
        units.shard(None, (1024, Some(1)));
        assert_eq!((units.sharded, units.due), (2, 1));
        units.shard(Some((1025, Some(1))), (10, Some(1)));
        assert_eq!(units.sharded, 4);
        units.shard(Some((10, Some(1))), (10, Some(2 * DUE_STEP_MS)));
        assert_eq!((units.sharded, units.due), (7, 3));
        units.refuse(2000);
        units.refuse(0);
        assert_eq!((units.sharded, units.refused), (10, 3));
    }
}
