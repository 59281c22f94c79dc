//! Lists of executions, newest first.
//!
//! Two ways lead there. Every execution is in the list index under the class of its state, so what goes on and what
//! failed is found without passing by what is well. And every execution has an entry under its flow, written once, so
//! a flow or a namespace is listed without passing by others. The list takes the way with less to pass by.

use std::collections::{HashMap, VecDeque};

use futures_util::future::try_join_all;
use operon_engine::ports::{ExecutionFilter, ExecutionMeta, ExecutionRow, StoreError};

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

/// Streams as one, newest first.
struct Merged {
    streams: Vec<Stream>,
    pages: usize,
}

impl Merged {
    fn new(streams: Vec<Stream>) -> Self {
        Self { streams, pages: 0 }
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
        let newest = self
            .streams
            .iter_mut()
            .filter(|stream| !stream.found.is_empty());
        let newest = newest.max_by(|a, b| a.head().cmp(&b.head()));
        Ok(newest.and_then(|stream| stream.found.pop_front()))
    }
}

impl DynamoStore {
    /// Enters an execution under its flow, and the flow among the flows that have executions.
    pub(super) async fn list_by_flow(&self, meta: &ExecutionMeta) -> Result<(), StoreError> {
        let name = keys::flow_name(&meta.namespace, &meta.flow);
        if !self.knows_flow(&name) {
            self.table
                .put(Key::new(keys::FLOWS, &name).item(), None)
                .await?;
            self.remember_flow(&name);
        }
        let sort = keys::created(meta.created_ms, &meta.id);
        let mut item = Key::new(keys::flow_executions(&name), sort).item();
        item.insert("ttl".to_owned(), number(self.expiry(RETENTION_MS)));
        self.table.put(item, None).await.map(drop)
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
        let items = if filter.namespace.is_some() && well {
            self.by_flow(filter).await?
        } else {
            self.by_class(filter).await?
        };
        self.rows_of(items).await
    }

    async fn by_class(&self, filter: &ExecutionFilter) -> Result<Vec<Item>, StoreError> {
        let classes = CLASSES.into_iter().filter(|class_| {
            filter.states.is_empty() || filter.states.iter().any(|state| class(state) == *class_)
        });
        let limit = limited(filter.limit);
        let (conditions, values) = conditions(filter);
        let streams = classes.flat_map(keys::list_partitions).map(|partition| {
            let mut keys = Condition::new("l = :p", [(":p", text(partition))]);
            if let Some((created_ms, id)) = &filter.before {
                keys.expression.push_str(" AND lk < :before");
                keys.values
                    .insert(":before".to_owned(), text(keys::created(*created_ms, id)));
            }
            keys.values.extend(values.clone());
            let query = Query {
                index: Some("list"),
                keys,
                filter: conditions.clone(),
                descending: true,
                limit,
            };
            Stream::new(query, "lk")
        });
        let mut merged = Merged::new(streams.collect());
        let mut items = Vec::new();
        while items.len() < limit {
            let Some(item) = merged.next(self, limit).await? else {
                break;
            };
            items.push(item);
        }
        Ok(items)
    }

    /// Entries of the flows that match, looked up and filtered a hundred at a time.
    async fn by_flow(&self, filter: &ExecutionFilter) -> Result<Vec<Item>, StoreError> {
        let streams = self.flows_of(filter).await?.into_iter().map(|name| {
            let mut keys = Condition::new("pk = :p", [(":p", text(keys::flow_executions(&name)))]);
            if let Some((created_ms, id)) = &filter.before {
                keys.expression.push_str(" AND sk < :before");
                keys.values
                    .insert(":before".to_owned(), text(keys::created(*created_ms, id)));
            }
            let query = Query {
                keys,
                descending: true,
                limit: LOOK,
                ..Query::default()
            };
            Stream::new(query, "sk")
        });
        let mut merged = Merged::new(streams.collect());
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
                let id = get_text(&entry, "sk")?
                    .rsplit('#')
                    .next()
                    .unwrap_or_default()
                    .to_owned();
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

    async fn flows_of(&self, filter: &ExecutionFilter) -> Result<Vec<String>, StoreError> {
        let Some(namespace) = &filter.namespace else {
            return Ok(Vec::new());
        };
        if let Some(flow) = &filter.flow {
            return Ok(vec![keys::flow_name(namespace, flow)]);
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
            .map(|item| get_text(item, "sk").map(str::to_owned))
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
        parts.push(format!("contains(lb, :l{n})"));
        values.insert(format!(":l{n}"), text(label(key, value)));
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
    let labels = item
        .get("lb")
        .and_then(|set| set.as_ss().ok())
        .unwrap_or(&none);
    is("ns", filter.namespace.as_ref())
        && is("fl", filter.flow.as_ref())
        && (filter.states.is_empty() || filter.states.iter().any(|wanted| wanted == state))
        && filter
            .labels
            .iter()
            .all(|(key, value)| labels.contains(&label(key, value)))
}
