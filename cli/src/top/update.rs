//! From what happened to what is known and what is to be done. Pure: the time comes as a message.

use super::actions::Action;
use super::execution::{ExecutionPage, FAILED};
use super::filter;
use super::form::Form;
use super::keys;
use super::message::{Answer, Effect, Message, Request, Source, StreamEvent, Trouble};
use super::model::{BACK_MS, Dialog, Link, Model, PageName, Poll, SlotRow};

/// Between two looks at a list, in milliseconds; an execution has a stream besides.
const LOOK_MS: u64 = 2_000;
const LOOK_SLOWLY_MS: u64 = 5_000;
/// How long a task run is chosen before its log is asked for: who pages through a list needs none.
const LOG_AFTER_MS: u64 = 150;
/// Longest pause between two tries to reach the server.
const RETRY_MS_MAX: u64 = 10_000;

/// Changes the model; what is to be done comes back.
pub(super) fn update(model: &mut Model, message: Message) -> Vec<Effect> {
    match message {
        Message::Key(key) => {
            let mut effects = keys::key(model, &key);
            effects.extend(look(model));
            effects
        }
        Message::Time(now_ms) => {
            model.now_ms = now_ms;
            if model
                .notice
                .as_ref()
                .is_some_and(|notice| notice.until_ms <= now_ms)
            {
                model.notice = None;
            }
            if let Link::Back { at_ms, .. } = model.link
                && at_ms + BACK_MS <= now_ms
            {
                model.link = Link::Up;
            }
            look(model)
        }
        Message::Answer(answer) => {
            up(model);
            answered(model, answer)
        }
        Message::Trouble(request, trouble) => troubled(model, &request, trouble),
        Message::Acted(action, result) => acted(model, &action, result),
        Message::Stream(ticket, event) => streamed(model, ticket, event),
    }
}

/// The server answered.
fn up(model: &mut Model) {
    match &model.link {
        Link::Connecting => model.link = Link::Up,
        Link::Lost { since_ms, .. } => {
            let after_ms = model.now_ms.saturating_sub(*since_ms);
            model.link = Link::Back {
                at_ms: model.now_ms,
                after_ms,
            };
            // Everything that is shown is read again at once.
            model.poll.at_ms = 0;
        }
        Link::Up | Link::Back { .. } => {}
    }
}

/// The server cannot be reached.
fn lost(model: &mut Model, why: String) {
    let (since_ms, tries) = match &model.link {
        Link::Lost {
            since_ms, tries, ..
        } => (*since_ms, tries.saturating_add(1)),
        Link::Connecting | Link::Up | Link::Back { .. } => (model.now_ms, 0),
    };
    model.link = Link::Lost {
        since_ms,
        why,
        tries,
    };
    let pause = 1_000_u64
        .saturating_mul(1 << tries.min(4))
        .min(RETRY_MS_MAX);
    model.poll.at_ms = model.now_ms + pause;
}

/// Asks for what is due.
fn look(model: &mut Model) -> Vec<Effect> {
    let mut effects = Vec::new();
    let ticket = model.ticket();
    if let Some(page) = &mut model.execution
        && model.page == PageName::Execution
    {
        effects.extend(look_at_log(page, model.now_ms, ticket));
    }
    if model.poll.asking || model.now_ms < model.poll.at_ms {
        return effects;
    }
    let mut ask = |request| effects.push(Effect::Ask(request));
    if model.who.is_none() {
        ask(Request::Me);
    }
    match model.page {
        PageName::Executions => {
            ask(Request::Executions(filter::query(
                &model.executions.needle,
                model.limit,
            )));
        }
        PageName::Flows => ask(Request::Flows),
        PageName::Triggers => ask(Request::Triggers),
        PageName::Slots => ask(Request::Slots),
        PageName::Execution => {
            let Some(page) = &model.execution else {
                return effects;
            };
            ask(Request::Detail(page.id.clone()));
            if page.stale {
                let states = if page.failed_only { FAILED } else { "" };
                ask(Request::TaskRuns {
                    id: page.id.clone(),
                    states: states.to_owned(),
                });
            }
        }
    }
    let pause = match model.page {
        PageName::Executions | PageName::Slots => LOOK_MS,
        PageName::Execution | PageName::Flows | PageName::Triggers => LOOK_SLOWLY_MS,
    };
    model.poll = Poll {
        at_ms: model.now_ms + pause,
        asking: true,
    };
    effects
}

