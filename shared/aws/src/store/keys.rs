//! Keys of items. `docs/decisions/0020-single-table.md` lists them with what they are for and cost.
//!
//! Invariant: keys are built from parts that cannot run into each other, and where the order of keys matters it is
//! the order of what they name.

use std::fmt::Write as _;

use operon_core::plan::ShardId;
use operon_engine::ports::{ExecutionId, StoreError, TaskRunKey};
use sha2::{Digest as _, Sha256};

use super::item::Key;

/// Partitions of the due index over which shards are spread; each takes 1,000 writes a second.
pub(super) const DUE_PARTITIONS: u8 = 8;
/// Partitions of the list index over which executions of one class are spread.
pub(super) const LIST_PARTITIONS: u8 = 4;

/// How the partitions begin of which items are ever removed: records, pairs, places in queues. `infra/template.yaml` lets no
/// function remove anything else: shards, attempts and executions only expire.
pub(super) const REMOVED: [&str; 3] = ["R#", "K#", "Q#"];
/// How the partitions begin in which intake writes, which the template lets it: executions, their lists, revisions, records.
#[cfg(test)]
const OF_INTAKE: [&str; 6] = ["E#*", "F", "F#*", "N#*", "P#*", "R#*"];

/// `text` without `#`, `/` and `%`, so that it can stand between them.
pub(super) fn part(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '#' => out.push_str("%23"),
            '/' => out.push_str("%2F"),
            '%' => out.push_str("%25"),
            other => out.push(other),
        }
    }
    out
}

/// One of `count` partitions, always the same for a name.
fn spread(name: &str, count: u8) -> u8 {
    let digest = Sha256::digest(name);
    digest.first().copied().unwrap_or(0) % count.max(1)
}

/// A shard id whose order as text is the order of ids: part, then slot and chunk of every loop, in hexadecimal.
pub(super) fn shard_text(id: &ShardId) -> String {
    let mut text = format!("{:04x}", id.part());
    for (slot, chunk) in id.path() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{slot:04x}{chunk:08x}");
    }
    text
}

/// The way back of [`shard_text`].
pub(super) fn shard_of(text: &str) -> Result<ShardId, StoreError> {
    let damaged = || StoreError::Corrupt(format!("`{text}` is not the key of a shard"));
    let digits = |from: usize, to: usize| {
        let part = text.get(from..to).ok_or_else(damaged)?;
        u32::from_str_radix(part, 16).map_err(|_| damaged())
    };
    let narrow = |value: u32| u16::try_from(value).map_err(|_| damaged());
    let mut id = ShardId::of_part(narrow(digits(0, 4)?)?);
    let mut at = 4;
    while at < text.len() {
        id = id.of_loop(narrow(digits(at, at + 4)?)?, digits(at + 4, at + 12)?);
        at += 12;
    }
    Ok(id)
}

pub(super) fn shards(id: &ExecutionId) -> String {
    format!("S#{id}")
}

pub(super) fn shard(execution: &ExecutionId, shard: &ShardId) -> Key {
    Key::new(shards(execution), shard_text(shard))
}

/// The partition of the due index for a shard: one character, because a full shard leaves no room for more.
pub(super) fn due_partition(key: &Key) -> String {
    let name = format!("{}{}", key.pk, key.sk);
    spread(&name, DUE_PARTITIONS).to_string()
}

/// All partitions of the due index that hold shards.
pub(super) fn due_partitions() -> impl Iterator<Item = String> {
    (0..DUE_PARTITIONS).map(|n| n.to_string())
}

/// The partition of the due index that holds locks.
pub(super) const DUE_LOCKS: &str = "L";

pub(super) fn attempts(id: &ExecutionId) -> String {
    format!("A#{id}")
}

/// The order of attempts: shard, slot, number. `.` comes before digits, so a shard's own come before its chunks'.
pub(super) fn attempt_sort(run: &TaskRunKey, attempt: u8) -> String {
    format!("{}{attempt:02x}", attempts_of(run))
}

/// How the sort keys of all attempts of a task run begin.
pub(super) fn attempts_of(run: &TaskRunKey) -> String {
    format!("{}.{:04x}.", shard_text(&run.shard), run.slot)
}

