//! A plan in words, for `operon explain-plan`: what will run where, after what, and with which limits.

use std::fmt::Write as _;

use super::{
    Node, NodeIndex, NodeKind, Phase, Plan, SHARD_HEADER_BYTES, SLOT_BYTES, Scope, TaskNode,
    is_process,
};
use crate::lang::model::{Dynamic, LoopValues, OnFailure, Resources, Retry, RetryInterval, Until};

/// Longest piece of a template or value that is shown.
const TEXT_MAX: usize = 60;

/// Describes a plan, one line per node, indented by the group it belongs to.
#[must_use]
pub fn explain(plan: &Plan) -> String {
    let mut out = String::new();
    line(
        &mut out,
        0,
        &format!("plan of {}.{}", plan.namespace, plan.flow),
    );
    line(&mut out, 0, &format!("hash {}", plan.hash()));
    for text in limits(plan) {
        line(&mut out, 0, &text);
    }
    for (number, scope) in plan.scopes.iter().enumerate() {
        out.push('\n');
        line(&mut out, 0, &heading(plan, number, scope));
        for (shard, part) in scope.shards.iter().enumerate() {
            let (slots, mirrors) = (part.slots.len(), part.mirrors.len());
            let bytes = SHARD_HEADER_BYTES + SLOT_BYTES * slots + mirrors.div_ceil(2);
            let text = format!(
                "shard {shard}: {}, {}, {bytes} bytes at most",
                count(slots, "slot"),
                count(mirrors, "mirror")
            );
            line(&mut out, 1, &text);
        }
        nodes(&mut out, scope);
    }
    out
}

/// Text is written to a string, which cannot fail.
fn line(out: &mut String, depth: usize, text: &str) {
    let _ = writeln!(out, "{:1$}{text}", "", depth * 2);
}

/// What the execution as a whole is held to.
fn limits(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(timeout) = plan.timeout_ms {
        lines.push(format!("timeout {}", duration(timeout)));
    }
    if let Some(concurrency) = &plan.concurrency {
        let key = concurrency
            .key
            .as_ref()
            .map_or_else(String::new, |key| format!(", key {}", short(key)));
        lines.push(format!(
            "concurrency {}, then {:?}{key}",
            concurrency.limit, concurrency.behavior
        ));
    }
    if let Some(flow) = &plan.retry {
        lines.push(format!("retry {}, {:?}", retry(&flow.retry), flow.behavior));
    }
    if plan.disabled {
        lines.push("disabled".into());
    }
    lines
}

fn heading(plan: &Plan, number: usize, scope: &Scope) -> String {
    let nodes = count(scope.nodes.len(), "node");
    let Some((owner, node)) = scope.owner else {
        return format!(
            "scope {number}: {nodes} in {}",
            count(scope.shards.len(), "shard")
        );
    };
    let name = plan.node(owner, node).map_or("?", |node| &node.id);
    let items = scope.items_per_shard();
    format!(
        "scope {number}: body of {name}, {nodes} per iteration, {} per shard",
        count(items, "iteration")
    )
}

/// The tree of a scope. Parents precede children, and indices follow the tree but for the two roots of
/// the static scope, so the tree is walked from its roots.
fn nodes(out: &mut String, scope: &Scope) {
    let mut homes: Vec<usize> = vec![0; scope.nodes.len()];
    for (shard, part) in scope.shards.iter().enumerate() {
        for &slot in &part.slots {
            if let Some(home) = homes.get_mut(usize::from(slot)) {
                *home = shard;
            }
        }
    }
    let roots = (0..=NodeIndex::MAX)
        .zip(&scope.nodes)
        .filter(|(_, node)| node.parent.is_none());
    let mut todo: Vec<(NodeIndex, usize)> = roots.map(|(at, _)| (at, 1)).collect();
    todo.reverse();
    while let Some((at, depth)) = todo.pop() {
        let Some(node) = scope.nodes.get(usize::from(at)) else {
            continue;
        };
        let mut parts = facts(scope, node);
        if scope.shards.len() > 1 {
            parts.push(format!("shard {}", homes[usize::from(at)]));
        }
        line(
            out,
            depth,
            &format!("{}: {}", title(scope, node), parts.join(", ")),
        );
        todo.extend(node.children.iter().rev().map(|&child| (child, depth + 1)));
    }
}

