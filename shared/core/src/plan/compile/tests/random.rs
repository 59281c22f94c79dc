//! Any flow either compiles to a plan that keeps every invariant, or is refused for a reason a user can
//! act on.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::draft::{DraftId, DraftScope};
use super::*;

/// Random flows, at most 3,000 tasks: leaves, groups, choices and loops, in sequences and graphs.
struct Random<'n> {
    numbers: &'n [u32],
    used: u32,
    left: usize,
}

impl Random<'_> {
    fn below(&mut self, limit: usize) -> usize {
        // The numbers repeat, mixed with their position so that the flow does not.
        let at = usize::try_from(self.used).unwrap() % self.numbers.len();
        self.used += 1;
        let mixed =
            (self.numbers[at] ^ self.used.wrapping_mul(0x9E37_79B9)).wrapping_mul(0x85EB_CA6B);
        usize::try_from(mixed >> 8).unwrap() % limit
    }

    fn list(&mut self, prefix: &str, count: usize, depth: usize) -> TaskList {
        let graph = self.below(2) == 0;
        let mut tasks = Vec::new();
        for at in 0..count {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            let id = format!("{prefix}_{at}");
            let kind = self.kind(&id, depth);
            let mut made = task(&id);
            made.kind = kind;
            made.disabled = self.below(17) == 0;
            if graph {
                let deps: BTreeSet<usize> = (0..self.below(4))
                    .filter_map(|_| at.checked_sub(1 + self.below(30)))
                    .collect();
                made.depends_on = deps.iter().map(|d| format!("{prefix}_{d}")).collect();
            }
            tasks.push(made);
        }
        TaskList { tasks, graph }
    }

    fn inner(&mut self, id: &str, name: &str, limit: usize, depth: usize) -> TaskList {
        let count = self.below(limit);
        self.list(&format!("{id}{name}"), count, depth + 1)
    }

    fn kind(&mut self, id: &str, depth: usize) -> TaskKind {
        match self.below(40) {
            0..5 if depth < 4 => {
                let concurrent = u16::from(self.below(5) == 0);
                let on_failure = [OnFailure::Continue, OnFailure::Stop][self.below(6) / 5];
                let limit = [300, 100, 40, 9][depth];
                // More children could not stay together.
                let limit = if concurrent > 0 || on_failure == OnFailure::Stop {
                    limit.min(106)
                } else {
                    limit
                };
                TaskKind::Group {
                    order: [
                        GroupOrder::Sequential,
                        GroupOrder::Parallel,
                        GroupOrder::Dag,
                    ][self.below(3)],
                    tasks: self.inner(id, "t", limit, depth),
                    errors: self.inner(id, "e", 3, depth),
                    finally: self.inner(id, "f", 3, depth),
                    concurrent,
                    on_failure,
                    working_directory: false,
                }
            }
            5 if depth < 4 => TaskKind::Choice {
                value: "{{ inputs.x }}".into(),
                condition: true,
                branches: vec![
                    ("then".into(), self.inner(id, "y", 150, depth)),
                    ("else".into(), self.inner(id, "n", 9, depth)),
                ],
                default_branch: Some(1),
                errors: self.inner(id, "e", 2, depth),
                finally: TaskList::default(),
            },
            6 if depth < 4 => TaskKind::Loop {
                values: LoopValues::Values(json!([1])),
                concurrency_limit: 0,
                on_failure: OnFailure::Continue,
                transmit_failed: true,
                tasks: self.inner(id, "b", 5, depth),
                errors: self.inner(id, "e", 2, depth),
                finally: TaskList::default(),
            },
            7 => TaskKind::Sleep {
                duration: Dynamic::Constant(5),
            },
            _ => TaskKind::Run,
        }
    }
}

/// What a scope says about its visible drafts, as if no group had been split: id, parent, phase, branch,
/// what it depends on, and rank.
fn relations(scope: &DraftScope) -> BTreeMap<String, String> {
    let draft = |id: DraftId| &scope.drafts[id];
    let is_part = |id: DraftId| draft(id).node.id.starts_with(".part-");
    let mut relations = BTreeMap::new();
    for (id, own) in scope
        .drafts
        .iter()
        .enumerate()
        .filter(|(id, _)| !is_part(*id))
    {
        // The place of a node is that of the outermost part around it; dependencies add up.
        let (mut top, mut deps) = (id, own.deps.clone());
        while let Some(part) = draft(top).parent.filter(|&parent| is_part(parent)) {
            top = part;
            deps.extend(&draft(top).deps);
        }
        let name = |mut id: DraftId| {
            while is_part(id) {
                // Only a part around a single node is depended on.
                assert_eq!(draft(id).children.len(), 1);
                id = draft(id).children[0];
            }
            draft(id).node.id.clone()
        };
        let deps: BTreeSet<String> = deps.into_iter().map(name).collect();
        let parent = draft(top).parent.map(name);
        let place = (&draft(top).node.phase, draft(top).node.branch);
        let relation = format!("{parent:?} {place:?} {deps:?} {}", own.node.rank);
        relations.insert(own.node.id.clone(), relation);
    }
    relations
}

/// A random flow with handlers.
fn any_flow(numbers: &[u32], count: usize, handlers: usize) -> Flow {
    let mut random = Random {
        numbers,
        used: 0,
        left: 3_000,
    };
    let mut flow = flow().build();
    flow.errors = random.list("e", handlers, 3);
    flow.after_execution = random.list("a", handlers / 2, 3);
    flow.tasks = random.list("t", count, 0);
    flow
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_flows_keep_every_invariant(
        numbers in prop::collection::vec(any::<u32>(), 64..128),
        count in 0_usize..1_000,
        handlers in 0_usize..150,
    ) {
        match compile(&any_flow(&numbers, count, handlers)) {
            Ok(plan) => check::verify(&plan).map_err(TestCaseError::fail)?,
            // The generator's loops may have bodies that are too large, which a user must change.
            Err(errors) => for error in errors {
                let text = error.to_string();
                prop_assert!(text.contains("loop's body has"), "{text}");
            }
        }
    }

    #[test]
    fn splitting_changes_no_relation(
        numbers in prop::collection::vec(any::<u32>(), 64..128),
        count in 0_usize..1_000,
        handlers in 0_usize..150,
    ) {
        let flow = any_flow(&numbers, count, handlers);
        // A flow with a loop's body that is too large is refused before anything is split.
        if let Ok(mut scopes) = lower::lower(&flow) {
            rank::rank(&mut scopes);
            let before = relations(&scopes[0]);
            shards::split(&mut scopes[0]).unwrap();
            prop_assert_eq!(before, relations(&scopes[0]));
        }
    }
}
