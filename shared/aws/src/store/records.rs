//! Records: versioned documents beside executions.

use std::collections::HashMap;

use operon_engine::ports::{
    RECORD_PAGE_MAX, Record, RecordKey, RecordKind, RecordOutcome, RecordQuery, RecordWrite,
    StoreError,
};

use super::item::{
    Item, Key, find_number, find_text, from_json, get_number, get_text, number, set, text,
};
use super::table::{Condition, Query, Written};
use super::{DynamoStore, limited};

fn partition(kind: RecordKind, name: &str) -> String {
    format!("R#{kind}#{name}")
}

/// Sort keys begin with a dot, because `DynamoDB` takes no empty ones.
fn place(key: &RecordKey) -> Key {
    Key::new(
        partition(key.kind, &key.partition),
        format!(".{}", key.sort),
    )
}

/// The partition of the due index that holds records of a kind.
fn due_partition(kind: RecordKind) -> String {
    format!("R#{kind}")
}

fn record(kind: RecordKind, item: &Item) -> Result<Record, StoreError> {
    let (pk, sk) = (get_text(item, "pk")?, get_text(item, "sk")?);
    let name = pk.strip_prefix(&partition(kind, "")).unwrap_or_default();
    Ok(Record {
        key: RecordKey::new(kind, name, sk.get(1..).unwrap_or_default()),
        version: get_number(item, "v")?,
        value: from_json(item, "j")?,
        due_ms: find_number(item, "due")?,
        expires_ms: find_number(item, "x")?,
    })
}

/// The record that is there, unless it has expired: then it counts as gone.
fn living(
    kind: RecordKind,
    item: Option<&Item>,
    now_ms: u64,
) -> Result<Option<Record>, StoreError> {
    let found = item.map(|item| record(kind, item)).transpose()?;
    Ok(found.filter(|record| record.expires_ms.is_none_or(|expires| expires > now_ms)))
}

impl DynamoStore {
    pub(super) async fn read_record(
        &self,
        key: &RecordKey,
        now_ms: u64,
    ) -> Result<Option<Record>, StoreError> {
        let item = self.table.get(&place(key)).await?;
        living(key.kind, item.as_ref(), now_ms)
    }

    pub(super) async fn write_record(
        &self,
        write: RecordWrite,
    ) -> Result<RecordOutcome, StoreError> {
        let document = write.checked()?;
        let kind = write.key.kind;
        let version = write.expected.saturating_add(1);
        let mut item = place(&write.key).item();
        item.insert("v".to_owned(), number(version));
        item.insert("j".to_owned(), text(document));
        if let Some(due_ms) = write.due_ms {
            item.insert("q".to_owned(), text(due_partition(kind)));
            item.insert("due".to_owned(), number(due_ms));
        }
        let own = super::nonce();
        item.insert("w".to_owned(), text(&own));
        set(&mut item, "x", write.expires_ms.map(number));
        // Rounded up, so that nothing is removed before its time.
        set(
            &mut item,
            "ttl",
            write.expires_ms.map(|ms| number(ms.div_ceil(1000))),
        );
        let now_ms = self.clock.now_ms();
        let now = (":now", number(now_ms));
        let condition = if write.expected == 0 {
            Condition::new("attribute_not_exists(pk) OR x <= :now", [now])
        } else {
            Condition::new(
                "v = :v AND (attribute_not_exists(x) OR x > :now)",
                [now, (":v", number(write.expected))],
            )
        };
        match self.table.put(item, Some(condition)).await? {
            Written::Done(_) => Ok(RecordOutcome::Saved(version)),
            Written::Refused(there) => {
                // The SDK repeats a request whose answer was lost: then it is this very write that is in the way.
                let written = there.as_ref().and_then(|item| find_text(item, "w"));
                if written == Some(own.as_str()) {
                    return Ok(RecordOutcome::Saved(version));
                }
                let there = living(kind, there.as_ref(), now_ms)?;
                Ok(RecordOutcome::Conflict(there.map(Box::new)))
            }
        }
    }

    pub(super) async fn remove_record(
        &self,
        key: &RecordKey,
        expected: u64,
    ) -> Result<RecordOutcome, StoreError> {
        let condition = Condition::new(
            "attribute_not_exists(pk) OR v = :v",
            [(":v", number(expected))],
        );
        match self.table.delete(&place(key), Some(condition)).await? {
            Written::Done(_) => Ok(RecordOutcome::Saved(0)),
            Written::Refused(there) => {
                let there = there.map(|item| record(key.kind, &item)).transpose()?;
                Ok(RecordOutcome::Conflict(there.map(Box::new)))
            }
        }
    }

    pub(super) async fn list_records(
        &self,
        kind: RecordKind,
        name: &str,
        query: &RecordQuery,
    ) -> Result<Vec<Record>, StoreError> {
        let limit = limited(query.limit.min(RECORD_PAGE_MAX));
        let first = format!(".{}", query.prefix);
        // Keys are compared by bytes, so those with a prefix lie between it and it followed by the last character.
        let last = format!("{first}\u{10ffff}");
        let after = query.after.as_ref().map(|after| format!(".{after}"));
        let (low, high) = match &after {
            None => (first, last),
            Some(after) if query.descending => (first, last.min(after.clone())),
            Some(after) => (first.max(after.clone()), last),
        };
        if low > high {
            return Ok(Vec::new());
        }
        let found = self
            .table
            .query(&Query {
                keys: Condition::new(
                    "pk = :p AND sk BETWEEN :a AND :z",
                    [
                        (":p", text(partition(kind, name))),
                        (":a", text(low)),
                        (":z", text(high)),
                    ],
                ),
                descending: query.descending,
                // One more: the record that was asked for what comes after it may be among them.
                limit: limit.saturating_add(1),
                ..Query::default()
            })
            .await?;
        let records = found.iter().map(|item| record(kind, item));
        let others = records.filter(|found| {
            let sort = found.as_ref().map(|record| &record.key.sort).ok();
            sort.is_none() || sort != query.after.as_ref()
        });
        others.take(limit).collect()
    }

    pub(super) async fn list_due_records(
        &self,
        kind: RecordKind,
        now_ms: u64,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        let limit = limited(limit.min(RECORD_PAGE_MAX));
        let partition = std::iter::once(due_partition(kind));
        let due = self.due_keys(partition, now_ms, limit).await?;
        let keys: Vec<Key> = due.into_iter().map(|(_, key)| key).collect();
        let mut found = HashMap::new();
        for item in self.table.get_all(&keys).await? {
            found.insert(Key::of(&item)?, item);
        }
        let mut records = Vec::with_capacity(keys.len());
        for key in keys {
            // The index is a moment behind the table: what is no longer due there is left out.
            if let Some(item) = found.get(&key) {
                let record = record(kind, item)?;
                if record.due_ms.is_some_and(|due_ms| due_ms <= now_ms) {
                    records.push(record);
                }
            }
        }
        Ok(records)
    }
}
