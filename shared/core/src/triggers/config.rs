//! What a trigger of a flow says, with types: read once from the properties that the language has checked.

use std::collections::BTreeMap;

use jiff::civil::{DateTime, Time};
use jiff::{Timestamp, tz::TimeZone};
use regex::Regex;
use serde_json::{Map, Value};

use super::batch::Limits;
use super::schedule::{Dates, Recover, Schedule};
use super::signature::{Convention, Signature};
use super::size::Wish;
use super::window::{Mode, Window};
use crate::lang::amount::duration_ms;
use crate::lang::cron::Cron;
use crate::lang::model::Trigger;

/// Why a trigger cannot be used. Flows that parse give none of these, but for a time zone that is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("trigger `{trigger}`: {reason}")]
pub struct ConfigError {
    /// Its id.
    pub trigger: String,
    /// What is wrong.
    pub reason: String,
}

/// How events are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// When a batch is full and when it must go.
    pub limits: Limits,
    /// Template; events with equal values go together.
    pub group_by: Option<String>,
    /// The size is chosen from measurements.
    pub dynamic: Option<Wish>,
    /// Task that is measured; the execution as a whole without it.
    pub task: Option<String>,
}

/// What fires a trigger.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Dates.
    Schedule(Box<Schedule>),
    /// Executions of other flows.
    Flow(Box<FlowTrigger>),
    /// Calls.
    Webhook(Box<Webhook>),
    /// Objects.
    S3(Box<Objects>),
    /// Messages of a queue.
    Sqs {
        /// Its address or ARN.
        queue: String,
        /// Bodies are JSON.
        json: bool,
    },
    /// Messages of a topic.
    Sns {
        /// Its ARN.
        topic: String,
        /// Which messages.
        filter: Map<String, Value>,
    },
    /// Events of a bus.
    EventBridge {
        /// Which events.
        pattern: Map<String, Value>,
        /// Name of the bus.
        bus: String,
    },
    /// An alarm.
    Alarm {
        /// Its name.
        name: String,
        /// States that fire.
        states: Vec<String>,
    },
    /// Rows of a query.
    Postgres(Box<Postgres>),
    /// Answers of an address.
    Http(Box<Http>),
}

/// Executions of other flows.
#[derive(Debug, Clone)]
pub struct FlowTrigger {
    /// What must have ended.
    pub depends_on: Vec<Dependency>,
    /// How many of them.
    pub mode: Mode,
    /// Within which time.
    pub window: Window,
    /// At most once per window.
    pub fire_once: bool,
    /// Labels of the `FAILED` execution when a window passed in vain; none when nothing happens then.
    pub on_miss: Option<BTreeMap<String, String>>,
    /// In which times of day are meant.
    pub zone: TimeZone,
}

/// An execution that must have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The flow; every one of the namespace without it.
    pub flow: Option<String>,
    /// The namespace; the trigger's own without it.
    pub namespace: Option<String>,
    /// States that count.
    pub states: Vec<String>,
    /// Labels the execution must have.
    pub labels: BTreeMap<String, String>,
    /// Condition template.
    pub when: Option<String>,
}

/// Calls of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Template of the secret part of the address.
    pub key: String,
    /// How calls are signed.
    pub signature: Option<Signature>,
    /// Answer when the execution has ended.
    pub wait: bool,
    /// With the flow's outputs.
    pub return_outputs: bool,
    /// Of the answer.
    pub content_type: String,
    /// Of the answer.
    pub status: Option<u16>,
}

/// Objects of a bucket.
#[derive(Debug, Clone)]
pub struct Objects {
    /// The bucket.
    pub bucket: String,
    /// Keys that begin so.
    pub prefix: String,
    /// Keys that end so.
    pub suffix: String,
    /// Keys that match.
    pub regexp: Option<Regex>,
    /// Bytes at least and at most.
    pub size: (u64, u64),
}

