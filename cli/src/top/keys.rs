//! What keys do wherever they are pressed; what they do on one page is in `pages`.
//!
//! The same keys as in the console where both have them. Keys that change something only open a dialog.

use super::actions::Action;
use super::form::type_into;
use super::message::{Effect, Request};
use super::model::{Dialog, EXECUTIONS_FIRST, EXECUTIONS_MAX, Model, PageName, Poll};
use super::pages::{on_execution, on_executions, on_list};
use super::update::go;

/// Rows that Page Up and Page Down move by.
pub(super) const PAGE: isize = 15;
/// Keys and what they do, as the help shows them; by page.
pub(super) fn help(page: PageName) -> Vec<(&'static str, &'static str)> {
    let mut keys: Vec<(&str, &str)> = match page {
        PageName::Executions => vec![
            ("Enter", "open"),
            ("x", "kill"),
            ("R", "restart what has not succeeded"),
            ("t", "retry failed items"),
            ("a", "let pauses go on"),
            (
                "Space",
                "mark; then x, R, t and a are for all that are marked",
            ),
            ("u", "remove all marks"),
            (
                "/",
                "filter: state:FAILED flow:ID namespace:NAME label:K:V words",
            ),
        ],
        PageName::Execution => vec![
            ("l", "the log on the whole page, and back"),
            (", .", "log of the attempt before and after"),
            ("PgUp PgDn", "scroll the log; End follows it again"),
            ("f", "only failed task runs, and all"),
            ("x", "kill"),
            ("R", "restart what has not succeeded"),
            ("t", "retry failed items"),
            ("r", "replay from the chosen task"),
            ("a", "answer a pause"),
            ("[ ]", "execution of the flow before and after"),
            ("/", "filter task runs by name"),
        ],
        PageName::Flows => vec![
            ("Enter", "executions of the flow"),
            ("r", "start an execution"),
            ("e", "enable or disable"),
            ("/", "filter by name"),
        ],
        PageName::Triggers => vec![
            ("Enter", "executions of the flow"),
            ("e", "enable or disable"),
            ("/", "filter by name"),
        ],
        PageName::Slots => vec![
            ("Enter", "open the execution"),
            ("x", "kill the execution"),
            ("/", "filter by name"),
        ],
    };
    keys.extend([
        ("j k", "next and previous row; also the arrows"),
        ("g G", "first and last row"),
        ("1 2 3 4", "executions, flows, triggers, slots"),
        ("Esc", "back"),
        ("q", "leave"),
    ]);
    keys
}

/// A key.
pub(super) fn key(model: &mut Model, key: &str) -> Vec<Effect> {
    match key {
        "Ctrl-c" => return vec![Effect::Quit],
        "Ctrl-z" => return vec![Effect::Suspend],
        "Ctrl-l" => return vec![Effect::Redraw],
        _ => {}
    }
    if let Some(dialog) = model.dialog.take() {
        return in_dialog(model, dialog, key);
    }
    match key {
        "?" => model.dialog = Some(Dialog::Help),
        "/" => {
            let before = model.needle().to_owned();
            model.dialog = Some(Dialog::Filter {
                text: before.clone(),
                before,
            });
        }
        "q" => return vec![Effect::Quit],
        "1" => return go(model, PageName::Executions),
        "2" => return go(model, PageName::Flows),
        "3" => return go(model, PageName::Triggers),
        "4" => return go(model, PageName::Slots),
        "Esc" => return back(model),
        "j" | "Down" => step(model, 1),
        "k" | "Up" => step(model, -1),
        "g" | "Home" => step(model, isize::MIN),
        "G" => step(model, isize::MAX),
        _ => {
            return match model.page {
                PageName::Executions => on_executions(model, key),
                PageName::Execution => on_execution(model, key),
                PageName::Flows | PageName::Triggers | PageName::Slots => on_list(model, key),
            };
        }
    }
    Vec::new()
}

/// From an execution to its list; from a filter to everything.
fn back(model: &mut Model) -> Vec<Effect> {
    if model.page == PageName::Execution {
        if let Some(page) = model.execution.as_mut().filter(|page| page.log_large) {
            page.log_large = false;
            return Vec::new();
        }
        let from = model.from;
        return go(model, from);
    }
    if model.needle().is_empty() {
        model.marked.clear();
    } else {
        filtered(model, String::new());
    }
    Vec::new()
}