/// Asks for the log of what has been chosen for a moment.
fn look_at_log(page: &mut ExecutionPage, now_ms: u64, ticket: u64) -> Option<Effect> {
    let wanted = page.wanted_log();
    if wanted != page.log.source {
        let attempt = page.log.attempt;
        page.log = super::execution::LogPane {
            source: wanted.clone(),
            attempt,
            ..Default::default()
        };
        page.log.due_ms = wanted.map(|_| now_ms + LOG_AFTER_MS);
        return Some(Effect::Follow(None));
    }
    let due = page.log.due_ms.is_some_and(|due| due <= now_ms);
    let source = page.log.source.clone().filter(|_| due)?;
    page.log.due_ms = None;
    page.log.asking = true;
    page.log.ticket = ticket;
    Some(ask_for_log(source, u64::MAX, ticket))
}

/// Asks for the lines before one.
pub(super) fn ask_for_log(source: Source, before: u64, ticket: u64) -> Effect {
    Effect::Ask(Request::Log {
        source,
        before,
        ticket,
    })
}

fn answered(model: &mut Model, answer: Answer) -> Vec<Effect> {
    match answer {
        Answer::Me(me) => model.who = Some(me),
        Answer::Executions(query, page) => {
            // An answer to an older filter is late.
            if query == filter::query(&model.executions.needle, model.limit) {
                model.executions.more = page.next.is_some();
                model.executions.replace(page.items, |row| row.id.clone());
                model.poll.asking = false;
            }
        }
        Answer::Flows(page) => {
            model.flows.more = page.next.is_some();
            model
                .flows
                .replace(page.items, |row| (row.namespace.clone(), row.id.clone()));
            model.poll.asking = false;
        }
        Answer::Triggers(page) => {
            model.triggers.more = page.next.is_some();
            let key = |row: &operon_api::hooks::TriggerSummary| {
                (row.namespace.clone(), row.flow.clone(), row.id.clone())
            };
            model.triggers.replace(page.items, key);
            model.poll.asking = false;
        }
        Answer::Slots(page) => {
            model.slots.more = page.next.is_some();
            let rows = SlotRow::all(&page.items);
            model.slots.replace(rows, |row| {
                (row.lock().to_owned(), row.execution().map(str::to_owned))
            });
            model.poll.asking = false;
        }
        Answer::Detail(detail) => {
            let detail = *detail;
            model.poll.asking = false;
            if let Some(page) = shown(model, &detail.summary.id) {
                page.summary = Some(detail.summary.clone());
                page.detail = Some(detail);
            }
        }
        Answer::TaskRuns {
            id,
            states,
            runs,
            more,
        } => {
            if let Some(page) = shown(model, &id)
                && page.failed_only != states.is_empty()
            {
                page.replace(runs, more);
            }
        }
        Answer::Log {
            ticket,
            before,
            page,
        } => return log_came(model, ticket, before, page),
        Answer::Inputs {
            namespace,
            flow,
            inputs,
        } => {
            if model.dialog.is_none() {
                model.dialog = Some(Dialog::Form(Form::start(&namespace, &flow, &inputs)));
            }
        }
        Answer::Preview(wanted, report) => {
            if let Some(Dialog::Confirm {
                action, preview, ..
            }) = &mut model.dialog
                && *action == wanted
            {
                *preview = Some(report);
            }
        }
    }
    Vec::new()
}

fn shown<'a>(model: &'a mut Model, id: &str) -> Option<&'a mut ExecutionPage> {
    model.execution.as_mut().filter(|page| page.id == id)
}

/// A page of a log; after the end of it follows what is written from now on.
fn log_came(
    model: &mut Model,
    ticket: u64,
    before: u64,
    page: operon_api::dto::LogPageDto,
) -> Vec<Effect> {
    let Some(execution) = &mut model.execution else {
        return Vec::new();
    };
    let log = &mut execution.log;
    if log.ticket != ticket {
        return Vec::new();
    }
    let next = page.next.as_ref().and_then(|next| next.parse().ok());
    log.page(page);
    match &log.source {
        Some(source) if before == u64::MAX && !log.ended => {
            vec![Effect::Follow(Some((ticket, source.clone(), next)))]
        }
        Some(_) | None => Vec::new(),
    }
}

