//! The few requests that the store makes, with what all of them need: consumed units, paging, what was left
//! unprocessed, and errors sorted by what the caller does.
//!
//! Invariant: a refused condition brings the item that is there with it (`ALL_OLD`), which costs nothing; so a lost
//! race needs no further read.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConsumedCapacity, KeysAndAttributes, PutRequest, ReturnConsumedCapacity,
    ReturnValue, ReturnValuesOnConditionCheckFailure as OnFailure, WriteRequest,
};
use operon_engine::ports::StoreError;

use super::item::{Item, Key};
use super::keys::REMOVED;
use crate::errors::Trouble;
use crate::meter::Meter;

/// Keys of one batch of reads at most (`DynamoDB`).
const GET_MAX: usize = 100;
/// Items of one batch of writes at most (`DynamoDB`).
const PUT_MAX: usize = 25;
/// How often what was left unprocessed is asked for again.
const TRIES: u32 = 6;
/// Before the second try; doubles.
const PAUSE: Duration = Duration::from_millis(25);
/// Pages of one query at most: 1 MB each, so some 2 GB. Whoever needs more asks for less at a time.
pub(super) const PAGES_MAX: usize = 2000;

/// The table.
#[derive(Clone)]
pub(super) struct Table {
    client: aws_sdk_dynamodb::Client,
    name: String,
    meter: Meter,
}

/// A condition with its values.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition {
    pub(super) expression: String,
    pub(super) values: HashMap<String, AttributeValue>,
}

impl Condition {
    pub(super) fn new(
        expression: impl Into<String>,
        values: impl IntoIterator<Item = (&'static str, AttributeValue)>,
    ) -> Self {
        let named = values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        Self {
            expression: expression.into(),
            values: named.collect(),
        }
    }

    /// There is no such item yet.
    pub(super) fn absent() -> Self {
        Self::new("attribute_not_exists(pk)", [])
    }
}

/// What came of a conditional write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Written {
    /// Done; what was there before, where that was asked for.
    Done(Option<Item>),
    /// The condition did not hold; this is what is there.
    Refused(Option<Item>),
}

/// What to read of a partition.
#[derive(Debug, Clone, Default)]
pub(super) struct Query {
    /// Index; none is the table itself, read consistently.
    pub(super) index: Option<&'static str>,
    /// Which items, over `pk` or the index's key; and what to drop of them.
    pub(super) keys: Condition,
    /// Drops items after they were read, so it saves no units. Its values are those of `keys`.
    pub(super) filter: Option<String>,
    /// From the last to the first.
    pub(super) descending: bool,
    /// Items at most.
    pub(super) limit: usize,
}

/// One answer to a query: items, and where to go on.
pub(super) type Page = (Vec<Item>, Option<Item>);

impl Table {
    pub(super) fn new(client: aws_sdk_dynamodb::Client, name: &str, meter: &Meter) -> Self {
        Self {
            client,
            name: name.to_owned(),
            meter: meter.clone(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn consumed(&self, capacity: &[ConsumedCapacity], write: bool) {
        let units: f64 = capacity
            .iter()
            .filter_map(ConsumedCapacity::capacity_units)
            .sum();
        if write {
            self.meter.units(units, 0.0);
        } else {
            self.meter.units(0.0, units);
        }
    }

    /// One item, strongly consistent.
    pub(super) async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(key.item()))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| Trouble::of("reading an item", &error))?;
        self.consumed(answer.consumed_capacity.as_slice(), false);
        Ok(answer.item)
    }

