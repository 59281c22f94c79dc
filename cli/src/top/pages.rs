//! What keys do on each page.

use operon_core::lang::model::Input;

use super::actions::{Action, Verb};
use super::execution::{ExecutionPage, LINES_MAX};
use super::form::Form;
use super::keys::{PAGE, confirm, filtered, step};
use super::message::{Effect, Request};
use super::model::{Dialog, Model, PageName, Poll};
use super::update::{ask_for_log, go, open};

/// Ids that can be marked: as many as the server takes in one request.
const MARKED_MAX: usize = 1000;
/// What somebody who may only look is told.
const VIEWER: &str = "Your role, viewer, may look but change nothing.";

fn verb_of(key: &str) -> Option<Verb> {
    Some(match key {
        "x" => Verb::Kill,
        "R" => Verb::Restart,
        "t" => Verb::RetryFailed,
        "a" => Verb::Resume,
        _ => return None,
    })
}

pub(super) fn on_executions(model: &mut Model, key: &str) -> Vec<Effect> {
    if let Some(verb) = verb_of(key) {
        if !model.marked.is_empty() {
            let ids = model.marked.iter().cloned().collect();
            return confirm(model, Action::Many { verb, ids });
        }
        return match model.executions.current().map(|row| row.id.clone()) {
            Some(id) => confirm(model, Action::One { verb, id }),
            None => Vec::new(),
        };
    }
    match key {
        "Enter" => {
            let current = model.executions.current().cloned();
            return current.map_or_else(Vec::new, |row| open(model, row.id.clone(), Some(row)));
        }
        " " => {
            if let Some(id) = model.executions.current().map(|row| row.id.clone())
                && !model.marked.remove(&id)
                && model.marked.len() < MARKED_MAX
            {
                model.marked.insert(id);
            }
            model.executions.step(1);
        }
        "u" => model.marked.clear(),
        "PageDown" => step(model, PAGE),
        "PageUp" => step(model, -PAGE),
        "End" => step(model, isize::MAX),
        _ => {}
    }
    Vec::new()
}

pub(super) fn on_execution(model: &mut Model, key: &str) -> Vec<Effect> {
    let Some(page) = &mut model.execution else {
        return Vec::new();
    };
    match key {
        "l" | "Enter" => page.log_large = !page.log_large,
        "," => page.step_attempt(false),
        "." => page.step_attempt(true),
        "f" => {
            page.failed_only = !page.failed_only;
            page.stale = true;
            page.at = 0;
            model.poll = Poll::default();
        }
        "PageUp" => return scroll(page),
        "PageDown" => page.log.back = page.log.back.saturating_sub(PAGE.unsigned_abs()),
        "End" => page.log.back = 0,
        "[" | "]" => {
            let near = page.detail.as_ref();
            let near = near.and_then(|detail| {
                if key == "[" {
                    detail.previous.clone()
                } else {
                    detail.next.clone()
                }
            });
            return near.map_or_else(Vec::new, |id| open(model, id, None));
        }
        "r" => return replay(model),
        "a" => return answer(model),
        "x" | "R" | "t" => {
            let id = page.id.clone();
            return verb_of(key)
                .map_or_else(Vec::new, |verb| confirm(model, Action::One { verb, id }));
        }
        _ => {}
    }
    Vec::new()
}

/// Up in the log; at its beginning, earlier lines are asked for.
fn scroll(page: &mut ExecutionPage) -> Vec<Effect> {
    let log = &mut page.log;
    let by = PAGE.unsigned_abs();
    log.back = (log.back + by).min(log.lines.len());
    let first = log.lines.front().map_or(0, |line| line.seq);
    let near = log.lines.len().saturating_sub(log.back) <= 3 * by;
    if let Some(source) = log.source.clone()
        && near
        && first > 0
        && !log.asking
        && log.lines.len() < LINES_MAX
    {
        log.asking = true;
        return vec![ask_for_log(source, first, log.ticket)];
    }
    Vec::new()
}

