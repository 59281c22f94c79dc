//! A plan as a graph, and what became of it in an execution.

use std::collections::HashMap;

use axum::Json as Answer;
use axum::extract::State;
use operon_core::exec::State as SlotState;
use operon_core::plan::{Layout, Node, NodeIndex, NodeKind, Phase, Plan, ShardId};
use operon_engine::operations::Snapshot;
use operon_engine::rows::state_name;
use serde::Deserialize;
use utoipa::IntoParams;

use super::executions::{existing, id_of};
use super::task_runs::kind_of;
use crate::dto::{Graph, GraphCounts, GraphEdge, GraphNode};
use crate::extract::{Path, Query};
use crate::problem::Problem;
use crate::state::Api;

/// Nodes of a graph at most; what is beyond is left out, and no person could read it.
const NODES_MAX: usize = 5_000;

/// The nearest node that people see: itself, or what encloses a hidden one.
fn visible(nodes: &[Node], mut index: NodeIndex) -> Option<&Node> {
    loop {
        let node = nodes.get(usize::from(index))?;
        if !node.hidden {
            return Some(node);
        }
        index = node.parent?;
    }
}

/// What is at the ends of a hidden node: edges to and from it are edges to and from those.
fn ends<'p>(nodes: &'p [Node], index: NodeIndex, first: bool, into: &mut Vec<&'p str>) {
    let Some(node) = nodes.get(usize::from(index)) else {
        return;
    };
    if !node.hidden {
        into.push(&node.id);
        return;
    }
    for child in &node.children {
        let Some(inside) = nodes.get(usize::from(*child)) else {
            continue;
        };
        let at_end = if first {
            inside.deps.is_empty()
        } else {
            inside.dependents.is_empty()
        };
        if at_end && inside.phase == Phase::Body {
            ends(nodes, *child, first, into);
        }
    }
}

fn phase_of(nodes: &[Node], node: &Node) -> &'static str {
    if node.after {
        return "after";
    }
    let mut at = node;
    loop {
        match at.phase {
            Phase::Errors => return "errors",
            Phase::Finally => return "finally",
            Phase::Body => {}
        }
        // Only through hidden nodes: what is seen has a phase of its own.
        match at.parent.and_then(|parent| nodes.get(usize::from(parent))) {
            Some(parent) if parent.hidden => at = parent,
            Some(_) | None => return "body",
        }
    }
}

/// The graph of a plan.
pub(crate) fn of_plan(plan: &Plan) -> Graph {
    let mut graph = Graph::default();
    for scope in &plan.scopes {
        let owner = scope
            .owner
            .and_then(|(scope, node)| visible(&plan.scopes.get(usize::from(scope))?.nodes, node));
        let nodes = &scope.nodes;
        for (index, node) in (0_u16..).zip(nodes) {
            if graph.nodes.len() >= NODES_MAX {
                return graph;
            }
            for from in &node.deps {
                let (mut before, mut after) = (Vec::new(), Vec::new());
                ends(nodes, *from, false, &mut before);
                ends(nodes, index, true, &mut after);
                for from in &before {
                    for to in &after {
                        graph.edges.push(GraphEdge {
                            from: (*from).to_owned(),
                            to: (*to).to_owned(),
                        });
                    }
                }
            }
            if node.hidden {
                continue;
            }
            let parent = node
                .parent
                .and_then(|parent| visible(nodes, parent))
                .or(owner);
            let (kind, task_type) = kind_of(&node.kind);
            graph.nodes.push(GraphNode {
                id: node.id.clone(),
                task: node.id.clone(),
                kind: kind.to_owned(),
                task_type,
                parent: parent.map(|parent| parent.id.clone()),
                phase: phase_of(nodes, node).to_owned(),
                state: None,
                task_run: None,
                counts: None,
            });
        }
    }
    graph
        .edges
        .sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
    graph.edges.dedup();
    graph
}

/// Task runs of one node in all iterations.
#[derive(Default)]
struct Tally {
    counts: GraphCounts,
    worst: Option<SlotState>,
}

/// How much a state matters when only one can be shown.
const fn weight(state: SlotState) -> u8 {
    match state {
        SlotState::Failed => 9,
        SlotState::Killed => 8,
        SlotState::Running | SlotState::Body | SlotState::Errors | SlotState::Finally => 7,
        SlotState::Launching | SlotState::Killing | SlotState::RetryWait => 6,
        SlotState::Paused => 5,
        SlotState::Warning => 4,
        SlotState::Success => 3,
        SlotState::Waiting | SlotState::Gate | SlotState::Deciding => 2,
        SlotState::Cancelled => 1,
        SlotState::Skipped | SlotState::Omitted => 0,
    }
}

impl Tally {
    fn add(&mut self, state: SlotState) {
        match state {
            SlotState::Success | SlotState::Warning | SlotState::Skipped | SlotState::Omitted => {
                self.counts.done += 1;
            }
            SlotState::Failed | SlotState::Killed | SlotState::Cancelled => self.counts.failed += 1,
            SlotState::Waiting => {}
            SlotState::Gate
            | SlotState::Deciding
            | SlotState::Launching
            | SlotState::Running
            | SlotState::RetryWait
            | SlotState::Paused
            | SlotState::Killing
            | SlotState::Body
            | SlotState::Errors
            | SlotState::Finally => self.counts.running += 1,
        }
        if self.worst.is_none_or(|worst| weight(worst) < weight(state)) {
            self.worst = Some(state);
        }
    }
}

