//! Attempts: the detail items that serve people and expressions.
//!
//! Defaults are left out and names are short, so that most of them are one write unit. An item carries the version
//! of the shard it was derived from (`sv`): what a slower planner writes later does not replace what is newer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use operon_engine::ports::{AttemptRow, ExecutionId, Metric, StoreError, TaskRunKey, Usage};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::item::{DOCUMENT_MAX, Item, Key, from_json, get_text, json, number, text};
use super::table::{Condition, Query};
use super::{DynamoStore, RETENTION_MS, keys, limited};

/// Bytes of a message kept when a detail item is too large otherwise.
const MESSAGE_CUT: usize = 4096;

/// The stored form of an attempt, beside its keys and its task.
#[derive(Serialize, Deserialize)]
struct Detail<'a> {
    n: Cow<'a, str>,
    // `Some(null)` is an item whose value is null.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "nullable"
    )]
    i: Option<Cow<'a, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<Cow<'a, str>>,
    s: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    m: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x: Option<i32>,
    c: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    b: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<u64>,
    #[serde(default, skip_serializing_if = "is_empty_map")]
    o: Cow<'a, Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    u: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_empty_list")]
    k: Cow<'a, [Metric]>,
    #[serde(default, skip_serializing_if = "is_unused")]
    g: Usage,
}

/// Reads a null as a value, not as the absence of one.
fn nullable<'de, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'a, Value>>, D::Error> {
    Value::deserialize(deserializer).map(|value| Some(Cow::Owned(value)))
}

fn is_empty_map(map: &Map<String, Value>) -> bool {
    map.is_empty()
}

fn is_empty_list(list: &[Metric]) -> bool {
    list.is_empty()
}

fn is_unused(usage: &Usage) -> bool {
    *usage == Usage::default()
}

/// The document of a row. JSON has no infinite numbers: they would make it unreadable, so they are dropped. A row
/// beyond the limit of an item loses its metrics and the end of its message before it is refused.
fn document(row: &AttemptRow) -> Result<String, StoreError> {
    let mut metrics = Cow::Borrowed(row.metrics.as_slice());
    if metrics.iter().any(|metric| !metric.value.is_finite()) {
        metrics.to_mut().retain(|metric| metric.value.is_finite());
    }
    let mut usage = row.usage;
    if !usage.cpu_seconds.is_finite() {
        usage.cpu_seconds = 0.0;
    }
    let mut detail = Detail {
        n: row.name.as_str().into(),
        i: row.item.as_ref().map(Cow::Borrowed),
        p: row.parent.as_deref().map(Cow::Borrowed),
        s: row.state.as_str().into(),
        r: row.reason.as_deref().map(Cow::Borrowed),
        m: row.message.as_deref().map(Cow::Borrowed),
        x: row.exit_code,
        c: row.created_ms,
        b: row.started_ms,
        e: row.ended_ms,
        o: Cow::Borrowed(&row.outputs),
        u: row.outputs_uri.as_deref().map(Cow::Borrowed),
        k: metrics,
        g: usage,
    };
    let whole = serde_json::to_string(&detail)
        .map_err(|error| StoreError::Failed(format!("an attempt cannot be written: {error}")))?;
    if whole.len() <= DOCUMENT_MAX {
        return Ok(whole);
    }
    detail.k = Cow::Owned(Vec::new());
    if let Some(message) = &mut detail.m {
        *message = message
            .chars()
            .take(MESSAGE_CUT / 4)
            .chain(['…'])
            .collect::<String>()
            .into();
    }
    json(&detail, "the detail item of an attempt")
}

fn item_of(row: &AttemptRow, version: Option<u64>, expiry_s: u64) -> Result<Item, StoreError> {
    let sort = keys::attempt_sort(&row.task_run, row.attempt);
    let mut item = Key::new(keys::attempts(&row.execution), sort).item();
    item.insert("t".to_owned(), text(&row.task));
    item.insert("j".to_owned(), text(document(row)?));
    item.insert("ttl".to_owned(), number(expiry_s));
    if let Some(version) = version {
        item.insert("sv".to_owned(), number(version));
    }
    Ok(item)
}

