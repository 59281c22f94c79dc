//! Lists of executions, newest first.
//!
//! Two ways lead there. Every execution is in the list index under the class of its state, so what goes on and what
//! failed is found without passing by what is well. And every execution has an entry under its flow, written once, so
//! a flow or a namespace is listed without passing by others. The list takes the way with less to pass by.

use std::collections::{HashMap, VecDeque};

use futures_util::future::try_join_all;
use operon_engine::ports::{ExecutionFilter, ExecutionId, ExecutionMeta, ExecutionRow, StoreError};

use super::executions::{CLASSES, class, label};
use super::item::{Item, Key, get_text, number, text};
use super::table::{Condition, PAGES_MAX, Query};
use super::{DynamoStore, RETENTION_MS, keys, limited};

/// Conditions of a filter at most; `DynamoDB` takes expressions of 4 KB.
const CONDITIONS_MAX: usize = 32;
/// Entries of a flow that are looked up at a time.
const LOOK: usize = 100;
/// Flows of a namespace that are listed together at most.
const FLOWS_MAX: usize = 1000;

/// Which part of a list is wanted, as sort keys.
struct Range {
    low: String,
    high: String,
    descending: bool,
    cursor: Option<String>,
}

impl Range {
    /// None when nothing can lie in it.
    fn of(filter: &ExecutionFilter) -> Option<Self> {
        let place = |(created_ms, id): &(u64, ExecutionId)| keys::created(*created_ms, id);
        let (before, after) = (
            filter.before.as_ref().map(place),
            filter.after.as_ref().map(place),
        );
        // Every sort key has an id behind its time, so a time alone comes before all of its moment.
        let time = |ms: u64| format!("{ms:016}");
        let low = filter.from_ms.map(time).max(after.clone());
        let high = [filter.to_ms.map(time), before.clone()]
            .into_iter()
            .flatten()
            .min();
        let range = Self {
            low: low.unwrap_or_else(|| "0".to_owned()),
            // After all digits.
            high: high.unwrap_or_else(|| "~".to_owned()),
            descending: after.is_none(),
            cursor: after.or(before),
        };
        (range.low <= range.high).then_some(range)
    }

    /// The range within a partition, over the names of its keys.
    fn condition(&self, partition: &str, sort: &str, name: String) -> Condition {
        Condition::new(
            format!("{partition} = :p AND {sort} BETWEEN :low AND :high"),
            [
                (":p", text(name)),
                (":low", text(&self.low)),
                (":high", text(&self.high)),
            ],
        )
    }

    /// The ends of the range belong to it, cursors do not.
    fn is_cursor(&self, sort: &str) -> bool {
        self.cursor.as_deref() == Some(sort)
    }
}

/// One partition that is read from the newest on.
struct Stream {
    query: Query,
    /// The attribute that orders it.
    order: &'static str,
    found: VecDeque<Item>,
    start: Option<Item>,
    ended: bool,
}

impl Stream {
    fn new(query: Query, order: &'static str) -> Self {
        Self {
            query,
            order,
            found: VecDeque::new(),
            start: None,
            ended: false,
        }
    }

    fn needs(&self) -> bool {
        self.found.is_empty() && !self.ended
    }

    fn head(&self) -> Option<&str> {
        self.found
            .front()
            .and_then(|item| get_text(item, self.order).ok())
    }
}

/// Streams as one, newest first, or oldest first after a cursor.
struct Merged {
    streams: Vec<Stream>,
    descending: bool,
    pages: usize,
}

impl Merged {
    fn new(streams: Vec<Stream>, descending: bool) -> Self {
        Self {
            streams,
            descending,
            pages: 0,
        }
    }

    /// The next item of all.
    async fn next(
        &mut self,
        store: &DynamoStore,
        limit: usize,
    ) -> Result<Option<Item>, StoreError> {
        while self.streams.iter().any(Stream::needs) {
            if self.pages >= PAGES_MAX {
                return Err(StoreError::Failed(format!(
                    "nothing more was found in {PAGES_MAX} pages of executions; add a flow or a state to the filter"
                )));
            }
            let hungry: Vec<usize> = (0..)
                .zip(&self.streams)
                .filter_map(|(index, stream)| stream.needs().then_some(index))
                .collect();
            self.pages += hungry.len();
            let streams = &self.streams;
            let pages = hungry
                .iter()
                .filter_map(|index| streams.get(*index))
                .map(|stream| store.table.page(&stream.query, limit, stream.start.clone()));
            let pages = try_join_all(pages).await?;
            for (index, (items, next)) in hungry.into_iter().zip(pages) {
                if let Some(stream) = self.streams.get_mut(index) {
                    stream.found.extend(items);
                    stream.ended = next.is_none();
                    stream.start = next;
                }
            }
        }
        let found = self
            .streams
            .iter_mut()
            .filter(|stream| !stream.found.is_empty());
        let first = if self.descending {
            found.max_by(|a, b| a.head().cmp(&b.head()))
        } else {
            found.min_by(|a, b| a.head().cmp(&b.head()))
        };
        Ok(first.and_then(|stream| stream.found.pop_front()))
    }
}