pub(super) fn step(model: &mut Model, by: isize) {
    match model.page {
        PageName::Executions => {
            model.executions.step(by);
            let last = model.executions.rows.len().saturating_sub(1);
            if model.executions.at == last && model.executions.more && model.limit < EXECUTIONS_MAX
            {
                model.limit = (2 * model.limit).min(EXECUTIONS_MAX);
                model.poll = Poll::default();
            }
        }
        PageName::Execution => {
            if let Some(page) = &mut model.execution {
                page.step(by);
            }
        }
        PageName::Flows | PageName::Triggers | PageName::Slots => {
            let shown = model.shown();
            let at = match model.page {
                PageName::Flows => &mut model.flows.at,
                PageName::Triggers => &mut model.triggers.at,
                PageName::Slots | PageName::Executions | PageName::Execution => &mut model.slots.at,
            };
            let place = shown.iter().position(|row| row == at).unwrap_or_default();
            let place = place
                .saturating_add_signed(by)
                .min(shown.len().saturating_sub(1));
            *at = shown.get(place).copied().unwrap_or_default();
        }
    }
}

/// Applies a filter.
pub(super) fn filtered(model: &mut Model, text: String) {
    match model.page {
        PageName::Executions => {
            model.executions.needle = text;
            model.executions.loaded = false;
            model.executions.rows.clear();
            model.executions.at = 0;
            model.limit = EXECUTIONS_FIRST;
            model.marked.clear();
            model.poll = Poll::default();
        }
        PageName::Execution => {
            if let Some(page) = &mut model.execution {
                page.needle = text;
                page.step(0);
            }
        }
        PageName::Flows => model.flows.needle = text,
        PageName::Triggers => model.triggers.needle = text,
        PageName::Slots => model.slots.needle = text,
    }
    if matches!(
        model.page,
        PageName::Flows | PageName::Triggers | PageName::Slots
    ) {
        step(model, 0);
    }
}

fn in_dialog(model: &mut Model, dialog: Dialog, key: &str) -> Vec<Effect> {
    match dialog {
        Dialog::Help => Vec::new(),
        Dialog::Filter { mut text, before } => {
            match key {
                "Enter" => filtered(model, text.trim().to_owned()),
                "Esc" => {}
                _ => {
                    type_into(&mut text, key);
                    model.dialog = Some(Dialog::Filter { text, before });
                }
            }
            Vec::new()
        }
        Dialog::Confirm {
            action,
            preview,
            sent,
        } => match key {
            "y" | "Y" if !sent => {
                let effect = Effect::Act(action.clone());
                model.dialog = Some(Dialog::Confirm {
                    action,
                    preview,
                    sent: true,
                });
                vec![effect]
            }
            "n" | "N" | "Esc" | "q" => Vec::new(),
            _ => {
                model.dialog = Some(Dialog::Confirm {
                    action,
                    preview,
                    sent,
                });
                Vec::new()
            }
        },
        Dialog::Form(mut form) => {
            if key == "Esc" {
                return Vec::new();
            }
            let mut effects = Vec::new();
            if form.key(key) {
                match form.action() {
                    Ok(action) => {
                        form.sent = true;
                        form.error = None;
                        effects.push(Effect::Act(action));
                    }
                    Err(wrong) => form.error = Some(wrong),
                }
            }
            model.dialog = Some(Dialog::Form(form));
            effects
        }
    }
}

/// Asks before an action; of one on many, the server says what it would do.
pub(super) fn confirm(model: &mut Model, action: Action) -> Vec<Effect> {
    if !model.may_act() {
        model.say("Your role, viewer, may look but change nothing.", true);
        return Vec::new();
    }
    let ask = matches!(action, Action::Many { .. })
        .then(|| Effect::Ask(Request::Preview(action.clone())));
    model.dialog = Some(Dialog::Confirm {
        action,
        preview: None,
        sent: false,
    });
    ask.into_iter().collect()
}
