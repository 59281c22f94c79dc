//! Shards in memory: a warm planner need not read what it wrote.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use operon_core::exec::Shard;

use crate::ports::{ShardKey, ShardRow, StateStore, StoreError};

/// Shards kept in memory at most; about 4 MB.
const SHARDS_KEPT: usize = 2048;

/// A shard with the version it was stored under; version 0 means it is not stored yet.
#[derive(Debug, Clone)]
pub struct Versioned {
    /// Counts writes.
    pub version: u64,
    /// None when it does not exist.
    pub shard: Option<Arc<Shard>>,
}

/// A cache over the store. Stale entries are harmless for writing, which is conditional; what is read for
/// expressions is only ever a terminal state, which does not change within a round.
#[derive(Debug, Default)]
pub struct Shards {
    cache: Mutex<HashMap<ShardKey, Versioned>>,
}

impl Shards {
    /// The shard, from memory or the store.
    pub async fn get(
        &self,
        store: &dyn StateStore,
        key: &ShardKey,
    ) -> Result<Versioned, StoreError> {
        if let Some(found) = self.lock().get(key) {
            return Ok(found.clone());
        }
        let row = store.shard(key).await?;
        self.remember(key, row)
    }

    /// Takes what the store said in answer to a conflicting write.
    pub fn remember(&self, key: &ShardKey, row: Option<ShardRow>) -> Result<Versioned, StoreError> {
        let versioned = match row {
            Some(row) => Versioned {
                version: row.version,
                shard: Some(Arc::new(Shard::decode(&row.bytes).map_err(|error| {
                    StoreError::Corrupt(format!("{}: {error}", key.shard))
                })?)),
            },
            None => Versioned {
                version: 0,
                shard: None,
            },
        };
        self.put(key, versioned.clone(), false);
        Ok(versioned)
    }

    /// Keeps what was written; a complete shard is dropped, because nothing comes for it any more.
    pub fn put(&self, key: &ShardKey, versioned: Versioned, complete: bool) {
        let mut cache = self.lock();
        if complete {
            cache.remove(key);
            return;
        }
        if cache.len() >= SHARDS_KEPT && !cache.contains_key(key) {
            // Which one goes does not matter for correctness; any will be read again.
            if let Some(victim) = cache.keys().next().cloned() {
                cache.remove(&victim);
            }
        }
        cache.insert(key.clone(), versioned);
    }

    /// Whether one is in memory.
    pub fn has(&self, key: &ShardKey) -> bool {
        self.lock().contains_key(key)
    }

    /// Forgets all but these: what another planner may have written since.
    pub fn retain(&self, keys: &[ShardKey]) {
        self.lock().retain(|key, _| keys.contains(key));
    }

    /// Forgets one, after an error that leaves its stored version unknown.
    pub fn forget(&self, key: &ShardKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ShardKey, Versioned>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