fn troubled(model: &mut Model, request: &Request, trouble: Trouble) -> Vec<Effect> {
    let polled = matches!(
        request,
        Request::Executions(_)
            | Request::Detail(_)
            | Request::TaskRuns { .. }
            | Request::Flows
            | Request::Triggers
            | Request::Slots
    );
    if polled {
        model.poll.asking = false;
    }
    match (trouble, request) {
        (Trouble::Lost(why), Request::Log { ticket, .. }) => {
            let now_ms = model.now_ms;
            if let Some(page) = &mut model.execution
                && page.log.ticket == *ticket
            {
                page.log.asking = false;
                page.log.due_ms = (!page.log.loaded).then_some(now_ms + 2 * LOOK_MS);
            }
            lost(model, why);
        }
        (Trouble::Lost(why), _) => lost(model, why),
        (Trouble::Refused(why), _) => {
            if matches!(request, Request::Preview(_)) {
                model.dialog = None;
            }
            model.say(why, true);
        }
    }
    Vec::new()
}

fn acted(
    model: &mut Model,
    action: &Action,
    result: Result<serde_json::Value, Trouble>,
) -> Vec<Effect> {
    let answer = match result {
        Ok(answer) => answer,
        Err(trouble) => {
            let text = match trouble {
                Trouble::Refused(why) => why,
                Trouble::Lost(why) => {
                    format!("{why}; whether it was done is not known: look before you ask again")
                }
            };
            match &mut model.dialog {
                // What was typed is kept.
                Some(Dialog::Form(form)) if form.sent => {
                    form.sent = false;
                    form.error = Some(text);
                }
                Some(
                    Dialog::Form(_) | Dialog::Help | Dialog::Filter { .. } | Dialog::Confirm { .. },
                )
                | None => {
                    close_sent(model);
                    model.say(text, true);
                }
            }
            return Vec::new();
        }
    };
    up(model);
    close_sent(model);
    model.say(action.done(&answer), false);
    model.poll = Poll::default();
    if matches!(action, Action::Many { .. }) {
        model.marked.clear();
    }
    match action.opens(&answer) {
        Some(id) => open(model, id, None),
        None => look(model),
    }
}

/// Closes the dialog whose answer has come.
fn close_sent(model: &mut Model) {
    let sent = match &model.dialog {
        Some(Dialog::Confirm { sent, .. }) => *sent,
        Some(Dialog::Form(form)) => form.sent,
        Some(Dialog::Help | Dialog::Filter { .. }) | None => false,
    };
    if sent {
        model.dialog = None;
    }
}

fn streamed(model: &mut Model, ticket: u64, event: StreamEvent) -> Vec<Effect> {
    let Some(page) = &mut model.execution else {
        return Vec::new();
    };
    let (of_execution, of_log) = (page.ticket == ticket, page.log.ticket == ticket);
    if !of_execution && !of_log {
        return Vec::new();
    }
    match event {
        StreamEvent::Up => up(model),
        StreamEvent::Lost(why) => lost(model, why),
        StreamEvent::Execution(summary) => {
            if page.state() != summary.state {
                // Counts, pauses and history are not in the stream.
                model.poll.at_ms = 0;
            }
            page.summary = Some(*summary);
        }
        StreamEvent::TaskRun(run) => page.change(*run),
        StreamEvent::Refresh => {
            page.stale = true;
            model.poll.at_ms = 0;
        }
        StreamEvent::Line(line) => page.log.line(line),
        StreamEvent::End if of_log => page.log.ended = true,
        StreamEvent::End => model.poll.at_ms = 0,
    }
    look(model)
}

/// Shows an execution.
pub(super) fn open(
    model: &mut Model,
    id: String,
    summary: Option<operon_api::dto::ExecutionSummary>,
) -> Vec<Effect> {
    if model.page != PageName::Execution {
        model.from = model.page;
    }
    let ticket = model.ticket();
    model.page = PageName::Execution;
    model.poll = Poll::default();
    model.execution = Some(ExecutionPage::new(id.clone(), summary, ticket));
    let mut effects = vec![Effect::Watch(Some((ticket, id))), Effect::Follow(None)];
    effects.extend(look(model));
    effects
}

/// Shows a list.
pub(super) fn go(model: &mut Model, page: PageName) -> Vec<Effect> {
    let mut effects = Vec::new();
    if model.page == PageName::Execution {
        effects.extend([Effect::Watch(None), Effect::Follow(None)]);
        model.execution = None;
    }
    model.page = page;
    model.poll = Poll::default();
    effects
}