impl Objects {
    /// Whether the trigger is meant by an object.
    #[must_use]
    pub fn matches(&self, bucket: &str, key: &str, size: u64) -> bool {
        self.bucket == bucket
            && key.starts_with(&self.prefix)
            && key.ends_with(&self.suffix)
            && (self.size.0..=self.size.1).contains(&size)
            && self
                .regexp
                .as_ref()
                .is_none_or(|regexp| regexp.is_match(key))
    }
}

/// Rows of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Postgres {
    /// Template of the address.
    pub url: String,
    /// Template.
    pub username: Option<String>,
    /// Template.
    pub password: Option<String>,
    /// The query.
    pub sql: String,
    /// Column whose greatest value is remembered.
    pub cursor: Option<String>,
    /// Value before the first row.
    pub initial: Option<String>,
    /// Connections are encrypted.
    pub ssl: bool,
    /// Channel whose notifications make the local server look at once.
    pub listen: Option<String>,
    /// Time between two looks.
    pub interval_ms: u64,
}

/// Answers of an address.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Properties as templates: `uri`, `headers`, `params`, `body`, `contentType`.
    pub request: Map<String, Value>,
    /// HTTP method.
    pub method: String,
    /// Condition over `response.*`.
    pub condition: Option<String>,
    /// Template over `response.*` whose value names the state of what is looked at.
    pub cursor: Option<String>,
    /// Only a change fires.
    pub on_change: bool,
    /// The body is not read.
    pub headers_only: bool,
    /// Time between two looks.
    pub interval_ms: u64,
}

/// A trigger.
#[derive(Debug, Clone)]
pub struct Config {
    /// Unique in the flow.
    pub id: String,
    /// Canonical type.
    pub trigger_type: String,
    /// Never fires.
    pub disabled: bool,
    /// Values for the flow's inputs, as templates.
    pub inputs: Map<String, Value>,
    /// Labels, as templates.
    pub labels: Map<String, Value>,
    /// Condition template.
    pub when: Option<String>,
    /// States that disable the trigger.
    pub stop_after: Vec<String>,
    /// Executions may overlap.
    pub allow_concurrent: bool,
    /// Template of the event's identity.
    pub idempotency_key: Option<String>,
    /// What cannot be rendered makes a `FAILED` execution.
    pub fail_on_error: bool,
    /// Several events make one execution.
    pub batch: Option<Batch>,
    /// What fires it.
    pub kind: Kind,
}

impl Config {
    /// Reads a trigger.
    pub fn read(trigger: &Trigger) -> Result<Self, ConfigError> {
        let props = Props(&trigger.props);
        let kind = kind(trigger, props).map_err(|reason| ConfigError {
            trigger: trigger.id.clone(),
            reason,
        })?;
        Ok(Self {
            id: trigger.id.clone(),
            trigger_type: trigger.trigger_type.clone(),
            disabled: trigger.disabled,
            inputs: props.map("inputs"),
            labels: props.map("labels"),
            when: props.text("when"),
            stop_after: props.texts("stopAfter"),
            allow_concurrent: props.flag("allowConcurrent", true),
            idempotency_key: props.text("idempotencyKey"),
            fail_on_error: props.flag("failOnTriggerError", true),
            batch: props.object("batch").map(batch),
            kind,
        })
    }

    /// Time between two looks, for triggers that look.
    #[must_use]
    pub fn interval_ms(&self) -> Option<u64> {
        match &self.kind {
            Kind::Postgres(postgres) => Some(postgres.interval_ms),
            Kind::Http(http) => Some(http.interval_ms),
            Kind::Schedule(_)
            | Kind::Flow(_)
            | Kind::Webhook(_)
            | Kind::S3(_)
            | Kind::Sqs { .. }
            | Kind::Sns { .. }
            | Kind::EventBridge { .. }
            | Kind::Alarm { .. } => None,
        }
    }

