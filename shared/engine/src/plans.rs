//! Plans in memory: immutable, found by their hash, with their templates parsed once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use operon_core::lang::model::{Dynamic, LoopValues};
use operon_core::plan::{Node, NodeIndex, NodeKind, Plan, ScopeIndex};
use serde_json::{Value, json};

use crate::kept::Kept;
use crate::ports::{StateStore, StoreError};
use crate::tasks;
use crate::templates::{RenderError, Tree};

/// Plans kept in memory by one engine; the least recently added goes first.
const PLANS_KEPT: usize = 256;

/// A plan with what the engine needs at hand.
#[derive(Debug)]
pub struct LoadedPlan {
    /// The plan.
    pub plan: Plan,
    /// Its content hash.
    pub hash: String,
    index: HashMap<String, (ScopeIndex, NodeIndex)>,
    templates: Mutex<HashMap<(ScopeIndex, NodeIndex), Arc<NodeTemplates>>>,
}

/// The parsed templates of one node.
#[derive(Debug)]
pub struct NodeTemplates {
    /// The `when` condition.
    pub when: Option<Tree>,
    /// The node's own value: branch, loop values, duration.
    pub value: Option<Tree>,
    /// Properties of a task.
    pub props: Tree,
    /// A task's timeout, if it is an expression.
    pub timeout: Option<Tree>,
}

impl LoadedPlan {
    /// Indexes a plan.
    #[must_use]
    pub fn new(plan: Plan, hash: String) -> Self {
        let mut index = HashMap::new();
        for (scope, body) in (0..).zip(&plan.scopes) {
            for (node_index, node) in (0..).zip(&body.nodes) {
                index.insert(node.id.clone(), (scope, node_index));
            }
        }
        Self {
            plan,
            hash,
            index,
            templates: Mutex::new(HashMap::new()),
        }
    }

    /// Where the task with that id is.
    #[must_use]
    pub fn find(&self, task: &str) -> Option<(ScopeIndex, NodeIndex)> {
        self.index.get(task).copied()
    }

    /// The parsed templates of a node.
    pub fn templates(
        &self,
        scope: ScopeIndex,
        index: NodeIndex,
        node: &Node,
    ) -> Result<Arc<NodeTemplates>, RenderError> {
        let lock = || {
            self.templates
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(found) = lock().get(&(scope, index)) {
            return Ok(Arc::clone(found));
        }
        let parsed = Arc::new(NodeTemplates::parse(node)?);
        lock().insert((scope, index), Arc::clone(&parsed));
        Ok(parsed)
    }
}

/// Properties of a task; those that it renders itself stay as they are.
fn task_props(task_type: &str, props: &Value) -> Result<Tree, RenderError> {
    let unrendered = tasks::unrendered(task_type);
    let Some(map) = props.as_object().filter(|_| !unrendered.is_empty()) else {
        return Tree::parse(props);
    };
    let mut rendered = map.clone();
    let mut entries = Vec::new();
    for name in unrendered {
        if let Some(value) = rendered.shift_remove(*name) {
            entries.push(((*name).to_owned(), Tree::Constant(value)));
        }
    }
    match Tree::parse(&Value::Object(rendered))? {
        Tree::Map(others) => entries.extend(others),
        Tree::Constant(Value::Object(others)) => {
            let others = others.into_iter();
            entries.extend(others.map(|(name, value)| (name, Tree::Constant(value))));
        }
        Tree::Constant(_) | Tree::Template(_) | Tree::List(_) => {}
    }
    Ok(Tree::Map(entries))
}

impl NodeTemplates {
    fn parse(node: &Node) -> Result<Self, RenderError> {
        let text = |text: &str| Tree::parse(&Value::String(text.to_owned()));
        let dynamic = |value: &Dynamic<u64>| match value {
            Dynamic::Constant(_) => Ok(None),
            Dynamic::Template(template) => text(template).map(Some),
        };
        let when = node.when.as_deref().map(text).transpose()?;
        let nothing = || Tree::Constant(Value::Null);
        let (value, props, timeout) = match &node.kind {
            NodeKind::Task(task) => (
                None,
                task_props(&task.task_type, &Value::Object(task.props.clone()))?,
                dynamic(&task.timeout_ms)?,
            ),
            NodeKind::Group { props, .. } => {
                (None, Tree::parse(&Value::Object(props.clone()))?, None)
            }
            NodeKind::Choice { value, .. } => (Some(text(value)?), nothing(), None),
            NodeKind::Loop { values, .. } => {
                let values = match values {
                    LoopValues::Values(values) => values.clone(),
                    LoopValues::Items { items, .. } => json!(items),
                    LoopValues::Until(_) => Value::Null,
                };
                (Some(Tree::parse(&values)?), nothing(), None)
            }
            NodeKind::Pause { duration, .. } => (
                duration.as_ref().map(dynamic).transpose()?.flatten(),
                nothing(),
                None,
            ),
            NodeKind::Sleep { duration } => (dynamic(duration)?, nothing(), None),
            NodeKind::Check(until) => (Some(text(&until.condition)?), nothing(), None),
        };
        Ok(Self {
            when,
            value,
            props,
            timeout,
        })
    }