/// The node's name, and its part of the parent where that is not simply the body.
fn title(scope: &Scope, node: &Node) -> String {
    let parent = node
        .parent
        .and_then(|parent| scope.nodes.get(usize::from(parent)));
    let case = match (parent.map(|parent| &parent.kind), node.branch) {
        (Some(NodeKind::Choice { cases, .. }), Some(branch)) => cases
            .get(usize::from(branch))
            .map(|case| format!("[{case}] ")),
        _ => None,
    };
    let phase = match node.phase {
        Phase::Body => "",
        Phase::Errors => "[errors] ",
        Phase::Finally => "[finally] ",
    };
    format!("{}{phase}{}", case.unwrap_or_default(), node.id)
}

/// What is worth knowing about a node, most important first. Defaults are left out.
fn facts(scope: &Scope, node: &Node) -> Vec<String> {
    let mut facts = kind(&node.kind);
    let deps: Vec<&str> = node
        .deps
        .iter()
        .filter_map(|&dep| scope.nodes.get(usize::from(dep)))
        .map(|dep| dep.id.as_str())
        .collect();
    let mut list = |name: &str, ids: &[&str]| {
        if !ids.is_empty() {
            facts.push(format!("{name} {}", ids.join(" ")));
        }
    };
    list("after", &deps);
    let own: Vec<&str> = node.needs.iter().map(String::as_str).collect();
    match &node.kind {
        NodeKind::Task(task) => {
            let needs: Vec<&str> = task.needs.iter().map(String::as_str).collect();
            list("needs", &needs);
        }
        NodeKind::Group { .. }
        | NodeKind::Choice { .. }
        | NodeKind::Loop { .. }
        | NodeKind::Pause { .. }
        | NodeKind::Sleep { .. }
        | NodeKind::Check(_) => list("needs", &own),
    }
    if let Some(when) = &node.when {
        facts.push(format!("when {}", short(when)));
    }
    for (holds, text) in [
        (node.allow_failure, "allow failure"),
        (node.allow_warning, "allow warning"),
    ] {
        if holds {
            facts.push(text.into());
        }
    }
    if node.priority != 0 {
        facts.push(format!("priority {}", node.priority));
    }
    facts.push(format!("rank {}", node.rank));
    facts
}

fn kind(kind: &NodeKind) -> Vec<String> {
    match kind {
        NodeKind::Task(task) => task_facts(task),
        NodeKind::Group {
            concurrent,
            on_failure,
            working_directory,
            ..
        } => {
            let mut facts = vec!["group".to_owned()];
            if *concurrent > 0 {
                facts.push(format!("{concurrent} at once"));
            }
            stops(*on_failure, &mut facts);
            if *working_directory {
                facts.push("one working directory".into());
            }
            facts
        }
        NodeKind::Choice {
            value,
            default_branch,
            cases,
            ..
        } => {
            let mut facts = vec![format!("choice {}", short(value))];
            let default = default_branch.and_then(|branch| cases.get(usize::from(branch)));
            facts.extend(default.map(|case| format!("otherwise [{case}]")));
            facts
        }
        NodeKind::Loop {
            scope,
            values,
            window,
            on_failure,
            transmit_failed,
        } => {
            let over = match values {
                LoopValues::Values(value) => {
                    format!(
                        "over {}",
                        short(value.as_str().unwrap_or(&value.to_string()))
                    )
                }
                LoopValues::Items { items, rows, .. } => {
                    let records = count(*rows, "record");
                    format!("over {}, {records} per iteration", short(items))
                }
                LoopValues::Until(until) => repeated(until),
            };
            let mut facts = vec![
                format!("loop of scope {scope} {over}"),
                format!("window {window}"),
            ];
            stops(*on_failure, &mut facts);
            if !transmit_failed {
                facts.push("failures stay inside".into());
            }
            facts
        }
        NodeKind::Pause {
            duration, behavior, ..
        } => {
            let end = duration
                .as_ref()
                .map(|time| format!(" for {}, then {behavior:?}", dynamic(time)));
            vec![format!("pause{}", end.unwrap_or_default())]
        }
        NodeKind::Sleep { duration } => vec![format!("sleep {}", dynamic(duration))],
        NodeKind::Check(until) => vec![
            format!("check {}", short(&until.condition)),
            format!("next after {}", duration(until.interval_ms)),
        ],
    }
}

