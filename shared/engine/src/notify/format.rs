//! How an alert looks: Slack blocks, a `PagerDuty` event, JSON, plain text.
//!
//! The forms follow Slack's Block Kit (header of 150 characters, section of 3,000, ten fields) and `PagerDuty`'s Events API v2
//! (summary of 1,024 characters); their JSON Schemas are in `tests/fixtures/messages`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::incident::{DESCRIBED_MAX, Failure, Incident};

/// Characters of `PagerDuty`'s summary.
pub const SUMMARY_CHARS_MAX: usize = 1024;
/// `PagerDuty`'s address.
pub const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// Characters of Slack's header.
const HEADER_CHARS_MAX: usize = 150;
/// Characters of Slack's section.
const SECTION_CHARS_MAX: usize = 3000;
/// Failures described in full; of the others a line each.
const FULL_MAX: usize = 1;

/// What is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// One line.
    pub title: String,
    /// What failed, newest last; empty when the end is told.
    pub failures: Vec<Failure>,
    /// Failures that are told, described or not.
    pub told: u32,
    /// Failures since the incident began.
    pub count: u32,
    /// It is over.
    pub recovery: bool,
    /// Names the incident for services that group by themselves.
    pub key: String,
}

impl Message {
    /// The message an incident calls for.
    #[must_use]
    pub fn of(incident: &Incident, recovery: bool) -> Self {
        let failures = if recovery {
            Vec::new()
        } else {
            incident.failures.clone()
        };
        let flows: Vec<&str> = incident.failing.iter().map(String::as_str).collect();
        let title = match (recovery, failures.as_slice()) {
            (true, _) => format!(
                "{} recovered after {}",
                incident.last_flow.as_deref().unwrap_or("all flows"),
                counted(incident.count)
            ),
            (false, [failure]) if incident.untold == 1 => headline(failure),
            (false, _) => format!(
                "{} of {}",
                counted(incident.untold),
                if flows.is_empty() {
                    "a flow".to_owned()
                } else {
                    flows.join(", ")
                }
            ),
        };
        Self {
            title,
            failures,
            told: incident.untold,
            count: incident.count,
            recovery,
            key: format!("{}/{}", incident.policy.id, incident.opened_ms),
        }
    }
}

fn counted(count: u32) -> String {
    if count == 1 {
        "1 failure".to_owned()
    } else {
        format!("{count} failures")
    }
}

fn headline(failure: &Failure) -> String {
    let organism = failure
        .labels
        .get("organism")
        .map(|organism| format!(" ({organism})"))
        .unwrap_or_default();
    let what = match failure.state.as_str() {
        "SLA" => "misses its service level",
        "KILLED" => "was killed",
        "CANCELLED" => "was cancelled",
        "WARNING" => "ended with a warning",
        "SUCCESS" => "succeeded",
        _ => "failed",
    };
    format!("{}/{}{organism} {what}", failure.namespace, failure.flow)
}

/// Plain text, for e-mail and topics.
#[must_use]
pub fn text(message: &Message) -> String {
    let mut out = format!("{}\n", message.title);
    if message.recovery {
        return out;
    }
    let full = message.failures.len().saturating_sub(FULL_MAX);
    for failure in message.failures.iter().skip(full) {
        out.push('\n');
        for (name, value) in facts(failure) {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name}: {value}");
        }
        if !failure.lines.is_empty() {
            let _ = writeln!(out, "\nLast lines of its log:\n");
            for line in &failure.lines {
                let _ = writeln!(out, "    {line}");
            }
        }
    }
    let rest = message.failures.iter().take(full).rev();
    for (index, failure) in rest.enumerate() {
        if index == 0 {
            let _ = writeln!(out, "\nBefore it:");
        }
        let _ = writeln!(out, "  {}", brief(failure));
    }
    let described = u32::try_from(message.failures.len()).unwrap_or(u32::MAX);
    if message.told > described {
        let _ = writeln!(out, "  and {} more", message.told - described);
    }
    out
}

