//! What can be done to executions, flows and triggers: what is asked, what happens to running containers, and the
//! request it becomes. Invariant: every action is confirmed by a person who was told both.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::message::Preview;
use crate::client::part;

/// An action on one execution or on many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// Stops everything.
    Kill,
    /// Begins again with what has not succeeded.
    Restart,
    /// Begins again with the items that have not succeeded.
    RetryFailed,
    /// Lets pauses go on.
    Resume,
}

impl Verb {
    /// As in paths.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::RetryFailed => "retry-failed",
            Self::Resume => "resume",
        }
    }

    /// As people say it.
    const fn words(self) -> &'static str {
        match self {
            Self::Kill => "Kill",
            Self::Restart => "Restart",
            Self::RetryFailed => "Retry failed items of",
            Self::Resume => "Let go on",
        }
    }

    /// What happens to running containers, and otherwise.
    const fn consequence(self) -> &'static str {
        match self {
            Self::Kill => {
                "Running containers are told to stop, and killed if they are still there after their grace period; \
                 those of executions it started, too."
            }
            Self::Restart => {
                "No container is stopped. What has not succeeded begins again, as further attempts."
            }
            Self::RetryFailed => {
                "No container is stopped. The items that have not succeeded begin again, and what waits for them."
            }
            Self::Resume => "No container is stopped. Every pause that waits for a person goes on.",
        }
    }
}

/// Something that is done when it is confirmed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// To one execution.
    One { verb: Verb, id: String },
    /// To many executions.
    Many { verb: Verb, ids: Vec<String> },
    /// A new execution that begins at a task.
    Replay {
        id: String,
        from: String,
        revision: Option<u32>,
    },
    /// An answer to a pause.
    Answer {
        id: String,
        run: String,
        name: String,
        go_on: bool,
        inputs: Map<String, Value>,
    },
    /// A new execution of a flow.
    Start {
        namespace: String,
        flow: String,
        inputs: Map<String, Value>,
    },
    /// Whether a flow may be started.
    Flow {
        namespace: String,
        flow: String,
        on: bool,
    },
    /// Whether a trigger fires.
    Trigger {
        namespace: String,
        flow: String,
        trigger: String,
        on: bool,
    },
}

impl Action {
    /// The question.
    pub(super) fn question(&self) -> String {
        match self {
            Self::One { verb, id } => format!("{} execution {id}?", verb.words()),
            Self::Many { verb, ids } => format!("{} {} executions?", verb.words(), ids.len()),
            Self::Replay { id, from, .. } => format!("Replay execution {id} from `{from}`?"),
            Self::Answer { name, .. } => format!("Answer `{name}`?"),
            Self::Start {
                namespace, flow, ..
            } => format!("Start {namespace}/{flow}?"),
            Self::Flow {
                namespace,
                flow,
                on,
            } => {
                format!("{} the flow {namespace}/{flow}?", switch(*on))
            }
            Self::Trigger {
                namespace,
                flow,
                trigger,
                on,
            } => {
                format!(
                    "{} the trigger `{trigger}` of {namespace}/{flow}?",
                    switch(*on)
                )
            }
        }
    }