fn repeated(until: &Until) -> String {
    let limit = until
        .max_duration_ms
        .map(|ms| format!(" or {}", duration(ms)));
    let end = if until.fail_on_max {
        ", then failed"
    } else {
        ""
    };
    format!(
        "at most {} times{}{end}",
        until.max_iterations,
        limit.unwrap_or_default()
    )
}

fn stops(on_failure: OnFailure, facts: &mut Vec<String>) {
    if on_failure == OnFailure::Stop {
        facts.push("stops on failure".into());
    }
}

fn task_facts(task: &TaskNode) -> Vec<String> {
    let plugin = task
        .plugin
        .as_ref()
        .map_or_else(String::new, |plugin| format!(" as {plugin}"));
    let mut facts = vec![
        format!("task {}{plugin}", task.task_type),
        format!("timeout {}", dynamic(&task.timeout_ms)),
    ];
    facts.extend(
        task.retry
            .as_ref()
            .map(|policy| format!("retry {}", retry(policy))),
    );
    if !task.idempotent {
        let quarantine = duration(task.quarantine_ms);
        facts.push(format!("launched at most once (quarantine {quarantine})"));
    }
    let runner = task
        .props
        .get("taskRunner")
        .and_then(|runner| runner.get("type"));
    facts.extend(
        runner
            .and_then(|name| name.as_str())
            .map(|name| format!("runner {name}")),
    );
    facts.push(place(task).to_owned());
    facts.extend(resources(task.resources));
    if let Some(cache) = task.task_cache.as_ref().filter(|cache| cache.enabled) {
        let ttl = cache.ttl_ms.map(|ttl| format!(" for {}", duration(ttl)));
        facts.push(format!("cached{}", ttl.unwrap_or_default()));
    }
    facts
}

/// Where a deployment on AWS runs it. On one machine scripts are processes, or containers where the flow says so.
fn place(task: &TaskNode) -> &'static str {
    if is_process(&task.task_type) {
        "on AWS: Fargate"
    } else {
        "on AWS: worker"
    }
}

fn resources(wanted: Resources) -> Option<String> {
    if wanted == Resources::default() {
        return None;
    }
    let Resources {
        cpu_milli,
        memory_mib,
        ephemeral_gib,
    } = wanted;
    let mut text = format!("{}.{:03} CPU", cpu_milli / 1000, cpu_milli % 1000);
    for (amount, unit) in [(memory_mib, "MiB"), (ephemeral_gib, "GiB scratch")] {
        if amount > 0 {
            let _ = write!(text, " {amount} {unit}");
        }
    }
    Some(text)
}

fn retry(policy: &Retry) -> String {
    let wait = match &policy.interval {
        RetryInterval::Constant { interval_ms } => format!("every {}", duration(*interval_ms)),
        RetryInterval::Exponential {
            interval_ms,
            max_interval_ms,
            delay_factor,
        } => format!(
            "after {} times {delay_factor} up to {}",
            duration(*interval_ms),
            duration(*max_interval_ms)
        ),
        RetryInterval::Random {
            min_interval_ms,
            max_interval_ms,
        } => format!(
            "after {} to {}",
            duration(*min_interval_ms),
            duration(*max_interval_ms)
        ),
    };
    let most = policy
        .max_attempts
        .map(|most| format!(", {}", count(most, "attempt")));
    let within = policy
        .max_duration_ms
        .map(|most| format!(", within {}", duration(most)));
    format!(
        "{wait}{}{}",
        most.unwrap_or_default(),
        within.unwrap_or_default()
    )
}

fn dynamic(value: &Dynamic<u64>) -> String {
    match value {
        Dynamic::Constant(ms) => duration(*ms),
        Dynamic::Template(text) => short(text),
    }
}

/// Milliseconds in the largest units that add up exactly: `1h30m`.
fn duration(ms: u64) -> String {
    let mut text = String::new();
    let mut rest = ms;
    for (unit, name) in [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
        (1, "ms"),
    ] {
        if rest >= unit {
            let _ = write!(text, "{}{name}", rest / unit);
            rest %= unit;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// On one line, cut to what fits.
fn short(text: &str) -> String {
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() > TEXT_MAX {
        words = words.chars().take(TEXT_MAX - 1).collect();
        words.push('…');
    }
    words
}

fn count(number: impl TryInto<u64>, what: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
