//! Key-value pairs of namespaces, the task cache, and the numbers of revisions.
//!
//! What has expired is not there, although `DynamoDB` removes it only within days.

use operon_engine::ports::{KV_BYTES_MAX, KV_KEY_MAX, KvEntry, StoreError};
use serde_json::{Map, Value};

use super::item::{
    Item, Key, find_number, from_json, get_number, get_text, json, number, set, text,
};
use super::table::{Condition, Query, Written};
use super::{DynamoStore, keys};

/// How often a number is claimed while others claim numbers of the same flow.
const CLAIMS_MAX: usize = 20;
/// Numbers of revisions of a flow at most; each is an item.
const REVISIONS_MAX: usize = 100_000;

fn pair(namespace: &str, key: &str) -> Result<Key, StoreError> {
    if key.is_empty() || key.len() > KV_KEY_MAX {
        return Err(StoreError::Failed(format!(
            "a key has {} bytes; at least 1 and at most {KV_KEY_MAX} are allowed",
            key.len()
        )));
    }
    Ok(Key::new(format!("K#{namespace}"), key))
}

fn lives(item: &Item, now_ms: u64) -> Result<bool, StoreError> {
    Ok(find_number(item, "x")?.is_none_or(|expires_ms| expires_ms > now_ms))
}

fn entry(item: &Item) -> Result<KvEntry, StoreError> {
    Ok(KvEntry {
        key: get_text(item, "sk")?.to_owned(),
        value: from_json(item, "j")?,
        expires_ms: find_number(item, "x")?,
    })
}

fn limited(text: String) -> Result<String, StoreError> {
    if text.len() <= KV_BYTES_MAX {
        return Ok(text);
    }
    Err(StoreError::Failed(format!(
        "a value has {} bytes of JSON; at most {KV_BYTES_MAX} can be stored, put larger data into a file",
        text.len()
    )))
}

fn expires(item: &mut Item, expires_ms: Option<u64>) {
    set(item, "x", expires_ms.map(number));
    // Rounded up, so that nothing is removed before its time.
    set(item, "ttl", expires_ms.map(|ms| number(ms.div_ceil(1000))));
}

impl DynamoStore {
    pub(super) async fn read_pair(
        &self,
        namespace: &str,
        key: &str,
        now_ms: u64,
    ) -> Result<Option<KvEntry>, StoreError> {
        match self.table.get(&pair(namespace, key)?).await? {
            Some(item) if lives(&item, now_ms)? => entry(&item).map(Some),
            Some(_) | None => Ok(None),
        }
    }

    pub(super) async fn list_pairs(
        &self,
        namespace: &str,
        prefix: &str,
        now_ms: u64,
    ) -> Result<Vec<KvEntry>, StoreError> {
        let space = text(format!("K#{namespace}"));
        let keys = if prefix.is_empty() {
            Condition::new("pk = :p", [(":p", space)])
        } else {
            let values = [(":p", space), (":b", text(prefix))];
            Condition::new("pk = :p AND begins_with(sk, :b)", values)
        };
        let query = Query {
            keys,
            limit: usize::MAX,
            ..Query::default()
        };
        let mut entries = Vec::new();
        for item in self.table.query(&query).await? {
            if lives(&item, now_ms)? {
                entries.push(entry(&item)?);
            }
        }
        Ok(entries)
    }

    pub(super) async fn set_pair(
        &self,
        namespace: &str,
        entry: &KvEntry,
        overwrite: bool,
    ) -> Result<bool, StoreError> {
        let mut item = pair(namespace, &entry.key)?.item();
        item.insert(
            "j".to_owned(),
            text(limited(json(&entry.value, "a value")?)?),
        );
        expires(&mut item, entry.expires_ms);
        let condition = (!overwrite).then(|| {
            Condition::new(
                "attribute_not_exists(pk) OR x <= :now",
                [(":now", number(self.clock.now_ms()))],
            )
        });
        Ok(matches!(
            self.table.put(item, condition).await?,
            Written::Done(_)
        ))
    }

    pub(super) async fn delete_pair(&self, namespace: &str, key: &str) -> Result<bool, StoreError> {
        let removed = self.table.delete(&pair(namespace, key)?, None).await?;
        Ok(matches!(removed, Written::Done(Some(_))))
    }

    pub(super) async fn read_cached(
        &self,
        key: &str,
        now_ms: u64,
    ) -> Result<Option<Map<String, Value>>, StoreError> {
        match self.table.get(&cache_key(key)).await? {
            Some(item) if lives(&item, now_ms)? => from_json(&item, "j").map(Some),
            Some(_) | None => Ok(None),
        }
    }

    pub(super) async fn write_cached(
        &self,
        key: &str,
        outputs: &Map<String, Value>,
        expires_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        let mut item = cache_key(key).item();
        item.insert(
            "j".to_owned(),
            text(limited(json(outputs, "cached outputs")?)?),
        );
        expires(&mut item, expires_ms);
        self.table.put(item, None).await.map(drop)
    }

    /// The number of this plan among the plans of its flow. A number belongs to whoever put its item first, and that
    /// item names the plan; the pointer from the plan to its number only saves reading them all.
    pub(super) async fn number_of_plan(
        &self,
        namespace: &str,
        flow: &str,
        hash: &str,
    ) -> Result<u32, StoreError> {
        let partition = keys::revisions(namespace, flow);
        let pointer = Key::new(&partition, format!("h#{hash}"));
        if let Some(item) = self.table.get(&pointer).await? {
            return narrow(get_number(&item, "n")?);
        }
        let numbers = Query {
            keys: Condition::new(
                "pk = :p AND begins_with(sk, :r)",
                [(":p", text(&partition)), (":r", text("r#"))],
            ),
            limit: REVISIONS_MAX,
            ..Query::default()
        };
        for _ in 0..CLAIMS_MAX {
            let taken = self.table.query(&numbers).await?;
            let own = taken
                .iter()
                .find(|item| get_text(item, "h").is_ok_and(|h| h == hash));
            let claimed = if let Some(item) = own {
                Some(get_number(item, "n")?)
            } else {
                let last = taken.last().map(|item| get_number(item, "n")).transpose()?;
                let next = last.unwrap_or(0) + 1;
                let mut item = Key::new(&partition, format!("r#{next:010}")).item();
                item.insert("n".to_owned(), number(next));
                item.insert("h".to_owned(), text(hash));
                let put = self.table.put(item, Some(Condition::absent())).await?;
                matches!(put, Written::Done(_)).then_some(next)
            };
            if let Some(claimed) = claimed {
                let mut item = pointer.item();
                item.insert("n".to_owned(), number(claimed));
                self.table.put(item, None).await?;
                return narrow(claimed);
            }
        }
        Err(StoreError::Busy(format!(
            "revisions of {namespace}/{flow} are numbered by others all the time"
        )))
    }
}

fn cache_key(key: &str) -> Key {
    Key::new(format!("C#{key}"), "C")
}

fn narrow(number: u64) -> Result<u32, StoreError> {
    u32::try_from(number)
        .map_err(|_| StoreError::Corrupt(format!("revision {number} is out of range")))
}