impl DynamoStore {
    /// Enters an execution under its flow and its parent, and the flow among the flows that have executions.
    pub(super) async fn enter_lists(&self, meta: &ExecutionMeta) -> Result<(), StoreError> {
        let name = keys::flow_name(&meta.namespace, &meta.flow);
        if !self.knows_flow(&name) {
            self.table
                .put(Key::new(keys::FLOWS, &name).item(), None)
                .await?;
            self.remember_flow(&name);
        }
        let sort = keys::created(meta.created_ms, &meta.id);
        let parent = meta.parent.as_ref().map(|(id, ..)| keys::children(id));
        for partition in [Some(keys::flow_executions(&name)), parent]
            .into_iter()
            .flatten()
        {
            let mut item = Key::new(partition, &sort).item();
            item.insert("ttl".to_owned(), number(self.expiry(RETENTION_MS)));
            self.table.put(item, None).await?;
        }
        Ok(())
    }

    pub(super) async fn list_executions(
        &self,
        filter: &ExecutionFilter,
    ) -> Result<Vec<ExecutionRow>, StoreError> {
        if filter.states.len() > CONDITIONS_MAX || filter.labels.len() > CONDITIONS_MAX {
            return Err(StoreError::Failed(format!(
                "a filter takes at most {CONDITIONS_MAX} states and as many labels"
            )));
        }
        // Of executions that are well there are most: a flow's entries are fewer than those of all flows.
        let well =
            filter.states.is_empty() || filter.states.iter().any(|state| class(state) == 's');
        let items = if filter.parent.is_some() || filter.namespace.is_some() && well {
            self.by_entries(filter).await?
        } else {
            self.by_class(filter).await?
        };
        self.rows_of(items).await
    }

    async fn by_class(&self, filter: &ExecutionFilter) -> Result<Vec<Item>, StoreError> {
        let Some(range) = Range::of(filter) else {
            return Ok(Vec::new());
        };
        let classes = CLASSES.into_iter().filter(|class_| {
            filter.states.is_empty() || filter.states.iter().any(|state| class(state) == *class_)
        });
        let limit = limited(filter.limit);
        let (conditions, values) = conditions(filter);
        let streams = classes.flat_map(keys::list_partitions).map(|partition| {
            let mut keys = range.condition("l", "lk", partition);
            keys.values.extend(values.clone());
            let query = Query {
                index: Some("list"),
                keys,
                filter: conditions.clone(),
                descending: range.descending,
                limit,
            };
            Stream::new(query, "lk")
        });
        let mut merged = Merged::new(streams.collect(), range.descending);
        let mut items = Vec::new();
        while items.len() < limit {
            // One more: the cursor itself may be among them.
            let Some(item) = merged.next(self, limit.saturating_add(1)).await? else {
                break;
            };
            if !range.is_cursor(get_text(&item, "lk")?) {
                items.push(item);
            }
        }
        Ok(items)
    }

