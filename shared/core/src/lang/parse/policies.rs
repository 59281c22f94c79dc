//! Retries, locks, service levels and guards.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another shape is wrong, whichever shape that is"
)]

use serde_json::{Map, Value};

use super::super::amount::duration_ms;
use super::super::catalogue::{CHECK, CONCURRENCY, FLOW_RETRY, PropInfo, RETRY, SLA};
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::limits::POLICIES_MAX;
use super::super::model::{
    Check, CheckBehavior, Concurrency, ConcurrencyBehavior, Flow, FlowRetry, FlowRetryBehavior,
    Retry, RetryInterval, Sla, SlaBehavior, SlaKind,
};
use super::super::yaml::Node;
use super::fields::Fields;
use super::tasks::start_of;
use super::{Here, Reader};
use crate::exec::Reason;

/// Wait between attempts when none is written, in milliseconds.
const INTERVAL_MS: u64 = 30_000;
/// Longest wait when none is written, in milliseconds.
const MAX_INTERVAL_MS: u64 = 600_000;

impl Reader<'_> {
    pub(super) fn policies(&mut self, flow: &mut Flow, fields: &Fields<'_>) {
        if let Some(node) = fields.value("concurrency") {
            self.here = Here {
                before: true,
                ..Here::default()
            };
            flow.concurrency = self.concurrency(node);
            self.here = Here::default();
        }
        flow.retry = fields.value("retry").and_then(|node| self.flow_retry(node));
        if let Some(node) = fields.value("timeout") {
            flow.timeout_ms = self.constant_duration(node, "`timeout`");
            if flow.timeout_ms == Some(0) {
                self.push(
                    Diagnostic::error(Rule::OutOfRange, node.span.clone(), "`timeout` is zero")
                        .with_help("write how long an execution may take, such as `PT8H`"),
                );
            }
        }
        if let Some(node) = fields.value("sla") {
            flow.sla = self.slas(node);
        }
        if let Some(node) = fields.value("checks") {
            self.here = Here {
                before: true,
                ..Here::default()
            };
            flow.checks = self.checks(node);
            self.here = Here::default();
        }
        if let Some(node) = fields.value("notify") {
            self.here = Here {
                before: true,
                ..Here::default()
            };
            flow.notify = self.notify(node);
            self.here = Here::default();
        }
    }

    fn concurrency(&mut self, node: &Node) -> Option<Concurrency> {
        let object = self.read(node, CONCURRENCY, "`concurrency`")?;
        Some(Concurrency {
            limit: u32::try_from(object.get("limit")?.as_u64()?).ok()?,
            behavior: match text(&object, "behavior") {
                "CANCEL" => ConcurrencyBehavior::Cancel,
                "FAIL" => ConcurrencyBehavior::Fail,
                _ => ConcurrencyBehavior::Queue,
            },
            key: object.get("key").and_then(Value::as_str).map(str::to_owned),
        })
    }

    pub(super) fn task_retry(&mut self, node: &Node) -> Option<Retry> {
        let object = self.read(node, RETRY, "`retry`")?;
        Some(self.retry(node, &object))
    }

    fn flow_retry(&mut self, node: &Node) -> Option<FlowRetry> {
        let object = self.read(node, FLOW_RETRY, "`retry`")?;
        Some(FlowRetry {
            retry: self.retry(node, &object),
            behavior: match text(&object, "behavior") {
                "CREATE_NEW_EXECUTION" => FlowRetryBehavior::CreateNewExecution,
                _ => FlowRetryBehavior::RetryFailedTask,
            },
        })
    }

    pub(super) fn read(
        &mut self,
        node: &Node,
        table: &'static [PropInfo],
        what: &str,
    ) -> Option<Map<String, Value>> {
        match self.object(node, table, what)? {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    fn retry(&mut self, node: &Node, object: &Map<String, Value>) -> Retry {
        let ms = |name: &str| {
            object
                .get(name)
                .and_then(Value::as_str)
                .and_then(|t| duration_ms(t).ok())
        };
        let kind = text(object, "type");
        let goes_with: &[&str] = match kind {
            "exponential" => &["interval", "maxInterval", "delayFactor"],
            "random" => &["minInterval", "maxInterval"],
            _ => &["interval"],
        };
        for name in ["interval", "minInterval", "maxInterval", "delayFactor"] {
            if object.contains_key(name) && !goes_with.contains(&name) {
                let kind = if kind.is_empty() { "constant" } else { kind };
                self.push(
                    Diagnostic::error(
                        Rule::NotForType,
                        key_span(node, name),
                        format!("`{name}` has no meaning for a `{kind}` retry"),
                    )
                    .with_help(format!("it takes {}", goes_with.join(", "))),
                );
            }
        }
        let delay_factor = object
            .get("delayFactor")
            .and_then(Value::as_f64)
            .unwrap_or(2.0);
        if !(1.0..=100.0).contains(&delay_factor) {
            self.push(
                Diagnostic::error(
                    Rule::OutOfRange,
                    key_span(node, "delayFactor"),
                    format!("`delayFactor` is {delay_factor}"),
                )
                .with_help("write a number from 1 to 100"),
            );
        }
        let interval = match kind {
            "exponential" => {
                let interval_ms = ms("interval").unwrap_or(INTERVAL_MS);
                RetryInterval::Exponential {
                    interval_ms,
                    max_interval_ms: ms("maxInterval").unwrap_or(MAX_INTERVAL_MS.max(interval_ms)),
                    delay_factor,
                }
            }
            "random" => {
                let min_interval_ms = ms("minInterval").unwrap_or(INTERVAL_MS);
                RetryInterval::Random {
                    min_interval_ms,
                    max_interval_ms: ms("maxInterval")
                        .unwrap_or(MAX_INTERVAL_MS.max(min_interval_ms)),
                }
            }
            _ => RetryInterval::Constant {
                interval_ms: ms("interval").unwrap_or(INTERVAL_MS),
            },
        };
        self.retry_bounds(node, &interval);
        let max_attempts = object.get("maxAttempts").and_then(Value::as_u64);
        let max_duration_ms = ms("maxDuration");
        let ends = ["maxAttempts", "maxAttempt", "maxDuration"];
        if ends.iter().all(|name| node.get(name).is_none()) {
            self.push(
                Diagnostic::warning(
                    Rule::EndlessRetry,
                    start_of(node),
                    "this retry never gives up",
                )
                .with_help("add `maxAttempts` or `maxDuration`"),
            );
        }
        Retry {
            interval,
            max_attempts: max_attempts.and_then(|n| u8::try_from(n).ok()),
            max_duration_ms,
            warning_on_retry: object.get("warningOnRetry") == Some(&Value::Bool(true)),
            reasons: reasons(object),
        }
    }

    fn retry_bounds(&mut self, node: &Node, interval: &RetryInterval) {
        let (low, high) = match interval {
            RetryInterval::Constant { interval_ms } => (*interval_ms, *interval_ms),
            RetryInterval::Exponential {
                interval_ms,
                max_interval_ms,
                ..
            } => (*interval_ms, *max_interval_ms),
            RetryInterval::Random {
                min_interval_ms,
                max_interval_ms,
            } => (*min_interval_ms, *max_interval_ms),
        };
        if low > high {
            self.push(
                Diagnostic::error(
                    Rule::OutOfRange,
                    key_span(node, "maxInterval"),
                    "`maxInterval` is shorter than the shortest wait",
                )
                .with_help("make it at least as long"),
            );
        }
    }

    fn slas(&mut self, node: &Node) -> Vec<Sla> {
        let mut slas: Vec<Sla> = Vec::new();
        for item in self.few(node, "`sla`") {
            let Some(object) = self.read(item, SLA, "a service level") else {
                continue;
            };
            let kind = match (
                text(&object, "type"),
                object.get("duration"),
                object.get("assert"),
            ) {
                ("MAX_DURATION", Some(Value::String(duration)), None) => SlaKind::MaxDuration {
                    duration_ms: duration_ms(duration).unwrap_or(0),
                },
                ("EXECUTION_ASSERTION", None, Some(Value::String(assert))) => {
                    SlaKind::ExecutionAssertion {
                        assert: assert.clone(),
                    }
                }
                ("MAX_DURATION" | "EXECUTION_ASSERTION", ..) => {
                    self.push(
                        Diagnostic::error(
                            Rule::Exclusive,
                            start_of(item),
                            "a service level has `duration` or `assert`, as its type says",
                        )
                        .with_help(
                            "`MAX_DURATION` takes `duration`, `EXECUTION_ASSERTION` takes `assert`",
                        ),
                    );
                    continue;
                }
                _ => continue,
            };
            let id = text(&object, "id").to_owned();
            if slas.iter().any(|sla| sla.id == id) {
                self.push(Diagnostic::error(
                    Rule::DuplicateId,
                    start_of(item),
                    format!("two service levels have the id `{id}`"),
                ));
            }
            let behavior = match text(&object, "behavior") {
                "CANCEL" => SlaBehavior::Cancel,
                "FAIL" => SlaBehavior::Fail,
                _ => SlaBehavior::None,
            };
            let labels = match object.get("labels") {
                Some(Value::Object(labels)) => labels
                    .iter()
                    .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                    .collect(),
                _ => std::collections::BTreeMap::new(),
            };
            slas.push(Sla {
                id,
                kind,
                behavior,
                labels,
            });
        }
        slas
    }

    fn checks(&mut self, node: &Node) -> Vec<Check> {
        let mut checks = Vec::new();
        for item in self.few(node, "`checks`") {
            let Some(object) = self.read(item, CHECK, "a check") else {
                continue;
            };
            checks.push(Check {
                when: text(&object, "when").to_owned(),
                message: text(&object, "message").to_owned(),
                behavior: match text(&object, "behavior") {
                    "FAIL_EXECUTION" => CheckBehavior::FailExecution,
                    "CREATE_EXECUTION" => CheckBehavior::CreateExecution,
                    _ => CheckBehavior::BlockExecution,
                },
            });
        }
        checks
    }

    /// The items of a list that may not be long.
    pub(super) fn few<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        let Some(items) = node.as_seq() else {
            self.wrong_type(node, what, "a list");
            return &[];
        };
        if items.len() > POLICIES_MAX {
            self.limit(
                node,
                &format!("{what} has {} items", items.len()),
                POLICIES_MAX,
            );
            return &[];
        }
        items
    }
}