    /// What will happen.
    pub(super) const fn consequence(&self) -> &'static str {
        match self {
            Self::One { verb, .. } | Self::Many { verb, .. } => verb.consequence(),
            Self::Replay { .. } => {
                "No container is stopped. A new execution begins there; what came before is reused, not executed."
            }
            Self::Answer { go_on: true, .. } => {
                "No container is stopped. The execution goes on with what you say."
            }
            Self::Answer { go_on: false, .. } => {
                "No container is stopped. The pause ends as failed, and what comes after it is not executed."
            }
            Self::Start { .. } => "No container is stopped. A new execution begins.",
            Self::Flow { on: true, .. } => {
                "No container is stopped. Triggers and people may start it again."
            }
            Self::Flow { on: false, .. } => {
                "Nothing starts it any more. No container is stopped; what is in progress goes on."
            }
            Self::Trigger { on: true, .. } => "No container is stopped. It fires again.",
            Self::Trigger { on: false, .. } => {
                "It does not fire any more. No container is stopped; what it started goes on."
            }
        }
    }

    /// Path and body of the request.
    pub(super) fn request(&self) -> (String, Value) {
        match self {
            Self::One { verb, id } => (
                format!("/executions/{}/{}", part(id), verb.name()),
                json!({}),
            ),
            Self::Many { verb, ids } => {
                let body = json!({"action": verb.name(), "ids": ids});
                ("/executions/bulk".to_owned(), body)
            }
            Self::Replay { id, from, revision } => {
                let body = json!({"from": from, "revision": revision});
                (format!("/executions/{}/replay", part(id)), body)
            }
            Self::Answer {
                id,
                run,
                go_on,
                inputs,
                ..
            } => {
                let body = json!({"taskRun": run, "goOn": go_on, "inputs": inputs});
                (format!("/executions/{}/resume", part(id)), body)
            }
            Self::Start {
                namespace,
                flow,
                inputs,
            } => {
                let body = json!({"namespace": namespace, "flow": flow, "inputs": inputs});
                ("/executions".to_owned(), body)
            }
            Self::Flow {
                namespace,
                flow,
                on,
            } => {
                let verb = if *on { "enable" } else { "disable" };
                let path = format!("/flows/{}/{}/{verb}", part(namespace), part(flow));
                (path, json!({}))
            }
            Self::Trigger {
                namespace,
                flow,
                trigger,
                on,
            } => {
                let verb = if *on { "enable" } else { "disable" };
                let (namespace, flow) = (part(namespace), part(flow));
                let path = format!("/triggers/{namespace}/{flow}/{}/{verb}", part(trigger));
                (path, json!({}))
            }
        }
    }

    /// What is said when the server has taken it.
    pub(super) fn done(&self, answer: &Value) -> String {
        match self {
            Self::One { verb, id } => format!("{} has the wish: {}", id, verb.name()),
            Self::Many { verb, .. } => {
                let report: Preview = serde_json::from_value(answer.clone()).unwrap_or_default();
                let mut text = format!("{}: {} done", verb.name(), report.done);
                if let Some(first) = report.skipped.first() {
                    let skipped = report.skipped.len();
                    // Writing to a string cannot fail.
                    let _ = write!(text, ", {skipped} skipped ({}: {})", first.id, first.reason);
                }
                text
            }
            Self::Replay { .. } => {
                let reused = answer
                    .get("reused")
                    .and_then(Value::as_u64)
                    .unwrap_or_default();
                format!("The replay began; task runs reused: {reused}")
            }
            Self::Answer { name, go_on, .. } => {
                let what = if *go_on { "goes on" } else { "ends as failed" };
                format!("{name} {what}")
            }
            Self::Start {
                namespace, flow, ..
            } => format!("{namespace}/{flow} was started"),
            Self::Flow {
                namespace,
                flow,
                on,
            } => format!("{namespace}/{flow} is {}", state(*on)),
            Self::Trigger { trigger, on, .. } => format!("{trigger} is {}", state(*on)),
        }
    }

    /// The execution that the server's answer tells of, if it is a new one.
    pub(super) fn opens(&self, answer: &Value) -> Option<String> {
        match self {
            Self::Replay { .. } | Self::Start { .. } => {
                answer.get("id").and_then(Value::as_str).map(str::to_owned)
            }
            Self::One { .. }
            | Self::Many { .. }
            | Self::Answer { .. }
            | Self::Flow { .. }
            | Self::Trigger { .. } => None,
        }
    }
}

const fn switch(on: bool) -> &'static str {
    if on { "Enable" } else { "Disable" }
}

const fn state(on: bool) -> &'static str {
    if on { "enabled" } else { "disabled" }
}
