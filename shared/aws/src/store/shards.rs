//! Shards and locks: bytes with a version, written only by whoever has read that version.
//!
//! A shard's item stays within 1 KiB, which is one write unit: two keys, the version `v`, the bytes `b`, and while it
//! is not complete its place in the due index, `q` and `due`.

use std::collections::HashMap;

use futures_util::future::join_all;
use operon_core::plan::ShardId;
use operon_engine::ports::{ExecutionId, SaveOutcome, ShardKey, ShardRow, ShardWrite, StoreError};

use super::item::{Item, Key, bytes, get_bytes, get_number, get_text, number, set, text};
use super::table::{Condition, Query, Written};
use super::{DynamoStore, RETENTION_MS, keys, limited};

/// The row of an item that has one.
fn row(item: &Item) -> Result<ShardRow, StoreError> {
    Ok(ShardRow {
        version: get_number(item, "v")?,
        bytes: get_bytes(item, "b")?.to_vec(),
    })
}

/// What is written: where, on what condition, and when it is due in which partition of the index.
struct Versioned<'a> {
    key: Key,
    expected: u64,
    bytes: &'a [u8],
    due: Option<(String, u64)>,
    /// Seconds since the epoch at which `DynamoDB` may remove it.
    ttl: Option<u64>,
}

impl Versioned<'_> {
    fn item(&self) -> Item {
        let mut item = self.key.item();
        item.insert("v".to_owned(), number(self.expected.saturating_add(1)));
        item.insert("b".to_owned(), bytes(self.bytes));
        if let Some((partition, due_ms)) = &self.due {
            item.insert("q".to_owned(), text(partition));
            item.insert("due".to_owned(), number(*due_ms));
        }
        set(&mut item, "ttl", self.ttl.map(number));
        item
    }
}

impl DynamoStore {
    async fn save(&self, write: Versioned<'_>) -> Result<SaveOutcome, StoreError> {
        let version = write.expected.saturating_add(1);
        let item = write.item();
        let condition = if write.expected == 0 {
            Condition::absent()
        } else {
            Condition::new("v = :v", [(":v", number(write.expected))])
        };
        match self.table.put(item, Some(condition)).await? {
            Written::Done(_) => Ok(SaveOutcome::Saved(version)),
            Written::Refused(there) => {
                let there = there.as_ref().map(row).transpose()?;
                // The SDK repeats a request whose answer was lost: then it is our own write that is in the way.
                let own = there
                    .as_ref()
                    .is_some_and(|there| there.version == version && there.bytes == write.bytes);
                Ok(if own {
                    SaveOutcome::Saved(version)
                } else {
                    SaveOutcome::Conflict(there)
                })
            }
        }
    }

    pub(super) async fn save_shard(&self, write: &ShardWrite) -> Result<SaveOutcome, StoreError> {
        let key = keys::shard(&write.key.execution, &write.key.shard);
        let due = write.due_ms.map(|due_ms| {
            // Rounded up: while a shard changes often, its place in the index does not.
            let step = self.due_step_ms.max(1);
            let rounded = due_ms.div_ceil(step).saturating_mul(step);
            (keys::due_partition(&key), rounded)
        });
        let complete = write.due_ms.is_none();
        self.save(Versioned {
            key,
            expected: write.expected,
            bytes: &write.bytes,
            due,
            ttl: complete.then(|| self.expiry(RETENTION_MS)),
        })
        .await
    }

    pub(super) async fn read_shard(&self, key: &ShardKey) -> Result<Option<ShardRow>, StoreError> {
        let item = self
            .table
            .get(&keys::shard(&key.execution, &key.shard))
            .await?;
        item.as_ref().map(row).transpose()
    }

    pub(super) async fn read_shards_at(
        &self,
        wanted: &[ShardKey],
    ) -> Result<Vec<Option<ShardRow>>, StoreError> {
        let wanted: Vec<Key> = (wanted.iter())
            .map(|key| keys::shard(&key.execution, &key.shard))
            .collect();
        let items = self.table.get_all(&wanted).await?;
        let found: Result<HashMap<Key, ShardRow>, StoreError> = items
            .iter()
            .map(|item| {
                let key = Key::new(get_text(item, "pk")?, get_text(item, "sk")?);
                Ok((key, row(item)?))
            })
            .collect();
        let found = found?;
        Ok(wanted.iter().map(|key| found.get(key).cloned()).collect())
    }

    pub(super) async fn read_shards(
        &self,
        id: &ExecutionId,
    ) -> Result<Vec<(ShardId, ShardRow)>, StoreError> {
        let query = Query {
            keys: Condition::new("pk = :p", [(":p", text(keys::shards(id)))]),
            limit: usize::MAX,
            ..Query::default()
        };
        let items = self.table.query(&query).await?;
        items
            .iter()
            .map(|item| Ok((keys::shard_of(get_text(item, "sk")?)?, row(item)?)))
            .collect()
    }

    /// What is due in some partitions of the index, the longest overdue first.
    pub(super) async fn due_keys(
        &self,
        partitions: impl Iterator<Item = String>,
        now_ms: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Key)>, StoreError> {
        let queries: Vec<Query> = partitions
            .map(|partition| Query {
                index: Some("due"),
                keys: Condition::new(
                    "q = :q AND due <= :d",
                    [(":q", text(partition)), (":d", number(now_ms))],
                ),
                limit,
                ..Query::default()
            })
            .collect();
        let mut due = Vec::new();
        for items in join_all(queries.iter().map(|query| self.table.query(query))).await {
            for item in items? {
                due.push((get_number(&item, "due")?, Key::of(&item)?));
            }
        }
        due.sort_by(|a, b| (a.0, &a.1.pk, &a.1.sk).cmp(&(b.0, &b.1.pk, &b.1.sk)));
        due.truncate(limit);
        Ok(due)
    }

