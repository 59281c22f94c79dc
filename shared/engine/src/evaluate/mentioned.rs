//! What templates mention, so that nothing else is looked up.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::plans::LoadedPlan;
use crate::templates::Tree;

/// What templates mention.
#[derive(Debug, Default)]
pub(super) struct Mentioned {
    pub(super) roots: BTreeSet<String>,
    pub(super) outputs: BTreeSet<String>,
    pub(super) tasks: BTreeSet<String>,
}

impl Mentioned {
    pub(super) fn of(plan: &LoadedPlan, trees: &[&Tree]) -> Self {
        let mut mentioned = Self::default();
        let mut renders = false;
        for tree in trees {
            renders |= mentioned.add(tree);
        }
        if renders {
            // `render(vars.x)` sees whatever the variables mention.
            if let Ok(tree) = Tree::parse(&Value::Object(plan.plan.variables.clone())) {
                mentioned.add(&tree);
            }
        }
        mentioned
    }

    /// Whether the tree renders other templates.
    fn add(&mut self, tree: &Tree) -> bool {
        let mut renders = false;
        tree.templates(&mut |template| {
            for reference in template.references() {
                let Some(root) = reference.path.first() else {
                    continue;
                };
                self.roots.insert(root.clone());
                let second = reference.path.get(1).map_or("*", String::as_str);
                match root.as_str() {
                    "outputs" => self.outputs.insert(second.to_owned()),
                    "tasks" => self.tasks.insert(second.to_owned()),
                    _ => false,
                };
            }
            for call in template.calls() {
                renders |= call.name.starts_with("render");
                if call.name == "currentEachOutput" {
                    self.roots.insert("item".to_owned());
                }
            }
        });
        renders
    }
}