/// The way back of [`attempt_sort`].
pub(super) fn attempt_of(text: &str) -> Result<(TaskRunKey, u8), StoreError> {
    let damaged = || StoreError::Corrupt(format!("`{text}` is not the key of an attempt"));
    let mut parts = text.split('.');
    let (Some(shard), Some(slot), Some(attempt), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(damaged());
    };
    let run = TaskRunKey {
        shard: shard_of(shard)?,
        slot: u16::from_str_radix(slot, 16).map_err(|_| damaged())?,
    };
    let attempt = u8::from_str_radix(attempt, 16).map_err(|_| damaged())?;
    Ok((run, attempt))
}

pub(super) fn execution(id: &ExecutionId) -> String {
    format!("E#{id}")
}

/// The order of lists: creation, then id.
pub(super) fn created(created_ms: u64, id: &ExecutionId) -> String {
    format!("{created_ms:016}#{id}")
}

/// The partition of the list index for an execution in a class of states.
pub(super) fn list_partition(class: char, id: &ExecutionId) -> String {
    format!("{class}#{}", spread(id.as_str(), LIST_PARTITIONS))
}

/// All partitions of the list index for a class of states.
pub(super) fn list_partitions(class: char) -> impl Iterator<Item = String> {
    (0..LIST_PARTITIONS).map(move |n| format!("{class}#{n}"))
}

/// Where the names of flows are that have executions.
pub(super) const FLOWS: &str = "F";

/// Name of a flow among those.
pub(super) fn flow_name(namespace: &str, flow: &str) -> String {
    format!("{}/{}", part(namespace), part(flow))
}

/// Where the executions of a flow are listed.
pub(super) fn flow_executions(name: &str) -> String {
    format!("F#{name}")
}

/// Where the subflows of an execution are listed.
pub(super) fn children(id: &ExecutionId) -> String {
    format!("P#{id}")
}

pub(super) fn revisions(namespace: &str, flow: &str) -> String {
    format!("N#{}", flow_name(namespace, flow))
}

pub(super) fn lock(name: &str) -> Key {
    Key::new(format!("L#{name}"), "L")
}

pub(super) fn queue(name: &str) -> String {
    format!("Q#{name}")
}

/// The order in which a lock is granted: larger priorities first, then age.
pub(super) fn queue_order(priority: i32, created_ms: u64, id: &ExecutionId) -> String {
    let rank = i64::from(i32::MAX) - i64::from(priority);
    format!("o#{rank:010}#{}", created(created_ms, id))
}