pub(super) fn text<'o>(object: &'o Map<String, Value>, name: &str) -> &'o str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn key_span(node: &Node, name: &str) -> super::super::model::Span {
    node.entry(name)
        .map_or_else(|| start_of(node), |(key, _)| key.span.clone())
}

/// The reasons that a retry is limited to, by the names of [`RETRY_REASONS`].
fn reasons(object: &Map<String, Value>) -> Vec<Reason> {
    let named = |word: &Value| {
        let word = word.as_str()?;
        let (_, reason) = RETRY_REASONS.iter().find(|(name, _)| *name == word)?;
        Some(*reason)
    };
    match object.get("reasons") {
        Some(Value::Array(words)) => words.iter().filter_map(named).collect(),
        _ => Vec::new(),
    }
}

/// What `retry.reasons` may name.
const RETRY_REASONS: [(&str, Reason); 12] = [
    ("EXIT_CODE", Reason::ExitCode),
    ("OUT_OF_MEMORY", Reason::OutOfMemory),
    ("TIMEOUT", Reason::Timeout),
    ("SPOT_INTERRUPTION", Reason::Interrupted),
    ("CANNOT_PULL", Reason::CannotPull),
    ("NO_CAPACITY", Reason::NoCapacity),
    ("LOST", Reason::Lost),
    ("TASK_FAILED", Reason::TaskFailed),
    ("OUTPUT", Reason::Output),
    ("CANNOT_START", Reason::Launch),
    ("START_FAILED", Reason::StartFailed),
    ("START_TIMEOUT", Reason::StartTimeout),
];