fn brief(failure: &Failure) -> String {
    let task = failure.task.as_deref().unwrap_or("no task");
    let reason = failure.reason.as_deref().unwrap_or("no reason");
    format!(
        "{}: {task}: {reason} ({})",
        headline(failure),
        failure.execution
    )
}

fn facts(failure: &Failure) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        (
            "Flow",
            format!(
                "{}/{} revision {}",
                failure.namespace, failure.flow, failure.revision
            ),
        ),
        ("Execution", failure.execution.to_string()),
    ];
    let optional = [
        ("Organism", failure.labels.get("organism").cloned()),
        ("Task", failure.task.clone()),
        ("Reason", failure.reason.clone()),
        ("Message", failure.message.clone()),
        ("Link", failure.link.clone()),
    ];
    facts.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    facts.push(("Next", failure.next.clone()));
    facts
}

/// JSON for any service.
#[must_use]
pub fn webhook(message: &Message) -> Value {
    json!({
        "format": 1,
        "incident": message.key,
        "status": if message.recovery { "recovered" } else { "failing" },
        "title": message.title,
        "count": message.count,
        "failures": message.failures,
    })
}

/// An event of `PagerDuty`'s Events API v2.
#[must_use]
pub fn pagerduty(message: &Message, routing_key: &str) -> Value {
    let newest = message.failures.last();
    let mut event = json!({
        "routing_key": routing_key,
        "event_action": if message.recovery { "resolve" } else { "trigger" },
        "dedup_key": message.key,
        "client": "Operon",
        "payload": {
            "summary": cut(&message.title, SUMMARY_CHARS_MAX),
            "source": newest.map_or("operon".to_owned(), |it| format!("{}/{}", it.namespace, it.flow)),
            "severity": if newest.is_some_and(|it| it.state == "WARNING") { "warning" } else { "error" },
            "custom_details": {"failures": message.failures, "count": message.count},
        },
    });
    if let (Some(link), Some(map)) = (
        newest.and_then(|it| it.link.as_ref()),
        event.as_object_mut(),
    ) {
        map.insert("client_url".to_owned(), json!(link));
    }
    event
}

/// A message for Slack's incoming webhooks.
#[must_use]
pub fn slack(message: &Message) -> Value {
    let sign = if message.recovery { "✅" } else { "🔴" };
    let mut blocks = vec![json!({
        "type": "header",
        "text": {"type": "plain_text", "text": cut(&format!("{sign} {}", message.title), HEADER_CHARS_MAX), "emoji": true},
    })];
    if let Some(newest) = message.failures.last() {
        let fields: Vec<Value> = facts(newest)
            .into_iter()
            .filter(|(name, _)| *name != "Link")
            .map(|(name, value)| {
                let value = cut(&escape(&value), 1900);
                json!({"type": "mrkdwn", "text": format!("*{name}*\n{value}")})
            })
            .collect();
        blocks.push(json!({"type": "section", "fields": fields}));
        if !newest.lines.is_empty() {
            let text = escape(&newest.lines.join("\n")).replace("```", "'''");
            // The end of a log says what happened.
            let from = text.chars().count().saturating_sub(SECTION_CHARS_MAX - 10);
            let text: String = text.chars().skip(from).collect();
            blocks.push(section(&format!("```\n{text}\n```")));
        }
        let earlier = message.failures.iter().rev().skip(1).take(DESCRIBED_MAX);
        let lines: Vec<String> = earlier
            .map(|it| format!("• {}", escape(&brief(it))))
            .collect();
        if !lines.is_empty() {
            blocks.push(section(&cut(&lines.join("\n"), SECTION_CHARS_MAX)));
        }
        let described = u32::try_from(message.failures.len()).unwrap_or(u32::MAX);
        if message.told > described {
            blocks.push(section(&format!("and {} more", message.told - described)));
        }
        if let Some(link) = &newest.link {
            blocks.push(section(&format!("<{link}|Open the execution>")));
        }
    }
    json!({"text": message.title, "blocks": blocks})
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text}})
}

/// Slack's three control characters (docs: "Escaping text").
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(chars.saturating_sub(1)).collect();
    cut.push('…');
    cut
}