/// The execution in a [`queue_order`].
pub(super) fn queued_execution(sort: &str) -> Result<ExecutionId, StoreError> {
    let id = sort.rsplit('#').next().unwrap_or_default();
    id.parse().map_err(StoreError::Corrupt)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn id(text: &str) -> ExecutionId {
        text.parse().unwrap()
    }

    fn ids() -> Vec<ShardId> {
        let root = ShardId::ROOT;
        let mut ids = vec![root.clone(), ShardId::of_part(1), ShardId::of_part(65_535)];
        for (slot, chunk) in [(0, 0), (0, 1), (3, 70_000), (300, 2), (65_535, u32::MAX)] {
            ids.push(root.of_loop(slot, chunk));
            ids.push(root.of_loop(slot, chunk).of_loop(1, 9));
            ids.push(ShardId::of_part(1).of_loop(slot, chunk));
        }
        ids
    }

    #[test]
    fn keys_of_shards_sort_like_their_ids_and_lead_back() {
        let mut by_id = ids();
        let mut by_text = ids();
        by_id.sort();
        by_text.sort_by_key(shard_text);
        assert_eq!(by_id, by_text);
        for id in by_id {
            assert_eq!(shard_of(&shard_text(&id)).unwrap(), id);
        }
        for damaged in ["", "00", "0000x", "00000001", "zzzz"] {
            assert!(shard_of(damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn keys_of_attempts_sort_like_them_and_lead_back() {
        let mut all = Vec::new();
        for shard in ids() {
            for (slot, attempt) in [(0, 0), (0, 255), (9, 1), (300, 1)] {
                all.push((
                    TaskRunKey {
                        shard: shard.clone(),
                        slot,
                    },
                    attempt,
                ));
            }
        }
        let mut by_text = all.clone();
        all.sort();
        by_text.sort_by_key(|(run, attempt)| attempt_sort(run, *attempt));
        assert_eq!(all, by_text);
        for (run, attempt) in all {
            assert_eq!(
                attempt_of(&attempt_sort(&run, attempt)).unwrap(),
                (run, attempt)
            );
        }
    }

    #[test]
    fn a_queue_is_ordered_by_priority_and_age() {
        let mut order = [
            queue_order(0, 20, &id("b")),
            queue_order(i32::MIN, 1, &id("last")),
            queue_order(0, 3, &id("a")),
            queue_order(i32::MAX, 99, &id("first")),
            queue_order(-1, 1, &id("c")),
        ];
        order.sort();
        let names: Vec<String> = order
            .iter()
            .map(|sort| queued_execution(sort).unwrap().to_string())
            .collect();
        assert_eq!(names, ["first", "a", "b", "c", "last"]);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(flow_name("a/b", "c"), flow_name("a", "b/c"));
        assert_ne!(flow_name("a%2Fb", "c"), flow_name("a/b", "c"));
    }

    /// Values of `dynamodb:LeadingKeys` in the template, by the action that they limit.
    fn granted(action: &str, role: &str) -> Vec<String> {
        let template = include_str!("../../../../infra/template.yaml");
        let (_, policy) = template
            .split_once(&format!("- PolicyName: {role}\n"))
            .unwrap();
        let policy = policy.split("\n  # ──").next().unwrap();
        let statements = policy.split("- Effect: Allow\n");
        let limited = statements.filter(|one| one.contains(&format!("\"dynamodb:{action}\"")));
        let statement = limited.into_iter().next().unwrap();
        let (_, keys) = statement.split_once("\"dynamodb:LeadingKeys\": [").unwrap();
        let keys = keys.split(']').next().unwrap().split(", ");
        keys.map(|key| key.trim_matches('"').to_owned()).collect()
    }

    fn is_granted(granted: &[&str], pk: &str) -> bool {
        granted.iter().any(|one| match one.strip_suffix('*') {
            Some(begin) => pk.starts_with(begin),
            None => pk == *one,
        })
    }

    #[test]
    fn intake_may_write_what_begins_an_execution_and_nothing_of_what_becomes_of_it() {
        assert_eq!(granted("PutItem", "intake"), OF_INTAKE);
        let of = id("e");
        let begins = [
            execution(&of),
            FLOWS.to_owned(),
            flow_executions("n/f"),
            children(&of),
            revisions("n", "f"),
            "R#trigger#n/f".to_owned(),
        ];
        for pk in begins {
            assert!(is_granted(&OF_INTAKE, &pk), "{pk}");
        }
        for pk in [shards(&of), attempts(&of), lock("x").pk, queue("x")] {
            assert!(!is_granted(&OF_INTAKE, &pk), "{pk}");
        }
    }

    #[test]
    fn what_functions_may_remove_is_what_is_ever_removed() {
        let mut all = Vec::new();
        for role in [
            "intake",
            "planner",
            "launcher",
            "worker",
            "reconciler",
            "api",
        ] {
            all.extend(granted("DeleteItem", role));
        }
        for key in &all {
            assert!(REMOVED.iter().any(|begin| key.starts_with(begin)), "{key}");
        }
        for begin in REMOVED {
            assert!(
                all.contains(&format!("{begin}*")),
                "nobody may remove {begin}"
            );
        }
        for pk in [
            shards(&id("e")),
            attempts(&id("e")),
            execution(&id("e")),
            lock("x").pk,
        ] {
            assert!(!REMOVED.iter().any(|begin| pk.starts_with(begin)), "{pk}");
        }
    }

    #[test]
    fn shards_are_spread_over_all_partitions_of_the_due_index() {
        let mut seen: Vec<String> = (0..200)
            .map(|chunk| due_partition(&shard(&id("e"), &ShardId::ROOT.of_loop(1, chunk))))
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, due_partitions().collect::<Vec<_>>());
    }
}