    /// Every tree, for finding out what they refer to.
    pub fn trees(&self) -> impl Iterator<Item = &Tree> {
        [
            self.when.as_ref(),
            self.value.as_ref(),
            Some(&self.props),
            self.timeout.as_ref(),
        ]
        .into_iter()
        .flatten()
    }
}

/// Plans by hash.
#[derive(Debug)]
pub struct Plans {
    kept: Kept<String, LoadedPlan>,
}

impl Default for Plans {
    fn default() -> Self {
        Self {
            kept: Kept::new(PLANS_KEPT),
        }
    }
}

/// Why a plan is not there.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not in the store.
    #[error("plan {0} is missing from the state store")]
    Missing(String),
    /// It is not what was compiled.
    #[error("plan {hash} is damaged: {what}")]
    Damaged {
        /// Asked for.
        hash: String,
        /// What is wrong.
        what: String,
    },
}

impl Plans {
    /// The plan with that hash, from memory or the store.
    pub async fn get(
        &self,
        store: &dyn StateStore,
        hash: &str,
    ) -> Result<Arc<LoadedPlan>, PlanError> {
        if let Some(found) = self.kept.get(&hash.to_owned()) {
            return Ok(found);
        }
        let bytes = store
            .plan(hash)
            .await?
            .ok_or_else(|| PlanError::Missing(hash.to_owned()))?;
        let damaged = |what: String| PlanError::Damaged {
            hash: hash.to_owned(),
            what,
        };
        let plan: Plan =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if plan.hash() != hash {
            return Err(damaged("its content has another hash".to_owned()));
        }
        Ok(self.put(LoadedPlan::new(plan, hash.to_owned())))
    }

    /// Keeps a plan in memory.
    pub fn put(&self, plan: LoadedPlan) -> Arc<LoadedPlan> {
        let plan = Arc::new(plan);
        self.kept.put(plan.hash.clone(), Arc::clone(&plan));
        plan
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn what_a_task_renders_itself_stays_as_it_is() {
        let condition = json!("{{ length > 10 }}");
        for from in ["{{ inputs.file }}", "operon:///in"] {
            let props = json!({"filterCondition": condition, "from": from});
            let tree = task_props("io.kestra.plugin.core.storage.FilterItems", &props).unwrap();
            let Tree::Map(entries) = tree else {
                panic!("properties are a map");
            };
            assert_eq!(entries.len(), 2);
            assert!(matches!(&entries[0], (name, Tree::Constant(value))
                if name == "filterCondition" && *value == condition));
        }
        let tree = task_props(
            "io.kestra.plugin.core.log.Log",
            &json!({"message": condition}),
        );
        let mut templates = 0;
        tree.unwrap().templates(&mut |_| templates += 1);
        assert_eq!(templates, 1);
    }
}
