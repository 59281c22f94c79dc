//! From the properties that the language has checked to what a trigger says.

use std::collections::BTreeMap;

use jiff::civil::{DateTime, Time};
use jiff::{Timestamp, tz::TimeZone};
use regex::Regex;
use serde_json::{Map, Value};

use super::super::batch::Limits;
use super::super::schedule::{Dates, Recover, Schedule};
use super::super::signature::{Convention, Signature};
use super::super::size::Wish;
use super::super::window::{Mode, Window};
use super::{
    Action, Batch, Config, ConfigError, Dependency, FlowTrigger, Http, Kind, Objects, Postgres,
    Webhook,
};
use crate::lang::amount::duration_ms;
use crate::lang::cron::Cron;
use crate::lang::model::Trigger;

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
    let bucket = props.must("bucket")?;
    let action = match props.text("action").as_deref() {
        Some("DELETE") => Action::Delete,
        Some("MOVE") => {
            let to = props.object("moveTo").ok_or("`moveTo` is missing")?;
            Action::Move {
                bucket: to.text("bucket").unwrap_or_else(|| bucket.clone()),
                directory: to.must("key")?,
            }
        }
        _ => Action::Stay,
    };
    Ok(Objects {
        bucket,
        action,
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