/// Adds what became of the plan in an execution.
fn colour(graph: &mut Graph, snapshot: &Snapshot) {
    let mut inside: HashMap<&str, Tally> = HashMap::new();
    let mut loops: HashMap<String, Tally> = HashMap::new();
    let mut outside: HashMap<&str, (SlotState, String)> = HashMap::new();
    // Iterations of each time that a loop was begun: the shards of one all know their number.
    let mut totals: HashMap<String, HashMap<(ShardId, u16), u64>> = HashMap::new();
    for (id, shard) in snapshot.shards() {
        let Some(layout) = Layout::of(&snapshot.plan, id) else {
            continue;
        };
        let node_at = |slot: u16| {
            let index = layout.node_of(slot)?;
            layout.nodes.get(usize::from(index))
        };
        for (slot, state) in (0_u16..).zip(&shard.slots) {
            let Some(node) = node_at(slot).filter(|node| !node.hidden) else {
                continue;
            };
            if id.owner().is_some() {
                inside.entry(&node.id).or_default().add(state.state);
            } else {
                outside.insert(&node.id, (state.state, format!("{id}:{slot}")));
            }
        }
        if let Some((owner, slot, _)) = id.owner()
            && let Some(name) = loop_id(&snapshot.plan, &owner, slot)
        {
            let tally = loops.entry(name.clone()).or_default();
            for slots in shard.slots.chunks(layout.nodes.len().max(1)) {
                tally.add(iteration(slots));
            }
            let total = totals.entry(name).or_default();
            let total = total.entry((owner, slot)).or_default();
            *total = (*total).max(u64::from(shard.total));
        }
    }
    let totals: HashMap<String, u64> = totals
        .into_iter()
        .map(|(name, begun)| (name, begun.into_values().sum()))
        .collect();
    let around = around(graph, &totals);
    for node in &mut graph.nodes {
        if let Some((state, run)) = outside.get(node.id.as_str()) {
            node.state = Some(state_name(*state).to_owned());
            node.task_run = Some(run.clone());
        } else if let Some(tally) = inside.get(node.id.as_str()) {
            node.state = tally.worst.map(|state| state_name(state).to_owned());
            let mut counts = tally.counts;
            let begun = counts.done + counts.failed + counts.running;
            counts.total = around.get(&node.id).copied().unwrap_or(begun).max(begun);
            node.counts = Some(counts);
        }
        if let Some(tally) = loops.get(&node.id) {
            let mut counts = tally.counts;
            counts.total = totals.get(&node.id).copied().unwrap_or_default();
            node.counts = Some(counts);
        }
    }
}

/// The iterations of the nearest loop around each node, by the node's id.
fn around(graph: &Graph, totals: &HashMap<String, u64>) -> HashMap<String, u64> {
    let parents: HashMap<&str, &str> = graph
        .nodes
        .iter()
        .filter_map(|node| Some((node.id.as_str(), node.parent.as_deref()?)))
        .collect();
    let nearest = |id: &str| {
        let mut at = id;
        // A plan is a tree: a way up ends.
        while let Some(parent) = parents.get(at) {
            if let Some(total) = totals.get(*parent) {
                return Some(*total);
            }
            at = parent;
        }
        None
    };
    let nodes = graph.nodes.iter();
    nodes
        .filter_map(|node| Some((node.id.clone(), nearest(&node.id)?)))
        .collect()
}

fn loop_id(plan: &Plan, shard: &ShardId, slot: u16) -> Option<String> {
    let layout = Layout::of(plan, shard)?;
    let node = layout.nodes.get(usize::from(layout.node_of(slot)?))?;
    matches!(node.kind, NodeKind::Loop { .. }).then(|| node.id.clone())
}

/// The state of one iteration: that of its worst task run, and under way while anything is.
fn iteration(slots: &[operon_core::exec::Slot]) -> SlotState {
    let all = || slots.iter().map(|slot| slot.state);
    if all().all(|state| state == SlotState::Waiting) {
        return SlotState::Waiting;
    }
    if all().any(|state| !state.is_terminal()) {
        return SlotState::Running;
    }
    all()
        .max_by_key(|state| weight(*state))
        .unwrap_or(SlotState::Waiting)
}

/// Which revision.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct GraphQuery {
    /// The one that counts without it.
    revision: Option<u32>,
}

/// The graph of a flow.
#[utoipa::path(get, path = "/api/v1/flows/{namespace}/{id}/graph", tag = "flows",
    params(("namespace" = String, Path), ("id" = String, Path), GraphQuery),
    responses((status = 200, body = Graph), (status = 404, body = Problem)))]
pub(crate) async fn of_flow(
    State(api): State<Api>,
    Path((namespace, id)): Path<(String, String)>,
    Query(query): Query<GraphQuery>,
) -> Result<Answer<Graph>, Problem> {
    let head = api.flows().existing(&namespace, &id).await?;
    let number = query.revision.unwrap_or(head.revision);
    let revision = api.flows().revision(&namespace, &id, number).await?;
    Ok(Answer(of_plan(&revision.plan)))
}

/// The graph of an execution, with states and counts.
#[utoipa::path(get, path = "/api/v1/executions/{id}/graph", params(("id" = String, Path)), tag = "executions",
    responses((status = 200, body = Graph), (status = 404, body = Problem)))]
pub(crate) async fn of_execution(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Answer<Graph>, Problem> {
    let row = existing(&api, &id_of(&id)?).await?;
    let snapshot = Snapshot::read(&*api.ports().store, row).await?;
    let mut graph = of_plan(&snapshot.plan);
    colour(&mut graph, &snapshot);
    Ok(Answer(graph))
}
