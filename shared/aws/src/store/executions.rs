//! Executions: one item that is listed, and further ones for what is large.
//!
//! The item `E` of an execution holds its fixed part (`m`, JSON), its derived state (`d`, JSON) and what it is
//! filtered by. Inputs, trigger and outputs beyond [`INLINE_MAX`] bytes are in items `I` and `O` of the same
//! partition, so that a change of state stays one write unit. Derived state carries the version of the root shard it
//! comes from (`sv`): a slower planner does not replace what is newer.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use aws_sdk_dynamodb::types::AttributeValue;
use operon_engine::ports::{ExecutionId, ExecutionMeta, ExecutionRow, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::item::{FORMAT, Item, Key, from_json, get_text, json, number, text};
use super::table::{Condition, Query, Written};
use super::{DynamoStore, RETENTION_MS, keys};

/// Bytes of inputs with trigger, or of outputs, in the item itself at most.
const INLINE_MAX: usize = 512;

/// How often labels are changed again when others change them.
const CONFLICTS_MAX: usize = 10;

/// What is written comes from no older version of the root shard than what is there.
const NOT_OLDER: &str = "attribute_not_exists(sv) OR sv <= :sv";

/// Classes of states, each with partitions of its own in the list index.
pub(super) const CLASSES: [char; 3] = ['a', 'f', 's'];

/// The class of a state: `a` goes on, `f` needs somebody to look, `s` is well.
pub(super) fn class(state: &str) -> char {
    match state {
        "SUCCESS" | "WARNING" | "SKIPPED" => 's',
        "FAILED" | "KILLED" | "CANCELLED" | "RETRIED" | "POISONED" => 'f',
        _ => 'a',
    }
}

/// The derived part of an execution.
#[derive(Serialize, Deserialize)]
struct Derived {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    b: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<u64>,
    /// Outputs; none when they are in an item of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    o: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    l: BTreeMap<String, String>,
}

/// What of the fixed part may be large.
#[derive(Serialize, Deserialize)]
struct Started {
    inputs: Map<String, Value>,
    trigger: Value,
}

/// The fixed part as stored: without its large things where these have an item of their own.
#[derive(Serialize, Deserialize)]
struct Fixed {
    #[serde(flatten)]
    meta: ExecutionMeta,
    /// Whether inputs and trigger are elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    apart: bool,
}

/// Labels that people gave; none hides one that a task gave.
type Given = BTreeMap<String, Option<String>>;

/// The pieces an execution is stored in.
struct Pieces {
    fixed: String,
    given: Option<String>,
    derived: String,
    outputs: Option<String>,
}

impl Pieces {
    fn of(row: &ExecutionRow) -> Result<Self, StoreError> {
        let given = Started {
            inputs: row.meta.inputs.clone(),
            trigger: row.meta.trigger.clone(),
        };
        let given = json(&given, "the inputs of an execution")?;
        let apart = given.len() > INLINE_MAX;
        let mut meta = row.meta.clone();
        if apart {
            meta.inputs = Map::new();
            meta.trigger = Value::Null;
        }
        let outputs = json(&row.outputs, "the outputs of an execution")?;
        let own = outputs.len() > INLINE_MAX;
        let derived = Derived {
            r: row.reason.clone(),
            b: row.started_ms,
            e: row.ended_ms,
            o: (!own).then(|| row.outputs.clone()),
            l: row.labels.clone(),
        };
        Ok(Self {
            fixed: json(&Fixed { meta, apart }, "an execution")?,
            given: apart.then_some(given),
            derived: json(&derived, "an execution")?,
            outputs: own.then_some(outputs),
        })
    }
}

fn key(id: &ExecutionId, sort: &str) -> Key {
    Key::new(keys::execution(id), sort)
}

/// `key=value` of all labels, for the filter. What was added while it ran wins.
fn labels(row: &ExecutionRow) -> Option<AttributeValue> {
    let mut all: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in row.meta.labels.iter().chain(&row.labels) {
        all.insert(key, value);
    }
    let set: Vec<String> = all
        .into_iter()
        .map(|(key, value)| label(key, value))
        .collect();
    // There are no empty sets.
    (!set.is_empty()).then_some(AttributeValue::Ss(set))
}

/// A label as it stands in the set.
pub(super) fn label(key: &str, value: &str) -> String {
    format!("{}/{}", keys::part(key), keys::part(value))
}

impl DynamoStore {
    /// Stores an execution and its plan unless it exists. The item that says so comes last.
    pub(super) async fn create_execution(
        &self,
        row: &ExecutionRow,
        plan: &[u8],
    ) -> Result<bool, StoreError> {
        let meta = &row.meta;
        self.plans.put(&meta.plan_hash, plan).await?;
        if self.table.get(&key(&meta.id, "E")).await?.is_some() {
            return Ok(false);
        }
        self.enter_lists(meta).await?;
        self.put_execution(row, None, true).await
    }

    /// Stores derived state; what is fixed at creation stays as it was. False when it exists and must not.
    pub(super) async fn put_execution(
        &self,
        row: &ExecutionRow,
        version: Option<u64>,
        create: bool,
    ) -> Result<bool, StoreError> {
        let pieces = Pieces::of(row)?;
        let id = &row.meta.id;
        if let Some(given) = pieces.given {
            // Fixed: whoever comes first. The same id has the same content, unless somebody forges it.
            self.put_piece(id, "I", given, None, Some(Condition::absent()))
                .await?;
        }
        if let Some(outputs) = pieces.outputs {
            let condition =
                version.map(|version| Condition::new(NOT_OLDER, [(":sv", number(version))]));
            self.put_piece(id, "O", outputs, version, condition).await?;
        }
        let mut set = String::from(
            "SET m = if_not_exists(m, :m), ns = if_not_exists(ns, :ns), fl = if_not_exists(fl, :fl), \
             lk = if_not_exists(lk, :lk), f = :f, d = :d, st = :st, l = :l",
        );
        let mut remove = String::new();
        let mut values: HashMap<String, AttributeValue> = [
            (":m", text(pieces.fixed)),
            (":ns", text(&row.meta.namespace)),
            (":fl", text(&row.meta.flow)),
            (":lk", text(keys::created(row.meta.created_ms, id))),
            (":f", number(FORMAT)),
            (":d", text(pieces.derived)),
            (":st", text(&row.state)),
            (":l", text(keys::list_partition(class(&row.state), id))),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let mut optional = |name: &str, attribute: &str, value: Option<AttributeValue>| {
            if let Some(value) = value {
                // Writing to a string cannot fail.
                let _ = write!(set, ", {attribute} = :{name}");
                values.insert(format!(":{name}"), value);
            } else if name != "sv" {
                remove.push_str(if remove.is_empty() { " REMOVE " } else { ", " });
                remove.push_str(attribute);
            }
        };
        optional("lb", "lb", labels(row));
        optional(
            "pa",
            "pa",
            row.meta.parent.as_ref().map(|(id, ..)| text(id.as_str())),
        );
        let ends = row.ended_ms.map(|_| number(self.expiry(RETENTION_MS)));
        optional("ttl", "#ttl", ends);
        optional("sv", "sv", version.map(number));
        let condition = if create {
            Some(Condition::absent())
        } else {
            version.map(|_| Condition::new(NOT_OLDER, []))
        };
        let written = self
            .table
            .update(&key(id, "E"), set + &remove, condition, values)
            .await?;
        Ok(matches!(written, Written::Done(_)))
    }

    /// Sets or removes labels that people gave an execution; false when there is no such execution.
    pub(super) async fn give_labels(
        &self,
        id: &ExecutionId,
        labels: &Given,
    ) -> Result<bool, StoreError> {
        for _ in 0..CONFLICTS_MAX {
            let Some(item) = self.table.get(&key(id, "E")).await? else {
                return Ok(false);
            };
            let mut given = given_labels(&item)?;
            given.extend(labels.clone());
            let pairs = given
                .iter()
                .filter_map(|(key, value)| Some(label(key, value.as_ref()?)));
            let pairs: Vec<String> = pairs.collect();
            let keys: Vec<String> = given.keys().map(|key| keys::part(key)).collect();
            let mut update = "SET gl = :gl".to_owned();
            let mut values = HashMap::from([(":gl".to_owned(), text(json(&given, "labels")?))]);
            let mut remove = String::new();
            for (name, set) in [("gs", pairs), ("gk", keys)] {
                // There are no empty sets.
                if set.is_empty() {
                    remove.push_str(if remove.is_empty() { " REMOVE " } else { ", " });
                    remove.push_str(name);
                } else {
                    let _ = write!(update, ", {name} = :{name}");
                    values.insert(format!(":{name}"), AttributeValue::Ss(set));
                }
            }
            let condition = match item.get("gl") {
                Some(before) => Condition::new("gl = :before", [(":before", before.clone())]),
                None => Condition::new("attribute_exists(pk) AND attribute_not_exists(gl)", []),
            };
            let place = key(id, "E");
            let written = self
                .table
                .update(&place, update + &remove, Some(condition), values)
                .await?;
            if matches!(written, Written::Done(_)) {
                return Ok(true);
            }
        }
        Err(StoreError::Busy(format!(
            "labels of {id} are changed by others all the time"
        )))
    }

    async fn put_piece(
        &self,
        id: &ExecutionId,
        sort: &str,
        document: String,
        version: Option<u64>,
        condition: Option<Condition>,
    ) -> Result<(), StoreError> {
        let mut item = key(id, sort).item();
        item.insert("j".to_owned(), text(document));
        if let Some(version) = version {
            item.insert("sv".to_owned(), number(version));
        }
        self.table.put(item, condition).await.map(drop)
    }

    pub(super) async fn read_execution(
        &self,
        id: &ExecutionId,
    ) -> Result<Option<ExecutionRow>, StoreError> {
        // All pieces in one request.
        let query = Query {
            keys: Condition::new("pk = :p", [(":p", text(keys::execution(id)))]),
            limit: usize::MAX,
            ..Query::default()
        };
        let items = self.table.query(&query).await?;
        let piece = |sort: &str| {
            items
                .iter()
                .find(|item| get_text(item, "sk").is_ok_and(|sk| sk == sort))
        };
        match piece("E") {
            None => Ok(None),
            Some(item) => row(item, piece("I"), piece("O")).map(Some),
        }
    }

    /// When an execution was created; 0 when there is none.
    pub(super) async fn created_ms(&self, id: &ExecutionId) -> Result<u64, StoreError> {
        match self.table.get(&key(id, "E")).await? {
            None => Ok(0),
            Some(item) => Ok(from_json::<Fixed>(&item, "m")?.meta.created_ms),
        }
    }

    /// Rows of items `E`, with the pieces that are elsewhere.
    pub(super) async fn rows_of(&self, items: Vec<Item>) -> Result<Vec<ExecutionRow>, StoreError> {
        let mut wanted = Vec::new();
        for item in &items {
            let pk = get_text(item, "pk")?;
            if from_json::<Fixed>(item, "m")?.apart {
                wanted.push(Key::new(pk, "I"));
            }
            if from_json::<Derived>(item, "d")?.o.is_none() {
                wanted.push(Key::new(pk, "O"));
            }
        }
        let mut pieces = HashMap::new();
        for item in self.table.get_all(&wanted).await? {
            pieces.insert(Key::of(&item)?, item);
        }
        items
            .iter()
            .map(|item| {
                let pk = get_text(item, "pk")?;
                let piece = |sort: &str| pieces.get(&Key::new(pk, sort));
                row(item, piece("I"), piece("O"))
            })
            .collect()
    }
}

fn given_labels(item: &Item) -> Result<Given, StoreError> {
    if item.contains_key("gl") {
        from_json(item, "gl")
    } else {
        Ok(Given::new())
    }
}

fn row(
    item: &Item,
    given: Option<&Item>,
    outputs: Option<&Item>,
) -> Result<ExecutionRow, StoreError> {
    let lacks = |what: &str| {
        let pk = get_text(item, "pk").unwrap_or("?");
        StoreError::Corrupt(format!("{what} of {pk} are missing"))
    };
    let Fixed { mut meta, apart } = from_json(item, "m")?;
    if apart {
        let Started { inputs, trigger } =
            from_json(given.ok_or_else(|| lacks("the inputs"))?, "j")?;
        (meta.inputs, meta.trigger) = (inputs, trigger);
    }
    let mut derived: Derived = from_json(item, "d")?;
    for (key, value) in given_labels(item)? {
        match value {
            Some(value) => derived.l.insert(key, value),
            None => derived.l.remove(&key),
        };
    }
    let outputs = match derived.o {
        Some(outputs) => outputs,
        None => from_json(outputs.ok_or_else(|| lacks("the outputs"))?, "j")?,
    };
    Ok(ExecutionRow {
        meta,
        state: get_text(item, "st")?.to_owned(),
        reason: derived.r,
        started_ms: derived.b,
        ended_ms: derived.e,
        outputs,
        labels: derived.l,
    })
}
