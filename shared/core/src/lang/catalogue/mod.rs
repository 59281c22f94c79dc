//! Every task type, trigger type and property of the flow language, as data.
//!
//! The parser, the JSON Schema and `docs/LANGUAGE.md` all read these tables, so they cannot disagree.
//!
//! Invariant: a property that Kestra documents is in its table: supported, answered with a warning, or
//! rejected with a reason and a fix. None is ignored in silence.

mod common;
mod control;
mod core_tasks;
mod document;
mod elsewhere;
mod http;
mod messages;
mod property;
mod scripts;
mod services;
mod storage;
mod triggers;
mod triggers_aws;
mod triggers_polled;

use std::collections::HashMap;
use std::sync::LazyLock;

pub use common::{RESOURCES, RETRY, TASK, TASK_CACHE};
pub(crate) use document::INPUT_TYPES;
pub use document::{
    CHECK, CONCURRENCY, FLOW, FLOW_RETRY, INPUT, INPUT_DEPENDS_ON, NOTIFY, OUTPUT, SLA,
};
pub use elsewhere::{Elsewhere, elsewhere};
pub use property::{PropInfo, PropType, Support, prop};
pub(crate) use scripts::{DOCKER, RUNNER_DOCKER, RUNNER_PROCESS};
pub use triggers::{CONDITIONS, TRIGGER};

/// Which construct of the engine a task type becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Executed by the engine itself or its worker: no image.
    BuiltIn,
    /// A script or command in a container or process.
    Script,
    /// `Sequential`, `AllowFailure`, `WorkingDirectory`.
    Sequential,
    /// Children together.
    Parallel,
    /// Children by `dependsOn`, with Kestra's `task:` wrapper allowed.
    Dag,
    /// Two branches.
    If,
    /// Named branches.
    Switch,
    /// Fan-out.
    Loop,
    /// A pause for a person or a time.
    Pause,
    /// A pause for a time.
    Sleep,
}

/// A task type or a trigger type.
#[derive(Debug)]
pub struct TypeInfo {
    /// Kestra's newest class name, or the short name of a type that only Operon has.
    pub name: &'static str,
    /// Other accepted spellings: short names first, then older class names.
    pub aliases: &'static [&'static str],
    /// One line, Markdown.
    pub doc: &'static str,
    /// A complete task or trigger in YAML.
    pub example: &'static str,
    /// Own properties, in the order they are documented. Those of all tasks are in [`TASK`].
    pub props: &'static [PropInfo],
    /// Milliseconds an attempt may take when the task sets no `timeout`; 0 for triggers and for
    /// control tasks, which end when their children do.
    pub timeout_ms: u64,
    /// What it becomes.
    pub shape: Shape,
}

impl TypeInfo {
    /// The shortest name people may write.
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        self.aliases.first().copied().unwrap_or(self.name)
    }

    /// The property written as `key`, under its own name or an alias.
    #[must_use]
    pub fn prop(&self, key: &str) -> Option<&'static PropInfo> {
        find_prop(self.props, key)
    }
}

/// The property of `table` written as `key`, under its own name or an alias.
#[must_use]
pub fn find_prop(table: &'static [PropInfo], key: &str) -> Option<&'static PropInfo> {
    table
        .iter()
        .find(|prop| prop.name == key || prop.aliases.contains(&key))
}

/// All task types, in the order they are documented.
pub fn task_types() -> impl Iterator<Item = &'static TypeInfo> {
    scripts::TYPES
        .iter()
        .chain(core_tasks::TYPES)
        .chain(http::TYPES)
        .chain(messages::TYPES)
        .chain(services::TYPES)
        .chain(storage::TYPES)
        .chain(control::TYPES)
}

/// All trigger types, in the order they are documented.
pub fn trigger_types() -> impl Iterator<Item = &'static TypeInfo> {
    triggers::TYPES.iter().chain(triggers_aws::TYPES)
}

/// The task type written as `name`, under its canonical name or an alias.
#[must_use]
pub fn task_type(name: &str) -> Option<&'static TypeInfo> {
    static BY_NAME: LazyLock<HashMap<&'static str, &'static TypeInfo>> =
        LazyLock::new(|| by_name(task_types()));
    BY_NAME.get(name).copied()
}

/// The trigger type written as `name`, under its canonical name or an alias.
#[must_use]
pub fn trigger_type(name: &str) -> Option<&'static TypeInfo> {
    static BY_NAME: LazyLock<HashMap<&'static str, &'static TypeInfo>> =
        LazyLock::new(|| by_name(trigger_types()));
    BY_NAME.get(name).copied()
}

fn by_name(
    types: impl Iterator<Item = &'static TypeInfo>,
) -> HashMap<&'static str, &'static TypeInfo> {
    types
        .flat_map(|info| {
            std::iter::once(info.name)
                .chain(info.aliases.iter().copied())
                .map(move |name| (name, info))
        })
        .collect()
}