    /// Entries of a parent, or of the flows that match, looked up and filtered a hundred at a time.
    async fn by_entries(&self, filter: &ExecutionFilter) -> Result<Vec<Item>, StoreError> {
        let Some(range) = Range::of(filter) else {
            return Ok(Vec::new());
        };
        let partitions = self.partitions_of(filter).await?;
        let streams = partitions.into_iter().map(|partition| {
            let query = Query {
                keys: range.condition("pk", "sk", partition),
                descending: range.descending,
                limit: LOOK,
                ..Query::default()
            };
            Stream::new(query, "sk")
        });
        let mut merged = Merged::new(streams.collect(), range.descending);
        let limit = limited(filter.limit);
        let plain = filter.states.is_empty() && filter.labels.is_empty();
        let look = if plain { limit.min(LOOK) } else { LOOK };
        let mut items: Vec<Item> = Vec::new();
        loop {
            let mut wanted = Vec::with_capacity(look);
            while wanted.len() < look {
                let Some(entry) = merged.next(self, look).await? else {
                    break;
                };
                let sort = get_text(&entry, "sk")?;
                if range.is_cursor(sort) {
                    continue;
                }
                let id = sort.rsplit('#').next().unwrap_or_default();
                wanted.push(Key::new(format!("E#{id}"), "E"));
            }
            let mut found = HashMap::new();
            for item in self.table.get_all(&wanted).await? {
                found.insert(Key::of(&item)?, item);
            }
            // An entry without an execution was left by a crash, or its execution has expired.
            let there = wanted.iter().filter_map(|key| found.remove(key));
            items.extend(there.filter(|item| matches(item, filter)));
            if items.len() >= limit || wanted.len() < look || limit == 0 {
                items.truncate(limit);
                return Ok(items);
            }
        }
    }

    async fn partitions_of(&self, filter: &ExecutionFilter) -> Result<Vec<String>, StoreError> {
        if let Some(parent) = &filter.parent {
            return Ok(vec![keys::children(parent)]);
        }
        let Some(namespace) = &filter.namespace else {
            return Ok(Vec::new());
        };
        if let Some(flow) = &filter.flow {
            return Ok(vec![keys::flow_executions(&keys::flow_name(
                namespace, flow,
            ))]);
        }
        let query = Query {
            keys: Condition::new(
                "pk = :p AND begins_with(sk, :n)",
                [
                    (":p", text(keys::FLOWS)),
                    (":n", text(keys::flow_name(namespace, ""))),
                ],
            ),
            limit: FLOWS_MAX,
            ..Query::default()
        };
        let items = self.table.query(&query).await?;
        items
            .iter()
            .map(|item| get_text(item, "sk").map(keys::flow_executions))
            .collect()
    }
}

/// The filter as an expression over attributes of the list index.
fn conditions(
    filter: &ExecutionFilter,
) -> (Option<String>, HashMap<String, super::item::Attribute>) {
    let mut parts = Vec::new();
    let mut values = HashMap::new();
    if let Some(namespace) = &filter.namespace {
        parts.push("ns = :ns".to_owned());
        values.insert(":ns".to_owned(), text(namespace));
    }
    if let Some(flow) = &filter.flow {
        parts.push("fl = :fl".to_owned());
        values.insert(":fl".to_owned(), text(flow));
    }
    if !filter.states.is_empty() {
        let names: Vec<String> = (0..filter.states.len()).map(|n| format!(":s{n}")).collect();
        parts.push(format!("st IN ({})", names.join(", ")));
        values.extend(names.into_iter().zip(filter.states.iter().map(text)));
    }
    for (n, (key, value)) in filter.labels.iter().enumerate() {
        // What people gave wins over what the flow and its tasks gave.
        parts.push(format!(
            "(contains(gs, :l{n}) OR (contains(lb, :l{n}) AND NOT contains(gk, :k{n})))"
        ));
        values.insert(format!(":l{n}"), text(label(key, value)));
        values.insert(format!(":k{n}"), text(keys::part(key)));
    }
    ((!parts.is_empty()).then(|| parts.join(" AND ")), values)
}

/// The same, over an item that was looked up.
fn matches(item: &Item, filter: &ExecutionFilter) -> bool {
    let is = |name: &str, wanted: Option<&String>| {
        wanted.is_none_or(|wanted| get_text(item, name).is_ok_and(|there| there == wanted))
    };
    let state = get_text(item, "st").unwrap_or_default();
    let none = Vec::new();
    let set = |name: &str| {
        let set = item.get(name).and_then(|set| set.as_ss().ok());
        set.unwrap_or(&none)
    };
    let (all, given, hidden) = (set("lb"), set("gs"), set("gk"));
    let has = |(key, value): &(String, String)| {
        let pair = label(key, value);
        given.contains(&pair) || all.contains(&pair) && !hidden.contains(&keys::part(key))
    };
    let parent = filter.parent.as_ref().map(ToString::to_string);
    is("ns", filter.namespace.as_ref())
        && is("fl", filter.flow.as_ref())
        && is("pa", parent.as_ref())
        && (filter.states.is_empty() || filter.states.iter().any(|wanted| wanted == state))
        && filter.labels.iter().all(has)
}
