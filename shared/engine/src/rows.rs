//! Detail items: what people and expressions see of task runs, derived from what the core decided.

use std::fmt::Write as _;

use operon_core::exec::{Reason, RootPhase, Shard, Slot, State};
use operon_core::lang::model::{SlaBehavior, SlaKind};
use operon_core::plan::{Layout, Node, NodeKind, Plan};
use serde_json::{Map, Value};

use crate::evaluate::Site;
use crate::ports::{AttemptRow, ExecutionRow, Usage};

/// Kestra's name of a state.
#[must_use]
pub const fn state_name(state: State) -> &'static str {
    match state {
        State::Waiting | State::Gate | State::Deciding => "CREATED",
        State::Launching => "SUBMITTED",
        State::Running | State::Body | State::Errors | State::Finally => "RUNNING",
        State::RetryWait => "RETRYING",
        State::Paused => "PAUSED",
        State::Killing => "KILLING",
        State::Success => "SUCCESS",
        State::Warning => "WARNING",
        State::Failed => "FAILED",
        State::Killed => "KILLED",
        State::Skipped | State::Omitted => "SKIPPED",
        State::Cancelled => "CANCELLED",
    }
}

/// Kestra's names of the states of executions that are not over.
pub const OPEN_STATES: [&str; 6] = [
    "CREATED", "QUEUED", "RUNNING", "PAUSED", "RETRYING", "KILLING",
];