    pub(super) async fn due_shards(
        &self,
        now_ms: u64,
        limit: u32,
    ) -> Result<Vec<(u64, ShardKey)>, StoreError> {
        let found = self
            .due_keys(keys::due_partitions(), now_ms, limited(limit))
            .await?;
        found
            .into_iter()
            .map(|(due_ms, key)| {
                let execution = key.pk.strip_prefix("S#").unwrap_or_default();
                let key = ShardKey {
                    execution: execution.parse().map_err(StoreError::Corrupt)?,
                    shard: keys::shard_of(&key.sk)?,
                };
                Ok((due_ms, key))
            })
            .collect()
    }

    pub(super) async fn read_lock(&self, name: &str) -> Result<Option<ShardRow>, StoreError> {
        let item = self.table.get(&keys::lock(name)).await?;
        item.as_ref().map(row).transpose()
    }

    pub(super) async fn write_lock(
        &self,
        name: &str,
        expected: u64,
        bytes: &[u8],
        due_ms: Option<u64>,
    ) -> Result<SaveOutcome, StoreError> {
        self.save(Versioned {
            key: keys::lock(name),
            expected,
            bytes,
            due: due_ms.map(|due_ms| (keys::DUE_LOCKS.to_owned(), due_ms)),
            ttl: None,
        })
        .await
    }

    /// Locks due at or before `now_ms`, the longest overdue first, with their due times.
    pub async fn due_locks(
        &self,
        now_ms: u64,
        limit: u32,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let partition = std::iter::once(keys::DUE_LOCKS.to_owned());
        let found = self.due_keys(partition, now_ms, limited(limit)).await?;
        let name = |key: Key| key.pk.strip_prefix("L#").unwrap_or_default().to_owned();
        Ok(found
            .into_iter()
            .map(|(due_ms, key)| (name(key), due_ms))
            .collect())
    }

    pub(super) async fn read_queue(
        &self,
        name: &str,
        limit: u32,
    ) -> Result<Vec<ExecutionId>, StoreError> {
        let query = Query {
            keys: Condition::new(
                "pk = :p AND begins_with(sk, :o)",
                [(":p", text(keys::queue(name))), (":o", text("o#"))],
            ),
            limit: limited(limit),
            ..Query::default()
        };
        let items = self.table.query(&query).await?;
        items
            .iter()
            .map(|item| keys::queued_execution(get_text(item, "sk")?))
            .collect()
    }

    /// Enters an execution: first the note of its place, then the place, so that it can always be removed.
    pub(super) async fn enter_queue(
        &self,
        name: &str,
        id: &ExecutionId,
        priority: i32,
    ) -> Result<(), StoreError> {
        // Age counts from the creation of the execution, not from here: entering may be repeated late.
        let created_ms = self.created_ms(id).await?;
        let order = keys::queue_order(priority, created_ms, id);
        let note = Key::new(keys::queue(name), format!("i#{id}"));
        let before = self.table.get(&note).await?;
        let before = before
            .as_ref()
            .map(|item| get_text(item, "o"))
            .transpose()?;
        if before != Some(order.as_str()) {
            let mut item = note.item();
            item.insert("o".to_owned(), text(&order));
            self.table.put(item, None).await?;
        }
        self.table
            .put(Key::new(keys::queue(name), &order).item(), None)
            .await?;
        if let Some(before) = before.filter(|before| *before != order) {
            self.table
                .delete(&Key::new(keys::queue(name), before), None)
                .await?;
        }
        Ok(())
    }

    pub(super) async fn leave_queue(&self, name: &str, id: &ExecutionId) -> Result<(), StoreError> {
        let note = Key::new(keys::queue(name), format!("i#{id}"));
        let Some(item) = self.table.get(&note).await? else {
            return Ok(());
        };
        let place = Key::new(keys::queue(name), get_text(&item, "o")?);
        self.table.delete(&place, None).await?;
        self.table.delete(&note, None).await?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use operon_testkit::memory::units;

    use super::*;
    use crate::store::DUE_STEP_MS;
    use crate::store::item::size;

    #[test]
    fn the_item_of_a_full_shard_is_one_write_unit() {
        // The header of a chunk and 128 slots of 7 bytes, in an execution with a derived id.
        let content = [0; 63 + 128 * 7];
        let id: ExecutionId = "0123456789abcdef012345".parse().unwrap();
        let key = keys::shard(&id, &ShardId::ROOT.of_loop(12, 70_000));
        let write = Versioned {
            due: Some((keys::due_partition(&key), 1_893_456_000_000)),
            key,
            expected: 1000,
            bytes: &content,
            ttl: None,
        };
        let bytes = size(&write.item());
        assert!(bytes <= 1024, "{bytes}");
    }

    #[test]
    fn the_store_in_memory_counts_the_sizes_of_these_items() {
        let id: ExecutionId = "0123456789abcdef012345".parse().unwrap();
        for (shard, due) in [
            (ShardId::ROOT, true),
            (ShardId::ROOT.of_loop(12, 70_000), false),
        ] {
            let key = keys::shard(&id, &shard);
            let write = Versioned {
                due: due.then(|| (keys::due_partition(&key), 1_893_456_000_000)),
                key,
                expected: 1000,
                bytes: &[7; 600],
                ttl: (!due).then_some(1_893_456_000),
            };
            assert_eq!(size(&write.item()), units::shard_bytes(&shard, 600, due));
        }
        assert_eq!(DUE_STEP_MS, units::DUE_STEP_MS);
    }
}