    /// Puts an item in place of what is there, if the condition holds.
    pub(super) async fn put(
        &self,
        item: Item,
        condition: Option<Condition>,
    ) -> Result<Written, StoreError> {
        let (expression, values) = split(condition);
        let answer = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .set_condition_expression(expression)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                self.consumed(answer.consumed_capacity.as_slice(), true);
                Ok(Written::Done(None))
            }
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    // The refused write consumes as much as it would have written, and says so nowhere.
                    self.meter.units(1.0, 0.0);
                    Ok(Written::Refused(refused.item.clone()))
                }
                Some(_) | None => Err(Trouble::of("writing an item", &error).into()),
            },
        }
    }

    /// Puts items in place of what is there, in as few requests as there can be. No two may have the same key.
    pub(super) async fn put_all(&self, items: Vec<Item>) -> Result<(), StoreError> {
        let requests = items.into_iter().map(|item| {
            let put = PutRequest::builder().set_item(Some(item)).build();
            put.map(|put| WriteRequest::builder().put_request(put).build())
                .map_err(|error| StoreError::Failed(error.to_string()))
        });
        let requests = requests.collect::<Result<Vec<_>, _>>()?;
        let batches = requests
            .chunks(PUT_MAX)
            .map(|batch| self.put_batch(batch.to_vec()));
        futures_util::future::try_join_all(batches).await.map(drop)
    }

    async fn put_batch(&self, mut wanted: Vec<WriteRequest>) -> Result<(), StoreError> {
        let mut pause = PAUSE;
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            let answer = self
                .client
                .batch_write_item()
                .request_items(&self.name, wanted)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(|error| Trouble::of("writing items", &error))?;
            self.consumed(answer.consumed_capacity(), true);
            let left = answer.unprocessed_items.unwrap_or_default();
            wanted = left.into_values().flatten().collect();
            if wanted.is_empty() {
                return Ok(());
            }
        }
        let count = wanted.len();
        Err(StoreError::Busy(format!(
            "{count} items were left unwritten"
        )))
    }

    /// Changes some attributes of an item, which comes to be if it is not there.
    pub(super) async fn update(
        &self,
        key: &Key,
        update: String,
        condition: Option<Condition>,
        values: HashMap<String, AttributeValue>,
    ) -> Result<Written, StoreError> {
        let (expression, more) = split(condition);
        let mut values = values;
        values.extend(more.unwrap_or_default());
        let names = update.contains("#ttl").then(|| {
            // The one word among ours that `DynamoDB` reserves.
            HashMap::from([("#ttl".to_owned(), "ttl".to_owned())])
        });
        let answer = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key.item()))
            .update_expression(update)
            .set_condition_expression(expression)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values((!values.is_empty()).then_some(values))
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                self.consumed(answer.consumed_capacity.as_slice(), true);
                Ok(Written::Done(None))
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    self.meter.units(1.0, 0.0);
                    Ok(Written::Refused(refused.item.clone()))
                }
                Some(_) | None => Err(Trouble::of("changing an item", &error).into()),
            },
        }
    }

    /// Removes an item, if the condition holds, and says what it was.
    pub(super) async fn delete(
        &self,
        key: &Key,
        condition: Option<Condition>,
    ) -> Result<Written, StoreError> {
        debug_assert!(
            REMOVED.iter().any(|begin| key.pk.starts_with(begin)),
            "no function may remove this"
        );
        let (expression, values) = split(condition);
        let answer = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(key.item()))
            .set_condition_expression(expression)
            .set_expression_attribute_values(values)
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                self.consumed(answer.consumed_capacity.as_slice(), true);
                Ok(Written::Done(
                    answer.attributes.filter(|item| !item.is_empty()),
                ))
            }
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(refused)) => {
                    self.meter.units(1.0, 0.0);
                    Ok(Written::Refused(refused.item.clone()))
                }
                Some(_) | None => Err(Trouble::of("removing an item", &error).into()),
            },
        }
    }

    /// One page of a query, of at most 1 MB.
    pub(super) async fn page(
        &self,
        query: &Query,
        limit: usize,
        start: Option<Item>,
    ) -> Result<Page, StoreError> {
        // Of a filtered query the limit counts what is read, so it would only make for more requests.
        let limit = query
            .filter
            .is_none()
            .then(|| i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = self
            .client
            .query()
            .table_name(&self.name)
            .set_index_name(query.index.map(str::to_owned))
            .key_condition_expression(&query.keys.expression)
            .set_filter_expression(query.filter.clone())
            .set_expression_attribute_values(Some(query.keys.values.clone()))
            .consistent_read(query.index.is_none())
            .scan_index_forward(!query.descending)
            .set_limit(limit)
            .set_exclusive_start_key(start)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| Trouble::of("reading a list", &error))?;
        self.consumed(answer.consumed_capacity.as_slice(), false);
        let next = answer.last_evaluated_key.filter(|key| !key.is_empty());
        Ok((answer.items.unwrap_or_default(), next))
    }

    /// All pages of a query, up to its limit.
    pub(super) async fn query(&self, query: &Query) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        let mut start = None;
        for _ in 0..PAGES_MAX {
            let missing = query.limit.saturating_sub(items.len());
            if missing == 0 {
                return Ok(items);
            }
            let (found, next) = self.page(query, missing, start).await?;
            items.extend(found.into_iter().take(missing));
            if next.is_none() {
                return Ok(items);
            }
            start = next;
        }
        Err(StoreError::Failed(format!(
            "a list did not end after {PAGES_MAX} pages; ask for less at a time"
        )))
    }

    /// Items by their keys, each once and in no order; those that do not exist are left out.
    pub(super) async fn get_all(&self, keys: &[Key]) -> Result<Vec<Item>, StoreError> {
        let keys = distinct(keys);
        let batches = keys.chunks(GET_MAX).map(|batch| self.get_batch(batch));
        let found = futures_util::future::try_join_all(batches).await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn get_batch(&self, keys: &[Key]) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::with_capacity(keys.len());
        let mut wanted: Vec<Item> = keys.iter().map(Key::item).collect();
        let mut pause = PAUSE;
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            let request = KeysAndAttributes::builder()
                .set_keys(Some(wanted))
                .consistent_read(true)
                .build()
                .map_err(|error| StoreError::Failed(error.to_string()))?;
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.name, request)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(|error| Trouble::of("reading items", &error))?;
            self.consumed(answer.consumed_capacity(), false);
            items.extend(answer.responses.unwrap_or_default().into_values().flatten());
            wanted = (answer.unprocessed_keys.unwrap_or_default().into_values())
                .flat_map(|left| left.keys)
                .collect();
            if wanted.is_empty() {
                return Ok(items);
            }
        }
        Err(StoreError::Busy(format!(
            "{} of {} items were left unread",
            wanted.len(),
            keys.len()
        )))
    }
}

/// A batch must not name a key twice, and lists may: an execution that two deliveries created at once has an entry
/// for each.
fn distinct(keys: &[Key]) -> Vec<Key> {
    let mut seen = HashSet::new();
    let new = keys.iter().filter(|key| seen.insert(*key));
    new.cloned().collect()
}

fn split(
    condition: Option<Condition>,
) -> (Option<String>, Option<HashMap<String, AttributeValue>>) {
    match condition {
        None => (None, None),
        Some(condition) => {
            let values = (!condition.values.is_empty()).then_some(condition.values);
            (Some(condition.expression), values)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_asked_for_once() {
        let key = |name: &str| Key::new(name, "E");
        let keys = [key("a"), key("b"), key("a")];
        assert_eq!(distinct(&keys), [key("a"), key("b")]);
    }
}