/// Kestra's state name of an execution, from its root shard.
#[must_use]
pub fn execution_state(layout: &Layout<'_>, root: &Shard) -> &'static str {
    match root.phase {
        RootPhase::New => "CREATED",
        RootPhase::Queued => "QUEUED",
        RootPhase::Retrying => "RETRYING",
        RootPhase::Ended | RootPhase::Over => root
            .slots
            .first()
            .map_or("CREATED", |flow| state_name(flow.state)),
        RootPhase::Running if root.kill => "KILLING",
        RootPhase::Running => {
            let pause = |slot: u16| {
                let node = layout
                    .node_of(slot)
                    .and_then(|node| layout.nodes.get(usize::from(node)));
                node.is_some_and(|node| matches!(node.kind, NodeKind::Pause { .. }))
            };
            let paused = (0..)
                .zip(&root.slots)
                .any(|(index, slot)| slot.state == State::Paused && pause(index));
            let busy = root.slots.iter().any(|slot| {
                slot.state.is_live() || matches!(slot.state, State::RetryWait | State::Deciding)
            });
            if paused && !busy { "PAUSED" } else { "RUNNING" }
        }
    }
}

/// Reason for people, if there is one to give.
#[must_use]
pub fn reason_words(reason: Reason) -> Option<String> {
    (reason != Reason::None).then(|| reason.words().to_owned())
}

/// The row of a task run whose state changed without an attempt's report; none when nothing is shown for it.
#[must_use]
pub fn of_change(
    site: Site<'_>,
    before: Option<&Slot>,
    after: &Slot,
    now_ms: u64,
) -> Option<AttemptRow> {
    let (_, _, node) = site.node()?;
    // Nobody else tells that the condition of a repeated loop cannot be evaluated.
    let told = matches!(node.kind, NodeKind::Check(_)) && after.state == State::Failed;
    if node.hidden && !told || before.is_some_and(|before| before.state == after.state) {
        return None;
    }
    let quiet = match after.state {
        State::Waiting
        | State::Gate
        | State::Deciding
        | State::Launching
        | State::Running
        | State::RetryWait
        | State::Killing
        | State::Errors
        | State::Finally => true,
        State::Omitted => after.reason() == Reason::NotTaken,
        State::Cancelled => matches!(node.kind, NodeKind::Task(_)) && site.layout()?.scope != 0,
        State::Body
        | State::Paused
        | State::Success
        | State::Warning
        | State::Failed
        | State::Killed
        | State::Skipped => false,
    };
    // An attempt that ended has a row of its own, made where it ran.
    let reported = matches!(node.kind, NodeKind::Task(_))
        && after.attempt > 0
        && before.is_some_and(|before| before.state.is_live());
    if quiet || reported {
        return None;
    }
    let terminal = after.state.is_terminal();
    Some(AttemptRow {
        state: state_name(after.state).to_owned(),
        reason: reason_words(after.reason()),
        ended_ms: terminal.then_some(now_ms),
        started_ms: Some(now_ms),
        created_ms: now_ms,
        ..blank(site, 0)?
    })
}

/// Whether control that is in this state has a row that says since when.
#[must_use]
pub const fn stands(state: State) -> bool {
    matches!(
        state,
        State::Body | State::Errors | State::Finally | State::Paused
    )
}

/// A row with nothing but names.
#[must_use]
pub fn blank(site: Site<'_>, attempt: u8) -> Option<AttemptRow> {
    let (_, _, node) = site.node()?;
    Some(AttemptRow {
        execution: site.meta.id.clone(),
        task_run: site.task_run(),
        attempt,
        task: node.id.clone(),
        name: site.plan.plan.task_run_name(site.shard, site.slot)?,
        item: None,
        parent: parent_name(site),
        state: String::new(),
        reason: None,
        message: None,
        exit_code: None,
        created_ms: 0,
        started_ms: None,
        ended_ms: None,
        outputs: Map::new(),
        outputs_uri: None,
        metrics: Vec::new(),
        usage: Usage::default(),
    })
}

/// Name of the nearest enclosing task run that people see.
fn parent_name(site: Site<'_>) -> Option<String> {
    let layout = site.layout()?;
    let mut node = site.node()?.2;
    while let Some(parent) = node.parent {
        node = layout.nodes.get(usize::from(parent))?;
        if !node.hidden {
            let iterations = site.plan.plan.iterations(site.shard, site.slot)?;
            let mut name = node.id.clone();
            for iteration in iterations {
                // Writing to a string cannot fail.
                let _ = write!(name, "[{iteration}]");
            }
            return Some(name);
        }
    }
    let (owner, slot, _) = site.shard.owner()?;
    site.plan.plan.task_run_name(&owner, slot)
}

/// What the task says that fails an execution for a missed assertion among its service levels.
fn missed_level(props: &Map<String, Value>) -> Option<String> {
    let message = props.get("errorMessage")?.as_str()?;
    message
        .starts_with("service level `")
        .then(|| message.to_owned())
}

/// Whether the execution's first limit of time, by which it fails, is that of a service level.
fn by_service_level(plan: &Plan) -> bool {
    let levels = plan.sla.iter().filter_map(|sla| match sla.kind {
        SlaKind::MaxDuration { duration_ms } if sla.behavior == SlaBehavior::Fail => {
            Some(duration_ms)
        }
        SlaKind::MaxDuration { .. } | SlaKind::ExecutionAssertion { .. } => None,
    });
    levels
        .min()
        .is_some_and(|level| plan.timeout_ms.is_none_or(|timeout| level < timeout))
}

/// Which task failed the execution, as far as the root shard knows: the first one, and why.
fn failed_task(layout: &Layout<'_>, root: &Shard) -> String {
    let mut states: Vec<Option<State>> = vec![None; layout.nodes.len()];
    for (slot, at) in (0_u16..).zip(&root.slots) {
        let place = layout.node_of(slot).map(usize::from);
        if let Some(state) = place.and_then(|place| states.get_mut(place)) {
            *state = Some(at.state);
        }
    }
    // A failure in a group that did not fail was tolerated there.
    let tolerated = |node: &Node| {
        let parents = std::iter::successors(node.parent, |parent| {
            layout.nodes.get(usize::from(*parent))?.parent
        });
        parents
            .filter_map(|parent| *states.get(usize::from(parent))?)
            .any(|state| state != State::Failed)
    };
    let failed = (0_u16..).zip(&root.slots).skip(1).find_map(|(slot, at)| {
        let node = layout.nodes.get(usize::from(layout.node_of(slot)?))?;
        let itself = match &node.kind {
            // What is inside says more.
            NodeKind::Group { .. } | NodeKind::Choice { .. } => at.reason() != Reason::ChildFailed,
            NodeKind::Task(_)
            | NodeKind::Loop { .. }
            | NodeKind::Pause { .. }
            | NodeKind::Sleep { .. }
            | NodeKind::Check(_) => true,
        };
        let cause = at.state == State::Failed && itself && !node.hidden && !tolerated(node);
        cause.then_some((node, at.reason()))
    });
    let Some((node, reason)) = failed else {
        return "a task failed".to_owned();
    };
    if let NodeKind::Task(task) = &node.kind
        && let Some(level) = missed_level(&task.props)
    {
        return level;
    }
    let why = match (&node.kind, reason) {
        (_, Reason::None) => return format!("task `{}` failed", node.id),
        (NodeKind::Task(_), Reason::ChildFailed) => "the execution that it started failed",
        (NodeKind::Loop { .. }, Reason::ChildFailed) => "an item failed",
        (_, reason) => reason.words(),
    };
    format!("task `{}` failed: {why}", node.id)
}

/// Brings an execution's row up to its root shard; true when it changed.
pub fn update_execution(
    row: &mut ExecutionRow,
    (plan, layout): (&Plan, &Layout<'_>),
    root: &Shard,
    now_ms: u64,
) -> bool {
    let before = row.clone();
    execution_state(layout, root).clone_into(&mut row.state);
    if root.phase != RootPhase::New && root.phase != RootPhase::Queued && row.started_ms.is_none() {
        row.started_ms = Some(now_ms);
    }
    let ended = matches!(root.phase, RootPhase::Ended | RootPhase::Over);
    if ended {
        let reason = root.slots.first().map(Slot::reason);
        row.reason = match reason {
            Some(Reason::ChildFailed) => Some(failed_task(layout, root)),
            Some(Reason::ExecutionTimeout) if by_service_level(plan) => {
                reason_words(Reason::ServiceLevel)
            }
            Some(reason) => reason_words(reason),
            None => None,
        };
        row.ended_ms = row.ended_ms.or(Some(now_ms));
    } else {
        row.ended_ms = None;
        row.reason = None;
    }
    *row != before
}
