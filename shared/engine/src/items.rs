//! The values a loop iterates over: evaluated once, kept as one artifact, read by iteration.

use std::sync::Arc;

use bytes::Bytes;
use operon_core::plan::ShardId;
use serde_json::{Value, json};

use crate::Ports;
use crate::kept::Kept;
use crate::ports::{ArtifactError, ArtifactUri, ExecutionId};

/// Bytes of all values of one loop at most.
pub const ITEMS_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Loops whose values are kept in memory.
const LOOPS_KEPT: usize = 16;

/// Values of one loop: JSON lines, found by iteration.
#[derive(Debug)]
pub struct Items {
    bytes: Bytes,
    ends: Vec<u32>,
}

impl Items {
    fn index(bytes: Bytes) -> Self {
        let newline = |(at, byte): (usize, &u8)| (*byte == b'\n').then_some(at);
        let ends = bytes
            .iter()
            .enumerate()
            .filter_map(newline)
            .filter_map(|at| u32::try_from(at).ok());
        let ends = ends.collect();
        Self { bytes, ends }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The `item` root of an iteration: `value`, `index`, and for maps `key`.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<Value> {
        let at = usize::try_from(index).ok()?;
        let end = usize::try_from(*self.ends.get(at)?).ok()?;
        let begin = match at.checked_sub(1) {
            Some(before) => usize::try_from(*self.ends.get(before)?).ok()? + 1,
            None => 0,
        };
        let entry: Value = serde_json::from_slice(self.bytes.get(begin..end)?).ok()?;
        let mut item = json!({"value": entry.get("v"), "index": index});
        if let (Some(item), Some(key)) = (item.as_object_mut(), entry.get("k")) {
            item.insert("key".to_owned(), key.clone());
        }
        Some(item)
    }
}

/// Which loop of which execution.
type LoopKey = (ExecutionId, ShardId, u16);

/// Values of loops by loop.
#[derive(Debug)]
pub struct LoopItems {
    kept: Kept<LoopKey, Items>,
}

impl Default for LoopItems {
    fn default() -> Self {
        Self {
            kept: Kept::new(LOOPS_KEPT),
        }
    }
}

fn uri(key: &LoopKey) -> Result<ArtifactUri, ArtifactError> {
    let shard = key.1.to_string().replace('/', "-");
    ArtifactUri::new(&format!(
        "executions/{}/loops/{shard}-{}.jsonl",
        key.0, key.2
    ))
}

impl LoopItems {
    /// Stores what a loop iterates over and returns how many iterations that are. The error is a sentence
    /// for people.
    pub async fn put(&self, ports: &Ports, key: LoopKey, values: &Value) -> Result<u32, String> {
        let mut bytes = Vec::new();
        match values {
            Value::Array(values) => {
                for value in values {
                    line(&mut bytes, &json!({ "v": value }));
                }
            }
            Value::Object(entries) => {
                for (name, value) in entries {
                    line(
                        &mut bytes,
                        &json!({"k": name, "v": {"key": name, "value": value}}),
                    );
                }
            }
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                return Err(format!(
                    "the values of a loop must be a list, a map, a JSON text or an artifact's URI, not {other}"
                ));
            }
        }
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > ITEMS_BYTES_MAX {
            return Err(format!(
                "the values of the loop have {size} bytes; at most {ITEMS_BYTES_MAX} are possible: \
                 iterate over file names or indices instead"
            ));
        }
        let items = Arc::new(Items::index(Bytes::from(bytes)));
        let place = uri(&key).map_err(|error| error.to_string())?;
        ports
            .artifacts
            .put(&place, items.bytes.clone())
            .await
            .map_err(|error| error.to_string())?;
        let count = items.len();
        self.kept.put(key, items);
        Ok(count)
    }

    /// The values of a loop that has begun.
    pub async fn get(&self, ports: &Ports, key: &LoopKey) -> Result<Arc<Items>, ArtifactError> {
        if let Some(found) = self.kept.get(key) {
            return Ok(found);
        }
        let bytes = ports.artifacts.get(&uri(key)?, ITEMS_BYTES_MAX).await?;
        let items = Arc::new(Items::index(bytes));
        self.kept.put(key.clone(), Arc::clone(&items));
        Ok(items)
    }
}

fn line(out: &mut Vec<u8>, value: &Value) {
    out.extend(value.to_string().into_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn items_are_found_by_index() {
        let items = Items::index(Bytes::from_static(
            b"{\"v\":1}\n{\"v\":\"b\"}\n{\"k\":\"x\",\"v\":null}\n",
        ));
        assert_eq!(items.len(), 3);
        assert_eq!(items.get(1), Some(json!({"value": "b", "index": 1})));
        assert_eq!(
            items.get(2),
            Some(json!({"value": null, "index": 2, "key": "x"}))
        );
        assert_eq!(items.get(3), None);
    }
}
