//! What single trigger types ask for.

use serde_json::{Map, Value};

use super::super::catalogue::TypeInfo;
use super::super::cron::Cron;
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::model::Span;
use super::Reader;
use super::convert::short;
use super::fields::{Field, Fields, nearest};
use super::templates::has_template;
use crate::triggers::QueueName;

/// Characters of a webhook's key: it is all that keeps strangers out.
const WEBHOOK_KEY_CHARS_MIN: usize = 16;
/// Least time between two looks of a polling trigger, in milliseconds.
const POLL_MS_MIN: u64 = 1_000;

impl Reader<'_> {
    /// Rules of single types.
    pub(super) fn trigger_rules(
        &mut self,
        fields: &Fields<'_>,
        info: &TypeInfo,
        props: &Map<String, Value>,
        place: &Span,
    ) {
        if let Some(field) = fields.get("cron") {
            self.cron(field, props.get("withSeconds") == Some(&Value::Bool(true)));
        }
        if let Some(field) = fields.get("timezone") {
            self.timezone(field);
        }
        if let Some(field) = fields.get("regexp") {
            self.pattern(field);
        }
        if let Some(field) = fields.get("dates") {
            self.dates(field, props);
        }
        if let Some(field) = fields
            .get("interval")
            .filter(|_| props.contains_key("interval"))
            && let Some(ms) = self.constant_duration(field.value, "`interval`")
            && ms < POLL_MS_MIN
        {
            self.push(
                Diagnostic::error(
                    Rule::OutOfRange,
                    field.value.span.clone(),
                    "`interval` is too short",
                )
                .with_help("write at least `PT1S`"),
            );
        }
        if let (Some(each), Some(_)) = (fields.get("each"), fields.get("batch")) {
            self.push(
                Diagnostic::error(
                    Rule::Exclusive,
                    each.key.span.clone(),
                    "`each` starts an execution for each event, `batch` one for several",
                )
                .with_help("keep one of them"),
            );
        }
        match info.name.rsplit('.').next() {
            Some("Webhook") => self.webhook(fields),
            Some("Flow") => self.flow_trigger(fields, props, place),
            _ => {}
        }
        if let Some(field) = fields.get("queueUrl")
            && let Some(text) = field.value.as_str()
            && QueueName::read(text).is_none()
        {
            self.push(
                Diagnostic::error(
                    Rule::InvalidValue,
                    field.value.span.clone(),
                    format!(
                        "`{}` is neither the address nor the ARN of a queue",
                        short(text)
                    ),
                )
                .with_help("write `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`"),
            );
        }
        if info.name.ends_with("s3.Trigger") {
            self.action(fields, props, place);
        }
        if let Some(field) = fields.get("password")
            && field.value.as_str().is_some_and(|text| !has_template(text))
        {
            self.push(
                Diagnostic::warning(
                    Rule::PlainSecret,
                    field.value.span.clone(),
                    "`password` is written in plain text",
                )
                .with_help("store it as a secret and write `\"{{ secret('NAME') }}\"`"),
            );
        }
    }

    /// `MOVE` needs a place, and one from where the object does not start the flow again.
    fn action(&mut self, fields: &Fields<'_>, props: &Map<String, Value>, place: &Span) {
        let text = |of: &Map<String, Value>, name: &str| {
            let value = of.get(name).and_then(Value::as_str);
            value.map(str::to_owned)
        };
        let moves = text(props, "action").as_deref() == Some("MOVE");
        let Some(field) = fields.get("moveTo") else {
            if moves {
                let span = fields.get("action").map(|field| field.key.span.clone());
                self.push(
                    Diagnostic::error(
                        Rule::MissingProperty,
                        span.unwrap_or_else(|| place.clone()),
                        "`action: MOVE` needs `moveTo`",
                    )
                    .with_help("add `moveTo: {key: done/}`, with `bucket` if it is another one"),
                );
            }
            return;
        };
        if !moves {
            self.push(
                Diagnostic::error(
                    Rule::Exclusive,
                    field.key.span.clone(),
                    "`moveTo` says where an object goes that is not moved",
                )
                .with_help("add `action: MOVE`, or remove it"),
            );
            return;
        }
        let Some(Value::Object(to)) = props.get("moveTo") else {
            return;
        };
        let bucket = text(props, "bucket");
        let same = text(to, "bucket").is_none_or(|to| Some(to) == bucket);
        let directory = text(to, "key").unwrap_or_default();
        let prefix = text(props, "prefix").unwrap_or_default();
        // The rest of a template is known when an object is moved, and refused then.
        let begin = if has_template(&directory) {
            directory.split("{{").next().unwrap_or_default().to_owned()
        } else {
            format!("{}/", directory.trim_end_matches('/'))
        };
        let returns = same && !props.contains_key("regexp") && begin.starts_with(&prefix);
        if returns {
            self.push(
                Diagnostic::error(
                    Rule::InvalidValue,
                    field.value.span.clone(),
                    "an object that is moved there starts the flow again",
                )
                .with_help("give the trigger a `prefix` that `moveTo.key` does not begin with, or another `bucket`"),
            );
        }
    }

    fn cron(&mut self, field: Field<'_>, with_seconds: bool) {
        let Some(text) = field.value.as_str() else {
            return;
        };
        if let Err(error) = Cron::parse(text, with_seconds) {
            self.push(
                Diagnostic::error(
                    Rule::InvalidCron,
                    field.value.span.clone(),
                    error.to_string(),
                )
                .with_help("`0 2 * * *` is every day at two"),
            );
        }
    }

    fn timezone(&mut self, field: Field<'_>) {
        let Some(name) = field.value.as_str() else {
            return;
        };
        if jiff::tz::TimeZone::get(name).is_err() {
            let zones: Vec<String> = jiff::tz::db()
                .available()
                .map(|zone| zone.as_str().to_owned())
                .collect();
            let help = nearest(name, zones.iter().map(String::as_str)).map_or_else(
                || "write a name such as `Europe/Zurich` or `Etc/UTC`".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            self.push(
                Diagnostic::error(
                    Rule::InvalidValue,
                    field.value.span.clone(),
                    format!("there is no time zone `{}`", short(name)),
                )
                .with_help(help),
            );
        }
    }

    fn pattern(&mut self, field: Field<'_>) {
        let Some(text) = field.value.as_str() else {
            return;
        };
        if regex::Regex::new(text).is_err() {
            self.push(
                Diagnostic::error(
                    Rule::InvalidRegex,
                    field.value.span.clone(),
                    format!("`{}` is not a regular expression", field.key.name),
                )
                .with_help("look-around and back-references are not known; quote the text if it has backslashes"),
            );
        }
    }

    fn dates(&mut self, field: Field<'_>, props: &Map<String, Value>) {
        let zone = props.contains_key("timezone");
        for node in field.value.as_seq().unwrap_or_default() {
            let Some(text) = node.as_str() else { continue };
            let good = text.parse::<jiff::Timestamp>().is_ok()
                || zone && text.parse::<jiff::civil::DateTime>().is_ok();
            if !good {
                self.push(
                    Diagnostic::error(
                        Rule::InvalidValue,
                        node.span.clone(),
                        format!("`{}` is not a date with time and offset", short(text)),
                    )
                    .with_help("write `2030-01-01T00:00:00Z`, or add `timezone`"),
                );
            }
        }
    }

    fn webhook(&mut self, fields: &Fields<'_>) {
        let Some(field) = fields.get("key") else {
            return;
        };
        let Some(text) = field.value.as_str().filter(|text| !has_template(text)) else {
            return;
        };
        let safe = text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~'));
        if text.chars().count() < WEBHOOK_KEY_CHARS_MIN && fields.get("signature").is_none() {
            self.push(
                Diagnostic::warning(
                    Rule::PlainSecret,
                    field.value.span.clone(),
                    format!("this key has fewer than {WEBHOOK_KEY_CHARS_MIN} characters and can be guessed"),
                )
                .with_help("use a long random one, best `\"{{ secret('NAME') }}\"`, or add `signature`"),
            );
        } else if !safe {
            self.push(
                Diagnostic::error(
                    Rule::InvalidValue,
                    field.value.span.clone(),
                    "the key is part of an address and has characters that cannot stand there",
                )
                .with_help("use letters, digits, `-` and `_`"),
            );
        }
    }

    fn flow_trigger(&mut self, fields: &Fields<'_>, props: &Map<String, Value>, place: &Span) {
        if !props.contains_key("dependsOn") {
            self.push(
                Diagnostic::error(
                    Rule::MissingProperty,
                    place.clone(),
                    "the trigger has no `dependsOn`",
                )
                .with_help("add `dependsOn: [{flowId: …}]`"),
            );
        }
        let at_least = props.get("mode") == Some(&Value::from("AT_LEAST"));
        if at_least != props.contains_key("minSatisfied") {
            let span = fields
                .get("minSatisfied")
                .or_else(|| fields.get("mode"))
                .map_or_else(|| place.clone(), |field| field.key.span.clone());
            self.push(
                Diagnostic::error(
                    Rule::Exclusive,
                    span,
                    "`mode: AT_LEAST` and `minSatisfied` go together",
                )
                .with_help("write both, or neither"),
            );
        }
        if let Some(Value::Object(window)) = props.get("window") {
            let kinds = [
                window.contains_key("deadline"),
                window.contains_key("from") || window.contains_key("to"),
                window.contains_key("every"),
                window.contains_key("lookback"),
            ];
            if kinds.iter().filter(|kind| **kind).count() != 1 {
                let span = fields.get("window").or_else(|| fields.get("preconditions"));
                self.push(
                    Diagnostic::error(
                        Rule::Exclusive,
                        span.map_or_else(|| place.clone(), |field| field.key.span.clone()),
                        "a window is one of `deadline`, `from` and `to`, `every`, `lookback`",
                    )
                    .with_help("keep one"),
                );
            }
        }
    }
}