fn replay(model: &mut Model) -> Vec<Effect> {
    let may = model.may_act();
    let Some(page) = &model.execution else {
        return Vec::new();
    };
    if !may || !page.over() {
        let text = if may {
            "Only what is over can be replayed."
        } else {
            VIEWER
        };
        model.say(text, true);
        return Vec::new();
    }
    // A loop is replayed as a whole: what is inside one cannot be the beginning.
    let outside = page.runs.iter().filter(|run| !run.id.contains('/'));
    let mut tasks: Vec<String> = outside.map(|run| run.task.clone()).collect();
    let mut seen = std::collections::HashSet::new();
    tasks.retain(|task| seen.insert(task.clone()));
    let current = page
        .current()
        .filter(|run| !run.id.contains('/'))
        .map(|run| run.task.clone());
    let from = current
        .or_else(|| tasks.first().cloned())
        .unwrap_or_default();
    let revision = page.summary.as_ref().map_or(1, |summary| summary.revision);
    model.dialog = Some(Dialog::Form(Form::replay(&page.id, tasks, &from, revision)));
    Vec::new()
}

fn answer(model: &mut Model) -> Vec<Effect> {
    let may = model.may_act();
    let Some(page) = &model.execution else {
        return Vec::new();
    };
    let pauses = page
        .detail
        .as_ref()
        .map(|detail| detail.pauses.as_slice())
        .unwrap_or_default();
    let chosen = page.current().map(|run| run.id.as_str());
    let pause = pauses
        .iter()
        .find(|pause| Some(pause.task_run.as_str()) == chosen)
        .or(pauses.first());
    match pause {
        Some(pause) if may => {
            let inputs = pause
                .inputs
                .iter()
                .filter_map(|input| serde_json::from_value(input.clone()).ok());
            let inputs: Vec<Input> = inputs.collect();
            let form = Form::answer(&page.id, &pause.task_run, &pause.name, &inputs);
            model.dialog = Some(Dialog::Form(form));
        }
        Some(_) => model.say(VIEWER, true),
        None => model.say("No pause of this execution waits for a person.", true),
    }
    Vec::new()
}

pub(super) fn on_list(model: &mut Model, key: &str) -> Vec<Effect> {
    match key {
        "PageDown" => step(model, PAGE),
        "PageUp" => step(model, -PAGE),
        "End" => step(model, isize::MAX),
        _ => {
            let Some(index) = model
                .shown()
                .into_iter()
                .find(|index| *index == chosen(model))
            else {
                return Vec::new();
            };
            return match model.page {
                PageName::Flows => on_flow(model, index, key),
                PageName::Triggers => on_trigger(model, index, key),
                PageName::Slots => on_slot(model, index, key),
                PageName::Executions | PageName::Execution => Vec::new(),
            };
        }
    }
    Vec::new()
}

fn chosen(model: &Model) -> usize {
    match model.page {
        PageName::Executions | PageName::Execution => model.executions.at,
        PageName::Flows => model.flows.at,
        PageName::Triggers => model.triggers.at,
        PageName::Slots => model.slots.at,
    }
}

/// Executions of a flow.
fn executions_of(model: &mut Model, namespace: &str, flow: &str) -> Vec<Effect> {
    let effects = go(model, PageName::Executions);
    filtered(model, format!("namespace:{namespace} flow:{flow}"));
    effects
}

fn on_flow(model: &mut Model, index: usize, key: &str) -> Vec<Effect> {
    let Some(row) = model.flows.rows.get(index) else {
        return Vec::new();
    };
    let (namespace, flow, on) = (row.namespace.clone(), row.id.clone(), row.disabled);
    match key {
        "Enter" => executions_of(model, &namespace, &flow),
        "e" => confirm(
            model,
            Action::Flow {
                namespace,
                flow,
                on,
            },
        ),
        "r" if model.may_act() => vec![Effect::Ask(Request::Inputs { namespace, flow })],
        _ => Vec::new(),
    }
}

fn on_trigger(model: &mut Model, index: usize, key: &str) -> Vec<Effect> {
    let Some(row) = model.triggers.rows.get(index) else {
        return Vec::new();
    };
    let (namespace, flow, on) = (row.namespace.clone(), row.flow.clone(), row.disabled);
    let trigger = row.id.clone();
    match key {
        "Enter" => executions_of(model, &namespace, &flow),
        "e" => confirm(
            model,
            Action::Trigger {
                namespace,
                flow,
                trigger,
                on,
            },
        ),
        _ => Vec::new(),
    }
}

fn on_slot(model: &mut Model, index: usize, key: &str) -> Vec<Effect> {
    let row = model.slots.rows.get(index);
    let Some(id) = row.and_then(|row| row.execution()).map(str::to_owned) else {
        return Vec::new();
    };
    match key {
        "Enter" => open(model, id, None),
        "x" => confirm(
            model,
            Action::One {
                verb: Verb::Kill,
                id,
            },
        ),
        _ => Vec::new(),
    }
}