fn row(id: &ExecutionId, item: &Item) -> Result<AttemptRow, StoreError> {
    let (task_run, attempt) = keys::attempt_of(get_text(item, "sk")?)?;
    let detail: Detail<'_> = from_json(item, "j")?;
    Ok(AttemptRow {
        execution: id.clone(),
        task_run,
        attempt,
        task: get_text(item, "t")?.to_owned(),
        name: detail.n.into_owned(),
        item: detail.i.map(Cow::into_owned),
        parent: detail.p.map(Cow::into_owned),
        state: detail.s.into_owned(),
        reason: detail.r.map(Cow::into_owned),
        message: detail.m.map(Cow::into_owned),
        exit_code: detail.x,
        created_ms: detail.c,
        started_ms: detail.b,
        ended_ms: detail.e,
        outputs: detail.o.into_owned(),
        outputs_uri: detail.u.map(Cow::into_owned),
        metrics: detail.k.into_owned(),
        usage: detail.g,
    })
}

impl DynamoStore {
    /// Puts an attempt in place of what was known of it, unless that is newer: `version` is that of its shard.
    pub(super) async fn put_attempt(
        &self,
        row: &AttemptRow,
        version: Option<u64>,
    ) -> Result<(), StoreError> {
        let item = self.attempt_item(row, version)?;
        let condition = version.map(|version| {
            Condition::new(
                "attribute_not_exists(sv) OR sv <= :sv",
                [(":sv", number(version))],
            )
        });
        self.table.put(item, condition).await.map(drop)
    }

    /// Puts attempts that have ended. Terminal is final (invariant 5), so nothing of them can be newer, and they go
    /// together, without conditions.
    pub(super) async fn put_ended(
        &self,
        rows: &[(&AttemptRow, Option<u64>)],
    ) -> Result<(), StoreError> {
        if let [(row, version)] = rows {
            return self.put_attempt(row, *version).await;
        }
        // One of each: a batch must not name an item twice. The last says it.
        let mut items = BTreeMap::new();
        for (row, version) in rows {
            let key = (&row.execution, &row.task_run, row.attempt);
            items.insert(key, self.attempt_item(row, *version)?);
        }
        self.table.put_all(items.into_values().collect()).await
    }

    fn attempt_item(&self, row: &AttemptRow, version: Option<u64>) -> Result<Item, StoreError> {
        item_of(row, version, self.expiry(RETENTION_MS))
    }

    async fn rows(&self, id: &ExecutionId, query: Query) -> Result<Vec<AttemptRow>, StoreError> {
        let items = self.table.query(&query).await?;
        items.iter().map(|item| row(id, item)).collect()
    }

    pub(super) async fn attempts_of_run(
        &self,
        id: &ExecutionId,
        run: &TaskRunKey,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let values = [
            (":p", text(keys::attempts(id))),
            (":b", text(keys::attempts_of(run))),
        ];
        let query = Query {
            keys: Condition::new("pk = :p AND begins_with(sk, :b)", values),
            limit: usize::MAX,
            ..Query::default()
        };
        self.rows(id, query).await
    }

    pub(super) async fn attempts_with_task(
        &self,
        id: &ExecutionId,
        task: &str,
        limit: u32,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let query = Query {
            keys: Condition::new(
                "pk = :p",
                [(":p", text(keys::attempts(id))), (":t", text(task))],
            ),
            filter: Some("t = :t".to_owned()),
            limit: limited(limit),
            ..Query::default()
        };
        self.rows(id, query).await
    }

    pub(super) async fn attempts_after(
        &self,
        id: &ExecutionId,
        after: Option<&(TaskRunKey, u8)>,
        limit: u32,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let partition = (":p", text(keys::attempts(id)));
        let keys = match after {
            None => Condition::new("pk = :p", [partition]),
            Some((run, attempt)) => Condition::new(
                "pk = :p AND sk > :s",
                [partition, (":s", text(keys::attempt_sort(run, *attempt)))],
            ),
        };
        let limit = limited(limit);
        self.rows(
            id,
            Query {
                keys,
                limit,
                ..Query::default()
            },
        )
        .await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use operon_core::plan::ShardId;
    use operon_testkit::contract::rows::{attempt, run};
    use operon_testkit::memory::units;

    use super::*;
    use crate::store::item::size;

    #[test]
    fn the_store_in_memory_counts_the_sizes_of_these_items() {
        let full = attempt(
            "0123456789abcdef012345",
            run(ShardId::ROOT.of_loop(3, 70_000), 1),
            1,
        );
        let bare = AttemptRow {
            item: None,
            reason: None,
            message: None,
            exit_code: None,
            outputs: Map::new(),
            metrics: Vec::new(),
            usage: Usage::default(),
            ..full.clone()
        };
        for row in [full, bare] {
            let item = item_of(&row, Some(1000), 1_893_456_000).unwrap();
            assert_eq!(size(&item), units::attempt_bytes(&row), "{row:?}");
        }
    }
}