    /// The type as people write it.
    #[must_use]
    pub const fn short_type(&self) -> &'static str {
        match &self.kind {
            Kind::Schedule(_) => "schedule",
            Kind::Flow(_) => "flow",
            Kind::Webhook(_) => "webhook",
            Kind::S3(_) => "s3",
            Kind::Sqs { .. } => "sqs",
            Kind::Sns { .. } => "sns",
            Kind::EventBridge { .. } => "eventbridge",
            Kind::Alarm { .. } => "cloudwatch",
            Kind::Postgres(_) => "postgres",
            Kind::Http(_) => "http",
        }
    }
}

/// Properties with the types that the language has given them.
#[derive(Clone, Copy)]
struct Props<'a>(&'a Map<String, Value>);

impl<'a> Props<'a> {
    fn text(self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::String(text) => Some(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn must(self, name: &str) -> Result<String, String> {
        self.text(name)
            .ok_or_else(|| format!("`{name}` is missing"))
    }

    fn flag(self, name: &str, default: bool) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(default)
    }

    fn number(self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    fn map(self, name: &str) -> Map<String, Value> {
        self.object(name)
            .map(|props| props.0.clone())
            .unwrap_or_default()
    }

    fn object(self, name: &str) -> Option<Self> {
        self.0.get(name).and_then(Value::as_object).map(Props)
    }

    fn list(self, name: &str) -> impl Iterator<Item = &'a Value> {
        self.0
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    }

    fn texts(self, name: &str) -> Vec<String> {
        self.list(name)
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    fn labels(self, name: &str) -> BTreeMap<String, String> {
        let text = |value: &Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        self.map(name)
            .iter()
            .map(|(key, value)| (key.clone(), text(value)))
            .collect()
    }

    fn duration(self, name: &str) -> Option<u64> {
        self.text(name).and_then(|text| duration_ms(&text).ok())
    }

    fn time(self, name: &str) -> Result<Time, String> {
        let text = self.must(name)?;
        text.parse()
            .map_err(|_| format!("`{name}` is not a time of day: write `09:00:00`"))
    }

    fn zone(self) -> Result<TimeZone, String> {
        let name = self
            .text("timezone")
            .unwrap_or_else(|| "Etc/UTC".to_owned());
        TimeZone::get(&name).map_err(|_| format!("there is no time zone `{name}`"))
    }
}

/// The last segment of a class, or a short name.
fn kind(trigger: &Trigger, props: Props<'_>) -> Result<Kind, String> {
    Ok(match trigger.trigger_type.as_str() {
        "io.kestra.plugin.core.trigger.Schedule"
        | "io.kestra.plugin.core.trigger.ScheduleOnDates" => {
            Kind::Schedule(Box::new(schedule(props)?))
        }
        "io.kestra.plugin.core.trigger.Flow" => Kind::Flow(Box::new(flow(props)?)),
        "io.kestra.plugin.core.trigger.Webhook" => Kind::Webhook(Box::new(webhook(props)?)),
        "io.kestra.plugin.aws.s3.Trigger" => Kind::S3(Box::new(objects(props)?)),
        "io.kestra.plugin.aws.sqs.Trigger" | "io.kestra.plugin.aws.sqs.RealtimeTrigger" => {
            Kind::Sqs {
                queue: props.must("queueUrl")?,
                json: props.text("serdeType").as_deref() == Some("JSON"),
            }
        }
        "sns" => Kind::Sns {
            topic: props.must("topicArn")?,
            filter: props.map("filterPolicy"),
        },
        "eventbridge" => Kind::EventBridge {
            pattern: props.map("eventPattern"),
            bus: props
                .text("eventBus")
                .unwrap_or_else(|| "default".to_owned()),
        },
        "io.kestra.plugin.aws.cloudwatch.Trigger" => {
            let states = props.texts("alarmStates");
            Kind::Alarm {
                name: props.must("alarmName")?,
                states: if states.is_empty() {
                    vec!["ALARM".to_owned()]
                } else {
                    states
                },
            }
        }
        "io.kestra.plugin.jdbc.postgresql.Trigger" => Kind::Postgres(Box::new(Postgres {
            url: props.must("url")?,
            username: props.text("username"),
            password: props.text("password"),
            sql: props.must("sql")?,
            cursor: props.text("cursor"),
            initial: props.text("initialCursor"),
            ssl: props.flag("ssl", true),
            listen: props.text("listen"),
            interval_ms: props.duration("interval").unwrap_or(60_000),
        })),
        "io.kestra.plugin.core.http.Trigger" => Kind::Http(Box::new(Http {
            request: props.0.clone(),
            method: props.text("method").unwrap_or_else(|| "GET".to_owned()),
            condition: props.text("responseCondition"),
            cursor: props.text("cursor"),
            on_change: props.flag("onChange", true),
            headers_only: props.flag("headersOnly", false),
            interval_ms: props.duration("interval").unwrap_or(60_000),
        })),
        other => return Err(format!("`{other}` is not a trigger of this release")),
    })
}

fn schedule(props: Props<'_>) -> Result<Schedule, String> {
    let zone = props.zone()?;
    let dates = if let Some(cron) = props.text("cron") {
        let cron = Cron::parse(&cron, props.flag("withSeconds", false));
        Dates::Cron(Box::new(cron.map_err(|error| error.to_string())?))
    } else {
        let mut dates = Vec::new();
        for text in props.texts("dates") {
            let at = text.parse::<Timestamp>().or_else(|_| {
                let local: DateTime = text.parse()?;
                zone.to_ambiguous_zoned(local)
                    .compatible()
                    .map(|at| at.timestamp())
            });
            let at = at.map_err(|error| format!("`{text}` is not a date: {error}"))?;
            dates.push(u64::try_from(at.as_millisecond()).unwrap_or(0));
        }
        dates.sort_unstable();
        dates.dedup();
        Dates::List(dates)
    };
    Ok(Schedule {
        dates,
        zone,
        recover: match props.text("recoverMissedSchedules").as_deref() {
            Some("ALL") => Recover::All,
            Some("NONE") => Recover::None,
            _ => Recover::Last,
        },
        late_max_ms: props.duration("lateMaximumDelay"),
    })
}

fn flow(props: Props<'_>) -> Result<FlowTrigger, String> {
    let states = |props: Props<'_>| {
        let states = props.texts("states");
        (!states.is_empty()).then_some(states)
    };
    let default = states(props).unwrap_or_else(|| vec!["SUCCESS".to_owned(), "WARNING".to_owned()]);
    let depends_on = props
        .list("dependsOn")
        .filter_map(Value::as_object)
        .map(Props)
        .map(|one| Dependency {
            flow: one.text("flowId"),
            namespace: one.text("namespace"),
            states: states(one).unwrap_or_else(|| default.clone()),
            labels: one.labels("labels"),
            when: one.text("when"),
        })
        .collect();
    let mode = match props.text("mode").as_deref() {
        Some("ANY") => Mode::Any,
        Some("AT_LEAST") => {
            let least = props.number("minSatisfied").unwrap_or(1);
            Mode::AtLeast(usize::try_from(least).unwrap_or(usize::MAX))
        }
        _ => Mode::All,
    };
    let window = props.object("window");
    Ok(FlowTrigger {
        depends_on,
        mode,
        window: match window {
            None => Window::Forever,
            Some(window) => self::window(window)?,
        },
        // Without a window there is nothing that "once" could mean.
        fire_once: window.is_some_and(|window| {
            window.flag("fireOnce", true) && !window.0.contains_key("lookback")
        }),
        on_miss: props.object("onMiss").map(|miss| miss.labels("labels")),
        zone: match window {
            Some(window) if window.0.contains_key("timezone") => window.zone()?,
            _ => props.zone()?,
        },
    })
}

fn window(props: Props<'_>) -> Result<Window, String> {
    if props.0.contains_key("deadline") {
        return Ok(Window::Deadline(props.time("deadline")?));
    }
    if let Some(lookback) = props.duration("lookback") {
        return Ok(Window::Lookback(lookback));
    }
    if let Some(length_ms) = props.duration("every").filter(|ms| *ms > 0) {
        return Ok(Window::Every {
            length_ms,
            offset_ms: props.duration("offset").unwrap_or(0),
        });
    }
    let or_midnight = |name: &str| match props.0.get(name) {
        Some(_) => props.time(name),
        None => Ok(Time::midnight()),
    };
    Ok(Window::Between(or_midnight("from")?, or_midnight("to")?))
}

fn webhook(props: Props<'_>) -> Result<Webhook, String> {
    let signature = match props.object("signature") {
        None => None,
        Some(given) => {
            let convention = match given.text("type").as_deref() {
                Some("github") => Convention::GitHub,
                Some("slack") => Convention::Slack,
                _ => Convention::Generic,
            };
            let mut signature = Signature::new(convention, &given.must("secret")?);
            let lower = |name: &str| given.text(name).map(|text| text.to_ascii_lowercase());
            if let Some(header) = lower("header") {
                signature.header = header;
            }
            if let Some(prefix) = given.text("prefix") {
                signature.prefix = prefix;
            }
            if let Some(header) = lower("timestampHeader") {
                signature.timestamp_header = Some(header);
            }
            if let Some(header) = lower("idHeader") {
                signature.id_header = Some(header);
            }
            if let Some(tolerance) = given.duration("tolerance") {
                signature.tolerance_ms = tolerance;
            }
            Some(signature)
        }
    };
    Ok(Webhook {
        key: props.must("key")?,
        signature,
        wait: props.flag("wait", false) || props.flag("returnOutputs", false),
        return_outputs: props.flag("returnOutputs", false),
        content_type: props
            .text("responseContentType")
            .unwrap_or_else(|| "application/json".to_owned()),
        status: props
            .number("responseCode")
            .and_then(|code| u16::try_from(code).ok()),
    })
}

fn objects(props: Props<'_>) -> Result<Objects, String> {
    let regexp = match props.text("regexp") {
        None => None,
        Some(text) => Some(Regex::new(&text).map_err(|error| format!("`regexp`: {error}"))?),
    };
    Ok(Objects {
        bucket: props.must("bucket")?,
        prefix: props.text("prefix").unwrap_or_default(),
        suffix: props.text("suffix").unwrap_or_default(),
        regexp,
        size: (
            props.number("minSize").unwrap_or(0),
            props.number("maxSize").unwrap_or(u64::MAX),
        ),
    })
}

fn batch(props: Props<'_>) -> Batch {
    let number = |name: &str, default: u64| {
        let number = props.number(name).unwrap_or(default);
        u32::try_from(number).unwrap_or(u32::MAX)
    };
    let dynamic = props.duration("target").map(|target_ms| Wish {
        target_ms,
        min: number("min", 1),
        max: number("max", 10_000).min(10_000),
    });
    let most = dynamic.map_or_else(|| number("maxItems", 100), |wish| wish.max);
    Batch {
        limits: Limits {
            items_max: usize::try_from(most).unwrap_or(usize::MAX).max(1),
            bytes_max: props.number("maxBytes"),
            wait_max_ms: props.duration("maxWait").unwrap_or(30_000),
        },
        group_by: props.text("groupBy"),
        dynamic,
        task: props.text("task"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::lang::{Plugins, parse};

    /// The trigger of a flow with that trigger.
    fn read(trigger: &str) -> Config {
        let lines: Vec<String> = trigger
            .lines()
            .map(|line| format!("    {line}\n"))
            .collect();
        let source = format!(
            "id: f\nnamespace: n\ntasks: [{{id: t, type: log, message: x}}]\ntriggers:\n  -\n{}",
            lines.concat()
        );
        let parsed = parse(&source, &Plugins::default());
        let flow = parsed
            .flow
            .unwrap_or_else(|| panic!("{source}\n{:?}", parsed.diagnostics.into_sorted()));
        Config::read(&flow.triggers[0]).unwrap()
    }

    #[test]
    fn every_type_of_the_catalogue_is_understood() {
        for info in crate::lang::catalogue::trigger_types() {
            let config = read(info.example);
            assert_eq!(config.trigger_type, info.name);
        }
    }

    #[test]
    fn common_properties_and_batches() {
        let config = read(
            "id: a\ntype: s3\nbucket: b\nprefix: in/\nsuffix: .fa\nminSize: 1\nmaxSize: 1MB\nwhen: \"{{ trigger.size > 1 }}\"\n\
             stopAfter: FAILED\nallowConcurrent: false\nbatch: {maxItems: 7, maxWait: 10s, maxBytes: 1KB, groupBy: \"{{ trigger.key }}\"}",
        );
        assert_eq!(config.stop_after, ["FAILED"]);
        assert!(!config.allow_concurrent && config.fail_on_error);
        let batch = config.batch.unwrap();
        assert_eq!(
            batch.limits,
            Limits {
                items_max: 7,
                bytes_max: Some(1_000),
                wait_max_ms: 10_000
            }
        );
        let Kind::S3(objects) = config.kind else {
            panic!()
        };
        assert!(objects.matches("b", "in/x.fa", 5));
        for (bucket, key, size) in [
            ("c", "in/x.fa", 5),
            ("b", "out/x.fa", 5),
            ("b", "in/x.fq", 5),
            ("b", "in/x.fa", 0),
            ("b", "in/x.fa", 1_000_001),
        ] {
            assert!(!objects.matches(bucket, key, size), "{bucket} {key} {size}");
        }
    }

    #[test]
    fn a_dynamic_batch_has_a_target_and_bounds() {
        let config =
            read("id: a\ntype: s3\nbucket: b\nbatch: {target: 5m, min: 3, max: 500, task: t}");
        let batch = config.batch.unwrap();
        assert_eq!(
            batch.dynamic,
            Some(Wish {
                target_ms: 300_000,
                min: 3,
                max: 500
            })
        );
        assert_eq!(
            (batch.limits.items_max, batch.task.as_deref()),
            (500, Some("t"))
        );
    }

    #[test]
    fn windows_and_modes_of_flow_triggers() {
        let config = read(
            "id: a\ntype: flow\ndependsOn: [{flowId: x}, {flowId: y, states: [FAILED], namespace: m}]\nmode: AT_LEAST\nminSatisfied: 2\n\
             window: {every: P1D, offset: PT2H}\nonMiss: {behavior: FAIL, labels: {why: late}}",
        );
        let Kind::Flow(flow) = config.kind else {
            panic!()
        };
        assert_eq!((flow.mode, flow.fire_once), (Mode::AtLeast(2), true));
        assert_eq!(
            flow.window,
            Window::Every {
                length_ms: 86_400_000,
                offset_ms: 7_200_000
            }
        );
        assert_eq!(flow.depends_on[0].states, ["SUCCESS", "WARNING"]);
        assert_eq!(flow.depends_on[1].states, ["FAILED"]);
        assert_eq!(flow.on_miss.unwrap()["why"], "late");
    }

    #[test]
    fn signatures_have_the_headers_of_their_convention() {
        let config = read(
            "id: a\ntype: webhook\nkey: abcdefghijklmnop\nsignature: {type: slack, secret: S, tolerance: 1m}",
        );
        let Kind::Webhook(webhook) = config.kind else {
            panic!()
        };
        let signature = webhook.signature.unwrap();
        assert_eq!(
            (signature.header.as_str(), signature.tolerance_ms),
            ("x-slack-signature", 60_000)
        );
        let config = read(
            "id: a\ntype: webhook\nkey: abcdefghijklmnop\n\
             signature: {type: generic, secret: S, header: X-Mine, prefix: \"sha256=\", timestampHeader: X-Time, idHeader: X-Id}",
        );
        let Kind::Webhook(webhook) = config.kind else {
            panic!()
        };
        let signature = webhook.signature.unwrap();
        assert_eq!(signature.id_header.as_deref(), Some("x-id"));
        assert_eq!(signature.timestamp_header.as_deref(), Some("x-time"));
    }
}
